//! What one more due time of a schedule does to the jobs that are not final, how the ledger rolls up, and pauses.

use beadle::base::clock::Clock as _;
use beadle::domain::attempt::AttemptOutcome;
use beadle::domain::concurrency::{KeyLimit, LimitKey};
use beadle::domain::event::EventType;
use beadle::domain::id::{JobId, ScheduleId};
use beadle::domain::job::JobState;
use beadle::domain::new_job::{NewJob, TaskOfJob};
use beadle::domain::rejection::UserErrorCode;
use beadle::domain::schedule::{OverlapPolicy, Schedule, ScheduleDefinition, Tick, TickOutcome};
use beadle::domain::timing::Timing;
use beadle::store::prune::{Horizon, Prune};
use beadle::store::schedules::ScheduleAction;
use beadle::store::ticks::{NewTick, Settle, Trigger};

use super::schedules::{change, changes, every, job_of, put, schedule, settle, tick, trigger, with_task};
use super::stage::{Stage, T0, new_job_in, on_both};

/// A schedule of every 10 s with a policy.
async fn with_policy(stage: &Stage, overlap: OverlapPolicy) -> ScheduleId {
    with_task(stage).await;
    stage.apply(put("s", ScheduleDefinition { overlap, ..every(10) }, None)).await
}

fn rule(seen: &Schedule, until: i64, ticks: Vec<NewTick>) -> Settle {
    Settle { overlap: seen.definition.overlap, ..settle(seen, until, ticks) }
}

/// Lets a due time come, that many milliseconds from the beginning: the job that it made.
async fn due(stage: &Stage, id: ScheduleId, millis: i64) -> Option<JobId> {
    due_of(stage, id, millis, &job_of(id)).await
}

/// The same of a schedule that makes such a job, under the limit that its task has.
async fn due_of(stage: &Stage, id: ScheduleId, millis: i64, job: &NewJob) -> Option<JobId> {
    let seen = schedule(stage, id).await;
    let limit = seen.definition.overlap.limit(id, job.limit.clone());
    let job = NewJob { limit, ..job.clone() };
    stage.clock.set(T0.plus_millis(millis));
    let made = stage.apply(rule(&seen, millis, vec![tick(millis, Some(job))])).await;
    assert!(made.len() <= 1, "a due time makes at most one job");
    made.first().copied()
}

/// The ledger, oldest first.
async fn ledger(stage: &Stage, id: ScheduleId) -> Vec<Tick> {
    let page = stage.reader().ticks(id, i64::MAX, 100).await.expect("the store can be read");
    page.rows.into_iter().rev().map(|(_, tick)| tick).collect()
}

/// The ledger, oldest first: from, to (in seconds from the beginning), outcome, count.
async fn rows(stage: &Stage, id: ScheduleId) -> Vec<(i64, i64, TickOutcome, i32)> {
    let seconds = |at: beadle::base::clock::Timestamp| (at.0 - T0.0).div_euclid(1_000_000);
    let ticks = ledger(stage, id).await;
    ticks
        .iter()
        .map(|tick| (seconds(tick.first_due_at), seconds(tick.due_at), tick.outcome, tick.count))
        .collect()
}

#[test]
fn queue_one_lets_one_job_wait_and_skips_while_it_does() {
    on_both(async |stage| {
        let id = with_policy(&stage, OverlapPolicy::QueueOne).await;
        let first = due(&stage, id, 10_000).await.expect("nothing is in the way");
        assert_eq!(due(&stage, id, 20_000).await, None, "the first one waits itself");
        let worker = stage.worker().await;
        let claimed = stage.hand.claim(worker, 1).await.remove(0);
        assert_eq!(claimed.job.id, first);
        let second = due(&stage, id, 30_000).await.expect("nothing waits behind the one that runs");
        for millis in [40_000, 50_000] {
            assert_eq!(due(&stage, id, millis).await, None);
        }
        stage.end(&claimed, AttemptOutcome::Succeeded).await;
        assert_eq!(due(&stage, id, 60_000).await, None, "the second one still waits");
        for job in [first, second] {
            assert_eq!(stage.job(job).await.limit_key, Some(LimitKey::Schedule(id)), "one runs at a time");
        }
        let expected = [
            (10, 10, TickOutcome::Started, 1),
            (20, 20, TickOutcome::SkippedOverlap, 1),
            (30, 30, TickOutcome::Started, 1),
            (40, 60, TickOutcome::SkippedOverlap, 3),
        ];
        assert_eq!(rows(&stage, id).await, expected);
    });
}

#[test]
fn queue_all_skips_nothing_and_its_jobs_share_a_limit_of_one() {
    on_both(async |stage| {
        let id = with_policy(&stage, OverlapPolicy::QueueAll).await;
        for millis in [10_000, 20_000, 30_000] {
            let job = due(&stage, id, millis).await.expect("every due time makes a job");
            assert_eq!(stage.job(job).await.limit_key, Some(LimitKey::Schedule(id)));
        }
        assert!(rows(&stage, id).await.iter().all(|row| row.2 == TickOutcome::Started));
    });
}

#[test]
fn a_line_waits_for_jobs_that_were_made_before_it_or_beside_it() {
    on_both(async |stage| check_line(&stage, None).await);
    // A task's own limit gives way to the line, also of those that came before.
    on_both(async |stage| check_line(&stage, Some(5)).await);
}

async fn check_line(stage: &Stage, of_task: Option<i32>) {
    let (task, id) = (with_task(stage).await, with_policy(stage, OverlapPolicy::Skip).await);
    let job = NewJob {
        task: Some(TaskOfJob { id: task, name: "t".to_owned(), revision: 1 }),
        limit: of_task.map(|limit| KeyLimit { key: LimitKey::Task(task), limit }),
        ..job_of(id)
    };
    let due = async |millis| due_of(stage, id, millis, &job).await.expect("nothing is in the way");
    let worker = stage.worker().await;
    let claim = async || stage.hand.claim(worker, 4).await;
    let before = due(10_000).await;
    let one = claim().await.remove(0);
    let in_line = ScheduleDefinition { overlap: OverlapPolicy::QueueAll, ..every(10) };
    stage.apply(put("s", in_line, None)).await;
    let first = due(20_000).await;
    assert_eq!(stage.job(before).await.limit_key, Some(LimitKey::Schedule(id)));
    assert!(claim().await.is_empty(), "the one of the old policy runs");
    stage.end(&one, AttemptOutcome::Succeeded).await;
    let one = claim().await.remove(0);
    assert_eq!(one.job.id, first);
    stage.end(&one, AttemptOutcome::Succeeded).await;
    let by_hand = Trigger { job: job.clone(), ignore_overlap: true, ..trigger(id, None) };
    let beside = stage.apply(by_hand).await;
    let one = claim().await.remove(0);
    assert_eq!(one.job.id, beside);
    let second = due(30_000).await;
    assert!(claim().await.is_empty(), "the one by hand runs");
    stage.end(&one, AttemptOutcome::Succeeded).await;
    assert_eq!(claim().await.remove(0).job.id, second);
}

#[test]
fn cancel_running_cancels_what_waits_and_asks_what_runs_to_stop() {
    on_both(async |stage| {
        let id = with_policy(&stage, OverlapPolicy::CancelRunning).await;
        let other = stage.enqueue(new_job_in("default")).await;
        let first = due(&stage, id, 10_000).await.expect("a job");
        let (worker, mut claimed) = (stage.worker().await, Vec::new());
        claimed.extend(stage.hand.claim(worker, 2).await);
        let second = due(&stage, id, 20_000).await.expect("a job");
        let running = stage.job(first).await;
        assert_eq!(
            (running.state, running.stop_requested_at),
            (JobState::Running, Some(T0.plus_millis(20_000)))
        );
        assert_eq!(stage.state(second).await, JobState::Queued);
        let third = due(&stage, id, 30_000).await.expect("a job");
        assert_eq!(stage.state(second).await, JobState::Cancelled, "it waited");
        assert_eq!(stage.state(third).await, JobState::Queued);
        assert_eq!(stage.job(other).await.stop_requested_at, None, "no job of the schedule");
        for one in &claimed {
            stage.end(one, AttemptOutcome::Cancelled).await;
        }
        assert_eq!(stage.state(first).await, JobState::Cancelled);
        let counts = stage.reader().count_all_jobs().await.unwrap().counts;
        assert_eq!((counts.get(&JobState::Queued), counts.get(&JobState::Cancelled)), (Some(&1), Some(&3)));
        assert!(rows(&stage, id).await.iter().all(|row| row.2 == TickOutcome::Started));
    });
}

#[test]
fn cancel_running_leaves_everything_when_the_new_job_is_refused() {
    on_both(async |stage| {
        let id = with_policy(&stage, OverlapPolicy::CancelRunning).await;
        let first = due(&stage, id, 10_000).await.expect("a job");
        let seen = schedule(&stage, id).await;
        let nowhere = NewJob { schedule_id: Some(id), ..new_job_in("nowhere") };
        assert_eq!(stage.apply(rule(&seen, 20_000, vec![tick(20_000, Some(nowhere.clone()))])).await, []);
        let by_hand = Trigger { job: nowhere, ..trigger(id, None) };
        assert_eq!(stage.rejection(by_hand).await.code, UserErrorCode::NotFound);
        assert_eq!(stage.state(first).await, JobState::Queued);
    });
}

#[test]
fn more_jobs_than_one_look_sees_are_cancelled() {
    on_both(async |stage| {
        let id = with_policy(&stage, OverlapPolicy::CancelRunning).await;
        for _ in 0..205 {
            stage.enqueue(job_of(id)).await;
        }
        let made = due(&stage, id, 10_000).await.expect("a job");
        assert_eq!(stage.number("SELECT count(*) FROM jobs WHERE state = 'CANCELLED'").await, 205);
        assert_eq!(stage.state(made).await, JobState::Queued);
    });
}

#[test]
fn a_run_by_hand_follows_the_policy_unless_it_is_told_not_to() {
    on_both(async |stage| {
        let id = with_policy(&stage, OverlapPolicy::QueueOne).await;
        let to = async |overlap| {
            stage.apply(put("s", ScheduleDefinition { overlap, ..every(10) }, None)).await;
        };
        stage.apply(trigger(id, None)).await;
        let refused = stage.rejection(trigger(id, None)).await;
        assert_eq!(refused.code, UserErrorCode::Conflict);
        assert!(refused.message.contains("waits already"), "{}", refused.message);
        let worker = stage.worker().await;
        assert_eq!(stage.hand.claim(worker, 1).await.len(), 1);
        stage.apply(trigger(id, None)).await;
        assert_eq!(due(&stage, id, 10_000).await, None, "runs by hand count");
        to(OverlapPolicy::QueueAll).await;
        stage.apply(trigger(id, None)).await;
        to(OverlapPolicy::Allow).await;
        stage.apply(trigger(id, None)).await;
        to(OverlapPolicy::Skip).await;
        assert_eq!(stage.rejection(trigger(id, None)).await.code, UserErrorCode::Conflict);
        to(OverlapPolicy::CancelRunning).await;
        stage.apply(Trigger { ignore_overlap: true, ..trigger(id, None) }).await;
        assert_eq!(stage.number("SELECT count(*) FROM jobs WHERE stop_requested_at_us IS NOT NULL").await, 0);
        let last = stage.apply(trigger(id, None)).await;
        assert_eq!(stage.number("SELECT count(*) FROM jobs WHERE state = 'CANCELLED'").await, 4);
        assert_eq!(
            stage
                .number(
                    "SELECT count(*) FROM jobs WHERE state = 'RUNNING' AND stop_requested_at_us IS NOT NULL"
                )
                .await,
            1
        );
        assert_eq!(stage.state(last).await, JobState::Queued);
        stage.apply(change(id, ScheduleAction::Delete)).await;
        assert_eq!(stage.rejection(trigger(id, None)).await.code, UserErrorCode::NotFound);
    });
}

#[test]
fn a_run_by_hand_at_a_due_time_does_not_take_its_place() {
    on_both(async |stage| {
        let id = with_policy(&stage, OverlapPolicy::Allow).await;
        stage.clock.set(T0.plus_millis(10_000));
        stage.apply(trigger(id, None)).await;
        stage.apply(trigger(id, None)).await;
        assert!(due(&stage, id, 10_000).await.is_some());
        let outcomes: Vec<_> = ledger(&stage, id).await.iter().map(|tick| tick.outcome).collect();
        assert_eq!(outcomes, [TickOutcome::Started, TickOutcome::Triggered, TickOutcome::Triggered]);
    });
}

fn paused(first: i64, last: i64, count: i64) -> NewTick {
    NewTick {
        first_due_at: T0.plus_millis(first),
        outcome: TickOutcome::SkippedPaused,
        count,
        ..tick(last, None)
    }
}

#[test]
fn a_run_of_skips_is_one_row_and_one_event_until_something_happens() {
    on_both(async |stage| {
        let id = with_policy(&stage, OverlapPolicy::Skip).await;
        due(&stage, id, 10_000).await.expect("a job");
        for millis in (20_000..=60_000).step_by(10_000) {
            assert_eq!(due(&stage, id, millis).await, None);
        }
        let events = changes(&stage, EventType::ScheduleTicked).await;
        assert_eq!(events, 2, "the start, and the first of the skips");
        for (until, skips) in [(80_000, paused(70_000, 80_000, 2)), (90_000, paused(90_000, 90_000, 1))] {
            let seen = schedule(&stage, id).await;
            stage.apply(rule(&seen, until, vec![skips])).await;
        }
        // A run by hand between two skips ends the row.
        stage.clock.set(T0.plus_millis(95_000));
        stage.apply(Trigger { ignore_overlap: true, ..trigger(id, None) }).await;
        let seen = schedule(&stage, id).await;
        stage.apply(rule(&seen, 100_000, vec![paused(100_000, 100_000, 1)])).await;
        let expected = [
            (10, 10, TickOutcome::Started, 1),
            (20, 60, TickOutcome::SkippedOverlap, 5),
            (70, 90, TickOutcome::SkippedPaused, 3),
            (95, 95, TickOutcome::Triggered, 1),
            (100, 100, TickOutcome::SkippedPaused, 1),
        ];
        assert_eq!(rows(&stage, id).await, expected);
        assert_eq!(changes(&stage, EventType::ScheduleTicked).await, 5);
        // Every due time of the row is dealt with, also when somebody puts the schedule back by hand.
        stage.execute(&format!("UPDATE schedules SET settled_until_us = {}", T0.0)).await;
        let seen = schedule(&stage, id).await;
        let again = (1..=10).map(|number| tick(number * 10_000, Some(job_of(id)))).collect();
        assert_eq!(
            stage.apply(Settle { overlap: OverlapPolicy::Allow, ..settle(&seen, 100_000, again) }).await,
            []
        );
        assert_eq!(rows(&stage, id).await, expected);
    });
}

#[test]
fn a_row_that_counts_on_is_kept_as_long_as_its_newest_due_time() {
    on_both(async |stage| {
        let id = with_policy(&stage, OverlapPolicy::Skip).await;
        for until in [10_000, 20_000] {
            let seen = schedule(&stage, id).await;
            stage.clock.set(T0.plus_millis(until));
            stage.apply(rule(&seen, until, vec![paused(until, until, 1)])).await;
        }
        let before = |millis| {
            let at = T0.plus_millis(millis);
            Horizon { succeeded: at, failed: at, keys: at }
        };
        stage.apply(Prune { horizon: before(15_000) }).await;
        assert_eq!(rows(&stage, id).await, [(10, 20, TickOutcome::SkippedPaused, 2)]);
        stage.execute("DELETE FROM events").await;
        assert!(!stage.reader().has_old_rows(before(20_000), stage.clock.now()).await.unwrap());
        assert!(
            stage.reader().has_old_rows(before(20_001), stage.clock.now()).await.unwrap(),
            "the tick alone is old"
        );
        stage.apply(Prune { horizon: before(20_001) }).await;
        assert_eq!(rows(&stage, id).await, []);
    });
}

#[test]
fn a_pause_says_who_and_why_and_does_not_end_in_the_past() {
    on_both(async |stage| {
        let id = with_policy(&stage, OverlapPolicy::Skip).await;
        stage.pass_millis(5_000);
        let pause = |until: i64| {
            let reason = Some("disk".to_owned());
            change(id, ScheduleAction::Pause { reason, until: Some(T0.plus_millis(until)) })
        };
        for past in [4_000, 5_000] {
            let refused = stage.rejection(pause(past)).await;
            assert_eq!(
                (refused.code, refused.path),
                (UserErrorCode::Invalid, Some(vec!["until".to_owned()]))
            );
        }
        assert_eq!(schedule(&stage, id).await.paused_at, None);
        stage.apply(pause(5_001)).await;
        let stands = schedule(&stage, id).await;
        assert_eq!(
            (stands.paused_by.as_deref(), stands.pause_reason.as_deref()),
            (Some("tester"), Some("disk"))
        );
        stage.apply(Settle { ends_pause: true, ..settle(&stands, 6_000, vec![]) }).await;
        assert_eq!(schedule(&stage, id).await.paused_by, None);
        let mut by_put = put("s", every(20), Some(true));
        by_put.actor = "other".to_owned();
        stage.apply(by_put).await;
        assert_eq!(schedule(&stage, id).await.paused_by.as_deref(), Some("other"));
        stage.apply(put("s", every(30), Some(true))).await;
        assert_eq!(schedule(&stage, id).await.paused_by.as_deref(), Some("other"), "the first one did it");
        stage.apply(put("s", every(30), Some(false))).await;
        assert_eq!(schedule(&stage, id).await.paused_by, None);
    });
}

#[test]
fn a_pattern_that_never_fires_is_refused_and_an_equal_put_is_no_change() {
    on_both(async |stage| {
        let id = with_policy(&stage, OverlapPolicy::Skip).await;
        let cron = |cron: &str| ScheduleDefinition {
            timing: Timing::Cron { cron: cron.to_owned() },
            time_zone: "Europe/Berlin".to_owned(),
            ..every(10)
        };
        // The hour that the clocks of Berlin jump over, in elapsed time.
        let refused = stage.rejection(put("new", cron("*/5 2 * 3 SUNL"), None)).await;
        assert_eq!(refused.path, Some(vec!["timing".to_owned(), "cron".to_owned()]));
        assert_eq!(refused.code, UserErrorCode::Invalid);
        let before = changes(&stage, EventType::ScheduleChanged).await;
        stage.apply(put("s", every(10), None)).await;
        assert_eq!(changes(&stage, EventType::ScheduleChanged).await, before);
        stage.apply(put("s", every(11), None)).await;
        assert_eq!(changes(&stage, EventType::ScheduleChanged).await, before + 1);
        assert_eq!(schedule(&stage, id).await.definition, every(11));
    });
}

#[test]
fn a_new_rule_begins_behind_what_was_settled_also_when_the_clock_went_back() {
    on_both(async |stage| {
        let id = with_policy(&stage, OverlapPolicy::Allow).await;
        due(&stage, id, 3_600_000).await.expect("a job");
        stage.clock.set(T0.plus_millis(1_000));
        stage.apply(put("s", every(60), None)).await;
        let seen = schedule(&stage, id).await;
        assert_eq!(seen.settled_until, T0.plus_millis(3_600_000));
        assert!(seen.next_due_at > Some(seen.settled_until), "no due time comes under two rules");
    });
}
