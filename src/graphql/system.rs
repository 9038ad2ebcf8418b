//! Owns what the daemon says of itself: version, size, health, and who is asking.

use async_graphql::{Context, Object, SimpleObject};

use super::context::ApiContext;
use super::errors::fault;
use crate::base::clock::Timestamp;
use crate::domain::access::Viewer;
use crate::domain::duration::Span;
use crate::domain::event::EventCursor;
use crate::domain::health::Health;
use crate::domain::scalars::BigInt;

/// The daemon that answers.
#[derive(Debug, SimpleObject)]
#[graphql(complex)]
pub struct Daemon {
    /// Beadle's version.
    version: &'static str,
    /// When it started.
    started_at: Timestamp,
    /// The store's engine: `sqlite` or `postgres`.
    store_engine: &'static str,
    /// How often it looks at the store when nothing nudges it.
    poll_interval: Span,
}

#[async_graphql::ComplexObject]
impl Daemon {
    /// Names of the handlers that a command may call: functions of the program that embeds this daemon.
    async fn handlers(&self, ctx: &Context<'_>) -> Vec<String> {
        ctx.engine().handlers.names().map(str::to_owned).collect()
    }

    /// Bytes that the state takes on disk.
    async fn store_bytes(&self, ctx: &Context<'_>) -> async_graphql::Result<BigInt> {
        ctx.reader().size_bytes().await.map(BigInt).map_err(fault)
    }

    /// Bytes that output takes, compressed.
    async fn log_bytes(&self, ctx: &Context<'_>) -> async_graphql::Result<BigInt> {
        ctx.engine().logs.total_bytes().await.map(BigInt).map_err(fault)
    }

    /// The oldest position of the feed that can be resumed at.
    async fn oldest_event_cursor(&self, ctx: &Context<'_>) -> async_graphql::Result<EventCursor> {
        let oldest = ctx.reader().oldest_event().await.map_err(fault)?;
        Ok(EventCursor { epoch: ctx.reader().epoch(), seq: (oldest - 1).max(0) })
    }
}

/// Reading about the daemon.
#[derive(Debug, Default)]
pub struct SystemQuery;

#[Object]
impl SystemQuery {
    /// Who is asking.
    async fn viewer(&self, ctx: &Context<'_>) -> async_graphql::Result<Viewer> {
        Ok(ctx.viewer()?.clone())
    }

    /// The daemon that answers.
    async fn daemon(&self, ctx: &Context<'_>) -> Daemon {
        let engine = ctx.engine();
        Daemon {
            version: env!("CARGO_PKG_VERSION"),
            started_at: engine.started_at,
            store_engine: engine.reader.engine(),
            poll_interval: Span::from_std(engine.settings.poll_interval),
        }
    }

    /// How the daemon is.
    async fn health(&self, ctx: &Context<'_>) -> Health {
        ctx.engine().health.read()
    }
}
