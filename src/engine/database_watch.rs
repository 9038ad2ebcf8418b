//! Owns the look at the PostgreSQL server each minute: what grows there unseen is said in the health row `database`. It
//! never mends anything.

use std::time::Duration;

use super::{Engine, supervisor};
use crate::base::clock;
use crate::domain::health::HealthStatus;
use crate::store::upkeep::UpkeepLimits;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_mins(1);

const LIMITS: UpkeepLimits =
    UpkeepLimits { transaction: Duration::from_mins(10), dead_rows: 50_000, dead_for_each: 4 };

/// Watches until the shutdown begins.
pub async fn run(engine: Engine) -> Result<(), String> {
    loop {
        match engine.own.upkeep_trouble(LIMITS).await {
            Ok(trouble) if trouble.is_empty() => {
                supervisor::report(&engine, "database", HealthStatus::Ok, None);
            }
            Ok(trouble) => {
                let message = trouble.join("; ");
                if engine.health.status("database") != Some(HealthStatus::Degraded) {
                    tracing::warn!("the database needs a look: {message}");
                }
                supervisor::report(&engine, "database", HealthStatus::Degraded, Some(message));
            }
            // A server that does not answer shows in the row `store`.
            Err(fault) => tracing::debug!("the database could not be looked at: {fault}"),
        }
        tokio::select! {
            () = clock::sleep(LOOK_EVERY) => {}
            () = engine.shutdown.begun() => return Ok(()),
        }
    }
}
