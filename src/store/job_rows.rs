//! Owns the row of a new job: what it says of the job, and what the batch keeps of it until it is written.

use serde::Serialize;
use serde_json::json;

use super::dependencies::Waits;
use super::jobs::{remember_key, text};
use super::writer::Batch;
use super::{job_traces, keys};
use crate::base::clock::Timestamp;
use crate::domain::duration::Span;
use crate::domain::event::{EventType, NewEvent};
use crate::domain::id::{JobId, ScheduleId, TaskId, TokenId};
use crate::domain::job::{DependencyFailure, JobState, rank};
use crate::domain::new_job::NewJob;
use crate::domain::placement;

/// A row, with the names that the insert reads. What is absent is NULL.
#[derive(Serialize)]
struct Row<'a> {
    id: JobId,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<TaskId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_revision: Option<i32>,
    command: String,
    search: String,
    queue: &'a str,
    priority: i32,
    rank: i64,
    labels: String,
    origin: &'static str,
    requested_by: &'a str,
    retry_policy: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<Span>,
    kill_grace: Span,
    restartable: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_of: Option<JobId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule_id: Option<ScheduleId>,
    run_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_by: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unique_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_timeout: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<TokenId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gated_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_dependency_failure: Option<&'static str>,
    merge_output: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_max: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runs_on: Option<String>,
}

/// Adds a job that was accepted to the batch.
pub(super) fn push(batch: &mut Batch<'_>, id: JobId, job: &NewJob, waits: &Waits) {
    let run_at = job.run_at.unwrap_or(batch.now).max(batch.now);
    let state = if job.is_held { JobState::Held } else { waits.begin(batch, id, run_at) };
    waits.record(batch, id);
    batch.pending.jobs.push(&Row {
        id,
        state: state.word(),
        task_id: job.task.as_ref().map(|task| task.id),
        task_name: job.task.as_ref().map(|task| task.name.as_str()),
        task_revision: job.task.as_ref().map(|task| task.revision),
        command: text(&job.command),
        search: job.command.search_text(job.task.as_ref().map_or("", |task| task.name.as_str())),
        queue: &job.queue_name,
        priority: job.priority,
        rank: rank(run_at, job.priority),
        labels: text(&job.labels),
        origin: job.origin.word(),
        requested_by: &job.requested_by,
        retry_policy: text(&job.retry_policy),
        timeout: job.timeout,
        kill_grace: job.kill_grace,
        restartable: i64::from(job.is_restartable),
        retry_of: job.retry_of,
        schedule_id: job.schedule_id,
        run_at,
        start_by: job.start_by,
        unique_key: job.unique.as_ref().map(|unique| unique.key.as_str()),
        idle_timeout: job.idle_timeout,
        parameters: job.parameters.as_ref().map(text),
        token_id: job.token_id,
        held_by: job.is_held.then_some(job.requested_by.as_str()),
        limit_key: job.limit.as_ref().map(|limit| limit.key.to_string()),
        gated_at: job.limit.as_ref().filter(|_| state == JobState::Queued).map(|_| batch.now),
        on_dependency_failure: waits.policy().map(DependencyFailure::word),
        merge_output: i64::from(job.merges_output),
        timeout_max: job.timeout_max,
        runs_on: placement::selector(&job.runs_on),
    });
    batch.pending.made.insert(id);
    for label in &job.labels {
        batch.pending.labels.push(&json!({"job": id, "key": label.key, "value": label.value}));
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
    let mut data = json!({"state": state.word(), "queue": job.queue_name, "runAt": run_at.to_string()});
    if let Some(reason) = &job.reason {
        data["reason"] = json!(reason);
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
