//! Owns the job: one durable request to run something.

use async_graphql::{Enum, InputObject, OneofObject, SimpleObject};
use serde::{Deserialize, Serialize};

use super::attempt::Failure;
use super::command::{Command, CommandInput, check_span};
use super::duration::Span;
use super::event::EventCursor;
use super::id::{JobId, ScheduleId, TaskId, TokenId};
use super::limits;
use super::rejection::{Rejection, check_name, check_text};
use super::report::Progress;
use super::retry::{RetryPolicy, RetryPolicyInput};
use super::task::TaskRef;
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
    /// Position of the last event of this job.
    pub event_cursor: EventCursor,
}

/// A job that passed the door and waits to be committed.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// The task it is made from.
    pub task: Option<TaskOfJob>,
    /// What runs.
    pub command: Command,
    /// Name of its queue.
    pub queue_name: String,
    /// -100 to 100.
    pub priority: i32,
    /// Keys and values to find it by.
    pub labels: Vec<Label>,
    /// How it came to be.
    pub origin: JobOrigin,
    /// Who asked.
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
    /// The job that this one retries.
    pub retry_of: Option<JobId>,
    /// The schedule that made it.
    pub schedule_id: Option<ScheduleId>,
    /// Not before this; `None` means now.
    pub run_at: Option<Timestamp>,
    /// It expires when it has not started by then.
    pub start_by: Option<Timestamp>,
    /// Whether it begins on hold.
    pub is_held: bool,
    /// The key that it alone may have.
    pub unique: Option<Unique>,
    /// Makes the request safe to repeat.
    pub idempotency: Option<Idempotency>,
}

/// What becomes of a job whose unique key another one has that is not final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum UniqueConflict {
    /// The answer is the other job.
    ReturnExisting,
    /// It is refused.
    Reject,
    /// The other one is cancelled unless it runs; then this one is refused. Needs the CANCEL grant.
    ReplaceQueued,
}

/// A key that one job at a time may have, from its making to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unique {
    /// The key, of the whole store.
    pub key: String,
    /// What happens when it is taken.
    pub on_conflict: UniqueConflict,
}

/// The task a job is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskOfJob {
    /// Its row.
    pub id: TaskId,
    /// Its name.
    pub name: String,
    /// Its revision.
    pub revision: i32,
}

/// A caller's key for a request, with a digest of what was asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Idempotency {
    /// Keys of different tokens never meet.
    pub token_id: TokenId,
    /// The caller's key.
    pub key: String,
    /// SHA-256 of the request, as hex.
    pub digest: String,
}

/// What a job runs: a named task, or an ad hoc command (needs the COMMAND grant).
#[derive(Debug, Clone, OneofObject)]
pub enum RunInput {
    /// A named task.
    Task(TaskRef),
    /// An ad hoc command.
    Command(CommandInput),
}

/// A job to be made.
#[derive(Debug, Clone, InputObject)]
pub struct JobEnqueueInput {
    /// What to run.
    pub run: RunInput,
    /// The queue; null means the task's, or `default`.
    pub queue: Option<String>,
    /// -100 to 100, higher first; null means the task's, or 0.
    pub priority: Option<i32>,
    /// Do not start before this instant.
    pub run_at: Option<Timestamp>,
    /// Do not start before this much time has passed; excludes `runAt`.
    pub delay: Option<Span>,
    /// Expire when not started by this instant; it must lie in the future and after `runAt`.
    pub start_by: Option<Timestamp>,
    /// Stop an attempt that runs longer.
    pub timeout: Option<Span>,
    /// Stop an attempt that neither writes nor reports for so long.
    pub idle_timeout: Option<Span>,
    /// Time between SIGTERM and SIGKILL.
    pub kill_grace: Option<Span>,
    /// When and how often to try again.
    pub retry_policy: Option<RetryPolicyInput>,
    /// Keys and values to find it by.
    pub labels: Option<Vec<Label>>,
    /// At most one job that is not final has this key, in the whole store.
    pub unique_key: Option<String>,
    /// What to do when another job has the unique key.
    #[graphql(default_with = "UniqueConflict::ReturnExisting")]
    pub on_conflict: UniqueConflict,
    /// Keep it on hold until somebody releases it.
    #[graphql(default)]
    pub is_held: bool,
    /// The same key with the same request gives the same job, for at least 7 days.
    pub idempotency_key: Option<String>,
}

/// The fields of `JobEnqueueInput` that stand apart from what runs, checked.
#[derive(Debug, Clone)]
pub struct EnqueueOptions {
    /// The queue asked for.
    pub queue: Option<String>,
    /// The priority asked for.
    pub priority: Option<i32>,
    /// The earliest start asked for, `delay` resolved.
    pub run_at: Option<Timestamp>,
    /// The latest start asked for.
    pub start_by: Option<Timestamp>,
    /// The timeout asked for.
    pub timeout: Option<Span>,
    /// The longest silence asked for.
    pub idle_timeout: Option<Span>,
    /// The grace asked for.
    pub kill_grace: Option<Span>,
    /// The policy asked for.
    pub retry_policy: Option<RetryPolicy>,
    /// The labels.
    pub labels: Vec<Label>,
    /// The unique key with what happens when it is taken.
    pub unique: Option<Unique>,
    /// Whether it begins on hold.
    pub is_held: bool,
    /// The idempotency key.
    pub idempotency_key: Option<String>,
}

impl JobEnqueueInput {
    /// Splits what runs from how, and checks the latter.
    pub fn check(self, now: Timestamp) -> Result<(RunInput, EnqueueOptions), Rejection> {
        if self.delay.is_some() && self.run_at.is_some() {
            return Err(Rejection::invalid("delay", "give either runAt or delay, not both"));
        }
        if let Some(delay) = self.delay {
            check_span("delay", delay, 0)?;
        }
        check_priority("priority", self.priority)?;
        let (timeout, idle) = (("timeout", self.timeout, 1), ("idleTimeout", self.idle_timeout, 1));
        for (path, span, min) in [timeout, idle, ("killGrace", self.kill_grace, 0)] {
            span.map_or(Ok(()), |span| check_span(path, span, min))?;
        }
        for (path, key) in [("idempotencyKey", &self.idempotency_key), ("uniqueKey", &self.unique_key)] {
            let Some(key) = key else { continue };
            check_text(path, key, limits::TEXT_BYTES_MAX)?;
            if key.is_empty() {
                return Err(Rejection::invalid(path, "must not be empty"));
            }
        }
        if let Some(queue) = &self.queue {
            check_name("queue", queue)?;
        }
        let labels = check_labels(self.labels.unwrap_or_default())?;
        let run_at = self.run_at.or(self.delay.map(|delay| now.plus_millis(delay.millis())));
        if self.start_by.is_some_and(|by| by <= run_at.map_or(now, |at| at.max(now))) {
            return Err(Rejection::invalid("startBy", "must lie in the future, and after runAt"));
        }
        let options = EnqueueOptions {
            queue: self.queue,
            priority: self.priority,
            run_at,
            start_by: self.start_by,
            timeout: self.timeout,
            idle_timeout: self.idle_timeout,
            kill_grace: self.kill_grace,
            retry_policy: self.retry_policy.map(|policy| policy.check("retryPolicy")).transpose()?,
            labels,
            unique: self.unique_key.map(|key| Unique { key, on_conflict: self.on_conflict }),
            is_held: self.is_held,
            idempotency_key: self.idempotency_key,
        };
        Ok((self.run, options))
    }
}

/// A priority within its range, else a refusal of `path`.
pub fn check_priority(path: &str, priority: Option<i32>) -> Result<(), Rejection> {
    let max = limits::PRIORITY_MAX;
    match priority {
        Some(priority) if !(-max..=max).contains(&priority) => {
            Err(Rejection::invalid(path, format!("must lie in -{max}..={max}, is {priority}")))
        }
        _ => Ok(()),
    }
}

fn check_labels(labels: Vec<Label>) -> Result<Vec<Label>, Rejection> {
    if labels.len() > limits::LABELS_MAX {
        return Err(Rejection::invalid("labels", format!("must hold at most {} labels", limits::LABELS_MAX)));
    }
    for (index, label) in labels.iter().enumerate() {
        check_name(&format!("labels.{index}.key"), &label.key)?;
        check_text(&format!("labels.{index}.value"), &label.value, limits::TEXT_BYTES_MAX)?;
        if labels[..index].iter().any(|earlier| earlier.key == label.key) {
            return Err(Rejection::invalid(&format!("labels.{index}.key"), "is given twice"));
        }
    }
    Ok(labels)
}

/// The order in which waiting jobs start, as one number: lower goes first.
/// One step of priority is worth one minute of waiting, so nothing starves.
pub fn rank(run_at: Timestamp, priority: i32) -> i64 {
    run_at.0.saturating_sub(i64::from(priority) * limits::AGEING_STEP_MILLIS * 1_000)
}
