//! Owns the event in the API, and the feed as a query.

use async_graphql::{ComplexObject, Context, ID, Object};

use super::access::seen;
use super::context::ApiContext;
use super::errors::{bad_input, fault, stream_end};
use super::list_cost;
use super::node::{self, Node};
use super::pages::page_size;
use super::rows::RowRefs;
use crate::domain::event::{Event, EventBatch, EventCursor};
use crate::domain::filter::EventFilter;
use crate::domain::limits::FILTER_VALUES_MAX;

#[ComplexObject]
impl Event {
    /// The thing as it is now; null when it is gone, or when the event is about none.
    async fn subject(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Node>> {
        match (&self.job_id, &self.subject_id) {
            (Some(job), _) => {
                Ok(seen(ctx, ctx.loaders().0.load_one(*job).await.map_err(fault)?)?.map(Node::Job))
            }
            (None, Some(id)) => node::find(ctx, id).await,
            (None, None) => Ok(None),
        }
    }

    /// The job it concerns.
    async fn job_id(&self) -> Option<ID> {
        self.job_id.map(Into::into)
    }
}

/// Events in order.
#[Object]
impl EventBatch {
    /// The events, oldest first; empty in a bookmark.
    async fn events(&self) -> RowRefs<'_, Event> {
        self.events.iter().collect()
    }

    /// Lies behind the last one, also when `events` is empty.
    async fn cursor(&self) -> EventCursor {
        self.cursor
    }

    /// Whether more events of the past follow at once.
    async fn has_more_past_events(&self) -> bool {
        self.has_more_past_events
    }
}

/// The filter over what the caller may see, if every list of it is short enough.
pub fn check_filter(ctx: &Context<'_>, filter: Option<EventFilter>) -> async_graphql::Result<EventFilter> {
    fn fits<T>(list: Option<&Vec<T>>) -> bool {
        list.is_none_or(|list| list.len() <= FILTER_VALUES_MAX)
    }
    let filter = EventFilter { sight: ctx.viewer()?.sight(), ..filter.unwrap_or_default() };
    let is_bounded = fits(filter.types.as_ref())
        && fits(filter.job_ids.as_ref())
        && fits(filter.tasks.as_ref())
        && fits(filter.queues.as_ref())
        && fits(filter.labels.as_ref());
    if is_bounded { Ok(filter) } else { Err(bad_input("a list of the filter holds too many values")) }
}

/// Reading the feed.
#[derive(Debug, Default)]
pub struct EventQuery;

#[Object]
impl EventQuery {
    /// The newest event. Read it in the same request as the data, then subscribe with `after:`.
    async fn event_cursor(&self, ctx: &Context<'_>) -> EventCursor {
        // The position is read before any field of the request that needs the store answers: what changes in
        // between is seen twice, never missed.
        ctx.engine().writer.cursor()
    }

    /// The durable feed, oldest first: the same events and cursors as the subscription.
    #[graphql(complexity = "list_cost(first, child_complexity)")]
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 100, desc = "How many, at most 200.")] first: i32,
        #[graphql(desc = "Behind this position; the oldest kept event when left out.")] after: Option<
            EventCursor,
        >,
        #[graphql(desc = "Only these.")] filter: Option<EventFilter>,
    ) -> async_graphql::Result<EventBatch> {
        let filter = check_filter(ctx, filter)?;
        let engine = ctx.engine();
        let newest = engine.writer.cursor();
        let mut seen = match after {
            Some(after) => {
                engine.check_cursor(after).await.map_err(stream_end)?;
                after.seq
            }
            None => 0,
        };
        let limit = page_size(first)?;
        loop {
            let page = engine.reader.events_after(seen, newest.seq, &filter, limit).await.map_err(fault)?;
            if seen > 0 {
                // Retention may have overtaken us: what is still there now was there when we read.
                let here = EventCursor { epoch: newest.epoch, seq: seen };
                engine.check_cursor(here).await.map_err(stream_end)?;
            }
            seen = page.seen;
            if page.events.is_empty() && page.has_more {
                continue;
            }
            let cursor = EventCursor { epoch: newest.epoch, seq: seen };
            return Ok(EventBatch { events: page.events, cursor, has_more_past_events: page.has_more });
        }
    }
}
