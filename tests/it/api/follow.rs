//! Following one job: state and output in one stream that ends with the job, resumes at the line, and shows every
//! attempt in order.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::api::transport::{BOTH, Feed, Transport};
use crate::support::daemon::{Daemon, string};
use crate::support::program::program;

const FOLLOW: &str = "subscription ($id: ID!, $after: EventCursor, $logAfter: LogCursor) {
  jobFollow(id: $id, after: $after, logAfter: $logAfter) {
    job { state }
    log { attempt isComplete droppedBytes lines { cursor stream text isTruncated } }
    cursor
    logCursor
  }
}";

const LOG: &str = "subscription ($id: ID!, $attempt: Int, $after: LogCursor, $streams: [LogStream!]) {
  jobLog(id: $id, attempt: $attempt, after: $after, streams: $streams) {
    attempt isComplete hasMore cursor lines { cursor stream text }
  }
}";

/// One line as it came: attempt, stream, text.
type Line = (i64, String, String);

/// The lines of a batch.
fn lines(batch: &Value) -> Vec<Line> {
    let attempt = batch["attempt"].as_i64().unwrap_or_default();
    let lines = batch["lines"].as_array().into_iter().flatten();
    lines.map(|line| (attempt, string(&line["stream"]), string(&line["text"]))).collect()
}

fn line(attempt: i64, stream: &str, text: &str) -> Line {
    (attempt, stream.to_owned(), text.to_owned())
}

/// Every line of a `jobLog` to its end.
fn whole_log(transport: Transport, daemon: &Daemon, variables: &Value) -> Vec<Line> {
    let mut feed = Feed::open(transport, daemon, LOG, variables);
    let mut all = Vec::new();
    while let Some(batch) = feed.next_or_complete("jobLog") {
        all.extend(lines(&batch));
    }
    all
}

/// A job that prints what is written into its gate, and ends with it.
struct Echo {
    id: String,
    gate: File,
    written: usize,
}

impl Echo {
    fn start(daemon: &Daemon, name: &str) -> Echo {
        let path: PathBuf = daemon.directory().join(name);
        assert!(program("mkfifo").arg(&path).status().expect("mkfifo is part of every system").success());
        // Open for both, which waits for nobody.
        let gate = OpenOptions::new().read(true).write(true).open(&path).expect("the gate is there");
        let id = daemon.enqueue(&["/bin/cat", path.to_str().expect("a path is text")]);
        Echo { id, gate, written: 0 }
    }

    /// Waits until the job reads its gate, by a line that goes through it.
    fn await_reading(&mut self, daemon: &Daemon) {
        self.print(1);
        let mut feed = Feed::open(Transport::Sse, daemon, LOG, &json!({"id": self.id}));
        while lines(&feed.expect("jobLog")).is_empty() {}
    }

    fn print(&mut self, count: usize) {
        for _ in 0..count {
            writeln!(self.gate, "line {}", self.written).expect("the gate is open");
            self.written += 1;
        }
    }
}

#[test]
fn a_follower_that_is_cut_resumes_at_the_line() {
    let daemon = Daemon::start();
    for (transport, name) in BOTH.into_iter().zip(["gate-1", "gate-2"]) {
        let mut echo = Echo::start(&daemon, name);
        let (mut after, mut log_after) = (Value::Null, Value::Null);
        let mut seen: Vec<String> = Vec::new();
        for round in 0..5 {
            let variables = json!({"id": echo.id, "after": after, "logAfter": log_after});
            let mut feed = Feed::open(transport, &daemon, FOLLOW, &variables);
            // Some lines while it watches, and more that it will not wait for.
            echo.print(3);
            let enough = echo.written - round % 2;
            echo.print(2);
            while seen.len() < enough {
                let step = feed.expect("jobFollow");
                after = step["cursor"].clone();
                let batch = step["log"]["lines"].as_array().cloned().unwrap_or_default();
                for line in batch.iter().take(enough - seen.len()) {
                    seen.push(string(&line["text"]));
                    log_after = line["cursor"].clone();
                }
            }
            drop(feed);
            echo.print(2);
        }
        let Echo { id, gate, written } = echo;
        drop(gate);
        let variables = json!({"id": id, "after": after, "logAfter": log_after});
        let mut feed = Feed::open(transport, &daemon, FOLLOW, &variables);
        let mut state = Value::Null;
        while let Some(step) = feed.next_or_complete("jobFollow") {
            state = step["job"]["state"].clone();
            seen.extend(lines(&step["log"]).into_iter().map(|(_, _, text)| text));
            (after, log_after) = (step["cursor"].clone(), step["logCursor"].clone());
        }
        let expected: Vec<String> = (0..written).map(|number| format!("line {number}")).collect();
        assert_eq!(seen, expected, "{transport:?}");
        assert_eq!(state, json!("SUCCEEDED"), "{transport:?}");
        // Behind the end there is one last word and no line.
        let variables = json!({"id": id, "after": after, "logAfter": log_after});
        let mut feed = Feed::open(transport, &daemon, FOLLOW, &variables);
        while let Some(step) = feed.next_or_complete("jobFollow") {
            assert_eq!(step["job"]["state"], json!("SUCCEEDED"));
            assert_eq!(lines(&step["log"]), Vec::<Line>::new(), "{transport:?}");
        }
    }
}

#[test]
fn a_followed_job_shows_every_attempt_in_order() {
    let daemon = Daemon::start();
    for (transport, name) in BOTH.into_iter().zip(["mark-1", "mark-2"]) {
        let mark = daemon.directory().join(name);
        let script = r#"echo "begin $BEADLE_ATTEMPT"; if [ -e "$0" ]; then echo good; exit 0; fi; : >"$0"; echo bad >&2; exit 7"#;
        let id = daemon.enqueue_with(json!({
            "run": {"command": {"exec": {"argv": ["/bin/sh", "-c", script, mark]}}},
            "retryPolicy": {"maxAttempts": 2, "initialDelay": "300ms"},
        }));
        let mut feed = Feed::open(transport, &daemon, FOLLOW, &json!({ "id": id }));
        let (mut seen, mut states, mut between) = (Vec::new(), Vec::new(), Value::Null);
        while let Some(step) = feed.next_or_complete("jobFollow") {
            let state = string(&step["job"]["state"]);
            if states.last() != Some(&state) {
                states.push(state);
            }
            seen.extend(lines(&step["log"]));
            if step["log"]["attempt"] == json!(1) {
                between = step["logCursor"].clone();
            }
        }
        let first = [line(1, "STDERR", "bad"), line(1, "STDOUT", "begin 1")];
        let second = [line(2, "STDOUT", "begin 2"), line(2, "STDOUT", "good")];
        // Two pipes have no order between them.
        let known = seen.len().min(2);
        seen[..known].sort();
        assert_eq!(seen, [&first[..], &second[..]].concat(), "{transport:?}");
        assert_eq!(states.last().map(String::as_str), Some("SUCCEEDED"), "{states:?}");
        assert!(states.iter().any(|state| state == "RETRYING"), "{states:?}");
        // Behind the first attempt's last line comes the second one.
        let mut feed = Feed::open(transport, &daemon, FOLLOW, &json!({"id": id, "logAfter": between}));
        let mut rest = Vec::new();
        while let Some(step) = feed.next_or_complete("jobFollow") {
            rest.extend(lines(&step["log"]));
        }
        assert_eq!(rest, second, "{transport:?}");
        for (attempt, count) in [(1, 2), (2, 2)] {
            let one = whole_log(transport, &daemon, &json!({"id": id, "attempt": attempt}));
            assert!(one.len() == count && one.iter().all(|line| line.0 == attempt), "{attempt}: {one:?}");
        }
    }
}

#[test]
fn a_log_can_be_followed_by_stream_and_from_a_line() {
    let daemon = Daemon::start();
    let script = "for i in 1 2 3; do echo out $i; echo err $i >&2; done";
    let id = daemon.enqueue(&["/bin/sh", "-c", script]);
    for transport in BOTH {
        for (stream, word) in [("STDOUT", "out"), ("STDERR", "err")] {
            let seen = whole_log(transport, &daemon, &json!({"id": id, "streams": [stream]}));
            let wanted = [1, 2, 3].map(|number| line(1, stream, &format!("{word} {number}")));
            assert_eq!(seen, wanted, "{transport:?}");
        }
        let none = whole_log(transport, &daemon, &json!({"id": id, "streams": ["SYSTEM"]}));
        assert_eq!(none, Vec::<Line>::new(), "{transport:?}");
        let all = whole_log(transport, &daemon, &json!({ "id": id }));
        assert_eq!(all.len(), 6, "{all:?}");
        let query = "query ($id: ID!) { job(id: $id) { log { lines { cursor stream text } } } }";
        let page = daemon.graphql(query, json!({ "id": id }));
        let page = page["job"]["log"]["lines"].as_array().expect("a page has lines");
        for (index, after) in page.iter().enumerate() {
            let rest = whole_log(transport, &daemon, &json!({"id": id, "after": after["cursor"]}));
            assert_eq!(rest, all[index + 1..], "{transport:?} behind line {index}");
        }
    }
}

#[test]
fn a_watched_job_tells_at_once_and_ends_when_it_is_final() {
    let daemon = Daemon::start();
    let query = "subscription ($id: ID!) { job(id: $id) { job { id state } cursor } }";
    for (transport, name) in BOTH.into_iter().zip(["gate-1", "gate-2"]) {
        let mut echo = Echo::start(&daemon, name);
        let mut feed = Feed::open(transport, &daemon, query, &json!({"id": echo.id}));
        let mut states = vec![string(&feed.expect("job")["job"]["state"])];
        assert!(["QUEUED", "RUNNING"].contains(&states[0].as_str()), "{states:?}");
        while states.last().is_some_and(|state| state != "RUNNING") {
            states.push(string(&feed.expect("job")["job"]["state"]));
        }
        // It waits at its gate, so it is this that ends it.
        echo.await_reading(&daemon);
        drop(echo.gate);
        let mut is_after_end = false;
        while let Some(step) = feed.next_or_complete("job") {
            assert!(!is_after_end, "{transport:?}: a message after the final state: {step}");
            is_after_end = step["job"]["state"] == json!("SUCCEEDED");
        }
        assert!(is_after_end, "{transport:?}: completed without the final state");
        let mut late = Feed::open(transport, &daemon, query, &json!({"id": echo.id}));
        assert_eq!(late.expect("job")["job"]["state"], json!("SUCCEEDED"));
        assert_eq!(late.next_or_complete("job"), None);
    }
}

#[test]
fn a_job_that_is_not_there_is_not_found() {
    let daemon = Daemon::start();
    for transport in BOTH {
        for query in [
            r#"subscription { job(id: "job_999") { cursor } }"#,
            r#"subscription { jobFollow(id: "job_999") { cursor } }"#,
            r#"subscription { jobLog(id: "job_999") { cursor } }"#,
        ] {
            let error = Feed::open(transport, &daemon, query, &json!({})).expect_error();
            assert_eq!(
                error["extensions"]["code"],
                json!("NOT_FOUND"),
                "{query} over {transport:?}: {error:#}"
            );
        }
    }
}

#[test]
fn the_daemons_own_remarks_are_system_lines() {
    let daemon = Daemon::start();
    // A report that is none is told to the person who reads the log.
    let script = r#"echo 'this is no report' >"$BEADLE_REPORT"; echo done"#;
    let id = daemon.enqueue(&["/bin/sh", "-c", script]);
    for transport in BOTH {
        let all = whole_log(transport, &daemon, &json!({ "id": id }));
        assert_eq!(all.len(), 2, "{all:?}");
        assert_eq!(all[0], line(1, "STDOUT", "done"));
        assert!(all[1].1 == "SYSTEM" && all[1].2.contains("report"), "{all:?}");
        let remarks = whole_log(transport, &daemon, &json!({"id": id, "streams": ["SYSTEM"]}));
        assert_eq!(remarks, all[1..], "{transport:?}");
    }
    assert_eq!(daemon.wait_final(&id).job["state"], json!("SUCCEEDED"));
}
