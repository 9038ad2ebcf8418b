//! Owns how the daemon says how it is: one row for each part.

use async_graphql::{Enum, SimpleObject};

use crate::base::clock::Timestamp;

/// How a part, or the whole, is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Enum)]
pub enum HealthStatus {
    /// Works.
    Ok,
    /// Failed of late and is being restarted; the others go on.
    Degraded,
    /// Does not work.
    Down,
}

impl HealthStatus {
    /// The word in the API and in events.
    pub fn word(self) -> &'static str {
        match self {
            HealthStatus::Ok => "OK",
            HealthStatus::Degraded => "DEGRADED",
            HealthStatus::Down => "DOWN",
        }
    }
}

/// How the daemon is.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub struct Health {
    /// The worst of its parts.
    pub status: HealthStatus,
    /// A row for each part.
    pub subsystems: Vec<SubsystemHealth>,
}

/// How one part of the daemon is.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub struct SubsystemHealth {
    /// The part's name.
    pub name: String,
    /// How it is.
    pub status: HealthStatus,
    /// Since when.
    pub since: Timestamp,
    /// The last error, while it is not well.
    pub message: Option<String>,
    /// How often it was restarted since the daemon began.
    pub restart_count: i32,
    /// The last error since the daemon began, also when it is well again.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<Timestamp>,
}
