//! Owns a write transaction on SQLite. On a thread that may block its statements run where they are asked for, without
//! a hop; elsewhere on the file's hand. It must never give back a connection of which it is not known how it stands.

use std::borrow::Borrow;
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::OwnedMutexGuard;

use super::hand::Hand;
use super::rows::Given;
use super::sqlite::Beside;
use super::write_back;
use super::{Row, Value, cells, failed_commit, spoiled};
use crate::base::task;
use crate::store::fault::Result;

/// Takes the writer's lock at once: one that is taken at the first write would fail where others wait.
const BEGIN: &str = "BEGIN IMMEDIATE";
const COMMIT: &str = "COMMIT";

/// The writer's connection while a transaction has it. The connection is dropped first: the next one begins after that.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) connection: Connection,
    /// Where a good commit puts it back.
    pub(super) slot: OwnedMutexGuard<Option<Connection>>,
}

/// A write transaction on the writer's own connection.
#[derive(Debug)]
pub struct Transaction {
    /// Nothing, once a statement has failed or was cut off: then the connection is closed, and all is undone.
    held: Option<Held>,
    hand: Hand,
    beside: Arc<Beside>,
}

type Run<A, T> = fn(&Connection, &str, &A) -> Result<T>;

impl Transaction {
    /// Begins on a connection that no transaction holds.
    pub(super) async fn begin(held: Held, hand: Hand, beside: Arc<Beside>) -> Result<Transaction> {
        let mut transaction = Transaction { held: Some(held), hand, beside };
        transaction.run(cells::rows, BEGIN, &[][..]).await?;
        Ok(transaction)
    }

    pub(super) async fn rows(&mut self, text: &'static str, values: &[Value]) -> Result<Vec<Row>> {
        self.run(cells::rows, text, values).await
    }

    pub(super) async fn execute(&mut self, text: &'static str, values: &[Value]) -> Result<u64> {
        self.run(cells::changes, text, values).await
    }

    pub(super) async fn each(&mut self, text: &'static str, given: Given) -> Result<(u64, Vec<Row>)> {
        self.run(cells::each, text, &given).await
    }

    /// Runs several statements without arguments.
    pub(super) async fn run_script(&mut self, script: String) -> Result<()> {
        let held = self.held.take().ok_or_else(spoiled)?;
        let work = move || held.connection.execute_batch(&script).map(|()| held);
        self.held = Some(self.hand.ask(work).await??);
        Ok(())
    }

    pub(super) async fn commit(mut self) -> Result<()> {
        let pages = self.run(commit, COMMIT, &[][..]).await.map_err(failed_commit)?;
        if let Some(write_back) = &self.beside.write_back {
            write_back.committed(pages);
        }
        super::answer_comes()?;
        let Held { connection, mut slot } = self.held.take().ok_or_else(spoiled)?;
        *slot = Some(connection);
        Ok(())
    }

    /// What runs has the connection with it: an error, a panic, or a caller that goes away lose it.
    async fn run<A, T>(&mut self, run: Run<A, T>, text: &'static str, given: &A) -> Result<T>
    where
        A: ToOwned<Owned: Borrow<A> + Send> + ?Sized + 'static,
        T: Send + 'static,
    {
        let held = self.held.take().ok_or_else(spoiled)?;
        let (held, answer) = if task::may_block() {
            run(&held.connection, text, given).map(|answer| (held, answer))?
        } else {
            let given = given.to_owned();
            let work = move || run(&held.connection, text, given.borrow()).map(|answer| (held, answer));
            self.hand.ask(work).await??
        };
        self.held = Some(held);
        Ok(answer)
    }
}

/// Commits, and gives the pages that are in the journal then.
fn commit(connection: &Connection, text: &str, values: &[Value]) -> Result<i32> {
    cells::changes(connection, text, values)?;
    Ok(write_back::pages())
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.hand.leave(held);
        }
    }
}
