//! Kill -9 at random moments under load: nothing acknowledged is lost, nothing runs twice at once, no event is missed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use beadle::base::environment::variable;
use beadle::base::random::{Random, SeededRandom, SystemRandom};
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, send, string};
use crate::support::history::{Event, Follower, faults, newest_cursor, read_all};
use crate::support::length::sized;
use crate::support::program::pids_with;
use crate::support::wait::{PATIENCE, span, until};

/// How often the daemon is killed.
fn kills() -> usize {
    sized(20, 1_000)
}
/// Clients that enqueue at the same time.
const CLIENTS: usize = 2;
/// A client's pace: enough to keep the slots busy, and little enough that the end is near when the killing stops.
const ENQUEUE_EVERY: Duration = Duration::from_millis(30);
/// The whole load must be done this long after the last kill.
const SETTLE_LIMIT: Duration = Duration::from_mins(2);
/// The variable that marks every process of this test's jobs.
const MARK: &str = "TEST_RUN";

/// A job that holds a lock of its own while any process of it lives, and leaves a note when it finds it taken:
/// then a process of a lost attempt was alive when the next attempt started.
const SCRIPT: &str = r#"exec 9>"$LOCKS/$1"; flock -n 9 || echo "$1" >>"$LOCKS/overlaps"; sleep 0.05"#;

const ENQUEUE: &str = "mutation ($input: JobEnqueueInput!) {
  jobEnqueue(input: $input) { job { id } deduplicated userErrors { code message path } }
}";

/// What the clients share with the test.
struct Load {
    address: String,
    token: String,
    mark: String,
    locks: String,
    /// The id that was answered for each key.
    acknowledged: Mutex<BTreeMap<String, String>>,
    is_over: AtomicBool,
}

impl Load {
    fn input(&self, key: &str) -> Value {
        json!({
            "run": {"command": {"exec": {
                "argv": ["/bin/sh", "-c", SCRIPT, "job", key],
                "environment": [{"name": MARK, "value": self.mark}, {"name": "LOCKS", "value": self.locks}],
            }}},
            "retryPolicy": {"maxAttempts": 50, "initialDelay": "50ms", "factor": 1.0, "retryOn": ["LOST"]},
            "idempotencyKey": key,
        })
    }

    /// Asks until there is an answer: no answer means "maybe", and the key makes asking again safe.
    fn enqueue(&self, key: &str) -> Value {
        let variables = json!({"input": self.input(key)});
        until("an answer to an enqueue", PATIENCE, || {
            let answer = send(&self.address, &self.token, ENQUEUE, &variables).ok()?;
            let payload = answer["data"]["jobEnqueue"].clone();
            assert!(payload["job"]["id"].is_string(), "refused: {answer:#}");
            Some(payload)
        })
    }

    /// One client: a new job again and again until the load is over.
    fn run(&self, client: usize) {
        for number in 0.. {
            if self.is_over.load(Ordering::SeqCst) {
                return;
            }
            let key = format!("job-{client}-{number}");
            let id = string(&self.enqueue(&key)["job"]["id"]);
            let mut acknowledged = self.acknowledged.lock().expect("no client panics while it holds this");
            acknowledged.insert(key, id);
            drop(acknowledged);
            span(ENQUEUE_EVERY);
        }
    }

    fn ids(&self) -> BTreeSet<String> {
        let acknowledged = self.acknowledged.lock().expect("no client panics while it holds this");
        acknowledged.values().cloned().collect()
    }
}

/// The seed of this run; give one in `BEADLE_TEST_SEED` to repeat a run's moments.
fn seed() -> u64 {
    let given = variable("BEADLE_TEST_SEED").and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| {
        let mut bytes = [0u8; 8];
        SystemRandom.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    });
    println!("BEADLE_TEST_SEED={seed}");
    seed
}

#[test]
fn twenty_kills_under_load_lose_nothing_and_double_nothing() {
    let random = SeededRandom::new(seed());
    let mut daemon = Daemon::start_with(&["--slots", "8"]);
    let locks = daemon.directory().join("locks");
    fs::create_dir(&locks).unwrap();
    let load = Arc::new(Load {
        address: daemon.address().to_owned(),
        token: daemon.token().to_owned(),
        mark: SystemRandom.hex(8),
        locks: locks.display().to_string(),
        acknowledged: Mutex::default(),
        is_over: AtomicBool::new(false),
    });
    let start = newest_cursor(&daemon);
    let mut follower = Follower::new(&daemon, start.clone());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let load = Arc::clone(&load);
            thread::spawn(move || load.run(client))
        })
        .collect();
    let load_seen = Arc::clone(&load);
    let watcher = thread::spawn(move || {
        let is_done = follow_to_the_end(&mut follower, &load_seen);
        (follower, is_done)
    });

    for _ in 0..kills() {
        span(Duration::from_millis(20) + Duration::from_millis(230).mul_f64(random.unit()));
        daemon.kill9();
        daemon.restart();
    }
    load.is_over.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().expect("a client does not panic");
    }
    let (follower, is_done) = watcher.join().expect("the follower does not panic");
    let all = read_all(&daemon);
    assert!(is_done, "not every job ended: {:?}", faults(&all, &load.ids()));

    assert_eq!(faults(&all, &load.ids()), Vec::<String>::new());
    check_what_was_seen(&all, &start, &follower);
    check_what_was_done(&daemon, &load, &all);
    check_processes(&locks, &load);
}

/// Follows the feed until the load is over and each acknowledged job has ended.
fn follow_to_the_end(follower: &mut Follower, load: &Load) -> bool {
    let (mut looked_at, mut ended) = (0, BTreeSet::new());
    let limit = SETTLE_LIMIT + PATIENCE;
    follower.follow(limit, |seen| {
        let fresh = seen[looked_at..].iter().filter(|event| event.final_state().is_some());
        ended.extend(fresh.filter_map(|event| event.job.clone()));
        looked_at = seen.len();
        load.is_over.load(Ordering::SeqCst) && load.ids().is_subset(&ended)
    })
}

/// A subscriber over all the restarts saw the same facts in the same order as the list has: no hole, no repeat.
fn check_what_was_seen(all: &[Event], start: &str, follower: &Follower) {
    let from = all.iter().position(|event| event.cursor == start).map_or(0, |at| at + 1);
    let listed = &all[from..];
    assert!(listed.len() >= follower.seen.len(), "the subscriber saw more than there is");
    for (listed, seen) in listed.iter().zip(&follower.seen) {
        assert_eq!(listed, seen, "the subscription and the list part here");
    }
    assert!(follower.cuts > 0, "the subscriber was never cut: the kills did not hit it");
}

/// Each key made one job, each job succeeded, and the kills did hit running attempts.
fn check_what_was_done(daemon: &Daemon, load: &Load, all: &[Event]) {
    let acknowledged = load.acknowledged.lock().expect("the clients are gone").clone();
    let count = |kind: &str| all.iter().filter(|event| event.kind == kind).count();
    assert!(acknowledged.len() > kills(), "only {} jobs: no load", acknowledged.len());
    assert_eq!(load.ids().len(), acknowledged.len(), "two keys share a job");
    assert_eq!(count("JOB_CREATED"), acknowledged.len(), "a job that nobody was told of");
    assert!(count("ATTEMPT_STARTED") > acknowledged.len(), "no attempt was lost: the kills hit nothing");
    let failed: Vec<&Event> =
        all.iter().filter(|event| event.final_state().is_some_and(|state| state != "SUCCEEDED")).collect();
    assert!(failed.is_empty(), "{failed:?}");
    for (key, id) in acknowledged.iter().step_by(10) {
        let again = load.enqueue(key);
        assert_eq!((&again["job"]["id"], &again["deduplicated"]), (&json!(id), &json!(true)), "{key}");
    }
    let total = daemon.graphql("{ jobs(first: 1) { totalCount } }", json!({}));
    assert_eq!(total["jobs"]["totalCount"], json!(acknowledged.len()));
}

fn check_processes(locks: &Path, load: &Load) {
    let overlaps = fs::read_to_string(locks.join("overlaps")).unwrap_or_default();
    assert_eq!(overlaps, "", "a process of a lost attempt lived when the next attempt of its job started");
    until("the last process of the load to be gone", PATIENCE, || {
        pids_with(MARK, &load.mark).is_empty().then_some(())
    });
}

#[test]
fn the_processes_of_a_killed_daemon_are_gone_before_its_successor_listens() {
    let mut daemon = Daemon::start();
    let mark = SystemRandom.hex(8);
    // One child stays in the job's process group, the other leaves it for a session of its own.
    let script = "setsid sleep 600 </dev/null >/dev/null 2>&1 & sleep 600 & wait";
    let id = daemon.enqueue_with(json!({
        "run": {"command": {"exec": {
            "argv": ["/bin/sh", "-c", script],
            "environment": [{"name": MARK, "value": mark}],
        }}},
    }));
    until("the shell and both children to run", PATIENCE, || {
        (pids_with(MARK, &mark).len() == 3).then_some(())
    });
    daemon.kill9();
    assert!(!pids_with(MARK, &mark).is_empty(), "the job died with the daemon: nothing is shown");
    daemon.restart();
    let ended = daemon.wait_final(&id);
    assert_eq!(pids_with(MARK, &mark), Vec::<u32>::new());
    assert_eq!((&ended.job["state"], &ended.job["failure"]["outcome"]), (&json!("FAILED"), &json!("LOST")));
}

#[test]
fn a_subscription_resumes_behind_its_cursor_after_a_kill() {
    let mut daemon = Daemon::start();
    let start = newest_cursor(&daemon);
    let first = daemon.enqueue(&["/bin/true"]);
    let mut follower = Follower::new(&daemon, start);
    let has_ended = |seen: &[Event], id: &str| {
        seen.iter().any(|event| event.job.as_deref() == Some(id) && event.final_state().is_some())
    };
    assert!(follower.follow(PATIENCE, |seen| has_ended(seen, &first)));
    daemon.kill9();
    daemon.restart();
    let second = daemon.enqueue(&["/bin/true"]);
    assert!(follower.follow(PATIENCE, |seen| has_ended(seen, &second)));
    let all = read_all(&daemon);
    let listed = &all[all.len() - follower.seen.len()..];
    assert_eq!(listed, follower.seen, "what was seen is not what is listed");
    assert_eq!(faults(&all, &BTreeSet::from([first, second])), Vec::<String>::new());
}
