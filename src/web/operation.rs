//! Owns one operation on a WebSocket: its task, and the frames of its answers in the order of the protocol.
//! It must never write to the socket itself, and ends with whoever holds its [`Running`].

use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::errors::Answer;
use super::topics_line::Line;
use super::topics_member::Piece;
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
    stop: Stop,
}

#[derive(Debug)]
enum Stop {
    Task(AbortHandle),
    Stream(stream::AbortHandle, Arc<Line>),
}

impl Drop for Running {
    fn drop(&mut self) {
        match &self.stop {
            Stop::Task(task) => task.abort(),
            Stop::Stream(stream, line) => {
                // The client may use the id again at once.
                line.close();
                stream.abort();
            }
        }
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
    Running { number, stop: Stop::Task(task.abort_handle()) }
}

/// The same for an operation that is shared with others: it needs no task, the socket's own takes what it is sent.
pub fn take_part(
    number: u64,
    id: Arc<str>,
    pieces: BoxStream<'static, Piece>,
    line: Arc<Line>,
) -> (BoxStream<'static, Outgoing>, Running) {
    let messages = stream::unfold(Some(pieces), move |pieces| {
        let id = Arc::clone(&id);
        async move {
            let mut pieces = pieces?;
            let (frame, is_last) = match pieces.next().await {
                Some(Piece::Shared(frame)) => (frame.message(&id), frame.is_failed()),
                Some(Piece::Own(answer)) if answer.is_request_error() => (error_frame(&id, &answer), true),
                Some(Piece::Own(answer)) => (next_frame(&id, &answer), false),
                None => (complete_frame(&id), true),
            };
            Some((Outgoing { id, number, frame, is_last }, (!is_last).then_some(pieces)))
        }
    });
    let (messages, stop) = stream::abortable(messages);
    (messages.boxed(), Running { number, stop: Stop::Stream(stop, line) })
}

fn quoted(id: &str) -> String {
    serde_json::to_string(id).expect("a string is JSON")
}

fn next_frame(id: &str, answer: &Answer) -> Utf8Bytes {
    next_with(id, |text| answer.write(text)).into()
}

/// The message with an answer that is encoded already.
pub fn next_text(id: &str, payload: &str) -> String {
    next_with(id, |text| text.push_str(payload))
}

fn next_with(id: &str, write: impl FnOnce(&mut String)) -> String {
    let mut text = format!(r#"{{"id":{},"type":"next","payload":"#, quoted(id));
    write(&mut text);
    text.push('}');
    text
}

/// What the client gets instead of any answer.
pub fn error_frame(id: &str, answer: &Answer) -> Utf8Bytes {
    error_text(id, &answer.errors_to_json()).into()
}

/// The message with errors instead of any answer.
pub fn error_text(id: &str, errors: &str) -> String {
    let id = quoted(id);
    format!(r#"{{"id":{id},"type":"error","payload":{errors}}}"#)
}

fn complete_frame(id: &str) -> Utf8Bytes {
    format!(r#"{{"id":{},"type":"complete"}}"#, quoted(id)).into()
}
