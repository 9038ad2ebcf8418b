//! Owns where a cron pattern falls on the time line of a zone, above all where clocks change.
//! It never writes words or moves a due time: `domain::timing` does.
//!
//! - A pattern of *fixed* times fires when the wall clock first reaches or passes the time. So a time that the clock
//!   jumps over fires once, at the jump, and a time that comes twice fires the first time.
//! - A pattern with `*` or `/` in the hour or the minute *follows elapsed time*: it fires at every instant whose
//!   reading matches, twice in a repeated hour and not at all in a skipped one.

use super::cron::CronPattern;
use super::zone::{DAY, OFFSET_MAX, Place, Zone};

/// How many stretches of constant offset one search looks at. A year has a handful, so this is many decades.
const SEARCH_STEPS_MAX: usize = 400;

/// A cron pattern in a zone.
#[derive(Debug, Clone)]
pub struct Calendar {
    pattern: CronPattern,
    zone: Zone,
}

/// A due time, in seconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Firing {
    /// The instant.
    pub at: i64,
    /// What is odd about it, if anything.
    pub oddity: Option<Oddity>,
}

/// Why a due time is not what a reader of the pattern may expect. Readings are as in `domain::zone`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    /// The clock jumped over `reading`, and over `others` more times of the pattern: they all fire here, once.
    Skipped {
        /// The first time that the clock jumped over.
        reading: i64,
        /// How many more it jumped over.
        others: u64,
    },
    /// `reading` comes twice; this fixed time fires only now, at the first.
    OnlyFirst {
        /// What the clock shows.
        reading: i64,
    },
    /// `reading` comes twice and fires twice; this is the first.
    First {
        /// What the clock shows.
        reading: i64,
    },
    /// `reading` comes twice and fires twice; this is the second.
    Second {
        /// What the clock shows.
        reading: i64,
    },
}

impl Calendar {
    /// `pattern` by the clocks of `zone`.
    pub fn new(pattern: CronPattern, zone: Zone) -> Calendar {
        Calendar { pattern, zone }
    }

    /// The first due time later than `after`. `None` when there is none in reach of the search.
    pub fn next_after(&self, after: i64) -> Option<Firing> {
        if self.pattern.follows_elapsed_time() { self.next_elapsed(after) } else { self.next_fixed(after) }
    }

    /// How many due times lie in `(after, until]`. Its work grows with the days between.
    pub fn count(&self, after: i64, until: i64) -> u64 {
        if after >= until {
            0
        } else if self.pattern.follows_elapsed_time() {
            self.count_elapsed(after, until)
        } else {
            self.count_fixed(after, until)
        }
    }

    /// The latest instant from `after` on that leaves at least `wanted` due times up to and with `until`: exactly
    /// as many when there are that many, since no two due times are one.
    pub fn before_newest(&self, after: i64, until: i64, wanted: u64) -> i64 {
        // `low` leaves enough of them (or is `after`), `high` too few.
        let (mut low, mut high) = (after, until);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.count(middle, until) >= wanted {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }

    fn next_fixed(&self, after: i64) -> Option<Firing> {
        // The clock reaches a reading later than `after` exactly when it has not shown it, or a later one, by then.
        let reading = self.pattern.next_from(self.zone.latest_reading(after) + 1)?;
        let place = self.zone.place(reading);
        let oddity = match place {
            Place::Once(_) => None,
            Place::Twice { .. } => Some(Oddity::OnlyFirst { reading }),
            Place::Never(change) => Some(Oddity::Skipped {
                reading,
                others: self.pattern.count(reading + 1, change.at + change.after),
            }),
        };
        Some(Firing { at: place.reached_at(), oddity })
    }

    fn next_elapsed(&self, after: i64) -> Option<Firing> {
        let mut from = after + 1;
        for _ in 0..SEARCH_STEPS_MAX {
            let offset = self.zone.offset(from);
            let reading = self.pattern.next_from(from + offset)?;
            let at = reading - offset;
            // Look for a change of clocks no further than a day ahead: it may bring a match earlier or skip this one.
            let horizon = at.min(from + DAY);
            if let Some(change) = self.zone.first_change(from, horizon) {
                from = change.at;
            } else if at > horizon {
                from = horizon.max(reading - OFFSET_MAX);
            } else {
                return Some(Firing { at, oddity: self.repeated(at, reading) });
            }
        }
        None
    }

    fn repeated(&self, at: i64, reading: i64) -> Option<Oddity> {
        match self.zone.place(reading) {
            Place::Twice { first, .. } if first == at => Some(Oddity::First { reading }),
            Place::Twice { .. } => Some(Oddity::Second { reading }),
            Place::Once(_) | Place::Never(_) => None,
        }
    }

    fn count_fixed(&self, after: i64, until: i64) -> u64 {
        let readings =
            self.pattern.count(self.zone.latest_reading(after) + 1, self.zone.latest_reading(until) + 1);
        // All times in a gap, and the one at its end, fire once.
        let merged = self
            .zone
            .changes(after, until)
            .filter(|change| change.after > change.before)
            .map(|gap| self.pattern.count(gap.at + gap.before, gap.at + gap.after + 1).saturating_sub(1));
        readings - merged.sum::<u64>()
    }

    fn count_elapsed(&self, after: i64, until: i64) -> u64 {
        let (mut from, mut count) = (after + 1, 0);
        for change in self.zone.changes(from, until) {
            count += self.pattern.count(from + change.before, change.at + change.before);
            from = change.at;
        }
        let offset = self.zone.offset(from);
        count + self.pattern.count(from + offset, until + 1 + offset)
    }
}
