//! T2: jobs in hundreds, each hundred durable when it is answered. Beside it the same rows by rusqlite, a hundred a
//! transaction, and the same mutation in memory.

use std::time::Duration;

use crate::Bench;
use crate::floors::{self, Floor};
use crate::load::Until;
use crate::measure::{figure, median, ratio};
use crate::program::{Daemon, directory};
use crate::table::{Row, Wanted};
use crate::work::{ENQUEUE_MANY, assert_kept, many, pause_queue, waiting_job};

/// Clients at once.
const CONNECTIONS: usize = 8;
/// Jobs of one request.
const EACH: usize = 100;

/// Measures it.
pub async fn run(bench: &mut Bench) {
    let rounds = bench.rounds(5);
    let span = bench.sized(Duration::from_secs(2), Duration::from_millis(300));
    let rows = bench.sized("100000", "2000");
    let mut daemon = Daemon::beadle(&bench.programs, &[]).await;
    pause_queue(&daemon).await;
    let memory = Floor::serve("server", &[]);
    let jobs_each = many(&waiting_job(), EACH);
    let ours_load = daemon.load(CONNECTIONS, EACH, ENQUEUE_MANY, &jobs_each);
    let memory_load = memory.load(CONNECTIONS, EACH, ENQUEUE_MANY, &jobs_each);
    let (mut ours, mut in_memory, mut by_rows, mut jobs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let outcome = ours_load.run(Until::Span(span)).await;
        ours.push(outcome.jobs_per_second());
        jobs.extend(outcome.jobs);
        in_memory.push(memory_load.run(Until::Span(span)).await.jobs_per_second());
        let disk = directory();
        let path = disk.path().join("rows.db");
        let path = path.to_str().expect("paths here are text");
        by_rows.push(floors::rate("rows", &[path, rows, &EACH.to_string()]));
    }
    // The last of them are acknowledged while it is killed.
    let last = tokio::spawn(async move { ours_load.run(Until::Broken).await });
    tokio::time::sleep(span / 3).await;
    daemon.kill9();
    jobs.extend(last.await.expect("the clients end with the daemon").jobs);
    daemon.restart().await;
    let sample = assert_kept(&daemon, &jobs, "QUEUED").await;
    let mut row = |what: &str, floor: &[f64], unit: &str, least| {
        bench.table.add(Row {
            target: "T2",
            what: what.to_owned(),
            measured: figure(median(&ours), "jobs/s"),
            floor: figure(median(floor), unit),
            ratio: ratio(&ours, floor),
            wanted: Wanted::AtLeast(least),
        });
    };
    row("enqueues in hundreds; rusqlite, 100 rows a transaction", &by_rows, "rows/s", 0.9);
    row("the same; the mutation in memory", &in_memory, "jobs/s", 0.45);
    bench.table.note(format!("T2: {sample} of {} jobs looked for behind a kill -9, all there.", jobs.len()));
}
