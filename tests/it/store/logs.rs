//! Output: every byte that was kept comes back once, and what was not is counted.

use beadle::domain::id::AttemptId;
use beadle::domain::limits::LOG_PAGE_BYTES_MAX;
use beadle::domain::log::{LogCursor, LogFilter, LogStream, NewLine};
use beadle::store::logs::{DroppedChunk, LogEnd, LogRead, LogTurn, Logs, NewChunk, Unended};
use beadle::store::{Fault, FaultKind};

use super::stage::{Stage, T0, on_both};

const ATTEMPT: AttemptId = AttemptId(7);
const NEWEST: LogCursor = LogCursor::behind_all(ATTEMPT);

fn line(stream: LogStream, bytes: &[u8]) -> NewLine {
    NewLine { at: T0, stream, bytes: bytes.to_vec(), is_line_end: true }
}

/// Lines named by their number, alternately on both streams.
fn chunk(first_line: i64, count: i64) -> NewChunk {
    let lines: Vec<_> = (first_line..first_line + count)
        .map(|number| {
            let stream = if number % 2 == 0 { LogStream::Stdout } else { LogStream::Stderr };
            line(stream, format!("line {number}").as_bytes())
        })
        .collect();
    NewChunk { attempt: ATTEMPT, first_line, lines: lines.into(), dropped_before: 0 }
}

async fn write(stage: &Stage, chunks: Vec<NewChunk>) -> Logs {
    let logs = stage.hand.store().logs();
    logs.write(&LogTurn { chunks, ..LogTurn::default() }, T0).await.expect("output can be written");
    logs
}

fn only(streams: &[LogStream]) -> LogFilter {
    LogFilter::new(streams.to_vec(), None).expect("streams are always good")
}

fn at(line: i64) -> LogCursor {
    LogCursor { attempt: ATTEMPT, line }
}

fn texts(read: &LogRead) -> Vec<&str> {
    read.lines.iter().map(|line| line.text.as_str()).collect()
}

#[test]
fn pages_give_every_line_once_whatever_their_size() {
    on_both(async |stage| {
        let sizes = [1, 5, 1, 7, 30, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 30];
        let mut chunks = Vec::new();
        let mut next = 0;
        for size in sizes {
            chunks.push(chunk(next, size));
            next += size;
        }
        let logs = write(&stage, chunks).await;
        let expected: Vec<_> = (0..next).map(|number| format!("line {number}")).collect();
        for limit in [1, 3, 31, 1_000] {
            let (mut cursor, mut met) = (at(0), Vec::new());
            loop {
                let read = logs.read(cursor, &LogFilter::default(), limit).await.unwrap();
                assert!(read.lines.len() <= limit);
                assert!(read.lines.last().is_none_or(|last| last.cursor == read.cursor));
                met.extend(read.lines.into_iter().map(|line| line.text));
                cursor = read.cursor;
                if !read.has_more {
                    break;
                }
            }
            assert_eq!((&met, cursor), (&expected, at(next)), "limit {limit}");
        }
        // A cursor in the middle of a chunk goes on right behind its line.
        for line in 0..next {
            let read = logs.read(at(line), &LogFilter::default(), 1).await.unwrap();
            assert_eq!(texts(&read), [format!("line {line}")]);
        }
        let end = logs.read(at(next), &LogFilter::default(), 5).await.unwrap();
        assert_eq!((end.lines.len(), end.cursor, end.has_more), (0, at(next), false));
        write(&stage, vec![chunk(next, 1)]).await;
        let more = logs.read(end.cursor, &LogFilter::default(), 5).await.unwrap();
        assert_eq!(texts(&more), [format!("line {next}")], "a follower goes on where it stood");
        let other = LogCursor { attempt: AttemptId(8), line: 0 };
        assert!(logs.read(other, &LogFilter::default(), 5).await.unwrap().lines.is_empty());
    });
}

#[test]
fn streams_are_told_apart_and_the_cursor_moves_over_the_others() {
    on_both(async |stage| {
        let mut system = chunk(40, 1);
        system.lines = vec![line(LogStream::System, b"line 40")].into();
        let logs = write(&stage, vec![chunk(0, 10), chunk(10, 30), system]).await;
        let read = logs.read(at(0), &only(&[LogStream::Stderr]), 100).await.unwrap();
        assert_eq!((read.lines.len(), read.cursor), (20, at(41)));
        assert!(read.lines.iter().all(|line| line.stream == LogStream::Stderr));
        let read = logs.read(at(0), &only(&[LogStream::System, LogStream::Stderr]), 100).await.unwrap();
        assert_eq!(read.lines.len(), 21);
        let (mut cursor, mut met) = (at(0), 0);
        loop {
            let read = logs.read(cursor, &only(&[LogStream::Stdout]), 3).await.unwrap();
            met += read.lines.len();
            cursor = read.cursor;
            if !read.has_more {
                break;
            }
        }
        assert_eq!((met, cursor), (20, at(41)));
    });
}

#[test]
fn the_last_lines_come_oldest_first_and_lead_on_to_what_follows() {
    on_both(async |stage| {
        let chunks = (0..20).map(|number| chunk(number * 5, 5)).collect();
        let logs = write(&stage, chunks).await;
        for limit in [1, 4, 5, 6, 63, 100, 500] {
            let read = logs.read_last(NEWEST, &LogFilter::default(), limit).await.unwrap();
            let first = 100 - i64::try_from(limit).unwrap().min(100);
            let expected: Vec<_> = (first..100).map(|number| format!("line {number}")).collect();
            assert_eq!((texts(&read), read.cursor), (expected.iter().map(String::as_str).collect(), at(100)));
        }
        for (before, limit) in [(100, 3), (98, 2), (95, 7), (52, 100), (1, 4), (0, 4)] {
            let read = logs.read_last(at(before), &LogFilter::default(), limit).await.unwrap();
            let first = (before - i64::try_from(limit).unwrap()).max(0);
            let expected: Vec<_> = (first..before).map(|number| format!("line {number}")).collect();
            let texts_before = texts(&read);
            assert_eq!(
                (texts_before, read.cursor),
                (expected.iter().map(String::as_str).collect(), at(before))
            );
        }
        let errors = logs.read_last(NEWEST, &only(&[LogStream::Stderr]), 2).await.unwrap();
        assert_eq!((texts(&errors), errors.cursor), (vec!["line 97", "line 99"], at(100)));
        let none = logs.read_last(NEWEST, &only(&[LogStream::System]), 2).await.unwrap();
        assert_eq!((none.lines.len(), none.cursor), (0, at(100)));
        let empty =
            logs.read_last(LogCursor::behind_all(AttemptId(8)), &LogFilter::default(), 2).await.unwrap();
        assert_eq!((empty.lines.len(), empty.cursor.line), (0, 0));
    });
}

#[test]
fn a_page_is_bounded_in_bytes() {
    on_both(async |stage| {
        let long = vec![b'x'; 16_000];
        let lines = vec![line(LogStream::Stdout, &long); 100];
        let logs = write(
            &stage,
            vec![NewChunk { attempt: ATTEMPT, first_line: 0, lines: lines.into(), dropped_before: 0 }],
        )
        .await;
        let read = logs.read(at(0), &LogFilter::default(), 1_000).await.unwrap();
        let bytes: usize = read.lines.iter().map(|line| line.text.len()).sum();
        assert!((LOG_PAGE_BYTES_MAX..LOG_PAGE_BYTES_MAX + 16_000).contains(&bytes), "{bytes}");
        assert!(read.has_more);
        let rest = logs.read(read.cursor, &LogFilter::default(), 1_000).await.unwrap();
        assert_eq!(read.lines.len() + rest.lines.len(), 66);
        let last = logs.read_last(NEWEST, &LogFilter::default(), 1_000).await.unwrap();
        assert_eq!((last.lines.len(), last.cursor), (33, at(100)));
    });
}

#[test]
fn bytes_that_are_no_text_are_shown_and_never_break_a_page() {
    on_both(async |stage| {
        let every_byte: Vec<u8> = (0..=255).collect();
        let mut cut = line(LogStream::Stdout, "🦀".as_bytes());
        cut.bytes.truncate(2);
        cut.is_line_end = false;
        let lines = vec![
            line(LogStream::Stdout, &every_byte),
            line(LogStream::Stderr, b""),
            line(LogStream::Stdout, b"nul \0 here"),
            cut,
            line(LogStream::Stdout, "naïve 🦀".as_bytes()),
        ];
        let logs = write(
            &stage,
            vec![NewChunk { attempt: ATTEMPT, first_line: 0, lines: lines.into(), dropped_before: 0 }],
        )
        .await;
        let read = logs.read(at(0), &LogFilter::default(), 10).await.unwrap();
        let shown = texts(&read);
        assert_eq!(shown[0], String::from_utf8_lossy(&every_byte));
        assert_eq!(shown[1..], ["", "nul \0 here", "\u{fffd}", "naïve 🦀"]);
        let pieces: Vec<_> = read.lines.iter().map(|line| line.is_truncated).collect();
        assert_eq!(pieces, [false, false, false, true, false]);
    });
}

#[test]
fn what_was_dropped_is_counted_where_it_is_missing() {
    on_both(async |stage| {
        let gap = NewChunk { dropped_before: 100, ..chunk(10, 5) };
        let logs = write(&stage, vec![chunk(0, 5), chunk(5, 5), gap, chunk(15, 5)]).await;
        // The middle makes room: the chunk behind it remembers its bytes and those missing before it.
        let dropped =
            DroppedChunk { attempt: ATTEMPT, first_line: 5, next_first_line: 10, bytes: 35, own_bytes: 35 };
        logs.write(&LogTurn { dropped: vec![dropped], ..LogTurn::default() }, T0).await.unwrap();
        let all = logs.read(at(0), &LogFilter::default(), 100).await.unwrap();
        assert_eq!((all.lines.len(), all.dropped_bytes, all.cursor), (15, 135, at(20)));
        assert_eq!(texts(&all)[4..6], ["line 4", "line 10"]);
        let (mut cursor, mut missing) = (at(0), 0);
        loop {
            let read = logs.read(cursor, &LogFilter::default(), 2).await.unwrap();
            missing += read.dropped_bytes;
            cursor = read.cursor;
            if !read.has_more {
                break;
            }
        }
        assert_eq!(missing, 135, "a gap is told once, however small the pages are");
        assert_eq!(logs.read(at(10), &LogFilter::default(), 100).await.unwrap().dropped_bytes, 135);
        assert_eq!(logs.read(at(11), &LogFilter::default(), 100).await.unwrap().dropped_bytes, 0);
        assert_eq!(logs.read_last(NEWEST, &LogFilter::default(), 100).await.unwrap().dropped_bytes, 135);
        assert_eq!(logs.read_last(NEWEST, &LogFilter::default(), 3).await.unwrap().dropped_bytes, 0);
        let kept = logs.kept(&[ATTEMPT]).await.unwrap().remove(0);
        let bytes = 5 * 7 + 10 * 8 + 135;
        assert_eq!((kept.line_count, kept.byte_count, kept.dropped_bytes), (20, bytes, 135));
    });
}

#[test]
fn an_end_is_kept_as_it_was_told_first() {
    on_both(async |stage| {
        let logs = write(&stage, vec![chunk(0, 3)]).await;
        assert_eq!(logs.end(ATTEMPT).await.unwrap(), None);
        let end = LogEnd {
            attempt: ATTEMPT,
            line_count: 3,
            byte_count: (1 << 53) + 1,
            dropped_bytes: 4,
            is_forgotten: false,
        };
        logs.write(&LogTurn { ends: vec![end], ..LogTurn::default() }, T0).await.unwrap();
        let late = LogEnd { line_count: 9, ..end };
        logs.write(&LogTurn { ends: vec![late], ..LogTurn::default() }, T0).await.unwrap();
        assert_eq!(logs.end(ATTEMPT).await.unwrap(), Some(end));
        let stage = stage.reopen().await;
        assert_eq!(stage.hand.store().logs().end(ATTEMPT).await.unwrap(), Some(end));
        assert_eq!(
            stage.hand.store().logs().read(at(0), &LogFilter::default(), 9).await.unwrap().lines.len(),
            3
        );
    });
}

#[test]
fn a_log_that_was_left_gets_its_end_and_the_gap_behind_its_last_line_is_told() {
    on_both(async |stage| {
        let gap = NewChunk { dropped_before: 30, ..chunk(5, 5) };
        let uncounted = NewChunk { attempt: AttemptId(8), ..chunk(0, 2) };
        let logs = write(&stage, vec![chunk(0, 5), gap, uncounted]).await;
        // A disk that is nearly full takes no output, but ends: else nothing could make room.
        logs.look(Some(Fault::new(FaultKind::Full, "the disk is nearly full")));
        let more = LogTurn { chunks: vec![chunk(10, 1)], ..LogTurn::default() };
        assert!(logs.write(&more, T0).await.is_err());
        let left = Unended { attempt: ATTEMPT, byte_count: 10 * 7 + 30 + 9 };
        let end = logs.finish(&[left], T0).await.unwrap().remove(0);
        assert_eq!((end.line_count, end.byte_count, end.dropped_bytes), (11, 109, 39));
        assert_eq!(logs.end(ATTEMPT).await.unwrap(), Some(end));
        let read = logs.read(at(0), &LogFilter::default(), 100).await.unwrap();
        assert_eq!((read.lines.len(), read.dropped_bytes), (11, 39));
        assert_eq!(texts(&read)[10], "9 bytes of output were not kept");
        // It is done once.
        let again = logs.finish(&[Unended { byte_count: 1_000, ..left }], T0).await.unwrap();
        assert_eq!((again, logs.end(ATTEMPT).await.unwrap()), (vec![end], Some(end)));
        let others = [8, 9].map(|number| Unended { attempt: AttemptId(number), byte_count: 0 });
        assert_eq!(logs.finish(&others, T0).await.unwrap().len(), 2);
        let uncounted = logs.end(AttemptId(8)).await.unwrap().unwrap();
        assert_eq!((uncounted.line_count, uncounted.byte_count, uncounted.dropped_bytes), (2, 14, 0));
        assert_eq!(logs.end(AttemptId(9)).await.unwrap(), Some(LogEnd::of_nothing(AttemptId(9))));
        let oldest = logs.oldest(9).await.unwrap();
        assert_eq!(oldest.iter().map(|(attempt, _)| attempt.0).collect::<Vec<_>>(), [7, 8]);
    });
}

#[test]
fn a_turn_that_fails_keeps_nothing_of_itself() {
    on_both(async |stage| {
        let logs = write(&stage, vec![chunk(0, 3)]).await;
        let twice = LogTurn { chunks: vec![chunk(3, 3), chunk(0, 3)], ..LogTurn::default() };
        assert!(logs.write(&twice, T0).await.is_err());
        assert_eq!(logs.read(at(0), &LogFilter::default(), 9).await.unwrap().lines.len(), 3);
        write(&stage, vec![chunk(3, 3)]).await;
        assert_eq!(
            logs.read(at(0), &LogFilter::default(), 9).await.unwrap().lines.len(),
            6,
            "the next one is written"
        );
    });
}

#[test]
fn a_removed_log_is_gone_and_the_others_stay() {
    on_both(async |stage| {
        let other = NewChunk { attempt: AttemptId(8), ..chunk(0, 2) };
        let logs = write(&stage, vec![chunk(0, 3), other]).await;
        let ends = [AttemptId(8), ATTEMPT].map(|attempt| LogEnd {
            attempt,
            line_count: 3,
            byte_count: 21,
            dropped_bytes: 0,
            is_forgotten: false,
        });
        assert!(logs.oldest(9).await.unwrap().is_empty(), "what is still written to is not old");
        logs.write(&LogTurn { ends: ends.to_vec(), ..LogTurn::default() }, T0).await.unwrap();
        let oldest = logs.oldest(9).await.unwrap();
        assert_eq!(oldest.iter().map(|(attempt, _)| attempt.0).collect::<Vec<_>>(), [7, 8]);
        assert!(oldest.iter().all(|(_, bytes)| *bytes > 0));
        assert_eq!(logs.oldest(1).await.unwrap().len(), 1);
        assert!(logs.total_bytes().await.unwrap() > 0);
        logs.remove(&[ATTEMPT, AttemptId(404)]).await.unwrap();
        assert!(logs.read(at(0), &LogFilter::default(), 9).await.unwrap().lines.is_empty());
        assert_eq!(logs.end(ATTEMPT).await.unwrap(), None);
        let left = LogCursor { attempt: AttemptId(8), line: 0 };
        assert_eq!(logs.read(left, &LogFilter::default(), 9).await.unwrap().lines.len(), 2);
        logs.remove(&[]).await.unwrap();
    });
}
