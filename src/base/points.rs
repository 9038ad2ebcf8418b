//! Owns the named points of the daemon's way at which a test can make it abort, fail or panic. A build without the
//! feature `test-points` has none: there a point is nothing.
//!
//! `BEADLE_TEST_POINTS` names them: `writer.committed:3:abort` aborts at the third pass of that point,
//! `feed.tick:1:panic` panics at the first, `spool.write:2+:fail` makes the second and every later one fail. Several
//! stand with commas between them.

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

#[cfg(feature = "test-points")]
mod armed {
    use std::collections::HashMap;
    use std::sync::{Mutex, OnceLock, PoisonError};

    use crate::base::environment::variable;

    const VARIABLE: &str = "BEADLE_TEST_POINTS";

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Action {
        Abort,
        Panic,
        Fail,
    }

    /// What happens at a point, and when.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Trap {
        name: String,
        /// The pass at which it goes off, counted from 1.
        at: u64,
        /// Whether it goes off at every later pass too.
        stays: bool,
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
            other => panic!("{VARIABLE}: no such action: {other}"),
        };
        let at =
            count.trim_end_matches('+').parse().unwrap_or_else(|_| panic!("{VARIABLE}: no count: {count}"));
        Trap { name: name.to_owned(), at, stays: count.ends_with('+'), action }
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
        let sprung = traps
            .iter()
            .find(|trap| trap.name == name && if trap.stays { count >= trap.at } else { count == trap.at });
        match sprung.map(|trap| trap.action) {
            None => Ok(()),
            Some(Action::Fail) => Err(format!("a test makes {name} fail")),
            Some(Action::Panic) => panic!("a test makes {name} panic"),
            Some(Action::Abort) => std::process::abort(),
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_happens_where_and_when_is_read_from_the_variable() {
            let read = parse("writer.committed:3:abort, feed.tick:2+:fail");
            let trap = |name: &str, at, stays, action| Trap { name: name.to_owned(), at, stays, action };
            assert_eq!(
                read,
                [trap("writer.committed", 3, false, Action::Abort), trap("feed.tick", 2, true, Action::Fail)]
            );
            assert_eq!(parse(""), []);
        }
    }
}
