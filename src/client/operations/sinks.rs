//! Owns the operations over sinks: how they are, and what becomes of their dead letters.

use serde_json::{Value, json};

use super::super::answers::{Answer, Outcome, SinkRow, WithSink};
use super::super::{Client, ClientError};
use super::{SINK_DISCARD, SINK_REDELIVER, SINKS, mutate, one};

/// Every sink.
pub fn sinks(client: &Client) -> Result<Answer<Vec<SinkRow>>, ClientError> {
    one(client, SINKS, "sinks", json!({}), "sinks")
}

/// Puts dead letters back.
pub fn sink_redeliver(
    client: &Client,
    sink: &str,
    events: &[String],
) -> Result<Answer<Outcome<WithSink>>, ClientError> {
    mutate(client, SINK_REDELIVER, "sinkRedeliver", &input(sink, events))
}

/// Gives dead letters up.
pub fn sink_discard(
    client: &Client,
    sink: &str,
    events: &[String],
) -> Result<Answer<Outcome<WithSink>>, ClientError> {
    mutate(client, SINK_DISCARD, "sinkDiscard", &input(sink, events))
}

/// No events mean all of them.
fn input(sink: &str, events: &[String]) -> Value {
    let mut input = json!({ "sink": sink });
    if !events.is_empty() {
        input["events"] = json!(events);
    }
    input
}
