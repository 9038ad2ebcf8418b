//! `beadle run --follow`: the output as it comes and the job's own exit code, also when the daemon is replaced
//! in the middle.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::json;

use crate::support::daemon::Daemon;
use crate::support::history::{Event, Follower, newest_cursor};
use crate::support::program::{program, shown};
use crate::support::wait::{PATIENCE, until};

/// A running command line client whose standard output is read as it comes.
struct Client {
    child: Child,
    lines: Receiver<String>,
}

impl Client {
    fn start(daemon: &Daemon, args: &[&str]) -> Client {
        let mut child = daemon
            .cli_command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the client's program starts");
        let lines = lines(child.stdout.take().expect("asked for"));
        Client { child, lines }
    }

    /// The next line that is `wanted`; others before it (notices) are passed over.
    fn expect_line(&self, wanted: &str) {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|why| panic!("{wanted:?} did not come: {why}"));
            if line == wanted {
                return;
            }
        }
    }

    /// What was still to come, and the exit code.
    fn finish(mut self) -> (Vec<String>, Option<i32>) {
        let status = until("the client to end", PATIENCE, || self.child.try_wait().expect("our own child"));
        (self.lines.iter().collect(), status.code())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stdout: ChildStdout) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// A gate that a job waits at until somebody writes into it.
fn gate(daemon: &Daemon) -> PathBuf {
    let path = daemon.directory().join("gate");
    assert!(program("mkfifo").arg(&path).status().expect("mkfifo is part of every system").success());
    path
}

fn open(gate: &Path) {
    let mut gate = fs::OpenOptions::new().write(true).open(gate).expect("the gate is there");
    writeln!(gate, "go").expect("the job reads its gate");
}

#[test]
fn run_follow_prints_at_once_and_exits_with_the_jobs_code() {
    let daemon = Daemon::start();
    let gate = gate(&daemon);
    let script = r#"echo hi; read -r line <"$0"; echo "$line"; exit 3"#;
    let client =
        Client::start(&daemon, &["run", "--follow", "--", "sh", "-c", script, gate.to_str().unwrap()]);
    // The job has not ended when its first line is here: it waits at its gate.
    client.expect_line("hi");
    open(&gate);
    client.expect_line("go");
    let (_, code) = client.finish();
    assert_eq!(code, Some(3));
}

#[test]
fn run_follow_of_a_queued_job_survives_a_restart() {
    let mut daemon = Daemon::start();
    let pause =
        r#"mutation { queuePause(input: {name: "default", reason: "test"}) { userErrors { code } } }"#;
    assert_eq!(daemon.graphql(pause, json!({}))["queuePause"]["userErrors"], json!([]));
    let mut follower = Follower::new(&daemon, newest_cursor(&daemon));
    let client = Client::start(&daemon, &["run", "--follow", "--", "sh", "-c", "echo hi; exit 3"]);
    let is_created = |seen: &[Event]| seen.iter().any(|event| event.kind == "JOB_CREATED");
    assert!(follower.follow(PATIENCE, is_created), "the client enqueued nothing");
    daemon.terminate();
    daemon.restart();
    daemon
        .graphql(r#"mutation { queueResume(input: {name: "default"}) { userErrors { code } } }"#, json!({}));
    client.expect_line("hi");
    let (_, code) = client.finish();
    assert_eq!(code, Some(3));
}

#[test]
fn run_follow_of_a_running_job_survives_a_kill() {
    let mut daemon = Daemon::start();
    let gate = gate(&daemon);
    let script = r#"echo hi; read -r line <"$0"; echo "$line""#;
    let args = ["run", "--follow", "--retries", "3", "--", "sh", "-c", script, gate.to_str().unwrap()];
    let client = Client::start(&daemon, &args);
    client.expect_line("hi");
    daemon.kill9();
    daemon.restart();
    // The second attempt says it again, and only its end is the job's.
    client.expect_line("hi");
    open(&gate);
    client.expect_line("go");
    let (_, code) = client.finish();
    assert_eq!(code, Some(0));
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let mut daemon = Daemon::start();
    let cases: [(&[&str], i32); 6] = [
        (&["status"], 0),
        (&["run", "--wait", "--", "sh", "-c", "exit 7"], 7),
        (&["run", "--wait", "no-such-task"], 3),
        (&["job", "999"], 3),
        (&["run", "--priority", "lots", "--", "true"], 2),
        (&["frobnicate"], 2),
    ];
    for (args, code) in cases {
        let output = daemon.cli(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}\n{}", shown(&output));
    }
    let denied = daemon.cli_command(&["status"]).env("BEADLE_TOKEN", "wrong").output().unwrap();
    assert_eq!(denied.status.code(), Some(4), "{}", shown(&denied));
    daemon.terminate();
    let unreachable = daemon.cli(&["status"]);
    assert_eq!(unreachable.status.code(), Some(5), "{}", shown(&unreachable));
}

#[test]
fn the_client_finds_the_token_in_the_data_directory() {
    let daemon = Daemon::start();
    let mut command = daemon.cli_command(&["status", "--json"]);
    command.env_remove("BEADLE_TOKEN").env("BEADLE_DATA_DIR", daemon.data());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    let answer: Result<serde_json::Value, _> = serde_json::from_slice(&output.stdout);
    assert!(answer.is_ok(), "--json prints JSON: {}", shown(&output));
}

#[test]
fn a_key_makes_run_safe_to_repeat() {
    let daemon = Daemon::start();
    let args = ["run", "--follow", "--key", "release-7", "--", "sh", "-c", "echo once; exit 4"];
    for _ in 0..2 {
        let output = daemon.cli(&args);
        assert_eq!(output.status.code(), Some(4), "{}", shown(&output));
        assert!(
            String::from_utf8_lossy(&output.stdout).lines().any(|line| line == "once"),
            "{}",
            shown(&output)
        );
    }
    let count = daemon.graphql("{ jobs { totalCount } }", json!({}));
    assert_eq!(count["jobs"]["totalCount"], json!(1));
}
