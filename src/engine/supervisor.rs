//! Owns the life of the long-lived parts: each is restarted with a growing pause when it fails, the others go on.
//!
//! The rule: a part that fails is DEGRADED at once, and OK again when it has run for a moment after its restart. After
//! several failures within a minute it must run a while longer for that. It is tried again for ever.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio_util::task::TaskTracker;

use super::Engine;
use super::health::HealthBoard;
use crate::base::clock::Clock;
use crate::base::random::Random;
use crate::base::shutdown::Shutdown;
use crate::base::task::panic_message;
use crate::base::{clock, task};
use crate::domain::health::HealthStatus;

/// First pause before a restart; doubles up to the last.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest pause before a restart: a part is back within 10 s of the end of what ailed it.
const PAUSE_LAST: Duration = Duration::from_secs(5);
/// A pause is longer than it must be by up to this part of it, so that parts which fail together do not come back together.
const JITTER: f64 = 0.25;
/// A part that ran this long fails as if for the first time.
const SETTLED_AFTER: Duration = Duration::from_secs(10);
/// So many failures within the window are many.
const MANY: usize = 5;
const WINDOW: Duration = Duration::from_mins(1);
/// How long a part must run after a restart to be well again, and after many failures.
const WELL_AFTER: Duration = Duration::from_secs(1);
const WELL_AFTER_MANY: Duration = Duration::from_secs(3);

/// What keeping a part alive needs of the daemon.
#[derive(Debug, Clone)]
pub struct Ground {
    /// Where it is shown.
    pub health: HealthBoard,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
}

/// Until when parts are kept alive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Until {
    /// The shutdown begins.
    #[default]
    Begun,
    /// The drain has ended: until then what runs needs them.
    Drained,
}

impl Until {
    fn is_over(self, shutdown: &Shutdown) -> bool {
        if self == Until::Begun { shutdown.is_begun() } else { shutdown.is_drained() }
    }

    async fn over(self, shutdown: &Shutdown) {
        if self == Until::Begun { shutdown.begun().await } else { shutdown.drained().await }
    }
}

/// Starts parts and keeps them alive until the shutdown.
#[derive(Debug, Clone, Default)]
pub struct Supervisor {
    tracker: TaskTracker,
    until: Until,
}

impl Supervisor {
    /// One that keeps its parts alive for so long.
    pub fn new(until: Until) -> Supervisor {
        Supervisor { until, ..Supervisor::default() }
    }

    /// Keeps a part alive: `work` is called anew, with state read from the store, each time it fails.
    /// It ends the part for good by giving `Ok`.
    pub fn keep<F, W>(&self, engine: &Engine, name: impl Into<Cow<'static, str>>, work: W)
    where
        W: Fn(Engine) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let engine = engine.clone();
        let mut part = Part::begin(engine.ground(), name.into());
        let until = self.until;
        let keeping = async move {
            loop {
                let began = engine.clock.monotonic();
                let Err(message) = run_once(&engine, &work).await else { return };
                if until.is_over(&engine.shutdown) {
                    tracing::warn!(part = %part.name, "ended during the shutdown: {message}");
                    return;
                }
                let pause = part.failed(message, began);
                tokio::select! {
                    () = clock::sleep(pause) => {}
                    () = until.over(&engine.shutdown) => return,
                }
                part.runs_again();
            }
        };
        drop(task::spawn(self.tracker.track_future(keeping)));
    }

    /// Resolves when every part has ended.
    pub async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Keeps a part alive that has its own state, such as a queue: `work` is called again when it panics. To be spawned.
pub async fn keep_running<F: AsyncFnMut()>(ground: Ground, name: &'static str, mut work: F) {
    let mut part = Part::begin(ground, name.into());
    loop {
        let began = part.ground.clock.monotonic();
        let Err(payload) = AssertUnwindSafe(work()).catch_unwind().await else { return };
        let pause = part.failed(format!("panicked: {}", panic_message(payload.as_ref())), began);
        clock::sleep(pause).await;
        part.runs_again();
    }
}

/// Sets a part's row. When that is news, the feed is told.
pub fn report(engine: &Engine, name: &str, status: HealthStatus, message: Option<String>) {
    engine.health.set(name, status, message, engine.clock.now());
}

async fn run_once<F, W>(engine: &Engine, work: &W) -> Result<(), String>
where
    W: Fn(Engine) -> F,
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    match task::spawn(work(engine.clone())).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => {
            Err(format!("panicked: {}", panic_message(error.into_panic().as_ref())))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// One part as the supervisor sees it.
struct Part {
    ground: Ground,
    name: Cow<'static, str>,
    failures: Failures,
}

impl Part {
    fn begin(ground: Ground, name: Cow<'static, str>) -> Part {
        ground.health.begin(&name, ground.clock.now());
        Part { ground, name, failures: Failures::default() }
    }

    /// Notes and shows a failure of what began at `began`; gives the pause before the restart.
    fn failed(&mut self, message: String, began: Instant) -> Duration {
        let Ground { health, clock, random } = &self.ground;
        let now = clock.monotonic();
        let pause = self.failures.note(now, now.duration_since(began)).mul_f64(1.0 + JITTER * random.unit());
        tracing::error!(
            part = %self.name,
            pause_ms = pause.as_millis(),
            "failed, will be restarted: {message}"
        );
        health.failed(&self.name, &message, clock.now());
        pause
    }

    /// It was restarted: it is well when it has not failed again in a while.
    fn runs_again(&self) {
        tracing::info!(part = %self.name, "was restarted");
        let (ground, name) = (self.ground.clone(), self.name.clone());
        let while_long = if self.failures.are_many() { WELL_AFTER_MANY } else { WELL_AFTER };
        let then = ground.health.said(&name);
        drop(task::spawn(async move {
            clock::sleep(while_long).await;
            // It may have failed again, or said itself how it is.
            ground.health.mend(&name, then, ground.clock.now());
        }));
    }
}

/// How often a part failed of late.
#[derive(Debug, Default)]
struct Failures {
    recent: VecDeque<Instant>,
    pause: Option<Duration>,
}

impl Failures {
    /// Notes a failure after so long a run; gives the pause before the next.
    fn note(&mut self, now: Instant, ran: Duration) -> Duration {
        self.recent.push_back(now);
        while self.recent.len() > MANY || self.recent.front().is_some_and(|at| now - *at > WINDOW) {
            self.recent.pop_front();
        }
        let doubled = self.pause.filter(|_| ran < SETTLED_AFTER).map(|pause| (pause * 2).min(PAUSE_LAST));
        *self.pause.insert(doubled.unwrap_or(PAUSE_FIRST))
    }

    fn are_many(&self) -> bool {
        self.recent.len() >= MANY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::SystemClock;

    #[test]
    fn pauses_grow_while_it_fails_and_start_anew_when_it_has_run() {
        let mut failures = Failures::default();
        let (start, short) = (SystemClock.monotonic(), Duration::from_millis(1));
        let mut at = start;
        let mut fail = |ran: Duration| {
            at += ran;
            let pause = failures.note(at, ran);
            at += pause;
            (pause.as_millis(), failures.are_many())
        };
        let expected = [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000];
        for (number, pause) in expected.into_iter().enumerate() {
            assert_eq!(fail(short), (pause, number + 1 >= MANY));
        }
        assert_eq!(fail(SETTLED_AFTER), (100, true));
        assert_eq!(fail(WINDOW), (100, false));
        assert_eq!(fail(short), (200, false));
    }
}
