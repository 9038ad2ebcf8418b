//! The daemon's own log: what a collector can rely on, and that nobody who does not read it can stop the daemon.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::exposition::scrape;
use crate::support::wait::{PATIENCE, until};

/// Refused mutations, each of which is a line: more than the pipe and the queue behind it hold.
const REFUSALS: usize = 2_500;

fn lines(log: &str) -> Vec<Value> {
    let read = |line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
    log.lines().map(read).collect()
}

#[test]
fn a_log_for_a_collector_is_one_object_a_line_with_stable_fields() {
    let daemon = Daemon::start();
    let id = daemon.enqueue(&["/bin/sh", "-c", "exit 3"]);
    daemon.wait_final(&id);
    let ended = until("the end of the attempt in the log", PATIENCE, || {
        lines(&daemon.log()).into_iter().find(|line| line["message"] == json!("attempt ended"))
    });
    assert_eq!(ended["job"], json!(id), "{ended}");
    assert!(ended["attempt"].as_str().is_some_and(|attempt| attempt.starts_with("attempt_")), "{ended}");
    let words = (&ended["number"], &ended["outcome"], &ended["state"], &ended["level"]);
    assert_eq!(words, (&json!(1), &json!("EXITED"), &json!("FAILED"), &json!("INFO")), "{ended}");
    for line in lines(&daemon.log()) {
        for field in ["timestamp", "level", "target", "message"] {
            assert!(line[field].is_string(), "no {field}: {line}");
        }
    }
    assert!(!daemon.log().contains(daemon.token()), "a token is in the log");
}

#[test]
fn a_log_for_people_has_no_colours_but_on_a_terminal() {
    let daemon = Daemon::start_with(&["--log-format", "text"]);
    let id = daemon.enqueue(&["/bin/true"]);
    daemon.wait_final(&id);
    let line = until("the end of the attempt in the log", PATIENCE, || {
        daemon.log().lines().find(|line| line.contains("attempt ended")).map(str::to_owned)
    });
    assert!(line.contains(" INFO attempt ended job=") && line.contains(&id), "{line}");
    assert!(!daemon.log().contains('\x1b'), "{}", daemon.log());
}

/// A mutation that is refused, and makes a line in the log.
fn refuse(daemon: &Daemon, count: usize) {
    for _ in 0..count {
        let answer =
            daemon.send("mutation { queuePut(input: {name: \"\"}) { userErrors { code } } }", &json!({}));
        assert!(answer.is_ok_and(|answer| answer["data"]["queuePut"]["userErrors"][0]["code"].is_string()));
    }
}

/// The same daemon once more, its standard error in the hands of the test.
fn start_behind_a_pipe(daemon: &mut Daemon) -> Child {
    daemon.terminate();
    daemon
        .serve_command()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the daemon's program starts")
}

#[test]
fn a_pipe_that_nobody_reads_stops_nothing_and_what_was_dropped_is_said() {
    let mut daemon = Daemon::start();
    // The pipe is held open and not read.
    let mut child = start_behind_a_pipe(&mut daemon);
    let reached = until("it to answer", PATIENCE, || {
        child.try_wait().expect("our own child").is_none().then_some(())?;
        daemon.send("{ viewer { tokenName } }", &json!({})).ok()
    });
    assert!(reached.get("errors").is_none(), "{reached}");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| refuse(&daemon, REFUSALS / 4));
        }
    });
    let id = daemon.enqueue(&["/bin/true"]);
    assert_eq!(daemon.wait_final(&id).job["state"], json!("SUCCEEDED"));
    let dropped = scrape(&daemon).sum("beadle_own_log_dropped_lines_total", &[]);
    println!("{dropped} lines of {REFUSALS} and more were dropped while nobody read");
    assert!(dropped > 0.0, "the pipe and the queue cannot hold {REFUSALS} lines");

    let (is_told, is_last_seen) = (AtomicBool::new(false), AtomicBool::new(false));
    let stderr = child.stderr.take().expect("asked for");
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut told = 0.0;
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let line: Value = serde_json::from_str(&line).unwrap_or_else(|why| panic!("{why}: {line}"));
                if line["message"]
                    .as_str()
                    .is_some_and(|words| words.starts_with("lines of this log were dropped"))
                {
                    told += line["lines"].as_f64().unwrap_or_default();
                    is_told.store(true, Ordering::SeqCst);
                }
                let is_stop = line["message"].as_str().is_some_and(|words| words == "stopped in order");
                is_last_seen.fetch_or(is_stop, Ordering::SeqCst);
            }
            told
        });
        until("the loss to be said", PATIENCE, || is_told.load(Ordering::SeqCst).then_some(()));
        let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("our own child");
        assert!(child.wait().expect("our own child").success());
        let told = reading.join().expect("the reader does not panic");
        assert!(told >= dropped, "{told} of {dropped} lines were said to be dropped");
    });
    assert!(is_last_seen.load(Ordering::SeqCst), "the last line is written before the end");
}

#[test]
fn a_closed_standard_error_stops_nothing() {
    let mut daemon = Daemon::start();
    let mut child = start_behind_a_pipe(&mut daemon);
    drop(child.stderr.take());
    until("it to answer", PATIENCE, || daemon.send("{ viewer { tokenName } }", &json!({})).ok());
    refuse(&daemon, 5);
    let id = daemon.enqueue(&["/bin/true"]);
    assert_eq!(daemon.wait_final(&id).job["state"], json!("SUCCEEDED"));
    child.kill().expect("our own child");
    child.wait().expect("our own child");
}
