//! Owns time zones: how far a place's clock is from UTC, when that changes, and which instant a clock reading means.
//! It knows nothing of patterns or schedules.
//!
//! Instants are seconds since the Unix epoch. A *reading* is what a clock on the wall of the zone shows, as seconds
//! since 1970-01-01T00:00:00 on that clock: `reading = instant + offset`.

use chrono::{DateTime, Offset as _, SecondsFormat, TimeZone as _};
use chrono_tz::{TZ_VARIANTS, Tz};

use crate::base::clock::Timestamp;

/// The seconds of a day.
pub const DAY: i64 = 86_400;
/// No zone has been further than this from UTC since 1970, in seconds.
pub const OFFSET_MAX: i64 = 15 * 3_600;
/// The longest zone name that is looked up, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// A known IANA time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone(Tz);

/// A change of a zone's offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The first instant with the new offset.
    pub at: i64,
    /// Seconds east of UTC until then.
    pub before: i64,
    /// Seconds east of UTC from then on.
    pub after: i64,
}

/// Where a reading lies on the time line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The clock shows it once.
    Once(i64),
    /// The clock goes back over it and shows it twice.
    Twice {
        /// The instant of the first showing.
        first: i64,
        /// The instant of the second showing.
        second: i64,
    },
    /// The clock goes forward over it.
    Never(Change),
}

impl Place {
    /// The first instant at which the clock has reached the reading or gone past it.
    pub fn reached_at(self) -> i64 {
        match self {
            Place::Once(at) | Place::Twice { first: at, .. } => at,
            Place::Never(change) => change.at,
        }
    }
}

impl Zone {
    /// Universal time.
    pub const UTC: Zone = Zone(Tz::UTC);

    /// The zone of exactly this IANA name.
    ///
    /// # Errors
    /// A sentence that names the nearest known zone.
    pub fn find(name: &str) -> Result<Zone, String> {
        if name.len() > NAME_BYTES_MAX {
            return Err(format!("A time zone has at most {NAME_BYTES_MAX} characters, as in Europe/Berlin."));
        }
        name.parse().map(Zone).map_err(|_| {
            format!("{name:?} is not a known IANA time zone. The nearest is {:?}.", nearest(name).name())
        })
    }

    /// The IANA name.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// Seconds east of UTC at an instant.
    pub fn offset(self, at: i64) -> i64 {
        let utc = DateTime::from_timestamp(at, 0).unwrap_or(DateTime::UNIX_EPOCH).naive_utc();
        i64::from(self.0.offset_from_utc_datetime(&utc).fix().local_minus_utc())
    }

    /// What the clock shows at an instant.
    pub fn reading(self, at: i64) -> i64 {
        at + self.offset(at)
    }

    /// The first change of the offset in `(after, until]`. It looks once a day: no zone changes and changes back
    /// within one.
    pub fn first_change(self, after: i64, until: i64) -> Option<Change> {
        let before = self.offset(after);
        let mut low = after;
        while low < until {
            let mut high = until.min(low + DAY);
            let next = self.offset(high);
            if next != before {
                while high - low > 1 {
                    let middle = low + (high - low) / 2;
                    if self.offset(middle) == before {
                        low = middle;
                    } else {
                        high = middle;
                    }
                }
                return Some(Change { at: high, before, after: self.offset(high) });
            }
            low = high;
        }
        None
    }

    /// All changes of the offset in `(after, until]`, oldest first.
    pub fn changes(self, after: i64, until: i64) -> impl Iterator<Item = Change> {
        std::iter::successors(self.first_change(after, until), move |last| self.first_change(last.at, until))
    }

    /// Finds a reading on the time line.
    pub fn place(self, reading: i64) -> Place {
        let (low, high) = (reading - OFFSET_MAX, reading + OFFSET_MAX);
        let Some(change) = self.first_change(low, high) else {
            return Place::Once(reading - self.offset(low));
        };
        let (old, new) = (reading - change.before, reading - change.after);
        match (old < change.at, new >= change.at) {
            (true, true) => Place::Twice { first: old, second: new },
            (true, false) => Place::Once(old),
            (false, true) => Place::Once(new),
            (false, false) => Place::Never(change),
        }
    }

    /// The latest reading that the clock has shown up to an instant: ahead of `reading` while an hour repeats.
    pub fn latest_reading(self, at: i64) -> i64 {
        let shown = self.reading(at);
        match self.first_change(at - DAY, at) {
            Some(change) => shown.max(change.at - 1 + change.before),
            None => shown,
        }
    }

    /// RFC 3339 with the zone's offset, and its name as in RFC 9557: `2026-03-29T03:00:00+02:00[Europe/Berlin]`.
    pub fn write(self, at: Timestamp) -> String {
        let local = at.to_chrono().with_timezone(&self.0);
        format!("{}[{}]", local.to_rfc3339_opts(SecondsFormat::AutoSi, false), self.name())
    }
}

/// The known zone whose name, or whose city, is spelled most like `name`.
fn nearest(name: &str) -> Tz {
    let plain = |text: &str| text.to_lowercase().replace(' ', "_");
    let city = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
    let wanted = plain(name);
    let likeness = |tz: &Tz| {
        let known = plain(tz.name());
        let whole = strsim::normalized_damerau_levenshtein(&wanted, &known);
        whole.max(0.95 * strsim::normalized_damerau_levenshtein(&city(&wanted), &city(&known)))
    };
    let best = TZ_VARIANTS.iter().map(|tz| (likeness(tz), tz)).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or(Tz::UTC, |(_, tz)| *tz)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An instant from RFC 3339, in seconds.
    fn at(text: &str) -> i64 {
        Timestamp::parse(text).expect(text).micros() / 1_000_000
    }

    fn zone(name: &str) -> Zone {
        Zone::find(name).unwrap()
    }

    #[test]
    fn unknown_zones_are_refused_with_the_nearest() {
        for (name, suggestion) in [
            ("Europe/Berln", "Europe/Berlin"),
            ("europe/berlin", "Europe/Berlin"),
            ("Berlin", "Europe/Berlin"),
            ("America/New York", "America/New_York"),
            ("Asia/Katmandoo", "Asia/Katmandu"),
            ("Lord_Howe", "Australia/Lord_Howe"),
            ("utc", "UTC"),
        ] {
            let error = Zone::find(name).expect_err(name);
            assert!(error.contains(&format!("{name:?}")), "{error}");
            assert!(error.contains(&format!("{suggestion:?}")), "{error}");
        }
        assert!(Zone::find("").is_err());
        assert!(Zone::find(&"x".repeat(65)).expect_err("too long").contains("at most 64"));
        // Renamed zones are known under both names.
        assert_eq!(zone("Europe/Kiev").offset(0), zone("Europe/Kyiv").offset(0));
    }

    #[test]
    fn readings_are_placed() {
        let berlin = zone("Europe/Berlin");
        let spring = Change { at: at("2026-03-29T01:00:00Z"), before: 3_600, after: 7_200 };
        let table = [
            ("2026-03-29T01:59:59Z", Place::Once(spring.at - 1)),
            ("2026-03-29T02:00:00Z", Place::Never(spring)),
            ("2026-03-29T02:59:59Z", Place::Never(spring)),
            ("2026-03-29T03:00:00Z", Place::Once(spring.at)),
            ("2026-10-25T01:59:59Z", Place::Once(at("2026-10-24T23:59:59Z"))),
            (
                "2026-10-25T02:00:00Z",
                Place::Twice { first: at("2026-10-25T00:00:00Z"), second: at("2026-10-25T01:00:00Z") },
            ),
            (
                "2026-10-25T02:59:59Z",
                Place::Twice { first: at("2026-10-25T00:59:59Z"), second: at("2026-10-25T01:59:59Z") },
            ),
            ("2026-10-25T03:00:00Z", Place::Once(at("2026-10-25T02:00:00Z"))),
        ];
        for (reading, place) in table {
            assert_eq!(berlin.place(at(reading)), place, "{reading}");
        }
    }

    #[test]
    fn a_reading_is_placed_where_a_clock_watched_by_the_minute_shows_it() {
        for name in
            ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "America/Havana"]
        {
            let zone = zone(name);
            for change in zone.changes(at("2008-01-01T00:00:00Z"), at("2030-01-01T00:00:00Z")) {
                let (from, until) = (change.at - 2 * DAY, change.at + 2 * DAY);
                let shown: Vec<(i64, i64)> =
                    (from..until).step_by(300).map(|at| (zone.reading(at), at)).collect();
                for reading in (change.at - DAY..change.at + DAY).step_by(300) {
                    let at: Vec<i64> = shown.iter().filter(|s| s.0 == reading).map(|s| s.1).collect();
                    let wanted = match at[..] {
                        [] => Place::Never(change),
                        [once] => Place::Once(once),
                        [first, second] => Place::Twice { first, second },
                        _ => panic!("{name} shows {reading} {} times", at.len()),
                    };
                    assert_eq!(zone.place(reading), wanted, "{name} {reading}");
                    let reached = shown.iter().filter(|s| s.0 >= reading).map(|s| s.1).min().unwrap();
                    assert_eq!(wanted.reached_at(), reached, "{name} {reading}");
                }
                let mut latest = i64::MIN;
                for (reading, at) in shown {
                    latest = latest.max(reading);
                    if at > change.at - DAY {
                        assert_eq!(zone.latest_reading(at) / 300, latest / 300, "{name} {at}");
                    }
                }
            }
        }
    }

    /// `first_change` looks once a day and `place` expects one change in its window: true of every zone there is.
    #[test]
    fn no_zone_changes_twice_within_the_window() {
        let from = at("2015-01-01T00:00:00Z");
        for tz in TZ_VARIANTS {
            let zone = Zone(tz);

            let (mut last_change, mut last) = (i64::MIN / 2, zone.offset(from));
            for at in (from..at("2040-01-01T00:00:00Z")).step_by(12 * 3_600) {
                let offset = zone.offset(at);
                assert!(offset.abs() < OFFSET_MAX, "{tz} {at}");
                if offset != last {
                    assert!(at - last_change > 2 * OFFSET_MAX + 12 * 3_600, "{tz} {at}");
                    assert!((offset - last).abs() <= DAY, "{tz} {at}");
                    (last_change, last) = (at, offset);
                }
            }
        }
    }

    #[test]
    fn instants_are_written_with_offset_and_zone() {
        let table = [
            ("2026-03-29T01:00:00Z", "Europe/Berlin", "2026-03-29T03:00:00+02:00[Europe/Berlin]"),
            ("2026-01-01T00:00:00.25Z", "Asia/Kathmandu", "2026-01-01T05:45:00.250+05:45[Asia/Kathmandu]"),
            ("2026-01-01T00:00:00Z", "UTC", "2026-01-01T00:00:00+00:00[UTC]"),
        ];
        for (instant, name, written) in table {
            assert_eq!(zone(name).write(Timestamp::parse(instant).unwrap()), written);
        }
    }
}
