//! Owns forgetting: what retention says may go, in small batches so that nobody waits for it.

use super::db::{Kind, Sql};
use super::fault::Result;
use super::writer::{Batch, Change, Outcome};
use super::{Reader, keys, page};
use crate::args;
use crate::base::clock::Timestamp;
use crate::base::points;
use crate::domain::id::{AttemptId, JobId};
use crate::domain::job::JobState;
use crate::domain::limits::INCIDENT_JOBS_KEPT;
use crate::domain::limits::SINK_BACKLOG_MAX;

/// Rows that one transaction deletes.
pub const PRUNE_BATCH: i64 = 500;

// Each horizon for itself: what the longer one keeps is not walked for the shorter one.
macro_rules! old_jobs {
    ($states:literal, $kept:expr) => {
        concat!(
            "SELECT id, queue, state FROM jobs
             WHERE finished_at_us IS NOT NULL AND state IN (",
            $states,
            ") AND finished_at_us < $1
               -- What another job still needs stays: its end, and what it left to it.
               AND NOT EXISTS (
                   SELECT 1 FROM job_dependencies
                   JOIN jobs AS dependant ON dependant.id = job_dependencies.job_id
                   WHERE job_dependencies.depends_on_id = jobs.id AND dependant.finished_at_us IS NULL)
               -- A job that was made anew has that to show for as long as it is kept itself.
               AND NOT EXISTS (SELECT 1 FROM jobs AS failed WHERE failed.id = jobs.retry_of)",
            $kept,
            " LIMIT $2"
        )
    };
}

macro_rules! old_successes {
    () => {
        old_jobs!("'SUCCEEDED', 'CANCELLED', 'SKIPPED'", "")
    };
}

// What failed stays while its incident is open: of each the newest ones, so that it cannot fill the store.
macro_rules! old_failures {
    () => {
        old_jobs!(
            "'FAILED', 'EXPIRED'",
            "
             AND NOT (state = 'FAILED' AND EXISTS (
                 SELECT 1 FROM attempts AS failed
                 -- Not the bare column: its index would be walked whole for each job.
                 JOIN incidents ON incidents.id = coalesce(failed.incident_id, 0)
                 WHERE failed.job_id = jobs.id AND incidents.status IN ('OPEN', 'ACKNOWLEDGED')
                   AND (failed.job_id = incidents.sample_job_id
                        OR failed.job_id >= coalesce((
                            SELECT newest.job_id FROM attempts AS newest
                            WHERE newest.incident_id = failed.incident_id
                            ORDER BY newest.job_id DESC
                            LIMIT 1 OFFSET $3), 0))))"
        )
    };
}

// Of several daemons that forget at once only one counts a job down.
const OLD_SUCCESSES: Sql = Sql::each(
    old_successes!(),
    concat!(old_successes!(), " FOR UPDATE SKIP LOCKED"),
    &[Kind::Int, Kind::Int],
);

const OLD_FAILURES: Sql = Sql::each(
    old_failures!(),
    concat!(old_failures!(), " FOR UPDATE SKIP LOCKED"),
    &[Kind::Int, Kind::Int, Kind::Int],
);

const ATTEMPTS_OF: Sql = Sql::both(
    "SELECT id FROM attempts WHERE job_id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))",
    &[Kind::Text],
);

const DELETE_ATTEMPTS: Sql = Sql::both(
    "DELETE FROM attempts WHERE job_id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))",
    &[Kind::Text],
);

const DELETE_LABELS: Sql = Sql::both(
    "DELETE FROM job_labels WHERE job_id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))",
    &[Kind::Text],
);

const DELETE_TRACES: Sql = Sql::both(
    "DELETE FROM job_traces WHERE job_id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))",
    &[Kind::Text],
);

const DELETE_DEPENDENCIES: Sql = Sql::both(
    "DELETE FROM job_dependencies WHERE job_id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))",
    &[Kind::Text],
);

const DELETE_DEPENDANTS: Sql = Sql::both(
    "DELETE FROM job_dependencies WHERE depends_on_id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))",
    &[Kind::Text],
);

const DELETE_JOBS: Sql = Sql::both(
    "DELETE FROM jobs WHERE id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1)) AND finished_at_us IS NOT NULL",
    &[Kind::Text],
);

// What a sink was not told yet stays, but for what is more than the feed keeps for one.
macro_rules! is_told {
    () => {
        "(NOT EXISTS (SELECT 1 FROM sinks WHERE retired_at_us IS NULL AND position < oldest.seq)
          OR oldest.seq <= (SELECT max(seq) FROM events) - $1)"
    };
}

// From the beginning on and without a hole, whatever clock told them: who stands in the feed behind what is gone must
// notice it by the oldest number. So what is old goes with all that stands before it, but never past an event that is
// young; one that is later than now was told by a clock that was ahead, and is neither.
const DELETE_EVENTS: Sql = Sql::both(
    concat!(
        "WITH head AS (SELECT seq, at_us FROM events ORDER BY seq LIMIT $3)
         DELETE FROM events WHERE seq IN (
             SELECT seq FROM head AS oldest
             WHERE (seq <= (SELECT max(seq) FROM head
                            WHERE at_us < $2
                              AND seq < coalesce((SELECT min(seq) FROM head WHERE at_us BETWEEN $2 AND $4),
                                                 9223372036854775807))
                    OR seq <= (SELECT seq FROM (SELECT seq, at_us FROM events WHERE at_us <= $4
                                                ORDER BY seq LIMIT 1) AS first
                               WHERE at_us < $2))
               AND ",
        is_told!(),
        ")"
    ),
    &[Kind::Int, Kind::Int, Kind::Int, Kind::Int],
);

const DELETE_KEYS: Sql = Sql::both(
    "DELETE FROM idempotency_keys
     WHERE (token_id, idempotency_key) IN (
         SELECT token_id, idempotency_key FROM idempotency_keys AS old
         WHERE old.created_at_us < $1
           AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = old.job_id)
         ORDER BY old.created_at_us
         LIMIT $2)",
    &[Kind::Int, Kind::Int],
);

const DELETE_TICKS: Sql = Sql::both(
    "DELETE FROM ticks WHERE (schedule_id, due_at_us) IN (
         SELECT schedule_id, due_at_us FROM ticks WHERE recorded_at_us < $1 LIMIT $2)",
    &[Kind::Int, Kind::Int],
);

// A key that is wanted again comes back with its job.
const DELETE_LIMITS: Sql = Sql::both(
    "DELETE FROM concurrency_keys WHERE name IN (
         SELECT name FROM concurrency_keys AS old
         WHERE NOT EXISTS (
             SELECT 1 FROM jobs WHERE jobs.limit_key = old.name AND jobs.finished_at_us IS NULL)
         ORDER BY name
         LIMIT $1)",
    &[Kind::Int],
);

/// How long what is kept.
#[derive(Debug, Clone, Copy)]
pub struct Horizon {
    /// Jobs that succeeded, were cancelled or skipped before this may go.
    pub succeeded: Timestamp,
    /// Jobs that failed before this may go.
    pub failed: Timestamp,
    /// Idempotency keys of jobs that are gone may go before this.
    pub keys: Timestamp,
}

/// Forgets one batch of what retention says may go.
#[derive(Debug)]
pub struct Prune {
    /// What is old enough.
    pub horizon: Horizon,
}

/// What a batch of forgetting did.
#[derive(Debug, Clone, Default)]
pub struct Pruned {
    /// Attempts whose logs may go too.
    pub attempts: Vec<AttemptId>,
    /// Rows deleted of all kinds.
    pub row_count: u64,
    /// Whether another batch will find more.
    pub has_more: bool,
}

impl Change for Prune {
    type Answer = Pruned;

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<Pruned> {
        let Horizon { succeeded, failed, keys } = self.horizon;
        let mut rows = batch.tx.rows(&OLD_SUCCESSES, &args![succeeded.0, PRUNE_BATCH]).await?;
        let left = PRUNE_BATCH - i64::try_from(rows.len()).unwrap_or(PRUNE_BATCH);
        if left > 0 {
            let values = args![failed.0, left, INCIDENT_JOBS_KEPT - 1];
            rows.extend(batch.tx.rows(&OLD_FAILURES, &values).await?);
        }
        let mut pruned =
            Pruned { has_more: i64::try_from(rows.len()) == Ok(PRUNE_BATCH), ..Pruned::default() };
        let mut ids = Vec::with_capacity(rows.len());
        for row in &rows {
            ids.push(JobId(row.get(0)?));
            let (queue, word): (String, String) = (row.get(1)?, row.get(2)?);
            if let Some(state) = JobState::from_word(&word) {
                batch.count(&queue, state, -1);
            }
        }
        if !ids.is_empty() {
            let ids = page::numbers(Some(&ids), |id| id.0);
            let attempts = batch.tx.rows(&ATTEMPTS_OF, &args![ids.clone()]).await?;
            pruned.attempts = attempts.iter().map(|row| row.get(0).map(AttemptId)).collect::<Result<_>>()?;
            for sql in [
                &DELETE_ATTEMPTS,
                &DELETE_LABELS,
                &DELETE_TRACES,
                &DELETE_DEPENDENCIES,
                &DELETE_DEPENDANTS,
                &DELETE_JOBS,
            ] {
                pruned.row_count += batch.tx.execute(sql, &args![ids.clone()]).await?;
                points::reach("prune.deleted");
            }
        }
        // Events and ticks live as long as the longest-lived job, so that a job's history is whole.
        let oldest = succeeded.min(failed);
        let values = args![SINK_BACKLOG_MAX, oldest.0, PRUNE_BATCH, batch.now.0];
        let events = batch.tx.execute(&DELETE_EVENTS, &values).await?;
        let ticks = batch.tx.execute(&DELETE_TICKS, &args![oldest.0, PRUNE_BATCH]).await?;
        let old_keys = batch.tx.execute(&DELETE_KEYS, &args![keys.0, PRUNE_BATCH]).await?;
        for deleted in [events, ticks, old_keys] {
            pruned.has_more |= deleted == PRUNE_BATCH.unsigned_abs();
            pruned.row_count += deleted;
        }
        // It walks the keys that live: once a sweep is enough, and again while it finds many.
        if !pruned.has_more {
            keys::lock(batch).await?;
            let gone = batch.tx.execute(&DELETE_LIMITS, &args![PRUNE_BATCH]).await?;
            pruned.has_more = gone == PRUNE_BATCH.unsigned_abs();
            pruned.row_count += gone;
        }
        Ok(pruned)
    }
}

const FIND_OLD_SUCCESSES: Sql = Sql::both(old_successes!(), &[Kind::Int, Kind::Int]);

const FIND_OLD_FAILURES: Sql = Sql::both(old_failures!(), &[Kind::Int, Kind::Int, Kind::Int]);

const OLDEST_EVENT_AT: Sql = Sql::both(
    concat!(
        "SELECT at_us FROM (SELECT seq, at_us FROM events WHERE at_us <= $2 ORDER BY seq LIMIT 1) AS oldest WHERE ",
        is_told!()
    ),
    &[Kind::Int, Kind::Int],
);

const OLDEST_TICK_AT: Sql =
    Sql::both("SELECT recorded_at_us FROM ticks ORDER BY recorded_at_us LIMIT 1", &[]);

impl Reader {
    /// Whether a prune would find something, without writing.
    pub async fn has_old_rows(&self, horizon: Horizon, now: Timestamp) -> Result<bool> {
        let Horizon { succeeded, failed, .. } = horizon;
        let old = self.db.optional(&FIND_OLD_SUCCESSES, &args![succeeded.0, 1_i64]).await?;
        if old.is_some() {
            return Ok(true);
        }
        let values = args![failed.0, 1_i64, INCIDENT_JOBS_KEPT - 1];
        if self.db.optional(&FIND_OLD_FAILURES, &values).await?.is_some() {
            return Ok(true);
        }
        // A run of skips leaves a tick that is younger than its event.
        let event = self.db.optional(&OLDEST_EVENT_AT, &args![SINK_BACKLOG_MAX, now.0]).await?;
        let tick = self.db.optional(&OLDEST_TICK_AT, &[]).await?;
        for row in [event, tick] {
            let oldest = row.map(|row| row.get::<i64>(0)).transpose()?;
            if oldest.is_some_and(|oldest| oldest < succeeded.min(failed).0) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[
    &OLD_SUCCESSES,
    &OLD_FAILURES,
    &ATTEMPTS_OF,
    &DELETE_ATTEMPTS,
    &DELETE_LABELS,
    &DELETE_TRACES,
    &DELETE_DEPENDENCIES,
    &DELETE_DEPENDANTS,
    &DELETE_JOBS,
    &DELETE_EVENTS,
    &DELETE_KEYS,
    &DELETE_TICKS,
    &DELETE_LIMITS,
    &FIND_OLD_SUCCESSES,
    &FIND_OLD_FAILURES,
    &OLDEST_EVENT_AT,
    &OLDEST_TICK_AT,
];
