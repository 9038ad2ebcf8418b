//! Runs `examples/embedded.rs` as its reader would.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::daemon::send;
use crate::support::program::program;
use crate::support::wait::{PATIENCE, until};

/// Ended with the test, whatever happens.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_embedded_daemon_runs_both_of_its_handlers_and_stops_in_order() {
    let built = Path::new(env!("CARGO_BIN_EXE_beadle")).with_file_name("examples").join("embedded");
    assert!(
        built.exists(),
        "`cargo test` builds it; a narrower test needs `cargo build --example embedded` before"
    );
    let directory = TempDir::with_prefix("beadle-").expect("a temporary directory can be made");
    let data = directory.path().join("data");
    let child = program(built).arg(&data).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = Guarded(child.expect("the example starts"));
    let mut stdout = BufReader::new(child.0.stdout.take().expect("asked for"));
    let mut first = String::new();
    stdout.read_line(&mut first).expect("the example speaks");
    let address = first.trim().strip_prefix("listening on http://").expect("an address").to_owned();
    let token = std::fs::read_to_string(data.join("admin.token")).expect("a token").trim().to_owned();
    let ask = |query: &str, variables: &Value| {
        let mut answer = send(&address, &token, query, variables).expect("an answer");
        assert!(answer.get("errors").is_none(), "{query}: {answer:#}");
        answer["data"].take()
    };

    assert_eq!(ask("{ daemon { handlers } }", &json!({}))["daemon"]["handlers"], json!(["count", "primes"]));
    let enqueue = "mutation ($name: String!) {
      jobEnqueue(input: {run: {command: {handler: $name}}}) { job { id } userErrors { message } } }";
    let job = "query ($id: ID!) { job(id: $id) { state output progress { fraction } failure { message } } }";
    for (name, output) in [("count", json!({"counted": 5})), ("primes", json!({"primes": 9592}))] {
        let made = ask(enqueue, &json!({ "name": name }));
        let id = made["jobEnqueue"]["job"]["id"].as_str().unwrap_or_else(|| panic!("refused: {made}"));
        let ended = until("the job to succeed", PATIENCE, || {
            let job = ask(job, &json!({ "id": id }))["job"].take();
            assert_ne!(job["state"], json!("FAILED"), "{job}");
            (job["state"] == json!("SUCCEEDED")).then_some(job)
        });
        assert_eq!(ended["output"], output, "{ended}");
        assert!(ended["progress"]["fraction"].as_f64() > Some(0.9), "{ended}");
    }

    let pid = rustix::process::Pid::from_child(&child.0);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("our own child");
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("the example ends");
    assert!(rest.ends_with("stopped in order\n"), "{rest}");
    assert!(child.0.wait().expect("our own child").success());
}
