//! Keys and rates: whom a limit lets in, counted from rows whatever came, went or moved, and what a full key costs.

use std::time::Instant;

use beadle::base::clock::Clock as _;
use beadle::domain::attempt::AttemptOutcome;
use beadle::domain::concurrency::{KeyLimit, LimitKey};
use beadle::domain::duration::Span;
use beadle::domain::id::{JobId, TaskId, WorkerId};
use beadle::domain::job::JobState;
use beadle::domain::new_job::NewJob;
use beadle::domain::queue::RateLimit;
use beadle::domain::retry::RetryPolicy;
use beadle::store::queues::QueueAction;
use beadle::store::tasks::PutTask;
use beadle::store::transition::Cancel;
use beadle::store::waiting::{Hold, Release, Update};

use super::stage::{Stage, enqueue, new_job, new_job_in, on_both, on_sqlite};
use super::tasks::task_put;
use crate::support::dice::Dice;
use crate::support::wait::now;

fn keyed(key: &str, limit: i32) -> NewJob {
    let limit = Some(KeyLimit { key: LimitKey::Key(key.to_owned()), limit });
    NewJob { limit, ..new_job() }
}

async fn many(stage: &Stage, jobs: Vec<NewJob>) -> Vec<JobId> {
    stage.apply(enqueue(jobs)).await.into_iter().map(|made| made.expect("the job is good").id).collect()
}

async fn claimed(stage: &Stage, worker: WorkerId, slots: usize) -> Vec<JobId> {
    stage.hand.claim(worker, slots).await.into_iter().map(|one| one.job.id).collect()
}

async fn rated(stage: &Stage, queue: &str, starts: i32, millis: i64) {
    let rate_limit = Some(RateLimit { starts, per: Span::from_millis(millis) });
    stage.change_queue(queue, QueueAction::Put { concurrency_limit: None, rate_limit }).await;
}

#[test]
fn jobs_of_a_key_start_one_at_a_time_in_their_order_and_hold_up_nobody_else() {
    on_both(async |stage| {
        let worker = stage.worker().await;
        let low = NewJob { priority: -50, ..keyed("db", 1) };
        let ids = many(&stage, vec![low, keyed("db", 1), keyed("other", 1), new_job()]).await;
        let first = stage.hand.claim(worker, 9).await;
        let taken: Vec<_> = first.iter().map(|one| one.job.id).collect();
        assert_eq!(taken, [ids[1], ids[2], ids[3]], "of the key the better one only");
        let urgent = stage.enqueue(NewJob { priority: 90, ..keyed("db", 1) }).await;
        assert_eq!(claimed(&stage, worker, 9).await, []);
        assert_eq!(stage.job(ids[0]).await.limit_key, Some(LimitKey::Key("db".to_owned())));
        stage.end(&first[0], AttemptOutcome::Succeeded).await;
        // The next one was let in by the end of the first, and gives way to a better one that comes before the claim.
        let best = stage.enqueue(NewJob { priority: 100, ..keyed("db", 1) }).await;
        let second = stage.hand.claim(worker, 9).await;
        assert_eq!(second.iter().map(|one| one.job.id).collect::<Vec<_>>(), [best]);
        stage.end(&second[0], AttemptOutcome::Exited).await;
        assert_eq!(claimed(&stage, worker, 9).await, [urgent]);
    });
}

#[test]
fn whatever_leaves_the_queue_lets_the_next_one_in() {
    on_both(async |stage| {
        let worker = stage.worker().await;
        let actor = || "test".to_owned();
        let ids = many(&stage, vec![keyed("k", 1); 7]).await;
        let start_by = Some(stage.clock.now().plus_millis(1_000));
        let late = stage.enqueue(NewJob { priority: 100, start_by, ..keyed("k", 1) }).await;
        stage.pass_millis(2_000);
        stage.apply(Cancel { id: ids[0], actor: actor(), reason: None }).await;
        stage.apply(Hold { id: ids[1], actor: actor() }).await;
        let run_at = Some(stage.clock.now().plus_millis(60_000));
        let later = Update { id: ids[2], priority: None, run_at, queue: None, actor: actor() };
        stage.apply(later).await;
        stage.put_queue("side", None).await;
        stage.change_queue("side", QueueAction::Pause { reason: None }).await;
        let queue = Some("side".to_owned());
        stage.apply(Update { id: ids[3], priority: Some(99), run_at: None, queue, actor: actor() }).await;
        // One expired, one was cancelled, one is held, one waits for its time, one stands in a paused queue.
        let taken = stage.hand.claim(worker, 9).await;
        assert_eq!(taken.iter().map(|one| one.job.id).collect::<Vec<_>>(), [ids[4]]);
        assert_eq!(stage.state(late).await, JobState::Expired);
        stage.end(&taken[0], AttemptOutcome::Interrupted).await;
        let again = stage.hand.claim(worker, 9).await;
        assert_eq!(again[0].job.id, ids[4], "an interrupted one is first again");
        stage.change_queue("side", QueueAction::Resume).await;
        stage.end(&again[0], AttemptOutcome::Succeeded).await;
        let moved = stage.hand.claim(worker, 9).await;
        assert_eq!(moved.iter().map(|one| one.job.id).collect::<Vec<_>>(), [ids[3]]);
        stage.end(&moved[0], AttemptOutcome::Succeeded).await;
        stage.apply(Release { id: ids[1], actor: actor() }).await;
        stage.apply(Cancel { id: ids[5], actor: actor(), reason: None }).await;
        assert_eq!(claimed(&stage, worker, 9).await, [ids[1]]);
    });
}

#[test]
fn a_key_has_the_limit_that_its_newest_job_brings() {
    on_both(async |stage| {
        let worker = stage.worker().await;
        many(&stage, vec![keyed("k", 3); 10]).await;
        let running = stage.hand.claim(worker, 9).await;
        assert_eq!(running.len(), 3);
        stage.enqueue(keyed("k", 5)).await;
        assert_eq!(stage.hand.claim(worker, 9).await.len(), 2);
        stage.enqueue(keyed("k", 1)).await;
        for one in &running {
            stage.end(one, AttemptOutcome::Succeeded).await;
            assert_eq!(claimed(&stage, worker, 9).await, [], "two still run");
        }
        // A key and a task of the same name are two.
        let of_task = KeyLimit { key: LimitKey::Task(TaskId(7)), limit: 2 };
        many(&stage, vec![NewJob { limit: Some(of_task), ..new_job() }; 4]).await;
        assert_eq!(stage.hand.claim(worker, 9).await.len(), 2);
    });
}

#[test]
fn a_job_that_was_made_of_an_older_word_brings_the_limit_that_its_task_has_now() {
    on_both(async |stage| {
        let worker = stage.worker().await;
        let put = |limit| {
            let mut task = task_put("t");
            task.definition.concurrency_limit = limit;
            PutTask { task, actor: "tester".to_owned() }
        };
        let id = stage.apply(put(Some(5))).await;
        let made = |limit| NewJob { limit: Some(KeyLimit { key: LimitKey::Task(id), limit }), ..new_job() };
        // Read at five, and put at one before the first job of the task comes to the store.
        stage.apply(put(Some(1))).await;
        many(&stage, vec![made(5); 4]).await;
        let first = stage.hand.claim(worker, 9).await;
        assert_eq!(first.len(), 1);
        stage.apply(put(None)).await;
        assert_eq!(stage.hand.claim(worker, 9).await.len(), 3, "it limits nothing any more");
        stage.execute("DELETE FROM concurrency_keys").await;
        many(&stage, vec![made(1); 4]).await;
        assert_eq!(stage.hand.claim(worker, 9).await.len(), 4);
    });
}

#[test]
fn a_queue_starts_no_more_jobs_in_a_period_than_its_rate_says() {
    on_both(async |stage| {
        let worker = stage.worker().await;
        stage.put_queue("slow", None).await;
        rated(&stage, "slow", 3, 10_000).await;
        many(&stage, vec![new_job_in("slow"); 20]).await;
        assert_eq!(stage.hand.claim(worker, 9).await.len(), 3);
        stage.pass_millis(4_000);
        let outlook = stage.reader().outlook(worker, stage.clock.now()).await.expect("the store can be read");
        assert!(!outlook.has_work);
        assert_eq!(outlook.next_due, Some(stage.clock.now().plus_millis(6_000)));
        assert_eq!(claimed(&stage, worker, 9).await, []);
        // The period slides: what started first is forgotten first.
        rated(&stage, "slow", 4, 10_000).await;
        assert_eq!(stage.hand.claim(worker, 9).await.len(), 1);
        stage.pass_millis(6_000);
        assert_eq!(stage.hand.claim(worker, 9).await.len(), 3);
        stage.pass_millis(3_999);
        assert_eq!(claimed(&stage, worker, 9).await, []);
        stage.pass_millis(1);
        assert_eq!(stage.hand.claim(worker, 9).await.len(), 1);
        // A clock that is set back by more than the period blocks nothing; the rows are few.
        stage.pass_millis(-3_600_000);
        assert_eq!(stage.hand.claim(worker, 9).await.len(), 4);
        assert!(stage.number("SELECT count(*) FROM queue_starts").await <= 12);
        // Other queues are not slowed, and no rate is no rate.
        stage.enqueue(new_job()).await;
        assert_eq!(stage.hand.claim(worker, 9).await.len(), 1);
        stage.put_queue("slow", None).await;
        assert_eq!(stage.hand.claim(worker, 9).await.len(), 8);
    });
}

#[test]
fn a_hundred_thousand_jobs_behind_one_full_key_do_not_slow_the_claim_of_others() {
    on_sqlite(async |stage| {
        let worker = stage.worker().await;
        let claims = async |stage: &Stage| {
            many(stage, vec![new_job(); 200]).await;
            let begun: Instant = now();
            for _ in 0..100 {
                assert_eq!(stage.hand.claim(worker, 2).await.len(), 2);
            }
            begun.elapsed()
        };
        stage.enqueue(keyed("full", 1)).await;
        assert_eq!(stage.hand.claim(worker, 1).await.len(), 1);
        let before = claims(&stage).await.min(claims(&stage).await);
        for _ in 0..100 {
            // Better than all the others, so that a claim that looked at them would look at them first.
            many(&stage, vec![NewJob { priority: 50, ..keyed("full", 1) }; 1_000]).await;
        }
        let after = claims(&stage).await.min(claims(&stage).await);
        println!("100 claims: {before:?} before, {after:?} with 100,000 jobs behind a full key");
        assert!(after < before * 5, "{before:?} became {after:?}");
    });
}

/// What must hold of every key at every commit.
async fn check(stage: &Stage, step: usize) {
    // More than may run only where the limit was lowered: those of these tests never are.
    let over = "SELECT count(*) FROM concurrency_keys AS k
        WHERE (SELECT count(*) FROM jobs WHERE limit_key = k.name
               AND (state = 'RUNNING' OR (state = 'QUEUED' AND gated_at_us IS NULL))) > k.job_limit";
    assert_eq!(stage.number(over).await, 0, "a key is over its limit in step {step}");
    let idle = "SELECT count(*) FROM concurrency_keys AS k
        WHERE EXISTS (SELECT 1 FROM jobs JOIN queues ON queues.name = jobs.queue
                      WHERE limit_key = k.name AND state = 'QUEUED' AND gated_at_us IS NOT NULL
                        AND queues.paused_at_us IS NULL)
          AND (SELECT count(*) FROM jobs WHERE limit_key = k.name
               AND (state = 'RUNNING' OR (state = 'QUEUED' AND gated_at_us IS NULL))) < k.job_limit";
    assert_eq!(stage.number(idle).await, 0, "a key leaves room unused in step {step}");
    let crossed = "SELECT count(*) FROM jobs AS shut
        JOIN jobs AS open ON open.limit_key = shut.limit_key AND open.state = 'QUEUED' AND open.gated_at_us IS NULL
        JOIN queues ON queues.name = shut.queue AND queues.paused_at_us IS NULL
        WHERE shut.state = 'QUEUED' AND shut.gated_at_us IS NOT NULL
          AND (shut.rank_us, shut.id) < (open.rank_us, open.id)";
    assert_eq!(stage.number(crossed).await, 0, "a worse job was let in in step {step}");
}

#[test]
fn keys_are_full_but_never_over_their_limit_after_any_sequence_of_changes() {
    on_both(async |stage| {
        let (dice, actor) = (Dice::new(), || "test".to_owned());
        let worker = stage.worker().await;
        for queue in ["red", "blue"] {
            stage.put_queue(queue, None).await;
        }
        let (mut ids, mut running) = (Vec::new(), Vec::new());
        for step in 0..250 {
            let pick = |ids: &[JobId]| ids.get(dice.roll(ids.len().max(1))).copied().unwrap_or(JobId(1));
            let id = pick(&ids);
            let writer = &stage.hand.writer;
            match dice.roll(12) {
                0..=3 => {
                    let key = ["a", "b", "c"][dice.roll(3)];
                    let run_at = (dice.roll(3) == 0).then(|| stage.clock.now().plus_millis(5_000));
                    let job = NewJob {
                        priority: dice.roll_int(9),
                        queue_name: ["red", "blue"][dice.roll(2)].to_owned(),
                        is_held: dice.roll(9) == 0,
                        run_at,
                        retry_policy: RetryPolicy { max_attempts: 2, ..RetryPolicy::default() },
                        ..keyed(key, if key == "a" { 1 } else { 3 })
                    };
                    ids.extend(many(&stage, vec![job; 1 + dice.roll(3)]).await);
                }
                4 | 5 => running.extend(stage.hand.claim(worker, 1 + dice.roll(3)).await),
                6 | 7 if !running.is_empty() => {
                    let one = running.swap_remove(dice.roll(running.len()));
                    let outcome =
                        [AttemptOutcome::Succeeded, AttemptOutcome::Exited, AttemptOutcome::Interrupted];
                    stage.end(&one, outcome[dice.roll(3)]).await;
                }
                8 => drop(writer.apply(Cancel { id, actor: actor(), reason: None }).await),
                9 => drop(writer.apply(Hold { id, actor: actor() }).await),
                10 => {
                    drop(writer.apply(Release { id, actor: actor() }).await);
                    let priority = Some(dice.roll_int(9));
                    let queue = (dice.roll(2) == 0).then(|| "blue".to_owned());
                    drop(writer.apply(Update { id, priority, run_at: None, queue, actor: actor() }).await);
                }
                _ => {
                    stage.pass_millis(2_000);
                    let paused = dice.roll(3) == 0;
                    let action =
                        if paused { QueueAction::Pause { reason: None } } else { QueueAction::Resume };
                    stage.change_queue(["red", "blue"][dice.roll(2)], action).await;
                }
            }
            check(&stage, step).await;
        }
    });
}

#[test]
fn claimers_at_once_never_start_two_jobs_of_a_key() {
    on_both(async |stage| {
        let worker = stage.worker().await;
        let mut hands = Vec::new();
        for _ in 0..4 {
            hands.push(stage.another_hand().await);
        }
        let keys = ["a", "b", "c"];
        many(&stage, (0..90).map(|at| keyed(keys[at % 3], 2)).collect()).await;
        let mut done = 0;
        for round in 0..200 {
            let work = hands.iter().map(async |hand| {
                for one in hand.claim(worker, 2).await {
                    hand.apply(super::stage::end_of(
                        &one,
                        beadle::domain::attempt::Ended::without_process(AttemptOutcome::Succeeded, "over"),
                    ))
                    .await;
                }
            });
            futures_util::future::join_all(work).await;
            let over = "SELECT count(*) FROM concurrency_keys AS k
                WHERE (SELECT count(*) FROM jobs WHERE limit_key = k.name
                       AND (state = 'RUNNING' OR (state = 'QUEUED' AND gated_at_us IS NULL))) > k.job_limit";
            assert_eq!(stage.number(over).await, 0, "in round {round}");
            done = stage.number("SELECT count(*) FROM jobs WHERE state = 'SUCCEEDED'").await;
            if done == 90 {
                break;
            }
        }
        assert_eq!(done, 90, "no job is left behind a key that nobody holds");
    });
}

#[test]
fn a_limit_outlives_the_jobs_that_brought_it_and_a_key_that_nobody_needs_is_forgotten() {
    on_both(async |stage| {
        let worker = stage.worker().await;
        stage.enqueue(keyed("k", 3)).await;
        let waiting = stage.enqueue(NewJob { is_held: true, ..keyed("held", 2) }).await;
        let one = stage.hand.claim(worker, 1).await.remove(0);
        stage.end(&one, AttemptOutcome::Succeeded).await;
        let now = stage.clock.now();
        let horizon = beadle::store::prune::Horizon { succeeded: now, failed: now, keys: now };
        stage.apply(beadle::store::prune::Prune { horizon }).await;
        assert_eq!(stage.number("SELECT count(*) FROM concurrency_keys").await, 1, "one is still needed");
        stage.apply(Release { id: waiting, actor: "test".to_owned() }).await;
        assert_eq!(claimed(&stage, worker, 9).await, [waiting]);
    });
}
