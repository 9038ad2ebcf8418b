//! The door from outside, over `graphql-transport-ws`.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::toy::{ADMIN, Open, READER, open, open_with};
use crate::base::clock::within;

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn connect(door: &Open, headers: &[(&'static str, &str)]) -> Result<Client, Error> {
        let mut request = format!("ws://127.0.0.1:{}/graphql", door.address.port()).into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("the test's header is one"));
        }
        connect_async(request).await.map(|(socket, _)| Client(socket))
    }

    async fn raw(door: &Open) -> Client {
        let ours = [("sec-websocket-protocol", "graphql-transport-ws")];
        Client::connect(door, &ours).await.expect("the door is open")
    }

    async fn known(door: &Open, token: &str) -> Client {
        let mut client = Client::raw(door).await;
        client.init(token).await;
        assert_eq!(client.hears().await, r#"{"type":"connection_ack"}"#);
        client
    }

    async fn init(&mut self, token: &str) {
        let payload = format!(r#"{{"authorization":"Bearer {token}"}}"#);
        self.says(&format!(r#"{{"type":"connection_init","payload":{payload}}}"#)).await;
    }

    async fn says(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.expect("it is taken");
    }

    async fn subscribes(&mut self, id: &str, document: &str) {
        let payload = serde_json::json!({ "query": document });
        let message = serde_json::json!({ "type": "subscribe", "id": id, "payload": payload });
        self.says(&message.to_string()).await;
    }

    /// The next text or `close CODE`.
    async fn hears(&mut self) -> String {
        let hearing = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Text(text))) => return text.to_string(),
                    Some(Ok(Message::Close(frame))) => {
                        return format!("close {}", frame.map_or(1005, |frame| frame.code.into()));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return format!("broken: {error}"),
                    None => return "gone".to_owned(),
                }
            }
        };
        within(Duration::from_secs(10), hearing).await.expect("something comes")
    }
}

#[tokio::test]
async fn operations_are_answered_in_the_order_of_the_protocol() {
    let door = open().await;
    let mut client = Client::known(&door, ADMIN).await;
    client.subscribes("1", "{ daemon { version } }").await;
    assert_eq!(
        client.hears().await,
        r#"{"id":"1","type":"next","payload":{"data":{"daemon":{"version":"0.1.0"}}}}"#
    );
    assert_eq!(client.hears().await, r#"{"id":"1","type":"complete"}"#);
    client.subscribes("1", "subscription { countTo(n: 2) }").await;
    for wanted in [
        r#"{"id":"1","type":"next","payload":{"data":{"countTo":1}}}"#,
        r#"{"id":"1","type":"next","payload":{"data":{"countTo":2}}}"#,
        r#"{"id":"1","type":"complete"}"#,
    ] {
        assert_eq!(client.hears().await, wanted);
    }
}

#[tokio::test]
async fn a_refused_operation_gets_one_error_and_nothing_else() {
    let door = open().await;
    let mut client = Client::known(&door, READER).await;
    let enqueue = "mutation { jobEnqueue(input: {run: {command: {exec: {argv: []}}}}) { cursor } }";
    let deep = format!("{{ double(n: {}", "[".repeat(10_000));
    for (document, code) in [
        ("{ nope }", "GRAPHQL_VALIDATION_FAILED"),
        ("{", "GRAPHQL_PARSE_FAILED"),
        (enqueue, "FORBIDDEN"),
        (deep.as_str(), "QUERY_TOO_LARGE"),
        ("subscription { nope }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { countTo(n: 1) x: countTo(n: 1) }", "GRAPHQL_VALIDATION_FAILED"),
    ] {
        client.subscribes("a", document).await;
        let heard = client.hears().await;
        assert!(heard.starts_with(r#"{"id":"a","type":"error","payload":[{"#), "{heard}");
        assert!(heard.contains(code), "{heard}");
    }
    client.says(r#"{"type":"ping","payload":{"n":1}}"#).await;
    assert_eq!(client.hears().await, r#"{"type":"pong","payload":{"n":1}}"#);
    assert_eq!(door.toy.executed(), 0);
}

#[tokio::test]
async fn each_breach_has_its_close_code() {
    let door = open().await;
    let subscribe = r#"{"type":"subscribe","id":"1","payload":{"query":"{daemon{version}}"}}"#;
    for (texts, close) in [
        (vec![subscribe], "close 4401"),
        (vec![r#"{"type":"connection_init"}"#], "close 4403"),
        (vec![r#"{"type":"connection_init","payload":{"authorization":"Bearer no"}}"#], "close 4403"),
        (vec![r#"{"type":"connection_init","payload":{"authorization":"admin-token"}}"#], "close 4403"),
        (vec![r#"{"type":"connection_init","payload":[]}"#], "close 4400"),
        (vec!["nonsense"], "close 4400"),
        (vec![r#"["ping"]"#], "close 4400"),
        (vec![r#"["connection_init",null,{"authorization":"Bearer admin-token"}]"#], "close 4400"),
        (vec![r#"{"type":"nonsense"}"#], "close 4400"),
        (vec![r#"{"type":"next","id":"1"}"#], "close 4400"),
        (vec![r#"{"id":"1"}"#], "close 4400"),
        (vec![r#"{"type":"subscribe","payload":{"query":"{a}"}}"#], "close 4400"),
        (vec![r#"{"type":"ping","payload":3}"#], "close 4400"),
    ] {
        let mut client = Client::raw(&door).await;
        for text in &texts {
            client.says(text).await;
        }
        assert_eq!(client.hears().await, close, "{texts:?}");
    }
    let long = format!(r#"{{"type":"ping","payload":{{"a":"{}"}}}}"#, "a".repeat(1024 * 1024));
    for (text, close) in [
        (r#"{"type":"connection_init"}"#, "close 4429"),
        (r#"{"type":"subscribe","id":"","payload":{"query":"{a}"}}"#, "close 4400"),
        (r#"{"type":"subscribe","id":"1"}"#, "close 4400"),
        (r#"{"type":"subscribe","id":"1","payload":{"query":"{a}","variables":[]}}"#, "close 4400"),
        (long.as_str(), "close 1009"),
    ] {
        let mut client = Client::known(&door, ADMIN).await;
        client.says(text).await;
        assert_eq!(client.hears().await, close, "{text:.80}");
    }
    assert_eq!(door.toy.executed(), 0);
}

const HANDSHAKE: &str = "GET /graphql HTTP/1.1\r\nhost: HOST\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nsec-websocket-protocol: graphql-transport-ws\r\n";

#[tokio::test]
async fn another_version_of_the_protocol_is_told_which_one_is_spoken() {
    let door = open().await;
    let reply = door.raw(&format!("{HANDSHAKE}sec-websocket-version: 8\r\n\r\n")).await;
    assert_eq!(reply.status, 426);
    assert!(reply.head.contains("sec-websocket-version: 13"), "{}", reply.head);
}

#[tokio::test]
async fn who_only_pings_and_never_reads_is_not_read_any_more() {
    const MOST: usize = 48 * 1024 * 1024;
    let door = open().await;
    let mut stream = TcpStream::connect(door.address).await.unwrap();
    let host = format!("127.0.0.1:{}", door.address.port());
    let handshake = format!("{HANDSHAKE}sec-websocket-version: 13\r\n\r\n").replace("HOST", &host);
    stream.write_all(handshake.as_bytes()).await.unwrap();
    // Masked with zeros, as long as a ping may be.
    let pings = [&[0x89, 0xfd, 0, 0, 0, 0], [b'x'; 125].as_slice()].concat().repeat(500);
    let mut written = 0;
    while let Some(taken) =
        within(Duration::from_secs(1), stream.write(&pings[written % pings.len()..])).await
    {
        written += taken.expect("the door waits for us to read");
        assert!(written < MOST, "{written} bytes of pings were taken, and their answers lie in memory");
    }
}

#[tokio::test]
async fn a_socket_that_never_says_who_it_is_is_closed() {
    let door = open_with(|limits| limits.init = Duration::from_millis(50)).await;
    let mut client = Client::raw(&door).await;
    assert_eq!(client.hears().await, "close 4408");
}

#[tokio::test]
async fn a_message_far_over_the_bound_is_told_from_nonsense() {
    let door = open_with(|limits| limits.message_bytes = 1024).await;
    let mut client = Client::known(&door, ADMIN).await;
    client.says(&" ".repeat(20 * 1024)).await;
    assert_eq!(client.hears().await, "close 1009");
}

#[tokio::test]
async fn an_id_belongs_to_one_operation_until_it_is_over() {
    let door = open().await;
    let mut client = Client::known(&door, ADMIN).await;
    let events = "subscription { events { cursor } }";
    client.subscribes("1", events).await;
    door.toy.listening(1).await;
    client.says(r#"{"type":"complete","id":"1"}"#).await;
    door.toy.listening(0).await;
    // Free again, and silence about the one that was completed.
    client.subscribes("1", events).await;
    door.toy.enqueue();
    let heard = client.hears().await;
    assert_eq!(heard, r#"{"id":"1","type":"next","payload":{"data":{"events":{"cursor":"c1"}}}}"#);
    client.subscribes("1", events).await;
    assert_eq!(client.hears().await, "close 4409");
    door.toy.listening(0).await;
}

#[tokio::test]
async fn those_who_ask_the_same_share_one_execution_and_each_gets_everything() {
    let door = open().await;
    door.toy.enqueue();
    let events = "subscription { events { cursor events { id } } }";
    let next = |id: &str, number: usize| {
        let batch = format!(r#"{{"cursor":"c{number}","events":[{{"id":"e{number}"}}]}}"#);
        format!(r#"{{"id":"{id}","type":"next","payload":{{"data":{{"events":{batch}}}}}}}"#)
    };
    let mut clients = Vec::new();
    for id in ["1", "2", "1"] {
        let mut client = Client::known(&door, ADMIN).await;
        client.subscribes(id, events).await;
        assert_eq!(client.hears().await, next(id, 1), "from the beginning, on its own");
        clients.push((id, client));
    }
    door.toy.listening(1).await;
    for number in 2..5 {
        door.toy.enqueue();
        for (id, client) in &mut clients {
            assert_eq!(client.hears().await, next(id, number));
        }
    }
    let mut other = Client::known(&door, READER).await;
    other.subscribes("1", "subscription { events { cursor } }").await;
    assert!(other.hears().await.contains(r#""cursor":"c4""#));
    door.toy.listening(2).await;
    door.toy.revoke_aloud(ADMIN);
    for (_, client) in &mut clients {
        assert_eq!(client.hears().await, "close 4403");
    }
    door.toy.listening(1).await;
    door.toy.enqueue();
    assert!(other.hears().await.contains(r#""cursor":"c5""#), "another token's goes on");
}

/// Reads answers until the event of this number, and checks that none is missing or comes twice.
async fn hears_all_up_to(client: &mut Client, last: usize) {
    let mut seen = 0;
    while seen < last {
        let heard: serde_json::Value =
            serde_json::from_str(&client.hears().await).expect("it comes whole, so it is JSON");
        for event in heard["payload"]["data"]["events"]["events"].as_array().into_iter().flatten() {
            seen += 1;
            assert_eq!(event["a0"], format!("e{seen}"));
        }
    }
}

#[tokio::test]
async fn one_that_does_not_read_gets_everything_whole_and_in_order_when_it_does() {
    const EVENTS: usize = 1_500;
    let door = open().await;
    let fields: Vec<String> = (0..40).map(|number| format!("a{number}: id")).collect();
    let events = format!("subscription {{ events {{ events {{ {} }} }} }}", fields.join(" "));
    let (mut eager, mut slow) = (Client::known(&door, ADMIN).await, Client::known(&door, ADMIN).await);
    for client in [&mut eager, &mut slow] {
        client.subscribes("1", &events).await;
    }
    door.toy.listening(1).await;
    for number in 1..=EVENTS {
        door.toy.enqueue();
        assert!(eager.hears().await.contains(&format!(r#""a0":"e{number}""#)));
    }
    hears_all_up_to(&mut slow, EVENTS).await;
}

#[tokio::test]
async fn what_is_completed_is_silent_before_its_id_is_used_again() {
    let door = open().await;
    let mut client = Client::known(&door, ADMIN).await;
    for _ in 0..50 {
        client.subscribes("1", "subscription { events { cursor } }").await;
        door.toy.listening(1).await;
        client.says(r#"{"type":"complete","id":"1"}"#).await;
        client.subscribes("1", "{ daemon { version } }").await;
        door.toy.enqueue();
        while !client.hears().await.contains("version") {}
        assert_eq!(client.hears().await, r#"{"id":"1","type":"complete"}"#);
        door.toy.enqueue();
        client.says(r#"{"type":"ping"}"#).await;
        assert_eq!(client.hears().await, r#"{"type":"pong"}"#, "nothing of the operation before");
    }
}

#[tokio::test]
async fn the_operations_of_a_socket_are_capped() {
    let door = open_with(|limits| limits.socket_operations = 2).await;
    let mut client = Client::known(&door, ADMIN).await;
    for id in ["1", "2"] {
        client.subscribes(id, "subscription { events { cursor } }").await;
    }
    // Both ask the same.
    door.toy.listening(1).await;
    client.subscribes("3", "{ daemon { version } }").await;
    let heard = client.hears().await;
    assert!(heard.starts_with(r#"{"id":"3","type":"error""#) && heard.contains("RATE_LIMITED"), "{heard}");
}

#[tokio::test]
async fn a_foreign_page_gets_no_socket() {
    let door = open().await;
    let ours = ("sec-websocket-protocol", "graphql-transport-ws");
    for (header, status) in [
        (("origin", "http://evil.example"), 403),
        (("origin", "null"), 403),
        (("sec-fetch-site", "cross-site"), 403),
        (("host", "evil.example"), 421),
    ] {
        match Client::connect(&door, &[ours, header]).await {
            Err(Error::Http(response)) => assert_eq!(response.status().as_u16(), status, "{header:?}"),
            Err(error) => panic!("{header:?}: {error}"),
            Ok(_) => panic!("{header:?} came in"),
        }
    }
    // Without our protocol the socket is closed before a word is heard.
    let mut client = Client::connect(&door, &[]).await.expect("the handshake is done");
    assert_eq!(client.hears().await, "close 4406");
    assert_eq!(door.toy.executed(), 0);
}

#[tokio::test]
async fn a_revoked_token_closes_its_sockets() {
    let door = open_with(|limits| limits.heartbeat = Duration::from_millis(20)).await;
    let mut client = Client::known(&door, ADMIN).await;
    door.toy.revoke(ADMIN);
    assert_eq!(client.hears().await, "close 4403");
}

#[tokio::test]
async fn a_silent_peer_is_let_go() {
    let door = open_with(|limits| {
        limits.silence = Duration::from_millis(50);
        limits.heartbeat = Duration::from_mins(1);
    })
    .await;
    let mut client = Client::raw(&door).await;
    assert_eq!(client.hears().await, "close 1008");
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_let_go() {
    let door = open_with(|limits| limits.write = Duration::from_millis(100)).await;
    let mut stalled = Client::known(&door, ADMIN).await;
    stalled.subscribes("1", "subscription { flood }").await;
    door.toy.listening(1).await;
    let gone = within(Duration::from_secs(10), door.toy.listening(0)).await;
    assert!(gone.is_some(), "the operation runs for a peer that takes nothing");
}

#[tokio::test]
async fn a_busy_operation_starves_no_other() {
    let door = open().await;
    let mut client = Client::known(&door, ADMIN).await;
    client.subscribes("busy", "subscription { flood }").await;
    client.subscribes("quiet", "{ daemon { version } }").await;
    client.says(r#"{"type":"ping"}"#).await;
    let mut missing = vec![r#""id":"quiet""#, r#""pong""#, r#""id":"busy""#];
    while !missing.is_empty() {
        let heard = client.hears().await;
        missing.retain(|wanted| !heard.contains(wanted));
    }
    client.says(r#"{"type":"complete","id":"busy"}"#).await;
    // What is on its way has to be read, or the peer would not get to read the goodbye.
    tokio::select! {
        () = door.toy.listening(0) => {}
        () = async { while !client.hears().await.starts_with("close") {} } => panic!("the socket was closed"),
    }
}

#[tokio::test]
async fn a_peer_that_leaves_gets_its_goodbye_answered() {
    let door = open().await;
    let mut client = Client::known(&door, ADMIN).await;
    client.subscribes("1", "subscription { events { cursor } }").await;
    door.toy.listening(1).await;
    client.0.close(None).await.expect("it is taken");
    assert!(client.hears().await.starts_with("close 1"));
    door.toy.listening(0).await;
}

#[tokio::test]
async fn shutdown_closes_sockets_and_serve_returns() {
    let door = open().await;
    let mut client = Client::known(&door, ADMIN).await;
    client.subscribes("1", "subscription { events { cursor } }").await;
    door.toy.listening(1).await;
    door.shutdown.cancel();
    assert_eq!(client.hears().await, "close 1001");
    drop(client);
    let served = within(Duration::from_secs(4), door.served).await;
    served.expect("nothing keeps it").expect("it does not panic");
}
