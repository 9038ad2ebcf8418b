//! Owns the job: one durable request to run something.

use async_graphql::{Enum, InputObject, SimpleObject};
use serde::{Deserialize, Serialize};

use super::attempt::Failure;
use super::command::Command;
use super::concurrency::LimitKey;
use super::duration::Span;
use super::event::EventCursor;
use super::id::{JobId, ScheduleId, TaskId, TokenId};
use super::limits;
use super::report::Progress;
use super::retry::RetryPolicy;
use super::scalars::Json;
use crate::base::clock::Timestamp;

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enum, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobState {
    /// Created on hold; waits for a person.
    Held,
    /// Waits for jobs that it depends on.
    Blocked,
    /// Its time has not come.
    Scheduled,
    /// May start as soon as there is room.
    Queued,
    /// An attempt is under way.
    Running,
    /// The last attempt failed; the next try has its time.
    Retrying,
    /// Final: it did what it should.
    Succeeded,
    /// Final: it did not, and will not be tried again.
    Failed,
    /// Final: somebody stopped it.
    Cancelled,
    /// Final: it was not started in time.
    Expired,
    /// Final: a job that it depends on did not succeed.
    Skipped,
}

/// Every state, in the order in which a job may pass them.
pub const JOB_STATES: [JobState; 11] = [
    JobState::Held,
    JobState::Blocked,
    JobState::Scheduled,
    JobState::Queued,
    JobState::Running,
    JobState::Retrying,
    JobState::Succeeded,
    JobState::Failed,
    JobState::Cancelled,
    JobState::Expired,
    JobState::Skipped,
];

impl JobState {
    /// The word in the store and the API.
    pub fn word(self) -> &'static str {
        match self {
            JobState::Held => "HELD",
            JobState::Blocked => "BLOCKED",
            JobState::Scheduled => "SCHEDULED",
            JobState::Queued => "QUEUED",
            JobState::Running => "RUNNING",
            JobState::Retrying => "RETRYING",
            JobState::Succeeded => "SUCCEEDED",
            JobState::Failed => "FAILED",
            JobState::Cancelled => "CANCELLED",
            JobState::Expired => "EXPIRED",
            JobState::Skipped => "SKIPPED",
        }
    }

    /// The state of a word from the store.
    pub fn from_word(word: &str) -> Option<JobState> {
        JOB_STATES.into_iter().find(|state| state.word() == word)
    }

    /// The state of a job that waits for nothing but its time.
    pub fn waiting_for(run_at: Timestamp, now: Timestamp) -> JobState {
        if run_at > now { JobState::Scheduled } else { JobState::Queued }
    }

    /// Whether a job never leaves this state.
    pub fn is_final(self) -> bool {
        self >= JobState::Succeeded
    }
}

/// How a job came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Enum, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobOrigin {
    /// Somebody asked for it.
    Api,
    /// A schedule made it.
    Schedule,
    /// Somebody retried a final job.
    Retry,
}

impl JobOrigin {
    /// The word in the store and the API.
    pub fn word(self) -> &'static str {
        match self {
            JobOrigin::Api => "API",
            JobOrigin::Schedule => "SCHEDULE",
            JobOrigin::Retry => "RETRY",
        }
    }

    /// The origin of a word from the store.
    pub fn from_word(word: &str) -> Option<JobOrigin> {
        [JobOrigin::Api, JobOrigin::Schedule, JobOrigin::Retry]
            .into_iter()
            .find(|origin| origin.word() == word)
    }
}

/// A key and a value to find jobs by.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject, InputObject, Serialize, Deserialize)]
#[graphql(input_name = "LabelInput")]
pub struct Label {
    /// The label's key.
    pub key: String,
    /// The label's value.
    pub value: String,
}

/// One durable request to run something.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(complex)]
pub struct Job {
    /// Its row.
    #[graphql(skip)]
    pub id: JobId,
    /// Where it stands.
    pub state: JobState,
    /// No other job has this key until it is final.
    pub unique_key: Option<String>,
    /// The task it was made from.
    #[graphql(skip)]
    pub task_id: Option<TaskId>,
    /// The task's name when it was made.
    #[graphql(skip)]
    pub task_name: Option<String>,
    /// Revision of the task that it was made from.
    pub task_revision: Option<i32>,
    /// What runs: the command as resolved for this job.
    pub command: Command,
    /// The queue's name.
    #[graphql(skip)]
    pub queue_name: String,
    /// Higher goes first, -100 to 100; a waiting job gains one step a minute.
    pub priority: i32,
    /// Keys and values to find it by.
    pub labels: Vec<Label>,
    /// How it came to be.
    pub origin: JobOrigin,
    /// Who asked: the token's name, or the schedule.
    pub requested_by: String,
    /// When and how often it is tried again.
    pub retry_policy: RetryPolicy,
    /// An attempt that runs longer is stopped.
    pub timeout: Option<Span>,
    /// An attempt that neither writes nor reports for so long is stopped.
    pub idle_timeout: Option<Span>,
    /// Time between the polite signal and the one that kills.
    pub kill_grace: Span,
    /// Whether it goes back to its queue when a shutdown interrupts it.
    pub is_restartable: bool,
    /// Why it did not succeed, or why the last attempt did not.
    pub failure: Option<Failure>,
    /// The job that this one retries.
    #[graphql(skip)]
    pub retry_of: Option<JobId>,
    /// The schedule that made it.
    #[graphql(skip)]
    pub schedule_id: Option<ScheduleId>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// It does not start before this.
    pub run_at: Timestamp,
    /// It expires when it has not started by then.
    pub start_by: Option<Timestamp>,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When it became final.
    pub finished_at: Option<Timestamp>,
    /// When somebody asked to stop it.
    pub stop_requested_at: Option<Timestamp>,
    /// Attempts made so far, interrupted ones included.
    #[graphql(skip)]
    pub attempt_count: i32,
    /// Attempts that count against the policy.
    #[graphql(skip)]
    pub try_count: i32,
    /// How far it has come, by the word of its current, else its last attempt.
    pub progress: Option<Progress>,
    /// What the command is told for this job, with the defaults of its task's schema.
    pub parameters: Option<Json>,
    /// The token that asked for it.
    #[graphql(skip)]
    pub token_id: Option<TokenId>,
    /// Who keeps it on hold.
    #[graphql(skip)]
    pub held_by: Option<String>,
    /// What it shares a limit with.
    #[graphql(skip)]
    pub limit_key: Option<LimitKey>,
    /// Since when it stands behind its key.
    #[graphql(skip)]
    pub gated_at: Option<Timestamp>,
    /// What becomes of it when a job that it depends on does not succeed; null when it depends on none.
    pub on_dependency_failure: Option<DependencyFailure>,
    /// Whether both streams of its output are one, `STDOUT`, in their true order.
    #[graphql(name = "mergeOutput")]
    pub merges_output: bool,
    /// The longest that an attempt may run with all the time that it asks for; null means ten times its timeout.
    #[graphql(name = "maxTimeout")]
    pub timeout_max: Option<Span>,
    /// It runs only on a worker with all of these labels; empty means on any.
    pub runs_on: Vec<Label>,
    /// Position of the last event of this job.
    pub event_cursor: EventCursor,
}

impl Job {
    /// Stands as its next attempt begins.
    pub fn begin(&mut self, now: Timestamp) {
        self.state = JobState::Running;
        self.attempt_count += 1;
        self.started_at.get_or_insert(now);
        self.progress = None;
    }
}

/// What becomes of a job when one that it depends on does not succeed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Enum, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DependencyFailure {
    /// It is skipped.
    #[default]
    Skip,
    /// It runs all the same, once all of them have ended.
    Run,
}

impl DependencyFailure {
    /// The word in the store and the API.
    pub fn word(self) -> &'static str {
        match self {
            DependencyFailure::Skip => "SKIP",
            DependencyFailure::Run => "RUN",
        }
    }

    /// The policy of a word from the store.
    pub fn from_word(word: &str) -> Option<DependencyFailure> {
        [DependencyFailure::Skip, DependencyFailure::Run].into_iter().find(|policy| policy.word() == word)
    }
}

/// The order in which waiting jobs start, as one number: lower goes first.
/// One step of priority is worth one minute of waiting, so nothing starves.
pub fn rank(run_at: Timestamp, priority: i32) -> i64 {
    run_at.0.saturating_sub(i64::from(priority) * limits::AGEING_STEP_MILLIS * 1_000)
}
