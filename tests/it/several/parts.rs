//! The parts that a worker has because of the others are kept alive like all parts: each panics, is back, and the worker
//! keeps its place.

use serde_json::json;

use crate::support::cluster::LEASE;
use crate::support::daemon::{Daemon, string};
use crate::support::postgres::postgres_url;
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
