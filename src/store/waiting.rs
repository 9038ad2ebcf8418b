//! Owns the changes of jobs that wait: hold and release.

use serde_json::json;

use super::db::Sql;
use super::fault::Result;
use super::transition::{Next, lock, move_job};
use super::writer::{Batch, Change, Outcome};
use crate::domain::id::JobId;
use crate::domain::job::{Job, JobState};
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
        let next = Next::only(&job, JobState::waiting_for(job.run_at, batch.now));
        move_job(batch, &job, next, &self.actor, json!({"by": self.actor})).await?;
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
pub(super) const STATEMENTS: &[&Sql] = &[];
