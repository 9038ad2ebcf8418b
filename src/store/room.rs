//! Owns the question whom a claim would take: how much room each queue has, and which of its jobs come first. The claim,
//! the dispatcher's outlook and the explanation of why a job waits ask it here, so that they cannot disagree.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::db::{Kind, Row, Sql};
use super::fault::Result;
use super::placement::selectors_argument;
use super::writer::Batch;
use super::{Reader, page};
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::duration::Span;
use crate::domain::id::WorkerId;
use crate::domain::queue::QueueRoom;

// A clock that was set back by more than a rate's period finds starts of the future: they are no longer counted.
//
// Whether jobs wait that ask for labels of a worker is asked once, not for each queue. While there are some, queues are
// told too in which nothing else waits; which of them the worker may take from, its selectors say. All that by
// LIMIT, and not by EXISTS or `min`, for it always goes to the head of the index: no statistics make it read more.
pub(super) const ROOM: Sql = Sql::both(
    "SELECT name, concurrency_limit,
            CASE WHEN concurrency_limit IS NULL THEN 0
                 ELSE (SELECT count(*) FROM jobs WHERE state = 'RUNNING' AND jobs.queue = queues.name) END,
            rate_starts, rate_per_ms,
            CASE WHEN rate_starts IS NULL THEN 0
                 ELSE (SELECT count(*) FROM queue_starts
                       WHERE queue_starts.queue = queues.name
                         AND queue_starts.started_at_us > $1 - queues.rate_per_ms * 1000
                         AND queue_starts.started_at_us <= $1 + queues.rate_per_ms * 1000) END,
            (SELECT runs_on FROM jobs
             WHERE state = 'QUEUED' AND gated_at_us IS NULL AND runs_on IS NOT NULL
             ORDER BY runs_on
             LIMIT 1)
     FROM queues
     WHERE paused_at_us IS NULL
       AND ((SELECT 1 FROM jobs
             WHERE state = 'QUEUED' AND gated_at_us IS NULL AND runs_on IS NULL AND jobs.queue = queues.name
             LIMIT 1) = 1
            OR (SELECT runs_on FROM jobs
                WHERE state = 'QUEUED' AND gated_at_us IS NULL AND runs_on IS NOT NULL
                ORDER BY runs_on
                LIMIT 1) IS NOT NULL)",
    &[Kind::Int],
);

// In which of the queues a job waits that asks for nothing, or for one of the selectors.
const WITH_JOBS: Sql = Sql::both(
    "SELECT queue.atom FROM jsonb_each($1) AS queue
     WHERE (SELECT 1 FROM jobs
            WHERE state = 'QUEUED' AND gated_at_us IS NULL AND runs_on IS NULL AND jobs.queue = queue.atom
            LIMIT 1) = 1
        OR (SELECT 1 FROM jsonb_each($2) AS fit
            WHERE (SELECT 1 FROM jobs
                   WHERE state = 'QUEUED' AND gated_at_us IS NULL AND runs_on = fit.atom AND jobs.queue = queue.atom
                   LIMIT 1) = 1
            LIMIT 1) = 1",
    &[Kind::Text, Kind::Text],
);

/// Of each queue its best rows, as many as it has room for, then the best of all. $1 lists the queues with
/// their room; the inner statement walks the head of each queue's part of the claim index and stops.
macro_rules! best_on_postgres {
    ($lock:literal) => {
        concat!(
            "SELECT id, queue FROM (
                 SELECT head.id AS id, head.queue AS queue, head.rank_us AS rank_us,
                        row_number() OVER (PARTITION BY head.queue ORDER BY head.rank_us, head.id) AS place,
                        CAST(room.value ->> 'room' AS BIGINT) AS room
                 FROM jsonb_each($1) AS room,
                      LATERAL (SELECT jobs.id, jobs.rank_us, jobs.queue FROM jobs
                               WHERE jobs.state = 'QUEUED' AND jobs.gated_at_us IS NULL AND jobs.runs_on IS NULL
                                 AND jobs.queue = room.value ->> 'queue'
                               ORDER BY jobs.rank_us, jobs.id
                               LIMIT $2
                               ",
            $lock,
            ") AS head
             ) AS best
             WHERE place <= room
             ORDER BY rank_us, id
             LIMIT $2"
        )
    };
}

const BEST_ON_SQLITE: &str = "SELECT id, queue FROM (
         SELECT jobs.id AS id, jobs.queue AS queue, jobs.rank_us AS rank_us,
                row_number() OVER (PARTITION BY jobs.queue ORDER BY jobs.rank_us, jobs.id) AS place,
                CAST(room.value ->> 'room' AS BIGINT) AS room
         FROM jsonb_each($1) AS room
         JOIN jobs ON jobs.id IN (
             SELECT head.id FROM jobs AS head
             WHERE head.state = 'QUEUED' AND head.gated_at_us IS NULL AND head.runs_on IS NULL
               AND head.queue = room.value ->> 'queue'
             ORDER BY head.rank_us, head.id
             LIMIT $2)
     ) AS best
     WHERE place <= room
     ORDER BY rank_us, id
     LIMIT $2";

/// The same with the jobs of the selectors $3: of each queue and each of them the head of their part of the index, and
/// a queue's room holds over all of its parts together.
macro_rules! placed_on_postgres {
    ($lock:literal) => {
        concat!(
            "SELECT id, queue FROM (
                 SELECT parts.id AS id, parts.queue AS queue, parts.rank_us AS rank_us, parts.room AS room,
                        row_number() OVER (PARTITION BY parts.queue ORDER BY parts.rank_us, parts.id) AS place
                 FROM (
                     SELECT head.id, head.queue, head.rank_us, CAST(room.value ->> 'room' AS BIGINT) AS room
                     FROM jsonb_each($1) AS room,
                          LATERAL (SELECT jobs.id, jobs.rank_us, jobs.queue FROM jobs
                                   WHERE jobs.state = 'QUEUED' AND jobs.gated_at_us IS NULL
                                     AND jobs.runs_on IS NULL AND jobs.queue = room.value ->> 'queue'
                                   ORDER BY jobs.rank_us, jobs.id
                                   LIMIT $2
                                   ",
            $lock,
            ") AS head
                     UNION ALL
                     SELECT head.id, head.queue, head.rank_us, CAST(room.value ->> 'room' AS BIGINT) AS room
                     FROM jsonb_each($1) AS room, jsonb_each($3) AS fit,
                          LATERAL (SELECT jobs.id, jobs.rank_us, jobs.queue FROM jobs
                                   WHERE jobs.state = 'QUEUED' AND jobs.gated_at_us IS NULL
                                     AND jobs.runs_on = fit.atom AND jobs.queue = room.value ->> 'queue'
                                   ORDER BY jobs.rank_us, jobs.id
                                   LIMIT $2
                                   ",
            $lock,
            ") AS head
                 ) AS parts
             ) AS best
             WHERE place <= room
             ORDER BY rank_us, id
             LIMIT $2"
        )
    };
}

const PLACED_ON_SQLITE: &str = "SELECT id, queue FROM (
         SELECT parts.id AS id, parts.queue AS queue, parts.rank_us AS rank_us, parts.room AS room,
                row_number() OVER (PARTITION BY parts.queue ORDER BY parts.rank_us, parts.id) AS place
         FROM (
             SELECT jobs.id, jobs.queue, jobs.rank_us, CAST(room.value ->> 'room' AS BIGINT) AS room
             FROM jsonb_each($1) AS room
             JOIN jobs ON jobs.id IN (
                 SELECT head.id FROM jobs AS head
                 WHERE head.state = 'QUEUED' AND head.gated_at_us IS NULL AND head.runs_on IS NULL
                   AND head.queue = room.value ->> 'queue'
                 ORDER BY head.rank_us, head.id
                 LIMIT $2)
             UNION ALL
             SELECT jobs.id, jobs.queue, jobs.rank_us, CAST(room.value ->> 'room' AS BIGINT) AS room
             FROM jsonb_each($1) AS room
             JOIN jsonb_each($3) AS fit
             JOIN jobs ON jobs.id IN (
                 SELECT head.id FROM jobs AS head
                 WHERE head.state = 'QUEUED' AND head.gated_at_us IS NULL AND head.runs_on = fit.atom
                   AND head.queue = room.value ->> 'queue'
                 ORDER BY head.rank_us, head.id
                 LIMIT $2)
         ) AS parts
     ) AS best
     WHERE place <= room
     ORDER BY rank_us, id
     LIMIT $2";

/// Whom a claim takes of what any worker may run.
const TAKE_BEST: Sql =
    Sql::each(BEST_ON_SQLITE, best_on_postgres!("FOR UPDATE SKIP LOCKED"), &[Kind::Text, Kind::Int]);

/// Whom a claim takes, with what asks for labels that its worker has.
const TAKE_PLACED: Sql = Sql::each(
    PLACED_ON_SQLITE,
    placed_on_postgres!("FOR UPDATE SKIP LOCKED"),
    &[Kind::Text, Kind::Int, Kind::Text],
);

/// Whom a claim would take.
const SEE_BEST: Sql = Sql::each(BEST_ON_SQLITE, best_on_postgres!(""), &[Kind::Text, Kind::Int]);

/// The same with what asks for labels.
const SEE_PLACED: Sql =
    Sql::each(PLACED_ON_SQLITE, placed_on_postgres!(""), &[Kind::Text, Kind::Int, Kind::Text]);

// The start that has to leave the period before the queue may start the next job.
const RATE_UNTIL: Sql = Sql::both(
    "SELECT started_at_us FROM queue_starts
     WHERE queue = $1 AND started_at_us <= $2
     ORDER BY started_at_us DESC
     LIMIT 1 OFFSET $3",
    &[Kind::Text, Kind::Int, Kind::Int],
);

/// The queues that are not paused.
pub(super) struct Rooms {
    /// Those in which a job may wait that may start but for their limits.
    pub(super) queues: Vec<QueueRoom>,
    /// The first selector of jobs that wait; `None` when all that wait may run anywhere.
    pub(super) first_selector: Option<String>,
}

impl Rooms {
    /// What `ROOM` says.
    pub(super) fn read(rows: &[Row]) -> Result<Rooms> {
        let first_selector = rows.first().map(|row| row.get(6)).transpose()?.flatten();
        Ok(Rooms { queues: rows.iter().map(room_from).collect::<Result<_>>()?, first_selector })
    }
}

fn room_from(row: &Row) -> Result<QueueRoom> {
    let rate = row.get::<Option<i64>>(3)?.zip(row.get::<Option<i64>>(4)?);
    Ok(QueueRoom {
        name: row.get(0)?,
        concurrency_limit: row.get(1)?,
        running: row.get(2)?,
        rate: rate.map(|(starts, per)| (starts, Span::from_millis(per))),
        recent_starts: row.get(5)?,
    })
}

/// Takes for a batch the best jobs of the queues with room, so many at most, which any worker may run or ask for one of
/// the selectors. Their ids, the best first.
pub(super) async fn take_best(
    batch: &mut Batch<'_>,
    rooms: &[QueueRoom],
    selectors: &[String],
    slots: i64,
) -> Result<Vec<i64>> {
    let Some(open) = rooms_argument(rooms, slots) else { return Ok(Vec::new()) };
    let rows = if selectors.is_empty() {
        batch.tx.rows(&TAKE_BEST, &args![open, slots]).await?
    } else {
        batch.tx.rows(&TAKE_PLACED, &args![open, slots, selectors_argument(selectors)]).await?
    };
    rows.iter().map(|row| row.get(0)).collect()
}

/// The queues with room as the argument of the `BEST` statements; `None` when there is none.
fn rooms_argument(rooms: &[QueueRoom], slots: i64) -> Option<String> {
    let open: Vec<_> = rooms
        .iter()
        .map(|queue| (queue, queue.room(slots)))
        .filter(|(_, room)| *room > 0)
        .map(|(queue, room)| json!({"queue": queue.name, "room": room}))
        .collect();
    (!open.is_empty()).then(|| Value::Array(open).to_string())
}

impl Reader {
    /// The queues that are not paused, as a claim sees them.
    pub(super) async fn rooms(&self, now: Timestamp) -> Result<Rooms> {
        Rooms::read(&self.db.rows(&ROOM, &args![now.0]).await?)
    }

    /// The queues in which a job may start on this worker but for their limits.
    pub(super) async fn queue_rooms(&self, worker: WorkerId, now: Timestamp) -> Result<Vec<QueueRoom>> {
        let Rooms { mut queues, first_selector } = self.rooms(now).await?;
        let Some(first) = first_selector else { return Ok(queues) };
        let selectors = selectors_argument(&self.fitting_worker(worker, &first).await?);
        let names = page::words(Some(&queues), |queue| queue.name.clone());
        let rows = self.db.rows(&WITH_JOBS, &args![names, selectors]).await?;
        let with_jobs = rows.iter().map(|row| row.get(0)).collect::<Result<HashSet<String>>>()?;
        queues.retain(|queue| with_jobs.contains(&queue.name));
        Ok(queues)
    }

    /// The jobs that a claim of so many slots would take at this moment with those of the selectors, each with its queue.
    pub(super) async fn next_to_start(
        &self,
        rooms: &[QueueRoom],
        selectors: &[String],
        slots: i64,
    ) -> Result<Vec<(i64, String)>> {
        let Some(rooms) = rooms_argument(rooms, slots) else { return Ok(Vec::new()) };
        let rows = if selectors.is_empty() {
            self.db.rows(&SEE_BEST, &args![rooms, slots]).await?
        } else {
            self.db.rows(&SEE_PLACED, &args![rooms, slots, selectors_argument(selectors)]).await?
        };
        rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
    }

    /// When the rate of the queue allows its next start, counting from `now`.
    pub(super) async fn rate_until(&self, queue: &QueueRoom, now: Timestamp) -> Result<Option<Timestamp>> {
        let Some((starts, per)) = queue.rate else { return Ok(None) };
        let newest = now.plus_millis(per.millis());
        let row = self.db.optional(&RATE_UNTIL, &args![&queue.name, newest.0, starts - 1]).await?;
        let last = row.map(|row| row.get(0).map(Timestamp)).transpose()?;
        Ok(Some(last.unwrap_or(now).plus_millis(per.millis())))
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] =
    &[&ROOM, &WITH_JOBS, &TAKE_BEST, &TAKE_PLACED, &SEE_BEST, &SEE_PLACED, &RATE_UNTIL];
