//! Every path, in every spelling: only the documented ones answer, and only with the token that they ask for.

use crate::api::wire::{exchange, request};
use crate::support::daemon::Daemon;

/// A harmless question in the query string.
const ASK: &str = "?query=%7Bviewer%7BtokenName%7D%7D";
/// The same as a body.
const ASK_BODY: &str = r#"{"query": "{viewer{tokenName}}"}"#;

/// Answers with status and body of one request.
fn ask(daemon: &Daemon, line: &str, token: Option<&str>, body: &str) -> (u16, String) {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut fields = vec![("Content-Type", "application/json")];
    fields.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
    let answer = exchange(daemon.address(), &request(daemon.address(), line, &fields, body));
    assert_eq!(answer.field("x-content-type-options"), Some("nosniff"), "{line}: {:?}", answer.fields);
    // What is the same for everybody may be kept as long as it does not change.
    let kept = if line == "GET /" && beadle::web::has_dashboard() { "no-cache" } else { "no-store" };
    assert_eq!(answer.field("cache-control"), Some(kept), "{line}: {:?}", answer.fields);
    (answer.status, answer.body)
}

/// Signs of data that must not be seen without a token.
fn tells_something(body: &str) -> bool {
    ["tokenName\":", "type Query", "\"data\":{", "beadle_"].iter().any(|sign| body.contains(sign))
}

#[test]
fn the_documented_paths_answer_and_ask_for_the_token_where_they_say() {
    let daemon = Daemon::start();
    let wrong = "0".repeat(daemon.token().len());
    let graphql = format!("GET /graphql{ASK}");
    let cases: [(&str, &str, u16, &str); 7] = [
        ("GET /", "", 200, "<title>Beadle</title>"),
        ("GET /healthz", "", 200, "ok"),
        ("GET /readyz", "", 200, "ready"),
        ("GET /schema.graphql", "", 401, "type Query"),
        ("GET /metrics", "", 401, "beadle_build_info"),
        (&graphql, "", 401, "tokenName\":\"admin"),
        ("POST /graphql", ASK_BODY, 401, "tokenName\":\"admin"),
    ];
    for (line, body, without, sign) in cases {
        for token in [None, Some(""), Some(wrong.as_str())] {
            let (status, text) = ask(&daemon, line, token, body);
            assert_eq!(status, without, "{line} with {token:?}: {text}");
            assert!(!tells_something(&text), "{line} with {token:?}: {text}");
        }
        let (status, text) = ask(&daemon, line, Some(daemon.token()), body);
        assert_eq!(status, 200, "{line}: {text}");
        assert!(text.contains(sign), "{line}: {text}");
    }
}

#[test]
fn no_other_spelling_leads_anywhere() {
    let daemon = Daemon::start();
    let spellings = [
        "//graphql",
        "/graphql/",
        "/graphql//",
        "/./graphql",
        "/healthz/../graphql",
        "/healthz/..%2fgraphql",
        "/%67raphql",
        "/graphql%00",
        "/graphql%2f",
        "/graphql;x",
        "/graphql.json",
        "/GraphQL",
        "/GRAPHQL",
        "/api/graphql",
        "/schema.graphql/",
        "//schema.graphql",
        "/Schema.graphql",
        "/healthz/../schema.graphql",
        "/metrics/",
        "//metrics",
        "/Metrics",
        "/healthz/../metrics",
        "/debug/pprof",
        "/admin.token",
        "/data/admin.token",
        "/../data/admin.token",
        "/%2e%2e/data/admin.token",
        "/index.html",
        "/playground.html",
        "/assets/",
        "/assets/../graphql",
        "/assets/../admin.token",
        "/dashboard",
        "/dist/index.html",
        "/.packed",
    ];
    for path in spellings {
        for token in [None, Some(daemon.token())] {
            for (line, body) in [(format!("GET {path}{ASK}"), ""), (format!("POST {path}"), ASK_BODY)] {
                let (status, text) = ask(&daemon, &line, token, body);
                assert!(matches!(status, 400 | 404), "{line}: {status} {text}");
                assert!(!tells_something(&text) && !text.contains(daemon.token()), "{line}: {text}");
            }
        }
    }
}

#[test]
fn other_methods_are_refused_and_run_nothing() {
    let daemon = Daemon::start();
    let mutation = r#"{"query": "mutation { jobEnqueue(input: {run: {command: {exec: {argv: [\"/bin/true\"]}}}}) { job { id } } }"}"#;
    for path in ["/", "/healthz", "/readyz", "/schema.graphql", "/metrics", "/graphql"] {
        for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"] {
            let line = format!("{method} {path}");
            let (status, text) = ask(&daemon, &line, Some(daemon.token()), mutation);
            assert_eq!(status, 405, "{line}: {text}");
            assert!(!tells_something(&text), "{line}: {text}");
        }
    }
    let counted = daemon.graphql("{ jobs { totalCount } }", serde_json::json!({}));
    assert_eq!(counted["jobs"]["totalCount"], serde_json::json!(0));
}
