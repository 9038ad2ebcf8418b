//! A real daemon in a directory of its own, and the clients that a test talks to it with.
//! It must never reach around the front door: what it knows, any user could know.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, thread};

use beadle::base::environment::variable;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::machine::{self, Place};
use super::postgres::engine_flags;
use super::printed::{address_in, gather, text};
use super::program::{kill_all_with, program, program_path};
use super::ready::is_ready;
use super::sse::{End, Sse};
use super::wait::{PATIENCE, now, span, until};

/// What it says when its port belongs to somebody else.
const PORT_TAKEN: &str = "cannot be listened on";

/// How long one request may take before the test gives it up.
const REQUEST_LIMIT: Duration = Duration::from_secs(40);

/// The fields that `wait_final` answers with.
const FOLLOW: &str = "subscription ($id: ID!) {
  jobFollow(id: $id) {
    job {
      id state startedAt finishedAt stopRequestedAt
      failure { outcome message exitCode signal errorLine isRetryable }
      attempts { nodes { id number outcome exitCode signal pid } }
    }
    log { lines { stream text } }
  }
}";

/// The final states of a job.
pub const FINAL_STATES: [&str; 5] = ["SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "SKIPPED"];

/// A daemon on its own data directory. Dropping it kills it and removes the directory.
#[derive(Debug)]
pub struct Daemon {
    directory: TempDir,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    /// A command that the daemon is started by.
    wrapper: Vec<String>,
    running: Option<Running>,
    /// `127.0.0.1:PORT`, the same over restarts.
    address: String,
    token: String,
    _place: Place,
}

/// A job that is over, with everything it printed.
#[derive(Debug)]
pub struct Ended {
    /// The job as `jobFollow` showed it last.
    pub job: Value,
    /// Its lines in order, as (stream, text).
    pub lines: Vec<(String, String)>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    stderr: Arc<Mutex<String>>,
    stdout: Arc<Mutex<String>>,
}

impl Daemon {
    /// A daemon with the default settings, on a free port, beside whatever else runs.
    pub fn start() -> Daemon {
        Daemon::start_in(machine::shared(), &[], &[])
    }

    /// A daemon with further `serve` flags.
    pub fn start_with(flags: &[&str]) -> Daemon {
        Daemon::start_in(machine::shared(), flags, &[])
    }

    /// A daemon with this settings file.
    pub fn start_with_file(settings: &str) -> Daemon {
        Daemon::start_with_file_in(settings, &[])
    }

    /// A daemon with this settings file and variables in its environment.
    pub fn start_with_file_in(settings: &str, variables: &[(&str, &str)]) -> Daemon {
        let mut daemon = Daemon::unstarted(machine::shared(), &[], variables);
        daemon.put_settings(settings);
        daemon.launch();
        daemon
    }

    /// Writes the settings file that the next start reads.
    pub fn put_settings(&self, settings: &str) {
        fs::create_dir_all(self.data()).expect("the data directory can be made");
        fs::set_permissions(self.data(), Permissions::from_mode(0o700)).expect("it is ours");
        fs::write(self.data().join("beadle.toml"), settings).expect("the settings can be written");
    }

    /// A daemon with variables in its environment.
    pub fn start_in_environment(variables: &[(&str, &str)]) -> Daemon {
        Daemon::start_in(machine::shared(), &[], variables)
    }

    /// A daemon that has the machine to itself, for measurements.
    pub fn start_alone() -> Daemon {
        Daemon::start_alone_with(&[])
    }

    /// The same with further `serve` flags.
    pub fn start_alone_with(flags: &[&str]) -> Daemon {
        Daemon::start_in(machine::alone(), flags, &[])
    }

    /// A daemon that was never started: its directory is empty. `try_start` starts it.
    pub fn prepared(flags: &[&str]) -> Daemon {
        Daemon::unstarted(machine::shared(), flags, &[])
    }

    /// A daemon on a data directory that `prepare` makes first.
    pub fn start_on(prepare: impl FnOnce(&Path)) -> Daemon {
        let mut daemon = Daemon::unstarted(machine::shared(), &[], &[]);
        prepare(&daemon.data());
        daemon.launch();
        daemon
    }

    fn start_in(place: Place, flags: &[&str], variables: &[(&str, &str)]) -> Daemon {
        let mut daemon = Daemon::unstarted(place, flags, variables);
        daemon.launch();
        daemon
    }

    fn unstarted(place: Place, flags: &[&str], variables: &[(&str, &str)]) -> Daemon {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Daemon {
            directory: TempDir::with_prefix("beadle-").expect("a temporary directory can be made"),
            flags: engine_flags().into_iter().chain(flags.iter().map(|&flag| flag.to_owned())).collect(),
            environment: variables.iter().map(own).collect(),
            wrapper: Vec::new(),
            running: None,
            address: "127.0.0.1:0".to_owned(),
            token: String::new(),
            _place: place,
        }
    }

    /// Starts the daemon from now on by another command, which must become it (`exec`); `DATA` stands for its data
    /// directory. Nothing: plainly.
    pub fn wrap(&mut self, wrapper: &[&str]) {
        let data = self.data().display().to_string();
        self.wrapper = wrapper.iter().map(|word| word.replace("DATA", &data)).collect();
    }

    /// As `try_start`, with what the daemon said on its standard error when it ended instead.
    pub fn start_or_words(&mut self) -> Result<Duration, String> {
        assert!(self.running.is_none(), "the daemon still runs");
        let (started, words) = self.start_once(&[]);
        started.map_err(|_| words)
    }

    /// The directory that holds the data directory and whatever else the test puts there.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The daemon's data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The admin token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The daemon's process id.
    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("the daemon runs").child.id()
    }

    /// What the present daemon has written to its standard error.
    pub fn log(&self) -> String {
        self.running.as_ref().map(|one| text(&one.stderr)).unwrap_or_default()
    }

    /// What the present daemon has written to its standard output: its banner.
    pub fn banner(&self) -> String {
        self.running.as_ref().map(|one| text(&one.stdout)).unwrap_or_default()
    }

    /// Kills the daemon at once: no signal handler, no flush.
    pub fn kill9(&mut self) {
        let mut running = self.running.take().expect("the daemon runs");
        running.child.kill().expect("our own child can be killed");
        running.child.wait().expect("our own child can be waited for");
    }

    /// Asks the daemon to stop (SIGTERM) without waiting for it.
    pub fn ask_to_stop(&self) {
        let pid = i32::try_from(self.pid()).expect("a pid fits");
        let pid = rustix::process::Pid::from_raw(pid).expect("a pid is not 0");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("our own child");
    }

    /// Waits until the daemon has ended by itself.
    pub fn wait_ended(&mut self) -> ExitStatus {
        let mut running = self.running.take().expect("the daemon runs");
        let begun = now();
        until("the daemon to end", PATIENCE * 2, || {
            assert!(begun.elapsed() < PATIENCE, "the daemon does not end:\n{}", text(&running.stderr));
            running.child.try_wait().expect("our own child can be waited for")
        })
    }

    /// SIGTERM, then waits for the end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.ask_to_stop();
        self.wait_ended()
    }

    /// The next start has other variables in its environment.
    pub fn change_environment(&mut self, variables: &[(&str, &str)]) {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.environment = variables.iter().map(own).collect();
    }

    /// Starts the daemon again on the same directory and address. It must not be running.
    pub fn restart(&mut self) {
        assert!(self.running.is_none(), "the daemon still runs");
        self.launch();
    }

    /// A `serve` command line for this data directory, ready to be changed and started by the test itself.
    pub fn serve_command(&self) -> Command {
        let mut serve = match self.wrapper.split_first() {
            None => beadle(),
            Some((first, rest)) => {
                let mut wrapped = bare(first);
                wrapped.args(rest).arg(program_path());
                wrapped
            }
        };
        serve
            .arg("serve")
            .arg("--data-dir")
            .arg(self.data())
            .args(["--listen", &self.address])
            .args(&self.flags)
            .envs(self.environment.iter().cloned())
            .env("HOME", self.directory.path());
        serve
    }

    /// Starts the daemon, which must not be running, with further variables in its environment. Gives the time until
    /// it says by `/readyz` that it is ready, or how it ended before.
    pub fn try_start(&mut self, variables: &[(&str, &str)]) -> Result<Duration, ExitStatus> {
        assert!(self.running.is_none(), "the daemon still runs");
        let trying = now();
        loop {
            let (started, words) = self.start_once(variables);
            // While nobody listened there, the system may have given the port to another program for a moment.
            if started.is_err() && words.contains(PORT_TAKEN) && trying.elapsed() < PATIENCE {
                span(Duration::from_millis(50));
                continue;
            }
            if started.is_err_and(|ended| ended.signal().is_none()) {
                eprintln!("--- the daemon did not start\n{words}");
            }
            return started;
        }
    }

    /// One start, with what the daemon wrote to its standard error when it ended before it was ready.
    fn start_once(&mut self, variables: &[(&str, &str)]) -> (Result<Duration, ExitStatus>, String) {
        let begun = now();
        let mut running = self.spawn(variables);
        let ready = until("the daemon to be ready, or to end", PATIENCE, || {
            if let Some(ended) = running.child.try_wait().expect("our own child can be waited for") {
                return Some(Err(ended));
            }
            let address = address_in(&text(&running.stdout))?;
            is_ready(&address).then(|| Ok((begun.elapsed(), address)))
        });
        let (took, address) = match ready {
            Ok(ready) => ready,
            Err(ended) => {
                // What it said as it ended is read by a thread of ours, a moment later.
                let over = now();
                while ended.signal().is_none()
                    && text(&running.stderr).is_empty()
                    && over.elapsed().as_secs() < 1
                {
                    span(Duration::from_millis(5));
                }
                return (Err(ended), text(&running.stderr));
            }
        };
        self.address = address;
        self.running = Some(running);
        self.read_token();
        (Ok(took), String::new())
    }

    /// How the daemon ended, once it has ended by itself; then it can be started again.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        let running = self.running.as_mut()?;
        let ended = running.child.try_wait().expect("our own child can be waited for")?;
        self.running = None;
        Some(ended)
    }

    fn spawn(&self, variables: &[(&str, &str)]) -> Running {
        let mut child = self
            .serve_command()
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the daemon's program starts");
        let stdout = gather(child.stdout.take().expect("asked for"));
        let stderr = gather(child.stderr.take().expect("asked for"));
        Running { child, stderr, stdout }
    }

    fn launch(&mut self) {
        let mut running = self.spawn(&[]);
        let begun = now();
        self.address = until("the daemon to listen", PATIENCE * 2, || {
            let ended = running.child.try_wait().expect("our own child can be waited for");
            assert!(
                ended.is_none() && begun.elapsed() < PATIENCE,
                "the daemon did not start ({ended:?}):\n{}\n{}",
                text(&running.stdout),
                text(&running.stderr)
            );
            address_in(&text(&running.stdout))
        });
        self.running = Some(running);
        self.read_token();
    }

    fn read_token(&mut self) {
        let token =
            fs::read_to_string(self.data().join("admin.token")).expect("the first start writes a token");
        token.trim().clone_into(&mut self.token);
    }

    /// Sends one operation; the whole answer as JSON, or why there is none (then it may or may not have happened).
    pub fn send(&self, query: &str, variables: &Value) -> Result<Value, String> {
        send(&self.address, &self.token, query, variables)
    }

    /// Sends one operation and answers with its `data`. Panics on any error.
    pub fn graphql(&self, query: &str, variables: Value) -> Value {
        let mut answer = match self.send(query, &variables) {
            Ok(answer) => answer,
            Err(why) => panic!("no answer to {query}: {why}\n{}", self.log()),
        };
        assert!(answer.get("errors").is_none(), "{query}\n{variables}\n{answer:#}\n{}", self.log());
        answer["data"].take()
    }

    /// Enqueues an ad hoc command and answers with the job's id.
    pub fn enqueue(&self, argv: &[&str]) -> String {
        self.enqueue_with(json!({"run": {"command": {"exec": {"argv": argv}}}}))
    }

    /// Enqueues by a `JobEnqueueInput` and answers with the job's id.
    pub fn enqueue_with(&self, input: Value) -> String {
        let query = "mutation ($input: JobEnqueueInput!) {
          jobEnqueue(input: $input) { job { id } userErrors { code message path } }
        }";
        let answer = self.graphql(query, json!({ "input": input }));
        let id = answer["jobEnqueue"]["job"]["id"].as_str();
        id.unwrap_or_else(|| panic!("refused: {answer}")).to_owned()
    }

    /// Opens a subscription over server-sent events.
    pub fn subscribe(&self, query: &str, variables: &Value) -> Sse {
        Sse::open(&self.address, &self.token, query, variables)
            .unwrap_or_else(|why| panic!("cannot subscribe to {query}: {why}\n{}", self.log()))
    }

    /// Follows the job to its end.
    pub fn wait_final(&self, id: &str) -> Ended {
        let mut follow = self.subscribe(FOLLOW, &json!({ "id": id }));
        let (mut job, mut lines) = (Value::Null, Vec::new());
        loop {
            let message = match follow.next_within(PATIENCE) {
                Ok(message) => message.result,
                Err(End::Complete) => break,
                Err(end) => panic!("{id} was not followed to its end ({end:?}), last {job}\n{}", self.log()),
            };
            assert!(message.get("errors").is_none(), "{message:#}");
            let update = &message["data"]["jobFollow"];
            job = update["job"].clone();
            let batch = update["log"]["lines"].as_array().into_iter().flatten();
            lines.extend(batch.map(|line| (string(&line["stream"]), string(&line["text"]))));
        }
        let state = job["state"].as_str().unwrap_or_default();
        assert!(FINAL_STATES.contains(&state), "the stream completed, but the job is {job}");
        Ended { job, lines }
    }

    /// Waits for the job's end without its output; gives the state.
    pub fn wait_final_state(&self, id: &str) -> String {
        let query = "query ($id: ID!) { job(id: $id) { state } }";
        until("the job to end", PATIENCE * 10, || {
            let state = string(&self.graphql(query, json!({ "id": id }))["job"]["state"]);
            FINAL_STATES.contains(&state.as_str()).then_some(state)
        })
    }

    /// The command line client, as an operator on this machine has it (address and token by environment).
    pub fn cli_command(&self, args: &[&str]) -> Command {
        let mut command = beadle();
        command
            .args(args)
            .env("HOME", self.directory.path())
            .env("BEADLE_URL", self.url())
            .env("BEADLE_TOKEN", &self.token)
            .stdin(Stdio::null());
        command
    }

    /// Runs the command line client to its end.
    pub fn cli(&self, args: &[&str]) -> Output {
        self.cli_command(args).output().expect("the client's program starts")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            if thread::panicking() {
                eprintln!("--- the daemon's log\n{}", text(&running.stderr));
            }
            let _ = running.child.kill();
            let _ = running.child.wait();
            // Jobs outlive a killed daemon. No other process has this directory as its home.
            kill_all_with("HOME", &self.directory.path().display().to_string());
        }
    }
}

/// The program under test, with nothing of the developer's environment but the search path.
pub fn beadle() -> Command {
    bare(&program_path())
}

fn bare(path: &str) -> Command {
    let mut command = program(path);
    command.env_clear().env("PATH", variable("PATH").unwrap_or_default()).env("RUST_BACKTRACE", "1");
    command
}

/// Posts one operation to `http://ADDRESS/graphql`: the answer as JSON whatever its status, or why there is none.
pub fn send(address: &str, token: &str, query: &str, variables: &Value) -> Result<Value, String> {
    let body = json!({"query": query, "variables": variables}).to_string();
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(REQUEST_LIMIT))
        .build()
        .new_agent();
    let mut answer = agent
        .post(format!("http://{address}/graphql"))
        .header("Authorization", format!("Bearer {token}"))
        .header("Content-Type", "application/json")
        .header("Accept", "application/graphql-response+json, application/json")
        .send(body)
        .map_err(|why| why.to_string())?;
    let status = answer.status();
    let text = answer.body_mut().read_to_string().map_err(|why| why.to_string())?;
    serde_json::from_str(&text).map_err(|why| format!("{status}: {why}: {text}"))
}

/// A JSON string's text; empty for anything else.
pub fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
