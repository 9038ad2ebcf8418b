//! The public API as a client: one request, or one stream of payloads, over HTTP.
//! It knows nothing that the schema does not say, and must never use the daemon's own layers.

use std::io::BufReader;
use std::time::Duration;

use serde_json::{Value, json};
use ureq::http::StatusCode;
use ureq::{Agent, Body, BodyReader};

use crate::base::environment::variable;
use crate::domain::trace::{TRACE_VARIABLE, TraceContext};

pub mod answers;
mod error;
pub mod inputs;
pub mod operations;
mod stream;
mod target;

#[cfg(test)]
pub mod fake;

pub use error::{ClientError, ErrorKind, GraphqlError};
pub use stream::Payloads;
pub use target::{ADDRESS_FILE, DEFAULT_URL, TOKEN_FILE, Target};

/// Time for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Time for a whole query or mutation: longer than the daemon's own limit, so that its answer arrives first.
const ANSWER: Duration = Duration::from_secs(40);
/// Silence after which a connection counts as lost. The daemon gives a sign of life every 12 s.
const SILENCE: Duration = Duration::from_secs(40);
/// Bytes of one answer.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes of an answer that is not GraphQL which are shown.
const EXCERPT_CHARS_MAX: usize = 200;

/// A daemon at a URL, with the token to show it.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    url: String,
    token: Option<String>,
    trace: Option<String>,
}

impl std::fmt::Debug for Client {
    /// Never shows the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// `Usage` for a URL that is not `http://host[:port]`, or a token that cannot stand in a header.
    pub fn new(url: &str, token: Option<String>) -> Result<Client, ClientError> {
        Client::with_silence(url, token, SILENCE)
    }

    /// The same with another idea of when a connection is lost.
    fn with_silence(url: &str, token: Option<String>, silence: Duration) -> Result<Client, ClientError> {
        let url = checked_url(url)?;
        if token
            .as_ref()
            .is_some_and(|token| token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(ClientError::usage("the token holds characters that a token never has"));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirect could carry the token to somebody else.
            .max_redirects(0)
            // The daemon is on this machine, or named on purpose: the environment's proxies are not for it.
            .proxy(None)
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(silence))
            .timeout_per_write(Some(silence))
            .user_agent(concat!("beadle/", env!("CARGO_PKG_VERSION")))
            .build();
        // What we are part of goes on in what we ask for.
        let trace = variable(TRACE_VARIABLE).and_then(|text| TraceContext::parse(&text));
        let trace = trace.map(|trace| trace.to_string());
        Ok(Client { agent: config.new_agent(), url, token, trace })
    }

    /// Where the daemon is, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The token that is shown there.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Runs a query or a mutation and gives its `data`.
    ///
    /// # Errors
    /// Every kind; an answer with errors is an error even when it holds data.
    pub fn query(&self, document: &str, variables: Value) -> Result<Value, ClientError> {
        let accepted = "application/graphql-response+json, application/json";
        let mut response = self.send(document, variables, accepted, Some(ANSWER))?;
        self.answer(&mut response)
    }

    /// Opens a subscription. When the connection is lost the stream gives that error and ends;
    /// whoever holds the cursors opens the next one.
    ///
    /// # Errors
    /// Every kind, also when the daemon refuses the subscription.
    pub fn subscribe(&self, document: &str, variables: Value) -> Result<Payloads, ClientError> {
        self.subscribe_within(document, variables, None)
    }

    /// The same, and the connection is cut after `length`.
    ///
    /// # Errors
    /// As [`Client::subscribe`].
    pub fn subscribe_within(
        &self,
        document: &str,
        variables: Value,
        length: Option<Duration>,
    ) -> Result<Payloads, ClientError> {
        let mut response = self.send(document, variables, "text/event-stream", length)?;
        let is_stream = content_type(&response).is_some_and(|kind| kind.starts_with("text/event-stream"));
        if !(is_stream && response.status().is_success()) {
            // Refused before it began: the answer is an ordinary one.
            let data = self.answer(&mut response)?;
            return Err(ClientError::foreign(&self.url, &format!("one answer instead of a stream: {data}")));
        }
        Ok(Payloads::new(self.url.clone(), BufReader::new(response.into_body().into_reader())))
    }

    /// Opens the whole log of an attempt, or of one stream of it, byte by byte as it was written.
    ///
    /// # Errors
    /// Every kind; what breaks off later is an error of the reader.
    pub fn download(&self, attempt: &str, stream: Option<&str>) -> Result<BodyReader<'static>, ClientError> {
        let query = stream.map(|stream| format!("?stream={stream}")).unwrap_or_default();
        let request = self.agent.get(format!("{}/logs/{attempt}{query}", self.url));
        let request = match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        };
        let mut response = request.call().map_err(|error| ClientError::unreachable(&self.url, &error))?;
        let is_text = content_type(&response).is_some_and(|kind| kind.starts_with("text/plain"));
        if !(is_text && response.status().is_success()) {
            let answer = self.answer(&mut response)?;
            return Err(ClientError::foreign(&self.url, &format!("an answer instead of a log: {answer}")));
        }
        Ok(response.into_body().into_reader())
    }

    fn send(
        &self,
        document: &str,
        variables: Value,
        accepted: &str,
        length: Option<Duration>,
    ) -> Result<ureq::http::Response<Body>, ClientError> {
        let body = json!({ "query": document, "variables": variables }).to_string();
        let mut request = self
            .agent
            .post(format!("{}/graphql", self.url))
            .header("content-type", "application/json")
            .header("accept", accepted);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(trace) = &self.trace {
            request = request.header("traceparent", trace);
        }
        let request = request.config().timeout_global(length).build();
        request.send(body).map_err(|error| ClientError::unreachable(&self.url, &error))
    }

    fn answer(&self, response: &mut ureq::http::Response<Body>) -> Result<Value, ClientError> {
        let status = response.status();
        let bytes = response
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_vec()
            .map_err(|error| ClientError::unreachable(&self.url, &error))?;
        match serde_json::from_slice::<Value>(&bytes) {
            Ok(answer) if answer.get("data").is_some() || answer.get("errors").is_some() => {
                error::data_of(answer, Some(status.as_u16()))
            }
            _ => Err(self.not_graphql(status, &bytes)),
        }
    }

    /// What a proxy, another program on the port, or nobody would say.
    fn not_graphql(&self, status: StatusCode, bytes: &[u8]) -> ClientError {
        let excerpt: String = String::from_utf8_lossy(bytes).trim().chars().take(EXCERPT_CHARS_MAX).collect();
        let what = format!("status {}, {excerpt:?}", status.as_u16());
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ClientError::denied(&self.url, &what),
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                ClientError::unreachable(&self.url, &what)
            }
            _ => ClientError::foreign(&self.url, &what),
        }
    }
}

fn content_type(response: &ureq::http::Response<Body>) -> Option<&str> {
    response.headers().get("content-type")?.to_str().ok()
}

/// The URL without a slash at its end.
fn checked_url(url: &str) -> Result<String, ClientError> {
    let bare = url.trim_end_matches('/');
    if bare.starts_with("https://") {
        return Err(ClientError::usage(&format!(
            "{url} cannot be used: TLS is not supported by this command yet; \
             use http:// on the daemon's machine, or through a tunnel"
        )));
    }
    let authority = bare.strip_prefix("http://").unwrap_or_default();
    let is_good =
        !authority.is_empty() && authority.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:[]".contains(c));
    if is_good {
        return Ok(bare.to_owned());
    }
    Err(ClientError::usage(&format!("{url:?} is not the address of a daemon: write http://host:port")))
}

#[cfg(test)]
mod tests;
