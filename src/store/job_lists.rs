//! Owns finding jobs: lists by keyset under a filter, and counts.

use std::collections::HashMap;

use super::Reader;
use super::db::{Kind, Row, Sql};
use super::fault::{Fault, Result};
use super::jobs::{GET, JOB_COLUMNS, job_columns, job_from, last_event};
use super::page::{self, Page};
use crate::args;
use crate::domain::filter::{JobFilter, JobOrder, JobOrderField, OrderDirection};
use crate::domain::id::JobId;
use crate::domain::job::{Job, JobState};
use crate::domain::limits::COUNT_CAP;

/// The conditions of a `JobFilter`, as arguments $1 to $14. `$own` is the one about whose jobs are seen.
macro_rules! job_filter {
    ($own:expr) => {
        concat!(
            $own,
            " AND ($1 IS NULL OR id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1)))
         AND ($2 IS NULL OR state IN (SELECT atom FROM jsonb_each($2)))
         AND ($3 IS NULL OR task_name IN (SELECT atom FROM jsonb_each($3)))
         AND ($4 IS NULL OR queue IN (SELECT atom FROM jsonb_each($4)))
         AND ($5 IS NULL OR NOT EXISTS (
              SELECT 1 FROM jsonb_each($5) AS wanted
              WHERE NOT EXISTS (
                  SELECT 1 FROM job_labels
                  WHERE job_labels.job_id = jobs.id
                    AND job_labels.label_key = wanted.value ->> 'key'
                    AND job_labels.label_value = wanted.value ->> 'value')))
         AND ($6 IS NULL OR origin IN (SELECT atom FROM jsonb_each($6)))
         AND ($7 IS NULL OR created_at_us >= $7)
         AND ($8 IS NULL OR created_at_us < $8)
         AND ($9 IS NULL OR finished_at_us >= $9)
         AND ($10 IS NULL OR finished_at_us < $10)
         AND ($11 IS NULL OR schedule_id = $11)
         AND ($12 IS NULL OR search_text LIKE $12 ESCAPE '\\'
              OR lower(failure) LIKE $12 ESCAPE '\\')
         AND ($14 IS NULL OR id IN (SELECT attempts.job_id FROM attempts WHERE attempts.incident_id = $14))"
        )
    };
}

/// For whoever sees every job.
macro_rules! every {
    () => {
        "($13 IS NULL OR token_id = $13)"
    };
}

/// For a token that sees its own jobs only: said so plainly that the index on it is used.
macro_rules! own {
    () => {
        "token_id = $13"
    };
}

/// For whoever sees every job and names one task: said so that the index of a task's jobs serves it.
macro_rules! one_task {
    () => {
        "($13 IS NULL OR token_id = $13)
         AND task_id = (SELECT tasks.id FROM tasks WHERE tasks.name = (SELECT atom FROM jsonb_each($3)))"
    };
}

/// For whoever sees every job and names an incident: said so that its own index serves it.
macro_rules! one_incident {
    () => {
        "($13 IS NULL OR token_id = $13)
         AND id IN (SELECT attempts.job_id FROM attempts WHERE attempts.incident_id = $14)"
    };
}

const FILTER_KINDS: [Kind; 14] = [
    Kind::Text,
    Kind::Text,
    Kind::Text,
    Kind::Text,
    Kind::Text,
    Kind::Text,
    Kind::Int,
    Kind::Int,
    Kind::Int,
    Kind::Int,
    Kind::Int,
    Kind::Text,
    Kind::Int,
    Kind::Int,
];

/// The kinds of the filter, and then numbers.
const fn kinds<const N: usize>() -> [Kind; N] {
    let mut kinds = [Kind::Int; N];
    let mut at = 0;
    while at < FILTER_KINDS.len() {
        kinds[at] = FILTER_KINDS[at];
        at += 1;
    }
    kinds
}

const LIST_KINDS: [Kind; 17] = kinds();
const COUNT_KINDS: [Kind; 15] = kinds();

/// One list statement: by a key, in a direction. The keyset is (key, id).
macro_rules! list {
    ($key:literal, $direction:literal, $beyond:literal, $own:expr) => {
        Sql::both(
            concat!(
                "SELECT ",
                job_columns!(),
                ", ",
                last_event!(),
                ", ",
                $key,
                "
                 FROM jobs
                 WHERE ",
                job_filter!($own),
                "
                   AND ($15 IS NULL OR (",
                $key,
                ", id) ",
                $beyond,
                " ($15, $16))
                 ORDER BY ",
                $key,
                " ",
                $direction,
                ", id ",
                $direction,
                "
                 LIMIT $17"
            ),
            &LIST_KINDS,
        )
    };
}

/// The orders for whoever sees every job, then the same for own jobs only, then for one task, then for one
/// incident. What is not finished
/// comes last in time.
pub(super) const LISTS: [Sql; 4 * ORDERS] = [
    list!("id", "ASC", ">", every!()),
    list!("id", "DESC", "<", every!()),
    list!("run_at_us", "ASC", ">", every!()),
    list!("run_at_us", "DESC", "<", every!()),
    list!("coalesce(finished_at_us, 9000000000000000000)", "ASC", ">", every!()),
    list!("coalesce(finished_at_us, 9000000000000000000)", "DESC", "<", every!()),
    list!("priority", "ASC", ">", every!()),
    list!("priority", "DESC", "<", every!()),
    list!("id", "ASC", ">", own!()),
    list!("id", "DESC", "<", own!()),
    list!("run_at_us", "ASC", ">", own!()),
    list!("run_at_us", "DESC", "<", own!()),
    list!("coalesce(finished_at_us, 9000000000000000000)", "ASC", ">", own!()),
    list!("coalesce(finished_at_us, 9000000000000000000)", "DESC", "<", own!()),
    list!("priority", "ASC", ">", own!()),
    list!("priority", "DESC", "<", own!()),
    list!("id", "ASC", ">", one_task!()),
    list!("id", "DESC", "<", one_task!()),
    list!("run_at_us", "ASC", ">", one_task!()),
    list!("run_at_us", "DESC", "<", one_task!()),
    list!("coalesce(finished_at_us, 9000000000000000000)", "ASC", ">", one_task!()),
    list!("coalesce(finished_at_us, 9000000000000000000)", "DESC", "<", one_task!()),
    list!("priority", "ASC", ">", one_task!()),
    list!("priority", "DESC", "<", one_task!()),
    list!("id", "ASC", ">", one_incident!()),
    list!("id", "DESC", "<", one_incident!()),
    list!("run_at_us", "ASC", ">", one_incident!()),
    list!("run_at_us", "DESC", "<", one_incident!()),
    list!("coalesce(finished_at_us, 9000000000000000000)", "ASC", ">", one_incident!()),
    list!("coalesce(finished_at_us, 9000000000000000000)", "DESC", "<", one_incident!()),
    list!("priority", "ASC", ">", one_incident!()),
    list!("priority", "DESC", "<", one_incident!()),
];
/// Ways to order jobs.
const ORDERS: usize = 8;

/// Which of the statements of a kind serves the filter.
fn kind_of(filter: &JobFilter) -> usize {
    let names_one_task =
        filter.tasks.as_ref().is_some_and(|tasks| tasks.len() == 1 && page::is_storable(&tasks[0]));
    match filter.sight.own() {
        Some(_) => 1,
        None if filter.incident_id.is_some() => 3,
        None if names_one_task => 2,
        None => 0,
    }
}

fn list_of(order: JobOrder, filter: &JobFilter) -> &'static Sql {
    let field = match order.field {
        JobOrderField::CreatedAt => 0,
        JobOrderField::RunAt => 2,
        JobOrderField::FinishedAt => 4,
        JobOrderField::Priority => 6,
    };
    &LISTS[kind_of(filter) * ORDERS + field + usize::from(order.direction == OrderDirection::Desc)]
}

macro_rules! count {
    ($own:expr) => {
        Sql::both(
            concat!(
                "SELECT state, count(*) FROM (SELECT state FROM jobs WHERE ",
                job_filter!($own),
                " LIMIT $15) AS found
                 GROUP BY state"
            ),
            &COUNT_KINDS,
        )
    };
}

/// For whoever sees every job, for own jobs only, for one task, and for one incident.
const COUNT: [Sql; 4] = [count!(every!()), count!(own!()), count!(one_task!()), count!(one_incident!())];

macro_rules! matches {
    ($own:expr) => {
        Sql::both(
            concat!("SELECT id FROM jobs WHERE ", job_filter!($own), " ORDER BY id LIMIT $15"),
            &COUNT_KINDS,
        )
    };
}

/// For whoever sees every job, and for one incident.
const MATCHES: [Sql; 2] = [matches!(every!()), matches!(one_incident!())];

const COUNTS: Sql =
    Sql::both("SELECT state, CAST(sum(job_count) AS BIGINT) FROM job_counts GROUP BY state", &[]);

const QUEUE_COUNTS: Sql =
    Sql::both("SELECT queue, state, job_count FROM job_counts ORDER BY queue, state", &[]);

fn filter_values(filter: &JobFilter) -> Vec<super::db::Value> {
    let created = filter.created.unwrap_or_default();
    let finished = filter.finished.unwrap_or_default();
    args![
        page::numbers(filter.ids.as_deref(), |id| id.0),
        page::words(filter.states.as_deref(), |state| state.word().to_owned()),
        page::words(filter.tasks.as_deref(), Clone::clone),
        page::words(filter.queues.as_deref(), Clone::clone),
        page::labels(filter.labels.as_deref()),
        page::words(filter.origins.as_deref(), |origin| origin.word().to_owned()),
        created.from.map(|at| at.0),
        created.to.map(|at| at.0),
        finished.from.map(|at| at.0),
        finished.to.map(|at| at.0),
        filter.schedule_id.map(|id| id.0),
        filter.text.as_deref().map(page::contains),
        filter.sight.own().map(|token| token.0),
        filter.incident_id.map(|id| id.0),
    ]
    .to_vec()
}

/// Jobs by state, and whether counting stopped at the cap.
#[derive(Debug, Clone, Default)]
pub struct StateCounts {
    /// Count of each state that occurs.
    pub counts: HashMap<JobState, i64>,
    /// Whether there are more than were counted.
    pub is_capped: bool,
}

impl Reader {
    /// The jobs of these ids, in no order; unknown ones are left out.
    pub async fn jobs_by_id(&self, ids: &[JobId]) -> Result<Vec<Job>> {
        let ids = page::numbers(Some(ids), |id| id.0);
        let rows = self.db.rows(&GET, &args![ids]).await?;
        rows.iter().map(|row| job_from(row, self.epoch)).collect()
    }

    /// The job, if it exists.
    pub async fn job(&self, id: JobId) -> Result<Option<Job>> {
        Ok(self.jobs_by_id(&[id]).await?.pop())
    }

    /// A page of jobs behind the position `after`, or `None` when that is no position of ours.
    pub async fn jobs(
        &self,
        filter: &JobFilter,
        order: JobOrder,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Option<Page<Job>>> {
        let Ok(after) = after.map(parse_position).transpose() else { return Ok(None) };
        let mut values = filter_values(filter);
        let position = [after.map(|(key, _)| key), Some(after.map_or(0, |(_, id)| id))];
        values.extend(position.map(Into::into));
        values.push(page::one_more(limit).into());
        let rows = self.db.rows(list_of(order, filter), &values).await?;
        let read = |row: &Row| {
            let job = job_from(row, self.epoch)?;
            Ok((format!("{}.{}", row.get::<i64>(JOB_COLUMNS + 1)?, job.id.0), job))
        };
        Ok(Some(Page::cut(rows.iter().map(read).collect::<Result<_>>()?, limit)))
    }

    /// Jobs by state under a filter, looking at `COUNT_CAP` of them at most.
    pub async fn count_jobs(&self, filter: &JobFilter) -> Result<StateCounts> {
        let mut values = filter_values(filter);
        values.push((COUNT_CAP + 1).into());
        let count = &COUNT[kind_of(filter)];
        let counts = state_counts(&self.db.rows(count, &values).await?)?;
        let is_capped = counts.values().sum::<i64>() > COUNT_CAP;
        Ok(StateCounts { counts, is_capped })
    }

    /// The ids of the jobs under a filter, the oldest first, at most `limit`.
    pub async fn matching_jobs(&self, filter: &JobFilter, limit: usize) -> Result<Vec<JobId>> {
        let mut values = filter_values(filter);
        values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
        let matches = &MATCHES[usize::from(filter.incident_id.is_some())];
        self.db.rows(matches, &values).await?.iter().map(|row| row.get(0).map(JobId)).collect()
    }

    /// Jobs by state in the whole store, from the kept counts.
    pub async fn count_all_jobs(&self) -> Result<StateCounts> {
        let counts = state_counts(&self.db.rows(&COUNTS, &[]).await?)?;
        Ok(StateCounts { counts, is_capped: false })
    }

    /// Jobs by queue and state in the whole store, from the kept counts.
    pub async fn queue_counts(&self) -> Result<Vec<(String, JobState, i64)>> {
        let read = |row: &Row| {
            let word: String = row.get(1)?;
            let state =
                JobState::from_word(&word).ok_or_else(|| Fault::unreadable("the state of a count", &word))?;
            Ok((row.get(0)?, state, row.get(2)?))
        };
        self.db.rows(&QUEUE_COUNTS, &[]).await?.iter().map(read).collect()
    }
}

fn state_counts(rows: &[Row]) -> Result<HashMap<JobState, i64>> {
    let read = |row: &Row| {
        let word: String = row.get(0)?;
        let state =
            JobState::from_word(&word).ok_or_else(|| Fault::unreadable("the state of a count", &word))?;
        Ok((state, row.get(1)?))
    };
    rows.iter().map(read).collect()
}

fn parse_position(text: &str) -> std::result::Result<(i64, i64), std::num::ParseIntError> {
    let (key, id) = text.split_once('.').unwrap_or((text, ""));
    Ok((key.parse()?, id.parse()?))
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] =
    &[&COUNT[0], &COUNT[1], &COUNT[2], &COUNT[3], &MATCHES[0], &MATCHES[1], &COUNTS, &QUEUE_COUNTS];
