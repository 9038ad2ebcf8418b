//! Owns in the API what may be done to jobs that wait.

use async_graphql::{Context, InputObject, Object};

use super::context::ApiContext;
use super::errors::fault;
use super::payloads::{JobHoldPayload, JobReleasePayload, split};
use crate::domain::id::JobId;

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
            Ok(cursor) => JobHoldPayload::done(ctx.reader().job(input.id).await.map_err(fault)?, cursor),
            Err(refusals) => JobHoldPayload::refused(refusals),
        })
    }

    /// Lets a job on hold wait for its turn, or for its time.
    async fn job_release(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The job.")] input: JobReleaseInput,
    ) -> async_graphql::Result<JobReleasePayload> {
        Ok(match split(ctx.engine().release(ctx.viewer()?, input.id).await)? {
            Ok(cursor) => JobReleasePayload::done(ctx.reader().job(input.id).await.map_err(fault)?, cursor),
            Err(refusals) => JobReleasePayload::refused(refusals),
        })
    }
}
