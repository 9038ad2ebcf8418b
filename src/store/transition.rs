//! Owns the changes of a job's state: each names the state it expects, and zero rows is `Stale`, a decision.

use serde_json::{Value, json};

use super::db::{Kind, Sql};
use super::fault::Result;
use super::job_columns::{job_columns, job_from};
use super::jobs::{self, text};
use super::writer::{Batch, Change, Outcome};
use super::{keys, page};
use crate::args;
use crate::base::clock::Timestamp;
use crate::base::points;
use crate::domain::event::{EventData, EventType, NewEvent};
use crate::domain::id::JobId;
use crate::domain::job::{Job, JobState, rank};
use crate::domain::lifecycle;
use crate::domain::rejection::{Rejection, UserErrorCode};

const LOCK: Sql = Sql::each(
    concat!("SELECT ", job_columns!(), ", 0, worker_id FROM jobs WHERE id = $1"),
    concat!("SELECT ", job_columns!(), ", CAST(0 AS BIGINT), worker_id FROM jobs WHERE id = $1 FOR UPDATE"),
    &[Kind::Int],
);

const MOVE: Sql = Sql::both(
    "UPDATE jobs
     SET state = $3, failure = $4, run_at_us = $5, rank_us = $6, finished_at_us = $7, worker_id = NULL,
         try_count = $8, stop_requested_at_us = $9,
         held_by = CASE WHEN $3 = 'HELD' THEN $10 ELSE NULL END,
         -- Whoever comes into the queue stands behind its key until it is seen who may run.
         gated_at_us = CASE WHEN $3 = 'QUEUED' AND limit_key IS NOT NULL THEN $11 ELSE NULL END
     WHERE id = $1 AND state = $2",
    &[
        Kind::Int,
        Kind::Text,
        Kind::Text,
        Kind::Text,
        Kind::Int,
        Kind::Int,
        Kind::Int,
        Kind::Int,
        Kind::Int,
        Kind::Text,
        Kind::Int,
    ],
);

const MOVE_MANY: Sql = Sql::both(
    "UPDATE jobs
     SET state = $2, finished_at_us = $3, stop_requested_at_us = coalesce($4, stop_requested_at_us), held_by = NULL,
         gated_at_us = CASE WHEN $2 = 'QUEUED' AND limit_key IS NOT NULL THEN $5 ELSE NULL END
     WHERE id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1)) AND coalesce(finished_at_us IS NULL, FALSE)
       AND state <> 'RUNNING'
     RETURNING limit_key",
    &[Kind::Text, Kind::Text, Kind::Int, Kind::Int, Kind::Int],
);

const REQUEST_STOP: Sql = Sql::both(
    "UPDATE jobs SET stop_requested_at_us = $2 WHERE id = $1 AND coalesce(state = 'RUNNING', FALSE)
       AND stop_requested_at_us IS NULL",
    &[Kind::Int, Kind::Int],
);

/// Reads the job for a change; on PostgreSQL its row stays locked until the commit.
pub(super) async fn lock(batch: &mut Batch<'_>, id: JobId) -> Result<Option<Job>> {
    jobs::write_pending(batch).await?;
    let row = batch.tx.optional(&LOCK, &args![id.0]).await?;
    row.map(|row| job_from(&row, batch.epoch)).transpose()
}

/// What a job becomes.
pub(super) struct Next {
    state: JobState,
    failure: Option<String>,
    run_at: Timestamp,
    try_count: i32,
    stop_requested_at: Option<Timestamp>,
}

impl Next {
    /// The other state, and nothing else changes.
    pub(super) fn only(job: &Job, state: JobState) -> Next {
        Next {
            state,
            failure: job.failure.as_ref().map(text),
            run_at: job.run_at,
            try_count: job.try_count,
            stop_requested_at: job.stop_requested_at,
        }
    }
}

pub(super) async fn move_job(
    batch: &mut Batch<'_>,
    job: &Job,
    next: Next,
    actor: &str,
    extra: Value,
) -> Result<bool> {
    assert!(
        lifecycle::may_follow(job.state, next.state),
        "{} may not go from {:?} to {:?}",
        job.id,
        job.state,
        next.state
    );
    let finished_at = next.state.is_final().then_some(batch.now.0);
    let changed = batch
        .tx
        .execute(
            &MOVE,
            &args![
                job.id.0,
                job.state.word(),
                next.state.word(),
                next.failure,
                next.run_at.0,
                rank(next.run_at, job.priority),
                finished_at,
                next.try_count,
                next.stop_requested_at.map(|at| at.0),
                actor,
                batch.now.0,
            ],
        )
        .await?;
    if changed == 0 {
        return Ok(false);
    }
    keys::touch(batch, job.limit_key.as_ref());
    moved(batch, job, actor, EventData::moved(job.state, next.state).with_all(extra));
    Ok(true)
}

/// What counts and events say of a job, as it stands before a change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) id: JobId,
    pub(super) state: JobState,
    pub(super) queue: &'a str,
    pub(super) task: Option<&'a str>,
}

impl<'a> From<&'a Job> for Named<'a> {
    fn from(job: &'a Job) -> Named<'a> {
        Named { id: job.id, state: job.state, queue: &job.queue_name, task: job.task_name.as_deref() }
    }
}

/// Keeps count of a job that goes where the event says, and tells of it. Its key is for the caller to touch.
pub(super) fn moved<'a>(batch: &mut Batch<'_>, job: impl Into<Named<'a>>, actor: &str, data: EventData) {
    let job = job.into();
    let to = data.moved_to().expect("it says where the job goes");
    if to.is_final() {
        batch.ends.add(job.id);
    }
    batch.count(job.queue, job.state, -1);
    batch.count(job.queue, to, 1);
    batch.emit(job_event(EventType::JobStateChanged, job, actor, data));
}

/// An event about a job.
pub(super) fn job_event<'a>(
    kind: EventType,
    job: impl Into<Named<'a>>,
    actor: &str,
    data: EventData,
) -> NewEvent {
    let job = job.into();
    NewEvent {
        kind,
        actor: actor.to_owned(),
        subject_id: Some(job.id.to_string()),
        job_id: Some(job.id),
        task_name: job.task.map(str::to_owned),
        queue_name: Some(job.queue.to_owned()),
        data,
    }
}

/// What the event says of a running job that somebody asked to stop.
pub(super) fn stop_requested(reason: Option<&str>) -> EventData {
    EventData::moved(JobState::Running, JobState::Running).with("stopRequested", true).with("reason", reason)
}

/// A job that goes to another state together with others.
#[derive(Debug)]
pub(super) struct Moving {
    pub(super) id: JobId,
    pub(super) from: JobState,
    pub(super) queue: String,
    pub(super) task: Option<String>,
    /// What its event says beside the states.
    pub(super) extra: Value,
}

/// Moves jobs that wait, and that this transaction has locked, in one statement.
pub(super) async fn move_many(
    batch: &mut Batch<'_>,
    moving: Vec<Moving>,
    to: JobState,
    actor: &str,
) -> Result<()> {
    if moving.is_empty() {
        return Ok(());
    }
    let ids = page::numbers(Some(&moving), |one| one.id.0);
    let now = batch.now.0;
    let (finished_at, stopped_at) =
        (to.is_final().then_some(now), (to == JobState::Cancelled).then_some(now));
    let rows = batch.tx.rows(&MOVE_MANY, &args![ids, to.word(), finished_at, stopped_at, now]).await?;
    assert!(rows.len() == moving.len(), "a job moved that was locked");
    let keys = rows.iter().map(|row| row.get(0)).collect::<Result<Vec<Option<String>>>>()?;
    batch.touched_keys.extend(keys.into_iter().flatten());
    for one in moving {
        assert!(lifecycle::may_follow(one.from, to), "{} may not go from {:?} to {to:?}", one.id, one.from);
        let job = Named { id: one.id, state: one.from, queue: &one.queue, task: one.task.as_deref() };
        moved(batch, job, actor, EventData::moved(one.from, to).with_all(one.extra));
    }
    Ok(())
}

/// Ends a job that waits.
pub(super) async fn cancel_waiting(
    batch: &mut Batch<'_>,
    job: &Job,
    actor: &str,
    extra: Value,
) -> Result<()> {
    let next = Next { stop_requested_at: Some(batch.now), ..Next::only(job, JobState::Cancelled) };
    move_job(batch, job, next, actor, extra).await?;
    Ok(())
}

/// Stops a job: at once while it waits; by asking its worker while it runs.
#[derive(Debug)]
pub struct Cancel {
    /// The job.
    pub id: JobId,
    /// Who asks.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
}

/// What a cancel did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The job is final now.
    Done,
    /// The worker is asked to stop it.
    Asked,
}

impl Change for Cancel {
    type Answer = Cancelled;

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<Cancelled> {
        let Some(job) = lock(batch, self.id).await? else {
            let message = format!("there is no job {}", self.id);
            return Err(Rejection::at(UserErrorCode::NotFound, "id", message).into());
        };
        if job.state == JobState::Running {
            let asked = batch.tx.execute(&REQUEST_STOP, &args![job.id.0, batch.now.0]).await?;
            if asked > 0 {
                // Another worker may run it.
                batch.calls_others = true;
                let data = stop_requested(self.reason.as_deref());
                batch.emit(job_event(EventType::JobStateChanged, &job, &self.actor, data));
            }
            return Ok(Cancelled::Asked);
        }
        if job.state.is_final() {
            let message = format!("{} is {} already", job.id, job.state.word());
            return Err(Rejection::at(UserErrorCode::NotCancellable, "id", message).into());
        }
        cancel_waiting(batch, &job, &self.actor, json!({"reason": self.reason})).await?;
        Ok(Cancelled::Done)
    }
}

// What another daemon moves at the same moment is left to it: waiting for it would only find nothing to do.
const DUE: Sql = Sql::each(
    "SELECT id, queue, state, task_name, limit_key FROM jobs
     WHERE state IN ('SCHEDULED', 'RETRYING') AND run_at_us <= $1
     ORDER BY run_at_us, id
     LIMIT $2",
    "SELECT id, queue, state, task_name, limit_key FROM jobs
     WHERE state IN ('SCHEDULED', 'RETRYING') AND run_at_us <= $1
     ORDER BY run_at_us, id
     LIMIT $2
     FOR UPDATE SKIP LOCKED",
    &[Kind::Int, Kind::Int],
);

const PROMOTE: Sql = Sql::both(
    "UPDATE jobs SET state = 'QUEUED', gated_at_us = CASE WHEN limit_key IS NULL THEN NULL ELSE $2 END
     WHERE id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1)) AND coalesce(state IN ('SCHEDULED', 'RETRYING'), FALSE)
     RETURNING id",
    &[Kind::Text, Kind::Int],
);

/// Puts the waiting jobs whose time has come into their queues, at most `limit`.
pub(super) async fn promote(batch: &mut Batch<'_>, limit: usize) -> Result<()> {
    let due = batch.tx.rows(&DUE, &args![batch.now.0, i64::try_from(limit).unwrap_or(i64::MAX)]).await?;
    if due.is_empty() {
        return Ok(());
    }
    let ids = due.iter().map(|row| row.get::<i64>(0)).collect::<Result<Vec<_>>>()?;
    let rows = batch.tx.rows(&PROMOTE, &args![page::numbers(Some(&ids), |id| *id), batch.now.0]).await?;
    let promoted =
        rows.iter().map(|row| row.get::<i64>(0)).collect::<Result<std::collections::HashSet<_>>>()?;
    points::reach("promote.moved");
    for row in &due {
        let id: i64 = row.get(0)?;
        if !promoted.contains(&id) {
            continue;
        }
        let from = JobState::from_word(row.text(2)?).unwrap_or(JobState::Scheduled);
        batch.touched_keys.extend(row.get::<Option<String>>(4)?);
        let job = Named { id: JobId(id), state: from, queue: row.text(1)?, task: row.optional_text(3)? };
        moved(batch, job, "dispatcher", EventData::moved(from, JobState::Queued));
    }
    Ok(())
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&LOCK, &MOVE, &MOVE_MANY, &REQUEST_STOP, &DUE, &PROMOTE];
