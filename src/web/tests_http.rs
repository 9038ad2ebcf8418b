//! The door from outside, over HTTP: what a client, a page in a browser and an attacker get to see.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::toy::{ADMIN, LISTED_ORIGIN, Open, READER, open, open_with};
use crate::base::clock::{Clock as _, SystemClock, within};
use crate::base::task;

/// What came back.
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    fn parse(text: &str) -> Reply {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Reply {
            status: status.unwrap_or_else(|| panic!("no status in {text:?}")),
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    fn code(&self) -> String {
        let body: serde_json::Value =
            serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body));
        body["errors"][0]["extensions"]["code"].as_str().unwrap_or("none").to_owned()
    }
}

/// Whether the answer is there, by its length or its last chunk.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    match length.and_then(|length| length.parse::<usize>().ok()) {
        Some(length) => body.len() >= length,
        None => body.ends_with("0\r\n\r\n"),
    }
}

impl Open {
    /// Sends a request as it stands; `HOST` becomes our own name.
    pub async fn raw(&self, request: &str) -> Reply {
        let request = request.replace("HOST", &format!("127.0.0.1:{}", self.address.port()));
        let mut stream = TcpStream::connect(self.address).await.expect("the door is open");
        stream.write_all(request.as_bytes()).await.expect("it is taken");
        let mut bytes = Vec::new();
        let reading = async {
            while !is_whole(&bytes) && stream.read_buf(&mut bytes).await? > 0 {}
            std::io::Result::Ok(())
        };
        let read = within(Duration::from_secs(20), reading).await;
        read.expect("it is answered").expect("it is not reset");
        Reply::parse(&String::from_utf8(bytes).expect("UTF-8"))
    }

    /// A POST with these header lines on top of host, length and close.
    pub async fn post(&self, headers: &str, body: &str) -> Reply {
        self.raw(&format!(
            "POST /graphql HTTP/1.1\r\nhost: HOST\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}",
            body.len()
        ))
        .await
    }

    /// A well-formed POST of a document with the admin's token.
    pub async fn ask(&self, accept: &str, document: &str) -> Reply {
        let headers = format!(
            "authorization: Bearer {ADMIN}\r\ncontent-type: application/json\r\naccept: {accept}\r\n"
        );
        let body = serde_json::json!({ "query": document }).to_string();
        self.post(&headers, &body).await
    }

    async fn get(&self, target: &str, headers: &str) -> Reply {
        self.raw(&format!("GET {target} HTTP/1.1\r\nhost: HOST\r\nconnection: close\r\n{headers}\r\n")).await
    }
}

const AUTH: &str = "authorization: Bearer admin-token\r\n";
const JSON: &str = "content-type: application/json\r\n";
const ENQUEUE: &str =
    r#"{"query":"mutation{jobEnqueue(input:{run:{command:{exec:{argv:[\"/bin/true\"]}}}}){job{id}}}"}"#;

#[tokio::test]
async fn a_query_and_a_mutation_are_answered() {
    let door = open().await;
    let reply = door.ask("*/*", "{ daemon { version viewer } }").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.body, r#"{"data":{"daemon":{"version":"0.1.0","viewer":1}}}"#);
    assert!(reply.head.contains("content-type: application/json; charset=utf-8"));
    assert!(reply.head.contains("x-content-type-options: nosniff"));
    assert!(reply.head.contains("cache-control: no-store"));
    assert!(!reply.head.contains("access-control"));
    let reply = door.post(&format!("{AUTH}{JSON}"), ENQUEUE).await;
    assert_eq!(reply.body, r#"{"data":{"jobEnqueue":{"job":{"id":"job_1"}}}}"#);
}

#[tokio::test]
async fn a_mutation_that_is_written_twice_under_one_key_runs_once() {
    let door = open().await;
    let enqueue = "jobEnqueue(input: {run: {command: {exec: {argv: []}}}})";
    let twice =
        format!("mutation {{ {enqueue} {{ cursor }} ... on Mutation {{ {enqueue} {{ job {{ id }} }} }} }}");
    let reply = door.ask("*/*", &twice).await;
    assert_eq!(reply.body, r#"{"data":{"jobEnqueue":{"cursor":"c1","job":{"id":"job_1"}}}}"#);
    assert_eq!(door.toy.executed(), 1);
}

#[tokio::test]
async fn queries_may_come_by_get_but_nothing_else() {
    let door = open().await;
    let reply = door.get("/graphql?query=%7Bdaemon%7Bversion%7D%7D", AUTH).await;
    assert_eq!((reply.status, door.toy.executed()), (200, 1));
    let mutation =
        "mutation%7BjobEnqueue(input:%7Brun:%7Bcommand:%7Bexec:%7Bargv:[]%7D%7D%7D%7D)%7Bcursor%7D%7D";
    // Whatever else is wrong with it.
    let unfit = "mutation($i:JobEnqueueInput!)%7BjobEnqueue(input:$i)%7Bcursor%7D%7D";
    for (query, accept) in [
        (mutation, ""),
        (mutation, "accept: text/event-stream\r\n"),
        (unfit, ""),
        (unfit, "accept: text/*\r\n"),
    ] {
        let reply = door.get(&format!("/graphql?query={query}"), &format!("{AUTH}{accept}")).await;
        assert_eq!(reply.status, 405);
        assert!(reply.head.contains("allow: post"), "{}", reply.head);
    }
    for method in ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"] {
        let head = format!("{method} /graphql HTTP/1.1\r\nhost: HOST\r\nconnection: close\r\n");
        let request = format!("{head}{AUTH}{JSON}content-length: {}\r\n\r\n{ENQUEUE}", ENQUEUE.len());
        let reply = door.raw(&request).await;
        assert_eq!(reply.status, 405, "{method}");
        assert!(!reply.head.contains("access-control"));
    }
    assert_eq!(door.toy.executed(), 1);
}

#[tokio::test]
async fn nothing_a_foreign_page_can_send_is_executed() {
    let door = open().await;
    let types = [
        "content-type: text/plain\r\n",
        "content-type: text/plain; application/json\r\n",
        "content-type: application/x-www-form-urlencoded\r\n",
        "content-type: multipart/form-data; boundary=x\r\n",
        "content-type: application/graphql\r\n",
        "content-type: application/json; charset=utf-16\r\n",
        "",
    ];
    for content_type in types {
        let reply = door.post(&format!("{AUTH}{content_type}"), ENQUEUE).await;
        assert_eq!((reply.status, reply.code().as_str()), (415, "BAD_REQUEST"), "{content_type}");
    }
    for origin in [
        "origin: http://evil.example\r\n",
        "origin: null\r\n",
        "origin: http://127.0.0.1\r\n",
        "sec-fetch-site: cross-site\r\n",
        "sec-fetch-site: same-site\r\n",
    ] {
        for accept in ["", "accept: text/event-stream\r\n"] {
            let reply = door.post(&format!("{AUTH}{JSON}{accept}{origin}"), ENQUEUE).await;
            assert_eq!((reply.status, reply.code().as_str()), (403, "FORBIDDEN"), "{origin}");
            assert!(!reply.head.contains("access-control"), "{}", reply.head);
        }
    }
    for path in ["/", "/healthz", "/readyz", "/schema.graphql", "/graphql", "/nowhere"] {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: evil.example:{}\r\nconnection: close\r\n{AUTH}\r\n",
            door.address.port()
        );
        assert_eq!(door.raw(&request).await.status, 421, "{path}");
    }
    assert_eq!(door.toy.executed(), 0);
}

#[tokio::test]
async fn without_a_token_nothing_is_said_and_no_body_is_read() {
    let door = open().await;
    for auth in [
        "",
        "authorization: Bearer wrong\r\n",
        "authorization: Basic YWRtaW46YWRtaW4=\r\n",
        "authorization: admin-token\r\n",
        "x-token: admin-token\r\ncookie: token=admin-token\r\n",
    ] {
        // The body that is announced never comes; the answer must not wait for it.
        let request = format!(
            "POST /graphql HTTP/1.1\r\nhost: HOST\r\nconnection: close\r\n{JSON}{auth}content-length: 900\r\n\r\n"
        );
        let reply = door.raw(&request).await;
        assert_eq!((reply.status, reply.code().as_str()), (401, "UNAUTHENTICATED"), "{auth}");
        assert!(reply.head.contains("www-authenticate: bearer"));
        let reply =
            door.get("/graphql?query=%7B__schema%7BqueryType%7Bname%7D%7D%7D&token=admin-token", auth).await;
        assert_eq!(reply.status, 401);
        let stream = format!("{JSON}{auth}accept: text/event-stream\r\n");
        assert_eq!(door.post(&stream, r#"{"query":"subscription{events{cursor}}"}"#).await.status, 401);
        assert_eq!(door.get("/schema.graphql", auth).await.status, 401);
    }
    assert_eq!(door.toy.executed(), 0);
}

#[tokio::test]
async fn other_spellings_of_a_path_are_no_path() {
    let door = open().await;
    for path in [
        "/graphql/",
        "//graphql",
        "/graphql/healthz",
        "/healthz/../graphql",
        "/%67raphql",
        "/GraphQL",
        "/graphql;x",
        "/schema.graphql/healthz",
        "/readyz/",
    ] {
        let reply = door.get(&format!("{path}?query=%7Bdaemon%7Bversion%7D%7D"), "").await;
        assert_eq!((reply.status, reply.code().as_str()), (404, "NOT_FOUND"), "{path}");
    }
    assert_eq!(door.toy.executed(), 0);
}

#[tokio::test]
async fn health_says_little_and_the_page_loads_nothing_foreign() {
    let door = open().await;
    assert_eq!(door.get("/healthz", "").await.body, "ok\n");
    assert_eq!(door.get("/readyz", "").await.body, "ready\n");
    let page = door.get("/", "sec-fetch-site: cross-site\r\n").await;
    assert!(page.status == 200 && page.head.contains("default-src 'none'; "), "{}", page.head);
    assert!(page.head.contains("frame-ancestors 'none'") && !page.head.contains("unsafe-eval"));
    let sdl = door.get("/schema.graphql", AUTH).await;
    assert!(sdl.status == 200 && sdl.body.contains("jobEnqueue("));
    door.shutdown.cancel();
    door.served.await.expect("serve returns");
}

#[tokio::test]
async fn a_large_body_is_refused_without_being_kept() {
    let door = open().await;
    let headers = format!("{AUTH}{JSON}");
    let reply = door.post(&headers, &" ".repeat(1024 * 1024 + 1)).await;
    assert_eq!((reply.status, reply.code().as_str()), (413, "QUERY_TOO_LARGE"));
    // Announced: refused at once, though not a byte of it has come.
    let head = format!("POST /graphql HTTP/1.1\r\nhost: HOST\r\nconnection: close\r\n{headers}");
    let reply = door.raw(&format!("{head}expect: 100-continue\r\ncontent-length: 209715200\r\n\r\n")).await;
    assert_eq!(reply.status, 413);
    // In chunks, never announced: counted while it comes.
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let body = format!("{}0\r\n\r\n", chunk.repeat(20));
    let reply = door.raw(&format!("{head}transfer-encoding: chunked\r\n\r\n{body}")).await;
    assert_eq!(reply.status, 413);
    assert_eq!(door.toy.executed(), 0);
}

/// Pages of memory that this process holds.
fn resident_pages() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("this is Linux");
    text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("it is a number")
}

#[tokio::test]
async fn a_flood_is_answered_while_it_comes_and_costs_no_memory() {
    let door = open().await;
    let before = resident_pages();
    let stream = TcpStream::connect(door.address).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let port = door.address.port();
    let flood = task::spawn(async move {
        let head = format!(
            "POST /graphql HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{AUTH}{JSON}transfer-encoding: chunked\r\n\r\n"
        );
        writing.write_all(head.as_bytes()).await?;
        let chunk = format!("100000\r\n{}\r\n", " ".repeat(0x0010_0000));
        for _ in 0..200 {
            writing.write_all(chunk.as_bytes()).await?;
        }
        std::io::Result::Ok(())
    });
    let mut bytes = vec![0; 4096];
    let count = within(Duration::from_secs(10), reading.read(&mut bytes)).await;
    let count = count.expect("it is answered").expect("it is not reset");
    assert_eq!(Reply::parse(&String::from_utf8_lossy(&bytes[..count])).status, 413);
    let ended = within(Duration::from_secs(10), flood).await;
    let outcome = ended.expect("it is cut").expect("it does not panic");
    assert!(outcome.is_err(), "200 MB were taken");
    let grown = resident_pages().saturating_sub(before) * 4096;
    assert!(grown < 64 * 1024 * 1024, "grew by {grown} bytes");
}

#[tokio::test]
async fn heads_and_bodies_that_never_end_are_given_up() {
    let door = open_with(|limits| {
        limits.head = Duration::from_millis(500);
        limits.body = Duration::from_millis(50);
    })
    .await;
    let head = format!("POST /graphql HTTP/1.1\r\nhost: HOST\r\n{AUTH}{JSON}content-length: 20\r\n");
    let reply = door.raw(&format!("{head}\r\n{{\"query\"")).await;
    assert_eq!((reply.status, reply.code().as_str()), (408, "TIMEOUT"));
    let mut stream = TcpStream::connect(door.address).await.unwrap();
    stream.write_all(b"POST /graphql HTT").await.unwrap();
    let mut rest = Vec::new();
    let ended = within(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
    assert!(ended.is_some(), "an unfinished head is not waited for");
}

#[tokio::test]
async fn the_media_type_decides_the_status() {
    let door = open().await;
    let strict = "application/graphql-response+json";
    for (accept, document, status, code) in [
        ("application/json", "{", 200, "GRAPHQL_PARSE_FAILED"),
        (strict, "{", 400, "GRAPHQL_PARSE_FAILED"),
        ("application/json", "{ nope }", 200, "GRAPHQL_VALIDATION_FAILED"),
        (strict, "{ nope }", 400, "GRAPHQL_VALIDATION_FAILED"),
        ("application/json", "query($n: Int!) { double(n: $n) }", 200, "BAD_USER_INPUT"),
        (strict, "query($n: Int!) { double(n: $n) }", 400, "BAD_USER_INPUT"),
        (strict, "{ coded }", 200, "NOT_FOUND"),
        (strict, "{ broken }", 200, "INTERNAL"),
        (strict, "subscription { countTo(n: 1) }", 406, "BAD_REQUEST"),
        (strict, "subscription { countTo(n: 1) x: countTo(n: 2) }", 400, "GRAPHQL_VALIDATION_FAILED"),
    ] {
        let reply = door.ask(accept, document).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{accept} {document}");
        assert!(reply.head.contains(&format!("content-type: {accept}")), "{}", reply.head);
        assert_eq!(reply.body.contains("\"data\""), status == 200 && accept == strict, "{}", reply.body);
    }
    assert_eq!(door.ask("text/html", "{ daemon { version } }").await.status, 406);
    let reply = door.ask(strict, "{ broken }").await;
    assert!(!reply.body.contains("vault"), "{}", reply.body);
}

#[tokio::test]
async fn a_panic_and_a_hang_are_answers_and_the_door_stays_open() {
    let door = open_with(|limits| limits.operation = Duration::from_millis(50)).await;
    let reply = door.ask("*/*", "{ panics }").await;
    assert_eq!((reply.status, reply.code().as_str()), (500, "INTERNAL"));
    assert!(!reply.body.contains("purpose"));
    let reply = door.ask("*/*", "{ hangs }").await;
    assert_eq!((reply.status, reply.code().as_str()), (503, "TIMEOUT"));
    assert_eq!(door.ask("*/*", "{ daemon { version } }").await.status, 200);
}

#[tokio::test]
async fn a_query_without_a_turn_is_told_to_come_back_and_a_mutation_needs_none() {
    let door = open_with(|limits| {
        limits.queries = 1;
        limits.turn = Duration::from_millis(20);
        limits.operation = Duration::from_secs(3);
    })
    .await;
    let others = async {
        loop {
            let reply = door.ask("*/*", "{ daemon { version } }").await;
            // Until the one that hangs has taken the turn.
            if reply.status == 200 {
                continue;
            }
            assert_eq!((reply.status, reply.code().as_str()), (503, "OVERLOADED"));
            assert!(reply.body.contains("\"retryAfterMs\":1000"), "{}", reply.body);
            return door.post(&format!("{AUTH}{JSON}"), ENQUEUE).await;
        }
    };
    let (hung, mutation) = tokio::join!(door.ask("*/*", "{ hangs }"), others);
    assert_eq!((hung.status, hung.code().as_str()), (503, "TIMEOUT"));
    assert_eq!(mutation.status, 200, "{}", mutation.body);
    assert_eq!(door.ask("*/*", "{ daemon { version } }").await.status, 200, "the turn is given back");
}

#[tokio::test]
async fn a_token_that_floods_slow_queries_leaves_turns_to_the_others() {
    let door = open_with(|limits| {
        limits.queries = 4;
        limits.turn = Duration::from_secs(2);
        limits.operation = Duration::from_secs(2);
    })
    .await;
    let flood = futures_util::future::join_all((0..12).map(|_| door.ask("*/*", "{ hangs }")));
    let other = async {
        let began = SystemClock.monotonic();
        let headers = format!("Authorization: Bearer {READER}\r\n{JSON}");
        for _ in 0..20 {
            let reply = door.post(&headers, r#"{"query":"{ daemon { version } }"}"#).await;
            assert_eq!(reply.status, 200, "{}", reply.body);
        }
        SystemClock.monotonic().duration_since(began)
    };
    let (flooded, took) = tokio::join!(flood, other);
    println!("20 queries beside a flood of 12 that hang took {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(flooded.iter().all(|reply| reply.status == 503));
}

#[tokio::test]
async fn grants_are_asked_for_on_every_way_in() {
    let door = open().await;
    let auth = format!("authorization: Bearer {READER}\r\n{JSON}");
    let hidden = serde_json::json!({ "query": "mutation { ...F } fragment F on Mutation { x: jobEnqueue(input: {run: {command: {exec: {argv: []}}}}) { cursor } }" });
    for body in [ENQUEUE, &hidden.to_string()] {
        let reply = door.post(&auth, body).await;
        assert_eq!((reply.status, reply.code().as_str()), (403, "FORBIDDEN"));
        assert!(reply.body.contains("`jobEnqueue` needs the grant `command`"), "{}", reply.body);
        let reply = door.post(&format!("{auth}accept: text/event-stream\r\n"), body).await;
        assert!(reply.body.contains("FORBIDDEN"), "{}", reply.body);
    }
    assert_eq!(door.toy.executed(), 0);
}

#[tokio::test]
async fn batches_and_costly_documents_are_refused() {
    let door = open().await;
    let reply = door.post(&format!("{AUTH}{JSON}"), &format!("[{ENQUEUE},{ENQUEUE}]")).await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "BATCHING_DISABLED"));
    let lists = format!("{{ double(n: {}", "[".repeat(10_000));
    let objects = format!("{{ double(n: {}", "{a:".repeat(10_000));
    let aliases = (0..10_000).fold(String::new(), |text, n| text + &format!("a{n}:__typename "));
    let bomb = (0..25).fold("{ ...F0 } fragment F25 on Query { __typename }".to_owned(), |text, n| {
        text + &format!(" fragment F{n} on Query {{ ...F{0} ...F{0} }}", n + 1)
    });
    for document in [lists, objects, format!("{{ {aliases} }}"), bomb] {
        let reply = door.ask("application/graphql-response+json", &document).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "QUERY_TOO_LARGE"), "{document:.60}");
    }
    assert_eq!(door.ask("*/*", "{ daemon { version } }").await.status, 200);
}

#[tokio::test]
async fn connections_are_capped_and_places_come_back() {
    let door = open_with(|limits| limits.connections = 1).await;
    let held = TcpStream::connect(door.address).await.unwrap();
    // The held connection is accepted first: accept order is connect order.
    let reply = door.get("/healthz", "").await;
    assert_eq!(reply.status, 503);
    drop(held);
    let again = async {
        while door.get("/healthz", "").await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    assert!(within(Duration::from_secs(10), again).await.is_some());
}

#[tokio::test]
async fn a_page_of_a_listed_origin_may_ask_and_read_and_no_other() {
    let door = open().await;
    let preflight = |origin: &str| {
        format!(
            "OPTIONS /graphql HTTP/1.1\r\nhost: HOST\r\nconnection: close\r\norigin: {origin}\r\n\
             sec-fetch-site: cross-site\r\naccess-control-request-method: POST\r\n\
             access-control-request-headers: authorization, content-type\r\ncontent-length: 0\r\n\r\n"
        )
    };
    let reply = door.raw(&preflight(LISTED_ORIGIN)).await;
    assert_eq!(reply.status, 204, "{}", reply.head);
    for line in [
        "access-control-allow-origin: https://ui.example",
        "access-control-allow-methods: get, post",
        "access-control-allow-headers: authorization, content-type, last-event-id, traceparent",
        "vary: origin",
    ] {
        assert!(reply.head.contains(line), "{line}: {}", reply.head);
    }
    let headers = |origin: &str, token: &str| {
        format!(
            "origin: {origin}\r\nsec-fetch-site: cross-site\r\ncontent-type: application/json\r\n\
             authorization: Bearer {token}\r\n"
        )
    };
    let query = r#"{"query":"{ double(n: 2) }"}"#;
    for (token, status) in [(ADMIN, 200), ("nobody", 401)] {
        let reply = door.post(&headers(LISTED_ORIGIN, token), query).await;
        assert_eq!(reply.status, status, "{}", reply.head);
        assert!(reply.head.contains("access-control-allow-origin: https://ui.example\r\n"), "{}", reply.head);
    }
    for origin in ["https://evil.example", "https://ui.example.evil.example", "null"] {
        for reply in [door.raw(&preflight(origin)).await, door.post(&headers(origin, ADMIN), query).await] {
            assert!(reply.status == 403 && !reply.head.contains("access-control"), "{}", reply.head);
        }
    }
    assert!(!door.ask("application/json", "{ double(n: 2) }").await.head.contains("access-control"));
}
