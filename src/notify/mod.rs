//! What the daemon says to systems outside: how an event is written for each kind of sink, and the one HTTP client that
//! sends it. It sees words and values only; it must never read the store, keep a queue or decide about a next try.

pub mod address;
pub mod delivery;
pub mod otlp;
mod otlp_messages;
pub mod sentry;
pub mod webhook;

use std::collections::HashMap;

use crate::base::clock::Timestamp;
use crate::base::settings::sinks::{SinkKind, SinkSettings};
use crate::domain::event::Event;
use crate::domain::id::JobId;
use crate::domain::trace::TraceContext;

/// Who speaks: this daemon, as others should know it.
#[derive(Debug, Clone)]
pub struct Speaker {
    /// The machine's name.
    pub host: String,
    /// Tells this process from others.
    pub instance: String,
}

/// The version that sinks are told.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What of some events a request tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// All of it.
    Whole,
    /// That they happened.
    Records,
    /// The work that ended with them.
    Spans,
}

impl Part {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Part::Whole => "events",
            Part::Records => "log records",
            Part::Spans => "spans",
        }
    }
}

/// One request to a sink.
#[derive(Debug, Clone)]
pub struct Request {
    /// What it tells.
    pub part: Part,
    /// Where it goes.
    pub url: String,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
    /// How many things it tells.
    pub count: usize,
    /// What the body of a good answer complains of all the same: of how many things, and why.
    pub complaint: fn(&[u8]) -> Option<(usize, String)>,
}

/// A sink whose good answers are good.
fn content(_reply: &[u8]) -> Option<(usize, String)> {
    None
}

/// Events to be told, with what belongs to them.
#[derive(Debug)]
pub struct Told<'a> {
    /// The events, in order.
    pub events: &'a [Event],
    /// The span that asked for each job of theirs that somebody asked for within a trace.
    pub asked: &'a HashMap<JobId, TraceContext>,
    /// Work that ended with these events.
    pub spans: &'a [Span],
    /// The present instant.
    pub now: Timestamp,
}

/// A piece of work that is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Its place in its trace.
    pub context: TraceContext,
    /// The span that it is part of.
    pub parent: Option<u64>,
    /// What it did.
    pub name: String,
    /// Whether it is the job itself rather than one of its attempts.
    pub is_job: bool,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Why it failed.
    pub failure: Option<String>,
    /// What is known of it.
    pub attributes: Vec<(&'static str, String)>,
}

/// A sink as it is spoken to.
#[derive(Debug)]
pub enum Target {
    /// A webhook.
    Webhook(webhook::Webhook),
    /// Sentry.
    Sentry(sentry::Sentry),
    /// An OTLP collector.
    Otlp(otlp::Otlp),
}

impl Target {
    /// The sink of these settings.
    pub fn of(settings: &SinkSettings, speaker: &Speaker) -> Result<Target, String> {
        Ok(match settings.kind {
            SinkKind::Webhook => Target::Webhook(webhook::Webhook::of(settings)),
            SinkKind::Sentry => Target::Sentry(sentry::Sentry::of(settings, speaker)?),
            SinkKind::Otlp => Target::Otlp(otlp::Otlp::of(settings, speaker)),
        })
    }

    /// Events that it takes in one go.
    pub fn events_max(&self) -> usize {
        match self {
            Target::Webhook(_) | Target::Sentry(_) => 1,
            Target::Otlp(_) => otlp::EVENTS_MAX,
        }
    }

    /// Whether it is told of work that ended.
    pub fn takes_spans(&self) -> bool {
        matches!(self, Target::Otlp(_))
    }

    /// The requests that tell it, to be sent in order.
    pub fn requests(&self, told: &Told<'_>) -> Vec<Request> {
        match self {
            Target::Webhook(webhook) => {
                told.events.iter().map(|event| webhook.request(event, told.now)).collect()
            }
            Target::Sentry(sentry) => told.events.iter().map(|event| sentry.request(event)).collect(),
            Target::Otlp(otlp) => otlp.requests(told),
        }
    }
}
