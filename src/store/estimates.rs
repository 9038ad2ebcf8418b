//! Owns how long jobs of a task usually take, from the newest that succeeded. It looks at so many and no more: a task
//! that never succeeds costs no walk through its history.

use std::collections::HashMap;

use super::Reader;
use super::db::{Kind, Sql};
use super::fault::Result;
use super::page;
use crate::args;
use crate::domain::id::TaskId;
use crate::domain::limits::{ESTIMATE_JOBS_MAX, ESTIMATE_SUCCESSES};

macro_rules! successes {
    () => {
        "SELECT recent.id FROM (
             SELECT of_task.id, of_task.state FROM jobs AS of_task
             WHERE of_task.task_id = CAST(wanted.atom AS BIGINT)
             ORDER BY of_task.id DESC
             LIMIT $2) AS recent
         WHERE recent.state = 'SUCCEEDED'
         ORDER BY recent.id DESC
         LIMIT $3"
    };
}

// PostgreSQL would walk all jobs for a subquery that it must repeat for each.
const DURATIONS: Sql = Sql::each(
    concat!(
        "SELECT jobs.task_id, attempts.finished_at_us - attempts.started_at_us
         FROM jsonb_each($1) AS wanted
         CROSS JOIN jobs
         JOIN attempts ON attempts.job_id = jobs.id AND attempts.attempt_number = jobs.attempt_count
         WHERE jobs.id IN (",
        successes!(),
        ") AND attempts.finished_at_us IS NOT NULL"
    ),
    concat!(
        "SELECT jobs.task_id, attempts.finished_at_us - attempts.started_at_us
         FROM jsonb_each($1) AS wanted
         CROSS JOIN LATERAL (",
        successes!(),
        ") AS success
         JOIN jobs ON jobs.id = success.id
         JOIN attempts ON attempts.job_id = jobs.id AND attempts.attempt_number = jobs.attempt_count
         WHERE attempts.finished_at_us IS NOT NULL"
    ),
    &[Kind::Text, Kind::Int, Kind::Int],
);

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&DURATIONS];

impl Reader {
    /// How long the newest successes of each of the tasks took, in microseconds; a task without one is not there.
    pub async fn success_durations(&self, tasks: &[TaskId]) -> Result<HashMap<TaskId, Vec<i64>>> {
        let ids = page::numbers(Some(tasks), |id| id.0);
        let mut found: HashMap<TaskId, Vec<i64>> = HashMap::new();
        for row in self.db.rows(&DURATIONS, &args![ids, ESTIMATE_JOBS_MAX, ESTIMATE_SUCCESSES]).await? {
            found.entry(TaskId(row.get(0)?)).or_default().push(row.get(1)?);
        }
        Ok(found)
    }
}
