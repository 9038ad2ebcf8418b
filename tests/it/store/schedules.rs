//! Schedules and their ledger: each due time is dealt with once, and a tick and its job are one.

use beadle::domain::attempt::AttemptOutcome;
use beadle::domain::duration::Span;
use beadle::domain::event::EventType;
use beadle::domain::filter::{EventFilter, ScheduleFilter};
use beadle::domain::id::{ScheduleId, TaskId, TokenId};
use beadle::domain::job::JobState;
use beadle::domain::new_job::{Idempotency, NewJob};
use beadle::domain::rejection::UserErrorCode;
use beadle::domain::schedule::{
    MisfirePolicy, OverlapPolicy, Schedule, ScheduleDefinition, SchedulePut, ScheduleRef, TickOutcome,
};
use beadle::domain::task::TaskRef;
use beadle::domain::timing::Timing;
use beadle::store::schedules::{ChangeSchedule, PutSchedule, ScheduleAction};
use beadle::store::tasks::{ArchiveTask, PutTask};
use beadle::store::ticks::{NewTick, Settle, Trigger};
use beadle::store::writer::{Batch, Change, Outcome};

use super::stage::{QUEUED_MAX, Stage, T0, new_job, new_job_in, on_both};
use super::tasks::task_put;

mod due;

/// A rule that is due every so many seconds.
pub fn every(seconds: i64) -> ScheduleDefinition {
    ScheduleDefinition {
        timing: Timing::Interval { every: Span::from_secs(seconds) },
        time_zone: "UTC".to_owned(),
        jitter: Span::ZERO,
        misfire: MisfirePolicy::RunOnce,
        misfire_window: Span::from_secs(3_600),
        overlap: OverlapPolicy::Skip,
        parameters: None,
    }
}

/// A schedule to be put, none of whose due times waits to be settled.
#[derive(Debug)]
pub struct Put {
    /// What it shall be.
    pub schedule: SchedulePut,
    /// Who asks.
    pub actor: String,
}

impl Put {
    /// The plain change, which also says when something waits to be settled.
    pub fn plain(&self) -> PutSchedule {
        PutSchedule { schedule: self.schedule.clone(), actor: self.actor.clone() }
    }
}

impl Change for Put {
    type Answer = ScheduleId;

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<ScheduleId> {
        let put = self.plain();
        Ok(put.apply(batch).await?.expect("no due time waits to be settled"))
    }
}

/// A schedule of the task `t` to be put.
pub fn put(name: &str, definition: ScheduleDefinition, is_paused: Option<bool>) -> Put {
    let task = TaskRef::Name("t".to_owned());
    let schedule = SchedulePut { name: name.to_owned(), task, definition, is_paused };
    Put { schedule, actor: "tester".to_owned() }
}

/// A change by a tester.
pub fn change(id: ScheduleId, action: ScheduleAction) -> ChangeSchedule {
    ChangeSchedule { schedule: ScheduleRef::Id(id), action, actor: "tester".to_owned() }
}

fn pause(id: ScheduleId, until: Option<i64>) -> ChangeSchedule {
    let until = until.map(|millis| T0.plus_millis(millis));
    change(id, ScheduleAction::Pause { reason: Some("it's late".to_owned()), until })
}

/// Makes the task `t`.
pub async fn with_task(stage: &Stage) -> TaskId {
    stage.apply(PutTask { task: task_put("t"), actor: "tester".to_owned() }).await
}

/// The schedule as it stands.
pub async fn schedule(stage: &Stage, id: ScheduleId) -> Schedule {
    let found = stage.reader().schedule(&ScheduleRef::Id(id)).await.expect("the store can be read");
    found.expect("the schedule exists")
}

/// How many events of a kind there are.
pub async fn changes(stage: &Stage, kind: EventType) -> usize {
    let filter = EventFilter { types: Some(vec![kind]), ..EventFilter::default() };
    stage.events(&filter).await.len()
}

/// Ticks of a schedule, newest first, in milliseconds from the beginning.
async fn ledger(stage: &Stage, id: ScheduleId) -> Vec<(i64, TickOutcome, bool)> {
    let page = stage.reader().ticks(id, i64::MAX, 100).await.expect("the store can be read");
    let shown = page
        .rows
        .into_iter()
        .map(|(_, tick)| ((tick.due_at.0 - T0.0) / 1_000, tick.outcome, tick.job_id.is_some()));
    shown.collect()
}

/// A job of the schedule.
pub fn job_of(id: ScheduleId) -> NewJob {
    NewJob { schedule_id: Some(id), ..new_job() }
}

/// A due time, that many milliseconds from the beginning, that makes `job`.
pub fn tick(millis: i64, job: Option<NewJob>) -> NewTick {
    let due_at = T0.plus_millis(millis);
    NewTick { due_at, first_due_at: due_at, outcome: TickOutcome::Started, count: 1, job }
}

/// Settles the schedule as it was seen up to then.
pub fn settle(seen: &Schedule, until: i64, ticks: Vec<NewTick>) -> Settle {
    Settle {
        id: seen.id,
        expected: seen.clone(),
        overlap: OverlapPolicy::Allow,
        settled_until: T0.plus_millis(until),
        next_due_at: Some(T0.plus_millis(until + 10_000)),
        ends_pause: false,
        ticks,
        queued_max: QUEUED_MAX,
    }
}

#[test]
fn an_equal_put_goes_on_where_the_schedule_stands_and_a_changed_one_begins_anew() {
    on_both(async |stage| {
        assert_eq!(stage.rejection(put("s", every(10), None)).await.code, UserErrorCode::NotFound);
        let task = with_task(&stage).await;
        let id = stage.apply(put("s", every(10), None)).await;
        let made = schedule(&stage, id).await;
        assert_eq!((made.task_id, made.next_due_at), (task, Some(T0.plus_millis(10_000))));
        assert_eq!((made.settled_until, made.paused_at), (T0, None));
        assert_eq!(made.definition, every(10));
        stage.pass_millis(25_000);
        assert_eq!(stage.apply(put("s", every(10), None)).await, id);
        let same = schedule(&stage, id).await;
        assert_eq!((same.next_due_at, same.settled_until), (made.next_due_at, T0), "no due time is lost");
        stage.apply(settle(&same, 25_000, vec![])).await;
        assert_eq!(stage.apply(put("s", every(60), None)).await, id);
        let other = schedule(&stage, id).await;
        assert_eq!(other.settled_until, T0.plus_millis(25_000));
        assert!(other.next_due_at > Some(T0.plus_millis(25_000)));
        stage.apply(ArchiveTask { task: TaskRef::Id(task), actor: "x".to_owned() }).await;
        assert_eq!(stage.rejection(put("s2", every(10), None)).await.code, UserErrorCode::NotFound);
    });
}

#[test]
fn a_pause_is_kept_by_puts_that_do_not_speak_of_it() {
    on_both(async |stage| {
        with_task(&stage).await;
        let id = stage.apply(put("s", every(10), Some(true))).await;
        stage.pass_millis(3);
        stage.apply(put("s", every(10), Some(true))).await;
        stage.apply(put("s", every(20), None)).await;
        assert_eq!(schedule(&stage, id).await.paused_at, Some(T0), "the first instant stands");
        stage.apply(put("s", every(20), Some(false))).await;
        assert_eq!(schedule(&stage, id).await.paused_at, None);
        stage.apply(pause(id, Some(60_000))).await;
        stage.apply(put("s", every(30), None)).await;
        let paused = schedule(&stage, id).await;
        assert_eq!(paused.pause_reason.as_deref(), Some("it's late"));
        assert_eq!(paused.paused_until, Some(T0.plus_millis(60_000)));
    });
}

#[test]
fn a_paused_schedule_is_looked_at_again_when_its_pause_ends() {
    on_both(async |stage| {
        with_task(&stage).await;
        let id = stage.apply(put("s", every(3_600), None)).await;
        stage.apply(pause(id, Some(5_000))).await;
        assert_eq!(stage.reader().next_schedule_due().await.unwrap(), Some(T0.plus_millis(5_000)));
        assert!(stage.reader().due_schedules(T0.plus_millis(4_999), 10).await.unwrap().is_empty());
        let due = stage.reader().due_schedules(T0.plus_millis(5_000), 10).await.unwrap();
        assert_eq!(due.iter().map(|schedule| schedule.id).collect::<Vec<_>>(), [id]);
        let seen = schedule(&stage, id).await;
        stage.apply(Settle { ends_pause: true, ..settle(&seen, 5_000, vec![]) }).await;
        let open = schedule(&stage, id).await;
        assert_eq!((open.paused_at, open.pause_reason, open.paused_until), (None, None, None));
        assert!(stage.reader().due_schedules(T0.plus_millis(5_000), 10).await.unwrap().is_empty());
        stage.apply(pause(id, None)).await;
        stage.apply(change(id, ScheduleAction::Resume)).await;
        assert_eq!(
            stage.reader().due_schedules(T0, 10).await.unwrap().len(),
            1,
            "at once, to settle the span"
        );
    });
}

#[test]
fn what_stands_already_is_no_change() {
    on_both(async |stage| {
        with_task(&stage).await;
        let id = stage.apply(put("s", every(10), None)).await;
        let before = changes(&stage, EventType::ScheduleChanged).await;
        stage.apply(change(id, ScheduleAction::Resume)).await;
        assert_eq!(changes(&stage, EventType::ScheduleChanged).await, before);
        assert!(stage.reader().due_schedules(T0.plus_millis(1), 10).await.unwrap().is_empty());
        let gone = change(ScheduleId(404), ScheduleAction::Resume);
        assert_eq!(stage.rejection(gone).await.code, UserErrorCode::NotFound);
    });
}

#[test]
fn a_deleted_schedule_leaves_its_jobs() {
    on_both(async |stage| {
        with_task(&stage).await;
        let id = stage.apply(put("s", every(10), None)).await;
        let seen = schedule(&stage, id).await;
        let made = stage.apply(settle(&seen, 10_000, vec![tick(10_000, Some(job_of(id)))])).await;
        stage.apply(change(id, ScheduleAction::Delete)).await;
        assert!(stage.reader().schedule(&ScheduleRef::Name("s".to_owned())).await.unwrap().is_none());
        assert_eq!(stage.job(made[0]).await.schedule_id, Some(id));
        assert_eq!(stage.apply(settle(&seen, 20_000, vec![tick(20_000, Some(job_of(id)))])).await, []);
        let again = stage.apply(put("s", every(10), None)).await;
        assert_ne!(again, id, "an id is never given twice");
        assert_eq!(ledger(&stage, again).await, []);
    });
}

#[test]
fn a_schedule_that_stands_elsewhere_is_not_settled() {
    on_both(async |stage| {
        with_task(&stage).await;
        let id = stage.apply(put("s", every(10), None)).await;
        let seen = schedule(&stage, id).await;
        let first = stage.apply(settle(&seen, 10_000, vec![tick(10_000, Some(job_of(id)))])).await;
        assert_eq!(first.len(), 1);
        let late = settle(&seen, 20_000, vec![tick(20_000, Some(job_of(id)))]);
        assert_eq!(stage.apply(late).await, [], "another one was faster");
        let now = schedule(&stage, id).await;
        assert_eq!(now.settled_until, T0.plus_millis(10_000));
        stage.apply(pause(id, None)).await;
        let unaware = settle(&now, 20_000, vec![tick(20_000, Some(job_of(id)))]);
        assert_eq!(stage.apply(unaware).await, [], "it was paused meanwhile");
        assert_eq!(ledger(&stage, id).await, [(10_000, TickOutcome::Started, true)]);
        assert_eq!(changes(&stage, EventType::ScheduleTicked).await, 1);
        assert_eq!(stage.number("SELECT count(*) FROM jobs").await, 1);
    });
}

#[test]
fn a_due_time_makes_one_job_also_when_the_clock_goes_back() {
    on_both(async |stage| {
        with_task(&stage).await;
        let id = stage.apply(put("s", every(10), None)).await;
        let seen = schedule(&stage, id).await;
        stage.apply(settle(&seen, 10_000, vec![tick(10_000, Some(job_of(id)))])).await;
        // A hand, or a clock that was far ahead, put the schedule back.
        stage.execute(&format!("UPDATE schedules SET settled_until_us = {}", T0.0)).await;
        let again =
            settle(&seen, 20_000, vec![tick(10_000, Some(job_of(id))), tick(20_000, Some(job_of(id)))]);
        assert_eq!(stage.apply(again).await.len(), 1);
        let expected = [(20_000, TickOutcome::Started, true), (10_000, TickOutcome::Started, true)];
        assert_eq!(ledger(&stage, id).await, expected);
        assert_eq!(stage.number("SELECT count(*) FROM jobs").await, 2);
    });
}

#[test]
fn an_overlap_is_decided_where_nobody_comes_in_between() {
    on_both(async |stage| {
        with_task(&stage).await;
        let id = stage.apply(put("s", every(10), None)).await;
        let seen = schedule(&stage, id).await;
        let both = vec![tick(10_000, Some(job_of(id))), tick(20_000, Some(job_of(id)))];
        let made = stage.apply(Settle { overlap: OverlapPolicy::Skip, ..settle(&seen, 20_000, both) }).await;
        assert_eq!(made.len(), 1);
        let expected = [(20_000, TickOutcome::SkippedOverlap, false), (10_000, TickOutcome::Started, true)];
        assert_eq!(ledger(&stage, id).await, expected);
        let seen = schedule(&stage, id).await;
        let next = vec![tick(30_000, Some(job_of(id)))];
        let none = stage.apply(Settle { overlap: OverlapPolicy::Skip, ..settle(&seen, 30_000, next) }).await;
        assert_eq!(none, []);
        let worker = stage.worker().await;
        let claimed = stage.hand.claim(worker, 1).await.remove(0);
        stage.end(&claimed, AttemptOutcome::Succeeded).await;
        let seen = schedule(&stage, id).await;
        let free = vec![tick(40_000, Some(job_of(id)))];
        let made = stage.apply(Settle { overlap: OverlapPolicy::Skip, ..settle(&seen, 40_000, free) }).await;
        assert_eq!(made.len(), 1);
    });
}

#[test]
fn a_due_time_whose_job_is_refused_is_dropped_and_says_so() {
    on_both(async |stage| {
        with_task(&stage).await;
        let id = stage.apply(put("s", every(10), None)).await;
        let seen = schedule(&stage, id).await;
        let nowhere = NewJob { schedule_id: Some(id), ..new_job_in("nowhere") };
        assert_eq!(stage.apply(settle(&seen, 10_000, vec![tick(10_000, Some(nowhere))])).await, []);
        let seen = schedule(&stage, id).await;
        let full = Settle { queued_max: 0, ..settle(&seen, 20_000, vec![tick(20_000, Some(job_of(id)))]) };
        assert_eq!(stage.apply(full).await, []);
        let dropped = |millis| (millis, TickOutcome::DroppedMisfire, false);
        assert_eq!(ledger(&stage, id).await, [dropped(20_000), dropped(10_000)]);
    });
}

/// A run by hand.
pub fn trigger(id: ScheduleId, key: Option<&str>) -> Trigger {
    let idempotency =
        key.map(|key| Idempotency { token_id: TokenId(1), key: key.to_owned(), digest: "same".to_owned() });
    let job = NewJob { idempotency, ..job_of(id) };
    Trigger { schedule: id, job, ignore_overlap: false, queued_max: QUEUED_MAX }
}

#[test]
fn a_trigger_meets_the_job_that_is_not_final_yet() {
    on_both(async |stage| {
        with_task(&stage).await;
        let id = stage.apply(put("s", every(10), None)).await;
        let first = stage.apply(trigger(id, Some("a"))).await;
        let refused = stage.rejection(trigger(id, None)).await;
        assert_eq!(refused.code, UserErrorCode::Conflict);
        assert!(refused.message.contains(&first.to_string()), "{}", refused.message);
        assert_eq!(stage.rejection(trigger(id, Some("b"))).await.code, UserErrorCode::Conflict);
        assert_eq!(stage.apply(trigger(id, Some("a"))).await, first, "a repeat is no second trigger");
        let second = stage.apply(Trigger { ignore_overlap: true, ..trigger(id, Some("c")) }).await;
        assert_ne!(second, first);
        assert_eq!(stage.number("SELECT count(*) FROM jobs").await, 2);
        assert_eq!(ledger(&stage, id).await.len(), 2, "also two at one instant");
        let (claimed_by, mut open) = (stage.worker().await, 2);
        for claimed in stage.hand.claim(claimed_by, 5).await {
            assert_eq!(stage.rejection(trigger(id, None)).await.code, UserErrorCode::Conflict);
            stage.end(&claimed, AttemptOutcome::Exited).await;
            open -= 1;
        }
        assert_eq!(open, 0);
        let third = stage.apply(trigger(id, None)).await;
        assert_eq!(stage.state(third).await, JobState::Queued);
    });
}

#[test]
fn schedules_are_listed_by_name_under_a_filter_and_ticks_newest_first() {
    on_both(async |stage| {
        let task = with_task(&stage).await;
        for name in ["zebra", "Alpha", "émile", "beta"] {
            stage.apply(put(name, every(10), Some(name == "beta"))).await;
        }
        let names = async |filter: ScheduleFilter, after: &str, limit: usize| {
            let page = stage.reader().schedules(&filter, after, limit).await.unwrap();
            let names: Vec<_> = page.rows.into_iter().map(|(name, _)| name).collect();
            (names.join(" "), page.has_more)
        };
        let all = ScheduleFilter::default;
        assert_eq!(names(all(), "", 9).await, ("Alpha beta zebra émile".to_owned(), false));
        assert_eq!(names(all(), "beta", 1).await, ("zebra".to_owned(), true));
        let paused = |is_paused| ScheduleFilter { is_paused: Some(is_paused), ..all() };
        assert_eq!(names(paused(true), "", 9).await.0, "beta");
        assert_eq!(names(paused(false), "", 9).await.0, "Alpha zebra émile");
        let of = |task| ScheduleFilter { task: Some(task), ..all() };
        assert_eq!(names(of(TaskRef::Id(task)), "", 9).await.0.split(' ').count(), 4);
        assert_eq!(names(of(TaskRef::Name("other".to_owned())), "", 9).await.0, "");
        assert_eq!(stage.reader().schedules_of(task, 3).await.unwrap().len(), 3);
        let id = stage.reader().schedules_of(task, 1).await.unwrap()[0].id;
        let seen = schedule(&stage, id).await;
        let ticks = (1..=5).map(|number| tick(number * 10_000, None)).collect();
        stage.apply(settle(&seen, 50_000, ticks)).await;
        let first = stage.reader().ticks(id, i64::MAX, 2).await.unwrap();
        assert!(first.has_more);
        let before = first.rows[1].0.parse().unwrap();
        let rest = stage.reader().ticks(id, before, 10).await.unwrap();
        let rest: Vec<_> = rest.rows.iter().map(|(_, tick)| (tick.due_at.0 - T0.0) / 1_000_000).collect();
        assert_eq!(rest, [30, 20, 10]);
    });
}
