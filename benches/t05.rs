//! T5: from sending an enqueue until a subscriber sees the job RUNNING, at 100 jobs a second, alone and beside half
//! of the load that the daemon can take. The floor is what the disk needs for two commits.

use crate::Bench;
use crate::floors;
use crate::latency::{Latency, background, measure};
use crate::measure::{figure, median};
use crate::program::{Daemon, directory};
use crate::t03::{SLOTS, cycle, fitting};
use crate::table::{Row, Wanted};

/// What may be added to two syncs, in microseconds: in the middle, and at the slow end.
const ADDED_US: (f64, f64) = (1_000.0, 3_000.0);
/// What the slow end may be beside half of the load, in microseconds.
const LOADED_US: f64 = 10_000.0;

/// How long the disk needs for one sync.
pub fn disk(count: usize) -> Latency {
    let disk = directory();
    let path = disk.path().join("pages");
    let arguments = [path.to_str().expect("paths here are text"), &count.to_string()];
    let figures = floors::figures("fdatasync", &arguments);
    let of = |name: &str| figures[name].as_f64().expect("the floor prints it");
    Latency { p50_us: of("p50_us"), p99_us: of("p99_us") }
}

/// Measures it.
pub async fn run(bench: &mut Bench) {
    let rounds = bench.rounds(3);
    let (count, syncs) = bench.sized((500, 1_000), (50, 100));
    let daemon = Daemon::noop(&bench.programs, SLOTS, 0).await;
    let (mut p50, mut p99, mut floor_p50, mut floor_p99) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let seen = measure(&daemon, count).await;
        p50.push(seen.p50_us);
        p99.push(seen.p99_us);
        let sync = disk(syncs);
        floor_p50.push(ADDED_US.0 + 2.0 * sync.p50_us);
        floor_p99.push(ADDED_US.1 + 2.0 * sync.p99_us);
    }
    let fitting = fitting(bench, &daemon).await;
    let rate = cycle(&daemon, fitting).await.rate;
    let mut loaded = Vec::new();
    for _ in 0..rounds {
        let mut clients = background(&daemon, bench.sized(rate / 2.0, 1_000.0));
        loaded.push(measure(&daemon, count).await.p99_us);
        clients.shutdown().await;
    }
    let mut row = |what: String, measured: &[f64], floor: &[f64]| {
        bench.table.add(Row {
            target: "T5",
            what,
            measured: figure(median(measured) / 1_000.0, "ms"),
            floor: figure(median(floor) / 1_000.0, "ms"),
            ratio: median(measured) / median(floor),
            wanted: Wanted::AtMost(1.0),
        });
    };
    row("enqueue to RUNNING seen, p50; 1 ms and two syncs' p50".to_owned(), &p50, &floor_p50);
    row("the same, p99; 3 ms and two syncs' p99".to_owned(), &p99, &floor_p99);
    let beside = figure(rate / 2.0, "jobs/s");
    row(format!("p99 beside {beside}, half of what it takes; the limit"), &loaded, &[LOADED_US]);
}
