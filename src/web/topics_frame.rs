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
    messages: Mutex<Vec<(Arc<str>, Sent)>>,
    event: OnceLock<Bytes>,
}

/// The answer as a message of one operation.
#[derive(Debug, Clone)]
struct Sent {
    message: Utf8Bytes,
    /// With what stands before it on the wire.
    wire: Bytes,
}

impl Sent {
    fn new(message: &str) -> Sent {
        let mut wire = head(message.len());
        let begin = wire.len();
        wire.extend_from_slice(message.as_bytes());
        let wire = Bytes::from(wire);
        let message = Utf8Bytes::try_from(wire.slice(begin..)).expect("it was a text before");
        Sent { message, wire }
    }
}

/// What stands before a whole text message of a server (RFC 6455, 5.2).
fn head(length: usize) -> Vec<u8> {
    const TEXT: u8 = 0x81;
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..126), _) => vec![TEXT, length],
        (_, Ok(length)) => [&[TEXT, 126][..], &length.to_be_bytes()].concat(),
        (_, Err(_)) => [&[TEXT, 127][..], &(length as u64).to_be_bytes()].concat(),
    }
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
        self.sent(id).message
    }

    /// The same, whole and ready for the wire.
    pub fn wire(&self, id: &Arc<str>) -> Bytes {
        self.sent(id).wire
    }

    fn sent(&self, id: &Arc<str>) -> Sent {
        let mut kept = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, sent)) = kept.iter().find(|(known, _)| known == id) {
            return sent.clone();
        }
        let sent = Sent::new(&match &self.errors {
            Some(errors) => error_text(id, errors),
            None => next_text(id, &self.payload),
        });
        if kept.len() < IDS_KEPT {
            kept.push((Arc::clone(id), sent.clone()));
        }
        sent
    }

    /// As an event of a stream.
    pub fn event(&self) -> Bytes {
        self.event.get_or_init(|| event_text(&self.payload, self.resume_id.as_deref()).into()).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_tells_the_length_as_the_protocol_wants_it() {
        assert_eq!(head(5), [0x81, 5]);
        assert_eq!(head(125), [0x81, 125]);
        assert_eq!(head(126), [0x81, 126, 0, 126]);
        assert_eq!(head(300), [0x81, 126, 1, 44]);
        assert_eq!(head(65_535), [0x81, 126, 255, 255]);
        assert_eq!(head(65_536), [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
