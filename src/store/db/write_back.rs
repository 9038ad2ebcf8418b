//! Owns when the journal of a SQLite file is written back into the file: a part at a time on a thread of its own, while the
//! writer goes on; and what is then left by the writer itself, once the journal is long, for only between two of its
//! transactions can the journal begin anew. It must never make a commit fail.

use std::cell::Cell;
use std::ffi::c_int;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;
use tokio_util::task::TaskTracker;

use crate::store::fault::{Fault, FaultKind, Result};

/// Pages that are written back at once beside the writer.
const PART: c_int = 1_000;
/// With so many pages the journal is long: the writer looks for its end after each commit.
const LONG: c_int = 4_000;

thread_local! {
    /// Pages in the journal behind the last commit on this thread.
    static PAGES: Cell<c_int> = const { Cell::new(0) };
}

/// From now on the journal is written back as it is said here, and not by SQLite's own rule.
pub(super) fn take_over(connection: &Connection) {
    connection.wal_hook(Some(|journal, pages| {
        PAGES.set(pages);
        if pages >= LONG {
            // What stands in its way is met again at the next commit; this one is good.
            let _ = journal.checkpoint();
        }
        Ok(())
    }));
}

/// Pages in the journal behind the commit that this thread just made; 0 when it wrote none.
pub(super) fn pages() -> c_int {
    PAGES.take()
}

/// The thread that writes back beside the writer.
#[derive(Debug)]
pub(super) struct WriteBack {
    /// Nothing once it is closed.
    calls: Mutex<Option<SyncSender<()>>>,
    /// Pages in the journal when it was called the last time.
    called_at: AtomicI32,
    thread: TaskTracker,
}

impl WriteBack {
    /// Starts the thread, on a connection of its own.
    pub(super) fn start(connection: Connection) -> Result<WriteBack> {
        // One more call while it works: behind what it sees now there is more.
        let (calls, inbox) = mpsc::sync_channel(1);
        let thread = TaskTracker::new();
        let token = thread.token();
        let attend = move || {
            attend(connection, &inbox);
            drop(token);
        };
        let started = std::thread::Builder::new().name("write back".to_owned()).spawn(attend);
        started.map_err(|error| Fault::new(FaultKind::Io, format!("no thread can be started: {error}")))?;
        thread.close();
        Ok(WriteBack { calls: Mutex::new(Some(calls)), called_at: AtomicI32::new(0), thread })
    }

    /// A commit left so many pages in the journal; none when it wrote nothing.
    pub(super) fn committed(&self, pages: c_int) {
        if pages == 0 {
            return;
        }
        let called_at = self.called_at.load(Ordering::Relaxed);
        // Fewer than there were: it began anew.
        let called_at = if pages < called_at { 0 } else { called_at };
        // A long one is the writer's, whom nobody must stand in the way.
        let is_called = pages - called_at >= PART && pages < LONG;
        self.called_at.store(if is_called { pages } else { called_at }, Ordering::Relaxed);
        if is_called && let Some(calls) = &*self.calls.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = calls.try_send(());
        }
    }

    /// Ends it, and waits until its connection is closed.
    pub(super) async fn close(&self) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.thread.wait().await;
    }
}

fn attend(connection: Connection, inbox: &Receiver<()>) {
    while inbox.recv().is_ok() {
        let written = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if let Err(error) = written {
            // The disk's troubles are told by whoever must not go on.
            tracing::debug!(%error, "the journal was not written back beside the writer");
        }
    }
    drop(connection);
}
