//! Owns the shapes of tasks and schedules in answers.

use super::{JobRef, Label, Named, Page, answers};
use serde::Deserialize;

answers! {
    /// What a list shows of a command.
    Command {
        /// Empty when a handler is called.
        argv: Vec<String>,
        /// The script's text.
        script: Option<String>,
        /// The script's shell.
        #[serde(default)]
        shell: Option<String>,
        /// The handler that is called.
        #[serde(default)]
        handler: Option<String>,
        /// Where it runs.
        #[serde(default)]
        working_directory: Option<String>,
        /// What is set for it.
        #[serde(default)]
        environment: Vec<EnvironmentVariable>,
    }
    /// A variable of a command.
    EnvironmentVariable {
        /// Its name.
        name: String,
        /// Its value, unless it is secret.
        value: Option<String>,
        /// Whether the value is hidden.
        is_secret: bool,
    }
    /// What follows a failure.
    RetryPolicy {
        /// Tries in all.
        max_attempts: i64,
        /// ISO 8601.
        initial_delay: String,
        /// ISO 8601.
        max_delay: String,
        /// By which the delay grows.
        factor: f64,
        /// Only after these outcomes.
        #[serde(default)]
        retry_on: Option<Vec<String>>,
        /// Only after these codes.
        #[serde(default)]
        exit_codes: Option<Vec<i64>>,
        /// Only after these signals.
        #[serde(default)]
        signals: Option<Vec<String>>,
        /// Whether exit code 75 is tried again in any case.
        #[serde(default)]
        retries_temporary_failure: bool,
    }
    /// A task after a mutation.
    TaskRef {
        /// Its name.
        name: String,
        /// Counted up by each change.
        revision: i64,
    }
    /// The payload of the task mutations.
    WithTask {
        /// After the commit.
        task: TaskRef,
    }
    /// A task in a list.
    TaskRow {
        /// Its name.
        name: String,
        /// Counted up by each change.
        revision: i64,
        /// Where its jobs wait.
        queue: Named,
        /// Of its jobs.
        priority: i64,
        /// What runs.
        command: Command,
        /// RFC 3339.
        updated_at: String,
        /// RFC 3339.
        archived_at: Option<String>,
    }
    /// One task, whole.
    TaskDetail {
        /// The global id.
        id: String,
        /// Its name.
        name: String,
        /// For people.
        description: Option<String>,
        /// Counted up by each change.
        revision: i64,
        /// What runs.
        command: Command,
        /// Where its jobs wait.
        queue: Named,
        /// Of its jobs.
        priority: i64,
        /// ISO 8601.
        timeout: Option<String>,
        /// ISO 8601.
        idle_timeout: Option<String>,
        /// ISO 8601.
        kill_grace: String,
        /// What follows a failure.
        retry_policy: RetryPolicy,
        /// ISO 8601.
        max_timeout: Option<String>,
        /// At once.
        concurrency_limit: Option<i64>,
        /// The labels of the workers that run its jobs.
        #[serde(default)]
        runs_on: Vec<Label>,
        /// What the parameters of its jobs fit.
        parameters_schema: Option<serde_json::Value>,
        /// Whether an interrupted job starts again.
        is_restartable: bool,
        /// What makes jobs of it.
        schedules: Vec<Named>,
        /// RFC 3339.
        created_at: String,
        /// RFC 3339.
        updated_at: String,
        /// RFC 3339.
        archived_at: Option<String>,
    }
    /// A schedule after a mutation.
    ScheduleRef {
        /// Its name.
        name: String,
        /// Whether it makes nothing.
        is_paused: bool,
        /// RFC 3339.
        next_due_at: Option<String>,
    }
    /// The payload of the schedule mutations.
    WithSchedule {
        /// After the commit.
        schedule: ScheduleRef,
    }
    /// The payload of `scheduleDelete`.
    Deleted {
        /// What is gone.
        deleted_id: String,
    }
    /// When a schedule is due: one of the two is set.
    Timing {
        /// ISO 8601.
        #[serde(default)]
        every: Option<String>,
        /// A cron pattern.
        #[serde(default)]
        cron: Option<String>,
    }
    /// A schedule in a list.
    ScheduleRow {
        /// Its name.
        name: String,
        /// What it makes jobs of.
        task: Named,
        /// When.
        timing: Timing,
        /// Where the clock stands that a pattern is read by.
        time_zone: String,
        /// Whether it makes nothing.
        is_paused: bool,
        /// Why.
        pause_reason: Option<String>,
        /// RFC 3339.
        next_due_at: Option<String>,
    }
    /// One schedule, whole.
    ScheduleDetail {
        /// The global id.
        id: String,
        /// Its name.
        name: String,
        /// What it makes jobs of.
        task: Named,
        /// When.
        timing: Timing,
        /// Where the clock stands that a pattern is read by.
        time_zone: String,
        /// ISO 8601.
        jitter: String,
        /// For missed ticks.
        misfire: String,
        /// ISO 8601.
        misfire_window: String,
        /// When the last job still runs.
        overlap: String,
        /// What its jobs are told.
        #[serde(default)]
        parameters: Option<serde_json::Value>,
        /// Whether it makes nothing.
        is_paused: bool,
        /// RFC 3339.
        #[serde(default)]
        paused_at: Option<String>,
        /// Who.
        #[serde(default)]
        paused_by: Option<String>,
        /// Why.
        pause_reason: Option<String>,
        /// RFC 3339.
        paused_until: Option<String>,
        /// RFC 3339.
        next_due_at: Option<String>,
        /// What became of the last due times.
        ticks: Page<TickRow>,
    }
    /// What became of a due time, or of a run of them.
    TickRow {
        /// RFC 3339; the newest of a run.
        due_at: String,
        /// RFC 3339; the oldest of a run.
        first_due_at: String,
        /// `STARTED`, ...
        outcome: String,
        /// How many alike are rolled up in this one.
        count: i64,
        /// What it made.
        job: Option<JobRef>,
    }
    /// A time at which a schedule will be due.
    DueTime {
        /// RFC 3339.
        at: String,
        /// In the schedule's zone.
        local: String,
        /// About changes of the clock.
        note: Option<String>,
    }
}
