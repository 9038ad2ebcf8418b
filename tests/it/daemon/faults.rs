//! What the tests of a store in trouble share: clients that remember every answer, and the bar that holds after every
//! fault: nothing acknowledged is lost or doubled, nothing refused was done, no panic, back by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use beadle::base::environment::variable;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::support::daemon::{Daemon, send, string};
use crate::support::history::{faults, read_all};
use crate::support::program::program;
use crate::support::wait::{PATIENCE, now, span, until};

/// Everything is as before this long after a fault has ended.
pub const BACK_LIMIT: Duration = Duration::from_secs(10);
/// What is refused at once is refused within this, on a busy machine.
pub const AT_ONCE: Duration = Duration::from_secs(2);

/// Loads so far: several of one test share no key.
static LOADS: AtomicUsize = AtomicUsize::new(0);

const ENQUEUE: &str = "mutation ($input: JobEnqueueInput!) {
  jobEnqueue(input: $input) { job { id } deduplicated userErrors { code message } }
}";

/// What one client was told of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The job's id, and whether it was there before.
    Done(String, bool),
    /// Nothing was changed; why.
    Refused(String),
    /// Nobody knows.
    Unknown(String),
}

/// Asks once for a job.
pub fn ask(address: &str, token: &str, key: &str, argv: &[&str]) -> Told {
    let input = json!({"run": {"command": {"exec": {"argv": argv}}}, "idempotencyKey": key});
    let answer = match send(address, token, ENQUEUE, &json!({ "input": input })) {
        Ok(answer) => answer,
        Err(why) => return Told::Unknown(why),
    };
    let payload = &answer["data"]["jobEnqueue"];
    if let Some(id) = payload["job"]["id"].as_str() {
        return Told::Done(id.to_owned(), payload["deduplicated"] == json!(true));
    }
    let error = &answer["errors"][0];
    let extensions = &error["extensions"];
    assert_eq!(
        extensions["code"],
        json!("UNAVAILABLE"),
        "another answer than that of a store in trouble: {answer:#}"
    );
    assert!(extensions["retryAfterMs"].is_u64() && extensions["reason"].is_string(), "{answer:#}");
    let words = format!("{}: {}", string(&extensions["reason"]), string(&error["message"]));
    if extensions["mayBeDone"] == json!(true) { Told::Unknown(words) } else { Told::Refused(words) }
}

/// Everything that the clients were told.
#[derive(Debug, Default)]
pub struct Ledger {
    pub done: BTreeMap<String, String>,
    pub refused: BTreeMap<String, String>,
    pub unknown: BTreeMap<String, String>,
    /// When the last acknowledgement came.
    pub last_done_at: Option<Instant>,
}

/// Clients at work on one daemon.
pub struct Load {
    address: String,
    token: String,
    ledger: Mutex<Ledger>,
    is_over: AtomicBool,
}

impl Load {
    /// Starts so many clients; each asks for a job, waits a moment, and asks for the next.
    pub fn start(daemon: &Daemon, clients: usize, pace: Duration) -> Running {
        let load = Arc::new(Load {
            address: daemon.address().to_owned(),
            token: daemon.token().to_owned(),
            ledger: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let own = LOADS.fetch_add(1, Ordering::SeqCst);
        let client = |client: usize| {
            let load = load.clone();
            thread::spawn(move || {
                for number in 0.. {
                    if load.is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    load.ask(&format!("{own}-{client}-{number}"));
                    span(pace);
                }
            })
        };
        let threads = (0..clients).map(client).collect();
        Running { load, threads }
    }

    fn ask(&self, key: &str) {
        let told = ask(&self.address, &self.token, key, &["/bin/true"]);
        let mut ledger = self.ledger();
        match told {
            Told::Done(id, _) => {
                ledger.last_done_at = Some(now());
                ledger.done.insert(key.to_owned(), id);
            }
            Told::Refused(why) => drop(ledger.refused.insert(key.to_owned(), why)),
            Told::Unknown(why) => drop(ledger.unknown.insert(key.to_owned(), why)),
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no client panics while it holds this")
    }
}

/// The clients' threads.
pub struct Running {
    load: Arc<Load>,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    /// Waits until the clients were refused, or told that nobody knows, that often.
    pub fn until_troubled(&self, count: usize) {
        until("clients to be refused", PATIENCE, || {
            let ledger = self.load.ledger();
            (ledger.refused.len() + ledger.unknown.len() >= count).then_some(())
        });
    }

    /// Waits until that many more jobs were acknowledged.
    pub fn until_done(&self, count: usize) {
        let wanted = self.load.ledger().done.len() + count;
        until("jobs to be acknowledged", PATIENCE, || {
            (self.load.ledger().done.len() >= wanted).then_some(())
        });
    }

    /// When the last acknowledgement came.
    pub fn last_done_at(&self) -> Option<Instant> {
        self.load.ledger().last_done_at
    }

    /// Stops the clients; gives what they were told.
    pub fn stop(self) -> Ledger {
        self.load.is_over.store(true, Ordering::SeqCst);
        for client in self.threads {
            client.join().expect("a client does not panic");
        }
        std::mem::take(&mut *self.load.ledger())
    }
}

/// Figures of one fault, for the last line of a test.
#[derive(Debug, Default, Clone)]
pub struct Figures {
    pub acknowledged: usize,
    pub refused: usize,
    pub unknown: usize,
    /// Jobs of unknown asks that turned out to have been made.
    pub made: usize,
    pub slowest_back: Duration,
}

impl Figures {
    /// Adds another fault's.
    pub fn add(&mut self, other: &Figures) {
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.made += other.made;
        self.slowest_back = self.slowest_back.max(other.slowest_back);
    }

    /// Prints them.
    pub fn print(&self, what: &str) {
        println!(
            "{what}: {} acknowledged, {} refused, {} unknown ({} of them made), 0 lost, 0 doubled, 0 panics, back in {} ms \
             at the slowest",
            self.acknowledged,
            self.refused,
            self.unknown,
            self.made,
            self.slowest_back.as_millis()
        );
    }
}

/// Waits until the daemon says that it is well, and takes a job; gives the time that it took.
pub fn until_back(daemon: &Daemon, key: &str) -> Duration {
    let began = now();
    until("the daemon to be back by itself", BACK_LIMIT, || {
        let told = ask(daemon.address(), daemon.token(), key, &["/bin/true"]);
        (status(daemon, "store") == "OK" && matches!(told, Told::Done(..))).then_some(())
    });
    began.elapsed()
}

/// The bar after a fault, once it is over: every acknowledged job exists and ended once, no refused one was made, what
/// nobody knew is settled by asking again, and nothing panicked.
pub fn check(daemon: &Daemon, ledger: &Ledger, back: Duration) -> Figures {
    let (address, token) = (daemon.address(), daemon.token());
    let mut acknowledged: BTreeSet<String> = ledger.done.values().cloned().collect();
    assert_eq!(acknowledged.len(), ledger.done.len(), "two keys were told one job");
    let mut made = 0;
    for (key, why) in &ledger.unknown {
        let Told::Done(id, was_there) = ask(address, token, key, &["/bin/true"]) else {
            panic!("{key}, of which nobody knew ({why}), is refused after the fault")
        };
        made += usize::from(was_there);
        acknowledged.insert(id);
    }
    for (key, why) in ledger.refused.iter().take(20) {
        match ask(address, token, key, &["/bin/true"]) {
            Told::Done(id, false) => drop(acknowledged.insert(id)),
            told => panic!("{key} was refused ({why}), but asked again it is {told:?}"),
        }
    }
    settle(daemon, &acknowledged);
    let log = daemon.log();
    assert!(!log.contains("panicked"), "something panicked:\n{log}");
    Figures {
        acknowledged: ledger.done.len(),
        refused: ledger.refused.len(),
        unknown: ledger.unknown.len(),
        made,
        slowest_back: back,
    }
}

/// Waits until every one of these jobs has ended, and checks the whole history.
pub fn settle(daemon: &Daemon, jobs: &BTreeSet<String>) {
    let running = "{ jobs(filter: {states: [QUEUED, RUNNING, RETRYING, SCHEDULED]}) { totalCount } }";
    until("every job to end", PATIENCE, || {
        let answer = daemon.send(running, &json!({})).ok()?;
        (answer["data"]["jobs"]["totalCount"] == json!(0)).then_some(())
    });
    assert_eq!(faults(&read_all(daemon), jobs), Vec::<String>::new(), "{}", daemon.log());
}

/// A part's status; empty when there is no answer or no such part.
pub fn status(daemon: &Daemon, part: &str) -> String {
    row(daemon, part).map(|row| string(&row["status"])).unwrap_or_default()
}

/// A part's row.
pub fn row(daemon: &Daemon, part: &str) -> Option<Value> {
    let answer = daemon.send("{ health { subsystems { name status message } } }", &json!({})).ok()?;
    let rows = answer["data"]["health"]["subsystems"].as_array()?;
    rows.iter().find(|row| row["name"] == json!(part)).cloned()
}

/// Waits until a part's row says what is wrong.
pub fn until_down(daemon: &Daemon, part: &str, words: &str) {
    until(&format!("{part} to say {words}"), PATIENCE, || {
        let row = row(daemon, part)?;
        (row["status"] != json!("OK") && string(&row["message"]).contains(words)).then_some(())
    });
}

/// A state of a job.
pub fn state(daemon: &Daemon, id: &str) -> String {
    let answer = daemon.send("query ($id: ID!) { job(id: $id) { state } }", &json!({ "id": id }));
    answer.map(|answer| string(&answer["data"]["job"]["state"])).unwrap_or_default()
}

/// Whether a program that a test needs is here and may do its work; when not, says that the test is skipped.
///
/// Panics when `CI=true` and it is not here: there a skipped test would look like a passed one. What the system itself
/// forbids, as some containers forbid tracing, no script can install.
pub fn has(command: &[&str]) -> bool {
    let output = program(command[0]).args(&command[1..]).output();
    let is_ci = variable("CI").is_some_and(|value| value == "true");
    assert!(output.is_ok() || !is_ci, "CI=true and there is no {}: install its package", command[0]);
    let found = output.is_ok_and(|output| output.status.success());
    if !found {
        println!("skipped: this does not work here: {command:?}");
    }
    found
}

/// Holds a lock on a database file as another process would, until it is dropped.
pub struct ForeignLock {
    runtime: tokio::runtime::Runtime,
    connection: Option<SqliteConnection>,
}

impl ForeignLock {
    /// Takes it.
    pub fn take(path: &std::path::Path) -> ForeignLock {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let options = SqliteConnectOptions::new().filename(path).busy_timeout(PATIENCE);
        let connection = runtime.block_on(async {
            let mut connection = options.connect().await.expect("the file can be opened");
            let locked = sqlx::query("BEGIN EXCLUSIVE").execute(&mut connection).await;
            locked.expect("the lock is free now and then");
            connection
        });
        ForeignLock { runtime, connection: Some(connection) }
    }

    /// Writes a database's journal into its file, as any other program that has it open may.
    pub fn checkpoint(path: &std::path::Path) {
        let lock = tokio::runtime::Builder::new_current_thread().enable_all().build();
        lock.expect("a runtime can be made").block_on(async {
            let options = SqliteConnectOptions::new().filename(path).busy_timeout(PATIENCE);
            let mut connection = options.connect().await.expect("the file can be opened");
            let done = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await;
            done.expect("the journal can be written back");
            connection.close().await.expect("it closes in order");
        });
    }
}

impl Drop for ForeignLock {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            // A commit of nothing; then the lock is free.
            let _ = self.runtime.block_on(connection.close());
        }
    }
}
