//! Owns this worker's lease where the store is shared: it is renewed in time, and when it is over nothing of this worker
//! runs any more. Another one takes its attempts over then, so they are ended before, by ourselves, or by the guard when
//! we cannot. It must never start anything itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::{Engine, reaper, supervisor};
use crate::base::clock::{self, since_boot};
use crate::base::points;
use crate::domain::health::HealthStatus;
use crate::exec::Guard;
use crate::store::Sharing;
use crate::store::workers::ReviveWorker;

/// The lease is renewed so many times in its length.
const RENEWALS: u32 = 3;
/// Before its end: this part of it is for the end of what runs, and this part for the guard, should we stand still.
const MARGIN_PART: u32 = 4;
const GUARD_PART: u32 = 6;
/// One renewal may take this part of the length.
const PATIENCE_PART: u32 = 6;
/// After a renewal that failed, and while what ran is ended.
const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// The row of the health board.
const ROW: &str = "lease";

/// How long a worker may run what it took. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lease(Option<Arc<Held>>);

#[derive(Debug)]
struct Held {
    length: Duration,
    /// Until when it lasts, in milliseconds since the boot.
    until_ms: AtomicU64,
    /// How often it was over.
    lapses: watch::Sender<u64>,
    guard: Mutex<Option<Guard>>,
}

impl Lease {
    /// None is needed: nobody else takes what this worker runs.
    pub fn unneeded() -> Lease {
        Lease(None)
    }

    /// One of this length, which begins now.
    pub fn begin(length: Duration) -> Lease {
        let lapses = watch::Sender::new(0);
        let held = Held { length, until_ms: AtomicU64::new(0), lapses, guard: Mutex::default() };
        let lease = Lease(Some(Arc::new(held)));
        lease.extend(since_boot());
        lease
    }

    /// Whether nothing may run any more.
    pub fn is_over(&self) -> bool {
        let Some(held) = &self.0 else { return false };
        millis(since_boot()) >= held.until_ms.load(Ordering::SeqCst)
    }

    /// Tells of each end of the lease. What begins now ends when it changes.
    pub fn watch(&self) -> Term {
        Term { lease: self.clone(), lapses: self.0.as_ref().map(|held| held.lapses.subscribe()) }
    }

    /// It lasts from `asked_at`, when its renewal was asked for.
    fn extend(&self, asked_at: Duration) {
        let Some(held) = &self.0 else { return };
        let until = asked_at + before_end(held.length, MARGIN_PART);
        held.until_ms.store(millis(until), Ordering::SeqCst);
    }
}

/// The lease as one attempt sees it.
#[derive(Debug, Clone)]
pub struct Term {
    lease: Lease,
    lapses: Option<watch::Receiver<u64>>,
}

impl Term {
    /// Whether it was over since this attempt began.
    pub fn is_over(&self) -> bool {
        self.lease.is_over()
            || self.lapses.as_ref().is_some_and(|lapses| lapses.has_changed().unwrap_or(true))
    }

    /// Resolves when it is over.
    pub async fn over(&mut self) {
        match &mut self.lapses {
            // The sender lives as long as the lease.
            Some(lapses) => drop(lapses.changed().await),
            None => std::future::pending().await,
        }
        // Seen as over from now on, whoever asks.
        self.lapses = self.lapses.take().map(|_| watch::channel(0).1);
    }
}

/// The length without its last part.
fn before_end(length: Duration, part: u32) -> Duration {
    length * (part - 1) / part
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Keeps the lease until the drain has ended.
pub async fn run(engine: Engine, sharing: Sharing, mark: Option<String>) -> Result<(), String> {
    let Lease(Some(held)) = &engine.lease else { return Ok(()) };
    let keeper = Keeper { engine: &engine, sharing: &sharing, held, mark };
    let mut has_lapsed = false;
    loop {
        points::reach("lease.tick");
        if !has_lapsed && engine.lease.is_over() {
            has_lapsed = true;
            keeper.lapse();
        }
        let pause = keeper.tick(&mut has_lapsed).await?;
        tokio::select! {
            () = clock::sleep(pause) => {}
            () = engine.shutdown.drained() => return Ok(()),
        }
    }
}

struct Keeper<'a> {
    engine: &'a Engine,
    sharing: &'a Sharing,
    held: &'a Held,
    /// What the cookies of our attempts begin with, where a guard stands beside us.
    mark: Option<String>,
}

impl Keeper<'_> {
    /// Everything that runs here ends at once.
    fn lapse(&self) {
        tracing::error!(
            running = self.engine.running.count(),
            "the lease could not be renewed in time: what runs here is ended, others may take it over"
        );
        self.held.lapses.send_modify(|count| *count += 1);
        let message = "the lease is over: what ran here was ended, and nothing is started";
        supervisor::report(self.engine, ROW, HealthStatus::Down, Some(message.to_owned()));
    }

    /// One renewal; gives the pause before the next step.
    async fn tick(&self, has_lapsed: &mut bool) -> Result<Duration, String> {
        if *has_lapsed && self.engine.running.count() > 0 {
            // While something of us runs we are not there again.
            return Ok(AGAIN_AFTER);
        }
        let (engine, length) = (self.engine, self.held.length);
        let asked_at = since_boot();
        let renewing = self.sharing.renew(engine.worker, length);
        let renewed = clock::within(length / PATIENCE_PART, renewing).await;
        if !*has_lapsed && engine.lease.is_over() {
            // It came too late, whatever it says: seen to at once.
            return Ok(Duration::ZERO);
        }
        match renewed {
            Some(Ok(Some(database_us))) => {
                if *has_lapsed {
                    // What was taken before and never began is ours to put back, before anything may start: else a
                    // database that fails right now would leave it running for ever.
                    if let Err(message) = reaper::recover(engine).await {
                        tracing::warn!("what the lapse left is put back later: {message}");
                        return Ok(AGAIN_AFTER);
                    }
                    tracing::info!("the lease is held again");
                }
                // The guard first: it must not kill what begins with the lease.
                self.tell_guard(asked_at + before_end(length, GUARD_PART));
                engine.lease.extend(asked_at);
                if std::mem::take(has_lapsed) {
                    engine.nudge_dispatcher.notify_one();
                }
                self.compare_clocks(database_us);
                Ok(length / RENEWALS)
            }
            Some(Ok(None)) if *has_lapsed => {
                let (id, name) = (engine.worker, engine.worker_name.clone());
                let revived = engine.writer.apply(ReviveWorker { id, name, lease: length }).await;
                if revived.is_err() {
                    tracing::warn!("the worker could not be listed anew; it is tried again");
                }
                Ok(if revived.is_ok() { Duration::ZERO } else { AGAIN_AFTER })
            }
            Some(Ok(None)) => {
                // Another worker has taken us for dead.
                self.held.until_ms.store(0, Ordering::SeqCst);
                Ok(Duration::ZERO)
            }
            failed => {
                let why = match failed {
                    Some(Err(fault)) => fault.to_string(),
                    _ => "the database does not answer".to_owned(),
                };
                if !*has_lapsed {
                    let message = format!("the lease cannot be renewed, which is tried again: {why}");
                    supervisor::report(engine, ROW, HealthStatus::Degraded, Some(message));
                }
                Ok(AGAIN_AFTER.min(length / PATIENCE_PART))
            }
        }
    }

    /// Has the guard wait, and starts one where there is none.
    fn tell_guard(&self, until: Duration) {
        let Some(mark) = &self.mark else { return };
        let mut guard = self.held.guard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Err(error)) = guard.as_mut().map(|guard| guard.wait_until(until)) {
            tracing::warn!("the guard of this daemon is gone, and is started anew: {error}");
            *guard = None;
        }
        if guard.is_none() {
            let started = Guard::start(mark).and_then(|mut new| new.wait_until(until).map(|()| new));
            *guard = started.inspect_err(|error| tracing::error!("no guard can be started: {error}")).ok();
        }
    }

    /// Due times and instants are by our own clock: people should know when it is not the others'.
    fn compare_clocks(&self, database_us: i64) {
        let off_ms = (self.engine.clock.now().0 - database_us).abs() / 1_000;
        let is_off = off_ms > CLOCK_SLACK_MS;
        let message = is_off.then(|| format!("this machine's clock is {off_ms} ms off the database's"));
        let status = if is_off { HealthStatus::Degraded } else { HealthStatus::Ok };
        supervisor::report(self.engine, ROW, status, message);
    }
}

/// How far the clocks of machine and database may be apart, in milliseconds; a slow answer looks like it too.
const CLOCK_SLACK_MS: i64 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_before_the_database_lets_it_end() {
        let length = Duration::from_secs(40);
        let lease = Lease::begin(length);
        assert!(!lease.is_over());
        lease.extend(since_boot().saturating_sub(length * 3 / 4));
        assert!(lease.is_over(), "a quarter of it is for the end of what runs");
        assert!(!Lease::unneeded().is_over());
    }

    #[tokio::test]
    async fn an_attempt_learns_of_a_lapse_that_was_mended_before_it_looked() {
        let lease = Lease::begin(Duration::from_secs(40));
        let mut term = lease.watch();
        assert!(!term.is_over());
        let Lease(Some(held)) = &lease else { unreachable!("it is held") };
        held.lapses.send_modify(|count| *count += 1);
        lease.extend(since_boot());
        assert!(term.is_over() && !lease.is_over() && !lease.watch().is_over());
        term.over().await;
        assert!(term.is_over(), "it stays so");
    }
}
