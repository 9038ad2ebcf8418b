//! Labels of a worker and jobs that ask for them, through the front door: what waits and why, and what becomes of it when
//! a worker comes that fits.

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, string};
use crate::support::program::shown;

const JOB: &str = "query ($id: ID!) { job(id: $id) { state runsOn { key value } origin
  blockers { __typename ... on WorkerBlocker { message runsOn { key value } } } } }";

fn job(daemon: &Daemon, id: &str) -> Value {
    daemon.graphql(JOB, json!({ "id": id }))["job"].take()
}

/// Runs a command that must succeed; what it printed, without the end of the line.
fn done(daemon: &Daemon, words: &[&str]) -> String {
    let output = daemon.cli(words);
    assert!(output.status.success(), "{words:?} {}", shown(&output));
    String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
}

fn label(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": value })
}

#[test]
fn a_job_waits_for_a_worker_with_its_labels_and_runs_when_one_comes() {
    let mut daemon = Daemon::start_in_environment(&[("BEADLE_LABELS", "os=linux, zone=b")]);
    let workers = "{ workers(first: 1) { nodes { name labels { key value } } } }";
    let worker = daemon.graphql(workers, json!({}))["workers"]["nodes"][0].take();
    let host = string(&worker["name"]).rsplit_once(':').expect("host and process").0.to_owned();
    assert_eq!(
        worker["labels"],
        json!([label("host", &host), label("os", "linux"), label("zone", "b")]),
        "the machine's name is there by itself"
    );
    let status = done(&daemon, &["status"]);
    assert!(status.contains(&format!("host={host} os=linux zone=b")), "{status}");

    let here = format!("host={host}");
    done(&daemon, &["run", "--wait", "--runs-on", "zone=b", "--runs-on", &here, "--", "/bin/true"]);
    let waits = done(&daemon, &["run", "--runs-on", "gpu=a100", "--runs-on", "os=linux", "--", "/bin/true"]);
    let wanted = json!([label("gpu", "a100"), label("os", "linux")]);
    let told = "no worker that is there has all of the labels gpu=a100, os=linux";
    let blocker = json!([{ "__typename": "WorkerBlocker", "message": told, "runsOn": wanted }]);
    assert_eq!(job(&daemon, &waits)["blockers"], blocker);
    let why = done(&daemon, &["why", &waits]);
    assert!(why.contains(told), "{why}");
    assert!(done(&daemon, &["job", &waits]).contains("gpu=a100 os=linux"));
    // It stands in nobody's way, not even with the better rank.
    let urgent = ["run", "--priority", "100", "--runs-on", "gpu=a100", "--", "/bin/true"];
    let urgent = done(&daemon, &urgent);
    done(&daemon, &["run", "--wait", "--", "/bin/true"]);
    for id in [&waits, &urgent] {
        assert_eq!(job(&daemon, id)["state"], json!("QUEUED"));
    }

    daemon.terminate();
    daemon.change_environment(&[("BEADLE_LABELS", "gpu=a100,os=linux,host=other")]);
    daemon.restart();
    for id in [&waits, &urgent] {
        assert_eq!(daemon.wait_final_state(id), "SUCCEEDED");
    }
    // The machine's name gives way to one that was given.
    let away = done(&daemon, &["run", "--runs-on", &here, "--", "/bin/true"]);
    let blocker = format!("no worker that is there has the label {here}");
    assert_eq!(job(&daemon, &away)["blockers"][0]["message"], json!(blocker));
}

#[test]
fn what_a_task_asks_for_goes_into_its_jobs_however_they_are_made() {
    let daemon = Daemon::start_with(&["--labels", "gpu=a100"]);
    done(&daemon, &["task", "put", "--runs-on", "gpu=a100", "train", "--", "/bin/true"]);
    let wanted = json!([label("gpu", "a100")]);
    let query = "{ task(ref: {name: \"train\"}) { runsOn { key value } revisions(first: 1) { nodes { runsOn { key } } } } }";
    let task = daemon.graphql(query, json!({}))["task"].take();
    assert_eq!(
        (&task["runsOn"], &task["revisions"]["nodes"][0]["runsOn"][0]["key"]),
        (&wanted, &json!("gpu"))
    );
    assert!(done(&daemon, &["task", "show", "train"]).contains("gpu=a100"));
    let first = done(&daemon, &["run", "train"]);
    assert_eq!(daemon.wait_final_state(&first), "SUCCEEDED");
    let again = done(&daemon, &["retry", &first]);
    done(&daemon, &["schedule", "put", "nightly", "--task", "train", "--cron", "0 3 * * *"]);
    let trigger = "mutation { scheduleTrigger(input: {ref: {name: \"nightly\"}}) { job { id } userErrors { message } } }";
    let made = string(&daemon.graphql(trigger, json!({}))["scheduleTrigger"]["job"]["id"]);
    for (id, origin) in [(&first, "API"), (&again, "RETRY"), (&made, "SCHEDULE")] {
        let job = job(&daemon, id);
        assert_eq!((&job["runsOn"], &job["origin"]), (&wanted, &json!(origin)));
    }
    // A job's own word stands in the place of its task's.
    let run = |runs_on: Value| {
        let input = json!({ "run": { "task": { "name": "train" } }, "runsOn": runs_on });
        job(&daemon, &daemon.enqueue_with(input))["runsOn"].take()
    };
    assert_eq!(run(json!(null)), wanted);
    assert_eq!(run(json!([])), json!([]));
    assert_eq!(
        run(json!([label("os", "b"), label("arch", "a")])),
        json!([label("arch", "a"), label("os", "b")])
    );
}

#[test]
fn labels_that_no_worker_can_have_are_refused_where_they_stand() {
    let daemon = Daemon::start();
    let enqueue =
        "mutation ($input: JobEnqueueInput!) { jobEnqueue(input: $input) { userErrors { code path } } }";
    let put = "mutation ($input: TaskPutInput!) { taskPut(input: $input) { userErrors { code path } } }";
    let command = json!({ "exec": { "argv": ["/bin/true"] } });
    let many: Vec<_> = (0..11).map(|at| label(&format!("k{at}"), "v")).collect();
    for (runs_on, path) in [
        (json!([label("a", "b"), label("c d", "e")]), json!(["runsOn", "1", "key"])),
        (json!([label("a", "b,c=d")]), json!(["runsOn", "0", "value"])),
        (json!([label("a", "b"), label("a", "c")]), json!(["runsOn", "1", "key"])),
        (json!(many), json!(["runsOn"])),
    ] {
        let refused = json!([{ "code": "INVALID", "path": path }]);
        let input = json!({ "run": { "command": command }, "runsOn": runs_on });
        assert_eq!(daemon.graphql(enqueue, json!({ "input": input }))["jobEnqueue"]["userErrors"], refused);
        let input = json!({ "name": "t", "command": command, "runsOn": runs_on });
        assert_eq!(daemon.graphql(put, json!({ "input": input }))["taskPut"]["userErrors"], refused);
    }
    let output = daemon.cli(&["run", "--runs-on", "gpu", "--", "/bin/true"]);
    assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
}
