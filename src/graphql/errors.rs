//! Owns how trouble is shown: codes for what a caller can act on; the door masks the rest.

use async_graphql::{Error, ErrorExtensions as _};

use crate::domain::rejection::Rejection;
use crate::engine::feed::StreamEnd;
use crate::engine::store_watch;
use crate::store::{Certainty, Fault, FaultKind};

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

/// More than one answer may hold.
pub fn too_large(message: impl Into<String>) -> Error {
    coded("QUERY_TOO_LARGE", message)
}

/// A value of an argument that a rule of ours refuses: `extensions.inputPath` names the argument, and what in it.
pub fn rejected(rejection: Rejection) -> Error {
    let Rejection { path: Some(path), message, .. } = rejection else { return bad_input(rejection.message) };
    bad_input(format!("{}: {message}", path.join(".")))
        .extend_with(|_, extensions| extensions.set("inputPath", path))
}

/// What is said where a change may have been made, or a part of it.
const UNKNOWN: &str =
    "whether this was done is not known: ask again, with the same idempotency key where it takes one";

/// Trouble in the store. Of what the whole store has the caller learns the kind, and whether its change may have been
/// made; of the rest only an id, by which the door finds it in the log.
pub fn fault(fault: Fault) -> Error {
    let refused = |code: &'static str, message: &str| {
        tracing::warn!(kind = ?fault.kind, "refused: {fault}");
        coded(code, message).extend_with(|_, extensions| extensions.set("retryAfterMs", RETRY_AFTER_MS))
    };
    let may_be_done = fault.certainty == Certainty::Unknown;
    let passing = |code: &'static str, words: &str| {
        if !may_be_done {
            return refused(code, words);
        }
        refused(code, &format!("{words}; {UNKNOWN}"))
            .extend_with(|_, extensions| extensions.set("mayBeDone", true))
    };
    let words = match fault.kind {
        FaultKind::Overloaded => return passing("OVERLOADED", "too much waits for the store"),
        FaultKind::Stopping => return passing("STOPPING", "the daemon is stopping"),
        FaultKind::Full => "there is no room left on the store's disk",
        FaultKind::Io => "the store's disk or connection fails",
        FaultKind::ReadOnly => "the store can only be read",
        FaultKind::Locked => "the store is held by another process",
        FaultKind::Damaged => "the store is damaged",
        FaultKind::Replaced => "the store's file was taken away or replaced",
        FaultKind::Constraint | FaultKind::Bug => return Error::new(fault.to_string()),
    };
    let end = if may_be_done { UNKNOWN } else { "nothing was changed" };
    refused("UNAVAILABLE", &format!("{words}; {end}")).extend_with(|_, extensions| {
        extensions.set("reason", store_watch::word(fault.kind));
        extensions.set("mayBeDone", may_be_done);
    })
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
