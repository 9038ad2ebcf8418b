//! What the command line shows of a real daemon: why a job waits, what comes next, what runs.

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::program::{program_path, shown};
use crate::support::wait::{PATIENCE, until};

/// Runs a command that must succeed; what it printed.
fn done(daemon: &Daemon, words: &[&str]) -> String {
    let output = daemon.cli(words);
    assert!(output.status.success(), "{words:?} {}", shown(&output));
    String::from_utf8(output.stdout).expect("text")
}

fn quick() -> Value {
    json!({"command": {"exec": {"argv": ["/bin/true"]}}})
}

#[test]
fn why_answers_for_every_state_that_it_meets() {
    let daemon = Daemon::start();
    let held = daemon.enqueue_with(json!({"run": quick(), "isHeld": true}));
    let said = done(&daemon, &["why", &held]);
    assert!(said.starts_with(&format!("{held} is HELD in queue default\n  on hold by admin\n")), "{said}");
    let later = daemon.enqueue_with(json!({"run": quick(), "delay": "1h"}));
    assert!(
        done(&daemon, &["why", &later]).starts_with(&format!("{later} is SCHEDULED in queue default\n  "))
    );
    let failing = daemon.enqueue(&["/bin/sh", "-c", "echo no space left >&2; exit 3"]);
    daemon.wait_final(&failing);
    let said = done(&daemon, &["why", &failing]);
    assert!(
        said.starts_with(&format!("{failing} FAILED at ")) && said.ends_with("error line: no space left\n"),
        "{said}"
    );
    let missing = daemon.cli(&["why", "999"]);
    assert_eq!(missing.status.code(), Some(3), "{}", shown(&missing));
}

#[test]
fn next_lists_the_due_times_of_all_schedules_by_time() {
    let daemon = Daemon::start();
    done(&daemon, &["task", "put", "t", "--", "/bin/true"]);
    done(&daemon, &["schedule", "put", "often", "--task", "t", "--every", "1h"]);
    done(&daemon, &["schedule", "put", "rare", "--task", "t", "--cron", "30 3 * * *"]);
    done(&daemon, &["schedule", "put", "off", "--task", "t", "--every", "1m", "--paused"]);
    let data: Value = serde_json::from_str(&done(&daemon, &["next", "-n", "30", "--json"])).expect("JSON");
    let rows = data["next"].as_array().expect("a list");
    let times: Vec<_> = rows.iter().map(|row| row["at"].as_str().expect("an instant")).collect();
    assert!(times.len() == 30 && times.is_sorted(), "{times:?}");
    let of = |name: &str| rows.iter().filter(|row| row["schedule"] == json!(name)).count();
    assert!(of("rare") >= 1 && of("often") >= 25 && of("off") == 0, "{data:#}");
    assert_eq!(done(&daemon, &["next", "-n", "2"]).lines().count(), 3);
}

#[test]
fn top_shows_a_running_job_with_its_progress() {
    let daemon = Daemon::start();
    let program = program_path();
    let script = format!("{program} report --progress 3/10 --status copying; sleep 600");
    let id = daemon.enqueue(&["/bin/sh", "-c", &script]);
    let line = until("the progress in top", PATIENCE, || {
        let shown = done(&daemon, &["top"]);
        shown.lines().find(|line| line.contains(" 30%")).map(str::to_owned)
    });
    assert!(
        line.starts_with(&id) && line.contains("[######--------------]") && line.contains("copying"),
        "{line}"
    );
    assert!(done(&daemon, &["why", &id]).contains("3/10"));
}

#[test]
fn a_wait_for_several_jobs_ends_with_the_last_and_tells_the_first_failure() {
    let daemon = Daemon::start();
    let ids =
        ["exit 0", "sleep 0.2; exit 7", "exit 9"].map(|script| daemon.enqueue(&["/bin/sh", "-c", script]));
    let waited = daemon.cli(&["wait", &ids[0], &ids[1], &ids[2]]);
    assert_eq!(waited.status.code(), Some(7), "{}", shown(&waited));
    let endless = daemon.enqueue(&["/bin/sleep", "600"]);
    let waited = daemon.cli(&["wait", &ids[0], &endless, "--timeout", "50ms"]);
    assert_eq!(waited.status.code(), Some(124), "{}", shown(&waited));
}
