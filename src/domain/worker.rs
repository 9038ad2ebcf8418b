//! Owns the worker: one daemon process that runs jobs.

use async_graphql::{Enum, SimpleObject};

use super::id::WorkerId;
use super::job::Label;
use crate::base::clock::Timestamp;

/// Whether a worker takes jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum WorkerStatus {
    /// Takes jobs.
    Online,
    /// Finishes what runs and takes nothing more.
    Draining,
    /// Gone.
    Offline,
}

/// One daemon process that runs jobs.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(complex)]
pub struct Worker {
    /// Its row.
    #[graphql(skip)]
    pub id: WorkerId,
    /// Host and process id.
    pub name: String,
    /// Beadle's version.
    pub version: String,
    /// Places for attempts.
    pub slots: i32,
    /// Its labels, by which jobs choose where they run; `host` is the name of its machine unless it was given another.
    pub labels: Vec<Label>,
    /// When it started.
    pub started_at: Timestamp,
    /// When it stopped in order, or was taken for dead.
    #[graphql(skip)]
    pub stopped_at: Option<Timestamp>,
    /// When it was last known to be there, where several share the store.
    #[graphql(skip)]
    pub seen_at: Option<Timestamp>,
    /// Since when it takes nothing more.
    #[graphql(skip)]
    pub draining_at: Option<Timestamp>,
}
