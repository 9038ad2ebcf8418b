//! Owns the health rows: how each part of the daemon is, in memory, watched by subscribers; and the changes of them that
//! the feed has not been told yet. It must never wait for the store: it is there when nothing else works.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use crate::base::clock::Timestamp;
use crate::base::pulse::Pulse;
use crate::domain::health::{Health, HealthStatus, SubsystemHealth};
use crate::store::health::{HealthChange, PartFailed};

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
    /// How often each part said itself how it is.
    reports: BTreeMap<String, u64>,
    untold: Untold,
    failures: Failures,
}

/// Failures that were not counted in an incident yet, each kind of each part once.
#[derive(Debug, Default)]
struct Failures(Vec<PartFailed>);

/// Kinds of failures of one part that are told apart until they are counted.
const KINDS_MAX: usize = 8;

impl Failures {
    fn add(&mut self, name: &str, message: &str) {
        let is_own = |known: &PartFailed| known.name == name;
        let same = self.0.iter().position(|known| is_own(known) && known.message == message);
        let is_full = self.0.iter().filter(|known| is_own(known)).count() >= KINDS_MAX;
        let place = same.or_else(|| self.0.iter().rposition(is_own).filter(|_| is_full));
        match place {
            Some(place) => self.0[place].count += 1,
            None => self.0.push(PartFailed { name: name.to_owned(), message: message.to_owned(), count: 1 }),
        }
    }
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

    /// Sets a part's row; gives true when its status changed. That it fails is counted in an incident.
    pub fn set(&self, name: &str, status: HealthStatus, message: Option<String>, now: Timestamp) -> bool {
        let mut rows = self.lock();
        let (changed, is_news) = rows.set((name, status, message), true, now);
        *rows.reports.entry(name.to_owned()).or_default() += 1;
        drop(rows);
        if is_news {
            self.0.changes.send_modify(|count| *count += 1);
        }
        changed
    }

    /// Says what a failure of a part has cost. It is well again as it would have been without.
    pub fn explain(&self, name: &str, message: String, now: Timestamp) {
        self.lock().set((name, HealthStatus::Degraded, Some(message)), true, now);
        self.0.changes.send_modify(|count| *count += 1);
    }

    /// A part failed, and will be restarted. Each of its failures is counted, whatever its row says already.
    pub fn failed(&self, name: &str, message: &str, now: Timestamp) {
        self.count_restart(name, message, now);
        self.lock().set((name, HealthStatus::Degraded, Some(message.to_owned())), false, now);
        self.0.changes.send_modify(|count| *count += 1);
    }

    /// How often a part failed and reported, to be compared later.
    pub fn said(&self, name: &str) -> Said {
        self.lock().said(name)
    }

    /// A part is well, when it has neither failed nor reported since then.
    pub fn mend(&self, name: &str, then: Said, now: Timestamp) {
        let mut rows = self.lock();
        if rows.said(name) == then {
            rows.set((name, HealthStatus::Ok, None), true, now);
        }
        drop(rows);
        self.0.changes.send_modify(|count| *count += 1);
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
        rows.failures.add(name, error);
        drop(rows);
        self.0.changes.send_modify(|count| *count += 1);
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

    /// A failure that was not counted in an incident yet.
    pub fn uncounted(&self) -> Option<PartFailed> {
        self.lock().failures.0.first().cloned()
    }

    /// So many of these failures were counted.
    pub fn counted(&self, failed: &PartFailed) {
        let is_same = |known: &PartFailed| known.name == failed.name && known.message == failed.message;
        self.lock().failures.0.retain_mut(|known| {
            known.count = known.count.saturating_sub(if is_same(known) { failed.count } else { 0 });
            known.count > 0
        });
    }

    /// The pulse of a part, which begins to beat when it is first asked for.
    pub fn pulse(&self, name: &'static str, now: Instant) -> Arc<Pulse> {
        Arc::clone(self.lock().pulses.entry(name).or_insert_with(|| Arc::new(Pulse::new(now))))
    }
}

/// How often a part failed, and how often it reported how it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said(i32, u64);

impl Rows {
    fn said(&self, name: &str) -> Said {
        let restarts = self.by_name.get(name).map_or(0, |row| row.restart_count);
        Said(restarts, self.reports.get(name).copied().unwrap_or_default())
    }

    /// Whether the status changed, and whether anything did.
    fn set(
        &mut self,
        (name, status, message): (&str, HealthStatus, Option<String>),
        is_counted: bool,
        now: Timestamp,
    ) -> (bool, bool) {
        let row = self.row(name, now);
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
            self.untold.add(HealthChange { name: name.to_owned(), status, message, is_counted });
        }
        (changed, is_news)
    }

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
    fn each_failure_is_counted_by_its_words_until_the_store_has_it() {
        let board = HealthBoard::default();
        for message in ["x", "y", "x"] {
            board.failed("a", message, NOW);
        }
        let first = board.uncounted().unwrap();
        assert_eq!((first.name.as_str(), first.message.as_str(), first.count), ("a", "x", 2));
        board.failed("a", "x", NOW);
        board.counted(&first);
        assert_eq!(board.uncounted().unwrap().count, 1, "one came meanwhile");
        for n in 0..100 {
            board.failed("a", &n.to_string(), NOW);
        }
        let mut all = 0;
        while let Some(failed) = board.uncounted() {
            all += failed.count;
            board.counted(&failed);
        }
        assert_eq!(all, 102, "none is lost, though they are told apart no more");
        assert_eq!(told(&board), [("a".to_owned(), "DEGRADED")]);
    }

    #[test]
    fn a_part_that_said_something_else_since_is_not_well() {
        let board = HealthBoard::default();
        board.failed("a", "x", NOW);
        let first = board.said("a");
        board.set("a", HealthStatus::Degraded, Some("refused".to_owned()), NOW);
        board.mend("a", first, NOW);
        assert_eq!(board.status("a"), Some(HealthStatus::Degraded));
        let second = board.said("a");
        board.failed("a", "refused", NOW);
        board.mend("a", second, NOW);
        assert_eq!(board.status("a"), Some(HealthStatus::Degraded), "it failed again");
        let third = board.said("a");
        board.explain("a", "3 bytes were lost".to_owned(), NOW);
        board.mend("a", third, NOW);
        assert_eq!(board.status("a"), Some(HealthStatus::Ok));
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
