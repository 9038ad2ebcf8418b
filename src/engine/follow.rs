//! Owns following one job: its state and its log as one stream that ends when the job is final and its last
//! line was given. Resumes at the line.

mod until;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::stream::{self, Stream};
use tokio::sync::watch;

use super::feed::{self, StreamEnd};
use super::progress::{Reason, Watched};
use super::{Engine, STORE_RETRY};
use crate::base::task::panic_message;
use crate::base::{clock, points};
use crate::domain::attempt::Attempt;
use crate::domain::event::EventCursor;
use crate::domain::id::JobId;
use crate::domain::job::Job;
use crate::domain::limits::{LOG_LINES_MAX, LOG_PUSH_BYTES_MAX};
use crate::domain::log::{LogBatch, LogCursor, LogFilter};
use crate::domain::resume::Standing;
use crate::store::{Fault, FaultKind};

/// After news that did not concern us: others' changes are not looked at more often than this.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// Nobody waits longer than this without looking; what another worker writes is looked for more often.
const LOOK_EVERY: Duration = Duration::from_secs(15);
const LOOK_ELSEWHERE: Duration = Duration::from_millis(250);
/// Reads of the log that may fail one after the other.
const READ_TRIES: u32 = 3;

/// One step of a followed job.
#[derive(Debug, Clone)]
pub struct Followed {
    /// The job as it is now.
    pub job: Job,
    /// New lines.
    pub log: Option<LogBatch>,
    /// Behind the last event that this step shows.
    pub cursor: EventCursor,
    /// Behind the last line that was given.
    pub log_cursor: Option<LogCursor>,
}

/// What to follow.
#[derive(Debug, Clone)]
pub struct FollowRequest {
    /// The job.
    pub id: JobId,
    /// The caller has seen the job's state up to here.
    pub after: Option<EventCursor>,
    /// The caller has seen the log up to here.
    pub log_after: Option<LogCursor>,
    /// Whether the log is wanted.
    pub wants_log: bool,
    /// Whether what the job reports is wanted as it comes.
    pub wants_progress: bool,
    /// Only these lines.
    pub filter: LogFilter,
    /// Only this attempt, and end with it.
    pub attempt: Option<i32>,
    /// End there, and show the job as it was shown there.
    pub until: Option<Standing>,
}

struct Follow {
    engine: Engine,
    request: FollowRequest,
    events: watch::Receiver<i64>,
    lines: watch::Receiver<u64>,
    /// Position of the job's last event that was given.
    shown: Option<i64>,
    watched: Watched,
    /// The attempt whose log is being given.
    at: Option<Attempt>,
    line: i64,
    /// The number of the attempt in whose log `until` lies.
    end_number: Option<i32>,
    /// Reads of the log that failed, one after the other.
    failed_reads: u32,
    is_log_complete: bool,
    is_done: bool,
}

impl Engine {
    /// Follows a job; `None` when there is no such job.
    pub async fn follow(
        &self,
        mut request: FollowRequest,
    ) -> Result<Option<impl Stream<Item = Result<Followed, StreamEnd>> + Send + use<>>, StreamEnd> {
        if let Some(after) = request.after
            && !self.keeps(after).await?
        {
            // What changed since is not known any more, so the job is told as it stands.
            request.after = None;
        }
        if self.reader.job(request.id).await?.is_none() {
            return Ok(None);
        }
        let follow = Follow::begin(self, request).await?;
        Ok(Some(stream::unfold(Some(follow), |follow| async move {
            let mut follow = follow?;
            match follow.next_or_anew().await {
                Ok(Some(step)) => Some((Ok(step), Some(follow))),
                Ok(None) => None,
                Err(end) => Some((Err(end), None)),
            }
        })))
    }
}

impl Follow {
    async fn begin(engine: &Engine, request: FollowRequest) -> Result<Follow, StreamEnd> {
        let mut follow = Follow {
            engine: engine.clone(),
            events: engine.writer.newest(),
            lines: engine.recorder.news().watch(),
            shown: request.after.map(|after| after.seq),
            watched: Watched::new(engine.clock.clone()),
            at: None,
            line: 0,
            end_number: None,
            failed_reads: 0,
            is_log_complete: !request.wants_log,
            is_done: false,
            request,
        };
        follow.find_attempt().await?;
        if let Some(end) = follow.request.until.as_ref().and_then(|until| until.log) {
            follow.end_number = engine.reader.attempt(end.attempt).await?.map(|attempt| attempt.number);
        }
        Ok(follow)
    }

    /// The next step. A panic on the way costs the follower nothing: it goes on behind what it was given.
    async fn next_or_anew(&mut self) -> Result<Option<Followed>, StreamEnd> {
        for _ in 0..feed::PANICS_MAX {
            let payload = match AssertUnwindSafe(self.next()).catch_unwind().await {
                Ok(outcome) => {
                    if let Ok(Some(step)) = &outcome {
                        self.request.after = Some(step.cursor);
                        self.request.log_after = step.log_cursor.or(self.request.log_after);
                    }
                    return outcome;
                }
                Err(payload) => payload,
            };
            feed::begin_anew(&self.engine, panic_message(payload.as_ref())).await;
            *self = Follow::begin(&self.engine.clone(), self.request.clone()).await?;
        }
        Err(feed::given_up())
    }

    /// Finds where the caller's log position belongs.
    async fn find_attempt(&mut self) -> Result<(), StreamEnd> {
        let reader = &self.engine.reader;
        if let Some(number) = self.request.attempt {
            self.at = reader.attempt_by_number(self.request.id, number).await?;
        }
        let Some(log_after) = self.request.log_after.filter(|after| after.attempt.0 > 0) else {
            return Ok(());
        };
        let attempt = reader.attempt(log_after.attempt).await?;
        let wanted = self.request.attempt;
        let is_ours = |attempt: &Attempt| {
            attempt.job_id == self.request.id && wanted.is_none_or(|number| number == attempt.number)
        };
        if let Some(attempt) = attempt.filter(is_ours) {
            self.at = Some(attempt);
            self.line = log_after.line;
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Followed>, StreamEnd> {
        if self.is_done {
            return Ok(None);
        }
        loop {
            points::reach("follow.tick");
            // Marked as seen before the look: what comes during it wakes the next wait.
            self.events.borrow_and_update();
            self.lines.borrow_and_update();
            let step = match self.request.until.clone() {
                Some(until) => self.look_until(&until).await?,
                None => self.look().await?,
            };
            if step.is_some() {
                return Ok(step);
            }
            if self.is_done {
                return Ok(None);
            }
            if self.wait().await? == Reason::Reported
                && let Some(job) = self.watched.reported()
            {
                return Ok(Some(self.step(job, None)));
            }
        }
    }

    /// Waits until there may be something: in the store, or in what the job says.
    async fn wait(&mut self) -> Result<Reason, StreamEnd> {
        let began = self.engine.clock.monotonic();
        loop {
            let left = self.look_every().saturating_sub(self.engine.clock.monotonic().duration_since(began));
            let stopping = |_| StreamEnd::from(Fault::new(FaultKind::Stopping, "stopping"));
            let woken = clock::within(left, async {
                tokio::select! {
                    fault = self.engine.writer.lost() => Err(StreamEnd::from(fault)),
                    changed = self.events.changed() => changed.map(|()| Some(true)).map_err(stopping),
                    changed = self.lines.changed() => {
                        changed.map(|()| Some(self.has_new_lines())).map_err(stopping)
                    }
                    reason = self.watched.due(), if self.request.wants_progress => match reason {
                        Reason::Reported => Ok(None),
                        Reason::Held => Ok(Some(true)),
                    },
                }
            });
            match woken.await.transpose()? {
                None | Some(Some(true)) => return Ok(Reason::Held),
                Some(None) => return Ok(Reason::Reported),
                Some(Some(false)) => {}
            }
        }
    }

    fn look_every(&self) -> Duration {
        let is_here = self.at.as_ref().is_none_or(|attempt| self.engine.running.contains(attempt.id));
        let may_be_elsewhere = self.engine.sharing.is_some() && !is_here && !self.is_log_complete;
        if may_be_elsewhere { LOOK_ELSEWHERE } else { LOOK_EVERY }
    }

    fn has_new_lines(&self) -> bool {
        let reached = self.at.as_ref().and_then(|attempt| self.engine.recorder.news().reached(attempt.id));
        reached.is_none_or(|reached| reached > self.line)
    }

    /// What is new, or nothing. Sets `is_done` when nothing can follow.
    async fn look(&mut self) -> Result<Option<Followed>, StreamEnd> {
        let Some(mut job) = self.engine.reader.job(self.request.id).await? else {
            // Retention took it away while somebody watched.
            self.is_done = true;
            return Ok(None);
        };
        let is_news = self.shown.is_none_or(|shown| job.event_cursor.seq > shown);
        let log = if self.is_log_complete { None } else { self.read_log(&job).await? };
        let has_lines = log.as_ref().is_some_and(|log| !log.lines.is_empty() || log.dropped_bytes.0 > 0);
        self.is_done = match self.request.attempt {
            Some(_) => self.is_log_complete,
            None => job.state.is_final() && self.is_log_complete,
        };
        let is_news = if self.request.wants_progress {
            self.watched.settle(&self.engine, &mut job, is_news)
        } else {
            is_news
        };
        // A follower that resumes at the end of a final job is told so once.
        if !is_news && !has_lines && !self.is_done {
            clock::sleep(LOOK_PAUSE).await;
            return Ok(None);
        }
        self.watched.show(&job);
        Ok(Some(self.step(job, log)))
    }

    fn step(&mut self, job: Job, log: Option<LogBatch>) -> Followed {
        let shown = job.event_cursor.seq.max(self.shown.unwrap_or(0));
        self.shown = Some(shown);
        let cursor = EventCursor { epoch: job.event_cursor.epoch, seq: shown };
        let log_cursor = self.at.as_ref().map(|attempt| LogCursor { attempt: attempt.id, line: self.line });
        Followed { job, log, cursor, log_cursor }
    }

    async fn read_log(&mut self, job: &Job) -> Result<Option<LogBatch>, StreamEnd> {
        loop {
            if !self.enter_attempt(job).await? {
                self.is_log_complete = job.state.is_final();
                return Ok(None);
            }
            let Some(attempt) = &self.at else { return Ok(None) };
            // Its end may have come since we last looked.
            let Some(attempt) = self.engine.reader.attempt(attempt.id).await? else { return Ok(None) };
            let limit = usize::try_from(LOG_LINES_MAX).unwrap_or(1_000);
            let batch = match self.read_page(&attempt, limit).await {
                Ok(batch) => batch,
                Err(fault) if fault.is_of_the_store() && self.may_read_again() => {
                    clock::sleep(STORE_RETRY).await;
                    continue;
                }
                // Who is on the way to the others would lose what lies between, but for a store that is known to be down.
                Err(fault) if self.request.until.is_some() && self.engine.logs.trouble().is_none() => {
                    return Err(fault.into());
                }
                Err(fault) if fault.is_of_the_store() || self.engine.logs.trouble().is_some() => {
                    // The log store is down: the state goes on, and ends the stream in the log's place.
                    tracing::warn!(job = %job.id, "a follower is given no output: {fault}");
                    self.is_log_complete = job.state.is_final();
                    return Ok(None);
                }
                Err(fault) => return Err(fault.into()),
            };
            (self.line, self.failed_reads) = (batch.cursor.line, 0);
            let is_last = self.request.attempt.is_some() || attempt.number >= job.attempt_count;
            let may_end = self.request.attempt.is_some() || job.state.is_final();
            self.is_log_complete = batch.is_complete && is_last && may_end;
            if batch.lines.is_empty() && batch.has_more {
                // A page of other lines.
                continue;
            }
            if batch.is_complete && !is_last && batch.lines.is_empty() && batch.dropped_bytes.0 == 0 {
                let next = self.engine.reader.attempt_by_number(job.id, attempt.number + 1).await?;
                self.move_to(next);
                continue;
            }
            let is_worth = !batch.lines.is_empty() || batch.is_complete || batch.dropped_bytes.0 > 0;
            return Ok(is_worth.then_some(batch));
        }
    }

    /// Whether a read that failed may have been unlucky only, such as one whose connection was cut.
    fn may_read_again(&mut self) -> bool {
        self.failed_reads += 1;
        self.failed_reads <= READ_TRIES && self.engine.logs.trouble().is_none()
    }

    async fn read_page(&self, attempt: &Attempt, limit: usize) -> Result<LogBatch, Fault> {
        let FollowRequest { filter, .. } = &self.request;
        self.engine.read_log(attempt, self.line, filter, (limit, LOG_PUSH_BYTES_MAX)).await
    }

    /// Stands on an attempt, if there is one yet.
    async fn enter_attempt(&mut self, job: &Job) -> Result<bool, StreamEnd> {
        if self.at.is_none() {
            let number = self.request.attempt.unwrap_or(1);
            let first = self.engine.reader.attempt_by_number(job.id, number).await?;
            self.move_to(first);
        }
        Ok(self.at.is_some())
    }

    fn move_to(&mut self, attempt: Option<Attempt>) {
        if attempt.as_ref().map(|one| one.id) != self.at.as_ref().map(|one: &Attempt| one.id) {
            self.line = 0;
        }
        self.at = attempt.or(self.at.take());
    }
}

impl Engine {
    /// The newest attempt of a job.
    pub async fn last_attempt(&self, job: JobId) -> Result<Option<Attempt>, Fault> {
        Ok(self.reader.last_attempts(&[job]).await?.pop())
    }
}
