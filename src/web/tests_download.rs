//! The door from outside, for whole logs: what is sent, what breaks off, and what a slow reader costs.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::toy::{ADMIN, BROKEN_LOG, ENDLESS_LOG, FORGOTTEN_LOG, Open, READER, WHOLE_LOG, open, open_with};
use crate::base::clock::within;

async fn get(door: &Open, attempt: i64, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(door.address).await.expect("the door is open");
    let request = format!(
        "GET /logs/attempt_{attempt} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n",
        door.address.port()
    );
    stream.write_all(request.as_bytes()).await.expect("it is taken");
    stream
}

/// Everything until the connection ends, in order or not.
async fn all(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let reading = async { while stream.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {} };
    within(Duration::from_secs(20), reading).await.expect("it ends");
    String::from_utf8(bytes).expect("UTF-8").to_ascii_lowercase()
}

async fn answer(door: &Open, attempt: i64, token: &str) -> String {
    all(get(door, attempt, token).await).await
}

#[tokio::test]
async fn a_log_is_sent_part_by_part_and_ends_in_order() {
    let door = open().await;
    let text = answer(&door, WHOLE_LOG, ADMIN).await;
    assert!(text.starts_with("http/1.1 200") && text.contains("transfer-encoding: chunked"), "{text}");
    assert!(text.contains("filename=\"some.log\""), "{text}");
    assert!(text.ends_with("4\r\none\n\r\n4\r\ntwo\n\r\n0\r\n\r\n"), "an empty part is no end: {text}");
}

#[tokio::test]
async fn a_log_that_breaks_off_does_not_look_whole_and_tells_nothing() {
    let door = open().await;
    let text = answer(&door, BROKEN_LOG, ADMIN).await;
    // Without a length and without a last chunk nobody takes it for whole.
    assert!(!text.ends_with("0\r\n\r\n") && !text.contains("content-length"), "{text}");
    assert!(!text.contains("vault"), "{text}");
}

#[tokio::test]
async fn refusals_have_their_status() {
    let door = open().await;
    for (attempt, token, status, code) in [
        (WHOLE_LOG, READER, 403, "forbidden"),
        (WHOLE_LOG, "nobody", 401, "unauthenticated"),
        (FORGOTTEN_LOG, ADMIN, 410, "not_found"),
        (99, ADMIN, 404, "not_found"),
    ] {
        let text = answer(&door, attempt, token).await;
        assert!(text.starts_with(&format!("http/1.1 {status}")) && text.contains(code), "{text}");
    }
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut() {
    let door = open_with(|limits| limits.write = Duration::from_millis(100)).await;
    let stream = get(&door, ENDLESS_LOG, ADMIN).await;
    let gone = async {
        while door.toy.sending() == 0 {
            tokio::task::yield_now().await;
        }
        while door.toy.sending() > 0 {
            tokio::task::yield_now().await;
        }
    };
    within(Duration::from_secs(20), gone).await.expect("it is given up");
    drop(stream);
}

#[tokio::test]
async fn a_revoked_token_ends_what_it_opened() {
    let door = open_with(|limits| limits.heartbeat = Duration::from_millis(20)).await;
    let mut stream = get(&door, ENDLESS_LOG, ADMIN).await;
    let mut bytes = vec![0; 1024];
    stream.read_exact(&mut bytes).await.expect("it has begun");
    door.toy.revoke(ADMIN);
    let reading = async { while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {} };
    within(Duration::from_secs(20), reading).await.expect("it ends");
}

#[tokio::test]
async fn a_stop_ends_it_and_a_token_has_so_many() {
    let door = open_with(|limits| limits.token_subscriptions = 1).await;
    let mut stream = get(&door, ENDLESS_LOG, ADMIN).await;
    let mut bytes = vec![0; 1024];
    stream.read_exact(&mut bytes).await.expect("it has begun");
    let text = answer(&door, WHOLE_LOG, ADMIN).await;
    assert!(text.starts_with("http/1.1 429") && text.contains("end one first"), "{text}");
    door.shutdown.cancel();
    let reading = async { while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {} };
    within(Duration::from_secs(20), reading).await.expect("it ends");
}
