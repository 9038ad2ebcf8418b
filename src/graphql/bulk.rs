//! Owns in the API what may be done to many jobs at once.

use async_graphql::{Context, InputObject, Object};

use super::access::check_filter;
use super::context::ApiContext;
use super::jobs::veiled;
use super::payloads::{JobBulkPayload, split, told};
use crate::domain::access::Viewer;
use crate::domain::filter::JobFilter;
use crate::domain::rejection::Rejection;
use crate::engine::bulk::{Bulk, BulkAnswer};
use crate::store::writer::Outcome;

/// Many jobs, by what they have in common.
#[derive(Debug, InputObject)]
pub struct JobBulkInput {
    /// Which jobs; an empty filter means all.
    filter: JobFilter,
    /// More matches than this are refused and nothing is changed; at most 100,000.
    #[graphql(default = 1000)]
    max: i32,
    /// Why, for the record.
    reason: Option<String>,
    /// For `jobBulkRetry`: under the same key no job is made anew twice.
    idempotency_key: Option<String>,
}

impl JobBulkInput {
    fn bulk(self, ctx: &Context<'_>) -> async_graphql::Result<Bulk> {
        let JobBulkInput { filter, max, reason, idempotency_key } = self;
        Ok(Bulk { filter: check_filter(ctx, filter)?, max, reason, idempotency_key })
    }
}

fn payload(viewer: &Viewer, outcome: Outcome<BulkAnswer>) -> async_graphql::Result<JobBulkPayload> {
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let refused = |user_errors: Vec<Rejection>| JobBulkPayload {
        matched_count: 0,
        changed_count: 0,
        cursor: None,
        user_errors,
    };
    Ok(split(outcome)?.map_or_else(refused, |answer| JobBulkPayload {
        matched_count: count(answer.matched_count),
        changed_count: count(answer.changed_count),
        cursor: answer.cursor,
        user_errors: told(answer.refusal.into_iter().map(|one| veiled(viewer, one)).collect()),
    }))
}

/// Changing many jobs at once.
#[derive(Debug, Default)]
pub struct BulkMutation;

#[Object]
impl BulkMutation {
    /// Stops every job that matches and is not final, in batches: at once while it waits, by asking while it runs.
    async fn job_bulk_cancel(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which jobs, and how many at most.")] input: JobBulkInput,
    ) -> async_graphql::Result<JobBulkPayload> {
        payload(ctx.viewer()?, ctx.engine().cancel_matching(ctx.viewer()?, input.bulk(ctx)?).await)
    }

    /// Makes new jobs like the final ones that match, in batches; like those that succeeded only when
    /// `filter.states` names them.
    async fn job_bulk_retry(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which jobs, and how many at most.")] input: JobBulkInput,
    ) -> async_graphql::Result<JobBulkPayload> {
        payload(ctx.viewer()?, ctx.engine().retry_matching(ctx.viewer()?, input.bulk(ctx)?).await)
    }
}
