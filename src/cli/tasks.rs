//! Owns `task`: definitions of what to run.

use std::fs;
use std::io::{self, Read};

use crate::client::answers::{Answer, Outcome, RetryPolicy, TaskDetail, WithTask};
use crate::client::inputs::{
    Argv, Command, Exec, Label, Ref, Referred, Script, TaskFilter, TaskPut, Variable,
};
use crate::client::operations::{self, PageOf};

use super::outcome::{Stop, accepted, exit};
use super::output::{brief, label_list, length, whole_command};
use super::retries::RetryFlags;
use super::{Context, input, pages, parameters};

/// Tasks listed at most.
const TASKS_MAX: usize = 10_000;
/// Bytes of a script that are read; the daemon takes fewer.
const SCRIPT_BYTES_MAX: u64 = 1024 * 1024;

/// `beadle task`.
#[derive(Debug, clap::Subcommand)]
pub enum TaskCommand {
    /// Make a task, or a new revision of it
    Put(Box<PutArgs>),
    /// List the tasks
    Ls {
        /// Only of this queue; may be repeated
        #[arg(long = "queue", value_name = "NAME")]
        queues: Vec<String>,
        /// Archived ones too
        #[arg(long)]
        all: bool,
    },
    /// Show one task
    Show {
        /// The task
        name: String,
    },
    /// Archive a task: its jobs stay, new ones are refused
    Rm {
        /// The task
        name: String,
    },
}

/// `beadle task put`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true)))]
#[command(override_usage = "beadle task put [OPTIONS] <NAME> -- <COMMAND>...\n       \
                            beadle task put [OPTIONS] --script <FILE> <NAME>\n       \
                            beadle task put [OPTIONS] --handler <HANDLER> <NAME>")]
pub struct PutArgs {
    /// The task
    name: String,
    /// The command to run, and its arguments
    #[arg(last = true, group = "what", value_name = "COMMAND")]
    command: Vec<String>,
    /// A file with a script to run instead, - for stdin
    #[arg(long, group = "what", value_name = "FILE")]
    script: Option<String>,
    /// A handler to call instead: a function of the program that embeds the daemon
    #[arg(long, group = "what", conflicts_with_all = ["environment", "inherit_environment", "directory"])]
    handler: Option<String>,
    /// The shell of the script [default: /bin/sh]
    #[arg(long, requires = "script", value_name = "PATH")]
    shell: Option<String>,
    /// What it is for
    #[arg(long)]
    description: Option<String>,
    /// The queue that its jobs wait in
    #[arg(long)]
    queue: Option<String>,
    /// Higher first
    #[arg(long, allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-100..=100))]
    priority: Option<i32>,
    /// The longest time that an attempt may take
    #[arg(long, value_name = "LENGTH", value_parser = input::length)]
    timeout: Option<String>,
    /// The longest time that an attempt may write nothing
    #[arg(long, value_name = "LENGTH", value_parser = input::length)]
    idle_timeout: Option<String>,
    /// Time from SIGTERM to SIGKILL
    #[arg(long, value_name = "LENGTH", value_parser = input::length)]
    kill_grace: Option<String>,
    /// The longest time that an attempt may take with all that it asks for
    #[arg(long, value_name = "LENGTH", value_parser = input::length)]
    max_timeout: Option<String>,
    #[command(flatten)]
    retries: RetryFlags,
    /// A JSON Schema for the parameters of its jobs, or @FILE with one, @- for stdin
    #[arg(long, value_name = "JSON")]
    schema: Option<String>,
    /// How many of its jobs may run at once
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..))]
    concurrency_limit: Option<i32>,
    /// An environment variable; may be repeated
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = input::variable)]
    environment: Vec<Variable>,
    /// A variable to take from the daemon's environment; may be repeated
    #[arg(long = "inherit-env", value_name = "NAME")]
    inherit_environment: Vec<String>,
    /// The directory to run in, on the daemon's machine
    #[arg(long = "dir", value_name = "PATH", value_parser = input::directory)]
    directory: Option<String>,
    /// Do not start again what a stop of the daemon interrupted
    #[arg(long)]
    no_restart: bool,
    /// One pipe for both outputs, so that their order is the true one; all of it is standard output then
    #[arg(long)]
    merge_output: bool,
    /// Run its jobs only on a worker with this label; may be repeated
    #[arg(long = "runs-on", value_name = "KEY=VALUE", value_parser = input::label)]
    runs_on: Vec<Label>,
    /// Refuse when the task has another revision than this one
    #[arg(long, value_name = "NUMBER")]
    expect_revision: Option<i32>,
}

/// One of the task commands.
pub fn task(context: &mut Context, command: TaskCommand) -> Result<u8, Stop> {
    match command {
        TaskCommand::Put(args) => {
            let input = put_input(*args)?;
            let answer = operations::task_put(&context.client()?, &input)?;
            changed(context, answer, "revision")
        }
        TaskCommand::Rm { name } => {
            let input = Referred { r#ref: Ref { name } };
            let answer = operations::task_archive(&context.client()?, &input)?;
            changed(context, answer, "archived at revision")
        }
        TaskCommand::Ls { queues, all } => {
            list(context, &TaskFilter { queues, include_archived: all.then_some(true) })
        }
        TaskCommand::Show { name } => show(context, &name),
    }
}

fn put_input(args: PutArgs) -> Result<TaskPut, Stop> {
    let command = match (&args.script, args.handler) {
        (None, Some(handler)) => Command::Handler(handler),
        (Some(file), _) => Command::Script(Script {
            text: script(file)?,
            shell: args.shell,
            working_directory: args.directory,
            environment: args.environment,
            inherit_environment: args.inherit_environment,
        }),
        (None, None) => Command::Exec(Exec {
            argv: Argv(args.command),
            working_directory: args.directory,
            environment: args.environment,
            inherit_environment: args.inherit_environment,
        }),
    };
    Ok(TaskPut {
        name: args.name,
        expected_revision: args.expect_revision,
        description: args.description,
        command,
        queue: args.queue,
        priority: args.priority,
        timeout: args.timeout,
        idle_timeout: args.idle_timeout,
        kill_grace: args.kill_grace,
        max_timeout: args.max_timeout,
        retry_policy: args.retries.policy(),
        parameters_schema: args.schema.map(|text| parameters::json("--schema", &text)).transpose()?,
        concurrency_limit: args.concurrency_limit,
        is_restartable: args.no_restart.then_some(false),
        merge_output: args.merge_output.then_some(true),
        runs_on: args.runs_on,
    })
}

fn script(file: &str) -> Result<String, Stop> {
    let mut text = String::new();
    let read = if file == "-" {
        io::stdin().take(SCRIPT_BYTES_MAX).read_to_string(&mut text)
    } else {
        fs::File::open(file).and_then(|file| file.take(SCRIPT_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| Stop::new(exit::USAGE, format!("cannot read the script {file}: {error}")))?;
    Ok(text)
}

fn changed(context: &mut Context, answer: Answer<Outcome<WithTask>>, what: &str) -> Result<u8, Stop> {
    context.screen.data(&answer.data)?;
    let task = accepted(answer)?.task;
    context.screen.line(&format!("{} {what} {}", task.name, task.revision))?;
    Ok(exit::OK)
}

fn list(context: &mut Context, filter: &TaskFilter) -> Result<u8, Stop> {
    let client = context.client()?;
    let answer = pages::collect("tasks", TASKS_MAX, |first, after| {
        operations::tasks(&client, &PageOf { first, after, filter: filter.clone() })
    })?;
    context.screen.data(&answer.data)?;
    let rows: Vec<_> = answer
        .value
        .iter()
        .map(|task| {
            let note = if task.archived_at.is_some() { "ARCHIVED" } else { "" };
            [
                task.name.clone(),
                task.revision.to_string(),
                task.queue.name.clone(),
                task.updated_at.clone(),
                brief(&task.command),
                note.to_owned(),
            ]
        })
        .collect();
    context.screen.table(["TASK", "REVISION", "QUEUE", "UPDATED", "COMMAND", "NOTE"], &rows)?;
    Ok(exit::OK)
}

fn show(context: &mut Context, name: &str) -> Result<u8, Stop> {
    let answer = operations::task(&context.client()?, name)?;
    context.screen.data(&answer.data)?;
    context.screen.facts(&facts(&answer.value))?;
    Ok(exit::OK)
}

fn facts(task: &TaskDetail) -> Vec<(&'static str, Option<String>)> {
    let environment: Vec<_> = task
        .command
        .environment
        .iter()
        .map(|variable| format!("{}={}", variable.name, variable.value.as_deref().unwrap_or("(secret)")))
        .collect();
    let schedules: Vec<_> = task.schedules.iter().map(|schedule| schedule.name.as_str()).collect();
    let policy = &task.retry_policy;
    let tries = format!(
        "{}, first after {}, then x{} up to {}",
        policy.max_attempts,
        length(&policy.initial_delay),
        policy.factor,
        length(&policy.max_delay)
    );
    vec![
        ("task", Some(task.name.clone())),
        ("description", task.description.clone()),
        ("revision", Some(task.revision.to_string())),
        ("command", Some(whole_command(&task.command))),
        ("shell", task.command.script.as_ref().and(task.command.shell.clone())),
        ("directory", task.command.working_directory.clone()),
        ("environment", (!environment.is_empty()).then(|| environment.join(" "))),
        ("queue", Some(task.queue.name.clone())),
        ("priority", Some(task.priority.to_string())),
        ("timeout", task.timeout.as_deref().map(length)),
        ("idle timeout", task.idle_timeout.as_deref().map(length)),
        ("longest timeout", task.max_timeout.as_deref().map(length)),
        ("kill grace", Some(length(&task.kill_grace))),
        ("tries", Some(if policy.max_attempts > 1 { tries } else { "1".to_owned() })),
        ("tries again", conditions(policy)),
        ("at once", task.concurrency_limit.map(|limit| limit.to_string())),
        ("runs on", label_list(&task.runs_on)),
        ("parameters", task.parameters_schema.as_ref().map(ToString::to_string)),
        ("restartable", Some(if task.is_restartable { "yes" } else { "no" }.to_owned())),
        ("schedules", (!schedules.is_empty()).then(|| schedules.join(" "))),
        ("created", Some(task.created_at.clone())),
        ("updated", Some(task.updated_at.clone())),
        ("archived", task.archived_at.clone()),
    ]
}

/// After what a failed job is tried again, when not after anything.
fn conditions(policy: &RetryPolicy) -> Option<String> {
    let codes: Option<Vec<_>> =
        policy.exit_codes.as_ref().map(|codes| codes.iter().map(ToString::to_string).collect());
    let parts = [
        policy.retry_on.as_ref().map(|outcomes| format!("after {}", outcomes.join(" "))),
        codes.map(|codes| format!("of exit codes {}", codes.join(" "))),
        policy.signals.as_ref().map(|signals| format!("of signals {}", signals.join(" "))),
        policy.retries_temporary_failure.then(|| "always after exit code 75".to_owned()),
    ];
    let told: Vec<_> = parts.into_iter().flatten().collect();
    (!told.is_empty()).then(|| told.join(", "))
}
