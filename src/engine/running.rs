//! Owns the list of attempts that run in this process, and the way to ask one to stop.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::domain::id::{AttemptId, JobId};

type Stops = HashMap<AttemptId, (JobId, watch::Sender<bool>)>;

/// The attempts that run here. Listed by attempt: the next attempt of a job may begin before the runner of the
/// last one has left.
#[derive(Debug, Clone)]
pub struct Running {
    stops: Arc<Mutex<Stops>>,
    count: watch::Sender<usize>,
}

impl Default for Running {
    fn default() -> Running {
        Running { stops: Arc::default(), count: watch::Sender::new(0) }
    }
}

/// An attempt's place on the list; it leaves when this is dropped, also by a panic.
#[derive(Debug)]
pub struct Entry {
    running: Running,
    attempt: AttemptId,
    /// Turns true when the attempt shall stop.
    pub stop: watch::Receiver<bool>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut stops = self.running.lock();
        stops.remove(&self.attempt);
        self.running.count.send_replace(stops.len());
    }
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, Stops> {
        self.stops.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists an attempt as running.
    pub fn enter(&self, attempt: AttemptId, job: JobId) -> Entry {
        let (sender, stop) = watch::channel(false);
        let mut stops = self.lock();
        stops.insert(attempt, (job, sender));
        self.count.send_replace(stops.len());
        Entry { running: self.clone(), attempt, stop }
    }

    /// Asks the job to stop, if it runs here.
    pub fn stop(&self, job: JobId) {
        for (_, sender) in self.lock().values().filter(|(running, _)| *running == job) {
            sender.send_replace(true);
        }
    }

    /// Whether the attempt runs here.
    pub fn contains(&self, attempt: AttemptId) -> bool {
        self.lock().contains_key(&attempt)
    }

    /// How many run.
    pub fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Resolves when nothing runs.
    pub async fn idle(&self) {
        // The sender lives as long as `self`.
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }
}
