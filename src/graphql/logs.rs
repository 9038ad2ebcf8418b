//! Owns reading a page of output, as `Job.log` and `Attempt.log` ask for it.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_graphql::{Context, Object};
use tokio::sync::Semaphore;

use super::context::ApiContext;
use super::errors::{bad_input, fault, too_large};
use super::rows::RowRefs;
use crate::domain::attempt::Attempt;
use crate::domain::limits::{LOG_ANSWER_BYTES_MAX, LOG_LINES_MAX, LOG_PAGE_BYTES_MAX};
use crate::domain::log::{LineKind, LogBatch, LogCursor, LogFilter, LogLine, LogStream};
use crate::domain::scalars::BigInt;
use crate::engine::Engine;

/// Lines of a page when nobody says how many.
const LINES_DEFAULT: i32 = 100;
/// Pages of logs that are read at once for one answer.
const READ_AT_ONCE: usize = 4;
/// What a search in a log costs beside the page.
const SEARCH_COST: usize = 50;

/// Lines in order; `after: cursor` continues exactly behind the last one. A gap is counted, never silent.
#[Object]
impl LogBatch {
    /// Number of the attempt within its job; 0 when there is none yet.
    async fn attempt(&self) -> i32 {
        self.attempt
    }

    /// The lines, oldest first.
    async fn lines(&self) -> RowRefs<'_, LogLine> {
        self.lines.iter().collect()
    }

    /// Lies behind the last line.
    async fn cursor(&self) -> LogCursor {
        self.cursor
    }

    /// Whether more lines can be read at once. A page with a filter may end with few lines or none because enough
    /// was looked at; with `last` it says that older lines were not looked at.
    async fn has_more(&self) -> bool {
        self.has_more
    }

    /// Whether the attempt has ended and nothing follows.
    async fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Bytes of output between the first and the last line that were not kept.
    async fn dropped_bytes(&self) -> BigInt {
        self.dropped_bytes
    }

    /// Whether the log was forgotten to make room for newer ones: then `droppedBytes` is all of it.
    async fn is_forgotten(&self) -> bool {
        self.is_forgotten
    }
}

/// Which page of a log.
#[derive(Debug, Clone)]
pub struct LogPage {
    /// Lines from the position.
    pub first: Option<i32>,
    /// The position.
    pub after: Option<LogCursor>,
    /// The newest lines instead.
    pub last: Option<i32>,
    /// The newest before this line.
    pub before: Option<LogCursor>,
    /// Only these lines.
    pub wanted: WantedLines,
}

/// Which lines are wanted, as they were asked for.
#[derive(Debug, Clone)]
pub struct WantedLines {
    /// Only of these streams.
    pub streams: Option<Vec<LogStream>>,
    /// Only with this text.
    pub grep: Option<String>,
    /// Only those that look like an error.
    pub only_errors: Option<bool>,
}

impl WantedLines {
    /// The same, checked.
    pub fn filter(self) -> async_graphql::Result<LogFilter> {
        let filter = LogFilter::new(self.streams.unwrap_or_default(), self.grep)
            .map_err(|rejection| bad_input(format!("grep {}", rejection.message)))?;
        let kind = if self.only_errors == Some(true) { LineKind::Error } else { LineKind::Any };
        Ok(filter.of_kind(kind))
    }
}

/// What a page of a log costs: its lines are read together, a search looks at far more than it gives.
pub(crate) fn log_cost(first: Option<i32>, last: Option<i32>, is_search: bool, child: usize) -> usize {
    let lines = usize::try_from(last.or(first).unwrap_or(LINES_DEFAULT)).unwrap_or(0);
    let search = if is_search { SEARCH_COST } else { 0 };
    child.saturating_mul(lines.div_ceil(100).max(1)).saturating_add(1 + search)
}

/// What all pages of logs of one answer may hold, so that many jobs with much output are not all in memory at once.
#[derive(Debug)]
pub struct LogBudget {
    bytes_left: AtomicUsize,
    /// Those that are read at the same time may go beyond it together: they are few.
    turns: Semaphore,
}

impl Default for LogBudget {
    fn default() -> LogBudget {
        LogBudget { bytes_left: AtomicUsize::new(LOG_ANSWER_BYTES_MAX), turns: Semaphore::new(READ_AT_ONCE) }
    }
}

impl LogBudget {
    /// Reads a page unless the others have used it up.
    async fn spend(
        &self,
        read: impl Future<Output = async_graphql::Result<LogBatch>>,
    ) -> async_graphql::Result<LogBatch> {
        let _turn = self.turns.acquire().await;
        if self.bytes_left.load(Ordering::Relaxed) == 0 {
            let mebibytes = LOG_ANSWER_BYTES_MAX / 1024 / 1024;
            let message =
                format!("the logs in this answer have more than {mebibytes} MiB: ask for fewer at once");
            return Err(too_large(message));
        }
        let batch = read.await?;
        let bytes = batch.lines.iter().map(|line| line.text.len()).sum();
        let less = |left: usize| Some(left.saturating_sub(bytes));
        let _ = self.bytes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        Ok(batch)
    }
}

impl LogPage {
    /// Reads the page of the attempt; an empty one when there is no attempt.
    pub async fn read(self, ctx: &Context<'_>, attempt: Option<&Attempt>) -> async_graphql::Result<LogBatch> {
        if self.last.is_some() && (self.first.is_some() || self.after.is_some()) {
            return Err(bad_input("give either last, or first and after"));
        }
        if self.before.is_some() && self.last.is_none() {
            return Err(bad_input("before goes with last"));
        }
        let limit = self.last.or(self.first).unwrap_or(LINES_DEFAULT);
        if !(1..=LOG_LINES_MAX).contains(&limit) {
            return Err(bad_input(format!("a page of a log has 1 to {LOG_LINES_MAX} lines, not {limit}")));
        }
        let limit = usize::try_from(limit).map_err(|_| bad_input("a page of a log has at least 1 line"))?;
        let filter = self.wanted.filter()?;
        let Some(attempt) = attempt else {
            return Ok(LogBatch {
                attempt: 0,
                lines: Vec::new(),
                cursor: self.after.unwrap_or_else(|| Engine::log_start(None)),
                has_more: false,
                is_complete: false,
                dropped_bytes: BigInt(0),
                is_forgotten: false,
            });
        };
        let engine = ctx.engine();
        let read = async {
            let batch = if self.last.is_some() {
                // A line's position lies right behind it.
                let before = line_of(self.before, attempt, "before")?.map_or(i64::MAX, |line| line - 1);
                engine.read_last_log(attempt, before, &filter, limit).await
            } else {
                let line = line_of(self.after, attempt, "after")?.unwrap_or(0);
                engine.read_log(attempt, line, &filter, (limit, LOG_PAGE_BYTES_MAX)).await
            };
            batch.map_err(fault)
        };
        match ctx.data_opt::<LogBudget>() {
            Some(budget) => budget.spend(read).await,
            None => read.await,
        }
    }
}

/// The line of a position, which must be one in the log of this attempt.
fn line_of(at: Option<LogCursor>, attempt: &Attempt, name: &str) -> async_graphql::Result<Option<i64>> {
    match at {
        Some(at) if at.attempt != attempt.id => {
            Err(bad_input(format!("{name} is a position in the log of another attempt")))
        }
        at => Ok(at.map(|at| at.line)),
    }
}
