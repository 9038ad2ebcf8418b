//! Owns the floors of durable inserts: rows of jobs by the batch, and chunks of log lines. It must sync every commit.

use std::path::Path;
use std::time::Instant;

use rusqlite::params;
use serde_json::json;

use super::sql;
use crate::measure::per_second;

/// Lines of a chunk, of a hundred bytes each.
const CHUNK_LINES: i64 = 100;

/// Inserts `count` jobs, `each` in a transaction, one row statement a job.
pub fn run(path: &Path, count: i64, each: i64) {
    let mut connection = sql::open(path);
    let arguments = sql::arguments();
    let begun = Instant::now();
    for batch in 0..count / each {
        let transaction = connection.transaction().expect("nobody else writes");
        {
            let mut insert = transaction.prepare_cached(sql::INSERT).expect("it fits the table");
            for number in batch * each..(batch + 1) * each {
                insert.execute(params![number, sql::uid(number), number, arguments]).expect("ids are new");
            }
        }
        transaction.commit().expect("the disk takes it");
    }
    let rows: i64 = connection.query_row("SELECT count(*) FROM jobs", [], |row| row.get(0)).expect("a count");
    println!("{}", json!({"per_second": per_second(rows.unsigned_abs(), begun.elapsed())}));
}

/// Inserts chunks of lines, one a transaction.
pub fn run_chunks(path: &Path, lines: i64) {
    let mut connection = sql::open(path);
    let table = "CREATE TABLE chunks (job INTEGER, seq INTEGER, lines TEXT, PRIMARY KEY (job, seq)) STRICT";
    connection.execute_batch(table).expect("the table is well formed");
    let line = format!("{}\n", "x".repeat(99));
    let chunk = line.repeat(usize::try_from(CHUNK_LINES).expect("it is small"));
    let begun = Instant::now();
    for seq in 0..lines / CHUNK_LINES {
        let transaction = connection.transaction().expect("nobody else writes");
        transaction
            .prepare_cached("INSERT INTO chunks VALUES (1, ?1, ?2)")
            .and_then(|mut insert| insert.execute(params![seq, chunk]))
            .expect("it fits the table");
        transaction.commit().expect("the disk takes it");
    }
    println!("{}", json!({"per_second": per_second(lines.unsigned_abs(), begun.elapsed())}));
}
