//! Owns the look from outside: a thread of the system, not of the runtime, sees whether the runtime still runs tasks and
//! whether writer, dispatcher and scheduler still come round; it says so, tells the service manager that all is well, and
//! ends a program whose runtime is stuck. It must never wait for anything that it watches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::Engine;
use super::supervisor::Ground;
use crate::base::pulse::Pulse;
use crate::base::shutdown::Shutdown;
use crate::base::task::Threads;
use crate::base::{clock, points, service, task};
use crate::domain::health::HealthStatus;
use crate::store::Fault;

/// Between two looks. At each the runtime is asked for a beat, unless all of its threads sleep.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A runtime that sleeps is asked so long after its last beat: each wakes threads, which is most of what an idle daemon does.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// A runtime that did not run a ready task for so long is slow.
const LAG_MAX: Duration = Duration::from_secs(1);
/// Writer, dispatcher and scheduler wait for disks: they are slow after so long, beyond a poll interval.
const PART_LAG_MAX: Duration = Duration::from_secs(10);
/// What stands still for so long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(30);
/// While the daemon stops in order, the service manager is asked for so much more time at each look.
const STOP_TIME: Duration = Duration::from_secs(20);
/// Between two words to the service manager that are not signs of life.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// A last moment for the log before the end.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// What a stuck runtime means for the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The daemon is the program: it ends at once, and the service manager starts it anew. Nothing acknowledged is lost.
    Program,
    /// The daemon is a guest in another program, whose end is not ours to decide.
    Guest,
}

/// The watch. It ends when this is dropped.
#[derive(Debug)]
pub struct Watchdog {
    is_over: Arc<AtomicBool>,
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Starts watching. What it holds of the engine does not keep the writer alive.
///
/// # Errors
/// When the system gives no thread.
pub fn start(engine: &Engine, role: Role) -> Result<Watchdog, String> {
    let now = engine.clock.monotonic();
    let is_over = Arc::new(AtomicBool::new(false));
    let pulse = |name| engine.health.pulse(name, now);
    let poke = Arc::new(Notify::new());
    let watched = Watched {
        poke: Arc::clone(&poke),
        threads: Threads::here(),
        runtime: pulse("runtime"),
        writer: engine.writer.pulse(),
        dispatcher: pulse("dispatcher"),
        scheduler: pulse("scheduler"),
        poll_interval: engine.settings.poll_interval,
        trouble: engine.writer.trouble(),
        shutdown: engine.shutdown.clone(),
        slow_after: points::length("PART_LAG", PART_LAG_MAX),
        stuck_after: points::length("STUCK_AFTER", STUCK_AFTER),
    };
    engine.health.begin("runtime", engine.clock.now());
    drop(task::spawn(beat(engine.ground(), Arc::clone(&watched.runtime), poke, Arc::clone(&is_over))));
    let (ground, over) = (engine.ground(), Arc::clone(&is_over));
    let look = move || Look::new(watched, ground, role).run(&over);
    thread::Builder::new()
        .name("watchdog".to_owned())
        .spawn(look)
        .map_err(|error| format!("no thread for the watchdog: {error}"))?;
    Ok(Watchdog { is_over })
}

/// That the writer is at one transaction for too long, or which of scheduler and dispatcher has not come round for as long,
/// in words that strangers may read; asked by those who want to know whether the daemon does its work.
pub fn standstill(engine: &Engine) -> Option<String> {
    let now = engine.clock.monotonic();
    let patience = points::length("PART_LAG", PART_LAG_MAX);
    let age_of = |since| now.saturating_duration_since(since);
    // First, for the others wait for it.
    if let Some(age) = engine.writer.pulse().begun().map(age_of).filter(|age| *age >= patience) {
        return Some(format!("the writer has been at one transaction for {} s", age.as_secs()));
    }
    ["scheduler", "dispatcher"].into_iter().find_map(|part| {
        let age = age_of(engine.health.pulse(part, now).last());
        let is_over = age >= engine.settings.poll_interval + patience;
        is_over.then(|| format!("{part} has not come round for {} s", age.as_secs()))
    })
}

/// The runtime's pulse: a task like any other, which beats when it is poked.
async fn beat(ground: Ground, pulse: Arc<Pulse>, poke: Arc<Notify>, is_over: Arc<AtomicBool>) {
    while !is_over.load(Ordering::Relaxed) {
        points::reach("runtime.beat");
        pulse.beat(ground.clock.monotonic());
        poke.notified().await;
    }
}

/// What is looked at.
struct Watched {
    /// Asks for a beat, and so wakes a thread of the runtime. When a task blocks the one that had been waiting for timers
    /// and sockets, the others may sleep on, and nothing would come in: tokio wakes them only for work.
    poke: Arc<Notify>,
    threads: Threads,
    runtime: Arc<Pulse>,
    writer: Arc<Pulse>,
    dispatcher: Arc<Pulse>,
    scheduler: Arc<Pulse>,
    poll_interval: Duration,
    trouble: watch::Receiver<Option<Fault>>,
    shutdown: Shutdown,
    /// For writer, dispatcher and scheduler.
    slow_after: Duration,
    stuck_after: Duration,
}

/// What one look saw: how long each stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Seen {
    runtime: Duration,
    writer: Duration,
    dispatcher: Duration,
    scheduler: Duration,
    /// The store is known to be ill: who waits for it is not stuck.
    is_store_ill: bool,
}

/// What follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Verdict {
    /// What stands still, in words.
    lag: Option<String>,
    /// Whether the service manager is told that all is well.
    is_fresh: bool,
    /// Whether nothing but a new start helps.
    is_stuck: bool,
}

fn judge(seen: Seen, slow_after: Duration, stuck_after: Duration) -> Verdict {
    let Seen { runtime, writer, dispatcher, scheduler, is_store_ill } = seen;
    let slow = |what: &str, lag: Duration| format!("{what} for {} s", lag.as_secs());
    let lag = if runtime >= LAG_MAX {
        Some(slow("the runtime has run no task", runtime))
    } else if is_store_ill {
        None
    } else if writer >= slow_after {
        Some(slow("the writer is at one transaction", writer))
    } else if dispatcher >= slow_after {
        Some(slow("the dispatcher stands still", dispatcher))
    } else if scheduler >= slow_after {
        Some(slow("the scheduler stands still", scheduler))
    } else {
        None
    };
    let is_stuck = runtime >= stuck_after;
    let are_parts_fresh = is_store_ill || writer.max(dispatcher) < stuck_after;
    Verdict { lag, is_fresh: runtime < stuck_after && are_parts_fresh, is_stuck }
}

/// The thread's own state.
struct Look {
    watched: Watched,
    ground: Ground,
    role: Role,
    /// Nothing is held against anybody that lies before this: the whole process stood still, by a signal or a sleeping
    /// machine.
    amnesty: Instant,
    /// The last look at which the store was ill: who waited for it has stood still for that reason until then.
    ill_at: Instant,
    last_at: Instant,
    /// Since when the runtime owes a beat.
    asked_at: Option<Instant>,
    is_lag_known: bool,
    alive_every: Option<Duration>,
    alive_at: Option<Instant>,
    told_at: Option<Instant>,
}

impl Look {
    fn new(watched: Watched, ground: Ground, role: Role) -> Look {
        let now = ground.clock.monotonic();
        // Twice within the time that the service manager gives, as it asks for.
        let alive_every = (role == Role::Program).then(service::watchdog).flatten().map(|given| given / 2);
        let (is_lag_known, asked_at, alive_at, told_at) = (false, None, None, None);
        Look {
            watched,
            ground,
            role,
            amnesty: now,
            ill_at: now,
            last_at: now,
            asked_at,
            is_lag_known,
            alive_every,
            alive_at,
            told_at,
        }
    }

    fn run(mut self, is_over: &AtomicBool) {
        let pause = LOOK_EVERY.min(self.alive_every.unwrap_or(LOOK_EVERY));
        while !is_over.load(Ordering::Relaxed) {
            clock::pause(pause);
            let now = self.ground.clock.monotonic();
            if now.duration_since(self.last_at) >= pause + LAG_MAX {
                self.amnesty = now;
            }
            self.last_at = now;
            self.ask(now);
            if self.watched.trouble.borrow().is_some() {
                self.ill_at = now;
            }
            let verdict = judge(self.see(now), self.watched.slow_after, self.watched.stuck_after);
            self.show(verdict.lag.as_deref());
            if verdict.is_stuck && self.role == Role::Program {
                self.give_up();
            }
            if verdict.is_fresh && self.role == Role::Program {
                self.tell(now);
            }
        }
        // Whoever waits for it sees that all is over.
        self.watched.poke.notify_one();
    }

    /// Asks the runtime for a beat where it owes one, is at work, or has not beaten for long.
    fn ask(&mut self, now: Instant) {
        let Watched { poke, threads, runtime, .. } = &self.watched;
        self.asked_at = self.asked_at.filter(|asked| runtime.last() < *asked);
        if self.asked_at.is_some() || now >= runtime.last() + BEAT_EVERY || !threads.are_asleep() {
            self.asked_at.get_or_insert(now);
            poke.notify_one();
        }
    }

    fn see(&self, now: Instant) -> Seen {
        let since = |last: Instant| now.saturating_duration_since(last.max(self.amnesty));
        let round =
            |pulse: &Pulse| since(pulse.last().max(self.ill_at)).saturating_sub(self.watched.poll_interval);
        // Their loops end with the begin of the shutdown.
        let is_stopping = self.watched.shutdown.is_begun();
        let looping = |pulse: &Pulse| if is_stopping { Duration::ZERO } else { round(pulse) };
        Seen {
            runtime: self.asked_at.map(since).unwrap_or_default(),
            writer: self.watched.writer.begun().map(since).unwrap_or_default(),
            dispatcher: looping(&self.watched.dispatcher),
            scheduler: looping(&self.watched.scheduler),
            is_store_ill: self.watched.trouble.borrow().is_some(),
        }
    }

    /// Each standstill is logged once when it is seen and once when it is over.
    fn show(&mut self, lag: Option<&str>) {
        let Ground { health, clock, .. } = &self.ground;
        match lag {
            Some(lag) => {
                if !self.is_lag_known {
                    tracing::warn!(part = "runtime", "{lag}");
                }
                health.set("runtime", HealthStatus::Degraded, Some(lag.to_owned()), clock.now());
            }
            None if self.is_lag_known => {
                tracing::info!(part = "runtime", "everything comes round again");
                health.set("runtime", HealthStatus::Ok, None, clock.now());
            }
            None => {}
        }
        self.is_lag_known = lag.is_some();
    }

    fn give_up(&self) {
        let after_ms = self.watched.stuck_after.as_millis();
        tracing::error!(
            part = "runtime",
            after_ms,
            "the runtime is stuck: the daemon ends; what was answered is on the disk"
        );
        clock::pause(LAST_WORDS);
        std::process::abort();
    }

    fn tell(&mut self, now: Instant) {
        let is_due = |last: Option<Instant>, every: Duration| last.is_none_or(|last| now - last >= every);
        // A look may come a little late: rather too early than too late.
        if let Some(every) = self.alive_every.filter(|every| is_due(self.alive_at, every.mul_f64(0.8))) {
            tracing::trace!(?every, "alive");
            self.alive_at = Some(now);
            service::alive();
        }
        if self.watched.shutdown.is_begun() && is_due(self.told_at, TELL_EVERY) {
            self.told_at = Some(now);
            service::more_time(STOP_TIME);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_still_is_named_and_only_a_stuck_runtime_is_fatal() {
        let second = Duration::from_secs(1);
        let well = Seen::default();
        let seen = [
            (well, None, true, false),
            (Seen { runtime: second / 2, ..well }, None, true, false),
            (Seen { runtime: second, ..well }, Some("the runtime has run no task for 1 s"), true, false),
            (
                Seen { runtime: second * 30, ..well },
                Some("the runtime has run no task for 30 s"),
                false,
                true,
            ),
            (Seen { writer: second * 9, ..well }, None, true, false),
            (
                Seen { writer: second * 12, ..well },
                Some("the writer is at one transaction for 12 s"),
                true,
                false,
            ),
            (
                Seen { writer: second * 31, ..well },
                Some("the writer is at one transaction for 31 s"),
                false,
                false,
            ),
            (Seen { writer: second * 31, is_store_ill: true, ..well }, None, true, false),
            (
                Seen { dispatcher: second * 30, ..well },
                Some("the dispatcher stands still for 30 s"),
                false,
                false,
            ),
            (
                Seen { scheduler: second * 99, ..well },
                Some("the scheduler stands still for 99 s"),
                true,
                false,
            ),
        ];
        for (seen, lag, is_fresh, is_stuck) in seen {
            let expected = Verdict { lag: lag.map(str::to_owned), is_fresh, is_stuck };
            assert_eq!(judge(seen, PART_LAG_MAX, STUCK_AFTER), expected, "{seen:?}");
        }
    }
}
