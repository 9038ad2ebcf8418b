//! Owns what callers may do to tasks, schedules and queues.

use sha2::{Digest as _, Sha256};

use super::parameters::RunnableTask;
use super::scheduler::WithoutRoom;
use super::{Engine, jobs, parameters, scheduler};
use crate::base::random::hex;
use crate::domain::access::Viewer;
use crate::domain::event::EventCursor;
use crate::domain::id::{JobId, ScheduleId, TaskId};
use crate::domain::rejection::{Rejection, UserErrorCode};
use crate::domain::schedule::{SchedulePutInput, ScheduleRef};
use crate::domain::task::{TaskPutInput, TaskRef};
use crate::store::queues::{ChangeQueue, QueueAction};
use crate::store::schedules::{ChangeSchedule, PutSchedule, ScheduleAction};
use crate::store::tasks::{ArchiveTask, PutTask};
use crate::store::ticks::Trigger;
use crate::store::writer::{Change, Outcome};
use crate::store::{Fault, FaultKind};

/// How often due times of a schedule are settled before it is changed, when further ones pass meanwhile.
const SETTLE_TRIES: usize = 5;

impl Engine {
    /// Makes a task or gives it a new revision.
    pub async fn put_task(&self, viewer: &Viewer, input: TaskPutInput) -> Outcome<(TaskId, EventCursor)> {
        let task = input.check()?;
        self.check_handler("command.handler", &task.definition.command)?;
        if let Some(schema) = &task.definition.parameters_schema {
            parameters::check_schema(schema)?;
        }
        let change = PutTask { task, actor: viewer.token_name.clone() };
        let committed = self.writer.apply(change).await?;
        // A wider limit lets jobs in.
        self.nudge_dispatcher.notify_one();
        Ok((committed.answer, committed.cursor))
    }

    /// Takes a task out of use.
    pub async fn archive_task(&self, viewer: &Viewer, task: TaskRef) -> Outcome<(TaskId, EventCursor)> {
        let committed = self.writer.apply(ArchiveTask { task, actor: viewer.token_name.clone() }).await?;
        Ok((committed.answer, committed.cursor))
    }

    /// Makes a schedule or changes one.
    pub async fn put_schedule(
        &self,
        viewer: &Viewer,
        input: SchedulePutInput,
    ) -> Outcome<(ScheduleId, EventCursor)> {
        let schedule = input.check()?;
        // A task that does not exist is refused by the change itself.
        if let Some(task) = self.reader.task(&schedule.task).await?.filter(|task| task.archived_at.is_none())
        {
            RunnableTask::new(task)?.resolve(schedule.definition.parameters.clone())?;
        }
        let name = ScheduleRef::Name(schedule.name.clone());
        let change = PutSchedule { schedule, actor: viewer.token_name.clone() };
        self.change_settled(&name, change, WithoutRoom::Wait).await
    }

    /// Pauses, resumes or deletes a schedule.
    pub async fn change_schedule(
        &self,
        viewer: &Viewer,
        schedule: ScheduleRef,
        action: ScheduleAction,
    ) -> Outcome<(ScheduleId, EventCursor)> {
        let change = ChangeSchedule { schedule: schedule.clone(), action, actor: viewer.token_name.clone() };
        // Of these only a pause asks for it.
        self.change_settled(&schedule, change, WithoutRoom::Drop).await
    }

    /// Does what changes a schedule; due times that have passed are settled first, where it asks for that.
    async fn change_settled<C>(
        &self,
        schedule: &ScheduleRef,
        change: C,
        without_room: WithoutRoom,
    ) -> Outcome<(ScheduleId, EventCursor)>
    where
        C: Change<Answer = Option<ScheduleId>> + Clone,
    {
        for _ in 0..SETTLE_TRIES {
            let committed = self.writer.apply(change.clone()).await?;
            if let Some(id) = committed.answer {
                self.nudge_scheduler.notify_one();
                return Ok((id, committed.cursor));
            }
            scheduler::settle_before(self, schedule, without_room).await?;
        }
        let message = "due times of the schedule pass faster than they can be settled; try again soon";
        Err(Fault::new(FaultKind::Overloaded, message).into())
    }

    /// Makes a job of a schedule by hand.
    pub async fn trigger_schedule(
        &self,
        viewer: &Viewer,
        schedule: &ScheduleRef,
        ignore_overlap: bool,
        idempotency_key: Option<String>,
    ) -> Outcome<(JobId, EventCursor)> {
        let Some(schedule) = self.reader.schedule(schedule).await? else {
            return Err(Rejection::at(UserErrorCode::NotFound, "ref", "there is no such schedule").into());
        };
        // A run beside the others is another request.
        let how = if ignore_overlap { " beside" } else { "" };
        let digest = || hex(&Sha256::digest(format!("trigger {}{how}", schedule.id)));
        let key = jobs::key(viewer, idempotency_key, digest);
        if let Some(key) = &key
            && let Some(used) = self.reader.used_key(key).await?
        {
            return Ok((used?.id, self.writer.cursor()));
        }
        let task = self.reader.task(&TaskRef::Id(schedule.task_id)).await?;
        let Some(task) = task.filter(|task| task.archived_at.is_none()) else {
            return Err(Rejection::new(UserErrorCode::Conflict, "the schedule's task is archived").into());
        };
        let mut job = scheduler::job_of(&schedule, &RunnableTask::new(task)?)?;
        if !ignore_overlap {
            job = scheduler::in_line(&schedule, job);
        }
        job.token_id = Some(viewer.token_id);
        job.requested_by.clone_from(&viewer.token_name);
        job.idempotency = key;
        let queued_max = self.settings.queued_max;
        let change = Trigger { schedule: schedule.id, job, ignore_overlap, queued_max };
        let committed = self.writer.apply(change).await?;
        self.nudge_dispatcher.notify_one();
        Ok((committed.answer, committed.cursor))
    }

    /// Makes or changes a queue.
    pub async fn change_queue(
        &self,
        viewer: &Viewer,
        name: String,
        action: QueueAction,
    ) -> Outcome<EventCursor> {
        crate::domain::rejection::check_name("name", &name)?;
        if let QueueAction::Put { concurrency_limit, rate_limit } = &action {
            if concurrency_limit.is_some_and(|limit| limit < 1) {
                let message = "must be at least 1; to start nothing, pause the queue";
                return Err(Rejection::invalid("concurrencyLimit", message).into());
            }
            rate_limit.map(|rate| rate.check("rateLimit")).transpose()?;
        }
        let change = ChangeQueue { name, action, actor: viewer.token_name.clone() };
        let committed = self.writer.apply(change).await?;
        self.nudge_dispatcher.notify_one();
        Ok(committed.cursor)
    }
}
