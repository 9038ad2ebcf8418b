//! Every mutation leaves who did it and from where in the feed; what was refused is in the log.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::api::tokens::{Made, ask, make};
use crate::support::daemon::Daemon;
use crate::support::wait::{PATIENCE, until};

/// Does a mutation as the auditor and answers with its payload and the events that came behind it.
fn done(daemon: &Daemon, auditor: &Made, field: &str, input: &Value) -> (Value, Vec<Value>) {
    let cursor = daemon.graphql("{ eventCursor }", json!({}))["eventCursor"].clone();
    let kind = match field {
        "jobBulkCancel" | "jobBulkRetry" => "JobBulkInput".to_owned(),
        "sinkRedeliver" | "sinkDiscard" => "DeadLettersInput".to_owned(),
        field => format!("{}{}Input", field[..1].to_uppercase(), &field[1..]),
    };
    let selection = match field {
        "jobEnqueueMany" => "results { job { id } userErrors { code message } }",
        "jobBulkCancel" | "jobBulkRetry" => "changedCount userErrors { code message }",
        "scheduleDelete" => "deletedId userErrors { code message }",
        "tokenCreate" | "tokenRevoke" => "token { id } userErrors { code message }",
        "sinkRedeliver" | "sinkDiscard" => "sink { name } userErrors { code message }",
        "taskPut" | "taskArchive" => "task { id } userErrors { code message }",
        "incidentRetry" => "retriedCount userErrors { code message }",
        field if field.starts_with("incident") => "incident { id } userErrors { code message }",
        field if field.starts_with("queue") => "queue { id } userErrors { code message }",
        "scheduleTrigger" => "job { id } userErrors { code message }",
        field if field.starts_with("schedule") => "schedule { id } userErrors { code message }",
        _ => "job { id } userErrors { code message }",
    };
    let query = format!("mutation ($input: {kind}!) {{ {field}(input: $input) {{ {selection} }} }}");
    let mut answer = ask(daemon, auditor, &query, &json!({ "input": input }));
    assert!(answer.get("errors").is_none(), "{field}: {answer}");
    let payload = answer["data"][field].take();
    assert!(!payload.to_string().contains("message"), "{field}: {payload}");
    let events =
        "query ($after: EventCursor) { events(first: 200, after: $after) { events { type actor peer } } }";
    let mut seen = daemon.graphql(events, json!({ "after": cursor }));
    let Value::Array(events) = seen["events"]["events"].take() else { panic!("{field}: no list") };
    (payload, events)
}

#[test]
fn every_mutation_is_in_the_feed_with_its_actor_and_where_it_came_from() {
    let daemon = Daemon::start_with_file("[sinks.s]\nkind = \"otlp\"\nendpoint = \"http://192.0.2.1\"");
    let auditor = make(&daemon, "auditor", json!([{"verb": "ADMIN"}]));
    let doomed = make(&daemon, "doomed", json!([{"verb": "READ"}]));
    let final_job = daemon.enqueue(&["/bin/true"]);
    daemon.wait_final(&final_job);
    let exec = json!({"exec": {"argv": ["/bin/true"]}});
    daemon.wait_final(&daemon.enqueue(&["/bin/false"]));
    let incident =
        daemon.graphql("{ incidents { nodes { id } } }", json!({}))["incidents"]["nodes"][0]["id"].take();
    let held = || daemon.enqueue_with(json!({"run": {"command": exec}, "isHeld": true}));
    let waiting = daemon.enqueue_with(json!({"run": {"command": exec}, "delay": "1h"}));
    let task = json!({"name": "t"});
    let steps = [
        ("jobEnqueue", json!({"run": {"command": exec}})),
        ("jobEnqueueMany", json!({"jobs": [{"run": {"command": exec}}]})),
        ("jobRetry", json!({"id": final_job})),
        ("jobCancel", json!({"id": held()})),
        ("jobBulkCancel", json!({"filter": {"ids": [held()]}})),
        ("jobBulkRetry", json!({"filter": {"ids": [final_job], "states": ["SUCCEEDED"]}})),
        ("jobHold", json!({"id": waiting})),
        ("jobUpdate", json!({"id": waiting, "priority": 3})),
        ("jobRelease", json!({"id": waiting})),
        ("taskPut", json!({"name": "t", "command": exec})),
        ("schedulePut", json!({"name": "s", "task": task, "timing": {"cron": "@yearly"}})),
        ("schedulePause", json!({"ref": {"name": "s"}})),
        ("scheduleResume", json!({"ref": {"name": "s"}})),
        ("scheduleTrigger", json!({"ref": {"name": "s"}})),
        ("scheduleDelete", json!({"ref": {"name": "s"}})),
        ("taskArchive", json!({"ref": task})),
        ("queuePut", json!({"name": "q", "concurrencyLimit": 2})),
        ("queuePause", json!({"name": "q"})),
        ("queueResume", json!({"name": "q"})),
        ("incidentAcknowledge", json!({"id": incident})),
        ("incidentIgnore", json!({"id": incident})),
        ("incidentRetry", json!({"id": incident})),
        ("incidentResolve", json!({"id": incident})),
        ("sinkRedeliver", json!({"sink": "s"})),
        ("sinkDiscard", json!({"sink": "s"})),
        ("tokenCreate", json!({"name": "new", "grants": [{"verb": "READ"}]})),
        ("tokenRevoke", json!({"id": doomed.id})),
    ];
    for (field, input) in &steps {
        let (_, events) = done(&daemon, &auditor, field, input);
        let found = events
            .iter()
            .any(|event| (&event["actor"], &event["peer"]) == (&json!("auditor"), &json!("127.0.0.1")));
        assert!(found, "{field} left no event with its actor and peer: {events:?}");
    }
    let query = "{ __type(name: \"Mutation\") { fields { name } } }";
    let fields = daemon.graphql(query, json!({}))["__type"]["fields"].take();
    let names = fields.as_array().expect("a list").iter().filter_map(|field| field["name"].as_str());
    let tried: BTreeSet<&str> = steps.iter().map(|(field, _)| *field).collect();
    assert_eq!(names.collect::<BTreeSet<_>>(), tried, "a mutation is not tried here");
}

#[test]
fn what_the_daemon_does_by_itself_comes_from_nowhere() {
    let daemon = Daemon::start();
    daemon.wait_final(&daemon.enqueue(&["/bin/true"]));
    let query = "{ events { events { type actor peer } } }";
    let seen = daemon.graphql(query, json!({}))["events"]["events"].take();
    let peer = |kind: &str| {
        let events = seen.as_array().expect("a list");
        events.iter().find(|event| event["type"] == json!(kind)).expect("it happened")["peer"].clone()
    };
    assert_eq!(peer("JOB_CREATED"), json!("127.0.0.1"));
    assert_eq!((peer("ATTEMPT_STARTED"), peer("WORKER_CHANGED")), (Value::Null, Value::Null));
}

#[test]
fn a_refused_mutation_is_in_the_log_with_who_and_what() {
    let daemon = Daemon::start();
    let reader = make(&daemon, "curious", json!([{"verb": "READ"}, {"verb": "ENQUEUE", "tasks": ["a"]}]));
    let put = "mutation { queuePut(input: {name: \"q\"}) { cursor } }";
    assert!(ask(&daemon, &reader, put, &json!({})).to_string().contains("FORBIDDEN"));
    // Also when the caller does not ask why.
    let run = "mutation { jobEnqueue(input: {run: {task: {name: \"b\"}}}) { deduplicated } }";
    ask(&daemon, &reader, run, &json!({}));
    for (field, code) in [("queuePut", "FORBIDDEN"), ("jobEnqueue", "Forbidden")] {
        until("the refusal to be in the log", PATIENCE, || {
            let log = daemon.log();
            let line = log.lines().find(|line| line.contains("refused") && line.contains(field))?;
            assert!(line.contains("curious") && line.contains("127.0.0.1") && line.contains(code), "{line}");
            Some(())
        });
    }
}
