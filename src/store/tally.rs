//! Owns what committed events add to the daemon's numbers: every way in which a job is made or ends goes through the
//! events, so that none is forgotten here.

use std::collections::BTreeMap;

use crate::base::metrics::Metrics;
use crate::domain::event::{EventType, NewEvent};
use crate::domain::job::JobState;

/// Counts the events of one commit.
pub(super) fn count<'a>(metrics: &Metrics, events: impl Iterator<Item = &'a NewEvent>) {
    // By queue, and the final state; without one it was made.
    let mut counts: BTreeMap<(&str, Option<&'static str>), u64> = BTreeMap::new();
    for event in events {
        let Some(queue) = event.queue_name.as_deref() else { continue };
        match event.kind {
            EventType::JobCreated => *counts.entry((queue, None)).or_default() += 1,
            EventType::JobStateChanged => {
                let to = event.data.get("to").and_then(|to| to.as_str()).and_then(JobState::from_word);
                if let Some(state) = to.filter(|state| state.is_final()) {
                    *counts.entry((queue, Some(state.word()))).or_default() += 1;
                }
            }
            _ => {}
        }
    }
    for ((queue, state), count) in counts {
        match state {
            None => metrics.enqueued(queue, count),
            Some(state) => metrics.finished(queue, state, count),
        }
    }
}
