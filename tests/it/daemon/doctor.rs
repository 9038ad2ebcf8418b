//! The doctor finds each thing that can be wrong with a data directory, says what to do, and touches nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::daemon::{Daemon, beadle};
use crate::support::database::execute;
use crate::support::program::shown;

/// What the doctor says of a directory, and its exit code.
fn examine(data: &Path) -> (Value, Option<i32>) {
    let mut command = beadle();
    command.args(["doctor", "--full", "--json", "--data-dir"]).arg(data);
    let output = command.output().expect("the program starts");
    let said =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {}", shown(&output)));
    (said, output.status.code())
}

/// The checks that came out so.
fn at_level<'a>(said: &'a Value, level: &str) -> Vec<(&'a str, &'a str)> {
    let text = |value: &'a Value| value.as_str().expect("a text");
    let checks = said["checks"].as_array().expect("a list").iter();
    checks
        .filter(|check| check["level"] == json!(level))
        .map(|check| (text(&check["check"]), text(&check["message"])))
        .collect()
}

/// The worst that may come out beside a fresh store: the machine of the tests may be short of room, or on an overlay.
fn check_well(said: &Value, code: Option<i32>) {
    assert_eq!(at_level(said, "FAIL"), [], "{said:#}");
    let odd: Vec<_> = at_level(said, "WARN")
        .into_iter()
        .filter(|(name, _)| !["disk", "file system"].contains(name))
        .collect();
    assert_eq!((odd, code, &said["isWell"]), (vec![], Some(0), &json!(true)), "{said:#}");
}

#[test]
fn a_store_is_well_beside_its_daemon_and_without_it() {
    let mut daemon = Daemon::start();
    for _ in 0..3 {
        let id = daemon.enqueue(&["/bin/echo", "hello"]);
        daemon.wait_final(&id);
    }
    for index in 0..4 {
        daemon.enqueue_with(json!({
            "run": {"command": {"exec": {"argv": ["/bin/sleep", if index == 0 { "60" } else { "0" }]}}},
            "concurrencyKey": "one",
        }));
    }
    let (said, code) = examine(&daemon.data());
    check_well(&said, code);
    let running = at_level(&said, "OK").into_iter().find(|(name, _)| *name == "daemon").expect("a line");
    assert!(running.1.contains(&daemon.pid().to_string()), "{running:?}");
    let id = daemon.enqueue(&["/bin/true"]);
    assert_eq!(daemon.wait_final(&id).job["state"], json!("SUCCEEDED"), "the daemon was disturbed");
    // Killed, so that there is a journal with work in it.
    daemon.kill9();
    let path = daemon.data().join("beadle.db");
    let before = fs::read(&path).unwrap();
    let (said, code) = examine(&daemon.data());
    check_well(&said, code);
    assert!(fs::read(&path).unwrap() == before, "the doctor wrote into the store");
    println!("{} checks, all well", said["checks"].as_array().unwrap().len());
    let mut command = beadle();
    let lines = command.arg("doctor").arg("--data-dir").arg(daemon.data()).output().unwrap();
    let lines = String::from_utf8(lines.stdout).unwrap();
    assert!(
        lines.starts_with("LEVEL") && lines.lines().any(|line| line.starts_with("OK     rules")),
        "{lines}"
    );
    daemon.restart();
}

/// Rows that break one rule each, with the rule and a word of what is said.
const SPOILED: [(&str, &str, &str); 11] = [
    ("UPDATE jobs SET state = 'HELD' WHERE id = 3", "states", "job_3 is HELD, its last event says SCHEDULED"),
    (
        "UPDATE job_counts SET job_count = job_count + 2 WHERE state = 'SUCCEEDED'",
        "counts",
        "2 too many SUCCEEDED",
    ),
    (
        "UPDATE attempts SET outcome = NULL, finished_at_us = NULL",
        "attempts",
        "job_1 is SUCCEEDED with 1 open",
    ),
    ("UPDATE attempts SET job_id = 99", "strays", "attempt_1 is of job_99"),
    ("UPDATE jobs SET gated_at_us = NULL WHERE limit_key = 'key:k'", "keys", "0 running, 2 let in"),
    ("UPDATE jobs SET gated_at_us = 5 WHERE limit_key = 'key:k'", "keys", "0 let in and 2 before its gate"),
    ("INSERT INTO job_dependencies VALUES (3, 98)", "dependencies", "job_3 waits for job_98"),
    ("UPDATE job_dependencies SET depends_on_id = 1", "blocked", "job_4 is BLOCKED"),
    ("DELETE FROM events WHERE seq = 2", "events", "events 2 to 2 are missing"),
    ("UPDATE counters SET value = 1 WHERE name = 'job'", "numbers", "the last job number is kept as 1"),
    ("UPDATE counters SET value = 1 WHERE name = 'event'", "numbers", "the last event number"),
];

/// A store with a job in each of several states, and no daemon.
fn varied() -> Daemon {
    let mut daemon = Daemon::start();
    let first = daemon.enqueue(&["/bin/echo", "hello"]);
    daemon.wait_final(&first);
    daemon
        .graphql("mutation { queuePause(input: {name: \"default\"}) { userErrors { message } } }", json!({}));
    let run = json!({"command": {"exec": {"argv": ["/bin/true"]}}});
    daemon.enqueue_with(json!({"run": run, "isHeld": true}));
    daemon.enqueue_with(json!({"run": run, "runAt": "2100-01-01T00:00:00Z"}));
    daemon.enqueue_with(json!({"run": run, "dependsOn": ["job_2"]}));
    daemon.enqueue_with(json!({"run": run, "concurrencyKey": "k"}));
    daemon.enqueue_with(json!({"run": run, "concurrencyKey": "k"}));
    daemon.terminate();
    daemon
}

#[test]
fn each_broken_rule_is_found() {
    let daemon = varied();
    let path = daemon.data().join("beadle.db");
    // Running would let one of the key in; the queue was paused so that nothing started.
    execute(&path, "UPDATE queues SET paused_at_us = NULL; UPDATE jobs SET gated_at_us = NULL WHERE id = 5;");
    let (said, code) = examine(&daemon.data());
    check_well(&said, code);
    let whole = fs::read(&path).unwrap();
    for (spoil, rule, words) in SPOILED {
        execute(&path, spoil);
        let (said, code) = examine(&daemon.data());
        let found = at_level(&said, "FAIL");
        let is_told = found
            .iter()
            .any(|(name, text)| *name == "rules" && text.starts_with(rule) && text.contains(words));
        assert!(is_told && code == Some(1), "{spoil}: looked for {rule:?} {words:?} in {found:#?}");
        fs::write(&path, &whole).unwrap();
    }
    let logs = daemon.data().join("logs.db");
    execute(&logs, "UPDATE log_ends SET line_count = 0");
    let found = examine(&daemon.data());
    assert!(
        found.0.to_string().contains("log ends: attempt_1 wrote 0 lines, and what is kept ends at 1"),
        "{found:?}"
    );
    println!("{} broken rules found", SPOILED.len() + 1);
}

/// Level, check, a word of what is said, and how it comes and goes.
type Trouble<'a> = (&'a str, &'a str, &'a str, &'a dyn Fn(), &'a dyn Fn());

/// A spool with one result in it, as a daemon leaves it that could not write into its store.
fn one_result() -> Vec<u8> {
    let record = b"{}";
    let mut file = b"BEADLE SPOOL 1\n\0".to_vec();
    file.extend([0; 8]);
    file.extend(u32::try_from(record.len()).expect("it is short").to_le_bytes());
    file.extend(&Sha256::digest(record)[..8]);
    file.extend(record);
    file.extend([0; 4]);
    file
}

#[test]
fn what_is_wrong_with_the_files_is_found() {
    let daemon = varied();
    let data = daemon.data();
    let (state, token) = (data.join("beadle.db"), data.join("admin.token"));
    let whole = fs::read(&state).unwrap();
    let secret = fs::read(&token).unwrap();
    let damaged = || {
        // In the middle of the file, so that it still opens.
        let mut bytes = whole.clone();
        let middle = bytes.len() / 2 / 4096 * 4096;
        bytes[middle..middle + 4096].fill(0xA5);
        fs::write(&state, bytes).unwrap();
    };
    let mode = |mode: u32| fs::set_permissions(&data, fs::Permissions::from_mode(mode)).unwrap();
    let settings = data.join("beadle.toml");
    let spool = data.join("spool");
    let unfinished = data.join("restore.unfinished");
    let cases: [Trouble; 12] = [
        ("FAIL", "permissions", "chmod 700", &|| mode(0o755), &|| mode(0o700)),
        ("FAIL", "state", "damaged", &damaged, &|| fs::write(&state, &whole).unwrap()),
        (
            "FAIL",
            "state",
            "another program",
            &|| {
                execute(&state, "PRAGMA application_id = 7");
            },
            &|| fs::write(&state, &whole).unwrap(),
        ),
        (
            "FAIL",
            "state",
            "newer Beadle",
            &|| {
                execute(&state, "INSERT INTO migrations VALUES ('state/9999_later', 0)");
            },
            &|| fs::write(&state, &whole).unwrap(),
        ),
        (
            "WARN",
            "state",
            "the next start migrates it (state/0005",
            &|| {
                execute(&state, "DELETE FROM migrations WHERE name LIKE 'state/0005%'");
            },
            &|| fs::write(&state, &whole).unwrap(),
        ),
        (
            "WARN",
            "clock",
            "in the future",
            &|| {
                execute(
                    &state,
                    "UPDATE events SET at_us = at_us + 3600000000 WHERE seq = (SELECT max(seq) FROM events)",
                );
            },
            &|| fs::write(&state, &whole).unwrap(),
        ),
        ("WARN", "token", "cannot be read", &|| fs::remove_file(&token).unwrap(), &|| {
            fs::write(&token, &secret).unwrap();
        }),
        ("WARN", "token", "does not know", &|| fs::write(&token, "nonsense\n").unwrap(), &|| {
            fs::write(&token, &secret).unwrap();
        }),
        ("FAIL", "settings", "slotz", &|| fs::write(&settings, "slotz = 3\n").unwrap(), &|| {
            fs::remove_file(&settings).unwrap();
        }),
        ("WARN", "spool", "holds 1 results", &|| fs::write(&spool, one_result()).unwrap(), &|| {
            fs::remove_file(&spool).unwrap();
        }),
        (
            "FAIL",
            "spool",
            "no spool of ours",
            &|| fs::write(&spool, "a text of somebody else, long enough").unwrap(),
            &|| fs::remove_file(&spool).unwrap(),
        ),
        ("FAIL", "restore", "/b.tar", &|| fs::write(&unfinished, "/b.tar\n").unwrap(), &|| {
            fs::remove_file(&unfinished).unwrap();
        }),
    ];
    for (level, check, words, spoil, mend) in cases {
        spoil();
        let (said, code) = examine(&data);
        let found = at_level(&said, level);
        let is_told = found.iter().any(|(name, text)| *name == check && text.contains(words));
        assert!(is_told, "looked for {level} {check} {words:?} in {said:#}");
        assert_eq!(code, Some(i32::from(level == "FAIL")), "{check}: {said:#}");
        mend();
        let (said, code) = examine(&data);
        check_well(&said, code);
    }
    let (said, code) = examine(&data.join("nothing"));
    assert_eq!((at_level(&said, "FAIL").len(), code), (1, Some(1)), "{said:#}");
}
