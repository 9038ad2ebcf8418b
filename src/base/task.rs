//! Owns the start of concurrent work, and the words of its panics. The supervisor and per-request work go through here.

use std::cell::Cell;
use std::future::Future;

use tokio::runtime::{Handle, RuntimeMetrics};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

thread_local! {
    /// Whether the thread does one work only, so that nobody else waits for it.
    static IS_OWN: Cell<bool> = const { Cell::new(false) };
}

/// Starts `work` on the runtime.
pub fn spawn<F>(work: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[expect(clippy::disallowed_methods, reason = "this is the one home of spawning tasks")]
    tokio::spawn(work)
}

/// Starts `work` on a thread of its own, where it may block. It sleeps and wakes through the present runtime.
///
/// # Errors
/// When the system gives no thread.
pub fn spawn_on_thread<F>(name: &str, work: F) -> std::io::Result<oneshot::Receiver<F::Output>>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let runtime = Handle::current();
    let (ended, end) = oneshot::channel();
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        IS_OWN.set(true);
        // Nobody need wait for the end.
        drop(ended.send(runtime.block_on(work)));
    })?;
    Ok(end)
}

/// Whether what blocks on this thread holds up nobody but the work that the thread is there for.
pub fn may_block() -> bool {
    IS_OWN.get()
}

/// The threads of a runtime, seen from outside.
#[derive(Debug, Clone)]
pub struct Threads(RuntimeMetrics);

impl Threads {
    /// Those of the present runtime.
    pub fn here() -> Threads {
        Threads(Handle::current().metrics())
    }

    /// Whether all of them sleep until there is something to do: then one waits for timers and sockets.
    pub fn are_asleep(&self) -> bool {
        // Each goes to sleep and wakes in turn.
        (0..self.0.num_workers()).all(|thread| self.0.worker_park_unpark_count(thread) % 2 == 1)
    }
}

/// The words of a panic.
pub fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::base::clock;

    #[test]
    fn threads_are_asleep_when_none_of_them_is_at_work() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let threads = runtime.block_on(async { Threads::here() });
        let patience = |wished: bool| {
            (0..10_000).any(|_| {
                clock::pause(Duration::from_millis(1));
                threads.are_asleep() == wished
            })
        };
        assert!(patience(true));
        let (release, held) = mpsc::channel::<()>();
        runtime.spawn(async move { held.recv().is_ok() });
        assert!(patience(false));
        drop(release);
        assert!(patience(true));
    }
}
