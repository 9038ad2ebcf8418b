//! Owns the list of attempts that run in this process, and the way to ask one to stop.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::domain::id::JobId;

/// The attempts that run here.
#[derive(Debug)]
pub struct Running {
    stops: Mutex<HashMap<JobId, watch::Sender<bool>>>,
    count: watch::Sender<usize>,
}

impl Default for Running {
    fn default() -> Running {
        Running { stops: Mutex::default(), count: watch::Sender::new(0) }
    }
}

impl Running {
    /// Lists a job as running; the receiver turns true when it shall stop.
    pub fn enter(&self, job: JobId) -> watch::Receiver<bool> {
        let (sender, receiver) = watch::channel(false);
        let mut stops = self.stops.lock().unwrap_or_else(PoisonError::into_inner);
        stops.insert(job, sender);
        self.count.send_replace(stops.len());
        receiver
    }

    /// Takes a job off the list.
    pub fn leave(&self, job: JobId) {
        let mut stops = self.stops.lock().unwrap_or_else(PoisonError::into_inner);
        stops.remove(&job);
        self.count.send_replace(stops.len());
    }

    /// Asks the job to stop, if it runs here.
    pub fn stop(&self, job: JobId) {
        if let Some(sender) = self.stops.lock().unwrap_or_else(PoisonError::into_inner).get(&job) {
            sender.send_replace(true);
        }
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
