//! Owns what is done to a data directory from outside a daemon: backup, restore, the move to PostgreSQL, and the doctor's
//! look. It works on the files, so it needs no daemon, no token and no port, and a daemon that runs is not asked.

use std::future::Future;
use std::path::{Path, PathBuf};

pub use super::doctor::{Check, Level};
pub use crate::store::backup::{Content, Existing, Manifest};
pub use crate::store::beside::Depth;
pub use crate::store::moving::{Moved, Progress};
pub use crate::store::restore::Restored;

use super::doctor;
use crate::base::clock::SystemClock;
use crate::base::random::SystemRandom;
use crate::store::{Fault, backup, moving, restore};

/// Backs the data directory up into one file.
///
/// # Errors
/// In one sentence; then there is no file of that name that was not there before.
pub fn back_up(data_dir: &Path, file: &Path, choice: (Content, Existing)) -> Result<Manifest, String> {
    block_on(backup::back_up(data_dir, file, choice, &SystemClock))
}

/// Puts a backup's files into the data directory.
///
/// # Errors
/// In one sentence; unless it says otherwise nothing that stood there was moved.
pub fn restore(file: &Path, data_dir: &Path, existing: Existing) -> Result<Restored, String> {
    block_on(restore::restore(file, data_dir, existing, (&SystemClock, &SystemRandom)))
}

/// Moves the store of a data directory into an empty PostgreSQL database; `told` hears how far it is.
///
/// # Errors
/// In one sentence; then this call left nothing in the database, and the directory is as it was. Only where the store is
/// there already, from a move before, the directory is marked as moved.
pub fn move_up(data_dir: &Path, url: &str, mut told: impl FnMut(Progress)) -> Result<Moved, String> {
    block_on(moving::move_up(data_dir, url, &SystemClock, &mut told))
}

/// Looks at everything in the data directory. `settings` says how reading the settings went.
///
/// # Errors
/// In one sentence, when nothing could be looked at.
pub fn examine(
    data_dir: &Path,
    depth: Depth,
    settings: Result<PathBuf, String>,
) -> Result<Vec<Check>, String> {
    block_on(async { Ok(doctor::examine(data_dir, depth, settings, &SystemClock).await) })
}

fn block_on<T>(work: impl Future<Output = Result<T, Fault>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime could be started: {error}"))?;
    runtime.block_on(work).map_err(|fault| fault.to_string())
}
