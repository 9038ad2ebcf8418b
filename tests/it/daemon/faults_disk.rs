//! A full disk, a file size limit, a foreign lock, and a daemon that dies while its store is held: new work is refused
//! with a clear word, running jobs end, their results wait, and all is as before once the fault is over.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use beadle::base::clock::Timestamp;
use serde_json::json;

use super::faults::{
    AT_ONCE, Figures, ForeignLock, Load, Told, ask, check, has, row, settle, state, status, until_back,
    until_down,
};
use crate::support::daemon::{Daemon, string};
use crate::support::length::sized;
use crate::support::wait::{PATIENCE, now, span, until};

const PACE: Duration = Duration::from_millis(20);

/// The small disk hides what stood below it: the token is carried over.
const MOUNT: &str = "token=$(cat \"$1/admin.token\") && mount -t tmpfs -o size=24m none \"$1\" && chmod 700 \"$1\" && \
(umask 077 && echo \"$token\" > \"$1/admin.token\") && shift && exec \"$@\"";

/// Starts a daemon whose data directory is a small disk of its own. `None`: not possible here.
fn on_small_disk(flags: &[&str]) -> Option<(Daemon, PathBuf)> {
    if !has(&["unshare", "--map-root-user", "--mount", "true"]) {
        return None;
    }
    let mut daemon = Daemon::prepared(flags);
    fs::create_dir(daemon.data()).expect("an empty directory");
    fs::write(daemon.data().join("admin.token"), "0123456789abcdef0123456789abcdef\n").expect("a small file");
    daemon.wrap(&["unshare", "--map-root-user", "--mount", "/bin/sh", "-c", MOUNT, "sh", "DATA"]);
    daemon.start_or_words().unwrap_or_else(|words| panic!("{words}"));
    let inside = format!("/proc/{}/root{}", daemon.pid(), daemon.data().display());
    Some((daemon, PathBuf::from(inside)))
}

/// Fills the disk to its last byte; what is given removes the filling.
fn fill(disk: &std::path::Path) -> PathBuf {
    let path = disk.join("filling");
    let mut file = File::create(&path).expect("the disk is not full yet");
    let block = vec![1; 4_096];
    while file.write_all(&block).is_ok() {}
    path
}

#[test]
fn a_full_disk_refuses_new_work_keeps_every_result_and_goes_on_when_there_is_room() {
    // The reserve refuses early; without it the disk is full to the last byte.
    let mut figures = Figures::default();
    for flags in [[].as_slice(), &["--min-free", "0B"]] {
        let Some((daemon, disk)) = on_small_disk(flags) else { return };
        for round in 0..sized(1, 10) {
            let clients = Load::start(&daemon, 2, PACE);
            clients.until_done(20);
            let script = "echo begun; sleep 1.5; echo ended; exit 3";
            let running = daemon.enqueue(&["/bin/sh", "-c", script]);
            until("the job to run", PATIENCE, || (state(&daemon, &running) == "RUNNING").then_some(()));
            let filling = fill(&disk);
            clients.until_troubled(5);
            let begun = now();
            let told = ask(daemon.address(), daemon.token(), "when-full", &["/bin/true"]);
            assert!(begun.elapsed() < AT_ONCE, "it took {:?} to refuse", begun.elapsed());
            assert!(matches!(&told, Told::Refused(why) if why.starts_with("STORE_FULL")), "{told:?}");
            let count = daemon.graphql("{ jobs(first: 1) { totalCount } }", json!({}));
            assert!(count["jobs"]["totalCount"].is_i64(), "reads go on: {count}");
            // Long enough for the job to end meanwhile.
            span(Duration::from_secs(4));
            fs::remove_file(&filling).expect("the filling is there");
            let back = until_back(&daemon, &format!("back-{round}"));
            let ended = daemon.wait_final(&running);
            assert_eq!(ended.job["failure"]["exitCode"], json!(3), "its own result: {}", ended.job);
            let mut ledger = clients.stop();
            ledger.done.insert("running".to_owned(), running);
            figures.add(&check(&daemon, &ledger, back));
        }
    }
    figures.print("disk full");
}

#[test]
fn a_file_size_limit_does_not_end_the_daemon_and_is_over_when_it_is_lifted() {
    let mut daemon = Daemon::prepared(&[]);
    daemon.wrap(&["/bin/sh", "-c", "ulimit -S -f 6000 && exec \"$@\"", "sh"]);
    daemon.start_or_words().unwrap_or_else(|words| panic!("{words}"));
    let large = "x".repeat(100_000);
    let mut answered = 0;
    let why = loop {
        assert!(answered < 500, "the limit is never reached");
        match ask(daemon.address(), daemon.token(), &format!("large-{answered}"), &["/bin/true", &large]) {
            Told::Done(..) => answered += 1,
            Told::Refused(why) | Told::Unknown(why) => break why,
        }
    };
    let pid = rustix::process::Pid::from_raw(i32::try_from(daemon.pid()).unwrap());
    let none = rustix::process::Rlimit { current: None, maximum: None };
    let set = rustix::process::prlimit(pid, rustix::process::Resource::Fsize, none);
    set.expect("the soft limit of our own child can be raised");
    let clients = Load::start(&daemon, 1, PACE);
    let back = until_back(&daemon, "back");
    clients.until_done(5);
    check(&daemon, &clients.stop(), back);
    println!(
        "file size limit: {answered} acknowledged before it, then {why}; back in {} ms",
        back.as_millis()
    );
}

#[test]
fn a_foreign_lock_is_waited_for_then_refused_and_results_wait_for_its_end() {
    let daemon = Daemon::start();
    let clients = Load::start(&daemon, 2, PACE);
    clients.until_done(10);
    let running = daemon.enqueue(&["/bin/sh", "-c", "sleep 3; exit 4"]);
    until("the job to run", PATIENCE, || (state(&daemon, &running) == "RUNNING").then_some(()));
    let lock = ForeignLock::take(&daemon.data().join("beadle.db"));
    let locked_at = now();
    let first = ask(daemon.address(), daemon.token(), "first", &["/bin/true"]);
    let waited = now().duration_since(locked_at);
    assert!(matches!(&first, Told::Refused(why) if why.starts_with("STORE_LOCKED")), "{first:?}");
    assert!((Duration::from_secs(2)..Duration::from_secs(12)).contains(&waited), "it waited {waited:?}");
    until_down(&daemon, "store", "STORE_LOCKED");
    let begun = now();
    let second = ask(daemon.address(), daemon.token(), "second", &["/bin/true"]);
    let at_once = begun.elapsed();
    assert!(matches!(second, Told::Refused(_)) && at_once < AT_ONCE, "{second:?} after {at_once:?}");
    assert_eq!(state(&daemon, &running), "RUNNING", "reads go on, and the result waits");
    let hold = sized(Duration::from_secs(8), Duration::from_secs(30));
    span(hold.saturating_sub(now().duration_since(locked_at)));
    drop(lock);
    let back = until_back(&daemon, "back");
    let ended = daemon.wait_final(&running);
    assert_eq!(ended.job["failure"]["exitCode"], json!(4), "{}", ended.job);
    let query =
        "query ($id: ID!) { job(id: $id) { startedAt finishedAt attempts { nodes { finishedAt } } } }";
    let job = daemon.graphql(query, json!({ "id": running }))["job"].take();
    let at = |instant: &serde_json::Value| Timestamp::parse(&string(instant)).expect("an instant");
    let ran = at(&job["finishedAt"]).since(at(&job["startedAt"]));
    println!("foreign lock: a job of 3 s ran {ran:?}, and its end was stored later");
    assert!((Duration::from_secs(3)..Duration::from_secs(5)).contains(&ran), "{job}");
    assert_eq!(job["attempts"]["nodes"][0]["finishedAt"], job["finishedAt"], "{job}");
    let mut ledger = clients.stop();
    ledger.done.insert("running".to_owned(), running);
    let figures = check(&daemon, &ledger, back);
    figures.print(&format!(
        "foreign lock of {hold:?}, first refused after {waited:?}, later within {at_once:?}"
    ));
}

#[test]
fn a_result_survives_the_death_of_a_daemon_whose_store_could_not_take_it() {
    let mut daemon = Daemon::start();
    let script = r#"printf '{"output":{"rows":7}}\n' >"$BEADLE_REPORT"; sleep 2; exit 0"#;
    let jobs: Vec<String> = (0..3).map(|_| daemon.enqueue(&["/bin/sh", "-c", script])).collect();
    until("the jobs to run", PATIENCE, || {
        jobs.iter().all(|job| state(&daemon, job) == "RUNNING").then_some(())
    });
    let lock = ForeignLock::take(&daemon.data().join("beadle.db"));
    // The spool is 1 MiB of room from the beginning; what is in it begins behind its header.
    let spool = daemon.data().join("spool");
    until("every result to be in the spool", PATIENCE, || {
        let text = fs::read(&spool).ok()?;
        let count = text.windows(7).filter(|part| *part == b"{\"End\":").count();
        (count == jobs.len()).then_some(())
    });
    daemon.kill9();
    drop(lock);
    daemon.restart();
    for job in &jobs {
        let ended = daemon.wait_final(job);
        assert_eq!(ended.job["state"], json!("SUCCEEDED"), "{}", ended.job);
    }
    settle(&daemon, &jobs.into_iter().collect());
    assert_eq!(status(&daemon, "store"), "OK");
    assert!(string(&row(&daemon, "store").unwrap()["message"]).is_empty());
}
