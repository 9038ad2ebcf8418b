//! Owns forgetting: what is older than the settings say goes, in small batches, and old logs make room. What a death of
//! the daemon or a fault left undone between state and logs is found again by a walk now and then.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::log_days::{self, Days, Room};
use super::{Engine, incidents};
use crate::base::clock::{self, Timestamp};
use crate::base::points;
use crate::domain::id::AttemptId;
use crate::store::attempts::Fate;
use crate::store::logs::Unended;
use crate::store::prune::{Horizon, Prune};
use crate::store::writer::Refusal;
use crate::store::{Fault, FaultKind};

/// Pause between two looks, and before the first: a daemon that was started with other settings acts on them soon.
const LOOK_EVERY: Duration = Duration::from_mins(1);
const LOOK_FIRST: Duration = Duration::from_secs(1);
/// Pause between two batches, so that others come in between.
pub(super) const BATCH_PAUSE: Duration = Duration::from_millis(20);
/// Idempotency keys are kept at least this long: seven days, in milliseconds.
const KEYS_MILLIS: i64 = 7 * 86_400_000;
/// Logs, and bytes in them, that one transaction forgets to make room; a larger log goes alone.
const LOGS_MAX: usize = 200;
const LOGS_BYTES_MAX: i64 = 16 * 1024 * 1024;
/// How often the logs are compared with the state, and the logs that are looked at together.
const COMPARE_EVERY: Duration = Duration::from_hours(1);
const COMPARED_AT_ONCE: usize = 500;

/// What is remembered between two sweeps.
#[derive(Debug, Default)]
struct Kept {
    days: Days,
    /// When the logs were compared with the state.
    compared_at: Option<Instant>,
}

/// Forgets until the shutdown begins.
pub async fn run(engine: Engine) -> Result<(), String> {
    let (mut pause, mut kept) = (LOOK_FIRST, Kept::default());
    loop {
        tokio::select! {
            () = clock::sleep(pause) => {}
            () = engine.shutdown.begun() => return Ok(()),
        }
        points::reach("retention.tick");
        // On a full disk forgetting is what helps.
        let logs = engine.logs.trouble().is_none_or(|fault| fault.kind == FaultKind::Full);
        let is_well = engine.writer.trouble().borrow().is_none() && logs;
        if is_well {
            sweep(&engine, &mut kept).await?;
        }
        pause = LOOK_EVERY;
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

/// One whole sweep: old rows, then logs beyond their room, then what belongs to nobody.
async fn sweep(engine: &Engine, kept: &mut Kept) -> Result<(), String> {
    let now = engine.clock.now();
    let horizon = horizon(engine, now);
    let mut has_more = engine.own.has_old_rows(horizon, now).await.map_err(|fault| fault.to_string())?;
    while has_more && !engine.shutdown.is_begun() {
        let pruned = match engine.writer.apply(Prune { horizon }).await {
            Ok(committed) => committed.answer,
            Err(Refusal::Fault(fault)) => return Err(fault.to_string()),
            Err(Refusal::Rejected(rejection)) => return Err(rejection.message),
        };
        points::reach("prune.committed");
        if !pruned.attempts.is_empty() {
            let removed = if Days::hold_what_is_gone(engine) {
                engine.logs.remove_ends(&pruned.attempts).await
            } else {
                engine.logs.remove(&pruned.attempts).await
            };
            removed.map_err(|fault| fault.to_string())?;
            points::reach("prune.logs_removed");
        }
        tracing::info!(rows = pruned.row_count, "old rows were forgotten");
        has_more = pruned.has_more;
        clock::sleep(BATCH_PAUSE).await;
    }
    incidents::tend(engine, horizon.failed).await?;
    kept.days.keep(engine).await?;
    make_room(engine).await?;
    let now = engine.clock.monotonic();
    let is_due = kept.compared_at.is_none_or(|at| now.duration_since(at) >= COMPARE_EVERY);
    if is_due && !engine.logs.is_in_days() {
        compare(engine).await.map_err(|fault| fault.to_string())?;
        kept.compared_at = Some(now);
    }
    Ok(())
}

/// Compares all logs with the state, a few at a time, where the two lie apart: those of attempts that are gone go too, and
/// those of attempts that are over get the end that they lack.
async fn compare(engine: &Engine) -> Result<(), Fault> {
    // An attempt is in the state before its first line is in the logs: up to this one, what is not there is gone.
    let (mut after, newest) = engine.own.attempts_since_restore().await?;
    while !engine.shutdown.is_begun() {
        let some = engine.logs.attempts(after, newest, COMPARED_AT_ONCE).await?;
        let Some(last) = some.last() else { break };
        after = *last;
        let fates = engine.own.fates(&some).await?;
        let fates: HashMap<AttemptId, Fate> = fates.into_iter().map(|fate| (fate.attempt, fate)).collect();
        let gone: Vec<AttemptId> = some.into_iter().filter(|attempt| !fates.contains_key(attempt)).collect();
        if !gone.is_empty() {
            engine.logs.remove(&gone).await?;
            tracing::info!(logs = gone.len(), "logs of jobs that had been forgotten are gone too");
        }
        end_left(engine, fates).await?;
        clock::sleep(BATCH_PAUSE).await;
    }
    Ok(())
}

/// Has the recorder end the logs of attempts that are over: nobody else writes there any more.
async fn end_left(engine: &Engine, mut fates: HashMap<AttemptId, Fate>) -> Result<(), Fault> {
    fates.retain(|_, fate| fate.has_ended);
    let over: Vec<AttemptId> = fates.keys().copied().collect();
    for end in engine.logs.ends(&over).await? {
        fates.remove(&end.attempt);
    }
    if !fates.is_empty() {
        tracing::info!(logs = fates.len(), "logs that were left without an end get one");
        let left = fates.into_values();
        let left = left.map(|fate| Unended { attempt: fate.attempt, byte_count: fate.log_bytes });
        engine.recorder.adopt(left.collect()).await;
    }
    Ok(())
}

/// Forgets the oldest whole logs, whatever becomes of their jobs, until all together take no more than they may. Then
/// the file gives back what it held above that.
async fn make_room(engine: &Engine) -> Result<(), String> {
    let (logs, limit) = (&engine.logs, engine.settings.retention_log_bytes);
    while !engine.shutdown.is_begun() {
        // What they take on disk is no less than what they weigh, and told at once.
        if logs.is_in_days() && logs.total_bytes().await.map_err(|fault| fault.to_string())? <= limit {
            break;
        }
        // Before it is weighed: another worker may make room meanwhile.
        let day = log_days::oldest(engine).await?;
        let excess = logs.weight_bytes().await.map_err(|fault| fault.to_string())? - limit;
        if excess <= 0 {
            break;
        }
        match log_days::make_room(engine, day, excess).await? {
            Room::Made => continue,
            Room::ByLogs => {}
            Room::Later => break,
        }
        let oldest = logs.oldest(LOGS_MAX).await.map_err(|fault| fault.to_string())?;
        let gone = first_of(&oldest, excess.min(LOGS_BYTES_MAX));
        if gone.is_empty() {
            tracing::warn!(
                excess,
                "logs take more than they may, and all that are left belong to running jobs"
            );
            break;
        }
        logs.forget(gone.as_slice(), engine.clock.now()).await.map_err(|fault| fault.to_string())?;
        tracing::info!(logs = gone.len(), "old logs made room");
        clock::sleep(BATCH_PAUSE).await;
    }
    while !engine.shutdown.is_begun() && logs.shrink(limit).await.map_err(|fault| fault.to_string())? {
        clock::sleep(BATCH_PAUSE).await;
    }
    Ok(())
}

/// The first ones that weigh `bytes` together, at least one.
fn first_of(oldest: &[(AttemptId, i64)], bytes: i64) -> Vec<AttemptId> {
    let mut weight = 0;
    let enough = oldest.iter().position(|(_, own)| {
        weight += own;
        weight >= bytes
    });
    let count = enough.map_or(oldest.len(), |last| last + 1);
    oldest[..count].iter().map(|(attempt, _)| *attempt).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_logs_go_as_are_needed_and_no_more() {
        let logs = [(1, 10), (2, 0), (3, 100), (4, 5)].map(|(id, bytes)| (AttemptId(id), bytes));
        for (bytes, count) in [(1, 1), (10, 1), (11, 3), (110, 3), (111, 4), (1_000, 4)] {
            assert_eq!(first_of(&logs, bytes).len(), count, "{bytes}");
        }
        assert!(first_of(&[], 1).is_empty());
    }
}
