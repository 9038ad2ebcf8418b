//! Owns the places for attempts, and offers the free ones to the turns of the writer. What a turn took begins here, behind
//! its commit, whatever the dispatcher is at.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::running::Entry;
use super::{Engine, Parts, runner, starting};
use crate::base::{points, task};
use crate::domain::id::WorkerId;
use crate::store::claim::Claimed;
use crate::store::offer::{Offer, Worker};

/// Jobs that one claim takes at most, whatever the number of slots.
pub const CLAIM_MAX: usize = 256;
/// Bytes of an environment cookie.
const COOKIE_BYTES: usize = 16;

/// The places for attempts. They outlive a restart of the dispatcher: what runs keeps its place.
#[derive(Debug, Clone)]
pub struct Slots(Arc<Count>);

#[derive(Debug)]
struct Count {
    /// Places less those that are taken. Below zero for the moment in which an attempt that has ended still holds the
    /// place that the next one was given.
    free: Mutex<isize>,
    /// Whether a turn brought work for which there was no place.
    has_left: AtomicBool,
    /// Claims of which nobody knows whether they were committed.
    doubts: AtomicUsize,
}

impl Slots {
    /// `count` free places.
    pub fn new(count: usize) -> Slots {
        let free = Mutex::new(isize::try_from(count).unwrap_or(isize::MAX));
        Slots(Arc::new(Count { free, has_left: AtomicBool::new(false), doubts: AtomicUsize::new(0) }))
    }

    /// Takes up to `most` places: free ones, and `vacated_count` of attempts whose end is being committed.
    pub fn take(&self, most: usize, vacated_count: usize) -> Held {
        let vacated_count = isize::try_from(vacated_count).unwrap_or(isize::MAX);
        let mut free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner);
        let count = usize::try_from(free.saturating_add(vacated_count)).unwrap_or(0).min(most);
        *free = free.saturating_sub_unsigned(count);
        drop(free);
        Held { slots: self.clone(), count }
    }

    fn give_back(&self, count: usize) {
        let mut free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner);
        *free = free.saturating_add_unsigned(count);
    }

    /// Free places.
    pub fn free(&self) -> usize {
        usize::try_from(*self.0.free.lock().unwrap_or_else(PoisonError::into_inner)).unwrap_or(0)
    }

    /// Nothing is left, as far as anybody knows; called before a look that will show what is.
    pub fn forget_left(&self) {
        self.0.has_left.store(false, Ordering::SeqCst);
    }

    /// Whether there may be work for which there was no place, and there is one now.
    pub fn could_take_more(&self) -> bool {
        self.0.has_left.load(Ordering::SeqCst) && self.free() > 0
    }

    /// How many claims were in doubt since the last call, if any: what they took may stand in the store.
    pub fn take_doubts(&self) -> Option<usize> {
        let count = self.0.doubts.swap(0, Ordering::SeqCst);
        (count > 0).then_some(count)
    }
}

/// Places that are taken, and given back when this is dropped.
#[derive(Debug)]
pub struct Held {
    slots: Slots,
    count: usize,
}

impl Held {
    /// How many.
    pub fn count(&self) -> usize {
        self.count
    }

    /// One of them, to be given back by itself.
    ///
    /// # Panics
    /// When none is left.
    #[must_use]
    pub fn split(&mut self) -> Held {
        assert!(self.count > 0, "no more attempts begin than places were taken");
        self.count -= 1;
        Held { slots: self.slots.clone(), count: 1 }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.slots.give_back(self.count);
    }
}

/// A random name for an attempt, which begins with this daemon's mark.
pub fn cookie(engine: &Engine) -> String {
    engine.mark.clone() + &engine.random.hex(COOKIE_BYTES)
}

/// Begins an attempt that is committed and listed.
pub fn begin(engine: &Engine, claimed: Claimed, entry: Entry, place: Held) {
    let (engine, claimed) = (engine.clone(), Box::new(claimed));
    drop(task::spawn(async move {
        // A handler that outlives its attempt holds its place too; that it is free again shows at the next poll.
        let was_left = runner::run(&engine, claimed, entry, Arc::new(place)).await;
        // The turn that stored its end saw the place; another one that came before it was given back did not.
        if !was_left || engine.slots.could_take_more() {
            engine.nudge_dispatcher.notify_one();
        }
    }));
}

/// This daemon, as the writer's turns see it.
pub struct Host(Weak<Parts>);

impl Host {
    /// The daemon's places. It does not keep the engine alive.
    pub fn new(engine: &Engine) -> Host {
        Host(Arc::downgrade(&engine.0))
    }
}

impl Worker for Host {
    fn offer(&self, vacated_count: usize) -> Option<Box<dyn Offer>> {
        let engine = Engine(self.0.upgrade()?);
        // Said before the look at the places: whoever gives one back from here on sees it.
        engine.slots.0.has_left.store(true, Ordering::SeqCst);
        if engine.shutdown.is_begun() || engine.lease.is_over() || engine.slots.free() + vacated_count == 0 {
            return None;
        }
        let held = engine.slots.take(starting::room(&engine, CLAIM_MAX), vacated_count);
        (held.count > 0).then(|| -> Box<dyn Offer> {
            Box::new(Offered { slots: held.count, engine, held, listed: VecDeque::new(), is_open: false })
        })
    }

    fn look(&self) {
        if let Some(parts) = self.0.upgrade() {
            parts.nudge_dispatcher.notify_one();
        }
    }
}

/// The places of one turn.
struct Offered {
    engine: Engine,
    held: Held,
    slots: usize,
    /// What was taken and has not begun.
    listed: VecDeque<(Entry, Claimed)>,
    /// Whether something was taken of which a drop must tell.
    is_open: bool,
}

impl Offer for Offered {
    fn worker(&self) -> WorkerId {
        self.engine.worker
    }

    fn slots(&self) -> usize {
        self.slots
    }

    fn cookie(&self) -> String {
        cookie(&self.engine)
    }

    fn list(&mut self, claimed: Vec<Claimed>) {
        let enter = |claimed: Claimed| (self.engine.running.enter(claimed.attempt, claimed.job.id), claimed);
        self.listed = claimed.into_iter().map(enter).collect();
        self.is_open = !self.listed.is_empty();
    }

    fn begin(mut self: Box<Self>) {
        if self.is_open {
            points::reach("claim.committed");
        }
        // With places to spare there is nothing more that could start now.
        self.engine.slots.0.has_left.store(self.listed.len() == self.slots, Ordering::SeqCst);
        // One by one: what a panic leaves behind is in doubt.
        while let Some((entry, claimed)) = self.listed.pop_front() {
            begin(&self.engine, claimed, entry, self.held.split());
        }
        self.is_open = false;
        // One claim takes so many at most.
        if self.engine.slots.could_take_more() {
            self.engine.nudge_dispatcher.notify_one();
        }
    }

    fn withdraw(mut self: Box<Self>) {
        self.is_open = false;
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        // Off the list first: the dispatcher ends those that have no runner.
        self.listed.clear();
        self.engine.slots.0.doubts.fetch_add(1, Ordering::SeqCst);
        self.engine.nudge_dispatcher.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_being_left_is_given_once_more_and_no_other() {
        let slots = Slots::new(2);
        let mut first = slots.take(5, 0);
        assert_eq!((first.count(), slots.free()), (2, 0));
        assert_eq!(slots.take(5, 0).count(), 0);
        let ending = first.split();
        let next = slots.take(5, 1);
        assert_eq!((next.count(), slots.free()), (1, 0));
        assert_eq!(slots.take(5, 0).count(), 0, "the place is not free twice");
        drop(ending);
        assert_eq!(slots.free(), 0);
        drop((first, next));
        assert_eq!(slots.free(), 2);
    }
}
