//! Owns a PostgreSQL database: a pool for reading, and connections for transactions which only a good commit gives
//! back. A statement that gets no answer is given up with its connection: a network that is cut says nothing.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgListener, PgPool, PgPoolOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Postgres};

use super::{ACQUIRE_TIMEOUT, STATEMENT_CACHE, Tx, Value, fill};
use crate::base::{clock, task};
use crate::store::fault::{Fault, FaultKind, Result};

/// Connections that are not for what clients read: the daemon's own two, three for transactions, one that listens.
const NOT_FOR_READING: u32 = 6;
/// Connections for transactions that are kept for the next one: the writer's, the log's, and one to spare.
const IDLE_MAX: usize = 3;
/// How long a connection may take to be there.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Transactions that the server may plan alike.
const PLANS_MAX_USES: u32 = 64;
/// How long one statement of a transaction may take. It waits for other daemons at most as long as the server lets them
/// keep a transaction open without a word.
const STATEMENT_MAX: Duration = Duration::from_secs(10);
/// How long a read may take: clients ask for much.
const READ_MAX: Duration = Duration::from_secs(30);
/// How long a connection may take to be ready for the next read.
const RETURN_MAX: Duration = Duration::from_secs(5);
/// What each connection asks of the server, whatever that has for others. Each statement sees what was committed before it:
/// limits are counted behind the locks that they wait for. A daemon that stands still in the middle of a transaction holds up the others
/// for a moment only, and one that is gone is noticed while it waits for a lock. Statistics of a queue are always late:
/// they must not make the server read a table as a whole that was small when it last looked, or compile a plan for it,
/// or collect what an index says of rows that are gone, where walking the index would clear it of them.
const SESSION: [(&str, &str); 7] = [
    ("default_transaction_isolation", "read committed"),
    ("idle_in_transaction_session_timeout", "5s"),
    ("client_connection_check_interval", "2s"),
    ("tcp_user_timeout", "10s"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("jit", "off"),
];

/// A PostgreSQL database.
#[derive(Debug)]
pub struct PostgresDatabase {
    pool: PgPool,
    options: PgConnectOptions,
    idle: Mutex<Vec<Used>>,
}

/// A connection for transactions.
#[derive(Debug)]
pub(super) struct Used {
    connection: PgConnection,
    /// Transactions for which the server may still use the plans that it has.
    planned_count: u32,
}

impl PostgresDatabase {
    /// Connects to the database of this URL, with about so many connections in all.
    pub(super) async fn open(url: &str, connections: u32) -> Result<PostgresDatabase> {
        let options = url
            .parse::<PgConnectOptions>()?
            .statement_cache_capacity(STATEMENT_CACHE)
            .application_name("beadle")
            .options(SESSION)
            .disable_statement_logging();
        let readers = connections.saturating_sub(NOT_FOR_READING).max(1);
        let opened = pool(readers).connect_with(options.clone()).await?;
        let commits: String =
            answered(sqlx::query_scalar("SHOW synchronous_commit").fetch_one(&opened)).await?;
        if commits != "off" {
            return Ok(PostgresDatabase { pool: opened, options, idle: Mutex::default() });
        }
        // An answer would be given before it is durable.
        tracing::warn!("the server has synchronous_commit off; it is on for what this daemon writes");
        opened.close().await;
        let options = options.options([("synchronous_commit", "on")]);
        let pool = pool(readers).connect_with(options.clone()).await?;
        Ok(PostgresDatabase { pool, options, idle: Mutex::default() })
    }

    /// The same database with connections of its own, for reads that wait for nobody.
    pub(super) fn beside(&self, readers: u32) -> PostgresDatabase {
        let options = self.options.clone();
        PostgresDatabase {
            pool: pool(readers).connect_lazy_with(options.clone()),
            options,
            idle: Mutex::default(),
        }
    }

    /// Rows outside of any transaction. A connection that the server has closed since it was used is not asked first,
    /// which would cost each read as much as the read: the next one is tried in its place.
    pub(super) async fn rows(&self, text: &'static str, values: &[Value]) -> Result<Vec<PgRow>> {
        let mut tries_left = self.pool.options().get_max_connections() + 1;
        loop {
            tries_left -= 1;
            let mut reading = Reading(Some(self.pool.acquire().await?));
            let Some(connection) = &mut reading.0 else { return Err(unanswered()) };
            let rows = sqlx::query_with(text, fill(values)?).fetch_all(&mut **connection);
            let fault = match clock::within(READ_MAX, rows).await.ok_or_else(unanswered)? {
                Ok(rows) => {
                    reading.end();
                    return Ok(rows);
                }
                Err(error) => Fault::from(error),
            };
            if fault.kind != FaultKind::Io {
                reading.end();
                return Err(fault);
            }
            if tries_left == 0 {
                return Err(fault);
            }
        }
    }

    /// A connection of its own, which nobody gives back.
    pub(super) async fn connect(&self) -> Result<PgConnection> {
        let connected = clock::within(CONNECT_MAX, PgConnection::connect_with(&self.options)).await;
        Ok(connected.ok_or_else(|| Fault::new(FaultKind::Io, "the database gives no connection"))??)
    }

    /// Begins a transaction, on a connection that is there or a new one.
    pub(super) async fn begin(&self) -> Result<PostgresTransaction> {
        let idle = self.idle().pop();
        if let Some(mut used) = idle
            && used.begin().await.is_ok()
        {
            return Ok(PostgresTransaction { used, has_failed: false });
        }
        // It may have been cut off since: a new one shows how the server is. The others of its age go too.
        self.idle().clear();
        let mut used = Used { connection: self.connect().await?, planned_count: PLANS_MAX_USES };
        used.begin().await?;
        Ok(PostgresTransaction { used, has_failed: false })
    }

    /// Keeps the connection of a transaction that was committed for the next one.
    pub(super) fn keep(&self, connection: Used) {
        let mut idle = self.idle();
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
    }

    /// A connection that hears what is said on a channel.
    pub(super) async fn listen(&self, channel: &str) -> Result<PgListener> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .acquire_timeout(CONNECT_MAX)
            .connect_with(self.options.clone())
            .await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.ignore_pool_close_event(true);
        answered(listener.listen(channel)).await?;
        Ok(listener)
    }

    pub(super) async fn close(&self) {
        let idle = std::mem::take(&mut *self.idle());
        for used in idle {
            // The server ends it by itself, should it not hear of it.
            let _ = answered(used.connection.close()).await;
        }
        self.pool.close().await;
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Used>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection of the pool while it reads. One that is let go in the middle, because nobody waits for it any more or no
/// answer came, is closed: the pool would wait for the rest of the answer, and for ever where a network was cut without a
/// word.
struct Reading(Option<PoolConnection<Postgres>>);

impl Reading {
    /// Gives it back for the next read.
    fn end(mut self) {
        if let Some(mut connection) = self.0.take() {
            task::spawn(clock::within(RETURN_MAX, connection.return_to_pool()));
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.0 {
            connection.close_on_drop();
        }
    }
}

fn pool(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
}

impl Used {
    /// Begins a transaction. A plan is good for tables of about the size that they had: a queue that was empty a moment
    /// ago is soon long.
    async fn begin(&mut self) -> Result<()> {
        let is_old = self.planned_count == 0;
        let begin = if is_old { "DISCARD PLANS; BEGIN" } else { "BEGIN" };
        answered(sqlx::raw_sql(begin).execute(&mut self.connection)).await?;
        self.planned_count = if is_old { PLANS_MAX_USES } else { self.planned_count - 1 };
        Ok(())
    }
}

/// What the server answers in time.
async fn answered<T>(asking: impl Future<Output = std::result::Result<T, sqlx::Error>>) -> Result<T> {
    Ok(clock::within(STATEMENT_MAX, asking).await.ok_or_else(unanswered)??)
}

fn unanswered() -> Fault {
    Fault::new(FaultKind::Io, "the database does not answer")
}

/// A transaction. Dropped without a commit its connection is closed, which undoes it.
#[derive(Debug)]
pub struct PostgresTransaction {
    used: Used,
    /// Whether a statement failed or was cut off.
    has_failed: bool,
}

impl PostgresTransaction {
    pub(super) async fn rows(&mut self, text: &'static str, arguments: PgArguments) -> Result<Vec<PgRow>> {
        self.begin_statement()?;
        let rows = answered(sqlx::query_with(text, arguments).fetch_all(&mut self.used.connection)).await?;
        self.has_failed = false;
        Ok(rows)
    }

    pub(super) async fn execute(&mut self, text: &'static str, arguments: PgArguments) -> Result<u64> {
        self.begin_statement()?;
        let done = answered(sqlx::query_with(text, arguments).execute(&mut self.used.connection)).await?;
        self.has_failed = false;
        Ok(done.rows_affected())
    }

    /// Statements without arguments, however long they take.
    pub(super) async fn run_script(&mut self, script: String) -> Result<()> {
        self.begin_statement()?;
        sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut self.used.connection).await?;
        self.has_failed = false;
        Ok(())
    }

    /// Sends lines to a `COPY .. FROM STDIN` and gives the number of rows. It spoils the transaction as any statement
    /// that fails.
    async fn copy_in(&mut self, statement: &'static str, lines: Vec<u8>) -> Result<u64> {
        self.begin_statement()?;
        let mut copy = self.used.connection.copy_in_raw(statement).await?;
        copy.send(lines).await?;
        let count = copy.finish().await?;
        self.has_failed = false;
        Ok(count)
    }

    /// Commits, and gives the connection to whom it may be of use.
    pub(super) async fn commit(mut self) -> Result<Used> {
        super::refuse_failed(self.has_failed)?;
        answered(sqlx::raw_sql("COMMIT").execute(&mut self.used.connection))
            .await
            .map_err(super::failed_commit)?;
        super::answer_comes()?;
        Ok(self.used)
    }

    /// Set before the await and cleared by success, so that a cut-off future refuses the rest too.
    fn begin_statement(&mut self) -> Result<()> {
        super::refuse_failed(self.has_failed)?;
        self.has_failed = true;
        Ok(())
    }
}

impl Tx {
    /// Sends lines to a `COPY .. FROM STDIN` and gives the number of rows.
    pub(in crate::store) async fn copy_in(&mut self, statement: &'static str, lines: Vec<u8>) -> Result<u64> {
        match self {
            Tx::Sqlite(_) => Err(Fault::bug("rows are copied into PostgreSQL only")),
            Tx::Postgres { transaction, .. } => transaction.copy_in(statement, lines).await,
        }
    }
}
