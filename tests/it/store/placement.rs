//! Labels of workers and the jobs that ask for them: who may take what, in which order, and that nobody is held up by what
//! he cannot run.

use std::time::Duration;

use beadle::domain::attempt::AttemptOutcome;
use beadle::domain::concurrency::{KeyLimit, LimitKey};
use beadle::domain::duration::Span;
use beadle::domain::id::{JobId, WorkerId};
use beadle::domain::job::{JobState, Label};
use beadle::domain::limits::SELECTORS_MAX;
use beadle::domain::new_job::NewJob;
use beadle::domain::queue::RateLimit;
use beadle::store::queues::QueueAction;
use beadle::store::statements;

use super::plan::{plan, statement};
use super::stage::{Stage, T0, enqueue, label, new_job, new_job_in, on_both, on_sqlite};
use crate::support::wait::now;

fn on(runs_on: &[(&str, &str)]) -> NewJob {
    NewJob { runs_on: labels(runs_on), ..new_job() }
}

fn labels(all: &[(&str, &str)]) -> Vec<Label> {
    all.iter().map(|(key, value)| label(key, value)).collect()
}

async fn many(stage: &Stage, jobs: Vec<NewJob>) -> Vec<JobId> {
    stage.apply(enqueue(jobs)).await.into_iter().map(|made| made.expect("the job is good").id).collect()
}

async fn claimed(stage: &Stage, worker: WorkerId, slots: usize) -> Vec<JobId> {
    stage.hand.claim(worker, slots).await.into_iter().map(|one| one.job.id).collect()
}

async fn has_work(stage: &Stage, worker: WorkerId) -> bool {
    stage.reader().outlook(worker, T0).await.expect("the store can be read").has_work
}

#[test]
fn a_job_runs_only_on_a_worker_that_has_every_label_it_asks_for() {
    on_both(async |stage| {
        let wanted = [&[][..], &[("gpu", "a100")], &[("gpu", "a100"), ("os", "linux")], &[("os", "mac")]];
        let ids = many(&stage, wanted.map(on).to_vec()).await;
        let plain = stage.worker().await;
        assert!(has_work(&stage, plain).await);
        assert_eq!(claimed(&stage, plain, 9).await, [ids[0]], "who has no labels takes what asks for none");
        assert!(!has_work(&stage, plain).await, "what others can run is no work of his");
        let linux = stage.worker_with(labels(&[("os", "linux"), ("host", "b")])).await;
        assert!(!has_work(&stage, linux).await);
        assert_eq!(claimed(&stage, linux, 9).await, []);
        let card = stage.worker_with(labels(&[("gpu", "a100"), ("host", "c"), ("os", "linux")])).await;
        assert!(has_work(&stage, card).await);
        assert_eq!(claimed(&stage, card, 9).await, [ids[1], ids[2]]);
        assert!(!has_work(&stage, card).await);
        assert_eq!(stage.state(ids[3]).await, JobState::Queued);
        assert_eq!(stage.job(ids[2]).await.runs_on, labels(&[("gpu", "a100"), ("os", "linux")]));
    });
}

#[test]
fn the_best_come_first_whatever_they_ask_for() {
    on_both(async |stage| {
        let ranked = |priority, runs_on: &[(&str, &str)]| NewJob { priority, ..on(runs_on) };
        let (gpu, both) = ([("gpu", "a100")], [("gpu", "a100"), ("os", "linux")]);
        let ids = many(
            &stage,
            vec![
                ranked(1, &[]),
                ranked(5, &gpu),
                ranked(3, &both),
                ranked(4, &[]),
                ranked(9, &[("os", "mac")]),
                ranked(2, &gpu),
            ],
        )
        .await;
        let card = stage.worker_with(labels(&both)).await;
        assert_eq!(claimed(&stage, card, 2).await, [ids[1], ids[3]]);
        assert_eq!(claimed(&stage, card, 9).await, [ids[2], ids[5], ids[0]]);
    });
}

#[test]
fn limits_and_rates_hold_over_all_that_a_queue_starts() {
    on_both(async |stage| {
        stage.put_queue("red", Some(3)).await;
        let rate_limit = Some(RateLimit { starts: 4, per: Span::from_millis(10_000) });
        stage.change_queue("slow", QueueAction::Put { concurrency_limit: None, rate_limit }).await;
        let card = stage.worker_with(labels(&[("gpu", "a100")])).await;
        for queue in ["red", "slow"] {
            let placed = NewJob { queue_name: queue.to_owned(), ..on(&[("gpu", "a100")]) };
            stage.apply(enqueue([vec![placed; 3], vec![new_job_in(queue); 3]].concat())).await;
        }
        let first = stage.hand.claim(card, 20).await;
        let of = |queue: &str| first.iter().filter(|one| one.job.queue_name == queue).count();
        assert_eq!((of("red"), of("slow")), (3, 4));
        assert!(!has_work(&stage, card).await);
        assert_eq!(claimed(&stage, card, 20).await, []);
        let red = first.iter().find(|one| one.job.queue_name == "red").expect("three were taken");
        stage.end(red, AttemptOutcome::Succeeded).await;
        assert_eq!(claimed(&stage, card, 20).await.len(), 1, "an end lets the next one in");
        // A key counts jobs whatever they ask for.
        let limit = Some(KeyLimit { key: LimitKey::Key("db".to_owned()), limit: 1 });
        let keyed = |runs_on: &[(&str, &str)]| NewJob { limit: limit.clone(), ..on(runs_on) };
        let ids = many(&stage, vec![keyed(&[("gpu", "a100")]), keyed(&[])]).await;
        assert_eq!(claimed(&stage, card, 20).await, ids[..1]);
    });
}

#[test]
fn a_job_keeps_what_it_asks_for_when_it_is_tried_again() {
    on_both(async |stage| {
        let card = stage.worker_with(labels(&[("gpu", "a100")])).await;
        let id = stage.enqueue(NewJob { is_restartable: true, ..on(&[("gpu", "a100")]) }).await;
        let taken = stage.hand.claim(card, 1).await.remove(0);
        stage.end(&taken, AttemptOutcome::Interrupted).await;
        assert_eq!(stage.state(id).await, JobState::Queued);
        let plain = stage.worker().await;
        assert_eq!(claimed(&stage, plain, 1).await, []);
        assert_eq!(claimed(&stage, card, 1).await, [id]);
    });
}

/// Rows of jobs that wait for a worker of another name each, before everything else.
const OF_OTHERS: &str = "INSERT INTO jobs (id, state, command, search_text, queue, priority, rank_us, labels, origin,
        requested_by, retry_policy, kill_grace_ms, restartable, attempt_count, try_count, created_at_us, run_at_us, runs_on)
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
    SELECT 1000000 + i, 'QUEUED', '{}', 'x', 'default', 0, i, '[]', 'API', 'x', '{}', 0, 1, 0, 0, i, i, 'host=w' || i FROM n
    WHERE i <> 5000";

/// How long a claim takes that finds nothing.
async fn empty_claim(stage: &Stage, worker: WorkerId) -> Duration {
    const CLAIMS: u32 = 50;
    let began = now();
    for _ in 0..CLAIMS {
        assert_eq!(claimed(stage, worker, 9).await, []);
    }
    began.elapsed() / CLAIMS
}

#[test]
fn a_hundred_thousand_jobs_for_others_hold_up_nobody() {
    on_both(async |stage| {
        let own = [("host", "w5000"), ("os", "linux"), ("zone", "b")];
        let worker = stage.worker_with(labels(&own)).await;
        let before = empty_claim(&stage, worker).await;
        let jobs = vec![new_job(), on(&[("os", "linux")]), on(&[("zone", "b")]), on(&own), on(&own[..1])];
        let ids = many(&stage, jobs).await;
        stage.execute(OF_OTHERS).await;
        assert!(has_work(&stage, worker).await);
        assert_eq!(claimed(&stage, worker, 9).await, ids);
        assert!(!has_work(&stage, worker).await);
        let behind = empty_claim(&stage, worker).await;
        println!(
            "a claim that finds nothing: {before:?} alone, {behind:?} beside 99,999 jobs for other workers"
        );
        let plain = stage.worker().await;
        assert!(!has_work(&stage, plain).await);
        assert_eq!(claimed(&stage, plain, 9).await, []);
    });
}

#[test]
fn one_claim_looks_at_no_more_selectors_than_it_may_and_the_next_one_goes_on() {
    on_sqlite(async |stage| {
        // More lists of labels than a claim looks at, all of which the worker fits.
        let keys: Vec<_> = (0..11).map(|at| format!("k{at:02}")).collect();
        let all: Vec<_> = keys.iter().map(|key| label(key, "v")).collect();
        let worker = stage.worker_with(all.clone()).await;
        let chosen = |bits: usize| {
            let labels = all.iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0);
            labels.map(|(_, label)| label.clone()).collect::<Vec<_>>()
        };
        let jobs: Vec<_> = (1..1 << keys.len())
            .map(chosen)
            .filter(|runs_on| runs_on.len() <= 10)
            .map(|runs_on| NewJob { runs_on, ..new_job() })
            .collect();
        assert!(jobs.len() > SELECTORS_MAX + 100);
        let count = jobs.len();
        stage.apply(enqueue(jobs)).await;
        let mut taken = 0;
        while has_work(&stage, worker).await {
            let some = claimed(&stage, worker, 500).await.len();
            assert!(some > 0, "there is work, and the claim finds it");
            taken += some;
        }
        assert_eq!(taken, count);
    });
}

#[test]
fn who_looks_for_jobs_that_ask_for_labels_walks_an_index_of_their_own() {
    on_sqlite(async |stage| {
        many(&stage, vec![new_job(), on(&[("os", "linux")])]).await;
        stage.execute(OF_OTHERS).await;
        assert_plans(&stage).await;
        stage.execute("ANALYZE").await;
        assert_plans(&stage.reopen().await).await;
    });
}

async fn assert_plans(stage: &Stage) {
    for (name, parts, steps_wanted) in [
        (
            "room::ROOM",
            vec!["SELECT name, concurrency_limit", "ORDER BY runs_on"],
            vec!["jobs_queued (queue=?)", "jobs_placed (runs_on>?)"],
        ),
        (
            "room::WITH_JOBS",
            vec!["SELECT queue.atom"],
            vec!["jobs_queued (queue=?)", "jobs_placed (runs_on=? AND queue=?)"],
        ),
        (
            "room::PLACED",
            vec!["PARTITION BY parts.queue"],
            vec!["jobs_queued (queue=?)", "jobs_placed (runs_on=? AND queue=?)"],
        ),
        ("placement::WAITING", vec!["WITH RECURSIVE waiting (runs_on"], vec!["jobs_placed (runs_on>?)"]),
        ("placement::THERE", vec!["AND worker_id = workers.id"], vec!["jobs_running"]),
        (
            "blockers::WAITING",
            vec!["AS before"],
            vec!["jobs_queued (queue=? AND rank_us<?)", "jobs_placed (runs_on=? AND queue=? AND rank_us<?)"],
        ),
    ] {
        let steps = plan(stage, "beadle.db", statement(statements::state(), &parts)).await;
        println!("{name}\n  {}", steps.join("\n  "));
        for wanted in steps_wanted {
            assert!(steps.iter().any(|step| step.contains(wanted)), "{name} has no {wanted}: {steps:#?}");
        }
    }
}
