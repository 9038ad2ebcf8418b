//! Owns what an attempt is told of the jobs that its own job waited for: a file of their ends and results.

use std::io;

use serde_json::json;
use tokio::sync::watch;

use super::runner::refuse_to_start;
use super::{Engine, STORE_RETRY};
use crate::base::clock;
use crate::domain::attempt::{AttemptOutcome, Ended};
use crate::domain::id::JobId;
use crate::exec::DependencyFile;
use crate::store::claim::Claimed;
use crate::store::dependencies::Dependency;

/// Dependencies read at once: bounds the memory that their results take.
const PAGE: usize = 50;

/// Writes the file, for a job that has dependencies; or says how the attempt ends without it.
pub async fn write(
    engine: &Engine,
    claimed: &Claimed,
    stop: &watch::Receiver<bool>,
) -> Result<Option<DependencyFile>, Ended> {
    if claimed.job.on_dependency_failure.is_none() {
        return Ok(None);
    }
    let failed = |error: io::Error| {
        let message = format!("the results of its dependencies could not be written: {error}");
        Ended::without_process(AttemptOutcome::SpawnFailed, message)
    };
    let directory = &engine.settings.report_directory;
    let mut file = DependencyFile::create(directory, &claimed.attempt.to_string()).map_err(failed)?;
    let mut after = JobId(0);
    loop {
        let page = read(engine, claimed, after, stop).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        let entries: Vec<_> = page.iter().map(entry).collect();
        file.add(&entries).map_err(failed)?;
    }
    file.finish().map_err(failed)?;
    Ok(Some(file))
}

/// While the store is down the attempt waits, unless somebody stops it.
async fn read(
    engine: &Engine,
    claimed: &Claimed,
    after: JobId,
    stop: &watch::Receiver<bool>,
) -> Result<Vec<Dependency>, Ended> {
    loop {
        match engine.own.dependency_outputs(claimed.job.id, after, PAGE).await {
            Ok(page) => return Ok(page),
            Err(fault) => {
                tracing::warn!(job = %claimed.job.id, "the results of dependencies wait for the store: {fault}");
            }
        }
        clock::sleep(STORE_RETRY).await;
        if let Some(ended) = refuse_to_start(engine, stop) {
            return Err(ended);
        }
    }
}

fn entry(one: &Dependency) -> (String, String) {
    let output = one.output.as_ref().map(|output| &output.0);
    let value = json!({"task": one.task_name, "state": one.state.word(), "output": output});
    (one.id.to_string(), value.to_string())
}
