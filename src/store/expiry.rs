//! Owns the end of jobs that were not started in time. A job on hold keeps waiting: it expires on release.

use std::collections::HashSet;

use super::db::{Kind, Sql};
use super::fault::Result;
use super::page;
use super::transition::{Named, moved};
use super::writer::Batch;
use crate::args;
use crate::domain::event::EventData;
use crate::domain::id::JobId;
use crate::domain::job::JobState;

/// Why, in the event of a job that expired.
const REASON: &str = "it was not started by its startBy";

// Locked on PostgreSQL, so that the state that is counted down is the one that the job leaves.
const LATE: Sql = Sql::each(
    "SELECT id, queue, state, task_name, limit_key FROM jobs
     WHERE start_by_us IS NOT NULL AND started_at_us IS NULL AND state IN ('SCHEDULED', 'QUEUED')
       AND start_by_us <= $1
     ORDER BY start_by_us, id
     LIMIT $2",
    "SELECT id, queue, state, task_name, limit_key FROM jobs
     WHERE start_by_us IS NOT NULL AND started_at_us IS NULL AND state IN ('SCHEDULED', 'QUEUED')
       AND start_by_us <= $1
     ORDER BY start_by_us, id
     LIMIT $2
     FOR UPDATE SKIP LOCKED",
    &[Kind::Int, Kind::Int],
);

const EXPIRE: Sql = Sql::both(
    "UPDATE jobs SET state = 'EXPIRED', finished_at_us = $2, gated_at_us = NULL
     WHERE id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))
       AND coalesce(state IN ('SCHEDULED', 'QUEUED'), FALSE) AND started_at_us IS NULL
     RETURNING id",
    &[Kind::Text, Kind::Int],
);

/// Ends the jobs that were to be started by now, at most `limit`.
pub(super) async fn expire(batch: &mut Batch<'_>, limit: usize) -> Result<()> {
    let now = batch.now.0;
    let late = batch.tx.rows(&LATE, &args![now, i64::try_from(limit).unwrap_or(i64::MAX)]).await?;
    if late.is_empty() {
        return Ok(());
    }
    let ids = late.iter().map(|row| row.get::<i64>(0)).collect::<Result<Vec<_>>>()?;
    let ended = batch.tx.rows(&EXPIRE, &args![page::numbers(Some(&ids), |id| *id), now]).await?;
    let ended = ended.iter().map(|row| row.get::<i64>(0)).collect::<Result<HashSet<_>>>()?;
    for row in &late {
        let id: i64 = row.get(0)?;
        if !ended.contains(&id) {
            continue;
        }
        let from = JobState::from_word(row.text(2)?).unwrap_or(JobState::Queued);
        batch.touched_keys.extend(row.get::<Option<String>>(4)?);
        let job = Named { id: JobId(id), state: from, queue: row.text(1)?, task: row.optional_text(3)? };
        moved(batch, job, "dispatcher", EventData::moved(from, JobState::Expired).with("reason", REASON));
    }
    Ok(())
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&LATE, &EXPIRE];
