//! Owns one HTTP/1.1 connection that is kept alive. It must never allocate for an answer once its buffer has grown.

use std::io::{Error, ErrorKind, Result};

use memchr::memmem;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Room for an answer at first.
const BUFFER_BYTES: usize = 16 * 1024;

/// A connection. One request at a time.
#[derive(Debug)]
pub struct Http {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Http {
    /// Connects.
    pub async fn open(address: &str) -> Result<Http> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Http { stream, buffer: vec![0; BUFFER_BYTES] })
    }

    /// Sends the bytes of one request and gives the body of its answer, which must be a 200.
    pub async fn answer(&mut self, request: &[u8]) -> Result<&[u8]> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        let (body, end) = loop {
            if filled == self.buffer.len() {
                self.buffer.resize(filled * 2, 0);
            }
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            if read == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            filled += read;
            if let Some((body, end)) = extent(&self.buffer[..filled])?
                && filled >= end
            {
                break (body, end);
            }
        };
        Ok(&self.buffer[body..end])
    }
}

/// Where the body begins and ends, once the head is whole.
fn extent(answer: &[u8]) -> Result<Option<(usize, usize)>> {
    let Some(head) = memmem::find(answer, b"\r\n\r\n") else {
        return Ok(None);
    };
    if !answer.starts_with(b"HTTP/1.1 200") {
        return Err(Error::other(String::from_utf8_lossy(answer).into_owned()));
    }
    let length = memmem::find(&answer[..head], b"content-length: ")
        .ok_or_else(|| Error::other("an answer without a length"))?;
    let digits = answer[length + 16..head].iter().take_while(|sign| sign.is_ascii_digit());
    let length = digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
    Ok(Some((head + 4, head + 4 + length)))
}

/// The bytes of a GraphQL request.
pub fn request(address: &str, token: &str, query: &str, variables: &Value) -> Vec<u8> {
    let body = json!({"query": query, "variables": variables}).to_string();
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\naccept: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes()
}

/// The bytes of a plain GET.
pub fn get(address: &str, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").into_bytes()
}
