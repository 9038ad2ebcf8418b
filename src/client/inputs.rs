//! Owns the shapes of what is sent to the daemon. What is `None` is left out, so that the daemon's defaults hold.
//! Lengths of time and instants go as the text that the user wrote.

use serde::Serialize;
use serde_json::Value;

macro_rules! inputs {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, Serialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $($(#[$field_doc])*
            #[serde(skip_serializing_if = "Skip::skip")]
            pub $field: $kind,)*
        }
    )*};
}

/// What need not be sent.
trait Skip {
    fn skip(&self) -> bool;
}

impl<T> Skip for Option<T> {
    fn skip(&self) -> bool {
        self.is_none()
    }
}

impl<T> Skip for Vec<T> {
    fn skip(&self) -> bool {
        self.is_empty()
    }
}

macro_rules! always_sent {
    ($($kind:ty),*) => {$(impl Skip for $kind {
        fn skip(&self) -> bool {
            false
        }
    })*};
}

always_sent!(String, i32, Argv, Run, Command, Ref, Timing, WholeFilter);

/// A thing by its name.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Ref {
    /// The name.
    pub name: String,
}

impl Ref {
    /// The thing called `name`.
    pub fn name(name: &str) -> Ref {
        Ref { name: name.to_owned() }
    }
}

/// The words of a command; sent even when there are none, so that the daemon says what is wrong.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub struct Argv(pub Vec<String>);

/// What a job runs.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Run {
    /// A named task.
    Task(Ref),
    /// An ad hoc command.
    Command(Command),
}

impl Default for Run {
    fn default() -> Run {
        Run::Task(Ref::default())
    }
}

/// A program, a text for a shell, or a handler.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Command {
    /// A program without a shell.
    Exec(Exec),
    /// A text for a shell.
    Script(Script),
    /// A function of the program that embeds the daemon, by name.
    Handler(String),
}

impl Default for Command {
    fn default() -> Command {
        Command::Exec(Exec::default())
    }
}

/// When a schedule is due.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Timing {
    /// A length of time.
    Every(String),
    /// A pattern.
    Cron(String),
}

impl Default for Timing {
    fn default() -> Timing {
        Timing::Every(String::new())
    }
}

inputs! {
    /// A program without a shell.
    Exec {
        /// The program and its arguments.
        argv: Argv,
        /// Where it runs.
        working_directory: Option<String>,
        /// What is set for it.
        environment: Vec<Variable>,
        /// What it takes from the daemon's own environment.
        inherit_environment: Vec<String>,
    }
    /// A text for a shell.
    Script {
        /// The text.
        text: String,
        /// The shell's path.
        shell: Option<String>,
        /// Where it runs.
        working_directory: Option<String>,
        /// What is set for it.
        environment: Vec<Variable>,
        /// What it takes from the daemon's own environment.
        inherit_environment: Vec<String>,
    }
    /// An environment variable.
    Variable {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    }
    /// A key with its value.
    Label {
        /// The key.
        key: String,
        /// The value.
        value: String,
    }
    /// What follows a failure.
    RetryPolicy {
        /// Tries in all.
        max_attempts: i32,
        /// Before the second try.
        initial_delay: Option<String>,
        /// The longest wait.
        max_delay: Option<String>,
        /// Only after these.
        retry_on: Vec<String>,
        /// Only after these.
        exit_codes: Vec<i32>,
        /// Only after these.
        signals: Vec<String>,
        /// Whether exit code 75 is tried again in any case.
        retries_temporary_failure: Option<bool>,
    }
    /// `JobEnqueueInput`.
    JobEnqueue {
        /// What to run.
        run: Run,
        /// Where it waits.
        queue: Option<String>,
        /// Higher first.
        priority: Option<i32>,
        /// RFC 3339.
        run_at: Option<String>,
        /// From now.
        delay: Option<String>,
        /// RFC 3339.
        start_by: Option<String>,
        /// Of each attempt.
        timeout: Option<String>,
        /// The longest silence of an attempt.
        idle_timeout: Option<String>,
        /// Of each attempt, with extensions.
        max_timeout: Option<String>,
        /// What follows a failure.
        retry_policy: Option<RetryPolicy>,
        /// What the command is told.
        parameters: Option<Value>,
        /// For filters.
        labels: Vec<Label>,
        /// One job at a time has it.
        unique_key: Option<String>,
        /// `RETURN_EXISTING`, `REJECT` or `REPLACE_QUEUED`.
        on_conflict: Option<String>,
        /// What it shares a limit with.
        concurrency_key: Option<String>,
        /// Whether it begins on hold.
        is_held: Option<bool>,
        /// The jobs that it waits for.
        depends_on: Vec<String>,
        /// `SKIP` or `RUN`.
        on_dependency_failure: Option<String>,
        /// Whether both outputs are one.
        merge_output: Option<bool>,
        /// The labels of the worker that runs it.
        runs_on: Vec<Label>,
        /// Makes the request safe to repeat.
        idempotency_key: Option<String>,
    }
    /// `JobFilter`.
    JobFilter {
        /// Any of these.
        states: Vec<String>,
        /// Any of these.
        tasks: Vec<String>,
        /// Any of these.
        queues: Vec<String>,
        /// Any of these.
        labels: Vec<Label>,
        /// Counted into this one.
        incident_id: Option<String>,
    }
    /// `IncidentFilter`.
    IncidentFilter {
        /// Any of these; empty means the open and acknowledged ones.
        statuses: Vec<String>,
        /// Of this one.
        task: Option<Ref>,
        /// In title or error line.
        text: Option<String>,
    }
    /// `IncidentAcknowledgeInput`.
    IncidentAcknowledge {
        /// `incident_12`.
        id: String,
        /// Who looks at it.
        assignee: Option<String>,
        /// To write on it.
        note: Option<String>,
    }
    /// `IncidentResolveInput`.
    IncidentResolve {
        /// `incident_12`.
        id: String,
        /// To write on it.
        note: Option<String>,
    }
    /// `IncidentIgnoreInput`.
    IncidentIgnore {
        /// `incident_12`.
        id: String,
        /// RFC 3339.
        until: Option<String>,
        /// So many times more.
        until_count: Option<i32>,
        /// To write on it.
        note: Option<String>,
    }
    /// `IncidentRetryInput`.
    IncidentRetry {
        /// `incident_12`.
        id: String,
        /// At most so many.
        max: Option<i32>,
    }
    /// `EventFilter`.
    EventFilter {
        /// Any of these.
        types: Vec<String>,
        /// Any of these.
        job_ids: Vec<String>,
        /// Any of these.
        tasks: Vec<String>,
        /// Any of these.
        queues: Vec<String>,
    }
    /// `JobCancelInput`.
    JobCancel {
        /// `job_1234`.
        id: String,
        /// For people.
        reason: Option<String>,
    }
    /// `JobBulkInput`.
    JobBulk {
        /// Which jobs; sent also when it is empty.
        filter: WholeFilter,
        /// At most so many.
        max: Option<i32>,
        /// For people.
        reason: Option<String>,
        /// Makes the request safe to repeat.
        idempotency_key: Option<String>,
    }
    /// `JobUpdateInput`.
    JobUpdate {
        /// `job_1234`.
        id: String,
        /// Higher first.
        priority: Option<i32>,
        /// RFC 3339.
        run_at: Option<String>,
        /// Where it waits.
        queue: Option<String>,
    }
    /// `JobRetryInput`.
    JobRetry {
        /// `job_1234`.
        id: String,
        /// Makes the request safe to repeat.
        idempotency_key: Option<String>,
    }
    /// `TaskFilter`.
    TaskFilter {
        /// Any of these.
        queues: Vec<String>,
        /// Whether archived tasks are shown too.
        include_archived: Option<bool>,
    }
    /// `TaskPutInput`.
    TaskPut {
        /// Its name.
        name: String,
        /// The revision that is meant to be replaced.
        expected_revision: Option<i32>,
        /// For people.
        description: Option<String>,
        /// What runs.
        command: Command,
        /// Where its jobs wait.
        queue: Option<String>,
        /// Of its jobs.
        priority: Option<i32>,
        /// Of each attempt.
        timeout: Option<String>,
        /// The longest silence of an attempt.
        idle_timeout: Option<String>,
        /// From SIGTERM to SIGKILL.
        kill_grace: Option<String>,
        /// Of each attempt, with extensions.
        max_timeout: Option<String>,
        /// What follows a failure.
        retry_policy: Option<RetryPolicy>,
        /// What the parameters of its jobs fit.
        parameters_schema: Option<Value>,
        /// Of its jobs, at once.
        concurrency_limit: Option<i32>,
        /// Whether an interrupted job starts again.
        is_restartable: Option<bool>,
        /// Whether both outputs are one.
        merge_output: Option<bool>,
        /// The labels of the worker that runs it.
        runs_on: Vec<Label>,
    }
    /// `TaskArchiveInput`, `ScheduleResumeInput` and `ScheduleDeleteInput`.
    Referred {
        /// What is meant.
        r#ref: Ref,
    }
    /// `ScheduleFilter`.
    ScheduleFilter {
        /// What it makes jobs of.
        task: Option<Ref>,
        /// Only paused ones, or only the others.
        is_paused: Option<bool>,
    }
    /// `SchedulePutInput`.
    SchedulePut {
        /// Its name.
        name: String,
        /// What it makes jobs of.
        task: Ref,
        /// When.
        timing: Timing,
        /// Where the clock stands that a pattern is read by.
        time_zone: Option<String>,
        /// The most that a start is put off by.
        jitter: Option<String>,
        /// For missed ticks.
        misfire: Option<String>,
        /// How late a missed tick may be.
        misfire_window: Option<String>,
        /// When the last job still runs.
        overlap: Option<String>,
        /// What its jobs are told.
        parameters: Option<serde_json::Map<String, serde_json::Value>>,
        /// Whether it begins paused.
        is_paused: Option<bool>,
    }
    /// The arguments of `schedulePreview`.
    SchedulePreview {
        /// When.
        timing: Timing,
        /// Where the clock stands that a pattern is read by.
        time_zone: String,
        /// How many.
        first: i32,
        /// The most that a start is put off by.
        jitter: String,
        /// It decides how much of the jitter.
        name: Option<String>,
    }
    /// `SchedulePauseInput`.
    SchedulePause {
        /// What is meant.
        r#ref: Ref,
        /// For people.
        reason: Option<String>,
        /// RFC 3339.
        until: Option<String>,
    }
    /// `ScheduleTriggerInput`.
    ScheduleTrigger {
        /// What is meant.
        r#ref: Ref,
        /// Whether to start beside a job that runs.
        ignore_overlap: Option<bool>,
        /// Makes the request safe to repeat.
        idempotency_key: Option<String>,
    }
    /// `GrantInput`.
    GrantInput {
        /// `READ`, ...
        verb: String,
        /// Globs of task names; empty is all.
        tasks: Vec<String>,
        /// Whether only for jobs that the token makes.
        own_jobs_only: Option<bool>,
    }
    /// `TokenCreateInput`.
    TokenCreate {
        /// Its name.
        name: String,
        /// What it may do.
        grants: Vec<GrantInput>,
        /// How long it is valid.
        expires_in: Option<String>,
    }
    /// `QueuePauseInput`.
    QueuePause {
        /// Its name.
        name: String,
        /// For people.
        reason: Option<String>,
    }
}

/// Starts in a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RateLimit {
    /// How many.
    pub starts: i64,
    /// As the API reads a length.
    pub per: String,
}

/// A `JobFilter` that is sent whatever it holds.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub struct WholeFilter(pub JobFilter);

/// `QueuePutInput`: no limit is said with a null, not by leaving it out.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueuePut {
    /// Its name.
    pub name: String,
    /// At once; none is no limit.
    pub concurrency_limit: Option<i64>,
    /// In a period; none is no limit.
    pub rate_limit: Option<RateLimit>,
}
