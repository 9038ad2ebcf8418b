//! Owns the choice of the way by which jobs are found, and the walk along it. A list or count never looks at more than a
//! bounded number of rows, whatever the history is: what is small is read whole and put into order, what is large is walked in
//! its own order until the page is full or enough was looked at, and then the page says how far it came.

use std::collections::HashMap;

use super::Reader;
use super::db::{Kind, Row, Sql, Value};
use super::fault::Result;
use super::job_filter::{Fields, filter_values, takes};
use super::job_lists::state_count;
use super::job_ways::{KEY_MAX, KEY_MIN, Key, Position, Way};
use super::page;
use crate::args;
use crate::domain::filter::JobFilter;
use crate::domain::id::TaskId;
use crate::domain::job::{JOB_STATES, JobState};
use crate::domain::limits::{JOBS_GATHERED_MAX, JOBS_WALKED_MAX};

const TASKS_NAMED: Sql = Sql::both(
    "SELECT id FROM tasks WHERE name IN (SELECT atom FROM jsonb_each($1)) ORDER BY id",
    &[Kind::Text],
);

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&TASKS_NAMED];

/// Rows that the first step of a walk looks at: most pages are full then.
const FIRST_STEP: i64 = 1_000;
/// How much longer each further step is.
const STEP_FACTOR: i64 = 8;
/// Rows in order cost less to look at than those that an index leads to.
const INDEXED_SHARE: i64 = 5;
/// More than any store has.
const UNKNOWN: i64 = i64::MAX;

/// What one list wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) key: Key,
    pub(super) is_descending: bool,
    /// Only what lies behind it.
    pub(super) after: Option<Position>,
    pub(super) limit: i64,
}

/// What was found, in order.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) jobs: Vec<Position>,
    /// Where looking ended before the list did.
    pub(super) edge: Option<Position>,
}

/// Ways that give together every job which can fit.
#[derive(Debug, Clone)]
struct Ways {
    each: Vec<Way>,
    /// What of the filter each job of theirs fits.
    covers: Fields,
    /// How many rows they have: `UNKNOWN` before it was asked for, and when they are too many to measure.
    size: i64,
    /// How many of them come in no order, so that all are read.
    loose_size: i64,
}

impl Ways {
    fn one(way: Way, covers: Fields) -> Ways {
        Ways::all(vec![way], covers)
    }

    fn all(ways: Vec<Way>, covers: Fields) -> Ways {
        Ways { each: ways, covers, size: UNKNOWN, loose_size: 0 }
    }

    /// Whether the first ones of that order are found without reading very many.
    fn is_walked_by(&self, key: Key) -> bool {
        let is_in_order = |way: &Way| way.key().map_or(self.is_bounded(), |own| own == key);
        self.each.iter().all(is_in_order)
    }

    /// Whether they are what somebody named, or what alone a token may see.
    fn is_named(&self) -> bool {
        matches!(self.each[..], [Way::Ids | Way::Token])
    }

    fn is_small(&self) -> bool {
        self.is_named() || self.size <= JOBS_GATHERED_MAX
    }

    fn is_bounded(&self) -> bool {
        self.loose_size <= JOBS_GATHERED_MAX
    }
}

/// A question with what is known of it.
pub(super) struct Search<'a> {
    reader: &'a Reader,
    filter: &'a JobFilter,
    fields: Fields,
    values: Vec<Value>,
}

impl<'a> Search<'a> {
    pub(super) fn new(reader: &'a Reader, filter: &'a JobFilter) -> Search<'a> {
        Search { reader, filter, fields: Fields::of(filter), values: filter_values(filter) }
    }

    /// The first jobs behind a position.
    pub(super) async fn list(&self, wanted: Wanted) -> Result<Found> {
        let ways = self.ways_for(wanted.key).await?;
        let mut all = Found::default();
        for way in &ways.each {
            let found = self.walk(way, &ways, wanted).await?;
            all.jobs.extend(found.jobs);
            all.edge = nearer(all.edge, found.edge, wanted.is_descending);
        }
        put_in_order(&mut all.jobs, wanted.is_descending);
        if let Some(edge) = all.edge {
            // Behind it another way may have more.
            all.jobs.retain(|at| !is_behind(*at, edge, wanted.is_descending));
        }
        all.jobs.truncate(usize::try_from(wanted.limit).unwrap_or(usize::MAX));
        Ok(all)
    }

    /// The oldest jobs that fit, all of them up to the limit, however many have to be looked at.
    pub(super) async fn every(&self, limit: i64) -> Result<Vec<Position>> {
        let wanted = Wanted { key: Key::Id, is_descending: false, after: None, limit };
        let smallest = self.smallest(self.sets().await?).await?;
        let ways = match smallest {
            // What is not final moves from state to state: one statement sees each job once.
            Some(small) if small.each.iter().any(Way::is_of_open_jobs) => {
                vec![if self.is_open_only() { Way::Open } else { Way::All }]
            }
            Some(small) if small.is_small() || small.is_walked_by(Key::Id) => small.each,
            _ => vec![Way::All],
        };
        let mut all = Vec::new();
        for way in &ways {
            all.extend(self.rows(way, wanted, None).await?);
        }
        put_in_order(&mut all, false);
        all.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(all)
    }

    /// Jobs by state, up to a limit for each way, and whether all were looked at.
    pub(super) async fn count(&self, limit: i64) -> Result<(HashMap<JobState, i64>, bool)> {
        let smallest = self.smallest(self.sets().await?).await?;
        let ways = smallest.filter(Ways::is_bounded);
        let ways = ways.unwrap_or_else(|| Ways::one(Way::All, Fields::NONE));
        let (mut counts, mut is_whole) = (HashMap::new(), true);
        for way in &ways.each {
            let mut values = self.values.clone();
            values.push(limit.into());
            if let Some(key) = way.key() {
                let wanted = Wanted { key, is_descending: true, after: None, limit };
                let edge = if self.fields.lie_in(ways.covers) {
                    None
                } else {
                    self.edge(way, wanted, budget(way, ways.each.len())).await?
                };
                is_whole &= edge.is_none();
                let (high, low) = self.bounds(way, wanted, edge);
                if key == Key::Id {
                    values.push(low.id.into());
                } else {
                    values.extend(args![low.key, low.id, high.key, high.id]);
                }
            }
            values.extend(way.values());
            for row in &self.reader.db.rows(way.count(), &values).await? {
                let (state, count) = state_count(row)?;
                *counts.entry(state).or_insert(0) += count;
            }
        }
        Ok((counts, is_whole))
    }

    /// The ways that give a list in the order of a key.
    async fn ways_for(&self, key: Key) -> Result<Ways> {
        let natural = self.natural(key);
        if let Some(natural) = natural.filter(|natural| self.fields.lie_in(natural.covers)) {
            return Ok(natural);
        }
        let mut sets = self.sets().await?;
        // Of one set the size says nothing when its own order is asked for.
        if sets.len() == 1 && (sets[0].is_walked_by(key) || sets[0].is_named()) {
            return Ok(sets.remove(0));
        }
        let walked = sets.iter().position(|set| set.is_walked_by(key)).map(|at| sets[at].clone());
        let small_max = match key {
            // Few enough, and the walk sees all of them.
            Key::RunAt | Key::Priority if self.is_open_only() => FIRST_STEP,
            _ => JOBS_GATHERED_MAX,
        };
        let smallest = self.smallest(sets).await?;
        if let Some(small) = smallest.filter(|small| small.size <= small_max) {
            return Ok(small);
        }
        let natural = self.natural(key);
        Ok(walked.or(natural).unwrap_or_else(|| Ways::one(Way::All, Fields::NONE)))
    }

    /// The ways that stand in the order of a key, whatever the filter is. None has what ended by its due time or priority.
    fn natural(&self, key: Key) -> Option<Ways> {
        let open_states = JOB_STATES.into_iter().filter(|state| !state.is_final());
        let takes_every = open_states.clone().all(|state| takes(self.filter, state));
        let open = |way| Ways::one(way, if takes_every { Fields::STATES } else { Fields::NONE });
        match key {
            Key::Id => Some(Ways::one(Way::All, Fields::NONE)),
            Key::Created => Some(Ways::one(Way::Created, Fields::CREATED)),
            Key::RunAt if self.is_open_only() => Some(open(Way::OpenByRunAt)),
            Key::Priority if self.is_open_only() => Some(open(Way::OpenByPriority)),
            Key::RunAt | Key::Priority => None,
            Key::Finished => {
                let mut ways = self.finished();
                if open_states.clone().any(|state| takes(self.filter, state)) {
                    ways.each.push(Way::Open);
                }
                Some(ways)
            }
        }
    }

    /// What finished in the filter's states and range.
    fn finished(&self) -> Ways {
        let states = JOB_STATES.into_iter().filter(|state| state.is_final() && takes(self.filter, *state));
        Ways::all(states.map(Way::Finished).collect(), Fields::FINISHED.and(Fields::STATES))
    }

    /// The smallest of some sets; the first of those that are too large to measure.
    async fn smallest(&self, sets: Vec<Ways>) -> Result<Option<Ways>> {
        let mut smallest: Option<Ways> = None;
        for mut ways in sets {
            if ways.size == UNKNOWN && !ways.is_named() {
                ways.size = self.size(&ways).await?;
            }
            if smallest.as_ref().is_none_or(|other| ways.size < other.size) {
                smallest = Some(ways);
            }
        }
        Ok(smallest)
    }

    async fn size(&self, ways: &Ways) -> Result<i64> {
        let mut size = 0;
        for way in &ways.each {
            let Some(sql) = way.size() else { return Ok(UNKNOWN) };
            let mut values = args![JOBS_GATHERED_MAX + 1].to_vec();
            values.extend(way.bare_values(self.filter));
            size += page::one(self.reader.db.optional(sql, &values).await?)?.get::<i64>(0)?;
            if size > JOBS_GATHERED_MAX {
                return Ok(UNKNOWN);
            }
        }
        Ok(size)
    }

    /// Every set of jobs that the filter names and an index has.
    async fn sets(&self) -> Result<Vec<Ways>> {
        let (filter, fields) = (self.filter, self.fields);
        let mut sets = Vec::new();
        if fields.has(Fields::IDS) {
            return Ok(vec![Ways::one(Way::Ids, Fields::IDS)]);
        }
        if fields.has(Fields::TOKEN) {
            return Ok(vec![Ways::one(Way::Token, Fields::TOKEN)]);
        }
        if fields.has(Fields::INCIDENT) {
            sets.push(Ways::one(Way::Incident, Fields::INCIDENT));
        }
        if fields.has(Fields::SCHEDULE) {
            sets.push(Ways::one(Way::Schedule, Fields::SCHEDULE));
        }
        let labels = filter.labels.as_deref().unwrap_or_default();
        for label in labels {
            let covers = if labels.len() == 1 { Fields::LABELS } else { Fields::NONE };
            sets.push(Ways::one(Way::Label(page::storable_label(label)), covers));
        }
        if fields.has(Fields::TASKS) {
            let names = page::words(filter.tasks.as_deref(), Clone::clone);
            let rows = self.reader.db.rows(&TASKS_NAMED, &args![names]).await?;
            let ways = rows.iter().map(|row| row.get(0).map(TaskId).map(Way::Task)).collect::<Result<_>>()?;
            sets.push(Ways::all(ways, Fields::TASKS));
        }
        if fields.has(Fields::STATES) || fields.has(Fields::QUEUES) {
            sets.extend(self.by_state().await?);
        }
        if fields.has(Fields::CREATED) {
            sets.push(Ways::one(Way::Created, Fields::CREATED));
        }
        if fields.has(Fields::FINISHED) {
            sets.push(self.finished());
        }
        Ok(sets)
    }

    /// The jobs of the filter's queues and states. The kept counts know how many there are.
    async fn by_state(&self) -> Result<Option<Ways>> {
        let covers = Fields::STATES.and(Fields::QUEUES);
        let mut set = Ways::all(Vec::new(), covers);
        let (mut open, mut size, mut total) = (HashMap::new(), 0, 0);
        for (queue, state, count) in self.reader.queue_counts().await? {
            total += count;
            if !state.is_final() {
                *open.entry(state).or_insert(0) += count;
                continue;
            }
            let is_named = self.filter.queues.as_ref().is_none_or(|queues| queues.contains(&queue));
            if count > 0 && is_named && takes(self.filter, state) {
                set.each.push(Way::Ended(queue, state));
                size += count;
            }
        }
        open.retain(|_, count| *count > 0);
        if let Some((way, count)) = self.open_way(&open) {
            set.each.push(way);
            set.loose_size = count;
            size += count;
        }
        set.size = size;
        let is_alone = self.fields.lie_in(covers);
        // What most jobs are is no way to the few that fit.
        let is_narrow = size <= JOBS_GATHERED_MAX || size * INDEXED_SHARE < total;
        Ok((is_alone || is_narrow).then_some(set))
    }

    /// The way to the jobs in the filter's states that are not final, and how many rows it reads. It reads those of all queues.
    fn open_way(&self, open: &HashMap<JobState, i64>) -> Option<(Way, i64)> {
        let wanted: Vec<JobState> = open.keys().copied().filter(|state| takes(self.filter, *state)).collect();
        if wanted.is_empty() {
            return None;
        }
        let narrow = [
            (Way::Running, &[JobState::Running][..]),
            (Way::Kept, &[JobState::Held, JobState::Blocked]),
            (Way::Waiting, &[JobState::Scheduled, JobState::Retrying]),
        ];
        let fitting =
            narrow.into_iter().find(|(_, states)| wanted.iter().all(|state| states.contains(state)));
        match fitting {
            Some((way, states)) => Some((way, states.iter().filter_map(|state| open.get(state)).sum())),
            None => Some((Way::Open, open.values().sum())),
        }
    }

    fn is_open_only(&self) -> bool {
        let states = self.filter.states.as_deref();
        states.is_some_and(|states| states.iter().all(|state| !state.is_final()))
    }

    /// The next jobs of one way, and where its walk ended before it found enough.
    async fn walk(&self, way: &Way, ways: &Ways, wanted: Wanted) -> Result<Found> {
        let is_exact = self.fields.lie_in(ways.covers);
        if is_exact || way.key() != Some(wanted.key) {
            return Ok(Found { jobs: self.rows(way, wanted, None).await?, edge: None });
        }
        let (mut found, mut wanted) = (Vec::new(), wanted);
        let (mut left, mut step) = (budget(way, ways.each.len()), FIRST_STEP);
        loop {
            step = step.min(left);
            let edge = self.edge(way, wanted, step).await?;
            let rows = self.rows(way, wanted, edge).await?;
            wanted.limit -= i64::try_from(rows.len()).unwrap_or(i64::MAX);
            found.extend(rows);
            left -= step;
            if wanted.limit <= 0 || edge.is_none() {
                return Ok(Found { jobs: found, edge: None });
            }
            if left <= 0 {
                return Ok(Found { jobs: found, edge });
            }
            wanted.after = edge;
            step *= STEP_FACTOR;
        }
    }

    /// The position of the row that ends a walk of so many; none when there are not so many.
    async fn edge(&self, way: &Way, wanted: Wanted, count: i64) -> Result<Option<Position>> {
        let (from, to) = self.bounds(way, wanted, None);
        let values = if wanted.key == Key::Id {
            let mut values = args![from.id, count - 1].to_vec();
            values.extend(way.bare_values(self.filter));
            values
        } else {
            let mut values = args![from.key, from.id, count - 1, to.key, to.id].to_vec();
            values.extend(way.values());
            values
        };
        let row = self.reader.db.optional(way.edge(wanted.is_descending), &values).await?;
        row.as_ref().map(position_from).transpose()
    }

    /// The rows that fit, in order, behind the position and up to the edge.
    async fn rows(&self, way: &Way, wanted: Wanted, edge: Option<Position>) -> Result<Vec<Position>> {
        let mut values = self.values.clone();
        values.push(wanted.limit.into());
        let sql = if way.key() == Some(wanted.key) {
            let (from, to) = self.bounds(way, wanted, edge);
            if wanted.key == Key::Id {
                values.extend(args![from.id, to.id]);
            } else {
                values.extend(args![from.key, from.id, to.key, to.id]);
            }
            way.next(wanted.is_descending)
        } else {
            let start = if wanted.is_descending { KEY_MAX } else { KEY_MIN };
            let from = wanted.after.unwrap_or(Position { key: start, id: start });
            let sign: i64 = if wanted.is_descending { -1 } else { 1 };
            values.extend(args![from.key, from.id, wanted.key as i64, sign]);
            way.sorted()
        };
        values.extend(way.values());
        self.reader.db.rows(sql, &values).await?.iter().map(position_from).collect()
    }

    /// Behind which position a walk begins, and up to which it goes.
    fn bounds(&self, way: &Way, wanted: Wanted, edge: Option<Position>) -> (Position, Position) {
        let (low, high) = way.span(self.filter);
        if wanted.is_descending {
            (wanted.after.map_or(high, |after| after.min(high)), edge.unwrap_or(low))
        } else {
            (wanted.after.map_or(low, |after| after.max(low)), edge.unwrap_or(high))
        }
    }
}

/// How many rows one of so many ways may look at.
fn budget(way: &Way, way_count: usize) -> i64 {
    let rows = if *way == Way::All { JOBS_WALKED_MAX } else { JOBS_WALKED_MAX / INDEXED_SHARE };
    (rows / i64::try_from(way_count).unwrap_or(i64::MAX)).max(FIRST_STEP)
}

fn position_from(row: &Row) -> Result<Position> {
    Ok(Position { key: row.get(0)?, id: row.get(1)? })
}

fn is_behind(at: Position, edge: Position, is_descending: bool) -> bool {
    if is_descending { at < edge } else { at > edge }
}

fn nearer(one: Option<Position>, other: Option<Position>, is_descending: bool) -> Option<Position> {
    match (one, other) {
        (Some(one), Some(other)) if is_behind(one, other, is_descending) => Some(other),
        (one, other) => one.or(other),
    }
}

/// A job that moved from one way to another meanwhile is there once.
fn put_in_order(jobs: &mut Vec<Position>, is_descending: bool) {
    jobs.sort_unstable();
    if is_descending {
        jobs.reverse();
    }
    jobs.dedup_by_key(|at| at.id);
}
