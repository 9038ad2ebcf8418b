//! Requests written byte by byte, so that nothing between the test and the daemon tidies them up. It must never
//! follow, repeat or correct anything.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::support::wait::{PATIENCE, now};

/// Bytes written at once of an endless body.
const CHUNK_BYTES: usize = 64 * 1024;

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The head's fields, as they came.
    pub fields: Vec<String>,
    /// The body; a chunked one is left chunked.
    pub body: String,
    /// From the first byte sent to the end of the answer's head.
    pub took: Duration,
}

impl Answer {
    /// The value of a field, its name in any case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter().filter_map(|line| line.split_once(':'));
        fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The code of the first error, empty when there is none.
    pub fn code(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["errors"][0]["extensions"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// A request: the first line without the version, further fields, and the body. `Host` is the address unless the
/// fields name another; the length is added when there is a body.
pub fn request(address: &str, line: &str, fields: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut lines = vec![format!("{line} HTTP/1.1"), "Connection: close".to_owned()];
    if !fields.iter().any(|(name, _)| *name == "Host") {
        lines.push(format!("Host: {address}"));
    }
    lines.extend(fields.iter().map(|(name, value)| format!("{name}: {value}")));
    if !body.is_empty() {
        lines.push(format!("Content-Length: {}", body.len()));
    }
    format!("{}\r\n\r\n{body}", lines.join("\r\n")).into_bytes()
}

/// Sends the bytes on a connection of their own and reads the answer. An upgrade is read to the end of its head.
pub fn exchange(address: &str, request: &[u8]) -> Answer {
    let mut socket = connect(address);
    let began = now();
    // A refusal may come, and the connection go, before everything is written.
    let _ = socket.write_all(request);
    let mut reader = BufReader::new(socket);
    let (status, fields) = head(&mut reader);
    let took = began.elapsed();
    let mut answer = Answer { status, fields, body: String::new(), took };
    if status == 101 || request.starts_with(b"HEAD ") {
        return answer;
    }
    let length = answer.field("content-length").and_then(|text| text.parse().ok());
    let mut bytes = Vec::new();
    // Without a length to the end. What was readable counts.
    let _ = reader.take(length.unwrap_or(u64::MAX)).read_to_end(&mut bytes);
    answer.body = String::from_utf8_lossy(&bytes).into_owned();
    answer
}

/// Sends a head and then `size` bytes of body, chunked or with their length, and reads the answer while it writes.
/// Says also how many bytes of the body went out.
pub fn pour(address: &str, fields: &[(&str, &str)], size: usize, is_chunked: bool) -> (Answer, usize) {
    let mut lines = vec!["POST /graphql HTTP/1.1".to_owned(), format!("Host: {address}")];
    lines.extend(fields.iter().map(|(name, value)| format!("{name}: {value}")));
    lines.push(if is_chunked {
        "Transfer-Encoding: chunked".to_owned()
    } else {
        format!("Content-Length: {size}")
    });
    let text = lines.join("\r\n") + "\r\n\r\n";
    let socket = connect(address);
    let mut writer = socket.try_clone().expect("a socket can be cloned");
    let began = now();
    let pouring = thread::spawn(move || {
        let piece = vec![b' '; CHUNK_BYTES];
        let mut sent = 0;
        let mut is_open = writer.write_all(text.as_bytes()).is_ok();
        while is_open && sent < size {
            is_open = if is_chunked {
                let wrapped = [format!("{CHUNK_BYTES:x}\r\n").as_bytes(), &piece, b"\r\n"].concat();
                writer.write_all(&wrapped).is_ok()
            } else {
                writer.write_all(&piece[..CHUNK_BYTES.min(size - sent)]).is_ok()
            };
            sent += CHUNK_BYTES;
        }
        sent.min(size)
    });
    let mut reader = BufReader::new(socket);
    let (status, fields) = head(&mut reader);
    let took = began.elapsed();
    let mut answer = Answer { status, fields, body: String::new(), took };
    let length = answer.field("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).expect("the answer is whole");
    answer.body = String::from_utf8(bytes).expect("an answer is text");
    let _ = reader.get_ref().shutdown(Shutdown::Both);
    (answer, pouring.join().expect("the writer does not panic"))
}

fn connect(address: &str) -> TcpStream {
    let socket = TcpStream::connect(address).expect("the daemon listens");
    socket.set_nodelay(true).expect("an open socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("an open socket");
    socket
}

fn head(reader: &mut impl BufRead) -> (u16, Vec<String>) {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        let count =
            reader.read_line(&mut line).unwrap_or_else(|why| panic!("no head: {why}, only {lines:?}"));
        assert!(count > 0, "the connection ended within the head: {lines:?}");
        match line.trim_end() {
            "" => break,
            text => lines.push(text.to_owned()),
        }
    }
    let status = lines.remove(0);
    let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.expect("a status line"), lines)
}
