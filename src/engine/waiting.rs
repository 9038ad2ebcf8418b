//! Owns what callers may do to jobs that wait.

use super::Engine;
use crate::domain::access::Viewer;
use crate::domain::event::EventCursor;
use crate::domain::id::JobId;
use crate::store::waiting::{Hold, Release};
use crate::store::writer::Outcome;

impl Engine {
    /// Keeps a waiting job from starting until it is released.
    pub async fn hold(&self, viewer: &Viewer, id: JobId) -> Outcome<EventCursor> {
        let committed = self.writer.apply(Hold { id, actor: viewer.token_name.clone() }).await?;
        Ok(committed.cursor)
    }

    /// Lets a held job wait for its turn.
    pub async fn release(&self, viewer: &Viewer, id: JobId) -> Outcome<EventCursor> {
        let committed = self.writer.apply(Release { id, actor: viewer.token_name.clone() }).await?;
        self.nudge_dispatcher.notify_one();
        Ok(committed.cursor)
    }
}
