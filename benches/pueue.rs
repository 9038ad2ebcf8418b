//! Pueue beside Beadle: commands a second, how soon one starts, memory while idle, and the start. Both are asked by their
//! own command lines where a person would. It must never touch a pueue that it did not start.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;

use crate::Bench;
use crate::load::Until;
use crate::machine::resident_kb;
use crate::measure::{figure, per_second, percentile};
use crate::program::{Daemon, directory, until};
use crate::table::{Row, Wanted};
use crate::work::{ENQUEUE_MANY, many, true_job, wait_done};

/// A `pueued` of our own. Dropping it kills it.
struct Pueue {
    child: Child,
    client: PathBuf,
    home: TempDir,
}

impl Pueue {
    /// Starts it and waits for its first answer; `None` when it is not installed.
    async fn start() -> Option<Pueue> {
        let (daemon, client) = (on_path("pueued")?, on_path("pueue")?);
        let home = directory();
        let at = home.path().display();
        let settings = format!(
            "shared:\n  pueue_directory: {at}\n  runtime_directory: {at}\ndaemon: {{}}\nclient: {{}}\n"
        );
        fs::write(home.path().join("pueue.yml"), settings).expect("the settings can be written");
        let mut command = Command::new(daemon);
        command
            .arg("--config")
            .arg(home.path().join("pueue.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let pueue = Pueue { child: command.spawn().expect("pueued starts"), client, home };
        until("pueued", async || pueue.say(&["status", "--json"]).is_some()).await;
        Some(pueue)
    }

    fn say(&self, arguments: &[&str]) -> Option<Vec<u8>> {
        let mut client = Command::new(&self.client);
        let output = client.arg("--config").arg(self.home.path().join("pueue.yml")).args(arguments).output();
        output.ok().filter(|output| output.status.success()).map(|output| output.stdout)
    }

    fn add(&self, command: &str) {
        assert!(self.say(&["add", "--", command]).is_some(), "pueue takes no job");
    }

    /// Waits until so many have been done.
    async fn wait_done(&self, count: usize) {
        until("pueue's last job", async || {
            let status = self.say(&["status", "--json"]).unwrap_or_default();
            let status: Value = serde_json::from_slice(&status).unwrap_or(Value::Null);
            let tasks = status["tasks"].as_object().cloned().unwrap_or_default();
            tasks.len() == count && tasks.values().all(|task| !task["status"]["Done"].is_null())
        })
        .await;
    }
}

impl Drop for Pueue {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).map(|path| path.join(name)).find(|path| path.exists())
}

/// What is compared.
struct Side {
    start_ms: f64,
    idle_kb: f64,
    per_second: f64,
    latencies_us: Vec<u32>,
}

/// Measures it.
pub async fn run(bench: &mut Bench) {
    let Some(theirs) = pueue(bench).await else {
        bench.table.note("pueue: skipped, there is no `pueued`.".to_owned());
        return;
    };
    let ours = beadle(bench).await;
    let mut row = |target, what: &str, ours: f64, theirs: f64, unit: &str, wanted| {
        let (what, measured, floor) = (format!("{what}; pueue"), figure(ours, unit), figure(theirs, unit));
        bench.table.add(Row { target, what, measured, floor, ratio: ours / theirs, wanted });
    };
    let at = |side: &Side, percent| percentile(&side.latencies_us, percent) / 1_000.0;
    row(
        "T4",
        "`/bin/true` jobs, 4 slots",
        ours.per_second,
        theirs.per_second,
        "jobs/s",
        Wanted::AtLeast(200.0),
    );
    row("T5", "command line to start, p50", at(&ours, 50), at(&theirs, 50), "ms", Wanted::AtMost(1.0));
    row("T5", "command line to start, p99", at(&ours, 99), at(&theirs, 99), "ms", Wanted::AtMost(1.0));
    let megabytes = |side: &Side| side.idle_kb / 1_024.0;
    row("T8", "resident while idle", megabytes(&ours), megabytes(&theirs), "MB", Wanted::AtMost(0.4));
    row("T9", "start to the first answer", ours.start_ms, theirs.start_ms, "ms", Wanted::AtMost(1.0));
}

async fn pueue(bench: &Bench) -> Option<Side> {
    let (count, watched) = bench.sized((200, 30), (20, 3));
    let begun = Instant::now();
    let pueue = Pueue::start().await?;
    let start_ms = begun.elapsed().as_secs_f64() * 1_000.0;
    assert!(pueue.say(&["parallel", "4"]).is_some(), "pueue does not take four at once");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let idle_kb = resident_kb(pueue.child.id());
    let begun = Instant::now();
    for _ in 0..count {
        pueue.add("/bin/true");
    }
    pueue.wait_done(count).await;
    let per_second = per_second(count as u64, begun.elapsed());
    let note = pueue.home.path().join("started");
    let latencies_us = latencies(watched, &note, |script| pueue.add(script)).await;
    Some(Side { start_ms, idle_kb, per_second, latencies_us })
}

async fn beadle(bench: &Bench) -> Side {
    let begun = Instant::now();
    let daemon = Daemon::beadle(&bench.programs, &["--slots", "4"]).await;
    let start_ms = begun.elapsed().as_secs_f64() * 1_000.0;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let idle_kb = resident_kb(daemon.pid());
    let begun = Instant::now();
    let (requests, watched) = bench.sized((30, 30), (2, 3));
    let load = daemon.load(2, 100, ENQUEUE_MANY, &many(&true_job(), 100));
    let outcome = load.run(Until::Requests(requests)).await;
    wait_done(&daemon, "default").await;
    let per_second = per_second(outcome.jobs.len() as u64, begun.elapsed());
    let home = daemon.directory();
    let latencies_us = latencies(watched, &home.path().join("started"), |script| {
        let mut client = Command::new(&bench.programs.beadle);
        client.args(["run", "--", "/bin/sh", "-c", script]).stdout(Stdio::null());
        client.env("BEADLE_URL", format!("http://{}", daemon.address())).env("BEADLE_TOKEN", daemon.token());
        assert!(client.status().is_ok_and(|status| status.success()), "beadle takes no job");
    })
    .await;
    Side { start_ms, idle_kb, per_second, latencies_us }
}

/// How long after somebody began to say it a job runs, one at a time: each notes the time in `note`. Sorted.
async fn latencies(count: usize, note: &Path, say: impl Fn(&str)) -> Vec<u32> {
    let script = format!("date +%s%N >>{}", note.display());
    let mut times_us = Vec::new();
    for number in 0..count {
        let said_at = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_nanos();
        say(&script);
        let noted = || fs::read_to_string(note).unwrap_or_default();
        until("the job's note", async || noted().matches('\n').count() > number).await;
        let started_at: u128 =
            noted().lines().nth(number).and_then(|line| line.parse().ok()).expect("a time");
        times_us.push(u32::try_from(started_at.saturating_sub(said_at) / 1_000).unwrap_or(u32::MAX));
    }
    times_us.sort_unstable();
    times_us
}
