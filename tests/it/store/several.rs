//! Several daemons over one PostgreSQL database: what one alone would never notice.

use beadle::base::clock::within;
use beadle::base::task;
use beadle::domain::attempt::AttemptOutcome;
use beadle::domain::job::{JOB_STATES, JobState};
use beadle::domain::new_job::NewJob;
use beadle::store::prune::{Horizon, Prune};
use beadle::store::queues::QueueAction;
use beadle::store::tasks::PutTask;
use beadle::store::transition::Cancel;
use beadle::store::writer::Refusal;
use futures_util::future::join_all;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::stage::{Hand, Place, Stage, T0, enqueue, new_job_in, on_postgres, open};
use super::tasks::task_put;
use crate::support::wait::PATIENCE;

const QUEUES: [&str; 4] = ["default", "red", "blue", "green"];

async fn hands(stage: &Stage, count: usize) -> Vec<Hand> {
    let mut hands = Vec::new();
    for _ in 0..count {
        hands.push(stage.another_hand().await);
    }
    hands
}

async fn assert_counts(stage: &Stage) {
    for queue in QUEUES {
        for state in JOB_STATES {
            let at = format!("queue = '{queue}' AND state = '{}'", state.word());
            let rows = stage.number(&format!("SELECT count(*) FROM jobs WHERE {at}")).await;
            let kept =
                format!("SELECT CAST(coalesce(sum(job_count), 0) AS BIGINT) FROM job_counts WHERE {at}");
            assert_eq!(stage.number(&kept).await, rows, "the count of {at}");
        }
    }
}

/// The work of one daemon, its steps in an order of its own.
async fn work(hand: Hand, worker: beadle::domain::id::WorkerId, number: usize) {
    for round in 0..60 {
        let queue = |at: usize| QUEUES[(number + round + at) % QUEUES.len()];
        let jobs = (0..4).map(|at| new_job_in(queue(at))).collect();
        let (made, claimed) = tokio::join!(hand.apply(enqueue(jobs)), hand.claim(worker, 3));
        let cancels = made.into_iter().rev().skip(1).map(|made| {
            let id = made.expect("the job is good").id;
            hand.writer.apply(Cancel { id, actor: "x".to_owned(), reason: None })
        });
        let ends = claimed.iter().map(|one| {
            let ended = beadle::domain::attempt::Ended::without_process(AttemptOutcome::Succeeded, "over");
            hand.apply(super::stage::end_of(one, ended))
        });
        let (cancelled, _) = tokio::join!(join_all(cancels), join_all(ends));
        for one in cancelled {
            if let Err(Refusal::Fault(fault)) = one {
                panic!("{fault}");
            }
        }
    }
}

#[test]
fn daemons_that_work_at_once_stand_in_nobodys_way() {
    on_postgres(async |stage| {
        for queue in &QUEUES[1..] {
            stage.put_queue(queue, None).await;
        }
        let mut working = Vec::new();
        for (number, hand) in hands(&stage, 4).await.into_iter().enumerate() {
            working.push(task::spawn(work(hand, stage.worker().await, number)));
        }
        for one in working {
            one.await.unwrap();
        }
        assert_counts(&stage).await;
    });
}

#[test]
fn daemons_that_forget_at_once_count_each_job_once() {
    on_postgres(async |stage| {
        let worker = stage.worker().await;
        stage.apply(enqueue(vec![new_job_in("default"); 60])).await;
        for one in stage.hand.claim(worker, 40).await {
            stage.end(&one, AttemptOutcome::Succeeded).await;
        }
        let later = T0.plus_millis(1_000);
        let horizon = Horizon { succeeded: later, failed: later, keys: later };
        let hands = hands(&stage, 4).await;
        join_all(hands.iter().map(|hand| hand.apply(Prune { horizon }))).await;
        assert_eq!(stage.number("SELECT count(*) FROM jobs").await, 20);
        assert_counts(&stage).await;
    });
}

#[test]
fn daemons_that_start_at_once_make_one_store() {
    on_postgres(async |stage| {
        let Place::Postgres(url) = &stage.place else { unreachable!("this claim is tried on PostgreSQL") };
        stage.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await;
        let place = Place::Postgres(url.clone());
        let opened =
            join_all((0..4).map(|_| open(&place, stage.clock.as_ref(), stage.random.as_ref()))).await;
        let epochs: Vec<_> = opened.into_iter().map(|store| store.unwrap().reader().epoch()).collect();
        assert!(epochs.iter().all(|epoch| *epoch == epochs[0]), "{epochs:?}");
        assert_eq!(stage.number("SELECT count(*) FROM queues").await, 1);
        assert_eq!(stage.number("SELECT count(*) FROM migrations").await, 13);
    });
}

#[test]
fn daemons_that_make_the_same_task_at_once_make_one() {
    on_postgres(async |stage| {
        let hands = hands(&stage, 4).await;
        for round in 0..5 {
            let name = format!("task {round}");
            let put = || PutTask { task: task_put(&name), actor: "x".to_owned() };
            let ids = join_all(hands.iter().map(|hand| hand.apply(put()))).await;
            assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        }
        assert_eq!(stage.number("SELECT max(revision) FROM tasks").await, 1);
    });
}

#[test]
fn a_claim_leaves_what_another_daemon_is_moving_and_waits_for_nobody() {
    on_postgres(async |stage| {
        let Place::Postgres(url) = &stage.place else { unreachable!("this claim is tried on PostgreSQL") };
        let later =
            |start_by| NewJob { run_at: Some(T0.plus_millis(1_000)), start_by, ..new_job_in("default") };
        let due = stage.enqueue(later(None)).await;
        let late = stage.enqueue(later(Some(T0.plus_millis(1_500)))).await;
        let free = stage.enqueue(new_job_in("default")).await;
        stage.pass_millis(2_000);
        let mut other = PgConnection::connect(url).await.unwrap();
        let moving = format!("BEGIN; UPDATE jobs SET state = 'QUEUED' WHERE id IN ({}, {})", due.0, late.0);
        sqlx::raw_sql(AssertSqlSafe(moving)).execute(&mut other).await.unwrap();
        let worker = stage.worker().await;
        let claimed = within(PATIENCE, stage.hand.claim(worker, 5)).await.expect("the claim waits");
        assert_eq!(claimed.iter().map(|one| one.job.id).collect::<Vec<_>>(), [free]);
        sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
        let claimed = stage.hand.claim(worker, 5).await;
        assert_eq!(claimed.iter().map(|one| one.job.id).collect::<Vec<_>>(), [due]);
        assert_eq!(stage.state(late).await, JobState::Expired);
        assert_counts(&stage).await;
    });
}

/// How many wait in this database for a lock that is named by a number.
async fn waiters(stage: &Stage) -> i64 {
    stage
        .number(
            "SELECT count(*) FROM pg_locks
             WHERE locktype = 'advisory' AND NOT granted
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        .await
}

/// Does `work` while another session has the lock of those who claim, alone or as one of them, until `work` waits for it.
async fn behind<T>(stage: &Stage, lock: &str, work: impl Future<Output = T>) -> T {
    let Place::Postgres(url) = &stage.place else { unreachable!("this claim is tried on PostgreSQL") };
    let mut other = PgConnection::connect(url).await.expect("the server takes one more");
    let begin = format!("BEGIN; SELECT {lock}({})", 0x0042_4541_444C_4504_i64);
    sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut other).await.expect("nobody has it yet");
    let mut work = std::pin::pin!(work);
    let waited = async {
        tokio::select! {
            _ = &mut work => panic!("it did not wait"),
            () = async { while waiters(stage).await == 0 {} } => {}
        }
        other.close().await.expect("it is our own session");
        work.await
    };
    within(PATIENCE, waited).await.expect("it goes on when the other one is gone")
}

#[test]
fn a_pause_is_answered_behind_the_claims_of_others_and_seen_by_those_that_come_later() {
    on_postgres(async |stage| {
        let worker = stage.worker().await;
        stage.apply(enqueue(vec![new_job_in("default"); 2])).await;
        let claimed = behind(&stage, "pg_advisory_xact_lock", stage.hand.claim(worker, 1)).await;
        assert_eq!(claimed.len(), 1);
        let pause = stage.change_queue("default", QueueAction::Pause { reason: None });
        behind(&stage, "pg_advisory_xact_lock_shared", pause).await;
        assert_eq!(stage.hand.claim(worker, 9).await.len(), 0);
    });
}

#[test]
fn reads_that_nobody_waits_for_any_more_hold_no_connection() {
    on_postgres(async |stage| {
        let Place::Postgres(url) = &stage.place else { panic!("it is on PostgreSQL") };
        let mut other = PgConnection::connect(url).await.expect("the server answers");
        let lock = AssertSqlSafe("BEGIN; LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE");
        sqlx::raw_sql(lock).execute(&mut other).await.expect("nobody else holds it");
        let name = beadle::domain::task::TaskRef::Name("t".to_owned());
        // More than there are connections for reading.
        for _ in 0..40 {
            let reader = stage.reader();
            let read = within(std::time::Duration::from_millis(20), reader.task(&name)).await;
            assert!(read.is_none(), "the table is locked");
        }
        let read = within(PATIENCE, stage.reader().newest_event()).await.expect("a connection is free");
        assert!(read.is_ok(), "{read:?}");
        other.close().await.expect("the test's connection");
    });
}

#[test]
fn what_the_server_has_for_others_does_not_hold_for_us() {
    on_postgres(async |stage| {
        let Place::Postgres(url) = &stage.place else { panic!("it is on PostgreSQL") };
        let mut other = PgConnection::connect(url).await.expect("the server answers");
        let database: String =
            sqlx::query_scalar("SELECT current_database()").fetch_one(&mut other).await.expect("a name");
        for setting in ["default_transaction_isolation = 'repeatable read'", "synchronous_commit = 'off'"] {
            let change = AssertSqlSafe(format!("ALTER DATABASE \"{database}\" SET {setting}"));
            sqlx::raw_sql(change).execute(&mut other).await.expect("it is ours");
        }
        // Two that take from one queue with a limit: each sees what the one before took, though it waited for it.
        stage.put_queue("one", Some(1)).await;
        for _ in 0..20 {
            stage.enqueue(new_job_in("one")).await;
        }
        let hands = hands(&stage, 4).await;
        let worker = stage.worker().await;
        for _ in 0..5 {
            let taken = join_all(hands.iter().map(|hand| hand.claim(worker, 2))).await.concat();
            assert_eq!(taken.len(), 1, "the limit of the queue");
            stage.end(&taken[0], AttemptOutcome::Succeeded).await;
        }
    });
}
