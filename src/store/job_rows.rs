//! Owns the row of a new job: what it says of the job, and what the batch keeps of it until it is written.

use serde_json::json;

use super::dependencies::Waits;
use super::jobs::{remember_key, text};
use super::writer::Batch;
use super::{job_traces, keys};
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::duration::Span;
use crate::domain::event::{EventType, NewEvent};
use crate::domain::id::JobId;
use crate::domain::job::{DependencyFailure, JobState, rank};
use crate::domain::new_job::NewJob;
use crate::domain::placement;

/// Adds a job that was accepted to the batch.
pub(super) fn push(batch: &mut Batch<'_>, id: JobId, job: &NewJob, waits: &Waits) {
    let run_at = job.run_at.unwrap_or(batch.now).max(batch.now);
    let state = if job.is_held { JobState::Held } else { waits.begin(batch, id, run_at) };
    waits.record(batch, id);
    let task = job.task.as_ref();
    batch.pending.jobs.push(args![
        id.0,
        state.word(),
        task.map(|task| task.id.0),
        task.map(|task| task.name.as_str()),
        task.map(|task| task.revision),
        text(&job.command),
        job.command.search_text(task.map_or("", |task| task.name.as_str())),
        &job.queue_name,
        job.priority,
        rank(run_at, job.priority),
        text(&job.labels),
        job.origin.word(),
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
