//! Owns the start of attempts while the machine lacks something: descriptors, processes, memory. Such a lack is no
//! failure of a job. An attempt that was claimed waits for its start, and meanwhile nothing more is claimed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::runner::refuse_to_start;
use super::underway::{Begun, NotBegun};
use super::{Engine, supervisor};
use crate::base::{clock, descriptors};
use crate::domain::attempt::{AttemptOutcome, Ended};
use crate::domain::health::HealthStatus;

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

/// The starts that wait.
#[derive(Debug, Default)]
pub struct Starting {
    waiting: AtomicUsize,
}

/// One start that waits, until dropped.
struct Waiting<'a>(&'a Engine);

impl Waiting<'_> {
    fn begin(engine: &Engine) -> Waiting<'_> {
        engine.starting.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(engine)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.0.starting.waiting.fetch_sub(1, Ordering::SeqCst) == 1 {
            supervisor::report(self.0, ROW, HealthStatus::Ok, None);
            self.0.nudge_dispatcher.notify_one();
        }
    }
}

/// Descriptors that starts may take together now.
fn spare() -> u64 {
    descriptors::left().saturating_sub(descriptors::reserve(RESERVED, RESERVED_PART))
}

/// That a start must wait for descriptors, if it must. Those that were claimed at once do not see each other before.
fn check_room() -> Result<(), NotBegun> {
    let lack = || NotBegun { message: "descriptors are used up".to_owned(), is_shortage: true };
    if spare() < START_NEEDS { Err(lack()) } else { Ok(()) }
}

/// How many of `most` attempts can be started now, as far as descriptors go; none while a start waits.
pub fn room(engine: &Engine, most: usize) -> usize {
    if engine.starting.waiting.load(Ordering::SeqCst) > 0 {
        return 0;
    }
    usize::try_from(spare() / START_NEEDS).unwrap_or(usize::MAX).min(most)
}

/// Waits until there are descriptors for a start; or says how the attempt ends without it.
pub async fn wait_for_room(engine: &Engine, stop: &watch::Receiver<bool>) -> Result<(), Ended> {
    until(engine, stop, check_room).await
}

/// Starts what `start` starts, again and again while the machine lacks something for it; or says how the attempt ends.
pub async fn begin(
    engine: &Engine,
    stop: &watch::Receiver<bool>,
    mut start: impl FnMut() -> Result<Begun, NotBegun>,
) -> Result<Begun, Ended> {
    until(engine, stop, || check_room().and_then(|()| start())).await
}

async fn until<T>(
    engine: &Engine,
    stop: &watch::Receiver<bool>,
    mut attempt: impl FnMut() -> Result<T, NotBegun>,
) -> Result<T, Ended> {
    let began = engine.clock.monotonic();
    let mut waiting = None;
    loop {
        let refused = match attempt() {
            Ok(done) => return Ok(done),
            Err(refused) => refused,
        };
        let waited = engine.clock.monotonic().duration_since(began);
        if !refused.is_shortage || waited >= PATIENCE {
            return Err(Ended::without_process(AttemptOutcome::SpawnFailed, refused.message));
        }
        if waiting.is_none() {
            tracing::warn!("a start waits, and others behind it: {}", refused.message);
            waiting = Some(Waiting::begin(engine));
        }
        supervisor::report(
            engine,
            ROW,
            HealthStatus::Degraded,
            Some(format!("starts wait: {}", refused.message)),
        );
        clock::sleep(TRY_EVERY).await;
        if let Some(ended) = refuse_to_start(engine, stop) {
            return Err(ended);
        }
    }
}
