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

/// A job whose process sleeps.
fn sleeping(daemon: &Daemon) -> String {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let begun = directory.path().join("begun");
    let id = daemon.enqueue(&["sh", "-c", &format!("echo > {}; exec sleep 600", begun.display())]);
    until("it to run", PATIENCE, || begun.exists().then_some(()));
    id
}

/// The pid of the guard beside a daemon.
fn guard_of(daemon: &Daemon) -> Option<u32> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.into_iter().find(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        parent == Some(daemon.pid()) && line.split(|byte| *byte == 0).any(|word| word == b"guard")
    })
}

#[test]
fn the_end_of_an_attempt_leaves_the_guard_alone_and_waits_for_no_guard() {
    // The grace is longer than this test's patience: who waits for it is seen.
    let Some(Cluster { daemons, .. }) = Cluster::start(1, &["--kill-grace", "1h"]) else { return };
    let daemon = &daemons[0];
    let guard = until("the guard to stand", PATIENCE, || guard_of(daemon));
    let cancel = |id: &str| {
        let query = "mutation ($id: ID!) { jobCancel(input: {id: $id}) { userErrors { message } } }";
        daemon.graphql(query, json!({ "id": id }));
        assert_eq!(daemon.wait_final_state(id), "CANCELLED");
    };
    // Its first, then those of which some run when the others are looked at.
    for count in [1, 3] {
        let ids: Vec<_> = (0..count).map(|_| sleeping(daemon)).collect();
        for id in ids {
            cancel(&id);
            assert_eq!(guard_of(daemon), Some(guard), "it was taken for what an attempt left");
        }
    }
}

#[test]
fn a_cancel_that_another_worker_took_is_heard_while_a_worker_drains() {
    let Some(Cluster { mut daemons, url }) = Cluster::start(1, &["--drain-timeout", "1h"]) else { return };
    let mut drained = daemons.remove(0);
    let id = sleeping(&drained);
    let Cluster { daemons, .. } = Cluster::over(&url, 1, &[]);
    drained.ask_to_stop();
    until("it to drain", PATIENCE, || {
        let answer = daemons[0].graphql("{ workers { nodes { status } } }", json!({}));
        let nodes = answer["workers"]["nodes"].as_array()?.clone();
        nodes.iter().any(|node| node["status"] == "DRAINING").then_some(())
    });
    let query = "mutation ($id: ID!) { jobCancel(input: {id: $id}) { userErrors { message } } }";
    daemons[0].graphql(query, json!({ "id": id }));
    assert_eq!(daemons[0].wait_final_state(&id), "CANCELLED");
    assert!(drained.wait_ended().success());
}

#[test]
fn a_start_that_breaks_off_leaves_what_its_predecessor_ran_to_the_next_one() {
    let Some(Cluster { mut daemons, url }) = Cluster::start(1, &["--lease", "1h", "--slots", "1"]) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let id = enqueue(&daemons[0], &script(directory.path()));
    until("it to run", PATIENCE, || (!starts(directory.path()).is_empty()).then_some(()));
    let mut first = daemons.remove(0);
    first.kill9();
    // Its results may lie in its spool, which only it can read: until then nobody else may take it for dead.
    let broken = first.try_start(&[("BEADLE_TEST_POINTS", "start.token_known:1:abort")]);
    assert!(broken.is_err(), "it was to abort");
    // What another worker leaves meanwhile is taken over: the third one has looked.
    let other = tempfile::tempdir().unwrap();
    let mut second = Cluster::over(&url, 1, &[]).daemons.remove(0);
    let lost = enqueue(&second, &script(other.path()));
    until("it to run", PATIENCE, || (!starts(other.path()).is_empty()).then_some(()));
    let third = Cluster::over(&url, 1, &[]).daemons.remove(0);
    second.kill9();
    assert_eq!(third.wait_final_state(&lost), "SUCCEEDED");
    assert_eq!(starts(directory.path()), ["1"]);
    assert_eq!(outcomes(&third, &id), [""], "it is still the first one's");
    first.restart();
    assert_eq!(first.wait_final_state(&id), "SUCCEEDED");
    assert_eq!(outcomes(&first, &id), ["LOST", "SUCCEEDED"]);
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
