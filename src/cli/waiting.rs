//! Owns `hold` and `release`: what may be done to a job that waits.

use crate::client::answers::{Answer, Outcome, WithJob};
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
