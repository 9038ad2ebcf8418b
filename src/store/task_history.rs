//! Owns what a task has been and how it went: its revisions, and the outcome of its last jobs.

use super::Reader;
use super::db::{Kind, Row, Sql};
use super::fault::{Fault, Result};
use super::page::{self, Page};
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::id::{JobId, TaskId};
use crate::domain::job::JobState;
use crate::domain::limits::STATISTICS_JOBS_MAX;
use crate::domain::task::TaskRevision;
use crate::domain::task_statistics::EndedJob;

const REVISIONS: Sql = Sql::both(
    "SELECT revision, definition, actor, created_at_us
     FROM task_revisions
     WHERE task_id = $1 AND revision < $2
     ORDER BY revision DESC
     LIMIT $3",
    &[Kind::Int, Kind::Int, Kind::Int],
);

/// By the index of a task's jobs, from the newest on; it stops at the limit.
const ENDED: Sql = Sql::both(
    "SELECT id, state, started_at_us, finished_at_us
     FROM jobs
     WHERE task_id = $1 AND finished_at_us IS NOT NULL
     ORDER BY id DESC
     LIMIT $2",
    &[Kind::Int, Kind::Int],
);

fn revision_from(row: &Row, task: TaskId) -> Result<TaskRevision> {
    let definition: String = row.get(1)?;
    Ok(TaskRevision {
        revision: i32::try_from(row.get::<i64>(0)?).unwrap_or(i32::MAX),
        definition: serde_json::from_str(&definition)
            .map_err(|_| Fault::unreadable("the definition of a revision", task))?,
        actor: row.get(2)?,
        created_at: Timestamp(row.get(3)?),
    })
}

fn ended_from(row: &Row) -> Result<EndedJob> {
    let id = JobId(row.get(0)?);
    let state = JobState::from_word(&row.get::<String>(1)?);
    Ok(EndedJob {
        id,
        state: state.ok_or_else(|| Fault::unreadable("the state", id))?,
        started_at: row.get::<Option<i64>>(2)?.map(Timestamp),
        finished_at: Timestamp(row.get(3)?),
    })
}

impl Reader {
    /// A page of a task's revisions, the newest first, below the revision `before`.
    pub async fn task_revisions(
        &self,
        task: TaskId,
        before: i64,
        limit: usize,
    ) -> Result<Page<TaskRevision>> {
        let rows = self.db.rows(&REVISIONS, &args![task.0, before, page::one_more(limit)]).await?;
        let read =
            |row: &Row| revision_from(row, task).map(|revision| (revision.revision.to_string(), revision));
        Ok(Page::cut(rows.iter().map(read).collect::<Result<_>>()?, limit))
    }

    /// The newest of a task's jobs that have ended, the newest first.
    pub async fn ended_jobs_of(&self, task: TaskId) -> Result<Vec<EndedJob>> {
        let rows = self.db.rows(&ENDED, &args![task.0, STATISTICS_JOBS_MAX]).await?;
        rows.iter().map(ended_from).collect()
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&REVISIONS, &ENDED];
