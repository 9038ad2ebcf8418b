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

/// Bytes that are left to us where the files are.
pub fn free_bytes(data_dir: &Path) -> Option<u64> {
    let room = rustix::fs::statvfs(data_dir).ok()?;
    Some(room.f_bavail.saturating_mul(room.f_frsize))
}

/// Bytes of each file that is there.
pub fn sizes(data_dir: &Path) -> impl Iterator<Item = (&'static str, u64)> {
    let size = |name: &str| std::fs::metadata(data_dir.join(name)).ok().map(|file| file.len());
    FILES.into_iter().filter_map(move |(what, name)| Some((what, size(name)?)))
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&SIZE];
