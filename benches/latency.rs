//! Owns how long it takes from sending an enqueue until a subscriber sees the job RUNNING. It must never wait between
//! looks: what is seen is a frame that was pushed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use memchr::memmem;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::load::closed_loop::jobs_in;
use crate::load::{Http, Socket};
use crate::measure::percentile;
use crate::program::Daemon;
use crate::work::{ENQUEUE, ENQUEUE_MANY, many, noop_job, one, put_queue};

/// The queue of the jobs that are watched.
const WATCHED: &str = "latency";
/// Jobs of it a second.
const PER_SECOND: u32 = 100;
/// Clients that send them in turn.
const SENDERS: u32 = 10;
/// How long the last ones may take.
const PATIENCE: Duration = Duration::from_secs(20);

const FOLLOW: &str = "subscription ($queue: String!) {
  events(filter: {queues: [$queue], types: [JOB_STATE_CHANGED]}) { events { jobId data } } }";

/// What was seen, in microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    /// The middle.
    pub p50_us: f64,
    /// The slowest hundredth begins here.
    pub p99_us: f64,
}

/// Sends so many jobs at their pace and gives how long each took.
///
/// # Panics
/// If one of them is not seen.
pub async fn measure(daemon: &Daemon, count: u32) -> Latency {
    measure_across(daemon, daemon, count).await
}

/// The same, sent to one daemon and seen at `there`, which has the same store.
///
/// # Panics
/// If one of them is not seen.
pub async fn measure_across(daemon: &Daemon, there: &Daemon, count: u32) -> Latency {
    put_queue(daemon, WATCHED).await;
    let mut socket = Socket::open(there.address(), there.token()).await.expect("the daemon takes sockets");
    socket.subscribe(FOLLOW, &json!({"queue": WATCHED})).await.expect("it takes a subscription");
    // The subscription stands when a job that was sent behind it is seen.
    let first = send(daemon, 0, 1).await;
    let seen = tokio::spawn(watch(socket, count as usize + 1));
    let mut senders = JoinSet::new();
    let begun = Instant::now() + Duration::from_millis(100);
    for sender in 0..SENDERS {
        senders.spawn(paced(daemon.address().to_owned(), request(daemon), sender, count, begun));
    }
    let mut sent: HashMap<u64, Instant> = first;
    while let Some(part) = senders.join_next().await {
        sent.extend(part.expect("no sender panics"));
    }
    let seen = seen.await.expect("the watcher does not panic");
    assert_eq!(sent.len(), count as usize + 1, "not all were acknowledged");
    let mut times_us: Vec<u32> = sent
        .iter()
        .map(|(job, sent_at)| {
            let seen_at = seen.get(job).unwrap_or_else(|| panic!("job_{job} was not seen RUNNING"));
            u32::try_from(seen_at.duration_since(*sent_at).as_micros()).unwrap_or(u32::MAX)
        })
        .collect();
    times_us.sort_unstable();
    Latency { p50_us: percentile(&times_us, 50), p99_us: percentile(&times_us, 99) }
}

fn request(daemon: &Daemon) -> std::sync::Arc<[u8]> {
    daemon.request(ENQUEUE, &one(&noop_job(WATCHED)))
}

async fn send(daemon: &Daemon, sender: u32, count: u32) -> HashMap<u64, Instant> {
    paced(daemon.address().to_owned(), request(daemon), sender, count, Instant::now()).await
}

/// Sends every `SENDERS`th of the jobs when it is due.
async fn paced(
    address: String,
    request: std::sync::Arc<[u8]>,
    sender: u32,
    count: u32,
    begun: Instant,
) -> HashMap<u64, Instant> {
    let mut http = Http::open(&address).await.expect("the daemon takes connections");
    let mut sent = HashMap::new();
    for number in (sender..count).step_by(SENDERS as usize) {
        let due_at = begun + Duration::from_secs(1) * number / PER_SECOND;
        tokio::time::sleep_until(due_at.into()).await;
        let sent_at = Instant::now();
        let body = http.answer(&request).await.expect("the daemon answers");
        let job = jobs_in(body).next().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(body)));
        sent.insert(job, sent_at);
    }
    sent
}

/// When each of so many jobs was seen RUNNING.
async fn watch(mut socket: Socket, count: usize) -> HashMap<u64, Instant> {
    let mut seen = HashMap::new();
    while seen.len() < count {
        let Ok(message) = timeout(PATIENCE, socket.message()).await else {
            return seen;
        };
        let message = message.expect("the daemon keeps the socket open");
        let now = Instant::now();
        for event in memmem::find_iter(&message, b"\"jobId\":\"job_") {
            let event = &message[event + 13..];
            let end = memmem::find(event, b"\"jobId\"").unwrap_or(event.len());
            if memmem::find(&event[..end], b"\"to\":\"RUNNING\"").is_some() {
                let digits = event.iter().take_while(|sign| sign.is_ascii_digit());
                let job = digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
                seen.entry(job).or_insert(now);
            }
        }
    }
    seen
}

/// Keeps a daemon busy with so many jobs a second that do nothing, until it is aborted.
pub fn background(daemon: &Daemon, jobs_per_second: f64) -> JoinSet<()> {
    const EACH: usize = 100;
    const CLIENTS: u32 = 8;
    let mut clients = JoinSet::new();
    let begun = Instant::now();
    let period = Duration::from_secs_f64(EACH as f64 / jobs_per_second);
    for client in 0..CLIENTS {
        let address = daemon.address().to_owned();
        let request = daemon.request(ENQUEUE_MANY, &many(&noop_job("default"), EACH));
        clients.spawn(async move {
            let mut http = Http::open(&address).await.expect("the daemon takes connections");
            for turn in 0_u32.. {
                let due_at = begun + period * (turn * CLIENTS + client);
                tokio::time::sleep_until(due_at.into()).await;
                http.answer(&request).await.expect("the daemon answers");
            }
        });
    }
    clients
}
