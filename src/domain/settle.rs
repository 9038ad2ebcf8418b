//! Owns the decision about due times: what becomes of those that have passed. Pure. Whether another job is in the
//! way is not asked here but in the store, where nobody comes in between.

use super::limits::CATCH_UP_MAX;
use super::schedule::{MisfirePolicy, Schedule, TickOutcome};
use super::timing::{CompiledTiming, DueTime};
use crate::base::clock::Timestamp;

/// A due time that is dealt with no later than this counts as on time, in milliseconds.
pub const ON_TIME_MILLIS: i64 = 5_000;

/// One row of the ledger to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedTick {
    /// The due time without jitter; the newest of those that it stands for.
    pub due_at: Timestamp,
    /// The oldest of them.
    pub first_due_at: Timestamp,
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

/// Decides about every due time of the schedule that has passed at `now`. What was settled stays so: a clock that goes
/// back brings no due time again.
pub fn settle(schedule: &Schedule, timing: &CompiledTiming, now: Timestamp) -> Plan {
    let mut ticks = Vec::new();
    let mut from = schedule.settled_until;
    let pause_end = schedule.paused_until.filter(|until| *until <= now);
    if let Some(paused_at) = schedule.paused_at {
        // Whoever pauses until noon wants the run at noon.
        let until = pause_end.map_or(now, |end| Timestamp(end.0 - 1));
        // What was due before the pause and could not be dealt with until now is missed, not paused.
        // A clock that was ahead began the pause in the future: it holds all the same.
        let began = if paused_at > now { from } else { paused_at.min(until) };
        settle_open(schedule, timing, (from, began), now, &mut ticks);
        from = from.max(began);
        let paused = timing.missed(from, until, 1);
        if let Some(due) = paused.newest.last() {
            ticks.push(several(timing, from, due, TickOutcome::SkippedPaused, paused.count, false));
        }
        from = from.max(until);
    }
    if schedule.paused_at.is_none() || pause_end.is_some() {
        settle_open(schedule, timing, (from, now), now, &mut ticks);
    }
    let settled_until = schedule.settled_until.max(now);
    Plan {
        ticks,
        settled_until,
        next_due_at: timing.next_after(settled_until).map(|due| due.at),
        ends_pause: schedule.paused_at.is_some() && pause_end.is_some(),
    }
}

fn one(due: &DueTime, outcome: TickOutcome) -> PlannedTick {
    PlannedTick { due_at: due.tick, first_due_at: due.tick, outcome, count: 1, makes_job: true }
}

/// The row of the `count` due times behind `from` of which `newest` is the last.
fn several(
    timing: &CompiledTiming,
    from: Timestamp,
    newest: &DueTime,
    outcome: TickOutcome,
    count: u64,
    makes_job: bool,
) -> PlannedTick {
    let first = timing.next_after(from).map_or(newest.tick, |due| due.tick);
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    PlannedTick { due_at: newest.tick, first_due_at: first.min(newest.tick), outcome, count, makes_job }
}

/// The due times in `(span.0, span.1]`, in which the schedule was not paused. The span may end before `now`, which says
/// how late they are.
fn settle_open(
    schedule: &Schedule,
    timing: &CompiledTiming,
    span: (Timestamp, Timestamp),
    now: Timestamp,
    ticks: &mut Vec<PlannedTick>,
) {
    // One more than may be caught up: the newest of those that are dropped names them all.
    let passed = timing.missed(span.0, span.1, CATCH_UP_MAX + 1);
    let Some(newest) = passed.newest.last() else { return };
    let is_on_time = now <= newest.at.plus_millis(ON_TIME_MILLIS);
    let is_lone = passed.count == 1;
    if is_on_time && is_lone {
        ticks.push(one(newest, TickOutcome::Started));
        return;
    }
    let all = |newest: &DueTime, outcome: TickOutcome, count: u64, makes_job: bool| {
        several(timing, span.0, newest, outcome, count, makes_job)
    };
    // Behind this instant lies what the window leaves; what is on time is never too old.
    let window_start = Timestamp(now.plus_millis(-schedule.definition.misfire_window.millis()).0 - 1);
    let window_start = if is_on_time { window_start.min(Timestamp(newest.at.0 - 1)) } else { window_start };
    let recent_from = window_start.clamp(span.0, span.1);
    match schedule.definition.misfire {
        MisfirePolicy::RunOnce => {
            let recent = timing.missed(recent_from, span.1, 1);
            let dropped = timing.missed(span.0, recent_from, 1);
            if let Some(last) = dropped.newest.last() {
                ticks.push(all(last, TickOutcome::DroppedMisfire, dropped.count, false));
            }
            if let Some(newest) = recent.newest.last() {
                let on_time = is_on_time && recent.count == 1;
                let outcome = if on_time { TickOutcome::Started } else { TickOutcome::CaughtUp };
                ticks.push(several(timing, recent_from, newest, outcome, recent.count, true));
            }
        }
        MisfirePolicy::Skip if is_on_time => {
            let before = &passed.newest[passed.newest.len() - 2];
            ticks.push(all(before, TickOutcome::DroppedMisfire, passed.count - 1, false));
            ticks.push(one(newest, TickOutcome::Started));
        }
        MisfirePolicy::Skip => ticks.push(all(newest, TickOutcome::DroppedMisfire, passed.count, false)),
        MisfirePolicy::RunAll => {
            let kept = passed.newest.iter().filter(|due| due.at > recent_from).count().min(CATCH_UP_MAX);
            let (dropped, kept) = passed.newest.split_at(passed.newest.len() - kept);
            if let Some(last) = dropped.last() {
                let count = passed.count - kept.len() as u64;
                ticks.push(all(last, TickOutcome::DroppedMisfire, count, false));
            }
            ticks.extend(kept.iter().map(|due| one(due, TickOutcome::CaughtUp)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::duration::Span;
    use crate::domain::id::{ScheduleId, TaskId};
    use crate::domain::schedule::{OverlapPolicy, ScheduleDefinition};
    use crate::domain::timing::Timing;

    const T0: Timestamp = Timestamp(1_700_000_000_000_000);

    fn schedule(misfire: MisfirePolicy) -> (Schedule, CompiledTiming) {
        let definition = ScheduleDefinition {
            timing: Timing::Interval { every: Span::from_millis(10_000) },
            time_zone: "UTC".to_owned(),
            jitter: Span::from_millis(0),
            misfire,
            misfire_window: Span::from_millis(3_600_000),
            overlap: OverlapPolicy::Skip,
            parameters: None,
        };
        let timing = definition.compile("s").unwrap();
        let schedule = Schedule {
            id: ScheduleId(1),
            name: "s".to_owned(),
            task_id: TaskId(1),
            definition,
            paused_at: None,
            paused_by: None,
            pause_reason: None,
            paused_until: None,
            next_due_at: Some(T0.plus_millis(10_000)),
            settled_until: T0,
        };
        (schedule, timing)
    }

    fn outcomes(schedule: &(Schedule, CompiledTiming), after_ms: i64) -> Vec<(TickOutcome, i64, bool)> {
        let plan = settle(&schedule.0, &schedule.1, T0.plus_millis(after_ms));
        plan.ticks.into_iter().map(|tick| (tick.outcome, tick.count, tick.makes_job)).collect()
    }

    #[test]
    fn a_due_time_on_time_starts_one_job() {
        let one = schedule(MisfirePolicy::RunOnce);
        assert_eq!(outcomes(&one, 9_999), vec![]);
        assert_eq!(outcomes(&one, 10_003), vec![(TickOutcome::Started, 1, true)]);
    }

    #[test]
    fn missed_due_times_follow_the_policy() {
        let once = schedule(MisfirePolicy::RunOnce);
        assert_eq!(outcomes(&once, 57_000), vec![(TickOutcome::CaughtUp, 5, true)]);
        assert_eq!(outcomes(&once, 50_001), vec![(TickOutcome::CaughtUp, 5, true)]);
        let split = vec![(TickOutcome::DroppedMisfire, 360, false), (TickOutcome::CaughtUp, 360, true)];
        assert_eq!(outcomes(&once, 7_200_000 + 9_000), split, "the window is an hour");
        let skip = schedule(MisfirePolicy::Skip);
        assert_eq!(outcomes(&skip, 57_000), vec![(TickOutcome::DroppedMisfire, 5, false)]);
        let both = vec![(TickOutcome::DroppedMisfire, 4, false), (TickOutcome::Started, 1, true)];
        assert_eq!(outcomes(&skip, 50_001), both);
        let all = schedule(MisfirePolicy::RunAll);
        assert_eq!(outcomes(&all, 30_001), vec![(TickOutcome::CaughtUp, 1, true); 3]);
    }

    #[test]
    fn run_all_is_bounded_and_says_what_it_dropped() {
        let all = schedule(MisfirePolicy::RunAll);
        let rows = outcomes(&all, 3_000_000);
        assert_eq!(rows[0], (TickOutcome::DroppedMisfire, 200, false));
        assert_eq!(rows.len(), 1 + CATCH_UP_MAX);
    }

    #[test]
    fn a_window_that_has_passed_drops_everything() {
        let mut once = schedule(MisfirePolicy::RunOnce);
        once.0.definition.misfire_window = Span::from_millis(1_000);
        assert_eq!(outcomes(&once, 57_000), vec![(TickOutcome::DroppedMisfire, 5, false)]);
        // What is on time is never too old.
        let both = vec![(TickOutcome::DroppedMisfire, 4, false), (TickOutcome::Started, 1, true)];
        assert_eq!(outcomes(&once, 50_001), both);
        once.0.definition.misfire_window = Span::ZERO;
        assert_eq!(outcomes(&once, 53_000), both);
        once.0.definition.misfire = MisfirePolicy::RunAll;
        let both = vec![(TickOutcome::DroppedMisfire, 4, false), (TickOutcome::CaughtUp, 1, true)];
        assert_eq!(outcomes(&once, 53_000), both);
    }

    /// Whatever the policies and the jitter: the rows are apart, in order, and stand for every due time once.
    #[test]
    fn every_due_time_that_has_passed_stands_in_one_row() {
        for misfire in [MisfirePolicy::RunOnce, MisfirePolicy::Skip, MisfirePolicy::RunAll] {
            for jitter in [0, 7_000] {
                for after_ms in [0, 9_999, 10_000, 17_003, 44_000, 1_234_567, 90_000_000] {
                    for pause in [None, Some((0, 25_000)), Some((22_000, 41_000)), Some((60_000, 50_000))] {
                        let (mut one, _) = schedule(misfire);
                        one.definition.jitter = Span::from_millis(jitter);
                        one.paused_at = pause.map(|(began, _)| T0.plus_millis(began));
                        one.paused_until = pause.map(|(_, end)| T0.plus_millis(end));
                        let timing = one.definition.compile("s").unwrap();
                        let now = T0.plus_millis(after_ms);
                        let plan = settle(&one, &timing, now);
                        let due: Vec<_> =
                            timing.due_in(T0, now, usize::MAX).iter().map(|due| due.tick).collect();
                        let mut next = 0;
                        for row in &plan.ticks {
                            assert_eq!(
                                row.first_due_at, due[next],
                                "{misfire:?} {jitter} {after_ms} {pause:?}"
                            );
                            next += usize::try_from(row.count).unwrap();
                            assert_eq!(
                                row.due_at,
                                due[next - 1],
                                "{misfire:?} {jitter} {after_ms} {pause:?}"
                            );
                        }
                        assert_eq!(next, due.len(), "{misfire:?} {jitter} {after_ms} {pause:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_pause_skips_what_falls_into_it_and_nothing_else() {
        let mut paused = schedule(MisfirePolicy::RunAll);
        paused.0.paused_at = Some(T0);
        assert_eq!(outcomes(&paused, 30_001), vec![(TickOutcome::SkippedPaused, 3, false)]);
        paused.0.paused_until = Some(T0.plus_millis(20_001));
        let expected = vec![(TickOutcome::SkippedPaused, 2, false), (TickOutcome::Started, 1, true)];
        assert_eq!(outcomes(&paused, 30_001), expected);
        assert!(settle(&paused.0, &paused.1, T0.plus_millis(30_001)).ends_pause);
        // What is due just at its end is not in it.
        paused.0.paused_until = Some(T0.plus_millis(20_000));
        let expected = vec![(TickOutcome::SkippedPaused, 1, false), (TickOutcome::Started, 1, true)];
        assert_eq!(outcomes(&paused, 20_000), expected);
    }

    #[test]
    fn what_was_due_before_a_pause_is_missed_and_only_the_rest_is_skipped() {
        let skipped = (TickOutcome::SkippedPaused, 2, false);
        let paused = |misfire| {
            let (one, timing) = schedule(misfire);
            (Schedule { paused_at: Some(T0.plus_millis(25_000)), ..one }, timing)
        };
        let late = (TickOutcome::CaughtUp, 2, true);
        let mut once = paused(MisfirePolicy::RunOnce);
        assert_eq!(outcomes(&once, 47_000), vec![late, skipped]);
        let dropped = (TickOutcome::DroppedMisfire, 2, false);
        assert_eq!(outcomes(&paused(MisfirePolicy::Skip), 47_000), vec![dropped, skipped]);
        let each = (TickOutcome::CaughtUp, 1, true);
        assert_eq!(outcomes(&paused(MisfirePolicy::RunAll), 47_000), vec![each, each, skipped]);
        // The window is counted back from now, not from the pause.
        once.0.definition.misfire_window = Span::from_millis(15_000);
        assert_eq!(outcomes(&once, 47_000), vec![dropped, skipped]);
        once.0.definition.misfire_window = Span::from_millis(3_600_000);
        once.0.paused_until = Some(T0.plus_millis(41_000));
        let started = (TickOutcome::Started, 1, true);
        assert_eq!(outcomes(&once, 50_001), vec![late, skipped, started]);
        // A pause of a clock that was ahead makes no jobs either.
        once.0.paused_until = None;
        once.0.paused_at = Some(T0.plus_millis(86_400_000));
        assert_eq!(outcomes(&once, 47_000), vec![(TickOutcome::SkippedPaused, 4, false)]);
        // So is what counts as on time.
        once.0.paused_at = Some(T0.plus_millis(11_000));
        assert_eq!(outcomes(&once, 15_000), vec![started]);
        assert_eq!(outcomes(&once, 15_001), vec![each]);
    }

    #[test]
    fn a_clock_that_goes_back_settles_nothing_twice() {
        let one = schedule(MisfirePolicy::RunOnce);
        let plan = settle(&one.0, &one.1, T0.plus_millis(-3_600_000));
        assert_eq!(plan.ticks, vec![]);
        assert_eq!(plan.settled_until, T0);
    }
}
