//! A log store that is removed, locked or damaged: jobs go on and end as they would, output that cannot be kept is
//! counted and told in the log, and the log store is back by itself.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use serde_json::json;

use super::faults::{BACK_LIMIT, ForeignLock, row, state, status, until_down};
use crate::support::daemon::{Daemon, string};
use crate::support::wait::{PATIENCE, now, until};

/// A job that prints all the time, for about so many seconds.
fn talker(daemon: &Daemon, tenths: usize) -> String {
    let script =
        format!("i=0; while [ $i -lt {tenths} ]; do echo line $i; i=$((i+1)); sleep 0.1; done; exit 6");
    let id = daemon.enqueue(&["/bin/sh", "-c", &script]);
    until("the job to run", PATIENCE, || (state(daemon, &id) == "RUNNING").then_some(()));
    id
}

/// The job has ended as it would without the fault; gives the bytes that it printed and those that were not kept.
fn ended(daemon: &Daemon, id: &str) -> (i64, i64) {
    let job = daemon.wait_final(id).job;
    assert_eq!(job["failure"]["exitCode"], json!(6), "{job}");
    let query = "query ($id: ID!) { job(id: $id) { attempts { nodes { logBytes droppedLogBytes } } } }";
    let answer = daemon.graphql(query, json!({ "id": id }));
    let attempt = &answer["job"]["attempts"]["nodes"][0];
    let number = |name: &str| attempt[name].as_i64().or_else(|| attempt[name].as_str()?.parse().ok());
    (number("logBytes").expect("a number"), number("droppedLogBytes").expect("a number"))
}

/// The log store is well again, and keeps what a job prints.
fn until_kept(daemon: &Daemon) -> Duration {
    let began = now();
    until("the log store to be back by itself", BACK_LIMIT, || {
        (status(daemon, "logs") == "OK").then_some(())
    });
    let took = began.elapsed();
    let id = daemon.enqueue(&["/bin/echo", "kept again"]);
    let lines = daemon.wait_final(&id).lines;
    assert!(lines.iter().any(|(_, text)| text == "kept again"), "{lines:?}");
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
    took
}

#[test]
fn a_log_store_that_is_removed_is_begun_anew_and_no_job_notices() {
    let daemon = Daemon::start();
    let first = talker(&daemon, 3);
    ended(&daemon, &first);
    // Some of it stands in the file, and some in its journal.
    ForeignLock::checkpoint(&daemon.data().join("logs.db"));
    let second = talker(&daemon, 3);
    ended(&daemon, &second);
    let id = talker(&daemon, 30);
    fs::remove_file(daemon.data().join("logs.db")).unwrap();
    until("the log store to be noticed and made anew", BACK_LIMIT, || {
        (daemon.data().join("logs.db").exists() && daemon.log().contains("was opened anew")).then_some(())
    });
    let back = until_kept(&daemon);
    let (bytes, dropped) = ended(&daemon, &id);
    assert_eq!(status(&daemon, "store"), "OK", "the state is not touched");
    for gone in [first, second] {
        assert_eq!(
            lines(&daemon, &gone),
            Vec::<String>::new(),
            "nothing of the old journal is in the new file"
        );
    }
    println!("log store removed: back within {} ms, {dropped} of {bytes} bytes not kept", back.as_millis());
}

#[test]
fn a_log_store_that_is_removed_from_a_dead_daemon_is_begun_anew_without_its_journal() {
    let mut daemon = Daemon::start();
    let file = daemon.data().join("logs.db");
    let id = talker(&daemon, 3);
    ended(&daemon, &id);
    // All of it stands in the journal.
    daemon.kill9();
    assert!(daemon.data().join("logs.db-wal").exists());
    fs::remove_file(&file).unwrap();
    // The second start looks whether all pages of the new file are its own.
    for _ in 0..2 {
        daemon.restart();
        until_kept(&daemon);
        daemon.kill9();
    }
    daemon.restart();
    assert_eq!(lines(&daemon, &id), Vec::<String>::new());
}

#[test]
fn a_log_store_that_is_locked_holds_up_no_job_and_its_loss_is_counted() {
    let daemon = Daemon::start();
    let id = talker(&daemon, 30);
    let lock = ForeignLock::take(&daemon.data().join("logs.db"));
    until_down(&daemon, "logs", "output is not kept");
    let (bytes, dropped) = ended(&daemon, &id);
    assert!(dropped > 0 && dropped <= bytes, "{dropped} of {bytes}");
    let begun = now();
    let other = daemon.enqueue(&["/bin/true"]);
    until("a job to end without a log store", PATIENCE, || {
        (state(&daemon, &other) == "SUCCEEDED").then_some(())
    });
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(7), "it took {took:?}");
    assert_eq!(status(&daemon, "store"), "OK", "the state is not touched");
    drop(lock);
    let back = until_kept(&daemon);
    println!(
        "log store locked: {dropped} of {bytes} bytes not kept, a job meanwhile took {} ms, back within {} ms",
        took.as_millis(),
        back.as_millis()
    );
}

#[test]
fn a_log_store_that_is_damaged_is_set_aside_and_output_goes_on_in_a_new_one() {
    let daemon = Daemon::start();
    let first = talker(&daemon, 3);
    ended(&daemon, &first);
    let file = daemon.data().join("logs.db");
    ForeignLock::checkpoint(&file);
    let length = fs::metadata(&file).unwrap().len();
    let broken = fs::File::options().write(true).open(&file).unwrap();
    for page in 1..length / 4_096 {
        broken.write_all_at(&[0xA5; 4_096], page * 4_096).unwrap();
    }
    let aside = || {
        let entries = fs::read_dir(daemon.data()).unwrap();
        let mut names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        names.find(|name| name.starts_with("logs.db.damaged-"))
    };
    until("the damage to be met and set aside", PATIENCE, || {
        // What a cache still holds is not read again: new output needs new pages.
        let id = talker(&daemon, 2);
        ended(&daemon, &id);
        aside()
    });
    let back = until_kept(&daemon);
    assert_eq!(status(&daemon, "store"), "OK", "the state is not touched");
    println!("log store damaged: set aside as {}, back within {} ms", aside().unwrap(), back.as_millis());
    assert!(string(&row(&daemon, "logs").unwrap()["message"]).is_empty());
}

/// The lines of the job's log as they are in the store.
fn lines(daemon: &Daemon, id: &str) -> Vec<String> {
    let query = "query ($id: ID!) { job(id: $id) { log(first: 10) { lines { text } } } }";
    let answer = daemon.graphql(query, json!({ "id": id }));
    let lines = answer["job"]["log"]["lines"].as_array().cloned().unwrap_or_default();
    lines.iter().map(|line| string(&line["text"])).collect()
}

/// A job that is over while the log store is locked: neither its last line nor the end of its log could be written.
fn cut_off(daemon: &Daemon) -> (String, ForeignLock) {
    let gate = daemon.directory().join("gate");
    let script =
        format!("echo kept; until [ -e {} ]; do sleep 0.05; done; echo lost; exit 6", gate.display());
    let id = daemon.enqueue(&["/bin/sh", "-c", &script]);
    until("its first line to be kept", PATIENCE, || (lines(daemon, &id) == ["kept"]).then_some(()));
    let lock = ForeignLock::take(&daemon.data().join("logs.db"));
    fs::write(&gate, "").expect("our own directory");
    let (bytes, dropped) = ended(daemon, &id);
    assert!(bytes == 10 && dropped >= 5, "{dropped} of {bytes}");
    assert_eq!(lines(daemon, &id), ["kept"]);
    (id, lock)
}

/// The log has its end, which tells the gap.
fn until_told(daemon: &Daemon, id: &str) {
    until("the gap to be told behind the last line", PATIENCE, || {
        (lines(daemon, id) == ["kept", "5 bytes of output were not kept"]).then_some(())
    });
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}

#[test]
fn the_end_of_a_log_that_could_not_be_written_is_written_once_the_log_store_is_back() {
    let daemon = Daemon::start();
    let (id, lock) = cut_off(&daemon);
    drop(lock);
    // Nothing else is printed: it is tried again by itself.
    until_told(&daemon, &id);
}

#[test]
fn a_log_that_a_killed_daemon_left_without_an_end_gets_one_after_the_next_start() {
    let mut daemon = Daemon::start();
    let (id, lock) = cut_off(&daemon);
    daemon.kill9();
    drop(lock);
    daemon.restart();
    until_told(&daemon, &id);
}
