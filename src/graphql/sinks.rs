//! Owns the sink in the API: how far it was told, what it would not take, and what becomes of that.

use async_graphql::{ComplexObject, Context, Object};

use super::context::ApiContext;
use super::errors::fault;
use super::list_cost;
use super::pages::{DeadLetterConnection, number_position, page_size};
use super::payloads::{SinkDiscardPayload, SinkRedeliverPayload, split};
use crate::domain::sink::{DeadLettersInput, Sink};

#[ComplexObject]
impl Sink {
    /// What it would not take, the oldest first.
    #[graphql(complexity = "list_cost(first, child_complexity)")]
    async fn dead_letters(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 50, desc = "How many, at most 200.")] first: i32,
        #[graphql(desc = "Behind this position.")] after: Option<String>,
    ) -> async_graphql::Result<DeadLetterConnection> {
        let position = number_position(after.as_ref(), 0)?;
        let page = ctx.reader().dead_letters(&self.name, position, page_size(first)?).await;
        DeadLetterConnection::of(page, after.as_ref())
    }
}

/// Reading sinks.
#[derive(Debug, Default)]
pub struct SinkQuery;

#[Object]
impl SinkQuery {
    /// Every sink that is or was set, by name: systems outside that incidents and events are reported to.
    #[graphql(complexity = "list_cost(20, child_complexity)")]
    async fn sinks(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<Sink>> {
        ctx.reader().sinks().await.map_err(fault)
    }
}

/// Changing what a sink would not take.
#[derive(Debug, Default)]
pub struct SinkMutation;

#[Object]
impl SinkMutation {
    /// Puts dead letters back: their sink is told them again.
    async fn sink_redeliver(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which.")] input: DeadLettersInput,
    ) -> async_graphql::Result<SinkRedeliverPayload> {
        let name = input.sink.clone();
        Ok(match split(ctx.engine().redeliver(ctx.viewer()?, input).await)? {
            Ok(cursor) => SinkRedeliverPayload::done(ctx.reader().sink(&name).await.map_err(fault)?, cursor),
            Err(refusals) => SinkRedeliverPayload::refused(refusals),
        })
    }

    /// Gives dead letters up for good.
    async fn sink_discard(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which.")] input: DeadLettersInput,
    ) -> async_graphql::Result<SinkDiscardPayload> {
        let name = input.sink.clone();
        Ok(match split(ctx.engine().discard(ctx.viewer()?, input).await)? {
            Ok(cursor) => SinkDiscardPayload::done(ctx.reader().sink(&name).await.map_err(fault)?, cursor),
            Err(refusals) => SinkDiscardPayload::refused(refusals),
        })
    }
}
