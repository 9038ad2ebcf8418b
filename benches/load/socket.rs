//! Owns one `graphql-transport-ws` connection that counts what it is sent. It must never decode what it only counts,
//! and it shares one buffer with all others of its thread, for thousands of them are open at once.

use std::cell::RefCell;
use std::io::{Error, ErrorKind, Result};

use memchr::memmem;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What is read at once.
const BUFFER_BYTES: usize = 256 * 1024;
/// The kind of a frame that asks whether anybody is there.
const PING: u8 = 0x9;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER_BYTES]);
}

/// A connection with at most one subscription.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    /// The newest bytes, in which a mark may have begun.
    tail: Vec<u8>,
}

impl Socket {
    /// Connects, says who it is, and waits until that is accepted.
    pub async fn open(address: &str, token: &str) -> Result<Socket> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut socket = Socket { stream, tail: Vec::new() };
        let upgrade = format!(
            "GET /graphql HTTP/1.1\r\nhost: {address}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-protocol: graphql-transport-ws\r\n\r\n"
        );
        socket.stream.write_all(upgrade.as_bytes()).await?;
        socket.skip_http_head().await?;
        let payload = json!({"authorization": format!("Bearer {token}")});
        socket.say(&json!({"type": "connection_init", "payload": payload})).await?;
        let answer = socket.message().await?;
        if memmem::find(&answer, b"connection_ack").is_none() {
            return Err(Error::other(String::from_utf8_lossy(&answer).into_owned()));
        }
        Ok(socket)
    }

    /// Begins the one subscription.
    pub async fn subscribe(&mut self, query: &str, variables: &Value) -> Result<()> {
        let payload = json!({"query": query, "variables": variables});
        self.say(&json!({"type": "subscribe", "id": "1", "payload": payload})).await
    }

    /// Sends one short text frame, masked with zeros.
    async fn say(&mut self, message: &Value) -> Result<()> {
        let text = message.to_string();
        let length = u16::try_from(text.len()).map_err(Error::other)?;
        let mut frame = vec![0x81];
        if length < 126 {
            frame.push(0x80 | length.to_be_bytes()[1]);
        } else {
            frame.push(0xfe);
            frame.extend(length.to_be_bytes());
        }
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.stream.write_all(&frame).await
    }

    /// The next whole message. Not to be mixed with `count`.
    pub async fn message(&mut self) -> Result<Vec<u8>> {
        loop {
            let mut head = [0; 2];
            self.stream.read_exact(&mut head).await?;
            let length = match head[1] & 0x7f {
                126 => u64::from(self.stream.read_u16().await?),
                127 => self.stream.read_u64().await?,
                short => u64::from(short),
            };
            let mut payload = vec![0; usize::try_from(length).map_err(Error::other)?];
            self.stream.read_exact(&mut payload).await?;
            // A sign of life comes when the crowd takes its time.
            if head[0] & 0xf != PING {
                return Ok(payload);
            }
        }
    }

    /// Waits for bytes and counts the places in them where `mark` stands.
    pub async fn count(&mut self, mark: &memmem::Finder<'_>) -> Result<u64> {
        loop {
            self.stream.readable().await?;
            let seen = BUFFER.with_borrow_mut(|buffer| match self.stream.try_read(buffer) {
                Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => Ok(Some(self.marks(mark, &buffer[..read]))),
                Err(why) if why.kind() == ErrorKind::WouldBlock => Ok(None),
                Err(why) => Err(why),
            })?;
            if let Some(seen) = seen {
                return Ok(seen);
            }
        }
    }

    /// How often `mark` ends in `bytes`, which may hold a part of it only.
    fn marks(&mut self, mark: &memmem::Finder<'_>, bytes: &[u8]) -> u64 {
        let reach = mark.needle().len() - 1;
        self.tail.extend(&bytes[..reach.min(bytes.len())]);
        let across = mark.find_iter(&self.tail).count();
        let from = bytes.len().saturating_sub(reach);
        self.tail.extend(&bytes[from.max(reach.min(bytes.len()))..]);
        self.tail.drain(..self.tail.len().saturating_sub(reach));
        (across + mark.find_iter(bytes).count()) as u64
    }

    async fn skip_http_head(&mut self) -> Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await?);
        }
        let is_good = head.starts_with(b"HTTP/1.1 101");
        if is_good { Ok(()) } else { Err(Error::other(String::from_utf8_lossy(&head).into_owned())) }
    }
}
