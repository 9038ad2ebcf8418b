//! Owns the operations over sinks: how they are, and what becomes of their dead letters.

use serde_json::{Value, json};

use super::super::answers::{Answer, DeadLetterRow, Outcome, Page, SinkRow, WithSink};
use super::super::{Client, ClientError};
use super::{SINK_DISCARD, SINK_LETTERS, SINK_REDELIVER, SINKS, mutate, one, put, shaped};

/// Every sink.
pub fn sinks(client: &Client) -> Result<Answer<Vec<SinkRow>>, ClientError> {
    one(client, SINKS, "sinks", json!({}), "sinks")
}

/// A page of what a sink would not take, the oldest first; `NotFound` when there is no such sink. The data is the sink.
pub fn sink_letters(
    client: &Client,
    name: &str,
    first: usize,
    after: Option<&str>,
) -> Result<Answer<Page<DeadLetterRow>>, ClientError> {
    let mut variables = json!({ "first": first });
    put(&mut variables, "after", after);
    let answer: Answer<Vec<Value>> = one(client, SINK_LETTERS, "sinks", variables, "sinks")?;
    let sink = answer.value.into_iter().find(|sink| sink["name"] == name);
    let data = sink.ok_or_else(|| ClientError::not_found(&format!("sink {name:?}")))?;
    Ok(Answer { value: shaped("deadLetters", data["deadLetters"].clone())?, data })
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
