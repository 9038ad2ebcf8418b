//! The parts that a worker has because of the others are kept alive like all parts: each panics, is back, and the worker
//! keeps its place. The part that tells a sink leaves it alone once another worker tells it.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support::cluster::LEASE;
use crate::support::daemon::{Daemon, string};
use crate::support::postgres::postgres_url;
use crate::support::receiver::{Receiver, Reply};
use crate::support::wait::{PATIENCE, until};

const POINTS: &str = "lease.tick:2:panic,others.tick:2:panic,take_over.tick:2:panic";
const PARTS: [&str; 3] = ["hearing", "lease-keeper", "take-over"];

#[test]
fn the_parts_between_workers_panic_and_are_back_and_the_worker_keeps_its_place() {
    let Some(url) = postgres_url() else { return };
    let flags = ["--database", &url, "--lease", LEASE];
    let mut daemon = Daemon::prepared(&flags);
    daemon.try_start(&[("BEADLE_TEST_POINTS", POINTS)]).expect("the daemon starts");
    until("each to have failed and to be well", PATIENCE, || {
        let answer = daemon.graphql("{ health { subsystems { name status restartCount } } }", json!({}));
        let rows = answer["health"]["subsystems"].as_array().cloned().unwrap_or_default();
        let well = rows.iter().filter(|row| row["restartCount"] == json!(1) && row["status"] == "OK");
        let mut names: Vec<_> = well.map(|row| string(&row["name"])).collect();
        names.sort();
        (names == PARTS).then_some(())
    });
    // Its lease was held all the while: it is the one worker that was ever listed.
    let workers = daemon.graphql("{ workers { nodes { id status } } }", json!({}));
    assert_eq!(workers["workers"]["nodes"], json!([{"id": "worker_1", "status": "ONLINE"}]));
    let id = daemon.enqueue(&["true"]);
    assert_eq!(daemon.wait_final_state(&id), "SUCCEEDED");
}

/// A worker over this database that tells a receiver of the ends of jobs.
fn teller(url: &str, receiver: &Receiver) -> Daemon {
    let mut daemon = Daemon::prepared(&["--database", url, "--lease", LEASE]);
    daemon.put_settings(&format!(
        "[sinks.hook]\nkind = \"webhook\"\nurl = \"{}\"\nallow_internal = true\n\
         secrets = [\"whsec_b2xkLW9sZC1vbGQtb2xkLW9sZC1vbGQtb2xkIQ==\"]\n\
         events = [\"JOB_STATE_CHANGED\"]\nstates = [\"SUCCEEDED\"]\n",
        receiver.url("/hook")
    ));
    daemon.try_start(&[]).expect("the daemon starts");
    daemon
}

fn run_job(daemon: &Daemon) -> String {
    let id = daemon.enqueue(&["true"]);
    assert_eq!(daemon.wait_final_state(&id), "SUCCEEDED");
    id
}

fn wait_overtaken(daemon: &Daemon) {
    until("it to notice the other worker", PATIENCE, || {
        daemon.log().contains("another daemon").then_some(())
    });
}

/// Does something to the database on purpose.
fn execute(url: &str, statement: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made").block_on(async {
        let mut connection = PgConnection::connect(url).await.expect("the server answers");
        let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await;
        done.expect("the test's statement");
    });
}

#[test]
fn a_worker_does_not_go_on_with_events_that_another_one_has_told() {
    let Some(url) = postgres_url() else { return };
    let receiver = Receiver::start();
    receiver.behave(|_| Reply::Status(503, ""));
    let daemon = teller(&url, &receiver);
    run_job(&daemon);
    run_job(&daemon);
    receiver.wait_for(1);
    // As another worker does that has told them.
    execute(&url, "UPDATE sinks SET position = (SELECT max(seq) FROM events)");
    wait_overtaken(&daemon);
    let before = receiver.received().len();
    receiver.behave(|_| Reply::Status(200, ""));
    let next = run_job(&daemon);
    let told = receiver.wait_for(before + 1);
    let jobs: Vec<_> = told[before..].iter().map(|one| string(&one.json()["data"]["jobId"])).collect();
    assert_eq!(jobs, [next]);
}

#[test]
fn a_worker_whose_lease_was_over_does_not_go_on_telling_a_sink() {
    let Some(url) = postgres_url() else { return };
    let receiver = Receiver::start();
    receiver.behave(|_| Reply::Status(503, ""));
    let first = teller(&url, &receiver);
    run_job(&first);
    let _second = teller(&url, &receiver);
    let signal = |signal| {
        let pid = i32::try_from(first.pid()).ok().and_then(Pid::from_raw).expect("a pid is not 0");
        kill_process(pid, signal).expect("our own child");
    };
    // After so many tries it rests for seconds: it is stopped between two of them.
    receiver.wait_for(3);
    signal(Signal::STOP);
    let before = receiver.received().len();
    receiver.behave(|_| Reply::Status(200, ""));
    receiver.wait_for(before + 1);
    signal(Signal::CONT);
    wait_overtaken(&first);
    assert_eq!(receiver.received().len(), before + 1, "it told again what the second one has told");
}
