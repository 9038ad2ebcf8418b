//! Owns how a page of output is made of chunks: which lines it takes, where a gap is told, and how much it looks at. It
//! must never read from the store.

use super::fault::Result;
use super::log_chunks::{Chunk, shown};
use super::logs::LogRead;
use crate::domain::limits::{
    LOG_PAGE_BYTES_MAX, LOG_SCAN_BYTES_MAX, LOG_SCAN_CHUNKS_MAX, LOG_SCAN_LAST_FACTOR,
};
use crate::domain::log::{LogCursor, LogFilter, LogLine};
use crate::domain::scalars::BigInt;

/// What one page may still look at, and give.
struct Budget {
    chunks: usize,
    bytes: usize,
    lines: usize,
    text_bytes: usize,
}

impl Budget {
    fn of((lines, text_bytes): (usize, usize), factor: usize) -> Budget {
        let (chunks, bytes) = (LOG_SCAN_CHUNKS_MAX * factor, LOG_SCAN_BYTES_MAX * factor);
        Budget { chunks, bytes, lines, text_bytes }
    }

    fn spend(&mut self, chunk: &Chunk) {
        self.chunks = self.chunks.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(chunk.bytes());
    }

    fn give(&mut self, line: &LogLine) {
        self.lines = self.lines.saturating_sub(1);
        self.text_bytes = self.text_bytes.saturating_sub(line.text.len());
    }

    /// Whether enough was looked at.
    fn is_spent(&self) -> bool {
        self.chunks == 0 || self.bytes == 0
    }

    /// Whether no further line has room.
    fn is_full(&self) -> bool {
        self.lines == 0 || self.text_bytes == 0
    }
}

/// A page that goes on from a position.
pub(super) struct Page {
    pub(super) read: LogRead,
    budget: Budget,
    /// Missing bytes that the next line tells of.
    gap: i64,
}

impl Page {
    /// Of at most so many lines and bytes.
    pub(super) fn behind(cursor: LogCursor, room: (usize, usize)) -> Page {
        let read = LogRead { lines: Vec::new(), cursor, has_more: false, dropped_bytes: 0 };
        Page { read, budget: Budget::of(room, 1), gap: 0 }
    }

    pub(super) fn is_spent(&self) -> bool {
        self.budget.is_spent()
    }

    /// Takes what is wanted of the next chunk; whether there was room for all of it.
    pub(super) fn take(&mut self, chunk: &Chunk, filter: &LogFilter) -> Result<bool> {
        self.budget.spend(chunk);
        if !chunk.can_hold(filter) {
            if self.budget.is_full() {
                return Ok(false);
            }
            self.pass(chunk);
            self.read.cursor.line = chunk.end();
            return Ok(true);
        }
        for line in chunk.lines()? {
            if line.number < self.read.cursor.line {
                continue;
            }
            if self.budget.is_full() {
                return Ok(false);
            }
            if line.number == chunk.first_line {
                self.pass(chunk);
            }
            self.read.cursor.line = line.number + 1;
            if filter.takes(line.stream, line.bytes) {
                let mut line = shown(&line, self.read.cursor.attempt);
                self.budget.give(&line);
                line.dropped_before = BigInt(std::mem::take(&mut self.gap));
                self.read.lines.push(line);
            }
        }
        Ok(true)
    }

    /// Goes over the gap before a chunk: it is told with the first line behind it. Who came from within the chunk has
    /// passed it already.
    fn pass(&mut self, chunk: &Chunk) {
        if self.read.cursor.line <= chunk.first_line {
            self.read.dropped_bytes += chunk.dropped_before;
            self.gap += chunk.dropped_before;
        }
    }
}

/// A page that goes back from a position.
pub(super) struct LastPage {
    before: LogCursor,
    newest_first: Vec<LogLine>,
    /// Behind the newest line that was looked at.
    end: Option<i64>,
    dropped_bytes: i64,
    budget: Budget,
}

impl LastPage {
    pub(super) fn before(before: LogCursor, lines: usize) -> LastPage {
        let budget = Budget::of((lines, LOG_PAGE_BYTES_MAX), LOG_SCAN_LAST_FACTOR);
        LastPage { before, newest_first: Vec::new(), end: None, dropped_bytes: 0, budget }
    }

    pub(super) fn is_spent(&self) -> bool {
        self.budget.is_spent()
    }

    /// Takes what is wanted of the chunk before; whether there was room for all of it.
    pub(super) fn take(&mut self, chunk: &Chunk, filter: &LogFilter) -> Result<bool> {
        self.budget.spend(chunk);
        if chunk.can_hold(filter) {
            for line in chunk.lines()?.into_iter().rev().filter(|line| line.number < self.before.line) {
                self.end = self.end.or(Some(line.number + 1));
                if self.budget.is_full() {
                    return Ok(false);
                }
                if filter.takes(line.stream, line.bytes) {
                    let line = shown(&line, self.before.attempt);
                    self.budget.give(&line);
                    self.newest_first.push(line);
                }
            }
        } else if self.budget.is_full() {
            return Ok(false);
        } else {
            self.end = self.end.or(Some(chunk.end().min(self.before.line)));
        }
        self.dropped_bytes += chunk.dropped_before;
        if let Some(oldest) = self.newest_first.last_mut() {
            oldest.dropped_before.0 += chunk.dropped_before;
        }
        Ok(true)
    }

    /// The page, oldest line first.
    pub(super) fn end(mut self) -> LogRead {
        self.newest_first.reverse();
        LogRead {
            lines: self.newest_first,
            cursor: LogCursor { attempt: self.before.attempt, line: self.end.unwrap_or(0) },
            has_more: self.budget.is_spent(),
            dropped_bytes: self.dropped_bytes,
        }
    }
}
