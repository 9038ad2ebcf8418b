//! Owns what time alone does to incidents: one that was ignored until a date opens again, one that is resolved and was
//! not seen for long is forgotten.

use super::db::{Kind, Sql};
use super::fault::Result;
use super::incidents::{incident_columns, incident_from, news_event};
use super::writer::{Batch, Change, Outcome};
use super::{Reader, incident_counts, page};
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::incident::IncidentNews;
use crate::domain::limits::INCIDENT_DAYS_MAX;

/// Rows that one transaction changes.
const BATCH: i64 = 500;

const REOPEN: Sql = Sql::both(
    concat!(
        "UPDATE incidents
         SET status = 'OPEN', ignored_until_us = NULL, ignored_until_count = NULL, count_before = occurrence_count,
             alerted_count = occurrence_count, status_by = $3, status_at_us = $1
         WHERE status = 'IGNORED' AND id IN (
             SELECT due.id FROM incidents AS due
             WHERE due.status = 'IGNORED' AND due.ignored_until_us <= $1
             ORDER BY due.ignored_until_us
             LIMIT $2)
         RETURNING ",
        incident_columns!()
    ),
    &[Kind::Int, Kind::Int, Kind::Text],
);

const FORGET_MINUTES: Sql = Sql::both(
    "DELETE FROM incident_minutes WHERE (incident_id, minute_us) IN (
         SELECT old.incident_id, old.minute_us FROM incident_minutes AS old WHERE old.minute_us < $1 LIMIT $2)",
    &[Kind::Int, Kind::Int],
);

const FORGET: Sql = Sql::both(
    "DELETE FROM incidents WHERE status = 'RESOLVED' AND id IN (
         SELECT old.id FROM incidents AS old
         WHERE old.status = 'RESOLVED' AND old.last_seen_at_us < $1 AND old.status_at_us < $1
         ORDER BY old.last_seen_at_us
         LIMIT $2)",
    &[Kind::Int, Kind::Int],
);

const IS_DUE: Sql = Sql::both(
    "SELECT (SELECT count(*) FROM incidents
             WHERE status = 'IGNORED' AND ignored_until_us IS NOT NULL AND ignored_until_us <= $1),
            (SELECT count(*) FROM (SELECT 1 FROM incident_minutes WHERE minute_us < $2 LIMIT 1) AS old),
            (SELECT count(*) FROM incidents
             WHERE status = 'RESOLVED' AND last_seen_at_us < $3 AND status_at_us < $3)",
    &[Kind::Int, Kind::Int, Kind::Int],
);

/// Does what is due by the clock.
#[derive(Debug)]
pub struct TendIncidents {
    /// Resolved ones that were neither seen nor changed since may go.
    pub resolved_before: Timestamp,
}

/// Until when the minutes of incidents may go.
fn minutes_before(now: Timestamp) -> i64 {
    now.plus_millis(-INCIDENT_DAYS_MAX * 86_400_000).0
}

impl Change for TendIncidents {
    /// Whether there is more to do.
    type Answer = bool;

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<bool> {
        incident_counts::settle(batch).await?;
        let now = batch.now;
        let opened = batch.tx.rows(&REOPEN, &args![now.0, BATCH, incident_counts::ACTOR]).await?;
        for row in &opened {
            let incident = incident_from(row)?;
            batch.emit(news_event(&incident, IncidentNews::Reopened, incident_counts::ACTOR));
        }
        let minutes = batch.tx.execute(&FORGET_MINUTES, &args![minutes_before(now), BATCH]).await?;
        // The minutes of what is forgotten are older still, but for the rest of a day.
        let forgotten = batch.tx.execute(&FORGET, &args![self.resolved_before.0, BATCH]).await?;
        let is_full = |count: u64| count >= BATCH.unsigned_abs();
        Ok(is_full(opened.len() as u64) || is_full(minutes) || is_full(forgotten))
    }
}

impl Reader {
    /// Whether tending the incidents would change anything, without writing.
    pub async fn has_due_incidents(&self, now: Timestamp, resolved_before: Timestamp) -> Result<bool> {
        let values = args![now.0, minutes_before(now), resolved_before.0];
        let row = page::one(self.db.optional(&IS_DUE, &values).await?)?;
        Ok(row.get::<i64>(0)? + row.get::<i64>(1)? + row.get::<i64>(2)? > 0)
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&REOPEN, &FORGET_MINUTES, &FORGET, &IS_DUE];
