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
        let estimate = job.estimated_finish_at.as_deref();
        lines.extend(bar::line(job.progress.as_ref(), estimate, SystemClock.now()));
        lines.extend(job.stop_requested_at.iter().map(|at| format!("a stop was asked for at {at}")));
    }
    if job.finished_at.is_none() && job.state != "RUNNING" {
        match job.blockers.as_slice() {
            [] => lines.push(unexplained(job)),
            blockers => lines.extend(blockers.iter().flat_map(|one| blocker(job, one))),
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

/// Its sentence, and what a person needs beside it.
fn blocker(job: &JobWhy, blocker: &Blocker) -> Vec<String> {
    let queue = blocker.queue.as_ref().map_or("", |queue| queue.name.as_str());
    let more = match (blocker.kind.as_str(), &blocker.at, &blocker.until) {
        ("HeldBlocker", _, _) => Some(format!("let it go: beadle release {}", bare(&job.id))),
        ("PausedBlocker", Some(at), _) => Some(format!("since {at}; end it: beadle queue resume {queue}")),
        ("WorkerBlocker", _, _) => Some("the workers and their labels: beadle status".to_owned()),
        ("RateBlocker", _, Some(until)) => Some(format!("the next one starts at {until}")),
        ("DependencyBlocker", _, _) => {
            let jobs: Vec<_> =
                blocker.jobs.iter().map(|job| format!("{} is {}", job.id, job.state)).collect();
            Some(jobs.join(", ")).filter(|jobs| !jobs.is_empty())
        }
        _ => None,
    };
    std::iter::once(blocker.message.clone()).chain(more.map(|text| format!("  {text}"))).collect()
}
