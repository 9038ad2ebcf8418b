//! Owns the worker rows: who runs jobs, and who did. Where several workers share the store each holds a lease by the
//! database's clock: whoever lets it end is taken for dead, and its attempts are ended by another.

use std::time::Duration;

use super::Reader;
use super::db::{Kind, Row, Sql};
use super::fault::{Fault, Result};
use super::ids::Numbered;
use super::jobs::text;
use super::page::{self, Page};
use super::writer::{Batch, Change, Outcome};
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::event::{EventData, EventType, NewEvent};
use crate::domain::id::WorkerId;
use crate::domain::job::Label;
use crate::domain::worker::Worker;

// The database's clock, in microseconds.
macro_rules! database_now {
    () => {
        "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)"
    };
}

pub(super) use database_now;

const INSERT: Sql = Sql::each(
    "INSERT INTO workers (id, name, version, slots, labels, started_at_us, seen_at_us, lease_until_us)
     VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $7 IS NULL THEN NULL ELSE $6 END, $6 + $7 * 1000)",
    concat!(
        "INSERT INTO workers (id, name, version, slots, labels, started_at_us, seen_at_us, lease_until_us)
         VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $7 IS NULL THEN NULL ELSE ",
        database_now!(),
        " END, ",
        database_now!(),
        " + $7 * 1000)"
    ),
    &[Kind::Int, Kind::Text, Kind::Text, Kind::Int, Kind::Text, Kind::Int, Kind::Int],
);

const STOP: Sql = Sql::both(
    "UPDATE workers
     SET stopped_at_us = $2, seen_at_us = CASE WHEN seen_at_us IS NULL THEN NULL ELSE $2 END
     WHERE id = $1 AND stopped_at_us IS NULL",
    &[Kind::Int, Kind::Int],
);

const DRAIN: Sql = Sql::both(
    "UPDATE workers SET draining_at_us = $2 WHERE id = $1 AND draining_at_us IS NULL",
    &[Kind::Int, Kind::Int],
);

// One daemon owns a SQLite file, so whoever is still listed there has died. Several share PostgreSQL: of these only the
// one before us in our own data directory is known to be dead, and who never had a lease: it was moved here with the
// file that it owned.
const BURY_DEAD: Sql = Sql::each(
    "UPDATE workers SET stopped_at_us = $2 WHERE id <> $1 AND stopped_at_us IS NULL",
    "UPDATE workers SET stopped_at_us = $2
     WHERE id <> $1 AND stopped_at_us IS NULL AND lease_until_us IS NULL",
    &[Kind::Int, Kind::Int],
);

const BURY: Sql = Sql::both(
    "UPDATE workers SET stopped_at_us = $2 WHERE id = $1 AND stopped_at_us IS NULL",
    &[Kind::Int, Kind::Int],
);

fn changed(id: WorkerId, name: &str, status: &str) -> NewEvent {
    NewEvent {
        kind: EventType::WorkerChanged,
        actor: id.to_string(),
        subject_id: Some(id.to_string()),
        job_id: None,
        task_name: None,
        queue_name: None,
        data: EventData::of("name", name).with("status", status),
    }
}

pub(super) fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

/// Lists a worker that begins.
#[derive(Debug)]
pub struct StartWorker {
    /// Host and process id.
    pub name: String,
    /// Beadle's version.
    pub version: String,
    /// Places for attempts.
    pub slots: i32,
    /// By which jobs choose it.
    pub labels: Vec<Label>,
    /// How long it is taken for alive without a sign of life; none where it has the store for itself.
    pub lease: Option<Duration>,
}

impl Change for StartWorker {
    type Answer = WorkerId;

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<WorkerId> {
        let id = WorkerId(batch.draw(Numbered::Worker).await?);
        let (now, lease) = (batch.now.0, self.lease.map(millis));
        let values = args![id.0, &self.name, &self.version, self.slots, text(&self.labels), now, lease];
        batch.tx.execute(&INSERT, &values).await?;
        batch.tx.execute(&BURY_DEAD, &args![id.0, now]).await?;
        batch.emit(changed(id, &self.name, "ONLINE"));
        Ok(id)
    }
}

/// Takes a worker for dead of whom it is known: from here on whoever likes may take over what it left.
#[derive(Debug)]
pub struct BuryWorker {
    /// Which.
    pub id: WorkerId,
}

impl Change for BuryWorker {
    type Answer = ();

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<()> {
        batch.tx.execute(&BURY, &args![self.id.0, batch.now.0]).await?;
        Ok(())
    }
}

/// Says that a worker drains or has stopped in order.
#[derive(Debug)]
pub struct RetireWorker {
    /// Which.
    pub id: WorkerId,
    /// Its name.
    pub name: String,
    /// Whether it is gone, or only takes nothing more.
    pub is_gone: bool,
}

impl Change for RetireWorker {
    type Answer = ();

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<()> {
        let step = if self.is_gone { &STOP } else { &DRAIN };
        batch.tx.execute(step, &args![self.id.0, batch.now.0]).await?;
        batch.emit(changed(self.id, &self.name, if self.is_gone { "OFFLINE" } else { "DRAINING" }));
        Ok(())
    }
}

const BURY_LAPSED: Sql = Sql::each(
    "UPDATE workers SET stopped_at_us = $1
     WHERE stopped_at_us IS NULL AND lease_until_us < $1
     RETURNING id, name",
    concat!(
        "UPDATE workers SET stopped_at_us = $1
         WHERE stopped_at_us IS NULL AND lease_until_us < ",
        database_now!(),
        " RETURNING id, name"
    ),
    &[Kind::Int],
);

/// Takes the workers for dead whose leases are over: from here on nothing that they claim is theirs. Gives their names.
#[derive(Debug)]
pub struct BuryLapsed;

impl Change for BuryLapsed {
    type Answer = Vec<String>;

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<Vec<String>> {
        let mut names = Vec::new();
        for row in batch.tx.rows(&BURY_LAPSED, &args![batch.now.0]).await? {
            let (id, name): (i64, String) = (row.get(0)?, row.get(1)?);
            batch.emit(changed(WorkerId(id), &name, "OFFLINE"));
            names.push(name);
        }
        Ok(names)
    }
}

const REVIVE: Sql = Sql::each(
    "UPDATE workers SET stopped_at_us = NULL, seen_at_us = $2, lease_until_us = $2 + $3 * 1000
     WHERE id = $1 AND stopped_at_us IS NOT NULL",
    concat!(
        "UPDATE workers SET stopped_at_us = NULL, seen_at_us = ",
        database_now!(),
        ", lease_until_us = ",
        database_now!(),
        " + $3 * 1000
         WHERE id = $1 AND stopped_at_us IS NOT NULL AND $2 > 0"
    ),
    &[Kind::Int, Kind::Int, Kind::Int],
);

/// Lists a worker anew that was taken for dead. Nothing that it ran before may run any more.
#[derive(Debug)]
pub struct ReviveWorker {
    /// Which.
    pub id: WorkerId,
    /// Its name.
    pub name: String,
    /// The length of its lease.
    pub lease: Duration,
}

impl Change for ReviveWorker {
    type Answer = ();

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<()> {
        let revived = batch.tx.execute(&REVIVE, &args![self.id.0, batch.now.0, millis(self.lease)]).await?;
        if revived > 0 {
            batch.emit(changed(self.id, &self.name, "ONLINE"));
        }
        Ok(())
    }
}

const LIST: Sql = Sql::both(
    "SELECT id, name, version, slots, started_at_us, stopped_at_us, seen_at_us, draining_at_us, labels
     FROM workers
     WHERE id < $1 AND ($2 IS NULL OR id = $2)
     ORDER BY id DESC
     LIMIT $3",
    &[Kind::Int, Kind::Int, Kind::Int],
);

/// The labels of a worker, as its row says them.
pub(super) fn labels_from(id: WorkerId, labels: &str) -> Result<Vec<Label>> {
    serde_json::from_str(labels).map_err(|_| Fault::unreadable("the labels", id))
}

fn worker_from(row: &Row) -> Result<(String, Worker)> {
    let id = WorkerId(row.get(0)?);
    let worker = Worker {
        id,
        name: row.get(1)?,
        version: row.get(2)?,
        slots: i32::try_from(row.get::<i64>(3)?).unwrap_or(i32::MAX),
        started_at: Timestamp(row.get(4)?),
        stopped_at: row.get::<Option<i64>>(5)?.map(Timestamp),
        seen_at: row.get::<Option<i64>>(6)?.map(Timestamp),
        draining_at: row.get::<Option<i64>>(7)?.map(Timestamp),
        labels: labels_from(id, &row.get::<String>(8)?)?,
    };
    Ok((id.0.to_string(), worker))
}

impl Reader {
    /// A page of workers, newest first, before the id `before`.
    pub async fn workers(&self, before: i64, limit: usize) -> Result<Page<Worker>> {
        let rows = self.db.rows(&LIST, &args![before, None::<i64>, page::one_more(limit)]).await?;
        Ok(Page::cut(rows.iter().map(worker_from).collect::<Result<_>>()?, limit))
    }

    /// The worker of this id.
    pub async fn worker(&self, id: WorkerId) -> Result<Option<Worker>> {
        let row = self.db.optional(&LIST, &args![i64::MAX, Some(id.0), 1_i64]).await?;
        Ok(row.map(|row| worker_from(&row)).transpose()?.map(|(_, worker)| worker))
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] =
    &[&INSERT, &STOP, &DRAIN, &BURY_DEAD, &BURY, &BURY_LAPSED, &REVIVE, &LIST];
