//! Many jobs at once, through the front door: all that match are stopped or made anew, or none is.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::history::{faults, read_all};
use crate::support::wait::{PATIENCE, until};

const MANY: usize = 3_000;

fn bulk(daemon: &Daemon, field: &str, input: &Value) -> Value {
    let query = format!(
        "mutation ($input: JobBulkInput!) {{ {field}(input: $input) {{
           matchedCount changedCount cursor userErrors {{ code path message }} }} }}"
    );
    daemon.graphql(&query, json!({ "input": input }))[field].take()
}

/// Jobs that wait in a queue that is paused, each with a label.
fn waiting(daemon: &Daemon, count: usize, label: &str) -> Vec<String> {
    let query = "mutation ($jobs: [JobEnqueueInput!]!) { jobEnqueueMany(input: {jobs: $jobs}) { results { job { id } } } }";
    let job = json!({
        "run": {"command": {"exec": {"argv": ["/bin/true"]}}},
        "labels": [{"key": "part", "value": label}],
    });
    let mut ids = Vec::new();
    while ids.len() < count {
        let part = (count - ids.len()).min(1_000);
        let answer = daemon.graphql(query, json!({"jobs": vec![job.clone(); part]}));
        let made = answer["jobEnqueueMany"]["results"].as_array().expect("a list");
        ids.extend(made.iter().map(|one| one["job"]["id"].as_str().expect("the job is good").to_owned()));
    }
    ids
}

fn pause(daemon: &Daemon) {
    daemon.graphql(r#"mutation { queuePause(input: {name: "default"}) { userErrors { code } } }"#, json!({}));
}

fn counts(daemon: &Daemon) -> Value {
    let query = "{ jobCounts { queued cancelled succeeded failed running } }";
    daemon.graphql(query, json!({}))["jobCounts"].take()
}

fn label(value: &str) -> Value {
    json!({"labels": [{"key": "part", "value": value}]})
}

#[test]
fn thousands_are_stopped_and_made_anew_unless_they_are_too_many() {
    let daemon = Daemon::start();
    pause(&daemon);
    let (ids, others) = (waiting(&daemon, MANY, "a"), waiting(&daemon, 2, "b"));
    let refused = bulk(&daemon, "jobBulkCancel", &json!({"filter": label("a")}));
    assert_eq!((&refused["matchedCount"], &refused["changedCount"]), (&json!(1_001), &json!(0)));
    assert_eq!(refused["cursor"], Value::Null);
    let error = &refused["userErrors"][0];
    assert_eq!((&error["code"], &error["path"]), (&json!("TOO_MANY_MATCHES"), &json!(["max"])));
    assert_eq!(counts(&daemon)["queued"], json!(MANY + 2), "nothing was changed");

    let input = json!({"filter": label("a"), "max": MANY, "reason": "wrong branch"});
    let done = bulk(&daemon, "jobBulkCancel", &input);
    assert_eq!((&done["matchedCount"], &done["changedCount"]), (&json!(MANY), &json!(MANY)), "{done}");
    assert_eq!((&counts(&daemon)["queued"], &counts(&daemon)["cancelled"]), (&json!(2), &json!(MANY)));
    let events = "query ($filter: EventFilter) { events(filter: $filter) { events { data } cursor } }";
    let last =
        daemon.graphql(events, json!({"filter": {"jobIds": [ids[MANY - 1]]}}))["events"]["events"][1].take();
    assert_eq!(last["data"]["reason"], json!("wrong branch"));
    let again = bulk(&daemon, "jobBulkCancel", &input);
    assert_eq!((&again["matchedCount"], &again["userErrors"]), (&json!(0), &json!([])));

    // Under one key nothing is made anew twice.
    let input =
        json!({"filter": label("a"), "max": 100_000, "idempotencyKey": "k", "reason": "right branch"});
    for _ in 0..2 {
        let retried = bulk(&daemon, "jobBulkRetry", &input);
        assert_eq!(
            (&retried["matchedCount"], &retried["changedCount"]),
            (&json!(MANY), &json!(MANY)),
            "{retried}"
        );
        assert_eq!(retried["userErrors"], json!([]));
    }
    assert_eq!(counts(&daemon)["queued"], json!(MANY + 2));
    let query =
        "query ($filter: JobFilter) { jobs(first: 200, filter: $filter) { nodes { id retryOf { id } } } }";
    let filter = json!({"filter": {"origins": ["RETRY"], "states": ["QUEUED"]}});
    let nodes = daemon.graphql(query, filter)["jobs"]["nodes"].take();
    let nodes = nodes.as_array().expect("a list");
    let of: BTreeSet<_> =
        nodes.iter().map(|job| job["retryOf"]["id"].as_str().expect("a job").to_owned()).collect();
    assert_eq!(of, ids[MANY - 200..].iter().cloned().collect(), "each of the newest was made anew once");
    let newest = nodes[0]["id"].as_str().expect("an id");
    let created =
        daemon.graphql(events, json!({"filter": {"jobIds": [newest]}}))["events"]["events"][0].take();
    assert_eq!(created["data"]["reason"], json!("right branch"));
    let input = json!({"filter": {"states": ["QUEUED"]}, "max": 100_000});
    assert_eq!(
        bulk(&daemon, "jobBulkRetry", &input)["matchedCount"],
        json!(0),
        "what waits cannot be made anew"
    );
    assert_eq!(bulk(&daemon, "jobBulkCancel", &input)["changedCount"], json!(MANY + 2));
    let acknowledged: BTreeSet<_> = ids.into_iter().chain(others).collect();
    assert_eq!(faults(&read_all(&daemon), &acknowledged), Vec::<String>::new());
}

#[test]
fn a_bulk_that_is_asked_again_under_its_key_makes_nothing_of_what_it_made() {
    let daemon = Daemon::start();
    let first = daemon.enqueue(&["false"]);
    assert_eq!(daemon.wait_final_state(&first), "FAILED");
    for _ in 0..3 {
        let input = json!({"filter": {"states": ["FAILED"]}, "max": 1, "idempotencyKey": "once"});
        let answer = bulk(&daemon, "jobBulkRetry", &input);
        assert_eq!((&answer["changedCount"], &answer["userErrors"]), (&json!(1), &json!([])));
        until("all to end", PATIENCE, || (counts(&daemon)["failed"] == json!(2)).then_some(()));
    }
    let anew = json!({"filter": {"states": ["FAILED"]}, "idempotencyKey": "twice"});
    assert_eq!(bulk(&daemon, "jobBulkRetry", &anew)["changedCount"], json!(2), "another key is another bulk");
}

#[test]
fn what_runs_is_asked_to_stop_and_what_succeeded_is_left_unless_it_is_named() {
    let daemon = Daemon::start();
    let done = daemon.enqueue(&["/bin/true"]);
    let failed = daemon.enqueue(&["/bin/false"]);
    daemon.wait_final(&done);
    daemon.wait_final(&failed);
    let running = daemon.enqueue(&["/bin/sleep", "600"]);
    until("the job to run", PATIENCE, || (counts(&daemon)["running"] == json!(1)).then_some(()));
    let everything = json!({"filter": {}});
    let answer = bulk(&daemon, "jobBulkCancel", &everything);
    assert_eq!((&answer["matchedCount"], &answer["changedCount"]), (&json!(1), &json!(1)));
    assert_eq!(daemon.wait_final(&running).job["state"], json!("CANCELLED"));
    assert_eq!(bulk(&daemon, "jobBulkCancel", &everything)["matchedCount"], json!(0));
    pause(&daemon);
    let answer = bulk(&daemon, "jobBulkRetry", &everything);
    assert_eq!(
        (&answer["matchedCount"], &answer["changedCount"]),
        (&json!(2), &json!(2)),
        "failed and cancelled"
    );
    let answer = bulk(&daemon, "jobBulkRetry", &json!({"filter": {"states": ["SUCCEEDED", "QUEUED"]}}));
    assert_eq!((&answer["matchedCount"], &answer["changedCount"]), (&json!(1), &json!(1)));
    // Two that are not final cannot have one key: the refusal of a single job is told, the others are made.
    bulk(&daemon, "jobBulkCancel", &everything);
    let unique = |key: &str| json!({"run": {"command": {"exec": {"argv": ["/bin/true"]}}}, "uniqueKey": key, "isHeld": true});
    daemon.enqueue_with(unique("k"));
    daemon.enqueue_with(unique("l"));
    bulk(&daemon, "jobBulkCancel", &json!({"filter": {"states": ["HELD"]}}));
    let holder = daemon.enqueue_with(unique("k"));
    let input = json!({"filter": {"states": ["CANCELLED"], "origins": ["API"], "text": "/bin/true"}});
    let answer = bulk(&daemon, "jobBulkRetry", &input);
    assert_eq!((&answer["matchedCount"], &answer["changedCount"]), (&json!(2), &json!(1)), "{answer}");
    let error = &answer["userErrors"][0];
    assert_eq!(error["code"], json!("UNIQUE_KEY_TAKEN"));
    assert!(error["message"].as_str().unwrap().contains(&holder), "{error}");
    for (input, path) in [
        (json!({"filter": {}, "max": 0}), "max"),
        (json!({"filter": {}, "max": 100_001}), "max"),
        (json!({"filter": {}, "reason": "a\u{0}b"}), "reason"),
        (json!({"filter": {}, "idempotencyKey": "a\u{0}b"}), "idempotencyKey"),
    ] {
        let error = bulk(&daemon, "jobBulkRetry", &input)["userErrors"][0].take();
        assert_eq!((&error["code"], &error["path"]), (&json!("INVALID"), &json!([path])));
    }
    assert_eq!(
        bulk(&daemon, "jobBulkCancel", &json!({"filter": {"queues": ["a\u{0}b"]}}))["matchedCount"],
        json!(0)
    );
}

#[test]
fn the_command_line_stops_and_repeats_many() {
    let daemon = Daemon::start();
    pause(&daemon);
    let (_a, _b) = (waiting(&daemon, 5, "a"), waiting(&daemon, 3, "b"));
    let ran = daemon.cli(&["cancel", "--label", "part=a", "--max", "4"]);
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    assert!(String::from_utf8_lossy(&ran.stderr).contains("TOO_MANY_MATCHES"), "{ran:?}");
    for (args, prints) in [
        (vec!["cancel", "--label", "part=a", "--queue", "default"], "5 of 5 jobs cancelled\n"),
        (vec!["cancel", "--all", "--reason", "over"], "3 of 3 jobs cancelled\n"),
        (vec!["retry", "--failed", "--label", "part=b"], "3 of 3 jobs made anew\n"),
        (vec!["retry", "--state", "failed"], "0 of 0 jobs made anew\n"),
    ] {
        let ran = daemon.cli(&args);
        assert_eq!(String::from_utf8_lossy(&ran.stdout), prints, "{ran:?}");
        assert!(ran.status.success());
    }
    for args in
        [vec!["cancel"], vec!["cancel", "1", "--all"], vec!["retry"], vec!["retry", "1", "--task", "x"]]
    {
        assert_eq!(daemon.cli(&args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn the_command_line_says_what_was_done_also_when_some_were_refused() {
    let daemon = Daemon::start();
    let run = json!({"command": {"exec": {"argv": ["false"]}}});
    let taken = daemon.enqueue_with(json!({"run": run, "uniqueKey": "u"}));
    let other = daemon.enqueue(&["false"]);
    for id in [&taken, &other] {
        assert_eq!(daemon.wait_final_state(id), "FAILED");
    }
    daemon.enqueue_with(json!({"run": run, "uniqueKey": "u", "isHeld": true}));
    let output = daemon.cli(&["retry", "--failed"]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(text(&output.stdout), "1 of 2 jobs made anew\n");
    assert!(text(&output.stderr).contains("UNIQUE_KEY_TAKEN"), "{}", text(&output.stderr));
    assert!(!output.status.success());
}

#[test]
fn a_bulk_is_not_misled_by_keys_of_callers_that_look_like_its_own() {
    let daemon = Daemon::start();
    let run = json!({"command": {"exec": {"argv": ["false"]}}});
    let ids: Vec<String> = ["nightly/42", "nightly/job_7", "nightlyx"]
        .into_iter()
        .map(|key| daemon.enqueue_with(json!({ "run": run, "idempotencyKey": key })))
        .collect();
    for id in &ids {
        assert_eq!(daemon.wait_final_state(id), "FAILED");
    }
    let input = json!({"filter": {"states": ["FAILED"]}, "idempotencyKey": "nightly"});
    let answer = bulk(&daemon, "jobBulkRetry", &input);
    assert_eq!((&answer["matchedCount"], &answer["changedCount"]), (&json!(3), &json!(3)), "{answer}");
}

#[test]
fn a_job_that_is_made_anew_is_under_the_limit_that_its_task_has_now() {
    let daemon = Daemon::start();
    let put = "mutation ($input: TaskPutInput!) { taskPut(input: $input) { userErrors { message } } }";
    let command = json!({"exec": {"argv": ["/bin/sh", "-c", "exit 1"]}});
    daemon.graphql(put, json!({ "input": { "name": "t", "command": command } }));
    let old = daemon.enqueue_with(json!({ "run": { "task": { "name": "t" } } }));
    assert_eq!(daemon.wait_final_state(&old), "FAILED");
    let gate = daemon.directory().join("gate");
    let waits = format!("until [ -e {} ]; do sleep 0.05; done", gate.display());
    let command = json!({"exec": {"argv": ["/bin/sh", "-c", waits]}});
    daemon.graphql(put, json!({ "input": { "name": "t", "command": command, "concurrencyLimit": 1 } }));
    let holder = daemon.enqueue_with(json!({ "run": { "task": { "name": "t" } } }));
    let retry = "mutation ($id: ID!) { jobRetry(input: {id: $id}) { job { id } userErrors { message } } }";
    let again = daemon.graphql(retry, json!({ "id": old }))["jobRetry"]["job"]["id"].take();
    let blockers = "query ($id: ID!) { job(id: $id) { state blockers { __typename } } }";
    let job = daemon.graphql(blockers, json!({ "id": again }))["job"].take();
    assert_eq!(job, json!({ "state": "QUEUED", "blockers": [{ "__typename": "ConcurrencyBlocker" }] }));
    std::fs::write(gate, "").expect("a directory of ours");
    assert_eq!(daemon.wait_final_state(&holder), "SUCCEEDED");
}
