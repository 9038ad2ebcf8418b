//! Owns when a schedule is due: checking a timing, the next due times, and which were missed.
//! It never reads a clock and keeps no state: the same timing gives the same due times on every machine.

use chrono::DateTime;

use super::calendar::{Calendar, Firing, Oddity};
use super::cron::CronPattern;
use super::duration::Span;
use super::zone::Zone;
use crate::base::clock::Timestamp;

/// The shortest interval.
pub const EVERY_MIN: Span = Span::from_secs(1);
/// The longest interval.
pub const EVERY_MAX: Span = Span::from_secs(366 * 86_400);
/// The widest jitter.
pub const JITTER_MAX: Span = Span::from_secs(86_400);

const SECOND_US: i64 = 1_000_000;

/// When a schedule fires.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Timing {
    /// At every multiple of a length of time since the Unix epoch.
    Interval {
        /// The length of time.
        every: Span,
    },
    /// When the clocks of the schedule's zone match a pattern.
    Cron {
        /// Five or six fields, or a shorthand like `@daily`.
        cron: String,
    },
}

/// Why a timing was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TimingError {
    /// The input that is wrong: `every`, `cron`, `timeZone` or `jitter`.
    pub field: &'static str,
    /// What is wrong and what is accepted, as a sentence.
    pub message: String,
}

/// A time at which a schedule fires.
#[derive(Debug, Clone, PartialEq, Eq, async_graphql::SimpleObject)]
pub struct DueTime {
    /// The instant, with the schedule's jitter.
    pub at: Timestamp,
    /// The instant without jitter: with the schedule, the identity of the tick.
    #[graphql(skip)]
    pub tick: Timestamp,
    /// The same instant by the clocks of the schedule's zone, with the zone's name.
    pub local: String,
    /// What a change of clocks did to it, in words.
    pub note: Option<String>,
}

/// The due times of a stretch of time in which nobody looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// How many there were.
    pub count: u64,
    /// The newest of them, oldest first.
    pub newest: Vec<DueTime>,
}

/// A timing with its zone and jitter, checked and read once.
#[derive(Debug, Clone)]
pub struct CompiledTiming {
    rule: Rule,
    zone: Zone,
    /// How much later than its tick a due time is, in microseconds.
    shift_us: i64,
}

#[derive(Debug, Clone)]
enum Rule {
    Interval { every_us: i64 },
    Cron(Calendar),
}

impl CompiledTiming {
    /// Checks a timing. The schedule's name alone decides where in `[0, jitter)` all its due times are.
    ///
    /// # Errors
    /// The first input that is wrong.
    pub fn compile(
        timing: &Timing,
        time_zone: &str,
        jitter: Span,
        schedule_name: &str,
    ) -> Result<CompiledTiming, TimingError> {
        let refused = |field| move |message| TimingError { field, message };
        let zone = Zone::find(time_zone).map_err(refused("timeZone"))?;
        if !(Span::ZERO..=JITTER_MAX).contains(&jitter) {
            let message = format!("Jitter is from PT0S to {JITTER_MAX}, not {jitter}.");
            return Err(refused("jitter")(message));
        }
        let rule = match timing {
            Timing::Interval { every } if (EVERY_MIN..=EVERY_MAX).contains(every) => {
                Rule::Interval { every_us: every.millis() * 1_000 }
            }
            Timing::Interval { every } => {
                let message = format!("An interval is from {EVERY_MIN} to {EVERY_MAX}, not {every}.");
                return Err(refused("every")(message));
            }
            Timing::Cron { cron } => {
                Rule::Cron(Calendar::new(CronPattern::compile(cron).map_err(refused("cron"))?, zone))
            }
        };
        Ok(CompiledTiming { rule, zone, shift_us: shift_ms(schedule_name, jitter) * 1_000 })
    }

    /// The first due time strictly later than `after`, jitter included. `None` when there is none before the year
    /// 10000 or within the bounds of the search.
    pub fn next_after(&self, after: Timestamp) -> Option<DueTime> {
        let after_us = self.unshifted(after);
        let (tick_us, oddity) = match &self.rule {
            Rule::Interval { every_us } => ((after_us.div_euclid(*every_us) + 1) * every_us, None),
            Rule::Cron(calendar) => {
                let Firing { at, oddity } = calendar.next_after(after_us.div_euclid(SECOND_US))?;
                (at * SECOND_US, oddity)
            }
        };
        let at = Timestamp(tick_us + self.shift_us);
        (at <= Timestamp::MAX).then(|| DueTime {
            at,
            tick: Timestamp(tick_us),
            local: self.zone.write(at),
            note: oddity.map(|oddity| self.note(oddity, at)),
        })
    }

    /// The due times in `(after, until]`, oldest first: the first `max` of them.
    pub fn due_in(&self, after: Timestamp, until: Timestamp, max: usize) -> Vec<DueTime> {
        let following = |due: &DueTime| self.next_after(due.at);
        std::iter::successors(self.next_after(after), following)
            .take_while(|due| due.at <= until)
            .take(max)
            .collect()
    }

    /// The due times in `(after, until]`: their number, and the newest `max` of them. The work does not grow with
    /// the number of due times, only (for cron) with the number of days.
    pub fn missed(&self, after: Timestamp, until: Timestamp, max: usize) -> Missed {
        if after >= until {
            return Missed { count: 0, newest: Vec::new() };
        }
        let wanted = u64::try_from(max).unwrap_or(u64::MAX);
        let (after_us, until_us) = (self.unshifted(after), self.unshifted(until.min(Timestamp::MAX)));
        let (count, newest_after_us) = match &self.rule {
            Rule::Interval { every_us } => {
                let (old, new) = (after_us.div_euclid(*every_us), until_us.div_euclid(*every_us));
                let first = new.saturating_sub_unsigned(wanted).max(old);
                (new.abs_diff(old), (first + 1) * every_us - 1)
            }
            Rule::Cron(calendar) => {
                let (old, new) = (after_us.div_euclid(SECOND_US), until_us.div_euclid(SECOND_US));
                let count = calendar.count(old, new);
                let first = if count > wanted { calendar.before_newest(old, new, wanted) } else { old };
                (count, first * SECOND_US)
            }
        };
        Missed { count, newest: self.due_in(Timestamp(newest_after_us + self.shift_us), until, max) }
    }

    /// An instant on the scale of ticks, in microseconds. There are no ticks before the epoch.
    fn unshifted(&self, at: Timestamp) -> i64 {
        at.micros().min(Timestamp::MAX.micros()).saturating_sub(self.shift_us).max(-1)
    }

    fn note(&self, oddity: Oddity, at: Timestamp) -> String {
        match oddity {
            Oddity::Skipped { reading, others } => {
                let now = clock(self.zone.reading(at.micros().div_euclid(SECOND_US)));
                let skipped = match others {
                    0 => format!("{} does", clock(reading)),
                    1 => format!("{} and 1 more time do", clock(reading)),
                    _ => format!("{} and {others} more times do", clock(reading)),
                };
                format!("{skipped} not exist on this day (clocks go forward); runs at {now}")
            }
            Oddity::OnlyFirst { reading } => {
                format!("{} happens twice on this day; runs at the first", clock(reading))
            }
            Oddity::First { reading } => {
                format!("{} happens twice on this day and runs twice; this is the first", clock(reading))
            }
            Oddity::Second { reading } => {
                format!("{} happens twice on this day and runs twice; this is the second", clock(reading))
            }
        }
    }
}

/// The time of day of a reading: `02:30`, or `02:30:15` where the seconds matter.
fn clock(reading: i64) -> String {
    let format = if reading.rem_euclid(60) == 0 { "%H:%M" } else { "%H:%M:%S" };
    DateTime::from_timestamp(reading, 0).unwrap_or(DateTime::UNIX_EPOCH).format(format).to_string()
}

/// A number in `[0, jitter)` that belongs to a name for ever, in milliseconds: FNV-1a, then mixed (as in splitmix64)
/// because names that differ in their last letter only would otherwise lie close together.
fn shift_ms(name: &str, jitter: Span) -> i64 {
    let hash = name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    let scaled =
        (u128::from(mixed ^ (mixed >> 31)) * u128::from(jitter.millis().max(0).unsigned_abs())) >> 64;
    i64::try_from(scaled).expect("a part of the jitter fits its type")
}

#[cfg(test)]
mod tests;
