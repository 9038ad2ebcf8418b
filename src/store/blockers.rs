//! Owns reading why jobs wait. Whom a claim would take it asks of `room`, as the claim does.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::db::{Kind, Row, Sql};
use super::fault::{Fault, Result};
use super::placement::{WorkerThere, selectors_argument};
use super::room::Rooms;
use super::{Reader, page};
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::blocker::{Blocker, Gate, WaitingJob, explain};
use crate::domain::concurrency::LimitKey;
use crate::domain::id::JobId;
use crate::domain::job::JobState;
use crate::domain::limits::{AHEAD_MAX, BLOCKING_JOBS_MAX};
use crate::domain::placement::labels_of;
use crate::domain::queue::QueueRoom;

const WAITING: Sql = Sql::both(
    "SELECT jobs.id, jobs.state, jobs.task_name, jobs.queue, jobs.run_at_us, jobs.held_by,
            queues.paused_at_us, queues.paused_by, queues.pause_reason,
            CASE WHEN jobs.gated_at_us IS NULL THEN NULL ELSE jobs.limit_key END,
            coalesce((SELECT job_limit FROM concurrency_keys WHERE concurrency_keys.name = jobs.limit_key), 1),
            CASE WHEN jobs.state <> 'QUEUED' THEN 0 ELSE (
                SELECT count(*) FROM (
                    SELECT 1 FROM jobs AS before
                    WHERE before.state = 'QUEUED' AND before.gated_at_us IS NULL AND before.runs_on IS NULL
                      AND before.queue = jobs.queue
                      AND (before.rank_us, before.id) < (jobs.rank_us, jobs.id)
                    LIMIT $2) AS counted) END,
            -- Of those that ask for labels only whom a worker fits comes first.
            CASE WHEN jobs.state <> 'QUEUED' THEN 0 ELSE (
                SELECT CAST(coalesce(sum((
                    SELECT count(*) FROM (
                        SELECT 1 FROM jobs AS placed
                        WHERE placed.state = 'QUEUED' AND placed.gated_at_us IS NULL AND placed.runs_on = fit.atom
                          AND placed.queue = jobs.queue
                          AND (placed.rank_us, placed.id) < (jobs.rank_us, jobs.id)
                        LIMIT $2) AS of_one)), 0) AS BIGINT)
                FROM jsonb_each($3) AS fit) END,
            jobs.runs_on
     FROM jobs
     JOIN queues ON queues.name = jobs.queue
     WHERE jobs.id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))
       AND jobs.state IN ('HELD', 'BLOCKED', 'SCHEDULED', 'QUEUED', 'RETRYING')",
    &[Kind::Text, Kind::Int, Kind::Text],
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

/// What the claims of the workers would do now.
struct Next<'a> {
    workers: &'a [WorkerThere],
    rooms: HashMap<String, (QueueRoom, Option<Timestamp>)>,
    ids: HashSet<i64>,
    /// The selectors of jobs that wait which a worker fits.
    fitting: Vec<String>,
}

impl Reader {
    /// Why each of the jobs waits, when a claim of each of the workers is what comes next. Jobs that do not wait are left
    /// out.
    pub async fn blockers(
        &self,
        jobs: &[JobId],
        workers: &[WorkerThere],
        now: Timestamp,
    ) -> Result<Vec<(JobId, Vec<Blocker>)>> {
        let next = self.next(workers, now).await?;
        let ids = page::numbers(Some(jobs), |id| id.0);
        let rows = self.db.rows(&WAITING, &args![ids, AHEAD_MAX, selectors_argument(&next.fitting)]).await?;
        let mut gates = HashMap::new();
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            let id = JobId(row.get(0)?);
            let waiting = self.waiting(id, row, &next, &mut gates).await?;
            found.push((id, explain(&waiting)));
        }
        Ok(found)
    }

    async fn next<'a>(&self, workers: &'a [WorkerThere], now: Timestamp) -> Result<Next<'a>> {
        let Rooms { queues, first_selector } = self.rooms(now).await?;
        // Workers that fit the same of what waits are like one.
        let mut alike: BTreeMap<Vec<String>, i64> = BTreeMap::new();
        for worker in workers {
            let fitting = match &first_selector {
                Some(first) => self.fitting_labels(&worker.labels, first).await?,
                None => Vec::new(),
            };
            *alike.entry(fitting).or_default() += worker.free;
        }
        let ids = self.taken(&queues, &alike).await?;
        let mut rooms = HashMap::with_capacity(queues.len());
        for room in queues {
            let until = self.rate_until(&room, now).await?;
            rooms.insert(room.name.clone(), (room, until));
        }
        let fitting: BTreeSet<_> = alike.into_keys().flatten().collect();
        Ok(Next { workers, rooms, ids, fitting: fitting.into_iter().collect() })
    }

    /// Whom claims would take, one after the other, each with the places of those that are alike.
    async fn taken(&self, queues: &[QueueRoom], alike: &BTreeMap<Vec<String>, i64>) -> Result<HashSet<i64>> {
        let mut taken = HashSet::new();
        let mut taken_of: HashMap<String, i64> = HashMap::new();
        for (fitting, free) in alike.iter().filter(|(_, free)| **free > 0) {
            // With so many more there are enough left when those are passed over that others took, or whose queue they
            // have filled.
            let seen = free + i64::try_from(taken.len()).unwrap_or(i64::MAX);
            let mut left = *free;
            for (id, name) in self.next_to_start(queues, fitting, seen).await? {
                let room = queues.iter().find(|queue| queue.name == name).map_or(0, |queue| queue.room(seen));
                let of_queue = taken_of.entry(name).or_default();
                if left > 0 && *of_queue < room && taken.insert(id) {
                    left -= 1;
                    *of_queue += 1;
                }
            }
        }
        Ok(taken)
    }

    async fn waiting(
        &self,
        id: JobId,
        row: &Row,
        next: &Next<'_>,
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
        let selector: Option<String> = row.get(13)?;
        let runs_on = match &selector {
            Some(text) => labels_of(text).ok_or_else(|| Fault::unreadable("the labels of its worker", id))?,
            None => Vec::new(),
        };
        let is_fit = selector.is_none_or(|text| next.workers.iter().any(|worker| worker.labels.fits(&text)));
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
            ahead: (row.get::<i64>(11)? + row.get::<i64>(12)?).min(AHEAD_MAX),
            runs_on,
            is_fit,
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
pub(super) const STATEMENTS: &[&Sql] = &[&WAITING, &HOLDERS, &OPEN_DEPENDENCIES];
