//! Owns the task: a named, versioned definition of what to run.

use async_graphql::{InputObject, OneofObject, SimpleObject};
use serde::{Deserialize, Serialize};

use super::command::{Command, CommandInput, check_span};
use super::duration::Span;
use super::enqueue::{check_max_timeout, check_priority};
use super::id::TaskId;
use super::job::Label;
use super::limits;
use super::parameters_schema;
use super::placement::check_runs_on;
use super::rejection::{Rejection, check_name, check_text};
use super::retry::{RetryPolicy, RetryPolicyInput};
use super::scalars::Json;
use crate::base::clock::Timestamp;

/// A named definition of what to run.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(complex)]
pub struct Task {
    /// Its row.
    #[graphql(skip)]
    pub id: TaskId,
    /// Its name, unique.
    pub name: String,
    /// Counts its changes from 1.
    pub revision: i32,
    /// What it says, as of this revision.
    #[graphql(flatten)]
    pub definition: TaskDefinition,
    /// When it was first put.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When it was archived; an archived task makes no jobs.
    pub archived_at: Option<Timestamp>,
}

/// What a task says: everything that a revision pins.
#[derive(Debug, Clone, PartialEq, SimpleObject, Serialize, Deserialize)]
pub struct TaskDefinition {
    /// For people.
    pub description: Option<String>,
    /// What runs.
    pub command: Command,
    /// The queue's name.
    #[graphql(skip)]
    pub queue_name: String,
    /// Priority of its jobs unless they say otherwise.
    pub priority: i32,
    /// An attempt that runs longer is stopped.
    pub timeout: Option<Span>,
    /// An attempt that neither writes nor reports for so long is stopped.
    pub idle_timeout: Option<Span>,
    /// Time between SIGTERM and SIGKILL.
    pub kill_grace: Span,
    /// When and how often its jobs are tried again.
    pub retry_policy: RetryPolicy,
    /// Whether its jobs go back to their queue when a shutdown interrupts them.
    pub is_restartable: bool,
    /// The JSON Schema that the parameters of its jobs fit; null takes any object.
    #[serde(default)]
    pub parameters_schema: Option<Json>,
    /// Of its jobs run at once at most as many; null means any number.
    #[serde(default)]
    pub concurrency_limit: Option<i32>,
    /// The longest that an attempt may run with all the time that it asks for; null means ten times its timeout.
    #[serde(default)]
    pub max_timeout: Option<Span>,
    /// Whether both streams of its jobs' output are one, `STDOUT`, in their true order.
    #[serde(default)]
    #[graphql(name = "mergeOutput")]
    pub merges_output: bool,
    /// Its jobs run only on a worker with all of these labels; empty means on any.
    #[serde(default)]
    pub runs_on: Vec<Label>,
}

/// One revision of a task: what it said from then until the next one.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(complex)]
pub struct TaskRevision {
    /// Counts the changes of the task from 1.
    pub revision: i32,
    /// What it said.
    #[graphql(flatten)]
    pub definition: TaskDefinition,
    /// Who put it.
    pub actor: String,
    /// When it was put.
    pub created_at: Timestamp,
}

/// A task, by id or by name.
#[derive(Debug, Clone, OneofObject)]
pub enum TaskRef {
    /// By id.
    Id(TaskId),
    /// By name.
    Name(String),
}

/// A task to be made or changed.
#[derive(Debug, Clone, InputObject)]
pub struct TaskPutInput {
    /// Its name: an existing one is changed, a new one is made.
    pub name: String,
    /// Refuse when the task stands at another revision; 0 means it must not exist.
    pub expected_revision: Option<i32>,
    /// For people.
    pub description: Option<String>,
    /// What runs.
    pub command: CommandInput,
    /// The queue of its jobs.
    #[graphql(default = "default")]
    pub queue: String,
    /// Priority of its jobs, -100 to 100.
    #[graphql(default)]
    pub priority: i32,
    /// Stop an attempt that runs longer.
    pub timeout: Option<Span>,
    /// Stop an attempt that neither writes nor reports for so long.
    pub idle_timeout: Option<Span>,
    /// Time between SIGTERM and SIGKILL.
    #[graphql(default_with = "Span::from_millis(10_000)")]
    pub kill_grace: Span,
    /// When and how often to try again.
    pub retry_policy: Option<RetryPolicyInput>,
    /// Whether its jobs go back to their queue when a shutdown interrupts them.
    #[graphql(default = true)]
    pub is_restartable: bool,
    /// A JSON Schema (2020-12 unless it names draft 6, 7 or 2019-09; at most 64 KiB) for the parameters of its
    /// jobs. References lead into the schema itself, as #/$defs/NAME does, and patterns are matched in linear time,
    /// without look-around. With a schema, an argument of the command that is `{{NAME}}` and nothing else is
    /// replaced by that parameter: a text as it is, anything else as JSON; null leaves the argument out, and a job
    /// without the parameter is refused. A script is never changed: it finds parameters in its environment.
    pub parameters_schema: Option<Json>,
    /// Of its jobs run at once at most as many, 1 or more. A job counts for one limit: with a key of its own, or in the
    /// line of a schedule (see `OverlapPolicy`), not for a limit of more than one.
    pub concurrency_limit: Option<i32>,
    /// The longest that an attempt may run with all the time that it asks for; needs a timeout, and is not
    /// shorter; null means ten times that.
    pub max_timeout: Option<Span>,
    /// Give its jobs one pipe for both streams: everything is `STDOUT`, in its true order.
    #[graphql(default)]
    pub merge_output: bool,
    /// Run its jobs only on a worker with all of these labels, at most 10.
    pub runs_on: Option<Vec<Label>>,
}

/// A checked `TaskPutInput`.
#[derive(Debug, Clone)]
pub struct TaskPut {
    /// The task's name.
    pub name: String,
    /// The revision it must stand at.
    pub expected_revision: Option<i32>,
    /// What it shall say.
    pub definition: TaskDefinition,
}

impl TaskPutInput {
    /// The task, or what is wrong with a field.
    pub fn check(self) -> Result<TaskPut, Rejection> {
        check_name("name", &self.name)?;
        check_name("queue", &self.queue)?;
        check_priority("priority", Some(self.priority))?;
        if let Some(description) = &self.description {
            check_text("description", description, limits::DESCRIPTION_BYTES_MAX)?;
        }
        self.timeout.map_or(Ok(()), |timeout| check_span("timeout", timeout, 1))?;
        self.idle_timeout.map_or(Ok(()), |idle| check_span("idleTimeout", idle, 1))?;
        check_span("killGrace", self.kill_grace, 0)?;
        let policy = self.retry_policy.map(|policy| policy.check("retryPolicy")).transpose()?;
        check_max_timeout(self.timeout, self.max_timeout)?;
        if self.concurrency_limit.is_some_and(|limit| limit < 1) {
            let message = "must be at least 1; to start nothing, archive the task or pause its queue";
            return Err(Rejection::invalid("concurrencyLimit", message));
        }
        let command = self.command.check("command")?;
        if let Some(schema) = &self.parameters_schema {
            parameters_schema::check(schema)?;
            parameters_schema::check_placeholders(&command, schema)?;
        }
        Ok(TaskPut {
            name: self.name,
            expected_revision: self.expected_revision,
            definition: TaskDefinition {
                description: self.description,
                command,
                queue_name: self.queue,
                priority: self.priority,
                timeout: self.timeout,
                idle_timeout: self.idle_timeout,
                kill_grace: self.kill_grace,
                retry_policy: policy.unwrap_or_default(),
                is_restartable: self.is_restartable,
                parameters_schema: self.parameters_schema,
                concurrency_limit: self.concurrency_limit,
                max_timeout: self.max_timeout,
                merges_output: self.merge_output,
                runs_on: check_runs_on("runsOn", self.runs_on.unwrap_or_default())?,
            },
        })
    }
}
