//! Owns what callers may do to jobs that wait.

use super::Engine;
use crate::domain::access::{Viewer, no_job};
use crate::domain::enqueue::check_priority;
use crate::domain::event::EventCursor;
use crate::domain::id::JobId;
use crate::domain::rejection::{Rejection, check_name};
use crate::store::waiting::{Hold, Release, Update};
use crate::store::writer::Outcome;

impl Engine {
    /// Keeps a waiting job from starting until it is released.
    pub async fn hold(&self, viewer: &Viewer, id: JobId) -> Outcome<EventCursor> {
        self.check_seen(viewer, id).await?;
        let committed = self.writer.apply(Hold { id, actor: viewer.token_name.clone() }).await?;
        // It may have been the next one of its key.
        self.nudge_dispatcher.notify_one();
        Ok(committed.cursor)
    }

    /// Changes where and when a job waits that has not started.
    pub async fn update(&self, viewer: &Viewer, change: Update) -> Outcome<EventCursor> {
        check_priority("priority", change.priority)?;
        if let Some(queue) = &change.queue {
            check_name("queue", queue)?;
        }
        if change.priority.is_none() && change.run_at.is_none() && change.queue.is_none() {
            return Err(Rejection::invalid("id", "give at least one of priority, runAt and queue").into());
        }
        self.check_seen(viewer, change.id).await?;
        let committed = self.writer.apply(change).await?;
        self.nudge_dispatcher.notify_one();
        Ok(committed.cursor)
    }

    /// Lets a held job wait for its turn.
    pub async fn release(&self, viewer: &Viewer, id: JobId) -> Outcome<EventCursor> {
        self.check_seen(viewer, id).await?;
        let committed = self.writer.apply(Release { id, actor: viewer.token_name.clone() }).await?;
        self.nudge_dispatcher.notify_one();
        Ok(committed.cursor)
    }

    /// A job that a token may not see does not exist for it. The holder of a wide one asks nothing for that.
    async fn check_seen(&self, viewer: &Viewer, id: JobId) -> Outcome<()> {
        if viewer.sight().own().is_none() {
            return Ok(());
        }
        let job = self.reader.job(id).await?;
        let is_seen = job.is_some_and(|job| viewer.sees(&job));
        if is_seen { Ok(()) } else { Err(no_job(id).into()) }
    }
}
