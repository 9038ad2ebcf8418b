//! Owns the health rows: how each part of the daemon is, in memory, watched by subscribers.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::base::clock::Timestamp;
use crate::domain::health::{Health, HealthStatus, SubsystemHealth};

/// The rows. A change is seen by everybody who watches.
#[derive(Debug)]
pub struct HealthBoard {
    rows: Mutex<BTreeMap<String, SubsystemHealth>>,
    changes: watch::Sender<u64>,
}

impl Default for HealthBoard {
    fn default() -> HealthBoard {
        HealthBoard { rows: Mutex::default(), changes: watch::Sender::new(0) }
    }
}

impl HealthBoard {
    /// Sets a part's row; gives true when its status changed.
    pub fn set(&self, name: &str, status: HealthStatus, message: Option<String>, now: Timestamp) -> bool {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let row = rows.entry(name.to_owned()).or_insert_with(|| SubsystemHealth {
            name: name.to_owned(),
            status: HealthStatus::Ok,
            since: now,
            message: None,
            restart_count: 0,
        });
        let changed = row.status != status;
        if changed {
            row.since = now;
            row.status = status;
        }
        row.message = message;
        drop(rows);
        self.changes.send_modify(|count| *count += 1);
        changed
    }

    /// Counts a restart of a part.
    pub fn count_restart(&self, name: &str) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(row) = rows.get_mut(name) {
            row.restart_count += 1;
        }
    }

    /// Restarts of a part so far.
    pub fn restart_count(&self, name: &str) -> i32 {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.get(name).map_or(0, |row| row.restart_count)
    }

    /// How everything is now.
    pub fn read(&self) -> Health {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let status = rows.values().map(|row| row.status).max().unwrap_or(HealthStatus::Ok);
        Health { status, subsystems: rows.values().cloned().collect() }
    }

    /// How one part is; `None` before it has begun.
    pub fn status(&self, name: &str) -> Option<HealthStatus> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).get(name).map(|row| row.status)
    }

    /// Tells of each change.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
