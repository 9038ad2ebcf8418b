//! What is due when a rule changes or many schedules are due: it is settled first, the oldest before the others, and
//! together.

use std::sync::Arc;

use beadle::base::clock::{FakeClock, within};
use beadle::domain::access::Viewer;
use beadle::domain::duration::Span;
use beadle::domain::event::EventType;
use beadle::domain::id::TokenId;
use beadle::domain::schedule::{ScheduleDefinition, SchedulePutInput, ScheduleRef, TickOutcome, TimingInput};
use beadle::domain::task::TaskRef;
use beadle::engine::scheduler;
use beadle::store::FaultKind;
use beadle::store::schedules::ScheduleAction;
use beadle::store::writer::{Outcome, Refusal};
use futures_util::poll;
use tokio::task::yield_now;

use super::super::clock_steps::engine;
use super::super::group_commit::Gate;
use super::super::stage::{Stage, T0, on_both};
use super::{change, changes, every, ledger, pause, put, schedule, settle, with_task};
use crate::support::wait::{PATIENCE, now};

#[test]
fn a_schedule_is_not_changed_before_what_was_due_is_settled() {
    on_both(async |stage| {
        with_task(&stage).await;
        let id = stage.apply(put("s", every(10), None)).await;
        stage.pass_millis(10_000);
        for other in [put("s", every(60), None), put("s", every(10), Some(true))] {
            assert_eq!(stage.apply(other.plain()).await, None);
        }
        // Else a job for what was due comes behind the answer that there are none.
        assert_eq!(stage.apply(pause(id, None)).await, None);
        let stands = schedule(&stage, id).await;
        assert_eq!(stands.definition, every(10));
        assert_eq!((stands.paused_at, stands.settled_until), (None, T0));
        assert_eq!(changes(&stage, EventType::ScheduleChanged).await, 1);
        stage.apply(settle(&stands, 10_000, vec![])).await;
        assert_eq!(stage.apply(put("s", every(60), None).plain()).await, Some(id));
        // So is the end of a pause that has passed: what was due behind it is not skipped as paused.
        stage.apply(pause(id, Some(70_000))).await;
        stage.pass_millis(120_000);
        assert_eq!(stage.apply(put("s", every(10), None).plain()).await, None);
        // And a pause that is wanted all the same: it would end with the old one.
        assert_eq!(stage.apply(put("s", every(60), Some(true)).plain()).await, None);
        stage.apply(change(id, ScheduleAction::Resume)).await;
        assert_eq!(schedule(&stage, id).await.paused_until, Some(T0.plus_millis(70_000)));
        let stands = schedule(&stage, id).await;
        stage.apply(settle(&stands, 130_000, vec![])).await;
        stage.execute("UPDATE schedules SET paused_at_us = NULL, paused_until_us = NULL").await;
        // A rule that can no longer be read is never settled.
        stage.execute("UPDATE schedules SET definition = replace(definition, 'UTC', 'Mars/Olympus')").await;
        stage.pass_millis(600_000);
        assert_eq!(stage.apply(put("s", every(10), None).plain()).await, Some(id));
        assert_eq!(schedule(&stage, id).await.definition, every(10));
    });
}

fn viewer() -> Viewer {
    Viewer { token_id: TokenId(1), token_name: "me".to_owned(), grants: Vec::new(), expires_at: None }
}

/// The schedule `s` as a caller puts it.
fn input(seconds: i64) -> SchedulePutInput {
    let ScheduleDefinition { time_zone, jitter, misfire, misfire_window, overlap, parameters, .. } = every(1);
    SchedulePutInput {
        name: "s".to_owned(),
        task: TaskRef::Name("t".to_owned()),
        timing: TimingInput::Every(Span::from_secs(seconds)),
        time_zone,
        jitter,
        misfire,
        misfire_window,
        overlap,
        parameters,
        is_paused: None,
    }
}

/// Waits until so many changes wait for the writer, which is held.
async fn until_waiting(stage: &Stage, count: usize) {
    let all = async {
        while stage.writer().waiting_count() < count {
            yield_now().await;
        }
    };
    within(PATIENCE, all).await.expect("they wait together");
}

/// Asks for a change of the schedule at whose turn a due time has just passed.
async fn ask_across_a_due_time<T>(stage: &Stage, asking: impl Future<Output = Outcome<T>>) -> T {
    stage.pass_millis(9_999);
    let gate = Gate::new();
    let mut held = Box::pin(stage.writer().apply(gate.clone()));
    assert!(poll!(held.as_mut()).is_pending());
    gate.entered.acquire().await.expect("the gate stays").forget();
    let passing = async {
        until_waiting(stage, 1).await;
        stage.pass_millis(2);
        gate.open.add_permits(1);
    };
    let (asked, ()) = tokio::join!(asking, passing);
    held.await.expect("the gate is opened");
    asked.expect("it can be changed")
}

#[test]
fn a_due_time_that_passes_while_a_new_rule_waits_for_its_turn_is_settled_first() {
    on_both(async |stage| {
        with_task(&stage).await;
        let id = stage.apply(put("s", every(10), None)).await;
        let engine = engine(&stage, &stage.hand).await;
        let (put, _) = ask_across_a_due_time(&stage, engine.put_schedule(&viewer(), input(60))).await;
        assert_eq!(put, id);
        assert_eq!(ledger(&stage, id).await, [(10_000, TickOutcome::Started, true)]);
        let stands = schedule(&stage, id).await;
        assert_eq!((stands.definition, stands.settled_until), (every(60), T0.plus_millis(10_001)));
    });
}

#[test]
fn a_due_time_that_passes_while_a_pause_waits_for_its_turn_makes_its_job_before_the_answer() {
    on_both(async |stage| {
        with_task(&stage).await;
        let id = stage.apply(put("s", every(10), None)).await;
        let engine = engine(&stage, &stage.hand).await;
        let action = ScheduleAction::Pause { reason: None, until: None };
        let person = viewer();
        let asking = engine.change_schedule(&person, ScheduleRef::Id(id), action);
        ask_across_a_due_time(&stage, asking).await;
        assert_eq!(ledger(&stage, id).await, [(10_000, TickOutcome::Started, true)]);
        let stands = schedule(&stage, id).await;
        assert_eq!(stands.settled_until, T0.plus_millis(10_001));
        assert!(stands.paused_at.is_some());
    });
}

#[test]
fn a_rule_whose_due_times_pass_faster_than_they_are_settled_stays() {
    on_both(async |stage| {
        with_task(&stage).await;
        let id = stage.apply(put("s", every(10), None)).await;
        // To the engine, whose clock stands, none has passed whenever the store says so.
        let clock = Arc::clone(&stage.clock);
        let stage = Stage { clock: Arc::new(FakeClock::new(T0)), ..stage };
        let engine = engine(&stage, &stage.hand).await;
        clock.set(T0.plus_millis(10_001));
        let Err(Refusal::Fault(fault)) = engine.put_schedule(&viewer(), input(60)).await else {
            panic!("the rule was changed")
        };
        assert_eq!(fault.kind, FaultKind::Overloaded, "{fault}");
        let stands = schedule(&stage, id).await;
        assert_eq!((stands.definition, stands.settled_until), (every(10), T0));
    });
}

#[test]
fn what_has_waited_longest_is_settled_first() {
    on_both(async |stage| {
        with_task(&stage).await;
        let late = stage.apply(put("a", every(100), None)).await;
        let early = stage.apply(put("b", every(10), None)).await;
        let paused = stage.apply(put("c", every(3_600), None)).await;
        stage.apply(pause(paused, Some(5_000))).await;
        let due = async |limit| {
            let due = stage.reader().due_schedules(T0.plus_millis(200_000), limit).await.unwrap();
            due.iter().map(|schedule| schedule.id).collect::<Vec<_>>()
        };
        assert_eq!(due(9).await, [paused, early, late]);
        assert_eq!(due(2).await, [paused, early]);
        // One that is never due again still has a pause to end.
        stage.execute(&format!("UPDATE schedules SET next_due_us = NULL WHERE id = {}", paused.0)).await;
        assert_eq!(due(9).await, [paused, early, late]);
    });
}

#[test]
fn a_hundred_that_cannot_be_settled_do_not_stand_before_the_others() {
    on_both(async |stage| {
        with_task(&stage).await;
        for number in 0..100 {
            stage.apply(put(&format!("bad{number}"), every(5), None)).await;
        }
        stage.execute("UPDATE schedules SET definition = replace(definition, 'UTC', 'Mars/Olympus')").await;
        let mut ids = Vec::new();
        for number in 0..3 {
            ids.push(stage.apply(put(&format!("s{number}"), every(10), None)).await);
        }
        let engine = engine(&stage, &stage.hand).await;
        stage.pass_millis(10_001);
        scheduler::look(&engine).await.expect("the store answers");
        for id in ids {
            assert_eq!(ledger(&stage, id).await, [(10_000, TickOutcome::Started, true)]);
        }
    });
}

#[test]
fn schedules_that_are_due_together_are_settled_in_one_turn_of_the_writer() {
    on_both(async |stage| {
        with_task(&stage).await;
        let mut ids = Vec::new();
        for name in ["a", "b", "c"] {
            ids.push(stage.apply(put(name, every(10), None)).await);
        }
        let engine = engine(&stage, &stage.hand).await;
        stage.pass_millis(10_001);
        let begun = now();
        let pulse = engine.health.pulse("scheduler", begun);
        let gate = Gate::new();
        let mut held = Box::pin(stage.writer().apply(gate.clone()));
        assert!(poll!(held.as_mut()).is_pending());
        gate.entered.acquire().await.unwrap().forget();
        let together = async {
            until_waiting(&stage, ids.len()).await;
            gate.open.add_permits(1);
        };
        let (looked, ()) = tokio::join!(scheduler::look(&engine), together);
        looked.expect("the store answers");
        held.await.unwrap();
        assert!(pulse.last() > begun, "a look of many pages is no standstill");
        for id in ids {
            assert_eq!(ledger(&stage, id).await, [(10_000, TickOutcome::Started, true)]);
        }
    });
}
