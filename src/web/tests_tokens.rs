//! The door and its tokens: one that is revoked closes what it opened at once, and wrong ones have to wait.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::toy::{ADMIN, Open, READER, open_with};
use crate::base::clock::within;
use crate::base::task;

/// So long that no heartbeat comes during a test.
const NEVER: Duration = Duration::from_hours(1);
const PATIENCE: Duration = Duration::from_secs(30);

async fn quiet() -> Open {
    open_with(|limits| {
        limits.heartbeat = NEVER;
        limits.login_failures = 3;
        limits.login_window = NEVER;
    })
    .await
}

fn post(token: &str, accept: &str, document: &str) -> String {
    let body = serde_json::json!({ "query": document }).to_string();
    format!(
        "POST /graphql HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer {token}\r\nAccept: {accept}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// What a socket is told after `connection_init` and these messages, until it is closed or `count` were heard.
async fn told(door: &Open, token: &str, says: &[&str], count: usize, act: impl FnOnce()) -> Vec<String> {
    let url = format!("ws://127.0.0.1:{}/graphql", door.address.port());
    let mut request = url.into_client_request().expect("a good address");
    let protocol = "graphql-transport-ws".parse().expect("a good value");
    request.headers_mut().insert("sec-websocket-protocol", protocol);
    let (mut socket, _) = connect_async(request).await.expect("the door is open");
    let init = format!(r#"{{"type":"connection_init","payload":{{"authorization":"Bearer {token}"}}}}"#);
    socket.send(Message::text(init)).await.expect("it is taken");
    let (mut heard, mut act) = (Vec::new(), Some(act));
    let hearing = async {
        while heard.len() < count {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => heard.push(text.to_string()),
                Some(Ok(Message::Close(frame))) => {
                    let (code, reason) = frame
                        .map_or((1005, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
                    heard.push(format!("close {code} {reason}"));
                    return;
                }
                Some(Ok(_)) => {}
                _ => return,
            }
            if heard.len() == 1 {
                if let Some(act) = act.take() {
                    act();
                }
                for message in says {
                    // The door may have closed it already.
                    let _ = socket.send(Message::text(*message)).await;
                }
            }
        }
    };
    assert!(within(PATIENCE, hearing).await.is_some(), "nothing more was heard");
    heard
}

#[tokio::test]
async fn a_revocation_closes_a_socket_without_waiting_for_a_heartbeat() {
    let door = quiet().await;
    let heard = told(&door, ADMIN, &[], 9, || door.toy.revoke_aloud(ADMIN)).await;
    assert_eq!(heard, [r#"{"type":"connection_ack"}"#, "close 4403 Forbidden"]);
}

#[tokio::test]
async fn a_socket_with_more_to_write_than_its_client_takes_hears_of_a_revocation_and_of_a_ping() {
    let door = quiet().await;
    // Each is more than is gathered before the client has to take some of it, and meanwhile the next ones are made.
    let asks = r#"{"type":"subscribe","id":"1","payload":{"query":"subscription { flood(bytes: 140000) }"}}"#;
    let heard = told(&door, ADMIN, &[asks, r#"{"type":"ping"}"#], 1_000, || ()).await;
    assert!(heard.iter().any(|text| text == r#"{"type":"pong"}"#), "{} messages, no answer", heard.len());
    let door = quiet().await;
    let toy = door.toy.clone();
    let revoking = || {
        drop(task::spawn(async move {
            toy.listening(1).await;
            toy.revoke_aloud(ADMIN);
        }));
    };
    let heard = told(&door, ADMIN, &[asks], 100_000, revoking).await;
    assert_eq!(heard.last().map(String::as_str), Some("close 4403 Forbidden"), "{} messages", heard.len());
}

#[tokio::test]
async fn nothing_runs_for_a_token_that_was_revoked_before_it_was_asked() {
    let door = quiet().await;
    let mutation = r#"mutation { jobEnqueue(input: {run: {command: {exec: {argv: [\"a\"]}}}}) { cursor } }"#;
    let asks = format!(r#"{{"type":"subscribe","id":"1","payload":{{"query":"{mutation}"}}}}"#);
    let heard = told(&door, ADMIN, &[&asks], 9, || door.toy.revoke_aloud(ADMIN)).await;
    assert_eq!(heard.last().map(String::as_str), Some("close 4403 Forbidden"));
    assert_eq!(door.toy.executed(), 0);
}

#[tokio::test]
async fn a_token_that_cannot_be_looked_up_is_told_to_come_again_and_not_that_it_is_wrong() {
    let door = open_with(|limits| limits.heartbeat = Duration::from_millis(20)).await;
    let heard = told(&door, ADMIN, &[], 9, || door.toy.doubt_tokens()).await;
    let closed = "close 1013 tokens cannot be looked up now";
    assert_eq!(heard, [r#"{"type":"connection_ack"}"#, closed]);
    let heard = told(&door, ADMIN, &[], 9, || ()).await;
    assert!(heard[0].starts_with(closed), "{heard:?}");
    assert_eq!(door.raw(&post(ADMIN, "application/json", "{ daemon { version } }")).await.status, 503);
}

#[tokio::test]
async fn the_revocation_of_another_token_closes_nothing() {
    let door = quiet().await;
    let asks = r#"{"type":"subscribe","id":"1","payload":{"query":"{ daemon { version } }"}}"#;
    let heard = told(&door, ADMIN, &[asks], 3, || door.toy.revoke_aloud(READER)).await;
    assert!(heard[1].contains("0.1.0") && heard[2].contains("complete"), "{heard:?}");
}

#[tokio::test]
async fn who_fails_too_often_waits_on_every_transport_and_good_tokens_do_not() {
    let door = quiet().await;
    let ask = |token: &'static str, accept: &'static str| {
        let request = post(token, accept, "{ daemon { version } }");
        let door = &door;
        async move { door.raw(&request).await }
    };
    assert_eq!(ask(ADMIN, "application/json").await.status, 200);
    // Without a token nothing is looked up, so nothing is counted.
    for _ in 0..5 {
        let bare = post("", "application/json", "{ daemon { version } }");
        assert_eq!(door.raw(&bare).await.status, 401);
    }
    assert_eq!(ask("wrong", "application/json").await.status, 401);
    assert_eq!(ask("wrong", "text/event-stream").await.status, 401);
    assert_eq!(told(&door, "wrong", &[], 1, || ()).await, ["close 4403 Forbidden"]);
    let reply = ask("wrong", "application/json").await;
    assert_eq!(reply.status, 429);
    assert!(reply.head.contains("retry-after: 3600"), "{}", reply.head);
    assert!(reply.body.contains("RATE_LIMITED") && reply.body.contains("retryAfterMs"), "{}", reply.body);
    assert_eq!(ask("wrong", "text/event-stream").await.status, 429);
    let schema = "GET /schema.graphql HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer wrong\r\n\r\n";
    assert_eq!(door.raw(schema).await.status, 429);
    let heard = told(&door, "wrong", &[], 1, || ()).await;
    assert!(heard[0].starts_with("close 1013 too many failed logins"), "{heard:?}");
    // One that was good a moment ago is; one that nobody has seen yet has to wait too.
    assert_eq!(ask(ADMIN, "application/json").await.status, 200);
    assert_eq!(told(&door, ADMIN, &[], 1, || ()).await, [r#"{"type":"connection_ack"}"#]);
    assert_eq!(ask(READER, "application/json").await.status, 429);
}
