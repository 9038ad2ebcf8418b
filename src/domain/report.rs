//! Owns what a job says about itself through its report channel: how a line is read and what it adds up to.
//! Pure. A line that makes no sense is counted and changes nothing; it never fails a job.

use std::time::Duration;

use async_graphql::SimpleObject;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::duration::Span;
use super::limits::{REPORT_OUTPUT_BYTES_MAX, SPAN_MILLIS_MAX, TEXT_BYTES_MAX, TIMEOUT_FACTOR_MAX};
use super::mask::Masks;
use super::scalars::BigInt;
use crate::base::clock::Timestamp;

/// How far a job has come, by its own word.
#[derive(Debug, Clone, PartialEq, SimpleObject, Serialize, Deserialize)]
pub struct Progress {
    /// The part that is done, 0 to 1.
    pub fraction: Option<f64>,
    /// What is done, counted in `unit`.
    pub done: Option<BigInt>,
    /// What there is to do, counted in `unit`.
    pub total: Option<BigInt>,
    /// What is counted.
    pub unit: Option<String>,
    /// What it does now, in a few words.
    pub status: Option<String>,
    /// When it said so last.
    pub updated_at: Timestamp,
    /// When it will be done if it goes on as fast as since its first word.
    pub estimated_finish_at: Option<Timestamp>,
}

/// What a job wants to happen after an attempt that does not succeed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryAdvice {
    /// Not to be run again.
    pub is_final: bool,
    /// To be run again after this time, whatever the policy says of such a failure; the tries are still limited.
    pub retry_after: Option<Span>,
}

/// What an attempt has reported and the store does not know when it ends.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LastWord {
    /// How far it came.
    pub progress: Option<Progress>,
    /// Its structured result, everything that was reported, merged.
    pub output: Option<Map<String, Value>>,
}

/// Everything that one attempt has reported so far.
#[derive(Debug, Clone, Default)]
pub struct Reported {
    progress: Option<Progress>,
    /// Where the rate is measured from.
    first: Option<(Timestamp, f64)>,
    output: Map<String, Value>,
    output_version: u64,
    extension_millis: i64,
    advice: RetryAdvice,
    masks: Masks,
    ignored_count: u64,
    refused_count: u64,
}

impl Reported {
    /// Nothing yet, of a job that was given these secrets: they are hidden from its first word on.
    pub fn hiding<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Reported {
        let mut reported = Reported::default();
        for secret in secrets {
            reported.masks.give(secret);
        }
        reported
    }

    /// Takes one line of the channel.
    pub fn hear(&mut self, line: &[u8], now: Timestamp) {
        if line.trim_ascii().is_empty() {
            return;
        }
        match serde_json::from_slice(line) {
            Ok(Value::Object(report)) => self.take(report, now),
            _ => self.ignored_count += 1,
        }
    }

    /// Counts lines that were too long to be read.
    pub fn ignore(&mut self, lines: u64) {
        self.ignored_count = self.ignored_count.saturating_add(lines);
    }

    /// How far it has come.
    pub fn progress(&self) -> Option<&Progress> {
        self.progress.as_ref()
    }

    /// The structured result with its version, which rises with every change; 0 means that there is none.
    pub fn output(&self) -> (u64, &Map<String, Value>) {
        (self.output_version, &self.output)
    }

    /// How long the attempt may run in all, given its timeout and the most that it may become; without the
    /// latter it is a multiple of the timeout.
    pub fn allowed(&self, timeout: Span, max: Option<Span>) -> Span {
        let max = max.map_or(timeout.millis().saturating_mul(TIMEOUT_FACTOR_MAX), Span::millis);
        Span::from_millis(timeout.millis().saturating_add(self.extension_millis).min(max))
    }

    /// What is to follow when it does not succeed.
    pub fn advice(&self) -> RetryAdvice {
        self.advice
    }

    /// The secrets to hide.
    pub fn masks(&self) -> &Masks {
        &self.masks
    }

    /// What was not taken, as one sentence for the log.
    pub fn remark(&self) -> Option<String> {
        let mut parts = Vec::new();
        if self.ignored_count > 0 {
            parts.push(format!("{} that were no JSON object or too long", self.ignored_count));
        }
        if self.refused_count > 0 {
            parts.push(format!("{} values that were not acceptable", self.refused_count));
        }
        (!parts.is_empty()).then(|| format!("reports ignored: {}", parts.join(", ")))
    }

    fn take(&mut self, report: Map<String, Value>, now: Timestamp) {
        // The secrets first: the rest of the line may hold them.
        if let Some(mask) = report.get("mask") {
            self.mask(mask);
        }
        let mut refused = 0;
        for (key, value) in report {
            let is_taken = match key.as_str() {
                "progress" => self.move_on(&value, now),
                "status" => self.say(&value, now),
                "output" => self.merge(value),
                "extendTimeout" => seconds(&value).is_some_and(|span| {
                    self.extension_millis = (self.extension_millis + span.millis()).min(SPAN_MILLIS_MAX);
                    true
                }),
                "retryAfter" => seconds(&value).is_some_and(|span| {
                    self.advice.retry_after = Some(span);
                    true
                }),
                "noRetry" => value.as_bool().is_some_and(|is_final| {
                    self.advice.is_final = is_final;
                    true
                }),
                // `mask` is taken; the others are of a later version.
                _ => true,
            };
            refused += u64::from(!is_taken);
        }
        self.refused_count += refused;
    }

    fn mask(&mut self, value: &Value) {
        let secrets = match value {
            Value::Array(secrets) => secrets.as_slice(),
            secret => std::slice::from_ref(secret),
        };
        let known_count = self.masks.count();
        for secret in secrets {
            let is_hidden = secret.as_str().is_some_and(|secret| self.masks.add(secret));
            self.refused_count += u64::from(!is_hidden);
        }
        if self.masks.count() == known_count {
            return;
        }
        // What was said before may hold it too.
        if let Some(progress) = &mut self.progress {
            for text in [&mut progress.status, &mut progress.unit].into_iter().flatten() {
                *text = self.masks.hide(text);
            }
        }
        if !self.output.is_empty() {
            let hidden = hide_object(&self.masks, std::mem::take(&mut self.output));
            self.output = hidden;
            self.output_version += 1;
        }
    }

    fn move_on(&mut self, value: &Value, now: Timestamp) -> bool {
        let Value::Object(given) = value else { return false };
        let count = |name: &str| given.get(name).and_then(whole).map(BigInt);
        let (done, total) = (count("done"), count("total"));
        let unit = given.get("unit").and_then(Value::as_str).map(|unit| self.tame(unit));
        let fraction = match (given.get("fraction").and_then(Value::as_f64), done, total) {
            (Some(fraction), ..) => Some(fraction),
            #[expect(clippy::cast_precision_loss, reason = "a share of the whole needs few digits")]
            (None, Some(done), Some(total)) if total.0 > 0 => Some(done.0 as f64 / total.0 as f64),
            _ => None,
        };
        let fraction = fraction.map(|fraction| fraction.clamp(0.0, 1.0));
        if fraction.is_none() && done.is_none() {
            return false;
        }
        let estimated_finish_at = fraction.and_then(|fraction| self.estimate(fraction, now));
        let status = self.progress.take().and_then(|before| before.status);
        self.progress =
            Some(Progress { fraction, done, total, unit, status, updated_at: now, estimated_finish_at });
        true
    }

    fn estimate(&mut self, fraction: f64, now: Timestamp) -> Option<Timestamp> {
        // A job that begins something new is measured anew.
        let (since, from) = *self.first.get_or_insert((now, fraction));
        if fraction < from {
            self.first = Some((now, fraction));
            return None;
        }
        let took = now.since(since).as_secs_f64();
        if fraction <= from || fraction >= 1.0 || took <= 0.0 {
            return None;
        }
        let left = Duration::try_from_secs_f64(took * (1.0 - fraction) / (fraction - from)).ok()?;
        Some(now.plus(left))
    }

    fn say(&mut self, value: &Value, now: Timestamp) -> bool {
        let Some(status) = value.as_str() else { return false };
        let status = Some(self.tame(status)).filter(|status| !status.is_empty());
        match &mut self.progress {
            Some(progress) => {
                progress.status = status;
                progress.updated_at = now;
            }
            None => {
                self.progress = Some(Progress {
                    fraction: None,
                    done: None,
                    total: None,
                    unit: None,
                    status,
                    updated_at: now,
                    estimated_finish_at: None,
                });
            }
        }
        true
    }

    fn merge(&mut self, value: Value) -> bool {
        let Value::Object(given) = value else { return false };
        let mut merged = self.output.clone();
        merged.extend(hide_object(&self.masks, given));
        let bytes = serde_json::to_string(&merged).map_or(usize::MAX, |text| text.len());
        if bytes > REPORT_OUTPUT_BYTES_MAX {
            return false;
        }
        self.output = merged;
        self.output_version += 1;
        true
    }

    /// A short text on one line, without secrets.
    pub fn tame(&self, text: &str) -> String {
        let text = self.masks.hide(text);
        let mut end = text.len().min(TEXT_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text[..end].chars().map(|sign| if sign.is_control() { ' ' } else { sign }).collect()
    }
}

/// A number that is not negative, fractions cut off.
fn whole(value: &Value) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "what is too large is held at the largest number")]
    let whole = value.as_i64().or_else(|| value.as_f64().map(|number| number as i64));
    whole.filter(|number| *number >= 0)
}

fn seconds(value: &Value) -> Option<Span> {
    let length = Duration::try_from_secs_f64(value.as_f64()?).ok()?;
    Some(Span::from_millis(Span::from_std(length).millis().min(SPAN_MILLIS_MAX)))
}

fn hide_object(masks: &Masks, object: Map<String, Value>) -> Map<String, Value> {
    if masks.is_empty() {
        return object;
    }
    object.into_iter().map(|(key, value)| (masks.hide(&key), hide_value(masks, value))).collect()
}

fn hide_value(masks: &Masks, value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(masks.hide(&text)),
        Value::Array(values) => values.into_iter().map(|value| hide_value(masks, value)).collect(),
        Value::Object(object) => Value::Object(hide_object(masks, object)),
        // A number can be a secret: then it is a text from here on.
        Value::Number(number) => {
            let (plain, hidden) = (number.to_string(), masks.hide(&number.to_string()));
            if plain == hidden { Value::Number(number) } else { Value::String(hidden) }
        }
        value => value,
    }
}

/// The middle one of some lengths of time in microseconds; of an even number the mean of the two in the middle.
pub fn median(mut micros: Vec<i64>) -> Option<Duration> {
    micros.sort_unstable();
    let upper = *micros.get(micros.len() / 2)?;
    let lower = micros[(micros.len() - 1) / 2];
    let middle = lower + (upper - lower) / 2;
    Some(Duration::from_micros(u64::try_from(middle).unwrap_or(0)))
}

#[cfg(test)]
mod tests;
