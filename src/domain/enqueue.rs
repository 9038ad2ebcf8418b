//! Owns the door of jobs: what a caller may ask for, checked once.

use async_graphql::{InputObject, OneofObject};

use super::command::{CommandInput, check_span};
use super::duration::Span;
use super::id::JobId;
use super::job::{DependencyFailure, Label};
use super::limits;
use super::new_job::{Unique, UniqueConflict};
use super::placement::check_runs_on;
use super::rejection::{Rejection, check_name, check_text};
use super::retry::{RetryPolicy, RetryPolicyInput};
use super::scalars::Json;
use super::task::TaskRef;
use crate::base::clock::Timestamp;

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
    /// What the command is told for this job: a JSON object of at most 64 KiB, which fits the task's schema. Each
    /// default of the schema's properties is added. The command finds the object as `BEADLE_PARAMETERS` and each
    /// parameter that is not null as `BEADLE_PARAM_NAME`: a text as it is, anything else as JSON.
    pub parameters: Option<Json>,
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
    /// The longest that an attempt may run with all the time that it asks for; needs a timeout, here or in the task,
    /// and is not shorter; null means the task's, else ten times the timeout.
    pub max_timeout: Option<Span>,
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
    /// Jobs with the same key run one at a time, or as many at once as their task's `concurrencyLimit` says (of the
    /// newest such job). It stands in the place of the task's own limit.
    pub concurrency_key: Option<String>,
    /// Keep it on hold until somebody releases it.
    #[graphql(default)]
    pub is_held: bool,
    /// Jobs that it waits for, at most 1,000.
    pub depends_on: Option<Vec<JobId>>,
    /// In `jobEnqueueMany`: positions from 0 of jobs of the same request that it waits for too; only earlier ones.
    pub depends_on_positions: Option<Vec<i32>>,
    /// What to do when one of the jobs that it waits for does not succeed.
    #[graphql(default_with = "DependencyFailure::Skip")]
    pub on_dependency_failure: DependencyFailure,
    /// Give it one pipe for both streams: everything is `STDOUT`, in its true order. A task may say so for all its jobs.
    #[graphql(default)]
    pub merge_output: bool,
    /// Run it only on a worker with all of these labels, at most 10; null means the task's, and an empty list any worker.
    pub runs_on: Option<Vec<Label>>,
    /// The same key with the same request gives the same job, for at least 7 days.
    pub idempotency_key: Option<String>,
}

/// The fields of `JobEnqueueInput` that stand apart from what runs, checked.
#[derive(Debug, Clone)]
pub struct EnqueueOptions {
    /// The parameters given.
    pub parameters: Option<Json>,
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
    /// The longest run asked for, with extensions.
    pub max_timeout: Option<Span>,
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
    /// What it shares a limit with.
    pub concurrency_key: Option<String>,
    /// Whether it begins on hold.
    pub is_held: bool,
    /// The jobs that it waits for.
    pub depends_on: Vec<JobId>,
    /// Positions of the jobs of the same request that it waits for.
    pub depends_on_positions: Vec<i32>,
    /// What becomes of it when one of them does not succeed.
    pub on_dependency_failure: DependencyFailure,
    /// Whether both streams are asked to be one.
    pub merges_output: bool,
    /// The labels asked of its worker.
    pub runs_on: Option<Vec<Label>>,
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
        let max_timeout = ("maxTimeout", self.max_timeout, 1);
        for (path, span, min) in [timeout, idle, max_timeout, ("killGrace", self.kill_grace, 0)] {
            span.map_or(Ok(()), |span| check_span(path, span, min))?;
        }
        for (path, key) in [
            ("idempotencyKey", &self.idempotency_key),
            ("uniqueKey", &self.unique_key),
            ("concurrencyKey", &self.concurrency_key),
        ] {
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
        let depends_on = self.depends_on.unwrap_or_default();
        let depends_on_positions = self.depends_on_positions.unwrap_or_default();
        if depends_on.len() + depends_on_positions.len() > limits::DEPENDENCIES_MAX {
            let message = format!("a job may wait for at most {} jobs", limits::DEPENDENCIES_MAX);
            return Err(Rejection::invalid("dependsOn", message));
        }
        let options = EnqueueOptions {
            parameters: self.parameters,
            queue: self.queue,
            priority: self.priority,
            run_at,
            start_by: self.start_by,
            timeout: self.timeout,
            max_timeout: self.max_timeout,
            idle_timeout: self.idle_timeout,
            kill_grace: self.kill_grace,
            retry_policy: self.retry_policy.map(|policy| policy.check("retryPolicy")).transpose()?,
            labels,
            unique: self.unique_key.map(|key| Unique { key, on_conflict: self.on_conflict, own_of: None }),
            concurrency_key: self.concurrency_key,
            is_held: self.is_held,
            depends_on,
            depends_on_positions,
            on_dependency_failure: self.on_dependency_failure,
            merges_output: self.merge_output,
            runs_on: self.runs_on.map(|labels| check_runs_on("runsOn", labels)).transpose()?,
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

/// The longest run that goes with a timeout, else a refusal.
pub fn check_max_timeout(timeout: Option<Span>, max: Option<Span>) -> Result<(), Rejection> {
    let Some(max) = max else { return Ok(()) };
    check_span("maxTimeout", max, 1)?;
    match timeout {
        None => Err(Rejection::invalid("maxTimeout", "needs a timeout that can be extended up to it")),
        Some(timeout) if timeout > max => {
            Err(Rejection::invalid("maxTimeout", format!("is {max}, shorter than the timeout of {timeout}")))
        }
        Some(_) => Ok(()),
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
