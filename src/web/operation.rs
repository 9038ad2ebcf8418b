//! Owns one operation on a WebSocket: its task, and the frames of its answers in the order of the protocol.
//! It must never write to the socket itself, and ends with whoever holds its [`Running`].

use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::errors::Answer;
use crate::base::task;

/// A frame on its way to the socket's writer.
#[derive(Debug)]
pub struct Outgoing {
    /// The operation's id, as the client gave it.
    pub id: Arc<str>,
    /// Tells a new operation from an old one of the same id.
    pub number: u64,
    /// As it is sent.
    pub frame: Utf8Bytes,
    /// Whether the operation is over.
    pub is_last: bool,
}

/// A running operation; dropping it stops the operation.
#[derive(Debug)]
pub struct Running {
    /// As in [`Outgoing`].
    pub number: u64,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts to send the answers of an operation: `next` for each and one `complete`, or one `error` and nothing
/// else.
pub fn start(
    number: u64,
    id: &str,
    mut answers: BoxStream<'static, Answer>,
    outbox: mpsc::Sender<Outgoing>,
) -> Running {
    let id: Arc<str> = id.into();
    let task = task::spawn(async move {
        let send = |frame, is_last| outbox.send(Outgoing { id: Arc::clone(&id), number, frame, is_last });
        while let Some(answer) = answers.next().await {
            let failed = answer.is_request_error();
            let frame = if failed { error_frame(&id, &answer) } else { next_frame(&id, &answer) };
            if send(frame, failed).await.is_err() || failed {
                return;
            }
        }
        // The socket is gone when this fails; there is nobody left to tell.
        let _ = send(complete_frame(&id), true).await;
    });
    Running { number, task: task.abort_handle() }
}

fn quoted(id: &str) -> String {
    serde_json::to_string(id).expect("a string is JSON")
}

fn next_frame(id: &str, answer: &Answer) -> Utf8Bytes {
    let mut frame = format!(r#"{{"id":{},"type":"next","payload":"#, quoted(id));
    answer.write(&mut frame);
    frame.push('}');
    frame.into()
}

/// What the client gets instead of any answer.
pub fn error_frame(id: &str, answer: &Answer) -> Utf8Bytes {
    let (id, payload) = (quoted(id), answer.errors_to_json());
    format!(r#"{{"id":{id},"type":"error","payload":{payload}}}"#).into()
}

fn complete_frame(id: &str) -> Utf8Bytes {
    format!(r#"{{"id":{},"type":"complete"}}"#, quoted(id)).into()
}
