//! Subscriptions that ask the same with the same rights are executed once for all. Nobody may notice: each gets what it
//! would get alone, from wherever it begins, and whoever does not read holds up nobody.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::socket::Socket;
use crate::api::tokens::{ask, make};
use crate::api::transport::{BOTH, Feed, Transport};
use crate::support::daemon::{Daemon, string};
use crate::support::dice::Dice;
use crate::support::exposition::scrape;
use crate::support::history::newest_cursor;
use crate::support::length::sized;
use crate::support::sse::{End, Sse};
use crate::support::wait::{PATIENCE, until};

/// Parts of a selection that say the same whenever they are read.
const PARTS: &[&str] = &[
    "cursor",
    "type",
    "kind: type",
    "at",
    "actor",
    "peer",
    "jobId",
    "taskName",
    "data",
    "why: data",
    "subject { __typename id }",
    "subject { ... on Job { id priority labels { key value } queue { name } } }",
    "...F",
    "... on Event { of: jobId made: actor }",
    "... @include(if: false) { data }",
];
/// Filters that every job of the test fits.
const FILTERS: &[&str] = &[
    "null",
    "{types: [JOB_CREATED]}",
    "{types: [JOB_CREATED, JOB_STATE_CHANGED]}",
    r#"{queues: ["default"]}"#,
    r#"{labels: [{key: "of", value: "test"}]}"#,
];

/// A comment that names the variable of the cursor: such a text is executed for its caller alone.
const ALONE: &str = "# $after";

/// What a variable asks for that is left out.
const PART_WITH_DEFAULT: &str = "attempts(first: $n) { nodes { number } }";

fn document(dice: &Dice) -> String {
    let parts: Vec<&str> = (0..=dice.roll(6)).map(|_| PARTS[dice.roll(PARTS.len())]).collect();
    let filter = FILTERS[dice.roll(FILTERS.len())];
    let fragment = if parts.contains(&"...F") { "fragment F on Event { type c: cursor }" } else { "" };
    format!(
        "subscription ($after: EventCursor) {{
           events(after: $after, filter: {filter}) {{ events {{ e: cursor {} }} cursor }}
         }} {fragment}",
        parts.join(" ")
    )
}

/// Some changes, the last of which is the creation of a job.
fn change(daemon: &Daemon, dice: &Dice) {
    let job = |priority: i32| {
        json!({
            "run": {"command": {"exec": {"argv": ["/bin/true"]}}}, "delay": "24h", "priority": priority,
            "labels": [{"key": "of", "value": "test"}],
        })
    };
    for _ in 0..=dice.roll(3) {
        let id = daemon.enqueue_with(job(dice.roll_int(9)));
        if dice.roll(2) == 0 {
            let cancel = "mutation ($id: ID!) { jobCancel(input: {id: $id}) { userErrors { message } } }";
            daemon.graphql(cancel, json!({ "id": id }));
        }
    }
    daemon.enqueue_with(job(1));
}

/// Every event up to the one with this cursor.
fn events_until(feed: &mut Feed, last: &str) -> Vec<Value> {
    let mut seen: Vec<Value> = Vec::new();
    while seen.last().is_none_or(|event| event["e"] != json!(last)) {
        let batch = feed.expect("events");
        seen.extend(batch["events"].as_array().expect("a list").iter().cloned());
    }
    seen
}

/// The cursor of the newest event that made a job.
fn newest_job(daemon: &Daemon) -> String {
    // Whatever else was told since is no job.
    let query = "{ jobs(first: 1) { nodes { eventCursor } } }";
    string(&daemon.graphql(query, json!({}))["jobs"]["nodes"][0]["eventCursor"])
}

#[test]
fn a_variable_without_a_value_leaves_its_arguments_default_to_those_who_share_too() {
    let daemon = Daemon::start();
    let id = daemon.enqueue(&["/bin/true"]);
    daemon.wait_final(&id);
    let document = |kind: &str, inner: &str| {
        format!("{kind} ($n: Int) {{ job(id: \"{id}\") {} }}", inner.replace("PART", PART_WITH_DEFAULT))
    };
    let alone = daemon.graphql(&document("query", "{ PART }"), json!({}))["job"].take();
    assert_eq!(alone["attempts"]["nodes"].as_array().map(Vec::len), Some(1), "{alone}");
    for transport in BOTH {
        let mut feed =
            Feed::open(transport, &daemon, &document("subscription", "{ job { PART } }"), &json!({}));
        assert_eq!(feed.expect("job")["job"], alone, "{transport:?}");
    }
}

#[test]
fn shared_answers_are_those_that_one_would_get_alone() {
    let daemon = Daemon::start();
    let dice = Dice::new();
    let (rounds, mut events) = (sized(10, 150), 0);
    for _ in 0..rounds {
        let shared = document(&dice);
        let alone = format!("{shared}\n{ALONE}");
        let mut open: Vec<(bool, Feed, usize)> = Vec::new();
        for joined in 0..4 {
            let after = json!({"after": newest_cursor(&daemon)});
            change(&daemon, &dice);
            for transport in BOTH {
                open.push((true, Feed::open(transport, &daemon, &shared, &after), joined));
            }
            open.push((false, Feed::open(BOTH[dice.roll(2)], &daemon, &alone, &after), joined));
        }
        change(&daemon, &dice);
        let topics = scrape(&daemon).sum("beadle_topics", &[]);
        assert!((topics - 1.0).abs() < 0.1, "{topics} executions of\n{shared}");
        let last = newest_job(&daemon);
        let mut told: Vec<(bool, usize, Vec<Value>)> = Vec::new();
        for (is_shared, mut feed, joined) in open {
            told.push((is_shared, joined, events_until(&mut feed, &last)));
        }
        for (_, joined, of_one) in told.iter().filter(|(is_shared, ..)| !is_shared) {
            for (_, _, of_many) in told.iter().filter(|(is_shared, at, _)| *is_shared && at == joined) {
                assert_eq!(of_many, of_one, "joined {joined}:\n{shared}");
                events += of_one.len();
            }
        }
        until("the topic to end with its last member", PATIENCE, || {
            (scrape(&daemon).sum("beadle_topics", &[]) < 0.5).then_some(())
        });
    }
    println!("{rounds} documents, {events} events compared");
}

const FOLLOW: &str = "subscription ($id: ID!, $after: EventCursor, $logAfter: LogCursor) {
  jobFollow(id: $id, after: $after, logAfter: $logAfter) {
    job { state startedAt }
    log { attempt isComplete lines { cursor text } }
    cursor
    logCursor
  }
}";

/// One who follows a job and comes back where it left.
#[derive(Default)]
struct Follower {
    after: Value,
    log_after: Value,
    lines: Vec<String>,
    states: Vec<String>,
    is_complete: bool,
}

impl Follower {
    /// Takes so many steps, or all of them.
    fn visit(&mut self, daemon: &Daemon, id: &str, transport: Transport, steps: usize) {
        let variables = json!({"id": id, "after": self.after, "logAfter": self.log_after});
        let mut feed = Feed::open(transport, daemon, FOLLOW, &variables);
        for _ in 0..steps {
            let Some(step) = feed.next_or_complete("jobFollow") else {
                self.is_complete = true;
                return;
            };
            self.after = step["cursor"].clone();
            self.log_after = step["logCursor"].clone();
            let state = string(&step["job"]["state"]);
            if self.states.last() != Some(&state) {
                self.states.push(state);
            }
            let lines = step["log"]["lines"].as_array().into_iter().flatten();
            self.lines.extend(lines.map(|line| string(&line["text"])));
        }
    }
}

#[test]
fn a_crowd_that_follows_one_job_comes_and_goes_and_each_sees_every_line_once() {
    let daemon = Daemon::start();
    let count = sized(400, 4_000);
    let script = r#"n=0; while [ $n -lt $0 ]; do echo "line $n"; n=$((n+1)); [ $((n % 10)) -ne 0 ] || sleep 0.03; done"#;
    let id = daemon.enqueue(&["/bin/sh", "-c", script, &count.to_string()]);
    let crowd = std::thread::scope(|scope| {
        let following: Vec<_> = (0..8)
            .map(|number: usize| {
                let (daemon, id) = (&daemon, &id);
                scope.spawn(move || {
                    let dice = Dice::new();
                    let mut follower = Follower::default();
                    // Half of them stay.
                    while !follower.is_complete && number.is_multiple_of(2) {
                        follower.visit(daemon, id, BOTH[dice.roll(2)], dice.roll(6));
                    }
                    follower.visit(daemon, id, BOTH[dice.roll(2)], usize::MAX);
                    follower
                })
            })
            .collect();
        following.into_iter().map(|one| one.join().expect("no follower fails")).collect::<Vec<_>>()
    });
    let wanted: Vec<String> = (0..count).map(|number| format!("line {number}")).collect();
    for follower in crowd {
        let different = follower.lines.iter().zip(&wanted).position(|(seen, wanted)| seen != wanted);
        assert_eq!((different, follower.lines.len()), (None, count), "a gap or a repeat");
        assert_eq!(follower.states.last().map(String::as_str), Some("SUCCEEDED"), "{:?}", follower.states);
        let distinct: BTreeSet<&String> = follower.states.iter().collect();
        assert_eq!(distinct.len(), follower.states.len(), "a state came back: {:?}", follower.states);
    }
}

const CREATED: &str = "subscription { events(filter: {types: [JOB_CREATED]}) { events { jobId } cursor } }";

fn job_of(batch: &Value) -> Option<String> {
    batch["data"]["events"]["events"].as_array()?.first().map(|event| string(&event["jobId"]))
}

/// The next job that this one is told of.
fn next_job(socket: &mut Socket) -> Result<String, End> {
    loop {
        if let Some(job) = job_of(&socket.next_within(PATIENCE)?) {
            return Ok(job);
        }
    }
}

#[test]
fn what_is_shared_is_shared_by_rights_and_a_revoked_token_leaves_it_at_once() {
    let daemon = Daemon::start();
    let read = json!([{"verb": "READ"}]);
    let (first, second) = (make(&daemon, "first", read.clone()), make(&daemon, "second", read));
    let own = json!([{"verb": "READ", "ownJobsOnly": true}, {"verb": "COMMAND"}, {"verb": "ENQUEUE"}]);
    let (one, other) = (make(&daemon, "one", own.clone()), make(&daemon, "other", own));
    let open = |secret: &str| Socket::open(daemon.address(), secret, CREATED, &json!({}));
    let mut readers = [&first, &second].map(|token| open(&token.secret));
    let mut narrow = [&one, &other].map(|token| open(&token.secret));
    until("all of them to follow", PATIENCE, || {
        let read = scrape(&daemon);
        let (followers, topics) = (read.sum("beadle_feed_subscribers", &[]), read.sum("beadle_topics", &[]));
        // Those who read everything share one, those who see their own jobs have one each.
        ((followers - 4.0).abs() < 0.1 && (topics - 3.0).abs() < 0.1).then_some(())
    });
    let enqueue = r#"mutation {
      jobEnqueue(input: {run: {command: {exec: {argv: ["/bin/true"]}}}, delay: "24h"}) { job { id } }
    }"#;
    for (token, socket) in [&one, &other].into_iter().zip(&mut narrow) {
        let answer = ask(&daemon, token, enqueue, &json!({}));
        let id = string(&answer["data"]["jobEnqueue"]["job"]["id"]);
        assert_eq!(next_job(socket).as_ref(), Ok(&id), "its own job, and none before it");
        for reader in &mut readers {
            assert_eq!(next_job(reader).as_ref(), Ok(&id));
        }
    }
    let revoke = "mutation ($id: ID!) { tokenRevoke(input: {id: $id}) { userErrors { message } } }";
    daemon.graphql(revoke, json!({"id": first.id}));
    let [mut revoked, mut kept] = readers;
    assert_eq!(next_job(&mut revoked).err(), Some(End::Closed));
    let id = daemon.enqueue(&["/bin/true"]);
    assert_eq!(next_job(&mut kept), Ok(id));
}

/// A subscriber that asks and takes no byte of the answer.
fn never_read(daemon: &Daemon, token: &str, query: &str) -> TcpStream {
    let body = json!({ "query": query }).to_string();
    let mut socket = TcpStream::connect(daemon.address()).expect("the daemon listens");
    let head = format!(
        "POST /graphql HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nAccept: text/event-stream\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        daemon.address(),
        body.len()
    );
    socket.write_all(head.as_bytes()).expect("the daemon reads");
    socket
}

#[test]
fn one_who_never_reads_holds_up_nobody_it_shares_with() {
    let daemon = Daemon::start();
    let long = "subscription { events { events { cursor data } cursor } }";
    let tokens: Vec<String> = (0..sized(1, 5))
        .map(|number| make(&daemon, &format!("reader-{number}"), json!([{"verb": "READ"}])).secret)
        .collect();
    let mut readers: Vec<Sse> = tokens
        .iter()
        .flat_map(|token| (0..sized(40, 200)).map(move |_| token))
        .map(|token| Sse::open(daemon.address(), token, long, &json!({})).expect("it is let in"))
        .collect();
    let deaf = never_read(&daemon, &tokens[0], long);
    let all = f64::from(u32::try_from(readers.len()).expect("a small number"));
    until("all of them to follow", PATIENCE, || {
        (scrape(&daemon).sum("beadle_feed_subscribers", &[]) > all + 0.5).then_some(())
    });
    // Far more than the kernel and the daemon take for it.
    let job = json!({
        "run": {"command": {"exec": {"argv": ["/bin/true"]}}}, "delay": "24h",
        "labels": [{"key": "long", "value": "x".repeat(900)}],
    });
    let query = "mutation ($input: JobEnqueueManyInput!) {
      jobEnqueueMany(input: $input) { results { userErrors { message } } }
    }";
    for _ in 0..sized(12, 40) {
        daemon.graphql(query, json!({"input": {"jobs": vec![job.clone(); 100]}}));
        let cancel = "mutation ($reason: String!) {
          jobBulkCancel(input: {filter: {states: [SCHEDULED]}, max: 100, reason: $reason}) { changedCount }
        }";
        daemon.graphql(cancel, json!({"reason": "x".repeat(1_000)}));
    }
    let last = newest_cursor(&daemon);
    let mut counts = BTreeSet::new();
    for reader in &mut readers {
        let mut count = 0;
        loop {
            let message = reader.next_within(PATIENCE).expect("it is told everything");
            let batch = &message.result["data"]["events"];
            count += batch["events"].as_array().expect("a list").len();
            if batch["cursor"] == json!(last) {
                break;
            }
        }
        counts.insert(count);
    }
    assert_eq!(counts.len(), 1, "all are told the same: {counts:?}");
    println!("{} read {counts:?} events beside one who does not", readers.len());
    until("the deaf one to be let go", Duration::from_secs(40), || {
        (scrape(&daemon).sum("beadle_feed_subscribers", &[]) < all + 0.5).then_some(())
    });
    drop(deaf);
}
