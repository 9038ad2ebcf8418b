//! Searching output: every line that holds the text comes once, whatever the pages, and no page looks at all of a
//! large log.

use beadle::domain::id::AttemptId;
use beadle::domain::limits::{LOG_SCAN_BYTES_MAX, LOG_SCAN_CHUNKS_MAX, LOG_SCAN_LAST_FACTOR};
use beadle::domain::log::{LineKind, LogCursor, LogFilter, LogStream, NewLine};
use beadle::store::logs::{LogRead, LogTurn, Logs, NewChunk};

use super::stage::{Stage, T0, on_both, on_sqlite};

const ATTEMPT: AttemptId = AttemptId(7);
const NEWEST: LogCursor = LogCursor::behind_all(ATTEMPT);

/// Chunks of these lines; those of odd numbers are errors.
async fn write(stage: &Stage, chunks: &[Vec<String>]) -> Logs {
    let logs = stage.hand.store().logs();
    let mut first_line = 0;
    let mut turn = LogTurn::default();
    for texts in chunks {
        let line = |(number, text): (i64, &String)| NewLine {
            at: T0,
            stream: if number % 2 == 0 { LogStream::Stdout } else { LogStream::Stderr },
            bytes: text.as_bytes().to_vec(),
            is_line_end: true,
        };
        let lines: Vec<_> = (first_line..).zip(texts).map(line).collect();
        turn.chunks.push(NewChunk { attempt: ATTEMPT, first_line, lines: lines.into(), dropped_before: 0 });
        first_line += i64::try_from(texts.len()).expect("a count fits");
    }
    logs.write(&turn, T0).await.expect("output can be written");
    logs
}

fn grep(text: &str) -> LogFilter {
    LogFilter::new(Vec::new(), Some(text.to_owned())).expect("the text is good")
}

fn texts(read: &LogRead) -> Vec<&str> {
    read.lines.iter().map(|line| line.text.as_str()).collect()
}

/// Everything that pages of `limit` lines give, and how many pages it took.
async fn all(logs: &Logs, filter: &LogFilter, limit: usize) -> (Vec<String>, usize) {
    let mut cursor = LogCursor { attempt: ATTEMPT, line: 0 };
    let (mut met, mut count) = (Vec::new(), 0);
    loop {
        let read = logs.read(cursor, filter, limit).await.expect("the log can be read");
        assert!(read.lines.len() <= limit);
        assert!(read.cursor.line > cursor.line || !read.has_more, "a page goes on: {cursor:?}");
        met.extend(read.lines.into_iter().map(|line| line.text));
        (cursor, count) = (read.cursor, count + 1);
        if !read.has_more {
            return (met, count);
        }
    }
}

#[test]
fn a_search_gives_every_line_with_the_text_once_whatever_the_page() {
    on_both(async |stage| {
        let chunks: Vec<Vec<String>> = (0..100)
            .map(|chunk| {
                (0..=chunk % 7)
                    .map(|line| format!("{} {chunk}.{line}", ["fine", "an Error:"][usize::from(line == 2)]))
                    .collect()
            })
            .collect();
        let expected: Vec<String> =
            chunks.iter().flatten().filter(|text| text.contains("Error")).cloned().collect();
        assert!(expected.len() > 50);
        let logs = write(&stage, &chunks).await;
        for limit in [1, 3, 1_000] {
            assert_eq!(all(&logs, &grep("ERROR:"), limit).await.0, expected, "limit {limit}");
        }
        assert_eq!(all(&logs, &grep("nowhere"), 10).await, (Vec::new(), 1));
        assert_eq!(all(&logs, &grep("e% 1"), 10).await.0, Vec::<String>::new(), "a text is no pattern");
        let both = LogFilter::new(vec![LogStream::Stderr], Some("error".to_owned())).unwrap();
        let errors = all(&logs, &both, 7).await.0;
        assert!(!errors.is_empty() && errors.len() < expected.len());
    });
}

#[test]
fn the_newest_lines_with_a_text_are_found_far_back() {
    on_both(async |stage| {
        let mut chunks = vec![vec!["plain".to_owned(); 3]; 60];
        chunks[2][1] = "needle one".to_owned();
        chunks[2][2] = "needle two".to_owned();
        chunks[50][0] = "NEEDLE three".to_owned();
        let logs = write(&stage, &chunks).await;
        for (limit, expected) in [
            (1, &["NEEDLE three"][..]),
            (2, &["needle two", "NEEDLE three"]),
            (9, &["needle one", "needle two", "NEEDLE three"]),
        ] {
            let read = logs.read_last(NEWEST, &grep("needle"), limit).await.unwrap();
            assert_eq!((texts(&read), read.has_more), (expected.to_vec(), false));
            assert_eq!(read.cursor.line, 180, "it leads on to what follows");
        }
    });
}

#[test]
fn a_search_back_from_a_line_finds_the_one_before_it() {
    on_both(async |stage| {
        let mut chunks = vec![vec!["plain".to_owned(); 3]; 60];
        for (chunk, line) in [(2, 1), (2, 2), (50, 0)] {
            chunks[chunk][line] = format!("needle {}", chunk * 3 + line);
        }
        let logs = write(&stage, &chunks).await;
        for (before, expected) in [(180, "needle 150"), (150, "needle 8"), (8, "needle 7"), (7, "")] {
            let from = LogCursor { attempt: ATTEMPT, line: before };
            let read = logs.read_last(from, &grep("needle"), 1).await.unwrap();
            assert_eq!(texts(&read).concat(), expected, "before {before}");
            assert!(!read.has_more);
        }
    });
}

#[test]
fn lines_that_look_like_an_error_are_found_among_others() {
    on_both(async |stage| {
        let mut chunks = vec![vec!["fetching 3 of 9, 0 errors so far".to_owned(); 5]; 70];
        chunks[40][3] = "ERROR: relation \"orders\" does not exist".to_owned();
        chunks[66][1] = "panicked at 'index out of bounds'".to_owned();
        let expected = [chunks[40][3].clone(), chunks[66][1].clone()];
        let logs = write(&stage, &chunks).await;
        let errors = LogFilter::default().of_kind(LineKind::Error);
        assert_eq!(all(&logs, &errors, 1).await.0, expected);
        let last = logs.read_last(NEWEST, &errors, 1).await.unwrap();
        assert_eq!(texts(&last), expected[1..]);
        let both = grep("orders").of_kind(LineKind::Error);
        assert_eq!(all(&logs, &both, 9).await.0, expected[..1]);
        assert_eq!(all(&logs, &grep("so far").of_kind(LineKind::Error), 9).await.0, Vec::<String>::new());
    });
}

#[test]
fn a_page_is_filled_however_small_the_chunks_are() {
    on_both(async |stage| {
        let chunks: Vec<_> = (0..500).map(|number| vec![format!("line {number}")]).collect();
        let logs = write(&stage, &chunks).await;
        let start = LogCursor { attempt: ATTEMPT, line: 100 };
        let read = logs.read(start, &LogFilter::default(), 250).await.unwrap();
        assert_eq!((read.lines.len(), read.cursor.line, read.has_more), (250, 350, true));
        let rest = logs.read(read.cursor, &LogFilter::default(), 250).await.unwrap();
        assert_eq!((rest.lines.len(), rest.cursor.line, rest.has_more), (150, 500, false));
    });
}

#[test]
fn a_page_of_a_search_looks_at_so_much_and_ends_there() {
    // The bound is the same on both; a large log is written faster here.
    on_sqlite(async |stage| {
        let count = LOG_SCAN_CHUNKS_MAX * 2 + 100;
        let mut chunks = vec![vec!["plain".to_owned()]; count];
        chunks[count - 1][0] = "needle".to_owned();
        let logs = write(&stage, &chunks).await;
        let start = LogCursor { attempt: ATTEMPT, line: 0 };
        let first = logs.read(start, &grep("needle"), 10).await.unwrap();
        assert!(first.lines.is_empty() && first.has_more);
        assert_eq!(first.cursor.line, i64::try_from(LOG_SCAN_CHUNKS_MAX).unwrap());
        assert_eq!(all(&logs, &grep("needle"), 10).await, (vec!["needle".to_owned()], 3));
    });
}

#[test]
fn a_page_of_a_search_looks_at_so_many_bytes() {
    on_sqlite(async |stage| {
        let size = 256 * 1024;
        let logs = write(&stage, &vec![vec!["x".repeat(size)]; LOG_SCAN_BYTES_MAX / size + 8]).await;
        let start = LogCursor { attempt: ATTEMPT, line: 0 };
        let first = logs.read(start, &grep("needle"), 10).await.unwrap();
        assert!(first.lines.is_empty() && first.has_more);
        assert_eq!(first.cursor.line, i64::try_from(LOG_SCAN_BYTES_MAX / size).unwrap());
    });
}

#[test]
fn a_search_of_the_newest_lines_says_that_it_has_not_looked_at_all() {
    on_sqlite(async |stage| {
        let count = LOG_SCAN_CHUNKS_MAX * LOG_SCAN_LAST_FACTOR;
        let mut chunks = vec![vec!["plain".to_owned()]; count + 8];
        chunks[0][0] = "needle".to_owned();
        let logs = write(&stage, &chunks).await;
        let read = logs.read_last(NEWEST, &grep("needle"), 10).await.unwrap();
        assert_eq!((read.lines.len(), read.has_more), (0, true));
        let newest = logs.read_last(NEWEST, &grep("plain"), 10).await.unwrap();
        assert_eq!((newest.lines.len(), newest.has_more), (10, false));
    });
}

#[test]
fn a_gap_is_told_with_the_next_line_that_is_shown() {
    on_both(async |stage| {
        let logs = write(&stage, &[vec!["a".to_owned(), "b".to_owned()]]).await;
        let line = |text: &str| NewLine {
            at: T0,
            stream: LogStream::Stdout,
            bytes: text.as_bytes().to_vec(),
            is_line_end: true,
        };
        let lines = ["c", "d", "e"].map(line).to_vec();
        let gap = NewChunk { attempt: ATTEMPT, first_line: 2, lines: lines.into(), dropped_before: 100 };
        logs.write(&LogTurn { chunks: vec![gap], ..LogTurn::default() }, T0).await.unwrap();
        let start = LogCursor { attempt: ATTEMPT, line: 0 };
        for (filter, line, count) in [(LogFilter::default(), "c", 5), (grep("e"), "e", 1)] {
            let page = logs.read(start, &filter, 10).await.unwrap();
            let last = logs.read_last(NEWEST, &filter, 10).await.unwrap();
            for read in [page, last] {
                assert_eq!((read.lines.len(), read.dropped_bytes), (count, 100));
                let told: Vec<_> = read.lines.iter().filter(|line| line.dropped_before.0 > 0).collect();
                assert_eq!(told.len(), 1, "{told:?}");
                assert_eq!((told[0].text.as_str(), told[0].dropped_before.0), (line, 100));
            }
        }
    });
}
