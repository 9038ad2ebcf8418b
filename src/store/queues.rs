//! Owns the queue rows.

use serde_json::json;

use super::db::{Kind, Row, Sql};
use super::fault::Result;
use super::ids::Numbered;
use super::page::{self, Page};
use super::writer::{Batch, Change, Outcome};
use super::{Reader, claim, keys};
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::duration::Span;
use crate::domain::event::{EventData, EventType, NewEvent};
use crate::domain::id::QueueId;
use crate::domain::queue::{Queue, RateLimit};
use crate::domain::rejection::{Rejection, UserErrorCode};

macro_rules! queue_columns {
    () => {
        "id, name, paused_at_us, pause_reason, concurrency_limit, paused_by, rate_starts, rate_per_ms"
    };
}

fn queue_from(row: &Row) -> Result<Queue> {
    Ok(Queue {
        id: QueueId(row.get(0)?),
        name: row.get(1)?,
        paused_at: row.get::<Option<i64>>(2)?.map(Timestamp),
        pause_reason: row.get(3)?,
        paused_by: row.get(5)?,
        concurrency_limit: row.get::<Option<i64>>(4)?.map(|limit| i32::try_from(limit).unwrap_or(i32::MAX)),
        rate_limit: row.get::<Option<i64>>(6)?.zip(row.get::<Option<i64>>(7)?).map(|(starts, per)| {
            RateLimit { starts: i32::try_from(starts).unwrap_or(i32::MAX), per: Span::from_millis(per) }
        }),
    })
}

pub(super) const ID_OF: Sql = Sql::both("SELECT id FROM queues WHERE name = $1", &[Kind::Text]);

async fn id_of(batch: &mut Batch<'_>, name: &str) -> Result<Option<QueueId>> {
    batch.tx.optional(&ID_OF, &args![name]).await?.map(|row| row.get(0).map(QueueId)).transpose()
}

/// Whether a queue of this name exists.
pub(super) async fn exists(batch: &mut Batch<'_>, name: &str) -> Result<bool> {
    if batch.known.has_queue(name) {
        return Ok(true);
    }
    let exists = id_of(batch, name).await?.is_some();
    if exists {
        batch.known.see_queue(name);
    }
    Ok(exists)
}

pub(super) const PUT: Sql = Sql::both(
    "INSERT INTO queues (id, name, concurrency_limit, created_at_us, rate_starts, rate_per_ms)
     VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (name) DO UPDATE
     SET concurrency_limit = excluded.concurrency_limit, rate_starts = excluded.rate_starts,
         rate_per_ms = excluded.rate_per_ms",
    &[Kind::Int, Kind::Text, Kind::Int, Kind::Int, Kind::Int, Kind::Int],
);

const PAUSE: Sql = Sql::both(
    "UPDATE queues SET paused_at_us = coalesce(paused_at_us, $2), pause_reason = $3, paused_by = $4 WHERE name = $1",
    &[Kind::Text, Kind::Int, Kind::Text, Kind::Text],
);

const RESUME: Sql = Sql::both(
    "UPDATE queues SET paused_at_us = NULL, pause_reason = NULL, paused_by = NULL WHERE name = $1",
    &[Kind::Text],
);

/// A change of a queue.
#[derive(Debug, Clone)]
pub enum QueueAction {
    /// Make it, or set its limits.
    Put {
        /// Jobs that may run at once; `None` means no limit of its own.
        concurrency_limit: Option<i32>,
        /// Jobs that may start in a period; `None` means any number.
        rate_limit: Option<RateLimit>,
    },
    /// Start nothing from it.
    Pause {
        /// Why.
        reason: Option<String>,
    },
    /// Start from it again.
    Resume,
}

/// Changes a queue.
#[derive(Debug)]
pub struct ChangeQueue {
    /// The queue's name.
    pub name: String,
    /// What to do.
    pub action: QueueAction,
    /// Who asks.
    pub actor: String,
}

impl Change for ChangeQueue {
    type Answer = ();

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<()> {
        let known = id_of(batch, &self.name).await?;
        let id = match (known, &self.action) {
            (Some(id), _) => id,
            (None, QueueAction::Put { .. }) => QueueId(batch.draw(Numbered::Queue).await?),
            (None, _) => {
                let message = format!("there is no queue named {}", self.name);
                return Err(Rejection::at(UserErrorCode::NotFound, "name", message).into());
            }
        };
        let now = batch.now.0;
        let data = match &self.action {
            QueueAction::Put { concurrency_limit, rate_limit } => {
                let (starts, per) = (rate_limit.map(|rate| rate.starts), rate_limit.map(|rate| rate.per));
                let values = args![id.0, &self.name, *concurrency_limit, now, starts, per.map(Span::millis)];
                batch.tx.execute(&PUT, &values).await?;
                let rate = rate_limit.map(|rate| json!({"starts": rate.starts, "per": rate.per.to_string()}));
                json!({"action": "PUT", "concurrencyLimit": concurrency_limit, "rateLimit": rate})
            }
            QueueAction::Pause { reason } => {
                let values = args![&self.name, now, reason.clone(), &self.actor];
                batch.tx.execute(&PAUSE, &values).await?;
                // The keys first, as a claim does it.
                keys::lock(batch).await?;
                claim::lock_out(batch).await?;
                keys::touch_queue(batch, &self.name).await?;
                json!({"action": "PAUSE", "reason": reason})
            }
            QueueAction::Resume => {
                batch.tx.execute(&RESUME, &args![&self.name]).await?;
                keys::touch_queue(batch, &self.name).await?;
                json!({"action": "RESUME"})
            }
        };
        batch.emit(NewEvent {
            kind: EventType::QueueChanged,
            actor: self.actor.clone(),
            subject_id: Some(id.to_string()),
            job_id: None,
            task_name: None,
            queue_name: Some(self.name.clone()),
            data: EventData::of("queue", &self.name).with_all(data),
        });
        Ok(())
    }
}

const BY_NAME: Sql = Sql::both(
    concat!("SELECT ", queue_columns!(), " FROM queues WHERE name IN (SELECT atom FROM jsonb_each($1))"),
    &[Kind::Text],
);

const BY_ID: Sql =
    Sql::both(concat!("SELECT ", queue_columns!(), " FROM queues WHERE id = $1"), &[Kind::Int]);

const LIST: Sql = Sql::both(
    concat!("SELECT ", queue_columns!(), " FROM queues WHERE name > $1 ORDER BY name LIMIT $2"),
    &[Kind::Text, Kind::Int],
);

const NUMBERS: Sql = Sql::both(
    "SELECT CAST(coalesce(sum(CASE WHEN state IN ('HELD', 'BLOCKED', 'SCHEDULED', 'QUEUED', 'RETRYING')
                              THEN job_count ELSE 0 END), 0) AS BIGINT),
            CAST(coalesce(sum(CASE WHEN state = 'RUNNING' THEN job_count ELSE 0 END), 0) AS BIGINT)
     FROM job_counts WHERE queue = $1",
    &[Kind::Text],
);

const OLDEST: Sql = Sql::both(
    "SELECT min(run_at_us) FROM (
         SELECT min(run_at_us) AS run_at_us FROM jobs
         WHERE state = 'QUEUED' AND gated_at_us IS NULL AND runs_on IS NULL AND queue = $1
         UNION ALL
         SELECT min(run_at_us) AS run_at_us FROM jobs
         WHERE state = 'QUEUED' AND gated_at_us IS NULL AND runs_on IS NOT NULL AND queue = $1
     ) AS oldest",
    &[Kind::Text],
);

/// How full a queue is.
#[derive(Debug, Clone, Copy)]
pub struct QueueNumbers {
    /// Jobs that wait, for whatever reason.
    pub waiting: i64,
    /// Jobs that run.
    pub running: i64,
}

impl Reader {
    /// The queues of these names, in no order; unknown ones are left out.
    pub async fn queues_by_name(&self, names: &[String]) -> Result<Vec<Queue>> {
        let names = page::words(Some(names), Clone::clone);
        self.db.rows(&BY_NAME, &args![names]).await?.iter().map(queue_from).collect()
    }

    /// The queue of this id.
    pub async fn queue_by_id(&self, id: QueueId) -> Result<Option<Queue>> {
        self.db.optional(&BY_ID, &args![id.0]).await?.map(|row| queue_from(&row)).transpose()
    }

    /// A page of queues by name, behind the name `after`.
    pub async fn queues(&self, after: &str, limit: usize) -> Result<Page<Queue>> {
        let rows = self.db.rows(&LIST, &args![after, page::one_more(limit)]).await?;
        let read = |row: &Row| queue_from(row).map(|queue| (queue.name.clone(), queue));
        Ok(Page::cut(rows.iter().map(read).collect::<Result<_>>()?, limit))
    }

    /// How full the queue is.
    pub async fn queue_numbers(&self, name: &str) -> Result<QueueNumbers> {
        let row = page::one(self.db.optional(&NUMBERS, &args![name]).await?)?;
        Ok(QueueNumbers { waiting: row.get(0)?, running: row.get(1)? })
    }

    /// Since when the job of the queue that waits longest could have started.
    pub async fn oldest_waiting_at(&self, name: &str) -> Result<Option<Timestamp>> {
        let row = page::one(self.db.optional(&OLDEST, &args![name]).await?)?;
        Ok(row.get::<Option<i64>>(0)?.map(Timestamp))
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] =
    &[&ID_OF, &PUT, &PAUSE, &RESUME, &BY_NAME, &BY_ID, &LIST, &NUMBERS, &OLDEST];
