//! Owns `why`: what keeps a job from starting, or how it came to where it is, in words.

use crate::base::clock::{Clock, SystemClock};
use crate::client::answers::{Blocker, JobWhy};
use crate::client::operations;

use super::input::JOB_HELP;
use super::outcome::{Stop, exit};
use super::{Context, bar, input};

/// `beadle why`.
#[derive(Debug, clap::Args)]
pub struct WhyArgs {
    #[arg(help = JOB_HELP, value_parser = input::job_id)]
    id: String,
}

/// Says why a job waits; of one that runs or is final, that and how it ended.
pub fn why(context: &mut Context, args: &WhyArgs) -> Result<u8, Stop> {
    let answer = operations::job_why(&context.client()?, &args.id)?;
    context.screen.data(&answer.data)?;
    let job = answer.value;
    context.screen.line(&headline(&job))?;
    for line in lines(&job) {
        context.screen.line(&format!("  {line}"))?;
    }
    Ok(exit::OK)
}

fn headline(job: &JobWhy) -> String {
    let JobWhy { id, state, queue, .. } = job;
    match (state.as_str(), &job.started_at, &job.finished_at) {
        ("RUNNING", Some(at), _) => format!("{id} is RUNNING since {at}"),
        (_, _, Some(at)) => format!("{id} {state} at {at}"),
        _ => format!("{id} is {state} in queue {}", queue.name),
    }
}

fn lines(job: &JobWhy) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(failure) = &job.failure {
        let of_last = if job.state == "RETRYING" { "the last attempt failed: " } else { "" };
        lines.push(format!("{of_last}{}", failure.message));
        lines.extend(failure.error_line.iter().map(|line| format!("error line: {line}")));
    }
    if job.state == "RUNNING" {
        lines.extend(job.progress.as_ref().map(|progress| bar::words(progress, Some(SystemClock.now()))));
        lines.extend(job.stop_requested_at.iter().map(|at| format!("a stop was asked for at {at}")));
    }
    if job.finished_at.is_none() && job.state != "RUNNING" {
        match job.blockers.as_slice() {
            [] => lines.push(unexplained(job)),
            blockers => lines.extend(blockers.iter().flat_map(blocker)),
        }
    }
    lines
}

/// What the state alone says.
fn unexplained(job: &JobWhy) -> String {
    match job.state.as_str() {
        "HELD" => format!("it is on hold until somebody releases it: beadle release {}", bare(&job.id)),
        "SCHEDULED" | "RETRYING" => format!("its time is {}", job.run_at),
        "BLOCKED" => "it waits for other jobs".to_owned(),
        _ => "nothing keeps it: it starts when a slot is free".to_owned(),
    }
}

fn bare(id: &str) -> &str {
    id.strip_prefix("job_").unwrap_or(id)
}

fn blocker(blocker: &Blocker) -> Vec<String> {
    let mut lines = vec![blocker.message.clone()];
    let mut more = |text: String| lines.push(format!("  {text}"));
    if let Some(reason) = &blocker.reason {
        more(format!("reason: {reason}"));
    }
    if !blocker.jobs.is_empty() {
        let jobs: Vec<_> = blocker.jobs.iter().map(|job| format!("{} {}", job.id, job.state)).collect();
        more(format!("waits for {}", jobs.join(", ")));
    }
    if !blocker.holders.is_empty() {
        let holders: Vec<_> = blocker.holders.iter().map(|job| job.id.as_str()).collect();
        more(format!("held by {}", holders.join(", ")));
    }
    lines
}
