//! Owns waiting in tests: for a condition, never for a length of time.

use std::time::{Duration, Instant};

use beadle::base::clock::{Clock, SystemClock, pause};

/// How often a condition is looked at. Short, so that a test is as quick as what it waits for.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How long a test waits for anything that has no tighter promise, on a busy two-core machine.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The monotonic time.
pub fn now() -> Instant {
    SystemClock.monotonic()
}

/// The first value that `look` gives.
///
/// Panics with `what` when there is none within `limit`.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let started = now();
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(started.elapsed() < limit, "waited {limit:?} in vain for: {what}");
        pause(LOOK_EVERY);
    }
}

/// Holds still for `length`: only to choose a random moment or to span a window that is measured,
/// never in the hope that something has happened meanwhile.
pub fn span(length: Duration) {
    pause(length);
}
