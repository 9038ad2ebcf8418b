//! A daemon of canned answers, for tests: one connection after another, each with the next reply of a script.
//! It never understands what it is asked; the test looks at what was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

/// How a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As the protocol says.
    Complete,
    /// In the middle of an event, without a word.
    Cut,
    /// Not at all: silence until the client hangs up.
    Silence,
}

enum What {
    Answer(u16, String),
    Stream(Vec<Value>, End),
    Hangup,
}

/// What one connection gets.
pub struct Reply {
    what: What,
    before: Option<Box<dyn FnOnce() + Send>>,
}

impl Reply {
    /// An answer of this status.
    pub fn status(status: u16, body: &Value) -> Reply {
        Reply::text(status, &body.to_string())
    }

    /// An answer that need not be JSON.
    pub fn text(status: u16, body: &str) -> Reply {
        Reply { what: What::Answer(status, body.to_owned()), before: None }
    }

    /// `{"data": ...}`.
    pub fn data(data: &Value) -> Reply {
        Reply::status(200, &json!({ "data": data }))
    }

    /// One error with a code.
    pub fn error(status: u16, code: &str) -> Reply {
        Reply::status(status, &coded(code))
    }

    /// An event stream. Each payload is a whole one: `{"data": ...}` or `{"errors": ...}`.
    pub fn stream(payloads: Vec<Value>, end: End) -> Reply {
        Reply { what: What::Stream(payloads, end), before: None }
    }

    /// The connection is closed when the request is there.
    pub fn hangup() -> Reply {
        Reply { what: What::Hangup, before: None }
    }

    /// Does something when the request is there, before it is answered.
    #[must_use]
    pub fn after_doing(mut self, work: impl FnOnce() + Send + 'static) -> Reply {
        self.before = Some(Box::new(work));
        self
    }
}

/// A payload or an answer with one error.
pub fn coded(code: &str) -> Value {
    json!({ "errors": [{ "message": "as the script says", "extensions": { "code": code } }] })
}

/// What one connection asked.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The request line and the headers, in lower case.
    pub head: String,
    /// The body.
    pub body: Value,
}

impl Seen {
    /// The variables of the request.
    pub fn variables(&self) -> &Value {
        &self.body["variables"]
    }
}

/// A daemon of canned answers. When the script is at its end, the port is closed.
#[derive(Debug)]
pub struct FakeDaemon {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl FakeDaemon {
    /// Serves the replies in order.
    pub fn start(script: Vec<Reply>) -> FakeDaemon {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        thread::spawn(move || {
            for reply in script {
                let (stream, _) = listener.accept().unwrap();
                // A client that hangs up is none of our business.
                let _ = serve(stream, reply, &record);
            }
        });
        FakeDaemon { url, seen }
    }

    /// Everything that was asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, reply: Reply, record: &Mutex<Vec<Seen>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut out = stream;
    record.lock().unwrap().push(request(&mut reader)?);
    if let Some(work) = reply.before {
        work();
    }
    match reply.what {
        What::Hangup => Ok(()),
        What::Answer(status, body) => write!(
            out,
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        ),
        What::Stream(payloads, end) => {
            write!(
                out,
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            )?;
            chunk(&mut out, ":\n\n")?;
            for payload in payloads {
                chunk(&mut out, &format!("event: next\ndata: {payload}\n\n"))?;
            }
            match end {
                End::Complete => {
                    chunk(&mut out, "event: complete\ndata:\n\n")?;
                    out.write_all(b"0\r\n\r\n")
                }
                End::Cut => chunk(&mut out, "event: next\ndata: {\"data\""),
                End::Silence => reader.read_to_end(&mut Vec::new()).map(|_| ()),
            }
        }
    }
}

fn chunk(out: &mut TcpStream, text: &str) -> std::io::Result<()> {
    write!(out, "{:x}\r\n{text}\r\n", text.len())
}

fn request(reader: &mut BufReader<TcpStream>) -> std::io::Result<Seen> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            break;
        }
    }
    let head = head.to_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Seen { head, body: serde_json::from_slice(&body).unwrap_or_default() })
}
