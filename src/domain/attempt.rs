//! Owns the attempt: one execution of a job, immutable once ended.

use async_graphql::{Enum, SimpleObject};
use serde::{Deserialize, Serialize};

use super::duration::Span;
use super::id::{AttemptId, JobId, WorkerId};
use super::report::RetryAdvice;
use super::scalars::BigInt;
use crate::base::clock::Timestamp;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Enum, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AttemptOutcome {
    /// It exited with code 0.
    Succeeded,
    /// It exited with another code.
    Exited,
    /// A signal that was not ours ended it.
    Signaled,
    /// It ran longer than its timeout and was stopped.
    TimedOut,
    /// The kernel killed it for want of memory.
    OutOfMemory,
    /// It could not be started.
    SpawnFailed,
    /// Its in-process handler panicked.
    Panicked,
    /// Somebody cancelled it.
    Cancelled,
    /// Its worker died.
    Lost,
    /// An orderly shutdown stopped it; costs no try.
    Interrupted,
}

impl AttemptOutcome {
    /// The word in the store and the API.
    pub fn word(self) -> &'static str {
        match self {
            AttemptOutcome::Succeeded => "SUCCEEDED",
            AttemptOutcome::Exited => "EXITED",
            AttemptOutcome::Signaled => "SIGNALED",
            AttemptOutcome::TimedOut => "TIMED_OUT",
            AttemptOutcome::OutOfMemory => "OUT_OF_MEMORY",
            AttemptOutcome::SpawnFailed => "SPAWN_FAILED",
            AttemptOutcome::Panicked => "PANICKED",
            AttemptOutcome::Cancelled => "CANCELLED",
            AttemptOutcome::Lost => "LOST",
            AttemptOutcome::Interrupted => "INTERRUPTED",
        }
    }

    /// The outcome of a word from the store.
    pub fn from_word(word: &str) -> Option<AttemptOutcome> {
        use AttemptOutcome as A;
        [
            A::Succeeded,
            A::Exited,
            A::Signaled,
            A::TimedOut,
            A::OutOfMemory,
            A::SpawnFailed,
            A::Panicked,
            A::Cancelled,
            A::Lost,
            A::Interrupted,
        ]
        .into_iter()
        .find(|outcome| outcome.word() == word)
    }
}

/// Why an attempt, and with it perhaps the job, did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject, Serialize, Deserialize)]
pub struct Failure {
    /// How the attempt ended.
    pub outcome: AttemptOutcome,
    /// One sentence for people.
    pub message: String,
    /// The exit code, when it exited.
    pub exit_code: Option<i32>,
    /// The signal's name, when one ended it.
    pub signal: Option<String>,
    /// The last line of its error output that looks like an error, else the last one that is not empty; of the other
    /// output when there was no error output.
    pub error_line: Option<String>,
    /// Whether the retry policy covers it, or the job asked for another try itself; tries apart.
    pub is_retryable: bool,
}

/// One execution of a job.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(complex)]
pub struct Attempt {
    /// Its row.
    #[graphql(skip)]
    pub id: AttemptId,
    /// The job it belongs to.
    #[graphql(skip)]
    pub job_id: JobId,
    /// Counts from 1 within the job.
    pub number: i32,
    /// How it ended; null while it runs.
    pub outcome: Option<AttemptOutcome>,
    /// Why it did not succeed.
    pub failure: Option<Failure>,
    /// The worker that ran it.
    #[graphql(skip)]
    pub worker_id: WorkerId,
    /// Process id of the command.
    pub pid: Option<i32>,
    /// Its exit code, when it exited.
    pub exit_code: Option<i32>,
    /// The signal's name, when one ended it.
    pub signal: Option<String>,
    /// When the worker took it.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// CPU time in user mode, from the kernel.
    pub user_time: Option<Span>,
    /// CPU time in the kernel, from the kernel.
    pub system_time: Option<Span>,
    /// Peak resident memory of its largest process, in bytes.
    pub peak_memory_bytes: Option<BigInt>,
    /// Bytes of output it wrote.
    pub log_bytes: BigInt,
    /// Bytes of output that were not kept.
    pub dropped_log_bytes: BigInt,
}

/// What is known when an attempt ends, before anything is decided about the job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// The exit code, when it exited.
    pub exit_code: Option<i32>,
    /// The signal's name, when one ended it.
    pub signal: Option<String>,
    /// One sentence for people.
    pub message: String,
    /// The line of its output that tells why.
    pub error_line: Option<String>,
    /// The kernel's account; absent when nothing ran.
    pub usage: Option<Usage>,
    /// Bytes of output written, kept or not.
    pub log_bytes: i64,
    /// Bytes of output not kept.
    pub dropped_log_bytes: i64,
    /// What the job itself wants to follow.
    pub advice: RetryAdvice,
}

/// The kernel's account of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time in user mode, microseconds.
    pub user_us: i64,
    /// CPU time in the kernel, microseconds.
    pub system_us: i64,
    /// Peak resident memory, bytes; `None` when it stayed below the daemon's own.
    pub peak_memory_bytes: Option<i64>,
}

impl Ended {
    /// An end without a process: the sentence says why.
    pub fn without_process(outcome: AttemptOutcome, message: impl Into<String>) -> Ended {
        Ended {
            outcome,
            exit_code: None,
            signal: None,
            message: message.into(),
            error_line: None,
            usage: None,
            log_bytes: 0,
            dropped_log_bytes: 0,
            advice: RetryAdvice::default(),
        }
    }
}
