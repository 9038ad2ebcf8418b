//! Owns what callers may do to jobs: turns a checked request into a change, and nudges who must look.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::Engine;
use super::parameters::{self, RunnableTask};
use crate::base::points;
use crate::base::random::hex;
use crate::domain::access::{GrantVerb, Viewer, no_job};
use crate::domain::command::Command;
use crate::domain::concurrency::KeyLimit;
use crate::domain::enqueue::{EnqueueOptions, JobEnqueueInput, RunInput, check_max_timeout};
use crate::domain::event::EventCursor;
use crate::domain::id::JobId;
use crate::domain::job::{Job, JobOrigin};
use crate::domain::new_job::{EarlierJob, Idempotency, Made, NewJob, TaskOfJob, Unique, UniqueConflict};
use crate::domain::queue::DEFAULT_QUEUE;
use crate::domain::rejection::{Rejection, UserErrorCode};
use crate::domain::scalars::Json;
use crate::domain::task::{Task, TaskRef};
use crate::store::Fault;
use crate::store::jobs::{Enqueue, Enqueued};
use crate::store::transition::{Cancel, Cancelled};
use crate::store::writer::{Committed, Outcome};

/// What became of the jobs of one request.
#[derive(Debug)]
pub struct EnqueueAnswers {
    /// Of each, in their order.
    pub answers: Vec<Result<Enqueued, Rejection>>,
    /// The position behind them all.
    pub cursor: EventCursor,
    /// Those that were made, as they stood at that position, where it is known without asking the store.
    pub made: HashMap<JobId, Job>,
}

impl Engine {
    /// Accepts jobs, each for itself, in one commit.
    pub async fn enqueue(&self, viewer: &Viewer, inputs: Vec<JobEnqueueInput>) -> Outcome<EnqueueAnswers> {
        let mut tasks = HashMap::new();
        let mut answers: Vec<Option<Result<Enqueued, Rejection>>> = Vec::with_capacity(inputs.len());
        let mut jobs = Vec::with_capacity(inputs.len());
        for (position, input) in inputs.into_iter().enumerate() {
            // The digest is of what the caller wrote, so that a relative `delay` repeats as the same request.
            let key = key(viewer, input.idempotency_key.clone(), || digest(&input));
            if let Some(key) = &key
                && let Some(used) = self.reader.used_key(key).await?
            {
                // A repeat answers as it did, whatever has become of the task since.
                answers.push(Some(used));
                continue;
            }
            let positions = input.depends_on_positions.clone().unwrap_or_default();
            let resolved = self.resolve(viewer, input, key, &mut tasks).await?;
            match resolved.and_then(|job| after_earlier(job, &positions, &answers[..position])) {
                Ok(job) => {
                    jobs.push(job);
                    answers.push(None);
                }
                Err(rejection) => answers.push(Some(Err(rejection))),
            }
        }
        if jobs.is_empty() {
            let answers = answers.into_iter().flatten().collect();
            return Ok(EnqueueAnswers { answers, cursor: self.writer.cursor(), made: HashMap::new() });
        }
        let queued_max = self.settings.queued_max;
        // The turn that commits them starts them too, or has the dispatcher look.
        let jobs = Arc::new(jobs);
        let Committed { answer, cursor, at } =
            self.writer.apply(Enqueue { jobs: jobs.clone(), queued_max }).await?;
        let made = jobs.iter().zip(&answer).filter_map(|(job, answer)| {
            let id = answer.as_ref().ok().filter(|enqueued| !enqueued.is_deduplicated)?.id;
            Some((id, job.made(Made { id, at, cursor })?))
        });
        let made = made.collect();
        let mut accepted = answer.into_iter();
        let answers = answers.into_iter().filter_map(|answer| answer.or_else(|| accepted.next())).collect();
        Ok(EnqueueAnswers { answers, cursor, made })
    }

    async fn resolve(
        &self,
        viewer: &Viewer,
        input: JobEnqueueInput,
        idempotency: Option<Idempotency>,
        tasks: &mut HashMap<String, Option<Result<RunnableTask, Rejection>>>,
    ) -> Result<Result<NewJob, Rejection>, Fault> {
        let (run, options) = match input.check(self.clock.now()) {
            Ok(checked) => checked,
            Err(rejection) => return Ok(Err(rejection)),
        };
        if let Some(rejection) = self.unseen_dependency(viewer, &options.depends_on).await? {
            return Ok(Err(rejection));
        }
        let replaces = |unique: &Unique| unique.on_conflict == UniqueConflict::ReplaceQueued;
        if options.unique.as_ref().is_some_and(replaces) && !viewer.may_all(GrantVerb::Cancel) {
            // Whose job it would be is not known before the commit.
            let message = "REPLACE_QUEUED cancels a job: this token lacks the CANCEL grant for all jobs";
            return Ok(Err(Rejection::at(UserErrorCode::Forbidden, "onConflict", message)));
        }
        let job = match run {
            RunInput::Command(command) => viewer
                .check_enqueue("run.command", None)
                .and_then(|()| command.check("run.command"))
                .and_then(|command| {
                    let parameters = parameters::free(options.parameters.clone())?;
                    self.new_job(viewer, None, &options, (command, parameters))
                }),
            RunInput::Task(task) => {
                // A name is judged before it is looked up: whether such a task exists is not told.
                if let TaskRef::Name(name) = &task
                    && let Err(rejection) = viewer.check_enqueue("run.task", Some(name))
                {
                    return Ok(Err(rejection));
                }
                let key = format!("{task:?}");
                if !tasks.contains_key(&key) {
                    let known = self.reader.task(&task).await?.filter(|task| task.archived_at.is_none());
                    tasks.insert(key.clone(), known.map(RunnableTask::new));
                }
                match &tasks[&key] {
                    None => Err(no_task(&task)),
                    Some(Err(rejection)) => Err(rejection.clone()),
                    Some(Ok(known)) => match viewer.check_enqueue("run.task", Some(&known.task.name)) {
                        Ok(()) => known
                            .resolve(options.parameters.clone())
                            .and_then(|resolved| self.new_job(viewer, Some(&known.task), &options, resolved)),
                        // Only who may see every task learns that there is one of this id.
                        Err(rejection) if viewer.sight().own().is_none() => Err(rejection),
                        Err(_) => Err(no_task(&task)),
                    },
                }
            }
        };
        let job = job.and_then(|job| {
            let path = if job.task.is_some() { "run.task" } else { "run.command.handler" };
            self.check_handler(path, &job.command).map(|()| job)
        });
        Ok(job.map(|job| NewJob { idempotency, ..job }))
    }

    /// The refusal of a dependency that the caller may not see: for him it does not exist. Whether the others exist
    /// is seen in the transaction.
    async fn unseen_dependency(
        &self,
        viewer: &Viewer,
        depends_on: &[JobId],
    ) -> Result<Option<Rejection>, Fault> {
        if depends_on.is_empty() || viewer.sight().own().is_none() {
            return Ok(None);
        }
        let found = self.reader.jobs_by_id(depends_on).await?;
        let is_seen = |id: &JobId| found.iter().any(|job| job.id == *id && viewer.sees(job));
        Ok(depends_on.iter().position(|id| !is_seen(id)).map(|at| {
            let message = no_job(depends_on[at]).message;
            Rejection::at(UserErrorCode::NotFound, &format!("dependsOn.{at}"), message)
        }))
    }

    fn new_job(
        &self,
        viewer: &Viewer,
        task: Option<&Task>,
        options: &EnqueueOptions,
        (command, parameters): (Command, Option<Json>),
    ) -> Result<NewJob, Rejection> {
        let definition = task.map(|task| &task.definition);
        let default_grace = crate::domain::duration::Span::from_std(self.settings.kill_grace);
        let queue = options.queue.clone().or_else(|| definition.map(|one| one.queue_name.clone()));
        let timeout = options.timeout.or(definition.and_then(|one| one.timeout));
        let timeout_max = options.max_timeout.or(definition.and_then(|one| one.max_timeout));
        check_max_timeout(timeout, timeout_max)?;
        Ok(NewJob {
            task: task.map(|task| TaskOfJob {
                id: task.id,
                name: task.name.clone(),
                revision: task.revision,
            }),
            queue_name: queue.unwrap_or_else(|| DEFAULT_QUEUE.to_owned()),
            priority: options.priority.or(definition.map(|one| one.priority)).unwrap_or(0),
            labels: options.labels.clone(),
            retry_policy: options
                .retry_policy
                .clone()
                .or_else(|| definition.map(|one| one.retry_policy.clone()))
                .unwrap_or_default(),
            timeout,
            timeout_max,
            idle_timeout: options.idle_timeout.or(definition.and_then(|one| one.idle_timeout)),
            kill_grace: options.kill_grace.or(definition.map(|one| one.kill_grace)).unwrap_or(default_grace),
            // An ad hoc command is not run twice without a word; a task says so for itself.
            is_restartable: definition.is_some_and(|one| one.is_restartable),
            run_at: options.run_at,
            start_by: options.start_by,
            unique: options.unique.clone().map(|one| Unique { own_of: viewer.sight().own(), ..one }),
            is_held: options.is_held,
            limit: KeyLimit::of(options.concurrency_key.clone(), task),
            depends_on: options.depends_on.clone(),
            on_dependency_failure: options.on_dependency_failure,
            merges_output: options.merges_output || definition.is_some_and(|one| one.merges_output),
            runs_on: options
                .runs_on
                .clone()
                .or(definition.map(|one| one.runs_on.clone()))
                .unwrap_or_default(),
            token_id: Some(viewer.token_id),
            parameters,
            ..NewJob::plain(command, &viewer.token_name)
        })
    }

    /// Stops a job. After the answer it never starts.
    pub async fn cancel(&self, viewer: &Viewer, id: JobId, reason: Option<String>) -> Outcome<EventCursor> {
        if !viewer.may_all(GrantVerb::Cancel) {
            // Who made a job and of which task never changes, so it may be asked before.
            let job = self.reader.job(id).await?.ok_or_else(|| no_job(id))?;
            viewer.check_cancel(&job)?;
        }
        let committed = self.writer.apply(Cancel { id, actor: viewer.token_name.clone(), reason }).await?;
        points::reach("cancel.committed");
        if committed.answer == Cancelled::Asked {
            self.running.stop(id);
            // It may be claimed and not yet listed: the dispatcher looks too.
            self.nudge_dispatcher.notify_one();
        } else {
            // A schedule may have waited for it, or other jobs.
            self.nudge_scheduler.notify_one();
            self.nudge_dispatcher.notify_one();
        }
        Ok(committed.cursor)
    }

    /// Makes a new job like a final one.
    pub async fn retry(
        &self,
        viewer: &Viewer,
        id: JobId,
        idempotency_key: Option<String>,
    ) -> Outcome<(JobId, EventCursor)> {
        let key = key(viewer, idempotency_key, || hex(&Sha256::digest(format!("retry {id}"))));
        if let Some(key) = &key
            && let Some(used) = self.reader.used_key(key).await?
        {
            return Ok((used?.id, self.writer.cursor()));
        }
        let job = self.reader.job(id).await?.filter(|job| viewer.sees(job)).ok_or_else(|| no_job(id))?;
        viewer.check_enqueue("id", job.task_name.as_deref())?;
        if !job.state.is_final() {
            let message = format!("{id} is {} and not final; cancel it first", job.state.word());
            return Err(Rejection::at(UserErrorCode::NotRetryable, "id", message).into());
        }
        let task = match job.task_id {
            Some(id) => self.reader.task(&TaskRef::Id(id)).await?,
            None => None,
        };
        let job = like(&job, task.as_ref(), viewer, key);
        let queued_max = self.settings.queued_max;
        let committed = self.writer.apply(Enqueue { jobs: Arc::new(vec![job]), queued_max }).await?;
        let answer = committed.answer.into_iter().next();
        let enqueued = answer.ok_or_else(|| Fault::bug("an enqueue of one job gave no answer"))??;
        Ok((enqueued.id, committed.cursor))
    }
}

/// The caller's key with what was asked, when there is a usable one; the door's check refuses the others.
pub(super) fn key(
    viewer: &Viewer,
    key: Option<String>,
    digest: impl FnOnce() -> String,
) -> Option<Idempotency> {
    let key = key.filter(|key| !key.is_empty() && !key.contains('\0'))?;
    Some(Idempotency { token_id: viewer.token_id, key, digest: digest() })
}

fn no_task(task: &TaskRef) -> Rejection {
    let message = match task {
        TaskRef::Name(name) => format!("there is no task named {name}"),
        TaskRef::Id(id) => format!("there is no task {id}"),
    };
    Rejection::at(UserErrorCode::NotFound, "run.task", message)
}

/// The job with those of the same request that it waits for: known by their ids when they were made before, else
/// by their places among the jobs that are made now.
fn after_earlier(
    mut job: NewJob,
    positions: &[i32],
    answers: &[Option<Result<Enqueued, Rejection>>],
) -> Result<NewJob, Rejection> {
    for (named_at, position) in positions.iter().enumerate() {
        let path = format!("dependsOnPositions.{named_at}");
        let earlier = usize::try_from(*position).ok().filter(|position| *position < answers.len());
        let Some(earlier) = earlier else {
            let message =
                "must be the position of an earlier job of the same request: anything else could be a cycle";
            return Err(Rejection::invalid(&path, message));
        };
        match &answers[earlier] {
            None => {
                let place = answers[..earlier].iter().filter(|answer| answer.is_none()).count();
                job.depends_on_earlier.push(EarlierJob { place, named_at });
            }
            Some(Ok(made)) => job.depends_on.push(made.id),
            Some(Err(_)) => {
                return Err(Rejection::invalid(&path, "the job that it was to wait for was refused"));
            }
        }
    }
    Ok(job)
}

/// A job like a final one, made anew. `task_now` is its task as it is now.
pub(super) fn like(
    job: &Job,
    task_now: Option<&Task>,
    viewer: &Viewer,
    idempotency: Option<Idempotency>,
) -> NewJob {
    let task = job.task_id.zip(job.task_name.clone());
    NewJob {
        task: task.map(|(id, name)| TaskOfJob { id, name, revision: job.task_revision.unwrap_or(1) }),
        // It is a run of the schedule by hand, and counts for its overlap.
        schedule_id: job.schedule_id,
        queue_name: job.queue_name.clone(),
        priority: job.priority,
        labels: job.labels.clone(),
        origin: JobOrigin::Retry,
        retry_policy: job.retry_policy.clone(),
        timeout: job.timeout,
        idle_timeout: job.idle_timeout,
        kill_grace: job.kill_grace,
        is_restartable: job.is_restartable,
        retry_of: Some(job.id),
        // Two that run under one key would break its promise.
        unique: job.unique_key.clone().map(|key| Unique {
            key,
            on_conflict: UniqueConflict::Reject,
            own_of: None,
        }),
        idempotency,
        parameters: job.parameters.clone(),
        token_id: Some(viewer.token_id),
        // One that was made before its task had a limit is under it now.
        limit: match job.limit_key.clone() {
            Some(key) => Some(KeyLimit::again(key, task_now)),
            None => KeyLimit::of(None, task_now),
        },
        merges_output: job.merges_output,
        timeout_max: job.timeout_max,
        runs_on: job.runs_on.clone(),
        ..NewJob::plain(job.command.clone(), &viewer.token_name)
    }
}

fn digest(input: &JobEnqueueInput) -> String {
    hex(&Sha256::digest(as_asked(input)))
}

fn as_asked(input: &JobEnqueueInput) -> String {
    use async_graphql::{InputType as _, Value};
    let mut value = input.to_value();
    // A request that does not name it has the digest that it had before there were labels of workers: its answer may be
    // asked for again across an upgrade.
    if let Value::Object(fields) = &mut value
        && fields.get("runsOn") == Some(&Value::Null)
    {
        fields.shift_remove("runsOn");
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use async_graphql::{InputType as _, Value, value};

    use super::*;

    #[test]
    fn a_request_without_labels_of_workers_is_the_one_that_older_versions_knew() {
        let asked =
            |input: Value| as_asked(&JobEnqueueInput::parse(Some(input)).expect("the request is good"));
        let run = value!({ "task": { "name": "t" } });
        let old = asked(value!({ "run": run.clone() }));
        assert!(old.contains("mergeOutput: false") && !old.contains("runsOn"), "{old}");
        assert_eq!(asked(value!({ "run": run.clone(), "runsOn": null })), old);
        let new = asked(value!({ "run": run, "runsOn": [] }));
        assert!(new.contains("runsOn: []"), "{new}");
    }
}
