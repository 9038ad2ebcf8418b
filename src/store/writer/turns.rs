//! Owns the turns of the writer: each takes what waits, commits it in one transaction together with what is claimed
//! of it, and answers.
//!
//! A batch that fails is replayed one by one, so that one bad change does not lose its neighbours; after a full disk or
//! an I/O error it is not, for its end is unknown. A replay claims nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::news::News;
use super::order::Order;
use super::{BATCH_MAX, Batch, WAITING_MAX, Waiting, Writer};
use crate::base::clock::{Clock, Timestamp};
use crate::base::metrics::Metrics;
use crate::base::points;
use crate::base::pulse::Pulse;
use crate::domain::event::EventCursor;
use crate::store::breaker::Breaker;
use crate::store::claim;
use crate::store::db::Db;
use crate::store::ends;
use crate::store::events::Written;
use crate::store::fault::{Certainty, FAULT_KINDS, Fault, Result};
use crate::store::ids::Ids;
use crate::store::known::Known;
use crate::store::offer::{Desk, Offer, Worker};

/// How often a change of a failed batch is tried alone. Several daemons on one database may stand in each other's way
/// more than once, and several times where many of them work on few queues.
const ALONE_TRIES: usize = 12;

/// A batch that was committed.
struct Done {
    at: Timestamp,
    /// Its events.
    written: Written,
    /// For each change how many of them lie behind it.
    marks: Vec<usize>,
    looks: Looks,
}

/// Who must look at the store for himself behind a commit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looks {
    /// The worker of this process.
    pub(super) here: bool,
    /// The others.
    pub(super) elsewhere: bool,
}

/// The writer's own side: give it to one task that calls `run`.
pub struct WriterLoop {
    db: Arc<Db>,
    clock: Arc<dyn Clock>,
    epoch: u32,
    queue: mpsc::Receiver<Box<dyn Waiting>>,
    order: Order<Box<dyn Waiting>>,
    passed_over: Arc<AtomicUsize>,
    news: Arc<News>,
    breaker: Breaker,
    pulse: Arc<Pulse>,
    ids: Ids,
    known: Known,
    metrics: Metrics,
    desk: Desk,
}

/// Both sides of the writer over `db`, whose newest event is `newest`.
pub fn channel(
    db: Arc<Db>,
    clock: Arc<dyn Clock>,
    breaker: Breaker,
    epoch: u32,
    newest: i64,
) -> (Writer, WriterLoop) {
    let (sender, queue) = mpsc::channel(WAITING_MAX);
    let news = Arc::new(News::new(newest));
    let pulse = Arc::new(Pulse::new(clock.monotonic()));
    let metrics = Metrics::default();
    // A rate can only be told of what was there before.
    for kind in FAULT_KINDS {
        metrics.refused(kind.word(), 0);
    }
    let (desk, passed_over) = (Desk::default(), Arc::<AtomicUsize>::default());
    let writer = Writer {
        queue: sender,
        passed_over: Arc::clone(&passed_over),
        newest: news.subscribe(),
        news: Arc::downgrade(&news),
        breaker: breaker.clone(),
        pulse: Arc::clone(&pulse),
        epoch,
        metrics: metrics.clone(),
        desk: desk.clone(),
    };
    let (ids, known, order) = <_>::default();
    (
        writer,
        WriterLoop {
            db,
            clock,
            epoch,
            queue,
            order,
            passed_over,
            news,
            breaker,
            pulse,
            ids,
            known,
            metrics,
            desk,
        },
    )
}

impl WriterLoop {
    /// Commits changes until every `Writer` is gone. May be called again after a panic.
    pub async fn run(&mut self) {
        (self.ids, self.known) = <_>::default();
        self.pulse.rest(self.clock.monotonic());
        while self.gather().await {
            let now = self.clock.monotonic();
            let waiting = self.order.next(now);
            self.passed_over.store(self.order.count(), Ordering::Relaxed);
            self.pulse.begin(now);
            points::reach("writer.turn");
            self.turn(waiting).await;
            self.pulse.rest(self.clock.monotonic());
        }
    }

    /// Takes in what waits, as far as it may be in one turn, and waits while there is nothing. False when nothing will be.
    async fn gather(&mut self) -> bool {
        if self.order.count() == 0 {
            let Some(first) = self.queue.recv().await else { return false };
            self.order.add(first.load(), first);
        }
        while self.order.count() < BATCH_MAX {
            let Ok(next) = self.queue.try_recv() else { break };
            self.order.add(next.load(), next);
        }
        true
    }

    async fn turn(&mut self, waiting: Vec<Box<dyn Waiting>>) {
        let waiting = self.admit(waiting);
        if waiting.is_empty() {
            return;
        }
        let worker = self.desk.worker();
        let Err((fault, waiting)) = self.commit(waiting, worker.as_deref()).await else { return };
        if !fault.is_replayable() {
            tracing::error!(kind = ?fault.kind, changes = waiting.len(), "a commit failed: {fault}");
            self.refuse_all(waiting, &fault);
            return;
        }
        for change in waiting {
            // Each is a transaction of its own.
            self.pulse.begin(self.clock.monotonic());
            self.replay(self.admit(vec![change])).await;
        }
        // It may have been the claim that failed: what they brought is left to the worker's own look.
        if let Some(worker) = worker {
            worker.look();
        }
    }

    /// What waited while the breaker opened is refused without another try; only the probe passes.
    fn admit(&self, waiting: Vec<Box<dyn Waiting>>) -> Vec<Box<dyn Waiting>> {
        let Some(fault) = self.breaker.fault() else { return waiting };
        let (probes, refused) = waiting.into_iter().partition(|change| change.is_probe());
        self.refuse_all(refused, &Fault::new(fault.kind, fault.message));
        probes
    }

    /// Tries a change of a failed batch alone. Another daemon may have been faster with the same key or name:
    /// then the next look finds what that one made.
    async fn replay(&mut self, mut alone: Vec<Box<dyn Waiting>>) {
        if alone.is_empty() {
            return;
        }
        for tries_left in (0..ALONE_TRIES).rev() {
            let Err((fault, back)) = self.commit(alone, None).await else { return };
            if tries_left == 0 || !fault.is_replayable() {
                tracing::error!(kind = ?fault.kind, "a change failed: {fault}");
                self.breaker.failed(&fault);
                self.refuse_all(back, &fault);
                return;
            }
            alone = back;
        }
    }

    /// Commits the changes together and answers them, or gives them back with the reason. What they bring is claimed for
    /// the worker in the same transaction, and begins behind the answers.
    async fn commit(
        &mut self,
        mut waiting: Vec<Box<dyn Waiting>>,
        worker: Option<&dyn Worker>,
    ) -> std::result::Result<(), (Fault, Vec<Box<dyn Waiting>>)> {
        let previous = self.news.newest();
        let began = self.clock.monotonic();
        // Dropped without a word, by a panic or when nobody knows what became of the commit, it looks for itself.
        let mut offer = None;
        let committed = self.attempt(&mut waiting, previous, worker, &mut offer).await;
        // Looked at behind the commit: what went into a file that has lost its name is not acknowledged.
        let committed = committed.and_then(|done| match self.breaker.look_at_files() {
            Some(fault) => Err(fault.unsure()),
            None => Ok(done),
        });
        match committed {
            Ok(Done { at, written: Written { seqs, followed }, marks, looks }) => {
                self.news.commit(seqs.last().copied(), followed, looks.elsewhere);
                self.breaker.succeeded();
                self.metrics.committed(waiting.len(), self.clock.monotonic().duration_since(began));
                for (change, mark) in waiting.into_iter().zip(marks) {
                    let seq = if mark == 0 { previous } else { seqs[mark - 1] };
                    change.answer(EventCursor { epoch: self.epoch, seq }, at);
                }
                if let Some(offer) = offer {
                    offer.begin();
                }
                if let Some(worker) = worker.filter(|_| looks.here) {
                    worker.look();
                }
                Ok(())
            }
            Err(fault) => {
                // What was drawn may or may not be kept: read it anew.
                (self.ids, self.known) = <_>::default();
                if let Some(offer) = offer.filter(|_| fault.certainty == Certainty::Unchanged) {
                    offer.withdraw();
                }
                if !fault.is_replayable() {
                    self.breaker.failed(&fault);
                }
                Err((fault, waiting))
            }
        }
    }

    async fn attempt(
        &mut self,
        waiting: &mut [Box<dyn Waiting>],
        previous: i64,
        worker: Option<&dyn Worker>,
        offer: &mut Option<Box<dyn Offer>>,
    ) -> Result<Done> {
        points::reach("writer.before_begin");
        let tx = self.db.begin().await?;
        let mut batch =
            Batch::new(tx, (self.clock.now(), self.epoch), (&mut self.ids, &mut self.known), &self.metrics);
        let ended: Vec<_> = waiting.iter().filter_map(|change| change.end()).collect();
        ends::settle(&mut batch, &ended).await?;
        let mut marks = Vec::with_capacity(waiting.len());
        for change in waiting.iter_mut() {
            batch.asker = change.asker();
            change.apply(&mut batch).await?;
            marks.push(batch.events.len());
        }
        batch.asker = None;
        points::reach("writer.applied");
        let has_left = match worker {
            Some(worker) => claim::for_worker(&mut batch, worker, offer).await?,
            None => true,
        };
        batch.calls_others |= batch.has_work && has_left;
        let at = batch.now;
        let (written, looks) = batch.finish(previous, self.news.is_followed()).await?;
        Ok(Done { at, written, marks, looks })
    }

    fn refuse_all(&self, waiting: Vec<Box<dyn Waiting>>, fault: &Fault) {
        self.metrics.refused(fault.kind.word(), waiting.len());
        for change in waiting {
            change.refuse(fault.clone());
        }
    }
}
