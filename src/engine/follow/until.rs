//! Owns the way of a follower to where others already are: the log up to there, with the job as they were shown it. It
//! must never show what they have not been shown yet: that comes from then on, to all of them alike.

use super::{Follow, Followed};
use crate::domain::job::Job;
use crate::domain::log::{LogBatch, LogCursor};
use crate::domain::resume::Standing;
use crate::domain::scalars::BigInt;
use crate::engine::feed::StreamEnd;

impl Follow {
    /// The next step on the way, or nothing when there is none left. Sets `is_done` at its end.
    pub(super) async fn look_until(&mut self, until: &Standing) -> Result<Option<Followed>, StreamEnd> {
        let Some(job) = until.job.as_deref().cloned() else {
            self.is_done = true;
            return Ok(None);
        };
        let is_news = self.shown.is_none_or(|shown| job.event_cursor.seq > shown);
        // Without its attempt the log is gone.
        let end = until.log.zip(self.end_number);
        let log = match end.filter(|_| !self.is_log_complete) {
            Some(end) => self.read_log_until(&job, end).await?,
            None => None,
        };
        self.is_done = log.is_none() || end.is_none_or(|end| self.has_reached(end));
        Ok((is_news || log.is_some()).then(|| self.step(job, log)))
    }

    /// Lines up to `end`, which may be of a later attempt; its number comes with it, for the ids of several workers are in no
    /// order.
    async fn read_log_until(
        &mut self,
        job: &Job,
        end: (LogCursor, i32),
    ) -> Result<Option<LogBatch>, StreamEnd> {
        if self.has_reached(end) {
            return Ok(None);
        }
        let batch = self.read_log(job).await?;
        let (end, number) = end;
        let at = self.at.as_ref().map(|attempt| attempt.number);
        if at.is_some_and(|at| at > number) {
            return Ok(None);
        }
        let Some(mut batch) = batch else { return Ok(None) };
        if at == Some(number) && self.line > end.line {
            self.line = end.line;
            cut(&mut batch, end);
        }
        let is_worth = !batch.lines.is_empty() || batch.is_complete || batch.dropped_bytes.0 > 0;
        Ok(is_worth.then_some(batch))
    }

    fn has_reached(&self, (end, number): (LogCursor, i32)) -> bool {
        self.at.as_ref().is_some_and(|at| (at.number, self.line) >= (number, end.line))
    }
}

/// Takes away what lies behind `end`.
fn cut(batch: &mut LogBatch, end: LogCursor) {
    batch.lines.retain(|line| line.cursor.line <= end.line);
    batch.dropped_bytes = BigInt(batch.lines.iter().map(|line| line.dropped_before.0).sum());
    batch.cursor = end;
    batch.is_complete = false;
}
