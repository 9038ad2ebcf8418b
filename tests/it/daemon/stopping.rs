//! Orderly stops: what runs is waited for, what waits is kept, and nothing is left behind.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use beadle::base::random::{Random, SystemRandom};
use serde_json::{Value, json};

use super::faults::{ForeignLock, Told, ask, status, until_back, until_down};
use crate::support::daemon::{Daemon, Ended, string};
use crate::support::postgres::skips_on_postgres;
use crate::support::program::{pids_with, program};
use crate::support::sse::{End, Sse};
use crate::support::wait::{PATIENCE, now, until};

/// What the tests follow a job by.
const FOLLOW: &str = "subscription ($id: ID!) {
  jobFollow(id: $id) { job { state } log { lines { text } } }
}";

/// The variable that marks a job's processes.
const MARK: &str = "TEST_RUN";

/// A job that says `started` and ends with `code` once somebody writes a line into its gate.
struct Gated {
    id: String,
    gate: PathBuf,
    mark: String,
}

impl Gated {
    fn enqueue(daemon: &Daemon, code: u8) -> Gated {
        let mark = SystemRandom.hex(8);
        let gate = daemon.directory().join(&mark);
        let made = program("mkfifo").arg(&gate).status().expect("mkfifo is part of every system");
        assert!(made.success());
        let script = r#"echo started; read -r line <"$0"; echo "$line"; exit "$1""#;
        let argv = ["/bin/sh", "-c", script, gate.to_str().expect("plain text"), &code.to_string()];
        let id = daemon.enqueue_with(json!({
            "run": {"command": {"exec": {"argv": argv, "environment": [{"name": MARK, "value": mark}]}}},
        }));
        Gated { id, gate, mark }
    }

    /// Follows the job until it has said that it runs.
    fn follow_until_started(&self, daemon: &Daemon) -> Sse {
        let mut follow = daemon.subscribe(FOLLOW, &json!({"id": self.id}));
        let is_started = |message: &Value| {
            let lines = message["data"]["jobFollow"]["log"]["lines"].as_array();
            lines.is_some_and(|lines| lines.iter().any(|line| line["text"] == json!("started")))
        };
        assert!(follow.any(|message| is_started(&message)), "the stream ended before the job started");
        follow
    }

    /// Lets the job go on; it must be waiting at its gate.
    fn open(&self) {
        let mut gate = fs::OpenOptions::new().write(true).open(&self.gate).expect("the gate is there");
        writeln!(gate, "released").expect("the job reads its gate");
    }

    fn is_gone(&self) {
        until("the job's processes to be gone", PATIENCE, || {
            pids_with(MARK, &self.mark).is_empty().then_some(())
        });
    }
}

fn first_attempt(ended: &Ended) -> Value {
    let attempts = ended.job["attempts"]["nodes"].as_array().expect("a list of attempts");
    let first = attempts.iter().find(|attempt| attempt["number"] == json!(1));
    first.expect("a first attempt").clone()
}

#[test]
fn a_stop_waits_for_what_runs_and_starts_nothing_more() {
    let mut daemon = Daemon::start();
    let gated = Gated::enqueue(&daemon, 0);
    let mut follow = gated.follow_until_started(&daemon);
    let draining = "subscription { events(filter: {types: [WORKER_CHANGED]}) { events { type } } }";
    let mut workers = daemon.subscribe(draining, &json!({}));
    daemon.ask_to_stop();
    // The stop has begun once the worker is seen to drain; the API is still there.
    workers.next().expect("the worker's change is told");
    let answer = daemon.graphql("{ workers { nodes { status } } }", json!({}));
    assert_eq!(answer["workers"]["nodes"][0]["status"], json!("DRAINING"), "{answer}");
    let waiting = daemon.enqueue(&["/bin/echo", "after the restart"]);
    gated.open();
    let passed: Vec<String> =
        follow.by_ref().map(|message| string(&message["data"]["jobFollow"]["job"]["state"])).collect();
    assert_eq!(passed.last().map(String::as_str), Some("SUCCEEDED"), "{passed:?}");
    let status = daemon.wait_ended();
    assert!(status.success(), "an orderly stop ends with {status}");

    daemon.restart();
    let ended = daemon.wait_final(&waiting);
    assert_eq!(ended.job["state"], json!("SUCCEEDED"));
    assert_eq!(first_attempt(&ended)["outcome"], json!("SUCCEEDED"), "it was started before the restart");
    assert_eq!(ended.lines, [("STDOUT".to_owned(), "after the restart".to_owned())]);
}

#[test]
fn stores_that_fail_during_the_drain_come_back_during_the_drain() {
    if skips_on_postgres("it locks the SQLite files") {
        return;
    }
    let mut daemon = Daemon::start_with(&["--drain-timeout", "2m"]);
    let gated = Gated::enqueue(&daemon, 0);
    let _follow = gated.follow_until_started(&daemon);
    let draining = "subscription { events(filter: {types: [WORKER_CHANGED]}) { events { type } } }";
    let mut workers = daemon.subscribe(draining, &json!({}));
    daemon.ask_to_stop();
    workers.next().expect("the worker's change is told");
    let lock = ForeignLock::take(&daemon.data().join("beadle.db"));
    let told = ask(daemon.address(), daemon.token(), "locked", &["/bin/true"]);
    assert!(matches!(&told, Told::Refused(why) if why.starts_with("STORE_LOCKED")), "{told:?}");
    until_down(&daemon, "store", "STORE_LOCKED");
    drop(lock);
    let back = until_back(&daemon, "back");
    let logs = daemon.data().join("logs.db");
    fs::rename(&logs, daemon.directory().join("aside")).expect("one file system");
    until_down(&daemon, "logs", "output is not kept");
    let begun = now();
    until("the log store to be begun anew", PATIENCE, || (status(&daemon, "logs") == "OK").then_some(()));
    println!("during the drain: the store was back after {back:?}, the logs after {:?}", begun.elapsed());
    gated.open();
    let ended = daemon.wait_ended();
    assert!(ended.success(), "{ended}");
    daemon.restart();
    let ended = daemon.wait_final(&gated.id);
    assert_eq!(ended.job["state"], json!("SUCCEEDED"), "{:#}", ended.job);
    assert!(ended.lines.iter().any(|(_, text)| text == "released"), "{:?}", ended.lines);
}

#[test]
fn a_second_signal_skips_the_wait_and_leaves_no_process() {
    let mut daemon = Daemon::start();
    let gated = Gated::enqueue(&daemon, 0);
    let _follow = gated.follow_until_started(&daemon);
    let begun = now();
    let draining = "subscription { events(filter: {types: [WORKER_CHANGED]}) { events { type } } }";
    let mut workers = daemon.subscribe(draining, &json!({}));
    daemon.ask_to_stop();
    // Two signals at once are one to the kernel: the second is sent when the first is seen to work.
    workers.next().expect("the worker's change is told");
    daemon.ask_to_stop();
    let status = daemon.wait_ended();
    assert!(status.success(), "{status}");
    // Far below the drain timeout of 30 s.
    assert!(begun.elapsed() < Duration::from_secs(15), "the stop took {:?}", begun.elapsed());
    gated.is_gone();
    check_interrupted(&mut daemon, &gated);
}

#[test]
fn what_outlasts_the_drain_timeout_is_interrupted() {
    let mut daemon = Daemon::start_with(&["--drain-timeout", "300ms"]);
    let gated = Gated::enqueue(&daemon, 0);
    let _follow = gated.follow_until_started(&daemon);
    let status = daemon.terminate();
    assert!(status.success(), "{status}");
    gated.is_gone();
    check_interrupted(&mut daemon, &gated);
}

/// The first attempt was interrupted, which costs no try: the job either runs again to its end, or it failed for
/// that reason.
fn check_interrupted(daemon: &mut Daemon, gated: &Gated) {
    daemon.restart();
    let query = "query ($id: ID!) { job(id: $id) { state } }";
    let state = daemon.graphql(query, json!({"id": gated.id}))["job"]["state"].clone();
    if state != json!("FAILED") {
        gated.open();
    }
    let ended = daemon.wait_final(&gated.id);
    assert_eq!(first_attempt(&ended)["outcome"], json!("INTERRUPTED"), "{:#}", ended.job);
    match ended.job["state"].as_str() {
        Some("SUCCEEDED") => {}
        Some("FAILED") => {
            assert_eq!(ended.job["failure"]["outcome"], json!("INTERRUPTED"), "{:#}", ended.job);
        }
        _ => panic!("{:#}", ended.job),
    }
}

#[test]
fn an_idle_daemon_stops_at_once_and_ends_its_streams() {
    let mut daemon = Daemon::start();
    let mut stream = daemon.subscribe("subscription { events { cursor } }", &json!({}));
    let begun = now();
    let status = daemon.terminate();
    assert!(status.success(), "{status}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let end = loop {
        if let Err(end) = stream.next_within(PATIENCE) {
            break end;
        }
    };
    assert_ne!(end, End::TimedOut, "the stream outlives its daemon");
}

#[test]
fn a_cancelled_job_is_stopped_with_all_its_processes() {
    let daemon = Daemon::start();
    let mark = SystemRandom.hex(8);
    // Neither the shell nor its child takes notice of SIGTERM: only the group's SIGKILL ends them.
    let script = "trap '' TERM; echo started; sleep 600 & wait";
    let id = daemon.enqueue_with(json!({
        "run": {"command": {"exec": {
            "argv": ["/bin/sh", "-c", script], "environment": [{"name": MARK, "value": mark}],
        }}},
        "killGrace": "200ms",
    }));
    let gated = Gated { id: id.clone(), gate: PathBuf::new(), mark };
    let _follow = gated.follow_until_started(&daemon);
    let cancel = r#"mutation ($id: ID!) { jobCancel(input: {id: $id, reason: "test"}) {
      job { stopRequestedAt } userErrors { code message } } }"#;
    let answer = daemon.graphql(cancel, json!({ "id": id }));
    assert_eq!(answer["jobCancel"]["userErrors"], json!([]));
    let ended = daemon.wait_final(&id);
    assert_eq!(ended.job["state"], json!("CANCELLED"), "{:#}", ended.job);
    assert!(ended.job["stopRequestedAt"].is_string(), "{:#}", ended.job);
    gated.is_gone();
    let again = daemon.graphql(cancel, json!({ "id": id }));
    assert_eq!(again["jobCancel"]["userErrors"][0]["code"], json!("NOT_CANCELLABLE"), "{again}");
}
