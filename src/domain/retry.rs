//! Owns the retry policy: how often, how long between, and after which failures.

use async_graphql::{InputObject, SimpleObject};
use serde::{Deserialize, Serialize};

use super::attempt::{AttemptOutcome, Ended};
use super::duration::Span;
use super::limits;
use super::rejection::Rejection;

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
        }
    }
}

impl RetryPolicy {
    /// Whether an attempt that ended so may be followed by another, tries apart.
    pub fn covers(&self, ended: &Ended) -> bool {
        let outcome_fits = self.retry_on.as_ref().is_none_or(|outcomes| outcomes.contains(&ended.outcome));
        let code_fits = match (ended.outcome, ended.exit_code, &self.exit_codes) {
            (AttemptOutcome::Exited, Some(code), Some(codes)) => codes.contains(&code),
            _ => true,
        };
        outcome_fits && code_fits
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
        if self.retry_on.as_ref().is_some_and(|outcomes| outcomes.len() > 16) {
            return Err(Rejection::invalid(&at("retryOn"), "names an outcome more than once"));
        }
        Ok(RetryPolicy {
            max_attempts: self.max_attempts,
            initial_delay: self.initial_delay,
            max_delay: self.max_delay,
            factor: self.factor,
            retry_on: self.retry_on,
            exit_codes: self.exit_codes,
        })
    }
}
