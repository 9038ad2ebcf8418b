//! The real daemon under a wall clock that is stepped and swings while a schedule runs: libfaketime gives it the time
//! that a file says. No due time comes twice, and none is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use beadle::base::clock::Timestamp;
use beadle::base::environment::variable;
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, string};
use crate::support::wait::{PATIENCE, span, until};

/// The schedule's interval, in microseconds.
const EVERY_US: i64 = 2_000_000;

/// Where Debian's package `faketime` puts the library; other systems have it on one of these too.
const LIBRARIES: [&str; 5] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
    "/usr/lib64/faketime/libfaketime.so.1",
    "/usr/local/lib/faketime/libfaketime.so.1",
];

/// The library; `None`, with a printed line, when this machine has none.
///
/// Panics in that case when `CI=true`: there a skipped test would look like a passed one.
fn library() -> Option<&'static str> {
    let found = LIBRARIES.into_iter().find(|path| Path::new(path).exists());
    let is_ci = variable("CI").is_some_and(|value| value == "true");
    assert!(found.is_some() || !is_ci, "CI=true and there is no libfaketime: install the package `faketime`");
    if found.is_none() {
        println!("skipped: there is no libfaketime (package `faketime`)");
    }
    found
}

/// The file that says how far the daemon's wall clock is from the machine's.
struct Offset(PathBuf);

impl Offset {
    /// Puts the clock that many seconds ahead of the machine's, in one step.
    fn set(&self, seconds: i64) {
        let next = self.0.with_extension("next");
        fs::write(&next, format!("{seconds:+}\n")).expect("the test's directory can be written");
        fs::rename(&next, &self.0).expect("the test's directory can be written");
    }
}

/// One row of the ledger.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    first_us: i64,
    due_us: i64,
    count: i64,
    outcome: String,
    job: Option<String>,
}

/// The ledger, oldest first.
fn ledger(daemon: &Daemon) -> Vec<Row> {
    let query = "{ schedule(ref: {name: \"beat\"}) { ticks(first: 200) {
      nodes { dueAt firstDueAt outcome count job { id } }
    } } }";
    let answer = daemon.graphql(query, json!({}));
    let at = |value: &Value| Timestamp::parse(&string(value)).expect("an instant").micros();
    let row = |row: &Value| Row {
        first_us: at(&row["firstDueAt"]),
        due_us: at(&row["dueAt"]),
        count: row["count"].as_i64().expect("a count"),
        outcome: string(&row["outcome"]),
        job: row["job"]["id"].as_str().map(str::to_owned),
    };
    let rows = answer["schedule"]["ticks"]["nodes"].as_array().expect("a list");
    rows.iter().rev().map(row).collect()
}

/// Waits until the schedule has dealt with `count` more due times by rows of this outcome.
fn wait_for(daemon: &Daemon, outcome: &str, count: usize) {
    let before = ledger(daemon).len();
    until(&format!("{count} rows {outcome}"), PATIENCE, || {
        let rows = ledger(daemon);
        (rows[before..].iter().filter(|row| row.outcome == outcome).count() >= count).then_some(())
    });
}

/// Every due time stands in exactly one row: the rows are apart and nothing lies between them.
fn check(daemon: &Daemon) {
    let rows = ledger(daemon);
    for row in &rows {
        assert_eq!(row.first_us % EVERY_US, 0, "{row:?}");
        assert_eq!(row.due_us - row.first_us, (row.count - 1) * EVERY_US, "{row:?}");
        assert_eq!(row.job.is_some(), matches!(row.outcome.as_str(), "STARTED" | "CAUGHT_UP"), "{row:?}");
    }
    for pair in rows.windows(2) {
        assert_eq!(pair[1].first_us - pair[0].due_us, EVERY_US, "{pair:#?}");
    }
    let mut jobs: Vec<_> = rows.iter().filter_map(|row| row.job.clone()).collect();
    let made = jobs.len();
    jobs.sort();
    jobs.dedup();
    assert_eq!(jobs.len(), made, "two rows share a job: {rows:#?}");
    let answer = daemon.graphql("{ jobs(filter: {origins: [SCHEDULE]}) { totalCount } }", json!({}));
    let total = answer["jobs"]["totalCount"].as_i64().and_then(|total| usize::try_from(total).ok());
    // A further due time may have come between the two answers.
    assert!(total.is_some_and(|total| (made..=made + 1).contains(&total)), "{total:?} jobs, {made} rows");
}

#[test]
fn a_daemon_whose_wall_clock_is_stepped_deals_with_each_due_time_once() {
    let Some(library) = library() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let offset = Offset(directory.path().join("offset"));
    offset.set(0);
    let file = offset.0.to_string_lossy().into_owned();
    let daemon = Daemon::start_in_environment(&[
        ("LD_PRELOAD", library),
        ("FAKETIME_TIMESTAMP_FILE", &file),
        ("FAKETIME_NO_CACHE", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ]);
    let put = r#"mutation {
      taskPut(input: {name: "beat", command: {exec: {argv: ["/bin/true"]}}}) { userErrors { message } }
      schedulePut(input: {name: "beat", task: {name: "beat"}, timing: {every: "2s"}, overlap: ALLOW,
                          misfireWindow: "48h"}) { userErrors { message } }
    }"#;
    let answer = daemon.graphql(put, json!({}));
    assert_eq!(answer["schedulePut"]["userErrors"], json!([]), "{answer}");
    wait_for(&daemon, "STARTED", 2);

    let (day, hour) = (86_400, 3_600);
    offset.set(day);
    wait_for(&daemon, "CAUGHT_UP", 1);
    wait_for(&daemon, "STARTED", 1);
    let day_row =
        ledger(&daemon).into_iter().find(|row| row.outcome == "CAUGHT_UP").expect("it was caught up");
    assert!(day_row.count >= day / 2, "a day of due times is one row: {day_row:?}");
    check(&daemon);

    // Back by an hour: what was dealt with does not come again.
    let before = ledger(&daemon);
    offset.set(day - hour);
    let stopped = ledger(&daemon);
    span(Duration::from_micros(3 * EVERY_US.unsigned_abs()));
    let after = ledger(&daemon);
    assert!(stopped.len() <= before.len() + 1, "{before:#?} {stopped:#?}");
    assert_eq!(after, stopped, "due times came again");

    // Where it had been, it goes on; then swings of five minutes, each way twice.
    offset.set(day + 30);
    wait_for(&daemon, "STARTED", 1);
    for _ in 0..2 {
        offset.set(day + 30 + 300);
        wait_for(&daemon, "CAUGHT_UP", 1);
        offset.set(day + 30);
        span(Duration::from_micros(2 * EVERY_US.unsigned_abs()));
    }
    offset.set(day + 30 + 600);
    wait_for(&daemon, "STARTED", 2);
    check(&daemon);
}
