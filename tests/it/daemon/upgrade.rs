//! Stores of every older version are taken over with all that they hold, after a copy; a crash on the way leaves the
//! old store or the new one. And each store has one owner, however many start at once.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::support::daemon::{Daemon, beadle, send};
use crate::support::database::{execute, texts};
use crate::support::length::sized;
use crate::support::program::{program, program_path, shown};
use crate::support::wait::{PATIENCE, now, until};

/// The secret of the token that [`FIRST_ROWS`] knows.
const SECRET: &str = "0123456789abcdef-of-the-first-version";

/// Rows as the first version wrote them: a token, a task, a schedule, and a job done, one waiting and one running.
const FIRST_ROWS: &str = r#"
INSERT INTO meta VALUES ('epoch', '0badcafe');
INSERT INTO counters VALUES ('job', 3), ('attempt', 2), ('task', 1), ('schedule', 1), ('queue', 2), ('worker', 1),
    ('token', 1), ('event', 8);
INSERT INTO tokens VALUES (1, 'ci', '@DIGEST@', '[{"verb":"ADMIN","tasks":null,"own_jobs_only":false}]',
    1700000000000000, NULL, NULL);
INSERT INTO queues VALUES (1, 'default', NULL, NULL, NULL, NULL, 1700000000000000),
    (2, 'etl', NULL, NULL, NULL, 1, 1700000000000000);
INSERT INTO tasks VALUES (1, 'nightly', 1, 'etl', '@TASK@', 'nightly /bin/true', 1700000000000000, 1700000000000000,
    NULL);
INSERT INTO task_revisions VALUES (1, 1, '@TASK@', 'ci', 1700000000000000);
INSERT INTO schedules VALUES (1, 'each-night', 1,
    '{"timing":{"kind":"CRON","cron":"0 3 * * *"},"time_zone":"Europe/Berlin","jitter":0,"misfire":"SKIP","misfire_window":86400000,"overlap":"SKIP"}',
    NULL, NULL, NULL, 4102444800000000, 1700000000000000, 1700000000000000, 1700000000000000);
INSERT INTO workers VALUES (1, 'old:1', '0.0.1', 4, 1700000000000000, NULL);
INSERT INTO jobs (id, state, task_id, task_name, task_revision, command, search_text, queue, priority, rank_us, labels,
    origin, requested_by, retry_policy, timeout_ms, kill_grace_ms, restartable, worker_id, attempt_count, try_count,
    created_at_us, run_at_us, started_at_us, finished_at_us)
VALUES
    (1, 'SUCCEEDED', 1, 'nightly', 1, '@COMMAND@', 'nightly /bin/true', 'etl', 0, 1700000000000000, '[]', 'API', 'ci',
     '@RETRY@', NULL, 10000, 1, NULL, 1, 1, 1700000000000000, 1700000000000000, 1700000001000000, @DONE@),
    (2, 'QUEUED', 1, 'nightly', 1, '@COMMAND@', 'nightly /bin/true', 'etl', 0, 1700000000000000, '[]', 'API', 'ci',
     '@RETRY@', NULL, 10000, 1, NULL, 0, 0, 1700000000000000, 1700000000000000, NULL, NULL),
    (3, 'RUNNING', 1, 'nightly', 1, '@COMMAND@', 'nightly /bin/true', 'default', 0, 1700000000000000, '[]', 'API', 'ci',
     '@RETRY@', NULL, 10000, 1, 1, 1, 0, 1700000000000000, 1700000000000000, 1700000001000000, NULL);
INSERT INTO job_counts VALUES ('etl', 'SUCCEEDED', 1), ('etl', 'QUEUED', 1), ('default', 'RUNNING', 1);
INSERT INTO attempts (id, job_id, attempt_number, worker_id, cookie, outcome, exit_code, started_at_us, finished_at_us,
    log_bytes, dropped_log_bytes)
VALUES (1, 1, 1, 1, 'a', 'SUCCEEDED', 0, 1700000001000000, 1700000002000000, 0, 0),
    (2, 3, 1, 1, 'b', NULL, NULL, 1700000001000000, NULL, 0, 0);
INSERT INTO events (seq, kind, at_us, actor, subject, job_id, task_name, queue, data)
VALUES (1, 'WORKER_CHANGED', @NOW@, 'worker_1', 'worker_1', NULL, NULL, NULL, '{}'),
    (2, 'TASK_CHANGED', @NOW@, 'ci', 'task_1', NULL, 'nightly', NULL, '{}'),
    (3, 'JOB_CREATED', @NOW@, 'ci', 'job_1', 1, 'nightly', 'etl', '{"state":"QUEUED","queue":"etl"}'),
    (4, 'JOB_CREATED', @NOW@, 'ci', 'job_2', 2, 'nightly', 'etl', '{"state":"QUEUED","queue":"etl"}'),
    (5, 'JOB_CREATED', @NOW@, 'ci', 'job_3', 3, 'nightly', 'default', '{"state":"QUEUED","queue":"default"}'),
    (6, 'JOB_STATE_CHANGED', @NOW@, 'dispatcher', 'job_1', 1, 'nightly', 'etl', '{"from":"QUEUED","to":"RUNNING"}'),
    (7, 'JOB_STATE_CHANGED', @NOW@, 'worker_1', 'job_1', 1, 'nightly', 'etl', '{"from":"RUNNING","to":"SUCCEEDED"}'),
    (8, 'JOB_STATE_CHANGED', @NOW@, 'dispatcher', 'job_3', 3, 'nightly', 'default', '{"from":"QUEUED","to":"RUNNING"}');
"#;
const COMMAND: &str = r#"{"argv":["/bin/true"],"script":null,"shell":null,"working_directory":null,"environment":[],"inherit_environment":[]}"#;
const RETRY: &str = r#"{"max_attempts":3,"initial_delay":5,"max_delay":600000,"factor":2.0,"retry_on":null,"exit_codes":null}"#;

/// The first version's rows, as young as retention wants them.
fn first_rows() -> String {
    use beadle::base::clock::{Clock as _, SystemClock};
    let now = SystemClock.now();
    let task = format!(
        r#"{{"description":null,"command":{COMMAND},"queue_name":"etl","priority":0,"timeout":null,"idle_timeout":null,"kill_grace":10000,"retry_policy":{RETRY},"is_restartable":true}}"#
    );
    FIRST_ROWS
        .replace("@DIGEST@", &beadle::engine::tokens::digest(SECRET))
        .replace("@TASK@", &task)
        .replace("@COMMAND@", COMMAND)
        .replace("@RETRY@", RETRY)
        .replace("@NOW@", &now.plus_millis(-60_000).0.to_string())
        .replace("@DONE@", &now.plus_millis(-50_000).0.to_string())
}

/// The migrations of one database in order: name and text.
fn migrations(set: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite").join(set);
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the sources are readable")
        .map(|entry| entry.expect("the sources are readable").path())
        .collect();
    files.sort();
    let name =
        |path: &Path| format!("{set}/{}", path.file_stem().expect("a file has a name").to_string_lossy());
    files
        .iter()
        .map(|path| (name(path), fs::read_to_string(path).expect("the sources are readable")))
        .collect()
}

/// A database as the version wrote it that had the first `count` migrations.
fn make_old(path: &Path, set: &str, count: usize, rows: &str) {
    let mut script = "PRAGMA journal_mode = WAL; PRAGMA application_id = 1111834948;
        CREATE TABLE migrations (name TEXT NOT NULL PRIMARY KEY, applied_at_us BIGINT NOT NULL);"
        .to_owned();
    for (at, (name, text)) in migrations(set).iter().take(count).enumerate() {
        write!(script, "INSERT INTO migrations VALUES ('{name}', 1700000000000000);\n{text}\n")
            .expect("a string can always be written to");
        if at == 0 {
            script.push_str(rows);
        }
    }
    execute(path, &script);
}

/// The data directory of the version that had the first `state` and `logs` migrations.
fn make_directory(data: &Path, state: usize, logs: usize) {
    fs::create_dir(data).expect("a directory can be made");
    make_old(&data.join("beadle.db"), "state", state, &first_rows());
    make_old(&data.join("logs.db"), "logs", logs, "");
}

fn applied(path: &Path) -> Vec<String> {
    texts(path, "SELECT name FROM migrations ORDER BY name")
}

fn copies(data: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(data.join("backups")).into_iter().flatten();
    entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect()
}

/// Everything that the first version's rows held is there, and goes on.
fn check_taken_over(daemon: &Daemon) {
    let query = "{ viewer { tokenName } job(id: \"job_1\") { state task { name } }
                   task(ref: {name: \"nightly\"}) { revision } schedule(ref: {name: \"each-night\"}) { nextDueAt task { name } } }";
    let answer = send(daemon.address(), SECRET, query, &json!({})).expect("the old token opens the door");
    let data = &answer["data"];
    assert_eq!(data["viewer"]["tokenName"], json!("ci"), "{answer:#}");
    assert_eq!(data["job"], json!({"state": "SUCCEEDED", "task": {"name": "nightly"}}), "{answer:#}");
    assert_eq!(
        (&data["task"]["revision"], &data["schedule"]["task"]["name"]),
        (&json!(1), &json!("nightly"))
    );
    assert!(data["schedule"]["nextDueAt"].is_string(), "{answer:#}");
    for id in ["job_2", "job_3"] {
        assert_eq!(daemon.wait_final(id).job["state"], json!("SUCCEEDED"), "{id}");
    }
    let id = daemon.enqueue(&["/bin/true"]);
    assert_eq!((id.as_str(), &daemon.wait_final(&id).job["state"]), ("job_4", &json!("SUCCEEDED")));
}

#[test]
fn stores_of_every_older_version_are_taken_over_after_a_copy() {
    let (states, logs) = (migrations("state").len(), migrations("logs").len());
    for state in 1..=states {
        let log = state.min(logs);
        let daemon = Daemon::start_on(|data| make_directory(data, state, log));
        check_taken_over(&daemon);
        let copies = copies(&daemon.data());
        let stems: BTreeSet<&str> =
            copies.iter().map(|name| name.split_once("-before-").expect("a copy's name").0).collect();
        let mut wanted = BTreeSet::new();
        wanted.extend((state < states).then_some("beadle"));
        wanted.extend((log < logs).then_some("logs"));
        assert_eq!(stems, wanted, "a file is copied when it is migrated");
        for name in &copies {
            let copy = daemon.data().join("backups").join(name);
            let (set, count) = if name.starts_with("beadle") { ("state", state) } else { ("logs", log) };
            let had: Vec<_> = migrations(set).into_iter().take(count).map(|(name, _)| name).collect();
            assert_eq!(applied(&copy), had, "{name}");
        }
        let doctor = daemon.cli(&["doctor", "--data-dir", daemon.data().to_str().unwrap()]);
        let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
        assert!(said.contains("rules of the rows were asked, and hold"), "{said}");
    }
    println!("{states} versions taken over");
}

#[test]
fn copies_that_cannot_be_removed_do_not_stop_a_start_and_are_told() {
    let mut daemon = Daemon::start_on(|data| {
        make_directory(data, 1, 1);
        for year in 2021..2026 {
            // Nobody can remove such a one as a file.
            let name = format!("beadle-before-0001_init-{year}0101T000000Z.db");
            fs::create_dir_all(data.join("backups").join(name)).unwrap();
        }
    });
    check_taken_over(&daemon);
    let query = "{ health { subsystems { name status message } } }";
    let row = |daemon: &Daemon| {
        let answer = daemon.graphql(query, json!({}));
        let rows = answer["health"]["subsystems"].as_array().cloned().unwrap_or_default();
        rows.into_iter().find(|row| row["name"] == json!("backups"))
    };
    let told = row(&daemon).expect("it is told");
    println!("copies that cannot be removed: {told}");
    assert_eq!(told["status"], json!("DEGRADED"), "{told}");
    assert!(told["message"].as_str().is_some_and(|words| words.contains("3 copies too many")), "{told}");
    for year in 2021..2026 {
        let name = format!("beadle-before-0001_init-{year}0101T000000Z.db");
        fs::remove_dir(daemon.data().join("backups").join(name)).unwrap();
    }
    until("it to be well again by itself", PATIENCE, || {
        row(&daemon).filter(|row| row["status"] == json!("OK"))
    });
    daemon.terminate();
    daemon.restart();
    assert_eq!(row(&daemon), None);
}

#[test]
fn the_copy_of_an_older_store_can_be_restored_and_the_newest_three_stay() {
    let mut daemon = Daemon::start_on(|data| {
        make_directory(data, 1, 1);
        fs::create_dir(data.join("backups")).unwrap();
        for year in 2021..2026 {
            let name = format!("beadle-before-0001_init-{year}0101T000000Z.db");
            fs::write(data.join("backups").join(name), "older").unwrap();
        }
    });
    check_taken_over(&daemon);
    let kept = copies(&daemon.data());
    let of_state: Vec<_> = kept.iter().filter(|name| name.starts_with("beadle")).collect();
    assert_eq!(of_state.len(), 3, "{kept:?}");
    assert!(!kept.iter().any(|name| name.contains("-2023")), "{kept:?}");
    daemon.terminate();
    let copy = of_state.iter().find(|name| name.contains("0002_")).expect("the copy of this start");
    let copy = daemon.data().join("backups").join(copy);
    let output = daemon.cli(&[
        "restore",
        copy.to_str().unwrap(),
        "--force",
        "--data-dir",
        daemon.data().to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(applied(&daemon.data().join("beadle.db")), ["state/0001_init"]);
    daemon.restart();
    let query = "{ job(id: \"job_3\") { state } gone: job(id: \"job_4\") { state } }";
    let answer = send(daemon.address(), SECRET, query, &json!({})).expect("an answer");
    assert!(answer["data"]["job"].is_object() && answer["data"]["gone"].is_null(), "{answer:#}");
}

#[test]
fn the_way_back_takes_the_logs_back_too_where_a_newer_version_migrated_them() {
    let all = migrations("logs").len();
    let mut daemon = Daemon::start_on(|data| make_directory(data, 1, all));
    daemon.terminate();
    let data = daemon.data();
    let logs = data.join("logs.db");
    // What a newer version leaves: its migration, and the copies that it made before.
    let copy = data.join("backups/logs-before-9999_new-20300101T000000Z.db");
    make_old(&copy, "logs", all, "");
    let older = data.join("backups/logs-before-9998_newer-20290101T000000Z.db");
    make_old(&older, "logs", 1, "INSERT INTO migrations VALUES ('logs/9998_unknown', 1);");
    execute(&logs, "INSERT INTO migrations VALUES ('logs/9999_new', 1)");
    let state =
        copies(&data).into_iter().find(|name| name.starts_with("beadle")).expect("the copy of the start");
    let restore = |daemon: &Daemon, name: &str| {
        let copy = data.join("backups").join(name);
        daemon.cli(&["restore", copy.to_str().unwrap(), "--force", "--data-dir", data.to_str().unwrap()])
    };
    let refused = restore(&daemon, "logs-before-9999_new-20300101T000000Z.db");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("it is no copy of the store"), "{}", shown(&refused));
    let output = restore(&daemon, &state);
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(applied(&logs).len(), all, "those of before: {}", shown(&output));
    daemon.restart();
    daemon.terminate();
    // Without a copy that can be read they are begun anew.
    execute(&logs, "INSERT INTO migrations VALUES ('logs/9999_new', 1)");
    fs::remove_file(&copy).unwrap();
    let output = restore(&daemon, &state);
    assert!(output.status.success(), "{}", shown(&output));
    assert!(!logs.exists(), "{}", shown(&output));
    daemon.restart();
}

#[test]
fn a_crash_in_the_middle_of_an_upgrade_leaves_the_old_store_or_the_new_one() {
    let all = |set: &str| -> Vec<String> { migrations(set).into_iter().map(|(name, _)| name).collect() };
    let (mut old, mut new) = (0, 0);
    for point in ["upgrade.copied", "upgrade.backed", "migration.begun", "script.run", "migration.applied"] {
        // The first pass is the state's, the second the logs'.
        for pass in 1..=2 {
            let daemon = Daemon::start_on(|data| {
                make_directory(data, 1, 1);
                let mut serve = beadle();
                serve.arg("serve").arg("--data-dir").arg(data).args(["--listen", "127.0.0.1:0"]);
                let cut = serve.env("BEADLE_TEST_POINTS", format!("{point}:{pass}:abort")).output().unwrap();
                assert_eq!(cut.status.code(), None, "{point}:{pass}: it was to abort: {}", shown(&cut));
                for (file, set) in [("beadle.db", "state"), ("logs.db", "logs")] {
                    let found = applied(&data.join(file));
                    if found.len() == 1 {
                        old += 1;
                    } else {
                        assert_eq!(found, all(set), "{point}:{pass}: {file} is half migrated");
                        new += 1;
                    }
                }
            });
            check_taken_over(&daemon);
        }
    }
    println!("after a crash {old} files were old and {new} new");
    assert!(old > 0 && new > 0);
}

#[test]
fn a_start_that_has_no_room_for_the_copy_changes_nothing_and_says_how_to_go_on() {
    let place = TempDir::new().unwrap();
    let (disk, old) = (place.path().join("disk"), place.path().join("old"));
    fs::create_dir(&disk).unwrap();
    make_directory(&old, 1, 1);
    // Room for the journal, but not for another file of the store's size.
    let mount = "mount -t tmpfs -o size=2m none \"$1\" || exit 77
                 cp -r \"$2\" \"$1/data\"; before=$(cksum <\"$1/data/beadle.db\")
                 head -c 100k /dev/zero >\"$1/reserve\"
                 head -c 10m /dev/zero >\"$1/filler\" 2>/dev/null; rm \"$1/reserve\"
                 \"$3\" serve --data-dir \"$1/data\" --listen 127.0.0.1:0; code=$?
                 [ \"$before\" = \"$(cksum <\"$1/data/beadle.db\")\" ] || echo changed
                 ls \"$1/data/backups\" 2>/dev/null; exit $code";
    let mut inside = program("unshare");
    inside.args(["--map-root-user", "--mount", "/bin/sh", "-c", mount, "sh"]).args([&disk, &old]);
    match inside.arg(program_path()).output() {
        Ok(output) if output.status.code() == Some(77) => {
            println!("skipped: no mounts here: {}", shown(&output));
        }
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.code() == Some(1) && said.contains("--no-backup"), "{}", shown(&output));
            assert_eq!(String::from_utf8_lossy(&output.stdout), "", "something was changed");
        }
        Err(why) => println!("skipped: there is no `unshare` here: {why}"),
    }
    let mut serve = Serving::begin(&old, &["--no-backup"]);
    serve.until_ready();
    drop(serve);
    assert!(!old.join("backups").exists());
    assert_eq!(applied(&old.join("beadle.db")).len(), migrations("state").len());
}

/// A daemon that may or may not come to own the directory.
struct Serving(Child);

impl Serving {
    fn begin(data: &Path, flags: &[&str]) -> Serving {
        let mut serve: Command = beadle();
        serve.arg("serve").arg("--data-dir").arg(data).args(["--listen", "127.0.0.1:0"]).args(flags);
        let serve = serve.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Serving(serve.spawn().expect("the program starts"))
    }

    /// Waits for the first line of the banner.
    fn until_ready(&mut self) {
        use std::io::{BufRead as _, BufReader};
        let stdout = self.0.stdout.as_mut().expect("asked for");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("a stream of text");
        assert!(line.starts_with("Beadle"), "{line:?}");
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Those that end at a group of starts within so much are the losers.
const REFUSAL_LIMIT: Duration = Duration::from_secs(2);
const GROUP: usize = 4;

#[test]
fn of_starts_at_the_same_moment_exactly_one_comes_to_own_the_store() {
    let groups = sized(10, 100);
    let mut longest = Duration::ZERO;
    for group in 0..groups {
        let place = TempDir::new().unwrap();
        let data = place.path().join("data");
        let begun = now();
        let mut all: Vec<Serving> = (0..GROUP).map(|_| Serving::begin(&data, &[])).collect();
        let mut ended: Vec<usize> = Vec::new();
        until("all but one to be refused", PATIENCE, || {
            for (at, one) in all.iter_mut().enumerate() {
                if !ended.contains(&at) && one.0.try_wait().expect("our own child").is_some() {
                    ended.push(at);
                    longest = longest.max(begun.elapsed());
                }
            }
            assert!(ended.len() < GROUP, "group {group}: nobody owns the store");
            (ended.len() == GROUP - 1).then_some(())
        });
        let owner = (0..GROUP).find(|at| !ended.contains(at)).expect("one is left");
        all[owner].until_ready();
        for at in ended {
            use std::io::Read as _;
            let mut said = String::new();
            let stderr = all[at].0.stderr.as_mut().expect("asked for");
            stderr.read_to_string(&mut said).expect("a stream of text");
            assert!(said.contains("in use by") && said.contains("nothing was touched"), "{said}");
        }
        assert!(all[owner].0.try_wait().expect("our own child").is_none(), "the owner ended too");
    }
    println!(
        "{} starts in groups of {GROUP}: one owner each, the others gone within {longest:?}",
        groups * GROUP
    );
    assert!(longest < REFUSAL_LIMIT * 3, "a second daemon ended only after {longest:?}");
}
