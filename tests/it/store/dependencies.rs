//! Jobs that wait for others: let go, skipped or run all the same, whatever ends first and wherever it ends.

use beadle::base::clock::Clock as _;
use beadle::domain::attempt::{AttemptOutcome, Ended};
use beadle::domain::event::EventType;
use beadle::domain::filter::EventFilter;
use beadle::domain::id::JobId;
use beadle::domain::job::{DependencyFailure, JobState};
use beadle::domain::new_job::{EarlierJob, NewJob, Unique, UniqueConflict};
use beadle::domain::rejection::UserErrorCode;
use beadle::store::claim::Claimed;
use beadle::store::dependencies::{ROUND_MAX, ROUNDS_MAX};
use beadle::store::prune::{Horizon, Prune};
use beadle::store::reports::{ReportOutput, Reporting};
use beadle::store::transition::Cancel;
use beadle::store::waiting::{Hold, Release, Update};

use super::stage::{Stage, T0, end_of, enqueue, new_job, on_both, on_postgres};

/// A job that waits for others.
fn after(on: &[JobId]) -> NewJob {
    NewJob { depends_on: on.to_vec(), ..new_job() }
}

/// The same, and it runs whatever becomes of them.
fn after_all(on: &[JobId]) -> NewJob {
    NewJob { on_dependency_failure: DependencyFailure::Run, ..after(on) }
}

fn cancel(id: JobId) -> Cancel {
    Cancel { id, actor: "tester".to_owned(), reason: None }
}

async fn states(stage: &Stage, ids: &[JobId]) -> Vec<JobState> {
    let mut states = Vec::new();
    for id in ids {
        states.push(stage.state(*id).await);
    }
    states
}

/// The data of the last event of a job.
async fn last_word(stage: &Stage, id: JobId) -> serde_json::Value {
    let filter = EventFilter { job_ids: Some(vec![id]), ..EventFilter::default() };
    let event = stage.events(&filter).await.pop().expect("a job has events");
    assert_eq!(stage.job(id).await.event_cursor, event.cursor);
    event.data.0
}

async fn count(stage: &Stage, of: JobState) -> i64 {
    let counts = stage.reader().count_all_jobs().await.expect("the store can be read").counts;
    let rows = stage.number(&format!("SELECT count(*) FROM jobs WHERE state = '{}'", of.word())).await;
    assert_eq!(counts.get(&of).copied().unwrap_or(0), rows, "the kept count of {of:?}");
    rows
}

/// Claims until nothing is left to do, without a free slot.
async fn look_on(stage: &Stage) -> usize {
    let worker = stage.worker().await;
    let mut looks = 0;
    while stage.number("SELECT count(*) FROM dependency_ends").await > 0 {
        let outlook = stage.reader().outlook(worker, stage.clock.now()).await.expect("the store can be read");
        assert!(
            outlook.next_due.is_some_and(|due| due <= stage.clock.now()),
            "the dispatcher would not look"
        );
        stage.hand.claim(worker, 0).await;
        looks += 1;
        assert!(looks < 1_000, "it never ends");
    }
    looks
}

#[test]
fn a_job_waits_until_all_that_it_depends_on_have_succeeded() {
    on_both(async |stage| {
        let (a, b) = (stage.running(new_job()).await, stage.running(new_job()).await);
        let both = [a.job.id, b.job.id];
        let waits = stage.enqueue(after(&[both[0], both[1], both[0]])).await;
        let later = stage.enqueue(NewJob { run_at: Some(T0.plus_millis(60_000)), ..after(&both) }).await;
        assert_eq!(states(&stage, &[waits, later]).await, [JobState::Blocked; 2]);
        assert_eq!(last_word(&stage, waits).await["state"], "BLOCKED");
        let worker = stage.worker().await;
        assert!(stage.hand.claim(worker, 5).await.is_empty(), "what is blocked is not claimed");
        stage.end(&a, AttemptOutcome::Succeeded).await;
        assert_eq!(states(&stage, &[waits, later]).await, [JobState::Blocked; 2]);
        stage.pass_millis(10);
        stage.end(&b, AttemptOutcome::Succeeded).await;
        assert_eq!(states(&stage, &[waits, later]).await, [JobState::Queued, JobState::Scheduled]);
        let word = last_word(&stage, waits).await;
        assert_eq!((&word["from"], &word["to"]), (&"BLOCKED".into(), &"QUEUED".into()));
        assert_eq!(count(&stage, JobState::Blocked).await, 0);
        let listed = stage.reader().dependencies(waits, JobId(0), 10).await.unwrap();
        assert_eq!(listed.iter().map(|job| job.id).collect::<Vec<_>>(), both);
        let behind = stage.reader().dependencies(waits, both[0], 10).await.unwrap();
        assert_eq!(behind.iter().map(|job| job.id).collect::<Vec<_>>(), both[1..]);
        let dependants = stage.reader().dependants(both[0], JobId(0), 10).await.unwrap();
        assert_eq!(dependants.iter().map(|job| job.id).collect::<Vec<_>>(), [waits, later]);
        assert_eq!(stage.job(waits).await.on_dependency_failure, Some(DependencyFailure::Skip));
        assert_eq!(stage.job(both[0]).await.on_dependency_failure, None);
        assert_eq!(stage.hand.claim(worker, 5).await.len(), 1);
    });
}

#[test]
fn a_failure_skips_what_waits_for_it_and_what_waits_for_that() {
    on_both(async |stage| {
        let (a, b) = (stage.running(new_job()).await, stage.running(new_job()).await);
        let first = stage.enqueue(after(&[a.job.id, b.job.id])).await;
        let second = stage.enqueue(after(&[first])).await;
        let third = stage.enqueue(after(&[second, b.job.id])).await;
        let held = stage.enqueue(NewJob { is_held: true, ..after(&[a.job.id]) }).await;
        let anyway = stage.enqueue(after_all(&[a.job.id, first])).await;
        let all = stage.enqueue(after_all(&[b.job.id, second])).await;
        stage.pass_millis(10);
        stage.end(&a, AttemptOutcome::Exited).await;
        assert_eq!(states(&stage, &[first, second, third]).await, [JobState::Skipped; 3]);
        for (id, on, how) in
            [(first, a.job.id, "FAILED"), (second, first, "SKIPPED"), (third, second, "SKIPPED")]
        {
            let job = stage.job(id).await;
            assert_eq!((job.finished_at, job.started_at, job.failure), (Some(stage.clock.now()), None, None));
            let word = last_word(&stage, id).await;
            assert_eq!(word["dependency"], on.to_string());
            assert_eq!(word["reason"], format!("{on}, which it depends on, is {how}"));
        }
        assert_eq!(
            states(&stage, &[held, anyway, all]).await,
            [JobState::Held, JobState::Queued, JobState::Blocked],
            "a person keeps it; all have ended; one has not"
        );
        stage.end(&b, AttemptOutcome::Signaled).await;
        assert_eq!(stage.state(all).await, JobState::Queued);
        for state in [JobState::Blocked, JobState::Skipped, JobState::Queued] {
            count(&stage, state).await;
        }
    });
}

#[test]
fn a_failure_that_is_tried_again_decides_nothing() {
    on_both(async |stage| {
        let policy = beadle::domain::retry::RetryPolicy { max_attempts: 2, ..Default::default() };
        let claimed = stage.running(NewJob { retry_policy: policy, ..new_job() }).await;
        let waits = [
            stage.enqueue(after(&[claimed.job.id])).await,
            stage.enqueue(after_all(&[claimed.job.id])).await,
        ];
        stage.end(&claimed, AttemptOutcome::Exited).await;
        assert_eq!(states(&stage, &waits).await, [JobState::Blocked; 2]);
        stage.pass_millis(60_000);
        let worker = stage.worker().await;
        let second = stage.hand.claim(worker, 1).await.remove(0);
        stage.end(&second, AttemptOutcome::Interrupted).await;
        assert_eq!(states(&stage, &waits).await, [JobState::Blocked; 2]);
        let third = stage.hand.claim(worker, 1).await.remove(0);
        stage.end(&third, AttemptOutcome::Succeeded).await;
        assert_eq!(states(&stage, &waits).await, [JobState::Queued; 2]);
    });
}

#[test]
fn what_is_made_after_the_end_goes_where_the_end_says() {
    on_both(async |stage| {
        let (good, bad) = (stage.running(new_job()).await, stage.running(new_job()).await);
        stage.end(&good, AttemptOutcome::Succeeded).await;
        stage.end(&bad, AttemptOutcome::Exited).await;
        let (good, bad) = (good.job.id, bad.job.id);
        let open = stage.enqueue(NewJob { run_at: Some(T0.plus_millis(9_000)), ..new_job() }).await;
        let later = |job: NewJob| NewJob { run_at: Some(T0.plus_millis(5_000)), ..job };
        let held = |job: NewJob| NewJob { is_held: true, ..job };
        let cases = [
            (after(&[good]), JobState::Queued),
            (later(after(&[good])), JobState::Scheduled),
            (held(after(&[good])), JobState::Held),
            (held(after(&[bad])), JobState::Held),
            (after(&[good, bad]), JobState::Skipped),
            (later(after(&[bad, open])), JobState::Skipped),
            (after_all(&[bad]), JobState::Queued),
            (after_all(&[bad, open]), JobState::Blocked),
            (after(&[good, open]), JobState::Blocked),
        ];
        for (at, (job, state)) in cases.into_iter().enumerate() {
            let id = stage.enqueue(job).await;
            assert_eq!(stage.state(id).await, state, "case {at}");
        }
        let skipped = stage.enqueue(after(&[open, bad])).await;
        let filter = EventFilter { job_ids: Some(vec![skipped]), ..EventFilter::default() };
        let events = stage.events(&filter).await;
        let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
        assert_eq!(kinds, [EventType::JobCreated, EventType::JobStateChanged]);
        assert_eq!(events[1].data.0["dependency"], bad.to_string());
        assert_eq!(stage.enqueue(after(&[skipped])).await, JobId(skipped.0 + 1));
        assert_eq!(stage.state(JobId(skipped.0 + 1)).await, JobState::Skipped);
    });
}

#[test]
fn a_cancel_an_expiry_and_a_replacement_are_ends_too() {
    on_both(async |stage| {
        let unique =
            || Some(Unique { key: "k".to_owned(), on_conflict: UniqueConflict::ReplaceQueued, own_of: None });
        let cancelled = stage.enqueue(NewJob { is_held: true, ..new_job() }).await;
        let expired = stage.enqueue(NewJob { start_by: Some(T0.plus_millis(10)), ..new_job() }).await;
        let replaced = stage.enqueue(NewJob { is_held: true, unique: unique(), ..new_job() }).await;
        let mut waits = Vec::new();
        for on in [cancelled, expired, replaced] {
            waits.push(stage.enqueue(after(&[on])).await);
        }
        let after_expiry = stage.enqueue(after_all(&[expired])).await;
        stage.apply(cancel(cancelled)).await;
        let refused =
            stage.apply(enqueue(vec![NewJob { unique: unique(), ..after(&[replaced]) }])).await.remove(0);
        let refused = refused.expect_err("it would wait for what it ends");
        assert_eq!(
            (refused.code, refused.path),
            (UserErrorCode::Invalid, Some(vec!["onConflict".to_owned()]))
        );
        assert_eq!(stage.state(replaced).await, JobState::Held, "a refusal changes nothing");
        stage.enqueue(NewJob { is_held: true, unique: unique(), ..new_job() }).await;
        stage.pass_millis(10);
        // The claim that lets it expire takes what it lets go.
        let worker = stage.worker().await;
        let claimed = stage.hand.claim(worker, 9).await;
        assert_eq!(claimed.iter().map(|one| one.job.id).collect::<Vec<_>>(), [after_expiry]);
        assert_eq!(states(&stage, &waits).await, [JobState::Skipped; 3]);
        let blocked = stage.enqueue(after(&[claimed[0].job.id])).await;
        let behind = stage.enqueue(after(&[blocked])).await;
        stage.apply(cancel(blocked)).await;
        assert_eq!(states(&stage, &[blocked, behind]).await, [JobState::Cancelled, JobState::Skipped]);
        stage.end(&claimed[0], AttemptOutcome::Succeeded).await;
        assert_eq!(stage.state(blocked).await, JobState::Cancelled);
    });
}

#[test]
fn a_hold_comes_before_a_dependency_and_a_release_asks_for_it() {
    let keep = |id| Hold { id, actor: "tester".to_owned() };
    let release = |id| Release { id, actor: "tester".to_owned() };
    on_both(async |stage| {
        let (a, b) = (stage.running(new_job()).await, stage.running(new_job()).await);
        let held = |job: NewJob| NewJob { is_held: true, ..job };
        let early = stage.enqueue(held(after(&[a.job.id]))).await;
        let late = stage.enqueue(held(after(&[a.job.id]))).await;
        let lost = stage.enqueue(held(after(&[a.job.id, b.job.id]))).await;
        let anyway = stage.enqueue(held(after_all(&[b.job.id]))).await;
        stage.apply(release(early)).await;
        assert_eq!(stage.state(early).await, JobState::Blocked);
        assert_eq!(stage.rejection(keep(early)).await.code, UserErrorCode::Conflict);
        let update =
            Update { id: early, priority: Some(3), run_at: None, queue: None, actor: "tester".to_owned() };
        stage.apply(update).await;
        assert_eq!(stage.state(early).await, JobState::Blocked);
        stage.end(&a, AttemptOutcome::Succeeded).await;
        assert_eq!(states(&stage, &[early, late]).await, [JobState::Queued, JobState::Held]);
        stage.apply(release(late)).await;
        assert_eq!(stage.state(late).await, JobState::Queued);
        stage.apply(keep(late)).await;
        stage.apply(release(late)).await;
        assert_eq!(stage.state(late).await, JobState::Queued);
        stage.end(&b, AttemptOutcome::Exited).await;
        assert_eq!(states(&stage, &[lost, anyway]).await, [JobState::Held; 2]);
        stage.apply(release(lost)).await;
        stage.apply(release(anyway)).await;
        assert_eq!(states(&stage, &[lost, anyway]).await, [JobState::Skipped, JobState::Queued]);
        assert_eq!(last_word(&stage, lost).await["dependency"], b.job.id.to_string());
        for state in [JobState::Held, JobState::Blocked, JobState::Skipped] {
            count(&stage, state).await;
        }
    });
}

#[test]
fn a_graph_is_made_in_one_commit_and_what_cannot_be_is_refused() {
    let earlier = |place, named_at| EarlierJob { place, named_at };
    let with = |places: &[usize], job: NewJob| NewJob {
        depends_on_earlier: places.iter().enumerate().map(|(at, place)| earlier(*place, at)).collect(),
        ..job
    };
    on_both(async |stage| {
        let jobs = vec![
            new_job(),
            with(&[0], new_job()),
            NewJob { queue_name: "nowhere".to_owned(), ..new_job() },
            with(&[1, 2], new_job()),
            with(&[0, 1, 0], new_job()),
            with(&[3], new_job()),
            after(&[JobId(999_999)]),
        ];
        let answers = stage.apply(enqueue(jobs)).await;
        let ids: Vec<_> = answers.iter().flatten().map(|made| made.id).collect();
        assert_eq!(states(&stage, &ids).await, [JobState::Queued, JobState::Blocked, JobState::Blocked]);
        let path =
            |at: usize| answers[at].as_ref().expect_err("refused").path.clone().expect("a path").join(".");
        assert_eq!(
            [path(3), path(5), path(6)],
            ["dependsOnPositions.1", "dependsOnPositions.0", "dependsOn.0"]
        );
        assert_eq!(answers[6].as_ref().expect_err("refused").code, UserErrorCode::NotFound);
        let on = stage.reader().dependencies(ids[2], JobId(0), 10).await.unwrap();
        assert_eq!(on.iter().map(|job| job.id).collect::<Vec<_>>(), ids[..2]);
        assert_eq!(stage.number("SELECT count(*) FROM job_dependencies").await, 3);
    });
}

#[test]
fn a_long_cascade_is_cut_into_transactions_and_goes_on_after_a_restart() {
    let length = ROUNDS_MAX * 3 + 5;
    on_both(async |mut stage| {
        let claimed = stage.running(new_job()).await;
        let link = |at: usize| match at {
            0 => after(&[claimed.job.id]),
            _ => NewJob { depends_on_earlier: vec![EarlierJob { place: at - 1, named_at: 0 }], ..new_job() },
        };
        stage.apply(enqueue((0..length).map(link).collect())).await;
        stage.end(&claimed, AttemptOutcome::Exited).await;
        let skipped = usize::try_from(count(&stage, JobState::Skipped).await).unwrap();
        assert_eq!(skipped, ROUNDS_MAX, "one transaction goes so far");
        stage = stage.reopen().await;
        assert!(look_on(&stage).await > 1);
        assert_eq!(usize::try_from(count(&stage, JobState::Skipped).await).unwrap(), length);
        assert_eq!(count(&stage, JobState::Blocked).await, 0);
        // What is made behind a job that is still to be skipped waits for nothing for ever.
        let next = stage.enqueue(after(&[JobId(claimed.job.id.0)])).await;
        assert_eq!(stage.state(next).await, JobState::Skipped);
    });
}

#[test]
fn a_success_lets_nothing_go_while_an_earlier_failure_is_still_to_be_looked_at() {
    on_both(async |stage| {
        let (a, b) = (stage.running(new_job()).await, stage.running(new_job()).await);
        let waits = stage.enqueue(after(&[a.job.id, b.job.id])).await;
        // As if the transaction of the failure had not come so far.
        stage
            .execute(&format!(
                "UPDATE jobs SET state = 'FAILED', finished_at_us = 5, worker_id = NULL WHERE id = {};
                 INSERT INTO dependency_ends (job_id, after_id) VALUES ({}, 0)",
                a.job.id.0, a.job.id.0
            ))
            .await;
        stage.end(&b, AttemptOutcome::Succeeded).await;
        assert_ne!(stage.state(waits).await, JobState::Queued);
        let worker = stage.worker().await;
        assert!(stage.hand.claim(worker, 3).await.is_empty());
        assert_eq!(stage.state(waits).await, JobState::Skipped);
    });
}

#[test]
fn more_dependants_than_one_look_takes_are_all_let_go() {
    let dependants = ROUND_MAX + 500;
    on_both(async |stage| {
        let (a, b) = (stage.running(new_job()).await, stage.running(new_job()).await);
        let both = [a.job.id, b.job.id];
        for part in [ROUND_MAX, 500] {
            stage.apply(enqueue(vec![after(&both); part])).await;
        }
        stage.end(&a, AttemptOutcome::Succeeded).await;
        assert_eq!(usize::try_from(count(&stage, JobState::Blocked).await).unwrap(), dependants);
        assert_eq!(stage.number("SELECT count(*) FROM dependency_ends").await, 0, "each was looked at once");
        stage.end(&b, AttemptOutcome::Succeeded).await;
        assert_eq!(usize::try_from(count(&stage, JobState::Queued).await).unwrap(), dependants);
        assert_eq!(count(&stage, JobState::Blocked).await, 0);
    });
}

#[test]
fn a_fan_in_of_the_most_jobs_starts_after_the_last_one() {
    on_both(async |stage| {
        let worker = stage.worker().await;
        let made = stage.apply(enqueue(vec![new_job(); 1_000])).await;
        let on: Vec<_> = made.into_iter().map(|made| made.expect("the job is good").id).collect();
        let last = stage.enqueue(after(&on)).await;
        let claimed = stage.hand.claim(worker, 1_000).await;
        let (rest, first) = claimed.split_last().expect("a thousand");
        let ends = first.iter().map(|one| {
            stage.hand.writer.apply(end_of(one, Ended::without_process(AttemptOutcome::Succeeded, "over")))
        });
        for end in futures_util::future::join_all(ends).await {
            end.expect("the change is good");
        }
        assert_eq!(stage.state(last).await, JobState::Blocked);
        stage.end(rest, AttemptOutcome::Succeeded).await;
        assert_eq!(stage.state(last).await, JobState::Queued);
    });
}

async fn report(stage: &Stage, claimed: &Claimed, output: serde_json::Value) {
    let by = Reporting {
        attempt: claimed.attempt,
        number: claimed.number,
        job: claimed.job.id,
        actor: "test".to_owned(),
    };
    let serde_json::Value::Object(output) = output else { panic!("an output is an object") };
    assert!(stage.apply(ReportOutput { by, output }).await);
}

#[test]
fn what_another_job_needs_is_not_forgotten_and_its_results_can_be_read() {
    on_both(async |stage| {
        let (a, b) = (stage.running(new_job()).await, stage.running(new_job()).await);
        report(&stage, &a, serde_json::json!({"url": "x"})).await;
        let waits = stage.enqueue(after_all(&[a.job.id, b.job.id])).await;
        stage.end(&a, AttemptOutcome::Succeeded).await;
        let prune = |at: i64| {
            let at = T0.plus_millis(at);
            Prune { horizon: Horizon { succeeded: at, failed: at, keys: at } }
        };
        stage.apply(prune(1_000)).await;
        assert_eq!(stage.state(a.job.id).await, JobState::Succeeded, "one that waits still needs it");
        stage.end(&b, AttemptOutcome::Exited).await;
        stage.apply(prune(1_000)).await;
        let worker = stage.worker().await;
        let claimed = stage.hand.claim(worker, 1).await.remove(0);
        assert_eq!(claimed.job.id, waits);
        stage.apply(prune(1_000)).await;
        let read = stage.reader().dependency_outputs(waits, JobId(0), 10).await.unwrap();
        let seen: Vec<_> = read
            .iter()
            .map(|one| (one.id, one.state, one.output.as_ref().map(|output| output.0.clone())))
            .collect();
        assert_eq!(
            seen,
            [
                (a.job.id, JobState::Succeeded, Some(serde_json::json!({"url": "x"}))),
                (b.job.id, JobState::Failed, None)
            ]
        );
        assert_eq!(stage.reader().dependency_outputs(waits, a.job.id, 10).await.unwrap().len(), 1);
        stage.end(&claimed, AttemptOutcome::Succeeded).await;
        stage.apply(prune(1_000)).await;
        // The one that failed stays while its incident is open.
        assert_eq!(stage.number("SELECT count(*) FROM jobs WHERE state <> 'FAILED'").await, 0);
        assert_eq!(stage.number("SELECT count(*) FROM job_dependencies").await, 0);
    });
}

#[test]
fn of_two_daemons_that_end_the_last_two_at_once_one_lets_the_job_go() {
    on_postgres(async |stage| {
        let other = stage.another_hand().await;
        let end = |claimed: &Claimed, outcome| end_of(claimed, Ended::without_process(outcome, "over"));
        for round in 0..60 {
            let (a, b) = (stage.running(new_job()).await, stage.running(new_job()).await);
            let waits = stage.enqueue(after(&[a.job.id, b.job.id])).await;
            let anyway = stage.enqueue(after_all(&[b.job.id, a.job.id])).await;
            tokio::join!(
                stage.apply(end(&a, AttemptOutcome::Succeeded)),
                other.apply(end(&b, AttemptOutcome::Succeeded))
            );
            assert_eq!(states(&stage, &[waits, anyway]).await, [JobState::Queued; 2], "round {round}");
            for id in [waits, anyway] {
                stage.apply(cancel(id)).await;
            }
        }
        count(&stage, JobState::Blocked).await;
    });
}

#[test]
fn a_job_made_while_its_dependency_ends_elsewhere_does_not_wait_for_ever() {
    on_postgres(async |stage| {
        let other = stage.another_hand().await;
        for round in 0..60 {
            let a = stage.running(new_job()).await;
            let held = stage.enqueue(NewJob { is_held: true, ..after(&[a.job.id]) }).await;
            let end = end_of(&a, Ended::without_process(AttemptOutcome::Succeeded, "over"));
            let (made, _, ()) = tokio::join!(
                stage.apply(enqueue(vec![after(&[a.job.id])])),
                other.apply(end),
                stage.apply(Release { id: held, actor: "tester".to_owned() })
            );
            let made = made.into_iter().next().expect("one answer").expect("the job is good").id;
            assert_eq!(states(&stage, &[made, held]).await, [JobState::Queued; 2], "round {round}");
            for id in [made, held] {
                stage.apply(cancel(id)).await;
            }
        }
        let open = stage.open_attempts(10).await;
        assert!(open.is_empty());
    });
}
