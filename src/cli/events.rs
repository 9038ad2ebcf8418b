//! Owns `events`: the feed of changes, as far as it goes or as it grows.

use serde_json::{Value, json};

use crate::client::ErrorKind;
use crate::client::answers::{EventBatch, EventRow};
use crate::client::inputs::EventFilter;
use crate::client::operations::{self, PageOf};

use super::outcome::{Stop, exit};
use super::output::or_dash;
use super::patience::{Outage, persistently};
use super::{Context, input};

/// Events of one request.
const PAGE: usize = 100;

/// `beadle events`.
#[derive(Debug, clap::Args)]
pub struct EventsArgs {
    /// From behind this cursor on [default: the oldest that is kept, or from now on with --follow]
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// Go on with what happens
    #[arg(long, conflicts_with = "limit")]
    follow: bool,
    /// At most so many events
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    #[arg(help = "Only this type, such as JOB_STATE_CHANGED; may be repeated")]
    #[arg(long = "type", value_name = "TYPE", value_parser = event_type)]
    types: Vec<String>,
    /// Only of this job; may be repeated
    #[arg(long = "job", value_name = "ID", value_parser = input::job_id)]
    jobs: Vec<String>,
    /// Only of this task; may be repeated
    #[arg(long = "task", value_name = "NAME")]
    tasks: Vec<String>,
    /// Only of this queue; may be repeated
    #[arg(long = "queue", value_name = "NAME")]
    queues: Vec<String>,
}

fn event_type(text: &str) -> Result<String, String> {
    let name = text.to_ascii_uppercase().replace('-', "_");
    let is_word = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    if is_word { Ok(name) } else { Err("write a type such as JOB_STATE_CHANGED".to_owned()) }
}

/// Prints events.
pub fn events(context: &mut Context, args: EventsArgs) -> Result<u8, Stop> {
    let filter =
        EventFilter { types: args.types, job_ids: args.jobs, tasks: args.tasks, queues: args.queues };
    if args.follow {
        return follow(context, args.after, &filter);
    }
    so_far(context, args.after, filter, usize::try_from(args.limit).unwrap_or(usize::MAX))
}

fn so_far(
    context: &mut Context,
    after: Option<String>,
    filter: EventFilter,
    limit: usize,
) -> Result<u8, Stop> {
    let client = context.client()?;
    let mut page = PageOf { first: PAGE, after, filter };
    let (mut count, mut all) = (0, Vec::new());
    loop {
        page.first = PAGE.min(limit - count);
        let mut answer = operations::events(&client, &page)?;
        let batch = answer.value;
        print(context, &batch)?;
        if let Value::Array(more) = answer.data["events"]["events"].take() {
            all.extend(more);
        }
        count += batch.events.len();
        // A filter may leave a page empty although more is behind it; only a cursor that stands still is the end.
        let has_moved = page.after.as_deref() != Some(batch.cursor.as_str());
        if count < limit && batch.has_more_past_events && has_moved {
            page.after = Some(batch.cursor);
            continue;
        }
        answer.data["events"]["events"] = json!(all);
        context.screen.data(&answer.data)?;
        return Ok(exit::OK);
    }
}

/// Until the command is ended from outside.
fn follow(context: &mut Context, after: Option<String>, filter: &EventFilter) -> Result<u8, Stop> {
    // "From now on" is made a cursor first, so that nothing is missed when the first connection is lost.
    let mut after = match after {
        Some(cursor) => cursor,
        None => persistently(context, operations::event_cursor)?.value,
    };
    let mut outage = Outage::new(context.patience, context.patience.stream);
    loop {
        let opened = context
            .target
            .client()
            .and_then(|client| operations::events_follow(&client, Some(&after), filter));
        let mut lost = None;
        match opened {
            Err(error) => lost = Some(error),
            Ok(payloads) => {
                for payload in payloads {
                    match payload {
                        Ok(payload) => {
                            outage.is_over();
                            let batch = operations::event_batch(&payload)?;
                            context.screen.item(&payload)?;
                            print(context, &batch)?;
                            context.screen.flush()?;
                            after = batch.cursor;
                        }
                        Err(error) => lost = Some(error),
                    }
                }
            }
        }
        let error = lost.unwrap_or_else(|| crate::client::ClientError::lost("the daemon ended the feed"));
        if error.kind != ErrorKind::Unreachable && !error.has_code("SLOW_CONSUMER") {
            return Err(error.into());
        }
        outage.bear(&mut context.screen, error, None)?;
    }
}

fn print(context: &mut Context, batch: &EventBatch) -> Result<(), Stop> {
    for event in &batch.events {
        context.screen.line(&line(event))?;
    }
    Ok(())
}

/// A stream cannot be aligned by its widest cell; these widths fit nearly every one.
fn line(event: &EventRow) -> String {
    let subject = event.job_id.as_ref().or(event.task_name.as_ref());
    format!(
        "{:<8}  {}  {:<17}  {:<12}  {:<10}  {}",
        event.cursor,
        event.at,
        event.r#type,
        or_dash(subject),
        event.actor,
        event.data
    )
}
