//! T4: jobs that run `/bin/true`, with both streams kept, a process group each and the exit code stored. Beside it
//! the same processes started by `posix_spawn` and nothing else; and both again in a program that holds 500 MB.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::Bench;
use crate::floors;
use crate::load::{Load, Until};
use crate::machine::cpu_us;
use crate::measure::{figure, median, per_second, ratio};
use crate::program::Daemon;
use crate::t03::Cycle;
use crate::table::{Row, Wanted};
use crate::work::{ENQUEUE_MANY, assert_kept, many, true_job, wait_done};

/// Processes at once.
const SLOTS: usize = 4;
/// Jobs of one request.
const EACH: usize = 100;
/// What the other program holds.
const BALLAST_MB: usize = 500;

/// Measures it.
pub async fn run(bench: &mut Bench) {
    let slots = SLOTS.to_string();
    let small = Daemon::beadle(&bench.programs, &["--slots", &slots]).await;
    compare(bench, small, 0, 0.92, "`/bin/true` jobs, 4 slots; posix_spawn with pipes").await;
    let ballast = bench.sized(BALLAST_MB, 50);
    let large = Daemon::noop(&bench.programs, SLOTS, ballast).await;
    compare(bench, large, ballast, 0.90, "the same in a program of 500 MB; so is the floor").await;
}

/// Sends so many requests and waits until all their jobs are done.
async fn once(daemon: &Daemon, load: &Load, requests: u64) -> Cycle {
    let (begun, before) = (Instant::now(), cpu_us(daemon.pid()));
    let jobs = load.run(Until::Requests(requests)).await.jobs;
    wait_done(daemon, "default").await;
    let rate = per_second(jobs.len() as u64, begun.elapsed());
    Cycle { rate, cpu_us: (cpu_us(daemon.pid()) - before) / jobs.len() as f64, jobs }
}

async fn compare(bench: &mut Bench, mut daemon: Daemon, ballast_mb: usize, wanted: f64, what: &str) {
    let rounds = bench.rounds(5);
    let count = bench.sized(3_000, 200);
    let load = daemon.load(2, EACH, ENQUEUE_MANY, &many(&true_job(), EACH));
    // As many as the daemon does in a few seconds, in whole requests.
    let first = once(&daemon, &load, 1).await;
    let requests = (first.rate * bench.sized(3.0, 0.1) / EACH as f64).clamp(1.0, 50.0).round();
    let requests = Duration::from_secs_f64(requests).as_secs();
    let floor_arguments = [count.to_string(), SLOTS.to_string(), ballast_mb.to_string()];
    let floor_arguments: Vec<&str> = floor_arguments.iter().map(String::as_str).collect();
    let (mut ours, mut floor, mut jobs, mut cpu) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let run = once(&daemon, &load, requests).await;
        ours.push(run.rate);
        cpu.push(run.cpu_us);
        jobs.extend(run.jobs);
        floor.push(floors::rate("spawn", &floor_arguments));
    }
    daemon.kill9();
    daemon.restart().await;
    let sample = assert_kept(&daemon, &jobs, "SUCCEEDED").await;
    let query = "query ($id: ID!) { job(id: $id) { attempts { nodes { exitCode } } } }";
    let answer = daemon.ask(query, &json!({"id": format!("job_{}", jobs[0])})).await;
    assert_eq!(answer["job"]["attempts"]["nodes"][0]["exitCode"], 0, "{answer}");
    bench.table.add(Row {
        target: "T4",
        what: what.to_owned(),
        measured: figure(median(&ours), "jobs/s"),
        floor: figure(median(&floor), "/s"),
        ratio: ratio(&ours, &floor),
        wanted: Wanted::AtLeast(wanted),
    });
    let cpu = figure(median(&cpu), "µs");
    bench.table.note(format!("T4: the daemon's own CPU for a job, with {ballast_mb} MB more: {cpu}."));
    bench.table.note(format!("T4: {sample} of {} jobs looked for behind a kill -9, all done.", jobs.len()));
}
