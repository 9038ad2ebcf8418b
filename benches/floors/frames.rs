//! Owns the floor of fan-out: a frame that was made before, written to every socket. It must do nothing else for a
//! message than one write.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::server::EVENTS_PER_SECOND;

/// Serves until it is killed: whoever has said two frames gets all events.
pub fn run() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        println!("{}", listener.local_addr().expect("it is bound"));
        let (greeted, ready) = unbounded_channel();
        tokio::spawn(publish(ready));
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(greet(stream, greeted.clone()));
        }
    });
}

/// One text frame as a server sends it.
fn frame(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("short");
    let mut frame = vec![0x81];
    if length < 126 {
        frame.push(length.to_be_bytes()[1]);
    } else {
        frame.push(126);
        frame.extend(length.to_be_bytes());
    }
    frame.extend(payload);
    frame
}

/// Answers the upgrade and the two messages of a client that subscribes.
async fn greet(mut stream: TcpStream, greeted: UnboundedSender<TcpStream>) {
    let mut heard = [0; 4096];
    let upgrade = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
    let acknowledged = frame(br#"{"type":"connection_ack"}"#);
    for answer in [upgrade.as_bytes(), &acknowledged] {
        let heard = stream.read(&mut heard).await;
        if !heard.is_ok_and(|bytes| bytes > 0) || stream.write_all(answer).await.is_err() {
            return;
        }
    }
    if stream.read(&mut heard).await.is_ok() && stream.set_nodelay(true).is_ok() {
        let _ = greeted.send(stream);
    }
}

async fn publish(mut ready: UnboundedReceiver<TcpStream>) {
    let data = json!({"queue": "paused", "runAt": "2026-11-26T20:36:31.709Z", "state": "QUEUED"});
    let event = json!({"type": "JOB_CREATED", "jobId": "job_1", "data": data});
    let next = json!({"id": "1", "type": "next", "payload": {"data": {"events": {"events": [event]}}}});
    let frame = frame(next.to_string().as_bytes());
    let mut streams: Vec<TcpStream> = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1) / EVENTS_PER_SECOND);
    loop {
        tick.tick().await;
        while let Ok(stream) = ready.try_recv() {
            streams.push(stream);
        }
        streams.retain(|stream| stream.try_write(&frame).is_ok());
        // Others on this thread shall be heard.
        tokio::task::yield_now().await;
    }
}
