//! Limits through the front door: nobody is over one at any time, as the feed tells it, and each job that waits says why.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use beadle::base::clock::Timestamp;
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, string};
use crate::support::dice::Dice;
use crate::support::wait::{PATIENCE, until};

const JOBS: usize = 10_000;
const KEYS: usize = 50;
const TASKS: usize = 10;
const QUEUES: usize = 5;
/// Longer than ten thousand short commands take on a busy machine.
const RUN_PATIENCE: Duration = Duration::from_secs(400);

/// What was asked for.
struct Plan {
    queue_limits: Vec<usize>,
    /// Starts and milliseconds of the first queue's rate.
    rate: (usize, i64),
    task_limits: Vec<usize>,
}

fn put(daemon: &Daemon, field: &str, input: &Value) {
    let kind = format!("{}{}Input", field[..1].to_uppercase(), &field[1..]);
    let query =
        format!("mutation ($input: {kind}!) {{ {field}(input: $input) {{ userErrors {{ message }} }} }}");
    let answer = daemon.graphql(&query, json!({ "input": input }));
    assert_eq!(answer[field]["userErrors"], json!([]), "{input}");
}

fn prepare(daemon: &Daemon, dice: &Dice) -> Plan {
    let queue_limits: Vec<_> = (0..QUEUES).map(|_| 2 + dice.roll(6)).collect();
    let (rate, task_limits) = ((100, 500), (0..TASKS).map(|_| 1 + dice.roll(4)).collect::<Vec<_>>());
    for (at, limit) in queue_limits.iter().enumerate() {
        let rate = (at == 0).then(|| json!({"starts": rate.0, "per": format!("{}ms", rate.1)}));
        put(
            daemon,
            "queuePut",
            &json!({"name": format!("q{at}"), "concurrencyLimit": limit, "rateLimit": rate}),
        );
    }
    for (at, limit) in task_limits.iter().enumerate() {
        // Every other task fails in its first try and not in its second.
        let script = if at % 2 == 0 { "exit 0" } else { "test $BEADLE_ATTEMPT -gt 1" };
        let policy = json!({"maxAttempts": 2, "initialDelay": "20ms"});
        let command = json!({"script": {"text": script}});
        put(
            daemon,
            "taskPut",
            &json!({"name": format!("t{at}"), "command": command, "concurrencyLimit": limit, "retryPolicy": policy}),
        );
    }
    Plan { queue_limits, rate, task_limits }
}

/// Makes the jobs; the key of each.
fn fill(daemon: &Daemon, dice: &Dice) -> BTreeMap<String, usize> {
    let mut keys = BTreeMap::new();
    let query = "mutation ($input: JobEnqueueManyInput!) { jobEnqueueMany(input: $input) { results {
      job { id concurrencyKey } userErrors { message } } } }";
    for _ in 0..JOBS / 500 {
        let jobs: Vec<_> = (0..500)
            .map(|_| {
                let key = dice.roll(KEYS);
                json!({
                    "run": {"task": {"name": format!("t{}", key % TASKS)}},
                    "queue": format!("q{}", dice.roll(QUEUES)),
                    "concurrencyKey": format!("k{key}"),
                    "priority": dice.roll_int(201) - 100,
                })
            })
            .collect();
        let mut answer = daemon.graphql(query, json!({"input": {"jobs": jobs}}));
        let results = answer["jobEnqueueMany"]["results"].take();
        for result in results.as_array().expect("a list") {
            let key = string(&result["job"]["concurrencyKey"]);
            keys.insert(string(&result["job"]["id"]), key[1..].parse().expect("our own key"));
        }
    }
    keys
}

/// Reads the whole feed, page by page.
fn read_feed(daemon: &Daemon, mut each: impl FnMut(&Value)) {
    let query = "query ($after: EventCursor) { events(first: 200, after: $after, filter: {types: [JOB_CREATED, JOB_STATE_CHANGED]}) {
      events { at jobId data } cursor hasMorePastEvents } }";
    let mut after = Value::Null;
    loop {
        let page = daemon.graphql(query, json!({ "after": after }))["events"].take();
        page["events"].as_array().into_iter().flatten().for_each(&mut each);
        after = page["cursor"].clone();
        if page["hasMorePastEvents"] != json!(true) {
            return;
        }
    }
}

/// Follows who runs by the feed alone, and refuses the moment at which a limit is exceeded.
struct Checker<'a> {
    plan: &'a Plan,
    keys: &'a BTreeMap<String, usize>,
    queue_of: BTreeMap<String, usize>,
    running: BTreeSet<String>,
    of_queue: Vec<usize>,
    of_key: Vec<usize>,
    starts: VecDeque<Timestamp>,
    ended: BTreeMap<String, String>,
    most: usize,
}

impl Checker<'_> {
    fn take(&mut self, event: &Value) {
        let (job, data) = (string(&event["jobId"]), &event["data"]);
        if data["queue"].is_string() && data["state"].is_string() {
            let queue = string(&data["queue"])[1..].parse().expect("our own queue");
            self.queue_of.insert(job, queue);
            return;
        }
        let (queue, key) = (self.queue_of[&job], self.keys[&job]);
        if data["to"] == json!("RUNNING") {
            assert!(self.running.insert(job.clone()), "{job} runs twice");
            self.of_queue[queue] += 1;
            self.of_key[key] += 1;
            let (now, limit) = (self.of_queue[queue], self.plan.queue_limits[queue]);
            assert!(now <= limit, "{now} jobs of q{queue} run, at {event}");
            let (now, limit) = (self.of_key[key], self.plan.task_limits[key % TASKS]);
            assert!(now <= limit, "{now} jobs of k{key} run, {limit} may, at {event}");
            if queue == 0 {
                self.start(event);
            }
            self.most = self.most.max(self.running.len());
        } else if data["from"] == json!("RUNNING") {
            assert!(self.running.remove(&job), "{job} ended without running");
            self.of_queue[queue] -= 1;
            self.of_key[key] -= 1;
        }
        let to = string(&data["to"]);
        if matches!(to.as_str(), "SUCCEEDED" | "FAILED" | "CANCELLED") {
            assert_eq!(self.ended.insert(job.clone(), to), None, "{job} ended twice");
        }
    }

    fn start(&mut self, event: &Value) {
        let at = Timestamp::parse(event["at"].as_str().expect("an instant")).expect("an instant");
        self.starts.push_back(at);
        let (starts, per) = self.plan.rate;
        if self.starts.len() > starts {
            let first = self.starts.pop_front().expect("it is longer");
            // The feed shows milliseconds of instants that are kept in microseconds.
            let passed = i64::try_from(at.since(first).as_millis()).expect("small") + 1;
            assert!(passed >= per, "{} starts of q0 in {passed} ms, at {event}", starts + 1);
        }
    }
}

#[test]
fn ten_thousand_jobs_over_keys_queues_and_rates_end_and_no_limit_is_ever_exceeded() {
    let daemon = Daemon::start_with(&["--slots", "16", "--log-level", "warn"]);
    let dice = Dice::new();
    let plan = prepare(&daemon, &dice);
    let keys = fill(&daemon, &dice);
    assert_eq!(keys.len(), JOBS);
    until("every job to end", RUN_PATIENCE, || {
        let counts = daemon.graphql("{ jobCounts { succeeded failed } }", json!({}))["jobCounts"].take();
        let ended = counts["succeeded"].as_u64()? + counts["failed"].as_u64()?;
        (ended == JOBS as u64).then_some(())
    });
    let mut checker = Checker {
        plan: &plan,
        keys: &keys,
        queue_of: BTreeMap::new(),
        running: BTreeSet::new(),
        of_queue: vec![0; QUEUES],
        of_key: vec![0; KEYS],
        starts: VecDeque::new(),
        ended: BTreeMap::new(),
        most: 0,
    };
    read_feed(&daemon, |event| checker.take(event));
    assert_eq!((checker.ended.len(), checker.running.len()), (JOBS, 0));
    let failed = checker.ended.values().filter(|state| *state == "FAILED").count();
    println!("most at once: {}, failed: {failed}", checker.most);
    assert_eq!(failed, 0, "what fails once succeeds in its second try");
    assert!(checker.most > 4, "only {} ever ran at once", checker.most);
}

const WHY: &str = "query ($id: ID!) { job(id: $id) { state blockers { __typename
  ... on HeldBlocker { message by }
  ... on PausedBlocker { message reason by queue { name } }
  ... on ScheduledBlocker { message runAt }
  ... on DependencyBlocker { message jobs { id } }
  ... on ConcurrencyBlocker { message key limit holders { id state } }
  ... on RateBlocker { message until queue { name } }
  ... on CapacityBlocker { message aheadCount }
} } }";

/// The one reason why a job waits.
fn why(daemon: &Daemon, id: &str) -> Value {
    let job = daemon.graphql(WHY, json!({ "id": id }))["job"].take();
    let blockers = job["blockers"].as_array().expect("a list");
    assert_eq!(blockers.len(), 1, "{job}");
    blockers[0].clone()
}

fn sleeper(queue: &str) -> Value {
    json!({"run": {"command": {"exec": {"argv": ["/bin/sleep", "600"]}}}, "queue": queue})
}

#[test]
fn each_job_that_waits_says_why_in_the_words_of_its_limit() {
    let daemon = Daemon::start_with(&["--slots", "4"]);
    for (name, limits) in [
        ("one", json!({"concurrencyLimit": 1})),
        ("slow", json!({"rateLimit": {"starts": 1, "per": "1h"}})),
        ("shut", json!({})),
    ] {
        let mut input = limits;
        input["name"] = json!(name);
        put(&daemon, "queuePut", &input);
    }
    put(&daemon, "queuePause", &json!({"name": "shut", "reason": "a move"}));
    let keyed = |queue: &str| {
        let mut input = sleeper(queue);
        input["concurrencyKey"] = json!("db");
        daemon.enqueue_with(input)
    };
    let holder = keyed("default");
    let running = |id: &str| {
        let state = daemon.graphql("query ($id: ID!) { job(id: $id) { state } }", json!({ "id": id }));
        (state["job"]["state"] == json!("RUNNING")).then_some(())
    };
    until("the holder to run", PATIENCE, || running(&holder));
    let behind = why(&daemon, &keyed("default"));
    assert_eq!((&behind["key"], &behind["limit"]), (&json!("db"), &json!(1)), "{behind}");
    assert_eq!(behind["holders"], json!([{"id": holder, "state": "RUNNING"}]));
    assert!(string(&behind["message"]).contains("one job at a time with the key db"), "{behind}");

    let first = daemon.enqueue_with(sleeper("one"));
    until("the first to run", PATIENCE, || running(&first));
    let full = why(&daemon, &daemon.enqueue_with(sleeper("one")));
    assert_eq!((&full["__typename"], &full["aheadCount"]), (&json!("CapacityBlocker"), &json!(0)), "{full}");
    let first = daemon.enqueue_with(sleeper("slow"));
    until("the first to run", PATIENCE, || running(&first));
    let rated = why(&daemon, &daemon.enqueue_with(sleeper("slow")));
    assert_eq!((&rated["__typename"], &rated["queue"]["name"]), (&json!("RateBlocker"), &json!("slow")));
    let until_at = Timestamp::parse(rated["until"].as_str().expect("an instant")).expect("an instant");
    assert!(until_at > Timestamp(0));
    let paused = why(&daemon, &daemon.enqueue_with(sleeper("shut")));
    assert_eq!((&paused["by"], &paused["reason"]), (&json!("admin"), &json!("a move")), "{paused}");
    let mut later = sleeper("default");
    later["delay"] = json!("1h");
    assert_eq!(why(&daemon, &daemon.enqueue_with(later))["__typename"], json!("ScheduledBlocker"));
    let mut held = sleeper("default");
    held["isHeld"] = json!(true);
    assert_eq!(why(&daemon, &daemon.enqueue_with(held))["by"], json!("admin"));
    // The last slot goes; from here on there is none.
    let last = daemon.enqueue_with(sleeper("default"));
    until("the last slot to be taken", PATIENCE, || running(&last));
    let crowded = [(); 3].map(|()| daemon.enqueue_with(sleeper("default")));
    let ahead: Vec<_> = crowded.iter().map(|id| why(&daemon, id)["aheadCount"].clone()).collect();
    assert_eq!(ahead, [json!(0), json!(1), json!(2)]);
    let runs = daemon.graphql(WHY, json!({ "id": last }))["job"].take();
    assert_eq!(runs["blockers"], json!([]), "a job that runs waits for nothing");
}

#[test]
fn a_limit_of_nothing_is_refused_with_its_path() {
    let daemon = Daemon::start();
    let query = "mutation ($input: QueuePutInput!) { queuePut(input: $input) { userErrors { code path } } }";
    for (limits, path) in [
        (json!({"concurrencyLimit": 0}), json!(["concurrencyLimit"])),
        (json!({"rateLimit": {"starts": 0, "per": "1s"}}), json!(["rateLimit", "starts"])),
        (json!({"rateLimit": {"starts": 1, "per": "0s"}}), json!(["rateLimit", "per"])),
        (json!({"rateLimit": {"starts": 1, "per": "25h"}}), json!(["rateLimit", "per"])),
    ] {
        let mut input = limits;
        input["name"] = json!("q");
        let answer = daemon.graphql(query, json!({ "input": input }));
        assert_eq!(answer["queuePut"]["userErrors"], json!([{"code": "INVALID", "path": path}]), "{input}");
    }
    let query =
        "mutation ($input: JobEnqueueInput!) { jobEnqueue(input: $input) { userErrors { code path } } }";
    for key in ["", "a\u{0}b"] {
        let mut input = sleeper("default");
        input["concurrencyKey"] = json!(key);
        let answer = daemon.graphql(query, json!({ "input": input }));
        let expected = json!([{"code": "INVALID", "path": ["concurrencyKey"]}]);
        assert_eq!(answer["jobEnqueue"]["userErrors"], expected, "{key:?}");
    }
}
