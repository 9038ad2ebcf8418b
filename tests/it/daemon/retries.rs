//! When a job is tried again: by its policy, by its own word, and never at the cost of a try that was taken from it.

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, beadle};
use crate::support::wait::{PATIENCE, until};

/// A policy of quick tries.
fn policy(more: &Value) -> Value {
    let mut policy = json!({"maxAttempts": 3, "initialDelay": "10ms", "factor": 1.0});
    policy.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    policy
}

fn enqueue(daemon: &Daemon, text: &str, policy: &Value) -> String {
    let program = beadle();
    let program = program.get_program().to_str().expect("the path is text");
    let script = json!({"text": text, "environment": [{"name": "BEADLE", "value": program}]});
    daemon.enqueue_with(json!({"run": {"command": {"script": script}}, "retryPolicy": policy}))
}

/// The state that the job ends in, and how each attempt ended.
fn ended(daemon: &Daemon, id: &str) -> (String, Vec<String>) {
    let job = daemon.wait_final(id).job;
    let attempts = job["attempts"]["nodes"].as_array().expect("a list");
    let outcomes = attempts.iter().map(|attempt| attempt["outcome"].as_str().unwrap_or_default().to_owned());
    (job["state"].as_str().unwrap_or_default().to_owned(), outcomes.collect())
}

#[test]
fn conditions_decide_what_is_tried_again() {
    let daemon = Daemon::start();
    let temporary = |more: Value| {
        let mut more = more;
        more["retriesTemporaryFailure"] = json!(true);
        policy(&more)
    };
    let (exited, signaled) = ("EXITED", "SIGNALED");
    let cases = [
        ("exit 75", policy(&json!({})), exited, 3),
        ("exit 75", policy(&json!({"retryOn": ["LOST"]})), exited, 1),
        ("exit 75", temporary(json!({"retryOn": ["LOST"]})), exited, 3),
        ("exit 75", temporary(json!({"retryOn": []})), exited, 3),
        ("exit 75", temporary(json!({"exitCodes": [1]})), exited, 3),
        ("exit 75", policy(&json!({"exitCodes": [1]})), exited, 1),
        ("exit 1", temporary(json!({"retryOn": ["LOST"]})), exited, 1),
        ("kill -SEGV $$", policy(&json!({"signals": ["SIGSEGV"]})), signaled, 3),
        ("kill -KILL $$", policy(&json!({"signals": ["SIGSEGV"]})), signaled, 1),
        ("kill -KILL $$", policy(&json!({"retryOn": ["SIGNALED"]})), signaled, 3),
        ("exit 1", policy(&json!({"signals": ["SIGSEGV"]})), exited, 3),
    ];
    let jobs: Vec<_> = cases.iter().map(|(text, policy, ..)| enqueue(&daemon, text, policy)).collect();
    for ((text, policy, outcome, count), id) in cases.iter().zip(&jobs) {
        let expected = ("FAILED".to_owned(), vec![(*outcome).to_owned(); *count]);
        assert_eq!(ended(&daemon, id), expected, "{text} with {policy}");
    }
}

#[test]
fn a_timeout_is_tried_again_when_the_policy_says_so() {
    let daemon = Daemon::start();
    for (outcomes, count) in [(json!(["TIMED_OUT"]), 2), (json!(["EXITED"]), 1)] {
        let id = daemon.enqueue_with(json!({
            "run": {"command": {"exec": {"argv": ["/bin/sleep", "600"]}}}, "timeout": "100ms",
            "retryPolicy": policy(&json!({"maxAttempts": 2, "retryOn": outcomes})),
        }));
        assert_eq!(ended(&daemon, &id), ("FAILED".to_owned(), vec!["TIMED_OUT".to_owned(); count]));
    }
}

#[test]
fn the_jobs_own_word_stands_above_its_policy_but_not_above_its_tries() {
    let daemon = Daemon::start();
    // The policy covers no exit, and would wait for an hour.
    let none = json!({"maxAttempts": 3, "initialDelay": "1h", "retryOn": ["LOST"]});
    let id = enqueue(&daemon, r#""$BEADLE" report --retry-after 50ms; exit 1"#, &none);
    assert_eq!(ended(&daemon, &id), ("FAILED".to_owned(), vec!["EXITED".to_owned(); 3]));
    let text = r#"[ "$BEADLE_ATTEMPT" = 2 ] && "$BEADLE" report --no-retry; exit 75"#;
    let id = enqueue(&daemon, text, &policy(&json!({"maxAttempts": 9, "retriesTemporaryFailure": true})));
    assert_eq!(ended(&daemon, &id), ("FAILED".to_owned(), vec!["EXITED".to_owned(); 2]));
}

#[test]
fn an_interruption_costs_no_try() {
    let mut daemon = Daemon::start_with(&["--drain-timeout", "100ms"]);
    let gate = daemon.directory().join("gate");
    let text = format!("echo go; until [ -e {} ]; do sleep 0.05; done; exit 1", gate.display());
    let put = "mutation ($input: TaskPutInput!) { taskPut(input: $input) { userErrors { message } } }";
    let task = json!({
        "name": "t", "command": {"script": {"text": text}}, "killGrace": "1s",
        "retryPolicy": {"maxAttempts": 2, "initialDelay": "10ms"},
    });
    assert_eq!(daemon.graphql(put, json!({ "input": task }))["taskPut"]["userErrors"], json!([]));
    let id = daemon.enqueue_with(json!({"run": {"task": {"name": "t"}}}));
    for _ in 0..2 {
        until("the job to run", PATIENCE, || {
            let query = "query ($id: ID!) { job(id: $id) { currentAttempt { pid } } }";
            let answer = daemon.graphql(query, json!({ "id": id }));
            answer["job"]["currentAttempt"]["pid"].is_i64().then_some(())
        });
        assert!(daemon.terminate().success());
        daemon.restart();
    }
    std::fs::write(&gate, "").unwrap();
    let outcomes = ["INTERRUPTED", "INTERRUPTED", "EXITED", "EXITED"].map(str::to_owned).to_vec();
    assert_eq!(ended(&daemon, &id), ("FAILED".to_owned(), outcomes));
}

#[test]
fn a_policy_that_means_nothing_is_refused() {
    let daemon = Daemon::start();
    let query =
        "mutation ($input: JobEnqueueInput!) { jobEnqueue(input: $input) { userErrors { code path } } }";
    for (more, field) in [
        (json!({"retryOn": ["SUCCEEDED"]}), "retryOn"),
        (json!({"retryOn": ["EXITED", "CANCELLED"]}), "retryOn"),
        (json!({"retryOn": ["INTERRUPTED"]}), "retryOn"),
        (json!({"exitCodes": [256]}), "exitCodes"),
        (json!({"signals": ["SEGV"]}), "signals"),
        (json!({"signals": ["SIGSEGV", "SIGNONE"]}), "signals"),
        (json!({"maxAttempts": 0}), "maxAttempts"),
    ] {
        let run = json!({"command": {"exec": {"argv": ["/bin/true"]}}});
        let answer = daemon.graphql(query, json!({"input": {"run": run, "retryPolicy": policy(&more)}}));
        let expected = json!([{"code": "INVALID", "path": ["retryPolicy", field]}]);
        assert_eq!(answer["jobEnqueue"]["userErrors"], expected, "{more}");
    }
}

#[test]
fn the_command_line_says_policies_and_parameters() {
    let daemon = Daemon::start();
    let schema = r#"{"properties": {"code": {"type": "integer"}}, "required": ["code"]}"#;
    let put = daemon.cli(&[
        "task",
        "put",
        "t",
        "--schema",
        schema,
        "--retries",
        "2",
        "--retry-delay",
        "10ms",
        "--retry-on",
        "lost",
        "--retry-temporary",
        "--",
        "/bin/sh",
        "-c",
        "exit $1",
        "sh",
        "{{code}}",
    ]);
    assert!(put.status.success(), "{put:?}");
    for (code, count) in [("code=75", 3), ("code=1", 1)] {
        let run = daemon.cli(&["run", "t", "--param", code]);
        let id = String::from_utf8_lossy(&run.stdout).trim().to_owned();
        assert_eq!(ended(&daemon, &id).1.len(), count, "{run:?}");
    }
    let refused = daemon.cli(&["run", "t", "--param", "code=x"]);
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("/code does not fit") && told.contains("parameters.code"), "{told}");
}
