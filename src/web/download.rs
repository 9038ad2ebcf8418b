//! Owns a whole log as one answer: which attempt and stream are asked for, and the text on its way out, part by part,
//! at the pace of the reader. It must never hold more than one part, and never end in order before the log does.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{self, BoxStream, StreamExt as _};

use super::Backend;
use super::accept::Peer;
use super::errors::{Code, Refusal};
use super::execute::{Caller, Door, Lost};
use super::guard::bearer;
use super::media::Media;
use super::seats::Seat;
use super::transport::refused;
use crate::base::clock::sleep;
use crate::domain::id::{AttemptId, GlobalId};
use crate::domain::log::LogStream;

/// The path in front of the attempt.
const PATH: &str = "/logs/";

/// A log on its way out.
pub struct LogText {
    /// What it may be called.
    pub file_name: String,
    /// Its parts; an error ends it before its time.
    pub parts: BoxStream<'static, Result<Vec<u8>, String>>,
}

/// Why a log is not given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogRefusal {
    /// The grant that is missing.
    Forbidden(String),
    /// There is no such attempt, or none that this viewer may know of.
    NotFound,
    /// It was there and has made room.
    Forgotten,
    /// The log store does not answer; the words are for our own log.
    Failed(String),
}

/// `GET /logs/attempt_12`, also `/logs/12`, with `?stream=stdout` for one stream.
pub async fn log<B: Backend>(State(door): State<Arc<Door<B>>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    match open(&door, &parts).await {
        Ok(response) => response,
        Err(refusal) => refused(refusal, Media::Json),
    }
}

async fn open<B: Backend>(door: &Arc<Door<B>>, asked: &Parts) -> Result<Response, Refusal> {
    let uri = &asked.uri;
    let caller = door.recognise(bearer(&asked.headers), Peer::of(&asked.extensions)).await?;
    // The path as it came: no spelling but this one names an attempt.
    let named = uri.path().strip_prefix(PATH).and_then(<AttemptId as GlobalId>::parse);
    let attempt = named.ok_or_else(no_such)?;
    let only = stream_of(uri.query())?;
    let text = door.backend.log(&caller.viewer, attempt, only).await.map_err(refusal)?;
    let seat = door.seat(&caller)?;
    let name = format!("attachment; filename=\"{}\"", text.file_name);
    let beat = sleep(door.next_look(&caller)).boxed();
    let sending = Sending { door: Arc::clone(door), caller, beat, parts: text.parts, _seat: seat };
    let parts = stream::unfold(Some(sending), |sending| async move {
        let mut sending = sending?;
        match sending.next().await? {
            Ok(part) => Some((Ok(part), Some(sending))),
            Err(why) => Some((Err(why), None)),
        }
    });
    let mut response = Response::new(Body::from_stream(parts));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    // A name that no header can hold is left to the client.
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

fn no_such() -> Refusal {
    Refusal::new(Code::NotFound, "there is no such attempt")
}

fn refusal(refusal: LogRefusal) -> Refusal {
    match refusal {
        LogRefusal::Forbidden(message) => Refusal::new(Code::Forbidden, message),
        LogRefusal::NotFound => no_such(),
        LogRefusal::Forgotten => {
            let message = "this log was forgotten to make room for newer ones";
            Refusal::new(Code::NotFound, message).with_status(StatusCode::GONE)
        }
        LogRefusal::Failed(why) => {
            tracing::error!("a log could not be read: {why}");
            Refusal::new(Code::Unavailable, "the log store does not answer; try again")
        }
    }
}

/// `stream=stdout` or `stream=stderr`, or nothing. Whatever else stands there is refused, a token first of all.
fn stream_of(query: Option<&str>) -> Result<Option<LogStream>, Refusal> {
    match query.unwrap_or_default() {
        "" => Ok(None),
        "stream=stdout" => Ok(Some(LogStream::Stdout)),
        "stream=stderr" => Ok(Some(LogStream::Stderr)),
        _ => Err(Refusal::new(Code::BadRequest, "the query can only be stream=stdout or stream=stderr")),
    }
}

/// Why a log was cut: the client sees an answer that breaks off, and not a shorter log.
type Cut = std::io::Error;

struct Sending<B: Backend> {
    door: Arc<Door<B>>,
    caller: Caller<B::Viewer>,
    beat: BoxFuture<'static, ()>,
    parts: BoxStream<'static, Result<Vec<u8>, String>>,
    _seat: Seat,
}

impl<B: Backend> Sending<B> {
    async fn next(&mut self) -> Option<Result<Bytes, Cut>> {
        self.part().await.transpose()
    }

    /// A revoked or expired token ends what it opened.
    async fn look_again(&mut self) -> Result<(), Cut> {
        let looked = self.door.look_again(&mut self.caller).await;
        self.beat = sleep(self.door.next_look(&self.caller)).boxed();
        looked.map_err(|lost| match lost {
            Lost::Unknown => Cut::other("the token is no longer known"),
            Lost::Unsure => Cut::other("tokens cannot be looked up now"),
        })
    }

    async fn part(&mut self) -> Result<Option<Bytes>, Cut> {
        loop {
            tokio::select! {
                biased;
                () = self.door.shutdown.cancelled() => return Err(Cut::other("shutting down")),
                () = self.caller.revoked() => self.look_again().await?,
                () = &mut self.beat => self.look_again().await?,
                part = self.parts.next() => match part {
                    None => return Ok(None),
                    // An empty part is no end.
                    Some(Ok(part)) if part.is_empty() => {}
                    Some(Ok(part)) => return Ok(Some(Bytes::from(part))),
                    Some(Err(why)) => {
                        tracing::warn!("a log was cut while it was sent: {why}");
                        return Err(Cut::other(why));
                    }
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stream_can_be_asked_for_and_nothing_else() {
        let stream = |query| stream_of(query).map_err(|refusal| refusal.code);
        assert_eq!(stream(None), Ok(None));
        assert_eq!(stream(Some("")), Ok(None));
        assert_eq!(stream(Some("stream=stdout")), Ok(Some(LogStream::Stdout)));
        assert_eq!(stream(Some("stream=stderr")), Ok(Some(LogStream::Stderr)));
        for bad in ["stream=", "stream=system", "stream=STDOUT", "token=x", "stream=stdout&token=x", "follow"]
        {
            assert_eq!(stream(Some(bad)), Err(Code::BadRequest), "{bad}");
        }
    }
}
