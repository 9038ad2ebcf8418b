//! Owns what can be watched live. Each stream replays from a position and goes on without a hole or a repeat.

use std::sync::Arc;

use async_graphql::{Context, SimpleObject, Subscription as SubscriptionMacro};
use futures_util::stream::{self, Stream, StreamExt as _};

use super::access::job_seen;
use super::context::ApiContext;
use super::errors::{coded, stream_end};
use super::events::check_filter;
use super::logs::WantedLines;
use crate::domain::event::{EventBatch, EventCursor};
use crate::domain::filter::EventFilter;
use crate::domain::health::Health;
use crate::domain::id::JobId;
use crate::domain::job::Job;
use crate::domain::log::{LogBatch, LogCursor, LogFilter, LogStream};
use crate::domain::resume::{Standing, Told};
use crate::engine::feed::{For, StreamEnd};
use crate::engine::follow::{FollowRequest, Followed};

/// One step of a watched job.
#[derive(Debug, SimpleObject)]
pub struct JobUpdate {
    /// The job as it is now.
    job: Job,
    /// Behind the last event that this step shows.
    cursor: EventCursor,
}

/// One step of a followed job.
#[derive(Debug, SimpleObject)]
pub struct JobFollowUpdate {
    /// The job as it is now.
    job: Job,
    /// New lines.
    log: Option<LogBatch>,
    /// Behind the last event that this step shows: resume with it as `after`.
    cursor: EventCursor,
    /// Behind the last line that was given: resume with it as `logAfter`.
    log_cursor: Option<LogCursor>,
}

/// Watching.
#[derive(Debug, Clone, Copy)]
pub struct Subscription;

fn no_job(id: JobId) -> async_graphql::Error {
    coded("NOT_FOUND", format!("there is no job {id}"))
}

/// Follows a job that exists for the caller. Who made it never changes, so that is asked once.
async fn follow(
    ctx: &Context<'_>,
    request: FollowRequest,
) -> async_graphql::Result<impl Stream<Item = Result<Followed, StreamEnd>> + Send + use<>> {
    let id = request.id;
    job_seen(ctx, id).await?.ok_or_else(|| no_job(id))?;
    let steps = ctx.engine().follow(request).await.map_err(stream_end)?.ok_or_else(|| no_job(id))?;
    Ok(telling(ctx.told(), steps, |step| Standing {
        cursor: Some(step.cursor),
        log: step.log_cursor,
        job: Some(Arc::new(step.job.clone())),
    }))
}

/// The stream, which tells where it stands before each of its steps.
fn telling<T>(
    told: Option<Told>,
    steps: impl Stream<Item = Result<T, StreamEnd>> + Send,
    standing: impl Fn(&T) -> Standing + Send,
) -> impl Stream<Item = Result<T, StreamEnd>> + Send {
    told.iter().for_each(Told::begun);
    steps.inspect(move |step| {
        let Some(told) = &told else { return };
        match step {
            Ok(step) => told.reached(standing(step)),
            Err(_) => told.failed(),
        }
    })
}

/// Watching.
#[SubscriptionMacro]
impl Subscription {
    /// Every change after `after`, in order, without a gap; left out means from now.
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Behind this position.")] after: Option<EventCursor>,
        #[graphql(desc = "Only these.")] filter: Option<EventFilter>,
    ) -> async_graphql::Result<impl Stream<Item = async_graphql::Result<EventBatch>> + use<>> {
        let filter = check_filter(ctx, filter)?;
        // What a reconnecting client saw last is newer than what it first asked for.
        let after = ctx.resume().0.or(after);
        let told = ctx.told();
        let readers = match ctx.until().and_then(|until| until.cursor) {
            Some(cursor) => For::OneUntil(cursor.seq),
            None if told.is_some() => For::All,
            None => For::One,
        };
        let events = ctx.engine().events(after, filter, readers).await.map_err(stream_end)?;
        let standing = |batch: &EventBatch| Standing { cursor: Some(batch.cursor), ..Standing::default() };
        Ok(telling(told, events, standing).map(|batch| batch.map_err(stream_end)))
    }

    /// One job: a first message at once, then one for each change; completes when the job is final.
    async fn job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The job.")] id: JobId,
        #[graphql(desc = "Only what changed behind this position.")] after: Option<EventCursor>,
    ) -> async_graphql::Result<impl Stream<Item = async_graphql::Result<JobUpdate>> + use<>> {
        let after = ctx.resume().0.or(after);
        let request = FollowRequest {
            id,
            after,
            log_after: None,
            wants_log: false,
            wants_progress: true,
            filter: LogFilter::default(),
            attempt: None,
            until: ctx.until(),
        };
        let steps = follow(ctx, request).await?;
        Ok(steps.map(|step| {
            step.map(|step| JobUpdate { job: step.job, cursor: step.cursor }).map_err(stream_end)
        }))
    }

    /// State and log of one job in one stream; completes after the last line of its final attempt.
    /// Resume with both cursors.
    async fn job_follow(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The job.")] id: JobId,
        #[graphql(desc = "Only changes of state behind this position.")] after: Option<EventCursor>,
        #[graphql(desc = "Only lines behind this position.")] log_after: Option<LogCursor>,
    ) -> async_graphql::Result<impl Stream<Item = async_graphql::Result<JobFollowUpdate>> + use<>> {
        let (resumed, log_resumed) = ctx.resume();
        let request = FollowRequest {
            id,
            after: resumed.or(after),
            log_after: log_resumed.or(log_after),
            wants_log: true,
            wants_progress: true,
            filter: LogFilter::default(),
            attempt: None,
            until: ctx.until(),
        };
        let steps = follow(ctx, request).await?;
        Ok(steps.map(|step| {
            let step = step.map_err(stream_end)?;
            Ok(JobFollowUpdate {
                job: step.job,
                log: step.log,
                cursor: step.cursor,
                log_cursor: step.log_cursor,
            })
        }))
    }

    /// The output of a job, or of one attempt of it; completes with its last line.
    #[expect(clippy::too_many_arguments, reason = "they are those of the field")]
    async fn job_log(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The job.")] id: JobId,
        #[graphql(desc = "Only this attempt, counted from 1.")] attempt: Option<i32>,
        #[graphql(desc = "Only lines behind this position.")] after: Option<LogCursor>,
        #[graphql(desc = "Only of these streams.")] streams: Option<Vec<LogStream>>,
        #[graphql(
            desc = "Only lines, or pieces of one, that hold this text; ASCII letters in any case. At most 200 bytes."
        )]
        grep: Option<String>,
        #[graphql(desc = "Only lines that look like an error, by the rule that picks `errorLine`.")]
        only_errors: Option<bool>,
    ) -> async_graphql::Result<impl Stream<Item = async_graphql::Result<LogBatch>> + use<>> {
        let request = FollowRequest {
            id,
            after: None,
            log_after: ctx.resume().1.or(after),
            wants_log: true,
            wants_progress: false,
            filter: WantedLines { streams, grep, only_errors }.filter()?,
            attempt,
            until: ctx.until(),
        };
        let steps = follow(ctx, request).await?;
        Ok(steps.filter_map(|step| async move {
            match step {
                Ok(step) => step.log.map(Ok),
                Err(end) => Some(Err(stream_end(end))),
            }
        }))
    }

    /// How the daemon is: now, and after each change.
    async fn health(&self, ctx: &Context<'_>) -> impl Stream<Item = Health> + use<> {
        let engine = ctx.engine().clone();
        let changes = engine.health.watch();
        stream::unfold((engine, changes, true), |(engine, mut changes, is_first)| async move {
            if !is_first {
                changes.changed().await.ok()?;
            }
            changes.borrow_and_update();
            let health = engine.health.read();
            Some((health, (engine, changes, false)))
        })
    }
}
