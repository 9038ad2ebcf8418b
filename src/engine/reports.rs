//! Owns what a running attempt reports on its way to the store: the latest word, at most once a second, and what is
//! left of it together with the attempt's end. It must never hold up output, or a job.

use std::time::Duration;

use tokio::sync::watch;

use super::{Engine, STORE_RETRY};
use crate::base::{clock, points};
use crate::domain::report::{LastWord, Progress, Reported};
use crate::exec::ReportChannel;
use crate::store::Fault;
use crate::store::claim::Claimed;
use crate::store::reports::{ReportOutput, ReportProgress, Reporting};
use crate::store::writer::{Change, Refusal};

/// A report is stored this long after it was heard: whoever ends meanwhile has it stored with its end.
const GATHER: Duration = Duration::from_millis(20);
/// Between two writes of one attempt's reports.
const STORE_EVERY: Duration = Duration::from_secs(1);

/// Makes the channel of an attempt. Without one the command runs all the same, and can report nothing.
pub fn open(engine: &Engine, claimed: &Claimed) -> Option<ReportChannel> {
    let path = engine.settings.report_directory.join(claimed.attempt.to_string());
    match ReportChannel::open(path) {
        Ok(channel) => Some(channel),
        Err(error) => {
            tracing::warn!(attempt = %claimed.attempt, "no report channel could be made: {error}");
            None
        }
    }
}

/// What is in the store.
#[derive(Debug, Default)]
struct Stored {
    progress: Option<Progress>,
    output_version: u64,
}

/// Stores what is reported until the other side is dropped; gives what is not stored then, which is of no use before
/// the attempt's end.
pub async fn keep(engine: &Engine, claimed: &Claimed, mut heard: watch::Receiver<Reported>) -> LastWord {
    let by = Reporting {
        attempt: claimed.attempt,
        number: claimed.number,
        job: claimed.job.id,
        actor: engine.worker.to_string(),
    };
    let (mut stored, mut pause) = (Stored::default(), None);
    loop {
        if pause.is_none() && heard.changed().await.is_err() {
            break;
        }
        let over = async { while heard.changed().await.is_ok() {} };
        if clock::within(pause.unwrap_or(GATHER), over).await.is_some() {
            break;
        }
        pause = match stored.catch_up(engine, &by, &mut heard).await {
            Ok(is_new) => is_new.then_some(STORE_EVERY),
            Err(fault) => {
                tracing::warn!(attempt = %claimed.attempt, "a report waits for the store: {fault}");
                Some(STORE_RETRY)
            }
        };
    }
    stored.left(&heard.borrow())
}

impl Stored {
    /// What is not stored.
    fn left(&self, reported: &Reported) -> LastWord {
        let progress = reported.progress().filter(|now| self.progress.as_ref() != Some(now)).cloned();
        let (version, output) = reported.output();
        LastWord { progress, output: (version != self.output_version).then(|| output.clone()) }
    }

    /// Writes what is new; whether anything was.
    async fn catch_up(
        &mut self,
        engine: &Engine,
        by: &Reporting,
        heard: &mut watch::Receiver<Reported>,
    ) -> Result<bool, Fault> {
        let (left, version) = {
            let reported = heard.borrow_and_update();
            (self.left(&reported), reported.output().0)
        };
        if left == LastWord::default() {
            return Ok(false);
        }
        let LastWord { progress, output } = left;
        if let Some(progress) = progress {
            apply(engine, ReportProgress { by: by.clone(), progress: progress.clone() }).await?;
            self.progress = Some(progress);
        }
        if let Some(output) = output {
            apply(engine, ReportOutput { by: by.clone(), output }).await?;
            self.output_version = version;
        }
        Ok(true)
    }
}

async fn apply<C: Change>(engine: &Engine, change: C) -> Result<(), Fault> {
    points::reach("report.unstored");
    match engine.writer.apply(change).await {
        // A report that comes too late for its attempt changes nothing, and need not be repeated.
        Ok(_) => {
            points::reach("report.stored");
            Ok(())
        }
        Err(Refusal::Fault(fault)) => Err(fault),
        Err(Refusal::Rejected(rejection)) => {
            unreachable!("a report is never rejected: {}", rejection.message)
        }
    }
}
