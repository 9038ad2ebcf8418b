//! Owns the list of all tables with their columns: what is in no line here would be left behind by a move. A test
//! compares it with the tables that the migrations make, so it must never be guessed from either engine.

use crate::store::db::{Kind, Row, Sql, Value};
use crate::store::fault::Result;

/// Which of the two databases a table stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// `beadle.db`.
    State,
    /// `logs.db`.
    Logs,
}

/// A table, and how it is walked in the order of its key and filled.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Where it stands.
    pub home: Home,
    /// Its columns, those of its key first.
    pub columns: &'static [(&'static str, Kind)],
    key_count: usize,
    /// The rows behind a key.
    pub(super) read: Sql,
    /// How many rows there are.
    pub(super) count: Sql,
    /// Takes lines as `super::lines` makes them.
    pub(super) copy: &'static str,
}

impl Table {
    /// A key before all others. No name is empty.
    pub(super) fn start(&self) -> Vec<Value> {
        self.key().map(|(_, kind)| if *kind == Kind::Int { i64::MIN.into() } else { "".into() }).collect()
    }

    /// The key of a row that was read.
    pub(super) fn key_of(&self, row: &Row) -> Result<Vec<Value>> {
        let value = |(at, (_, kind)): (usize, &(&str, Kind))| {
            Ok(if *kind == Kind::Int { row.get::<i64>(at)?.into() } else { row.get::<String>(at)?.into() })
        };
        self.key().enumerate().map(value).collect()
    }

    fn key(&self) -> impl Iterator<Item = &(&'static str, Kind)> {
        self.columns[..self.key_count].iter()
    }

    /// Whether its rows are large.
    pub(super) fn has_bytes(&self) -> bool {
        self.columns.iter().any(|(_, kind)| *kind == Kind::Bytes)
    }
}

macro_rules! table {
    ($home:ident $name:literal [$key:literal $kind:ident] [$($column:literal $of:ident),*]) => {
        table!(@ $home $name [$key $kind] [$($column $of),*]
               $key, " > $1 ORDER BY ", $key, " LIMIT $2")
    };
    ($home:ident $name:literal [$key:literal $kind:ident, $more:literal $kind_of_more:ident]
     [$($column:literal $of:ident),*]) => {
        table!(@ $home $name [$key $kind, $more $kind_of_more] [$($column $of),*]
               "(", $key, ", ", $more, ") > ($1, $2) ORDER BY ", $key, ", ", $more, " LIMIT $3")
    };
    (@ $home:ident $name:literal [$key:literal $kind:ident $(, $more:literal $kind_of_more:ident)?]
     [$($column:literal $of:ident),*] $($walk:tt)*) => {
        Table {
            name: $name,
            home: Home::$home,
            columns: &[($key, Kind::$kind), $(($more, Kind::$kind_of_more),)? $(($column, Kind::$of)),*],
            key_count: [$key $(, $more)?].len(),
            read: Sql::both(
                concat!("SELECT ", $key $(, ", ", $more)? $(, ", ", $column)*, " FROM ", $name, " WHERE ", $($walk)*),
                &[Kind::$kind, $(Kind::$kind_of_more,)? Kind::Int],
            ),
            count: Sql::both(concat!("SELECT count(*) FROM ", $name), &[]),
            copy: concat!("COPY ", $name, " (", $key $(, ", ", $more)? $(, ", ", $column)*, ") FROM STDIN"),
        }
    };
}

/// Every table of ours, each behind those that it refers to. `migrations` is made by the target itself.
pub static TABLES: &[Table] = &[
    table!(State "meta" ["name" Text] ["value" Text]),
    table!(State "counters" ["name" Text] ["value" Int]),
    table!(State "tokens" ["id" Int] [
        "name" Text, "digest" Text, "grants" Text, "created_at_us" Int, "expires_at_us" Int, "revoked_at_us" Int,
        "last_used_at_us" Int, "created_by" Text
    ]),
    table!(State "queues" ["id" Int] [
        "name" Text, "paused_at_us" Int, "pause_reason" Text, "paused_by" Text, "concurrency_limit" Int,
        "created_at_us" Int, "rate_starts" Int, "rate_per_ms" Int
    ]),
    table!(State "tasks" ["id" Int] [
        "name" Text, "revision" Int, "queue" Text, "definition" Text, "search_text" Text, "created_at_us" Int,
        "updated_at_us" Int, "archived_at_us" Int
    ]),
    table!(State "task_revisions" ["task_id" Int, "revision" Int] [
        "definition" Text, "actor" Text, "created_at_us" Int
    ]),
    table!(State "schedules" ["id" Int] [
        "name" Text, "task_id" Int, "definition" Text, "paused_at_us" Int, "pause_reason" Text,
        "paused_until_us" Int, "next_due_us" Int, "settled_until_us" Int, "created_at_us" Int, "updated_at_us" Int,
        "paused_by" Text
    ]),
    table!(State "ticks" ["schedule_id" Int, "due_at_us" Int] [
        "outcome" Text, "job_id" Int, "due_count" Int, "recorded_at_us" Int, "first_due_us" Int
    ]),
    table!(State "workers" ["id" Int] [
        "name" Text, "version" Text, "slots" Int, "started_at_us" Int, "stopped_at_us" Int, "seen_at_us" Int,
        "lease_until_us" Int, "draining_at_us" Int, "labels" Text
    ]),
    table!(State "jobs" ["id" Int] [
        "state" Text, "task_id" Int, "task_name" Text, "task_revision" Int, "command" Text, "search_text" Text,
        "queue" Text, "priority" Int, "rank_us" Int, "labels" Text, "origin" Text, "requested_by" Text,
        "retry_policy" Text, "timeout_ms" Int, "kill_grace_ms" Int, "restartable" Int, "failure" Text,
        "retry_of" Int, "schedule_id" Int, "worker_id" Int, "attempt_count" Int, "try_count" Int,
        "created_at_us" Int, "run_at_us" Int, "started_at_us" Int, "finished_at_us" Int,
        "stop_requested_at_us" Int, "start_by_us" Int, "idle_timeout_ms" Int, "unique_key" Text, "progress" Text,
        "parameters" Text, "token_id" Int, "held_by" Text, "limit_key" Text, "gated_at_us" Int,
        "on_dependency_failure" Text, "merge_output" Int, "timeout_max_ms" Int, "runs_on" Text, "output" Text
    ]),
    table!(State "job_counts" ["queue" Text, "state" Text] ["job_count" Int]),
    table!(State "job_labels" ["job_id" Int, "label_key" Text] ["label_value" Text]),
    table!(State "attempts" ["id" Int] [
        "job_id" Int, "attempt_number" Int, "worker_id" Int, "cookie" Text, "outcome" Text, "failure" Text,
        "pid" Int, "start_ticks" Int, "boot_id" Text, "exit_code" Int, "signal" Text, "started_at_us" Int,
        "finished_at_us" Int, "user_us" Int, "system_us" Int, "peak_memory_bytes" Int, "log_bytes" Int,
        "dropped_log_bytes" Int, "incident_id" Int, "ran" Text
    ]),
    table!(State "events" ["seq" Int] [
        "kind" Text, "at_us" Int, "actor" Text, "subject" Text, "job_id" Int, "task_name" Text, "queue" Text,
        "data" Text, "peer" Text
    ]),
    table!(State "idempotency_keys" ["token_id" Int, "idempotency_key" Text] [
        "digest" Text, "job_id" Int, "created_at_us" Int
    ]),
    table!(State "concurrency_keys" ["name" Text] ["job_limit" Int]),
    table!(State "job_dependencies" ["job_id" Int, "depends_on_id" Int] []),
    table!(State "queue_starts" ["attempt_id" Int] ["queue" Text, "started_at_us" Int]),
    table!(State "dependency_ends" ["job_id" Int] ["after_id" Int]),
    table!(State "incidents" ["id" Int] [
        "fingerprint" Text, "status" Text, "title" Text, "task_id" Int, "task_name" Text, "subsystem" Text,
        "outcome" Text, "error_line" Text, "occurrence_count" Int, "first_seen_at_us" Int, "last_seen_at_us" Int,
        "regressed_at_us" Int, "sample_job_id" Int, "assignee" Text, "note" Text, "ignored_until_us" Int,
        "ignored_until_count" Int, "status_by" Text, "status_at_us" Int, "count_before" Int, "alerted_count" Int
    ]),
    table!(State "incident_minutes" ["incident_id" Int, "minute_us" Int] ["occurrence_count" Int]),
    table!(State "sinks" ["name" Text] [
        "kind" Text, "position" Int, "delivered_count" Int, "dropped_count" Int, "failing_since_us" Int,
        "failure" Text, "updated_at_us" Int, "retired_at_us" Int, "worker_id" Int
    ]),
    table!(State "dead_letters" ["sink" Text, "event_seq" Int] [
        "failure" Text, "try_count" Int, "created_at_us" Int, "redeliver_at_us" Int, "payload" Text
    ]),
    table!(State "job_traces" ["job_id" Int] ["trace" Text]),
    table!(Logs "log_chunks" ["attempt_id" Int, "first_line" Int] [
        "line_count" Int, "byte_count" Int, "dropped_before" Int, "written_at_us" Int, "body" Bytes
    ]),
    table!(Logs "log_ends" ["attempt_id" Int] [
        "line_count" Int, "byte_count" Int, "dropped_bytes" Int, "forgotten_at_us" Int
    ]),
];

/// The statements over the tables of one database, for the test that prepares them all.
pub(in crate::store) fn statements(home: Home) -> impl Iterator<Item = &'static Sql> {
    TABLES.iter().filter(move |table| table.home == home).flat_map(|table| [&table.read, &table.count])
}
