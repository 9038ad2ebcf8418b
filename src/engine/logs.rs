//! Owns reading output: a page of it, the newest of it, or the whole as one text that is made while it is sent.
//! What is missing is told where it is missing, and never passed over.

use futures_util::stream::{self, BoxStream, StreamExt as _};

use super::Engine;
use crate::domain::attempt::Attempt;
use crate::domain::id::AttemptId;
use crate::domain::log::{LogBatch, LogCursor, LogFilter, LogStream};
use crate::domain::scalars::BigInt;
use crate::store::logs::{Chunk, LogEnd, Logs};
use crate::store::{Fault, FaultKind};

/// What stands before a remark of ours in a text of output.
const REMARK: &[u8] = b"[beadle] ";

/// A whole log on its way out.
pub enum Download {
    /// It was forgotten to make room.
    Forgotten,
    /// Its text, part by part.
    Text(BoxStream<'static, Result<Vec<u8>, Fault>>),
}

impl Engine {
    /// The cursor at the beginning of an attempt's log; of no attempt when there is none.
    pub fn log_start(attempt: Option<AttemptId>) -> LogCursor {
        LogCursor { attempt: attempt.unwrap_or(AttemptId(0)), line: 0 }
    }

    /// A page of an attempt's log behind `after`, of at most so many lines and bytes.
    pub async fn read_log(
        &self,
        attempt: &Attempt,
        after: i64,
        filter: &LogFilter,
        most: (usize, usize),
    ) -> Result<LogBatch, Fault> {
        // Whether it has ended is asked first: what is read after that is all there is.
        let end = self.logs.end(attempt.id).await?;
        if let Some(end) = end.filter(|end| end.is_forgotten) {
            return Ok(forgotten(attempt, end, after));
        }
        let read =
            self.logs.read_within(LogCursor { attempt: attempt.id, line: after }, filter, most).await?;
        let at_end = match end {
            Some(end) => read.cursor.line >= end.line_count || (!read.has_more && read.lines.is_empty()),
            // There never was anything, or the log store gave up on it: what is there is all there will be.
            None => read.lines.is_empty() && self.recorder.news().reached(attempt.id).is_none(),
        };
        Ok(LogBatch {
            attempt: attempt.number,
            lines: read.lines,
            cursor: read.cursor,
            has_more: read.has_more,
            is_complete: at_end && !read.has_more && attempt.outcome.is_some(),
            dropped_bytes: BigInt(read.dropped_bytes),
            is_forgotten: false,
        })
    }

    /// The newest lines of an attempt's log before the line `before`.
    pub async fn read_last_log(
        &self,
        attempt: &Attempt,
        before: i64,
        filter: &LogFilter,
        limit: usize,
    ) -> Result<LogBatch, Fault> {
        let end = self.logs.end(attempt.id).await?;
        if let Some(end) = end.filter(|end| end.is_forgotten) {
            return Ok(forgotten(attempt, end, 0));
        }
        let before = LogCursor { attempt: attempt.id, line: before };
        let read = self.logs.read_last(before, filter, limit).await?;
        let read_all = self.recorder.news().reached(attempt.id).is_none();
        Ok(LogBatch {
            attempt: attempt.number,
            lines: read.lines,
            cursor: read.cursor,
            has_more: read.has_more,
            is_complete: (end.is_some() || read_all) && attempt.outcome.is_some(),
            dropped_bytes: BigInt(read.dropped_bytes),
            is_forgotten: false,
        })
    }

    /// The whole log of an attempt, or of one stream of it, as a text; of a running one what is there now.
    pub async fn download(&self, attempt: AttemptId, only: Option<LogStream>) -> Result<Download, Fault> {
        let end = match self.logs.end(attempt).await? {
            Some(end) if end.is_forgotten => return Ok(Download::Forgotten),
            Some(end) => end,
            None => self.logs.kept(&[attempt]).await?.pop().unwrap_or_else(|| LogEnd::of_nothing(attempt)),
        };
        let text = Text { logs: self.logs.clone(), end, only, line: 0, told_bytes: 0, is_line_start: true };
        Ok(Download::Text(
            stream::unfold(Some(text), |text| async move {
                let mut text = text?;
                match text.next().await {
                    Ok(Some(part)) => Some((Ok(part), Some(text))),
                    Ok(None) => None,
                    Err(fault) => Some((Err(fault), None)),
                }
            })
            .boxed(),
        ))
    }
}

/// What is said of a log that is no longer there. Who stands at its end already is told nothing new.
fn forgotten(attempt: &Attempt, end: LogEnd, after: i64) -> LogBatch {
    let dropped = if after < end.line_count { end.byte_count } else { 0 };
    LogBatch {
        attempt: attempt.number,
        lines: Vec::new(),
        cursor: LogCursor { attempt: attempt.id, line: end.line_count.max(after) },
        has_more: false,
        is_complete: attempt.outcome.is_some(),
        dropped_bytes: BigInt(dropped),
        is_forgotten: true,
    }
}

/// A log as a text, made chunk by chunk.
struct Text {
    logs: Logs,
    /// As far as it goes.
    end: LogEnd,
    only: Option<LogStream>,
    line: i64,
    /// Missing bytes that were told of.
    told_bytes: i64,
    is_line_start: bool,
}

impl Text {
    /// The next part; `None` at the end. A part may be empty.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        if self.line >= self.end.line_count {
            return Ok(self.rest());
        }
        let attempt = self.end.attempt;
        if let Some(chunk) = self.logs.chunk(LogCursor { attempt, line: self.line }).await? {
            return Ok(Some(self.write(&chunk)?));
        }
        // Nothing is left: either the last lines never came to the store, or the log has just made room.
        let is_there = self.logs.end(attempt).await?.is_some_and(|end| !end.is_forgotten);
        if !is_there && self.end.byte_count > 0 {
            return Err(Fault::new(
                FaultKind::Io,
                format!("the log of {attempt} was forgotten while it was read"),
            ));
        }
        self.line = self.end.line_count;
        Ok(self.rest())
    }

    fn write(&mut self, chunk: &Chunk) -> Result<Vec<u8>, Fault> {
        let mut part = Vec::new();
        for line in chunk.lines()? {
            if line.number < self.line || line.number >= self.end.line_count {
                continue;
            }
            if line.number == chunk.first_line && chunk.dropped_before > 0 {
                self.told_bytes += chunk.dropped_before;
                self.tell_gap(&mut part, chunk.dropped_before);
            }
            self.line = line.number + 1;
            if line.stream == LogStream::System && self.only.is_none() {
                self.remark(&mut part, line.bytes);
            } else if line.stream != LogStream::System && self.only.is_none_or(|only| only == line.stream) {
                part.extend_from_slice(line.bytes);
                if line.is_line_end {
                    part.push(b'\n');
                }
                self.is_line_start = line.is_line_end;
            }
        }
        // Of a running attempt more may have come since.
        if chunk.first_line >= self.end.line_count {
            self.line = self.end.line_count;
        }
        Ok(part)
    }

    /// What is missing behind the last line; a remark of its own says so where remarks are shown.
    fn rest(&mut self) -> Option<Vec<u8>> {
        let untold = self.end.dropped_bytes - self.told_bytes;
        self.told_bytes = self.end.dropped_bytes;
        let mut part = Vec::new();
        if untold > 0 && self.only.is_some() {
            self.tell_gap(&mut part, untold);
        }
        (!part.is_empty()).then_some(part)
    }

    fn tell_gap(&mut self, part: &mut Vec<u8>, bytes: i64) {
        self.remark(part, format!("{bytes} bytes of output were not kept").as_bytes());
    }

    fn remark(&mut self, part: &mut Vec<u8>, text: &[u8]) {
        if !self.is_line_start {
            part.push(b'\n');
        }
        part.extend_from_slice(REMARK);
        part.extend_from_slice(text);
        part.push(b'\n');
        self.is_line_start = true;
    }
}
