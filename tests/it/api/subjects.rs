//! What an event is about: the thing itself, as it is now, can be read with it.

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, string};

const FEED: &str = "{ events(first: 200) { events { type subject {
  __typename id ... on Queue { name isPaused } ... on Task { name } ... on Schedule { name } } } } }";

#[test]
fn an_event_of_a_queue_a_task_or_a_schedule_shows_it_as_it_is_now() {
    let daemon = Daemon::start();
    let change = |field: &str, kind: &str, input: Value| {
        let query =
            format!("mutation ($input: {kind}!) {{ {field}(input: $input) {{ userErrors {{ message }} }} }}");
        let payload = daemon.graphql(&query, json!({ "input": input }));
        assert_eq!(payload[field]["userErrors"], json!([]), "{field}");
    };
    change("queuePut", "QueuePutInput", json!({ "name": "mail", "concurrencyLimit": 2 }));
    change("queuePut", "QueuePutInput", json!({ "name": "mail", "concurrencyLimit": 3 }));
    change("queuePause", "QueuePauseInput", json!({ "name": "mail", "reason": "an outage" }));
    change("queueResume", "QueueResumeInput", json!({ "name": "mail" }));
    change("queuePause", "QueuePauseInput", json!({ "name": "mail" }));
    let command = json!({ "exec": { "argv": ["/bin/true"] } });
    change("taskPut", "TaskPutInput", json!({ "name": "sync", "command": command }));
    let timing = json!({ "every": "1h" });
    change(
        "schedulePut",
        "SchedulePutInput",
        json!({ "name": "often", "task": { "name": "sync" }, "timing": timing }),
    );

    let feed = daemon.graphql(FEED, json!({}));
    let events = feed["events"]["events"].as_array().expect("a list");
    let of = |kind: &str| {
        let subjects = events.iter().filter(|event| event["type"] == kind).map(|event| &event["subject"]);
        subjects.collect::<Vec<_>>()
    };
    let queues = daemon.graphql("{ queues { nodes { id name } } }", json!({}));
    let queues = queues["queues"]["nodes"].as_array().expect("a list");
    let mail = queues.iter().find(|queue| queue["name"] == "mail").expect("it was put");
    let shown = json!({ "__typename": "Queue", "id": mail["id"], "name": "mail", "isPaused": true });
    assert_eq!(of("QUEUE_CHANGED"), vec![&shown; 5]);
    for (kind, name) in [("TASK_CHANGED", "sync"), ("SCHEDULE_CHANGED", "often")] {
        assert_eq!(of(kind).iter().map(|subject| string(&subject["name"])).collect::<Vec<_>>(), [name]);
    }
}
