//! Owns the form in which lines lie in the store: packed together, compressed, and opened whole. What cannot be read
//! is refused, never guessed.

use super::db::Row;
use super::fault::{Fault, Result};
use crate::base::clock::Timestamp;
use crate::domain::id::AttemptId;
use crate::domain::log::{LogCursor, LogFilter, LogLine, LogStream, NewLine};
use crate::domain::scalars::BigInt;

/// Bytes beside those of the line: instant (8), stream (1), whether a newline ended it (1), length (4).
pub(super) const LINE_HEAD_BYTES: usize = 14;

/// Each line: its head, its bytes; then LZ4.
pub(super) fn pack(lines: &[NewLine]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(lines.iter().map(|line| line.bytes.len() + LINE_HEAD_BYTES).sum());
    for line in lines {
        plain.extend_from_slice(&line.at.0.to_le_bytes());
        plain.push(line.stream.number());
        plain.push(u8::from(line.is_line_end));
        plain.extend_from_slice(&u32::try_from(line.bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        plain.extend_from_slice(&line.bytes);
    }
    lz4_flex::compress_prepend_size(&plain)
}

/// A chunk as it lies in the store, unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Number of its first line, from 0.
    pub first_line: i64,
    /// Lines in it.
    pub line_count: i64,
    /// Bytes of output right before it that were not kept.
    pub dropped_before: i64,
    attempt: AttemptId,
    /// Heads and bytes of its lines, as `pack` put them.
    plain: Vec<u8>,
}

/// A line of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredLine<'a> {
    /// Its number in the log, from 0.
    pub number: i64,
    /// When it was read.
    pub at: Timestamp,
    /// Where it came from.
    pub stream: LogStream,
    /// The bytes, without the newline.
    pub bytes: &'a [u8],
    /// Whether a newline ended it.
    pub is_line_end: bool,
}

impl Chunk {
    /// Opens a row of `first_line, line_count, dropped_before, body`.
    pub(super) fn open(row: &Row, attempt: AttemptId) -> Result<Chunk> {
        let body: Vec<u8> = row.get(3)?;
        Ok(Chunk {
            first_line: row.get(0)?,
            line_count: row.get(1)?,
            dropped_before: row.get(2)?,
            attempt,
            plain: lz4_flex::decompress_size_prepended(&body).map_err(|_| unreadable(attempt))?,
        })
    }

    /// Number of the line behind its last one.
    pub fn end(&self) -> i64 {
        self.first_line + self.line_count
    }

    /// Its lines.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn lines(&self) -> Result<Vec<StoredLine<'_>>> {
        let mut lines =
            Vec::with_capacity(usize::try_from(self.line_count).unwrap_or(0).min(self.plain.len()));
        let (mut rest, mut number) = (self.plain.as_slice(), self.first_line);
        while !rest.is_empty() {
            let (line, behind) = first_of(rest, number).ok_or_else(|| unreadable(self.attempt))?;
            lines.push(line);
            (rest, number) = (behind, number + 1);
        }
        Ok(lines)
    }

    /// Whether the filter can take a line of it. Cheaper than to look at each.
    pub(super) fn can_hold(&self, filter: &LogFilter) -> bool {
        filter.can_take_of(&self.plain)
    }

    /// Bytes that its lines hold.
    pub(super) fn bytes(&self) -> usize {
        self.plain.len()
    }
}

/// The first line, and what lies behind it.
fn first_of(plain: &[u8], number: i64) -> Option<(StoredLine<'_>, &[u8])> {
    let (head, behind) = plain.split_at_checked(LINE_HEAD_BYTES)?;
    let length = u32::from_le_bytes(head[10..14].try_into().ok()?) as usize;
    let (bytes, behind) = behind.split_at_checked(length)?;
    let line = StoredLine {
        number,
        at: Timestamp(i64::from_le_bytes(head[..8].try_into().ok()?)),
        stream: LogStream::from_number(head[8])?,
        bytes,
        is_line_end: head[9] == 1,
    };
    Some((line, behind))
}

fn unreadable(attempt: AttemptId) -> Fault {
    Fault::unreadable("a chunk of the log", attempt)
}

/// A line as it is shown.
pub(super) fn shown(line: &StoredLine<'_>, attempt: AttemptId) -> LogLine {
    LogLine {
        cursor: LogCursor { attempt, line: line.number + 1 },
        at: line.at,
        stream: line.stream,
        text: String::from_utf8_lossy(line.bytes).into_owned(),
        is_truncated: !line.is_line_end,
        dropped_before: BigInt(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_byte_by_byte() {
        let lines: Vec<_> = [&b"plain"[..], b"", b"\xff\x00\xfe", &[b'x'; 16_384]]
            .into_iter()
            .enumerate()
            .map(|(index, bytes)| NewLine {
                at: Timestamp(1_700_000_000_000_000 + i64::try_from(index).unwrap()),
                stream: [LogStream::Stdout, LogStream::Stderr, LogStream::System][index % 3],
                bytes: bytes.to_vec(),
                is_line_end: index % 2 == 0,
            })
            .collect();
        let plain = lz4_flex::decompress_size_prepended(&pack(&lines)).unwrap();
        let (first_line, line_count, attempt) = (7, 4, AttemptId(1));
        let mut chunk = Chunk { first_line, line_count, dropped_before: 0, attempt, plain };
        let expected: Vec<_> = (7..)
            .zip(&lines)
            .map(|(number, NewLine { at, stream, bytes, is_line_end })| StoredLine {
                number,
                at: *at,
                stream: *stream,
                bytes,
                is_line_end: *is_line_end,
            })
            .collect();
        assert_eq!((chunk.lines().unwrap(), chunk.end()), (expected, 11));
        chunk.plain.truncate(chunk.plain.len() - 1);
        assert!(chunk.lines().is_err(), "a cut chunk is refused, not guessed");
    }
}
