//! Owns the attempt: one execution of a job, immutable once ended.

use async_graphql::{Enum, SimpleObject};
use serde::{Deserialize, Serialize};

use super::duration::Span;
use super::id::{AttemptId, JobId, WorkerId};
use super::limits::{RAN_NAME_BYTES_MAX, RAN_NAMES_MAX};
use super::report::{LastWord, RetryAdvice};
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

/// What really ran in an attempt, as it was found when it was started.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ran {
    /// The program's file, as the search for it came out.
    pub program: String,
    /// The directory it was started in.
    pub directory: String,
    /// Names of the variables it was given, sorted; values are kept nowhere. At most the first 200.
    pub environment_names: Vec<String>,
    /// Variables it was given.
    pub environment_count: i32,
    /// The machine's name.
    pub host: String,
    /// The control group that held its processes; null without one.
    pub cgroup: Option<String>,
}

impl Ran {
    /// With the names of the variables sorted, each once, and cut to what is kept.
    #[must_use]
    pub fn with_names(self, names: impl Iterator<Item = String>) -> Ran {
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        names.dedup();
        let environment_count = i32::try_from(names.len()).unwrap_or(i32::MAX);
        names.truncate(RAN_NAMES_MAX);
        for name in &mut names {
            name.truncate(name.floor_char_boundary(RAN_NAME_BYTES_MAX));
        }
        Ran { environment_names: names, environment_count, ..self }
    }
}

/// The process of an attempt, so that it can be told from others after a crash, and what it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spawned {
    /// Process id.
    pub pid: i32,
    /// When the process started, in ticks since the machine booted.
    pub start_ticks: i64,
    /// Which boot of the machine.
    pub boot_id: String,
    /// What it is.
    pub ran: Ran,
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
    /// What really ran; null before it was started, and for a handler.
    pub ran: Option<Ran>,
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
    /// When it ended; with its commit when nothing is said.
    #[serde(default)]
    pub at: Option<Timestamp>,
    /// Whether nothing of it ever began, so that the job may be put back whatever it is.
    #[serde(default)]
    pub is_unbegun: bool,
    /// Its process, when it was not recorded while it ran.
    #[serde(default)]
    pub spawned: Option<Spawned>,
    /// What it reported and nobody has stored.
    #[serde(default)]
    pub last_word: LastWord,
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
            at: None,
            is_unbegun: false,
            spawned: None,
            last_word: LastWord::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(names: impl Iterator<Item = String>) -> Ran {
        let empty = Ran {
            program: "/bin/sh".to_owned(),
            directory: "/".to_owned(),
            environment_names: Vec::new(),
            environment_count: 0,
            host: "h".to_owned(),
            cgroup: None,
        };
        empty.with_names(names)
    }

    #[test]
    fn the_names_that_are_kept_are_sorted_and_bounded() {
        let few = ran(["B", "A", "B"].into_iter().map(str::to_owned));
        assert_eq!((few.environment_names, few.environment_count), (vec!["A".to_owned(), "B".to_owned()], 2));
        let many = ran((0..=RAN_NAMES_MAX).map(|number| format!("{number}")));
        assert_eq!((many.environment_names.len(), many.environment_count), (RAN_NAMES_MAX, 201));
        let long = ran(["ä".repeat(RAN_NAME_BYTES_MAX)].into_iter());
        assert_eq!(long.environment_names, ["ä".repeat(RAN_NAME_BYTES_MAX / 2)]);
    }
}
