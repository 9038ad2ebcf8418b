//! Owns the job to be: one that passed the door and waits to be committed.

use async_graphql::Enum;

use super::command::Command;
use super::concurrency::KeyLimit;
use super::duration::Span;
use super::id::{JobId, ScheduleId, TaskId, TokenId};
use super::job::{DependencyFailure, JobOrigin, Label};
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
            reason: None,
        }
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
