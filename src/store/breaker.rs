//! Owns the breaker: what stands in the way of every change, so that it is refused at once and no disk is touched.
//! Only the probe, a real write each second, passes it. It must never say that a fault is over without such a write, or
//! without having looked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::fault::{Certainty, Fault, FaultKind};
use super::files::Files;

/// Changes in a row that fail for reasons of our own before the store itself is doubted.
const FAILURES_MAX: usize = 3;

#[derive(Debug, Default)]
struct State {
    /// The last commit failed.
    write: Option<Fault>,
    /// The files are not those that we opened.
    file: Option<Fault>,
    /// A check found damage.
    damage: Option<Fault>,
    failures: usize,
}

impl State {
    /// What weighs most: what no write can end comes first.
    fn fault(&self) -> Option<Fault> {
        self.file.as_ref().or(self.damage.as_ref()).or(self.write.as_ref()).cloned()
    }
}

/// The breaker of one store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Breaker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: Files,
    state: Mutex<State>,
    shown: watch::Sender<Option<Fault>>,
    /// Why no new jobs are taken, while everything else is.
    room: watch::Sender<Option<Fault>>,
}

impl Breaker {
    /// Closed, over these files.
    pub fn new(files: Files) -> Breaker {
        let (shown, room) = (watch::Sender::new(None), watch::Sender::new(None));
        Breaker(Arc::new(Inner { files, state: Mutex::default(), shown, room }))
    }

    /// Why every change is refused; nothing while it is closed.
    pub fn fault(&self) -> Option<Fault> {
        self.0.shown.borrow().clone()
    }

    /// The same, watched.
    pub fn watch(&self) -> watch::Receiver<Option<Fault>> {
        self.0.shown.subscribe()
    }

    /// Why no new jobs are taken: the disk is nearly full.
    pub fn low_room(&self) -> Option<Fault> {
        self.0.room.borrow().clone()
    }

    /// A change was refused for good, or a batch failed.
    pub(super) fn failed(&self, fault: &Fault) {
        self.update(|state| {
            state.failures += usize::from(fault.kind == FaultKind::Bug);
            let is_unsure = fault.certainty == Certainty::Unknown;
            if fault.is_of_the_store() || is_unsure || state.failures >= FAILURES_MAX {
                state.write = Some(fault.clone());
            }
        });
    }

    /// A commit succeeded.
    pub(super) fn succeeded(&self) {
        self.update(|state| (state.write, state.failures) = (None, 0));
    }

    /// Looks at the files, and says what is wrong with them.
    pub(super) fn look_at_files(&self) -> Option<Fault> {
        let found = self.0.files.trouble();
        self.update(|state| state.file.clone_from(&found));
        found
    }

    /// The files that it looks at.
    pub(super) fn files(&self) -> &Files {
        &self.0.files
    }

    /// What the last check found.
    pub(super) fn set_damage(&self, damage: Option<Fault>) {
        self.update(|state| state.damage = damage);
    }

    /// Whether the last check found damage.
    pub(super) fn is_damaged(&self) -> bool {
        self.lock().damage.is_some()
    }

    /// Whether there is room for new jobs.
    pub(super) fn set_low_room(&self, low: Option<Fault>) {
        self.0.room.send_if_modified(|room| {
            let is_news = room.is_some() != low.is_some();
            *room = low;
            is_news
        });
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        // Shown under the lock: two updates are shown in their order.
        self.0.shown.send_if_modified(|shown| {
            let fault = state.fault();
            let is_news = fault.as_ref().map(|fault| fault.kind) != shown.as_ref().map(|fault| fault.kind);
            *shown = fault;
            is_news
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(breaker: &Breaker) -> Option<FaultKind> {
        breaker.fault().map(|fault| fault.kind)
    }

    #[test]
    fn trouble_of_the_store_opens_it_at_once_and_our_own_mistakes_at_the_third() {
        let breaker = Breaker::new(Files::default());
        breaker.failed(&Fault::new(FaultKind::Constraint, "taken"));
        for _ in 0..2 {
            breaker.failed(&Fault::bug("no such table"));
            assert_eq!(kind(&breaker), None);
        }
        breaker.failed(&Fault::bug("no such table"));
        assert_eq!(kind(&breaker), Some(FaultKind::Bug));
        breaker.succeeded();
        breaker.failed(&Fault::bug("no such table"));
        assert_eq!(kind(&breaker), None, "they were in a row no more");
        breaker.failed(&Fault::new(FaultKind::Full, "full"));
        assert_eq!(kind(&breaker), Some(FaultKind::Full));
    }

    #[test]
    fn a_write_that_succeeds_does_not_end_damage() {
        let breaker = Breaker::new(Files::default());
        breaker.failed(&Fault::new(FaultKind::Damaged, "malformed"));
        breaker.set_damage(Some(Fault::new(FaultKind::Damaged, "page 7")));
        breaker.succeeded();
        assert_eq!(breaker.fault().map(|fault| fault.message).as_deref(), Some("page 7"));
        breaker.set_damage(None);
        assert_eq!(kind(&breaker), None);
    }
}
