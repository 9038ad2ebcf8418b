//! Owns the incident rows: reading them, and what people do about them. How failures are counted into them is
//! `incident_counts`.

use std::collections::HashSet;

use serde_json::json;

use super::db::{Kind, Row, Sql};
use super::fault::{Fault, Result};
use super::page::{self, Page};
use super::writer::{Batch, Change, Outcome};
use super::{Reader, incident_counts};
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::attempt::AttemptOutcome;
use crate::domain::event::{EventType, NewEvent};
use crate::domain::id::{AttemptId, IncidentId, JobId, TaskId};
use crate::domain::incident::{Incident, IncidentAction, IncidentFilter, IncidentNews, IncidentStatus};
use crate::domain::rejection::{Rejection, UserErrorCode};
use crate::domain::task::TaskRef;

/// The columns of an `Incident`, and behind them the three numbers that decide about it.
macro_rules! incident_columns {
    () => {
        "id, fingerprint, status, title, task_id, task_name, subsystem, outcome, error_line, first_seen_at_us,
         last_seen_at_us, regressed_at_us, sample_job_id, assignee, note, ignored_until_us, ignored_until_count,
         status_by, status_at_us, occurrence_count, count_before, alerted_count"
    };
}
pub(super) use incident_columns;

/// How many columns those are.
pub(super) const INCIDENT_COLUMNS: usize = 22;

pub(super) fn incident_from(row: &Row) -> Result<Incident> {
    let id = IncidentId(row.get(0)?);
    let status: String = row.get(2)?;
    let outcome: Option<String> = row.get(7)?;
    let int = |number: i64| i32::try_from(number).unwrap_or(i32::MAX);
    let instant = |at: usize| -> Result<Option<Timestamp>> { Ok(row.get::<Option<i64>>(at)?.map(Timestamp)) };
    Ok(Incident {
        id,
        fingerprint: row.get(1)?,
        status: IncidentStatus::from_word(&status).ok_or_else(|| Fault::unreadable("the status", id))?,
        title: row.get(3)?,
        task_id: row.get::<Option<i64>>(4)?.map(TaskId),
        task_name: row.get(5)?,
        subsystem: row.get(6)?,
        outcome: outcome
            .map(|word| AttemptOutcome::from_word(&word).ok_or_else(|| Fault::unreadable("the outcome", id)))
            .transpose()?,
        error_line: row.get(8)?,
        first_seen_at: Timestamp(row.get(9)?),
        last_seen_at: Timestamp(row.get(10)?),
        regressed_at: instant(11)?,
        sample_job_id: row.get::<Option<i64>>(12)?.map(JobId),
        assignee: row.get(13)?,
        note: row.get(14)?,
        ignored_until: instant(15)?,
        ignored_until_count: row.get::<Option<i64>>(16)?.map(int),
        status_by: row.get(17)?,
        status_at: instant(18)?,
        occurrence_count: int(row.get(19)?),
    })
}

/// The event that tells what happened to an incident.
pub(super) fn news_event(incident: &Incident, news: IncidentNews, actor: &str) -> NewEvent {
    let mut data = json!({
        "change": news.word(),
        "title": incident.title,
        "status": incident.status.word(),
        "occurrenceCount": incident.occurrence_count,
        "fingerprint": incident.fingerprint,
        "taskName": incident.task_name,
        "subsystem": incident.subsystem,
        "outcome": incident.outcome.map(AttemptOutcome::word),
        "errorLine": incident.error_line,
        "sampleJobId": incident.sample_job_id.map(|id| id.to_string()),
    });
    for (name, text) in [("note", &incident.note), ("assignee", &incident.assignee)] {
        if let Some(text) = text {
            data[name] = json!(text);
        }
    }
    let kind =
        if news == IncidentNews::Opened { EventType::IncidentOpened } else { EventType::IncidentChanged };
    NewEvent {
        kind,
        actor: actor.to_owned(),
        subject_id: Some(incident.id.to_string()),
        job_id: None,
        task_name: incident.task_name.clone(),
        queue_name: None,
        data: data.into(),
    }
}

const LOCK: Sql = Sql::each(
    concat!("SELECT ", incident_columns!(), " FROM incidents WHERE id = $1"),
    concat!("SELECT ", incident_columns!(), " FROM incidents WHERE id = $1 FOR UPDATE"),
    &[Kind::Int],
);

const CHANGE: Sql = Sql::both(
    "UPDATE incidents
     SET status = $2, assignee = $3, note = $4, ignored_until_us = $5, ignored_until_count = $6, status_by = $7,
         status_at_us = $8, regressed_at_us = CASE WHEN $2 = 'RESOLVED' THEN NULL ELSE regressed_at_us END
     WHERE id = $1",
    &[
        Kind::Int,
        Kind::Text,
        Kind::Text,
        Kind::Text,
        Kind::Int,
        Kind::Int,
        Kind::Text,
        Kind::Int,
    ],
);

/// Does something about an incident.
#[derive(Debug)]
pub struct ChangeIncident {
    /// The incident.
    pub id: IncidentId,
    /// What.
    pub action: IncidentAction,
    /// What to write on it; `None` leaves it as it was.
    pub note: Option<String>,
    /// Who asks.
    pub actor: String,
}

impl Change for ChangeIncident {
    type Answer = ();

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<()> {
        // What failed before this was asked for is counted before it.
        incident_counts::settle(batch).await?;
        let row = batch.tx.optional(&LOCK, &args![self.id.0]).await?;
        let Some(mut incident) = row.map(|row| incident_from(&row)).transpose()? else {
            let message = format!("there is no incident {}", self.id);
            return Err(Rejection::at(UserErrorCode::NotFound, "id", message).into());
        };
        let Some(status) = self.action.leads_to(incident.status) else {
            let message = format!("{} is {} already", incident.id, incident.status.word());
            return Err(Rejection::at(UserErrorCode::Conflict, "id", message).into());
        };
        incident.status = status;
        let (mut until, mut until_count) = (None, None);
        match &self.action {
            IncidentAction::Acknowledge { assignee: Some(assignee) } => {
                incident.assignee = Some(assignee.clone());
            }
            IncidentAction::Acknowledge { assignee: None } | IncidentAction::Resolve => {}
            IncidentAction::Ignore { until: date, until_count: more } => {
                until = date.map(|at| at.0);
                until_count = more.map(|more| more.saturating_add(i64::from(incident.occurrence_count)));
            }
        }
        if self.note.is_some() {
            incident.note.clone_from(&self.note);
        }
        let (assignee, note) = (incident.assignee.clone(), incident.note.clone());
        let values =
            args![self.id.0, status.word(), assignee, note, until, until_count, &self.actor, batch.now.0];
        batch.tx.execute(&CHANGE, &values).await?;
        batch.emit(news_event(&incident, self.action.news(), &self.actor));
        Ok(())
    }
}

const BY_ID: Sql = Sql::both(
    concat!(
        "SELECT ",
        incident_columns!(),
        " FROM incidents WHERE id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))"
    ),
    &[Kind::Text],
);

// There are never too many incidents to walk over: `INCIDENTS_MAX`.
const LIST: Sql = Sql::both(
    concat!(
        "SELECT ",
        incident_columns!(),
        " FROM incidents
         WHERE status IN (SELECT atom FROM jsonb_each($1))
           AND ($2 IS NULL OR task_id = $2)
           AND ($3 IS NULL OR task_name = $3)
           AND ($4 IS NULL OR lower(title) LIKE $4 ESCAPE '\\' OR lower(error_line) LIKE $4 ESCAPE '\\')
           AND ($5 IS NULL OR (last_seen_at_us, id) < ($5, $6))
         ORDER BY last_seen_at_us DESC, id DESC
         LIMIT $7"
    ),
    &[Kind::Text, Kind::Int, Kind::Text, Kind::Text, Kind::Int, Kind::Int, Kind::Int],
);

// Of the last attempt that failed, whatever followed it. Not `IS NOT NULL`: the index of that is the longer way.
const OF_JOBS: Sql = Sql::both(
    "SELECT jobs.id, (SELECT attempts.incident_id FROM attempts
                      WHERE attempts.job_id = jobs.id AND coalesce(attempts.incident_id, 0) > 0
                      ORDER BY attempts.attempt_number DESC
                      LIMIT 1)
     FROM jobs
     WHERE jobs.id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))",
    &[Kind::Text],
);

const OF_ATTEMPTS: Sql = Sql::both(
    "SELECT id, incident_id FROM attempts
     WHERE coalesce(incident_id, 0) > 0 AND id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))",
    &[Kind::Text],
);

const BUCKETS: Sql = Sql::both(
    "SELECT (minute_us - $2) / $4, CAST(sum(occurrence_count) AS BIGINT) FROM incident_minutes
     WHERE incident_id = $1 AND minute_us >= $2 AND minute_us < $3
     GROUP BY (minute_us - $2) / $4",
    &[Kind::Int, Kind::Int, Kind::Int, Kind::Int],
);

const NOT_RETRIED: Sql = Sql::both(
    "SELECT id FROM jobs
     WHERE id IN (SELECT attempts.job_id FROM attempts WHERE attempts.incident_id = $1)
       AND state = 'FAILED'
       AND NOT EXISTS (SELECT 1 FROM jobs AS anew WHERE anew.retry_of = jobs.id)
     ORDER BY id
     LIMIT $2",
    &[Kind::Int, Kind::Int],
);

const MADE_ANEW: Sql = Sql::both(
    "SELECT retry_of FROM jobs WHERE retry_of IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))",
    &[Kind::Text],
);

impl Reader {
    /// Those of these jobs that were made anew.
    pub async fn made_anew(&self, ids: &[JobId]) -> Result<HashSet<JobId>> {
        let rows = self.db.rows(&MADE_ANEW, &args![page::numbers(Some(ids), |id| id.0)]).await?;
        rows.iter().map(|row| row.get(0).map(JobId)).collect()
    }

    /// The incidents of these ids, in no order; unknown ones are left out.
    pub async fn incidents_by_id(&self, ids: &[IncidentId]) -> Result<Vec<Incident>> {
        let ids = page::numbers(Some(ids), |id| id.0);
        self.db.rows(&BY_ID, &args![ids]).await?.iter().map(incident_from).collect()
    }

    /// The incident, if it exists.
    pub async fn incident(&self, id: IncidentId) -> Result<Option<Incident>> {
        Ok(self.incidents_by_id(&[id]).await?.pop())
    }

    /// A page of incidents, the one that failed last first; `None` when `after` is no position of ours.
    pub async fn incidents(
        &self,
        filter: &IncidentFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Option<Page<Incident>>> {
        let parse = |text: &str| {
            let (at, id) = text.split_once('.')?;
            Some((at.parse::<i64>().ok()?, id.parse::<i64>().ok()?))
        };
        let after = match after {
            None => None,
            Some(text) => match parse(text) {
                Some(position) => Some(position),
                None => return Ok(None),
            },
        };
        let (task, name) = match &filter.task {
            Some(TaskRef::Id(id)) => (Some(id.0), None),
            Some(TaskRef::Name(name)) if page::is_storable(name) => (None, Some(name.clone())),
            // No task has such a name.
            Some(TaskRef::Name(_)) => (Some(0), None),
            None => (None, None),
        };
        let values = args![
            page::words(Some(&filter.wanted()), |status| status.word().to_owned()),
            task,
            name,
            filter.text.as_deref().map(page::contains),
            after.map(|(at, _)| at),
            after.map_or(0, |(_, id)| id),
            page::one_more(limit),
        ];
        let rows = self.db.rows(&LIST, &values).await?;
        let read = |row: &Row| {
            let incident = incident_from(row)?;
            Ok((format!("{}.{}", incident.last_seen_at.0, incident.id.0), incident))
        };
        Ok(Some(Page::cut(rows.iter().map(read).collect::<Result<_>>()?, limit)))
    }

    /// The incident that the last failed attempt of each of these jobs was counted into.
    pub async fn incidents_of_jobs(&self, jobs: &[JobId]) -> Result<Vec<(JobId, IncidentId)>> {
        let rows = self.db.rows(&OF_JOBS, &args![page::numbers(Some(jobs), |id| id.0)]).await?;
        let read = |row: &Row| Ok((JobId(row.get(0)?), row.get::<Option<i64>>(1)?.map(IncidentId)));
        let found = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
        Ok(found.into_iter().filter_map(|(job, incident)| Some((job, incident?))).collect())
    }

    /// The incident that each of these attempts was counted into.
    pub async fn incidents_of_attempts(
        &self,
        attempts: &[AttemptId],
    ) -> Result<Vec<(AttemptId, IncidentId)>> {
        let rows = self.db.rows(&OF_ATTEMPTS, &args![page::numbers(Some(attempts), |id| id.0)]).await?;
        rows.iter().map(|row| Ok((AttemptId(row.get(0)?), IncidentId(row.get(1)?)))).collect()
    }

    /// How often it happened in each of the `buckets` stretches of `bucket_us` that begin at `from`.
    pub async fn incident_histogram(
        &self,
        id: IncidentId,
        from: Timestamp,
        bucket_us: i64,
        buckets: i32,
    ) -> Result<Vec<i32>> {
        let until = from.0.saturating_add(bucket_us.saturating_mul(i64::from(buckets)));
        let rows = self.db.rows(&BUCKETS, &args![id.0, from.0, until, bucket_us]).await?;
        let mut counts = vec![0; usize::try_from(buckets).unwrap_or(0)];
        for row in &rows {
            let (bucket, count): (i64, i64) = (row.get(0)?, row.get(1)?);
            if let Some(place) = usize::try_from(bucket).ok().and_then(|bucket| counts.get_mut(bucket)) {
                *place = i32::try_from(count).unwrap_or(i32::MAX);
            }
        }
        Ok(counts)
    }

    /// The failed jobs of an incident that nobody has made anew, the oldest first, at most `limit`.
    pub async fn jobs_to_retry(&self, id: IncidentId, limit: usize) -> Result<Vec<JobId>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.db
            .rows(&NOT_RETRIED, &args![id.0, limit])
            .await?
            .iter()
            .map(|row| row.get(0).map(JobId))
            .collect()
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] =
    &[&LOCK, &CHANGE, &BY_ID, &LIST, &OF_JOBS, &OF_ATTEMPTS, &BUCKETS, &NOT_RETRIED, &MADE_ANEW];
