//! Owns the connections of one SQLite file: how they are opened, closed, and opened anew when the file has changed
//! under them. It must never open the file past SQLite: closing any descriptor of it drops all its locks.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool,
    SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, Executor as _};
use tokio::sync::Mutex;

use super::{ACQUIRE_TIMEOUT, Db, Durability, STATEMENT_CACHE};
use crate::store::fault::{Fault, Result};

/// Readers of one SQLite file. Each costs a thread and a page cache. One more than the queries that one token runs at once
/// (half of `web`'s turns): a slow statement for each of them leaves one to the others.
const READERS: u32 = 5;
/// How long a change of state waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for output, which has a job waiting behind it and may be dropped.
const BUSY_TIMEOUT_LOGS: Duration = Duration::from_secs(1);
/// How long a reader waits for the file's lock; only a recovery or a close of the daemon holds it, for a moment.
const READER_PATIENCE: Duration = Duration::from_secs(10);
/// Rows that the driver's thread may send ahead; the default of 50 costs a third of a large answer's time.
const ROW_BUFFER: usize = 1_024;

impl Db {
    /// Opens a SQLite file, making it when it is absent.
    pub async fn open_sqlite(path: &Path, durability: Durability) -> Result<Db> {
        let (synchronous, patience) = match durability {
            Durability::Full => (SqliteSynchronous::Full, BUSY_TIMEOUT),
            Durability::Normal => (SqliteSynchronous::Normal, BUSY_TIMEOUT_LOGS),
        };
        let options = careful(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(synchronous)
            .busy_timeout(patience)
            .foreign_keys(true)
            .pragma("wal_autocheckpoint", "4000")
            .pragma("journal_size_limit", "67108864")
            .pragma("cache_size", "-16000")
            .statement_cache_capacity(STATEMENT_CACHE)
            .row_buffer_size(ROW_BUFFER)
            .disable_statement_logging();
        let (writer, readers) = connect(&options).await?;
        Ok(Db::Sqlite {
            options: Box::new(options),
            writer: Arc::new(Mutex::new(Some(writer))),
            readers: RwLock::new(readers),
            is_doubted: AtomicBool::new(false),
        })
    }

    /// Opens connections that can only read, so that they never write the journal back: those of a look beside the daemon
    /// that has the file, and those for the daemon's own work, which never waits for what clients read.
    pub(in crate::store) async fn open_readers(path: &Path, count: u32) -> Result<Db> {
        let options = careful(path).read_only(true).busy_timeout(READER_PATIENCE);
        let readers = SqlitePoolOptions::new()
            .max_connections(count)
            .min_connections(count)
            .acquire_timeout(READER_PATIENCE)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options.clone())
            .await?;
        Ok(Db::Sqlite {
            options: Box::new(options),
            writer: Arc::new(Mutex::new(None)),
            readers: RwLock::new(readers),
            is_doubted: AtomicBool::new(false),
        })
    }

    /// Whether a statement found the file damaged since the last call.
    pub(in crate::store) fn is_doubted(&self) -> bool {
        match self {
            Db::Sqlite { is_doubted, .. } => is_doubted.swap(false, Ordering::Relaxed),
            Db::Postgres(_) => false,
        }
    }

    /// Closes every connection of the file, lets `meanwhile` do what must not see one, and opens whatever bears the
    /// file's name then. Who reads meanwhile is refused.
    pub(in crate::store) async fn reopen(&self, meanwhile: impl FnOnce() -> Result<()>) -> Result<()> {
        let Db::Sqlite { options, writer, readers, .. } = self else { return Ok(()) };
        let mut slot = writer.lock().await;
        close(&mut slot, readers).await;
        meanwhile()?;
        let (connection, pool) = connect(options).await?;
        *slot = Some(connection);
        *readers.write().unwrap_or_else(PoisonError::into_inner) = pool;
        Ok(())
    }

    /// Writes what stands in the journal into the file, as far as no reader needs it where it is: only then does a file
    /// that has given pages back get smaller.
    pub(in crate::store) async fn write_back(&self) -> Result<()> {
        let Db::Sqlite { writer, .. } = self else { return Ok(()) };
        let mut slot = writer.lock().await;
        if let Some(connection) = slot.as_mut() {
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").await?;
        }
        Ok(())
    }

    /// Writes all that the open connection sees, be its file gone from the directory, into a new file.
    pub(in crate::store) async fn save_copy(&self, path: &Path) -> Result<()> {
        let Db::Sqlite { writer, .. } = self else { return Ok(()) };
        let mut slot = writer.lock().await;
        let connection = slot.as_mut().ok_or_else(|| Fault::bug("no connection to the lost file is left"))?;
        let target = path.display().to_string().replace('\'', "''");
        connection.execute(sqlx::raw_sql(AssertSqlSafe(format!("VACUUM INTO '{target}'")))).await?;
        Ok(())
    }
}

/// What every connection is told: nothing is mapped, for a fault of the disk would be a signal; nothing goes to files of
/// its own; and a damaged file is not trusted.
fn careful(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .pragma("mmap_size", "0")
        .pragma("temp_store", "memory")
        .pragma("trusted_schema", "off")
        .pragma("cell_size_check", "on")
}

async fn connect(options: &SqliteConnectOptions) -> Result<(SqliteConnection, SqlitePool)> {
    // Made here only: a connection that is opened later must never make an empty file in the place of a lost one.
    let mut first = options.clone().create_if_missing(true);
    if std::fs::metadata(options.get_filename()).map_or(0, |file| file.len()) == 0 {
        // Chosen once, before the first table. On a file that exists it would write a transaction at each connect.
        first = first.auto_vacuum(SqliteAutoVacuum::Incremental);
    }
    let writer = first.connect().await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .min_connections(READERS)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options.clone().pragma("query_only", "on").pragma("cache_size", "-4000"))
        .await?;
    Ok((writer, readers))
}

/// Closes the connections in order, the writer's last: its close writes the WAL back.
pub(super) async fn close(writer: &mut Option<SqliteConnection>, readers: &RwLock<SqlitePool>) {
    let pool = readers.read().unwrap_or_else(PoisonError::into_inner).clone();
    pool.close().await;
    // An error leaves the WAL for the next start.
    if let Some(connection) = writer.take()
        && let Err(error) = connection.close().await
    {
        tracing::warn!(%error, "the store's connection did not close in order");
    }
}
