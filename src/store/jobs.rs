//! Owns the job rows: making them, finding them, counting them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::db::{Kind, Row, Rows, Sql, Tx};
use super::dependencies;
use super::fault::Result;
use super::ids::Numbered;
use super::job_columns::{brief_columns, job_columns, last_event};
use super::known::Known;
use super::page;
use super::unique::{self, Standing};
use super::writer::{Batch, Change, Outcome};
use super::{Reader, job_rows, job_traces, keys, queues, transition};
use crate::args;
use crate::base::points;
use crate::domain::concurrency::KeyLimit;
use crate::domain::id::{JobId, TokenId};
use crate::domain::job::JobState;
use crate::domain::new_job::{Idempotency, NewJob};
use crate::domain::rejection::{Rejection, UserErrorCode};

/// Rows of new jobs that wait for the end of the batch, where one statement writes them all.
#[derive(Debug, Default)]
pub struct PendingRows {
    pub(super) jobs: Rows,
    pub(super) labels: Rows,
    keys: Rows,
    /// The spans that they were asked from.
    pub(super) traces: Vec<Value>,
    known_keys: HashMap<(TokenId, String), (String, JobId)>,
    /// The ids among `jobs`: none of them is final.
    pub(super) made: HashSet<JobId>,
    /// What they wait for.
    pub(super) dependencies: Vec<Value>,
    /// Who holds a unique key, among `jobs`.
    pub(super) unique_keys: HashMap<String, JobId>,
    /// How many of a key may run at once, by the word of the newest job.
    pub(super) key_limits: BTreeMap<String, KeyLimit>,
    /// Jobs that are not final, read once a batch.
    waiting_count: Option<i64>,
}

const INSERT_KEYS: Sql = Sql::each_row(
    "INSERT INTO idempotency_keys (token_id, idempotency_key, digest, job_id, created_at_us)
     VALUES ($1, $2, $3, $4, $5)",
    "INSERT INTO idempotency_keys (token_id, idempotency_key, digest, job_id, created_at_us)
     SELECT r.token_id, r.idempotency_key, r.digest, r.job_id, $5
     FROM unnest($1, $2, $3, $4) AS r (token_id, idempotency_key, digest, job_id)",
    &[Kind::Int, Kind::Text, Kind::Text, Kind::Int],
    &[Kind::Int],
);

const KEY: Sql = Sql::both(
    "SELECT digest, job_id FROM idempotency_keys WHERE token_id = $1 AND idempotency_key = $2",
    &[Kind::Int, Kind::Text],
);

const COUNT_BY: Sql = Sql::each_row(
    "INSERT INTO job_counts (queue, state, job_count) VALUES ($1, $2, 0) ON CONFLICT (queue, state) DO NOTHING",
    "INSERT INTO job_counts (queue, state, job_count)
     SELECT r.queue, r.state, 0 FROM unnest($1, $2) AS r (queue, state)
     ON CONFLICT (queue, state) DO NOTHING",
    &[Kind::Text, Kind::Text],
    &[],
);

const COUNT_ADD: Sql = Sql::each_row(
    "UPDATE job_counts SET job_count = job_count + $3 WHERE queue = $1 AND state = $2",
    "UPDATE job_counts SET job_count = job_counts.job_count + r.job_count
     FROM unnest($1, $2, $3) AS r (queue, state, job_count)
     WHERE job_counts.queue = r.queue AND job_counts.state = r.state",
    &[Kind::Text, Kind::Text, Kind::Int],
    &[],
);

const COUNT_WAITING: Sql = Sql::both(
    "SELECT CAST(coalesce(sum(job_count), 0) AS BIGINT) FROM job_counts
     WHERE state IN ('HELD', 'BLOCKED', 'SCHEDULED', 'QUEUED', 'RETRYING')",
    &[],
);

/// Writes the rows of new jobs that wait, so that a later change of the batch can see them.
pub(super) async fn write_pending(batch: &mut Batch<'_>) -> Result<()> {
    let now = batch.now.0;
    // From here on the rows themselves say who holds a key.
    batch.pending.unique_keys.clear();
    batch.pending.made.clear();
    let (jobs, keys) = (std::mem::take(&mut batch.pending.jobs), std::mem::take(&mut batch.pending.keys));
    for (rows, sql) in [(jobs, &job_rows::INSERT), (keys, &INSERT_KEYS)] {
        if !rows.is_empty() {
            batch.tx.execute_each(sql, rows, &args![now]).await?;
        }
    }
    job_traces::write(&mut batch.tx, std::mem::take(&mut batch.pending.traces)).await?;
    keys::write_limits(batch).await?;
    let labels = std::mem::take(&mut batch.pending.labels);
    if !labels.is_empty() {
        batch.tx.execute_each(&job_rows::INSERT_LABELS, labels, &[]).await?;
    }
    let dependencies = std::mem::take(&mut batch.pending.dependencies);
    if !dependencies.is_empty() {
        let rows = Value::Array(dependencies).to_string();
        batch.tx.execute(&dependencies::INSERT, &args![rows]).await?;
    }
    Ok(())
}

/// Adds what the batch counted to the kept counts.
pub(super) async fn write_counts(
    tx: &mut Tx,
    known: &mut Known,
    counts: &BTreeMap<String, BTreeMap<JobState, i64>>,
) -> Result<()> {
    let (mut rows, mut new) = <(Rows, Rows)>::default();
    for (queue, states) in counts {
        for (state, by) in states.iter().filter(|(_, by)| **by != 0) {
            rows.push(args![queue, state.word(), *by]);
            let place = (queue.clone(), *state);
            if !known.has_count(&place) {
                new.push(args![queue, state.word()]);
                known.see_count(place);
            }
        }
    }
    if !new.is_empty() {
        tx.execute_each(&COUNT_BY, new, &[]).await?;
    }
    if !rows.is_empty() {
        tx.execute_each(&COUNT_ADD, rows, &[]).await?;
    }
    Ok(())
}

/// Makes jobs: each is accepted or refused for itself.
#[derive(Debug)]
pub struct Enqueue {
    /// The jobs.
    pub jobs: Arc<Vec<NewJob>>,
    /// Jobs that may wait in the whole store.
    pub queued_max: i64,
}

/// What became of one job of an `Enqueue`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enqueued {
    /// The job.
    pub id: JobId,
    /// Whether its key matched an earlier job.
    pub is_deduplicated: bool,
}

impl Change for Enqueue {
    type Answer = Vec<std::result::Result<Enqueued, Rejection>>;

    fn needs_room(&self) -> bool {
        true
    }

    fn size(&self) -> usize {
        self.jobs.len()
    }

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<Self::Answer> {
        let mut answers: Self::Answer = Vec::with_capacity(self.jobs.len());
        for job in self.jobs.iter() {
            answers.push(match dependencies::with_earlier(job, &answers) {
                Ok(job) => accept(batch, &job, self.queued_max).await?,
                Err(rejection) => Err(rejection),
            });
            points::reach("enqueue.accepted");
        }
        Ok(answers)
    }
}

/// Accepts one job into the batch, unless its key, its queue or the store's size forbid it.
pub(super) async fn accept(
    batch: &mut Batch<'_>,
    job: &NewJob,
    queued_max: i64,
) -> Result<std::result::Result<Enqueued, Rejection>> {
    if let Some(key) = &job.idempotency
        && let Some(answer) = find_key(batch, key).await?
    {
        return Ok(answer);
    }
    if !queues::exists(batch, &job.queue_name).await? {
        let message = format!("there is no queue named {}", job.queue_name);
        return Ok(Err(Rejection::at(UserErrorCode::NotFound, "queue", message)));
    }
    let replaced = match unique::standing(batch, job.unique.as_ref()).await? {
        Standing::Free => None,
        Standing::Replaces(old) => Some(old),
        Standing::Refused(rejection) => return Ok(Err(rejection)),
        Standing::Exists(id) => {
            if let Some(key) = &job.idempotency {
                remember_key(batch, key, id);
            }
            return Ok(Ok(Enqueued { id, is_deduplicated: true }));
        }
    };
    let waits = match dependencies::of_new(batch, job, replaced.as_deref()).await? {
        Ok(waits) => waits,
        Err(rejection) => return Ok(Err(rejection)),
    };
    let waiting = match batch.pending.waiting_count {
        Some(count) => count,
        None => page::one(batch.tx.optional(&COUNT_WAITING, &[]).await?)?.get(0)?,
    };
    batch.pending.waiting_count = Some(waiting);
    if waiting >= queued_max && replaced.is_none() {
        let message = format!("{waiting} jobs wait already; the store takes no more than {queued_max}");
        return Ok(Err(Rejection::new(UserErrorCode::QueueFull, message)));
    }
    batch.pending.waiting_count = Some(waiting + i64::from(replaced.is_none()));
    let id = JobId(batch.draw(Numbered::Job).await?);
    if let Some(old) = replaced {
        let reason = format!("replaced by {id}, which has the same uniqueKey");
        transition::cancel_waiting(batch, &old, &job.requested_by, json!({"reason": reason})).await?;
    }
    job_rows::push(batch, id, job, &waits);
    Ok(Ok(Enqueued { id, is_deduplicated: false }))
}

pub(super) async fn find_key(
    batch: &mut Batch<'_>,
    key: &Idempotency,
) -> Result<Option<std::result::Result<Enqueued, Rejection>>> {
    let known = batch.pending.known_keys.get(&(key.token_id, key.key.clone())).cloned();
    let found = if known.is_some() {
        known
    } else {
        let row = batch.tx.optional(&KEY, &args![key.token_id.0, &key.key]).await?;
        row.map(|row| key_from(&row)).transpose()?
    };
    Ok(found.map(|found| answer_key(key, found)))
}

fn key_from(row: &Row) -> Result<(String, JobId)> {
    Ok((row.get(0)?, JobId(row.get(1)?)))
}

/// What a key that was used before answers.
fn answer_key(key: &Idempotency, (digest, id): (String, JobId)) -> std::result::Result<Enqueued, Rejection> {
    if digest == key.digest {
        return Ok(Enqueued { id, is_deduplicated: true });
    }
    let message = format!("this key was used for another request, which made {id}");
    Err(Rejection::at(UserErrorCode::IdempotencyMismatch, "idempotencyKey", message))
}

// The keys of the jobs of a bulk lie behind the bulk's own, by the jobs that they repeat; "0" is what follows "/". A caller
// may have keys of that form too.
const MADE_UNDER: Sql = Sql::both(
    "SELECT jobs.id FROM idempotency_keys AS made
     JOIN jobs ON jobs.id = made.job_id
     WHERE made.token_id = $1 AND made.idempotency_key >= $2 || '/' AND made.idempotency_key < $2 || '0'
       AND made.idempotency_key = $2 || '/job_' || jobs.retry_of",
    &[Kind::Int, Kind::Text],
);

impl Reader {
    /// The jobs that a bulk of this key has made.
    pub async fn made_under(&self, token: TokenId, key: &str) -> Result<HashSet<JobId>> {
        let rows = self.db.rows(&MADE_UNDER, &args![token.0, key]).await?;
        rows.iter().map(|row| row.get(0).map(JobId)).collect()
    }

    /// What the caller's key answers, when it was used before.
    pub async fn used_key(
        &self,
        key: &Idempotency,
    ) -> Result<Option<std::result::Result<Enqueued, Rejection>>> {
        let row = self.db.optional(&KEY, &args![key.token_id.0, &key.key]).await?;
        Ok(row.map(|row| key_from(&row)).transpose()?.map(|found| answer_key(key, found)))
    }
}

/// From now on the caller's key answers with this job.
pub(super) fn remember_key(batch: &mut Batch<'_>, key: &Idempotency, id: JobId) {
    batch.pending.keys.push(args![key.token_id.0, &key.key, &key.digest, id.0]);
    batch.pending.known_keys.insert((key.token_id, key.key.clone()), (key.digest.clone(), id));
}

/// A value of ours as JSON text.
pub(super) fn text<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("our own values are plain JSON")
}

pub(super) const GET: Sql = Sql::both(
    concat!(
        "SELECT ",
        job_columns!("$2"),
        ", ",
        last_event!("$2"),
        "
         FROM jobs
         WHERE id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))"
    ),
    &[Kind::Text, Kind::Int],
);

pub(super) const GET_BRIEF: Sql = Sql::both(
    concat!(
        "SELECT ",
        brief_columns!(),
        " FROM jobs
         WHERE id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))"
    ),
    &[Kind::Text],
);

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] =
    &[&INSERT_KEYS, &KEY, &MADE_UNDER, &COUNT_BY, &COUNT_ADD, &COUNT_WAITING, &GET, &GET_BRIEF];
