//! Tests of the conversation with a daemon, against a fake one.

use serde_json::json;

use super::fake::{End, FakeDaemon, Reply, coded};
use super::*;

fn client(daemon: &FakeDaemon) -> Client {
    Client::new(&daemon.url, Some("secret".into())).unwrap()
}

fn kind_of(reply: Reply) -> ErrorKind {
    let daemon = FakeDaemon::start(vec![reply]);
    client(&daemon).query("{ x }", json!({})).unwrap_err().kind
}

#[test]
fn a_query_carries_the_token_and_gives_the_data() {
    let daemon = FakeDaemon::start(vec![Reply::data(&json!({ "x": 1 }))]);
    assert_eq!(client(&daemon).query("{ x }", json!({ "a": 2 })).unwrap(), json!({ "x": 1 }));
    let seen = &daemon.seen()[0];
    assert!(seen.head.starts_with("post /graphql http/1.1"), "{}", seen.head);
    assert!(seen.head.contains("authorization: bearer secret\r\n"), "{}", seen.head);
    assert!(seen.head.contains("content-type: application/json\r\n"), "{}", seen.head);
    assert_eq!(seen.body, json!({ "query": "{ x }", "variables": { "a": 2 } }));
}

#[test]
fn every_failure_has_the_kind_that_a_caller_decides_by() {
    for (reply, expected) in [
        (Reply::error(401, "UNAUTHENTICATED"), ErrorKind::Denied),
        (Reply::error(200, "FORBIDDEN"), ErrorKind::Denied),
        (Reply::text(403, "no"), ErrorKind::Denied),
        (Reply::error(200, "NOT_FOUND"), ErrorKind::NotFound),
        (Reply::error(400, "GRAPHQL_VALIDATION_FAILED"), ErrorKind::Refused),
        (Reply::error(500, "INTERNAL"), ErrorKind::Refused),
        (
            Reply::status(200, &json!({ "data": { "x": 1 }, "errors": [{ "message": "half" }] })),
            ErrorKind::Refused,
        ),
        (Reply::error(503, "UNAVAILABLE"), ErrorKind::Unreachable),
        (Reply::error(200, "TIMEOUT"), ErrorKind::Unreachable),
        (Reply::text(502, "<html>"), ErrorKind::Unreachable),
        (Reply::text(404, "<html>"), ErrorKind::Refused),
        (Reply::text(200, "hello"), ErrorKind::Refused),
        (Reply::hangup(), ErrorKind::Unreachable),
    ] {
        assert_eq!(kind_of(reply), expected);
    }
    let nobody = FakeDaemon::start(vec![]);
    assert_eq!(client(&nobody).query("{ x }", json!({})).unwrap_err().kind, ErrorKind::Unreachable);
}

#[test]
fn an_error_is_told_with_its_code_and_place() {
    let body = json!({ "data": null, "errors": [
        { "message": "too deep", "path": ["job", 0, "log"], "extensions": { "code": "BAD_USER_INPUT" } },
    ] });
    let daemon = FakeDaemon::start(vec![Reply::status(200, &body)]);
    let error = client(&daemon).query("{ x }", json!({})).unwrap_err();
    assert_eq!(error.to_string(), "BAD_USER_INPUT: too deep (at job.0.log)");
    assert!(error.has_code("BAD_USER_INPUT"));
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = FakeDaemon::start(vec![Reply::data(&json!({ "x": 1 }))]);
    let daemon = FakeDaemon::start(vec![Reply::text(307, &elsewhere.url)]);
    assert_eq!(client(&daemon).query("{ x }", json!({})).unwrap_err().kind, ErrorKind::Refused);
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn a_stream_gives_its_payloads_and_then_its_end() {
    let payload = |n: i32| json!({ "data": { "n": n } });
    let daemon = FakeDaemon::start(vec![Reply::stream(vec![payload(1), payload(2)], End::Complete)]);
    let mut stream = client(&daemon).subscribe("subscription { n }", json!({})).unwrap();
    assert_eq!(stream.next().unwrap().unwrap(), json!({ "n": 1 }));
    assert_eq!(stream.next().unwrap().unwrap(), json!({ "n": 2 }));
    assert!(stream.next().is_none());
    assert!(daemon.seen()[0].head.contains("accept: text/event-stream\r\n"));
}

#[test]
fn a_cut_stream_ends_with_one_error() {
    let daemon = FakeDaemon::start(vec![Reply::stream(vec![json!({ "data": { "n": 1 } })], End::Cut)]);
    let mut stream = client(&daemon).subscribe("subscription { n }", json!({})).unwrap();
    assert!(stream.next().unwrap().is_ok());
    assert_eq!(stream.next().unwrap().unwrap_err().kind, ErrorKind::Unreachable);
    assert!(stream.next().is_none());
}

#[test]
fn a_silent_stream_counts_as_lost() {
    let daemon = FakeDaemon::start(vec![Reply::stream(vec![], End::Silence)]);
    let client = Client::with_silence(&daemon.url, None, Duration::from_millis(20)).unwrap();
    let first =
        client.subscribe("subscription { n }", json!({})).and_then(|mut stream| stream.next().unwrap());
    assert_eq!(first.unwrap_err().kind, ErrorKind::Unreachable);
}

#[test]
fn a_stream_is_cut_when_its_time_is_over() {
    let daemon = FakeDaemon::start(vec![Reply::stream(vec![], End::Silence)]);
    let within = Some(Duration::from_millis(100));
    let stream = client(&daemon).subscribe_within("subscription { n }", json!({}), within);
    let first = stream.and_then(|mut stream| stream.next().unwrap());
    assert_eq!(first.unwrap_err().kind, ErrorKind::Unreachable);
}

#[test]
fn an_error_in_a_stream_ends_it_with_its_code() {
    let daemon = FakeDaemon::start(vec![Reply::stream(vec![coded("SLOW_CONSUMER")], End::Complete)]);
    let mut stream = client(&daemon).subscribe("subscription { n }", json!({})).unwrap();
    assert!(stream.next().unwrap().unwrap_err().has_code("SLOW_CONSUMER"));
    assert!(stream.next().is_none());
}

#[test]
fn a_subscription_that_is_refused_says_why() {
    let daemon =
        FakeDaemon::start(vec![Reply::error(401, "UNAUTHENTICATED"), Reply::data(&json!({ "n": 1 }))]);
    let refused = client(&daemon).subscribe("subscription { n }", json!({})).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Denied);
    let foreign = client(&daemon).subscribe("subscription { n }", json!({})).unwrap_err();
    assert!(foreign.message.contains("instead of a stream"), "{foreign}");
}

#[test]
fn addresses_that_cannot_be_used_are_refused_before_anything_is_sent() {
    for (url, part) in [
        ("https://beadle.example", "TLS is not supported"),
        ("", "is not the address"),
        ("beadle.example:1", "is not the address"),
        ("http://", "is not the address"),
        ("http://user@beadle.example", "is not the address"),
        ("http://beadle.example/graphql", "is not the address"),
    ] {
        let error = Client::new(url, None).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Usage);
        assert!(error.message.contains(part), "{error}");
    }
    assert_eq!(Client::new("http://[::1]:7878/", None).unwrap().url(), "http://[::1]:7878");
    assert_eq!(Client::new("http://a", Some("with\nline".into())).unwrap_err().kind, ErrorKind::Usage);
}
