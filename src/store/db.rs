//! The seam: engines, arguments, rows and transactions. With its folder the only file that names a database driver.
//!
//! Five traps are shut here, each with its test in `tests/it/store`: a statement declares the kinds of its
//! arguments (a driver caches by text and would store a wrong number); a transaction that failed once
//! refuses to commit; only a good commit gives the writer's connection back; lists are one JSON argument;
//! and a statement must be readable on both engines.
//!
//! A statement that names its rows by number says what else must be so in `coalesce(.., FALSE)`. PostgreSQL would rather
//! walk a partial index of that state, which it believes to be empty, and compare each row with each number.
//!
//! What waits for PostgreSQL is boxed here. In place its kilobytes would lie in every future that reads or writes, on
//! SQLite too: in each subscription, and in every copy of a future on its way.

use std::sync::Arc;
use std::time::Duration;

use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgRow, PgTypeInfo, Postgres};
use sqlx::{
    Arguments as _, Column as _, Connection as _, Executor as _, Row as _, SqlSafeStr as _, Statement as _,
    Type, TypeInfo as _,
};

use self::rows::Given;
use super::fault::{Fault, FaultKind, Result};
use crate::base::points;

mod cells;
mod hand;
mod nudges;
mod postgres;
mod readers;
mod rows;
mod sqlite;
mod transaction;
mod write_back;

pub use cells::{Cell, Column};
pub use nudges::Nudges;
pub use postgres::{PostgresDatabase, PostgresTransaction};
pub use rows::Rows;
pub use sqlite::SqliteFile;
pub use transaction::Transaction;

// Versions before 3.51.3 can lose commits when the WAL is reset.
const _: () = assert!(libsqlite3_sys::SQLITE_VERSION_NUMBER >= 3_051_003);

/// Connections to PostgreSQL, unless somebody says otherwise.
pub const POSTGRES_CONNECTIONS: u32 = 12;
/// How long a reader waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Prepared statements kept by a connection: more than we have.
const STATEMENT_CACHE: usize = 512;

/// The kind of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A 64-bit integer.
    Int,
    /// A double.
    Float,
    /// A text, also JSON.
    Text,
    /// Bytes.
    Bytes,
}

/// One argument; `None` is a null of its kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A 64-bit integer.
    Int(Option<i64>),
    /// A double.
    Float(Option<f64>),
    /// A text, also JSON.
    Text(Option<String>),
    /// A word of ours, which is a text to the database.
    Word(&'static str),
    /// Bytes.
    Bytes(Option<Vec<u8>>),
}

impl Value {
    fn kind(&self) -> Kind {
        match self {
            Value::Int(_) => Kind::Int,
            Value::Float(_) => Kind::Float,
            Value::Text(_) | Value::Word(_) => Kind::Text,
            Value::Bytes(_) => Kind::Bytes,
        }
    }
}

macro_rules! values {
    ($($from:ty => $variant:ident;)*) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Value { Value::$variant(Some(value.into())) }
        }
        impl From<Option<$from>> for Value {
            fn from(value: Option<$from>) -> Value { Value::$variant(value.map(Into::into)) }
        }
    )*};
}

values! { i64 => Int; i32 => Int; f64 => Float; String => Text; &str => Text; &String => Text; Vec<u8> => Bytes; }

/// The arguments of one statement, in order.
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => { [$($crate::store::db::Value::from($value)),*] };
}

/// One statement: a text for both engines, or one for each, with the kinds of its arguments.
#[derive(Debug)]
pub struct Sql {
    sqlite: &'static str,
    postgres: &'static str,
    /// The columns of a row, where it is for many.
    row: &'static [Kind],
    takes: &'static [Kind],
}

impl Sql {
    /// One text for both engines.
    pub const fn both(text: &'static str, takes: &'static [Kind]) -> Sql {
        Sql { sqlite: text, postgres: text, row: &[], takes }
    }

    /// Two texts, where the engines must differ.
    pub const fn each(sqlite: &'static str, postgres: &'static str, takes: &'static [Kind]) -> Sql {
        Sql { sqlite, postgres, row: &[], takes }
    }

    /// A statement for many rows: `$1` and on are a row's columns, and the arguments stand behind them. SQLite runs it for
    /// each row; PostgreSQL runs it once, and to it each column is a list, with a value of each row: for `unnest`.
    pub const fn each_row(
        sqlite: &'static str,
        postgres: &'static str,
        row: &'static [Kind],
        takes: &'static [Kind],
    ) -> Sql {
        Sql { sqlite, postgres, row, takes }
    }

    /// Whether SQLite runs it once for each row.
    pub const fn is_for_rows(&self) -> bool {
        !self.row.is_empty()
    }

    /// The text for SQLite, for the test of query plans.
    pub const fn sqlite_text(&self) -> &'static str {
        self.sqlite
    }

    /// The text for PostgreSQL and the types that it takes, for the same.
    pub fn postgres_text(&self) -> (&'static str, Vec<PgTypeInfo>) {
        let lists = self.row.iter().map(|kind| list_type(*kind));
        (self.postgres, lists.chain(self.takes.iter().map(|kind| postgres_type(*kind))).collect())
    }

    /// What a statement for many rows is given.
    fn give(&self, rows: Rows, beside: &[Value]) -> Given {
        self.check(beside);
        rows.check(self.row, self.sqlite);
        Given { rows, width: self.row.len(), beside: beside.to_vec() }
    }

    fn check(&self, arguments: &[Value]) {
        let is_right = self.takes.len() == arguments.len()
            && self.takes.iter().zip(arguments).all(|(kind, value)| *kind == value.kind());
        assert!(is_right, "a statement was given other arguments than it declares: {}", self.sqlite);
    }
}

/// One row of an answer.
#[derive(Debug)]
pub enum Row {
    /// From SQLite.
    Sqlite(Box<[Cell]>),
    /// From PostgreSQL.
    Postgres(PgRow),
}

impl Row {
    /// The column's value, by position from 0.
    pub fn get<T: Column>(&self, at: usize) -> Result<T> {
        match self {
            Row::Sqlite(cells) => cells::read(cells, at),
            Row::Postgres(row) => Ok(row.try_get(at)?),
        }
    }

    /// The column's text where it lies, without a copy.
    pub fn text(&self, at: usize) -> Result<&str> {
        self.optional_text(at)?.ok_or_else(|| Fault::bug(format!("column {at} is null, which is no text")))
    }

    /// The same where there may be none.
    pub fn optional_text(&self, at: usize) -> Result<Option<&str>> {
        match self {
            Row::Sqlite(cells) => cells::text(cells, at),
            Row::Postgres(row) => Ok(row.try_get(at)?),
        }
    }
}

/// How hard a commit is pressed to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Every commit survives a power cut.
    Full,
    /// Every commit survives the process; the last ones may not survive a power cut.
    Normal,
}

/// One database.
#[derive(Debug)]
pub enum Db {
    /// A SQLite file: one writer's connection and some readers.
    Sqlite(SqliteFile),
    /// A PostgreSQL database.
    Postgres(Arc<PostgresDatabase>),
}

fn fill(values: &[Value]) -> Result<PgArguments> {
    let mut arguments = PgArguments::default();
    add(&mut arguments, values)?;
    Ok(arguments)
}

fn add(arguments: &mut PgArguments, values: &[Value]) -> Result<()> {
    for value in values {
        match value {
            Value::Int(value) => arguments.add(*value),
            Value::Float(value) => arguments.add(*value),
            Value::Text(value) => arguments.add(value.as_deref()),
            Value::Word(word) => arguments.add(*word),
            Value::Bytes(value) => arguments.add(value.as_deref()),
        }
        .map_err(|error| unencoded(&error))?;
    }
    Ok(())
}

fn unencoded(error: &BoxDynError) -> Fault {
    Fault::bug(format!("an argument cannot be encoded: {error}"))
}

impl Db {
    /// Opens a PostgreSQL database by its URL, with about so many connections.
    pub async fn open_postgres(url: &str, connections: u32) -> Result<Db> {
        Ok(Db::Postgres(Arc::new(Box::pin(PostgresDatabase::open(url, connections)).await?)))
    }

    /// The same PostgreSQL database with connections of its own; a SQLite file has its own way (`open_readers`).
    pub(in crate::store) fn beside(&self, readers: u32) -> Option<Db> {
        match self {
            Db::Sqlite(_) => None,
            Db::Postgres(database) => Some(Db::Postgres(Arc::new(database.beside(readers)))),
        }
    }

    /// The engine's name, for people.
    pub fn engine(&self) -> &'static str {
        match self {
            Db::Sqlite(_) => "sqlite",
            Db::Postgres(_) => "postgres",
        }
    }

    /// Reads rows outside of any transaction of ours. The statement must bound them.
    pub async fn rows(&self, sql: &Sql, values: &[Value]) -> Result<Vec<Row>> {
        sql.check(values);
        match self {
            Db::Sqlite(file) => file.rows(sql.sqlite, values).await,
            Db::Postgres(database) => {
                let rows = Box::pin(database.rows(sql.postgres, values)).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// The first row, if there is one.
    pub async fn optional(&self, sql: &Sql, values: &[Value]) -> Result<Option<Row>> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// Begins a write transaction. Takes the connection out of its slot, or opens a new one.
    pub async fn begin(&self) -> Result<Tx> {
        match self {
            Db::Sqlite(file) => Ok(Tx::Sqlite(file.begin().await?)),
            Db::Postgres(database) => {
                let transaction = Box::pin(database.begin()).await?;
                Ok(Tx::Postgres { transaction, database: database.clone() })
            }
        }
    }

    /// Runs the statements of a migration, without arguments, in one transaction of its own.
    pub async fn run_script(&self, script: String) -> Result<()> {
        let mut tx = self.begin().await?;
        match &mut tx {
            Tx::Sqlite(transaction) => transaction.run_script(script).await?,
            Tx::Postgres { transaction, .. } => Box::pin(transaction.run_script(script)).await?,
        }
        points::reach("script.run");
        tx.commit().await
    }

    /// Prepares a statement on a connection of its own and says what its columns are; for the test of all
    /// statements. Refuses what could not be read as one of our kinds.
    pub async fn prepare(&self, sql: &Sql) -> Result<Vec<String>> {
        match self {
            Db::Sqlite(file) => file.columns(sql.sqlite).await,
            Db::Postgres(database) => {
                let (text, types) = sql.postgres_text();
                let mut connection = database.connect().await?;
                let prepared = connection.prepare_with(text.into_sql_str(), &types).await?;
                let mut columns = Vec::new();
                for column in prepared.columns() {
                    let kind = column.type_info().name();
                    if !matches!(kind, "INT8" | "FLOAT8" | "TEXT" | "BYTEA" | "BOOL" | "VOID") {
                        let name = column.name();
                        return Err(Fault::bug(format!("column {name} is {kind}, which we cannot read")));
                    }
                    columns.push(column.name().to_owned());
                }
                connection.close().await?;
                Ok(columns)
            }
        }
    }

    /// Closes the connections in order.
    pub async fn close(&self) {
        match self {
            Db::Sqlite(file) => file.close().await,
            Db::Postgres(database) => Box::pin(database.close()).await,
        }
    }

    /// Closes every connection of a SQLite file that was refused, and leaves it and its journal as they are.
    pub(super) async fn leave(&self) {
        match self {
            Db::Sqlite(file) => file.leave().await,
            Db::Postgres(_) => self.close().await,
        }
    }
}

fn postgres_type(kind: Kind) -> PgTypeInfo {
    match kind {
        Kind::Int => <i64 as Type<Postgres>>::type_info(),
        Kind::Float => <f64 as Type<Postgres>>::type_info(),
        Kind::Text => <String as Type<Postgres>>::type_info(),
        Kind::Bytes => <Vec<u8> as Type<Postgres>>::type_info(),
    }
}

fn list_type(kind: Kind) -> PgTypeInfo {
    match kind {
        Kind::Int => <Vec<i64> as Type<Postgres>>::type_info(),
        Kind::Float => <Vec<f64> as Type<Postgres>>::type_info(),
        Kind::Text => <Vec<String> as Type<Postgres>>::type_info(),
        Kind::Bytes => <Vec<Vec<u8>> as Type<Postgres>>::type_info(),
    }
}

/// A write transaction. Undone when dropped; refuses to commit once a statement has failed.
#[derive(Debug)]
pub enum Tx {
    /// On the writer's own connection.
    Sqlite(Transaction),
    /// On a connection of its own.
    Postgres {
        /// The transaction.
        transaction: PostgresTransaction,
        /// Who keeps its connection for the next one.
        database: Arc<PostgresDatabase>,
    },
}

impl Tx {
    /// Runs a statement and gives its rows.
    pub async fn rows(&mut self, sql: &Sql, values: &[Value]) -> Result<Vec<Row>> {
        sql.check(values);
        match self {
            Tx::Sqlite(transaction) => transaction.rows(sql.sqlite, values).await,
            Tx::Postgres { transaction, .. } => {
                let rows = Box::pin(transaction.rows(sql.postgres, fill(values)?)).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// The first row, if there is one.
    pub async fn optional(&mut self, sql: &Sql, values: &[Value]) -> Result<Option<Row>> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// Runs a statement and gives the number of rows it changed.
    pub async fn execute(&mut self, sql: &Sql, values: &[Value]) -> Result<u64> {
        sql.check(values);
        match self {
            Tx::Sqlite(transaction) => transaction.execute(sql.sqlite, values).await,
            Tx::Postgres { transaction, .. } => {
                Box::pin(transaction.execute(sql.postgres, fill(values)?)).await
            }
        }
    }

    /// Runs a statement for each of these rows, of which there is one at least, and gives the number of rows it changed.
    pub async fn execute_each(&mut self, sql: &Sql, rows: Rows, values: &[Value]) -> Result<u64> {
        let given = sql.give(rows, values);
        match self {
            Tx::Sqlite(transaction) => Ok(transaction.each(sql.sqlite, given).await?.0),
            Tx::Postgres { transaction, .. } => {
                Box::pin(transaction.execute(sql.postgres, given.lists()?)).await
            }
        }
    }

    /// The same; gives what it answers for all of them, in no order.
    pub async fn rows_of_each(&mut self, sql: &Sql, rows: Rows, values: &[Value]) -> Result<Vec<Row>> {
        let given = sql.give(rows, values);
        match self {
            Tx::Sqlite(transaction) => Ok(transaction.each(sql.sqlite, given).await?.1),
            Tx::Postgres { transaction, .. } => {
                let rows = Box::pin(transaction.rows(sql.postgres, given.lists()?)).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// Commits. The only way back into the slot for the writer's connection.
    pub async fn commit(self) -> Result<()> {
        match self {
            Tx::Sqlite(transaction) => transaction.commit().await,
            Tx::Postgres { transaction, database } => {
                database.keep(Box::pin(transaction.commit()).await?);
                Ok(())
            }
        }
    }

    /// Whether this is SQLite.
    pub fn is_sqlite(&self) -> bool {
        matches!(self, Tx::Sqlite(_))
    }
}

/// A commit that failed for want of room, or because of another transaction, was undone. Of any other nobody can say:
/// it may be on the disk, and come to light at the next start.
fn failed_commit(fault: Fault) -> Fault {
    match fault.kind {
        FaultKind::Full | FaultKind::ReadOnly | FaultKind::Locked | FaultKind::Constraint => fault,
        _ => fault.unsure(),
    }
}

/// A commit is done, and its answer may be lost: where the tests make it so.
fn answer_comes() -> Result<()> {
    points::pass("db.answer").map_err(|why| Fault::new(FaultKind::Io, why).unsure())
}

fn refuse_failed(failed: bool) -> Result<()> {
    if failed {
        return Err(spoiled());
    }
    Ok(())
}

fn spoiled() -> Fault {
    Fault::bug("a statement of this transaction failed, so it can only be undone")
}
