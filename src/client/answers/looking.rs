//! Owns the shapes in answers of the commands that look over many things at once: `next`, `top` and `why`.

use super::{
    Command, DueTime, Failure, Identified, JobCounts, JobRef, Named, Page, Progress, QueueRow, answers,
};
use serde::Deserialize;

answers! {
    /// A schedule with its next due times.
    SchedulePlan {
        /// Its name.
        name: String,
        /// What it makes jobs of.
        task: Named,
        /// Whether it makes nothing.
        is_paused: bool,
        /// RFC 3339.
        paused_until: Option<String>,
        /// Soonest first.
        upcoming: Vec<DueTime>,
    }
    /// What runs, and what waits where.
    Top {
        /// What runs, the longest first.
        jobs: Page<RunningJob>,
        /// Jobs by state.
        job_counts: JobCounts,
        /// The first queues.
        queues: Page<QueueRow>,
        /// Who runs jobs.
        workers: Page<super::WorkerRow>,
    }
    /// A job that runs.
    RunningJob {
        /// `job_1234`.
        id: String,
        /// Null for an ad hoc command.
        task: Option<Named>,
        /// What runs.
        command: Command,
        /// Where it waited.
        queue: Named,
        /// When somebody asked to stop it.
        stop_requested_at: Option<String>,
        /// By its own word.
        progress: Option<Progress>,
        /// When it will be done, RFC 3339.
        #[serde(default)]
        estimated_finish_at: Option<String>,
        /// What runs now.
        current_attempt: Option<RunningAttempt>,
        /// Its last line.
        log: LastLines,
    }
    /// An attempt that runs.
    RunningAttempt {
        /// From 1.
        number: i64,
        /// ISO 8601.
        duration: String,
    }
    /// The end of a log.
    LastLines {
        /// Oldest first.
        lines: Vec<LastLine>,
    }
    /// A line of a log.
    LastLine {
        /// Without its newline.
        text: String,
    }
    /// Why a job waits, or how it ended.
    JobWhy {
        /// `job_1234`.
        id: String,
        /// Now.
        state: String,
        /// It does not start before this, RFC 3339.
        run_at: String,
        /// RFC 3339.
        started_at: Option<String>,
        /// RFC 3339.
        finished_at: Option<String>,
        /// RFC 3339.
        stop_requested_at: Option<String>,
        /// Where it waits.
        queue: Named,
        /// Why it, or its last attempt, did not succeed.
        failure: Option<Failure>,
        /// By its own word.
        progress: Option<Progress>,
        /// When it will be done, RFC 3339.
        #[serde(default)]
        estimated_finish_at: Option<String>,
        /// What keeps it from starting, the first reason first.
        #[serde(default)]
        blockers: Vec<Blocker>,
    }
    /// One thing that keeps a job from starting. Which of the fields are there depends on its kind.
    Blocker {
        /// `HeldBlocker`, `PausedBlocker`, ...
        #[serde(rename = "__typename")]
        kind: String,
        /// One sentence.
        message: String,
        /// Who put it on hold, or paused the queue.
        #[serde(default)]
        by: Option<String>,
        /// Since when.
        #[serde(default)]
        at: Option<String>,
        /// Why, in the words of whoever did it.
        #[serde(default)]
        reason: Option<String>,
        /// The queue at fault.
        #[serde(default)]
        queue: Option<Named>,
        /// It does not start before this.
        #[serde(default)]
        run_at: Option<String>,
        /// It may start then.
        #[serde(default)]
        until: Option<String>,
        /// The jobs that it waits for.
        #[serde(default)]
        jobs: Vec<JobRef>,
        /// What it shares with others.
        #[serde(default)]
        key: Option<String>,
        /// How many may run at once.
        #[serde(default)]
        limit: Option<i64>,
        /// The jobs that run.
        #[serde(default)]
        holders: Vec<Identified>,
        /// How many go first.
        #[serde(default)]
        ahead_count: Option<i64>,
    }
}
