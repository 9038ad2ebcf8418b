//! Owns showing how far a running job has come: its own latest word, sooner than the store has it, a few times a second
//! and no more. Only jobs of this daemon have one; of others the stored word is shown.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Engine;
use crate::base::clock::{self, Clock};
use crate::domain::job::{Job, JobState};
use crate::domain::limits::PROGRESS_PUSH_MILLIS;
use crate::domain::report::{Progress, Reported};

/// Between two pushes of what one job reports.
const PUSH_EVERY: Duration = Duration::from_millis(PROGRESS_PUSH_MILLIS);

/// What one follower was shown of a job, and what its attempt says meanwhile.
#[derive(Debug)]
pub struct Watched {
    clock: Arc<dyn Clock>,
    /// The attempt that is listened to, by its number.
    heard: Option<(i32, watch::Receiver<Reported>)>,
    /// The job as it was shown last.
    shown: Option<Job>,
    /// No report is shown before this.
    quiet_until: Option<Instant>,
    /// Whether there is something to show then.
    is_holding: bool,
}

/// Why a follower should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The store may have something.
    Held,
    /// The job has reported something.
    Reported,
}

impl Watched {
    /// Nothing shown yet.
    pub fn new(clock: Arc<dyn Clock>) -> Watched {
        Watched { clock, heard: None, shown: None, quiet_until: None, is_holding: false }
    }

    /// Puts into the job what it says of its progress now, as far as it may be shown. Whether the job is to be shown,
    /// where `is_news` says that it has changed in the store: changes of its state at once, reports not too often.
    pub fn settle(&mut self, engine: &Engine, job: &mut Job, is_news: bool) -> bool {
        self.listen(engine, job);
        if let Some(live) = self.latest().filter(|live| is_newer(live, job.progress.as_ref())) {
            job.progress = Some(live);
        }
        let before = self.shown.as_ref().filter(|before| differs_by_reports(before, job));
        let Some(before) = before else { return is_news };
        let has_moved = before.progress != job.progress;
        if (has_moved || is_news) && self.is_quiet() {
            job.progress.clone_from(&before.progress);
            self.is_holding = true;
            return false;
        }
        has_moved || is_news
    }

    /// The job goes to the follower. Reports are quiet for a while when there was one among it.
    pub fn show(&mut self, job: &Job) {
        let is_change = self.shown.as_ref().is_none_or(|shown| {
            shown.progress != job.progress || shown.event_cursor.seq != job.event_cursor.seq
        });
        if is_change && !self.is_quiet() {
            self.quiet_until = Some(self.clock.monotonic() + PUSH_EVERY);
            self.is_holding = false;
        }
        self.shown = Some(job.clone());
    }

    /// Resolves when there may be something to show.
    pub async fn due(&mut self) -> Reason {
        let left = self.quiet_until.map(|until| until.saturating_duration_since(self.clock.monotonic()));
        if self.is_holding {
            clock::sleep(left.unwrap_or_default()).await;
            self.is_holding = false;
            return Reason::Held;
        }
        let Some((_, heard)) = &mut self.heard else { return std::future::pending().await };
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            clock::sleep(left).await;
        }
        if heard.changed().await.is_err() {
            // The attempt is over: the store tells the rest.
            self.heard = None;
            return std::future::pending().await;
        }
        Reason::Reported
    }

    /// The job as it was shown last with what it has reported since, if that is news. Without a look at the store.
    pub fn reported(&mut self) -> Option<Job> {
        let latest = self.latest()?;
        let mut job = self.shown.clone()?;
        if job.progress.as_ref() == Some(&latest) {
            return None;
        }
        job.progress = Some(latest);
        self.show(&job);
        Some(job)
    }

    fn is_quiet(&self) -> bool {
        self.quiet_until.is_some_and(|until| self.clock.monotonic() < until)
    }

    fn latest(&mut self) -> Option<Progress> {
        let (_, heard) = self.heard.as_mut()?;
        heard.borrow_and_update().progress().cloned()
    }

    fn listen(&mut self, engine: &Engine, job: &Job) {
        if job.state != JobState::Running {
            self.heard = None;
            return;
        }
        let number = job.attempt_count;
        if self.heard.as_ref().is_none_or(|(known, _)| *known != number) {
            self.heard = engine.running.reports(job.id, number).map(|heard| (number, heard));
        }
    }
}

fn is_newer(live: &Progress, stored: Option<&Progress>) -> bool {
    stored.is_none_or(|stored| live.updated_at >= stored.updated_at)
}

/// Whether nothing but reports can have come between the two.
fn differs_by_reports(before: &Job, now: &Job) -> bool {
    now.state == JobState::Running
        && before.state == now.state
        && before.attempt_count == now.attempt_count
        && before.stop_requested_at == now.stop_requested_at
}
