//! Owns event streams: GraphQL over server-sent events in distinct connections mode, one operation for each
//! request. It must never buffer: an answer is asked for when the last one has been taken.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, BoxStream, StreamExt};

use super::Backend;
use super::errors::{Answer, Refusal};
use super::execute::{Admitted, Caller, Door};
use super::media::Media;
use super::topics::Opened;
use super::topics_member::Piece;
use crate::base::clock::sleep;

/// Browsers drop an event without data, so there is an empty line of it.
const COMPLETE: &[u8] = b"event: complete\ndata:\n\n";
/// A comment: keeps proxies from closing the stream and finds peers that are gone.
const HEARTBEAT: &[u8] = b":\n\n";

/// Answers with a stream, also when the operation was refused: a client that asked for a stream reads a
/// stream.
pub fn respond<B: Backend>(
    door: Arc<Door<B>>,
    caller: Caller<B::Viewer>,
    outcome: Result<Box<Admitted>, Refusal>,
) -> Response {
    let pieces = match outcome.and_then(|admitted| door.open(admitted, None)) {
        Ok(Opened::Alone(answers)) => answers.map(Piece::Own).boxed(),
        Ok(Opened::Shared(pieces)) => pieces,
        Err(refusal) => stream::iter([Piece::Own(Answer::from(refusal))]).boxed(),
    };
    let listener =
        Listener { beat: sleep(door.next_look(&caller)).boxed(), door, caller, pieces: Some(pieces) };
    let frames = stream::unfold(listener, |mut listener| async move {
        let frame = listener.next_frame().await?;
        Some((Ok::<Bytes, std::convert::Infallible>(frame), listener))
    });
    let mut response = Response::new(Body::from_stream(frames));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(Media::EventStream.content_type()));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

struct Listener<B: Backend> {
    door: Arc<Door<B>>,
    caller: Caller<B::Viewer>,
    pieces: Option<BoxStream<'static, Piece>>,
    /// Kept over answers: a busy stream must look its token up again too.
    beat: BoxFuture<'static, ()>,
}

impl<B: Backend> Listener<B> {
    /// What is sent next. `None` ends the stream without `complete`, so that the client comes again.
    async fn next_frame(&mut self) -> Option<Bytes> {
        let pieces = self.pieces.as_mut()?;
        tokio::select! {
            biased;
            () = self.door.shutdown.cancelled() => None,
            () = self.caller.revoked() => self.look_again().await,
            () = &mut self.beat => self.look_again().await,
            piece = pieces.next() => Some(match piece {
                Some(Piece::Shared(frame)) => frame.event(),
                Some(Piece::Own(answer)) => {
                    event_text(&answer.to_json(), answer.resume_id().as_deref()).into()
                }
                None => {
                    self.pieces = None;
                    Bytes::from_static(COMPLETE)
                }
            }),
        }
    }
}

impl<B: Backend> Listener<B> {
    /// A revoked or expired token ends what it opened.
    async fn look_again(&mut self) -> Option<Bytes> {
        let looked = self.door.look_again(&mut self.caller).await;
        self.beat = sleep(self.door.next_look(&self.caller)).boxed();
        looked.is_ok().then_some(Bytes::from_static(HEARTBEAT))
    }
}

/// The event with an answer; the id is where the client goes on when it comes again.
pub fn event_text(payload: &str, id: Option<&str>) -> String {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    format!("event: next\n{id}data: {payload}\n\n")
}
