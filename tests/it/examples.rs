//! Runs every example as its reader would, against a real daemon.

mod deployment;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::{fs, thread};

use beadle::base::environment::variable;
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, string};
use crate::support::exposition::scrape;
use crate::support::program::{program, shown};
use crate::support::wait::{PATIENCE, now};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// A program that finds `beadle` on its path and the daemon in its environment.
fn with_daemon(daemon: &Daemon, path: impl AsRef<Path>) -> Command {
    let beadle = Path::new(env!("CARGO_BIN_EXE_beadle")).parent().expect("a program is in a directory");
    let mut command = program(path.as_ref());
    command
        .env_clear()
        .env("PATH", format!("{}:{}", beadle.display(), variable("PATH").unwrap_or_default()))
        .env("HOME", daemon.directory())
        .env("BEADLE_URL", daemon.url())
        .env("BEADLE_TOKEN", daemon.token())
        .stdin(Stdio::null());
    command
}

fn job_count(daemon: &Daemon) -> Value {
    daemon.graphql("{ jobs { totalCount } }", json!({}))["jobs"]["totalCount"].clone()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn quickstart_shows_the_output_and_exits_with_the_jobs_code() {
    let daemon = Daemon::start();
    let plain = with_daemon(&daemon, example("quickstart.sh")).output().unwrap();
    assert_eq!(plain.status.code(), Some(3), "{}", shown(&plain));
    assert_eq!(stdout(&plain), "Hello from Beadle\n", "{}", shown(&plain));
    let good =
        with_daemon(&daemon, example("quickstart.sh")).args(["printf", "%s-", "a b", "-c"]).output().unwrap();
    assert_eq!(good.status.code(), Some(0), "{}", shown(&good));
    assert_eq!(stdout(&good).trim_end(), "a b--c-", "{}", shown(&good));
    let refused = with_daemon(&daemon, example("quickstart.sh")).arg("").output().unwrap();
    assert!(!refused.status.success(), "{}", shown(&refused));
    assert_eq!(job_count(&daemon), json!(2));
}

#[test]
fn a_deployment_that_is_retried_runs_once() {
    let daemon = Daemon::start();
    let log = daemon.directory().join("deployments");
    let deploy = format!("echo deploying; echo x >>{}; exit 5", log.display());
    for _ in 0..2 {
        let run = with_daemon(&daemon, example("ci-deploy.sh"))
            .args(["4f2a1c", "sh", "-c", &deploy])
            .output()
            .unwrap();
        assert_eq!(run.status.code(), Some(5), "{}", shown(&run));
        assert!(stdout(&run).lines().any(|line| line == "deploying"), "{}", shown(&run));
    }
    assert_eq!(job_count(&daemon), json!(1));
    assert_eq!(fs::read_to_string(&log).unwrap(), "x\n");
}

#[test]
fn every_five_seconds_starts_shows_and_stops() {
    let daemon = Daemon::start();
    let document = fs::read_to_string(example("every-five-seconds.graphql")).unwrap();
    let run = |operation: &str| {
        let body = json!({"query": document, "operationName": operation}).to_string();
        let mut answer = ureq::post(format!("{}/graphql", daemon.url()))
            .header("Authorization", format!("Bearer {}", daemon.token()))
            .header("Content-Type", "application/json")
            .send(body)
            .unwrap();
        let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        assert!(answer.get("errors").is_none(), "{operation}: {answer:#}");
        answer["data"].clone()
    };
    let started = run("Start");
    for payload in ["taskPut", "schedulePut"] {
        assert_eq!(started[payload]["userErrors"], json!([]), "{started:#}");
    }
    assert_eq!(
        started["schedulePut"]["schedule"]["upcoming"].as_array().map(Vec::len),
        Some(3),
        "{started:#}"
    );
    assert_eq!(
        run("Start")["taskPut"]["task"]["revision"],
        json!(1),
        "the same definition is no new revision"
    );

    // The subscription as it stands in the file, which a server takes by its name only together with the rest.
    let watch = document.split("\n\n").find(|part| part.contains("subscription Watch")).unwrap();
    let mut stream = daemon.subscribe(watch, &json!({}));
    let is_success = |event: &Value| event["data"]["to"] == json!("SUCCEEDED");
    let events = |message: Value| message["data"]["events"]["events"].as_array().cloned().unwrap_or_default();
    let done = stream.by_ref().flat_map(events).find(is_success).expect("a run succeeds");
    let ended = daemon.wait_final(&string(&done["jobId"]));
    assert!(ended.lines[0].1.starts_with("alive, load "), "{ended:?}");

    let ticks = run("Look")["schedule"]["ticks"]["nodes"].clone();
    assert_eq!(ticks[0]["outcome"], json!("STARTED"), "{ticks:#}");
    assert!(run("Stop")["scheduleDelete"]["deletedId"].is_string());
    assert!(run("Look")["schedule"].is_null());
}

/// The directory with the public clients; `None`, with a printed line, when this machine cannot run them.
///
/// Panics in that case when `CI=true`.
fn node_project() -> Option<PathBuf> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node");
    let has_node = program("node").arg("--version").output().is_ok_and(|output| output.status.success());
    if has_node && project.join("node_modules/graphql-ws").exists() {
        return Some(project);
    }
    assert!(
        variable("CI").as_deref() != Some("true"),
        "CI=true and the Node.js clients cannot run: install Node.js and run `npm ci` in tests/node"
    );
    println!("skipped: no Node.js, or `npm ci` was not run in tests/node");
    None
}

/// Waits for the line of the event that says `job` has succeeded; every line before it is kept in `seen`.
fn wait_for_success(lines: &Receiver<String>, job: &str, seen: &mut Vec<String>) {
    let begun = now();
    loop {
        let left = PATIENCE.saturating_sub(begun.elapsed());
        let line = lines.recv_timeout(left).unwrap_or_else(|why| panic!("{job}: {why}; seen {seen:#?}"));
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|why| panic!("{why}: {line}"));
        seen.push(string(&event["cursor"]));
        if event["jobId"] == json!(job) && event["data"]["to"] == json!("SUCCEEDED") {
            return;
        }
    }
}

#[test]
fn a_graphql_ws_subscriber_goes_on_after_a_kill_without_a_hole() {
    let Some(project) = node_project() else { return };
    let mut daemon = Daemon::start();
    let cursor = string(&daemon.graphql("{ eventCursor }", json!({}))["eventCursor"]);
    let mut child = with_daemon(&daemon, "node")
        .arg(example("subscribe.mjs"))
        .arg(cursor)
        .current_dir(project)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let mut seen = Vec::new();
    wait_for_success(&lines, &daemon.enqueue(&["/bin/true"]), &mut seen);
    daemon.kill9();
    daemon.restart();
    let second = daemon.enqueue(&["/bin/true"]);
    wait_for_success(&lines, &second, &mut seen);
    child.kill().unwrap();
    child.wait().unwrap();
    let listed: Vec<String> =
        crate::support::history::read_all(&daemon).into_iter().map(|event| event.cursor).collect();
    let from = listed.iter().position(|one| *one == seen[0]).expect("what was seen is listed");
    assert_eq!(listed[from..from + seen.len()], seen, "a hole or a repeat");
}

/// The scalars of a YAML file, each key and value; panics when it is not YAML.
fn scalars(name: &str) -> Vec<String> {
    let text = fs::read_to_string(example(name)).expect("an example is readable text");
    let events = saphyr_parser::Parser::new_from_str(&text);
    events
        .filter_map(|event| match event.unwrap_or_else(|why| panic!("{name}: {why}")).0 {
            saphyr_parser::Event::Scalar(text, ..) => Some(text.into_owned()),
            _ => None,
        })
        .collect()
}

#[test]
fn prometheus_is_told_of_metrics_that_exist() {
    let daemon = Daemon::start();
    let ended = daemon.wait_final(&daemon.enqueue(&["/bin/false"]));
    assert_eq!(ended.job["state"], json!("FAILED"));
    let read = scrape(&daemon);
    let config = scalars("prometheus.yml");
    let is_there = |text: &str| config.iter().any(|scalar| scalar == text);
    assert!(is_there("/metrics") && is_there("alerts.yml") && is_there("credentials_file"), "{config:?}");

    let rules = scalars("alerts.yml");
    let expressions: Vec<&String> =
        rules.windows(2).filter(|pair| pair[0] == "expr").map(|pair| &pair[1]).collect();
    assert!(expressions.len() > 8, "{rules:?}");
    let mut named = 0;
    for expression in expressions {
        let is_sign = |sign: char| sign.is_ascii_alphanumeric() || sign == '_';
        for word in expression.split(|sign: char| !is_sign(sign)) {
            if word.starts_with("beadle_") || word.starts_with("process_") {
                // A family without a row yet has its type all the same.
                let family = word.trim_end_matches("_bucket").trim_end_matches("_count");
                assert!(read.kinds.contains_key(family), "{word} of {expression} is no metric");
                named += 1;
            }
        }
    }
    assert!(named > 12, "{named} metrics are named");
}
