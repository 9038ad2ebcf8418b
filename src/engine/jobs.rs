//! Owns what callers may do to jobs: turns a checked request into a change, and nudges who must look.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};

use super::Engine;
use crate::base::random::hex;
use crate::domain::access::{GrantVerb, Viewer, no_job};
use crate::domain::command::Command;
use crate::domain::enqueue::{EnqueueOptions, JobEnqueueInput, RunInput};
use crate::domain::event::EventCursor;
use crate::domain::id::JobId;
use crate::domain::job::{Job, JobOrigin};
use crate::domain::new_job::{Idempotency, NewJob, TaskOfJob, Unique, UniqueConflict};
use crate::domain::queue::DEFAULT_QUEUE;
use crate::domain::rejection::{Rejection, UserErrorCode};
use crate::domain::task::{Task, TaskRef};
use crate::store::Fault;
use crate::store::jobs::{Enqueue, Enqueued};
use crate::store::transition::{Cancel, Cancelled};
use crate::store::writer::Outcome;

/// What became of the jobs of one request, in their order, and the position behind them all.
pub type EnqueueAnswers = (Vec<Result<Enqueued, Rejection>>, EventCursor);

impl Engine {
    /// Accepts jobs, each for itself, in one commit.
    pub async fn enqueue(&self, viewer: &Viewer, inputs: Vec<JobEnqueueInput>) -> Outcome<EnqueueAnswers> {
        let mut tasks = HashMap::new();
        let mut answers: Vec<Option<Result<Enqueued, Rejection>>> = Vec::with_capacity(inputs.len());
        let mut jobs = Vec::with_capacity(inputs.len());
        for input in inputs {
            // The digest is of what the caller wrote, so that a relative `delay` repeats as the same request.
            let key = key(viewer, input.idempotency_key.clone(), digest(&input));
            if let Some(key) = &key
                && let Some(used) = self.reader.used_key(key).await?
            {
                // A repeat answers as it did, whatever has become of the task since.
                answers.push(Some(used));
                continue;
            }
            match self.resolve(viewer, input, key, &mut tasks).await? {
                Ok(job) => {
                    jobs.push(job);
                    answers.push(None);
                }
                Err(rejection) => answers.push(Some(Err(rejection))),
            }
        }
        if jobs.is_empty() {
            return Ok((answers.into_iter().flatten().collect(), self.writer.cursor()));
        }
        let queued_max = self.settings.queued_max;
        let committed = self.writer.apply(Enqueue { jobs, queued_max }).await?;
        self.nudge_dispatcher.notify_one();
        let mut accepted = committed.answer.into_iter();
        let answers = answers.into_iter().filter_map(|answer| answer.or_else(|| accepted.next())).collect();
        Ok((answers, committed.cursor))
    }

    async fn resolve(
        &self,
        viewer: &Viewer,
        input: JobEnqueueInput,
        idempotency: Option<Idempotency>,
        tasks: &mut HashMap<String, Option<Task>>,
    ) -> Result<Result<NewJob, Rejection>, Fault> {
        let (run, options) = match input.check(self.clock.now()) {
            Ok(checked) => checked,
            Err(rejection) => return Ok(Err(rejection)),
        };
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
                .map(|command| NewJob { command, ..self.new_job(viewer, None, &options) }),
            RunInput::Task(task) => {
                // A name is judged before it is looked up: whether such a task exists is not told.
                if let TaskRef::Name(name) = &task
                    && let Err(rejection) = viewer.check_enqueue("run.task", Some(name))
                {
                    return Ok(Err(rejection));
                }
                let key = format!("{task:?}");
                if !tasks.contains_key(&key) {
                    tasks.insert(key.clone(), self.reader.task(&task).await?);
                }
                let known = tasks[&key].as_ref().filter(|task| task.archived_at.is_none());
                match known.map(|known| (known, viewer.check_enqueue("run.task", Some(&known.name)))) {
                    Some((known, Ok(()))) => Ok(self.new_job(viewer, Some(known), &options)),
                    // Only who may see every task learns that there is one of this id.
                    Some((_, Err(rejection))) if viewer.sight().own().is_none() => Err(rejection),
                    _ => Err(no_task(&task)),
                }
            }
        };
        Ok(job.map(|job| NewJob { idempotency, ..job }))
    }

    fn new_job(&self, viewer: &Viewer, task: Option<&Task>, options: &EnqueueOptions) -> NewJob {
        let definition = task.map(|task| &task.definition);
        let default_grace = crate::domain::duration::Span::from_std(self.settings.kill_grace);
        let queue = options.queue.clone().or_else(|| definition.map(|one| one.queue_name.clone()));
        let command = definition.map_or_else(Command::none, |one| one.command.clone());
        NewJob {
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
            timeout: options.timeout.or(definition.and_then(|one| one.timeout)),
            idle_timeout: options.idle_timeout.or(definition.and_then(|one| one.idle_timeout)),
            kill_grace: options.kill_grace.or(definition.map(|one| one.kill_grace)).unwrap_or(default_grace),
            // An ad hoc command is not run twice without a word; a task says so for itself.
            is_restartable: definition.is_some_and(|one| one.is_restartable),
            run_at: options.run_at,
            start_by: options.start_by,
            unique: options.unique.clone(),
            is_held: options.is_held,
            token_id: Some(viewer.token_id),
            ..NewJob::plain(command, &viewer.token_name)
        }
    }

    /// Stops a job. After the answer it never starts.
    pub async fn cancel(&self, viewer: &Viewer, id: JobId, reason: Option<String>) -> Outcome<EventCursor> {
        if !viewer.may_all(GrantVerb::Cancel) {
            // Who made a job and of which task never changes, so it may be asked before.
            let job = self.reader.job(id).await?.ok_or_else(|| no_job(id))?;
            viewer.check_cancel(&job)?;
        }
        let committed = self.writer.apply(Cancel { id, actor: viewer.token_name.clone(), reason }).await?;
        if committed.answer == Cancelled::Asked {
            self.running.stop(id);
            // It may be claimed and not yet listed: the dispatcher looks too.
            self.nudge_dispatcher.notify_one();
        } else {
            // A schedule may have waited for it.
            self.nudge_scheduler.notify_one();
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
        let key = key(viewer, idempotency_key, hex(&Sha256::digest(format!("retry {id}"))));
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
        let job = like(&job, viewer, key);
        let queued_max = self.settings.queued_max;
        let committed = self.writer.apply(Enqueue { jobs: vec![job], queued_max }).await?;
        self.nudge_dispatcher.notify_one();
        let answer = committed.answer.into_iter().next();
        let enqueued = answer.ok_or_else(|| Fault::bug("an enqueue of one job gave no answer"))??;
        Ok((enqueued.id, committed.cursor))
    }
}

/// The caller's key with what was asked, when there is a usable one; the door's check refuses the others.
pub(super) fn key(viewer: &Viewer, key: Option<String>, digest: String) -> Option<Idempotency> {
    let key = key.filter(|key| !key.is_empty() && !key.contains('\0'))?;
    Some(Idempotency { token_id: viewer.token_id, key, digest })
}

fn no_task(task: &TaskRef) -> Rejection {
    let message = match task {
        TaskRef::Name(name) => format!("there is no task named {name}"),
        TaskRef::Id(id) => format!("there is no task {id}"),
    };
    Rejection::at(UserErrorCode::NotFound, "run.task", message)
}

fn like(job: &Job, viewer: &Viewer, idempotency: Option<Idempotency>) -> NewJob {
    let task = job.task_id.zip(job.task_name.clone());
    NewJob {
        task: task.map(|(id, name)| TaskOfJob { id, name, revision: job.task_revision.unwrap_or(1) }),
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
        unique: job.unique_key.clone().map(|key| Unique { key, on_conflict: UniqueConflict::Reject }),
        idempotency,
        parameters: job.parameters.clone(),
        token_id: Some(viewer.token_id),
        merges_output: job.merges_output,
        timeout_max: job.timeout_max,
        ..NewJob::plain(job.command.clone(), &viewer.token_name)
    }
}

fn digest(input: &JobEnqueueInput) -> String {
    use async_graphql::InputType as _;
    hex(&Sha256::digest(input.to_value().to_string()))
}
