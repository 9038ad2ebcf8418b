//! Where a claim is tried: an open store with its writer at work, and a clock that only the test moves.
//! It must never hide what the store answers.

use std::sync::Arc;
use std::time::Duration;

use beadle::base::clock::{Clock, FakeClock, Timestamp};
use beadle::base::random::{Random, SeededRandom};
use beadle::base::task;
use beadle::domain::attempt::{AttemptOutcome, Ended};
use beadle::domain::command::Command;
use beadle::domain::event::Event;
use beadle::domain::filter::EventFilter;
use beadle::domain::id::{AttemptId, JobId, WorkerId};
use beadle::domain::job::{Job, JobState, Label};
use beadle::domain::new_job::NewJob;
use beadle::domain::rejection::Rejection;
use beadle::store::attempts::OpenAttempt;
use beadle::store::claim::{Claim, Claimed};
use beadle::store::ends::{EndAttempt, Settled};
use beadle::store::jobs::Enqueue;
use beadle::store::queues::{ChangeQueue, QueueAction};
use beadle::store::workers::StartWorker;
use beadle::store::writer::{Change, Refusal};
use beadle::store::{Fault, Reader, Store, Writer};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::support::postgres::postgres_url;

/// The instant at which every stage's clock begins.
pub const T0: Timestamp = Timestamp(1_700_000_000_000_000);

/// More jobs than any test makes.
pub const QUEUED_MAX: i64 = 1_000_000;

/// Where the data lies.
pub enum Place {
    /// A directory with SQLite files.
    Directory(TempDir),
    /// The URL of a PostgreSQL database.
    Postgres(String),
}

/// One open store, as one daemon holds it.
pub struct Hand {
    /// The way to its writer.
    pub writer: Writer,
    /// Its reader.
    pub reader: Reader,
    store: Option<Store>,
    turning: Option<JoinHandle<()>>,
}

/// A place with one hand on it.
pub struct Stage {
    /// Stands at `T0` until the test moves it.
    pub clock: Arc<FakeClock>,
    /// The same numbers in every run.
    pub random: Arc<SeededRandom>,
    /// The first daemon's hand.
    pub hand: Hand,
    /// Where the data lies.
    pub place: Place,
}

/// Tries the claim on SQLite, then on PostgreSQL where there is one.
pub fn on_both(claim: impl AsyncFn(Stage)) {
    on_sqlite(&claim);
    on_postgres(&claim);
}

/// Tries a claim that only SQLite makes.
pub fn on_sqlite(claim: impl AsyncFn(Stage)) {
    play(Place::Directory(tempfile::tempdir().expect("a temporary directory can be made")), claim);
}

/// Tries a claim that only PostgreSQL makes, where there is one.
pub fn on_postgres(claim: impl AsyncFn(Stage)) {
    if let Some(url) = postgres_url() {
        play(Place::Postgres(url), claim);
    }
}

/// Runs async work on a runtime of its own.
pub fn block_on<F: Future>(work: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be made").block_on(work)
}

fn play(place: Place, claim: impl AsyncFn(Stage)) {
    let engine = if matches!(place, Place::Directory(_)) { "SQLite" } else { "PostgreSQL" };
    println!("on {engine}");
    block_on(async { claim(Stage::open(place).await).await });
}

impl Hand {
    async fn open(place: &Place, clock: &Arc<FakeClock>, random: &SeededRandom) -> Hand {
        let store = open(place, clock.as_ref(), random).await.expect("the store opens");
        let reader = store.reader();
        let (writer, mut turns) = store.writer(clock.clone());
        let turning = Some(task::spawn(async move { turns.run().await }));
        Hand { writer, reader, store: Some(store), turning }
    }

    /// The open store.
    pub fn store(&self) -> &Store {
        self.store.as_ref().expect("only a second hand on SQLite has no store of its own")
    }

    /// What the change answered. Panics when it was refused.
    pub async fn apply<C: Change>(&self, change: C) -> C::Answer {
        self.writer.apply(change).await.map(|committed| committed.answer).expect("the change is good")
    }

    /// Takes up to `slots` jobs.
    pub async fn claim(&self, worker: WorkerId, slots: usize) -> Vec<Claimed> {
        let cookies = (0..slots).map(|slot| format!("cookie-{slot}")).collect();
        self.apply(Claim { worker, slots, cookies }).await
    }

    /// Stops in order: every change that was sent is answered first.
    pub async fn close(self) {
        let Hand { writer, reader, store, turning } = self;
        drop((writer, reader));
        if let Some(turning) = turning {
            turning.await.expect("the writer ends in order");
        }
        if let Some(store) = store {
            store.close().await;
        }
    }
}

/// Opens the store of a place.
pub async fn open(place: &Place, clock: &dyn Clock, random: &dyn Random) -> Result<Store, Fault> {
    match place {
        Place::Directory(directory) => Store::open_directory(directory.path(), clock, random).await,
        Place::Postgres(url) => Store::open_postgres(url, clock, random).await,
    }
}

impl Stage {
    async fn open(place: Place) -> Stage {
        let (clock, random) = (Arc::new(FakeClock::new(T0)), Arc::new(SeededRandom::new(7)));
        let hand = Hand::open(&place, &clock, &random).await;
        Stage { clock, random, hand, place }
    }

    /// Stops the daemon in order and starts the next one.
    pub async fn reopen(self) -> Stage {
        let Stage { clock, random, hand, place } = self;
        hand.close().await;
        let hand = Hand::open(&place, &clock, &random).await;
        Stage { clock, random, hand, place }
    }

    /// Whether the place is a SQLite file.
    pub fn is_sqlite(&self) -> bool {
        matches!(self.place, Place::Directory(_))
    }

    /// The hand of one more daemon: a store of its own on PostgreSQL; on SQLite, which has one, the same writer.
    pub async fn another_hand(&self) -> Hand {
        if !self.is_sqlite() {
            return Hand::open(&self.place, &self.clock, &self.random).await;
        }
        let (writer, reader) = (self.hand.writer.clone(), self.hand.reader.clone());
        Hand { writer, reader, store: None, turning: None }
    }

    /// The writer of the first hand.
    pub fn writer(&self) -> &Writer {
        &self.hand.writer
    }

    /// The reader of the first hand.
    pub fn reader(&self) -> &Reader {
        &self.hand.reader
    }

    /// Moves the clock on.
    pub fn pass_millis(&self, millis: i64) {
        self.clock.set(self.clock.now().plus_millis(millis));
    }

    /// What the change answered. Panics when it was refused.
    pub async fn apply<C: Change>(&self, change: C) -> C::Answer {
        self.hand.apply(change).await
    }

    /// Why the caller was refused. Panics when the change was made.
    pub async fn rejection<C: Change>(&self, change: C) -> Rejection {
        match self.hand.writer.apply(change).await {
            Err(Refusal::Rejected(rejection)) => rejection,
            Err(Refusal::Fault(fault)) => panic!("a fault instead of a rejection: {fault}"),
            Ok(_) => panic!("the change was made"),
        }
    }

    /// What went wrong in the store. Panics when the change was made.
    pub async fn fault<C: Change>(&self, change: C) -> Fault {
        match self.hand.writer.apply(change).await {
            Err(Refusal::Fault(fault)) => fault,
            Err(Refusal::Rejected(rejection)) => panic!("rejected: {}", rejection.message),
            Ok(_) => panic!("the change was made"),
        }
    }

    /// Makes a job.
    pub async fn enqueue(&self, job: NewJob) -> JobId {
        let mut answers = self.apply(enqueue(vec![job])).await;
        answers.remove(0).expect("the job is good").id
    }

    /// Makes a queue, or sets its limit.
    pub async fn put_queue(&self, name: &str, concurrency_limit: Option<i32>) {
        self.change_queue(name, QueueAction::Put { concurrency_limit, rate_limit: None }).await;
    }

    /// Changes a queue.
    pub async fn change_queue(&self, name: &str, action: QueueAction) {
        self.apply(ChangeQueue { name: name.to_owned(), action, actor: "test".to_owned() }).await;
    }

    /// Lists a worker.
    pub async fn worker(&self) -> WorkerId {
        self.worker_with(Vec::new()).await
    }

    /// Lists a worker with labels.
    pub async fn worker_with(&self, labels: Vec<Label>) -> WorkerId {
        self.apply(StartWorker { labels, ..start_worker("here:1") }).await
    }

    /// The attempts that have not ended, of the newest worker and of those that are gone.
    pub async fn open_attempts(&self, limit: usize) -> Vec<OpenAttempt> {
        let workers = self.reader().workers(i64::MAX, 1).await.expect("the store can be read");
        let newest = workers.rows.first().map_or(WorkerId(0), |(_, worker)| worker.id);
        self.reader().open_attempts(newest, AttemptId(0), limit).await.expect("the store can be read")
    }

    /// Makes a job and takes it.
    pub async fn running(&self, job: NewJob) -> Claimed {
        let (worker, id) = (self.worker().await, self.enqueue(job).await);
        let mut claimed = self.hand.claim(worker, 1).await;
        assert_eq!(claimed.len(), 1, "the only job is taken");
        let claimed = claimed.remove(0);
        assert_eq!(claimed.job.id, id);
        claimed
    }

    /// Ends an attempt.
    pub async fn end(&self, claimed: &Claimed, outcome: AttemptOutcome) -> Settled {
        self.apply(end_of(claimed, Ended::without_process(outcome, "over"))).await
    }

    /// The job as it stands.
    pub async fn job(&self, id: JobId) -> Job {
        self.reader().job(id).await.expect("the store can be read").expect("the job exists")
    }

    /// The job's state.
    pub async fn state(&self, id: JobId) -> JobState {
        self.job(id).await.state
    }

    /// Every event that fits, oldest first.
    pub async fn events(&self, filter: &EventFilter) -> Vec<Event> {
        let newest = self.reader().newest_event().await.expect("the store can be read");
        let page = self.reader().events_after(0, newest, filter, 100_000).await;
        page.expect("the store can be read").events
    }

    /// The number that a statement of the test gives, over a connection of its own.
    pub async fn number(&self, statement: &str) -> i64 {
        if let Place::Postgres(url) = &self.place {
            let mut connection = PgConnection::connect(url).await.expect("the server answers");
            let query = sqlx::query_scalar(AssertSqlSafe(statement));
            return query.fetch_one(&mut connection).await.expect("the test's statement");
        }
        let mut connection = self.sqlite().await;
        let query = sqlx::query_scalar(AssertSqlSafe(statement));
        let number = query.fetch_one(&mut connection).await.expect("the test's statement");
        // In order, so that it does not linger on the file behind the test's back.
        connection.close().await.expect("the test's connection closes");
        number
    }

    /// The numbers that a statement of the test gives on SQLite, in its order.
    pub async fn numbers(&self, statement: &str) -> Vec<i64> {
        let mut connection = self.sqlite().await;
        let query = sqlx::query_scalar(AssertSqlSafe(statement));
        let numbers = query.fetch_all(&mut connection).await.expect("the test's statement");
        connection.close().await.expect("the test's connection closes");
        numbers
    }

    /// Breaks or prepares something on purpose, over a connection of its own.
    pub async fn execute(&self, statement: &str) {
        let query = sqlx::raw_sql(AssertSqlSafe(statement));
        if let Place::Postgres(url) = &self.place {
            let mut connection = PgConnection::connect(url).await.expect("the server answers");
            query.execute(&mut connection).await.expect("the test's statement");
            return;
        }
        let mut connection = self.sqlite().await;
        query.execute(&mut connection).await.expect("the test's statement");
        connection.close().await.expect("the test's connection closes");
    }

    async fn sqlite(&self) -> SqliteConnection {
        let Place::Directory(directory) = &self.place else { panic!("this place is no SQLite file") };
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(directory.path().join("beadle.db"));
        SqliteConnection::connect_with(&options).await.expect("the file can be opened")
    }
}

/// Jobs on their way into a store that has room.
pub fn enqueue(jobs: Vec<NewJob>) -> Enqueue {
    Enqueue { jobs: jobs.into(), queued_max: QUEUED_MAX }
}

/// A worker that begins and is there for as long as any test.
pub fn start_worker(name: &str) -> StartWorker {
    let (name, version) = (name.to_owned(), "0".to_owned());
    StartWorker { name, version, slots: 4, labels: Vec::new(), lease: Some(Duration::from_hours(1)) }
}

/// A plain job in the default queue.
pub fn new_job() -> NewJob {
    let command = Command { argv: vec!["true".to_owned()], ..Command::none() };
    NewJob { is_restartable: true, ..NewJob::plain(command, "tester") }
}

/// A plain job in a queue.
pub fn new_job_in(queue: &str) -> NewJob {
    NewJob { queue_name: queue.to_owned(), ..new_job() }
}

/// A label.
pub fn label(key: &str, value: &str) -> Label {
    Label { key: key.to_owned(), value: value.to_owned() }
}

/// The end of an attempt, with the retry delay in its middle.
pub fn end_of(claimed: &Claimed, ended: Ended) -> EndAttempt {
    EndAttempt { attempt: claimed.attempt, job: claimed.job.id, ended, unit: 0.5, actor: "test".to_owned() }
}
