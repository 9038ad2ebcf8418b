//! Owns the form in which lines lie in the store: packed together, compressed, and opened whole. What cannot be read
//! is refused, never guessed.

use super::db::Row;
use super::fault::{Fault, Result};
use crate::base::clock::Timestamp;
use crate::domain::id::AttemptId;
use crate::domain::log::{LogCursor, LogLine, LogStream, NewLine};
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

fn unpack(body: &[u8]) -> Option<Vec<NewLine>> {
    let plain = lz4_flex::decompress_size_prepended(body).ok()?;
    let mut rest = plain.as_slice();
    let mut lines = Vec::new();
    while !rest.is_empty() {
        let (head, behind) = rest.split_at_checked(LINE_HEAD_BYTES)?;
        let length = u32::from_le_bytes(head[10..14].try_into().ok()?) as usize;
        let (bytes, behind) = behind.split_at_checked(length)?;
        lines.push(NewLine {
            at: Timestamp(i64::from_le_bytes(head[..8].try_into().ok()?)),
            stream: LogStream::from_number(head[8])?,
            is_line_end: head[9] == 1,
            bytes: bytes.to_vec(),
        });
        rest = behind;
    }
    Some(lines)
}

/// A chunk as it lies in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Number of its first line, from 0.
    pub first_line: i64,
    /// Bytes of output right before it that were not kept.
    pub dropped_before: i64,
    /// Its lines.
    pub lines: Vec<NewLine>,
}

impl Chunk {
    /// Opens a row of `first_line, line_count, dropped_before, body`.
    pub(super) fn open(row: &Row, attempt: AttemptId) -> Result<Chunk> {
        let body: Vec<u8> = row.get(3)?;
        Ok(Chunk {
            first_line: row.get(0)?,
            dropped_before: row.get(2)?,
            lines: unpack(&body).ok_or_else(|| Fault::unreadable("a chunk of the log", attempt))?,
        })
    }

    /// The lines with their numbers.
    pub fn numbered(&self) -> impl DoubleEndedIterator<Item = (i64, &NewLine)> {
        let number = |index| self.first_line + i64::try_from(index).unwrap_or(i64::MAX);
        self.lines.iter().enumerate().map(move |(index, line)| (number(index), line))
    }

    /// Bytes that its lines hold.
    pub(super) fn bytes(&self) -> usize {
        self.lines.iter().map(|line| line.bytes.len() + LINE_HEAD_BYTES).sum()
    }
}

/// A line as it is shown.
pub(super) fn shown((number, line): (i64, &NewLine), attempt: AttemptId) -> LogLine {
    LogLine {
        cursor: LogCursor { attempt, line: number + 1 },
        at: line.at,
        stream: line.stream,
        text: String::from_utf8_lossy(&line.bytes).into_owned(),
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
        assert_eq!(unpack(&pack(&lines)).unwrap(), lines);
        let packed = pack(&lines);
        assert_eq!(unpack(&packed[..packed.len() / 2]), None, "a cut chunk is refused, not guessed");
    }
}
