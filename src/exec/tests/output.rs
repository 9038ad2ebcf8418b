//! What is read of a process's output, and when the reading ends.

use std::os::fd::OwnedFd;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::exec::output::{self, Line};
use crate::exec::{BATCHES_MAX, DRAIN_IDLE, DRAIN_MAX, MAX_PIECE_BYTES, Survivor, kill_survivors};

/// The chunks that are read, and the pieces they make.
type Case<'a> = (&'a [&'a [u8]], &'a [(usize, bool)]);

fn pieces_of(chunks: &[&[u8]]) -> Vec<(usize, bool)> {
    let mut line = Line::new(Stream::Stdout);
    let at = (SystemClock.now(), SystemClock.monotonic());
    let mut found = Vec::new();
    for chunk in chunks {
        let mut rest = *chunk;
        while !rest.is_empty() {
            found.extend(line.take(&mut rest, at));
        }
    }
    found.extend(line.flush());
    found.into_iter().map(|piece| (piece.bytes.len(), piece.is_line_end)).collect()
}

#[test]
fn lines_are_cut_at_newlines_and_at_the_longest_piece() {
    let max = MAX_PIECE_BYTES;
    let full = vec![b'x'; max];
    let over = vec![b'x'; max + 1];
    let cases: [Case; 8] = [
        (&[b""], &[]),
        (&[b"ab\n\nc"], &[(2, true), (0, true), (1, false)]),
        (&[b"a", b"b\nc", b"\n"], &[(2, true), (1, true)]),
        (&[&full], &[(max, false)]),
        (&[&full, b"\n"], &[(max, true)]),
        (&[&over], &[(max, false), (1, false)]),
        (&[&over, b"\n"], &[(max, false), (1, true)]),
        (&[&full, &full, b"\n\n"], &[(max, false), (max, true), (0, true)]),
    ];
    for (chunks, expected) in cases {
        assert_eq!(pieces_of(chunks), expected, "{} chunks", chunks.len());
    }
}

#[tokio::test]
async fn both_streams_are_kept_apart() {
    let outcome = run(&sh("echo out; echo err >&2; printf tail")).await;
    assert_eq!(outcome.bytes(Stream::Stdout), b"out\ntail");
    assert_eq!(outcome.bytes(Stream::Stderr), b"err\n");
    assert_eq!((outcome.drain.stdout_bytes, outcome.drain.stderr_bytes), (8, 4));
    assert!(!outcome.pieces.iter().any(|piece| piece.bytes == b"tail" && piece.is_line_end));
}

#[tokio::test]
async fn bytes_that_are_no_text_are_kept() {
    let outcome = run(&sh(r"printf 'a\000b\377\376\n\200\n\r\n'")).await;
    assert_eq!(outcome.bytes(Stream::Stdout), b"a\0b\xff\xfe\n\x80\n\r\n");
}

#[tokio::test]
async fn a_line_of_a_megabyte_is_split_and_complete() {
    let outcome = run(&sh("head -c 1000000 /dev/zero | tr '\\0' x; echo; echo next")).await;
    let mut expected = vec![b'x'; 1_000_000];
    expected.extend_from_slice(b"\nnext\n");
    assert!(outcome.bytes(Stream::Stdout) == expected);
    assert!(outcome.pieces.iter().all(|piece| piece.bytes.len() <= MAX_PIECE_BYTES));
    assert!(outcome.pieces.len() >= 1_000_000 / MAX_PIECE_BYTES);
}

#[tokio::test]
async fn many_short_lines_are_all_kept() {
    let outcome = run(&sh("yes '' | head -n 300000; seq 100000")).await;
    let all = outcome.bytes(Stream::Stdout);
    assert_eq!(all.len(), 300_000 + 588_895);
    assert!(all.ends_with(b"\n99999\n100000\n"));
}

#[tokio::test]
async fn an_unfinished_line_is_shown_while_it_runs() {
    let (running, mut received) = start(&sh("printf 'Continue? '; exec sleep 300"));
    let batch = within(PATIENCE, received.recv()).await.unwrap().unwrap();
    assert_eq!(batch.len(), 1);
    assert_eq!((batch[0].bytes.as_slice(), batch[0].is_line_end), (&b"Continue? "[..], false));
    running.kill();
}

#[tokio::test]
async fn a_child_that_closes_its_output_still_gives_its_exit() {
    let outcome = run(&sh("exec >&- 2>&-; exit 7")).await;
    assert_eq!(outcome.exit.code, Some(7));
    assert!(outcome.pieces.is_empty());
    assert!(!outcome.drain.is_output_held_open);

    let (mut running, mut received) = start(&sh("exec >&- 2>&-; exec sleep 300"));
    assert!(within(PATIENCE, received.recv()).await.unwrap().is_none(), "the output ends before the exit");
    assert!(within(Duration::ZERO, running.wait()).await.is_none());
    running.kill();
    assert_eq!(wait(&mut running).await.signal, Some(libc::SIGKILL));
}

#[tokio::test]
async fn nobody_receiving_holds_the_child_back_and_loses_nothing() {
    let (mut running, mut received) = start(&sh("head -c 20000000 /dev/zero"));
    assert!(within(Duration::from_millis(300), running.wait()).await.is_none());
    let all = async {
        let mut count = 0;
        while let Some(batch) = received.recv().await {
            count += batch.iter().map(|piece| piece.bytes.len()).sum::<usize>();
        }
        count
    };
    assert_eq!(within(PATIENCE, all).await, Some(20_000_000));
    assert_eq!(wait(&mut running).await.code, Some(0));
}

/// The reading end of a full pipe, and the writing end that somebody still holds.
fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (reading, writing) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    assert_eq!(rustix::io::write(&writing, &vec![b'\n'; 60_000]), Ok(60_000));
    (reading, writing)
}

#[tokio::test]
async fn a_receiver_that_comes_after_the_drain_s_time_gets_what_both_pipes_hold() {
    // Several, since it is open which of the pipes and the exit a reader sees first.
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let ((stdout, out_held), (stderr, err_held)) = (full_pipe(), full_pipe());
            let (batches, received) = mpsc::channel(BATCHES_MAX);
            let ended = CancellationToken::new();
            ended.cancel();
            let reading = output::read(output::pipes(stdout, Some(stderr)).unwrap(), batches, ended, clock());
            (crate::base::task::spawn(reading), received, (out_held, err_held))
        })
        .collect();
    let later = SystemClock.monotonic() + DRAIN_IDLE + Duration::from_millis(100);
    while SystemClock.monotonic() < later {
        tokio::task::yield_now().await;
    }
    for (reading, mut received, _held) in readers {
        let mut count = 0;
        while let Some(batch) = within(PATIENCE, received.recv()).await.unwrap() {
            count += batch.len();
        }
        assert_eq!(count, 120_000);
        let report = DrainReport { is_output_held_open: true, stdout_bytes: 60_000, stderr_bytes: 60_000 };
        assert_eq!(reading.await.unwrap(), report);
    }
}

#[tokio::test]
async fn a_dropped_receiver_does_not_disturb_the_child() {
    let (mut running, received) = start(&sh("yes | head -c 10000000; exit 3"));
    drop(received);
    assert_eq!(wait(&mut running).await.code, Some(3));
    let drain = within(PATIENCE, running.drained()).await.unwrap();
    assert_eq!((drain.stdout_bytes, drain.is_output_held_open), (10_000_000, false));
}

#[tokio::test]
async fn a_silent_holder_of_the_pipe_is_given_up() {
    let spec = with_runaway("sleep 300", "&3", "exit 0");
    let began = SystemClock.monotonic();
    let outcome = run(&spec).await;
    assert!(outcome.drain.is_output_held_open);
    assert_eq!(outcome.drain.stdout_bytes, outcome.text().len() as u64);
    assert!(SystemClock.monotonic() - began < DRAIN_MAX);
    let cleared = kill_survivors(&[Survivor { identity: None, cookie: spec.cookie }], &SystemClock);
    assert_eq!(cleared.killed_count, 1);
}

#[tokio::test]
async fn a_chatty_holder_of_the_pipe_is_given_up_in_the_end() {
    let spec = with_runaway("yes", "&3", "exit 4");
    let began = SystemClock.monotonic();
    let (mut running, mut received) = start(&spec);
    // Not kept: it is a flood.
    let end = async { while received.recv().await.is_some() {} };
    within(PATIENCE, end).await.expect("the flood is cut");
    assert!(SystemClock.monotonic() - began >= DRAIN_MAX);
    assert_eq!(wait(&mut running).await.code, Some(4));
    assert!(running.drained().await.is_output_held_open);
    kill_survivors(&[Survivor { identity: None, cookie: spec.cookie }], &SystemClock);
}

#[tokio::test]
async fn outputs_that_are_one_keep_their_order() {
    let script =
        "i=0; while [ $i -lt 1000 ]; do echo out $i; echo err $i >&2; i=$((i + 1)); done; printf end >&2";
    let outcome = run(&Spec { merges_output: true, ..sh(script) }).await;
    let expected: Vec<_> =
        (0..1_000).flat_map(|number| ["out", "err"].map(|word| format!("{word} {number}"))).collect();
    assert_eq!(outcome.text(), format!("{}\nend", expected.join("\n")));
    assert_eq!(outcome.bytes(Stream::Stderr), b"");
    assert!(!outcome.drain.is_output_held_open);
    assert_eq!(outcome.drain.stderr_bytes, 0);
}
