//! Owns the watch over the files of an open database: whether those that we have open are still the ones with their
//! names, and how much room their disk has. It must never open one: closing it would drop SQLite's locks.

use std::path::{Path, PathBuf};

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
        Files { known: all.into_iter().filter_map(seen).collect() }
    }

    /// Moves the journal out of the way of a file that will be put in the place of ours: it would be taken for that
    /// one's. Only what is still ours is touched.
    pub fn set_journal_aside(&self, target: &Path) -> std::io::Result<()> {
        for (path, known) in self.known.iter().skip(1) {
            let name = path.display().to_string();
            match stat(path) {
                Ok(found) if identity(&found) == *known && name.ends_with("-wal") => {
                    std::fs::rename(path, format!("{}.old-wal", target.display()))?;
                }
                Ok(found) if identity(&found) == *known => std::fs::remove_file(path)?,
                _ => {}
            }
        }
        Ok(())
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
    fn a_disk_is_low_when_it_has_less_than_the_least_and_than_its_twentieth() {
        let directory = tempfile::tempdir().unwrap();
        assert!(is_low(directory.path(), 0, false).is_none());
        assert!(is_low(directory.path(), 1, true).is_none());
    }
}
