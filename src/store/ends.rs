//! Owns the ends of attempts: each counts once, and says what becomes of its job. A turn of the writer settles all of its
//! ends together, before its other changes and in a few statements; what each means is for `domain::lifecycle` to say.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::db::{Kind, Sql};
use super::fault::Result;
use super::jobs::{self, job_columns, job_from, text};
use super::reports;
use super::rows::Rows;
use super::transition::{job_event, moved};
use super::writer::{Batch, Change, Outcome};
use crate::args;
use crate::base::clock::Timestamp;
use crate::base::points;
use crate::domain::attempt::{AttemptOutcome, Ended};
use crate::domain::event::EventType;
use crate::domain::id::{AttemptId, JobId, WorkerId};
use crate::domain::incident::Occurrence;
use crate::domain::job::{Job, JobState, rank};
use crate::domain::lifecycle::{self, RunningJob, Verdict};

// On PostgreSQL the rows stay locked until the commit.
const LOCK: Sql = Sql::each(
    concat!(
        "SELECT ",
        job_columns!(),
        ", 0 FROM jobs WHERE id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))"
    ),
    concat!(
        "SELECT ",
        job_columns!(),
        ", CAST(0 AS BIGINT) FROM jobs WHERE id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))
         ORDER BY id
         FOR UPDATE"
    ),
    &[Kind::Text],
);

// One that has ended already stays as it is.
const FINISH: Sql = Sql::both(
    "UPDATE attempts
     SET outcome = r.value ->> 'outcome', failure = r.value ->> 'failure',
         exit_code = CAST(r.value ->> 'exit' AS BIGINT), signal = r.value ->> 'signal',
         finished_at_us = CAST(r.value ->> 'at' AS BIGINT),
         user_us = CAST(r.value ->> 'user' AS BIGINT), system_us = CAST(r.value ->> 'system' AS BIGINT),
         peak_memory_bytes = CAST(r.value ->> 'peak' AS BIGINT),
         log_bytes = CAST(r.value ->> 'log' AS BIGINT), dropped_log_bytes = CAST(r.value ->> 'dropped' AS BIGINT),
         -- A process that was over at once was not recorded before.
         pid = coalesce(pid, CAST(r.value ->> 'pid' AS BIGINT)),
         start_ticks = coalesce(start_ticks, CAST(r.value ->> 'ticks' AS BIGINT)),
         boot_id = coalesce(boot_id, r.value ->> 'boot'), ran = coalesce(ran, r.value ->> 'ran')
     FROM jsonb_each($1) AS r
     WHERE attempts.id = CAST(r.value ->> 'id' AS BIGINT) AND coalesce(attempts.outcome IS NULL, FALSE)
     RETURNING attempts.id, attempts.attempt_number, attempts.worker_id",
    &[Kind::Text],
);

const MOVE: Sql = Sql::both(
    "UPDATE jobs
     SET state = r.value ->> 'state', failure = r.value ->> 'failure',
         run_at_us = CAST(r.value ->> 'runAt' AS BIGINT), rank_us = CAST(r.value ->> 'rank' AS BIGINT),
         finished_at_us = CAST(r.value ->> 'at' AS BIGINT), try_count = CAST(r.value ->> 'tries' AS BIGINT),
         worker_id = NULL, held_by = NULL, progress = coalesce(r.value ->> 'progress', progress),
         output = coalesce(r.value ->> 'output', output),
         -- Whoever comes into the queue stands behind its key until it is seen who may run.
         gated_at_us = CASE WHEN r.value ->> 'state' = 'QUEUED' AND limit_key IS NOT NULL THEN $2 ELSE NULL END
     FROM jsonb_each($1) AS r
     WHERE jobs.id = CAST(r.value ->> 'id' AS BIGINT) AND coalesce(jobs.state = 'RUNNING', FALSE)",
    &[Kind::Text, Kind::Int],
);

/// Records the end of an attempt and what it means for the job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EndAttempt {
    /// The attempt; one that ended already makes this `Stale`.
    pub attempt: AttemptId,
    /// Its job.
    pub job: JobId,
    /// How it ended.
    pub ended: Ended,
    /// Spreads the retry delay, in `[0, 1)`.
    pub unit: f64,
    /// Who says so.
    pub actor: String,
}

/// What became of the end of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The job stands in this state now.
    Job(JobState),
    /// The attempt had ended before; nothing was changed.
    Stale,
}

impl Settled {
    /// In one word, for the log.
    pub fn word(self) -> &'static str {
        match self {
            Settled::Job(state) => state.word(),
            Settled::Stale => "STALE",
        }
    }
}

impl Change for EndAttempt {
    type Answer = Settled;

    fn end(&self) -> Option<&EndAttempt> {
        Some(self)
    }

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<Settled> {
        if let Some(settled) = batch.settled.remove(&self.attempt) {
            return Ok(settled);
        }
        settle(batch, &[self]).await?;
        Ok(batch.settled.remove(&self.attempt).unwrap_or(Settled::Stale))
    }
}

/// The end of an attempt that leaves its place with its commit: the same transaction may claim the next job for it.
#[derive(Debug, Clone)]
pub struct LeavePlace(pub EndAttempt);

impl Change for LeavePlace {
    type Answer = Settled;

    fn end(&self) -> Option<&EndAttempt> {
        Some(&self.0)
    }

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<Settled> {
        let settled = self.0.apply(batch).await?;
        batch.vacated_count += 1;
        Ok(settled)
    }
}

/// An attempt that ends, its job as it ran, and what follows.
struct Ending<'a> {
    end: &'a EndAttempt,
    job: Job,
    verdict: Verdict,
    ended_at: Timestamp,
}

/// Settles the ends of attempts and leaves what became of each with the batch. Of several ends of one job the first one
/// is settled; the others find what it left when their turn comes.
pub(super) async fn settle(batch: &mut Batch<'_>, ends: &[&EndAttempt]) -> Result<()> {
    if ends.is_empty() {
        return Ok(());
    }
    jobs::write_pending(batch).await?;
    let mut seen = HashSet::new();
    let ends: Vec<_> = ends.iter().copied().filter(|end| seen.insert(end.job)).collect();
    let endings = load(batch, ends).await?;
    let finished = finish(batch, &endings).await?;
    points::reach("end.attempt_finished");
    let mut moves = Vec::new();
    for ending in &endings {
        let attempt = ending.end.attempt;
        // Here it is known whether this is the attempt's only end.
        let found = finished.get(&attempt);
        let moving = found.and_then(|(number, worker)| ending.tell(batch, *number, *worker));
        let state = ending.verdict.state();
        batch.settled.insert(attempt, if moving.is_some() { Settled::Job(state) } else { Settled::Stale });
        moves.extend(moving);
    }
    if moves.is_empty() {
        return Ok(());
    }
    let (count, now) = (moves.len(), batch.now.0);
    let changed = batch.tx.execute(&MOVE, &args![Rows::of(moves), now]).await?;
    assert!(usize::try_from(changed) == Ok(count), "a job moved that was locked");
    Ok(())
}

async fn load<'a>(batch: &mut Batch<'_>, ends: Vec<&'a EndAttempt>) -> Result<Vec<Ending<'a>>> {
    let ids = super::page::numbers(Some(&ends), |end| end.job.0);
    let rows = batch.tx.rows(&LOCK, &args![ids]).await?;
    let jobs = rows.iter().map(|row| job_from(row, batch.epoch)).collect::<Result<Vec<_>>>()?;
    let mut jobs: HashMap<JobId, Job> = jobs.into_iter().map(|job| (job.id, job)).collect();
    let ending = |end: &'a EndAttempt| {
        let job = jobs.remove(&end.job)?;
        let running = RunningJob {
            policy: &job.retry_policy,
            tries_before: job.try_count,
            is_restartable: job.is_restartable,
            is_stop_requested: job.stop_requested_at.is_some(),
        };
        let verdict = lifecycle::settle(&running, &end.ended, batch.now, end.unit);
        // A result may have waited for the store. A clock that was set back meanwhile shows no end in the future.
        let ended_at = end.ended.at.map_or(batch.now, |at| at.min(batch.now));
        Some(Ending { end, job, verdict, ended_at })
    };
    Ok(ends.into_iter().filter_map(ending).collect())
}

/// Ends the rows of the attempts; gives number and worker of those that had not ended before.
async fn finish(
    batch: &mut Batch<'_>,
    endings: &[Ending<'_>],
) -> Result<BTreeMap<AttemptId, (i64, WorkerId)>> {
    let rows = Rows::of(endings.iter().map(Ending::row));
    let rows = batch.tx.rows(&FINISH, &args![rows]).await?;
    rows.iter().map(|row| Ok((AttemptId(row.get(0)?), (row.get(1)?, WorkerId(row.get(2)?))))).collect()
}

impl Ending<'_> {
    fn row(&self) -> Value {
        let ended = &self.end.ended;
        json!({
            "id": self.end.attempt,
            "outcome": ended.outcome.word(),
            "failure": self.verdict.failure().map(text),
            "exit": ended.exit_code,
            "signal": ended.signal,
            "at": self.ended_at.0,
            "user": ended.usage.map(|usage| usage.user_us),
            "system": ended.usage.map(|usage| usage.system_us),
            "peak": ended.usage.and_then(|usage| usage.peak_memory_bytes),
            "log": ended.log_bytes,
            "dropped": ended.dropped_log_bytes,
            "pid": ended.spawned.as_ref().map(|one| one.pid),
            "ticks": ended.spawned.as_ref().map(|one| one.start_ticks),
            "boot": ended.spawned.as_ref().map(|one| &one.boot_id),
            "ran": ended.spawned.as_ref().map(|one| text(&one.ran)),
        })
    }

    /// Tells of the attempt's end; gives where the job goes, when it ran.
    fn tell(&self, batch: &mut Batch<'_>, number: i64, worker: WorkerId) -> Option<Value> {
        let Ending { end, job, verdict, .. } = self;
        let ended = &end.ended;
        if let Some(failed) = Occurrence::of_attempt(job, ended) {
            batch.failures.add(failed, Some((end.attempt, end.job)));
        }
        let data = json!({
            "attempt": number,
            "worker": worker,
            "outcome": ended.outcome.word(),
            "exitCode": ended.exit_code,
            "signal": ended.signal,
        });
        let is_running = job.state == JobState::Running;
        let output = ended.last_word.output.as_ref().filter(|_| is_running).map(text);
        let progress = ended.last_word.progress.as_ref().filter(|_| is_running);
        if let Some(progress) = progress {
            let data = reports::progress_data(number, progress);
            batch.emit(job_event(EventType::JobProgress, job, &end.actor, data));
        }
        if let Some(output) = &output {
            let data = reports::output_data(number, output);
            batch.emit(job_event(EventType::JobOutput, job, &end.actor, data));
        }
        batch.emit(job_event(EventType::AttemptFinished, job, &end.actor, data));
        if !is_running {
            return None;
        }
        let state = verdict.state();
        assert!(lifecycle::may_follow(job.state, state), "{} may not go from RUNNING to {state:?}", job.id);
        let extra = json!({"attempt": number, "message": verdict.failure().map(|failure| &failure.message)});
        moved(batch, job, state, &end.actor, extra);
        let run_at = if let Verdict::Retry(_, at) = verdict { *at } else { job.run_at };
        let counts = ended.outcome != AttemptOutcome::Interrupted;
        Some(json!({
            "id": job.id,
            "state": state.word(),
            "failure": verdict.failure().map(text),
            "runAt": run_at,
            "rank": rank(run_at, job.priority),
            "at": state.is_final().then_some(self.ended_at),
            "tries": job.try_count + i32::from(counts),
            "progress": progress.map(text),
            "output": output,
        }))
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&LOCK, &FINISH, &MOVE];
