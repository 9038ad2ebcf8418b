//! Daemons inside this very process, with handlers of the test, asked over their public API.

mod door;
mod example;
mod outcomes;
mod parts;
mod stopping;

use std::path::Path;
use std::time::Duration;

use beadle::{Daemon, DaemonBuilder, RunningDaemon};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::support::daemon::{FINAL_STATES, send};
use crate::support::machine::{self, Place};
use crate::support::sse::{End, Sse};
use crate::support::wait::PATIENCE;

const JOB: &str = "query ($id: ID!) {
  job(id: $id) {
    id state output requestedBy command { argv handler }
    progress { done total fraction status }
    failure { outcome message exitCode errorLine isRetryable }
    attempts { nodes { number outcome exitCode pid failure { message } } }
    log(last: 100) { lines { stream text } }
  }
}";

/// A daemon of this process on a directory of its own.
pub struct Embedded {
    runtime: Option<Runtime>,
    daemon: Option<RunningDaemon>,
    directory: TempDir,
    _place: Place,
}

impl Embedded {
    /// Starts one, set up by the test.
    pub fn start(set_up: impl FnOnce(DaemonBuilder) -> DaemonBuilder) -> Embedded {
        let directory = TempDir::with_prefix("beadle-").expect("a temporary directory can be made");
        let mut embedded = Embedded { runtime: None, daemon: None, directory, _place: machine::shared() };
        embedded.start_again(set_up);
        embedded
    }

    /// Starts another one on the same directory. The last one must have ended.
    pub fn start_again(&mut self, set_up: impl FnOnce(DaemonBuilder) -> DaemonBuilder) {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let builder = set_up(on(self.directory.path()));
        self.daemon = Some(runtime.block_on(builder.start()).expect("the daemon starts"));
        self.runtime = Some(runtime);
    }

    /// The daemon's handle.
    pub fn handle(&self) -> &RunningDaemon {
        self.daemon.as_ref().expect("the daemon runs")
    }

    /// Waits for work on the daemon's runtime.
    pub fn wait_for<F: Future>(&self, work: F) -> F::Output {
        self.runtime.as_ref().expect("the daemon runs").block_on(work)
    }

    /// Stops it in order.
    pub fn stop(&mut self) {
        self.wait_for(self.handle().stop());
        (self.daemon, self.runtime) = (None, None);
    }

    /// Ends it as a crash does: nothing is said to anybody.
    pub fn crash(&mut self) {
        let runtime = self.runtime.take().expect("the daemon runs");
        runtime.shutdown_timeout(Duration::from_secs(5));
        self.daemon = None;
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.handle().address().to_string()
    }

    /// Asks and answers with the data.
    pub fn graphql(&self, query: &str, variables: &Value) -> Value {
        let mut answer =
            send(&self.address(), self.handle().admin_token(), query, variables).expect("an answer");
        assert!(answer.get("errors").is_none(), "{query}\n{variables}\n{answer:#}");
        answer["data"].take()
    }

    /// Makes a job that calls a handler.
    pub fn call(&self, handler: &str) -> String {
        self.enqueue(&json!({"run": {"command": {"handler": handler}}}))
    }

    /// Makes a job.
    pub fn enqueue(&self, input: &Value) -> String {
        let answer = self.offer("jobEnqueue", "JobEnqueueInput", "job { id }", input);
        answer["job"]["id"].as_str().unwrap_or_else(|| panic!("refused: {answer}")).to_owned()
    }

    /// The payload of a mutation, with its `userErrors`.
    pub fn offer(&self, field: &str, kind: &str, shown: &str, input: &Value) -> Value {
        let query = format!(
            "mutation ($input: {kind}!) {{ {field}(input: $input) {{ {shown} userErrors {{ code message path }} }} }}"
        );
        self.graphql(&query, &json!({ "input": input }))[field].take()
    }

    /// The job as it is.
    pub fn job(&self, id: &str) -> Value {
        self.graphql(JOB, &json!({ "id": id }))["job"].take()
    }

    /// Follows the job to its end.
    pub fn ended(&self, id: &str) -> Value {
        let query = "subscription ($id: ID!) { jobFollow(id: $id) { job { state } } }";
        let mut follow = self.subscribe(query, &json!({ "id": id }));
        loop {
            match follow.next_within(PATIENCE) {
                Ok(_) => {}
                Err(End::Complete) => break,
                Err(end) => panic!("{id} was not followed to its end ({end:?}): {}", self.job(id)),
            }
        }
        let job = self.job(id);
        assert!(FINAL_STATES.contains(&job["state"].as_str().unwrap_or_default()), "{job}");
        job
    }

    /// Opens a subscription.
    pub fn subscribe(&self, query: &str, variables: &Value) -> Sse {
        Sse::open(&self.address(), self.handle().admin_token(), query, variables).expect("a stream")
    }

    /// Places that are taken.
    pub fn busy_slots(&self) -> Value {
        self.graphql("{ workers(first: 1) { nodes { busySlots } } }", &json!({}))["workers"]["nodes"][0]
            ["busySlots"]
            .take()
    }
}

/// A daemon to be set up on this directory, on a free port.
pub fn on(directory: &Path) -> DaemonBuilder {
    Daemon::builder()
        .data_dir(directory.join("data"))
        .listen(([127, 0, 0, 1], 0).into())
        .set("poll_interval", "50ms")
}

/// The texts of a job's log, as `stream: text`.
pub fn lines(job: &Value) -> Vec<String> {
    let lines = job["log"]["lines"].as_array().expect("a list");
    let shown = |line: &Value| {
        format!(
            "{}: {}",
            line["stream"].as_str().unwrap_or_default(),
            line["text"].as_str().unwrap_or_default()
        )
    };
    lines.iter().map(shown).collect()
}
