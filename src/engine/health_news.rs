//! Owns telling the feed that a part failed or recovered. What cannot be written now is kept, the worst and the latest of
//! each part, and written when the store is back. It must never hold up whoever reports.

use std::time::Duration;

use super::Engine;
use crate::base::{clock, points};
use crate::store::writer::{Committed, Outcome, Refusal};

/// Pause before a change that could not be written is offered again.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// Tells until the shutdown begins.
pub async fn run(engine: Engine) -> Result<(), String> {
    let mut changes = engine.health.watch();
    loop {
        points::reach("health_news.tick");
        changes.mark_unchanged();
        let is_behind = !tell(&engine).await?;
        tokio::select! {
            news = changes.changed(), if !is_behind => if news.is_err() { return Ok(()) },
            () = clock::sleep(RETRY_EVERY), if is_behind => {}
            () = engine.shutdown.begun() => return Ok(()),
        }
    }
}

/// Tells all that is to be told, and counts the failures; gives false when the store did not take it.
async fn tell(engine: &Engine) -> Result<bool, String> {
    while let Some((number, change)) = engine.health.untold() {
        if !is_taken(engine.writer.apply(change).await)? {
            return Ok(false);
        }
        engine.health.told(number);
    }
    while let Some(failed) = engine.health.uncounted() {
        if !is_taken(engine.writer.apply(failed.clone()).await)? {
            return Ok(false);
        }
        engine.health.counted(&failed);
    }
    Ok(true)
}

fn is_taken(outcome: Outcome<Committed<()>>) -> Result<bool, String> {
    match outcome {
        Ok(_) => Ok(true),
        Err(Refusal::Fault(fault)) => {
            tracing::debug!("a change of health waits for the store: {fault}");
            Ok(false)
        }
        Err(Refusal::Rejected(rejection)) => Err(rejection.message),
    }
}
