//! Owns the place where an interrupted stream goes on, and how two places lie to each other.

use std::cmp::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use super::access::Sight;
use super::event::EventCursor;
use super::job::Job;
use super::log::LogCursor;

/// What a client that reconnects to an event stream says it saw last (the `Last-Event-ID` header).
/// The door hands it to the resolvers as request data; it is newer than an `after` argument and wins over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastEventId(pub String);

/// Behind what a subscriber stands.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Every event up to here was told.
    pub cursor: Option<EventCursor>,
    /// Every line up to here was told.
    pub log: Option<LogCursor>,
    /// The followed job as it was shown last.
    pub job: Option<Arc<Job>>,
}

impl Standing {
    /// As a client would name it; `None` for the very beginning.
    pub fn id(&self) -> Option<LastEventId> {
        let cursor = self.cursor.map(|cursor| cursor.to_string()).unwrap_or_default();
        match self.log {
            Some(log) => Some(LastEventId(format!("{cursor}~{log}"))),
            None if cursor.is_empty() => None,
            None => Some(LastEventId(cursor)),
        }
    }

    /// Which one lies behind the other; `None` when neither does, or the lines are of two attempts: several workers draw
    /// their numbers in no common order.
    pub fn compare(&self, other: &Standing) -> Option<Ordering> {
        if let (Some(log), Some(other_log)) = (self.log, other.log)
            && log.attempt != other_log.attempt
        {
            return None;
        }
        let places = |standing: &Standing| {
            let line = standing.log.map(|log| log.line);
            (standing.cursor.map(|cursor| (cursor.epoch, cursor.seq)), line)
        };
        let ((cursor, line), (other_cursor, other_line)) = (places(self), places(other));
        if let (Some((epoch, _)), Some((other_epoch, _))) = (cursor, other_cursor)
            && epoch != other_epoch
        {
            return None;
        }
        match (cursor.cmp(&other_cursor), line.cmp(&other_line)) {
            (Ordering::Equal, order) | (order, Ordering::Equal) => Some(order),
            (first, second) => (first == second).then_some(first),
        }
    }
}

/// What is ahead of everything that a shared stream has told yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ahead {
    /// The stream comes there by itself.
    Comes,
    /// Nobody knows whether it does.
    Unknown,
}

/// How a subscription may be shared with others that ask the same.
#[derive(Debug)]
pub struct Course<V> {
    /// Whom it is executed for: somebody with the same rights, and nothing else of the caller.
    pub viewer: V,
    /// These rights.
    pub sight: Sight,
    /// Names of the variables that only say where to begin.
    pub cursors: Vec<String>,
    /// Where the caller stands.
    pub start: Standing,
    /// Where a stream for everybody begins.
    pub head: Standing,
    /// What to do about somebody who stands ahead of it.
    pub ahead: Ahead,
}

/// Behind what the last step of a stream stands. The stream tells, whoever runs it hears; one is request data of the
/// execution.
#[derive(Debug, Clone, Default)]
pub struct Told(Arc<Mutex<Heard>>);

/// What a stream has told of itself.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// Behind what its last step stands.
    pub standing: Standing,
    /// Whether it goes well: it has begun, and not failed.
    pub is_well: bool,
}

impl Told {
    /// The stream has begun.
    pub fn begun(&self) {
        self.with(|heard| heard.is_well = true);
    }

    /// The next step stands behind this.
    pub fn reached(&self, standing: Standing) {
        self.with(|heard| heard.standing = standing);
    }

    /// The stream ends before its time.
    pub fn failed(&self) {
        self.with(|heard| heard.is_well = false);
    }

    /// What was told last.
    pub fn heard(&self) -> Heard {
        self.with(|heard| heard.clone())
    }

    fn with<R>(&self, act: impl FnOnce(&mut Heard) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Request data of an execution that ends exactly here.
#[derive(Debug, Clone)]
pub struct Until(pub Standing);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::AttemptId;

    fn at(seq: Option<i64>, line: Option<(i64, i64)>) -> Standing {
        Standing {
            cursor: seq.map(|seq| EventCursor { epoch: 1, seq }),
            log: line.map(|(attempt, line)| LogCursor { attempt: AttemptId(attempt), line }),
            job: None,
        }
    }

    #[test]
    fn places_are_compared_in_both_of_their_parts() {
        for (one, other, order) in [
            (at(None, None), at(None, None), Some(Ordering::Equal)),
            (at(None, None), at(Some(1), None), Some(Ordering::Less)),
            (at(Some(1), Some((1, 9))), at(Some(2), Some((1, 10))), Some(Ordering::Less)),
            (at(Some(1), Some((101, 9))), at(Some(2), Some((5, 3))), None),
            (at(Some(2), Some((1, 9))), at(Some(2), Some((1, 8))), Some(Ordering::Greater)),
            (at(Some(2), Some((1, 8))), at(Some(1), Some((1, 9))), None),
            (at(None, Some((1, 8))), at(Some(1), Some((1, 8))), Some(Ordering::Less)),
        ] {
            assert_eq!(one.compare(&other), order, "{one:?} {other:?}");
            assert_eq!(other.compare(&one), order.map(Ordering::reverse));
        }
        let elsewhere = Standing { cursor: Some(EventCursor { epoch: 2, seq: 1 }), ..Standing::default() };
        assert_eq!(elsewhere.compare(&at(Some(1), None)), None, "places of another store");
    }

    #[test]
    fn a_place_has_the_name_that_clients_use() {
        let id = |standing: Standing| standing.id().map(|id| id.0);
        assert_eq!(id(at(None, None)), None);
        assert_eq!(id(at(Some(7), None)).as_deref(), Some("00000001-7"));
        assert_eq!(id(at(Some(7), Some((3, 2)))).as_deref(), Some("00000001-7~3.2"));
        assert_eq!(id(at(None, Some((3, 2)))).as_deref(), Some("~3.2"));
    }
}
