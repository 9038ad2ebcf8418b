//! A job that kills the daemon is found out and not tried again; its neighbours are not taken for it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::wait::{PATIENCE, now, span, until};

const JOB: &str = "query ($id: ID!) { job(id: $id) {
  state failure { outcome message } attempts(first: 50) { nodes { number outcome } }
} }";

/// How long the daemon is killed over and over.
const STORM: Duration = Duration::from_secs(8);

/// Kills the program that runs it, as a bug that it sets off would; not before whoever enqueued it has his answer.
const POISON: &str = "sleep 0.2; kill -9 $PPID; sleep 600";

fn policy() -> Value {
    json!({"maxAttempts": 20, "initialDelay": "1ms", "factor": 1.0, "retryOn": ["LOST"]})
}

fn enqueue(daemon: &Daemon, script: &str) -> String {
    daemon.enqueue_with(json!({
        "run": {"command": {"exec": {"argv": ["/bin/sh", "-c", script]}}},
        "retryPolicy": policy(),
        "killGrace": "100ms",
    }))
}

fn job(daemon: &Daemon, id: &str) -> Value {
    daemon.graphql(JOB, json!({ "id": id }))["job"].take()
}

/// The state of the job, if the daemon lives long enough to say it.
fn state(daemon: &Daemon, id: &str) -> Option<String> {
    let answer = daemon.send(JOB, &json!({ "id": id })).ok()?;
    answer["data"]["job"]["state"].as_str().map(str::to_owned)
}

#[test]
fn a_job_that_kills_the_daemon_is_tried_three_times_and_its_neighbours_live() {
    let mut daemon = Daemon::start_with(&["--slots", "8"]);
    // These are lost as often as the one that kills, and run for as long as the daemon lets them.
    let neighbours: Vec<String> = (0..1).map(|_| enqueue(&daemon, "sleep 600")).collect();
    until("the neighbours to run", PATIENCE, || {
        neighbours.iter().all(|id| state(&daemon, id).as_deref() == Some("RUNNING")).then_some(())
    });
    let poison = enqueue(&daemon, POISON);
    let (begun, mut deaths) = (now(), 0);
    until("the job that kills to be final", PATIENCE * 2, || {
        if daemon.has_ended().is_some() {
            deaths += 1;
            // It may be killed again before it could say that it listens.
            while daemon.try_start(&[]).is_err() {
                deaths += 1;
            }
        }
        (state(&daemon, &poison)? == "FAILED").then_some(())
    });
    let took = begun.elapsed();
    let found = job(&daemon, &poison);
    println!("quarantine: {deaths} deaths of the daemon in {:.1} s, then no more", took.as_secs_f64());
    assert_eq!(found["failure"]["outcome"], json!("LOST"), "{found:#}");
    let message = found["failure"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("three times") && message.contains("quarantined"), "{message}");
    let attempts = found["attempts"]["nodes"].as_array().map_or(0, Vec::len);
    // On a machine that is busy with others a death may come too late to convict; then it is tried once more.
    assert!(
        attempts == deaths && (3..=8).contains(&deaths),
        "{deaths} deaths, {attempts} attempts: {found:#}"
    );
    // The neighbours were lost as often, and none is convicted: they run again.
    until("the neighbours to run again", PATIENCE, || {
        neighbours.iter().all(|id| state(&daemon, id).as_deref() == Some("RUNNING")).then_some(())
    });
    assert!(daemon.has_ended().is_none(), "the daemon died once more");
    // In order, so that nothing of the neighbours stays.
    daemon.terminate();
}

#[test]
fn a_daemon_that_is_killed_again_and_again_convicts_no_job() {
    let mut daemon = Daemon::start();
    let id = enqueue(&daemon, "sleep 1");
    let begun = now();
    let mut kills = 0;
    // Longer than a suspect waits: its third try falls on a daemon that has just begun, and is lost too.
    while begun.elapsed() < STORM || lost(&daemon, &id) < 3 {
        assert!(begun.elapsed() < PATIENCE, "the kills do not hit the job: {:#}", job(&daemon, &id));
        span(Duration::from_millis(200));
        daemon.kill9();
        daemon.restart();
        kills += 1;
    }
    let ended = daemon.wait_final(&id).job;
    println!("quarantine: {kills} kills, {} attempts lost, then {}", lost(&daemon, &id), ended["state"]);
    assert_eq!(ended["state"], json!("SUCCEEDED"), "{ended:#}");
}

/// How many attempts of the job were lost.
fn lost(daemon: &Daemon, id: &str) -> usize {
    let job = job(daemon, id);
    let attempts = job["attempts"]["nodes"].as_array().into_iter().flatten();
    attempts.filter(|attempt| attempt["outcome"] == "LOST").count()
}
