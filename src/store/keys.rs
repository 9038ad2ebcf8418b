//! Owns the gate of jobs that share a limit. Of the queued jobs of a key only as many stand in the claim's index as
//! may run: the others are gated, and cost a claim nothing however many they are. Who is let in is counted from the
//! rows whenever a job of the key came, went or moved, in the transaction that did it.
//!
//! What holds at each commit: jobs of a key that run and jobs of it that may be claimed are together no more than its
//! limit, unless the limit was lowered while they ran, or they came under the key while they did.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Value, json};

use super::db::{Kind, Sql};
use super::fault::Result;
use super::jobs;
use super::page;
use super::writer::Batch;
use crate::args;
use crate::domain::concurrency::{KeyLimit, LimitKey};

const PUT: Sql = Sql::both(
    "INSERT INTO concurrency_keys (name, job_limit)
     SELECT r.value ->> 'name', CAST(r.value ->> 'limit' AS BIGINT) FROM jsonb_each($1) AS r WHERE TRUE
     ON CONFLICT (name) DO UPDATE SET job_limit = excluded.job_limit",
    &[Kind::Text],
);

// A task's own limit is kept true by each put of the task: a job that was made of an older word brings what the task says
// now, or leaves what is there. On PostgreSQL a put that goes on meanwhile is waited for, or waits for us and sees the key.
macro_rules! put_of_task {
    ($limit:literal, $lock:literal) => {
        concat!(
            "INSERT INTO concurrency_keys (name, job_limit)
             SELECT r.value ->> 'name',
                    coalesce(
                        (SELECT coalesce(CAST(",
            $limit,
            " ->> 'concurrency_limit' AS BIGINT), 2147483647) FROM tasks
                         WHERE tasks.id = CAST(r.value ->> 'task' AS BIGINT)",
            $lock,
            "),
                        CAST(r.value ->> 'limit' AS BIGINT))
             FROM jsonb_each($1) AS r WHERE TRUE
             ON CONFLICT (name) DO UPDATE SET job_limit = concurrency_keys.job_limit"
        )
    };
}

const PUT_OF_TASK: Sql = Sql::each(
    put_of_task!("tasks.definition", ""),
    put_of_task!("CAST(tasks.definition AS JSONB)", " FOR SHARE"),
    &[Kind::Text],
);

const RELIMIT: Sql =
    Sql::both("UPDATE concurrency_keys SET job_limit = $2 WHERE name = $1", &[Kind::Text, Kind::Int]);

/// Taken by whoever lets jobs in, or takes keys away: on PostgreSQL one daemon after the other.
const KEY_LOCK: i64 = 0x0042_4541_444C_4503;

const LOCK: Sql = Sql::each(
    // Never run on SQLite, which has one writer; it stands here so that both can be prepared.
    "SELECT count(*) FROM concurrency_keys WHERE $1 <> 0",
    "SELECT pg_advisory_xact_lock($1)",
    &[Kind::Int],
);

// A queue that is resumed at this moment lets in whom it sees: it must see our jobs, or we that it is resumed.
const LOCK_PAUSED: Sql = Sql::each(
    "SELECT name FROM queues WHERE paused_at_us IS NOT NULL",
    "SELECT name FROM queues WHERE paused_at_us IS NOT NULL ORDER BY name FOR SHARE",
    &[],
);

// One statement, so that a job on its way from the queue to a worker is counted once.
const LOAD: Sql = Sql::both(
    "SELECT k.atom,
            coalesce((SELECT job_limit FROM concurrency_keys WHERE name = k.atom), 1),
            (SELECT count(*) FROM jobs WHERE state = 'RUNNING' AND limit_key = k.atom),
            (SELECT count(*) FROM jobs WHERE state = 'QUEUED' AND limit_key = k.atom AND gated_at_us IS NULL),
            (SELECT count(*) FROM (
                 SELECT 1 FROM jobs
                 WHERE state = 'QUEUED' AND limit_key = k.atom AND gated_at_us IS NOT NULL
                 ORDER BY rank_us, id
                 LIMIT 1) AS gated)
     FROM jsonb_each($1) AS k",
    &[Kind::Text],
);

// Of each key the best that wait in queues that are not paused, as many as the key has room for beside those that
// run. $1 lists the keys with their room.
const BEST_ON_SQLITE: &str =
    "SELECT id, limit_key, gated_at_us FROM (
         SELECT jobs.id AS id, jobs.limit_key AS limit_key, jobs.gated_at_us AS gated_at_us, jobs.rank_us AS rank_us,
                row_number() OVER (PARTITION BY jobs.limit_key ORDER BY jobs.rank_us, jobs.id) AS place,
                CAST(r.value ->> 'room' AS BIGINT) AS room
         FROM jsonb_each($1) AS r
         JOIN jobs ON jobs.id IN (
             SELECT head.id FROM jobs AS head
             WHERE head.state = 'QUEUED' AND head.limit_key = r.value ->> 'key'
               AND NOT EXISTS (SELECT 1 FROM queues WHERE queues.name = head.queue AND paused_at_us IS NOT NULL)
             ORDER BY head.rank_us, head.id
             LIMIT $2)
     ) AS best
     WHERE place <= room
     ORDER BY limit_key, rank_us, id";

macro_rules! best_on_postgres {
    ($lock:literal) => {
        concat!(
            "SELECT id, limit_key, gated_at_us FROM (
                 SELECT head.id AS id, head.limit_key AS limit_key, head.gated_at_us AS gated_at_us,
                        head.rank_us AS rank_us,
                        row_number() OVER (PARTITION BY head.limit_key ORDER BY head.rank_us, head.id) AS place,
                        CAST(r.value ->> 'room' AS BIGINT) AS room
                 FROM jsonb_each($1) AS r,
                      LATERAL (SELECT jobs.id, jobs.limit_key, jobs.gated_at_us, jobs.rank_us FROM jobs
                               WHERE jobs.state = 'QUEUED' AND jobs.limit_key = r.value ->> 'key'
                                 AND NOT EXISTS (
                                     SELECT 1 FROM queues
                                     WHERE queues.name = jobs.queue AND paused_at_us IS NOT NULL)
                               ORDER BY jobs.rank_us, jobs.id
                               LIMIT $2
                               ",
            $lock,
            ") AS head
             ) AS best
             WHERE place <= room
             ORDER BY limit_key, rank_us, id"
        )
    };
}

const BEST: Sql =
    Sql::each(BEST_ON_SQLITE, best_on_postgres!("FOR UPDATE OF jobs SKIP LOCKED"), &[Kind::Text, Kind::Int]);

// The same, and who holds one of them is waited for.
const BEST_WAITING: Sql =
    Sql::each(BEST_ON_SQLITE, best_on_postgres!("FOR UPDATE OF jobs"), &[Kind::Text, Kind::Int]);

const OPEN: Sql = Sql::each(
    "SELECT id, limit_key FROM jobs
     WHERE state = 'QUEUED' AND gated_at_us IS NULL AND limit_key IN (SELECT atom FROM jsonb_each($1))
     ORDER BY id",
    "SELECT id, limit_key FROM jobs
     WHERE state = 'QUEUED' AND gated_at_us IS NULL AND limit_key IN (SELECT atom FROM jsonb_each($1))
     ORDER BY id
     FOR UPDATE SKIP LOCKED",
    &[Kind::Text],
);

const SHUT: Sql = Sql::both(
    "UPDATE jobs SET gated_at_us = $2
     WHERE id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1)) AND coalesce(state = 'QUEUED', FALSE) AND gated_at_us IS NULL",
    &[Kind::Text, Kind::Int],
);

const LET_IN: Sql = Sql::both(
    "UPDATE jobs SET gated_at_us = NULL
     WHERE id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1)) AND coalesce(state = 'QUEUED', FALSE)
       AND gated_at_us IS NOT NULL",
    &[Kind::Text],
);

const OF_QUEUE: Sql = Sql::both(
    "SELECT DISTINCT limit_key FROM jobs WHERE state = 'QUEUED' AND limit_key IS NOT NULL AND queue = $1",
    &[Kind::Text],
);

/// A job of this key came, went or moved.
pub(super) fn touch(batch: &mut Batch<'_>, key: Option<&LimitKey>) {
    batch.touched_keys.extend(key.map(LimitKey::to_string));
}

/// Every key of which a job waits in the queue: it is paused or resumed.
pub(super) async fn touch_queue(batch: &mut Batch<'_>, queue: &str) -> Result<()> {
    jobs::write_pending(batch).await?;
    let rows = batch.tx.rows(&OF_QUEUE, &args![queue]).await?;
    let keys = rows.iter().map(|row| row.get(0)).collect::<Result<Vec<String>>>()?;
    batch.touched_keys.extend(keys);
    Ok(())
}

/// A new job brings its key, with the newest word on the key's limit.
pub(super) fn bring(batch: &mut Batch<'_>, limit: &KeyLimit) {
    let name = limit.key.to_string();
    batch.pending.key_limits.insert(name.clone(), limit.clone());
    batch.touched_keys.insert(name);
}

/// Another limit for a key, as far as jobs have it.
pub(super) async fn relimit(batch: &mut Batch<'_>, key: &LimitKey, limit: i32) -> Result<()> {
    jobs::write_pending(batch).await?;
    if batch.tx.execute(&RELIMIT, &args![key.to_string(), i64::from(limit)]).await? > 0 {
        touch(batch, Some(key));
    }
    Ok(())
}

/// Writes the limits that new jobs brought.
pub(super) async fn write_limits(batch: &mut Batch<'_>) -> Result<()> {
    let limits: BTreeMap<String, KeyLimit> = std::mem::take(&mut batch.pending.key_limits);
    let (of_tasks, given): (Vec<_>, Vec<_>) =
        limits.into_iter().partition(|(_, limit)| matches!(limit.key, LimitKey::Task(_)));
    for (limits, sql) in [(given, &PUT), (of_tasks, &PUT_OF_TASK)] {
        if limits.is_empty() {
            continue;
        }
        let row = |(name, one): (String, KeyLimit)| {
            let task = if let LimitKey::Task(id) = one.key { Some(id.0) } else { None };
            json!({"name": name, "limit": one.limit, "task": task})
        };
        let rows = limits.into_iter().map(row).collect();
        batch.tx.execute(sql, &args![Value::Array(rows).to_string()]).await?;
    }
    Ok(())
}

/// Holds all keys until the end of the transaction, on PostgreSQL, where others may hold them.
pub(super) async fn lock(batch: &mut Batch<'_>) -> Result<()> {
    if !batch.tx.is_sqlite() {
        batch.tx.rows(&LOCK, &args![KEY_LOCK]).await?;
    }
    Ok(())
}

/// How a touched key stands.
struct Key {
    name: String,
    limit: i64,
    running: i64,
    open: i64,
    has_gated: bool,
}

/// Lets in of each touched key whom its limit allows, the best first.
pub(super) async fn settle(batch: &mut Batch<'_>) -> Result<()> {
    let names: Vec<String> = std::mem::take(&mut batch.touched_keys).into_iter().collect();
    if names.is_empty() {
        return Ok(());
    }
    let names = page::words(Some(&names), Clone::clone);
    if !batch.tx.is_sqlite() {
        // The queues first: who resumes one holds it when he asks for keys.
        batch.tx.rows(&LOCK_PAUSED, &[]).await?;
        lock(batch).await?;
    }
    let mut keys = Vec::new();
    for row in batch.tx.rows(&LOAD, &args![names]).await? {
        let key = Key {
            name: row.get(0)?,
            limit: row.get(1)?,
            running: row.get(2)?,
            open: row.get(3)?,
            has_gated: row.get::<i64>(4)? > 0,
        };
        if key.has_gated || key.running + key.open > key.limit {
            keys.push(key);
        }
    }
    if keys.is_empty() {
        return Ok(());
    }
    move_gate(batch, &keys).await
}

async fn move_gate(batch: &mut Batch<'_>, keys: &[Key]) -> Result<()> {
    let room = |key: &Key| (key.limit - key.running).max(0);
    let rooms: Vec<_> = keys.iter().map(|key| json!({"key": key.name, "room": room(key)})).collect();
    let most = keys.iter().map(room).max().unwrap_or(0);
    let best = batch.tx.rows(&BEST, &args![Value::Array(rooms).to_string(), most]).await?;
    let mut wanted = HashSet::new();
    let mut gated: HashMap<String, Vec<i64>> = HashMap::new();
    for row in &best {
        let (id, key): (i64, String) = (row.get(0)?, row.get(1)?);
        wanted.insert(id);
        if row.get::<Option<i64>>(2)?.is_some() {
            gated.entry(key).or_default().push(id);
        }
    }
    let names = page::words(Some(keys), |key| key.name.clone());
    let (mut shut, mut shut_of): (Vec<i64>, HashMap<String, i64>) = <_>::default();
    for row in batch.tx.rows(&OPEN, &args![names]).await? {
        let (id, key): (i64, String) = (row.get(0)?, row.get(1)?);
        if !wanted.contains(&id) {
            shut.push(id);
            *shut_of.entry(key).or_default() += 1;
        }
    }
    if !shut.is_empty() {
        let now = batch.now.0;
        batch.tx.execute(&SHUT, &args![page::numbers(Some(&shut), |id| *id), now]).await?;
    }
    let mut let_in = Vec::new();
    for key in keys {
        // On PostgreSQL one that another daemon moves at this moment was passed over: it still counts as open.
        let open = key.open - shut_of.get(&key.name).copied().unwrap_or(0);
        let free = usize::try_from(key.limit - key.running - open).unwrap_or(0);
        let mut best = gated.remove(&key.name).unwrap_or_default();
        if key.has_gated && best.len() < free && !batch.tx.is_sqlite() {
            // One that somebody else holds was passed over. He may never look at the key: he is waited for.
            best = wait_for_best(batch, key, room(key)).await?;
        }
        let_in.extend(best.into_iter().take(free));
    }
    if !let_in.is_empty() {
        batch.has_work = true;
        batch.tx.execute(&LET_IN, &args![page::numbers(Some(&let_in), |id| *id)]).await?;
    }
    Ok(())
}

async fn wait_for_best(batch: &mut Batch<'_>, key: &Key, room: i64) -> Result<Vec<i64>> {
    let rooms = json!([{"key": key.name, "room": room}]).to_string();
    let mut best = Vec::new();
    for row in batch.tx.rows(&BEST_WAITING, &args![rooms, room]).await? {
        if row.get::<Option<i64>>(2)?.is_some() {
            best.push(row.get(0)?);
        }
    }
    Ok(best)
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[
    &PUT,
    &PUT_OF_TASK,
    &RELIMIT,
    &LOCK,
    &LOCK_PAUSED,
    &LOAD,
    &BEST,
    &BEST_WAITING,
    &OPEN,
    &SHUT,
    &LET_IN,
    &OF_QUEUE,
];
