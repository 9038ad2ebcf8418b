//! Owns the incident in the API.

use async_graphql::{ComplexObject, Context, ID, InputObject, Object, SimpleObject};

use super::context::ApiContext;
use super::errors::{bad_input, fault};
use super::job_lists::{JobConnection, list_jobs};
use super::jobs::veiled;
use super::list_cost;
use super::loaders::{IncidentOf, IncidentOfAttempt};
use super::pages::{IncidentConnection, page_size};
use super::payloads::{
    IncidentAcknowledgePayload, IncidentIgnorePayload, IncidentResolvePayload, split, told,
};
use crate::base::clock::Timestamp;
use crate::domain::duration::Span;
use crate::domain::event::EventCursor;
use crate::domain::filter::JobFilter;
use crate::domain::id::{AttemptId, IncidentId, JobId};
use crate::domain::incident::{Incident, IncidentAction, IncidentFilter};
use crate::domain::job::Job;
use crate::domain::limits::{INCIDENT_BUCKETS_MAX, INCIDENT_DAYS_MAX, TEXT_BYTES_MAX};
use crate::domain::rejection::Rejection;
use crate::domain::task::Task;

/// The histogram's window when nobody asks for another: a day.
const WINDOW_MILLIS: i64 = 86_400_000;
/// Microseconds of a minute: what the store counts by.
const MINUTE_US: i64 = 60_000_000;

/// The incident of a job, for whoever may see incidents.
pub(super) async fn of_job(ctx: &Context<'_>, id: JobId) -> async_graphql::Result<Option<Incident>> {
    if ctx.viewer()?.sight().own().is_some() {
        return Ok(None);
    }
    let found = ctx.loaders().0.load_one(IncidentOf(id)).await.map_err(fault)?;
    loaded(ctx, found).await
}

/// The incident of an attempt, for whoever may see incidents.
pub(super) async fn of_attempt(ctx: &Context<'_>, id: AttemptId) -> async_graphql::Result<Option<Incident>> {
    if ctx.viewer()?.sight().own().is_some() {
        return Ok(None);
    }
    let found = ctx.loaders().0.load_one(IncidentOfAttempt(id)).await.map_err(fault)?;
    loaded(ctx, found).await
}

async fn loaded(ctx: &Context<'_>, id: Option<IncidentId>) -> async_graphql::Result<Option<Incident>> {
    match id {
        Some(id) => ctx.loaders().0.load_one(id).await.map_err(fault),
        None => Ok(None),
    }
}

#[ComplexObject]
impl Incident {
    /// The global id.
    pub async fn id(&self) -> ID {
        self.id.into()
    }

    /// The task; null for an ad hoc command, and when a part of the daemon itself failed.
    async fn task(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Task>> {
        match self.task_id {
            Some(id) => ctx.loaders().0.load_one(id).await.map_err(fault),
            None => Ok(None),
        }
    }

    /// Whether it came back after it was resolved.
    async fn is_regression(&self) -> bool {
        self.regressed_at.is_some()
    }

    /// How often it happened in each of `buckets` equal parts of the time up to now, the oldest first. Counted by the
    /// minute, for 30 days.
    #[graphql(complexity = "10")]
    async fn histogram(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 24, desc = "How many parts, at most 200.")] buckets: i32,
        #[graphql(
            default_with = "Span::from_millis(WINDOW_MILLIS)",
            desc = "How long all parts are together: at least a minute each, at most 30 days."
        )]
        window: Span,
    ) -> async_graphql::Result<Vec<i32>> {
        if !(1..=INCIDENT_BUCKETS_MAX).contains(&buckets) {
            return Err(bad_input(format!("buckets must lie in 1..={INCIDENT_BUCKETS_MAX}, is {buckets}")));
        }
        let bucket_us = window.millis().saturating_mul(1_000) / i64::from(buckets);
        if bucket_us < MINUTE_US || window.millis() > INCIDENT_DAYS_MAX * WINDOW_MILLIS {
            return Err(bad_input("window must be a minute for each of the buckets, and 30 days at most"));
        }
        // The minute that runs now belongs to the last part.
        let now = ctx.engine().clock.now().0;
        let until = now - now.rem_euclid(MINUTE_US) + MINUTE_US;
        let from = Timestamp(until - bucket_us * i64::from(buckets));
        ctx.reader().incident_histogram(self.id, from, bucket_us, buckets).await.map_err(fault)
    }

    /// The newest job that failed so; null when it is gone, or when a part of the daemon failed.
    async fn sample_job(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Job>> {
        match self.sample_job_id {
            Some(id) => ctx.loaders().0.load_one(id).await.map_err(fault),
            None => Ok(None),
        }
    }

    /// The jobs with an attempt that was counted into it, the newest first.
    #[graphql(complexity = "list_cost(first, child_complexity)")]
    async fn jobs(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 20, desc = "How many, at most 200.")] first: i32,
        #[graphql(desc = "Behind this position.")] after: Option<String>,
    ) -> async_graphql::Result<JobConnection> {
        let filter = JobFilter { incident_id: Some(self.id), ..JobFilter::default() };
        list_jobs(ctx, first, after, filter, None).await
    }
}

/// Reading incidents.
#[derive(Debug, Default)]
pub struct IncidentQuery;

#[Object]
impl IncidentQuery {
    /// The incident of this id.
    async fn incident(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Such as incident_12.")] id: IncidentId,
    ) -> async_graphql::Result<Option<Incident>> {
        loaded(ctx, Some(id)).await
    }

    /// Failures by kind, the one that happened last first; open and acknowledged ones unless asked otherwise.
    #[graphql(complexity = "list_cost(first, child_complexity)")]
    async fn incidents(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 50, desc = "How many, at most 200.")] first: i32,
        #[graphql(desc = "Behind this position.")] after: Option<String>,
        #[graphql(desc = "Only these.")] filter: Option<IncidentFilter>,
    ) -> async_graphql::Result<IncidentConnection> {
        let filter = filter.unwrap_or_default();
        let text = filter.text.as_deref().unwrap_or_default();
        if !filter.is_bounded() || text.len() > TEXT_BYTES_MAX || text.contains('\0') {
            return Err(bad_input("a list of the filter holds too many values, or its text is too long"));
        }
        let page =
            ctx.reader().incidents(&filter, after.as_deref(), page_size(first)?).await.map_err(fault)?;
        let page = page.ok_or_else(|| bad_input("after is not a position that this list gave"))?;
        IncidentConnection::of(Ok(page), after.as_ref())
    }
}

/// An incident that somebody looks at.
#[derive(Debug, InputObject)]
pub struct IncidentAcknowledgeInput {
    /// The incident.
    id: IncidentId,
    /// Who looks at it; left out, it stays as it was.
    assignee: Option<String>,
    /// What to write on it; left out, it stays as it was.
    note: Option<String>,
}

/// An incident that is over.
#[derive(Debug, InputObject)]
pub struct IncidentResolveInput {
    /// The incident.
    id: IncidentId,
    /// What to write on it; left out, it stays as it was.
    note: Option<String>,
}

/// An incident that nobody wants to hear of: for ever, or until the first of what is given here.
#[derive(Debug, InputObject)]
pub struct IncidentIgnoreInput {
    /// The incident.
    id: IncidentId,
    /// Until this instant.
    until: Option<Timestamp>,
    /// Until it has happened so many times more.
    until_count: Option<i32>,
    /// What to write on it; left out, it stays as it was.
    note: Option<String>,
}

/// An incident whose jobs are to be made anew.
#[derive(Debug, InputObject)]
pub struct IncidentRetryInput {
    /// The incident.
    id: IncidentId,
    /// More jobs than this are refused and nothing is done; at most 100,000.
    #[graphql(default = 1000)]
    max: i32,
}

/// What `incidentRetry` answers.
#[derive(Debug, Clone, SimpleObject)]
pub struct IncidentRetryPayload {
    /// Failed jobs of the incident that nobody had made anew; when they were too many one more than `max`.
    matched_count: i32,
    /// Jobs that were made anew by this; the others were refused, or somebody else made them anew meanwhile.
    retried_count: i32,
    /// Behind the events of this change: subscribe after it and miss nothing.
    cursor: Option<EventCursor>,
    /// Expected refusals; empty when it was done. One of a single job is the first of its kind.
    user_errors: Vec<Rejection>,
}

async fn changed(
    ctx: &Context<'_>,
    id: IncidentId,
    action: IncidentAction,
    note: Option<String>,
) -> async_graphql::Result<Result<(Option<Incident>, EventCursor), Vec<Rejection>>> {
    match split(ctx.engine().change_incident(ctx.viewer()?, id, action, note).await)? {
        Ok(cursor) => Ok(Ok((loaded(ctx, Some(id)).await?, cursor))),
        Err(refusals) => Ok(Err(refusals)),
    }
}

/// Changing incidents.
#[derive(Debug, Default)]
pub struct IncidentMutation;

#[Object]
impl IncidentMutation {
    /// Says that somebody looks at an incident.
    async fn incident_acknowledge(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The incident.")] input: IncidentAcknowledgeInput,
    ) -> async_graphql::Result<IncidentAcknowledgePayload> {
        let IncidentAcknowledgeInput { id, assignee, note } = input;
        let outcome = changed(ctx, id, IncidentAction::Acknowledge { assignee }, note).await?;
        Ok(outcome.map_or_else(IncidentAcknowledgePayload::refused, |(incident, cursor)| {
            IncidentAcknowledgePayload::done(incident, cursor)
        }))
    }

    /// Says that an incident is over: the next failure of its kind opens it again, as a regression.
    async fn incident_resolve(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The incident.")] input: IncidentResolveInput,
    ) -> async_graphql::Result<IncidentResolvePayload> {
        let IncidentResolveInput { id, note } = input;
        let outcome = changed(ctx, id, IncidentAction::Resolve, note).await?;
        Ok(outcome.map_or_else(IncidentResolvePayload::refused, |(incident, cursor)| {
            IncidentResolvePayload::done(incident, cursor)
        }))
    }

    /// Tells nothing more of an incident, which is still counted: for ever, until an instant or until a count.
    async fn incident_ignore(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The incident.")] input: IncidentIgnoreInput,
    ) -> async_graphql::Result<IncidentIgnorePayload> {
        let IncidentIgnoreInput { id, until, until_count, note } = input;
        let action = IncidentAction::Ignore { until, until_count: until_count.map(i64::from) };
        let outcome = changed(ctx, id, action, note).await?;
        Ok(outcome.map_or_else(IncidentIgnorePayload::refused, |(incident, cursor)| {
            IncidentIgnorePayload::done(incident, cursor)
        }))
    }

    /// Makes each failed job of an incident anew that nobody made anew yet, in batches. It says nothing about the
    /// incident itself.
    async fn incident_retry(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The incident, and how many jobs at most.")] input: IncidentRetryInput,
    ) -> async_graphql::Result<IncidentRetryPayload> {
        let viewer = ctx.viewer()?;
        let outcome = split(ctx.engine().retry_incident(viewer, input.id, input.max).await)?;
        let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let refused = |user_errors: Vec<Rejection>| IncidentRetryPayload {
            matched_count: 0,
            retried_count: 0,
            cursor: None,
            user_errors: told(user_errors),
        };
        Ok(outcome.map_or_else(refused, |answer| IncidentRetryPayload {
            matched_count: count(answer.matched_count),
            retried_count: count(answer.changed_count),
            cursor: answer.cursor,
            user_errors: told(answer.refusal.into_iter().map(|one| veiled(viewer, one)).collect()),
        }))
    }
}
