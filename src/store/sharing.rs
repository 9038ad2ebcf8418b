//! Owns what workers over one database are to each other beside their changes: leases, and the words by which one tells
//! the others to look. A word may be lost, and says nothing that the rows do not say.

use std::sync::Arc;
use std::time::Duration;

use super::db::{Db, Kind, Nudges, Sql};
use super::fault::Result;
use super::workers::{database_now, millis};
use crate::args;
use crate::domain::id::WorkerId;

/// Where the words are said.
const CHANNEL: &str = "beadle";

// By the database's clock, so that no other one has to be right.
const RENEW: Sql = Sql::each(
    "UPDATE workers SET lease_until_us = seen_at_us + $2 * 1000
     WHERE id = $1 AND stopped_at_us IS NULL
     RETURNING seen_at_us",
    concat!(
        "UPDATE workers SET seen_at_us = ",
        database_now!(),
        ", lease_until_us = ",
        database_now!(),
        " + $2 * 1000
         WHERE id = $1 AND stopped_at_us IS NULL
         RETURNING seen_at_us"
    ),
    &[Kind::Int, Kind::Int],
);

const LAPSED: Sql = Sql::each(
    "SELECT id FROM workers WHERE stopped_at_us IS NULL AND lease_until_us < seen_at_us LIMIT 1",
    concat!(
        "SELECT id FROM workers WHERE stopped_at_us IS NULL AND lease_until_us < ",
        database_now!(),
        " LIMIT 1"
    ),
    &[],
);

const ORPHANED: Sql = Sql::both(
    "SELECT id FROM attempts
     WHERE outcome IS NULL AND worker_id <> $1
       AND NOT EXISTS (SELECT 1 FROM workers
                       WHERE workers.id = attempts.worker_id AND workers.stopped_at_us IS NULL)
     LIMIT 1",
    &[Kind::Int],
);

const NUDGE: Sql = Sql::each("SELECT $1 WHERE FALSE", "SELECT pg_notify('beadle', $1)", &[Kind::Text]);

/// A store that several workers share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sharing {
    /// Connections that nothing else waits for.
    db: Arc<Db>,
}

impl Sharing {
    pub(super) fn new(db: Arc<Db>) -> Sharing {
        Sharing { db }
    }

    /// Makes the worker's lease last for so long from now; nothing when it was taken for dead, else the database's time
    pub async fn renew(&self, worker: WorkerId, lease: Duration) -> Result<Option<i64>> {
        let mut tx = self.db.begin().await?;
        let row = tx.optional(&RENEW, &args![worker.0, millis(lease)]).await?;
        tx.commit().await?;
        row.map(|row| row.get(0)).transpose()
    }

    /// Whether a worker is listed as there whose lease is over.
    pub async fn has_lapsed(&self) -> Result<bool> {
        Ok(self.db.optional(&LAPSED, &[]).await?.is_some())
    }

    /// Whether attempts of other workers are open that nobody runs any more.
    pub async fn has_orphans(&self, worker: WorkerId) -> Result<bool> {
        Ok(self.db.optional(&ORPHANED, &args![worker.0]).await?.is_some())
    }

    /// Listens to what the others say.
    pub async fn listen(&self) -> Result<Nudges> {
        self.db.listen(CHANNEL).await
    }

    /// Says a word to all of them, and to ourselves.
    pub async fn nudge(&self, word: &str) -> Result<()> {
        self.db.rows(&NUDGE, &args![word]).await.map(drop)
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&RENEW, &LAPSED, &ORPHANED, &NUDGE];
