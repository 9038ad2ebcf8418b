//! Owns in the API what may be done to jobs that wait.

use async_graphql::{Context, InputObject, Object};

use super::access::job_seen;
use super::context::ApiContext;
use super::payloads::{JobHoldPayload, JobReleasePayload, JobUpdatePayload, split};
use crate::base::clock::Timestamp;
use crate::domain::id::JobId;
use crate::store::waiting::Update;

/// A job to be put on hold.
#[derive(Debug, InputObject)]
pub struct JobHoldInput {
    /// The job.
    id: JobId,
}

/// A held job to be let go.
#[derive(Debug, InputObject)]
pub struct JobReleaseInput {
    /// The job.
    id: JobId,
}

/// What to change of a job that has not started; null leaves it.
#[derive(Debug, InputObject)]
pub struct JobUpdateInput {
    /// The job.
    id: JobId,
    /// -100 to 100, higher first.
    priority: Option<i32>,
    /// Do not start before this instant; one of the past means now.
    run_at: Option<Timestamp>,
    /// The queue to wait in.
    queue: Option<String>,
}

/// Changing jobs that wait.
#[derive(Debug, Default)]
pub struct WaitingMutation;

#[Object]
impl WaitingMutation {
    /// Keeps a queued or scheduled job from starting until it is released.
    async fn job_hold(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The job.")] input: JobHoldInput,
    ) -> async_graphql::Result<JobHoldPayload> {
        Ok(match split(ctx.engine().hold(ctx.viewer()?, input.id).await)? {
            Ok(cursor) => JobHoldPayload::done(job_seen(ctx, input.id).await?, cursor),
            Err(refusals) => JobHoldPayload::refused(refusals),
        })
    }

    /// Changes where and when a job waits; refused once it has started.
    async fn job_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change.")] input: JobUpdateInput,
    ) -> async_graphql::Result<JobUpdatePayload> {
        let JobUpdateInput { id, priority, run_at, queue } = input;
        let viewer = ctx.viewer()?;
        let change = Update { id, priority, run_at, queue, actor: viewer.token_name.clone() };
        Ok(match split(ctx.engine().update(viewer, change).await)? {
            Ok(cursor) => JobUpdatePayload::done(job_seen(ctx, id).await?, cursor),
            Err(refusals) => JobUpdatePayload::refused(refusals),
        })
    }

    /// Lets a job on hold wait for its turn, or for its time.
    async fn job_release(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The job.")] input: JobReleaseInput,
    ) -> async_graphql::Result<JobReleasePayload> {
        Ok(match split(ctx.engine().release(ctx.viewer()?, input.id).await)? {
            Ok(cursor) => JobReleasePayload::done(job_seen(ctx, input.id).await?, cursor),
            Err(refusals) => JobReleasePayload::refused(refusals),
        })
    }
}
