//! Owns what the rows know of attempts that a dead daemon left open: how long it had stood, and whether the job's
//! attempts before were lost in the same way. It must never judge: `domain::quarantine` does.

use std::collections::HashMap;

use super::db::{Kind, Sql};
use super::fault::Result;
use super::{Reader, page};
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::id::AttemptId;
use crate::domain::quarantine::LeftOpen;

// An attempt was lost with its daemon when it ended only after the daemon was found dead: one that was given up while
// the daemon lived says nothing. The one right before weighs two, the one before that one.
const LEFT: Sql = Sql::both(
    "SELECT attempts.id, attempts.started_at_us, workers.started_at_us,
            CAST(coalesce((
                SELECT sum(CASE WHEN earlier.attempt_number = attempts.attempt_number - 1 THEN 2 ELSE 1 END)
                FROM attempts AS earlier
                JOIN workers AS dead ON dead.id = earlier.worker_id
                WHERE earlier.job_id = attempts.job_id
                  AND earlier.attempt_number BETWEEN attempts.attempt_number - 2 AND attempts.attempt_number - 1
                  AND earlier.outcome = 'LOST' AND dead.stopped_at_us <= earlier.finished_at_us), 0) AS BIGINT)
     FROM attempts
     JOIN workers ON workers.id = attempts.worker_id
     WHERE attempts.id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))",
    &[Kind::Text],
);

impl Reader {
    /// What is known of these attempts.
    pub async fn left_open(&self, attempts: &[AttemptId]) -> Result<HashMap<AttemptId, LeftOpen>> {
        let ids = page::numbers(Some(attempts), |id| id.0);
        let rows = self.db.rows(&LEFT, &args![ids]).await?;
        let read = |row: &super::db::Row| {
            let lost_before = match row.get::<i64>(3)? {
                3 => 2,
                2 => 1,
                _ => 0,
            };
            let (started_at, worker_started_at) = (Timestamp(row.get(1)?), Timestamp(row.get(2)?));
            Ok((AttemptId(row.get(0)?), LeftOpen { started_at, worker_started_at, lost_before }))
        };
        rows.iter().map(read).collect()
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&LEFT];
