//! The same jobs, moved by the product's own rules as the store applies them.

use beadle::base::clock::Timestamp;
use beadle::domain::attempt::{AttemptOutcome, Ended};
use beadle::domain::duration::Span;
use beadle::domain::job::{DependencyFailure, JobState};
use beadle::domain::lifecycle::{
    DependencyStanding, RunningJob, Verdict, beside_dependencies, may_follow, settle,
};
use beadle::domain::report::RetryAdvice;
use beadle::domain::retry::RetryPolicy;

use super::reference::{End, Make, Step};

/// Outcomes by the words of the API.
pub const OUTCOMES: [AttemptOutcome; 10] = [
    AttemptOutcome::Succeeded,
    AttemptOutcome::Exited,
    AttemptOutcome::Signaled,
    AttemptOutcome::TimedOut,
    AttemptOutcome::OutOfMemory,
    AttemptOutcome::SpawnFailed,
    AttemptOutcome::Panicked,
    AttemptOutcome::Cancelled,
    AttemptOutcome::Lost,
    AttemptOutcome::Interrupted,
];

#[derive(Debug)]
struct Job {
    state: JobState,
    run_at: Timestamp,
    start_by: Option<Timestamp>,
    has_started: bool,
    is_asked_to_stop: bool,
    is_restartable: bool,
    tries: i32,
    policy: RetryPolicy,
    on: Vec<usize>,
    on_failure: DependencyFailure,
}

/// Some jobs, by the rules.
#[derive(Debug)]
pub struct Rules {
    now: Timestamp,
    jobs: Vec<Job>,
    /// Every move so far.
    pub moves: Vec<(&'static str, &'static str)>,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { now: Timestamp(0), jobs: Vec::new(), moves: Vec::new() }
    }
}

impl Rules {
    /// Does the step; gives whether it was accepted.
    pub fn apply(&mut self, step: &Step) -> bool {
        match step {
            Step::Make(wish) => self.make(wish),
            Step::Pass(millis) => {
                self.now = self.now.plus_millis(*millis);
                true
            }
            Step::Look(slots) => self.look(*slots),
            Step::End(nth, end) => self.end(*nth, end),
            Step::Cancel(at) => self.cancel(*at),
            Step::Hold(at) => {
                let may = matches!(self.jobs[*at].state, JobState::Queued | JobState::Scheduled);
                if may {
                    self.go(*at, JobState::Held);
                }
                may
            }
            Step::Release(at) => {
                let may = self.jobs[*at].state == JobState::Held;
                if may {
                    let to = self.beside(*at);
                    // A job goes from its hold to the others that it waits for, and on from there.
                    if to == JobState::Skipped {
                        self.go(*at, JobState::Blocked);
                    }
                    self.go(*at, to);
                }
                may
            }
        }
    }

    /// Where each job stands.
    pub fn states(&self) -> Vec<&'static str> {
        self.jobs.iter().map(|job| job.state.word()).collect()
    }

    /// When each job may start, in milliseconds.
    pub fn run_ats(&self) -> Vec<i64> {
        self.jobs.iter().map(|job| job.run_at.0 / 1_000).collect()
    }

    fn beside(&self, at: usize) -> JobState {
        let job = &self.jobs[at];
        if job.on.is_empty() {
            return JobState::waiting_for(job.run_at, self.now);
        }
        let standing = DependencyStanding::of(job.on.iter().map(|on| self.jobs[*on].state));
        beside_dependencies(job.on_failure, standing, job.run_at, self.now)
    }

    fn go(&mut self, at: usize, to: JobState) {
        let from = self.jobs[at].state;
        assert!(may_follow(from, to), "job {at} goes from {from:?} to {to:?}");
        self.moves.push((from.word(), to.word()));
        self.jobs[at].state = to;
        if !to.is_final() {
            return;
        }
        for dependant in 0..self.jobs.len() {
            let job = &self.jobs[dependant];
            if job.state == JobState::Blocked && job.on.contains(&at) {
                let next = self.beside(dependant);
                if next != JobState::Blocked {
                    self.go(dependant, next);
                }
            }
        }
    }

    fn make(&mut self, wish: &Make) -> bool {
        let run_at = self.now.plus_millis(wish.delay);
        self.jobs.push(Job {
            state: JobState::Held,
            run_at,
            start_by: wish.start_within.map(|within| run_at.plus_millis(within)),
            has_started: false,
            is_asked_to_stop: false,
            is_restartable: wish.is_restartable,
            tries: 0,
            policy: RetryPolicy {
                max_attempts: wish.tries_max,
                retry_on: wish.only_lost.then(|| vec![AttemptOutcome::Lost]),
                exit_codes: wish.only_75.then(|| vec![75]),
                ..RetryPolicy::default()
            },
            on: wish.on.clone(),
            on_failure: if wish.runs_anyway { DependencyFailure::Run } else { DependencyFailure::Skip },
        });
        let at = self.jobs.len() - 1;
        if !wish.is_held {
            self.jobs[at].state = match self.beside(at) {
                JobState::Skipped => {
                    self.jobs[at].state = JobState::Blocked;
                    self.go(at, JobState::Skipped);
                    JobState::Skipped
                }
                state => state,
            };
        }
        true
    }

    fn is_late(&self, at: usize) -> bool {
        let job = &self.jobs[at];
        !job.has_started && job.start_by.is_some_and(|by| by <= self.now)
    }

    fn look(&mut self, slots: usize) -> bool {
        let waits = |job: &Job| matches!(job.state, JobState::Scheduled | JobState::Queued);
        let late: Vec<_> =
            (0..self.jobs.len()).filter(|at| waits(&self.jobs[*at]) && self.is_late(*at)).collect();
        for at in late {
            self.go(at, JobState::Expired);
        }
        for at in 0..self.jobs.len() {
            let job = &self.jobs[at];
            if matches!(job.state, JobState::Scheduled | JobState::Retrying) && job.run_at <= self.now {
                self.go(at, JobState::Queued);
            }
        }
        let is_next = |at: &usize| self.jobs[*at].state == JobState::Queued && !self.is_late(*at);
        let next: Vec<_> = (0..self.jobs.len()).filter(is_next).take(slots).collect();
        for at in next {
            self.go(at, JobState::Running);
            self.jobs[at].has_started = true;
        }
        true
    }

    fn end(&mut self, nth: usize, end: &End) -> bool {
        let is_running = |at: &usize| self.jobs[*at].state == JobState::Running;
        let running: Vec<_> = (0..self.jobs.len()).filter(is_running).collect();
        if running.is_empty() {
            return false;
        }
        let at = running[nth % running.len()];
        let outcome =
            OUTCOMES.into_iter().find(|outcome| outcome.word() == end.outcome).expect("a word of ours");
        let ended = Ended {
            exit_code: (outcome == AttemptOutcome::Exited).then_some(end.code),
            advice: RetryAdvice { is_final: end.says_no, retry_after: end.says_after.map(Span::from_millis) },
            ..Ended::without_process(outcome, String::new())
        };
        let job = &self.jobs[at];
        let running = RunningJob {
            policy: &job.policy,
            tries_before: job.tries,
            is_restartable: job.is_restartable,
            is_stop_requested: job.is_asked_to_stop,
        };
        let verdict = settle(&running, &ended, self.now, 0.5);
        if let Verdict::Retry(_, run_at) = &verdict {
            self.jobs[at].run_at = *run_at;
        }
        assert_eq!(verdict.failure().is_none(), verdict.state() == JobState::Succeeded);
        self.jobs[at].tries += i32::from(outcome != AttemptOutcome::Interrupted);
        self.go(at, verdict.state());
        true
    }

    fn cancel(&mut self, at: usize) -> bool {
        if self.jobs[at].state == JobState::Running {
            self.jobs[at].is_asked_to_stop = true;
        } else if self.jobs[at].state.is_final() {
            return false;
        } else {
            self.go(at, JobState::Cancelled);
        }
        true
    }
}
