//! Owns `Span`, a length of time: how it is read, written and stored.
//! It never knows an instant: what a span is added to, and whether its size is allowed, is the caller's rule.

use std::fmt;
use std::time::Duration;

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};

/// The longest text that is read as a length of time, in bytes.
const TEXT_BYTES_MAX: usize = 64;

const ACCEPTED: &str =
    "write ISO 8601 (PT1M30S, PT0.25S, P1DT2H, P2W) or the short form (90s, 1m30s, 250ms, 2h, 1d, 1w)";

/// The units of the short form with their milliseconds, longest first: the order in which they may stand.
const SHORT_UNITS: [(&str, i64); 6] =
    [("w", WEEK_MS), ("d", DAY_MS), ("h", HOUR_MS), ("m", MINUTE_MS), ("s", SECOND_MS), ("ms", 1)];
/// The units before the `T` of ISO 8601.
const ISO_DATE_UNITS: [(&str, i64); 2] = [("W", WEEK_MS), ("D", DAY_MS)];
/// The units after the `T` of ISO 8601.
const ISO_TIME_UNITS: [(&str, i64); 3] = [("H", HOUR_MS), ("M", MINUTE_MS), ("S", SECOND_MS)];

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
const WEEK_MS: i64 = 7 * DAY_MS;

/// A length of time in whole milliseconds. It may be negative, so that callers can refuse that by range.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Span(i64);

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);

    /// A span of `millis` milliseconds.
    pub const fn from_millis(millis: i64) -> Span {
        Span(millis)
    }

    /// A span of `seconds` seconds, held inside the range of the type.
    pub const fn from_secs(seconds: i64) -> Span {
        Span(seconds.saturating_mul(SECOND_MS))
    }

    /// Cuts to whole milliseconds and holds what is longer at the longest span.
    pub fn from_std(length: Duration) -> Span {
        Span(i64::try_from(length.as_millis()).unwrap_or(i64::MAX))
    }

    /// The length in milliseconds.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// For waiting: a negative span is no wait.
    pub fn to_std(self) -> Duration {
        Duration::from_millis(u64::try_from(self.0).unwrap_or(0))
    }

    /// Reads ISO 8601 (`PT1M30S`) or the short form (`1m30s`), either with a sign in front.
    /// A day is 24 hours; months and years have no fixed length and are refused.
    ///
    /// # Errors
    /// A sentence that quotes the text, says what is wrong with it and what is accepted.
    pub fn parse(text: &str) -> Result<Span, String> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("A length of time has at most {TEXT_BYTES_MAX} characters: {ACCEPTED}."));
        }
        parse_signed(text)
            .map(Span)
            .map_err(|reason| format!("{text:?} is not a length of time, because {reason}: {ACCEPTED}."))
    }
}

impl fmt::Display for Span {
    /// Canonical ISO 8601: `PT1M30S`, `P1DT2H`, `PT0.25S`, `PT0S`, `-PT5S`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.unsigned_abs();
        let day = DAY_MS.unsigned_abs();
        let (days, rest) = (millis / day, millis % day);
        let (hours, minutes) = (rest / 3_600_000, rest / 60_000 % 60);
        let (seconds, part) = (rest / 1_000 % 60, rest % 1_000);
        f.write_str(if self.0 < 0 { "-P" } else { "P" })?;
        if days > 0 {
            write!(f, "{days}D")?;
        }
        if rest > 0 || days == 0 {
            f.write_str("T")?;
        }
        if hours > 0 {
            write!(f, "{hours}H")?;
        }
        if minutes > 0 {
            write!(f, "{minutes}M")?;
        }
        if part > 0 {
            let part = format!("{part:03}");
            write!(f, "{seconds}.{}S", part.trim_end_matches('0'))?;
        } else if seconds > 0 || millis == 0 {
            write!(f, "{seconds}S")?;
        }
        Ok(())
    }
}

/// A length of time. Written out as ISO 8601 (PT1M30S); also read in the short form 90s, 1m30s, 250ms.
#[Scalar(name = "Duration")]
impl ScalarType for Span {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => Span::parse(&text).map_err(InputValueError::custom),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.to_string())
    }
}

fn parse_signed(text: &str) -> Result<i64, String> {
    let (sign, rest) = match text.as_bytes().first() {
        None => return Err("it is empty".into()),
        Some(b'-') => (-1, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        Some(_) => (1, text),
    };
    let millis = match rest.strip_prefix('P') {
        Some(iso) => parse_iso(iso)?,
        None => parse_units(rest, &SHORT_UNITS)?,
    };
    i64::try_from(sign * millis).map_err(|_| "it is too long to count in milliseconds".into())
}

fn parse_iso(text: &str) -> Result<i128, String> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    if date.contains(['M', 'Y']) {
        return Err("months and years have no fixed length (count days instead, P30D)".into());
    }
    if time.is_some() && date.contains(['.', ',']) {
        return Err("only the last number may have a fraction".into());
    }
    match (date, time) {
        ("", None) => Err("no number follows the P".into()),
        (_, Some("")) => Err("no number follows the T".into()),
        ("", Some(time)) => parse_units(time, &ISO_TIME_UNITS),
        (date, None) => parse_units(date, &ISO_DATE_UNITS),
        (date, Some(time)) => Ok(parse_units(date, &ISO_DATE_UNITS)? + parse_units(time, &ISO_TIME_UNITS)?),
    }
}

/// Reads `1h30m`: numbers with units, each unit at most once, longest first. The sum of `TEXT_BYTES_MAX`
/// characters' worth of checked numbers cannot overflow 128 bits.
fn parse_units(text: &str, units: &[(&str, i64)]) -> Result<i128, String> {
    let (mut total, mut rest, mut units) = (0_i128, text, units);
    if rest.is_empty() {
        return Err("a number is missing".into());
    }
    while !rest.is_empty() {
        let number_end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',')
            .ok_or_else(|| format!("{rest:?} has no unit"))?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        if number.is_empty() {
            return Err(format!("a number is missing before {:?}", &rest[number_end..]));
        }
        if unit.is_empty() {
            return Err(format!("{:?} is no unit", tail.chars().next().unwrap_or_default()));
        }
        let at = units.iter().position(|(name, _)| *name == unit).ok_or_else(|| {
            format!("{unit:?} is no unit here, or not in its place (each unit once, longest first)")
        })?;
        if number.contains(['.', ',']) && !tail.is_empty() {
            return Err("only the last number may have a fraction".into());
        }
        total += scaled(number, units[at].1)?;
        units = &units[at + 1..];
        rest = tail;
    }
    Ok(total)
}

/// A decimal number of units as whole milliseconds, exactly.
fn scaled(number: &str, unit_ms: i64) -> Result<i128, String> {
    let (whole, fraction) = match number.split_once(['.', ',']) {
        Some((whole, fraction)) => (whole, fraction.trim_end_matches('0')),
        None => (number, ""),
    };
    let malformed = || format!("{number:?} is not a number");
    let ends_open = number.ends_with(['.', ',']) || whole.is_empty();
    if ends_open || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(malformed());
    }
    let too_long = || "it is too long to count in milliseconds".to_owned();
    let whole = i128::from(whole.parse::<i64>().map_err(|_| too_long())?);
    // Nine digits of a week are far finer than a millisecond: more of them can only be a mistake.
    let parts = match fraction.len() {
        0 => 0,
        1..=9 => fraction.parse::<i128>().map_err(|_| malformed())? * i128::from(unit_ms),
        _ => return Err("it is finer than a millisecond".into()),
    };
    let scale = 10_i128.pow(u32::try_from(fraction.len()).unwrap_or(0));
    if parts % scale != 0 {
        return Err("it is finer than a millisecond".into());
    }
    Ok(whole * i128::from(unit_ms) + parts / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_written_canonically() {
        let table = [
            ("PT1M30S", 90_000, "PT1M30S"),
            ("90s", 90_000, "PT1M30S"),
            ("1m30s", 90_000, "PT1M30S"),
            ("P1D", 86_400_000, "P1D"),
            ("PT24H", 86_400_000, "P1D"),
            ("1d", 86_400_000, "P1D"),
            ("PT0.25S", 250, "PT0.25S"),
            ("PT0,25S", 250, "PT0.25S"),
            ("PT0.2500S", 250, "PT0.25S"),
            ("250ms", 250, "PT0.25S"),
            ("1ms", 1, "PT0.001S"),
            ("P1DT2H", 93_600_000, "P1DT2H"),
            ("1d2h", 93_600_000, "P1DT2H"),
            ("P2W", 1_209_600_000, "P14D"),
            ("1w", 604_800_000, "P7D"),
            ("P1W2D", 777_600_000, "P9D"),
            ("2h", 7_200_000, "PT2H"),
            ("1.5s", 1_500, "PT1.5S"),
            ("1.5h", 5_400_000, "PT1H30M"),
            ("P0.5D", 43_200_000, "PT12H"),
            ("1m0.5s", 60_500, "PT1M0.5S"),
            ("1s500ms", 1_500, "PT1.5S"),
            ("0s", 0, "PT0S"),
            ("PT0S", 0, "PT0S"),
            ("P0D", 0, "PT0S"),
            ("-0s", 0, "PT0S"),
            ("-5s", -5_000, "-PT5S"),
            ("-PT5S", -5_000, "-PT5S"),
            ("+5s", 5_000, "PT5S"),
            ("90061001ms", 90_061_001, "P1DT1H1M1.001S"),
            ("9223372036854775807ms", i64::MAX, "P106751991167DT7H12M55.807S"),
        ];
        for (text, millis, written) in table {
            let span = Span::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(span.millis(), millis, "{text}");
            assert_eq!(span.to_string(), written, "{text}");
            assert_eq!(Span::parse(written), Ok(span), "{written} reads back");
        }
        assert_eq!(Span::from_millis(i64::MIN).to_string(), "-P106751991167DT7H12M55.808S");
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut millis = 1_i64;
        while millis < i64::MAX / 7 {
            for span in [millis, -millis, millis - 1].map(Span::from_millis) {
                assert_eq!(Span::parse(&span.to_string()), Ok(span));
            }
            millis = millis * 7 + 3;
        }
    }

    #[test]
    fn malformed_lengths_are_refused_with_a_reason() {
        let table = [
            ("", "empty"),
            ("-", "number is missing"),
            ("5", "has no unit"),
            ("1m5", "has no unit"),
            ("s", "number is missing"),
            ("P", "follows the P"),
            ("PT", "follows the T"),
            ("P1DT", "follows the T"),
            ("P1M", "months and years"),
            ("P1Y2M", "months and years"),
            ("P1Y2MT3S", "months and years"),
            ("1y", "\"y\" is no unit"),
            ("1month", "no unit"),
            ("P1H", "no unit here"),
            ("PT1D", "no unit here"),
            ("pt5s", "number is missing"),
            ("5S", "no unit here"),
            ("30s1m", "longest first"),
            ("1s1s", "longest first"),
            ("1.5h30m", "last number"),
            ("P1.5DT1H", "last number"),
            ("1 s", "no unit"),
            (" 1s", "number is missing"),
            ("1s ", "number is missing"),
            ("1..5s", "not a number"),
            ("1.s", "not a number"),
            (".5s", "not a number"),
            ("1e3s", "no unit"),
            ("--5s", "number is missing"),
            ("P-1D", "number is missing"),
            ("0.0001s", "finer"),
            ("0.5ms", "finer"),
            ("0.1234567891w", "finer"),
            ("9223372036854775808ms", "too long"),
            ("106751991168d", "too long"),
            ("99999999999999999999w", "too long"),
            ("P106751991167DT7H12M55.808S", "too long"),
            ("\u{661}s", "number is missing"),
            ("5\u{e9}", "no unit"),
            ("soon", "number is missing"),
        ];
        for (text, reason) in table {
            let error = Span::parse(text).expect_err(text);
            assert!(error.contains(reason), "{text:?}: {error}");
            assert!(error.contains("PT1M30S") && error.contains("1m30s"), "{error}");
        }
        let long = format!("{}s", "0".repeat(TEXT_BYTES_MAX));
        assert!(Span::parse(&long).expect_err("too many characters").contains("at most 64"));
    }

    #[test]
    fn conversions_hold_their_range() {
        assert_eq!(Span::from_millis(-1).to_std(), Duration::ZERO);
        assert_eq!(Span::from_millis(1_500).to_std(), Duration::from_millis(1_500));
        assert_eq!(Span::from_std(Duration::from_micros(1_999)), Span::from_millis(1));
        assert_eq!(Span::from_std(Duration::MAX), Span::from_millis(i64::MAX));
        assert_eq!(Span::from_secs(i64::MAX).millis(), i64::MAX);
        assert_eq!(serde_json::to_string(&Span::from_secs(90)).unwrap(), "90000");
        assert_eq!(serde_json::from_str::<Span>("-5").unwrap(), Span::from_millis(-5));
        assert!(Span::parse("-1ms").unwrap() < Span::ZERO);
    }

    #[test]
    fn the_scalar_reads_text_only() {
        let read = |value: Value| <Span as ScalarType>::parse(value).ok();
        assert_eq!(read(Value::from("1m30s")), Some(Span::from_secs(90)));
        assert_eq!(read(Value::from(90)), None);
        assert_eq!(read(Value::Null), None);
        assert_eq!(ScalarType::to_value(&Span::from_secs(90)), Value::from("PT1M30S"));
    }
}
