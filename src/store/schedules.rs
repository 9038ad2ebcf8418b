//! Owns the schedule rows and the ledger of ticks. A tick and the job it makes are one transaction.

use serde_json::json;

use super::db::{Kind, Row, Sql};
use super::fault::{Fault, Result};
use super::ids::Numbered;
use super::jobs::{self, text};
use super::page::{self, Page};
use super::writer::{Batch, Change, Outcome};
use super::{Reader, tasks};
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::event::{EventType, NewEvent};
use crate::domain::filter::ScheduleFilter;
use crate::domain::id::{JobId, ScheduleId, TaskId};
use crate::domain::job::NewJob;
use crate::domain::rejection::{Rejection, UserErrorCode};
use crate::domain::schedule::{Schedule, SchedulePut, ScheduleRef, Tick, TickOutcome};
use crate::domain::task::TaskRef;

macro_rules! schedule_columns {
    () => {
        "id, name, task_id, definition, paused_at_us, pause_reason, paused_until_us, next_due_us, settled_until_us"
    };
}

fn schedule_from(row: &Row) -> Result<Schedule> {
    let id: i64 = row.get(0)?;
    let definition: String = row.get(3)?;
    let at = |at: usize| -> Result<Option<Timestamp>> { Ok(row.get::<Option<i64>>(at)?.map(Timestamp)) };
    Ok(Schedule {
        id: ScheduleId(id),
        name: row.get(1)?,
        task_id: TaskId(row.get(2)?),
        definition: serde_json::from_str(&definition)
            .map_err(|_| Fault::unreadable("the definition", ScheduleId(id)))?,
        paused_at: at(4)?,
        pause_reason: row.get(5)?,
        paused_until: at(6)?,
        next_due_at: at(7)?,
        settled_until: Timestamp(row.get(8)?),
    })
}

pub(super) const FIND: Sql = Sql::each(
    concat!(
        "SELECT ",
        schedule_columns!(),
        " FROM schedules
         WHERE ($1 IS NULL OR id = $1) AND ($2 IS NULL OR name = $2)"
    ),
    concat!(
        "SELECT ",
        schedule_columns!(),
        " FROM schedules
         WHERE ($1 IS NULL OR id = $1) AND ($2 IS NULL OR name = $2) FOR UPDATE"
    ),
    &[Kind::Int, Kind::Text],
);

async fn find(batch: &mut Batch<'_>, schedule: &ScheduleRef) -> Result<Option<Schedule>> {
    let (id, name) = match schedule {
        ScheduleRef::Id(id) => (Some(id.0), None),
        ScheduleRef::Name(name) => (None, Some(name.clone())),
    };
    batch.tx.optional(&FIND, &args![id, name]).await?.map(|row| schedule_from(&row)).transpose()
}

fn missing() -> Rejection {
    Rejection::at(UserErrorCode::NotFound, "ref", "there is no such schedule")
}

fn changed(id: ScheduleId, actor: &str, kind: EventType, data: serde_json::Value) -> NewEvent {
    NewEvent {
        kind,
        actor: actor.to_owned(),
        subject_id: Some(id.to_string()),
        job_id: None,
        task_name: None,
        queue_name: None,
        data,
    }
}

pub(super) const PUT: Sql = Sql::both(
    "INSERT INTO schedules (id, name, task_id, definition, paused_at_us, pause_reason, paused_until_us, next_due_us,
                            settled_until_us, created_at_us, updated_at_us)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)
     ON CONFLICT (id) DO UPDATE
     SET task_id = excluded.task_id, definition = excluded.definition, paused_at_us = excluded.paused_at_us,
         pause_reason = excluded.pause_reason, paused_until_us = excluded.paused_until_us,
         next_due_us = excluded.next_due_us, settled_until_us = excluded.settled_until_us,
         updated_at_us = excluded.updated_at_us",
    &[
        Kind::Int,
        Kind::Text,
        Kind::Int,
        Kind::Text,
        Kind::Int,
        Kind::Text,
        Kind::Int,
        Kind::Int,
        Kind::Int,
        Kind::Int,
    ],
);

async fn write(batch: &mut Batch<'_>, schedule: &Schedule) -> Result<()> {
    let values = args![
        schedule.id.0,
        &schedule.name,
        schedule.task_id.0,
        text(&schedule.definition),
        schedule.paused_at.map(|at| at.0),
        schedule.pause_reason.clone(),
        schedule.paused_until.map(|at| at.0),
        schedule.next_due_at.map(|at| at.0),
        schedule.settled_until.0,
        batch.now.0,
    ];
    batch.tx.execute(&PUT, &values).await?;
    Ok(())
}

/// The first due time after now, as the rule says.
fn next_due(schedule: &Schedule, after: Timestamp) -> Result<Option<Timestamp>> {
    let timing = schedule
        .definition
        .compile(&schedule.name)
        .map_err(|_| Fault::unreadable("the timing", schedule.id))?;
    Ok(timing.next_after(after).map(|due| due.at))
}

/// Makes a schedule or changes one.
#[derive(Debug)]
pub struct PutSchedule {
    /// What it shall be.
    pub schedule: SchedulePut,
    /// Who asks.
    pub actor: String,
}

impl Change for PutSchedule {
    type Answer = ScheduleId;

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<ScheduleId> {
        let put = &self.schedule;
        let task = tasks::find(batch, &put.task).await?.filter(|task| task.archived_at.is_none());
        let Some(task) = task else {
            return Err(Rejection::at(UserErrorCode::NotFound, "task", "there is no such task in use").into());
        };
        let old = find(batch, &ScheduleRef::Name(put.name.clone())).await?;
        let now = batch.now;
        let id = match &old {
            Some(schedule) => schedule.id,
            None => ScheduleId(batch.draw(Numbered::Schedule).await?),
        };
        let was_paused = old.as_ref().and_then(|schedule| schedule.paused_at);
        let paused_at = match put.is_paused {
            Some(true) => was_paused.or(Some(now)),
            Some(false) => None,
            None => was_paused,
        };
        // A changed rule begins anew; an equal one goes on where it stands, so that putting it again at every
        // deployment neither loses nor doubles a due time.
        let same = old.as_ref().filter(|old| old.definition == put.definition && was_paused == paused_at);
        let mut schedule = Schedule {
            id,
            name: put.name.clone(),
            task_id: task.id,
            definition: put.definition.clone(),
            paused_at,
            pause_reason: old
                .as_ref()
                .filter(|_| paused_at.is_some())
                .and_then(|old| old.pause_reason.clone()),
            paused_until: old.as_ref().filter(|_| paused_at.is_some()).and_then(|old| old.paused_until),
            next_due_at: same.and_then(|old| old.next_due_at),
            settled_until: same.map_or(now, |old| old.settled_until),
        };
        if same.is_none() {
            schedule.next_due_at = next_due(&schedule, now)?;
        }
        write(batch, &schedule).await?;
        let data = json!({"action": "PUT", "name": schedule.name, "task": task.name});
        batch.emit(changed(id, &self.actor, EventType::ScheduleChanged, data));
        Ok(id)
    }
}

/// A change of a schedule that exists.
#[derive(Debug, Clone)]
pub enum ScheduleAction {
    /// Make no jobs.
    Pause {
        /// Why.
        reason: Option<String>,
        /// Until when.
        until: Option<Timestamp>,
    },
    /// Make jobs again, from now on.
    Resume,
    /// Forget it; its jobs stay.
    Delete,
}

/// Changes a schedule that exists.
#[derive(Debug)]
pub struct ChangeSchedule {
    /// Which.
    pub schedule: ScheduleRef,
    /// What to do.
    pub action: ScheduleAction,
    /// Who asks.
    pub actor: String,
}

pub(super) const DELETE: Sql = Sql::both("DELETE FROM schedules WHERE id = $1", &[Kind::Int]);

impl Change for ChangeSchedule {
    type Answer = ScheduleId;

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<ScheduleId> {
        let Some(mut schedule) = find(batch, &self.schedule).await? else { return Err(missing().into()) };
        let id = schedule.id;
        let data = match &self.action {
            ScheduleAction::Pause { reason, until } => {
                schedule.paused_at = schedule.paused_at.or(Some(batch.now));
                schedule.pause_reason.clone_from(reason);
                schedule.paused_until = *until;
                write(batch, &schedule).await?;
                json!({"action": "PAUSE", "reason": reason, "until": until.map(|at| at.to_string())})
            }
            ScheduleAction::Resume => {
                // What fell into the pause is settled by the scheduler as SKIPPED_PAUSED; it knows the span.
                schedule.paused_until = Some(batch.now);
                write(batch, &schedule).await?;
                json!({"action": "RESUME"})
            }
            ScheduleAction::Delete => {
                batch.tx.execute(&DELETE, &args![id.0]).await?;
                json!({"action": "DELETE", "name": schedule.name})
            }
        };
        batch.emit(changed(id, &self.actor, EventType::ScheduleChanged, data));
        Ok(id)
    }
}

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
    /// Where it must stand, or nothing is done: another one was faster.
    pub expected: Timestamp,
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

pub(super) const ADVANCE: Sql = Sql::both(
    "UPDATE schedules
     SET settled_until_us = $3, next_due_us = $4,
         paused_at_us = CASE WHEN $5 = 1 THEN NULL ELSE paused_at_us END,
         pause_reason = CASE WHEN $5 = 1 THEN NULL ELSE pause_reason END,
         paused_until_us = CASE WHEN $5 = 1 THEN NULL ELSE paused_until_us END
     WHERE id = $1 AND settled_until_us = $2",
    &[Kind::Int, Kind::Int, Kind::Int, Kind::Int, Kind::Int],
);

pub(super) const INSERT_TICK: Sql = Sql::both(
    "INSERT INTO ticks (schedule_id, due_at_us, outcome, job_id, due_count, recorded_at_us)
     VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (schedule_id, due_at_us) DO NOTHING",
    &[Kind::Int, Kind::Int, Kind::Text, Kind::Int, Kind::Int, Kind::Int],
);

pub(super) const OPEN_JOB: Sql =
    Sql::both("SELECT id FROM jobs WHERE schedule_id = $1 AND finished_at_us IS NULL LIMIT 1", &[Kind::Int]);

pub(super) const TICK_EXISTS: Sql = Sql::both(
    "SELECT count(*) FROM ticks WHERE schedule_id = $1 AND due_at_us = $2",
    &[Kind::Int, Kind::Int],
);

impl Change for Settle {
    /// The jobs that were made.
    type Answer = Vec<JobId>;

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<Vec<JobId>> {
        let values = args![
            self.id.0,
            self.expected.0,
            self.settled_until.0,
            self.next_due_at.map(|at| at.0),
            i64::from(self.ends_pause)
        ];
        if batch.tx.execute(&ADVANCE, &values).await? == 0 {
            return Ok(Vec::new());
        }
        let mut made = Vec::new();
        for tick in &self.ticks {
            let exists = batch.tx.optional(&TICK_EXISTS, &args![self.id.0, tick.due_at.0]).await?;
            if page::one(exists)?.get::<i64>(0)? > 0 {
                // A clock that went back brings old due times again.
                continue;
            }
            made.extend(record_tick(batch, self.id, tick, self.queued_max).await?);
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
        let is_repeat = self.job.idempotency.is_some();
        let open = batch.tx.optional(&OPEN_JOB, &args![self.schedule.0]).await?;
        if let Some(row) = open.filter(|_| !self.ignore_overlap && !is_repeat) {
            let message = format!("{} of this schedule is not final yet", JobId(row.get(0)?));
            return Err(Rejection::at(UserErrorCode::Conflict, "ignoreOverlap", message).into());
        }
        let enqueued = match jobs::accept(batch, &self.job, self.queued_max).await? {
            Ok(enqueued) if enqueued.is_deduplicated => return Ok(enqueued.id),
            Ok(enqueued) => enqueued,
            Err(rejection) => return Err(rejection.into()),
        };
        let now = batch.now;
        let values =
            args![self.schedule.0, now.0, TickOutcome::Triggered.word(), Some(enqueued.id.0), 1_i64, now.0];
        batch.tx.execute(&INSERT_TICK, &values).await?;
        let data = json!({"dueAt": now.to_string(), "outcome": "TRIGGERED", "job": enqueued.id.to_string()});
        batch.emit(changed(self.schedule, &self.job.requested_by, EventType::ScheduleTicked, data));
        Ok(enqueued.id)
    }
}

pub(super) const BY_ID: Sql = Sql::both(
    concat!(
        "SELECT ",
        schedule_columns!(),
        " FROM schedules
         WHERE id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))"
    ),
    &[Kind::Text],
);

pub(super) const BY_NAME: Sql =
    Sql::both(concat!("SELECT ", schedule_columns!(), " FROM schedules WHERE name = $1"), &[Kind::Text]);

pub(super) const LIST: Sql = Sql::both(
    concat!(
        "SELECT ",
        schedule_columns!(),
        " FROM schedules
         WHERE name > $1
           AND ($2 IS NULL OR task_id = $2)
           AND ($3 IS NULL OR ($3 = 1 AND paused_at_us IS NOT NULL) OR ($3 = 0 AND paused_at_us IS NULL))
         ORDER BY name
         LIMIT $4"
    ),
    &[Kind::Text, Kind::Int, Kind::Int, Kind::Int],
);

pub(super) const TICKS: Sql = Sql::both(
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
    /// The schedules of these ids, in no order; unknown ones are left out.
    pub async fn schedules_by_id(&self, ids: &[ScheduleId]) -> Result<Vec<Schedule>> {
        let ids = page::numbers(Some(ids), |id| id.0);
        self.db.rows(&BY_ID, &args![ids]).await?.iter().map(schedule_from).collect()
    }

    /// The schedule, if it exists.
    pub async fn schedule(&self, schedule: &ScheduleRef) -> Result<Option<Schedule>> {
        match schedule {
            ScheduleRef::Id(id) => Ok(self.schedules_by_id(&[*id]).await?.pop()),
            ScheduleRef::Name(name) => {
                self.db.optional(&BY_NAME, &args![name]).await?.map(|row| schedule_from(&row)).transpose()
            }
        }
    }

    /// A page of schedules by name, behind the name `after`.
    pub async fn schedules(
        &self,
        filter: &ScheduleFilter,
        after: &str,
        limit: usize,
    ) -> Result<Page<Schedule>> {
        let task = match &filter.task {
            Some(task) => Some(self.task(task).await?.map_or(0, |task| task.id.0)),
            None => None,
        };
        let values = args![after, task, filter.is_paused.map(i64::from), page::one_more(limit)];
        let rows = self.db.rows(&LIST, &values).await?;
        let read = |row: &Row| schedule_from(row).map(|schedule| (schedule.name.clone(), schedule));
        Ok(Page::cut(rows.iter().map(read).collect::<Result<_>>()?, limit))
    }

    /// A page of a schedule's ledger, newest first, before the due time `before`.
    pub async fn ticks(&self, id: ScheduleId, before: i64, limit: usize) -> Result<Page<Tick>> {
        let rows = self.db.rows(&TICKS, &args![id.0, before, page::one_more(limit)]).await?;
        Ok(Page::cut(rows.iter().map(tick_from).collect::<Result<_>>()?, limit))
    }

    /// Whether a job of the schedule is not final.
    pub async fn has_open_job(&self, id: ScheduleId) -> Result<bool> {
        Ok(self.db.optional(&OPEN_JOB, &args![id.0]).await?.is_some())
    }

    /// Schedules of a task by name; a task has few.
    pub async fn schedules_of(&self, task: TaskId, limit: usize) -> Result<Vec<Schedule>> {
        let filter = ScheduleFilter { task: Some(TaskRef::Id(task)), is_paused: None };
        Ok(self.schedules(&filter, "", limit).await?.rows.into_iter().map(|(_, schedule)| schedule).collect())
    }
}

pub(super) const DUE: Sql = Sql::both(
    concat!(
        "SELECT ",
        schedule_columns!(),
        " FROM schedules
         WHERE next_due_us <= $1 OR paused_until_us <= $1
         ORDER BY id
         LIMIT $2"
    ),
    &[Kind::Int, Kind::Int],
);

pub(super) const NEXT: Sql = Sql::both(
    "SELECT min(CASE WHEN paused_until_us < next_due_us THEN paused_until_us ELSE next_due_us END) FROM schedules",
    &[],
);

impl Reader {
    /// Schedules with something to settle at `now`, at most `limit`.
    pub async fn due_schedules(&self, now: Timestamp, limit: usize) -> Result<Vec<Schedule>> {
        let values = args![now.0, i64::try_from(limit).unwrap_or(i64::MAX)];
        self.db.rows(&DUE, &values).await?.iter().map(schedule_from).collect()
    }

    /// When the next schedule has something to settle.
    pub async fn next_schedule_due(&self) -> Result<Option<Timestamp>> {
        Ok(page::one(self.db.optional(&NEXT, &[]).await?)?.get::<Option<i64>>(0)?.map(Timestamp))
    }
}
