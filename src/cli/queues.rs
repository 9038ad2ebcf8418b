//! Owns `queue`: the lanes that jobs wait in.

use crate::client::answers::{Answer, Outcome, QueueRow, WithQueue};
use crate::client::inputs::{QueuePause, QueuePut};
use crate::client::operations::{self, PageOf};

use super::outcome::{Stop, accepted, exit};
use super::output::or_dash;
use super::{Context, pages};

/// Queues listed at most.
const QUEUES_MAX: usize = 10_000;

/// `beadle queue`.
#[derive(Debug, clap::Subcommand)]
pub enum QueueCommand {
    /// List the queues
    Ls,
    /// Start nothing more from a queue
    Pause {
        /// The queue
        name: String,
        /// Why, for whoever looks at it later
        #[arg(long)]
        reason: Option<String>,
    },
    /// Start jobs from a queue again
    Resume {
        /// The queue
        name: String,
    },
    /// Make a queue, or change its limit
    Set(SetArgs),
}

/// `beadle queue set`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("how").required(true)))]
pub struct SetArgs {
    /// The queue
    name: String,
    /// Jobs that run at once
    #[arg(long, group = "how", value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..))]
    limit: Option<i32>,
    /// As many as there are slots
    #[arg(long, group = "how")]
    no_limit: bool,
}

/// One of the queue commands.
pub fn queue(context: &mut Context, command: QueueCommand) -> Result<u8, Stop> {
    let client = context.client()?;
    let answer = match command {
        QueueCommand::Ls => return list(context),
        QueueCommand::Pause { name, reason } => {
            operations::queue_pause(&client, &QueuePause { name, reason })?
        }
        QueueCommand::Resume { name } => operations::queue_resume(&client, &name)?,
        QueueCommand::Set(args) => {
            operations::queue_put(&client, &QueuePut { name: args.name, concurrency_limit: args.limit })?
        }
    };
    changed(context, answer)
}

fn list(context: &mut Context) -> Result<u8, Stop> {
    let client = context.client()?;
    let answer = pages::collect("queues", QUEUES_MAX, |first, after| {
        operations::queues(&client, &PageOf { first, after, filter: () })
    })?;
    context.screen.data(&answer.data)?;
    table(context, &answer.value)?;
    Ok(exit::OK)
}

/// Queues as a table.
pub fn table(context: &mut Context, queues: &[QueueRow]) -> Result<(), Stop> {
    let rows: Vec<_> = queues
        .iter()
        .map(|queue| {
            [
                queue.name.clone(),
                state(queue),
                queue.waiting_count.to_string(),
                queue.running_count.to_string(),
                or_dash(queue.concurrency_limit),
                or_dash(queue.oldest_waiting_at.as_ref()),
            ]
        })
        .collect();
    Ok(context.screen.table(["QUEUE", "STATE", "WAITING", "RUNNING", "LIMIT", "OLDEST"], &rows)?)
}

fn state(queue: &QueueRow) -> String {
    match (&queue.pause_reason, queue.is_paused) {
        (Some(reason), true) => format!("PAUSED: {reason}"),
        (None, true) => "PAUSED".to_owned(),
        (_, false) => "OPEN".to_owned(),
    }
}

fn changed(context: &mut Context, answer: Answer<Outcome<WithQueue>>) -> Result<u8, Stop> {
    context.screen.data(&answer.data)?;
    let queue = accepted(answer)?.queue;
    let limit = queue.concurrency_limit.map_or("no limit".to_owned(), |limit| format!("limit {limit}"));
    context.screen.line(&format!("{} {}, {limit}", queue.name, state(&queue)))?;
    Ok(exit::OK)
}
