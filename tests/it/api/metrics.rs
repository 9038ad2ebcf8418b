//! `/metrics` as a scraper meets it: for whom, in which formats, at what cost.

use serde_json::json;

use crate::api::tokens::make;
use crate::api::wire::{exchange, request};
use crate::support::daemon::Daemon;
use crate::support::exposition::{Exposition, Format, fetch, scrape};
use crate::support::wait::now;

/// Scrapes whose cost is measured.
const SCRAPES: usize = 100;

/// Status and body for the holder of a token.
fn ask(daemon: &Daemon, token: Option<&str>) -> (u16, String) {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let fields: Vec<_> = bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
    let answer = exchange(daemon.address(), &request(daemon.address(), "GET /metrics", &fields, ""));
    (answer.status, answer.body)
}

#[test]
fn only_a_token_that_reads_every_job_gets_the_metrics() {
    let daemon = Daemon::start();
    let own = make(&daemon, "ci", json!([{"verb": "READ", "ownJobsOnly": true}]));
    let writer = make(&daemon, "writer", json!([{"verb": "ENQUEUE"}, {"verb": "OPERATE"}]));
    let reader = make(&daemon, "prometheus", json!([{"verb": "READ"}]));
    for (token, status, sign) in [
        (None, 401, "UNAUTHENTICATED"),
        (Some("no such token"), 401, "UNAUTHENTICATED"),
        (Some(own.secret.as_str()), 403, "READ"),
        (Some(writer.secret.as_str()), 403, "READ"),
        (Some(reader.secret.as_str()), 200, "beadle_build_info{"),
        (Some(daemon.token()), 200, "beadle_build_info{"),
    ] {
        let (got, body) = ask(&daemon, token);
        assert_eq!(got, status, "{token:?}: {body}");
        assert!(body.contains(sign), "{token:?}: {body}");
        assert_eq!(body.contains("beadle_"), status == 200, "{token:?}: {body}");
    }
}

#[test]
fn both_formats_are_well_formed_and_tell_the_same() {
    let daemon = Daemon::start();
    let put = "mutation { queuePut(input: {name: \"a:b/c-d\"}) { userErrors { message } } }";
    daemon.graphql(put, json!({}));
    let job = json!({"run": {"command": {"exec": {"argv": ["/bin/true"]}}}, "queue": "a:b/c-d"});
    daemon.wait_final(&daemon.enqueue_with(job));
    let mut names = Vec::new();
    for (format, kind) in [
        (Format::Plain, "text/plain; version=0.0.4; charset=utf-8"),
        (Format::OpenMetrics, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    ] {
        let (text, got) = fetch(&daemon, daemon.token(), format);
        assert_eq!(got, kind);
        let read = Exposition::read(&text, format).unwrap_or_else(|why| panic!("{why}\n{text}"));
        assert!(
            read.kinds.keys().all(|name| ["beadle_", "process_"].iter().any(|own| name.starts_with(own)))
        );
        let of_queue = read.sum("beadle_jobs_enqueued_total", &[("queue", "a:b/c-d")]);
        assert!((of_queue - 1.0).abs() < 1e-9, "{text}");
        names.push(read.names().into_iter().map(str::to_owned).collect::<Vec<_>>());
    }
    assert_eq!(names[0], names[1]);
    println!("{} kinds of samples", names[0].len());
}

#[test]
fn a_scrape_is_cheap_and_asks_the_writer_for_nothing() {
    let daemon = Daemon::start();
    for number in 0..50 {
        let query = "mutation ($name: String!) { queuePut(input: {name: $name}) { userErrors { message } } }";
        daemon.graphql(query, json!({"name": format!("queue-{number}")}));
        let input = json!({"run": {"command": {"exec": {"argv": ["/bin/true"]}}},
            "queue": format!("queue-{number}"), "delay": "1h"});
        daemon.enqueue_with(input);
    }
    let before = scrape(&daemon);
    let mut took: Vec<_> = (0..SCRAPES)
        .map(|_| {
            let began = now();
            let (text, _) = fetch(&daemon, daemon.token(), Format::OpenMetrics);
            (began.elapsed(), text.len())
        })
        .collect();
    let after = scrape(&daemon);
    took.sort();
    let (median, bytes) = took[SCRAPES / 2];
    println!("a scrape with 50 queues: median {median:?}, worst {:?}, {bytes} bytes", took[SCRAPES - 1].0);
    assert!(median.as_secs_f64() < if cfg!(debug_assertions) { 0.1 } else { 0.02 }, "{median:?}");
    let commits = |read: &Exposition| read.sum("beadle_writer_commit_seconds_count", &[]);
    // What the daemon writes by itself now and then, such as the last use of a token.
    assert!(commits(&after) - commits(&before) <= 3.0, "{} commits", commits(&after) - commits(&before));
}
