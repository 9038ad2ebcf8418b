//! Owns the ledger of ticks. A tick and the job it makes are one transaction.

use serde_json::json;

use super::Reader;
use super::db::{Kind, Row, Sql};
use super::fault::{Fault, Result};
use super::jobs;
use super::page::{self, Page};
use super::schedules::changed;
use super::writer::{Batch, Change, Outcome};
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::event::EventType;
use crate::domain::id::{JobId, ScheduleId};
use crate::domain::new_job::NewJob;
use crate::domain::rejection::{Rejection, UserErrorCode};
use crate::domain::schedule::{Schedule, Tick, TickOutcome};

/// A row of the ledger that waits to be written.
#[derive(Debug, Clone)]
pub struct NewTick {
    /// The due time without jitter: with the schedule its identity.
    pub due_at: Timestamp,
    /// What becomes of it.
    pub outcome: TickOutcome,
    /// Due times that this row stands for.
    pub count: i64,
    /// The job to make.
    pub job: Option<NewJob>,
}

/// Settles due times of a schedule: ledger rows, the jobs they make, and where the schedule stands then.
#[derive(Debug)]
pub struct Settle {
    /// Which schedule.
    pub id: ScheduleId,
    /// How it was seen to stand; when it stands otherwise nothing is done.
    pub expected: Schedule,
    /// Whether a job that is not final stops it from making another.
    pub skips_overlap: bool,
    /// Everything up to here is settled then.
    pub settled_until: Timestamp,
    /// The next due time then.
    pub next_due_at: Option<Timestamp>,
    /// Whether a pause has ended.
    pub ends_pause: bool,
    /// The rows.
    pub ticks: Vec<NewTick>,
    /// Jobs that may wait in the whole store.
    pub queued_max: i64,
}

const ADVANCE: Sql = Sql::both(
    "UPDATE schedules
     SET settled_until_us = $3, next_due_us = $4,
         paused_at_us = CASE WHEN $5 = 1 THEN NULL ELSE paused_at_us END,
         pause_reason = CASE WHEN $5 = 1 THEN NULL ELSE pause_reason END,
         paused_until_us = CASE WHEN $5 = 1 THEN NULL ELSE paused_until_us END
     WHERE id = $1 AND settled_until_us = $2
       AND coalesce(paused_at_us, -1) = coalesce($6, -1) AND coalesce(paused_until_us, -1) = coalesce($7, -1)",
    &[Kind::Int, Kind::Int, Kind::Int, Kind::Int, Kind::Int, Kind::Int, Kind::Int],
);

const INSERT_TICK: Sql = Sql::both(
    "INSERT INTO ticks (schedule_id, due_at_us, outcome, job_id, due_count, recorded_at_us)
     VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (schedule_id, due_at_us) DO NOTHING",
    &[Kind::Int, Kind::Int, Kind::Text, Kind::Int, Kind::Int, Kind::Int],
);

const OPEN_JOB: Sql =
    Sql::both("SELECT id FROM jobs WHERE schedule_id = $1 AND finished_at_us IS NULL LIMIT 1", &[Kind::Int]);

const TICK_EXISTS: Sql = Sql::both(
    "SELECT count(*) FROM ticks WHERE schedule_id = $1 AND due_at_us = $2",
    &[Kind::Int, Kind::Int],
);

impl Change for Settle {
    /// The jobs that were made.
    type Answer = Vec<JobId>;

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<Vec<JobId>> {
        let seen = &self.expected;
        let values = args![
            self.id.0,
            seen.settled_until.0,
            self.settled_until.0,
            self.next_due_at.map(|at| at.0),
            i64::from(self.ends_pause),
            seen.paused_at.map(|at| at.0),
            seen.paused_until.map(|at| at.0),
        ];
        if batch.tx.execute(&ADVANCE, &values).await? == 0 {
            return Ok(Vec::new());
        }
        jobs::write_pending(batch).await?;
        // Asked here, where nobody comes in between.
        let mut is_blocked =
            self.skips_overlap && batch.tx.optional(&OPEN_JOB, &args![self.id.0]).await?.is_some();
        let mut made = Vec::new();
        for tick in &self.ticks {
            let exists = batch.tx.optional(&TICK_EXISTS, &args![self.id.0, tick.due_at.0]).await?;
            if page::one(exists)?.get::<i64>(0)? > 0 {
                // A clock that went back brings old due times again.
                continue;
            }
            let mut tick = tick.clone();
            if tick.job.is_some() && is_blocked {
                (tick.job, tick.outcome) = (None, TickOutcome::SkippedOverlap);
            }
            if let Some(job) = record_tick(batch, self.id, &tick, self.queued_max).await? {
                is_blocked = self.skips_overlap;
                made.push(job);
            }
        }
        Ok(made)
    }
}

/// Writes one row of the ledger with the job it makes.
async fn record_tick(
    batch: &mut Batch<'_>,
    id: ScheduleId,
    tick: &NewTick,
    queued_max: i64,
) -> Result<Option<JobId>> {
    let mut outcome = tick.outcome;
    let mut made = None;
    if let Some(job) = &tick.job {
        match jobs::accept(batch, job, queued_max).await? {
            Ok(enqueued) => made = Some(enqueued.id),
            // The queue is gone or the store is full: the due time is missed, and says so.
            Err(rejection) => {
                tracing::warn!(schedule = %id, "a due time was dropped: {}", rejection.message);
                outcome = TickOutcome::DroppedMisfire;
            }
        }
    }
    let values = args![id.0, tick.due_at.0, outcome.word(), made.map(|job| job.0), tick.count, batch.now.0];
    batch.tx.execute(&INSERT_TICK, &values).await?;
    let data = json!({
        "dueAt": tick.due_at.to_string(),
        "outcome": outcome.word(),
        "count": tick.count,
        "job": made.map(|job| job.to_string()),
    });
    batch.emit(changed(id, "scheduler", EventType::ScheduleTicked, data));
    Ok(made)
}

/// Starts a schedule's task by hand, as one more tick.
#[derive(Debug)]
pub struct Trigger {
    /// Which schedule.
    pub schedule: ScheduleId,
    /// The job to make.
    pub job: NewJob,
    /// Make it also while another job of the schedule is not final.
    pub ignore_overlap: bool,
    /// Jobs that may wait in the whole store.
    pub queued_max: i64,
}

impl Change for Trigger {
    type Answer = JobId;

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<JobId> {
        jobs::write_pending(batch).await?;
        if let Some(key) = &self.job.idempotency
            && let Some(used) = jobs::find_key(batch, key).await?
        {
            return Ok(used?.id);
        }
        let open = batch.tx.optional(&OPEN_JOB, &args![self.schedule.0]).await?;
        if let Some(row) = open.filter(|_| !self.ignore_overlap) {
            let message = format!("{} of this schedule is not final yet", JobId(row.get(0)?));
            return Err(Rejection::at(UserErrorCode::Conflict, "ignoreOverlap", message).into());
        }
        let enqueued = jobs::accept(batch, &self.job, self.queued_max).await??;
        // A due time names one tick: two triggers within a microsecond stand side by side.
        let mut due_at = batch.now;
        while page::one(batch.tx.optional(&TICK_EXISTS, &args![self.schedule.0, due_at.0]).await?)?
            .get::<i64>(0)?
            > 0
        {
            due_at = Timestamp(due_at.0 + 1);
        }
        let now = batch.now;
        let values = args![
            self.schedule.0,
            due_at.0,
            TickOutcome::Triggered.word(),
            Some(enqueued.id.0),
            1_i64,
            now.0
        ];
        batch.tx.execute(&INSERT_TICK, &values).await?;
        let data =
            json!({"dueAt": due_at.to_string(), "outcome": "TRIGGERED", "job": enqueued.id.to_string()});
        batch.emit(changed(self.schedule, &self.job.requested_by, EventType::ScheduleTicked, data));
        Ok(enqueued.id)
    }
}

const TICKS: Sql = Sql::both(
    "SELECT due_at_us, outcome, job_id, due_count FROM ticks
     WHERE schedule_id = $1 AND due_at_us < $2
     ORDER BY due_at_us DESC
     LIMIT $3",
    &[Kind::Int, Kind::Int, Kind::Int],
);

fn tick_from(row: &Row) -> Result<(String, Tick)> {
    let (due_at, word): (i64, String) = (row.get(0)?, row.get(1)?);
    let tick = Tick {
        due_at: Timestamp(due_at),
        outcome: TickOutcome::from_word(&word)
            .ok_or_else(|| Fault::unreadable("the outcome of a tick", due_at))?,
        job_id: row.get::<Option<i64>>(2)?.map(JobId),
        count: i32::try_from(row.get::<i64>(3)?).unwrap_or(i32::MAX),
    };
    Ok((due_at.to_string(), tick))
}

impl Reader {
    /// A page of a schedule's ledger, newest first, before the due time `before`.
    pub async fn ticks(&self, id: ScheduleId, before: i64, limit: usize) -> Result<Page<Tick>> {
        let rows = self.db.rows(&TICKS, &args![id.0, before, page::one_more(limit)]).await?;
        Ok(Page::cut(rows.iter().map(tick_from).collect::<Result<_>>()?, limit))
    }

    /// Whether a job of the schedule is not final.
    pub async fn has_open_job(&self, id: ScheduleId) -> Result<bool> {
        Ok(self.db.optional(&OPEN_JOB, &args![id.0]).await?.is_some())
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&ADVANCE, &INSERT_TICK, &OPEN_JOB, &TICK_EXISTS, &TICKS];
