//! Owns the schedule rows and what may be done to them.

use serde_json::json;

use super::db::{Kind, Row, Sql};
use super::fault::{Fault, Result};
use super::ids::Numbered;
use super::jobs::text;
use super::page::{self, Page};
use super::writer::{Batch, Change, Outcome};
use super::{Reader, tasks};
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::event::{EventType, NewEvent};
use crate::domain::filter::ScheduleFilter;
use crate::domain::id::{ScheduleId, TaskId};
use crate::domain::rejection::{Rejection, UserErrorCode};
use crate::domain::schedule::{Schedule, SchedulePut, ScheduleRef, first_due};
use crate::domain::task::TaskRef;

macro_rules! schedule_columns {
    () => {
        "id, name, task_id, definition, paused_at_us, pause_reason, paused_until_us, next_due_us, settled_until_us,
         paused_by"
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
        paused_by: row.get(9)?,
        pause_reason: row.get(5)?,
        paused_until: at(6)?,
        next_due_at: at(7)?,
        settled_until: Timestamp(row.get(8)?),
    })
}

const FIND: Sql = Sql::each(
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

pub(super) async fn find(batch: &mut Batch<'_>, schedule: &ScheduleRef) -> Result<Option<Schedule>> {
    let (id, name) = match schedule {
        ScheduleRef::Id(id) => (Some(id.0), None),
        ScheduleRef::Name(name) if !page::is_storable(name) => return Ok(None),
        ScheduleRef::Name(name) => (None, Some(name.clone())),
    };
    batch.tx.optional(&FIND, &args![id, name]).await?.map(|row| schedule_from(&row)).transpose()
}

pub(super) fn missing() -> Rejection {
    Rejection::at(UserErrorCode::NotFound, "ref", "there is no such schedule")
}

pub(super) fn changed(id: ScheduleId, actor: &str, kind: EventType, data: serde_json::Value) -> NewEvent {
    NewEvent {
        kind,
        actor: actor.to_owned(),
        subject_id: Some(id.to_string()),
        job_id: None,
        task_name: None,
        queue_name: None,
        data: data.into(),
    }
}

const PUT: Sql = Sql::both(
    "INSERT INTO schedules (id, name, task_id, definition, paused_at_us, pause_reason, paused_until_us, next_due_us,
                            settled_until_us, created_at_us, updated_at_us, paused_by)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11)
     ON CONFLICT (id) DO UPDATE
     SET task_id = excluded.task_id, definition = excluded.definition, paused_at_us = excluded.paused_at_us,
         pause_reason = excluded.pause_reason, paused_until_us = excluded.paused_until_us,
         next_due_us = excluded.next_due_us, settled_until_us = excluded.settled_until_us,
         updated_at_us = excluded.updated_at_us, paused_by = excluded.paused_by",
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
        Kind::Text,
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
        schedule.paused_by.clone(),
    ];
    batch.tx.execute(&PUT, &values).await?;
    Ok(())
}

/// Makes a schedule or changes one.
#[derive(Debug, Clone)]
pub struct PutSchedule {
    /// What it shall be.
    pub schedule: SchedulePut,
    /// Who asks.
    pub actor: String,
}

impl Change for PutSchedule {
    /// Its id. Nothing while a due time has passed that is not settled yet: then nothing is changed, and it is to be
    /// settled as the old rule says before this is asked again.
    type Answer = Option<ScheduleId>;

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<Option<ScheduleId>> {
        let put = &self.schedule;
        let task = tasks::find(batch, &put.task).await?.filter(|task| task.archived_at.is_none());
        let Some(task) = task else {
            return Err(Rejection::at(UserErrorCode::NotFound, "task", "there is no such task in use").into());
        };
        let old = find(batch, &ScheduleRef::Name(put.name.clone())).await?;
        let now = batch.now;
        let was_paused = old.as_ref().and_then(|schedule| schedule.paused_at);
        let paused_at = match put.is_paused {
            Some(true) => was_paused.or(Some(now)),
            Some(false) => None,
            None => was_paused,
        };
        // A pause that ends just now would take along the one that is asked for.
        let ends = |old: &Schedule| old.paused_until.is_some_and(|at| at <= now) && is_unsettled(old, now);
        if put.is_paused == Some(true) && old.as_ref().is_some_and(ends) {
            return Ok(None);
        }
        // A changed rule begins anew; an equal one goes on where it stands, so that putting it again at every
        // deployment neither loses nor doubles a due time.
        let same = old.as_ref().filter(|old| old.definition == put.definition && was_paused == paused_at);
        if same.is_some_and(|old| old.task_id == task.id)
            && let Some(old) = &old
        {
            return Ok(Some(old.id));
        }
        if old.as_ref().is_some_and(|old| is_unsettled(old, now)) {
            return Ok(None);
        }
        let (next_due_at, settled_until) = match same {
            Some(old) => (old.next_due_at, old.settled_until),
            None => begin(put, old.as_ref(), now)?,
        };
        let id = match &old {
            Some(schedule) => schedule.id,
            None => ScheduleId(batch.draw(Numbered::Schedule).await?),
        };
        let still_paused = old.as_ref().filter(|old| old.paused_at.is_some() && paused_at.is_some());
        let schedule = Schedule {
            id,
            name: put.name.clone(),
            task_id: task.id,
            definition: put.definition.clone(),
            paused_at,
            paused_by: match still_paused {
                Some(old) => old.paused_by.clone(),
                None => paused_at.map(|_| self.actor.clone()),
            },
            pause_reason: still_paused.and_then(|old| old.pause_reason.clone()),
            paused_until: still_paused.and_then(|old| old.paused_until),
            next_due_at,
            settled_until,
        };
        write(batch, &schedule).await?;
        let data = json!({"action": "PUT", "name": schedule.name, "task": task.name});
        batch.emit(changed(id, &self.actor, EventType::ScheduleChanged, data));
        Ok(Some(id))
    }
}

/// Whether it has to be settled first. A rule that can no longer be read is never settled, and only another one helps: it
/// does not stand in its way.
fn is_unsettled(schedule: &Schedule, now: Timestamp) -> bool {
    schedule.is_due(now) && schedule.definition.compile(&schedule.name).is_ok()
}

/// The first due time of a new rule, and from where on it holds. What was settled stays so, also when the clock went
/// back since: no due time is dealt with under two rules.
fn begin(
    put: &SchedulePut,
    old: Option<&Schedule>,
    now: Timestamp,
) -> std::result::Result<(Option<Timestamp>, Timestamp), Rejection> {
    let timing = put.definition.compile(&put.name)?;
    first_due(&timing, &put.definition.time_zone, now)?;
    let settled_until = old.map_or(now, |old| old.settled_until.max(now));
    Ok((timing.next_after(settled_until).map(|due| due.at), settled_until))
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
#[derive(Debug, Clone)]
pub struct ChangeSchedule {
    /// Which.
    pub schedule: ScheduleRef,
    /// What to do.
    pub action: ScheduleAction,
    /// Who asks.
    pub actor: String,
}

const DELETE: Sql = Sql::both("DELETE FROM schedules WHERE id = $1", &[Kind::Int]);

impl Change for ChangeSchedule {
    /// Its id. Nothing while a pause has to wait for a due time that has passed and is not settled yet: else a job of it
    /// would come behind the answer that the schedule makes none.
    type Answer = Option<ScheduleId>;

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<Option<ScheduleId>> {
        let Some(mut schedule) = find(batch, &self.schedule).await? else { return Err(missing().into()) };
        let id = schedule.id;
        let data = match &self.action {
            ScheduleAction::Pause { until: Some(until), .. } if *until <= batch.now => {
                let message = format!("the pause would have ended at {until}, which has passed");
                return Err(Rejection::invalid("until", message).into());
            }
            ScheduleAction::Pause { .. } if is_unsettled(&schedule, batch.now) => return Ok(None),
            ScheduleAction::Pause { reason, until } => {
                schedule.paused_by = Some(self.actor.clone());
                schedule.paused_at = schedule.paused_at.or(Some(batch.now));
                schedule.pause_reason.clone_from(reason);
                schedule.paused_until = *until;
                write(batch, &schedule).await?;
                json!({"action": "PAUSE", "reason": reason, "until": until.map(|at| at.to_string())})
            }
            ScheduleAction::Resume if schedule.paused_at.is_none() => return Ok(Some(id)),
            ScheduleAction::Resume => {
                // What fell into the pause is settled by the scheduler as SKIPPED_PAUSED; it knows the span.
                // Not later than it had ended by itself.
                schedule.paused_until = Some(schedule.paused_until.map_or(batch.now, |at| at.min(batch.now)));
                write(batch, &schedule).await?;
                json!({"action": "RESUME"})
            }
            ScheduleAction::Delete => {
                batch.tx.execute(&DELETE, &args![id.0]).await?;
                json!({"action": "DELETE", "name": schedule.name})
            }
        };
        batch.emit(changed(id, &self.actor, EventType::ScheduleChanged, data));
        Ok(Some(id))
    }
}

const BY_ID: Sql = Sql::both(
    concat!(
        "SELECT ",
        schedule_columns!(),
        " FROM schedules
         WHERE id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))"
    ),
    &[Kind::Text],
);

const BY_NAME: Sql =
    Sql::both(concat!("SELECT ", schedule_columns!(), " FROM schedules WHERE name = $1"), &[Kind::Text]);

const LIST: Sql = Sql::both(
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
            ScheduleRef::Name(name) if !page::is_storable(name) => Ok(None),
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

    /// Schedules of a task by name; a task has few.
    pub async fn schedules_of(&self, task: TaskId, limit: usize) -> Result<Vec<Schedule>> {
        let filter = ScheduleFilter { task: Some(TaskRef::Id(task)), is_paused: None };
        Ok(self.schedules(&filter, "", limit).await?.rows.into_iter().map(|(_, schedule)| schedule).collect())
    }
}

// Those that have waited longest come first: by their numbers, those behind the first page would never have their turn
// while the others are due again by then.
const DUE: Sql = Sql::both(
    concat!(
        "SELECT ",
        schedule_columns!(),
        " FROM schedules
         WHERE next_due_us <= $1 OR paused_until_us <= $1
         ORDER BY CASE WHEN next_due_us IS NULL OR paused_until_us < next_due_us THEN paused_until_us ELSE next_due_us END, id
         LIMIT $2"
    ),
    &[Kind::Int, Kind::Int],
);

const NEXT: Sql = Sql::both(
    "SELECT min(CASE WHEN next_due_us IS NULL OR paused_until_us < next_due_us THEN paused_until_us ELSE next_due_us END)
     FROM schedules",
    &[],
);

impl Reader {
    /// Schedules with something to settle at `now`, at most `limit`: those that have waited longest.
    pub async fn due_schedules(&self, now: Timestamp, limit: usize) -> Result<Vec<Schedule>> {
        let values = args![now.0, i64::try_from(limit).unwrap_or(i64::MAX)];
        self.db.rows(&DUE, &values).await?.iter().map(schedule_from).collect()
    }

    /// When the next schedule has something to settle.
    pub async fn next_schedule_due(&self) -> Result<Option<Timestamp>> {
        Ok(page::one(self.db.optional(&NEXT, &[]).await?)?.get::<Option<i64>>(0)?.map(Timestamp))
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&FIND, &PUT, &DELETE, &BY_ID, &BY_NAME, &LIST, &DUE, &NEXT];
