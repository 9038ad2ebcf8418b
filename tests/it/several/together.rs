//! Any worker answers anything: what is asked of one is run, followed, stopped and seen by the others.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::cluster::Cluster;
use crate::support::daemon::{Daemon, string};
use crate::support::sse::{End, Sse};
use crate::support::wait::{PATIENCE, until};

/// Sooner than a stream looks its token up by itself.
const SOON: Duration = Duration::from_secs(8);

const ENQUEUE: &str =
    "mutation ($input: JobEnqueueInput!) { jobEnqueue(input: $input) { job { id } cursor } }";

fn enqueue(daemon: &Daemon, input: &Value) -> (String, String) {
    let answer = daemon.graphql(ENQUEUE, json!({"input": input}));
    let made = &answer["jobEnqueue"];
    (string(&made["job"]["id"]), string(&made["cursor"]))
}

fn command(script: &str) -> Value {
    json!({"run": {"command": {"exec": {"argv": ["sh", "-c", script]}}}})
}

#[test]
fn what_one_is_asked_another_runs_and_all_can_follow() {
    let Some(Cluster { daemons, url }) = Cluster::start(1, &[]) else { return };
    // The first one has no place for it.
    let front = Cluster::over(&url, 1, &["--slots", "1"]).daemons.remove(0);
    let (hog, _) = enqueue(&front, &command("echo hog; while :; do sleep 1; done"));
    let worker_of = |id: &str| {
        let query = "query ($id: ID!) { job(id: $id) { attempts { nodes { worker { id } } } } }";
        let answer = front.graphql(query, json!({"id": id}));
        answer["job"]["attempts"]["nodes"][0]["worker"]["id"].as_str().map(str::to_owned)
    };
    until("the first to be at work", PATIENCE, || worker_of(&hog));
    let mut workers = BTreeSet::from([worker_of(&hog).expect("it runs")]);
    for number in 0..8 {
        let (id, _) = enqueue(&front, &command(&format!("echo line {number}; echo more >&2")));
        let ended = front.wait_final(&id);
        assert_eq!(ended.job["state"], "SUCCEEDED", "{}", ended.job);
        let said: Vec<_> = ended.lines.iter().map(|(_, text)| text.clone()).collect();
        assert!(said.contains(&format!("line {number}")), "{said:?}");
        // Also from where it did not run, long after.
        assert_eq!(daemons[0].wait_final(&id).lines, ended.lines);
        workers.extend(worker_of(&id));
    }
    assert_eq!(workers.len(), 2, "both have run something: {workers:?}");
    for daemon in [&front, &daemons[0]] {
        let answer = daemon.graphql("{ workers { nodes { id status busySlots } } }", json!({}));
        let nodes = answer["workers"]["nodes"].as_array().expect("a list");
        assert!(nodes.len() == 2 && nodes.iter().all(|node| node["status"] == "ONLINE"), "{answer}");
    }
    // A stop reaches whoever runs it.
    let cancel = "mutation ($id: ID!) { jobCancel(input: {id: $id}) { userErrors { message } } }";
    for asked in [&daemons[0], &front] {
        let (id, _) = enqueue(&front, &command("while :; do sleep 1; done"));
        until("it to run", PATIENCE, || worker_of(&id));
        asked.graphql(cancel, json!({"id": id}));
        assert_eq!(front.wait_final_state(&id), "CANCELLED");
    }
    daemons[0].graphql(cancel, json!({"id": hog}));
    assert_eq!(daemons[0].wait_final_state(&hog), "CANCELLED");
}

#[test]
fn a_cursor_of_one_is_good_with_all_and_shows_every_event() {
    let Some(Cluster { daemons, .. }) = Cluster::start(2, &[]) else { return };
    let events = "subscription ($after: EventCursor!) { events(after: $after) { events { jobId type } } }";
    for round in 0..6 {
        let (asked, watched) = (&daemons[round % 2], &daemons[(round + 1) % 2]);
        let (_, before) = enqueue(asked, &command("true"));
        let (id, _) = enqueue(asked, &command("true"));
        // Right away: the other one may not have heard of it.
        let mut seen = watched.subscribe(events, &json!({"after": before}));
        let mut kinds = Vec::new();
        while !kinds.contains(&"ATTEMPT_FINISHED".to_owned()) {
            let next = seen.next().expect("the stream goes on");
            for event in next["data"]["events"]["events"].as_array().into_iter().flatten() {
                if event["jobId"] == json!(id) {
                    kinds.push(string(&event["type"]));
                }
            }
        }
        assert_eq!(kinds.first().map(String::as_str), Some("JOB_CREATED"), "{kinds:?}");
    }
}

#[test]
fn a_schedule_ticks_once_over_all_workers() {
    let Some(Cluster { daemons, .. }) = Cluster::start(3, &[]) else { return };
    let made = daemons[0].cli(&["task", "put", "beat", "--", "true"]);
    assert!(made.status.success(), "{made:?}");
    let made =
        daemons[1].cli(&["schedule", "put", "beat", "--task", "beat", "--every", "1s", "--overlap", "allow"]);
    assert!(made.status.success(), "{made:?}");
    let query =
        "{ schedule(ref: {name: \"beat\"}) { ticks(first: 50) { nodes { dueAt outcome job { id } } } } }";
    let ticks = until("some due times to have passed", PATIENCE, || {
        let answer = daemons[2].graphql(query, json!({}));
        let ticks = answer["schedule"]["ticks"]["nodes"].as_array().cloned().unwrap_or_default();
        (ticks.len() >= 4).then_some(ticks)
    });
    let due: BTreeSet<_> = ticks.iter().map(|tick| string(&tick["dueAt"])).collect();
    let jobs: BTreeSet<_> = ticks.iter().map(|tick| string(&tick["job"]["id"])).collect();
    assert_eq!((due.len(), jobs.len()), (ticks.len(), ticks.len()), "each due time made one job: {ticks:?}");
}

/// Lines of a first attempt.
const MANY: usize = 10_000;

/// The texts of the lines of a message.
fn texts(message: &Value) -> Vec<String> {
    assert!(message.get("errors").is_none(), "{message}");
    let lines = message["data"]["jobFollow"]["log"]["lines"].as_array();
    lines.into_iter().flatten().map(|line| string(&line["text"])).collect()
}

#[test]
fn who_joins_late_gets_the_output_of_attempts_on_other_workers_too() {
    let Some(Cluster { daemons, url }) = Cluster::start(1, &["--slots", "1"]) else { return };
    let first = &daemons[0];
    let attempts = |id: &str| {
        let query =
            "query ($id: ID!) { job(id: $id) { attempts { nodes { id worker { id } finishedAt } } } }";
        let answer = first.graphql(query, json!({ "id": id }));
        answer["job"]["attempts"]["nodes"].as_array().cloned().unwrap_or_default()
    };
    let hog = "while :; do sleep 1; done";
    let (busy, _) = enqueue(first, &command(hog));
    until("the first to be at work", PATIENCE, || attempts(&busy).pop());
    // Its numbers are behind those of the first one.
    let second = Cluster::over(&url, 1, &["--slots", "1"]).daemons.remove(0);
    let marks = tempfile::TempDir::with_prefix("beadle-marks-").expect("a temporary directory can be made");
    let mark = |name: &str| marks.path().join(name);
    let script = format!(
        "wait_for() {{ while [ ! -e {}/$1 ]; do sleep 0.05; done; }}
         if [ $BEADLE_ATTEMPT = 1 ]; then yes $(printf '%0100d' 0) | head -n {MANY}; wait_for fail; exit 1; fi
         echo three; wait_for end; echo four",
        marks.path().display()
    );
    let mut input = command(&script);
    input["retryPolicy"] = json!({"maxAttempts": 2, "initialDelay": "300ms"});
    let (id, _) = enqueue(first, &input);
    until("the second to be at work", PATIENCE, || attempts(&id).pop());
    // The second one has no place for the next attempt, and the first one has.
    enqueue(first, &command(hog));
    std::fs::write(mark("fail"), "").expect("a mark is set");
    let ended = || attempts(&id).pop().filter(|attempt| attempt["finishedAt"].is_string());
    until("the first attempt to fail", PATIENCE, ended);
    let cancel = "mutation ($id: ID!) { jobCancel(input: {id: $id}) { userErrors { message } } }";
    first.graphql(cancel, json!({ "id": busy }));
    let both = until("the next attempt", PATIENCE, || Some(attempts(&id)).filter(|all| all.len() == 2));
    assert_ne!(both[0]["worker"], both[1]["worker"], "{both:?}");
    let follow = format!(
        "subscription {{ jobFollow(id: \"{id}\") {{ job {{ state }} log {{ lines {{ text }} }} }} }}"
    );
    for door in [first, &second] {
        let read = |stream: &mut Sse| {
            let mut said = Vec::new();
            while said.last().is_none_or(|text| text != "three") {
                said.extend(texts(&stream.next().expect("it goes on")));
            }
            said
        };
        let mut early = door.subscribe(&follow, &json!({}));
        assert_eq!(read(&mut early).len(), MANY + 1);
        // Beside one who has been shown all of it: more than is kept for those who come late.
        let mut late = door.subscribe(&follow, &json!({}));
        assert_eq!(read(&mut late).len(), MANY + 1);
    }
    std::fs::write(mark("end"), "").expect("a mark is set");
    assert_eq!(first.wait_final_state(&id), "SUCCEEDED");
}

#[test]
fn a_token_that_is_revoked_at_one_loses_what_it_holds_open_at_another() {
    let Some(Cluster { daemons, .. }) = Cluster::start(2, &[]) else { return };
    let create =
        "mutation { tokenCreate(input: {name: \"ci\", grants: [{verb: READ}]}) { token { id } secret } }";
    let made = &daemons[0].graphql(create, json!({}))["tokenCreate"];
    let secret = string(&made["secret"]);
    let events = "subscription { events { cursor } }";
    let mut stream = Sse::open(daemons[1].address(), &secret, events, &json!({})).expect("a stream");
    // Each hears of it, so it is open.
    let (job, _) = enqueue(&daemons[0], &command("true"));
    stream.next_within(PATIENCE).expect("what happens");
    daemons[0].wait_final(&job);
    let revoke = "mutation ($id: ID!) { tokenRevoke(input: {id: $id}) { userErrors { message } } }";
    daemons[0].graphql(revoke, json!({"id": made["token"]["id"]}));
    let end = std::iter::from_fn(|| Some(stream.next_within(SOON))).find_map(Result::err);
    assert_eq!(end, Some(End::Closed));
}
