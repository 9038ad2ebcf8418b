//! Aborts at every named point of the daemon's way, each several times under a load: nothing is lost, nothing doubled.
//! The points are read from the sources, so that a new one is walked by itself.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use beadle::base::environment::variable;
use beadle::base::random::{Random, SystemRandom};
use serde_json::json;

use crate::support::daemon::Daemon;
use crate::support::history::Witness;
use crate::support::laws::Promise;
use crate::support::ledger::{Figures, Trial, check_starts};
use crate::support::length::sized;
use crate::support::load::Load;
use crate::support::postgres::is_on_postgres;
use crate::support::wait::{PATIENCE, now, span};

const VARIABLE: &str = "BEADLE_TEST_POINTS";
/// Names one point, to walk no other.
const ONLY: &str = "BEADLE_TEST_ONLY_POINT";
const SIGABRT: i32 = 6;
/// Directories that are walked at the same time.
const WALKERS: usize = 4;
/// Starts under which a point must be reached once.
const TRIES: usize = 6;

/// Points that only the first start of a directory passes.
const FIRST_START: &[&str] = &[
    "file.drafted",
    "migration.applied",
    "migration.begun",
    "script.run",
    "start.default_queue",
    "start.token_written",
];
/// Points that one life of a daemon passes once, or nearly so; also all that begin with `start.` or `stop.`.
const ONCE: &[&str] = &["prune.committed", "prune.logs_removed"];
/// Points that this walk does not reach, each with the test that does, or the reason.
const ELSEWHERE: &[(&str, &str)] = &[
    ("rescue.save", "needs a store whose file is gone: daemon::faults_files"),
    ("spool.keep", "needs a store that cannot be written: daemon::faults"),
    ("spool.replay", "needs a spool with results: daemon::faults"),
    ("spool.replayed", "needs a spool with results: daemon::faults"),
    ("follow.tick", "needs somebody who follows a job: daemon::parts"),
    ("sink.look", "needs a sink: daemon::sinks"),
    ("sink.sent", "needs a sink: daemon::sinks kills the daemon around it"),
    ("backup.written", "in the process of `beadle backup`: daemon::backup"),
    ("backup.published", "in the process of `beadle backup`: daemon::backup"),
    ("restore.checked", "in the process of `beadle restore`: daemon::backup"),
    ("restore.moved", "in the process of `beadle restore`: daemon::backup"),
    ("restore.placed", "in the process of `beadle restore`: daemon::backup"),
    ("move.begun", "in the process of `beadle migrate`: daemon::moving"),
    ("move.sent", "in the process of `beadle migrate`: daemon::moving"),
    ("move.compared", "in the process of `beadle migrate`: daemon::moving"),
    ("move.committed", "in the process of `beadle migrate`: daemon::moving"),
    ("upgrade.backed", "needs a store of an earlier version: daemon::upgrade"),
    ("upgrade.copied", "needs a store of an earlier version: daemon::upgrade"),
];

/// The same over PostgreSQL alone, and over a file alone.
const OVER_POSTGRES: &[(&str, &str)] =
    &[("file.drafted", "belongs to the file"), ("start.state_opened", "belongs to the file")];
const OVER_A_FILE: &[(&str, &str)] = &[
    (
        "migration.applied",
        "needs a store of an earlier version: daemon::upgrade, and this walk over PostgreSQL",
    ),
    (
        "migration.begun",
        "needs a store of an earlier version: daemon::upgrade, and this walk over PostgreSQL",
    ),
    ("script.run", "needs a store of an earlier version: daemon::upgrade, and this walk over PostgreSQL"),
    ("lease.tick", "needs a store that workers share: this walk over PostgreSQL"),
    ("others.tick", "needs a store that workers share: this walk over PostgreSQL"),
    ("take_over.tick", "needs a store that workers share: this walk over PostgreSQL"),
];

/// How often each point is hit.
fn hits() -> usize {
    sized(3, 20)
}

/// How long the load is given to reach a point.
fn reach_limit() -> Duration {
    sized(Duration::from_secs(4), Duration::from_secs(20))
}

/// Every point that the sources name.
fn points() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    gather(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found
}

fn gather(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).expect("the sources can be read") {
        let path = entry.expect("the sources can be read").path();
        if path.is_dir() {
            gather(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).expect("the sources are text");
            for call in ["points::reach(\"", "points::pass(\""] {
                let names = text.split(call).skip(1).filter_map(|rest| rest.split('"').next());
                found.extend(names.map(str::to_owned));
            }
        }
    }
}

/// What became of one point.
struct Walk {
    point: String,
    figures: Figures,
    starts: Vec<Duration>,
}

#[test]
fn an_abort_at_any_point_loses_nothing_and_doubles_nothing() {
    let points = points();
    let here = if is_on_postgres() { OVER_POSTGRES } else { OVER_A_FILE };
    let listed: BTreeSet<&str> = ELSEWHERE.iter().chain(here).map(|(point, _)| *point).collect();
    let strangers: Vec<_> = listed.iter().filter(|point| !points.contains(**point)).collect();
    assert!(strangers.is_empty(), "no source names {strangers:?}");
    let mut todo: Vec<String> = points.into_iter().filter(|point| !listed.contains(point.as_str())).collect();
    assert!(todo.len() >= 30, "only {} points", todo.len());
    if let Some(only) = variable(ONLY) {
        todo.retain(|point| *point == only);
        assert!(!todo.is_empty(), "{ONLY}: no such point to walk: {only}");
    }
    let (count, todo) = (todo.len(), Mutex::new(todo));
    let (walks, failed) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..WALKERS {
            scope.spawn(|| {
                loop {
                    let next = todo.lock().expect("nobody panics while he holds this").pop();
                    let Some(point) = next else { return };
                    // One point that goes wrong does not hide what becomes of the others.
                    match catch_unwind(AssertUnwindSafe(|| walk(&point))) {
                        Ok(walk) => walks.lock().expect("nobody panics while he holds this").push(walk),
                        Err(_) => failed.lock().expect("nobody panics while he holds this").push(point),
                    }
                }
            });
        }
    });
    let (walks, failed) =
        (walks.into_inner().expect("all are done"), failed.into_inner().expect("all are done"));
    let broken: Vec<_> = walks.iter().filter(|walk| !walk.figures.breaches.is_empty()).collect();
    let sum = |number: fn(&Figures) -> usize| walks.iter().map(|walk| number(&walk.figures)).sum::<usize>();
    let starts: Vec<Duration> = walks.iter().flat_map(|walk| walk.starts.iter().copied()).collect();
    println!(
        "crash points: {count} points x {} hits, acknowledged {}, unknown {}, lost {}, doubled {}, holes {}, orphans {}, \
         broken rules {}, attempts {} ({} lost), starts {}, slowest ready {} ms",
        hits(),
        sum(|one| one.acknowledged),
        sum(|one| one.unknown.0),
        sum(|one| one.count(Promise::NothingLost)),
        sum(|one| one.count(Promise::NothingDoubled)),
        sum(|one| one.count(Promise::NoHole)),
        sum(|one| one.count(Promise::NoOrphan)),
        sum(|one| one.count(Promise::Order)),
        sum(|one| one.attempts),
        sum(|one| one.lost_attempts),
        starts.len(),
        starts.iter().max().map_or(0, Duration::as_millis),
    );
    for walk in &broken {
        println!("{}: {:#?}", walk.point, walk.figures.breaches);
    }
    assert!(broken.is_empty(), "broken promises at {} points", broken.len());
    assert_eq!(failed, Vec::<String>::new(), "these points were not walked to the end");
    check_starts(&starts);
}

fn walk(point: &str) -> Walk {
    let begun = now();
    let walk = if FIRST_START.contains(&point) { walk_first_start(point) } else { walk_under_load(point) };
    println!("{point}: {:.1} s", begun.elapsed().as_secs_f64());
    walk
}

fn trap(point: &str, count: usize) -> String {
    format!("{point}:{count}:abort")
}

fn assert_aborted(point: &str, ended: ExitStatus) {
    assert_eq!(ended.signal(), Some(SIGABRT), "at {point} the daemon ended otherwise: {ended}");
}

/// Each hit in a directory of its own.
fn walk_first_start(point: &str) -> Walk {
    let mut walk = Walk { point: point.to_owned(), figures: Figures::default(), starts: Vec::new() };
    for hit in 0..hits() {
        let mut daemon = Daemon::prepared(&[]);
        // A first start makes two files, or migrates two sets of tables, each in one go.
        let is_twice = ["file.", "migration."].iter().any(|start| point.starts_with(start));
        let count = if is_twice { 1 + hit % 2 } else { 1 };
        match daemon.try_start(&[(VARIABLE, &trap(point, count))]) {
            Err(ended) => assert_aborted(point, ended),
            Ok(_) => panic!("{point} was not reached by a first start"),
        }
        let ready = daemon.try_start(&[]).unwrap_or_else(|ended| panic!("after {point}: no start, {ended}"));
        walk.starts.push(ready);
        let load = Load::new(SystemRandom.hex(8), Duration::ZERO);
        load.set_up(&daemon);
        load.enqueue(&[load.job("one", "exit 0", json!({}))]);
        load.wind_up(&daemon, Vec::new(), PATIENCE);
        let trial = Trial {
            daemon: &daemon,
            ledger: &load.ledger,
            follower: None,
            mark: &load.mark,
            forgets: false,
            starts: &walk.starts,
        };
        let figures = trial.judge();
        walk.figures.acknowledged += figures.acknowledged;
        walk.figures.attempts += figures.attempts;
        walk.figures.breaches.extend(figures.breaches);
    }
    walk
}

/// All hits in one directory, under a load that goes on.
fn walk_under_load(point: &str) -> Walk {
    let forgets = point.starts_with("prune.");
    let flags: &[&str] =
        if forgets { &["--retention-succeeded", "1s", "--slots", "4"] } else { &["--slots", "4"] };
    let mut daemon = Daemon::prepared(flags);
    let mut starts = vec![daemon.try_start(&[]).expect("the daemon starts")];
    let load = Load::new(SystemRandom.hex(8), Duration::from_millis(100));
    load.set_up(&daemon);
    let witness = Witness::begin(&daemon);
    let clients = load.start(1);
    wait_rounds(&load, 2);
    daemon.kill9();
    for hit in 0..hits() {
        starts.extend(hit_once(&mut daemon, &load, point, hit));
    }
    let ready = daemon.try_start(&[]).unwrap_or_else(|ended| panic!("after {point}: no start, {ended}"));
    starts.push(ready);
    load.wind_up(&daemon, clients, Duration::from_secs(2));
    let (mut follower, start) = witness.end();
    let trial = Trial {
        daemon: &daemon,
        ledger: &load.ledger,
        follower: Some((&mut follower, &start)),
        mark: &load.mark,
        forgets,
        starts: &starts,
    };
    let figures = trial.judge();
    Walk { point: point.to_owned(), figures, starts }
}

/// Waits until the clients have done so many more rounds.
fn wait_rounds(load: &Load, more: usize) {
    let begun = (now(), load.rounds());
    while load.rounds() < begun.1 + more && begun.0.elapsed() < PATIENCE {
        span(Duration::from_millis(5));
    }
}

/// Waits until the clients have done one more round; whether the daemon aborted before.
fn has_aborted_within_a_round(daemon: &mut Daemon, load: &Load, point: &str) -> bool {
    let (begun, before) = (now(), load.rounds());
    while load.rounds() == before && begun.elapsed() < PATIENCE {
        if has_aborted(daemon, point, Duration::from_millis(5)) {
            return true;
        }
    }
    false
}

/// Starts the daemon with the trap until it has gone off: by the load, by a stop, or by the start after a kill. Gives
/// how long each start took that got as far as being ready.
fn hit_once(daemon: &mut Daemon, load: &Load, point: &str, hit: usize) -> Vec<Duration> {
    let is_once = ONCE.contains(&point) || point.starts_with("start.") || point.starts_with("stop.");
    let mut starts = Vec::new();
    // A start finds lost attempts only when one ran at the kill before it.
    let is_recovery = point.starts_with("recovery.");
    for turn in 0..if is_recovery { TRIES * 3 } else { TRIES } {
        // Where there are not so many passes in one life, the first one will do.
        let count = if is_once || turn >= 2 { 1 } else { hit + 1 };
        match daemon.try_start(&[(VARIABLE, &trap(point, count))]) {
            Err(ended) => {
                assert_aborted(point, ended);
                return starts;
            }
            Ok(took) => starts.push(took),
        }
        if !point.starts_with("stop.")
            && !point.starts_with("recovery.")
            && has_aborted(daemon, point, reach_limit())
        {
            return starts;
        }
        // The clients stand still when it goes off in the meantime.
        if has_aborted_within_a_round(daemon, load, point) {
            return starts;
        }
        if point.starts_with("stop.") || (turn % 2 == 1 && !is_recovery) {
            daemon.ask_to_stop();
            if has_aborted(daemon, point, PATIENCE) {
                return starts;
            }
        } else {
            daemon.kill9();
        }
    }
    panic!(
        "{point} was not reached in {TRIES} starts: list it in ELSEWHERE with the reason, or widen the load"
    )
}

/// Waits for the end of the daemon; whether it was the abort.
fn has_aborted(daemon: &mut Daemon, point: &str, limit: Duration) -> bool {
    let begun = now();
    while begun.elapsed() < limit {
        if let Some(ended) = daemon.has_ended() {
            if ended.success() {
                return false;
            }
            assert_aborted(point, ended);
            return true;
        }
        span(Duration::from_millis(5));
    }
    false
}
