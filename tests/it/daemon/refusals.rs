//! Bad input: each a clear error with a code and the place, and the daemon goes on.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::daemon::Daemon;

/// Posts `body` as it is; the status and the answer.
fn post(daemon: &Daemon, body: &str) -> (u16, Value) {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let mut answer = agent
        .post(format!("{}/graphql", daemon.url()))
        .header("Authorization", format!("Bearer {}", daemon.token()))
        .header("Content-Type", "application/json")
        .header("Accept", "application/graphql-response+json")
        .send(body)
        .expect("the daemon answers");
    let text = answer.body_mut().read_to_string().expect("an answer is text");
    let value = serde_json::from_str(&text).unwrap_or_else(|why| panic!("not JSON ({why}): {text}"));
    (answer.status().as_u16(), value)
}

/// The daemon still does its work.
fn works(daemon: &Daemon) {
    let id = daemon.enqueue(&["/bin/true"]);
    assert_eq!(daemon.wait_final(&id).job["state"], json!("SUCCEEDED"));
}

#[test]
fn a_bad_request_is_refused_with_a_code_and_names_what_is_wrong() {
    let daemon = Daemon::start();
    let pid = daemon.pid();
    let document = |query: &str| json!({ "query": query }).to_string();
    let variable = json!({
        "query": "mutation ($input: JobEnqueueInput!) { jobEnqueue(input: $input) { job { id } } }",
        "variables": {"input": {"run": {"command": {"exec": {"argv": "not a list of a list", "color": "red"}}}}},
    });
    let cases = [
        ("{\"query\": \"{ health", "BAD_REQUEST", ""),
        ("", "BAD_REQUEST", ""),
        ("[1, 2]", "BATCHING_DISABLED", ""),
        ("{}", "BAD_REQUEST", "query"),
        ("{\"query\": 7}", "BAD_REQUEST", "query"),
        ("[{\"query\": \"{ __typename }\"}]", "BATCHING_DISABLED", ""),
        (&document("{ health { status }"), "GRAPHQL_PARSE_FAILED", ""),
        (&document("{ helth { status } }"), "GRAPHQL_VALIDATION_FAILED", "helth"),
        (&document("{ jobs(fist: 3) { nodes { id } } }"), "GRAPHQL_VALIDATION_FAILED", "fist"),
        (&document("{ jobs(first: \"3\") { nodes { id } } }"), "GRAPHQL_VALIDATION_FAILED", "first"),
        (
            &document("{ jobs(filter: {states: [ASLEEP]}) { nodes { id } } }"),
            "GRAPHQL_VALIDATION_FAILED",
            "states",
        ),
        (&variable.to_string(), "BAD_USER_INPUT", "input"),
    ];
    for (body, code, sign) in cases {
        let (status, answer) = post(&daemon, body);
        let error = &answer["errors"][0];
        assert_eq!(status, 400, "{body}\n{answer:#}");
        assert_eq!(error["extensions"]["code"], json!(code), "{body}\n{answer:#}");
        assert!(answer.get("data").is_none(), "a request error has no data: {answer:#}");
        let message = error["message"].as_str().unwrap_or_default();
        assert!(!message.is_empty() && message.contains(sign), "{body}\n{answer:#}");
    }
    works(&daemon);
    assert_eq!(daemon.pid(), pid);
}

/// What `input` is refused with: one code and one path.
struct Refusal {
    mutation: &'static str,
    input: Value,
    code: &'static str,
    path: &'static str,
}

fn refusal(mutation: &'static str, input: Value, code: &'static str, path: &'static str) -> Refusal {
    Refusal { mutation, input, code, path }
}

fn refusals() -> Vec<Refusal> {
    let run = || json!({"command": {"exec": {"argv": ["/bin/true"]}}});
    let exec = |exec: Value| json!({"run": {"command": {"exec": exec}}});
    let timing = |timing: Value| json!({"name": "s", "task": {"name": "known"}, "timing": timing});
    let enqueue = "jobEnqueue";
    vec![
        refusal(enqueue, json!({"run": {"task": {"name": "nobody"}}}), "NOT_FOUND", "run.task"),
        refusal(enqueue, json!({"run": {"task": {"id": "task_999"}}}), "NOT_FOUND", "run.task"),
        refusal(enqueue, json!({"run": run(), "queue": "nowhere"}), "NOT_FOUND", "queue"),
        refusal(enqueue, json!({"run": run(), "delay": "-5s"}), "INVALID", "delay"),
        refusal(enqueue, json!({"run": run(), "timeout": "0s"}), "INVALID", "timeout"),
        refusal(enqueue, json!({"run": run(), "priority": 101}), "INVALID", "priority"),
        refusal(enqueue, json!({"run": run(), "idempotencyKey": ""}), "INVALID", "idempotencyKey"),
        refusal(
            enqueue,
            json!({"run": run(), "labels": [{"key": "a", "value": "nul\u{0}"}]}),
            "INVALID",
            "labels.0.value",
        ),
        refusal(enqueue, exec(json!({"argv": []})), "INVALID", "run.command.exec.argv"),
        refusal(enqueue, exec(json!({"argv": [""]})), "INVALID", "run.command.exec.argv"),
        refusal(
            enqueue,
            exec(json!({"argv": ["/bin/echo", "a\u{0}b"]})),
            "INVALID",
            "run.command.exec.argv.1",
        ),
        refusal(
            enqueue,
            exec(json!({"argv": ["/bin/true"], "workingDirectory": "not/absolute"})),
            "INVALID",
            "run.command.exec.workingDirectory",
        ),
        refusal(
            enqueue,
            exec(json!({"argv": ["/bin/true"], "environment": [{"name": "A=B", "value": ""}]})),
            "INVALID",
            "run.command.exec.environment.0.name",
        ),
        refusal(
            enqueue,
            json!({"run": {"command": {"script": {"text": " "}}}}),
            "INVALID",
            "run.command.script.text",
        ),
        refusal(
            enqueue,
            json!({"run": run(), "retryPolicy": {"maxAttempts": 0}}),
            "INVALID",
            "retryPolicy.maxAttempts",
        ),
        refusal("schedulePut", timing(json!({"cron": "61 * * * *"})), "INVALID", "timing.cron"),
        refusal("schedulePut", timing(json!({"cron": "0 0 30 2 *"})), "INVALID", "timing.cron"),
        refusal("schedulePut", timing(json!({"cron": "whenever"})), "INVALID", "timing.cron"),
        refusal("schedulePut", timing(json!({"every": "10ms"})), "INVALID", "timing.every"),
        refusal(
            "schedulePut",
            json!({"name": "s", "task": {"name": "nobody"}, "timing": {"every": "5s"}}),
            "NOT_FOUND",
            "task",
        ),
        refusal(
            "schedulePut",
            json!({"name": "s", "task": {"name": "known"}, "timing": {"every": "5s"}, "timeZone": "Mars/Olympus"}),
            "INVALID",
            "timeZone",
        ),
        refusal(
            "taskPut",
            json!({"name": "no spaces", "command": {"exec": {"argv": ["/bin/true"]}}}),
            "INVALID",
            "name",
        ),
        refusal(
            "taskPut",
            json!({"name": "known", "expectedRevision": 7, "command": {"exec": {"argv": ["/bin/true"]}}}),
            "STALE_REVISION",
            "expectedRevision",
        ),
        refusal("jobCancel", json!({"id": "job_999"}), "NOT_FOUND", "id"),
        refusal("jobRetry", json!({"id": "job_999"}), "NOT_FOUND", "id"),
        refusal("scheduleDelete", json!({"ref": {"name": "nobody"}}), "NOT_FOUND", "ref"),
        refusal("queuePause", json!({"name": "nowhere"}), "NOT_FOUND", "name"),
        refusal("queuePut", json!({"name": "q", "concurrencyLimit": -1}), "INVALID", "concurrencyLimit"),
    ]
}

#[test]
fn what_the_caller_can_fix_is_a_user_error_with_its_code_and_path() {
    let daemon = Daemon::start();
    let put = r#"mutation { taskPut(input: {name: "known", command: {exec: {argv: ["/bin/true"]}}}) { task { id } } }"#;
    daemon.graphql(put, json!({}));
    let mut wrong = Vec::new();
    for Refusal { mutation, input, code, path } in refusals() {
        let capital = mutation[..1].to_uppercase() + &mutation[1..];
        let query = format!(
            "mutation ($input: {capital}Input!) {{ {mutation}(input: $input) {{ \
             cursor userErrors {{ code message path }} }} }}"
        );
        let answer = daemon.send(&query, &json!({ "input": input })).expect("an answer");
        let errors = answer["data"][mutation]["userErrors"].as_array().cloned().unwrap_or_default();
        let path: Vec<&str> = path.split('.').collect();
        let is_right = errors.len() == 1
            && errors[0]["code"] == json!(code)
            && errors[0]["path"] == json!(path)
            && errors[0]["message"].as_str().is_some_and(|message| !message.is_empty());
        if !is_right {
            wrong.push(format!("{mutation} {input}\n  expected {code} at {path:?}, got {answer}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let counted = daemon.graphql("{ jobs(first: 1) { totalCount } schedules { nodes { id } } }", json!({}));
    assert_eq!(
        counted,
        json!({"jobs": {"totalCount": 0}, "schedules": {"nodes": []}}),
        "a refusal left something"
    );
    works(&daemon);
}

#[test]
fn a_key_used_again_with_another_request_is_a_mismatch() {
    let daemon = Daemon::start();
    let input = |word: &str| {
        json!({
            "run": {"command": {"exec": {"argv": ["/bin/echo", word]}}}, "idempotencyKey": "one",
        })
    };
    let query = "mutation ($input: JobEnqueueInput!) {
      jobEnqueue(input: $input) { job { id } deduplicated userErrors { code } }
    }";
    let ask = |word: &str| daemon.graphql(query, json!({"input": input(word)}))["jobEnqueue"].clone();
    let first = ask("a");
    assert_eq!(first["deduplicated"], json!(false));
    let again = ask("a");
    assert_eq!((&again["job"], &again["deduplicated"]), (&first["job"], &json!(true)));
    let other = ask("b");
    assert_eq!(other["userErrors"][0]["code"], json!("IDEMPOTENCY_MISMATCH"), "{other}");
    assert!(other["job"].is_null(), "{other}");
}

#[test]
fn what_only_the_run_can_know_fails_the_attempt_and_is_named() {
    let daemon = Daemon::start();
    let plain = daemon.directory().join("not-executable");
    fs::write(&plain, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o644)).unwrap();
    let plain = plain.to_str().unwrap();
    let cases = [
        (json!({"argv": ["/no/such/program"]}), "/no/such/program"),
        (json!({"argv": ["no-such-program-on-path"]}), "no-such-program-on-path"),
        (json!({"argv": ["/bin/true"], "workingDirectory": "/no/such/directory"}), "/no/such/directory"),
        (json!({"argv": [plain]}), plain),
        (json!({"argv": ["/tmp"]}), "/tmp"),
    ];
    for (exec, name) in cases {
        let id = daemon.enqueue_with(json!({"run": {"command": {"exec": exec}}}));
        let ended = daemon.wait_final(&id);
        let failure = &ended.job["failure"];
        assert_eq!(ended.job["state"], json!("FAILED"), "{exec} {:#}", ended.job);
        assert_eq!(failure["outcome"], json!("SPAWN_FAILED"), "{exec} {failure}");
        assert!(
            failure["message"].as_str().is_some_and(|message| message.contains(name)),
            "{exec} {failure}"
        );
    }
    works(&daemon);
}

#[test]
fn a_missing_or_wrong_token_gets_nothing() {
    let daemon = Daemon::start();
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let wrong = format!("Bearer {}", "0".repeat(daemon.token().len()));
    for token in [None, Some(wrong.as_str()), Some("Basic YTpi")] {
        let mut request = agent
            .post(format!("{}/graphql", daemon.url()))
            .header("Content-Type", "application/json")
            .header("Accept", "application/graphql-response+json");
        if let Some(token) = token {
            request = request.header("Authorization", token);
        }
        let mut answer = request.send(json!({"query": "{ viewer { tokenName } }"}).to_string()).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        assert_eq!(answer.status(), 401, "{token:?} {text}");
        assert!(text.contains("UNAUTHENTICATED") && !text.contains("tokenName\":"), "{token:?} {text}");
    }
}
