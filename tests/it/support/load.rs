//! A mixed load as several users make it: jobs that succeed, fail, are tried again, wait for others, report, print, are
//! held, cancelled singly and in bulk, made anew; a schedule; tokens. Its clients ask until they are answered: no answer
//! means "maybe", and keys make asking again safe. Everything that they are told goes into the ledger.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use super::daemon::{Daemon, send, string};
use super::ledger::{KEY_LABEL, Ledger, MARK, open_count, wait_quiet};
use super::wait::{PATIENCE, now, span};

const SET_UP: &str = r#"mutation ($environment: [EnvironmentInput!]) {
  taskPut(input: {name: "beat", command: {exec: {argv: ["/bin/true"], environment: $environment}}}) {
    userErrors { message }
  }
  schedulePut(input: {name: "beat", task: {name: "beat"}, timing: {every: "1s"}, overlap: ALLOW}) {
    userErrors { message }
  }
}"#;
const PAUSE: &str = r#"mutation { schedulePause(input: {ref: {name: "beat"}}) { userErrors { message } } }"#;
const ENQUEUE_MANY: &str = "mutation ($jobs: [JobEnqueueInput!]!) { jobEnqueueMany(input: {jobs: $jobs}) {
  results { job { id } userErrors { code message } }
} }";
const CANCEL: &str =
    "mutation ($id: ID!) { jobCancel(input: {id: $id}) { cursor userErrors { code message } } }";
const BULK_CANCEL: &str = "mutation ($input: JobBulkInput!) {
  jobBulkCancel(input: $input) { matchedCount cursor userErrors { code message } }
}";
const BULK_RETRY: &str = "mutation ($input: JobBulkInput!) {
  jobBulkRetry(input: $input) { matchedCount userErrors { code message } }
}";
const TOKEN: &str = "mutation ($name: String!) {
  tokenCreate(input: {name: $name, grants: [{verb: READ}]}) { token { id } userErrors { code } }
}";
const REVOKE: &str =
    "mutation ($id: ID!) { tokenRevoke(input: {id: $id}) { token { id } userErrors { code } } }";

/// Prints on both streams and reports on its channel: what is stored while it runs, and what goes with its end.
const TELLS: &str = r#"echo out; echo err >&2
  echo '{"progress": {"done": 1, "total": 2}, "output": {"a": 1}}' > "$BEADLE_REPORT"
  sleep 0.05; echo '{"output": {"b": 2}}' > "$BEADLE_REPORT""#;
/// The first of its rounds in which a client makes a token and has jobs made anew, and how often from then on.
const RARE_EVERY: usize = 4;
/// Jobs that wait one for the other; a transaction goes down 20 steps, and once more when it claims.
const CHAIN: usize = 64;

/// What the clients share with the test.
#[derive(Debug)]
pub struct Load {
    /// The value of `MARK` in the environment of each process.
    pub mark: String,
    /// What clients were told.
    pub ledger: Ledger,
    door: Mutex<(String, String)>,
    pace: Duration,
    rounds: AtomicUsize,
    is_over: AtomicBool,
}

impl Load {
    /// A load whose clients pause so long between their rounds.
    pub fn new(mark: String, pace: Duration) -> Arc<Load> {
        Arc::new(Load {
            mark,
            pace,
            ledger: Ledger::default(),
            door: Mutex::default(),
            rounds: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        })
    }

    /// Tells the clients where the daemon is, and puts task and schedule.
    pub fn set_up(&self, daemon: &Daemon) {
        *self.door.lock().unwrap_or_else(PoisonError::into_inner) =
            (daemon.address().to_owned(), daemon.token().to_owned());
        let environment = json!([{"name": MARK, "value": self.mark}]);
        let answer = self.ask(SET_UP, &json!({ "environment": environment }));
        for payload in ["taskPut", "schedulePut"] {
            assert_eq!(answer[payload]["userErrors"], json!([]), "{answer:#}");
        }
    }

    /// Starts the clients.
    pub fn start(self: &Arc<Self>, count: usize) -> Vec<JoinHandle<()>> {
        let client = |client: usize| {
            let load = Arc::clone(self);
            thread::spawn(move || {
                for round in 0.. {
                    if load.is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    load.round(client, round);
                    load.rounds.fetch_add(1, Ordering::SeqCst);
                    span(load.pace);
                }
            })
        };
        (0..count).map(client).collect()
    }

    /// Rounds that clients have done.
    pub fn rounds(&self) -> usize {
        self.rounds.load(Ordering::SeqCst)
    }

    /// Ends the clients and the schedule, and then every job: those that do not end within `patience` are cancelled.
    /// The daemon must be up.
    pub fn wind_up(&self, daemon: &Daemon, clients: Vec<JoinHandle<()>>, patience: Duration) {
        self.is_over.store(true, Ordering::SeqCst);
        for client in clients {
            client.join().expect("a client does not panic");
        }
        self.ask(PAUSE, &json!({}));
        let begun = now();
        while begun.elapsed() < patience && open_count(daemon) > 0 {
            span(Duration::from_millis(20));
        }
        let input = json!({"filter": {}, "max": 100_000, "reason": "the load is over"});
        self.ask(BULK_CANCEL, &json!({ "input": input }));
        wait_quiet(daemon, PATIENCE);
    }

    /// Asks until there is an answer.
    pub fn ask(&self, query: &str, variables: &Value) -> Value {
        let begun = now();
        let mut last = String::new();
        while begun.elapsed() < PATIENCE {
            let (address, token) = self.door.lock().unwrap_or_else(PoisonError::into_inner).clone();
            match send(&address, &token, query, variables) {
                Ok(mut answer) if answer.get("errors").is_none() && answer["data"].is_object() => {
                    return answer["data"].take();
                }
                Ok(answer) => {
                    last = answer.to_string();
                    // Only a request of ours that is wrong is refused so: no daemon in trouble says it.
                    let is_ours =
                        last.contains("GRAPHQL_VALIDATION_FAILED") || last.contains("BAD_USER_INPUT");
                    assert!(!is_ours, "{query}: {last}");
                }
                Err(why) => last = why,
            }
            span(Duration::from_millis(10));
        }
        panic!("no answer within {PATIENCE:?} to {query}: {last}");
    }

    /// A job with this key, run by the shell.
    pub fn job(&self, key: &str, script: &str, more: Value) -> Value {
        let mut input = json!({
            "run": {"command": {"exec": {
                "argv": ["/bin/sh", "-c", script],
                "environment": [{"name": MARK, "value": self.mark}],
            }}},
            "labels": [{"key": KEY_LABEL, "value": key}],
            "idempotencyKey": key,
        });
        let more = more.as_object().cloned().unwrap_or_default();
        for (name, value) in more {
            match (name.as_str(), value) {
                ("label", value) => {
                    let labels = input["labels"].as_array_mut().expect("a list");
                    labels.push(json!({"key": "group", "value": value}));
                }
                (_, value) => input[name] = value,
            }
        }
        input
    }

    /// Enqueues jobs that bear keys in one request; gives their ids.
    pub fn enqueue(&self, jobs: &[Value]) -> Vec<String> {
        let keys: Vec<String> = jobs.iter().map(|job| string(&job["idempotencyKey"])).collect();
        for key in &keys {
            self.ledger.ask(key);
        }
        let answer = self.ask(ENQUEUE_MANY, &json!({ "jobs": jobs }));
        let results = answer["jobEnqueueMany"]["results"].as_array().expect("a list").iter();
        let read = |(key, result): (&String, &Value)| {
            let id = result["job"]["id"].as_str();
            let id = id.unwrap_or_else(|| panic!("{key} was refused: {result}")).to_owned();
            self.ledger.acknowledge(key, &id);
            id
        };
        keys.iter().zip(results).map(read).collect()
    }

    /// Cancels every job with this label, which are `ids`.
    pub fn cancel_group(&self, group: &str, ids: &[String]) {
        let filter = json!({"labels": [{"key": "group", "value": group}]});
        let answer = self.ask(BULK_CANCEL, &json!({"input": {"filter": filter}}));
        let payload = &answer["jobBulkCancel"];
        assert_eq!(payload["userErrors"], json!([]), "{answer:#}");
        if let Some(cursor) = payload["cursor"].as_str() {
            for id in ids {
                self.ledger.cancel(id, cursor);
            }
        }
    }

    fn round(&self, client: usize, round: usize) {
        let key = |name: &str| format!("{client}-{round}-{name}");
        let group = key("group");
        let lost_once = json!({"maxAttempts": 2, "initialDelay": "20ms", "retryOn": ["LOST"]});
        let twice = json!({"maxAttempts": 2, "initialDelay": "20ms"});
        let cheap = |name: &str| {
            let more = json!({"priority": -100, "label": group, "retryPolicy": lost_once});
            self.job(&key(name), "exit 0", more)
        };
        let ids = self.enqueue(&[
            self.job(&key("plain"), "exit 0", json!({"retryPolicy": lost_once})),
            self.job(
                &key("fails"),
                "echo no >&2; exit 3",
                json!({"retryPolicy": twice, "label": key("anew")}),
            ),
            self.job(&key("behind"), "exit 0", json!({"dependsOnPositions": [0]})),
            self.job(&key("skipped"), "exit 0", json!({"dependsOnPositions": [1]})),
            self.job(&key("tells"), TELLS, json!({"retryPolicy": lost_once})),
            self.job(&key("long"), "sleep 0.2", json!({"retryPolicy": lost_once})),
            self.job(&key("later"), "exit 0", json!({"delay": "100ms"})),
            self.job(&key("held"), "exit 0", json!({"isHeld": true})),
            cheap("c1"),
            cheap("c2"),
            cheap("c3"),
        ]);
        let held = &ids[7];
        let answer = self.ask(CANCEL, &json!({ "id": held }))["jobCancel"].take();
        // Asked again after a lost answer it says that the job is cancelled already.
        if let Some(cursor) = answer["cursor"].as_str() {
            self.ledger.cancel(held, cursor);
        }
        self.cancel_group(&group, &ids[8..]);
        if round.is_multiple_of(RARE_EVERY) {
            self.rare(&key("token"), &key("anew"));
        }
    }

    /// A token that is made and revoked, failed jobs that are made anew, and a chain of jobs that is skipped at once: it
    /// is longer than one transaction goes down.
    fn rare(&self, token: &str, group: &str) {
        let link = |place: usize| {
            let before = place.checked_sub(1).map(|before| vec![before]).unwrap_or_default();
            let more = json!({"isHeld": place == 0, "dependsOnPositions": before});
            self.job(&format!("{group}-{place}"), "exit 0", more)
        };
        let chain = self.enqueue(&(0..CHAIN).map(link).collect::<Vec<_>>());
        let answer = self.ask(CANCEL, &json!({ "id": chain[0] }))["jobCancel"].take();
        if let Some(cursor) = answer["cursor"].as_str() {
            self.ledger.cancel(&chain[0], cursor);
        }
        let made = self.ask(TOKEN, &json!({ "name": token }));
        if let Some(id) = made["tokenCreate"]["token"]["id"].as_str() {
            self.ask(REVOKE, &json!({ "id": id }));
        }
        let filter = json!({"labels": [{"key": "group", "value": group}]});
        let begun = now();
        while begun.elapsed() < Duration::from_secs(3) {
            let input = json!({"filter": filter, "max": 10, "idempotencyKey": group});
            let answer = self.ask(BULK_RETRY, &json!({ "input": input }));
            if answer["jobBulkRetry"]["matchedCount"] != json!(0) || self.is_over.load(Ordering::SeqCst) {
                return;
            }
            span(Duration::from_millis(20));
        }
    }
}
