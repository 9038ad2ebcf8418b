//! Owns the sink rows: how far each sink has been told the feed, and the dead letters. The feed itself is the outbox.
//! A position moves only from where its mover believes it is: of two daemons one is told that it is late.

use std::time::Duration;

use serde_json::json;

use super::Reader;
use super::db::{Kind, Row, Sql};
use super::fault::{Fault, Result};
use super::page::{self, Page};
use super::workers::millis;
use super::writer::{Batch, Change, Outcome};
use crate::args;
use crate::base::clock::Timestamp;
use crate::base::settings::sinks::SinkKind;
use crate::domain::event::{EventCursor, EventData, EventType, NewEvent};
use crate::domain::id::WorkerId;
use crate::domain::limits::DEAD_LETTERS_MAX;
use crate::domain::rejection::{Rejection, UserErrorCode};
use crate::domain::scalars::BigInt;
use crate::domain::sink::{DeadLetter, Sink, letter, read_letter};

const PUT: Sql = Sql::both(
    "INSERT INTO sinks (name, kind, position, delivered_count, dropped_count, updated_at_us, worker_id)
     SELECT r.value ->> 'name', r.value ->> 'kind', $2, 0, 0, $3, $4 FROM jsonb_each($1) AS r WHERE TRUE
     ON CONFLICT (name) DO UPDATE
     SET kind = excluded.kind, retired_at_us = NULL,
         -- One that is there holds it from here on: nobody takes it for a sink that no settings name.
         worker_id = CASE WHEN EXISTS (
             SELECT 1 FROM workers WHERE workers.id = sinks.worker_id AND workers.stopped_at_us IS NULL)
             THEN sinks.worker_id ELSE excluded.worker_id END",
    &[Kind::Text, Kind::Int, Kind::Int, Kind::Int],
);

const RETIRE: Sql = Sql::both(
    "UPDATE sinks SET retired_at_us = $2
     WHERE retired_at_us IS NULL AND name NOT IN (SELECT r.value ->> 'name' FROM jsonb_each($1) AS r)
       -- Another worker that has it in its settings tells it, or takes it soon after whoever told it has stopped.
       AND (NOT EXISTS (SELECT 1 FROM workers WHERE workers.id <> $3 AND workers.stopped_at_us IS NULL)
            OR NOT EXISTS (
                SELECT 1 FROM workers
                WHERE workers.id = sinks.worker_id
                  AND (workers.stopped_at_us IS NULL OR workers.stopped_at_us > $4)))",
    &[Kind::Text, Kind::Int, Kind::Int, Kind::Int],
);

/// For so long a sink may stand between one worker that told it and the next: several times the longest poll interval.
const BETWEEN: Duration = Duration::from_mins(5);

/// Retires the sinks that are in nobody's settings: from here on the feed keeps nothing for them.
#[derive(Debug)]
pub struct RetireSinks {
    /// The sinks of the worker's own settings.
    pub listed: Vec<String>,
    /// Whose settings they are.
    pub worker: WorkerId,
}

impl Change for RetireSinks {
    type Answer = ();

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<()> {
        let rows = self.listed.iter().map(|name| json!({ "name": name }));
        let rows = serde_json::Value::Array(rows.collect()).to_string();
        retire(batch, &rows, self.worker).await
    }
}

async fn retire(batch: &mut Batch<'_>, listed: &str, worker: WorkerId) -> Outcome<()> {
    let since = batch.now.plus_millis(-millis(BETWEEN)).0;
    batch.tx.execute(&RETIRE, &args![listed, batch.now.0, worker.0, since]).await?;
    Ok(())
}

/// Makes the rows be those of the settings: a new sink begins at the end of the feed, one that is in nobody's settings is
/// retired, and one that comes back goes on where it stood.
#[derive(Debug)]
pub struct ListSinks {
    /// Name and kind of each.
    pub sinks: Vec<(String, SinkKind)>,
    /// The end of the feed.
    pub newest: i64,
    /// Whose settings they are.
    pub worker: WorkerId,
}

impl Change for ListSinks {
    type Answer = ();

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<()> {
        let rows = self.sinks.iter().map(|(name, kind)| json!({"name": name, "kind": kind.word()}));
        let rows = serde_json::Value::Array(rows.collect()).to_string();
        retire(batch, &rows, self.worker).await?;
        let now = batch.now.0;
        batch.tx.execute(&PUT, &args![rows, self.newest, now, self.worker.0]).await?;
        Ok(())
    }
}

const HOLD: Sql = Sql::both(
    // Whoever takes it has it in its settings. After a lapse it may find it retired.
    "UPDATE sinks SET worker_id = $2, retired_at_us = NULL
     WHERE name = $1
       AND (worker_id IS NULL OR worker_id = $2 OR NOT EXISTS (
            SELECT 1 FROM workers WHERE workers.id = sinks.worker_id AND workers.stopped_at_us IS NULL))",
    &[Kind::Text, Kind::Int],
);

/// Makes a worker the one who tells a sink the feed, unless another one that is there does.
#[derive(Debug)]
pub struct HoldSink {
    /// The sink.
    pub name: String,
    /// Who wants to.
    pub worker: WorkerId,
}

impl Change for HoldSink {
    /// Whether it is.
    type Answer = bool;

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<bool> {
        Ok(batch.tx.execute(&HOLD, &args![&self.name, self.worker.0]).await? > 0)
    }
}

const MOVE: Sql = Sql::both(
    "UPDATE sinks
     SET position = $3, delivered_count = delivered_count + $4, dropped_count = dropped_count + $5,
         failing_since_us = $6, failure = $7, updated_at_us = $8
     WHERE name = $1 AND position = $2",
    &[Kind::Text, Kind::Int, Kind::Int, Kind::Int, Kind::Int, Kind::Int, Kind::Text, Kind::Int],
);

const PUT_LETTER: Sql = Sql::both(
    "INSERT INTO dead_letters (sink, event_seq, failure, try_count, created_at_us, payload)
     VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (sink, event_seq) DO UPDATE
     SET failure = excluded.failure, try_count = dead_letters.try_count + excluded.try_count,
         redeliver_at_us = NULL",
    &[Kind::Text, Kind::Int, Kind::Text, Kind::Int, Kind::Int, Kind::Text],
);

const CUT_LETTERS: Sql = Sql::both(
    "DELETE FROM dead_letters
     WHERE sink = $1 AND event_seq IN (
         SELECT event_seq FROM dead_letters WHERE sink = $1 ORDER BY event_seq DESC LIMIT 1000 OFFSET $2)",
    &[Kind::Text, Kind::Int],
);

const COUNT_DROPPED: Sql = Sql::both(
    "UPDATE sinks SET dropped_count = dropped_count + $2 WHERE name = $1",
    &[Kind::Text, Kind::Int],
);

const DELETE_LETTER: Sql =
    Sql::both("DELETE FROM dead_letters WHERE sink = $1 AND event_seq = $2", &[Kind::Text, Kind::Int]);

const POSTPONE: Sql = Sql::both(
    "UPDATE dead_letters SET failure = $3, try_count = try_count + 1, redeliver_at_us = $4
     WHERE sink = $1 AND event_seq = $2 AND redeliver_at_us IS NOT NULL",
    &[Kind::Text, Kind::Int, Kind::Text, Kind::Int],
);

/// A dead letter that was put back and not taken. One that was given up meanwhile stays so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postponed {
    /// The number of its event.
    pub seq: i64,
    /// Why it was not taken.
    pub failure: String,
    /// When it is tried again; never by itself when it was refused.
    pub at: Option<Timestamp>,
}

/// What a sink was told since its position was last written. It states nothing in the feed: a sink that wants every
/// event would never come to its end.
#[derive(Debug, Clone, Default)]
pub struct MoveSink {
    /// The sink.
    pub name: String,
    /// Where the position is.
    pub from: i64,
    /// Where it goes.
    pub to: i64,
    /// Events that were taken.
    pub delivered_count: i64,
    /// Events that the feed had forgotten.
    pub dropped_count: i64,
    /// Since when it takes nothing, and why.
    pub failing: Option<(Timestamp, String)>,
    /// What it would not take.
    pub dead: Vec<DeadLetter>,
    /// Numbers of the dead letters that it took at last.
    pub redelivered: Vec<i64>,
    /// Those that it did not take, and that are tried again later.
    pub postponed: Vec<Postponed>,
}

impl Change for MoveSink {
    /// False when the position is not where it was believed to be; nothing was changed.
    type Answer = bool;

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<bool> {
        let (since, failure) = match &self.failing {
            Some((since, failure)) => (Some(since.0), Some(failure.as_str())),
            None => (None, None),
        };
        let now = batch.now.0;
        let values = args![
            &self.name,
            self.from,
            self.to,
            self.delivered_count,
            self.dropped_count,
            since,
            failure,
            now
        ];
        if batch.tx.execute(&MOVE, &values).await? == 0 {
            return Ok(false);
        }
        for seq in &self.redelivered {
            batch.tx.execute(&DELETE_LETTER, &args![&self.name, *seq]).await?;
        }
        for Postponed { seq, failure, at } in &self.postponed {
            batch.tx.execute(&POSTPONE, &args![&self.name, *seq, failure, at.map(|at| at.0)]).await?;
        }
        for dead in &self.dead {
            let (seq, payload) = (dead.event.cursor.seq, letter(&dead.event).to_string());
            let values = args![&self.name, seq, &dead.failure, dead.try_count, dead.created_at.0, payload];
            batch.tx.execute(&PUT_LETTER, &values).await?;
        }
        if !self.dead.is_empty() {
            let cut = batch.tx.execute(&CUT_LETTERS, &args![&self.name, DEAD_LETTERS_MAX]).await?;
            if cut > 0 {
                let cut = i64::try_from(cut).unwrap_or(i64::MAX);
                batch.tx.execute(&COUNT_DROPPED, &args![&self.name, cut]).await?;
            }
        }
        Ok(true)
    }
}

const EXISTS: Sql = Sql::both("SELECT name FROM sinks WHERE name = $1", &[Kind::Text]);

const REDELIVER: Sql = Sql::both(
    "UPDATE dead_letters SET redeliver_at_us = $3
     WHERE sink = $1 AND ($2 IS NULL OR event_seq IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($2)))",
    &[Kind::Text, Kind::Text, Kind::Int],
);

const DISCARD: Sql = Sql::both(
    "DELETE FROM dead_letters
     WHERE sink = $1 AND ($2 IS NULL OR event_seq IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($2)))",
    &[Kind::Text, Kind::Text],
);

/// What becomes of dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetterAction {
    /// They are put back to be delivered again.
    Redeliver,
    /// They are given up for good.
    Discard,
}

/// Puts dead letters back, or gives them up.
#[derive(Debug)]
pub struct ChangeLetters {
    /// The sink.
    pub sink: String,
    /// Numbers of their events; every one when none are named.
    pub seqs: Option<Vec<i64>>,
    /// What becomes of them.
    pub action: LetterAction,
    /// Who asks.
    pub actor: String,
}

impl Change for ChangeLetters {
    type Answer = ();

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<()> {
        if !page::is_storable(&self.sink) || batch.tx.optional(&EXISTS, &args![&self.sink]).await?.is_none() {
            let message = format!("there is no sink named {}", self.sink);
            return Err(Rejection::at(UserErrorCode::NotFound, "sink", message).into());
        }
        let seqs = page::numbers(self.seqs.as_deref(), |seq| *seq);
        let now = batch.now.0;
        let (word, count) = match self.action {
            LetterAction::Redeliver => {
                ("REDELIVER", batch.tx.execute(&REDELIVER, &args![&self.sink, seqs, now]).await?)
            }
            LetterAction::Discard => ("DISCARD", batch.tx.execute(&DISCARD, &args![&self.sink, seqs]).await?),
        };
        batch.emit(NewEvent {
            kind: EventType::SinkChanged,
            actor: self.actor.clone(),
            subject_id: None,
            job_id: None,
            task_name: None,
            queue_name: None,
            data: EventData::of("sink", &self.sink).with("action", word).with("count", count),
        });
        Ok(())
    }
}

macro_rules! sink_columns {
    () => {
        "name, kind, position, delivered_count, dropped_count, failing_since_us, failure, retired_at_us,
         (SELECT count(*) FROM dead_letters WHERE dead_letters.sink = sinks.name)"
    };
}

const LIST: Sql = Sql::both(concat!("SELECT ", sink_columns!(), " FROM sinks ORDER BY name LIMIT 1000"), &[]);

const BY_NAME: Sql =
    Sql::both(concat!("SELECT ", sink_columns!(), " FROM sinks WHERE name = $1"), &[Kind::Text]);

macro_rules! letter_columns {
    () => {
        "event_seq, failure, try_count, created_at_us, redeliver_at_us, payload"
    };
}

const LETTERS: Sql = Sql::both(
    concat!(
        "SELECT ",
        letter_columns!(),
        " FROM dead_letters WHERE sink = $1 AND event_seq > $2 ORDER BY event_seq LIMIT $3"
    ),
    &[Kind::Text, Kind::Int, Kind::Int],
);

const IS_AGAIN: Sql = Sql::both(
    "SELECT event_seq FROM dead_letters WHERE sink = $1 AND event_seq = $2 AND redeliver_at_us IS NOT NULL",
    &[Kind::Text, Kind::Int],
);

const AGAIN: Sql = Sql::both(
    concat!(
        "SELECT ",
        letter_columns!(),
        " FROM dead_letters WHERE sink = $1 AND redeliver_at_us <= $2 ORDER BY redeliver_at_us, event_seq LIMIT $3"
    ),
    &[Kind::Text, Kind::Int, Kind::Int],
);

fn letter_from(row: &Row) -> Result<DeadLetter> {
    let seq: i64 = row.get(0)?;
    let bad = || Fault::unreadable("a dead letter", seq);
    let payload = serde_json::from_str(&row.get::<String>(5)?).map_err(|_| bad())?;
    Ok(DeadLetter {
        event: read_letter(&payload).ok_or_else(bad)?,
        failure: row.get(1)?,
        try_count: i32::try_from(row.get::<i64>(2)?).unwrap_or(i32::MAX),
        created_at: Timestamp(row.get(3)?),
        redeliver_at: row.get::<Option<i64>>(4)?.map(Timestamp),
    })
}

impl Reader {
    fn sink_from(&self, row: &Row, newest: i64) -> Result<Sink> {
        let name: String = row.get(0)?;
        let kind: String = row.get(1)?;
        let seq: i64 = row.get(2)?;
        Ok(Sink {
            kind: SinkKind::from_word(&kind).ok_or_else(|| Fault::unreadable("the kind of a sink", &name))?,
            position: EventCursor { epoch: self.epoch, seq },
            lag_count: BigInt((newest - seq).max(0)),
            delivered_count: BigInt(row.get(3)?),
            dropped_count: BigInt(row.get(4)?),
            failing_since: row.get::<Option<i64>>(5)?.map(Timestamp),
            failure: row.get(6)?,
            retired_at: row.get::<Option<i64>>(7)?.map(Timestamp),
            dead_letter_count: BigInt(row.get(8)?),
            name,
        })
    }

    /// Every sink that is or was set, by name.
    pub async fn sinks(&self) -> Result<Vec<Sink>> {
        let newest = self.newest_event().await?;
        self.db.rows(&LIST, &[]).await?.iter().map(|row| self.sink_from(row, newest)).collect()
    }

    /// The sink of this name.
    pub async fn sink(&self, name: &str) -> Result<Option<Sink>> {
        if !page::is_storable(name) {
            return Ok(None);
        }
        let newest = self.newest_event().await?;
        let row = self.db.optional(&BY_NAME, &args![name]).await?;
        row.map(|row| self.sink_from(&row, newest)).transpose()
    }

    /// A page of what a sink would not take, the oldest first, behind the number `after`.
    pub async fn dead_letters(&self, sink: &str, after: i64, limit: usize) -> Result<Page<DeadLetter>> {
        let rows = self.db.rows(&LETTERS, &args![sink, after, page::one_more(limit)]).await?;
        let read = |row: &Row| letter_from(row).map(|one| (one.event.cursor.seq.to_string(), one));
        Ok(Page::cut(rows.iter().map(read).collect::<Result<_>>()?, limit))
    }

    /// Whether a dead letter is still to be delivered again: it may have been given up.
    pub async fn is_letter_again(&self, sink: &str, seq: i64) -> Result<bool> {
        Ok(self.db.optional(&IS_AGAIN, &args![sink, seq]).await?.is_some())
    }

    /// What somebody asked to deliver again and is due, what has waited longest for its next try first.
    pub async fn letters_again(&self, sink: &str, now: Timestamp, limit: usize) -> Result<Vec<DeadLetter>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.db.rows(&AGAIN, &args![sink, now.0, limit]).await?.iter().map(letter_from).collect()
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[
    &HOLD,
    &PUT,
    &RETIRE,
    &MOVE,
    &PUT_LETTER,
    &CUT_LETTERS,
    &COUNT_DROPPED,
    &DELETE_LETTER,
    &POSTPONE,
    &IS_AGAIN,
    &EXISTS,
    &REDELIVER,
    &DISCARD,
    &LIST,
    &BY_NAME,
    &LETTERS,
    &AGAIN,
];
