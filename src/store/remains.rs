//! Owns the look for remains of a store that was taken away from a daemon: a start must not hide the loss by a new store,
//! nor by one without its journal. It must never move or remove anything.

use std::path::Path;

use super::care::RESCUED;
use super::fault::{Fault, FaultKind, Result};
use super::files::journal_of;

/// A store whose file is gone while its remains are there was taken away: a new one in its place would hide that.
pub(super) fn refuse_lost(directory: &Path) -> Result<()> {
    let path = directory.join("beadle.db");
    let cannot = |error: std::io::Error| {
        Fault::new(FaultKind::Io, format!("{} cannot be read: {error}", directory.display()))
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(cannot)? {
        names.push(entry.map_err(cannot)?.file_name().to_string_lossy().into_owned());
    }
    if path.exists() {
        return refuse_halved(&path, &names);
    }
    let is_remains = |name: &&String| is_rescued(name) || *name == "beadle.db-wal";
    let Some(remains) = names.iter().filter(is_remains).max() else { return Ok(()) };
    let message = format!(
        "{} is gone, but {remains} is there: put the store back (rename a rescued one to beadle.db), or move {remains} \
         away to begin a new one",
        path.display()
    );
    Err(Fault::new(FaultKind::Replaced, message))
}

fn is_rescued(name: &str) -> bool {
    name.starts_with(RESCUED) && !name.ends_with("-wal") && !name.ends_with("-shm")
}

/// A store that was put back only after its daemon had ended, without the journal that was set aside when its content was
/// saved: it lacks what was acknowledged last.
fn refuse_halved(path: &Path, names: &[String]) -> Result<()> {
    if names.iter().any(|name| name == "beadle.db-wal") {
        return Ok(());
    }
    let ending = journal_of(path);
    let is_its = |name: &&String| ending.as_ref().is_some_and(|ending| name.ends_with(ending));
    let Some(journal) = names.iter().filter(|name| name.starts_with(RESCUED)).find(is_its) else {
        return Ok(());
    };
    let file = path.display();
    let message = format!(
        "{file} was put back without its journal, which is {journal}: rename that one to beadle.db-wal, or put the \
         rescued copy in the place of {file}, and move {journal} away"
    );
    Err(Fault::new(FaultKind::Replaced, message))
}
