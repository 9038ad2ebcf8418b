//! Owns the health row of the store: red when a commit fails, green again after a real write succeeds.

use std::time::Duration;

use super::{Engine, supervisor};
use crate::base::{clock, points};
use crate::domain::health::HealthStatus;
use crate::store::writer::Probe;

/// Pause between two probes of a store that is not well.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Watches the writer until the shutdown is over.
pub async fn run(engine: Engine) -> Result<(), String> {
    let mut trouble = engine.writer.trouble();
    loop {
        points::reach("store_watch.tick");
        let now = trouble.borrow_and_update().clone();
        match now {
            None => {
                supervisor::report(&engine, "store", HealthStatus::Ok, None);
                tokio::select! {
                    changed = trouble.changed() => if changed.is_err() { return Ok(()) },
                    () = engine.shutdown.begun() => return Ok(()),
                }
            }
            Some(fault) => {
                supervisor::report(&engine, "store", HealthStatus::Down, Some(fault.to_string()));
                tokio::select! {
                    () = clock::sleep(PROBE_EVERY) => {}
                    () = engine.shutdown.begun() => return Ok(()),
                }
                // The writer itself tells how it went.
                let _ = engine.writer.apply(Probe).await;
            }
        }
    }
}
