//! Output that means harm: floods, lines without an end, bytes that are no text, a process that stands still. The daemon
//! stays small, the others stay quick, and each attempt still gives its own end.

use std::fs::{self, File};
use std::io::Read as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, string};
use crate::support::length::sized;
use crate::support::program::{program, program_path};
use crate::support::wait::{now, span};

/// Jobs that write at once.
const FLOODS: usize = 8;
/// What the daemon may take of memory, whatever they write.
const MEMORY_MAX: u64 = 128 * 1024 * 1024;
/// Between two of the others: they come one by one, and are no load that fills the machine by itself.
const PACE: Duration = Duration::from_millis(4);
/// Others that are measured between two looks whether the floods are over.
const BETWEEN_LOOKS: usize = 20;

/// A start this quick is quick, however quick it was without a flood: less is noise of the machine. The promise is that
/// of a release build, which the long form measures when it is named; all else notices a blunder.
fn quick() -> Duration {
    let is_named = program_path() != env!("CARGO_BIN_EXE_beadle");
    Duration::from_millis(if is_named { sized(1_500, 8) } else { 1_500 })
}

/// Others whose way from the enqueue to the start is measured before.
fn samples() -> usize {
    sized(60, 1_000)
}

/// Megabytes that each writes.
fn megabytes() -> usize {
    sized(40, 1_000)
}

fn sh(daemon: &Daemon, script: &str, more: &Value) -> String {
    let mut input =
        json!({"run": {"command": {"exec": {"argv": ["/bin/sh", "-c", script]}}}, "killGrace": "200ms"});
    for (name, value) in more.as_object().into_iter().flatten() {
        input[name] = value.clone();
    }
    daemon.enqueue_with(input)
}

/// Jobs that say at once that they run.
struct Others<'a> {
    daemon: &'a Daemon,
    /// One connection for all: what a client needs to begin one is no part of the way.
    client: ureq::Agent,
    input: String,
    heard: File,
}

impl<'a> Others<'a> {
    fn of(daemon: &'a Daemon) -> Others<'a> {
        let path = daemon.directory().join("started");
        assert!(program("mkfifo").arg(&path).status().expect("mkfifo is part of every system").success());
        // With both ends in one hand there is never an end of it.
        let heard = File::options().read(true).write(true).open(&path).expect("it was just made");
        let argv = ["/bin/sh", "-c", &format!("echo >{}", path.display())];
        let query = "mutation ($argv: [String!]!) {
          jobEnqueue(input: {run: {command: {exec: {argv: $argv}}}}) { job { id } }
        }";
        let input = json!({"query": query, "variables": {"argv": argv}}).to_string();
        Others { daemon, client: ureq::Agent::new_with_defaults(), input, heard }
    }

    /// From a client's request to the first thing that the process does.
    fn way_to_start(&mut self) -> Duration {
        let request = self.client.post(format!("{}/graphql", self.daemon.url()));
        let request = request.header("Authorization", format!("Bearer {}", self.daemon.token()));
        let request = request.header("Content-Type", "application/json");
        let begun = now();
        let mut answer = request.send(&self.input).expect("an answer");
        // Read to its end, so that the connection serves the next one.
        let answer = answer.body_mut().read_to_string().expect("the answer is whole");
        assert!(answer.contains(r#""job":{"id":"#), "{answer}");
        self.heard.read_exact(&mut [0]).expect("the job writes a byte");
        let took = begun.elapsed();
        span(PACE);
        took
    }
}

/// The 99th of a hundred, as near as the samples come to it.
fn p99(mut ways: Vec<Duration>) -> Duration {
    ways.sort();
    ways[(ways.len() * 99).div_ceil(100) - 1]
}

fn peak_bytes(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("the daemon runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("Linux says it");
    line.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok()).expect("kilobytes") * 1024
}

#[test]
fn eight_floods_leave_the_daemon_small_and_the_others_quick() {
    let daemon = Daemon::start_alone_with(&["--slots", "16"]);
    let mut others = Others::of(&daemon);
    let before = p99((0..samples()).map(|_| others.way_to_start()).collect());
    let begun = now();
    let script = format!("yes 'a line of a flood, as long as lines are' | head -c {}000000", megabytes());
    let floods: Vec<_> = (0..FLOODS).map(|_| sh(&daemon, &script, &json!({}))).collect();
    let open = "query ($ids: [ID!]!) { jobs(first: 1, filter: {ids: $ids, states: [QUEUED, RUNNING]}) { totalCount } }";
    let mut ways = Vec::new();
    while daemon.graphql(open, json!({ "ids": floods }))["jobs"]["totalCount"] != json!(0) {
        // The question is a load of its own: it is asked seldom.
        ways.extend((0..BETWEEN_LOOKS).map(|_| others.way_to_start()));
    }
    let took = begun.elapsed();
    let (count, meanwhile, peak) = (ways.len(), p99(ways), peak_bytes(&daemon));
    for id in &floods {
        assert_eq!(daemon.wait_final_state(id), "SUCCEEDED");
        let query = "query ($id: ID!) { job(id: $id) { attempts { nodes { logBytes droppedLogBytes } } } }";
        let attempt = daemon.graphql(query, json!({ "id": id }))["job"]["attempts"]["nodes"][0].clone();
        assert_eq!(string(&attempt["logBytes"]), format!("{}000000", megabytes()), "{attempt}");
    }
    println!(
        "{FLOODS} jobs of {} MB in {} ms: the daemon's peak is {} MiB; p99 from enqueue to start of {count} others {} ms, {} ms without",
        megabytes(),
        took.as_millis(),
        peak >> 20,
        meanwhile.as_secs_f64() * 1e3,
        before.as_secs_f64() * 1e3
    );
    assert!(peak < MEMORY_MAX, "{peak}");
    assert!(meanwhile <= (before * 2).max(quick()), "{meanwhile:?} with the floods, {before:?} without");
}

#[test]
fn a_line_without_an_end_and_bytes_that_are_no_text_come_out_as_they_went_in() {
    let daemon = Daemon::start();
    let file = daemon.directory().join("bytes");
    // Any bytes, a line of a megabyte, NUL, no UTF-8, no newline at the end.
    let script = format!(
        "{{ head -c 300000 /dev/urandom; head -c 1000000 /dev/zero | tr '\\0' x; echo; head -c 1000 /dev/zero; \
         printf '\\377\\376\\n\\200'; }} >{0}; cat {0}; exit 6",
        file.display()
    );
    let id = sh(&daemon, &script, &json!({}));
    let attempt = ended(&daemon, &id);
    assert_eq!((&attempt["outcome"], &attempt["exitCode"]), (&json!("EXITED"), &json!(6)));
    let token = format!("Bearer {}", daemon.token());
    let url = format!("{}/logs/{}", daemon.url(), string(&attempt["id"]));
    let answer = ureq::get(url).header("Authorization", token).call().expect("a log");
    let mut bytes = Vec::new();
    answer.into_body().into_reader().read_to_end(&mut bytes).expect("the answer is whole");
    assert!(bytes == fs::read(&file).expect("the job wrote it"), "{} bytes came", bytes.len());
}

#[test]
fn a_line_of_a_hundred_megabytes_is_cut_and_its_end_is_seen() {
    let daemon = Daemon::start_with(&["--log-attempt-cap", "1MiB"]);
    let length = sized(20, 100);
    let id = sh(&daemon, &format!("head -c {length}000000 /dev/zero | tr '\\0' x; exit 5"), &json!({}));
    let attempt = ended(&daemon, &id);
    let number = |field: &str| string(&attempt[field]).parse::<u64>().expect("a number");
    assert_eq!((&attempt["exitCode"], number("logBytes")), (&json!(5), length * 1_000_000));
    let kept = number("logBytes") - number("droppedLogBytes");
    assert!((1 << 19..=1 << 20).contains(&kept), "{kept} bytes are kept");
    println!(
        "one line of {length} MB: {kept} bytes kept, the daemon's peak is {} MiB",
        peak_bytes(&daemon) >> 20
    );
    assert!(peak_bytes(&daemon) < MEMORY_MAX);
}

#[test]
fn a_process_that_stands_still_or_is_not_heard_ends_as_it_should() {
    let daemon = Daemon::start_with(&["--slots", "32"]);
    let count = sized(20, 100);
    let still: Vec<_> =
        (0..count).map(|_| sh(&daemon, "kill -STOP $$; exit 1", &json!({"timeout": "300ms"}))).collect();
    // The output is closed: what is written later fails, and the code is its own.
    let closed: Vec<_> =
        (0..count).map(|_| sh(&daemon, "exec >&- 2>&-; sleep 0.2; echo lost; exit 7", &json!({}))).collect();
    for id in still {
        assert_eq!(ended(&daemon, &id)["outcome"], json!("TIMED_OUT"));
    }
    for id in closed {
        assert_eq!(ended(&daemon, &id)["exitCode"], json!(7));
    }
}

#[test]
fn a_script_without_its_interpreter_is_said_so() {
    let daemon = Daemon::start();
    let script = daemon.directory().join("script");
    let make = format!("printf '#!/no/such/interpreter\\n' >{0}; chmod 755 {0}", script.display());
    assert_eq!(ended(&daemon, &sh(&daemon, &make, &json!({})))["outcome"], json!("SUCCEEDED"));
    let id = daemon.enqueue(&[script.to_str().expect("our own path")]);
    let attempt = ended(&daemon, &id);
    assert_eq!(attempt["outcome"], json!("SPAWN_FAILED"), "{attempt}");
    assert!(string(&attempt["failure"]["message"]).contains("/no/such/interpreter"), "{attempt}");
}

/// The job's only attempt, once it has ended.
fn ended(daemon: &Daemon, id: &str) -> Value {
    daemon.wait_final_state(id);
    let query = "query ($id: ID!) { job(id: $id) { attempts { nodes {
      id outcome exitCode logBytes droppedLogBytes failure { message }
    } } } }";
    daemon.graphql(query, json!({ "id": id }))["job"]["attempts"]["nodes"][0].clone()
}
