//! Owns the ways by which jobs are found, and which statement of `job_walks` is which. It never chooses among them.

use super::db::{Sql, Value};
use super::job_filter::Fields;
use super::job_walks::{
    COUNT, COUNT_BY_KEY, COUNT_LOOSE, EDGE, EDGE_BY_KEY, NEXT, NEXT_BY_KEY, SIZE, SORTED,
};
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::filter::{JobFilter, JobOrderField, TimeRangeInput};
use crate::domain::id::TaskId;
use crate::domain::job::{JobState, Label};

/// Below every key, and above it; what has not finished is ordered by `OPEN_KEY`.
pub(super) const KEY_MIN: i64 = -9_100_000_000_000_000_000;
pub(super) const KEY_MAX: i64 = 9_100_000_000_000_000_000;

/// What a list is ordered by, before the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// The id: jobs are made in this order.
    Id,
    /// The instant at which a job was made. Clocks are set back; within a range of time this is the order.
    Created,
    RunAt,
    /// What has not finished comes last in time.
    Finished,
    Priority,
}

impl Key {
    pub(super) fn of(field: JobOrderField, fields: Fields) -> Key {
        match field {
            // Of a token's own jobs, and of some by name, there is no walk in time.
            JobOrderField::CreatedAt
                if fields.has(Fields::CREATED) && !fields.has(Fields::TOKEN) && !fields.has(Fields::IDS) =>
            {
                Key::Created
            }
            JobOrderField::CreatedAt => Key::Id,
            JobOrderField::RunAt => Key::RunAt,
            JobOrderField::FinishedAt => Key::Finished,
            JobOrderField::Priority => Key::Priority,
        }
    }
}

/// Where a job stands in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) key: i64,
    pub(super) id: i64,
}

/// A set of jobs that an index gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    // These are walked by id.
    All,
    Task(TaskId),
    /// The filter's schedule.
    Schedule,
    /// The token of whoever asks.
    Token,
    Label(Label),
    /// The filter's incident.
    Incident,
    /// Final jobs of a queue in a state.
    Ended(String, JobState),
    // These are walked by a key.
    /// Made in the filter's range.
    Created,
    /// Finished in this state, in the filter's range or ever.
    Finished(JobState),
    OpenByRunAt,
    OpenByPriority,
    // These come in no order.
    /// The filter's ids.
    Ids,
    /// Not final.
    Open,
    Running,
    /// Waiting for their time.
    Waiting,
    /// Kept from their turn.
    Kept,
}

/// The ways that are walked by id come first in each table of statements, then those by a key.
pub(super) const BY_ID: usize = 7;
pub(super) const BY_KEY: usize = 4;
pub(super) const LOOSE: usize = 5;

impl Way {
    fn place(&self) -> usize {
        match self {
            Way::All => 0,
            Way::Task(_) => 1,
            Way::Schedule => 2,
            Way::Token => 3,
            Way::Label(_) => 4,
            Way::Incident => 5,
            Way::Ended(..) => 6,
            Way::Created => 7,
            Way::Finished(_) => 8,
            Way::OpenByRunAt => 9,
            Way::OpenByPriority => 10,
            Way::Ids => 11,
            Way::Open => 12,
            Way::Running => 13,
            Way::Waiting => 14,
            Way::Kept => 15,
        }
    }

    /// The key in whose order its index stands.
    pub(super) fn key(&self) -> Option<Key> {
        match self {
            Way::Created => Some(Key::Created),
            Way::Finished(_) => Some(Key::Finished),
            Way::OpenByRunAt => Some(Key::RunAt),
            Way::OpenByPriority => Some(Key::Priority),
            by_id => (by_id.place() < BY_ID).then_some(Key::Id),
        }
    }

    /// Whether its jobs may leave it at any moment.
    pub(super) fn is_of_open_jobs(&self) -> bool {
        matches!(self, Way::Open | Way::Running | Way::Waiting | Way::Kept)
    }

    /// Its arguments beside those of the filter.
    pub(super) fn values(&self) -> Vec<Value> {
        match self {
            Way::Task(id) => args![id.0].to_vec(),
            Way::Label(label) => args![label.key.as_str(), label.value.as_str()].to_vec(),
            Way::Ended(queue, state) => args![queue.as_str(), state.word()].to_vec(),
            Way::Finished(state) => args![state.word()].to_vec(),
            _ => Vec::new(),
        }
    }

    /// Its arguments where a statement does not take the filter.
    pub(super) fn bare_values(&self, filter: &JobFilter) -> Vec<Value> {
        let range = |range: Option<TimeRangeInput>| {
            let range = range.unwrap_or_default();
            args![range.from.map(|at| at.0), range.to.map(|at| at.0)].to_vec()
        };
        match self {
            Way::Schedule => args![filter.schedule_id.map(|id| id.0)].to_vec(),
            Way::Token => args![filter.sight.own().map(|id| id.0)].to_vec(),
            Way::Incident => args![filter.incident_id.map(|id| id.0)].to_vec(),
            Way::Created => range(filter.created),
            Way::Finished(state) => {
                let mut values = range(filter.finished);
                values.push(state.word().into());
                values
            }
            own => own.values(),
        }
    }

    /// Walks its index, from the rows behind a position to those at another.
    pub(super) fn next(&self, is_descending: bool) -> &'static Sql {
        let at = self.place() * 2 + usize::from(is_descending);
        if self.place() < BY_ID { &NEXT[at] } else { &NEXT_BY_KEY[at - BY_ID * 2] }
    }

    /// The position that a walk of so many rows comes to.
    pub(super) fn edge(&self, is_descending: bool) -> &'static Sql {
        let at = self.place() * 2 + usize::from(is_descending);
        if self.place() < BY_ID { &EDGE[at] } else { &EDGE_BY_KEY[at - BY_ID * 2] }
    }

    /// Puts all that fits into an order.
    pub(super) fn sorted(&self) -> &'static Sql {
        &SORTED[self.loose_place()]
    }

    /// Counts by state: those behind a position of the ways that are walked by id, those between two of the ways that
    /// are walked by a key, all of the others.
    pub(super) fn count(&self) -> &'static Sql {
        match (self.key(), self.loose_place()) {
            (Some(Key::Id), place) => &COUNT[place],
            (Some(_), place) => &COUNT_BY_KEY[place - BY_ID],
            (None, place) => &COUNT_LOOSE[place - BY_ID - 2],
        }
    }

    /// Where its walk begins and ends at most, from the lowest to the highest: behind the one, up to the other.
    pub(super) fn span(&self, filter: &JobFilter) -> (Position, Position) {
        let range = match self {
            Way::Created => filter.created,
            Way::Finished(_) => filter.finished,
            _ => None,
        };
        let range = range.unwrap_or_default();
        let before = |at: Option<Timestamp>, otherwise| Position {
            key: at.map_or(otherwise, |at| at.0),
            id: if at.is_some() { KEY_MIN } else { otherwise },
        };
        (before(range.from, KEY_MIN), before(range.to, KEY_MAX))
    }

    /// How many rows it has, up to a limit. Those of a few rows are not measured, nor those that the kept counts know.
    pub(super) fn size(&self) -> Option<&'static Sql> {
        match self {
            Way::Task(_) => Some(&SIZE[0]),
            Way::Schedule => Some(&SIZE[1]),
            Way::Label(_) => Some(&SIZE[2]),
            Way::Incident => Some(&SIZE[3]),
            Way::Created => Some(&SIZE[4]),
            Way::Finished(_) => Some(&SIZE[5]),
            _ => None,
        }
    }

    /// Among all ways but the two that are only walked.
    fn loose_place(&self) -> usize {
        assert!(!matches!(self, Way::OpenByRunAt | Way::OpenByPriority), "{self:?} is only walked");
        let place = self.place();
        if place < BY_ID + 2 { place } else { place - 2 }
    }
}
