//! Owns what runs for an attempt, a process or a call of a handler, so that both go through the same steps, and the
//! words for how each ended. It decides nothing about the job.

use std::time::Duration;

use tokio::sync::mpsc;

use super::Engine;
use super::handlers::no_handler;
use crate::base::points;
use crate::domain::attempt::{AttemptOutcome, Ended, Usage};
use crate::domain::signal;
use crate::exec::{self, Call, Calling, Exit, Identity, Piece, Returned, Running, Spec};

/// Exit code of a handler that gave an error.
const HANDLER_FAILED: i32 = 1;

/// What runs, with its output.
pub type Begun = (Underway, mpsc::Receiver<Vec<Piece>>);

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
    /// Starts a process; or why that was not possible.
    pub fn spawn(engine: &Engine, spec: &Spec) -> Result<Begun, String> {
        points::reach("spawn.before");
        let (running, output) = exec::spawn(spec, &engine.clock).map_err(|error| error.message())?;
        Ok((Underway::Process(running), output))
    }

    /// Calls a handler; or why that was not possible.
    pub fn call(engine: &Engine, name: &str, call: Call) -> Result<Begun, String> {
        let handler = engine.handlers.get(name).ok_or_else(|| no_handler(engine, name))?;
        let begun = engine.handlers.call(handler, call);
        let (calling, lines) = begun.map_err(|error| format!("no thread for the handler {name}: {error}"))?;
        Ok((Underway::Handler(calling), lines))
    }

    /// Which process it is, if it is one.
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Underway::Process(running) => Some(running.identity()),
            Underway::Handler(_) => None,
        }
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

    /// Ends it by force; gives false when that is not possible.
    pub fn kill(&self) -> bool {
        match self {
            Underway::Process(running) => {
                running.kill();
                true
            }
            Underway::Handler(calling) => calling.kill(),
        }
    }

    /// After a kill in vain: gives up what can be left to itself, or says what stands in the way.
    pub fn leave_behind(self) -> Result<End, String> {
        match self {
            Underway::Process(running) => {
                Err(format!("process {} hangs in the kernel and cannot be killed", running.pid()))
            }
            Underway::Handler(calling) => Ok(End::Handler(calling.leave_behind())),
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
