//! Owns how an event is written for Sentry: an envelope with one error event, which Sentry groups by our fingerprint.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::{Part, Request, Speaker, VERSION, content};
use crate::base::random::hex;
use crate::base::settings::sinks::SinkSettings;
use crate::domain::event::{Event, EventCursor, EventType};
use crate::domain::sink::letter;

/// A project of Sentry.
#[derive(Clone)]
pub struct Sentry {
    url: String,
    key: String,
    environment: String,
    server_name: String,
}

impl std::fmt::Debug for Sentry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sentry").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The environment that events stand under when nobody says otherwise: Sentry's own.
const ENVIRONMENT: &str = "production";

impl Sentry {
    /// The project that the DSN names: `https://KEY@HOST/PATH/PROJECT`.
    pub fn of(settings: &SinkSettings, speaker: &Speaker) -> Result<Sentry, String> {
        let bad = || format!("`sinks.{}.dsn` names no project", settings.name);
        let mut url = Url::parse(settings.address.reveal()).map_err(|_| bad())?;
        let key = url.username().to_owned();
        let path = url.path().trim_end_matches('/').to_owned();
        let (before, project) = path.rsplit_once('/').ok_or_else(bad)?;
        url.set_path(&format!("{before}/api/{project}/envelope/"));
        url.set_query(None);
        url.set_username("").and_then(|()| url.set_password(None)).map_err(|()| bad())?;
        Ok(Sentry {
            url: url.into(),
            key,
            environment: settings.environment.clone().unwrap_or_else(|| ENVIRONMENT.to_owned()),
            server_name: speaker.host.clone(),
        })
    }

    /// The request that tells of an event.
    pub fn request(&self, event: &Event) -> Request {
        let payload = self.event(event).to_string();
        let id = event_id(event.cursor);
        let item = json!({"type": "event", "content_type": "application/json", "length": payload.len()});
        let body = format!("{}\n{item}\n{payload}\n", json!({ "event_id": id }));
        let auth =
            format!("Sentry sentry_version=7, sentry_client=beadle/{VERSION}, sentry_key={}", self.key);
        let headers = vec![
            ("content-type".to_owned(), "application/x-sentry-envelope".to_owned()),
            ("x-sentry-auth".to_owned(), auth),
        ];
        Request {
            part: Part::Whole,
            url: self.url.clone(),
            headers,
            body: body.into_bytes(),
            count: 1,
            complaint: content,
        }
    }

    fn event(&self, event: &Event) -> Value {
        let data = &event.data.0;
        let text = |key: &str| data[key].as_str();
        let title = text("title").unwrap_or(event.kind.word());
        let message = match text("errorLine") {
            Some(line) => format!("{title}: {line}"),
            None => title.to_owned(),
        };
        let tags = [
            ("type", Some(event.kind.word())),
            ("change", text("change")),
            ("task", event.task_name.as_deref().or(text("taskName"))),
            ("subsystem", text("subsystem")),
            ("outcome", text("outcome")),
            ("queue", text("queue")),
            ("job", text("sampleJobId")),
        ];
        let tags: serde_json::Map<String, Value> =
            tags.into_iter().filter_map(|(name, tag)| Some((name.to_owned(), tag?.into()))).collect();
        // Events that are no incident's are grouped by what they are about.
        let fingerprint = text("fingerprint").map_or_else(
            || vec![event.kind.word().to_owned(), event.task_name.clone().unwrap_or_default()],
            |fingerprint| vec![fingerprint.to_owned()],
        );
        json!({
            "event_id": event_id(event.cursor),
            "timestamp": event.at.to_string(),
            "platform": "other",
            "level": level(event),
            "logger": "beadle",
            "server_name": self.server_name,
            "release": format!("beadle@{VERSION}"),
            "environment": self.environment,
            "message": {"formatted": message},
            "fingerprint": fingerprint,
            "tags": tags,
            "extra": letter(event),
        })
    }
}

fn level(event: &Event) -> &'static str {
    let word = |key: &str| event.data.0[key].as_str().unwrap_or_default();
    match event.kind {
        EventType::IncidentOpened => "error",
        EventType::IncidentChanged if matches!(word("change"), "REGRESSED" | "ESCALATED") => "error",
        EventType::JobStateChanged if matches!(word("to"), "FAILED" | "EXPIRED") => "error",
        EventType::HealthChanged if word("status") != "OK" => "warning",
        _ => "info",
    }
}

/// 32 hexadecimal digits that are always the same for an event, so that one told twice is one.
fn event_id(cursor: EventCursor) -> String {
    hex(&Sha256::digest(format!("beadle event {cursor}"))[..16])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::settings::{Settings, Sources};

    #[test]
    fn a_dsn_names_the_endpoint_of_its_project() {
        for (dsn, url) in [
            ("https://k3y@sentry.example.org/42", "https://sentry.example.org/api/42/envelope/"),
            ("http://k3y@10.0.0.1:9000/base/path/7", "http://10.0.0.1:9000/base/path/api/7/envelope/"),
        ] {
            let flags = [("sinks.s.kind", "sentry"), ("sinks.s.dsn", dsn), ("data_dir", "/var/empty")];
            let flags = flags.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
            let loaded = Settings::load(&Sources { flags, cores: 1, ..Sources::default() }).unwrap();
            let speaker = Speaker { host: "here".to_owned(), instance: "here:1".to_owned() };
            let sentry = Sentry::of(&loaded.settings.sinks[0], &speaker).unwrap();
            assert_eq!((sentry.url.as_str(), sentry.key.as_str()), (url, "k3y"));
        }
    }

    #[test]
    fn an_event_keeps_its_id() {
        let id = |seq| event_id(EventCursor { epoch: 7, seq });
        assert_eq!(id(1), id(1));
        assert_ne!(id(1), id(2));
        assert_eq!(id(1).len(), 32);
    }
}
