//! Owns the days in which output lies on PostgreSQL: made ahead, and gone whole. SQLite has none. It must never take away
//! a line of an attempt that may still be read without a word about it, nor hold up who writes.

use std::sync::Arc;

use super::db::{Db, Kind, Sql, Tx, Value};
use super::fault::{FaultKind, Result};
use super::log_room::DELETE_ENDS;
use super::logs::Logs;
use super::page;
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::id::AttemptId;

const DAY_US: i64 = 86_400_000_000;
/// Logs that go on in other days, looked for and forgotten together.
const SPANNING_MAX: i64 = 200;
/// Chunks of attempts that are gone, deleted together.
const CHUNKS_MAX: i64 = 2_000;
/// Taken by whoever makes a day or takes one away.
const DROP_LOCK: i64 = 0x0042_4541_444C_4507;

const MAKE: Sql = Sql::each("SELECT $1", "SELECT log_day_make($1)", &[Kind::Int]);

const DROP_DAY: Sql = Sql::each("SELECT $1", "SELECT log_day_drop($1)", &[Kind::Int]);

// Whoever makes or drops a day waits for those who are at it, and others queue behind: not for long.
const BE_SHORT: Sql =
    Sql::each("SELECT 'lock_timeout'", "SELECT set_config('lock_timeout', '500ms', TRUE)", &[]);

const TAKE_TURN: Sql = Sql::each("SELECT $1 = $1", "SELECT pg_try_advisory_xact_lock($1)", &[Kind::Int]);

const WAIT_FOR_TURN: Sql = Sql::each("SELECT $1", "SELECT pg_advisory_xact_lock($1)", &[Kind::Int]);

// The server plans a read with the days that it knows then. One that knew only the rest, and waited there while its rows
// were moved into a new day, would find nothing: so it waits at the table, before it is planned.
const LOCK_ALL: Sql =
    Sql::each("SELECT 1 WHERE FALSE", "LOCK TABLE ONLY log_chunks IN ACCESS EXCLUSIVE MODE", &[]);

const DAYS: Sql = Sql::each(
    "SELECT attempt_id FROM log_ends WHERE FALSE",
    "SELECT CAST(to_date(right(part.relname, 8), 'YYYYMMDD') - DATE '1970-01-01' AS BIGINT)
     FROM pg_inherits
     JOIN pg_class AS part ON part.oid = pg_inherits.inhrelid
     WHERE pg_inherits.inhparent = CAST('log_chunks' AS regclass) AND part.relname ~ '^log_chunks_[0-9]{8}$'
     ORDER BY 1",
    &[],
);

const DAYS_WRITTEN: Sql = Sql::both("SELECT DISTINCT written_at_us / 86400000000 FROM log_chunks", &[]);

// What follows looks into one day only: its bounds stand beside everything else.
const WEIGHT: Sql = Sql::both(
    "SELECT CAST(coalesce(sum(length(body)), 0) AS BIGINT) FROM log_chunks
     WHERE written_at_us >= $1 AND written_at_us < $2",
    &[Kind::Int, Kind::Int],
);

// An attempt that is gone left no end, and writes no more.
const GROWS: Sql = Sql::each(
    "SELECT attempt_id FROM log_chunks
     WHERE written_at_us >= $1 AND written_at_us < $2
       AND NOT EXISTS (SELECT 1 FROM log_ends WHERE log_ends.attempt_id = log_chunks.attempt_id)
     LIMIT 1",
    "SELECT attempt_id FROM log_chunks
     WHERE written_at_us >= $1 AND written_at_us < $2
       AND NOT EXISTS (SELECT 1 FROM log_ends WHERE log_ends.attempt_id = log_chunks.attempt_id)
       AND EXISTS (SELECT 1 FROM attempts WHERE attempts.id = log_chunks.attempt_id)
     LIMIT 1",
    &[Kind::Int, Kind::Int],
);

const SPANNING: Sql = Sql::both(
    "SELECT log_chunks.attempt_id FROM log_chunks
     JOIN log_ends ON log_ends.attempt_id = log_chunks.attempt_id
     WHERE log_chunks.written_at_us >= $1 AND log_chunks.written_at_us < $2
     GROUP BY log_chunks.attempt_id, log_ends.line_count
     HAVING min(log_chunks.first_line) > 0
         OR max(log_chunks.first_line + log_chunks.line_count) < log_ends.line_count
     LIMIT $3",
    &[Kind::Int, Kind::Int, Kind::Int],
);

const MARK_DAY: Sql = Sql::both(
    "UPDATE log_ends SET forgotten_at_us = $3, dropped_bytes = byte_count
     WHERE forgotten_at_us IS NULL
       AND attempt_id IN (SELECT attempt_id FROM log_chunks WHERE written_at_us >= $1 AND written_at_us < $2)",
    &[Kind::Int, Kind::Int, Kind::Int],
);

// State and logs are one database there; SQLite has them apart.
const KNOWN: Sql = Sql::each(
    "SELECT attempt_id FROM log_chunks WHERE written_at_us >= $1 AND written_at_us < $2 LIMIT 1",
    "SELECT attempts.id FROM log_chunks
     JOIN attempts ON attempts.id = log_chunks.attempt_id
     WHERE log_chunks.written_at_us >= $1 AND log_chunks.written_at_us < $2
     LIMIT 1",
    &[Kind::Int, Kind::Int],
);

const DELETE_UNKNOWN: Sql = Sql::each(
    "DELETE FROM log_chunks WHERE written_at_us >= $1 AND written_at_us < $2 AND $3 < 0",
    "DELETE FROM log_chunks
     WHERE written_at_us >= $1 AND written_at_us < $2
       AND (attempt_id, first_line) IN (
           SELECT old.attempt_id, old.first_line FROM log_chunks AS old
           WHERE old.written_at_us >= $1 AND old.written_at_us < $2
             AND NOT EXISTS (SELECT 1 FROM attempts WHERE attempts.id = old.attempt_id)
           LIMIT $3)",
    &[Kind::Int, Kind::Int, Kind::Int],
);

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[
    &MAKE,
    &DROP_DAY,
    &BE_SHORT,
    &TAKE_TURN,
    &WAIT_FOR_TURN,
    &LOCK_ALL,
    &DAYS,
    &DAYS_WRITTEN,
    &WEIGHT,
    &GROWS,
    &SPANNING,
    &MARK_DAY,
    &KNOWN,
    &DELETE_UNKNOWN,
];

/// A day in UTC, counted from 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogDay(pub i64);

impl LogDay {
    /// The day of an instant.
    pub fn of(at: Timestamp) -> LogDay {
        LogDay(at.0.div_euclid(DAY_US))
    }

    /// The day after it.
    #[must_use]
    pub fn next(self) -> LogDay {
        LogDay(self.0 + 1)
    }

    /// Its first instant.
    pub fn begins_at(self) -> Timestamp {
        Timestamp(self.0 * DAY_US)
    }

    /// The instant at which it is over.
    pub fn ends_at(self) -> Timestamp {
        self.next().begins_at()
    }
}

/// What became of a day that was to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DayEnd {
    /// It is gone, and its logs say so.
    Gone,
    /// A log of it is not whole yet.
    Grows,
    /// Somebody else is at it, or at work on the table for long: later.
    Busy,
}

impl Logs {
    /// Whether output lies in days.
    pub fn is_in_days(&self) -> bool {
        matches!(*self.db, Db::Postgres(_))
    }

    /// Makes a day unless it is there.
    pub async fn make_day(&self, day: LogDay) -> Result<()> {
        if self.days().await?.contains(&day) {
            return Ok(());
        }
        let mut tx = self.db.begin().await?;
        tx.rows(&BE_SHORT, &[]).await?;
        tx.rows(&WAIT_FOR_TURN, &args![DROP_LOCK]).await?;
        tx.execute(&LOCK_ALL, &[]).await?;
        tx.rows(&MAKE, &args![day.0]).await?;
        tx.commit().await
    }

    /// The days that there are, the oldest first.
    pub async fn days(&self) -> Result<Vec<LogDay>> {
        self.db.rows(&DAYS, &[]).await?.iter().map(|row| row.get(0).map(LogDay)).collect()
    }

    /// Bytes that the output of a day takes, compressed.
    pub async fn weight_of(&self, day: LogDay) -> Result<i64> {
        page::one(self.db.optional(&WEIGHT, &bounds(day)).await?)?.get(0)
    }

    /// Removes the ends of logs whose attempts are gone. What they wrote stays for nobody until its day goes.
    pub async fn remove_ends(&self, attempts: &[AttemptId]) -> Result<()> {
        let mut tx = self.db.begin().await?;
        tx.execute(&DELETE_ENDS, &args![page::numbers(Some(attempts), |id| id.0)]).await?;
        tx.commit().await
    }

    /// Whether an attempt is known of which there is output in that day.
    pub async fn is_known(&self, day: LogDay) -> Result<bool> {
        Ok(self.db.optional(&KNOWN, &bounds(day)).await?.is_some())
    }

    /// Deletes some output of that day whose attempts are gone; how many chunks.
    pub async fn remove_unknown(&self, day: LogDay) -> Result<u64> {
        self.remove_unknown_between(bounds(day)).await
    }

    /// The same of what is older than that day and lies in no day.
    pub async fn remove_unknown_before(&self, day: LogDay) -> Result<u64> {
        self.remove_unknown_between(args![i64::MIN, day.begins_at().0]).await
    }

    async fn remove_unknown_between(&self, [begin, end]: [Value; 2]) -> Result<u64> {
        let mut tx = self.db.begin().await?;
        let count = tx.execute(&DELETE_UNKNOWN, &[begin, end, CHUNKS_MAX.into()]).await?;
        tx.commit().await?;
        Ok(count)
    }

    /// Takes a day away whose logs are all whole: they say so from now on, with what they have in other days.
    pub async fn forget_day(&self, day: LogDay, now: Timestamp) -> Result<DayEnd> {
        if self.db.optional(&GROWS, &bounds(day)).await?.is_some() {
            return Ok(DayEnd::Grows);
        }
        loop {
            let [begin, end] = bounds(day);
            let rows = self.db.rows(&SPANNING, &[begin, end, SPANNING_MAX.into()]).await?;
            let spanning: Vec<AttemptId> =
                rows.iter().map(|row| row.get(0).map(AttemptId)).collect::<Result<_>>()?;
            if spanning.is_empty() {
                break;
            }
            self.forget(&spanning, now).await?;
        }
        match self.drop_day(day, now).await {
            Err(fault) if fault.kind == FaultKind::Locked => Ok(DayEnd::Busy),
            other => other,
        }
    }

    async fn drop_day(&self, day: LogDay, now: Timestamp) -> Result<DayEnd> {
        let mut tx = self.db.begin().await?;
        tx.rows(&BE_SHORT, &[]).await?;
        let row = page::one(tx.optional(&TAKE_TURN, &args![DROP_LOCK]).await?)?;
        if !row.get::<bool>(0)? {
            return Ok(DayEnd::Busy);
        }
        let [begin, end] = bounds(day);
        tx.execute(&MARK_DAY, &[begin, end, now.0.into()]).await?;
        tx.rows(&DROP_DAY, &args![day.0]).await?;
        tx.commit().await?;
        Ok(DayEnd::Gone)
    }
}

fn bounds(day: LogDay) -> [Value; 2] {
    args![day.begins_at().0, day.ends_at().0]
}

/// Makes today and tomorrow before anything is written. Where that cannot be, or takes too long, they come later, and output
/// lies in the rest until then.
pub(super) async fn make_first(db: &Arc<Db>, now: Timestamp) {
    let (logs, today) = (Logs::new(db.clone(), None), LogDay::of(now));
    for day in [today, today.next()] {
        if let Err(fault) = logs.make_day(day).await {
            tracing::debug!("a day of logs is made later: {fault}");
            return;
        }
    }
}

/// Makes the days that the output of another store needs.
pub(super) async fn make_days_of(source: &Db, tx: &mut Tx) -> Result<()> {
    for row in source.rows(&DAYS_WRITTEN, &[]).await? {
        let day: i64 = row.get(0)?;
        tx.rows(&MAKE, &args![day]).await?;
    }
    Ok(())
}
