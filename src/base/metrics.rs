//! Owns the numbers that the daemon keeps about itself while it works, and their text for a scraper. Counting is a few
//! atomics, so that every floor may do it on its way. It must never ask anybody: what is looked up at the moment of a
//! scrape comes in on a [`Sheet`].

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

mod text;

pub use text::{Sheet, TextFormat};

/// Values of the label `queue`; the queues behind them are counted together.
pub const QUEUE_LABELS_MAX: usize = 100;
/// The label of the queues behind them. No queue has this name, for none begins with an underscore.
const OTHER_QUEUES: &str = "_other";

/// Buckets of how long work waits and takes: 1 ms to 1 h.
const WORK_SECONDS: [f64; 18] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0,
    3_600.0,
];
/// Buckets of a commit, and of an event's way to a subscriber.
const QUICK_SECONDS: [f64; 13] =
    [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0];
/// Buckets of how many changes share a commit.
const BATCH_CHANGES: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0];

type Labels<const N: usize> = [(&'static str, String); N];
type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Histograms = Family<Labels<1>, Histogram, fn() -> Histogram>;

/// What the daemon counts. Cheap to clone; all clones count into the same numbers.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Numbers>);

#[derive(Debug)]
struct Numbers {
    registry: Registry,
    enqueued: Counters<1>,
    finished: Counters<2>,
    waited: Histograms,
    ran: Histograms,
    log_bytes: Counter,
    log_bytes_dropped: Counter,
    batch: Histogram,
    commit: Histogram,
    refused: Counters<1>,
    feed_delay: Histogram,
    subscribers_cut: Counter,
    queues: Mutex<BTreeSet<String>>,
    places: Mutex<HashMap<u64, Arc<AtomicI64>>>,
    next_place: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut registry = Registry::with_prefix("beadle");
        let by = |buckets: fn() -> Histogram| Histograms::new_with_constructor(buckets);
        let numbers = Numbers {
            enqueued: Counters::default(),
            finished: Counters::default(),
            waited: by(|| Histogram::new(WORK_SECONDS)),
            ran: by(|| Histogram::new(WORK_SECONDS)),
            log_bytes: Counter::default(),
            log_bytes_dropped: Counter::default(),
            batch: Histogram::new(BATCH_CHANGES),
            commit: Histogram::new(QUICK_SECONDS),
            refused: Counters::default(),
            feed_delay: Histogram::new(QUICK_SECONDS),
            subscribers_cut: Counter::default(),
            queues: Mutex::default(),
            places: Mutex::default(),
            next_place: AtomicU64::default(),
            registry: Registry::default(),
        };
        let n = &numbers;
        registry.register("jobs_enqueued", "Jobs made by this daemon", n.enqueued.clone());
        registry.register("jobs_finished", "Jobs that became final, by state", n.finished.clone());
        let help = "From the moment that an attempt was due to its start";
        registry.register("attempt_wait_seconds", help, n.waited.clone());
        registry.register("attempt_run_seconds", "From the start of an attempt to its end", n.ran.clone());
        registry.register("log_bytes", "Output of attempts that ended", n.log_bytes.clone());
        let help = "Output of attempts that ended, of which only the count was kept";
        registry.register("log_dropped_bytes", help, n.log_bytes_dropped.clone());
        registry.register("writer_batch_changes", "Changes that shared a commit", n.batch.clone());
        let help = "A transaction of the writer, from its begin to the answers";
        registry.register("writer_commit_seconds", help, n.commit.clone());
        let help = "Changes that could not be made, by kind of fault";
        registry.register("writer_refused", help, n.refused.clone());
        let help = "From an event's instant to its being handed to a subscriber that had seen all before it";
        registry.register("feed_delay_seconds", help, n.feed_delay.clone());
        let help = "Streams of events that were cut because their reader was too slow";
        registry.register("subscribers_cut", help, n.subscribers_cut.clone());
        Metrics(Arc::new(Numbers { registry, ..numbers }))
    }
}

impl Metrics {
    /// Jobs of a queue were made.
    pub fn enqueued(&self, queue: &str, count: u64) {
        self.0.enqueued.get_or_create(&[("queue", self.queue_label(queue))]).inc_by(count);
    }

    /// Jobs of a queue became final.
    pub fn finished(&self, queue: &str, state: &'static str, count: u64) {
        let labels = [("queue", self.queue_label(queue)), ("state", state.to_owned())];
        self.0.finished.get_or_create(&labels).inc_by(count);
    }

    /// An attempt was started, so long after it was due.
    pub fn started(&self, queue: &str, waited: Duration) {
        let label = [("queue", self.queue_label(queue))];
        self.0.waited.get_or_create(&label).observe(waited.as_secs_f64());
    }

    /// An attempt ended.
    pub fn ended(&self, outcome: &'static str, ran: Duration, log_bytes: i64, dropped_bytes: i64) {
        self.0.ran.get_or_create(&[("outcome", outcome.to_owned())]).observe(ran.as_secs_f64());
        self.0.log_bytes.inc_by(u64::try_from(log_bytes).unwrap_or(0));
        self.0.log_bytes_dropped.inc_by(u64::try_from(dropped_bytes).unwrap_or(0));
    }

    /// The writer committed a batch.
    pub fn committed(&self, change_count: usize, took: Duration) {
        self.0.batch.observe(f64::from(u32::try_from(change_count).unwrap_or(u32::MAX)));
        self.0.commit.observe(took.as_secs_f64());
    }

    /// Changes could not be made.
    pub fn refused(&self, kind: &'static str, count: usize) {
        self.0.refused.get_or_create(&[("kind", kind.to_owned())]).inc_by(count as u64);
    }

    /// An event was handed to a subscriber that had seen all before it.
    pub fn handed_over(&self, delay: Duration) {
        self.0.feed_delay.observe(delay.as_secs_f64());
    }

    /// A subscriber was too slow.
    pub fn subscriber_cut(&self) {
        self.0.subscribers_cut.inc();
    }

    /// A new subscriber to the events, who has seen everything up to `seen`.
    pub fn subscriber(&self, seen: i64) -> Place {
        let place = Arc::new(AtomicI64::new(seen));
        let number = self.0.next_place.fetch_add(1, Ordering::Relaxed);
        self.0.places.lock().unwrap_or_else(PoisonError::into_inner).insert(number, place.clone());
        Place { metrics: self.clone(), number, seen: place }
    }

    /// How many subscribers follow the events, and what the one that is furthest behind has seen.
    pub fn subscribers(&self) -> (usize, Option<i64>) {
        let places = self.0.places.lock().unwrap_or_else(PoisonError::into_inner);
        (places.len(), places.values().map(|seen| seen.load(Ordering::Relaxed)).min())
    }

    /// A queue's name as a label. Only so many queues get one of their own, the first that were seen.
    pub fn queue_label(&self, queue: &str) -> String {
        let mut queues = self.0.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if !queues.contains(queue) {
            if queues.len() >= QUEUE_LABELS_MAX {
                return OTHER_QUEUES.to_owned();
            }
            queues.insert(queue.to_owned());
        }
        queue.to_owned()
    }

    /// All numbers as text, with those of the sheets.
    pub fn text(&self, sheets: &[&Sheet], format: TextFormat) -> String {
        text::written(
            std::iter::once(&self.0.registry).chain(sheets.iter().map(|sheet| sheet.registry())),
            format,
        )
    }
}

/// Where a subscriber to the events stands, until dropped.
#[derive(Debug)]
pub struct Place {
    metrics: Metrics,
    number: u64,
    seen: Arc<AtomicI64>,
}

impl Place {
    /// It has seen everything up to this event.
    pub fn reached(&self, seen: i64) {
        self.seen.store(seen, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.metrics.0.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_beyond_the_bound_share_a_label() {
        let metrics = Metrics::default();
        for number in 0..2 * QUEUE_LABELS_MAX {
            metrics.enqueued(&format!("q{number}"), 1);
        }
        let text = metrics.text(&[], TextFormat::Plain);
        let labels = text.lines().filter(|line| line.starts_with("beadle_jobs_enqueued_total{")).count();
        assert_eq!(labels, QUEUE_LABELS_MAX + 1);
        let others = format!("beadle_jobs_enqueued_total{{queue=\"_other\"}} {QUEUE_LABELS_MAX}");
        assert!(text.lines().any(|line| line == others), "{text}");
    }

    #[test]
    fn the_last_subscriber_is_known_and_forgotten_when_it_goes() {
        let metrics = Metrics::default();
        assert_eq!(metrics.subscribers(), (0, None));
        let (first, second) = (metrics.subscriber(5), metrics.subscriber(7));
        first.reached(9);
        assert_eq!(metrics.subscribers(), (2, Some(7)));
        drop(second);
        assert_eq!(metrics.subscribers(), (1, Some(9)));
    }
}
