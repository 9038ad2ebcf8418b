//! Owns in the API why a job waits: what its reasons lead to.

use async_graphql::{ComplexObject, Context};

use super::context::ApiContext;
use super::errors::fault;
use crate::domain::blocker::{ConcurrencyBlocker, DependencyBlocker, PausedBlocker, RateBlocker};
use crate::domain::id::JobId;
use crate::domain::job::Job;
use crate::domain::queue::Queue;

async fn queue(ctx: &Context<'_>, name: &str) -> async_graphql::Result<Queue> {
    let queue = ctx.loaders().0.load_one(name.to_owned()).await.map_err(fault)?;
    queue.ok_or_else(|| async_graphql::Error::new(format!("the queue {name} is gone")))
}

/// The jobs in their order; those that are gone, or that the caller may not see, are left out.
async fn jobs(ctx: &Context<'_>, ids: &[JobId]) -> async_graphql::Result<Vec<Job>> {
    let mut found = ctx.loaders().0.load_many(ids.iter().copied()).await.map_err(fault)?;
    let viewer = ctx.viewer()?;
    Ok(ids.iter().filter_map(|id| found.remove(id)).filter(|job| viewer.sees(job)).collect())
}

#[ComplexObject]
impl PausedBlocker {
    /// The queue.
    async fn queue(&self, ctx: &Context<'_>) -> async_graphql::Result<Queue> {
        queue(ctx, &self.queue_name).await
    }
}

#[ComplexObject]
impl RateBlocker {
    /// The queue.
    async fn queue(&self, ctx: &Context<'_>) -> async_graphql::Result<Queue> {
        queue(ctx, &self.queue_name).await
    }
}

#[ComplexObject]
impl DependencyBlocker {
    /// Those that are not final yet, at most 20.
    async fn jobs(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<Job>> {
        jobs(ctx, &self.job_ids).await
    }
}

#[ComplexObject]
impl ConcurrencyBlocker {
    /// Those that run or come first, at most 20.
    async fn holders(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<Job>> {
        jobs(ctx, &self.holder_ids).await
    }
}
