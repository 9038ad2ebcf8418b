//! The laws of a history, as the contract has them: what must hold in the durable feed, and between it and what
//! clients were told. It sees events only and must never ask the store.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::history::Event;

/// Which promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// What was acknowledged is there and ends.
    NothingLost,
    /// One key makes one job, a job ends once, a due time makes one job.
    NothingDoubled,
    /// No event is missed.
    NoHole,
    /// No process outlives its attempt.
    NoOrphan,
    /// States, attempts and counts follow the rules.
    Order,
}

/// A promise that was broken, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// Which.
    pub promise: Promise,
    /// How, for people.
    pub what: String,
}

impl Breach {
    /// A breach of `promise`.
    pub fn of(promise: Promise, what: impl Into<String>) -> Breach {
        Breach { promise, what: what.into() }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
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

/// Checks a feed: each cursor once; each job created once, moved by legal steps only, and in exactly one final state when
/// it was acknowledged; attempts one after the other, each begun and ended once; one job for a due time. Answers with what
/// is wrong; empty means the history holds.
pub fn faults(events: &[Event], acknowledged: &BTreeSet<String>) -> Vec<String> {
    breaches(events, acknowledged).iter().map(Breach::to_string).collect()
}

/// As `faults`, told apart by the promise.
pub fn breaches(events: &[Event], acknowledged: &BTreeSet<String>) -> Vec<Breach> {
    let mut found = Vec::new();
    let mut cursors = BTreeSet::new();
    for event in events {
        if !cursors.insert(event.cursor.as_str()) {
            found.push(Breach::of(Promise::NoHole, format!("the cursor {} comes twice", event.cursor)));
        }
    }
    let finals = check_states(events, &mut found);
    check_attempts(events, &finals, &mut found);
    check_ticks(events, &mut found);
    let last = last_states(events);
    for job in acknowledged {
        let count = finals.get(job.as_str()).copied().unwrap_or(0);
        let promise = if count == 0 { Promise::NothingLost } else { Promise::NothingDoubled };
        if count != 1 {
            let last = last.get(job.as_str());
            found.push(Breach::of(promise, format!("{job} has {count} final states, last {last:?}")));
        }
    }
    found
}

/// Walks the states of all jobs; gives how often each one became final.
fn check_states<'a>(events: &'a [Event], found: &mut Vec<Breach>) -> BTreeMap<&'a str, usize> {
    let mut states: BTreeMap<&str, &str> = BTreeMap::new();
    let mut finals: BTreeMap<&str, usize> = BTreeMap::new();
    let mut fault = |what: String| found.push(Breach::of(Promise::Order, what));
    for event in events {
        let (Some(job), Some(to)) = (event.job.as_deref(), event.to.as_deref()) else {
            continue;
        };
        match (event.kind.as_str(), states.get(job)) {
            ("JOB_CREATED", None) => {}
            ("JOB_CREATED", Some(_)) => fault(format!("{job} is created twice")),
            ("JOB_STATE_CHANGED", None) => fault(format!("{job} changes before it is created")),
            ("JOB_STATE_CHANGED", Some(&before)) => {
                if event.from.as_deref() != Some(before) {
                    fault(format!("{job} is {before}, but its event says from {:?}", event.from));
                }
                if event.is_stop_request && before == to {
                    continue;
                }
                if !is_legal(before, to) {
                    fault(format!("{job} goes from {before} to {to}"));
                }
            }
            _ => continue,
        }
        states.insert(job, to);
        if event.final_state().is_some() {
            *finals.entry(job).or_default() += 1;
        }
    }
    finals
}

/// The state of each job by its last event.
pub fn last_states(events: &[Event]) -> BTreeMap<&str, &str> {
    let moves =
        events.iter().filter(|event| event.kind == "JOB_CREATED" || event.kind == "JOB_STATE_CHANGED");
    moves.filter_map(|event| Some((event.job.as_deref()?, event.to.as_deref()?))).collect()
}

/// At most one attempt of a job is open, numbers rise by one, and each that was begun is ended once.
fn check_attempts(events: &[Event], finals: &BTreeMap<&str, usize>, found: &mut Vec<Breach>) {
    let mut last: BTreeMap<&str, (i64, bool)> = BTreeMap::new();
    let mut fault = |what: String| found.push(Breach::of(Promise::Order, what));
    for event in events {
        let (Some(job), Some(number)) = (event.job.as_deref(), event.attempt) else { continue };
        let (before, is_open) = last.get(job).copied().unwrap_or((0, false));
        if event.kind == "ATTEMPT_STARTED" {
            if is_open {
                fault(format!("attempt {number} of {job} begins while {before} is open"));
            }
            if number != before + 1 {
                fault(format!("attempt {number} of {job} follows {before}"));
            }
            last.insert(job, (number, true));
        } else {
            if !is_open || number != before {
                fault(format!("attempt {number} of {job} ends, but it is not open"));
            }
            last.insert(job, (before, false));
        }
    }
    for (job, (number, is_open)) in last {
        if is_open && finals.contains_key(job) {
            fault(format!("{job} is over, but attempt {number} never ended"));
        }
    }
}

/// One due time makes at most one job, and one job stands for one due time. For feeds with one schedule.
fn check_ticks(events: &[Event], found: &mut Vec<Breach>) {
    let (mut due_times, mut jobs) = (BTreeSet::new(), BTreeSet::new());
    for (due_at, job) in events.iter().filter_map(|event| event.tick.as_ref()) {
        if !due_times.insert(due_at) {
            found.push(Breach::of(Promise::NothingDoubled, format!("the due time {due_at} made two jobs")));
        }
        if !jobs.insert(job) {
            found.push(Breach::of(Promise::NothingDoubled, format!("{job} was made for two due times")));
        }
    }
}

/// After an acknowledged cancel a job never starts. `cancelled` holds jobs, each with the cursor of the answer.
pub fn starts_after_cancel(events: &[Event], cancelled: &[(String, String)]) -> Vec<Breach> {
    let places: BTreeMap<&str, usize> =
        events.iter().enumerate().map(|(place, event)| (event.cursor.as_str(), place)).collect();
    let mut since: BTreeMap<&str, usize> = BTreeMap::new();
    let mut found = Vec::new();
    for (job, cursor) in cancelled {
        match places.get(cursor.as_str()) {
            Some(place) => {
                let known = since.entry(job).or_insert(*place);
                *known = (*known).min(*place);
            }
            None => found.push(Breach::of(Promise::NoHole, format!("no event stands at {cursor}"))),
        }
    }
    for (place, event) in events.iter().enumerate().filter(|(_, event)| event.kind == "ATTEMPT_STARTED") {
        let Some(job) = event.job.as_deref() else { continue };
        if since.get(job).is_some_and(|since| place > *since) {
            found.push(Breach::of(
                Promise::Order,
                format!("{job} was started after its cancel was acknowledged"),
            ));
        }
    }
    found
}

/// A SQLite store numbers its events without a gap.
pub fn gaps(events: &[Event]) -> Vec<Breach> {
    let pairs =
        events.windows(2).filter(|pair| pair[0].number().map(|number| number + 1) != pair[1].number());
    let told = |pair: &[Event]| format!("after {} comes {}", pair[0].cursor, pair[1].cursor);
    pairs.map(|pair| Breach::of(Promise::NoHole, told(pair))).collect()
}

/// A subscriber from `start` on saw what the list has, in its order, over all restarts: no hole, no repeat.
pub fn missed(events: &[Event], start: &str, seen: &[Event]) -> Vec<Breach> {
    let from = events.iter().position(|event| event.cursor == start).map_or(0, |at| at + 1);
    let listed = &events[from..];
    let mut found = Vec::new();
    if listed.len() != seen.len() {
        let what = format!("{} events are listed, a subscriber saw {}", listed.len(), seen.len());
        found.push(Breach::of(Promise::NoHole, what));
    }
    if let Some((listed, seen)) = listed.iter().zip(seen).find(|(listed, seen)| listed != seen) {
        let what = format!("list and subscription part: {} and {}", listed.cursor, seen.cursor);
        found.push(Breach::of(Promise::NoHole, what));
    }
    found
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
            attempt: None,
            outcome: None,
            tick: None,
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

    fn attempt(cursor: &str, kind: &str, number: i64) -> Event {
        let (kind, attempt) = (format!("ATTEMPT_{kind}"), Some(number));
        Event { kind, attempt, to: None, ..event(cursor, "job_1", Some("QUEUED"), "RUNNING") }
    }

    fn with_attempts() -> Vec<Event> {
        let mut events = good();
        events.insert(2, attempt("2a", "STARTED", 1));
        events.insert(3, attempt("2b", "FINISHED", 1));
        events.insert(7, attempt("5a", "STARTED", 2));
        events.insert(8, attempt("5b", "FINISHED", 2));
        events
    }

    #[test]
    fn attempts_stand_one_behind_the_other_and_each_ends_once() {
        let acknowledged = BTreeSet::from(["job_1".to_owned()]);
        assert_eq!(faults(&with_attempts(), &acknowledged), Vec::<String>::new());
        let spoiled: [(&str, Spoil); 5] = [
            ("begins while 1 is open", |events| drop(events.remove(3))),
            ("never ended", |events| drop(events.remove(8))),
            ("attempt 3 of job_1 follows 1", |events| events[7].attempt = Some(3)),
            ("ends, but it is not open", |events| events.insert(4, attempt("2c", "FINISHED", 1))),
            ("attempt 1 of job_1 follows 1", |events| events[7].attempt = Some(1)),
        ];
        for (sign, spoil) in spoiled {
            let mut events = with_attempts();
            spoil(&mut events);
            let found = faults(&events, &acknowledged).join("; ");
            assert!(found.contains(sign), "looked for {sign:?} in {found:?}");
        }
    }

    #[test]
    fn a_start_behind_an_acknowledged_cancel_is_noticed() {
        let events = with_attempts();
        let cancelled =
            |cursor: &str| starts_after_cancel(&events, &[("job_1".to_owned(), cursor.to_owned())]);
        assert_eq!(cancelled("5a"), []);
        assert_eq!(cancelled("5").len(), 1);
        assert_eq!(cancelled("2").len(), 2);
        assert_eq!(cancelled("nowhere").len(), 1);
    }

    #[test]
    fn a_due_time_with_two_jobs_is_noticed() {
        let tick = |cursor: &str, due_at: &str, job: &str| Event {
            kind: "SCHEDULE_TICKED".to_owned(),
            to: None,
            tick: Some((due_at.to_owned(), job.to_owned())),
            ..event(cursor, "", Some(""), "")
        };
        let found = |two: [Event; 2]| breaches(&two, &BTreeSet::new()).len();
        assert_eq!(found([tick("1", "12:00", "job_1"), tick("2", "12:01", "job_2")]), 0);
        assert_eq!(found([tick("1", "12:00", "job_1"), tick("2", "12:00", "job_2")]), 1);
        assert_eq!(found([tick("1", "12:00", "job_1"), tick("2", "12:01", "job_1")]), 1);
    }

    #[test]
    fn a_hole_in_the_numbers_or_before_a_subscriber_is_noticed() {
        let events = good();
        assert_eq!((gaps(&events), missed(&events, "2", &events[2..])), (vec![], vec![]));
        let mut holed = good();
        holed.remove(3);
        assert_eq!(gaps(&holed).len(), 1);
        assert_eq!(missed(&events, "0", &holed).len(), 2);
        assert_eq!(missed(&events, "2", &events[2..5]).len(), 1);
    }
}
