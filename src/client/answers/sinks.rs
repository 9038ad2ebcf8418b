//! Owns the shapes of sinks in answers.

use super::answers;
use serde::Deserialize;

answers! {
    /// A sink in the list, or after a mutation.
    SinkRow {
        /// Its name.
        name: String,
        /// `WEBHOOK`, ...
        kind: String,
        /// A decimal number.
        lag_count: String,
        /// A decimal number.
        delivered_count: String,
        /// A decimal number.
        dropped_count: String,
        /// A decimal number.
        dead_letter_count: String,
        /// RFC 3339.
        failing_since: Option<String>,
        /// Why it takes nothing.
        failure: Option<String>,
        /// RFC 3339.
        retired_at: Option<String>,
    }
    /// What a sink would not take.
    DeadLetterRow {
        /// The event.
        event: DeadEvent,
        /// What the sink answered.
        failure: String,
        /// How often it was tried.
        try_count: i64,
        /// RFC 3339.
        created_at: String,
        /// RFC 3339.
        redeliver_at: Option<String>,
    }
    /// The event of a dead letter.
    DeadEvent {
        /// Its position, which names it.
        cursor: String,
        /// `INCIDENT_OPENED`, ...
        #[serde(rename = "type")]
        kind: String,
    }
    /// The payload of `sinkRedeliver` and `sinkDiscard`.
    WithSink {
        /// After the commit.
        sink: SinkRow,
    }
}
