//! Owns the worker rows: who runs jobs, and who did.

use serde_json::json;

use super::Reader;
use super::db::{Kind, Row, Sql};
use super::fault::{Fault, Result};
use super::ids::Numbered;
use super::jobs::text;
use super::page::{self, Page};
use super::writer::{Batch, Change, Outcome};
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::event::{EventType, NewEvent};
use crate::domain::id::WorkerId;
use crate::domain::job::Label;
use crate::domain::worker::Worker;

const INSERT: Sql = Sql::both(
    "INSERT INTO workers (id, name, version, slots, labels, started_at_us) VALUES ($1, $2, $3, $4, $5, $6)",
    &[Kind::Int, Kind::Text, Kind::Text, Kind::Int, Kind::Text, Kind::Int],
);

const STOP: Sql = Sql::both(
    "UPDATE workers SET stopped_at_us = $2 WHERE id = $1 AND stopped_at_us IS NULL",
    &[Kind::Int, Kind::Int],
);

// One daemon owns a SQLite file, so whoever is still listed there has died; several share PostgreSQL.
const BURY: Sql = Sql::each(
    "UPDATE workers SET stopped_at_us = $2 WHERE id <> $1 AND stopped_at_us IS NULL",
    "UPDATE workers SET stopped_at_us = $2 WHERE id <> $1 AND FALSE",
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
        data: json!({"name": name, "status": status}),
    }
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
}

impl Change for StartWorker {
    type Answer = WorkerId;

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<WorkerId> {
        let id = WorkerId(batch.draw(Numbered::Worker).await?);
        let now = batch.now.0;
        let values = args![id.0, &self.name, &self.version, self.slots, text(&self.labels), now];
        batch.tx.execute(&INSERT, &values).await?;
        batch.tx.execute(&BURY, &args![id.0, now]).await?;
        batch.emit(changed(id, &self.name, "ONLINE"));
        Ok(id)
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
        if self.is_gone {
            batch.tx.execute(&STOP, &args![self.id.0, batch.now.0]).await?;
        }
        batch.emit(changed(self.id, &self.name, if self.is_gone { "OFFLINE" } else { "DRAINING" }));
        Ok(())
    }
}

const LIST: Sql = Sql::both(
    "SELECT id, name, version, slots, started_at_us, stopped_at_us, labels FROM workers
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
        labels: labels_from(id, &row.get::<String>(6)?)?,
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
pub(super) const STATEMENTS: &[&Sql] = &[&INSERT, &STOP, &BURY, &LIST];
