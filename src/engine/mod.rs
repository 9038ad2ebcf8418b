//! The daemon's work: what happens between a request and a row, and between a row and a process.
//! It knows store and exec; it must never hold SQL, speak GraphQL or look at HTTP.

pub mod bulk;
pub mod database_watch;
pub mod dependencies;
pub mod dispatcher;
pub mod feed;
pub mod follow;
pub mod handlers;
pub mod health;
pub mod health_news;
pub mod incidents;
pub mod jobs;
pub mod lease;
pub mod listener;
mod log_days;
pub mod log_watch;
pub mod logs;
pub mod memory;
pub mod metrics;
pub mod others;
pub mod parameters;
pub mod places;
pub mod processes;
pub mod progress;
pub mod quarantine;
pub mod reaper;
pub mod recent;
pub mod recorder;
pub mod reports;
pub mod retention;
pub mod runner;
pub mod running;
pub mod scheduler;
pub mod sinks;
pub mod slow_start;
pub mod spool;
pub mod starting;
pub mod status_line;
pub mod store_watch;
pub mod supervisor;
pub mod tasks;

pub mod tokens;
pub mod underway;
pub mod waiting;
pub mod watchdog;

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::Notify;

use crate::base::clock::{self, Clock, Timestamp};
use crate::base::metrics::Metrics;
use crate::base::random::Random;
use crate::base::shutdown::Shutdown;
use crate::domain::id::WorkerId;
use crate::exec::{Cgroup, Handlers};
use crate::store::logs::Logs;
use crate::store::{Care, Reader, Sharing, Writer};

/// Pause before the store is asked again that could not take or give something.
const STORE_RETRY: Duration = Duration::from_millis(500);

/// What the engine is set to.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// Places for attempts.
    pub slots: usize,
    /// How often the store is looked at when no nudge comes.
    pub poll_interval: Duration,
    /// How long a shutdown waits for what runs.
    pub drain_timeout: Duration,
    /// Time between the polite signal and the one that kills, unless a job says otherwise.
    pub kill_grace: Duration,
    /// Jobs that may wait.
    pub queued_max: i64,
    /// How long jobs that succeeded are kept.
    pub retention_succeeded: Duration,
    /// How long jobs that failed are kept.
    pub retention_failed: Duration,
    /// Bytes that all logs may take.
    pub retention_log_bytes: i64,
    /// Bytes that the disk shall keep free: with fewer, no output is kept and no new job taken.
    pub free_bytes_min: u64,
    /// Bytes of output that one attempt may keep.
    pub log_attempt_cap: i64,
    /// Where everything durable lives.
    pub data_dir: PathBuf,
    /// Where commands run that name no directory.
    pub work_directory: PathBuf,
    /// Where the report channels of running attempts stand.
    pub report_directory: PathBuf,
}

/// Everything that the parts of the engine share.
#[derive(Debug)]
pub struct Parts {
    /// Reads the state for clients.
    pub reader: Reader,
    /// Reads the state for the daemon's own work, which never waits for what clients read.
    pub own: Reader,
    /// Changes the state.
    pub writer: Writer,
    /// Looks after the store's files.
    pub care: Care,
    /// Results that wait for the store.
    pub spool: spool::Spool,
    /// Reads and writes output.
    pub logs: Logs,
    /// Takes output of running attempts.
    pub recorder: recorder::Recorder,
    /// The functions of this program that a job may call.
    pub handlers: Handlers,
    /// The control groups of attempts, where there are any.
    pub cgroup: Option<Arc<Cgroup>>,
    /// The machine's name.
    pub host: String,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// What the engine is set to.
    pub settings: EngineSettings,
    /// This daemon as a worker.
    pub worker: WorkerId,
    /// This worker's name: host and process id.
    pub worker_name: String,
    /// What the cookies of this daemon's attempts begin with.
    pub mark: String,
    /// How long this worker may run what it took.
    pub lease: lease::Lease,
    /// The worker before it in the same data directory.
    pub predecessor: Option<WorkerId>,
    /// What it shares with other workers, where there may be any.
    pub sharing: Option<Sharing>,
    /// When the daemon began.
    pub started_at: Timestamp,
    /// The stop, soft and hard.
    pub shutdown: Shutdown,
    /// What it counts.
    pub metrics: Metrics,
    /// How the parts are.
    pub health: health::HealthBoard,
    /// The newest events.
    pub recent: recent::Recent,
    /// The attempts that run here.
    pub running: running::Running,
    /// The starts that wait for the machine.
    pub starting: starting::Starting,
    /// Their places.
    pub slots: places::Slots,
    /// What is remembered of tokens.
    pub tokens: tokens::TokenBoard,
    /// Whether another worker said that there is something to start.
    pub is_called: AtomicBool,
    /// "Look at the store for jobs to start."
    pub nudge_dispatcher: Notify,
    /// "Look at the store for schedules to settle."
    pub nudge_scheduler: Notify,
}

/// The engine: a shared handle to its parts.
#[derive(Debug, Clone)]
pub struct Engine(Arc<Parts>);

impl Engine {
    /// The engine made of its parts.
    pub fn new(parts: Parts) -> Engine {
        Engine(Arc::new(parts))
    }

    /// Whether a worker that is gone was the one before us on this machine. Who has the store for himself was before us
    /// all the more.
    pub fn is_of_predecessor(&self, worker: WorkerId) -> bool {
        worker != self.worker && (self.sharing.is_none() || Some(worker) == self.predecessor)
    }

    /// Waits until `wait` is over, or, when it is no shorter than the poll interval, until the next beat of that.
    async fn next_look(&self, wait: Duration) {
        let poll = self.settings.poll_interval;
        if wait < poll { clock::sleep(wait).await } else { clock::rest(poll).await }
    }

    /// What keeping a part alive needs.
    pub fn ground(&self) -> supervisor::Ground {
        let (health, clock, random) = (self.health.clone(), self.clock.clone(), self.random.clone());
        supervisor::Ground { health, clock, random }
    }
}

impl Deref for Engine {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
