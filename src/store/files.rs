//! Owns the watch over the files of an open database: whether those that we have open are still the ones with their
//! names, and how much room their disk has. It must never open one: closing it would drop SQLite's locks.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Stat, stat};
use rustix::io::Errno;

use super::fault::{Fault, FaultKind};
use super::sizes::{Room, room};

/// A small disk keeps this part of itself free, however much the setting asks for.
const FREE_PART: u64 = 20;
/// Room counts as enough again only when there is this much more than the least, in per cent.
const ENOUGH_PERCENT: u64 = 125;

/// The files of one database as they were when it was opened.
#[derive(Debug, Clone, Default)]
pub struct Files {
    known: Vec<(PathBuf, (u64, u64))>,
    /// What tells the database from every other file, in the name of its journal when that is set aside.
    mark: String,
    /// Beside which file the journal was set, while it is not in its place.
    aside: Arc<Mutex<Option<PathBuf>>>,
}

impl Files {
    /// The database of this path with its journal, as they are now.
    pub fn of(path: &Path) -> Files {
        let beside = |ending: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        let all = [path.to_owned(), beside("-wal"), beside("-shm")];
        let seen = |path: PathBuf| stat(&path).ok().map(|found| (path, identity(&found)));
        let mark = mark(path).unwrap_or_default();
        Files { known: all.into_iter().filter_map(seen).collect(), mark, aside: Arc::default() }
    }

    /// Moves the journal out of the way of a file that will be put in the place of ours: it would be taken for that
    /// one's. It is set beside `target`, with our file's mark in its name. Only what is still ours is touched.
    pub fn set_journal_aside(&self, target: &Path) -> std::io::Result<()> {
        let mut aside = self.aside();
        for (path, known) in self.known.iter().skip(1) {
            if is_there(path, *known) {
                std::fs::rename(path, self.beside(target, path))?;
            }
        }
        *aside = Some(target.to_owned());
        Ok(())
    }

    /// Puts the journal that was set aside in its place again, once our file is back in its own. Gives what it had been
    /// set beside.
    pub fn take_journal_back(&self) -> std::io::Result<Option<PathBuf>> {
        let mut aside = self.aside();
        let Some(target) = aside.clone() else { return Ok(None) };
        if !self.known.first().is_some_and(|(path, known)| is_there(path, *known)) {
            return Ok(None);
        }
        for (path, known) in self.known.iter().skip(1) {
            let from = self.beside(&target, path);
            // Whatever stands in its place now is not ours to remove.
            if is_there(&from, *known) && stat(path).is_err_and(|error| error == Errno::NOENT) {
                std::fs::rename(from, path)?;
            }
        }
        if self.trouble().is_some() {
            return Ok(None);
        }
        *aside = None;
        Ok(Some(target))
    }

    fn beside(&self, target: &Path, path: &Path) -> PathBuf {
        let ending = if path.as_os_str().as_encoded_bytes().ends_with(b"-wal") { "-wal" } else { "-shm" };
        PathBuf::from(format!("{}{}{ending}", target.display(), old_of(&self.mark)))
    }

    fn aside(&self) -> MutexGuard<'_, Option<PathBuf>> {
        self.aside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has become of them: nothing, when they are where they were.
    pub fn trouble(&self) -> Option<Fault> {
        self.known.iter().find_map(|(path, known)| {
            let found = stat(path);
            let path = path.display();
            let what = match found {
                Ok(found) if identity(&found) == *known => return None,
                Ok(_) => "was replaced by another file",
                Err(Errno::NOENT | Errno::NOTDIR) => "was removed or renamed",
                Err(error) => {
                    return Some(Fault::new(FaultKind::Io, format!("{path} cannot be looked at: {error}")));
                }
            };
            Some(Fault::new(FaultKind::Replaced, format!("{path} {what} while the daemon had it open")))
        })
    }
}

/// Before the ending of a journal that was set aside: the mark of the file that it belongs to.
fn old_of(mark: &str) -> String {
    format!(".of-{mark}.old")
}

/// The number of a file and when it was made: numbers are used again. Nothing where the system does not tell.
fn mark(path: &Path) -> Option<String> {
    let found = std::fs::metadata(path).ok()?;
    let made = found.created().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(format!("{}-{}", found.ino(), made.as_nanos()))
}

/// How the name of a journal ends that belongs to this file and was set aside.
pub fn journal_of(path: &Path) -> Option<String> {
    mark(path).map(|mark| format!("{}-wal", old_of(&mark)))
}

fn is_there(path: &Path, known: (u64, u64)) -> bool {
    stat(path).is_ok_and(|found| identity(&found) == known)
}

fn identity(found: &Stat) -> (u64, u64) {
    (found.st_dev, found.st_ino)
}

/// Whether the disk of a directory has less room than it shall keep. `was_low`: what the last look said.
pub fn is_low(directory: &Path, free_bytes_min: u64, was_low: bool) -> Option<Fault> {
    let Room { free_bytes: free, size_bytes } = room(directory).ok()?;
    let least = free_bytes_min.min(size_bytes / FREE_PART);
    let enough = if was_low { least * ENOUGH_PERCENT / 100 } else { least };
    (free < enough).then(|| {
        let message = format!("the disk of {} has {free} bytes left, under {least}", directory.display());
        Fault::new(FaultKind::Full, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_gone_or_another_one_is_seen_and_one_that_comes_back_is_good() {
        let directory = tempfile::tempdir().unwrap();
        let (path, aside) = (directory.path().join("a.db"), directory.path().join("aside"));
        std::fs::write(&path, "x").unwrap();
        let files = Files::of(&path);
        assert!(files.trouble().is_none());
        std::fs::rename(&path, &aside).unwrap();
        assert!(files.trouble().unwrap().message.contains("removed or renamed"));
        std::fs::write(&path, "y").unwrap();
        let fault = files.trouble().unwrap();
        assert!(fault.kind == FaultKind::Replaced && fault.message.contains("another file"), "{fault}");
        std::fs::rename(&aside, &path).unwrap();
        assert!(files.trouble().is_none());
    }

    #[test]
    fn a_journal_that_was_set_aside_comes_back_with_its_file_and_not_before() {
        let directory = tempfile::tempdir().unwrap();
        let [path, wal, away, copy] =
            ["a.db", "a.db-wal", "away", "copy"].map(|name| directory.path().join(name));
        for (file, text) in [(&path, "x"), (&wal, "journal")] {
            std::fs::write(file, text).unwrap();
        }
        let files = Files::of(&path);
        let ending = journal_of(&path).unwrap();
        std::fs::rename(&path, &away).unwrap();
        files.set_journal_aside(&copy).unwrap();
        assert!(!wal.exists() && directory.path().join(format!("copy{ending}")).exists());
        assert_eq!(files.take_journal_back().unwrap(), None);
        std::fs::write(&path, "another").unwrap();
        assert_eq!(files.take_journal_back().unwrap(), None, "it belongs to ours only");
        std::fs::rename(&away, &path).unwrap();
        std::fs::write(&wal, "of somebody").unwrap();
        assert_eq!(files.take_journal_back().unwrap(), None, "the place is taken");
        std::fs::remove_file(&wal).unwrap();
        assert_eq!(files.take_journal_back().unwrap(), Some(copy));
        assert_eq!(std::fs::read_to_string(&wal).unwrap(), "journal");
        assert!(files.trouble().is_none() && files.take_journal_back().unwrap().is_none());
    }

    #[test]
    fn a_disk_is_low_when_it_has_less_than_the_least_and_than_its_twentieth() {
        let directory = tempfile::tempdir().unwrap();
        assert!(is_low(directory.path(), 0, false).is_none());
        assert!(is_low(directory.path(), 1, true).is_none());
    }
}
