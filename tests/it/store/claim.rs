//! Which jobs start, in which order, and never twice.

use std::collections::BTreeSet;

use beadle::base::task;
use beadle::domain::attempt::AttemptOutcome;
use beadle::domain::filter::EventFilter;
use beadle::domain::id::{JobId, WorkerId};
use beadle::domain::job::JobState;
use beadle::domain::new_job::NewJob;
use beadle::store::claim::Claimed;
use beadle::store::queues::QueueAction;

use super::stage::{Hand, T0, enqueue, new_job, new_job_in, on_both};

fn ids(claimed: &[Claimed]) -> Vec<JobId> {
    claimed.iter().map(|one| one.job.id).collect()
}

#[test]
fn a_minute_of_waiting_is_worth_one_step_of_priority() {
    on_both(async |stage| {
        let job = |priority| NewJob { priority, ..new_job() };
        let old = stage.enqueue(job(0)).await;
        let old_too = stage.enqueue(job(0)).await;
        stage.pass_millis(59_999);
        let just_before = stage.enqueue(job(1)).await;
        stage.pass_millis(1);
        let just_equal = stage.enqueue(job(1)).await;
        stage.pass_millis(1);
        let just_behind = stage.enqueue(job(1)).await;
        let low = stage.enqueue(job(-100)).await;
        let high = stage.enqueue(job(100)).await;
        let worker = stage.worker().await;
        let claimed = stage.hand.claim(worker, 10).await;
        assert_eq!(ids(&claimed), [high, just_before, old, old_too, just_equal, just_behind, low]);
    });
}

#[test]
fn a_claim_takes_the_best_of_all_queues_and_no_more_than_its_slots() {
    on_both(async |stage| {
        stage.put_queue("red", None).await;
        stage.put_queue("blue", None).await;
        let mut jobs = Vec::new();
        for (priority, queue) in [(1, "red"), (5, "blue"), (3, "default"), (4, "red"), (2, "blue")] {
            jobs.push(NewJob { priority, ..new_job_in(queue) });
        }
        let answers = stage.apply(enqueue(jobs)).await;
        let made: Vec<_> = answers.iter().map(|answer| answer.as_ref().unwrap().id).collect();
        let worker = stage.worker().await;
        assert_eq!(ids(&stage.hand.claim(worker, 0).await), []);
        assert_eq!(ids(&stage.hand.claim(worker, 2).await), [made[1], made[3]]);
        assert_eq!(ids(&stage.hand.claim(worker, 9).await), [made[2], made[4], made[0]]);
        assert_eq!(ids(&stage.hand.claim(worker, 9).await), []);
    });
}

#[test]
fn a_claimed_job_runs_and_its_attempt_is_committed_with_it() {
    on_both(async |stage| {
        let id = stage.enqueue(new_job()).await;
        stage.pass_millis(10);
        let worker = stage.worker().await;
        let claimed = stage.hand.claim(worker, 3).await.remove(0);
        assert_eq!((claimed.job.id, claimed.number, claimed.cookie.as_str()), (id, 1, "cookie-0"));
        assert_eq!(
            (claimed.job.state, claimed.job.started_at),
            (JobState::Running, Some(T0.plus_millis(10)))
        );
        let attempt = stage.reader().attempt(claimed.attempt).await.unwrap().unwrap();
        assert_eq!((attempt.job_id, attempt.number, attempt.worker_id), (id, 1, worker));
        assert_eq!((attempt.outcome, attempt.started_at), (None, T0.plus_millis(10)));
        assert_eq!(stage.reader().running_attempts(worker).await.unwrap().len(), 1);
        let open = stage.open_attempts(10).await;
        assert_eq!((open.len(), open[0].cookie.as_str(), open[0].process.clone()), (1, "cookie-0", None));
        let without = "SELECT count(*) FROM jobs WHERE state = 'RUNNING' AND NOT EXISTS (
            SELECT 1 FROM attempts WHERE attempts.job_id = jobs.id AND outcome IS NULL)";
        assert_eq!(stage.number(without).await, 0);
        let events = stage.events(&EventFilter { job_ids: Some(vec![id]), ..EventFilter::default() }).await;
        let steps: Vec<_> = events.iter().map(|event| event.kind.word()).collect();
        assert_eq!(steps, ["JOB_CREATED", "JOB_STATE_CHANGED", "ATTEMPT_STARTED"]);
    });
}

#[test]
fn attempts_are_numbered_within_their_job() {
    on_both(async |stage| {
        let job = NewJob {
            retry_policy: beadle::domain::retry::RetryPolicy { max_attempts: 9, ..Default::default() },
            ..new_job()
        };
        let mut claimed = stage.running(job).await;
        for number in 1..5 {
            assert_eq!((claimed.number, claimed.job.attempt_count), (number, number));
            stage.end(&claimed, AttemptOutcome::Exited).await;
            stage.pass_millis(3_600_000);
            let worker = stage.worker().await;
            claimed = stage.hand.claim(worker, 1).await.remove(0);
        }
        let page = stage.reader().attempts(claimed.job.id, 0, 10).await.unwrap();
        let numbers: Vec<_> = page.rows.iter().map(|(_, attempt)| attempt.number).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5]);
        let last = stage.reader().last_attempts(&[claimed.job.id]).await.unwrap();
        assert_eq!((last.len(), last[0].number, last[0].id), (1, 5, claimed.attempt));
        let third = stage.reader().attempt_by_number(claimed.job.id, 3).await.unwrap().unwrap();
        assert_eq!(third.outcome, Some(AttemptOutcome::Exited));
    });
}

#[test]
fn a_paused_queue_starts_nothing_until_it_is_resumed() {
    on_both(async |stage| {
        stage.put_queue("red", None).await;
        let red = stage.enqueue(NewJob { priority: 100, ..new_job_in("red") }).await;
        let plain = stage.enqueue(new_job()).await;
        stage.change_queue("red", QueueAction::Pause { reason: None }).await;
        let worker = stage.worker().await;
        assert_eq!(ids(&stage.hand.claim(worker, 5).await), [plain]);
        assert!(!stage.reader().outlook(worker, T0).await.unwrap().has_work);
        stage.change_queue("red", QueueAction::Resume).await;
        assert!(stage.reader().outlook(worker, T0).await.unwrap().has_work);
        assert_eq!(ids(&stage.hand.claim(worker, 5).await), [red]);
    });
}

#[test]
fn a_limit_is_counted_from_the_running_rows() {
    on_both(async |stage| {
        stage.put_queue("red", Some(2)).await;
        stage.put_queue("shut", Some(0)).await;
        stage.apply(enqueue(vec![new_job_in("red"); 5])).await;
        stage.apply(enqueue(vec![new_job_in("shut"); 2])).await;
        let plain = stage.enqueue(new_job()).await;
        let worker = stage.worker().await;
        let first = stage.hand.claim(worker, 10).await;
        assert_eq!(first.len(), 3);
        assert!(ids(&first).contains(&plain), "a full queue does not hold up the others");
        assert_eq!(ids(&stage.hand.claim(worker, 10).await), []);
        let red = first.iter().find(|one| one.job.queue_name == "red").unwrap();
        stage.end(red, AttemptOutcome::Succeeded).await;
        assert_eq!(stage.hand.claim(worker, 10).await.len(), 1, "an end lets the next one in");
        stage.put_queue("red", Some(3)).await;
        assert_eq!(stage.hand.claim(worker, 10).await.len(), 1);
        stage.put_queue("red", Some(1)).await;
        assert_eq!(stage.hand.claim(worker, 10).await.len(), 0, "a lowered limit starts nothing");
        stage.put_queue("red", None).await;
        assert_eq!(stage.hand.claim(worker, 10).await.len(), 1);
        assert_eq!(
            stage.number("SELECT count(*) FROM jobs WHERE queue = 'red' AND state = 'RUNNING'").await,
            4
        );
    });
}

#[test]
fn a_claim_lets_in_what_has_become_due() {
    on_both(async |stage| {
        let later = |millis| NewJob { run_at: Some(T0.plus_millis(millis)), ..new_job() };
        let second = stage.enqueue(later(2_000)).await;
        let first = stage.enqueue(later(1_000)).await;
        let worker = stage.worker().await;
        stage.pass_millis(999);
        assert_eq!(ids(&stage.hand.claim(worker, 5).await), []);
        assert_eq!(stage.state(first).await, JobState::Scheduled);
        stage.pass_millis(1_001);
        let outlook = stage.reader().outlook(worker, T0.plus_millis(2_000)).await.unwrap();
        assert!(outlook.has_work);
        assert_eq!(ids(&stage.hand.claim(worker, 1).await), [first]);
        assert_eq!(stage.state(second).await, JobState::Queued, "what is due waits in its queue");
        let events =
            stage.events(&EventFilter { job_ids: Some(vec![second]), ..EventFilter::default() }).await;
        let last = &events.last().unwrap().data.0;
        assert_eq!((&last["from"], &last["to"]), (&"SCHEDULED".into(), &"QUEUED".into()));
        assert_eq!(stage.reader().outlook(worker, T0.plus_millis(2_000)).await.unwrap().next_due, None);
    });
}

/// Takes jobs until none waits any more.
async fn drain(hand: Hand, worker: WorkerId) -> Vec<Claimed> {
    let mut all = Vec::new();
    loop {
        let claimed = hand.claim(worker, 3).await;
        let is_empty = claimed.is_empty();
        all.extend(claimed);
        let waiting = hand.reader.outlook(worker, T0).await.expect("the store can be read").has_work;
        if is_empty && !waiting {
            return all;
        }
    }
}

#[test]
fn eight_claimers_at_once_never_take_a_job_twice() {
    const JOBS: usize = 150;
    on_both(async |stage| {
        stage.put_queue("red", None).await;
        let mut jobs = vec![new_job(); JOBS / 2];
        jobs.extend(vec![new_job_in("red"); JOBS / 2]);
        stage.apply(enqueue(jobs)).await;
        let mut draining = Vec::new();
        for _ in 0..8 {
            let (hand, worker) = (stage.another_hand().await, stage.worker().await);
            draining.push(task::spawn(drain(hand, worker)));
        }
        let (mut jobs, mut attempts) = (BTreeSet::new(), BTreeSet::new());
        for one in draining {
            for claimed in one.await.unwrap() {
                assert!(jobs.insert(claimed.job.id), "{} was taken twice", claimed.job.id);
                assert!(attempts.insert(claimed.attempt), "{} was given twice", claimed.attempt);
                assert_eq!(claimed.number, 1);
            }
        }
        assert_eq!(jobs.len(), JOBS);
        assert_eq!(stage.number("SELECT count(*) FROM attempts WHERE outcome IS NULL").await, 150);
        assert_eq!(
            stage.number("SELECT job_count FROM job_counts WHERE queue = 'red' AND state = 'RUNNING'").await,
            75
        );
    });
}

#[test]
fn claimers_at_once_keep_the_limit_of_a_queue() {
    on_both(async |stage| {
        stage.put_queue("red", Some(3)).await;
        stage.apply(enqueue(vec![new_job_in("red"); 100])).await;
        let worker = stage.worker().await;
        let mut hands = Vec::new();
        for _ in 0..4 {
            hands.push(stage.another_hand().await);
        }
        for round in 0..15 {
            let together =
                futures_util::future::join_all(hands.iter().map(|hand| hand.claim(worker, 2))).await;
            let claimed: Vec<_> = together.into_iter().flatten().collect();
            let running =
                stage.number("SELECT count(*) FROM jobs WHERE queue = 'red' AND state = 'RUNNING'").await;
            assert!(running <= 3, "{running} jobs run in round {round}");
            for one in &claimed {
                stage.end(one, AttemptOutcome::Succeeded).await;
            }
        }
    });
}
