//! Owns `Node`: anything with a global id.

use async_graphql::{Context, ID, Interface, Object};

use super::context::ApiContext;
use super::errors::fault;
use crate::domain::attempt::Attempt;
use crate::domain::id::{AttemptId, GlobalId, JobId, QueueId, ScheduleId, TaskId, WorkerId};
use crate::domain::job::Job;
use crate::domain::queue::Queue;
use crate::domain::schedule::{Schedule, ScheduleRef};
use crate::domain::task::{Task, TaskRef};
use crate::domain::worker::Worker;
use crate::engine::Engine;
use crate::store::Fault;

/// Anything with a global id, such as `job_1234` or `task_7`.
#[derive(Debug, Clone, Interface)]
#[graphql(field(name = "id", ty = "ID", desc = "The global id: the noun and a number."))]
#[expect(clippy::large_enum_variant, reason = "made one at a time, for one answer")]
pub enum Node {
    /// A job.
    Job(Job),
    /// An attempt.
    Attempt(Attempt),
    /// A task.
    Task(Task),
    /// A schedule.
    Schedule(Schedule),
    /// A queue.
    Queue(Queue),
    /// A worker.
    Worker(Worker),
}

/// The thing with this global id, if it exists.
pub async fn find(engine: &Engine, id: &str) -> Result<Option<Node>, Fault> {
    let reader = &engine.reader;
    let Some((noun, _)) = id.split_once('_') else { return Ok(None) };
    Ok(match noun {
        JobId::PREFIX => match JobId::parse(id) {
            Some(id) => reader.job(id).await?.map(Node::Job),
            None => None,
        },
        AttemptId::PREFIX => match AttemptId::parse(id) {
            Some(id) => reader.attempt(id).await?.map(Node::Attempt),
            None => None,
        },
        TaskId::PREFIX => match TaskId::parse(id) {
            Some(id) => reader.task(&TaskRef::Id(id)).await?.map(Node::Task),
            None => None,
        },
        ScheduleId::PREFIX => match ScheduleId::parse(id) {
            Some(id) => reader.schedule(&ScheduleRef::Id(id)).await?.map(Node::Schedule),
            None => None,
        },
        QueueId::PREFIX => match QueueId::parse(id) {
            Some(id) => reader.queue_by_id(id).await?.map(Node::Queue),
            None => None,
        },
        WorkerId::PREFIX => match WorkerId::parse(id) {
            Some(id) => reader.worker(id).await?.map(Node::Worker),
            None => None,
        },
        _ => None,
    })
}

/// Finding by global id.
#[derive(Debug, Default)]
pub struct NodeQuery;

#[Object]
impl NodeQuery {
    /// The thing with this global id.
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Such as job_1234 or task_7.")] id: ID,
    ) -> async_graphql::Result<Option<Node>> {
        find(ctx.engine(), &id).await.map_err(fault)
    }
}
