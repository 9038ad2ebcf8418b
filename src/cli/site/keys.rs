//! Owns the keys of a definition file: how each is written there, where it stands in the API, and what holds when it
//! is left out. One row a key: everything else of `plan` and `apply` follows from these tables.

use super::value::Kind;
use Kind::{
    Json, Labels, Length, Map, Names, Number, Secrets, Switch, Table, Text, Texts, Whole, Wholes, Word, Words,
};

/// What a file can define, in the order in which it is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Noun {
    Queue,
    Task,
    Schedule,
}

impl Noun {
    /// All of them.
    pub const ALL: [Noun; 3] = [Noun::Queue, Noun::Task, Noun::Schedule];

    /// The word for one.
    pub fn word(self) -> &'static str {
        match self {
            Noun::Queue => "queue",
            Noun::Task => "task",
            Noun::Schedule => "schedule",
        }
    }

    /// The table of the file that holds them.
    pub fn section(self) -> &'static str {
        match self {
            Noun::Queue => "queues",
            Noun::Task => "tasks",
            Noun::Schedule => "schedules",
        }
    }

    /// What can be said of one.
    pub fn keys(self) -> &'static [Key] {
        match self {
            Noun::Queue => QUEUE,
            Noun::Task => TASK,
            Noun::Schedule => SCHEDULE,
        }
    }
}

/// What holds when the file says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// This, as it would be written in JSON; `null` is nothing.
    Is(&'static str),
    /// Whatever stands in the daemon: the file does not decide it.
    Stays,
    /// Nothing does: the file must say it.
    Needed,
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// In the file.
    pub name: &'static str,
    /// In the input of the API, with dots between steps. A `*` is the kind of command, `exec` or `script`; a handler has none of these.
    pub input: &'static str,
    /// In the answer of the API.
    pub answer: &'static str,
    pub kind: Kind,
    pub default: Default,
}

const fn key(name: &'static str, field: &'static str, kind: Kind, default: &'static str) -> Key {
    Key { name, input: field, answer: field, kind, default: Default::Is(default) }
}

impl Key {
    const fn answered(mut self, path: &'static str) -> Key {
        self.answer = path;
        self
    }

    const fn that_is_needed(mut self) -> Key {
        self.default = Default::Needed;
        self
    }

    const fn that_stays(mut self) -> Key {
        self.default = Default::Stays;
        self
    }
}

const QUEUE: &[Key] = &[
    key("concurrency_limit", "concurrencyLimit", Whole, "null"),
    key("rate_limit", "rateLimit", Table(RATE), "null"),
];

const RATE: &[Key] = &[
    key("starts", "starts", Whole, "null").that_is_needed(),
    key("per", "per", Length, "null").that_is_needed(),
];

const TASK: &[Key] = &[
    key("description", "description", Text, "null"),
    key("command", "command.exec.argv", Texts, "null").answered("command.argv"),
    key("script", "command.script.text", Text, "null").answered("command.script"),
    key("handler", "command.handler", Text, "null"),
    key("shell", "command.script.shell", Text, "null").answered("command.shell"),
    key("working_directory", "command.*.workingDirectory", Text, "null").answered("command.workingDirectory"),
    key("environment", "command.*.environment", Map, "{}").answered("command.environment"),
    key("environment_from", "command.*.environment", Secrets, "[]").answered("command.environment"),
    key("inherit_environment", "command.*.inheritEnvironment", Names, "[]")
        .answered("command.inheritEnvironment"),
    key("queue", "queue", Text, "\"default\"").answered("queue.name"),
    key("priority", "priority", Whole, "0"),
    key("concurrency_limit", "concurrencyLimit", Whole, "null"),
    key("timeout", "timeout", Length, "null"),
    key("max_timeout", "maxTimeout", Length, "null"),
    key("idle_timeout", "idleTimeout", Length, "null"),
    key("kill_grace", "killGrace", Length, "\"10s\""),
    key("retry", "retryPolicy", Table(RETRY), "{}"),
    key("is_restartable", "isRestartable", Switch, "true"),
    key("merge_output", "mergeOutput", Switch, "false"),
    key("runs_on", "runsOn", Labels, "{}"),
    key("parameters_schema", "parametersSchema", Json, "null"),
];

const RETRY: &[Key] = &[
    key("max_attempts", "maxAttempts", Whole, "1"),
    key("initial_delay", "initialDelay", Length, "\"5s\""),
    key("max_delay", "maxDelay", Length, "\"10m\""),
    key("factor", "factor", Number, "2.0"),
    key("retry_on", "retryOn", Words(OUTCOMES), "null"),
    key("exit_codes", "exitCodes", Wholes, "null"),
    key("signals", "signals", Names, "null"),
    key("retries_temporary_failure", "retriesTemporaryFailure", Switch, "false"),
];

const SCHEDULE: &[Key] = &[
    key("task", "task.name", Text, "null").that_is_needed(),
    key("every", "timing.every", Length, "null"),
    key("cron", "timing.cron", Text, "null"),
    key("time_zone", "timeZone", Text, "\"UTC\""),
    key("jitter", "jitter", Length, "\"0s\""),
    key("misfire", "misfire", Word(MISFIRES), "\"RUN_ONCE\""),
    key("misfire_window", "misfireWindow", Length, "\"1d\""),
    key("overlap", "overlap", Word(OVERLAPS), "\"SKIP\""),
    key("parameters", "parameters", Json, "null"),
    key("paused", "isPaused", Switch, "null").that_stays(),
];

const OUTCOMES: &[&str] =
    &["EXITED", "SIGNALED", "TIMED_OUT", "OUT_OF_MEMORY", "SPAWN_FAILED", "PANICKED", "LOST"];
const MISFIRES: &[&str] = &["RUN_ONCE", "SKIP", "RUN_ALL"];
const OVERLAPS: &[&str] = &["SKIP", "QUEUE_ONE", "QUEUE_ALL", "CANCEL_RUNNING", "ALLOW"];

/// `; did you mean ...?` for the name that is nearest.
pub fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> String {
    known
        .min_by_key(|other| strsim::damerau_levenshtein(name, other))
        .map_or_else(String::new, |best| format!("; did you mean {best}?"))
}
