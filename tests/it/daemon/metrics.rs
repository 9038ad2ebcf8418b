//! The numbers of `/metrics` against what was done.

use serde_json::json;

use crate::support::daemon::Daemon;
use crate::support::exposition::{Exposition, scrape};
use crate::support::wait::{PATIENCE, until};

const GOOD: usize = 20;
const BAD: usize = 7;
/// What each good job prints, with its newline.
const PRINTED: usize = 100;

fn job(queue: &str, script: &str) -> serde_json::Value {
    json!({"run": {"command": {"script": {"text": script}}}, "queue": queue})
}

#[track_caller]
fn assert_is(read: &Exposition, name: &str, labels: &[(&str, &str)], wanted: usize) {
    let found = read.sum(name, labels);
    let wanted = f64::from(u32::try_from(wanted).expect("a small number"));
    assert!((found - wanted).abs() < 1e-9, "{name} {labels:?} is {found}, not {wanted}");
}

#[test]
fn the_numbers_agree_with_what_was_done() {
    let mut daemon = Daemon::start_with(&["--slots", "3"]);
    daemon.graphql("mutation { queuePut(input: {name: \"q\"}) { userErrors { message } } }", json!({}));
    let print = format!("printf '%0{}d\\n' 7", PRINTED - 1);
    let jobs: Vec<String> = (0..GOOD)
        .map(|_| daemon.enqueue_with(job("q", &print)))
        .chain((0..BAD).map(|_| daemon.enqueue_with(job("q", "exit 3"))))
        .collect();
    let mut later = job("q", "true");
    later["delay"] = json!("1h");
    daemon.enqueue_with(later.clone());
    let cancelled = daemon.enqueue_with(later);
    let cancel = "mutation ($id: ID!) { jobCancel(input: {id: $id}) { userErrors { message } } }";
    daemon.graphql(cancel, json!({"id": cancelled}));
    for id in &jobs {
        daemon.wait_final(id);
    }
    let busy = daemon.enqueue_with(job("default", "read line </dev/null; sleep 600"));
    // A slot is given back a moment after the end is told.
    let read = until("one slot to be busy", PATIENCE, || {
        let read = scrape(&daemon);
        let is_so = (read.sum("beadle_slots_busy", &[]) - 1.0).abs() < 1e-9
            && read.sum("beadle_jobs", &[("queue", "default"), ("state", "RUNNING")]) > 0.5;
        is_so.then_some(read)
    });
    let all = GOOD + BAD + 2;
    for (name, labels, wanted) in [
        ("beadle_jobs", vec![("queue", "q"), ("state", "SUCCEEDED")], GOOD),
        ("beadle_jobs", vec![("queue", "q"), ("state", "FAILED")], BAD),
        ("beadle_jobs", vec![("queue", "q"), ("state", "CANCELLED")], 1),
        ("beadle_jobs", vec![("queue", "q"), ("state", "SCHEDULED")], 1),
        ("beadle_jobs", vec![], all + 1),
        ("beadle_jobs_enqueued_total", vec![("queue", "q")], all),
        ("beadle_jobs_enqueued_total", vec![("queue", "default")], 1),
        ("beadle_jobs_finished_total", vec![("queue", "q"), ("state", "SUCCEEDED")], GOOD),
        ("beadle_jobs_finished_total", vec![("queue", "q"), ("state", "FAILED")], BAD),
        ("beadle_jobs_finished_total", vec![("queue", "q"), ("state", "CANCELLED")], 1),
        ("beadle_jobs_finished_total", vec![], GOOD + BAD + 1),
        ("beadle_attempt_wait_seconds_count", vec![("queue", "q")], GOOD + BAD),
        ("beadle_attempt_run_seconds_count", vec![("outcome", "SUCCEEDED")], GOOD),
        ("beadle_attempt_run_seconds_count", vec![("outcome", "EXITED")], BAD),
        ("beadle_attempt_run_seconds_count", vec![], GOOD + BAD),
        ("beadle_log_bytes_total", vec![], GOOD * PRINTED),
        ("beadle_log_dropped_bytes_total", vec![], 0),
        ("beadle_slots", vec![], 3),
        ("beadle_store_readable", vec![], 1),
        ("beadle_health", vec![], 0),
        ("beadle_own_log_dropped_lines_total", vec![], 0),
        ("beadle_writer_refused_total", vec![], 0),
    ] {
        assert_is(&read, name, &labels, wanted);
    }
    for (name, labels) in [
        ("beadle_attempt_wait_seconds_sum", vec![("queue", "q")]),
        ("beadle_attempt_run_seconds_sum", vec![]),
        ("beadle_writer_batch_changes_sum", vec![]),
        ("beadle_store_bytes", vec![("file", "state")]),
        ("beadle_store_bytes", vec![("file", "logs")]),
        ("beadle_event_cursor", vec![]),
        ("beadle_connections", vec![]),
        ("process_resident_memory_bytes", vec![]),
        ("process_open_fds", vec![]),
        ("process_threads", vec![]),
        ("process_start_time_seconds", vec![]),
        ("process_cpu_seconds_total", vec![]),
    ] {
        assert!(read.sum(name, &labels) > 0.0, "{name} {labels:?}");
    }
    daemon.graphql(cancel, json!({"id": busy}));
    daemon.wait_final(&busy);
    daemon.terminate();
    daemon.restart();
    let read = scrape(&daemon);
    assert_is(&read, "beadle_jobs", &[("queue", "q"), ("state", "SUCCEEDED")], GOOD);
    assert_is(&read, "beadle_jobs_finished_total", &[], 0);
}

#[test]
fn subscribers_and_what_they_lag_behind_are_seen() {
    let daemon = Daemon::start();
    let query = "subscription { events { cursor events { type } } }";
    let mut streams: Vec<_> = (0..3).map(|_| daemon.subscribe(query, &json!({}))).collect();
    daemon.wait_final(&daemon.enqueue(&["/bin/true"]));
    for stream in &mut streams {
        stream.next_within(PATIENCE).expect("it is told");
    }
    until("all three to have seen everything", PATIENCE, || {
        let read = scrape(&daemon);
        let (followers, behind) =
            (read.sum("beadle_feed_subscribers", &[]), read.sum("beadle_feed_lag_events", &[]));
        let delays = read.sum("beadle_feed_delay_seconds_count", &[]);
        // They ask the same, so what they are told is handed over once for all of them.
        let is_so = (followers - 3.0).abs() < 1e-9 && behind.abs() < 1e-9 && delays >= 1.0;
        (is_so && read.sum("beadle_subscriptions", &[]) >= 3.0).then_some(())
    });
    drop(streams);
    until("them to be gone", PATIENCE, || {
        // A connection that was closed is noticed with the next thing to tell.
        daemon.enqueue(&["/bin/true"]);
        (scrape(&daemon).sum("beadle_feed_subscribers", &[]).abs() < 1e-9).then_some(())
    });
}
