//! Owns web sockets that speak `graphql-transport-ws`: who may speak when, which close code answers what, one
//! task for each operation. It must never run anything before the token is known, nor wait for ever for a
//! peer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::Value;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts as _, Request};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use futures_util::stream::{BoxStream, SelectAll};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use serde::Deserialize;
use tokio::sync::{mpsc, watch};

use super::Backend;
use super::accept::{Peer, Place};
use super::errors::{Answer, Code, Refusal};
use super::execute::{Caller, Door, Lost, Taken};
use super::guard::{bearer_of, traceparent_of};
use super::limits::{
    CLOSE_TIME, OPERATION_ID_BYTES_MAX, OUTGOING_MAX, SOCKET_READ_BYTES, SOCKET_WRITE_BYTES,
};
use super::operation::{Outgoing, Running, error_frame, start, take_part};
use super::pipe::Pipe;
use super::request::Parameters;
use super::topics::Opened;
use super::topics_line::Line;
use crate::base::clock::{Clock as _, SystemClock, sleep, within};

/// During such a write no ping goes out, so its peer owed no sign of life but that it took the bytes.
const LONG_WRITE: Duration = Duration::from_secs(1);
/// Messages are gathered for one flush for so long at most.
const WRITE_TURN: Duration = Duration::from_millis(100);
const PROTOCOL: &str = "graphql-transport-ws";
/// Bytes of a close frame's reason, set by RFC 6455.
const REASON_BYTES_MAX: usize = 123;
/// The close code that asks the client to come again.
const AGAIN_LATER: u16 = 1013;

/// How a socket ends while the peer is still there.
#[derive(Debug)]
enum Closing {
    /// We say why: the code of the protocol and a few words.
    Because(u16, String),
    /// The peer has said goodbye; the library's answer still has to go out.
    Answering,
}

impl Closing {
    fn new(code: u16, reason: impl Into<String>) -> Closing {
        Closing::Because(code, reason.into())
    }

    fn invalid(reason: &str) -> Closing {
        Closing::new(4400, format!("Invalid message received: {reason}"))
    }
}

/// The version of the protocol that is spoken here, the only one that was ever a standard.
pub const VERSION: HeaderValue = HeaderValue::from_static("13");

/// Whether a request asks for a WebSocket. With another method it asks for nothing that could be given.
pub fn is_upgrade(method: &Method, headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE);
    *method == Method::GET && upgrade.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Whether it asks for one of another version.
fn is_foreign(headers: &HeaderMap) -> bool {
    headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| *version != VERSION)
}

/// Takes the connection over. Host and origin have been judged; the token comes with `connection_init`.
pub async fn upgrade<B: Backend>(door: Arc<Door<B>>, request: Request) -> Result<Response, Refusal> {
    let (mut parts, _) = request.into_parts();
    if is_foreign(&parts.headers) {
        let refusal = Refusal::new(Code::BadRequest, "WebSockets are spoken here in version 13");
        return Err(refusal.with_status(StatusCode::UPGRADE_REQUIRED));
    }
    let place = parts.extensions.get::<Place>().cloned();
    let place =
        place.ok_or_else(|| Refusal::new(Code::BadRequest, "this connection cannot be taken over"))?;
    let peer = Peer::of(&parts.extensions);
    let most = door.limits.message_bytes;
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &())
        .await
        .map_err(|rejection| Refusal::new(Code::BadRequest, rejection.body_text()))?
        .protocols([PROTOCOL])
        // Somewhat over the bound, so that a message just over it is read whole and closed in an orderly way.
        .max_message_size(most * 2)
        .max_frame_size(most * 2)
        .read_buffer_size(SOCKET_READ_BYTES)
        .write_buffer_size(SOCKET_WRITE_BYTES);
    let speaks_ours = upgrade.selected_protocol().is_some();
    let connections = door.connections.clone();
    Ok(upgrade.on_upgrade(move |socket| {
        connections.track_future(async move {
            if speaks_ours {
                Conversation::new(door, peer, place.pipe()).hold(socket).await;
            } else {
                close(socket, Closing::new(4406, format!("Speak {PROTOCOL}"))).await;
            }
            drop(place);
        })
    }))
}

/// A message of a client. Unknown members are overlooked.
#[derive(Debug, Deserialize)]
struct Incoming {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    id: Value,
    #[serde(default)]
    payload: Value,
}

struct Conversation<B: Backend> {
    door: Arc<Door<B>>,
    caller: Option<Caller<B::Viewer>>,
    live: HashMap<String, Running>,
    started: u64,
    peer: IpAddr,
    outbox: mpsc::Sender<Outgoing>,
    outgoing: mpsc::Receiver<Outgoing>,
    /// Operations that are shared with other sockets. They are asked for the next message when the last one is written.
    shared: SelectAll<BoxStream<'static, Outgoing>>,
    /// Where those who share them write past the socket's task.
    pipe: Arc<Pipe>,
}

impl<B: Backend> Conversation<B> {
    fn new(door: Arc<Door<B>>, peer: IpAddr, pipe: Arc<Pipe>) -> Conversation<B> {
        let (outbox, outgoing) = mpsc::channel(OUTGOING_MAX);
        let (live, shared) = (HashMap::new(), SelectAll::new());
        Conversation { door, caller: None, live, started: 0, peer, outbox, outgoing, shared, pipe }
    }

    async fn hold(mut self, mut socket: WebSocket) {
        let closing = self.talk(&mut socket).await;
        drop(self);
        if let Some(closing) = closing {
            close(socket, closing).await;
        }
    }

    /// Talks until one side ends it. `None` when the peer is gone already.
    async fn talk(&mut self, socket: &mut WebSocket) -> Option<Closing> {
        let door = Arc::clone(&self.door);
        let limits = &door.limits;
        let mut init = pin!(sleep(limits.init));
        let mut beat = pin!(sleep(limits.heartbeat));
        let mut silence = pin!(sleep(limits.silence));
        // Kept over messages: setting them up takes locks that all sockets share.
        let mut stopping = pin!(door.shutdown.cancelled());
        let mut revoked = pin!(revoked(None));
        loop {
            tokio::select! {
                () = &mut stopping => return Some(Closing::new(1001, "Shutting down")),
                () = &mut init, if self.caller.is_none() => {
                    return Some(Closing::new(4408, "Connection initialisation timeout"));
                }
                () = &mut silence => return Some(Closing::new(1008, "No sign of life")),
                () = &mut revoked => {
                    if let Err(closing) = self.look_again().await {
                        return Some(closing);
                    }
                    // What was revoked during the look is noticed.
                    revoked.set(self::revoked(self.caller.as_ref().map(Caller::revocations)));
                }
                () = &mut beat => {
                    if let Err(closing) = self.look_again().await {
                        return Some(closing);
                    }
                    beat.set(sleep(self.next_look()));
                    socket.send(Message::Ping(axum::body::Bytes::new())).await.ok()?;
                }
                () = self.pipe.cut() => socket.flush().await.ok()?,
                Some(first) = self.outgoing.recv() => {
                    if self.write(socket, first).await.ok()? > LONG_WRITE {
                        silence.set(sleep(limits.silence));
                    }
                }
                Some(first) = self.shared.next(), if !self.shared.is_empty() => {
                    if self.write(socket, first).await.ok()? > LONG_WRITE {
                        silence.set(sleep(limits.silence));
                    }
                }
                incoming = socket.recv() => {
                    silence.set(sleep(limits.silence));
                    let (incoming, was_known) = (incoming?, self.caller.is_some());
                    pong(socket, &incoming).await.ok()?;
                    match self.take(incoming).await {
                        Ok(None) => {}
                        Ok(Some(reply)) => socket.send(Message::Text(reply)).await.ok()?,
                        Err(closing) => return Some(closing),
                    }
                    if !was_known && self.caller.is_some() {
                        // It may expire before the next heartbeat.
                        beat.set(sleep(self.next_look()));
                        revoked.set(self::revoked(self.caller.as_ref().map(Caller::revocations)));
                    }
                }
            }
        }
    }

    /// A revoked or expired token closes the sockets it opened; changed grants count for the operations that
    /// follow.
    async fn look_again(&mut self) -> Result<(), Closing> {
        let Some(caller) = &mut self.caller else { return Ok(()) };
        self.door.look_again(caller).await.map_err(|lost| match lost {
            Lost::Unknown => Closing::new(4403, "Forbidden"),
            Lost::Unsure => Closing::new(AGAIN_LATER, "tokens cannot be looked up now"),
        })
    }

    fn next_look(&self) -> Duration {
        self.caller.as_ref().map_or(self.door.limits.heartbeat, |caller| self.door.next_look(caller))
    }

    /// Writes what waits, in one flush, and says how long that took. Messages of operations that the client has completed
    /// are dropped.
    async fn write(&mut self, socket: &mut WebSocket, first: Outgoing) -> Result<Duration, axum::Error> {
        let begun = SystemClock.monotonic();
        let pipe = Arc::clone(&self.pipe);
        let _hold = pipe.hold();
        let mut next = Some(first);
        while let Some(message) = next {
            let is_live = self.live.get(&*message.id).is_some_and(|running| running.number == message.number);
            if is_live {
                if message.is_last {
                    // Before it is written: the client may use the id again as soon as it reads this.
                    self.live.remove(&*message.id);
                }
                socket.feed(Message::Text(message.frame)).await?;
            }
            // However much comes, the client, a revocation and the beat are heard in between.
            if SystemClock.monotonic().saturating_duration_since(begun) >= WRITE_TURN {
                break;
            }
            next = match self.outgoing.try_recv() {
                Ok(message) => Some(message),
                Err(_) if self.shared.is_empty() => None,
                Err(_) => self.shared.next().now_or_never().flatten(),
            };
        }
        socket.flush().await?;
        Ok(SystemClock.monotonic().saturating_duration_since(begun))
    }

    async fn take(&mut self, incoming: Result<Message, axum::Error>) -> Result<Option<Utf8Bytes>, Closing> {
        match incoming {
            Ok(Message::Text(text)) if text.len() > self.door.limits.message_bytes => Err(too_big()),
            Ok(Message::Text(text)) => self.obey(&text).await,
            Ok(Message::Binary(_)) => Err(Closing::invalid("messages are text")),
            Ok(Message::Ping(_) | Message::Pong(_)) => Ok(None),
            Ok(Message::Close(_)) => Err(Closing::Answering),
            Err(error) => Err(read_failure(&error)),
        }
    }

    async fn obey(&mut self, text: &str) -> Result<Option<Utf8Bytes>, Closing> {
        // The same members in an array would be read too.
        if !text.trim_start().starts_with('{') {
            return Err(Closing::invalid("a message is an object"));
        }
        let message: Incoming =
            serde_json::from_str(text).map_err(|error| Closing::invalid(&error.to_string()))?;
        match message.kind.as_str() {
            "connection_init" => self.init(&message.payload).await.map(Some),
            "ping" => match message.payload {
                Value::Null => Ok(Some(r#"{"type":"pong"}"#.into())),
                payload @ Value::Object(_) => {
                    let payload = serde_json::to_string(&payload).expect("GraphQL values have string keys");
                    Ok(Some(format!(r#"{{"type":"pong","payload":{payload}}}"#).into()))
                }
                _ => Err(Closing::invalid("`payload` must be an object")),
            },
            "pong" => Ok(None),
            "subscribe" => {
                let id = operation_id(message.id)?;
                if self.caller.as_ref().is_some_and(|caller| self.door.is_doubtful(caller)) {
                    self.look_again().await?;
                }
                self.subscribe(id, message.payload)
            }
            "complete" => {
                self.live.remove(&operation_id(message.id)?);
                Ok(None)
            }
            _ => Err(Closing::invalid("unknown `type`")),
        }
    }

    async fn init(&mut self, payload: &Value) -> Result<Utf8Bytes, Closing> {
        if self.caller.is_some() {
            return Err(Closing::new(4429, "Too many initialisation requests"));
        }
        if !matches!(payload, Value::Object(_) | Value::Null) {
            return Err(Closing::invalid("`payload` must be an object"));
        }
        let member = |name: &str| match payload {
            Value::Object(members) => match members.get(name) {
                Some(Value::String(value)) => Some(value.as_str()),
                _ => None,
            },
            _ => None,
        };
        let token = member("authorization").or_else(|| member("Authorization")).and_then(bearer_of);
        let looked_up = within(self.door.limits.init, self.door.recognise(token, self.peer)).await;
        match looked_up {
            Some(Ok(mut caller)) => {
                caller.trace = member("traceparent").and_then(traceparent_of);
                self.caller = Some(caller);
                Ok(r#"{"type":"connection_ack"}"#.into())
            }
            Some(Err(refusal)) if refusal.code == Code::Unauthenticated => {
                Err(Closing::new(4403, "Forbidden"))
            }
            // The token may be good: a client that came for ever again would be right.
            Some(Err(refusal)) => Err(Closing::new(AGAIN_LATER, refusal.message)),
            None => Err(Closing::new(4408, "Connection initialisation timeout")),
        }
    }

    /// Starts an operation. What is wrong with the operation itself is its own error and leaves the socket
    /// open.
    fn subscribe(&mut self, id: String, payload: Value) -> Result<Option<Utf8Bytes>, Closing> {
        let Some(caller) = &self.caller else {
            return Err(Closing::new(4401, "Unauthorized"));
        };
        if self.live.contains_key(&id) {
            return Err(Closing::new(4409, format!("Subscriber for {id} already exists")));
        }
        let parameters =
            Parameters::from_payload(payload).map_err(|refusal| Closing::invalid(&refusal.message))?;
        let most = self.door.limits.socket_operations;
        let admitted = if self.live.len() < most {
            self.door.admit(caller, parameters, Taken::All, None)
        } else {
            let message = format!("this socket has {most} operations already: complete one first");
            Err(Refusal::new(Code::TooMany, message))
        };
        let shared_id: Arc<str> = id.as_str().into();
        let line = Arc::new(Line::new(Arc::clone(&self.pipe), Arc::clone(&shared_id)));
        let opened = admitted.and_then(|admitted| self.door.open(admitted, Some(Arc::clone(&line))));
        self.started += 1;
        let running = match opened {
            Ok(Opened::Alone(answers)) => start(self.started, &id, answers, self.outbox.clone()),
            Ok(Opened::Shared(pieces)) => {
                let (messages, running) = take_part(self.started, shared_id, pieces, line);
                self.shared.push(messages);
                running
            }
            Err(refusal) => return Ok(Some(error_frame(&id, &Answer::from(refusal)))),
        };
        self.live.insert(id, running);
        Ok(None)
    }
}

/// Waits until some token was revoked; for ever while nobody has come in.
async fn revoked(revocations: Option<watch::Receiver<u64>>) {
    let gone = match revocations {
        Some(mut revocations) => revocations.changed().await.is_err(),
        None => true,
    };
    if gone {
        // Nobody has come in, or the engine is gone and the door is closing.
        std::future::pending::<()>().await;
    }
}

fn operation_id(id: Value) -> Result<String, Closing> {
    match id {
        Value::String(id) if !id.is_empty() && id.len() <= OPERATION_ID_BYTES_MAX => Ok(id),
        _ => Err(Closing::invalid("`id` must be a short string")),
    }
}

fn too_big() -> Closing {
    Closing::new(1009, "Message too big")
}

/// The library's error has no public kind here; its fixed words tell a message over the hard bound from
/// nonsense.
fn read_failure(error: &axum::Error) -> Closing {
    let words = error.to_string();
    if words.starts_with("Space limit exceeded") {
        too_big()
    } else if words.starts_with("UTF-8") {
        Closing::new(1007, "Not UTF-8")
    } else {
        Closing::new(1002, "Protocol error")
    }
}

/// Sees the library's answer to a ping out before anything else is read: else the answers to a peer that only sends would
/// pile up in memory.
async fn pong(socket: &mut WebSocket, incoming: &Result<Message, axum::Error>) -> Result<(), axum::Error> {
    if matches!(incoming, Ok(Message::Ping(_))) { socket.flush().await } else { Ok(()) }
}

/// Says why and waits a moment for the peer to say it too: a connection dropped at once may lose the frame.
async fn close(mut socket: WebSocket, closing: Closing) {
    within(CLOSE_TIME, async {
        let is_too_big = matches!(closing, Closing::Because(1009, _));
        if let Closing::Because(code, reason) = closing {
            let reason = Utf8Bytes::from(shortened(reason));
            let frame = Message::Close(Some(CloseFrame { code, reason }));
            if socket.send(frame).await.is_err() {
                return;
            }
        }
        // Reading on also writes the answer to the peer's own goodbye.
        while let Some(incoming @ Ok(_)) = socket.recv().await {
            if pong(&mut socket, &incoming).await.is_err() {
                return;
            }
        }
        if is_too_big {
            // Reading ended at the message itself; the rest of it must not reset the connection too soon.
            std::future::pending::<()>().await;
        }
    })
    .await;
}

fn shortened(mut reason: String) -> String {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    reason
}
