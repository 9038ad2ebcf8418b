//! Owns the opening of the store: the lock before everything, migrations, and refusals that overwrite nothing.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::beside::Depth;
use super::breaker::Breaker;
use super::care::Care;
use super::db::{Db, Kind, POSTGRES_CONNECTIONS, Sql};
use super::fault::{Fault, FaultKind, Result};
use super::files::Files;
use super::ids::{Ids, Numbered};
use super::logs::Logs;
use super::migrations::{LOGS_FILE, STATE_FILE, Set, migrate, migrate_postgres, pending};
use super::sharing::Sharing;
use super::upgrade::{self, Upgrade};
use super::writer::{self, Writer, WriterLoop};
use super::{Reader, log_days, moved, page, queues, remains};
use crate::args;
use crate::base::clock::{self, Clock, Timestamp};
use crate::base::points;
use crate::base::random::Random;
use crate::domain::queue::DEFAULT_QUEUE;

/// Marks our SQLite files: "BEAD".
pub(super) const APPLICATION_ID: i64 = 0x4245_4144;
/// Connections for the daemon's own reads: looks for work, and at tokens.
const OWN_READERS: usize = 2;
/// The same to PostgreSQL.
const OWN_READERS_BESIDE: u32 = 2;
/// How often, and how long apart, the lock of a data directory is tried for: half a second in all.
const LOCK_TRIES: usize = 25;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// A file up to this size is checked whole at each start; larger ones cost too much time.
const CHECKED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What every SQLite file begins with, and how long its header is.
const HEADER_MAGIC: &[u8] = b"SQLite format 3\0";
const HEADER_BYTES: u64 = 100;
const ANOTHER_PROGRAM: &str = "this is a database of another program";

/// Stands in a data directory while a restore puts the files in their places.
pub(super) const UNFINISHED: &str = "restore.unfinished";

const META: Sql = Sql::both("SELECT value FROM meta WHERE name = $1", &[Kind::Text]);
const PUT_META: Sql = Sql::both(
    "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
    &[Kind::Text, Kind::Text],
);
// These two speak to one engine only and are no statements over our tables.
pub(super) const SQLITE_APPLICATION_ID: Sql =
    Sql::both("SELECT application_id FROM pragma_application_id()", &[]);
pub(super) const SQLITE_TABLES: Sql = Sql::both("SELECT count(*) FROM sqlite_master", &[]);

/// The open store. Holds the lock for as long as it lives.
#[derive(Debug)]
pub struct Store {
    state: Arc<Db>,
    /// Reads the state for the daemon's own work.
    own: Arc<Db>,
    logs_db: Arc<Db>,
    logs: Logs,
    breaker: Breaker,
    /// Where the files lie; PostgreSQL has none of ours.
    directory: Option<PathBuf>,
    epoch: u32,
    newest: i64,
    lock: Option<File>,
}

impl Store {
    /// Opens the SQLite store of a data directory, making it when it is absent.
    pub async fn open_directory(directory: &Path, clock: &dyn Clock, random: &dyn Random) -> Result<Store> {
        Store::open_directory_after(directory, Upgrade::AfterBackup, clock, random).await
    }

    /// The same; `upgrade` says what comes before a migration of data.
    pub async fn open_directory_after(
        directory: &Path,
        upgrade: Upgrade,
        clock: &dyn Clock,
        random: &dyn Random,
    ) -> Result<Store> {
        make_directory(directory)?;
        let lock = take_lock(directory).await?;
        refuse_unfinished(directory)?;
        moved::refuse(directory)?;
        points::reach("start.locked");
        let (state_path, logs_path) = (directory.join("beadle.db"), directory.join("logs.db"));
        remains::refuse_lost(directory)?;
        for path in [&state_path, &logs_path] {
            check_header(path).map_err(|fault| name_file(fault, path))?;
        }
        let (state, logs) = open_files((&state_path, &logs_path), upgrade, clock.now()).await?;
        let own = match Db::open_readers(&state_path, OWN_READERS).await {
            Ok(own) => own,
            Err(fault) => {
                logs.close().await;
                state.close().await;
                return Err(fault);
            }
        };
        let state = (Arc::new(state), Arc::new(own));
        Store::finish(state, Arc::new(logs), Some((directory, lock)), clock, random).await
    }

    /// Opens a PostgreSQL database, which holds state and logs together.
    pub async fn open_postgres(url: &str, clock: &dyn Clock, random: &dyn Random) -> Result<Store> {
        Store::open_postgres_with(url, POSTGRES_CONNECTIONS, clock, random).await
    }

    /// The same with about so many connections.
    pub async fn open_postgres_with(
        url: &str,
        connections: u32,
        clock: &dyn Clock,
        random: &dyn Random,
    ) -> Result<Store> {
        let db = Db::open_postgres(url, connections).await?;
        migrate_postgres(&db, clock.now()).await?;
        let own =
            db.beside(OWN_READERS_BESIDE).ok_or_else(|| Fault::bug("PostgreSQL takes more connections"))?;
        let db = Arc::new(db);
        log_days::make_first(&db, clock.now()).await;
        Store::finish((db.clone(), Arc::new(own)), db, None, clock, random).await
    }

    /// The same for the daemon of a data directory, whose lock it takes first.
    pub async fn open_shared(
        directory: &Path,
        (url, connections): (&str, u32),
        clock: &dyn Clock,
        random: &dyn Random,
    ) -> Result<Store> {
        make_directory(directory)?;
        let lock = take_lock(directory).await?;
        points::reach("start.locked");
        let mut store = Store::open_postgres_with(url, connections, clock, random).await?;
        store.lock = Some(lock);
        Ok(store)
    }

    async fn finish(
        (state, own): (Arc<Db>, Arc<Db>),
        logs: Arc<Db>,
        place: Option<(&Path, File)>,
        clock: &dyn Clock,
        random: &dyn Random,
    ) -> Result<Store> {
        let epoch = begin_store(&state, clock.now(), random).await?;
        points::reach("start.epoch_drawn");
        let newest = Reader::new(state.clone(), epoch).newest_event().await?;
        let (directory, lock) = place.map(|(directory, lock)| (directory.to_owned(), lock)).unzip();
        let file = |name: &str| directory.as_ref().map(|directory| directory.join(name));
        let logs_db = logs;
        let logs = Logs::new(logs_db.clone(), file("logs.db").as_deref());
        let mut store = Store {
            state,
            own,
            logs_db,
            logs,
            breaker: Breaker::new(Files::default()),
            epoch,
            newest,
            directory: directory.clone(),
            lock,
        };
        // Looked at last: by now the journal is there too.
        store.breaker = Breaker::new(file("beadle.db").as_deref().map(Files::of).unwrap_or_default());
        Ok(store)
    }

    /// Reads the state.
    pub fn reader(&self) -> Reader {
        Reader::new(self.state.clone(), self.epoch)
    }

    /// Reads the state for the daemon's own work: it never waits for what clients read.
    pub fn own_reader(&self) -> Reader {
        Reader::new(self.own.clone(), self.epoch)
    }

    /// Reads and writes output.
    pub fn logs(&self) -> Logs {
        self.logs.clone()
    }

    /// What workers are to each other, where several may share the store.
    pub fn sharing(&self) -> Option<Sharing> {
        (self.state.engine() == "postgres").then(|| Sharing::new(self.own.clone()))
    }

    /// Both sides of the one writer. Call it once.
    pub fn writer(&self, clock: Arc<dyn Clock>) -> (Writer, WriterLoop) {
        writer::channel(self.state.clone(), clock, self.breaker.clone(), self.epoch, self.newest)
    }

    /// Looks after the files while the daemon runs.
    pub fn care(&self, clock: Arc<dyn Clock>) -> Care {
        let databases = (self.state.clone(), self.own.clone());
        Care::new(databases, self.own_reader(), self.breaker.clone(), self.directory.clone(), clock)
    }

    /// The databases, state and logs, for the test of all statements.
    pub fn databases(&self) -> (Arc<Db>, Arc<Db>) {
        (self.state.clone(), self.logs_db.clone())
    }

    /// Closes the files in order.
    pub async fn close(self) {
        self.own.close().await;
        self.logs_db.close().await;
        self.state.close().await;
    }
}

pub(super) fn make_directory(directory: &Path) -> Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|error| {
        Fault::new(
            FaultKind::Io,
            format!("the data directory {} cannot be made: {error}", directory.display()),
        )
    })
}

/// Takes the lock of a data directory, or says who holds it. The file is never removed: that would race.
pub(super) async fn take_lock(directory: &Path) -> Result<File> {
    let path = directory.join("beadle.lock");
    let cannot = |error: std::io::Error| {
        let directory = directory.display();
        Fault::new(FaultKind::Io, format!("the data directory {directory} cannot be written: {error}"))
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(cannot)?;
    if !lock_soon(&file).await {
        let mut owner = String::new();
        let _ = file.read_to_string(&mut owner);
        let owner = owner.trim();
        let owner = if owner.is_empty() { "another process".to_owned() } else { format!("process {owner}") };
        let directory = directory.display();
        let message = format!("the data directory {directory} is in use by {owner}; nothing was touched");
        return Err(Fault::new(FaultKind::Locked, message));
    }
    file.set_len(0).map_err(cannot)?;
    file.rewind().map_err(cannot)?;
    writeln!(file, "{}", std::process::id()).map_err(cannot)?;
    Ok(file)
}

pub(super) fn name_file(fault: Fault, path: &Path) -> Fault {
    Fault::new(fault.kind, format!("{}: {fault}; nothing was changed in it", path.display()))
}

/// Looks at a file before SQLite does: opening it would set its journal mode, whoever wrote it. Only here is
/// the file read past SQLite: nothing in this process has it open yet.
pub(super) fn check_header(path: &Path) -> Result<()> {
    let mut header = Vec::new();
    let cannot = |error: std::io::Error| Fault::new(FaultKind::Io, format!("it cannot be read: {error}"));
    match File::open(path) {
        Ok(file) => file.take(HEADER_BYTES).read_to_end(&mut header).map_err(cannot)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(cannot(error)),
    };
    if header.is_empty() {
        return Ok(());
    }
    let number = |at: usize| {
        header.get(at..at + 4).map(|bytes| bytes.iter().fold(0, |sum, byte| sum << 8 | i64::from(*byte)))
    };
    let (Some(schema), Some(application), true) = (number(40), number(68), header.starts_with(HEADER_MAGIC))
    else {
        return Err(Fault::new(FaultKind::Damaged, "this is no SQLite database"));
    };
    // A file in which no table was ever made is one that we began, or whose tables are still in its journal.
    if application == APPLICATION_ID || (application, schema) == (0, 0) {
        return Ok(());
    }
    Err(Fault::new(FaultKind::Damaged, ANOTHER_PROGRAM))
}

/// Tries for a moment: a process that a killed daemon was just starting holds the lock until its `exec`.
async fn lock_soon(file: &File) -> bool {
    for _ in 0..LOCK_TRIES {
        if flock(file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return true;
        }
        clock::sleep(LOCK_PAUSE).await;
    }
    false
}

/// A restore that was cut off may have taken the old files away already: a start would begin an empty store.
pub(super) fn refuse_unfinished(directory: &Path) -> Result<()> {
    if !directory.join(UNFINISHED).exists() {
        return Ok(());
    }
    let directory = directory.display();
    let message = format!(
        "a restore into {directory} was cut off; run `beadle restore` again. The files before it stand beside as \
         *.before-restore-*"
    );
    Err(Fault::new(FaultKind::Damaged, message))
}

/// Opens state and logs. Two new files wait for the disk together; what is there is opened in turn, so that nothing is
/// changed in the logs where the state is refused.
async fn open_files(paths: (&Path, &Path), upgrade: Upgrade, now: Timestamp) -> Result<(Db, Db)> {
    let state = open_file(paths.0, &STATE_FILE, upgrade, now);
    let logs = open_file(paths.1, &LOGS_FILE, upgrade, now);
    let (state, logs) = if paths.0.exists() || paths.1.exists() {
        let state = state.await?;
        points::reach("start.state_opened");
        (Ok(state), logs.await)
    } else {
        tokio::join!(state, logs)
    };
    match (state, logs) {
        (Ok(state), Ok(logs)) => Ok((state, logs)),
        (Err(fault), other) | (other, Err(fault)) => {
            if let Ok(opened) = other {
                opened.close().await;
            }
            Err(fault)
        }
    }
}

async fn open_file(path: &Path, set: &Set, upgrade: Upgrade, now: Timestamp) -> Result<Db> {
    let opened = Db::open_sqlite(path, set.durability, set.beginning(now)).await;
    let db = opened.map_err(|fault| name_file(fault, path))?;
    if let Err(fault) = ready(&db, path, set, upgrade, now).await {
        // Nothing of ours stays at work on a file that was refused, nor is anything changed in it.
        db.leave().await;
        return Err(name_file(fault, path));
    }
    Ok(db)
}

async fn ready(db: &Db, path: &Path, set: &Set, upgrade: Upgrade, now: Timestamp) -> Result<()> {
    check_file(db, path).await?;
    let pending = pending(db, set, now).await?;
    let holds_data = pending.len() < set.migrations.len();
    if let Some(first) = pending.first().filter(|_| holds_data && upgrade == Upgrade::AfterBackup) {
        let copy = upgrade::back_up(path, first.name, now).await?;
        tracing::info!("before the migration {} a copy was made: {}", first.name, copy.display());
    }
    migrate(db, &pending, now).await
}

async fn check_file(db: &Db, path: &Path) -> Result<()> {
    let application: i64 = page::one(db.optional(&SQLITE_APPLICATION_ID, &[]).await?)?.get(0)?;
    let tables: i64 = page::one(db.optional(&SQLITE_TABLES, &[]).await?)?.get(0)?;
    if tables == 0 {
        return Ok(());
    }
    if application != APPLICATION_ID {
        return Err(Fault::new(FaultKind::Damaged, ANOTHER_PROGRAM));
    }
    if std::fs::metadata(path).is_ok_and(|file| file.len() <= CHECKED_BYTES_MAX)
        && let Some(found) = db.damage(Depth::Quick).await?
    {
        return Err(Fault::new(FaultKind::Damaged, format!("the database is damaged ({found})")));
    }
    Ok(())
}

/// What a store has from its beginning: the default queue, and its name in cursors, which is drawn once. Gives the name.
async fn begin_store(db: &Db, now: Timestamp, random: &dyn Random) -> Result<u32> {
    let mut tx = db.begin().await?;
    tx.execute(&PUT_META, &args!["epoch", random.hex(4)]).await?;
    let row = page::one(tx.optional(&META, &args!["epoch"]).await?)?;
    let text: String = row.get(0)?;
    if tx.optional(&queues::ID_OF, &args![DEFAULT_QUEUE]).await?.is_none() {
        let id = Ids::default().draw_and_keep(&mut tx, Numbered::Queue).await?;
        let values = args![id, DEFAULT_QUEUE, None::<i64>, now.0, None::<i64>, None::<i64>];
        tx.execute(&queues::PUT, &values).await?;
        points::reach("start.default_queue");
    }
    tx.commit().await?;
    u32::from_str_radix(&text, 16).map_err(|_| Fault::unreadable("the epoch", &text))
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&META, &PUT_META];
