//! Owns the waiting of jobs for others. When a job ends, what waits for it is settled in the same transaction,
//! from rows and in sets; what a transaction leaves over the next claim takes up. It must never count in memory.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::json;

use super::db::{Kind, Row, Sql};
use super::fault::{Fault, Result};
use super::job_columns::{job_columns, job_from, last_event};
use super::transition::{Moving, move_many};
use super::writer::Batch;
use super::{Reader, page};
use crate::args;
use crate::base::clock::Timestamp;
use crate::base::points;
use crate::domain::id::JobId;
use crate::domain::job::{DependencyFailure, Job, JobState};
use crate::domain::lifecycle::{DependencyStanding, beside_dependencies};
use crate::domain::new_job::NewJob;
use crate::domain::rejection::{Rejection, UserErrorCode};
use crate::domain::scalars::Json;
use crate::store::jobs::Enqueued;

/// Dependants that one round looks at, and ended jobs that it looks behind.
pub const ROUND_MAX: usize = 1_000;
/// Rounds of one transaction: a round goes down one step of a cascade.
pub const ROUNDS_MAX: usize = 20;
/// Who moves dependants, in events.
const ACTOR: &str = "dependencies";

pub(super) const INSERT: Sql = Sql::both(
    "INSERT INTO job_dependencies (job_id, depends_on_id)
     SELECT CAST(r.value ->> 'job' AS BIGINT), CAST(r.value ->> 'on' AS BIGINT) FROM jsonb_each($1) AS r",
    &[Kind::Text],
);

// Shared locks on PostgreSQL: one of them that is just ending is waited for, and the next end sees who waits.
const STATES: Sql = Sql::each(
    "SELECT id, state FROM jobs WHERE id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1)) ORDER BY id",
    "SELECT id, state FROM jobs WHERE id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1)) ORDER BY id FOR SHARE",
    &[Kind::Text],
);

const DEPENDS_ON: Sql = Sql::both(
    "SELECT depends_on_id FROM job_dependencies WHERE job_id = $1 ORDER BY depends_on_id",
    &[Kind::Int],
);

/// What a new job waits for, and how that stands.
#[derive(Debug, Default)]
pub(super) struct Waits {
    on: Vec<JobId>,
    policy: DependencyFailure,
    standing: DependencyStanding,
    /// One of those that ended without success.
    failed: Option<JobId>,
}

impl Waits {
    fn new(policy: DependencyFailure, states: Vec<(JobId, JobState)>) -> Waits {
        let standing = DependencyStanding::of(states.iter().map(|(_, state)| *state));
        let has_failed = |(_, state): &&(JobId, JobState)| state.is_final() && *state != JobState::Succeeded;
        let failed = states.iter().find(has_failed).map(|(id, _)| *id);
        Waits { on: states.into_iter().map(|(id, _)| id).collect(), policy, standing, failed }
    }

    /// The policy, when there is anything to wait for.
    pub(super) fn policy(&self) -> Option<DependencyFailure> {
        (!self.on.is_empty()).then_some(self.policy)
    }

    /// The state that the job takes first. One that is to be skipped is blocked until the end of the batch.
    pub(super) fn begin(&self, batch: &mut Batch<'_>, id: JobId, run_at: Timestamp) -> JobState {
        match beside_dependencies(self.policy, self.standing, run_at, batch.now) {
            JobState::Skipped => {
                let failed = self.failed.expect("a job is skipped only for one that failed");
                batch.ends.add_behind(failed, id.0 - 1);
                JobState::Blocked
            }
            state => state,
        }
    }

    /// Notes what the job waits for, to be written with its row.
    pub(super) fn record(&self, batch: &mut Batch<'_>, id: JobId) {
        batch.pending.dependencies.extend(self.on.iter().map(|on| json!({"job": id, "on": on})));
    }
}

/// The job with the ids of those of the same request that it waits for.
pub(super) fn with_earlier<'a>(
    job: &'a NewJob,
    answers: &[std::result::Result<Enqueued, Rejection>],
) -> std::result::Result<Cow<'a, NewJob>, Rejection> {
    if job.depends_on_earlier.is_empty() {
        return Ok(Cow::Borrowed(job));
    }
    let mut job = job.clone();
    for earlier in &job.depends_on_earlier {
        let Some(Ok(enqueued)) = answers.get(earlier.place) else {
            let path = format!("dependsOnPositions.{}", earlier.named_at);
            return Err(Rejection::invalid(&path, "the job that it was to wait for was refused"));
        };
        job.depends_on.push(enqueued.id);
    }
    Ok(Cow::Owned(job))
}

/// What a new job waits for. Refused when one of them does not exist, or would have to give way to it.
pub(super) async fn of_new(
    batch: &mut Batch<'_>,
    job: &NewJob,
    replaced: Option<&Job>,
) -> Result<std::result::Result<Waits, Rejection>> {
    if job.depends_on.is_empty() {
        return Ok(Ok(Waits::default()));
    }
    if let Some(old) = replaced.filter(|old| job.depends_on.contains(&old.id)) {
        let message = format!("it would replace {}, which it waits for: that is a cycle", old.id);
        return Ok(Err(Rejection::invalid("onConflict", message)));
    }
    let (made, written): (Vec<JobId>, Vec<JobId>) =
        job.depends_on.iter().partition(|id| batch.pending.made.contains(id));
    let mut known: HashMap<JobId, JobState> = made.into_iter().map(|id| (id, JobState::Queued)).collect();
    if !written.is_empty() {
        known.extend(states(batch, &written).await?);
    }
    let mut seen = HashSet::new();
    let mut on = Vec::with_capacity(job.depends_on.len());
    for (at, id) in job.depends_on.iter().enumerate() {
        let Some(state) = known.get(id) else {
            let message =
                if id.0 == 0 { "there is no such job".to_owned() } else { format!("there is no job {id}") };
            return Ok(Err(Rejection::at(UserErrorCode::NotFound, &format!("dependsOn.{at}"), message)));
        };
        if seen.insert(*id) {
            on.push((*id, *state));
        }
    }
    Ok(Ok(Waits::new(job.on_dependency_failure, on)))
}

async fn states(batch: &mut Batch<'_>, ids: &[JobId]) -> Result<Vec<(JobId, JobState)>> {
    let rows = batch.tx.rows(&STATES, &args![page::numbers(Some(ids), |id| id.0)]).await?;
    rows.iter().map(|row| Ok((JobId(row.get(0)?), state_from(row, 1)?))).collect()
}

fn state_from(row: &Row, at: usize) -> Result<JobState> {
    let word: String = row.get(at)?;
    JobState::from_word(&word).ok_or_else(|| Fault::unreadable("the state of a dependency", &word))
}

/// Where a job goes that is let go from hold.
pub(super) async fn after_hold(batch: &mut Batch<'_>, job: &Job) -> Result<JobState> {
    let Some(policy) = job.on_dependency_failure else {
        return Ok(JobState::waiting_for(job.run_at, batch.now));
    };
    let rows = batch.tx.rows(&DEPENDS_ON, &args![job.id.0]).await?;
    let ids = rows.iter().map(|row| row.get(0).map(JobId)).collect::<Result<Vec<_>>>()?;
    let waits = Waits::new(policy, states(batch, &ids).await?);
    Ok(waits.begin(batch, job.id, job.run_at))
}

/// Jobs that became final, each with the id behind which its dependants are still to be looked at.
#[derive(Debug, Default)]
pub(super) struct Ends(BTreeMap<i64, i64>);

impl Ends {
    /// All dependants of the job are to be looked at.
    pub(super) fn add(&mut self, job: JobId) {
        self.add_behind(job, 0);
    }

    /// Its dependants with a higher id than `after` are to be looked at.
    pub(super) fn add_behind(&mut self, job: JobId, after: i64) {
        let known = self.0.entry(job.0).or_insert(after);
        *known = after.min(*known);
    }

    fn rows<'a>(some: impl Iterator<Item = (&'a i64, &'a i64)>) -> String {
        let rows = some.map(|(id, after)| json!({"id": id, "after": after})).collect();
        serde_json::Value::Array(rows).to_string()
    }
}

// Asked before `LOOK`: most ends have nobody behind them, and that is soon known.
const FOLLOWED: Sql = Sql::each_row(
    "SELECT depends_on_id FROM job_dependencies WHERE depends_on_id = $1 AND job_id > $2 LIMIT 1",
    "SELECT r.id FROM unnest($1, $2) AS r (id, after)
     WHERE (SELECT job_id FROM job_dependencies WHERE depends_on_id = r.id AND job_id > r.after LIMIT 1) IS NOT NULL",
    &[Kind::Int, Kind::Int],
    &[],
);

const LOOK: Sql = Sql::both(
    "SELECT ended.id, job_dependencies.job_id, CAST(CASE WHEN ended.state = 'SUCCEEDED' THEN 0 ELSE 1 END AS BIGINT)
     FROM jsonb_each($1) AS r
     JOIN jobs AS ended ON ended.id = CAST(r.value ->> 'id' AS BIGINT)
     JOIN job_dependencies
       ON job_dependencies.depends_on_id = ended.id AND job_dependencies.job_id > CAST(r.value ->> 'after' AS BIGINT)
     JOIN jobs AS dependant ON dependant.id = job_dependencies.job_id AND dependant.state = 'BLOCKED'
     ORDER BY ended.id, job_dependencies.job_id
     LIMIT $2",
    &[Kind::Text, Kind::Int],
);

// Locked in order, and judged in a later statement: of two daemons that end two jobs at once, the second one to
// get here sees what the first one did.
const LOCK: Sql = Sql::each(
    "SELECT id, queue, task_name, run_at_us, on_dependency_failure FROM jobs
     WHERE id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1)) AND coalesce(state = 'BLOCKED', FALSE)
     ORDER BY id",
    "SELECT id, queue, task_name, run_at_us, on_dependency_failure FROM jobs
     WHERE id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1)) AND coalesce(state = 'BLOCKED', FALSE)
     ORDER BY id
     FOR UPDATE",
    &[Kind::Text],
);

// From the newest on: those that are still open mostly are.
const OPEN: Sql = Sql::both(
    "SELECT CAST(r.atom AS BIGINT) FROM jsonb_each($1) AS r
     WHERE (SELECT jobs.id FROM job_dependencies
            JOIN jobs ON jobs.id = job_dependencies.depends_on_id
            WHERE job_dependencies.job_id = CAST(r.atom AS BIGINT) AND jobs.finished_at_us IS NULL
            ORDER BY job_dependencies.depends_on_id DESC
            LIMIT 1) IS NOT NULL",
    &[Kind::Text],
);

const FAILED: Sql = Sql::both(
    "SELECT first.job_id, jobs.id, jobs.state
     FROM (SELECT job_dependencies.job_id AS job_id, min(job_dependencies.depends_on_id) AS id
           FROM job_dependencies
           JOIN jobs ON jobs.id = job_dependencies.depends_on_id
           WHERE job_dependencies.job_id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))
             AND jobs.finished_at_us IS NOT NULL AND jobs.state <> 'SUCCEEDED'
           GROUP BY job_dependencies.job_id) AS first
     JOIN jobs ON jobs.id = first.id",
    &[Kind::Text],
);

/// Settles what waits for the jobs that ended in this batch, as far as one transaction may go.
pub(super) async fn settle(batch: &mut Batch<'_>) -> Result<()> {
    if batch.ends.0.is_empty() {
        return Ok(());
    }
    super::jobs::write_pending(batch).await?;
    for _ in 0..ROUNDS_MAX {
        if batch.ends.0.is_empty() {
            break;
        }
        let dependants = look(batch).await?;
        if !dependants.is_empty() {
            move_dependants(batch, &dependants).await?;
            points::reach("dependencies.moved");
        }
    }
    Ok(())
}

/// The dependants of some ends, each with whether one of these ends was no success.
async fn look(batch: &mut Batch<'_>) -> Result<BTreeMap<i64, bool>> {
    let ends: BTreeMap<i64, i64> =
        batch.ends.0.iter().take(ROUND_MAX).map(|(id, after)| (*id, *after)).collect();
    let asked = ends.iter().map(|(id, after)| args![*id, *after]).collect();
    let followed = batch.tx.rows_of_each(&FOLLOWED, asked, &[]).await?;
    let followed = followed.iter().map(|row| row.get(0)).collect::<Result<HashSet<i64>>>()?;
    let (limit, mut rows) = (i64::try_from(ROUND_MAX).expect("a small number"), Vec::new());
    if !followed.is_empty() {
        let followed = Ends::rows(ends.iter().filter(|(id, _)| followed.contains(id)));
        rows = batch.tx.rows(&LOOK, &args![followed, limit]).await?;
    }
    let mut dependants = BTreeMap::new();
    let mut last = (0, 0);
    for row in &rows {
        last = (row.get(0)?, row.get(1)?);
        *dependants.entry(last.1).or_default() |= row.get::<i64>(2)? == 1;
    }
    let is_cut = rows.len() == ROUND_MAX;
    for id in ends.into_keys() {
        if !is_cut || id < last.0 {
            batch.ends.0.remove(&id);
        }
    }
    if is_cut {
        batch.ends.0.insert(last.0, last.1);
    }
    Ok(dependants)
}

async fn move_dependants(batch: &mut Batch<'_>, dependants: &BTreeMap<i64, bool>) -> Result<()> {
    let ids =
        |some: &mut dyn Iterator<Item = i64>| serde_json::Value::from(some.collect::<Vec<_>>()).to_string();
    let rows = batch.tx.rows(&LOCK, &args![ids(&mut dependants.keys().copied())]).await?;
    let locked = rows.iter().map(|row| row.get(0)).collect::<Result<Vec<i64>>>()?;
    let open = batch.tx.rows(&OPEN, &args![ids(&mut locked.iter().copied())]).await?;
    let open = open.iter().map(|row| row.get(0)).collect::<Result<HashSet<i64>>>()?;
    // Asked for those alone that may go somewhere: who waits for many is looked at with each of them.
    let mut may_go = locked.iter().copied().filter(|id| !open.contains(id) || dependants[id]);
    let failed = batch.tx.rows(&FAILED, &args![ids(&mut may_go)]).await?;
    let read = |row: &Row| Ok((row.get::<i64>(0)?, (JobId(row.get(1)?), state_from(row, 2)?)));
    let failed = failed.iter().map(read).collect::<Result<HashMap<_, _>>>()?;
    let mut moves: BTreeMap<JobState, Vec<Moving>> = BTreeMap::new();
    for row in &rows {
        let id: i64 = row.get(0)?;
        let policy = row.get::<Option<String>>(4)?.as_deref().and_then(DependencyFailure::from_word);
        let standing =
            DependencyStanding { has_open: open.contains(&id), has_failed: failed.contains_key(&id) };
        let run_at = Timestamp(row.get(3)?);
        let state = beside_dependencies(policy.unwrap_or_default(), standing, run_at, batch.now);
        if state == JobState::Blocked {
            continue;
        }
        let extra = match failed.get(&id).filter(|_| state == JobState::Skipped) {
            Some((on, how)) => {
                let reason = format!("{on}, which it depends on, is {}", how.word());
                json!({"dependency": on.to_string(), "reason": reason})
            }
            None => json!({}),
        };
        let (queue, task) = (row.get(1)?, row.get(2)?);
        moves.entry(state).or_default().push(Moving {
            id: JobId(id),
            from: JobState::Blocked,
            queue,
            task,
            extra,
        });
    }
    for (state, moving) in moves {
        move_many(batch, moving, state, ACTOR).await?;
    }
    Ok(())
}

const KEEP: Sql = Sql::both(
    "INSERT INTO dependency_ends (job_id, after_id)
     SELECT CAST(r.value ->> 'id' AS BIGINT), CAST(r.value ->> 'after' AS BIGINT) FROM jsonb_each($1) AS r WHERE TRUE
     ON CONFLICT (job_id) DO UPDATE
     SET after_id = CASE WHEN excluded.after_id < dependency_ends.after_id
                         THEN excluded.after_id ELSE dependency_ends.after_id END",
    &[Kind::Text],
);

const KEPT: Sql = Sql::each(
    "SELECT job_id, after_id FROM dependency_ends ORDER BY job_id LIMIT $1",
    "SELECT job_id, after_id FROM dependency_ends ORDER BY job_id LIMIT $1 FOR UPDATE SKIP LOCKED",
    &[Kind::Int],
);

const FORGET: Sql = Sql::both(
    "DELETE FROM dependency_ends WHERE job_id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))",
    &[Kind::Text],
);

/// Leaves what this transaction did not come to for the next claim.
pub(super) async fn keep(batch: &mut Batch<'_>) -> Result<()> {
    if batch.ends.0.is_empty() {
        return Ok(());
    }
    batch.needs_look = true;
    let rows = Ends::rows(std::mem::take(&mut batch.ends.0).iter());
    batch.tx.execute(&KEEP, &args![rows]).await?;
    points::reach("dependencies.left_over");
    Ok(())
}

/// Takes up what an earlier transaction left.
pub(super) async fn resume(batch: &mut Batch<'_>) -> Result<()> {
    let limit = i64::try_from(ROUND_MAX).expect("a small number");
    let rows = batch.tx.rows(&KEPT, &args![limit]).await?;
    if rows.is_empty() {
        return Ok(());
    }
    let mut ids = Vec::with_capacity(rows.len());
    for row in &rows {
        let (id, after): (i64, i64) = (row.get(0)?, row.get(1)?);
        batch.ends.add_behind(JobId(id), after);
        ids.push(id);
    }
    batch.tx.execute(&FORGET, &args![page::numbers(Some(&ids), |id| *id)]).await?;
    Ok(())
}

/// A dependency as its dependants see it.
#[derive(Debug, Clone)]
pub struct Dependency {
    /// The job.
    pub id: JobId,
    /// Its task's name.
    pub task_name: Option<String>,
    /// How it ended.
    pub state: JobState,
    /// Its structured result.
    pub output: Option<Json>,
}

const OUTPUTS: Sql = Sql::both(
    "SELECT jobs.id, jobs.task_name, jobs.state, jobs.output
     FROM job_dependencies
     JOIN jobs ON jobs.id = job_dependencies.depends_on_id
     WHERE job_dependencies.job_id = $1 AND job_dependencies.depends_on_id > $2
     ORDER BY job_dependencies.depends_on_id
     LIMIT $3",
    &[Kind::Int, Kind::Int, Kind::Int],
);

macro_rules! neighbours {
    ($theirs:literal, $ours:literal) => {
        concat!(
            "SELECT ",
            job_columns!(),
            ", ",
            last_event!(),
            " FROM jobs
             WHERE id IN (SELECT ",
            $theirs,
            " FROM job_dependencies WHERE ",
            $ours,
            " = $1 AND ",
            $theirs,
            " > $2 ORDER BY ",
            $theirs,
            " LIMIT $3)
             ORDER BY id"
        )
    };
}

const DEPENDENCIES: Sql =
    Sql::both(neighbours!("depends_on_id", "job_id"), &[Kind::Int, Kind::Int, Kind::Int]);
const DEPENDANTS: Sql = Sql::both(neighbours!("job_id", "depends_on_id"), &[Kind::Int, Kind::Int, Kind::Int]);

impl Reader {
    /// Jobs that the job waits or waited for, by id, behind `after`.
    pub async fn dependencies(&self, id: JobId, after: JobId, limit: i32) -> Result<Vec<Job>> {
        let rows = self.db.rows(&DEPENDENCIES, &args![id.0, after.0, i64::from(limit)]).await?;
        rows.iter().map(|row| job_from(row, self.epoch)).collect()
    }

    /// Jobs that wait or waited for the job, by id, behind `after`.
    pub async fn dependants(&self, id: JobId, after: JobId, limit: i32) -> Result<Vec<Job>> {
        let rows = self.db.rows(&DEPENDANTS, &args![id.0, after.0, i64::from(limit)]).await?;
        rows.iter().map(|row| job_from(row, self.epoch)).collect()
    }

    /// What the jobs that it waited for left to it, by id, behind `after`.
    pub async fn dependency_outputs(&self, id: JobId, after: JobId, limit: usize) -> Result<Vec<Dependency>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let read = |row: &Row| {
            let id = JobId(row.get(0)?);
            let output: Option<String> = row.get(3)?;
            let output = output.map(|text| serde_json::from_str(&text).map(Json)).transpose();
            Ok(Dependency {
                id,
                task_name: row.get(1)?,
                state: state_from(row, 2)?,
                output: output.map_err(|_| Fault::unreadable("the output", id))?,
            })
        };
        self.db.rows(&OUTPUTS, &args![id.0, after.0, limit]).await?.iter().map(read).collect()
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[
    &INSERT,
    &STATES,
    &DEPENDS_ON,
    &FOLLOWED,
    &LOOK,
    &LOCK,
    &OPEN,
    &FAILED,
    &KEEP,
    &KEPT,
    &FORGET,
    &OUTPUTS,
    &DEPENDENCIES,
    &DEPENDANTS,
];
