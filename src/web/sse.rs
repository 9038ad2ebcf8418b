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
    outcome: Result<Admitted, Refusal>,
) -> Response {
    let answers = match outcome.and_then(|admitted| door.run_stream(admitted)) {
        Ok(answers) => answers,
        Err(refusal) => stream::iter([Answer::from(refusal)]).boxed(),
    };
    let listener =
        Listener { beat: sleep(door.next_look(&caller)).boxed(), door, caller, answers: Some(answers) };
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
    answers: Option<BoxStream<'static, Answer>>,
    /// Kept over answers: a busy stream must look its token up again too.
    beat: BoxFuture<'static, ()>,
}

impl<B: Backend> Listener<B> {
    /// What is sent next. `None` ends the stream without `complete`, so that the client comes again.
    async fn next_frame(&mut self) -> Option<Bytes> {
        let answers = self.answers.as_mut()?;
        tokio::select! {
            biased;
            () = self.door.shutdown.cancelled() => None,
            () = self.caller.revoked() => self.look_again().await,
            () = &mut self.beat => self.look_again().await,
            answer = answers.next() => {
                if answer.is_none() {
                    self.answers = None;
                }
                Some(answer.map_or(Bytes::from_static(COMPLETE), |answer| next_event(&answer)))
            }
        }
    }
}

impl<B: Backend> Listener<B> {
    /// A revoked or expired token ends what it opened.
    async fn look_again(&mut self) -> Option<Bytes> {
        let is_known = self.door.look_again(&mut self.caller).await;
        self.beat = sleep(self.door.next_look(&self.caller)).boxed();
        is_known.then_some(Bytes::from_static(HEARTBEAT))
    }
}

fn next_event(answer: &Answer) -> Bytes {
    let id = answer.resume_id();
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    let mut event = format!("event: next\n{id}data: ");
    answer.write(&mut event);
    event.push_str("\n\n");
    Bytes::from(event)
}
