//! `why`, `next`, `top`, `status --watch` and `wait` over several jobs.

use super::*;

fn job_why(state: &str, more: &Value) -> Reply {
    let mut job = json!({
        "id": "job_7", "state": state, "runAt": "T1", "startedAt": null, "finishedAt": null, "stopRequestedAt": null,
        "queue": { "name": "q" }, "failure": null, "progress": null,
    });
    job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Reply::data(&json!({ "job": job }))
}

fn why(state: &str, more: &Value) -> String {
    let daemon = FakeDaemon::start(vec![job_why(state, more)]);
    let ran = beadle(&daemon, "why 7");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(daemon.seen()[0].variables(), &json!({ "id": "job_7" }));
    ran.out
}

#[test]
fn each_blocker_is_told_with_what_helps() {
    let blockers = json!({ "blockers": [
        { "__typename": "HeldBlocker", "message": "on hold by ada", "by": "ada" },
        { "__typename": "PausedBlocker", "message": "the queue q was paused by ada: disk", "reason": "disk", "by": "ada",
          "at": "T4", "queue": { "name": "q" } },
        { "__typename": "DependencyBlocker", "message": "waits for job_3, job_4",
          "jobs": [{ "id": "job_3", "state": "RUNNING" }, { "id": "job_4", "state": "QUEUED" }] },
        { "__typename": "ConcurrencyBlocker", "message": "one job at a time with the key k: job_5 comes first", "key": "k",
          "limit": 1, "holders": [{ "id": "job_5" }] },
        { "__typename": "RateBlocker", "message": "the queue q starts 10 jobs in 1m", "until": "T5",
          "queue": { "name": "q" } },
        { "__typename": "WorkerBlocker", "message": "no worker that is there has the label gpu=a100",
          "runsOn": [{ "key": "gpu", "value": "a100" }] },
        { "__typename": "CapacityBlocker", "message": "all slots are taken", "aheadCount": 3 },
        { "__typename": "SomethingNew", "message": "a later reason" },
    ] });
    assert_eq!(
        why("QUEUED", &blockers),
        "job_7 is QUEUED in queue q\n  on hold by ada\n    let it go: beadle release 7\n  \
         the queue q was paused by ada: disk\n    since T4; end it: beadle queue resume q\n  \
         waits for job_3, job_4\n    job_3 is RUNNING, job_4 is QUEUED\n  \
         one job at a time with the key k: job_5 comes first\n  \
         the queue q starts 10 jobs in 1m\n    the next one starts at T5\n  \
         no worker that is there has the label gpu=a100\n    the workers and their labels: beadle status\n  all slots are taken\n  a later reason\n"
    );
}

#[test]
fn a_job_that_nothing_blocks_or_that_is_over_says_that() {
    let failure = json!({ "message": "exited with code 3", "errorLine": "no space left" });
    let cases = [
        (
            "HELD",
            json!({}),
            "job_7 is HELD in queue q\n  it is on hold until somebody releases it: beadle release 7\n",
        ),
        ("SCHEDULED", json!({}), "job_7 is SCHEDULED in queue q\n  its time is T1\n"),
        (
            "QUEUED",
            json!({ "blockers": [] }),
            "job_7 is QUEUED in queue q\n  nothing keeps it: it starts when a slot is free\n",
        ),
        ("SUCCEEDED", json!({ "startedAt": "T2", "finishedAt": "T3" }), "job_7 SUCCEEDED at T3\n"),
        (
            "FAILED",
            json!({ "startedAt": "T2", "finishedAt": "T3", "failure": failure }),
            "job_7 FAILED at T3\n  exited with code 3\n  error line: no space left\n",
        ),
        (
            "RETRYING",
            json!({ "startedAt": "T2", "failure": failure }),
            "job_7 is RETRYING in queue q\n  the last attempt failed: exited with code 3\n  error line: no space left\n  \
             its time is T1\n",
        ),
        (
            "RUNNING",
            json!({ "startedAt": "T2", "stopRequestedAt": "T4", "progress": { "fraction": 0.3, "status": "copying" } }),
            "job_7 is RUNNING since T2\n  [######--------------]  30%  copying\n  a stop was asked for at T4\n",
        ),
    ];
    for (state, more, expected) in cases {
        assert_eq!(why(state, &more), expected);
    }
    let daemon = FakeDaemon::start(vec![Reply::data(&json!({ "job": null }))]);
    assert_eq!(beadle(&daemon, "why 7").code, exit::NOT_FOUND);
}

fn schedules(nodes: Value, end: Option<&str>) -> Reply {
    let page = json!({ "hasNextPage": end.is_some(), "endCursor": end });
    Reply::data(&json!({ "schedules": { "nodes": nodes, "pageInfo": page } }))
}

fn schedule(name: &str, times: &[&str], is_paused: bool, until: Option<&str>) -> Value {
    let upcoming: Vec<_> = times.iter().map(|at| json!({ "at": at, "local": "L", "note": null })).collect();
    json!({ "name": name, "task": { "name": "t" }, "isPaused": is_paused, "pausedUntil": until, "upcoming": upcoming })
}

#[test]
fn due_times_of_all_schedules_are_merged_by_time() {
    let times = ["2999-01-01T00:00:00Z", "2999-01-02T00:00:00Z", "2999-01-03T00:00:00Z"];
    let script = || {
        vec![
            schedules(
                json!([schedule("b", &times[..2], false, None), schedule("off", &times, true, None)]),
                Some("p"),
            ),
            schedules(json!([schedule("a", &times[..2], true, Some(times[1]))]), None),
            Reply::data(
                &json!({ "schedule": { "upcoming": [{ "at": times[2], "local": times[2], "note": null }] } }),
            ),
        ]
    };
    let daemon = FakeDaemon::start(script());
    let ran = beadle(&daemon, "next -n 3");
    let rows: Vec<Vec<_>> = ran.out.lines().map(|line| line.split_whitespace().collect()).collect();
    let short: Vec<_> = rows[1..].iter().map(|row| (&row[0][8..10], row[3])).collect();
    assert_eq!(short, [("01", "b"), ("02", "b"), ("03", "a")], "{}", ran.out);
    let seen = daemon.seen();
    assert_eq!(seen[0].variables(), &json!({ "first": 20, "times": 3 }));
    assert_eq!(seen[1].variables()["after"], "p");
    // From the end of the pause on, however many due times lie in it.
    let before = "2999-01-01T23:59:59.999Z";
    assert_eq!(seen[2].variables(), &json!({ "ref": { "name": "a" }, "first": 3, "after": before }));

    let daemon = FakeDaemon::start(script());
    let data: Value = serde_json::from_str(&beadle(&daemon, "next --json").out).unwrap();
    assert_eq!(data["next"].as_array().map(Vec::len), Some(3));
    assert_eq!(data["next"][0]["schedule"], "b");
    let daemon = FakeDaemon::start(script());
    assert_eq!(beadle(&daemon, "next --within 1h").out.lines().count(), 1);
}

fn counts() -> Value {
    let mut counts = json!({ "isCapped": false });
    for state in [
        "held",
        "blocked",
        "scheduled",
        "queued",
        "running",
        "retrying",
        "succeeded",
        "failed",
        "cancelled",
        "expired",
        "skipped",
    ] {
        counts[state] = json!(i32::from(state == "running") * 2);
    }
    counts
}

fn queues() -> Value {
    let row = json!({
        "name": "q", "isPaused": false, "pauseReason": null, "concurrencyLimit": 2, "waitingCount": 5, "runningCount": 2,
        "oldestWaitingAt": null,
    });
    json!({ "nodes": [row] })
}

fn workers() -> Value {
    json!({ "nodes": [{ "name": "w", "status": "ONLINE", "slots": 8, "busySlots": 2 }] })
}

fn top() -> Reply {
    let job = json!({
        "id": "job_7", "task": { "name": "backup" }, "command": { "argv": ["x"], "script": null }, "queue": { "name": "q" },
        "stopRequestedAt": null, "progress": { "fraction": 0.5, "status": "copying" },
        "currentAttempt": { "number": 2, "duration": "PT1M3.25S" }, "log": { "lines": [{ "text": "line" }] },
    });
    let mut other = job.clone();
    other["id"] = json!("job_8");
    other["progress"] = Value::Null;
    other["task"] = Value::Null;
    other["currentAttempt"] = json!({ "number": 1, "duration": "PT3S" });
    let jobs = json!({ "nodes": [job, other] });
    Reply::data(&json!({ "jobs": jobs, "jobCounts": counts(), "queues": queues(), "workers": workers() }))
}

#[test]
fn top_shows_what_runs_once_without_a_terminal() {
    for words in ["top", "top --once"] {
        let daemon = FakeDaemon::start(vec![top()]);
        let ran = beadle(&daemon, words);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""));
        assert!(ran.out.contains("slots 2/8  jobs 2 running\n"), "{}", ran.out);
        let lines: Vec<_> = ran.out.lines().rev().take(3).collect();
        assert_eq!(
            lines,
            [
                "job_8    3s    q      x       line",
                "job_7    1m3s  q      backup  attempt 2  [##########----------]  50%  copying",
                "RUNNING  FOR   QUEUE  RUNS    PROGRESS",
            ]
        );
    }
}

/// What a terminal gets until no daemon answers any more.
fn drawn(words: &str, script: Vec<Reply>) -> Ran {
    let daemon = FakeDaemon::start(script);
    let environment = [("BEADLE_URL", daemon.url.as_str()), ("BEADLE_TOKEN", "secret"), ("TERM", "xterm")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let args = std::iter::once("beadle").chain(words.split(' ')).map(OsString::from);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let streams = Streams { out: &mut out, err: &mut err, is_live: false, is_drawn: true };
    let code = program(args, &environment, no_daemon(), IMPATIENT, streams);
    Ran { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

#[test]
fn a_terminal_gets_a_new_picture_in_place_of_the_old_one() {
    let ran = drawn("top", vec![top(), top()]);
    assert_eq!(ran.code, exit::UNREACHABLE);
    let pictures: Vec<_> = ran.out.split("\u{1b}[H").skip(1).collect();
    assert_eq!(pictures.len(), 2, "{:?}", ran.out);
    for picture in pictures {
        assert!(
            picture.contains("job_7")
                && picture.contains("\u{1b}[K\n")
                && picture.ends_with("\u{1b}[J\u{1b}[?7h")
        );
    }
    let glance = || {
        let daemon = json!({ "version": "1", "startedAt": "T", "storeEngine": "sqlite", "storeBytes": "1", "logBytes": "2" });
        let health = json!({ "status": "OK", "subsystems": [] });
        Reply::data(&json!({
            "daemon": daemon, "health": health, "jobCounts": counts(), "queues": queues(), "workers": workers(),
        }))
    };
    let ran = drawn("status --watch", vec![glance(), glance()]);
    assert_eq!((ran.code, ran.out.matches("\u{1b}[H").count()), (exit::UNREACHABLE, 2), "{}", ran.err);
    // A refusal ends it at once, and what was begun is not shown.
    let ran = drawn("top", vec![Reply::error(200, "FORBIDDEN")]);
    assert_eq!((ran.code, ran.out.as_str()), (exit::DENIED, ""));
    let ran = drawn("top --once", vec![top()]);
    assert!(ran.code == 0 && !ran.out.contains('\u{1b}'));
}

fn state(id: &str, state: &str, code: Option<i32>) -> Value {
    let failure = code.map(|code| json!({ "message": "m", "exitCode": code }));
    json!({ "data": { "job": { "job": { "id": id, "state": state, "failure": failure }, "cursor": "c" } } })
}

#[test]
fn a_wait_for_several_jobs_has_the_code_of_the_first_that_failed() {
    let ended = |id: &str, code: Option<i32>| {
        Reply::stream(
            vec![state(id, if code.is_some() { "FAILED" } else { "SUCCEEDED" }, code)],
            End::Complete,
        )
    };
    let daemon =
        FakeDaemon::start(vec![ended("job_1", None), ended("job_2", Some(7)), ended("job_3", Some(9))]);
    let ran = beadle(&daemon, "wait 1 2 job_3");
    assert_eq!((ran.code, ran.err.as_str()), (7, "beadle: job_2 FAILED: m\nbeadle: job_3 FAILED: m\n"));
    let ids: Vec<_> = daemon.seen().iter().map(|seen| seen.variables()["id"].clone()).collect();
    assert_eq!(ids, ["job_1", "job_2", "job_3"]);

    let running = Reply::stream(vec![state("job_2", "RUNNING", None)], End::Silence);
    let daemon = FakeDaemon::start(vec![ended("job_1", Some(7)), running]);
    let ran = beadle(&daemon, "wait 1 2 --timeout 300ms");
    assert_eq!(ran.code, exit::TIMED_OUT);
    assert!(ran.err.ends_with("beadle: job_2 is RUNNING after 300ms; it goes on\n"), "{}", ran.err);
}
