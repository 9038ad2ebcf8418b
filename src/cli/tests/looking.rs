//! The commands that look: each reads the whole answer to its document, and shows what matters.

use super::*;

/// Answers with `data`; what is printed must hold each part, in order.
fn look(words: &str, data: &Value, parts: &[&str]) {
    let daemon = FakeDaemon::start(vec![Reply::data(data)]);
    let ran = beadle(&daemon, words);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{words}");
    let mut rest = ran.out.as_str();
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("{words}: {part:?} is not in\n{}", ran.out));
        rest = &rest[at + part.len()..];
    }
    let daemon = FakeDaemon::start(vec![Reply::data(data)]);
    let ran = beadle(&daemon, &format!("{words} --json"));
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap(), *data, "{words}");
}

fn page(rows: &[Value]) -> Value {
    json!({ "nodes": rows, "pageInfo": { "hasNextPage": false, "endCursor": null } })
}

fn command() -> Value {
    let home = json!({ "name": "HOME", "value": "/root", "isSecret": false });
    let key = json!({ "name": "KEY", "value": null, "isSecret": true });
    json!({
        "argv": ["tar", "c"], "script": null, "shell": null, "workingDirectory": "/srv", "environment": [home, key],
    })
}

fn retry_policy(tries: i32) -> Value {
    json!({ "maxAttempts": tries, "initialDelay": "PT5S", "maxDelay": "PT10M", "factor": 2.0 })
}

#[test]
fn dead_letters_are_shown_page_by_page_and_what_is_left_is_counted() {
    let letter = |number: i64| {
        let event = json!({ "cursor": format!("c{number}"), "type": "JOB_STATE_CHANGED" });
        json!({ "event": event, "failure": "422", "tryCount": 1, "createdAt": "T0", "redeliverAt": null })
    };
    let page = |numbers: std::ops::Range<i64>, has_next: bool| {
        let end = numbers.end.to_string();
        let letters: Vec<Value> = numbers.map(letter).collect();
        let page = json!({ "nodes": letters, "pageInfo": { "hasNextPage": has_next, "endCursor": end } });
        let other = json!({ "name": "a", "deadLetterCount": "0", "deadLetters": { "nodes": [] } });
        let sink = json!({ "name": "pager", "deadLetterCount": "30", "deadLetters": page });
        Reply::data(&json!({ "sinks": [other, sink] }))
    };
    let daemon = FakeDaemon::start(vec![page(0..20, true), page(20..25, true)]);
    let ran = beadle(&daemon, "sink letters pager --limit 25");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(ran.out.matches("JOB_STATE_CHANGED").count(), 25, "{}", ran.out);
    assert!(
        ran.out.contains("c24") && ran.out.ends_with("... and 5 more: --limit shows them\n"),
        "{}",
        ran.out
    );
    let asked: Vec<Value> = daemon.seen().iter().map(|seen| seen.variables().clone()).collect();
    assert_eq!(asked, [json!({ "first": 20 }), json!({ "first": 5, "after": "20" })]);
    let daemon = FakeDaemon::start(vec![page(0..20, true), page(20..30, false)]);
    let ran = beadle(&daemon, "sink letters pager --json");
    let shown: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(shown["deadLetters"]["nodes"].as_array().map(Vec::len), Some(30), "{shown}");
    let daemon = FakeDaemon::start(vec![page(0..1, false)]);
    assert_eq!(beadle(&daemon, "sink letters nobody").code, 3);
}

#[test]
fn a_job_is_shown_with_its_attempts() {
    let attempt = json!({
        "id": "attempt_9", "number": 1, "outcome": "EXITED", "exitCode": 2, "signal": null, "pid": 77,
        "startedAt": "T1", "finishedAt": "T2", "duration": "PT1M30S", "logBytes": "2048", "failure": null,
        "ran": {
            "program": "/usr/bin/tar", "directory": "/srv", "environmentNames": ["PATH"], "environmentCount": 1,
            "host": "ship", "cgroup": null,
        },
    });
    let failure = json!({
        "outcome": "EXITED", "message": "exited with code 2", "exitCode": 2, "signal": null,
        "errorLine": "tar: no such file", "isRetryable": true,
    });
    let job = json!({
        "id": "job_7", "state": "FAILED", "task": { "name": "backup" }, "taskRevision": 3, "command": command(),
        "queue": { "name": "slow" }, "priority": 5, "labels": [{ "key": "a", "value": "b" }], "origin": "SCHEDULE",
        "requestedBy": "nightly", "retryPolicy": retry_policy(2), "timeout": "PT1H", "failure": failure,
        "attempts": page(&[attempt]), "retryOf": { "id": "job_6" }, "schedule": { "name": "nightly" },
        "createdAt": "T0", "runAt": "T0", "startedAt": "T1", "finishedAt": "T2", "stopRequestedAt": null,
    });
    let parts = [
        "job_7",
        "FAILED",
        "exited with code 2",
        "tar: no such file",
        "backup (revision 3)",
        "tar c",
        "/srv",
        "/usr/bin/tar in /srv on ship",
        "slow",
        "a=b",
        "nightly (SCHEDULE)",
        "job_6",
        "1h",
        "ATTEMPT",
        "EXITED",
        "1m30s",
        "2.0 KiB",
    ];
    look("job 7", &json!({ "job": job }), &parts);
}

#[test]
fn tasks_are_listed_and_shown() {
    let row = json!({
        "id": "task_1", "name": "backup", "revision": 3, "queue": { "name": "slow" }, "priority": 0,
        "command": { "argv": ["tar", "c"], "script": null }, "updatedAt": "T", "archivedAt": "T",
    });
    look(
        "task ls --all",
        &json!({ "tasks": page(&[row]) }),
        &["TASK", "backup", "3", "slow", "tar c", "ARCHIVED"],
    );
    let task = json!({
        "id": "task_1", "name": "backup", "description": "nightly", "revision": 3, "command": command(),
        "queue": { "name": "slow" }, "priority": 0, "timeout": null, "killGrace": "PT10S",
        "retryPolicy": retry_policy(3), "isRestartable": true, "schedules": [{ "name": "s" }],
        "createdAt": "T", "updatedAt": "T", "archivedAt": null,
    });
    let parts = [
        "backup",
        "nightly",
        "HOME=/root KEY=(secret)",
        "10s",
        "3, first after 5s, then x2 up to 10m",
        "yes",
    ];
    look("task show backup", &json!({ "task": task }), &parts);
}

#[test]
fn schedules_are_listed_and_shown_and_previewed() {
    let row = |timing: Value| {
        json!({
            "id": "schedule_1", "name": "s", "task": { "name": "backup" }, "timing": timing, "timeZone": "UTC",
            "isPaused": true, "pauseReason": "disk", "nextDueAt": null,
        })
    };
    let data =
        json!({ "schedules": page(&[row(json!({ "every": "PT5S" })), row(json!({ "cron": "@daily" }))]) });
    look("schedule ls", &data, &["SCHEDULE", "every 5s", "PAUSED: disk", "@daily"]);

    let mut schedule = row(json!({ "cron": "0 3 * * *" }));
    let tick = json!({
        "dueAt": "T1", "firstDueAt": "T1", "outcome": "STARTED", "count": 1, "job": { "id": "job_7", "state": "FAILED" },
    });
    let skips =
        json!({ "dueAt": "T5", "firstDueAt": "T2", "outcome": "SKIPPED_OVERLAP", "count": 4, "job": null });
    let more = json!({
        "jitter": "PT0S", "misfire": "RUN_ONCE", "misfireWindow": "P1D", "overlap": "SKIP", "pausedUntil": "T9",
        "pausedAt": "T0", "pausedBy": "admin", "parameters": { "n": 3 }, "ticks": { "nodes": [skips, tick] },
    });
    schedule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let parts = [
        "0 3 * * *",
        "RUN_ONCE within 1d",
        "SKIP",
        "{\"n\":3}",
        "PAUSED: disk",
        "admin",
        "T0",
        "T9",
        "DUE",
        "T5   SKIPPED_OVERLAP  4      T2",
        "STARTED",
        "job_7 FAILED",
    ];
    look("schedule show s", &json!({ "schedule": schedule }), &parts);

    let due = json!([{ "at": "T1", "local": "L1", "note": "clocks go back" }]);
    let parts = ["DUE", "T1", "L1", "clocks go back"];
    look("schedule preview s", &json!({ "schedule": { "upcoming": due } }), &parts);
    look("schedule preview --cron @daily", &json!({ "schedulePreview": due }), &parts);
    let words = "schedule preview --cron @daily --jitter 10m --called nightly";
    look(words, &json!({ "schedulePreview": due }), &parts);
}

#[test]
fn the_daemon_is_shown_at_a_glance() {
    let queue = json!({
        "id": "queue_1", "name": "default", "isPaused": false, "pauseReason": null, "concurrencyLimit": 4,
        "waitingCount": 12, "runningCount": 3, "oldestWaitingAt": "T",
    });
    look(
        "queue ls",
        &json!({ "queues": page(std::slice::from_ref(&queue)) }),
        &["QUEUE", "default", "OPEN", "12", "3", "4", "T"],
    );
    let states = ["held", "blocked", "scheduled", "retrying", "succeeded", "cancelled", "expired", "skipped"];
    let mut counts: serde_json::Map<_, _> =
        states.iter().map(|state| ((*state).to_owned(), json!(0))).collect();
    counts.extend([
        ("queued".to_owned(), json!(2)),
        ("running".to_owned(), json!(1)),
        ("failed".to_owned(), json!(10_000)),
        ("isCapped".to_owned(), json!(true)),
    ]);
    let part = |name: &str, status: &str| json!({ "name": name, "status": status, "message": null });
    let data = json!({
        "daemon": { "version": "0.1.0", "startedAt": "T0", "storeEngine": "sqlite", "storeBytes": "1048576", "logBytes": "0" },
        "health": { "status": "DEGRADED", "subsystems": [part("store", "OK"), part("sink", "DEGRADED")] },
        "jobCounts": counts,
        "queues": { "nodes": [queue] },
        "workers": { "nodes": [{ "name": "here", "status": "ONLINE", "slots": 4, "busySlots": 3,
                                "labels": [{ "key": "gpu", "value": "a100" }, { "key": "os", "value": "linux" }] }] },
    });
    let parts = [
        "beadle 0.1.0 at http://127.0.0.1:",
        "sqlite 1.0 MiB",
        "health DEGRADED",
        "sink DEGRADED",
        "jobs 2 queued, 1 running, 10000 failed, or more",
        "default",
        "here",
        "ONLINE",
        "3/4",
        "gpu=a100 os=linux",
    ];
    look("status", &data, &parts);
}
