//! Owns every change of state. One task takes all changes that wait, puts them into one transaction,
//! commits once, then answers each: group commit, without a timer.
//!
//! It must never answer before the commit. What a batch is lies here, the turns in `turns`, who comes into which in `order`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::{mpsc, oneshot, watch};

use self::news::News;
pub use self::news::OwnNews;
use self::order::Load;
use self::turns::Looks;
pub use self::turns::{WriterLoop, channel};
use super::breaker::Breaker;
use super::db::{Kind, Sql, Tx};
use super::dependencies::{self, Ends};
use super::ends::{EndAttempt, Settled};
use super::events::{self, StoredEvent, Written};
use super::fault::{Fault, FaultKind, Result};
use super::ids::{Ids, Numbered};
use super::incident_counts::{self, Failures};
use super::jobs::PendingRows;
use super::known::Known;
use super::offer::{Desk, Worker};
use super::tally::Tally;
use crate::args;
use crate::base::asker::{Asker, asker};
use crate::base::clock::Timestamp;
use crate::base::metrics::Metrics;
use crate::base::points;
use crate::base::pulse::Pulse;
use crate::domain::event::{EventCursor, NewEvent};
use crate::domain::id::AttemptId;
use crate::domain::job::JobState;
use crate::domain::rejection::Rejection;

mod news;
mod order;
mod turns;

/// Changes that may wait; the next one is refused as overloaded.
pub const WAITING_MAX: usize = 10_000;
/// Changes in one transaction.
pub const BATCH_MAX: usize = 1_024;

/// Why a change did not happen.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// The caller can fix it.
    Rejected(Rejection),
    /// We must fix it.
    Fault(Fault),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        Refusal::Fault(fault)
    }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Refusal {
        Refusal::Rejected(rejection)
    }
}

/// What a change answers: its result, or a refusal. A rejection must come before its first write.
pub type Outcome<T> = std::result::Result<T, Refusal>;

/// A change of state, as a value.
pub trait Change: Send + Sync + 'static {
    /// What its caller learns.
    type Answer: Send + 'static;
    /// Whether it is only made to see whether the store can be written: then the breaker lets it through.
    const IS_PROBE: bool = false;
    /// Whether it brings new work, which a disk that is nearly full has no room for.
    fn needs_room(&self) -> bool {
        false
    }
    /// The end of an attempt that it records: a turn settles all of its ends together, before anything else.
    fn end(&self) -> Option<&EndAttempt> {
        None
    }
    /// Roughly the jobs that it writes.
    fn size(&self) -> usize {
        1
    }
    /// Applies it inside the batch's transaction. May be called again after a failed batch.
    fn apply(&self, batch: &mut Batch<'_>) -> impl Future<Output = Outcome<Self::Answer>> + Send;
}

/// A change that was committed.
#[derive(Debug, Clone)]
pub struct Committed<T> {
    /// What it answered.
    pub answer: T,
    /// Behind its last event.
    pub cursor: EventCursor,
    /// The instant of everything in its transaction.
    pub at: Timestamp,
}

/// The transaction that some changes share.
pub struct Batch<'a> {
    /// The open transaction.
    pub tx: Tx,
    /// The instant of everything in it.
    pub now: Timestamp,
    /// Names the store in cursors.
    pub epoch: u32,
    ids: &'a mut Ids,
    /// What need not be asked.
    pub(super) known: &'a mut Known,
    /// What happened, each with the address that it was asked from.
    events: Vec<(NewEvent, Option<IpAddr>)>,
    /// For whom the change being applied is made.
    asker: Option<Arc<Asker>>,
    metrics: &'a Metrics,
    /// In order: several daemons lock the rows of counts in the same one.
    counts: BTreeMap<String, BTreeMap<JobState, i64>>,
    /// Keys of which a job came, went or moved: before the commit it is seen who of them may run.
    pub(super) touched_keys: BTreeSet<String>,
    /// Rows of new jobs, written together at the end or before a change that must see them.
    pub(super) pending: PendingRows,
    /// Jobs that became final, whose dependants were not yet looked at.
    pub(super) ends: Ends,
    /// What failed and was not yet counted into its incident.
    pub(super) failures: Failures,
    /// Whether a job came into its queue, or past its gate: a claim may find it.
    pub(super) has_work: bool,
    /// Whether something was planned, or left over, that the dispatcher must look at itself.
    pub(super) needs_look: bool,
    /// What became of the ends that were settled and not yet answered.
    pub(super) settled: HashMap<AttemptId, Settled>,
    /// Places of this process's worker that are free with the commit.
    pub(super) vacated_count: usize,
    /// Whether other workers, where there are any, have something to look at: work that was left, or a stop.
    pub(super) calls_others: bool,
}

impl<'a> Batch<'a> {
    fn new(
        tx: Tx,
        (now, epoch): (Timestamp, u32),
        (ids, known): (&'a mut Ids, &'a mut Known),
        metrics: &'a Metrics,
    ) -> Batch<'a> {
        Batch {
            tx,
            now,
            epoch,
            ids,
            known,
            metrics,
            events: Vec::new(),
            asker: None,
            counts: BTreeMap::new(),
            touched_keys: BTreeSet::new(),
            pending: PendingRows::default(),
            ends: Ends::default(),
            failures: Failures::default(),
            has_work: false,
            needs_look: false,
            settled: HashMap::new(),
            vacated_count: 0,
            calls_others: false,
        }
    }

    /// The next number of its kind.
    pub async fn draw(&mut self, kind: Numbered) -> Result<i64> {
        self.ids.draw(&mut self.tx, kind).await
    }

    /// The span, as a `traceparent`, that the change being applied is asked from.
    pub fn trace(&self) -> Option<&str> {
        self.asker.as_ref().and_then(|asker| asker.trace.as_deref())
    }

    /// States a fact; it is numbered and committed with the change.
    pub fn emit(&mut self, event: NewEvent) {
        self.events.push((event, self.asker.as_ref().map(|asker| asker.peer)));
    }

    /// Counts jobs of a queue into (or out of) a state.
    pub fn count(&mut self, queue: &str, state: JobState, by: i64) {
        self.has_work |= state == JobState::Queued && by > 0;
        self.needs_look |= matches!(state, JobState::Scheduled | JobState::Retrying) && by > 0;
        if let Some(states) = self.counts.get_mut(queue) {
            *states.entry(state).or_default() += by;
        } else {
            self.counts.insert(queue.to_owned(), BTreeMap::from([(state, by)]));
        }
    }

    /// Commits; gives the events, and who must look for himself.
    async fn finish(mut self, previous: i64, is_followed: bool) -> Result<(Written, Looks)> {
        super::jobs::write_pending(&mut self).await?;
        dependencies::settle(&mut self).await?;
        dependencies::keep(&mut self).await?;
        super::keys::settle(&mut self).await?;
        incident_counts::settle(&mut self).await?;
        super::jobs::write_counts(&mut self.tx, self.known, &self.counts).await?;
        let mut tally = Tally::default();
        self.events.iter().for_each(|(event, _)| tally.add(event));
        let written = events::write(&mut self.tx, self.ids, self.now, self.events, is_followed).await?;
        assert!(written.seqs.first().is_none_or(|first| *first > previous), "event numbers must rise");
        self.ids.keep(&mut self.tx).await?;
        points::reach("writer.before_commit");
        self.tx.commit().await?;
        tally.tell(self.metrics);
        points::reach("writer.committed");
        Ok((written, Looks { here: self.needs_look, elsewhere: self.calls_others }))
    }
}

type Applying<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// A change with whom it is made for, the type of the answer hidden.
trait Waiting: Send {
    fn is_probe(&self) -> bool;
    fn asker(&self) -> Option<Arc<Asker>>;
    fn load(&self) -> Load;
    fn end(&self) -> Option<&EndAttempt>;
    fn apply<'a>(&'a mut self, batch: &'a mut Batch<'_>) -> Applying<'a>;
    fn answer(self: Box<Self>, cursor: EventCursor, at: Timestamp);
    fn refuse(self: Box<Self>, fault: Fault);
}

struct Envelope<C: Change> {
    change: C,
    asker: Option<Arc<Asker>>,
    outcome: Option<std::result::Result<C::Answer, Rejection>>,
    reply: oneshot::Sender<Outcome<Committed<C::Answer>>>,
}

/// Where the answer to a change that was handed over comes from.
type Handed<C> = oneshot::Receiver<Outcome<Committed<<C as Change>::Answer>>>;

impl<C: Change> Waiting for Envelope<C> {
    fn is_probe(&self) -> bool {
        C::IS_PROBE
    }

    fn asker(&self) -> Option<Arc<Asker>> {
        self.asker.clone()
    }

    fn load(&self) -> Load {
        Load { size: self.change.size().max(1), is_asked: self.asker.is_some() }
    }

    fn end(&self) -> Option<&EndAttempt> {
        self.change.end()
    }

    fn apply<'a>(&'a mut self, batch: &'a mut Batch<'_>) -> Applying<'a> {
        Box::pin(async move {
            self.outcome = Some(match self.change.apply(batch).await {
                Ok(answer) => Ok(answer),
                Err(Refusal::Rejected(rejection)) => Err(rejection),
                Err(Refusal::Fault(fault)) => return Err(fault),
            });
            Ok(())
        })
    }

    fn answer(self: Box<Self>, cursor: EventCursor, at: Timestamp) {
        let outcome = self.outcome.expect("a change is answered only after it was applied");
        // A caller that went away changes nothing.
        let _ = self.reply.send(match outcome {
            Ok(answer) => Ok(Committed { answer, cursor, at }),
            Err(rejection) => Err(Refusal::Rejected(rejection)),
        });
    }

    fn refuse(self: Box<Self>, fault: Fault) {
        let _ = self.reply.send(Err(Refusal::Fault(fault)));
    }
}

/// The way to the writer. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::Sender<Box<dyn Waiting>>,
    /// How many were taken out of the queue and passed over.
    passed_over: Arc<AtomicUsize>,
    newest: watch::Receiver<i64>,
    news: Weak<News>,
    breaker: Breaker,
    pulse: Arc<Pulse>,
    epoch: u32,
    metrics: Metrics,
    desk: Desk,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("newest", &*self.newest.borrow()).finish_non_exhaustive()
    }
}

impl Writer {
    /// Hands the change to the writer, at once, and waits for its commit. Dropping the future does not undo it.
    pub fn apply<C: Change>(&self, change: C) -> impl Future<Output = Outcome<Committed<C::Answer>>> {
        let handed = self.hand_over(change);
        // What waits has no room for the change itself: some are half a kilobyte.
        async {
            handed?.await.map_err(|_| {
                if self.queue.is_closed() {
                    Fault::new(FaultKind::Stopping, "the daemon stopped before the change was made")
                } else {
                    // The writer panicked with our change in hand and was restarted.
                    Fault::new(FaultKind::Io, "the writer failed").unsure()
                }
            })?
        }
    }

    fn hand_over<C: Change>(&self, change: C) -> Outcome<Handed<C>> {
        let room = if change.needs_room() { self.breaker.low_room() } else { None };
        let refusing = if C::IS_PROBE { None } else { self.breaker.fault().or(room) };
        if let Some(fault) = refusing {
            self.metrics.refused(fault.kind.word(), 1);
            return Err(Fault::new(fault.kind, fault.message).into());
        }
        let (reply, answer) = oneshot::channel();
        let envelope = Box::new(Envelope { change, asker: asker(), outcome: None, reply });
        self.queue.try_send(envelope).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                self.metrics.refused(FaultKind::Overloaded.word(), 1);
                Fault::new(FaultKind::Overloaded, "too many changes wait for the store; try again soon")
            }
            mpsc::error::TrySendError::Closed(_) => Fault::new(FaultKind::Stopping, "the daemon is stopping"),
        })?;
        Ok(answer)
    }

    /// From now on its turns claim for this worker too, as work comes and places become free.
    pub fn serve(&self, worker: Arc<dyn Worker>) {
        self.desk.seat(worker);
    }

    /// Number of the newest committed event that is known here; changes with every commit that has events.
    pub fn newest(&self) -> watch::Receiver<i64> {
        self.newest.clone()
    }

    /// Another daemon on the same database committed the event of this number.
    pub fn saw(&self, seq: i64) {
        if let Some(news) = self.news.upgrade() {
            news.advance(seq);
        }
    }

    /// What was committed here right behind the event `after`, up to `newest`; nothing when something is missing in between,
    /// or was forgotten: then the store has it. Whoever asks is taken for one who follows, for whom the next ones are kept.
    pub fn followed(&self, after: i64, newest: i64) -> Vec<StoredEvent> {
        self.news.upgrade().map(|news| news.take(after, newest)).unwrap_or_default()
    }

    /// What was committed here, for those who tell other daemons of it.
    pub fn own_news(&self) -> watch::Receiver<OwnNews> {
        // With the loop gone nothing more is committed.
        self.news.upgrade().map_or_else(|| watch::channel(OwnNews::default()).1, |news| news.own.subscribe())
    }

    /// Why every change is refused, while that is so.
    pub fn trouble(&self) -> watch::Receiver<Option<Fault>> {
        self.breaker.watch()
    }

    /// Resolves when changes are taken.
    pub async fn ready(&self) {
        // The sender lives as long as `self`.
        let _ = self.breaker.watch().wait_for(Option::is_none).await;
    }

    /// Resolves when the store is not to be trusted: it is damaged, or its file is another one.
    pub async fn lost(&self) -> Fault {
        let is_lost =
            |kind: Option<FaultKind>| matches!(kind, Some(FaultKind::Damaged | FaultKind::Replaced));
        let mut trouble = self.breaker.watch();
        let found = trouble.wait_for(|fault| is_lost(fault.as_ref().map(|fault| fault.kind))).await;
        let Some(fault) = found.ok().and_then(|fault| fault.clone()) else {
            return std::future::pending().await;
        };
        fault
    }

    /// Whether it is at a batch of changes, and since when.
    pub fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.pulse)
    }

    /// How many changes wait for the writer.
    pub fn waiting_count(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity() + self.passed_over.load(Ordering::Relaxed)
    }

    /// The daemon's numbers, which the writer counts into.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The position behind the newest committed event.
    pub fn cursor(&self) -> EventCursor {
        EventCursor { epoch: self.epoch, seq: *self.newest.borrow() }
    }
}

const PROBE: Sql = Sql::both(
    "INSERT INTO counters (name, value) VALUES ('probe', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    &[Kind::Int],
);

/// Writes something, to see whether the store can.
#[derive(Debug, Clone, Copy)]
pub struct Probe;

impl Change for Probe {
    type Answer = ();
    const IS_PROBE: bool = true;

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<()> {
        let now = batch.now.0;
        batch.tx.execute(&PROBE, &args![now]).await?;
        Ok(())
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&PROBE];
