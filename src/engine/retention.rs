//! Owns forgetting: what is older than the settings say goes, in small batches, and old logs make room.

use std::time::Duration;

use super::Engine;
use crate::base::clock;
use crate::base::clock::Timestamp;
use crate::store::prune::{Horizon, Prune};
use crate::store::writer::Refusal;

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// Pause between two batches, so that others come in between.
const BATCH_PAUSE: Duration = Duration::from_millis(20);
/// Idempotency keys are kept at least this long: seven days, in milliseconds.
const KEYS_MILLIS: i64 = 7 * 86_400_000;
/// Logs that one look forgets to make room.
const LOGS_MAX: usize = 200;

/// Forgets until the shutdown begins.
pub async fn run(engine: Engine) -> Result<(), String> {
    loop {
        tokio::select! {
            () = clock::sleep(LOOK_EVERY) => {}
            () = engine.shutdown.begun() => return Ok(()),
        }
        sweep(&engine).await?;
    }
}

/// What may go at `now`.
pub fn horizon(engine: &Engine, now: Timestamp) -> Horizon {
    let back = |length: Duration| now.plus_millis(-i64::try_from(length.as_millis()).unwrap_or(i64::MAX));
    Horizon {
        succeeded: back(engine.settings.retention_succeeded),
        failed: back(engine.settings.retention_failed),
        keys: now.plus_millis(-KEYS_MILLIS),
    }
}

/// One whole sweep: old rows, then logs beyond their room.
pub async fn sweep(engine: &Engine) -> Result<(), String> {
    let horizon = horizon(engine, engine.clock.now());
    let mut has_more = engine.reader.has_old_rows(horizon).await.map_err(|fault| fault.to_string())?;
    while has_more && !engine.shutdown.is_begun() {
        let pruned = match engine.writer.apply(Prune { horizon }).await {
            Ok(committed) => committed.answer,
            Err(Refusal::Fault(fault)) => return Err(fault.to_string()),
            Err(Refusal::Rejected(rejection)) => return Err(rejection.message),
        };
        if !pruned.attempts.is_empty() {
            engine.logs.forget(&pruned.attempts).await.map_err(|fault| fault.to_string())?;
        }
        tracing::info!(rows = pruned.row_count, "old rows were forgotten");
        has_more = pruned.has_more;
        clock::sleep(BATCH_PAUSE).await;
    }
    make_room(engine).await
}

async fn make_room(engine: &Engine) -> Result<(), String> {
    let total = engine.logs.total_bytes().await.map_err(|fault| fault.to_string())?;
    let mut excess = total - engine.settings.retention_log_bytes;
    if excess <= 0 {
        return Ok(());
    }
    let mut gone = Vec::new();
    for (attempt, bytes) in engine.logs.oldest(LOGS_MAX).await.map_err(|fault| fault.to_string())? {
        if excess <= 0 {
            break;
        }
        excess -= bytes;
        gone.push(attempt);
    }
    tracing::info!(logs = gone.len(), "old logs made room");
    engine.logs.forget(&gone).await.map_err(|fault| fault.to_string())
}
