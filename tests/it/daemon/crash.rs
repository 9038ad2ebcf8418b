//! Kill -9 at random moments under load: nothing acknowledged is lost, nothing runs twice at once, no event is missed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use beadle::base::environment::variable;
use beadle::base::random::{Random, SeededRandom, SystemRandom};
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, string};
use crate::support::history::{Event, Follower, Witness, faults, newest_cursor, read_all};
use crate::support::ledger::{MARK, Trial, check_starts, open_count};
use crate::support::length::sized;
use crate::support::load::Load;
use crate::support::postgres::is_on_postgres;
use crate::support::program::pids_with;
use crate::support::wait::{PATIENCE, now, span, until};

/// The short form on PostgreSQL is a quarter of that on a file, which ran before.
fn sized_for_engine(short: usize, long: usize) -> usize {
    sized(if is_on_postgres() { short / 4 } else { short }, long)
}
/// How often the daemon is killed.
fn kills() -> usize {
    sized_for_engine(200, 1_000)
}
/// Jobs that are enqueued in batches and cancelled in bulk, beside those that run.
fn batched() -> usize {
    sized_for_engine(12_000, 60_000)
}
/// How many jobs must be acknowledged at the end.
fn acknowledged_min() -> usize {
    sized_for_engine(10_000, 50_000)
}
/// The label of the jobs that must run to their end.
const SURVIVORS: &str = "survivors";
/// Jobs of one batch.
const BATCH: usize = 100;
/// Each second kill waits until one more batch was acknowledged, for at most so long: a busy machine may need longer for
/// one than the daemon lives.
const BATCH_LIMIT: Duration = Duration::from_secs(10);
/// Clients that enqueue one job after the other.
const CLIENTS: usize = 2;
/// A client's pace: enough to keep the slots busy, and little enough that the end is near when the killing stops.
const ENQUEUE_EVERY: Duration = Duration::from_millis(40);
/// The whole load must be done this long after the last kill. A job that was lost twice in a row waits before its next
/// try, and several such jobs one behind the other.
const SETTLE_LIMIT: Duration = Duration::from_mins(2);

/// A job that holds a lock of its own while any process of it lives, and leaves a note when it finds it taken:
/// then a process of a lost attempt was alive when the next attempt started.
const SCRIPT: &str = r#"exec 9>"$LOCKS/$0"; flock -n 9 || echo "$0" >>"$LOCKS/overlaps"; sleep 0.05"#;

const ENQUEUE: &str = "mutation ($input: JobEnqueueInput!) {
  jobEnqueue(input: $input) { job { id } deduplicated userErrors { code message path } }
}";

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

/// A job that must run to its end, however often its daemon dies.
fn survivor(load: &Load, locks: &str, key: &str) -> Value {
    let policy = json!({"maxAttempts": 100, "initialDelay": "50ms", "factor": 1.0, "retryOn": ["LOST"]});
    let mut job = load.job(key, SCRIPT, json!({"retryPolicy": policy, "label": SURVIVORS}));
    let command = &mut job["run"]["command"]["exec"];
    command["argv"].as_array_mut().expect("a list").push(json!(key));
    command["environment"].as_array_mut().expect("a list").push(json!({"name": "LOCKS", "value": locks}));
    job
}

/// One client: a new job that must survive again and again until the load is over.
fn enqueue_survivors(load: &Load, locks: &str, client: usize, is_over: &AtomicBool) {
    for number in 0.. {
        if is_over.load(Ordering::SeqCst) {
            return;
        }
        let key = format!("survivor-{client}-{number}");
        let job = survivor(load, locks, &key);
        load.ledger.ask(&key);
        let payload = load.ask(ENQUEUE, &json!({ "input": job }))["jobEnqueue"].take();
        assert!(payload["job"]["id"].is_string(), "refused: {payload:#}");
        load.ledger.acknowledge(&key, &string(&payload["job"]["id"]));
        span(ENQUEUE_EVERY);
    }
}

/// One client: batches of cheap jobs, each cancelled in bulk at once, so that some of them have begun and most have not.
fn enqueue_batches(load: &Load, done: &AtomicUsize) {
    for number in 0..batched() / BATCH {
        let group = format!("batch-{number}");
        let more = || json!({"priority": -100, "label": group, "retryPolicy": {"maxAttempts": 1}});
        let job = |place: usize| load.job(&format!("{group}-{place}"), "exit 0", more());
        let ids = load.enqueue(&(0..BATCH).map(job).collect::<Vec<_>>());
        load.cancel_group(&group, &ids);
        done.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn hundreds_of_kills_under_load_lose_nothing_and_double_nothing() {
    let random = SeededRandom::new(seed());
    let mut daemon = Daemon::prepared(&["--slots", "8"]);
    let mut starts = vec![daemon.try_start(&[]).expect("the daemon starts")];
    let locks = daemon.directory().join("locks");
    fs::create_dir(&locks).unwrap();
    let load = Load::new(SystemRandom.hex(8), Duration::ZERO);
    load.set_up(&daemon);
    let witness = Witness::begin(&daemon);
    let is_over = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for client in 0..CLIENTS {
        let (load, is_over, locks) = (Arc::clone(&load), Arc::clone(&is_over), locks.display().to_string());
        clients.push(thread::spawn(move || enqueue_survivors(&load, &locks, client, &is_over)));
    }
    let (batch_load, done) = (Arc::clone(&load), Arc::new(AtomicUsize::new(0)));
    let batches_done = Arc::clone(&done);
    let batches = thread::spawn(move || enqueue_batches(&batch_load, &batches_done));

    let begun = now();
    for kill in 0..kills() {
        if kill % 2 == 1 {
            wait_for_batch(&done);
        }
        span(Duration::from_millis(20) + Duration::from_millis(110).mul_f64(random.unit()));
        daemon.kill9();
        starts.push(daemon.try_start(&[]).expect("a killed daemon starts again"));
    }
    println!("{} kills in {:.0} s", kills(), begun.elapsed().as_secs_f64());
    is_over.store(true, Ordering::SeqCst);
    batches.join().expect("a client does not panic");
    wait_for_survivors(&daemon);
    load.wind_up(&daemon, clients, SETTLE_LIMIT);
    let (mut follower, start) = witness.end();

    check_what_was_done(&daemon, &load, &locks.display().to_string());
    let overlaps = fs::read_to_string(Path::new(&locks).join("overlaps")).unwrap_or_default();
    assert_eq!(overlaps, "", "a process of a lost attempt lived when the next attempt of its job started");
    assert!(follower.cuts > 0, "the subscriber was never cut: the kills did not hit it");
    let trial = Trial {
        daemon: &daemon,
        ledger: &load.ledger,
        follower: Some((&mut follower, &start)),
        mark: &load.mark,
        forgets: false,
        starts: &starts,
    };
    let figures = trial.judge();
    println!("kill -9 cycles: {figures}");
    assert_eq!(figures.breaches, []);
    assert!(figures.acknowledged >= acknowledged_min(), "only {} jobs: no load", figures.acknowledged);
    assert!(figures.lost_attempts > kills() / 4, "the kills hit next to nothing: {}", figures.lost_attempts);
    check_starts(&starts);
}

/// Waits until one more batch was acknowledged, if one is still to come.
fn wait_for_batch(done: &AtomicUsize) {
    let (begun, before) = (now(), done.load(Ordering::SeqCst));
    let is_over = before == batched() / BATCH;
    while !is_over && done.load(Ordering::SeqCst) == before && begun.elapsed() < BATCH_LIMIT {
        span(Duration::from_millis(2));
    }
}

/// Waits for the jobs that must survive: nothing but the schedule makes new ones now.
fn wait_for_survivors(daemon: &Daemon) {
    let begun = now();
    // A job of the schedule may be open at any moment: two open jobs are more than it makes.
    until("the load to end", SETTLE_LIMIT, || (open_count(daemon) <= 2).then_some(()));
    println!("settled after {:.1} s", begun.elapsed().as_secs_f64());
}

/// Every job that had to survive succeeded, and its key gives it again.
fn check_what_was_done(daemon: &Daemon, load: &Load, locks: &str) {
    let survivors: BTreeMap<String, String> =
        load.ledger.acknowledged().into_iter().filter(|(key, _)| key.starts_with("survivor")).collect();
    let states = "query ($filter: JobFilter) { jobCounts(filter: $filter) { succeeded failed cancelled } }";
    let filter = json!({"labels": [{"key": "group", "value": SURVIVORS}]});
    let counts = daemon.graphql(states, json!({ "filter": filter }))["jobCounts"].take();
    assert_eq!(counts, json!({"succeeded": survivors.len(), "failed": 0, "cancelled": 0}));
    for (key, id) in survivors.iter().step_by(10) {
        let input = survivor(load, locks, key);
        let again = daemon.graphql(ENQUEUE, json!({ "input": input }))["jobEnqueue"].take();
        assert_eq!((&again["job"]["id"], &again["deduplicated"]), (&json!(id), &json!(true)), "{key}");
    }
    println!("{} jobs had to run to their end, and did", survivors.len());
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
    // Over PostgreSQL the guard may have ended them already.
    let is_there = is_on_postgres() || !pids_with(MARK, &mark).is_empty();
    assert!(is_there, "the job died with the daemon: nothing is shown");
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
