//! Filters of the feed: what a subscriber asks for and nothing else, in the past and live. What fits is worked out
//! here from the whole feed.

use serde_json::{Value, json};

use crate::api::transport::{BOTH, Feed};
use crate::support::daemon::{Daemon, string};

/// The feed in one page: these tests make few events.
const PAGE: &str = "query ($after: EventCursor, $filter: EventFilter) {
  events(first: 200, after: $after, filter: $filter) {
    events { cursor type jobId taskName data }
    hasMorePastEvents
  }
}";

const FEED: &str = "subscription ($after: EventCursor, $filter: EventFilter) {
  events(after: $after, filter: $filter) { events { cursor type jobId taskName data } cursor }
}";

/// One filter, what fits it, and two jobs: one that does not and one that does.
struct Case {
    filter: Value,
    fits: Box<dyn Fn(&Value) -> bool>,
    stranger: Option<Value>,
    member: Option<Value>,
}

fn events(daemon: &Daemon, filter: &Value) -> Vec<Value> {
    let mut page = daemon.graphql(PAGE, json!({ "filter": filter }))["events"].take();
    assert_eq!(page["hasMorePastEvents"], json!(false));
    page["events"].as_array_mut().map(std::mem::take).unwrap_or_default()
}

fn plain() -> Value {
    json!({"run": {"command": {"exec": {"argv": ["/bin/true"]}}}})
}

fn of_task(name: &str) -> Value {
    json!({"run": {"task": {"name": name}}})
}

fn in_queue(name: &str) -> Value {
    json!({"run": {"command": {"exec": {"argv": ["/bin/true"]}}}, "queue": name})
}

fn labelled(labels: &[(&str, &str)]) -> Value {
    let labels: Vec<Value> = labels.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
    json!({"run": {"command": {"exec": {"argv": ["/bin/true"]}}}, "labels": labels})
}

/// A task and a queue with jobs in them, jobs with labels, and one with nothing. Answers with the jobs' ids.
fn history(daemon: &Daemon) -> Vec<String> {
    for mutation in [
        r#"taskPut(input: {name: "report", command: {exec: {argv: ["/bin/true"]}}})"#,
        r#"taskPut(input: {name: "other", command: {exec: {argv: ["/bin/true"]}}})"#,
        r#"queuePut(input: {name: "slow", concurrencyLimit: 1})"#,
    ] {
        let field = mutation.split('(').next().expect("a field");
        let answer =
            daemon.graphql(&format!("mutation {{ {mutation} {{ userErrors {{ message }} }} }}"), json!({}));
        assert_eq!(answer[field]["userErrors"], json!([]), "{answer}");
    }
    let inputs = [
        plain(),
        of_task("report"),
        of_task("other"),
        in_queue("slow"),
        labelled(&[("team", "a")]),
        labelled(&[("team", "b")]),
        labelled(&[("team", "a"), ("tier", "1")]),
    ];
    inputs
        .into_iter()
        .map(|input| {
            let id = daemon.enqueue_with(input);
            daemon.wait_final(&id);
            id
        })
        .collect()
}

fn cases(jobs: &[String]) -> Vec<Case> {
    let of = |wanted: &[usize]| -> Box<dyn Fn(&Value) -> bool> {
        let wanted: Vec<Value> = wanted.iter().map(|index| json!(jobs[*index])).collect();
        Box::new(move |event| wanted.contains(&event["jobId"]))
    };
    let team_a = json!([{"key": "team", "value": "a"}]);
    let both = json!([{"key": "team", "value": "a"}, {"key": "tier", "value": "1"}]);
    let slow_job = of(&[3]);
    let two_jobs = of(&[0, 4]);
    vec![
        Case {
            filter: json!({"types": ["JOB_CREATED", "TASK_CHANGED"]}),
            fits: Box::new(|event| event["type"] == "JOB_CREATED" || event["type"] == "TASK_CHANGED"),
            stranger: None,
            member: Some(plain()),
        },
        Case {
            filter: json!({"jobIds": [jobs[1], jobs[4]]}),
            fits: of(&[1, 4]),
            stranger: Some(plain()),
            member: None,
        },
        Case {
            filter: json!({"tasks": ["report"]}),
            fits: Box::new(|event| event["taskName"] == "report"),
            stranger: Some(of_task("other")),
            member: Some(of_task("report")),
        },
        Case {
            filter: json!({"queues": ["slow"]}),
            fits: Box::new(move |event| slow_job(event) || event["data"]["queue"] == "slow"),
            stranger: Some(plain()),
            member: Some(in_queue("slow")),
        },
        Case {
            filter: json!({"labels": team_a}),
            fits: of(&[4, 6]),
            stranger: Some(labelled(&[("team", "b")])),
            member: Some(labelled(&[("team", "a")])),
        },
        Case {
            filter: json!({"labels": both}),
            fits: of(&[6]),
            stranger: Some(labelled(&[("team", "a")])),
            member: Some(labelled(&[("tier", "1"), ("team", "a")])),
        },
        Case {
            filter: json!({"types": ["ATTEMPT_STARTED", "ATTEMPT_FINISHED"], "jobIds": [jobs[0], jobs[4]]}),
            fits: Box::new(move |event| two_jobs(event) && string(&event["type"]).starts_with("ATTEMPT_")),
            stranger: Some(plain()),
            member: None,
        },
    ]
}

#[test]
fn a_filter_gives_what_fits_and_nothing_else() {
    let daemon = Daemon::start();
    let start =
        string(&daemon.graphql("{ daemon { oldestEventCursor } }", json!({}))["daemon"]["oldestEventCursor"]);
    let jobs = history(&daemon);
    let past = events(&daemon, &json!({}));
    for Case { filter, fits, stranger, member } in cases(&jobs) {
        let wanted: Vec<Value> = past.iter().filter(|event| fits(event)).cloned().collect();
        assert!(!wanted.is_empty() && wanted.len() < past.len(), "{filter} tells nothing apart");
        let listed = events(&daemon, &filter);
        assert_eq!(listed[..wanted.len().min(listed.len())], wanted, "{filter} as a query");
        let variables = json!({"after": start, "filter": filter});
        let mut feeds = BOTH.map(|transport| Feed::open(transport, &daemon, FEED, &variables));
        // What the cases before this one added comes too, in order.
        for feed in &mut feeds {
            assert_eq!(take(feed, listed.len()), listed, "{filter} as a subscription");
        }
        for input in [stranger, member.clone()].into_iter().flatten() {
            let id = daemon.enqueue_with(input);
            daemon.wait_final(&id);
        }
        let added = events(&daemon, &filter).split_off(listed.len());
        assert_eq!(added.is_empty(), member.is_none(), "{filter}: {added:#?}");
        for feed in &mut feeds {
            assert_eq!(take(feed, added.len()), added, "{filter} live");
            let more = feed.next_within(std::time::Duration::ZERO);
            assert!(more.is_err(), "{filter} gives more than fits: {more:?}");
        }
    }
}

/// The next `count` events.
fn take(feed: &mut Feed, count: usize) -> Vec<Value> {
    let mut events = Vec::new();
    while events.len() < count {
        let mut batch = feed.expect("events");
        events.extend(batch["events"].as_array_mut().map(std::mem::take).unwrap_or_default());
    }
    events
}
