//! The figures that are promised, measured alone on the machine. Unoptimised builds get generous limits where the
//! figure depends on the build; the promise itself is checked by the same test in a release build.

use std::fs;
use std::time::Duration;

use beadle::base::clock::{Clock, SystemClock, Timestamp};
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, string};
use crate::support::history::{Follower, newest_cursor};
use crate::support::wait::{PATIENCE, now, span};

/// Jobs of the batch.
const BATCH: usize = 200;
/// Jobs whose way to RUNNING is measured.
const SAMPLES: usize = 50;
/// From the commit of `jobEnqueue` to RUNNING seen by a subscriber, in the median.
const LATENCY_LIMIT: Duration = Duration::from_millis(20);
/// How long the idle daemon is watched.
const IDLE_WINDOW: Duration = Duration::from_secs(5);

/// The promise in a release build, something to notice a blunder by in others.
const fn limit(promised: f64, unoptimised: f64) -> f64 {
    if cfg!(debug_assertions) { unoptimised } else { promised }
}

#[test]
fn two_hundred_jobs_of_one_mutation_all_succeed() {
    let daemon = Daemon::start();
    let mut follower = Follower::new(&daemon, newest_cursor(&daemon));
    let jobs: Vec<Value> =
        (0..BATCH).map(|_| json!({"run": {"command": {"exec": {"argv": ["/bin/true"]}}}})).collect();
    let query = "mutation ($input: JobEnqueueManyInput!) {
      jobEnqueueMany(input: $input) { results { job { id } userErrors { message } } cursor }
    }";
    let answer = daemon.graphql(query, json!({"input": {"jobs": jobs}}));
    let results = answer["jobEnqueueMany"]["results"].as_array().expect("a list of results");
    assert_eq!(results.iter().filter(|result| result["job"]["id"].is_string()).count(), BATCH, "{answer:#}");
    assert!(answer["jobEnqueueMany"]["cursor"].is_string());
    let mut finals = Vec::new();
    let is_done = follower.follow(PATIENCE, |seen| {
        finals = seen.iter().filter_map(|event| event.final_state().map(str::to_owned)).collect();
        finals.len() >= BATCH
    });
    assert!(is_done, "only {} jobs ended", finals.len());
    assert!(finals.iter().all(|state| state == "SUCCEEDED"), "{finals:?}");
}

#[test]
fn a_job_runs_within_twenty_milliseconds_of_its_commit() {
    let daemon = Daemon::start_alone();
    let watch = "subscription {
      events(filter: {types: [JOB_CREATED, JOB_STATE_CHANGED]}) { events { type at jobId data } }
    }";
    let mut stream = daemon.subscribe(watch, &json!({}));
    let mut latencies: Vec<Duration> = (0..SAMPLES)
        .map(|_| {
            let id = daemon.enqueue(&["/bin/true"]);
            let (mut committed, mut running) = (None, None);
            loop {
                let message = stream.next_within(PATIENCE).expect("the stream goes on");
                // The batch was read some time ago: its own instant, on the wall clock.
                let read_at = Timestamp(SystemClock.now().0 - micros(message.at.elapsed()));
                let events =
                    message.result["data"]["events"]["events"].as_array().cloned().unwrap_or_default();
                for event in events.iter().filter(|event| event["jobId"] == json!(id)) {
                    match (string(&event["type"]).as_str(), event["data"]["to"].as_str()) {
                        ("JOB_CREATED", _) => committed = Timestamp::parse(&string(&event["at"])),
                        (_, Some("RUNNING")) => running = Some(read_at),
                        (_, Some("SUCCEEDED")) => {
                            let committed = committed.expect("a job is created before it ends");
                            return running.expect("a job runs before it ends").since(committed);
                        }
                        _ => {}
                    }
                }
            }
        })
        .collect();
    latencies.sort();
    let (median, worst) = (latencies[SAMPLES / 2], latencies[SAMPLES - 1]);
    println!("commit to RUNNING seen: median {median:?}, worst {worst:?} of {SAMPLES}");
    assert!(median < LATENCY_LIMIT, "median {median:?}: {latencies:?}");
}

#[test]
fn an_idle_daemon_is_small_and_quiet() {
    let daemon = Daemon::start_alone();
    // It has done something once, as any real daemon has.
    let id = daemon.enqueue(&["/bin/true"]);
    daemon.wait_final(&id);
    let (before, begun) = (cpu_time(daemon.pid()), now());
    span(IDLE_WINDOW);
    let used = cpu_time(daemon.pid()).saturating_sub(before);
    let share = used.as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0;
    let resident = resident_mebibytes(daemon.pid());
    println!("idle: {resident:.1} MiB resident, {share:.3} % of a core");
    assert!(share < limit(0.3, 1.5), "{share:.3} % of a core while idle");
    assert!(resident < limit(25.0, 80.0), "{resident:.1} MiB resident while idle");
}

#[test]
fn a_fresh_daemon_is_ready_at_once() {
    let mut daemon = Daemon::start_alone();
    daemon.terminate();
    fs::remove_dir_all(daemon.data()).expect("the daemon is gone");
    let begun = now();
    daemon.restart();
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let answer = agent.get(format!("{}/readyz", daemon.url())).call().expect("it listens");
    let took = begun.elapsed();
    println!("ready after {took:?} on an empty directory");
    assert_eq!(answer.status(), 200);
    assert!(took.as_secs_f64() < limit(0.1, 2.0), "ready after {took:?}");
}

/// What all threads of a process have used of the processors.
fn cpu_time(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the daemon lives");
    let of_thread = |path: std::path::PathBuf| -> Option<u64> {
        fs::read_to_string(path.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
    };
    Duration::from_nanos(threads.filter_map(|thread| of_thread(thread.ok()?.path())).sum())
}

fn resident_mebibytes(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the daemon lives");
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a living process has a size");
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
    kibibytes / 1024.0
}

fn micros(length: Duration) -> i64 {
    i64::try_from(length.as_micros()).unwrap_or(i64::MAX)
}
