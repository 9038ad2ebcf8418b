//! Owns the backup of a data directory: one file that holds state and logs as they stood at one moment each.
//!
//! It is an uncompressed tar of `beadle.db`, `logs.db` and, last, `manifest.json`: any tool can look into it, what is
//! large in the logs is compressed already, and one that was cut off has no manifest. It must never copy a live file
//! and never touch the daemon's own connections: it reads beside them.

use std::fs::File;
use std::io::{Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::beside::{self, Depth, named, one_text, parent};
use super::db::{Db, Sql};
use super::fault::{Fault, FaultKind, Result};
use super::{doctor, migrations, moved, page};
use crate::base::clock::{Clock, Timestamp};
use crate::base::points;
use crate::base::random::hex;

/// The state's file, in a data directory and in a backup.
pub const STATE_NAME: &str = "beadle.db";
/// The logs' file, in a data directory and in a backup.
pub const LOGS_NAME: &str = "logs.db";
/// What the backup says of itself, behind the files.
pub const MANIFEST_NAME: &str = "manifest.json";
/// The form of the file that this version writes and reads.
pub const FORMAT: u32 = 1;

/// Bytes that are read and written at once.
const PIECE_BYTES: usize = 256 * 1024;

const EPOCH: Sql = Sql::both("SELECT value FROM meta WHERE name = 'epoch'", &[]);
const NEWEST_EVENT: Sql = Sql::both("SELECT coalesce(max(seq), 0) FROM events", &[]);

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of the file.
    pub format: u32,
    /// The Beadle that made it.
    pub version: String,
    /// When it was begun, RFC 3339.
    pub created_at: String,
    /// The data directory that it was made of.
    pub data_dir: PathBuf,
    /// The name of the store in cursors.
    pub epoch: String,
    /// The number of the newest event in it.
    pub newest_event: i64,
    /// The migrations of the state in it.
    pub migrations: Vec<String>,
    /// The files in it.
    pub files: Vec<Part>,
    /// What the check of the state found wrong; empty when all is well.
    pub findings: Vec<String>,
}

/// One file in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name in the backup.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, as hex.
    pub sha256: String,
}

/// What goes into a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// State and logs.
    All,
    /// The state alone: what the jobs wrote is left out.
    WithoutLogs,
}

/// What happens to a file of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It is kept, and the backup refused.
    Kept,
    /// The backup takes its place, once it is whole.
    Replaced,
}

/// Backs a data directory up into `file`, be a daemon at work on it or not.
pub async fn back_up(
    data_dir: &Path,
    file: &Path,
    (content, existing): (Content, Existing),
    clock: &dyn Clock,
) -> Result<Manifest> {
    if existing == Existing::Kept && file.exists() {
        let message = format!("{} is there already; choose another name, or give --force", file.display());
        return Err(Fault::new(FaultKind::Constraint, message));
    }
    moved::refuse(data_dir)?;
    let drafts = Drafts::begin(file)?;
    let made = write(data_dir, &drafts, content, clock.now()).await;
    let finished = made.and_then(|manifest| drafts.publish(file, existing).map(|()| manifest));
    drafts.clear();
    finished
}

async fn write(data_dir: &Path, drafts: &Drafts, content: Content, now: Timestamp) -> Result<Manifest> {
    let draft = drafts.path(Drafts::ARCHIVE);
    let mut archive = tar::Builder::new(beside::create_private(&draft)?);
    let mut manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        created_at: now.to_string(),
        data_dir: std::fs::canonicalize(data_dir).unwrap_or_else(|_| data_dir.to_path_buf()),
        epoch: String::new(),
        newest_event: 0,
        migrations: Vec::new(),
        files: Vec::new(),
        findings: Vec::new(),
    };
    // The state first: what the logs have of later attempts says nothing, and their numbers are never given again.
    let names = if content == Content::All { &[STATE_NAME, LOGS_NAME][..] } else { &[STATE_NAME] };
    for name in names {
        let live = data_dir.join(name);
        if *name == LOGS_NAME && !live.exists() {
            continue;
        }
        let copy = drafts.path(name);
        beside::copy(&live, &copy, Depth::Full).await?;
        if *name == STATE_NAME {
            describe(&copy, &mut manifest).await?;
        }
        manifest.files.push(pack(&mut archive, name, &copy, now)?);
        // What is packed need not lie twice on a disk that may be short.
        std::fs::remove_file(&copy).map_err(|error| beside::io("removed", &copy, &error))?;
    }
    let text = serde_json::to_vec_pretty(&manifest).expect("a manifest is plain data");
    let cannot = |error: std::io::Error| beside::io("written", &draft, &error);
    archive.append_data(&mut head(text.len() as u64, now), MANIFEST_NAME, text.as_slice()).map_err(cannot)?;
    let file = archive.into_inner().map_err(cannot)?;
    file.sync_all().map_err(cannot)?;
    points::reach("backup.written");
    Ok(manifest)
}

/// What the copy of the state says of itself, and what is wrong with it.
async fn describe(copy: &Path, manifest: &mut Manifest) -> Result<()> {
    let db = Db::open_beside(copy).await?;
    let described = async {
        manifest.epoch = one_text(&db, &EPOCH).await?;
        manifest.newest_event = page::one(db.optional(&NEWEST_EVENT, &[]).await?)?.get(0)?;
        manifest.migrations = migrations::applied_migrations(&db).await?;
        // An older store is copied as it is: the rules are those of this version's tables.
        if migrations::unapplied(&db, &migrations::STATE_FILE).await?.is_empty() {
            let found = doctor::broken_rules(&db).await?;
            manifest.findings = found.into_iter().map(|rule| rule.to_string()).collect();
        }
        Ok(())
    };
    let described = described.await;
    db.close().await;
    described.map_err(|fault: Fault| named(fault, copy))
}

fn head(bytes: u64, now: Timestamp) -> tar::Header {
    let mut head = tar::Header::new_gnu();
    head.set_size(bytes);
    head.set_mode(0o600);
    head.set_mtime(now.0.unsigned_abs() / 1_000_000);
    head
}

fn pack(archive: &mut tar::Builder<File>, name: &str, copy: &Path, now: Timestamp) -> Result<Part> {
    let cannot = |error: std::io::Error| beside::io("packed", copy, &error);
    let file = File::open(copy).map_err(cannot)?;
    let bytes = file.metadata().map_err(cannot)?.len();
    let mut hashed = Hashed { inner: file.take(bytes), sum: Sha256::new() };
    archive.append_data(&mut head(bytes, now), name, &mut hashed).map_err(cannot)?;
    Ok(Part { name: name.to_owned(), bytes, sha256: hashed.finish() })
}

/// A reader that sums up what it gives.
struct Hashed<R> {
    inner: R,
    sum: Sha256,
}

impl<R> Hashed<R> {
    fn finish(self) -> String {
        hex(&self.sum.finalize())
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.sum.update(&buffer[..count]);
        Ok(count)
    }
}

/// Writes everything that `from` gives into the new file `to` and presses it to the disk; its size and SHA-256.
pub(super) fn unpack(from: impl Read, to: &Path) -> Result<(u64, String)> {
    let cannot = |error: std::io::Error| beside::io("written", to, &error);
    let mut file = beside::create_private(to)?;
    let mut hashed = Hashed { inner: from, sum: Sha256::new() };
    let (mut buffer, mut bytes) = (vec![0; PIECE_BYTES], 0);
    loop {
        let count = hashed.read(&mut buffer).map_err(cannot)?;
        if count == 0 {
            break;
        }
        file.write_all(&buffer[..count]).map_err(cannot)?;
        bytes += count as u64;
    }
    file.sync_all().map_err(cannot)?;
    Ok((bytes, hashed.finish()))
}

/// A directory beside the backup for what is not whole yet. One backup at a time to a name: it holds a lock.
struct Drafts {
    directory: PathBuf,
    _lock: File,
}

impl Drafts {
    const ARCHIVE: &str = "archive.tar";

    fn begin(file: &Path) -> Result<Drafts> {
        let name = file
            .file_name()
            .ok_or_else(|| Fault::new(FaultKind::Io, format!("{} is no name for a file", file.display())))?;
        let mut name = name.to_os_string();
        name.push(".draft");
        let directory = parent(file).join(name);
        let cannot = |error: std::io::Error| beside::io("made", &directory, &error);
        match std::fs::DirBuilder::new().mode(0o700).create(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(cannot(error)),
            _ => {}
        }
        let lock = File::options()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
            .open(&directory)
            .map_err(cannot)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let message = format!("another backup writes to {} at this moment", file.display());
            return Err(Fault::new(FaultKind::Locked, message));
        }
        // In a directory that others may write to, one that was made for us by somebody else is a trap.
        let about = lock.metadata().map_err(cannot)?;
        if about.uid() != rustix::process::geteuid().as_raw() || about.mode() & 0o077 != 0 {
            let message = format!("{} is there and not ours alone; remove it", directory.display());
            return Err(Fault::new(FaultKind::Io, message));
        }
        let drafts = Drafts { directory, _lock: lock };
        // What one that was cut off left behind.
        drafts.empty();
        Ok(drafts)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn empty(&self) {
        for name in [STATE_NAME, LOGS_NAME, Drafts::ARCHIVE] {
            // What cannot be removed is refused when it is made.
            let _ = std::fs::remove_file(self.path(name));
        }
    }

    /// Gives the whole backup its name.
    fn publish(&self, file: &Path, existing: Existing) -> Result<()> {
        let archive = self.path(Drafts::ARCHIVE);
        let cannot = |error: std::io::Error| beside::io("written", file, &error);
        if existing == Existing::Kept {
            // A link refuses a name that was taken meanwhile; a rename would replace it.
            std::fs::hard_link(&archive, file).map_err(cannot)?;
            std::fs::remove_file(&archive).map_err(cannot)?;
        } else {
            std::fs::rename(&archive, file).map_err(cannot)?;
        }
        points::reach("backup.published");
        beside::sync_directory(&parent(file))
    }

    fn clear(&self) {
        self.empty();
        let _ = std::fs::remove_dir(&self.directory);
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&EPOCH, &NEWEST_EVENT];
