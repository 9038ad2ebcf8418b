//! Reads the durable feed as clients do: whole by the query, and as a subscriber who comes back after each cut.
//! What must hold in it stands in `support::laws`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use super::daemon::{Daemon, FINAL_STATES, string};
use super::sse::{End, Sse};
use super::wait::now;

pub use super::laws::faults;

/// No run is longer.
const RUN_LIMIT: Duration = Duration::from_hours(2);

/// The whole feed in pages.
const PAGE: &str = "query ($after: EventCursor) {
  events(first: 200, after: $after) {
    events { cursor type jobId data }
    cursor
    hasMorePastEvents
  }
}";

/// The feed from a cursor on, as it grows.
const FEED: &str = "subscription ($after: EventCursor!) {
  events(after: $after) { events { cursor type jobId data } cursor }
}";

/// One fact of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its position, unique over the whole instance.
    pub cursor: String,
    /// The kind, such as `JOB_STATE_CHANGED`.
    pub kind: String,
    /// The job it is about.
    pub job: Option<String>,
    /// The state before, of a `JOB_STATE_CHANGED`.
    pub from: Option<String>,
    /// The state after, of a `JOB_CREATED` or `JOB_STATE_CHANGED`.
    pub to: Option<String>,
    /// Whether it tells of a request to stop or of another change that need not change the state.
    pub is_stop_request: bool,
    /// The number of the attempt, of an `ATTEMPT_STARTED` or `ATTEMPT_FINISHED`.
    pub attempt: Option<i64>,
    /// How the attempt ended, of an `ATTEMPT_FINISHED`.
    pub outcome: Option<String>,
    /// The due time and the job that was made for it, of a `SCHEDULE_TICKED` that made one.
    pub tick: Option<(String, String)>,
}

impl Event {
    fn read(value: &Value) -> Event {
        let optional = |value: &Value| value.as_str().map(str::to_owned);
        let kind = string(&value["type"]);
        let to = if kind == "JOB_CREATED" { "state" } else { "to" };
        Event {
            cursor: string(&value["cursor"]),
            is_stop_request: value["data"]["stopRequested"] == json!(true)
                || value["data"]["changes"].is_object(),
            job: optional(&value["jobId"]),
            from: optional(&value["data"]["from"]),
            to: optional(&value["data"][to]),
            attempt: kind.starts_with("ATTEMPT_").then(|| value["data"]["attempt"].as_i64()).flatten(),
            outcome: optional(&value["data"]["outcome"]).filter(|_| kind == "ATTEMPT_FINISHED"),
            tick: value["data"]["job"]
                .as_str()
                .filter(|_| kind == "SCHEDULE_TICKED")
                .map(|job| (string(&value["data"]["dueAt"]), job.to_owned())),
            kind,
        }
    }

    /// Its number, on a store that numbers without gaps.
    pub fn number(&self) -> Option<i64> {
        self.cursor.rsplit('-').next()?.parse().ok()
    }

    /// The final state that this event says its job has reached.
    pub fn final_state(&self) -> Option<&str> {
        let to = self.to.as_deref()?;
        (self.kind == "JOB_STATE_CHANGED" && FINAL_STATES.contains(&to)).then_some(to)
    }
}

/// Every event there is, by the query.
pub fn read_all(daemon: &Daemon) -> Vec<Event> {
    let (mut events, mut after) = (Vec::new(), Value::Null);
    loop {
        let page = daemon.graphql(PAGE, json!({ "after": after }))["events"].take();
        events.extend(page["events"].as_array().into_iter().flatten().map(Event::read));
        after = page["cursor"].clone();
        if page["hasMorePastEvents"] != json!(true) {
            return events;
        }
    }
}

/// The newest cursor.
pub fn newest_cursor(daemon: &Daemon) -> String {
    string(&daemon.graphql("{ eventCursor }", json!({}))["eventCursor"])
}

/// A subscriber that takes up again where it was, through any number of daemons on one address.
#[derive(Debug)]
pub struct Follower {
    address: String,
    token: String,
    after: String,
    stream: Option<Sse>,
    /// What it has seen, in the order of arrival.
    pub seen: Vec<Event>,
    /// How often a connection ended without an error of ours.
    pub cuts: usize,
}

impl Follower {
    /// Sees everything after `after`.
    pub fn new(daemon: &Daemon, after: String) -> Follower {
        Follower {
            address: daemon.address().to_owned(),
            token: daemon.token().to_owned(),
            after,
            stream: None,
            seen: Vec::new(),
            cuts: 0,
        }
    }

    /// Follows for at most `limit`, or until `enough` says so; `false` when the limit came first.
    pub fn follow(&mut self, limit: Duration, mut enough: impl FnMut(&[Event]) -> bool) -> bool {
        let begun = now();
        while !enough(&self.seen) {
            let Some(left) = limit.checked_sub(begun.elapsed()) else {
                return false;
            };
            self.step(left.min(Duration::from_millis(200)));
        }
        true
    }

    /// Takes one batch, if one comes within `limit`; opens the stream first when there is none.
    fn step(&mut self, limit: Duration) {
        let Some(stream) = self.stream.as_mut() else {
            let variables = json!({"after": self.after});
            self.stream = Sse::open(&self.address, &self.token, FEED, &variables).ok();
            if self.stream.is_none() {
                // The daemon is down. It is looked for again at a pace that leaves it some air.
                super::wait::span(Duration::from_millis(5));
            }
            return;
        };
        match stream.next_within(limit) {
            Ok(message) => {
                if message.result["errors"][0]["extensions"]["code"] == "UNAVAILABLE" {
                    // The store is away: it is taken up again when that is over.
                    self.stream = None;
                    self.cuts += 1;
                    return;
                }
                assert!(message.result.get("errors").is_none(), "{:#}", message.result);
                let batch = &message.result["data"]["events"];
                let events = batch["events"].as_array().expect("a batch has a list of events");
                self.seen.extend(events.iter().map(Event::read));
                self.after = string(&batch["cursor"]);
            }
            Err(End::TimedOut) => {}
            Err(End::Complete | End::Closed) => {
                self.stream = None;
                self.cuts += 1;
            }
        }
    }
}

/// A subscriber over a whole run, on a thread of its own.
#[derive(Debug)]
pub struct Witness {
    start: String,
    is_over: Arc<AtomicBool>,
    following: JoinHandle<Follower>,
}

impl Witness {
    /// Sees everything from now on.
    pub fn begin(daemon: &Daemon) -> Witness {
        let start = newest_cursor(daemon);
        let mut follower = Follower::new(daemon, start.clone());
        let is_over = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&is_over);
        let following = thread::spawn(move || {
            follower.follow(RUN_LIMIT, |_| watched.load(Ordering::SeqCst));
            follower
        });
        Witness { start, is_over, following }
    }

    /// The run is over: what was seen, and the cursor behind which that began.
    pub fn end(self) -> (Follower, String) {
        self.is_over.store(true, Ordering::SeqCst);
        (self.following.join().expect("the follower does not panic"), self.start)
    }
}
