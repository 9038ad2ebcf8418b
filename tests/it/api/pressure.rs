//! Each bound of the door is reached on purpose: what is over it is told so soon, the daemon stays small, goes on with
//! its work meanwhile, and takes everything again when the pressure is over.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::memory;
use crate::api::wire::{exchange, request};
use crate::support::daemon::{Daemon, FINAL_STATES, send, string};
use crate::support::database::execute;
use crate::support::length::sized;
use crate::support::postgres::skips_on_postgres;
use crate::support::wait::{PATIENCE, now, span, until};

/// How much the daemon's memory may grow, its peak included.
const GROWTH_LIMIT_KIB: u64 = 96 * 1024;
const ENQUEUE: &str = "mutation ($input: JobEnqueueInput!) {
  jobEnqueue(input: $input) { job { id state } userErrors { code message } }
}";

/// Runs `pressure` and checks what the daemon's memory came to.
fn with_flat_memory<T>(daemon: &Daemon, pressure: impl FnOnce() -> T) -> T {
    let before = memory::kib(daemon.pid(), "VmRSS");
    let outcome = pressure();
    let growth = memory::kib(daemon.pid(), "VmHWM").saturating_sub(before);
    println!("memory: {before} KiB before, its peak {growth} KiB more");
    assert!(growth < GROWTH_LIMIT_KIB, "the daemon's memory grew by {growth} KiB");
    outcome
}

fn get(daemon: &Daemon, path: &str) -> u16 {
    exchange(daemon.address(), &request(daemon.address(), &format!("GET {path}"), &[], "")).status
}

#[test]
fn more_waiting_jobs_than_allowed_are_refused_and_taken_again_when_some_are_gone() {
    let daemon = Daemon::start_with(&["--max-queued", "50"]);
    let input = json!({"run": {"command": {"exec": {"argv": ["/bin/true"]}}}, "isHeld": true});
    let enqueue = || daemon.graphql(ENQUEUE, json!({ "input": input }))["jobEnqueue"].take();
    let ids: Vec<String> = (0..50).map(|_| string(&enqueue()["job"]["id"])).collect();
    for _ in 0..20 {
        let refused = enqueue();
        assert_eq!(
            (&refused["job"], &refused["userErrors"][0]["code"]),
            (&Value::Null, &json!("QUEUE_FULL"))
        );
    }
    let count = daemon.graphql("{ jobs { totalCount } }", json!({}));
    assert_eq!(count["jobs"]["totalCount"], json!(50), "something that was refused is there");
    let cancel = "mutation ($id: ID!) { jobCancel(input: {id: $id}) { job { state } } }";
    daemon.graphql(cancel, json!({ "id": ids[0] }));
    assert!(enqueue()["job"]["id"].is_string(), "a place is free again");
    assert_eq!(enqueue()["userErrors"][0]["code"], json!("QUEUE_FULL"));
}

/// A job that is over, and its like: so many that to search them all takes its time.
fn fill_with_history(daemon: &mut Daemon, doublings: usize) {
    let id = daemon.enqueue(&["/bin/true", &"x".repeat(1_000)]);
    daemon.wait_final(&id);
    daemon.terminate();
    let double = "DELETE FROM twins; INSERT INTO twins SELECT * FROM jobs;
        UPDATE twins SET id = id + (SELECT max(id) FROM jobs); INSERT INTO jobs SELECT * FROM twins;";
    let script = format!(
        "BEGIN; CREATE TEMP TABLE twins AS SELECT * FROM jobs; {}
         UPDATE job_counts SET job_count = (SELECT count(*) FROM jobs) WHERE state = 'SUCCEEDED';
         UPDATE counters SET value = (SELECT max(id) FROM jobs) WHERE name = 'job'; COMMIT;",
        double.repeat(doublings)
    );
    execute(&daemon.data().join("beadle.db"), &script);
    daemon.restart();
}

const SEARCH: &str = "{ jobs(first: 1, filter: {text: \"nowhere\"}) { totalCount nodes { id } } }";

/// What a search came to: `data`, or the code of its refusal.
fn search(daemon: &Daemon) -> String {
    let answer = send(daemon.address(), daemon.token(), SEARCH, &json!({})).expect("an answer");
    let Some(error) = answer["errors"].get(0) else {
        assert_eq!(answer["data"]["jobs"]["totalCount"], json!(0), "{answer:#}");
        return "data".to_owned();
    };
    let extensions = &error["extensions"];
    assert!(extensions["retryAfterMs"].is_u64(), "a refusal says when to come again: {answer:#}");
    string(&extensions["code"])
}

#[test]
fn searches_without_end_hold_up_neither_the_writer_nor_the_starts_of_jobs() {
    if skips_on_postgres("it fills the SQLite file, whose few readers it is about") {
        return;
    }
    let mut daemon = Daemon::start();
    fill_with_history(&mut daemon, sized(14, 16));
    let begun = now();
    assert_eq!(search(&daemon), "data");
    println!("one search alone takes {:?}", begun.elapsed());
    let (is_over, outcomes) = (AtomicBool::new(false), Mutex::new(BTreeMap::new()));
    let input = json!({"run": {"command": {"exec": {"argv": ["/bin/true"]}}}});
    let (mut enqueues, mut looks, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    with_flat_memory(&daemon, || {
        thread::scope(|scope| {
            for _ in 0..48 {
                scope.spawn(|| {
                    while !is_over.load(Ordering::SeqCst) {
                        let begun = now();
                        let outcome = search(&daemon);
                        let mut outcomes = outcomes.lock().expect("no client panics while it holds this");
                        let (count, longest) = outcomes.entry(outcome).or_insert((0, Duration::ZERO));
                        (*count, *longest) = (*count + 1, begun.elapsed().max(*longest));
                    }
                });
            }
            let begun = now();
            while begun.elapsed() < sized(Duration::from_secs(6), Duration::from_mins(5)) {
                let asked = now();
                let answer = daemon.graphql(ENQUEUE, json!({ "input": input }));
                enqueues.push(asked.elapsed());
                ids.push(string(&answer["jobEnqueue"]["job"]["id"]));
                let asked = now();
                assert_eq!(get(&daemon, "/readyz"), 200, "the pressure made the daemon unready");
                looks.push(asked.elapsed());
                span(Duration::from_millis(50));
            }
            is_over.store(true, Ordering::SeqCst);
        });
    });
    let longest = |times: &[Duration]| times.iter().max().copied().unwrap_or_default();
    println!("searches: {:?}", outcomes.into_inner().expect("the clients are gone"));
    println!(
        "{} enqueues, longest {:?}; readyz, longest {:?}",
        ids.len(),
        longest(&enqueues),
        longest(&looks)
    );
    assert!(longest(&enqueues) < Duration::from_secs(5), "an enqueue waited {:?}", longest(&enqueues));
    assert!(longest(&looks) < Duration::from_secs(2), "/readyz waited {:?}", longest(&looks));
    // The pressure is over: all that was taken meanwhile is done, and a search is answered.
    let state = "query ($id: ID!) { job(id: $id) { state } }";
    for id in &ids {
        until("a job to end", PATIENCE, || {
            let job = daemon.graphql(state, json!({ "id": id }));
            FINAL_STATES.contains(&job["job"]["state"].as_str()?).then_some(())
        });
    }
    assert_eq!(search(&daemon), "data");
}

#[test]
fn connections_over_the_cap_are_told_so_and_the_places_come_back() {
    const CAP: usize = 1_024;
    const OVER: usize = 60;
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if files.is_some_and(|files| files < 4_096) {
        return println!("skipped: only {files:?} open files are allowed here");
    }
    let daemon = Daemon::start();
    with_flat_memory(&daemon, || {
        let sockets: Vec<TcpStream> = (0..CAP + OVER)
            .map(|_| {
                let socket = TcpStream::connect(daemon.address()).expect("the kernel takes it");
                socket.set_nonblocking(true).expect("an open socket");
                socket
            })
            .collect();
        let mut refused = vec![false; sockets.len()];
        until("the connections over the cap to be refused", PATIENCE, || {
            for (mut socket, refused) in sockets.iter().zip(&mut refused).filter(|(_, refused)| !**refused) {
                let mut head = [0; 64];
                match socket.read(&mut head) {
                    Ok(count) => *refused = head[..count].starts_with(b"HTTP/1.1 503"),
                    Err(why) => assert_eq!(why.kind(), ErrorKind::WouldBlock, "{why}"),
                }
            }
            (refused.iter().filter(|refused| **refused).count() >= OVER).then_some(())
        });
        let count = refused.iter().filter(|refused| **refused).count();
        println!("{} connections, {count} refused", sockets.len());
        assert_eq!(count, OVER, "places were not given to those that fit");
    });
    // The sockets are gone.
    let begun = now();
    until("the door to be open again", PATIENCE, || (get(&daemon, "/healthz") == 200).then_some(()));
    println!("open again after {:?}", begun.elapsed());
    let id = daemon.enqueue(&["/bin/true"]);
    assert_eq!(daemon.wait_final(&id).job["state"], json!("SUCCEEDED"));
}

#[test]
fn bodies_that_never_come_cost_nobody_else_anything_and_are_cut_off() {
    const SLOW: usize = 200;
    let daemon = Daemon::start();
    let bearer = format!("Bearer {}", daemon.token());
    let fields = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
        ("Content-Length", "900000"),
    ];
    let mut head = request(daemon.address(), "POST /graphql", &fields, "");
    head.extend(vec![b' '; 10_000]);
    with_flat_memory(&daemon, || {
        let mut sockets: Vec<TcpStream> = (0..SLOW)
            .map(|_| {
                let mut socket = TcpStream::connect(daemon.address()).expect("the daemon listens");
                socket.write_all(&head).expect("a head and some of the body fit");
                socket.set_read_timeout(Some(PATIENCE)).expect("an open socket");
                socket
            })
            .collect();
        let begun = now();
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            let asked = now();
            daemon.graphql("{ viewer { tokenName } }", json!({}));
            longest = longest.max(asked.elapsed());
        }
        println!("beside {SLOW} slow bodies the longest answer took {longest:?}");
        assert!(longest < Duration::from_secs(2), "others waited {longest:?}");
        for socket in &mut sockets {
            let mut answer = [0; 64];
            let count = socket.read(&mut answer).expect("an answer, or the end");
            let text = String::from_utf8_lossy(&answer[..count]).into_owned();
            assert!(count == 0 || text.starts_with("HTTP/1.1 408"), "{text}");
        }
        println!("all were cut off after {:?}", begun.elapsed());
    });
    let id = daemon.enqueue(&["/bin/true"]);
    assert_eq!(daemon.wait_final(&id).job["state"], json!("SUCCEEDED"));
}
