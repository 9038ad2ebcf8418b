//! Owns the shapes of jobs, their attempts and their logs in answers.

use super::{Command, Identified, IncidentRef, Named, Page, RetryPolicy, answers};
use serde::Deserialize;

/// The states that a job never leaves.
const FINAL_STATES: [&str; 5] = ["SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "SKIPPED"];

answers! {
    /// A job as mutations answer it.
    JobRef {
        /// `job_1234`.
        id: String,
        /// The state at the commit.
        state: String,
    }
    /// The payload of `jobEnqueue`.
    Enqueued {
        /// The new job, or the one that the key stood for.
        job: JobRef,
        /// Whether the key stood for an earlier job.
        deduplicated: bool,
    }
    /// The payload of the mutations that give a job.
    WithJob {
        /// The job after the commit.
        job: JobRef,
    }
    /// The payload of `jobCancel`.
    Cancelled {
        /// The job after the commit; nothing where the token may cancel it and not see it.
        #[serde(default)]
        job: Option<JobRef>,
    }
    /// The payload of `jobBulkCancel` and `jobBulkRetry`.
    BulkChanged {
        /// Jobs under the filter.
        matched_count: i64,
        /// Jobs that were changed.
        changed_count: i64,
    }
    /// Why a job did not succeed.
    Failure {
        /// One sentence.
        message: String,
        /// `EXITED`, `SIGNALED`, ...
        #[serde(default)]
        outcome: Option<String>,
        /// The code, when it exited.
        #[serde(default)]
        exit_code: Option<i64>,
        /// `SIGKILL`, ... when a signal ended it.
        #[serde(default)]
        signal: Option<String>,
        /// The line of its output that looks like the reason.
        #[serde(default)]
        error_line: Option<String>,
    }
    /// How far a job has come.
    Progress {
        /// 0 to 1.
        #[serde(default)]
        fraction: Option<f64>,
        /// A decimal number.
        #[serde(default)]
        done: Option<String>,
        /// A decimal number.
        #[serde(default)]
        total: Option<String>,
        /// What is counted.
        #[serde(default)]
        unit: Option<String>,
        /// What it does now.
        #[serde(default)]
        status: Option<String>,
        /// RFC 3339.
        #[serde(default)]
        estimated_finish_at: Option<String>,
    }
    /// A job in a list.
    JobRow {
        /// `job_1234`.
        id: String,
        /// Now.
        state: String,
        /// Null for an ad hoc command.
        task: Option<Named>,
        /// What runs.
        command: Command,
        /// Where it waits.
        queue: Named,
        /// Higher first.
        priority: i64,
        /// RFC 3339.
        created_at: String,
        /// RFC 3339.
        run_at: String,
        /// RFC 3339.
        finished_at: Option<String>,
        /// Why it did not succeed.
        failure: Option<Failure>,
    }
    /// One job, whole.
    JobDetail {
        /// `job_1234`.
        id: String,
        /// Now.
        state: String,
        /// Null for an ad hoc command.
        task: Option<Named>,
        /// Of the task.
        task_revision: Option<i64>,
        /// What runs.
        command: Command,
        /// Where it waits.
        queue: Named,
        /// Higher first.
        priority: i64,
        /// In the order given.
        labels: Vec<Label>,
        /// The labels of the worker that runs it.
        #[serde(default)]
        runs_on: Vec<Label>,
        /// `API`, `SCHEDULE` or `RETRY`.
        origin: String,
        /// A token's or a schedule's name.
        requested_by: String,
        /// What follows a failure.
        retry_policy: RetryPolicy,
        /// ISO 8601.
        timeout: Option<String>,
        /// ISO 8601.
        idle_timeout: Option<String>,
        /// ISO 8601.
        max_timeout: Option<String>,
        /// What the command is told.
        parameters: Option<serde_json::Value>,
        /// Why it did not succeed.
        failure: Option<Failure>,
        /// By its own word.
        #[serde(default)]
        progress: Option<Progress>,
        /// What it reported as its result.
        #[serde(default)]
        output: Option<serde_json::Value>,
        /// The first ones.
        attempts: Page<AttemptRow>,
        /// The first ones of those that it waits or waited for.
        #[serde(default)]
        depends_on: Vec<JobRef>,
        /// `SKIP` or `RUN`; null when it waits for none.
        #[serde(default)]
        on_dependency_failure: Option<String>,
        /// What its last failed attempt was counted into.
        #[serde(default)]
        incident: Option<IncidentRef>,
        /// The job that this one repeats.
        retry_of: Option<Identified>,
        /// What made it.
        schedule: Option<Named>,
        /// RFC 3339.
        created_at: String,
        /// RFC 3339.
        run_at: String,
        /// RFC 3339.
        start_by: Option<String>,
        /// RFC 3339.
        started_at: Option<String>,
        /// RFC 3339.
        finished_at: Option<String>,
        /// RFC 3339.
        stop_requested_at: Option<String>,
    }
    /// A key with its value.
    Label {
        /// The key.
        key: String,
        /// The value.
        value: String,
    }
    /// One execution of a job.
    AttemptRow {
        /// From 1.
        number: i64,
        /// Null while it runs.
        outcome: Option<String>,
        /// When it exited.
        exit_code: Option<i64>,
        /// When a signal ended it.
        signal: Option<String>,
        /// RFC 3339.
        started_at: String,
        /// ISO 8601.
        duration: String,
        /// A decimal number.
        log_bytes: String,
        /// Null before it was started, and for a handler.
        #[serde(default)]
        ran: Option<Ran>,
    }
    /// What really ran.
    Ran {
        /// The program's file.
        program: String,
        /// Where it was started.
        directory: String,
        /// The machine's name.
        host: String,
        /// What held its processes.
        cgroup: Option<String>,
    }
    /// An attempt's id, by its number.
    AttemptRef {
        /// The global id.
        id: String,
        /// From 1.
        number: i64,
    }
    /// Lines of one attempt, in order.
    LogBatch {
        /// The attempt's number.
        attempt: i64,
        /// What was printed.
        lines: Vec<LogLine>,
        /// Behind the last line.
        cursor: String,
        /// Whether more is there already.
        #[serde(default)]
        has_more: bool,
        /// Whether nothing more can come.
        is_complete: bool,
        /// Bytes lost between the lines, a decimal number.
        dropped_bytes: String,
        /// Whether it made room for newer logs.
        #[serde(default)]
        is_forgotten: bool,
    }
    /// One line, or a part of a long one.
    LogLine {
        /// `STDOUT`, `STDERR` or `SYSTEM`.
        stream: String,
        /// Without its newline.
        text: String,
        /// Whether the line goes on in the next one of its stream.
        is_truncated: bool,
        /// Bytes lost right before it, a decimal number.
        #[serde(default)]
        dropped_before: String,
    }
    /// A message of `jobFollow`, and of `job` with nothing but the state.
    JobProgress {
        /// The job as it is now.
        job: JobNow,
        /// What was printed since.
        #[serde(default)]
        log: Option<LogBatch>,
        /// Where the events go on.
        cursor: String,
        /// Where the log goes on.
        #[serde(default)]
        log_cursor: Option<String>,
    }
    /// What decides how a wait ends.
    JobNow {
        /// `job_1234`.
        id: String,
        /// Now.
        state: String,
        /// Why it did not succeed.
        failure: Option<Failure>,
        /// By its own word.
        #[serde(default)]
        progress: Option<Progress>,
        /// RFC 3339.
        #[serde(default)]
        estimated_finish_at: Option<String>,
    }
}

impl JobNow {
    /// Whether the job will never change again.
    pub fn is_final(&self) -> bool {
        FINAL_STATES.contains(&self.state.as_str())
    }
}
