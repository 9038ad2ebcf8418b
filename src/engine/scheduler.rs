//! Owns due times: settles those that have passed, once each, and waits for the next one.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;

use super::Engine;
use super::parameters::RunnableTask;
use crate::base::points;
use crate::domain::concurrency::KeyLimit;
use crate::domain::id::ScheduleId;
use crate::domain::job::JobOrigin;
use crate::domain::new_job::{NewJob, TaskOfJob};
use crate::domain::rejection::Rejection;
use crate::domain::schedule::{Schedule, ScheduleRef, TickOutcome};
use crate::domain::settle::{self, Plan};
use crate::domain::task::{Task, TaskRef};
use crate::store::ticks::{NewTick, Settle};
use crate::store::writer::{Outcome, Refusal};
use crate::store::{Fault, FaultKind};

/// Schedules that one look settles.
const LOOK_MAX: usize = 100;

/// Settles due times until the shutdown begins.
pub async fn run(engine: Engine) -> Result<(), String> {
    loop {
        // While changes are refused due times wait; their misfire policy says what becomes of them then.
        tokio::select! {
            () = engine.writer.ready() => {}
            () = engine.shutdown.begun() => return Ok(()),
        }
        let nudged = engine.nudge_scheduler.notified();
        beat(&engine);
        points::reach("scheduler.tick");
        let wait = look(&engine).await?;
        beat(&engine);
        tokio::select! {
            () = nudged => {}
            () = engine.next_look(wait) => {}
            () = engine.shutdown.begun() => return Ok(()),
        }
    }
}

/// A sign of life.
fn beat(engine: &Engine) {
    let now = engine.clock.monotonic();
    engine.health.pulse("scheduler", now).beat(now);
}

/// One look at the clock and the store: settles what is due, and gives how long to wait for the next look.
pub async fn look(engine: &Engine) -> Result<Duration, String> {
    let mut next = engine.own.next_schedule_due().await.map_err(|fault| fault.to_string())?;
    if next.is_some_and(|next| next <= engine.clock.now()) {
        settle_due(engine).await?;
        next = engine.own.next_schedule_due().await.map_err(|fault| fault.to_string())?;
    }
    // A clock may be stepped, and another daemon may put a schedule: nobody waits longer than a poll interval without
    // looking. A schedule that could not be settled stays due and is tried again then.
    let (now, poll) = (engine.clock.now(), engine.settings.poll_interval);
    let wait = next.filter(|next| *next > now).map_or(poll, |next| next.since(now));
    // Rounded up: a wait that ends early would look once more for nothing.
    Ok((wait + Duration::from_millis(1)).min(poll))
}

async fn settle_due(engine: &Engine) -> Result<(), String> {
    // They stay the oldest that are due, and must not stand before the others.
    let mut failed = HashSet::new();
    loop {
        let (now, limit) = (engine.clock.now(), LOOK_MAX + failed.len());
        let mut due = engine.own.due_schedules(now, limit).await.map_err(|fault| fault.to_string())?;
        let is_last = due.len() < limit;
        due.retain(|schedule| !failed.contains(&schedule.id));
        let may_go_on = settle_page(engine, &due, &mut failed).await;
        // With more than can be settled at once it may stay here for long, and is not stuck.
        beat(engine);
        if is_last || !may_go_on || engine.shutdown.is_begun() {
            return Ok(());
        }
    }
}

/// Settles these schedules, as far as may be in one turn of the writer, and adds those that were not to `failed`. False when
/// the next ones would meet the same trouble.
async fn settle_page(engine: &Engine, due: &[Schedule], failed: &mut HashSet<ScheduleId>) -> bool {
    let mut plans = Vec::with_capacity(due.len());
    for schedule in due {
        plans.push(plan(engine, schedule).await);
    }
    let settling = plans.into_iter().map(|plan| async move { commit(engine, plan?).await });
    let mut may_go_on = true;
    for (schedule, outcome) in due.iter().zip(join_all(settling).await) {
        // One bad schedule does not hold up the others.
        let Err(refusal) = outcome else { continue };
        failed.insert(schedule.id);
        may_go_on &= match &refusal {
            Refusal::Fault(fault) => fault.kind == FaultKind::Bug || fault.kind == FaultKind::Constraint,
            Refusal::Rejected(_) => true,
        };
        report(schedule, &refusal);
    }
    may_go_on
}

/// What is to be done about a schedule now.
async fn plan(engine: &Engine, schedule: &Schedule) -> Outcome<Settle> {
    let timing = schedule.definition.compile(&schedule.name)?;
    let plan = settle::settle(schedule, &timing, engine.clock.now());
    let task = engine.own.task(&TaskRef::Id(schedule.task_id)).await?;
    Ok(settle_of(engine, schedule, task.as_ref(), plan))
}

async fn commit(engine: &Engine, change: Settle) -> Outcome<()> {
    points::reach("schedule.before_settle");
    let committed = engine.writer.apply(change).await?;
    if !committed.answer.is_empty() {
        points::reach("schedule.settled");
        engine.nudge_dispatcher.notify_one();
    }
    Ok(())
}

fn report(schedule: &Schedule, refusal: &Refusal) {
    let (Refusal::Fault(Fault { message, .. }) | Refusal::Rejected(Rejection { message, .. })) = refusal;
    tracing::error!(schedule = %schedule.name, "due times could not be settled: {message}");
}

/// What becomes of due times that have passed while the disk has no room for their jobs, when their schedule changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WithoutRoom {
    /// They wait for room, and so does the change.
    Wait,
    /// They are dropped, and the ledger says so: whoever pauses what fills the disk must not wait until there is room.
    Drop,
}

/// Settles one schedule before its rule or its pause changes: what was due until now is dealt with as the rule said.
/// While that cannot be done nothing may change: the due times would be lost.
pub(super) async fn settle_before(
    engine: &Engine,
    schedule: &ScheduleRef,
    without_room: WithoutRoom,
) -> Result<(), Fault> {
    let Some(schedule) = engine.own.schedule(schedule).await? else { return Ok(()) };
    if !schedule.is_due(engine.clock.now()) {
        return Ok(());
    }
    let outcome = match plan(engine, &schedule).await {
        Ok(change) => match commit(engine, change.clone()).await {
            Err(Refusal::Fault(fault))
                if fault.kind == FaultKind::Full && without_room == WithoutRoom::Drop =>
            {
                commit(engine, change.dropped()).await
            }
            outcome => outcome,
        },
        Err(refusal) => Err(refusal),
    };
    match outcome {
        Ok(()) => Ok(()),
        Err(Refusal::Fault(fault)) => Err(fault),
        // A rule that can no longer be read has no due times; the change may put another one in its place.
        Err(refusal @ Refusal::Rejected(_)) => {
            report(&schedule, &refusal);
            Ok(())
        }
    }
}

fn settle_of(engine: &Engine, schedule: &Schedule, task: Option<&Task>, plan: Plan) -> Settle {
    let task = task.filter(|task| task.archived_at.is_none()).cloned().map(RunnableTask::new).transpose();
    let template = task.and_then(|task| task.map(|task| job_of(schedule, &task)).transpose());
    let template = template.unwrap_or_else(|rejection| {
        let why = &rejection.message;
        tracing::warn!(schedule = %schedule.name, "due times are dropped: its task takes no such parameters: {why}");
        None
    });
    let ticks = plan
        .ticks
        .into_iter()
        .map(|tick| {
            let job = template.clone().filter(|_| tick.makes_job).map(|job| in_line(schedule, job));
            // A task out of use, or with another schema by now, makes no jobs; the ledger says that the due time was dropped.
            let is_dropped = tick.makes_job && job.is_none();
            let outcome = if is_dropped { TickOutcome::DroppedMisfire } else { tick.outcome };
            NewTick { due_at: tick.due_at, first_due_at: tick.first_due_at, outcome, count: tick.count, job }
        })
        .collect();
    Settle {
        id: schedule.id,
        expected: schedule.clone(),
        overlap: schedule.definition.overlap,
        settled_until: plan.settled_until,
        next_due_at: plan.next_due_at,
        ends_pause: plan.ends_pause,
        ticks,
        queued_max: engine.settings.queued_max,
    }
}

/// The job that a schedule makes of its task.
pub fn job_of(schedule: &Schedule, runnable: &RunnableTask) -> Result<NewJob, Rejection> {
    let task = &runnable.task;
    let definition = &task.definition;
    let (command, parameters) = runnable.resolve(schedule.definition.parameters.clone())?;
    Ok(NewJob {
        parameters,
        limit: KeyLimit::of(None, Some(task)),
        timeout_max: definition.max_timeout,
        task: Some(TaskOfJob { id: task.id, name: task.name.clone(), revision: task.revision }),
        queue_name: definition.queue_name.clone(),
        priority: definition.priority,
        origin: JobOrigin::Schedule,
        retry_policy: definition.retry_policy.clone(),
        timeout: definition.timeout,
        idle_timeout: definition.idle_timeout,
        kill_grace: definition.kill_grace,
        is_restartable: definition.is_restartable,
        merges_output: definition.merges_output,
        runs_on: definition.runs_on.clone(),
        schedule_id: Some(schedule.id),
        ..NewJob::plain(command, &schedule.name)
    })
}

/// The job with the limit that the schedule's overlap policy gives it.
pub(super) fn in_line(schedule: &Schedule, job: NewJob) -> NewJob {
    let limit = schedule.definition.overlap.limit(schedule.id, job.limit);
    NewJob { limit, ..job }
}
