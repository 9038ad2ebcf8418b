//! Owns which plain fields of the long lists write themselves, and how a plain value stands in JSON: exactly as the
//! ordinary way would write it. A field that has a guard, or reads anything but its own row, must not be here.

use std::fmt::{Display, Write as _};

use super::rows::{Column, Row};
use crate::base::clock::Timestamp;
use crate::domain::attempt::{Attempt, AttemptOutcome};
use crate::domain::concurrency::LimitKey;
use crate::domain::duration::Span;
use crate::domain::encode;
use crate::domain::event::{Event, EventCursor, EventType};
use crate::domain::id::{AttemptId, JobId};
use crate::domain::job::{DependencyFailure, Job, JobOrigin, JobState};
use crate::domain::log::{LogCursor, LogLine, LogStream};
use crate::domain::scalars::{BigInt, Json};

/// A plain value that writes itself.
pub trait Cell {
    /// Writes it as JSON.
    fn write(&self, json: &mut String);
}

impl<T: Cell> Cell for Option<T> {
    fn write(&self, json: &mut String) {
        match self {
            Some(value) => value.write(json),
            None => json.push_str("null"),
        }
    }
}

impl Cell for String {
    fn write(&self, json: &mut String) {
        encode::text(self, json);
    }
}

impl Cell for &str {
    fn write(&self, json: &mut String) {
        encode::text(self, json);
    }
}

impl Cell for bool {
    fn write(&self, json: &mut String) {
        json.push_str(if *self { "true" } else { "false" });
    }
}

impl Cell for i32 {
    fn write(&self, json: &mut String) {
        let _ = write!(json, "{self}");
    }
}

impl Cell for Json {
    fn write(&self, json: &mut String) {
        json.push_str(&serde_json::to_string(&self.0).expect("JSON can be written"));
    }
}

impl Cell for BigInt {
    fn write(&self, json: &mut String) {
        quoted(&self.0, json);
    }
}

/// What needs no escape.
fn quoted(shown: &impl Display, json: &mut String) {
    let _ = write!(json, "\"{shown}\"");
}

macro_rules! shown {
    ($($kind:ty),*) => {$(
        impl Cell for $kind {
            fn write(&self, json: &mut String) {
                quoted(self, json);
            }
        }
    )*};
}

shown!(Timestamp, Span, EventCursor, LogCursor, JobId, AttemptId);

macro_rules! words {
    ($($kind:ty),*) => {$(
        impl Cell for $kind {
            fn write(&self, json: &mut String) {
                quoted(&self.word(), json);
            }
        }
    )*};
}

words!(JobState, JobOrigin, DependencyFailure, AttemptOutcome, EventType, LogStream);

macro_rules! columns {
    ($row:ty { $($field:literal: $one:ident $(=> $value:expr)?,)* }) => {
        impl Row for $row {
            fn column(field: &str) -> Option<Column<$row>> {
                Some(match field {
                    $($field => columns!(@ $one $(=> $value)?),)*
                    _ => return None,
                })
            }
        }
    };
    (@ $one:ident) => { |row, json| row.$one.write(json) };
    (@ $one:ident => $value:expr) => { |$one, json| $value.write(json) };
}

columns!(Job {
    "id": id,
    "state": state,
    "uniqueKey": unique_key,
    "taskRevision": task_revision,
    "priority": priority,
    "origin": origin,
    "requestedBy": requested_by,
    "timeout": timeout,
    "idleTimeout": idle_timeout,
    "killGrace": kill_grace,
    "isRestartable": is_restartable,
    "createdAt": created_at,
    "runAt": run_at,
    "startBy": start_by,
    "startedAt": started_at,
    "finishedAt": finished_at,
    "stopRequestedAt": stop_requested_at,
    "parameters": parameters,
    "concurrencyKey": job => job.limit_key.as_ref().and_then(LimitKey::given),
    "onDependencyFailure": on_dependency_failure,
    "mergeOutput": merges_output,
    "maxTimeout": timeout_max,
    "eventCursor": event_cursor,
});

columns!(Attempt {
    "id": id,
    "number": number,
    "outcome": outcome,
    "pid": pid,
    "exitCode": exit_code,
    "signal": signal,
    "startedAt": started_at,
    "finishedAt": finished_at,
    "userTime": user_time,
    "systemTime": system_time,
    "peakMemoryBytes": peak_memory_bytes,
    "logBytes": log_bytes,
    "droppedLogBytes": dropped_log_bytes,
});

columns!(Event {
    "cursor": cursor,
    "type": kind,
    "at": at,
    "actor": actor,
    "peer": peer,
    "jobId": job_id,
    "taskName": task_name,
    "data": data,
});

columns!(LogLine {
    "cursor": cursor,
    "at": at,
    "stream": stream,
    "text": text,
    "isTruncated": is_truncated,
    "droppedBefore": dropped_before,
});

#[cfg(test)]
mod tests {
    #[test]
    fn no_field_of_these_types_has_a_guard() {
        for source in [
            include_str!("../domain/job.rs"),
            include_str!("../domain/attempt.rs"),
            include_str!("../domain/event.rs"),
            include_str!("../domain/log.rs"),
        ] {
            assert!(!source.contains("guard =") && !source.contains("visible ="));
        }
    }
}
