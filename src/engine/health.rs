//! Owns the health rows: how each part of the daemon is, in memory, watched by subscribers; and the changes of them that
//! the feed has not been told yet. It must never wait for the store: it is there when nothing else works.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use crate::base::clock::Timestamp;
use crate::base::pulse::Pulse;
use crate::domain::health::{Health, HealthStatus, SubsystemHealth};
use crate::store::health::HealthChange;

/// The rows. A change is seen by everybody who watches. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HealthBoard(Arc<Board>);

#[derive(Debug)]
struct Board {
    rows: Mutex<Rows>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Rows {
    by_name: BTreeMap<String, SubsystemHealth>,
    pulses: BTreeMap<&'static str, Arc<Pulse>>,
    untold: Untold,
}

/// Changes that the feed was not told yet, oldest first and numbered. Of each part two at most: the worst and the latest.
#[derive(Debug, Default)]
struct Untold {
    changes: VecDeque<(u64, HealthChange)>,
    count: u64,
}

impl Untold {
    fn add(&mut self, change: HealthChange) {
        let is_other = |other: &HealthChange| other.name != change.name;
        let own: Vec<_> = self.changes.iter().filter(|(_, other)| !is_other(other)).cloned().collect();
        if own.len() >= 2 {
            // The first of those that were equally bad says since when.
            let worst = own.into_iter().rev().max_by_key(|(_, one)| one.status);
            self.changes.retain(|(number, other)| {
                is_other(other) || worst.as_ref().is_some_and(|(kept, _)| kept == number)
            });
        }
        self.count += 1;
        self.changes.push_back((self.count, change));
    }
}

impl Default for HealthBoard {
    fn default() -> HealthBoard {
        HealthBoard(Arc::new(Board { rows: Mutex::default(), changes: watch::Sender::new(0) }))
    }
}

impl HealthBoard {
    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.0.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets a part's row; gives true when its status changed.
    pub fn set(&self, name: &str, status: HealthStatus, message: Option<String>, now: Timestamp) -> bool {
        let mut rows = self.lock();
        let row = rows.row(name, now);
        let (changed, is_news) = (row.status != status, row.status != status || row.message != message);
        if changed {
            row.since = now;
            row.status = status;
        }
        if message.is_some() {
            row.last_error.clone_from(&message);
            row.last_error_at = Some(now);
        }
        row.message.clone_from(&message);
        if changed {
            rows.untold.add(HealthChange { name: name.to_owned(), status, message });
        }
        drop(rows);
        if is_news {
            self.0.changes.send_modify(|count| *count += 1);
        }
        changed
    }

    /// Makes a part's row, as well, where there is none yet.
    pub fn begin(&self, name: &str, now: Timestamp) {
        self.lock().row(name, now);
        self.0.changes.send_modify(|count| *count += 1);
    }

    /// Counts a failure of a part that is being restarted, or of one of many that are alike. Its status is not touched.
    pub fn count_restart(&self, name: &str, error: &str, now: Timestamp) {
        let mut rows = self.lock();
        let row = rows.row(name, now);
        row.restart_count += 1;
        row.last_error = Some(error.to_owned());
        row.last_error_at = Some(now);
        drop(rows);
        self.0.changes.send_modify(|count| *count += 1);
    }

    /// Restarts of a part so far.
    pub fn restart_count(&self, name: &str) -> i32 {
        self.lock().by_name.get(name).map_or(0, |row| row.restart_count)
    }

    /// How everything is now.
    pub fn read(&self) -> Health {
        let rows = self.lock();
        let status = rows.by_name.values().map(|row| row.status).max().unwrap_or(HealthStatus::Ok);
        Health { status, subsystems: rows.by_name.values().cloned().collect() }
    }

    /// How one part is; `None` before it has begun.
    pub fn status(&self, name: &str) -> Option<HealthStatus> {
        self.lock().by_name.get(name).map(|row| row.status)
    }

    /// Tells of each change.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// The oldest change that the feed was not told, with its number for `told`.
    pub fn untold(&self) -> Option<(u64, HealthChange)> {
        self.lock().untold.changes.front().cloned()
    }

    /// The feed was told this change.
    pub fn told(&self, number: u64) {
        self.lock().untold.changes.retain(|(other, _)| *other != number);
    }

    /// The pulse of a part, which begins to beat when it is first asked for.
    pub fn pulse(&self, name: &'static str, now: Instant) -> Arc<Pulse> {
        Arc::clone(self.lock().pulses.entry(name).or_insert_with(|| Arc::new(Pulse::new(now))))
    }
}

impl Rows {
    fn row(&mut self, name: &str, now: Timestamp) -> &mut SubsystemHealth {
        self.by_name.entry(name.to_owned()).or_insert_with(|| SubsystemHealth {
            name: name.to_owned(),
            status: HealthStatus::Ok,
            since: now,
            message: None,
            restart_count: 0,
            last_error: None,
            last_error_at: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

    fn told(board: &HealthBoard) -> Vec<(String, &'static str)> {
        std::iter::from_fn(|| {
            let (number, change) = board.untold()?;
            board.told(number);
            Some((change.name, change.status.word()))
        })
        .collect()
    }

    #[test]
    fn of_each_part_the_worst_and_the_latest_change_wait_to_be_told() {
        let board = HealthBoard::default();
        let set = |name: &str, status| board.set(name, status, None, NOW);
        set("a", HealthStatus::Ok);
        assert_eq!(told(&board), []);
        for _ in 0..100 {
            set("a", HealthStatus::Degraded);
            set("b", HealthStatus::Degraded);
            set("a", HealthStatus::Down);
            set("a", HealthStatus::Ok);
        }
        let own = |name: &str, word| (name.to_owned(), word);
        assert_eq!(told(&board), [own("b", "DEGRADED"), own("a", "DOWN"), own("a", "OK")]);
        assert_eq!(told(&board), []);
    }

    #[test]
    fn the_last_error_stays_when_the_part_is_well_again() {
        let board = HealthBoard::default();
        board.begin("a", NOW);
        board.count_restart("a", "panicked: x", NOW);
        let row = board.read().subsystems.remove(0);
        assert_eq!((row.status, row.restart_count), (HealthStatus::Ok, 1));
        assert_eq!((row.message, row.last_error.as_deref()), (None, Some("panicked: x")));
        board.set("a", HealthStatus::Down, Some("gone".to_owned()), NOW);
        board.set("a", HealthStatus::Ok, None, NOW);
        let row = board.read().subsystems.remove(0);
        assert_eq!((row.message, row.last_error.as_deref()), (None, Some("gone")));
    }
}
