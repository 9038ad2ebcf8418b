//! Owns cron patterns on a plain calendar: reading the text, the next matching reading, how many there are.
//! It never knows a time zone: readings are what a wall clock shows (see `domain::zone`), and every day has 24 hours.

use chrono::{Datelike as _, NaiveDate};
use croner::parser::{CronParser, Seconds, Year};

use super::zone::DAY;

/// The longest pattern that is read, in bytes.
pub const PATTERN_BYTES_MAX: usize = 256;
/// How far a pattern is searched. 29 February falls on a given weekday at least once in 40 years.
const SEARCH_DAYS_MAX: i64 = 41 * 366;

const SHORTHANDS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// A field's name, its range, and the names that stand for values in it.
struct Field {
    name: &'static str,
    least: u16,
    most: u16,
    names: &'static [&'static str],
}

const SECOND: Field = Field { name: "second", least: 0, most: 59, names: &[] };
const FIELDS: [Field; 5] = [
    Field { name: "minute", least: 0, most: 59, names: &[] },
    Field { name: "hour", least: 0, most: 23, names: &[] },
    Field { name: "day of month", least: 1, most: 31, names: &[] },
    Field {
        name: "month",
        least: 1,
        most: 12,
        names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    },
    Field {
        name: "day of week",
        least: 0,
        most: 7,
        names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    },
];

/// A cron pattern, read once. Bit `n` of a set stands for value `n`.
#[derive(Debug, Clone)]
pub struct CronPattern {
    seconds: u64,
    minutes: u64,
    hours: u64,
    months: u64,
    dates: Box<croner::CronPattern>,
    follows_elapsed_time: bool,
}

impl CronPattern {
    /// Reads five fields, six fields (the second first), or a shorthand like `@daily`.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what is accepted.
    pub fn compile(text: &str) -> Result<CronPattern, String> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("A cron pattern has at most {PATTERN_BYTES_MAX} characters."));
        }
        let spelled_out = spell_out(text.trim())?.to_ascii_uppercase();
        let fields: Vec<&str> = spelled_out.split_whitespace().collect();
        check_fields(&fields).map_err(|reason| format!("{text:?} is not a cron pattern: {reason}."))?;
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let parsed =
            parser.parse(&spelled_out).map_err(|error| format!("{text:?} is not a cron pattern: {error}"))?;
        let moving = |field: &&str| field.contains(['*', '/']);
        let pattern = CronPattern {
            seconds: bits(&parsed.pattern.seconds.values()),
            minutes: bits(&parsed.pattern.minutes.values()),
            hours: bits(&parsed.pattern.hours.values()),
            months: bits(&parsed.pattern.months.values()),
            dates: Box::new(parsed.pattern),
            follows_elapsed_time: fields.iter().rev().skip(3).take(2).any(moving),
        };
        match pattern.next_from(0) {
            Some(_) => Ok(pattern),
            None => Err(format!("{text:?} never fires: no date matches it.")),
        }
    }

    /// The same of a pattern that is new: also refuses what fires at other times than it says. Those that are there already
    /// go on as they do.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn check(text: &str) -> Result<CronPattern, String> {
        let pattern = CronPattern::compile(text)?;
        match misread(&text.to_ascii_uppercase()) {
            None => Ok(pattern),
            Some(reason) => Err(format!("{text:?} is not a cron pattern: {reason}.")),
        }
    }

    /// Whether the minute or the hour is a wildcard or a step: such a pattern keeps its rhythm in real time when
    /// clocks change. All others name fixed times of day.
    pub fn follows_elapsed_time(&self) -> bool {
        self.follows_elapsed_time
    }

    /// The first matching reading at or after `reading`. `None` when there is none within 41 years.
    pub fn next_from(&self, reading: i64) -> Option<i64> {
        let first = reading.div_euclid(DAY);
        if self.matches_date(date(first)?)
            && let Some(time) = self.next_time(reading.rem_euclid(DAY))
        {
            return Some(first * DAY + time);
        }
        let mut day = first + 1;
        while day <= first + SEARCH_DAYS_MAX {
            let today = date(day)?;
            if !has(self.months, today.month()) {
                day += i64::from(today.num_days_in_month()) - i64::from(today.day0());
            } else if self.matches_date(today) {
                return Some(day * DAY + self.next_time(0)?);
            } else {
                day += 1;
            }
        }
        None
    }

    /// How many readings match in `from..until`. Its work grows with the days between, not with the matches.
    pub fn count(&self, from: i64, until: i64) -> u64 {
        if from >= until {
            return 0;
        }
        let (first, last) = (from.div_euclid(DAY), until.div_euclid(DAY));
        let matching = (first..=last).filter(|day| date(*day).is_some_and(|date| self.matches_date(date)));
        matching
            .map(|day| {
                let begin = if day == first { self.times_before(from.rem_euclid(DAY)) } else { 0 };
                let end = if day == last { until.rem_euclid(DAY) } else { DAY };
                self.times_before(end) - begin
            })
            .sum()
    }

    fn matches_date(&self, date: NaiveDate) -> bool {
        let weekday = croner::Weekday::from_days_from_sunday(date.weekday().num_days_from_sunday());
        has(self.months, date.month())
            && self.dates.day_match(date.year(), date.month(), date.day(), weekday).unwrap_or(false)
    }

    /// The first matching second of a day at or after `second`.
    fn next_time(&self, second: i64) -> Option<i64> {
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        let joined = |h: i64, m: i64, s: i64| h * 3_600 + m * 60 + s;
        if has(self.hours, hour) {
            if has(self.minutes, minute)
                && let Some(second) = at_or_above(self.seconds, second)
            {
                return Some(joined(hour, minute, second));
            }
            if let Some(minute) = at_or_above(self.minutes, minute + 1) {
                return Some(joined(hour, minute, at_or_above(self.seconds, 0)?));
            }
        }
        let hour = at_or_above(self.hours, hour + 1)?;
        Some(joined(hour, at_or_above(self.minutes, 0)?, at_or_above(self.seconds, 0)?))
    }

    /// How many matching seconds of a day lie before `second`, which may be the day's end.
    fn times_before(&self, second: i64) -> u64 {
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        let (in_minute, in_hour) = (size(self.seconds), size(self.seconds) * size(self.minutes));
        let mut count = size(below(self.hours, hour)) * in_hour;
        if has(self.hours, hour) {
            count += size(below(self.minutes, minute)) * in_minute;
            if has(self.minutes, minute) {
                count += size(below(self.seconds, second));
            }
        }
        count
    }
}

fn spell_out(text: &str) -> Result<&str, String> {
    if text.eq_ignore_ascii_case("@reboot") {
        return Err(
            "@reboot is not a time: a schedule does not fire when the daemon starts. Use a cron pattern or \
                    `every`."
                .into(),
        );
    }
    match SHORTHANDS.iter().find(|(name, _)| text.eq_ignore_ascii_case(name)) {
        Some((_, fields)) => Ok(fields),
        None if text.starts_with('@') => {
            let known: Vec<&str> = SHORTHANDS.iter().map(|(name, _)| *name).collect();
            Err(format!(
                "{text:?} is not known: use one of {}, five or six fields, or `every`.",
                known.join(" ")
            ))
        }
        None => Ok(text),
    }
}

/// What the parser takes for something else, in a pattern that it takes.
fn misread(text: &str) -> Option<&'static str> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [.., day, _, weekday] = fields[..] else { return None };
    let lists = |field: &str, value: &str| field.split(',').any(|part| part == value);
    if lists(day, "L") && lists(day, "LW") {
        return Some("L and LW do not stand together in the day of month");
    }
    if lists(weekday, "L") {
        return Some("\"L\" in the day of week needs a day, as in FRIL");
    }
    weekday.contains("SUN-SUN").then_some("SUN-SUN in the day of week is one day: write SUN")
}

/// Refuses, with the field's name, what the parser would take by mistake (a month's name among the minutes, an
/// empty part of a list) or refuse without saying where.
fn check_fields(fields: &[&str]) -> Result<(), String> {
    let (seconds, rest) = match fields.len() {
        5 => (None, fields),
        6 => (Some(fields[0]), &fields[1..]),
        count => {
            return Err(format!(
                "it has {count} fields, not 5 (minute, hour, day of month, month, day of week) or 6 (second first)"
            ));
        }
    };
    if let Some(text) = seconds {
        check_field(&SECOND, text)?;
    }
    FIELDS.iter().zip(rest).try_for_each(|(field, text)| check_field(field, text))
}

fn check_field(field: &Field, text: &str) -> Result<(), String> {
    for part in text.split(',') {
        let (values, step) = match part.split_once('/') {
            Some((values, step)) => (values, Some(step)),
            None => (part, None),
        };
        let is_number = |text: &str| text.parse::<u16>().is_ok_and(|n| (1..=field.most).contains(&n));
        if step.is_some_and(|step| !is_number(step)) {
            return Err(format!("the step of {part:?} in the {} is not 1 to {}", field.name, field.most));
        }
        if step.is_some() && !values.contains(['*', '?', '-']) {
            return Err(format!(
                "{part:?} in the {} steps from a single value: write a range or *, as in {values}-{}/2",
                field.name, field.most
            ));
        }
        if !values.split('-').all(|value| check_value(field, value)) {
            let names = match field.names {
                [first, .., last] => format!(" or {first} to {last}"),
                _ => String::new(),
            };
            return Err(format!(
                "{part:?} in the {} is not made of values from {} to {}{names}",
                field.name, field.least, field.most
            ));
        }
    }
    Ok(())
}

fn check_value(field: &Field, text: &str) -> bool {
    let special = |text: &str| match field.name {
        "day of month" => matches!(text, "?" | "L" | "LW"),
        "day of week" => matches!(text, "?" | "L"),
        _ => false,
    };
    // `15W` is the weekday nearest to the 15th; `5L` the last Friday; `5#2` the second Friday.
    let bare = match field.name {
        "day of month" => text.strip_suffix('W').unwrap_or(text),
        "day of week" => match text.split_once('#') {
            Some((bare, "1" | "2" | "3" | "4" | "5" | "L")) => bare,
            _ => text.strip_suffix('L').unwrap_or(text),
        },
        _ => text,
    };
    let digits = !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_digit());
    text == "*"
        || special(text)
        || field.names.contains(&bare)
        || (digits && bare.parse().is_ok_and(|value| (field.least..=field.most).contains(&value)))
}

fn bits(values: &[u16]) -> u64 {
    values.iter().fold(0, |set, value| set | 1 << value)
}

fn has(set: u64, value: impl Into<i64>) -> bool {
    let value = value.into();
    (0..64).contains(&value) && set >> value & 1 == 1
}

fn below(set: u64, value: i64) -> u64 {
    if value >= 64 { set } else { set & ((1 << value) - 1) }
}

fn at_or_above(set: u64, value: i64) -> Option<i64> {
    let rest = set & !below(u64::MAX, value);
    (rest != 0).then(|| i64::from(rest.trailing_zeros()))
}

fn size(set: u64) -> u64 {
    u64::from(set.count_ones())
}

fn date(day: i64) -> Option<NaiveDate> {
    NaiveDate::from_epoch_days(i32::try_from(day).ok()?)
}

#[cfg(test)]
mod tests;
