//! Owns the list of attempts that run in this process, and the way to ask one to stop.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::domain::id::{AttemptId, JobId};
use crate::domain::report::Reported;

type Listed = HashMap<AttemptId, Here>;

/// What is known of an attempt that runs here.
#[derive(Debug)]
struct Here {
    job: JobId,
    stop: watch::Sender<bool>,
    /// What it reports, with its number within its job, once it is listened to.
    heard: Option<(i32, watch::Receiver<Reported>)>,
}

/// The attempts that run here. Listed by attempt: the next attempt of a job may begin before the runner of the
/// last one has left.
#[derive(Debug, Clone)]
pub struct Running {
    listed: Arc<Mutex<Listed>>,
    count: watch::Sender<usize>,
    /// Attempts whose runner panicked since somebody asked.
    lost_count: Arc<AtomicUsize>,
    /// Attempts whose runner panicked, which are still open in the store: of these something may have run.
    lost: Arc<Mutex<HashSet<AttemptId>>>,
    claiming: Arc<tokio::sync::Mutex<()>>,
}

impl Default for Running {
    fn default() -> Running {
        let (listed, lost_count, lost) = (Arc::default(), Arc::default(), Arc::default());
        Running { listed, count: watch::Sender::new(0), lost_count, lost, claiming: Arc::default() }
    }
}

/// An attempt's place on the list; it leaves when this is dropped, also by a panic.
#[derive(Debug)]
pub struct Entry {
    running: Running,
    attempt: AttemptId,
    /// Whether its runner is at it.
    has_begun: bool,
    /// Turns true when the attempt shall stop.
    pub stop: watch::Receiver<bool>,
}

impl Entry {
    /// From here on something of it may run.
    pub fn begin(&mut self) {
        self.has_begun = true;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if std::thread::panicking() && self.has_begun {
            self.running.lost().insert(self.attempt);
            self.running.lost_count.fetch_add(1, Ordering::SeqCst);
        }
        let mut listed = self.running.lock();
        listed.remove(&self.attempt);
        self.running.count.send_replace(listed.len());
    }
}

impl Running {
    /// Hold this from before a claim until what it took is entered: who holds it too finds what runs here on the list.
    pub async fn claiming(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.claiming.lock().await
    }

    fn lock(&self) -> MutexGuard<'_, Listed> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self) -> MutexGuard<'_, HashSet<AttemptId>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the attempt began here and lost its runner by a panic.
    pub fn has_lost(&self, attempt: AttemptId) -> bool {
        self.lost().contains(&attempt)
    }

    /// The attempt's end is in the store.
    pub fn forget(&self, attempt: AttemptId) {
        self.lost().remove(&attempt);
    }

    /// Lists an attempt as running.
    pub fn enter(&self, attempt: AttemptId, job: JobId) -> Entry {
        let (sender, stop) = watch::channel(false);
        let mut listed = self.lock();
        listed.insert(attempt, Here { job, stop: sender, heard: None });
        self.count.send_replace(listed.len());
        Entry { running: self.clone(), attempt, has_begun: false, stop }
    }

    /// Asks the job to stop, if it runs here.
    pub fn stop(&self, job: JobId) {
        for here in self.lock().values().filter(|here| here.job == job) {
            here.stop.send_replace(true);
        }
    }

    /// Lets followers hear what a listed attempt reports.
    pub fn listen(&self, attempt: AttemptId, number: i32, heard: watch::Receiver<Reported>) {
        if let Some(here) = self.lock().get_mut(&attempt) {
            here.heard = Some((number, heard));
        }
    }

    /// What the attempt of this number reports, if it runs here.
    pub fn reports(&self, job: JobId, number: i32) -> Option<watch::Receiver<Reported>> {
        let listed = self.lock();
        let mut heard = listed.values().filter(|here| here.job == job).filter_map(|here| here.heard.as_ref());
        heard.find(|(known, _)| *known == number).map(|(_, heard)| heard.clone())
    }

    /// How many attempts lost their runner by a panic since the last call, if any: they are open in the store.
    pub fn take_lost(&self) -> Option<usize> {
        let count = self.lost_count.swap(0, Ordering::SeqCst);
        (count > 0).then_some(count)
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
