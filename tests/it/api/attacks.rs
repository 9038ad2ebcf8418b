//! What a hostile page or client may send: nothing of it is executed, nothing of it costs time or memory.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::memory;
use crate::api::transport::{BOTH, Feed, Transport};
use crate::api::wire::{Answer, exchange, pour, request};
use crate::support::daemon::Daemon;
use crate::support::sse::End;
use crate::support::wait::PATIENCE;

const MUTATION: &str =
    r#"mutation { jobEnqueue(input: {run: {command: {exec: {argv: ["/bin/true"]}}}}) { job { id } } }"#;
/// The same in a query string.
const GET_MUTATION: &str = "GET /graphql?query=mutation%7BjobEnqueue(input:%7Brun:%7Bcommand:%7Bexec:%7Bargv:%5B%22/bin/true%22%5D%7D%7D%7D%7D)%7Bjob%7Bid%7D%7D%7D";
/// A body that the promise of flat memory is measured with.
const HUGE_BYTES: usize = 200 * 1000 * 1000;
/// Bytes of a web socket's message.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// How much the daemon's memory may grow over all attacks, its peak included.
const GROWTH_LIMIT_KIB: u64 = 32 * 1024;
/// Tries of which the quickest counts: others work on this machine too.
const TRIES: usize = 3;
/// Within this an attack is refused.
const REFUSAL_LIMIT: Duration = Duration::from_millis(if cfg!(debug_assertions) { 250 } else { 100 });

fn job_count(daemon: &Daemon) -> Value {
    daemon.graphql("{ jobs { totalCount } }", json!({}))["jobs"]["totalCount"].clone()
}

/// A request with everything right, as a start for a wrong one.
struct Probe {
    line: &'static str,
    fields: Vec<(&'static str, String)>,
    body: String,
}

impl Probe {
    /// The mutation by POST, with the admin's token.
    fn good(daemon: &Daemon) -> Probe {
        let fields = vec![
            ("Authorization", format!("Bearer {}", daemon.token())),
            ("Content-Type", "application/json".to_owned()),
        ];
        Probe { line: "POST /graphql", fields, body: json!({ "query": MUTATION }).to_string() }
    }

    /// The opening of a web socket as a browser does it.
    fn upgrade() -> Probe {
        let fields = [
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Protocol", "graphql-transport-ws"),
        ];
        let fields = fields.map(|(name, value)| (name, value.to_owned())).to_vec();
        Probe { line: "GET /graphql", fields, body: String::new() }
    }

    fn line(self, line: &'static str) -> Probe {
        Probe { line, ..self }
    }

    fn with(mut self, name: &'static str, value: &str) -> Probe {
        self.fields.retain(|(found, _)| *found != name);
        self.fields.push((name, value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Probe {
        self.fields.retain(|(found, _)| *found != name);
        self
    }

    fn body(self, body: impl Into<String>) -> Probe {
        Probe { body: body.into(), ..self }
    }

    fn send(&self, daemon: &Daemon) -> Answer {
        let fields: Vec<(&str, &str)> =
            self.fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut bytes = request(daemon.address(), self.line, &fields, &self.body);
        if self.fields.iter().any(|(name, _)| *name == "Upgrade") {
            let text = String::from_utf8(bytes).expect("a request is text");
            bytes = text.replacen("Connection: close", "Connection: Upgrade", 1).into_bytes();
        }
        exchange(daemon.address(), &bytes)
    }
}

/// Bodies that a page can make a browser post anywhere without asking first.
fn simple_bodies(daemon: &Daemon) -> Vec<(u16, Probe)> {
    let good = || Probe::good(daemon);
    let form = format!("query={}", MUTATION.replace('%', "%25").replace('&', "%26").replace(' ', "+"));
    let part =
        format!("--x\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\n{MUTATION}\r\n--x--\r\n");
    let operations = format!(
        "--x\r\nContent-Disposition: form-data; name=\"operations\"\r\n\r\n{}\r\n--x--\r\n",
        json!({ "query": MUTATION })
    );
    vec![
        (415, good().with("Content-Type", "text/plain")),
        (415, good().with("Content-Type", "text/plain; charset=UTF-8")),
        (415, good().with("Content-Type", "text/plain; x=application/json")),
        (415, good().with("Content-Type", "application/x-www-form-urlencoded")),
        (415, good().with("Content-Type", "application/x-www-form-urlencoded").body(form)),
        (415, good().with("Content-Type", "multipart/form-data; boundary=x").body(part)),
        (415, good().with("Content-Type", "multipart/form-data; boundary=x").body(operations)),
        (415, good().with("Content-Type", "application/graphql").body(MUTATION)),
        (415, good().without("Content-Type")),
        (415, good().with("Content-Type", "")),
    ]
}

/// Requests whose head tells that a foreign page or name is behind them.
fn foreign_heads(daemon: &Daemon) -> Vec<(u16, Probe)> {
    let port = daemon.address().rsplit_once(':').expect("an address has a port").1;
    let (host, lookalike) = (format!("evil.example:{port}"), format!("127.0.0.1.evil.example:{port}"));
    let stream = || Probe::good(daemon).with("Accept", "text/event-stream");
    let get = || Probe::good(daemon).line(GET_MUTATION).body("");
    let openings: [&dyn Fn() -> Probe; 4] = [&|| Probe::good(daemon), &stream, &get, &Probe::upgrade];
    let mut probes = Vec::new();
    for open in openings {
        for (status, name, value) in [
            (421, "Host", "evil.example"),
            (421, "Host", host.as_str()),
            (421, "Host", lookalike.as_str()),
            (421, "Host", "localhost"),
            (403, "Origin", "http://evil.example"),
            (403, "Origin", "https://127.0.0.1"),
            (403, "Origin", "null"),
            (403, "Sec-Fetch-Site", "cross-site"),
            (403, "Sec-Fetch-Site", "same-site"),
        ] {
            probes.push((status, open().with(name, value)));
        }
    }
    probes
}

#[test]
fn what_a_foreign_page_can_send_executes_nothing() {
    let daemon = Daemon::start();
    let mut probes = simple_bodies(&daemon);
    probes.extend(foreign_heads(&daemon));
    let good = || Probe::good(&daemon);
    let preflight = || good().line("OPTIONS /graphql").body("").with("Origin", "http://evil.example");
    probes.extend([
        (405, good().line(GET_MUTATION).body("")),
        (405, good().line(GET_MUTATION).body("").with("Accept", "text/event-stream")),
        (405, good().line("HEAD /graphql").body("")),
        (400, good().body(json!([{ "query": MUTATION }]).to_string())),
        (403, preflight().with("Access-Control-Request-Method", "POST")),
    ]);
    let mut wrong = Vec::new();
    for (status, probe) in &probes {
        let answer = probe.send(&daemon);
        let opens_up = answer.fields.iter().any(|line| line.to_lowercase().starts_with("access-control-"));
        if answer.status != *status || opens_up || answer.body.contains("job_") {
            let Probe { line, fields, .. } = probe;
            wrong.push(format!("expected {status}: {line} {fields:?}\n  {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(job_count(&daemon), json!(0), "something was executed");

    // The same with nothing wrong is taken, so it was the foreign sign that was refused.
    let own = format!("http://{}", daemon.address());
    let answer = good().with("Origin", &own).with("Sec-Fetch-Site", "same-origin").send(&daemon);
    assert!(answer.status == 200 && answer.body.contains("job_"), "{answer:?}");
    assert_eq!(Probe::upgrade().with("Origin", &own).send(&daemon).status, 101);
    assert_eq!(job_count(&daemon), json!(1));
}

/// `document` with `count` pieces where its § is.
fn repeated(document: &str, count: usize, piece: impl Fn(usize) -> String) -> String {
    let (before, after) = document.split_once('§').expect("a place for the pieces");
    let mut text = before.to_owned();
    for index in 0..count {
        write!(text, "{}", piece(index)).expect("a string can always be written to");
    }
    text + after
}

/// Documents that would cost an unwary server its stack, its time or its memory.
fn hostile_documents() -> Vec<(&'static str, String)> {
    let deep = |open: &str, close: &str| open.repeat(10_000) + &close.repeat(10_000);
    let bomb = repeated("query { ...f0 } § fragment f25 on Query { __typename }", 25, |index| {
        format!("fragment f{index} on Query {{ ...f{0} ...f{0} }} ", index + 1)
    });
    let enqueue = MUTATION.trim_start_matches("mutation { ").trim_end_matches(" }");
    vec![
        ("fields 10,000 deep", deep("{ a ", "}")),
        ("lists 10,000 deep", format!("{{ node(id: {}) {{ id }} }}", deep("[", "]"))),
        ("objects 10,000 deep", format!("{{ jobs(filter: {}) {{ totalCount }} }}", deep("{a:", "}"))),
        ("types 10,000 deep", format!("query ($a: {}) {{ viewer {{ tokenName }} }}", deep("[", "]"))),
        ("inline fragments 10,000 deep", deep("{...", "}")),
        ("a bomb of 25 doublings", bomb),
        ("10,000 aliases", repeated("{ § }", 10_000, |index| format!("a{index}: __typename "))),
        ("10,000 mutations", repeated("mutation { § }", 10_000, |index| format!("a{index}: {enqueue} "))),
        ("21 mutations", repeated("mutation { § }", 21, |index| format!("a{index}: {enqueue} "))),
        ("1,000 aliases of a costly field", {
            repeated("{ § }", 1_000, |index| format!("a{index}: jobs(first: 200) {{ nodes {{ id }} }} "))
        }),
        ("1,000 directives", format!("{{ __typename {} }}", "@include(if: true) ".repeat(1_000))),
        ("1,000 operations", repeated("§", 1_000, |index| format!("query q{index} {{ __typename }} "))),
        ("a fragment of itself", "{ ...f } fragment f on Query { ...f }".to_owned()),
        ("lists of lists of lists", {
            let inner =
                "nodes { attempts(first: 200) { nodes { job { attempts(first: 200) { nodes { id } } } } } }";
            format!("{{ jobs(first: 200) {{ {inner} }} }}")
        }),
    ]
}

/// The quickest of several answers; each must be a refusal with a code.
fn refused(what: &str, mut attack: impl FnMut() -> Answer) {
    let mut best = Duration::MAX;
    for _ in 0..TRIES {
        let answer = attack();
        assert!((400..500).contains(&answer.status) && !answer.code().is_empty(), "{what}: {answer:?}");
        assert!(!answer.body.contains("\"data\""), "{what}: {answer:?}");
        best = best.min(answer.took);
    }
    println!("{what}: refused in {best:?}");
    assert!(best < REFUSAL_LIMIT, "{what}: refused only after {best:?}");
}

#[test]
fn what_would_cost_much_is_refused_at_once_and_with_flat_memory() {
    let daemon = Daemon::start();
    let pid = daemon.pid();
    let post = |body: String| {
        Probe::good(&daemon).with("Accept", "application/graphql-response+json").body(body).send(&daemon)
    };
    // A first answer, so that what is made once is there.
    post(json!({"query": "{ viewer { tokenName } }"}).to_string());
    let before = memory::kib(pid, "VmRSS");
    for (what, document) in hostile_documents() {
        refused(what, || post(json!({ "query": document }).to_string()));
        for transport in BOTH {
            if transport == Transport::Socket && document.len() > MESSAGE_BYTES_MAX {
                let end = Feed::open(transport, &daemon, &document, &json!({})).next_within(PATIENCE);
                assert_eq!(end, Err(End::Closed), "{what}: a message over the bound ends its socket");
                continue;
            }
            let error = Feed::open(transport, &daemon, &document, &json!({})).expect_error();
            assert!(error["extensions"]["code"].is_string(), "{what} over {transport:?}: {error:#}");
        }
    }
    let lists = "[".repeat(100_000);
    refused("JSON 100,000 deep", || post(format!(r#"{{"query": "{{a}}", "variables": {{"v": {lists}"#)));
    refused("a head without an end", || {
        Probe::good(&daemon).with("X-Filler", &"x".repeat(60 * 1024)).with("Origin", "null").send(&daemon)
    });
    let bearer = format!("Bearer {}", daemon.token());
    for is_chunked in [false, true] {
        let fields = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let what = if is_chunked { "200 MB in chunks" } else { "200 MB with its length" };
        refused(what, || {
            let (answer, sent) = pour(daemon.address(), &fields, HUGE_BYTES, is_chunked);
            assert!(sent < HUGE_BYTES, "{what}: the whole body was read");
            assert_eq!((answer.status, answer.code().as_str()), (413, "QUERY_TOO_LARGE"), "{answer:?}");
            answer
        });
        refused("200 MB without a token", || {
            let (answer, sent) = pour(daemon.address(), &fields[1..], HUGE_BYTES, is_chunked);
            assert!(sent < HUGE_BYTES, "without a token the whole body was read");
            assert_eq!(answer.status, 401, "{answer:?}");
            answer
        });
    }
    let growth = memory::kib(pid, "VmHWM").saturating_sub(before);
    println!("memory: {before} KiB before, its peak {growth} KiB more");
    assert!(growth < GROWTH_LIMIT_KIB, "the daemon's memory grew by {growth} KiB");
    assert_eq!(job_count(&daemon), json!(0), "something was executed");
    let id = daemon.enqueue(&["/bin/true"]);
    assert_eq!(daemon.wait_final(&id).job["state"], json!("SUCCEEDED"));
    assert_eq!(daemon.pid(), pid);
}
