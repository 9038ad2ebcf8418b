//! Owns results that wait for a store in trouble: for a moment in memory, then in the spool. They reach the store
//! before anybody looks for attempts without a runner. A result that comes twice changes nothing the second time.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Engine;
use crate::base::{clock, points};
use crate::domain::id::AttemptId;
use crate::store::ends::{EndAttempt, LeavePlace, Settled};
use crate::store::writer::Refusal;
use crate::store::{Fault, FaultKind, spool};

/// How long a result waits in memory before it goes to the spool.
const SPOOL_AFTER: Duration = Duration::from_secs(2);

/// What can wait in the spool: named, so that kinds can be told apart should there be others.
#[derive(Debug, Serialize, Deserialize)]
enum Record {
    /// The end of an attempt.
    End(Box<EndAttempt>),
}

/// The spool of this daemon. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Spool {
    /// Held while a file is written, and while its records are replayed.
    file: Arc<tokio::sync::Mutex<spool::Spool>>,
    /// Attempts whose end is in it: they are not without a runner.
    ended: Arc<Mutex<HashSet<AttemptId>>>,
}

impl Spool {
    /// Opens the spool of a data directory.
    pub fn open(directory: &Path, epoch: u32) -> Result<Spool, Fault> {
        let file = spool::Spool::open(&directory.join("spool"), epoch)?;
        let ended = read(&file).iter().map(|Record::End(end)| end.attempt).collect();
        Ok(Spool { file: Arc::new(tokio::sync::Mutex::new(file)), ended: Arc::new(Mutex::new(ended)) })
    }

    /// Whether the end of this attempt waits here.
    pub fn contains(&self, attempt: AttemptId) -> bool {
        self.ended().contains(&attempt)
    }

    async fn keep(&self, end: &EndAttempt) -> Result<(), Fault> {
        points::pass("spool.keep").map_err(|why| Fault::new(FaultKind::Io, why))?;
        let record = Record::End(Box::new(end.clone()));
        let text = serde_json::to_vec(&record).map_err(|error| Fault::bug(error.to_string()))?;
        let mut file = self.file.clone().lock_owned().await;
        let written = tokio::task::spawn_blocking(move || (file.append(&text), file)).await;
        let (written, file) = written.map_err(|error| Fault::bug(error.to_string()))?;
        written?;
        self.ended().insert(end.attempt);
        drop(file);
        Ok(())
    }

    fn ended(&self) -> MutexGuard<'_, HashSet<AttemptId>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What it holds. A record that cannot be read is of no use to anybody but a person.
fn read(file: &spool::Spool) -> Vec<Record> {
    let record = |text: &Vec<u8>| {
        let read = serde_json::from_slice(text);
        let words = || String::from_utf8_lossy(text).into_owned();
        read.inspect_err(|error| {
            tracing::error!(result = words(), "a result in the spool cannot be read: {error}");
        })
        .ok()
    };
    file.records().iter().filter_map(record).collect()
}

/// Stores the end of an attempt, or puts it where it will be stored from. Resolves when it is on the disk, one way or
/// the other; until then the attempt keeps its slot, so that what waits in memory is bounded.
/// `None`: it is in the spool. With `leaves_place` its commit frees the place.
pub async fn settle(engine: &Engine, end: &EndAttempt, leaves_place: bool) -> Option<Settled> {
    let began = engine.clock.monotonic();
    let stored = loop {
        let applied = if leaves_place {
            engine.writer.apply(LeavePlace(end.clone())).await
        } else {
            engine.writer.apply(end.clone()).await
        };
        let fault = match applied {
            Ok(committed) => break Some(committed.answer),
            Err(Refusal::Fault(fault)) => fault,
            Err(Refusal::Rejected(rejection)) => {
                unreachable!("a result is never rejected: {}", rejection.message)
            }
        };
        let is_last = fault.kind == FaultKind::Stopping;
        let has_waited = engine.clock.monotonic().duration_since(began) >= SPOOL_AFTER;
        if is_last || has_waited {
            match engine.spool.keep(end).await {
                Ok(()) => break None,
                Err(why) => tracing::error!("a result waits in memory, for the spool fails too: {why}"),
            }
            if is_last {
                break None;
            }
        }
        tracing::warn!("a result waits for the store: {fault}");
        let _ = clock::within(super::STORE_RETRY, engine.writer.ready()).await;
        // A store that takes changes and refuses this one is not asked again without a pause.
        if fault.kind == FaultKind::Bug || fault.kind == FaultKind::Overloaded {
            clock::sleep(super::STORE_RETRY).await;
        }
    };
    points::reach("exit.settled");
    stored
}

/// Brings what is in the spool to the store, in order, and forgets it there. Gives how many there were.
///
/// # Errors
/// In words; then all of it stays in the spool, and what had reached the store is stale the next time.
pub async fn replay(engine: &Engine) -> Result<usize, String> {
    let mut file = engine.spool.file.clone().lock_owned().await;
    if file.records().is_empty() {
        return Ok(0);
    }
    let records = read(&file);
    let count = records.len();
    for record in records {
        points::reach("spool.replay");
        let text = serde_json::to_string(&record).unwrap_or_default();
        let Record::End(end) = record;
        match engine.writer.apply(*end).await {
            Ok(_) => {}
            // What the store would refuse for ever must not hold up what comes behind it.
            Err(Refusal::Fault(fault)) if matches!(fault.kind, FaultKind::Bug | FaultKind::Constraint) => {
                tracing::error!(result = text, "the store does not take a result from the spool: {fault}");
            }
            Err(Refusal::Fault(fault)) => return Err(fault.to_string()),
            Err(Refusal::Rejected(rejection)) => {
                tracing::error!(result = text, "a result from the spool is refused: {}", rejection.message);
            }
        }
    }
    points::reach("spool.replayed");
    let cleared = tokio::task::spawn_blocking(move || (file.clear(), file)).await;
    // Held until the marks are gone: what is added next is marked anew.
    let (cleared, file) = cleared.map_err(|error| error.to_string())?;
    cleared.map_err(|fault| fault.to_string())?;
    engine.spool.ended().clear();
    drop(file);
    tracing::info!(count, "results from the spool reached the store");
    engine.nudge_dispatcher.notify_one();
    Ok(count)
}
