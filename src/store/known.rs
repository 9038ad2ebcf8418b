//! Owns what the writer remembers between its turns: rows that nobody ever removes, so that it need not ask for them again.
//! It must never hold what an undone transaction made: after a failure it is forgotten whole.

use std::collections::HashSet;

use crate::domain::id::WorkerId;
use crate::domain::job::JobState;
use crate::domain::placement::WorkerLabels;

/// Entries of each kind that are remembered; with more all begins anew.
const KNOWN_MAX: usize = 4_096;

/// Rows that are there.
#[derive(Debug, Default)]
pub(super) struct Known {
    queues: HashSet<String>,
    counts: HashSet<(String, JobState)>,
    /// The worker of this process.
    labels: Option<(WorkerId, WorkerLabels)>,
}

impl Known {
    /// Whether this queue was seen. No queue is ever removed.
    pub(super) fn has_queue(&self, name: &str) -> bool {
        self.queues.contains(name)
    }

    /// This queue was seen.
    pub(super) fn see_queue(&mut self, name: &str) {
        if self.queues.len() >= KNOWN_MAX {
            self.queues.clear();
        }
        self.queues.insert(name.to_owned());
    }

    /// The labels of this worker, if it was seen. No worker ever gets others.
    pub(super) fn labels(&self, worker: WorkerId) -> Option<WorkerLabels> {
        self.labels.as_ref().filter(|(id, _)| *id == worker).map(|(_, labels)| labels.clone())
    }

    /// This worker was seen, and has these labels.
    pub(super) fn see_labels(&mut self, worker: WorkerId, labels: WorkerLabels) {
        self.labels = Some((worker, labels));
    }

    /// Whether the count of this queue and state has its row. No such row is ever removed.
    pub(super) fn has_count(&self, place: &(String, JobState)) -> bool {
        self.counts.contains(place)
    }

    /// This row was made, or was there.
    pub(super) fn see_count(&mut self, place: (String, JobState)) {
        if self.counts.len() >= KNOWN_MAX {
            self.counts.clear();
        }
        self.counts.insert(place);
    }
}
