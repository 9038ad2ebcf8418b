//! The command line against a daemon of canned answers. Each test is a terminal: words in, text and a code out.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::client::fake::{End, FakeDaemon, Reply};

mod conversation;
mod following;
mod looking;
mod opening;
mod parameters;
mod planning;
mod surface;
mod watching;

/// What a terminal saw.
#[derive(Debug)]
pub struct Ran {
    pub code: u8,
    pub out: String,
    pub err: String,
}

/// Tries often, and for so long that a busy machine does not matter.
const PATIENT: Patience = Patience {
    first: Duration::from_millis(1),
    longest: Duration::from_millis(4),
    request: Duration::from_secs(20),
    stream: Duration::from_secs(20),
};

/// For tests of giving up.
const IMPATIENT: Patience =
    Patience { request: Duration::from_millis(50), stream: Duration::from_millis(50), ..PATIENT };

pub fn no_daemon() -> Daemon {
    Daemon {
        serve: |_| Err("not in this test".to_owned()),
        sdl: || "type Query { x: Int }\n".to_owned(),
        browse: |_| Err("not in this test".to_owned()),
        guard: |_| {},
    }
}

/// Runs `words` (split at spaces) with these variables and nothing else.
pub fn in_environment(words: &str, variables: &[(&str, &str)]) -> Ran {
    with_patience(PATIENT, words, variables)
}

/// Runs `words` against `daemon`.
pub fn beadle(daemon: &FakeDaemon, words: &str) -> Ran {
    in_environment(words, &[("BEADLE_URL", &daemon.url), ("BEADLE_TOKEN", "secret")])
}

/// The same, and gives up soon when no answer comes.
pub fn impatiently(daemon: &FakeDaemon, words: &str) -> Ran {
    with_patience(IMPATIENT, words, &[("BEADLE_URL", &daemon.url), ("BEADLE_TOKEN", "secret")])
}

fn with_patience(patience: Patience, words: &str, variables: &[(&str, &str)]) -> Ran {
    let environment: Vec<_> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let args = std::iter::once("beadle").chain(words.split(' ')).map(OsString::from);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = program(
        args,
        &environment,
        no_daemon(),
        patience,
        Streams { out: &mut out, err: &mut err, is_live: false, is_drawn: false },
    );
    Ran { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

/// The answer to a mutation that was done.
pub fn done(field: &str, mut payload: Value) -> Reply {
    payload["userErrors"] = json!([]);
    payload["cursor"] = json!("c0");
    Reply::data(&json!({ field: payload }))
}

/// The answer to a mutation that was refused.
pub fn refused(field: &str, code: &str) -> Reply {
    let error = json!({ "code": code, "message": "no", "path": ["run", "task"] });
    Reply::data(
        &json!({ field: { "job": null, "deduplicated": false, "cursor": null, "userErrors": [error] } }),
    )
}

/// The answer to `run`.
pub fn enqueued(id: &str) -> Reply {
    done("jobEnqueue", json!({ "job": { "id": id, "state": "QUEUED" }, "deduplicated": false }))
}
