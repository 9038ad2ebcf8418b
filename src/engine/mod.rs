//! The daemon's work: what happens between a request and a row, and between a row and a process.
//! It knows store and exec; it must never hold SQL, speak GraphQL or look at HTTP.

pub mod bulk;
pub mod dependencies;
pub mod dispatcher;
pub mod feed;
pub mod follow;
pub mod handlers;
pub mod health;
pub mod jobs;
pub mod listener;
pub mod logs;
pub mod parameters;
pub mod progress;
pub mod quarantine;
pub mod reaper;
pub mod recorder;
pub mod reports;
pub mod retention;
pub mod runner;
pub mod running;
pub mod scheduler;
pub mod store_watch;
pub mod supervisor;
pub mod tasks;
pub mod tokens;
pub mod underway;
pub mod waiting;

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::base::clock::{Clock, Timestamp};
use crate::base::random::Random;
use crate::base::shutdown::Shutdown;
use crate::domain::id::WorkerId;
use crate::exec::Handlers;
use crate::store::logs::Logs;
use crate::store::{Reader, Writer};

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
    /// Bytes of output that one attempt may keep.
    pub log_attempt_cap: i64,
    /// Where commands run that name no directory.
    pub work_directory: PathBuf,
    /// Where the report channels of running attempts stand.
    pub report_directory: PathBuf,
}

/// Everything that the parts of the engine share.
#[derive(Debug)]
pub struct Parts {
    /// Reads the state.
    pub reader: Reader,
    /// Changes the state.
    pub writer: Writer,
    /// Reads and writes output.
    pub logs: Logs,
    /// Takes output of running attempts.
    pub recorder: recorder::Recorder,
    /// The functions of this program that a job may call.
    pub handlers: Handlers,
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
    /// When the daemon began.
    pub started_at: Timestamp,
    /// The stop, soft and hard.
    pub shutdown: Shutdown,
    /// How the parts are.
    pub health: health::HealthBoard,
    /// The attempts that run here.
    pub running: running::Running,
    /// What is remembered of tokens.
    pub tokens: tokens::TokenBoard,
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
}

impl Deref for Engine {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
