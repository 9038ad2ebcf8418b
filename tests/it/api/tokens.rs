//! Tokens as their administrators and their holders meet them: made, used, listed, expired, revoked.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::socket::Socket;
use crate::support::daemon::{Daemon, send};
use crate::support::sse::{End, Sse};
use crate::support::wait::{PATIENCE, until};

/// Less than the pause between two heartbeats, so that none of them can have been what ended a stream.
const SOON: Duration = Duration::from_secs(10);

const CREATE: &str = "mutation ($input: TokenCreateInput!) {
  tokenCreate(input: $input) {
    token { id name grants { verb tasks ownJobsOnly } createdBy expiresAt lastUsedAt revokedAt }
    secret cursor userErrors { code message path }
  }
}";
const REVOKE: &str = "mutation ($id: ID!) {
  tokenRevoke(input: {id: $id}) { token { revokedAt } cursor userErrors { code message path } }
}";
const EVENTS: &str = "subscription { events { events { type } cursor } }";

/// A token's id and secret.
pub struct Made {
    pub id: String,
    pub secret: String,
}

/// Makes a token with these grants.
pub fn make(daemon: &Daemon, name: &str, grants: Value) -> Made {
    make_with(daemon, &json!({"name": name, "grants": grants}))
}

fn make_with(daemon: &Daemon, input: &Value) -> Made {
    let answer = daemon.graphql(CREATE, json!({ "input": input }));
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("refused: {answer}")).to_owned();
    let payload = &answer["tokenCreate"];
    Made { id: text(&payload["token"]["id"]), secret: text(&payload["secret"]) }
}

/// What the daemon answers to the holder of a token.
pub fn ask(daemon: &Daemon, token: &Made, query: &str, variables: &Value) -> Value {
    send(daemon.address(), &token.secret, query, variables).unwrap_or_else(|why| panic!("{query}: {why}"))
}

/// The code of a refused request, or of a refused mutation.
fn code(answer: &Value) -> String {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let payload = answer["data"].as_object().and_then(|roots| roots.values().next()).cloned();
    let refused = payload.and_then(|payload| text(&payload["userErrors"][0]["code"]));
    text(&answer["errors"][0]["extensions"]["code"]).or(refused).unwrap_or_default()
}

fn revoke(daemon: &Daemon, id: &str) -> String {
    code(&daemon.send(REVOKE, &json!({ "id": id })).expect("an answer"))
}

fn read() -> Value {
    json!([{"verb": "READ"}])
}

#[test]
fn a_secret_is_shown_once_and_kept_nowhere() {
    let daemon = Daemon::start();
    let input =
        json!({"name": "ci", "grants": [{"verb": "ENQUEUE", "tasks": ["deploy-*"]}], "expiresIn": "PT1H"});
    let answer = daemon.graphql(CREATE, json!({ "input": input }))["tokenCreate"].take();
    let secret = answer["secret"].as_str().expect("it is shown");
    assert!(secret.len() == 64 && secret.bytes().all(|byte| byte.is_ascii_hexdigit()), "{secret}");
    let grant = json!({"verb": "ENQUEUE", "tasks": ["deploy-*"], "ownJobsOnly": false});
    assert_eq!(answer["token"]["grants"], json!([grant]));
    assert_eq!(
        (&answer["token"]["createdBy"], &answer["token"]["lastUsedAt"]),
        (&json!("admin"), &Value::Null)
    );
    assert!(answer["token"]["expiresAt"].is_string());
    let list =
        "{ tokens { nodes { name grants { verb } createdBy } } events { events { type actor peer data } } }";
    let seen = daemon.graphql(list, json!({}));
    assert_eq!(seen["tokens"]["nodes"].as_array().map(Vec::len), Some(2));
    let events = seen["events"]["events"].as_array().expect("a list");
    // The token of the data directory may have one too.
    let made = events.iter().rfind(|event| event["type"] == json!("TOKEN_CHANGED")).expect("an event");
    assert_eq!((&made["actor"], &made["peer"]), (&json!("admin"), &json!("127.0.0.1")));
    assert_eq!((&made["data"]["action"], &made["data"]["token"]), (&json!("CREATE"), &json!("ci")));
    assert!(!seen.to_string().contains(secret));
    let mut searched = 0;
    for entry in fs::read_dir(daemon.data()).expect("the data directory") {
        let path = entry.expect("an entry").path();
        let Ok(bytes) = fs::read(&path) else { continue };
        searched += 1;
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{} holds the secret", path.display());
    }
    assert!(searched > 2, "the store was searched");
}

#[test]
fn a_name_is_given_once_and_what_is_wrong_is_named() {
    let daemon = Daemon::start();
    let refused = |input: Value| {
        let answer = daemon.graphql(CREATE, json!({ "input": input }))["tokenCreate"].take();
        assert_eq!((&answer["token"], &answer["secret"]), (&Value::Null, &Value::Null));
        let error = &answer["userErrors"][0];
        (error["code"].as_str().unwrap_or_default().to_owned(), error["path"].clone())
    };
    let ci = make(&daemon, "ci", read());
    assert_eq!(refused(json!({"name": "ci", "grants": read()})).0, "ALREADY_EXISTS");
    assert_eq!(revoke(&daemon, &ci.id), "");
    assert_eq!(refused(json!({"name": "ci", "grants": read()})).0, "ALREADY_EXISTS");
    assert_eq!(refused(json!({"name": "a", "grants": []})), ("INVALID".to_owned(), json!(["grants"])));
    let glob = json!([{"verb": "ENQUEUE", "tasks": ["a", ""]}]);
    let path = json!(["grants", "0", "tasks", "1"]);
    assert_eq!(refused(json!({"name": "a", "grants": glob})), ("INVALID".to_owned(), path));
    let input = json!({"name": "a", "grants": read(), "expiresIn": "PT0S"});
    assert_eq!(refused(input), ("INVALID".to_owned(), json!(["expiresIn"])));
    assert_eq!(revoke(&daemon, "token_999"), "NOT_FOUND");
}

#[test]
fn the_last_use_of_a_token_is_noted_and_nobody_waits_for_it() {
    let daemon = Daemon::start();
    let ci = make(&daemon, "ci", read());
    assert_eq!(
        ask(&daemon, &ci, "{ viewer { tokenName } }", &json!({}))["data"]["viewer"]["tokenName"],
        "ci"
    );
    let query = "query ($id: ID!) { node(id: $id) { ... on Token { lastUsedAt } } }";
    until("the use to be noted", PATIENCE, || {
        let token = daemon.graphql(query, json!({"id": ci.id}));
        token["node"]["lastUsedAt"].as_str().map(str::to_owned)
    });
}

#[test]
fn a_revocation_ends_everything_that_the_token_holds_open() {
    let daemon = Daemon::start();
    let (ci, other) = (make(&daemon, "ci", read()), make(&daemon, "other", read()));
    let mut stream = Sse::open(daemon.address(), &ci.secret, EVENTS, &json!({})).expect("a stream");
    let mut socket = Socket::open(daemon.address(), &ci.secret, EVENTS, &json!({}));
    let mut untouched = Socket::open(daemon.address(), &other.secret, EVENTS, &json!({}));
    // Each hears of it, so each is open.
    let job = daemon.enqueue(&["/bin/true"]);
    daemon.wait_final(&job);
    assert!(stream.next_within(PATIENCE).is_ok() && socket.next_within(PATIENCE).is_ok());
    assert!(untouched.next_within(PATIENCE).is_ok());
    assert_eq!(revoke(&daemon, &ci.id), "");
    let ended = |next: &mut dyn FnMut() -> Option<End>| loop {
        if let Some(end) = next() {
            return end;
        }
    };
    assert_eq!(ended(&mut || stream.next_within(SOON).err()), End::Closed);
    assert_eq!(ended(&mut || socket.next_within(SOON).err()), End::Closed);
    assert_eq!(code(&ask(&daemon, &ci, "{ viewer { tokenName } }", &json!({}))), "UNAUTHENTICATED");
    let job = daemon.enqueue(&["/bin/true"]);
    let mut seen = String::new();
    while !seen.contains("ATTEMPT_FINISHED") {
        seen = untouched.next_within(PATIENCE).expect("the other one goes on").to_string();
    }
    daemon.wait_final(&job);
    // Once more changes nothing.
    assert_eq!(revoke(&daemon, &ci.id), "");
}

#[test]
fn an_expired_token_is_refused_and_its_streams_end() {
    let daemon = Daemon::start();
    let input = json!({"name": "brief", "grants": read(), "expiresIn": "PT6S"});
    let brief = make_with(&daemon, &input);
    let mut stream = Sse::open(daemon.address(), &brief.secret, EVENTS, &json!({})).expect("a stream");
    let mut socket = Socket::open(daemon.address(), &brief.secret, EVENTS, &json!({}));
    assert_eq!(stream.next_within(SOON).err(), Some(End::Closed));
    assert_eq!(socket.next_within(SOON).err(), Some(End::Closed));
    assert_eq!(code(&ask(&daemon, &brief, "{ viewer { tokenName } }", &json!({}))), "UNAUTHENTICATED");
}

#[test]
fn the_last_administrator_stays_and_a_revoked_one_does_not_come_back() {
    let mut daemon = Daemon::start();
    let query = "{ tokens { nodes { id name } } }";
    let admin =
        daemon.graphql(query, json!({}))["tokens"]["nodes"][0]["id"].as_str().expect("an id").to_owned();
    make_with(&daemon, &json!({"name": "ci", "grants": read()}));
    assert_eq!(revoke(&daemon, &admin), "CONFLICT");
    let second = make(&daemon, "second", json!([{"verb": "ADMIN"}]));
    // Even the one that asks.
    assert_eq!(revoke(&daemon, &admin), "");
    assert_eq!(code(&daemon.send(query, &json!({})).expect("an answer")), "UNAUTHENTICATED");
    daemon.terminate();
    daemon.restart();
    assert_eq!(code(&daemon.send(query, &json!({})).expect("an answer")), "UNAUTHENTICATED");
    assert!(daemon.log().contains("was revoked"), "{}", daemon.log());
    assert!(ask(&daemon, &second, query, &json!({}))["data"]["tokens"].is_object());
    // Who has lost every token takes the file away and gets a new one.
    daemon.terminate();
    fs::remove_file(daemon.data().join("admin.token")).expect("the file is there");
    daemon.restart();
    assert!(daemon.send(query, &json!({})).expect("an answer")["data"]["tokens"].is_object());
}

#[test]
fn tokens_are_for_administrators_only() {
    let daemon = Daemon::start();
    let reader = make(&daemon, "reader", json!([{"verb": "READ"}, {"verb": "OPERATE"}, {"verb": "COMMAND"}]));
    for query in ["{ tokens { nodes { id } } }", "mutation { tokenRevoke(input: {id: 1}) { cursor } }"] {
        let answer = ask(&daemon, &reader, query, &json!({}));
        assert_eq!(code(&answer), "FORBIDDEN");
        assert!(
            answer["errors"][0]["message"].as_str().is_some_and(|text| text.contains("ADMIN")),
            "{answer}"
        );
    }
    let node = "query ($id: ID!) { node(id: $id) { id } }";
    assert_eq!(ask(&daemon, &reader, node, &json!({"id": reader.id}))["data"]["node"], Value::Null);
    assert_eq!(daemon.graphql(node, json!({"id": reader.id}))["node"]["id"], json!(reader.id));
    let events = "{ events(first: 200) { events { type } } }";
    assert!(daemon.graphql(events, json!({})).to_string().contains("TOKEN_CHANGED"));
    let seen = ask(&daemon, &reader, events, &json!({})).to_string();
    assert!(seen.contains("WORKER_CHANGED") && !seen.contains("TOKEN_CHANGED"), "{seen}");
}

#[test]
fn failed_logins_have_to_wait_and_the_good_token_does_not() {
    let daemon = Daemon::start();
    let query = "{ viewer { tokenName } }";
    assert!(daemon.send(query, &json!({})).is_ok());
    let wrong = Made { id: String::new(), secret: "0".repeat(64) };
    for _ in 0..10 {
        assert_eq!(code(&ask(&daemon, &wrong, query, &json!({}))), "UNAUTHENTICATED");
    }
    let answer = ask(&daemon, &wrong, query, &json!({}));
    assert_eq!(code(&answer), "RATE_LIMITED");
    assert!(answer["errors"][0]["extensions"]["retryAfterMs"].is_u64(), "{answer}");
    assert_eq!(daemon.graphql(query, json!({}))["viewer"]["tokenName"], json!("admin"));
}

#[test]
fn the_command_line_makes_lists_and_revokes_tokens() {
    let daemon = Daemon::start();
    let run = |args: &[&str]| {
        let output = daemon.cli(args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{args:?}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
        text
    };
    let flags = [
        "token",
        "create",
        "ci",
        "--read",
        "--own",
        "--enqueue",
        "deploy-*",
        "--cancel",
        "*",
        "--expires-in",
        "1h",
    ];
    let secret = run(&flags);
    let ci = Made { id: String::new(), secret: secret.trim_end().to_owned() };
    assert_eq!((ci.secret.len(), secret.lines().count()), (64, 1));
    let viewer = "{ viewer { tokenName grants { verb tasks ownJobsOnly } } }";
    let answer = ask(&daemon, &ci, viewer, &json!({}));
    let expected = json!({"tokenName": "ci", "grants": [
        {"verb": "READ", "tasks": null, "ownJobsOnly": true},
        {"verb": "ENQUEUE", "tasks": ["deploy-*"], "ownJobsOnly": false},
        {"verb": "CANCEL", "tasks": null, "ownJobsOnly": true},
    ]});
    assert_eq!(answer["data"]["viewer"], expected);
    let list = run(&["token", "ls"]);
    assert!(list.contains("READ (own), ENQUEUE deploy-*, CANCEL (own)"), "{list}");
    assert!(run(&["token", "revoke", "ci"]).contains("ci revoked"));
    assert_eq!(code(&ask(&daemon, &ci, viewer, &json!({}))), "UNAUTHENTICATED");
    assert_eq!(daemon.cli(&["token", "revoke", "nobody"]).status.code(), Some(3));
    let denied =
        daemon.cli_command(&["token", "ls"]).env("BEADLE_TOKEN", &ci.secret).output().expect("it runs");
    assert_eq!(denied.status.code(), Some(4));
    // What it may cancel it need not see.
    let secret = run(&["token", "create", "stopper", "--cancel", "*"]);
    let job = daemon.enqueue(&["sleep", "600"]);
    let cancel = daemon.cli_command(&["cancel", &job]).env("BEADLE_TOKEN", secret.trim_end()).output();
    let cancelled = cancel.expect("it runs");
    assert_eq!(String::from_utf8_lossy(&cancelled.stdout), format!("{job} is asked to stop\n"));
    assert!(cancelled.status.success());
    assert_eq!(daemon.wait_final_state(&job), "CANCELLED");
}
