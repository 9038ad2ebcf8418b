//! Owns the attempt in the API.

use async_graphql::{ComplexObject, Context, ID};

use super::context::ApiContext;
use super::errors::fault;
use super::incidents;
use super::logs::{LogPage, WantedLines, log_cost};
use crate::domain::attempt::Attempt;
use crate::domain::duration::Span;
use crate::domain::incident::Incident;
use crate::domain::job::Job;
use crate::domain::log::{LogBatch, LogCursor, LogStream};
use crate::domain::worker::Worker;

#[ComplexObject]
impl Attempt {
    /// The global id.
    pub async fn id(&self) -> ID {
        self.id.into()
    }

    /// The job it belongs to.
    async fn job(&self, ctx: &Context<'_>) -> async_graphql::Result<Job> {
        let job = ctx.loaders().0.load_one(self.job_id).await.map_err(fault)?;
        job.ok_or_else(|| async_graphql::Error::new(format!("{} of {} is gone", self.job_id, self.id)))
    }

    /// What it was counted into, when it failed.
    async fn incident(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Incident>> {
        incidents::of_attempt(ctx, self.id).await
    }

    /// The worker that ran it.
    async fn worker(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Worker>> {
        ctx.reader().worker(self.worker_id).await.map_err(fault)
    }

    /// Wall time so far or in all.
    async fn duration(&self, ctx: &Context<'_>) -> Span {
        let end = self.finished_at.unwrap_or_else(|| ctx.engine().clock.now());
        Span::from_std(end.since(self.started_at))
    }

    /// Its output: the newest lines with `last`, or from a position with `after`.
    #[graphql(
        complexity = "log_cost(first, last, grep.is_some() || only_errors == Some(true), child_complexity)"
    )]
    #[expect(clippy::too_many_arguments, reason = "they are those of the field")]
    async fn log(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many lines from the position, at most 1,000.")] first: Option<i32>,
        #[graphql(desc = "Behind this position; the beginning when left out.")] after: Option<LogCursor>,
        #[graphql(desc = "The newest lines instead, at most 1,000.")] last: Option<i32>,
        #[graphql(desc = "With `last`: only lines before the one with this position.")] before: Option<
            LogCursor,
        >,
        #[graphql(desc = "Only of these streams.")] streams: Option<Vec<LogStream>>,
        #[graphql(
            desc = "Only lines, or pieces of one, that hold this text; ASCII letters in any case. At most 200 bytes."
        )]
        grep: Option<String>,
        #[graphql(desc = "Only lines that look like an error, by the rule that picks `errorLine`.")]
        only_errors: Option<bool>,
    ) -> async_graphql::Result<LogBatch> {
        let wanted = WantedLines { streams, grep, only_errors };
        LogPage { first, after, last, before, wanted }.read(ctx, Some(self)).await
    }
}
