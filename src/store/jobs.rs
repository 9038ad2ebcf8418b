//! Owns the job rows: making them, finding them, counting them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::db::{Kind, Row, Rows, Sql, Tx};
use super::dependencies;
use super::fault::{Fault, Result};
use super::ids::Numbered;
use super::known::Known;
use super::page;
use super::unique::{self, Standing};
use super::writer::{Batch, Change, Outcome};
use super::{Reader, job_rows, job_traces, keys, queues, transition};
use crate::args;
use crate::base::clock::Timestamp;
use crate::base::points;
use crate::domain::command::Command;
use crate::domain::concurrency::{KeyLimit, LimitKey};
use crate::domain::duration::Span;
use crate::domain::event::EventCursor;
use crate::domain::id::{JobId, ScheduleId, TaskId, TokenId};
use crate::domain::job::{DependencyFailure, Job, JobOrigin, JobState};
use crate::domain::new_job::{Idempotency, NewJob};
use crate::domain::placement;
use crate::domain::rejection::{Rejection, UserErrorCode};
use crate::domain::retry::RetryPolicy;

/// A part of a job, named by its bit among `JobParts`: null unless the argument `mask` has that bit. Without a mask it is
/// there.
macro_rules! part {
    ((), $bit:literal, $column:expr) => {
        $column
    };
    (($mask:literal), $bit:literal, $column:expr) => {
        concat!("CASE WHEN ", $mask, " & ", $bit, " <> 0 THEN ", $column, " END")
    };
}
pub(super) use part;

/// The columns of `job`, in the order that `job_from` reads: all of them, or the parts of a mask.
macro_rules! job_columns {
    ($($mask:literal)?) => {
        concat!(
            "id, state, task_id, task_name, task_revision, ",
            $crate::store::jobs::part!(($($mask)?), 1, "command"),
            ", queue, priority, ",
            $crate::store::jobs::part!(($($mask)?), 2, "labels"),
            ", origin, requested_by, ",
            $crate::store::jobs::part!(($($mask)?), 4, "retry_policy"),
            ", timeout_ms, kill_grace_ms, restartable, ",
            $crate::store::jobs::part!(($($mask)?), 8, "failure"),
            ", retry_of, schedule_id, created_at_us, run_at_us, started_at_us, finished_at_us, stop_requested_at_us,
             attempt_count, try_count, start_by_us, idle_timeout_ms, unique_key, ",
            $crate::store::jobs::part!(($($mask)?), 16, "progress"),
            ", ",
            $crate::store::jobs::part!(($($mask)?), 32, "parameters"),
            ", token_id, held_by, limit_key, gated_at_us, on_dependency_failure, merge_output, timeout_max_ms, ",
            $crate::store::jobs::part!(($($mask)?), 64, "runs_on")
        )
    };
}
pub(super) use job_columns;
/// How many columns `job_columns` names.
pub(super) const JOB_COLUMNS: usize = 38;

/// The position of a job's last event, as one more column behind `job_columns`.
macro_rules! last_event {
    ($($mask:literal)?) => {
        concat!(
            "coalesce(",
            $crate::store::jobs::part!(
                ($($mask)?),
                128,
                "(SELECT max(events.seq) FROM events WHERE events.job_id = jobs.id)"
            ),
            ", 0)"
        )
    };
}
pub(super) use last_event;

fn json<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}

/// Reads `job_columns` and the last event behind them. A part that was not asked for stays empty.
pub(super) fn job_from(row: &Row, epoch: u32) -> Result<Job> {
    let id: i64 = row.get(0)?;
    let bad = |what: &str| Fault::unreadable(what, JobId(id));
    let int = |at: usize| row.get::<i64>(at).map(|number| i32::try_from(number).unwrap_or(i32::MAX));
    let (command, labels, retry_policy) =
        (row.optional_text(5)?, row.optional_text(8)?, row.optional_text(11)?);
    let failure = row.optional_text(15)?;
    let progress = row.optional_text(28)?;
    let parameters = row.optional_text(29)?;
    let limit_key = row.optional_text(32)?;
    let on_dependency_failure = row.optional_text(34)?;
    let runs_on = row.optional_text(37)?;
    Ok(Job {
        id: JobId(id),
        state: JobState::from_word(row.text(1)?).ok_or_else(|| bad("the state"))?,
        task_id: row.get::<Option<i64>>(2)?.map(TaskId),
        task_name: row.get(3)?,
        task_revision: row.get::<Option<i64>>(4)?.map(|number| i32::try_from(number).unwrap_or(i32::MAX)),
        command: command.map_or(Some(Command::none()), json).ok_or_else(|| bad("the command"))?,
        queue_name: row.get(6)?,
        priority: int(7)?,
        labels: labels.map_or(Some(Vec::new()), json).ok_or_else(|| bad("the labels"))?,
        origin: JobOrigin::from_word(row.text(9)?).ok_or_else(|| bad("the origin"))?,
        requested_by: row.get(10)?,
        retry_policy: retry_policy
            .map_or(Some(RetryPolicy::default()), json)
            .ok_or_else(|| bad("the retry policy"))?,
        timeout: row.get::<Option<i64>>(12)?.map(Span::from_millis),
        kill_grace: Span::from_millis(row.get(13)?),
        is_restartable: row.get::<i64>(14)? == 1,
        failure: failure.map(|text| json(text).ok_or_else(|| bad("the failure"))).transpose()?,
        retry_of: row.get::<Option<i64>>(16)?.map(JobId),
        schedule_id: row.get::<Option<i64>>(17)?.map(ScheduleId),
        created_at: Timestamp(row.get(18)?),
        run_at: Timestamp(row.get(19)?),
        started_at: row.get::<Option<i64>>(20)?.map(Timestamp),
        finished_at: row.get::<Option<i64>>(21)?.map(Timestamp),
        stop_requested_at: row.get::<Option<i64>>(22)?.map(Timestamp),
        attempt_count: int(23)?,
        try_count: int(24)?,
        unique_key: row.get(27)?,
        start_by: row.get::<Option<i64>>(25)?.map(Timestamp),
        idle_timeout: row.get::<Option<i64>>(26)?.map(Span::from_millis),
        progress: progress.map(|text| json(text).ok_or_else(|| bad("the progress"))).transpose()?,
        parameters: parameters.map(|text| json(text).ok_or_else(|| bad("the parameters"))).transpose()?,
        token_id: row.get::<Option<i64>>(30)?.map(TokenId),
        held_by: row.get(31)?,
        limit_key: limit_key
            .map(|text| LimitKey::parse(text).ok_or_else(|| bad("the concurrency key")))
            .transpose()?,
        gated_at: row.get::<Option<i64>>(33)?.map(Timestamp),
        on_dependency_failure: on_dependency_failure.and_then(DependencyFailure::from_word),
        merges_output: row.get::<i64>(35)? == 1,
        timeout_max: row.get::<Option<i64>>(36)?.map(Span::from_millis),
        runs_on: runs_on
            .map(|text| placement::labels_of(text).ok_or_else(|| bad("the labels of its worker")))
            .transpose()?
            .unwrap_or_default(),
        event_cursor: EventCursor { epoch, seq: row.get(JOB_COLUMNS)? },
    })
}

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
    const NEEDS_ROOM: bool = true;

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

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] =
    &[&INSERT_KEYS, &KEY, &MADE_UNDER, &COUNT_BY, &COUNT_ADD, &COUNT_WAITING, &GET];
