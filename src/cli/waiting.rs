//! Owns `hold`, `release` and `update`: what may be done to a job that waits.

use crate::client::answers::{Answer, Outcome, WithJob};
use crate::client::inputs::JobUpdate;
use crate::client::operations;

use super::input::JOB_HELP;
use super::outcome::{Stop, accepted, exit};
use super::{Context, input};

/// `beadle hold` and `beadle release`.
#[derive(Debug, clap::Args)]
pub struct HoldArgs {
    #[arg(help = JOB_HELP, value_parser = input::job_id)]
    id: String,
}

/// `beadle update`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("change").required(true).multiple(true)))]
pub struct UpdateArgs {
    #[arg(help = JOB_HELP, value_parser = input::job_id)]
    id: String,
    /// Higher first
    #[arg(
        long, group = "change", allow_negative_numbers = true,
        value_parser = clap::value_parser!(i32).range(-100..=100)
    )]
    priority: Option<i32>,
    /// Start not before this instant (RFC 3339)
    #[arg(long, group = "change", value_name = "INSTANT", value_parser = input::instant)]
    at: Option<String>,
    /// The queue to wait in
    #[arg(long, group = "change")]
    queue: Option<String>,
}

/// Changes where and when a job waits.
pub fn update(context: &mut Context, args: UpdateArgs) -> Result<u8, Stop> {
    let input = JobUpdate { id: args.id, priority: args.priority, run_at: args.at, queue: args.queue };
    let answer = operations::job_update(&context.client()?, &input)?;
    changed(context, answer)
}

/// Keeps a job from starting.
pub fn hold(context: &mut Context, args: &HoldArgs) -> Result<u8, Stop> {
    let answer = operations::job_hold(&context.client()?, &args.id)?;
    changed(context, answer)
}

/// Lets a held job go on.
pub fn release(context: &mut Context, args: &HoldArgs) -> Result<u8, Stop> {
    let answer = operations::job_release(&context.client()?, &args.id)?;
    changed(context, answer)
}

fn changed(context: &mut Context, answer: Answer<Outcome<WithJob>>) -> Result<u8, Stop> {
    context.screen.data(&answer.data)?;
    let job = accepted(answer)?.job;
    context.screen.line(&format!("{} {}", job.id, job.state))?;
    Ok(exit::OK)
}
