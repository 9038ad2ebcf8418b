//! Owns what the engine knows of handlers: which there are, and what one is told and how it is heard.

use serde_json::Value;
use tokio::sync::watch;

use super::{Engine, listener};
use crate::domain::command::Command;
use crate::domain::rejection::Rejection;
use crate::domain::report::Reported;
use crate::exec::{Call, Heard, Place, Told};
use crate::store::claim::Claimed;

/// Names that a message lists at most.
const LISTED_MAX: usize = 20;

impl Engine {
    /// Refuses a command of a handler that this daemon does not have.
    pub(super) fn check_handler(&self, path: &str, command: &Command) -> Result<(), Rejection> {
        match &command.handler {
            Some(name) if self.handlers.get(name).is_none() => {
                Err(Rejection::invalid(path, no_handler(self, name)))
            }
            _ => Ok(()),
        }
    }
}

/// That there is no such handler, and which there are.
pub fn no_handler(engine: &Engine, name: &str) -> String {
    let known: Vec<_> = engine.handlers.names().take(LISTED_MAX).collect();
    let more = if engine.handlers.names().nth(LISTED_MAX).is_some() { ", ..." } else { "" };
    match known.as_slice() {
        [] => format!(
            "this daemon has no handler named {name}, nor any other: a program that embeds it has them"
        ),
        known => format!("this daemon has no handler named {name}; it has: {}{more}", known.join(", ")),
    }
}

/// What the handler of an attempt is called with. `place` is held until the call has really ended.
pub fn call_of(
    engine: &Engine,
    claimed: &Claimed,
    (told, alive): (&watch::Sender<Reported>, &watch::Sender<bool>),
    place: Place,
) -> Call {
    let (told, alive, clock) = (told.clone(), alive.clone(), engine.clock.clone());
    let hear = move |heard: Heard| listener::tell(&told, &alive, &heard, clock.now());
    Call {
        told: Told {
            job_id: claimed.job.id.to_string(),
            attempt: claimed.number,
            task_name: claimed.job.task_name.clone(),
            parameters: claimed
                .job
                .parameters
                .as_ref()
                .map_or(Value::Null, |parameters| parameters.0.clone()),
        },
        hear: Box::new(hear),
        clock: engine.clock.clone(),
        place,
    }
}
