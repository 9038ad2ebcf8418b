//! Owns the signs of life of a loop, which others may read at any time: when it last came round, and since when it has
//! been at one piece of work. It judges nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The pulse of one loop. All instants are monotonic; what lies before the pulse was made counts as that moment.
#[derive(Debug)]
pub struct Pulse {
    origin: Instant,
    /// Microseconds from the origin to the last sign of life.
    beat_us: AtomicU64,
    /// Microseconds from the origin to the begin of the present work, and one; zero while there is none.
    begun_us: AtomicU64,
}

impl Pulse {
    /// A pulse that beats now, and is at no work.
    pub fn new(now: Instant) -> Pulse {
        Pulse { origin: now, beat_us: AtomicU64::new(0), begun_us: AtomicU64::new(0) }
    }

    /// The loop came round.
    pub fn beat(&self, now: Instant) {
        self.beat_us.store(self.micros(now), Ordering::Relaxed);
    }

    /// The loop begins a piece of work.
    pub fn begin(&self, now: Instant) {
        self.beat(now);
        self.begun_us.store(self.micros(now) + 1, Ordering::Relaxed);
    }

    /// The loop is done with its work, and waits for the next.
    pub fn rest(&self, now: Instant) {
        self.beat(now);
        self.begun_us.store(0, Ordering::Relaxed);
    }

    /// The last sign of life.
    pub fn last(&self) -> Instant {
        self.origin + Duration::from_micros(self.beat_us.load(Ordering::Relaxed))
    }

    /// When the present work began; `None` while there is none.
    pub fn begun(&self) -> Option<Instant> {
        let micros = self.begun_us.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.origin + Duration::from_micros(micros))
    }

    fn micros(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.origin).as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::{Clock as _, SystemClock};

    #[test]
    fn a_pulse_tells_of_the_last_beat_and_of_the_work_in_hand() {
        let start = SystemClock.monotonic();
        let at = |millis| start + Duration::from_millis(millis);
        let pulse = Pulse::new(start);
        assert_eq!((pulse.last(), pulse.begun()), (start, None));
        pulse.begin(start);
        assert_eq!(pulse.begun(), Some(start));
        pulse.begin(at(5));
        assert_eq!((pulse.last(), pulse.begun()), (at(5), Some(at(5))));
        pulse.rest(at(9));
        assert_eq!((pulse.last(), pulse.begun()), (at(9), None));
    }
}
