//! Owns `run` and `retry`: asking for a job, safely to repeat, and staying with it when told to.

use crate::client::answers::JobRef;
use crate::client::inputs::{Argv, Command, Exec, JobEnqueue, JobRetry, Label, Ref, Run, Variable};
use crate::client::operations;

use super::bulk::{self, ManyArgs};
use super::input::JOB_HELP;
use super::outcome::{Stop, accepted, exit};
use super::parameters::ParameterFlags;
use super::patience::persistently;
use super::retries::RetryFlags;
use super::watch::WatchArgs;
use super::{Context, incidents, input};

/// `beadle run`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true)))]
#[command(
    override_usage = "beadle run [OPTIONS] <TASK>\n       beadle run [OPTIONS] -- <COMMAND>...\n       \
                            beadle run [OPTIONS] --handler <HANDLER>"
)]
pub struct RunArgs {
    /// The task to run
    #[arg(group = "what")]
    task: Option<String>,
    /// The command to run, and its arguments
    #[arg(last = true, group = "what", value_name = "COMMAND")]
    command: Vec<String>,
    /// A handler to call: a function of the program that embeds the daemon
    #[arg(long, group = "what", conflicts_with_all = ["environment", "directory"])]
    handler: Option<String>,
    #[command(flatten)]
    watch: WatchArgs,
    /// The same key gives the same job, so that a repeated request runs once [default: random]
    #[arg(long)]
    key: Option<String>,
    /// Start not before this instant (RFC 3339)
    #[arg(long, conflicts_with = "in", value_name = "INSTANT", value_parser = input::instant)]
    at: Option<String>,
    /// Start not before this time has passed
    #[arg(long, value_name = "LENGTH", value_parser = input::length)]
    r#in: Option<String>,
    /// Expire when not started by this instant (RFC 3339)
    #[arg(long, value_name = "INSTANT", value_parser = input::instant)]
    start_by: Option<String>,
    /// The queue to wait in
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
    /// The longest time that an attempt may take with all that it asks for
    #[arg(long, value_name = "LENGTH", value_parser = input::length)]
    max_timeout: Option<String>,
    #[command(flatten)]
    retries: RetryFlags,
    #[command(flatten)]
    parameters: ParameterFlags,
    /// One job at a time has this key, until it is final
    #[arg(long, value_name = "KEY")]
    unique: Option<String>,
    /// What to do when another job has the unique key
    #[arg(long, requires = "unique", value_enum, default_value = "return-existing")]
    on_conflict: OnConflict,
    /// Jobs with this key run one at a time, or as many as their task's limit says
    #[arg(long, value_name = "KEY")]
    concurrency_key: Option<String>,
    /// Keep the job on hold until `beadle release`
    #[arg(long, conflicts_with_all = ["follow", "wait"])]
    hold: bool,
    /// Wait for this job to succeed; may be repeated
    #[arg(long = "after", value_name = "ID", value_parser = input::job_id)]
    after: Vec<String>,
    /// Run also when one of the jobs before did not succeed, once all have ended
    #[arg(long, requires = "after")]
    even_if_failed: bool,
    /// One pipe for both outputs, so that their order is the true one; all of it is standard output then
    #[arg(long)]
    merge_output: bool,
    /// A label to find the job by; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = input::label)]
    labels: Vec<Label>,
    /// Run only on a worker with this label; may be repeated
    #[arg(long = "runs-on", value_name = "KEY=VALUE", value_parser = input::label)]
    runs_on: Vec<Label>,
    /// An environment variable of the command; may be repeated
    #[arg(long = "env", value_name = "NAME=VALUE", conflicts_with = "task", value_parser = input::variable)]
    environment: Vec<Variable>,
    /// The directory of the command, on the daemon's machine
    #[arg(long = "dir", value_name = "PATH", conflicts_with = "task", value_parser = input::directory)]
    directory: Option<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum OnConflict {
    /// Give the job that has the key
    ReturnExisting,
    /// Refuse
    Reject,
    /// Cancel the one that waits; refuse when it runs
    ReplaceQueued,
}

impl OnConflict {
    fn word(self) -> &'static str {
        match self {
            OnConflict::ReturnExisting => "RETURN_EXISTING",
            OnConflict::Reject => "REJECT",
            OnConflict::ReplaceQueued => "REPLACE_QUEUED",
        }
    }
}

/// `beadle retry`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("many").multiple(true)))]
#[command(
    override_usage = "beadle retry [OPTIONS] <ID>\n       beadle retry [OPTIONS] --failed|--state|--task|--queue|--label ...\n       beadle retry [OPTIONS] --incident <INCIDENT>"
)]
pub struct RetryArgs {
    #[arg(help = JOB_HELP, value_parser = input::job_id, required_unless_present = "many")]
    id: Option<String>,
    #[command(flatten)]
    many: ManyArgs,
    /// Every final job that did not succeed; other flags narrow it
    #[arg(long, group = "many", conflicts_with = "id")]
    failed: bool,
    /// The failed jobs of this incident that nobody repeated yet
    #[arg(long, group = "many", value_name = "INCIDENT", value_parser = input::incident_id)]
    #[arg(conflicts_with_all = ["id", "failed", "states", "tasks", "queues", "labels", "key"])]
    incident: Option<String>,
    #[command(flatten)]
    watch: WatchArgs,
    /// The same key gives the same job, so that a repeated request runs once [default: random]
    #[arg(long)]
    key: Option<String>,
}

/// Asks for a job; prints its id, or stays with it.
pub fn run(context: &mut Context, args: RunArgs) -> Result<u8, Stop> {
    let what = match (args.task, args.handler) {
        (Some(name), _) => Run::Task(Ref { name }),
        (None, Some(handler)) => Run::Command(Command::Handler(handler)),
        (None, None) => Run::Command(Command::Exec(Exec {
            argv: Argv(args.command),
            working_directory: args.directory,
            environment: args.environment,
            ..Exec::default()
        })),
    };
    let input = JobEnqueue {
        run: what,
        queue: args.queue,
        priority: args.priority,
        run_at: args.at,
        delay: args.r#in,
        start_by: args.start_by,
        timeout: args.timeout,
        idle_timeout: args.idle_timeout,
        max_timeout: args.max_timeout,
        retry_policy: args.retries.policy(),
        parameters: args.parameters.object()?,
        labels: args.labels,
        on_conflict: args.unique.is_some().then(|| args.on_conflict.word().to_owned()),
        unique_key: args.unique,
        concurrency_key: args.concurrency_key,
        is_held: args.hold.then_some(true),
        depends_on: args.after,
        on_dependency_failure: args.even_if_failed.then(|| "RUN".to_owned()),
        merge_output: args.merge_output.then_some(true),
        runs_on: args.runs_on,
        idempotency_key: Some(input::key_or_random(args.key.as_ref())),
    };
    // The key makes it safe to ask again when no answer comes.
    let answer = persistently(context, |client| operations::job_enqueue(client, &input))?;
    let stays = args.watch.stays();
    if stays {
        context.screen.item(&answer.data)?;
    } else {
        context.screen.data(&answer.data)?;
    }
    let enqueued = accepted(answer)?;
    if enqueued.deduplicated {
        context.screen.note(&format!("{} was asked for before with this key", enqueued.job.id));
    }
    made(context, &enqueued.job, &args.watch)
}

/// Repeats a final job; prints the new one's id, or stays with it. Or repeats all that match.
pub fn retry(context: &mut Context, args: RetryArgs) -> Result<u8, Stop> {
    let key = input::key_or_random(args.key.as_ref());
    let Some(id) = args.id else {
        if args.watch.stays() {
            return Err(Stop::new(exit::USAGE, "only one job can be followed or waited for"));
        }
        if let Some(incident) = args.incident {
            return incidents::retry(context, incident, args.many.max());
        }
        return bulk::retry(context, args.many, key);
    };
    let input = JobRetry { id, idempotency_key: Some(key) };
    let answer = persistently(context, |client| operations::job_retry(client, &input))?;
    if args.watch.stays() {
        context.screen.item(&answer.data)?;
    } else {
        context.screen.data(&answer.data)?;
    }
    let repeated = accepted(answer)?;
    made(context, &repeated.job, &args.watch)
}

/// Says which job was made: on stdout for scripts, beside the log when there is one.
fn made(context: &mut Context, job: &JobRef, watch: &WatchArgs) -> Result<u8, Stop> {
    if watch.stays() {
        context.screen.note(&job.id);
        return watch.stay(context, &job.id);
    }
    context.screen.line(&job.id)?;
    Ok(exit::OK)
}
