//! Owns what happens before a file with data is migrated: it is copied into `backups`, where the newest copies stay.
//! A start that cannot copy does not migrate, unless it was told to go without.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::beside::{self, Depth, parent};
use super::fault::{Fault, Result};
use crate::base::clock::Timestamp;
use crate::base::points;

/// The directory of the copies, in the data directory.
pub const BACKUPS: &str = "backups";
/// How the names of copies of the log store begin.
const LOGS_START: &str = "logs-before-";
/// Copies of each file that stay.
pub const KEPT_COPIES: usize = 3;

/// What a start does before it migrates a file that holds data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrade {
    /// It copies the file, and refuses to go on when it cannot.
    AfterBackup,
    /// It migrates at once.
    WithoutBackup,
}

/// Copies the file before `migration` is applied to it. Gives the copy's path.
pub(super) async fn back_up(path: &Path, migration: &str, now: Timestamp) -> Result<PathBuf> {
    let made = try_back_up(path, migration, now).await;
    made.map_err(|fault| {
        let message = format!(
            "the copy that is made before the migration {migration} failed ({fault}); nothing was migrated. Make \
             room, or start with --no-backup (`no_backup`), which migrates without a copy"
        );
        Fault::new(fault.kind, message)
    })
}

async fn try_back_up(path: &Path, migration: &str, now: Timestamp) -> Result<PathBuf> {
    let backups = parent(path).join(BACKUPS);
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&backups)
        .map_err(|error| beside::io("made", &backups, &error))?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    // `state/0003_incidents` without what the file's own name says already.
    let migration = migration.rsplit('/').next().unwrap_or(migration);
    let name = format!("{stem}-before-{migration}-{}.db", file_time(now));
    let (copy, draft) = (backups.join(&name), backups.join(format!("{stem}.draft")));
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(beside::io("removed", &draft, &error));
        }
        _ => {}
    }
    beside::copy(path, &draft, Depth::Quick).await?;
    points::reach("upgrade.copied");
    std::fs::rename(&draft, &copy).map_err(|error| beside::io("renamed", &draft, &error))?;
    beside::sync_directory(&backups)?;
    points::reach("upgrade.backed");
    // Copies too many are no reason to stop a start: `forget_surplus` says what is left of them.
    let _ = forget_old(&backups, &format!("{stem}-before-"));
    Ok(copy)
}

/// An instant as it stands in a file's name: in the order of time, and without a colon.
pub(super) fn file_time(at: Timestamp) -> String {
    at.to_chrono().format("%Y%m%dT%H%M%SZ").to_string()
}

/// Removes all but the newest copies of each file in a data directory.
///
/// # Errors
/// When some cannot be removed: how many, and why.
pub fn forget_surplus(data_dir: &Path) -> Result<()> {
    let backups = data_dir.join(BACKUPS);
    if !backups.exists() {
        return Ok(());
    }
    let starts = ["beadle-before-", LOGS_START];
    starts.map(|start| forget_old(&backups, start)).into_iter().collect()
}

/// The copies of the log store in a data directory, the newest first.
pub(super) fn copies_of_logs(data_dir: &Path) -> Result<Vec<PathBuf>> {
    let backups = data_dir.join(BACKUPS);
    if !backups.exists() {
        return Ok(Vec::new());
    }
    Ok(copies(&backups, LOGS_START)?.into_iter().rev().collect())
}

/// The copies whose names begin so, the oldest first.
fn copies(backups: &Path, start: &str) -> Result<Vec<PathBuf>> {
    let unreadable = |error: std::io::Error| beside::io("read", backups, &error);
    let mut copies = Vec::new();
    for entry in std::fs::read_dir(backups).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(time) = name.strip_prefix(start).and_then(|rest| rest.rsplit('-').next()) {
            copies.push((time.to_owned(), path));
        }
    }
    copies.sort();
    Ok(copies.into_iter().map(|(_, path)| path).collect())
}

/// Removes all but the newest copies whose names begin so.
fn forget_old(backups: &Path, start: &str) -> Result<()> {
    let copies = copies(backups, start)?;
    let surplus = copies.len().saturating_sub(KEPT_COPIES);
    let remove = |path: PathBuf| std::fs::remove_file(&path).err().map(|error| (path, error));
    let left: Vec<_> = copies.into_iter().take(surplus).filter_map(remove).collect();
    let Some((path, error)) = left.first() else { return Ok(()) };
    let fault = beside::io("removed", path, error);
    Err(Fault::new(fault.kind, format!("{} copies too many are kept: {fault}", left.len())))
}
