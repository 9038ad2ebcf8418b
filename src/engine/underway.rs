//! Owns what runs for an attempt, a process or a call of a handler, so that both go through the same steps, and the
//! words for how each ended. It decides nothing about the job.

use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Engine;
use super::handlers::no_handler;
use crate::base::{clock, points};
use crate::domain::attempt::{AttemptOutcome, Ended, Ran, Usage};
use crate::domain::id::AttemptId;
use crate::domain::signal;
use crate::exec::{self, Call, Calling, Exit, Identity, Piece, Returned, Running, Spec};

/// Exit code of a handler that gave an error.
const HANDLER_FAILED: i32 = 1;

/// What runs, with its output.
pub type Begun = (Underway, mpsc::Receiver<Vec<Piece>>);

/// Why nothing runs.
#[derive(Debug)]
pub struct NotBegun {
    /// In words.
    pub message: String,
    /// How the attempt ends; `None` when the machine lacks something for now, so that the same start may succeed later.
    pub outcome: Option<AttemptOutcome>,
}

impl NotBegun {
    /// A start that failed.
    pub fn failed(message: String, is_shortage: bool) -> NotBegun {
        NotBegun { message, outcome: (!is_shortage).then_some(AttemptOutcome::SpawnFailed) }
    }
}

impl From<exec::SpawnError> for NotBegun {
    fn from(error: exec::SpawnError) -> NotBegun {
        NotBegun::failed(error.message(), error.is_shortage())
    }
}

/// What runs for an attempt.
#[derive(Debug)]
pub enum Underway {
    /// A process of its own.
    Process(Running),
    /// A function of this program.
    Handler(Calling),
}

/// How it ended.
#[derive(Debug)]
pub enum End {
    /// A process did.
    Process(Exit),
    /// A call did, or was given up.
    Handler(Returned),
}

impl Underway {
    /// Starts a process.
    ///
    /// # Errors
    /// When there is not even a thread for that.
    pub async fn start(engine: &Engine, attempt: AttemptId, spec: &Spec) -> Result<exec::Start, NotBegun> {
        points::reach("spawn.before");
        let leaf = engine.cgroup.as_ref().and_then(|cgroup| match cgroup.leaf(&attempt.to_string()) {
            Ok(leaf) => Some(leaf),
            Err(error) => {
                tracing::warn!(%attempt, "no control group could be made, it runs without: {error}");
                None
            }
        });
        exec::start(spec.clone(), leaf, &engine.clock).await.map_err(NotBegun::from)
    }

    /// Calls a handler; or why that was not possible.
    pub fn call(engine: &Engine, name: &str, call: Call) -> Result<Begun, NotBegun> {
        let unknown = || NotBegun::failed(no_handler(engine, name), false);
        let handler = engine.handlers.get(name).ok_or_else(unknown)?;
        let begun = engine.handlers.call(handler, call);
        let (calling, lines) = begun.map_err(|error| {
            let is_shortage = error.raw_os_error().is_some_and(exec::is_shortage);
            NotBegun::failed(format!("no thread for the handler {name}: {error}"), is_shortage)
        })?;
        Ok((Underway::Handler(calling), lines))
    }

    /// Which process it is, if it is one.
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Underway::Process(running) => Some(running.identity()),
            Underway::Handler(_) => None,
        }
    }

    /// What it is, if it is a process: started by this `spec`.
    pub fn ran(&self, engine: &Engine, spec: &Spec) -> Option<Ran> {
        let Underway::Process(running) = self else { return None };
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let ran = Ran {
            program: text(running.program()),
            directory: spec.directory.as_deref().map(text).unwrap_or_default(),
            environment_names: Vec::new(),
            environment_count: 0,
            host: engine.host.clone(),
            cgroup: running.cgroup().map(text),
        };
        Some(ran.with_names(spec.names()))
    }

    /// Resolves when it has ended. May be dropped and called again at any time.
    pub async fn wait(&mut self) -> End {
        match self {
            Underway::Process(running) => End::Process(running.wait().await),
            Underway::Handler(calling) => End::Handler(calling.wait().await),
        }
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        match self {
            Underway::Process(running) => running.terminate(),
            Underway::Handler(calling) => calling.terminate(),
        }
    }

    /// Ends it by force and waits for that. A process is waited for however long it hangs in the kernel: while it
    /// lives its attempt has not ended, and the next one must not begin. A handler that nobody can end is left to itself
    /// after `patience`; then only its end is given.
    pub async fn end(mut self, patience: Duration) -> (Option<Underway>, End) {
        match &mut self {
            Underway::Process(running) => {
                running.kill();
                let exit = running.wait().await;
                (Some(self), End::Process(exit))
            }
            Underway::Handler(calling) => {
                let returned =
                    if calling.kill() { clock::within(patience, calling.wait()).await } else { None };
                match (returned, self) {
                    (Some(returned), this) => (Some(this), End::Handler(returned)),
                    (None, Underway::Handler(calling)) => (None, End::Handler(calling.leave_behind())),
                    (None, Underway::Process(_)) => unreachable!("it is a handler"),
                }
            }
        }
    }

    /// Resolves when all output was handed over; gives true when somebody still held it open.
    pub async fn drained(&mut self) -> bool {
        match self {
            Underway::Process(running) => running.drained().await.is_output_held_open,
            Underway::Handler(_) => false,
        }
    }
}

impl End {
    /// What it means when nobody stopped it.
    pub fn outcome(&self) -> AttemptOutcome {
        match self {
            End::Process(exit) if exit.is_out_of_memory => AttemptOutcome::OutOfMemory,
            End::Process(exit) if exit.code == Some(0) => AttemptOutcome::Succeeded,
            End::Process(exit) if exit.code.is_some() => AttemptOutcome::Exited,
            End::Process(_) => AttemptOutcome::Signaled,
            End::Handler(Returned::Done) => AttemptOutcome::Succeeded,
            End::Handler(Returned::Failed(_)) => AttemptOutcome::Exited,
            End::Handler(Returned::Panicked(_)) => AttemptOutcome::Panicked,
            End::Handler(Returned::Dropped | Returned::LeftBehind) => AttemptOutcome::Lost,
        }
    }

    /// How it ended, in words.
    pub fn how(&self) -> String {
        match self {
            End::Process(exit) if exit.is_out_of_memory => {
                "ended by the kernel for want of memory".to_owned()
            }
            End::Process(exit) => match (exit.code, exit.signal) {
                (Some(code), _) => format!("exit code {code}"),
                (None, Some(signal)) => format!("ended by {}", signal::name(signal)),
                (None, None) => "its end was not seen".to_owned(),
            },
            End::Handler(Returned::Done) => "the handler returned".to_owned(),
            End::Handler(Returned::Failed(reason)) => format!("the handler failed: {reason}"),
            End::Handler(Returned::Panicked(words)) => format!("the handler panicked: {words}"),
            End::Handler(Returned::Dropped) => "the handler was dropped".to_owned(),
            End::Handler(Returned::LeftBehind) => {
                "the handler does not end; it goes on unheard and keeps its slot".to_owned()
            }
        }
    }

    /// The end of the attempt, with what is known of it.
    pub fn ended(self, outcome: AttemptOutcome, message: String) -> Ended {
        let ended = Ended::without_process(outcome, message);
        match self {
            End::Process(exit) => Ended {
                exit_code: exit.code,
                signal: exit.signal.map(signal::name),
                usage: Some(Usage {
                    user_us: micros(exit.user_time),
                    system_us: micros(exit.system_time),
                    peak_memory_bytes: exit
                        .peak_memory_bytes
                        .map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
                }),
                ..ended
            },
            End::Handler(Returned::Done) => Ended { exit_code: Some(0), ..ended },
            End::Handler(Returned::Failed(reason)) => {
                Ended { exit_code: Some(HANDLER_FAILED), error_line: Some(reason), ..ended }
            }
            End::Handler(_) => ended,
        }
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
