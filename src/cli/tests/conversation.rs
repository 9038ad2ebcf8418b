//! One command, one request: what is sent, what is printed, which code.

use super::*;
use crate::client::fake::coded;

/// The input of the only mutation.
fn input(daemon: &FakeDaemon) -> Value {
    daemon.seen()[0].variables()["input"].clone()
}

#[test]
fn run_sends_what_was_said_and_prints_the_id() {
    let daemon = FakeDaemon::start(vec![enqueued("job_7")]);
    let ran = beadle(
        &daemon,
        "run --key k --in 5m --queue slow --priority -3 --timeout 1h --retries 2 --label a=b --env X=1=2 --dir /srv -- sh -c x",
    );
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "job_7\n", ""));
    assert_eq!(
        input(&daemon),
        json!({
            "run": { "command": { "exec": {
                "argv": ["sh", "-c", "x"],
                "workingDirectory": "/srv",
                "environment": [{ "name": "X", "value": "1=2" }],
            } } },
            "queue": "slow",
            "priority": -3,
            "delay": "5m",
            "timeout": "1h",
            "retryPolicy": { "maxAttempts": 3 },
            "labels": [{ "key": "a", "value": "b" }],
            "idempotencyKey": "k",
        })
    );
    let daemon = FakeDaemon::start(vec![enqueued("job_8")]);
    beadle(&daemon, "run deploy --at 2030-01-01T00:00:00Z");
    let input = input(&daemon);
    assert_eq!(input["run"], json!({ "task": { "name": "deploy" } }));
    assert_eq!(input["runAt"], "2030-01-01T00:00:00Z");
    assert_eq!(input["idempotencyKey"].as_str().unwrap().len(), 32);
}

#[test]
fn an_unanswered_run_is_asked_again_with_the_same_key() {
    let daemon =
        FakeDaemon::start(vec![Reply::hangup(), Reply::error(503, "UNAVAILABLE"), enqueued("job_7")]);
    let ran = beadle(&daemon, "run deploy");
    assert_eq!((ran.code, ran.out.as_str()), (0, "job_7\n"));
    let keys: Vec<_> =
        daemon.seen().iter().map(|seen| seen.variables()["input"]["idempotencyKey"].clone()).collect();
    assert_eq!(keys.len(), 3);
    assert!(keys.iter().all(|key| *key == keys[0] && key.is_string()));
}

#[test]
fn a_daemon_that_is_not_there_is_told_with_its_address() {
    let daemon = FakeDaemon::start(vec![]);
    for words in ["run deploy", "jobs", "events --follow", "queue pause q"] {
        let ran = impatiently(&daemon, words);
        assert_eq!((ran.code, ran.out.as_str()), (exit::UNREACHABLE, ""), "{words}");
        assert!(ran.err.contains(&daemon.url), "{}", ran.err);
    }
}

#[test]
fn a_refusal_is_told_with_its_field_and_also_as_data() {
    for (code, expected) in
        [("INVALID", exit::REFUSED), ("QUEUE_FULL", exit::REFUSED), ("NOT_FOUND", exit::NOT_FOUND)]
    {
        let daemon = FakeDaemon::start(vec![refused("jobEnqueue", code)]);
        let ran = beadle(&daemon, "run deploy --json");
        assert_eq!(ran.code, expected);
        assert_eq!(ran.err, format!("beadle: {code}: no (at run.task)\n"));
        let data: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(data["jobEnqueue"]["userErrors"][0]["code"], code);
    }
}

#[test]
fn what_does_not_exist_gives_3() {
    for (words, data) in [
        ("job 7", json!({ "job": null })),
        ("logs 7", json!({ "job": null })),
        ("task show x", json!({ "task": null })),
        ("schedule show x", json!({ "schedule": null })),
        ("schedule preview x", json!({ "schedule": null })),
    ] {
        let daemon = FakeDaemon::start(vec![Reply::data(&data)]);
        let ran = beadle(&daemon, words);
        assert_eq!((ran.code, ran.out.as_str()), (exit::NOT_FOUND, ""), "{words}");
        assert!(ran.err.starts_with("beadle: there is no "), "{}", ran.err);
    }
}

fn job_row(id: &str, state: &str, failure: &Value) -> Value {
    json!({
        "id": id, "state": state, "task": null, "command": { "argv": ["echo", "a b"], "script": null },
        "queue": { "name": "default" }, "priority": 0, "createdAt": "T1", "runAt": "T2", "finishedAt": null,
        "failure": failure,
    })
}

fn jobs_page(rows: &[Value], end: Option<&str>) -> Reply {
    let page = json!({ "hasNextPage": end.is_some(), "endCursor": end });
    Reply::data(&json!({ "jobs": { "nodes": rows, "pageInfo": page } }))
}

#[test]
fn jobs_are_listed_over_pages() {
    let first = job_row("job_12", "FAILED", &json!({ "message": "exited with code 1" }));
    let script = || {
        vec![
            jobs_page(std::slice::from_ref(&first), Some("p1")),
            jobs_page(&[job_row("job_3", "SCHEDULED", &Value::Null)], Some("p2")),
        ]
    };
    let daemon = FakeDaemon::start(script());
    let ran =
        beadle(&daemon, "jobs --limit 2 --state failed --state SCHEDULED --task a --queue q --label k=v");
    let lines: Vec<_> = ran.out.lines().collect();
    assert_eq!(
        lines,
        [
            "ID      STATE      QUEUE    CREATED  RUNS        NOTE",
            "job_12  FAILED     default  T1       echo 'a b'  exited with code 1",
            "job_3   SCHEDULED  default  T1       echo 'a b'  at T2",
        ]
    );
    let filter = json!({
        "states": ["FAILED", "SCHEDULED"], "tasks": ["a"], "queues": ["q"], "labels": [{ "key": "k", "value": "v" }],
    });
    let seen = daemon.seen();
    assert_eq!(seen[0].variables(), &json!({ "first": 2, "filter": filter }));
    assert_eq!(seen[1].variables(), &json!({ "first": 1, "after": "p1", "filter": filter }));

    let daemon = FakeDaemon::start(script());
    let data: Value = serde_json::from_str(&beadle(&daemon, "jobs --limit 2 --json").out).unwrap();
    let ids: Vec<_> = data["jobs"]["nodes"].as_array().unwrap().iter().map(|job| &job["id"]).collect();
    assert_eq!(ids, ["job_12", "job_3"]);
}

fn batch(lines: &[&str], cursor: &str, has_more: bool) -> Value {
    let lines: Vec<_> = lines
        .iter()
        .map(|text| json!({ "at": "t", "stream": "STDOUT", "text": text, "isTruncated": false }))
        .collect();
    json!({
        "attempt": 1, "lines": lines, "cursor": cursor, "hasMore": has_more, "isComplete": false, "droppedBytes": "0",
    })
}

/// The answer that tells the attempts by their numbers.
fn attempts(numbers: &[i32], end: Option<&str>) -> Reply {
    let nodes: Vec<_> = numbers
        .iter()
        .map(|number| json!({ "id": format!("attempt_{number}0"), "number": number }))
        .collect();
    let page = json!({ "hasNextPage": end.is_some(), "endCursor": end });
    Reply::data(&json!({ "job": { "attempts": { "nodes": nodes, "pageInfo": page } } }))
}

#[test]
fn a_log_is_read_over_pages_of_one_attempt() {
    let script = || {
        vec![
            Reply::data(&json!({ "job": { "log": batch(&["a", "b"], "l1", true) } })),
            attempts(&[1, 2], None),
            Reply::data(&json!({ "node": { "log": batch(&["c"], "l2", true) } })),
            Reply::data(&json!({ "node": { "log": batch(&["d"], "l3", false) } })),
        ]
    };
    let daemon = FakeDaemon::start(script());
    let ran = beadle(&daemon, "logs 7 --stream stdout");
    assert_eq!((ran.code, ran.out.as_str()), (0, "a\nb\nc\nd\n"));
    let asked = |at: usize| daemon.seen()[at].variables().clone();
    let page = |id: &str, after| json!({ "id": id, "first": 500, "after": after, "streams": ["STDOUT"] });
    assert_eq!((asked(2), asked(3)), (page("attempt_10", "l1"), page("attempt_10", "l2")));

    let daemon = FakeDaemon::start(script());
    let data: Value = serde_json::from_str(&beadle(&daemon, "logs 7 --json").out).unwrap();
    assert_eq!(data["job"]["log"]["lines"].as_array().unwrap().len(), 4);
    assert_eq!((&data["job"]["log"]["cursor"], &data["node"]), (&json!("l3"), &Value::Null));
}

#[test]
fn a_log_is_followed_from_where_the_current_attempt_begins() {
    let daemon = FakeDaemon::start(vec![
        Reply::data(&json!({ "job": { "log": batch(&["b"], "l2", false) } })),
        Reply::stream(vec![json!({ "data": { "jobLog": batch(&["c"], "l3", false) } })], End::Complete),
    ]);
    let ran = beadle(&daemon, "logs 7 --follow");
    assert_eq!((ran.code, ran.out.as_str()), (0, "b\nc\n"));
    assert_eq!(daemon.seen()[0].variables(), &json!({ "id": "job_7", "first": 500 }));
    assert_eq!(daemon.seen()[1].variables(), &json!({ "id": "job_7", "after": "l2" }));

    // One that has not begun yet is waited for.
    let one = json!({ "data": { "jobLog": batch(&["x"], "l1", false) } });
    let daemon = FakeDaemon::start(vec![Reply::stream(vec![one], End::Complete)]);
    assert_eq!(beadle(&daemon, "logs 7 --attempt 2 --follow").out, "x\n");
    assert_eq!(daemon.seen()[0].variables(), &json!({ "id": "job_7", "attempt": 2 }));
}

#[test]
fn the_end_of_a_log_is_followed_over_a_cut() {
    let tail = Reply::data(&json!({ "job": { "log": batch(&["b"], "l2", false) } }));
    let more = |lines: &[&str], cursor| json!({ "data": { "jobLog": batch(lines, cursor, false) } });
    let daemon = FakeDaemon::start(vec![
        tail,
        Reply::stream(vec![more(&["c"], "l3")], End::Cut),
        Reply::stream(vec![more(&["d"], "l4")], End::Complete),
    ]);
    let ran = beadle(&daemon, "logs 7 --tail 1 --follow");
    assert_eq!((ran.code, ran.out.as_str()), (0, "b\nc\nd\n"));
    let seen = daemon.seen();
    assert_eq!(seen[0].variables(), &json!({ "id": "job_7", "last": 1 }));
    assert_eq!(seen[1].variables(), &json!({ "id": "job_7", "after": "l2" }));
    assert_eq!(seen[2].variables(), &json!({ "id": "job_7", "after": "l3" }));
}

#[test]
fn the_log_of_one_attempt_is_found_by_its_number() {
    let log = Reply::data(&json!({ "node": { "log": batch(&["x"], "l1", false) } }));
    let daemon = FakeDaemon::start(vec![attempts(&[1], Some("p")), attempts(&[2], None), log]);
    assert_eq!(beadle(&daemon, "logs 7 --attempt 2").out, "x\n");
    assert_eq!(daemon.seen()[2].variables()["id"], "attempt_20");

    let daemon = FakeDaemon::start(vec![attempts(&[1], None)]);
    let ran = beadle(&daemon, "logs 7 --attempt 2");
    assert_eq!((ran.code, ran.err.as_str()), (3, "beadle: there is no attempt 2 of job_7\n"));
}

fn events(cursors: &[&str], end: &str, has_more: bool) -> Value {
    let rows: Vec<_> = cursors
        .iter()
        .map(|cursor| {
            json!({
                "cursor": cursor, "type": "JOB_CREATED", "at": "T", "actor": "ci", "jobId": "job_7", "taskName": null,
                "data": {},
            })
        })
        .collect();
    json!({ "events": { "events": rows, "cursor": end, "hasMorePastEvents": has_more } })
}

#[test]
fn events_are_read_over_pages_and_over_empty_ones() {
    let script = || {
        [events(&["1"], "1", true), events(&[], "5", true), events(&["7"], "9", false)]
            .iter()
            .map(Reply::data)
            .collect()
    };
    let daemon = FakeDaemon::start(script());
    let ran = beadle(&daemon, "events --job 7 --type job-created");
    assert_eq!(ran.out.lines().count(), 2, "{}", ran.out);
    assert_eq!(daemon.seen()[2].variables()["after"], "5");
    assert_eq!(
        daemon.seen()[0].variables()["filter"],
        json!({ "types": ["JOB_CREATED"], "jobIds": ["job_7"] })
    );

    let daemon = FakeDaemon::start(script());
    let data: Value = serde_json::from_str(&beadle(&daemon, "events --json").out).unwrap();
    assert_eq!(data["events"]["events"].as_array().unwrap().len(), 2);
}

#[test]
fn followed_events_begin_at_a_cursor_and_go_on_over_a_cut() {
    let payload = |data: Value| json!({ "data": data });
    let daemon = FakeDaemon::start(vec![
        Reply::data(&json!({ "eventCursor": "10" })),
        Reply::hangup(),
        Reply::stream(vec![payload(events(&["11"], "11", false))], End::Cut),
        Reply::stream(vec![payload(events(&["12"], "12", false))], End::Complete),
        // Only an error ends it from inside; a cursor must not be dropped here, or events would be.
        Reply::stream(vec![coded("CURSOR_EXPIRED")], End::Complete),
    ]);
    let ran = beadle(&daemon, "events --follow --json");
    assert_eq!(ran.code, exit::REFUSED);
    assert!(ran.err.contains("CURSOR_EXPIRED"), "{}", ran.err);
    assert_eq!(ran.out.lines().count(), 2, "{}", ran.out);
    let cursors: Vec<_> = daemon.seen()[1..].iter().map(|seen| seen.variables()["after"].clone()).collect();
    assert_eq!(cursors, ["10", "10", "11", "12"]);
}

/// A mutation sends what was said and prints one line.
fn say(words: &str, reply: Reply, expected_input: &Value, expected_line: &str) {
    let daemon = FakeDaemon::start(vec![reply]);
    let ran = beadle(&daemon, words);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, expected_line, ""), "{words}");
    assert_eq!(input(&daemon), *expected_input, "{words}");
}

fn a_job(field: &str, state: &str) -> Reply {
    done(field, json!({ "job": { "id": "job_9", "state": state } }))
}

#[test]
fn a_task_is_put_as_it_was_said() {
    let reply = || done("taskPut", json!({ "task": { "id": "task_1", "name": "backup", "revision": 3 } }));
    let words = "task put backup --dir /srv --inherit-env HOME --no-restart --expect-revision 2 -- tar c";
    let exec = json!({ "argv": ["tar", "c"], "workingDirectory": "/srv", "inheritEnvironment": ["HOME"] });
    let expected = json!({
        "name": "backup", "expectedRevision": 2, "isRestartable": false, "command": { "exec": exec },
    });
    say(words, reply(), &expected, "backup revision 3\n");
    let gone = done("taskArchive", json!({ "task": { "name": "backup", "revision": 3 } }));
    say("task rm backup", gone, &json!({ "ref": { "name": "backup" } }), "backup archived at revision 3\n");
}

#[test]
fn schedules_are_changed_as_it_was_said() {
    let put = |timing: &Value, more: &Value| {
        let mut input = json!({ "name": "s", "task": { "name": "backup" }, "timing": timing });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    let reply = |field: &str| {
        done(
            field,
            json!({ "schedule": { "name": "s", "isPaused": field == "schedulePause", "nextDueAt": "T" } }),
        )
    };
    let by_name = json!({ "ref": { "name": "s" } });
    say(
        "schedule put s --task backup --every 5s --misfire run-all --overlap allow --jitter 1s",
        reply("schedulePut"),
        &put(&json!({ "every": "5s" }), &json!({ "jitter": "1s", "misfire": "RUN_ALL", "overlap": "ALLOW" })),
        "s next T\n",
    );
    say(
        "schedule put s --task backup --cron @daily --time-zone Europe/Berlin --paused",
        reply("schedulePut"),
        &put(&json!({ "cron": "@daily" }), &json!({ "timeZone": "Europe/Berlin", "isPaused": true })),
        "s next T\n",
    );
    for (word, policy) in
        [("queue-one", "QUEUE_ONE"), ("queue-all", "QUEUE_ALL"), ("cancel-running", "CANCEL_RUNNING")]
    {
        say(
            &format!("schedule put s --task backup --every 5s --overlap {word} --param n=3 --param who=me"),
            reply("schedulePut"),
            &put(
                &json!({ "every": "5s" }),
                &json!({ "overlap": policy, "parameters": { "n": 3, "who": "me" } }),
            ),
            "s next T\n",
        );
    }
    say(
        "schedule pause s --reason disk --until 2099-01-01T00:00:00Z",
        reply("schedulePause"),
        &json!({ "ref": { "name": "s" }, "reason": "disk", "until": "2099-01-01T00:00:00Z" }),
        "s PAUSED\n",
    );
    say("schedule pause s", reply("schedulePause"), &by_name, "s PAUSED\n");
    say("schedule resume s", reply("scheduleResume"), &by_name, "s next T\n");
    let gone = done("scheduleDelete", json!({ "deletedId": "schedule_1" }));
    say("schedule rm s", gone, &by_name, "schedule_1 removed\n");
    say(
        "schedule trigger s --ignore-overlap --key k",
        a_job("scheduleTrigger", "QUEUED"),
        &json!({ "ref": { "name": "s" }, "ignoreOverlap": true, "idempotencyKey": "k" }),
        "job_9\n",
    );
}

#[test]
fn queues_are_changed_as_it_was_said() {
    let reply = |field: &str, reason: &Value, limit: &Value| {
        let is_paused = field == "queuePause";
        let row =
            json!({ "name": "q", "isPaused": is_paused, "pauseReason": reason, "concurrencyLimit": limit });
        done(field, json!({ "queue": row }))
    };
    let null = Value::Null;
    say(
        "queue pause q --reason disk",
        reply("queuePause", &json!("disk"), &null),
        &json!({ "name": "q", "reason": "disk" }),
        "q PAUSED: disk, no limit\n",
    );
    say("queue resume q", reply("queueResume", &null, &null), &json!({ "name": "q" }), "q OPEN, no limit\n");
}

#[test]
fn jobs_are_cancelled_and_repeated_as_it_was_said() {
    let cancel = json!({ "id": "job_9", "reason": "late" });
    say("cancel 9 --reason late", a_job("jobCancel", "RUNNING"), &cancel, "job_9 is asked to stop\n");
    say("cancel job_9", a_job("jobCancel", "CANCELLED"), &json!({ "id": "job_9" }), "job_9 CANCELLED\n");
    let retry = json!({ "id": "job_8", "idempotencyKey": "k" });
    say("retry 8 --key k", a_job("jobRetry", "QUEUED"), &retry, "job_9\n");
}

#[test]
fn a_script_is_read_from_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("backup.sh");
    std::fs::write(&file, "set -e\ntar c\n").unwrap();
    let reply = done("taskPut", json!({ "task": { "name": "backup", "revision": 1 } }));
    let daemon = FakeDaemon::start(vec![reply]);
    beadle(&daemon, &format!("task put backup --shell /bin/bash --script {}", file.display()));
    assert_eq!(
        input(&daemon)["command"],
        json!({ "script": { "text": "set -e\ntar c\n", "shell": "/bin/bash" } })
    );
    let daemon = FakeDaemon::start(vec![]);
    assert_eq!(beadle(&daemon, "task put backup --script /var/empty/none").code, exit::USAGE);
}

#[test]
fn health_is_down_when_a_part_is() {
    for (status, expected) in [("OK", 0), ("DEGRADED", 0), ("DOWN", 1)] {
        let part = json!({ "name": "store", "status": status, "since": "T", "message": "disk full", "restartCount": 2 });
        let daemon = FakeDaemon::start(vec![Reply::data(
            &json!({ "health": { "status": status, "subsystems": [part] } }),
        )]);
        let ran = beadle(&daemon, "health");
        assert_eq!(ran.code, expected);
        assert!(ran.out.contains("disk full"), "{}", ran.out);
    }
}
