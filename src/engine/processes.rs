//! Owns the watch over what attempts leave behind: orphans are reaped and ended every second, and the health row
//! says when a process cannot be killed. It must never end an attempt: that is its runner's part.

use std::time::Duration;

use super::{Engine, supervisor};
use crate::base::clock;
use crate::domain::health::HealthStatus;
use crate::exec::{self, Hanging};

/// The health row.
pub const NAME: &str = "processes";
/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Watches until the drain has ended: what runs then still leaves orphans.
pub async fn run(engine: Engine) -> Result<(), String> {
    let mut told = None;
    loop {
        let hanging = exec::tend(engine.clock.monotonic()).await;
        if told.as_ref() != Some(&hanging) {
            let (status, message) = verdict(&hanging);
            told = Some(hanging);
            if let Some(message) = &message {
                tracing::error!("{message}");
            }
            supervisor::report(&engine, NAME, status, message);
        }
        tokio::select! {
            () = clock::rest(LOOK_EVERY) => {}
            () = engine.shutdown.drained() => return Ok(()),
        }
    }
}

fn verdict(hanging: &[Hanging]) -> (HealthStatus, Option<String>) {
    let Some(first) = hanging.first() else { return (HealthStatus::Ok, None) };
    let pid = first.others.first().unwrap_or(&first.leader);
    let more = match hanging.len() {
        1 => String::new(),
        count => format!(" ({} more attempts likewise)", count - 1),
    };
    let message = format!(
        "process {pid} hangs in the kernel and cannot be killed: its attempt goes on and keeps its slot{more}"
    );
    (HealthStatus::Degraded, Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_names_a_process_and_counts_the_attempts() {
        assert_eq!(verdict(&[]), (HealthStatus::Ok, None));
        let one = Hanging { leader: 7, others: Vec::new() };
        let (status, message) = verdict(&[one.clone(), Hanging { leader: 8, others: vec![9] }]);
        assert_eq!(status, HealthStatus::Degraded);
        let message = message.unwrap();
        assert!(message.starts_with("process 7 hangs") && message.ends_with("(1 more attempts likewise)"));
        assert!(verdict(&[Hanging { others: vec![9], ..one }]).1.unwrap().starts_with("process 9 hangs"));
    }
}
