//! Owns `/metrics`: who may read it, in which format it is asked for, and the door's own numbers. It is asked often
//! and by machines: it must stay cheap and never run an operation.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;

use super::accept::Peer;
use super::errors::{Code, Refusal};
use super::execute::Door;
use super::guard::bearer;
use super::media::Media;
use super::transport::refused;
use super::{Backend, DoorNumbers};
use crate::base::metrics::TextFormat;

/// `GET /metrics`, for a token with READ.
pub async fn metrics<B: Backend>(State(door): State<Arc<Door<B>>>, request: Request) -> Response {
    // Taken apart before the wait: a body cannot be waited beside.
    let (parts, _) = request.into_parts();
    let caller = match door.recognise(bearer(&parts.headers), Peer::of(&parts.extensions)).await {
        Ok(caller) => caller,
        Err(refusal) => return refused(refusal, Media::Json),
    };
    let numbers = DoorNumbers {
        connection_count: door.connections.len(),
        connections_max: door.limits.connections,
        subscription_count: door.seats_taken(),
        topic_count: door.topics.count(),
    };
    let format = format_of(&parts.headers);
    match door.backend.metrics(&caller.viewer, numbers, format).await {
        Ok(text) => {
            let mut response = Response::new(Body::from(text));
            let kind = HeaderValue::from_static(format.content_type());
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        Err(message) => refused(Refusal::new(Code::Forbidden, message), Media::Json),
    }
}

/// The newer format for whoever names it, the older one for everybody else.
fn format_of(headers: &HeaderMap) -> TextFormat {
    let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    if accepted.any(|value| value.contains("application/openmetrics-text")) {
        TextFormat::OpenMetrics
    } else {
        TextFormat::Plain
    }
}
