//! The store's files removed, renamed or replaced under a running daemon: nothing is acknowledged into a file that has
//! lost its name, running jobs end, and nothing is lost when the file comes back, or its rescued copy takes its place.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::faults::{Figures, Load, Told, ask, check, settle, state, until_back, until_down};
use crate::support::daemon::Daemon;
use crate::support::sse::End;
use crate::support::wait::{PATIENCE, now, span, until};

const PACE: Duration = Duration::from_millis(10);
/// No acknowledgement comes later than this after the file is gone.
const LAST_ANSWER: Duration = Duration::from_secs(3);

/// Does something to the files under load, and checks that answers stop in time.
fn strike(daemon: &Daemon, what: &str, deed: impl FnOnce()) -> super::faults::Running {
    let clients = Load::start(daemon, 2, PACE);
    clients.until_done(20);
    let struck_at = now();
    deed();
    clients.until_troubled(5);
    until_down(daemon, "store", "STORE_REPLACED");
    span(LAST_ANSWER);
    let late = clients.last_done_at().map(|at| at.saturating_duration_since(struck_at)).unwrap_or_default();
    assert!(late < LAST_ANSWER, "{what}: an answer came {late:?} after it");
    println!("{what}: the last acknowledgement came {} ms after it", late.as_millis());
    clients
}

#[test]
fn a_store_that_is_renamed_away_and_back_goes_on_and_has_lost_nothing() {
    let daemon = Daemon::start();
    let mut figures = Figures::default();
    let data = daemon.data();
    let moved = daemon.directory().join("aside");
    for name in ["beadle.db", "beadle.db-wal", ""] {
        let path = if name.is_empty() { data.clone() } else { data.join(name) };
        let rename = |from: &Path, to: &Path| fs::rename(from, to).expect("one file system");
        let feed = daemon.subscribe("subscription { events { cursor } }", &json!({}));
        let clients = strike(&daemon, &format!("rename of {}", path.display()), || rename(&path, &moved));
        let is_closed = |mut feed: crate::support::sse::Sse| {
            until("the subscription to be closed with a code", PATIENCE, || {
                let message = feed.next_within(Duration::from_millis(100));
                match message {
                    Ok(message) if message.result.get("errors").is_some() => {
                        Some(message.result["errors"][0]["extensions"]["code"].clone())
                    }
                    Err(End::Complete | End::Closed) => panic!("it was closed without a word"),
                    _ => None,
                }
            })
        };
        assert_eq!(is_closed(feed), json!("UNAVAILABLE"));
        rename(&moved, &path);
        let back = until_back(&daemon, &format!("back-{name}"));
        clients.until_done(5);
        figures.add(&check(&daemon, &clients.stop(), back));
    }
    figures.print("renamed and back");
}

/// The file that the daemon has saved.
fn rescued(daemon: &Daemon) -> PathBuf {
    let entries =
        fs::read_dir(daemon.data()).expect("it is there").map(|entry| entry.expect("it is there").path());
    let is_copy = |path: &PathBuf| {
        let name = path.display().to_string();
        name.contains("beadle.db.rescued-") && !name.contains(".old-")
    };
    entries.filter(is_copy).max().expect("it was saved")
}

#[test]
fn a_store_that_is_removed_is_rescued_and_never_replaced_by_an_empty_one() {
    let mut daemon = Daemon::start();
    let running = daemon.enqueue(&["/bin/sh", "-c", "sleep 4; exit 5"]);
    until("the job to run", PATIENCE, || (state(&daemon, &running) == "RUNNING").then_some(()));
    let file = daemon.data().join("beadle.db");
    let clients = strike(&daemon, "removal", || fs::remove_file(&file).expect("it is there"));
    until_down(&daemon, "store", "beadle.db.rescued-");
    let mut ledger = clients.stop();
    // Killed: its journal must not be taken for that of the rescued one.
    until("the result of the job to be kept", PATIENCE, || {
        let spool = fs::read(daemon.data().join("spool")).ok()?;
        String::from_utf8_lossy(&spool).contains("\"exit_code\":5").then_some(())
    });
    daemon.kill9();
    let words = daemon.start_or_words().expect_err("a new store would hide the loss");
    assert!(words.contains("is gone, but") && words.contains("rescued"), "{words}");
    fs::rename(rescued(&daemon), &file).unwrap();
    let began = now();
    daemon.start_or_words().unwrap_or_else(|words| panic!("{words}"));
    let back = began.elapsed();
    let ended = daemon.wait_final(&running);
    assert_eq!(ended.job["failure"]["exitCode"], json!(5), "its result was in the spool: {}", ended.job);
    ledger.done.insert("running".to_owned(), running);
    check(&daemon, &ledger, back).print("removed and rescued");
}

#[test]
fn a_store_that_is_replaced_by_another_file_takes_nothing_more() {
    let mut daemon = Daemon::start();
    let file = daemon.data().join("beadle.db");
    let clients = strike(&daemon, "replacement", || {
        let copy = file.with_extension("copy");
        fs::copy(&file, &copy).unwrap();
        fs::rename(&copy, &file).unwrap();
    });
    let told = ask(daemon.address(), daemon.token(), "late", &["/bin/true"]);
    assert!(matches!(&told, Told::Refused(why) if why.starts_with("STORE_REPLACED")), "{told:?}");
    let count = daemon.graphql("{ jobs(first: 1) { totalCount } }", json!({}));
    assert!(count["jobs"]["totalCount"].is_i64(), "reads go on as well as they can: {count}");
    until_down(&daemon, "store", ".rescued-");
    let ledger = clients.stop();
    daemon.terminate();
    fs::rename(rescued(&daemon), &file).unwrap();
    daemon.start_or_words().unwrap_or_else(|words| panic!("{words}"));
    settle(&daemon, &ledger.done.values().cloned().collect());
    check(&daemon, &ledger, Duration::ZERO).print("replaced and rescued");
}

#[test]
fn a_store_that_is_put_back_after_its_rescue_goes_on_without_a_restart() {
    let mut daemon = Daemon::start_in_environment(&[
        // The first try to save it fails.
        ("BEADLE_TEST_POINTS", "rescue.save:1:fail"),
        ("BEADLE_TEST_RESCUE_AGAIN_MS", "2000"),
    ]);
    let (file, moved) = (daemon.data().join("beadle.db"), daemon.directory().join("aside"));
    let clients = strike(&daemon, "rename", || fs::rename(&file, &moved).expect("one file system"));
    until_down(&daemon, "store", "which is tried again");
    until_down(&daemon, "store", "beadle.db.rescued-");
    until_down(&daemon, "store", "put it back, and the daemon goes on");
    fs::rename(&moved, &file).expect("one file system");
    let back = until_back(&daemon, "back");
    clients.until_done(5);
    check(&daemon, &clients.stop(), back).print("put back after the rescue");
    // Put back only when the daemon has ended, it lacks its journal: that is not passed over.
    fs::remove_file(rescued(&daemon)).expect("it is there");
    let clients = strike(&daemon, "rename again", || fs::rename(&file, &moved).expect("one file system"));
    until_down(&daemon, "store", "beadle.db.rescued-");
    let ledger = clients.stop();
    daemon.kill9();
    fs::rename(&moved, &file).expect("one file system");
    let words = daemon.start_or_words().expect_err("what its journal holds would be lost");
    assert!(words.contains("without its journal"), "{words}");
    let journal =
        fs::read_dir(daemon.data()).expect("it is there").filter_map(|entry| Some(entry.ok()?.path()));
    let journal = journal.into_iter().find(|path| path.display().to_string().ends_with(".old-wal"));
    fs::rename(journal.expect("it was set aside"), daemon.data().join("beadle.db-wal")).expect("it is there");
    let began = now();
    daemon.start_or_words().unwrap_or_else(|words| panic!("{words}"));
    check(&daemon, &ledger, began.elapsed()).print("put back after the end");
}
