//! Owns the question whom a claim would take: how much room each queue has, and which of its jobs come first. The claim,
//! the dispatcher's outlook and the explanation of why a job waits ask it here, so that they cannot disagree.

use serde_json::{Value, json};

use super::Reader;
use super::db::{Kind, Row, Sql};
use super::fault::Result;
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::duration::Span;
use crate::domain::queue::QueueRoom;

// A clock that was set back by more than a rate's period finds starts of the future: they are no longer counted.
pub(super) const ROOM: Sql = Sql::both(
    "SELECT name, concurrency_limit,
            CASE WHEN concurrency_limit IS NULL THEN 0
                 ELSE (SELECT count(*) FROM jobs WHERE state = 'RUNNING' AND jobs.queue = queues.name) END,
            rate_starts, rate_per_ms,
            CASE WHEN rate_starts IS NULL THEN 0
                 ELSE (SELECT count(*) FROM queue_starts
                       WHERE queue_starts.queue = queues.name
                         AND queue_starts.started_at_us > $1 - queues.rate_per_ms * 1000
                         AND queue_starts.started_at_us <= $1 + queues.rate_per_ms * 1000) END
     FROM queues
     WHERE paused_at_us IS NULL
       AND EXISTS (SELECT 1 FROM jobs
                   WHERE state = 'QUEUED' AND gated_at_us IS NULL AND jobs.queue = queues.name)",
    &[Kind::Int],
);

/// Of each queue its best rows, as many as it has room for, then the best of all. $1 lists the queues with
/// their room; the inner statement walks the head of each queue's part of the claim index and stops.
macro_rules! best_on_postgres {
    ($lock:literal) => {
        concat!(
            "SELECT id FROM (
                 SELECT head.id AS id, head.rank_us AS rank_us,
                        row_number() OVER (PARTITION BY head.queue ORDER BY head.rank_us, head.id) AS place,
                        CAST(room.value ->> 'room' AS BIGINT) AS room
                 FROM jsonb_each($1) AS room,
                      LATERAL (SELECT jobs.id, jobs.rank_us, jobs.queue FROM jobs
                               WHERE jobs.state = 'QUEUED' AND jobs.gated_at_us IS NULL
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

const BEST_ON_SQLITE: &str = "SELECT id FROM (
         SELECT jobs.id AS id, jobs.rank_us AS rank_us,
                row_number() OVER (PARTITION BY jobs.queue ORDER BY jobs.rank_us, jobs.id) AS place,
                CAST(room.value ->> 'room' AS BIGINT) AS room
         FROM jsonb_each($1) AS room
         JOIN jobs ON jobs.id IN (
             SELECT head.id FROM jobs AS head
             WHERE head.state = 'QUEUED' AND head.gated_at_us IS NULL AND head.queue = room.value ->> 'queue'
             ORDER BY head.rank_us, head.id
             LIMIT $2)
     ) AS best
     WHERE place <= room
     ORDER BY rank_us, id
     LIMIT $2";

/// Whom a claim takes.
pub(super) const TAKE_BEST: Sql =
    Sql::each(BEST_ON_SQLITE, best_on_postgres!("FOR UPDATE SKIP LOCKED"), &[Kind::Text, Kind::Int]);

/// Whom a claim would take.
const SEE_BEST: Sql = Sql::each(BEST_ON_SQLITE, best_on_postgres!(""), &[Kind::Text, Kind::Int]);

// The start that has to leave the period before the queue may start the next job.
const RATE_UNTIL: Sql = Sql::both(
    "SELECT started_at_us FROM queue_starts
     WHERE queue = $1 AND started_at_us <= $2
     ORDER BY started_at_us DESC
     LIMIT 1 OFFSET $3",
    &[Kind::Text, Kind::Int, Kind::Int],
);

pub(super) fn room_from(row: &Row) -> Result<QueueRoom> {
    let rate = row.get::<Option<i64>>(3)?.zip(row.get::<Option<i64>>(4)?);
    Ok(QueueRoom {
        name: row.get(0)?,
        concurrency_limit: row.get(1)?,
        running: row.get(2)?,
        rate: rate.map(|(starts, per)| (starts, Span::from_millis(per))),
        recent_starts: row.get(5)?,
    })
}

/// The queues with room as the argument of the `BEST` statements; `None` when there is none.
pub(super) fn rooms_argument(rooms: &[QueueRoom], slots: i64) -> Option<String> {
    let open: Vec<_> = rooms
        .iter()
        .map(|queue| (queue, queue.room(slots)))
        .filter(|(_, room)| *room > 0)
        .map(|(queue, room)| json!({"queue": queue.name, "room": room}))
        .collect();
    (!open.is_empty()).then(|| Value::Array(open).to_string())
}

impl Reader {
    /// The queues that are not paused and in which a job may start but for their limits.
    pub(super) async fn queue_rooms(&self, now: Timestamp) -> Result<Vec<QueueRoom>> {
        self.db.rows(&ROOM, &args![now.0]).await?.iter().map(room_from).collect()
    }

    /// The jobs that a claim of so many slots would take at this moment.
    pub(super) async fn next_to_start(&self, rooms: &[QueueRoom], slots: i64) -> Result<Vec<i64>> {
        let Some(rooms) = rooms_argument(rooms, slots) else { return Ok(Vec::new()) };
        self.db.rows(&SEE_BEST, &args![rooms, slots]).await?.iter().map(|row| row.get(0)).collect()
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
pub(super) const STATEMENTS: &[&Sql] = &[&ROOM, &TAKE_BEST, &SEE_BEST, &RATE_UNTIL];
