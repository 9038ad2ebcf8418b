//! A real HTTP receiver on a loopback address of its own, which a test can take down, make slow, angry or endless.
//! It must never know what a sink is: it keeps what came.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use beadle::base::random::{Random, SystemRandom};
use serde_json::Value;

use super::wait::{PATIENCE, now, until};

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// When it was whole.
    pub at: Instant,
    /// Its path with the query.
    pub path: String,
    /// Its headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Received {
    /// A header's value; empty when it did not come.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }
}

/// What a receiver does with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Answers with this status and these further header lines.
    Status(u16, &'static str),
    /// Answers with a redirect.
    Redirect(String),
    /// Never answers, and keeps the connection.
    Silence,
    /// Answers well, with a body of so many bytes.
    Long(u64),
    /// Answers well, with this body.
    Body(Vec<u8>),
}

type Manner = Box<dyn FnMut(&Received) -> Reply + Send>;

struct Shared {
    received: Mutex<Vec<Received>>,
    manner: Mutex<Manner>,
    streams: Mutex<Vec<TcpStream>>,
    sent_bytes: AtomicU64,
    is_down: AtomicBool,
}

/// A receiver. It answers 200 until it is told otherwise.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Receiver {
    /// A receiver that is up.
    pub fn start() -> Receiver {
        let mut bytes = [0; 3];
        SystemRandom.fill(&mut bytes);
        // An address that nobody else listens on, so that it can come back at the same port.
        let host = Ipv4Addr::new(127, bytes[0] | 1, bytes[1], bytes[2].clamp(2, 250));
        let listener = TcpListener::bind((host, 0)).expect("a loopback address can be listened on");
        let shared = Shared {
            received: Mutex::default(),
            manner: Mutex::new(Box::new(|_| Reply::Status(200, ""))),
            streams: Mutex::default(),
            sent_bytes: AtomicU64::new(0),
            is_down: AtomicBool::new(false),
        };
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(shared);
        let accepting = Some(accept(listener, Arc::clone(&shared)));
        Receiver { address, shared, accepting }
    }

    /// Where it is, with a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it does this.
    pub fn behave(&self, manner: impl FnMut(&Received) -> Reply + Send + 'static) {
        *lock(&self.shared.manner) = Box::new(manner);
    }

    /// Everything that came so far.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.shared.received).clone()
    }

    /// Waits until so many requests have come.
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        let what = format!("{count} requests at the receiver");
        until(&what, PATIENCE, || Some(self.received()).filter(|all| all.len() >= count))
    }

    /// Bytes of bodies that it could send.
    pub fn sent_bytes(&self) -> u64 {
        self.shared.sent_bytes.load(Ordering::SeqCst)
    }

    /// Connections are refused from now on, and those that are open are cut.
    pub fn take_down(&mut self) {
        let Some(accepting) = self.accepting.take() else { return };
        self.shared.is_down.store(true, Ordering::SeqCst);
        // It wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
        accepting.join().expect("the receiver does not panic");
        for stream in lock(&self.shared.streams).drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// It accepts connections again, at the same address.
    pub fn bring_up(&mut self) {
        assert!(self.accepting.is_none(), "it is up");
        self.shared.is_down.store(false, Ordering::SeqCst);
        let address = self.address;
        let listener = until("the address to be free", PATIENCE, || TcpListener::bind(address).ok());
        self.accepting = Some(accept(listener, Arc::clone(&self.shared)));
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.take_down();
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: TcpListener, shared: Arc<Shared>) -> JoinHandle<()> {
    thread::spawn(move || {
        for stream in listener.incoming() {
            if shared.is_down.load(Ordering::SeqCst) {
                return;
            }
            let Ok(stream) = stream else { continue };
            lock(&shared.streams).extend(stream.try_clone());
            let shared = Arc::clone(&shared);
            thread::spawn(move || serve(&stream, &shared));
        }
    })
}

fn serve(stream: &TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        let reply = (lock(&shared.manner))(&request);
        lock(&shared.received).push(request);
        let mut out = stream;
        let sent = match reply {
            Reply::Status(status, lines) => {
                write!(out, "HTTP/1.1 {status} X\r\ncontent-length: 2\r\n{lines}\r\nok")
            }
            Reply::Redirect(to) => {
                write!(out, "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
            }
            // The client goes away at last, or the receiver is taken down.
            Reply::Silence => reader.read(&mut [0]).and_then(|_| Err(std::io::ErrorKind::TimedOut.into())),
            Reply::Body(body) => write!(out, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len())
                .and_then(|()| out.write_all(&body)),
            Reply::Long(length) => send_long(out, length, &shared.sent_bytes),
        };
        if sent.is_err() {
            return;
        }
    }
}

fn send_long(mut out: &TcpStream, length: u64, sent_bytes: &AtomicU64) -> std::io::Result<()> {
    write!(out, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n")?;
    // One that reads nothing is not waited for either.
    out.set_write_timeout(Some(Duration::from_secs(20)))?;
    let chunk = vec![b'x'; 64 * 1024];
    let mut left = length;
    while left > 0 {
        let count = out.write(&chunk[..usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len())])? as u64;
        sent_bytes.fetch_add(count, Ordering::SeqCst);
        left -= count;
    }
    Ok(())
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Received> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut body = Vec::new();
    if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        read_chunks(reader, &mut body)?;
    } else {
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        body.resize(length, 0);
        reader.read_exact(&mut body).ok()?;
    }
    Some(Received { at: now(), path, headers, body })
}

fn read_chunks(reader: &mut BufReader<&TcpStream>, body: &mut Vec<u8>) -> Option<()> {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let length = usize::from_str_radix(line.trim(), 16).ok()?;
        let mut chunk = vec![0; length + 2];
        reader.read_exact(&mut chunk).ok()?;
        if length == 0 {
            return Some(());
        }
        body.extend(&chunk[..length]);
    }
}
