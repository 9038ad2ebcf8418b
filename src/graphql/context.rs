//! Owns what a resolver finds in its context.

use async_graphql::Context;

use super::loaders::Loaders;
use crate::domain::access::Viewer;
use crate::domain::event::EventCursor;
use crate::domain::log::LogCursor;
use crate::domain::resume::{LastEventId, Standing, Told, Until};
use crate::engine::Engine;
use crate::store::Reader;

/// What a resolver asks of its context.
pub trait ApiContext {
    /// The engine.
    fn engine(&self) -> &Engine;
    /// Reads the state.
    fn reader(&self) -> &Reader;
    /// Reads many in one.
    fn loaders(&self) -> &Loaders;
    /// Who asks. The door lets nobody in without.
    fn viewer(&self) -> async_graphql::Result<&Viewer>;
    /// Where a client that reconnects to an event stream says it stood.
    fn resume(&self) -> (Option<EventCursor>, Option<LogCursor>);
    /// Whom a stream tells where it stands, if anybody listens.
    fn told(&self) -> Option<Told>;
    /// Where a stream ends, if it is to.
    fn until(&self) -> Option<Standing>;
}

impl ApiContext for Context<'_> {
    fn engine(&self) -> &Engine {
        self.data_unchecked::<Engine>()
    }

    fn reader(&self) -> &Reader {
        &self.engine().reader
    }

    fn loaders(&self) -> &Loaders {
        self.data_unchecked::<Loaders>()
    }

    fn viewer(&self) -> async_graphql::Result<&Viewer> {
        self.data::<Viewer>()
    }

    fn resume(&self) -> (Option<EventCursor>, Option<LogCursor>) {
        resume(self.data_opt::<LastEventId>())
    }

    fn told(&self) -> Option<Told> {
        self.data_opt::<Told>().cloned()
    }

    fn until(&self) -> Option<Standing> {
        self.data_opt::<Until>().map(|until| until.0.clone())
    }
}

/// Where a client that reconnects says it stood.
pub fn resume(id: Option<&LastEventId>) -> (Option<EventCursor>, Option<LogCursor>) {
    let Some(LastEventId(text)) = id else { return (None, None) };
    // A stream of events says where it stands among them, one of lines where among these, one of both says both.
    let (cursor, log_cursor) = text.split_once('~').unwrap_or((text, text));
    (EventCursor::parse(cursor), LogCursor::parse(log_cursor))
}
