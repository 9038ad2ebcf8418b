//! Owns the lists of jobs: pages by keyset under a filter, counts, and what matches for a change of many. How the jobs are
//! found is chosen by `job_search`.

use std::collections::HashMap;

use super::Reader;
use super::db::{Kind, Row, Sql};
use super::fault::{Fault, Result};
use super::job_columns::{brief_columns, brief_from, job_columns, job_from, last_event};
use super::job_filter::Fields;
use super::job_search::{Search, Wanted};
use super::job_ways::{KEY_MAX, KEY_MIN, Key, Position};
use super::jobs::{GET, GET_BRIEF};
use super::page;
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::filter::{JobFilter, JobOrder, JobOrderField, OrderDirection};
use crate::domain::id::JobId;
use crate::domain::job::{Job, JobState};
use crate::domain::job_parts::JobParts;
use crate::domain::limits::COUNT_CAP;

/// The list that most ask for: every job, by age.
macro_rules! list {
    ([$($columns:expr),*] $(, $mask:ident)?; $beyond:literal, $direction:literal) => {
        Sql::both(
            concat!($($columns,)* " FROM jobs WHERE id ", $beyond, " $1 ORDER BY id ", $direction, " LIMIT $2"),
            &[Kind::Int, Kind::Int $(, Kind::$mask)?],
        )
    };
}

/// Whole jobs, the oldest first and the newest first, and the same with what most lists show of them.
const LIST: [Sql; 4] = [
    list!(["SELECT ", job_columns!("$3"), ", ", last_event!("$3")], Int; ">", "ASC"),
    list!(["SELECT ", job_columns!("$3"), ", ", last_event!("$3")], Int; "<", "DESC"),
    list!(["SELECT ", brief_columns!()]; ">", "ASC"),
    list!(["SELECT ", brief_columns!()]; "<", "DESC"),
];

const STANDS: Sql =
    Sql::both("SELECT created_at_us, run_at_us, finished_at_us FROM jobs WHERE id = $1", &[Kind::Int]);

const COUNTS: Sql =
    Sql::both("SELECT state, CAST(sum(job_count) AS BIGINT) FROM job_counts GROUP BY state", &[]);

const QUEUE_COUNTS: Sql =
    Sql::both("SELECT queue, state, job_count FROM job_counts ORDER BY queue, state", &[]);

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] =
    &[&LIST[0], &LIST[1], &LIST[2], &LIST[3], &STANDS, &COUNTS, &QUEUE_COUNTS];

/// A page of a list of jobs.
#[derive(Debug, Clone)]
pub struct JobPage {
    /// The jobs, each with its position.
    pub rows: Vec<(String, Job)>,
    /// Whether the list goes on.
    pub has_more: bool,
    /// Behind what it goes on; not always the last row: a page may end before it is full.
    pub end: Option<String>,
    /// When the page ended because enough jobs were looked at: how far it came, as an instant of what the list is ordered by.
    pub searched_until: Option<Timestamp>,
}

/// Jobs by state, and whether counting stopped before it had seen all.
#[derive(Debug, Clone, Default)]
pub struct StateCounts {
    /// Count of each state that occurs.
    pub counts: HashMap<JobState, i64>,
    /// Whether there may be more than were counted.
    pub is_capped: bool,
}

impl Reader {
    /// The jobs of these ids, in no order; unknown ones are left out.
    pub async fn jobs_by_id(&self, ids: &[JobId]) -> Result<Vec<Job>> {
        self.parts_by_id(ids, JobParts::ALL).await
    }

    async fn parts_by_id(&self, ids: &[JobId], parts: JobParts) -> Result<Vec<Job>> {
        let ids = page::numbers(Some(ids), |id| id.0);
        if parts == JobParts::NONE {
            let rows = self.db.rows(&GET_BRIEF, &args![ids]).await?;
            return rows.iter().map(|row| brief_from(row, self.epoch)).collect();
        }
        let rows = self.db.rows(&GET, &args![ids, parts.bits()]).await?;
        rows.iter().map(|row| job_from(row, self.epoch)).collect()
    }

    /// The job, if it exists.
    pub async fn job(&self, id: JobId) -> Result<Option<Job>> {
        Ok(self.jobs_by_id(&[id]).await?.pop())
    }

    /// A page of jobs behind the position `after`, or `None` when that is no position of ours. Of the jobs only these parts
    /// are read, the others stay empty.
    pub async fn jobs(
        &self,
        filter: &JobFilter,
        order: JobOrder,
        after: Option<&str>,
        limit: usize,
        parts: JobParts,
    ) -> Result<Option<JobPage>> {
        let Ok(after) = after.map(parse_position).transpose() else { return Ok(None) };
        let fields = Fields::of(filter);
        let wanted = Wanted {
            key: Key::of(order.field, fields),
            is_descending: order.direction == OrderDirection::Desc,
            after,
            limit: page::one_more(limit),
        };
        if fields == Fields::NONE && wanted.key == Key::Id {
            return self.all_jobs(wanted, limit, parts).await.map(Some);
        }
        let found = Search::new(self, filter).list(wanted).await?;
        let has_more = found.jobs.len() > limit;
        let shown = &found.jobs[..found.jobs.len().min(limit)];
        let edge = found.edge.filter(|_| !has_more);
        let ids: Vec<JobId> = shown.iter().map(|at| JobId(at.id)).collect();
        let found_jobs = if ids.is_empty() { Vec::new() } else { self.parts_by_id(&ids, parts).await? };
        let mut jobs: HashMap<JobId, Job> = found_jobs.into_iter().map(|job| (job.id, job)).collect();
        // What retention took meanwhile is gone.
        let row = |at: &Position| Some((position(*at), jobs.remove(&JobId(at.id))?));
        let rows = shown.iter().filter_map(row).collect();
        Ok(Some(JobPage {
            rows,
            has_more: has_more || edge.is_some(),
            end: edge.or(shown.last().copied()).map(position),
            searched_until: match edge {
                Some(edge) => self.instant_at(edge, order.field).await?,
                None => None,
            },
        }))
    }

    async fn all_jobs(&self, wanted: Wanted, limit: usize, parts: JobParts) -> Result<JobPage> {
        let direction = usize::from(wanted.is_descending);
        let start = if wanted.is_descending { KEY_MAX } else { KEY_MIN };
        let from = wanted.after.map_or(start, |after| after.id);
        let is_brief = parts == JobParts::NONE;
        let rows = if is_brief {
            self.db.rows(&LIST[2 + direction], &args![from, wanted.limit]).await?
        } else {
            self.db.rows(&LIST[direction], &args![from, wanted.limit, parts.bits()]).await?
        };
        let read = |row: &Row| {
            let job = if is_brief { brief_from(row, self.epoch) } else { job_from(row, self.epoch) }?;
            Ok((position(Position { key: job.id.0, id: job.id.0 }), job))
        };
        let page = page::Page::cut(rows.iter().map(read).collect::<Result<_>>()?, limit);
        let end = page.rows.last().map(|(end, _)| end.clone());
        Ok(JobPage { rows: page.rows, has_more: page.has_more, end, searched_until: None })
    }

    /// The instant of the job at a position, of what a list is ordered by.
    async fn instant_at(&self, at: Position, field: JobOrderField) -> Result<Option<Timestamp>> {
        let Some(row) = self.db.optional(&STANDS, &args![at.id]).await? else { return Ok(None) };
        let column = match field {
            JobOrderField::CreatedAt | JobOrderField::Priority => 0,
            JobOrderField::RunAt => 1,
            JobOrderField::FinishedAt => 2,
        };
        Ok(row.get::<Option<i64>>(column)?.map(Timestamp))
    }

    /// Jobs by state under a filter: of those that a bounded number of rows shows, `COUNT_CAP` at most.
    pub async fn count_jobs(&self, filter: &JobFilter) -> Result<StateCounts> {
        if Fields::of(filter).lie_in(Fields::STATES.and(Fields::QUEUES)) {
            return self.kept_counts(filter).await;
        }
        let (counts, is_whole) = Search::new(self, filter).count(COUNT_CAP + 1).await?;
        let is_capped = !is_whole || counts.values().sum::<i64>() > COUNT_CAP;
        Ok(StateCounts { counts, is_capped })
    }

    /// Of states and queues the kept counts know all.
    async fn kept_counts(&self, filter: &JobFilter) -> Result<StateCounts> {
        let mut counts = HashMap::new();
        for (queue, state, count) in self.queue_counts().await? {
            let is_named = filter.queues.as_ref().is_none_or(|queues| queues.contains(&queue))
                && filter.states.as_ref().is_none_or(|states| states.contains(&state));
            if is_named && count > 0 {
                *counts.entry(state).or_insert(0) += count;
            }
        }
        Ok(StateCounts { counts, is_capped: false })
    }

    /// The ids of the jobs under a filter, the oldest first, at most `limit`. It looks at as many rows as that needs.
    pub async fn matching_jobs(&self, filter: &JobFilter, limit: usize) -> Result<Vec<JobId>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = Search::new(self, filter).every(limit).await?;
        Ok(found.into_iter().map(|at| JobId(at.id)).collect())
    }

    /// Jobs by state in the whole store, from the kept counts.
    pub async fn count_all_jobs(&self) -> Result<StateCounts> {
        let rows = self.db.rows(&COUNTS, &[]).await?;
        let counts = rows.iter().map(state_count).collect::<Result<_>>()?;
        Ok(StateCounts { counts, is_capped: false })
    }

    /// Jobs by queue and state in the whole store, from the kept counts.
    pub async fn queue_counts(&self) -> Result<Vec<(String, JobState, i64)>> {
        let read = |row: &Row| Ok((row.get(0)?, state_from(&row.get::<String>(1)?)?, row.get(2)?));
        self.db.rows(&QUEUE_COUNTS, &[]).await?.iter().map(read).collect()
    }
}

/// A state and how many stand in it.
pub(super) fn state_count(row: &Row) -> Result<(JobState, i64)> {
    Ok((state_from(&row.get::<String>(0)?)?, row.get(1)?))
}

fn state_from(word: &str) -> Result<JobState> {
    JobState::from_word(word).ok_or_else(|| Fault::unreadable("the state of a count", word))
}

fn position(at: Position) -> String {
    format!("{}.{}", at.key, at.id)
}

/// Whatever it says, it lies among our keys.
fn parse_position(text: &str) -> std::result::Result<Position, std::num::ParseIntError> {
    let (key, id) = text.split_once('.').unwrap_or((text, ""));
    let within = |number: i64| number.clamp(KEY_MIN, KEY_MAX);
    Ok(Position { key: within(key.parse()?), id: within(id.parse()?) })
}
