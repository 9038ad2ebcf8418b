//! Owns the care for an open store: looks at its files and its disk, checks it, and saves what it can of one whose
//! file was taken away. It must never write into a file that it doubts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Reader;
use super::beside::{self, Depth, create_private, sync_directory};
use super::breaker::Breaker;
use super::db::Db;
use super::fault::{Fault, FaultKind, Result};
use super::files;
use crate::base::clock::{Clock, Timestamp};
use crate::base::points;

/// A background check takes at most this part of the time: the next one waits so many times as long as it took.
const REST_FACTOR: u32 = 500;
/// And at least this long.
const REST_MIN: Duration = Duration::from_mins(10);

/// Looks after one open store.
#[derive(Debug, Clone)]
pub struct Care {
    db: Arc<Db>,
    /// The connections for the daemon's own reads.
    own: Arc<Db>,
    breaker: Breaker,
    reader: Reader,
    /// Where the files lie; PostgreSQL has none of ours.
    directory: Option<PathBuf>,
    clock: Arc<dyn Clock>,
}

impl Care {
    /// Over the state and its breaker.
    pub(super) fn new(
        (db, own): (Arc<Db>, Arc<Db>),
        reader: Reader,
        breaker: Breaker,
        directory: Option<PathBuf>,
        clock: Arc<dyn Clock>,
    ) -> Care {
        Care { db, own, breaker, reader, directory, clock }
    }

    /// Looks at files and disk; what is wrong shows at the breaker. Gives what is wrong with the files.
    pub fn look(&self, free_bytes_min: u64) -> Option<Fault> {
        if let Some(directory) = &self.directory {
            let was_low = self.breaker.low_room().is_some();
            self.breaker.set_low_room(files::is_low(directory, free_bytes_min, was_low));
        }
        match self.breaker.files().take_journal_back() {
            Ok(None) => {}
            Ok(Some(copy)) => {
                tracing::warn!("the store is back with its journal: {} is of no more use", copy.display());
            }
            Err(error) => tracing::error!("the journal of the store cannot be put back: {error}"),
        }
        self.breaker.look_at_files()
    }

    /// Lets go of the pages that are kept in memory.
    pub async fn forget_pages(&self) {
        self.db.forget_pages().await;
        self.own.forget_pages().await;
    }

    /// Why no new jobs are taken, while everything else is.
    pub fn low_room(&self) -> Option<Fault> {
        self.breaker.low_room()
    }

    /// Whether the last check found damage.
    pub fn is_damaged(&self) -> bool {
        self.breaker.is_damaged()
    }

    /// Whether a statement met damage since the last call: then a check is due.
    pub fn is_doubted(&self) -> bool {
        // Both are asked, for asking forgets.
        self.db.is_doubted() | self.own.is_doubted()
    }

    /// Reads the whole store and sees whether it hangs together, and whether the event with the number `newest`, which
    /// was acknowledged, is in it. Gives how long to wait before the next such check, which keeps its cost small.
    pub async fn check(&self, newest: i64) -> Result<Duration> {
        let began = self.clock.monotonic();
        let verdict = self.verdict(newest).await;
        // Who read all of it keeps the last of it.
        self.db.forget_read_pages().await;
        match verdict {
            Ok(damage) => {
                if let Some(damage) = &damage {
                    tracing::error!("{damage}");
                }
                self.breaker.set_damage(damage);
            }
            // It could not be read to its end: what was known stays, unless it says itself that it is damaged.
            Err(fault) if fault.kind == FaultKind::Damaged => {
                self.breaker.set_damage(Some(self.damaged(&fault)));
            }
            Err(fault) => return Err(fault),
        }
        Ok((self.clock.monotonic().duration_since(began) * REST_FACTOR).max(REST_MIN))
    }

    async fn verdict(&self, newest: i64) -> Result<Option<Fault>> {
        if let Some(found) = self.db.damage(Depth::Quick).await? {
            return Ok(Some(self.damaged(&found)));
        }
        let kept = self.reader.newest_event().await?;
        Ok((kept < newest).then(|| {
            self.damaged(&format!("event {newest} was acknowledged, but the newest that it holds is {kept}"))
        }))
    }

    fn damaged(&self, what: &dyn std::fmt::Display) -> Fault {
        let file = self.directory.as_deref().unwrap_or(Path::new("")).join("beadle.db");
        let message = format!(
            "{} is damaged ({what}); stop the daemon, see `beadle doctor` and restore a backup",
            file.display()
        );
        Fault::new(FaultKind::Damaged, message)
    }

    /// Saves what the daemon still sees of a store whose file was taken away, as a new file beside where it was. It has
    /// its name only once it is whole and on the disk.
    pub async fn rescue(&self, now: Timestamp) -> Result<Option<PathBuf>> {
        let Some(directory) = &self.directory else { return Ok(None) };
        let draft = directory.join(DRAFT);
        let _ = std::fs::remove_file(&draft);
        let path = directory.join(format!("{RESCUED}{}", now.micros() / 1_000_000));
        let saved = self.save(&draft, &path).await;
        if saved.is_err() {
            let _ = std::fs::remove_file(&draft);
        }
        saved?;
        // What is open stays open: only its name is another, until the file is put back.
        if let Err(error) = self.breaker.files().set_journal_aside(&path) {
            tracing::error!("the journal of the lost store could not be set aside: {error}");
        }
        Ok(Some(path))
    }

    async fn save(&self, draft: &Path, path: &Path) -> Result<()> {
        points::pass("rescue.save").map_err(|why| Fault::new(FaultKind::Io, why))?;
        create_private(draft)?;
        self.db.save_copy(draft).await?;
        beside::prove(path, draft, Depth::Full).await?;
        std::fs::rename(draft, path).map_err(|error| beside::io("named", path, &error))?;
        sync_directory(&beside::parent(path))
    }
}

/// How the name of a rescued store begins.
pub(super) const RESCUED: &str = "beadle.db.rescued-";
/// Its name before it is whole.
const DRAFT: &str = "beadle.db.rescue-draft";
