//! Owns the start of jobs that no turn of the writer starts: looks at the store on a nudge, on the next due time, or every
//! poll interval, and claims as many jobs as there are free slots. A lost nudge costs one poll interval, never a job.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::places::{self, CLAIM_MAX, Held, Host, Slots};
use super::{Engine, STORE_RETRY, reaper, spool, starting};
use crate::base::{clock, points};
use crate::store::Certainty;
use crate::store::claim::Claim;
use crate::store::writer::Refusal;

/// Starts jobs until the shutdown begins.
pub async fn run(engine: Engine, slots: Slots) -> Result<(), String> {
    if !ready(&engine).await {
        return Ok(());
    }
    // Results first: an attempt whose end waits in the spool is not lost.
    spool::replay(&engine).await?;
    // After a restart: a claim whose answer was lost has no runner. On the first start this finds nothing.
    reaper::recover(&engine).await?;
    // From here on the writer's turns start what they bring.
    engine.writer.serve(Arc::new(Host::new(&engine)));
    let pulse = engine.health.pulse("dispatcher", engine.clock.monotonic());
    loop {
        // While changes are refused nothing is started.
        if !ready(&engine).await {
            return Ok(());
        }
        // Registered before the look, so that a nudge in between is not lost.
        let nudged = engine.nudge_dispatcher.notified();
        pulse.beat(engine.clock.monotonic());
        points::reach("dispatcher.tick");
        if let Some(lost_count) = engine.running.take_lost() {
            tracing::error!(part = "runners", lost_count, "a runner panicked: its attempt is ended as LOST");
            for _ in 0..lost_count {
                engine.health.count_restart("runners", "a runner panicked", engine.clock.now());
            }
            reaper::recover(&engine).await?;
        }
        if let Some(claims) = engine.slots.take_doubts() {
            tracing::warn!(claims, "nobody knows what became of a claim: what it took is put back");
            reaper::recover(&engine).await?;
        }
        let wait = tick(&engine, &slots).await?;
        pulse.beat(engine.clock.monotonic());
        tokio::select! {
            () = nudged => {}
            () = engine.next_look(wait) => {}
            () = engine.shutdown.begun() => return Ok(()),
        }
    }
}

/// Waits until the store takes changes; false when the daemon stops instead.
async fn ready(engine: &Engine) -> bool {
    tokio::select! {
        () = engine.writer.ready() => true,
        () = engine.shutdown.begun() => false,
    }
}

/// One look at the store; gives how long to wait for the next one.
async fn tick(engine: &Engine, slots: &Slots) -> Result<Duration, String> {
    let poll = engine.settings.poll_interval;
    if engine.running.count() > 0 {
        for job in engine.own.requested_stops(engine.worker).await.map_err(|fault| fault.to_string())? {
            engine.running.stop(job);
        }
    }
    loop {
        // Without a lease nothing is taken.
        if engine.shutdown.is_begun() || engine.lease.is_over() {
            return Ok(poll);
        }
        // Who was called by another worker need not look first whether there is something.
        if !(slots.free() > 0 && engine.is_called.swap(false, Ordering::SeqCst)) {
            let now = engine.clock.now();
            let outlook = engine.own.outlook(engine.worker, now).await.map_err(|fault| fault.to_string())?;
            // Without a free slot only what is due by the clock is seen to: the end of an attempt nudges.
            let is_due = outlook.next_due.is_some_and(|due| due <= now);
            if !is_due && (slots.free() == 0 || !outlook.has_work) {
                let due = outlook.next_due.map_or(poll, |due| due.since(now));
                return Ok(due.min(poll));
            }
        }
        slots.forget_left();
        let places = slots.take(starting::room(engine, CLAIM_MAX), 0);
        let (wanted, taken) = (places.count(), claim(engine, places).await?);
        if wanted > 0 && slots.could_take_more() {
            // A turn brought work while we held the places.
            continue;
        }
        if taken < wanted || wanted == 0 {
            let outlook = engine.own.outlook(engine.worker, engine.clock.now()).await;
            let outlook = outlook.map_err(|fault| fault.to_string())?;
            let due = outlook.next_due.map_or(poll, |due| due.since(engine.clock.now()));
            // What is queued and was not taken has no room: the end of an attempt nudges.
            return Ok(due.clamp(Duration::from_millis(1), poll));
        }
    }
}

/// Tells the attempts that were just listed of stops that were asked for before. They wait for that: what was claimed
/// is started or stopped, never given up because of one read.
async fn ask_to_stop(engine: &Engine) {
    loop {
        match engine.own.requested_stops(engine.worker).await {
            Ok(jobs) => {
                for job in jobs {
                    engine.running.stop(job);
                }
                return;
            }
            // Then none of them starts.
            Err(_) if engine.shutdown.is_forced() => return,
            Err(fault) => {
                tracing::warn!("claimed jobs wait for a look at the store: {fault}");
                clock::sleep(STORE_RETRY).await;
            }
        }
    }
}

async fn claim(engine: &Engine, mut places: Held) -> Result<usize, String> {
    let slots = places.count();
    let cookies = (0..slots).map(|_| places::cookie(engine)).collect();
    let claim = Claim { worker: engine.worker, slots, cookies };
    let claiming = engine.running.claiming().await;
    let claimed = match engine.writer.apply(claim).await {
        Ok(committed) => committed.answer,
        // Refused before anything was begun: the next look waits until the store takes changes.
        Err(Refusal::Fault(fault)) if fault.is_of_the_store() && fault.certainty == Certainty::Unchanged => {
            return Ok(0);
        }
        Err(Refusal::Fault(fault)) => return Err(format!("no job could be claimed: {fault}")),
        Err(Refusal::Rejected(rejection)) => return Err(rejection.message),
    };
    let count = claimed.len();
    if count > 0 {
        points::reach("claim.committed");
    }
    let listed: Vec<_> = claimed
        .into_iter()
        .map(|claimed| (engine.running.enter(claimed.attempt, claimed.job.id), claimed))
        .collect();
    drop(claiming);
    if count > 0 {
        // A cancel that was acknowledged before the attempts were listed: it must not start.
        ask_to_stop(engine).await;
    }
    for (entry, claimed) in listed {
        places::begin(engine, claimed, entry, places.split());
    }
    Ok(count)
}
