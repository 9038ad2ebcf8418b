//! Owns the questions that lists answer: filters and orders, as asked at the door.

use async_graphql::{Enum, InputObject};

use super::access::Sight;
use super::event::EventType;
use super::id::{IncidentId, JobId, ScheduleId};
use super::job::{JobOrigin, JobState, Label};
use super::limits::FILTER_VALUES_MAX;
use super::task::TaskRef;
use crate::base::clock::Timestamp;

/// From an instant to another; either may be left out.
#[derive(Debug, Clone, Copy, Default, InputObject)]
pub struct TimeRangeInput {
    /// Not before this.
    pub from: Option<Timestamp>,
    /// Before this.
    pub to: Option<Timestamp>,
}

/// Which jobs: a list means "any of", fields mean "and".
#[derive(Debug, Clone, Default, InputObject)]
pub struct JobFilter {
    /// These jobs.
    pub ids: Option<Vec<JobId>>,
    /// In these states.
    pub states: Option<Vec<JobState>>,
    /// Of tasks with these names.
    pub tasks: Option<Vec<String>>,
    /// In these queues.
    pub queues: Option<Vec<String>>,
    /// With each of these labels.
    pub labels: Option<Vec<Label>>,
    /// That came to be so.
    pub origins: Option<Vec<JobOrigin>>,
    /// Accepted in this time.
    pub created: Option<TimeRangeInput>,
    /// Finished in this time.
    pub finished: Option<TimeRangeInput>,
    /// With an attempt that was counted into this incident.
    pub incident_id: Option<IncidentId>,
    /// Made by this schedule.
    pub schedule_id: Option<ScheduleId>,
    /// Whose command, task name or failure contains this, in any case.
    pub text: Option<String>,
    /// Of those that the caller may see. Not asked for: the door sets it.
    #[graphql(skip)]
    pub sight: Sight,
}

impl JobFilter {
    /// Whether every list is short enough.
    pub fn is_bounded(&self) -> bool {
        fn fits<T>(list: Option<&Vec<T>>) -> bool {
            list.is_none_or(|list| list.len() <= FILTER_VALUES_MAX)
        }
        fits(self.ids.as_ref())
            && fits(self.states.as_ref())
            && fits(self.tasks.as_ref())
            && fits(self.queues.as_ref())
            && fits(self.labels.as_ref())
            && fits(self.origins.as_ref())
    }
}

/// Which tasks.
#[derive(Debug, Clone, Default, InputObject)]
pub struct TaskFilter {
    /// Whose name or description contains this, in any case.
    pub text: Option<String>,
    /// Whose jobs go to these queues.
    pub queues: Option<Vec<String>>,
    /// Archived ones too.
    #[graphql(default)]
    pub include_archived: bool,
}

/// Which schedules.
#[derive(Debug, Clone, Default, InputObject)]
pub struct ScheduleFilter {
    /// Of this task.
    pub task: Option<TaskRef>,
    /// Only paused ones, or only others.
    pub is_paused: Option<bool>,
}

/// Which events.
#[derive(Debug, Clone, Default, InputObject)]
pub struct EventFilter {
    /// Of these types.
    pub types: Option<Vec<EventType>>,
    /// About these jobs.
    pub job_ids: Option<Vec<JobId>>,
    /// About tasks with these names, and their jobs.
    pub tasks: Option<Vec<String>>,
    /// About these queues, and their jobs.
    pub queues: Option<Vec<String>>,
    /// About jobs with each of these labels.
    pub labels: Option<Vec<Label>>,
    /// Of those that the caller may see. Not asked for: the door sets it.
    #[graphql(skip)]
    pub sight: Sight,
}

/// How jobs are ordered.
#[derive(Debug, Clone, Copy, InputObject)]
pub struct JobOrder {
    /// By what.
    pub field: JobOrderField,
    /// Which end first.
    #[graphql(default_with = "OrderDirection::Desc")]
    pub direction: OrderDirection,
}

impl Default for JobOrder {
    fn default() -> JobOrder {
        JobOrder { field: JobOrderField::CreatedAt, direction: OrderDirection::Desc }
    }
}

/// What jobs can be ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum JobOrderField {
    /// When they were accepted.
    CreatedAt,
    /// Their earliest start.
    RunAt,
    /// When they became final; the others come last in time.
    FinishedAt,
    /// Their priority.
    Priority,
}

/// Which end of an order comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum OrderDirection {
    /// Smallest or oldest first.
    Asc,
    /// Largest or newest first.
    Desc,
}
