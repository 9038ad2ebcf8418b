//! Owns the lists of jobs in the API, and their counts by state.

use async_graphql::connection::PageInfo;
use async_graphql::{Context, Object, SelectionField, SimpleObject};

use super::access::check_filter;
use super::context::ApiContext;
use super::errors::{bad_input, fault};
use super::pages::{edge_columns, page_info, page_size};
use super::rows::{OneRow, Row as _, RowRefs};
use crate::base::clock::Timestamp;
use crate::domain::filter::{JobFilter, JobOrder};
use crate::domain::job::{Job, JobState};
use crate::domain::job_parts::JobParts;
use crate::store::job_lists::StateCounts;

/// A job and its position in the list.
#[derive(Debug, SimpleObject)]
pub struct JobEdge {
    /// The thing itself.
    node: OneRow<Job>,
    /// Its position: give it as `after` to go on behind it.
    cursor: String,
}

edge_columns!(JobEdge);

/// A page of a list of jobs.
#[derive(Debug)]
pub struct JobConnection {
    edges: Vec<JobEdge>,
    end: Option<String>,
    has_previous: bool,
    has_next: bool,
    searched_until: Option<Timestamp>,
    filter: JobFilter,
}

/// A page of a list of jobs.
#[Object]
impl JobConnection {
    /// The rows with their positions.
    async fn edges(&self) -> RowRefs<'_, JobEdge> {
        self.edges.iter().collect()
    }

    /// The rows alone.
    async fn nodes(&self) -> RowRefs<'_, Job> {
        self.edges.iter().map(|edge| &edge.node.0).collect()
    }

    /// Where this page stands in the list.
    async fn page_info(&self) -> PageInfo {
        let first = self.edges.first().map(|edge| &edge.cursor);
        page_info(first, self.end.as_ref(), self.has_previous, self.has_next)
    }

    /// Null but for a page that ended before it was full, since as many jobs were looked at as one page may: how far it
    /// came, as an instant of what the list is ordered by (when they were accepted, for a list by priority). Ask behind
    /// `pageInfo.endCursor` to look further.
    async fn searched_until(&self) -> Option<Timestamp> {
        self.searched_until
    }

    /// How many jobs fit the filter, exactly; null when there are more than 10,000, or too many to look at. By states and
    /// queues alone any number is known.
    async fn total_count(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<i32>> {
        let counts = ctx.reader().count_jobs(&self.filter).await.map_err(fault)?;
        let total: i64 = counts.counts.values().sum();
        Ok(if counts.is_capped { None } else { i32::try_from(total).ok() })
    }
}

/// What a field of a job needs of it, beside what most lists show.
fn parts_of(field: &str) -> JobParts {
    match field {
        "command" => JobParts::COMMAND,
        "labels" => JobParts::LABELS,
        "retryPolicy" => JobParts::RETRY_POLICY,
        "failure" => JobParts::FAILURE,
        "progress" => JobParts::PROGRESS,
        "parameters" => JobParts::PARAMETERS,
        "runsOn" => JobParts::RUNS_ON,
        "eventCursor" => JobParts::LAST_EVENT,
        "__typename" | "id" | "state" | "task" | "queue" | "priority" | "origin" | "requestedBy"
        | "isRestartable" | "createdAt" | "runAt" | "startedAt" | "finishedAt" | "attempts"
        | "currentAttempt" | "output" => JobParts::NONE,
        _ if Job::column(field).is_some() => JobParts::DETAILS,
        _ => JobParts::ALL,
    }
}

/// What the selection asks of each job of the list.
fn wanted_parts(ctx: &Context<'_>) -> JobParts {
    let mut parts = JobParts::NONE;
    for list in ctx.field().selection_set() {
        let mut of_job = |job: SelectionField<'_>| {
            parts = job.selection_set().fold(parts, |parts, field| parts.and(parts_of(field.name())));
        };
        match list.name() {
            "nodes" => of_job(list),
            "edges" => list.selection_set().filter(|field| field.name() == "node").for_each(of_job),
            _ => {}
        }
    }
    parts
}

/// A page of jobs.
pub async fn list_jobs(
    ctx: &Context<'_>,
    first: i32,
    after: Option<String>,
    filter: JobFilter,
    order: Option<JobOrder>,
) -> async_graphql::Result<JobConnection> {
    let filter = check_filter(ctx, filter)?;
    let (order, parts) = (order.unwrap_or_default(), wanted_parts(ctx));
    let page = ctx.reader().jobs(&filter, order, after.as_deref(), page_size(first)?, parts).await;
    let page = page.map_err(fault)?;
    let page = page.ok_or_else(|| bad_input("after is not a position that this list gave"))?;
    let edges = page.rows.into_iter().map(|(cursor, node)| JobEdge { node: OneRow(node), cursor }).collect();
    Ok(JobConnection {
        edges,
        end: page.end,
        has_previous: after.is_some(),
        has_next: page.has_more,
        searched_until: page.searched_until,
        filter,
    })
}

/// Jobs by state.
#[derive(Debug, Default, SimpleObject)]
pub struct JobCounts {
    /// On hold.
    held: i32,
    /// Waiting for other jobs.
    blocked: i32,
    /// Waiting for their time.
    scheduled: i32,
    /// May start.
    queued: i32,
    /// Running.
    running: i32,
    /// Waiting for their next try.
    retrying: i32,
    /// Did what they should.
    succeeded: i32,
    /// Did not.
    failed: i32,
    /// Were stopped.
    cancelled: i32,
    /// Were not started in time.
    expired: i32,
    /// Were left out because of another job.
    skipped: i32,
    /// Whether counting stopped before the end: at 10,000, or when enough jobs were looked at.
    is_capped: bool,
}

impl From<StateCounts> for JobCounts {
    fn from(counts: StateCounts) -> JobCounts {
        let of = |state| i32::try_from(counts.counts.get(&state).copied().unwrap_or(0)).unwrap_or(i32::MAX);
        JobCounts {
            held: of(JobState::Held),
            blocked: of(JobState::Blocked),
            scheduled: of(JobState::Scheduled),
            queued: of(JobState::Queued),
            running: of(JobState::Running),
            retrying: of(JobState::Retrying),
            succeeded: of(JobState::Succeeded),
            failed: of(JobState::Failed),
            cancelled: of(JobState::Cancelled),
            expired: of(JobState::Expired),
            skipped: of(JobState::Skipped),
            is_capped: counts.is_capped,
        }
    }
}
