//! Owns the row of a new job: what it says of the job, and what the batch keeps of it until it is written.

use super::db::{Kind, Sql, Value};
use super::dependencies::Waits;
use super::jobs::{remember_key, text};
use super::writer::Batch;
use super::{job_traces, keys};
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::duration::Span;
use crate::domain::event::{EventData, EventType, NewEvent};
use crate::domain::id::JobId;
use crate::domain::job::{DependencyFailure, JobState, rank};
use crate::domain::new_job::NewJob;
use crate::domain::placement;

// The columns stand in the order in which `push` gives them.
pub(super) const INSERT: Sql = Sql::each_row(
    "INSERT INTO jobs (id, state, task_id, task_name, task_revision, command, search_text, queue, priority, rank_us, labels,
             origin, requested_by, retry_policy, timeout_ms, kill_grace_ms, restartable, retry_of, schedule_id,
             run_at_us, start_by_us, idle_timeout_ms, unique_key, parameters, token_id, held_by, limit_key,
             gated_at_us, on_dependency_failure, merge_output, timeout_max_ms, runs_on, attempt_count, try_count,
             created_at_us)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23,
             $24, $25, $26, $27, $28, $29, $30, $31, $32, 0, 0, $33)",
    "INSERT INTO jobs (id, state, task_id, task_name, task_revision, command, search_text, queue, priority, rank_us, labels,
             origin, requested_by, retry_policy, timeout_ms, kill_grace_ms, restartable, retry_of, schedule_id,
             run_at_us, start_by_us, idle_timeout_ms, unique_key, parameters, token_id, held_by, limit_key,
             gated_at_us, on_dependency_failure, merge_output, timeout_max_ms, runs_on, attempt_count, try_count,
             created_at_us)
     SELECT r.*, 0, 0, $33
     FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23,
                 $24, $25, $26, $27, $28, $29, $30, $31, $32) AS r",
    &[
        Kind::Int, Kind::Text, Kind::Int, Kind::Text, Kind::Int, Kind::Text, Kind::Text, Kind::Text, Kind::Int,
        Kind::Int, Kind::Text, Kind::Text, Kind::Text, Kind::Text, Kind::Int, Kind::Int, Kind::Int, Kind::Int,
        Kind::Int, Kind::Int, Kind::Int, Kind::Int, Kind::Text, Kind::Text, Kind::Int, Kind::Text, Kind::Text,
        Kind::Int, Kind::Text, Kind::Int, Kind::Int, Kind::Text,
    ],
    &[Kind::Int],
);

pub(super) const INSERT_LABELS: Sql = Sql::each_row(
    "INSERT INTO job_labels (job_id, label_key, label_value)
     VALUES ($1, $2, $3)",
    "INSERT INTO job_labels (job_id, label_key, label_value)
     SELECT * FROM unnest($1, $2, $3)",
    &[Kind::Int, Kind::Text, Kind::Text],
    &[],
);

/// Adds a job that was accepted to the batch.
pub(super) fn push(batch: &mut Batch<'_>, id: JobId, job: &NewJob, waits: &Waits) {
    let run_at = job.run_at.unwrap_or(batch.now).max(batch.now);
    let state = if job.is_held { JobState::Held } else { waits.begin(batch, id, run_at) };
    waits.record(batch, id);
    let task = job.task.as_ref();
    batch.pending.jobs.push(args![
        id.0,
        Value::Word(state.word()),
        task.map(|task| task.id.0),
        task.map(|task| task.name.as_str()),
        task.map(|task| task.revision),
        text(&job.command),
        job.command.search_text(task.map_or("", |task| task.name.as_str())),
        &job.queue_name,
        job.priority,
        rank(run_at, job.priority),
        text(&job.labels),
        Value::Word(job.origin.word()),
        &job.requested_by,
        text(&job.retry_policy),
        job.timeout.map(Span::millis),
        job.kill_grace.millis(),
        i64::from(job.is_restartable),
        job.retry_of.map(|id| id.0),
        job.schedule_id.map(|id| id.0),
        run_at.0,
        job.start_by.map(|at| at.0),
        job.idle_timeout.map(Span::millis),
        job.unique.as_ref().map(|unique| unique.key.as_str()),
        job.parameters.as_ref().map(text),
        job.token_id.map(|id| id.0),
        job.is_held.then_some(job.requested_by.as_str()),
        job.limit.as_ref().map(|limit| limit.key.to_string()),
        job.limit.as_ref().filter(|_| state == JobState::Queued).map(|_| batch.now.0),
        waits.policy().map(DependencyFailure::word),
        i64::from(job.merges_output),
        job.timeout_max.map(Span::millis),
        placement::selector(&job.runs_on),
    ]);
    batch.pending.made.insert(id);
    for label in &job.labels {
        batch.pending.labels.push(args![id.0, &label.key, &label.value]);
    }
    if let Some(row) = batch.trace().map(|trace| job_traces::row(id, trace)) {
        batch.pending.traces.push(row);
    }
    if let Some(key) = &job.idempotency {
        remember_key(batch, key, id);
    }
    if let Some(limit) = &job.limit {
        keys::bring(batch, limit);
    }
    if let Some(unique) = &job.unique {
        batch.pending.unique_keys.insert(unique.key.clone(), id);
    }
    batch.count(&job.queue_name, state, 1);
    batch.needs_look |= job.start_by.is_some();
    // It may be for another worker than ours.
    batch.calls_others |= !job.runs_on.is_empty();
    tell(batch, id, job, (state, run_at));
}

/// States that the job was made.
fn tell(batch: &mut Batch<'_>, id: JobId, job: &NewJob, (state, run_at): (JobState, Timestamp)) {
    let mut data =
        EventData::of("state", state.word()).with("queue", &job.queue_name).with("runAt", run_at.to_string());
    if let Some(reason) = &job.reason {
        data = data.with("reason", reason);
    }
    batch.emit(NewEvent {
        kind: EventType::JobCreated,
        actor: job.requested_by.clone(),
        subject_id: Some(id.to_string()),
        job_id: Some(id),
        task_name: job.task.as_ref().map(|task| task.name.clone()),
        queue_name: Some(job.queue_name.clone()),
        data,
    });
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&INSERT, &INSERT_LABELS];
