//! Owns how values of settings are read and written: lengths of time, sizes, counts, hosts, databases.
//! It never knows which setting it reads.

use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::time::Duration;

use url::Url;

/// Units of time with their milliseconds, longest first: the order in which they may stand.
const TIME_UNITS: [(&str, u64); 6] =
    [("w", 7 * 86_400_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of size in bytes. The decimal ones are read but never written.
const SIZE_UNITS: [(&str, u64); 10] = [
    ("PiB", 1 << 50),
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Reads `250ms`, `30s`, `1m30s`, `7d`, `2w`: whole numbers with units, longest unit first, or a plain `0`.
pub fn parse_length(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut millis, mut units) = (text, 0u64, TIME_UNITS.iter());
    while !rest.is_empty() {
        let (number, after) = split_number(rest)?;
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        // The iterator goes on behind the last unit, so that no unit comes twice or out of order.
        let (_, worth) = units.find(|(name, _)| *name == &after[..end])?;
        millis = millis.checked_add(number.checked_mul(*worth)?)?;
        rest = &after[end..];
    }
    (!text.is_empty()).then(|| Duration::from_millis(millis))
}

/// The short form that [`parse_length`] reads: `1m30s`. What is below a millisecond is cut.
pub fn show_length(length: Duration) -> String {
    let mut rest = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    // Weeks are read but not written: "30d" is easier to compare than "4w2d".
    for (name, worth) in &TIME_UNITS[1..] {
        if rest >= *worth {
            let _ = write!(text, "{}{name}", rest / worth);
            rest %= worth;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

pub(super) fn accept_length(text: &str, millis: RangeInclusive<u64>) -> Option<Duration> {
    let length = parse_length(text)?;
    millis.contains(&u64::try_from(length.as_millis()).ok()?).then_some(length)
}

pub(super) fn accept_count(text: &str, range: RangeInclusive<u64>) -> Option<u64> {
    text.parse().ok().filter(|number| range.contains(number))
}

/// Puts in nothing for `off`, or what `accept` takes.
pub(super) fn put_or_off<T>(
    place: &mut Option<T>,
    text: &str,
    accept: impl Fn(&str) -> Option<T>,
) -> Option<()> {
    *place = if text == "off" { None } else { Some(accept(text)?) };
    Some(())
}

/// As `put_or_off` reads it.
pub(super) fn show_or_off<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "off".to_owned(), show)
}

pub(super) fn accept_switch(text: &str) -> Option<bool> {
    accept_word(text, &[("true", true), ("false", false), ("1", true), ("0", false)])
}

pub(super) fn accept_word<T: Copy>(text: &str, words: &[(&str, T)]) -> Option<T> {
    words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, meaning)| *meaning)
}

/// Bytes from `64MiB`, `10 GB` or a plain number of bytes.
pub(super) fn accept_size(text: &str, range: RangeInclusive<u64>) -> Option<u64> {
    let (number, unit) = split_number(text)?;
    let unit = unit.trim_start();
    let worth = match SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) {
        Some((_, worth)) => *worth,
        None if unit.is_empty() => 1,
        None => return None,
    };
    number.checked_mul(worth).filter(|bytes| range.contains(bytes))
}

pub(super) fn show_size(bytes: u64) -> String {
    let fits = |(_, worth): &&(&str, u64)| {
        worth.is_power_of_two() && bytes >= *worth && bytes.is_multiple_of(*worth)
    };
    SIZE_UNITS
        .iter()
        .find(fits)
        .map_or_else(|| bytes.to_string(), |(name, worth)| format!("{}{name}", bytes / worth))
}

/// A name or address, perhaps with a port: nothing that could be read as a path, a user or a wildcard.
pub(super) fn is_host(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:[]".contains(c))
}

/// A scheme and a host, as browsers write it in `Origin`.
pub(super) fn is_origin(text: &str) -> bool {
    ["https://", "http://"].iter().any(|scheme| text.strip_prefix(scheme).is_some_and(is_host))
}

/// The URL of a PostgreSQL database.
pub(super) fn accept_database(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    matches!(url.scheme(), "postgres" | "postgresql").then(|| text.to_owned())
}

/// The URL without its password, wherever that stands; of what is no URL nothing is shown.
pub fn without_password(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return "...".to_owned() };
    if url.password().is_some() {
        // It has a user, so it can have a password.
        let _ = url.set_password(Some("***"));
    }
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    if pairs.iter().any(|(name, _)| name == "password") {
        let hidden = pairs.into_iter().map(|(name, value)| {
            let value = if name == "password" { "***".to_owned() } else { value };
            (name, value)
        });
        url.query_pairs_mut().clear().extend_pairs(hidden);
    }
    url.into()
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}
