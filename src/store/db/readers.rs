//! Owns the threads that read one SQLite file, each with a connection of its own: a statement goes in, all its rows come
//! back in one message. It must never read on the caller's thread, which a slow disk or a long answer would hold up.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{Row, Value, cells};
use crate::base::clock;
use crate::store::fault::{Fault, FaultKind, Result};

/// Steps of a statement after which it is seen whether anybody still waits for it: some microseconds of work.
const STEPS: i32 = 10_000;

/// Frees what a connection keeps in memory and does not use.
pub(super) const SHRINK: &str = "PRAGMA shrink_memory";

/// One statement for a reader.
struct Read {
    text: &'static str,
    values: Vec<Value>,
    is_setting: bool,
    reply: Reply,
    /// What the reader gives back when it is done: itself, and the right of the next caller to one.
    reader: Reader,
    turn: OwnedSemaphorePermit,
}

type Reply = oneshot::Sender<Result<Vec<Row>>>;

/// The way to a reader. Whoever holds it has the reader to himself; the thread ends when it is dropped.
type Reader = mpsc::Sender<Read>;

/// Readers of one file.
#[derive(Debug)]
pub(super) struct Readers {
    /// One for each reader; closed when they are.
    turns: Arc<Semaphore>,
    idle: Arc<Idle>,
    threads: TaskTracker,
    patience: Duration,
}

/// Those that have nothing to do, the last to be done on top: its statements and pages are warm. `None` once closed.
#[derive(Debug)]
struct Idle(Mutex<Option<Vec<Reader>>>);

impl Idle {
    fn lock(&self) -> MutexGuard<'_, Option<Vec<Reader>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Readers {
    /// Starts a reader on each connection. A caller waits for a free one for so long.
    pub(super) fn start(connections: Vec<Connection>, patience: Duration) -> Result<Readers> {
        let readers = Readers {
            turns: Arc::new(Semaphore::new(connections.len())),
            idle: Arc::new(Idle(Mutex::new(Some(Vec::new())))),
            threads: TaskTracker::new(),
            patience,
        };
        for connection in connections {
            let (reader, inbox) = mpsc::channel();
            let (idle, token) = (Arc::clone(&readers.idle), readers.threads.token());
            std::thread::Builder::new()
                .name("read".to_owned())
                .spawn(move || attend(connection, &inbox, &idle, token))
                .map_err(|error| Fault::new(FaultKind::Io, format!("no thread can be started: {error}")))?;
            readers.idle.lock().get_or_insert_default().push(reader);
        }
        Ok(readers)
    }

    /// Runs a statement on a reader that is free, or waits for one. Refuses as `Stopping` once they are closed.
    pub(super) async fn rows(&self, text: &'static str, values: &[Value]) -> Result<Vec<Row>> {
        let turns = Arc::clone(&self.turns);
        let turn = match Arc::clone(&turns).try_acquire_owned() {
            Ok(turn) => turn,
            Err(TryAcquireError::Closed) => return Err(closed()),
            Err(TryAcquireError::NoPermits) => clock::within(self.patience, turns.acquire_owned())
                .await
                .ok_or_else(overloaded)?
                .map_err(|_| closed())?,
        };
        let answer = self.send(turn, (text, values, false))?;
        answer.await.map_err(|_| Fault::new(FaultKind::Io, "a reader of the store gave no answer"))?
    }

    /// Lets each reader that has nothing to do forget what it has read.
    pub(super) async fn shrink(&self) {
        self.set_idle(SHRINK).await;
    }

    /// Tells a setting to each reader that has nothing to do.
    async fn set_idle(&self, text: &'static str) {
        let turns = std::iter::from_fn(|| Arc::clone(&self.turns).try_acquire_owned().ok());
        let turns: Vec<_> = turns.collect();
        let sent: Vec<_> =
            turns.into_iter().filter_map(|turn| self.send(turn, (text, &[], true)).ok()).collect();
        for answer in sent {
            let _ = answer.await;
        }
    }

    /// Gives a statement to a reader that is free, as this turn promises.
    fn send(
        &self,
        turn: OwnedSemaphorePermit,
        (text, values, is_setting): (&'static str, &[Value], bool),
    ) -> Result<oneshot::Receiver<Result<Vec<Row>>>> {
        let reader = self.idle.lock().as_mut().and_then(Vec::pop).ok_or_else(closed)?;
        let (reply, answer) = oneshot::channel();
        let way = reader.clone();
        let sent = way.send(Read { text, values: values.to_vec(), is_setting, reply, reader, turn });
        sent.map_err(|_| closed())?;
        Ok(answer)
    }

    /// Refuses whoever comes from now on, and waits until those who read are done and every connection is closed.
    pub(super) async fn close(&self) {
        self.shut();
        self.threads.wait().await;
    }

    fn shut(&self) {
        self.turns.close();
        self.idle.lock().take();
        self.threads.close();
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.shut();
    }
}

/// The life of a reader's thread. The token is dropped last, when the connection is closed.
fn attend(connection: Connection, inbox: &mpsc::Receiver<Read>, idle: &Idle, token: TaskTrackerToken) {
    while let Ok(Read { text, values, is_setting, reply, reader, turn }) = inbox.recv() {
        let reply = Arc::new(reply);
        // Who asked learns of a panic by the answer that does not come.
        let answer = catch_unwind(AssertUnwindSafe(|| {
            // A setting is done when it is prepared, so it must not be kept for the next time.
            if is_setting { set(&connection, text) } else { read(&connection, text, &values, &reply) }
        }));
        // Free before the answer is heard, so that the next statement of the same caller finds this reader.
        if let Some(idle) = idle.lock().as_mut() {
            idle.push(reader);
        }
        drop(turn);
        if let (Ok(answer), Some(reply)) = (answer, Arc::into_inner(reply)) {
            drop(reply.send(answer));
        }
    }
    drop(connection);
    drop(token);
}

/// Runs the statement to its end, or until nobody waits for it any more: then the next caller need not.
fn read(connection: &Connection, text: &str, values: &[Value], reply: &Arc<Reply>) -> Result<Vec<Row>> {
    if reply.is_closed() {
        return Err(closed());
    }
    let waited_for = Arc::clone(reply);
    connection.progress_handler(STEPS, Some(move || waited_for.is_closed()))?;
    let answer = cells::rows(connection, text, values);
    connection.progress_handler(0, None::<fn() -> bool>)?;
    answer
}

fn set(connection: &Connection, text: &str) -> Result<Vec<Row>> {
    connection.execute_batch(text)?;
    Ok(Vec::new())
}

fn closed() -> Fault {
    Fault::new(FaultKind::Stopping, "the store is closed")
}

fn overloaded() -> Fault {
    Fault::new(FaultKind::Overloaded, "every connection for reading is taken; try again soon")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_setting_is_made_each_time_that_it_is_told() {
        let connection = Connection::open_in_memory().unwrap();
        let readers = Readers::start(vec![connection], Duration::from_mins(1)).unwrap();
        let size = async || readers.rows("PRAGMA cache_size", &[]).await.unwrap()[0].get::<i64>(0).unwrap();
        for _ in 0..2 {
            readers.set_idle("PRAGMA cache_size = -100").await;
            assert_eq!(size().await, -100);
            readers.set_idle("PRAGMA cache_size = -200").await;
            assert_eq!(size().await, -200);
        }
        readers.shrink().await;
        readers.close().await;
    }
}
