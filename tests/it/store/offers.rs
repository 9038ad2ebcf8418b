//! What a turn of the writer claims for the worker of its process: as a claim would, in the same transaction, or not at all.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use beadle::domain::attempt::{AttemptOutcome, Ended};
use beadle::domain::concurrency::KeyLimit;
use beadle::domain::filter::EventFilter;
use beadle::domain::id::{JobId, WorkerId};
use beadle::domain::job::JobState;
use beadle::domain::new_job::NewJob;
use beadle::store::claim::Claimed;
use beadle::store::ends::{LeavePlace, Settled};
use beadle::store::offer::{Offer, Worker};
use beadle::store::queues::QueueAction;
use futures_util::future::join_all;
use futures_util::poll;

use super::group_commit::{Bad, Gate};
use super::stage::{Stage, T0, end_of, enqueue, new_job, new_job_in, on_both};

/// A worker that starts nothing and notes what it was given.
#[derive(Clone)]
struct Fake(Arc<Notes>);

struct Notes {
    worker: WorkerId,
    free: AtomicUsize,
    begun: Mutex<Vec<Claimed>>,
    listed_count: AtomicUsize,
    withdrawn_count: AtomicUsize,
    doubt_count: AtomicUsize,
    look_count: AtomicUsize,
}

impl Fake {
    async fn at_work(stage: &Stage, free: usize) -> Fake {
        let fake = Fake(Arc::new(Notes {
            worker: stage.worker().await,
            free: AtomicUsize::new(free),
            begun: Mutex::default(),
            listed_count: AtomicUsize::new(0),
            withdrawn_count: AtomicUsize::new(0),
            doubt_count: AtomicUsize::new(0),
            look_count: AtomicUsize::new(0),
        }));
        stage.hand.writer.serve(Arc::new(fake.clone()));
        fake
    }

    /// What began since the last call. The writer answers before it lets them begin: one more turn is waited for.
    async fn begun(&self, stage: &Stage) -> Vec<Claimed> {
        stage.apply(beadle::store::writer::Probe).await;
        std::mem::take(&mut *self.0.begun.lock().expect("nobody panicked with it"))
    }

    fn looks(&self) -> usize {
        self.0.look_count.swap(0, Ordering::SeqCst)
    }
}

impl Worker for Fake {
    fn offer(&self, vacated_count: usize) -> Option<Box<dyn Offer>> {
        let free = self.0.free.swap(0, Ordering::SeqCst);
        let slots = free + vacated_count;
        (slots > 0).then(|| -> Box<dyn Offer> {
            Box::new(Held { fake: self.clone(), free, slots, listed: Vec::new(), is_settled: false })
        })
    }

    fn look(&self) {
        self.0.look_count.fetch_add(1, Ordering::SeqCst);
    }
}

struct Held {
    fake: Fake,
    free: usize,
    slots: usize,
    listed: Vec<Claimed>,
    is_settled: bool,
}

impl Offer for Held {
    fn worker(&self) -> WorkerId {
        self.fake.0.worker
    }

    fn slots(&self) -> usize {
        self.slots
    }

    fn cookie(&self) -> String {
        "cookie".to_owned()
    }

    fn list(&mut self, claimed: Vec<Claimed>) {
        self.fake.0.listed_count.fetch_add(claimed.len(), Ordering::SeqCst);
        self.listed = claimed;
    }

    fn begin(mut self: Box<Self>) {
        self.is_settled = true;
        self.fake.0.free.fetch_add(self.free.saturating_sub(self.listed.len()), Ordering::SeqCst);
        self.fake.0.begun.lock().expect("nobody panicked with it").append(&mut self.listed);
    }

    fn withdraw(mut self: Box<Self>) {
        self.is_settled = true;
        self.fake.0.free.fetch_add(self.free, Ordering::SeqCst);
        self.fake.0.withdrawn_count.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.fake.0.doubt_count.fetch_add(usize::from(!self.is_settled), Ordering::SeqCst);
    }
}

fn ids(claimed: &[Claimed]) -> Vec<JobId> {
    claimed.iter().map(|one| one.job.id).collect()
}

async fn made(stage: &Stage, jobs: Vec<NewJob>) -> Vec<JobId> {
    stage.apply(enqueue(jobs)).await.into_iter().map(|answer| answer.expect("it is taken").id).collect()
}

fn over(claimed: &Claimed) -> LeavePlace {
    LeavePlace(end_of(claimed, Ended::without_process(AttemptOutcome::Succeeded, "over")))
}

#[test]
fn a_job_for_which_there_is_a_place_runs_with_the_commit_that_makes_it() {
    on_both(async |stage| {
        let fake = Fake::at_work(&stage, 2).await;
        let low = NewJob { priority: -1, ..new_job() };
        let made = made(&stage, vec![low, new_job(), new_job()]).await;
        // As the caller sees them whom the writer has just answered.
        assert_eq!(stage.state(made[0]).await, JobState::Queued, "the best come first");
        assert_eq!(stage.state(made[1]).await, JobState::Running);
        let begun = fake.begun(&stage).await;
        assert_eq!(ids(&begun), made[1..]);
        assert_eq!((begun[0].number, begun[0].cookie.as_str()), (1, "cookie"));
        let open = stage.reader().running_attempts(fake.0.worker).await.unwrap();
        assert_eq!(open.iter().map(|one| one.id).collect::<Vec<_>>(), [begun[0].attempt, begun[1].attempt]);
        let filter = EventFilter { job_ids: Some(vec![made[1]]), ..EventFilter::default() };
        let steps: Vec<_> = stage.events(&filter).await.iter().map(|event| event.kind.word()).collect();
        assert_eq!(steps, ["JOB_CREATED", "JOB_STATE_CHANGED", "ATTEMPT_STARTED"]);
        assert_eq!(fake.looks(), 0, "the dispatcher is not needed");
    });
}

#[test]
fn what_no_claim_would_take_is_not_taken_on_its_way() {
    on_both(async |stage| {
        for queue in ["paused", "shut", "rated"] {
            stage.put_queue(queue, (queue == "shut").then_some(0)).await;
        }
        stage.change_queue("paused", QueueAction::Pause { reason: None }).await;
        let rate = beadle::domain::queue::RateLimit {
            starts: 1,
            per: beadle::domain::duration::Span::from_millis(60_000),
        };
        let action = QueueAction::Put { concurrency_limit: None, rate_limit: Some(rate) };
        stage.change_queue("rated", action).await;
        let fake = Fake::at_work(&stage, 10).await;
        let later = NewJob { run_at: Some(T0.plus_millis(1_000)), ..new_job() };
        let held = NewJob { is_held: true, ..new_job() };
        let late = NewJob { start_by: Some(T0), ..new_job() };
        let jobs = vec![new_job_in("paused"), new_job_in("shut"), later, held, late];
        let made_there = made(&stage, jobs).await;
        assert_eq!(ids(&fake.begun(&stage).await), []);
        for id in &made_there {
            assert_ne!(stage.state(*id).await, JobState::Running, "{id}");
        }
        assert_eq!(fake.looks(), 1, "what has its time is for the dispatcher to see");
        let rated = made(&stage, vec![new_job_in("rated"); 2]).await;
        assert_eq!(ids(&fake.begun(&stage).await), rated[..1]);
        assert_eq!(fake.looks(), 1, "when the rate allows the next one, too");
        let limit = KeyLimit::of(Some("one".to_owned()), None);
        let keyed = made(&stage, vec![NewJob { limit, ..new_job() }; 2]).await;
        assert_eq!(ids(&fake.begun(&stage).await), keyed[..1]);
        let waits = NewJob { depends_on: vec![keyed[0]], ..new_job() };
        let waits = made(&stage, vec![waits]).await;
        assert_eq!(ids(&fake.begun(&stage).await), []);
        assert_eq!(stage.state(waits[0]).await, JobState::Blocked);
    });
}

#[test]
fn an_end_gives_its_place_to_the_next_job_in_the_same_commit() {
    on_both(async |stage| {
        let fake = Fake::at_work(&stage, 1).await;
        let limit = KeyLimit::of(Some("one".to_owned()), None);
        let made = made(&stage, vec![NewJob { limit, ..new_job() }; 3]).await;
        let first = fake.begun(&stage).await.remove(0);
        assert_eq!(first.job.id, made[0]);
        // Its key is free with its end too.
        assert_eq!(stage.apply(over(&first)).await, Settled::Job(JobState::Succeeded));
        assert_eq!(stage.state(made[1]).await, JobState::Running);
        let second = fake.begun(&stage).await.remove(0);
        assert_eq!(second.job.id, made[1]);
        // An end that leaves no place here: the key is free, and there is none for the next one.
        stage.apply(over(&second).0).await;
        assert_eq!(stage.state(made[2]).await, JobState::Queued);
        assert_eq!(ids(&fake.begun(&stage).await), []);
    });
}

#[test]
fn ends_that_come_together_count_once_each() {
    const JOBS: usize = 20;
    on_both(async |stage| {
        let fake = Fake::at_work(&stage, JOBS).await;
        made(&stage, vec![new_job(); JOBS]).await;
        let begun = fake.begun(&stage).await;
        assert_eq!(begun.len(), JOBS);
        let writer = &stage.hand.writer;
        let gate = Gate::new();
        let mut held = Box::pin(writer.apply(gate.clone()));
        assert!(poll!(held.as_mut()).is_pending());
        gate.entered.acquire().await.unwrap().forget();
        let twice = begun.iter().chain(&begun);
        let mut ends = Box::pin(join_all(twice.map(|claimed| writer.apply(over(claimed)))));
        assert!(poll!(ends.as_mut()).is_pending());
        let mut next = Box::pin(writer.apply(enqueue(vec![new_job(); JOBS])));
        assert!(poll!(next.as_mut()).is_pending());
        gate.open.add_permits(1);
        held.await.unwrap();
        let settled: Vec<_> = ends.await.into_iter().map(|end| end.unwrap().answer).collect();
        assert!(settled[..JOBS].iter().all(|one| *one == Settled::Job(JobState::Succeeded)), "{settled:?}");
        assert!(settled[JOBS..].iter().all(|one| *one == Settled::Stale), "{settled:?}");
        next.await.unwrap();
        assert_eq!(fake.begun(&stage).await.len(), JOBS, "the places that were left are taken at once");
        let finished = "SELECT count(*) FROM events WHERE kind = 'ATTEMPT_FINISHED'";
        assert_eq!(stage.number(finished).await, 20);
        let counted = "SELECT job_count FROM job_counts WHERE state = 'SUCCEEDED'";
        assert_eq!(stage.number(counted).await, 20);
        let open = "SELECT count(*) FROM attempts WHERE outcome IS NULL";
        assert_eq!(stage.number(open).await, 20);
    });
}

#[test]
fn what_a_failed_batch_took_is_given_back_and_taken_by_the_next_turn() {
    on_both(async |stage| {
        let fake = Fake::at_work(&stage, 5).await;
        let writer = &stage.hand.writer;
        let gate = Gate::new();
        let mut held = Box::pin(writer.apply(gate.clone()));
        assert!(poll!(held.as_mut()).is_pending());
        gate.entered.acquire().await.unwrap().forget();
        let mut good = Box::pin(writer.apply(enqueue(vec![new_job()])));
        assert!(poll!(good.as_mut()).is_pending());
        let mut bad = Box::pin(writer.apply(BadAtItsEnd));
        assert!(poll!(bad.as_mut()).is_pending());
        gate.open.add_permits(1);
        held.await.unwrap();
        let made_there = good.await.unwrap().answer[0].as_ref().unwrap().id;
        assert!(bad.await.is_err());
        assert_eq!(ids(&fake.begun(&stage).await), [], "a batch that failed is replayed without a claim");
        assert_eq!(fake.0.withdrawn_count.load(Ordering::SeqCst), 1);
        assert_eq!(fake.0.listed_count.load(Ordering::SeqCst), 1, "it had been taken");
        assert_eq!(fake.0.doubt_count.load(Ordering::SeqCst), 0, "an undone claim is in no doubt");
        assert_eq!(fake.looks(), 1, "the worker is told to look for itself");
        assert_eq!(stage.state(made_there).await, JobState::Queued);
        let next = made(&stage, vec![new_job()]).await;
        assert_eq!(ids(&fake.begun(&stage).await), [made_there, next[0]]);
        // A change that fails at once takes nothing with it.
        assert!(writer.apply(Bad).await.is_err());
    });
}

/// Fails when the batch is finished, behind the claim: its count goes below zero.
struct BadAtItsEnd;

impl beadle::store::writer::Change for BadAtItsEnd {
    type Answer = ();

    async fn apply(
        &self,
        batch: &mut beadle::store::writer::Batch<'_>,
    ) -> beadle::store::writer::Outcome<()> {
        batch.count("bad", JobState::Failed, -1);
        Ok(())
    }
}

#[test]
fn a_worker_that_offers_nothing_is_given_nothing() {
    on_both(async |stage| {
        let fake = Fake::at_work(&stage, 0).await;
        let made_there = made(&stage, vec![new_job()]).await;
        assert_eq!(ids(&fake.begun(&stage).await), []);
        assert_eq!(stage.state(made_there[0]).await, JobState::Queued);
        // A claim of somebody else takes it as ever.
        assert_eq!(ids(&stage.hand.claim(fake.0.worker, 1).await), made_there);
    });
}
