//! Owns the way back of the store: sees to its files and its disk each second, tries a real write while changes are
//! refused, checks it now and then, and brings the spool in when it is well.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Engine, spool, supervisor};
use crate::base::{clock, points, task};
use crate::domain::health::HealthStatus;
use crate::store::writer::Probe;
use crate::store::{Fault, FaultKind, upgrade};

/// Between two looks at the files, and two probes of a store that is not well.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The first check of the whole store, after the start.
const CHECK_FIRST: Duration = Duration::from_secs(30);
/// A probe waits so long for a check before it; a second failure of the disk within `DOUBT` waits for all of it.
const CHECK_PATIENCE: Duration = Duration::from_secs(5);
const DOUBT: Duration = Duration::from_mins(1);
/// A file that was taken away may be put back at once; after this its content is saved.
const RESCUE_AFTER: Duration = Duration::from_secs(5);
/// After a try that failed, and another one.
const RESCUE_AGAIN: Duration = Duration::from_secs(10);
/// Between two looks at a store that was found damaged.
const DAMAGE_EVERY: Duration = Duration::from_secs(30);

/// What the watch remembers from look to look.
#[derive(Debug)]
struct Watch {
    check_at: Instant,
    /// The check of a store that is well, which nobody waits for.
    checking: Option<JoinHandle<Option<Duration>>>,
    failed_at: Option<Instant>,
    /// When its content is to be saved, once the file is lost.
    rescue_at: Option<Instant>,
    rescued: Option<Result<PathBuf, String>>,
}

/// Watches the store until the drain has ended: what runs then still has results to store.
pub async fn run(engine: Engine) -> Result<(), String> {
    let mut trouble = engine.writer.trouble();
    let check_at = engine.clock.monotonic() + CHECK_FIRST;
    let mut watch = Watch { check_at, checking: None, failed_at: None, rescue_at: None, rescued: None };
    loop {
        points::reach("store_watch.tick");
        let lost = engine.care.look(engine.settings.free_bytes_min);
        report_room(&engine);
        let fault = trouble.borrow_and_update().clone();
        match &fault {
            None => watch.keep(&engine).await,
            Some(fault) if lost.is_some() => watch.mourn(&engine, fault).await,
            Some(fault) => report_down(&engine, fault),
        }
        tokio::select! {
            // Trouble is shown at once; what may end it waits for a moment.
            () = begun(&mut trouble), if fault.is_none() => continue,
            () = clock::rest(LOOK_EVERY) => {}
            () = engine.shutdown.drained() => return Ok(()),
        }
        if let Some(fault) = fault
            && engine.care.look(engine.settings.free_bytes_min).is_none()
        {
            watch.mend(&engine, &fault).await;
        }
    }
}

/// Resolves when there is trouble.
async fn begun(trouble: &mut watch::Receiver<Option<Fault>>) {
    let _ = trouble.wait_for(Option::is_some).await;
}

fn report_room(engine: &Engine) {
    match engine.care.low_room() {
        None => supervisor::report(engine, "disk", HealthStatus::Ok, None),
        Some(fault) => {
            let message = format!("{fault}: no new jobs are taken and no output is kept");
            supervisor::report(engine, "disk", HealthStatus::Degraded, Some(message));
        }
    }
}

impl Watch {
    /// A store that is well: what waited for it goes in, and once in a while it is checked.
    async fn keep(&mut self, engine: &Engine) {
        (self.rescue_at, self.rescued) = (None, None);
        if engine.health.status("store") == Some(HealthStatus::Down) {
            tracing::info!("the store takes changes again");
        }
        supervisor::report(engine, "store", HealthStatus::Ok, None);
        // Copies of old stores that could not be removed at the start.
        if engine.health.status("backups") == Some(HealthStatus::Degraded)
            && upgrade::forget_surplus(&engine.settings.data_dir).is_ok()
        {
            supervisor::report(engine, "backups", HealthStatus::Ok, None);
        }
        if let Err(message) = spool::replay(engine).await {
            tracing::warn!("results stay in the spool: {message}");
        }
        let now = engine.clock.monotonic();
        if let Some(done) = self.checking.take_if(|checking| checking.is_finished()) {
            self.check_at = now + done.await.ok().flatten().unwrap_or(DAMAGE_EVERY);
        }
        if self.checking.is_none() && (engine.care.is_doubted() || now >= self.check_at) {
            self.checking = Some(check(engine));
        }
    }

    /// Tries what may end the trouble. The writer itself tells how it went.
    async fn mend(&mut self, engine: &Engine, fault: &Fault) {
        let now = engine.clock.monotonic();
        if matches!(fault.kind, FaultKind::Io | FaultKind::Damaged) {
            // What a disk did with a write that it refused nobody knows: the store is looked at first.
            let is_second = self.failed_at.is_some_and(|at| now.duration_since(at) < DOUBT);
            if fault.kind == FaultKind::Damaged && is_second && now < self.check_at {
                return;
            }
            (self.failed_at, self.check_at) = (Some(now), now + DAMAGE_EVERY);
            // Nothing is written into a store that is doubted before the look at all of it is over.
            let is_whole_look = is_second || fault.kind == FaultKind::Damaged;
            let patience = if is_whole_look { Duration::MAX } else { CHECK_PATIENCE };
            let verdict = tokio::select! {
                verdict = clock::within(patience, check(engine)) => verdict,
                () = engine.shutdown.drained() => return,
            };
            let was_seen = matches!(verdict, Some(Ok(Some(_))));
            if engine.care.is_damaged() || (is_whole_look && !was_seen) {
                return;
            }
        }
        let _ = engine.writer.apply(Probe).await;
    }

    /// The file is not ours any more: it may come back; else what can be saved is saved, once.
    async fn mourn(&mut self, engine: &Engine, fault: &Fault) {
        let now = engine.clock.monotonic();
        let rescue_at = *self.rescue_at.get_or_insert(now + RESCUE_AFTER);
        let is_saved = matches!(self.rescued, Some(Ok(_)));
        if !is_saved && now >= rescue_at {
            let saved = engine.care.rescue(engine.clock.now()).await;
            match &saved {
                Ok(Some(path)) => tracing::error!("the store was saved as {}", path.display()),
                Ok(None) => {}
                Err(why) => tracing::error!("the store could not be saved, which is tried again: {why}"),
            }
            self.rescued = saved.map_err(|why| why.to_string()).transpose();
            let again = points::length("RESCUE_AGAIN", RESCUE_AGAIN);
            self.rescue_at = Some(engine.clock.monotonic() + again);
        }
        let advice = match &self.rescued {
            None => "put it back, and the daemon goes on".to_owned(),
            Some(Ok(path)) => {
                let path = path.display();
                format!("put it back, and the daemon goes on; or stop the daemon and rename {path} to it")
            }
            Some(Err(why)) => {
                let tried = "its content could not be saved beside it, which is tried again";
                format!("put it back, and the daemon goes on; {tried} ({why})")
            }
        };
        report_down(engine, &Fault::new(fault.kind, format!("{fault}; {advice}")));
    }
}

fn report_down(engine: &Engine, fault: &Fault) {
    let message = format!("{}: {fault}", word(fault.kind));
    if engine.health.status("store") != Some(HealthStatus::Down) {
        tracing::error!("changes are refused: {message}");
    }
    supervisor::report(engine, "store", HealthStatus::Down, Some(message));
}

/// Begins a check of the whole store. It goes on to its end whoever waits for it, and gives the rest before the next
/// one, or nothing when it could not be made.
fn check(engine: &Engine) -> JoinHandle<Option<Duration>> {
    let (care, newest) = (engine.care.clone(), *engine.writer.newest().borrow());
    task::spawn(async move {
        let checked = care.check(newest).await;
        checked.inspect_err(|fault| tracing::warn!("the store could not be checked: {fault}")).ok()
    })
}

/// The word for a kind of trouble, in health rows and as the `reason` of an error.
pub fn word(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Full => "STORE_FULL",
        FaultKind::ReadOnly => "STORE_READ_ONLY",
        FaultKind::Locked => "STORE_LOCKED",
        FaultKind::Damaged => "STORE_DAMAGED",
        FaultKind::Replaced => "STORE_REPLACED",
        _ => "STORE_FAILED",
    }
}
