//! What a job says about itself: progress, result, time, tries and secrets, by lines of its own and by the program.

use std::fs;

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Ended, beadle};
use crate::support::postgres::is_on_postgres;
use crate::support::wait::{PATIENCE, until};

/// A secret that stands nowhere else: scripts put it together from its halves.
const SECRET: &str = "swordfish-4711";
const HALVES: &str = "a=sword; b=fish-4711; s=$a$b;";

const JOB: &str = "query ($id: ID!) { job(id: $id) {
  state output attempts { nodes { number outcome } } failure { message errorLine isRetryable }
  progress { fraction done total unit status updatedAt estimatedFinishAt }
} }";

fn script(daemon: &Daemon, text: &str, more: Value) -> String {
    let program = beadle();
    let environment =
        json!([{ "name": "BEADLE", "value": program.get_program().to_str().expect("the path is text") }]);
    let command = json!({ "script": { "text": text, "environment": environment } });
    let mut input = json!({ "run": { "command": command } });
    for (name, value) in more.as_object().into_iter().flatten() {
        input[name] = value.clone();
    }
    daemon.enqueue_with(input)
}

fn job(daemon: &Daemon, id: &str) -> Value {
    daemon.graphql(JOB, json!({ "id": id }))["job"].take()
}

fn events(daemon: &Daemon, id: &str, kind: &str) -> Vec<Value> {
    let query = "query ($filter: EventFilter) { events(filter: $filter) { events { data } } }";
    let answer = daemon.graphql(query, json!({ "filter": { "jobIds": [id], "types": [kind] } }));
    answer["events"]["events"].as_array().expect("a list").iter().map(|event| event["data"].clone()).collect()
}

fn has_line(ended: &Ended, stream: &str, text: &str) -> bool {
    ended.lines.iter().any(|(of, line)| of == stream && line == text)
}

#[test]
fn a_job_is_seen_on_its_way_and_leaves_its_result() {
    let daemon = Daemon::start();
    let gate = daemon.directory().join("gate");
    let text = format!(
        r#"echo '{{"progress": {{"done": 3, "total": 10, "unit": "files"}}, "status": "copying"}}' > "$BEADLE_REPORT"
           until [ -e {gate} ]; do sleep 0.05; done
           echo '{{"output": {{"a": 1, "b": [true]}}, "later": "key"}}' > "$BEADLE_REPORT"
           echo 'no json' > "$BEADLE_REPORT"; echo '[1]' > "$BEADLE_REPORT"
           "$BEADLE" report --progress 90% --output b=two --output '{{"c": {{"d": null}}}}'
           printf '{{"status": "done"}}' > "$BEADLE_REPORT""#,
        gate = gate.display()
    );
    let id = script(&daemon, &text, json!({}));
    let seen = until("the progress of the running job", PATIENCE, || {
        Some(job(&daemon, &id)).filter(|job| !job["progress"].is_null())
    });
    let progress = &seen["progress"];
    assert_eq!(seen["state"], "RUNNING");
    let expected = json!([0.3, "3", "10", "files", "copying"]);
    let fields = ["fraction", "done", "total", "unit", "status"].map(|name| progress[name].clone());
    assert_eq!(json!(fields), expected, "{progress}");
    fs::write(&gate, "").unwrap();

    let ended = daemon.wait_final(&id);
    assert_eq!(ended.job["state"], "SUCCEEDED", "{:?}", ended.lines);
    let seen = job(&daemon, &id);
    assert_eq!(seen["output"], json!({ "a": 1, "b": "two", "c": { "d": null } }));
    let progress = &seen["progress"];
    assert_eq!((&progress["fraction"], &progress["status"]), (&json!(0.9), &json!("done")));
    assert_eq!(progress["done"], Value::Null);
    assert!(progress["estimatedFinishAt"].is_string(), "{progress}");
    assert!(
        has_line(&ended, "SYSTEM", "reports ignored: 2 that were no JSON object or too long"),
        "{:?}",
        ended.lines
    );

    let told = events(&daemon, &id, "JOB_PROGRESS");
    assert_eq!(told.first().unwrap()["fraction"], json!(0.3));
    assert_eq!(told.last().unwrap()["status"], json!("done"), "the last word comes before the end");
    assert!(!events(&daemon, &id, "JOB_OUTPUT").is_empty());
    let channels = fs::read_dir(daemon.data().join("report")).unwrap().count();
    assert_eq!(channels, 0, "a channel outlived its attempt");
}

#[test]
fn a_job_without_output_is_still_heard() {
    let daemon = Daemon::start();
    let text = r#"exec >&- 2>&-; sleep 0.3; "$BEADLE" report --output x=1"#;
    let id = script(&daemon, text, json!({}));
    assert_eq!(daemon.wait_final(&id).job["state"], "SUCCEEDED");
    assert_eq!(job(&daemon, &id)["output"], json!({ "x": "1" }));
}

#[test]
fn progress_is_stored_once_a_second_at_most_and_nobody_waits_for_it() {
    let daemon = Daemon::start();
    let text = r#"i=0; while [ $i -lt 2000 ]; do i=$((i + 1))
        echo "{\"progress\": {\"done\": $i, \"total\": 2000}}"; done > "$BEADLE_REPORT""#;
    let id = script(&daemon, text, json!({}));
    let ended = daemon.wait_final(&id);
    assert_eq!(ended.job["state"], "SUCCEEDED");
    assert_eq!(job(&daemon, &id)["progress"]["done"], "2000");
    let told = events(&daemon, &id, "JOB_PROGRESS").len();
    assert!((1..100).contains(&told), "{told} events for 2000 reports");
}

#[test]
fn a_job_decides_about_its_next_try() {
    let daemon = Daemon::start();
    let policy = |delay: &str| json!({ "retryPolicy": { "maxAttempts": 5, "initialDelay": delay } });
    let id = script(&daemon, r#""$BEADLE" report --no-retry; exit 3"#, policy("PT0.01S"));
    assert_eq!(daemon.wait_final(&id).job["state"], "FAILED");
    let seen = job(&daemon, &id);
    assert_eq!(seen["attempts"]["nodes"].as_array().unwrap().len(), 1, "{seen}");
    assert_eq!(seen["failure"]["isRetryable"], json!(false));

    // The policy alone would have it wait for an hour.
    let text =
        r#"[ "$BEADLE_ATTEMPT" = 2 ] && exit 0; echo '{"retryAfter": 0.05}' > "$BEADLE_REPORT"; exit 3"#;
    let id = script(&daemon, text, policy("PT1H"));
    assert_eq!(daemon.wait_final(&id).job["state"], "SUCCEEDED");
    assert_eq!(job(&daemon, &id)["attempts"]["nodes"].as_array().unwrap().len(), 2);
}

#[test]
fn a_job_that_asks_for_time_gets_it() {
    let daemon = Daemon::start();
    let text =
        |ask: &str| format!("{ask} until [ -e {}/never ]; do sleep 0.05; done", daemon.data().display());
    let timeout = json!({ "timeout": "PT0.3S" });
    // Extended, and still not for ever: ten times its timeout is the most.
    let id = script(&daemon, &text(r#""$BEADLE" report --extend-timeout 1h;"#), timeout);
    assert_eq!(daemon.wait_final(&id).job["state"], "FAILED");
    let query = "query ($id: ID!) { job(id: $id) { attempts { nodes { outcome duration } } } }";
    let answer = daemon.graphql(query, json!({ "id": id }));
    let attempt = &answer["job"]["attempts"]["nodes"][0];
    assert_eq!(attempt["outcome"], "TIMED_OUT");
    let seconds: f64 = attempt["duration"]
        .as_str()
        .unwrap()
        .trim_matches(|sign: char| !sign.is_ascii_digit())
        .parse()
        .unwrap();
    assert!((3.0..13.0).contains(&seconds), "{attempt}");
}

#[test]
fn a_masked_secret_shows_nowhere() {
    let daemon = Daemon::start();
    let text = format!(
        r#"{HALVES} "$BEADLE" report --mask "$s"
           echo "token $s"; printf %s "in pieces $a"; sleep 0.3; echo "$b!"
           "$BEADLE" report --status "using $s" --output "key=$s" --progress 0.5
           echo "{{\"output\": {{\"$s\": \"<$s>\"}}}}" > "$BEADLE_REPORT"
           echo "broken $s" > "$BEADLE_REPORT"
           echo "no access with $s" >&2; exit 1"#
    );
    let id = script(&daemon, &text, json!({}));
    let ended = daemon.wait_final(&id);
    let seen = job(&daemon, &id);
    assert!(has_line(&ended, "STDOUT", "token ***"), "{:?}", ended.lines);
    let joined: String = ended.lines.iter().map(|(_, text)| text.as_str()).collect();
    assert!(joined.contains("in pieces ***!"), "{joined}");
    assert_eq!(seen["failure"]["errorLine"], "no access with ***");
    assert_eq!(seen["progress"]["status"], "using ***");
    assert_eq!(seen["output"], json!({ "key": "***", "***": "<***>" }));
    for text in [joined, seen.to_string(), ended.job.to_string(), daemon.log()] {
        assert!(!text.contains(SECRET), "{text}");
    }
    let all = daemon.graphql("{ events(first: 200) { events { type data } } }", json!({}));
    assert!(!all.to_string().contains(SECRET), "{all}");
    let contains = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    let mut has_status = false;
    for entry in fs::read_dir(daemon.data()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            assert!(!contains(&bytes, SECRET), "the secret stands in {}", path.display());
            has_status |= contains(&bytes, "using ***");
        }
    }
    assert!(has_status || is_on_postgres(), "what was stored can be found in the files");
}

#[test]
fn a_flood_of_reports_does_not_keep_a_job_from_its_cancel() {
    let daemon = Daemon::start();
    for flood in ["''", r#"'{"progress": {"fraction": 0.5}}'"#] {
        let id = script(&daemon, &format!(r#"echo go; yes {flood} > "$BEADLE_REPORT""#), json!({}));
        until("the flood to run", PATIENCE, || {
            let log = daemon
                .graphql("query ($id: ID!) { job(id: $id) { log { lines { text } } } }", json!({ "id": id }));
            (log["job"]["log"]["lines"][0]["text"] == json!("go")).then_some(())
        });
        let cancel = "mutation ($id: ID!) { jobCancel(input: {id: $id}) { userErrors { code } } }";
        let answer = daemon.graphql(cancel, json!({ "id": id }));
        assert_eq!(answer["jobCancel"]["userErrors"], json!([]));
        assert_eq!(daemon.wait_final(&id).job["state"], json!("CANCELLED"));
    }
}
