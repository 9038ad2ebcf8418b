//! What really ran in an attempt is kept: the file, the directory, names of variables, never a value.

use serde_json::json;
use tempfile::TempDir;

use crate::support::daemon::{Daemon, string};
use crate::support::program::shown;
use crate::support::wait::{PATIENCE, until};

const RAN: &str = "query ($id: ID!) { job(id: $id) { attempts { nodes { ran {
  program directory environmentNames environmentCount host cgroup
} } } } }";

#[test]
fn an_attempt_says_what_really_ran_and_never_a_value() {
    let daemon = Daemon::start();
    let variables =
        json!([{"name": "PATH", "value": "/nowhere:/usr/bin:/bin"}, {"name": "KEY", "value": "hunter-2"}]);
    let exec = json!({"argv": ["true"], "workingDirectory": "/usr", "environment": variables});
    let id = daemon.enqueue_with(json!({"run": {"command": {"exec": exec}}}));
    daemon.wait_final(&id);
    let answer = daemon.graphql(RAN, json!({ "id": id }));
    let ran = &answer["job"]["attempts"]["nodes"][0]["ran"];
    let program = string(&ran["program"]);
    assert!(["/usr/bin/true", "/bin/true"].contains(&program.as_str()), "{ran}");
    assert_eq!((&ran["directory"], &ran["cgroup"]), (&json!("/usr"), &json!(null)));
    assert!(!string(&ran["host"]).is_empty());
    let names: Vec<_> = ran["environmentNames"].as_array().expect("a list").iter().map(string).collect();
    for name in ["BEADLE_ATTEMPT", "BEADLE_COOKIE", "BEADLE_JOB_ID", "HOME", "KEY", "PATH"] {
        assert!(names.iter().any(|known| known == name), "{name} is not among {names:?}");
    }
    assert!(names.is_sorted() && ran["environmentCount"] == json!(names.len()), "{ran}");
    assert!(!ran.to_string().contains("hunter"), "{ran}");
    let output = daemon.cli(&["job", &id]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(&format!("{program} in /usr on ")), "{}", shown(&output));

    let missing = daemon.enqueue(&["/no/such/program"]);
    daemon.wait_final(&missing);
    let answer = daemon.graphql(RAN, json!({ "id": missing }));
    assert_eq!(answer["job"]["attempts"]["nodes"][0]["ran"], json!(null), "nothing ran");
}

#[test]
fn a_process_that_could_not_be_recorded_at_first_is_recorded_while_it_runs() {
    let traps = TempDir::with_prefix("beadle-traps-").expect("a temporary directory can be made");
    let (trap, over) = (traps.path().join("trap"), traps.path().join("over"));
    // The next turn of the writer is the one that records the process.
    let daemon = Daemon::start_in_environment(&[
        ("BEADLE_TEST_POINTS", &format!("writer.turn:{}:panic", trap.display())),
        ("BEADLE_SLOTS", "1"),
    ]);
    let script = ": >\"$0\"; while [ ! -e \"$1\" ]; do sleep 0.05; done";
    let paths = [&trap, &over].map(|path| path.display().to_string());
    let id = daemon.enqueue(&["/bin/sh", "-c", script, &paths[0], &paths[1]]);
    until("the process to be known", PATIENCE, || {
        let query = "query ($id: ID!) { job(id: $id) { state currentAttempt { pid ran { program } } } }";
        let job = daemon.send(query, &json!({ "id": id })).ok()?["data"]["job"].take();
        let attempt = &job["currentAttempt"];
        (attempt["pid"].is_i64() && attempt["ran"]["program"].is_string()).then_some(())
    });
    std::fs::write(&over, "").expect("a file is written");
    assert_eq!(daemon.wait_final(&id).job["state"], json!("SUCCEEDED"));
}
