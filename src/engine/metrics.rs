//! Owns what is looked up at the moment of a scrape: how things stand now. It reads kept counts and memory only, and
//! must never ask the writer for anything nor wait long for the store.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Engine;
use crate::base::metrics::{Sheet, TextFormat};
use crate::base::{clock, process, telemetry};
use crate::domain::health::{HealthStatus, SubsystemHealth};
use crate::domain::job::JobState;
use crate::store::sizes::{room, sizes};

/// How long the store may take to tell the counts; without them the rest is told.
const STORE_PATIENCE: Duration = Duration::from_secs(1);
/// Microseconds in a second.
const MICROS: f64 = 1_000_000.0;

/// What only the door knows.
#[derive(Debug, Clone, Copy)]
pub struct DoorNumbers {
    /// Open connections.
    pub connection_count: usize,
    /// How many may be open.
    pub connections_max: usize,
    /// Subscriptions and downloads under way.
    pub subscription_count: usize,
    /// Executions that are each for all who ask the same.
    pub topic_count: usize,
}

impl Engine {
    /// Every number of the daemon as text.
    pub async fn metrics_text(&self, door: DoorNumbers, format: TextFormat) -> String {
        let mut sheet = Sheet::new("beadle");
        self.jobs_now(&mut sheet).await;
        self.engine_now(&mut sheet);
        let one = |labels: [(&'static str, &str); 2]| labels.map(|(name, value)| (name, value.to_owned()));
        let built = one([("version", env!("CARGO_PKG_VERSION")), ("store", self.reader.engine())]);
        sheet.info("build", "Which Beadle this is", built.to_vec());
        sheet.gauge("connections", "Open connections", float(door.connection_count));
        sheet.gauge("connections_max", "Connections that may be open", float(door.connections_max));
        let help = "Subscriptions and downloads under way";
        sheet.gauge("subscriptions", help, float(door.subscription_count));
        let help = "Executions of subscriptions, each for all who ask the same";
        sheet.gauge("topics", help, float(door.topic_count));
        let mut own = Sheet::new("process");
        process_now(&mut own, self.started_at.0);
        self.metrics.text(&[&sheet, &own], format)
    }

    async fn jobs_now(&self, sheet: &mut Sheet) {
        let counts = clock::within(STORE_PATIENCE, self.reader.queue_counts()).await;
        let counts = match counts {
            Some(Ok(counts)) => Some(counts),
            Some(Err(fault)) => {
                tracing::warn!("the counts for the metrics cannot be read: {fault}");
                None
            }
            None => None,
        };
        let help = "Whether the store told the numbers of jobs";
        sheet.gauge("store_readable", help, if counts.is_some() { 1.0 } else { 0.0 });
        let Some(counts) = counts else { return };
        let mut by_label: BTreeMap<(String, JobState), i64> = BTreeMap::new();
        for (queue, state, count) in counts {
            *by_label.entry((self.metrics.queue_label(&queue), state)).or_default() += count;
        }
        let rows = by_label.into_iter().map(|((queue, state), count)| {
            (vec![("queue", queue), ("state", state.word().to_owned())], whole(count))
        });
        sheet.gauges("jobs", "Jobs that the store has, by queue and state", rows);
    }

    fn engine_now(&self, sheet: &mut Sheet) {
        let slots = self.settings.slots;
        sheet.gauge("slots", "Places for attempts", float(slots));
        let busy = slots.saturating_sub(self.slots.free());
        sheet.gauge("slots_busy", "Places that are taken", float(busy));
        let waiting = self.writer.waiting_count();
        sheet.gauge("writer_waiting_changes", "Changes that wait for the writer", float(waiting));
        let newest = *self.writer.newest().borrow();
        sheet.gauge("event_cursor", "Number of the newest committed event", whole(newest));
        let (subscribers, seen) = self.metrics.subscribers();
        sheet.gauge("feed_subscribers", "Subscribers that follow the events", float(subscribers));
        let behind = seen.map_or(0, |seen| newest.saturating_sub(seen).max(0));
        let help = "Events that the slowest subscriber has not been handed yet";
        sheet.gauge("feed_lag_events", help, whole(behind));
        let help = "Lines of the daemon's own log that nobody took";
        sheet.counter("own_log_dropped_lines", help, float(telemetry::dropped_line_count()));
        let files = sizes(&self.settings.data_dir)
            .map(|(what, bytes)| (vec![("file", what.to_owned())], float(bytes)));
        sheet.gauges("store_bytes", "Size of the store's files", files);
        if let Ok(room) = room(&self.settings.data_dir) {
            sheet.gauge("disk_free_bytes", "Room that is left where the data lies", float(room.free_bytes));
        }

        let parts = self.health.read().subsystems;
        let of = |part: &SubsystemHealth| vec![("part", part.name.clone())];
        let states = parts.iter().map(|part| (of(part), severity(part.status)));
        let help = "How a part of the daemon is: 0 is well, 1 degraded, 2 down";
        sheet.gauges("health", help, states);
        let restarts = parts.iter().map(|part| (of(part), f64::from(part.restart_count)));
        sheet.counters("restarts", "Restarts of a part of the daemon", restarts);
    }
}

fn severity(status: HealthStatus) -> f64 {
    match status {
        HealthStatus::Ok => 0.0,
        HealthStatus::Degraded => 1.0,
        HealthStatus::Down => 2.0,
    }
}

fn process_now(sheet: &mut Sheet, started_at_us: i64) {
    let usage = process::usage();
    sheet.gauge("start_time_seconds", "When the daemon began", whole(started_at_us) / MICROS);
    for (name, help, value) in [
        ("resident_memory_bytes", "Memory that is resident", usage.resident_bytes),
        ("threads", "Threads", usage.thread_count),
        ("open_fds", "Open file descriptors", usage.open_descriptors),
        ("max_fds", "File descriptors that may be open", usage.descriptors_max),
    ] {
        if let Some(value) = value {
            sheet.gauge(name, help, value);
        }
    }
    if let Some(seconds) = usage.cpu_seconds {
        sheet.counter("cpu_seconds", "Processor time of all threads", seconds);
    }
}

#[expect(clippy::cast_precision_loss, reason = "the format knows no other numbers, and none comes near 2^53")]
fn whole(number: i64) -> f64 {
    number as f64
}

fn float(number: impl TryInto<i64>) -> f64 {
    whole(number.try_into().unwrap_or(i64::MAX))
}
