//! Owns the connections of one SQLite file: how they are opened, closed, and opened anew when the file has changed
//! under them. It must never open the file past SQLite: closing any descriptor of it drops all its locks.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::Mutex;

use super::hand::Hand;
use super::readers::{Readers, SHRINK};
use super::transaction::{Held, Transaction};
use super::write_back::{self, WriteBack};
use super::{ACQUIRE_TIMEOUT, Db, Durability, Row, STATEMENT_CACHE, Value};
use crate::base::points;
use crate::store::beside;
use crate::store::fault::{Fault, FaultKind, Result};

/// Readers of one SQLite file. Each costs a thread and a page cache. One more than the queries that one token runs at once
/// (half of `web`'s turns): a slow statement for each of them leaves one to the others.
const READERS: usize = 5;
/// How long a change of state waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for output, which has a job waiting behind it and may be dropped.
const BUSY_TIMEOUT_LOGS: Duration = Duration::from_secs(1);
/// How long a reader waits for the file's lock; only a recovery or a close of the daemon holds it, for a moment.
const READER_PATIENCE: Duration = Duration::from_secs(10);

/// How pages are given back: chosen once, before the journal's mode and the first table. On a file that exists it would
/// write a transaction at each connect.
const GIVES_BACK: (&str, &str) = ("auto_vacuum", "incremental");

/// A SQLite file: one writer's connection and some readers.
#[derive(Debug)]
pub struct SqliteFile {
    opening: Opening,
    /// The writer's connection, while no transaction holds it.
    writer: Arc<Mutex<Option<Connection>>>,
    /// The other connections. All are open from the beginning: on a full disk none can be opened.
    beside: RwLock<Arc<Beside>>,
    hand: Hand,
    /// Whether a statement found the file damaged since somebody last looked.
    is_doubted: AtomicBool,
}

/// The connections beside the writer's.
#[derive(Debug)]
pub(super) struct Beside {
    /// Those that cannot write.
    readers: Readers,
    /// The one that writes the journal back; nothing where nobody writes.
    pub(super) write_back: Option<WriteBack>,
}

/// What becomes of the journal of a file that is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Journal {
    WrittenBack,
    Left,
}

/// How the connections of a file are opened.
#[derive(Debug, Clone)]
struct Opening {
    path: PathBuf,
    access: OpenFlags,
    patience: Duration,
    pragmas: Vec<(&'static str, &'static str)>,
}

impl Db {
    /// Opens a SQLite file. One that is absent is made, with what the script `beginning` puts into it.
    pub async fn open_sqlite(path: &Path, durability: Durability, beginning: String) -> Result<Db> {
        let opening = Opening::of_owner(path, durability);
        let hand = Hand::start()?;
        let own = opening.clone();
        let (writer, beside) = hand.ask(move || own.open_all(&beginning)).await??;
        Ok(Db::Sqlite(SqliteFile::new(opening, Some(writer), beside, hand)))
    }

    /// Opens connections that can only read, so that they never write the journal back: those of a look beside the daemon
    /// that has the file, and those for the daemon's own work, which never waits for what clients read.
    pub(in crate::store) async fn open_readers(path: &Path, count: usize) -> Result<Db> {
        let opening = Opening {
            access: OpenFlags::SQLITE_OPEN_READ_ONLY,
            patience: READER_PATIENCE,
            ..Opening::careful(path)
        };
        let hand = Hand::start()?;
        let own = opening.clone();
        let readers = hand.ask(move || own.open_readers(count, READER_PATIENCE)).await??;
        Ok(Db::Sqlite(SqliteFile::new(opening, None, Beside { readers, write_back: None }, hand)))
    }

    /// Whether a statement found the file damaged since the last call.
    pub(in crate::store) fn is_doubted(&self) -> bool {
        match self {
            Db::Sqlite(file) => file.is_doubted.swap(false, Ordering::Relaxed),
            Db::Postgres(_) => false,
        }
    }

    /// Closes every connection of the file, lets `meanwhile` do what must not see one, and opens whatever bears the
    /// file's name then. Who reads meanwhile waits.
    pub(in crate::store) async fn reopen(&self, meanwhile: impl FnOnce() -> Result<()>) -> Result<()> {
        let Db::Sqlite(file) = self else { return Ok(()) };
        let mut slot = file.writer.lock().await;
        file.close_all(&mut slot, Journal::WrittenBack).await;
        meanwhile()?;
        let opening = file.opening.clone();
        let (connection, beside) = file.hand.ask(move || opening.open_all("")).await??;
        *slot = Some(connection);
        *file.beside.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(beside);
        Ok(())
    }

    /// Writes what stands in the journal into the file, as far as no reader needs it where it is: only then does a file
    /// that has given pages back get smaller.
    pub(in crate::store) async fn write_back(&self) -> Result<()> {
        let Db::Sqlite(file) = self else { return Ok(()) };
        file.run_alone("PRAGMA wal_checkpoint(PASSIVE)".to_owned()).await.map(drop)
    }

    /// Lets go of the pages that its connections keep in memory, as far as none of them is at work. They are read again
    /// when they are wanted.
    pub(in crate::store) async fn forget_pages(&self) {
        let Db::Sqlite(file) = self else { return };
        if let Err(fault) = file.run_alone(SHRINK.to_owned()).await {
            tracing::warn!("the writer's pages stay in memory: {fault}");
        }
        self.forget_read_pages().await;
    }

    /// The same of the connections for reading alone.
    pub(in crate::store) async fn forget_read_pages(&self) {
        if let Db::Sqlite(file) = self {
            file.beside().readers.shrink().await;
        }
    }

    /// Writes all that the open connection sees, be its file gone from the directory, into a new file.
    pub(in crate::store) async fn save_copy(&self, path: &Path) -> Result<()> {
        let Db::Sqlite(file) = self else { return Ok(()) };
        let target = path.display().to_string().replace('\'', "''");
        if file.run_alone(format!("VACUUM INTO '{target}'")).await? {
            return Ok(());
        }
        Err(Fault::bug("no connection to the lost file is left"))
    }
}

impl SqliteFile {
    fn new(opening: Opening, writer: Option<Connection>, beside: Beside, hand: Hand) -> SqliteFile {
        let (writer, beside) = (Arc::new(Mutex::new(writer)), RwLock::new(Arc::new(beside)));
        SqliteFile { opening, writer, beside, hand, is_doubted: AtomicBool::new(false) }
    }

    pub(super) async fn rows(&self, text: &'static str, values: &[Value]) -> Result<Vec<Row>> {
        let mut rows = self.beside().readers.rows(text, values).await;
        if rows.as_ref().is_err_and(|fault| fault.kind == FaultKind::Stopping) {
            // Who opens the file anew holds the writer's place meanwhile.
            drop(self.writer.lock().await);
            rows = self.beside().readers.rows(text, values).await;
        }
        if rows.as_ref().is_err_and(|fault| fault.kind == FaultKind::Damaged) {
            self.is_doubted.store(true, Ordering::Relaxed);
        }
        rows
    }

    /// Takes the writer's connection out of its slot, or opens a new one.
    pub(super) async fn begin(&self) -> Result<Transaction> {
        let mut slot = Arc::clone(&self.writer).lock_owned().await;
        let connection = if let Some(connection) = slot.take() {
            connection
        } else {
            let opening = self.opening.clone();
            self.hand.ask(move || opening.open()).await??
        };
        Transaction::begin(Held { connection, slot }, self.hand.clone(), self.beside()).await
    }

    /// Runs a statement on the writer's connection outside of any transaction; false where there is none.
    async fn run_alone(&self, text: String) -> Result<bool> {
        let mut slot = Arc::clone(&self.writer).lock_owned().await;
        let work = move || slot.as_mut().map(|connection| connection.execute_batch(&text)).transpose();
        Ok(self.hand.ask(work).await??.is_some())
    }

    /// The columns of a statement, prepared on a connection of its own.
    pub(super) async fn columns(&self, text: &'static str) -> Result<Vec<String>> {
        let opening = self.opening.clone();
        let work = move || {
            let connection = opening.open()?;
            let prepared = connection.prepare(text)?;
            Ok(prepared.column_names().into_iter().map(str::to_owned).collect())
        };
        self.hand.ask(work).await?
    }

    pub(super) async fn close(&self) {
        let mut slot = self.writer.lock().await;
        self.close_all(&mut slot, Journal::WrittenBack).await;
    }

    /// The same of a file that was refused: nothing is changed in it, and its journal stays.
    pub(super) async fn leave(&self) {
        let mut slot = self.writer.lock().await;
        self.close_all(&mut slot, Journal::Left).await;
    }

    /// Closes the connections in order, the writer's last.
    async fn close_all(&self, slot: &mut Option<Connection>, journal: Journal) {
        let beside = self.beside();
        beside.readers.close().await;
        if let Some(write_back) = &beside.write_back {
            write_back.close().await;
        }
        let Some(connection) = slot.take() else { return };
        let close = move || {
            let is_left = journal == Journal::Left;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, is_left)?;
            connection.close().map_err(|(_, error)| Fault::from(error))
        };
        let closed = self.hand.ask(close).await;
        // An error leaves the WAL for the next start.
        if let Err(error) | Ok(Err(error)) = closed {
            tracing::warn!(%error, "the store's connection did not close in order");
        }
    }

    fn beside(&self) -> Arc<Beside> {
        Arc::clone(&self.beside.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Opening {
    /// What every connection is told: nothing is mapped, for a fault of the disk would be a signal; nothing goes to files
    /// of its own; and a damaged file is not trusted.
    fn careful(path: &Path) -> Opening {
        let pragmas = vec![
            ("foreign_keys", "on"),
            ("mmap_size", "0"),
            ("temp_store", "memory"),
            ("trusted_schema", "off"),
            ("cell_size_check", "on"),
        ];
        // Made by `open_all` only: a connection that is opened later must never make an empty file in the place of a lost
        // one.
        let access = OpenFlags::SQLITE_OPEN_READ_WRITE;
        Opening { path: path.to_owned(), access, patience: BUSY_TIMEOUT, pragmas }
    }

    fn of_owner(path: &Path, durability: Durability) -> Opening {
        let (synchronous, patience) = match durability {
            Durability::Full => ("full", BUSY_TIMEOUT),
            Durability::Normal => ("normal", BUSY_TIMEOUT_LOGS),
        };
        let mut opening = Opening { patience, ..Opening::careful(path) };
        opening.pragmas.extend([
            ("journal_mode", "wal"),
            ("synchronous", synchronous),
            ("journal_size_limit", "67108864"),
            ("cache_size", "-8000"),
        ]);
        opening
    }

    fn open(&self) -> Result<Connection> {
        // One thread at a time has a connection, and no two share a cache.
        let flags = self.access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(self.patience)?;
        // Otherwise a statement whose LIMIT is an argument is planned anew each time it runs.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        // Only a close in order writes the journal back: a file that is refused stays as it is.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
        let mut told = String::new();
        for (name, value) in &self.pragmas {
            let _ = write!(told, "PRAGMA {name} = {value}; ");
        }
        connection.execute_batch(&told)?;
        write_back::take_over(&connection);
        Ok(connection)
    }

    /// The writer's connection and all others; of a file that is made here behind the script `beginning`.
    fn open_all(&self, beginning: &str) -> Result<(Connection, Beside)> {
        self.make(beginning)?;
        let mut first = self.clone();
        if std::fs::metadata(&self.path).map_or(0, |file| file.len()) == 0 {
            // Somebody put an empty file there, or a link to where none is yet: it is made where it stands.
            first.access |= OpenFlags::SQLITE_OPEN_CREATE;
            first.pragmas.insert(0, GIVES_BACK);
        }
        let writer = first.open()?;
        let mut reading = self.clone();
        reading.pragmas.extend([("query_only", "on"), ("cache_size", "-4000")]);
        let readers = reading.open_readers(READERS, ACQUIRE_TIMEOUT)?;
        Ok((writer, Beside { readers, write_back: Some(WriteBack::start(self.open()?)?) }))
    }

    /// Makes the file where nothing bears its name, whole or not at all. For its first page, the journal's mode and the
    /// tables SQLite would wait for the disk ten times, one after the other; here it is twice.
    fn make(&self, beginning: &str) -> Result<()> {
        if std::fs::symlink_metadata(&self.path).is_ok() {
            return Ok(());
        }
        let named = |ending: &str| {
            let mut name = self.path.clone().into_os_string();
            name.push(ending);
            PathBuf::from(name)
        };
        let remove = |path: &Path| match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(beside::io("removed", path, &error))
            }
            _ => Ok(()),
        };
        let draft = named(".draft");
        remove(&draft)?;
        let drafting = Opening {
            path: draft.clone(),
            access: self.access | OpenFlags::SQLITE_OPEN_CREATE,
            pragmas: vec![("synchronous", "off"), GIVES_BACK, ("journal_mode", "memory")],
            ..self.clone()
        };
        let connection = drafting.open()?;
        // Into the file itself: what a close writes back out of a journal may fail without a word.
        connection.execute_batch(&format!("BEGIN;{beginning}COMMIT;PRAGMA journal_mode = wal"))?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        connection.close().map_err(|(_, error)| Fault::from(error))?;
        let cannot = |error: std::io::Error| beside::io("made", &draft, &error);
        // SQLite has no descriptor of it open now.
        std::fs::File::open(&draft).and_then(|file| file.sync_all()).map_err(cannot)?;
        points::reach("file.drafted");
        // The journal of a file that was taken away would be played into the new one.
        for ending in ["-wal", "-journal"] {
            remove(&named(ending))?;
        }
        std::fs::rename(&draft, &self.path).map_err(cannot)?;
        beside::sync_directory(&beside::parent(&self.path))
    }

    fn open_readers(&self, count: usize, patience: Duration) -> Result<Readers> {
        let connections: Result<Vec<Connection>> = (0..count).map(|_| self.open()).collect();
        Readers::start(connections?, patience)
    }
}
