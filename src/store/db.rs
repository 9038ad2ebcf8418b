//! The seam: engines, arguments, rows and transactions. The only file that names a database driver.
//!
//! Five traps are shut here, each with its test in `tests/it/store`: a statement declares the kinds of its
//! arguments (a driver caches by text and would store a wrong number); a transaction that failed once
//! refuses to commit; only a good commit gives the writer's connection back; lists are one JSON argument;
//! and a statement must be readable on both engines.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgPool, PgPoolOptions, PgRow, Postgres};
use sqlx::sqlite::{
    Sqlite, SqliteArguments, SqliteAutoVacuum, SqliteConnectOptions, SqliteConnection, SqliteJournalMode,
    SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{
    Arguments, AssertSqlSafe, Column as _, ColumnIndex, ConnectOptions, Connection as _, Decode,
    Executor as _, Row as _, SqlSafeStr, Statement as _, Type, TypeInfo as _,
};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::fault::{Fault, Result};
use crate::base::points;

// Versions before 3.51.3 can lose commits when the WAL is reset.
const _: () = assert!(libsqlite3_sys::SQLITE_VERSION_NUMBER >= 3_051_003);

/// Readers of one SQLite file. Each costs a thread and a page cache.
const SQLITE_READERS: u32 = 3;
/// Connections to PostgreSQL.
const POSTGRES_CONNECTIONS: u32 = 8;
/// How long a statement waits for another process's lock, and a reader for a connection.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Prepared statements kept by a connection: more than we have.
const STATEMENT_CACHE: usize = 512;
/// Rows that the driver's thread may send ahead; the default of 50 costs a third of a large answer's time.
const ROW_BUFFER: usize = 1_024;

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
    /// Bytes.
    Bytes(Option<Vec<u8>>),
}

impl Value {
    fn kind(&self) -> Kind {
        match self {
            Value::Int(_) => Kind::Int,
            Value::Float(_) => Kind::Float,
            Value::Text(_) => Kind::Text,
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
    takes: &'static [Kind],
}

impl Sql {
    /// One text for both engines.
    pub const fn both(text: &'static str, takes: &'static [Kind]) -> Sql {
        Sql { sqlite: text, postgres: text, takes }
    }

    /// Two texts, where the engines must differ.
    pub const fn each(sqlite: &'static str, postgres: &'static str, takes: &'static [Kind]) -> Sql {
        Sql { sqlite, postgres, takes }
    }

    /// The text for SQLite, for the test of query plans.
    pub const fn sqlite_text(&self) -> &'static str {
        self.sqlite
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
    Sqlite(SqliteRow),
    /// From PostgreSQL.
    Postgres(PgRow),
}

/// What a column can be read as, on both engines.
pub trait Column:
    for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}

impl<T> Column for T where
    T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}

impl Row {
    /// The column's value, by position from 0.
    pub fn get<T: Column>(&self, at: usize) -> Result<T>
    where
        usize: ColumnIndex<SqliteRow> + ColumnIndex<PgRow>,
    {
        match self {
            Row::Sqlite(row) => Ok(row.try_get(at)?),
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
    Sqlite {
        /// How to open the writer's connection anew.
        options: Box<SqliteConnectOptions>,
        /// The writer's connection, while no transaction holds it.
        writer: Arc<Mutex<Option<SqliteConnection>>>,
        /// Connections that cannot write.
        readers: SqlitePool,
    },
    /// A PostgreSQL database.
    Postgres(PgPool),
}

fn fill<A: Arguments>(values: &[Value]) -> Result<A>
where
    for<'q> Option<i64>: sqlx::Encode<'q, A::Database> + Type<A::Database>,
    for<'q> Option<f64>: sqlx::Encode<'q, A::Database> + Type<A::Database>,
    for<'q> Option<String>: sqlx::Encode<'q, A::Database> + Type<A::Database>,
    for<'q> Option<Vec<u8>>: sqlx::Encode<'q, A::Database> + Type<A::Database>,
{
    let mut arguments = A::default();
    for value in values {
        match value {
            Value::Int(value) => arguments.add(*value),
            Value::Float(value) => arguments.add(*value),
            Value::Text(value) => arguments.add(value.clone()),
            Value::Bytes(value) => arguments.add(value.clone()),
        }
        .map_err(|error| Fault::bug(format!("an argument cannot be encoded: {error}")))?;
    }
    Ok(arguments)
}

macro_rules! sqlite {
    ($sql:expr, $values:expr) => {
        sqlx::query_with($sql.sqlite, fill::<SqliteArguments>($values)?)
    };
}

macro_rules! postgres {
    ($sql:expr, $values:expr) => {
        sqlx::query_with($sql.postgres, fill::<PgArguments>($values)?)
    };
}

impl Db {
    /// Opens a SQLite file, making it when it is absent.
    pub async fn open_sqlite(path: &Path, durability: Durability) -> Result<Db> {
        let synchronous = match durability {
            Durability::Full => SqliteSynchronous::Full,
            Durability::Normal => SqliteSynchronous::Normal,
        };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(synchronous)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true)
            .pragma("wal_autocheckpoint", "4000")
            .pragma("journal_size_limit", "67108864")
            .pragma("mmap_size", "0")
            .pragma("temp_store", "memory")
            .pragma("trusted_schema", "off")
            .pragma("cell_size_check", "on")
            .statement_cache_capacity(STATEMENT_CACHE)
            .row_buffer_size(ROW_BUFFER)
            .disable_statement_logging();
        let mut first = options.clone().pragma("cache_size", "-16000");
        if std::fs::metadata(path).map_or(0, |file| file.len()) == 0 {
            // Chosen once, before the first table. On a file that exists it would write a transaction at each connect.
            first = first.auto_vacuum(SqliteAutoVacuum::Incremental);
        }
        let writer = first.connect().await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(SQLITE_READERS)
            .min_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(BUSY_TIMEOUT)
            .connect_with(options.clone().pragma("query_only", "on").pragma("cache_size", "-4000"))
            .await?;
        let options = Box::new(options.pragma("cache_size", "-16000"));
        Ok(Db::Sqlite { options, writer: Arc::new(Mutex::new(Some(writer))), readers })
    }

    /// Opens a PostgreSQL database by its URL.
    pub async fn open_postgres(url: &str) -> Result<Db> {
        let options: sqlx::postgres::PgConnectOptions =
            url.parse::<sqlx::postgres::PgConnectOptions>()?.statement_cache_capacity(STATEMENT_CACHE);
        let pool = PgPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS)
            .acquire_timeout(BUSY_TIMEOUT)
            .connect_with(options.disable_statement_logging())
            .await?;
        Ok(Db::Postgres(pool))
    }

    /// The engine's name, for people.
    pub fn engine(&self) -> &'static str {
        match self {
            Db::Sqlite { .. } => "sqlite",
            Db::Postgres(_) => "postgres",
        }
    }

    /// Reads rows outside of any transaction of ours. The statement must bound them.
    pub async fn rows(&self, sql: &Sql, values: &[Value]) -> Result<Vec<Row>> {
        sql.check(values);
        match self {
            Db::Sqlite { readers, .. } => {
                let rows = sqlite!(sql, values).fetch_all(readers).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
            Db::Postgres(pool) => {
                let rows = postgres!(sql, values).fetch_all(pool).await?;
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
            Db::Sqlite { options, writer, .. } => {
                let mut slot = writer.clone().lock_owned().await;
                let mut connection = match slot.take() {
                    Some(connection) => connection,
                    None => options.connect().await?,
                };
                connection.execute("BEGIN IMMEDIATE").await?;
                Ok(Tx::Sqlite { slot, connection, failed: false })
            }
            Db::Postgres(pool) => Ok(Tx::Postgres { transaction: pool.begin().await?, failed: false }),
        }
    }

    /// Runs the statements of a migration, without arguments, in one transaction of its own.
    pub async fn run_script(&self, script: String) -> Result<()> {
        let mut tx = self.begin().await?;
        match &mut tx {
            Tx::Sqlite { connection, .. } => {
                sqlx::raw_sql(AssertSqlSafe(script)).execute(connection).await?;
            }
            Tx::Postgres { transaction, .. } => {
                sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut **transaction).await?;
            }
        }
        points::reach("migration.before_commit");
        tx.commit().await
    }

    /// Prepares a statement on a connection of its own and says what its columns are; for the test of all
    /// statements. Refuses what could not be read as one of our kinds.
    pub async fn prepare(&self, sql: &Sql) -> Result<Vec<String>> {
        match self {
            Db::Sqlite { options, .. } => {
                let mut connection = options.connect().await?;
                let prepared = connection.prepare(sql.sqlite.into_sql_str()).await?;
                let columns = prepared.columns().iter().map(|column| column.name().to_owned()).collect();
                connection.close().await?;
                Ok(columns)
            }
            Db::Postgres(pool) => {
                let kinds: Vec<_> = sql.takes.iter().map(|kind| postgres_type(*kind)).collect();
                let mut connection = pool.acquire().await?.detach();
                let prepared = connection.prepare_with(sql.postgres.into_sql_str(), &kinds).await?;
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
            Db::Sqlite { writer, readers, .. } => {
                readers.close().await;
                if let Some(connection) = writer.lock().await.take() {
                    // The last connection's close writes the WAL back; an error leaves it for the next start.
                    if let Err(error) = connection.close().await {
                        tracing::warn!(%error, "the store's connection did not close in order");
                    }
                }
            }
            Db::Postgres(pool) => pool.close().await,
        }
    }
}

fn postgres_type(kind: Kind) -> sqlx::postgres::PgTypeInfo {
    match kind {
        Kind::Int => <i64 as Type<Postgres>>::type_info(),
        Kind::Float => <f64 as Type<Postgres>>::type_info(),
        Kind::Text => <String as Type<Postgres>>::type_info(),
        Kind::Bytes => <Vec<u8> as Type<Postgres>>::type_info(),
    }
}

/// A write transaction. Undone when dropped; refuses to commit once a statement has failed.
#[derive(Debug)]
pub enum Tx {
    /// On the writer's own connection.
    Sqlite {
        /// Where a good commit puts the connection back.
        slot: OwnedMutexGuard<Option<SqliteConnection>>,
        /// The connection.
        connection: SqliteConnection,
        /// Whether a statement failed or was cut off.
        failed: bool,
    },
    /// On a connection of the pool.
    Postgres {
        /// The driver's transaction.
        transaction: sqlx::Transaction<'static, Postgres>,
        /// Whether a statement failed or was cut off.
        failed: bool,
    },
}

impl Tx {
    /// Runs a statement and gives its rows.
    pub async fn rows(&mut self, sql: &Sql, values: &[Value]) -> Result<Vec<Row>> {
        sql.check(values);
        // `failed` is set before the await and cleared by success, so a cut-off future refuses the rest too.
        match self {
            Tx::Sqlite { connection, failed, .. } => {
                refuse_failed(*failed)?;
                *failed = true;
                let rows = sqlite!(sql, values).fetch_all(connection).await?;
                *failed = false;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
            Tx::Postgres { transaction, failed } => {
                refuse_failed(*failed)?;
                *failed = true;
                let rows = postgres!(sql, values).fetch_all(&mut **transaction).await?;
                *failed = false;
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
            Tx::Sqlite { connection, failed, .. } => {
                refuse_failed(*failed)?;
                *failed = true;
                let done = sqlite!(sql, values).execute(connection).await?;
                *failed = false;
                Ok(done.rows_affected())
            }
            Tx::Postgres { transaction, failed } => {
                refuse_failed(*failed)?;
                *failed = true;
                let done = postgres!(sql, values).execute(&mut **transaction).await?;
                *failed = false;
                Ok(done.rows_affected())
            }
        }
    }

    /// Commits. The only way back into the slot for the writer's connection.
    pub async fn commit(self) -> Result<()> {
        match self {
            Tx::Sqlite { mut slot, mut connection, failed } => {
                refuse_failed(failed)?;
                connection.execute("COMMIT").await?;
                *slot = Some(connection);
                Ok(())
            }
            Tx::Postgres { transaction, failed } => {
                refuse_failed(failed)?;
                Ok(transaction.commit().await?)
            }
        }
    }

    /// Whether this is SQLite.
    pub fn is_sqlite(&self) -> bool {
        matches!(self, Tx::Sqlite { .. })
    }
}

fn refuse_failed(failed: bool) -> Result<()> {
    if failed {
        return Err(Fault::bug("a statement of this transaction failed, so it can only be undone"));
    }
    Ok(())
}
