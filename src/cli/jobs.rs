//! Owns `jobs`, `job` and `cancel`: looking at jobs, and stopping them.

use crate::client::answers::{AttemptRow, JobDetail, JobRow, Ran};
use crate::client::inputs::{JobCancel, JobFilter, Label};
use crate::client::operations::{self, PageOf};

use super::bulk::{self, ManyArgs};
use super::input::JOB_HELP;
use super::outcome::{Stop, accepted, exit};
use super::output::{brief, bytes, cut, label_list, length, or_dash, whole_command};
use super::{Context, bar, input, pages};

/// `beadle jobs`.
#[derive(Debug, clap::Args)]
pub struct JobsArgs {
    /// Only in this state; may be repeated
    #[arg(long = "state", value_name = "STATE", value_enum, ignore_case = true)]
    states: Vec<State>,
    /// Only of this task; may be repeated
    #[arg(long = "task", value_name = "NAME")]
    tasks: Vec<String>,
    /// Only of this queue; may be repeated
    #[arg(long = "queue", value_name = "NAME")]
    queues: Vec<String>,
    /// Only with this label; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = input::label)]
    labels: Vec<Label>,
    /// Only with a failure that was counted into this incident
    #[arg(long, value_name = "INCIDENT", value_parser = input::incident_id)]
    incident: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

/// `beadle job`.
#[derive(Debug, clap::Args)]
pub struct JobArgs {
    #[arg(help = JOB_HELP, value_parser = input::job_id)]
    id: String,
}

/// `beadle cancel`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("many").multiple(true)))]
#[command(
    override_usage = "beadle cancel [OPTIONS] <ID>\n       beadle cancel [OPTIONS] --all|--state|--task|--queue|--label ..."
)]
pub struct CancelArgs {
    #[arg(help = JOB_HELP, value_parser = input::job_id, required_unless_present = "many")]
    id: Option<String>,
    #[command(flatten)]
    many: ManyArgs,
    /// Every job that is not final
    #[arg(long, group = "many", conflicts_with = "id")]
    all: bool,
    /// Why, for whoever looks at it later
    #[arg(long)]
    reason: Option<String>,
}

/// A job's state, as a flag.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum State {
    Held,
    Blocked,
    Scheduled,
    Queued,
    Running,
    Retrying,
    Succeeded,
    Failed,
    Cancelled,
    Expired,
    Skipped,
}

/// Lists jobs.
pub fn jobs(context: &mut Context, args: JobsArgs) -> Result<u8, Stop> {
    let filter = JobFilter {
        states: words(&args.states),
        tasks: args.tasks,
        queues: args.queues,
        labels: args.labels,
        incident_id: args.incident,
    };
    let client = context.client()?;
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let answer = pages::collect("jobs", limit, |first, after| {
        operations::jobs(&client, &PageOf { first, after, filter: filter.clone() })
    })?;
    context.screen.data(&answer.data)?;
    let rows: Vec<_> = answer.value.iter().map(row).collect();
    context.screen.table(["ID", "STATE", "QUEUE", "CREATED", "RUNS", "NOTE"], &rows)?;
    Ok(exit::OK)
}

/// States as the API writes them.
pub fn words(states: &[State]) -> Vec<String> {
    states.iter().map(|state| format!("{state:?}").to_uppercase()).collect()
}

fn row(job: &JobRow) -> [String; 6] {
    let runs = job.task.as_ref().map_or_else(|| brief(&job.command), |task| task.name.clone());
    let note = match (&job.failure, job.state.as_str()) {
        (Some(failure), _) => cut(&failure.message),
        (None, "SCHEDULED" | "RETRYING") => format!("at {}", job.run_at),
        (None, _) => String::new(),
    };
    [job.id.clone(), job.state.clone(), job.queue.name.clone(), job.created_at.clone(), runs, note]
}

/// Shows one job.
pub fn job(context: &mut Context, args: &JobArgs) -> Result<u8, Stop> {
    let answer = operations::job(&context.client()?, &args.id)?;
    context.screen.data(&answer.data)?;
    let job = answer.value;
    context.screen.facts(&facts(&job))?;
    if !job.attempts.nodes.is_empty() {
        let rows: Vec<_> = job.attempts.nodes.iter().map(attempt).collect();
        context.screen.line("")?;
        context.screen.table(["ATTEMPT", "OUTCOME", "EXIT", "STARTED", "TOOK", "LOG"], &rows)?;
        if job.attempts.page_info.has_next_page {
            context.screen.line("... more attempts; see --json and the API")?;
        }
    }
    Ok(exit::OK)
}

fn facts(job: &JobDetail) -> Vec<(&'static str, Option<String>)> {
    let failure = job.failure.as_ref();
    let task = job.task.as_ref().map(|task| match job.task_revision {
        Some(revision) => format!("{} (revision {revision})", task.name),
        None => task.name.clone(),
    });
    let tries = job.retry_policy.max_attempts;
    let runs_anyway = job.on_dependency_failure.as_deref() == Some("RUN");
    let dependencies: Vec<_> = job
        .depends_on
        .iter()
        .map(|one| format!("{} {}", one.id, one.state))
        .chain(runs_anyway.then(|| "runs even if one failed".to_owned()))
        .collect();
    vec![
        ("id", Some(job.id.clone())),
        ("state", Some(job.state.clone())),
        ("failure", failure.map(|failure| failure.message.clone())),
        ("error line", failure.and_then(|failure| failure.error_line.clone())),
        ("progress", job.progress.as_ref().map(bar::words)),
        ("output", job.output.as_ref().map(ToString::to_string)),
        ("task", task),
        ("command", Some(whole_command(&job.command))),
        ("parameters", job.parameters.as_ref().map(ToString::to_string)),
        ("directory", job.command.working_directory.clone()),
        ("last ran", job.attempts.nodes.iter().rev().find_map(|attempt| attempt.ran.as_ref()).map(ran)),
        ("queue", Some(job.queue.name.clone())),
        ("priority", (job.priority != 0).then(|| job.priority.to_string())),
        ("labels", label_list(&job.labels)),
        ("runs on", label_list(&job.runs_on)),
        ("asked by", Some(format!("{} ({})", job.requested_by, job.origin))),
        ("schedule", job.schedule.as_ref().map(|schedule| schedule.name.clone())),
        ("waits for", (!dependencies.is_empty()).then(|| dependencies.join(", "))),
        ("incident", job.incident.as_ref().map(|incident| format!("{} {}", incident.id, incident.status))),
        ("retry of", job.retry_of.as_ref().map(|job| job.id.clone())),
        ("tries", (tries > 1).then(|| tries.to_string())),
        ("timeout", job.timeout.as_deref().map(length)),
        ("idle timeout", job.idle_timeout.as_deref().map(length)),
        ("longest timeout", job.max_timeout.as_deref().map(length)),
        ("created", Some(job.created_at.clone())),
        ("runs at", job.started_at.is_none().then(|| job.run_at.clone())),
        ("start by", job.start_by.clone().filter(|_| job.started_at.is_none())),
        ("started", job.started_at.clone()),
        ("stop asked", job.stop_requested_at.clone()),
        ("finished", job.finished_at.clone()),
    ]
}

fn ran(ran: &Ran) -> String {
    let cgroup = ran.cgroup.as_ref().map(|group| format!(", control group {group}")).unwrap_or_default();
    format!("{} in {} on {}{cgroup}", ran.program, ran.directory, ran.host)
}

fn attempt(attempt: &AttemptRow) -> [String; 6] {
    let code = attempt.exit_code.map(|code| code.to_string());
    [
        attempt.number.to_string(),
        attempt.outcome.clone().unwrap_or_else(|| "RUNNING".to_owned()),
        or_dash(code.or_else(|| attempt.signal.clone())),
        attempt.started_at.clone(),
        length(&attempt.duration),
        bytes(&attempt.log_bytes),
    ]
}

/// Stops a job, or all that match.
pub fn cancel(context: &mut Context, args: CancelArgs) -> Result<u8, Stop> {
    let Some(id) = args.id else { return bulk::cancel(context, args.many, args.reason) };
    let input = JobCancel { id: id.clone(), reason: args.reason };
    let answer = operations::job_cancel(&context.client()?, &input)?;
    context.screen.data(&answer.data)?;
    let job = accepted(answer)?.job;
    let is_cancelled = job.is_some_and(|job| job.state == "CANCELLED");
    let what = if is_cancelled { "CANCELLED" } else { "is asked to stop" };
    context.screen.line(&format!("{id} {what}"))?;
    Ok(exit::OK)
}
