//! A full disk loses nothing that was answered, and work goes on once there is room.
//! The small disk is a tmpfs in a mount namespace of a child of ours, so that it goes with that child.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use beadle::base::clock::FakeClock;
use beadle::base::environment::variable;
use beadle::base::random::SeededRandom;
use beadle::base::task;
use beadle::domain::command::Command;
use beadle::domain::new_job::NewJob;
use beadle::store::writer::{Probe, Refusal};
use beadle::store::{FaultKind, Store};

use super::stage::{T0, block_on, enqueue, new_job};
use crate::support::program::{program, shown};

/// Where the child finds the small disk.
const DISK: &str = "BEADLE_TEST_FULL_DISK";
const MOUNT: &str = "mount -t tmpfs -o size=8m none \"$1\" && shift && exec \"$@\"";

#[test]
fn a_full_disk_loses_no_answered_change_and_work_goes_on_once_there_is_room() {
    if let Some(disk) = variable(DISK) {
        return block_on(fill(Path::new(&disk)));
    }
    let disk = tempfile::tempdir().unwrap();
    let inside = |command: &[&str]| {
        let mut child = program("unshare");
        child.args(["--map-root-user", "--mount", "/bin/sh", "-c", MOUNT, "sh"]).arg(disk.path());
        child.args(command).env(DISK, disk.path()).output()
    };
    match inside(&["true"]) {
        Ok(probe) if probe.status.success() => {}
        Ok(probe) => return println!("skipped: this machine gives no mount namespace: {}", shown(&probe)),
        Err(why) => return println!("skipped: there is no `unshare` here: {why}"),
    }
    let own = std::env::current_exe().unwrap().display().to_string();
    let name = "store::full_disk::a_full_disk_loses_no_answered_change_and_work_goes_on_once_there_is_room";
    let run = inside(&[&own, "--exact", name, "--nocapture"]).unwrap();
    assert!(run.status.success(), "{}", shown(&run));
    assert!(String::from_utf8_lossy(&run.stdout).contains("1 passed"), "{}", shown(&run));
}

async fn fill(disk: &Path) {
    let ballast = disk.join("ballast");
    fs::write(&ballast, vec![0; 5_500_000]).expect("the disk is empty");
    let clock = Arc::new(FakeClock::new(T0));
    let store = Store::open_directory(&disk.join("data"), clock.as_ref(), &SeededRandom::new(1)).await;
    let store = store.expect("there is room for an empty store");
    let (writer, mut turns) = store.writer(clock.clone());
    let turning = task::spawn(async move { turns.run().await });
    let large = || {
        let command = Command { argv: vec!["x".repeat(60_000)], ..Command::none() };
        enqueue(vec![NewJob { command, ..new_job() }])
    };
    let mut answered = Vec::new();
    let fault = loop {
        assert!(answered.len() < 100, "the disk is never full");
        match writer.apply(large()).await {
            Ok(committed) => answered.push(committed.answer[0].clone().expect("the job is good").id),
            Err(Refusal::Fault(fault)) => break fault,
            Err(Refusal::Rejected(rejection)) => panic!("{}", rejection.message),
        }
    };
    assert_eq!(fault.kind, FaultKind::Full, "{fault}");
    assert!(!answered.is_empty(), "some jobs fitted");
    assert!(writer.trouble().borrow().is_some(), "the trouble is told");
    let reader = store.reader();
    assert_eq!(reader.jobs_by_id(&answered).await.expect("reads go on").len(), answered.len());
    assert!(writer.apply(large()).await.is_err(), "it is still full");
    fs::remove_file(&ballast).expect("the ballast is there");
    assert!(writer.apply(large()).await.is_err(), "nothing is tried before a probe");
    writer.apply(Probe).await.expect("there is room again");
    let again = writer.apply(large()).await.expect("there is room again");
    assert!(writer.trouble().borrow().is_none(), "the trouble is over");
    answered.push(again.answer[0].clone().expect("the job is good").id);
    let kept = reader.jobs_by_id(&answered).await.expect("reads go on");
    assert_eq!(kept.len(), answered.len());
    let counts = reader.count_all_jobs().await.expect("reads go on").counts;
    let rows: i64 = counts.values().sum();
    assert_eq!(usize::try_from(rows).ok(), Some(answered.len()), "nothing of the failed changes was kept");
    drop(writer);
    turning.await.expect("the writer ends in order");
    store.close().await;
    let store = Store::open_directory(&disk.join("data"), clock.as_ref(), &SeededRandom::new(1)).await;
    let reader = store.expect("the store is whole").reader();
    assert_eq!(reader.jobs_by_id(&answered).await.expect("reads go on").len(), answered.len());
}
