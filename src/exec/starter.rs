//! Owns the threads on which processes are started: a start hangs when the program lies on a disk that does not answer,
//! and must then hold up nobody. It must never decide how long is too long.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

use crate::base::clock::{Clock, within};
use crate::base::settings::cores;
use crate::exec::cgroup::Leaf;
use crate::exec::command::Spec;
use crate::exec::error::{SpawnError, errno_of};
use crate::exec::process::{Spawned, spawn};

/// A start that takes longer lets the next one begin beside it.
const SLOW_AFTER: Duration = Duration::from_millis(100);
/// Starts that go on at once at least, besides those that are slow.
const TURNS_MIN: usize = 2;

/// As many starts at once as there are cores: more are no faster.
static TURNS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(cores().max(TURNS_MIN)));
/// The ways to the threads that have nothing to do. None of them ever ends: its children would become those of the first
/// thread, whom `trees` asks for orphans.
static IDLE: Mutex<Vec<mpsc::Sender<Work>>> = Mutex::new(Vec::new());

type Work = Box<dyn FnOnce() + Send>;
type Result<T> = std::result::Result<T, SpawnError>;

/// A start under way. When it is dropped, what comes of the start is ended as soon as it shows.
#[derive(Debug)]
pub struct Start {
    told: oneshot::Receiver<thread::Result<Result<Spawned>>>,
    turn: Option<SemaphorePermit<'static>>,
}

/// Starts a process as `spawn` does, on a thread that may hang. Call it inside a tokio runtime.
pub async fn start(spec: Spec, leaf: Option<Leaf>, clock: &Arc<dyn Clock>) -> Result<Start> {
    // Nobody closes it.
    let turn = TURNS.acquire().await.ok();
    let (tell, told) = oneshot::channel();
    let (runtime, clock) = (Handle::current(), Arc::clone(clock));
    let work = move || {
        let _entered = runtime.enter();
        let spawned = catch_unwind(AssertUnwindSafe(|| spawn(&spec, leaf, &clock)));
        // When nobody waits any more it is dropped here, which ends it.
        let _ = tell.send(spawned);
    };
    on_a_thread(Box::new(work))
        .map_err(|error| SpawnError::Os { step: "make a thread", errno: errno_of(&error) })?;
    Ok(Start { told, turn })
}

impl Start {
    /// Resolves when the process was started, or could not be. May be dropped and called again until then.
    pub async fn wait(&mut self) -> Result<Spawned> {
        if let Some(turn) = self.turn.take()
            && let Some(told) = within(SLOW_AFTER, &mut self.told).await
        {
            drop(turn);
            return read(told);
        }
        read((&mut self.told).await)
    }
}

fn read(
    told: std::result::Result<thread::Result<Result<Spawned>>, oneshot::error::RecvError>,
) -> Result<Spawned> {
    match told.expect("the thread tells what became of each start") {
        Ok(spawned) => spawned,
        Err(payload) => resume_unwind(payload),
    }
}

fn idle() -> MutexGuard<'static, Vec<mpsc::Sender<Work>>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hands the work to a thread that has nothing to do, or to a new one.
pub(super) fn on_a_thread(work: Box<dyn FnOnce() + Send>) -> std::io::Result<()> {
    let free = idle().pop();
    if let Some(thread) = free {
        // It holds its own way open, and so it listens.
        let _ = thread.send(work);
        return Ok(());
    }
    let (own, next) = mpsc::channel::<Work>();
    let attend = move || {
        let mut work = work;
        loop {
            work();
            idle().push(own.clone());
            let Ok(given) = next.recv() else { return };
            work = given;
        }
    };
    thread::Builder::new().name("start".to_owned()).spawn(attend).map(drop)
}
