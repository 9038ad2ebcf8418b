//! Owns the claim: the best jobs that may start go to a worker, with an attempt that is committed before the
//! process is spawned. Limits are counted from rows in the claim's own transaction.

use std::collections::HashMap;

use serde_json::json;

use super::db::{Kind, Sql};
use super::dependencies;
use super::expiry::expire;
use super::fault::Result;
use super::ids::Numbered;
use super::jobs::{self, job_columns, job_from};
use super::transition::{job_event, promote};
use super::writer::{Batch, Change, Outcome};
use super::{Reader, page};
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::event::EventType;
use crate::domain::id::{AttemptId, JobId, WorkerId};
use crate::domain::job::{Job, JobState};

/// Jobs that one claim promotes, and that it lets expire: bounds the transaction when very many become due at once.
const PROMOTE_MAX: usize = 1_000;

/// Takes the best jobs that may start.
#[derive(Debug)]
pub struct Claim {
    /// Who takes them.
    pub worker: WorkerId,
    /// How many at most: its free slots.
    pub slots: usize,
    /// Names of the environment cookies, one for each slot: random, so that nobody can guess them.
    pub cookies: Vec<String>,
}

/// A job that was taken.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The job as it stands now.
    pub job: Job,
    /// Its attempt: the lease under which everything of it is written.
    pub attempt: AttemptId,
    /// The attempt's number within the job.
    pub number: i32,
    /// The environment cookie that its processes carry.
    pub cookie: String,
}

// Several daemons count the running rows of a queue one after the other: each must see what the one before took.
const LOCK_LIMITED: Sql = Sql::each(
    // Never run on SQLite, which has one writer; it stands here so that both can be prepared.
    "SELECT name FROM queues WHERE concurrency_limit IS NOT NULL",
    "SELECT name FROM queues
     WHERE concurrency_limit IS NOT NULL AND paused_at_us IS NULL
       AND EXISTS (SELECT 1 FROM jobs WHERE state = 'QUEUED' AND gated_at_us IS NULL AND jobs.queue = queues.name)
     ORDER BY name
     FOR NO KEY UPDATE OF queues",
    &[],
);

const ROOM: Sql = Sql::both(
    "SELECT name, concurrency_limit,
            (SELECT count(*) FROM jobs WHERE state = 'RUNNING' AND jobs.queue = queues.name)
     FROM queues
     WHERE paused_at_us IS NULL
       AND EXISTS (SELECT 1 FROM jobs WHERE state = 'QUEUED' AND gated_at_us IS NULL AND jobs.queue = queues.name)",
    &[],
);

// Of each queue its best rows, as many as it has room for, then the best of all. $1 lists the queues with
// their room; the inner statement walks the head of each queue's part of the claim index and stops.
const BEST: Sql = Sql::each(
    "SELECT id FROM (
         SELECT jobs.id AS id, jobs.rank_us AS rank_us,
                row_number() OVER (PARTITION BY jobs.queue ORDER BY jobs.rank_us, jobs.id) AS place,
                CAST(room.value ->> 'room' AS BIGINT) AS room
         FROM jsonb_each($1) AS room
         JOIN jobs ON jobs.id IN (
             SELECT head.id FROM jobs AS head
             WHERE head.state = 'QUEUED' AND head.gated_at_us IS NULL AND head.queue = room.value ->> 'queue'
             ORDER BY head.rank_us, head.id
             LIMIT $2)
     ) AS best
     WHERE place <= room
     ORDER BY rank_us, id
     LIMIT $2",
    "SELECT id FROM (
         SELECT head.id AS id, head.rank_us AS rank_us,
                row_number() OVER (PARTITION BY head.queue ORDER BY head.rank_us, head.id) AS place,
                CAST(room.value ->> 'room' AS BIGINT) AS room
         FROM jsonb_each($1) AS room,
              LATERAL (SELECT jobs.id, jobs.rank_us, jobs.queue FROM jobs
                       WHERE jobs.state = 'QUEUED' AND jobs.gated_at_us IS NULL AND jobs.queue = room.value ->> 'queue'
                       ORDER BY jobs.rank_us, jobs.id
                       LIMIT $2
                       FOR UPDATE SKIP LOCKED) AS head
     ) AS best
     WHERE place <= room
     ORDER BY rank_us, id
     LIMIT $2",
    &[Kind::Text, Kind::Int],
);

const TAKE: Sql = Sql::both(
    concat!(
        "UPDATE jobs
         SET state = 'RUNNING', worker_id = $2, attempt_count = attempt_count + 1,
             started_at_us = coalesce(started_at_us, $3), progress = NULL, output = NULL
         WHERE id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1)) AND state = 'QUEUED'
           AND (start_by_us IS NULL OR started_at_us IS NOT NULL OR start_by_us > $3)
         RETURNING ",
        job_columns!(),
        ", CAST(0 AS BIGINT)"
    ),
    &[Kind::Text, Kind::Int, Kind::Int],
);

const INSERT_ATTEMPTS: Sql = Sql::both(
    "INSERT INTO attempts (id, job_id, attempt_number, worker_id, cookie, started_at_us, log_bytes, dropped_log_bytes)
     SELECT CAST(r.value ->> 'id' AS BIGINT), CAST(r.value ->> 'job' AS BIGINT),
            CAST(r.value ->> 'number' AS BIGINT), $2, r.value ->> 'cookie', $3, 0, 0
     FROM jsonb_each($1) AS r",
    &[Kind::Text, Kind::Int, Kind::Int],
);

impl Change for Claim {
    type Answer = Vec<Claimed>;

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<Vec<Claimed>> {
        assert!(self.cookies.len() >= self.slots, "each slot needs a cookie");
        jobs::write_pending(batch).await?;
        expire(batch, PROMOTE_MAX).await?;
        // What an end lets go may be claimed at once.
        dependencies::resume(batch).await?;
        dependencies::settle(batch).await?;
        promote(batch, PROMOTE_MAX).await?;
        let ids = self.best(batch).await?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let order: HashMap<i64, usize> = ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
        let ids = page::numbers(Some(&ids), |id| *id);
        let rows = batch.tx.rows(&TAKE, &args![ids, self.worker.0, batch.now.0]).await?;
        let mut taken = rows.iter().map(|row| job_from(row, batch.epoch)).collect::<Result<Vec<_>>>()?;
        taken.sort_by_key(|job| order.get(&job.id.0).copied());
        let mut claimed = Vec::with_capacity(taken.len());
        for (job, cookie) in taken.into_iter().zip(&self.cookies) {
            let attempt = AttemptId(batch.draw(Numbered::Attempt).await?);
            claimed.push(Claimed { number: job.attempt_count, attempt, job, cookie: cookie.clone() });
        }
        self.record(batch, &claimed).await?;
        Ok(claimed)
    }
}

impl Claim {
    async fn best(&self, batch: &mut Batch<'_>) -> Result<Vec<i64>> {
        let slots = i64::try_from(self.slots).unwrap_or(i64::MAX);
        if !batch.tx.is_sqlite() {
            batch.tx.rows(&LOCK_LIMITED, &[]).await?;
        }
        let mut rooms = Vec::new();
        for row in batch.tx.rows(&ROOM, &[]).await? {
            let (limit, running): (Option<i64>, i64) = (row.get(1)?, row.get(2)?);
            let room = limit.map_or(slots, |limit| limit - running).min(slots);
            if room > 0 {
                rooms.push(json!({"queue": row.get::<String>(0)?, "room": room}));
            }
        }
        if rooms.is_empty() || slots == 0 {
            return Ok(Vec::new());
        }
        let rooms = serde_json::Value::Array(rooms).to_string();
        let rows = batch.tx.rows(&BEST, &args![rooms, slots]).await?;
        rows.iter().map(|row| row.get(0)).collect()
    }

    async fn record(&self, batch: &mut Batch<'_>, claimed: &[Claimed]) -> Result<()> {
        let rows: Vec<_> = claimed
            .iter()
            .map(|one| json!({"id": one.attempt, "job": one.job.id, "number": one.number, "cookie": one.cookie}))
            .collect();
        let rows = serde_json::Value::Array(rows).to_string();
        batch.tx.execute(&INSERT_ATTEMPTS, &args![rows, self.worker.0, batch.now.0]).await?;
        let actor = self.worker.to_string();
        for one in claimed {
            batch.count(&one.job.queue_name, JobState::Queued, -1);
            batch.count(&one.job.queue_name, JobState::Running, 1);
            let data = json!({"from": "QUEUED", "to": "RUNNING", "attempt": one.number});
            batch.emit(job_event(EventType::JobStateChanged, &one.job, &actor, data));
            let data = json!({"attempt": one.number, "worker": self.worker, "id": one.attempt.to_string()});
            batch.emit(job_event(EventType::AttemptStarted, &one.job, &actor, data));
        }
        Ok(())
    }
}

/// What the dispatcher sees when it looks at the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// Whether a job stands in a queue that is not paused, or something has become due.
    pub has_work: bool,
    /// When the next waiting job becomes due, or expires.
    pub next_due: Option<Timestamp>,
}

const HAS_QUEUED: Sql = Sql::both(
    "SELECT (SELECT count(*) FROM (SELECT 1 FROM dependency_ends LIMIT 1) AS ends), count(*) FROM queues
     WHERE paused_at_us IS NULL
       AND EXISTS (SELECT 1 FROM jobs WHERE state = 'QUEUED' AND gated_at_us IS NULL AND jobs.queue = queues.name)",
    &[],
);

const NEXT_DUE: Sql = Sql::both(
    "SELECT run_at_us FROM jobs WHERE state IN ('SCHEDULED', 'RETRYING') ORDER BY run_at_us, id LIMIT 1",
    &[],
);

const STOPS: Sql = Sql::both(
    "SELECT id FROM jobs WHERE state = 'RUNNING' AND worker_id = $1 AND stop_requested_at_us IS NOT NULL",
    &[Kind::Int],
);

impl Reader {
    /// Whether a claim may find something, without writing.
    pub async fn outlook(&self, now: Timestamp) -> Result<Outlook> {
        let row = page::one(self.db.optional(&HAS_QUEUED, &[]).await?)?;
        let (ends, queued): (i64, i64) = (row.get(0)?, row.get(1)?);
        let next = self.db.optional(&NEXT_DUE, &[]).await?;
        let next_due = next.map(|row| row.get(0).map(Timestamp)).transpose()?;
        // Ends whose dependants were not all looked at: the next claim goes on.
        let unfinished = (ends > 0).then_some(now);
        let next_due = [next_due, self.next_expiry().await?, unfinished].into_iter().flatten().min();
        Ok(Outlook { has_work: queued > 0 || next_due.is_some_and(|due| due <= now), next_due })
    }

    /// Running jobs of the worker that somebody asked to stop.
    pub async fn requested_stops(&self, worker: WorkerId) -> Result<Vec<JobId>> {
        let rows = self.db.rows(&STOPS, &args![worker.0]).await?;
        rows.iter().map(|row| row.get(0).map(JobId)).collect()
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] =
    &[&LOCK_LIMITED, &ROOM, &BEST, &TAKE, &INSERT_ATTEMPTS, &HAS_QUEUED, &NEXT_DUE, &STOPS];
