//! Owns long histories: a store that holds as many finished jobs as wished, made by copying one real job in SQL while
//! no daemon has it. It knows of the tables only which ones a job stands in; their columns it asks from the store.

use std::path::Path;

use rusqlite::{Connection, params};

/// Rows of one transaction.
const EACH: i64 = 200_000;

/// What is another in a copy than in the job that it is of.
type Changed<'a> = &'a [(&'a str, &'a str)];

/// Adds `count` finished jobs like job 1, which has ended, and `open` that run, to the store in `data`.
///
/// # Panics
/// If the store is not as this file knows it.
pub fn fill(data: &Path, count: i64, open: i64) {
    let connection = Connection::open(data.join("beadle.db")).expect("the store opens");
    connection
        .execute_batch(
            "PRAGMA synchronous = OFF; PRAGMA cache_size = -262144; PRAGMA wal_autocheckpoint = 20000;",
        )
        .expect("SQLite knows its pragmas");
    let counter = "SELECT max(id) FROM jobs";
    let first: i64 = connection.query_row(counter, [], |row| row.get::<_, i64>(0)).expect("a count") + 1;
    let finished = first + count;
    for from in (first..finished).step_by(usize::try_from(EACH).expect("it is small")) {
        let to = (from + EACH).min(finished);
        copy(&connection, "jobs", (from, to), &[]);
        copy(&connection, "attempts", (from, to), &[]);
    }
    let runs: Changed<'_> = &[
        ("state", "'RUNNING'"),
        ("try_count", "0"),
        ("finished_at_us", "NULL"),
        ("worker_id", "1"),
        ("output", "NULL"),
    ];
    copy(&connection, "jobs", (finished, finished + open), runs);
    let is_open: Changed<'_> = &[("outcome", "NULL"), ("finished_at_us", "NULL"), ("exit_code", "NULL")];
    copy(&connection, "attempts", (finished, finished + open), is_open);
    let counts = "INSERT INTO job_counts VALUES ((SELECT queue FROM jobs WHERE id = 1), ?1, ?2)
                  ON CONFLICT DO UPDATE SET job_count = job_count + excluded.job_count";
    for (state, count) in [("SUCCEEDED", count), ("RUNNING", open)] {
        connection.execute(counts, params![state, count]).expect("the counts take it");
    }
    let next = "UPDATE counters SET value = max(value, ?1) WHERE name IN ('job', 'attempt')";
    connection.execute(next, [finished + open + 100_000]).expect("the counters take it");
    let truncated = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
    assert_eq!(truncated, Ok(0), "somebody reads the store");
}

/// Copies row 1 to each number in the range.
fn copy(connection: &Connection, table: &str, (from, to): (i64, i64), changed: Changed<'_>) {
    let mut columns =
        connection.prepare(&format!("SELECT name FROM pragma_table_info('{table}')")).expect("SQL");
    let columns = columns.query_map([], |row| row.get(0)).and_then(Iterator::collect);
    let columns: Vec<String> = columns.expect("a table has columns");
    let value = |name: &String| match name.as_str() {
        "id" | "job_id" => "n".to_owned(),
        name => {
            changed.iter().find(|(of, _)| *of == name).map_or(name.to_owned(), |(_, to)| (*to).to_owned())
        }
    };
    let values: Vec<String> = columns.iter().map(value).collect();
    let insert = format!(
        "WITH RECURSIVE numbers (n) AS (SELECT ?1 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < ?2)
         INSERT INTO {table} ({}) SELECT {} FROM numbers, {table} WHERE {table}.id = 1 AND ?1 < ?2",
        columns.join(", "),
        values.join(", "),
    );
    connection.execute(&insert, [from, to]).expect("the store takes copies of its own rows");
}
