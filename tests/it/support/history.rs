//! Checks a history as a client saw it: what was acknowledged against the durable feed.
//! It knows the rules of a job's life from the contract only and must never ask the store.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::daemon::{Daemon, FINAL_STATES, string};
use super::sse::{End, Sse};
use super::wait::now;

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
            kind,
        }
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

/// Whether a job may go from one state to the other in this release.
fn is_legal(from: &str, to: &str) -> bool {
    let next: &[&str] = match from {
        "HELD" => &["QUEUED", "SCHEDULED", "BLOCKED", "CANCELLED"],
        "BLOCKED" => &["QUEUED", "SCHEDULED", "SKIPPED", "CANCELLED"],
        "SCHEDULED" => &["QUEUED", "CANCELLED", "EXPIRED", "HELD"],
        "QUEUED" => &["RUNNING", "CANCELLED", "EXPIRED", "HELD", "SCHEDULED"],
        "RUNNING" => &["SUCCEEDED", "FAILED", "CANCELLED", "RETRYING", "QUEUED"],
        "RETRYING" => &["QUEUED", "CANCELLED"],
        _ => &[],
    };
    next.contains(&to)
}

/// Checks a feed: each cursor once, each job created once and moved by legal steps only, each acknowledged job in
/// exactly one final state. Answers with what is wrong; empty means the history holds.
pub fn faults(events: &[Event], acknowledged: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut cursors = BTreeSet::new();
    let mut states: BTreeMap<&str, &str> = BTreeMap::new();
    let mut finals: BTreeMap<&str, usize> = BTreeMap::new();
    for event in events {
        if !cursors.insert(event.cursor.as_str()) {
            faults.push(format!("the cursor {} comes twice", event.cursor));
        }
        let (Some(job), Some(to)) = (event.job.as_deref(), event.to.as_deref()) else {
            continue;
        };
        match (event.kind.as_str(), states.get(job)) {
            ("JOB_CREATED", None) => {}
            ("JOB_CREATED", Some(_)) => faults.push(format!("{job} is created twice")),
            ("JOB_STATE_CHANGED", None) => faults.push(format!("{job} changes before it is created")),
            ("JOB_STATE_CHANGED", Some(&before)) => {
                if event.from.as_deref() != Some(before) {
                    faults.push(format!("{job} is {before}, but its event says from {:?}", event.from));
                }
                if event.is_stop_request && before == to {
                    continue;
                }
                if !is_legal(before, to) {
                    faults.push(format!("{job} goes from {before} to {to}"));
                }
            }
            _ => continue,
        }
        states.insert(job, to);
        if event.final_state().is_some() {
            *finals.entry(job).or_default() += 1;
        }
    }
    for job in acknowledged {
        match finals.get(job.as_str()).copied().unwrap_or(0) {
            1 => {}
            count => {
                faults.push(format!("{job} has {count} final states, last {:?}", states.get(job.as_str())));
            }
        }
    }
    faults
}

/// Guards the checker: each kind of broken history is noticed.
mod self_test {
    use super::*;

    type Spoil = fn(&mut Vec<Event>);

    fn event(cursor: &str, job: &str, from: Option<&str>, to: &str) -> Event {
        Event {
            cursor: cursor.to_owned(),
            kind: if from.is_some() { "JOB_STATE_CHANGED" } else { "JOB_CREATED" }.to_owned(),
            job: Some(job.to_owned()),
            from: from.map(str::to_owned),
            to: Some(to.to_owned()),
            is_stop_request: false,
        }
    }

    fn good() -> Vec<Event> {
        vec![
            event("1", "job_1", None, "QUEUED"),
            event("2", "job_1", Some("QUEUED"), "RUNNING"),
            event("3", "job_1", Some("RUNNING"), "RETRYING"),
            event("4", "job_1", Some("RETRYING"), "QUEUED"),
            event("5", "job_1", Some("QUEUED"), "RUNNING"),
            event("6", "job_1", Some("RUNNING"), "SUCCEEDED"),
        ]
    }

    #[test]
    fn a_job_that_waits_for_others_is_let_go_or_skipped_and_never_started_from_there() {
        let history = |to: &str| {
            vec![
                event("1", "job_1", None, "HELD"),
                event("2", "job_1", Some("HELD"), "BLOCKED"),
                event("3", "job_1", Some("BLOCKED"), to),
            ]
        };
        let acknowledged = BTreeSet::from(["job_1".to_owned()]);
        assert_eq!(faults(&history("SKIPPED"), &acknowledged), Vec::<String>::new());
        assert_eq!(faults(&history("QUEUED"), &BTreeSet::new()), Vec::<String>::new());
        for to in ["RUNNING", "SUCCEEDED", "EXPIRED", "HELD"] {
            assert_eq!(faults(&history(to), &BTreeSet::new()), [format!("job_1 goes from BLOCKED to {to}")]);
        }
    }

    #[test]
    fn a_good_history_has_no_fault_and_each_broken_one_has() {
        let acknowledged = BTreeSet::from(["job_1".to_owned()]);
        assert_eq!(faults(&good(), &acknowledged), Vec::<String>::new());
        let spoiled: [(&str, Spoil); 6] = [
            ("0 final states", |events| drop(events.pop())),
            ("comes twice", |events| events[1].cursor = "1".to_owned()),
            ("created twice", |events| {
                events.insert(1, event("9", "job_1", None, "QUEUED"));
            }),
            ("before it is created", |events| drop(events.remove(0))),
            ("says from", |events| drop(events.remove(3))),
            ("2 final states", |events| {
                events.push(event("7", "job_1", Some("SUCCEEDED"), "FAILED"));
            }),
        ];
        for (sign, spoil) in spoiled {
            let mut events = good();
            spoil(&mut events);
            let found = faults(&events, &acknowledged).join("; ");
            assert!(found.contains(sign), "looked for {sign:?} in {found:?}");
        }
    }
}
