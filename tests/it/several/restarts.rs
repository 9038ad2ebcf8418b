//! The database itself fails under load: stopped at once again and again, sessions ended at random. What was
//! acknowledged is there, and the workers are back by themselves.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::cluster::Cluster;
use crate::support::daemon::send;
use crate::support::dice::Dice;
use crate::support::history::{Witness, read_all};
use crate::support::laws;
use crate::support::length::sized;
use crate::support::postgres::Server;
use crate::support::wait::{now, span, until};

/// From the server's return to a worker's first change.
const BACK_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn a_database_that_stops_at_once_again_and_again_loses_nothing() {
    let Some(server) = Server::start() else { return };
    let dice = Dice::new();
    let Cluster { daemons, .. } = Cluster::over(&server.url(), 2, &["--lease", "10s"]);
    let witnesses: Vec<_> = daemons.iter().map(Witness::begin).collect();
    let is_over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = daemons
        .iter()
        .map(|daemon| {
            let (address, token) = (daemon.address().to_owned(), daemon.token().to_owned());
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || {
                let query =
                    "mutation ($input: JobEnqueueInput!) { jobEnqueue(input: $input) { job { id } } }";
                let (mut acknowledged, mut refused) = (BTreeSet::new(), 0);
                while !is_over.load(Ordering::SeqCst) {
                    let input = json!({
                        "run": {"command": {"exec": {"argv": ["true"]}}},
                        "retryPolicy": {"maxAttempts": 20, "initialDelay": "50ms"},
                    });
                    let answer = send(&address, &token, query, &json!({"input": input})).unwrap_or_default();
                    if let Some(id) = answer["data"]["jobEnqueue"]["job"]["id"].as_str() {
                        acknowledged.insert(id.to_owned());
                    } else {
                        refused += 1;
                        span(Duration::from_millis(20));
                    }
                }
                (acknowledged, refused)
            })
        })
        .collect();
    let (mut slowest, restarts) = (Duration::ZERO, sized(3, 20));
    for _ in 0..restarts {
        span(Duration::from_millis(200 + dice.roll(800) as u64));
        server.end_sessions();
        span(Duration::from_millis(dice.roll(800) as u64));
        server.restart();
        let returned = now();
        for daemon in &daemons {
            until("the worker to take a job again", BACK_WITHIN * 3, || {
                let query = "mutation { jobEnqueue(input: {run: {command: {exec: {argv: [\"true\"]}}}}) { job { id } } }";
                daemon.send(query, &json!({})).ok()?["data"]["jobEnqueue"]["job"]["id"].as_str().map(drop)
            });
        }
        slowest = slowest.max(returned.elapsed());
    }
    is_over.store(true, Ordering::SeqCst);
    let (mut acknowledged, mut refused) = (BTreeSet::new(), 0);
    for client in clients {
        let (ids, count) = client.join().expect("a client does not panic");
        refused += count;
        acknowledged.extend(ids);
    }
    until("every job to be over", Duration::from_mins(2), || {
        let query = "{ jobCounts { scheduled queued running retrying } }";
        let counts = daemons[0].send(query, &json!({})).ok()?["data"]["jobCounts"].as_object()?.clone();
        counts.values().all(|count| count == &json!(0)).then_some(())
    });
    let events = read_all(&daemons[1]);
    let mut breaches = laws::breaches(&events, &acknowledged);
    span(Duration::from_millis(500));
    for witness in witnesses {
        let (follower, from) = witness.end();
        let last = events.last().map(|event| event.cursor.clone());
        let end = follower.seen.iter().position(|event| Some(&event.cursor) == last.as_ref());
        let end = end.expect("the watcher has come to the end");
        breaches.extend(laws::missed(&events, &from, &follower.seen[..=end]));
    }
    println!(
        "{restarts} restarts of the database: acknowledged {}, refused {refused}, breaches {}, back in {slowest:?} at the \
         slowest, events {}",
        acknowledged.len(),
        breaches.len(),
        events.len()
    );
    assert!(breaches.is_empty(), "{:?}", &breaches[..breaches.len().min(20)]);
    assert!(slowest < BACK_WITHIN, "a worker came back after {slowest:?}");
}
