//! Owns the named points of the daemon's way at which a test can make it abort, fail or panic. A build without the
//! feature `test-points` has none: there a point is nothing.
//!
//! `BEADLE_TEST_POINTS` names them: `writer.committed:3:abort` aborts at the third pass of that point,
//! `feed.tick:1:panic` panics at the first, `spool.write:2+:fail` makes the second and every later one fail, and `hang`
//! blocks the thread for ever. With a path in the place of the count (`writer.turn:/tmp/now:panic`) it goes off whenever
//! there is such a file, which is removed: a test chooses the moment. Several stand with commas between them.

use std::time::Duration;

/// A place that a test can make bad.
///
/// # Errors
/// In words, when the test asks for a failure here; never in a build for use.
#[cfg(not(feature = "test-points"))]
#[inline]
pub fn pass(_name: &'static str) -> Result<(), String> {
    Ok(())
}

#[cfg(feature = "test-points")]
pub use armed::pass;

/// A place where nothing can fail: a test can make the daemon abort or panic there.
#[inline]
pub fn reach(name: &'static str) {
    let reached = pass(name);
    assert!(reached.is_ok(), "the point {name} can only abort or panic");
}

/// A length of time that a test can shorten by the variable `BEADLE_TEST_<NAME>_MS`.
#[cfg(not(feature = "test-points"))]
#[inline]
pub fn length(_name: &'static str, usual: Duration) -> Duration {
    usual
}

/// A length of time that a test can shorten by the variable `BEADLE_TEST_<NAME>_MS`.
#[cfg(feature = "test-points")]
pub fn length(name: &'static str, usual: Duration) -> Duration {
    let given = super::environment::variable(&format!("BEADLE_TEST_{name}_MS"));
    given.and_then(|text| text.parse().ok()).map_or(usual, Duration::from_millis)
}

#[cfg(feature = "test-points")]
mod armed {
    use std::collections::HashMap;
    use std::sync::{Mutex, OnceLock, PoisonError};
    use std::time::Duration;

    use crate::base::clock::pause;
    use crate::base::environment::variable;

    const VARIABLE: &str = "BEADLE_TEST_POINTS";

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Action {
        Abort,
        Panic,
        Fail,
        Hang,
    }

    /// When a trap goes off.
    #[derive(Debug, Clone, PartialEq, Eq)]
    enum When {
        /// At this pass, counted from 1.
        At(u64),
        /// At this pass and every later one.
        From(u64),
        /// Whenever there is this file, which is removed.
        There(String),
    }

    impl When {
        fn is_now(&self, count: u64) -> bool {
            match self {
                When::At(at) => count == *at,
                When::From(at) => count >= *at,
                When::There(path) => std::fs::remove_file(path).is_ok(),
            }
        }
    }

    /// What happens at a point, and when.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Trap {
        name: String,
        when: When,
        action: Action,
    }

    fn parse(text: &str) -> Vec<Trap> {
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(trap).collect()
    }

    fn trap(part: &str) -> Trap {
        let words: Vec<&str> = part.split(':').collect();
        let &[name, count, action] = words.as_slice() else {
            panic!("{VARIABLE}: not NAME:COUNT:ACTION: {part}")
        };
        let action = match action {
            "abort" => Action::Abort,
            "panic" => Action::Panic,
            "fail" => Action::Fail,
            "hang" => Action::Hang,
            other => panic!("{VARIABLE}: no such action: {other}"),
        };
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{VARIABLE}: no count: {count}"));
        let when = match count.strip_suffix('+') {
            _ if count.starts_with('/') => When::There(count.to_owned()),
            Some(first) => When::From(number(first)),
            None => When::At(number(count)),
        };
        Trap { name: name.to_owned(), when, action }
    }

    fn traps() -> &'static [Trap] {
        static TRAPS: OnceLock<Vec<Trap>> = OnceLock::new();
        TRAPS.get_or_init(|| parse(&variable(VARIABLE).unwrap_or_default()))
    }

    /// A place that a test can make bad.
    ///
    /// # Errors
    /// In words, when the test asks for a failure here.
    pub fn pass(name: &'static str) -> Result<(), String> {
        static PASSES: OnceLock<Mutex<HashMap<&'static str, u64>>> = OnceLock::new();
        let traps = traps();
        if traps.is_empty() {
            return Ok(());
        }
        let passes = PASSES.get_or_init(Mutex::default);
        let mut passes = passes.lock().unwrap_or_else(PoisonError::into_inner);
        let count = passes.entry(name).or_default();
        *count += 1;
        let count = *count;
        drop(passes);
        let sprung = traps.iter().find(|trap| trap.name == name && trap.when.is_now(count));
        match sprung.map(|trap| trap.action) {
            None => Ok(()),
            Some(Action::Fail) => Err(format!("a test makes {name} fail")),
            Some(Action::Panic) => panic!("a test makes {name} panic"),
            Some(Action::Abort) => std::process::abort(),
            Some(Action::Hang) => loop {
                pause(Duration::from_hours(1));
            },
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_happens_where_and_when_is_read_from_the_variable() {
            let read = parse("writer.committed:3:abort, feed.tick:2+:fail,door.accept:/x/y:hang");
            let trap = |name: &str, when, action| Trap { name: name.to_owned(), when, action };
            assert_eq!(
                read,
                [
                    trap("writer.committed", When::At(3), Action::Abort),
                    trap("feed.tick", When::From(2), Action::Fail),
                    trap("door.accept", When::There("/x/y".to_owned()), Action::Hang),
                ]
            );
            assert_eq!(parse(""), []);
        }
    }
}
