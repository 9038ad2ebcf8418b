//! Owns what this worker does about the others over a shared store: hears what they committed, tells them what it
//! did, and takes over what a dead one left. Words between workers may be lost; each poll makes them good.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Engine, reaper, supervisor};
use crate::base::{clock, points};
use crate::domain::health::HealthStatus;
use crate::store::Sharing;
use crate::store::db::Nudges;
use crate::store::workers::BuryLapsed;
use crate::store::writer::{OwnNews, Refusal};

/// Others are told at most this often.
const TELL_EVERY: Duration = Duration::from_millis(5);
/// How long an answer waits until the others were told.
const TELL_MAX: Duration = Duration::from_secs(1);
/// Said when there is something to start or to stop, and not only something to see.
const CALL: &str = "look";
/// Said when a token was revoked.
const REVOKED: &str = "revoked";
/// The row of the health board.
const ROW: &str = "nudges";

/// Hears the others until the drain has ended.
pub async fn hear(engine: Engine, sharing: Sharing) -> Result<(), String> {
    let mut nudges: Option<Nudges> = None;
    loop {
        points::reach("others.tick");
        if nudges.is_none() {
            nudges = listen(&engine, &sharing).await;
        }
        // Whatever was missed shows here.
        look(&engine).await;
        stop_what_drains(&engine).await;
        let poll = engine.settings.poll_interval;
        let until = engine.clock.monotonic() + poll;
        loop {
            let left = until.saturating_duration_since(engine.clock.monotonic());
            let heard = tokio::select! {
                heard = next(&mut nudges) => heard,
                () = clock::sleep(left) => break,
                () = engine.shutdown.drained() => return Ok(()),
            };
            match heard {
                Ok(Some(word)) => {
                    if obey(&engine, &word) {
                        stop_what_drains(&engine).await;
                    }
                }
                Ok(None) => break,
                Err(message) => {
                    supervisor::report(&engine, ROW, HealthStatus::Degraded, Some(message));
                    nudges = None;
                }
            }
        }
    }
}

async fn listen(engine: &Engine, sharing: &Sharing) -> Option<Nudges> {
    let (status, message, nudges) = match sharing.listen().await {
        Ok(nudges) => (HealthStatus::Ok, None, Some(nudges)),
        Err(fault) => {
            let message = format!("others are not heard, and are looked at each poll interval: {fault}");
            (HealthStatus::Degraded, Some(message), None)
        }
    };
    supervisor::report(engine, ROW, status, message);
    nudges
}

async fn next(nudges: &mut Option<Nudges>) -> Result<Option<String>, String> {
    match nudges {
        Some(nudges) => nudges.next().await.map_err(|fault| fault.to_string()),
        None => std::future::pending().await,
    }
}

/// Sees what was committed anywhere.
async fn look(engine: &Engine) {
    // Trouble shows at the writer.
    if let Ok(newest) = engine.own.newest_event().await {
        engine.writer.saw(newest);
    }
    if let Ok(count) = engine.own.revoked_tokens().await {
        engine.tokens.saw_revoked(count);
    }
}

/// A word: who says it, the newest event that he knows, and whether there is something to do, which is given back.
fn obey(engine: &Engine, word: &str) -> bool {
    let mut parts = word.split(' ');
    if parts.next() == Some(engine.worker.to_string().as_str()) {
        return false;
    }
    if let Some(seq) = parts.next().and_then(|seq| seq.parse().ok()) {
        engine.writer.saw(seq);
    }
    let what = parts.next();
    if what == Some(REVOKED) {
        engine.tokens.doubt();
    }
    let is_called = what == Some(CALL);
    if is_called {
        engine.is_called.store(true, Ordering::SeqCst);
        engine.nudge_dispatcher.notify_one();
        engine.nudge_scheduler.notify_one();
    }
    is_called
}

/// Ends what runs here and was cancelled elsewhere while this worker drains: its dispatcher, who does it at other times,
/// has gone by then.
async fn stop_what_drains(engine: &Engine) {
    if !engine.shutdown.is_begun() || engine.running.count() == 0 {
        return;
    }
    match engine.own.requested_stops(engine.worker).await {
        Ok(jobs) => jobs.into_iter().for_each(|job| engine.running.stop(job)),
        // The next poll asks again.
        Err(fault) => tracing::warn!("cancels could not be looked for while the worker drains: {fault}"),
    }
}

/// Tells the others of each commit, until the drain has ended.
pub async fn tell(engine: Engine, sharing: Sharing) -> Result<(), String> {
    let mut news = engine.writer.own_news();
    let mut told = OwnNews::default();
    loop {
        tokio::select! {
            changed = news.changed() => if changed.is_err() { return Ok(()) },
            () = engine.shutdown.drained() => return Ok(()),
        }
        let own = *news.borrow_and_update();
        let call = if own.calls_count == told.calls_count { "" } else { CALL };
        say(&engine, &sharing, own.seq, call).await;
        told = own;
        clock::sleep(TELL_EVERY).await;
    }
}

/// Tells the others that a token was revoked by the event of this number: they close what it holds open.
pub(super) async fn tell_of_revocation(engine: &Engine, seq: i64) {
    if let Some(sharing) = &engine.sharing {
        // Nobody waits long for what is done already.
        clock::within(TELL_MAX, say(engine, sharing, seq, REVOKED)).await;
    }
}

/// Says a word. One that is lost is made good by the others' polls.
async fn say(engine: &Engine, sharing: &Sharing, seq: i64, what: &str) {
    if let Err(fault) = sharing.nudge(&format!("{} {seq} {what}", engine.worker)).await {
        tracing::debug!("others were not told: {fault}");
    }
}

/// Takes over what dead workers left, until the shutdown begins.
pub async fn take_over(engine: Engine, sharing: Sharing) -> Result<(), String> {
    let told = |fault: crate::store::Fault| fault.to_string();
    let mut next_at: Instant = engine.clock.monotonic();
    loop {
        let now = engine.clock.monotonic();
        tokio::select! {
            () = clock::sleep(next_at.saturating_duration_since(now)) => {}
            () = engine.shutdown.begun() => return Ok(()),
        }
        next_at = engine.clock.monotonic() + engine.settings.poll_interval;
        points::reach("take_over.tick");
        // Whoever may be dead himself buries nobody.
        if engine.lease.is_over() || engine.writer.trouble().borrow().is_some() {
            continue;
        }
        if sharing.has_lapsed().await.map_err(told)? {
            match engine.writer.apply(BuryLapsed).await {
                Ok(buried) if !buried.answer.is_empty() => {
                    tracing::warn!(workers = ?buried.answer, "workers let their leases end: they are taken for dead");
                }
                Ok(_) => {}
                Err(Refusal::Fault(fault)) => return Err(fault.to_string()),
                Err(Refusal::Rejected(rejection)) => return Err(rejection.message),
            }
        }
        if sharing.has_orphans(engine.worker).await.map_err(told)? {
            let count = reaper::recover(&engine).await?;
            tracing::warn!(count, "attempts of dead workers were ended as LOST");
        }
    }
}
