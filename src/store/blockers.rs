//! Owns reading why jobs wait. Whom a claim would take it asks of `room`, as the claim does.

use std::collections::{HashMap, HashSet};

use super::db::{Kind, Row, Sql};
use super::fault::{Fault, Result};
use super::{Reader, page};
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::blocker::{Blocker, Gate, WaitingJob, explain};
use crate::domain::concurrency::LimitKey;
use crate::domain::id::JobId;
use crate::domain::job::JobState;
use crate::domain::limits::{AHEAD_MAX, BLOCKING_JOBS_MAX};
use crate::domain::queue::QueueRoom;

const FREE_SLOTS: Sql = Sql::both(
    "SELECT CAST((SELECT coalesce(sum(slots), 0) FROM workers WHERE stopped_at_us IS NULL) AS BIGINT)
            - (SELECT count(*) FROM jobs WHERE state = 'RUNNING')",
    &[],
);

const WAITING: Sql = Sql::both(
    "SELECT jobs.id, jobs.state, jobs.task_name, jobs.queue, jobs.run_at_us, jobs.held_by,
            queues.paused_at_us, queues.paused_by, queues.pause_reason,
            CASE WHEN jobs.gated_at_us IS NULL THEN NULL ELSE jobs.limit_key END,
            coalesce((SELECT job_limit FROM concurrency_keys WHERE concurrency_keys.name = jobs.limit_key), 1),
            CASE WHEN jobs.state <> 'QUEUED' THEN 0 ELSE (
                SELECT count(*) FROM (
                    SELECT 1 FROM jobs AS before
                    WHERE before.state = 'QUEUED' AND before.gated_at_us IS NULL AND before.queue = jobs.queue
                      AND (before.rank_us, before.id) < (jobs.rank_us, jobs.id)
                    LIMIT $2) AS counted) END
     FROM jobs
     JOIN queues ON queues.name = jobs.queue
     WHERE jobs.id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))
       AND jobs.state IN ('HELD', 'BLOCKED', 'SCHEDULED', 'QUEUED', 'RETRYING')",
    &[Kind::Text, Kind::Int],
);

const HOLDERS: Sql = Sql::both(
    "SELECT id FROM (
         SELECT id, 0 AS place FROM jobs WHERE state = 'RUNNING' AND limit_key = $1
         UNION ALL
         SELECT id, 1 AS place FROM jobs WHERE state = 'QUEUED' AND limit_key = $1 AND gated_at_us IS NULL
     ) AS holders
     ORDER BY place, id
     LIMIT $2",
    &[Kind::Text, Kind::Int],
);

const OPEN_DEPENDENCIES: Sql = Sql::both(
    "SELECT jobs.id FROM job_dependencies
     JOIN jobs ON jobs.id = job_dependencies.depends_on_id
     WHERE job_dependencies.job_id = $1 AND jobs.finished_at_us IS NULL
     ORDER BY jobs.id
     LIMIT $2",
    &[Kind::Int, Kind::Int],
);

/// What the claim would do now.
struct Next {
    rooms: HashMap<String, (QueueRoom, Option<Timestamp>)>,
    ids: HashSet<i64>,
}

impl Reader {
    /// Places of all workers that are free.
    pub async fn free_slots(&self) -> Result<i64> {
        page::one(self.db.optional(&FREE_SLOTS, &[]).await?)?.get(0)
    }

    /// Why each of the jobs waits, when a claim of `slots` jobs is what comes next. Jobs that do not wait are left out.
    pub async fn blockers(
        &self,
        jobs: &[JobId],
        slots: i64,
        now: Timestamp,
    ) -> Result<Vec<(JobId, Vec<Blocker>)>> {
        let ids = page::numbers(Some(jobs), |id| id.0);
        let rows = self.db.rows(&WAITING, &args![ids, AHEAD_MAX]).await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let next = self.next(slots, now).await?;
        let mut gates = HashMap::new();
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            let id = JobId(row.get(0)?);
            let waiting = self.waiting(id, row, &next, &mut gates).await?;
            found.push((id, explain(&waiting)));
        }
        Ok(found)
    }

    async fn next(&self, slots: i64, now: Timestamp) -> Result<Next> {
        let rooms = self.queue_rooms(now).await?;
        let ids = if slots > 0 { self.next_to_start(&rooms, slots).await? } else { Vec::new() };
        let mut by_name = HashMap::with_capacity(rooms.len());
        for room in rooms {
            let until = self.rate_until(&room, now).await?;
            by_name.insert(room.name.clone(), (room, until));
        }
        Ok(Next { rooms: by_name, ids: ids.into_iter().collect() })
    }

    async fn waiting(
        &self,
        id: JobId,
        row: &Row,
        next: &Next,
        gates: &mut HashMap<String, Gate>,
    ) -> Result<WaitingJob> {
        let state = JobState::from_word(&row.get::<String>(1)?);
        let state = state.ok_or_else(|| Fault::unreadable("the state", id))?;
        let queue_name: String = row.get(3)?;
        let paused = match row.get::<Option<i64>>(6)? {
            Some(at) => Some((Timestamp(at), row.get(7)?, row.get(8)?)),
            None => None,
        };
        let gate = match row.get::<Option<String>>(9)? {
            Some(key) => Some(self.gate(id, &key, row.get(10)?, gates).await?),
            None => None,
        };
        let dependencies = if state == JobState::Blocked {
            let rows = self.db.rows(&OPEN_DEPENDENCIES, &args![id.0, BLOCKING_JOBS_MAX]).await?;
            rows.iter().map(|row| row.get(0).map(JobId)).collect::<Result<_>>()?
        } else {
            Vec::new()
        };
        Ok(WaitingJob {
            state,
            task_name: row.get(2)?,
            run_at: Timestamp(row.get(4)?),
            held_by: row.get(5)?,
            paused,
            gate,
            dependencies,
            room: next.rooms.get(&queue_name).cloned(),
            queue_name,
            ahead: row.get(11)?,
            is_next: next.ids.contains(&id.0),
        })
    }

    async fn gate(
        &self,
        id: JobId,
        key: &str,
        limit: i64,
        known: &mut HashMap<String, Gate>,
    ) -> Result<Gate> {
        if let Some(gate) = known.get(key) {
            return Ok(gate.clone());
        }
        let holders = self.db.rows(&HOLDERS, &args![key, BLOCKING_JOBS_MAX]).await?;
        let gate = Gate {
            key: LimitKey::parse(key).ok_or_else(|| Fault::unreadable("the concurrency key", id))?,
            limit: i32::try_from(limit).unwrap_or(i32::MAX),
            holders: holders.iter().map(|row| row.get(0).map(JobId)).collect::<Result<_>>()?,
        };
        known.insert(key.to_owned(), gate.clone());
        Ok(gate)
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&FREE_SLOTS, &WAITING, &HOLDERS, &OPEN_DEPENDENCIES];
