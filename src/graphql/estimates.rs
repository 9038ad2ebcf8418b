//! Owns when a running job will be done, as far as anybody can know: by its own word, else by what its task usually
//! takes. Asked for a list it costs two statements, not two a row.

use async_graphql::Context;

use super::context::ApiContext;
use super::loaders::{LastAttemptOf, UsualOf};
use crate::base::clock::Timestamp;
use crate::domain::job::{Job, JobState};
use crate::store::Fault;

/// When the job will be done; `None` when it does not run, or nobody can know.
pub async fn finish_of(ctx: &Context<'_>, job: &Job) -> Result<Option<Timestamp>, Fault> {
    if job.state != JobState::Running {
        return Ok(None);
    }
    if let Some(own) = job.progress.as_ref().and_then(|progress| progress.estimated_finish_at) {
        return Ok(Some(own));
    }
    // What the task usually takes is told by jobs that the caller may not see.
    let sees_all = ctx.viewer().is_ok_and(|viewer| viewer.sight().own().is_none());
    let Some(task) = job.task_id.filter(|_| sees_all) else { return Ok(None) };
    let loader = &ctx.loaders().0;
    let (usual, attempt) =
        futures_util::try_join!(loader.load_one(UsualOf(task)), loader.load_one(LastAttemptOf(job.id)))?;
    let finish = usual.zip(attempt).map(|(usual, attempt)| attempt.started_at.plus(usual));
    // It takes longer than usual: then the usual says nothing.
    Ok(finish.filter(|finish| *finish > ctx.engine().clock.now()))
}
