//! Owns `schedule`: definitions of when to run a task.

use crate::client::answers::{
    Answer, DueTime, Outcome, ScheduleDetail, ScheduleRow, TickRow, Timing as Shown, WithSchedule,
};
use crate::client::inputs::{
    Ref, Referred, ScheduleFilter, SchedulePause, SchedulePreview, SchedulePut, ScheduleTrigger, Timing,
};
use crate::client::operations::{self, PageOf};

use super::outcome::{Stop, accepted, exit};
use super::output::{length, or_dash};
use super::patience::persistently;
use super::{Context, input, pages, parameters};

/// Schedules listed at most.
const SCHEDULES_MAX: usize = 10_000;

/// `beadle schedule`.
#[derive(Debug, clap::Subcommand)]
pub enum ScheduleCommand {
    /// Make a schedule, or change it
    Put(Box<PutArgs>),
    /// List the schedules
    Ls {
        /// Only of this task
        #[arg(long)]
        task: Option<String>,
        /// Only paused ones
        #[arg(long)]
        paused: bool,
    },
    /// Show one schedule, and what became of its last due times
    Show {
        /// The schedule
        name: String,
    },
    /// Show the next due times of a schedule, or of one that is not made yet
    Preview(PreviewArgs),
    /// Make no jobs for a while
    Pause {
        /// The schedule
        name: String,
        /// Why, for whoever looks at it later
        #[arg(long)]
        reason: Option<String>,
        /// Go on by itself at this instant (RFC 3339)
        #[arg(long, value_name = "INSTANT", value_parser = input::instant)]
        until: Option<String>,
    },
    /// End a pause
    Resume {
        /// The schedule
        name: String,
    },
    /// Make a job of it now
    Trigger {
        /// The schedule
        name: String,
        /// Beside what runs and waits of it, whatever its overlap policy says
        #[arg(long)]
        ignore_overlap: bool,
        /// The same key gives the same job, so that a repeated request runs once [default: random]
        #[arg(long)]
        key: Option<String>,
    },
    /// Remove a schedule; its jobs stay
    Rm {
        /// The schedule
        name: String,
    },
}

/// When a schedule is due.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct TimingArgs {
    /// At this interval
    #[arg(long, value_name = "LENGTH", value_parser = input::length)]
    every: Option<String>,
    /// By this pattern of five or six fields, or @daily and the like
    #[arg(long, value_name = "PATTERN")]
    cron: Option<String>,
}

impl TimingArgs {
    fn timing(self) -> Timing {
        match (self.every, self.cron) {
            (Some(length), _) => Timing::Every(length),
            (None, pattern) => Timing::Cron(pattern.unwrap_or_default()),
        }
    }
}

/// `beadle schedule put`.
#[derive(Debug, clap::Args)]
pub struct PutArgs {
    /// The schedule
    name: String,
    /// The task that it makes jobs of
    #[arg(long)]
    task: String,
    #[command(flatten)]
    timing: TimingArgs,
    /// The time zone of a pattern, such as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// Spread the starts over this time
    #[arg(long, value_name = "LENGTH", value_parser = input::length)]
    jitter: Option<String>,
    /// What becomes of due times that were missed [default: run-once]
    #[arg(long, value_enum)]
    misfire: Option<Misfire>,
    /// How late a missed one may still run
    #[arg(long, value_name = "LENGTH", value_parser = input::length)]
    misfire_window: Option<String>,
    /// What to do when the last job still runs [default: skip]
    #[arg(long, value_enum)]
    overlap: Option<Overlap>,
    /// A parameter for its jobs, as NAME=VALUE; a value that is JSON is taken as such (repeatable)
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameters::parameter)]
    parameters: Vec<(String, serde_json::Value)>,
    /// Begin paused
    #[arg(long)]
    paused: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Misfire {
    RunOnce,
    Skip,
    RunAll,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Overlap {
    /// Make no job
    Skip,
    /// Let one job wait for its end
    QueueOne,
    /// Let every job wait for its turn
    QueueAll,
    /// Stop it and start anew
    CancelRunning,
    /// Start beside it
    Allow,
}

/// `beadle schedule preview`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true)))]
pub struct PreviewArgs {
    /// The schedule
    #[arg(group = "which")]
    name: Option<String>,
    /// Of one that is not made yet: at this interval
    #[arg(long, group = "which", value_name = "LENGTH", value_parser = input::length)]
    every: Option<String>,
    /// Of one that is not made yet: by this pattern
    #[arg(long, group = "which", value_name = "PATTERN")]
    cron: Option<String>,
    /// The time zone of the pattern
    #[arg(long, value_name = "ZONE", conflicts_with = "name", default_value = "UTC")]
    time_zone: String,
    /// Its jitter, which its name decides about
    #[arg(long, value_name = "LENGTH", conflicts_with = "name", requires = "called", value_parser = input::length)]
    jitter: Option<String>,
    /// The name that it will have
    #[arg(long, value_name = "NAME", conflicts_with = "name")]
    called: Option<String>,
    /// How many
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
}

/// One of the schedule commands.
pub fn schedule(context: &mut Context, command: ScheduleCommand) -> Result<u8, Stop> {
    let client = context.client()?;
    let by_name = |name: String| Referred { r#ref: Ref { name } };
    match command {
        ScheduleCommand::Put(args) => {
            let answer = operations::schedule_put(&client, &put_input(*args))?;
            changed(context, answer)
        }
        ScheduleCommand::Pause { name, reason, until } => {
            let input = SchedulePause { r#ref: Ref { name }, reason, until };
            let answer = operations::schedule_pause(&client, &input)?;
            changed(context, answer)
        }
        ScheduleCommand::Resume { name } => {
            let answer = operations::schedule_resume(&client, &by_name(name))?;
            changed(context, answer)
        }
        ScheduleCommand::Rm { name } => {
            let answer = operations::schedule_delete(&client, &by_name(name))?;
            context.screen.data(&answer.data)?;
            let gone = accepted(answer)?.deleted_id;
            context.screen.line(&format!("{gone} removed"))?;
            Ok(exit::OK)
        }
        ScheduleCommand::Trigger { name, ignore_overlap, key } => {
            let input = ScheduleTrigger {
                r#ref: Ref { name },
                ignore_overlap: ignore_overlap.then_some(true),
                idempotency_key: Some(input::key_or_random(key.as_ref())),
            };
            let answer = persistently(context, |client| operations::schedule_trigger(client, &input))?;
            context.screen.data(&answer.data)?;
            let job = accepted(answer)?.job;
            context.screen.line(&job.id)?;
            Ok(exit::OK)
        }
        ScheduleCommand::Ls { task, paused } => {
            let task = task.map(|name| Ref { name });
            list(context, &ScheduleFilter { task, is_paused: paused.then_some(true) })
        }
        ScheduleCommand::Show { name } => show(context, &name),
        ScheduleCommand::Preview(args) => preview(context, args),
    }
}

fn put_input(args: PutArgs) -> SchedulePut {
    let misfire = args.misfire.map(|policy| match policy {
        Misfire::RunOnce => "RUN_ONCE",
        Misfire::Skip => "SKIP",
        Misfire::RunAll => "RUN_ALL",
    });
    let overlap = args.overlap.map(|policy| match policy {
        Overlap::Skip => "SKIP",
        Overlap::QueueOne => "QUEUE_ONE",
        Overlap::QueueAll => "QUEUE_ALL",
        Overlap::CancelRunning => "CANCEL_RUNNING",
        Overlap::Allow => "ALLOW",
    });
    SchedulePut {
        name: args.name,
        task: Ref { name: args.task },
        timing: args.timing.timing(),
        time_zone: args.time_zone,
        jitter: args.jitter,
        misfire: misfire.map(str::to_owned),
        misfire_window: args.misfire_window,
        overlap: overlap.map(str::to_owned),
        parameters: (!args.parameters.is_empty()).then(|| args.parameters.into_iter().collect()),
        is_paused: args.paused.then_some(true),
    }
}

fn changed(context: &mut Context, answer: Answer<Outcome<WithSchedule>>) -> Result<u8, Stop> {
    context.screen.data(&answer.data)?;
    let schedule = accepted(answer)?.schedule;
    let what = match (schedule.is_paused, &schedule.next_due_at) {
        (true, _) => "PAUSED".to_owned(),
        (false, Some(at)) => format!("next {at}"),
        (false, None) => "never due".to_owned(),
    };
    context.screen.line(&format!("{} {what}", schedule.name))?;
    Ok(exit::OK)
}

fn list(context: &mut Context, filter: &ScheduleFilter) -> Result<u8, Stop> {
    let client = context.client()?;
    let answer = pages::collect("schedules", SCHEDULES_MAX, |first, after| {
        operations::schedules(&client, &PageOf { first, after, filter: filter.clone() })
    })?;
    context.screen.data(&answer.data)?;
    let rows: Vec<_> = answer.value.iter().map(row).collect();
    context.screen.table(["SCHEDULE", "TASK", "TIMING", "ZONE", "NEXT", "NOTE"], &rows)?;
    Ok(exit::OK)
}

fn row(schedule: &ScheduleRow) -> [String; 6] {
    [
        schedule.name.clone(),
        schedule.task.name.clone(),
        timing(&schedule.timing),
        schedule.time_zone.clone(),
        or_dash(schedule.next_due_at.as_ref()),
        pause_note(schedule.is_paused, schedule.pause_reason.as_ref()).unwrap_or_default(),
    ]
}

fn timing(timing: &Shown) -> String {
    match (&timing.every, &timing.cron) {
        (Some(every), _) => format!("every {}", length(every)),
        (None, pattern) => or_dash(pattern.as_ref()),
    }
}

fn pause_note(is_paused: bool, reason: Option<&String>) -> Option<String> {
    is_paused.then(|| reason.map_or_else(|| "PAUSED".to_owned(), |reason| format!("PAUSED: {reason}")))
}

fn show(context: &mut Context, name: &str) -> Result<u8, Stop> {
    let answer = operations::schedule(&context.client()?, name)?;
    context.screen.data(&answer.data)?;
    let schedule = answer.value;
    context.screen.facts(&facts(&schedule))?;
    if schedule.ticks.nodes.is_empty() {
        return Ok(exit::OK);
    }
    let rows: Vec<_> = schedule.ticks.nodes.iter().map(tick_row).collect();
    context.screen.line("")?;
    context.screen.table(["DUE", "OUTCOME", "COUNT", "SINCE", "JOB"], &rows)?;
    Ok(exit::OK)
}

/// A row that stands for several due times also says when they began.
fn tick_row(tick: &TickRow) -> [String; 5] {
    let since = (tick.first_due_at != tick.due_at).then_some(&tick.first_due_at);
    let job = tick.job.as_ref().map(|job| format!("{} {}", job.id, job.state));
    [tick.due_at.clone(), tick.outcome.clone(), tick.count.to_string(), or_dash(since), or_dash(job)]
}

fn facts(schedule: &ScheduleDetail) -> Vec<(&'static str, Option<String>)> {
    vec![
        ("schedule", Some(schedule.name.clone())),
        ("task", Some(schedule.task.name.clone())),
        ("timing", Some(timing(&schedule.timing))),
        ("zone", Some(schedule.time_zone.clone())),
        ("jitter", Some(length(&schedule.jitter))),
        ("misfire", Some(format!("{} within {}", schedule.misfire, length(&schedule.misfire_window)))),
        ("overlap", Some(schedule.overlap.clone())),
        ("parameters", schedule.parameters.as_ref().map(ToString::to_string)),
        ("paused", pause_note(schedule.is_paused, schedule.pause_reason.as_ref())),
        ("paused by", schedule.paused_by.clone().filter(|_| schedule.is_paused)),
        ("paused since", schedule.paused_at.clone().filter(|_| schedule.is_paused)),
        ("paused until", schedule.paused_until.clone().filter(|_| schedule.is_paused)),
        ("next", schedule.next_due_at.clone()),
    ]
}

fn preview(context: &mut Context, args: PreviewArgs) -> Result<u8, Stop> {
    let client = context.client()?;
    let PreviewArgs { name, every, cron, time_zone, jitter, called, limit } = args;
    let answer = if let Some(name) = name {
        let first = usize::try_from(limit).unwrap_or(usize::MAX);
        operations::schedule_upcoming(&client, &name, first, None)?
    } else {
        let preview = SchedulePreview {
            timing: TimingArgs { every, cron }.timing(),
            time_zone,
            first: i32::try_from(limit).unwrap_or(i32::MAX),
            jitter: jitter.unwrap_or_else(|| "0s".to_owned()),
            name: called,
        };
        operations::schedule_preview(&client, &preview)?
    };
    context.screen.data(&answer.data)?;
    let row = |due: &DueTime| [due.at.clone(), due.local.clone(), due.note.clone().unwrap_or_default()];
    let rows: Vec<_> = answer.value.iter().map(row).collect();
    context.screen.table(["DUE", "LOCAL", "NOTE"], &rows)?;
    Ok(exit::OK)
}
