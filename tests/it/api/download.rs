//! A whole log as one plain answer: byte by byte, with its gaps told, for whoever shows a token that may read it.

use std::fs;
use std::io::Read as _;

use serde_json::{Value, json};

use crate::api::wire::{exchange, request};
use crate::support::daemon::Daemon;
use crate::support::program::shown;
use crate::support::wait::{PATIENCE, until};

const ATTEMPT: &str =
    "query ($id: ID!) { job(id: $id) { attempts { nodes { id logBytes droppedLogBytes } } } }";

fn attempt(daemon: &Daemon, job: &str) -> Value {
    let answer = daemon.graphql(ATTEMPT, json!({ "id": job }));
    answer["job"]["attempts"]["nodes"][0].clone()
}

fn attempt_id(daemon: &Daemon, job: &str) -> String {
    attempt(daemon, job)["id"].as_str().expect("it has begun").to_owned()
}

fn run(daemon: &Daemon, script: &str) -> String {
    let id = daemon.enqueue(&["/bin/sh", "-c", script]);
    daemon.wait_final(&id);
    id
}

/// A request line, its fields, and the status it is answered with.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], u16);

/// The bytes at a path, with the admin's token.
fn fetch(daemon: &Daemon, path: &str) -> Vec<u8> {
    let token = format!("Bearer {}", daemon.token());
    let answer = ureq::get(format!("{}{path}", daemon.url())).header("Authorization", token).call();
    let mut bytes = Vec::new();
    let body = answer.unwrap_or_else(|why| panic!("{path}: {why}")).into_body();
    body.into_reader().read_to_end(&mut bytes).expect("the answer is whole");
    bytes
}

#[test]
fn a_log_comes_byte_by_byte_with_a_name() {
    let daemon = Daemon::start();
    let id = run(&daemon, r"printf 'a\000b\377\n\n'; printf 'tail'; sleep 0.3; printf ' end'");
    let attempt = attempt_id(&daemon, &id);
    let number = attempt.strip_prefix("attempt_").expect("an id has its noun");
    for path in
        [format!("/logs/{attempt}"), format!("/logs/{number}"), format!("/logs/{number}?stream=stdout")]
    {
        assert_eq!(fetch(&daemon, &path), b"a\0b\xff\n\ntail end", "{path}");
    }
    assert_eq!(fetch(&daemon, &format!("/logs/{attempt}?stream=stderr")), b"");
    let bearer = format!("Bearer {}", daemon.token());
    for method in ["GET", "HEAD"] {
        let line = format!("{method} /logs/{attempt}");
        let answer =
            exchange(daemon.address(), &request(daemon.address(), &line, &[("Authorization", &bearer)], ""));
        assert_eq!(answer.status, 200, "{line}");
        for (name, value) in [
            ("content-type", "text/plain; charset=utf-8".to_owned()),
            ("content-disposition", format!("attachment; filename=\"{id}-attempt_1.log\"")),
            ("x-content-type-options", "nosniff".to_owned()),
            ("cache-control", "no-store".to_owned()),
        ] {
            assert_eq!(answer.field(name), Some(value.as_str()), "{line}: {:?}", answer.fields);
        }
        assert_eq!(answer.body.is_empty(), method == "HEAD", "{line}");
    }
}

#[test]
fn streams_come_together_or_alone_and_remarks_are_marked() {
    let daemon = Daemon::start();
    let script =
        r#"echo out; sleep 0.2; echo err >&2; sleep 0.2; printf half; echo nonsense > "$BEADLE_REPORT""#;
    let attempt = attempt_id(&daemon, &run(&daemon, script));
    let remark = "[beadle] reports ignored: 1 that were no JSON object or too long\n";
    let all = String::from_utf8(fetch(&daemon, &format!("/logs/{attempt}"))).expect("it is text");
    assert_eq!(all, format!("out\nerr\nhalf\n{remark}"));
    assert_eq!(fetch(&daemon, &format!("/logs/{attempt}?stream=stdout")), b"out\nhalf");
    assert_eq!(fetch(&daemon, &format!("/logs/{attempt}?stream=stderr")), b"err\n");
}

#[test]
fn a_large_log_is_whole_and_a_capped_one_says_what_is_missing() {
    let daemon = Daemon::start();
    let id = run(&daemon, "seq 2000000");
    let text = fetch(&daemon, &format!("/logs/{}", attempt_id(&daemon, &id)));
    let expected: String =
        (1..=2_000_000).flat_map(|number: u32| [number.to_string(), "\n".to_owned()]).collect();
    assert!(text == expected.as_bytes(), "{} bytes of {}", text.len(), expected.len());

    let daemon = Daemon::start_with(&["--log-attempt-cap", "64KiB"]);
    let id = run(&daemon, "seq 200000");
    let attempt = attempt(&daemon, &id);
    let dropped = attempt["droppedLogBytes"].as_str().expect("a number as text");
    assert_ne!(dropped, "0");
    let path = format!("/logs/{}", attempt["id"].as_str().unwrap());
    let text = String::from_utf8(fetch(&daemon, &path)).expect("it is text");
    let marker = format!("[beadle] {dropped} bytes of output were not kept\n");
    let (head, tail) = text.split_once(&marker).unwrap_or_else(|| panic!("no {marker:?}"));
    assert!(head.starts_with("1\n2\n") && tail.ends_with("\n200000\n"));
    let bytes: usize = attempt["logBytes"].as_str().unwrap().parse().unwrap();
    assert_eq!(head.len() + tail.len() + dropped.parse::<usize>().unwrap(), bytes);
    assert!(expected.starts_with(head) && expected[..bytes].ends_with(tail));
}

#[test]
fn of_a_running_attempt_there_is_what_is_there() {
    let daemon = Daemon::start();
    let gate = daemon.directory().join("gate");
    let script = format!("echo before; until [ -e {0} ]; do sleep 0.05; done; echo after", gate.display());
    let id = daemon.enqueue(&["/bin/sh", "-c", &script]);
    let attempt = until("the attempt", PATIENCE, || attempt(&daemon, &id)["id"].as_str().map(str::to_owned));
    let path = format!("/logs/{attempt}");
    until("its first line", PATIENCE, || (fetch(&daemon, &path) == b"before\n").then_some(()));
    fs::write(&gate, "").expect("our own directory");
    daemon.wait_final(&id);
    assert_eq!(fetch(&daemon, &path), b"before\nafter\n");
}

#[test]
fn whoever_may_not_read_a_log_gets_nothing_of_it() {
    let daemon = Daemon::start();
    let attempt = attempt_id(&daemon, &run(&daemon, "echo precious"));
    let (own, wrong) = (format!("Bearer {}", daemon.token()), format!("Bearer {}", "0".repeat(64)));
    let known = ("Authorization", own.as_str());
    let path = format!("/logs/{attempt}");
    let in_url = format!("GET {path}?token={}", daemon.token());
    let get = format!("GET {path}");
    let cases: &[Case] = &[
        (&get, &[], 401),
        (&get, &[("Authorization", &wrong)], 401),
        (&in_url, &[], 401),
        (&in_url, &[known], 400),
        (&get, &[known, ("Host", "evil.example")], 421),
        (&get, &[known, ("Origin", "http://evil.example")], 403),
        (&get, &[known, ("Sec-Fetch-Site", "cross-site")], 403),
        (&format!("POST {path}"), &[known], 405),
        (&format!("DELETE {path}"), &[known], 405),
        (&format!("GET {path}?stream=system"), &[known], 400),
        (&format!("GET {path}/"), &[known], 404),
        (&format!("GET /{path}"), &[known], 404),
        ("GET /logs", &[known], 404),
        ("GET /logs/", &[known], 404),
        ("GET /logs/attempt_999", &[known], 404),
        ("GET /logs/999", &[], 401),
        ("GET /logs/0", &[known], 404),
        ("GET /logs/job_1", &[known], 404),
        ("GET /logs/%31", &[known], 404),
        ("GET /logs/..%2fdata", &[known], 404),
        ("GET /logs/-1", &[known], 404),
    ];
    for (line, fields, status) in cases {
        let answer = exchange(daemon.address(), &request(daemon.address(), line, fields, ""));
        assert_eq!(answer.status, *status, "{line} {fields:?}: {}", answer.body);
        assert!(!answer.body.contains("precious"), "{line} {fields:?}: {}", answer.body);
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"), "{line}");
    }
    let answer = exchange(daemon.address(), &request(daemon.address(), &get, &[known], ""));
    assert!(answer.status == 200 && answer.body.contains("precious"), "the same request is good otherwise");
}

#[test]
fn a_forgotten_log_is_gone() {
    let mut daemon = Daemon::start_with(&["--retention-log-bytes", "1MiB"]);
    let attempt = attempt_id(&daemon, &run(&daemon, "head -c 3000000 /dev/urandom | base64"));
    daemon.terminate();
    daemon.restart();
    let bearer = format!("Bearer {}", daemon.token());
    let line = format!("GET /logs/{attempt}");
    let gone = until("the log to make room", PATIENCE, || {
        let answer =
            exchange(daemon.address(), &request(daemon.address(), &line, &[("Authorization", &bearer)], ""));
        (answer.status == 410).then_some(answer)
    });
    assert!(gone.body.contains("forgotten to make room"), "{}", gone.body);
}

#[test]
fn the_program_fetches_a_whole_log() {
    let daemon = Daemon::start();
    let id = run(&daemon, r"printf 'a\377\n'; echo err >&2");
    let raw = daemon.cli(&["logs", &id, "--raw", "--stream", "stdout"]);
    assert_eq!((raw.status.code(), raw.stdout.as_slice()), (Some(0), &b"a\xff\n"[..]), "{}", shown(&raw));
    let file = daemon.directory().join("whole.log");
    let name = file.to_str().expect("a path is text");
    let saved = daemon.cli(&["logs", &id, "--attempt", "1", "-o", name]);
    assert_eq!(saved.status.code(), Some(0), "{}", shown(&saved));
    let bytes = fs::read(&file).expect("it was written");
    assert!(bytes == b"a\xff\nerr\n" || bytes == b"err\na\xff\n", "{bytes:?}");
    let again = daemon.cli(&["logs", &id, "-o", name]);
    assert_eq!(again.status.code(), Some(1), "what is there is not written over: {}", shown(&again));
    for (args, code) in [
        (&["logs", "999", "--raw"][..], 3),
        (&["logs", &id, "--raw", "--attempt", "2"], 3),
        (&["logs", &id, "--raw", "--grep", "x"], 2),
    ] {
        let output = daemon.cli(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", shown(&output));
    }
    let denied = daemon.cli_command(&["logs", &id, "--raw"]).env("BEADLE_TOKEN", "wrong").output().unwrap();
    assert_eq!(denied.status.code(), Some(4), "{}", shown(&denied));
}
