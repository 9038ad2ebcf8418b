//! Owns the room that logs take: what they weigh, which go first, and how they go. What is forgotten says so for as
//! long as its attempt is known; the log of an attempt that still runs is never touched.

use super::db::{Kind, Sql};
use super::fault::Result;
use super::logs::Logs;
use super::page;
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::id::AttemptId;

/// Logs that one transaction removes with their attempts.
const REMOVED_AT_ONCE: usize = 16;

const DELETE_CHUNKS: Sql = Sql::both(
    "DELETE FROM log_chunks WHERE attempt_id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))",
    &[Kind::Text],
);

pub(super) const DELETE_ENDS: Sql = Sql::both(
    "DELETE FROM log_ends WHERE attempt_id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))",
    &[Kind::Text],
);

const MARK: Sql = Sql::both(
    "UPDATE log_ends SET forgotten_at_us = $2, dropped_bytes = byte_count
     WHERE attempt_id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1)) AND forgotten_at_us IS NULL",
    &[Kind::Text, Kind::Int],
);

const TOTAL: Sql = Sql::each(
    "SELECT (page_count - freelist_count) * page_size
     FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()",
    "SELECT CAST(coalesce(sum(pg_total_relation_size(relid)), 0) AS BIGINT) FROM pg_partition_tree('log_chunks')",
    &[],
);

// A table of PostgreSQL stays large for a while after its rows are gone: what it takes on disk says nothing of what
// is left to forget.
const WEIGHT: Sql = Sql::each(
    "SELECT (page_count - freelist_count) * page_size
     FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()",
    "SELECT CAST(coalesce(sum(octet_length(body)), 0) AS BIGINT) FROM log_chunks",
    &[],
);

const FILE: Sql = Sql::each(
    "SELECT page_count * page_size, page_size FROM pragma_page_count(), pragma_page_size()",
    "SELECT CAST(0 AS BIGINT), CAST(1 AS BIGINT)",
    &[],
);

// Frees that many pages at the end of the file. PostgreSQL vacuums by itself.
const GIVE_BACK: Sql = Sql::each("PRAGMA incremental_vacuum(1024)", "SELECT CAST(0 AS BIGINT)", &[]);
/// See `GIVE_BACK`.
const PAGES_GIVEN_BACK: i64 = 1_024;

const OLDEST: Sql = Sql::both(
    "SELECT attempt_id,
            CAST(coalesce((SELECT sum(length(log_chunks.body)) FROM log_chunks
                           WHERE log_chunks.attempt_id = log_ends.attempt_id), 0) AS BIGINT)
     FROM log_ends
     WHERE forgotten_at_us IS NULL AND line_count > 0
     ORDER BY attempt_id
     LIMIT $1",
    &[Kind::Int],
);

// From one attempt to the next by the indexes: how long a log is does not matter. PostgreSQL needs no such walk, for
// state and logs are one database there.
const ATTEMPTS: Sql = Sql::each(
    "WITH RECURSIVE walked (attempt_id) AS (
         SELECT CAST($1 AS BIGINT)
         UNION ALL
         SELECT min((SELECT coalesce(min(log_chunks.attempt_id), $2 + 1) FROM log_chunks
                     WHERE log_chunks.attempt_id > walked.attempt_id),
                    (SELECT coalesce(min(log_ends.attempt_id), $2 + 1) FROM log_ends
                     WHERE log_ends.attempt_id > walked.attempt_id))
         FROM walked
         WHERE walked.attempt_id < $2
         -- The first one is where it begins.
         LIMIT $3 + 1)
     SELECT attempt_id FROM walked WHERE attempt_id > $1 AND attempt_id <= $2",
    "SELECT attempt_id FROM log_chunks WHERE attempt_id > $1 AND attempt_id <= $2
     UNION
     SELECT attempt_id FROM log_ends WHERE attempt_id > $1 AND attempt_id <= $2
     ORDER BY attempt_id
     LIMIT $3",
    &[Kind::Int, Kind::Int, Kind::Int],
);

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] =
    &[&DELETE_CHUNKS, &DELETE_ENDS, &MARK, &TOTAL, &WEIGHT, &FILE, &GIVE_BACK, &OLDEST, &ATTEMPTS];

impl Logs {
    /// Removes the logs of attempts that are gone, and every trace of them.
    pub async fn remove(&self, attempts: &[AttemptId]) -> Result<()> {
        for some in attempts.chunks(REMOVED_AT_ONCE) {
            let ids = page::numbers(Some(some), |id| id.0);
            let mut tx = self.db.begin().await?;
            tx.execute(&DELETE_CHUNKS, &args![ids.clone()]).await?;
            tx.execute(&DELETE_ENDS, &args![ids]).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Forgets the lines of whole logs whose attempts stay: their ends say so from now on. One transaction.
    pub async fn forget(&self, attempts: &[AttemptId], now: Timestamp) -> Result<()> {
        let ids = page::numbers(Some(attempts), |id| id.0);
        let mut tx = self.db.begin().await?;
        tx.execute(&MARK, &args![ids.clone(), now.0]).await?;
        tx.execute(&DELETE_CHUNKS, &args![ids]).await?;
        tx.commit().await
    }

    /// Bytes that all logs take on disk, compressed.
    pub async fn total_bytes(&self) -> Result<i64> {
        page::one(self.db.optional(&TOTAL, &[]).await?)?.get(0)
    }

    /// Bytes that forgetting can make fewer: what all logs weigh, compressed.
    pub async fn weight_bytes(&self) -> Result<i64> {
        page::one(self.db.optional(&WEIGHT, &[]).await?)?.get(0)
    }

    /// The oldest whole logs with the bytes that they take, at most `limit`; those that still grow are not among them.
    pub async fn oldest(&self, limit: usize) -> Result<Vec<(AttemptId, i64)>> {
        let rows = self.db.rows(&OLDEST, &args![i64::try_from(limit).unwrap_or(i64::MAX)]).await?;
        rows.iter().map(|row| Ok((AttemptId(row.get(0)?), row.get(1)?))).collect()
    }

    /// The attempts of which there is a line or an end, behind `after` and up to `last`, in order; at most `limit`.
    pub async fn attempts(&self, after: AttemptId, last: AttemptId, limit: usize) -> Result<Vec<AttemptId>> {
        let values = args![after.0, last.0, i64::try_from(limit).unwrap_or(i64::MAX - 1)];
        self.db.rows(&ATTEMPTS, &values).await?.iter().map(|row| row.get(0).map(AttemptId)).collect()
    }

    /// Gives some of the file's free space above `limit_bytes` back to the system; whether there is more to give.
    /// What is free below the limit is kept for new logs.
    pub async fn shrink(&self, limit_bytes: i64) -> Result<bool> {
        let row = page::one(self.db.optional(&FILE, &[]).await?)?;
        let (file, page): (i64, i64) = (row.get(0)?, row.get(1)?);
        if file <= limit_bytes || self.total_bytes().await? >= file {
            return Ok(false);
        }
        let mut tx = self.db.begin().await?;
        tx.rows(&GIVE_BACK, &[]).await?;
        tx.commit().await?;
        let has_more = file - PAGES_GIVEN_BACK * page > limit_bytes;
        if !has_more {
            self.db.write_back().await?;
        }
        Ok(has_more)
    }
}
