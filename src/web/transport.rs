//! Owns HTTP: the paths, the order in which a request is judged, bodies, statuses and headers. Paths are
//! exact; none is freed from the token by how it is spelled. It must never read a body before the token.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::{any, get};
use http_body_util::BodyExt as _;

use async_graphql::parser::types::OperationType;

use super::accept::Peer;
use super::execute::{Caller, Door, Taken};
use super::guard::{bearer, is_json, traceparent};
use super::limits::{DRAIN_BYTES_MAX, DRAIN_TIME, EVENT_ID_BYTES_MAX};
use super::media::{Accepted, Media, negotiate};
use super::request::Parameters;
use super::{
    Backend, download,
    errors::{Answer, Code, Refusal},
    metrics, pages, socket, sse,
};
use crate::base::{clock::within, task};
use crate::domain::resume::LastEventId;

/// Nothing may be loaded, framed or submitted from what is no page of the dashboard.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
);

/// Every path of the daemon.
pub fn routes<B: Backend>(door: Arc<Door<B>>) -> Router {
    Router::new()
        .route("/healthz", get(async || text("text/plain; charset=utf-8", "ok\n")))
        .route("/readyz", get(readyz::<B>))
        .route("/metrics", get(metrics::metrics::<B>))
        .route("/schema.graphql", get(schema::<B>))
        .route(GRAPHQL_PATH, any(graphql::<B>))
        .route("/logs/{attempt}", get(download::log::<B>))
        .merge(pages::routes(pages::EMBEDDED))
        .fallback(async || refused(Refusal::new(Code::NotFound, "no such path"), Media::Json))
        .with_state(door)
}

/// The headers that every answer carries. How long it may be kept and what it may do as a page are the strictest, unless
/// the answer itself says otherwise.
pub fn harden(response: &mut Response) {
    let is_unchanged = response.status() == StatusCode::NOT_MODIFIED;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(PAGE_POLICY);
    // Here it would be the length of what the client has.
    if is_unchanged {
        headers.remove(header::CONTENT_LENGTH);
    }
}

/// A refusal as an HTTP answer.
pub fn refused(refusal: Refusal, media: Media) -> Response {
    written(&refusal.into(), media)
}

fn written(answer: &Answer, media: Media) -> Response {
    let (status, media) = match media {
        Media::GraphqlResponse => (answer.strict_status(), Media::GraphqlResponse),
        Media::Json | Media::EventStream => (answer.lenient_status(), Media::Json),
    };
    let mut response = Response::new(Body::from(answer.to_json()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media.content_type()));
    if let Some(seconds) = answer.retry_after_seconds() {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    match status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // The rest of such a body is not waited for.
        StatusCode::REQUEST_TIMEOUT => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        StatusCode::UPGRADE_REQUIRED => {
            headers.insert(header::SEC_WEBSOCKET_VERSION, socket::VERSION);
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        }
        _ => {}
    }
    response
}

fn text(content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

async fn readyz<B: Backend>(State(door): State<Arc<Door<B>>>) -> Response {
    match door.backend.ready() {
        Ok(()) if !door.shutdown.is_cancelled() => text("text/plain; charset=utf-8", "ready\n"),
        Ok(()) => refused(Refusal::new(Code::Unavailable, "shutting down"), Media::Json),
        Err(reason) => refused(Refusal::new(Code::Unavailable, reason), Media::Json),
    }
}

async fn schema<B: Backend>(State(door): State<Arc<Door<B>>>, request: Request) -> Response {
    // Taken apart before the wait: a body cannot be waited beside.
    let (parts, _) = request.into_parts();
    match door.recognise(bearer(&parts.headers), Peer::of(&parts.extensions)).await {
        Ok(_) => text("text/plain; charset=utf-8", door.backend.schema_sdl().as_bytes().to_vec()),
        Err(refusal) => refused(refusal, Media::Json),
    }
}

/// The path that all questions come by. Requests on it need no router.
pub const GRAPHQL_PATH: &str = "/graphql";

/// How long a browser may remember what a page elsewhere may send, in seconds.
const PREFLIGHT_SECONDS: HeaderValue = HeaderValue::from_static("600");

/// Answers a request on [`GRAPHQL_PATH`]. A page of a listed origin may read the answer; others never come so far.
pub async fn graphql<B: Backend>(State(door): State<Arc<Door<B>>>, request: Request) -> Response {
    let Some(origin) = door.gate.listed_origin(request.headers()).cloned() else {
        return answered(door, request).await;
    };
    let mut response =
        if request.method() == Method::OPTIONS { preflight() } else { answered(door, request).await };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    response
}

/// What a page elsewhere may send.
fn preflight() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    let allowed = HeaderValue::from_static("authorization, content-type, last-event-id, traceparent");
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS);
    response
}

async fn answered<B: Backend>(door: Arc<Door<B>>, request: Request) -> Response {
    if socket::is_upgrade(request.method(), request.headers()) {
        return match socket::upgrade(door, request).await {
            Ok(response) => response,
            Err(refusal) => refused(refusal, Media::Json),
        };
    }
    let (parts, body) = request.into_parts();
    let accepted = negotiate(&parts.headers);
    let media = accepted.map_or(Media::Json, |accepted| accepted.best);
    let (accepted, caller) = match judge_head(&door, &parts, accepted).await {
        Ok(judged) => judged,
        Err(refusal) => {
            drain(&parts, body);
            return with_allow(refused(refusal, media), "GET, POST");
        }
    };
    let parameters = if parts.method == Method::GET {
        Parameters::from_query_string(parts.uri.query().unwrap_or_default())
    } else {
        read(&door, &parts, body).await.and_then(|body| Parameters::from_json(&body))
    };
    match parameters {
        Ok(parameters) => perform(door, &parts, accepted, caller, parameters).await,
        Err(refusal) => refused(refusal, media),
    }
}

/// Everything that can be said before the body: method, type, what the client takes, token.
async fn judge_head<B: Backend>(
    door: &Door<B>,
    parts: &Parts,
    accepted: Option<Accepted>,
) -> Result<(Accepted, Caller<B::Viewer>), Refusal> {
    match parts.method {
        Method::GET => {}
        Method::POST => is_json(&parts.headers)?,
        _ => {
            let message = "GraphQL is served by POST, queries also by GET";
            return Err(Refusal::new(Code::BadRequest, message).with_status(StatusCode::METHOD_NOT_ALLOWED));
        }
    }
    let Some(accepted) = accepted else {
        let message = "accept application/json, application/graphql-response+json or text/event-stream";
        return Err(Refusal::new(Code::BadRequest, message).with_status(StatusCode::NOT_ACCEPTABLE));
    };
    let mut caller = door.recognise(bearer(&parts.headers), Peer::of(&parts.extensions)).await?;
    caller.trace = traceparent(&parts.headers);
    Ok((accepted, caller))
}

async fn perform<B: Backend>(
    door: Arc<Door<B>>,
    parts: &Parts,
    accepted: Accepted,
    caller: Caller<B::Viewer>,
    parameters: Parameters,
) -> Response {
    let taken = if parts.method == Method::GET { Taken::Queries } else { Taken::All };
    let outcome = door.admit(&caller, parameters, taken, last_event_id(&parts.headers));
    let is_subscription =
        outcome.as_ref().is_ok_and(|admitted| admitted.operation_type == OperationType::Subscription);
    let wants_stream = accepted.best == Media::EventStream || is_subscription && accepted.streams;
    match outcome {
        // A refused method has a status of its own that no stream can carry.
        Err(refusal) if refusal.status == StatusCode::METHOD_NOT_ALLOWED => {
            with_allow(refused(refusal, accepted.best), "POST")
        }
        outcome if wants_stream => sse::respond(door, caller, outcome),
        Err(refusal) => refused(refusal, accepted.best),
        Ok(_) if is_subscription => {
            let message =
                "a subscription needs a stream: send `Accept: text/event-stream`, or open a WebSocket";
            let refusal = Refusal::new(Code::BadRequest, message);
            refused(refusal.with_status(StatusCode::NOT_ACCEPTABLE), accepted.best)
        }
        Ok(admitted) => written(&door.run_once(admitted).await, accepted.best),
    }
}

fn with_allow(mut response: Response, methods: &'static str) -> Response {
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    }
    response
}

fn last_event_id(headers: &HeaderMap) -> Option<LastEventId> {
    let id = headers.get("last-event-id")?.to_str().ok()?;
    (!id.is_empty() && id.len() <= EVENT_ID_BYTES_MAX).then(|| LastEventId(id.to_owned()))
}

/// The whole body, counted while it comes.
async fn read<B>(door: &Door<B>, parts: &Parts, mut body: Body) -> Result<Vec<u8>, Refusal> {
    let most = door.limits.body_bytes;
    let too_large = || {
        let message = format!("the body has more than {most} bytes");
        Refusal::new(Code::TooLarge, message).with_status(StatusCode::PAYLOAD_TOO_LARGE)
    };
    let declared = body.size_hint().lower();
    if declared > most as u64 {
        drain(parts, body);
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(declared).unwrap_or_default());
    let reading = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Refusal::new(Code::BadRequest, "the body broke off"))?;
            let data: Bytes = frame.into_data().unwrap_or_default();
            if bytes.len() + data.len() > most {
                return Err(too_large());
            }
            bytes.extend_from_slice(&data);
        }
        Ok(())
    };
    match within(door.limits.body, reading).await {
        Some(Ok(())) => Ok(bytes),
        Some(Err(refusal)) => {
            drain(parts, body);
            Err(refusal)
        }
        None => {
            let message = "the body took too long";
            Err(Refusal::new(Code::Timeout, message).with_status(StatusCode::REQUEST_TIMEOUT))
        }
    }
}

/// Reads on behind a refusal and throws away: a connection closed with unread bytes is reset, and the client
/// would see that instead of the answer. Bounded in bytes and time; a client that asked first need not be
/// read at all.
fn drain(parts: &Parts, mut body: Body) {
    if body.is_end_stream() || parts.headers.contains_key(header::EXPECT) {
        return;
    }
    task::spawn(within(DRAIN_TIME, async move {
        let mut left = DRAIN_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            let taken = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(taken) else {
                break;
            };
            left = rest;
        }
    }));
}
