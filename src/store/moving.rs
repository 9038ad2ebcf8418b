//! Owns the move of a stopped instance from its SQLite files to PostgreSQL: every row of every table with its numbers,
//! in one transaction. A move that is cut off or finds a difference leaves the target as it was, so that it is simply
//! made again; no daemon ever sees half of one. It must never write to the source, but for the mark that it was moved, nor
//! touch a target that holds anything.

use std::fs::File;
use std::path::Path;

use super::beside::Depth;
use super::db::{Db, Row, Sql, Tx, Value};
use super::fault::{Fault, FaultKind, Result};
use super::migrations::{self, Set};
use super::open;
use super::{ids, log_days, moved, page, remains};
use crate::args;
use crate::base::clock::Clock;
use crate::base::{points, settings};

mod lines;
mod tables;

use lines::{Lines, Sum};
pub(super) use tables::statements;
pub use tables::{Home, TABLES, Table};

/// Rows that are in memory at once, and about how many bytes of them; of output, whose rows are large, fewer.
const ROWS_MAX: usize = 500;
const CHUNKS_MAX: usize = 32;
const BYTES_WANTED: usize = 2 * 1024 * 1024;
/// Rows of the first batch of a table, of which nothing is known yet.
const ROWS_FIRST: usize = 32;
/// How often somebody is told how far a large table is, in rows.
const TOLD_EVERY: u64 = 50_000;

/// Connections to the target: one would do, but for a look beside the transaction.
const CONNECTIONS: u32 = 2;

const EPOCH: Sql = Sql::both("SELECT value FROM meta WHERE name = 'epoch'", &[]);
const NEWEST_EVENT: Sql = Sql::both("SELECT coalesce(max(seq), 0) FROM events", &[]);

// What stands in the schema of the target: tables in all, and those that say that they are ours.
const TARGET_TABLES: Sql = Sql::each(
    "SELECT count(*), count(*) FILTER (WHERE name = 'migrations'), count(*) FILTER (WHERE name = 'meta')
     FROM sqlite_master WHERE type = 'table'",
    "SELECT count(*), count(*) FILTER (WHERE tablename = 'migrations'), count(*) FILTER (WHERE tablename = 'meta')
     FROM pg_tables WHERE schemaname = current_schema()",
    &[],
);

// A server may end long statements and transactions; ours is one long one. And it knows nothing of the tables yet: they
// are walked by their keys, never sorted for each batch. On SQLite these two are never run.
const TAKE_TIME: Sql = Sql::each(
    "SELECT 'statement_timeout'",
    "SELECT set_config(name, '0', TRUE) FROM pg_settings
     WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout',
                    'enable_sort')",
    &[],
);

// A daemon that starts now waits at its first look at the table, and finds a whole store.
const KEEP_OUT: Sql =
    Sql::each("SELECT value FROM meta WHERE FALSE", "LOCK TABLE meta IN ACCESS EXCLUSIVE MODE", &[]);

/// What a move did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The name of the store in cursors: the same on both sides.
    pub epoch: String,
    /// The number of the newest event.
    pub newest_event: i64,
    /// What was moved, table by table.
    pub tables: Vec<MovedTable>,
    /// Texts with U+0000, which PostgreSQL cannot hold; U+FFFD stands in its place now.
    pub mended_count: u64,
    /// Why the directory could not be marked as moved.
    pub unmarked: Option<String>,
}

/// One table, equal on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedTable {
    /// Its name.
    pub name: &'static str,
    /// Its rows.
    pub row_count: u64,
    /// The SHA-256 over all rows in the order of the key, as hex.
    pub sha256: String,
}

/// How far a move is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// So many of so many rows of a table were sent.
    Sent(&'static str, u64, u64),
    /// So many rows of a table were read back.
    ReadBack(&'static str, u64),
}

/// Moves the store of a data directory that no daemon uses into an empty PostgreSQL database.
pub async fn move_up(
    data_dir: &Path,
    url: &str,
    clock: &dyn Clock,
    told: &mut dyn FnMut(Progress),
) -> Result<Moved> {
    let source = Source::open(data_dir).await?;
    let moved = move_from(&source, (data_dir, url), clock, told).await;
    source.close().await;
    let mut moved = moved?;
    moved.unmarked = mark(data_dir, url).err().map(|fault| fault.to_string());
    Ok(moved)
}

/// From now on nobody takes the directory's files for the store by mistake.
fn mark(data_dir: &Path, url: &str) -> Result<()> {
    moved::mark(data_dir, &settings::without_password(url))
}

async fn move_from(
    source: &Source,
    (data_dir, url): (&Path, &str),
    clock: &dyn Clock,
    told: &mut dyn FnMut(Progress),
) -> Result<Moved> {
    let epoch: String = page::one(source.state.optional(&EPOCH, &[]).await?)?.get(0)?;
    let newest_event = page::one(source.state.optional(&NEWEST_EVENT, &[]).await?)?.get(0)?;
    let target = Db::open_postgres(url, CONNECTIONS).await?;
    let filled = async {
        refuse_filled(&target, &epoch).await.inspect_err(|filled| {
            // A move that died behind its commit could not say so.
            if filled.message.contains(SAME) {
                let _ = mark(data_dir, url);
            }
        })?;
        migrations::migrate_postgres(&target, clock.now()).await?;
        points::reach("move.begun");
        fill(source, &target, told).await
    };
    let filled = filled.await;
    if filled.is_ok() {
        // Until the server counts by itself it would plan for empty tables.
        let _ = target.run_script("ANALYZE".to_owned()).await;
    }
    target.close().await;
    let (tables, mended_count) = filled?;
    Ok(Moved { epoch, newest_event, tables, mended_count, unmarked: None })
}

/// What the target holds when the store was moved there before.
const SAME: &str = "holds this very store already";

/// Looks at the target before anything is made in it.
async fn refuse_filled(target: &Db, epoch: &str) -> Result<()> {
    let row = page::one(target.optional(&TARGET_TABLES, &[]).await?)?;
    let (all, ours, meta): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
    if all > 0 && ours == 0 {
        return Err(filled("holds tables of another program"));
    }
    let found = if meta > 0 { target.optional(&EPOCH, &[]).await? } else { None };
    match found.map(|row| row.get::<String>(0)).transpose()? {
        None => Ok(()),
        Some(found) if found == epoch => {
            Err(filled(&format!("{SAME}, so it was moved before; start a daemon on it. To move again")))
        }
        Some(_) => Err(filled("holds another store")),
    }
}

fn filled(what: &str) -> Fault {
    let message = format!("the database {what}: give an empty one; nothing was touched in it");
    Fault::new(FaultKind::Constraint, message)
}

/// Sends every table, reads it back, and keeps it when both sides are equal.
async fn fill(
    source: &Source,
    target: &Db,
    told: &mut dyn FnMut(Progress),
) -> Result<(Vec<MovedTable>, u64)> {
    let mut tx = target.begin().await?;
    tx.rows(&TAKE_TIME, &[]).await?;
    tx.execute(&KEEP_OUT, &[]).await?;
    for table in TABLES {
        if count(tx.optional(&table.count, &[]).await?)? > 0 {
            return Err(filled(&format!("holds rows in {}", table.name)));
        }
    }
    log_days::make_days_of(&source.logs, &mut tx).await?;
    let mut sent = Vec::new();
    for table in TABLES {
        sent.push(send(source, &mut tx, table, told).await.map_err(|fault| named(fault, table))?);
    }
    points::reach("move.sent");
    let mut tables = Vec::new();
    for (table, sum) in TABLES.iter().zip(&sent) {
        let back = read_back(&mut tx, table, told).await.map_err(|fault| named(fault, table))?;
        if (back.row_count, back.digest()) != (sum.row_count, sum.digest()) {
            let (rows, digest) = (sum.row_count, sum.digest());
            let message = format!(
                "{} is not the same on both sides: {rows} rows ({digest}) in the source, {} ({}) in PostgreSQL; \
                 nothing was kept",
                table.name,
                back.row_count,
                back.digest()
            );
            return Err(Fault::bug(message));
        }
        tables.push(MovedTable { name: table.name, row_count: sum.row_count, sha256: sum.digest() });
    }
    ids::continue_sequences(&mut tx).await?;
    points::reach("move.compared");
    tx.commit().await?;
    points::reach("move.committed");
    Ok((tables, sent.iter().map(|sum| sum.mended_count).sum()))
}

fn named(fault: Fault, table: &Table) -> Fault {
    Fault { message: format!("{}: {}", table.name, fault.message), ..fault }
}

async fn send(
    source: &Source,
    tx: &mut Tx,
    table: &'static Table,
    told: &mut dyn FnMut(Progress),
) -> Result<Sum> {
    let all = count(source.of(table.home).optional(&table.count, &[]).await?)?;
    let (mut sum, mut batches, mut next) = (Sum::default(), Batches::of(table), TOLD_EVERY);
    loop {
        let rows = source.of(table.home).rows(&table.read, &batches.arguments()).await?;
        let Some(lines) = batches.take(&rows)? else { break };
        sum.add(&lines);
        let taken = tx.copy_in(table.copy, lines.text).await?;
        if taken != lines.row_count {
            return Err(Fault::bug(format!("{} rows were sent, {taken} taken", lines.row_count)));
        }
        if sum.row_count >= next {
            told(Progress::Sent(table.name, sum.row_count, all));
            next += TOLD_EVERY;
        }
    }
    if sum.row_count != all {
        return Err(Fault::bug(format!("{all} rows are there, {} were read", sum.row_count)));
    }
    told(Progress::Sent(table.name, sum.row_count, all));
    Ok(sum)
}

async fn read_back(tx: &mut Tx, table: &'static Table, told: &mut dyn FnMut(Progress)) -> Result<Sum> {
    let (mut sum, mut batches, mut next) = (Sum::default(), Batches::of(table), TOLD_EVERY);
    loop {
        let rows = tx.rows(&table.read, &batches.arguments()).await?;
        let Some(lines) = batches.take(&rows)? else { break };
        sum.add(&lines);
        if sum.row_count >= next {
            told(Progress::ReadBack(table.name, sum.row_count));
            next += TOLD_EVERY;
        }
    }
    let all = count(tx.optional(&table.count, &[]).await?)?;
    if sum.row_count != all {
        return Err(Fault::bug(format!("{all} rows are in PostgreSQL, {} were read", sum.row_count)));
    }
    Ok(sum)
}

fn count(row: Option<Row>) -> Result<u64> {
    Ok(page::one(row)?.get::<i64>(0)?.unsigned_abs())
}

/// A walk over a table in the order of its key, in batches of bounded size.
struct Batches {
    table: &'static Table,
    after: Vec<Value>,
    row_count: usize,
}

impl Batches {
    fn of(table: &'static Table) -> Batches {
        Batches { table, after: table.start(), row_count: ROWS_FIRST }
    }

    fn arguments(&self) -> Vec<Value> {
        let limit = args![i64::try_from(self.row_count).unwrap_or(i64::MAX)];
        self.after.iter().cloned().chain(limit).collect()
    }

    /// The lines of the rows that came; nothing behind the last one.
    fn take(&mut self, rows: &[Row]) -> Result<Option<Lines>> {
        let Some(last) = rows.last() else { return Ok(None) };
        self.after = self.table.key_of(last)?;
        let lines = Lines::of(self.table, rows)?;
        let most = if self.table.has_bytes() { CHUNKS_MAX } else { ROWS_MAX };
        let fitting = BYTES_WANTED * rows.len() / lines.text.len().max(1);
        self.row_count = fitting.clamp(1, most);
        Ok(Some(lines))
    }
}

/// A data directory that stands still: its lock is ours, and its files are open for reading only.
struct Source {
    state: Db,
    logs: Db,
    _lock: File,
}

impl Source {
    async fn open(data_dir: &Path) -> Result<Source> {
        if !data_dir.is_dir() {
            let message = format!("{} is no directory", data_dir.display());
            return Err(Fault::new(FaultKind::Io, message));
        }
        remains::refuse_lost(data_dir)?;
        for name in ["beadle.db", "logs.db"] {
            if !data_dir.join(name).exists() {
                let message = format!("{} holds no {name}; {ONCE}", data_dir.display());
                return Err(Fault::new(FaultKind::Damaged, message));
            }
        }
        let lock = open::take_lock(data_dir).await?;
        open::refuse_unfinished(data_dir)?;
        let state = open_file(&data_dir.join("beadle.db"), &migrations::STATE_FILE).await?;
        match open_file(&data_dir.join("logs.db"), &migrations::LOGS_FILE).await {
            Ok(logs) => Ok(Source { state, logs, _lock: lock }),
            Err(fault) => {
                state.close().await;
                Err(fault)
            }
        }
    }

    fn of(&self, home: Home) -> &Db {
        match home {
            Home::State => &self.state,
            Home::Logs => &self.logs,
        }
    }

    async fn close(self) {
        self.logs.close().await;
        self.state.close().await;
    }
}

const ONCE: &str = "start this version once on the directory, stop it, and move then";

async fn open_file(path: &Path, set: &Set) -> Result<Db> {
    open::check_header(path).map_err(|fault| open::name_file(fault, path))?;
    let db = Db::open_beside(path).await?;
    if let Err(fault) = refuse_unfit(&db, set).await {
        db.close().await;
        return Err(open::name_file(fault, path));
    }
    Ok(db)
}

/// Refuses what is damaged, and what another version left.
async fn refuse_unfit(db: &Db, set: &Set) -> Result<()> {
    let unfit = |what: String| Err(Fault::new(FaultKind::Damaged, what));
    if let Some(found) = db.damage(Depth::Quick).await? {
        return unfit(format!("the database is damaged ({found})"));
    }
    let tables: i64 = page::one(db.optional(&open::SQLITE_TABLES, &[]).await?)?.get(0)?;
    if tables == 0 {
        return unfit(format!("no table is in it; {ONCE}"));
    }
    match migrations::unapplied(db, set).await?.first() {
        Some(missing) => {
            unfit(format!("an older Beadle wrote it (it lacks the migration {}); {ONCE}", missing.name))
        }
        None => Ok(()),
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&EPOCH, &NEWEST_EVENT, &TARGET_TABLES, &TAKE_TIME, &KEEP_OUT];
