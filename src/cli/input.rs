//! Owns how words of the command line are read. What is cheap to check is checked here, so that a slip is a
//! usage error before anything is sent; the daemon checks the rest.

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::random::{Random, SystemRandom};
use crate::base::settings::parse_length;
use crate::client::inputs::{Label, Variable};

const LENGTHS: &str = "write a length such as 250ms, 90s, 1m30s or 2h";

/// What stands in the help for a job.
pub const JOB_HELP: &str = "The job: 1234 or job_1234";

/// Random bytes in a key that we make.
const KEY_BYTES: usize = 16;

/// `1234` or `job_1234`, as the API writes it.
pub fn job_id(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix("job_").unwrap_or(text);
    let is_good =
        !digits.is_empty() && digits.len() <= 18 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_good { Ok(format!("job_{digits}")) } else { Err("write 1234 or job_1234".to_owned()) }
}

/// `12` or `incident_12`, as the API writes it.
pub fn incident_id(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix("incident_").unwrap_or(text);
    let is_good =
        !digits.is_empty() && digits.len() <= 18 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_good { Ok(format!("incident_{digits}")) } else { Err("write 12 or incident_12".to_owned()) }
}

/// A length of time as the API reads it: the short form, or ISO 8601, which the daemon checks.
pub fn length(text: &str) -> Result<String, String> {
    if text.starts_with('P') || parse_length(text).is_some() {
        Ok(text.to_owned())
    } else {
        Err(LENGTHS.to_owned())
    }
}

/// A length of time that we wait for ourselves.
pub fn own_length(text: &str) -> Result<Duration, String> {
    parse_length(text).ok_or_else(|| LENGTHS.to_owned())
}

/// An instant as the API reads it.
pub fn instant(text: &str) -> Result<String, String> {
    match Timestamp::parse(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("write an instant such as 2026-01-31T12:00:00Z or 2026-01-31T13:00:00+01:00".to_owned()),
    }
}

/// `key=value`.
pub fn label(text: &str) -> Result<Label, String> {
    pair(text).map(|(key, value)| Label { key, value })
}

/// `NAME=value`.
pub fn variable(text: &str) -> Result<Variable, String> {
    pair(text).map(|(name, value)| Variable { name, value })
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write name=value".to_owned()),
    }
}

/// A directory; a relative one is taken from where the command is given, because the daemon is elsewhere.
pub fn directory(text: &str) -> Result<String, String> {
    let path = std::path::absolute(text).map_err(|error| error.to_string())?;
    path.into_os_string().into_string().map_err(|_| "the directory's name is not UTF-8".to_owned())
}

/// The key given, else a random one: it makes the request safe to repeat.
pub fn key_or_random(key: Option<&String>) -> String {
    key.cloned().unwrap_or_else(|| SystemRandom.hex(KEY_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_with_and_without_their_noun() {
        assert_eq!(job_id("12"), Ok("job_12".to_owned()));
        assert_eq!(job_id("job_12"), Ok("job_12".to_owned()));
        for bad in ["", "job_", "task_1", "-1", "1x", "1234567890123456789"] {
            assert!(job_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn slips_are_found_before_anything_is_sent() {
        assert!(length("90s").is_ok() && length("PT1M").is_ok());
        assert!(length("90").is_err() && length("soon").is_err());
        assert!(instant("2026-01-31T12:00:00+01:00").is_ok());
        assert!(instant("tomorrow").is_err() && instant("2026-01-31").is_err());
        assert_eq!(pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(pair("a="), Ok(("a".into(), String::new())));
        assert!(pair("a").is_err() && pair("=b").is_err());
        assert!(directory("here").unwrap().starts_with('/'));
    }

    #[test]
    fn keys_that_we_make_differ() {
        assert_ne!(key_or_random(None), key_or_random(None));
        assert_eq!(key_or_random(Some(&"mine".to_owned())), "mine");
    }
}
