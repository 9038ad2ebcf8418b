//! Owns the worker in the API.

use async_graphql::{ComplexObject, Context, ID, Object};

use super::context::ApiContext;
use super::errors::fault;
use super::list_cost;
use super::pages::{WorkerConnection, number_position, page_size};
use crate::base::clock::Timestamp;
use crate::domain::attempt::Attempt;
use crate::domain::worker::{Worker, WorkerStatus};

#[ComplexObject]
impl Worker {
    /// The global id.
    pub async fn id(&self) -> ID {
        self.id.into()
    }

    /// Whether it takes jobs.
    async fn status(&self, ctx: &Context<'_>) -> WorkerStatus {
        let engine = ctx.engine();
        if self.stopped_at.is_some() {
            return WorkerStatus::Offline;
        }
        let drains =
            if self.id == engine.worker { engine.shutdown.is_begun() } else { self.draining_at.is_some() };
        if drains { WorkerStatus::Draining } else { WorkerStatus::Online }
    }

    /// Places that are taken.
    async fn busy_slots(&self, ctx: &Context<'_>) -> async_graphql::Result<i32> {
        let engine = ctx.engine();
        if self.id != engine.worker {
            let running = ctx.reader().running_attempts(self.id).await.map_err(fault)?;
            return Ok(i32::try_from(running.len()).unwrap_or(i32::MAX));
        }
        // A handler that does not end keeps its place.
        let taken = engine.running.count() + engine.handlers.left_behind_count();
        Ok(i32::try_from(taken).unwrap_or(i32::MAX))
    }

    /// When it was last known to be alive.
    async fn last_seen_at(&self, ctx: &Context<'_>) -> Timestamp {
        let engine = ctx.engine();
        let known = self.seen_at.or(self.stopped_at).unwrap_or(self.started_at);
        if self.id == engine.worker { engine.clock.now() } else { known }
    }

    /// The attempts that it runs now.
    async fn running_attempts(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<Attempt>> {
        ctx.reader().running_attempts(self.id).await.map_err(fault)
    }
}

/// Reading workers.
#[derive(Debug, Default)]
pub struct WorkerQuery;

#[Object]
impl WorkerQuery {
    /// Workers, the newest first.
    #[graphql(complexity = "list_cost(first, child_complexity)")]
    async fn workers(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 50, desc = "How many, at most 200.")] first: i32,
        #[graphql(desc = "Behind this position.")] after: Option<String>,
    ) -> async_graphql::Result<WorkerConnection> {
        let before = number_position(after.as_ref(), i64::MAX)?;
        WorkerConnection::of(ctx.reader().workers(before, page_size(first)?).await, after.as_ref())
    }
}
