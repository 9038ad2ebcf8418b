//! Owns the schedule: a rule that makes jobs of a task, and the ticks that say what became of each due time.

use async_graphql::{Enum, InputObject, OneofObject, SimpleObject};
use serde::{Deserialize, Serialize};

use super::command::check_span;
use super::duration::Span;
use super::id::{JobId, ScheduleId, TaskId};
use super::rejection::{Rejection, check_name};
use super::task::TaskRef;
use super::timing::{CompiledTiming, Timing, TimingError};
use crate::base::clock::Timestamp;

/// What happens to due times that passed while nothing could run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MisfirePolicy {
    /// One job for all of them together.
    RunOnce,
    /// Nothing.
    Skip,
    /// A job for each, at most 100.
    RunAll,
}

/// What happens at a due time while a job of the schedule is not final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OverlapPolicy {
    /// The due time is skipped.
    Skip,
    /// A job is made all the same.
    Allow,
}

/// What became of a due time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TickOutcome {
    /// A job was made on time.
    Started,
    /// A job was made late, for one or more missed due times.
    CaughtUp,
    /// Somebody started it by hand.
    Triggered,
    /// A job of the schedule was not final yet.
    SkippedOverlap,
    /// The schedule was paused.
    SkippedPaused,
    /// Missed, and the policy says to leave it.
    DroppedMisfire,
}

impl TickOutcome {
    /// The word in the store and the API.
    pub fn word(self) -> &'static str {
        match self {
            TickOutcome::Started => "STARTED",
            TickOutcome::CaughtUp => "CAUGHT_UP",
            TickOutcome::Triggered => "TRIGGERED",
            TickOutcome::SkippedOverlap => "SKIPPED_OVERLAP",
            TickOutcome::SkippedPaused => "SKIPPED_PAUSED",
            TickOutcome::DroppedMisfire => "DROPPED_MISFIRE",
        }
    }

    /// The outcome of a word from the store.
    pub fn from_word(word: &str) -> Option<TickOutcome> {
        use TickOutcome as T;
        [T::Started, T::CaughtUp, T::Triggered, T::SkippedOverlap, T::SkippedPaused, T::DroppedMisfire]
            .into_iter()
            .find(|outcome| outcome.word() == word)
    }
}

/// A rule that makes jobs of a task.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(complex)]
pub struct Schedule {
    /// Its row.
    #[graphql(skip)]
    pub id: ScheduleId,
    /// Its name, unique.
    pub name: String,
    /// The task it makes jobs of.
    #[graphql(skip)]
    pub task_id: TaskId,
    /// What it says.
    #[graphql(flatten)]
    pub definition: ScheduleDefinition,
    /// Since when it is paused.
    #[graphql(skip)]
    pub paused_at: Option<Timestamp>,
    /// Why it is paused.
    pub pause_reason: Option<String>,
    /// When the pause ends by itself.
    pub paused_until: Option<Timestamp>,
    /// The next due time; null while it has none.
    pub next_due_at: Option<Timestamp>,
    /// Every due time up to here has been dealt with.
    #[graphql(skip)]
    pub settled_until: Timestamp,
}

/// What a schedule says.
#[derive(Debug, Clone, PartialEq, SimpleObject, Serialize, Deserialize)]
pub struct ScheduleDefinition {
    /// When.
    #[graphql(skip)]
    pub timing: Timing,
    /// IANA time zone that cron fields are read in.
    pub time_zone: String,
    /// Every due time is moved by a fixed part of this, found from the schedule's name.
    pub jitter: Span,
    /// What happens to missed due times.
    pub misfire: MisfirePolicy,
    /// Missed due times older than this are dropped.
    pub misfire_window: Span,
    /// What happens while a job of the schedule is not final.
    pub overlap: OverlapPolicy,
}

/// What became of one due time.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(complex)]
pub struct Tick {
    /// The due time, without jitter.
    pub due_at: Timestamp,
    /// What became of it.
    pub outcome: TickOutcome,
    /// The job that was made.
    #[graphql(skip)]
    pub job_id: Option<JobId>,
    /// Due times that this row stands for.
    pub count: i32,
}

/// A schedule, by id or by name.
#[derive(Debug, Clone, OneofObject)]
pub enum ScheduleRef {
    /// By id.
    Id(ScheduleId),
    /// By name.
    Name(String),
}

/// When a schedule is due: at an interval, or by cron.
#[derive(Debug, Clone, OneofObject)]
pub enum TimingInput {
    /// At this interval, 1 s or more, counted from 1970-01-01T00:00:00Z.
    Every(Span),
    /// By 5 or 6 cron fields (6: seconds first), or a word such as @daily.
    Cron(String),
}

impl From<TimingInput> for Timing {
    fn from(input: TimingInput) -> Timing {
        match input {
            TimingInput::Every(every) => Timing::Interval { every },
            TimingInput::Cron(cron) => Timing::Cron { cron },
        }
    }
}

/// A schedule to be made or changed.
#[derive(Debug, Clone, InputObject)]
pub struct SchedulePutInput {
    /// Its name: an existing one is changed, a new one is made.
    pub name: String,
    /// The task it makes jobs of.
    pub task: TaskRef,
    /// When.
    pub timing: TimingInput,
    /// IANA time zone that cron fields are read in.
    #[graphql(default = "UTC")]
    pub time_zone: String,
    /// Move every due time by a fixed part of this, found from the schedule's name.
    #[graphql(default_with = "Span::from_millis(0)")]
    pub jitter: Span,
    /// What happens to missed due times.
    #[graphql(default_with = "MisfirePolicy::RunOnce")]
    pub misfire: MisfirePolicy,
    /// Missed due times older than this are dropped.
    #[graphql(default_with = "Span::from_millis(86_400_000)")]
    pub misfire_window: Span,
    /// What happens while a job of the schedule is not final.
    #[graphql(default_with = "OverlapPolicy::Skip")]
    pub overlap: OverlapPolicy,
    /// Pause or resume it; null leaves it as it is.
    pub is_paused: Option<bool>,
}

/// A checked `SchedulePutInput`, but for the task, which the store knows.
#[derive(Debug, Clone)]
pub struct SchedulePut {
    /// The schedule's name.
    pub name: String,
    /// The task it makes jobs of.
    pub task: TaskRef,
    /// What it shall say.
    pub definition: ScheduleDefinition,
    /// Pause or resume it.
    pub is_paused: Option<bool>,
}

impl SchedulePutInput {
    /// The schedule, or what is wrong with a field.
    pub fn check(self) -> Result<SchedulePut, Rejection> {
        check_name("name", &self.name)?;
        check_span("misfireWindow", self.misfire_window, 0)?;
        let definition = ScheduleDefinition {
            timing: self.timing.into(),
            time_zone: self.time_zone,
            jitter: self.jitter,
            misfire: self.misfire,
            misfire_window: self.misfire_window,
            overlap: self.overlap,
        };
        definition.compile(&self.name)?;
        Ok(SchedulePut { name: self.name, task: self.task, definition, is_paused: self.is_paused })
    }
}

impl ScheduleDefinition {
    /// The rule in a form that can be asked for due times.
    pub fn compile(&self, name: &str) -> Result<CompiledTiming, Rejection> {
        compile(&self.timing, &self.time_zone, self.jitter, name)
    }
}

/// A rule in a form that can be asked for due times; refusals name the field.
pub fn compile(timing: &Timing, zone: &str, jitter: Span, name: &str) -> Result<CompiledTiming, Rejection> {
    CompiledTiming::compile(timing, zone, jitter, name).map_err(|TimingError { field, message }| {
        let path = match field {
            "every" | "cron" => format!("timing.{field}"),
            other => other.to_owned(),
        };
        Rejection::invalid(&path, message)
    })
}
