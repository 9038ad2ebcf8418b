//! Random damage of the store's file and its journal, stopped and live: a start on it is refused with a clear word and
//! changes nothing, or it runs; a query that meets it is an error; nothing ever panics.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use beadle::base::environment::variable;
use beadle::base::random::{Random, SeededRandom, SystemRandom};
use serde_json::json;

use super::faults::{ForeignLock, Load};
use crate::support::daemon::Daemon;
use crate::support::length::sized;
use crate::support::wait::{PATIENCE, until};

/// The seed of this run; give one in `BEADLE_TEST_SEED` to repeat it.
fn seed() -> u64 {
    let given = variable("BEADLE_TEST_SEED").and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| {
        let mut bytes = [0u8; 8];
        SystemRandom.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    });
    println!("BEADLE_TEST_SEED={seed}");
    seed
}

/// A place in `0..end`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a random place need not be exact"
)]
fn place(random: &SeededRandom, end: u64) -> u64 {
    (random.unit() * end as f64) as u64
}

/// One damage of a file; says what was done.
fn damage(path: &Path, random: &SeededRandom) -> String {
    let file = fs::File::options().read(true).write(true).open(path).expect("the file is there");
    let length = file.metadata().expect("it is there").len();
    let mut bytes = vec![0; 64 + usize::try_from(place(random, 4_000)).expect("it is small")];
    random.fill(&mut bytes);
    let (at, what) = match place(random, 5) {
        0 => (place(random, length), "random bytes"),
        1 => (place(random, length / 4_096) * 4_096, "the beginning of a page"),
        2 => {
            bytes.fill(0);
            (place(random, length / 4_096) * 4_096, "zeros over a page")
        }
        3 => {
            bytes.truncate(1 + usize::try_from(place(random, 8)).expect("it is small"));
            (place(random, length), "a few bytes")
        }
        _ => {
            let end = place(random, length);
            file.set_len(end).expect("it can be cut");
            return format!("cut to {end} of {length}");
        }
    };
    file.write_all_at(&bytes, at).expect("it can be written");
    format!("{what}: {} at {at} of {length}", bytes.len())
}

fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let names = ["beadle.db", "logs.db"].map(str::to_owned);
    names
        .into_iter()
        .map(|name| (name.clone(), fs::read(directory.join(name)).expect("it is there")))
        .collect()
}

/// Looks at everything there is, and asks for something: each gets an answer. Gives how many are errors.
fn use_it(daemon: &Daemon) -> usize {
    let queries = [
        "mutation { jobEnqueue(input: {run: {command: {exec: {argv: [\"/bin/true\"]}}}}) { job { id } } }",
        "{ jobs(first: 200) { totalCount nodes { id state attempts { nodes { number outcome } } } } }",
        "{ events(first: 200) { events { cursor type data } } }",
        "{ tasks(first: 10) { nodes { name } } queues(first: 10) { nodes { name } } schedules(first: 10) { nodes { name } } }",
        "{ health { status } }",
    ];
    let mut errors = 0;
    for query in queries {
        let answer =
            daemon.send(query, &json!({})).unwrap_or_else(|why| panic!("{query}: {why}\n{}", daemon.log()));
        errors += usize::from(answer.get("errors").is_some());
    }
    errors
}

#[test]
fn a_start_on_a_damaged_store_is_refused_or_runs_and_never_panics_or_overwrites() {
    let random = SeededRandom::new(seed());
    let mut daemon = Daemon::prepared(&[]);
    daemon.start_or_words().unwrap_or_else(|words| panic!("{words}"));
    let clients = Load::start(&daemon, 2, Duration::ZERO);
    clients.until_done(60);
    let script =
        "i=0; while [ $i -lt 2000 ]; do echo line $i of a log that takes some room; i=$((i+1)); done";
    let id = daemon.enqueue(&["/bin/sh", "-c", script]);
    daemon.wait_final(&id);
    clients.stop();
    // A killed daemon leaves its journal.
    daemon.kill9();
    let whole = daemon.directory().join("whole");
    fs::rename(daemon.data(), &whole).unwrap();
    let copy = |to: &Path| {
        let _ = fs::remove_dir_all(to);
        fs::create_dir(to).unwrap();
        for name in ["beadle.db", "beadle.db-wal", "logs.db", "logs.db-wal", "admin.token", "spool"] {
            if whole.join(name).exists() {
                fs::copy(whole.join(name), to.join(name)).unwrap();
            }
        }
    };
    let (mut refused, mut ran, mut errors) = (0, 0, 0);
    for number in 0..sized(20, 80) {
        copy(&daemon.data());
        let name = ["beadle.db", "beadle.db-wal", "beadle.db", "logs.db"][number % 4];
        if number % 2 == 0 && name == "beadle.db" {
            // Everything in the file itself.
            ForeignLock::checkpoint(&daemon.data().join(name));
        }
        let what = damage(&daemon.data().join(name), &random);
        let before = contents(&daemon.data());
        if let Err(words) = daemon.start_or_words() {
            refused += 1;
            assert!(!words.contains("panicked"), "{name}, {what}: {words}");
            let last = words.lines().last().unwrap_or_default();
            assert!(last.contains(".db") || last.contains("data"), "{name}, {what}: no clear word: {words}");
            if last.contains("nothing was changed in it") {
                let after = contents(&daemon.data());
                let is_file = |file: &str| last.contains(&format!("/{file}:"));
                for (file, bytes) in before.iter().filter(|(file, _)| is_file(file)) {
                    assert!(after[file] == *bytes, "{name}, {what}: {file} was changed: {words}");
                }
            }
        } else {
            ran += 1;
            errors += use_it(&daemon);
            let log = daemon.log();
            assert!(!log.contains("panicked"), "{name}, {what}:\n{log}");
            daemon.kill9();
        }
    }
    println!(
        "{} damages: {refused} refused at the start, {ran} ran with {errors} queries in error, 0 panics",
        refused + ran
    );
}

#[test]
fn damage_under_a_running_daemon_is_found_and_nothing_panics() {
    let random = SeededRandom::new(seed());
    let (mut found, mut unnoticed) = (0, 0);
    for _ in 0..sized(4, 20) {
        let daemon = Daemon::start();
        let clients = Load::start(&daemon, 2, Duration::ZERO);
        clients.until_done(40);
        clients.stop();
        let file = daemon.data().join("beadle.db");
        ForeignLock::checkpoint(&file);
        let what = damage(&file, &random);
        // What the daemon holds in memory hides it for a while.
        let seen = (0..60).any(|_| use_it(&daemon) > 0);
        if seen {
            found += 1;
        } else {
            unnoticed += 1;
        }
        let log = daemon.log();
        assert!(!log.contains("panicked"), "{what}:\n{log}");
        assert!(get(&daemon, "/healthz").contains("ok"), "{what}: the daemon is gone");
    }
    println!(
        "{} damages under a running daemon: {found} found at once, {unnoticed} not met yet, 0 panics",
        found + unnoticed
    );
}

#[test]
fn a_store_whose_every_page_is_overwritten_is_found_damaged_and_changes_are_refused() {
    let daemon = Daemon::start();
    for number in 0..20 {
        daemon.enqueue(&["/bin/echo", &format!("{number}")]);
    }
    let file = daemon.data().join("beadle.db");
    ForeignLock::checkpoint(&file);
    let length = fs::metadata(&file).unwrap().len();
    let broken = fs::File::options().write(true).open(&file).unwrap();
    for page in 2..length / 4_096 {
        broken.write_all_at(&[0xA5; 4_096], page * 4_096).unwrap();
    }
    // Its own check comes now and then; who meets the damage before makes it come now. Not even a token can be looked
    // up any more: what is open to everybody tells.
    until("somebody to meet the damage", PATIENCE, || {
        use_it(&daemon);
        get(&daemon, "/readyz").contains("store is DOWN").then_some(())
    });
    until("the daemon to say what is damaged and what to do", PATIENCE, || {
        let log = daemon.log();
        (log.contains("beadle.db is damaged") || log.contains("STORE_DAMAGED")).then_some(())
    });
    assert!(use_it(&daemon) > 0, "changes are refused");
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}

/// The text of a path that needs no token.
fn get(daemon: &Daemon, path: &str) -> String {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let answer = agent.get(format!("{}{path}", daemon.url())).call();
    answer.ok().and_then(|mut answer| answer.body_mut().read_to_string().ok()).unwrap_or_default()
}
