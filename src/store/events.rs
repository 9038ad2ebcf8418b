//! Owns the event rows: written last in each transaction, read in pages from a cursor.

use std::net::IpAddr;

use super::db::{Kind, Row, Rows, Sql, Tx, Value};
use super::fault::{Fault, Result};
use super::ids::{Ids, Numbered};
use super::{Reader, page};
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::access::Sight;
use crate::domain::event::{Event, EventCursor, EventType, NewEvent};
use crate::domain::filter::EventFilter;
use crate::domain::id::JobId;
use crate::domain::scalars::Json;

/// An event as it is stored: what it says is still text.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// Its number.
    pub seq: i64,
    /// What kind of fact.
    pub kind: EventType,
    /// When it was committed.
    pub at: Timestamp,
    /// Who caused it.
    pub actor: String,
    /// Address that it was asked from.
    pub peer: Option<String>,
    /// Global id of the thing it is about.
    pub subject_id: Option<String>,
    /// The job it concerns.
    pub job_id: Option<JobId>,
    /// Name of the task it concerns.
    pub task_name: Option<String>,
    /// Name of the queue it concerns.
    pub queue_name: Option<String>,
    /// What changed, a JSON object.
    pub data: String,
}

impl StoredEvent {
    /// The event, in the store of this epoch.
    pub fn read(self, epoch: u32) -> Result<Event> {
        let seq = self.seq;
        let data = serde_json::from_str(&self.data);
        Ok(Event {
            cursor: EventCursor { epoch, seq },
            kind: self.kind,
            at: self.at,
            actor: self.actor,
            peer: self.peer,
            subject_id: self.subject_id,
            job_id: self.job_id,
            task_name: self.task_name,
            queue_name: self.queue_name,
            data: Json(data.map_err(|_| Fault::unreadable("the data of an event", seq))?),
        })
    }
}

/// The events of a transaction.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Their numbers.
    pub(super) seqs: Vec<i64>,
    /// They themselves, when somebody follows.
    pub(super) followed: Vec<StoredEvent>,
}

/// Takes the advisory lock that orders the numbers of all PostgreSQL writers.
macro_rules! event_lock {
    () => {
        "WITH l AS MATERIALIZED (SELECT pg_advisory_xact_lock(18653495083943169))"
    };
}

// On SQLite the rows bring their numbers; on PostgreSQL these are drawn under the lock, taken in the same statement: a
// reader who saw n never later finds one below it. User JSON travels as a text: PostgreSQL would reorder its keys.
const INSERT: Sql = Sql::each_row(
    "INSERT INTO events (seq, kind, at_us, actor, subject, job_id, task_name, queue, data, peer)
     VALUES ($1, $2, $10, $3, $4, $5, $6, $7, $8, $9)",
    concat!(
        event_lock!(),
        " INSERT INTO events (seq, kind, at_us, actor, subject, job_id, task_name, queue, data, peer)
     SELECT nextval('event_number'), r.kind, $10, r.actor, r.subject, r.job_id, r.task_name, r.queue, r.data, r.peer
     FROM l, unnest($1, $2, $3, $4, $5, $6, $7, $8, $9)
             AS r (seq, kind, actor, subject, job_id, task_name, queue, data, peer)
     RETURNING seq"
    ),
    &[
        Kind::Int,
        Kind::Text,
        Kind::Text,
        Kind::Text,
        Kind::Int,
        Kind::Text,
        Kind::Text,
        Kind::Text,
        Kind::Text,
    ],
    &[Kind::Int],
);

/// Writes the events, and gives them with their numbers, in order.
pub(super) async fn write(
    tx: &mut Tx,
    ids: &mut Ids,
    now: Timestamp,
    events: Vec<(NewEvent, Option<IpAddr>)>,
    is_followed: bool,
) -> Result<Written> {
    if events.is_empty() {
        return Ok(Written::default());
    }
    let count = events.len();
    let (mut rows, mut seqs, mut followed) = (Rows::default(), Vec::new(), Vec::new());
    for (event, peer) in events {
        if tx.is_sqlite() {
            seqs.push(ids.draw(tx, Numbered::Event).await?);
        }
        let event = StoredEvent {
            seq: seqs.last().copied().unwrap_or_default(),
            kind: event.kind,
            at: now,
            actor: event.actor,
            peer: peer.map(|peer| peer.to_string()),
            subject_id: event.subject_id,
            job_id: event.job_id,
            task_name: event.task_name,
            queue_name: event.queue_name,
            data: event.data.into_text(),
        };
        if is_followed {
            followed.push(event.clone());
        }
        rows.push(args![
            event.seq,
            Value::Word(event.kind.word()),
            event.actor,
            event.subject_id,
            event.job_id.map(|id| id.0),
            event.task_name,
            event.queue_name,
            event.data,
            event.peer,
        ]);
    }
    let beside = args![now.0];
    if tx.is_sqlite() {
        tx.execute_each(&INSERT, rows, &beside).await?;
        return Ok(Written { seqs, followed });
    }
    let returned = tx.rows_of_each(&INSERT, rows, &beside).await?;
    let mut seqs = returned.iter().map(|row| row.get::<i64>(0)).collect::<Result<Vec<_>>>()?;
    // No order of RETURNING is promised; the numbers rise in the order of the rows.
    seqs.sort_unstable();
    if seqs.len() != count {
        return Err(Fault::bug("not every event was written"));
    }
    followed.iter_mut().zip(&seqs).for_each(|(event, seq)| event.seq = *seq);
    Ok(Written { seqs, followed })
}

const NEWEST: Sql = Sql::both("SELECT coalesce(max(seq), 0) FROM events", &[]);

const OLDEST: Sql = Sql::both("SELECT coalesce(min(seq), 0) FROM events", &[]);

// On PostgreSQL under the lock: without it the last number could be that of an event not committed yet.
const LAST_NUMBER: Sql = Sql::each(
    "SELECT coalesce(max(value), 0) FROM counters WHERE name = 'event'",
    concat!(event_lock!(), " SELECT coalesce(pg_sequence_last_value('event_number'), 0) FROM l"),
    &[],
);

const AFTER: Sql = Sql::both(
    concat!(
        "SELECT seq, kind, at_us, actor, subject, job_id, task_name, data, peer, queue
     FROM events
     WHERE seq > $1
       AND ($2 IS NULL OR kind IN (SELECT atom FROM jsonb_each($2)))
       AND ($3 IS NULL OR job_id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($3)))
       AND ($4 IS NULL OR task_name IN (SELECT atom FROM jsonb_each($4)))
       AND ($5 IS NULL OR queue IN (SELECT atom FROM jsonb_each($5)))
       AND ",
        page::has_labels!("events.job_id", "$6"),
        "
       AND seq <= $7
       AND ($9 IS NULL OR EXISTS (
            SELECT 1 FROM jobs WHERE jobs.id = events.job_id AND jobs.token_id = $9))
       AND ($10 = 0 OR kind <> 'TOKEN_CHANGED')
     ORDER BY seq
     LIMIT $8"
    ),
    &[
        Kind::Int,
        Kind::Text,
        Kind::Text,
        Kind::Text,
        Kind::Text,
        Kind::Text,
        Kind::Int,
        Kind::Int,
        Kind::Int,
        Kind::Int,
    ],
);

/// Events that a page may look through under a filter, so that a rare match never holds up a reader.
const LOOK_AHEAD: i64 = 20_000;

/// A page of the feed, its events read or as they are stored.
#[derive(Debug, Clone)]
pub struct EventPage<E = Event> {
    /// The events that fit the filter, oldest first.
    pub events: Vec<E>,
    /// Everything up to here has been looked at.
    pub seen: i64,
    /// Whether more can be read at once.
    pub has_more: bool,
}

impl EventPage<StoredEvent> {
    /// The page with its events read, in the store of this epoch.
    pub fn read(self, epoch: u32) -> Result<EventPage> {
        let EventPage { events, seen, has_more } = self;
        let events = events.into_iter().map(|event| event.read(epoch)).collect::<Result<Vec<_>>>()?;
        Ok(EventPage { events, seen, has_more })
    }
}

impl Reader {
    /// Number of the newest event, 0 in an empty feed.
    pub async fn newest_event(&self) -> Result<i64> {
        let kept: i64 = page::one(self.db.optional(&NEWEST, &[]).await?)?.get(0)?;
        if kept > 0 {
            return Ok(kept);
        }
        // After a purge of everything the numbers still go on.
        page::one(self.db.optional(&LAST_NUMBER, &[]).await?)?.get(0)
    }

    /// Number of the oldest event that is kept, 0 in an empty feed.
    pub async fn oldest_event(&self) -> Result<i64> {
        page::one(self.db.optional(&OLDEST, &[]).await?)?.get(0)
    }

    /// Events behind `after` up to and with `newest`, at most `limit`.
    pub async fn events_after(
        &self,
        after: i64,
        newest: i64,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<EventPage> {
        self.stored_events_after(after, newest, filter, limit).await?.read(self.epoch)
    }

    /// The same, as they are stored.
    pub async fn stored_events_after(
        &self,
        after: i64,
        newest: i64,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<EventPage<StoredEvent>> {
        let until = newest.min(after.saturating_add(LOOK_AHEAD));
        let limit_rows = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self
            .db
            .rows(
                &AFTER,
                &args![
                    after,
                    page::words(filter.types.as_deref(), |kind| kind.word().to_owned()),
                    page::numbers(filter.job_ids.as_deref(), |id| id.0),
                    page::words(filter.tasks.as_deref(), Clone::clone),
                    page::words(filter.queues.as_deref(), Clone::clone),
                    page::labels(filter.labels.as_deref()),
                    until,
                    limit_rows,
                    filter.sight.own().map(|token| token.0),
                    i64::from(filter.sight != Sight::All),
                ],
            )
            .await?;
        let events = rows.iter().map(stored_event).collect::<Result<Vec<_>>>()?;
        let is_full = events.len() == limit;
        let seen = events.last().filter(|_| is_full).map_or(until.max(after), |event| event.seq);
        Ok(EventPage { events, seen, has_more: seen < newest })
    }
}

fn stored_event(row: &Row) -> Result<StoredEvent> {
    let seq: i64 = row.get(0)?;
    Ok(StoredEvent {
        seq,
        kind: EventType::from_word(row.text(1)?)
            .ok_or_else(|| Fault::unreadable("the kind of an event", seq))?,
        at: Timestamp(row.get(2)?),
        actor: row.get(3)?,
        peer: row.get(8)?,
        subject_id: row.get(4)?,
        job_id: row.get::<Option<i64>>(5)?.map(JobId),
        task_name: row.get(6)?,
        queue_name: row.get(9)?,
        data: row.get(7)?,
    })
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&INSERT, &NEWEST, &OLDEST, &LAST_NUMBER, &AFTER];
