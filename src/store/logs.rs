//! Owns output: lines in compressed chunks, apart from the state, with a cap and an honest gap.
//!
//! Trouble here never fails or holds up a job: what cannot be kept is counted as dropped.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::db::{Db, Kind, Row, Sql, Tx};
use super::fault::{FaultKind, Result};
use super::log_care::LogGuard;
pub use super::log_chunks::{Chunk, StoredLine};
use super::log_chunks::{LINE_HEAD_BYTES, pack};
use super::log_pages::{LastPage, Page};
use super::page;
use crate::args;
use crate::base::clock::Timestamp;
use crate::base::{background, points};
use crate::domain::id::AttemptId;
use crate::domain::limits::LOG_PAGE_BYTES_MAX;
use crate::domain::log::{LogCursor, LogFilter, LogLine, LogStream, NewLine};

/// Bytes of a log that are kept from its beginning, whatever follows.
pub const HEAD_BYTES: i64 = 1024 * 1024;

/// Bytes, before they are packed, that are packed apart from what somebody waits for.
const PACKED_APART_BYTES: usize = 64 * 1024;

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
    "INSERT INTO log_ends (attempt_id, line_count, byte_count, dropped_bytes)
     SELECT CAST(r.value ->> 'attempt' AS BIGINT), CAST(r.value ->> 'lines' AS BIGINT),
            CAST(r.value ->> 'bytes' AS BIGINT), CAST(r.value ->> 'dropped' AS BIGINT)
     FROM jsonb_each($1) AS r WHERE TRUE
     ON CONFLICT (attempt_id) DO NOTHING",
    &[Kind::Text],
);

const READ_ENDS: Sql = Sql::both(
    "SELECT line_count, byte_count, dropped_bytes, CAST(coalesce(forgotten_at_us, 0) AS BIGINT), attempt_id
     FROM log_ends WHERE attempt_id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))",
    &[Kind::Text],
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

const POSITIONS: Sql = Sql::both(
    "SELECT CAST(max(first_line + line_count) AS BIGINT), CAST(sum(byte_count) AS BIGINT),
            CAST(sum(dropped_before) AS BIGINT), attempt_id
     FROM log_chunks WHERE attempt_id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))
     GROUP BY attempt_id",
    &[Kind::Text],
);

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] =
    &[&INSERT, &DROP, &ADD_DROPPED, &END, &READ_ENDS, &READ, &READ_LAST, &POSITIONS];

/// Lines of one attempt on their way into one chunk.
#[derive(Debug, Clone)]
pub struct NewChunk {
    /// The attempt.
    pub attempt: AttemptId,
    /// Number of the first line, from 0.
    pub first_line: i64,
    /// The lines; never empty.
    pub lines: Arc<Vec<NewLine>>,
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
    /// Whether its lines were forgotten to make room.
    pub is_forgotten: bool,
}

impl LogEnd {
    /// Of an attempt that wrote nothing.
    pub fn of_nothing(attempt: AttemptId) -> LogEnd {
        LogEnd { attempt, line_count: 0, byte_count: 0, dropped_bytes: 0, is_forgotten: false }
    }

    /// Whether there was never anything to keep.
    pub fn is_of_nothing(&self) -> bool {
        (self.line_count, self.byte_count, self.dropped_bytes) == (0, 0, 0)
    }

    fn row(&self) -> serde_json::Value {
        serde_json::json!({
            "attempt": self.attempt.0,
            "lines": self.line_count,
            "bytes": self.byte_count,
            "dropped": self.dropped_bytes,
        })
    }
}

/// A log that nobody writes any more, and that has no end yet.
#[derive(Debug, Clone, Copy)]
pub struct Unended {
    /// The attempt.
    pub attempt: AttemptId,
    /// Bytes of output in all, as far as they were counted; zero when nobody knows.
    pub byte_count: i64,
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

impl LogTurn {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.dropped.is_empty() && self.ends.is_empty()
    }

    /// Adds the end of a log of which so much is kept and so many bytes were printed, with a remark of the gap.
    fn finish(&mut self, kept: LogEnd, printed_bytes: i64, now: Timestamp) {
        let gap = printed_bytes - kept.byte_count;
        if gap <= 0 {
            self.ends.push(kept);
            return;
        }
        self.chunks.push(NewChunk {
            attempt: kept.attempt,
            first_line: kept.line_count,
            lines: Arc::new(vec![gap_remark(gap, now)]),
            dropped_before: gap,
        });
        self.ends.push(LogEnd {
            line_count: kept.line_count + 1,
            byte_count: printed_bytes,
            dropped_bytes: kept.dropped_bytes + gap,
            ..kept
        });
    }
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
    pub(super) db: Arc<Db>,
    pub(super) guard: Arc<LogGuard>,
}

/// Chunks that one statement gives: the first of a page, the next ones, and those of a search.
const CHUNKS_AT_FIRST: i64 = 2;
const CHUNKS_PER_READ: i64 = 8;
const CHUNKS_PER_SCAN: i64 = 32;

impl Logs {
    /// The log store over `db`.
    pub(super) fn new(db: Arc<Db>, path: Option<&Path>) -> Logs {
        Logs { db, guard: Arc::new(LogGuard::new(path)) }
    }

    /// Writes what a turn gathered, in one transaction. Only the recorder calls this.
    pub async fn write(&self, turn: &LogTurn, now: Timestamp) -> Result<()> {
        self.guard.admit()?;
        self.write_and_note(turn, now).await
    }

    /// Ends logs with what is kept of them: what was printed and is not there is told behind the last line. One that has
    /// an end keeps it. Gives the ends of all, in any order.
    pub async fn finish(&self, left: &[Unended], now: Timestamp) -> Result<Vec<LogEnd>> {
        self.guard.admit_ends()?;
        let all: Vec<AttemptId> = left.iter().map(|one| one.attempt).collect();
        let mut ends = self.ends(&all).await?;
        let ended: HashSet<AttemptId> = ends.iter().map(|end| end.attempt).collect();
        let left = left.iter().filter(|one| !ended.contains(&one.attempt));
        let printed: HashMap<AttemptId, i64> = left.map(|one| (one.attempt, one.byte_count)).collect();
        if printed.is_empty() {
            return Ok(ends);
        }
        let open: Vec<AttemptId> = printed.keys().copied().collect();
        let mut turn = LogTurn::default();
        for kept in self.kept(&open).await? {
            turn.finish(kept, printed[&kept.attempt], now);
        }
        self.write_and_note(&turn, now).await?;
        ends.extend(turn.ends);
        Ok(ends)
    }

    async fn write_and_note(&self, turn: &LogTurn, now: Timestamp) -> Result<()> {
        let mut written = self.try_write(turn, now).await;
        // Rows that were on their way into the rest when their day was made are refused by PostgreSQL: all was undone.
        if self.is_in_days() && written.as_ref().is_err_and(|fault| fault.kind == FaultKind::Constraint) {
            written = self.try_write(turn, now).await;
        }
        self.guard.note(&written);
        written
    }

    async fn try_write(&self, turn: &LogTurn, now: Timestamp) -> Result<()> {
        let bodies = pack_all(&turn.chunks).await;
        let mut tx = self.db.begin().await?;
        for (chunk, body) in turn.chunks.iter().zip(bodies) {
            write_chunk(&mut tx, chunk, body, now).await?;
        }
        for dropped in &turn.dropped {
            tx.execute(&DROP, &args![dropped.attempt.0, dropped.first_line]).await?;
            let values = args![dropped.attempt.0, dropped.next_first_line, dropped.bytes];
            tx.execute(&ADD_DROPPED, &values).await?;
        }
        if !turn.ends.is_empty() {
            let rows = turn.ends.iter().map(LogEnd::row).collect();
            tx.execute(&END, &args![serde_json::Value::Array(rows).to_string()]).await?;
        }
        points::reach("log.before_commit");
        tx.commit().await?;
        points::reach("log.committed");
        Ok(())
    }

    /// Lines behind `after` that the filter takes, at most `limit`. A page looks at so much and ends there, be it
    /// without a line: `has_more` says that it goes on.
    pub async fn read(&self, after: LogCursor, filter: &LogFilter, limit: usize) -> Result<LogRead> {
        self.read_within(after, filter, (limit, LOG_PAGE_BYTES_MAX)).await
    }

    /// The same, of at most so many lines and bytes; the line that reaches these is the last one.
    pub async fn read_within(
        &self,
        after: LogCursor,
        filter: &LogFilter,
        room: (usize, usize),
    ) -> Result<LogRead> {
        let mut page = Page::behind(after, room);
        let mut at_once = if filter.is_all() { CHUNKS_AT_FIRST } else { CHUNKS_PER_SCAN };
        loop {
            let rows = self.db.rows(&READ, &args![after.attempt.0, page.read.cursor.line, at_once]).await?;
            for row in &rows {
                if !page.take(&Chunk::open(row, after.attempt)?, filter)? {
                    page.read.has_more = true;
                    return Ok(page.read);
                }
            }
            page.read.has_more = i64::try_from(rows.len()).is_ok_and(|count| count == at_once);
            if !page.read.has_more || page.is_spent() {
                return Ok(page.read);
            }
            at_once = at_once.max(CHUNKS_PER_READ);
        }
    }

    /// The newest lines before the line `before` that the filter takes, at most `limit`, oldest first. `has_more` says
    /// that the search ended before it had looked at everything older.
    pub async fn read_last(&self, before: LogCursor, filter: &LogFilter, limit: usize) -> Result<LogRead> {
        let mut page = LastPage::before(before, limit);
        let mut next = before.line;
        let mut at_once = CHUNKS_AT_FIRST;
        'chunks: while !page.is_spent() {
            let rows = self.db.rows(&READ_LAST, &args![before.attempt.0, next, at_once]).await?;
            let Some(row) = rows.last() else { break };
            next = row.get(0)?;
            for row in &rows {
                if !page.take(&Chunk::open(row, before.attempt)?, filter)? {
                    break 'chunks;
                }
            }
            at_once = CHUNKS_PER_READ;
        }
        Ok(page.end())
    }

    /// The chunk that holds the line at the cursor, else the next one that is kept.
    pub async fn chunk(&self, at: LogCursor) -> Result<Option<Chunk>> {
        let row = self.db.optional(&READ, &args![at.attempt.0, at.line, 1_i64]).await?;
        row.map(|row| Chunk::open(&row, at.attempt)).transpose()
    }

    /// Lets go of the pages that are kept in memory.
    pub async fn forget_pages(&self) {
        self.db.forget_pages().await;
    }

    /// The end of the attempt's log, once it is whole.
    pub async fn end(&self, attempt: AttemptId) -> Result<Option<LogEnd>> {
        Ok(self.ends(&[attempt]).await?.pop())
    }

    /// The same of several attempts, in any order.
    pub async fn ends(&self, attempts: &[AttemptId]) -> Result<Vec<LogEnd>> {
        let rows =
            self.db.rows(&READ_ENDS, &args![page::numbers(Some(attempts), |attempt| attempt.0)]).await?;
        let end = |row: &Row| {
            Ok(LogEnd {
                attempt: AttemptId(row.get(4)?),
                line_count: row.get(0)?,
                byte_count: row.get(1)?,
                dropped_bytes: row.get(2)?,
                is_forgotten: row.get::<i64>(3)? > 0,
            })
        };
        rows.iter().map(end).collect()
    }

    /// What is kept of attempts whose recorder died, in any order: their ends as far as anybody can know.
    pub async fn kept(&self, attempts: &[AttemptId]) -> Result<Vec<LogEnd>> {
        let rows =
            self.db.rows(&POSITIONS, &args![page::numbers(Some(attempts), |attempt| attempt.0)]).await?;
        let mut ends: HashMap<_, _> =
            attempts.iter().map(|attempt| (*attempt, LogEnd::of_nothing(*attempt))).collect();
        for row in rows {
            let attempt = AttemptId(row.get(3)?);
            let (line_count, kept, dropped_bytes) = (row.get(0)?, row.get::<i64>(1)?, row.get(2)?);
            let byte_count = kept + dropped_bytes;
            ends.insert(
                attempt,
                LogEnd { attempt, line_count, byte_count, dropped_bytes, is_forgotten: false },
            );
        }
        Ok(ends.into_values().collect())
    }
}

/// The bodies of the chunks; those of a flood are packed where it holds up nobody.
async fn pack_all(chunks: &[NewChunk]) -> Vec<Vec<u8>> {
    let line_count: usize = chunks.iter().map(|chunk| chunk.lines.len()).sum();
    let byte_count: usize = chunks.iter().flat_map(|chunk| chunk.lines.iter()).map(line_bytes).sum();
    if line_count * LINE_HEAD_BYTES + byte_count < PACKED_APART_BYTES {
        return chunks.iter().map(|chunk| pack(&chunk.lines)).collect();
    }
    let chunks: Vec<_> = chunks.iter().map(|chunk| Arc::clone(&chunk.lines)).collect();
    background::run(move || chunks.iter().map(|lines| pack(lines)).collect()).await
}

async fn write_chunk(tx: &mut Tx, chunk: &NewChunk, body: Vec<u8>, now: Timestamp) -> Result<()> {
    let bytes: usize = chunk.lines.iter().map(line_bytes).sum();
    let values = args![
        chunk.attempt.0,
        chunk.first_line,
        i64::try_from(chunk.lines.len()).unwrap_or(i64::MAX),
        i64::try_from(bytes).unwrap_or(i64::MAX),
        chunk.dropped_before,
        now.0,
        body,
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

/// The remark behind the last line of a log that so many bytes are missing there.
pub fn gap_remark(bytes: i64, now: Timestamp) -> NewLine {
    let bytes = format!("{bytes} bytes of output were not kept").into_bytes();
    NewLine { at: now, stream: LogStream::System, bytes, is_line_end: false }
}
