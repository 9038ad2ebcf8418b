//! Owns how long a command goes on without an answer, and how it waits between tries.
//! It never decides what may be repeated: its callers repeat only what is safe.

use std::time::{Duration, Instant};

use crate::base::clock::{Clock, SystemClock, pause};
use crate::client::{Client, ClientError, ErrorKind};

use super::outcome::{Stop, exit};
use super::{Context, output::Screen};

/// How long is tried, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// The pause after the first failure; it doubles.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// How long a request that is safe to repeat is tried.
    pub request: Duration,
    /// How long a lost stream is tried to be opened again.
    pub stream: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(2),
            request: Duration::from_secs(15),
            stream: Duration::from_mins(1),
        }
    }
}

/// One outage: begins with the first failure, is over with the next answer.
#[derive(Debug)]
pub struct Outage {
    patience: Patience,
    give_up: Duration,
    began: Option<Instant>,
    pause: Duration,
}

impl Outage {
    /// None yet; the next one is borne for `give_up`.
    pub fn new(patience: Patience, give_up: Duration) -> Outage {
        Outage { patience, give_up, began: None, pause: patience.first }
    }

    /// An answer came.
    pub fn is_over(&mut self) {
        self.began = None;
        self.pause = self.patience.first;
    }

    /// No answer came: waits before the next try, but not beyond `until`.
    ///
    /// # Errors
    /// The failure itself, when it lasted too long.
    pub fn bear(
        &mut self,
        screen: &mut Screen,
        error: ClientError,
        until: Option<Instant>,
    ) -> Result<(), Stop> {
        let now = SystemClock.monotonic();
        if self.began.is_none() {
            screen.note(&format!("{}; trying again", error.message));
        }
        let began = *self.began.get_or_insert(now);
        if now.saturating_duration_since(began) >= self.give_up {
            return Err(Stop::new(exit::UNREACHABLE, error.message));
        }
        let left = until.map_or(self.pause, |until| until.saturating_duration_since(now));
        pause(self.pause.min(left));
        self.pause = (self.pause * 2).min(self.patience.longest);
        Ok(())
    }
}

/// Sends a request that is safe to repeat until it is answered, for as long as `Patience::request`.
pub fn persistently<T>(
    context: &mut Context,
    send: impl Fn(&Client) -> Result<T, ClientError>,
) -> Result<T, Stop> {
    let mut outage = Outage::new(context.patience, context.patience.request);
    loop {
        // The daemon may be back at another address.
        match context.target.client().and_then(|client| send(&client)) {
            Err(error) if error.kind == ErrorKind::Unreachable => {
                outage.bear(&mut context.screen, error, None)?;
            }
            other => return Ok(other?),
        }
    }
}
