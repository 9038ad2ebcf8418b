//! The public audits and the reference clients against the real daemon, every check of them: a number that shrinks
//! is a failure too.

use crate::api::node::script;
use crate::support::daemon::Daemon;
use crate::support::program::shown;

/// Runs the script against a daemon of its own; its output must have a line with `count`.
fn passes(name: &str, count: &str) {
    let Some(mut script) = script(name) else { return };
    let daemon = Daemon::start();
    let url = format!("{}/graphql", daemon.url());
    let output = script.env("URL", url).env("TOKEN", daemon.token()).output().expect("node starts");
    assert!(output.status.success(), "{name}: {}\n--- daemon\n{}", shown(&output), daemon.log());
    let text = String::from_utf8_lossy(&output.stdout);
    let has_all = text.lines().any(|line| line.contains(count) && line.ends_with("passed"));
    assert!(has_all, "{name}: no line with {count:?}: {}", shown(&output));
}

#[test]
fn every_audit_of_graphql_over_http_passes() {
    passes("http-audits.mjs", "61 of 61");
}

#[test]
fn the_graphql_ws_client_finds_what_its_protocol_promises() {
    passes("ws-client.mjs", "23 of 23");
}

#[test]
fn the_graphql_sse_client_finds_what_its_protocol_promises() {
    passes("sse-client.mjs", "9 of 9");
}
