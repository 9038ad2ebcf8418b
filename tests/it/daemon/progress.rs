//! What a running job says of itself reaches those who watch sooner than the store, and not too often; when it will be
//! done is told also where it says nothing; and what it was given as a secret shows nowhere.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, string};
use crate::support::sse::End;
use crate::support::wait::{PATIENCE, now, until};

fn told(daemon: &Daemon, id: &str) -> usize {
    let query = "query ($filter: EventFilter) { events(filter: $filter, first: 200) { events { data } } }";
    let answer = daemon.graphql(query, json!({ "filter": { "jobIds": [id], "types": ["JOB_PROGRESS"] } }));
    answer["events"]["events"].as_array().expect("a list").len()
}

/// Reports about twenty times a second, and writes as often.
const EAGER: &str = r#"i=0; while [ $i -lt 60 ]; do i=$((i + 1))
    echo "{\"progress\": {\"done\": $i, \"total\": 60}}" > "$BEADLE_REPORT"; echo line $i; sleep 0.05; done"#;

#[test]
fn progress_is_pushed_sooner_than_it_is_stored_and_four_times_a_second_at_most() {
    let daemon = Daemon::start();
    for query in [
        "subscription ($id: ID!) { job(id: $id) { job { state progress { done } } } }",
        "subscription ($id: ID!) { jobFollow(id: $id) { job { state progress { done } } log { lines { text } } } }",
    ] {
        let field = if query.contains("jobFollow") { "jobFollow" } else { "job" };
        let id = daemon.enqueue(&["/bin/sh", "-c", EAGER]);
        let mut stream = daemon.subscribe(query, &json!({ "id": id }));
        let (mut pushed, mut began, mut last) = (Vec::<u64>::new(), None, now());
        let mut state = String::new();
        loop {
            let message = match stream.next_within(PATIENCE) {
                Ok(message) => message.result,
                Err(End::Complete) => break,
                Err(end) => panic!("{end:?}"),
            };
            let job = &message["data"][field]["job"];
            state = string(&job["state"]);
            let Some(done) = job["progress"]["done"].as_str() else { continue };
            let done = done.parse().expect("a number");
            if state == "RUNNING" && pushed.last() != Some(&done) {
                began = began.or(Some(now()));
                last = now();
                pushed.push(done);
            }
        }
        let took = last - began.expect("progress was pushed");
        assert_eq!(state, "SUCCEEDED");
        assert!(pushed.is_sorted(), "it never goes back: {pushed:?}");
        // One at the beginning; the clocks of both sides differ by what a message takes.
        let most = took.as_millis() / 250 + 2;
        assert!(pushed.len() as u128 <= most, "{field}: {} pushes in {took:?}: {pushed:?}", pushed.len());
        let stored = told(&daemon, &id);
        assert!(pushed.len() > stored, "{field}: {} pushes, stored {stored} times", pushed.len());
        assert!(stored as u64 <= took.as_secs() + 3, "stored {stored} times in {took:?}");
    }
}

#[test]
fn a_job_that_says_nothing_is_expected_to_take_as_long_as_usual() {
    let daemon = Daemon::start();
    let gate = daemon.directory().join("gate");
    let script =
        format!("[ -e {0} ] || exec sleep 4; until [ -e {0}.open ]; do sleep 0.05; done", gate.display());
    let put = "mutation ($input: TaskPutInput!) { taskPut(input: $input) { userErrors { message } } }";
    let command = json!({ "exec": { "argv": ["/bin/sh", "-c", script] } });
    daemon.graphql(put, json!({ "input": { "name": "usual", "command": command } }));
    let run = || daemon.enqueue_with(json!({ "run": { "task": { "name": "usual" } } }));
    let query = "query ($id: ID!) { job(id: $id) {
        state estimatedFinishAt currentAttempt { startedAt } attempts { nodes { startedAt finishedAt } } } }";
    let ask = |id: &str| daemon.graphql(query, json!({ "id": id }))["job"].take();
    let started = |id: &str| {
        until("the job to run", PATIENCE, || Some(ask(id)).filter(|job| job["state"] == "RUNNING"))
    };
    let first = run();
    assert_eq!(started(&first)["estimatedFinishAt"], Value::Null, "nothing is known yet");
    daemon.wait_final(&first);
    let done = ask(&first);
    assert_eq!(done["estimatedFinishAt"], Value::Null, "it is over");
    let instant = |value: &Value| {
        beadle::base::clock::Timestamp::parse(value.as_str().expect("an instant")).expect("an instant")
    };
    let usual = &done["attempts"]["nodes"][0];
    let usual = instant(&usual["finishedAt"]).since(instant(&usual["startedAt"]));
    assert!(usual > Duration::from_secs(3));

    fs::write(&gate, "").expect("our own directory");
    let second = run();
    let job = started(&second);
    let expected = instant(&job["currentAttempt"]["startedAt"]).plus(usual);
    // What is shown is cut to milliseconds.
    let difference = instant(&job["estimatedFinishAt"]).0 - expected.0;
    assert!(difference.abs() <= 3_000, "{difference} us: {job}");
    let listed = daemon.graphql("{ jobs { nodes { id estimatedFinishAt } } }", json!({}));
    assert_eq!(
        listed["jobs"]["nodes"][0],
        json!({ "id": second, "estimatedFinishAt": job["estimatedFinishAt"] })
    );
    until("the usual time to be over", PATIENCE, || {
        (ask(&second)["estimatedFinishAt"] == Value::Null).then_some(())
    });
    fs::write(gate.with_extension("open"), "").expect("our own directory");
    daemon.wait_final(&second);
}

#[test]
fn a_secret_variable_is_hidden_from_the_first_byte_on() {
    let daemon = Daemon::start();
    let secret = format!("sw0rd{}", "fish-0815");
    let environment = json!([
        { "name": "KEY", "value": secret, "isSecret": true },
        { "name": "SHORT", "value": "abc", "isSecret": true },
        { "name": "OPEN", "value": "harmless" },
    ]);
    let text = r#"echo "key=$KEY"; printf %s "${KEY%15}"; sleep 0.3; echo "15 $SHORT $OPEN"
        echo "{\"status\": \"with $KEY\", \"output\": {\"key\": \"$KEY\"}}" > "$BEADLE_REPORT"
        echo "broken $KEY" > "$BEADLE_REPORT"
        echo "denied: $KEY" >&2; exit 1"#;
    let command = json!({ "script": { "text": text, "environment": environment } });
    let id = daemon.enqueue_with(json!({ "run": { "command": command } }));
    let ended = daemon.wait_final(&id);
    let query =
        "query ($id: ID!) { job(id: $id) { output progress { status } failure { errorLine message } } }";
    let job = daemon.graphql(query, json!({ "id": id }))["job"].take();
    let lines: String = ended.lines.iter().map(|(_, text)| text.as_str()).collect();
    assert!(lines.contains("key=***") && lines.contains("*** abc harmless"), "{lines}");
    assert!(lines.contains("reports ignored: 1 that were no JSON object"), "{lines}");
    assert_eq!(job["output"], json!({ "key": "***" }));
    assert_eq!(job["progress"]["status"], "with ***");
    assert_eq!(job["failure"]["errorLine"], "denied: ***");
    let events = daemon.graphql("{ events(first: 200) { events { data } } }", json!({}));
    for text in [lines, job.to_string(), ended.job.to_string(), events.to_string(), daemon.log()] {
        assert!(!text.contains(&secret), "{text}");
    }
    let logs = fs::read(daemon.data().join("logs.db")).expect("the file is there");
    let journal = fs::read(daemon.data().join("logs.db-wal")).unwrap_or_default();
    for bytes in [logs, journal] {
        assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()));
    }
}
