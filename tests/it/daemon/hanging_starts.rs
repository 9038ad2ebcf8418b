//! Programs that cannot be started, for their disk does not answer: who else starts, ends or looks is not held up.
//!
//! Such a disk is played by a lease: who opens the file waits until its holder gives it back.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, string};
use crate::support::program::program;
use crate::support::wait::{PATIENCE, now, until};

/// The system gives a lease back by itself after `lease-break-time`, 45 s.
const LEASE_HOLDS: Duration = Duration::from_secs(30);
/// `F_SETSIG`, which the crate does not know.
const SET_SIGNAL: libc::c_int = 10;
/// The daemon ends itself when nothing runs in it for so long.
const STUCK_AFTER: Duration = Duration::from_secs(3);

/// A program that nobody can open until this is dropped.
struct Leased {
    _file: File,
    path: PathBuf,
}

impl Leased {
    /// It does this when it starts after all.
    fn new(directory: &Path, does: &str) -> Leased {
        let path = directory.join("leased.sh");
        // Written by a child: one of ours that another test starts just now must not hold it open.
        let script = "printf '#!/bin/sh\\n%s\\n' \"$1\" >\"$0\" && chmod 755 \"$0\"";
        let mut writing = program("/bin/sh");
        let written = writing.args(["-c", script]).arg(&path).arg(does).status().expect("a shell starts");
        assert!(written.success());
        let file = File::open(&path).expect("it was written");
        until("the lease", PATIENCE, || lease(&file).then_some(()));
        Leased { _file: file, path }
    }
}

/// Takes a lease. We are told of who waits for it by a signal that is ignored where nobody listens.
fn lease(file: &File) -> bool {
    let fd = file.as_raw_fd();
    // SAFETY: both commands take a number, and the file is open.
    #[expect(unsafe_code, reason = "no safe call takes a lease")]
    unsafe {
        libc::fcntl(fd, SET_SIGNAL, libc::SIGURG) == 0
            && libc::fcntl(fd, libc::F_SETLEASE, libc::F_WRLCK) == 0
    }
}

fn starts(daemon: &Daemon) -> Value {
    let answer = daemon.graphql("{ health { subsystems { name status message } } }", json!({}));
    let rows = answer["health"]["subsystems"].as_array().cloned().unwrap_or_default();
    rows.into_iter().find(|row| row["name"] == json!("starts")).unwrap_or_default()
}

fn cancel(daemon: &Daemon, id: &str) {
    let query = "mutation ($id: ID!) { jobCancel(input: {id: $id}) { job { id } userErrors { message } } }";
    let answer = daemon.graphql(query, json!({ "id": id }));
    assert_eq!(answer["jobCancel"]["userErrors"], json!([]), "{answer}");
}

#[test]
fn starts_that_hang_hold_up_nobody_and_can_be_cancelled() {
    let daemon = Daemon::start_in_environment(&[
        ("BEADLE_SLOTS", "8"),
        ("BEADLE_TEST_STUCK_AFTER_MS", &STUCK_AFTER.as_millis().to_string()),
        ("BEADLE_TEST_START_HANGS_MS", "300"),
    ]);
    let leased = Leased::new(daemon.directory(), "echo started");
    let begun = now();
    let path = leased.path.display().to_string();
    // More than the runtime has threads on any machine that this runs on with so few slots.
    let hung: Vec<String> = (0..4).map(|_| daemon.enqueue(&[&path])).collect();
    let timed = daemon.enqueue_with(json!({
        "run": {"command": {"exec": {"argv": [path]}}}, "timeout": "500ms",
    }));
    let said = until("the row to say so", PATIENCE, || {
        let row = starts(&daemon);
        (row["status"] == json!("DEGRADED") && string(&row["message"]).contains("and 4 more")).then_some(row)
    });
    println!("hanging starts: after {:?}: {said}", begun.elapsed());
    assert!(string(&said["message"]).contains(&path), "{said}");
    // What others leave behind is still found and ended with them, and they end.
    let mut others = 0;
    let mut worst = Duration::ZERO;
    while begun.elapsed() < STUCK_AFTER * 2 {
        let (marked, asked) = (format!("TEST_HANGS={others}"), now());
        let script = format!("{marked} setsid sleep 300 & sleep 0.05; echo done");
        let ended = daemon.wait_final(&daemon.enqueue(&["/bin/sh", "-c", &script]));
        assert_eq!(ended.job["state"], json!("SUCCEEDED"), "{:#}", ended.job);
        worst = worst.max(asked.elapsed());
        others += 1;
    }
    println!("hanging starts: {others} other jobs, the slowest took {worst:?}");
    assert!(others >= 3 && worst < Duration::from_secs(5), "{others} jobs, {worst:?}");
    let ended = daemon.wait_final(&timed);
    let failure = &ended.job["failure"];
    assert_eq!(failure["outcome"], json!("TIMED_OUT"), "{failure}");
    assert!(string(&failure["message"]).contains("while its start hung"), "{failure}");
    cancel(&daemon, &hung[0]);
    let ended = daemon.wait_final(&hung[0]);
    assert_eq!(ended.job["state"], json!("CANCELLED"), "{:#}", ended.job);
    println!("hanging starts: cancelled and timed out {:?} after they began", begun.elapsed());
    assert!(begun.elapsed() < LEASE_HOLDS, "{:?}", begun.elapsed());
    drop(leased);
    for id in &hung[1..] {
        let ended = daemon.wait_final(id);
        assert_eq!(ended.job["state"], json!("SUCCEEDED"), "{:#}", ended.job);
        assert_eq!(ended.lines.last().map(|(_, text)| text.as_str()), Some("started"));
    }
    until("the row to be well", PATIENCE, || (starts(&daemon)["status"] == json!("OK")).then_some(()));
    let sleepers = crate::support::program::pids_with("TEST_HANGS", "0");
    assert_eq!(sleepers, Vec::<u32>::new());
}

#[test]
fn the_time_of_an_attempt_counts_from_the_beginning_of_its_start() {
    let daemon = Daemon::start();
    let leased = Leased::new(daemon.directory(), "sleep 0.3; echo late");
    let timeout = Duration::from_millis(500);
    let id = daemon.enqueue_with(json!({
        "run": {"command": {"exec": {"argv": [leased.path.display().to_string()]}}}, "timeout": "500ms",
    }));
    let state = || daemon.graphql("query ($id: ID!) { job(id: $id) { state } }", json!({ "id": id }));
    until("the job to be taken", PATIENCE, || (state()["job"]["state"] == json!("RUNNING")).then_some(()));
    let begun = now();
    until("the time to be over", PATIENCE, || (begun.elapsed() > timeout * 2).then_some(()));
    drop(leased);
    let ended = daemon.wait_final(&id);
    assert_eq!(ended.job["failure"]["outcome"], json!("TIMED_OUT"), "{:#}", ended.job);
}
