//! Owns where jobs stand in distributed traces: the span that each was asked from, where there was one.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::db::{Kind, Sql, Tx};
use super::fault::Result;
use super::{Reader, page};
use crate::args;
use crate::domain::id::JobId;
use crate::domain::trace::TraceContext;

const INSERT: Sql = Sql::both(
    "INSERT INTO job_traces (job_id, trace)
     SELECT CAST(r.value ->> 'job' AS BIGINT), r.value ->> 'trace' FROM jsonb_each($1) AS r",
    &[Kind::Text],
);

const ASKED: Sql = Sql::both(
    "SELECT job_id, trace FROM job_traces WHERE job_id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))",
    &[Kind::Text],
);

/// The row of a new job.
pub(super) fn row(job: JobId, trace: &str) -> Value {
    json!({"job": job, "trace": trace})
}

/// Writes the rows of new jobs.
pub(super) async fn write(tx: &mut Tx, rows: Vec<Value>) -> Result<()> {
    if !rows.is_empty() {
        tx.execute(&INSERT, &args![Value::Array(rows).to_string()]).await?;
    }
    Ok(())
}

impl Reader {
    /// The spans that these jobs were asked from; a job that is a root is not there.
    pub async fn asked_traces(&self, jobs: &[JobId]) -> Result<HashMap<JobId, TraceContext>> {
        read(&self.db.rows(&ASKED, &args![page::numbers(Some(jobs), |id| id.0)]).await?)
    }
}

fn read(rows: &[super::db::Row]) -> Result<HashMap<JobId, TraceContext>> {
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let (job, trace): (i64, String) = (row.get(0)?, row.get(1)?);
        // It was checked at the door; what is none makes a root.
        found.extend(TraceContext::parse(&trace).map(|trace| (JobId(job), trace)));
    }
    Ok(found)
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&INSERT, &ASKED];
