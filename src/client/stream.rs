//! Owns the reading of an event stream (Server-Sent Events, GraphQL over SSE): bytes in, payloads out.
//! It never reconnects: what was lost is known by its caller, who has the cursors.

use std::io::{self, BufRead, BufReader, Read};

use serde_json::Value;
use ureq::BodyReader;

use super::error::{ClientError, data_of};

/// Bytes of one event. A daemon sends far less; this bounds what a broken one can make us hold.
const EVENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The payloads of one subscription: the `data` of each, until it completes or fails.
pub struct Payloads {
    url: String,
    events: Events<BufReader<BodyReader<'static>>>,
    is_over: bool,
}

impl std::fmt::Debug for Payloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Payloads").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Payloads {
    pub(super) fn new(url: String, reader: BufReader<BodyReader<'static>>) -> Payloads {
        Payloads { url, events: Events { reader }, is_over: false }
    }
}

impl Iterator for Payloads {
    type Item = Result<Value, ClientError>;

    /// `None` when the daemon said that the subscription is complete. After an error there is nothing more.
    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_over {
            let event = match self.events.next_event() {
                Ok(Some(event)) => event,
                Ok(None) => return Some(Err(self.fail("the stream was cut"))),
                Err(error) => return Some(Err(self.fail(&error.to_string()))),
            };
            match event.kind.as_str() {
                "next" => return Some(self.payload(&event.data)),
                "complete" => self.is_over = true,
                // Kinds that come later are no concern of this version.
                _ => {}
            }
        }
        None
    }
}

impl Payloads {
    fn fail(&mut self, reason: &str) -> ClientError {
        self.is_over = true;
        ClientError::unreachable(&self.url, &reason)
    }

    fn payload(&mut self, text: &str) -> Result<Value, ClientError> {
        let result = serde_json::from_str::<Value>(text)
            .map_err(|error| ClientError::foreign(&self.url, &format!("an event that is not JSON: {error}")))
            .and_then(|answer| data_of(answer, None));
        self.is_over |= result.is_err();
        result
    }
}

/// One event: its kind (`message` when it has none) and its data lines.
#[derive(Debug, PartialEq, Eq)]
struct Event {
    kind: String,
    data: String,
}

/// Splits a byte stream into events.
#[derive(Debug)]
struct Events<R> {
    reader: R,
}

impl<R: BufRead> Events<R> {
    /// The next whole event; `None` at the end of the bytes. An event that is cut short is dropped.
    fn next_event(&mut self) -> io::Result<Option<Event>> {
        let (mut kind, mut data) = (String::new(), Vec::new());
        let mut is_empty = true;
        let mut room = EVENT_BYTES_MAX;
        let mut line = Vec::new();
        loop {
            line.clear();
            let limit = u64::try_from(room).unwrap_or(u64::MAX);
            let taken = (&mut self.reader).take(limit).read_until(b'\n', &mut line)?;
            room -= taken;
            if line.pop() != Some(b'\n') {
                // No newline: either the bytes end here, or the event is longer than we hold.
                return if room == 0 { Err(io::Error::other("an event is too long")) } else { Ok(None) };
            }
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            if line.is_empty() {
                if is_empty {
                    room = EVENT_BYTES_MAX;
                    continue;
                }
                let data = String::from_utf8(data).map_err(io::Error::other)?;
                let kind = if kind.is_empty() { "message".to_owned() } else { kind };
                return Ok(Some(Event { kind, data }));
            }
            let (name, value) = field(&line);
            match name {
                b"event" => kind = String::from_utf8_lossy(value).into_owned(),
                b"data" => {
                    if !data.is_empty() {
                        data.push(b'\n');
                    }
                    data.extend_from_slice(value);
                }
                // A comment (nothing before the colon) is a sign of life; other fields mean nothing to us.
                _ => continue,
            }
            is_empty = false;
        }
    }
}

/// `name: value`, with at most one space taken off the value.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    let Some(colon) = line.iter().position(|byte| *byte == b':') else {
        return (line, b"");
    };
    let value = &line[colon + 1..];
    (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Vec<(String, String)> {
        // A buffer of one byte: every boundary is a boundary between two reads.
        let mut events = Events { reader: BufReader::with_capacity(1, text.as_bytes()) };
        let mut found = Vec::new();
        while let Some(event) = events.next_event().unwrap() {
            found.push((event.kind, event.data));
        }
        found
    }

    fn event(kind: &str, data: &str) -> (String, String) {
        (kind.to_owned(), data.to_owned())
    }

    #[test]
    fn events_are_split_as_the_standard_says() {
        for (text, expected) in [
            ("event: next\ndata: {}\n\n", vec![event("next", "{}")]),
            ("event:next\r\ndata:{}\r\n\r\n", vec![event("next", "{}")]),
            (":\n\n: alive\n\nevent: complete\n\n", vec![event("complete", "")]),
            ("data: a\ndata: b\n\n", vec![event("message", "a\nb")]),
            ("id: 7\nretry: 5\n\n", vec![]),
            (
                "event: next\nid: 7\ndata: x\n\nevent: next\ndata: y\n\n",
                vec![event("next", "x"), event("next", "y")],
            ),
            ("event: next\ndata:  two\n\n", vec![event("next", " two")]),
            // Cut before the empty line: half an event is none.
            ("event: next\ndata: {}\n", vec![]),
            ("event: next\ndata: {\"a", vec![]),
        ] {
            assert_eq!(events(text), expected, "{text:?}");
        }
    }

    #[test]
    fn an_event_without_an_end_is_cut_off() {
        let endless = io::repeat(b'x');
        let mut events = Events { reader: BufReader::with_capacity(1 << 20, endless) };
        assert_eq!(events.next_event().unwrap_err().to_string(), "an event is too long");
    }
}
