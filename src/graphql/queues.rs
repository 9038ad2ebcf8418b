//! Owns the queue in the API.

use async_graphql::{ComplexObject, Context, ID, InputObject, Object};

use super::context::ApiContext;
use super::errors::fault;
use super::list_cost;
use super::pages::{QueueConnection, name_position, page_size};
use super::payloads::{QueuePausePayload, QueuePutPayload, QueueResumePayload, split};
use crate::base::clock::Timestamp;
use crate::domain::limits::TEXT_BYTES_MAX;
use crate::domain::queue::{Queue, RateLimit};
use crate::domain::rejection::check_text;
use crate::store::queues::QueueAction;

#[ComplexObject]
impl Queue {
    /// The global id.
    pub async fn id(&self) -> ID {
        self.id.into()
    }

    /// Whether it starts nothing now.
    async fn is_paused(&self) -> bool {
        self.paused_at.is_some()
    }

    /// Jobs that wait in it, for whatever reason.
    async fn waiting_count(&self, ctx: &Context<'_>) -> async_graphql::Result<i32> {
        let numbers = ctx.reader().queue_numbers(&self.name).await.map_err(fault)?;
        Ok(i32::try_from(numbers.waiting).unwrap_or(i32::MAX))
    }

    /// Jobs of it that run.
    async fn running_count(&self, ctx: &Context<'_>) -> async_graphql::Result<i32> {
        let numbers = ctx.reader().queue_numbers(&self.name).await.map_err(fault)?;
        Ok(i32::try_from(numbers.running).unwrap_or(i32::MAX))
    }

    /// Since when the longest-waiting job could have started.
    async fn oldest_waiting_at(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Timestamp>> {
        ctx.reader().oldest_waiting_at(&self.name).await.map_err(fault)
    }
}

/// Reading queues.
#[derive(Debug, Default)]
pub struct QueueQuery;

#[Object]
impl QueueQuery {
    /// The queue of this name.
    async fn queue(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its name.")] name: String,
    ) -> async_graphql::Result<Option<Queue>> {
        ctx.loaders().0.load_one(name).await.map_err(fault)
    }

    /// Queues by name.
    #[graphql(complexity = "list_cost(first, child_complexity)")]
    async fn queues(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 50, desc = "How many, at most 200.")] first: i32,
        #[graphql(desc = "Behind this position.")] after: Option<String>,
    ) -> async_graphql::Result<QueueConnection> {
        let position = name_position(after.as_ref())?;
        QueueConnection::of(ctx.reader().queues(position, page_size(first)?).await, after.as_ref())
    }
}

/// A queue to be made or changed.
#[derive(Debug, InputObject)]
pub struct QueuePutInput {
    /// Its name: an existing one is changed, a new one is made.
    name: String,
    /// Jobs that may run at once; null means no limit of its own.
    concurrency_limit: Option<i32>,
    /// Jobs that may start in any period; null means any number.
    rate_limit: Option<RateLimit>,
}

/// A queue to be paused.
#[derive(Debug, InputObject)]
pub struct QueuePauseInput {
    /// Its name.
    name: String,
    /// Why.
    reason: Option<String>,
}

/// A queue to be resumed.
#[derive(Debug, InputObject)]
pub struct QueueResumeInput {
    /// Its name.
    name: String,
}

async fn shown(ctx: &Context<'_>, name: &str) -> async_graphql::Result<Option<Queue>> {
    ctx.loaders().0.load_one(name.to_owned()).await.map_err(fault)
}

/// Changing queues.
#[derive(Debug, Default)]
pub struct QueueMutation;

#[Object]
impl QueueMutation {
    /// Makes a queue, or sets its limits: what is left out means no limit.
    async fn queue_put(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The queue.")] input: QueuePutInput,
    ) -> async_graphql::Result<QueuePutPayload> {
        let QueuePutInput { concurrency_limit, rate_limit, .. } = input;
        let action = QueueAction::Put { concurrency_limit, rate_limit };
        let outcome = ctx.engine().change_queue(ctx.viewer()?, input.name.clone(), action).await;
        Ok(match split(outcome)? {
            Ok(cursor) => QueuePutPayload::done(shown(ctx, &input.name).await?, cursor),
            Err(refusals) => QueuePutPayload::refused(refusals),
        })
    }

    /// Stops a queue from starting jobs; what runs goes on.
    async fn queue_pause(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The queue.")] input: QueuePauseInput,
    ) -> async_graphql::Result<QueuePausePayload> {
        let QueuePauseInput { name, reason } = input;
        if let Err(rejection) = check_text("reason", reason.as_deref().unwrap_or_default(), TEXT_BYTES_MAX) {
            return Ok(QueuePausePayload::refused(vec![rejection]));
        }
        let action = QueueAction::Pause { reason };
        Ok(match split(ctx.engine().change_queue(ctx.viewer()?, name.clone(), action).await)? {
            Ok(cursor) => QueuePausePayload::done(shown(ctx, &name).await?, cursor),
            Err(refusals) => QueuePausePayload::refused(refusals),
        })
    }

    /// Lets a queue start jobs again.
    async fn queue_resume(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The queue.")] input: QueueResumeInput,
    ) -> async_graphql::Result<QueueResumePayload> {
        let name = input.name;
        let action = QueueAction::Resume;
        Ok(match split(ctx.engine().change_queue(ctx.viewer()?, name.clone(), action).await)? {
            Ok(cursor) => QueueResumePayload::done(shown(ctx, &name).await?, cursor),
            Err(refusals) => QueueResumePayload::refused(refusals),
        })
    }
}
