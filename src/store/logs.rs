//! Owns output: lines in compressed chunks, apart from the state, with a cap and an honest gap.
//!
//! Trouble here never fails or holds up a job: what cannot be kept is counted as dropped.

use std::sync::Arc;

use super::db::{Db, Kind, Row, Sql, Tx};
use super::fault::{Fault, Result};
use super::page;
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::id::AttemptId;
use crate::domain::limits::LOG_PAGE_BYTES_MAX;
use crate::domain::log::{LogCursor, LogLine, LogStream, NewLine};

/// Bytes of a log that are kept from its beginning, whatever follows.
pub const HEAD_BYTES: i64 = 1024 * 1024;

const INSERT: Sql = Sql::both(
    "INSERT INTO log_chunks (attempt_id, first_line, line_count, byte_count, dropped_before, written_at_us, body)
     VALUES ($1, $2, $3, $4, $5, $6, $7)",
    &[Kind::Int, Kind::Int, Kind::Int, Kind::Int, Kind::Int, Kind::Int, Kind::Bytes],
);

const DROP: Sql =
    Sql::both("DELETE FROM log_chunks WHERE attempt_id = $1 AND first_line = $2", &[Kind::Int, Kind::Int]);

const ADD_DROPPED: Sql = Sql::both(
    "UPDATE log_chunks SET dropped_before = dropped_before + $3 WHERE attempt_id = $1 AND first_line = $2",
    &[Kind::Int, Kind::Int, Kind::Int],
);

const END: Sql = Sql::both(
    "INSERT INTO log_ends (attempt_id, line_count, byte_count, dropped_bytes) VALUES ($1, $2, $3, $4)
     ON CONFLICT (attempt_id) DO NOTHING",
    &[Kind::Int, Kind::Int, Kind::Int, Kind::Int],
);

const READ_END: Sql = Sql::both(
    "SELECT line_count, byte_count, dropped_bytes FROM log_ends WHERE attempt_id = $1",
    &[Kind::Int],
);

// Begins at the last chunk that starts at the line or before it: who follows a long log does not walk it each time.
const READ: Sql = Sql::both(
    "SELECT first_line, line_count, dropped_before, body FROM log_chunks
     WHERE attempt_id = $1
       AND first_line >= coalesce((SELECT max(begun.first_line) FROM log_chunks AS begun
                                   WHERE begun.attempt_id = $1 AND begun.first_line <= $2), 0)
       AND first_line + line_count > $2
     ORDER BY first_line
     LIMIT $3",
    &[Kind::Int, Kind::Int, Kind::Int],
);

const READ_LAST: Sql = Sql::both(
    "SELECT first_line, line_count, dropped_before, body FROM log_chunks
     WHERE attempt_id = $1 AND first_line < $2
     ORDER BY first_line DESC
     LIMIT $3",
    &[Kind::Int, Kind::Int, Kind::Int],
);

const POSITION: Sql = Sql::both(
    "SELECT CAST(coalesce(max(first_line + line_count), 0) AS BIGINT), CAST(coalesce(sum(byte_count), 0) AS BIGINT),
            CAST(coalesce(sum(dropped_before), 0) AS BIGINT)
     FROM log_chunks WHERE attempt_id = $1",
    &[Kind::Int],
);

const DELETE_CHUNKS: Sql = Sql::both(
    "DELETE FROM log_chunks WHERE attempt_id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))",
    &[Kind::Text],
);

const DELETE_ENDS: Sql = Sql::both(
    "DELETE FROM log_ends WHERE attempt_id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))",
    &[Kind::Text],
);

const TOTAL: Sql = Sql::each(
    "SELECT (page_count - freelist_count) * page_size
     FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()",
    "SELECT pg_total_relation_size('log_chunks')",
    &[],
);

const OLDEST_ENDED: Sql = Sql::both(
    "SELECT log_chunks.attempt_id, CAST(sum(length(log_chunks.body)) AS BIGINT) FROM log_chunks
     JOIN log_ends ON log_ends.attempt_id = log_chunks.attempt_id
     GROUP BY log_chunks.attempt_id
     ORDER BY log_chunks.attempt_id
     LIMIT $1",
    &[Kind::Int],
);

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[
    &INSERT,
    &DROP,
    &ADD_DROPPED,
    &END,
    &READ_END,
    &READ,
    &READ_LAST,
    &POSITION,
    &DELETE_CHUNKS,
    &DELETE_ENDS,
    &TOTAL,
    &OLDEST_ENDED,
];

/// Lines of one attempt on their way into one chunk.
#[derive(Debug, Clone)]
pub struct NewChunk {
    /// The attempt.
    pub attempt: AttemptId,
    /// Number of the first line, from 0.
    pub first_line: i64,
    /// The lines; never empty.
    pub lines: Vec<NewLine>,
    /// Bytes of output right before it that were not kept.
    pub dropped_before: i64,
}

/// A chunk to be forgotten, and the one behind it that remembers how much is missing.
#[derive(Debug, Clone, Copy)]
pub struct DroppedChunk {
    /// The attempt.
    pub attempt: AttemptId,
    /// The chunk's first line.
    pub first_line: i64,
    /// First line of the chunk behind it.
    pub next_first_line: i64,
    /// Bytes that will be missing before that one: the chunk's own and those that were missing before it.
    pub bytes: i64,
    /// The chunk's own bytes.
    pub own_bytes: i64,
}

/// The end of an attempt's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEnd {
    /// The attempt.
    pub attempt: AttemptId,
    /// Lines in all, dropped ones included.
    pub line_count: i64,
    /// Bytes of output in all.
    pub byte_count: i64,
    /// Bytes of output that were not kept.
    pub dropped_bytes: i64,
}

/// What one turn of the recorder writes.
#[derive(Debug, Default)]
pub struct LogTurn {
    /// New chunks.
    pub chunks: Vec<NewChunk>,
    /// Chunks that make room.
    pub dropped: Vec<DroppedChunk>,
    /// Logs that are whole now.
    pub ends: Vec<LogEnd>,
}

/// Lines that were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRead {
    /// The lines, oldest first.
    pub lines: Vec<LogLine>,
    /// Behind the last line.
    pub cursor: LogCursor,
    /// Whether more can be read at once.
    pub has_more: bool,
    /// Bytes that are missing between the lines.
    pub dropped_bytes: i64,
}

/// The log store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Logs {
    db: Arc<Db>,
}

/// Chunks that one read opens at most.
const CHUNKS_PER_READ: i64 = 8;

impl Logs {
    /// The log store over `db`.
    pub fn new(db: Arc<Db>) -> Logs {
        Logs { db }
    }

    /// Writes what a turn gathered, in one transaction. Only the recorder calls this.
    pub async fn write(&self, turn: &LogTurn, now: Timestamp) -> Result<()> {
        let mut tx = self.db.begin().await?;
        for chunk in &turn.chunks {
            write_chunk(&mut tx, chunk, now).await?;
        }
        for dropped in &turn.dropped {
            tx.execute(&DROP, &args![dropped.attempt.0, dropped.first_line]).await?;
            let values = args![dropped.attempt.0, dropped.next_first_line, dropped.bytes];
            tx.execute(&ADD_DROPPED, &values).await?;
        }
        for end in &turn.ends {
            let values = args![end.attempt.0, end.line_count, end.byte_count, end.dropped_bytes];
            tx.execute(&END, &values).await?;
        }
        tx.commit().await
    }

    /// Lines behind `after`, of the streams wanted (empty means all), at most `limit`.
    pub async fn read(&self, after: LogCursor, streams: &[LogStream], limit: usize) -> Result<LogRead> {
        let values = args![after.attempt.0, after.line, CHUNKS_PER_READ];
        let rows = self.db.rows(&READ, &values).await?;
        let mut read = LogRead { lines: Vec::new(), cursor: after, has_more: false, dropped_bytes: 0 };
        let mut bytes = 0;
        for row in &rows {
            let chunk = Chunk::open(row, after.attempt)?;
            for (line, text) in chunk.lines(after.attempt) {
                if line < after.line {
                    continue;
                }
                if read.lines.len() == limit || bytes >= LOG_PAGE_BYTES_MAX {
                    read.has_more = true;
                    return Ok(read);
                }
                // The gap is told with the first line behind it.
                if line == chunk.first_line {
                    read.dropped_bytes += chunk.dropped_before;
                }
                read.cursor.line = line + 1;
                if streams.is_empty() || streams.contains(&text.stream) {
                    bytes += text.text.len();
                    read.lines.push(text);
                }
            }
        }
        read.has_more = i64::try_from(rows.len()).is_ok_and(|count| count == CHUNKS_PER_READ);
        Ok(read)
    }

    /// The newest lines of the streams wanted (empty means all), at most `limit`, oldest first.
    pub async fn read_last(
        &self,
        attempt: AttemptId,
        streams: &[LogStream],
        limit: usize,
    ) -> Result<LogRead> {
        let mut newest_first: Vec<LogLine> = Vec::new();
        let (mut before, mut end, mut bytes, mut dropped_bytes) = (i64::MAX, None, 0, 0);
        'chunks: loop {
            let rows = self.db.rows(&READ_LAST, &args![attempt.0, before, 8_i64]).await?;
            let Some(row) = rows.last() else { break };
            before = row.get(0)?;
            for row in &rows {
                let chunk = Chunk::open(row, attempt)?;
                let lines = chunk.lines(attempt);
                end = end.or(lines.last().map(|(line, _)| line + 1));
                for (_, line) in lines.into_iter().rev() {
                    if newest_first.len() == limit || bytes >= LOG_PAGE_BYTES_MAX {
                        break 'chunks;
                    }
                    if streams.is_empty() || streams.contains(&line.stream) {
                        bytes += line.text.len();
                        newest_first.push(line);
                    }
                }
                dropped_bytes += chunk.dropped_before;
            }
        }
        newest_first.reverse();
        let cursor = LogCursor { attempt, line: end.unwrap_or(0) };
        Ok(LogRead { lines: newest_first, cursor, has_more: false, dropped_bytes })
    }

    /// The end of the attempt's log, once it is whole.
    pub async fn end(&self, attempt: AttemptId) -> Result<Option<LogEnd>> {
        let row = self.db.optional(&READ_END, &args![attempt.0]).await?;
        row.map(|row| {
            Ok(LogEnd {
                attempt,
                line_count: row.get(0)?,
                byte_count: row.get(1)?,
                dropped_bytes: row.get(2)?,
            })
        })
        .transpose()
    }

    /// What is kept of an attempt whose recorder died: its end as far as anybody can know.
    pub async fn kept(&self, attempt: AttemptId) -> Result<LogEnd> {
        let row = page::one(self.db.optional(&POSITION, &args![attempt.0]).await?)?;
        let dropped_bytes: i64 = row.get(2)?;
        let kept: i64 = row.get(1)?;
        Ok(LogEnd { attempt, line_count: row.get(0)?, byte_count: kept + dropped_bytes, dropped_bytes })
    }

    /// Forgets the logs of these attempts.
    pub async fn forget(&self, attempts: &[AttemptId]) -> Result<()> {
        let ids = page::numbers(Some(attempts), |id| id.0);
        let mut tx = self.db.begin().await?;
        tx.execute(&DELETE_CHUNKS, &args![ids.clone()]).await?;
        tx.execute(&DELETE_ENDS, &args![ids]).await?;
        tx.commit().await
    }

    /// Bytes that all logs take on disk, compressed.
    pub async fn total_bytes(&self) -> Result<i64> {
        page::one(self.db.optional(&TOTAL, &[]).await?)?.get(0)
    }

    /// The oldest ended attempts with the bytes that their logs take, at most `limit`.
    pub async fn oldest(&self, limit: usize) -> Result<Vec<(AttemptId, i64)>> {
        let rows = self.db.rows(&OLDEST_ENDED, &args![i64::try_from(limit).unwrap_or(i64::MAX)]).await?;
        rows.iter().map(|row| Ok((AttemptId(row.get(0)?), row.get(1)?))).collect()
    }
}

async fn write_chunk(tx: &mut Tx, chunk: &NewChunk, now: Timestamp) -> Result<()> {
    let bytes: usize = chunk.lines.iter().map(line_bytes).sum();
    let values = args![
        chunk.attempt.0,
        chunk.first_line,
        i64::try_from(chunk.lines.len()).unwrap_or(i64::MAX),
        i64::try_from(bytes).unwrap_or(i64::MAX),
        chunk.dropped_before,
        now.0,
        pack(&chunk.lines),
    ];
    tx.execute(&INSERT, &values).await?;
    Ok(())
}

/// Bytes of output that a line stands for, its newline included; a remark of ours stands for none.
pub fn line_bytes(line: &NewLine) -> usize {
    if line.stream == LogStream::System {
        return 0;
    }
    line.bytes.len() + usize::from(line.is_line_end)
}

/// Each line: instant (8), stream (1), whether a newline ended it (1), length (4), bytes; then LZ4.
fn pack(lines: &[NewLine]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(lines.iter().map(|line| line.bytes.len() + 14).sum());
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
        let (head, behind) = rest.split_at_checked(14)?;
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

struct Chunk {
    first_line: i64,
    dropped_before: i64,
    lines: Vec<NewLine>,
}

impl Chunk {
    fn open(row: &Row, attempt: AttemptId) -> Result<Chunk> {
        let body: Vec<u8> = row.get(3)?;
        Ok(Chunk {
            first_line: row.get(0)?,
            dropped_before: row.get(2)?,
            lines: unpack(&body).ok_or_else(|| Fault::unreadable("a chunk of the log", attempt))?,
        })
    }

    fn lines(&self, attempt: AttemptId) -> Vec<(i64, LogLine)> {
        self.lines
            .iter()
            .zip(self.first_line..)
            .map(|(line, number)| {
                let shown = LogLine {
                    cursor: LogCursor { attempt, line: number + 1 },
                    at: line.at,
                    stream: line.stream,
                    text: String::from_utf8_lossy(&line.bytes).into_owned(),
                    is_truncated: !line.is_line_end,
                };
                (number, shown)
            })
            .collect()
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
