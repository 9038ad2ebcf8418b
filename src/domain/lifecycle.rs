//! Owns the rules of a job's life: which state may follow which, and what an ended attempt means.
//! Pure; the same rules stand in the migrations as CHECKs and in the store as guards.

use super::attempt::{AttemptOutcome, Ended, Failure};
use super::job::{DependencyFailure, JobState};
use super::retry::RetryPolicy;
use crate::base::clock::Timestamp;

/// Whether a job may go from one state to the other.
pub fn may_follow(from: JobState, to: JobState) -> bool {
    use JobState as S;
    match from {
        S::Held => matches!(to, S::Queued | S::Scheduled | S::Blocked | S::Cancelled),
        S::Blocked => matches!(to, S::Queued | S::Scheduled | S::Skipped | S::Cancelled),
        S::Scheduled => matches!(to, S::Queued | S::Cancelled | S::Expired | S::Held),
        S::Queued => matches!(to, S::Running | S::Cancelled | S::Expired | S::Held | S::Scheduled),
        S::Running => matches!(to, S::Succeeded | S::Failed | S::Cancelled | S::Retrying | S::Queued),
        S::Retrying => matches!(to, S::Queued | S::Cancelled),
        S::Succeeded | S::Failed | S::Cancelled | S::Expired | S::Skipped => false,
    }
}

/// How the jobs stand that another one depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DependencyStanding {
    /// Whether one of them is not final.
    pub has_open: bool,
    /// Whether one of them ended without success.
    pub has_failed: bool,
}

impl DependencyStanding {
    /// How jobs in these states stand.
    pub fn of(states: impl IntoIterator<Item = JobState>) -> DependencyStanding {
        states.into_iter().fold(DependencyStanding::default(), |standing, state| DependencyStanding {
            has_open: standing.has_open || !state.is_final(),
            has_failed: standing.has_failed || (state.is_final() && state != JobState::Succeeded),
        })
    }
}

/// Where a job belongs that depends on others: it waits for them, is skipped, or waits for its time or turn.
pub fn beside_dependencies(
    policy: DependencyFailure,
    standing: DependencyStanding,
    run_at: Timestamp,
    now: Timestamp,
) -> JobState {
    match policy {
        DependencyFailure::Skip if standing.has_failed => JobState::Skipped,
        _ if standing.has_open => JobState::Blocked,
        _ => JobState::waiting_for(run_at, now),
    }
}

/// What is known of a running job when its attempt ends.
#[derive(Debug, Clone)]
pub struct RunningJob<'a> {
    /// Its policy.
    pub policy: &'a RetryPolicy,
    /// Tries used up before this attempt.
    pub tries_before: i32,
    /// Whether an interruption puts it back into its queue.
    pub is_restartable: bool,
    /// Whether somebody asked to stop it.
    pub is_stop_requested: bool,
}

/// What becomes of the job.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It did what it should.
    Succeeded,
    /// It did not, and will not be tried again.
    Failed(Failure),
    /// Somebody stopped it.
    Cancelled(Failure),
    /// It is tried again at the instant.
    Retry(Failure, Timestamp),
    /// It goes back to its queue at no cost.
    Requeue(Failure),
}

impl Verdict {
    /// The state that the job takes.
    pub fn state(&self) -> JobState {
        match self {
            Verdict::Succeeded => JobState::Succeeded,
            Verdict::Failed(_) => JobState::Failed,
            Verdict::Cancelled(_) => JobState::Cancelled,
            Verdict::Retry(..) => JobState::Retrying,
            Verdict::Requeue(_) => JobState::Queued,
        }
    }

    /// Why, when it did not succeed.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Verdict::Succeeded => None,
            Verdict::Failed(failure) | Verdict::Cancelled(failure) | Verdict::Requeue(failure) => {
                Some(failure)
            }
            Verdict::Retry(failure, _) => Some(failure),
        }
    }
}

/// Decides about the job when its attempt has ended. `unit` in `[0, 1)` spreads the retry delay.
pub fn settle(job: &RunningJob<'_>, ended: &Ended, now: Timestamp, unit: f64) -> Verdict {
    if ended.outcome == AttemptOutcome::Succeeded {
        return Verdict::Succeeded;
    }
    let failure = Failure {
        outcome: ended.outcome,
        message: ended.message.clone(),
        exit_code: ended.exit_code,
        signal: ended.signal.clone(),
        error_line: ended.error_line.clone(),
        is_retryable: !ended.advice.is_final
            && (ended.advice.retry_after.is_some() || job.policy.covers(ended)),
    };
    // A cancel is final, also when the worker died or shut down before it took effect.
    if ended.outcome == AttemptOutcome::Cancelled || job.is_stop_requested {
        return Verdict::Cancelled(failure);
    }
    // The job's own word stands above the policy: also an interruption does not run it again.
    if ended.advice.is_final {
        return Verdict::Failed(failure);
    }
    if ended.outcome == AttemptOutcome::Interrupted {
        let is_put_back = job.is_restartable || ended.is_unbegun;
        return if is_put_back { Verdict::Requeue(failure) } else { Verdict::Failed(failure) };
    }
    let tries = job.tries_before.saturating_add(1);
    if failure.is_retryable && tries < job.policy.max_attempts {
        let by_policy = || job.policy.delay(u32::try_from(tries).unwrap_or(1), unit);
        let delay = ended.advice.retry_after.unwrap_or_else(by_policy);
        return Verdict::Retry(failure, now.plus_millis(delay.millis()));
    }
    Verdict::Failed(failure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::duration::Span;
    use crate::domain::job::JOB_STATES;
    use crate::domain::report::RetryAdvice;

    const NOW: Timestamp = Timestamp(1_000_000_000_000);

    fn policy(max_attempts: i32) -> RetryPolicy {
        RetryPolicy { max_attempts, ..RetryPolicy::default() }
    }

    fn end(outcome: AttemptOutcome) -> Ended {
        Ended::without_process(outcome, "x")
    }

    fn settle_with(
        policy: &RetryPolicy,
        tries: i32,
        restartable: bool,
        stop: bool,
        ended: &Ended,
    ) -> JobState {
        let job =
            RunningJob { policy, tries_before: tries, is_restartable: restartable, is_stop_requested: stop };
        settle(&job, ended, NOW, 0.5).state()
    }

    #[test]
    fn a_final_state_is_never_left() {
        for from in JOB_STATES.into_iter().filter(|state| state.is_final()) {
            assert!(JOB_STATES.into_iter().all(|to| !may_follow(from, to)), "{from:?}");
        }
    }

    #[test]
    fn every_verdict_is_a_legal_step_from_running() {
        for outcome in [
            AttemptOutcome::Succeeded,
            AttemptOutcome::Exited,
            AttemptOutcome::Lost,
            AttemptOutcome::Interrupted,
            AttemptOutcome::Cancelled,
            AttemptOutcome::TimedOut,
        ] {
            for tries in 0..3 {
                for (restartable, stop) in [(false, false), (true, false), (false, true), (true, true)] {
                    let state = settle_with(&policy(3), tries, restartable, stop, &end(outcome));
                    assert!(may_follow(JobState::Running, state), "{outcome:?} gave {state:?}");
                }
            }
        }
    }

    #[test]
    fn tries_are_used_up_by_failures_but_not_by_interruptions() {
        let exited = end(AttemptOutcome::Exited);
        assert_eq!(settle_with(&policy(1), 0, true, false, &exited), JobState::Failed);
        assert_eq!(settle_with(&policy(2), 0, true, false, &exited), JobState::Retrying);
        assert_eq!(settle_with(&policy(2), 1, true, false, &exited), JobState::Failed);
        let interrupted = end(AttemptOutcome::Interrupted);
        assert_eq!(settle_with(&policy(1), 0, true, false, &interrupted), JobState::Queued);
        assert_eq!(settle_with(&policy(1), 0, false, false, &interrupted), JobState::Failed);
    }

    #[test]
    fn a_cancelled_job_is_not_tried_again_whatever_ended_the_attempt() {
        for outcome in [AttemptOutcome::Lost, AttemptOutcome::Interrupted, AttemptOutcome::Signaled] {
            assert_eq!(settle_with(&policy(9), 0, true, true, &end(outcome)), JobState::Cancelled);
        }
    }

    #[test]
    fn a_job_that_says_so_is_not_tried_again() {
        let advice = RetryAdvice { is_final: true, retry_after: Some(Span::from_millis(1)) };
        for (outcome, stop, state) in [
            (AttemptOutcome::Exited, false, JobState::Failed),
            (AttemptOutcome::TimedOut, false, JobState::Failed),
            (AttemptOutcome::Interrupted, false, JobState::Failed),
            (AttemptOutcome::Interrupted, true, JobState::Cancelled),
            (AttemptOutcome::Cancelled, false, JobState::Cancelled),
            (AttemptOutcome::Succeeded, false, JobState::Succeeded),
        ] {
            let ended = Ended { advice, ..end(outcome) };
            assert_eq!(settle_with(&policy(9), 0, true, stop, &ended), state, "{outcome:?}");
        }
    }

    #[test]
    fn a_job_chooses_the_time_of_its_next_try_while_tries_remain() {
        let advice = RetryAdvice { is_final: false, retry_after: Some(Span::from_millis(90_000)) };
        let only_lost = RetryPolicy { retry_on: Some(vec![AttemptOutcome::Lost]), ..policy(2) };
        for policy in [policy(2), only_lost] {
            let job = |tries_before| RunningJob {
                policy: &policy,
                tries_before,
                is_restartable: false,
                is_stop_requested: false,
            };
            let ended = Ended { advice, ..end(AttemptOutcome::Exited) };
            let Verdict::Retry(failure, at) = settle(&job(0), &ended, NOW, 0.5) else {
                panic!("it asked for another try")
            };
            assert_eq!((at, failure.is_retryable), (NOW.plus_millis(90_000), true));
            assert_eq!(settle(&job(1), &ended, NOW, 0.5).state(), JobState::Failed);
        }
        let succeeded = Ended { advice, ..end(AttemptOutcome::Succeeded) };
        assert_eq!(settle_with(&policy(2), 0, true, false, &succeeded), JobState::Succeeded);
    }

    #[test]
    fn the_policy_limits_which_failures_are_tried_again() {
        let only_lost = RetryPolicy { retry_on: Some(vec![AttemptOutcome::Lost]), ..policy(5) };
        assert_eq!(settle_with(&only_lost, 0, true, false, &end(AttemptOutcome::Exited)), JobState::Failed);
        assert_eq!(settle_with(&only_lost, 0, true, false, &end(AttemptOutcome::Lost)), JobState::Retrying);
        let only_75 = RetryPolicy { exit_codes: Some(vec![75]), ..policy(5) };
        let exit = |code| Ended { exit_code: Some(code), ..end(AttemptOutcome::Exited) };
        assert_eq!(settle_with(&only_75, 0, true, false, &exit(75)), JobState::Retrying);
        assert_eq!(settle_with(&only_75, 0, true, false, &exit(1)), JobState::Failed);
    }
}
