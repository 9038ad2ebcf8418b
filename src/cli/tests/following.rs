//! Staying with a job: logs to the right stream, cuts, restarts, timeouts, the job's own code.

use std::fs;

use super::*;
use crate::client::fake::coded;

/// A message of `jobFollow`. Lines are `o text`, `e text` or `s text`; a `+` at the end means that the line goes on.
fn message(state: &str, number: u32, lines: &[&str]) -> Value {
    message_with(state, &Value::Null, number, lines)
}

fn message_with(state: &str, failure: &Value, number: u32, lines: &[&str]) -> Value {
    let lines: Vec<_> = lines
        .iter()
        .map(|line| {
            let (stream, text) = line.split_once(' ').unwrap();
            let stream = match stream {
                "o" => "STDOUT",
                "e" => "STDERR",
                _ => "SYSTEM",
            };
            let cut = text.strip_suffix('+');
            json!({ "at": "t", "stream": stream, "text": cut.unwrap_or(text), "isTruncated": cut.is_some() })
        })
        .collect();
    let log = json!({
        "attempt": 1, "lines": lines, "cursor": format!("l{number}"), "isComplete": false, "droppedBytes": "0",
    });
    json!({ "data": { "jobFollow": {
        "job": { "id": "job_7", "state": state, "failure": failure },
        "log": if lines.is_empty() { Value::Null } else { log },
        "cursor": format!("c{number}"),
        "logCursor": if lines.is_empty() { Value::Null } else { json!(format!("l{number}")) },
    } } })
}

/// A message of `job`.
fn state(state: &str, failure: &Value) -> Value {
    json!({ "data": { "job": { "job": { "id": "job_7", "state": state, "failure": failure }, "cursor": "c1" } } })
}

fn exited(code: i32) -> Value {
    json!({ "outcome": "EXITED", "message": format!("exited with code {code}"), "exitCode": code, "signal": null })
}

fn killed() -> Value {
    json!({ "outcome": "SIGNALED", "message": "ended by SIGKILL", "exitCode": null, "signal": "SIGKILL" })
}

#[test]
fn a_followed_job_prints_to_both_streams_and_gives_its_code() {
    let daemon = FakeDaemon::start(vec![
        enqueued("job_7"),
        Reply::stream(
            vec![
                message("QUEUED", 1, &[]),
                message("RUNNING", 2, &["o one", "e two", "o thr+", "o ee", "s note"]),
                message_with("FAILED", &exited(3), 3, &[]),
            ],
            End::Complete,
        ),
    ]);
    let ran = beadle(&daemon, "run --follow -- make deploy");
    assert_eq!((ran.code, ran.out.as_str()), (3, "one\nthree\n"));
    assert_eq!(ran.err, "beadle: job_7\ntwo\nnote\nbeadle: job_7 FAILED: exited with code 3\n");
    assert_eq!(daemon.seen()[1].variables(), &json!({ "id": "job_7" }));
}

#[test]
fn a_cut_stream_goes_on_behind_the_last_line() {
    let daemon = FakeDaemon::start(vec![
        Reply::stream(vec![message("RUNNING", 1, &["o one"]), message("RUNNING", 2, &[])], End::Cut),
        Reply::hangup(),
        Reply::error(503, "UNAVAILABLE"),
        Reply::stream(vec![message("SUCCEEDED", 3, &["o two"])], End::Complete),
    ]);
    let ran = beadle(&daemon, "follow 7");
    assert_eq!((ran.code, ran.out.as_str()), (0, "one\ntwo\n"));
    let seen = daemon.seen();
    assert_eq!(seen.len(), 4);
    for later in &seen[1..] {
        assert_eq!(later.variables(), &json!({ "id": "job_7", "after": "c2", "logAfter": "l1" }));
    }
    assert_eq!(ran.err.matches("trying again").count(), 1, "one note for one outage: {}", ran.err);
}

#[test]
fn a_daemon_that_comes_back_at_another_address_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let address = directory.path().join("address");
    let second =
        FakeDaemon::start(vec![Reply::stream(vec![message("SUCCEEDED", 2, &["o two"])], End::Complete)]);
    let (file, url) = (address.clone(), second.url.clone());
    let first = FakeDaemon::start(vec![
        Reply::stream(vec![message("RUNNING", 1, &["o one"])], End::Cut)
            .after_doing(move || fs::write(file, url).unwrap()),
    ]);
    fs::write(&address, &first.url).unwrap();
    fs::write(directory.path().join("admin.token"), "from-file\n").unwrap();
    let ran = in_environment("follow 7", &[("BEADLE_DATA_DIR", directory.path().to_str().unwrap())]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "one\ntwo\n"), "{}", ran.err);
    assert!(second.seen()[0].head.contains("authorization: bearer from-file"));
}

#[test]
fn a_stream_that_ends_politely_before_the_job_is_opened_again() {
    let daemon = FakeDaemon::start(vec![
        Reply::stream(vec![message("RUNNING", 1, &["o one"])], End::Complete),
        Reply::stream(vec![message("SUCCEEDED", 2, &[])], End::Complete),
    ]);
    assert_eq!(beadle(&daemon, "follow 7").code, 0);
    assert_eq!(daemon.seen().len(), 2);
}

#[test]
fn a_slow_consumer_resumes_and_an_expired_cursor_is_dropped() {
    let daemon = FakeDaemon::start(vec![
        Reply::stream(vec![message("RUNNING", 1, &["o one"]), coded("SLOW_CONSUMER")], End::Complete),
        Reply::stream(vec![coded("CURSOR_EXPIRED")], End::Complete),
        Reply::stream(vec![message("SUCCEEDED", 2, &["o two"])], End::Complete),
    ]);
    let ran = beadle(&daemon, "follow job_7");
    assert_eq!((ran.code, ran.out.as_str()), (0, "one\ntwo\n"));
    let seen = daemon.seen();
    assert_eq!(seen[1].variables(), &json!({ "id": "job_7", "after": "c1", "logAfter": "l1" }));
    assert_eq!(seen[2].variables(), &json!({ "id": "job_7", "logAfter": "l1" }));
    // Without a cursor to drop, the same error is the end.
    let daemon = FakeDaemon::start(vec![Reply::stream(vec![coded("CURSOR_EXPIRED")], End::Complete)]);
    assert_eq!(beadle(&daemon, "follow 7").code, exit::REFUSED);
}

#[test]
fn a_daemon_that_stays_away_is_given_up() {
    let daemon = FakeDaemon::start(vec![Reply::stream(vec![message("RUNNING", 1, &["o one"])], End::Cut)]);
    let ran = impatiently(&daemon, "follow 7");
    assert_eq!((ran.code, ran.out.as_str()), (exit::UNREACHABLE, "one\n"));
}

#[test]
fn a_known_end_is_not_forgotten_when_the_rest_of_the_log_is_lost() {
    let last = message_with("FAILED", &exited(9), 1, &["o one"]);
    let daemon = FakeDaemon::start(vec![Reply::stream(vec![last], End::Cut)]);
    let ran = impatiently(&daemon, "follow 7");
    assert_eq!(ran.code, 9);
    assert!(ran.err.contains("lost before the end of the log"), "{}", ran.err);
}

#[test]
fn a_wait_ends_with_the_state() {
    for (last, expected, part) in [
        (state("SUCCEEDED", &Value::Null), 0, ""),
        (state("FAILED", &exited(4)), 4, "job_7 FAILED: exited with code 4"),
        (state("FAILED", &killed()), 137, "job_7 FAILED: ended by SIGKILL"),
        (state("CANCELLED", &killed()), 1, "job_7 CANCELLED"),
        (state("EXPIRED", &Value::Null), 1, "job_7 EXPIRED"),
    ] {
        // The wait does not need the stream's own end.
        let daemon =
            FakeDaemon::start(vec![Reply::stream(vec![state("RUNNING", &Value::Null), last], End::Silence)]);
        let ran = beadle(&daemon, "wait 7");
        assert_eq!((ran.code, ran.out.as_str()), (expected, ""));
        assert!(ran.err.contains(part), "{}", ran.err);
    }
}

#[test]
fn a_wait_that_is_over_gives_124_and_leaves_the_job() {
    let running = || Reply::stream(vec![state("RUNNING", &Value::Null)], End::Silence);
    let daemon = FakeDaemon::start(vec![running()]);
    let ran = beadle(&daemon, "wait 7 --timeout 1s");
    assert_eq!(ran.code, exit::TIMED_OUT);
    assert_eq!(ran.err, "beadle: job_7 is RUNNING after 1s; it goes on\n");

    let daemon = FakeDaemon::start(vec![enqueued("job_7"), running()]);
    assert_eq!(beadle(&daemon, "run deploy --wait --wait-timeout 1s").code, exit::TIMED_OUT);
}

#[test]
fn with_json_a_stream_is_one_object_a_line() {
    let daemon = FakeDaemon::start(vec![
        enqueued("job_7"),
        Reply::stream(vec![message("RUNNING", 1, &["o one"]), message("SUCCEEDED", 2, &[])], End::Complete),
    ]);
    let ran = beadle(&daemon, "--json run --follow deploy");
    let lines: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["jobEnqueue"]["job"]["id"], "job_7");
    assert_eq!(lines[1]["jobFollow"]["log"]["lines"][0]["text"], "one");
    assert_eq!(lines[2]["jobFollow"]["job"]["state"], "SUCCEEDED");
}

#[test]
fn a_job_that_does_not_exist_and_a_token_that_may_not_are_told_apart() {
    let daemon = FakeDaemon::start(vec![Reply::stream(vec![coded("NOT_FOUND")], End::Complete)]);
    assert_eq!(beadle(&daemon, "follow 7").code, exit::NOT_FOUND);
    let daemon = FakeDaemon::start(vec![Reply::error(401, "UNAUTHENTICATED")]);
    let ran = beadle(&daemon, "wait 7");
    assert_eq!(ran.code, exit::DENIED);
    assert!(ran.err.contains("BEADLE_TOKEN"), "{}", ran.err);
}

/// Somebody who stopped reading.
struct ClosedPipe;

impl Write for ClosedPipe {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::from(io::ErrorKind::BrokenPipe))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let daemon =
        FakeDaemon::start(vec![Reply::stream(vec![message("RUNNING", 1, &["o one"])], End::Silence)]);
    let environment = [("BEADLE_URL".to_owned(), daemon.url.clone())];
    let args = ["beadle", "follow", "7"].map(OsString::from);
    let mut err = Vec::new();
    let code = program(
        args,
        &environment,
        no_daemon(),
        IMPATIENT,
        Streams { out: &mut ClosedPipe, err: &mut err, is_live: false, is_drawn: false },
    );
    assert_eq!((code, err.len()), (exit::PIPE_CLOSED, 0));
}

#[test]
fn a_terminal_sees_progress_below_the_output_and_nobody_else_does() {
    let with_progress = |state: &str, number: u32, lines: &[&str]| {
        let mut message = message(state, number, lines);
        message["data"]["jobFollow"]["job"]["progress"] = json!({
            "fraction": 0.3, "done": "3", "total": "10", "unit": "files", "status": "copying\u{1b}[2J",
            "estimatedFinishAt": null,
        });
        message
    };
    let follow = |is_live: bool, term: &str| {
        let messages = vec![
            with_progress("RUNNING", 1, &[]),
            with_progress("RUNNING", 2, &["o one"]),
            with_progress("RUNNING", 3, &["o two+"]),
            with_progress("SUCCEEDED", 4, &["o three"]),
        ];
        let daemon = FakeDaemon::start(vec![Reply::stream(messages, End::Complete)]);
        let environment =
            [("BEADLE_URL".to_owned(), daemon.url.clone()), ("TERM".to_owned(), term.to_owned())];
        let args = ["beadle", "follow", "7"].map(OsString::from);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let streams = Streams { out: &mut out, err: &mut err, is_live, is_drawn: false };
        assert_eq!(program(args, &environment, no_daemon(), PATIENT, streams), 0);
        assert_eq!(String::from_utf8(out).unwrap(), "one\ntwothree\n");
        String::from_utf8(err).unwrap()
    };
    let err = follow(true, "xterm");
    let bar = "\r\u{1b}[?7l[######--------------]  30%  3/10 files  copying [2J\u{1b}[K\u{1b}[?7h";
    // Drawn, taken away for a line, drawn again; not behind half a line, and not when it is over.
    let clear = "\r\u{1b}[K";
    assert_eq!(err, format!("{bar}{clear}{bar}{clear}"));
    assert_eq!(follow(true, "dumb"), "");
    assert_eq!(follow(false, "xterm"), "");
}
