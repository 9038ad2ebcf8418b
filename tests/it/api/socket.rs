//! A subscription over `graphql-transport-ws`, with a client that is not of this house. It must never reconnect
//! by itself.

use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

use crate::support::sse::End;

/// How long the handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);

/// The one operation of a socket.
const ID: &str = "1";

/// An open subscription. Dropping it closes the connection.
#[derive(Debug)]
pub struct Socket {
    connection: TcpStream,
    items: Receiver<Result<Value, End>>,
}

impl Socket {
    /// Connects, names the token and subscribes.
    pub fn open(address: &str, token: &str, query: &str, variables: &Value) -> Socket {
        let connection = TcpStream::connect(address).expect("the daemon listens");
        connection.set_nodelay(true).expect("an open socket");
        connection.set_read_timeout(Some(HANDSHAKE_LIMIT)).expect("an open socket");
        let mut request = format!("ws://{address}/graphql").into_client_request().expect("a good address");
        let protocol = HeaderValue::from_static("graphql-transport-ws");
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        let stream = connection.try_clone().expect("a socket can be cloned");
        let (mut socket, _) = client(request, stream).unwrap_or_else(|why| panic!("no web socket: {why}"));
        let authorization = format!("Bearer {token}");
        say(&mut socket, &json!({"type": "connection_init", "payload": {"authorization": authorization}}));
        let acknowledged = socket.read().expect("an acknowledgement");
        assert!(acknowledged.to_text().is_ok_and(|text| text.contains("connection_ack")), "{acknowledged:?}");
        let payload = json!({"query": query, "variables": variables});
        say(&mut socket, &json!({"type": "subscribe", "id": ID, "payload": payload}));
        connection.set_read_timeout(None).expect("an open socket");
        let (sender, items) = channel();
        thread::spawn(move || {
            let end = listen(&mut socket, &sender);
            // Nobody listens any more when the subscription was dropped.
            let _ = sender.send(Err(end));
        });
        Socket { connection, items }
    }

    /// The next result, waited for at most `limit`. An `error` message is a result with `errors` alone.
    pub fn next_within(&mut self, limit: Duration) -> Result<Value, End> {
        match self.items.recv_timeout(limit) {
            Ok(item) => item,
            Err(RecvTimeoutError::Timeout) => Err(End::TimedOut),
            Err(RecvTimeoutError::Disconnected) => Err(End::Closed),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = self.connection.shutdown(Shutdown::Both);
    }
}

fn say(socket: &mut WebSocket<TcpStream>, message: &Value) {
    socket.send(Message::text(message.to_string())).expect("the daemon listens");
}

/// Hands on every result until the operation or the connection ends. Pings are answered by the library.
fn listen(socket: &mut WebSocket<TcpStream>, sender: &Sender<Result<Value, End>>) -> End {
    loop {
        let text = match socket.read() {
            Ok(Message::Text(text)) => text,
            Ok(Message::Close(_)) | Err(_) => return End::Closed,
            Ok(_) => continue,
        };
        let mut message: Value = serde_json::from_str(&text).unwrap_or_else(|_| json!({"notJson": *text}));
        let item = match message["type"].as_str() {
            Some("next") => message["payload"].take(),
            Some("error") => json!({"errors": message["payload"].take()}),
            Some("complete") => return End::Complete,
            _ => continue,
        };
        let is_last = message["type"] == json!("error");
        if sender.send(Ok(item)).is_err() || is_last {
            return End::Complete;
        }
    }
}
