//! Owns the look at how a PostgreSQL server keeps our tables: what holds its cleaning back, and what is not cleaned. It
//! only looks, by one statement for each; what is to be done a person decides.

use std::time::Duration;

use super::Reader;
use super::db::{Kind, Sql};
use super::fault::Result;
use crate::args;

/// Old transactions that are named.
const NAMED_MAX: i64 = 3;

// Of this database, since what they hold back is ours. A process of another role shows no instant to a role that may not
// see it.
const OLD_TRANSACTIONS: Sql = Sql::each(
    "SELECT $1, $2, '', '' WHERE FALSE",
    "SELECT CAST(pid AS BIGINT), CAST(extract(epoch FROM clock_timestamp() - xact_start) AS BIGINT),
            coalesce(nullif(application_name, ''), CAST(usename AS TEXT), backend_type), coalesce(state, '')
     FROM pg_stat_activity
     WHERE datname = current_database() AND backend_type <> 'autovacuum worker'
       AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
       AND xact_start < clock_timestamp() - make_interval(secs => CAST($1 AS DOUBLE PRECISION))
     ORDER BY xact_start
     LIMIT $2",
    &[Kind::Int, Kind::Int],
);

const DEAD_ROWS: Sql = Sql::each(
    "SELECT '', $1, $2 WHERE FALSE",
    "SELECT CAST(relname AS TEXT), n_live_tup, n_dead_tup FROM pg_stat_user_tables
     WHERE schemaname = current_schema() AND n_dead_tup >= $1 AND n_dead_tup > n_live_tup * $2
     ORDER BY n_dead_tup DESC
     LIMIT 3",
    &[Kind::Int, Kind::Int],
);

/// From where on something is worth a word.
#[derive(Debug, Clone, Copy)]
pub struct UpkeepLimits {
    /// A transaction may be open for so long.
    pub transaction: Duration,
    /// A table may hold fewer old versions of rows than these, however few rows it has.
    pub dead_rows: i64,
    /// More than so many old versions for each row are too many.
    pub dead_for_each: i64,
}

impl Reader {
    /// What keeps the server from cleaning our tables, in words; empty when all is well, and on SQLite.
    pub async fn upkeep_trouble(&self, limits: UpkeepLimits) -> Result<Vec<String>> {
        let seconds = i64::try_from(limits.transaction.as_secs()).unwrap_or(i64::MAX);
        let mut trouble = Vec::new();
        for row in self.db.rows(&OLD_TRANSACTIONS, &args![seconds, NAMED_MAX]).await? {
            let (pid, age): (i64, i64) = (row.get(0)?, row.get(1)?);
            let (who, state): (String, String) = (row.get(2)?, row.get(3)?);
            trouble.push(format!(
                "the server's process {pid} ({who}, {state}) has had a transaction open for {age} s, which keeps old \
                 rows from being cleaned up; end it, or `SELECT pg_terminate_backend({pid})`"
            ));
        }
        for row in self.db.rows(&DEAD_ROWS, &args![limits.dead_rows, limits.dead_for_each]).await? {
            let (table, live, dead): (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            trouble.push(format!(
                "the table {table} holds {dead} old versions of its {live} rows; see whether autovacuum is on and keeps \
                 up, or run `VACUUM {table}`"
            ));
        }
        Ok(trouble)
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&OLD_TRANSACTIONS, &DEAD_ROWS];
