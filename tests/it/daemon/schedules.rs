//! Schedules over restarts and over a disk without room: each due time once, and one job for all that were missed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use beadle::base::clock::{Clock as _, SystemClock, Timestamp};
use serde_json::{Value, json};

use super::faults::{has, until_down};
use crate::support::daemon::{Daemon, string};
use crate::support::postgres::is_on_postgres;
use crate::support::wait::{PATIENCE, span, until};

/// The schedule's interval, in microseconds.
const EVERY_US: i64 = 2_000_000;
/// Longer than two intervals, so that at least two due times pass while nobody looks.
const OUTAGE: Duration = Duration::from_millis(4_500);

const TICKS: &str = r#"{
  schedule(ref: {name: "beat"}) { ticks(first: 100) { nodes { dueAt outcome count job { id } } } }
}"#;

const TICKED: &str = "subscription { events(filter: {types: [SCHEDULE_TICKED]}) { events { data } } }";

/// One row of the ledger.
#[derive(Debug)]
struct Tick {
    due_us: i64,
    outcome: String,
    job: Option<String>,
}

/// The ledger, oldest first.
fn ticks(daemon: &Daemon) -> Vec<Tick> {
    let answer = daemon.graphql(TICKS, json!({}));
    let rows = answer["schedule"]["ticks"]["nodes"].as_array().expect("a list of ticks");
    let read = |row: &Value| Tick {
        due_us: Timestamp::parse(&string(&row["dueAt"])).expect("an instant").micros(),
        outcome: string(&row["outcome"]),
        job: row["job"]["id"].as_str().map(str::to_owned),
    };
    rows.iter().rev().map(read).collect()
}

/// Makes the schedule, which runs `/bin/true` every 2 s.
fn put(daemon: &Daemon) {
    let put = r#"mutation {
      taskPut(input: {name: "beat", command: {exec: {argv: ["/bin/true"]}}}) { userErrors { message } }
      schedulePut(input: {name: "beat", task: {name: "beat"}, timing: {every: "2s"}}) { userErrors { message } }
    }"#;
    let answer = daemon.graphql(put, json!({}));
    for payload in ["taskPut", "schedulePut"] {
        assert_eq!(answer[payload]["userErrors"], json!([]), "{payload}");
    }
}

/// Waits for `count` further ticks as a subscriber sees them.
fn watch(daemon: &Daemon, count: usize) {
    let mut stream = daemon.subscribe(TICKED, &json!({}));
    let mut seen = 0;
    while seen < count {
        let message = stream.next().expect("the stream stays open");
        assert!(message.get("errors").is_none(), "{message:#}");
        seen += message["data"]["events"]["events"].as_array().map_or(0, Vec::len);
    }
}

#[test]
fn a_two_second_schedule_ticks_each_due_time_once_over_a_kill() {
    let mut daemon = Daemon::start();
    put(&daemon);
    watch(&daemon, 2);
    // A job that is not final would make the catch-up a skipped overlap.
    until("the jobs so far to be final", PATIENCE, || {
        let counts = daemon.graphql("{ jobCounts { queued running } }", json!({}));
        (counts["jobCounts"] == json!({"queued": 0, "running": 0})).then_some(())
    });
    daemon.kill9();
    span(OUTAGE);
    daemon.restart();
    // One for what was missed and two on time, unless the first of them came before we could subscribe.
    until("a catch-up and two ticks on time after it", PATIENCE, || {
        let ticks = ticks(&daemon);
        let late = ticks.iter().position(|tick| tick.outcome == "CAUGHT_UP")?;
        let on_time = ticks[late..].iter().filter(|tick| tick.outcome == "STARTED").count();
        if on_time < 2 {
            watch(&daemon, 1);
            return None;
        }
        Some(())
    });

    let ticks = ticks(&daemon);
    let dues: BTreeSet<i64> = ticks.iter().map(|tick| tick.due_us).collect();
    assert_eq!(dues.len(), ticks.len(), "a due time stands twice: {ticks:#?}");
    assert!(dues.iter().all(|due| due % EVERY_US == 0), "not anchored to the epoch: {ticks:#?}");
    let with_job: Vec<&Tick> = ticks.iter().filter(|tick| tick.job.is_some()).collect();
    let jobs: BTreeSet<&String> = with_job.iter().filter_map(|tick| tick.job.as_ref()).collect();
    assert_eq!(jobs.len(), with_job.len(), "two ticks share a job: {ticks:#?}");
    let late = ticks.iter().filter(|tick| tick.outcome == "CAUGHT_UP").count();
    assert_eq!(late, 1, "RUN_ONCE makes one job for all that was missed: {ticks:#?}");
    check_gaps(&ticks);

    let made = daemon.graphql("{ jobs(filter: {origins: [SCHEDULE]}) { nodes { id } } }", json!({}));
    let made: BTreeSet<String> =
        made["jobs"]["nodes"].as_array().into_iter().flatten().map(|job| string(&job["id"])).collect();
    let missing: Vec<_> = jobs.iter().filter(|job| !made.contains(job.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
    // A further tick may have come between the two answers, never two.
    assert!(made.len() <= jobs.len() + 1, "jobs without a tick: {made:?} {ticks:#?}");
}

/// On-time ticks follow each other at the interval, except where the daemon was dead.
fn check_gaps(ticks: &[Tick]) {
    let on_time: Vec<i64> =
        ticks.iter().filter(|tick| tick.outcome == "STARTED").map(|tick| tick.due_us).collect();
    let gaps: Vec<i64> =
        on_time.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap != EVERY_US).collect();
    assert_eq!(gaps.len(), 1, "one gap, the outage: {ticks:#?}");
    let outage_us = i64::try_from(OUTAGE.as_micros()).expect("it fits");
    assert!(gaps[0] >= outage_us - EVERY_US, "{ticks:#?}");
}

#[test]
fn a_paused_schedule_makes_nothing_until_it_is_resumed_and_a_trigger_always_does() {
    let daemon = Daemon::start();
    put(&daemon);
    watch(&daemon, 1);
    let pause = r#"mutation { schedulePause(input: {ref: {name: "beat"}, reason: "test"}) {
      schedule { isPaused pauseReason } userErrors { message } } }"#;
    let paused = daemon.graphql(pause, json!({}))["schedulePause"]["schedule"].clone();
    assert_eq!(paused, json!({"isPaused": true, "pauseReason": "test"}));
    let scheduled = || daemon.graphql("{ jobs(filter: {origins: [SCHEDULE]}) { totalCount } }", json!({}));
    let before = scheduled();
    // A run by hand is refused while the last job is not final.
    until("the last job to end", PATIENCE, || {
        let open = "{ jobs(filter: {states: [QUEUED, RUNNING]}) { totalCount } }";
        (daemon.graphql(open, json!({}))["jobs"]["totalCount"] == 0).then_some(())
    });
    let trigger = r#"mutation { scheduleTrigger(input: {ref: {name: "beat"}}) {
      job { id } userErrors { code message } } }"#;
    let triggered = daemon.graphql(trigger, json!({}));
    let id = string(&triggered["scheduleTrigger"]["job"]["id"]);
    assert_eq!(daemon.wait_final(&id).job["state"], json!("SUCCEEDED"), "{triggered}");
    let count = |answer: &Value| answer["jobs"]["totalCount"].as_i64().expect("a count");
    // Two due times pass while it is paused.
    span(Duration::from_micros(u64::try_from(2 * EVERY_US).expect("positive")));
    assert!(count(&scheduled()) <= count(&before) + 1, "a paused schedule ran");
    let resume = r#"mutation { scheduleResume(input: {ref: {name: "beat"}}) { schedule { isPaused } } }"#;
    daemon.graphql(resume, json!({}));
    watch(&daemon, 1);
}

/// The small disk hides what stood below it: the token is carried over.
const MOUNT: &str = "token=$(cat \"$1/admin.token\") && mount -t tmpfs -o size=24m none \"$1\" && chmod 700 \"$1\" && \
(umask 077 && echo \"$token\" > \"$1/admin.token\") && shift && exec \"$@\"";

/// Bytes that are left on the small disk: less than its twentieth, which is kept free, and enough for what is no new work.
const LEFT_BYTES: u64 = 1_000_000;

/// A daemon whose data directory is a small disk of its own, with a file on it that will take its room. `None`: not
/// possible here.
fn on_small_disk() -> Option<(Daemon, PathBuf)> {
    // PostgreSQL has its files elsewhere.
    if is_on_postgres() || !has(&["unshare", "--map-root-user", "--mount", "true"]) {
        return None;
    }
    let mut daemon = Daemon::prepared(&[]);
    fs::create_dir(daemon.data()).expect("an empty directory");
    fs::write(daemon.data().join("admin.token"), "0123456789abcdef0123456789abcdef\n").expect("a small file");
    daemon.wrap(&["unshare", "--map-root-user", "--mount", "/bin/sh", "-c", MOUNT, "sh", "DATA"]);
    daemon.start_or_words().unwrap_or_else(|words| panic!("{words}"));
    let filling = format!("/proc/{}/root{}/filling", daemon.pid(), daemon.data().display());
    Some((daemon, PathBuf::from(filling)))
}

/// Takes the room of the small disk until two due times are held; gives the first of them.
fn until_held(daemon: &Daemon, filling: &Path) -> i64 {
    fs::write(filling, "").expect("the disk is not full yet");
    let disk = rustix::fs::statvfs(filling).expect("the disk can be asked");
    let size = usize::try_from(disk.f_bavail * disk.f_frsize - LEFT_BYTES).expect("a small disk");
    fs::write(filling, vec![1; size]).expect("there is room for so much");
    until_down(daemon, "disk", "bytes left");
    until("two due times to be held", PATIENCE, || {
        let answer = daemon.graphql("{ schedule(ref: {name: \"beat\"}) { nextDueAt } }", json!({}));
        let due = Timestamp::parse(&string(&answer["schedule"]["nextDueAt"])).expect("an instant").micros();
        (due + EVERY_US <= SystemClock.now().micros()).then_some(due)
    })
}

#[test]
fn due_times_that_wait_for_room_are_not_lost_by_a_new_rule_and_are_dropped_by_a_pause() {
    let Some((daemon, filling)) = on_small_disk() else { return };
    put(&daemon);
    watch(&daemon, 1);
    let held = until_held(&daemon, &filling);
    for change in [
        r#"schedulePut(input: {name: "beat", task: {name: "beat"}, timing: {every: "3s"}})"#,
        r#"schedulePut(input: {name: "beat", task: {name: "beat"}, timing: {every: "2s"}, isPaused: true})"#,
    ] {
        let query = format!("mutation {{ {change} {{ userErrors {{ message }} }} }}");
        let answer = daemon.send(&query, &json!({})).expect("an answer");
        let extensions = &answer["errors"][0]["extensions"];
        assert_eq!(extensions["code"], json!("UNAVAILABLE"), "{change}: {answer:#}");
        assert_eq!(extensions["reason"], json!("STORE_FULL"), "{change}: {answer:#}");
        assert_eq!(extensions["mayBeDone"], json!(false), "{change}: {answer:#}");
    }
    // An equal one changes nothing, and loses nothing.
    put(&daemon);
    fs::remove_file(&filling).expect("the filling is there");
    until("what was held to be made good", PATIENCE, || {
        let late = ticks(&daemon).into_iter().find(|tick| tick.due_us >= held)?;
        assert_eq!((late.outcome.as_str(), late.job.is_some()), ("CAUGHT_UP", true), "{late:?}");
        Some(())
    });
    // Whoever pauses what fills the disk does not wait until there is room.
    let held = until_held(&daemon, &filling);
    let pause = r#"mutation { schedulePause(input: {ref: {name: "beat"}}) { schedule { isPaused } } }"#;
    assert_eq!(daemon.graphql(pause, json!({}))["schedulePause"]["schedule"], json!({"isPaused": true}));
    let late = ticks(&daemon).into_iter().find(|tick| tick.due_us >= held).expect("the ledger tells of it");
    assert_eq!((late.outcome.as_str(), late.job.is_some()), ("DROPPED_MISFIRE", false), "{late:?}");
}
