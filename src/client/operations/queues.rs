//! Owns the operations of `queue`.

use serde_json::json;

use super::super::answers::{Answer, Outcome, Page, QueueRow, WithQueue};
use super::super::inputs::{QueuePause, QueuePut, Ref};
use super::super::{Client, ClientError};
use super::{PageOf, QUEUE, QUEUE_PAUSE, QUEUE_PUT, QUEUE_RESUME, QUEUES, list, mutate, one};

/// A page of queues.
pub fn queues(client: &Client, page: &PageOf<()>) -> Result<Answer<Page<QueueRow>>, ClientError> {
    list(client, QUEUES, "queues", page)
}

/// One queue; `NotFound` when there is none.
pub fn queue(client: &Client, name: &str) -> Result<Answer<QueueRow>, ClientError> {
    one(client, QUEUE, "queue", json!({ "name": name }), &format!("queue {name:?}"))
}

/// Makes a queue, or changes its limits.
pub fn queue_put(client: &Client, input: &QueuePut) -> Result<Answer<Outcome<WithQueue>>, ClientError> {
    mutate(client, QUEUE_PUT, "queuePut", input)
}

/// Lets nothing of a queue start.
pub fn queue_pause(client: &Client, input: &QueuePause) -> Result<Answer<Outcome<WithQueue>>, ClientError> {
    mutate(client, QUEUE_PAUSE, "queuePause", input)
}

/// Ends a pause.
pub fn queue_resume(client: &Client, name: &str) -> Result<Answer<Outcome<WithQueue>>, ClientError> {
    mutate(client, QUEUE_RESUME, "queueResume", &Ref::name(name))
}
