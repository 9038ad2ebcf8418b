//! Owns the ends of logs that could not be written, until they are. It is bounded: what finds no room here is left to the
//! hourly look for logs without an end (`engine::retention`), which there is on SQLite only; over PostgreSQL such a log goes
//! with its job. It must never hold up a line for long.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::base::clock::Clock;
use crate::domain::id::AttemptId;
use crate::store::logs::{Logs, Unended};

/// Ends that may be owed.
const OWED_MAX: usize = 10_000;
/// Ends that one transaction writes.
const PAID_AT_ONCE: usize = 200;
/// Pause after a try that failed.
const TRY_EVERY: Duration = Duration::from_secs(5);

/// Logs whose attempts are over, with the bytes that these printed.
#[derive(Debug, Default)]
pub(super) struct Owed {
    left: BTreeMap<AttemptId, i64>,
    /// Not before this, after a try that failed.
    try_at: Option<Instant>,
}

impl Owed {
    /// Adds some, as far as there is room. What was told first holds.
    pub(super) fn extend(&mut self, some: impl Iterator<Item = Unended>) {
        for one in some {
            if self.left.len() < OWED_MAX {
                self.left.entry(one.attempt).or_insert(one.byte_count);
            }
        }
    }

    /// How long to wait before the next try; `None` when nothing is owed.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let left = self.try_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        (!self.left.is_empty()).then_some(left)
    }

    /// Tries to write some.
    pub(super) async fn pay(&mut self, logs: &Logs, clock: &dyn Clock) {
        let some = self.some();
        // Also when it panics there is a pause.
        self.try_at = Some(clock.monotonic() + TRY_EVERY);
        match logs.finish(&some, clock.now()).await {
            Ok(_) => some.iter().for_each(|one| self.forget(one)),
            // One of them is refused: the others must not go with it.
            Err(fault) if fault.is_replayable() => {
                for one in &some {
                    match logs.finish(std::slice::from_ref(one), clock.now()).await {
                        Ok(_) => {}
                        // What the store would refuse for ever must not hold up what comes behind it.
                        Err(fault) if fault.is_replayable() => {
                            tracing::error!(attempt = %one.attempt, "the end of a log is not taken: {fault}");
                        }
                        Err(_) => return,
                    }
                    self.forget(one);
                }
            }
            Err(fault) => {
                tracing::debug!(logs = self.left.len(), "ends of logs are still owed: {fault}");
                return;
            }
        }
        self.try_at = None;
    }

    fn forget(&mut self, one: &Unended) {
        self.left.remove(&one.attempt);
    }

    /// The oldest ones, as many as are written at once.
    fn some(&self) -> Vec<Unended> {
        let some = self.left.iter().take(PAID_AT_ONCE);
        some.map(|(attempt, byte_count)| Unended { attempt: *attempt, byte_count: *byte_count }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_owed_is_bounded_and_the_oldest_comes_first() {
        let mut owed = Owed::default();
        let now = crate::base::clock::SystemClock.monotonic();
        assert_eq!(owed.wait(now), None);
        for number in (0..OWED_MAX + 5).rev() {
            let attempt = AttemptId(i64::try_from(number).unwrap());
            owed.extend([7, 8].into_iter().map(|byte_count| Unended { attempt, byte_count }));
        }
        assert_eq!((owed.left.len(), owed.wait(now)), (OWED_MAX, Some(Duration::ZERO)));
        let some = owed.some();
        assert_eq!(some.len(), PAID_AT_ONCE);
        assert!(some.windows(2).all(|pair| pair[0].attempt < pair[1].attempt));
        assert!(some.iter().all(|one| one.byte_count == 7), "what was told first holds");
        owed.try_at = Some(now + TRY_EVERY);
        assert_eq!(owed.wait(now), Some(TRY_EVERY));
    }
}
