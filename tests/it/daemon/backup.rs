//! A backup is made while the daemon works, is whole or is not there, and comes back with everything that was answered
//! before it. What was told after it never comes to mean something else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::daemon::{Daemon, FINAL_STATES, beadle, send, string};
use crate::support::database::texts;
use crate::support::history::{faults, newest_cursor, read_all};
use crate::support::length::sized;
use crate::support::program::{program, program_path, shown};
use crate::support::wait::{PATIENCE, now, span, until};

/// Clients that enqueue meanwhile.
const CLIENTS: usize = 3;
/// No enqueue may wait longer than this because of a backup, on a machine that others use too.
const HOLD_UP_LIMIT: Duration = Duration::from_secs(3);

const ENQUEUE: &str = "mutation ($input: JobEnqueueInput!) {
  jobEnqueue(input: $input) { job { id } userErrors { code message } }
}";
const ENQUEUE_MANY: &str = "mutation ($input: JobEnqueueManyInput!) {
  jobEnqueueMany(input: $input) { results { job { id } userErrors { message } } }
}";
const JOB: &str = "query ($id: ID!) { job(id: $id) { state log(first: 5) { lines { text } } } }";

/// `beadle WORDS --data-dir DATA`, without a daemon's address.
fn offline(data: &Path, words: &[&str]) -> Output {
    let mut command = beadle();
    command.args(words).arg("--data-dir").arg(data);
    command.output().expect("the program starts")
}

fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", shown(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn refused(output: &Output, words: &str) {
    assert_eq!(output.status.code(), Some(1), "{}", shown(output));
    assert!(String::from_utf8_lossy(&output.stderr).contains(words), "no {words:?} in {}", shown(output));
}

fn name(path: &Path) -> &str {
    path.to_str().expect("a name of ours is UTF-8")
}

/// Fills the store with waiting jobs of some size, so that a backup takes its time.
fn fill(daemon: &Daemon, count: usize) {
    let argv = json!(["/bin/true", "x".repeat(4_000)]);
    let job = json!({"run": {"command": {"exec": {"argv": argv}}}, "isHeld": true});
    for _ in 0..count / 100 {
        daemon.graphql(ENQUEUE_MANY, json!({"input": {"jobs": vec![job.clone(); 100]}}));
    }
}

/// Enqueues until it is told to stop: each answered id with how long its answer took.
fn load(daemon: &Daemon, is_over: &AtomicBool, answered: &Mutex<Vec<(String, Duration)>>) {
    let input = json!({"run": {"command": {"exec": {"argv": ["/bin/echo", "kept"]}}}});
    while !is_over.load(Ordering::SeqCst) {
        let begun = now();
        let answer = send(daemon.address(), daemon.token(), ENQUEUE, &json!({ "input": input }));
        let id = string(&answer.expect("an answer")["data"]["jobEnqueue"]["job"]["id"]);
        assert!(!id.is_empty(), "refused");
        answered.lock().expect("no client panics while it holds this").push((id, begun.elapsed()));
        span(Duration::from_millis(2));
    }
}

fn told(what: &str, times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 100];
    println!(
        "{what}: {} enqueues, median {:?}, p99 {:?}, longest {:?}",
        times.len(),
        at(50),
        at(99),
        at(100)
    );
    at(100)
}

#[test]
fn a_backup_under_load_brings_back_every_job_that_was_answered_before_it() {
    let mut daemon = Daemon::start();
    fill(&daemon, sized(3_000, 50_000));
    let (is_over, answered) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let file = daemon.directory().join("all.tar");
    let count = || answered.lock().expect("a list").len();
    let (mut before, mut after) = (0, 0);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| load(&daemon, &is_over, &answered));
        }
        until("some jobs", PATIENCE, || (count() > 200).then_some(()));
        before = count();
        let begun = now();
        let output = daemon.cli(&["backup", name(&file), "--data-dir", name(&daemon.data())]);
        let took = begun.elapsed();
        after = count();
        until("some more jobs", PATIENCE, || (count() > after + 50).then_some(()));
        is_over.store(true, Ordering::SeqCst);
        let size = fs::metadata(&file).map_or(0, |found| found.len());
        println!("{} in {took:?}, {} KiB", done(&output).trim(), size >> 10);
    });
    let answered = answered.into_inner().expect("the clients are gone");
    let times: Vec<Duration> = answered.iter().map(|(_, took)| *took).collect();
    told("before the backup", &times[..before]);
    let longest = told("during the backup", &times[before..after.max(before + 1)]);
    assert!(longest < HOLD_UP_LIMIT, "the backup held an enqueue up for {longest:?}");
    let kept: BTreeSet<String> = answered[..before].iter().map(|(id, _)| id.clone()).collect();
    let later: BTreeSet<String> = answered[after..].iter().map(|(id, _)| id.clone()).collect();
    let cursor = newest_cursor(&daemon);
    daemon.kill9();
    // The machine is lost: another one gets the backup.
    let restored = Daemon::start_on(|data| {
        println!("{}", done(&offline(data, &["restore", name(&file)])));
    });
    check_restored(&restored, (&kept, &later), &cursor);
}

/// Everything that was answered before the backup is there and ends; nothing that came later is mistaken.
fn check_restored(daemon: &Daemon, (kept, later): (&BTreeSet<String>, &BTreeSet<String>), cursor: &str) {
    let mut texts = BTreeMap::new();
    for id in kept {
        let job = until("a job of the backup to end", PATIENCE, || {
            let job = daemon.graphql(JOB, json!({ "id": id }))["job"].take();
            assert!(job.is_object(), "{id} was answered before the backup, and is gone");
            FINAL_STATES.contains(&job["state"].as_str().unwrap_or_default()).then_some(job)
        });
        *texts.entry(job["log"]["lines"][0]["text"].to_string()).or_insert(0) += 1;
    }
    println!("{} jobs of the backup ended; what they wrote: {texts:?}", kept.len());
    let wrote = texts.get("\"kept\"").copied().unwrap_or(0);
    assert!(wrote > kept.len() / 2, "the logs are not there: {texts:?}");
    assert_eq!(faults(&read_all(daemon), kept), Vec::<String>::new());
    let query = "query ($after: EventCursor) { events(first: 1, after: $after) { cursor } }";
    let answer = daemon.send(query, &json!({ "after": cursor })).expect("an answer");
    assert_eq!(answer["errors"][0]["extensions"]["code"], json!("CURSOR_EXPIRED"), "{answer:#}");
    let fresh: BTreeSet<String> = (0..20).map(|_| daemon.enqueue(&["/bin/true"])).collect();
    assert!(fresh.is_disjoint(kept) && fresh.is_disjoint(later), "an id was given twice");
    assert!(later.iter().all(|id| daemon.graphql(JOB, json!({ "id": id }))["job"].is_null()));
    for id in &fresh {
        assert_eq!(daemon.wait_final(id).job["state"], json!("SUCCEEDED"));
    }
}

/// A small store with one job that has ended, and no daemon.
fn store_of_one() -> (Daemon, String) {
    let mut daemon = Daemon::start();
    let id = daemon.enqueue(&["/bin/echo", "kept"]);
    daemon.wait_final(&id);
    daemon.terminate();
    (daemon, id)
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).expect("a directory of ours");
    entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_backup_is_for_its_owner_only_and_replaces_nothing_unless_it_is_told_to() {
    let (daemon, _) = store_of_one();
    let place = TempDir::new().unwrap();
    let file = place.path().join("b.tar");
    fs::write(&file, "mine").unwrap();
    refused(&offline(&daemon.data(), &["backup", name(&file)]), "--force");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    let answer = done(&offline(&daemon.data(), &["backup", name(&file), "--force", "--json"]));
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let files: Vec<_> =
        answer["manifest"]["files"].as_array().unwrap().iter().map(|one| string(&one["name"])).collect();
    assert_eq!(
        (files, &answer["manifest"]["findings"]),
        (vec!["beadle.db".to_owned(), "logs.db".to_owned()], &json!([])),
        "{answer:#}"
    );
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(names(place.path()), BTreeSet::from(["b.tar".to_owned()]), "a draft was left");
    let secret = daemon.token().as_bytes();
    assert!(
        !fs::read(&file).unwrap().windows(secret.len()).any(|bytes| bytes == secret),
        "the token is in it"
    );

    let bare = place.path().join("bare.tar");
    done(&offline(&daemon.data(), &["backup", name(&bare), "--without-logs"]));
    assert!(fs::metadata(&bare).unwrap().len() < fs::metadata(&file).unwrap().len());
    let empty = place.path().join("no-store");
    fs::create_dir(&empty).unwrap();
    let nothing = offline(&empty, &["backup", name(&place.path().join("c.tar"))]);
    assert_eq!(nothing.status.code(), Some(1), "{}", shown(&nothing));
    assert!(
        !place.path().join("c.tar").exists() && names(&empty).is_empty(),
        "something was made of nothing"
    );
}

#[test]
fn a_backup_that_is_cut_off_leaves_no_file_and_the_next_one_clears_up() {
    let (daemon, _) = store_of_one();
    let place = TempDir::new().unwrap();
    let file = place.path().join("b.tar");
    let run = |points: &str| {
        let mut command = beadle();
        command.arg("backup").arg(&file).arg("--data-dir").arg(daemon.data());
        command.env("BEADLE_TEST_POINTS", points).output().expect("the program starts")
    };
    let cut = run("backup.written:1:abort");
    assert_eq!(cut.status.code(), None, "it was to abort: {}", shown(&cut));
    assert!(!file.exists());
    done(&run(""));
    assert_eq!(names(place.path()), BTreeSet::from(["b.tar".to_owned()]));
    // A name that is there is a whole backup, wherever it was cut off.
    let published = run("backup.published:1:abort");
    refused(&published, "--force");
    fs::remove_file(&file).unwrap();
    assert_eq!(run("backup.published:1:abort").status.code(), None);
    let other = place.path().join("data");
    done(&offline(&other, &["restore", name(&file)]));
}

#[test]
fn a_backup_that_was_cut_or_changed_is_refused_and_touches_nothing() {
    let (daemon, _) = store_of_one();
    let place = TempDir::new().unwrap();
    let file = place.path().join("b.tar");
    done(&offline(&daemon.data(), &["backup", name(&file)]));
    let whole = fs::read(&file).unwrap();
    let spoiled = place.path().join("spoiled.tar");
    let data = place.path().join("data");
    let mut flipped = whole.clone();
    flipped[whole.len() / 3] ^= 1;
    let mut cases: Vec<Vec<u8>> = vec![Vec::new(), b"no backup".to_vec(), flipped];
    cases
        .extend([100, 512, 700, whole.len() / 2, whole.len() - 2_000].map(|length| whole[..length].to_vec()));
    let count = cases.len();
    for bytes in cases {
        fs::write(&spoiled, &bytes).unwrap();
        let output = offline(&data, &["restore", name(&spoiled)]);
        refused(&output, "nothing was touched");
        assert_eq!(names(&data), BTreeSet::from(["beadle.lock".to_owned()]), "{} bytes", bytes.len());
    }
    println!("{count} spoiled backups refused");
    done(&offline(&data, &["restore", name(&file)]));
}

#[test]
fn a_restore_is_refused_over_a_daemon_or_a_store_and_moves_it_aside_when_it_is_told_to() {
    let (mut daemon, id) = store_of_one();
    let file = daemon.directory().join("b.tar");
    done(&offline(&daemon.data(), &["backup", name(&file)]));
    daemon.restart();
    let later = daemon.enqueue(&["/bin/true"]);
    daemon.wait_final(&later);
    for words in [&["restore", name(&file)][..], &["restore", name(&file), "--force"]] {
        refused(&offline(&daemon.data(), words), &format!("in use by process {}", daemon.pid()));
    }
    assert!(daemon.graphql(JOB, json!({ "id": later }))["job"].is_object());
    // Killed, so that it leaves a journal: alone it would be played into the restored file.
    daemon.kill9();
    refused(&offline(&daemon.data(), &["restore", name(&file)]), "--force");
    let said = done(&offline(&daemon.data(), &["restore", name(&file), "--force"]));
    let aside: Vec<PathBuf> =
        said.lines().filter_map(|line| line.strip_prefix("moved aside  ")).map(PathBuf::from).collect();
    assert!(aside.len() >= 2 && aside.iter().all(|path| path.exists()), "{said}");
    daemon.restart();
    assert_eq!(daemon.graphql(JOB, json!({ "id": id }))["job"]["log"]["lines"][0]["text"], json!("kept"));
    assert!(daemon.graphql(JOB, json!({ "id": later }))["job"].is_null(), "it came after the backup");
    let old =
        aside.iter().find(|path| name(path).ends_with('Z') && name(path).contains("beadle.db")).unwrap();
    assert_eq!(texts(old, "SELECT 'job_' || id FROM jobs ORDER BY id DESC LIMIT 1"), [later.as_str()]);
    // The way back: what the journal beside it holds comes along.
    assert!(daemon.terminate().success());
    done(&offline(&daemon.data(), &["restore", name(old), "--force"]));
    daemon.restart();
    assert!(daemon.graphql(JOB, json!({ "id": later }))["job"].is_object());
}

#[test]
fn a_backup_without_logs_does_not_get_those_of_another_store() {
    let (daemon, id) = store_of_one();
    let file = daemon.directory().join("b.tar");
    done(&offline(&daemon.data(), &["backup", name(&file), "--without-logs"]));
    let (mut other, same_id) = store_of_one();
    assert_eq!(same_id, id, "the same numbers mean other jobs there");
    fs::remove_file(other.data().join("beadle.db")).unwrap();
    refused(&offline(&other.data(), &["restore", name(&file)]), "logs.db is there already");
    let said = done(&offline(&other.data(), &["restore", name(&file), "--force"]));
    assert!(said.contains("logs.db.before-restore-"), "{said}");
    other.restart();
    let job = other.graphql(JOB, json!({ "id": id }))["job"].take();
    assert_eq!((&job["state"], &job["log"]["lines"]), (&json!("SUCCEEDED"), &json!([])), "{job}");
    // Those of its own directory are its own.
    let said = done(&offline(&daemon.data(), &["restore", name(&file), "--force"]));
    assert!(!said.contains("logs.db"), "{said}");
}

#[test]
fn a_number_that_was_given_behind_a_backup_is_never_given_again() {
    let mut daemon = Daemon::start();
    let file = daemon.directory().join("b.tar");
    // Of a store in which nothing ran yet.
    done(&offline(&daemon.data(), &["backup", name(&file), "--without-logs"]));
    let mut given = BTreeSet::new();
    let attempts = "query ($id: ID!) { job(id: $id) { attempts { nodes { id } } } }";
    for round in 0..3 {
        let id = daemon.enqueue(&["/bin/echo", &format!("of round {round}")]);
        daemon.wait_final(&id);
        let job = daemon.graphql(attempts, json!({ "id": id }));
        let attempt = string(&job["job"]["attempts"]["nodes"][0]["id"]);
        let lines = daemon.graphql(JOB, json!({ "id": id }))["job"]["log"]["lines"].take();
        assert_eq!(lines, json!([{ "text": format!("of round {round}") }]), "{id}, {attempt}");
        assert!(
            given.insert(id.clone()) && given.insert(attempt),
            "a number again in round {round}: {given:?}"
        );
        daemon.terminate();
        let said = done(&offline(&daemon.data(), &["restore", name(&file), "--force"]));
        assert!(!said.contains("logs.db"), "the logs stay: {said}");
        daemon.restart();
    }
}

#[test]
fn a_restore_that_is_cut_off_keeps_the_daemon_from_beginning_an_empty_store() {
    let (mut daemon, id) = store_of_one();
    let file = daemon.directory().join("b.tar");
    done(&offline(&daemon.data(), &["backup", name(&file)]));
    for (point, is_half) in [
        ("restore.checked:1:abort", false),
        ("restore.moved:1:abort", true),
        ("restore.moved:2:abort", true),
        ("restore.placed:1:abort", true),
    ] {
        let mut command = beadle();
        command.args(["restore", name(&file), "--force", "--data-dir"]).arg(daemon.data());
        let cut = command.env("BEADLE_TEST_POINTS", point).output().unwrap();
        assert_eq!(cut.status.code(), None, "{point}: it was to abort: {}", shown(&cut));
        if is_half {
            let start = daemon.serve_command().output().unwrap();
            refused(&start, "was cut off");
            assert_eq!(offline(&daemon.data(), &["doctor"]).status.code(), Some(1));
            done(&offline(&daemon.data(), &["restore", name(&file), "--force"]));
        }
        daemon.restart();
        assert!(daemon.graphql(JOB, json!({ "id": id }))["job"].is_object(), "{point}");
        daemon.terminate();
    }
}

#[test]
fn a_restore_beside_the_living_daemon_leaves_its_processes_alone() {
    let daemon = Daemon::start();
    let gate = daemon.directory().join("gate");
    let script = format!("until [ -e {} ]; do sleep 0.05; done", gate.display());
    let id = daemon.enqueue(&["/bin/sh", "-c", &script]);
    let attempt = "query ($id: ID!) { job(id: $id) { attempts { nodes { pid outcome } } } }";
    until("the job to run", PATIENCE, || {
        let job = daemon.graphql(attempt, json!({ "id": id }));
        job["job"]["attempts"]["nodes"][0]["pid"].as_i64()
    });
    let file = daemon.directory().join("b.tar");
    done(&offline(&daemon.data(), &["backup", name(&file)]));
    let other = Daemon::start_on(|data| {
        done(&offline(data, &["restore", name(&file)]));
    });
    let lost = other.wait_final(&id).job;
    assert_eq!(lost["attempts"]["nodes"][0]["outcome"], json!("LOST"), "{lost:#}");
    // There it goes on as if nothing had been.
    fs::write(&gate, "").unwrap();
    let job = daemon.wait_final(&id).job;
    assert_eq!(
        (&job["state"], job["attempts"]["nodes"].as_array().map(Vec::len)),
        (&json!("SUCCEEDED"), Some(1))
    );
}

#[test]
fn a_backup_for_which_there_is_no_room_says_so_and_leaves_nothing() {
    let (daemon, _) = store_of_one();
    let disk = TempDir::new().unwrap();
    let mount = "mount -t tmpfs -o size=128k none \"$1\" || exit 77
                 \"$2\" backup \"$1/b.tar\" --data-dir \"$3\"; code=$?; ls -A \"$1\"; exit $code";
    let mut inside = program("unshare");
    inside.args(["--map-root-user", "--mount", "/bin/sh", "-c", mount, "sh"]).arg(disk.path());
    let output = inside.arg(program_path()).arg(daemon.data()).output();
    match output {
        Ok(output) if output.status.code() == Some(77) => {
            println!("skipped: no mounts here: {}", shown(&output));
        }
        Ok(output) => {
            assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains("full"), "{said}");
            assert_eq!(String::from_utf8_lossy(&output.stdout), "", "something was left");
        }
        Err(why) => println!("skipped: there is no `unshare` here: {why}"),
    }
}
