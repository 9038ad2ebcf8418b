//! Owns the daemon's settings: what they are, where each came from, and which layer wins
//! (flag over environment over file over default). It must never guess: what it does not know, it refuses.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

mod file;
pub mod labels;
pub mod sinks;
mod table;
mod value;

pub use table::{KEYS, Key, Shape};
pub use value::{parse_length, show_length, without_password};

use file::read_file;
use sinks::{Given, SinkSettings};

/// What every environment variable of ours begins with.
pub const ENVIRONMENT_PREFIX: &str = "BEADLE_";
/// The name of the settings file in the data directory.
pub const FILE_NAME: &str = "beadle.toml";
/// The key of the data directory, the only setting that is needed before the file can be found.
pub const DATA_DIR: &str = "data_dir";
/// The key of the database, whose value may hold a password.
const DATABASE: &str = "database";

/// Variables with our prefix that are no settings: those of the client, those that a job is given, and the build's.
const OTHER_VARIABLES: [&str; 10] = [
    "BEADLE_URL",
    "BEADLE_TOKEN",
    "BEADLE_JOB_ID",
    "BEADLE_ATTEMPT",
    "BEADLE_TASK",
    "BEADLE_PARAMETERS",
    "BEADLE_DEPENDENCIES",
    "BEADLE_COOKIE",
    "BEADLE_REPORT",
    "BEADLE_DASHBOARD",
];
/// Variables of tests, and those of a job with one parameter each.
const OTHER_PREFIXES: [&str; 2] = ["BEADLE_TEST_", "BEADLE_PARAM_"];

/// Processors when the machine does not tell.
const CORES_UNKNOWN: usize = 2;

/// Processors that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(CORES_UNKNOWN, usize::from)
}

/// How log records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON for everybody else.
    Auto,
    /// One line for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The least grave log record that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// What somebody must fix.
    Error,
    /// What somebody should look at.
    Warn,
    /// What happens.
    Info,
    /// What happens inside.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// As it is written in settings and in log filters.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

/// Whether attempts get control groups of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupUse {
    /// Where the system has given us a part of its tree.
    Auto,
    /// Never.
    Off,
}

/// Everything that an operator may set, as it is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where the API listens. Only loopback, unless `behind_proxy`.
    pub listen: SocketAddr,
    /// Where everything durable lives.
    pub data_dir: PathBuf,
    /// The PostgreSQL database that stands in the place of the SQLite files, as a URL.
    pub database: Option<String>,
    /// Connections of this daemon to that database.
    pub database_connections: u32,
    /// How long a worker on that database is taken for alive without a sign of life.
    pub lease: Duration,
    /// Jobs that run at once.
    pub slots: usize,
    /// Labels of this worker by their keys.
    pub labels: BTreeMap<String, String>,
    /// The longest time that a lost nudge can delay anything.
    pub poll_interval: Duration,
    /// How long an orderly stop waits for running jobs.
    pub drain_timeout: Duration,
    /// Time from SIGTERM to SIGKILL.
    pub kill_grace: Duration,
    /// Whether a proxy in front of us does TLS, so that another address than loopback is allowed.
    pub behind_proxy: bool,
    /// Further names accepted in the `Host` header.
    pub allow_hosts: Vec<String>,
    /// Further web origins that may call the API.
    pub allow_origins: Vec<String>,
    /// Connections at once, event streams and web sockets included; further ones are refused.
    pub max_connections: u64,
    /// Waiting jobs that the store takes before it answers `QUEUE_FULL`.
    pub max_queued: u64,
    /// Whether the store of an older version is migrated without a copy of it first.
    pub no_backup: bool,
    /// How long succeeded jobs are kept.
    pub retention_succeeded: Duration,
    /// How long jobs that did not succeed are kept.
    pub retention_failed: Duration,
    /// Bytes of all logs together.
    pub retention_log_bytes: u64,
    /// Bytes that the disk shall keep free.
    pub min_free: u64,
    /// Bytes of the log of one attempt.
    pub log_attempt_cap: u64,
    /// Whether attempts get control groups of their own.
    pub cgroup: CgroupUse,
    /// Bytes of memory that one attempt may use, all its processes together.
    pub job_memory_max: Option<u64>,
    /// Processes and threads that one attempt may have.
    pub job_processes_max: Option<u64>,
    /// How the daemon's own log is written.
    pub log_format: LogFormat,
    /// How much of it.
    pub log_level: LogLevel,
    /// Where incidents and events are reported to, by name.
    pub sinks: Vec<SinkSettings>,
}

/// Where a setting's value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag, by its name with the dashes.
    Flag(String),
    /// An environment variable, by its name.
    Environment(String),
    /// A settings file.
    File(PathBuf),
    /// Nobody set it.
    Default,
}

impl Origin {
    /// One word: `flag`, `environment`, `file` or `default`.
    pub fn layer(&self) -> &'static str {
        match self {
            Origin::Flag(_) => "flag",
            Origin::Environment(_) => "environment",
            Origin::File(_) => "file",
            Origin::Default => "default",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(name) => write!(f, "flag {name}"),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::File(path) => write!(f, "file {}", path.display()),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// What the layers are read from. A plain value, so that a test needs no process of its own.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Key and value of each flag given, in order. A list's flag may come several times.
    pub flags: Vec<(String, String)>,
    /// `--config`; without it `beadle.toml` in the data directory is read when it exists.
    pub config: Option<PathBuf>,
    /// Every environment variable.
    pub environment: Vec<(String, String)>,
    /// Processors that the daemon may use.
    pub cores: usize,
}

/// The settings in force with the origin of each.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What is in force.
    pub settings: Settings,
    /// One for each of [`KEYS`], in the same order.
    pub origins: Vec<Origin>,
    /// Where the sinks were set.
    pub sinks_origin: Origin,
}

impl Loaded {
    /// Key, value as it would be written in the file, and origin, in the order of [`KEYS`].
    pub fn rows(&self) -> impl Iterator<Item = (&'static Key, String, &Origin)> {
        KEYS.iter().zip(&self.origins).map(|(key, origin)| (key, (key.show)(&self.settings), origin))
    }

    /// The same for the sinks, without their secrets.
    pub fn sink_rows(&self) -> Vec<(String, String, &Origin)> {
        let rows = self.settings.sinks.iter().flat_map(SinkSettings::rows);
        rows.map(|(key, value)| (key, value, &self.sinks_origin)).collect()
    }
}

impl Settings {
    /// What holds when nobody sets anything.
    pub fn defaults(data_dir: PathBuf, cores: usize) -> Settings {
        Settings {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7878),
            data_dir,
            database: None,
            database_connections: 12,
            lease: Duration::from_secs(30),
            slots: cores.saturating_mul(2).max(4),
            labels: BTreeMap::new(),
            poll_interval: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(30),
            kill_grace: Duration::from_secs(10),
            behind_proxy: false,
            allow_hosts: Vec::new(),
            allow_origins: Vec::new(),
            max_connections: 1_024,
            max_queued: 1_000_000,
            no_backup: false,
            retention_succeeded: Duration::from_hours(7 * 24),
            retention_failed: Duration::from_hours(30 * 24),
            retention_log_bytes: 10 * 1024 * 1024 * 1024,
            min_free: 64 * 1024 * 1024,
            log_attempt_cap: 64 * 1024 * 1024,
            cgroup: CgroupUse::Auto,
            job_memory_max: None,
            job_processes_max: None,
            log_format: LogFormat::Auto,
            log_level: LogLevel::Info,
            sinks: Vec::new(),
        }
    }

    /// Puts the layers together.
    ///
    /// # Errors
    /// One sentence that names the key, the value and what is accepted.
    pub fn load(sources: &Sources) -> Result<Loaded, String> {
        let environment = environment_layer(&sources.environment)?;
        let flag = sources.flags.iter().rfind(|(key, _)| key == DATA_DIR).map(|(_, value)| Path::new(value));
        let chosen = data_dir(flag, &sources.environment);
        let mut sinks = Given::default();
        let file = match (&sources.config, &chosen) {
            (Some(path), _) => Some((path.clone(), read_file(path, Presence::Required, &mut sinks)?)),
            (None, Some(directory)) => {
                let path = directory.join(FILE_NAME);
                read_file(&path, Presence::Optional, &mut sinks).map(|entries| Some((path, entries)))?
            }
            (None, None) => None,
        };

        let mut loaded = Loaded {
            settings: Settings::defaults(chosen.clone().unwrap_or_default(), sources.cores),
            origins: vec![Origin::Default; KEYS.len()],
            sinks_origin: file.as_ref().map_or(Origin::Default, |(path, _)| Origin::File(path.clone())),
        };
        if let Some((path, entries)) = file {
            if sources.config.is_none() && entries.iter().any(|entry| entry.key == DATA_DIR) {
                return Err(format!(
                    "{}: `{DATA_DIR}` cannot be set in the file that was found in it; \
                     set BEADLE_DATA_DIR, or give this file with --config",
                    path.display()
                ));
            }
            loaded.apply(entries, |_| Origin::File(path.clone()))?;
        }
        loaded.apply(environment, |key| Origin::Environment(key.variable()))?;
        loaded.apply(flag_layer(&sources.flags, &mut sinks)?, |key| Origin::Flag(key.flag()))?;
        loaded.settings.sinks = sinks.read()?;
        loaded.finish()
    }
}

impl Loaded {
    fn apply(&mut self, entries: Vec<Entry>, origin: impl Fn(&Key) -> Origin) -> Result<(), String> {
        for entry in entries {
            let place = position(&entry.key).expect("layers hold known keys only");
            let key = &KEYS[place];
            let origin = origin(key);
            (key.set)(&mut self.settings, &entry.values).map_err(|accepted| {
                let given = entry.values.join(",");
                let given = if key.name == DATABASE { without_password(&given) } else { given };
                format!("`{}` cannot be {given:?} ({origin}): {accepted}", key.name)
            })?;
            self.origins[place] = origin;
        }
        Ok(())
    }

    /// The rules that span several keys.
    fn finish(self) -> Result<Loaded, String> {
        let settings = &self.settings;
        if settings.data_dir.as_os_str().is_empty() {
            return Err("there is no place for the data: set BEADLE_DATA_DIR, or give --data-dir".to_owned());
        }
        if !settings.listen.ip().is_loopback() && !settings.behind_proxy {
            return Err(format!(
                "`listen` cannot be \"{}\": the API speaks plain HTTP, so it listens on loopback only \
                 (127.0.0.1 or [::1]); with a proxy that does TLS in front, set `behind_proxy`",
                settings.listen
            ));
        }
        Ok(self)
    }
}

/// The data directory by `--data-dir`, `$BEADLE_DATA_DIR`, `$STATE_DIRECTORY`, `$XDG_STATE_HOME`, `$HOME`.
/// The client looks for the daemon's address and token there.
pub fn data_dir(flag: Option<&Path>, environment: &[(String, String)]) -> Option<PathBuf> {
    let variable = |name: &str| {
        let found = environment.iter().find(|(other, value)| other == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    };
    // systemd lists several directories with colons between them; the first is ours.
    let state = || variable("STATE_DIRECTORY").and_then(|list| list.split(':').next());
    flag.map(Path::to_path_buf)
        .or_else(|| variable("BEADLE_DATA_DIR").map(PathBuf::from))
        .or_else(|| state().filter(|first| !first.is_empty()).map(PathBuf::from))
        // The base directory specification ignores relative paths.
        .or_else(|| {
            variable("XDG_STATE_HOME")
                .filter(|path| path.starts_with('/'))
                .map(|home| Path::new(home).join("beadle"))
        })
        .or_else(|| variable("HOME").map(|home| Path::new(home).join(".local/state/beadle")))
}

/// One key of a layer with what it was given.
struct Entry {
    key: String,
    values: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Required,
    Optional,
}

fn position(name: &str) -> Option<usize> {
    KEYS.iter().position(|key| key.name == name)
}

fn flag_layer(flags: &[(String, String)], sinks: &mut Given) -> Result<Vec<Entry>, String> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut upper = Given::default();
    for (name, value) in flags {
        if name.strip_prefix(sinks::TABLE).is_some_and(|rest| rest.starts_with('.')) {
            upper.add(name, value)?;
            continue;
        }
        if position(name).is_none() {
            return Err(format!(
                "`{name}` is not a setting{}",
                nearest(name, KEYS.iter().map(|key| key.name.to_owned()))
            ));
        }
        match entries.iter_mut().find(|entry| entry.key == *name) {
            Some(entry) => entry.values.push(value.clone()),
            None => entries.push(Entry { key: name.clone(), values: vec![value.clone()] }),
        }
    }
    sinks.overlay(upper);
    Ok(entries)
}

fn environment_layer(environment: &[(String, String)]) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    for (name, value) in environment {
        let is_ours = name.starts_with(ENVIRONMENT_PREFIX) && !value.is_empty();
        let is_other = OTHER_VARIABLES.contains(&name.as_str())
            || OTHER_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        if !is_ours || is_other {
            continue;
        }
        let Some(key) = KEYS.iter().find(|key| key.variable() == *name) else {
            let known = KEYS.iter().map(Key::variable).chain(OTHER_VARIABLES.map(str::to_owned));
            return Err(format!("the environment variable {name} is not a setting{}", nearest(name, known)));
        };
        let values = match key.shape {
            Shape::List => split_list(value),
            Shape::One | Shape::Switch => vec![value.clone()],
        };
        entries.push(Entry { key: key.name.to_owned(), values });
    }
    Ok(entries)
}

fn split_list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn unknown_key(name: &str) -> String {
    format!("`{name}` is not a setting{}", nearest(name, KEYS.iter().map(|key| key.name.to_owned())))
}

/// `; did you mean ...?` for the known name that is nearest.
pub fn nearest(name: &str, known: impl Iterator<Item = String>) -> String {
    let distance = |other: &String| strsim::damerau_levenshtein(name, other);
    known.min_by_key(distance).map_or_else(String::new, |best| format!("; did you mean {best}?"))
}

#[cfg(test)]
mod tests;
