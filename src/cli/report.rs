//! Owns `report`: what a script says through the report channel of its job. It never asks the daemon anything and
//! never waits for long; outside a job it does nothing, so that a script runs the same by hand.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::base::clock::{Clock, SystemClock, pause};
use crate::domain::limits::REPORT_LINE_BYTES_MAX;

use super::outcome::{Stop, exit};
use super::{Context, input};

/// The variable that names the channel.
const CHANNEL: &str = "BEADLE_REPORT";
/// How long a full channel is tried again; the daemon empties it all the time.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(10);

/// `beadle report`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true)))]
pub struct ReportArgs {
    /// How far the job is: 3/10, 0.3 or 30%
    #[arg(long, group = "what", value_name = "PART", value_parser = part)]
    progress: Option<Value>,
    /// What --progress counts
    #[arg(long, requires = "progress", value_name = "WORD")]
    unit: Option<String>,
    /// What the job does now
    #[arg(long, group = "what", value_name = "TEXT")]
    status: Option<String>,
    /// A part of the job's result: key=text, or a JSON object; may be repeated
    #[arg(long = "output", group = "what", value_name = "KEY=TEXT", value_parser = output)]
    outputs: Vec<Map<String, Value>>,
    /// Ask for so much more time
    #[arg(long, group = "what", value_name = "LENGTH", value_parser = input::own_length)]
    extend_timeout: Option<Duration>,
    /// When this attempt fails, try again after so long
    #[arg(long, group = "what", value_name = "LENGTH", value_parser = input::own_length)]
    retry_after: Option<Duration>,
    /// When this attempt fails, do not try again
    #[arg(long, group = "what")]
    no_retry: bool,
    /// Hide this text (4 bytes or more) in everything that the job says from now on; may be repeated
    #[arg(long = "mask", group = "what", value_name = "SECRET")]
    masks: Vec<String>,
}

/// Writes one line to the channel of the job that we are in, if we are in one.
pub fn report(context: &mut Context, args: &ReportArgs) -> Result<u8, Stop> {
    // The first newline ends what a reporter before us may have left unfinished.
    let line = format!("\n{}\n", args.line());
    if line.len() > REPORT_LINE_BYTES_MAX + 1 {
        return Err(Stop::new(exit::USAGE, format!("a report has at most {REPORT_LINE_BYTES_MAX} bytes")));
    }
    let channel = context.environment.iter().find(|(name, value)| name == CHANNEL && !value.is_empty());
    let Some((_, path)) = channel else { return Ok(exit::OK) };
    if write(Path::new(path), line.as_bytes()) {
        return Ok(exit::OK);
    }
    let message = "the report was not delivered: nobody reads the channel";
    if !args.masks.is_empty() {
        // The script is about to show a secret that would not be hidden.
        return Err(Stop::new(exit::REFUSED, message));
    }
    context.screen.note(message);
    Ok(exit::OK)
}

impl ReportArgs {
    fn line(&self) -> Value {
        let mut line = Map::new();
        if let Some(mut progress) = self.progress.clone() {
            if let Some(unit) = &self.unit {
                progress["unit"] = json!(unit);
            }
            line.insert("progress".to_owned(), progress);
        }
        if let Some(status) = &self.status {
            line.insert("status".to_owned(), json!(status));
        }
        if !self.outputs.is_empty() {
            line.insert(
                "output".to_owned(),
                self.outputs.iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect(),
            );
        }
        for (name, length) in [("extendTimeout", self.extend_timeout), ("retryAfter", self.retry_after)] {
            if let Some(length) = length {
                line.insert(name.to_owned(), json!(length.as_secs_f64()));
            }
        }
        if self.no_retry {
            line.insert("noRetry".to_owned(), json!(true));
        }
        if !self.masks.is_empty() {
            line.insert("mask".to_owned(), json!(self.masks));
        }
        Value::Object(line)
    }
}

/// Whether the line was delivered, or there is no channel any more to deliver it to.
fn write(path: &Path, mut line: &[u8]) -> bool {
    let opened = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path);
    let mut channel = match opened {
        Ok(channel) => channel,
        // Nobody is there any more; anything else, such as a lack of rights, is a report that was not delivered.
        Err(error) => {
            return error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENXIO);
        }
    };
    if !channel.metadata().is_ok_and(|data| data.file_type().is_fifo()) {
        return true;
    }
    let began = SystemClock.monotonic();
    while !line.is_empty() {
        match channel.write(line) {
            Ok(count) => line = &line[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if SystemClock.monotonic().duration_since(began) >= PATIENCE {
                    return false;
                }
                pause(PAUSE);
            }
            Err(_) => return true,
        }
    }
    true
}

/// `3/10`, `0.3` or `30%`, as the channel reads it.
fn part(text: &str) -> Result<Value, String> {
    let bad = || "write 3/10, 0.3 or 30%".to_owned();
    let share = |text: &str, whole: f64| {
        let number: f64 = text.trim().parse().ok()?;
        (0.0..=whole).contains(&number).then(|| json!({ "fraction": number / whole }))
    };
    if let Some((done, total)) = text.split_once('/') {
        let number =
            |text: &str| text.trim().parse::<i64>().ok().filter(|number| *number >= 0).ok_or_else(bad);
        return Ok(json!({ "done": number(done)?, "total": number(total)? }));
    }
    text.strip_suffix('%').map_or_else(|| share(text, 1.0), |percent| share(percent, 100.0)).ok_or_else(bad)
}

/// `key=text`, or a JSON object.
fn output(text: &str) -> Result<Map<String, Value>, String> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| format!("not a JSON object: {error}"));
    }
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok([(key.to_owned(), json!(value))].into_iter().collect()),
        _ => Err("write key=text or a JSON object".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_written_in_three_ways() {
        assert_eq!(part("3/10"), Ok(json!({ "done": 3, "total": 10 })));
        let bytes = json!({ "done": 5_000_000_000_i64, "total": 10_000_000_000_i64 });
        assert_eq!(part("5000000000/10000000000"), Ok(bytes));
        assert_eq!(part("0.3"), Ok(json!({ "fraction": 0.3 })));
        assert_eq!(part("30%"), Ok(json!({ "fraction": 0.3 })));
        assert_eq!(part("1"), Ok(json!({ "fraction": 1.0 })));
        for bad in ["", "x", "3/", "-1", "1.5", "101%", "NaN", "3/x", "-3/10"] {
            assert!(part(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_output_is_a_pair_or_an_object() {
        assert_eq!(Value::Object(output("a=b=c").unwrap()), json!({ "a": "b=c" }));
        assert_eq!(Value::Object(output("{\"a\": [1]}").unwrap()), json!({ "a": [1] }));
        for bad in ["", "a", "=b", "{", "{\"a\"}"] {
            assert!(output(bad).is_err(), "{bad}");
        }
    }
}
