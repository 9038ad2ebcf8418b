//! Jobs that are over because of the time: not started by then, or silent for too long. Through the front door.

use std::time::Duration;

use beadle::base::clock::{Clock, SystemClock, Timestamp};
use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::wait::{PATIENCE, now, until};

fn soon(length: Duration) -> String {
    let at: Timestamp = SystemClock.now().plus(length);
    at.to_string()
}

fn echo() -> Value {
    json!({"command": {"exec": {"argv": ["/bin/echo", "ran"]}}})
}

fn state(daemon: &Daemon, id: &str) -> String {
    let query = "query ($id: ID!) { job(id: $id) { state } }";
    daemon.graphql(query, json!({ "id": id }))["job"]["state"].as_str().expect("the job exists").to_owned()
}

#[test]
fn a_job_that_is_not_started_in_time_expires_while_every_slot_is_taken() {
    // With this poll interval only the due time itself can end the wait.
    let daemon = Daemon::start_with(&["--slots", "1", "--poll-interval", "1m"]);
    let running = daemon.enqueue(&["/bin/sleep", "600"]);
    until("the job to run", PATIENCE, || (state(&daemon, &running) == "RUNNING").then_some(()));
    let begun = now();
    let late = daemon.enqueue_with(json!({"run": echo(), "startBy": soon(Duration::from_millis(400))}));
    let ended = daemon.wait_final(&late);
    assert_eq!(ended.job["state"], json!("EXPIRED"), "{:#}", ended.job);
    assert!(begun.elapsed() < Duration::from_secs(30), "it took {:?}", begun.elapsed());
    assert_eq!(ended.job["failure"], Value::Null);
    assert_eq!(ended.job["attempts"]["nodes"], json!([]), "it was started");
    let query =
        "query ($filter: EventFilter) { events(first: 10, filter: $filter) { events { actor data } } }";
    let filter = json!({"jobIds": [late], "types": ["JOB_STATE_CHANGED"]});
    let events = daemon.graphql(query, json!({"filter": filter}))["events"]["events"].take();
    let reason = "it was not started by its startBy";
    let expected =
        json!([{"actor": "dispatcher", "data": {"from": "QUEUED", "to": "EXPIRED", "reason": reason}}]);
    assert_eq!(events, expected);
    let counts = daemon.graphql("{ jobCounts { queued expired } }", json!({}))["jobCounts"].take();
    assert_eq!(counts, json!({"queued": 0, "expired": 1}));
}

#[test]
fn an_expired_job_never_starts_not_even_after_a_hold_or_a_restart() {
    let mut daemon = Daemon::start();
    let by = soon(Duration::from_secs(1));
    let held = daemon.enqueue_with(json!({"run": echo(), "isHeld": true, "startBy": by}));
    daemon.graphql(r#"mutation { queuePause(input: {name: "default"}) { userErrors { code } } }"#, json!({}));
    let paused = daemon.enqueue_with(json!({"run": echo(), "startBy": soon(Duration::from_secs(2))}));
    daemon.kill9();
    daemon.restart();
    assert_eq!(daemon.wait_final(&paused).job["state"], json!("EXPIRED"));
    daemon
        .graphql(r#"mutation { queueResume(input: {name: "default"}) { userErrors { code } } }"#, json!({}));
    until("the time of the held job to pass", PATIENCE, || {
        (SystemClock.now().to_string() > by).then_some(())
    });
    assert_eq!(state(&daemon, &held), "HELD");
    let release = "mutation ($id: ID!) { jobRelease(input: {id: $id}) { userErrors { code } } }";
    daemon.graphql(release, json!({"id": held}));
    assert_eq!(daemon.wait_final(&held).job["state"], json!("EXPIRED"));
}

#[test]
fn a_job_that_starts_in_time_does_not_expire_and_an_impossible_time_is_refused() {
    let daemon = Daemon::start();
    let id = daemon.enqueue_with(json!({"run": echo(), "startBy": soon(Duration::from_mins(10))}));
    assert_eq!(daemon.wait_final(&id).job["state"], json!("SUCCEEDED"));
    let query =
        "mutation ($input: JobEnqueueInput!) { jobEnqueue(input: $input) { userErrors { code path } } }";
    for input in [
        json!({"run": echo(), "startBy": "2001-01-01T00:00:00Z"}),
        json!({"run": echo(), "startBy": soon(Duration::from_mins(1)), "delay": "2m"}),
    ] {
        let answer = daemon.graphql(query, json!({"input": input}));
        assert_eq!(answer["jobEnqueue"]["userErrors"], json!([{"code": "INVALID", "path": ["startBy"]}]));
    }
}

#[test]
fn an_attempt_that_falls_silent_is_stopped_by_its_idle_timeout() {
    let daemon = Daemon::start();
    let run = json!({"command": {"exec": {"argv": ["/bin/sh", "-c", "echo begun; exec sleep 600"]}}});
    let id = daemon.enqueue_with(json!({"run": run, "idleTimeout": "300ms", "timeout": "10m"}));
    let ended = daemon.wait_final(&id);
    assert_eq!(ended.job["state"], json!("FAILED"), "{:#}", ended.job);
    assert_eq!(ended.job["failure"]["outcome"], json!("TIMED_OUT"));
    let message = ended.job["failure"]["message"].as_str().expect("a message");
    assert!(message.starts_with("stopped after its idleTimeout of "), "{message}");
    assert_eq!(ended.lines[0], ("STDOUT".to_owned(), "begun".to_owned()));
}

#[test]
fn an_attempt_that_keeps_writing_outlives_its_idle_timeout_and_a_task_may_set_it() {
    let daemon = Daemon::start();
    // In all it takes twice as long as any one silence may.
    let script = "for i in 1 2 3 4 5 6 7 8 9 10; do echo $i; sleep 0.4; done";
    let run = json!({"command": {"exec": {"argv": ["/bin/sh", "-c", script]}}});
    let id = daemon.enqueue_with(json!({"run": run, "idleTimeout": "2s"}));
    let put = "mutation ($input: TaskPutInput!) { taskPut(input: $input) { task { idleTimeout } userErrors { path } } }";
    let task = json!({"name": "quiet", "command": {"exec": {"argv": ["/bin/sleep", "600"]}}, "idleTimeout": "250ms"});
    let answer = daemon.graphql(put, json!({"input": task}));
    assert_eq!(answer["taskPut"]["task"]["idleTimeout"], json!("PT0.25S"), "{answer}");
    let quiet = daemon.enqueue_with(json!({"run": {"task": {"name": "quiet"}}}));
    assert_eq!(daemon.wait_final(&quiet).job["failure"]["outcome"], json!("TIMED_OUT"));
    let ended = daemon.wait_final(&id);
    assert_eq!(ended.job["state"], json!("SUCCEEDED"), "{:#}", ended.job);
    assert_eq!(ended.lines.len(), 10);
    let refused = daemon.graphql(
        put,
        json!({"input": {"name": "q", "command": {"exec": {"argv": ["/bin/true"]}}, "idleTimeout": "0s"}}),
    );
    assert_eq!(refused["taskPut"]["userErrors"], json!([{"path": ["idleTimeout"]}]));
}
