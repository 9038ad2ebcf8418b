//! Owns the wait for one process to be started. A start hangs when the program lies on a disk that does not answer: then
//! the health row says so, and a cancel, the job's timeout and a stop of the daemon are heeded as if it ran.
//!
//! What hangs so cannot be ended. The attempt ends without it, its slot stays taken until the start is over, and what
//! then comes of it is ended before anything else.

use std::time::Duration;

use tokio::sync::watch;

use super::Engine;
use super::runner::asked;
use super::starting::Hanging;
use super::underway::{Begun, NotBegun, Underway};
use crate::base::{clock, points, task};
use crate::domain::attempt::AttemptOutcome;
use crate::exec::{Place, Spawned, Spec, Start};
use crate::store::claim::Claimed;

/// A start that takes longer hangs.
const HANGS_AFTER: Duration = Duration::from_secs(5);
/// How long a start that shall be stopped may take to be over.
const PATIENCE: Duration = Duration::from_secs(5);

/// Starts a process and waits for it; or says why there is none. Whoever is stopped while he is started is given back like
/// any other: his watch sees it next.
pub(super) async fn start(
    engine: &Engine,
    claimed: &Claimed,
    spec: &Spec,
    stop: &watch::Receiver<bool>,
    place: &Place,
) -> Result<Begun, NotBegun> {
    let began = engine.clock.monotonic();
    let mut start = Underway::start(engine, claimed.attempt, spec).await?;
    let program = spec.argv.first().map(String::as_str).unwrap_or_default();
    let what = format!("{program} for {}", claimed.job.id);
    let (mut hanging, mut stop) = (None, stop.clone());
    let outcome = tokio::select! {
        spawned = start.wait() => return begun(spawned),
        never = show(engine, claimed, &what, &mut hanging) => match never {},
        () = asked(&mut stop) => AttemptOutcome::Cancelled,
        () = time_over(claimed) => AttemptOutcome::TimedOut,
        () = engine.shutdown.forced() => AttemptOutcome::Interrupted,
    };
    let spawned = if outcome == AttemptOutcome::Interrupted {
        // The next start of the daemon ends what may come of it, by the cookie: for that the attempt must be open.
        Some(start.wait().await)
    } else {
        clock::within(PATIENCE, start.wait()).await
    };
    if let Some(spawned) = spawned {
        return begun(spawned);
    }
    let hanging = hanging.unwrap_or_else(|| Hanging::begin(engine, claimed.attempt, &what));
    leave_behind(start, hanging, place.clone());
    let why = match (outcome, claimed.job.timeout) {
        (AttemptOutcome::TimedOut, Some(timeout)) => format!("stopped after its timeout of {timeout}"),
        _ => "cancelled".to_owned(),
    };
    let seconds = engine.clock.monotonic().duration_since(began).as_secs();
    let message = format!(
        "{why} while its start hung: {program} could not be started for {seconds} s. What may still come of it is ended \
         at once"
    );
    Err(NotBegun { message, outcome: Some(outcome) })
}

fn begun(spawned: Result<Spawned, crate::exec::SpawnError>) -> Result<Begun, NotBegun> {
    let (running, output) = spawned?;
    Ok((Underway::Process(running), output))
}

/// Says so when the start hangs.
async fn show(
    engine: &Engine,
    claimed: &Claimed,
    what: &str,
    hanging: &mut Option<Hanging>,
) -> std::convert::Infallible {
    clock::sleep(points::length("START_HANGS", HANGS_AFTER)).await;
    *hanging = Some(Hanging::begin(engine, claimed.attempt, what));
    std::future::pending().await
}

async fn time_over(claimed: &Claimed) {
    match claimed.job.timeout {
        Some(timeout) => clock::sleep(timeout.to_std()).await,
        None => std::future::pending().await,
    }
}

/// Nobody waits for it any more but its slot and the health row.
fn leave_behind(mut start: Start, hanging: Hanging, place: Place) {
    drop(task::spawn(async move {
        if let Ok((mut running, output)) = start.wait().await {
            drop(output);
            running.kill();
            running.wait().await;
        }
        drop((hanging, place));
    }));
}
