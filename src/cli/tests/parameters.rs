//! What a task is told and when it is tried again, as it was said on the command line.

use super::*;

fn input(daemon: &FakeDaemon) -> Value {
    daemon.seen()[0].variables()["input"].clone()
}

#[test]
fn parameters_are_sent_as_one_object() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("parameters.json");
    std::fs::write(&file, r#"{"size": 1, "to": "x"}"#).unwrap();
    for (words, parameters) in [
        ("run t --param size=3 --param to=a=b".to_owned(), json!({"size": 3, "to": "a=b"})),
        (
            r#"run t --params {"size":1,"all":[true]} --param size=2"#.to_owned(),
            json!({"size": 2, "all": [true]}),
        ),
        (format!("run t --params @{} --param size=null", file.display()), json!({"size": null, "to": "x"})),
    ] {
        let daemon = FakeDaemon::start(vec![enqueued("job_7")]);
        let ran = beadle(&daemon, &words);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{words}");
        assert_eq!(input(&daemon)["parameters"], parameters, "{words}");
    }
    let daemon = FakeDaemon::start(vec![enqueued("job_7")]);
    beadle(&daemon, "run t");
    assert_eq!(input(&daemon).get("parameters"), None);
}

#[test]
fn a_retry_policy_is_sent_as_it_was_said() {
    let words = "run t --timeout 1m --max-timeout 1h --retries 2 --retry-delay 1s --retry-max-delay 1m \
                 --retry-on exited --retry-on timed-out --retry-exit-code 3 --retry-exit-code 4 \
                 --retry-signal SIGSEGV --retry-temporary";
    let daemon = FakeDaemon::start(vec![enqueued("job_7")]);
    let ran = beadle(&daemon, &words.split_whitespace().collect::<Vec<_>>().join(" "));
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let sent = input(&daemon);
    let policy = json!({
        "maxAttempts": 3, "initialDelay": "1s", "maxDelay": "1m", "retryOn": ["EXITED", "TIMED_OUT"],
        "exitCodes": [3, 4], "signals": ["SIGSEGV"], "retriesTemporaryFailure": true,
    });
    assert_eq!((&sent["retryPolicy"], &sent["maxTimeout"]), (&policy, &json!("1h")));
}

#[test]
fn a_task_is_put_with_its_schema_and_limits() {
    let reply = done("taskPut", json!({ "task": { "id": "task_1", "name": "t", "revision": 1 } }));
    let daemon = FakeDaemon::start(vec![reply]);
    let words = r#"task put t --schema {"required":["a"]} --concurrency-limit 2 --timeout 1s --max-timeout 9s --retries 1 --runs-on gpu=a100 -- cp {{a}}"#;
    let ran = beadle(&daemon, words);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let expected = json!({
        "name": "t", "command": { "exec": { "argv": ["cp", "{{a}}"] } }, "timeout": "1s", "maxTimeout": "9s",
        "parametersSchema": { "required": ["a"] }, "concurrencyLimit": 2, "retryPolicy": { "maxAttempts": 2 },
        "runsOn": [{ "key": "gpu", "value": "a100" }],
    });
    assert_eq!(input(&daemon), expected);
}

#[test]
fn a_task_shows_its_schema_and_conditions() {
    let command = json!({ "argv": ["cp", "{{a}}"], "script": null, "environment": [] });
    let task = json!({
        "id": "task_1", "name": "t", "description": null, "revision": 1, "command": command,
        "queue": { "name": "slow" }, "priority": 0, "timeout": "PT1S", "killGrace": "PT10S", "maxTimeout": "PT9S",
        "retryPolicy": {
            "maxAttempts": 3, "initialDelay": "PT5S", "maxDelay": "PT10M", "factor": 2.0, "retryOn": ["EXITED"],
            "exitCodes": [3], "signals": null, "retriesTemporaryFailure": true,
        },
        "concurrencyLimit": 2, "parametersSchema": { "required": ["a"] }, "isRestartable": true, "schedules": [],
        "createdAt": "T", "updatedAt": "T", "archivedAt": null,
    });
    let daemon = FakeDaemon::start(vec![Reply::data(&json!({ "task": task }))]);
    let ran = beadle(&daemon, "task show t");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    for part in ["after EXITED, of exit codes 3, always after exit code 75", "9s", r#"{"required":["a"]}"#] {
        assert!(ran.out.contains(part), "{part}:\n{}", ran.out);
    }
}
