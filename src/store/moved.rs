//! Owns the mark of a data directory whose store was moved to PostgreSQL: its files are of the past from then on, and so
//! would be a daemon on them, or a backup of them. It never looks into the files.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::beside;
use super::fault::{Fault, FaultKind, Result};

const MARK: &str = "moved";

/// Marks a directory whose store is whole in `database`, which is named without a password.
pub(super) fn mark(data_dir: &Path, database: &str) -> Result<()> {
    let path = data_dir.join(MARK);
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
    let written = made.and_then(|mut file| {
        writeln!(file, "{database}")?;
        file.sync_all()
    });
    written.map_err(|error| beside::io("written", &path, &error))?;
    beside::sync_directory(data_dir)
}

/// Where the store of a directory was moved to.
pub fn moved_to(data_dir: &Path) -> Option<String> {
    std::fs::read_to_string(data_dir.join(MARK)).ok().map(|text| text.trim().to_owned())
}

/// Refuses to go on with the files of a store that was moved.
pub(super) fn refuse(data_dir: &Path) -> Result<()> {
    let Some(database) = moved_to(data_dir) else { return Ok(()) };
    let (directory, mark) = (data_dir.display(), data_dir.join(MARK));
    let message = format!(
        "the store in {directory} was moved to {database}, and what is left here is of the past: give `--database`, or remove \
         {} to go on with it as it was before the move",
        mark.display()
    );
    Err(Fault::new(FaultKind::Constraint, message))
}

/// The directory holds a store of its own again.
pub(super) fn forget(data_dir: &Path) -> Result<()> {
    let path = data_dir.join(MARK);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(beside::io("removed", &path, &error))
        }
        _ => Ok(()),
    }
}
