//! The command line itself: what it takes, what it refuses, and the commands that need no daemon.

use super::*;

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn slips_are_usage_errors_and_nothing_is_sent() {
    let daemon = FakeDaemon::start(vec![]);
    for words in [
        "run",
        "run deploy -- make",
        "run deploy --env A=1",
        "run deploy --dir /srv",
        "run deploy --follow --wait",
        "run deploy --wait-timeout 5s",
        "run deploy --at 2030-01-01T00:00:00Z --in 5s",
        "run deploy --at tomorrow",
        "run deploy --timeout 5",
        "run deploy --priority 101",
        "run deploy --label a",
        "run deploy --retries -1",
        "run deploy --retry-delay 5s",
        "run deploy --retries 1 --retry-on succeeded",
        "run deploy --retries 1 --retry-exit-code 256",
        "run deploy --param a",
        "run deploy --params [1]",
        "run deploy --params {",
        "run deploy --params @/var/empty/none",
        "task put x --schema { -- b",
        "task put x --concurrency-limit 0 -- b",
        "follow",
        "follow task_7",
        "wait 7 --timeout soon",
        "logs 7 --tail 0",
        "logs 7 --stream stdin",
        "jobs --state done",
        "jobs --limit 0",
        "events --follow --limit 3",
        "task put x",
        "task put x --script a -- b",
        "task put x --handler h -- b",
        "task put x --handler h --env A=1",
        "run deploy --handler h",
        "run --handler h --dir /srv",
        "schedule put s --task t",
        "schedule put s --task t --every 5s --cron @daily",
        "schedule preview",
        "schedule preview s --every 5s",
        "schedule preview --every 5s --jitter 1s",
        "schedule put s --task t --every 5s --overlap never",
        "schedule put s --task t --every 5s --param n",
        "update 7",
        "update 7 --at tomorrow",
        "update 7 --priority 101",
        "run deploy --hold --follow",
        "queue set q",
        "queue set q --limit 0",
        "queue set q --limit 1 --no-limit",
        "queue set q --rate 10",
        "queue set q --rate 0/1m",
        "queue set q --rate 10/soon",
        "queue set q --rate 10/1m --no-rate",
        "wait",
        "why",
        "next -n 0",
        "next -n 201",
        "plan",
        "apply /var/empty/none.toml",
        "import crontab /var/empty/none",
        "token create ci",
        "token create --read",
        "token create ci --enqueue a --own",
        "token create ci --read --expires-in soon",
        "token revoke",
        "report",
        "report --progress lots",
        "report --unit files",
        "report --output x",
        "serve --nonsense",
        "nonsense",
    ] {
        let ran = beadle(&daemon, words);
        assert_eq!((ran.code, ran.out.as_str()), (exit::USAGE, ""), "{words}: {}", ran.err);
        assert!(!ran.err.is_empty(), "{words}");
    }
    assert_eq!(daemon.seen().len(), 0);
}

#[test]
fn help_and_version_go_to_stdout() {
    for words in ["--help", "run --help", "schedule put --help", "--version"] {
        let ran = in_environment(words, &[]);
        assert_eq!((ran.code, ran.err.as_str()), (exit::OK, ""), "{words}");
        assert!(!ran.out.is_empty());
    }
}

#[test]
fn an_address_that_cannot_be_used_is_a_usage_error() {
    let ran = in_environment("jobs --url https://beadle.example", &[]);
    assert_eq!(ran.code, exit::USAGE);
    assert!(ran.err.contains("TLS is not supported"), "{}", ran.err);
}

#[test]
fn config_prints_what_is_in_force_and_why() {
    let variables = [("BEADLE_DATA_DIR", "/var/empty/beadle"), ("BEADLE_POLL_INTERVAL", "2s")];
    let ran = in_environment("config --slots 9 --behind-proxy --allow-hosts a --allow-hosts b", &variables);
    assert_eq!(ran.code, exit::OK, "{}", ran.err);
    let cells = |name: &str| -> Vec<String> {
        let line = ran.out.lines().find(|line| line.starts_with(name)).unwrap();
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    assert_eq!(cells("slots"), ["slots", "9", "flag --slots"]);
    assert_eq!(cells("behind_proxy"), ["behind_proxy", "true", "flag --behind-proxy"]);
    assert_eq!(cells("allow_hosts"), ["allow_hosts", "a,b", "flag --allow-hosts"]);
    assert_eq!(cells("poll_interval"), ["poll_interval", "2s", "environment BEADLE_POLL_INTERVAL"]);
    assert_eq!(cells("retention.failed"), ["retention.failed", "30d", "default"]);

    let ran = in_environment("config --json --data-dir /var/empty/other", &variables);
    let data: Value = serde_json::from_str(&ran.out).unwrap();
    let row = data["settings"].as_array().unwrap().iter().find(|row| row["key"] == "data_dir").unwrap();
    assert_eq!((&row["value"], &row["origin"]), (&json!("/var/empty/other"), &json!("flag")));
}

#[test]
fn a_bad_setting_stops_the_start_with_a_usage_error() {
    for (words, variables, part) in [
        ("serve --slots 0", [("BEADLE_DATA_DIR", "/var/empty/beadle")], "`slots` cannot be \"0\""),
        ("serve --listen 0.0.0.0:1", [("BEADLE_DATA_DIR", "/var/empty/beadle")], "behind_proxy"),
        ("serve --data-dir /var/empty/x", [("BEADLE_SLOTZ", "1")], "did you mean BEADLE_SLOTS?"),
        ("config --config /var/empty/none.toml", [("HOME", "/var/empty")], "/var/empty/none.toml"),
    ] {
        let ran = in_environment(words, &variables);
        assert_eq!(ran.code, exit::USAGE);
        assert!(ran.err.contains(part), "{}", ran.err);
    }
}

#[test]
fn serve_starts_the_daemon_with_the_settings() {
    fn with_output(daemon: Daemon) -> (u8, String) {
        let args = ["beadle", "serve", "--slots", "3", "--data-dir", "/var/empty/beadle"].map(OsString::from);
        let mut err = Vec::new();
        let code = program(
            args,
            &[],
            daemon,
            IMPATIENT,
            Streams { out: &mut Vec::new(), err: &mut err, is_live: false, is_drawn: false },
        );
        (code, String::from_utf8(err).unwrap())
    }
    let told = Daemon { serve: |settings| Err(format!("{} slots", settings.slots)), ..no_daemon() };
    assert_eq!(with_output(told), (exit::REFUSED, "beadle: 3 slots\n".to_owned()));
    assert_eq!(with_output(Daemon { serve: |_| Ok(()), ..no_daemon() }), (exit::OK, String::new()));
}

#[test]
fn schema_and_completions_need_no_daemon() {
    assert_eq!(in_environment("schema", &[]).out, "type Query { x: Int }\n");
    let data: Value = serde_json::from_str(&in_environment("schema --json", &[]).out).unwrap();
    assert_eq!(data["sdl"], "type Query { x: Int }\n");
    for shell in ["bash", "zsh", "fish"] {
        assert!(in_environment(&format!("completions {shell}"), &[]).out.contains("beadle"), "{shell}");
    }
}

#[test]
fn outside_a_job_a_report_says_nothing_and_does_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let gone = directory.path().join("gone");
    let file = directory.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    for variables in [
        vec![],
        vec![("BEADLE_REPORT", gone.to_str().unwrap())],
        vec![("BEADLE_REPORT", file.to_str().unwrap())],
    ] {
        let ran = in_environment("report --progress 3/10 --status x --mask secret", &variables);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (exit::OK, "", ""));
    }
    assert!(!gone.exists());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
}
