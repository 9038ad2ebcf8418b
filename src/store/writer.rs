//! Owns every change of state. One task takes all changes that wait, puts them into one transaction,
//! commits once, then answers each: group commit, without a timer.
//!
//! It must never answer before the commit. A batch that fails is replayed one by one, so that one bad change
//! does not lose its neighbours; after a full disk or an I/O error it is not, for its end is unknown.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::db::{Db, Kind, Sql, Tx};
use super::dependencies::{self, Ends};
use super::events;
use super::fault::{Fault, FaultKind, Result};
use super::ids::{Ids, Numbered};
use super::jobs::PendingRows;
use crate::args;
use crate::base::asker::peer;
use crate::base::clock::{Clock, Timestamp};
use crate::base::points;
use crate::domain::event::{EventCursor, NewEvent};
use crate::domain::job::JobState;
use crate::domain::rejection::Rejection;

/// Changes that may wait; the next one is refused as overloaded.
pub const WAITING_MAX: usize = 10_000;
/// Changes in one transaction.
pub const BATCH_MAX: usize = 1_024;
/// How often a change of a failed batch is tried alone.
const ALONE_TRIES: usize = 2;

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
    /// What happened, each with the address that it was asked from.
    events: Vec<(NewEvent, Option<IpAddr>)>,
    /// The address that the change being applied was asked from.
    peer: Option<IpAddr>,
    counts: HashMap<(String, JobState), i64>,
    /// Keys of which a job came, went or moved: before the commit it is seen who of them may run.
    pub(super) touched_keys: BTreeSet<String>,
    /// Rows of new jobs, written together at the end or before a change that must see them.
    pub(super) pending: PendingRows,
    /// Jobs that became final, whose dependants were not yet looked at.
    pub(super) ends: Ends,
}

impl Batch<'_> {
    /// The next number of its kind.
    pub async fn draw(&mut self, kind: Numbered) -> Result<i64> {
        self.ids.draw(&mut self.tx, kind).await
    }

    /// States a fact; it is numbered and committed with the change.
    pub fn emit(&mut self, event: NewEvent) {
        self.events.push((event, self.peer));
    }

    /// Counts jobs of a queue into (or out of) a state.
    pub fn count(&mut self, queue: &str, state: JobState, by: i64) {
        *self.counts.entry((queue.to_owned(), state)).or_default() += by;
    }

    async fn finish(mut self, previous: i64) -> Result<Vec<i64>> {
        super::jobs::write_pending(&mut self).await?;
        dependencies::settle(&mut self).await?;
        dependencies::keep(&mut self).await?;
        super::keys::settle(&mut self).await?;
        super::jobs::write_counts(&mut self.tx, &self.counts).await?;
        let seqs = events::write(&mut self.tx, self.ids, self.now, &self.events).await?;
        assert!(seqs.first().is_none_or(|first| *first > previous), "event numbers must rise");
        self.ids.keep(&mut self.tx).await?;
        points::reach("writer.before_commit");
        self.tx.commit().await?;
        points::reach("writer.committed");
        Ok(seqs)
    }
}

type Applying<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// A change with its caller's address, the type of the answer hidden.
trait Waiting: Send {
    fn peer(&self) -> Option<IpAddr>;
    fn apply<'a>(&'a mut self, batch: &'a mut Batch<'_>) -> Applying<'a>;
    fn answer(self: Box<Self>, cursor: EventCursor);
    fn refuse(self: Box<Self>, fault: Fault);
}

struct Envelope<C: Change> {
    change: C,
    peer: Option<IpAddr>,
    outcome: Option<std::result::Result<C::Answer, Rejection>>,
    reply: oneshot::Sender<Outcome<Committed<C::Answer>>>,
}

impl<C: Change> Waiting for Envelope<C> {
    fn peer(&self) -> Option<IpAddr> {
        self.peer
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

    fn answer(self: Box<Self>, cursor: EventCursor) {
        let outcome = self.outcome.expect("a change is answered only after it was applied");
        // A caller that went away changes nothing.
        let _ = self.reply.send(match outcome {
            Ok(answer) => Ok(Committed { answer, cursor }),
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
    newest: watch::Receiver<i64>,
    trouble: watch::Receiver<Option<Fault>>,
    epoch: u32,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("newest", &*self.newest.borrow()).finish_non_exhaustive()
    }
}

impl Writer {
    /// Hands the change to the writer and waits for its commit. Dropping the future does not undo it.
    pub async fn apply<C: Change>(&self, change: C) -> Outcome<Committed<C::Answer>> {
        let (reply, answer) = oneshot::channel();
        let envelope = Box::new(Envelope { change, peer: peer(), outcome: None, reply });
        self.queue.try_send(envelope).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Fault::new(FaultKind::Overloaded, "too many changes wait for the store; try again soon")
            }
            mpsc::error::TrySendError::Closed(_) => Fault::new(FaultKind::Stopping, "the daemon is stopping"),
        })?;
        answer.await.map_err(|_| {
            if self.queue.is_closed() {
                Fault::new(FaultKind::Stopping, "the daemon stopped before the change was made")
            } else {
                // The writer panicked with our change in hand and was restarted.
                Fault::new(FaultKind::Io, "the writer failed; whether the change was made is not known")
            }
        })?
    }

    /// Number of the newest committed event; changes with every commit that has events.
    pub fn newest(&self) -> watch::Receiver<i64> {
        self.newest.clone()
    }

    /// Why the last commit failed, while the next one has not succeeded.
    pub fn trouble(&self) -> watch::Receiver<Option<Fault>> {
        self.trouble.clone()
    }

    /// The position behind the newest committed event.
    pub fn cursor(&self) -> EventCursor {
        EventCursor { epoch: self.epoch, seq: *self.newest.borrow() }
    }
}

/// The writer's own side: give it to one task that calls `run`.
pub struct WriterLoop {
    db: Arc<Db>,
    clock: Arc<dyn Clock>,
    epoch: u32,
    queue: mpsc::Receiver<Box<dyn Waiting>>,
    newest: watch::Sender<i64>,
    trouble: watch::Sender<Option<Fault>>,
    ids: Ids,
}

/// Both sides of the writer over `db`, whose newest event is `newest`.
pub fn channel(db: Arc<Db>, clock: Arc<dyn Clock>, epoch: u32, newest: i64) -> (Writer, WriterLoop) {
    let (sender, queue) = mpsc::channel(WAITING_MAX);
    let (newest_sender, newest_receiver) = watch::channel(newest);
    let (trouble_sender, trouble) = watch::channel(None);
    let writer = Writer { queue: sender, newest: newest_receiver, trouble, epoch };
    let (newest, trouble, ids) = (newest_sender, trouble_sender, Ids::default());
    (writer, WriterLoop { db, clock, epoch, queue, newest, trouble, ids })
}

impl WriterLoop {
    /// Commits changes until every `Writer` is gone. May be called again after a panic.
    pub async fn run(&mut self) {
        self.ids = Ids::default();
        while let Some(first) = self.queue.recv().await {
            let mut waiting = vec![first];
            while waiting.len() < BATCH_MAX {
                match self.queue.try_recv() {
                    Ok(next) => waiting.push(next),
                    Err(_) => break,
                }
            }
            self.turn(waiting).await;
        }
    }

    async fn turn(&mut self, waiting: Vec<Box<dyn Waiting>>) {
        let Err((fault, waiting)) = self.commit(waiting).await else { return };
        if !fault.is_replayable() {
            tracing::error!(kind = ?fault.kind, changes = waiting.len(), "a commit failed: {fault}");
            refuse_all(waiting, &fault);
            return;
        }
        for change in waiting {
            self.replay(vec![change]).await;
        }
    }

    /// Tries a change of a failed batch alone. Another daemon may have been faster with the same key or name:
    /// then the next look finds what that one made.
    async fn replay(&mut self, mut alone: Vec<Box<dyn Waiting>>) {
        for tries_left in (0..ALONE_TRIES).rev() {
            let Err((fault, back)) = self.commit(alone).await else { return };
            if tries_left == 0 || !fault.is_replayable() {
                tracing::error!(kind = ?fault.kind, "a change failed: {fault}");
                refuse_all(back, &fault);
                return;
            }
            alone = back;
        }
    }

    /// Commits the changes together and answers them, or gives them back with the reason.
    async fn commit(
        &mut self,
        mut waiting: Vec<Box<dyn Waiting>>,
    ) -> std::result::Result<(), (Fault, Vec<Box<dyn Waiting>>)> {
        let previous = *self.newest.borrow();
        match self.attempt(&mut waiting, previous).await {
            Ok((seqs, marks)) => {
                if let Some(last) = seqs.last() {
                    self.newest.send_replace(*last);
                }
                self.trouble.send_if_modified(|trouble| trouble.take().is_some());
                for (change, mark) in waiting.into_iter().zip(marks) {
                    let seq = if mark == 0 { previous } else { seqs[mark - 1] };
                    change.answer(EventCursor { epoch: self.epoch, seq });
                }
                Ok(())
            }
            Err(fault) => {
                // What was drawn may or may not be kept: read it anew.
                self.ids = Ids::default();
                if !fault.is_replayable() {
                    self.trouble.send_replace(Some(fault.clone()));
                }
                Err((fault, waiting))
            }
        }
    }

    /// Gives the numbers of the batch's events, and for each change how many of them lie behind it.
    async fn attempt(
        &mut self,
        waiting: &mut [Box<dyn Waiting>],
        previous: i64,
    ) -> Result<(Vec<i64>, Vec<usize>)> {
        points::reach("writer.before_begin");
        let tx = self.db.begin().await?;
        let mut batch = Batch {
            tx,
            now: self.clock.now(),
            epoch: self.epoch,
            ids: &mut self.ids,
            events: Vec::new(),
            peer: None,
            counts: HashMap::new(),
            touched_keys: BTreeSet::new(),
            pending: PendingRows::default(),
            ends: Ends::default(),
        };
        let mut marks = Vec::with_capacity(waiting.len());
        for change in waiting.iter_mut() {
            batch.peer = change.peer();
            change.apply(&mut batch).await?;
            marks.push(batch.events.len());
        }
        points::reach("writer.applied");
        Ok((batch.finish(previous).await?, marks))
    }
}

fn refuse_all(waiting: Vec<Box<dyn Waiting>>, fault: &Fault) {
    for change in waiting {
        change.refuse(fault.clone());
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

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<()> {
        let now = batch.now.0;
        batch.tx.execute(&PROBE, &args![now]).await?;
        Ok(())
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&PROBE];
