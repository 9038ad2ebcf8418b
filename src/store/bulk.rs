//! Owns the stop of many jobs in one transaction: a bulk mutation is cut into such batches, so that others get
//! in between.

use serde_json::json;

use super::db::{Kind, Sql};
use super::fault::Result;
use super::transition::{Moving, move_many, stop_requested};
use super::writer::{Batch, Change, Outcome};
use super::{jobs, page};
use crate::args;
use crate::domain::event::{EventType, NewEvent};
use crate::domain::id::JobId;
use crate::domain::job::JobState;

/// Jobs that one transaction changes of a bulk mutation.
pub const BULK_BATCH: usize = 500;

const LOCK_OPEN: Sql = Sql::each(
    "SELECT id, state, queue, task_name FROM jobs
     WHERE id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1)) AND coalesce(finished_at_us IS NULL, FALSE)
     ORDER BY id",
    "SELECT id, state, queue, task_name FROM jobs
     WHERE id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1)) AND coalesce(finished_at_us IS NULL, FALSE)
     ORDER BY id
     FOR UPDATE",
    &[Kind::Text],
);

const REQUEST_STOPS: Sql = Sql::both(
    "UPDATE jobs SET stop_requested_at_us = $2
     WHERE id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))
       AND coalesce(state = 'RUNNING', FALSE) AND stop_requested_at_us IS NULL
     RETURNING id, queue, task_name",
    &[Kind::Text, Kind::Int],
);

/// Stops jobs as `Cancel` does one; those that are final are passed over.
#[derive(Debug)]
pub struct CancelMany {
    /// The jobs, at most `BULK_BATCH`.
    pub ids: Vec<JobId>,
    /// Whether those that run are stopped too; else they are passed over.
    pub is_running_meant: bool,
    /// Who asks.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
}

/// What a stop of many did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CancelledMany {
    /// Jobs that are final now.
    pub done_count: usize,
    /// Jobs whose worker is asked to stop them, and was not before.
    pub asked: Vec<JobId>,
}

impl Change for CancelMany {
    type Answer = CancelledMany;

    fn size(&self) -> usize {
        self.ids.len()
    }

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<CancelledMany> {
        assert!(self.ids.len() <= BULK_BATCH, "a batch of a bulk mutation is bounded");
        jobs::write_pending(batch).await?;
        let rows = batch.tx.rows(&LOCK_OPEN, &args![page::numbers(Some(&self.ids), |id| id.0)]).await?;
        let (mut waiting, mut running) = (Vec::new(), Vec::new());
        for row in &rows {
            let (id, word): (i64, String) = (row.get(0)?, row.get(1)?);
            let from = JobState::from_word(&word).unwrap_or(JobState::Queued);
            if from == JobState::Running {
                if self.is_running_meant {
                    running.push(JobId(id));
                }
                continue;
            }
            let extra = json!({"reason": self.reason});
            waiting.push(Moving { id: JobId(id), from, queue: row.get(2)?, task: row.get(3)?, extra });
        }
        let done_count = waiting.len();
        move_many(batch, waiting, JobState::Cancelled, &self.actor).await?;
        let asked = self.ask(batch, &running).await?;
        Ok(CancelledMany { done_count, asked })
    }
}

impl CancelMany {
    async fn ask(&self, batch: &mut Batch<'_>, running: &[JobId]) -> Result<Vec<JobId>> {
        if running.is_empty() {
            return Ok(Vec::new());
        }
        let now = batch.now.0;
        let ids = page::numbers(Some(running), |id| id.0);
        let mut asked = Vec::new();
        for row in batch.tx.rows(&REQUEST_STOPS, &args![ids, now]).await? {
            let id = JobId(row.get(0)?);
            // Another worker may run it.
            batch.calls_others = true;
            batch.emit(NewEvent {
                kind: EventType::JobStateChanged,
                actor: self.actor.clone(),
                subject_id: Some(id.to_string()),
                job_id: Some(id),
                task_name: row.get(2)?,
                queue_name: row.get(1)?,
                data: stop_requested(self.reason.as_deref()),
            });
            asked.push(id);
        }
        Ok(asked)
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&LOCK_OPEN, &REQUEST_STOPS];
