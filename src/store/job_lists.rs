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

/// The conditions of a `JobFilter`, as arguments $1 to $13.
macro_rules! job_filter {
    () => {
        "($1 IS NULL OR id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1)))
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
              OR lower(failure) LIKE $12 ESCAPE '\\')"
    };
}

const FILTER_KINDS: [Kind; 12] = [
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
];

const fn with_position() -> [Kind; 15] {
    let mut kinds = [Kind::Int; 15];
    let mut at = 0;
    while at < FILTER_KINDS.len() {
        kinds[at] = FILTER_KINDS[at];
        at += 1;
    }
    kinds
}

const LIST_KINDS: [Kind; 15] = with_position();

/// One list statement: by a key, in a direction. The keyset is (key, id).
macro_rules! list {
    ($key:literal, $direction:literal, $beyond:literal) => {
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
                job_filter!(),
                "
                   AND ($13 IS NULL OR (",
                $key,
                ", id) ",
                $beyond,
                " ($13, $14))
                 ORDER BY ",
                $key,
                " ",
                $direction,
                ", id ",
                $direction,
                "
                 LIMIT $15"
            ),
            &LIST_KINDS,
        )
    };
}

pub(super) const LISTS: [Sql; 8] = [
    list!("id", "ASC", ">"),
    list!("id", "DESC", "<"),
    list!("run_at_us", "ASC", ">"),
    list!("run_at_us", "DESC", "<"),
    // What is not finished comes last in time.
    list!("coalesce(finished_at_us, 9000000000000000000)", "ASC", ">"),
    list!("coalesce(finished_at_us, 9000000000000000000)", "DESC", "<"),
    list!("priority", "ASC", ">"),
    list!("priority", "DESC", "<"),
];

fn list_of(order: JobOrder) -> &'static Sql {
    let field = match order.field {
        JobOrderField::CreatedAt => 0,
        JobOrderField::RunAt => 2,
        JobOrderField::FinishedAt => 4,
        JobOrderField::Priority => 6,
    };
    &LISTS[field + usize::from(order.direction == OrderDirection::Desc)]
}

const COUNT: Sql = Sql::both(
    concat!(
        "SELECT state, count(*) FROM (SELECT state FROM jobs WHERE ",
        job_filter!(),
        " LIMIT $13) AS found
         GROUP BY state"
    ),
    &[
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
    ],
);

const MATCHES: Sql = Sql::both(
    concat!("SELECT id FROM jobs WHERE ", job_filter!(), " ORDER BY id LIMIT $13"),
    &[
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
    ],
);

const COUNTS: Sql =
    Sql::both("SELECT state, CAST(sum(job_count) AS BIGINT) FROM job_counts GROUP BY state", &[]);

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
        let rows = self.db.rows(list_of(order), &values).await?;
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
        let counts = state_counts(&self.db.rows(&COUNT, &values).await?)?;
        let is_capped = counts.values().sum::<i64>() > COUNT_CAP;
        Ok(StateCounts { counts, is_capped })
    }

    /// The ids of the jobs under a filter, the oldest first, at most `limit`.
    pub async fn matching_jobs(&self, filter: &JobFilter, limit: usize) -> Result<Vec<JobId>> {
        let mut values = filter_values(filter);
        values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
        self.db.rows(&MATCHES, &values).await?.iter().map(|row| row.get(0).map(JobId)).collect()
    }

    /// Jobs by state in the whole store, from the kept counts.
    pub async fn count_all_jobs(&self) -> Result<StateCounts> {
        let counts = state_counts(&self.db.rows(&COUNTS, &[]).await?)?;
        Ok(StateCounts { counts, is_capped: false })
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
pub(super) const STATEMENTS: &[&Sql] = &[&COUNT, &MATCHES, &COUNTS];
