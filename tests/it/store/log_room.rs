//! Room for logs: the oldest whole ones go first, what is gone says so, the file gets smaller, and what belongs to nobody
//! can be found.

use beadle::domain::attempt::AttemptOutcome;
use beadle::domain::id::AttemptId;
use beadle::domain::log::{LogCursor, LogFilter, LogStream, NewLine};
use beadle::store::attempts::Fate;
use beadle::store::logs::{LogEnd, LogTurn, Logs, NewChunk};
use beadle::store::statements;

use super::plan::{plan, statement};
use super::stage::{Stage, T0, new_job, on_both, on_sqlite};

const MEBIBYTE: usize = 1024 * 1024;

/// A log of so many bytes that cannot be made smaller.
async fn write(stage: &Stage, attempt: i64, bytes: usize, is_whole: bool) -> Logs {
    let logs = stage.hand.store().logs();
    let attempt = AttemptId(attempt);
    let mut seed = attempt.0.unsigned_abs();
    let mut noise = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed.to_be_bytes()[0]
    };
    for (first_line, _) in (0..).zip(0..bytes.div_ceil(256 * 1024)) {
        let bytes: Vec<u8> = (0..(256 * 1024).min(bytes)).map(|_| noise()).collect();
        let line = NewLine { at: T0, stream: LogStream::Stdout, bytes, is_line_end: false };
        let chunk = NewChunk { attempt, first_line, lines: vec![line].into(), dropped_before: 0 };
        logs.write(&LogTurn { chunks: vec![chunk], ..LogTurn::default() }, T0)
            .await
            .expect("output can be written");
    }
    if is_whole {
        let end = logs.kept(&[attempt]).await.expect("what is kept can be read").remove(0);
        logs.write(&LogTurn { ends: vec![end], ..LogTurn::default() }, T0)
            .await
            .expect("an end can be written");
    }
    logs
}

async fn lines(logs: &Logs, attempt: i64) -> usize {
    let start = LogCursor { attempt: AttemptId(attempt), line: 0 };
    logs.read(start, &LogFilter::default(), 1_000).await.expect("the log can be read").lines.len()
}

#[test]
fn a_forgotten_log_says_so_and_is_not_chosen_again() {
    on_both(async |stage| {
        for attempt in [3, 1, 2] {
            write(&stage, attempt, 1_000, true).await;
        }
        let logs = write(&stage, 4, 1_000, false).await;
        // Whole, and nothing in it.
        let nothing = LogEnd {
            attempt: AttemptId(5),
            line_count: 0,
            byte_count: 0,
            dropped_bytes: 0,
            is_forgotten: false,
        };
        logs.write(&LogTurn { ends: vec![nothing], ..LogTurn::default() }, T0).await.unwrap();
        let oldest = async || {
            let oldest = logs.oldest(9).await.unwrap();
            oldest.iter().map(|(attempt, _)| attempt.0).collect::<Vec<_>>()
        };
        assert_eq!(oldest().await, [1, 2, 3], "what still grows is not among them");
        let weight = logs.weight_bytes().await.unwrap();
        logs.forget(&[AttemptId(1), AttemptId(404)], T0).await.unwrap();
        assert!(logs.weight_bytes().await.unwrap() <= weight);
        let end = logs.end(AttemptId(1)).await.unwrap().expect("the end stays");
        assert_eq!((end.is_forgotten, end.byte_count, end.dropped_bytes), (true, 1_000, 1_000));
        assert_eq!((lines(&logs, 1).await, lines(&logs, 2).await, lines(&logs, 4).await), (0, 1, 1));
        assert_eq!(oldest().await, [2, 3]);
        logs.forget(&[AttemptId(1)], T0.plus_millis(5)).await.unwrap();
        logs.remove(&[AttemptId(1)]).await.unwrap();
        assert_eq!(logs.end(AttemptId(1)).await.unwrap(), None, "with its attempt every trace goes");
    });
}

#[test]
fn many_logs_are_removed_together() {
    on_both(async |stage| {
        for attempt in 1..=40 {
            write(&stage, attempt, 10, true).await;
        }
        let logs = write(&stage, 41, 10, true).await;
        let gone: Vec<_> = (1..=40).map(AttemptId).collect();
        logs.remove(&gone).await.unwrap();
        let left = logs.oldest(99).await.unwrap();
        assert_eq!(left.iter().map(|(attempt, _)| attempt.0).collect::<Vec<_>>(), [41]);
    });
}

#[test]
fn the_weight_falls_at_once_and_the_file_follows_down_to_the_limit() {
    on_sqlite(async |stage| {
        let size = i64::try_from(8 * MEBIBYTE).unwrap();
        for attempt in 1..=4 {
            write(&stage, attempt, 4 * MEBIBYTE, true).await;
        }
        let logs = stage.hand.store().logs();
        assert!(logs.weight_bytes().await.unwrap() > 2 * size);
        assert!(!logs.shrink(size).await.unwrap(), "nothing is free yet");
        logs.forget(&[AttemptId(1), AttemptId(2), AttemptId(3)], T0).await.unwrap();
        assert!(logs.weight_bytes().await.unwrap() < size);
        let mut rounds = 1;
        while logs.shrink(size).await.unwrap() {
            rounds += 1;
            assert!(rounds < 20, "it ends");
        }
        assert!((2..4).contains(&rounds), "{rounds}");
        let pages = stage.hand.store().databases().1;
        let sql = beadle::store::db::Sql::both(
            "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
            &[],
        );
        let file: i64 = pages.optional(&sql, &[]).await.unwrap().unwrap().get(0).unwrap();
        let slack = i64::try_from(4 * MEBIBYTE).unwrap();
        assert!((size - slack..=size).contains(&file), "{file}: what is free below the limit is kept");
        assert_eq!(lines(&logs, 4).await, 2, "a page of half a mebibyte");
    });
}

#[test]
fn all_that_have_a_line_or_an_end_are_met_in_order_and_page_by_page() {
    on_both(async |stage| {
        for (attempt, is_whole) in [(7, false), (1, true), (4, false)] {
            write(&stage, attempt, 300 * 1024, is_whole).await;
        }
        let logs = write(&stage, 2, 1_000, true).await;
        // Its lines are gone, its end stays.
        logs.forget(&[AttemptId(2)], T0).await.unwrap();
        let met = async |after: i64, last: i64, limit: usize| {
            let met = logs.attempts(AttemptId(after), AttemptId(last), limit).await.unwrap();
            met.iter().map(|attempt| attempt.0).collect::<Vec<_>>()
        };
        assert_eq!(met(0, 99, 99).await, [1, 2, 4, 7]);
        assert_eq!(met(0, 99, 3).await, [1, 2, 4]);
        assert_eq!(met(4, 99, 3).await, [7]);
        assert_eq!(met(0, 4, 99).await, [1, 2, 4], "no further than it was told");
        assert_eq!(met(1, 3, 1).await, [2]);
        for (after, last) in [(7, 99), (0, 0), (4, 6), (99, 7)] {
            assert!(met(after, last, 9).await.is_empty(), "{after} to {last}");
        }
    });
}

#[test]
fn the_way_from_log_to_log_leads_over_the_indexes_alone() {
    on_sqlite(async |stage| {
        let sql = statement(statements::logs(), &["WITH RECURSIVE walked"]);
        let plan = plan(&stage, "logs.db", sql).await.join("\n");
        assert!(plan.contains("SEARCH log_chunks USING COVERING INDEX"), "{plan}");
        assert!(plan.contains("SEARCH log_ends USING INTEGER PRIMARY KEY"), "{plan}");
        assert!(!plan.contains("SCAN log_"), "{plan}");
    });
}

#[test]
fn the_state_tells_of_attempts_that_are_over_that_run_and_that_are_gone() {
    on_both(async |stage| {
        if stage.is_sqlite() {
            let range = stage.reader().attempts_since_restore().await.unwrap();
            assert_eq!(range, (AttemptId(0), AttemptId(0)));
        }
        let over = stage.running(new_job()).await;
        stage.end(&over, AttemptOutcome::Succeeded).await;
        let runs = stage.running(new_job()).await;
        let asked = [runs.attempt, AttemptId(999_999), over.attempt];
        let mut fates = stage.reader().fates(&asked).await.unwrap();
        fates.sort_by_key(|fate| fate.attempt);
        let fate = |attempt, has_ended| Fate { attempt, has_ended, log_bytes: 0 };
        assert_eq!(fates, [fate(over.attempt, true), fate(runs.attempt, false)]);
        stage.execute("DELETE FROM attempts").await;
        assert_eq!(stage.reader().fates(&asked).await.unwrap(), []);
        if stage.is_sqlite() {
            let range = stage.reader().attempts_since_restore().await.unwrap();
            assert_eq!(range, (AttemptId(0), runs.attempt), "what is gone was there");
            stage.execute("UPDATE counters SET value = 3000000007 WHERE name = 'attempt'").await;
            let range = stage.reader().attempts_since_restore().await.unwrap();
            assert_eq!(range, (AttemptId(3_000_000_000), AttemptId(3_000_000_007)));
        }
    });
}
