//! Each long-lived part of the daemon panics in its turn, under load: it is back within a second, the others go on, no
//! job is lost and no subscriber misses an event.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, thread};

use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

use crate::support::daemon::{Daemon, send, string};
use crate::support::history::{Follower, faults, newest_cursor, read_all};
use crate::support::length::{is_long, sized};
use crate::support::postgres::skips_on_postgres;
use crate::support::wait::{PATIENCE, now, span, until};

/// The points at which a part is made to panic whenever the test says so, each with the part's health row.
const PARTS: [(&str, &str); 9] = [
    ("dispatcher.tick", "dispatcher"),
    ("scheduler.tick", "scheduler"),
    ("writer.turn", "writer"),
    ("recorder.turn", "recorder"),
    ("health_news.tick", "health-news"),
    ("feed.tick", "feed"),
    ("follow.tick", "feed"),
    ("door.accept", "door"),
    ("runner.begin", "runners"),
];

/// These come round too seldom: they panic at their first passes.
const SELDOM: &str = "retention.tick:1:panic,retention.tick:2:panic,store_watch.tick:1:panic,\
    store_watch.tick:2:panic,memory.tick:1:panic,memory.tick:2:panic";

/// A part that panics is back within this time.
const RESTART_LIMIT: Duration = Duration::from_secs(1);

/// In the long form each part has run for a while when it panics again, as after a failure that is rare.
const ROUND: Duration = Duration::from_secs(11);

const ENQUEUE: &str = "mutation ($input: JobEnqueueInput!) {
  jobEnqueue(input: $input) { job { id } userErrors { code message path } }
}";

const FOLLOW: &str =
    "subscription ($id: ID!) { jobFollow(id: $id) { job { state } log { lines { text } } } }";

fn health(daemon: &Daemon) -> BTreeMap<String, Value> {
    let query = "{ health { subsystems { name status since message restartCount lastError lastErrorAt } } }";
    let rows = daemon.graphql(query, json!({}))["health"]["subsystems"].take();
    rows.as_array().into_iter().flatten().map(|row| (string(&row["name"]), row.clone())).collect()
}

/// A client that enqueues until told to stop: asks again with the same key when there is no good answer.
fn enqueue_all(address: &str, token: &str, ids: &Mutex<BTreeSet<String>>, is_over: &AtomicBool) {
    for number in 0.. {
        if is_over.load(Ordering::SeqCst) {
            return;
        }
        let input = json!({
            "run": {"command": {"exec": {"argv": ["/bin/echo", "hello"]}}},
            "idempotencyKey": format!("job-{number}"),
            "retryPolicy": {"maxAttempts": 20, "initialDelay": "50ms", "factor": 1.0, "retryOn": ["LOST"]},
        });
        let id = until("an answer to an enqueue", PATIENCE, || {
            let answer = send(address, token, ENQUEUE, &json!({ "input": input })).ok()?;
            answer["data"]["jobEnqueue"]["job"]["id"].as_str().map(str::to_owned)
        });
        ids.lock().expect("no client panics while it holds this").insert(id);
        span(Duration::from_millis(40));
    }
}

/// Lines of the daemon's log that say that the part was restarted.
fn restarts_logged(daemon: &Daemon, part: &str) -> usize {
    let log = daemon.log();
    log.lines().filter(|line| line.contains("was restarted") && line.contains(part)).count()
}

/// Makes the part panic, and measures how long it was away; `None` for what is not restarted as a whole.
fn spring(daemon: &Daemon, traps: &Path, (point, row): (&str, &str)) -> Option<Duration> {
    let trap = traps.join(point);
    let (before, count_before) = (restarts_logged(daemon, row), restart_count(daemon, row));
    fs::write(&trap, "").expect("the trap is set");
    if point == "follow.tick" {
        // Somebody must follow something for that.
        let id = daemon.enqueue(&["/bin/echo", "followed"]);
        assert_eq!(daemon.wait_final(&id).lines, [("STDOUT".to_owned(), "followed".to_owned())]);
    }
    until(&format!("{point} to be reached"), PATIENCE, || (!trap.exists()).then_some(()));
    let begun = now();
    if row == "feed" || row == "runners" {
        until(&format!("the panic of {point} to be counted"), PATIENCE, || {
            (restart_count(daemon, row) > count_before).then_some(())
        });
        return None;
    }
    let away = until(&format!("{row} to be restarted"), PATIENCE, || {
        (restarts_logged(daemon, row) > before).then(|| begun.elapsed())
    });
    Some(away)
}

/// Asked again when the door itself panics with our question.
fn restart_count(daemon: &Daemon, row: &str) -> i64 {
    let query = "{ health { subsystems { name restartCount } } }";
    until("an answer about health", PATIENCE, || {
        let answer = daemon.send(query, &json!({})).ok()?;
        let rows = answer["data"]["health"]["subsystems"].as_array()?.clone();
        rows.iter().find(|one| one["name"] == json!(row)).map_or(Some(0), |one| one["restartCount"].as_i64())
    })
}

#[test]
fn each_part_panics_in_turn_and_the_others_go_on() {
    let traps = TempDir::with_prefix("beadle-traps-").expect("a temporary directory can be made");
    let timely = PARTS.map(|(point, _)| format!("{point}:{}:panic", traps.path().join(point).display()));
    let points = format!("{SELDOM},{}", timely.join(","));
    let daemon = Daemon::start_in_environment(&[
        ("BEADLE_TEST_POINTS", points.as_str()),
        ("BEADLE_POLL_INTERVAL", "100ms"),
        ("BEADLE_SLOTS", "4"),
    ]);
    let (ids, is_over) = (Arc::new(Mutex::new(BTreeSet::new())), Arc::new(AtomicBool::new(false)));
    let mut follower = Follower::new(&daemon, newest_cursor(&daemon));
    let client = {
        let (ids, is_over) = (ids.clone(), is_over.clone());
        let (address, token) = (daemon.address().to_owned(), daemon.token().to_owned());
        thread::spawn(move || enqueue_all(&address, &token, &ids, &is_over))
    };
    // One job runs through it all, and one subscriber follows it.
    let long = daemon.enqueue(&[
        "/bin/sh",
        "-c",
        "while [ ! -e \"$0\" ]; do echo on; sleep 0.1; done",
        &done(&traps),
    ]);
    let mut steps = daemon.subscribe(FOLLOW, &json!({ "id": long }));

    let rounds = sized(2, 50);
    let mut slowest: BTreeMap<&str, Duration> = BTreeMap::new();
    for _ in 0..rounds {
        let begun = now();
        for part in PARTS {
            let seen = follower.seen.len();
            if let Some(away) = spring(&daemon, traps.path(), part) {
                assert!(away < RESTART_LIMIT, "{} was away for {away:?}", part.0);
                let slowest = slowest.entry(part.1).or_default();
                *slowest = away.max(*slowest);
            }
            let is_served = follower.follow(PATIENCE, |events| events.len() > seen + 3);
            assert!(is_served, "the subscription stands still after a panic of {}", part.0);
        }
        if is_long() {
            span(ROUND.saturating_sub(begun.elapsed()));
        }
    }
    is_over.store(true, Ordering::SeqCst);
    client.join().expect("the client does not panic");
    fs::write(done(&traps), "").expect("the file is written");
    let mut state = Value::Null;
    while let Ok(message) = steps.next_within(PATIENCE) {
        assert!(message.result.get("errors").is_none(), "{:#}", message.result);
        state = message.result["data"]["jobFollow"]["job"]["state"].clone();
    }
    assert_eq!(state, json!("SUCCEEDED"), "the job that ran through it all, as its follower saw it");

    let ids = ids.lock().expect("the client is gone").clone();
    until("all jobs to end", PATIENCE, || {
        let counts = daemon.graphql("{ jobCounts { queued running retrying } }", json!({}));
        (counts["jobCounts"] == json!({"queued": 0, "running": 0, "retrying": 0})).then_some(())
    });
    let all = read_all(&daemon);
    assert_eq!(faults(&all, &ids), Vec::<String>::new());
    let (first, last) = (follower.seen.first().cloned(), all.last().cloned());
    assert!(follower.follow(PATIENCE, |events| events.last() == last.as_ref()), "the subscriber lags behind");
    let from = all.iter().position(|event| Some(event) == first.as_ref()).expect("it was in the feed");
    assert_eq!(follower.seen, all[from..], "the subscriber saw what the feed has");
    let rows = health(&daemon);
    until("every part to be well again", Duration::from_secs(10), || {
        health(&daemon).values().all(|row| row["status"] == json!("OK")).then_some(())
    });
    for (_, row) in PARTS {
        let (count, error) =
            (rows[row]["restartCount"].as_i64().unwrap_or(0), string(&rows[row]["lastError"]));
        assert!(count >= rounds, "{row} was restarted {count} times");
        assert!(rows[row]["lastErrorAt"].is_string() && !error.is_empty(), "{row}: {error}");
    }
    for row in ["retention", "store-watch", "memory"] {
        assert_eq!(rows[row]["restartCount"], json!(2), "{row}");
    }
    let counts: BTreeMap<_, _> = rows.iter().map(|(name, row)| (name, row["restartCount"].clone())).collect();
    println!(
        "parts: {rounds} rounds, {} jobs, {} subscriber cuts, slowest restart {slowest:?}, restarts {counts:?}",
        ids.len(),
        follower.cuts
    );
}

#[test]
fn output_that_is_lost_with_a_panic_of_the_recorder_is_counted_and_its_log_is_closed() {
    let traps = TempDir::with_prefix("beadle-traps-").expect("a temporary directory can be made");
    let (trap, gate) = (traps.path().join("recorder"), traps.path().join("gate"));
    let points = format!("recorder.turn:{}:panic", trap.display());
    let daemon = Daemon::start_in_environment(&[("BEADLE_TEST_POINTS", &points)]);
    let ended = |id: &str| {
        let state = daemon.wait_final(id).job["state"].clone();
        assert_eq!(state, json!("SUCCEEDED"));
        let query = "query ($id: ID!) { job(id: $id) { attempts { nodes { logBytes droppedLogBytes } }
          log(first: 10) { lines { text stream } isComplete droppedBytes } } }";
        daemon.graphql(query, json!({ "id": id }))["job"].take()
    };
    fs::write(&trap, "").expect("the trap is set");
    let script = format!("echo lost; until [ -e {} ]; do sleep 0.05; done; echo kept", gate.display());
    let id = daemon.enqueue(&["/bin/sh", "-c", &script]);
    until("the recorder to panic", PATIENCE, || (!trap.exists()).then_some(()));
    fs::write(&gate, "").expect("the gate is opened");
    let job = ended(&id);
    println!("a panic of the recorder: {job}");
    assert_eq!(job["attempts"]["nodes"][0]["droppedLogBytes"], json!("5"), "{job}");
    let log = &job["log"];
    assert_eq!((&log["isComplete"], &log["droppedBytes"]), (&json!(true), &json!("5")), "{log}");
    assert_eq!(log["lines"][0]["text"], json!("kept"), "{log}");
    let row = health(&daemon)["recorder"].clone();
    assert!(string(&row["lastError"]).contains("5 bytes of output were lost"), "{row}");
    // The end of a log in its hand is tried again.
    fs::write(&trap, "").expect("the trap is set");
    let job = ended(&daemon.enqueue(&["/bin/true"]));
    assert!(!trap.exists(), "it panicked with the end in its hand");
    assert_eq!(job["log"]["isComplete"], json!(true), "{job}");
    assert_eq!(job["attempts"]["nodes"][0]["droppedLogBytes"], json!("0"), "{job}");
}

fn done(traps: &TempDir) -> String {
    traps.path().join("done").display().to_string()
}

#[test]
fn what_happened_to_the_store_is_in_the_feed_when_it_is_back() {
    if skips_on_postgres("it locks the SQLite file") {
        return;
    }
    let daemon = Daemon::start();
    let cursor = newest_cursor(&daemon);
    let file = format!("sqlite://{}", daemon.data().join("beadle.db").display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut other = SqliteConnection::connect(&file).await.expect("the store can be opened");
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.expect("the lock is free");
        let _ =
            daemon.send(ENQUEUE, &json!({"input": {"run": {"command": {"exec": {"argv": ["/bin/true"]}}}}}));
        until("the store to be known as ill", PATIENCE, || {
            (health(&daemon)["store"]["status"] == json!("DOWN")).then_some(())
        });
        sqlx::raw_sql("ROLLBACK").execute(&mut other).await.expect("it is ours");
        other.close().await.expect("it is closed");
    });
    let query = "query ($after: EventCursor!) { events(first: 200, after: $after) { events { type data } } }";
    let told = until("both changes to be in the feed", PATIENCE, || {
        let page = daemon.graphql(query, json!({ "after": cursor }))["events"]["events"].take();
        let events = page.as_array().into_iter().flatten();
        let own = events.filter(|event| {
            event["type"] == json!("HEALTH_CHANGED") && event["data"]["subsystem"] == json!("store")
        });
        let told: Vec<_> = own.map(|event| string(&event["data"]["status"])).collect();
        (told.last().map(String::as_str) == Some("OK")).then_some(told)
    });
    assert_eq!(told, ["DOWN", "OK"]);
    assert!(health(&daemon)["store"]["lastError"].is_string());
}
