//! Owns `sink`: the systems outside that incidents and events are reported to.

use crate::client::answers::{Answer, Outcome, SinkRow, WithSink};
use crate::client::operations;

use super::outcome::{Stop, accepted, exit};
use super::output::or_dash;
use super::{Context, pages};

/// Letters of one request, which reads those of every sink.
const LETTERS_AT_ONCE: usize = 20;

/// `beadle sink`.
#[derive(Debug, clap::Subcommand)]
pub enum SinkCommand {
    /// List the sinks: how far each was told, and whether it takes what it is told
    Ls,
    /// List what a sink would not take
    Letters {
        /// The sink
        name: String,
        /// At most so many, the oldest first
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Tell a sink again what it would not take
    Retry(LettersArgs),
    /// Give up for good what a sink would not take
    Discard(LettersArgs),
}

/// `beadle sink retry`, `beadle sink discard`.
#[derive(Debug, clap::Args)]
pub struct LettersArgs {
    /// The sink
    name: String,
    /// Only these events; may be repeated [default: all of the sink]
    #[arg(long = "event", value_name = "CURSOR")]
    events: Vec<String>,
}

/// One of the sink commands.
pub fn sink(context: &mut Context, command: SinkCommand) -> Result<u8, Stop> {
    match command {
        SinkCommand::Ls => list(context),
        SinkCommand::Letters { name, limit } => letters(context, &name, limit),
        SinkCommand::Retry(args) => {
            let answer = operations::sink_redeliver(&context.client()?, &args.name, &args.events)?;
            changed(context, answer)
        }
        SinkCommand::Discard(args) => {
            let answer = operations::sink_discard(&context.client()?, &args.name, &args.events)?;
            changed(context, answer)
        }
    }
}

fn list(context: &mut Context) -> Result<u8, Stop> {
    let answer = operations::sinks(&context.client()?)?;
    context.screen.data(&answer.data)?;
    let rows: Vec<_> = answer
        .value
        .iter()
        .map(|sink| {
            [
                sink.name.clone(),
                sink.kind.clone(),
                state(sink),
                sink.lag_count.clone(),
                sink.delivered_count.clone(),
                sink.dropped_count.clone(),
                sink.dead_letter_count.clone(),
            ]
        })
        .collect();
    context.screen.table(["SINK", "KIND", "STATE", "LAG", "DELIVERED", "DROPPED", "DEAD"], &rows)?;
    Ok(exit::OK)
}

fn state(sink: &SinkRow) -> String {
    match (&sink.retired_at, &sink.failing_since, &sink.failure) {
        (Some(at), ..) => format!("RETIRED since {at}"),
        (None, Some(since), Some(why)) => format!("FAILING since {since}: {why}"),
        (None, Some(since), None) => format!("FAILING since {since}"),
        (None, None, _) => "OK".to_owned(),
    }
}

fn letters(context: &mut Context, name: &str, limit: u32) -> Result<u8, Stop> {
    let client = context.client()?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let answer = pages::collect("deadLetters", limit, |first, after| {
        operations::sink_letters(&client, name, first.min(LETTERS_AT_ONCE), after.as_deref())
    })?;
    context.screen.data(&answer.data)?;
    let shown = answer.value.len();
    let rows: Vec<_> = answer
        .value
        .into_iter()
        .map(|letter| {
            [
                letter.event.cursor,
                letter.event.kind,
                letter.created_at,
                letter.try_count.to_string(),
                or_dash(letter.redeliver_at.as_ref()),
                letter.failure,
            ]
        })
        .collect();
    context.screen.table(["EVENT", "TYPE", "GIVEN UP", "TRIES", "PUT BACK", "FAILURE"], &rows)?;
    let count: usize =
        answer.data["deadLetterCount"].as_str().and_then(|count| count.parse().ok()).unwrap_or(0);
    if count > shown {
        context.screen.line(&format!("... and {} more: --limit shows them", count - shown))?;
    }
    Ok(exit::OK)
}

fn changed(context: &mut Context, answer: Answer<Outcome<WithSink>>) -> Result<u8, Stop> {
    context.screen.data(&answer.data)?;
    let sink = accepted(answer)?.sink;
    context.screen.line(&format!(
        "{} {}, {} dead letters",
        sink.name,
        state(&sink),
        sink.dead_letter_count
    ))?;
    Ok(exit::OK)
}
