//! Owns the one table of settings. Flags, variables, file keys, `beadle config` and its errors are made from it,
//! so that a setting is added in one place.

use std::path::PathBuf;

use super::labels::{accept_labels, show_labels};
use super::value::{
    accept_count, accept_database, accept_length, accept_size, accept_switch, accept_word, is_host,
    is_origin, put_or_off, show_length, show_or_off, show_size, without_password,
};
use super::{CgroupUse, ENVIRONMENT_PREFIX, LogFormat, LogLevel, Settings};

const LOG_FORMATS: &[(&str, LogFormat)] =
    &[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];

/// How many values a setting holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One value.
    One,
    /// `true` or `false`; the flag needs no value.
    Switch,
    /// Any number: an array in the file, commas in a variable, a repeated flag.
    List,
}

/// One setting.
pub struct Key {
    /// As in the file and in messages: `retention.failed`.
    pub name: &'static str,
    /// One line for people.
    pub help: &'static str,
    /// What a value may be, for messages.
    pub accepts: &'static str,
    /// How many values.
    pub shape: Shape,
    /// Puts the values in, or says what is accepted.
    pub(super) set: fn(&mut Settings, &[String]) -> Result<(), &'static str>,
    /// The value in force, as it would be written.
    pub(super) show: fn(&Settings) -> String,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Key {
    /// `BEADLE_RETENTION_FAILED`.
    pub fn variable(&self) -> String {
        format!("{ENVIRONMENT_PREFIX}{}", self.name.replace('.', "_").to_uppercase())
    }

    /// `--retention-failed`.
    pub fn flag(&self) -> String {
        format!("--{}", self.name.replace(['.', '_'], "-"))
    }
}

/// The one value of a setting that takes one: a flag given twice means the last.
fn last(values: &[String]) -> &str {
    values.last().map_or("", String::as_str)
}

macro_rules! keys {
    ($($name:literal $shape:ident $help:literal, $accepts:literal,
       |$settings:ident, $values:ident| $set:expr, |$shown:ident| $show:expr;)*) => {
        /// Every setting, in the order in which `beadle config` prints them.
        pub static KEYS: &[Key] = &[$(Key {
            name: $name,
            help: $help,
            accepts: $accepts,
            shape: Shape::$shape,
            set: |$settings, $values| {
                let put: Option<()> = $set;
                put.ok_or($accepts)
            },
            show: |$shown| $show,
        }),*];
    };
}

keys! {
    "listen" One "Address and port of the API", "an address with a port, such as 127.0.0.1:7878",
        |s, v| last(v).parse().ok().map(|address| s.listen = address), |s| s.listen.to_string();
    "data_dir" One "Directory of the database, the logs and the admin token", "a path",
        |s, v| Some(last(v)).filter(|path| !path.is_empty()).map(|path| s.data_dir = PathBuf::from(path)),
        |s| s.data_dir.display().to_string();
    "database" One "PostgreSQL database in the place of the SQLite files, which several daemons may share",
        "off, or a URL such as postgres://beadle@db.example.org/beadle",
        |s, v| put_or_off(&mut s.database, last(v), accept_database), |s| show_or_off(s.database.as_deref(), without_password);
    "database_connections" One "Connections of this daemon to that database",
        "a whole number from 8 to 1000",
        |s, v| accept_count(last(v), 8..=1_000).and_then(|n| u32::try_from(n).ok()).map(|n| s.database_connections = n),
        |s| s.database_connections.to_string();
    "lease" One "How long a daemon on PostgreSQL may be silent before others take over what it runs",
        "a length from 2s to 1h, such as 30s",
        |s, v| accept_length(last(v), 2_000..=3_600_000).map(|length| s.lease = length), |s| show_length(s.lease);
    "slots" One "Jobs that run at once", "a whole number from 1 to 10000",
        |s, v| accept_count(last(v), 1..=10_000).and_then(|n| usize::try_from(n).ok()).map(|n| s.slots = n),
        |s| s.slots.to_string();
    "labels" List "Labels of this worker, for jobs that ask for them; `host` is there by itself",
        "labels such as gpu=a100, at most 32, of letters, digits and . _ - / : @ +, each key once",
        |s, v| accept_labels(v).map(|labels| s.labels = labels), |s| show_labels(&s.labels);
    "poll_interval" One "Longest time that a lost nudge can delay anything", "a length from 50ms to 1m, such as 1s",
        |s, v| accept_length(last(v), 50..=60_000).map(|length| s.poll_interval = length),
        |s| show_length(s.poll_interval);
    "drain_timeout" One "How long an orderly stop waits for running jobs", "a length from 0s to 1d, such as 30s",
        |s, v| accept_length(last(v), 0..=86_400_000).map(|length| s.drain_timeout = length),
        |s| show_length(s.drain_timeout);
    "kill_grace" One "Time from SIGTERM to SIGKILL", "a length from 0s to 1d, such as 10s",
        |s, v| accept_length(last(v), 0..=86_400_000).map(|length| s.kill_grace = length),
        |s| show_length(s.kill_grace);
    "behind_proxy" Switch "Allow another address than loopback: a proxy in front does TLS", "true or false",
        |s, v| accept_switch(last(v)).map(|on| s.behind_proxy = on), |s| s.behind_proxy.to_string();
    "allow_hosts" List "Further names accepted in the Host header",
        "a host name with an optional port, such as beadle.example.org",
        |s, v| v.iter().all(|host| is_host(host)).then(|| s.allow_hosts = v.to_vec()), |s| s.allow_hosts.join(",");
    "allow_origins" List "Further web origins that may call the API",
        "an origin without a path, such as https://beadle.example.org",
        |s, v| v.iter().all(|origin| is_origin(origin)).then(|| s.allow_origins = v.to_vec()),
        |s| s.allow_origins.join(",");
    "max_connections" One "Connections at once; further ones are refused", "a whole number from 16 to 100000",
        |s, v| accept_count(last(v), 16..=100_000).map(|n| s.max_connections = n), |s| s.max_connections.to_string();
    "max_queued" One "Waiting jobs before QUEUE_FULL", "a whole number from 1 to 100000000",
        |s, v| accept_count(last(v), 1..=100_000_000).map(|n| s.max_queued = n), |s| s.max_queued.to_string();
    "no_backup" Switch "Migrate the store of an older version without a copy of it first", "true or false",
        |s, v| accept_switch(last(v)).map(|on| s.no_backup = on), |s| s.no_backup.to_string();
    "retention.succeeded" One "How long jobs are kept that did not fail: succeeded, cancelled and skipped ones", "a length from 1s to 36500d, such as 7d",
        |s, v| accept_length(last(v), 1_000..=3_153_600_000_000).map(|length| s.retention_succeeded = length),
        |s| show_length(s.retention_succeeded);
    "retention.failed" One "How long jobs are kept that failed or expired", "a length from 1s to 36500d, such as 30d",
        |s, v| accept_length(last(v), 1_000..=3_153_600_000_000).map(|length| s.retention_failed = length),
        |s| show_length(s.retention_failed);
    "retention.log_bytes" One "Size of all logs together", "a size from 1MiB to 1PiB, such as 10GiB",
        |s, v| accept_size(last(v), 1 << 20..=1 << 50).map(|bytes| s.retention_log_bytes = bytes),
        |s| show_size(s.retention_log_bytes);
    "min_free" One "Room on the disk below which no output is kept and no new job taken; a twentieth of a small disk",
        "a size from 0B to 1PiB, such as 64MiB",
        |s, v| accept_size(last(v), 0..=1 << 50).map(|bytes| s.min_free = bytes), |s| show_size(s.min_free);
    "log.attempt_cap" One "Size of the log of one attempt", "a size from 64KiB to 1TiB, such as 64MiB",
        |s, v| accept_size(last(v), 1 << 16..=1 << 40).map(|bytes| s.log_attempt_cap = bytes),
        |s| show_size(s.log_attempt_cap);
    "cgroup" One "Whether each attempt gets a control group of its own", "auto (where one is delegated) or off",
        |s, v| accept_word(last(v), &[("auto", CgroupUse::Auto), ("off", CgroupUse::Off)]).map(|word| s.cgroup = word),
        |s| if s.cgroup == CgroupUse::Auto { "auto" } else { "off" }.to_owned();
    "job.memory_max" One "Memory of one attempt, all its processes together; needs a control group",
        "off, or a size from 1MiB to 1PiB, such as 512MiB",
        |s, v| put_or_off(&mut s.job_memory_max, last(v), |v| accept_size(v, 1 << 20..=1 << 50)),
        |s| show_or_off(s.job_memory_max, show_size);
    "job.processes_max" One "Processes and threads of one attempt; needs a control group",
        "off, or a whole number from 1 to 4194304",
        |s, v| put_or_off(&mut s.job_processes_max, last(v), |v| accept_count(v, 1..=4_194_304)),
        |s| show_or_off(s.job_processes_max, |count| count.to_string());
    "log.format" One "How the daemon's own log is written", "auto, text or json",
        |s, v| accept_word(last(v), LOG_FORMATS).map(|f| s.log_format = f),
        |s| LOG_FORMATS.iter().find(|(_, format)| *format == s.log_format).map_or("", |(word, _)| *word).to_owned();
    "log.level" One "How much of it", "error, warn, info, debug or trace",
        |s, v| {
            let levels = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];
            accept_word(last(v), &levels.map(|level| (level.as_str(), level))).map(|level| s.log_level = level)
        },
        |s| s.log_level.as_str().to_owned();
}
