//! Owns what can go wrong between a client and the daemon, in the kinds that a caller decides by.
//! It never prints and never retries.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

/// Codes that mean "ask again later", not "no".
const PASSING_CODES: [&str; 5] = ["UNAVAILABLE", "OVERLOADED", "STOPPING", "TIMEOUT", "RATE_LIMITED"];

/// An error of a GraphQL answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct GraphqlError {
    /// For people.
    pub message: String,
    /// Where in the answer; names and indexes.
    #[serde(default)]
    pub path: Vec<Value>,
    /// `extensions`, with the stable `code`.
    #[serde(default)]
    pub extensions: Value,
}

impl GraphqlError {
    /// The stable code, or an empty text.
    pub fn code(&self) -> &str {
        self.extensions["code"].as_str().unwrap_or_default()
    }
}

/// What a caller decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The caller's own mistake, found before anything was sent.
    Usage,
    /// No connection, a lost one, or a daemon that is not ready: whether the request had an effect is not known.
    Unreachable,
    /// No token, a wrong one, or one without the right.
    Denied,
    /// The thing named does not exist.
    NotFound,
    /// The daemon answered with an error.
    Refused,
}

/// A request or a stream that failed.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientError {
    /// What a caller decides by.
    pub kind: ErrorKind,
    /// For people: what failed and where.
    pub message: String,
    /// What the daemon said, when it did.
    pub errors: Vec<GraphqlError>,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ClientError {}

impl ClientError {
    pub(super) fn usage(message: &str) -> ClientError {
        ClientError { kind: ErrorKind::Usage, message: message.to_owned(), errors: Vec::new() }
    }

    pub(super) fn unreachable(url: &str, reason: &dyn fmt::Display) -> ClientError {
        let message = format!("no answer from the daemon at {url}: {reason}");
        ClientError { kind: ErrorKind::Unreachable, message, errors: Vec::new() }
    }

    /// A stream that ended too early.
    pub fn lost(reason: &str) -> ClientError {
        ClientError { kind: ErrorKind::Unreachable, message: reason.to_owned(), errors: Vec::new() }
    }

    pub(super) fn denied(url: &str, reason: &str) -> ClientError {
        let message = format!("the daemon at {url} denies access: {reason}");
        ClientError { kind: ErrorKind::Denied, message, errors: Vec::new() }
    }

    /// Something answered that does not speak our API.
    pub(super) fn foreign(url: &str, what: &str) -> ClientError {
        let message = format!("{url} does not answer as a Beadle daemon of this version does: {what}");
        ClientError { kind: ErrorKind::Refused, message, errors: Vec::new() }
    }

    /// A thing that an answer holds as null.
    pub fn not_found(what: &str) -> ClientError {
        ClientError { kind: ErrorKind::NotFound, message: format!("there is no {what}"), errors: Vec::new() }
    }

    /// Whether the daemon gave an error of this code.
    pub fn has_code(&self, code: &str) -> bool {
        self.errors.iter().any(|error| error.code() == code)
    }

    fn of_answer(errors: Vec<GraphqlError>, status: Option<u16>) -> ClientError {
        let has = |codes: &[&str]| errors.iter().any(|error| codes.contains(&error.code()));
        let kind = if has(&["UNAUTHENTICATED", "FORBIDDEN"]) || matches!(status, Some(401 | 403)) {
            ErrorKind::Denied
        } else if has(&PASSING_CODES) || matches!(status, Some(429 | 502..=504)) {
            ErrorKind::Unreachable
        } else if has(&["NOT_FOUND"]) {
            ErrorKind::NotFound
        } else {
            ErrorKind::Refused
        };
        let lines: Vec<_> = errors.iter().map(line).collect();
        ClientError { kind, message: lines.join("\n"), errors }
    }
}

/// `CODE: message (at job.attempts.0)`.
fn line(error: &GraphqlError) -> String {
    let mut text = match error.code() {
        "" => error.message.clone(),
        code => format!("{code}: {}", error.message),
    };
    if !error.path.is_empty() {
        let steps: Vec<_> = error
            .path
            .iter()
            .map(|step| step.as_str().map_or_else(|| step.to_string(), str::to_owned))
            .collect();
        text.push_str(&format_args!(" (at {})", steps.join(".")).to_string());
    }
    text
}

/// The data of an answer without errors, else its errors.
pub(super) fn data_of(mut answer: Value, status: Option<u16>) -> Result<Value, ClientError> {
    let errors = match answer.get_mut("errors").map(Value::take) {
        None | Some(Value::Null) => Vec::new(),
        Some(errors) => serde_json::from_value::<Vec<GraphqlError>>(errors.clone())
            .unwrap_or_else(|_| vec![unreadable(&errors)]),
    };
    if !errors.is_empty() {
        return Err(ClientError::of_answer(errors, status));
    }
    Ok(answer.get_mut("data").map(Value::take).unwrap_or_default())
}

fn unreadable(errors: &Value) -> GraphqlError {
    GraphqlError { message: errors.to_string(), path: Vec::new(), extensions: Value::Null }
}
