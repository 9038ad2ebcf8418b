//! Owns the finding of work that ended: the spans of attempts and jobs, built from the store's rows. A job that
//! retention has taken meanwhile has none.

use std::collections::{BTreeSet, HashMap};

use crate::domain::attempt::{Attempt, AttemptOutcome};
use crate::domain::event::{Event, EventType};
use crate::domain::id::JobId;
use crate::domain::job::{Job, JobState};
use crate::domain::trace::TraceContext;
use crate::engine::Engine;
use crate::notify::Span;
use crate::store::Fault;

/// Who asked for the jobs of these events, and what ended with them.
pub(super) async fn of(
    engine: &Engine,
    events: &[Event],
) -> Result<(HashMap<JobId, TraceContext>, Vec<Span>), Fault> {
    let jobs: BTreeSet<JobId> = events.iter().filter_map(|event| event.job_id).collect();
    let jobs: Vec<JobId> = jobs.into_iter().collect();
    if jobs.is_empty() {
        return Ok((HashMap::new(), Vec::new()));
    }
    let asked = engine.own.asked_traces(&jobs).await?;
    let ended: BTreeSet<JobId> =
        events.iter().filter(|event| is_end(event)).filter_map(|event| event.job_id).collect();
    let ended: Vec<JobId> = ended.into_iter().collect();
    let rows = engine.own.jobs_by_id(&ended).await?;
    let rows: HashMap<JobId, Job> = rows.into_iter().map(|job| (job.id, job)).collect();
    let mut spans = Vec::new();
    for event in events.iter().filter(|event| is_end(event)) {
        let Some(job) = event.job_id.and_then(|id| rows.get(&id)) else { continue };
        let parent = asked.get(&job.id).copied();
        let context = TraceContext::of_job(event.cursor.epoch, job.id, parent);
        // Whoever began the trace does not record it: then its parts are not wanted either.
        if !context.is_sampled {
            continue;
        }
        if event.kind == EventType::JobStateChanged {
            spans.extend(job_span(job, context, parent));
            continue;
        }
        let number = event.data.0["attempt"].as_i64().and_then(|number| i32::try_from(number).ok());
        let Some(number) = number else { continue };
        if let Some(attempt) = engine.own.attempt_by_number(job.id, number).await? {
            spans.extend(attempt_span(job, &attempt, context));
        }
    }
    Ok((asked, spans))
}

/// Whether an attempt or a job ended with it.
fn is_end(event: &Event) -> bool {
    let to = || event.data.0["to"].as_str().and_then(JobState::from_word);
    match event.kind {
        EventType::AttemptFinished => true,
        EventType::JobStateChanged => to().is_some_and(JobState::is_final),
        _ => false,
    }
}

/// What a job is called: its task, or the program that it runs. No argument of it, which may be a secret.
fn title(job: &Job) -> String {
    let program = || job.command.argv.first().map(|program| program.rsplit('/').next().unwrap_or(program));
    job.task_name.as_deref().or_else(program).unwrap_or("job").to_owned()
}

fn job_span(job: &Job, context: TraceContext, asked: Option<TraceContext>) -> Option<Span> {
    let failure = job.failure.as_ref().filter(|_| job.state != JobState::Succeeded);
    let is_bad = matches!(job.state, JobState::Failed | JobState::Expired);
    let mut attributes = described(job);
    attributes.push(("beadle.job.state", job.state.word().to_owned()));
    Some(Span {
        context,
        parent: asked.map(|asked| asked.span),
        name: title(job),
        is_job: true,
        started_at: job.created_at,
        ended_at: job.finished_at?,
        failure: is_bad.then(|| failure.map_or(job.state.word().to_owned(), |one| one.message.clone())),
        attributes,
    })
}

fn attempt_span(job: &Job, attempt: &Attempt, context: TraceContext) -> Option<Span> {
    let outcome = attempt.outcome?;
    let is_bad = !matches!(
        outcome,
        AttemptOutcome::Succeeded | AttemptOutcome::Cancelled | AttemptOutcome::Interrupted
    );
    let failure = attempt.failure.as_ref().map_or(outcome.word().to_owned(), |one| one.message.clone());
    let mut attributes = described(job);
    attributes.push(("beadle.attempt.number", attempt.number.to_string()));
    attributes.push(("beadle.attempt.outcome", outcome.word().to_owned()));
    attributes.extend(attempt.exit_code.map(|code| ("process.exit.code", code.to_string())));
    Some(Span {
        context: context.of_attempt(attempt.id),
        parent: Some(context.span),
        name: format!("{} attempt {}", title(job), attempt.number),
        is_job: false,
        started_at: attempt.started_at,
        ended_at: attempt.finished_at?,
        failure: is_bad.then_some(failure),
        attributes,
    })
}

fn described(job: &Job) -> Vec<(&'static str, String)> {
    let mut attributes =
        vec![("beadle.job.id", job.id.to_string()), ("beadle.queue", job.queue_name.clone())];
    attributes.extend(job.task_name.clone().map(|task| ("beadle.task", task)));
    attributes
}
