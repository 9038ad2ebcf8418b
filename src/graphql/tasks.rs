//! Owns the task in the API.

use async_graphql::{ComplexObject, Context, ID, InputObject, Object};

use super::context::ApiContext;
use super::errors::{bad_input, fault};
use super::job_lists::{JobConnection, list_jobs};
use super::list_cost;
use super::pages::{TaskConnection, TaskRevisionConnection, name_position, number_position, page_size};
use super::payloads::{TaskArchivePayload, TaskPutPayload, split};
use crate::domain::duration::Span;
use crate::domain::filter::{JobFilter, JobOrder, TaskFilter};
use crate::domain::job::{Job, JobState};
use crate::domain::limits::{FILTER_VALUES_MAX, TEXT_BYTES_MAX};
use crate::domain::queue::Queue;
use crate::domain::schedule::Schedule;
use crate::domain::task::{Task, TaskPutInput, TaskRef, TaskRevision};
use crate::domain::task_statistics::{self, EndedJob};

/// Schedules that a task shows; it has few.
const SCHEDULES_SHOWN: usize = 200;

#[ComplexObject]
impl Task {
    /// The global id.
    pub async fn id(&self) -> ID {
        self.id.into()
    }

    /// The queue of its jobs.
    async fn queue(&self, ctx: &Context<'_>) -> async_graphql::Result<Queue> {
        queue_named(ctx, &self.definition.queue_name).await
    }

    /// The schedules that make its jobs, by name.
    async fn schedules(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<Schedule>> {
        ctx.reader().schedules_of(self.id, SCHEDULES_SHOWN).await.map_err(fault)
    }

    /// Its jobs, the newest first unless ordered otherwise.
    #[graphql(complexity = "list_cost(first, child_complexity)")]
    async fn jobs(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 20, desc = "How many, at most 200.")] first: i32,
        #[graphql(desc = "Behind this position.")] after: Option<String>,
        #[graphql(desc = "Only these.")] filter: Option<JobFilter>,
        #[graphql(desc = "In this order.")] order_by: Option<JobOrder>,
    ) -> async_graphql::Result<JobConnection> {
        let filter = JobFilter { tasks: Some(vec![self.name.clone()]), ..filter.unwrap_or_default() };
        list_jobs(ctx, first, after, filter, order_by).await
    }

    /// What it said over time, the newest revision first.
    #[graphql(complexity = "list_cost(first, child_complexity)")]
    async fn revisions(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 20, desc = "How many, at most 200.")] first: i32,
        #[graphql(desc = "Behind this position.")] after: Option<String>,
    ) -> async_graphql::Result<TaskRevisionConnection> {
        let before = number_position(after.as_ref(), i64::MAX)?;
        TaskRevisionConnection::of(
            ctx.reader().task_revisions(self.id, before, page_size(first)?).await,
            after.as_ref(),
        )
    }

    /// How its last jobs went: the newest 100 of those that have ended.
    async fn statistics(&self, ctx: &Context<'_>) -> async_graphql::Result<TaskStatistics> {
        Ok(TaskStatistics(ctx.reader().ended_jobs_of(self.id).await.map_err(fault)?))
    }
}

#[ComplexObject]
impl TaskRevision {
    /// The queue of its jobs.
    async fn queue(&self, ctx: &Context<'_>) -> async_graphql::Result<Queue> {
        queue_named(ctx, &self.definition.queue_name).await
    }
}

async fn queue_named(ctx: &Context<'_>, name: &str) -> async_graphql::Result<Queue> {
    let queue = ctx.loaders().0.load_one(name.to_owned()).await.map_err(fault)?;
    queue.ok_or_else(|| async_graphql::Error::new(format!("the queue {name} is gone")))
}

/// How the last jobs of a task went.
#[derive(Debug)]
pub struct TaskStatistics(Vec<EndedJob>);

/// How the last jobs of a task went: the newest 100 of those that have ended.
#[Object]
impl TaskStatistics {
    /// How many of them succeeded.
    async fn succeeded_count(&self) -> i32 {
        self.count(JobState::Succeeded)
    }

    /// How many of them failed.
    async fn failed_count(&self) -> i32 {
        self.count(JobState::Failed)
    }

    /// Half of those that succeeded took no longer, from their first start to their end; null when none did.
    async fn median_duration(&self) -> Option<Span> {
        task_statistics::percentile(&self.0, 50)
    }

    /// Of those that succeeded 95 in 100 took no longer, from their first start to their end; null when none did.
    async fn p95_duration(&self) -> Option<Span> {
        task_statistics::percentile(&self.0, 95)
    }

    /// The newest of them, the newest first.
    #[graphql(complexity = "list_cost(first, child_complexity)")]
    async fn recent(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 10, desc = "How many, at most 100.")] first: i32,
    ) -> async_graphql::Result<Vec<Job>> {
        let ids: Vec<_> = self.0.iter().map(|job| job.id).take(page_size(first)?).collect();
        let mut jobs = ctx.loaders().0.load_many(ids.clone()).await.map_err(fault)?;
        // What was removed in between is left out.
        Ok(ids.iter().filter_map(|id| jobs.remove(id)).collect())
    }
}

impl TaskStatistics {
    fn count(&self, state: JobState) -> i32 {
        i32::try_from(task_statistics::count(&self.0, state)).unwrap_or(i32::MAX)
    }
}

/// Reading tasks.
#[derive(Debug, Default)]
pub struct TaskQuery;

#[Object]
impl TaskQuery {
    /// The task of this id or name.
    async fn task(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "ref", desc = "By id or by name.")] task: TaskRef,
    ) -> async_graphql::Result<Option<Task>> {
        ctx.reader().task(&task).await.map_err(fault)
    }

    /// Tasks by name.
    #[graphql(complexity = "list_cost(first, child_complexity)")]
    async fn tasks(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 50, desc = "How many, at most 200.")] first: i32,
        #[graphql(desc = "Behind this position.")] after: Option<String>,
        #[graphql(desc = "Only these.")] filter: Option<TaskFilter>,
    ) -> async_graphql::Result<TaskConnection> {
        let filter = filter.unwrap_or_default();
        let text = filter.text.as_deref().unwrap_or_default();
        let queues = filter.queues.as_ref().map_or(0, Vec::len);
        if text.len() > TEXT_BYTES_MAX || text.contains('\0') || queues > FILTER_VALUES_MAX {
            return Err(bad_input("a list of the filter holds too many values, or its text is too long"));
        }
        let position = name_position(after.as_ref())?;
        TaskConnection::of(ctx.reader().tasks(&filter, position, page_size(first)?).await, after.as_ref())
    }
}

/// A task to be archived.
#[derive(Debug, InputObject)]
pub struct TaskArchiveInput {
    /// The task.
    #[graphql(name = "ref")]
    task: TaskRef,
}

/// Changing tasks.
#[derive(Debug, Default)]
pub struct TaskMutation;

#[Object]
impl TaskMutation {
    /// Makes a task or gives it a new revision; putting what stands already changes nothing.
    async fn task_put(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The task.")] input: TaskPutInput,
    ) -> async_graphql::Result<TaskPutPayload> {
        Ok(match split(ctx.engine().put_task(ctx.viewer()?, input).await)? {
            Ok((id, cursor)) => {
                TaskPutPayload::done(ctx.reader().task(&TaskRef::Id(id)).await.map_err(fault)?, cursor)
            }
            Err(refusals) => TaskPutPayload::refused(refusals),
        })
    }

    /// Takes a task out of use: it makes no more jobs, its history stays.
    async fn task_archive(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The task.")] input: TaskArchiveInput,
    ) -> async_graphql::Result<TaskArchivePayload> {
        Ok(match split(ctx.engine().archive_task(ctx.viewer()?, input.task).await)? {
            Ok((id, cursor)) => {
                TaskArchivePayload::done(ctx.reader().task(&TaskRef::Id(id)).await.map_err(fault)?, cursor)
            }
            Err(refusals) => TaskArchivePayload::refused(refusals),
        })
    }
}
