//! Owns how trouble is shown: codes for what a caller can act on; the door masks the rest.

use async_graphql::{Error, ErrorExtensions as _};

use crate::engine::feed::StreamEnd;
use crate::store::{Fault, FaultKind};

/// When a caller may try again after the store was busy or full, in milliseconds.
const RETRY_AFTER_MS: u64 = 1_000;

/// An error with a code.
pub fn coded(code: &'static str, message: impl Into<String>) -> Error {
    Error::new(message).extend_with(|_, extensions| extensions.set("code", code))
}

/// A value of an argument that is not acceptable.
pub fn bad_input(message: impl Into<String>) -> Error {
    coded("BAD_USER_INPUT", message)
}

/// Trouble in the store.
pub fn fault(fault: Fault) -> Error {
    let unavailable = |code: &'static str, message: &str| {
        tracing::warn!(kind = ?fault.kind, "refused: {fault}");
        coded(code, message).extend_with(|_, extensions| extensions.set("retryAfterMs", RETRY_AFTER_MS))
    };
    match fault.kind {
        FaultKind::Full => unavailable("STORE_UNAVAILABLE", "the store's disk is full; nothing was changed"),
        FaultKind::Io => {
            unavailable("STORE_UNAVAILABLE", "the store failed; whether this was done is not known")
        }
        FaultKind::Locked => unavailable("STORE_UNAVAILABLE", "the store is held by another process"),
        FaultKind::Overloaded => unavailable("OVERLOADED", "too much waits for the store"),
        FaultKind::Stopping => unavailable("STOPPING", "the daemon is stopping"),
        // Without a code the door masks it and logs it with an id.
        FaultKind::Constraint | FaultKind::Damaged | FaultKind::Bug => Error::new(fault.to_string()),
    }
}

/// The end of a stream before its time.
pub fn stream_end(end: StreamEnd) -> Error {
    match end {
        StreamEnd::Expired { oldest, latest } => {
            let message =
                "this position is no longer kept; read the data again and subscribe after its cursor";
            coded("CURSOR_EXPIRED", message).extend_with(|_, extensions| {
                extensions.set("oldest", oldest.to_string());
                extensions.set("latest", latest.to_string());
            })
        }
        StreamEnd::Slow { resume_after } => {
            let message = "this subscriber does not keep up; subscribe again after the given cursor";
            coded("SLOW_CONSUMER", message)
                .extend_with(|_, extensions| extensions.set("resumeAfter", resume_after.to_string()))
        }
        StreamEnd::Fault(inner) => fault(inner),
    }
}
