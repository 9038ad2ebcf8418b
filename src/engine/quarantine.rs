//! Owns what follows for jobs that may have killed the daemon: suspects wait before their next try, a killer has none.
//! Who is which `domain::quarantine` decides.

use std::collections::HashMap;

use super::Engine;
use crate::domain::attempt::{AttemptOutcome, Ended};
use crate::domain::id::AttemptId;
use crate::domain::job::Job;
use crate::domain::quarantine::{Finding, judge};
use crate::domain::report::RetryAdvice;
use crate::store::Fault;
use crate::store::attempts::OpenAttempt;

/// What a killer's failure says.
const KILLED: &str =
    "the daemon died three times in a row soon after it was started: it is quarantined, not tried again";

/// What was found about some attempts of a dead daemon.
#[derive(Debug, Default)]
pub struct Sentences(HashMap<AttemptId, RetryAdvice>);

impl Sentences {
    /// The attempt's end with what follows for its job.
    pub fn apply(&self, attempt: AttemptId, ended: Ended) -> Ended {
        match self.0.get(&attempt) {
            None => ended,
            Some(advice) if advice.is_final => Ended { message: KILLED.to_owned(), advice: *advice, ..ended },
            Some(advice) => Ended { advice: *advice, ..ended },
        }
    }
}

/// Judges the attempts that dead daemons left open.
pub async fn sentences(engine: &Engine, open: &[OpenAttempt]) -> Result<Sentences, String> {
    let told = |fault: Fault| fault.to_string();
    // Of a worker elsewhere nobody knows when it died, or whether it was only cut off.
    let dead: Vec<_> = open.iter().filter(|one| engine.is_of_predecessor(one.worker)).collect();
    let ids: Vec<_> = dead.iter().map(|one| one.attempt).collect();
    let known = engine.own.left_open(&ids).await.map_err(told)?;
    let (dead, left): (Vec<_>, Vec<_>) =
        dead.into_iter().filter_map(|one| known.get(&one.attempt).map(|left| (one, *left))).unzip();
    let findings = judge(&left, engine.started_at);
    let suspected = dead.into_iter().zip(findings).filter(|(_, found)| *found != Finding::Unsuspected);
    let suspected: Vec<_> = suspected.collect();
    let jobs: Vec<_> = suspected.iter().map(|(one, _)| one.job).collect();
    let jobs = engine.own.jobs_by_id(&jobs).await.map_err(told)?;
    let mut sentences = Sentences::default();
    for (one, found) in suspected {
        let Some(job) = jobs.iter().find(|job| job.id == one.job) else { continue };
        if let Some(advice) = advice(engine, job, found) {
            tracing::warn!(job = %job.id, attempt = %one.attempt, ?found, "a job was lost with the daemon again");
            sentences.0.insert(one.attempt, advice);
        }
    }
    Ok(sentences)
}

fn advice(engine: &Engine, job: &Job, found: Finding) -> Option<RetryAdvice> {
    let wait = match found {
        Finding::Unsuspected => return None,
        Finding::Killer => return Some(RetryAdvice { is_final: true, retry_after: None }),
        Finding::Suspect(wait) => wait,
    };
    // A suspect waits longer than its policy says, but is not tried where that one would not.
    let lost = Ended::without_process(AttemptOutcome::Lost, "");
    let tries = u32::try_from(job.try_count.saturating_add(1)).unwrap_or(1);
    let delay = job.retry_policy.delay(tries, engine.random.unit());
    let retry_after = Some(delay.max(wait));
    job.retry_policy.covers(&lost).then_some(RetryAdvice { is_final: false, retry_after })
}
