//! Owns what is known of a log that is being written: how lines become chunks, what makes room, and what is missing. It
//! must never count a byte twice, nor lose one without a count.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::clock::Timestamp;
use crate::domain::id::AttemptId;
use crate::domain::log::NewLine;
use crate::store::logs::{DroppedChunk, HEAD_BYTES, LogEnd, NewChunk, gap_remark, line_bytes};

/// Lines and bytes that end a chunk: a reader unpacks a chunk whole.
const CHUNK_LINES: usize = 4_096;
const CHUNK_BYTES: usize = 256 * 1024;

/// A chunk that is on the disk.
#[derive(Debug, Clone, Copy)]
struct Kept {
    first_line: i64,
    bytes: i64,
    dropped_before: i64,
}

/// How the room of one log is shared out. Its beginning is kept whatever follows, and never all of the room: the end
/// says why it ended.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Room {
    cap_bytes: i64,
    head_bytes: i64,
    /// Bytes that close a chunk.
    chunk_limit: usize,
}

impl Room {
    pub(super) fn of(cap_bytes: i64) -> Room {
        let eighth = usize::try_from(cap_bytes / 8).unwrap_or(CHUNK_BYTES);
        Room { cap_bytes, head_bytes: HEAD_BYTES.min(cap_bytes / 2), chunk_limit: CHUNK_BYTES.min(eighth) }
    }
}

/// What is known of a log that is being written.
#[derive(Debug, Default)]
pub(super) struct Open {
    room: Room,
    pub(super) next_line: i64,
    total_bytes: i64,
    dropped_bytes: i64,
    /// Dropped bytes that the next chunk must tell of.
    gap: i64,
    head_bytes: i64,
    /// Chunks behind the head, oldest first: they make room when the cap is reached.
    tail: VecDeque<Kept>,
    tail_bytes: i64,
    pub(super) gathered: Vec<NewLine>,
}

impl Open {
    pub(super) fn new(room: Room) -> Open {
        Open { room, ..Open::default() }
    }

    /// Counts bytes that never came here; the next chunk tells of them.
    pub(super) fn lose(&mut self, bytes: i64, attempt: AttemptId, ready: &mut Vec<NewChunk>) {
        if bytes == 0 {
            return;
        }
        // What was gathered before the gap belongs before it.
        self.cut(attempt, ready);
        self.gap += bytes;
        self.dropped_bytes += bytes;
        self.total_bytes += bytes;
    }

    /// A gap behind the last line is told by a line of our own.
    pub(super) fn tell_gap(&mut self, now: Timestamp) {
        if self.gap > 0 {
            self.gathered.push(gap_remark(self.gap, now));
        }
    }

    /// Makes chunks of what was gathered.
    pub(super) fn cut(&mut self, attempt: AttemptId, chunks: &mut Vec<NewChunk>) {
        let mut lines = std::mem::take(&mut self.gathered).into_iter().peekable();
        while lines.peek().is_some() {
            let mut part = Vec::new();
            let mut part_bytes = 0;
            while part.len() < CHUNK_LINES && part_bytes < self.room.chunk_limit {
                let fits = |line: &NewLine| {
                    part.is_empty() || part_bytes + line_bytes(line) <= self.room.chunk_limit
                };
                let Some(line) = lines.next_if(fits) else { break };
                part_bytes += line_bytes(&line);
                part.push(line);
            }
            let dropped_before = std::mem::take(&mut self.gap);
            let chunk =
                NewChunk { attempt, first_line: self.next_line, lines: Arc::new(part), dropped_before };
            self.add(&chunk);
            chunks.push(chunk);
        }
    }

    fn add(&mut self, chunk: &NewChunk) {
        let bytes = chunk_bytes(chunk);
        self.next_line += i64::try_from(chunk.lines.len()).unwrap_or(i64::MAX);
        self.total_bytes += bytes;
        // Whole chunks: the head may reach over its size, but not into the room of the end.
        let fits = self.head_bytes == 0
            || (self.head_bytes < self.room.head_bytes && self.head_bytes + bytes <= self.room.cap_bytes / 2);
        if fits && self.tail.is_empty() {
            self.head_bytes += bytes;
        } else {
            self.tail_bytes += bytes;
            let (first_line, dropped_before) = (chunk.first_line, chunk.dropped_before);
            self.tail.push_back(Kept { first_line, bytes, dropped_before });
        }
    }

    /// Drops old chunks behind the head while the log is larger than it may be.
    pub(super) fn make_room(&mut self, attempt: AttemptId, dropped: &mut Vec<DroppedChunk>) {
        while self.head_bytes + self.tail_bytes > self.room.cap_bytes && self.tail.len() > 1 {
            let Some(oldest) = self.tail.pop_front() else { return };
            self.tail_bytes -= oldest.bytes;
            self.dropped_bytes += oldest.bytes;
            if let Some(next) = self.tail.front_mut() {
                let bytes = oldest.bytes + oldest.dropped_before;
                next.dropped_before += bytes;
                dropped.push(DroppedChunk {
                    attempt,
                    first_line: oldest.first_line,
                    next_first_line: next.first_line,
                    bytes,
                    own_bytes: oldest.bytes,
                });
            }
        }
    }

    /// The chunk could not be dropped: it is still there.
    pub(super) fn take_back(&mut self, dropped: &DroppedChunk) {
        if let Some(next) = self.tail.front_mut() {
            next.dropped_before -= dropped.bytes;
        }
        let dropped_before = dropped.bytes - dropped.own_bytes;
        self.tail.push_front(Kept {
            first_line: dropped.first_line,
            bytes: dropped.own_bytes,
            dropped_before,
        });
        self.tail_bytes += dropped.own_bytes;
        self.dropped_bytes -= dropped.own_bytes;
    }

    /// The chunk could not be written: it is a gap.
    pub(super) fn forget(&mut self, chunk: &NewChunk) {
        let bytes = chunk_bytes(chunk);
        let kept = self.tail.len();
        self.tail.retain(|kept| kept.first_line != chunk.first_line);
        if self.tail.len() < kept {
            self.tail_bytes -= bytes;
        } else {
            self.head_bytes -= bytes;
        }
        self.dropped_bytes += bytes;
        self.gap += bytes + chunk.dropped_before;
    }

    pub(super) fn end(&self, attempt: AttemptId) -> LogEnd {
        LogEnd {
            attempt,
            line_count: self.next_line,
            byte_count: self.total_bytes,
            dropped_bytes: self.dropped_bytes,
            is_forgotten: false,
        }
    }
}

/// Bytes of output in a chunk; our own remarks are none.
pub(super) fn chunk_bytes(chunk: &NewChunk) -> i64 {
    i64::try_from(chunk.lines.iter().map(line_bytes).sum::<usize>()).unwrap_or(i64::MAX)
}
