//! The front door of the daemon: HTTP, event streams and web sockets on one path, with one guard in front of
//! the executor, and the dashboard's pages. Only this module names axum, hyper and tungstenite. It knows no job and no store: it asks
//! the floors below through [`Backend`] and must never decide for them.

mod accept;
mod coding;
mod document;
mod download;
mod errors;
mod execute;
mod guard;
mod known;
mod lexical;
mod limits;
mod logins;
mod media;
mod merging;
mod metrics;
mod operation;
mod outputs;
mod overlap;
mod pages;
mod pipe;
mod request;
mod root_fields;
mod seats;
mod socket;
mod spreads;
mod sse;
mod stall;
mod topics;
mod topics_frame;
mod topics_line;
mod topics_member;
mod topics_ring;
mod transport;
mod turns;
mod usage;
mod variables;

#[cfg(test)]
mod tests_download;
#[cfg(test)]
mod tests_http;
#[cfg(test)]
mod tests_known;
#[cfg(test)]
mod tests_pages;
#[cfg(test)]
mod tests_socket;
#[cfg(test)]
mod tests_stream;
#[cfg(test)]
mod tests_tokens;
#[cfg(test)]
mod toy;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::Variables;
use async_graphql::parser::types::{ExecutableDocument, OperationType};
use tokio::sync::watch;

use crate::base::metrics::{Place, TextFormat};
use crate::domain::id::AttemptId;
use crate::domain::log::LogStream;
use crate::domain::resume::{Course, LastEventId};

pub use accept::Entrance;
pub use download::{LogRefusal, LogText};
pub use limits::Limits;

/// Whether the dashboard was built into this program.
pub fn has_dashboard() -> bool {
    !pages::EMBEDDED.is_empty()
}

/// Whether a token is known cannot be told now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsure;

/// A request that was read and found bearable.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The document.
    pub document: &'a ExecutableDocument,
    /// Which of its operations will run.
    pub operation_name: Option<&'a str>,
    /// The kind of that operation.
    pub operation_type: OperationType,
    /// Names of its root fields; introspection is never among them.
    pub root_fields: &'a [&'a str],
}

/// A subscription that may be shared with others.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// Its text.
    pub text: &'a str,
    /// As it was read.
    pub asked: &'a Asked<'a>,
    /// Its variables.
    pub variables: &'a Variables,
    /// Where a client that reconnects says it stood.
    pub resume: Option<&'a LastEventId>,
}

/// What only the door can count.
#[derive(Debug, Clone, Copy)]
pub struct DoorNumbers {
    /// Open connections.
    pub connection_count: usize,
    /// How many may be open.
    pub connections_max: usize,
    /// Subscriptions and downloads under way.
    pub subscription_count: usize,
    /// Executions that are each for all who ask the same.
    pub topic_count: usize,
}

/// What the door asks of the floors below.
pub trait Backend: Clone + Send + Sync + 'static {
    /// The schema that serves.
    type Executor: async_graphql::Executor;
    /// Who calls; put into the request's data as it is.
    type Viewer: Clone + Send + Sync + 'static;

    /// The schema that serves. It may take it that the judge found the document good.
    fn executor(&self) -> &Self::Executor;

    /// The same schema, but it judges a document by every rule and runs nothing: it answers at once, with errors or with
    /// nothing.
    fn judge(&self) -> &Self::Executor;

    /// Who holds this token; `None` when nobody does, or no longer. Long streams ask again with each heartbeat,
    /// when their token expires and when a token was revoked.
    ///
    /// # Errors
    /// When it cannot be told now.
    fn authenticate(&self, token: &str) -> impl Future<Output = Result<Option<Self::Viewer>, Unsure>> + Send;

    /// Notes that a viewer came in.
    fn note_use(&self, viewer: &Self::Viewer);

    /// Changes whenever a token was revoked.
    fn revocations(&self) -> watch::Receiver<u64>;

    /// How long the viewer's token is still valid; `None` when it does not expire by itself.
    fn valid_for(&self, viewer: &Self::Viewer) -> Option<Duration>;

    /// What identifies the viewer's token, for limits per token.
    fn token_key(&self, viewer: &Self::Viewer) -> i64;

    /// The token's name, for the log.
    fn token_name<'a>(&self, viewer: &'a Self::Viewer) -> &'a str;

    /// Whether this viewer may ask this.
    ///
    /// # Errors
    /// The message that says which grant is missing; the caller gets it with the code `FORBIDDEN`.
    fn permit(&self, viewer: &Self::Viewer, asked: &Asked<'_>) -> Result<(), String>;

    /// How a subscription may be executed once for all who ask the same; `None` when it is for its caller alone.
    fn course(&self, viewer: &Self::Viewer, sent: &Sent<'_>) -> Option<Course<Self::Viewer>>;

    /// Counts one who follows the events and has seen everything up to `seen`, until dropped.
    fn place(&self, seen: i64) -> Place;

    /// Whether the daemon can do its work.
    ///
    /// # Errors
    /// What is missing, in words that strangers may read.
    fn ready(&self) -> Result<(), String>;

    /// Connections are not accepted for now, for this reason; or are again.
    fn tell_shortage(&self, shortage: Option<&str>);

    /// The whole log of an attempt as a text, or one stream of it. Here it is decided whether this viewer may see it.
    ///
    /// # Errors
    /// Why it is not given.
    fn log(
        &self,
        viewer: &Self::Viewer,
        attempt: AttemptId,
        only: Option<LogStream>,
    ) -> impl Future<Output = Result<LogText, LogRefusal>> + Send;

    /// The daemon's numbers for a scraper, with those of the door.
    ///
    /// # Errors
    /// The message that says which grant is missing.
    fn metrics(
        &self,
        viewer: &Self::Viewer,
        door: DoorNumbers,
        format: TextFormat,
    ) -> impl Future<Output = Result<String, String>> + Send;

    /// The schema as text.
    fn schema_sdl(&self) -> Arc<str>;
}

/// Which names and pages the door knows, and its bounds.
#[derive(Debug, Clone, Default)]
pub struct DoorConfig {
    /// Host names besides 127.0.0.1, localhost and `[::1]` with our port; with or without a port.
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages besides our own, such as `https://beadle.example:8443`.
    pub allowed_origins: Vec<String>,
    /// The bounds in force.
    pub limits: Limits,
}
