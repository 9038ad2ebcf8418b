//! Owns the floor of a job's whole way through SQL: insert, claim, complete, a hundred jobs in one transaction.

use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, params};
use serde_json::json;

use super::sql;
use crate::measure::per_second;

const CLAIM: &str =
    "UPDATE jobs SET state = 1, started_at = ?1, lease_until = ?1 + 30000000, attempt = attempt + 1
WHERE id IN (SELECT id FROM jobs WHERE state = 0 AND queue = 'default' AND run_at <= ?1
             ORDER BY priority DESC, run_at, id LIMIT ?2)
RETURNING id, arguments";

const COMPLETE: &str = "UPDATE jobs SET state = 2, finished_at = ?1, lease_until = NULL, outcome = '{}'
WHERE id = ?2 AND state = 1";

/// Takes `count` jobs from nothing to done, `each` in a transaction.
pub fn run(path: &Path, count: i64, each: i64) {
    let mut connection = sql::open(path);
    let arguments = sql::arguments();
    let begun = Instant::now();
    for batch in 0..count / each {
        turn(&mut connection, batch * each..(batch + 1) * each, &arguments);
    }
    let elapsed = begun.elapsed();
    let done = "SELECT count(*) FROM jobs WHERE state = 2";
    let done: i64 = connection.query_row(done, [], |row| row.get(0)).expect("a count");
    assert_eq!(done, count / each * each, "not all jobs were done");
    println!("{}", json!({"per_second": per_second(done.unsigned_abs(), elapsed)}));
}

fn turn(connection: &mut Connection, numbers: std::ops::Range<i64>, arguments: &str) {
    let now = numbers.end;
    let transaction = connection.transaction().expect("nobody else writes");
    {
        let mut insert = transaction.prepare_cached(sql::INSERT).expect("it fits the table");
        for number in numbers.clone() {
            insert.execute(params![number, sql::uid(number), number, arguments]).expect("ids are new");
        }
        let mut claim = transaction.prepare_cached(CLAIM).expect("it fits the table");
        let claimed = claim.query_map(params![now, now - numbers.start], |row| row.get(0));
        let claimed: Vec<i64> =
            claimed.and_then(Iterator::collect).expect("the claim gives the ids that it took");
        assert_eq!(claimed.len(), numbers.count(), "the claim took others");
        let mut complete = transaction.prepare_cached(COMPLETE).expect("it fits the table");
        for id in claimed {
            complete.execute(params![now, id]).expect("the job runs");
        }
    }
    transaction.commit().expect("the disk takes it");
}
