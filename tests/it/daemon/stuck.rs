//! Parts that do not panic but stand still: seen from outside, shown, and when nothing runs any more the daemon ends so
//! that it is started anew.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::daemon::{Daemon, send, string};
use crate::support::wait::{PATIENCE, now, until};

/// Status and text of a plain path.
fn get(daemon: &Daemon, path: &str) -> (u16, String) {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let mut answer = agent.get(format!("{}{path}", daemon.url())).call().expect("an answer");
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap_or_default())
}

fn row(daemon: &Daemon, name: &str) -> Value {
    let answer = daemon.graphql("{ health { subsystems { name status message } } }", json!({}));
    let rows = answer["health"]["subsystems"].as_array().cloned().unwrap_or_default();
    rows.into_iter().find(|row| row["name"] == json!(name)).unwrap_or_default()
}

fn hang(traps: &TempDir, point: &str) -> String {
    format!("{point}:{}:hang", traps.path().join(point).display())
}

#[test]
fn a_scheduler_that_stands_still_is_seen_and_jobs_go_on() {
    let traps = TempDir::with_prefix("beadle-traps-").expect("a temporary directory can be made");
    let daemon = Daemon::start_in_environment(&[
        ("BEADLE_TEST_POINTS", &hang(&traps, "scheduler.tick")),
        ("BEADLE_TEST_PART_LAG_MS", "500"),
        ("BEADLE_POLL_INTERVAL", "100ms"),
    ]);
    until("the daemon to be ready", PATIENCE, || (get(&daemon, "/readyz").0 == 200).then_some(()));
    fs::write(traps.path().join("scheduler.tick"), "").expect("the trap is set");
    let begun = now();
    let said = until("the daemon to say that it is not ready", PATIENCE, || {
        let (status, text) = get(&daemon, "/readyz");
        (status == 503).then_some(text)
    });
    println!("stuck: a scheduler that stands still was seen after {:?}", begun.elapsed());
    assert!(said.contains("scheduler has not come round for"), "{said}");
    assert_eq!(get(&daemon, "/healthz"), (200, "ok\n".to_owned()));
    until("the row to say so", PATIENCE, || {
        let runtime = row(&daemon, "runtime");
        (runtime["status"] == json!("DEGRADED")).then(|| {
            assert!(string(&runtime["message"]).starts_with("the scheduler stands still"), "{runtime}");
        })
    });
    let id = daemon.enqueue(&["/bin/echo", "on"]);
    assert_eq!(daemon.wait_final(&id).job["state"], json!("SUCCEEDED"));
}

#[test]
fn a_writer_whose_disk_stands_still_is_not_ready_and_lives() {
    let traps = TempDir::with_prefix("beadle-traps-").expect("a temporary directory can be made");
    let daemon = Daemon::start_in_environment(&[
        ("BEADLE_TEST_POINTS", &hang(&traps, "writer.turn")),
        ("BEADLE_TEST_PART_LAG_MS", "500"),
    ]);
    until("the daemon to be ready", PATIENCE, || (get(&daemon, "/readyz").0 == 200).then_some(()));
    fs::write(traps.path().join("writer.turn"), "").expect("the trap is set");
    let (address, token) = (daemon.address().to_owned(), daemon.token().to_owned());
    let pause = "mutation { queuePause(input: {name: \"default\"}) { userErrors { message } } }";
    // It waits until the daemon is gone.
    std::thread::spawn(move || send(&address, &token, pause, &json!({})));
    let said = until("the daemon to say that it is not ready", PATIENCE, || {
        let (status, text) = get(&daemon, "/readyz");
        (status == 503).then_some(text)
    });
    assert!(said.contains("the writer has been at one transaction for"), "{said}");
    assert_eq!(get(&daemon, "/healthz"), (200, "ok\n".to_owned()));
}

#[test]
fn a_runtime_that_runs_nothing_ends_the_daemon_and_nothing_is_lost() {
    let traps = TempDir::with_prefix("beadle-traps-").expect("a temporary directory can be made");
    let mut daemon = Daemon::start_in_environment(&[
        ("BEADLE_TEST_POINTS", &hang(&traps, "runtime.beat")),
        ("BEADLE_TEST_STUCK_AFTER_MS", "1500"),
    ]);
    let id = daemon.enqueue_with(json!({
        "run": {"command": {"exec": {"argv": ["/bin/sh", "-c", "[ $BEADLE_ATTEMPT = 2 ] || sleep 60"]}}},
        "retryPolicy": {"maxAttempts": 2, "initialDelay": "10ms", "retryOn": ["LOST"]},
    }));
    fs::write(traps.path().join("runtime.beat"), "").expect("the trap is set");
    let begun = now();
    until("the lag to be logged", PATIENCE, || {
        daemon.log().contains("the runtime has run no task for").then_some(())
    });
    let status = daemon.wait_ended();
    println!("stuck: the daemon ended itself after {:?}", begun.elapsed());
    assert_eq!(status.signal(), Some(libc::SIGABRT), "{status}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    daemon.restart();
    let ended = daemon.wait_final(&id);
    assert_eq!(ended.job["state"], json!("SUCCEEDED"), "{:#}", ended.job);
}

#[test]
fn a_daemon_that_was_stopped_by_a_signal_for_a_while_goes_on() {
    let daemon = Daemon::start_in_environment(&[("BEADLE_TEST_STUCK_AFTER_MS", "3000")]);
    let pid = rustix::process::Pid::from_raw(i32::try_from(daemon.pid()).expect("a pid fits"));
    let pid = pid.expect("a pid is not 0");
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("our own child");
    crate::support::wait::span(Duration::from_millis(4_500));
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).expect("our own child");
    let id = daemon.enqueue(&["/bin/echo", "on"]);
    assert_eq!(daemon.wait_final(&id).job["state"], json!("SUCCEEDED"));
    // Several looks of the watchdog.
    crate::support::wait::span(Duration::from_secs(1));
    assert_eq!(daemon.graphql("{ health { status } }", json!({}))["health"]["status"], json!("OK"));
}
