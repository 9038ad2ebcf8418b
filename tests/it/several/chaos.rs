//! Three workers over one server while workers are killed, stand still, or are cut off from the database: nothing is
//! lost, ended twice, run twice at once or let in above a limit, and nobody who watches misses anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, send, string};
use crate::support::dice::Dice;
use crate::support::history::{Witness, read_all};
use crate::support::laws::{self, Promise};
use crate::support::length::sized;
use crate::support::postgres::{postgres_socket, postgres_url};
use crate::support::proxy::Proxy;
use crate::support::wait::{now, span, until};

/// Jobs of one request.
const TOGETHER: usize = 20;
const WORKERS: usize = 3;
/// Jobs of the limited queue, and of one key, that may run at once.
const QUEUE_LIMIT: usize = 3;

/// A worker with its own way to the database.
struct Worker {
    daemon: Daemon,
    proxy: Proxy,
}

fn start(url: &str, lease: &str) -> Worker {
    let proxy = Proxy::to(postgres_socket());
    let (before, _) = url.split_once('?').expect("the socket stands there");
    let database = before.rsplit('/').next().expect("a database");
    let own = format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", proxy.port());
    let flags =
        ["--database", &own, "--lease", lease, "--slots", "6", "--drain-timeout", "1s", "--kill-grace", "1s"];
    Worker { daemon: Daemon::start_with(&flags), proxy }
}

/// A command that tells when it runs twice at once, or more of its kind than may.
fn script(directory: &Path, kind: &str) -> String {
    let path = directory.display();
    let guarded = match kind {
        // One of a key at a time.
        "key" => format!("exec 8>>{path}/$KEY.key; flock -n 8 || echo over $KEY >> {path}/breaches;"),
        "queue" => {
            let tries: Vec<_> = (0..QUEUE_LIMIT)
                .map(|place| format!("{{ exec 8>>{path}/queue.{place}; flock -n 8; }}"))
                .collect();
            format!("{} || echo over queue >> {path}/breaches;", tries.join(" || "))
        }
        _ => String::new(),
    };
    format!(
        "exec 9>>{path}/$BEADLE_JOB_ID.job; flock -n 9 || echo twice $BEADLE_JOB_ID >> {path}/breaches;
         {guarded} sleep 0.$((BEADLE_ATTEMPT * 3 % 10)); test $FAILS -lt $BEADLE_ATTEMPT"
    )
}

fn job(directory: &Path, number: usize, mark: &str) -> Value {
    let kind = ["plain", "key", "queue", "plain"][number % 4];
    let variable = |name: &str, value: String| json!({"name": name, "value": value});
    let environment =
        [variable("KEY", format!("k{}", number % 28)), variable("FAILS", (number % 3 % 2).to_string())];
    let mut job = json!({
        "run": {"command": {
            "exec": {"argv": ["sh", "-c", script(directory, kind)], "environment": environment},
        }},
        "idempotencyKey": format!("{mark}-{number}"),
        "priority": number % 5,
        "retryPolicy": {"maxAttempts": 50, "initialDelay": "50ms", "maxDelay": "500ms"},
    });
    match kind {
        "key" => job["concurrencyKey"] = json!(format!("k{}", number % 28)),
        "queue" => job["queue"] = json!("narrow"),
        _ => {}
    }
    job
}

/// Enqueues all jobs, each batch at any worker that answers; gives the acknowledged ids by key.
fn enqueue_all(
    addresses: Vec<(String, String)>,
    jobs: Vec<Value>,
    done: Arc<AtomicBool>,
) -> JoinHandle<BTreeMap<String, String>> {
    thread::spawn(move || {
        let query = "mutation ($input: JobEnqueueManyInput!) {
          jobEnqueueMany(input: $input) { results { job { id } userErrors { message } } } }";
        let mut made = BTreeMap::new();
        for (round, some) in jobs.chunks(TOGETHER).enumerate() {
            for turn in 0.. {
                let (address, token) = &addresses[(round + turn) % addresses.len()];
                let answer =
                    send(address, token, query, &json!({"input": {"jobs": some}})).unwrap_or_default();
                let code = &answer["errors"][0]["extensions"]["code"];
                assert!(code != "BAD_USER_INPUT" && code != "GRAPHQL_VALIDATION_FAILED", "{answer}");
                let results = answer["data"]["jobEnqueueMany"]["results"].as_array().cloned();
                let Some(results) = results else {
                    span(Duration::from_millis(20));
                    continue;
                };
                for (job, result) in some.iter().zip(results) {
                    let id = result["job"]["id"].as_str().unwrap_or_else(|| panic!("refused: {result}"));
                    made.insert(string(&job["idempotencyKey"]), id.to_owned());
                }
                break;
            }
        }
        done.store(true, Ordering::SeqCst);
        made
    })
}

fn signal(daemon: &Daemon, signal: Signal) {
    let pid = i32::try_from(daemon.pid()).ok().and_then(Pid::from_raw).expect("a pid is not 0");
    kill_process(pid, signal).expect("our own child");
}

/// One misfortune; `still` is longer than a lease.
fn strike(worker: &mut Worker, dice: &Dice, still: Duration) -> &'static str {
    match dice.roll(4) {
        0 => {
            worker.daemon.kill9();
            span(Duration::from_millis(dice.roll(1_000) as u64));
            until("the daemon to start again", Duration::from_mins(2), || worker.daemon.try_start(&[]).ok());
            "killed"
        }
        1 => {
            signal(&worker.daemon, Signal::STOP);
            span(still);
            signal(&worker.daemon, Signal::CONT);
            "stood still"
        }
        2 => {
            worker.proxy.cut();
            span(Duration::from_millis(dice.roll(500) as u64));
            "cut"
        }
        _ => {
            worker.proxy.fall_silent();
            span(still);
            worker.proxy.cut();
            worker.proxy.speak();
            "silent"
        }
    }
}

/// Jobs that are not over, by whoever answers.
fn open_count(workers: &[Worker]) -> Option<u64> {
    let query = "{ jobCounts { held blocked scheduled queued running retrying } }";
    let answer = workers.iter().find_map(|one| one.daemon.send(query, &json!({})).ok())?;
    let counts = answer["data"]["jobCounts"].as_object()?;
    Some(counts.values().filter_map(Value::as_u64).sum())
}

#[test]
fn three_workers_keep_every_promise_while_they_are_killed_stopped_and_cut_off() {
    let Some(url) = postgres_url() else { return };
    let (jobs, lease, still, strikes, watchers) =
        sized((300, "3s", Duration::from_secs(4), 4, 6), (20_000, "30s", Duration::from_mins(1), 60, 20));
    let dice = Dice::new();
    let directory = tempfile::tempdir().unwrap();
    let mut workers: Vec<Worker> = (0..WORKERS).map(|_| start(&url, lease)).collect();
    let limit = QUEUE_LIMIT.to_string();
    let put = workers[0].daemon.cli(&["queue", "set", "narrow", "--limit", &limit]);
    assert!(put.status.success(), "{put:?}");
    let witnesses: Vec<_> = (0..watchers).map(|at| Witness::begin(&workers[at % WORKERS].daemon)).collect();
    let done = Arc::new(AtomicBool::new(false));
    let addresses =
        workers.iter().map(|one| (one.daemon.address().to_owned(), one.daemon.token().to_owned())).collect();
    let all = (0..jobs).map(|number| job(directory.path(), number, "chaos")).collect();
    let enqueuing = enqueue_all(addresses, all, Arc::clone(&done));
    let (begun, struck) = (now(), AtomicUsize::new(0));
    let mut told: BTreeMap<&str, usize> = BTreeMap::new();
    while struck.load(Ordering::SeqCst) < strikes {
        let at = dice.roll(WORKERS);
        *told.entry(strike(&mut workers[at], &dice, still)).or_default() += 1;
        struck.fetch_add(1, Ordering::SeqCst);
        let is_over = done.load(Ordering::SeqCst) && open_count(&workers) == Some(0);
        if is_over {
            break;
        }
    }
    let acknowledged = enqueuing.join().expect("the client does not panic");
    until("every job to be over", sized(Duration::from_mins(2), Duration::from_hours(1)), || {
        (open_count(&workers)? == 0).then_some(())
    });
    let took = begun.elapsed();
    let events = read_all(&workers[0].daemon);
    let ids: BTreeSet<String> = acknowledged.values().cloned().collect();
    let mut breaches = laws::breaches(&events, &ids);
    // Those who watch come to the end of the feed.
    span(Duration::from_secs(1));
    let mut cuts = 0;
    for witness in witnesses {
        let (follower, from) = witness.end();
        cuts += follower.cuts;
        // What was committed since the list was read is not compared.
        let last = events.last().map(|event| event.cursor.clone());
        let until = follower
            .seen
            .iter()
            .position(|event| Some(&event.cursor) == last.as_ref())
            .map_or(0, |at| at + 1);
        breaches.extend(laws::missed(&events, &from, &follower.seen[..until]));
    }
    let beyond = fs::read_to_string(directory.path().join("breaches")).unwrap_or_default();
    let lost = events.iter().filter(|event| event.outcome.as_deref() == Some("LOST")).count();
    let count = |promise| breaches.iter().filter(|breach| breach.promise == promise).count();
    println!(
        "{WORKERS} workers, {jobs} jobs in {took:?} under {told:?}: lost {}, doubled {}, holes {} of {watchers} watchers \
         ({cuts} cuts), broken rules {}, overlaps and limits exceeded {}, attempts taken over {lost}, events {}",
        count(Promise::NothingLost),
        count(Promise::NothingDoubled),
        count(Promise::NoHole),
        count(Promise::Order),
        beyond.lines().count(),
        events.len(),
    );
    assert_eq!(ids.len(), jobs, "each key made one job");
    assert!(breaches.is_empty(), "{:?}", &breaches[..breaches.len().min(20)]);
    assert_eq!(beyond, "");
}
