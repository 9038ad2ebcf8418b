//! Owns the event: a numbered fact in the durable feed, and the cursor that names a position in it.

use std::fmt;

use async_graphql::{Enum, InputValueError, InputValueResult, Scalar, ScalarType, SimpleObject, Value};
use serde::{Deserialize, Serialize};

use super::id::JobId;
use super::job::JobState;
use super::scalars::Json;
use crate::base::clock::Timestamp;

/// A position in the event feed of one store: everything up to and with `seq` lies behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventCursor {
    /// Names the store: a cursor of another store is refused as expired.
    pub epoch: u32,
    /// Number of the last event behind it; 0 is the beginning.
    pub seq: i64,
}

impl fmt::Display for EventCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}", self.epoch, self.seq)
    }
}

impl EventCursor {
    /// Reads a cursor that we gave; `None` for anything else.
    pub fn parse(text: &str) -> Option<EventCursor> {
        let (epoch, seq) = text.split_once('-')?;
        if epoch.len() != 8 || seq.is_empty() || !seq.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(EventCursor { epoch: u32::from_str_radix(epoch, 16).ok()?, seq: seq.parse().ok()? })
    }
}

/// Opaque position in the event feed. Survives restarts; compared by the server only.
#[Scalar(name = "EventCursor")]
impl ScalarType for EventCursor {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => EventCursor::parse(text)
                .ok_or_else(|| InputValueError::custom("not a cursor that this API gave")),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.to_string())
    }
}

/// What kind of fact an event states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Enum, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EventType {
    /// A job was accepted.
    JobCreated,
    /// A job went to another state, a stop was asked for, or it was changed while it waited (`data.changes`).
    JobStateChanged,
    /// A running job said how far it is.
    JobProgress,
    /// A running job reported a part of its result.
    JobOutput,
    /// A worker took an attempt.
    AttemptStarted,
    /// An attempt ended.
    AttemptFinished,
    /// A task was put or archived.
    TaskChanged,
    /// A schedule was put, paused, resumed or deleted.
    ScheduleChanged,
    /// A due time of a schedule was dealt with. Of a run of skips only the first one is told: the ledger's row counts
    /// on by itself.
    ScheduleTicked,
    /// A queue was put, paused or resumed.
    QueueChanged,
    /// A worker came, drains or went.
    WorkerChanged,
    /// A failure of a new kind was seen.
    IncidentOpened,
    /// An incident was acknowledged, resolved or ignored, came back, or grew (`data.change`).
    IncidentChanged,
    /// A token was made or revoked.
    TokenChanged,
    /// A part of the daemon failed or recovered.
    HealthChanged,
    /// What a sink would not take was put back or given up (`data.action`).
    SinkChanged,
}

/// Every type, for reading words from the store.
pub const EVENT_TYPES: [EventType; 16] = [
    EventType::JobCreated,
    EventType::JobStateChanged,
    EventType::JobProgress,
    EventType::JobOutput,
    EventType::AttemptStarted,
    EventType::AttemptFinished,
    EventType::TaskChanged,
    EventType::ScheduleChanged,
    EventType::ScheduleTicked,
    EventType::QueueChanged,
    EventType::WorkerChanged,
    EventType::IncidentOpened,
    EventType::IncidentChanged,
    EventType::TokenChanged,
    EventType::HealthChanged,
    EventType::SinkChanged,
];

impl EventType {
    /// The word in the store and the API.
    pub fn word(self) -> &'static str {
        match self {
            EventType::JobCreated => "JOB_CREATED",
            EventType::JobStateChanged => "JOB_STATE_CHANGED",
            EventType::JobProgress => "JOB_PROGRESS",
            EventType::JobOutput => "JOB_OUTPUT",
            EventType::AttemptStarted => "ATTEMPT_STARTED",
            EventType::AttemptFinished => "ATTEMPT_FINISHED",
            EventType::TaskChanged => "TASK_CHANGED",
            EventType::ScheduleChanged => "SCHEDULE_CHANGED",
            EventType::ScheduleTicked => "SCHEDULE_TICKED",
            EventType::QueueChanged => "QUEUE_CHANGED",
            EventType::WorkerChanged => "WORKER_CHANGED",
            EventType::IncidentOpened => "INCIDENT_OPENED",
            EventType::IncidentChanged => "INCIDENT_CHANGED",
            EventType::TokenChanged => "TOKEN_CHANGED",
            EventType::HealthChanged => "HEALTH_CHANGED",
            EventType::SinkChanged => "SINK_CHANGED",
        }
    }

    /// The type of a word from the store.
    pub fn from_word(word: &str) -> Option<EventType> {
        EVENT_TYPES.into_iter().find(|kind| kind.word() == word)
    }
}

/// A numbered fact.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(complex)]
pub struct Event {
    /// The position right behind it.
    pub cursor: EventCursor,
    /// What kind of fact.
    #[graphql(name = "type")]
    pub kind: EventType,
    /// When it was committed, by the daemon's clock.
    pub at: Timestamp,
    /// Who caused it: a token's name, a schedule, or a part of the daemon.
    pub actor: String,
    /// Address that it was asked from; null for what the daemon did by itself.
    pub peer: Option<String>,
    /// Global id of the thing it is about.
    #[graphql(skip)]
    pub subject_id: Option<String>,
    /// The job it concerns.
    #[graphql(skip)]
    pub job_id: Option<JobId>,
    /// Name of the task it concerns.
    pub task_name: Option<String>,
    /// Name of the queue it concerns.
    #[graphql(skip)]
    pub queue_name: Option<String>,
    /// What changed.
    pub data: Json,
}

/// Events in order.
#[derive(Debug, Clone)]
pub struct EventBatch {
    /// The events, oldest first; empty in a bookmark.
    pub events: Vec<Event>,
    /// Lies behind the last one, also when `events` is empty.
    pub cursor: EventCursor,
    /// Whether more events of the past follow at once.
    pub has_more_past_events: bool,
}

/// An event that waits to be numbered and committed with the change it states.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// What kind of fact.
    pub kind: EventType,
    /// Who caused it.
    pub actor: String,
    /// Global id of the thing it is about.
    pub subject_id: Option<String>,
    /// The job it concerns.
    pub job_id: Option<JobId>,
    /// The task it concerns.
    pub task_name: Option<String>,
    /// The queue it concerns.
    pub queue_name: Option<String>,
    /// What changed.
    pub data: EventData,
}

/// What an event says: one JSON object, written as it is told, for each step of each job has one.
#[derive(Debug, Clone)]
pub struct EventData {
    /// The object, its last brace missing.
    text: Vec<u8>,
    moved_to: Option<JobState>,
}

impl EventData {
    /// Begins with a fact.
    pub fn of(key: &str, value: impl Serialize) -> EventData {
        EventData { text: vec![b'{'], moved_to: None }.with(key, value)
    }

    /// A job goes, or went, from one state to the other.
    pub fn moved(from: JobState, to: JobState) -> EventData {
        let data = EventData::of("from", from.word()).with("to", to.word());
        EventData { moved_to: Some(to), ..data }
    }

    /// One more fact. The key must be a new one.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Serialize) -> EventData {
        if self.text.len() > 1 {
            self.text.push(b',');
        }
        let written = serde_json::to_writer(&mut self.text, key).and_then(|()| {
            self.text.push(b':');
            serde_json::to_writer(&mut self.text, &value)
        });
        written.expect("our own values are plain JSON");
        self
    }

    /// All facts of a JSON object.
    #[must_use]
    pub fn with_all(mut self, facts: serde_json::Value) -> EventData {
        if let serde_json::Value::Object(facts) = facts {
            for (key, value) in facts {
                self = self.with(&key, value);
            }
        }
        self
    }

    /// The state that a job is told to be in now, when this tells of one that went from one to another.
    pub fn moved_to(&self) -> Option<JobState> {
        self.moved_to
    }

    /// The object as JSON text.
    pub fn into_text(mut self) -> String {
        self.text.push(b'}');
        String::from_utf8(self.text).expect("JSON is text")
    }
}

impl From<serde_json::Value> for EventData {
    fn from(facts: serde_json::Value) -> EventData {
        EventData { text: vec![b'{'], moved_to: None }.with_all(facts)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn facts_are_one_object() {
        let data = EventData::moved(JobState::Queued, JobState::Running)
            .with("attempt", 2)
            .with_all(json!({"reason": "a \"word\"", "none": null}));
        assert_eq!(data.moved_to(), Some(JobState::Running));
        let read = |data: EventData| serde_json::from_str::<serde_json::Value>(&data.into_text()).unwrap();
        let all = json!({
            "from": "QUEUED", "to": "RUNNING", "attempt": 2, "reason": "a \"word\"", "none": null,
        });
        assert_eq!(read(data), all);
        assert_eq!(read(json!({}).into()), json!({}));
        assert_eq!(read(EventData::of("a\"b", [1, 2])), json!({"a\"b": [1, 2]}));
    }

    #[test]
    fn a_cursor_reads_back_and_nothing_else_does() {
        let cursor = EventCursor { epoch: 0xabc, seq: 42 };
        assert_eq!(EventCursor::parse(&cursor.to_string()), Some(cursor));
        for bad in ["", "42", "abc-1", "00000abc-", "00000abc--1", "00000abc-1x", "0000zabc-1"] {
            assert_eq!(EventCursor::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_event_type_reads_back() {
        for kind in EVENT_TYPES {
            assert_eq!(EventType::from_word(kind.word()), Some(kind));
        }
    }
}
