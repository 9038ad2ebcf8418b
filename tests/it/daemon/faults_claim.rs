//! A claim of which nobody knows whether it was committed: the store took it, and the answer was lost.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::daemon::Daemon;
use crate::support::wait::{PATIENCE, until};

/// Rounds in which some other commit may be the one whose answer is lost.
const ROUNDS: usize = 5;

#[test]
fn a_claim_whose_answer_was_lost_costs_the_job_no_try() {
    let traps = TempDir::with_prefix("beadle-traps-").expect("a temporary directory can be made");
    let trap = traps.path().join("answer");
    let daemon = Daemon::start_in_environment(&[
        ("BEADLE_TEST_POINTS", &format!("db.answer:{}:fail", trap.display())),
        ("BEADLE_POLL_INTERVAL", "100ms"),
    ]);
    let query =
        "query ($id: ID!) { job(id: $id) { state attempts { nodes { outcome failure { message } } } } }";
    for round in 0..ROUNDS {
        // One try, and nothing that could be started again.
        let id = daemon.enqueue_with(json!({
            "run": {"command": {"exec": {"argv": ["/bin/echo", "ran"]}}}, "delay": "500ms",
            "retryPolicy": {"maxAttempts": 1},
        }));
        fs::write(&trap, "").expect("the trap is set");
        until("the answer to a commit to be lost", PATIENCE, || (!trap.exists()).then_some(()));
        let ended = daemon.wait_final(&id);
        assert_eq!(ended.job["state"], json!("SUCCEEDED"), "{:#}", ended.job);
        assert_eq!(ended.lines, [("STDOUT".to_owned(), "ran".to_owned())]);
        let job: Value = daemon.graphql(query, json!({ "id": id }))["job"].take();
        let outcomes: Vec<&Value> = job["attempts"]["nodes"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|attempt| &attempt["outcome"])
            .collect();
        if outcomes == [&json!("INTERRUPTED"), &json!("SUCCEEDED")] {
            println!("a claim whose answer was lost (round {round}): {job}");
            return;
        }
        assert_eq!(outcomes, [&json!("SUCCEEDED")], "{job}");
        crate::support::wait::span(Duration::from_millis(300));
    }
    panic!("no claim was ever the one whose answer was lost");
}

/// Enqueues a job, asking again with the same key until there is an answer.
fn enqueue_stubbornly(daemon: &Daemon, key: &str) -> String {
    let mutation = "mutation ($input: JobEnqueueInput!) { jobEnqueue(input: $input) { job { id } } }";
    let input = json!({
        "run": {"command": {"exec": {"argv": ["/bin/echo", "ran"]}}}, "idempotencyKey": key,
        "retryPolicy": {"maxAttempts": 1},
    });
    until("an answer to an enqueue", PATIENCE, || {
        let answer = daemon.send(mutation, &json!({ "input": input })).ok()?;
        answer["data"]["jobEnqueue"]["job"]["id"].as_str().map(str::to_owned)
    })
}

/// A job that is claimed with its enqueue meets this fault of that commit: it is put back, and runs once.
fn check_put_back(point: &str, action: &str) {
    let traps = TempDir::with_prefix("beadle-traps-").expect("a temporary directory can be made");
    let trap = traps.path().join("trap");
    let daemon = Daemon::start_in_environment(&[
        ("BEADLE_TEST_POINTS", &format!("{point}:{}:{action}", trap.display())),
        ("BEADLE_POLL_INTERVAL", "100ms"),
    ]);
    let query = "query ($id: ID!) { job(id: $id) { attempts { nodes { outcome } } } }";
    for round in 0..ROUNDS {
        fs::write(&trap, "").expect("the trap is set");
        let id = enqueue_stubbornly(&daemon, &format!("{point}-{round}"));
        until("the trap to go off", PATIENCE, || (!trap.exists()).then_some(()));
        let ended = daemon.wait_final(&id);
        assert_eq!(ended.job["state"], json!("SUCCEEDED"), "{:#}", ended.job);
        assert_eq!(ended.lines, [("STDOUT".to_owned(), "ran".to_owned())]);
        let job: Value = daemon.graphql(query, json!({ "id": id }))["job"].take();
        if job["attempts"]["nodes"] == json!([{"outcome": "INTERRUPTED"}, {"outcome": "SUCCEEDED"}]) {
            println!("claimed with its enqueue, {point} {action} (round {round}): {job}");
            return;
        }
        assert_eq!(job["attempts"]["nodes"], json!([{"outcome": "SUCCEEDED"}]), "{job}");
    }
    panic!("no enqueue ever met its own claim's fault");
}

#[test]
fn a_job_that_was_claimed_with_its_enqueue_is_put_back_when_the_answer_is_lost() {
    check_put_back("db.answer", "fail");
}

#[test]
fn a_job_that_was_claimed_with_its_enqueue_is_put_back_when_the_writer_panics_behind_its_commit() {
    check_put_back("writer.committed", "panic");
}

#[test]
fn a_job_that_was_claimed_with_its_enqueue_is_put_back_when_a_panic_keeps_it_from_beginning() {
    check_put_back("claim.committed", "panic");
}
