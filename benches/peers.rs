//! The peers: other queues by their own fastest clients, in the same run as Beadle. What is not installed is said and
//! left out: `redis-server` and PostgreSQL come from the system, their clients by `npm ci --prefix benches/peers`,
//! pueue by `cargo install --locked pueue`. None of it may be needed for anything else.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::Bench;
use crate::latency::measure;
use crate::load::Until;
use crate::machine::resident_kb;
use crate::measure::{figure, per_second};
use crate::program::{Daemon, directory, until};
use crate::t03::{SLOTS, cycle, fitting};
use crate::table::{Row, Wanted};
use crate::work::{ENQUEUE, ENQUEUE_MANY, many, one, pause_queue, true_job, wait_done, waiting_job};

/// The clients.
const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");
/// Starts a PostgreSQL server of its own in `$1`, as `nobody` when root asks.
const POSTGRES: &str = r#"
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -1); PATH="$PATH:$bin"; cd "$1" || exit 1
as=; [ "$(id -u)" = 0 ] && { chown nobody "$1"; as='setpriv --reuid=nobody --regid=nogroup --clear-groups'; }
$as initdb -D data -U postgres -A trust --no-locale -E UTF8 >init.log 2>&1 || exit 1
exec $as postgres -D data -k "$1" -c listen_addresses= -c shared_buffers=256MB -c max_connections=200
"#;

/// A server that ends with this value.
struct Server {
    child: Child,
    _directory: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What Beadle reached, to be compared.
struct Ours {
    enqueues: f64,
    bulk: f64,
    done: f64,
    p50: f64,
    p99: f64,
}

/// Measures all that are installed.
pub async fn run(bench: &mut Bench) {
    let ours = ours(bench).await;
    let is_ready = Path::new(CLIENTS).join("node_modules").exists();
    if is_ready {
        bullmq(bench, &ours).await;
        graphile(bench, &ours).await;
    } else {
        let missing = "BullMQ and graphile-worker: skipped, `npm ci --prefix benches/peers` was not run.";
        bench.table.note(missing.to_owned());
    }
    pueue(bench).await;
}

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
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

/// Runs a client, which prints its figures.
async fn client(arguments: &[&str]) -> Value {
    let mut command = Command::new("node");
    command.args(arguments).current_dir(CLIENTS).stderr(Stdio::inherit());
    let output = command.output().expect("node starts");
    assert!(output.status.success(), "the client {arguments:?} failed");
    serde_json::from_slice(&output.stdout).expect("a client prints JSON")
}

fn compare(bench: &mut Bench, peer: &str, ours: &Ours, theirs: &Value, wanted: [f64; 3]) {
    let mut row = |target, what: &str, ours: f64, theirs: &Value, unit: &str, wanted| {
        let theirs = theirs.as_f64().expect("a client prints figures");
        let (what, measured, floor) = (format!("{what}; {peer}"), figure(ours, unit), figure(theirs, unit));
        bench.table.add(Row { target, what, measured, floor, ratio: ours / theirs, wanted });
    };
    let [enqueues, bulk, done] = wanted.map(Wanted::AtLeast);
    row("T1", "single enqueues", ours.enqueues, &theirs["enqueues"], "/s", enqueues);
    row("T2", "enqueues in hundreds", ours.bulk, &theirs["bulk"], "jobs/s", bulk);
    row("T3", "no-op jobs (theirs without the enqueue)", ours.done, &theirs["done"], "jobs/s", done);
    row("T5", "enqueue to start, p50", ours.p50, &theirs["p50"], "ms", Wanted::AtMost(1.0));
    row("T5", "enqueue to start, p99", ours.p99, &theirs["p99"], "ms", Wanted::AtMost(1.0));
}

async fn bullmq(bench: &mut Bench, ours: &Ours) {
    if !is_installed("redis-server") {
        bench.table.note("BullMQ: skipped, there is no `redis-server`.".to_owned());
        return;
    }
    let directory = directory();
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let port = free.expect("a port is free").port().to_string();
    let mut redis = Command::new("redis-server");
    redis.args(["--port", &port, "--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--dir"]);
    let child = redis.arg(directory.path()).stdout(Stdio::null()).spawn().expect("redis starts");
    let _server = Server { child, _directory: directory };
    until("Redis", async || std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_ok()).await;
    let [singles, jobs, watched] = bench.sized(["20000", "20000", "500"], ["500", "500", "50"]);
    let theirs = client(&["bullmq.mjs", &port, singles, jobs, watched]).await;
    compare(bench, "BullMQ, Redis everysec", ours, &theirs, [1.0, 9.0, 6.0]);
}

async fn graphile(bench: &mut Bench, ours: &Ours) {
    let directory = directory();
    let path = directory.path().to_str().expect("paths here are text").to_owned();
    let mut shell = Command::new("/bin/sh");
    // A socket's path must be short.
    let socket = TempDir::with_prefix("pg-").expect("a directory can be made");
    let path = if path.len() < 80 { path } else { socket.path().display().to_string() };
    shell.args(["-c", POSTGRES, "postgres", &path]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = shell.spawn().expect("a shell starts");
    let socket_file = Path::new(&path).join(".s.PGSQL.5432");
    let begun = Instant::now();
    while !socket_file.exists() {
        if child.try_wait().is_ok_and(|ended| ended.is_some()) || begun.elapsed().as_secs() > 60 {
            bench
                .table
                .note("graphile-worker: skipped, there is no PostgreSQL server that starts.".to_owned());
            let _ = child.kill();
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let _server = Server { child, _directory: directory };
    tokio::time::sleep(Duration::from_secs(1)).await;
    let [singles, jobs, watched] = bench.sized(["3000", "20000", "500"], ["200", "500", "50"]);
    let url = format!("postgres://postgres@/postgres?host={path}");
    let theirs = client(&["graphile.mjs", &url, singles, jobs, watched]).await;
    compare(bench, "graphile-worker, PostgreSQL", ours, &theirs, [10.0, 4.5, 2.3]);
}

/// Where `cargo install` puts programs, or the path.
fn pueue_program(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).map(|path| path.join(name)).find(|path| path.exists())
}

async fn pueue(bench: &mut Bench) {
    let (Some(daemon), Some(client)) = (pueue_program("pueued"), pueue_program("pueue")) else {
        bench.table.note("pueue: skipped, there is no `pueued`.".to_owned());
        return;
    };
    let count = bench.sized(200, 20);
    let home = directory();
    let config = home.path().join("pueue.yml");
    let settings = format!(
        "shared:\n  pueue_directory: {0}\n  runtime_directory: {0}\ndaemon: {{}}\nclient: {{}}\n",
        home.path().display()
    );
    fs::write(&config, settings).expect("the settings can be written");
    let say = |arguments: &[&str]| {
        let output = Command::new(&client).arg("--config").arg(&config).args(arguments).output();
        output.ok().filter(|output| output.status.success()).map(|output| output.stdout)
    };
    let begun = Instant::now();
    let child = Command::new(&daemon)
        .arg("--config")
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let server = Server { child: child.expect("pueued starts"), _directory: home };
    until("pueued", async || say(&["status", "--json"]).is_some()).await;
    let start_ms = begun.elapsed().as_secs_f64() * 1_000.0;
    assert!(say(&["parallel", "4"]).is_some(), "pueue does not take four at once");
    let idle_kb = resident_kb(server.child.id());
    let begun = Instant::now();
    for _ in 0..count {
        assert!(say(&["add", "--", "/bin/true"]).is_some(), "pueue takes no job");
    }
    until("pueue's last job", async || {
        let status = say(&["status", "--json"]).unwrap_or_default();
        let status: Value = serde_json::from_slice(&status).unwrap_or(Value::Null);
        let tasks = status["tasks"].as_object().cloned().unwrap_or_default();
        tasks.len() == count && tasks.values().all(|task| !task["status"]["Done"].is_null())
    })
    .await;
    let theirs = per_second(count as u64, begun.elapsed());
    beside_pueue(bench, start_ms, idle_kb, theirs).await;
}

async fn beside_pueue(bench: &mut Bench, start_ms: f64, idle_kb: f64, theirs: f64) {
    let begun = Instant::now();
    let daemon = Daemon::beadle(&bench.programs, &["--slots", "4"]).await;
    let our_start_ms = begun.elapsed().as_secs_f64() * 1_000.0;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let our_idle_kb = resident_kb(daemon.pid());
    let begun = Instant::now();
    let jobs = bench.sized(30, 2);
    let load = daemon.load(2, 100, ENQUEUE_MANY, &many(&true_job(), 100));
    let outcome = load.run(Until::Requests(jobs)).await;
    wait_done(&daemon, "default").await;
    let ours = per_second(outcome.jobs.len() as u64, begun.elapsed());
    let mut row = |target, what: &str, ours: f64, theirs: f64, unit: &str, wanted| {
        let (what, measured, floor) = (format!("{what}; pueue"), figure(ours, unit), figure(theirs, unit));
        bench.table.add(Row { target, what, measured, floor, ratio: ours / theirs, wanted });
    };
    row("T4", "`/bin/true` jobs, 4 slots", ours, theirs, "jobs/s", Wanted::AtLeast(200.0));
    row("T8", "resident while idle", our_idle_kb / 1_024.0, idle_kb / 1_024.0, "MB", Wanted::AtMost(0.4));
    row("T9", "start to the first answer", our_start_ms, start_ms, "ms", Wanted::AtMost(1.0));
}
