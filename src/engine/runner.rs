//! Owns one attempt, as named steps: prepare, spawn or call, watch, stop, settle. Every write carries the attempt.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::lease::Term;
use super::listener::Listener;
use super::running::Entry;
use super::underway::{Begun, End, Underway};
use super::{Engine, STORE_RETRY, dependencies, handlers, reports, slow_start, spool, starting};
use crate::base::{clock, points};
use crate::domain::attempt::{AttemptOutcome, Ended, Ran, Spawned};
use crate::domain::duration::Span;
use crate::domain::error_line;
use crate::domain::log::{LogStream, NewLine};
use crate::domain::parameters;
use crate::domain::report::Reported;
use crate::domain::trace::{TRACE_VARIABLE, TraceContext};
use crate::exec::{self, Identity, Place, Spec};
use crate::store::attempts::RecordSpawn;
use crate::store::claim::Claimed;
use crate::store::ends::{EndAttempt, Settled};
use crate::store::logs::LogEnd;
use crate::store::writer::Refusal;

/// After the drop of a handler: how long it may take to be gone before the attempt ends without it.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// A process that lives longer is recorded while it runs. Until then its cookie tells whose it is.
const RECORD_AFTER: Duration = Duration::from_millis(5);

/// Why we stopped it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StopCause {
    Cancel,
    /// After so long.
    Timeout(Span),
    Idle,
    Shutdown,
    Lapse,
}

/// Runs the attempt to its end and stores what became of it. What outlives the attempt keeps its `place`. Gives whether
/// the place was left with the commit of the end.
pub async fn run(engine: &Engine, claimed: Box<Claimed>, mut entry: Entry, place: Place) -> bool {
    entry.begin();
    points::reach("runner.begin");
    let due_at = claimed.job.run_at.max(claimed.job.created_at);
    engine.metrics.started(&claimed.job.queue_name, engine.clock.now().since(due_at));
    let began = engine.clock.monotonic();
    // From before the start on: a lease that is over even for a moment ends it.
    let term = engine.lease.watch();
    let mut ended = execute(engine, &claimed, (entry.stop.clone(), &term), place.clone()).await;
    if term.is_over() && ended.outcome != AttemptOutcome::Interrupted {
        // Others may have started it anew since, whatever became of it here.
        let message = format!("its worker could not renew its lease ({})", ended.message);
        ended = Ended { outcome: AttemptOutcome::Lost, message, ..ended };
    }
    ended.at.get_or_insert_with(|| engine.clock.now());
    let outcome = ended.outcome.word();
    let ran = engine.clock.monotonic().duration_since(began);
    engine.metrics.ended(outcome, ran, ended.log_bytes, ended.dropped_log_bytes);
    let leaves_place = Arc::strong_count(&place) == 1;
    let end = end_of(engine, &claimed, ended);
    let stored = spool::settle(engine, &end, leaves_place).await;
    let state = stored.map_or("SPOOLED", Settled::word);
    drop(entry);
    // A failing job is not an error of the daemon.
    let (job, attempt, number) = (claimed.job.id, claimed.attempt, claimed.number);
    tracing::info!(%job, %attempt, number, outcome, state, "attempt ended");
    leaves_place && stored.is_some()
}

async fn execute(
    engine: &Engine,
    claimed: &Claimed,
    (stop, term): (watch::Receiver<bool>, &Term),
    place: Place,
) -> Ended {
    if let Err(ended) = may_start(engine, &stop).await {
        return unstarted(engine, claimed, ended).await;
    }
    // What the command is given as a secret is hidden from its first byte on.
    let environment = claimed.job.command.environment.iter();
    let secrets = environment.filter(|one| one.is_secret).map(|one| one.value.as_str());
    let (told, heard) = watch::channel(Reported::hiding(secrets));
    engine.running.listen(claimed.attempt, claimed.number, heard.clone());
    // True while the listener holds output in its hands: every change is a sign of life.
    let (alive, silence) = watch::channel(false);
    let handler = claimed.job.command.handler.as_deref();
    let channel = if handler.is_some() { None } else { reports::open(engine, claimed) };
    // A program reads a file of what its dependencies left; it is gone with the attempt.
    let inherited = match handler {
        Some(_) => Ok(None),
        None => dependencies::write(engine, claimed, &stop).await,
    };
    // The store was asked in between: a cancel may have been acknowledged since.
    let inherited = match (inherited, refuse_to_start(engine, &stop)) {
        (Ok(inherited), None) => inherited,
        (Err(ended), _) | (_, Some(ended)) => return unstarted(engine, claimed, ended).await,
    };
    let spec = handler.is_none().then(|| {
        let path = channel.as_ref().map(exec::ReportChannel::path);
        let mut spec = prepare(engine, claimed, path);
        spec.environment.extend(inherited.as_ref().map(exec::DependencyFile::variable));
        spec
    });
    let ((underway, output), ran, tried_at) =
        match begin(engine, claimed, &stop, (&told, &alive), spec, place).await {
            Ok(begun) => begun,
            Err(ended) => return unstarted(engine, claimed, ended).await,
        };
    let over = CancellationToken::new();
    let spawned = record_spawn(engine, claimed, spawned_of(underway.identity(), ran), &over);
    let listener = Listener::new(engine, claimed, channel, (told, alive));
    let watched = async {
        let time = (tried_at, heard.clone());
        let ended = watch(engine, claimed, underway, (stop, silence, term.clone()), time).await;
        over.cancel();
        ended
    };
    // The spawn is recorded while the process runs: its cookie was committed before it began.
    let (watched, said, last_word, unrecorded) = tokio::join!(
        watched,
        listener.run(output, &over),
        reports::keep(engine, claimed, heard.clone()),
        spawned
    );
    let end = engine.recorder.end(claimed.attempt, said.lost_bytes).await;
    let mut ended = with_log(watched, end, said.bytes);
    (ended.spawned, ended.last_word) = (unrecorded, last_word);
    let reported = heard.borrow();
    if handler.is_some() {
        tame(&mut ended, &reported);
    }
    ended.error_line = ended.error_line.or(said.error_line);
    ended.advice = reported.advice();
    ended
}

/// The words of a handler are its own: they may be long, and hold what it wants hidden.
fn tame(ended: &mut Ended, reported: &Reported) {
    ended.message = reported.tame(&ended.message);
    let reason = ended.error_line.take().map(|reason| reported.tame(&reason));
    ended.error_line = reason.map(|reason| error_line::shown(reason.trim().as_bytes()));
}

/// Starts a process, or calls the handler where there is none to start, once the machine has what it takes. Gives what
/// really ran too, and when the start began: its time counts from then.
async fn begin(
    engine: &Engine,
    claimed: &Claimed,
    stop: &watch::Receiver<bool>,
    (told, alive): (&watch::Sender<Reported>, &watch::Sender<bool>),
    spec: Option<Spec>,
    place: Place,
) -> Result<(Begun, Option<Ran>, Instant), Ended> {
    let mut patience = starting::Patience::begin(engine, stop);
    let (begun, tried_at) = loop {
        let tried_at = engine.clock.monotonic();
        let tried = match (starting::check_room(), &spec) {
            (Err(lack), _) => Err(lack),
            (Ok(()), Some(spec)) => slow_start::start(engine, claimed, spec, stop, &place).await,
            (Ok(()), None) => {
                let name = claimed.job.command.handler.as_deref().unwrap_or_default();
                let call = handlers::call_of(engine, claimed, (told, alive), place.clone());
                Underway::call(engine, name, call)
            }
        };
        match tried {
            Ok(begun) => break (begun, tried_at),
            Err(refused) => patience.rest(refused).await.map_err(|mut ended| {
                ended.message = told.borrow().masks().hide(&ended.message);
                ended
            })?,
        }
    };
    let ran = spec.as_ref().and_then(|spec| begun.0.ran(engine, spec));
    Ok((begun, ran, tried_at))
}

/// The end of an attempt of which nothing ever ran.
async fn unstarted(engine: &Engine, claimed: &Claimed, ended: Ended) -> Ended {
    let end = engine.recorder.end(claimed.attempt, 0).await;
    with_log(ended, end, 0)
}

fn spawned_of(process: Option<&Identity>, ran: Option<Ran>) -> Option<Spawned> {
    let (process, ran) = process.zip(ran)?;
    Some(Spawned {
        pid: process.pid,
        start_ticks: i64::try_from(process.start_ticks).unwrap_or(i64::MAX),
        boot_id: process.boot_id.clone(),
        ran,
    })
}

/// Records the process while it runs. Gives it back when it is over before: then its end records it, in one commit.
async fn record_spawn(
    engine: &Engine,
    claimed: &Claimed,
    spawned: Option<Spawned>,
    over: &CancellationToken,
) -> Option<Spawned> {
    let spawned = spawned?;
    points::reach("spawn.unrecorded");
    if clock::within(RECORD_AFTER, over.cancelled()).await.is_some() {
        return Some(spawned);
    }
    let mut is_told = false;
    loop {
        let change = RecordSpawn { attempt: claimed.attempt, spawned: spawned.clone() };
        let Err(Refusal::Fault(fault)) = engine.writer.apply(change).await else {
            points::reach("spawn.recorded");
            return None;
        };
        if !is_told {
            tracing::warn!(attempt = %claimed.attempt, "the process of an attempt cannot be recorded yet: {fault}");
            is_told = true;
        }
        if clock::within(STORE_RETRY, over.cancelled()).await.is_some() {
            return Some(spawned);
        }
    }
}

/// Waits until the machine has room for it.
async fn may_start(engine: &Engine, stop: &watch::Receiver<bool>) -> Result<(), Ended> {
    match refuse_to_start(engine, stop) {
        Some(ended) => Err(ended),
        None => starting::wait_for_room(engine, stop).await,
    }
}

/// After an acknowledged cancel nothing starts, nor after a stop at once.
pub(super) fn refuse_to_start(engine: &Engine, stop: &watch::Receiver<bool>) -> Option<Ended> {
    if *stop.borrow() {
        return Some(Ended::without_process(AttemptOutcome::Cancelled, "cancelled before it was started"));
    }
    let why = if engine.lease.is_over() {
        "its worker's lease was over before it was started"
    } else if engine.shutdown.is_forced() {
        "the daemon was stopped before it was started"
    } else {
        return None;
    };
    // It costs no try, and the job goes back whatever its policy: nothing of it began.
    Some(Ended { is_unbegun: true, ..Ended::without_process(AttemptOutcome::Interrupted, why) })
}

fn prepare(engine: &Engine, claimed: &Claimed, channel: Option<&Path>) -> Spec {
    let command = &claimed.job.command;
    let mut environment = exec::default_environment(&command.inherit_environment);
    // A command that names a span of its own means it.
    let trace = TraceContext::of_job(engine.reader.epoch(), claimed.job.id, claimed.asked);
    environment.push((TRACE_VARIABLE.to_owned(), trace.of_attempt(claimed.attempt).to_string()));
    environment.extend(command.environment.iter().map(|one| (one.name.clone(), one.value.clone())));
    environment.push(("BEADLE_JOB_ID".to_owned(), claimed.job.id.to_string()));
    environment.push(("BEADLE_ATTEMPT".to_owned(), claimed.number.to_string()));
    if let Some(task) = &claimed.job.task_name {
        environment.push(("BEADLE_TASK".to_owned(), task.clone()));
    }
    if let Some(given) = &claimed.job.parameters {
        environment.extend(parameters::variables(given));
    }
    if let Some(channel) = channel {
        environment.push((exec::REPORT_VARIABLE.to_owned(), channel.to_string_lossy().into_owned()));
    }
    let directory = command.working_directory.as_ref().map(Into::into);
    Spec {
        argv: command.argv.clone(),
        directory: Some(directory.unwrap_or_else(|| engine.settings.work_directory.clone())),
        environment,
        cookie: claimed.cookie.clone(),
        merges_output: claimed.job.merges_output,
    }
}

/// Waits for the end; stops what runs when somebody asks, the time is over or the daemon goes.
async fn watch(
    engine: &Engine,
    claimed: &Claimed,
    mut underway: Underway,
    (mut stop, silence, mut term): (watch::Receiver<bool>, watch::Receiver<bool>, Term),
    (tried_at, heard): (Instant, watch::Receiver<Reported>),
) -> Ended {
    let cause = tokio::select! {
        end = underway.wait() => return finish(engine, claimed, Some(underway), end, None).await,
        () = asked(&mut stop) => StopCause::Cancel,
        allowed = time_over(engine, claimed, tried_at, heard) => StopCause::Timeout(allowed),
        () = silent_for(claimed.job.idle_timeout, silence) => StopCause::Idle,
        () = engine.shutdown.forced() => StopCause::Shutdown,
        () = term.over() => StopCause::Lapse,
    };
    underway.terminate();
    // Once the lease is over there is no time for manners.
    let grace = if cause == StopCause::Lapse { Duration::ZERO } else { claimed.job.kill_grace.to_std() };
    let end = tokio::select! {
        end = underway.wait() => Some(end),
        () = grace_over(engine, grace) => None,
        () = term.over(), if cause != StopCause::Lapse => None,
    };
    let (underway, end) = match end {
        Some(end) => (Some(underway), end),
        None => underway.end(KILL_PATIENCE).await,
    };
    if underway.is_none() {
        tracing::warn!(attempt = %claimed.attempt, "a handler does not end: it keeps its slot until it does");
    }
    finish(engine, claimed, underway, end, Some(cause)).await
}

/// Resolves when the attempt has run as long as it may, with what it has asked for: that long.
async fn time_over(
    engine: &Engine,
    claimed: &Claimed,
    began: Instant,
    mut heard: watch::Receiver<Reported>,
) -> Span {
    let Some(timeout) = claimed.job.timeout else { return std::future::pending().await };
    loop {
        let allowed = heard.borrow_and_update().allowed(timeout, claimed.job.timeout_max);
        let left = allowed.to_std().saturating_sub(engine.clock.monotonic().duration_since(began));
        if left.is_zero() {
            return allowed;
        }
        // While this waits somebody listens: the listener ends after us.
        let _ = clock::within(left, heard.changed()).await;
    }
}

/// The job's own grace; a shutdown that does not wait shortens it to the daemon's.
async fn grace_over(engine: &Engine, grace: Duration) {
    let at_shutdown = async {
        engine.shutdown.forced().await;
        clock::sleep(engine.settings.kill_grace).await;
    };
    tokio::select! {
        () = clock::sleep(grace) => {}
        () = at_shutdown => {}
    }
}

/// Resolves when no output came for the whole length. Output that waits for our own log store is no silence.
async fn silent_for(length: Option<Span>, mut is_busy: watch::Receiver<bool>) {
    let Some(length) = length.map(Span::to_std) else { return std::future::pending().await };
    loop {
        // The sender outlives this wait.
        let is_over = is_busy.wait_for(|is_busy| !*is_busy).await.is_err();
        if is_over || clock::within(length, is_busy.changed()).await.is_none() {
            return;
        }
    }
}

pub(super) async fn asked(stop: &mut watch::Receiver<bool>) {
    // The sender is dropped only after the attempt's end.
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn finish(
    engine: &Engine,
    claimed: &Claimed,
    underway: Option<Underway>,
    end: End,
    cause: Option<StopCause>,
) -> Ended {
    points::reach("exit.seen");
    let ended_at = engine.clock.now();
    if let Some(mut underway) = underway
        && underway.drained().await
    {
        let text = "output was held open by a process that outlived the command; it is no longer read";
        let line = NewLine {
            at: engine.clock.now(),
            stream: LogStream::System,
            bytes: text.as_bytes().to_vec(),
            is_line_end: true,
        };
        engine.recorder.append(claimed.attempt, vec![line], 0).await;
    }
    let how = end.how();
    let (outcome, message) = match cause {
        Some(StopCause::Cancel) => (AttemptOutcome::Cancelled, format!("cancelled ({how})")),
        Some(StopCause::Timeout(allowed)) => {
            let more = match claimed.job.timeout {
                Some(timeout) if timeout != allowed => format!("{timeout}, extended to {allowed}"),
                _ => allowed.to_string(),
            };
            (AttemptOutcome::TimedOut, format!("stopped after its timeout of {more} ({how})"))
        }
        Some(StopCause::Idle) => {
            let idle = claimed.job.idle_timeout.map(|idle| idle.to_string()).unwrap_or_default();
            (
                AttemptOutcome::TimedOut,
                format!("stopped after its idleTimeout of {idle} without output or report ({how})"),
            )
        }
        Some(StopCause::Shutdown) => {
            (AttemptOutcome::Interrupted, format!("interrupted by a shutdown of the daemon ({how})"))
        }
        Some(StopCause::Lapse) => (AttemptOutcome::Lost, how),
        None => (end.outcome(), how),
    };
    Ended { at: Some(ended_at), ..end.ended(outcome, message) }
}

fn with_log(mut ended: Ended, end: Option<LogEnd>, bytes: i64) -> Ended {
    points::reach("exit.log_ended");
    (ended.log_bytes, ended.dropped_log_bytes) = match end {
        Some(end) => (end.byte_count, end.dropped_bytes),
        // The log store gave no answer: nothing is known to be kept.
        None => (bytes, bytes),
    };
    ended
}

/// The end as it is stored; while the store is in trouble, beside it.
fn end_of(engine: &Engine, claimed: &Claimed, ended: Ended) -> EndAttempt {
    EndAttempt {
        attempt: claimed.attempt,
        job: claimed.job.id,
        ended,
        unit: engine.random.unit(),
        actor: engine.worker.to_string(),
    }
}
