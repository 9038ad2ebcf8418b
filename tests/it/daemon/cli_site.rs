//! Definition files and crontabs, planned and applied by the command line against a real daemon.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, string};
use crate::support::program::shown;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// Runs a command that must succeed; what it printed.
fn done(daemon: &Daemon, words: &[&str]) -> String {
    let output = daemon.cli(words);
    assert!(output.status.success(), "{words:?} {}", shown(&output));
    String::from_utf8(output.stdout).expect("text")
}

/// The text in a file of the daemon's directory; its path.
fn file(daemon: &Daemon, name: &str, text: &str) -> String {
    let path = daemon.directory().join(name);
    fs::write(&path, text).expect("our own directory");
    path.to_str().expect("our own directory's name").to_owned()
}

fn revision(daemon: &Daemon, task: &str) -> Value {
    let query = "query ($name: String!) { task(ref: { name: $name }) { revision archivedAt } }";
    daemon.graphql(query, json!({ "name": task }))["task"].clone()
}

fn cursor(daemon: &Daemon) -> Value {
    daemon.graphql("{ eventCursor }", json!({}))["eventCursor"].clone()
}

#[test]
fn a_site_is_made_once_and_an_edit_shows_as_a_diff() {
    let daemon = Daemon::start();
    let text = fs::read_to_string(example("site.toml")).expect("the example");
    let path = example("site.toml");
    let path = path.to_str().expect("a path of ours");
    let begun = cursor(&daemon);
    let planned = done(&daemon, &["plan", path]);
    let lines: Vec<_> = planned.lines().collect();
    let all = [
        "+ queue bulk",
        "+ queue deploy",
        "+ task backup",
        "+ task deploy",
        "+ task heartbeat",
        "+ schedule heartbeat",
        "+ schedule nightly",
        "to do: 7 new",
    ];
    assert_eq!(lines, all);
    assert_eq!(cursor(&daemon), begun, "a plan changes nothing");
    assert_eq!(done(&daemon, &["apply", path]), planned.replace("to do", "done"));

    // The second time not one event is written.
    let made = cursor(&daemon);
    let again = done(&daemon, &["apply", path]);
    assert!(again.ends_with("nothing to do: 7 unchanged\n"), "{again}");
    assert_eq!(cursor(&daemon), made);
    assert_eq!(revision(&daemon, "backup")["revision"], json!(1));

    let edited = text.replace("0 3 * * *", "0 4 * * *").replace("timeout = \"1h\"", "timeout = \"90m\"");
    let edited = file(&daemon, "edited.toml", &edited.replace("echo \"kept", "echo \"there are"));
    let diff = done(&daemon, &["plan", &edited]);
    let changed: Vec<_> = diff.lines().filter(|line| !line.starts_with('=')).collect();
    assert_eq!(
        changed,
        [
            "~ task backup: script",
            "    - echo \"kept $(wc -c < \"$TARGET/shop.tar\") bytes\"",
            "    + echo \"there are $(wc -c < \"$TARGET/shop.tar\") bytes\"",
            "~ task backup: timeout 1h -> 1h30m",
            "~ schedule nightly: cron \"0 3 * * *\" -> \"0 4 * * *\"",
            "to do: 2 changed, 5 unchanged",
        ]
    );
    done(&daemon, &["apply", &edited]);
    assert_eq!(revision(&daemon, "backup")["revision"], json!(2));
    assert_eq!(revision(&daemon, "deploy")["revision"], json!(1));
    let cron = daemon.graphql(
        "{ schedule(ref: { name: \"nightly\" }) { timing { ... on CronTiming { cron } } } }",
        json!({}),
    );
    assert_eq!(cron["schedule"]["timing"]["cron"], json!("0 4 * * *"));
    assert!(done(&daemon, &["plan", &edited]).ends_with("nothing to do: 7 unchanged\n"));
    let ran = daemon.cli(&["run", "deploy", "--follow"]);
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "deployed\n", "{}", shown(&ran));
}

#[test]
fn what_is_put_in_other_ways_is_seen_and_prune_takes_away() {
    let daemon = Daemon::start();
    done(&daemon, &["task", "put", "old", "--", "/bin/true"]);
    done(&daemon, &["schedule", "put", "old", "--task", "old", "--every", "1h"]);
    done(
        &daemon,
        &["task", "put", "kept", "--timeout", "60s", "--env", "B=2", "--env", "A=1", "--", "/bin/true"],
    );
    let yaml = "tasks:\n  kept: {command: [/bin/true], timeout: 1m, environment: {A: 1, B: 2}}\n";
    let path = file(&daemon, "site.yaml", yaml);
    assert_eq!(done(&daemon, &["plan", &path]), "= task kept\nnothing to do: 1 unchanged\n");
    let planned = done(&daemon, &["plan", "--prune", &path]);
    assert_eq!(planned, "= task kept\n- schedule old\n- task old\nto do: 2 removed, 1 unchanged\n");
    assert!(revision(&daemon, "old")["archivedAt"].is_null());
    done(&daemon, &["apply", "--prune", &path]);
    assert!(!revision(&daemon, "old")["archivedAt"].is_null());
    assert_eq!(done(&daemon, &["plan", "--prune", &path]), "= task kept\nnothing to do: 1 unchanged\n");
    // What was archived comes back as new, over its old revision.
    let path = file(&daemon, "back.toml", "[tasks.old]\ncommand = [\"/bin/true\"]\n");
    assert_eq!(done(&daemon, &["apply", &path]), "+ task old\ndone: 1 new\n");
    assert!(revision(&daemon, "old")["archivedAt"].is_null());
}

#[test]
fn a_refusal_stops_an_apply_and_the_rest_is_told() {
    let daemon = Daemon::start();
    let text = "[queues.q]\n[tasks.a]\ncommand = [\"x\"]\nqueue = \"none\"\n[tasks.b]\ncommand = [\"x\"]\n";
    let output = daemon.cli(&["apply", &file(&daemon, "bad.toml", text)]);
    assert_eq!(output.status.code(), Some(3), "{}", shown(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "+ queue q\n");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("task a: NOT_FOUND: there is no queue named none") && said.contains("2 left"),
        "{said}"
    );
    assert!(revision(&daemon, "b").is_null());
}

#[test]
fn a_secret_is_taken_from_who_applies_and_only_a_new_one_is_a_change() {
    let daemon = Daemon::start();
    let text =
        "[tasks.t]\nscript = \"test \\\"$KEY\\\" = hush && echo it is\"\nenvironment_from = [\"KEY\"]\n";
    let path = file(&daemon, "secret.toml", text);
    let apply = |value: &str| {
        let output =
            daemon.cli_command(&["apply", &path]).env("KEY", value).output().expect("the client starts");
        assert!(output.status.success(), "{}", shown(&output));
        (String::from_utf8_lossy(&output.stdout).into_owned(), revision(&daemon, "t")["revision"].clone())
    };
    assert_eq!(apply("hush"), ("+ task t\ndone: 1 new\n".to_owned(), json!(1)));
    assert_eq!(apply("hush"), ("= task t\nnothing to do: 1 unchanged\n".to_owned(), json!(1)));
    let ran = daemon.cli(&["run", "t", "--follow"]);
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "it is\n", "{}", shown(&ran));
    assert_eq!(apply("other"), ("~ task t\ndone: 1 changed\n".to_owned(), json!(2)));
    assert_eq!(daemon.cli(&["apply", &path]).status.code(), Some(2), "without the variable");
}

#[test]
fn the_example_crontab_becomes_tasks_and_schedules() {
    let daemon = Daemon::start();
    let source = example("crontab.txt");
    let words =
        ["import", "crontab", source.to_str().expect("a path of ours"), "--time-zone", "Europe/Berlin"];
    let output = daemon.cli(&words);
    assert!(output.status.success(), "{}", shown(&output));
    let remarks = String::from_utf8_lossy(&output.stderr).into_owned();
    for part in [
        "crontab.txt:8: MAILTO=ops@shop.example is left out",
        "left out, because @reboot has no due time",
        "`*/2` and the day of week `0` both match",
        "cron starts a job also while its last run goes on",
    ] {
        assert!(remarks.contains(part), "{part}\n{remarks}");
    }
    let toml = String::from_utf8(output.stdout).expect("text");
    let path = file(&daemon, "shop.toml", &toml);
    let applied = done(&daemon, &["apply", &path]);
    let names = ["backup", "find", "invoices", "market", "sync-stock", "wall"];
    for noun in ["task", "schedule"] {
        let lines: Vec<_> =
            applied.lines().filter_map(|line| line.strip_prefix(&format!("+ {noun} "))).collect();
        assert_eq!(lines, names, "{applied}");
    }
    assert!(done(&daemon, &["apply", &path]).ends_with("nothing to do: 12 unchanged\n"));
    let market = daemon.graphql(
        "{ schedule(ref: { name: \"market\" }) { timeZone overlap misfire task { description command { script shell
           workingDirectory environment { name value } } } } }",
        json!({}),
    );
    let market = &market["schedule"];
    assert_eq!((&market["timeZone"], &market["overlap"]), (&json!("Asia/Tokyo"), &json!("ALLOW")));
    assert_eq!(market["task"]["description"], json!("The market opens."));
    assert_eq!(market["task"]["command"]["shell"], json!("/bin/bash"));
    assert_eq!(
        market["task"]["command"]["environment"],
        json!([{ "name": "PATH", "value": "/usr/local/bin:/usr/bin:/bin" }])
    );
}

#[test]
fn an_imported_line_runs_as_cron_would_run_it() {
    let daemon = Daemon::start();
    let crontab = "GREETING=good \"day\"\n0 3 1 1 * cat; pwd; echo \"$GREETING\" 10\\%%one%it's two\n";
    let path = file(&daemon, "crontab", crontab);
    done(&daemon, &["import", "crontab", &path, "--apply", "--time-zone", "UTC"]);
    let id = done(&daemon, &["schedule", "trigger", "cat"]);
    let ended = daemon.wait_final(id.trim());
    let lines: Vec<_> = ended.lines.iter().map(|(_, text)| text.as_str()).collect();
    let home = fs::canonicalize(daemon.directory()).expect("our own directory");
    assert_eq!(lines, ["one", "it's two", home.to_str().expect("text"), "good \"day\" 10%"]);
    assert_eq!(string(&ended.job["state"]), "SUCCEEDED");
}
