//! Owns the schedule: a rule that makes jobs of a task, and the ticks that say what became of each due time.

use async_graphql::{Enum, InputObject, OneofObject, SimpleObject};
use serde::{Deserialize, Serialize};

use super::command::check_span;
use super::concurrency::{KeyLimit, LimitKey};
use super::cron::CronPattern;
use super::duration::Span;
use super::id::{JobId, ScheduleId, TaskId};
use super::parameters::complete;
use super::rejection::{Rejection, check_name};
use super::scalars::Json;
use super::task::TaskRef;
use super::timing::{CompiledTiming, DueTime, Timing, TimingError};
use crate::base::clock::Timestamp;

/// What happens to due times that passed while nothing could run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MisfirePolicy {
    /// One job for all of them together.
    RunOnce,
    /// Nothing.
    Skip,
    /// A job for each, at most 100, as far as the overlap policy lets it: under `SKIP` the first one stands in the way of
    /// the others, `QUEUE_ALL` lets all of them run one after another.
    RunAll,
}

/// What happens at a due time while a job of the schedule is not final. Jobs that were started by hand count, and jobs
/// that were made anew of its jobs. Under `QUEUE_ONE`, `QUEUE_ALL` and `CANCEL_RUNNING` the jobs run one at a time for the
/// schedule, and a limit of their task of more than one does not count them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OverlapPolicy {
    /// The due time is skipped.
    Skip,
    /// One job waits for the end of the one that runs; while one waits, due times are skipped.
    QueueOne,
    /// Every due time makes a job; they run one after another.
    QueueAll,
    /// What runs is asked to stop, what waits is cancelled, and the new job starts when the way is free.
    CancelRunning,
    /// A job is made all the same, and starts beside the others.
    Allow,
}

impl OverlapPolicy {
    /// The limit of a job that is made under this policy, when its task gives it `of_task`. A job counts for one
    /// limit: the task's one at a time is as good, any wider one gives way.
    pub fn limit(self, schedule: ScheduleId, of_task: Option<KeyLimit>) -> Option<KeyLimit> {
        if !self.makes_a_line() {
            return of_task;
        }
        let strict = of_task.filter(|limit| limit.limit == 1);
        strict.or(Some(KeyLimit { key: LimitKey::Schedule(schedule), limit: 1 }))
    }

    /// Whether jobs that are made under this policy run one at a time.
    pub fn makes_a_line(self) -> bool {
        match self {
            OverlapPolicy::Skip | OverlapPolicy::Allow => false,
            OverlapPolicy::QueueOne | OverlapPolicy::QueueAll | OverlapPolicy::CancelRunning => true,
        }
    }
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

    /// Whether a run of these is one row of the ledger that counts on.
    pub fn is_rolled_up(self) -> bool {
        matches!(self, TickOutcome::SkippedOverlap | TickOutcome::SkippedPaused)
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
    pub paused_at: Option<Timestamp>,
    /// Who paused it.
    pub paused_by: Option<String>,
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
    /// What its jobs are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Json>,
}

/// What became of one due time, or of a run of them.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(complex)]
pub struct Tick {
    /// The due time, without jitter; the newest one where the row stands for several.
    pub due_at: Timestamp,
    /// The oldest due time that this row stands for.
    pub first_due_at: Timestamp,
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
    /// What its jobs are told: an object of at most 64 KiB.
    pub parameters: Option<Json>,
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

impl Schedule {
    /// Whether a due time, or the end of a pause, has passed that nobody has dealt with.
    pub fn is_due(&self, now: Timestamp) -> bool {
        [self.next_due_at, self.paused_until].into_iter().flatten().any(|at| at <= now)
    }
}

impl SchedulePutInput {
    /// The schedule, or what is wrong with a field.
    pub fn check(self) -> Result<SchedulePut, Rejection> {
        check_name("name", &self.name)?;
        check_span("misfireWindow", self.misfire_window, 0)?;
        let parameters = self.parameters.filter(|parameters| !parameters.0.is_null());
        parameters.clone().map_or(Ok(()), |given| complete(None, Some(given)).map(|_| ()))?;
        let definition = ScheduleDefinition {
            timing: self.timing.into(),
            time_zone: self.time_zone,
            jitter: self.jitter,
            misfire: self.misfire,
            misfire_window: self.misfire_window,
            overlap: self.overlap,
            parameters,
        };
        check_jitter(&definition.timing, definition.jitter)?;
        definition.compile(&self.name)?;
        if let Timing::Cron { cron } = &definition.timing {
            CronPattern::check(cron).map_err(|message| Rejection::invalid("timing.cron", message))?;
        }
        Ok(SchedulePut { name: self.name, task: self.task, definition, is_paused: self.is_paused })
    }
}

impl ScheduleDefinition {
    /// The rule in a form that can be asked for due times.
    pub fn compile(&self, name: &str) -> Result<CompiledTiming, Rejection> {
        compile(&self.timing, &self.time_zone, self.jitter, name)
    }
}

/// More jitter than the interval says nothing: every due time would be moved past the next one.
pub fn check_jitter(timing: &Timing, jitter: Span) -> Result<(), Rejection> {
    match timing {
        Timing::Interval { every } if jitter > *every => {
            let message = format!("is at most the interval, {every}, not {jitter}");
            Err(Rejection::invalid("jitter", message))
        }
        Timing::Interval { .. } | Timing::Cron { .. } => Ok(()),
    }
}

/// A pattern that does not fire within so many years never does: 29 February falls on a given weekday at least once in
/// 40 years, and the tables of time zones know no rules that are further away.
const FIRES_WITHIN_YEARS: i64 = 41;

/// The first due time after `now`; a pattern that has none is refused, for it would never make a job.
pub fn first_due(timing: &CompiledTiming, zone: &str, now: Timestamp) -> Result<DueTime, Rejection> {
    let horizon = now.plus_millis(FIRES_WITHIN_YEARS * 366 * 86_400_000);
    timing.next_after(now).filter(|due| due.at <= horizon).ok_or_else(|| {
        let message = format!("never fires: in {zone} nothing matches it within {FIRES_WITHIN_YEARS} years");
        Rejection::invalid("timing.cron", message)
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::limits::PARAMETERS_BYTES_MAX;
    use crate::domain::rejection::UserErrorCode;
    use serde_json::json;

    fn input(timing: TimingInput) -> SchedulePutInput {
        SchedulePutInput {
            name: "s".to_owned(),
            task: TaskRef::Name("t".to_owned()),
            timing,
            time_zone: "UTC".to_owned(),
            jitter: Span::ZERO,
            misfire: MisfirePolicy::RunOnce,
            misfire_window: Span::from_secs(60),
            overlap: OverlapPolicy::Skip,
            parameters: None,
            is_paused: None,
        }
    }

    fn every(seconds: i64) -> SchedulePutInput {
        input(TimingInput::Every(Span::from_secs(seconds)))
    }

    fn cron(pattern: &str) -> SchedulePutInput {
        input(TimingInput::Cron(pattern.to_owned()))
    }

    #[test]
    fn a_slip_is_refused_with_the_path_of_its_field() {
        let with = |parameters: serde_json::Value| SchedulePutInput {
            parameters: Some(Json(parameters)),
            ..every(60)
        };
        let zone = |zone: &str| SchedulePutInput { time_zone: zone.to_owned(), ..cron("@daily") };
        let long = "x".repeat(PARAMETERS_BYTES_MAX);
        for (input, path, part) in [
            (every(0), "timing.every", "from PT1S"),
            (every(367 * 86_400), "timing.every", "to P366D"),
            (cron("61 * * * *"), "timing.cron", "minute"),
            (cron("0 0 30 2 *"), "timing.cron", "never fires"),
            (zone("Europe/Berln"), "timeZone", "Europe/Berlin"),
            (SchedulePutInput { jitter: Span::from_secs(61), ..every(60) }, "jitter", "at most the interval"),
            (SchedulePutInput { jitter: Span::from_secs(86_401), ..cron("@daily") }, "jitter", "to P1D"),
            (SchedulePutInput { jitter: Span::from_secs(-1), ..every(60) }, "jitter", "from PT0S"),
            (SchedulePutInput { misfire_window: Span::from_secs(-1), ..every(60) }, "misfireWindow", ""),
            (SchedulePutInput { name: "a b".to_owned(), ..every(60) }, "name", "letter"),
            (with(json!([1])), "parameters", "JSON object"),
            (with(json!({"a": [{"b": "\0"}]})), "parameters.a", "U+0000"),
            (with(json!({"a\0": 1})), "parameters.a", "U+0000"),
            (with(json!({"a": long})), "parameters", "at most 65536 bytes"),
        ] {
            let refused = input.check().map(|_| ()).expect_err(part);
            assert_eq!(refused.code, UserErrorCode::Invalid, "{path}: {}", refused.message);
            assert_eq!(refused.path.map(|path| path.join(".")).as_deref(), Some(path));
            assert!(refused.message.contains(part), "{path}: {}", refused.message);
        }
    }

    #[test]
    fn the_bounds_themselves_are_good() {
        let full = "x".repeat(PARAMETERS_BYTES_MAX - r#"{"a":""}"#.len());
        let parameters = Some(Json(json!({ "a": full })));
        let put =
            SchedulePutInput { parameters: parameters.clone(), jitter: Span::from_secs(60), ..every(60) };
        assert_eq!(put.check().expect("it is full, not over").definition.parameters, parameters);
        let none = SchedulePutInput { parameters: Some(Json(json!(null))), ..every(60) };
        assert_eq!(none.check().expect("null is none").definition.parameters, None);
    }

    #[test]
    fn a_pattern_that_only_ever_falls_into_the_gap_never_fires() {
        let compiled = |pattern: &str| cron(pattern).check().expect("it is a pattern").definition;
        let now = Timestamp::parse("2026-01-01T00:00:00Z").expect("an instant");
        let in_berlin = |pattern: &str| {
            let definition =
                ScheduleDefinition { time_zone: "Europe/Berlin".to_owned(), ..compiled(pattern) };
            first_due(&definition.compile("s").expect("it is good"), "Europe/Berlin", now)
        };
        // Elapsed time skips the hour of the gap; a fixed time fires at its end.
        let refused = in_berlin("*/5 2 * 3 SUNL").expect_err("the clock never shows it");
        assert_eq!(refused.path, Some(vec!["timing".to_owned(), "cron".to_owned()]));
        assert!(in_berlin("0 2 * 3 SUNL").is_ok());
    }

    #[test]
    fn jobs_that_wait_for_each_other_share_a_limit_of_one() {
        let id = ScheduleId(3);
        let own = Some(KeyLimit { key: LimitKey::Schedule(id), limit: 1 });
        let of_task = |limit| Some(KeyLimit { key: LimitKey::Task(TaskId(1)), limit });
        for policy in [OverlapPolicy::QueueOne, OverlapPolicy::QueueAll, OverlapPolicy::CancelRunning] {
            assert_eq!(policy.limit(id, None), own, "{policy:?}");
            assert_eq!(policy.limit(id, of_task(2)), own, "{policy:?}");
            assert_eq!(policy.limit(id, of_task(1)), of_task(1), "{policy:?}");
        }
        for policy in [OverlapPolicy::Skip, OverlapPolicy::Allow] {
            assert_eq!(policy.limit(id, of_task(2)), of_task(2), "{policy:?}");
            assert_eq!(policy.limit(id, None), None, "{policy:?}");
        }
    }

    #[test]
    fn a_schedule_from_before_parameters_is_read() {
        let definition = cron("@daily").check().expect("it is good").definition;
        let text = serde_json::to_string(&definition).expect("it is plain JSON");
        assert!(!text.contains("parameters"), "{text}");
        assert_eq!(serde_json::from_str::<ScheduleDefinition>(&text).expect("it reads back"), definition);
    }
}
