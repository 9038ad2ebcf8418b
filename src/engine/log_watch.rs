//! Owns the way back of the log store: sees to its file each second, and tries to bring it back while output is not
//! kept. Jobs never wait for it.

use std::time::Duration;

use super::{Engine, supervisor};
use crate::base::clock;
use crate::domain::health::HealthStatus;
use crate::store::FaultKind;

/// Between two looks, and two tries to bring it back.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Watches the log store until the drain has ended: what runs then still writes.
pub async fn run(engine: Engine) -> Result<(), String> {
    loop {
        engine.logs.look(engine.care.low_room());
        match engine.logs.trouble() {
            None => supervisor::report(&engine, "logs", HealthStatus::Ok, None),
            Some(fault) => {
                let message = format!("output is not kept: {fault}");
                supervisor::report(&engine, "logs", HealthStatus::Down, Some(message));
                // In a directory that was taken away there is nothing to bring back.
                let state = engine.writer.trouble().borrow().as_ref().map(|fault| fault.kind);
                if state != Some(FaultKind::Replaced)
                    && let Err(why) = engine.logs.heal(engine.clock.now()).await
                {
                    tracing::debug!("the log store is not back: {why}");
                }
            }
        }
        tokio::select! {
            () = clock::rest(LOOK_EVERY) => {}
            () = engine.shutdown.drained() => return Ok(()),
        }
    }
}
