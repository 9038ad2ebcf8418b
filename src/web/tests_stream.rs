//! The door from outside, over server-sent events.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::toy::{ADMIN, Open, open, open_with};
use crate::base::clock::within;

/// An event stream, read as it comes.
struct Listening {
    stream: TcpStream,
    text: String,
}

impl Listening {
    async fn to(door: &Open, document: &str, headers: &str) -> Listening {
        let body = serde_json::json!({ "query": document }).to_string();
        let mut stream = TcpStream::connect(door.address).await.expect("the door is open");
        let request = format!(
            "POST /graphql HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nauthorization: Bearer {ADMIN}\r\n\
             content-type: application/json\r\naccept: text/event-stream\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
            door.address.port(),
            body.len()
        );
        stream.write_all(request.as_bytes()).await.expect("it is taken");
        Listening { stream, text: String::new() }
    }

    /// Reads until `wanted` has come. False when the stream ends without.
    async fn sees(&mut self, wanted: &str) -> bool {
        let reading = async {
            let mut bytes = [0; 4096];
            while !self.text.contains(wanted) {
                let count = self.stream.read(&mut bytes).await.unwrap_or(0);
                if count == 0 {
                    return false;
                }
                self.text += &String::from_utf8_lossy(&bytes[..count]);
            }
            true
        };
        within(Duration::from_secs(10), reading).await.expect("something comes")
    }
}

#[tokio::test]
async fn a_subscription_streams_with_ids_and_completes() {
    let door = open().await;
    let mut listening = Listening::to(&door, "subscription { countTo(n: 2) }", "").await;
    assert!(listening.sees("event: complete\ndata:\n\n").await);
    let text = &listening.text;
    assert!(text.contains("content-type: text/event-stream\r\n"), "{text}");
    assert!(text.contains("event: next\ndata: {\"data\":{\"countTo\":1}}\n\n"), "{text}");
    assert!(text.contains("event: next\ndata: {\"data\":{\"countTo\":2}}\n\n"), "{text}");

    let mut listening = Listening::to(&door, "subscription { events { cursor events { id } } }", "").await;
    door.toy.enqueue();
    assert!(
        listening
            .sees(
                "id: c1\ndata: {\"data\":{\"events\":{\"cursor\":\"c1\",\"events\":[{\"id\":\"e1\"}]}}}\n\n"
            )
            .await
    );
    door.toy.listening(1).await;
    drop(listening);
    door.toy.listening(0).await;
}

#[tokio::test]
async fn a_stream_goes_on_where_the_client_left_it() {
    let door = open().await;
    for _ in 0..3 {
        door.toy.enqueue();
    }
    let document = "subscription { events { cursor events { id } } }";
    let mut listening = Listening::to(&door, document, "last-event-id: c2\r\n").await;
    assert!(listening.sees("\"events\":[{\"id\":\"e3\"}]").await, "{}", listening.text);
    assert!(!listening.text.contains("e2"), "{}", listening.text);
}

#[tokio::test]
async fn every_operation_and_every_refusal_is_a_stream() {
    let door = open().await;
    for (document, wanted) in [
        ("{ daemon { version } }", "data: {\"data\":{\"daemon\":{\"version\":\"0.1.0\"}}}"),
        ("{ nope }", "GRAPHQL_VALIDATION_FAILED"),
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("subscription { events(after: \"x\") { cursor } }", "CURSOR_EXPIRED"),
        ("subscription { explodes }", "\"code\":\"INTERNAL\""),
        ("subscription { ...F } fragment F on Subscription { countTo(n: 1) }", "{\"countTo\":1}"),
    ] {
        let mut listening = Listening::to(&door, document, "").await;
        assert!(listening.sees("event: complete\ndata:\n\n").await, "{document}");
        assert!(listening.text.starts_with("HTTP/1.1 200"), "{}", listening.text);
        assert!(listening.text.contains(wanted), "{document}: {}", listening.text);
    }
}

#[tokio::test]
async fn a_silent_stream_has_a_heartbeat_and_a_revoked_token_ends_it() {
    let door = open_with(|limits| limits.heartbeat = Duration::from_millis(20)).await;
    let mut listening = Listening::to(&door, "subscription { events { cursor } }", "").await;
    assert!(listening.sees(":\n\n").await);
    door.toy.revoke(ADMIN);
    assert!(!listening.sees("event: complete").await, "the stream ends without a word");
    door.toy.listening(0).await;
}

#[tokio::test]
async fn a_revocation_ends_a_stream_without_waiting_for_a_heartbeat() {
    let door = open_with(|limits| limits.heartbeat = Duration::from_hours(1)).await;
    let mut listening = Listening::to(&door, "subscription { events { cursor } }", "").await;
    door.toy.listening(1).await;
    door.toy.revoke_aloud(ADMIN);
    assert!(!listening.sees("event: complete").await, "the stream ends without a word");
    door.toy.listening(0).await;
}

#[tokio::test]
async fn a_revoked_token_ends_a_busy_stream_too() {
    let door = open_with(|limits| limits.heartbeat = Duration::from_millis(20)).await;
    let mut listening = Listening::to(&door, "subscription { flood }", "").await;
    assert!(listening.sees("event: next").await);
    door.toy.revoke(ADMIN);
    let mut bytes = vec![0; 64 * 1024];
    let reading = async { while listening.stream.read(&mut bytes).await.unwrap_or(0) > 0 {} };
    assert!(within(Duration::from_secs(10), reading).await.is_some());
    door.toy.listening(0).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_let_go() {
    let door = open_with(|limits| limits.write = Duration::from_millis(100)).await;
    let _stalled = Listening::to(&door, "subscription { flood }", "").await;
    door.toy.listening(1).await;
    let gone = within(Duration::from_secs(10), door.toy.listening(0)).await;
    assert!(gone.is_some(), "the stream is held for a client that takes nothing");
}

#[tokio::test]
async fn the_subscriptions_of_a_token_are_capped_over_all_streams() {
    let door = open_with(|limits| limits.token_subscriptions = 1).await;
    let document = "subscription { events { cursor } }";
    let first = Listening::to(&door, document, "").await;
    door.toy.listening(1).await;
    let mut second = Listening::to(&door, document, "").await;
    assert!(second.sees("RATE_LIMITED").await);
    drop(first);
    door.toy.listening(0).await;
    let _third = Listening::to(&door, document, "").await;
    door.toy.listening(1).await;
}

#[tokio::test]
async fn shutdown_ends_streams_and_serve_returns() {
    let door = open().await;
    let mut listening = Listening::to(&door, "subscription { events { cursor } }", "").await;
    door.toy.listening(1).await;
    door.shutdown.cancel();
    assert!(!listening.sees("event: complete").await, "the client is to come again");
    let served = within(Duration::from_secs(4), door.served).await;
    served.expect("nothing keeps it").expect("it does not panic");
}
