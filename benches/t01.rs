//! T1: single enqueues, each durable when it is answered, from 50 connections. Beside them the same mutation in
//! memory, and in a transaction of its own.

use std::time::Duration;

use crate::Bench;
use crate::floors::Floor;
use crate::load::Until;
use crate::machine::cpu_us;
use crate::measure::{figure, median, ratio};
use crate::program::{Daemon, directory};
use crate::table::{Row, Wanted};
use crate::work::{ENQUEUE, assert_kept, one, pause_queue, waiting_job};

/// Clients at once.
const CONNECTIONS: usize = 50;

/// Measures it.
pub async fn run(bench: &mut Bench) {
    let rounds = bench.rounds(5);
    let span = bench.sized(Duration::from_millis(1_500), Duration::from_millis(300));
    let mut daemon = Daemon::beadle(&bench.programs, &[]).await;
    pause_queue(&daemon).await;
    let disk = directory();
    let path = disk.path().join("stock.db");
    let memory = Floor::serve("server", &[]);
    let each = Floor::serve("server", &[path.to_str().expect("paths here are text")]);
    let job = one(&waiting_job());
    let ours_load = daemon.load(CONNECTIONS, 1, ENQUEUE, &job);
    let memory_load = memory.load(CONNECTIONS, 1, ENQUEUE, &job);
    let each_load = each.load(CONNECTIONS, 1, ENQUEUE, &job);

    let (mut ours, mut in_memory, mut in_each) = (Vec::new(), Vec::new(), Vec::new());
    let (mut ours_cpu, mut memory_cpu, mut jobs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let before = cpu_us(daemon.pid());
        let outcome = ours_load.run(Until::Span(span)).await;
        ours_cpu.push((cpu_us(daemon.pid()) - before) / outcome.jobs.len() as f64);
        ours.push(outcome.per_second());
        jobs.extend(outcome.jobs);
        let before = cpu_us(memory.pid());
        let outcome = memory_load.run(Until::Span(span)).await;
        memory_cpu.push((cpu_us(memory.pid()) - before) / outcome.answered as f64);
        in_memory.push(outcome.per_second());
        in_each.push(each_load.run(Until::Span(span)).await.per_second());
    }
    // The last of them are acknowledged while it is killed.
    let last = tokio::spawn(async move { ours_load.run(Until::Broken).await });
    tokio::time::sleep(span / 3).await;
    daemon.kill9();
    jobs.extend(last.await.expect("the clients end with the daemon").jobs);
    daemon.restart().await;
    let sample = assert_kept(&daemon, &jobs, "QUEUED").await;

    let mut row = |what: &str, measured: &[f64], floor: &[f64], unit: &str, wanted| {
        bench.table.add(Row {
            target: "T1",
            what: what.to_owned(),
            measured: figure(median(measured), unit),
            floor: figure(median(floor), unit),
            ratio: ratio(measured, floor),
            wanted,
        });
    };
    row("enqueues; the same mutation in memory", &ours, &in_memory, "/s", Wanted::AtLeast(0.95));
    row("enqueues; one sqlx transaction each", &ours, &in_each, "/s", Wanted::AtLeast(7.0));
    row("CPU of an enqueue; in memory", &ours_cpu, &memory_cpu, "µs", Wanted::AtMost(1.25));
    bench.table.note(format!("T1: {sample} of {} jobs looked for behind a kill -9, all there.", jobs.len()));
}
