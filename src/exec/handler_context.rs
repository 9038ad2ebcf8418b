//! Owns what a function of this program has in its hands while it is called: what it is told, and the ways to
//! report, to write lines and to learn that it shall end. It must never wait for anybody but a full log.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::output::{BATCH_PIECES_MAX, Line, Piece, Stream};
use super::report::Heard;
use crate::base::clock::Clock;
use crate::domain::limits::REPORT_LINE_BYTES_MAX;

/// Takes what is reported, as a process's channel gives it.
pub type Hear = Box<dyn Fn(Heard) + Send + Sync>;

/// What a function is told.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// The id of what it works on.
    pub job_id: String,
    /// Which try this is, from 1.
    pub attempt: i32,
    /// The name of the task, if there is one.
    pub task_name: Option<String>,
    /// What it is to work with; null when nothing was given.
    pub parameters: Value,
}

/// What a handler has in its hands while it runs. Cheap to clone; a clone that outlives the attempt is not heard.
///
/// What it reports means what the same report of a process means: see `beadle report`.
#[derive(Clone)]
pub struct HandlerContext(Arc<Inner>);

struct Inner {
    told: Told,
    cancelled: CancellationToken,
    /// `None` once the call is over.
    hear: Mutex<Option<Hear>>,
    lines: mpsc::Sender<Vec<Piece>>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for HandlerContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerContext").field("told", &self.0.told).finish_non_exhaustive()
    }
}

impl HandlerContext {
    pub(super) fn new(
        told: Told,
        hear: Hear,
        lines: mpsc::Sender<Vec<Piece>>,
        clock: Arc<dyn Clock>,
    ) -> HandlerContext {
        let hear = Mutex::new(Some(hear));
        HandlerContext(Arc::new(Inner { told, cancelled: CancellationToken::new(), hear, lines, clock }))
    }

    /// The job's id, such as `job_1234`.
    pub fn job_id(&self) -> &str {
        &self.0.told.job_id
    }

    /// Which attempt of the job this is, from 1.
    pub fn attempt(&self) -> i32 {
        self.0.told.attempt
    }

    /// The task that the job was made from; `None` for an ad hoc one.
    pub fn task_name(&self) -> Option<&str> {
        self.0.told.task_name.as_deref()
    }

    /// The job's parameters as they came; null when there are none.
    pub fn parameters(&self) -> &Value {
        &self.0.told.parameters
    }

    /// Says how much is done of how much.
    pub fn progress(&self, done: u64, total: u64) {
        self.report("progress", json!({ "done": done, "total": total }));
    }

    /// Says which part is done, 0 to 1.
    pub fn fraction(&self, fraction: f64) {
        self.report("progress", json!({ "fraction": fraction }));
    }

    /// Says in a few words what it does now.
    pub fn status(&self, status: &str) {
        self.report("status", Value::from(status));
    }

    /// Adds to the job's output: an object, whose fields replace those of the same name.
    /// What the handler returns is added last.
    pub fn output(&self, output: impl Serialize) {
        // What is no JSON is counted like what is no object.
        self.report("output", serde_json::to_value(output).unwrap_or_default());
    }

    /// Asks for more time than the timeout gives.
    pub fn extend_timeout(&self, by: Duration) {
        self.report("extendTimeout", Value::from(by.as_secs_f64()));
    }

    /// Chooses when the next try comes, if this one fails.
    pub fn retry_after(&self, after: Duration) {
        self.report("retryAfter", Value::from(after.as_secs_f64()));
    }

    /// Asks for no other try, if this one fails.
    pub fn no_retry(&self) {
        self.report("noRetry", Value::from(true));
    }

    /// Hides a secret in whatever is logged, reported or given as an error from now on.
    pub fn mask(&self, secret: &str) {
        self.report("mask", Value::from(secret));
    }

    /// Writes to the log as a process does to its standard output: one line, or several.
    /// Waits while the log is full.
    pub async fn log(&self, text: impl AsRef<str>) {
        self.write(Stream::Stdout, text.as_ref()).await;
    }

    /// Writes to the log as a process does to its standard error. The last such line is shown with a failure.
    pub async fn log_error(&self, text: impl AsRef<str>) {
        self.write(Stream::Stderr, text.as_ref()).await;
    }

    /// As `log`, for blocking handlers: it panics where waiting is done by `await`.
    pub fn blocking_log(&self, text: impl AsRef<str>) {
        self.blocking_write(Stream::Stdout, text.as_ref());
    }

    /// As `log_error`, for blocking handlers: it panics where waiting is done by `await`.
    pub fn blocking_log_error(&self, text: impl AsRef<str>) {
        self.blocking_write(Stream::Stderr, text.as_ref());
    }

    /// Whether it shall end: somebody cancelled it, its time is over, or the daemon stops. After the job's kill
    /// grace an async handler is dropped, and a blocking one is no longer heard.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.is_cancelled()
    }

    /// Resolves when it shall end.
    pub async fn cancelled(&self) {
        self.0.cancelled.cancelled().await;
    }

    pub(super) fn cancel(&self) {
        self.0.cancelled.cancel();
    }

    /// From here on nothing that it reports is heard.
    pub(super) fn close(&self) {
        *self.hear() = None;
    }

    fn hear(&self) -> MutexGuard<'_, Option<Hear>> {
        self.0.hear.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One report, as a line of the channel that a process has.
    fn report(&self, key: &str, value: Value) {
        let line = json!({ key: value }).to_string().into_bytes();
        let heard = if line.len() > REPORT_LINE_BYTES_MAX {
            Heard { lines: Vec::new(), too_long_count: 1 }
        } else {
            Heard { lines: vec![line], too_long_count: 0 }
        };
        if let Some(hear) = &*self.hear() {
            hear(heard);
        }
    }

    async fn write(&self, stream: Stream, text: &str) {
        for batch in self.batches(stream, text) {
            // Nobody listens any more: the attempt is over.
            let _ = self.0.lines.send(batch).await;
        }
    }

    fn blocking_write(&self, stream: Stream, text: &str) {
        for batch in self.batches(stream, text) {
            let _ = self.0.lines.blocking_send(batch);
        }
    }

    fn batches(&self, stream: Stream, text: &str) -> Vec<Vec<Piece>> {
        let text = format!("{}\n", text.strip_suffix('\n').unwrap_or(text));
        let at = (self.0.clock.now(), self.0.clock.monotonic());
        let (mut rest, mut line, mut pieces) = (text.as_bytes(), Line::new(stream), Vec::new());
        while !rest.is_empty() {
            pieces.extend(line.take(&mut rest, at));
        }
        let mut batches = Vec::new();
        while pieces.len() > BATCH_PIECES_MAX {
            let left = pieces.split_off(BATCH_PIECES_MAX);
            batches.push(std::mem::replace(&mut pieces, left));
        }
        batches.push(pieces);
        batches
    }
}
