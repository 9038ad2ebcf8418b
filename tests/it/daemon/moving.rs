//! A stopped instance moves to PostgreSQL with one command: every row arrives, numbers and cursors go on, a move that is
//! cut off is made again, and nothing that holds something else is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Output;

use beadle::base::clock::{Clock as _, SystemClock};
use beadle::base::random::SystemRandom;
use beadle::base::task;
use beadle::domain::event::EventCursor;
use beadle::domain::filter::EventFilter;
use beadle::domain::id::AttemptId;
use beadle::domain::log::{LogCursor, LogFilter, LogStream};
use beadle::store::Store;
use beadle::store::claim::Claim;
use beadle::store::db::Kind;
use beadle::store::moving::{Home, TABLES, Table};
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};

use crate::store::stage::{block_on, enqueue, new_job};
use crate::support::daemon::{Daemon, beadle, string};
use crate::support::database::execute;
use crate::support::history::{Event, Follower, newest_cursor};
use crate::support::length::sized;
use crate::support::past::past;
use crate::support::postgres::postgres_url;
use crate::support::program::shown;
use crate::support::wait::{PATIENCE, now, until};

const SET_UP: &str = r#"mutation {
  tokenCreate(input: {name: "reader", grants: [{verb: READ}]}) { userErrors { message } }
  queuePut(input: {name: "slow", concurrencyLimit: 1}) { userErrors { message } }
  taskPut(input: {name: "beat", command: {exec: {argv: ["/bin/true"]}}}) { userErrors { message } }
  schedulePut(input: {name: "beat", task: {name: "beat"}, timing: {every: "1s"}, overlap: ALLOW}) {
    userErrors { message }
  }
}"#;

/// `beadle migrate` of a data directory.
fn migrate(data: &Path, url: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = beadle();
    command.args(["migrate", "--json", "--from"]).arg(data).args(["--to", url]);
    command.envs(variables.iter().copied()).output().expect("the program starts")
}

fn refused(output: &Output, words: &str) {
    assert_eq!(output.status.code(), Some(1), "{}", shown(output));
    assert!(String::from_utf8_lossy(&output.stderr).contains(words), "no {words:?} in {}", shown(output));
}

/// An instance with something in nearly every table. `history` jobs are of the past; what runs now goes on running.
fn filled(history: i64) -> (Daemon, EventCursor) {
    let mut daemon = Daemon::start();
    daemon.terminate();
    execute(&daemon.data().join("beadle.db"), &past(history, SystemClock.now().0 - 60_000_000, 100_000));
    daemon.restart();
    daemon.graphql(SET_UP, json!({}));
    let failing = daemon.enqueue(&["/bin/sh", "-c", "printf 'a\\tb\\\\c\\n'; echo no such host >&2; exit 3"]);
    daemon.wait_final(&failing);
    let cursor = newest_cursor(&daemon);
    let printing = daemon.enqueue(&["/bin/sh", "-c", "seq 1 200000"]);
    daemon.wait_final_state(&printing);
    let exec = |words: &[&str]| json!({"command": {"exec": {"argv": words}}});
    let waits = daemon.enqueue_with(json!({
        "run": exec(&["/bin/true", "a\tb\nc\\N 'é'"]),
        "isHeld": true,
        "labels": [{"key": "team", "value": "data"}],
        "idempotencyKey": "once",
        "concurrencyKey": "db",
    }));
    daemon.enqueue_with(json!({"run": exec(&["/bin/true"]), "dependsOn": [waits]}));
    daemon.enqueue_with(json!({"run": exec(&["/bin/sleep", "1000"]), "queue": "slow"}));
    let running = "{ jobs(first: 1, filter: {states: [RUNNING]}) { nodes { id } } }";
    until("a job to run", PATIENCE, || {
        let answer = daemon.graphql(running, json!({}));
        answer["jobs"]["nodes"].get(0).map(|_| ())
    });
    let ticked = r#"{ jobs(first: 1, filter: {tasks: ["beat"]}) { nodes { id } } }"#;
    until("a tick of the schedule", PATIENCE, || {
        let answer = daemon.graphql(ticked, json!({}));
        answer["jobs"]["nodes"].get(0).map(|_| ())
    });
    (daemon, EventCursor::parse(&cursor).expect("a cursor of ours"))
}

fn file(data: &Path, home: Home) -> std::path::PathBuf {
    data.join(if home == Home::State { "beadle.db" } else { "logs.db" })
}

/// One text a row, by an expression of the test's own for each engine.
fn row_text(table: &Table, hexed: fn(&str) -> String) -> String {
    let columns = table.columns.iter().map(|(name, kind)| {
        let text = if *kind == Kind::Bytes { hexed(name) } else { format!("CAST({name} AS TEXT)") };
        format!("coalesce({text}, '<none>')")
    });
    let columns: Vec<String> = columns.collect();
    format!("SELECT {} FROM {}", columns.join(" || '|' || "), table.name)
}

async fn sqlite_rows(data: &Path, table: &Table) -> BTreeSet<String> {
    let options = SqliteConnectOptions::new().filename(file(data, table.home)).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await.expect("the source is there");
    let query = row_text(table, |name| format!("lower(hex({name}))"));
    let rows = sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&mut connection).await;
    connection.close().await.expect("the test's connection closes");
    rows.expect("the source can be read").into_iter().collect()
}

async fn postgres_rows(url: &str, table: &Table) -> BTreeSet<String> {
    let mut connection = PgConnection::connect(url).await.expect("the server answers");
    let query = row_text(table, |name| format!("encode({name}, 'hex')"));
    let rows = sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&mut connection).await;
    rows.expect("the target can be read").into_iter().collect()
}

async fn postgres_execute(url: &str, script: &str) {
    let mut connection = PgConnection::connect(url).await.expect("the server answers");
    let script = AssertSqlSafe(script.to_owned());
    sqlx::raw_sql(script).execute(&mut connection).await.expect("the test's statements");
}

/// All rows of all tables of the target; of one without our tables none.
async fn rows_in(url: &str) -> i64 {
    let mut connection = PgConnection::connect(url).await.expect("the server answers");
    let mut all = 0;
    for table in TABLES {
        let count = format!("SELECT count(*) FROM {}", table.name);
        let count: Result<i64, _> = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&mut connection).await;
        all += count.unwrap_or(0);
    }
    all
}

/// The files of a directory that hold its data.
fn contents(data: &Path) -> BTreeMap<String, Vec<u8>> {
    let names = ["beadle.db", "beadle.db-wal", "logs.db", "logs.db-wal", "admin.token"];
    let read = |name: &&str| fs::read(data.join(name)).map(|bytes| ((*name).to_owned(), bytes)).ok();
    names.iter().filter_map(read).collect()
}

async fn open(url: &str) -> Store {
    Store::open_postgres(url, &SystemClock, &SystemRandom).await.expect("the target opens")
}

/// Numbers of all events behind a cursor.
async fn events_behind(store: &Store, cursor: EventCursor) -> Vec<i64> {
    let (reader, mut after, mut found) = (store.reader(), cursor.seq, Vec::new());
    assert_eq!(reader.epoch(), cursor.epoch, "the cursor is one of this store");
    let newest = reader.newest_event().await.expect("the target can be read");
    while after < newest {
        let page = reader.events_after(after, newest, &EventFilter::default(), 1_000).await;
        let page = page.expect("the target can be read");
        found.extend(page.events.iter().map(|event| event.cursor.seq));
        after = page.seen;
    }
    found
}

async fn numbers(data: &Path, query: &str) -> Vec<i64> {
    let options = SqliteConnectOptions::new().filename(data.join("beadle.db")).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await.expect("the source is there");
    let found = sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&mut connection).await;
    connection.close().await.expect("the test's connection closes");
    found.expect("the source can be read")
}

async fn assert_equal(data: &Path, url: &str, told: &Value) {
    for table in TABLES {
        let (source, target) = (sqlite_rows(data, table).await, postgres_rows(url, table).await);
        assert!(source == target, "{} differs", table.name);
        let row =
            told["tables"].as_array().into_iter().flatten().find(|row| row["name"] == json!(table.name));
        assert_eq!(row.and_then(|row| row["rows"].as_u64()), Some(source.len() as u64), "{}", table.name);
    }
    let count = |name: &str| {
        let row = told["tables"].as_array().into_iter().flatten().find(|row| row["name"] == json!(name));
        row.and_then(|row| row["rows"].as_u64()).unwrap_or_default()
    };
    for name in ["tokens", "schedules", "ticks", "incidents", "log_chunks", "job_labels", "idempotency_keys"]
    {
        assert!(count(name) > 0, "nothing was in {name}, so nothing was shown of it");
    }
}

/// What a daemon on PostgreSQL does first: new jobs, a claim, and the events behind an old cursor.
async fn assert_goes_on(data: &Path, url: &str, cursor: EventCursor) {
    let query = format!("SELECT seq FROM events WHERE seq > {} ORDER BY seq", cursor.seq);
    let before = numbers(data, &query).await;
    let last_job = numbers(data, "SELECT max(id) FROM jobs").await[0];
    let last_attempt = numbers(data, "SELECT max(id) FROM attempts").await[0];
    let store = open(url).await;
    assert_eq!(events_behind(&store, cursor).await, before, "the feed behind the old cursor");
    let (writer, mut turns) = store.writer(std::sync::Arc::new(SystemClock));
    let turning = task::spawn(async move { turns.run().await });
    let made = writer.apply(enqueue(vec![new_job(), new_job()])).await.expect("a job is taken").answer;
    let ids: Vec<i64> = made.into_iter().map(|one| one.expect("the job is good").id.0).collect();
    let worker = crate::store::stage::start_worker("there:1");
    let worker = writer.apply(worker).await.expect("a worker is listed").answer;
    let cookies = vec!["c".to_owned(); 50];
    let claimed = writer.apply(Claim { worker, slots: 50, cookies }).await.expect("a claim").answer;
    assert!(ids.iter().all(|id| *id > last_job), "{ids:?} are above {last_job}");
    assert!(claimed.iter().all(|one| one.attempt.0 > last_attempt), "attempts are above {last_attempt}");
    assert!(ids.iter().all(|id| claimed.iter().any(|one| one.job.id.0 == *id)), "the new jobs start");
    let after = events_behind(&store, cursor).await;
    assert_eq!(after[..before.len()], before[..], "what was seen stays");
    assert!(after.len() >= before.len() + 4, "and new events follow");
    assert!(after.is_sorted_by(|one, next| one < next), "without a repeat");
    drop(writer);
    turning.await.expect("the writer ends in order");
    store.close().await;
}

/// The longest log, read through the store on both sides.
async fn assert_log(daemon: &Daemon, url: &str) {
    let query = "SELECT id FROM attempts ORDER BY log_bytes DESC LIMIT 1";
    let attempt = AttemptId(numbers(&daemon.data(), query).await[0]);
    let store = open(url).await;
    let printed = LogFilter::new(vec![LogStream::Stdout], None).expect("streams are always good");
    let (logs, mut cursor, mut lines) = (store.logs(), LogCursor { attempt, line: 0 }, Vec::new());
    loop {
        let read = logs.read(cursor, &printed, 1_000).await.expect("the log can be read");
        lines.extend(read.lines.into_iter().map(|line| line.text));
        cursor = read.cursor;
        if !read.has_more {
            break;
        }
    }
    // A line may have come in two parts.
    let wanted: String = (1..=200_000).map(|number: i32| number.to_string()).collect();
    assert!(lines.concat() == wanted, "{} lines, not what was printed", lines.len());
    store.close().await;
}

#[test]
fn an_instance_moves_whole_and_clients_go_on_with_their_cursors() {
    let Some(url) = postgres_url() else { return };
    let history = sized(2_000, 100_000);
    let (mut daemon, cursor) = filled(history);
    refused(&migrate(&daemon.data(), &url, &[]), "is in use by process");
    // The last commits are in the journal, and a job runs.
    daemon.kill9();
    let before = contents(&daemon.data());
    let begun = now();
    let output = migrate(&daemon.data(), &url, &[]);
    let took = begun.elapsed();
    assert!(output.status.success(), "{}", shown(&output));
    assert!(contents(&daemon.data()) == before, "the source was only read");
    let told: Value = serde_json::from_slice(&output.stdout).expect("a summary");
    println!("{} rows with {history} jobs of the past moved in {took:?}", told["rows"]);
    assert_eq!(string(&told["epoch"]), format!("{:08x}", cursor.epoch));
    block_on(async {
        assert_equal(&daemon.data(), &url, &told).await;
        assert_log(&daemon, &url).await;
        assert_goes_on(&daemon.data(), &url, cursor).await;
    });
    refused(&migrate(&daemon.data(), &url, &[]), "holds this very store already");
    // Nobody goes on with the past by mistake.
    let offline =
        |words: &[&str]| beadle().args(words).arg("--data-dir").arg(daemon.data()).output().unwrap();
    let backup = daemon.directory().join("past.tar").display().to_string();
    refused(&offline(&["backup", &backup]), "was moved to postgres://");
    refused(&offline(&["serve", "--listen", "127.0.0.1:0"]), "was moved to postgres://");
    assert!(String::from_utf8_lossy(&offline(&["doctor"]).stdout).contains("the files here are of the past"));
    fs::remove_file(daemon.data().join("moved")).expect("it is a file");
    let output = offline(&["backup", &backup]);
    assert!(output.status.success(), "{}", shown(&output));
    refused(&migrate(&daemon.data(), &url, &[]), "holds this very store already");
    assert!(daemon.data().join("moved").exists(), "a move that could not mark it is found out");
    let output = offline(&["restore", &backup, "--force"]);
    assert!(output.status.success(), "{}", shown(&output));
    daemon.restart();
}

#[test]
fn a_daemon_goes_on_over_postgresql_with_what_was_moved() {
    let Some(url) = postgres_url() else { return };
    let (mut daemon, cursor) = filled(20);
    daemon.kill9();
    let output = migrate(&daemon.data(), &url, &[]);
    assert!(output.status.success(), "{}", shown(&output));
    let moved =
        block_on(numbers(&daemon.data(), &format!("SELECT seq FROM events WHERE seq > {}", cursor.seq)));
    daemon.change_environment(&[("BEADLE_DATABASE", &url)]);
    daemon.restart();
    // A subscriber takes up where he was, and the schedule goes on ticking.
    let mut follower = Follower::new(&daemon, cursor.to_string());
    let is_next = |events: &[Event]| events.iter().skip(moved.len()).any(|event| event.tick.is_some());
    assert!(follower.follow(PATIENCE, is_next), "no tick behind the move: {:?}", follower.seen);
    let seen: Vec<_> = follower.seen.iter().take(moved.len()).filter_map(Event::number).collect();
    assert_eq!(seen, moved);
    let ticks: Vec<_> = follower.seen.iter().filter_map(|event| event.tick.as_ref()).collect();
    let (due, job) = ticks.last().expect("it was waited for");
    assert!(ticks.iter().filter(|tick| tick.0 == *due).count() == 1, "one job for a due time: {ticks:?}");
    assert_eq!(daemon.wait_final_state(job), "SUCCEEDED");
    let incidents =
        daemon.graphql("{ incidents(first: 5, filter: {statuses: [OPEN]}) { nodes { title } } }", json!({}));
    assert!(incidents["incidents"]["nodes"].get(0).is_some(), "the incident is open there: {incidents}");
    let done = daemon.enqueue(&["/bin/true"]);
    assert_eq!(daemon.wait_final_state(&done), "SUCCEEDED");
    // What ran when the old daemon died has ended with it, and gave its place back.
    let lost = r#"{ jobs(first: 5, filter: {queues: ["slow"]}) { nodes { state failure { outcome } } } }"#;
    let lost = daemon.graphql(lost, json!({}));
    assert_eq!(lost["jobs"]["nodes"], json!([{ "state": "FAILED", "failure": { "outcome": "LOST" } }]));
    let workers = daemon.graphql("{ workers(first: 9) { nodes { status } } }", json!({}));
    let online = workers["workers"]["nodes"].as_array().into_iter().flatten();
    assert_eq!(online.filter(|worker| worker["status"] != "OFFLINE").count(), 1, "{workers}");
    daemon.terminate();
}

#[test]
fn a_move_that_is_cut_off_or_finds_a_difference_leaves_nothing_and_is_made_again() {
    let Some(url) = postgres_url() else { return };
    let (mut daemon, _) = filled(50);
    daemon.terminate();
    for point in ["move.begun", "move.sent", "move.compared"] {
        let output = migrate(&daemon.data(), &url, &[("BEADLE_TEST_POINTS", &format!("{point}:1:abort"))]);
        assert!(!output.status.success(), "{point}: {}", shown(&output));
        block_on(async { assert_eq!(rows_in(&url).await, 0, "{point}") });
    }
    // A server that changes what it is given.
    let spoil = "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN NEW.attempt_count := NEW.attempt_count + 1; RETURN NEW; END $$;
                 CREATE TRIGGER spoil BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION spoil()";
    block_on(postgres_execute(&url, spoil));
    refused(&migrate(&daemon.data(), &url, &[]), "jobs is not the same on both sides");
    block_on(async { assert_eq!(rows_in(&url).await, 0, "what differs is not kept") });
    block_on(postgres_execute(&url, "DROP TRIGGER spoil ON jobs"));
    // Cut off behind its commit: all is there.
    let output = migrate(&daemon.data(), &url, &[("BEADLE_TEST_POINTS", "move.committed:1:abort")]);
    assert!(!output.status.success(), "{}", shown(&output));
    refused(&migrate(&daemon.data(), &url, &[]), "holds this very store already");
    block_on(async {
        for table in TABLES {
            let (source, target) =
                (sqlite_rows(&daemon.data(), table).await, postgres_rows(&url, table).await);
            assert!(source == target, "{} differs", table.name);
        }
    });
}

#[test]
fn what_cannot_be_moved_is_refused_and_nothing_is_touched() {
    let (Some(url), Some(other)) = (postgres_url(), postgres_url()) else { return };
    let mut daemon = Daemon::start();
    daemon.terminate();
    let data = daemon.data();
    let state = data.join("beadle.db");
    // Targets with something in them.
    block_on(postgres_execute(&url, "CREATE TABLE theirs (id BIGINT)"));
    refused(&migrate(&data, &url, &[]), "holds tables of another program");
    block_on(async {
        let mut connection = PgConnection::connect(&url).await.expect("the server answers");
        let ours = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()";
        let tables: i64 = sqlx::query_scalar(ours).fetch_one(&mut connection).await.expect("a count");
        assert_eq!(tables, 1, "no table of ours was made there");
        open(&other).await.close().await;
    });
    refused(&migrate(&data, &other, &[]), "holds another store");
    block_on(postgres_execute(&url, "DROP TABLE theirs"));
    // Sources that are not fit.
    execute(&state, "DELETE FROM migrations WHERE name = 'state/0006_lists'");
    refused(&migrate(&data, &url, &[]), "an older Beadle wrote it");
    execute(&state, "INSERT INTO migrations VALUES ('state/0006_lists', 1), ('state/9999_later', 1)");
    refused(&migrate(&data, &url, &[]), "was written by a newer Beadle");
    execute(&state, "DELETE FROM migrations WHERE name = 'state/9999_later'");
    fs::rename(data.join("logs.db"), data.join("aside.db")).expect("it is ours");
    refused(&migrate(&data, &url, &[]), "holds no logs.db");
    fs::rename(data.join("aside.db"), data.join("logs.db")).expect("it is ours");
    let whole = fs::read(&state).expect("it is ours");
    let mut torn = whole.clone();
    torn[4_096..].fill(0xa5);
    fs::write(&state, &torn).expect("it is ours");
    refused(&migrate(&data, &url, &[]), "damaged");
    fs::write(&state, &whole).expect("it is ours");
    refused(&migrate(&data, "postgres://nobody@localhost/none?host=/nonexistent", &[]), "beadle: ");
    block_on(async { assert_eq!(rows_in(&url).await, 0) });
    // Now it may; told by the environment, in words for people.
    let mut command = beadle();
    command.arg("migrate").arg("--data-dir").arg(&data);
    let output = command.output().expect("the program starts");
    assert_eq!(output.status.code(), Some(2), "nobody said where to: {}", shown(&output));
    let output = command.env("BEADLE_DATABASE", &url).output().expect("the program starts");
    assert!(output.status.success(), "{}", shown(&output));
    let (told, way) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("log_ends") && told.contains("rows were moved, up to event"), "{told}");
    assert!(told.contains(&format!("beadle serve --database URL --data-dir {}", data.display())), "{told}");
    assert!(way.contains("beadle: queues: 1 of 1 rows sent"), "{way}");
}
