//! Distributed traces: the span of a request goes on in the job that it makes and in its attempts.

use std::collections::BTreeSet;
use std::net::TcpStream;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Message, client};

use crate::support::daemon::{Daemon, string};
use crate::support::program::shown;
use crate::support::wait::PATIENCE;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

const ENQUEUE: &str = "mutation ($input: JobEnqueueInput!) {
  jobEnqueue(input: $input) { job { id traceId } userErrors { code message path } }
}";

fn print_trace() -> Value {
    json!({"run": {"command": {"script": {"text": "echo $TRACEPARENT"}}}})
}

/// Enqueues with a header; gives the job's id and trace.
fn enqueue(daemon: &Daemon, header: Option<&str>, input: &Value) -> (String, String) {
    let body = json!({"query": ENQUEUE, "variables": {"input": input}}).to_string();
    let mut request = ureq::post(format!("{}/graphql", daemon.url()))
        .header("Authorization", format!("Bearer {}", daemon.token()))
        .header("Content-Type", "application/json");
    if let Some(header) = header {
        request = request.header("traceparent", header);
    }
    let mut answer = request.send(body).expect("the daemon answers");
    let answer: Value =
        serde_json::from_str(&answer.body_mut().read_to_string().expect("text")).expect("JSON");
    let job = &answer["data"]["jobEnqueue"]["job"];
    assert!(job["id"].is_string(), "{answer:#}");
    (string(&job["id"]), string(&job["traceId"]))
}

/// What the job printed: its `TRACEPARENT` in its four parts, for each attempt.
fn printed(daemon: &Daemon, id: &str) -> Vec<[String; 4]> {
    let lines = daemon.wait_final(id).lines;
    let of_stdout = lines.iter().filter(|(stream, _)| stream == "STDOUT");
    of_stdout
        .map(|(_, line)| {
            let parts: Vec<String> = line.split('-').map(str::to_owned).collect();
            parts.try_into().unwrap_or_else(|parts| panic!("not a traceparent: {parts:?}"))
        })
        .collect()
}

#[test]
fn a_request_in_a_trace_makes_a_job_in_it() {
    let daemon = Daemon::start();
    for flags in ["01", "00"] {
        let header = format!("00-{TRACE}-{SPAN}-{flags}");
        let (id, trace) = enqueue(&daemon, Some(&header), &print_trace());
        assert_eq!(trace, TRACE);
        let [version, in_trace, span, sampled] = &printed(&daemon, &id)[0];
        assert_eq!((version.as_str(), in_trace.as_str(), sampled.as_str()), ("00", TRACE, flags));
        assert_ne!(span, SPAN, "the attempt is a span of its own");
    }
}

#[test]
fn a_job_that_nobody_traces_is_the_root_of_its_own() {
    let daemon = Daemon::start();
    let (first, trace) = enqueue(&daemon, None, &print_trace());
    // What is malformed is overlooked.
    let (second, other) = enqueue(&daemon, Some("00-nonsense"), &print_trace());
    for (id, trace) in [(&first, &trace), (&second, &other)] {
        assert_eq!(trace.len(), 32, "{trace}");
        assert_eq!(&printed(&daemon, id)[0][1], trace);
    }
    assert_ne!(trace, other);
    let query = "query ($id: ID!) { job(id: $id) { traceId } }";
    let again = daemon.graphql(query, json!({"id": first}));
    assert_eq!(again["job"]["traceId"], json!(trace), "it stays the same");
    // A retry belongs to whoever asks for it.
    let retry =
        "mutation ($id: ID!) { jobRetry(input: {id: $id}) { job { traceId } userErrors { message } } }";
    let retried = daemon.graphql(retry, json!({"id": first}))["jobRetry"]["job"]["traceId"].clone();
    assert!(retried.is_string() && retried != json!(trace), "{retried}");
}

#[test]
fn each_attempt_is_a_span_of_its_own_and_a_commands_own_variable_wins() {
    let daemon = Daemon::start();
    let header = format!("00-{TRACE}-{SPAN}-01");
    let input = json!({"run": {"command": {"script": {"text": "echo $TRACEPARENT; exit 1"}}},
        "retryPolicy": {"maxAttempts": 3, "initialDelay": "1ms"}});
    let (id, _) = enqueue(&daemon, Some(&header), &input);
    let texts: BTreeSet<String> = printed(&daemon, &id).iter().map(|parts| parts.join("-")).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(texts.iter().all(|text| text.starts_with(&format!("00-{TRACE}-"))), "{texts:?}");
    let own = json!({"run": {"command": {"script": {"text": "echo $TRACEPARENT",
        "environment": [{"name": "TRACEPARENT", "value": "a-b-c-d"}]}}}});
    let (id, _) = enqueue(&daemon, Some(&header), &own);
    assert_eq!(printed(&daemon, &id)[0].join("-"), "a-b-c-d");
}

#[test]
fn the_command_line_and_a_web_socket_pass_their_trace_on() {
    let daemon = Daemon::start();
    let header = format!("00-{TRACE}-{SPAN}-01");
    let run = daemon
        .cli_command(&["run", "--follow", "--", "sh", "-c", "echo $TRACEPARENT"])
        .env("TRACEPARENT", &header)
        .output()
        .expect("the client's program starts");
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(said.starts_with(&format!("00-{TRACE}-")) && !said.contains(SPAN), "{}", shown(&run));

    let connection = TcpStream::connect(daemon.address()).expect("the daemon listens");
    connection.set_read_timeout(Some(PATIENCE)).expect("an open socket");
    let mut request =
        format!("ws://{}/graphql", daemon.address()).into_client_request().expect("a good address");
    let protocol = HeaderValue::from_static("graphql-transport-ws");
    request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
    let (mut socket, _) = client(request, connection).expect("a web socket");
    let authorization = format!("Bearer {}", daemon.token());
    let mut say = |message: Value| {
        socket.send(Message::text(message.to_string())).expect("the daemon listens");
        socket.read().expect("an answer").into_text().expect("text").to_string()
    };
    let payload = json!({"authorization": authorization, "traceparent": header});
    let acknowledged = say(json!({"type": "connection_init", "payload": payload}));
    assert!(acknowledged.contains("connection_ack"), "{acknowledged}");
    let payload = json!({"query": ENQUEUE, "variables": {"input": print_trace()}});
    let made = say(json!({"type": "subscribe", "id": "1", "payload": payload}));
    assert!(made.contains(TRACE), "{made}");
}
