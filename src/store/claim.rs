//! Owns the claim: the best jobs that may start go to a worker, with an attempt that is committed before the
//! process is spawned. Limits are counted from rows in the claim's own transaction.

use std::collections::{HashMap, HashSet};

use serde_json::json;

use super::db::{Kind, Rows, Sql};
use super::dependencies;
use super::expiry::expire;
use super::fault::Result;
use super::ids::Numbered;
use super::job_columns::{JOB_COLUMNS, job_columns, job_from};
use super::jobs;
use super::offer::{Offer, Worker};
use super::room::{ROOM, Rooms, take_best};
use super::transition::{job_event, promote};
use super::writer::{Batch, Change, Outcome};
use super::{Reader, keys, page, placement};
use crate::args;
use crate::base::clock::Timestamp;
use crate::base::points;
use crate::domain::event::{EventData, EventType};
use crate::domain::id::{AttemptId, JobId, WorkerId};
use crate::domain::job::{Job, JobState};
use crate::domain::queue::QueueRoom;
use crate::domain::trace::TraceContext;

/// Jobs that one claim promotes, and that it lets expire: bounds the transaction when very many become due at once.
const PROMOTE_MAX: usize = 1_000;

/// Takes the best jobs that may start.
#[derive(Debug)]
pub struct Claim {
    /// Who takes them.
    pub worker: WorkerId,
    /// How many at most: its free slots.
    pub slots: usize,
    /// Names of the environment cookies, one for each slot: random, so that nobody can guess them.
    pub cookies: Vec<String>,
}

/// A job that was taken.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The job as it stands now.
    pub job: Job,
    /// Its attempt: the lease under which everything of it is written.
    pub attempt: AttemptId,
    /// The attempt's number within the job.
    pub number: i32,
    /// The environment cookie that its processes carry.
    pub cookie: String,
    /// The span that the job was asked from.
    pub asked: Option<TraceContext>,
}

/// Held by all who claim, and by whoever pauses a queue alone: an answered pause is seen by every claim that commits later.
const PAUSE_LOCK: i64 = 0x0042_4541_444C_4504;

// Several daemons count the rows of a queue one after the other: each must see what the one before took. Behind the
// queues the lock of those who claim; it gives no row.
const LOCK_LIMITED: Sql = Sql::each(
    // Never run on SQLite, which has one writer; it stands here so that both can be prepared.
    "SELECT name FROM queues WHERE (concurrency_limit IS NOT NULL OR rate_starts IS NOT NULL) AND $1 <> 0",
    "WITH limited AS (
         SELECT name FROM queues
         WHERE (concurrency_limit IS NOT NULL OR rate_starts IS NOT NULL) AND paused_at_us IS NULL
           AND ((SELECT 1 FROM jobs
                 WHERE state = 'QUEUED' AND gated_at_us IS NULL AND runs_on IS NULL AND jobs.queue = queues.name
                 LIMIT 1) = 1
                OR (SELECT runs_on FROM jobs
                    WHERE state = 'QUEUED' AND gated_at_us IS NULL AND runs_on IS NOT NULL
                    ORDER BY runs_on
                    LIMIT 1) IS NOT NULL)
         ORDER BY name
         FOR NO KEY UPDATE OF queues
     )
     SELECT name FROM limited
     UNION ALL
     SELECT NULL WHERE pg_advisory_xact_lock_shared($1) IS NULL",
    &[Kind::Int],
);

const LOCK_OUT: Sql =
    Sql::each("SELECT count(*) FROM queues WHERE $1 <> 0", "SELECT pg_advisory_xact_lock($1)", &[Kind::Int]);

macro_rules! ready {
    ($id:literal) => {
        concat!(
            " WHERE id = ",
            $id,
            " AND coalesce(state = 'QUEUED', FALSE) AND gated_at_us IS NULL
                AND (start_by_us IS NULL OR started_at_us IS NOT NULL OR start_by_us > $2)"
        )
    };
}

macro_rules! taken_columns {
    () => {
        concat!(job_columns!(), ", CAST(0 AS BIGINT), (SELECT trace FROM job_traces WHERE job_id = jobs.id)")
    };
}

// On SQLite read before they are taken, for there a row that is to be returned costs more than one that is read. On
// PostgreSQL only the change itself knows.
const READY: Sql = Sql::each_row(
    concat!("SELECT ", taken_columns!(), " FROM jobs", ready!("$1")),
    concat!("SELECT ", taken_columns!(), " FROM jobs, unnest($1) AS r (wanted)", ready!("r.wanted")),
    &[Kind::Int],
    &[Kind::Int],
);

macro_rules! take {
    () => {
        "UPDATE jobs
         SET state = 'RUNNING', worker_id = $3, attempt_count = attempt_count + 1,
             started_at_us = coalesce(started_at_us, $2), progress = NULL, output = NULL"
    };
}

// A worker that was taken for dead takes nothing: whoever buries it waits for our commit, or we find it buried.
const TAKE: Sql = Sql::each_row(
    concat!(take!(), ready!("$1")),
    concat!(
        take!(),
        " FROM unnest($1) AS r (wanted)",
        ready!("r.wanted"),
        " AND EXISTS (SELECT 1 FROM workers WHERE workers.id = $3 AND workers.stopped_at_us IS NULL FOR SHARE)
         RETURNING ",
        taken_columns!()
    ),
    &[Kind::Int],
    &[Kind::Int, Kind::Int],
);

const INSERT_ATTEMPTS: Sql = Sql::each_row(
    "INSERT INTO attempts (id, job_id, attempt_number, cookie, worker_id, started_at_us, log_bytes, dropped_log_bytes)
     VALUES ($1, $2, $3, $4, $5, $6, 0, 0)",
    "INSERT INTO attempts (id, job_id, attempt_number, cookie, worker_id, started_at_us, log_bytes, dropped_log_bytes)
     SELECT r.id, r.job_id, r.attempt_number, r.cookie, $5, $6, 0, 0
     FROM unnest($1, $2, $3, $4) AS r (id, job_id, attempt_number, cookie)",
    &[Kind::Int, Kind::Int, Kind::Int, Kind::Text],
    &[Kind::Int, Kind::Int],
);

const FORGET_STARTS: Sql =
    Sql::both("DELETE FROM queue_starts WHERE queue = $1 AND started_at_us <= $2", &[Kind::Text, Kind::Int]);

const COUNT_STARTS: Sql = Sql::both(
    "INSERT INTO queue_starts (attempt_id, queue, started_at_us)
     SELECT CAST(r.value ->> 'attempt' AS BIGINT), r.value ->> 'queue', $2 FROM jsonb_each($1) AS r",
    &[Kind::Text, Kind::Int],
);

impl Change for Claim {
    type Answer = Vec<Claimed>;

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<Vec<Claimed>> {
        assert!(self.cookies.len() >= self.slots, "each slot needs a cookie");
        jobs::write_pending(batch).await?;
        expire(batch, PROMOTE_MAX).await?;
        // What an end lets go may be claimed at once.
        dependencies::resume(batch).await?;
        dependencies::settle(batch).await?;
        promote(batch, PROMOTE_MAX).await?;
        keys::settle(batch).await?;
        let mut cookies = self.cookies.iter().cloned();
        let mut cookie = || cookies.next().expect("there is one for each slot");
        Ok(take(batch, self.worker, self.slots, &mut cookie).await?)
    }
}

/// Claims what the batch brought, and what places that become free with it have waited for, as far as the worker of
/// this process offers places. What has become due since the dispatcher's last look is left to its next one. Gives
/// whether there may be more than it took.
pub(super) async fn for_worker(
    batch: &mut Batch<'_>,
    worker: &dyn Worker,
    offer: &mut Option<Box<dyn Offer>>,
) -> Result<bool> {
    // They may let a job in.
    jobs::write_pending(batch).await?;
    dependencies::settle(batch).await?;
    keys::settle(batch).await?;
    if !batch.has_work && batch.vacated_count == 0 {
        return Ok(false);
    }
    let Some(offered) = worker.offer(batch.vacated_count) else { return Ok(true) };
    let offered = offer.insert(offered);
    let (worker, slots) = (offered.worker(), offered.slots());
    let mut cookie = || offered.cookie();
    let claimed = take(batch, worker, slots, &mut cookie).await?;
    let has_left = claimed.len() >= slots;
    offered.list(claimed);
    points::reach("claim.listed");
    Ok(has_left)
}

/// Waits for the claims of other daemons that go on, and holds up new ones until the end of the transaction.
pub(super) async fn lock_out(batch: &mut Batch<'_>) -> Result<()> {
    if !batch.tx.is_sqlite() {
        batch.tx.rows(&LOCK_OUT, &args![PAUSE_LOCK]).await?;
    }
    Ok(())
}

/// Takes the best jobs that may start, so many at most, each with a cookie.
async fn take(
    batch: &mut Batch<'_>,
    worker: WorkerId,
    slots: usize,
    cookie: &mut (dyn FnMut() -> String + Send),
) -> Result<Vec<Claimed>> {
    let (ids, rooms) = best(batch, worker, slots).await?;
    // When a rate allows the next start is for the dispatcher to see.
    batch.needs_look |= rooms.iter().any(|room| room.rate.is_some());
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let order: HashMap<i64, usize> = ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
    let mut taken = begin(batch, worker, &ids).await?;
    points::reach("claim.taken");
    taken.sort_by_key(|(job, _)| order.get(&job.id.0).copied());
    let mut claimed = Vec::with_capacity(taken.len());
    for (job, asked) in taken {
        let attempt = AttemptId(batch.draw(Numbered::Attempt).await?);
        claimed.push(Claimed { number: job.attempt_count, attempt, job, cookie: cookie(), asked });
    }
    record(batch, worker, &claimed).await?;
    count_starts(batch, &claimed, &rooms).await?;
    Ok(claimed)
}

/// Takes the jobs with these ids, as far as they still may start.
async fn begin(
    batch: &mut Batch<'_>,
    worker: WorkerId,
    ids: &[i64],
) -> Result<Vec<(Job, Option<TraceContext>)>> {
    let now = batch.now;
    let wanted: Rows = ids.iter().map(|id| args![*id]).collect();
    let taking = args![now.0, worker.0];
    let is_read_before = batch.tx.is_sqlite();
    let rows = if is_read_before {
        let rows = batch.tx.rows_of_each(&READY, wanted.clone(), &args![now.0]).await?;
        let changed = batch.tx.execute_each(&TAKE, wanted, &taking).await?;
        assert!(changed == rows.len() as u64, "what was read is what is taken");
        rows
    } else {
        batch.tx.rows_of_each(&TAKE, wanted, &taking).await?
    };
    let mut taken = Vec::with_capacity(rows.len());
    for row in &rows {
        // It was checked at the door; what is no trace makes a root.
        let asked = row.optional_text(JOB_COLUMNS + 1)?.and_then(TraceContext::parse);
        let mut job = job_from(row, batch.epoch)?;
        if is_read_before {
            job.begin(now);
        }
        taken.push((job, asked));
    }
    Ok(taken)
}

/// The best jobs that may start, and the rooms that were asked for it.
async fn best(batch: &mut Batch<'_>, worker: WorkerId, slots: usize) -> Result<(Vec<i64>, Vec<QueueRoom>)> {
    let slots = i64::try_from(slots).unwrap_or(i64::MAX);
    let mut held = None;
    if !batch.tx.is_sqlite() {
        let rows = batch.tx.rows(&LOCK_LIMITED, &args![PAUSE_LOCK]).await?;
        held = Some(rows.iter().map(|row| row.get(0)).collect::<Result<HashSet<String>>>()?);
    }
    let found = Rooms::read(&batch.tx.rows(&ROOM, &args![batch.now.0]).await?)?;
    let selectors = match &found.first_selector {
        Some(first) => placement::fitting(batch, worker, first).await?,
        None => Vec::new(),
    };
    let mut rooms = found.queues;
    // A limited queue that got its first job since then is not locked: the next look takes from it.
    let is_free = |room: &QueueRoom| room.concurrency_limit.is_none() && room.rate.is_none();
    rooms.retain(|room| is_free(room) || held.as_ref().is_none_or(|held| held.contains(&room.name)));
    Ok((take_best(batch, &rooms, &selectors, slots).await?, rooms))
}

/// Writes down the starts of the queues that have a rate.
async fn count_starts(batch: &mut Batch<'_>, claimed: &[Claimed], rooms: &[QueueRoom]) -> Result<()> {
    for queue in rooms {
        let Some((_, per)) = queue.rate else { continue };
        let starts: Vec<_> = claimed
            .iter()
            .filter(|one| one.job.queue_name == queue.name)
            .map(|one| json!({"attempt": one.attempt, "queue": queue.name}))
            .collect();
        if starts.is_empty() {
            continue;
        }
        let (now, over) = (batch.now.0, batch.now.plus_millis(-per.millis()).0);
        batch.tx.execute(&FORGET_STARTS, &args![&queue.name, over]).await?;
        batch.tx.execute(&COUNT_STARTS, &args![serde_json::Value::Array(starts).to_string(), now]).await?;
    }
    Ok(())
}

async fn record(batch: &mut Batch<'_>, worker: WorkerId, claimed: &[Claimed]) -> Result<()> {
    let row = |one: &Claimed| args![one.attempt.0, one.job.id.0, one.number, &one.cookie];
    let rows: Rows = claimed.iter().map(row).collect();
    if rows.is_empty() {
        return Ok(());
    }
    batch.tx.execute_each(&INSERT_ATTEMPTS, rows, &args![worker.0, batch.now.0]).await?;
    let actor = worker.to_string();
    for one in claimed {
        batch.count(&one.job.queue_name, JobState::Queued, -1);
        batch.count(&one.job.queue_name, JobState::Running, 1);
        let data = EventData::moved(JobState::Queued, JobState::Running).with("attempt", one.number);
        batch.emit(job_event(EventType::JobStateChanged, &one.job, &actor, data));
        let data =
            EventData::of("attempt", one.number).with("worker", worker).with("id", one.attempt.to_string());
        batch.emit(job_event(EventType::AttemptStarted, &one.job, &actor, data));
    }
    Ok(())
}

/// What the dispatcher sees when it looks at the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// Whether a claim of the worker would take a job now, were a slot free, or something has become due.
    pub has_work: bool,
    /// When the next waiting job becomes due, or expires, or the rate of a queue allows the next start.
    pub next_due: Option<Timestamp>,
}

// What the clock brings next, in one look: a waiting job becomes due, one expires; and whether ends are unfinished.
const NEXT: Sql = Sql::both(
    "SELECT (SELECT run_at_us FROM jobs WHERE state IN ('SCHEDULED', 'RETRYING') ORDER BY run_at_us, id LIMIT 1),
            (SELECT start_by_us FROM jobs
             WHERE start_by_us IS NOT NULL AND started_at_us IS NULL AND state IN ('SCHEDULED', 'QUEUED')
             ORDER BY start_by_us, id
             LIMIT 1),
            (SELECT job_id FROM dependency_ends LIMIT 1)",
    &[],
);

const STOPS: Sql = Sql::both(
    "SELECT id FROM jobs WHERE state = 'RUNNING' AND worker_id = $1 AND stop_requested_at_us IS NOT NULL",
    &[Kind::Int],
);

impl Reader {
    /// Whether a claim of the worker may find something, without writing.
    pub async fn outlook(&self, worker: WorkerId, now: Timestamp) -> Result<Outlook> {
        let next = page::one(self.db.optional(&NEXT, &[]).await?)?;
        let at = |column| -> Result<_> { Ok(next.get::<Option<i64>>(column)?.map(Timestamp)) };
        // Ends whose dependants were not all looked at: the next claim goes on.
        let unfinished = next.get::<Option<i64>>(2)?.map(|_| now);
        let mut next_due = [at(0)?, at(1)?, unfinished].into_iter().flatten().min();
        let mut has_room = false;
        for queue in self.queue_rooms(worker, now).await? {
            has_room |= queue.room(1) > 0;
            if queue.by_rate() == Some(0) {
                let until = self.rate_until(&queue, now).await?;
                next_due = [next_due, until].into_iter().flatten().min();
            }
        }
        Ok(Outlook { has_work: has_room || next_due.is_some_and(|due| due <= now), next_due })
    }

    /// Running jobs of the worker that somebody asked to stop.
    pub async fn requested_stops(&self, worker: WorkerId) -> Result<Vec<JobId>> {
        let rows = self.db.rows(&STOPS, &args![worker.0]).await?;
        rows.iter().map(|row| row.get(0).map(JobId)).collect()
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[
    &LOCK_LIMITED,
    &LOCK_OUT,
    &READY,
    &TAKE,
    &INSERT_ATTEMPTS,
    &FORGET_STARTS,
    &COUNT_STARTS,
    &NEXT,
    &STOPS,
];
