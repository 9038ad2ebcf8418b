//! Tests of the layer with real processes. They wait for what they see, never for a time to pass.

mod handler;
mod output;
mod process;
mod spawning;
mod survivors;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::base::clock::{Clock, SystemClock, within};
use crate::base::random::{Random as _, SystemRandom};
use crate::exec::{DEFAULT_PATH, DrainReport, Exit, Piece, Running, SpawnError, Spec, Stream, procfs, spawn};

/// Longer than anything here takes, so that a hanging test ends with a message.
const PATIENCE: Duration = Duration::from_mins(1);

struct Outcome {
    exit: Exit,
    drain: DrainReport,
    pieces: Vec<Piece>,
}

impl Outcome {
    /// The bytes of a stream as they were written.
    fn bytes(&self, stream: Stream) -> Vec<u8> {
        bytes(&self.pieces, stream)
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes(Stream::Stdout)).unwrap()
    }
}

fn bytes(pieces: &[Piece], stream: Stream) -> Vec<u8> {
    let mut all = Vec::new();
    for piece in pieces.iter().filter(|piece| piece.stream == stream) {
        all.extend_from_slice(&piece.bytes);
        all.extend(piece.is_line_end.then_some(b'\n'));
    }
    all
}

fn spec(argv: &[&str]) -> Spec {
    Spec {
        argv: argv.iter().map(|text| (*text).to_owned()).collect(),
        directory: None,
        environment: vec![("PATH".into(), DEFAULT_PATH.into())],
        cookie: SystemRandom.hex(16),
        merges_output: false,
    }
}

fn sh(script: &str) -> Spec {
    spec(&["sh", "-c", script])
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

fn start(spec: &Spec) -> (Running, mpsc::Receiver<Vec<Piece>>) {
    spawn(spec, None, &clock()).unwrap()
}

fn refusal(spec: &Spec) -> SpawnError {
    spawn(spec, None, &clock()).unwrap_err()
}

async fn run(spec: &Spec) -> Outcome {
    let (mut running, mut received) = start(spec);
    let all = async {
        let mut pieces = Vec::new();
        while let Some(batch) = received.recv().await {
            pieces.extend(batch);
        }
        Outcome { exit: running.wait().await, drain: running.drained().await, pieces }
    };
    within(PATIENCE, all).await.expect("it ends")
}

/// Receives until standard output shows `mark`; gives all that it showed.
async fn until_shown(received: &mut mpsc::Receiver<Vec<Piece>>, mark: &str) -> String {
    let mut pieces = Vec::new();
    let all = async {
        loop {
            let shown = String::from_utf8(bytes(&pieces, Stream::Stdout)).unwrap();
            if shown.contains(mark) {
                return shown;
            }
            pieces.extend(received.recv().await.expect("the mark is shown before the end"));
        }
    };
    within(PATIENCE, all).await.expect("it is shown")
}

async fn wait(running: &mut Running) -> Exit {
    within(PATIENCE, running.wait()).await.expect("it exits")
}

/// Waits until no process of this pid runs.
async fn until_gone(pid: i32) {
    let gone = async {
        while procfs::stat(pid).is_some_and(procfs::Stat::is_alive) {
            tokio::task::yield_now().await;
        }
    };
    within(PATIENCE, gone).await.expect("it is gone");
}

/// A script that prints the pid of a `command` which has left the group, and goes on as `then` says. The
/// command writes to `output`; 3 is the script's own.
fn with_runaway(command: &str, output: &str, then: &str) -> Spec {
    // The substitution ends when the command has given up the pipe, so after it has left the group.
    let runaway = format!("setsid sh -c 'echo $$; exec {command} >{output} 2>&1 3>&-' &");
    sh(&format!("exec 3>&1; pid=$({runaway}); echo $pid; {then}"))
}
