//! Output through the front door: searched, capped with an honest gap, forgotten when it must make room, and in its
//! true order when both streams are one.

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, string};
use crate::support::postgres::skips_on_postgres;
use crate::support::program::shown;
use crate::support::sse::End;
use crate::support::wait::{PATIENCE, until};

const LOG: &str =
    "query ($id: ID!, $first: Int, $after: LogCursor, $last: Int, $grep: String, $streams: [LogStream!]) {
  job(id: $id) {
    log(first: $first, after: $after, last: $last, grep: $grep, streams: $streams) {
      cursor hasMore isComplete isForgotten droppedBytes lines { stream text droppedBefore }
    }
    attempts { nodes { id logBytes droppedLogBytes } }
  }
}";

fn sh(daemon: &Daemon, script: &str) -> String {
    let id = daemon.enqueue(&["/bin/sh", "-c", script]);
    assert_eq!(daemon.wait_final(&id).job["state"], "SUCCEEDED");
    id
}

fn log(daemon: &Daemon, variables: &Value) -> Value {
    daemon.graphql(LOG, variables.clone())["job"]["log"].take()
}

fn texts(batch: &Value) -> Vec<String> {
    batch["lines"].as_array().expect("a list").iter().map(|line| string(&line["text"])).collect()
}

fn number(value: &Value) -> u64 {
    value.as_str().expect("a large number is text").parse().expect("a number")
}

/// Every line of the pages.
fn pages(daemon: &Daemon, variables: &Value) -> Vec<Value> {
    let (mut after, mut all) = (Value::Null, Vec::new());
    loop {
        let mut variables = variables.clone();
        variables["after"] = after;
        let batch = log(daemon, &variables);
        all.extend(batch["lines"].as_array().expect("a list").iter().cloned());
        after = batch["cursor"].clone();
        if batch["hasMore"] != json!(true) {
            return all;
        }
    }
}

#[test]
fn lines_are_found_by_their_text() {
    let daemon = Daemon::start();
    let script =
        "seq -f 'line %g' 4000; echo 'An Error: one' >&2; seq -f 'line %g' 4001 9000; echo 'no ERROR at all'";
    let id = sh(&daemon, script);
    let found = pages(&daemon, &json!({ "id": id, "first": 1, "grep": "error" }));
    let mut found: Vec<_> = found.iter().map(|line| string(&line["text"])).collect();
    // Two pipes have no order between them.
    found.sort();
    assert_eq!(found, ["An Error: one", "no ERROR at all"]);
    let errors = pages(&daemon, &json!({ "id": id, "first": 9, "grep": "error", "streams": ["STDERR"] }));
    assert_eq!(errors.len(), 1, "{errors:?}");
    let last = log(&daemon, &json!({ "id": id, "last": 2, "grep": "LINE 400" }));
    assert_eq!(texts(&last), ["line 4008", "line 4009"]);
    assert_eq!((&last["hasMore"], &last["isComplete"]), (&json!(false), &json!(true)));

    let query = "query ($id: ID!) { node(id: $id) { ... on Attempt { log(grep: \"line 77\", first: 2) { lines { text } } } } }";
    let attempt = daemon.graphql(LOG, json!({ "id": id }))["job"]["attempts"]["nodes"][0]["id"].clone();
    let answer = daemon.graphql(query, json!({ "id": attempt }));
    assert_eq!(texts(&answer["node"]["log"]), ["line 77", "line 770"]);

    for bad in [String::new(), "x".repeat(201), "a\0b".to_owned()] {
        let answer = daemon.send(LOG, &json!({ "id": id, "grep": bad })).expect("an answer");
        assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT", "{bad:?}: {answer}");
    }
    let output = daemon.cli(&["logs", &id, "--grep", "an error"]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "An Error: one\n", "{}", shown(&output));
    let output = daemon.cli(&["logs", &id, "--grep", "LINE 900", "--tail", "2"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "line 900\nline 9000\n", "{}", shown(&output));
}

#[test]
fn lines_that_look_like_an_error_are_found_by_the_rule_of_the_error_line() {
    let daemon = Daemon::start();
    let script = "seq -f 'line %g, 0 errors' 3000; echo 'ERROR: disk is full'; seq -f 'line %g' 3001 5000; echo 'error: no' ";
    let id = sh(&daemon, script);
    let query = "query ($id: ID!, $last: Int, $before: LogCursor, $grep: String, $only: Boolean) {
        job(id: $id) {
            log(last: $last, before: $before, grep: $grep, onlyErrors: $only) { lines { cursor text } }
            attempts { nodes { log(first: 1, onlyErrors: true) { lines { text } } } }
        }
    }";
    let ask = |variables: Value| {
        let mut variables = variables;
        variables["id"] = json!(id);
        daemon.graphql(query, variables)["job"].take()
    };
    let job = ask(json!({ "only": true }));
    assert_eq!(texts(&job["log"]), ["ERROR: disk is full", "error: no"]);
    assert_eq!(texts(&job["attempts"]["nodes"][0]["log"]), ["ERROR: disk is full"]);
    let newest = ask(json!({ "last": 1, "only": true }));
    assert_eq!(texts(&newest["log"]), ["error: no"]);
    // Back from there, as a client goes on: the line of the position is not given again.
    let before = &newest["log"]["lines"][0]["cursor"];
    assert_eq!(
        texts(&ask(json!({ "last": 1, "before": before, "only": true }))["log"]),
        ["ERROR: disk is full"]
    );
    assert_eq!(texts(&ask(json!({ "last": 2, "before": before }))["log"]), ["line 4999", "line 5000"]);
    assert_eq!(texts(&ask(json!({ "last": 1, "before": before, "grep": "LINE 30" }))["log"]), ["line 3099"]);

    let stream = "subscription ($id: ID!) { jobLog(id: $id, onlyErrors: true) { lines { text } } }";
    let message = daemon.subscribe(stream, &json!({ "id": id })).next_within(PATIENCE).expect("its log");
    assert_eq!(texts(&message.result["data"]["jobLog"]), ["ERROR: disk is full", "error: no"]);

    for bad in [json!({ "id": id, "before": before }), json!({ "id": id, "last": 1, "before": "999.1" })] {
        let answer = daemon.send(query, &bad).expect("an answer");
        assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT", "{bad:?}: {answer}");
    }
}

#[test]
fn a_follower_is_given_the_lines_with_the_text_and_the_end() {
    let daemon = Daemon::start();
    let gate = daemon.directory().join("gate");
    let script = format!(
        "echo keep 1; echo other; until [ -e {0} ]; do sleep 0.05; done; echo other; echo KEEP 2; echo other",
        gate.display()
    );
    let id = daemon.enqueue(&["/bin/sh", "-c", &script]);
    let query = "subscription ($id: ID!) { jobLog(id: $id, grep: \"keep\") { lines { text } isComplete } }";
    let mut stream = daemon.subscribe(query, &json!({ "id": id }));
    let mut seen = Vec::new();
    loop {
        match stream.next_within(PATIENCE) {
            Ok(message) => seen.extend(texts(&message.result["data"]["jobLog"])),
            Err(End::Complete) => break,
            Err(end) => panic!("{end:?}"),
        }
        if seen == ["keep 1"] {
            std::fs::write(&gate, "").expect("our own directory");
        }
    }
    assert_eq!(seen, ["keep 1", "KEEP 2"]);
}

#[test]
fn a_log_over_its_cap_keeps_both_ends_and_counts_the_gap() {
    let cap = 64 * 1024;
    let daemon = Daemon::start_with(&["--log-attempt-cap", "64KiB"]);
    let id = sh(&daemon, "seq -f 'this is line number %g' 30000");
    let lines = pages(&daemon, &json!({ "id": id, "first": 1000 }));
    let answer = daemon.graphql(LOG, json!({ "id": id }));
    let attempt = &answer["job"]["attempts"]["nodes"][0];
    let kept: u64 = lines.iter().map(|line| string(&line["text"]).len() as u64 + 1).sum();
    assert!((cap / 2..=cap).contains(&kept), "{kept} bytes are kept");
    assert_eq!(number(&attempt["logBytes"]), kept + number(&attempt["droppedLogBytes"]));
    assert_eq!(lines[0]["text"], "this is line number 1");
    assert_eq!(lines.last().expect("there are lines")["text"], "this is line number 30000");
    let gaps: Vec<_> = lines.iter().filter(|line| line["droppedBefore"] != "0").collect();
    assert_eq!(gaps.len(), 1, "one gap, where it is");
    assert_eq!(gaps[0]["droppedBefore"], attempt["droppedLogBytes"]);
    let head: u64 = lines
        .iter()
        .take_while(|line| line["droppedBefore"] == "0")
        .map(|line| string(&line["text"]).len() as u64 + 1)
        .sum();
    assert!((cap / 4..=cap / 2).contains(&head), "{head} bytes of the beginning");
    let all = log(&daemon, &json!({ "id": id, "last": 1000 }));
    assert_eq!(texts(&all).last().map(String::as_str), Some("this is line number 30000"));
    let output = daemon.cli(&["logs", &id]);
    let remark = format!("beadle: {} bytes of output were not kept\n", number(&attempt["droppedLogBytes"]));
    assert_eq!(String::from_utf8_lossy(&output.stderr), remark, "{}", shown(&output));
}

#[test]
fn an_old_log_makes_room_and_says_so() {
    let mut daemon = Daemon::start_with(&["--retention-log-bytes", "1MiB"]);
    let large = sh(&daemon, "head -c 3000000 /dev/urandom | base64");
    let small = sh(&daemon, "echo small");
    daemon.terminate();
    daemon.restart();
    let forgotten = until("the large log to make room", PATIENCE, || {
        Some(daemon.graphql(LOG, json!({ "id": large })))
            .filter(|answer| answer["job"]["log"]["isForgotten"] == true)
    });
    let (batch, attempt) = (&forgotten["job"]["log"], &forgotten["job"]["attempts"]["nodes"][0]);
    assert_eq!(batch["lines"], json!([]));
    assert_eq!((&batch["hasMore"], &batch["isComplete"]), (&json!(false), &json!(true)));
    assert_eq!(batch["droppedBytes"], attempt["logBytes"], "{forgotten}");
    let last = log(&daemon, &json!({ "id": large, "last": 5 }));
    assert_eq!((&last["isForgotten"], &last["droppedBytes"]), (&json!(true), &attempt["logBytes"]));
    let kept = log(&daemon, &json!({ "id": small }));
    assert_eq!((texts(&kept), &kept["isForgotten"]), (vec!["small".to_owned()], &json!(false)));
    // Whoever follows it is told, and not left waiting.
    let query = "subscription ($id: ID!) { jobFollow(id: $id) { log { isForgotten isComplete } } }";
    let mut stream = daemon.subscribe(query, &json!({ "id": large }));
    let mut was_told = false;
    while let Ok(message) = stream.next_within(PATIENCE) {
        was_told |= message.result["data"]["jobFollow"]["log"]["isForgotten"] == true;
    }
    assert!(was_told);
    let output = daemon.cli(&["logs", &large]);
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("was forgotten to make room"),
        "{}",
        shown(&output)
    );
    let query = "{ daemon { logBytes } }";
    let bytes = number(&daemon.graphql(query, json!({}))["daemon"]["logBytes"]);
    assert!(bytes <= 1024 * 1024, "{bytes}");
    until("the file to give back its space", PATIENCE, || {
        let length = std::fs::metadata(daemon.data().join("logs.db")).expect("the file is there").len();
        (length <= 1024 * 1024 + 64 * 1024).then_some(())
    });
}

#[test]
fn output_of_a_forgotten_job_goes_though_the_daemon_died_between_the_two() {
    if skips_on_postgres("there state and logs are one database, and output goes with its day") {
        return;
    }
    let mut daemon = Daemon::start();
    let bytes =
        |daemon: &Daemon| number(&daemon.graphql("{ daemon { logBytes } }", json!({}))["daemon"]["logBytes"]);
    let large = sh(&daemon, "head -c 3000000 /dev/urandom | base64");
    let failed = daemon.enqueue(&["/bin/sh", "-c", "echo small; exit 1"]);
    assert_eq!(daemon.wait_final(&failed).job["state"], "FAILED");
    assert!(bytes(&daemon) > 3_000_000, "{}", bytes(&daemon));
    daemon.terminate();
    let died = [
        ("BEADLE_RETENTION_SUCCEEDED", "1s"),
        // The job is gone from the state, and its output is not gone from the logs yet.
        ("BEADLE_TEST_POINTS", "prune.committed:1:abort"),
    ];
    if daemon.try_start(&died).is_ok() {
        until("the daemon to die while it forgets", PATIENCE, || daemon.has_ended());
    }
    daemon.restart();
    let answer = daemon.graphql("query ($id: ID!) { job(id: $id) { state } }", json!({ "id": large }));
    assert_eq!(answer["job"], Value::Null);
    until("its output to go too", PATIENCE, || (bytes(&daemon) < 1024 * 1024).then_some(()));
    assert_eq!(texts(&log(&daemon, &json!({ "id": failed }))), ["small"], "what is known stays");
}

#[test]
fn outputs_that_are_one_come_in_their_true_order() {
    let daemon = Daemon::start();
    let script = "i=0; while [ $i -lt 1000 ]; do echo out $i; echo err $i >&2; i=$((i + 1)); done; echo at last >&2; exit 3";
    let command = json!({ "exec": { "argv": ["/bin/sh", "-c", script] } });
    let expected: Vec<(String, String)> = (0..1_000)
        .flat_map(|number| ["out", "err"].map(|word| format!("{word} {number}")))
        .chain(["at last".to_owned()])
        .map(|text| ("STDOUT".to_owned(), text))
        .collect();
    let put = "mutation ($input: TaskPutInput!) { taskPut(input: $input) { task { mergeOutput } userErrors { message } } }";
    let task = json!({ "name": "merged", "command": command, "mergeOutput": true });
    assert_eq!(daemon.graphql(put, json!({ "input": task }))["taskPut"]["task"]["mergeOutput"], true);
    for input in [
        json!({ "run": { "command": command }, "mergeOutput": true }),
        json!({ "run": { "task": { "name": "merged" } } }),
    ] {
        let id = daemon.enqueue_with(input);
        let ended = daemon.wait_final(&id);
        assert_eq!(ended.lines, expected);
        assert_eq!(ended.job["failure"]["errorLine"], "at last", "the reason stands in the one output");
        let answer = daemon.graphql("query ($id: ID!) { job(id: $id) { mergeOutput } }", json!({ "id": id }));
        assert_eq!(answer["job"]["mergeOutput"], true);
    }
    let apart = daemon.enqueue(&["/bin/sh", "-c", "echo err >&2"]);
    assert_eq!(daemon.wait_final(&apart).lines, [("STDERR".to_owned(), "err".to_owned())]);
    let output =
        daemon.cli(&["run", "--follow", "--merge-output", "--", "sh", "-c", "echo a; echo b >&2; echo c"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "a\nb\nc\n", "{}", shown(&output));
}
