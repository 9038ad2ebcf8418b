//! Owns the schedule in the API, its ledger and its preview.

use async_graphql::{ComplexObject, Context, ID, InputObject, Object, SimpleObject, Union};

use super::access::{job_seen, seen};
use super::context::ApiContext;
use super::errors::{fault, rejected};
use super::list_cost;
use super::pages::{ScheduleConnection, TickConnection, name_position, number_position, page_size};
use super::payloads::{
    ScheduleDeletePayload, SchedulePausePayload, SchedulePutPayload, ScheduleResumePayload,
    ScheduleTriggerPayload, forgotten, split, told,
};
use crate::base::clock::Timestamp;
use crate::domain::duration::Span;
use crate::domain::filter::ScheduleFilter;
use crate::domain::id::ScheduleId;
use crate::domain::job::Job;
use crate::domain::limits::{PREVIEW_MAX, TEXT_BYTES_MAX};
use crate::domain::rejection::{Rejection, check_text};
use crate::domain::schedule::{
    Schedule, SchedulePutInput, ScheduleRef, Tick, TimingInput, check_jitter, compile, first_due,
};
use crate::domain::task::Task;
use crate::domain::timing::{CompiledTiming, DueTime, Timing};
use crate::store::schedules::ScheduleAction;

/// At this interval, counted from 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, SimpleObject)]
pub struct IntervalTiming {
    /// The interval.
    every: Span,
}

/// When the clocks of the schedule's zone match a pattern.
#[derive(Debug, Clone, SimpleObject)]
pub struct CronTiming {
    /// Five or six fields, or a word such as @daily.
    cron: String,
}

/// When a schedule is due.
#[derive(Debug, Clone, Union)]
#[graphql(name = "Timing")]
pub enum TimingShown {
    /// At an interval.
    Interval(IntervalTiming),
    /// By cron.
    Cron(CronTiming),
}

fn preview(timing: &CompiledTiming, after: Timestamp, first: i32) -> async_graphql::Result<Vec<DueTime>> {
    let few = usize::try_from(first).ok().filter(|_| (1..=PREVIEW_MAX).contains(&first));
    let refused = || Rejection::invalid("first", format!("must lie in 1..={PREVIEW_MAX}, is {first}"));
    let first = few.ok_or_else(|| rejected(refused()))?;
    Ok(timing.due_in(after, Timestamp::MAX, first))
}

/// The next due times of a schedule. What was dealt with does not come again when a clock is set back.
fn upcoming(schedule: &Schedule, after: Timestamp, first: i32) -> async_graphql::Result<Vec<DueTime>> {
    let timing = schedule.definition.compile(&schedule.name);
    let timing = timing.map_err(|rejection| async_graphql::Error::new(rejection.message))?;
    preview(&timing, after.max(schedule.settled_until), first)
}

#[ComplexObject]
impl Schedule {
    /// The global id.
    pub async fn id(&self) -> ID {
        self.id.into()
    }

    /// The task it makes jobs of.
    async fn task(&self, ctx: &Context<'_>) -> async_graphql::Result<Task> {
        let task = ctx.loaders().0.load_one(self.task_id).await.map_err(fault)?;
        task.ok_or_else(|| async_graphql::Error::new(format!("{} of {} is gone", self.task_id, self.id)))
    }

    /// When it is due.
    async fn timing(&self) -> TimingShown {
        match &self.definition.timing {
            Timing::Interval { every } => TimingShown::Interval(IntervalTiming { every: *every }),
            Timing::Cron { cron } => TimingShown::Cron(CronTiming { cron: cron.clone() }),
        }
    }

    /// Whether it makes no jobs now.
    async fn is_paused(&self, ctx: &Context<'_>) -> bool {
        let now = ctx.engine().clock.now();
        self.paused_at.is_some() && self.paused_until.is_none_or(|until| until > now)
    }

    /// The next due times, as the rule says, whether paused or not.
    #[graphql(complexity = "list_cost(first, child_complexity)")]
    async fn upcoming(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 10, desc = "How many, at most 200.")] first: i32,
        #[graphql(desc = "Only later than this, such as right before the end of a pause.")] after: Option<
            Timestamp,
        >,
    ) -> async_graphql::Result<Vec<DueTime>> {
        let now = ctx.engine().clock.now();
        upcoming(self, after.map_or(now, |after| after.max(now)), first)
    }

    /// What became of each due time, newest first.
    #[graphql(complexity = "list_cost(first, child_complexity)")]
    async fn ticks(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 20, desc = "How many, at most 200.")] first: i32,
        #[graphql(desc = "Behind this position.")] after: Option<String>,
    ) -> async_graphql::Result<TickConnection> {
        let before = number_position(after.as_ref(), i64::MAX)?;
        TickConnection::of(ctx.reader().ticks(self.id, before, page_size(first)?).await, after.as_ref())
    }
}

#[ComplexObject]
impl Tick {
    /// The job that was made; null also when retention took it.
    async fn job(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Job>> {
        match self.job_id {
            Some(id) => seen(ctx, ctx.loaders().0.load_one(id).await.map_err(fault)?),
            None => Ok(None),
        }
    }
}

/// Reading schedules.
#[derive(Debug, Default)]
pub struct ScheduleQuery;

#[Object]
impl ScheduleQuery {
    /// The schedule of this id or name.
    async fn schedule(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "ref", desc = "By id or by name.")] schedule: ScheduleRef,
    ) -> async_graphql::Result<Option<Schedule>> {
        ctx.reader().schedule(&schedule).await.map_err(fault)
    }

    /// Schedules by name.
    #[graphql(complexity = "list_cost(first, child_complexity)")]
    async fn schedules(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 50, desc = "How many, at most 200.")] first: i32,
        #[graphql(desc = "Behind this position.")] after: Option<String>,
        #[graphql(desc = "Only these.")] filter: Option<ScheduleFilter>,
    ) -> async_graphql::Result<ScheduleConnection> {
        let position = name_position(after.as_ref())?;
        let filter = filter.unwrap_or_default();
        ScheduleConnection::of(
            ctx.reader().schedules(&filter, position, page_size(first)?).await,
            after.as_ref(),
        )
    }

    /// What a schedule written so would do, before it is saved; a note says what a change of clocks does to a due time.
    /// `extensions.inputPath` of an error names the argument at fault.
    #[graphql(complexity = "list_cost(first, child_complexity)")]
    async fn schedule_preview(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "When.")] timing: TimingInput,
        #[graphql(default = "UTC", desc = "IANA time zone that cron fields are read in.")] time_zone: String,
        #[graphql(default = 10, desc = "How many due times, at most 200.")] first: i32,
        #[graphql(default_with = "Span::ZERO", desc = "Move every due time by a fixed part of this.")]
        jitter: Span,
        #[graphql(desc = "The schedule's name, which decides how much of the jitter; needed with jitter.")]
        name: Option<String>,
    ) -> async_graphql::Result<Vec<DueTime>> {
        if name.is_none() && jitter != Span::ZERO {
            return Err(rejected(Rejection::invalid(
                "name",
                "with jitter it decides when the schedule is due",
            )));
        }
        let (timing, now) = (timing.into(), ctx.engine().clock.now());
        let compiled = check_jitter(&timing, jitter)
            .and_then(|()| compile(&timing, &time_zone, jitter, name.as_deref().unwrap_or_default()))
            .and_then(|timing| first_due(&timing, &time_zone, now).map(|_| timing));
        preview(&compiled.map_err(rejected)?, now, first)
    }
}

/// A schedule to be paused.
#[derive(Debug, InputObject)]
pub struct SchedulePauseInput {
    /// The schedule.
    #[graphql(name = "ref")]
    schedule: ScheduleRef,
    /// Why.
    reason: Option<String>,
    /// When the pause ends by itself; it must lie in the future.
    until: Option<Timestamp>,
}

/// A schedule to be resumed.
#[derive(Debug, InputObject)]
pub struct ScheduleResumeInput {
    /// The schedule.
    #[graphql(name = "ref")]
    schedule: ScheduleRef,
}

/// A schedule whose task shall be started by hand.
#[derive(Debug, InputObject)]
pub struct ScheduleTriggerInput {
    /// The schedule.
    #[graphql(name = "ref")]
    schedule: ScheduleRef,
    /// Start it beside the other jobs of the schedule, whatever its overlap policy says. Otherwise the run by hand is
    /// refused (`SKIP`), waits for its turn (`QUEUE_ONE`, `QUEUE_ALL`) or takes the place of the others
    /// (`CANCEL_RUNNING`).
    #[graphql(default)]
    ignore_overlap: bool,
    /// The same key gives the same job.
    idempotency_key: Option<String>,
}

/// A schedule to be deleted.
#[derive(Debug, InputObject)]
pub struct ScheduleDeleteInput {
    /// The schedule.
    #[graphql(name = "ref")]
    schedule: ScheduleRef,
}

async fn shown(ctx: &Context<'_>, id: ScheduleId) -> async_graphql::Result<Option<Schedule>> {
    ctx.reader().schedule(&ScheduleRef::Id(id)).await.map_err(fault)
}

/// Changing schedules.
#[derive(Debug, Default)]
pub struct ScheduleMutation;

#[Object]
impl ScheduleMutation {
    /// Makes a schedule or changes one; putting what stands already changes nothing.
    async fn schedule_put(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The schedule.")] input: SchedulePutInput,
    ) -> async_graphql::Result<SchedulePutPayload> {
        Ok(match split(ctx.engine().put_schedule(ctx.viewer()?, input).await)? {
            Ok((id, cursor)) => SchedulePutPayload::done(shown(ctx, id).await?, cursor),
            Err(refusals) => SchedulePutPayload::refused(refusals),
        })
    }

    /// Stops a schedule from making jobs; its due times are recorded as skipped.
    async fn schedule_pause(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The schedule.")] input: SchedulePauseInput,
    ) -> async_graphql::Result<SchedulePausePayload> {
        let SchedulePauseInput { schedule, reason, until } = input;
        if let Err(rejection) = check_text("reason", reason.as_deref().unwrap_or_default(), TEXT_BYTES_MAX) {
            return Ok(SchedulePausePayload::refused(vec![rejection]));
        }
        let action = ScheduleAction::Pause { reason, until };
        Ok(match split(ctx.engine().change_schedule(ctx.viewer()?, schedule, action).await)? {
            Ok((id, cursor)) => SchedulePausePayload::done(shown(ctx, id).await?, cursor),
            Err(refusals) => SchedulePausePayload::refused(refusals),
        })
    }

    /// Lets a schedule make jobs again, from now on.
    async fn schedule_resume(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The schedule.")] input: ScheduleResumeInput,
    ) -> async_graphql::Result<ScheduleResumePayload> {
        let action = ScheduleAction::Resume;
        Ok(match split(ctx.engine().change_schedule(ctx.viewer()?, input.schedule, action).await)? {
            Ok((id, cursor)) => ScheduleResumePayload::done(shown(ctx, id).await?, cursor),
            Err(refusals) => ScheduleResumePayload::refused(refusals),
        })
    }

    /// Starts a schedule's task now, by hand.
    async fn schedule_trigger(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The schedule.")] input: ScheduleTriggerInput,
    ) -> async_graphql::Result<ScheduleTriggerPayload> {
        let ScheduleTriggerInput { schedule, ignore_overlap, idempotency_key } = input;
        if let Some(key) = &idempotency_key
            && let Err(rejection) = check_text("idempotencyKey", key, TEXT_BYTES_MAX)
        {
            return Ok(ScheduleTriggerPayload::refused(vec![rejection]));
        }
        let outcome =
            ctx.engine().trigger_schedule(ctx.viewer()?, &schedule, ignore_overlap, idempotency_key).await;
        Ok(match split(outcome)? {
            Ok((id, cursor)) => match job_seen(ctx, id).await? {
                None => ScheduleTriggerPayload::refused(vec![forgotten(id)]),
                job => ScheduleTriggerPayload::done(job, cursor),
            },
            Err(refusals) => ScheduleTriggerPayload::refused(refusals),
        })
    }

    /// Deletes a schedule; its jobs stay.
    async fn schedule_delete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The schedule.")] input: ScheduleDeleteInput,
    ) -> async_graphql::Result<ScheduleDeletePayload> {
        let action = ScheduleAction::Delete;
        Ok(match split(ctx.engine().change_schedule(ctx.viewer()?, input.schedule, action).await)? {
            Ok((id, cursor)) => ScheduleDeletePayload::done(id, cursor),
            Err(refusals) => {
                ScheduleDeletePayload { deleted_id: None, cursor: None, user_errors: told(refusals) }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::TaskId;
    use crate::domain::schedule::{MisfirePolicy, OverlapPolicy, ScheduleDefinition};

    #[test]
    fn what_was_dealt_with_is_not_to_come_when_the_clock_was_set_back() {
        let now = Timestamp(1_700_000_000_000_000);
        let definition = ScheduleDefinition {
            timing: Timing::Interval { every: Span::from_secs(10) },
            time_zone: "UTC".to_owned(),
            jitter: Span::ZERO,
            misfire: MisfirePolicy::RunOnce,
            misfire_window: Span::from_secs(60),
            overlap: OverlapPolicy::Skip,
            parameters: None,
        };
        let schedule = Schedule {
            id: ScheduleId(1),
            name: "s".to_owned(),
            task_id: TaskId(1),
            definition,
            paused_at: None,
            paused_by: None,
            pause_reason: None,
            paused_until: None,
            next_due_at: Some(now.plus_millis(40_000)),
            settled_until: now.plus_millis(30_000),
        };
        let shown = |at: Timestamp| {
            let due = upcoming(&schedule, at, 2).unwrap();
            due.iter().map(|due| (due.at.0 - now.0) / 1_000_000).collect::<Vec<_>>()
        };
        assert_eq!(shown(now), [40, 50]);
        assert_eq!(shown(now.plus_millis(70_000)), [80, 90]);
    }
}
