//! An OpenTelemetry collector's stand-in that reads what comes by the protocol's own definitions: every event is a log
//! record, every attempt and job that ended is a span where it belongs.

use std::collections::{BTreeMap, BTreeSet};

use beadle::base::clock::Timestamp;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::{Value, json};

use super::sinks::{execute, sink};
use crate::support::daemon::{Daemon, string};
use crate::support::receiver::{Receiver, Reply};
use crate::support::wait::{PATIENCE, until};

const ASKED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn settings(receiver: &Receiver) -> String {
    let endpoint = receiver.url("/otel/");
    format!(
        "[sinks.otel]\nkind = \"otlp\"\nendpoint = \"{endpoint}\"\nallow_internal = true\n\
         headers = {{ Authorization = \"Bearer t0ken\" }}\n"
    )
}

fn words(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let word = |one: &KeyValue| match one.value.as_ref().and_then(|any| any.value.clone()) {
        Some(Any::StringValue(text)) => Some((one.key.clone(), text)),
        _ => None,
    };
    attributes.iter().filter_map(word).collect()
}

/// Everything that came, with the resource of each request checked.
fn collected(receiver: &Receiver) -> (Vec<LogRecord>, Vec<Span>) {
    let (mut records, mut spans) = (Vec::new(), Vec::new());
    for request in receiver.received() {
        assert_eq!(request.header("content-type"), "application/x-protobuf");
        assert_eq!(request.header("authorization"), "Bearer t0ken");
        let resource = match request.path.as_str() {
            "/otel/v1/logs" => {
                let export =
                    ExportLogsServiceRequest::decode(&request.body[..]).expect("it is of the protocol");
                let [one] = &export.resource_logs[..] else { panic!("one resource") };
                records.extend(one.scope_logs.iter().flat_map(|scope| scope.log_records.clone()));
                one.resource.clone()
            }
            "/otel/v1/traces" => {
                let export =
                    ExportTraceServiceRequest::decode(&request.body[..]).expect("it is of the protocol");
                let [one] = &export.resource_spans[..] else { panic!("one resource") };
                spans.extend(one.scope_spans.iter().flat_map(|scope| scope.spans.clone()));
                one.resource.clone()
            }
            other => panic!("{other} is no path of the protocol"),
        };
        let resource = words(&resource.expect("it says who speaks").attributes);
        assert_eq!(resource["service.name"], "beadle");
        for key in ["service.version", "service.instance.id", "host.name"] {
            assert!(!resource[key].is_empty(), "{key}");
        }
    }
    (records, spans)
}

fn wait_told(daemon: &Daemon) {
    until("everything to be told", PATIENCE, || {
        let row = sink(daemon, "otel");
        (row["lagCount"] == json!("0") && row["failingSince"].is_null()).then_some(())
    });
}

fn nanos(instant: &Value) -> u64 {
    let at = Timestamp::parse(instant.as_str().expect("an instant")).expect("RFC 3339");
    u64::try_from(at.0).expect("after 1970") * 1_000
}

/// The instants of the API are cut to milliseconds.
fn is_same_milli(one: u64, other: u64) -> bool {
    one / 1_000_000 == other / 1_000_000
}

#[test]
fn attempts_and_jobs_are_spans_below_whoever_asked() {
    let receiver = Receiver::start();
    let daemon = Daemon::start_with_file(&settings(&receiver));
    let retries = json!({"maxAttempts": 2, "initialDelay": "50ms"});
    let exec = json!({"exec": {"argv": ["/bin/false", "s3cret"]}});
    let asked =
        daemon.enqueue_with(json!({"run": {"command": exec}, "retryPolicy": retries, "isHeld": true}));
    let number = asked.trim_start_matches("job_");
    execute(
        &daemon,
        &format!(
            "INSERT INTO job_traces (job_id, trace) VALUES ({number}, '{ASKED}') ON CONFLICT (job_id) DO UPDATE SET trace = excluded.trace"
        ),
    );
    let release = "mutation ($id: ID!) { jobRelease(input: {id: $id}) { userErrors { message } } }";
    daemon.graphql(release, json!({ "id": asked }));
    let root = daemon.enqueue(&["/bin/true"]);
    for id in [&asked, &root] {
        daemon.wait_final(id);
    }
    wait_told(&daemon);
    let (_, spans) = collected(&receiver);
    let of_job = |id: &str| -> Vec<Span> {
        let is_its = |span: &&Span| words(&span.attributes).get("beadle.job.id").is_some_and(|job| job == id);
        spans.iter().filter(is_its).cloned().collect()
    };
    let query = "query ($id: ID!) { job(id: $id) { createdAt finishedAt attempts { nodes { startedAt finishedAt } } } }";
    for (id, attempt_count, name) in [(&asked, 2, "false"), (&root, 1, "true")] {
        let spans = of_job(id);
        let (jobs, attempts): (Vec<&Span>, Vec<&Span>) = spans.iter().partition(|span| span.name == name);
        assert_eq!((jobs.len(), attempts.len()), (1, attempt_count), "{id}: {spans:#?}");
        let job = jobs[0];
        assert!(spans.iter().all(|span| span.trace_id == job.trace_id && span.trace_id.len() == 16));
        assert!(attempts.iter().all(|attempt| attempt.parent_span_id == job.span_id), "below their job");
        let ids: BTreeSet<_> = spans.iter().map(|span| &span.span_id).collect();
        assert!(ids.len() == spans.len() && ids.iter().all(|id| id.len() == 8));
        let row = daemon.graphql(query, json!({ "id": id }))["job"].take();
        assert!(is_same_milli(job.start_time_unix_nano, nanos(&row["createdAt"])), "{row}");
        assert!(is_same_milli(job.end_time_unix_nano, nanos(&row["finishedAt"])), "{row}");
        for (attempt, row) in attempts.iter().zip(row["attempts"]["nodes"].as_array().unwrap()) {
            assert!(is_same_milli(attempt.start_time_unix_nano, nanos(&row["startedAt"])), "{row}");
            assert!(is_same_milli(attempt.end_time_unix_nano, nanos(&row["finishedAt"])), "{row}");
        }
        let code = job.status.as_ref().map_or(0, |status| status.code);
        assert_eq!(code, if id == &asked { 2 } else { 0 }, "only what failed is an error");
    }
    let below = &of_job(&asked)[0].trace_id;
    assert_eq!(hex(below), "4bf92f3577b34da6a3ce929d0e0e4736", "the trace of whoever asked");
    let job = |id: &str, name: &str| of_job(id).into_iter().find(|span| span.name == name).unwrap();
    assert_eq!(hex(&job(&asked, "false").parent_span_id), "00f067aa0ba902b7");
    assert_eq!(job(&root, "true").parent_span_id, Vec::<u8>::new(), "the root of a trace of its own");
    let all: Vec<u8> = receiver.received().into_iter().flat_map(|request| request.body).collect();
    assert!(!all.windows(6).any(|bytes| bytes == b"s3cret"), "an argument of the command was told");
    println!("{} spans, parents and times as in the API", spans.len());
}

fn hex(bytes: &[u8]) -> String {
    beadle::base::random::hex(bytes)
}

#[test]
fn a_collector_without_a_place_for_spans_gets_each_log_record_once() {
    for (status, is_for_ever) in [(404, true), (501, true), (500, false)] {
        let receiver = Receiver::start();
        let mut refused = 0;
        receiver.behave(move |request| {
            let is_spans = request.path.ends_with("/v1/traces");
            refused += i32::from(is_spans);
            let answers = is_for_ever || refused <= 2;
            if is_spans && answers { Reply::Status(status, "") } else { Reply::Status(200, "") }
        });
        let daemon = Daemon::start_with_file(&settings(&receiver));
        let jobs = [daemon.enqueue(&["/bin/true"]), daemon.enqueue(&["/bin/false"])];
        for id in &jobs {
            daemon.wait_final(id);
        }
        wait_told(&daemon);
        let row = sink(&daemon, "otel");
        assert_eq!((&row["deadLetterCount"], &row["droppedCount"]), (&json!("0"), &json!("0")), "{row}");
        let (records, spans) = collected(&receiver);
        let cursors: Vec<String> =
            records.iter().map(|one| words(&one.attributes)["beadle.event.cursor"].clone()).collect();
        let distinct: BTreeSet<&String> = cursors.iter().collect();
        println!("traces answered with {status}: {} records, {} spans came", cursors.len(), spans.len());
        assert_eq!(distinct.len(), cursors.len(), "a log record came twice");
        assert!(cursors.len() >= 8, "{cursors:?}");
        let answer = daemon.graphql("{ health { subsystems { name status message } } }", json!({}));
        let rows = answer["health"]["subsystems"].as_array().cloned().unwrap_or_default();
        let health = rows.into_iter().find(|row| row["name"] == json!("sink:otel")).expect("it has a row");
        assert_eq!(health["status"], json!("OK"), "{health}");
        let message = string(&health["message"]);
        assert_eq!(message.contains("it takes no spans"), is_for_ever, "{health}");
    }
}

#[test]
fn every_event_of_the_feed_is_a_log_record() {
    let receiver = Receiver::start();
    let mut tries = 0;
    receiver.behave(move |_| {
        tries += 1;
        if tries == 1 { Reply::Status(503, "") } else { Reply::Status(200, "") }
    });
    let daemon = Daemon::start_with_file(&settings(&receiver));
    let start = daemon.graphql("{ eventCursor }", json!({}))["eventCursor"].take();
    let job = daemon.enqueue(&["/bin/false"]);
    daemon.wait_final(&job);
    wait_told(&daemon);
    let query = "query ($after: EventCursor) { events(first: 200, after: $after) { events { cursor type at jobId } } }";
    let mut listed = daemon.graphql(query, json!({ "after": start }));
    let Value::Array(listed) = listed["events"]["events"].take() else { panic!("no list") };
    let (records, _) = collected(&receiver);
    let by_cursor: BTreeMap<String, LogRecord> = records
        .into_iter()
        .map(|record| (words(&record.attributes)["beadle.event.cursor"].clone(), record))
        .collect();
    assert!(listed.len() >= 5, "{listed:?}");
    for event in &listed {
        let record = &by_cursor[&string(&event["cursor"])];
        assert_eq!(json!(record.event_name), event["type"]);
        assert!(is_same_milli(record.time_unix_nano, nanos(&event["at"])));
        assert!(record.body.is_some() && (9..=17).contains(&record.severity_number), "{record:?}");
        if event["jobId"] == json!(job) {
            assert_eq!(
                (record.trace_id.len(), record.span_id.len()),
                (16, 8),
                "it stands in its job's trace"
            );
        }
    }
    println!("{} events, each a log record", listed.len());
}

/// A collector's word that it refused so many log records of a request.
fn partly(count: usize) -> Reply {
    let rejected_log_records = i64::try_from(count).expect("few");
    let partial = ExportLogsPartialSuccess { rejected_log_records, error_message: "too old".to_owned() };
    Reply::Body(ExportLogsServiceResponse { partial_success: Some(partial) }.encode_to_vec())
}

/// How often each record came, by the cursor of its event.
fn by_cursor(receiver: &Receiver) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for record in collected(receiver).0 {
        *counts.entry(words(&record.attributes)["beadle.event.cursor"].clone()).or_default() += 1;
    }
    counts
}

#[test]
fn a_collector_that_refuses_spans_gets_each_record_once() {
    const JOBS: usize = 5;
    let receiver = Receiver::start();
    receiver.behave(|request| {
        if request.path != "/otel/v1/traces" {
            return Reply::Status(200, "");
        }
        let export = ExportTraceServiceRequest::decode(&request.body[..]).expect("it is of the protocol");
        let rejected_spans = i64::try_from(export.resource_spans[0].scope_spans[0].spans.len()).expect("few");
        let partial =
            ExportTracePartialSuccess { rejected_spans, error_message: "no traces here".to_owned() };
        Reply::Body(ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec())
    });
    let daemon = Daemon::start_with_file(&settings(&receiver));
    let jobs: Vec<_> = (0..JOBS).map(|_| daemon.enqueue(&["/bin/true"])).collect();
    for job in &jobs {
        assert_eq!(daemon.wait_final_state(job), "SUCCEEDED");
    }
    wait_told(&daemon);
    let counts = by_cursor(&receiver);
    assert!(counts.len() >= 4 * JOBS && counts.values().all(|count| *count == 1), "{counts:?}");
    // The end of an attempt and that of its job: no other event has a span.
    let dead: usize = string(&sink(&daemon, "otel")["deadLetterCount"]).parse().expect("a number");
    assert!((JOBS..=2 * JOBS).contains(&dead), "{dead} dead letters");
}

#[test]
fn what_a_collector_refused_in_part_is_not_told_again() {
    let receiver = Receiver::start();
    let (mut partly_refused, mut wholly_refused) = (0, 0);
    receiver.behave(move |request| {
        let count = match ExportLogsServiceRequest::decode(&request.body[..]) {
            Ok(export) if request.path == "/otel/v1/logs" => {
                export.resource_logs[0].scope_logs[0].log_records.len()
            }
            _ => 0,
        };
        match count {
            2.. if partly_refused == 0 => {
                partly_refused += 1;
                partly(1)
            }
            2.. if wholly_refused == 0 => {
                wholly_refused += 1;
                partly(count)
            }
            _ => Reply::Status(200, ""),
        }
    });
    let daemon = Daemon::start_with_file(&settings(&receiver));
    let mut ended = 0;
    let dead = until("a request to be refused as a whole", PATIENCE, || {
        let jobs: Vec<_> = (0..5).map(|_| daemon.enqueue(&["/bin/true"])).collect();
        ended += jobs.iter().filter(|job| daemon.wait_final_state(job) == "SUCCEEDED").count();
        wait_told(&daemon);
        string(&sink(&daemon, "otel")["deadLetterCount"]).parse().ok().filter(|count: &i64| *count > 1)
    });
    let counts = by_cursor(&receiver);
    assert!(counts.values().all(|count| *count == 1), "a record was told twice: {counts:?}");
    let count = counts.len();
    println!("otlp: {ended} jobs, {count} records, {dead} of them dead letters");
    let letters = sink(&daemon, "otel")["deadLetters"]["nodes"].take();
    assert!(string(&letters[0]["failure"]).contains("too old"), "{letters}");
    assert!(daemon.log().contains("it refused 1 of them: too old"), "{}", daemon.log());
}
