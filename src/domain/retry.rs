//! Owns the retry policy: how often, how long between, and after which failures.

use async_graphql::{InputObject, SimpleObject};
use serde::{Deserialize, Serialize};

use super::attempt::{AttemptOutcome, Ended};
use super::duration::Span;
use super::limits;
use super::rejection::Rejection;
use super::signal;

/// The exit code of a temporary failure: `EX_TEMPFAIL` of sysexits.
const TEMPORARY_FAILURE: i32 = 75;

/// Outcomes that no policy decides about: a success, a stop that somebody asked for, and an interruption, which
/// costs no try and goes by `isRestartable`.
const NEVER_RETRIED: [AttemptOutcome; 3] =
    [AttemptOutcome::Succeeded, AttemptOutcome::Cancelled, AttemptOutcome::Interrupted];

/// When and how often a failed job is tried again.
#[derive(Debug, Clone, PartialEq, SimpleObject, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Tries in all, the first included; interruptions by a shutdown do not count.
    pub max_attempts: i32,
    /// Wait before the second try.
    pub initial_delay: Span,
    /// No wait is longer than this.
    pub max_delay: Span,
    /// Each wait is this much longer than the one before.
    pub factor: f64,
    /// Try again only after these outcomes; null means after any failure.
    pub retry_on: Option<Vec<AttemptOutcome>>,
    /// Of the attempts that exited, try again only after these exit codes; null means any.
    pub exit_codes: Option<Vec<i32>>,
    /// Of the attempts that a signal ended, try again only after these; null means any.
    #[serde(default)]
    pub signals: Option<Vec<String>>,
    /// Whether exit code 75 (a temporary failure) is tried again whatever the conditions say.
    #[serde(default)]
    pub retries_temporary_failure: bool,
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy {
            max_attempts: 1,
            initial_delay: Span::from_millis(5_000),
            max_delay: Span::from_millis(600_000),
            factor: 2.0,
            retry_on: None,
            exit_codes: None,
            signals: None,
            retries_temporary_failure: false,
        }
    }
}

impl RetryPolicy {
    /// Whether an attempt that ended so may be followed by another, tries apart.
    pub fn covers(&self, ended: &Ended) -> bool {
        let is_temporary =
            ended.outcome == AttemptOutcome::Exited && ended.exit_code == Some(TEMPORARY_FAILURE);
        if is_temporary && self.retries_temporary_failure {
            return true;
        }
        let outcome_fits = self.retry_on.as_ref().is_none_or(|outcomes| outcomes.contains(&ended.outcome));
        let code_fits = match (ended.outcome, ended.exit_code, &self.exit_codes) {
            (AttemptOutcome::Exited, Some(code), Some(codes)) => codes.contains(&code),
            _ => true,
        };
        let signal_fits = match (ended.outcome, &ended.signal, &self.signals) {
            (AttemptOutcome::Signaled, Some(signal), Some(signals)) => signals.contains(signal),
            _ => true,
        };
        outcome_fits && code_fits && signal_fits
    }

    /// The wait after `failed_tries` failures; `unit` in `[0, 1)` spreads it by a tenth.
    pub fn delay(&self, failed_tries: u32, unit: f64) -> Span {
        super::backoff::delay(self.initial_delay, self.max_delay, self.factor, failed_tries, unit)
    }
}

/// When and how often a failed job is tried again.
#[derive(Debug, Clone, InputObject)]
pub struct RetryPolicyInput {
    /// Tries in all, the first included.
    #[graphql(default = 1)]
    pub max_attempts: i32,
    /// Wait before the second try.
    #[graphql(default_with = "Span::from_millis(5_000)")]
    pub initial_delay: Span,
    /// No wait is longer than this.
    #[graphql(default_with = "Span::from_millis(600_000)")]
    pub max_delay: Span,
    /// Each wait is this much longer than the one before (1 to 100).
    #[graphql(default = 2.0)]
    pub factor: f64,
    /// Try again only after these outcomes; null means after any failure.
    pub retry_on: Option<Vec<AttemptOutcome>>,
    /// Of the attempts that exited, try again only after these exit codes.
    pub exit_codes: Option<Vec<i32>>,
    /// Of the attempts that a signal ended, try again only after these, such as SIGSEGV.
    pub signals: Option<Vec<String>>,
    /// Try again after exit code 75 (a temporary failure) whatever the conditions above say; the tries are still
    /// limited.
    #[graphql(default)]
    pub retries_temporary_failure: bool,
}

impl RetryPolicyInput {
    /// The policy, or what is wrong with the field under `path`.
    pub fn check(self, path: &str) -> Result<RetryPolicy, Rejection> {
        let at = |field: &str| format!("{path}.{field}");
        if !(1..=limits::ATTEMPTS_MAX).contains(&self.max_attempts) {
            return Err(Rejection::invalid(
                &at("maxAttempts"),
                format!("must lie in 1..={}", limits::ATTEMPTS_MAX),
            ));
        }
        if !(1.0..=100.0).contains(&self.factor) {
            return Err(Rejection::invalid(&at("factor"), "must lie in 1..=100"));
        }
        super::command::check_span(&at("initialDelay"), self.initial_delay, 0)?;
        super::command::check_span(&at("maxDelay"), self.max_delay, 0)?;
        let codes = self.exit_codes.as_deref().unwrap_or_default();
        if codes.len() > 256 || codes.iter().any(|code| !(0..=255).contains(code)) {
            return Err(Rejection::invalid(&at("exitCodes"), "must hold exit codes, 0 to 255"));
        }
        let outcomes = self.retry_on.as_deref().unwrap_or_default();
        if outcomes.len() > 16 {
            return Err(Rejection::invalid(&at("retryOn"), "names an outcome more than once"));
        }
        if let Some(outcome) = outcomes.iter().find(|outcome| NEVER_RETRIED.contains(outcome)) {
            let message = format!("no attempt that ended {} is tried again by a policy", outcome.word());
            return Err(Rejection::invalid(&at("retryOn"), message));
        }
        let signals = self.signals.as_deref().unwrap_or_default();
        if signals.len() > 64 || signals.iter().any(|name| !signal::is_known(name)) {
            return Err(Rejection::invalid(&at("signals"), "must hold names of signals, such as SIGSEGV"));
        }
        Ok(RetryPolicy {
            max_attempts: self.max_attempts,
            initial_delay: self.initial_delay,
            max_delay: self.max_delay,
            factor: self.factor,
            retry_on: self.retry_on,
            exit_codes: self.exit_codes,
            signals: self.signals,
            retries_temporary_failure: self.retries_temporary_failure,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exited(code: i32) -> Ended {
        Ended { exit_code: Some(code), ..Ended::without_process(AttemptOutcome::Exited, "x") }
    }

    fn signaled(signal: &str) -> Ended {
        Ended { signal: Some(signal.to_owned()), ..Ended::without_process(AttemptOutcome::Signaled, "x") }
    }

    #[test]
    fn a_policy_covers_what_its_conditions_name() {
        let all = RetryPolicy::default();
        let codes = RetryPolicy { exit_codes: Some(vec![1]), ..all.clone() };
        let signals = RetryPolicy { signals: Some(vec!["SIGSEGV".to_owned()]), ..all.clone() };
        let lost = RetryPolicy { retry_on: Some(vec![AttemptOutcome::Lost]), ..all.clone() };
        let nothing = RetryPolicy { retry_on: Some(vec![]), ..all.clone() };
        let temporary =
            |policy: &RetryPolicy| RetryPolicy { retries_temporary_failure: true, ..policy.clone() };
        let timed_out = Ended::without_process(AttemptOutcome::TimedOut, "x");
        for (policy, ended, is_covered) in [
            (&all, &exited(75), true),
            (&codes, &exited(75), false),
            (&codes, &exited(1), true),
            (&codes, &signaled("SIGKILL"), true),
            (&signals, &signaled("SIGKILL"), false),
            (&signals, &signaled("SIGSEGV"), true),
            (&signals, &exited(1), true),
            (&lost, &exited(75), false),
            (&lost, &Ended::without_process(AttemptOutcome::Lost, "x"), true),
            (&temporary(&lost), &exited(75), true),
            (&temporary(&lost), &exited(1), false),
            (&temporary(&codes), &exited(75), true),
            (&temporary(&nothing), &exited(75), true),
            (&temporary(&nothing), &exited(76), false),
            // Stopped for its time, it may still have exited with 75: that is no word of its own.
            (&temporary(&nothing), &Ended { exit_code: Some(75), ..timed_out }, false),
        ] {
            assert_eq!(policy.covers(ended), is_covered, "{policy:?} {ended:?}");
        }
    }

    #[test]
    fn a_policy_that_was_stored_before_reads_as_it_did() {
        let old = r#"{"max_attempts":3,"initial_delay":5000,"max_delay":600000,"factor":2.0,"retry_on":null,
                      "exit_codes":[75]}"#;
        let policy: RetryPolicy = serde_json::from_str(old).unwrap();
        assert_eq!((policy.signals, policy.retries_temporary_failure), (None, false));
    }
}
