//! Owns what callers may do to many jobs at once: what matches is looked up first, then changed in batches, each
//! in a transaction of its own, so that others get in between.

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};

use super::Engine;
use super::jobs::{key, like};
use crate::base::asker::{asker, working_for};
use crate::base::points;
use crate::base::random::hex;
use crate::base::task;
use crate::domain::access::{GrantVerb, Viewer};
use crate::domain::event::EventCursor;
use crate::domain::filter::JobFilter;
use crate::domain::id::JobId;
use crate::domain::job::{JOB_STATES, JobState};
use crate::domain::limits::{BULK_MAX, TEXT_BYTES_MAX};
use crate::domain::new_job::NewJob;
use crate::domain::rejection::{Rejection, UserErrorCode, check_text};
use crate::store::bulk::{BULK_BATCH, CancelMany};
use crate::store::jobs::Enqueue;
use crate::store::writer::Outcome;
use crate::store::{Fault, FaultKind};

/// What a caller wants of many jobs.
#[derive(Debug, Clone)]
pub struct Bulk {
    /// Which jobs.
    pub filter: JobFilter,
    /// More than so many are refused.
    pub max: i32,
    /// Why, for the record.
    pub reason: Option<String>,
    /// Makes a repeat safe: no job is made anew twice under it.
    pub idempotency_key: Option<String>,
}

/// What became of them.
#[derive(Debug, Clone)]
pub struct BulkAnswer {
    /// Jobs that matched, counted to one more than allowed.
    pub matched_count: usize,
    /// Jobs that were changed.
    pub changed_count: usize,
    /// Behind the events of them all; `None` when nothing was done.
    pub cursor: Option<EventCursor>,
    /// Why nothing was done, or the first refusal of a single job.
    pub refusal: Option<Rejection>,
}

/// Jobs read whole at once, to be made anew.
const RETRY_BATCH: usize = 100;

impl Engine {
    /// Stops every job that matches: those that wait at once, those that run by asking.
    pub async fn cancel_matching(&self, viewer: &Viewer, bulk: Bulk) -> Outcome<BulkAnswer> {
        let (engine, viewer) = (self.clone(), viewer.clone());
        let states = bulk.filter.states.clone().unwrap_or_else(|| JOB_STATES.to_vec());
        let states = states.into_iter().filter(|state| !state.is_final()).collect();
        whole(async move {
            let filter = viewer.narrowed(GrantVerb::Cancel, bulk.filter.clone())?;
            let (ids, mut answer) = match engine.matching(&bulk, filter, states, &HashSet::new()).await? {
                Ok(matched) => matched,
                Err(refused) => return Ok(refused),
            };
            for some in ids.chunks(BULK_BATCH) {
                let (actor, reason) = (viewer.token_name.clone(), bulk.reason.clone());
                let committed = engine.writer.apply(CancelMany { ids: some.to_vec(), actor, reason }).await?;
                answer.changed_count += committed.answer.done_count + committed.answer.asked.len();
                answer.cursor = Some(committed.cursor);
                points::reach("bulk.cancelled");
                for id in committed.answer.asked {
                    engine.running.stop(id);
                }
                // A job may be claimed and not yet listed; others may have waited for one; so may a schedule.
                engine.nudge_dispatcher.notify_one();
                engine.nudge_scheduler.notify_one();
            }
            Ok(answer)
        })
        .await
    }

    /// Makes every final job that matches anew; those that succeeded only when the filter names their state.
    pub async fn retry_matching(&self, viewer: &Viewer, bulk: Bulk) -> Outcome<BulkAnswer> {
        let (engine, viewer) = (self.clone(), viewer.clone());
        let not_succeeded = || JOB_STATES.into_iter().filter(|state| *state != JobState::Succeeded).collect();
        let states = bulk.filter.states.clone().unwrap_or_else(not_succeeded);
        let states = states.into_iter().filter(|state| state.is_final()).collect();
        whole(async move {
            // Whose task a job is of is judged with each of them.
            let filter = JobFilter { sight: viewer.sight(), ..bulk.filter.clone() };
            // Asked again, it is about the jobs of the first time, and not about those that it made of them.
            let made = match bulk.idempotency_key.as_deref().filter(|key| !key.is_empty()) {
                Some(key) => engine.own.made_under(viewer.token_id, key).await?,
                None => HashSet::new(),
            };
            let (ids, mut answer) = match engine.matching(&bulk, filter, states, &made).await? {
                Ok(matched) => matched,
                Err(refused) => return Ok(refused),
            };
            engine.retry_all(&viewer, &bulk, &ids, &mut answer).await?;
            Ok(answer)
        })
        .await
    }

    /// The jobs that match but for some, or why nothing is done.
    async fn matching(
        &self,
        bulk: &Bulk,
        filter: JobFilter,
        states: Vec<JobState>,
        but: &HashSet<JobId>,
    ) -> Outcome<Result<(Vec<JobId>, BulkAnswer), BulkAnswer>> {
        let max = allowed(bulk.max)?;
        check_text("reason", bulk.reason.as_deref().unwrap_or_default(), TEXT_BYTES_MAX)?;
        check_text("idempotencyKey", bulk.idempotency_key.as_deref().unwrap_or_default(), TEXT_BYTES_MAX)?;
        let filter = JobFilter { states: Some(states), ..filter };
        let mut ids = self.reader.matching_jobs(&filter, max + 1 + but.len()).await?;
        ids.retain(|id| !but.contains(id));
        let mut answer =
            BulkAnswer { matched_count: ids.len(), changed_count: 0, cursor: None, refusal: None };
        if ids.len() > max {
            answer.refusal = Some(too_many(max));
            return Ok(Err(answer));
        }
        answer.cursor = Some(self.writer.cursor());
        Ok(Ok((ids, answer)))
    }

    /// Makes these jobs anew, in batches.
    pub(super) async fn retry_all(
        &self,
        viewer: &Viewer,
        bulk: &Bulk,
        ids: &[JobId],
        answer: &mut BulkAnswer,
    ) -> Outcome<()> {
        for some in ids.chunks(RETRY_BATCH) {
            self.retry_some(viewer, bulk, some, answer).await?;
        }
        Ok(())
    }

    async fn retry_some(
        &self,
        viewer: &Viewer,
        bulk: &Bulk,
        ids: &[JobId],
        answer: &mut BulkAnswer,
    ) -> Outcome<()> {
        let mut found = self.reader.jobs_by_id(ids).await?;
        found.sort_by_key(|job| job.id);
        found.retain(|job| match viewer.check_enqueue("filter", job.task_name.as_deref()) {
            Ok(()) => true,
            Err(rejection) => {
                let message = format!("{} was not made anew: {}", job.id, rejection.message);
                answer.refusal.get_or_insert(Rejection::new(rejection.code, message));
                false
            }
        });
        let ids: Vec<_> = found.iter().filter_map(|job| job.task_id).collect();
        let tasks = self.reader.tasks_by_id(&ids).await?;
        let anew = |job: &crate::domain::job::Job| {
            let given = bulk.idempotency_key.as_ref().filter(|key| !key.is_empty());
            let digest = || hex(&Sha256::digest(format!("retry {}", job.id)));
            let key = key(viewer, given.map(|key| format!("{key}/{}", job.id)), digest);
            let task_now = tasks.iter().find(|task| Some(task.id) == job.task_id);
            NewJob { reason: bulk.reason.clone(), ..like(job, task_now, viewer, key) }
        };
        let jobs: Vec<_> = found.iter().map(anew).collect();
        let committed =
            self.writer.apply(Enqueue { jobs: jobs.into(), queued_max: self.settings.queued_max }).await?;
        points::reach("bulk.retried");
        self.nudge_dispatcher.notify_one();
        answer.cursor = Some(committed.cursor);
        for (job, made) in found.iter().zip(committed.answer) {
            match made {
                Ok(_) => answer.changed_count += 1,
                Err(rejection) => {
                    let message = format!("{} was not made anew: {}", job.id, rejection.message);
                    answer.refusal.get_or_insert(Rejection::new(rejection.code, message));
                }
            }
        }
        Ok(())
    }
}

/// How many jobs the caller allows, within bounds.
pub(super) fn allowed(max: i32) -> Result<usize, Rejection> {
    let max = Some(max).filter(|max| (1..=BULK_MAX).contains(max)).ok_or(max);
    let outside = |max| Rejection::invalid("max", format!("must lie in 1..={BULK_MAX}, is {max}"));
    Ok(usize::try_from(max.map_err(outside)?).expect("a small number"))
}

/// More match than the caller allows.
pub(super) fn too_many(max: usize) -> Rejection {
    let message = format!("more than {max} jobs match; narrow the filter, or allow more with `max`");
    Rejection::at(UserErrorCode::TooManyMatches, "max", message)
}

/// Does the work to its end, whether or not the caller is still there: a bulk mutation stops nowhere in between.
pub(super) async fn whole(
    work: impl Future<Output = Outcome<BulkAnswer>> + Send + 'static,
) -> Outcome<BulkAnswer> {
    // It works for the caller also when he is gone.
    let spawned = match asker() {
        Some(asker) => task::spawn(working_for(asker, work)),
        None => task::spawn(work),
    };
    spawned.await.unwrap_or_else(|error| {
        let message = format!("a bulk mutation broke off; how much of it was done is not known: {error}");
        Err(Fault::new(FaultKind::Io, message).into())
    })
}
