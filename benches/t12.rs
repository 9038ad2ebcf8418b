//! T12: what a million waiting jobs take of memory, and what is left of a load when it is over.

use std::time::Duration;

use crate::Bench;
use crate::load::Until;
use crate::machine::{peak_kb, resident_kb};
use crate::measure::figure;
use crate::program::Daemon;
use crate::table::{Row, Wanted};
use crate::work::{ENQUEUE_MANY, assert_kept, many, pause_queue, waiting_job};

/// What the waiting jobs may add, in megabytes.
const ADDED_MB: f64 = 64.0;
/// Jobs of one request.
const EACH: usize = 1_000;

/// Measures it.
pub async fn run(bench: &mut Bench) {
    let (count, settle) = bench.sized((1_000_000, 30), (2_000, 1));
    let mut daemon = Daemon::beadle(&bench.programs, &[]).await;
    pause_queue(&daemon).await;
    tokio::time::sleep(Duration::from_secs(settle.min(2))).await;
    let idle = resident_kb(daemon.pid());
    let load = daemon.load(4, EACH, ENQUEUE_MANY, &many(&waiting_job(), EACH));
    let outcome = load.run(Until::Requests(count / EACH as u64)).await;
    assert_eq!(outcome.jobs.len() as u64, count, "not all were acknowledged");
    let (loaded, peak) = (resident_kb(daemon.pid()), peak_kb(daemon.pid()));
    tokio::time::sleep(Duration::from_secs(settle)).await;
    let settled = resident_kb(daemon.pid());
    daemon.kill9();
    daemon.restart().await;
    assert_kept(&daemon, &outcome.jobs, "QUEUED").await;
    bench.table.add(Row {
        target: "T12",
        what: format!("added by {count} waiting jobs, the load's peak included; the limit"),
        measured: figure((peak - idle) / 1_024.0, "MB"),
        floor: figure(ADDED_MB, "MB"),
        ratio: (peak - idle) / 1_024.0 / ADDED_MB,
        wanted: Wanted::AtMost(1.0),
    });
    bench.table.add(Row {
        target: "T12",
        what: format!("resident {settle} s behind the load; before it"),
        measured: figure(settled / 1_024.0, "MB"),
        floor: figure(idle / 1_024.0, "MB"),
        ratio: settled / idle,
        wanted: Wanted::AtMost(1.3),
    });
    bench.table.note(format!("T12: right behind the load it was {}.", figure(loaded / 1_024.0, "MB")));
}
