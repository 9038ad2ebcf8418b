//! Owns the numbers: ids and event numbers are drawn before the insert and never given twice.
//!
//! On SQLite the one writer remembers the last number and writes it back in the transaction that uses it.
//! On PostgreSQL several daemons draw from sequences, ids in blocks.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::db::{Db, Kind, Sql, Tx};
use super::fault::{Fault, Result};
use crate::args;

/// What is numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbered {
    /// Jobs.
    Job,
    /// Attempts.
    Attempt,
    /// Tasks.
    Task,
    /// Schedules.
    Schedule,
    /// Queues.
    Queue,
    /// Workers.
    Worker,
    /// Tokens.
    Token,
    /// Incidents.
    Incident,
    /// Events; drawn by the events' own statement.
    Event,
}

const KINDS: [Numbered; 9] = [
    Numbered::Job,
    Numbered::Attempt,
    Numbered::Task,
    Numbered::Schedule,
    Numbered::Queue,
    Numbered::Worker,
    Numbered::Token,
    Numbered::Incident,
    Numbered::Event,
];

impl Numbered {
    /// As the table of counters has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Numbered::Job => "job",
            Numbered::Attempt => "attempt",
            Numbered::Task => "task",
            Numbered::Schedule => "schedule",
            Numbered::Queue => "queue",
            Numbered::Worker => "worker",
            Numbered::Token => "token",
            Numbered::Incident => "incident",
            Numbered::Event => "event",
        }
    }

    /// How many numbers one draw from the sequence gives: its INCREMENT in the migration.
    fn block(self) -> i64 {
        match self {
            Numbered::Job | Numbered::Attempt => 100,
            _ => 1,
        }
    }
}

const LAST: Sql = Sql::both("SELECT value FROM counters WHERE name = $1", &[Kind::Text]);

const KEEP: Sql = Sql::both(
    "INSERT INTO counters (name, value)
     SELECT r.value ->> 'name', CAST(r.value ->> 'value' AS BIGINT) FROM jsonb_each($1) AS r WHERE TRUE
     ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    &[Kind::Text],
);

const DRAW: Sql = Sql::each(
    // Never run on SQLite, where the writer remembers; it stands here so that both can be prepared.
    "SELECT value FROM counters WHERE name = $1",
    "SELECT nextval(CAST($1 || '_number' AS regclass))",
    &[Kind::Text],
);

// Sequences are behind no number that was given: the next block begins one increment above it.
const CONTINUE: Sql = Sql::each(
    // Never run on SQLite, whose counters are the truth.
    "SELECT value FROM counters WHERE name IN (SELECT atom FROM jsonb_each($1))",
    "SELECT setval(CAST(name || '_number' AS regclass), value) FROM counters
     WHERE value > 0 AND name IN (SELECT atom FROM jsonb_each($1))",
    &[Kind::Text],
);

/// Sets the sequences of PostgreSQL behind the counters that came from SQLite. A rollback does not undo it.
pub(super) async fn continue_sequences(tx: &mut Tx) -> Result<()> {
    let names = json!(KINDS.map(Numbered::name)).to_string();
    tx.rows(&CONTINUE, &args![names]).await.map(drop)
}

const ALL_LAST: Sql = Sql::both("SELECT name, value FROM counters", &[]);

/// Numbers that a restored store leaves free.
const RESTORE_STEP: i64 = 1_000_000_000;

/// The last number that the restore left free behind which this one was given; zero when there was none.
pub(super) fn of_restore(number: i64) -> i64 {
    number / RESTORE_STEP * RESTORE_STEP
}

/// The last number of each kind in a file.
pub(super) async fn last_numbers(db: &Db) -> Result<HashMap<String, i64>> {
    let rows = db.rows(&ALL_LAST, &[]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Goes on at the next thousand million above every number that was given, `given` included, so that none is ever given
/// to something else. Events go on without a hole: the store's new name tells their cursors apart.
pub(super) async fn skip_ahead(tx: &mut Tx, given: &HashMap<String, i64>) -> Result<()> {
    let mut rows = Vec::new();
    for kind in KINDS.into_iter().filter(|kind| *kind != Numbered::Event) {
        let row = tx.optional(&LAST, &args![kind.name()]).await?;
        let own = row.map_or(Ok(0), |row| row.get::<i64>(0))?;
        let last = own.max(given.get(kind.name()).copied().unwrap_or(0));
        rows.push(json!({"name": kind.name(), "value": (last / RESTORE_STEP + 1) * RESTORE_STEP}));
    }
    tx.execute(&KEEP, &args![Value::Array(rows).to_string()]).await.map(drop)
}

#[derive(Debug, Clone, Copy, Default)]
struct Block {
    next: i64,
    end: i64,
}

/// The numbers at hand. Part of the writer; thrown away and read anew after a failed transaction.
#[derive(Debug, Default)]
pub struct Ids {
    blocks: [Block; KINDS.len()],
    is_drawn: [bool; KINDS.len()],
}

impl Ids {
    /// The next number of its kind.
    pub async fn draw(&mut self, tx: &mut Tx, kind: Numbered) -> Result<i64> {
        let block = &mut self.blocks[kind as usize];
        if block.next == block.end {
            *block = if tx.is_sqlite() {
                let row = tx.optional(&LAST, &args![kind.name()]).await?;
                let last = row.map_or(Ok(0), |row| row.get::<i64>(0))?;
                Block { next: last + 1, end: i64::MAX }
            } else {
                let row = tx.optional(&DRAW, &args![kind.name()]).await?;
                let first: i64 = row.ok_or_else(|| Fault::bug("a sequence gave no number"))?.get(0)?;
                Block { next: first, end: first + kind.block() }
            };
        }
        let number = block.next;
        block.next += 1;
        self.is_drawn[kind as usize] = true;
        Ok(number)
    }

    /// One number outside of any batch, for the store's own beginnings.
    pub async fn draw_and_keep(mut self, tx: &mut Tx, kind: Numbered) -> Result<i64> {
        let number = self.draw(tx, kind).await?;
        self.keep(tx).await?;
        Ok(number)
    }

    /// Writes the last numbers back, on SQLite.
    pub async fn keep(&mut self, tx: &mut Tx) -> Result<()> {
        if !tx.is_sqlite() || !self.is_drawn.contains(&true) {
            return Ok(());
        }
        let drawn = KINDS.into_iter().filter(|kind| self.is_drawn[*kind as usize]);
        let rows: Vec<_> = drawn
            .map(|kind| json!({"name": kind.name(), "value": self.blocks[kind as usize].next - 1}))
            .collect();
        tx.execute(&KEEP, &args![Value::Array(rows).to_string()]).await?;
        self.is_drawn = [false; KINDS.len()];
        Ok(())
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&LAST, &ALL_LAST, &KEEP, &DRAW, &CONTINUE];
