//! Owns the care for the log store: output that cannot be kept is refused at once, and the store is brought back by
//! itself. Output is worth less than jobs: a log file that is gone or broken makes room for a new one, but none is
//! ever overwritten.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use super::beside::Depth;
use super::db::Db;
use super::fault::{Certainty, Fault, FaultKind, Result};
use super::files::Files;
use super::logs::Logs;
use super::migrations;
use crate::base::clock::Timestamp;

/// What stands in the way of output.
#[derive(Debug)]
pub(super) struct LogGuard {
    /// The file; PostgreSQL has none of ours.
    path: Option<PathBuf>,
    files: Mutex<Files>,
    shown: watch::Sender<Option<Fault>>,
    /// The disk is nearly full: output stops before the state does.
    pause: watch::Sender<Option<Fault>>,
}

impl LogGuard {
    /// Nothing stands in the way yet.
    pub(super) fn new(path: Option<&Path>) -> LogGuard {
        LogGuard {
            path: path.map(Path::to_owned),
            files: Mutex::new(path.map(Files::of).unwrap_or_default()),
            shown: watch::Sender::new(None),
            pause: watch::Sender::new(None),
        }
    }

    fn trouble(&self) -> Option<Fault> {
        self.shown.borrow().clone().or_else(|| self.pause.borrow().clone())
    }

    /// Refuses before anything is tried, so that output does not wait for a store that fails.
    pub(super) fn admit(&self) -> Result<()> {
        self.trouble().map_or(Ok(()), Err)
    }

    /// The same of ends alone. They take hardly any room, and only a log that has ended can make some: a disk that is
    /// nearly full takes them.
    pub(super) fn admit_ends(&self) -> Result<()> {
        self.shown.borrow().clone().map_or(Ok(()), Err)
    }

    /// How a write went.
    pub(super) fn note(&self, result: &Result<()>) {
        if let Err(fault) = result
            && (fault.is_of_the_store() || fault.certainty == Certainty::Unknown)
        {
            self.shown.send_replace(Some(fault.clone()));
        }
    }

    fn files(&self) -> std::sync::MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Logs {
    /// Why output is not kept, while that is so.
    pub fn trouble(&self) -> Option<Fault> {
        self.guard.trouble()
    }

    /// Looks at the file; and keeps no output while the disk is low.
    pub fn look(&self, low_room: Option<Fault>) {
        if let Some(fault) = self.guard.files().trouble() {
            self.guard.shown.send_replace(Some(fault));
        } else if self.db.is_doubted() && self.guard.shown.borrow().is_none() {
            // A reader met damage: whether there is any shows when it is looked at.
            let fault = Fault::new(FaultKind::Damaged, "the log store seems to be damaged");
            self.guard.shown.send_replace(Some(fault));
        }
        self.guard.pause.send_replace(low_room);
    }

    /// Tries to bring the log store back. A file that is gone, or another one, is opened anew; one that is damaged is
    /// set aside; everything else ends with a write that succeeds.
    pub async fn heal(&self, now: Timestamp) -> Result<()> {
        let Some(fault) = self.guard.shown.borrow().clone() else { return Ok(()) };
        match (fault.kind, &self.guard.path) {
            (FaultKind::Replaced, Some(path)) => self.renew(path, now, || Ok(())).await?,
            (FaultKind::Damaged, Some(path)) if self.is_damaged().await => {
                self.renew(path, now, || set_aside(path, now)).await?;
            }
            _ => self.db.run_script(probe(&self.db)).await?,
        }
        self.guard.shown.send_replace(None);
        Ok(())
    }

    async fn renew(&self, path: &Path, now: Timestamp, meanwhile: impl FnOnce() -> Result<()>) -> Result<()> {
        self.db.reopen(meanwhile).await?;
        migrations::migrate_logs(&self.db, now).await?;
        *self.guard.files() = Files::of(path);
        tracing::warn!("{} was opened anew: earlier output may be missing", path.display());
        Ok(())
    }

    async fn is_damaged(&self) -> bool {
        self.db.damage(Depth::Quick).await.is_ok_and(|found| found.is_some())
    }
}

/// A write that changes nothing.
fn probe(db: &Db) -> String {
    if db.engine() == "sqlite" { "PRAGMA user_version = 0" } else { "SELECT 1" }.to_owned()
}

/// Renames the file with its journal, which belongs to it.
fn set_aside(path: &Path, now: Timestamp) -> Result<()> {
    let aside = format!("{}.damaged-{}", path.display(), now.micros() / 1_000_000);
    for ending in ["", "-wal"] {
        let (from, to) = (format!("{}{ending}", path.display()), format!("{aside}{ending}"));
        match std::fs::rename(&from, &to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Fault::new(FaultKind::Io, format!("{from} cannot be set aside: {error}")));
            }
            _ => {}
        }
    }
    tracing::error!("{} is damaged: it was set aside as {aside}", path.display());
    Ok(())
}
