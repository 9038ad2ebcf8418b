//! Owns the sinks of this daemon: one supervised part for each, which tells it the feed. No job ever waits for a sink:
//! the feed is the outbox, and a part only reads it.

mod parts;
mod post;
mod spans;

use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::supervisor::Supervisor;
use crate::base::clock;
use crate::base::settings::sinks::{SinkKind, SinkSettings};
use crate::domain::access::Viewer;
use crate::domain::event::EventCursor;
use crate::domain::rejection::{Rejection, UserErrorCode};
use crate::domain::sink::{DeadLettersInput, SinkFilter};
use crate::notify::address::Reach;
use crate::notify::delivery::Courier;
use crate::notify::{Speaker, Target};
use crate::store::sinks::{ChangeLetters, LetterAction, ListSinks, RetireSinks};
use crate::store::writer::Outcome;

/// Events that one mutation may name.
const NAMED_MAX: usize = 1_000;
/// How often it is looked whether a sink is in the settings of none of several workers any more.
const RETIRE_EVERY: Duration = Duration::from_mins(1);

/// A sink of the settings, ready to be spoken to.
#[derive(Debug)]
pub struct Outlet {
    name: String,
    kind: SinkKind,
    filter: SinkFilter,
    target: Target,
    courier: Courier,
}

/// The sinks of the settings.
///
/// # Errors
/// One sentence that names the setting.
pub fn prepare(settings: &[SinkSettings], speaker: &Speaker) -> Result<Vec<Arc<Outlet>>, String> {
    let one = |settings: &SinkSettings| {
        let reach = if settings.allow_internal { Reach::Anywhere } else { Reach::Public };
        Ok(Arc::new(Outlet {
            name: settings.name.clone(),
            kind: settings.kind,
            filter: SinkFilter::of(settings)?,
            target: Target::of(settings, speaker)?,
            courier: Courier::new(reach),
        }))
    };
    settings.iter().map(one).collect()
}

impl Engine {
    /// Makes the store list these sinks. What happens from here on is told them.
    pub async fn list_sinks(&self, outlets: &[Arc<Outlet>]) -> Outcome<()> {
        let sinks = outlets.iter().map(|outlet| (outlet.name.clone(), outlet.kind)).collect();
        let newest = self.writer.cursor().seq;
        self.writer.apply(ListSinks { sinks, newest, worker: self.worker }).await?;
        Ok(())
    }

    /// Starts to tell them.
    pub fn start_sinks(&self, supervisor: &Supervisor, outlets: Vec<Arc<Outlet>>) {
        if self.sharing.is_some() {
            let listed: Vec<String> = outlets.iter().map(|outlet| outlet.name.clone()).collect();
            supervisor.keep(self, "sinks", move |engine| retire(engine, listed.clone()));
        }
        for outlet in outlets {
            let name = health_name(&outlet);
            supervisor.keep(self, name, move |engine| post::run(engine, Arc::clone(&outlet)));
        }
    }

    /// Puts dead letters back: their sink is told them again soon.
    pub async fn redeliver(&self, viewer: &Viewer, input: DeadLettersInput) -> Outcome<EventCursor> {
        self.change_letters(viewer, input, LetterAction::Redeliver).await
    }

    /// Gives dead letters up for good.
    pub async fn discard(&self, viewer: &Viewer, input: DeadLettersInput) -> Outcome<EventCursor> {
        self.change_letters(viewer, input, LetterAction::Discard).await
    }

    async fn change_letters(
        &self,
        viewer: &Viewer,
        input: DeadLettersInput,
        action: LetterAction,
    ) -> Outcome<EventCursor> {
        let events = input.events.as_deref().unwrap_or_default();
        if events.len() > NAMED_MAX {
            let message = format!("at most {NAMED_MAX} events may be named; leave them out to mean all");
            return Err(Rejection::at(UserErrorCode::Invalid, "events", message).into());
        }
        let seqs = input.events.map(|events| events.iter().map(|cursor| cursor.seq).collect());
        let change = ChangeLetters { sink: input.sink, seqs, action, actor: viewer.token_name.clone() };
        Ok(self.writer.apply(change).await?.cursor)
    }
}

/// Retires what nobody lists, until the shutdown begins. When we began, an older worker may still have listed it.
async fn retire(engine: Engine, listed: Vec<String>) -> Result<(), String> {
    loop {
        tokio::select! {
            () = clock::sleep(RETIRE_EVERY) => {}
            () = engine.shutdown.begun() => return Ok(()),
        }
        let change = RetireSinks { listed: listed.clone(), worker: engine.worker };
        if engine.writer.apply(change).await.is_err() {
            tracing::warn!("sinks that nobody lists could not be retired; it is tried again");
        }
    }
}

/// The name of its health row.
fn health_name(outlet: &Outlet) -> String {
    format!("sink:{}", outlet.name)
}
