//! Failures go to one place, through the front door: a failing task is one incident that can be looked at, resolved and
//! repeated, and it comes back by itself.

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, send};
use crate::support::program::shown;
use crate::support::wait::{PATIENCE, until};

/// Runs a command that must succeed; what it printed.
fn done(daemon: &Daemon, words: &[&str]) -> String {
    let output = daemon.cli(words);
    assert!(output.status.success(), "{words:?} {}", shown(&output));
    String::from_utf8(output.stdout).expect("text")
}

fn data(daemon: &Daemon, words: &[&str]) -> Value {
    serde_json::from_str(&done(daemon, &[words, &["--json"]].concat())).expect("JSON")
}

/// A task that fails with another number each time, as long as `broken` stands in its directory.
fn put_task(daemon: &Daemon, name: &str) -> String {
    let broken = daemon.directory().join("broken");
    std::fs::write(&broken, "").expect("a file can be written");
    let script = format!(
        "echo working; test -e {} || exit 0; echo \"error: row $$ of /tmp/in-$$.csv is bad\" >&2; echo bye >&2; exit 3",
        broken.display()
    );
    let file = daemon.directory().join("script").display().to_string();
    std::fs::write(&file, script).expect("a file can be written");
    done(daemon, &["task", "put", name, "--script", &file]);
    broken.display().to_string()
}

fn run(daemon: &Daemon, task: &str) -> String {
    let job = daemon.enqueue_with(json!({"run": {"task": {"name": task}}}));
    daemon.wait_final(&job);
    job
}

fn changes(daemon: &Daemon) -> Vec<String> {
    let query = "{ events(first: 200, filter: {types: [INCIDENT_OPENED, INCIDENT_CHANGED]}) {
        events { type actor taskName data subject { __typename id } } } }";
    let seen = daemon.graphql(query, json!({}))["events"]["events"].take();
    let told = |event: &Value| {
        assert_eq!(event["subject"]["__typename"], "Incident", "{event}");
        format!(
            "{} by {}",
            event["data"]["change"].as_str().expect("a word"),
            event["actor"].as_str().expect("a name")
        )
    };
    seen.as_array().expect("a list").iter().map(told).collect()
}

#[test]
fn a_failing_task_is_one_incident_from_its_first_failure_to_its_regression() {
    let daemon = Daemon::start();
    let broken = put_task(&daemon, "load");
    let jobs: Vec<_> = (0..3).map(|_| run(&daemon, "load")).collect();
    let listed = data(&daemon, &["incidents", "ls"])["incidents"]["nodes"].take();
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed:#}");
    let (id, title) =
        (listed[0]["id"].as_str().expect("an id"), listed[0]["title"].as_str().expect("a title"));
    assert_eq!((&listed[0]["occurrenceCount"], &listed[0]["status"]), (&json!(3), &json!("OPEN")));
    assert!(title.starts_with("load: error: row "), "{title}");
    assert!(done(&daemon, &["status"]).contains(title), "the daemon at a glance shows it");
    assert!(done(&daemon, &["job", &jobs[0]]).contains(&format!("{id} OPEN")), "a job shows its incident");
    let shown = done(&daemon, &["incidents", "show", id]);
    for words in ["load: error: row", "times", "last day", "EXITED", &jobs[0], &jobs[2]] {
        assert!(shown.contains(words), "{words} is missing:\n{shown}");
    }
    let detail = daemon.graphql(
        "query ($id: ID!) { incident(id: $id) { task { name } histogram sampleJob { id } isRegression
           jobs(first: 10) { totalCount nodes { id attempts { nodes { incident { id } } } } } }
           node(id: $id) { ... on Incident { fingerprint } } }",
        json!({"id": id}),
    );
    let incident = &detail["incident"];
    assert_eq!((&incident["task"]["name"], &incident["sampleJob"]["id"]), (&json!("load"), &json!(jobs[2])));
    let histogram = incident["histogram"].as_array().expect("a list");
    assert_eq!((histogram.len(), histogram.iter().filter_map(Value::as_i64).sum::<i64>()), (24, 3));
    assert_eq!((&incident["jobs"]["totalCount"], &incident["isRegression"]), (&json!(3), &json!(false)));
    assert_eq!(incident["jobs"]["nodes"][0]["attempts"]["nodes"][0]["incident"]["id"], json!(id));
    assert_eq!(detail["node"]["fingerprint"].as_str().map(str::len), Some(32));

    done(&daemon, &["incidents", "ack", id, "--assignee", "ann", "--note", "on it"]);
    assert!(done(&daemon, &["incidents", "ls"]).contains("ann"));
    std::fs::remove_file(&broken).expect("the file can go");
    assert_eq!(done(&daemon, &["incidents", "resolve", id, "--note", "fixed"]), format!("{id} RESOLVED\n"));
    let again = daemon.cli(&["incidents", "resolve", id]);
    assert_eq!(again.status.code(), Some(1), "{}", crate::support::program::shown(&again));
    assert_eq!(done(&daemon, &["incidents", "ls"]).lines().count(), 1, "what is resolved is not listed");
    // Everything that failed is repeated, once.
    assert_eq!(done(&daemon, &["retry", "--incident", id]), "3 of 3 jobs made anew\n");
    assert_eq!(done(&daemon, &["incidents", "retry", id]), "0 of 0 jobs made anew\n");
    until("the repeated jobs to succeed", PATIENCE, || {
        let query = "{ jobCounts(filter: {states: [SUCCEEDED], origins: [RETRY]}) { succeeded } }";
        (daemon.graphql(query, json!({}))["jobCounts"]["succeeded"] == 3).then_some(())
    });
    std::fs::write(&broken, "").expect("a file can be written");
    run(&daemon, "load");
    let back = data(&daemon, &["incidents", "show", id])["incident"].take();
    assert_eq!((&back["status"], &back["occurrenceCount"]), (&json!("OPEN"), &json!(4)), "{back:#}");
    assert!(back["regressedAt"].is_string() && back["note"] == "fixed", "{back:#}");
    done(&daemon, &["incidents", "ignore", id, "--until", "2d", "--until-count", "100"]);
    let ignored = data(&daemon, &["incidents", "show", id])["incident"].take();
    assert_eq!((&ignored["status"], &ignored["ignoredUntilCount"]), (&json!("IGNORED"), &json!(104)));
    assert!(ignored["ignoredUntil"].is_string(), "{ignored:#}");
    run(&daemon, "load");
    assert!(done(&daemon, &["jobs", "--incident", id]).contains(&jobs[1]));
    assert_eq!(
        changes(&daemon),
        [
            "OPENED by incidents",
            "ACKNOWLEDGED by admin",
            "RESOLVED by admin",
            "REGRESSED by incidents",
            "IGNORED by admin"
        ]
    );
    let missing = daemon.cli(&["incidents", "show", "999"]);
    assert_eq!(missing.status.code(), Some(3), "{}", crate::support::program::shown(&missing));
}

#[test]
fn the_error_line_is_the_reason_and_not_the_last_word() {
    let daemon = Daemon::start();
    for (script, line) in [
        ("echo 'fatal: the disk is gone' >&2; echo 'cleaning up' >&2; exit 1", "fatal: the disk is gone"),
        ("printf 'E   assert 1 == 2\\n=== 1 failed in 0.1s ===\\n'; exit 1", "E   assert 1 == 2"),
        ("echo plain; exit 1", "plain"),
    ] {
        let job = daemon.enqueue(&["/bin/sh", "-c", script]);
        assert_eq!(daemon.wait_final(&job).job["failure"]["errorLine"], line, "{script}");
    }
}

#[test]
fn wrong_wishes_about_incidents_are_refused() {
    let daemon = Daemon::start();
    put_task(&daemon, "load");
    run(&daemon, "load");
    let id = data(&daemon, &["incidents", "ls"])["incidents"]["nodes"][0]["id"].take();
    let refused = |field: &str, input: &str| {
        let query = format!("mutation {{ {field}(input: {{{input}}}) {{ userErrors {{ code path }} }} }}");
        let error = daemon.graphql(&query, json!({}))[field]["userErrors"][0].take();
        (
            error["code"].as_str().unwrap_or_default().to_owned(),
            error["path"][0].as_str().unwrap_or_default().to_owned(),
        )
    };
    let of = |code: &str, path: &str| (code.to_owned(), path.to_owned());
    assert_eq!(refused("incidentResolve", "id: \"incident_99\""), of("NOT_FOUND", "id"));
    assert_eq!(refused("incidentRetry", "id: \"incident_99\""), of("NOT_FOUND", "id"));
    assert_eq!(refused("incidentRetry", &format!("id: {id}, max: 0")), of("INVALID", "max"));
    assert_eq!(refused("incidentIgnore", &format!("id: {id}, untilCount: 0")), of("INVALID", "untilCount"));
    let past = format!("id: {id}, until: \"2001-01-01T00:00:00Z\"");
    assert_eq!(refused("incidentIgnore", &past), of("INVALID", "until"));
    let long = format!("id: {id}, note: \"{}\"", "x".repeat(1_001));
    assert_eq!(refused("incidentAcknowledge", &long), of("INVALID", "note"));
    run(&daemon, "load");
    assert_eq!(refused("incidentRetry", &format!("id: {id}, max: 1")), of("TOO_MANY_MATCHES", "max"));
    for query in [
        "{ incident(id: \"1\") { histogram(buckets: 201) } }",
        "{ incident(id: \"1\") { histogram(buckets: 60, window: \"PT59M\") } }",
    ] {
        let answer = daemon.send(query, &json!({})).expect("an answer");
        assert!(answer["errors"][0]["extensions"]["code"] == json!("BAD_USER_INPUT"), "{answer}");
    }
}

#[test]
fn two_who_retry_an_incident_at_once_make_no_job_twice() {
    const JOBS: i64 = 250;
    let daemon = Daemon::start();
    let mut jobs = Vec::new();
    for _ in 0..JOBS {
        jobs.push(daemon.enqueue(&["/bin/false"]));
    }
    for job in &jobs {
        daemon.wait_final(job);
    }
    let id = data(&daemon, &["incidents", "ls"])["incidents"]["nodes"][0]["id"].take();
    let ben = done(&daemon, &["token", "create", "ben", "--admin"]);
    let ben = ben.trim();
    daemon.graphql(r#"mutation { queuePause(input: {name: "default"}) { userErrors { code } } }"#, json!({}));
    let retry = format!("mutation {{ incidentRetry(input: {{id: {id}, max: 1000}}) {{ retriedCount }} }}");
    let ask = |token: &str| {
        let answer = send(daemon.address(), token, &retry, &json!({})).expect("an answer");
        answer["data"]["incidentRetry"]["retriedCount"].as_i64().unwrap_or_else(|| panic!("{answer}"))
    };
    let (own, other) = std::thread::scope(|scope| {
        let other = scope.spawn(|| ask(ben));
        (ask(daemon.token()), other.join().expect("it is answered"))
    });
    let query = "{ jobCounts(filter: {origins: [RETRY]}) { queued } }";
    let made = daemon.graphql(query, json!({}))["jobCounts"]["queued"].take();
    assert_eq!((made, own + other), (json!(JOBS), JOBS), "{own} and {other}");
}

#[test]
fn a_part_that_fails_again_and_again_counts_each_time() {
    let daemon = Daemon::start_in_environment(&[("BEADLE_TEST_POINTS", "scheduler.tick:1+:panic")]);
    until("the third failure to be counted", PATIENCE, || {
        let seen = daemon.graphql("{ incidents { nodes { subsystem occurrenceCount } } }", json!({}));
        let incident = &seen["incidents"]["nodes"][0];
        // Behind it: failures go on meanwhile.
        let later = daemon.graphql("{ health { subsystems { name restartCount } } }", json!({}));
        let rows = later["health"]["subsystems"].as_array().expect("a list");
        let row = rows.iter().find(|row| row["name"] == json!("scheduler"))?;
        let is_third = incident["occurrenceCount"].as_i64()? >= 3;
        assert_eq!(incident["subsystem"], json!("scheduler"), "{seen}");
        assert!(incident["occurrenceCount"].as_i64() <= row["restartCount"].as_i64(), "{seen}");
        is_third.then_some(())
    });
}

#[test]
fn a_part_of_the_daemon_that_fails_is_an_incident() {
    let daemon = Daemon::start_in_environment(&[("BEADLE_TEST_POINTS", "incidents.tend:1:fail")]);
    let row = until("the failure to be an incident", PATIENCE, || {
        let query = "{ incidents { nodes { subsystem title status occurrenceCount sampleJob { id } } } }";
        let mut seen = daemon.graphql(query, json!({}));
        seen["incidents"]["nodes"].as_array_mut().expect("a list").pop()
    });
    assert_eq!((&row["subsystem"], &row["occurrenceCount"]), (&json!("retention"), &json!(1)), "{row}");
    assert_eq!((&row["status"], &row["sampleJob"]), (&json!("OPEN"), &Value::Null));
}
