//! Owns `Node`: anything with a global id.

use async_graphql::{Context, ID, Interface, Object};

use super::access::job_seen;
use super::context::ApiContext;
use super::errors::fault;
use crate::domain::attempt::Attempt;
use crate::domain::id::{
    AttemptId, GlobalId, IncidentId, JobId, QueueId, ScheduleId, TaskId, TokenId, WorkerId,
};
use crate::domain::incident::Incident;
use crate::domain::job::Job;
use crate::domain::queue::Queue;
use crate::domain::schedule::{Schedule, ScheduleRef};
use crate::domain::task::{Task, TaskRef};
use crate::domain::token::Token;
use crate::domain::worker::Worker;
use crate::store::{Fault, Reader};

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
    /// A token.
    Token(Token),
    /// An incident.
    Incident(Incident),
}

/// The thing with this global id, if it exists for the caller.
pub async fn find(ctx: &Context<'_>, id: &str) -> async_graphql::Result<Option<Node>> {
    let (reader, viewer) = (ctx.reader(), ctx.viewer()?);
    let Some((noun, _)) = id.split_once('_') else { return Ok(None) };
    if noun == JobId::PREFIX {
        let Some(id) = JobId::parse(id) else { return Ok(None) };
        return Ok(job_seen(ctx, id).await?.map(Node::Job));
    }
    if noun == AttemptId::PREFIX {
        let Some(id) = AttemptId::parse(id) else { return Ok(None) };
        let Some(attempt) = reader.attempt(id).await.map_err(fault)? else { return Ok(None) };
        let job = job_seen(ctx, attempt.job_id).await?;
        return Ok(job.map(|_| Node::Attempt(attempt)));
    }
    let is_hidden = if noun == TokenId::PREFIX { !viewer.is_admin() } else { viewer.sight().own().is_some() };
    if is_hidden {
        return Ok(None);
    }
    other(reader, noun, id).await.map_err(fault)
}

async fn other(reader: &Reader, noun: &str, id: &str) -> Result<Option<Node>, Fault> {
    Ok(match noun {
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
        TokenId::PREFIX => match TokenId::parse(id) {
            Some(id) => reader.token(id).await?.map(Node::Token),
            None => None,
        },
        IncidentId::PREFIX => match IncidentId::parse(id) {
            Some(id) => reader.incident(id).await?.map(Node::Incident),
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
        find(ctx, &id).await
    }
}
