//! Owns `next`: what the schedules will do, merged by time.

use serde_json::{Value, json};

use crate::base::clock::{Clock, SystemClock, Timestamp};
use crate::base::settings::show_length;
use crate::client::operations;

use super::Context;
use super::outcome::{Stop, exit};

/// Schedules of one request: each gives as many times as are asked for.
const PAGE: usize = 20;
/// Requests at most.
const PAGES_MAX: usize = 1_000;

/// `beadle next`.
#[derive(Debug, clap::Args)]
pub struct NextArgs {
    /// How many
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    /// Only within this time from now
    #[arg(long, value_name = "LENGTH", value_parser = super::input::own_length)]
    within: Option<std::time::Duration>,
}

struct Due {
    at: Timestamp,
    row: [String; 5],
    json: Value,
}

/// Lists the next due times of all schedules, soonest first.
pub fn next(context: &mut Context, args: &NextArgs) -> Result<u8, Stop> {
    let now = SystemClock.now();
    let until = args.within.map(|length| now.plus(length));
    let times = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let client = context.client()?;
    let (mut dues, mut after): (Vec<Due>, Option<String>) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let page = operations::next(&client, PAGE, after.as_deref(), times)?.value;
        for schedule in page.nodes {
            let upcoming = match (schedule.is_paused, &schedule.paused_until) {
                (false, _) => schedule.upcoming,
                // One that does not end skips everything.
                (true, None) => continue,
                // What is due before it ends is skipped.
                (true, Some(end)) => {
                    let before = Timestamp::parse(end).map(|end| end.plus_millis(-1).to_string());
                    let after = before.as_ref().or(Some(end)).map(String::as_str);
                    operations::schedule_upcoming(&client, &schedule.name, times, after)?.value
                }
            };
            for due in &upcoming {
                let Some(at) = Timestamp::parse(&due.at) else { continue };
                if until.is_some_and(|until| at > until) {
                    continue;
                }
                let note = due.note.clone().unwrap_or_default();
                let left =
                    format!("in {}", show_length(std::time::Duration::from_secs(at.since(now).as_secs())));
                let row = [due.at.clone(), left, schedule.name.clone(), schedule.task.name.clone(), note];
                let json = json!({
                    "at": due.at, "local": due.local, "note": due.note, "schedule": schedule.name,
                    "task": schedule.task.name,
                });
                dues.push(Due { at, row, json });
            }
        }
        dues.sort_by(|one, other| (one.at, &one.row[2]).cmp(&(other.at, &other.row[2])));
        dues.truncate(times);
        after = page.page_info.end_cursor.filter(|_| page.page_info.has_next_page);
        if after.is_none() {
            break;
        }
    }
    let all: Vec<_> = dues.iter().map(|due| due.json.clone()).collect();
    context.screen.data(&json!({ "next": all }))?;
    let rows: Vec<_> = dues.into_iter().map(|due| due.row).collect();
    context.screen.table(["DUE", "IN", "SCHEDULE", "TASK", "NOTE"], &rows)?;
    Ok(exit::OK)
}
