//! Owns time: instants, the clock that is passed to everybody, and waiting.
//! Nothing else in the crate may read a clock or sleep.

use std::fmt;
use std::future::Future;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;

/// An instant in microseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The latest instant that can be written in RFC 3339 with four digits of year.
    pub const MAX: Timestamp = Timestamp(253_402_300_799_999_999);
    /// The earliest instant we accept from outside: 1970-01-01.
    pub const MIN: Timestamp = Timestamp(0);

    /// Microseconds since the epoch.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// This instant moved by a signed number of milliseconds, held inside the accepted range.
    #[must_use]
    pub fn plus_millis(self, millis: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(millis.saturating_mul(1_000)).clamp(Self::MIN.0, Self::MAX.0))
    }

    /// The instant `length` later.
    #[must_use]
    pub fn plus(self, length: Duration) -> Timestamp {
        self.plus_millis(i64::try_from(length.as_millis()).unwrap_or(i64::MAX))
    }

    /// Time from `earlier` to here; zero when `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// As a chrono instant.
    pub fn to_chrono(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0.clamp(Self::MIN.0, Self::MAX.0))
            .unwrap_or(DateTime::UNIX_EPOCH)
    }

    /// From a chrono instant, cut to microseconds.
    pub fn from_chrono(at: DateTime<Utc>) -> Timestamp {
        Timestamp(at.timestamp_micros())
    }

    /// Reads RFC 3339 with any offset. `None` when it is malformed or outside 1970..9999.
    pub fn parse(text: &str) -> Option<Timestamp> {
        let at = Timestamp::from_chrono(DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Utc));
        (Self::MIN..=Self::MAX).contains(&at).then_some(at)
    }
}

/// Year, month and day of a number of days since the epoch. Years are counted from March, so that the day that some have
/// more is their last one.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds: `2026-01-31T12:00:00.000Z`. Written by hand: lists are full of them, and the
    /// library takes ten times as long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.clamp(Self::MIN.0, Self::MAX.0) / 1_000;
        let (days, in_day) = (millis / 86_400_000, millis % 86_400_000);
        let (year, month, day) = date_of(days);
        let (hours, minutes, seconds) = (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1_000 % 60);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        for (at, width, number) in [
            (0, 4, year),
            (5, 2, month),
            (8, 2, day),
            (11, 2, hours),
            (14, 2, minutes),
            (17, 2, seconds),
            (20, 3, in_day % 1_000),
        ] {
            let mut left = number;
            for place in text[at..at + width].iter_mut().rev() {
                *place = b'0' + u8::try_from(left % 10).unwrap_or_default();
                left /= 10;
            }
        }
        f.write_str(str::from_utf8(&text).unwrap_or_default())
    }
}

/// Where time comes from. Wall time may be stepped; monotonic time never goes back.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Wall time, for stored instants.
    fn now(&self) -> Timestamp;
    /// Monotonic time, for durations and timeouts.
    fn monotonic(&self) -> Instant;
}

/// Time since the machine's boot. It goes on while the machine sleeps, and is the same for all processes.
pub fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (seconds, nanos) = (now.tv_sec.cast_unsigned(), u32::try_from(now.tv_nsec).unwrap_or_default());
    Duration::new(seconds, nanos)
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the clock's one home")]
        Timestamp::from_chrono(Utc::now())
    }

    fn monotonic(&self) -> Instant {
        #[expect(clippy::disallowed_methods, reason = "this is the clock's one home")]
        Instant::now()
    }
}

/// A clock that a test moves by hand. Monotonic time is the machine's.
#[derive(Debug)]
pub struct FakeClock(AtomicI64);

impl FakeClock {
    /// A clock that stands at `at`.
    pub fn new(at: Timestamp) -> FakeClock {
        FakeClock(AtomicI64::new(at.0))
    }

    /// Puts the clock to `at`, forwards or back.
    pub fn set(&self, at: Timestamp) {
        self.0.store(at.0, Ordering::SeqCst);
    }

    /// Moves the clock on by `length`.
    pub fn advance(&self, length: Duration) {
        self.set(self.now().plus(length));
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Instant {
        SystemClock.monotonic()
    }
}

/// Waits in an async task.
pub async fn sleep(length: Duration) {
    #[expect(clippy::disallowed_methods, reason = "this is the one home of waiting")]
    tokio::time::sleep(length).await;
}

/// Waits for the next whole multiple of `period` since the program began, which is never longer than it. All that looks in
/// such a rhythm wakes the machine together, and not each for itself.
pub async fn rest(period: Duration) {
    static BEGAN: LazyLock<Instant> = LazyLock::new(|| SystemClock.monotonic());
    let passed = SystemClock.monotonic().saturating_duration_since(*BEGAN);
    let behind = passed.as_nanos().checked_rem(period.as_nanos()).unwrap_or_default();
    sleep(period.saturating_sub(Duration::from_nanos(u64::try_from(behind).unwrap_or_default()))).await;
}

/// Blocks the calling thread: one of the CLI, or one that is there for such work. Never one of the runtime.
pub fn pause(length: Duration) {
    #[expect(clippy::disallowed_methods, reason = "this is the one home of waiting")]
    std::thread::sleep(length);
}

/// `work`'s result, or `None` when it takes longer than `length` from now on.
/// No `async fn`: that would keep room for `work` twice, and works stand within works.
pub fn within<F: Future>(length: Duration, work: F) -> impl Future<Output = Option<F::Output>> {
    tokio::time::timeout(length, work).map(Result::ok)
}

#[cfg(test)]
mod tests {
    use chrono::SecondsFormat;

    use super::*;
    use crate::base::random::{Random as _, SeededRandom};

    #[test]
    fn an_instant_is_written_as_the_library_writes_it() {
        let random = SeededRandom::new(6);
        let day = 86_400_000_000_i64;
        let mut instants = vec![0, 1, 999, 1_000, day - 1, day, 951_782_400_000_000, 1_709_251_199_999_999];
        instants.extend([Timestamp::MAX.0, Timestamp::MAX.0 - 1]);
        for n in 0..20_000 {
            let mut bytes = [0; 8];
            random.fill(&mut bytes);
            let anywhere = i64::from_le_bytes(bytes).rem_euclid(Timestamp::MAX.0);
            instants.extend([anywhere, n * 145 * day / 10]);
        }
        for at in instants.into_iter().map(Timestamp) {
            assert_eq!(at.to_string(), at.to_chrono().to_rfc3339_opts(SecondsFormat::Millis, true));
        }
    }
}
