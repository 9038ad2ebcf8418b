//! Many subscribers, most of whom read nothing: whoever reads sees everything, the writer hardly notices, memory stays
//! bounded, and a subscription goes on behind its cursor from any point.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use beadle::domain::limits::TEXT_BYTES_MAX;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, SocketType};
use serde_json::{Value, json};

use crate::api::transport::{BOTH, Feed};
use crate::support::daemon::{Daemon, string};
use crate::support::dice::Dice;
use crate::support::exposition::{Exposition, scrape};
use crate::support::history::{newest_cursor, read_all};
use crate::support::length::{is_long, sized};
use crate::support::sse::{End, Sse};
use crate::support::wait::{PATIENCE, now, span, until};

const CURSORS: &str = "subscription ($after: EventCursor) {
  events(after: $after) { events { cursor } cursor }
}";
/// The part of an event that may be long.
const LONG: &str = "subscription ($after: EventCursor) {
  events(after: $after) { events { data } cursor }
}";
/// Subscriptions that one token holds here, of 256 that it may.
const PER_TOKEN: usize = 200;
/// How long a slow reader takes for one byte.
const SLOW_BYTE: Duration = Duration::from_micros(100);
/// Events of a kilobyte each.
const LONG_EVENTS: u16 = 500;
/// How much the daemon's memory may grow for each subscriber that reads nothing: a batch, and what of it is encoded.
const GROWTH_KIB_EACH: u64 = 1_024;

/// Tokens that read, enough for so many subscriptions.
fn tokens(daemon: &Daemon, subscriptions: usize) -> Vec<String> {
    let query = "mutation ($name: String!) {
      tokenCreate(input: {name: $name, grants: [{verb: READ}]}) { secret userErrors { message } }
    }";
    let make = |number| {
        let answer = daemon.graphql(query, json!({"name": format!("reader-{number}")}));
        string(&answer["tokenCreate"]["secret"])
    };
    (0..subscriptions.div_ceil(PER_TOKEN)).map(make).collect()
}

/// Jobs that are never due within a test: each is one change and one event.
fn enqueue_later(daemon: &Daemon, count: usize) {
    let job = json!({"run": {"command": {"exec": {"argv": ["/bin/true"]}}}, "delay": "24h"});
    let query = "mutation ($input: JobEnqueueManyInput!) {
      jobEnqueueMany(input: $input) { results { userErrors { message } } }
    }";
    let mut left = count;
    while left > 0 {
        let part = left.min(500);
        daemon.graphql(query, json!({"input": {"jobs": vec![job.clone(); part]}}));
        left -= part;
    }
}

/// More bytes of events than the kernel takes for somebody who does not read: waiting jobs are cancelled, at length.
fn tell_at_length(daemon: &Daemon) {
    let query = "mutation ($reason: String!) {
      jobBulkCancel(input: {filter: {states: [SCHEDULED]}, max: 100000, reason: $reason}) {
        changedCount userErrors { message }
      }
    }";
    let answer = daemon.graphql(query, json!({"reason": "x".repeat(TEXT_BYTES_MAX)}));
    assert_eq!(answer["jobBulkCancel"]["userErrors"], json!([]));
    assert!(answer["jobBulkCancel"]["changedCount"].as_i64() >= Some(i64::from(LONG_EVENTS)), "{answer}");
}

/// A subscriber that asks and takes no byte of the answer.
fn never_read(daemon: &Daemon, token: &str, after: Option<&str>) -> TcpStream {
    let mut socket = TcpStream::connect(daemon.address()).expect("the daemon listens");
    ask_at_length(&mut socket, daemon, token, after);
    socket
}

/// A connection for which the kernel at this end keeps hardly anything.
fn narrow(daemon: &Daemon) -> TcpStream {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    // Before it is connected: room that was offered once is not taken back.
    set_socket_recv_buffer_size(&socket, 8_192).expect("an open socket");
    let address: SocketAddr = daemon.address().parse().expect("an address");
    rustix::net::connect(&socket, &address).expect("the daemon listens");
    TcpStream::from(socket)
}

/// Subscribes, and reads nothing.
fn ask_at_length(socket: &mut TcpStream, daemon: &Daemon, token: &str, after: Option<&str>) {
    let body = json!({"query": LONG, "variables": {"after": after}}).to_string();
    let head = format!(
        "POST /graphql HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nAccept: text/event-stream\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        daemon.address(),
        body.len()
    );
    socket.write_all(head.as_bytes()).expect("the daemon reads");
}

/// How long single changes take to be acknowledged, one after the other, sorted.
fn acknowledged(daemon: &Daemon, count: usize) -> Vec<Duration> {
    let agent = ureq::agent();
    let job = json!({"run": {"command": {"exec": {"argv": ["/bin/true"]}}}, "delay": "24h"});
    let query = "mutation ($input: JobEnqueueInput!) { jobEnqueue(input: $input) { deduplicated } }";
    let body = json!({"query": query, "variables": {"input": job}}).to_string();
    let mut took: Vec<Duration> = (0..count)
        .map(|_| {
            let began = now();
            let mut answer = agent
                .post(format!("{}/graphql", daemon.url()))
                .header("Authorization", format!("Bearer {}", daemon.token()))
                .header("Content-Type", "application/json")
                .send(&body)
                .expect("an answer");
            let text = answer.body_mut().read_to_string().expect("text");
            assert!(text.contains("\"deduplicated\":false"), "{text}");
            began.elapsed()
        })
        .collect();
    took.sort();
    took
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// How long a commit took on average between two scrapes.
fn commit_ms(before: &Exposition, after: &Exposition) -> f64 {
    let of = |name: &str| after.sum(name, &[]) - before.sum(name, &[]);
    1_000.0 * of("beadle_writer_commit_seconds_sum") / of("beadle_writer_commit_seconds_count").max(1.0)
}

fn memory_kib(daemon: &Daemon, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).expect("a size")
}

/// What a round found: the times of single changes, and what the daemon took.
#[derive(Default)]
struct Round {
    without: Vec<Duration>,
    with: Vec<Duration>,
    commit_ms: (f64, f64),
    growth_kib: u64,
    still_there: f64,
}

impl Round {
    /// Changes without silent subscribers, and with so many that all have taken as much as they ever will.
    fn run(daemon: &Daemon, tokens: &[String], silent: usize, changes: usize) -> Round {
        // The same is told at length before both, so that the disk has the same behind it.
        tell_and_settle(daemon);
        let before = scrape(daemon);
        let without = acknowledged(daemon, changes);
        let between = scrape(daemon);
        let (others, memory) = (followers(&between), memory_kib(daemon, "VmRSS"));
        let token = |number: usize| &tokens[1 + number / PER_TOKEN];
        let sockets: Vec<TcpStream> =
            (0..silent).map(|number| never_read(daemon, token(number), None)).collect();
        let all = others + f64::from(u32::try_from(silent).expect("a small number"));
        until("all of them to follow", PATIENCE, || (followers(&scrape(daemon)) > all - 0.5).then_some(()));
        tell_and_settle(daemon);
        let began = scrape(daemon);
        let with = acknowledged(daemon, changes);
        let ended = scrape(daemon);
        let growth_kib = memory_kib(daemon, "VmHWM").saturating_sub(memory);
        // They are cut, though nobody can tell them: their connections take nothing.
        until("those who do not read to be cut", PATIENCE, || {
            (followers(&scrape(daemon)) < others + 0.5).then_some(())
        });
        drop(sockets);
        let commit_ms = (commit_ms(&before, &between), commit_ms(&began, &ended));
        let still_there = followers(&ended) - others;
        Round { without, with, commit_ms, growth_kib, still_there }
    }
}

/// Tells more than the kernel takes for somebody who does not read, and waits until everybody has what it will take.
fn tell_and_settle(daemon: &Daemon) {
    enqueue_later(daemon, usize::from(LONG_EVENTS));
    tell_at_length(daemon);
    let mut cpu = f64::NAN;
    until("the daemon to be quiet", PATIENCE, || {
        let used = scrape(daemon).sum("process_cpu_seconds_total", &[]);
        span(Duration::from_millis(100));
        let is_quiet = used - cpu < 0.04;
        cpu = used;
        is_quiet.then_some(())
    });
}

/// How many follow the events.
fn followers(read: &Exposition) -> f64 {
    read.sum("beadle_feed_subscribers", &[])
}

#[test]
fn those_who_never_read_cost_the_others_nothing() {
    let daemon = Daemon::start();
    let (readers, silent) = (sized(20, 100), sized(180, 900));
    let (rounds, changes) = (sized(1, 3), sized(200, 300));
    let tokens = tokens(&daemon, PER_TOKEN + silent);
    let from = newest_cursor(&daemon);
    let last = OnceLock::new();
    let all: Vec<Round> = thread::scope(|scope| {
        let _unless_failed = Release(&last);
        let open = || Sse::open(daemon.address(), &tokens[0], CURSORS, &json!({"after": from}));
        let reading: Vec<_> = (0..readers)
            .map(|_| {
                let stream = open().expect("it is let in");
                scope.spawn(|| read_cursors(stream, &last))
            })
            .collect();
        acknowledged(&daemon, changes / 4);
        let all = (0..rounds).map(|_| Round::run(&daemon, &tokens, silent, changes)).collect();
        let id = daemon.enqueue(&["/bin/true"]);
        daemon.wait_final(&id);
        last.set(newest_cursor(&daemon)).expect("it is told once");
        let listed: Vec<String> = read_all(&daemon).into_iter().map(|event| event.cursor).collect();
        let begin = listed.iter().position(|cursor| *cursor == from).expect("it is kept") + 1;
        for reader in reading {
            let seen = reader.join().expect("a reader does not panic");
            // It has gone on to the end of the batch, at least.
            assert!(seen.iter().any(|cursor| Some(cursor) == last.get()), "only {} events", seen.len());
            let different = seen.iter().zip(&listed[begin..]).position(|(seen, listed)| seen != listed);
            assert_eq!(different, None, "a gap or a repeat");
        }
        all
    });
    let sorted = |of: fn(&Round) -> &Vec<Duration>| {
        let mut all: Vec<Duration> = all.iter().flat_map(of).copied().collect();
        all.sort();
        all
    };
    let (without, with) = (sorted(|round| &round.without), sorted(|round| &round.with));
    let (median, worst) = (percentile(&without, 50), percentile(&without, 99));
    println!("{readers} read. A change without others: median {median:?}, p99 {worst:?}");
    println!(
        "with {silent} who do not read: median {:?}, p99 {:?}",
        percentile(&with, 50),
        percentile(&with, 99)
    );
    for Round { commit_ms, growth_kib, still_there, .. } in &all {
        println!(
            "a round: commits {commit_ms:.2?} ms, memory +{growth_kib} KiB, {still_there} there to its end"
        );
        assert!(*growth_kib < GROWTH_KIB_EACH * silent as u64, "+{growth_kib} KiB");
    }
    // The promise is 1.2 times; a machine that builds other things beside has outliers of its own.
    let room = Duration::from_millis(if cfg!(debug_assertions) { 1_000 } else { 5 });
    assert!(percentile(&with, 99) < worst * 12 / 10 + room, "{with:?}\n{without:?}");
}

/// Lets the readers go when the test fails.
struct Release<'a>(&'a OnceLock<String>);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        let _ = self.0.set(String::new());
    }
}

/// Every cursor that comes, until the last one is known and has come.
fn read_cursors(mut stream: Sse, last: &OnceLock<String>) -> Vec<String> {
    let (mut seen, mut told_at) = (Vec::new(), None);
    loop {
        if let Some(last) = last.get() {
            let told_at = told_at.get_or_insert_with(now);
            if last.is_empty() || seen.contains(last) || told_at.elapsed() > PATIENCE {
                return seen;
            }
        }
        match stream.next_within(Duration::from_millis(200)) {
            Ok(message) => {
                let events = message.result["data"]["events"]["events"].as_array().cloned();
                let events = events.unwrap_or_else(|| panic!("{:#}", message.result));
                seen.extend(events.iter().map(|event| string(&event["cursor"])));
            }
            Err(End::TimedOut) => {}
            Err(end) => panic!("the stream of somebody who reads is over: {end:?}"),
        }
    }
}

/// Says that it is over also when the test fails, so that nobody goes on for ever.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_subscription_goes_on_from_any_point_without_a_gap_or_a_repeat() {
    let daemon = Daemon::start();
    let (resumes, clients) = (sized(1_000, 10_000), 8);
    let start = newest_cursor(&daemon);
    let (is_over, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let began = now();
    let kept = thread::scope(|scope| {
        let over = Over(&is_over);
        let working = scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                enqueue_later(&daemon, 20);
                let id = daemon.enqueue(&["/bin/true"]);
                daemon.wait_final(&id);
            }
        });
        let going: Vec<_> = (0..clients)
            .map(|number| {
                let (daemon, start, done, is_over) = (&daemon, start.clone(), &done, &is_over);
                scope.spawn(move || {
                    let mut client = Client::new(number, start);
                    while done.fetch_add(1, Ordering::SeqCst) < resumes && !is_over.load(Ordering::SeqCst) {
                        client.visit(daemon);
                    }
                    client
                })
            })
            .collect();
        let clients: Vec<Client> =
            going.into_iter().map(|one| one.join().expect("no client fails")).collect();
        drop(over);
        working.join().expect("the work does not fail");
        clients
    });
    let last = newest_cursor(&daemon);
    let listed: Vec<String> = read_all(&daemon).into_iter().map(|event| event.cursor).collect();
    let first = listed.iter().position(|cursor| *cursor == start).expect("it is kept") + 1;
    let visits: usize = kept.iter().map(|client| client.visits).sum();
    for mut client in kept {
        client.catch_up(&daemon, &last);
        let different = client.seen.iter().zip(&listed[first..]).position(|(seen, listed)| seen != listed);
        assert_eq!((different, client.seen.len()), (None, listed.len() - first), "a gap or a repeat");
    }
    println!("{visits} resumes over {} events in {:?}", listed.len() - first, began.elapsed());
    assert!(visits >= resumes);
}

/// A client that comes and goes, and keeps its cursor.
struct Client {
    dice: Dice,
    number: usize,
    after: String,
    seen: Vec<String>,
    visits: usize,
}

impl Client {
    fn new(number: usize, after: String) -> Client {
        Client { dice: Dice::new(), number, after, seen: Vec::new(), visits: 0 }
    }

    /// Takes a random number of messages and hangs up, whatever is on its way.
    fn visit(&mut self, daemon: &Daemon) {
        let mut feed = Feed::open(BOTH[self.number % 2], daemon, CURSORS, &json!({"after": self.after}));
        self.visits += 1;
        for _ in 0..self.dice.roll(4) {
            // A moment that may be in the middle of anything.
            let patience = Duration::from_micros(self.dice.roll(3_000) as u64);
            match feed.next_within(patience) {
                Ok(result) => self.take(&result),
                Err(End::TimedOut) => {}
                Err(end) => panic!("{end:?}"),
            }
        }
    }

    fn catch_up(&mut self, daemon: &Daemon, last: &str) {
        let mut feed = Feed::open(BOTH[self.number % 2], daemon, CURSORS, &json!({"after": self.after}));
        while self.seen.last().is_none_or(|seen| seen != last) {
            let result = feed.next_within(PATIENCE).expect("what is missing comes");
            self.take(&result);
        }
    }

    fn take(&mut self, result: &Value) {
        let batch = &result["data"]["events"];
        let events = batch["events"].as_array().unwrap_or_else(|| panic!("{result:#}"));
        self.seen.extend(events.iter().map(|event| string(&event["cursor"])));
        self.after = string(&batch["cursor"]);
    }
}

#[test]
fn who_reads_too_slowly_is_told_where_to_go_on() {
    // It takes as long as the daemon is patient, more than once.
    if !is_long() {
        println!("left out: it is for the long form");
        return;
    }
    let daemon = Daemon::start();
    enqueue_later(&daemon, 14_000);
    let start = newest_cursor(&daemon);
    tell_at_length(&daemon);
    let mut socket = narrow(&daemon);
    ask_at_length(&mut socket, &daemon, daemon.token(), Some(&start));
    socket.set_read_timeout(Some(PATIENCE)).expect("an open socket");
    let (mut text, mut piece) = (Vec::new(), vec![0; 4_096]);
    let began = now();
    // Never silent for as long as nobody is waited for, and longer over a page than anybody is allowed. The kernel asks
    // the daemon for more only when a third of its room is free.
    until("the slow one to be cut", PATIENCE * 5, || {
        let count = socket.read(&mut piece).expect("it is told before it is cut");
        assert!(count > 0, "it was cut without a word");
        text.extend_from_slice(&piece[..count]);
        span((SLOW_BYTE * u32::try_from(text.len()).expect("not much")).saturating_sub(began.elapsed()));
        (scrape(&daemon).sum("beadle_subscribers_cut_total", &[]) > 0.5).then_some(())
    });
    socket.read_to_end(&mut text).ok();
    let text = String::from_utf8_lossy(&text).into_owned();
    let (_, told) = text.rsplit_once("SLOW_CONSUMER").expect("it is told");
    println!("cut after {:?} and {} bytes", began.elapsed(), text.len());
    assert!(told.contains("resumeAfter") || text.contains("resumeAfter"), "{told}");
}
