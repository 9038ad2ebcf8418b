//! Owns the attempt rows: what ran, found by job, and those that a dead daemon left open.

use super::Reader;
use super::db::{Kind, Row, Sql};
use super::fault::{Fault, Result};
use super::ids;
use super::page::{self, Page};
use super::writer::{Batch, Change, Outcome};
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::attempt::{Attempt, AttemptOutcome, Spawned};
use crate::domain::duration::Span;
use crate::domain::id::{AttemptId, JobId, WorkerId};
use crate::domain::scalars::BigInt;

macro_rules! attempt_columns {
    () => {
        "id, job_id, attempt_number, worker_id, outcome, failure, pid, exit_code, signal, started_at_us,
         finished_at_us, user_us, system_us, peak_memory_bytes, log_bytes, dropped_log_bytes, ran"
    };
}

fn attempt_from(row: &Row) -> Result<Attempt> {
    let id: i64 = row.get(0)?;
    let bad = |what: &str| Fault::unreadable(what, AttemptId(id));
    let int = |at: usize| -> Result<Option<i32>> {
        Ok(row.get::<Option<i64>>(at)?.map(|number| i32::try_from(number).unwrap_or(i32::MAX)))
    };
    // The kernel counts in microseconds; the API speaks in milliseconds.
    let span = |at: usize| -> Result<Option<Span>> {
        Ok(row.get::<Option<i64>>(at)?.map(|micros| Span::from_millis(micros.saturating_add(999) / 1_000)))
    };
    let outcome: Option<String> = row.get(4)?;
    let failure: Option<String> = row.get(5)?;
    let ran: Option<String> = row.get(16)?;
    Ok(Attempt {
        id: AttemptId(id),
        job_id: JobId(row.get(1)?),
        number: int(2)?.unwrap_or_default(),
        worker_id: WorkerId(row.get(3)?),
        outcome: outcome
            .map(|word| AttemptOutcome::from_word(&word).ok_or_else(|| bad("the outcome")))
            .transpose()?,
        failure: failure
            .map(|text| serde_json::from_str(&text).map_err(|_| bad("the failure")))
            .transpose()?,
        ran: ran.map(|text| serde_json::from_str(&text).map_err(|_| bad("what ran"))).transpose()?,
        pid: int(6)?,
        exit_code: int(7)?,
        signal: row.get(8)?,
        started_at: Timestamp(row.get(9)?),
        finished_at: row.get::<Option<i64>>(10)?.map(Timestamp),
        user_time: span(11)?,
        system_time: span(12)?,
        peak_memory_bytes: row.get::<Option<i64>>(13)?.map(BigInt),
        log_bytes: BigInt(row.get(14)?),
        dropped_log_bytes: BigInt(row.get(15)?),
    })
}

const SPAWNED: Sql = Sql::both(
    "UPDATE attempts SET pid = $2, start_ticks = $3, boot_id = $4, ran = $5 WHERE id = $1 AND outcome IS NULL",
    &[Kind::Int, Kind::Int, Kind::Int, Kind::Text, Kind::Text],
);

/// Records which process runs an attempt.
#[derive(Debug)]
pub struct RecordSpawn {
    /// The attempt.
    pub attempt: AttemptId,
    /// Its process.
    pub spawned: Spawned,
}

impl Change for RecordSpawn {
    type Answer = ();

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<()> {
        let Spawned { pid, start_ticks, boot_id, ran } = &self.spawned;
        let values = args![self.attempt.0, *pid, *start_ticks, boot_id, super::jobs::text(ran)];
        batch.tx.execute(&SPAWNED, &values).await?;
        Ok(())
    }
}

/// An attempt that has not ended.
#[derive(Debug, Clone)]
pub struct OpenAttempt {
    /// The attempt.
    pub attempt: AttemptId,
    /// Its job.
    pub job: JobId,
    /// Who took it.
    pub worker: WorkerId,
    /// The environment cookie of its processes.
    pub cookie: String,
    /// Process id, start time in ticks and boot id, when the spawn was recorded.
    pub process: Option<(i32, i64, String)>,
}

// What another worker runs that is there is its own.
const OPEN: Sql = Sql::both(
    "SELECT id, job_id, cookie, pid, start_ticks, boot_id, worker_id FROM attempts
     WHERE outcome IS NULL AND id > $1
       AND (worker_id = $3 OR NOT EXISTS (
            SELECT 1 FROM workers WHERE workers.id = attempts.worker_id AND workers.stopped_at_us IS NULL))
     ORDER BY id
     LIMIT $2",
    &[Kind::Int, Kind::Int, Kind::Int],
);

const OF_JOBS: Sql = Sql::both(
    concat!(
        "SELECT ",
        attempt_columns!(),
        " FROM attempts
         WHERE job_id = $1 AND attempt_number > $2
         ORDER BY attempt_number
         LIMIT $3"
    ),
    &[Kind::Int, Kind::Int, Kind::Int],
);

const LAST_OF_JOBS: Sql = Sql::both(
    concat!(
        "SELECT ",
        attempt_columns!(),
        " FROM attempts
         WHERE (job_id, attempt_number) IN (
             SELECT jobs.id, jobs.attempt_count FROM jobs
             WHERE jobs.id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1)))"
    ),
    &[Kind::Text],
);

const BY_ID: Sql = Sql::both(
    concat!(
        "SELECT ",
        attempt_columns!(),
        " FROM attempts
         WHERE id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))"
    ),
    &[Kind::Text],
);

const BY_NUMBER: Sql = Sql::both(
    concat!("SELECT ", attempt_columns!(), " FROM attempts WHERE job_id = $1 AND attempt_number = $2"),
    &[Kind::Int, Kind::Int],
);

const OF_WORKER: Sql = Sql::both(
    concat!(
        "SELECT ",
        attempt_columns!(),
        " FROM attempts
         WHERE outcome IS NULL AND worker_id = $1
         ORDER BY id
         LIMIT 1000"
    ),
    &[Kind::Int],
);

// On SQLite, where the number is written with the rows that bear it.
const NEWEST: Sql = Sql::both("SELECT value FROM counters WHERE name = 'attempt'", &[]);

const FATES: Sql = Sql::both(
    "SELECT id, outcome, log_bytes FROM attempts WHERE id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))",
    &[Kind::Text],
);

/// What matters of an attempt to who keeps its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    /// The attempt.
    pub attempt: AttemptId,
    /// Whether it is over.
    pub has_ended: bool,
    /// Bytes of output that it printed, once it is over.
    pub log_bytes: i64,
}

impl Reader {
    /// The attempts that there ever were since the last restore, be they gone: behind the first of these up to the second.
    /// Numbers of before may be those of the state that was moved aside. Of a store that is a SQLite file.
    pub async fn attempts_since_restore(&self) -> Result<(AttemptId, AttemptId)> {
        let row = self.db.optional(&NEWEST, &[]).await?;
        let newest = row.map_or(Ok(0), |row| row.get(0))?;
        Ok((AttemptId(ids::of_restore(newest)), AttemptId(newest)))
    }

    /// What became of those attempts that are still known, in any order.
    pub async fn fates(&self, attempts: &[AttemptId]) -> Result<Vec<Fate>> {
        let read = |row: &Row| {
            Ok(Fate {
                attempt: AttemptId(row.get(0)?),
                has_ended: row.optional_text(1)?.is_some(),
                log_bytes: row.get(2)?,
            })
        };
        let ids = page::numbers(Some(attempts), |id| id.0);
        self.db.rows(&FATES, &args![ids]).await?.iter().map(read).collect()
    }

    /// Attempts that have not ended, of `worker` and of those that are gone, behind the id `after`.
    pub async fn open_attempts(
        &self,
        worker: WorkerId,
        after: AttemptId,
        limit: usize,
    ) -> Result<Vec<OpenAttempt>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let read = |row: &Row| {
            let (pid, ticks, boot): (Option<i64>, Option<i64>, Option<String>) =
                (row.get(3)?, row.get(4)?, row.get(5)?);
            let process = match (pid.and_then(|pid| i32::try_from(pid).ok()), ticks, boot) {
                (Some(pid), Some(ticks), Some(boot)) => Some((pid, ticks, boot)),
                _ => None,
            };
            Ok(OpenAttempt {
                attempt: AttemptId(row.get(0)?),
                job: JobId(row.get(1)?),
                worker: WorkerId(row.get(6)?),
                cookie: row.get(2)?,
                process,
            })
        };
        self.db.rows(&OPEN, &args![after.0, limit, worker.0]).await?.iter().map(read).collect()
    }

    /// A page of a job's attempts, the first one first; `after` is the number of the last one seen.
    pub async fn attempts(&self, job: JobId, after: i64, limit: usize) -> Result<Page<Attempt>> {
        let rows = self.db.rows(&OF_JOBS, &args![job.0, after, page::one_more(limit)]).await?;
        let read = |row: &Row| attempt_from(row).map(|attempt| (attempt.number.to_string(), attempt));
        Ok(Page::cut(rows.iter().map(read).collect::<Result<_>>()?, limit))
    }

    /// The newest attempt of each of the jobs that has one.
    pub async fn last_attempts(&self, jobs: &[JobId]) -> Result<Vec<Attempt>> {
        let ids = page::numbers(Some(jobs), |id| id.0);
        self.db.rows(&LAST_OF_JOBS, &args![ids]).await?.iter().map(attempt_from).collect()
    }

    /// The attempt, if it exists.
    pub async fn attempt(&self, id: AttemptId) -> Result<Option<Attempt>> {
        let ids = page::numbers(Some(&[id]), |id| id.0);
        self.db.optional(&BY_ID, &args![ids]).await?.map(|row| attempt_from(&row)).transpose()
    }

    /// The attempt with this number of the job.
    pub async fn attempt_by_number(&self, job: JobId, number: i32) -> Result<Option<Attempt>> {
        self.db.optional(&BY_NUMBER, &args![job.0, number]).await?.map(|row| attempt_from(&row)).transpose()
    }

    /// The attempts that the worker runs now.
    pub async fn running_attempts(&self, worker: WorkerId) -> Result<Vec<Attempt>> {
        self.db.rows(&OF_WORKER, &args![worker.0]).await?.iter().map(attempt_from).collect()
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] =
    &[&SPAWNED, &OPEN, &OF_JOBS, &LAST_OF_JOBS, &BY_ID, &BY_NUMBER, &OF_WORKER, &NEWEST, &FATES];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::attempt::Failure;

    #[test]
    fn a_failure_reads_back_from_its_text() {
        let failure = Failure {
            outcome: AttemptOutcome::Exited,
            message: "exit code 3".to_owned(),
            exit_code: Some(3),
            signal: None,
            error_line: Some("boom \u{fffd}".to_owned()),
            is_retryable: true,
        };
        let text = crate::store::jobs::text(&failure);
        assert_eq!(serde_json::from_str::<Failure>(&text).unwrap(), failure);
    }
}
