//! Owns the thread that does for one file what a disk may hold up, when it is asked for where nothing may block. It must
//! never decide what is done.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;

use tokio::sync::oneshot;

use crate::base::task;
use crate::store::fault::{Fault, FaultKind, Result};

type Work = Box<dyn FnOnce() + Send>;

/// The way to the thread, which ends with the last of these.
#[derive(Debug, Clone)]
pub(super) struct Hand(mpsc::Sender<Work>);

impl Hand {
    /// Starts the thread.
    pub(super) fn start() -> Result<Hand> {
        let (sender, inbox) = mpsc::channel::<Work>();
        let attend = move || {
            for work in inbox {
                // Who asked learns of a panic by the answer that does not come.
                let _ = catch_unwind(AssertUnwindSafe(work));
            }
        };
        let started = std::thread::Builder::new().name("store".to_owned()).spawn(attend);
        started.map_err(|error| Fault::new(FaultKind::Io, format!("no thread can be started: {error}")))?;
        Ok(Hand(sender))
    }

    /// Does `work`: here, when this thread may block, else on the hand's own. It is done in the order of the asking, and
    /// to its end when nobody waits for it any more.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        if task::may_block() {
            return Ok(work());
        }
        let (reply, answer) = oneshot::channel();
        self.send(move || drop(reply.send(work())));
        answer.await.map_err(|_| Fault::new(FaultKind::Io, "the store's thread gave no answer"))
    }

    /// Lets go of something whose end may touch the disk.
    pub(super) fn leave<T: Send + 'static>(&self, what: T) {
        if task::may_block() { drop(what) } else { self.send(move || drop(what)) }
    }

    fn send(&self, work: impl FnOnce() + Send + 'static) {
        // The thread ends after the last sender only; and if it could not be, dropping the work is all that is left.
        let _ = self.0.send(Box::new(work));
    }
}
