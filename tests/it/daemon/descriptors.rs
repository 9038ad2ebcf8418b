//! Open descriptors run short: who is in goes on, who comes waits, jobs wait for their start instead of failing, and
//! everything comes back by itself.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;
use std::{fs, thread};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::daemon::{beadle, send};
use crate::support::length::sized;
use crate::support::program::program;
use crate::support::sse::Sse;
use crate::support::wait::{PATIENCE, now, span, until};

/// A daemon whose shell allows few descriptors, soft and hard.
struct Poor {
    child: Child,
    directory: TempDir,
    address: String,
    token: String,
}

impl Poor {
    fn start(limits: &str, flags: &str) -> Poor {
        let directory = TempDir::with_prefix("beadle-").expect("a temporary directory can be made");
        let data = directory.path().join("data");
        let real = beadle().get_program().to_owned();
        let script = format!(
            "{limits}; exec \"$0\" serve --data-dir \"$1\" --listen 127.0.0.1:0 --poll-interval 100ms {flags}"
        );
        let mut child = program("/bin/sh")
            .args(["-c", &script])
            .arg(real)
            .arg(&data)
            .env("HOME", directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("asked for"));
        let mut stderr = child.stderr.take().expect("asked for");
        thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            println!("--- the daemon's log\n{text}");
        });
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(stdout.read_line(&mut line).expect("a banner") > 0, "the daemon did not start");
            if let Some((_, address)) = line.trim_end().split_once("listening on http://") {
                break address.to_owned();
            }
        };
        thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        let token = fs::read_to_string(data.join("admin.token")).expect("a token").trim().to_owned();
        Poor { child, directory, address, token }
    }

    fn try_graphql(&self, query: &str, variables: &Value) -> Option<Value> {
        let mut answer = send(&self.address, &self.token, query, variables).ok()?;
        assert!(answer.get("errors").is_none(), "{query}\n{answer:#}");
        Some(answer["data"].take())
    }

    fn graphql(&self, query: &str, variables: &Value) -> Value {
        until("an answer", PATIENCE, || self.try_graphql(query, variables))
    }

    fn enqueue_many(&self, count: usize, argv: &[&str]) -> Vec<String> {
        let input = json!({"run": {"command": {"exec": {"argv": argv}}}});
        let query = "mutation ($input: JobEnqueueManyInput!) {
          jobEnqueueMany(input: $input) { results { job { id } userErrors { message } } }
        }";
        let answer = self.graphql(query, &json!({"input": {"jobs": vec![input; count]}}));
        let jobs = answer["jobEnqueueMany"]["results"].as_array().unwrap_or_else(|| panic!("{answer}"));
        jobs.iter().map(|job| job["job"]["id"].as_str().expect("an id").to_owned()).collect()
    }

    fn states(&self) -> Value {
        let counts = "{ jobCounts { queued running succeeded failed } }";
        self.graphql(counts, &json!({}))["jobCounts"].take()
    }

    fn row(&self, name: &str) -> Value {
        let rows = self.graphql("{ health { subsystems { name status message } } }", &json!({}));
        let rows = rows["health"]["subsystems"].as_array().cloned().unwrap_or_default();
        rows.into_iter().find(|row| row["name"] == json!(name)).unwrap_or_default()
    }

    /// Processor time so far, of all threads.
    fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it lives");
        let fields: Vec<_> = stat[stat.rfind(')').expect("a name") + 2..].split(' ').collect();
        let ticks: u64 =
            fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime");
        Duration::from_millis(ticks * 10)
    }

    fn open_count(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it lives").count()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Poor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connections that say nothing: as many as the system queues or the daemon takes.
fn idle(address: &str, count: usize) -> Vec<TcpStream> {
    let parsed = address.parse().expect("an address");
    (0..count).map_while(|_| TcpStream::connect_timeout(&parsed, Duration::from_millis(200)).ok()).collect()
}

#[test]
fn idle_connections_that_use_up_the_descriptors_hold_up_newcomers_only() {
    let daemon = Poor::start("ulimit -n 128", "--slots 4");
    let gate = daemon.file("gate");
    let script = "while [ ! -e \"$0\" ]; do echo on; sleep 0.1; done";
    let running = daemon.enqueue_many(1, &["/bin/sh", "-c", script, &gate.display().to_string()]).remove(0);
    let log = "subscription ($id: ID!) { jobLog(id: $id) { lines { text } } }";
    let mut stream =
        Sse::open(&daemon.address, &daemon.token, log, &json!({ "id": running })).expect("a stream");
    let health = "subscription { health { subsystems { name status message } } }";
    let mut rows = Sse::open(&daemon.address, &daemon.token, health, &json!({})).expect("a stream");
    stream.next_within(PATIENCE).expect("the job prints");

    let mut crowd = idle(&daemon.address, 150);
    let begun = now();
    // Who is in learns of it.
    let is_short = |rows: &Value| {
        let rows = rows["data"]["health"]["subsystems"].as_array().cloned().unwrap_or_default();
        rows.iter().any(|row| row["name"] == json!("descriptors") && row["status"] == json!("DEGRADED"))
    };
    loop {
        let message = rows.next_within(PATIENCE).expect("the row to say so");
        if is_short(&message.result) {
            break;
        }
    }
    let (cpu, open, since) = (daemon.cpu(), daemon.open_count(), now());
    // The job goes on, and its output is seen.
    let mut renewed = now();
    while since.elapsed() < sized(Duration::from_secs(3), Duration::from_mins(5)) {
        stream.next_within(PATIENCE).expect("the running job goes on");
        // Whoever says nothing is put out after a while: others come.
        if renewed.elapsed() > Duration::from_secs(4) {
            crowd.drain(..crowd.len().min(50));
            crowd.extend(idle(&daemon.address, 50));
            renewed = now();
        }
    }
    let share = daemon.cpu().saturating_sub(cpu).as_secs_f64() / since.elapsed().as_secs_f64();
    println!(
        "descriptors: {} idle connections, short after {:?}, {open} of 128 open, then {:.1} % of a processor",
        crowd.len(),
        begun.elapsed().saturating_sub(since.elapsed()),
        share * 100.0
    );
    assert!(open <= 128 - 16, "{open} are open: nothing is left for the daemon itself");
    assert!(share < 0.2, "{share} of a processor while nobody can come in");
    drop(crowd);
    let gone = now();
    let id = daemon.enqueue_many(1, &["/bin/echo", "in"]).remove(0);
    fs::write(&gate, "").expect("the gate opens");
    until("both jobs to end", PATIENCE, || (daemon.states()["succeeded"] == json!(2)).then_some(()));
    println!("descriptors: {id} ended {:?} after the crowd was gone", gone.elapsed());
    assert!(gone.elapsed() < Duration::from_secs(10), "{:?}", gone.elapsed());
    assert_eq!(daemon.row("descriptors")["status"], json!("OK"));
}

#[test]
fn jobs_wait_for_their_start_and_none_fails_for_want_of_descriptors() {
    // More slots than there are descriptors for.
    let daemon = Poor::start("ulimit -n 110", "--slots 40");
    let gate = daemon.file("gate");
    let script = "while [ ! -e \"$0\" ]; do sleep 0.1; done";
    let count = 40;
    daemon.enqueue_many(count, &["/bin/sh", "-c", script, &gate.display().to_string()]);
    let mut most = 0;
    let begun = now();
    // Until nothing more starts.
    until("as many to run as can", PATIENCE, || {
        let running = daemon.states()["running"].as_u64().unwrap_or(0);
        let grows = running > most;
        most = running.max(most);
        if !grows {
            span(Duration::from_millis(500));
        }
        (!grows && begun.elapsed() > Duration::from_secs(3)).then_some(())
    });
    let states = daemon.states();
    println!("descriptors: {most} of {count} jobs run at once under a limit of 110: {states}");
    assert!((2..40).contains(&most), "{most} run");
    assert_eq!(states["failed"], json!(0));
    fs::write(&gate, "").expect("the gate opens");
    until("all to end", PATIENCE, || (daemon.states()["succeeded"] == json!(count)).then_some(()));
    until("the rows to be well", PATIENCE, || {
        let is_well = |name: &str| daemon.row(name)["status"] != json!("DEGRADED");
        (is_well("descriptors") && is_well("starts")).then_some(())
    });
}

#[test]
fn the_daemon_raises_its_own_limit_and_its_jobs_get_the_usual_one() {
    let daemon = Poor::start("ulimit -Sn 512 && ulimit -Hn 4096", "--slots 1");
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.child.id())).expect("it lives");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
    let numbers: Vec<_> = line.split_ascii_whitespace().filter(|word| word.parse::<u64>().is_ok()).collect();
    assert_eq!(numbers, ["4096", "4096"]);
    let file = daemon.file("limits");
    let script = "sleep 0.2; ulimit -Sn >\"$0\"; ulimit -Hn >>\"$0\"";
    daemon.enqueue_many(1, &["/bin/sh", "-c", script, &file.display().to_string()]);
    until("the job to end", PATIENCE, || (daemon.states()["succeeded"] == json!(1)).then_some(()));
    assert_eq!(fs::read_to_string(file).expect("it wrote"), "512\n4096\n");
}
