//! Owns the start of attempts while the machine lacks something: descriptors, processes, memory. Such a lack is no
//! failure of a job. An attempt that was claimed waits for its start, and meanwhile nothing more is claimed. The health
//! row says so, and says which starts hang.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::runner::refuse_to_start;
use super::underway::NotBegun;
use super::{Engine, supervisor};
use crate::base::{clock, descriptors};
use crate::domain::attempt::{AttemptOutcome, Ended};
use crate::domain::health::HealthStatus;
use crate::domain::id::AttemptId;

/// Descriptors that starts leave to the daemon itself and to those who talk to it: more than the door leaves, so that
/// somebody can come in and cancel what takes them all. With a low limit it is that part of it.
const RESERVED: u64 = 64;
const RESERVED_PART: u64 = 4;
/// Descriptors that a start takes at most, for a moment.
const START_NEEDS: u64 = 8;
/// Pause before a start is tried again.
const TRY_EVERY: Duration = Duration::from_millis(250);
/// How long an attempt waits for its start before that counts as a failure after all.
const PATIENCE: Duration = Duration::from_mins(10);
/// The row of the health board.
const ROW: &str = "starts";

/// The starts that wait, and those that hang.
#[derive(Debug, Default)]
pub struct Starting(Mutex<Rows>);

#[derive(Debug, Default)]
struct Rows {
    waiting_count: usize,
    /// What they wait for.
    lack: String,
    /// What is started, of starts that hang.
    hanging: BTreeMap<AttemptId, String>,
}

impl Starting {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    fn message(&self) -> Option<String> {
        let waiting = (self.waiting_count > 0).then(|| format!("starts wait: {}", self.lack));
        let hanging = self.hanging.values().next().map(|what| {
            let more = match self.hanging.len() {
                1 => String::new(),
                count => format!(", and {} more starts likewise", count - 1),
            };
            format!("the start of {what} hangs: its disk may not answer{more}")
        });
        let messages: Vec<_> = waiting.into_iter().chain(hanging).collect();
        (!messages.is_empty()).then(|| messages.join("; "))
    }
}

/// Tells the row how starts are. Held meanwhile: of two who tell at once the later one must not know less.
fn show(engine: &Engine) {
    let rows = engine.starting.rows();
    let message = rows.message();
    let status = if message.is_some() { HealthStatus::Degraded } else { HealthStatus::Ok };
    supervisor::report(engine, ROW, status, message);
}

/// A start that hangs, until dropped.
#[derive(Debug)]
pub struct Hanging {
    engine: Engine,
    attempt: AttemptId,
}

impl Hanging {
    /// From here on the row says so.
    pub fn begin(engine: &Engine, attempt: AttemptId, what: &str) -> Hanging {
        tracing::warn!(%attempt, "the start of {what} hangs");
        engine.starting.rows().hanging.insert(attempt, what.to_owned());
        show(engine);
        Hanging { engine: engine.clone(), attempt }
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        tracing::info!(attempt = %self.attempt, "a start that hung is over");
        self.engine.starting.rows().hanging.remove(&self.attempt);
        show(&self.engine);
    }
}

/// One start that waits, until dropped.
#[derive(Debug)]
struct Waiting<'a>(&'a Engine);

impl Waiting<'_> {
    fn begin(engine: &Engine) -> Waiting<'_> {
        engine.starting.rows().waiting_count += 1;
        Waiting(engine)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut rows = self.0.starting.rows();
        rows.waiting_count -= 1;
        let is_last = rows.waiting_count == 0;
        drop(rows);
        if is_last {
            show(self.0);
            self.0.nudge_dispatcher.notify_one();
        }
    }
}

/// Descriptors that starts may take together now.
fn spare() -> u64 {
    descriptors::left().saturating_sub(descriptors::reserve(RESERVED, RESERVED_PART))
}

/// That a start must wait for descriptors, if it must. Those that were claimed at once do not see each other before.
pub fn check_room() -> Result<(), NotBegun> {
    let lack = || NotBegun::failed("descriptors are used up".to_owned(), true);
    if spare() < START_NEEDS { Err(lack()) } else { Ok(()) }
}

/// How many of `most` attempts can be started now, as far as descriptors go; none while a start waits.
pub fn room(engine: &Engine, most: usize) -> usize {
    if engine.starting.rows().waiting_count > 0 {
        return 0;
    }
    usize::try_from(spare() / START_NEEDS).unwrap_or(usize::MAX).min(most)
}

/// Waits until there are descriptors for a start; or says how the attempt ends without it.
pub async fn wait_for_room(engine: &Engine, stop: &watch::Receiver<bool>) -> Result<(), Ended> {
    let mut patience = Patience::begin(engine, stop);
    while let Err(refused) = check_room() {
        patience.rest(refused).await?;
    }
    Ok(())
}

/// The wait of one start for what the machine lacks.
#[derive(Debug)]
pub struct Patience<'a> {
    engine: &'a Engine,
    stop: &'a watch::Receiver<bool>,
    began: Instant,
    waiting: Option<Waiting<'a>>,
}

impl<'a> Patience<'a> {
    /// Nothing was tried yet.
    pub fn begin(engine: &'a Engine, stop: &'a watch::Receiver<bool>) -> Patience<'a> {
        Patience { engine, stop, began: engine.clock.monotonic(), waiting: None }
    }

    /// Waits for the next try after this one; or says how the attempt ends without it.
    pub async fn rest(&mut self, refused: NotBegun) -> Result<(), Ended> {
        let engine = self.engine;
        let waited = engine.clock.monotonic().duration_since(self.began);
        let gives_up = (waited >= PATIENCE).then_some(AttemptOutcome::SpawnFailed);
        if let Some(outcome) = refused.outcome.or(gives_up) {
            return Err(Ended::without_process(outcome, refused.message));
        }
        if self.waiting.is_none() {
            tracing::warn!("a start waits, and others behind it: {}", refused.message);
            self.waiting = Some(Waiting::begin(engine));
        }
        engine.starting.rows().lack = refused.message;
        show(engine);
        clock::sleep(TRY_EVERY).await;
        refuse_to_start(engine, self.stop).map_or(Ok(()), Err)
    }
}
