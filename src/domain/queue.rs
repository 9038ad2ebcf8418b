//! Owns the queue: a named lane with a limit and a pause switch.

use async_graphql::{InputObject, SimpleObject};

use super::command::check_span;
use super::duration::Span;
use super::id::QueueId;
use super::limits::{RATE_PERIOD_MILLIS_MAX, RATE_STARTS_MAX};
use super::rejection::Rejection;
use crate::base::clock::Timestamp;

/// The queue that always exists.
pub const DEFAULT_QUEUE: &str = "default";

/// A named lane with a limit and a pause switch.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(complex)]
pub struct Queue {
    /// Its row.
    #[graphql(skip)]
    pub id: QueueId,
    /// Its name, unique.
    pub name: String,
    /// Since when it starts nothing.
    #[graphql(skip)]
    pub paused_at: Option<Timestamp>,
    /// Why it is paused.
    pub pause_reason: Option<String>,
    /// Who paused it.
    #[graphql(skip)]
    pub paused_by: Option<String>,
    /// Jobs that may run at once; null means no limit of its own.
    pub concurrency_limit: Option<i32>,
    /// Jobs that may start in a period; null means any number.
    pub rate_limit: Option<RateLimit>,
}

/// How many jobs may start in any period of a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SimpleObject, InputObject)]
#[graphql(input_name = "RateLimitInput")]
pub struct RateLimit {
    /// Starts, 1 to 100,000.
    pub starts: i32,
    /// The period, 1 ms to a day. It slides: in no period of this length are there more starts.
    pub per: Span,
}

impl RateLimit {
    /// The limit, or what is wrong with the field under `path`.
    pub fn check(self, path: &str) -> Result<RateLimit, Rejection> {
        if !(1..=RATE_STARTS_MAX).contains(&self.starts) {
            let message = format!("must lie in 1..={RATE_STARTS_MAX}; to start nothing, pause the queue");
            return Err(Rejection::invalid(&format!("{path}.starts"), message));
        }
        let path = format!("{path}.per");
        check_span(&path, self.per, 1)?;
        if self.per.millis() > RATE_PERIOD_MILLIS_MAX {
            return Err(Rejection::invalid(&path, "must be at most a day"));
        }
        Ok(self)
    }
}

/// How many more jobs a queue that is not paused may start now, as its rows say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueRoom {
    /// The queue's name.
    pub name: String,
    /// Jobs that may run at once.
    pub concurrency_limit: Option<i64>,
    /// Jobs that run; counted only for a limit.
    pub running: i64,
    /// Starts that a period may hold, and its length.
    pub rate: Option<(i64, Span)>,
    /// Starts of the period that ends now.
    pub recent_starts: i64,
}

impl QueueRoom {
    /// Jobs that may start by the number of those that run; `None` means any number.
    pub fn by_concurrency(&self) -> Option<i64> {
        self.concurrency_limit.map(|limit| (limit - self.running).max(0))
    }

    /// Jobs that may start by the rate; `None` means any number.
    pub fn by_rate(&self) -> Option<i64> {
        self.rate.map(|(starts, _)| (starts - self.recent_starts).max(0))
    }

    /// Jobs that may start when `slots` are free.
    pub fn room(&self, slots: i64) -> i64 {
        [self.by_concurrency(), self.by_rate()].into_iter().flatten().fold(slots, i64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(limit: Option<i64>, running: i64, starts: Option<i64>, recent: i64) -> QueueRoom {
        let rate = starts.map(|starts| (starts, Span::from_millis(1_000)));
        QueueRoom { name: "q".to_owned(), concurrency_limit: limit, running, rate, recent_starts: recent }
    }

    #[test]
    fn the_narrowest_limit_decides() {
        for (queue, room) in [
            (queue(None, 9, None, 9), 4),
            (queue(Some(3), 1, None, 0), 2),
            (queue(Some(3), 5, None, 0), 0),
            (queue(None, 0, Some(5), 4), 1),
            (queue(None, 0, Some(5), 6), 0),
            (queue(Some(9), 0, Some(2), 0), 2),
            (queue(Some(1), 0, Some(2), 0), 1),
        ] {
            assert_eq!(queue.room(4), room, "{queue:?}");
        }
    }

    #[test]
    fn a_rate_that_starts_nothing_or_lasts_too_long_is_refused() {
        let check = |starts, millis| RateLimit { starts, per: Span::from_millis(millis) }.check("rateLimit");
        assert!(check(1, 1).is_ok() && check(RATE_STARTS_MAX, RATE_PERIOD_MILLIS_MAX).is_ok());
        for (starts, millis, field) in [
            (0, 1, "starts"),
            (RATE_STARTS_MAX + 1, 1, "starts"),
            (1, 0, "per"),
            (1, RATE_PERIOD_MILLIS_MAX + 1, "per"),
        ] {
            let rejection = check(starts, millis).unwrap_err();
            assert_eq!(rejection.path, Some(vec!["rateLimit".to_owned(), field.to_owned()]));
        }
    }
}
