//! Owns an answer that many get: it is encoded once, and what stands around it on the wire is kept for the few ids that
//! clients use. It must never hold anything of one subscriber.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::body::Bytes;
use axum::extract::ws::Utf8Bytes;

use super::errors::Answer;
use super::operation::{error_text, next_text};
use super::sse::event_text;

/// Ids of operations for which the whole message is kept: most clients number theirs from one.
const IDS_KEPT: usize = 4;
/// What a frame takes beside its text.
const FRAME_OVERHEAD: usize = 512;

/// One answer for all who ask the same.
#[derive(Debug)]
pub struct Frame {
    payload: String,
    /// The list of errors, when nothing was executed.
    errors: Option<String>,
    resume_id: Option<String>,
    messages: Mutex<Vec<(Arc<str>, Utf8Bytes)>>,
    event: OnceLock<Bytes>,
}

impl Frame {
    /// The answer, encoded.
    pub fn new(answer: &Answer) -> Frame {
        Frame {
            payload: answer.to_json(),
            errors: answer.is_request_error().then(|| answer.errors_to_json()),
            resume_id: answer.resume_id(),
            messages: Mutex::default(),
            event: OnceLock::new(),
        }
    }

    /// Whether nothing was executed: the operation is over.
    pub fn is_failed(&self) -> bool {
        self.errors.is_some()
    }

    /// Bytes that it takes, roughly: its text, and the text once more on the wire.
    pub fn weight(&self) -> usize {
        2 * self.payload.len() + FRAME_OVERHEAD
    }

    /// As a message of the operation with this id.
    pub fn message(&self, id: &Arc<str>) -> Utf8Bytes {
        let mut kept = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, message)) = kept.iter().find(|(known, _)| known == id) {
            return message.clone();
        }
        let message: Utf8Bytes = match &self.errors {
            Some(errors) => error_text(id, errors).into(),
            None => next_text(id, &self.payload).into(),
        };
        if kept.len() < IDS_KEPT {
            kept.push((Arc::clone(id), message.clone()));
        }
        message
    }

    /// As an event of a stream.
    pub fn event(&self) -> Bytes {
        self.event.get_or_init(|| event_text(&self.payload, self.resume_id.as_deref()).into()).clone()
    }
}
