//! Owns `incidents`: what failed, by kind, and what was done about it.

use crate::base::clock::{Clock, SystemClock};
use crate::client::answers::{Answer, IncidentDetail, IncidentRow, Outcome, WithIncident};
use crate::client::inputs::{
    IncidentAcknowledge, IncidentFilter, IncidentIgnore, IncidentResolve, IncidentRetry, Ref,
};
use crate::client::operations::{self, PageOf};

use super::outcome::{Stop, accepted, exit};
use super::output::or_dash;
use super::{Context, bulk, input, pages};

/// What every command takes.
pub const INCIDENT_HELP: &str = "The incident: 12 or incident_12";
/// Heights of a bar, the lowest first; none at all is a space.
const BARS: [char; 9] =
    [' ', '\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}', '\u{2588}'];

/// `beadle incidents`.
#[derive(Debug, clap::Subcommand)]
pub enum IncidentsCommand {
    /// List incidents, the one that happened last first: open and acknowledged ones unless told otherwise
    Ls(LsArgs),
    /// Show one incident with its jobs
    Show {
        #[arg(help = INCIDENT_HELP, value_parser = input::incident_id)]
        id: String,
    },
    /// Say that somebody looks at it
    Ack {
        #[arg(help = INCIDENT_HELP, value_parser = input::incident_id)]
        id: String,
        /// Who does
        #[arg(long, value_name = "NAME")]
        assignee: Option<String>,
        /// What to write on it
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
    /// Say that it is over: the next failure opens it again, as a regression
    Resolve {
        #[arg(help = INCIDENT_HELP, value_parser = input::incident_id)]
        id: String,
        /// What to write on it
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
    /// Hear no more of it: for ever, or until the first of what is given
    Ignore(IgnoreArgs),
    /// Repeat each of its failed jobs that nobody repeated yet
    Retry {
        #[arg(help = INCIDENT_HELP, value_parser = input::incident_id)]
        id: String,
        /// Repeat nothing when there are more
        #[arg(long, value_name = "COUNT", default_value_t = 1_000, value_parser = clap::value_parser!(i32).range(1..=100_000))]
        max: i32,
    },
}

/// `beadle incidents ls`.
#[derive(Debug, clap::Args)]
pub struct LsArgs {
    /// Only with this status; may be repeated
    #[arg(long = "status", value_name = "STATUS", value_enum, ignore_case = true)]
    statuses: Vec<Status>,
    /// With any status
    #[arg(long, conflicts_with = "statuses")]
    all: bool,
    /// Only of this task
    #[arg(long, value_name = "NAME")]
    task: Option<String>,
    /// Only with this in title or error line
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

/// `beadle incidents ignore`.
#[derive(Debug, clap::Args)]
pub struct IgnoreArgs {
    #[arg(help = INCIDENT_HELP, value_parser = input::incident_id)]
    id: String,
    /// Until then: a length of time from now such as 2d, or an instant
    #[arg(long, value_name = "LENGTH|INSTANT", value_parser = until)]
    until: Option<String>,
    /// Until it has happened so many times more
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..))]
    until_count: Option<i32>,
    /// What to write on it
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// A status, as a flag.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Status {
    Open,
    Acknowledged,
    Resolved,
    Ignored,
}

impl Status {
    fn word(self) -> String {
        format!("{self:?}").to_uppercase()
    }
}

/// An instant, also one that is a length of time from now.
fn until(text: &str) -> Result<String, String> {
    if let Ok(length) = input::own_length(text) {
        let millis = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
        return Ok(SystemClock.now().plus_millis(millis).to_string());
    }
    input::instant(text).map_err(|_| {
        "write a length of time such as 2d, or an instant such as 2026-01-31T12:00:00Z".to_owned()
    })
}

/// One of the incident commands.
pub fn incidents(context: &mut Context, command: IncidentsCommand) -> Result<u8, Stop> {
    let client = context.client()?;
    let answer = match command {
        IncidentsCommand::Ls(args) => return list(context, args),
        IncidentsCommand::Show { id } => return show(context, &id),
        IncidentsCommand::Retry { id, max } => return retry(context, id, max),
        IncidentsCommand::Ack { id, assignee, note } => {
            operations::incident_acknowledge(&client, &IncidentAcknowledge { id, assignee, note })?
        }
        IncidentsCommand::Resolve { id, note } => {
            operations::incident_resolve(&client, &IncidentResolve { id, note })?
        }
        IncidentsCommand::Ignore(IgnoreArgs { id, until, until_count, note }) => {
            operations::incident_ignore(&client, &IncidentIgnore { id, until, until_count, note })?
        }
    };
    changed(context, answer)
}

fn list(context: &mut Context, args: LsArgs) -> Result<u8, Stop> {
    let all = [Status::Open, Status::Acknowledged, Status::Resolved, Status::Ignored];
    let statuses = if args.all { all.to_vec() } else { args.statuses };
    let filter = IncidentFilter {
        statuses: statuses.into_iter().map(Status::word).collect(),
        task: args.task.map(|name| Ref { name }),
        text: args.text,
    };
    let client = context.client()?;
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let answer = pages::collect("incidents", limit, |first, after| {
        operations::incidents(&client, &PageOf { first, after, filter: filter.clone() })
    })?;
    context.screen.data(&answer.data)?;
    table(context, &answer.value)?;
    Ok(exit::OK)
}

/// Incidents as a table.
pub fn table(context: &mut Context, incidents: &[IncidentRow]) -> Result<(), Stop> {
    let row = |incident: &IncidentRow| {
        let back = if incident.is_regression { " (again)" } else { "" };
        [
            incident.id.clone(),
            format!("{}{back}", incident.status),
            incident.occurrence_count.to_string(),
            incident.last_seen_at.clone(),
            or_dash(incident.assignee.as_ref()),
            incident.title.clone(),
        ]
    };
    let rows: Vec<_> = incidents.iter().map(row).collect();
    Ok(context.screen.table(["INCIDENT", "STATUS", "COUNT", "LAST SEEN", "ASSIGNEE", "WHAT"], &rows)?)
}

fn show(context: &mut Context, id: &str) -> Result<u8, Stop> {
    let answer = operations::incident(&context.client()?, id)?;
    context.screen.data(&answer.data)?;
    let incident = answer.value;
    context.screen.facts(&facts(&incident))?;
    if !incident.jobs.nodes.is_empty() {
        context.screen.line("")?;
        let rows: Vec<_> =
            incident.jobs.nodes.iter().map(|job| [job.id.clone(), job.state.clone()]).collect();
        context.screen.table(["JOB", "STATE"], &rows)?;
        if incident.jobs.page_info.has_next_page {
            context.screen.line(&format!("... more jobs; see `beadle jobs --incident {}`", incident.id))?;
        }
    }
    Ok(exit::OK)
}

fn facts(incident: &IncidentDetail) -> Vec<(&'static str, Option<String>)> {
    let by = |by: &Option<String>| by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    vec![
        ("id", Some(incident.id.clone())),
        ("what", Some(incident.title.clone())),
        ("status", Some(incident.status.clone())),
        ("since", incident.status_at.as_ref().map(|at| format!("{at}{}", by(&incident.status_by)))),
        ("came back", incident.regressed_at.clone()),
        ("ignored until", incident.ignored_until.clone()),
        ("ignored up to", incident.ignored_until_count.map(|count| format!("{count} times"))),
        ("task", incident.task.as_ref().map(|task| task.name.clone())),
        ("part", incident.subsystem.clone()),
        ("outcome", incident.outcome.clone()),
        ("error line", incident.error_line.clone()),
        ("times", Some(incident.occurrence_count.to_string())),
        ("last day", Some(bars(&incident.histogram)).filter(|bars| !bars.is_empty())),
        ("first seen", Some(incident.first_seen_at.clone())),
        ("last seen", Some(incident.last_seen_at.clone())),
        ("newest job", incident.sample_job.as_ref().map(|job| format!("{} {}", job.id, job.state))),
        ("assignee", incident.assignee.clone()),
        ("note", incident.note.clone()),
        ("fingerprint", Some(incident.fingerprint.clone())),
    ]
}

/// A bar for each count, the largest one full; nothing when nothing happened.
fn bars(counts: &[i64]) -> String {
    let most = counts.iter().copied().max().unwrap_or(0);
    if most < 1 {
        return String::new();
    }
    let bar = |count: &i64| {
        let height = (count.saturating_mul(8) + most - 1) / most;
        BARS[usize::try_from(height).unwrap_or(0).min(8)]
    };
    format!("|{}|", counts.iter().map(bar).collect::<String>())
}

fn changed(context: &mut Context, answer: Answer<Outcome<WithIncident>>) -> Result<u8, Stop> {
    context.screen.data(&answer.data)?;
    let incident = accepted(answer)?.incident;
    context.screen.line(&format!("{} {}", incident.id, incident.status))?;
    Ok(exit::OK)
}

/// Repeats the failed jobs of an incident.
pub fn retry(context: &mut Context, id: String, max: i32) -> Result<u8, Stop> {
    let answer = operations::incident_retry(&context.client()?, &IncidentRetry { id, max: Some(max) })?;
    bulk::tell(context, answer, |done| (done.retried_count, done.matched_count), "made anew")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_drawn_as_bars() {
        assert_eq!(bars(&[0, 1, 4, 8]), "| \u{2581}\u{2584}\u{2588}|");
        assert_eq!(bars(&[0, 0]), "");
        assert_eq!(bars(&[]), "");
    }

    #[test]
    fn a_length_of_time_is_an_instant_from_now() {
        let in_two_days = until("2d").unwrap();
        assert!(in_two_days > SystemClock.now().plus_millis(86_400_000).to_string(), "{in_two_days}");
        assert_eq!(until("2030-01-31T12:00:00Z").unwrap(), "2030-01-31T12:00:00Z");
        assert!(until("tomorrow").is_err());
    }
}
