//! Jobs that wait, changed while they do: held, released, updated. Through the front door.

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::wait::{PATIENCE, until};

fn quick() -> Value {
    json!({"command": {"exec": {"argv": ["/bin/echo", "ran"]}}})
}

/// Applies a mutation of one job; the job, or the code of the refusal.
fn change(daemon: &Daemon, field: &str, input: &Value) -> Result<Value, String> {
    let kind = format!("{}{}Input", field[..1].to_uppercase(), &field[1..]);
    let query = format!(
        "mutation ($input: {kind}!) {{ {field}(input: $input) {{
           job {{ id state priority runAt queue {{ name }} }} cursor userErrors {{ code message path }} }} }}"
    );
    let mut answer = daemon.graphql(&query, json!({ "input": input }))[field].take();
    match answer["userErrors"][0]["code"].as_str() {
        Some(code) => Err(code.to_owned()),
        None => Ok(answer["job"].take()),
    }
}

fn state(daemon: &Daemon, id: &str) -> String {
    let query = "query ($id: ID!) { job(id: $id) { state } }";
    daemon.graphql(query, json!({ "id": id }))["job"]["state"].as_str().expect("the job exists").to_owned()
}

fn count(daemon: &Daemon, state: &str) -> i64 {
    let counts = daemon.graphql("{ jobCounts { held queued scheduled expired } }", json!({}));
    counts["jobCounts"][state].as_i64().expect("a count")
}

/// The data of the events about a job, of these types.
fn events(daemon: &Daemon, id: &str, types: &[&str]) -> Vec<Value> {
    let query =
        "query ($filter: EventFilter) { events(first: 200, filter: $filter) { events { actor data } } }";
    let answer = daemon.graphql(query, json!({"filter": {"jobIds": [id], "types": types}}));
    answer["events"]["events"].as_array().expect("a list").clone()
}

#[test]
fn a_held_job_starts_only_when_it_is_released() {
    let daemon = Daemon::start();
    let held = daemon.enqueue_with(json!({"run": quick(), "isHeld": true}));
    assert_eq!((state(&daemon, &held).as_str(), count(&daemon, "held")), ("HELD", 1));
    // Were it free to start, it would be the first.
    let other = daemon.enqueue(&["/bin/echo", "after"]);
    daemon.wait_final(&other);
    assert_eq!(state(&daemon, &held), "HELD");
    assert_eq!(change(&daemon, "jobHold", &json!({"id": held})), Err("CONFLICT".to_owned()));
    let job = change(&daemon, "jobRelease", &json!({"id": held})).expect("it is on hold");
    assert_ne!(job["state"], json!("HELD"));
    let ended = daemon.wait_final(&held);
    assert_eq!(ended.job["state"], json!("SUCCEEDED"));
    assert_eq!(count(&daemon, "held"), 0);
    let changes = events(&daemon, &held, &["JOB_STATE_CHANGED"]);
    assert_eq!(changes[0]["data"], json!({"from": "HELD", "to": "QUEUED", "by": "admin"}), "{changes:?}");
    assert_eq!(changes[0]["actor"], json!("admin"));
}

#[test]
fn a_job_that_waits_can_be_held_and_no_other() {
    let daemon = Daemon::start();
    let later = daemon.enqueue_with(json!({"run": quick(), "delay": "1h"}));
    assert_eq!(change(&daemon, "jobHold", &json!({"id": later})).expect("it waits")["state"], json!("HELD"));
    let released = change(&daemon, "jobRelease", &json!({"id": later})).expect("it is on hold");
    assert_eq!(released["state"], json!("SCHEDULED"), "its time has not come");
    assert_eq!(change(&daemon, "jobRelease", &json!({"id": later})), Err("CONFLICT".to_owned()));
    let done = daemon.enqueue(&["/bin/true"]);
    daemon.wait_final(&done);
    assert_eq!(change(&daemon, "jobHold", &json!({"id": done})), Err("CONFLICT".to_owned()));
    assert_eq!(change(&daemon, "jobHold", &json!({"id": "job_999"})), Err("NOT_FOUND".to_owned()));
    let running = daemon.enqueue(&["/bin/sleep", "600"]);
    until("the job to run", PATIENCE, || (state(&daemon, &running) == "RUNNING").then_some(()));
    assert_eq!(change(&daemon, "jobHold", &json!({"id": running})), Err("CONFLICT".to_owned()));
}

#[test]
fn a_held_job_can_be_cancelled_and_the_command_line_holds_and_releases() {
    let daemon = Daemon::start();
    let run = daemon.cli(&["run", "--hold", "--", "/bin/echo", "x"]);
    let id = String::from_utf8_lossy(&run.stdout).trim().to_owned();
    assert_eq!(state(&daemon, &id), "HELD");
    change(&daemon, "jobCancel", &json!({"id": id})).expect("it waits");
    assert_eq!(state(&daemon, &id), "CANCELLED");
    let later = daemon.enqueue_with(json!({"run": quick(), "delay": "1h"}));
    for (words, prints) in [(["hold", &later], "HELD"), (["release", &later], "SCHEDULED")] {
        let ran = daemon.cli(&words);
        assert!(ran.status.success(), "{ran:?}");
        assert_eq!(String::from_utf8_lossy(&ran.stdout), format!("{later} {prints}\n"));
    }
    let refused = daemon.cli(&["release", &later]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("only a job on hold"), "{refused:?}");
}

#[test]
fn an_update_moves_a_waiting_job_in_time_rank_and_queue() {
    let daemon = Daemon::start_with(&["--slots", "1"]);
    let made = daemon.graphql(
        r#"mutation { queuePut(input: {name: "side"}) { userErrors { code } }
             queuePause(input: {name: "default"}) { userErrors { code } } }"#,
        json!({}),
    );
    assert_eq!(made["queuePut"]["userErrors"], json!([]));
    let (first, second) = (daemon.enqueue(&["/bin/true"]), daemon.enqueue(&["/bin/true"]));
    let job = change(&daemon, "jobUpdate", &json!({"id": second, "priority": 50})).expect("it waits");
    assert_eq!((&job["priority"], &job["state"]), (&json!(50), &json!("QUEUED")));
    // With one slot the ranks decide which of the two starts first.
    daemon
        .graphql(r#"mutation { queueResume(input: {name: "default"}) { userErrors { code } } }"#, json!({}));
    let ended = [&first, &second]
        .map(|id| daemon.wait_final(id).job["startedAt"].as_str().unwrap_or_default().to_owned());
    assert!(ended[1] < ended[0], "the raised one starts first: {ended:?}");

    let later = daemon.enqueue_with(json!({"run": quick(), "delay": "1h"}));
    let moved = change(&daemon, "jobUpdate", &json!({"id": later, "queue": "side", "priority": -7}))
        .expect("it waits");
    assert_eq!((&moved["queue"]["name"], &moved["state"]), (&json!("side"), &json!("SCHEDULED")));
    let waiting = |name: &str| {
        let answer = daemon
            .graphql("query ($name: String!) { queue(name: $name) { waitingCount } }", json!({"name": name}));
        answer["queue"]["waitingCount"].as_i64().expect("a count")
    };
    assert_eq!((waiting("default"), waiting("side"), count(&daemon, "scheduled")), (0, 1, 1));
    let changes = &events(&daemon, &later, &["JOB_STATE_CHANGED"])[0]["data"];
    assert_eq!(changes["changes"], json!({"queue": "side", "priority": -7}), "{changes}");
    // A time in the past means now.
    change(&daemon, "jobUpdate", &json!({"id": later, "runAt": "2001-01-01T00:00:00Z"})).expect("it waits");
    assert_eq!(daemon.wait_final(&later).job["state"], json!("SUCCEEDED"));
    assert_eq!((waiting("side"), count(&daemon, "scheduled"), count(&daemon, "queued")), (0, 0, 0));
}

#[test]
fn an_update_is_refused_with_its_reason() {
    let daemon = Daemon::start();
    let held = daemon.enqueue_with(json!({"run": quick(), "isHeld": true}));
    let refused = |input: Value| change(&daemon, "jobUpdate", &input).expect_err("it is refused");
    assert_eq!(refused(json!({"id": held})), "INVALID");
    assert_eq!(refused(json!({"id": held, "priority": 101})), "INVALID");
    assert_eq!(refused(json!({"id": held, "queue": "nowhere"})), "NOT_FOUND");
    assert_eq!(refused(json!({"id": "job_999", "priority": 1})), "NOT_FOUND");
    // What is on hold stays there, whenever it may start.
    let job = change(&daemon, "jobUpdate", &json!({"id": held, "runAt": "2001-01-01T00:00:00Z"}))
        .expect("it waits");
    assert_eq!(job["state"], json!("HELD"));
    let done = daemon.enqueue(&["/bin/true"]);
    daemon.wait_final(&done);
    assert_eq!(refused(json!({"id": done, "priority": 1})), "CONFLICT");
    let running = daemon.enqueue(&["/bin/sleep", "600"]);
    until("the job to run", PATIENCE, || (state(&daemon, &running) == "RUNNING").then_some(()));
    assert_eq!(refused(json!({"id": running, "priority": 1})), "CONFLICT");
    let ran = daemon.cli(&["update", &held, "--priority", "-3", "--queue", "default"]);
    assert_eq!(String::from_utf8_lossy(&ran.stdout), format!("{held} HELD\n"), "{ran:?}");
}
