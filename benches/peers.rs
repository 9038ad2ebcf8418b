//! The peers: other queues by their own fastest clients, in the same run as Beadle. What is not installed is said and
//! left out: `redis-server`, PostgreSQL, Node.js and `pueue` come from the system, the clients' packages from npm. None of
//! it may be needed for anything else.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::Bench;
use crate::clients::{Clients, Figures};
use crate::latency::measure;
use crate::load::Until;
use crate::measure::figure;
use crate::postgres::{DURABILITY, Postgres};
use crate::program::{Daemon, directory, until};
use crate::pueue;
use crate::t03::{SLOTS, cycle, fitting};
use crate::table::{Row, Wanted};
use crate::work::{ENQUEUE, ENQUEUE_MANY, many, one, pause_queue, waiting_job};

/// How Redis keeps what it has acknowledged, for the table.
const REDIS_KEEPS: [(&str, &str); 2] =
    [("everysec", "Redis that may lose a second (everysec)"), ("always", "Redis that syncs (always)")];
/// How many times theirs ours should be, for T1, T2 and T3.
const TIMES_BULLMQ: [f64; 3] = [1.0, 9.0, 6.0];
const TIMES_GRAPHILE: [f64; 3] = [10.0, 4.5, 2.3];

/// A Redis server of its own. Dropping it kills it.
struct Redis {
    child: Child,
    port: String,
    _directory: TempDir,
}

impl Redis {
    /// Starts one that syncs `when`; `None` when there is none.
    async fn start(when: &str) -> Option<Redis> {
        let directory = directory();
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("a port is free").port().to_string();
        let mut redis = Command::new("redis-server");
        redis.args(["--bind", "127.0.0.1", "--port", &port, "--save", ""]);
        redis.args(["--appendonly", "yes", "--appendfsync", when, "--dir"]).arg(directory.path());
        let child = redis.stdout(Stdio::null()).spawn().ok()?;
        let server = Redis { child, port, _directory: directory };
        let address = format!("127.0.0.1:{}", server.port);
        until("Redis", async || std::net::TcpStream::connect(&address).is_ok()).await;
        Some(server)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What Beadle reached right before a peer: a machine is not the same for minutes.
struct Ours {
    enqueues: f64,
    bulk: f64,
    done: f64,
    p50: f64,
    p99: f64,
}

/// Measures all that are installed.
pub async fn run(bench: &mut Bench) {
    if let Some(clients) = Clients::install() {
        bullmq(bench, &clients).await;
        graphile(bench, &clients).await;
    } else {
        let missing = "BullMQ and graphile-worker: skipped, npm cannot get their packages.";
        bench.table.note(missing.to_owned());
    }
    pueue::run(bench).await;
}

async fn ours(bench: &Bench) -> Ours {
    let daemon = Daemon::noop(&bench.programs, SLOTS, 0).await;
    pause_queue(&daemon).await;
    let span = bench.sized(Duration::from_secs(4), Duration::from_millis(300));
    let singles = daemon.load(50, 1, ENQUEUE, &one(&waiting_job()));
    let enqueues = singles.run(Until::Span(span)).await.per_second();
    let hundreds = daemon.load(8, 100, ENQUEUE_MANY, &many(&waiting_job(), 100));
    let bulk = hundreds.run(Until::Span(span)).await.jobs_per_second();
    let fitting = fitting(bench, &daemon).await;
    let done = cycle(&daemon, fitting).await.rate;
    let seen = measure(&daemon, bench.sized(500, 50)).await;
    Ours { enqueues, bulk, done, p50: seen.p50_us / 1_000.0, p99: seen.p99_us / 1_000.0 }
}

fn compare(bench: &mut Bench, peer: &str, ours: &Ours, theirs: &Figures, times: [f64; 3]) {
    let mut row = |target, what: &str, ours: f64, name: &str, unit: &str, wanted| {
        let (what, measured) = (format!("{what}; {peer}"), figure(ours, unit));
        let (floor, ratio) = (theirs.shown(name, unit), ours / theirs.of(name));
        bench.table.add(Row { target, what, measured, floor, ratio, wanted });
    };
    let [enqueues, bulk, done] = times.map(Wanted::AtLeast);
    row("T1", "single enqueues", ours.enqueues, "enqueues", "/s", enqueues);
    row("T2", "enqueues in hundreds", ours.bulk, "bulk", "jobs/s", bulk);
    row("T3", "no-op jobs (theirs without the enqueue)", ours.done, "done", "jobs/s", done);
    row("T5", "enqueue to start, p50", ours.p50, "p50", "ms", Wanted::AtMost(1.0));
    row("T5", "enqueue to start, p99", ours.p99, "p99", "ms", Wanted::AtMost(1.0));
}

async fn bullmq(bench: &mut Bench, clients: &Clients) {
    for (when, keeps) in REDIS_KEEPS {
        let Some(redis) = Redis::start(when).await else {
            bench.table.note("BullMQ: skipped, there is no `redis-server`.".to_owned());
            return;
        };
        let [singles, jobs, watched] = bench.sized(["20000", "20000", "500"], ["500", "500", "50"]);
        let ours = ours(bench).await;
        let theirs = clients.run("bullmq.mjs", &[&redis.port, singles, jobs, watched]);
        compare(bench, &format!("BullMQ, {keeps}"), &ours, &theirs, TIMES_BULLMQ);
    }
}

async fn graphile(bench: &mut Bench, clients: &Clients) {
    let Some(server) = Postgres::start(&["peer"]) else {
        let missing = "graphile-worker: skipped, there is no PostgreSQL server that starts.";
        bench.table.note(missing.to_owned());
        return;
    };
    let [singles, jobs, watched] = bench.sized(["3000", "20000", "500"], ["200", "500", "50"]);
    let ours = ours(bench).await;
    let theirs = clients.run("graphile.mjs", &[&server.url("peer"), singles, jobs, watched]);
    compare(bench, &format!("graphile-worker, {DURABILITY}"), &ours, &theirs, TIMES_GRAPHILE);
}
