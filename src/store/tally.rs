//! Owns what committed events add to the daemon's numbers: every way in which a job is made or ends goes through the
//! events, so that none is forgotten here.

use std::collections::BTreeMap;

use crate::base::metrics::Metrics;
use crate::domain::event::{EventType, NewEvent};

/// What the events of one commit add, by the final state, without one for what was made, and by queue.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<Option<&'static str>, BTreeMap<String, u64>>);

impl Tally {
    /// Counts an event.
    pub(super) fn add(&mut self, event: &NewEvent) {
        let Some(queue) = event.queue_name.as_deref() else { return };
        let state = match event.kind {
            EventType::JobCreated => None,
            EventType::JobStateChanged => {
                let to = event.data.moved_to().expect("a change of state says where to");
                if !to.is_final() {
                    return;
                }
                Some(to.word())
            }
            _ => return,
        };
        let counts = self.0.entry(state).or_default();
        match counts.get_mut(queue) {
            Some(count) => *count += 1,
            None => drop(counts.insert(queue.to_owned(), 1)),
        }
    }

    /// Adds it to the daemon's numbers, when the commit is done.
    pub(super) fn tell(&self, metrics: &Metrics) {
        for (state, counts) in &self.0 {
            for (queue, count) in counts {
                match state {
                    None => metrics.enqueued(queue, *count),
                    Some(state) => metrics.finished(queue, state, *count),
                }
            }
        }
    }
}
