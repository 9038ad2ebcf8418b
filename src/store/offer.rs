//! Owns the bargain between the writer and the worker of this process: a turn that brings work, or frees a place, claims
//! for the worker in its own transaction, so that a job on its way to a free place costs one commit.
//!
//! It decides nothing: whom a claim takes is said by `room`, how many it may take by the worker.

use std::sync::{Arc, Mutex, PoisonError};

use super::claim::Claimed;
use crate::domain::id::WorkerId;

/// A worker of this process, for whom the writer's turns claim jobs.
pub trait Worker: Send + Sync + 'static {
    /// Its free places, and those that `vacated_count` ends of this turn leave: held until the offer is dropped. `None`
    /// when there are none, or when it takes no jobs now.
    fn offer(&self, vacated_count: usize) -> Option<Box<dyn Offer>>;
    /// There may be something for it that no turn claims: it shall look at the store.
    fn look(&self);
}

/// Free places of a worker during one turn. Dropped without `begin` and `withdraw`, nobody knows what became of it.
pub trait Offer: Send + Sync {
    /// Who offers them.
    fn worker(&self) -> WorkerId;
    /// How many they are; more than none.
    fn slots(&self) -> usize;
    /// The name of the environment cookie of one attempt: random, so that nobody can guess it.
    fn cookie(&self) -> String;
    /// These were taken, and the commit follows: from here on they can be asked to stop.
    fn list(&mut self, claimed: Vec<Claimed>);
    /// They are committed: they begin.
    fn begin(self: Box<Self>);
    /// The transaction was undone: nothing was taken.
    fn withdraw(self: Box<Self>);
}

/// Where the worker of this process sits, once it takes jobs.
#[derive(Clone, Default)]
pub(super) struct Desk(Arc<Mutex<Option<Arc<dyn Worker>>>>);

impl Desk {
    pub(super) fn seat(&self, worker: Arc<dyn Worker>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker);
    }

    pub(super) fn worker(&self) -> Option<Arc<dyn Worker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
