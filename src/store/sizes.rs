//! Owns how large the store's files are, and what is left for them. It asks the file system and never opens them: to
//! open and close a live database file of our own would let go of its locks.

use std::path::Path;

use super::db::Sql;
use super::fault::Result;
use super::{Reader, page};

const SIZE: Sql = Sql::each(
    "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "SELECT pg_database_size(current_database())",
    &[],
);

/// The files and what each is called.
const FILES: [(&str, &str); 4] = [
    ("state", "beadle.db"),
    ("state_wal", "beadle.db-wal"),
    ("logs", "logs.db"),
    ("logs_wal", "logs.db-wal"),
];

impl Reader {
    /// Bytes that the state takes on disk.
    pub async fn size_bytes(&self) -> Result<i64> {
        page::one(self.db.optional(&SIZE, &[]).await?)?.get(0)
    }
}

/// The disk that the files are on.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Bytes that are left to us.
    pub free_bytes: u64,
    /// Bytes of all of it.
    pub size_bytes: u64,
}

/// How much room there is where the files are.
pub fn room(data_dir: &Path) -> std::io::Result<Room> {
    let disk = rustix::fs::statvfs(data_dir)?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    Ok(Room { free_bytes: bytes(disk.f_bavail), size_bytes: bytes(disk.f_blocks) })
}

/// Bytes of each file that is there.
pub fn sizes(data_dir: &Path) -> impl Iterator<Item = (&'static str, u64)> {
    let size = |name: &str| std::fs::metadata(data_dir.join(name)).ok().map(|file| file.len());
    FILES.into_iter().filter_map(move |(what, name)| Some((what, size(name)?)))
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&SIZE];
