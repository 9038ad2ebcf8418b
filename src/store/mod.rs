//! The truth: everything that must survive, behind values and functions. The only floor that holds SQL.
//! It must never decide what the product means (that is `domain`), nor spawn, nor know who is asking.

pub mod attempts;
pub mod backup;
pub mod beside;
pub mod blockers;
pub mod breaker;
pub mod bulk;
pub mod care;
pub mod claim;
pub mod db;
pub mod dependencies;
pub mod doctor;
pub mod ends;
pub mod estimates;
pub mod events;
pub mod expiry;
pub mod fault;
pub mod files;
pub mod health;
pub mod ids;
mod incident_counts;
pub mod incident_upkeep;
pub mod incidents;
mod job_columns;
mod job_filter;
pub mod job_lists;
mod job_rows;
mod job_search;
pub mod job_traces;
mod job_walks;
mod job_ways;
pub mod jobs;
pub mod keys;
mod known;
pub mod log_care;
mod log_chunks;
pub mod log_days;
mod log_pages;
pub mod log_room;
pub mod logs;
mod migrations;
pub mod moved;
pub mod moving;
pub mod offer;
pub mod open;
pub mod page;
pub mod placement;
pub mod prune;
pub mod queues;
mod remains;
pub mod reports;
pub mod restore;
pub mod room;
pub mod schedules;
pub mod sharing;
pub mod sinks;
pub mod sizes;
pub mod spool;
pub mod statements;
pub mod suspects;
pub mod tally;
pub mod task_history;
pub mod tasks;
pub mod ticks;
pub mod tokens;
pub mod transition;
pub mod unique;
pub mod upgrade;
pub mod upkeep;
pub mod waiting;
pub mod workers;
pub mod writer;

use std::sync::Arc;

pub use care::Care;
pub use db::Db;
pub use fault::{Certainty, Fault, FaultKind, Result};
pub use open::Store;
pub use sharing::Sharing;
pub use writer::{Committed, Refusal, Writer};

/// Reads the state. Cheap to clone; never writes.
#[derive(Debug, Clone)]
pub struct Reader {
    db: Arc<Db>,
    epoch: u32,
}

impl Reader {
    /// Reads from `db`, whose cursors carry `epoch`.
    pub fn new(db: Arc<Db>, epoch: u32) -> Reader {
        Reader { db, epoch }
    }

    /// Names this store in cursors.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The engine's name, for people.
    pub fn engine(&self) -> &'static str {
        self.db.engine()
    }
}
