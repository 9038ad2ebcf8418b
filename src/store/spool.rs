//! Owns the spool: a file beside the store that keeps what a store in trouble cannot take yet. Its room is taken
//! beforehand, so that a full disk has room for it; each record is on the disk before it counts, and is checked when
//! it is read. It must never lose a record that counted, nor give one to another store.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use sha2::{Digest as _, Sha256};

use super::fault::{Fault, FaultKind, Result};

/// Room that is taken when the spool is made.
const ROOM_BYTES: u64 = 1024 * 1024;
/// The spool never grows above this.
const SPOOL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How a spool begins; the store's epoch stands behind it.
const MAGIC: &[u8; 16] = b"BEADLE SPOOL 1\n\0";
const HEADER_BYTES: usize = 24;
/// Before a record stand its length and the beginning of its SHA-256. A length of zero ends the list.
const LENGTH_BYTES: usize = 4;
const SUM_BYTES: usize = 8;

/// How many records stand in a spool, read beside a daemon or without one; none when there is no file.
///
/// # Errors
/// When it cannot be read, or is no spool of ours.
pub fn waiting(path: &Path) -> Result<usize> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(cannot(path, "read", &error)),
    };
    let mut spool =
        Spool { path: path.to_owned(), epoch: 0, file, end: HEADER_BYTES as u64, records: Vec::new() };
    if spool.read_header()?.is_some() {
        spool.read_records()?;
    }
    Ok(spool.records.len())
}

/// An open spool. One task at a time has it.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    epoch: u32,
    file: File,
    /// Where the next record goes.
    end: u64,
    records: Vec<Vec<u8>>,
}

impl Spool {
    /// Opens the spool of a store, with what it holds, or makes it. One of another store is set aside.
    pub fn open(path: &Path, epoch: u32) -> Result<Spool> {
        let file = open(path)?;
        let mut spool =
            Spool { path: path.to_owned(), epoch, file, end: HEADER_BYTES as u64, records: Vec::new() };
        let header = spool.read_header()?;
        match header {
            Some(found) if found != epoch => {
                let aside = format!("{}.of-{found:08x}", path.display());
                std::fs::rename(path, &aside).map_err(|error| cannot(path, "set aside", &error))?;
                tracing::warn!("{} belongs to another store: it was set aside as {aside}", path.display());
                spool.file = open(path)?;
                spool.begin()?;
            }
            Some(_) => spool.read_records()?,
            None => spool.begin()?,
        }
        Ok(spool)
    }

    /// What it holds, oldest first.
    pub fn records(&self) -> &[Vec<u8>] {
        &self.records
    }

    /// Adds a record. When this answers well it is on the disk.
    pub fn append(&mut self, record: &[u8]) -> Result<()> {
        let is_there = self.file.metadata().is_ok_and(|about| about.nlink() > 0);
        if !is_there {
            // Somebody removed it: what it held goes into a new one.
            self.file = open(&self.path)?;
            self.begin()?;
            for old in std::mem::take(&mut self.records) {
                self.write(&old)?;
                self.records.push(old);
            }
        }
        self.write(record)?;
        self.records.push(record.to_vec());
        Ok(())
    }

    /// Forgets everything; the room stays taken.
    pub fn clear(&mut self) -> Result<()> {
        self.file
            .write_all_at(&[0; LENGTH_BYTES], HEADER_BYTES as u64)
            .and_then(|()| self.file.sync_data())
            .map_err(|error| cannot(&self.path, "written", &error))?;
        (self.end, self.records) = (HEADER_BYTES as u64, Vec::new());
        Ok(())
    }

    /// The epoch of the store that it belongs to; `None` when it was never begun.
    fn read_header(&self) -> Result<Option<u32>> {
        let mut header = [0; HEADER_BYTES];
        match self.file.read_exact_at(&mut header, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(cannot(&self.path, "read", &error)),
        }
        if header.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if !header.starts_with(MAGIC) {
            let message = format!("{} is no spool of ours; nothing was changed in it", self.path.display());
            return Err(Fault::new(FaultKind::Damaged, message));
        }
        Ok(Some(u32::from_le_bytes([header[16], header[17], header[18], header[19]])))
    }

    fn read_records(&mut self) -> Result<()> {
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut (&self.file), &mut text)
            .map_err(|error| cannot(&self.path, "read", &error))?;
        let mut at = HEADER_BYTES;
        while let Some(record) = record_at(&text, at) {
            self.records.push(record.to_vec());
            at += LENGTH_BYTES + SUM_BYTES + record.len();
        }
        self.end = at as u64;
        let is_cut = text.get(at..at + LENGTH_BYTES).is_some_and(|length| length != [0; LENGTH_BYTES]);
        if is_cut {
            // The daemon died while it wrote: that record was never counted.
            tracing::warn!(kept = self.records.len(), "{} ends in half a record", self.path.display());
        }
        Ok(())
    }

    /// Takes the room and writes the header.
    fn begin(&mut self) -> Result<()> {
        let room = match fallocate(&self.file, FallocateFlags::empty(), 0, ROOM_BYTES) {
            // Not every file system can promise room: zeros are next best.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                self.file.write_all_at(&vec![0; usize::try_from(ROOM_BYTES).unwrap_or_default()], 0)
            }
            other => other.map_err(Into::into),
        };
        if let Err(error) = room {
            tracing::warn!("no room could be taken for {}: {error}", self.path.display());
        }
        let mut header = MAGIC.to_vec();
        header.extend(self.epoch.to_le_bytes());
        header.extend([0; 4]);
        header.extend([0; LENGTH_BYTES]);
        self.end = HEADER_BYTES as u64;
        let directory = self.path.parent().map(File::open);
        self.file
            .write_all_at(&header, 0)
            .and_then(|()| self.file.sync_all())
            .and_then(|()| directory.map_or(Ok(()), |directory| directory?.sync_all()))
            .map_err(|error| cannot(&self.path, "written", &error))
    }

    /// Writes a record with the end behind it in one go: an older record there is not read again.
    fn write(&mut self, record: &[u8]) -> Result<()> {
        let length = u32::try_from(record.len()).map_err(|_| Fault::bug("a record is too long"))?;
        let size = (LENGTH_BYTES + SUM_BYTES + record.len()) as u64;
        if self.end + size > SPOOL_BYTES_MAX {
            return Err(Fault::new(FaultKind::Full, format!("{} is full", self.path.display())));
        }
        let mut bytes = Vec::with_capacity(record.len() + 2 * LENGTH_BYTES + SUM_BYTES);
        bytes.extend(length.to_le_bytes());
        bytes.extend(&Sha256::digest(record)[..SUM_BYTES]);
        bytes.extend(record);
        bytes.extend([0; LENGTH_BYTES]);
        self.file
            .write_all_at(&bytes, self.end)
            .and_then(|()| self.file.sync_data())
            .map_err(|error| cannot(&self.path, "written", &error))?;
        self.end += size;
        Ok(())
    }
}

fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map_err(|error| cannot(path, "opened", &error))
}

fn cannot(path: &Path, what: &str, error: &std::io::Error) -> Fault {
    Fault::new(FaultKind::Io, format!("{} cannot be {what}: {error}", path.display()))
}

/// The record that begins there, when it is whole.
fn record_at(text: &[u8], at: usize) -> Option<&[u8]> {
    let begin = at + LENGTH_BYTES + SUM_BYTES;
    let length: [u8; LENGTH_BYTES] = text.get(at..at + LENGTH_BYTES)?.try_into().ok()?;
    let length = usize::try_from(u32::from_le_bytes(length)).ok().filter(|length| *length > 0)?;
    let record = text.get(begin..begin.checked_add(length)?)?;
    (Sha256::digest(record)[..SUM_BYTES] == text[at + LENGTH_BYTES..begin]).then_some(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(spool: &Spool) -> Vec<&str> {
        spool.records().iter().map(|record| std::str::from_utf8(record).unwrap()).collect()
    }

    #[test]
    fn what_was_added_is_there_again_and_what_was_forgotten_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("spool");
        let mut spool = Spool::open(&path, 7).unwrap();
        assert!(std::fs::metadata(&path).unwrap().len() >= ROOM_BYTES, "its room is taken");
        for text in ["first", "second", "third"] {
            spool.append(text.as_bytes()).unwrap();
        }
        drop(spool);
        let mut spool = Spool::open(&path, 7).unwrap();
        assert_eq!(texts(&spool), ["first", "second", "third"]);
        spool.clear().unwrap();
        spool.append(b"fresh").unwrap();
        assert_eq!(texts(&Spool::open(&path, 7).unwrap()), ["fresh"], "not what stood behind it");
    }

    #[test]
    fn half_a_record_is_not_read_and_the_next_one_takes_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("spool");
        let mut spool = Spool::open(&path, 7).unwrap();
        spool.append(b"first").unwrap();
        let begin = spool.end;
        spool.append(b"second").unwrap();
        spool.file.write_all_at(b"X", begin + 14).unwrap();
        let mut spool = Spool::open(&path, 7).unwrap();
        assert_eq!(texts(&spool), ["first"]);
        spool.append(b"next").unwrap();
        assert_eq!(texts(&Spool::open(&path, 7).unwrap()), ["first", "next"]);
    }

    #[test]
    fn the_spool_of_another_store_is_set_aside_and_another_programs_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("spool");
        Spool::open(&path, 7).unwrap().append(b"mine").unwrap();
        assert!(Spool::open(&path, 8).unwrap().records().is_empty());
        let aside = directory.path().join("spool.of-00000007");
        assert_eq!(texts(&Spool::open(&aside, 7).unwrap()), ["mine"]);
        std::fs::write(&path, "a diary of somebody else, long enough").unwrap();
        let fault = Spool::open(&path, 8).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Damaged, "{fault}");
    }

    #[test]
    fn a_spool_that_was_removed_is_made_again_with_all_that_it_held() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("spool");
        let mut spool = Spool::open(&path, 7).unwrap();
        spool.append(b"first").unwrap();
        std::fs::remove_file(&path).unwrap();
        spool.append(b"second").unwrap();
        assert_eq!(texts(&Spool::open(&path, 7).unwrap()), ["first", "second"]);
    }
}
