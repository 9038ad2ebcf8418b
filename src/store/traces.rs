//! Owns the reading of who asked for a job, as the trace that it belongs to.

use std::collections::HashMap;

use super::Reader;
use super::db::{Kind, Row, Sql};
use super::fault::Result;
use super::page;
use crate::args;
use crate::domain::id::JobId;
use crate::domain::trace::TraceContext;

const OF_JOBS: Sql = Sql::both(
    "SELECT job_id, trace FROM job_traces WHERE job_id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))",
    &[Kind::Text],
);

impl Reader {
    /// The spans that asked for those of the jobs that somebody asked for within a trace.
    pub async fn job_traces(&self, jobs: &[JobId]) -> Result<HashMap<JobId, TraceContext>> {
        let ids = page::numbers(Some(jobs), |id| id.0);
        let read = |row: &Row| {
            let trace: String = row.get(1)?;
            Ok((JobId(row.get(0)?), TraceContext::parse(&trace)))
        };
        let rows: Vec<_> =
            self.db.rows(&OF_JOBS, &args![ids]).await?.iter().map(read).collect::<Result<_>>()?;
        // Only what reads as a trace was let in; anything else is no reason to tell nothing.
        Ok(rows.into_iter().filter_map(|(job, trace)| Some((job, trace?))).collect())
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&OF_JOBS];
