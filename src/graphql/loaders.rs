//! Owns reading many in one: relations of a list cost one statement, not one a row.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::Context;
use async_graphql::dataloader::{DataLoader, Loader};
use async_graphql::runtime::{TokioSpawner, TokioTimer};

use super::context::ApiContext;
use super::errors::fault;
use crate::base::clock::Clock;
use crate::domain::attempt::Attempt;
use crate::domain::blocker::Blocker;
use crate::domain::id::{AttemptId, IncidentId, JobId, ScheduleId, TaskId};
use crate::domain::incident::Incident;
use crate::domain::job::Job;
use crate::domain::queue::Queue;
use crate::domain::report::median;
use crate::domain::scalars::Json;
use crate::domain::schedule::Schedule;
use crate::domain::task::Task;
use crate::domain::trace::TraceContext;
use crate::engine::Engine;
use crate::store::{Fault, Reader};

/// The trace of a job as 32 hexadecimal digits.
pub async fn trace_id_of(ctx: &Context<'_>, job: JobId) -> async_graphql::Result<String> {
    let asked = ctx.loaders().0.load_one(AskedTraceOf(job)).await.map_err(fault)?;
    Ok(format!("{:032x}", TraceContext::of_job(ctx.reader().epoch(), job, asked).trace))
}

/// Reads rows by their keys. Nothing is kept: a change is seen at once.
#[derive(Debug, Clone)]
pub struct Rows(Reader, Arc<dyn Clock>);

/// The newest attempt of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LastAttemptOf(pub JobId);

/// The structured result of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OutputOf(pub JobId);

/// The span that a job was asked from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AskedTraceOf(pub JobId);

/// Why a job waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockersOf(pub JobId);
/// How long jobs of a task usually take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UsualOf(pub TaskId);

/// The incident that a job's last failed attempt was counted into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IncidentOf(pub JobId);

/// The incident that an attempt was counted into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IncidentOfAttempt(pub AttemptId);

/// The one loader for all keys.
pub struct Loaders(pub DataLoader<Rows>);

impl std::fmt::Debug for Loaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Loaders")
    }
}

impl Loaders {
    /// Loaders over the engine's reader.
    pub fn new(engine: &Engine) -> Loaders {
        Loaders(DataLoader::new(
            Rows(engine.reader.clone(), engine.clock.clone()),
            TokioSpawner::current(),
            TokioTimer::default(),
        ))
    }
}

impl Loader<JobId> for Rows {
    type Value = Job;
    type Error = Fault;

    async fn load(&self, keys: &[JobId]) -> Result<HashMap<JobId, Job>, Fault> {
        Ok(self.0.jobs_by_id(keys).await?.into_iter().map(|job| (job.id, job)).collect())
    }
}

impl Loader<LastAttemptOf> for Rows {
    type Value = Attempt;
    type Error = Fault;

    async fn load(&self, keys: &[LastAttemptOf]) -> Result<HashMap<LastAttemptOf, Attempt>, Fault> {
        let jobs: Vec<_> = keys.iter().map(|key| key.0).collect();
        let attempts = self.0.last_attempts(&jobs).await?;
        Ok(attempts.into_iter().map(|attempt| (LastAttemptOf(attempt.job_id), attempt)).collect())
    }
}

impl Loader<OutputOf> for Rows {
    type Value = Json;
    type Error = Fault;

    async fn load(&self, keys: &[OutputOf]) -> Result<HashMap<OutputOf, Json>, Fault> {
        let jobs: Vec<_> = keys.iter().map(|key| key.0).collect();
        Ok(self.0.outputs(&jobs).await?.into_iter().map(|(job, output)| (OutputOf(job), output)).collect())
    }
}

impl Loader<AskedTraceOf> for Rows {
    type Value = TraceContext;
    type Error = Fault;

    async fn load(&self, keys: &[AskedTraceOf]) -> Result<HashMap<AskedTraceOf, TraceContext>, Fault> {
        let jobs: Vec<_> = keys.iter().map(|key| key.0).collect();
        let asked = self.0.asked_traces(&jobs).await?;
        Ok(asked.into_iter().map(|(job, trace)| (AskedTraceOf(job), trace)).collect())
    }
}

impl Loader<BlockersOf> for Rows {
    type Value = Vec<Blocker>;
    type Error = Fault;

    async fn load(&self, keys: &[BlockersOf]) -> Result<HashMap<BlockersOf, Vec<Blocker>>, Fault> {
        let jobs: Vec<_> = keys.iter().map(|key| key.0).collect();
        let workers = self.0.workers_there().await?;
        let blockers = self.0.blockers(&jobs, &workers, self.1.now()).await?;
        Ok(blockers.into_iter().map(|(job, blockers)| (BlockersOf(job), blockers)).collect())
    }
}

impl Loader<UsualOf> for Rows {
    type Value = Duration;
    type Error = Fault;

    async fn load(&self, keys: &[UsualOf]) -> Result<HashMap<UsualOf, Duration>, Fault> {
        let tasks: Vec<_> = keys.iter().map(|key| key.0).collect();
        let found = self.0.success_durations(&tasks).await?;
        Ok(found.into_iter().filter_map(|(task, took)| Some((UsualOf(task), median(took)?))).collect())
    }
}

impl Loader<IncidentId> for Rows {
    type Value = Incident;
    type Error = Fault;

    async fn load(&self, keys: &[IncidentId]) -> Result<HashMap<IncidentId, Incident>, Fault> {
        Ok(self.0.incidents_by_id(keys).await?.into_iter().map(|one| (one.id, one)).collect())
    }
}

impl Loader<IncidentOf> for Rows {
    type Value = IncidentId;
    type Error = Fault;

    async fn load(&self, keys: &[IncidentOf]) -> Result<HashMap<IncidentOf, IncidentId>, Fault> {
        let jobs: Vec<_> = keys.iter().map(|key| key.0).collect();
        Ok(self
            .0
            .incidents_of_jobs(&jobs)
            .await?
            .into_iter()
            .map(|(job, id)| (IncidentOf(job), id))
            .collect())
    }
}

impl Loader<IncidentOfAttempt> for Rows {
    type Value = IncidentId;
    type Error = Fault;

    async fn load(
        &self,
        keys: &[IncidentOfAttempt],
    ) -> Result<HashMap<IncidentOfAttempt, IncidentId>, Fault> {
        let attempts: Vec<_> = keys.iter().map(|key| key.0).collect();
        let found = self.0.incidents_of_attempts(&attempts).await?;
        Ok(found.into_iter().map(|(attempt, id)| (IncidentOfAttempt(attempt), id)).collect())
    }
}

impl Loader<TaskId> for Rows {
    type Value = Task;
    type Error = Fault;

    async fn load(&self, keys: &[TaskId]) -> Result<HashMap<TaskId, Task>, Fault> {
        Ok(self.0.tasks_by_id(keys).await?.into_iter().map(|task| (task.id, task)).collect())
    }
}

impl Loader<ScheduleId> for Rows {
    type Value = Schedule;
    type Error = Fault;

    async fn load(&self, keys: &[ScheduleId]) -> Result<HashMap<ScheduleId, Schedule>, Fault> {
        Ok(self.0.schedules_by_id(keys).await?.into_iter().map(|schedule| (schedule.id, schedule)).collect())
    }
}

impl Loader<String> for Rows {
    type Value = Queue;
    type Error = Fault;

    async fn load(&self, keys: &[String]) -> Result<HashMap<String, Queue>, Fault> {
        Ok(self.0.queues_by_name(keys).await?.into_iter().map(|queue| (queue.name.clone(), queue)).collect())
    }
}
