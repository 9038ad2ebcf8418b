//! Unique keys: one job at a time has one, whoever asks and however many at once. Through the front door.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, send};
use crate::support::wait::{PATIENCE, now, until};

const ENQUEUE: &str = "mutation ($input: JobEnqueueInput!) {
  jobEnqueue(input: $input) { job { id state uniqueKey } deduplicated userErrors { code path } }
}";

/// Pairs of requests with the same key.
const PAIRS: usize = 1_000;
/// A daemon that is at work has looked for what it may forget.
const SWEPT_WITHIN: Duration = Duration::from_secs(5);
/// Clients that ask at once.
const CLIENTS: usize = 8;

fn held(key: &str, on_conflict: &str) -> Value {
    let run = json!({"command": {"exec": {"argv": ["/bin/echo", key]}}});
    json!({"run": run, "isHeld": true, "uniqueKey": key, "onConflict": on_conflict})
}

fn enqueue(daemon: &Daemon, input: &Value) -> Value {
    daemon.graphql(ENQUEUE, json!({ "input": input }))["jobEnqueue"].take()
}

fn state(daemon: &Daemon, id: &Value) -> String {
    let query = "query ($id: ID!) { job(id: $id) { state } }";
    daemon.graphql(query, json!({ "id": id }))["job"]["state"].as_str().expect("the job exists").to_owned()
}

#[test]
fn a_taken_key_gives_the_job_that_has_it_until_that_is_final() {
    let daemon = Daemon::start();
    let first = enqueue(&daemon, &held("k", "RETURN_EXISTING"));
    assert_eq!((&first["deduplicated"], &first["job"]["uniqueKey"]), (&json!(false), &json!("k")));
    let again = enqueue(&daemon, &held("k", "RETURN_EXISTING"));
    assert_eq!((&again["deduplicated"], &again["job"]["id"]), (&json!(true), &first["job"]["id"]));
    let refused = enqueue(&daemon, &held("k", "REJECT"));
    assert_eq!(refused["userErrors"], json!([{"code": "UNIQUE_KEY_TAKEN", "path": ["uniqueKey"]}]));
    let cancel = "mutation ($id: ID!) { jobCancel(input: {id: $id}) { userErrors { code } } }";
    daemon.graphql(cancel, json!({"id": first["job"]["id"]}));
    let next = enqueue(&daemon, &held("k", "REJECT"));
    assert_eq!(next["userErrors"], json!([]));
    assert_ne!(next["job"]["id"], first["job"]["id"]);
    // To repeat the first one would give the key a second holder.
    let retry = "mutation ($id: ID!) { jobRetry(input: {id: $id}) { job { id } userErrors { code } } }";
    let retried = daemon.graphql(retry, json!({"id": first["job"]["id"]}));
    assert_eq!(retried["jobRetry"]["userErrors"], json!([{"code": "UNIQUE_KEY_TAKEN"}]));
    assert_eq!(enqueue(&daemon, &held("", "REJECT"))["userErrors"][0]["code"], json!("INVALID"));
}

#[test]
fn replace_queued_takes_the_place_of_one_that_waits_but_not_of_one_that_runs() {
    let daemon = Daemon::start();
    let first = enqueue(&daemon, &held("k", "REJECT"))["job"]["id"].take();
    let second = enqueue(&daemon, &held("k", "REPLACE_QUEUED"))["job"]["id"].take();
    assert_eq!((state(&daemon, &first), state(&daemon, &second)), ("CANCELLED".into(), "HELD".into()));
    let query = "query ($filter: EventFilter) { events(first: 9, filter: $filter) { events { data } } }";
    let filter = json!({"jobIds": [first], "types": ["JOB_STATE_CHANGED"]});
    let events = daemon.graphql(query, json!({"filter": filter}))["events"]["events"].take();
    let second = second.as_str().expect("an id");
    assert!(events[0]["data"]["reason"].as_str().is_some_and(|why| why.contains(second)), "{events}");
    // In one request: the later one replaces the earlier one before either is written.
    let many = "mutation ($input: JobEnqueueManyInput!) { jobEnqueueMany(input: $input) {
      results { job { id state } deduplicated userErrors { code } } } }";
    let jobs =
        [held("m", "REJECT"), held("m", "REPLACE_QUEUED"), held("m", "RETURN_EXISTING"), held("m", "REJECT")];
    let results = daemon.graphql(many, json!({"input": {"jobs": jobs}}))["jobEnqueueMany"]["results"].take();
    assert_eq!(results[0]["job"]["state"], json!("CANCELLED"), "{results}");
    assert_eq!(results[1]["job"]["state"], json!("HELD"), "{results}");
    assert_eq!(
        (&results[2]["job"]["id"], &results[2]["deduplicated"]),
        (&results[1]["job"]["id"], &json!(true))
    );
    assert_eq!(results[3]["userErrors"], json!([{"code": "UNIQUE_KEY_TAKEN"}]));
    let counts = daemon.graphql("{ jobCounts { held cancelled } }", json!({}))["jobCounts"].take();
    assert_eq!(counts, json!({"held": 2, "cancelled": 2}));

    let run = json!({"command": {"exec": {"argv": ["/bin/sleep", "600"]}}});
    let running = enqueue(&daemon, &json!({"run": run, "uniqueKey": "r"}))["job"]["id"].take();
    until("the job to run", PATIENCE, || (state(&daemon, &running) == "RUNNING").then_some(()));
    let refused = enqueue(&daemon, &held("r", "REPLACE_QUEUED"));
    assert_eq!(refused["userErrors"][0]["code"], json!("UNIQUE_KEY_TAKEN"));
    let line = ["run", "--unique", "r", "--on-conflict", "reject", "--", "/bin/true"];
    assert_eq!(daemon.cli(&line).status.code(), Some(1));
}

#[test]
fn a_thousand_pairs_of_the_same_key_at_once_give_a_thousand_jobs() {
    let daemon = Daemon::start();
    let (address, token) = (daemon.address(), daemon.token());
    let answers: Vec<(usize, Value)> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                // Neighbours ask for the same keys in the same order: each pair meets.
                let keys = (0..PAIRS).filter(move |key| key % (CLIENTS / 2) == client / 2);
                scope.spawn(move || {
                    keys.map(|key| {
                        let input = json!({"input": held(&format!("key-{key}"), "RETURN_EXISTING")});
                        let answer = send(address, token, ENQUEUE, &input).expect("an answer");
                        (key, answer["data"]["jobEnqueue"].clone())
                    })
                    .collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().expect("no client fails")).collect()
    });
    let mut by_key: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    let mut repeats = 0;
    for (key, answer) in &answers {
        by_key.entry(*key).or_default().insert(answer["job"]["id"].to_string());
        repeats += usize::from(answer["deduplicated"] == json!(true));
    }
    assert_eq!((answers.len(), by_key.len(), repeats), (2 * PAIRS, PAIRS, PAIRS));
    assert!(by_key.values().all(|ids| ids.len() == 1), "two jobs have one key");
    let counts = daemon.graphql("{ jobCounts { held } }", json!({}));
    assert_eq!(counts["jobCounts"]["held"], json!(PAIRS));
}

#[test]
fn a_key_that_outlives_its_job_says_so() {
    let mut daemon = Daemon::start_with(&["--retention-succeeded", "1s"]);
    let run = json!({"command": {"exec": {"argv": ["/bin/true"]}}});
    let input = json!({"run": run, "idempotencyKey": "k"});
    let id = enqueue(&daemon, &input)["job"]["id"].as_str().expect("it is made").to_owned();
    assert_eq!(daemon.wait_final_state(&id), "SUCCEEDED");
    let query = "query ($id: ID!) { job(id: $id) { id } }";
    until("it to be forgotten", PATIENCE, || {
        // A second after its start a daemon sweeps; the job must be a second old by then.
        daemon.terminate();
        daemon.restart();
        let begun = now();
        let is_gone = until("the first sweep", PATIENCE, || {
            let is_gone = daemon.graphql(query, json!({ "id": id }))["job"].is_null();
            (is_gone || begun.elapsed() > SWEPT_WITHIN).then_some(is_gone)
        });
        is_gone.then_some(())
    });
    let again = enqueue(&daemon, &input);
    assert_eq!((&again["job"], &again["deduplicated"]), (&json!(null), &json!(true)));
    assert_eq!(again["userErrors"], json!([{"code": "NOT_FOUND", "path": ["idempotencyKey"]}]));
}
