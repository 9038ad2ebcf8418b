//! Owns the decision about due times: what becomes of those that have passed. Pure.

use super::limits::CATCH_UP_MAX;
use super::schedule::{MisfirePolicy, OverlapPolicy, Schedule, TickOutcome};
use super::timing::{CompiledTiming, DueTime};
use crate::base::clock::Timestamp;

/// A due time that is dealt with no later than this counts as on time, in milliseconds.
pub const ON_TIME_MILLIS: i64 = 5_000;

/// One row of the ledger to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedTick {
    /// The due time without jitter.
    pub due_at: Timestamp,
    /// What becomes of it.
    pub outcome: TickOutcome,
    /// Due times that it stands for.
    pub count: i64,
    /// Whether it makes a job.
    pub makes_job: bool,
}

/// What to do about a schedule now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The rows of the ledger.
    pub ticks: Vec<PlannedTick>,
    /// Everything up to here is settled then.
    pub settled_until: Timestamp,
    /// The next due time then.
    pub next_due_at: Option<Timestamp>,
    /// Whether a pause has ended.
    pub ends_pause: bool,
}

/// Decides about every due time of the schedule that has passed at `now`.
/// `has_open_job`: whether a job of it is not final.
pub fn settle(schedule: &Schedule, timing: &CompiledTiming, has_open_job: bool, now: Timestamp) -> Plan {
    let mut ticks = Vec::new();
    let mut from = schedule.settled_until;
    let pause_end = schedule.paused_until.filter(|until| *until <= now);
    if schedule.paused_at.is_some() {
        let until = pause_end.unwrap_or(now);
        let paused = timing.missed(from, until, 1);
        if let Some(due) = paused.newest.last() {
            ticks.push(row(due, TickOutcome::SkippedPaused, paused.count, false));
        }
        from = from.max(until);
    }
    if schedule.paused_at.is_none() || pause_end.is_some() {
        settle_open(schedule, timing, has_open_job, (from, now), &mut ticks);
    }
    let settled_until = schedule.settled_until.max(now);
    Plan {
        ticks,
        settled_until,
        next_due_at: timing.next_after(settled_until).map(|due| due.at),
        ends_pause: schedule.paused_at.is_some() && pause_end.is_some(),
    }
}

fn row(due: &DueTime, outcome: TickOutcome, count: u64, makes_job: bool) -> PlannedTick {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    PlannedTick { due_at: due.tick, outcome, count, makes_job }
}

/// The due times in `(span.0, span.1]` of a schedule that is not paused.
fn settle_open(
    schedule: &Schedule,
    timing: &CompiledTiming,
    has_open_job: bool,
    span: (Timestamp, Timestamp),
    ticks: &mut Vec<PlannedTick>,
) {
    let now = span.1;
    // One more than may be caught up: the newest of those that are dropped names them all.
    let passed = timing.missed(span.0, now, CATCH_UP_MAX + 1);
    let Some(newest) = passed.newest.last() else { return };
    let is_on_time = now <= newest.at.plus_millis(ON_TIME_MILLIS);
    let is_lone = passed.count == 1;
    let blocked = has_open_job && schedule.definition.overlap == OverlapPolicy::Skip;
    if is_on_time && is_lone {
        ticks.push(job_row(newest, TickOutcome::Started, 1, blocked));
        return;
    }
    let window_start = now.plus_millis(-schedule.definition.misfire_window.millis());
    match schedule.definition.misfire {
        MisfirePolicy::RunOnce if is_on_time || newest.at >= window_start => {
            ticks.push(job_row(newest, TickOutcome::CaughtUp, passed.count, blocked));
        }
        MisfirePolicy::Skip if is_on_time => {
            let before = &passed.newest[passed.newest.len() - 2];
            ticks.push(row(before, TickOutcome::DroppedMisfire, passed.count - 1, false));
            ticks.push(job_row(newest, TickOutcome::Started, 1, blocked));
        }
        MisfirePolicy::RunOnce | MisfirePolicy::Skip => {
            ticks.push(row(newest, TickOutcome::DroppedMisfire, passed.count, false));
        }
        MisfirePolicy::RunAll => {
            let kept = passed.newest.iter().filter(|due| due.at >= window_start).count().min(CATCH_UP_MAX);
            let (dropped, kept) = passed.newest.split_at(passed.newest.len() - kept);
            if let Some(last) = dropped.last() {
                let count = passed.count - kept.len() as u64;
                ticks.push(row(last, TickOutcome::DroppedMisfire, count, false));
            }
            ticks.extend(kept.iter().map(|due| job_row(due, TickOutcome::CaughtUp, 1, blocked)));
        }
    }
}

fn job_row(due: &DueTime, outcome: TickOutcome, count: u64, blocked: bool) -> PlannedTick {
    if blocked { row(due, TickOutcome::SkippedOverlap, count, false) } else { row(due, outcome, count, true) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::duration::Span;
    use crate::domain::id::{ScheduleId, TaskId};
    use crate::domain::schedule::ScheduleDefinition;
    use crate::domain::timing::Timing;

    const T0: Timestamp = Timestamp(1_700_000_000_000_000);

    fn schedule(misfire: MisfirePolicy, overlap: OverlapPolicy) -> (Schedule, CompiledTiming) {
        let definition = ScheduleDefinition {
            timing: Timing::Interval { every: Span::from_millis(10_000) },
            time_zone: "UTC".to_owned(),
            jitter: Span::from_millis(0),
            misfire,
            misfire_window: Span::from_millis(3_600_000),
            overlap,
        };
        let timing = definition.compile("s").unwrap();
        let schedule = Schedule {
            id: ScheduleId(1),
            name: "s".to_owned(),
            task_id: TaskId(1),
            definition,
            paused_at: None,
            pause_reason: None,
            paused_until: None,
            next_due_at: Some(T0.plus_millis(10_000)),
            settled_until: T0,
        };
        (schedule, timing)
    }

    fn outcomes(
        schedule: &(Schedule, CompiledTiming),
        open: bool,
        after_ms: i64,
    ) -> Vec<(TickOutcome, i64, bool)> {
        let plan = settle(&schedule.0, &schedule.1, open, T0.plus_millis(after_ms));
        plan.ticks.into_iter().map(|tick| (tick.outcome, tick.count, tick.makes_job)).collect()
    }

    #[test]
    fn a_due_time_on_time_starts_one_job() {
        let one = schedule(MisfirePolicy::RunOnce, OverlapPolicy::Skip);
        assert_eq!(outcomes(&one, false, 9_999), vec![]);
        assert_eq!(outcomes(&one, false, 10_003), vec![(TickOutcome::Started, 1, true)]);
        assert_eq!(outcomes(&one, true, 10_003), vec![(TickOutcome::SkippedOverlap, 1, false)]);
        let allow = schedule(MisfirePolicy::RunOnce, OverlapPolicy::Allow);
        assert_eq!(outcomes(&allow, true, 10_003), vec![(TickOutcome::Started, 1, true)]);
    }

    #[test]
    fn missed_due_times_follow_the_policy() {
        let once = schedule(MisfirePolicy::RunOnce, OverlapPolicy::Skip);
        assert_eq!(outcomes(&once, false, 57_000), vec![(TickOutcome::CaughtUp, 5, true)]);
        assert_eq!(outcomes(&once, false, 50_001), vec![(TickOutcome::CaughtUp, 5, true)]);
        assert_eq!(outcomes(&once, false, 7_200_000 + 9_000), vec![(TickOutcome::CaughtUp, 720, true)]);
        let skip = schedule(MisfirePolicy::Skip, OverlapPolicy::Skip);
        assert_eq!(outcomes(&skip, false, 57_000), vec![(TickOutcome::DroppedMisfire, 5, false)]);
        let both = vec![(TickOutcome::DroppedMisfire, 4, false), (TickOutcome::Started, 1, true)];
        assert_eq!(outcomes(&skip, false, 50_001), both);
        let all = schedule(MisfirePolicy::RunAll, OverlapPolicy::Allow);
        assert_eq!(outcomes(&all, false, 30_001), vec![(TickOutcome::CaughtUp, 1, true); 3]);
    }

    #[test]
    fn run_all_is_bounded_and_says_what_it_dropped() {
        let all = schedule(MisfirePolicy::RunAll, OverlapPolicy::Allow);
        let rows = outcomes(&all, false, 3_000_000);
        assert_eq!(rows[0], (TickOutcome::DroppedMisfire, 200, false));
        assert_eq!(rows.len(), 1 + CATCH_UP_MAX);
    }

    #[test]
    fn a_window_that_has_passed_drops_everything() {
        let mut once = schedule(MisfirePolicy::RunOnce, OverlapPolicy::Skip);
        once.0.definition.misfire_window = Span::from_millis(1_000);
        assert_eq!(outcomes(&once, false, 57_000), vec![(TickOutcome::DroppedMisfire, 5, false)]);
    }

    #[test]
    fn a_pause_skips_what_falls_into_it_and_nothing_else() {
        let mut paused = schedule(MisfirePolicy::RunAll, OverlapPolicy::Allow);
        paused.0.paused_at = Some(T0);
        assert_eq!(outcomes(&paused, false, 30_001), vec![(TickOutcome::SkippedPaused, 3, false)]);
        paused.0.paused_until = Some(T0.plus_millis(20_001));
        let expected = vec![(TickOutcome::SkippedPaused, 2, false), (TickOutcome::Started, 1, true)];
        assert_eq!(outcomes(&paused, false, 30_001), expected);
        assert!(settle(&paused.0, &paused.1, false, T0.plus_millis(30_001)).ends_pause);
    }

    #[test]
    fn a_clock_that_goes_back_settles_nothing_twice() {
        let one = schedule(MisfirePolicy::RunOnce, OverlapPolicy::Skip);
        let plan = settle(&one.0, &one.1, false, T0.plus_millis(-3_600_000));
        assert_eq!(plan.ticks, vec![]);
        assert_eq!(plan.settled_until, T0);
    }
}
