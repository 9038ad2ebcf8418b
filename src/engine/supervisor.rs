//! Owns the life of the long-lived parts: each is restarted with a growing pause when it fails, the others go on.

use std::future::Future;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::Engine;
use crate::base::task::panic_message;
use crate::base::{clock, task};
use crate::domain::health::HealthStatus;
use crate::store::health::HealthChange;

/// First pause before a restart; doubles up to the last.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest pause before a restart: a part is back within 10 s of the end of what ailed it.
const PAUSE_LAST: Duration = Duration::from_secs(5);
/// A part that ran this long is well again.
const SETTLED_AFTER: Duration = Duration::from_mins(1);

/// Starts parts and keeps them alive until the shutdown.
#[derive(Debug, Clone, Default)]
pub struct Supervisor {
    tracker: TaskTracker,
}

impl Supervisor {
    /// Keeps a part alive: `work` is called anew, with state read from the store, each time it fails.
    /// It ends the part for good by giving `Ok`.
    pub fn keep<F, W>(&self, engine: &Engine, name: impl Into<String>, work: W)
    where
        W: Fn(Engine) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let (engine, name) = (engine.clone(), name.into());
        engine.health.set(&name, HealthStatus::Ok, None, engine.clock.now());
        let keeping = async move {
            let mut pause = PAUSE_FIRST;
            loop {
                let began = engine.clock.monotonic();
                let Err(message) = run_once(&engine, &work).await else { return };
                if engine.shutdown.is_begun() {
                    tracing::warn!(part = name, "ended during the shutdown: {message}");
                    return;
                }
                pause = next_pause(pause, engine.clock.monotonic().duration_since(began));
                tracing::error!(
                    part = name,
                    pause_ms = pause.as_millis(),
                    "failed, will be restarted: {message}"
                );
                engine.health.count_restart(&name);
                report(&engine, &name, HealthStatus::Degraded, Some(message));
                tokio::select! {
                    () = clock::sleep(pause) => {}
                    () = engine.shutdown.begun() => return,
                }
                watch_recovery(engine.clone(), name.clone());
            }
        };
        drop(task::spawn(self.tracker.track_future(keeping)));
    }

    /// Resolves when every part has ended.
    pub async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

async fn run_once<F, W>(engine: &Engine, work: &W) -> Result<(), String>
where
    W: Fn(Engine) -> F,
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    match task::spawn(work(engine.clone())).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => {
            Err(format!("panicked: {}", panic_message(error.into_panic().as_ref())))
        }
        Err(error) => Err(error.to_string()),
    }
}

fn next_pause(pause: Duration, ran: Duration) -> Duration {
    if ran >= SETTLED_AFTER { PAUSE_FIRST } else { (pause * 2).min(PAUSE_LAST) }
}

/// A part that stays up for a second after its restart is well again.
fn watch_recovery(engine: Engine, name: String) {
    let restarts = engine.health.restart_count(&name);
    drop(task::spawn(async move {
        clock::sleep(Duration::from_secs(1)).await;
        if engine.health.restart_count(&name) == restarts {
            report(&engine, &name, HealthStatus::Ok, None);
        }
    }));
}

/// Sets a part's row and, when that is news, states it in the feed.
pub fn report(engine: &Engine, name: &str, status: HealthStatus, message: Option<String>) {
    if !engine.health.set(name, status, message.clone(), engine.clock.now()) {
        return;
    }
    let name = name.to_owned();
    let writer = engine.writer.clone();
    drop(task::spawn(async move {
        // Best effort: the row in memory is what `health` shows.
        let _ = writer.apply(HealthChange { name, status, message }).await;
    }));
}
