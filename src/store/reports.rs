//! Owns what running jobs report: progress and structured output, written under the attempt that said it. What it says
//! last goes with its end (`ends`). A report of an attempt that has ended changes nothing.

use serde_json::{Map, Value};

use super::Reader;
use super::db::{Kind, Row, Sql};
use super::fault::{Fault, Result};
use super::jobs::text;
use super::page;
use super::writer::{Batch, Change, Outcome};
use crate::args;
use crate::domain::event::{EventData, EventType, NewEvent};
use crate::domain::id::{AttemptId, JobId};
use crate::domain::report::Progress;
use crate::domain::scalars::Json;

/// Whose report it is.
#[derive(Debug, Clone)]
pub struct Reporting {
    /// The attempt.
    pub attempt: AttemptId,
    /// The attempt's number within its job.
    pub number: i32,
    /// Its job.
    pub job: JobId,
    /// The worker that heard it.
    pub actor: String,
}

const PROGRESS: Sql = Sql::both(
    "UPDATE jobs SET progress = $3
     WHERE id = $1 AND coalesce(state = 'RUNNING', FALSE)
       AND EXISTS (SELECT 1 FROM attempts WHERE attempts.id = $2 AND attempts.job_id = jobs.id AND outcome IS NULL)
     RETURNING task_name, queue",
    &[Kind::Int, Kind::Int, Kind::Text],
);

const OUTPUT: Sql = Sql::both(
    "UPDATE jobs SET output = $3
     WHERE id = $1 AND coalesce(state = 'RUNNING', FALSE)
       AND EXISTS (SELECT 1 FROM attempts WHERE attempts.id = $2 AND attempts.job_id = jobs.id AND outcome IS NULL)
     RETURNING task_name, queue",
    &[Kind::Int, Kind::Int, Kind::Text],
);

/// Records how far a running job has come.
#[derive(Debug, Clone)]
pub struct ReportProgress {
    /// Who says so.
    pub by: Reporting,
    /// The latest word.
    pub progress: Progress,
}

/// Records the structured result of a running job, as far as it is known.
#[derive(Debug, Clone)]
pub struct ReportOutput {
    /// Who says so.
    pub by: Reporting,
    /// Everything that was reported, merged.
    pub output: Map<String, Value>,
}

impl Change for ReportProgress {
    /// Whether the attempt was still the running one.
    type Answer = bool;

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<bool> {
        let data = progress_data(self.by.number.into(), &self.progress);
        Ok(self.by.write(batch, &PROGRESS, text(&self.progress), EventType::JobProgress, data).await?)
    }
}

impl Change for ReportOutput {
    /// Whether the attempt was still the running one.
    type Answer = bool;

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<bool> {
        let output = text(&self.output);
        let data = output_data(self.by.number.into(), &output);
        Ok(self.by.write(batch, &OUTPUT, output, EventType::JobOutput, data).await?)
    }
}

/// What the event of a progress says.
pub(super) fn progress_data(attempt: i64, progress: &Progress) -> EventData {
    EventData::of("attempt", attempt)
        .with("fraction", progress.fraction)
        .with("done", progress.done)
        .with("total", progress.total)
        .with("unit", &progress.unit)
        .with("status", &progress.status)
}

/// What the event of an output says.
pub(super) fn output_data(attempt: i64, output: &str) -> EventData {
    EventData::of("attempt", attempt).with("bytes", output.len())
}

impl Reporting {
    async fn write(
        &self,
        batch: &mut Batch<'_>,
        sql: &Sql,
        report: String,
        kind: EventType,
        data: EventData,
    ) -> Result<bool> {
        let Some(row) = batch.tx.optional(sql, &args![self.job.0, self.attempt.0, report]).await? else {
            return Ok(false);
        };
        batch.emit(NewEvent {
            kind,
            actor: self.actor.clone(),
            subject_id: Some(self.job.to_string()),
            job_id: Some(self.job),
            task_name: row.get(0)?,
            queue_name: row.get(1)?,
            data,
        });
        Ok(true)
    }
}

const OUTPUT_OF: Sql = Sql::both(
    "SELECT id, output FROM jobs
     WHERE id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1)) AND output IS NOT NULL",
    &[Kind::Text],
);

impl Reader {
    /// The structured results of those of the jobs that have one.
    pub async fn outputs(&self, jobs: &[JobId]) -> Result<Vec<(JobId, Json)>> {
        let read = |row: &Row| {
            let id = JobId(row.get(0)?);
            let output = serde_json::from_str(&row.get::<String>(1)?);
            Ok((id, Json(output.map_err(|_| Fault::unreadable("the output", id))?)))
        };
        let ids = page::numbers(Some(jobs), |id| id.0);
        self.db.rows(&OUTPUT_OF, &args![ids]).await?.iter().map(read).collect()
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&PROGRESS, &OUTPUT, &OUTPUT_OF];
