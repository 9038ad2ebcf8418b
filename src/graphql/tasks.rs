//! Owns the task in the API.

use async_graphql::{ComplexObject, Context, ID, InputObject, Object};

use super::context::ApiContext;
use super::errors::{bad_input, fault};
use super::jobs::{JobConnection, list_jobs};
use super::list_cost;
use super::pages::{TaskConnection, name_position, page_size};
use super::payloads::{TaskArchivePayload, TaskPutPayload, split};
use crate::domain::filter::{JobFilter, JobOrder, TaskFilter};
use crate::domain::limits::{FILTER_VALUES_MAX, TEXT_BYTES_MAX};
use crate::domain::queue::Queue;
use crate::domain::schedule::Schedule;
use crate::domain::task::{Task, TaskPutInput, TaskRef};

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
        let name = &self.definition.queue_name;
        let queue = ctx.loaders().0.load_one(name.clone()).await.map_err(fault)?;
        queue.ok_or_else(|| async_graphql::Error::new(format!("the queue {name} is gone")))
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
