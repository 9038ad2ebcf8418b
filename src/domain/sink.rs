//! Owns the sink: a system outside that incidents and events are reported to, which of them it is told, and what it
//! would not take.

use async_graphql::{InputObject, SimpleObject};
use serde_json::{Value, json};

use super::event::{EVENT_TYPES, Event, EventCursor, EventType};
use super::id::{GlobalId, JobId};
use super::job::{JOB_STATES, JobState};
use super::scalars::{BigInt, Json};
use crate::base::clock::Timestamp;
use crate::base::settings::nearest;
use crate::base::settings::sinks::{SinkKind, SinkSettings};

/// Changes of an incident that somebody should hear of at once. What people did to it is no alert.
pub const ALERTS: [&str; 3] = ["OPENED", "REGRESSED", "ESCALATED"];

/// A system outside that incidents and events are reported to.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
#[graphql(complex)]
pub struct Sink {
    /// Its name in the settings.
    pub name: String,
    /// What it is.
    pub kind: SinkKind,
    /// Everything up to here it was told, or it is a dead letter.
    pub position: EventCursor,
    /// Events that lie behind its position, those that it does not want too.
    pub lag_count: BigInt,
    /// Events that it took.
    pub delivered_count: BigInt,
    /// Events that the feed had forgotten before it was told, those that it does not want too, and dead letters that
    /// had to make room.
    pub dropped_count: BigInt,
    /// Events that it would not take and that wait for a person.
    pub dead_letter_count: BigInt,
    /// Since when it takes nothing; null while it works.
    pub failing_since: Option<Timestamp>,
    /// Why it takes nothing.
    pub failure: Option<String>,
    /// When it was taken out of the settings.
    pub retired_at: Option<Timestamp>,
}

/// An event that a sink would not take.
#[derive(Debug, Clone, SimpleObject)]
pub struct DeadLetter {
    /// The event.
    pub event: Event,
    /// What the sink answered.
    pub failure: String,
    /// How often it was tried.
    pub try_count: i32,
    /// When it was given up.
    pub created_at: Timestamp,
    /// When somebody asked to deliver it again; null once that has failed too.
    pub redeliver_at: Option<Timestamp>,
}

/// Dead letters to be delivered again, or to be given up for good.
#[derive(Debug, Clone, InputObject)]
pub struct DeadLettersInput {
    /// The sink's name.
    pub sink: String,
    /// The cursors of their events; every one of the sink when left out.
    pub events: Option<Vec<EventCursor>>,
}

/// Which events a sink is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkFilter {
    /// Incidents that are new, came back or grow.
    Alerts,
    /// By type.
    Events {
        /// Of these types; none is all.
        types: Option<Vec<EventType>>,
        /// Of the changes of a job's state those to these; none is all.
        states: Option<Vec<JobState>>,
    },
}

impl SinkFilter {
    /// What the operator asked for, or what the kind is for: alerts, and for OTLP everything.
    ///
    /// # Errors
    /// One sentence that names the key and the word that is none.
    pub fn of(settings: &SinkSettings) -> Result<SinkFilter, String> {
        let types = read(settings, "events", &settings.events, EventType::from_word, || {
            EVENT_TYPES.into_iter().map(|kind| kind.word().to_owned()).collect()
        })?;
        let states = read(settings, "states", &settings.states, JobState::from_word, || {
            JOB_STATES.into_iter().map(|state| state.word().to_owned()).collect()
        })?;
        if states.is_some()
            && !types.as_ref().is_some_and(|types| types.contains(&EventType::JobStateChanged))
        {
            return Err(format!(
                "`sinks.{}.states` goes with JOB_STATE_CHANGED among the `events` only",
                settings.name
            ));
        }
        Ok(match (types, settings.kind) {
            (None, SinkKind::Webhook | SinkKind::Sentry) => SinkFilter::Alerts,
            (types, _) => SinkFilter::Events { types, states },
        })
    }

    /// The types to ask the feed for; none is all.
    pub fn types(&self) -> Option<Vec<EventType>> {
        match self {
            SinkFilter::Alerts => Some(vec![EventType::IncidentOpened, EventType::IncidentChanged]),
            SinkFilter::Events { types, .. } => types.clone(),
        }
    }

    /// Whether the sink is told of this event.
    pub fn wants(&self, event: &Event) -> bool {
        let word = |key: &str| event.data.0[key].as_str().unwrap_or_default();
        if self.types().is_some_and(|types| !types.contains(&event.kind)) {
            return false;
        }
        match self {
            SinkFilter::Alerts => event.kind == EventType::IncidentOpened || ALERTS.contains(&word("change")),
            SinkFilter::Events { states: Some(states), .. } if event.kind == EventType::JobStateChanged => {
                JobState::from_word(word("to")).is_some_and(|state| states.contains(&state))
            }
            SinkFilter::Events { .. } => true,
        }
    }
}

/// The words of a list, or `None` for an empty one.
fn read<T>(
    settings: &SinkSettings,
    key: &str,
    words: &[String],
    meaning: impl Fn(&str) -> Option<T>,
    known: impl Fn() -> Vec<String>,
) -> Result<Option<Vec<T>>, String> {
    let one = |word: &String| {
        meaning(word).ok_or_else(|| {
            let hint = nearest(word, known().into_iter());
            format!("`sinks.{}.{key}` cannot hold {word:?}{hint}", settings.name)
        })
    };
    let read: Vec<T> = words.iter().map(one).collect::<Result<_, _>>()?;
    Ok((!read.is_empty()).then_some(read))
}

/// An event as a sink is told it, and as a dead letter keeps it: the fields of the API.
pub fn letter(event: &Event) -> Value {
    json!({
        "cursor": event.cursor.to_string(),
        "type": event.kind.word(),
        "at": event.at.to_string(),
        "actor": event.actor,
        "subjectId": event.subject_id,
        "jobId": event.job_id.map(|id| id.to_string()),
        "taskName": event.task_name,
        "data": event.data.0,
    })
}

/// Reads a letter back; `None` when it is none. The address that it was asked from is not in it.
pub fn read_letter(letter: &Value) -> Option<Event> {
    let text = |key: &str| letter[key].as_str();
    Some(Event {
        cursor: EventCursor::parse(text("cursor")?)?,
        kind: EventType::from_word(text("type")?)?,
        at: Timestamp::parse(text("at")?)?,
        actor: text("actor")?.to_owned(),
        peer: None,
        subject_id: text("subjectId").map(str::to_owned),
        job_id: text("jobId").and_then(<JobId as GlobalId>::parse),
        task_name: text("taskName").map(str::to_owned),
        queue_name: None,
        data: Json(letter["data"].clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::settings::{Settings, Sources};

    fn event(kind: EventType, data: Value) -> Event {
        Event {
            cursor: EventCursor { epoch: 7, seq: 42 },
            kind,
            at: Timestamp(1_700_000_000_123_000),
            actor: "test".to_owned(),
            peer: None,
            subject_id: Some("incident_3".to_owned()),
            job_id: Some(JobId(9)),
            task_name: Some("nightly".to_owned()),
            queue_name: None,
            data: Json(data),
        }
    }

    fn settings(words: &[(&str, &str)]) -> SinkSettings {
        let fixed = [("kind", "sentry"), ("dsn", "https://k@s.example/1")];
        let flags =
            fixed.iter().chain(words).map(|(key, value)| (format!("sinks.s.{key}"), (*value).to_owned()));
        let flags = flags.chain([("data_dir".to_owned(), "/var/empty".to_owned())]).collect();
        let loaded = Settings::load(&Sources { flags, cores: 1, ..Sources::default() }).unwrap();
        loaded.settings.sinks[0].clone()
    }

    #[test]
    fn alerts_are_what_is_new_came_back_or_grows() {
        let filter = SinkFilter::of(&settings(&[])).unwrap();
        assert_eq!(filter, SinkFilter::Alerts);
        assert!(filter.wants(&event(EventType::IncidentOpened, json!({"change": "OPENED"}))));
        for (change, is_wanted) in [
            ("REGRESSED", true),
            ("ESCALATED", true),
            ("ACKNOWLEDGED", false),
            ("RESOLVED", false),
            ("IGNORED", false),
            ("REOPENED", false),
        ] {
            let changed = event(EventType::IncidentChanged, json!({ "change": change }));
            assert_eq!(filter.wants(&changed), is_wanted, "{change}");
        }
        assert!(!filter.wants(&event(EventType::JobCreated, json!({"change": "OPENED"}))));
    }

    #[test]
    fn a_sink_may_ask_for_types_and_for_final_states_only() {
        let filter =
            SinkFilter::of(&settings(&[("events", "JOB_STATE_CHANGED"), ("states", "FAILED")])).unwrap();
        assert!(filter.wants(&event(EventType::JobStateChanged, json!({"from": "RUNNING", "to": "FAILED"}))));
        assert!(
            !filter.wants(&event(EventType::JobStateChanged, json!({"from": "QUEUED", "to": "RUNNING"})))
        );
        assert!(!filter.wants(&event(EventType::JobCreated, json!({}))));
        for (words, sign) in [
            (&[("events", "JOB_STATE_CHANGD")][..], "did you mean JOB_STATE_CHANGED?"),
            (&[("events", "JOB_STATE_CHANGED"), ("states", "DONE")], "`sinks.s.states` cannot hold"),
            (&[("states", "FAILED")], "goes with JOB_STATE_CHANGED"),
        ] {
            let why = SinkFilter::of(&settings(words)).unwrap_err();
            assert!(why.contains(sign), "{why}");
        }
    }

    #[test]
    fn a_letter_reads_back() {
        let one = event(EventType::IncidentOpened, json!({"title": "boom", "n": [1, null]}));
        let back = read_letter(&letter(&one)).unwrap();
        assert_eq!(letter(&back), letter(&one));
        assert_eq!((back.cursor, back.at, back.job_id), (one.cursor, one.at, one.job_id));
        assert!(read_letter(&json!({"cursor": "x"})).is_none());
    }
}
