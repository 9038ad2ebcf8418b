//! Owns what callers may do to many jobs at once: what matches is looked up first, then changed in batches, each
//! in a transaction of its own, so that others get in between.

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};

use super::Engine;
use super::jobs::like;
use crate::base::asker::{asker, working_for};
use crate::base::points;
use crate::base::random::hex;
use crate::base::task;
use crate::domain::access::{GrantVerb, Viewer};
use crate::domain::event::EventCursor;
use crate::domain::filter::JobFilter;
use crate::domain::id::{JobId, TokenId};
use crate::domain::job::{JOB_STATES, Job, JobState};
use crate::domain::limits::{BULK_MAX, TEXT_BYTES_MAX};
use crate::domain::new_job::{Idempotency, NewJob};
use crate::domain::rejection::{Rejection, UserErrorCode, check_text};
use crate::store::bulk::{BULK_BATCH, CancelMany};
use crate::store::jobs::Enqueue;
use crate::store::writer::{Outcome, Refusal};
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

impl Bulk {
    /// Whether it can be asked for at all; gives how many jobs it may change.
    fn check(&self) -> Result<usize, Rejection> {
        check_text("reason", self.reason.as_deref().unwrap_or_default(), TEXT_BYTES_MAX)?;
        check_text("idempotencyKey", self.idempotency_key.as_deref().unwrap_or_default(), TEXT_BYTES_MAX)?;
        allowed(self.max)
    }
}

/// How jobs are made anew.
#[derive(Debug)]
pub(super) struct Anew {
    /// Why, for the record.
    pub reason: Option<String>,
    /// What none of them is made twice under, and whose key it is.
    pub key: Option<(TokenId, String)>,
    /// Whether those that were made under it before count as made.
    pub counts_known: bool,
}

/// Jobs read whole at once, to be made anew.
pub(super) const RETRY_BATCH: usize = 100;

impl Engine {
    /// Stops every job that matches: those that wait at once, those that run by asking.
    pub async fn cancel_matching(&self, viewer: &Viewer, bulk: Bulk) -> Outcome<BulkAnswer> {
        let (engine, viewer) = (self.clone(), viewer.clone());
        let states = bulk.filter.states.clone().unwrap_or_else(|| JOB_STATES.to_vec());
        let states: Vec<_> = states.into_iter().filter(|state| !state.is_final()).collect();
        let is_running_meant = states.contains(&JobState::Running);
        whole(async move {
            let filter = viewer.narrowed(GrantVerb::Cancel, bulk.filter.clone())?;
            let (ids, mut answer) = match engine.matching(&bulk, filter, states, &HashSet::new()).await? {
                Ok(matched) => matched,
                Err(refused) => return Ok(refused),
            };
            for some in ids.chunks(BULK_BATCH) {
                let (actor, reason) = (viewer.token_name.clone(), bulk.reason.clone());
                // Each batch frees places, and what begins there is no longer what was asked for.
                let change = CancelMany { ids: some.to_vec(), is_running_meant, actor, reason };
                let committed = engine.writer.apply(change).await.map_err(|why| half_done(&answer, why))?;
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
            bulk.check()?;
            // Asked again, it is about the jobs of the first time, and not about those that it made of them.
            let made = engine.made_by(&viewer, &bulk).await?;
            let (mut ids, mut answer) = match engine.matching(&bulk, filter, states, &made).await? {
                Ok(matched) => matched,
                Err(refused) => return Ok(refused),
            };
            // The first time may still be under way.
            let made = engine.made_by(&viewer, &bulk).await?;
            ids.retain(|id| !made.contains(id));
            answer.matched_count = ids.len();
            let key = bulk.idempotency_key.clone().filter(|key| !key.is_empty());
            let key = key.map(|key| (viewer.token_id, key));
            let anew = Anew { reason: bulk.reason, key, counts_known: true };
            for some in ids.chunks(RETRY_BATCH) {
                engine.make_anew(&viewer, &anew, some, &mut answer).await?;
            }
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
        let max = bulk.check()?;
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

    /// What a bulk has made already, when it is asked for again.
    async fn made_by(&self, viewer: &Viewer, bulk: &Bulk) -> Outcome<HashSet<JobId>> {
        match bulk.idempotency_key.as_deref().filter(|key| !key.is_empty()) {
            Some(key) => Ok(self.own.made_under(viewer.token_id, key).await?),
            None => Ok(HashSet::new()),
        }
    }

    /// Makes a batch of jobs anew.
    pub(super) async fn make_anew(
        &self,
        viewer: &Viewer,
        anew: &Anew,
        ids: &[JobId],
        answer: &mut BulkAnswer,
    ) -> Outcome<()> {
        let done = self.make_some(viewer, anew, ids, answer).await;
        done.map_err(|why| half_done(answer, why))
    }

    async fn make_some(
        &self,
        viewer: &Viewer,
        anew: &Anew,
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
        let like_it = |job: &Job| {
            let key = anew.key.as_ref().map(|(token_id, key)| Idempotency {
                token_id: *token_id,
                key: format!("{key}/{}", job.id),
                digest: hex(&Sha256::digest(format!("retry {}", job.id))),
            });
            let task_now = tasks.iter().find(|task| Some(task.id) == job.task_id);
            NewJob { reason: anew.reason.clone(), ..like(job, task_now, viewer, key) }
        };
        let jobs: Vec<_> = found.iter().map(like_it).collect();
        let committed =
            self.writer.apply(Enqueue { jobs: jobs.into(), queued_max: self.settings.queued_max }).await?;
        points::reach("bulk.retried");
        self.nudge_dispatcher.notify_one();
        answer.cursor = Some(committed.cursor);
        for (job, made) in found.iter().zip(committed.answer) {
            match made {
                Ok(made) => answer.changed_count += usize::from(anew.counts_known || !made.is_deduplicated),
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

/// Once some of the jobs were changed, a fault with the others leaves it open how much was done.
pub(super) fn half_done(answer: &BulkAnswer, why: Refusal) -> Refusal {
    match why {
        Refusal::Fault(fault) if answer.changed_count > 0 => Refusal::Fault(fault.unsure()),
        why => why,
    }
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
        Err(Fault::new(FaultKind::Io, message).unsure().into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Certainty;

    #[test]
    fn what_broke_off_half_way_is_not_said_to_have_changed_nothing() {
        for (changed_count, certainty) in [(0, Certainty::Unchanged), (400, Certainty::Unknown)] {
            let answer = BulkAnswer { matched_count: 1_000, changed_count, cursor: None, refusal: None };
            let why = half_done(&answer, Fault::new(FaultKind::Full, "no room").into());
            assert!(matches!(why, Refusal::Fault(fault) if fault.certainty == certainty), "{changed_count}");
        }
    }
}
