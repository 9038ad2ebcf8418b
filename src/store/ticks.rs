//! Owns the ledger of ticks, and what one more job of a schedule does to the others. A tick and the job it makes are
//! one transaction.

use serde_json::json;

use super::Reader;
use super::db::{Kind, Row, Sql};
use super::fault::{Fault, Result};
use super::jobs;
use super::keys;
use super::page::{self, Page};
use super::schedules::{self, changed};
use super::transition::Cancel;
use super::writer::{Batch, Change, Outcome, Refusal};
use crate::args;
use crate::base::clock::Timestamp;
use crate::base::points;
use crate::domain::concurrency::LimitKey;
use crate::domain::event::EventType;
use crate::domain::id::{JobId, ScheduleId};
use crate::domain::new_job::NewJob;
use crate::domain::rejection::{Rejection, UserErrorCode};
use crate::domain::schedule::{OverlapPolicy, Schedule, ScheduleRef, Tick, TickOutcome};

/// Who makes jobs by the clock, in events.
const ACTOR: &str = "scheduler";

/// A row of the ledger that waits to be written.
#[derive(Debug, Clone)]
pub struct NewTick {
    /// The due time without jitter: with the schedule its identity. The newest one where it stands for several.
    pub due_at: Timestamp,
    /// The oldest due time that it stands for.
    pub first_due_at: Timestamp,
    /// What becomes of it.
    pub outcome: TickOutcome,
    /// Due times that this row stands for.
    pub count: i64,
    /// The job to make.
    pub job: Option<NewJob>,
}

/// Settles due times of a schedule: ledger rows, the jobs they make, and where the schedule stands then.
#[derive(Debug, Clone)]
pub struct Settle {
    /// Which schedule.
    pub id: ScheduleId,
    /// How it was seen to stand; when it stands otherwise nothing is done.
    pub expected: Schedule,
    /// What a job that is not final means for the next one.
    pub overlap: OverlapPolicy,
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
         paused_until_us = CASE WHEN $5 = 1 THEN NULL ELSE paused_until_us END,
         paused_by = CASE WHEN $5 = 1 THEN NULL ELSE paused_by END
     WHERE id = $1 AND settled_until_us = $2
       AND coalesce(paused_at_us, -1) = coalesce($6, -1) AND coalesce(paused_until_us, -1) = coalesce($7, -1)",
    &[Kind::Int, Kind::Int, Kind::Int, Kind::Int, Kind::Int, Kind::Int, Kind::Int],
);

const INSERT_TICK: Sql = Sql::both(
    "INSERT INTO ticks (schedule_id, due_at_us, outcome, job_id, due_count, recorded_at_us, first_due_us)
     VALUES ($1, $2, $3, $4, $5, $6, $7)
     ON CONFLICT (schedule_id, due_at_us) DO NOTHING",
    &[Kind::Int, Kind::Int, Kind::Text, Kind::Int, Kind::Int, Kind::Int, Kind::Int],
);

const NEWEST: Sql = Sql::both(
    "SELECT due_at_us, outcome FROM ticks WHERE schedule_id = $1 ORDER BY due_at_us DESC LIMIT 1",
    &[Kind::Int],
);

// The row moves to its newest due time: a reader who pages back into the past meets it at most once more.
const EXTEND: Sql = Sql::both(
    "UPDATE ticks
     SET due_at_us = $3, first_due_us = coalesce(first_due_us, due_at_us), due_count = due_count + $4,
         recorded_at_us = $5
     WHERE schedule_id = $1 AND due_at_us = $2",
    &[Kind::Int, Kind::Int, Kind::Int, Kind::Int, Kind::Int],
);

const OPEN_JOB: Sql =
    Sql::both("SELECT id FROM jobs WHERE schedule_id = $1 AND finished_at_us IS NULL LIMIT 1", &[Kind::Int]);

const WAITING_JOB: Sql = Sql::both(
    "SELECT id FROM jobs WHERE schedule_id = $1 AND finished_at_us IS NULL AND state <> 'RUNNING' LIMIT 1",
    &[Kind::Int],
);

const OPEN_JOBS: Sql = Sql::both(
    "SELECT id FROM jobs
     WHERE schedule_id = $1 AND finished_at_us IS NULL AND id > $2
     ORDER BY id
     LIMIT $3",
    &[Kind::Int, Kind::Int, Kind::Int],
);

const LINE_UP: Sql = Sql::both(
    "UPDATE jobs SET limit_key = $2
     WHERE schedule_id = $1 AND finished_at_us IS NULL AND (limit_key IS NULL OR limit_key = $3)",
    &[Kind::Int, Kind::Text, Kind::Text],
);

const TAKEN: Sql = Sql::both(
    "SELECT count(*) FROM ticks WHERE schedule_id = $1 AND due_at_us = $2",
    &[Kind::Int, Kind::Int],
);

// No row ends later than what is settled but those of runs by hand before the clock went back.
const COVERED: Sql = Sql::both(
    "SELECT count(*) FROM ticks
     WHERE schedule_id = $1 AND due_at_us >= $2 AND coalesce(first_due_us, due_at_us) <= $2",
    &[Kind::Int, Kind::Int],
);

/// Jobs that one look cancels.
const CANCEL_PAGE: i64 = 100;

/// The job that stands in the way of one more.
async fn in_the_way(batch: &mut Batch<'_>, id: ScheduleId, policy: OverlapPolicy) -> Result<Option<JobId>> {
    let sql = match policy {
        OverlapPolicy::Skip => &OPEN_JOB,
        OverlapPolicy::QueueOne => &WAITING_JOB,
        OverlapPolicy::QueueAll | OverlapPolicy::CancelRunning | OverlapPolicy::Allow => return Ok(None),
    };
    jobs::write_pending(batch).await?;
    let row = batch.tx.optional(sql, &args![id.0]).await?;
    row.map(|row| row.get(0).map(JobId)).transpose()
}

/// Makes the schedule's jobs that count for no limit, or for their task's, be of the line that `job` stands in: those that were
/// made under another policy, or beside the line by hand.
async fn line_up(batch: &mut Batch<'_>, id: ScheduleId, policy: OverlapPolicy, job: &NewJob) -> Result<()> {
    let Some(limit) = job.limit.as_ref().filter(|_| policy.makes_a_line()) else { return Ok(()) };
    jobs::write_pending(batch).await?;
    let of_task = job.task.as_ref().map(|task| LimitKey::Task(task.id));
    let text = |key: &LimitKey| key.to_string();
    batch.tx.execute(&LINE_UP, &args![id.0, text(&limit.key), of_task.as_ref().map(text)]).await?;
    keys::touch(batch, Some(&limit.key));
    keys::touch(batch, of_task.as_ref());
    Ok(())
}

/// Cancels what waits and asks what runs to stop: every job of the schedule but `made`.
async fn clear_the_way(batch: &mut Batch<'_>, id: ScheduleId, made: JobId, actor: &str) -> Result<()> {
    jobs::write_pending(batch).await?;
    let mut after = 0;
    loop {
        let rows = batch.tx.rows(&OPEN_JOBS, &args![id.0, after, CANCEL_PAGE]).await?;
        for row in &rows {
            after = row.get(0)?;
            if after == made.0 {
                continue;
            }
            let reason = Some(format!("{made} of the same schedule takes its place"));
            match (Cancel { id: JobId(after), actor: actor.to_owned(), reason }).apply(batch).await {
                // It ended between the two looks.
                Ok(_) | Err(Refusal::Rejected(_)) => {}
                Err(Refusal::Fault(fault)) => return Err(fault),
            }
        }
        if i64::try_from(rows.len()) != Ok(CANCEL_PAGE) {
            return Ok(());
        }
    }
}

impl Settle {
    /// The same without a job: what would have made one is dropped, and says so.
    #[must_use]
    pub fn dropped(mut self) -> Settle {
        for tick in self.ticks.iter_mut().filter(|tick| tick.job.is_some()) {
            (tick.job, tick.outcome) = (None, TickOutcome::DroppedMisfire);
        }
        self
    }
}

impl Change for Settle {
    /// The jobs that were made.
    type Answer = Vec<JobId>;

    fn needs_room(&self) -> bool {
        self.ticks.iter().any(|tick| tick.job.is_some())
    }

    fn size(&self) -> usize {
        self.ticks.iter().filter(|tick| tick.job.is_some()).count()
    }

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
        points::reach("schedule.advanced");
        jobs::write_pending(batch).await?;
        // Asked here, where nobody comes in between.
        let mut is_blocked = false;
        let mut made = Vec::new();
        for tick in &self.ticks {
            if holds(batch, &COVERED, self.id, tick.due_at).await? {
                // A clock that went back brings old due times again.
                continue;
            }
            let mut tick = tick.clone();
            if tick.job.is_some() {
                is_blocked = is_blocked || in_the_way(batch, self.id, self.overlap).await?.is_some();
                if is_blocked {
                    (tick.job, tick.outcome) = (None, TickOutcome::SkippedOverlap);
                }
            }
            if let Some(job) = record_tick(batch, self.id, &tick, self.queued_max).await? {
                if self.overlap == OverlapPolicy::CancelRunning {
                    clear_the_way(batch, self.id, job, ACTOR).await?;
                }
                made.push(job);
            }
        }
        let job = self.ticks.iter().find_map(|tick| tick.job.as_ref());
        if let Some(job) = job.filter(|_| !made.is_empty()) {
            line_up(batch, self.id, self.overlap, job).await?;
        }
        Ok(made)
    }
}

/// Whether the ledger has what `sql` asks for about a due time.
async fn holds(batch: &mut Batch<'_>, sql: &Sql, id: ScheduleId, due_at: Timestamp) -> Result<bool> {
    let row = batch.tx.optional(sql, &args![id.0, due_at.0]).await?;
    Ok(page::one(row)?.get::<i64>(0)? > 0)
}

/// Writes one row of the ledger with the job it makes; one more skip counts the last row on.
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
    if outcome.is_rolled_up() && extend(batch, id, tick, outcome).await? {
        return Ok(None);
    }
    let first_due = (tick.first_due_at < tick.due_at).then_some(tick.first_due_at.0);
    let job = made.map(|job| job.0);
    let values = args![id.0, tick.due_at.0, outcome.word(), job, tick.count, batch.now.0, first_due];
    batch.tx.execute(&INSERT_TICK, &values).await?;
    let data = json!({
        "dueAt": tick.due_at.to_string(),
        "firstDueAt": tick.first_due_at.to_string(),
        "outcome": outcome.word(),
        "count": tick.count,
        "job": made.map(|job| job.to_string()),
    });
    batch.emit(changed(id, ACTOR, EventType::ScheduleTicked, data));
    Ok(made)
}

/// Counts the newest row on when it says the same.
async fn extend(batch: &mut Batch<'_>, id: ScheduleId, tick: &NewTick, outcome: TickOutcome) -> Result<bool> {
    let Some(row) = batch.tx.optional(&NEWEST, &args![id.0]).await? else { return Ok(false) };
    let (newest, word): (i64, String) = (row.get(0)?, row.get(1)?);
    if word != outcome.word() || newest >= tick.first_due_at.0 {
        return Ok(false);
    }
    let values = args![id.0, newest, tick.due_at.0, tick.count, batch.now.0];
    batch.tx.execute(&EXTEND, &values).await?;
    Ok(true)
}

/// Starts a schedule's task by hand, as one more tick.
#[derive(Debug)]
pub struct Trigger {
    /// Which schedule.
    pub schedule: ScheduleId,
    /// The job to make.
    pub job: NewJob,
    /// Make it beside the others, whatever the schedule says of overlaps.
    pub ignore_overlap: bool,
    /// Jobs that may wait in the whole store.
    pub queued_max: i64,
}

impl Change for Trigger {
    type Answer = JobId;

    fn needs_room(&self) -> bool {
        true
    }

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<JobId> {
        jobs::write_pending(batch).await?;
        if let Some(key) = &self.job.idempotency
            && let Some(used) = jobs::find_key(batch, key).await?
        {
            return Ok(used?.id);
        }
        // On PostgreSQL its row stays locked: nobody else makes a job of it before the commit.
        let schedule = schedules::find(batch, &ScheduleRef::Id(self.schedule)).await?;
        let overlap = schedule.ok_or_else(schedules::missing)?.definition.overlap;
        let overlap = if self.ignore_overlap { OverlapPolicy::Allow } else { overlap };
        if let Some(job) = in_the_way(batch, self.schedule, overlap).await? {
            let stands =
                if overlap == OverlapPolicy::QueueOne { "waits already" } else { "is not final yet" };
            let message = format!("{job} of this schedule {stands}");
            return Err(Rejection::at(UserErrorCode::Conflict, "ignoreOverlap", message).into());
        }
        let enqueued = jobs::accept(batch, &self.job, self.queued_max).await??;
        if overlap == OverlapPolicy::CancelRunning {
            clear_the_way(batch, self.schedule, enqueued.id, &self.job.requested_by).await?;
        }
        line_up(batch, self.schedule, overlap, &self.job).await?;
        let due_at = self.place(batch).await?;
        let now = batch.now;
        let values = args![
            self.schedule.0,
            due_at.0,
            TickOutcome::Triggered.word(),
            Some(enqueued.id.0),
            1_i64,
            now.0,
            None::<i64>,
        ];
        batch.tx.execute(&INSERT_TICK, &values).await?;
        let data =
            json!({"dueAt": due_at.to_string(), "outcome": "TRIGGERED", "job": enqueued.id.to_string()});
        batch.emit(changed(self.schedule, &self.job.requested_by, EventType::ScheduleTicked, data));
        Ok(enqueued.id)
    }
}

impl Trigger {
    /// A due time names one tick: two runs by hand within a microsecond stand side by side, and none takes the place
    /// of the schedule's own due times, which are whole milliseconds.
    async fn place(&self, batch: &mut Batch<'_>) -> Result<Timestamp> {
        let mut due_at = batch.now;
        while due_at.0 % 1_000 == 0 || holds(batch, &TAKEN, self.schedule, due_at).await? {
            due_at = Timestamp(due_at.0 + 1);
        }
        Ok(due_at)
    }
}

const TICKS: Sql = Sql::both(
    "SELECT due_at_us, outcome, job_id, due_count, coalesce(first_due_us, due_at_us) FROM ticks
     WHERE schedule_id = $1 AND due_at_us < $2
     ORDER BY due_at_us DESC
     LIMIT $3",
    &[Kind::Int, Kind::Int, Kind::Int],
);

fn tick_from(row: &Row) -> Result<(String, Tick)> {
    let (due_at, word): (i64, String) = (row.get(0)?, row.get(1)?);
    let tick = Tick {
        due_at: Timestamp(due_at),
        first_due_at: Timestamp(row.get(4)?),
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
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[
    &ADVANCE,
    &INSERT_TICK,
    &NEWEST,
    &EXTEND,
    &OPEN_JOB,
    &WAITING_JOB,
    &OPEN_JOBS,
    &LINE_UP,
    &TAKEN,
    &COVERED,
    &TICKS,
];
