//! Jobs of a schedule that wait for each other: one of them runs at a time, and each gets its turn.

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::wait::{PATIENCE, until};

/// A schedule of every second whose jobs hold the machine's attention for as long as the file `go` is away.
fn put(daemon: &Daemon, overlap: &str) {
    let go = daemon.directory().join("go");
    let script = format!("while [ ! -e {} ]; do sleep 0.05; done", go.display());
    let query = "mutation ($script: String!, $overlap: OverlapPolicy!) {
      taskPut(input: {name: \"t\", command: {script: {text: $script}}}) { userErrors { message } }
      schedulePut(input: {name: \"s\", task: {name: \"t\"}, timing: {every: \"1s\"}, overlap: $overlap}) {
        userErrors { message }
      }
    }";
    let answer = daemon.graphql(query, json!({"script": script, "overlap": overlap}));
    assert_eq!(answer["schedulePut"]["userErrors"], json!([]), "{answer}");
}

/// How many jobs there are in a state.
fn count(daemon: &Daemon, state: &str) -> i64 {
    let query = "query ($state: JobState!) { jobs(filter: {states: [$state]}) { totalCount } }";
    daemon.graphql(query, json!({ "state": state }))["jobs"]["totalCount"].as_i64().expect("a count")
}

fn pause(daemon: &Daemon) {
    let query = "mutation { schedulePause(input: {ref: {name: \"s\"}}) { userErrors { code } } }";
    daemon.graphql(query, json!({}));
}

/// (started, finished) of every job, in the order of their starts.
fn turns(daemon: &Daemon) -> Vec<(String, String)> {
    let answer = daemon.graphql("{ jobs(first: 200) { nodes { startedAt finishedAt } } }", json!({}));
    let text = |value: &Value| value.as_str().expect("every job ran").to_owned();
    let jobs = answer["jobs"]["nodes"].as_array().expect("a list").iter();
    let mut turns: Vec<_> = jobs.map(|job| (text(&job["startedAt"]), text(&job["finishedAt"]))).collect();
    turns.sort();
    turns
}

#[test]
fn queue_all_runs_every_job_one_after_another() {
    let daemon = Daemon::start_with(&["--slots", "4"]);
    put(&daemon, "QUEUE_ALL");
    until("three jobs to wait behind the first", PATIENCE, || (count(&daemon, "QUEUED") >= 3).then_some(()));
    assert_eq!(count(&daemon, "RUNNING"), 1);
    let trigger =
        "mutation { scheduleTrigger(input: {ref: {name: \"s\"}}) { job { state } userErrors { code } } }";
    let answer = daemon.graphql(trigger, json!({}));
    assert_eq!(
        answer["scheduleTrigger"]["job"]["state"],
        json!("QUEUED"),
        "a run by hand waits too: {answer}"
    );
    pause(&daemon);
    std::fs::write(daemon.directory().join("go"), "").expect("the test's directory can be written");
    until("all to end", PATIENCE, || {
        (count(&daemon, "QUEUED") + count(&daemon, "RUNNING") == 0).then_some(())
    });
    let turns = turns(&daemon);
    assert!(turns.len() >= 5, "{turns:#?}");
    for pair in turns.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "two ran at once: {pair:#?}");
    }
}

#[test]
fn queue_one_lets_one_wait_behind_the_one_that_runs() {
    let daemon = Daemon::start_with(&["--slots", "4"]);
    put(&daemon, "QUEUE_ONE");
    let query = "{ schedule(ref: {name: \"s\"}) { ticks(first: 1) { nodes { outcome count } } } }";
    until("two due times to be skipped", PATIENCE, || {
        let newest = daemon.graphql(query, json!({}))["schedule"]["ticks"]["nodes"].take();
        let newest = newest.as_array()?.first()?.clone();
        (newest["outcome"] == "SKIPPED_OVERLAP" && newest["count"].as_i64() >= Some(2)).then_some(())
    });
    assert_eq!((count(&daemon, "RUNNING"), count(&daemon, "QUEUED")), (1, 1));
}

#[test]
fn a_run_that_is_made_anew_is_one_of_its_schedule() {
    let daemon = Daemon::start();
    put(&daemon, "SKIP");
    until("the first run", PATIENCE, || (count(&daemon, "RUNNING") == 1).then_some(()));
    pause(&daemon);
    let answer = daemon.graphql("{ jobs(filter: {states: [RUNNING]}) { nodes { id } } }", json!({}));
    let id = answer["jobs"]["nodes"][0]["id"].as_str().expect("it runs").to_owned();
    let cancel = "mutation ($id: ID!) { jobCancel(input: {id: $id}) { userErrors { code } } }";
    daemon.graphql(cancel, json!({ "id": id }));
    assert_eq!(daemon.wait_final_state(&id), "CANCELLED");
    let retry = "mutation ($id: ID!) { jobRetry(input: {id: $id}) { job { schedule { name } } userErrors { code } } }";
    let answer = daemon.graphql(retry, json!({ "id": id }));
    assert_eq!(answer["jobRetry"]["job"]["schedule"]["name"], json!("s"), "{answer}");
    let trigger = "mutation { scheduleTrigger(input: {ref: {name: \"s\"}}) { userErrors { code } } }";
    let answer = daemon.graphql(trigger, json!({}));
    assert_eq!(answer["scheduleTrigger"]["userErrors"][0]["code"], json!("CONFLICT"), "{answer}");
}
