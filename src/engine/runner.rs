//! Owns one attempt, as named steps: prepare, spawn, watch, stop, settle. Every write carries the attempt.

use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::listener::Listener;
use super::running::Entry;
use super::{Engine, reports};
use crate::base::clock;
use crate::domain::attempt::{AttemptOutcome, Ended, Usage};
use crate::domain::duration::Span;
use crate::domain::job::JobState;
use crate::domain::log::{LogStream, NewLine};
use crate::domain::report::Reported;
use crate::exec::{self, Exit, Running, Spec};
use crate::store::FaultKind;
use crate::store::attempts::RecordSpawn;
use crate::store::claim::Claimed;
use crate::store::logs::LogEnd;
use crate::store::transition::{EndAttempt, Settled};
use crate::store::writer::Refusal;

/// Pause before a result that could not be stored is offered again.
const STORE_RETRY: Duration = Duration::from_millis(500);
/// After SIGKILL: how long the group may take to be gone before the attempt ends without it.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Why we stopped a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StopCause {
    Cancel,
    Timeout,
    Idle,
    Shutdown,
}

/// Runs the attempt to its end and stores what became of it.
pub async fn run(engine: &Engine, claimed: Claimed, entry: Entry) {
    let ended = execute(engine, &claimed, entry.stop.clone()).await;
    let outcome = ended.outcome.word();
    let state = settle(engine, &claimed, ended).await;
    drop(entry);
    // A failing job is not an error of the daemon.
    tracing::info!(job = %claimed.job.id, attempt = claimed.number, outcome, state, "attempt ended");
}

async fn execute(engine: &Engine, claimed: &Claimed, stop: watch::Receiver<bool>) -> Ended {
    if let Some(ended) = refuse_to_start(engine, &stop) {
        let end = engine.recorder.end(claimed.attempt, 0).await;
        return with_log(ended, end, 0);
    }
    // What the command is given as a secret is hidden from its first byte on.
    let environment = claimed.job.command.environment.iter();
    let secrets = environment.filter(|one| one.is_secret).map(|one| one.value.as_str());
    let (told, heard) = watch::channel(Reported::hiding(secrets));
    engine.running.listen(claimed.attempt, claimed.number, heard.clone());
    let channel = reports::open(engine, claimed);
    let spec = prepare(engine, claimed, channel.as_ref().map(exec::ReportChannel::path));
    let (running, output) = match exec::spawn(&spec, &engine.clock) {
        Ok(started) => started,
        Err(error) => {
            let end = engine.recorder.end(claimed.attempt, 0).await;
            let message = told.borrow().masks().hide(&error.message());
            return with_log(Ended::without_process(AttemptOutcome::SpawnFailed, message), end, 0);
        }
    };
    let identity = running.identity();
    let spawned = engine.writer.apply(RecordSpawn {
        attempt: claimed.attempt,
        pid: identity.pid,
        start_ticks: i64::try_from(identity.start_ticks).unwrap_or(i64::MAX),
        boot_id: identity.boot_id.clone(),
    });
    let over = CancellationToken::new();
    // True while the listener holds output in its hands: every change is a sign of life.
    let (alive, silence) = watch::channel(false);
    let listener = Listener::new(engine, claimed, channel, (told, alive));
    let watched = async {
        let ended = watch_process(engine, claimed, running, (stop, silence), heard.clone()).await;
        over.cancel();
        ended
    };
    // The spawn is recorded while the process runs: its cookie was committed before it began.
    let (watched, said, (), recorded) = tokio::join!(
        watched,
        listener.run(output, &over),
        reports::keep(engine, claimed, heard.clone()),
        spawned
    );
    if let Err(Refusal::Fault(fault)) = recorded {
        tracing::warn!(attempt = %claimed.attempt, "the process of an attempt could not be recorded: {fault}");
    }
    let end = engine.recorder.end(claimed.attempt, said.lost_bytes).await;
    let mut ended = with_log(watched, end, said.bytes);
    ended.error_line = said.error_line;
    ended.advice = heard.borrow().advice();
    ended
}

/// After an acknowledged cancel nothing starts, nor after a stop at once.
fn refuse_to_start(engine: &Engine, stop: &watch::Receiver<bool>) -> Option<Ended> {
    if *stop.borrow() {
        return Some(Ended::without_process(AttemptOutcome::Cancelled, "cancelled before it was started"));
    }
    let message = "the daemon was stopped before it was started";
    engine.shutdown.is_forced().then(|| Ended::without_process(AttemptOutcome::Interrupted, message))
}

fn prepare(engine: &Engine, claimed: &Claimed, channel: Option<&Path>) -> Spec {
    let command = &claimed.job.command;
    let mut environment = exec::default_environment(&command.inherit_environment);
    environment.extend(command.environment.iter().map(|one| (one.name.clone(), one.value.clone())));
    environment.push(("BEADLE_JOB_ID".to_owned(), claimed.job.id.to_string()));
    environment.push(("BEADLE_ATTEMPT".to_owned(), claimed.number.to_string()));
    if let Some(task) = &claimed.job.task_name {
        environment.push(("BEADLE_TASK".to_owned(), task.clone()));
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

/// Waits for the exit; stops the group when somebody asks, the time is over or the daemon goes.
async fn watch_process(
    engine: &Engine,
    claimed: &Claimed,
    mut running: Running,
    (mut stop, silence): (watch::Receiver<bool>, watch::Receiver<bool>),
    heard: watch::Receiver<Reported>,
) -> Ended {
    let cause = tokio::select! {
        exit = running.wait() => return finish(engine, claimed, running, exit, None).await,
        () = asked(&mut stop) => StopCause::Cancel,
        () = time_over(engine, claimed, heard) => StopCause::Timeout,
        () = silent_for(claimed.job.idle_timeout, silence) => StopCause::Idle,
            () = engine.shutdown.forced() => StopCause::Shutdown,
    };
    running.terminate();
    let grace = claimed.job.kill_grace.to_std();
    let mut exit = tokio::select! {
        exit = running.wait() => Some(exit),
        () = grace_over(engine, grace) => None,
    };
    if exit.is_none() {
        running.kill();
        exit = clock::within(KILL_PATIENCE, running.wait()).await;
    }
    if let Some(exit) = exit {
        return finish(engine, claimed, running, exit, Some(cause)).await;
    }
    let message = format!("process {} hangs in the kernel and cannot be killed", running.pid());
    Ended::without_process(AttemptOutcome::Lost, message)
}

/// Resolves when the attempt has run as long as it may, with what it has asked for.
async fn time_over(engine: &Engine, claimed: &Claimed, mut heard: watch::Receiver<Reported>) {
    let Some(timeout) = claimed.job.timeout else { return std::future::pending().await };
    let began = engine.clock.monotonic();
    loop {
        let allowed = heard.borrow_and_update().allowed(timeout.to_std());
        let left = allowed.saturating_sub(engine.clock.monotonic().duration_since(began));
        if left.is_zero() {
            return;
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

async fn asked(stop: &mut watch::Receiver<bool>) {
    // The sender is dropped only after the attempt's end.
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn finish(
    engine: &Engine,
    claimed: &Claimed,
    mut running: Running,
    exit: Exit,
    cause: Option<StopCause>,
) -> Ended {
    let drain = running.drained().await;
    if drain.is_output_held_open {
        let text = "output was held open by a process that outlived the command; it is no longer read";
        let line = NewLine {
            at: engine.clock.now(),
            stream: LogStream::System,
            bytes: text.as_bytes().to_vec(),
            is_line_end: true,
        };
        engine.recorder.append(claimed.attempt, vec![line], 0).await;
    }
    let signal = exit.signal.map(signal_name);
    let how = match (exit.code, &signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("ended by {signal}"),
        (None, None) => "its end was not seen".to_owned(),
    };
    let timeout = claimed.job.timeout.map(|timeout| timeout.to_string()).unwrap_or_default();
    let (outcome, message) = match cause {
        Some(StopCause::Cancel) => (AttemptOutcome::Cancelled, format!("cancelled ({how})")),
        Some(StopCause::Timeout) => {
            (AttemptOutcome::TimedOut, format!("stopped after its timeout of {timeout} ({how})"))
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
        None if exit.code == Some(0) => (AttemptOutcome::Succeeded, how),
        None if exit.code.is_some() => (AttemptOutcome::Exited, how),
        None => (AttemptOutcome::Signaled, how),
    };
    let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    Ended {
        exit_code: exit.code,
        signal,
        usage: Some(Usage {
            user_us: micros(exit.user_time),
            system_us: micros(exit.system_time),
            peak_memory_bytes: exit.peak_memory_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        }),
        ..Ended::without_process(outcome, message)
    }
}

fn with_log(mut ended: Ended, end: Option<LogEnd>, bytes: i64) -> Ended {
    (ended.log_bytes, ended.dropped_log_bytes) = match end {
        Some(end) => (end.byte_count, end.dropped_bytes),
        // The log store gave no answer: nothing is known to be kept.
        None => (bytes, bytes),
    };
    ended
}

/// Stores the end. While the store is down the result waits here, in memory.
async fn settle(engine: &Engine, claimed: &Claimed, ended: Ended) -> &'static str {
    let change = EndAttempt {
        attempt: claimed.attempt,
        job: claimed.job.id,
        ended,
        unit: engine.random.unit(),
        actor: engine.worker.to_string(),
    };
    loop {
        match engine.writer.apply(change.clone()).await {
            Ok(committed) => {
                return match committed.answer {
                    Settled::Job(state) => state.word(),
                    Settled::Stale => "STALE",
                };
            }
            Err(Refusal::Fault(fault)) if fault.kind == FaultKind::Stopping => {
                return JobState::Running.word();
            }
            Err(Refusal::Fault(fault)) => {
                tracing::warn!(attempt = %claimed.attempt, "a result waits for the store: {fault}");
                clock::sleep(STORE_RETRY).await;
            }
            Err(Refusal::Rejected(rejection)) => {
                unreachable!("the end of an attempt is never rejected: {}", rejection.message)
            }
        }
    }
}

/// The name of a signal by its number on Linux.
fn signal_name(number: i32) -> String {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
        "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
        "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    let name = usize::try_from(number - 1).ok().and_then(|index| NAMES.get(index));
    name.map_or_else(|| format!("signal {number}"), |name| format!("SIG{name}"))
}
