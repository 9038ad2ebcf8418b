//! Owns what `cancel` and `retry` do to many jobs at once: the daemon changes all that match, or none.

use crate::client::answers::{Answer, BulkChanged, Outcome};
use crate::client::inputs::{JobBulk, JobFilter, Label, WholeFilter};
use crate::client::operations;

use super::jobs::{State, words};
use super::outcome::{Stop, accepted, exit};
use super::patience::persistently;
use super::{Context, input};

/// Which jobs, by what they have in common.
#[derive(Debug, clap::Args)]
pub struct ManyArgs {
    /// All in this state; may be repeated
    #[arg(long = "state", value_name = "STATE", value_enum, ignore_case = true)]
    #[arg(group = "many", conflicts_with = "id")]
    states: Vec<State>,
    /// All of this task; may be repeated
    #[arg(long = "task", value_name = "NAME", group = "many", conflicts_with = "id")]
    tasks: Vec<String>,
    /// All of this queue; may be repeated
    #[arg(long = "queue", value_name = "NAME", group = "many", conflicts_with = "id")]
    queues: Vec<String>,
    /// All with this label; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = input::label)]
    #[arg(group = "many", conflicts_with = "id")]
    labels: Vec<Label>,
    /// Change nothing when more than so many match
    #[arg(long, value_name = "COUNT", conflicts_with = "id")]
    #[arg(default_value_t = 1_000, value_parser = clap::value_parser!(i32).range(1..=100_000))]
    max: i32,
}

impl ManyArgs {
    /// More are refused.
    pub fn max(&self) -> i32 {
        self.max
    }

    fn input(self) -> JobBulk {
        let filter = JobFilter {
            states: words(&self.states),
            tasks: self.tasks,
            queues: self.queues,
            labels: self.labels,
            incident_id: None,
        };
        JobBulk { filter: WholeFilter(filter), max: Some(self.max), ..JobBulk::default() }
    }
}

/// Stops all that match.
pub fn cancel(context: &mut Context, many: ManyArgs, reason: Option<String>) -> Result<u8, Stop> {
    let input = JobBulk { reason, ..many.input() };
    let answer = operations::job_bulk_cancel(&context.client()?, &input)?;
    tell(context, answer, counts, "cancelled")
}

/// Repeats all that match.
pub fn retry(context: &mut Context, many: ManyArgs, key: String) -> Result<u8, Stop> {
    let input = JobBulk { idempotency_key: Some(key), ..many.input() };
    // The key makes it safe to ask again when no answer comes.
    let answer = persistently(context, |client| operations::job_bulk_retry(client, &input))?;
    tell(context, answer, counts, "made anew")
}

fn counts(done: &BulkChanged) -> (i64, i64) {
    (done.changed_count, done.matched_count)
}

/// Says how many were changed, also when some were refused: who asks again must know that the others were not.
pub(super) fn tell<T>(
    context: &mut Context,
    answer: Answer<Outcome<T>>,
    counts: impl Fn(&T) -> (i64, i64),
    what: &str,
) -> Result<u8, Stop> {
    context.screen.data(&answer.data)?;
    let (done, is_whole) = match &answer.value {
        Outcome::Done(done) => (Some(done), true),
        Outcome::Refused { done, .. } => (done.as_ref(), false),
    };
    if let Some((changed, matched)) = done.map(counts)
        && (is_whole || changed > 0)
    {
        context.screen.line(&format!("{changed} of {matched} jobs {what}"))?;
    }
    accepted(answer)?;
    Ok(exit::OK)
}
