//! Owns the shape of every failure that leaves the door: stable codes, short messages, nothing internal.
//! It must never let a resolver's own words out unless the resolver gave them a code.

use std::time::Duration;

use async_graphql::{ErrorExtensionValues, Pos, Response, ServerError, Value};
use axum::http::StatusCode;

use super::limits::{ERRORS_MAX, MESSAGE_CHARS_MAX};
use crate::base::random::{Random, SystemRandom};
use crate::domain::encode;

/// The codes the door itself gives. Resolvers add their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// No token, or one that is not known.
    Unauthenticated,
    /// The token's grants do not cover the operation, or the request comes from a foreign page.
    Forbidden,
    /// The request is not one that the door takes.
    BadRequest,
    /// No such path.
    NotFound,
    /// The document is not GraphQL.
    ParseFailed,
    /// The document does not fit the schema.
    ValidationFailed,
    /// A variable or an argument has the wrong value.
    BadUserInput,
    /// The body or the document is over a bound.
    TooLarge,
    /// Several requests in one array.
    BatchingDisabled,
    /// Too many operations or subscriptions at once.
    TooMany,
    /// The operation or the body took too long.
    Timeout,
    /// The daemon is not ready yet, or no longer.
    Unavailable,
    /// Too many others ask at this moment.
    Overloaded,
    /// Our fault; the log has the same id.
    Internal,
}

impl Code {
    /// As in `extensions.code`.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::Unauthenticated => "UNAUTHENTICATED",
            Code::Forbidden => "FORBIDDEN",
            Code::BadRequest => "BAD_REQUEST",
            Code::NotFound => "NOT_FOUND",
            Code::ParseFailed => "GRAPHQL_PARSE_FAILED",
            Code::ValidationFailed => "GRAPHQL_VALIDATION_FAILED",
            Code::BadUserInput => "BAD_USER_INPUT",
            Code::TooLarge => "QUERY_TOO_LARGE",
            Code::BatchingDisabled => "BATCHING_DISABLED",
            Code::TooMany => "RATE_LIMITED",
            Code::Timeout => "TIMEOUT",
            Code::Unavailable => "UNAVAILABLE",
            Code::Overloaded => "OVERLOADED",
            Code::Internal => "INTERNAL",
        }
    }

    /// The usual HTTP status of the code.
    pub fn status(self) -> StatusCode {
        match self {
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::Forbidden => StatusCode::FORBIDDEN,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Code::Timeout | Code::Unavailable | Code::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Whether the request itself was well formed, so that `application/json` answers it with 200.
    fn is_about_the_document(self) -> bool {
        matches!(self, Code::ParseFailed | Code::ValidationFailed | Code::BadUserInput)
    }
}

/// A request that the door does not let through.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// The HTTP status, where the transport has one.
    pub status: StatusCode,
    /// What is wrong and what to do.
    pub message: String,
    /// Where in the document.
    pub locations: Vec<Pos>,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal with the code's usual status.
    pub fn new(code: Code, message: impl Into<String>) -> Refusal {
        Refusal {
            code,
            status: code.status(),
            message: message.into(),
            locations: Vec::new(),
            retry_after: None,
        }
    }

    /// The same with another HTTP status.
    #[must_use]
    pub fn with_status(self, status: StatusCode) -> Refusal {
        Refusal { status, ..self }
    }

    /// The same with the time to wait.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Refusal {
        Refusal { retry_after: Some(wait), ..self }
    }

    /// The same with a place in the document.
    #[must_use]
    pub fn at(mut self, position: Pos) -> Refusal {
        self.locations.push(position);
        self
    }
}

/// What goes back to the caller, ready for any transport. Only [`encode`] may write it: its data may hold ready JSON.
#[derive(Debug)]
pub struct Answer {
    /// Capped and coded.
    errors: Vec<ServerError>,
    /// Absent when nothing was executed.
    data: Option<Value>,
    extensions: std::collections::BTreeMap<String, Value>,
    /// Why nothing was executed: the status for media types that use it, and for those that do not.
    failed: Option<(StatusCode, StatusCode)>,
    /// When to try again.
    retry_after: Option<Duration>,
}

impl Answer {
    /// Codes, masks and caps what the executor gave.
    pub fn shape(response: Response) -> Answer {
        // Errors without a path and without data mean that execution never began: a request error.
        let request_error = response.data == Value::Null
            && !response.errors.is_empty()
            && response.errors.iter().all(|error| error.path.is_empty());
        let errors: Vec<ServerError> = response
            .errors
            .into_iter()
            .take(ERRORS_MAX)
            .map(|error| shape_error(error, request_error))
            .collect();
        let failed = request_error.then(|| statuses(code_of(&errors)));
        let retry_after = errors.iter().find_map(retry_after);
        Answer {
            errors,
            data: (!request_error).then_some(response.data),
            extensions: response.extensions,
            failed,
            retry_after,
        }
    }

    /// Our own fault while `doing` something; the details go to the log only.
    pub fn fault(doing: &str, detail: &str) -> Answer {
        Answer {
            errors: vec![masked(ServerError::new(format!("{doing}: {detail}"), None))],
            data: None,
            extensions: std::collections::BTreeMap::new(),
            failed: Some((Code::Internal.status(), Code::Internal.status())),
            retry_after: None,
        }
    }

    /// Whether nothing was executed.
    pub fn is_request_error(&self) -> bool {
        self.failed.is_some()
    }

    /// The status under `application/graphql-response+json`.
    pub fn strict_status(&self) -> StatusCode {
        self.failed.map_or(StatusCode::OK, |(strict, _)| strict)
    }

    /// The status under `application/json`, where a well-formed request is always 200.
    pub fn lenient_status(&self) -> StatusCode {
        self.failed.map_or(StatusCode::OK, |(_, lenient)| lenient)
    }

    /// Whole seconds after which to try again, where that is known.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after.map(|wait| wait.as_millis().div_ceil(1_000).try_into().unwrap_or(u64::MAX))
    }

    /// The GraphQL response.
    pub fn to_json(&self) -> String {
        let mut json = String::with_capacity(encode::ANSWER_BYTES);
        self.write(&mut json);
        json
    }

    /// Writes the GraphQL response behind what is there.
    pub fn write(&self, json: &mut String) {
        json.push('{');
        if !self.errors.is_empty() {
            json.push_str("\"errors\":");
            json.push_str(&self.errors_to_json());
            json.push(',');
        }
        if let Some(data) = &self.data {
            json.push_str("\"data\":");
            encode::value(data, json);
            json.push(',');
        }
        if !self.extensions.is_empty() {
            json.push_str("\"extensions\":{");
            for (name, extension) in &self.extensions {
                encode::text(name, json);
                json.push(':');
                encode::value(extension, json);
                json.push(',');
            }
            encode::close(json, '}');
            json.push(',');
        }
        encode::close(json, '}');
    }

    /// Only the list of errors, which never holds ready JSON.
    pub fn errors_to_json(&self) -> String {
        serde_json::to_string(&self.errors).expect("GraphQL values have string keys")
    }

    /// Where a stream goes on after this answer: the first root field's `cursor`, with its `logCursor` behind
    /// a `~`.
    pub fn resume_id(&self) -> Option<String> {
        let Some(Value::Object(root)) = &self.data else {
            return None;
        };
        let Some(Value::Object(first)) = root.values().next() else {
            return None;
        };
        let Some(Value::String(cursor)) = first.get("cursor") else {
            return None;
        };
        let id = match first.get("logCursor") {
            Some(Value::String(log)) => format!("{cursor}~{log}"),
            _ => cursor.clone(),
        };
        // A line break would end the field and let a value forge stream lines.
        (!id.is_empty() && !id.contains(char::is_control)).then_some(id)
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Answer {
        let strict = refusal.status;
        let lenient = if refusal.code.is_about_the_document() { StatusCode::OK } else { strict };
        let mut error = ServerError::new(shortened(&refusal.message), None);
        error.locations = refusal.locations;
        let mut error = coded(error, refusal.code);
        if let (Some(wait), Some(extensions)) = (refusal.retry_after, &mut error.extensions) {
            extensions.set("retryAfterMs", u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        }
        Answer {
            errors: vec![error],
            data: None,
            extensions: std::collections::BTreeMap::new(),
            failed: Some((strict, lenient)),
            retry_after: refusal.retry_after,
        }
    }
}

/// When a resolver says that its caller may try again.
fn retry_after(error: &ServerError) -> Option<Duration> {
    match error.extensions.as_ref()?.get("retryAfterMs")? {
        Value::Number(millis) => millis.as_u64().map(Duration::from_millis),
        _ => None,
    }
}

fn statuses(code: Option<&str>) -> (StatusCode, StatusCode) {
    match code {
        Some("INTERNAL") => (Code::Internal.status(), Code::Internal.status()),
        Some("FORBIDDEN") => (Code::Forbidden.status(), Code::Forbidden.status()),
        Some("QUERY_TOO_LARGE") => (StatusCode::BAD_REQUEST, StatusCode::BAD_REQUEST),
        _ => (StatusCode::BAD_REQUEST, StatusCode::OK),
    }
}

fn code_of(errors: &[ServerError]) -> Option<&str> {
    match errors.first()?.extensions.as_ref()?.get("code")? {
        Value::String(code) => Some(code),
        Value::Enum(code) => Some(code),
        _ => None,
    }
}

fn shape_error(mut error: ServerError, request_error: bool) -> ServerError {
    let has_code = code_of(std::slice::from_ref(&error)).is_some();
    if !has_code {
        error = if request_error {
            let code = request_error_code(&error.message);
            coded(error, code)
        } else if is_input_error(&error) {
            coded(error, Code::BadUserInput)
        } else {
            masked(error)
        };
    }
    error.message = shortened(&error.message);
    error.locations.truncate(ERRORS_MAX);
    error
}

/// The executor gives no codes; its own limits are told apart by their fixed sentences.
fn request_error_code(message: &str) -> Code {
    const OWN_LIMITS: [&str; 5] = [
        "Query is too complex.",
        "Query is nested too deep.",
        "The recursion depth of the query",
        "The number of directives on the field",
        "The amount of aliases of the query",
    ];
    if OWN_LIMITS.iter().any(|start| message.starts_with(start)) {
        Code::TooLarge
    } else {
        Code::ValidationFailed
    }
}

/// Whether the executor could not read an argument. Such errors have no source, a failed resolver's usually
/// has.
fn is_input_error(error: &ServerError) -> bool {
    const OWN_WORDS: [&str; 3] =
        ["Expected input type \"", "Failed to parse \"", "Invalid value for argument \""];
    error.source.is_none() && OWN_WORDS.iter().any(|start| error.message.starts_with(start))
}

fn coded(mut error: ServerError, code: Code) -> ServerError {
    error.extensions.get_or_insert_with(ErrorExtensionValues::default).set("code", code.as_str());
    error
}

fn masked(error: ServerError) -> ServerError {
    let id = SystemRandom.hex(4);
    tracing::error!(id, path = ?error.path, reason = error.message, "an operation failed inside");
    let mut extensions = ErrorExtensionValues::default();
    extensions.set("code", Code::Internal.as_str());
    extensions.set("id", id);
    ServerError { message: "internal error".to_owned(), source: None, extensions: Some(extensions), ..error }
}

fn shortened(message: &str) -> String {
    match message.char_indices().nth(MESSAGE_CHARS_MAX) {
        None => message.to_owned(),
        Some((end, _)) => {
            let end = message[..end].char_indices().last().map_or(0, |(last, _)| last);
            format!("{}…", &message[..end])
        }
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::{PathSegment, value};

    use super::*;

    fn failed_at(path: &str, message: &str) -> Response {
        let error = ServerError::new(message, None).with_path(vec![PathSegment::Field(path.to_owned())]);
        Response::from_errors(vec![error])
    }

    #[test]
    fn a_resolvers_own_words_are_masked_and_get_an_id() {
        let text = Answer::shape(failed_at("a", "no such table: jobs")).to_json();
        assert!(text.contains(r#""message":"internal error""#), "{text}");
        assert!(text.contains(r#""code":"INTERNAL""#) && text.contains(r#""id":""#), "{text}");
        assert!(!text.contains("table") && text.contains(r#""data":null"#), "{text}");
    }

    #[test]
    fn a_coded_error_passes_and_keeps_its_path() {
        let mut response = failed_at("a", "no such job");
        response.errors[0] = coded(response.errors[0].clone(), Code::NotFound);
        let text = Answer::shape(response).to_json();
        assert_eq!(
            text,
            r#"{"errors":[{"message":"no such job","path":["a"],"extensions":{"code":"NOT_FOUND"}}],"data":null}"#
        );
    }

    #[test]
    fn an_argument_that_cannot_be_read_is_the_callers_fault() {
        let text = Answer::shape(failed_at("a", r#"Failed to parse "Int": too big"#)).to_json();
        assert!(text.contains("too big") && text.contains("BAD_USER_INPUT"), "{text}");
    }

    #[test]
    fn request_errors_have_no_data_and_are_capped() {
        let errors = (0..5_000).map(|_| ServerError::new("ä".repeat(2_000), None)).collect();
        let answer = Answer::shape(Response::from_errors(errors));
        assert_eq!(answer.errors.len(), ERRORS_MAX);
        assert_eq!(answer.errors[0].message.chars().count(), MESSAGE_CHARS_MAX);
        assert!(!answer.to_json().contains("data"));
        assert_eq!(answer.strict_status(), StatusCode::BAD_REQUEST);
        assert_eq!(answer.lenient_status(), StatusCode::OK);
    }

    #[test]
    fn the_executors_own_limits_are_too_large() {
        let answer =
            Answer::shape(Response::from_errors(vec![ServerError::new("Query is too complex.", None)]));
        assert!(answer.to_json().contains("QUERY_TOO_LARGE"));
    }

    #[test]
    fn the_resume_id_comes_from_the_first_root_field() {
        let id = |data| Answer::shape(Response::new(data)).resume_id();
        assert_eq!(id(value!({"e": {"cursor": "a1"}})).as_deref(), Some("a1"));
        let both = value!({"e": {"cursor": "a1", "logCursor": "7.2"}});
        assert_eq!(id(both).as_deref(), Some("a1~7.2"));
        assert_eq!(id(value!({"e": {"cursor": "a\nevent: next"}})), None);
        assert_eq!(id(value!({"e": 3})), None);
    }
}
