//! Owns the job to be: one that passed the door and waits to be committed.

use async_graphql::Enum;

use super::command::Command;
use super::concurrency::KeyLimit;
use super::duration::Span;
use super::event::EventCursor;
use super::id::{JobId, ScheduleId, TaskId, TokenId};
use super::job::{DependencyFailure, Job, JobOrigin, JobState, Label};
use super::limits;
use super::queue::DEFAULT_QUEUE;
use super::retry::RetryPolicy;
use super::scalars::Json;
use crate::base::clock::Timestamp;

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
    /// What the task is told for this job.
    pub parameters: Option<Json>,
    /// The token that asks for it.
    pub token_id: Option<TokenId>,
    /// What it shares a limit with, and how many of them may run at once.
    pub limit: Option<KeyLimit>,
    /// The jobs that it waits for.
    pub depends_on: Vec<JobId>,
    /// Jobs of the same request that it waits for too.
    pub depends_on_earlier: Vec<EarlierJob>,
    /// What becomes of it when one of them does not succeed.
    pub on_dependency_failure: DependencyFailure,
    /// Whether both streams of its output are one.
    pub merges_output: bool,
    /// The longest that an attempt may run with all the time that it asks for.
    pub timeout_max: Option<Span>,
    /// The labels that its worker must have, in the order of a selector.
    pub runs_on: Vec<Label>,
    /// Why it is made, for the record.
    pub reason: Option<String>,
}

/// A job of the same request, named by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EarlierJob {
    /// Its place, from 0, among the jobs that are made together.
    pub place: usize,
    /// Where in the caller's list of positions it is named.
    pub named_at: usize,
}

impl NewJob {
    /// A job that may start at once, in the default queue, with every default of the product.
    pub fn plain(command: Command, requested_by: &str) -> NewJob {
        NewJob {
            task: None,
            command,
            queue_name: DEFAULT_QUEUE.to_owned(),
            priority: 0,
            labels: Vec::new(),
            origin: JobOrigin::Api,
            requested_by: requested_by.to_owned(),
            retry_policy: RetryPolicy::default(),
            timeout: None,
            idle_timeout: None,
            kill_grace: Span::from_millis(limits::KILL_GRACE_MILLIS),
            is_restartable: false,
            retry_of: None,
            schedule_id: None,
            run_at: None,
            start_by: None,
            is_held: false,
            unique: None,
            idempotency: None,
            parameters: None,
            token_id: None,
            limit: None,
            depends_on: Vec::new(),
            depends_on_earlier: Vec::new(),
            on_dependency_failure: DependencyFailure::default(),
            merges_output: false,
            timeout_max: None,
            runs_on: Vec::new(),
            reason: None,
        }
    }
}

/// A job as its commit makes it.
#[derive(Debug, Clone, Copy)]
pub struct Made {
    /// Its number.
    pub id: JobId,
    /// When.
    pub at: Timestamp,
    /// Behind its first event.
    pub cursor: EventCursor,
}

impl NewJob {
    /// The job that its commit makes, before anything else happens to it. `None` where that depends on other rows.
    pub fn made(&self, made: Made) -> Option<Job> {
        let depends = !(self.depends_on.is_empty() && self.depends_on_earlier.is_empty());
        if self.is_held || self.limit.is_some() || depends {
            return None;
        }
        let run_at = self.run_at.unwrap_or(made.at).max(made.at);
        Some(Job {
            id: made.id,
            state: JobState::waiting_for(run_at, made.at),
            unique_key: self.unique.as_ref().map(|unique| unique.key.clone()),
            task_id: self.task.as_ref().map(|task| task.id),
            task_name: self.task.as_ref().map(|task| task.name.clone()),
            task_revision: self.task.as_ref().map(|task| task.revision),
            command: self.command.clone(),
            queue_name: self.queue_name.clone(),
            priority: self.priority,
            labels: self.labels.clone(),
            origin: self.origin,
            requested_by: self.requested_by.clone(),
            retry_policy: self.retry_policy.clone(),
            timeout: self.timeout,
            idle_timeout: self.idle_timeout,
            kill_grace: self.kill_grace,
            is_restartable: self.is_restartable,
            failure: None,
            retry_of: self.retry_of,
            schedule_id: self.schedule_id,
            created_at: made.at,
            run_at,
            start_by: self.start_by,
            started_at: None,
            finished_at: None,
            stop_requested_at: None,
            attempt_count: 0,
            try_count: 0,
            progress: None,
            parameters: self.parameters.clone(),
            token_id: self.token_id,
            held_by: None,
            limit_key: None,
            gated_at: None,
            on_dependency_failure: None,
            merges_output: self.merges_output,
            timeout_max: self.timeout_max,
            runs_on: self.runs_on.clone(),
            event_cursor: made.cursor,
        })
    }
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
    /// The token that may learn of its own jobs only; `None` may learn of every holder.
    pub own_of: Option<TokenId>,
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
