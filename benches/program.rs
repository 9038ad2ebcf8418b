//! Owns the programs that are measured: where they come from, and one that runs in a directory of its own. It must
//! never reach around the front door, but to kill.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::load::{Http, Load, request};

/// Names another program than the one that is built here.
const PROGRAM: &str = "BEADLE_BENCH_PROGRAM";
/// The same for the example `noop`.
const NOOP: &str = "BEADLE_BENCH_NOOP";
/// What the daemon says on its standard error, beside its data.
const ERRORS: &str = "errors";
/// How long anything may take that is no measurement.
const PATIENCE: Duration = Duration::from_mins(10);
/// Subscriptions of one token, below what the daemon allows.
const SUBSCRIPTIONS_EACH: usize = 250;

/// What is measured.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The program `beadle`.
    pub beadle: PathBuf,
    /// A program that embeds the daemon and offers a handler that does nothing.
    pub noop: PathBuf,
}

impl Programs {
    /// As they are shipped: built in the release profile without the tests' features.
    pub fn shipped() -> Programs {
        if env::var_os(PROGRAM).is_none() {
            let mut cargo = Command::new("cargo");
            cargo.args(["build", "--release", "-p", "beadle", "-p", "beadle-noop", "--bins"]);
            let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status();
            assert!(status.is_ok_and(|status| status.success()), "cargo does not build the program");
        }
        let release = built_in().with_file_name("release");
        let beadle = env::var_os(PROGRAM).map_or(release.join("beadle"), PathBuf::from);
        let beside = beadle.with_file_name("beadle-noop");
        let noop = env::var_os(NOOP).map_or(beside, PathBuf::from);
        Programs { beadle, noop }.checked()
    }

    /// As the tests have them.
    pub fn tested() -> Programs {
        let debug = built_in();
        Programs { beadle: debug.join("beadle"), noop: debug.join("examples/noop") }.checked()
    }

    fn checked(self) -> Programs {
        for program in [&self.beadle, &self.noop] {
            assert!(program.exists(), "{} is not built: run `cargo test --no-run` first", program.display());
        }
        self
    }
}

/// The directory that cargo built this program into.
fn built_in() -> PathBuf {
    let own = env::current_exe().expect("Linux tells a program where it is");
    let deps = own.parent().expect("a program is in a directory");
    deps.parent().expect("cargo builds below the profile's directory").to_owned()
}

/// A directory on the disk that is measured, gone when it is dropped.
pub fn directory() -> TempDir {
    let parent = env!("CARGO_TARGET_TMPDIR");
    fs::create_dir_all(parent).expect("cargo's directory can be made");
    TempDir::with_prefix_in("bench-", parent).expect("a directory can be made")
}

/// A running daemon. Dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    directory: Arc<TempDir>,
    command: Vec<String>,
    child: Child,
    address: String,
    token: String,
}

impl Daemon {
    /// The program `beadle` with further flags of `serve`, on an empty directory.
    pub async fn beadle(programs: &Programs, flags: &[&str]) -> Daemon {
        Daemon::beadle_on(programs, Arc::new(directory()), flags).await
    }

    /// The same on a directory that is there.
    pub async fn beadle_on(programs: &Programs, directory: Arc<TempDir>, flags: &[&str]) -> Daemon {
        let data = data_in(&directory);
        let serve = ["serve", "--listen", "127.0.0.1:0", "--max-queued", "100000000", "--data-dir", &data];
        let command = [programs.beadle.to_str().expect("paths here are text")].into_iter();
        Daemon::started(directory.clone(), owned(command.chain(serve).chain(flags.iter().copied()))).await
    }

    /// The program `noop` with so many slots and so much memory of its own.
    pub async fn noop(programs: &Programs, slots: usize, ballast_mb: usize) -> Daemon {
        Daemon::noop_on(programs, Arc::new(directory()), slots, ballast_mb).await
    }

    /// The same on a directory that is there.
    pub async fn noop_on(programs: &Programs, on: Arc<TempDir>, slots: usize, ballast_mb: usize) -> Daemon {
        let (slots, ballast_mb) = (slots.to_string(), ballast_mb.to_string());
        let program = programs.noop.to_str().expect("paths here are text");
        let command = owned([program, &data_in(&on), &slots, &ballast_mb].into_iter());
        Daemon::started(on, command).await
    }

    /// The same on an empty directory, with further settings as `KEY=VALUE`.
    pub async fn noop_with(programs: &Programs, slots: usize, settings: &[&str]) -> Daemon {
        let (on, slots) = (Arc::new(directory()), slots.to_string());
        let program = programs.noop.to_str().expect("paths here are text");
        let data = data_in(&on);
        let command = [program, &data, &slots, "0"].into_iter().chain(settings.iter().copied());
        let command = owned(command);
        Daemon::started(on, command).await
    }

    async fn started(directory: Arc<TempDir>, command: Vec<String>) -> Daemon {
        let (child, address) = spawned(&command, directory.path());
        let mut daemon = Daemon { directory, command, child, address, token: String::new() };
        daemon.greet().await;
        daemon
    }

    /// Waits for the first right answer.
    async fn greet(&mut self) {
        let token = fs::read_to_string(Path::new(&data_in(&self.directory)).join("admin.token"));
        token.expect("the daemon wrote its token").trim().clone_into(&mut self.token);
        let answer = self.ask("{ daemon { version } }", &json!({})).await;
        assert!(answer["daemon"]["version"].is_string(), "{answer}");
    }

    /// No signal handler, no flush.
    pub fn kill9(&mut self) {
        self.child.kill().expect("our own child can be killed");
        self.child.wait().expect("our own child can be waited for");
    }

    /// Starts it again on what it left.
    pub async fn restart(&mut self) {
        (self.child, self.address) = spawned(&self.command, self.directory.path());
        self.greet().await;
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Of the token that may do everything.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Tokens that may follow so many subscriptions together: one token has a part of them only.
    pub async fn readers(&self, subscriptions: usize) -> Vec<String> {
        let create = "mutation ($name: String!) {
          tokenCreate(input: {name: $name, grants: [{verb: READ}]}) { secret userErrors { message } }
        }";
        let mut secrets = Vec::new();
        while secrets.len() * SUBSCRIPTIONS_EACH < subscriptions {
            let name = format!("reader-{}", secrets.len());
            let answer = self.ask(create, &json!({"name": name})).await;
            secrets.push(answer["tokenCreate"]["secret"].as_str().expect("it is made").to_owned());
        }
        secrets
    }

    /// What holds its data, for a daemon that comes behind it.
    pub fn directory(&self) -> Arc<TempDir> {
        Arc::clone(&self.directory)
    }

    /// The bytes of a request to it.
    pub fn request(&self, query: &str, variables: &Value) -> Arc<[u8]> {
        request(&self.address, &self.token, query, variables).into()
    }

    /// A crowd of clients that all send this.
    pub fn load(&self, connections: usize, jobs_each: usize, query: &str, variables: &Value) -> Load {
        let request = self.request(query, variables);
        Load { address: self.address.clone(), request, connections, jobs_each }
    }

    /// Asks once and gives the data.
    ///
    /// # Panics
    /// If there are errors.
    pub async fn ask(&self, query: &str, variables: &Value) -> Value {
        let mut http = Http::open(&self.address).await.expect("the daemon takes connections");
        let answer = http.answer(&self.request(query, variables)).await.expect("the daemon answers");
        let mut answer: Value = serde_json::from_slice(answer).expect("answers are JSON");
        assert!(answer["errors"].is_null(), "{answer}");
        answer["data"].take()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn data_in(directory: &TempDir) -> String {
    directory.path().join("data").to_str().expect("paths here are text").to_owned()
}

fn owned<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    words.map(str::to_owned).collect()
}

/// Starts a daemon and reads from its banner where it listens.
fn spawned(command: &[String], home: &Path) -> (Child, String) {
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(home.join(ERRORS)).expect("a file can be made"))
        .spawn()
        .expect("the program starts");
    let stdout = child.stdout.take().expect("it is piped");
    let lines = BufReader::new(stdout).lines().map_while(Result::ok);
    let listening = lines.into_iter().find_map(|line| {
        let (_, address) = line.split_once("listening on http://")?;
        Some(address.trim().to_owned())
    });
    let Some(listening) = listening else {
        panic!("the daemon did not start: {}", fs::read_to_string(home.join(ERRORS)).unwrap_or_default());
    };
    (child, listening)
}

/// Waits until what is asked for is there.
///
/// # Panics
/// If it does not come in a time that is far beyond any measurement.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
