//! Owns the counting of failures: each failed attempt once, in the transaction that ends it. A batch gathers what failed
//! and settles it before its commit in a few statements, however many attempts they were.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::db::{Kind, Row, Sql};
use super::fault::Result;
use super::ids::Numbered;
use super::incidents::{INCIDENT_COLUMNS, incident_columns, incident_from, news_event};
use super::page;
use super::writer::Batch;
use crate::args;
use crate::domain::attempt::AttemptOutcome;
use crate::domain::id::{AttemptId, IncidentId, JobId};
use crate::domain::incident::{Incident, IncidentNews, IncidentStatus, Occurrence, Standing};
use crate::domain::limits::INCIDENTS_MAX;

/// Who opens and escalates incidents, in events.
pub(super) const ACTOR: &str = "incidents";
/// Microseconds of a minute.
const MINUTE_US: i64 = 60_000_000;

/// Failures of a transaction that were not yet counted.
#[derive(Debug, Default)]
pub(super) struct Failures(Vec<Failure>);

#[derive(Debug)]
struct Failure {
    occurrence: Occurrence,
    /// The attempt and its job; `None` when a part of the daemon failed.
    of: Option<(AttemptId, JobId)>,
}

impl Failures {
    /// Notes a failure, to be counted before the commit.
    pub(super) fn add(&mut self, occurrence: Occurrence, of: Option<(AttemptId, JobId)>) {
        self.0.push(Failure { occurrence, of });
    }
}

/// Failures of one kind in one transaction.
#[derive(Debug)]
struct Group {
    newest: Occurrence,
    job: Option<JobId>,
    count: i64,
}

// In one order on PostgreSQL, so that two daemons that count the same kinds do not wait for each other.
const KNOWN: Sql = Sql::each(
    "SELECT fingerprint, id FROM incidents WHERE fingerprint IN (SELECT atom FROM jsonb_each($1))",
    "SELECT fingerprint, id FROM incidents WHERE fingerprint IN (SELECT atom FROM jsonb_each($1))
     ORDER BY fingerprint
     FOR UPDATE",
    &[Kind::Text],
);

const HOW_MANY: Sql = Sql::both("SELECT count(*) FROM incidents", &[]);

const COUNT: Sql = Sql::both(
    concat!(
        "INSERT INTO incidents (id, fingerprint, status, title, task_id, task_name, subsystem, outcome, error_line,
             occurrence_count, first_seen_at_us, last_seen_at_us, sample_job_id, count_before, alerted_count)
         SELECT CAST(r.value ->> 'id' AS BIGINT), r.value ->> 'fingerprint', 'OPEN', r.value ->> 'title',
                CAST(r.value ->> 'task' AS BIGINT), r.value ->> 'taskName', r.value ->> 'subsystem',
                r.value ->> 'outcome', r.value ->> 'errorLine', CAST(r.value ->> 'count' AS BIGINT), $2, $2,
                CAST(r.value ->> 'job' AS BIGINT), 0, CAST(r.value ->> 'count' AS BIGINT)
         FROM jsonb_each($1) AS r
         WHERE TRUE
         ORDER BY r.value ->> 'fingerprint'
         -- Another daemon may have been first, also since we looked.
         ON CONFLICT (fingerprint) DO UPDATE
         SET occurrence_count = incidents.occurrence_count + excluded.occurrence_count,
             last_seen_at_us = CASE WHEN excluded.last_seen_at_us > incidents.last_seen_at_us
                               THEN excluded.last_seen_at_us ELSE incidents.last_seen_at_us END,
             task_name = excluded.task_name,
             error_line = excluded.error_line,
             sample_job_id = coalesce(excluded.sample_job_id, incidents.sample_job_id)
         RETURNING ",
        incident_columns!()
    ),
    &[Kind::Text, Kind::Int],
);

const STAND: Sql = Sql::both(
    "UPDATE incidents
     SET status = r.value ->> 'status',
         count_before = CAST(r.value ->> 'before' AS BIGINT),
         alerted_count = CAST(r.value ->> 'alerted' AS BIGINT),
         regressed_at_us = CAST(r.value ->> 'regressedAt' AS BIGINT),
         ignored_until_us = NULL,
         ignored_until_count = NULL,
         status_by = r.value ->> 'by',
         status_at_us = CAST(r.value ->> 'at' AS BIGINT)
     FROM jsonb_each($1) AS r
     WHERE incidents.id = CAST(r.value ->> 'id' AS BIGINT)",
    &[Kind::Text],
);

const MINUTES: Sql = Sql::both(
    "INSERT INTO incident_minutes (incident_id, minute_us, occurrence_count)
     SELECT CAST(r.value ->> 'id' AS BIGINT), $2, CAST(r.value ->> 'count' AS BIGINT)
     FROM jsonb_each($1) AS r
     WHERE TRUE
     ORDER BY CAST(r.value ->> 'id' AS BIGINT)
     ON CONFLICT (incident_id, minute_us) DO UPDATE
     SET occurrence_count = incident_minutes.occurrence_count + excluded.occurrence_count",
    &[Kind::Text, Kind::Int],
);

const ATTEMPTS: Sql = Sql::both(
    "UPDATE attempts SET incident_id = CAST(r.value ->> 'incident' AS BIGINT)
     FROM jsonb_each($1) AS r
     WHERE attempts.id = CAST(r.value ->> 'attempt' AS BIGINT)",
    &[Kind::Text],
);

/// Counts what failed in this transaction so far, and tells what is news of it.
pub(super) async fn settle(batch: &mut Batch<'_>) -> Result<()> {
    let failures = std::mem::take(&mut batch.failures).0;
    if failures.is_empty() {
        return Ok(());
    }
    let mut known = known(batch, &failures).await?;
    let is_full = has_new(&known, &failures) && is_full(batch).await?;
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let mut names = Vec::with_capacity(failures.len());
    for Failure { mut occurrence, of } in failures {
        if is_full && !known.contains_key(&occurrence.fingerprint) {
            occurrence.fingerprint.clone_from(&occurrence.coarse);
        }
        let job = of.map(|(_, job)| job);
        if let Some((attempt, _)) = of {
            names.push((attempt, occurrence.fingerprint.clone()));
        }
        let group = groups.entry(occurrence.fingerprint.clone()).or_insert_with(|| Group {
            newest: occurrence.clone(),
            job,
            count: 0,
        });
        group.count += 1;
        (group.newest, group.job) = (occurrence, job.or(group.job));
    }
    for name in groups.keys() {
        if !known.contains_key(name) {
            let id = batch.draw(Numbered::Incident).await?;
            known.insert(name.clone(), IncidentId(id));
        }
    }
    let rows: Vec<_> = groups.iter().map(|(name, group)| counted(known[name], name, group)).collect();
    let now = batch.now.0;
    let counted = batch.tx.rows(&COUNT, &args![Value::Array(rows).to_string(), now]).await?;
    let mut ids = HashMap::with_capacity(counted.len());
    let (mut minutes, mut standings) = (Vec::new(), Vec::new());
    for row in &counted {
        let (incident, standing) = with_standing(row)?;
        let group = &groups[&incident.fingerprint];
        minutes.push(json!({"id": incident.id.0, "count": group.count}));
        ids.insert(incident.fingerprint.clone(), incident.id);
        tell(batch, incident, standing, group.count, &mut standings);
    }
    if !standings.is_empty() {
        batch.tx.execute(&STAND, &args![Value::Array(standings).to_string()]).await?;
    }
    let minute = now - now.rem_euclid(MINUTE_US);
    batch.tx.execute(&MINUTES, &args![Value::Array(minutes).to_string(), minute]).await?;
    let of = |(attempt, name): &(AttemptId, String)| json!({"attempt": attempt.0, "incident": ids[name].0});
    let attempts: Vec<_> = names.iter().map(of).collect();
    if !attempts.is_empty() {
        batch.tx.execute(&ATTEMPTS, &args![Value::Array(attempts).to_string()]).await?;
    }
    Ok(())
}

/// The incidents that stand already for what failed.
async fn known(batch: &mut Batch<'_>, failures: &[Failure]) -> Result<HashMap<String, IncidentId>> {
    // The coarse ones too: where there are too many kinds those are counted.
    let names: Vec<_> =
        failures.iter().flat_map(|one| [&one.occurrence.fingerprint, &one.occurrence.coarse]).collect();
    let names = page::words(Some(&names), |name| (*name).clone());
    let rows = batch.tx.rows(&KNOWN, &args![names]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, IncidentId(row.get(1)?)))).collect()
}

fn has_new(known: &HashMap<String, IncidentId>, failures: &[Failure]) -> bool {
    failures.iter().any(|one| !known.contains_key(&one.occurrence.fingerprint))
}

async fn is_full(batch: &mut Batch<'_>) -> Result<bool> {
    let count: i64 = page::one(batch.tx.optional(&HOW_MANY, &[]).await?)?.get(0)?;
    Ok(count >= INCIDENTS_MAX)
}

fn counted(id: IncidentId, name: &str, group: &Group) -> Value {
    let Occurrence { title, task, subsystem, outcome, error_line, .. } = &group.newest;
    json!({
        "id": id.0,
        "fingerprint": name,
        "title": title,
        "task": task.as_ref().map(|(id, _)| id.0),
        "taskName": task.as_ref().map(|(_, name)| name),
        "subsystem": subsystem,
        "outcome": outcome.map(AttemptOutcome::word),
        "errorLine": error_line,
        "job": group.job.map(|job| job.0),
        "count": group.count,
    })
}

/// What the row says of the incident, and what decides about it.
fn with_standing(row: &Row) -> Result<(Incident, Standing)> {
    let incident = incident_from(row)?;
    let standing = Standing {
        status: incident.status,
        occurrence_count: row.get(INCIDENT_COLUMNS - 3)?,
        count_before: row.get(INCIDENT_COLUMNS - 2)?,
        alerted_count: row.get(INCIDENT_COLUMNS - 1)?,
        ignored_until: incident.ignored_until,
        ignored_until_count: incident.ignored_until_count.map(i64::from),
    };
    Ok((incident, standing))
}

/// States the news of an incident that `added` failures were counted into, and notes how it stands now.
fn tell(
    batch: &mut Batch<'_>,
    mut incident: Incident,
    standing: Standing,
    added: i64,
    standings: &mut Vec<Value>,
) {
    if standing.occurrence_count == added {
        batch.emit(news_event(&incident, IncidentNews::Opened, ACTOR));
        return;
    }
    let Some((news, next)) = standing.after(added, batch.now) else { return };
    if next.status != standing.status {
        (incident.status_by, incident.status_at) = (Some(ACTOR.to_owned()), Some(batch.now));
    }
    if news == IncidentNews::Regressed {
        incident.regressed_at = Some(batch.now);
    }
    (incident.status, incident.ignored_until, incident.ignored_until_count) = (next.status, None, None);
    standings.push(json!({
        "id": incident.id.0,
        "status": next.status.word(),
        "before": next.count_before,
        "alerted": next.alerted_count,
        "regressedAt": incident.regressed_at.map(|at| at.0),
        "by": incident.status_by,
        "at": incident.status_at.map(|at| at.0),
    }));
    assert!(next.status != IncidentStatus::Resolved, "a failure resolves nothing");
    batch.emit(news_event(&incident, news, ACTOR));
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&KNOWN, &HOW_MANY, &COUNT, &STAND, &MINUTES, &ATTEMPTS];
