//! T3: jobs that do nothing, from the enqueue over HTTP until each is stored as done. Beside it the bare SQL of that
//! way, a hundred jobs in a transaction.

use std::time::{Duration, Instant};

use crate::Bench;
use crate::floors;
use crate::load::Until;
use crate::machine::cpu_us;
use crate::measure::{figure, median, per_second, ratio};
use crate::program::{Daemon, directory};
use crate::table::{Row, Wanted};
use crate::work::{ENQUEUE_MANY, assert_kept, many, noop_job, wait_done};

/// Jobs of one request, and of one transaction of the floor.
pub const EACH: u32 = 100;
/// Slots of the daemon.
pub const SLOTS: usize = 256;
/// Clients at once.
const CONNECTIONS: usize = 8;
/// What a job may cost, in microseconds.
const CPU_US: f64 = 15.0;

/// One run from the first enqueue to the last end.
#[derive(Debug)]
pub struct Cycle {
    /// Jobs a second.
    pub rate: f64,
    /// CPU of the daemon for a job, in microseconds.
    pub cpu_us: f64,
    /// The jobs' numbers.
    pub jobs: Vec<u64>,
}

/// As many jobs as the daemon does in a few seconds: it must be neither over at once nor without end. The store is
/// warm behind it.
pub async fn fitting(bench: &Bench, daemon: &Daemon) -> u32 {
    let (first, seconds, most) = bench.sized((1_000, 3.0, 60_000.0), (200, 0.1, 1_000.0));
    let wished = (cycle(daemon, first).await.rate * seconds).clamp(f64::from(first), most);
    // Whole requests.
    u32::try_from(Duration::from_secs_f64(wished).as_secs()).expect("it is small") / EACH * EACH
}

/// Sends `count` jobs that do nothing and waits until all are done.
pub async fn cycle(daemon: &Daemon, count: u32) -> Cycle {
    let load =
        daemon.load(CONNECTIONS, EACH as usize, ENQUEUE_MANY, &many(&noop_job("default"), EACH as usize));
    let (begun, before) = (Instant::now(), cpu_us(daemon.pid()));
    let outcome = load.run(Until::Requests(u64::from(count / EACH))).await;
    wait_done(daemon, "default").await;
    let elapsed = begun.elapsed();
    let jobs = outcome.jobs;
    assert_eq!(jobs.len(), (count / EACH * EACH) as usize, "not all were acknowledged");
    let rate = per_second(jobs.len() as u64, elapsed);
    Cycle { rate, cpu_us: (cpu_us(daemon.pid()) - before) / f64::from(count), jobs }
}

/// The floor, on a new file.
pub fn floor(count: u32) -> f64 {
    let disk = directory();
    let path = disk.path().join("cycle.db");
    let path = path.to_str().expect("paths here are text");
    floors::rate("cycle", &[path, &count.to_string(), &EACH.to_string()])
}

/// Measures it.
pub async fn run(bench: &mut Bench) {
    let rounds = bench.rounds(5);
    let floor_count = bench.sized(40_000, 1_000);
    let mut daemon = Daemon::noop(&bench.programs, SLOTS, 0).await;
    let count = fitting(bench, &daemon).await;
    let (mut ours, mut cpu, mut floor_rates, mut jobs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let run = cycle(&daemon, count).await;
        ours.push(run.rate);
        cpu.push(run.cpu_us);
        jobs.extend(run.jobs);
        floor_rates.push(floor(floor_count));
    }
    daemon.kill9();
    daemon.restart().await;
    let sample = assert_kept(&daemon, &jobs, "SUCCEEDED").await;
    bench.table.add(Row {
        target: "T3",
        what: "no-op jobs from enqueue to done; SQL cycle, 100 a transaction".to_owned(),
        measured: figure(median(&ours), "jobs/s"),
        floor: figure(median(&floor_rates), "jobs/s"),
        ratio: ratio(&ours, &floor_rates),
        wanted: Wanted::AtLeast(0.85),
    });
    bench.table.add(Row {
        target: "T3",
        what: "CPU of such a job; the limit".to_owned(),
        measured: figure(median(&cpu), "µs"),
        floor: figure(CPU_US, "µs"),
        ratio: median(&cpu) / CPU_US,
        wanted: Wanted::AtMost(1.0),
    });
    bench.table.note(format!("T3: {sample} of {} jobs looked for behind a kill -9, all done.", jobs.len()));
}
