//! What a schedule says and refuses, through the front door: refusals with their paths, previews with their notes,
//! pauses with their reason and end, and the policies that a caller can see at work.

use beadle::base::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, string};
use crate::support::wait::{PATIENCE, until};

const PUT: &str = "mutation ($input: SchedulePutInput!) {
  schedulePut(input: $input) {
    schedule { name parameters overlap pausedBy nextDueAt } userErrors { code path message }
  }
}";

/// Puts the task `t`, which runs these words.
fn put_task(daemon: &Daemon, argv: &[&str]) {
    let query = "mutation ($argv: [String!]!) {
      taskPut(input: {name: \"t\", command: {exec: {argv: $argv}}}) { userErrors { message } }
    }";
    let answer = daemon.graphql(query, json!({ "argv": argv }));
    assert_eq!(answer["taskPut"]["userErrors"], json!([]));
}

/// Puts a schedule of the task `t`: what became of it.
fn put(daemon: &Daemon, timing: &Value, more: &Value) -> Value {
    let mut input = json!({"name": "s", "task": {"name": "t"}, "timing": timing});
    input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    daemon.graphql(PUT, json!({ "input": input }))["schedulePut"].take()
}

fn refusal(payload: &Value) -> (String, String) {
    let path = payload["userErrors"][0]["path"].as_array().into_iter().flatten();
    let path: Vec<_> = path.map(string).collect();
    (string(&payload["userErrors"][0]["code"]), path.join("."))
}

#[test]
fn a_bad_schedule_is_refused_with_the_path_of_what_is_wrong() {
    let daemon = Daemon::start();
    put_task(&daemon, &["/bin/true"]);
    let (every, daily) = (json!({"every": "5s"}), json!({"cron": "@daily"}));
    let none = json!({});
    for (timing, more, code, path) in [
        (&json!({"every": "999ms"}), &none, "INVALID", "timing.every"),
        (&json!({"cron": "0 0 30 2 *"}), &none, "INVALID", "timing.cron"),
        (&json!({"cron": "*/5 2 * 3 SUNL"}), &json!({"timeZone": "Europe/Berlin"}), "INVALID", "timing.cron"),
        (&json!({"cron": "* * * *"}), &none, "INVALID", "timing.cron"),
        (&json!({"cron": "\u{0} * * * *"}), &none, "INVALID", "timing.cron"),
        (&daily, &json!({"timeZone": "Mars/Olympus"}), "INVALID", "timeZone"),
        (&every, &json!({"jitter": "6s"}), "INVALID", "jitter"),
        (&daily, &json!({"jitter": "25h"}), "INVALID", "jitter"),
        (&every, &json!({"parameters": ["a"]}), "INVALID", "parameters"),
        (&every, &json!({"parameters": {"a": "\u{0}"}}), "INVALID", "parameters.a"),
        (&every, &json!({"parameters": {"a": "x".repeat(64 * 1024)}}), "INVALID", "parameters"),
        (&every, &json!({"task": {"name": "other"}}), "NOT_FOUND", "task"),
        (&every, &json!({"name": "no name"}), "INVALID", "name"),
    ] {
        let payload = put(&daemon, timing, more);
        assert_eq!(refusal(&payload), (code.to_owned(), path.to_owned()), "{payload}");
    }
    let answer = daemon.graphql("{ schedules { nodes { name } } }", json!({}));
    assert_eq!(answer["schedules"]["nodes"], json!([]), "nothing was made");
}

/// The due times of a preview, or why it was refused.
fn preview(daemon: &Daemon, arguments: &str) -> Result<Vec<Value>, String> {
    let query = format!("{{ schedulePreview({arguments}) {{ at local note }} }}");
    let mut answer = daemon.send(&query, &json!({})).expect("an answer");
    if let Value::Array(due) = answer["data"]["schedulePreview"].take() {
        return Ok(due);
    }
    let error = &answer["errors"][0];
    let path = error["extensions"]["inputPath"].as_array().expect("it says which argument").clone();
    let path: Vec<_> = path.iter().map(string).collect();
    let message = string(&error["message"]);
    assert!(message.starts_with(&format!("{}: ", path.join("."))), "{path:?}: {message}");
    Err(message)
}

/// Two hundred Sundays see both changes of clocks in each zone, whatever day it is.
#[test]
fn a_preview_says_what_a_change_of_clocks_does_in_three_zones() {
    let daemon = Daemon::start();
    for (zone, fixed, gap, fold) in [
        (
            "Europe/Berlin",
            "30 2 * * SUN",
            "02:30 does not exist on this day (clocks go forward); runs at 03:00",
            "02:30 happens twice on this day; runs at the first",
        ),
        (
            "America/New_York",
            "30 1,2 * * SUN",
            "02:30 does not exist on this day (clocks go forward); runs at 03:00",
            "01:30 happens twice on this day; runs at the first",
        ),
        (
            "Australia/Lord_Howe",
            "15,45 1,2 * * SUN",
            "02:15 does not exist on this day (clocks go forward); runs at 02:30",
            "01:45 happens twice on this day; runs at the first",
        ),
    ] {
        let timing = format!("timing: {{cron: {fixed:?}}}, timeZone: {zone:?}, first: 200");
        let due = preview(&daemon, &timing).expect("it fires");
        assert_eq!(due.len(), 200);
        for note in [gap, fold] {
            assert!(due.iter().any(|due| due["note"] == note), "{zone}: {note:?} is not in {due:#?}");
        }
        assert!(due.iter().all(|due| string(&due["local"]).ends_with(&format!("[{zone}]"))));
        // In elapsed time the repeated hour runs twice, and the skipped one not at all.
        let timing = format!("timing: {{cron: \"*/30 1-2 * * SUN\"}}, timeZone: {zone:?}, first: 200");
        let notes: Vec<_> =
            preview(&daemon, &timing).expect("it fires").iter().map(|due| string(&due["note"])).collect();
        for part in ["runs twice; this is the first", "runs twice; this is the second"] {
            assert!(notes.iter().any(|note| note.contains(part)), "{zone}: {part:?} is not in {notes:#?}");
        }
        assert!(!notes.iter().any(|note| note.contains("does not exist")), "{zone}: {notes:#?}");
    }
}

#[test]
fn a_preview_is_true_and_refuses_what_a_put_refuses() {
    let daemon = Daemon::start();
    put_task(&daemon, &["/bin/true"]);
    let hourly = json!({"every": "1h"});
    put(&daemon, &hourly, &json!({"jitter": "10m"}));
    let upcoming =
        daemon.graphql("{ schedule(ref: {name: \"s\"}) { nextDueAt upcoming(first: 3) { at } } }", json!({}));
    let previewed =
        preview(&daemon, r#"timing: {every: "1h"}, jitter: "10m", name: "s", first: 3"#).expect("it fires");
    let at = |due: &Value| due["at"].clone();
    let shown: Vec<_> = upcoming["schedule"]["upcoming"].as_array().expect("a list").iter().map(at).collect();
    assert_eq!(shown, previewed.iter().map(at).collect::<Vec<_>>());
    assert_eq!(shown[0], upcoming["schedule"]["nextDueAt"]);
    for (arguments, part) in [
        (r#"timing: {cron: "0 0 30 2 *"}"#, "timing.cron"),
        (r#"timing: {cron: "*/5 2 * 3 SUNL"}, timeZone: "Europe/Berlin""#, "timing.cron: never fires"),
        (r#"timing: {cron: "@daily"}, timeZone: "Mars/Olympus""#, "timeZone"),
        (r#"timing: {every: "1s"}, jitter: "2s", name: "s""#, "jitter"),
        (r#"timing: {every: "1h"}, jitter: "2s""#, "name: "),
        (r#"timing: {every: "1h"}, first: 201"#, "first"),
        (r#"timing: {every: "1h"}, first: 0"#, "first"),
    ] {
        let refused = preview(&daemon, arguments).expect_err(arguments);
        assert!(refused.contains(part), "{arguments}: {refused}");
    }
}

#[test]
fn a_pause_has_a_reason_and_an_end_and_says_who() {
    let daemon = Daemon::start();
    put_task(&daemon, &["/bin/true"]);
    put(&daemon, &json!({"every": "1h"}), &json!({}));
    let pause = |until: i64| {
        let end = SystemClock.now().plus_millis(until).to_string();
        let query = "mutation ($until: DateTime) {
          schedulePause(input: {ref: {name: \"s\"}, reason: \"disk\", until: $until}) {
            schedule { isPaused pausedBy pauseReason pausedUntil } userErrors { code path }
          }
        }";
        (daemon.graphql(query, json!({ "until": end }))["schedulePause"].take(), end)
    };
    let (past, _) = pause(-1_000);
    assert_eq!(refusal(&past), ("INVALID".to_owned(), "until".to_owned()));
    let (payload, end) = pause(3_600_000);
    let expected = json!({"isPaused": true, "pausedBy": "admin", "pauseReason": "disk", "pausedUntil": end});
    assert_eq!(payload["schedule"], expected);
    let shown = daemon.cli(&["schedule", "show", "s"]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    for part in ["PAUSED: disk", "admin", &end] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    // A short one ends by itself, and leaves nothing behind.
    pause(1_000);
    let query = "{ schedule(ref: {name: \"s\"}) { isPaused pausedBy pauseReason pausedAt pausedUntil } }";
    let free = json!({"isPaused": false, "pausedBy": null, "pauseReason": null, "pausedAt": null, "pausedUntil": null});
    until("the pause to end", PATIENCE, || {
        (daemon.graphql(query, json!({}))["schedule"] == free).then_some(())
    });
}

#[test]
fn the_command_line_puts_policies_and_parameters() {
    let daemon = Daemon::start();
    put_task(&daemon, &["/bin/true"]);
    let words = "schedule put s --task t --cron @daily --overlap queue-one --param n=3 --param who=me";
    let ran = daemon.cli(&words.split(' ').collect::<Vec<_>>());
    assert!(ran.status.success(), "{ran:?}");
    let query = "{ schedule(ref: {name: \"s\"}) { overlap parameters } }";
    let shown = json!({"overlap": "QUEUE_ONE", "parameters": {"n": 3, "who": "me"}});
    assert_eq!(daemon.graphql(query, json!({}))["schedule"], shown);
    let show = daemon.cli(&["schedule", "show", "s"]);
    assert!(String::from_utf8_lossy(&show.stdout).contains(r#"{"n":3,"who":"me"}"#), "{show:?}");
    let words =
        ["schedule", "preview", "--cron", "30 2 * * SUN", "--time-zone", "Europe/Berlin", "--limit", "200"];
    let previewed = daemon.cli(&words);
    assert!(
        String::from_utf8_lossy(&previewed.stdout).contains("does not exist on this day"),
        "{previewed:?}"
    );
}

const LEDGER: &str = "{ schedule(ref: {name: \"s\"}) { ticks(first: 200) {
  nodes { dueAt firstDueAt outcome count job { id state stopRequestedAt } }
} } }";

/// The ledger, oldest first.
fn ledger(daemon: &Daemon) -> Vec<Value> {
    let answer = daemon.graphql(LEDGER, json!({}));
    answer["schedule"]["ticks"]["nodes"].as_array().expect("a list").iter().rev().cloned().collect()
}

#[test]
fn a_job_that_outlasts_its_interval_leaves_one_row_of_skips() {
    let daemon = Daemon::start();
    put_task(&daemon, &["/bin/sleep", "600"]);
    put(&daemon, &json!({"every": "1s"}), &json!({"overlap": "SKIP"}));
    let rows = until("three skips", PATIENCE, || {
        let rows = ledger(&daemon);
        rows.last()
            .is_some_and(|row| row["count"].as_i64() >= Some(3) && row["job"].is_null())
            .then_some(rows)
    });
    assert_eq!(rows.len(), 2, "{rows:#?}");
    assert_eq!(rows[1]["outcome"], "SKIPPED_OVERLAP");
    assert!(string(&rows[1]["firstDueAt"]) < string(&rows[1]["dueAt"]), "{rows:#?}");
    let shown = daemon.cli(&["schedule", "show", "s"]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(text.contains("SKIPPED_OVERLAP") && text.contains(&string(&rows[1]["firstDueAt"])), "{text}");
}

#[test]
fn cancel_running_stops_the_last_job_for_the_next() {
    let daemon = Daemon::start();
    put_task(&daemon, &["/bin/sleep", "600"]);
    put(&daemon, &json!({"every": "2s"}), &json!({"overlap": "CANCEL_RUNNING"}));
    until("two jobs to be cancelled for the next ones", PATIENCE, || {
        let rows = ledger(&daemon);
        let cancelled = rows.iter().filter(|row| row["job"]["state"] == "CANCELLED");
        let made = rows.iter().all(|row| !row["job"].is_null());
        assert!(made, "no due time is skipped: {rows:#?}");
        (cancelled.count() >= 2 && rows.last()?["job"]["state"] == "RUNNING").then_some(())
    });
    let trigger =
        "mutation { scheduleTrigger(input: {ref: {name: \"s\"}}) { job { id } userErrors { code } } }";
    let answer = daemon.graphql(trigger, json!({}));
    assert!(!answer["scheduleTrigger"]["job"]["id"].is_null(), "a run by hand takes the place too: {answer}");
}

#[test]
fn parameters_that_do_not_fit_the_task_are_refused_when_the_schedule_is_put() {
    let daemon = Daemon::start();
    let schema = json!({"type": "object", "properties": {"size": {"type": "integer"}}, "required": ["size"]});
    let query = "mutation ($schema: JSON!) { taskPut(input: {
      name: \"t\", command: {exec: {argv: [\"/bin/echo\", \"{{size}}\"]}}, parametersSchema: $schema
    }) { userErrors { message } } }";
    let answer = daemon.graphql(query, json!({ "schema": schema }));
    assert_eq!(answer["taskPut"]["userErrors"], json!([]), "{answer}");
    let every = json!({"every": "1h"});
    let refused = put(&daemon, &every, &json!({"parameters": {"size": "x"}}));
    assert_eq!(refusal(&refused), ("INVALID".to_owned(), "parameters.size".to_owned()), "{refused}");
    let missing = put(&daemon, &every, &json!({}));
    assert_eq!(refusal(&missing).0, "INVALID", "{missing}");
    let put = put(&daemon, &every, &json!({"parameters": {"size": 3}}));
    assert_eq!(put["schedule"]["parameters"], json!({"size": 3}), "{put}");
    let trigger = "mutation { scheduleTrigger(input: {ref: {name: \"s\"}}) { job { id } } }";
    let id = string(&daemon.graphql(trigger, json!({}))["scheduleTrigger"]["job"]["id"]);
    assert_eq!(daemon.wait_final(&id).lines, [("STDOUT".to_owned(), "3".to_owned())]);
}
