//! Owns the job in the API: its relations, the questions for it and for lists, and what may be done to it.

use std::collections::HashMap;

use async_graphql::{ComplexObject, Context, ID, InputObject, Object};

use super::access::{check_filter, job_seen, seen};
use super::context::ApiContext;
use super::errors::{bad_input, fault};
use super::job_lists::{JobConnection, JobCounts, list_jobs};
use super::list_cost;
use super::loaders::{BlockersOf, LastAttemptOf, OutputOf, trace_id_of};
use super::logs::{LogPage, WantedLines, log_cost};
use super::pages::{AttemptConnection, number_position, page_size};
use super::payloads::{
    JobCancelPayload, JobEnqueueManyPayload, JobEnqueuePayload, JobRetryPayload, forgotten, split, told,
};
use super::{estimates, incidents};
use crate::base::clock::Timestamp;
use crate::domain::access::Viewer;
use crate::domain::attempt::Attempt;
use crate::domain::blocker::Blocker;
use crate::domain::concurrency::LimitKey;
use crate::domain::enqueue::JobEnqueueInput;
use crate::domain::filter::{JobFilter, JobOrder};
use crate::domain::id::JobId;
use crate::domain::incident::Incident;
use crate::domain::job::{Job, JobState};
use crate::domain::limits::{ENQUEUE_MANY_MAX, TEXT_BYTES_MAX};
use crate::domain::log::{LogBatch, LogCursor, LogStream};
use crate::domain::queue::Queue;
use crate::domain::rejection::{Rejection, UserErrorCode, check_text};
use crate::domain::scalars::Json;
use crate::domain::schedule::Schedule;
use crate::domain::task::Task;
use crate::engine::jobs::EnqueueAnswers;

#[ComplexObject]
impl Job {
    /// The global id.
    pub async fn id(&self) -> ID {
        self.id.into()
    }

    /// Its trace, 32 hexadecimal digits: that of the request which made it, else one of its own.
    async fn trace_id(&self, ctx: &Context<'_>) -> async_graphql::Result<String> {
        trace_id_of(ctx, self.id).await
    }

    /// The task it was made from; null for an ad hoc command.
    async fn task(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Task>> {
        match self.task_id {
            Some(id) => ctx.loaders().0.load_one(id).await.map_err(fault),
            None => Ok(None),
        }
    }

    /// The queue it waits or waited in.
    async fn queue(&self, ctx: &Context<'_>) -> async_graphql::Result<Queue> {
        let queue = ctx.loaders().0.load_one(self.queue_name.clone()).await.map_err(fault)?;
        queue.ok_or_else(|| async_graphql::Error::new(format!("the queue {} is gone", self.queue_name)))
    }

    /// Its attempts, the first one first.
    #[graphql(complexity = "list_cost(first, child_complexity)")]
    async fn attempts(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 10, desc = "How many, at most 200.")] first: i32,
        #[graphql(desc = "Behind this position.")] after: Option<String>,
    ) -> async_graphql::Result<AttemptConnection> {
        let position = number_position(after.as_ref(), 0)?;
        AttemptConnection::of(
            ctx.reader().attempts(self.id, position, page_size(first)?).await,
            after.as_ref(),
        )
    }

    /// The attempt that runs now.
    async fn current_attempt(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Attempt>> {
        if self.state != JobState::Running {
            return Ok(None);
        }
        ctx.loaders().0.load_one(LastAttemptOf(self.id)).await.map_err(fault)
    }

    /// When it will be done, while it runs: by its own progress, else by the median of the last 20 successes of its
    /// task. Null when neither is known, or it runs longer than usual.
    async fn estimated_finish_at(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Timestamp>> {
        estimates::finish_of(ctx, self).await.map_err(fault)
    }

    /// The structured result that its current, else its last attempt reported; null when it reported none.
    async fn output(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Json>> {
        ctx.loaders().0.load_one(OutputOf(self.id)).await.map_err(fault)
    }

    /// Jobs that share it run one at a time, or as many at once as the task's `concurrencyLimit` says.
    async fn concurrency_key(&self) -> Option<&str> {
        self.limit_key.as_ref().and_then(LimitKey::given)
    }

    /// Why it has not started yet; empty unless it waits.
    #[graphql(complexity = "10 + child_complexity")]
    async fn blockers(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<Blocker>> {
        if self.state.is_final() || self.state == JobState::Running {
            return Ok(Vec::new());
        }
        let blockers =
            ctx.loaders().0.load_one(BlockersOf(self.id)).await.map_err(fault)?.unwrap_or_default();
        if ctx.viewer()?.sight().own().is_none() {
            return Ok(blockers);
        }
        Ok(blockers.into_iter().map(Blocker::without_others).collect())
    }

    /// Log of the current, else the last attempt: the newest lines with `last`, or from a position with `after`.
    #[graphql(
        complexity = "log_cost(first, last, grep.is_some() || only_errors == Some(true), child_complexity)"
    )]
    #[expect(clippy::too_many_arguments, reason = "they are those of the field")]
    async fn log(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many lines from the position, at most 1,000.")] first: Option<i32>,
        #[graphql(desc = "Behind this position; the beginning when left out.")] after: Option<LogCursor>,
        #[graphql(desc = "The newest lines instead, at most 1,000.")] last: Option<i32>,
        #[graphql(desc = "With `last`: only lines before the one with this position.")] before: Option<
            LogCursor,
        >,
        #[graphql(desc = "Only of these streams.")] streams: Option<Vec<LogStream>>,
        #[graphql(
            desc = "Only lines, or pieces of one, that hold this text; ASCII letters in any case. At most 200 bytes."
        )]
        grep: Option<String>,
        #[graphql(desc = "Only lines that look like an error, by the rule that picks `errorLine`.")]
        only_errors: Option<bool>,
    ) -> async_graphql::Result<LogBatch> {
        let after = after.filter(|after| after.attempt.0 > 0);
        let attempt = match after {
            // A position names its attempt, which may be an earlier one of this job.
            Some(after) => ctx.reader().attempt(after.attempt).await.map_err(fault)?,
            None => ctx.loaders().0.load_one(LastAttemptOf(self.id)).await.map_err(fault)?,
        };
        let attempt = attempt.filter(|attempt| attempt.job_id == self.id);
        let wanted = WantedLines { streams, grep, only_errors };
        LogPage { first, after, last, before, wanted }.read(ctx, attempt.as_ref()).await
    }

    /// The job that this one retries; null also when the caller may not see it.
    async fn retry_of(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Job>> {
        match self.retry_of {
            Some(id) => seen(ctx, ctx.loaders().0.load_one(id).await.map_err(fault)?),
            None => Ok(None),
        }
    }

    /// The jobs that it waits or waited for, by id; a job with too many has several pages.
    #[graphql(complexity = "list_cost(first, child_complexity)")]
    async fn depends_on(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 50, desc = "How many, at most 200.")] first: i32,
        #[graphql(desc = "Behind the job of this id.")] after: Option<JobId>,
    ) -> async_graphql::Result<Vec<Job>> {
        page_size(first)?;
        if self.on_dependency_failure.is_none() {
            return Ok(Vec::new());
        }
        let mut jobs =
            ctx.reader().dependencies(self.id, after.unwrap_or(JobId(0)), first).await.map_err(fault)?;
        let viewer = ctx.viewer()?;
        jobs.retain(|job| viewer.sees(job));
        Ok(jobs)
    }

    /// The jobs that wait or waited for it, by id; a job with too many has several pages.
    #[graphql(complexity = "list_cost(first, child_complexity)")]
    async fn dependants(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 50, desc = "How many, at most 200.")] first: i32,
        #[graphql(desc = "Behind the job of this id.")] after: Option<JobId>,
    ) -> async_graphql::Result<Vec<Job>> {
        page_size(first)?;
        ctx.reader().dependants(self.id, after.unwrap_or(JobId(0)), first).await.map_err(fault)
    }

    /// What its last failed attempt was counted into; null also when the caller sees its own jobs only.
    async fn incident(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Incident>> {
        incidents::of_job(ctx, self.id).await
    }

    /// The schedule that made it; null also when that is deleted.
    async fn schedule(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Schedule>> {
        match self.schedule_id {
            Some(id) => ctx.loaders().0.load_one(id).await.map_err(fault),
            None => Ok(None),
        }
    }
}

/// Reading jobs.
#[derive(Debug, Default)]
pub struct JobQuery;

#[Object]
impl JobQuery {
    /// The job of this id.
    async fn job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Such as job_1234.")] id: JobId,
    ) -> async_graphql::Result<Option<Job>> {
        job_seen(ctx, id).await
    }

    /// Jobs, the newest first unless ordered otherwise.
    #[graphql(complexity = "list_cost(first, child_complexity)")]
    async fn jobs(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 50, desc = "How many, at most 200.")] first: i32,
        #[graphql(desc = "Behind this position.")] after: Option<String>,
        #[graphql(desc = "Only these.")] filter: Option<JobFilter>,
        #[graphql(desc = "In this order.")] order_by: Option<JobOrder>,
    ) -> async_graphql::Result<JobConnection> {
        list_jobs(ctx, first, after, filter.unwrap_or_default(), order_by).await
    }

    /// Counts by state under the same filter, capped so that they stay cheap.
    async fn job_counts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only these.")] filter: Option<JobFilter>,
    ) -> async_graphql::Result<JobCounts> {
        let is_whole = filter.is_none() && ctx.viewer()?.sight().own().is_none();
        let filter = check_filter(ctx, filter.unwrap_or_default())?;
        let counts = if is_whole {
            ctx.reader().count_all_jobs().await
        } else {
            ctx.reader().count_jobs(&filter).await
        };
        Ok(counts.map_err(fault)?.into())
    }
}

/// Jobs to be made together.
#[derive(Debug, InputObject)]
pub struct JobEnqueueManyInput {
    /// The jobs, at most 1,000.
    jobs: Vec<JobEnqueueInput>,
}

/// A job to be cancelled.
#[derive(Debug, InputObject)]
pub struct JobCancelInput {
    /// The job.
    id: JobId,
    /// Why, for the record.
    reason: Option<String>,
}

/// A final job to be made anew.
#[derive(Debug, InputObject)]
pub struct JobRetryInput {
    /// The job.
    id: JobId,
    /// The same key gives the same new job.
    idempotency_key: Option<String>,
}

/// A refusal without the id of a job that the caller may not see.
pub(super) fn veiled(viewer: &Viewer, rejection: Rejection) -> Rejection {
    if rejection.code != UserErrorCode::UniqueKeyTaken || viewer.sight().own().is_none() {
        return rejection;
    }
    Rejection { message: "another job has this key and is not final yet".to_owned(), ..rejection }
}

async fn enqueue_payloads(
    ctx: &Context<'_>,
    EnqueueAnswers { answers, cursor, made: mut jobs }: EnqueueAnswers,
) -> async_graphql::Result<Vec<JobEnqueuePayload>> {
    let ids = answers.iter().flatten().map(|enqueued| enqueued.id);
    let unknown: Vec<JobId> = ids.filter(|id| !jobs.contains_key(id)).collect();
    if !unknown.is_empty() {
        jobs.extend(ctx.loaders().0.load_many(unknown).await.map_err(fault)?);
    }
    let viewer = ctx.viewer()?;
    // Two answers may name one job; the last of them takes it.
    let mut named: HashMap<JobId, usize> = HashMap::new();
    for enqueued in answers.iter().flatten() {
        *named.entry(enqueued.id).or_default() += 1;
    }
    let mut job = |id: JobId| {
        let left = named.get_mut(&id)?;
        *left -= 1;
        if *left == 0 { jobs.remove(&id) } else { jobs.get(&id).cloned() }
    };
    let payload = |answer: Result<crate::store::jobs::Enqueued, Rejection>| match answer {
        Ok(enqueued) => match job(enqueued.id) {
            // Only a unique key leads to a job of somebody else.
            Some(job) if !viewer.sees(&job) => {
                let taken = Rejection::at(UserErrorCode::UniqueKeyTaken, "uniqueKey", "");
                let user_errors = told(vec![veiled(viewer, taken)]);
                JobEnqueuePayload { job: None, deduplicated: true, cursor: None, user_errors }
            }
            None if enqueued.is_deduplicated => {
                let user_errors = told(vec![forgotten(enqueued.id)]);
                JobEnqueuePayload { job: None, deduplicated: true, cursor: None, user_errors }
            }
            job => JobEnqueuePayload {
                job,
                deduplicated: enqueued.is_deduplicated,
                cursor: Some(cursor),
                user_errors: Vec::new(),
            },
        },
        Err(rejection) => JobEnqueuePayload {
            job: None,
            deduplicated: false,
            cursor: None,
            user_errors: told(vec![veiled(viewer, rejection)]),
        },
    };
    Ok(answers.into_iter().map(payload).collect())
}

/// Changing jobs.
#[derive(Debug, Default)]
pub struct JobMutation;

#[Object]
impl JobMutation {
    /// Makes a job.
    async fn job_enqueue(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The job.")] input: JobEnqueueInput,
    ) -> async_graphql::Result<JobEnqueuePayload> {
        let answers = match split(ctx.engine().enqueue(ctx.viewer()?, vec![input]).await)? {
            Ok(answers) => answers,
            Err(user_errors) => {
                let user_errors = told(user_errors);
                return Ok(JobEnqueuePayload { job: None, deduplicated: false, cursor: None, user_errors });
            }
        };
        let payload = enqueue_payloads(ctx, answers).await?.pop();
        payload.ok_or_else(|| async_graphql::Error::new("an enqueue of one job gave no answer"))
    }

    /// Makes up to 1,000 jobs in one commit; each answers for itself.
    #[graphql(complexity = "list_cost(100, child_complexity)")]
    async fn job_enqueue_many(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The jobs.")] input: JobEnqueueManyInput,
    ) -> async_graphql::Result<JobEnqueueManyPayload> {
        if input.jobs.len() > ENQUEUE_MANY_MAX {
            return Err(bad_input(format!("at most {ENQUEUE_MANY_MAX} jobs can be made at once")));
        }
        let answers = match split(ctx.engine().enqueue(ctx.viewer()?, input.jobs).await)? {
            Ok(answers) => answers,
            Err(rejections) => return Err(bad_input(rejections[0].message.clone())),
        };
        let cursor = Some(answers.cursor);
        Ok(JobEnqueueManyPayload { results: enqueue_payloads(ctx, answers).await?, cursor })
    }

    /// Stops a job: at once while it waits, with SIGTERM and then SIGKILL while it runs.
    async fn job_cancel(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The job.")] input: JobCancelInput,
    ) -> async_graphql::Result<JobCancelPayload> {
        let JobCancelInput { id, reason } = input;
        if let Err(rejection) = check_text("reason", reason.as_deref().unwrap_or_default(), TEXT_BYTES_MAX) {
            return Ok(JobCancelPayload::refused(vec![rejection]));
        }
        Ok(match split(ctx.engine().cancel(ctx.viewer()?, id, reason).await)? {
            Ok(cursor) => JobCancelPayload::done(job_seen(ctx, id).await?, cursor),
            Err(refusals) => JobCancelPayload::refused(refusals),
        })
    }

    /// Makes a new job like a final one.
    async fn job_retry(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The job.")] input: JobRetryInput,
    ) -> async_graphql::Result<JobRetryPayload> {
        let JobRetryInput { id, idempotency_key } = input;
        let key = idempotency_key.as_deref().unwrap_or("-");
        if key.is_empty() || check_text("idempotencyKey", key, TEXT_BYTES_MAX).is_err() {
            let rejection = Rejection::invalid("idempotencyKey", "must be a short text");
            return Ok(JobRetryPayload::refused(vec![rejection]));
        }
        Ok(match split(ctx.engine().retry(ctx.viewer()?, id, idempotency_key).await)? {
            Ok((id, cursor)) => match job_seen(ctx, id).await? {
                None => JobRetryPayload::refused(vec![forgotten(id)]),
                job => JobRetryPayload::done(job, cursor),
            },
            Err(refusals) => {
                let viewer = ctx.viewer()?;
                JobRetryPayload::refused(refusals.into_iter().map(|one| veiled(viewer, one)).collect())
            }
        })
    }
}
