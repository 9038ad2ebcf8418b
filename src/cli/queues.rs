//! Owns `queue`: the lanes that jobs wait in.

use crate::client::answers::{self, Answer, Outcome, QueueRow, WithQueue};
use crate::client::inputs::{QueuePause, QueuePut, RateLimit};
use crate::client::operations::{self, PageOf};
use crate::client::{Client, ErrorKind};

use super::outcome::{Stop, accepted, exit};
use super::output::{length, or_dash};
use super::{Context, input, pages};

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
    /// Make a queue, or change its limits
    Set(SetArgs),
}

/// `beadle queue set`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("how").required(true).multiple(true)))]
pub struct SetArgs {
    /// The queue
    name: String,
    /// Jobs that run at once
    #[arg(long, group = "how", value_name = "COUNT", value_parser = clap::value_parser!(i64).range(1..=2_147_483_647))]
    limit: Option<i64>,
    /// As many as there are slots
    #[arg(long, group = "how", conflicts_with = "limit")]
    no_limit: bool,
    /// Jobs that start in a period, such as 10/1m
    #[arg(long, group = "how", value_name = "COUNT/LENGTH", value_parser = rate)]
    rate: Option<RateLimit>,
    /// As many as there is room for
    #[arg(long, group = "how", conflicts_with = "rate")]
    no_rate: bool,
}

/// `10/1m`.
fn rate(text: &str) -> Result<RateLimit, String> {
    let split =
        text.split_once('/').and_then(|(starts, per)| Some((starts.parse().ok()?, input::length(per).ok()?)));
    match split {
        Some((starts, per)) if starts > 0 => Ok(RateLimit { starts, per }),
        _ => Err("write how many in which time, such as 10/1m".to_owned()),
    }
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
        QueueCommand::Set(args) => operations::queue_put(&client, &put_input(&client, args)?)?,
    };
    changed(context, answer)
}

/// The limits that are not spoken of stay as they are, so those are read first.
fn put_input(client: &Client, args: SetArgs) -> Result<QueuePut, Stop> {
    let speaks_of_both = (args.limit.is_some() || args.no_limit) && (args.rate.is_some() || args.no_rate);
    let there = if speaks_of_both {
        None
    } else {
        match operations::queue(client, &args.name) {
            Ok(answer) => Some(answer.value),
            Err(error) if error.kind == ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        }
    };
    let limit = there.as_ref().and_then(|queue| queue.concurrency_limit).filter(|_| !args.no_limit);
    let rate = there.and_then(|queue| queue.rate_limit).filter(|_| !args.no_rate);
    let rate = rate.map(|rate| RateLimit { starts: rate.starts, per: rate.per });
    Ok(QueuePut { name: args.name, concurrency_limit: args.limit.or(limit), rate_limit: args.rate.or(rate) })
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
                or_dash(queue.rate_limit.as_ref().map(per)),
                or_dash(queue.oldest_waiting_at.as_ref()),
            ]
        })
        .collect();
    Ok(context.screen.table(["QUEUE", "STATE", "WAITING", "RUNNING", "LIMIT", "RATE", "OLDEST"], &rows)?)
}

fn per(rate: &answers::RateLimit) -> String {
    format!("{}/{}", rate.starts, length(&rate.per))
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
    let rate = queue.rate_limit.as_ref().map_or(String::new(), |rate| format!(", rate {}", per(rate)));
    context.screen.line(&format!("{} {}, {limit}{rate}", queue.name, state(&queue)))?;
    Ok(exit::OK)
}
