//! A client for GraphQL over server-sent events (distinct connections mode), straight on a socket, so that a test
//! can end it at any moment and sees exactly what comes. It must never reconnect by itself.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::wait::{PATIENCE, now};

/// How long the head of an answer may take.
const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// An open subscription. Dropping it closes the connection.
#[derive(Debug)]
pub struct Sse {
    socket: TcpStream,
    items: Receiver<Item>,
}

/// One `next` message and when it was read.
#[derive(Debug)]
pub struct Message {
    /// The execution result: `data` and perhaps `errors`.
    pub result: Value,
    /// When this process had read it.
    pub at: Instant,
}

/// Why there is no further message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The server said `complete`.
    Complete,
    /// The connection ended without `complete`.
    Closed,
    /// Nothing came in time; the subscription is still open.
    TimedOut,
}

#[derive(Debug)]
enum Item {
    Message(Message),
    End(End),
}

impl Sse {
    /// Posts the operation to `http://ADDRESS/graphql` and asks for an event stream.
    ///
    /// `Err` tells what came instead: no connection, or another status with its body.
    pub fn open(address: &str, token: &str, query: &str, variables: &Value) -> Result<Sse, String> {
        Sse::open_behind(address, token, (query, variables), "")
    }

    /// The same as a client that comes back, behind the id of the last message that it saw; the beginning when empty.
    pub fn open_behind(
        address: &str,
        token: &str,
        (query, variables): (&str, &Value),
        last_event_id: &str,
    ) -> Result<Sse, String> {
        let broken = |why: io::Error| why.to_string();
        let mut socket = TcpStream::connect(address).map_err(broken)?;
        socket.set_nodelay(true).map_err(broken)?;
        socket.set_read_timeout(Some(HEAD_LIMIT)).map_err(broken)?;
        let body = json!({"query": query, "variables": variables}).to_string();
        let request = format!(
            "POST /graphql HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Accept: text/event-stream\r\nContent-Type: application/json\r\nLast-Event-ID: {last_event_id}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(request.as_bytes()).map_err(broken)?;
        let mut reader = BufReader::new(socket.try_clone().map_err(broken)?);
        let head = Head::read(&mut reader).map_err(broken)?;
        if !head.is_event_stream() {
            return Err(format!("{}\n{}", head.0.join("\n"), head.body(reader)));
        }
        socket.set_read_timeout(None).map_err(broken)?;
        let (sender, items) = channel();
        let is_chunked = head.field("transfer-encoding") == Some("chunked");
        thread::spawn(move || {
            let end = if is_chunked {
                read_events(BufReader::new(Chunked { inner: reader, left: 0 }), &sender)
            } else {
                read_events(reader, &sender)
            };
            // Nobody listens any more when the subscription was dropped.
            let _ = sender.send(Item::End(end));
        });
        Ok(Sse { socket, items })
    }

    /// The next message, waited for at most `limit`.
    pub fn next_within(&mut self, limit: Duration) -> Result<Message, End> {
        match self.items.recv_timeout(limit) {
            Ok(Item::Message(message)) => Ok(message),
            Ok(Item::End(end)) => Err(end),
            Err(RecvTimeoutError::Timeout) => Err(End::TimedOut),
            Err(RecvTimeoutError::Disconnected) => Err(End::Closed),
        }
    }
}

/// The results until the stream ends; panics when nothing comes for too long.
impl Iterator for Sse {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        match self.next_within(PATIENCE) {
            Ok(message) => Some(message.result),
            Err(End::TimedOut) => panic!("the subscription was silent for {PATIENCE:?}"),
            Err(End::Complete | End::Closed) => None,
        }
    }
}

impl Drop for Sse {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// Status line and fields, as they came.
struct Head(Vec<String>);

impl Head {
    fn read(reader: &mut impl BufRead) -> io::Result<Head> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end() {
                "" => return Ok(Head(lines)),
                text => lines.push(text.to_owned()),
            }
        }
    }

    fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.0.iter().filter_map(|line| line.split_once(':'));
        fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    fn is_event_stream(&self) -> bool {
        let is_ok = self.0.first().is_some_and(|line| line.starts_with("HTTP/1.1 200"));
        is_ok && self.field("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"))
    }

    fn body(&self, reader: impl Read) -> String {
        let length = self.field("content-length").and_then(|text| text.parse().ok());
        let mut text = String::new();
        // Whatever can be read of it: this is for a message only.
        let _ = reader.take(length.unwrap_or(0)).read_to_string(&mut text);
        text
    }
}

/// Undoes the chunked transfer coding.
struct Chunked<R> {
    inner: R,
    left: usize,
}

impl<R: BufRead> Read for Chunked<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            let mut size = String::new();
            self.inner.read_line(&mut size)?;
            let digits = size.trim().split(';').next().unwrap_or_default();
            self.left = usize::from_str_radix(digits, 16).map_err(|_| io::ErrorKind::InvalidData)?;
            if self.left == 0 {
                return Ok(0);
            }
        }
        let room = into.len().min(self.left);
        let count = self.inner.read(&mut into[..room])?;
        self.left -= count;
        if self.left == 0 {
            self.inner.read_line(&mut String::new())?;
        }
        Ok(count)
    }
}

fn read_events(reader: impl BufRead, sender: &std::sync::mpsc::Sender<Item>) -> End {
    let (mut event, mut data) = (String::new(), String::new());
    for line in reader.lines() {
        let Ok(line) = line else { return End::Closed };
        if let Some(name) = line.strip_prefix("event:") {
            name.trim().clone_into(&mut event);
        } else if let Some(part) = line.strip_prefix("data:") {
            data.push_str(part.strip_prefix(' ').unwrap_or(part));
        } else if line.is_empty() {
            match event.as_str() {
                "complete" => return End::Complete,
                "next" => {
                    let result = serde_json::from_str(&data).unwrap_or_else(|_| json!({"notJson": data}));
                    if sender.send(Item::Message(Message { result, at: now() })).is_err() {
                        return End::Closed;
                    }
                }
                _ => {}
            }
            event.clear();
            data.clear();
        }
    }
    End::Closed
}

/// Guards the client itself against a server written here.
mod self_test {
    use std::net::TcpListener;

    use super::*;

    /// Serves one connection with `answer` and closes it.
    fn served(answer: &str) -> Result<Sse, String> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound port").to_string();
        let answer = answer.to_owned();
        let server = thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("a client");
            let mut request = [0u8; 4096];
            let count = socket.read(&mut request).expect("a request");
            assert!(request[..count].starts_with(b"POST /graphql HTTP/1.1\r\n"));
            socket.write_all(answer.as_bytes()).expect("a reader");
        });
        let opened = Sse::open(&address, "secret", "subscription { a }", &json!({}));
        server.join().expect("the server does not panic");
        opened
    }

    /// An answer with an event stream in these chunks, without the last one.
    fn chunked(parts: &[&str]) -> String {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = |part: &&str| format!("{:x}\r\n{part}\r\n", part.len());
        head.to_owned() + &parts.iter().map(chunk).collect::<String>()
    }

    #[test]
    fn a_chunked_stream_gives_its_messages_and_its_end() {
        let parts = [":\n", "\nevent: next\ndata: {\"", "a\":1}\n\neve", "nt: complete\ndata:\n\n"];
        let mut stream = served(&(chunked(&parts) + "0\r\n\r\n")).unwrap();
        assert_eq!(stream.next_within(PATIENCE).unwrap().result, json!({"a": 1}));
        assert_eq!(stream.next_within(PATIENCE).unwrap_err(), End::Complete);
    }

    #[test]
    fn a_stream_that_breaks_off_is_not_taken_for_a_complete_one() {
        let mut stream = served(&chunked(&["event: next\ndata: {}\n"])).unwrap();
        assert_eq!(stream.next_within(PATIENCE).unwrap_err(), End::Closed);
    }

    #[test]
    fn another_answer_is_an_error_that_shows_it() {
        let refused = served("HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\nnope").unwrap_err();
        assert!(refused.contains("401") && refused.ends_with("nope"), "{refused}");
    }
}
