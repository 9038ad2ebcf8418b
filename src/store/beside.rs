//! Owns connections beside the daemon's own: they read a file that another process may be writing, and copy it.
//! They must never write to it, and never checkpoint it when they close: that is the daemon's.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::db::{Db, Kind, Sql};
use super::fault::{Fault, FaultKind, Result};
use super::open::check_header;
use super::page;
use crate::args;

const COPY: Sql = Sql::each(
    "VACUUM INTO $1",
    // Never run on PostgreSQL, which has its own tools; it stands here so that both can be prepared.
    "SELECT CAST($1 AS TEXT)",
    &[Kind::Text],
);

const CHECK_QUICKLY: Sql = Sql::each("PRAGMA quick_check(3)", "SELECT 'ok'", &[]);
const CHECK_WHOLLY: Sql = Sql::each("PRAGMA integrity_check(3)", "SELECT 'ok'", &[]);

/// How closely a file is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Its pages.
    Quick,
    /// Its pages, and every index against its table.
    Full,
}

impl Db {
    /// Opens a SQLite file for reading only. The connection cannot write, so it never checkpoints: closing it
    /// beside a daemon, or where none runs, leaves file and journal as they are.
    pub async fn open_beside(path: &Path) -> Result<Db> {
        Db::open_readers(path, 1).await.map_err(|fault| named(fault, path))
    }

    /// Whether the file is whole: nothing, or what SQLite finds.
    pub async fn damage(&self, depth: Depth) -> Result<Option<String>> {
        let check = if depth == Depth::Full { &CHECK_WHOLLY } else { &CHECK_QUICKLY };
        let found: Vec<String> = match self.rows(check, &[]).await {
            Ok(rows) => rows.iter().map(|row| row.get(0)).collect::<Result<_>>()?,
            Err(fault) if fault.kind == FaultKind::Damaged => vec![fault.message],
            Err(fault) => return Err(fault),
        };
        Ok(if found == ["ok"] { None } else { Some(found.join("; ").replace('\n', ": ")) })
    }
}

/// A file with its name and a reason.
pub(super) fn named(fault: Fault, path: &Path) -> Fault {
    Fault::new(fault.kind, format!("{}: {}", path.display(), fault.message))
}

/// Trouble with a file that is not a database.
pub(super) fn io(what: &str, path: &Path, error: &std::io::Error) -> Fault {
    let kind = if error.kind() == std::io::ErrorKind::StorageFull { FaultKind::Full } else { FaultKind::Io };
    Fault::new(kind, format!("{} cannot be {what}: {error}", path.display()))
}

/// Copies the SQLite file `from`, as it stands at one moment, into the new file `to`, checks the copy and presses it
/// to the disk. A daemon may be writing to `from`; it is never held up. What failed leaves nothing behind.
pub(super) async fn copy(from: &Path, to: &Path, depth: Depth) -> Result<()> {
    let made = fill(from, to, depth).await;
    if made.is_err() {
        let _ = std::fs::remove_file(to);
    }
    made
}

async fn fill(from: &Path, to: &Path, depth: Depth) -> Result<()> {
    let target = to.to_str().ok_or_else(|| {
        Fault::new(FaultKind::Io, format!("{}: the name of a copy must be UTF-8", to.display()))
    })?;
    // Made by us, so that nobody else can read it from its first byte on; SQLite fills an empty file.
    create_private(to)?;
    let source = Db::open_beside(from).await?;
    let copied = source.rows(&COPY, &args![target]).await;
    source.close().await;
    copied.map_err(|fault| named(fault, to))?;
    prove(from, to, depth).await
}

/// Checks the copy `to` of `from` and presses it to the disk.
pub(super) async fn prove(from: &Path, to: &Path, depth: Depth) -> Result<()> {
    // The copy is looked at, never the live file: a close of ours would take the locks of this process from it.
    check_header(to).map_err(|fault| named(fault, from))?;
    let copy = Db::open_beside(to).await?;
    let damage = copy.damage(depth).await;
    copy.close().await;
    if let Some(damage) = damage? {
        return Err(Fault::new(FaultKind::Damaged, format!("{} is damaged: {damage}", from.display())));
    }
    // Nothing in this process has the copy open any more.
    File::open(to).and_then(|file| file.sync_all()).map_err(|error| io("pressed to the disk", to, &error))
}

/// Makes a file that must not be there yet, for its owner only.
pub(super) fn create_private(path: &Path) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| io("made", path, &error))
}

/// Presses the names in a directory to the disk.
pub(super) fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| io("pressed to the disk", directory, &error))
}

/// The directory that a file stands in.
pub(super) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// One text of a statement that always gives one.
pub(super) async fn one_text(db: &Db, sql: &Sql) -> Result<String> {
    page::one(db.optional(sql, &[]).await?)?.get(0)
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&COPY, &CHECK_QUICKLY, &CHECK_WHOLLY];
