//! Owns the changes of jobs that wait: hold, release and update.

use serde_json::json;

use super::db::{Kind, Sql};
use super::dependencies;
use super::fault::Result;
use super::transition::{Next, job_event, lock, move_job};
use super::writer::{Batch, Change, Outcome};
use super::{keys, queues};
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::event::{EventData, EventType};
use crate::domain::id::JobId;
use crate::domain::job::{Job, JobState, rank};
use crate::domain::rejection::{Rejection, UserErrorCode};

/// Keeps a job from starting.
#[derive(Debug)]
pub struct Hold {
    /// The job: it must be queued or scheduled.
    pub id: JobId,
    /// Who asks.
    pub actor: String,
}

impl Change for Hold {
    type Answer = ();

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<()> {
        let job = find(batch, self.id).await??;
        if !matches!(job.state, JobState::Queued | JobState::Scheduled) {
            return Err(conflict(&job, "only a queued or scheduled job can be held").into());
        }
        move_job(batch, &job, Next::only(&job, JobState::Held), &self.actor, json!({"by": self.actor}))
            .await?;
        Ok(())
    }
}

/// Lets a held job wait for its turn.
#[derive(Debug)]
pub struct Release {
    /// The job: it must be on hold.
    pub id: JobId,
    /// Who asks.
    pub actor: String,
}

impl Change for Release {
    type Answer = ();

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<()> {
        let job = find(batch, self.id).await??;
        if job.state != JobState::Held {
            return Err(conflict(&job, "only a job on hold can be released").into());
        }
        let state = dependencies::after_hold(batch, &job).await?;
        move_job(batch, &job, Next::only(&job, state), &self.actor, json!({"by": self.actor})).await?;
        Ok(())
    }
}

const UPDATE: Sql = Sql::both(
    "UPDATE jobs
     SET state = $3, priority = $4, run_at_us = $5, rank_us = $6, queue = $7,
         gated_at_us = CASE WHEN $3 <> 'QUEUED' OR limit_key IS NULL THEN NULL
                            WHEN $2 = 'QUEUED' THEN gated_at_us ELSE $8 END
     WHERE id = $1 AND state = $2",
    &[Kind::Int, Kind::Text, Kind::Text, Kind::Int, Kind::Int, Kind::Int, Kind::Text, Kind::Int],
);

/// Changes where and when a job waits, as long as it has not started.
#[derive(Debug)]
pub struct Update {
    /// The job.
    pub id: JobId,
    /// Its new priority.
    pub priority: Option<i32>,
    /// Its new earliest start; one of the past means now.
    pub run_at: Option<Timestamp>,
    /// Its new queue.
    pub queue: Option<String>,
    /// Who asks.
    pub actor: String,
}

impl Change for Update {
    type Answer = ();

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<()> {
        let job = find(batch, self.id).await??;
        let waits = !job.state.is_final() && job.state != JobState::Running;
        if !waits || job.started_at.is_some() {
            return Err(conflict(&job, "only a job that has not started can be changed").into());
        }
        if let Some(queue) = &self.queue
            && !queues::exists(batch, queue).await?
        {
            let message = format!("there is no queue named {queue}");
            return Err(Rejection::at(UserErrorCode::NotFound, "queue", message).into());
        }
        if job.start_by.zip(self.run_at).is_some_and(|(by, at)| at >= by) {
            return Err(Rejection::invalid("runAt", "the job expires before that: see its startBy").into());
        }
        let mut next = job.clone();
        next.priority = self.priority.unwrap_or(job.priority);
        next.run_at = self.run_at.map_or(job.run_at, |at| at.max(batch.now));
        next.queue_name = self.queue.clone().unwrap_or_else(|| job.queue_name.clone());
        if matches!(job.state, JobState::Queued | JobState::Scheduled) {
            next.state = JobState::waiting_for(next.run_at, batch.now);
        }
        self.write(batch, &job, &next).await?;
        Ok(())
    }
}

impl Update {
    async fn write(&self, batch: &mut Batch<'_>, job: &Job, next: &Job) -> Result<()> {
        let mut changes = serde_json::Map::new();
        if next.priority != job.priority {
            changes.insert("priority".to_owned(), json!(next.priority));
        }
        if next.run_at != job.run_at {
            changes.insert("runAt".to_owned(), json!(next.run_at.to_string()));
        }
        if next.queue_name != job.queue_name {
            changes.insert("queue".to_owned(), json!(next.queue_name));
        }
        if changes.is_empty() {
            return Ok(());
        }
        let values = args![
            job.id.0,
            job.state.word(),
            next.state.word(),
            i64::from(next.priority),
            next.run_at.0,
            rank(next.run_at, next.priority),
            next.queue_name.as_str(),
            batch.now.0,
        ];
        keys::touch(batch, job.limit_key.as_ref());
        let rows = batch.tx.execute(&UPDATE, &values).await?;
        assert!(rows == 1, "{} was locked as {} and is not", job.id, job.state.word());
        batch.count(&job.queue_name, job.state, -1);
        batch.count(&next.queue_name, next.state, 1);
        let data = EventData::moved(job.state, next.state).with("by", &self.actor).with("changes", changes);
        batch.emit(job_event(EventType::JobStateChanged, next, &self.actor, data));
        Ok(())
    }
}

async fn find(batch: &mut Batch<'_>, id: JobId) -> Result<std::result::Result<Job, Rejection>> {
    let job = lock(batch, id).await?;
    Ok(job.ok_or_else(|| Rejection::at(UserErrorCode::NotFound, "id", format!("there is no job {id}"))))
}

fn conflict(job: &Job, rule: &str) -> Rejection {
    Rejection::at(UserErrorCode::Conflict, "id", format!("{} is {}: {rule}", job.id, job.state.word()))
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&UPDATE];
