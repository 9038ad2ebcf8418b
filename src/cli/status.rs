//! Owns `status` and `health`: the daemon at a glance.

use crate::client::answers::{JobCounts, Subsystem};
use crate::client::operations;

use super::outcome::{Stop, exit};
use super::output::{bytes, label_list, or_dash};
use super::{Context, incidents, queues, top};

/// `beadle status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Draw it anew every second; once without a terminal
    #[arg(long)]
    watch: bool,
}

/// Shows the daemon at a glance.
pub fn status(context: &mut Context, args: &StatusArgs) -> Result<u8, Stop> {
    if args.watch && context.screen.is_drawn() {
        return top::redrawn(context, glance);
    }
    glance(context)?;
    Ok(exit::OK)
}

fn glance(context: &mut Context) -> Result<(), Stop> {
    let client = context.client()?;
    let answer = operations::status(&client)?;
    context.screen.data(&answer.data)?;
    let status = answer.value;
    let daemon = &status.daemon;
    context.screen.line(&format!(
        "beadle {} at {}, up since {}, {} {}, logs {}",
        daemon.version,
        client.url(),
        daemon.started_at,
        daemon.store_engine,
        bytes(&daemon.store_bytes),
        bytes(&daemon.log_bytes)
    ))?;
    context.screen.line(&format!("health {}", status.health.status))?;
    for part in status.health.subsystems.iter().filter(|part| part.status != "OK") {
        let what = part.message.as_deref().unwrap_or("no reason given");
        context.screen.line(&format!("  {} {}: {what}", part.name, part.status))?;
    }
    context.screen.line(&format!("jobs {}", counts(&status.job_counts)))?;
    context.screen.line("")?;
    queues::table(context, &status.queues.nodes)?;
    if !status.incidents.nodes.is_empty() {
        context.screen.line("")?;
        incidents::table(context, &status.incidents.nodes)?;
        if status.incidents.page_info.has_next_page {
            context.screen.line("... more incidents; see `beadle incidents ls`")?;
        }
    }
    context.screen.line("")?;
    let row = |worker: &crate::client::answers::WorkerRow| {
        let labels = label_list(&worker.labels);
        let busy = format!("{}/{}", worker.busy_slots, worker.slots);
        [worker.name.clone(), worker.status.clone(), busy, or_dash(labels)]
    };
    let rows: Vec<_> = status.workers.nodes.iter().map(row).collect();
    Ok(context.screen.table(["WORKER", "STATUS", "BUSY", "LABELS"], &rows)?)
}

/// What there is, in the order of a job's life. A capped number is "that many or more".
pub fn counts(counts: &JobCounts) -> String {
    let all = [
        ("held", counts.held),
        ("blocked", counts.blocked),
        ("scheduled", counts.scheduled),
        ("queued", counts.queued),
        ("running", counts.running),
        ("retrying", counts.retrying),
        ("succeeded", counts.succeeded),
        ("failed", counts.failed),
        ("cancelled", counts.cancelled),
        ("expired", counts.expired),
        ("skipped", counts.skipped),
    ];
    let mut shown: Vec<_> =
        all.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{count} {name}")).collect();
    if shown.is_empty() {
        return "none".to_owned();
    }
    if counts.is_capped {
        shown.push("or more".to_owned());
    }
    shown.join(", ")
}

/// Shows how the daemon's parts are.
pub fn health(context: &mut Context) -> Result<u8, Stop> {
    let answer = operations::health(&context.client()?)?;
    context.screen.data(&answer.data)?;
    let health = answer.value;
    context.screen.line(&health.status)?;
    let rows: Vec<_> = health.subsystems.iter().map(row).collect();
    context.screen.table(["PART", "STATUS", "SINCE", "RESTARTS", "MESSAGE"], &rows)?;
    Ok(if health.status == "DOWN" { exit::REFUSED } else { exit::OK })
}

/// What is wrong, or was when it was not well the last time.
fn said(part: &Subsystem) -> String {
    match (&part.message, &part.last_error) {
        (Some(message), _) => message.clone(),
        (None, Some(error)) => format!("well since; at {}: {error}", or_dash(part.last_error_at.as_ref())),
        (None, None) => String::new(),
    }
}

fn row(part: &Subsystem) -> [String; 5] {
    [
        part.name.clone(),
        part.status.clone(),
        or_dash(part.since.as_ref()),
        part.restart_count.to_string(),
        said(part),
    ]
}
