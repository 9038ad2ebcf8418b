//! T11: output of a job, taken line by line, stored, and streamed to one who follows. Beside it the bare chunks of
//! such lines in SQLite; and what a flood in one job does to the others' latency.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Bench;
use crate::floors;
use crate::latency::measure;
use crate::load::crowd::Crowd;
use crate::machine::{peak_kb, resident_kb};
use crate::measure::{figure, median, per_second, ratio};
use crate::program::{Daemon, directory, until};
use crate::t03::SLOTS;
use crate::t07::lines_job;
use crate::table::{Row, Wanted};
use crate::work::{ENQUEUE, one};

const FOLLOW_LOG: &str = "subscription ($id: ID!) { jobLog(id: $id) { lines { text } } }";
/// Stands once in each line.
const LINE: &str = "\"text\":";
/// As much output as this is kept whole.
const SETTINGS: &str = "[log]\nattempt_cap = \"16GiB\"\n[retention]\nlog_bytes = \"64GiB\"\n";
/// What a flood may take of memory, in megabytes.
const MEMORY_MB: f64 = 64.0;

/// A daemon that keeps long logs.
async fn daemon(bench: &Bench) -> Daemon {
    let directory = directory();
    let data = directory.path().join("data");
    fs::DirBuilder::new().mode(0o700).create(&data).expect("it can be made");
    let file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(data.join("beadle.toml"));
    let written = file.and_then(|mut file| std::io::Write::write_all(&mut file, SETTINGS.as_bytes()));
    written.expect("the settings can be written");
    Daemon::noop_on(&bench.programs, Arc::new(directory), SLOTS, 0).await
}

/// Measures it.
pub async fn run(bench: &mut Bench) {
    let rounds = bench.rounds(3);
    let count = bench.sized(1_000_000, 20_000);
    let mut daemon = daemon(bench).await;
    let idle = resident_kb(daemon.pid());
    let (mut ours, mut chunks, mut last) = (Vec::new(), Vec::new(), Value::Null);
    for _ in 0..rounds {
        let (rate, job) = flood(&daemon, count).await;
        ours.push(rate);
        last = job;
        let disk = directory();
        let path = disk.path().join("chunks.db");
        chunks
            .push(floors::rate("chunks", &[path.to_str().expect("paths here are text"), &count.to_string()]));
    }
    let added_mb = (peak_kb(daemon.pid()) - idle) / 1_024.0;
    daemon.kill9();
    daemon.restart().await;
    assert_kept(&daemon, &last, count).await;
    bench.table.add(Row {
        target: "T11",
        what: "lines of 100 bytes, stored and streamed; chunks of 100 lines in SQLite".to_owned(),
        measured: figure(median(&ours), "lines/s"),
        floor: figure(median(&chunks), "lines/s"),
        ratio: ratio(&ours, &chunks),
        wanted: Wanted::AtLeast(0.6),
    });
    bench.table.add(Row {
        target: "T11",
        what: "memory that the floods added at most; the limit".to_owned(),
        measured: figure(added_mb, "MB"),
        floor: figure(MEMORY_MB, "MB"),
        ratio: added_mb / MEMORY_MB,
        wanted: Wanted::AtMost(1.0),
    });
    beside(bench, &daemon).await;
}

/// One job that writes as fast as it may, followed to its last line: lines a second.
async fn flood(daemon: &Daemon, count: u32) -> (f64, Value) {
    let mut job = lines_job(count, 0);
    job["isHeld"] = json!(true);
    let id = daemon.ask(ENQUEUE, &one(&job)).await["jobEnqueue"]["job"]["id"].take();
    let followed = json!({"id": id});
    let crowd =
        Crowd::open(daemon.address(), &[daemon.token().to_owned()], 1, FOLLOW_LOG, &followed, LINE).await;
    let begun = Instant::now();
    release(daemon, &id).await;
    until("the last line", async || crowd.marks() >= u64::from(count)).await;
    let rate = per_second(u64::from(count), begun.elapsed());
    until("the end of the job", async || {
        let state = "query ($id: ID!) { job(id: $id) { state } }";
        daemon.ask(state, &followed).await["job"]["state"] == "SUCCEEDED"
    })
    .await;
    assert_eq!(crowd.marks(), u64::from(count), "lines came twice");
    (rate, id)
}

async fn release(daemon: &Daemon, id: &Value) {
    let release = "mutation ($id: ID!) { jobRelease(input: {id: $id}) { userErrors { message } } }";
    let answer = daemon.ask(release, &json!({"id": id})).await;
    assert_eq!(answer["jobRelease"]["userErrors"], json!([]), "{answer}");
}

/// Whether the log is whole behind a kill.
async fn assert_kept(daemon: &Daemon, id: &Value, count: u32) {
    let query = "query ($id: ID!) { job(id: $id) { log(last: 1) { droppedBytes lines { text } } } }";
    let answer = daemon.ask(query, &json!({"id": id})).await;
    let log = &answer["job"]["log"];
    assert_eq!(log["droppedBytes"], "0", "output was lost: {answer}");
    let text = log["lines"][0]["text"].as_str().unwrap_or_default();
    assert!(text.starts_with(&format!("{:016}", count - 1)), "the last line is {text:?}");
}

/// The others' latency without and with a flood beside them.
async fn beside(bench: &mut Bench, daemon: &Daemon) {
    let rounds = bench.rounds(3);
    let count = bench.sized(300, 30);
    let (mut alone, mut flooded) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        alone.push(measure(daemon, count).await.p99_us);
        let lines = bench.sized(100_000_000, 10_000_000);
        let answer = daemon.ask(ENQUEUE, &one(&lines_job(lines, 0))).await;
        let id = &answer["jobEnqueue"]["job"]["id"];
        tokio::time::sleep(Duration::from_millis(100)).await;
        flooded.push(measure(daemon, count).await.p99_us);
        let cancel = "mutation ($id: ID!) { jobCancel(input: {id: $id}) { userErrors { message } } }";
        daemon.ask(cancel, &json!({"id": id})).await;
        until("the end of the flood", async || {
            let state = "query ($id: ID!) { job(id: $id) { state } }";
            daemon.ask(state, &json!({"id": id})).await["job"]["state"] == "CANCELLED"
        })
        .await;
    }
    bench.table.add(Row {
        target: "T11",
        what: "enqueue to RUNNING seen, p99, beside a flood; without it".to_owned(),
        measured: figure(median(&flooded) / 1_000.0, "ms"),
        floor: figure(median(&alone) / 1_000.0, "ms"),
        ratio: ratio(&flooded, &alone),
        wanted: Wanted::AtMost(2.0),
    });
}
