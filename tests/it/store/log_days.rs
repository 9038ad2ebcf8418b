//! Output in days: none is lost for want of a day, a day goes whole and its logs say so, and neither writers nor other
//! daemons are in the way.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use beadle::base::clock::{Timestamp, within};
use beadle::base::task;
use beadle::domain::attempt::AttemptOutcome;
use beadle::domain::id::AttemptId;
use beadle::domain::log::{LogCursor, LogFilter, LogStream, NewLine};
use beadle::store::log_days::{DayEnd, LogDay};
use beadle::store::logs::{LogEnd, LogTurn, Logs, NewChunk};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::stage::{Place, Stage, T0, new_job, on_postgres};
use crate::support::length::sized;
use crate::support::wait::PATIENCE;

const DAY_MS: i64 = 86_400_000;

fn at_day(number: i64) -> Timestamp {
    T0.plus_millis(number * DAY_MS)
}

fn day(number: i64) -> LogDay {
    LogDay::of(at_day(number))
}

/// One chunk of one line, written at a time.
async fn write(logs: &Logs, attempt: AttemptId, line: i64, at: Timestamp) {
    let bytes = format!("line {line} of {attempt}").into_bytes();
    let text = NewLine { at, stream: LogStream::Stdout, bytes, is_line_end: true };
    let chunk = NewChunk { attempt, first_line: line, lines: vec![text].into(), dropped_before: 0 };
    let turn = LogTurn { chunks: vec![chunk], ..LogTurn::default() };
    logs.write(&turn, at).await.expect("output can be written");
}

async fn end(logs: &Logs, attempt: AttemptId) {
    let end = logs.kept(&[attempt]).await.expect("what is kept can be read").remove(0);
    let turn = LogTurn { ends: vec![end], ..LogTurn::default() };
    logs.write(&turn, T0).await.expect("an end can be written");
}

async fn lines(logs: &Logs, attempt: AttemptId) -> usize {
    let start = LogCursor { attempt, line: 0 };
    logs.read(start, &LogFilter::default(), 100_000).await.expect("the log can be read").lines.len()
}

async fn end_of(logs: &Logs, attempt: AttemptId) -> LogEnd {
    logs.end(attempt).await.expect("the end can be read").expect("there is one")
}

/// Rows by the table in which they lie.
async fn rows_in(stage: &Stage, table: &str) -> i64 {
    stage.number(&format!("SELECT count(*) FROM log_chunks WHERE tableoid = '{table}'::regclass")).await
}

/// An attempt that is known and over.
async fn known(stage: &Stage) -> AttemptId {
    let claimed = stage.running(new_job()).await;
    stage.end(&claimed, AttemptOutcome::Succeeded).await;
    claimed.attempt
}

#[test]
fn no_row_fails_for_want_of_a_day_and_each_finds_its_own_once_it_is_made() {
    on_postgres(async |stage| {
        let logs = stage.hand.store().logs();
        assert!(logs.is_in_days());
        assert_eq!(
            logs.days().await.unwrap(),
            [day(0), day(1)],
            "today and tomorrow are there from the start"
        );
        let attempt = AttemptId(7);
        for line in 0..6 {
            write(&logs, attempt, line, at_day(2 + line % 3)).await;
        }
        assert_eq!((rows_in(&stage, "log_chunks_rest").await, lines(&logs, attempt).await), (6, 6));
        for number in [3, 4, 3] {
            logs.make_day(day(number)).await.unwrap();
        }
        assert_eq!(logs.days().await.unwrap(), [day(0), day(1), day(3), day(4)]);
        // T0 is the 14th of November 2023.
        let parts = ["log_chunks_rest", "log_chunks_20231117", "log_chunks_20231118"];
        for part in parts {
            assert_eq!(rows_in(&stage, part).await, 2, "{part}");
        }
        assert_eq!(lines(&logs, attempt).await, 6, "and all are read in order");
        write(&logs, attempt, 6, at_day(3)).await;
        assert_eq!(rows_in(&stage, "log_chunks_20231117").await, 3);
        assert!(logs.total_bytes().await.unwrap() > 0, "what lies in days has a size");
        assert!(logs.weight_of(day(3)).await.unwrap() > logs.weight_of(day(4)).await.unwrap());
        logs.remove(&[attempt]).await.unwrap();
        assert_eq!(logs.weight_bytes().await.unwrap(), 0);
    });
}

/// Waits until so many statements of this database wait for a lock, or `is_over`.
async fn until_locked_out(stage: &Stage, count: i64, is_over: impl Fn() -> bool) {
    let waiting = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
                   WHERE NOT granted AND datname = current_database()";
    let all = async { while !is_over() && stage.number(waiting).await < count {} };
    within(PATIENCE, all).await.expect("they wait");
}

#[test]
fn a_read_that_meets_the_making_of_a_day_finds_what_is_moved_there() {
    on_postgres(async |stage| {
        let logs = stage.hand.store().logs();
        let Place::Postgres(url) = &stage.place else { return };
        let mut other = PgConnection::connect(url).await.expect("the server answers");
        let mut say = async |statement: &'static str| {
            sqlx::raw_sql(statement).execute(&mut other).await.expect("the test's statement");
        };
        let attempt = AttemptId(7);
        write(&logs, attempt, 0, at_day(5)).await;
        // On a slow machine the making gives up before it is let through.
        let is_made = async || logs.days().await.expect("days can be listed").contains(&day(5));
        while !is_made().await {
            say("BEGIN; LOCK TABLE log_chunks_rest IN ACCESS EXCLUSIVE MODE").await;
            let (making, reading) = (logs.clone(), logs.clone());
            let making = task::spawn(async move { making.make_day(day(5)).await });
            until_locked_out(&stage, 1, || making.is_finished()).await;
            let reading = task::spawn(async move { lines(&reading, attempt).await });
            until_locked_out(&stage, 2, || making.is_finished()).await;
            say("COMMIT").await;
            let _ = making.await.expect("no panic");
            assert_eq!(reading.await.expect("no panic"), 1);
        }
    });
}

#[test]
fn a_day_goes_whole_and_its_logs_say_so_wherever_else_they_lie() {
    on_postgres(async |stage| {
        let logs = stage.hand.store().logs();
        for number in 0..3 {
            logs.make_day(day(number)).await.unwrap();
        }
        let (inside, spanning, later) = (known(&stage).await, known(&stage).await, known(&stage).await);
        write(&logs, inside, 0, at_day(0)).await;
        for number in 0..3 {
            write(&logs, spanning, number, at_day(number)).await;
        }
        write(&logs, later, 0, at_day(2)).await;
        for attempt in [inside, spanning, later] {
            end(&logs, attempt).await;
        }
        // One that still runs keeps its day.
        let running = stage.running(new_job()).await.attempt;
        write(&logs, running, 0, at_day(0)).await;
        assert_eq!(logs.forget_day(day(0), T0).await.unwrap(), DayEnd::Grows);
        assert_eq!((lines(&logs, inside).await, end_of(&logs, inside).await.is_forgotten), (1, false));
        end(&logs, running).await;
        assert_eq!(logs.forget_day(day(0), T0).await.unwrap(), DayEnd::Gone);
        assert_eq!(logs.days().await.unwrap(), [day(1), day(2)]);
        for attempt in [inside, spanning, running] {
            assert_eq!(lines(&logs, attempt).await, 0, "{attempt}");
            let end = end_of(&logs, attempt).await;
            assert!(end.is_forgotten && end.dropped_bytes == end.byte_count && end.byte_count > 0, "{end:?}");
        }
        assert_eq!((lines(&logs, later).await, end_of(&logs, later).await.is_forgotten), (1, false));
        assert_eq!(logs.oldest(9).await.unwrap().len(), 1, "what went is not chosen again");
        assert_eq!(logs.forget_day(day(0), T0).await.unwrap(), DayEnd::Gone, "it is gone already");
    });
}

#[test]
fn what_nobody_knows_any_more_goes_with_its_day_or_is_taken_out_of_it() {
    on_postgres(async |stage| {
        let logs = stage.hand.store().logs();
        logs.make_day(day(0)).await.unwrap();
        let (kept, gone, old) = (known(&stage).await, AttemptId(9_001), AttemptId(9_002));
        write(&logs, old, 0, at_day(-3)).await;
        for attempt in [kept, gone] {
            write(&logs, attempt, 0, at_day(0)).await;
            end(&logs, attempt).await;
        }
        logs.remove_ends(&[gone]).await.unwrap();
        assert_eq!((logs.end(gone).await.unwrap(), lines(&logs, gone).await), (None, 1));
        assert!(logs.is_known(day(0)).await.unwrap());
        assert_eq!(logs.remove_unknown(day(0)).await.unwrap(), 1);
        assert_eq!(logs.remove_unknown(day(0)).await.unwrap(), 0);
        assert_eq!((lines(&logs, gone).await, lines(&logs, kept).await, lines(&logs, old).await), (0, 1, 1));
        assert_eq!(logs.remove_unknown_before(day(0)).await.unwrap(), 1);
        assert_eq!((lines(&logs, kept).await, lines(&logs, old).await), (1, 0));
        stage.execute(&format!("DELETE FROM attempts WHERE id = {}", kept.0)).await;
        assert!(!logs.is_known(day(0)).await.unwrap());
        assert_eq!(logs.forget_day(day(0), T0).await.unwrap(), DayEnd::Gone);
    });
}

#[test]
fn a_log_is_found_by_index_in_every_day() {
    on_postgres(async |stage| {
        let logs = stage.hand.store().logs();
        let Place::Postgres(url) = &stage.place else { unreachable!("this claim is tried on PostgreSQL") };
        for number in 0..8 {
            logs.make_day(day(number)).await.unwrap();
        }
        let fill = format!(
            "INSERT INTO log_chunks SELECT n % 500, n, 1, 1, 0, {} + (n % 8) * {}, 'x' FROM generate_series(1, 40000) AS n;
             ANALYZE log_chunks",
            T0.0,
            DAY_MS * 1_000
        );
        stage.execute(&fill).await;
        let mut connection = PgConnection::connect(url).await.expect("the server answers");
        let query = "SELECT first_line, body FROM log_chunks WHERE attempt_id = 7 AND first_line >= 100
                     ORDER BY first_line LIMIT 8";
        let explain = AssertSqlSafe(format!("EXPLAIN {query}"));
        let plan: Vec<String> = sqlx::query_scalar(explain).fetch_all(&mut connection).await.expect("a plan");
        let plan = plan.join("\n");
        assert_eq!(plan.matches("Index Scan using log_chunks_2").count(), 8, "{plan}");
        assert!(!plan.contains("Seq Scan on log_chunks_2"), "{plan}");
    });
}

/// Writes whole logs of one chunk until it is told to stop; how many.
async fn keep_writing(logs: Logs, first: i64, is_over: Arc<AtomicBool>) -> BTreeSet<i64> {
    let mut written = BTreeSet::new();
    for number in 0.. {
        if is_over.load(Ordering::SeqCst) {
            break;
        }
        // Now and then one for a day that is not there yet, as by a clock that is ahead.
        let attempt = first + number;
        write(&logs, AttemptId(attempt), 0, at_day(if number % 5 == 0 { 4 } else { 3 })).await;
        written.insert(attempt);
    }
    written
}

#[test]
fn several_daemons_make_and_drop_days_while_others_write() {
    on_postgres(async |stage| {
        let hands = [stage.another_hand().await, stage.another_hand().await];
        let is_over = Arc::new(AtomicBool::new(false));
        let writers = [1_000_000, 2_000_000, 3_000_000].map(|first| {
            let (logs, is_over) = (stage.hand.store().logs(), is_over.clone());
            task::spawn(keep_writing(logs, first, is_over))
        });
        let rounds = sized(8, 60);
        let keepers = hands.each_ref().map(|hand| {
            let logs = hand.store().logs();
            task::spawn(async move {
                let mut gone = 0;
                for round in 0..rounds {
                    // The same days by both, made and dropped while rows of others come.
                    for number in [-round, 3, 4] {
                        while logs.make_day(day(number)).await.is_err() {}
                    }
                    while logs.forget_day(day(-round), T0).await.expect("no fault") != DayEnd::Gone {}
                    gone += 1;
                }
                gone
            })
        });
        let mut gone = 0;
        for keeper in keepers {
            gone += within(PATIENCE, keeper).await.expect("nobody waits in a circle").expect("no panic");
        }
        is_over.store(true, Ordering::SeqCst);
        let mut written = BTreeSet::new();
        for writer in writers {
            written
                .extend(within(PATIENCE, writer).await.expect("nobody waits in a circle").expect("no panic"));
        }
        println!("{} chunks written, {gone} days dropped by two daemons", written.len());
        assert!(!written.is_empty() && gone == 2 * rounds, "each was gone for both");
        let rows = stage.number("SELECT count(*) FROM log_chunks WHERE attempt_id >= 1000000").await;
        assert_eq!(rows, i64::try_from(written.len()).unwrap(), "no row is lost, none is doubled");
        assert_eq!(rows_in(&stage, "log_chunks_rest").await, 0, "each lies in its day");
        for hand in hands {
            hand.close().await;
        }
    });
}
