//! Owns what mutations answer: the subject, the position of the commit, and expected refusals.

use async_graphql::SimpleObject;

use super::errors::fault;
use crate::base::asker::{Asker, asker};
use crate::domain::event::EventCursor;
use crate::domain::id::{JobId, ScheduleId};
use crate::domain::incident::Incident;
use crate::domain::job::Job;
use crate::domain::queue::Queue;
use crate::domain::rejection::{Rejection, UserErrorCode};
use crate::domain::schedule::Schedule;
use crate::domain::sink::Sink;
use crate::domain::task::Task;
use crate::domain::token::Token;
use crate::store::Refusal;

/// Splits an outcome: what was done, or what the caller must mend; our own trouble becomes an error.
pub fn split<T>(outcome: Result<T, Refusal>) -> async_graphql::Result<Result<T, Vec<Rejection>>> {
    match outcome {
        Ok(answer) => Ok(Ok(answer)),
        Err(Refusal::Rejected(rejection)) => Ok(Err(vec![rejection])),
        Err(Refusal::Fault(inner)) => Err(fault(inner)),
    }
}

/// Refusals on their way to the caller. They change nothing, so no event tells of them: the log does.
pub fn told(user_errors: Vec<Rejection>) -> Vec<Rejection> {
    if let Some(asker) = asker() {
        let Asker { actor, peer, fields, .. } = &*asker;
        for Rejection { code, message, .. } in &user_errors {
            tracing::info!(actor, %peer, fields, ?code, message, "a mutation was refused");
        }
    }
    user_errors
}

/// Said of an idempotency key whose job retention has taken.
pub fn forgotten(id: JobId) -> Rejection {
    let message = format!("this key made {id}, which is no longer kept");
    Rejection::at(UserErrorCode::NotFound, "idempotencyKey", message)
}

macro_rules! payloads {
    ($($(#[$doc:meta])* $name:ident { $(#[$subject_doc:meta])* $subject:ident: $type:ty };)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, SimpleObject)]
        pub struct $name {
            $(#[$subject_doc])*
            pub $subject: Option<$type>,
            /// Behind the events of this change: subscribe after it and miss nothing.
            pub cursor: Option<EventCursor>,
            /// Expected refusals; empty when it was done.
            pub user_errors: Vec<Rejection>,
        }

        impl $name {
            /// It was done.
            pub fn done(subject: Option<$type>, cursor: EventCursor) -> Self {
                Self { $subject: subject, cursor: Some(cursor), user_errors: Vec::new() }
            }

            /// It was refused.
            pub fn refused(user_errors: Vec<Rejection>) -> Self {
                Self { $subject: None, cursor: None, user_errors: told(user_errors) }
            }
        }
    )*};
}

payloads! {
    /// What `jobCancel` answers.
    JobCancelPayload {
        /// The job as it is now.
        job: Job
    };
    /// What `jobRetry` answers.
    JobRetryPayload {
        /// The new job.
        job: Job
    };
    /// What `jobHold` answers.
    JobHoldPayload {
        /// The job as it is now.
        job: Job
    };
    /// What `jobRelease` answers.
    JobReleasePayload {
        /// The job as it is now.
        job: Job
    };
    /// What `jobUpdate` answers.
    JobUpdatePayload {
        /// The job as it is now.
        job: Job
    };
    /// What `taskPut` answers.
    TaskPutPayload {
        /// The task as it is now.
        task: Task
    };
    /// What `taskArchive` answers.
    TaskArchivePayload {
        /// The task as it is now.
        task: Task
    };
    /// What `schedulePut` answers.
    SchedulePutPayload {
        /// The schedule as it is now.
        schedule: Schedule
    };
    /// What `schedulePause` answers.
    SchedulePausePayload {
        /// The schedule as it is now.
        schedule: Schedule
    };
    /// What `scheduleResume` answers.
    ScheduleResumePayload {
        /// The schedule as it is now.
        schedule: Schedule
    };
    /// What `scheduleTrigger` answers.
    ScheduleTriggerPayload {
        /// The job that was made.
        job: Job
    };
    /// What `queuePut` answers.
    QueuePutPayload {
        /// The queue as it is now.
        queue: Queue
    };
    /// What `queuePause` answers.
    QueuePausePayload {
        /// The queue as it is now.
        queue: Queue
    };
    /// What `incidentAcknowledge` answers.
    IncidentAcknowledgePayload {
        /// The incident as it is now.
        incident: Incident
    };
    /// What `incidentResolve` answers.
    IncidentResolvePayload {
        /// The incident as it is now.
        incident: Incident
    };
    /// What `incidentIgnore` answers.
    IncidentIgnorePayload {
        /// The incident as it is now.
        incident: Incident
    };
    /// What `tokenRevoke` answers.
    TokenRevokePayload {
        /// The token as it is now.
        token: Token
    };
    /// What `sinkRedeliver` answers.
    SinkRedeliverPayload {
        /// The sink as it is now.
        sink: Sink
    };
    /// What `sinkDiscard` answers.
    SinkDiscardPayload {
        /// The sink as it is now.
        sink: Sink
    };
    /// What `queueResume` answers.
    QueueResumePayload {
        /// The queue as it is now.
        queue: Queue
    };
}

/// What `scheduleDelete` answers.
#[derive(Debug, Clone, SimpleObject)]
pub struct ScheduleDeletePayload {
    /// The id that is gone.
    pub deleted_id: Option<async_graphql::ID>,
    /// Behind the events of this change.
    pub cursor: Option<EventCursor>,
    /// Expected refusals; empty when it was done.
    pub user_errors: Vec<Rejection>,
}

impl ScheduleDeletePayload {
    /// It was done.
    pub fn done(id: ScheduleId, cursor: EventCursor) -> ScheduleDeletePayload {
        ScheduleDeletePayload { deleted_id: Some(id.into()), cursor: Some(cursor), user_errors: Vec::new() }
    }
}

/// What `jobEnqueue` answers.
#[derive(Debug, Clone, SimpleObject)]
pub struct JobEnqueuePayload {
    /// The job.
    pub job: Option<Job>,
    /// True when a key matched an earlier job.
    pub deduplicated: bool,
    /// Behind the events of this change: subscribe after it and miss nothing.
    pub cursor: Option<EventCursor>,
    /// Expected refusals; empty when it was done.
    pub user_errors: Vec<Rejection>,
}

/// What `jobBulkCancel` and `jobBulkRetry` answer.
#[derive(Debug, Clone, SimpleObject)]
pub struct JobBulkPayload {
    /// Jobs that matched; when they were too many one more than `max`, and nothing was changed.
    pub matched_count: i32,
    /// Jobs that were changed, or made anew; the others were changed by somebody else in between, or refused.
    pub changed_count: i32,
    /// Behind the events of this change: subscribe after it and miss nothing.
    pub cursor: Option<EventCursor>,
    /// Expected refusals; empty when it was done. One of a single job is the first of its kind.
    pub user_errors: Vec<Rejection>,
}

/// What `jobEnqueueMany` answers.
#[derive(Debug, Clone, SimpleObject)]
pub struct JobEnqueueManyPayload {
    /// One answer for each job, in order.
    pub results: Vec<JobEnqueuePayload>,
    /// Behind the events of them all.
    pub cursor: Option<EventCursor>,
}
