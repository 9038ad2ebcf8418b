//! Owns what the store keeps of the daemon's own health: that a part failed or recovered, in the feed, and each failure
//! in its incident.

use super::writer::{Batch, Change, Outcome};
use crate::domain::event::{EventData, EventType, NewEvent};
use crate::domain::health::HealthStatus;
use crate::domain::incident::Occurrence;

/// A part failed or recovered.
#[derive(Debug, Clone)]
pub struct HealthChange {
    /// The part.
    pub name: String,
    /// How it is now.
    pub status: HealthStatus,
    /// The error, while it is not well.
    pub message: Option<String>,
    /// Whether the change is a failure that nobody counts otherwise.
    pub is_counted: bool,
}

/// A part failed, so often and with these words, and was or will be restarted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartFailed {
    /// The part.
    pub name: String,
    /// The error.
    pub message: String,
    /// How often.
    pub count: usize,
}

/// More failures than these in one go are counted as so many.
const FAILURES_MAX: usize = 1_000;

impl Change for PartFailed {
    type Answer = ();

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<()> {
        for _ in 0..self.count.min(FAILURES_MAX) {
            batch.failures.add(Occurrence::of_subsystem(&self.name, Some(&self.message)), None);
        }
        Ok(())
    }
}

impl Change for HealthChange {
    type Answer = ();

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<()> {
        if self.status != HealthStatus::Ok && self.is_counted {
            batch.failures.add(Occurrence::of_subsystem(&self.name, self.message.as_deref()), None);
        }
        batch.emit(NewEvent {
            kind: EventType::HealthChanged,
            actor: "supervisor".to_owned(),
            subject_id: None,
            job_id: None,
            task_name: None,
            queue_name: None,
            data: EventData::of("subsystem", &self.name)
                .with("status", self.status.word())
                .with("message", &self.message),
        });
        Ok(())
    }
}
