//! Owns the time after a crash: attempts without a runner end LOST, mostly those of a dead daemon, and INTERRUPTED when
//! nothing of them ever began. Their processes are killed first, so that none is alive when the next attempt of the job
//! begins.

use std::collections::HashMap;

use futures_util::future::join_all;

use super::quarantine::Sentences;
use super::{Engine, quarantine};
use crate::base::points;
use crate::domain::attempt::{AttemptOutcome, Ended};
use crate::domain::id::AttemptId;
use crate::exec::{Identity, Survivor, kill_survivors};
use crate::store::Fault;
use crate::store::attempts::OpenAttempt;
use crate::store::ends::EndAttempt;
use crate::store::logs::{LogEnd, Unended};
use crate::store::workers::BuryWorker;
use crate::store::writer::Refusal;

/// The ends of logs.
type Logs = HashMap<AttemptId, LogEnd>;

/// Attempts that one round deals with.
const ROUND_MAX: usize = 1_000;

/// Attempts whose processes are gone and whose logs are closed: they may end.
struct Round {
    open: Vec<OpenAttempt>,
    sentences: Sentences,
    logs: Logs,
    /// The last one that was looked at.
    last: AttemptId,
}

/// Ends every open attempt that nobody runs: of dead daemons, or of a claim whose answer was lost.
pub async fn recover(engine: &Engine) -> Result<usize, String> {
    let mut count = 0;
    let mut next = prepare(engine, AttemptId(0)).await?;
    while let Some(round) = next {
        // The next ones are made ready while the writer ends these.
        let (ended, prepared) = tokio::join!(end_all(engine, &round), prepare(engine, round.last));
        ended?;
        next = prepared?;
        count += round.open.len();
    }
    Ok(count)
}

/// Tells the other workers that the one before us in our data directory has ended: behind what it left in the spool, and
/// when nothing of it runs any more, for from then on they start its jobs anew.
pub async fn bury_predecessor(engine: &Engine) -> Result<(), String> {
    let Some(id) = engine.predecessor else { return Ok(()) };
    let mut after = AttemptId(0);
    loop {
        let open = engine.own.open_attempts(id, after, ROUND_MAX).await;
        let open = open.map_err(|fault| fault.to_string())?;
        let Some(last) = open.last() else { break };
        after = last.attempt;
        kill(engine, &open).await?;
    }
    match engine.writer.apply(BuryWorker { id }).await {
        Ok(_) => Ok(()),
        Err(Refusal::Fault(fault)) => Err(fault.to_string()),
        Err(Refusal::Rejected(rejection)) => Err(rejection.message),
    }
}

/// Makes some attempts behind `after` ready to end; nothing when there are none.
async fn prepare(engine: &Engine, after: AttemptId) -> Result<Option<Round>, String> {
    // What a claim of our own took meanwhile is not listed as running yet, and would look like left.
    let claiming = engine.running.claiming().await;
    let open = engine.own.open_attempts(engine.worker, after, ROUND_MAX).await;
    let mut open = open.map_err(|fault| fault.to_string())?;
    let Some(last) = open.last().map(|one| one.attempt) else { return Ok(None) };
    open.retain(|one| {
        let runs_here = one.worker == engine.worker && engine.running.contains(one.attempt);
        !runs_here && !engine.spool.contains(one.attempt)
    });
    drop(claiming);
    kill(engine, &open).await?;
    if !open.is_empty() {
        points::reach("recovery.killed");
    }
    let sentences = quarantine::sentences(engine, &open).await?;
    let logs = close_logs(engine, &open).await;
    points::reach("recovery.logs_closed");
    Ok(Some(Round { open, sentences, logs, last }))
}

async fn end_all(engine: &Engine, round: &Round) -> Result<(), String> {
    let ends = round.open.iter().map(|one| end(engine, one, &round.logs, &round.sentences));
    join_all(ends).await.into_iter().collect()
}

async fn kill(engine: &Engine, open: &[OpenAttempt]) -> Result<(), String> {
    let survivors: Vec<_> = open
        .iter()
        .map(|one| Survivor {
            identity: one.process.as_ref().map(|(pid, ticks, boot_id)| Identity {
                pid: *pid,
                start_ticks: ticks.unsigned_abs(),
                boot_id: boot_id.clone(),
            }),
            cookie: one.cookie.clone(),
        })
        .collect();
    let clock = engine.clock.clone();
    let cleared = tokio::task::spawn_blocking(move || kill_survivors(&survivors, clock.as_ref()))
        .await
        .map_err(|error| error.to_string())?;
    if cleared.killed_count > 0 || !cleared.left.is_empty() {
        let (killed, left) = (cleared.killed_count, cleared.left.len());
        tracing::warn!(killed, left, "processes of lost attempts were still alive");
    }
    Ok(())
}

async fn end(engine: &Engine, open: &OpenAttempt, logs: &Logs, sentences: &Sentences) -> Result<(), String> {
    let log = logs.get(&open.attempt).copied().unwrap_or_else(|| LogEnd::of_nothing(open.attempt));
    let is_own = open.worker == engine.worker;
    let is_unbegun = is_own && !engine.running.has_lost(open.attempt);
    let (outcome, message) = match (is_own, is_unbegun) {
        // It costs no try: nobody ever knew that it had been taken.
        (_, true) => {
            (AttemptOutcome::Interrupted, "it was taken, but the store's answer was lost: it never began")
        }
        (true, false) => (AttemptOutcome::Lost, "its runner failed"),
        (false, _) if engine.is_of_predecessor(open.worker) => {
            (AttemptOutcome::Lost, "the daemon that ran it died")
        }
        (false, _) => (AttemptOutcome::Lost, "its worker died, or was cut off from the database"),
    };
    let ended = Ended {
        log_bytes: log.byte_count,
        dropped_log_bytes: log.dropped_bytes,
        is_unbegun,
        ..Ended::without_process(outcome, message)
    };
    let ended = sentences.apply(open.attempt, ended);
    let change = EndAttempt {
        attempt: open.attempt,
        job: open.job,
        ended,
        unit: engine.random.unit(),
        actor: engine.worker.to_string(),
    };
    match engine.writer.apply(change).await {
        Ok(_) => {
            engine.running.forget(open.attempt);
            points::reach("recovery.ended");
            Ok(())
        }
        Err(Refusal::Fault(fault)) => Err(fault.to_string()),
        Err(Refusal::Rejected(rejection)) => Err(rejection.message),
    }
}

/// Closes the logs where the dead daemon left them. Trouble with logs does not hold up the recovery, and that with one of
/// them not the others.
async fn close_logs(engine: &Engine, open: &[OpenAttempt]) -> Logs {
    let attempts: Vec<AttemptId> = open.iter().map(|one| one.attempt).collect();
    if let Ok(ends) = close(engine, &attempts).await {
        return ends;
    }
    let mut ends = Logs::new();
    for attempt in attempts {
        match close(engine, &[attempt]).await {
            Ok(end) => ends.extend(end),
            Err(fault) => {
                tracing::error!(%attempt, "the log of a lost attempt could not be closed: {fault}");
            }
        }
    }
    ends
}

async fn close(engine: &Engine, attempts: &[AttemptId]) -> Result<Logs, Fault> {
    let ends = engine.logs.ends(attempts).await?;
    let mut ends: Logs = ends.into_iter().map(|end| (end.attempt, end)).collect();
    let left = attempts.iter().filter(|attempt| !ends.contains_key(*attempt));
    // What had not come to the store when its daemon died, nobody has counted.
    let left: Vec<Unended> = left.map(|attempt| Unended { attempt: *attempt, byte_count: 0 }).collect();
    if !left.is_empty() {
        let closed = engine.logs.finish(&left, engine.clock.now()).await?;
        ends.extend(closed.into_iter().map(|end| (end.attempt, end)));
    }
    Ok(ends)
}
