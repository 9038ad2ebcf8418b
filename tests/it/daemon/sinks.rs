//! Sinks, against real receivers that are down, slow, angry, endless or treacherous: no job waits, nothing is lost,
//! nothing is sent where it must not go.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use beadle::base::clock::{Clock, SystemClock};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::daemon::{Daemon, string};
use crate::support::length::sized;
use crate::support::postgres::skips_on_postgres;
use crate::support::receiver::{Received, Receiver, Reply};
use crate::support::wait::{PATIENCE, now, until};

const OLD_SECRET: &str = "whsec_b2xkLW9sZC1vbGQtb2xkLW9sZC1vbGQtb2xkIQ==";
const NEW_SECRET: &str = "whsec_bmV3LW5ldy1uZXctbmV3LW5ldy1uZXctbmV3IQ==";

/// The ends of jobs, told to the receiver.
fn hook(receiver: &Receiver) -> String {
    let url = receiver.url("/hook");
    format!(
        "[sinks.hook]\nkind = \"webhook\"\nurl = \"{url}\"\nsecrets = [\"{NEW_SECRET}\", \"{OLD_SECRET}\"]\n\
         events = [\"JOB_STATE_CHANGED\"]\nstates = [\"SUCCEEDED\", \"FAILED\"]\nallow_internal = true\n"
    )
}

/// The row of the sink of this name.
pub fn sink(daemon: &Daemon, name: &str) -> Value {
    let query =
        "{ sinks { name kind lagCount deliveredCount droppedCount deadLetterCount failingSince failure
      deadLetters { nodes { event { cursor type jobId } failure tryCount redeliverAt } } } }";
    let mut answer = daemon.graphql(query, json!({}));
    let Value::Array(sinks) = answer["sinks"].take() else { panic!("no list") };
    sinks.into_iter().find(|sink| sink["name"] == json!(name)).expect("the sink is listed")
}

fn wait_until(daemon: &Daemon, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    until(what, PATIENCE, || Some(sink(daemon, "hook")).filter(&is_so))
}

fn health(daemon: &Daemon, name: &str) -> Value {
    let mut answer = daemon.graphql("{ health { subsystems { name status message } } }", json!({}));
    let Value::Array(parts) = answer["health"]["subsystems"].take() else { panic!("no list") };
    parts.into_iter().find(|part| part["name"] == json!(name)).expect("the part has a row")
}

fn run_jobs(daemon: &Daemon, count: usize) -> Vec<String> {
    let ids: Vec<String> = (0..count).map(|_| daemon.enqueue(&["/bin/true"])).collect();
    for id in &ids {
        daemon.wait_final(id);
    }
    ids
}

fn job_of(request: &Received) -> String {
    string(&request.json()["data"]["jobId"])
}

/// The ids under which each job was told.
fn ids_by_job(requests: &[Received]) -> BTreeMap<String, BTreeSet<String>> {
    let mut ids = BTreeMap::<String, BTreeSet<String>>::new();
    for request in requests {
        ids.entry(job_of(request)).or_default().insert(request.header("webhook-id").to_owned());
    }
    ids
}

/// Each of the jobs was told, each under one id of its own, whatever the number of tries.
fn check_ids(requests: &[Received], jobs: &[String]) {
    let ids = ids_by_job(requests);
    assert_eq!(ids.keys().collect::<BTreeSet<_>>(), jobs.iter().collect::<BTreeSet<_>>());
    assert!(ids.values().all(|ids| ids.len() == 1), "an event changed its id: {ids:?}");
    let distinct: BTreeSet<_> = ids.values().flatten().collect();
    assert_eq!(distinct.len(), jobs.len(), "two events share an id");
}

fn signature(secret: &str, request: &Received) -> String {
    let key = STANDARD.decode(secret.trim_start_matches("whsec_")).expect("it is base64");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length is good");
    mac.update(
        format!("{}.{}.", request.header("webhook-id"), request.header("webhook-timestamp")).as_bytes(),
    );
    mac.update(&request.body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[test]
fn a_webhook_is_signed_as_the_standard_says_and_told_what_it_wants_once() {
    let receiver = Receiver::start();
    let daemon = Daemon::start_with_file(&hook(&receiver));
    let good = run_jobs(&daemon, 2);
    let bad = daemon.enqueue(&["/bin/false"]);
    daemon.wait_final(&bad);
    let cancelled =
        daemon.enqueue_with(json!({"run": {"command": {"exec": {"argv": ["/bin/true"]}}}, "isHeld": true}));
    let cancel = "mutation ($id: ID!) { jobCancel(input: {id: $id}) { userErrors { message } } }";
    daemon.graphql(cancel, json!({ "id": cancelled }));
    let requests = receiver.wait_for(3);
    for request in &requests {
        let both = [NEW_SECRET, OLD_SECRET].map(|secret| signature(secret, request)).join(" ");
        assert_eq!(request.header("webhook-signature"), both, "both keys sign");
        assert_eq!((request.path.as_str(), request.header("content-type")), ("/hook", "application/json"));
        let age =
            SystemClock.now().0 / 1_000_000 - request.header("webhook-timestamp").parse::<i64>().unwrap();
        assert!((0..60).contains(&age), "the timestamp is {age} s old");
        let body = request.json();
        assert_eq!(body["type"], json!("JOB_STATE_CHANGED"));
        assert_eq!(body["timestamp"], body["data"]["at"]);
        let wanted = if job_of(request) == bad { "FAILED" } else { "SUCCEEDED" };
        assert_eq!(body["data"]["data"]["to"], json!(wanted));
    }
    check_ids(&requests, &[good, vec![bad]].concat());
    let row = wait_until(&daemon, "everything to be looked at", |row| row["lagCount"] == json!("0"));
    assert_eq!((&row["deliveredCount"], &row["droppedCount"]), (&json!("3"), &json!("0")));
    assert_eq!(receiver.received().len(), 3, "what is not wanted is not told");
    println!("3 events told, each signed with 2 keys, once each");
}

#[test]
fn a_sink_that_is_down_delays_no_job_and_loses_nothing_over_kills() {
    let mut receiver = Receiver::start();
    let mut daemon = Daemon::start_with_file(&hook(&receiver));
    receiver.take_down();
    let count = sized(20, 500);
    let begun = now();
    let mut jobs = run_jobs(&daemon, count);
    let took = begun.elapsed();
    assert_eq!(receiver.received().len(), 0);
    let row = wait_until(&daemon, "its trouble to be seen", |row| row["failingSince"].is_string());
    assert!(string(&row["failure"]).contains("refused"), "{row}");
    until("its health to tell", PATIENCE, || {
        let row = health(&daemon, "sink:hook");
        (row["status"] == json!("DEGRADED") && row["message"].is_string()).then_some(())
    });
    // Killed while it delivers, again and again, with a receiver that takes everything.
    receiver.bring_up();
    let kills = sized(3, 50);
    for _ in 0..kills {
        daemon.kill9();
        let before = receiver.received().len();
        daemon.restart();
        jobs.extend(run_jobs(&daemon, 2));
        receiver.wait_for(before + 2);
    }
    let is_told = |row: &Value| row["lagCount"] == json!("0") && row["failingSince"].is_null();
    let row = wait_until(&daemon, "everything to be told", is_told);
    let requests = receiver.received();
    check_ids(&requests, &jobs);
    assert_eq!((&row["droppedCount"], &row["deadLetterCount"]), (&json!("0"), &json!("0")));
    assert_eq!(health(&daemon, "sink:hook")["status"], json!("OK"));
    assert!(took < PATIENCE, "jobs waited for the sink: {took:?}");
    println!(
        "{count} jobs ended in {took:?} with the sink down; {} events told in {} requests over {kills} kills, 0 lost",
        jobs.len(),
        requests.len()
    );
}

#[test]
fn a_crash_right_after_a_delivery_repeats_it_under_the_same_id() {
    let receiver = Receiver::start();
    let trap = [("BEADLE_TEST_POINTS", "sink.sent:2:abort")];
    let mut daemon = Daemon::start_with_file_in(&hook(&receiver), &trap);
    let mut jobs = vec![daemon.enqueue(&["/bin/true"]), daemon.enqueue(&["/bin/true"])];
    let before = receiver.wait_for(2);
    assert!(!daemon.wait_ended().success(), "it did not crash");
    daemon.change_environment(&[]);
    daemon.restart();
    jobs.extend(run_jobs(&daemon, 1));
    let row = wait_until(&daemon, "everything to be told", |row| row["lagCount"] == json!("0"));
    assert_eq!(row["droppedCount"], json!("0"));
    let requests = receiver.received();
    assert!(requests.len() > jobs.len(), "nothing was repeated: the crash hit nothing");
    check_ids(&requests, &jobs);
    let repeated = &requests[before.len()];
    assert!(before.iter().any(|one| one.header("webhook-id") == repeated.header("webhook-id")));
}

#[test]
fn a_sink_whose_part_panics_is_told_on_by_the_next_one() {
    let receiver = Receiver::start();
    let trap = [("BEADLE_TEST_POINTS", "sink.look:2:panic,sink.sent:2:panic")];
    let daemon = Daemon::start_with_file_in(&hook(&receiver), &trap);
    let jobs = run_jobs(&daemon, 3);
    wait_until(&daemon, "everything to be told", |row| {
        row["lagCount"] == json!("0") && ids_by_job(&receiver.received()).len() == 3
    });
    check_ids(&receiver.received(), &jobs);
    until("it to be well again", PATIENCE, || {
        (health(&daemon, "sink:hook")["status"] == json!("OK")).then_some(())
    });
    assert!(daemon.log().contains("sink.sent panic"), "it did not panic");
}

#[test]
fn errors_are_tried_again_with_growing_pauses_and_under_the_same_id() {
    let receiver = Receiver::start();
    let mut tries = 0;
    receiver.behave(move |_| {
        tries += 1;
        match tries {
            1 => Reply::Status(500, ""),
            2 => Reply::Status(503, ""),
            3 => Reply::Status(429, "retry-after: 6\r\n"),
            _ => Reply::Status(204, ""),
        }
    });
    let daemon = Daemon::start_with_file(&hook(&receiver));
    let jobs = run_jobs(&daemon, 2);
    let requests = receiver.wait_for(5);
    check_ids(&requests, &jobs);
    let first = requests[0].header("webhook-id");
    assert!(requests[..4].iter().all(|request| request.header("webhook-id") == first), "order is kept");
    let pauses: Vec<Duration> = requests.windows(2).map(|two| two[1].at - two[0].at).collect();
    for (pause, least) in pauses.iter().zip([900, 1_800, 6_000]) {
        assert!(*pause >= Duration::from_millis(least), "{pauses:?}");
    }
    wait_until(&daemon, "it to be well", |row| {
        row["failingSince"].is_null() && row["deliveredCount"] == json!("2")
    });
    println!("pauses between the tries: {:?}", &pauses[..3]);
}

#[test]
fn a_silent_sink_holds_up_neither_jobs_nor_a_stop() {
    let receiver = Receiver::start();
    receiver.behave(|_| Reply::Silence);
    let mut daemon = Daemon::start_with_file(&hook(&receiver));
    let mut jobs = run_jobs(&daemon, 1);
    receiver.wait_for(1);
    jobs.extend(run_jobs(&daemon, 3));
    let begun = now();
    assert!(daemon.terminate().success());
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(8), "the stop waited for the sink: {took:?}");
    daemon.restart();
    receiver.wait_for(2);
    // The limit of a request passes, then it answers.
    receiver.behave(|_| Reply::Status(200, ""));
    let row = wait_until(&daemon, "everything to be told", |row| row["deliveredCount"] == json!("4"));
    assert_eq!(row["droppedCount"], json!("0"));
    let requests = receiver.received();
    check_ids(&requests, &jobs);
    let limit = requests[2].at - requests[1].at;
    assert!(limit >= Duration::from_secs(10) && limit < PATIENCE, "the try was given up after {limit:?}");
    println!("stopped in {took:?} with a request open; a silent one was given up after {limit:?}");
}

#[test]
fn a_redirect_is_not_followed_and_an_internal_address_is_not_called() {
    let (receiver, internal) = (Receiver::start(), Receiver::start());
    let to = internal.url("/metadata");
    receiver.behave(move |_| Reply::Redirect(to.clone()));
    let port = internal.address().port();
    let closed = |name: &str, url: &str| {
        hook(&internal)
            .replace("sinks.hook", &format!("sinks.{name}"))
            .replace(&internal.url("/hook"), url)
            .replace("allow_internal = true", "")
    };
    let settings = [
        hook(&receiver),
        closed("plain", &internal.url("/")),
        closed("named", &format!("http://localhost:{port}/")),
        closed("six", &format!("http://[::1]:{port}/")),
        closed("mapped", &format!("http://[::ffff:7f00:1]:{port}/")),
        closed("number", &format!("http://2130706433:{port}/")),
    ];
    let tls = Receiver::start();
    let plain = hook(&tls).replace("sinks.hook", "sinks.tls").replace("http://", "https://");
    let daemon = Daemon::start_with_file(&(settings.concat() + &plain));
    run_jobs(&daemon, 1);
    let row = until("TLS to be refused by what has none", PATIENCE, || {
        Some(sink(&daemon, "tls")).filter(|row| row["failure"].is_string())
    });
    assert!(!string(&row["failure"]).contains("sender"), "{row}");
    assert_eq!(tls.received().len(), 0, "nothing was told without TLS");
    wait_until(&daemon, "the redirect to be refused", |row| string(&row["failure"]).contains("redirect"));
    for name in ["plain", "named", "six", "mapped", "number"] {
        let row = until("the address to be refused", PATIENCE, || {
            Some(sink(&daemon, name)).filter(|row| row["failure"].is_string())
        });
        assert!(string(&row["failure"]).contains("internal address"), "{name}: {row}");
        assert_eq!(row["deadLetterCount"], json!("0"), "it waits for the operator");
    }
    assert_eq!(internal.received().len(), 0, "something called an internal address");
    println!("redirect and 5 internal addresses: 0 requests arrived inside");
}

#[test]
fn an_endless_answer_is_cut() {
    let receiver = Receiver::start();
    receiver.behave(|_| Reply::Long(1 << 30));
    let daemon = Daemon::start_with_file(&hook(&receiver));
    let jobs = run_jobs(&daemon, 2);
    wait_until(&daemon, "both to be told", |row| row["deliveredCount"] == json!("2"));
    check_ids(&receiver.received(), &jobs);
    let sent = receiver.sent_bytes();
    assert!(sent < 64 << 20, "{sent} bytes of the answers were taken in");
    println!("of 2 answers of 1 GiB {sent} bytes left the receiver");
}

/// It answers so to the ends of jobs that failed, and takes everything else.
fn refuse_failures(receiver: &Receiver, status: u16) {
    receiver.behave(move |request| match request.json()["data"]["data"]["to"].as_str() {
        Some("FAILED") => Reply::Status(status, ""),
        _ => Reply::Status(200, ""),
    });
}

#[test]
fn what_is_refused_for_good_is_a_dead_letter_that_can_be_put_back_or_given_up() {
    let receiver = Receiver::start();
    refuse_failures(&receiver, 422);
    let daemon = Daemon::start_with_file(&hook(&receiver));
    let bad: Vec<String> = (0..3).map(|_| daemon.enqueue(&["/bin/false"])).collect();
    for id in &bad {
        daemon.wait_final(id);
    }
    until("its health to tell that it refuses everything", PATIENCE, || {
        let row = health(&daemon, "sink:hook");
        (row["status"] == json!("DEGRADED") && string(&row["message"]).contains("422")).then_some(())
    });
    run_jobs(&daemon, 1);
    let row = wait_until(&daemon, "the dead letters", |row| {
        row["deadLetterCount"] == json!("3") && row["deliveredCount"] == json!("1")
    });
    let letters = row["deadLetters"]["nodes"].as_array().unwrap();
    assert_eq!(letters[0]["failure"], json!("it answered 422: ok"));
    assert!(letters.iter().all(|one| bad.contains(&string(&one["event"]["jobId"]))), "{row}");
    assert!(row["failingSince"].is_null(), "the way itself is good");
    assert_eq!(health(&daemon, "sink:hook")["status"], json!("OK"), "it took one");

    // Put back while the sink still refuses it, then when it does not.
    let cursor = string(&letters[0]["event"]["cursor"]);
    let again = |args: &[&str]| assert!(daemon.cli(args).status.success(), "{args:?}");
    again(&["sink", "retry", "hook", "--event", &cursor]);
    wait_until(&daemon, "it to be refused again", |row| {
        row["deadLetters"]["nodes"][0]["tryCount"] == json!(2)
    });
    receiver.behave(|_| Reply::Status(200, ""));
    again(&["sink", "retry", "hook", "--event", &cursor]);
    let row = wait_until(&daemon, "it to be taken", |row| row["deadLetterCount"] == json!("2"));
    assert_eq!(row["deliveredCount"], json!("2"));
    let listed = String::from_utf8(daemon.cli(&["sink", "letters", "hook"]).stdout).unwrap();
    assert!(listed.contains("422") && listed.contains("JOB_STATE_CHANGED"), "{listed}");
    again(&["sink", "discard", "hook"]);
    assert_eq!(sink(&daemon, "hook")["deadLetterCount"], json!("0"));
    let requests = receiver.received();
    assert!(ids_by_job(&requests).values().all(|ids| ids.len() == 1), "it kept its id");
    let listed = String::from_utf8(daemon.cli(&["sink", "ls"]).stdout).unwrap();
    assert!(listed.contains("hook") && listed.contains("WEBHOOK") && listed.contains("OK"), "{listed}");
}

#[test]
fn one_event_that_always_fails_does_not_hold_up_the_others() {
    let receiver = Receiver::start();
    refuse_failures(&receiver, 500);
    let daemon = Daemon::start_with_file(&hook(&receiver));
    let bad = daemon.enqueue(&["/bin/false"]);
    daemon.wait_final(&bad);
    let good = run_jobs(&daemon, 3);
    let row = wait_until(&daemon, "the others to be told", |row| row["deliveredCount"] == json!("3"));
    assert_eq!((&row["deadLetterCount"], &row["droppedCount"]), (&json!("1"), &json!("0")));
    assert_eq!(row["deadLetters"]["nodes"][0]["event"]["jobId"], json!(bad));
    let told = receiver.received().iter().filter(|request| good.contains(&job_of(request))).count();
    assert_eq!(told, 3, "each of the others once");
}

#[test]
fn one_event_that_always_fails_does_not_hold_up_one_that_comes_long_after_it() {
    if skips_on_postgres("it writes into the SQLite file") {
        return;
    }
    let receiver = Receiver::start();
    refuse_failures(&receiver, 500);
    let mut daemon = Daemon::start_with_file(&hook(&receiver));
    let bad = daemon.enqueue(&["/bin/false"]);
    daemon.wait_final(&bad);
    receiver.wait_for(1);
    assert!(daemon.terminate().success());
    // Between them stand more numbers than one look goes over, and more that is not wanted than a page holds.
    let unwanted = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
        INSERT INTO events (seq, kind, at_us, actor, data)
        SELECT value + 30000 + i, 'JOB_STATE_CHANGED', (SELECT max(at_us) FROM events), 'test', '{\"to\":\"CANCELLED\"}'
        FROM n, counters WHERE name = 'event'";
    assert_eq!(execute(&daemon, unwanted), 500);
    execute(&daemon, "UPDATE counters SET value = value + 40000 WHERE name = 'event'");
    daemon.restart();
    let good = run_jobs(&daemon, 1).remove(0);
    let row = wait_until(&daemon, "what comes after it to be told", |row| {
        row["deliveredCount"] == json!("1") && row["deadLetterCount"] == json!("1")
    });
    assert_eq!(row["deadLetters"]["nodes"][0]["event"]["jobId"], json!(bad));
    let told = receiver.received().iter().filter(|request| job_of(request) == good).count();
    assert_eq!((told, &row["droppedCount"]), (1, &json!("0")));
}

#[test]
fn what_was_put_back_and_fails_again_does_not_hold_up_what_was_put_back_later() {
    let receiver = Receiver::start();
    receiver.behave(|_| Reply::Status(422, ""));
    let daemon = Daemon::start_with_file(&hook(&receiver));
    let jobs = run_jobs(&daemon, 8);
    wait_until(&daemon, "the dead letters", |row| row["deadLetterCount"] == json!("8"));
    // All but the last two fail for ever, and new events are told meanwhile.
    let good: Vec<String> = jobs[6..].to_vec();
    let bad: Vec<String> = jobs[..6].to_vec();
    let stays_bad = bad.clone();
    receiver.behave(move |request| {
        let status = if stays_bad.contains(&job_of(request)) { 500 } else { 200 };
        Reply::Status(status, "")
    });
    let begun = now();
    assert!(daemon.cli(&["sink", "retry", "hook"]).status.success());
    let row = wait_until(&daemon, "those that can be taken", |row| row["deadLetterCount"] == json!("6"));
    println!("what was put back behind 6 that always fail was taken after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let told: Vec<String> = receiver.received().iter().map(job_of).collect();
    assert!(good.iter().all(|id| told.contains(id)));
    run_jobs(&daemon, 1);
    wait_until(&daemon, "a new event to be told", |row| row["deliveredCount"] == json!("3"));
    // Each of the others is tried again at its own time.
    let letters = row["deadLetters"]["nodes"].as_array().unwrap().clone();
    assert!(letters.iter().all(|one| one["redeliverAt"].is_string()), "{row}");
    wait_until(&daemon, "all of them to be tried again", |row| {
        let letters = row["deadLetters"]["nodes"].as_array().unwrap();
        letters.len() == 6 && letters.iter().all(|one| one["tryCount"].as_i64() >= Some(3))
    });
}

#[test]
fn what_the_feed_forgot_is_counted() {
    let mut receiver = Receiver::start();
    let mut daemon = Daemon::start_with_file(&hook(&receiver));
    receiver.take_down();
    run_jobs(&daemon, 3);
    wait_until(&daemon, "its trouble to be seen", |row| row["failingSince"].is_string());
    daemon.terminate();
    execute(&daemon, "DELETE FROM events WHERE seq <= (SELECT position FROM sinks)");
    let gone = execute(&daemon, "DELETE FROM events WHERE seq < (SELECT max(seq) FROM events)");
    assert!(gone >= 3, "{gone} events are gone");
    receiver.bring_up();
    daemon.restart();
    let row = wait_until(&daemon, "the gap to be counted", |row| row["droppedCount"] != json!("0"));
    assert_eq!(row["droppedCount"], json!(gone.to_string()));
    let jobs = run_jobs(&daemon, 1);
    check_ids(&receiver.wait_for(1), &jobs);
}

/// Breaks or prepares something on purpose in the store of a daemon.
pub fn execute(daemon: &Daemon, statement: &str) -> u64 {
    use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(daemon.data().join("beadle.db"));
    on_runtime(async {
        let mut connection = SqliteConnection::connect_with(&options).await.expect("the file can be opened");
        let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await;
        connection.close().await.expect("the test's connection closes");
        done.expect("the test's statement").rows_affected()
    })
}

/// Runs async work on a runtime of its own.
pub fn on_runtime<F: Future>(work: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime can be made").block_on(work)
}

#[test]
fn a_bad_sink_stops_the_start_with_a_sentence() {
    let daemon = Daemon::start();
    let receiver = Receiver::start();
    for (from, to, sign) in [
        ("JOB_STATE_CHANGED", "JOB_STATE_CHANGE", "did you mean JOB_STATE_CHANGED?"),
        ("allow_internal", "allow_interna", "did you mean sinks.hook.allow_internal?"),
        ("whsec_", "", "24 to 64 random bytes"),
    ] {
        daemon.put_settings(&hook(&receiver).replace(from, to));
        for word in ["config", "serve"] {
            let data = daemon.data();
            let ran = daemon.cli(&[word, "--data-dir", data.to_str().unwrap()]);
            let said = String::from_utf8_lossy(&ran.stderr).into_owned();
            assert!(!ran.status.success() && said.contains(sign), "{word}: {said}");
        }
    }
    daemon.put_settings(&hook(&receiver));
    let data = daemon.data();
    let shown = daemon.cli(&["config", "--data-dir", data.to_str().unwrap()]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("sinks.hook.events") && !shown.contains("whsec_"), "{shown}");
}
