//! Jobs that wait for others, through the front door: graphs of them, their ends, and what they leave to each other.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, FINAL_STATES};
use crate::support::history::{faults, read_all};
use crate::support::wait::{PATIENCE, until};

const ENQUEUE_MANY: &str = "mutation ($jobs: [JobEnqueueInput!]!) { jobEnqueueMany(input: {jobs: $jobs}) {
  results { job { id } deduplicated userErrors { code path message } }
} }";

fn run(argv: &[&str]) -> Value {
    json!({"command": {"exec": {"argv": argv}}})
}

fn script(text: &str) -> Value {
    json!({"command": {"script": {"text": text}}})
}

/// The ids of the jobs that were made, in order; the first refusal of each of the others as `CODE path`.
fn enqueue_many(daemon: &Daemon, jobs: &Value) -> Vec<Result<String, String>> {
    let answer = daemon.graphql(ENQUEUE_MANY, json!({ "jobs": jobs }));
    let read = |result: &Value| {
        if let Some(id) = result["job"]["id"].as_str() {
            return Ok(id.to_owned());
        }
        let error = &result["userErrors"][0];
        let path: Vec<_> = error["path"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        Err(format!("{} {}", error["code"].as_str().unwrap_or_default(), path.join(".")))
    };
    answer["jobEnqueueMany"]["results"].as_array().expect("a list").iter().map(read).collect()
}

fn made(answers: Vec<Result<String, String>>) -> Vec<String> {
    answers.into_iter().map(|made| made.expect("the job is good")).collect()
}

fn state(daemon: &Daemon, id: &str) -> String {
    let query = "query ($id: ID!) { job(id: $id) { state } }";
    daemon.graphql(query, json!({ "id": id }))["job"]["state"].as_str().expect("the job exists").to_owned()
}

fn ends(daemon: &Daemon, id: &str) -> String {
    until("the job to be final", PATIENCE * 2, || {
        Some(state(daemon, id)).filter(|state| FINAL_STATES.contains(&state.as_str()))
    })
}

fn change(daemon: &Daemon, field: &str, id: &str) {
    let kind = format!("{}{}Input", field[..1].to_uppercase(), &field[1..]);
    let query =
        format!("mutation ($input: {kind}!) {{ {field}(input: $input) {{ userErrors {{ code }} }} }}");
    let answer = daemon.graphql(&query, json!({"input": {"id": id}}));
    assert_eq!(answer[field]["userErrors"], json!([]));
}

#[test]
fn a_thousand_jobs_wait_for_one_and_one_waits_for_them_all() {
    let daemon = Daemon::start_with(&["--slots", "16"]);
    let root = daemon.enqueue_with(json!({"run": run(&["/bin/true"]), "isHeld": true}));
    let child = json!({"run": run(&["/bin/true"]), "dependsOn": [root]});
    let children = made(enqueue_many(&daemon, &json!(vec![child; 1_000])));
    let last = daemon.enqueue_with(json!({"run": run(&["/bin/true"]), "dependsOn": children}));
    let blocked = daemon.graphql("{ jobCounts { blocked held } }", json!({}));
    assert_eq!(blocked["jobCounts"], json!({"blocked": 1_001, "held": 1}));
    let query = "query ($id: ID!, $after: ID) { job(id: $id) {
      onDependencyFailure dependsOn(first: 200, after: $after) { id } dependants(first: 3) { id }
    } }";
    let job = daemon.graphql(query, json!({"id": last, "after": children[799]}))["job"].take();
    assert_eq!(job["onDependencyFailure"], json!("SKIP"));
    assert_eq!(job["dependsOn"].as_array().map(Vec::len), Some(200));
    assert_eq!(job["dependsOn"][199]["id"], json!(children[999]));
    let job = daemon.graphql(query, json!({"id": root}))["job"].take();
    assert_eq!((&job["onDependencyFailure"], &job["dependsOn"]), (&Value::Null, &json!([])));
    assert_eq!(job["dependants"].as_array().map(Vec::len), Some(3));
    change(&daemon, "jobRelease", &root);
    assert_eq!(ends(&daemon, &last), "SUCCEEDED");
    let all: BTreeSet<_> = children.into_iter().chain([root, last]).collect();
    let events = read_all(&daemon);
    assert_eq!(faults(&events, &all), Vec::<String>::new());
    let succeeded = events.iter().filter(|event| event.final_state() == Some("SUCCEEDED")).count();
    assert_eq!(succeeded, 1_002);
}

#[test]
fn a_whole_graph_is_made_at_once_and_runs_in_its_order() {
    let daemon = Daemon::start();
    let log = daemon.directory().join("order");
    let say = |name: &str, more: Value| {
        let mut job = json!({"run": script(&format!("echo {name} >> {}", log.display()))});
        for (key, value) in more.as_object().into_iter().flatten() {
            job[key] = value.clone();
        }
        job
    };
    let jobs = json!([
        say("fetch", json!({})),
        say("build", json!({"dependsOnPositions": [0]})),
        say("test", json!({"dependsOnPositions": [1, 1]})),
        say("ship", json!({"dependsOnPositions": [2, 0]})),
    ]);
    let ids = made(enqueue_many(&daemon, &jobs));
    assert_eq!(ends(&daemon, &ids[3]), "SUCCEEDED");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "fetch\nbuild\ntest\nship\n");
    // A repeat by hand runs alone.
    let retry = "mutation ($id: ID!) { jobRetry(input: {id: $id}) { job { id onDependencyFailure dependsOn { id } } } }";
    let again = daemon.graphql(retry, json!({"id": ids[3]}))["jobRetry"]["job"].take();
    assert_eq!((&again["onDependencyFailure"], &again["dependsOn"]), (&Value::Null, &json!([])));
}

#[test]
fn what_could_be_a_cycle_is_refused_and_so_is_what_waits_for_it() {
    let daemon = Daemon::start();
    let job = |more: Value| {
        let mut job = json!({"run": run(&["/bin/true"])});
        for (key, value) in more.as_object().into_iter().flatten() {
            job[key] = value.clone();
        }
        job
    };
    let answers = enqueue_many(
        &daemon,
        &json!([
            job(json!({"idempotencyKey": "first"})),
            job(json!({"dependsOnPositions": [0, 1]})),
            job(json!({"dependsOnPositions": [3]})),
            job(json!({"dependsOnPositions": [-1]})),
            job(json!({"dependsOnPositions": [0, 1]})),
            job(json!({"dependsOn": ["job_999", "nonsense"]})),
            job(json!({"dependsOnPositions": [5]})),
            job(json!({"dependsOnPositions": [0]})),
            job(json!({"dependsOn": vec!["job_1"; 1_000], "dependsOnPositions": [0]})),
        ]),
    );
    let refusals: Vec<_> = answers.iter().map(|answer| answer.as_ref().err().map(String::as_str)).collect();
    assert_eq!(
        refusals,
        [
            None,
            Some("INVALID dependsOnPositions.1"),
            Some("INVALID dependsOnPositions.0"),
            Some("INVALID dependsOnPositions.0"),
            Some("INVALID dependsOnPositions.1"),
            Some("NOT_FOUND dependsOn.0"),
            Some("INVALID dependsOnPositions.0"),
            None,
            Some("INVALID dependsOn"),
        ]
    );
    // A position may also be of a job that an earlier request made.
    let again = enqueue_many(
        &daemon,
        &json!([
            job(json!({"idempotencyKey": "first"})),
            job(json!({"dependsOnPositions": [0], "idempotencyKey": "second"}))
        ]),
    );
    assert_eq!(again[0], answers[0]);
    let query = "query ($id: ID!) { job(id: $id) { dependsOn { id } } }";
    let on = daemon.graphql(query, json!({"id": again[1].as_ref().unwrap()}))["job"]["dependsOn"].take();
    assert_eq!(on, json!([{"id": again[0].as_ref().unwrap()}]));
    let alone = "mutation ($input: JobEnqueueInput!) { jobEnqueue(input: $input) { userErrors { code path message } } }";
    let answer = daemon.graphql(alone, json!({"input": job(json!({"dependsOnPositions": [0]}))}));
    let error = &answer["jobEnqueue"]["userErrors"][0];
    assert_eq!((&error["code"], &error["path"]), (&json!("INVALID"), &json!(["dependsOnPositions", "0"])));
    assert!(error["message"].as_str().unwrap().contains("cycle"), "{error}");
    let key = |more: Value| {
        let mut input = job(more);
        input["uniqueKey"] = json!("k");
        input["onConflict"] = json!("REPLACE_QUEUED");
        input["isHeld"] = json!(true);
        input
    };
    let first = daemon.enqueue_with(key(json!({})));
    let answer = daemon.graphql(alone, json!({"input": key(json!({"dependsOn": [first]}))}));
    assert_eq!(answer["jobEnqueue"]["userErrors"][0]["path"], json!(["onConflict"]));
    assert_eq!(state(&daemon, &first), "HELD");
}

#[test]
fn a_failure_skips_a_chain_and_an_anyway_runs_over_a_crash_of_the_daemon() {
    let mut daemon = Daemon::start();
    let root = daemon.enqueue(&["/bin/sleep", "600"]);
    let held = daemon.enqueue_with(json!({"run": run(&["/bin/true"]), "isHeld": true}));
    let ids = made(enqueue_many(
        &daemon,
        &json!([
            {"run": run(&["/bin/true"]), "dependsOn": [root]},
            {"run": run(&["/bin/true"]), "dependsOnPositions": [0]},
            {"run": run(&["/bin/true"]), "dependsOn": [root, held], "onDependencyFailure": "RUN"},
        ]),
    ));
    until("the root to run", PATIENCE, || (state(&daemon, &root) == "RUNNING").then_some(()));
    daemon.kill9();
    daemon.restart();
    // The attempt is lost, and one try was all.
    assert_eq!(ends(&daemon, &root), "FAILED");
    for id in &ids[..2] {
        assert_eq!(ends(&daemon, id), "SKIPPED");
    }
    assert_eq!(state(&daemon, &ids[2]), "BLOCKED", "it waits for all of them");
    change(&daemon, "jobCancel", &held);
    assert_eq!(ends(&daemon, &ids[2]), "SUCCEEDED");
    let all: BTreeSet<_> = ids.into_iter().chain([root, held]).collect();
    assert_eq!(faults(&read_all(&daemon), &all), Vec::<String>::new());
}

#[test]
fn a_long_chain_is_skipped_to_its_end_without_a_free_slot_and_over_a_crash() {
    let length = 600;
    let mut daemon = Daemon::start_with(&["--slots", "1"]);
    let busy = daemon.enqueue(&["/bin/sleep", "600"]);
    until("the slot to be taken", PATIENCE, || (state(&daemon, &busy) == "RUNNING").then_some(()));
    for is_killed in [false, true] {
        let root = daemon.enqueue_with(json!({"run": run(&["/bin/true"]), "isHeld": true}));
        let link = |at: usize| match at {
            0 => json!({"run": run(&["/bin/true"]), "dependsOn": [root]}),
            _ => json!({"run": run(&["/bin/true"]), "dependsOnPositions": [at - 1]}),
        };
        let ids = made(enqueue_many(&daemon, &(0..length).map(link).collect()));
        change(&daemon, "jobCancel", &root);
        if is_killed {
            daemon.kill9();
            daemon.restart();
        }
        assert_eq!(ends(&daemon, &ids[length - 1]), "SKIPPED");
        assert_eq!(faults(&read_all(&daemon), &ids.into_iter().collect()), Vec::<String>::new());
    }
}

#[test]
fn a_job_reads_what_those_before_it_left() {
    let daemon = Daemon::start();
    let put = "mutation { taskPut(input: {name: \"fetch\", command: {script: {text:
        \"echo '{\\\"output\\\": {\\\"url\\\": \\\"x\\\"}}' > $BEADLE_REPORT\"}}}) { userErrors { code } } }";
    daemon.graphql(put, json!({}));
    let fetch = daemon.enqueue_with(json!({"run": {"task": {"name": "fetch"}}}));
    let fails = daemon.enqueue(&["/bin/false"]);
    let show = r#"stat -c %a "$BEADLE_DEPENDENCIES"; echo "$BEADLE_DEPENDENCIES"; tr -d '\n' < "$BEADLE_DEPENDENCIES""#;
    let reads = daemon.enqueue_with(
        json!({"run": script(show), "dependsOn": [fetch, fails], "onDependencyFailure": "RUN"}),
    );
    let ended = daemon.wait_final(&reads);
    assert_eq!(ended.job["state"], json!("SUCCEEDED"), "{ended:?}");
    let lines: Vec<_> = ended.lines.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(lines[0], "600");
    assert!(Path::new(lines[1]).is_absolute() && !Path::new(lines[1]).exists(), "{}", lines[1]);
    let read: Value = serde_json::from_str(lines[2]).expect("the file is JSON");
    let expected = json!({
        &fetch: {"task": "fetch", "state": "SUCCEEDED", "output": {"url": "x"}},
        &fails: {"task": null, "state": "FAILED", "output": null},
    });
    assert_eq!(read, expected);
    let alone = daemon.enqueue_with(json!({"run": script("echo [$BEADLE_DEPENDENCIES]")}));
    assert_eq!(daemon.wait_final(&alone).lines[0].1, "[]");
}

#[test]
fn the_command_line_chains_jobs() {
    let daemon = Daemon::start();
    let line = |args: &[&str]| {
        let ran = daemon.cli(args);
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8_lossy(&ran.stdout).trim().to_owned()
    };
    let first = line(&["run", "--hold", "--", "/bin/false"]);
    let then = line(&["run", "--after", &first, "--", "/bin/true"]);
    let anyway = line(&["run", "--after", &first, "--after", &then, "--even-if-failed", "--", "/bin/true"]);
    let shown = line(&["job", &anyway]);
    let waits = shown.lines().find(|line| line.starts_with("waits for")).expect("it says so").to_owned();
    assert!(waits.contains(&format!("{first} HELD, {then} BLOCKED, runs even if one failed")), "{waits}");
    change(&daemon, "jobRelease", &first);
    assert_eq!(ends(&daemon, &anyway), "SUCCEEDED");
    assert_eq!(state(&daemon, &then), "SKIPPED");
}
