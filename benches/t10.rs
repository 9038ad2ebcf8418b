//! T10: whether a million finished jobs make anything slower. The floor is the same daemon with an empty store, in
//! rounds that alternate. Also T9's start with that history and ten thousand jobs that were interrupted.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Bench;
use crate::history::fill;
use crate::latency::measure;
use crate::load::{Load, Until};
use crate::measure::{figure, median, percentile, ratio};
use crate::program::Daemon;
use crate::t03::{SLOTS, cycle, fitting};
use crate::table::{Row, Wanted};
use crate::work::{ENQUEUE, ENQUEUE_MANY, LIST, many, noop_job, one, pause_queue, wait_done, waiting_job};

const ONE: &str = "{ job(id: \"job_1\") { id state createdAt finishedAt } }";
const COUNTS: &str = "{ jobCounts { succeeded queued isCapped } }";
/// Jobs that ran when the power went.
const INTERRUPTED: i64 = 10_000;
/// The limit of the start, in milliseconds.
const START_MS: f64 = 100.0;

/// With a million.
pub async fn run(bench: &mut Bench) {
    let count = bench.sized(1_000_000, 5_000);
    with(bench, count, 0.95).await;
}

/// With ten million: only when it is asked for, as it takes minutes and 10 GB to make.
pub async fn run_ten_million(bench: &mut Bench) {
    let count = bench.sized(10_000_000, 5_000);
    with(bench, count, 0.90).await;
}

async fn with(bench: &mut Bench, count: i64, least: f64) {
    let empty = Daemon::noop(&bench.programs, SLOTS, 0).await;
    let full = filled(bench, count).await;
    let mut jobs = u32::MAX;
    for daemon in [&empty, &full] {
        pause_queue(daemon).await;
        jobs = jobs.min(fitting(bench, daemon).await);
    }
    rates(bench, &empty, &full, (count, jobs), least).await;
    reads(bench, &empty, &full, count).await;
}

/// A daemon whose store has a history; measures its start on the way.
async fn filled(bench: &mut Bench, count: i64) -> Daemon {
    let mut daemon = Daemon::noop(&bench.programs, SLOTS, 0).await;
    daemon.ask(ENQUEUE, &one(&noop_job("default"))).await;
    wait_done(&daemon, "default").await;
    daemon.kill9();
    let directory = Arc::clone(&daemon.directory());
    let open = bench.sized(INTERRUPTED, 100);
    fill(&directory.path().join("data"), count, open);
    settle(directory.path(), bench.sized(30, 0)).await;
    let begun = Instant::now();
    daemon.restart().await;
    let took_ms = begun.elapsed().as_secs_f64() * 1_000.0;
    wait_done(&daemon, "default").await;
    bench.table.add(Row {
        target: "T9",
        what: format!(
            "a start with {count} finished jobs and {open} interrupted ones, to the first answer; the limit"
        ),
        measured: figure(took_ms, "ms"),
        floor: figure(START_MS, "ms"),
        ratio: took_ms / START_MS,
        wanted: Wanted::AtMost(1.0),
    });
    daemon
}

/// Lets the disk write back what the filling left.
async fn settle(directory: &Path, seconds: u64) {
    let synced = std::process::Command::new("sync").arg("--file-system").arg(directory).status();
    assert!(synced.is_ok_and(|status| status.success()), "the disk does not sync");
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

async fn rates(bench: &mut Bench, empty: &Daemon, full: &Daemon, (count, jobs): (i64, u32), least: f64) {
    let rounds = bench.rounds(5);
    let span = bench.sized(Duration::from_secs(1), Duration::from_millis(200));
    let waiting = waiting_job();
    let singles = [empty, full].map(|daemon| daemon.load(50, 1, ENQUEUE, &one(&waiting)));
    let hundreds = [empty, full].map(|daemon| daemon.load(8, 100, ENQUEUE_MANY, &many(&waiting, 100)));
    let mut measured: [[Vec<f64>; 2]; 4] = Default::default();
    for _ in 0..rounds {
        for (which, daemon) in [empty, full].into_iter().enumerate() {
            let rate = singles[which].run(Until::Span(span)).await.jobs_per_second();
            measured[0][which].push(rate);
            let rate = hundreds[which].run(Until::Span(span)).await.jobs_per_second();
            measured[1][which].push(rate);
            measured[2][which].push(cycle(daemon, jobs).await.rate);
            measured[3][which].push(1_000.0 / measure(daemon, bench.sized(200, 20)).await.p50_us);
        }
    }
    let names = ["single enqueues", "enqueues in hundreds", "no-op jobs", "one by enqueue to RUNNING seen"];
    for (what, [empty, full]) in names.iter().zip(&measured) {
        let unit = if what.starts_with("one by") { "1/ms" } else { "jobs/s" };
        bench.table.add(Row {
            target: "T10",
            what: format!("{what} with {count} finished jobs; with none"),
            measured: figure(median(full), unit),
            floor: figure(median(empty), unit),
            ratio: ratio(full, empty),
            wanted: Wanted::AtLeast(least),
        });
    }
}

async fn reads(bench: &mut Bench, empty: &Daemon, full: &Daemon, count: i64) {
    let rounds = bench.rounds(5);
    let requests = bench.sized(500, 20);
    let none = json!({});
    for (what, query) in [("a page of jobs", LIST), ("one job", ONE), ("counts by state", COUNTS)] {
        let loads: [Load; 2] = [empty, full].map(|daemon| daemon.load(1, 0, query, &none));
        let mut measured: [Vec<f64>; 2] = Default::default();
        for _ in 0..rounds {
            for (load, measured) in loads.iter().zip(&mut measured) {
                // A page names jobs, which nobody counts here.
                let outcome = load.run(Until::Requests(requests)).await;
                measured.push(percentile(&outcome.latencies_us, 50));
            }
        }
        let [empty, full] = &measured;
        bench.table.add(Row {
            target: "T10",
            what: format!("{what} with {count} finished jobs; with none"),
            measured: figure(median(full), "µs"),
            floor: figure(median(empty), "µs"),
            ratio: ratio(full, empty),
            wanted: Wanted::AtMost(2.0),
        });
    }
}
