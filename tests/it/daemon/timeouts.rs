//! How long an attempt may run: its timeout, and the most that it may ask for.

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Ended};

const ENQUEUE: &str = "mutation ($input: JobEnqueueInput!) { jobEnqueue(input: $input) {
  job { id timeout maxTimeout } userErrors { code message path } } }";

const PUT: &str = "mutation ($input: TaskPutInput!) { taskPut(input: $input) {
  task { timeout maxTimeout } userErrors { code message path } } }";

/// Asks for an hour and then never ends by itself.
const GREEDY: &str = r#"echo '{"extendTimeout": 3600}' > "$BEADLE_REPORT"; exec sleep 600"#;

fn enqueue(daemon: &Daemon, run: &Value, more: &Value) -> Value {
    let mut input = json!({ "run": run });
    input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    daemon.graphql(ENQUEUE, json!({ "input": input }))["jobEnqueue"].take()
}

fn put(daemon: &Daemon, more: &Value) -> Value {
    let mut input = json!({"name": "t", "command": {"script": {"text": GREEDY}}});
    input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    daemon.graphql(PUT, json!({ "input": input }))["taskPut"].take()
}

/// How long the only attempt ran, in seconds.
fn ran(daemon: &Daemon, ended: &Ended) -> f64 {
    let id = &ended.job["id"];
    let query = "query ($id: ID!) { job(id: $id) { attempts { nodes { startedAt finishedAt } } } }";
    let answer = daemon.graphql(query, json!({ "id": id }));
    let attempt = &answer["job"]["attempts"]["nodes"][0];
    let at = |field: &str| {
        let text = attempt[field].as_str().expect("an instant");
        beadle::base::clock::Timestamp::parse(text).expect("an instant")
    };
    at("finishedAt").since(at("startedAt")).as_secs_f64()
}

#[test]
fn an_attempt_that_asks_for_more_time_gets_it_up_to_the_cap_and_no_further() {
    let daemon = Daemon::start();
    assert_eq!(put(&daemon, &json!({"timeout": "2s", "maxTimeout": "2.5s"}))["userErrors"], json!([]));
    let run = json!({"task": {"name": "t"}});
    let by_task = enqueue(&daemon, &run, &json!({}));
    assert_eq!(by_task["job"]["maxTimeout"], json!("PT2.5S"), "{by_task}");
    let by_job = enqueue(&daemon, &run, &json!({"timeout": "200ms", "maxTimeout": "3s"}));
    assert_eq!(by_job["job"]["maxTimeout"], json!("PT3S"), "{by_job}");
    // Ten times the timeout, which holds where nothing is said, would be 20 s for the one and 2 s for the other.
    let told = ["timeout of PT2S, extended to PT2.5S (", "timeout of PT0.2S, extended to PT3S ("];
    for ((made, least, most), told) in [(by_task, 2.5, 15.0), (by_job, 3.0, 60.0)].into_iter().zip(told) {
        let ended = daemon.wait_final(made["job"]["id"].as_str().expect("an id"));
        let failure = &ended.job["failure"];
        assert_eq!(failure["outcome"], json!("TIMED_OUT"), "{:#}", ended.job);
        assert!(failure["message"].as_str().is_some_and(|text| text.contains(told)), "{failure:#}");
        let seconds = ran(&daemon, &ended);
        assert!((least..most).contains(&seconds), "{seconds}, not {least} to {most}");
    }
}

#[test]
fn a_cap_without_a_timeout_or_below_it_is_refused() {
    let daemon = Daemon::start();
    for more in [
        json!({"maxTimeout": "1s"}),
        json!({"timeout": "2s", "maxTimeout": "1s"}),
        json!({"timeout": "1s", "maxTimeout": "0s"}),
    ] {
        let answer = put(&daemon, &more);
        let error = &answer["userErrors"][0];
        assert_eq!((&error["code"], &error["path"]), (&json!("INVALID"), &json!(["maxTimeout"])), "{answer}");
    }
    assert_eq!(put(&daemon, &json!({"timeout": "1s", "maxTimeout": "5s"}))["userErrors"], json!([]));
    let (task, hand) =
        (json!({"task": {"name": "t"}}), json!({"command": {"exec": {"argv": ["/bin/true"]}}}));
    for (run, more) in [
        (&hand, json!({"maxTimeout": "1s"})),
        // The task's cap holds for a timeout that is asked for.
        (&task, json!({"timeout": "10s"})),
        (&task, json!({"maxTimeout": "500ms"})),
    ] {
        let answer = enqueue(&daemon, run, &more);
        assert_eq!(answer["userErrors"][0]["path"], json!(["maxTimeout"]), "{answer}");
    }
    let made = enqueue(&daemon, &task, &json!({"timeout": "10s", "maxTimeout": "20s"}));
    assert_eq!(made["job"]["maxTimeout"], json!("PT20S"), "{made}");
}
