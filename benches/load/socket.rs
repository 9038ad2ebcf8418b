//! Owns one `graphql-transport-ws` connection that counts frames. It must never decode what it only counts, and it
//! shares one buffer with all others of its thread, for thousands of them are open at once.

use std::cell::RefCell;
use std::io::{Error, ErrorKind, Result};

use memchr::memmem;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What is read at once.
const BUFFER_BYTES: usize = 256 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER_BYTES]);
}

/// A connection with at most one subscription.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    /// Bytes of a frame's head that came without its rest.
    head: Vec<u8>,
    /// Bytes of the present frame that are still to come.
    missing: usize,
}

/// What one read brought.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    /// Frames that began.
    pub frames: u64,
    /// Places where the text stood that was looked for.
    pub marks: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Socket {
    /// Connects, says who it is, and waits until that is accepted.
    pub async fn open(address: &str, token: &str) -> Result<Socket> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut socket = Socket { stream, head: Vec::new(), missing: 0 };
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
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.stream.write_all(&frame).await
    }

    /// The next whole message. Not to be mixed with `count`.
    pub async fn message(&mut self) -> Result<Vec<u8>> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).await?;
        let length = match head[1] & 0x7f {
            126 => u64::from(self.stream.read_u16().await?),
            127 => self.stream.read_u64().await?,
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).map_err(Error::other)?];
        self.stream.read_exact(&mut payload).await?;
        Ok(payload)
    }

    /// Waits for bytes and counts what they hold, and in them the places where `mark` stands.
    pub async fn count(&mut self, mark: Option<&memmem::Finder<'_>>) -> Result<Seen> {
        loop {
            self.stream.readable().await?;
            let seen = BUFFER.with_borrow_mut(|buffer| match self.stream.try_read(buffer) {
                Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    let marks = mark.map_or(0, |mark| mark.find_iter(&buffer[..read]).count() as u64);
                    Ok(Some(Seen { frames: self.frames(&buffer[..read]), marks, bytes: read as u64 }))
                }
                Err(why) if why.kind() == ErrorKind::WouldBlock => Ok(None),
                Err(why) => Err(why),
            })?;
            if let Some(seen) = seen {
                return Ok(seen);
            }
        }
    }

    /// How many frames begin in `bytes`.
    fn frames(&mut self, mut bytes: &[u8]) -> u64 {
        let mut frames = 0;
        loop {
            let skipped = self.missing.min(bytes.len());
            self.missing -= skipped;
            bytes = &bytes[skipped..];
            let Some((&first, rest)) = bytes.split_first() else {
                return frames;
            };
            bytes = rest;
            self.head.push(first);
            if let Some(length) = payload_bytes(&self.head) {
                self.head.clear();
                self.missing = length;
                frames += 1;
            }
        }
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

/// Bytes behind a whole head; `None` while there is more of it to come.
fn payload_bytes(head: &[u8]) -> Option<usize> {
    let extended = match head.get(1)? & 0x7f {
        126 => 2,
        127 => 8,
        short => return Some(usize::from(short)),
    };
    let digits = head.get(2..2 + extended)?;
    Some(digits.iter().fold(0, |sum, &digit| sum << 8 | usize::from(digit)))
}
