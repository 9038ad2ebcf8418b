//! Owns the shapes in answers of what an operator looks at: the daemon, its queues and its events.

use serde::Deserialize;
use serde_json::Value;

use super::{IncidentRow, Label, Page, PageInfo, answers};

/// What a daemon of an earlier version says of its incidents.
fn nothing() -> Page<IncidentRow> {
    Page { nodes: Vec::new(), page_info: PageInfo::default() }
}

answers! {
    /// The daemon at a glance.
    Status {
        /// The program.
        daemon: Daemon,
        /// Its parts.
        health: Health,
        /// Jobs by state.
        job_counts: JobCounts,
        /// The first queues.
        queues: Page<QueueRow>,
        /// Who runs jobs.
        workers: Page<WorkerRow>,
        /// What somebody should look at, the first ones.
        #[serde(default = "nothing")]
        incidents: Page<IncidentRow>,
    }
    /// The program.
    Daemon {
        /// Of the program.
        version: String,
        /// RFC 3339.
        started_at: String,
        /// `sqlite` or `postgres`.
        store_engine: String,
        /// A decimal number.
        store_bytes: String,
        /// A decimal number.
        log_bytes: String,
    }
    /// How the daemon's parts are.
    Health {
        /// The worst of them.
        status: String,
        /// Each.
        subsystems: Vec<Subsystem>,
    }
    /// One part of the daemon.
    Subsystem {
        /// Its name.
        name: String,
        /// `OK`, `DEGRADED` or `DOWN`.
        status: String,
        /// RFC 3339.
        #[serde(default)]
        since: Option<String>,
        /// What is wrong.
        message: Option<String>,
        /// Since the start.
        #[serde(default)]
        restart_count: i64,
        /// Since the start, also when it is well again.
        #[serde(default)]
        last_error: Option<String>,
        /// RFC 3339.
        #[serde(default)]
        last_error_at: Option<String>,
    }
    /// Jobs by state.
    JobCounts {
        /// On hold.
        held: i64,
        /// Waiting for others.
        blocked: i64,
        /// For later.
        scheduled: i64,
        /// Waiting for a slot.
        queued: i64,
        /// Now.
        running: i64,
        /// Waiting for their next try.
        retrying: i64,
        /// Kept.
        succeeded: i64,
        /// Kept.
        failed: i64,
        /// Kept.
        cancelled: i64,
        /// Kept.
        expired: i64,
        /// Kept.
        skipped: i64,
        /// Whether a number stands for "that many or more".
        is_capped: bool,
    }
    /// A queue in a list, and after a mutation.
    QueueRow {
        /// Its name.
        name: String,
        /// Whether nothing starts.
        is_paused: bool,
        /// Why.
        pause_reason: Option<String>,
        /// At once; null is no limit.
        concurrency_limit: Option<i64>,
        /// In a period; null is no limit.
        #[serde(default)]
        rate_limit: Option<RateLimit>,
        /// Jobs that wait.
        #[serde(default)]
        waiting_count: i64,
        /// Jobs that run.
        #[serde(default)]
        running_count: i64,
        /// RFC 3339.
        #[serde(default)]
        oldest_waiting_at: Option<String>,
    }
    /// Starts in a period.
    RateLimit {
        /// How many.
        starts: i64,
        /// ISO 8601.
        per: String,
    }
    /// The payload of the queue mutations.
    WithQueue {
        /// After the commit.
        queue: QueueRow,
    }
    /// A process that runs jobs.
    WorkerRow {
        /// Its name.
        name: String,
        /// `ONLINE`, `DRAINING` or `OFFLINE`.
        status: String,
        /// Places.
        slots: i64,
        /// Places in use.
        busy_slots: i64,
        /// By which jobs choose it.
        #[serde(default)]
        labels: Vec<Label>,
    }
    /// Events in order.
    EventBatch {
        /// None in a bookmark.
        events: Vec<EventRow>,
        /// Behind the last one.
        cursor: String,
        /// Whether more is there already.
        has_more_past_events: bool,
    }
    /// One fact of the feed.
    EventRow {
        /// Its position.
        cursor: String,
        /// `JOB_STATE_CHANGED`, ...
        r#type: String,
        /// RFC 3339.
        at: String,
        /// Who did it.
        actor: String,
        /// What it is about.
        job_id: Option<String>,
        /// What it is about.
        task_name: Option<String>,
        /// More, by type.
        data: Value,
    }
}
