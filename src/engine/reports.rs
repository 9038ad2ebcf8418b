//! Owns what a running attempt reports on its way to the store: the latest word, at most once a second, and all
//! of it before the attempt's end is recorded. It must never hold up output, or a job.

use std::time::Duration;

use tokio::sync::watch;

use super::{Engine, STORE_RETRY, spool};
use crate::base::{clock, points};
use crate::domain::report::{Progress, Reported};
use crate::exec::ReportChannel;
use crate::store::claim::Claimed;
use crate::store::reports::{ReportOutput, ReportProgress, Reporting};
use crate::store::writer::{Change, Refusal};
use crate::store::{Fault, FaultKind};

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

/// Stores what is reported until the other side is dropped, then the rest.
pub async fn keep(engine: &Engine, claimed: &Claimed, mut heard: watch::Receiver<Reported>) {
    let by = Reporting {
        attempt: claimed.attempt,
        number: claimed.number,
        job: claimed.job.id,
        actor: engine.worker.to_string(),
    };
    let mut stored = Stored::default();
    loop {
        match stored.catch_up(engine, &by, &mut heard).await {
            Ok(true) => {
                let over = async { while heard.changed().await.is_ok() {} };
                let _ = clock::within(STORE_EVERY, over).await;
            }
            Ok(false) if heard.changed().await.is_err() => return,
            Ok(false) => {}
            // The attempt is over: its result waits beside the store, its progress is of no use any more.
            Err(_) if heard.has_changed().is_err() => return stored.leave(engine, &by, &heard).await,
            Err(fault) if fault.kind == FaultKind::Stopping => return,
            Err(fault) => {
                tracing::warn!(attempt = %claimed.attempt, "a report waits for the store: {fault}");
                clock::sleep(STORE_RETRY).await;
            }
        }
    }
}

impl Stored {
    async fn leave(&self, engine: &Engine, by: &Reporting, heard: &watch::Receiver<Reported>) {
        let output = {
            let reported = heard.borrow();
            let (version, output) = reported.output();
            (version != self.output_version).then(|| output.clone())
        };
        if let Some(output) = output {
            spool::settle_output(engine, ReportOutput { by: by.clone(), output }).await;
        }
    }

    /// Writes what is new; whether anything was.
    async fn catch_up(
        &mut self,
        engine: &Engine,
        by: &Reporting,
        heard: &mut watch::Receiver<Reported>,
    ) -> Result<bool, Fault> {
        let (progress, output) = {
            let reported = heard.borrow_and_update();
            let progress = reported.progress().filter(|now| self.progress.as_ref() != Some(now)).cloned();
            let (version, output) = reported.output();
            (progress, (version != self.output_version).then(|| (version, output.clone())))
        };
        if progress.is_none() && output.is_none() {
            return Ok(false);
        }
        if let Some(progress) = progress {
            apply(engine, ReportProgress { by: by.clone(), progress: progress.clone() }).await?;
            self.progress = Some(progress);
        }
        if let Some((version, output)) = output {
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
