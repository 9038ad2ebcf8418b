//! Owns the ends of attempts: each counts once, and says what becomes of its job. A turn of the writer settles all of its
//! ends together, before its other changes and in a few statements; what each means is for `domain::lifecycle` to say.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::db::{Kind, Row, Rows, Sql, Value};
use super::fault::{Fault, Result};
use super::jobs::{self, text};
use super::reports;
use super::transition::{Named, job_event, moved};
use super::writer::{Batch, Change, Outcome};
use crate::args;
use crate::base::clock::Timestamp;
use crate::base::points;
use crate::domain::attempt::{AttemptOutcome, Ended};
use crate::domain::command::Command;
use crate::domain::event::{EventData, EventType};
use crate::domain::id::{AttemptId, JobId, TaskId, WorkerId};
use crate::domain::incident::{Occurrence, is_failure};
use crate::domain::job::{JobState, rank};
use crate::domain::lifecycle::{self, RunningJob, Verdict};
use crate::domain::retry::RetryPolicy;

macro_rules! running_columns {
    () => {
        "SELECT id, state, queue, task_id, task_name, command, priority, run_at_us, retry_policy, try_count, restartable,
                stop_requested_at_us, limit_key
         FROM jobs"
    };
}

// On PostgreSQL the rows stay locked until the commit.
const LOCK: Sql = Sql::each_row(
    concat!(running_columns!(), " WHERE id = $1"),
    concat!(
        running_columns!(),
        " JOIN unnest($1) AS r (wanted) ON id = r.wanted ORDER BY id FOR UPDATE OF jobs"
    ),
    &[Kind::Int],
    &[],
);

// On SQLite asked before `FINISH`, for there a row that is to be returned costs more than one that is read. On PostgreSQL
// only the change itself knows.
const OPEN: Sql = Sql::each_row(
    "SELECT id, attempt_number, worker_id FROM attempts WHERE id = $1 AND outcome IS NULL",
    "SELECT id, attempt_number, worker_id FROM attempts
     JOIN unnest($1) AS r (wanted) ON id = r.wanted
     WHERE coalesce(outcome IS NULL, FALSE)",
    &[Kind::Int],
    &[],
);

// One that has ended already stays as it is. A process that was over at once was not recorded before.
const FINISH: Sql = Sql::each_row(
    "UPDATE attempts
     SET outcome = $2, failure = $3, exit_code = $4, signal = $5, finished_at_us = $6, user_us = $7, system_us = $8,
         peak_memory_bytes = $9, log_bytes = $10, dropped_log_bytes = $11, pid = coalesce(pid, $12),
         start_ticks = coalesce(start_ticks, $13), boot_id = coalesce(boot_id, $14), ran = coalesce(ran, $15)
     WHERE id = $1 AND outcome IS NULL",
    "UPDATE attempts
     SET outcome = r.outcome, failure = r.failure, exit_code = r.exit_code, signal = r.signal,
         finished_at_us = r.finished_at_us, user_us = r.user_us, system_us = r.system_us,
         peak_memory_bytes = r.peak_memory_bytes, log_bytes = r.log_bytes, dropped_log_bytes = r.dropped_log_bytes,
         pid = coalesce(attempts.pid, r.pid), start_ticks = coalesce(attempts.start_ticks, r.start_ticks),
         boot_id = coalesce(attempts.boot_id, r.boot_id), ran = coalesce(attempts.ran, r.ran)
     FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
          AS r (id, outcome, failure, exit_code, signal, finished_at_us, user_us, system_us, peak_memory_bytes, log_bytes,
                dropped_log_bytes, pid, start_ticks, boot_id, ran)
     WHERE attempts.id = r.id AND coalesce(attempts.outcome IS NULL, FALSE)
     RETURNING attempts.id, attempts.attempt_number, attempts.worker_id",
    &[
        Kind::Int, Kind::Text, Kind::Text, Kind::Int, Kind::Text, Kind::Int, Kind::Int, Kind::Int, Kind::Int,
        Kind::Int, Kind::Int, Kind::Int, Kind::Int, Kind::Text, Kind::Text,
    ],
    &[],
);

// Whoever comes into the queue stands behind its key until it is seen who may run.
const MOVE: Sql = Sql::each_row(
    "UPDATE jobs
     SET state = $2, failure = $3, run_at_us = $4, rank_us = $5, finished_at_us = $6, try_count = $7,
         worker_id = NULL, held_by = NULL, progress = coalesce($8, progress), output = coalesce($9, output),
         gated_at_us = CASE WHEN $2 = 'QUEUED' AND limit_key IS NOT NULL THEN $10 ELSE NULL END
     WHERE id = $1 AND state = 'RUNNING'",
    "UPDATE jobs
     SET state = r.state, failure = r.failure, run_at_us = r.run_at_us, rank_us = r.rank_us,
         finished_at_us = r.finished_at_us, try_count = r.try_count, worker_id = NULL, held_by = NULL,
         progress = coalesce(r.progress, jobs.progress), output = coalesce(r.output, jobs.output),
         gated_at_us = CASE WHEN r.state = 'QUEUED' AND jobs.limit_key IS NOT NULL THEN $10 ELSE NULL END
     FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9)
          AS r (id, state, failure, run_at_us, rank_us, finished_at_us, try_count, progress, output)
     WHERE jobs.id = r.id AND coalesce(jobs.state = 'RUNNING', FALSE)",
    &[Kind::Int, Kind::Text, Kind::Text, Kind::Int, Kind::Int, Kind::Int, Kind::Int, Kind::Text, Kind::Text],
    &[Kind::Int],
);

// Nothing of the attempt that counts as its start ever began: the job has not started.
const UNSTART: Sql = Sql::both(
    "UPDATE jobs SET started_at_us = NULL
     WHERE id = $1 AND finished_at_us IS NULL
       AND started_at_us = (SELECT attempts.started_at_us FROM attempts WHERE attempts.id = $2)",
    &[Kind::Int, Kind::Int],
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

/// What the end of an attempt asks of its job: a whole one costs more to read than to end.
struct Running {
    id: JobId,
    state: JobState,
    queue: String,
    task_id: Option<TaskId>,
    task: Option<String>,
    /// Only of one that failed.
    command: Option<Command>,
    priority: i32,
    run_at: Timestamp,
    retry_policy: Arc<RetryPolicy>,
    try_count: i32,
    is_restartable: bool,
    is_stop_requested: bool,
    limit_key: Option<String>,
}

/// The policies of a batch by their text, for most of its jobs have the same.
type Policies = HashMap<String, Arc<RetryPolicy>>;

/// An attempt that ends, its job as it ran, and what follows.
struct Ending<'a> {
    end: &'a EndAttempt,
    job: Running,
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
    let (mut moves, mut count) = (Rows::default(), 0);
    let mut unbegun = Vec::new();
    for ending in &endings {
        let attempt = ending.end.attempt;
        // Here it is known whether this is the attempt's only end.
        let found = finished.get(&attempt);
        let moving = found.and_then(|(number, worker)| ending.tell(batch, *number, *worker));
        let state = ending.verdict.state();
        batch.settled.insert(attempt, if moving.is_some() { Settled::Job(state) } else { Settled::Stale });
        if let Some(row) = moving {
            moves.push(row);
            count += 1;
            if ending.end.ended.is_unbegun {
                unbegun.push(args![ending.job.id.0, attempt.0]);
            }
        }
    }
    if moves.is_empty() {
        return Ok(());
    }
    let now = batch.now.0;
    let changed = batch.tx.execute_each(&MOVE, moves, &args![now]).await?;
    assert!(changed == count, "a job moved that was locked");
    for values in &unbegun {
        batch.tx.execute(&UNSTART, values).await?;
    }
    Ok(())
}

async fn load<'a>(batch: &mut Batch<'_>, ends: Vec<&'a EndAttempt>) -> Result<Vec<Ending<'a>>> {
    let wanted = ends.iter().map(|end| args![end.job.0]).collect();
    let rows = batch.tx.rows_of_each(&LOCK, wanted, &[]).await?;
    let rows = rows.iter().map(|row| Ok((JobId(row.get(0)?), row))).collect::<Result<HashMap<_, _>>>()?;
    let (mut policies, mut endings) = (Policies::new(), Vec::with_capacity(ends.len()));
    for end in ends {
        let Some(row) = rows.get(&end.job) else { continue };
        let job = Running::read(end.job, row, end.ended.outcome, &mut policies)?;
        let running = RunningJob {
            policy: &job.retry_policy,
            tries_before: job.try_count,
            is_restartable: job.is_restartable,
            is_stop_requested: job.is_stop_requested,
        };
        let verdict = lifecycle::settle(&running, &end.ended, batch.now, end.unit);
        // A result may have waited for the store. A clock that was set back meanwhile shows no end in the future.
        let ended_at = end.ended.at.map_or(batch.now, |at| at.min(batch.now));
        endings.push(Ending { end, job, verdict, ended_at });
    }
    Ok(endings)
}

impl Running {
    fn read(id: JobId, row: &Row, outcome: AttemptOutcome, policies: &mut Policies) -> Result<Running> {
        let bad = |what: &str| Fault::unreadable(what, id);
        let text = row.text(8)?;
        let retry_policy = if let Some(policy) = policies.get(text) {
            Arc::clone(policy)
        } else {
            let policy = Arc::new(serde_json::from_str(text).map_err(|_| bad("the retry policy"))?);
            policies.insert(text.to_owned(), Arc::clone(&policy));
            policy
        };
        let command = is_failure(outcome).then(|| row.text(5)).transpose()?;
        Ok(Running {
            id,
            state: JobState::from_word(row.text(1)?).ok_or_else(|| bad("the state"))?,
            queue: row.get(2)?,
            task_id: row.get::<Option<i64>>(3)?.map(TaskId),
            task: row.get(4)?,
            command: command
                .map(|text| serde_json::from_str(text).map_err(|_| bad("the command")))
                .transpose()?,
            priority: small(row, 6)?,
            run_at: Timestamp(row.get(7)?),
            retry_policy,
            try_count: small(row, 9)?,
            is_restartable: row.get::<i64>(10)? == 1,
            is_stop_requested: row.get::<Option<i64>>(11)?.is_some(),
            limit_key: row.get(12)?,
        })
    }
}

impl<'a> From<&'a Running> for Named<'a> {
    fn from(job: &'a Running) -> Named<'a> {
        Named { id: job.id, state: job.state, queue: &job.queue, task: job.task.as_deref() }
    }
}

fn small(row: &Row, at: usize) -> Result<i32> {
    Ok(i32::try_from(row.get::<i64>(at)?).unwrap_or(i32::MAX))
}

/// Ends the rows of the attempts; gives number and worker of those that had not ended before.
async fn finish(
    batch: &mut Batch<'_>,
    endings: &[Ending<'_>],
) -> Result<BTreeMap<AttemptId, (i64, WorkerId)>> {
    if endings.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = endings.iter().map(Ending::row).collect();
    let rows = if batch.tx.is_sqlite() {
        let wanted = endings.iter().map(|ending| args![ending.end.attempt.0]).collect();
        let open = batch.tx.rows_of_each(&OPEN, wanted, &[]).await?;
        batch.tx.execute_each(&FINISH, rows, &[]).await?;
        open
    } else {
        batch.tx.rows_of_each(&FINISH, rows, &[]).await?
    };
    rows.iter().map(|row| Ok((AttemptId(row.get(0)?), (row.get(1)?, WorkerId(row.get(2)?))))).collect()
}

impl Ending<'_> {
    fn row(&self) -> [Value; 15] {
        let ended = &self.end.ended;
        let (usage, spawned) = (ended.usage, ended.spawned.as_ref());
        args![
            self.end.attempt.0,
            Value::Word(ended.outcome.word()),
            self.verdict.failure().map(text),
            ended.exit_code,
            ended.signal.as_deref(),
            self.ended_at.0,
            usage.map(|usage| usage.user_us),
            usage.map(|usage| usage.system_us),
            usage.and_then(|usage| usage.peak_memory_bytes),
            ended.log_bytes,
            ended.dropped_log_bytes,
            spawned.map(|one| one.pid),
            spawned.map(|one| one.start_ticks),
            spawned.map(|one| one.boot_id.as_str()),
            spawned.map(|one| text(&one.ran)),
        ]
    }

    /// Tells of the attempt's end; gives where the job goes, when it ran.
    fn tell(&self, batch: &mut Batch<'_>, number: i64, worker: WorkerId) -> Option<[Value; 9]> {
        let Ending { end, job, verdict, .. } = self;
        let ended = &end.ended;
        if let Some(command) = &job.command {
            let task = job.task_id.zip(job.task.as_deref());
            batch.failures.add(Occurrence::of_attempt(task, command, ended), Some((end.attempt, end.job)));
        }
        let data = EventData::of("attempt", number)
            .with("worker", worker)
            .with("outcome", ended.outcome.word())
            .with("exitCode", ended.exit_code)
            .with("signal", &ended.signal);
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
        let message = verdict.failure().map(|failure| &failure.message);
        let data = EventData::moved(job.state, state).with("attempt", number).with("message", message);
        batch.touched_keys.extend(job.limit_key.clone());
        moved(batch, job, &end.actor, data);
        let run_at = if let Verdict::Retry(_, at) = verdict { *at } else { job.run_at };
        let counts = ended.outcome != AttemptOutcome::Interrupted;
        Some(args![
            job.id.0,
            Value::Word(state.word()),
            verdict.failure().map(text),
            run_at.0,
            rank(run_at, job.priority),
            state.is_final().then_some(self.ended_at.0),
            job.try_count + i32::from(counts),
            progress.map(text),
            output,
        ])
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&LOCK, &OPEN, &FINISH, &MOVE, &UNSTART];
