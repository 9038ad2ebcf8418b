//! Owns unique keys: among the jobs that are not final each key occurs once, in the whole store.

use super::db::{Kind, Sql};
use super::fault::Result;
use super::transition::lock;
use super::writer::Batch;
use crate::args;
use crate::domain::id::JobId;
use crate::domain::job::{Job, JobState};
use crate::domain::new_job::{Unique, UniqueConflict};
use crate::domain::rejection::{Rejection, UserErrorCode};

const HOLDER: Sql =
    Sql::both("SELECT id FROM jobs WHERE unique_key = $1 AND finished_at_us IS NULL", &[Kind::Text]);

/// How a new job stands to the one that holds its key.
pub(super) enum Standing {
    /// Nobody holds the key, or the job has none.
    Free,
    /// The holder is the answer.
    Exists(JobId),
    /// The holder waits and gives way.
    Replaces(Box<Job>),
    /// The key is taken.
    Refused(Rejection),
}

/// Looks for the holder among the rows and those of this batch that wait to be written.
pub(super) async fn standing(batch: &mut Batch<'_>, unique: Option<&Unique>) -> Result<Standing> {
    let Some(unique) = unique else { return Ok(Standing::Free) };
    let pending = batch.pending.unique_keys.get(&unique.key).copied();
    let holder = if pending.is_some() {
        pending
    } else {
        let row = batch.tx.optional(&HOLDER, &args![&unique.key]).await?;
        row.map(|row| row.get(0).map(JobId)).transpose()?
    };
    let Some(id) = holder else { return Ok(Standing::Free) };
    match unique.on_conflict {
        UniqueConflict::ReturnExisting => {
            let Some(token) = unique.own_of else { return Ok(Standing::Exists(id)) };
            // Whoever may not see the holder must not wait for it either, or be given it by a key.
            return Ok(match lock(batch, id).await? {
                Some(job) if job.state.is_final() => Standing::Free,
                Some(job) if job.token_id == Some(token) => Standing::Exists(id),
                Some(_) => Standing::Refused(taken(id)),
                None => Standing::Free,
            });
        }
        UniqueConflict::Reject => return Ok(Standing::Refused(taken(id))),
        UniqueConflict::ReplaceQueued => {}
    }
    Ok(match lock(batch, id).await? {
        Some(job) if job.state == JobState::Running => Standing::Refused(taken(id)),
        Some(job) if !job.state.is_final() => Standing::Replaces(Box::new(job)),
        // It ended between the two looks.
        _ => Standing::Free,
    })
}

fn taken(id: JobId) -> Rejection {
    let message = format!("{id} has this key and is not final yet");
    Rejection::at(UserErrorCode::UniqueKeyTaken, "uniqueKey", message)
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&HOLDER];
