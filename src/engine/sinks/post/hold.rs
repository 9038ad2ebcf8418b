//! Owns the question whose turn it is to tell a sink: of several workers over one store one does, as long as it is there.

use super::{Halt, Post, Step};
use crate::engine::lease::Term;
use crate::store::sinks::HoldSink;

impl Post {
    /// Whether it is for us to tell the sink: of several workers one does, as long as it is there.
    pub(super) async fn hold(&mut self) -> Step<bool> {
        if self.engine.sharing.is_none() || self.term.as_ref().is_some_and(|term| !term.is_over()) {
            return Ok(true);
        }
        let term = self.engine.lease.watch();
        let change = HoldSink { name: self.outlet.name.clone(), worker: self.engine.worker };
        let is_ours =
            !term.is_over() && matches!(self.engine.writer.apply(change).await, Ok(held) if held.answer);
        if is_ours {
            // Another one may have told it since.
            self.reload().await?;
            self.count_forgotten().await?;
            self.term = Some(term);
        }
        Ok(is_ours)
    }

    /// Goes on only while it is our turn. Else what was told is written when nobody has told it since.
    pub(super) async fn keep_turn(&mut self) -> Step<()> {
        if !self.term.as_ref().is_some_and(Term::is_over) {
            return Ok(());
        }
        self.save().await?;
        Err(Halt::Late)
    }
}
