//! Owns the table that the SQL floors share: as wide as a real queue's, with partial indexes. It must stay without
//! anything that only Beadle needs.

use std::path::Path;

use rusqlite::Connection;

/// Fifteen columns, five indexes beside the key.
pub const TABLE: &str = "
CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER NOT NULL PRIMARY KEY, uid TEXT NOT NULL, queue TEXT NOT NULL, state INTEGER NOT NULL,
    priority INTEGER NOT NULL, run_at INTEGER NOT NULL, created_at INTEGER NOT NULL, started_at INTEGER,
    finished_at INTEGER, lease_until INTEGER, attempt INTEGER NOT NULL, attempts_max INTEGER NOT NULL,
    dedupe_key TEXT, arguments TEXT NOT NULL, outcome TEXT
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS jobs_uid ON jobs (uid);
CREATE INDEX IF NOT EXISTS jobs_ready ON jobs (queue, priority DESC, run_at, id) WHERE state = 0;
CREATE INDEX IF NOT EXISTS jobs_leased ON jobs (lease_until) WHERE state = 1;
CREATE INDEX IF NOT EXISTS jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS jobs_key ON jobs (dedupe_key) WHERE dedupe_key IS NOT NULL AND state < 2;
";

/// As a queue that loses nothing on a power cut would set it.
pub const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536;
PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 4000;";

/// One job.
pub const INSERT: &str =
    "INSERT INTO jobs (id, uid, queue, state, priority, run_at, created_at, attempt, attempts_max, arguments)
VALUES (?1, ?2, 'default', 0, 0, ?3, ?3, 0, 3, ?4)";

/// Opens a database file and makes the table in it.
pub fn open(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("a database can be made");
    connection.execute_batch(PRAGMAS).expect("SQLite knows its pragmas");
    connection.execute_batch(TABLE).expect("the table is well formed");
    connection
}

/// A hundred bytes.
pub fn arguments() -> String {
    "x".repeat(100)
}

/// An id that grows with time.
pub fn uid(number: i64) -> String {
    format!("0192f{number:015x}")
}
