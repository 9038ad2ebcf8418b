//! Owns `top`: what runs now and how far it is, drawn anew on a terminal.

use std::time::Duration;

use crate::base::clock::{Clock, SystemClock, pause};
use crate::client::ErrorKind;
use crate::client::answers::RunningJob;
use crate::client::operations;

use super::outcome::{Stop, exit};
use super::output::{brief, cut, length};
use super::patience::Outage;
use super::{Context, bar, queues, status};

/// Jobs that are shown.
const JOBS_MAX: usize = 50;
/// Between two pictures.
const EVERY: Duration = Duration::from_secs(1);

/// `beadle top`.
#[derive(Debug, clap::Args)]
pub struct TopArgs {
    /// Print one picture and end, as without a terminal
    #[arg(long)]
    once: bool,
}

/// Shows what runs: once, or every second on a terminal.
pub fn top(context: &mut Context, args: &TopArgs) -> Result<u8, Stop> {
    if args.once || !context.screen.is_drawn() {
        picture(context)?;
        return Ok(exit::OK);
    }
    redrawn(context, picture)
}

/// Draws a picture every second until the daemon is away for too long, or the terminal is.
pub fn redrawn(context: &mut Context, picture: fn(&mut Context) -> Result<(), Stop>) -> Result<u8, Stop> {
    let mut outage = Outage::new(context.patience, context.patience.stream);
    loop {
        context.screen.begin_picture();
        match picture(context) {
            Ok(()) => {
                context.screen.end_picture()?;
                outage.is_over();
                pause(EVERY.min(context.patience.longest));
            }
            Err(stop) if stop.code == exit::UNREACHABLE => {
                context.screen.drop_picture();
                let error = crate::client::ClientError {
                    kind: ErrorKind::Unreachable,
                    message: stop.message,
                    errors: Vec::new(),
                };
                outage.bear(&mut context.screen, error, None)?;
            }
            Err(stop) => {
                context.screen.drop_picture();
                return Err(stop);
            }
        }
    }
}

fn picture(context: &mut Context) -> Result<(), Stop> {
    let client = context.client()?;
    let answer = operations::top(&client, JOBS_MAX)?;
    context.screen.data(&answer.data)?;
    let top = answer.value;
    let slots: i64 = top.workers.nodes.iter().map(|worker| worker.slots).sum();
    let busy: i64 = top.workers.nodes.iter().map(|worker| worker.busy_slots).sum();
    let counts = status::counts(&top.job_counts);
    let now = SystemClock.now();
    context.screen.line(&format!("{}  {now}  slots {busy}/{slots}  jobs {counts}", client.url()))?;
    context.screen.line("")?;
    queues::table(context, &top.queues.nodes)?;
    context.screen.line("")?;
    if top.jobs.nodes.is_empty() {
        context.screen.line("nothing runs")?;
        return Ok(());
    }
    let rows: Vec<_> = top.jobs.nodes.iter().map(row).collect();
    context.screen.table(["RUNNING", "FOR", "QUEUE", "RUNS", "PROGRESS"], &rows)?;
    let hidden = top.job_counts.running.saturating_sub(i64::try_from(rows.len()).unwrap_or(i64::MAX));
    if hidden > 0 {
        context.screen.line(&format!("... and {hidden} more"))?;
    }
    Ok(())
}

/// The fifth column is what the job says of itself, or the last line that it wrote, and how long it will take.
fn row(job: &RunningJob) -> [String; 5] {
    let runs = job.task.as_ref().map_or_else(|| brief(&job.command), |task| task.name.clone());
    let attempt = job.current_attempt.as_ref();
    let time = attempt.map_or_else(|| "-".to_owned(), |attempt| whole_seconds(&attempt.duration));
    let again =
        attempt.filter(|attempt| attempt.number > 1).map(|attempt| format!("attempt {}", attempt.number));
    let stop = job.stop_requested_at.as_ref().map(|_| "stopping".to_owned());
    let progress = bar::line(job.progress.as_ref(), job.estimated_finish_at.as_deref(), SystemClock.now());
    let last = job.log.lines.last().filter(|_| job.progress.is_none()).map(|line| cut(line.text.trim_end()));
    let said = [stop, again, progress, last];
    let said: Vec<_> = said.into_iter().flatten().collect();
    [job.id.clone(), time, job.queue.name.clone(), runs, said.join("  ")]
}

/// `PT1M30.25S` as `1m30s`: what changes every second has no parts of one.
fn whole_seconds(iso: &str) -> String {
    let text = length(iso);
    match text.split_once('.') {
        Some((whole, _)) => format!("{whole}s"),
        None => text,
    }
}
