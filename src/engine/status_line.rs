//! Owns the one line that a service manager shows of the daemon: what runs, what waits, how it is.

use std::time::Duration;

use super::Engine;
use crate::base::{clock, service};
use crate::domain::job::JobState;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Tells the line until the shutdown begins, each time that it has changed.
pub async fn run(engine: Engine) -> Result<(), String> {
    let mut told = String::new();
    loop {
        let line = line(&engine).await;
        if line != told {
            service::status(&line);
            told = line;
        }
        tokio::select! {
            () = clock::sleep(LOOK_EVERY) => {}
            () = engine.shutdown.begun() => return Ok(()),
        }
    }
}

async fn line(engine: &Engine) -> String {
    let health = engine.health.read();
    let ill = health.subsystems.iter().find(|part| part.status == health.status && part.message.is_some());
    let ill = ill.map(|part| format!(" ({}: {})", part.name, part.message.as_deref().unwrap_or_default()));
    let running = engine.running.count();
    // A line about a store that is away must not wait for it.
    let counts = clock::within(Duration::from_secs(1), engine.reader.count_all_jobs()).await;
    let queued = match counts {
        Some(Ok(counts)) => counts.counts.get(&JobState::Queued).copied().unwrap_or(0).to_string(),
        _ => "?".to_owned(),
    };
    format!("running {running}, queued {queued}, health {}{}", health.status.word(), ill.unwrap_or_default())
}
