//! What a worker leaves another takes over, and never while anything of it still runs.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::cluster::Cluster;
use crate::support::daemon::{Daemon, string};
use crate::support::program::pids_with;
use crate::support::wait::{PATIENCE, until};

/// Appends its number to a file while it runs, and holds a lock: two at once are seen.
fn script(directory: &Path) -> String {
    let path = directory.display();
    format!(
        "exec 9>>{path}/lock; flock -n 9 || {{ echo overlap >> {path}/overlaps; exit 1; }}
         echo $BEADLE_ATTEMPT >> {path}/starts; test $BEADLE_ATTEMPT -ge 2 && exit 0; while :; do sleep 0.1; done"
    )
}

fn enqueue(daemon: &Daemon, script: &str) -> String {
    daemon.enqueue_with(json!({
        "run": {"command": {"exec": {"argv": ["sh", "-c", script]}}},
        "retryPolicy": {"maxAttempts": 3, "initialDelay": "100ms"},
    }))
}

fn starts(directory: &Path) -> Vec<String> {
    let text = fs::read_to_string(directory.join("starts")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The daemon's place in the list that runs the job.
fn runner_of(daemons: &[Daemon], id: &str) -> usize {
    let query = "query ($id: ID!) { job(id: $id) { attempts { nodes { worker { name } } } } }";
    let answer = daemons[0].graphql(query, json!({"id": id}));
    let name = string(&answer["job"]["attempts"]["nodes"][0]["worker"]["name"]);
    let pid: u32 = name.rsplit(':').next().and_then(|pid| pid.parse().ok()).expect("host and process id");
    daemons.iter().position(|daemon| daemon.pid() == pid).expect("it is one of ours")
}

fn signal(daemon: &Daemon, signal: Signal) {
    let pid = i32::try_from(daemon.pid()).ok().and_then(Pid::from_raw).expect("a pid is not 0");
    kill_process(pid, signal).expect("our own child");
}

fn outcomes(daemon: &Daemon, id: &str) -> Vec<String> {
    let query = "query ($id: ID!) { job(id: $id) { attempts { nodes { outcome } } } }";
    let answer = daemon.graphql(query, json!({"id": id}));
    let nodes = answer["job"]["attempts"]["nodes"].as_array().cloned().unwrap_or_default();
    nodes.iter().map(|node| string(&node["outcome"])).collect()
}

#[test]
fn the_jobs_of_a_killed_worker_go_on_with_another() {
    let Some(Cluster { mut daemons, .. }) = Cluster::start(2, &[]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let id = enqueue(&daemons[0], &script(directory.path()));
    until("it to run", PATIENCE, || (!starts(directory.path()).is_empty()).then_some(()));
    let mut dead = daemons.remove(runner_of(&daemons, &id));
    let lost = string(&json!(id));
    dead.kill9();
    // The guard does not wait for the lease: nobody is left to renew it.
    until("its processes to be gone", PATIENCE, || {
        pids_with("BEADLE_JOB_ID", &lost).is_empty().then_some(())
    });
    assert_eq!(daemons[0].wait_final_state(&id), "SUCCEEDED");
    assert_eq!(outcomes(&daemons[0], &id), ["LOST", "SUCCEEDED"]);
    assert_eq!(starts(directory.path()), ["1", "2"]);
    assert!(!directory.path().join("overlaps").exists());
    let workers = daemons[0].graphql("{ workers { nodes { status } } }", json!({}));
    let mut states: Vec<_> =
        workers["workers"]["nodes"].as_array().unwrap().iter().map(|one| string(&one["status"])).collect();
    states.sort();
    assert_eq!(states, ["OFFLINE", "ONLINE"]);
}

#[test]
fn a_worker_that_stands_still_runs_nothing_when_its_lease_is_over_and_comes_back() {
    let Some(Cluster { mut daemons, .. }) = Cluster::start(2, &[]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let id = enqueue(&daemons[0], &script(directory.path()));
    until("it to run", PATIENCE, || (!starts(directory.path()).is_empty()).then_some(()));
    let first = runner_of(&daemons, &id);
    let still = daemons.remove(first);
    signal(&still, Signal::STOP);
    assert_eq!(daemons[0].wait_final_state(&id), "SUCCEEDED");
    assert_eq!(outcomes(&daemons[0], &id), ["LOST", "SUCCEEDED"]);
    assert_eq!(starts(directory.path()), ["1", "2"]);
    assert!(!directory.path().join("overlaps").exists(), "the guard ended it before the other one began");
    signal(&still, Signal::CONT);
    // It finds itself taken for dead, and is listed anew.
    until("it to be there again", PATIENCE, || {
        let answer = still.send("{ workers { nodes { status } } }", &json!({})).ok()?;
        let nodes = answer["data"]["workers"]["nodes"].as_array()?.clone();
        nodes.iter().all(|node| node["status"] == "ONLINE").then_some(())
    });
    let id = still.enqueue(&["true"]);
    assert_eq!(still.wait_final_state(&id), "SUCCEEDED");
}

#[test]
fn a_daemon_that_is_started_again_ends_at_once_what_it_left() {
    let Some(Cluster { mut daemons, .. }) = Cluster::start(2, &["--lease", "1h"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let id = enqueue(&daemons[0], &script(directory.path()));
    until("it to run", PATIENCE, || (!starts(directory.path()).is_empty()).then_some(()));
    let mut dead = daemons.remove(runner_of(&daemons, &id));
    dead.kill9();
    // Its lease goes on for an hour, but the lock of its data directory is free.
    dead.restart();
    assert_eq!(dead.wait_final_state(&id), "SUCCEEDED");
    assert_eq!(outcomes(&dead, &id), ["LOST", "SUCCEEDED"]);
    assert!(!directory.path().join("overlaps").exists());
}
