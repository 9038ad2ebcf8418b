//! Owns the conditions of a filter of jobs, as arguments of a statement, and what a filter names. It never chooses the
//! way by which jobs are found.

use super::db::{Kind, Value};
use super::page;
use crate::args;
use crate::domain::filter::{JobFilter, TimeRangeInput};
use crate::domain::job::JobState;

/// The conditions of a `JobFilter`, as arguments $1 to $14.
macro_rules! job_filter {
    () => {
        concat!(
            "($13 IS NULL OR token_id = $13)
         AND ($1 IS NULL OR id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1)))
         AND ($2 IS NULL OR state IN (SELECT atom FROM jsonb_each($2)))
         AND ($3 IS NULL OR task_name IN (SELECT atom FROM jsonb_each($3)))
         AND ($4 IS NULL OR queue IN (SELECT atom FROM jsonb_each($4)))
         AND ",
            $crate::store::page::has_labels!("jobs.id", "$5"),
            "
         AND ($6 IS NULL OR origin IN (SELECT atom FROM jsonb_each($6)))
         AND ($7 IS NULL OR created_at_us >= $7)
         AND ($8 IS NULL OR created_at_us < $8)
         AND ($9 IS NULL OR finished_at_us >= $9)
         AND ($10 IS NULL OR finished_at_us < $10)
         AND ($11 IS NULL OR schedule_id = $11)
         AND ($12 IS NULL OR search_text LIKE $12 ESCAPE '\\'
              OR EXISTS (
                  SELECT 1 FROM jsonb_each('[' || failure || ']') AS why
                  WHERE lower(why.value ->> 'message') LIKE $12 ESCAPE '\\'
                     OR lower(why.value ->> 'error_line') LIKE $12 ESCAPE '\\'
                     OR lower(why.value ->> 'outcome') LIKE $12 ESCAPE '\\'
                     OR lower(why.value ->> 'signal') LIKE $12 ESCAPE '\\'))
         AND ($14 IS NULL OR EXISTS (
              SELECT 1 FROM attempts WHERE attempts.job_id = jobs.id AND attempts.incident_id = $14))"
        )
    };
}
pub(super) use job_filter;

/// The kinds of `job_filter`.
pub(super) const FILTER_KINDS: [Kind; 14] = [
    Kind::Text,
    Kind::Text,
    Kind::Text,
    Kind::Text,
    Kind::Text,
    Kind::Text,
    Kind::Int,
    Kind::Int,
    Kind::Int,
    Kind::Int,
    Kind::Int,
    Kind::Text,
    Kind::Int,
    Kind::Int,
];

/// The arguments of `job_filter`.
pub(super) fn filter_values(filter: &JobFilter) -> Vec<Value> {
    let created = filter.created.unwrap_or_default();
    let finished = filter.finished.unwrap_or_default();
    args![
        page::numbers(filter.ids.as_deref(), |id| id.0),
        page::words(filter.states.as_deref(), |state| state.word().to_owned()),
        page::words(filter.tasks.as_deref(), Clone::clone),
        page::words(filter.queues.as_deref(), Clone::clone),
        page::labels(filter.labels.as_deref()),
        page::words(filter.origins.as_deref(), |origin| origin.word().to_owned()),
        created.from.map(|at| at.0),
        created.to.map(|at| at.0),
        finished.from.map(|at| at.0),
        finished.to.map(|at| at.0),
        filter.schedule_id.map(|id| id.0),
        filter.text.as_deref().map(page::contains),
        filter.sight.own().map(|token| token.0),
        filter.incident_id.map(|id| id.0),
    ]
    .to_vec()
}

/// What a filter asks about: one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fields(u16);

impl Fields {
    pub(super) const NONE: Fields = Fields(0);
    pub(super) const IDS: Fields = Fields(1);
    pub(super) const STATES: Fields = Fields(1 << 1);
    pub(super) const TASKS: Fields = Fields(1 << 2);
    pub(super) const QUEUES: Fields = Fields(1 << 3);
    pub(super) const LABELS: Fields = Fields(1 << 4);
    pub(super) const ORIGINS: Fields = Fields(1 << 5);
    pub(super) const CREATED: Fields = Fields(1 << 6);
    pub(super) const FINISHED: Fields = Fields(1 << 7);
    pub(super) const SCHEDULE: Fields = Fields(1 << 8);
    pub(super) const TEXT: Fields = Fields(1 << 9);
    pub(super) const TOKEN: Fields = Fields(1 << 10);
    pub(super) const INCIDENT: Fields = Fields(1 << 11);

    /// Those that the filter names.
    pub(super) fn of(filter: &JobFilter) -> Fields {
        let named = [
            (Fields::IDS, filter.ids.is_some()),
            (Fields::STATES, filter.states.is_some()),
            (Fields::TASKS, filter.tasks.is_some()),
            (Fields::QUEUES, filter.queues.is_some()),
            (Fields::LABELS, filter.labels.as_ref().is_some_and(|labels| !labels.is_empty())),
            (Fields::ORIGINS, filter.origins.is_some()),
            (Fields::CREATED, is_bounded(filter.created)),
            (Fields::FINISHED, is_bounded(filter.finished)),
            (Fields::SCHEDULE, filter.schedule_id.is_some()),
            (Fields::TEXT, filter.text.is_some()),
            (Fields::TOKEN, filter.sight.own().is_some()),
            (Fields::INCIDENT, filter.incident_id.is_some()),
        ];
        named.into_iter().filter(|(_, is_named)| *is_named).fold(Fields::NONE, |all, (one, _)| all.and(one))
    }

    pub(super) const fn and(self, other: Fields) -> Fields {
        Fields(self.0 | other.0)
    }

    /// Whether none of them lies outside `other`.
    pub(super) const fn lie_in(self, other: Fields) -> bool {
        self.0 & !other.0 == 0
    }

    pub(super) const fn has(self, other: Fields) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A range without ends asks for nothing.
fn is_bounded(range: Option<TimeRangeInput>) -> bool {
    range.is_some_and(|range| range.from.is_some() || range.to.is_some())
}

/// Whether jobs in this state can fit.
pub(super) fn takes(filter: &JobFilter, state: JobState) -> bool {
    let is_named = filter.states.as_ref().is_none_or(|states| states.contains(&state));
    is_named && (state.is_final() || !is_bounded(filter.finished))
}
