//! T7: what one event costs that goes to a thousand subscribers, and one log that five thousand follow. Beside them a
//! frame that was made before, written to as many sockets, and the stock server's subscription.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::Bench;
use crate::floors::lines::now_us;
use crate::floors::server::EVENTS_PER_SECOND;
use crate::floors::{Floor, WORD};
use crate::load::crowd::Crowd;
use crate::load::{Http, Socket};
use crate::machine::{cpu_us, resident_kb};
use crate::measure::{figure, median, percentile, ratio};
use crate::program::Daemon;
use crate::table::{Row, Wanted};
use crate::work::{ENQUEUE, one, pause_queue, waiting_job};

const FOLLOW: &str = "subscription { events { events { type jobId data } } }";
const FOLLOW_CREATED: &str =
    "subscription { events(filter: {types: [JOB_CREATED]}) { events { type jobId data } } }";
const FOLLOW_LOG: &str = "subscription ($id: ID!) { jobLog(id: $id) { lines { text } } }";
/// Stands once in each event.
const EVENT: &str = "\"JOB_CREATED\"";
/// Stands once in each line.
const LINE: &str = "\"text\":";
/// What a connection may take, in kilobytes.
const CONNECTION_KB: f64 = 16.0;
/// What a line may cost for each who follows, in microseconds, and how late it may be, in milliseconds.
const LINE_US: f64 = 1.5;
const LATE_MS: f64 = 80.0;
/// How long the log may take to be with all, of which its writer takes ten seconds.
const CAUGHT_UP: Duration = Duration::from_secs(30);
/// Followers of the log that also look at the time on each line.
const WATCHERS: usize = 5;

/// Measures it.
pub async fn run(bench: &mut Bench) {
    events(bench).await;
    log(bench).await;
}

/// CPU of a server for each event that a subscriber gets, in microseconds.
async fn cost(pid: u32, crowd: &Crowd, span: Duration, idle_cpu: f64) -> f64 {
    let (before, marks) = (cpu_us(pid), crowd.marks());
    tokio::time::sleep(span).await;
    let got = crowd.marks() - marks;
    assert!(got > 0, "nothing came");
    (cpu_us(pid) - before - idle_cpu * span.as_secs_f64()) / got as f64
}

async fn events(bench: &mut Bench) {
    let rounds = bench.rounds(3);
    let (count, span) = bench.sized((1_000, Duration::from_secs(4)), (50, Duration::from_millis(500)));
    let daemon = Daemon::beadle(&bench.programs, &[]).await;
    pause_queue(&daemon).await;
    let (readers, nobody) = (daemon.readers(count).await, ["none".to_owned()]);
    let (frames, stock) = (Floor::serve("frames", &[]), Floor::serve("server", &[]));
    let enqueues = enqueue_steadily(&daemon);
    let (before, none) = (cpu_us(daemon.pid()), json!({}));
    tokio::time::sleep(span).await;
    let alone = (cpu_us(daemon.pid()) - before) / span.as_secs_f64();
    let (mut ours, mut by_frames, mut by_stock, mut kilobytes) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let resident = resident_kb(daemon.pid());
        let crowd = Crowd::open(daemon.address(), &readers, count, FOLLOW_CREATED, &none, EVENT).await;
        ours.push(cost(daemon.pid(), &crowd, span, alone).await);
        kilobytes.push((resident_kb(daemon.pid()) - resident) / crowd.count() as f64);
        drop(crowd);
        let crowd = Crowd::open(frames.address(), &nobody, count, FOLLOW, &none, EVENT).await;
        by_frames.push(cost(frames.pid(), &crowd, span, 0.0).await);
        drop(crowd);
        let crowd = Crowd::open(stock.address(), &nobody, count, FOLLOW, &none, EVENT).await;
        by_stock.push(cost(stock.pid(), &crowd, span, 0.0).await);
    }
    enqueues.abort();
    let mut row = |what: &str, measured: &[f64], floor: &[f64], unit: &str, ratio, wanted| {
        let (measured, floor) = (figure(median(measured), unit), figure(median(floor), unit));
        bench.table.add(Row { target: "T7a", what: what.to_owned(), measured, floor, ratio, wanted });
    };
    let wanted = Wanted::AtMost(1.25);
    row(
        "CPU of an event to a subscriber; one write of a frame",
        &ours,
        &by_frames,
        "µs",
        ratio(&ours, &by_frames),
        wanted,
    );
    let wanted = Wanted::AtMost(0.25);
    row("the same; stock subscription", &ours, &by_stock, "µs", ratio(&ours, &by_stock), wanted);
    // Later rounds find memory that the first one left: the first counts.
    let first = kilobytes[0];
    let wanted = Wanted::AtMost(1.0);
    row("memory of a subscriber; the limit", &[first], &[CONNECTION_KB], "KB", first / CONNECTION_KB, wanted);
}

/// Makes an event a hundredth of a second, until it is aborted.
fn enqueue_steadily(daemon: &Daemon) -> JoinHandle<()> {
    let request = daemon.request(ENQUEUE, &one(&waiting_job()));
    let address = daemon.address().to_owned();
    tokio::spawn(async move {
        let mut http = Http::open(&address).await.expect("the daemon takes connections");
        let mut tick = tokio::time::interval(Duration::from_secs(1) / EVENTS_PER_SECOND);
        loop {
            tick.tick().await;
            http.answer(&request).await.expect("the daemon answers");
        }
    })
}

/// A job of this executable's that writes so many lines at a pace.
pub fn lines_job(count: u32, per_second: u32) -> Value {
    let own = std::env::current_exe().expect("Linux tells a program where it is");
    let own = own.to_str().expect("paths here are text");
    json!({"run": {"command": {"exec": {"argv": [own, WORD, "lines", count.to_string(), per_second.to_string()]}}}})
}

async fn log(bench: &mut Bench) {
    let (count, lines) = bench.sized((5_000, 1_000), (100, 100));
    // And room for those who make, watch and ask.
    let connections = (count + 100).to_string();
    let daemon = Daemon::beadle(&bench.programs, &["--max-connections", &connections]).await;
    let readers = daemon.readers(count).await;
    let mut job = lines_job(lines, EVENTS_PER_SECOND);
    job["isHeld"] = json!(true);
    let id = daemon.ask(ENQUEUE, &one(&job)).await["jobEnqueue"]["job"]["id"].take();
    let followed = json!({"id": id});
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS {
        let mut socket = Socket::open(daemon.address(), daemon.token()).await.expect("it takes sockets");
        socket.subscribe(FOLLOW_LOG, &followed).await.expect("it takes a subscription");
        watchers.push(tokio::spawn(lateness(socket, lines as usize)));
    }
    let crowd = Crowd::open(daemon.address(), &readers, count, FOLLOW_LOG, &followed, LINE).await;
    let asked = count;
    let count = crowd.count();
    if count < asked {
        bench
            .table
            .note(format!("T7b: the daemon takes {count} of {asked} connections: these were measured."));
    }
    let before = cpu_us(daemon.pid());
    let begun = std::time::Instant::now();
    let release = "mutation ($id: ID!) { jobRelease(input: {id: $id}) { userErrors { message } } }";
    daemon.ask(release, &followed).await;
    let wanted = count as u64 * u64::from(lines);
    // Whoever was cut off gets no more: then what came is all.
    while crowd.marks() < wanted && begun.elapsed() < CAUGHT_UP {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let elapsed = begun.elapsed();
    let cpu = cpu_us(daemon.pid()) - before;
    let came = crowd.marks();
    assert!(came <= wanted, "lines came twice");
    assert!(came == wanted || bench.sized(true, false), "{came} of {wanted} lines came");
    let mut lateness_us = Vec::new();
    for watcher in watchers {
        lateness_us.extend(watcher.await.expect("no watcher panics"));
    }
    lateness_us.sort_unstable();
    report_log(bench, count, wanted, &Followed { came, cpu_us: cpu, elapsed, lateness_us });
}

/// What the followers of a log got, and what it cost the daemon.
struct Followed {
    came: u64,
    cpu_us: f64,
    elapsed: Duration,
    lateness_us: Vec<u32>,
}

fn report_log(bench: &mut Bench, count: usize, wanted: u64, got: &Followed) {
    let seconds = got.elapsed.as_secs_f64();
    bench.table.add(Row {
        target: "T7b",
        what: format!("lines that came in {seconds:.1} s; all"),
        measured: figure(got.came as f64, "lines"),
        floor: figure(wanted as f64, "lines"),
        ratio: got.came as f64 / wanted as f64,
        wanted: Wanted::AtLeast(1.0),
    });
    let mut row = |what: String, measured: f64, limit: f64, unit: &str| {
        let (told, floor, ratio) = (figure(measured, unit), figure(limit, unit), measured / limit);
        let wanted = Wanted::AtMost(1.0);
        bench.table.add(Row { target: "T7b", what, measured: told, floor, ratio, wanted });
    };
    let per_line = got.cpu_us / got.came.max(1) as f64;
    row(format!("CPU of a log line for each of {count} followers; the limit"), per_line, LINE_US, "µs");
    row("of a core meanwhile; the limit".to_owned(), got.cpu_us / seconds / 10_000.0, 75.0, "%");
    let late_ms = percentile(&got.lateness_us, 99) / 1_000.0;
    row("how late a line comes, p99; the limit".to_owned(), late_ms, LATE_MS, "ms");
}

/// How late each of so many lines came, in microseconds.
async fn lateness(mut socket: Socket, lines: usize) -> Vec<u32> {
    let mut late_us = Vec::new();
    while late_us.len() < lines {
        let Ok(Ok(message)) = timeout(CAUGHT_UP, socket.message()).await else {
            break;
        };
        let now = now_us();
        let message: Value = serde_json::from_slice(&message).expect("messages are JSON");
        let lines = message["payload"]["data"]["jobLog"]["lines"].as_array().cloned().unwrap_or_default();
        for line in lines {
            let sent_us: u64 = line["text"]
                .as_str()
                .and_then(|text| text.split(' ').next())
                .map_or(0, |digits| digits.parse().expect("a line begins with its time"));
            late_us.push(u32::try_from(now.saturating_sub(sent_us)).unwrap_or(u32::MAX));
        }
    }
    late_us
}
