//! Many changes in one transaction: each gets its own answer, and none pays for another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use beadle::args;
use beadle::base::clock::{Clock, SystemClock, Timestamp};
use beadle::base::task;
use beadle::domain::filter::{EventFilter, JobFilter};
use beadle::domain::job::JobState;
use beadle::domain::rejection::UserErrorCode;
use beadle::store::FaultKind;
use beadle::store::db::{Kind, Sql};
use beadle::store::writer::{Batch, Change, Outcome, Probe, Refusal, WAITING_MAX};
use futures_util::future::join_all;
use futures_util::{FutureExt as _, poll};
use tokio::sync::Semaphore;

use super::stage::{T0, enqueue, label, new_job, new_job_in, on_both};

/// Holds the writer inside a transaction, so that what is sent meanwhile waits together.
#[derive(Clone)]
pub struct Gate {
    /// A permit for each entry.
    pub entered: Arc<Semaphore>,
    /// A permit for each leave.
    pub open: Arc<Semaphore>,
}

impl Gate {
    /// Shut.
    pub fn new() -> Gate {
        Gate { entered: Arc::new(Semaphore::new(0)), open: Arc::new(Semaphore::new(0)) }
    }
}

impl Change for Gate {
    type Answer = ();

    async fn apply(&self, _batch: &mut Batch<'_>) -> Outcome<()> {
        self.entered.add_permits(1);
        self.open.acquire().await.expect("the gate is never closed").forget();
        Ok(())
    }
}

/// A row that no CHECK lets pass, after a good one.
pub struct Bad;

const GOOD_ROW: Sql =
    Sql::both("INSERT INTO meta (name, value) VALUES ('from a bad change', $1)", &[Kind::Text]);
const BAD_ROW: Sql =
    Sql::both("INSERT INTO job_counts (queue, state, job_count) VALUES ('bad', $1, -1)", &[Kind::Text]);

impl Change for Bad {
    type Answer = ();

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<()> {
        batch.tx.execute(&GOOD_ROW, &args!["x"]).await?;
        batch.tx.execute(&BAD_ROW, &args!["QUEUED"]).await?;
        Ok(())
    }
}

/// Counts how often the writer asks for the time: once for each transaction.
#[derive(Debug, Default)]
struct CountingClock(AtomicUsize);

impl Clock for CountingClock {
    fn now(&self) -> Timestamp {
        self.0.fetch_add(1, Ordering::SeqCst);
        T0
    }

    fn monotonic(&self) -> Instant {
        SystemClock.monotonic()
    }
}

#[test]
fn five_hundred_changes_at_once_get_their_own_answers_and_rising_cursors() {
    on_both(async |stage| {
        let clock = Arc::new(CountingClock::default());
        let (writer, mut turns) = stage.hand.store().writer(clock.clone());
        let turning = task::spawn(async move { turns.run().await });
        let numbered = |number: i32| {
            let mut job = new_job();
            job.labels = vec![label("number", &number.to_string())];
            enqueue(vec![job])
        };
        let committed = join_all((0..500).map(|number| writer.apply(numbered(number)))).await;
        let mut cursors = Vec::new();
        for (number, committed) in committed.into_iter().enumerate() {
            let committed = committed.unwrap();
            let id = committed.answer[0].as_ref().unwrap().id;
            let job = stage.job(id).await;
            assert_eq!(job.labels, [label("number", &number.to_string())]);
            assert_eq!(job.event_cursor, committed.cursor, "nothing of the change lies behind its cursor");
            cursors.push(committed.cursor.seq);
        }
        assert!(cursors.is_sorted_by(|one, next| one < next), "callers were served in their order");
        let transactions = clock.0.load(Ordering::SeqCst);
        assert!(transactions <= 100, "{transactions} transactions for 500 changes that waited together");
        drop(writer);
        turning.await.unwrap();
    });
}

#[test]
fn one_bad_change_does_not_lose_its_neighbours() {
    on_both(async |stage| {
        let writer = &stage.hand.writer;
        let gate = Gate::new();
        let mut held = Box::pin(writer.apply(gate.clone()));
        assert!(poll!(held.as_mut()).is_pending());
        gate.entered.acquire().await.unwrap().forget();
        // Sent while the writer is held: all of them wait for one and the same transaction.
        let mut before = Box::pin(join_all((0..5).map(|_| writer.apply(enqueue(vec![new_job()])))));
        assert!(poll!(before.as_mut()).is_pending());
        let mut bad = Box::pin(writer.apply(Bad));
        assert!(poll!(bad.as_mut()).is_pending());
        let mut missing = Box::pin(writer.apply(enqueue(vec![new_job_in("nowhere")])));
        assert!(poll!(missing.as_mut()).is_pending());
        let mut after = Box::pin(join_all((0..5).map(|_| writer.apply(enqueue(vec![new_job()])))));
        assert!(poll!(after.as_mut()).is_pending());
        gate.open.add_permits(1);
        held.await.unwrap();
        let Err(Refusal::Fault(fault)) = bad.await else { panic!("the bad change was committed") };
        assert_eq!(fault.kind, FaultKind::Constraint);
        let refused = missing.await.unwrap().answer.remove(0).unwrap_err();
        assert_eq!(refused.code, UserErrorCode::NotFound);
        let mut ids = Vec::new();
        for committed in before.await.into_iter().chain(after.await) {
            ids.push(committed.unwrap().answer[0].as_ref().unwrap().id);
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(stage.reader().jobs_by_id(&ids).await.unwrap().len(), 10);
        assert_eq!(stage.number("SELECT count(*) FROM jobs").await, 10, "nothing was made twice");
        assert_eq!(stage.events(&EventFilter::default()).await.len(), 10);
        assert_eq!(stage.number("SELECT count(*) FROM meta WHERE name LIKE 'from a bad%'").await, 0);
        assert!(writer.trouble().borrow().is_none(), "a bad change is no trouble of the store");
    });
}

#[test]
fn the_change_of_a_caller_that_went_away_is_still_committed() {
    on_both(async |stage| {
        let writer = &stage.hand.writer;
        let gate = Gate::new();
        let mut held = Box::pin(writer.apply(gate.clone()));
        assert!(poll!(held.as_mut()).is_pending());
        gate.entered.acquire().await.unwrap().forget();
        let waiting = writer.apply(enqueue(vec![new_job()])).now_or_never();
        assert!(waiting.is_none(), "the caller went away while its change waited");
        drop(held);
        gate.open.add_permits(1);
        stage.apply(Probe).await;
        let counts = stage.reader().count_jobs(&JobFilter::default()).await.unwrap();
        assert_eq!(counts.counts.get(&JobState::Queued), Some(&1));
    });
}

#[test]
fn a_writer_with_as_much_waiting_as_it_may_refuses_the_next_change() {
    on_both(async |stage| {
        let writer = &stage.hand.writer;
        let gate = Gate::new();
        let mut held = Box::pin(writer.apply(gate.clone()));
        assert!(poll!(held.as_mut()).is_pending());
        gate.entered.acquire().await.unwrap().forget();
        let mut waiting = Box::pin(join_all((0..WAITING_MAX).map(|_| writer.apply(Probe))));
        assert!(poll!(waiting.as_mut()).is_pending());
        assert_eq!(stage.fault(Probe).await.kind, FaultKind::Overloaded);
        gate.open.add_permits(1);
        assert!(waiting.await.into_iter().all(|answer| answer.is_ok()), "the others are not harmed");
        stage.apply(Probe).await;
    });
}

#[test]
fn what_was_answered_is_there_after_a_restart() {
    on_both(async |stage| {
        let committed = join_all((0..50).map(|_| stage.hand.writer.apply(enqueue(vec![new_job()])))).await;
        let last = committed.last().unwrap().as_ref().unwrap().cursor;
        let ids: Vec<_> =
            committed.into_iter().map(|one| one.unwrap().answer[0].as_ref().unwrap().id).collect();
        let stage = stage.reopen().await;
        assert_eq!(stage.reader().jobs_by_id(&ids).await.unwrap().len(), 50);
        assert_eq!(stage.hand.writer.cursor(), last, "the cursor and its epoch survive");
        let next = stage.hand.writer.apply(enqueue(vec![new_job()])).await.unwrap();
        assert!(next.cursor.seq > last.seq);
        assert!(ids.iter().all(|id| *id != next.answer[0].as_ref().unwrap().id));
    });
}
