//! The feed of events as a subscription: behind a cursor and on, over restarts, without a hole or a repeat, on both
//! transports alike.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::api::transport::{BOTH, Feed, Transport};
use crate::support::daemon::{Daemon, string};
use crate::support::history::{faults, newest_cursor, read_all};
use crate::support::sse::End;
use crate::support::wait::PATIENCE;

/// The feed from a cursor on.
const EVENTS: &str = "subscription ($after: EventCursor) {
  events(after: $after) { events { cursor type jobId data } cursor hasMorePastEvents }
}";

/// Jobs of one mutation.
const BATCH: usize = 100;

/// Enqueues a batch in one mutation and answers with the ids.
fn enqueue_batch(daemon: &Daemon) -> Vec<String> {
    let job = json!({"run": {"command": {"exec": {"argv": ["/bin/true"]}}}});
    let query = "mutation ($input: JobEnqueueManyInput!) {
      jobEnqueueMany(input: $input) { results { job { id } } }
    }";
    let answer = daemon.graphql(query, json!({"input": {"jobs": vec![job; BATCH]}}));
    let results = answer["jobEnqueueMany"]["results"].as_array().expect("a list of results");
    results.iter().map(|result| string(&result["job"]["id"])).collect()
}

/// A subscriber that keeps what it saw and the cursor to go on behind.
struct Subscriber {
    transport: Transport,
    feed: Option<Feed>,
    after: String,
    /// (cursor, type, job) of each event, in the order of arrival.
    seen: Vec<(String, String, Option<String>)>,
    finished: BTreeSet<String>,
}

impl Subscriber {
    fn new(transport: Transport, after: &str) -> Subscriber {
        Subscriber {
            transport,
            feed: None,
            after: after.to_owned(),
            seen: Vec::new(),
            finished: BTreeSet::new(),
        }
    }

    /// Subscribes behind what it saw last.
    fn connect(&mut self, daemon: &Daemon) {
        let variables = json!({"after": self.after});
        self.feed = Some(Feed::open(self.transport, daemon, EVENTS, &variables));
    }

    /// Takes one batch; `Err` when the stream ended.
    fn take(&mut self) -> Result<(), End> {
        let result = self.feed.as_mut().expect("it is connected").next_within(PATIENCE)?;
        assert!(result.get("errors").is_none(), "{:?}: {result:#}", self.transport);
        let batch = &result["data"]["events"];
        for event in batch["events"].as_array().expect("a batch has a list") {
            if event["type"] == json!("JOB_STATE_CHANGED") && event["data"]["to"] == json!("SUCCEEDED") {
                self.finished.insert(string(&event["jobId"]));
            }
            let job = event["jobId"].as_str().map(str::to_owned);
            self.seen.push((string(&event["cursor"]), string(&event["type"]), job));
        }
        self.after = string(&batch["cursor"]);
        let last = batch["events"].as_array().and_then(|events| events.last());
        assert!(last.is_none_or(|last| string(&last["cursor"]) == self.after), "{batch:#}");
        Ok(())
    }

    /// Reads until `count` jobs have succeeded in all.
    fn read_until_finished(&mut self, count: usize) {
        while self.finished.len() < count {
            if let Err(end) = self.take() {
                panic!("{:?}: {end:?} after {} of {count}", self.transport, self.finished.len());
            }
        }
    }

    /// Reads what still comes until the daemon has closed the connection.
    fn read_until_closed(&mut self) {
        loop {
            match self.take() {
                Ok(()) => {}
                Err(End::Closed) => break,
                Err(end) => panic!("{:?}: the daemon went, but the stream is {end:?}", self.transport),
            }
        }
        self.feed = None;
    }
}

#[test]
fn a_cursor_goes_on_over_a_restart_while_jobs_run() {
    let mut daemon = Daemon::start();
    let start = newest_cursor(&daemon);
    let mut subscribers = BOTH.map(|transport| Subscriber::new(transport, &start));
    let mut acknowledged: BTreeSet<String> = enqueue_batch(&daemon).into_iter().collect();
    for subscriber in &mut subscribers {
        subscriber.connect(&daemon);
    }
    acknowledged.extend(enqueue_batch(&daemon));
    for subscriber in &mut subscribers {
        // The rest of the second batch is still on its way when the daemon is told to stop.
        subscriber.read_until_finished(BATCH + BATCH / 4);
    }
    assert!(daemon.terminate().success(), "an orderly stop");
    for subscriber in &mut subscribers {
        subscriber.read_until_closed();
    }
    daemon.restart();
    for subscriber in &mut subscribers {
        subscriber.connect(&daemon);
    }
    acknowledged.extend(enqueue_batch(&daemon));
    for subscriber in &mut subscribers {
        subscriber.read_until_finished(3 * BATCH);
    }
    let listed = read_all(&daemon);
    assert_eq!(faults(&listed, &acknowledged), Vec::<String>::new());
    let begin = listed.iter().position(|event| event.cursor == start).expect("the start is kept");
    let listed: Vec<_> =
        listed.into_iter().skip(begin + 1).map(|event| (event.cursor, event.kind, event.job)).collect();
    for Subscriber { transport, seen, finished, .. } in subscribers {
        assert_eq!(finished, acknowledged, "{transport:?}");
        assert!(seen.len() <= listed.len(), "{transport:?}: {} of {} events", seen.len(), listed.len());
        let different = seen.iter().zip(&listed).find(|(seen, listed)| seen != listed);
        assert_eq!(different, None, "{transport:?}: a hole or a repeat");
    }
}

/// Each subscription that takes a cursor.
fn resumable(job: &str) -> [(String, &'static str); 3] {
    [
        ("subscription ($after: EventCursor) { events(after: $after) { cursor } }".to_owned(), "events"),
        (
            format!(
                r#"subscription ($after: EventCursor) {{ job(id: "{job}", after: $after) {{ cursor }} }}"#
            ),
            "job",
        ),
        (
            format!(
                r#"subscription ($after: EventCursor) {{ jobFollow(id: "{job}", after: $after) {{ cursor }} }}"#
            ),
            "jobFollow",
        ),
    ]
}

/// The cursor `ahead` events from here.
fn moved(cursor: &str, ahead: i64) -> String {
    let (epoch, number) = cursor.split_once('-').expect("a cursor is an epoch and a number");
    format!("{epoch}-{}", number.parse::<i64>().expect("a number") + ahead)
}

#[test]
fn a_cursor_that_cannot_be_resumed_is_refused_with_where_to_go_on() {
    let daemon = Daemon::start();
    let id = daemon.enqueue(&["/bin/true"]);
    daemon.wait_final(&id);
    let other = newest_cursor(&Daemon::start());
    let newest = newest_cursor(&daemon);
    assert_ne!(other.split_once('-').unwrap().0, newest.split_once('-').unwrap().0, "stores have names");
    let foreign = ("of another store", other);
    let ahead = ("ahead of the newest", moved(&newest, 1));
    for (what, cursor) in [foreign, ahead, ("far ahead", moved(&newest, 1_000_000))] {
        let variables = json!({ "after": cursor });
        let query = "query ($after: EventCursor) { events(first: 1, after: $after) { cursor } }";
        let answer = daemon.send(query, &variables).expect("an answer");
        check_expired(&format!("the query with a cursor {what}"), &answer["errors"][0], &daemon);
        for transport in BOTH {
            for (query, field) in resumable(&id) {
                let error = Feed::open(transport, &daemon, &query, &variables).expect_error();
                check_expired(&format!("{field} over {transport:?} with a cursor {what}"), &error, &daemon);
            }
        }
    }
}

/// The error says that the cursor is expired and gives two positions that can be resumed at.
fn check_expired(what: &str, error: &Value, daemon: &Daemon) {
    let extensions = &error["extensions"];
    assert_eq!(extensions["code"], json!("CURSOR_EXPIRED"), "{what}: {error:#}");
    assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{what}: {error:#}");
    assert_eq!(extensions["latest"], json!(newest_cursor(daemon)), "{what}: {error:#}");
    let query = "query ($after: EventCursor) { events(first: 1, after: $after) { events { cursor } } }";
    let oldest = daemon.graphql(query, json!({"after": extensions["oldest"]}));
    let first = daemon.graphql(query, json!({}));
    assert_eq!(oldest, first, "{what}: nothing lies before `oldest`");
}

#[test]
fn what_is_no_cursor_is_the_callers_mistake() {
    let daemon = Daemon::start();
    let query = "subscription ($after: EventCursor) { events(after: $after) { cursor } }";
    for transport in BOTH {
        for cursor in [json!("nonsense"), json!(7), json!("")] {
            let error = Feed::open(transport, &daemon, query, &json!({ "after": cursor })).expect_error();
            let code = string(&error["extensions"]["code"]);
            assert!(
                ["BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED"].contains(&code.as_str()),
                "{cursor} over {transport:?}: {error:#}"
            );
        }
    }
}

#[test]
fn health_tells_at_once_and_goes_on() {
    let daemon = Daemon::start();
    let query = "subscription { health { status subsystems { name status } } }";
    for transport in BOTH {
        let mut feed = Feed::open(transport, &daemon, query, &json!({}));
        let health = feed.expect("health");
        assert_eq!(health["status"], json!("OK"), "{transport:?}: {health:#}");
        assert!(health["subsystems"].as_array().is_some_and(|parts| !parts.is_empty()), "{health:#}");
        let next = feed.next_within(std::time::Duration::ZERO);
        assert_eq!(next.err(), Some(End::TimedOut), "it stays open, with nothing to tell");
    }
}
