//! Owns how events and ended work are written for an OpenTelemetry collector: log records and spans, OTLP over HTTP.
//! All numbers are worked out of what is durable: what is told twice is the same record and the same span.

use prost::Message as _;
use serde_json::Value;
use url::Url;

use super::otlp_messages::{
    Any, AnyValue, ArrayValue, ExportLogs, ExportReply, ExportSpans, KeyValue, KeyValueList, LogRecord,
    PartialSuccess, Resource, ResourceLogs, ResourceSpans, Scope, ScopeLogs, ScopeSpans, SpanMessage, Status,
};
use super::webhook::plain_headers;
use super::{Part, Request, Span, Speaker, Told, VERSION};
use crate::base::clock::Timestamp;
use crate::base::settings::sinks::SinkSettings;
use crate::domain::event::{Event, EventType};
use crate::domain::trace::TraceContext;

/// Events in one request.
pub const EVENTS_MAX: usize = 100;

// Numbers of the protocol's definitions.
const SEVERITY_INFO: (i32, &str) = (9, "INFO");
const SEVERITY_WARN: (i32, &str) = (13, "WARN");
const SEVERITY_ERROR: (i32, &str) = (17, "ERROR");
const KIND_INTERNAL: i32 = 1;
const KIND_CONSUMER: i32 = 5;
const STATUS_ERROR: i32 = 2;
const FLAG_SAMPLED: u32 = 1;

/// A collector.
#[derive(Clone)]
pub struct Otlp {
    logs_url: String,
    traces_url: String,
    headers: Vec<(String, String)>,
    resource: Resource,
}

impl std::fmt::Debug for Otlp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Its address may hold a secret.
        f.debug_struct("Otlp").finish_non_exhaustive()
    }
}

impl Otlp {
    /// The collector of these settings.
    pub fn of(settings: &SinkSettings, speaker: &Speaker) -> Otlp {
        let endpoint = settings.address.reveal();
        let mut headers = vec![("content-type".to_owned(), "application/x-protobuf".to_owned())];
        headers.extend(plain_headers(settings));
        let attributes = vec![
            text("service.name", "beadle"),
            text("service.version", VERSION),
            text("service.instance.id", &speaker.instance),
            text("host.name", &speaker.host),
        ];
        Otlp {
            logs_url: below(endpoint, "/v1/logs"),
            traces_url: below(endpoint, "/v1/traces"),
            headers,
            resource: Resource { attributes },
        }
    }

    /// One request for the log records, and one for the spans when there are any.
    pub fn requests(&self, told: &Told<'_>) -> Vec<Request> {
        let records = told.events.iter().map(|event| record(event, told)).collect();
        let logs = ExportLogs {
            resource_logs: vec![ResourceLogs {
                resource: Some(self.resource.clone()),
                scope_logs: vec![ScopeLogs { scope: Some(scope()), log_records: records }],
            }],
        };
        let mut requests =
            vec![self.request(Part::Records, &self.logs_url, logs.encode_to_vec(), told.events.len())];
        if !told.spans.is_empty() {
            let spans = ExportSpans {
                resource_spans: vec![ResourceSpans {
                    resource: Some(self.resource.clone()),
                    scope_spans: vec![ScopeSpans {
                        scope: Some(scope()),
                        spans: told.spans.iter().map(span).collect(),
                    }],
                }],
            };
            requests.push(self.request(
                Part::Spans,
                &self.traces_url,
                spans.encode_to_vec(),
                told.spans.len(),
            ));
        }
        requests
    }

    fn request(&self, part: Part, url: &str, body: Vec<u8>, count: usize) -> Request {
        Request { part, url: url.to_owned(), headers: self.headers.clone(), body, count, complaint: rejected }
    }
}

/// The endpoint with this added to its path. What stands behind the path stays there.
fn below(endpoint: &str, path: &str) -> String {
    let mut url = Url::parse(endpoint).expect("the settings take no endpoint that is no address");
    let path = format!("{}{path}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url.into()
}

/// A collector may take a part only: what it says then. An answer that cannot be read complains of nothing.
fn rejected(reply: &[u8]) -> Option<(usize, String)> {
    let partial = ExportReply::decode(reply).ok()?.partial_success?;
    let PartialSuccess { rejected_count, message } = partial;
    let count = usize::try_from(rejected_count).ok().filter(|count| *count > 0)?;
    Some((count, format!("it refused {count} of them: {message}")))
}

fn scope() -> Scope {
    Scope { name: "beadle".to_owned(), version: VERSION.to_owned() }
}

fn record(event: &Event, told: &Told<'_>) -> LogRecord {
    let (severity_number, severity_text) = severity(event);
    let context =
        event.job_id.map(|job| TraceContext::of_job(event.cursor.epoch, job, told.asked.get(&job).copied()));
    let mut attributes =
        vec![text("beadle.event.cursor", &event.cursor.to_string()), text("beadle.actor", &event.actor)];
    let optional = [
        ("beadle.subject.id", event.subject_id.clone()),
        ("beadle.job.id", event.job_id.map(|id| id.to_string())),
        ("beadle.task", event.task_name.clone()),
    ];
    attributes.extend(optional.iter().filter_map(|(key, value)| Some(text(key, value.as_deref()?))));
    LogRecord {
        time_unix_nano: nanos(event.at),
        severity_number,
        severity_text: severity_text.to_owned(),
        body: Some(any(&event.data.0)),
        attributes,
        flags: context.map_or(0, flags),
        trace_id: context.map(|context| context.trace.to_be_bytes().to_vec()).unwrap_or_default(),
        span_id: context.map(|context| context.span.to_be_bytes().to_vec()).unwrap_or_default(),
        observed_time_unix_nano: nanos(event.at),
        event_name: event.kind.word().to_owned(),
    }
}

fn severity(event: &Event) -> (i32, &'static str) {
    let word = |key: &str| event.data.0[key].as_str().unwrap_or_default();
    match event.kind {
        EventType::IncidentOpened => SEVERITY_ERROR,
        EventType::IncidentChanged if matches!(word("change"), "REGRESSED" | "ESCALATED") => SEVERITY_ERROR,
        EventType::JobStateChanged if matches!(word("to"), "FAILED" | "EXPIRED") => SEVERITY_ERROR,
        EventType::AttemptFinished if !matches!(word("outcome"), "SUCCEEDED" | "CANCELLED") => SEVERITY_WARN,
        EventType::HealthChanged if word("status") != "OK" => SEVERITY_WARN,
        _ => SEVERITY_INFO,
    }
}

fn span(span: &Span) -> SpanMessage {
    SpanMessage {
        trace_id: span.context.trace.to_be_bytes().to_vec(),
        span_id: span.context.span.to_be_bytes().to_vec(),
        parent_span_id: span.parent.map(|parent| parent.to_be_bytes().to_vec()).unwrap_or_default(),
        name: span.name.clone(),
        kind: if span.is_job { KIND_CONSUMER } else { KIND_INTERNAL },
        start_time_unix_nano: nanos(span.started_at),
        end_time_unix_nano: nanos(span.ended_at),
        attributes: span.attributes.iter().map(|(key, value)| text(key, value)).collect(),
        status: span.failure.clone().map(|message| Status { message, code: STATUS_ERROR }),
        flags: flags(span.context),
    }
}

fn flags(context: TraceContext) -> u32 {
    if context.is_sampled { FLAG_SAMPLED } else { 0 }
}

fn nanos(at: Timestamp) -> u64 {
    u64::try_from(at.0).unwrap_or(0).saturating_mul(1_000)
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(Any::Text(value.to_owned())) }) }
}

/// JSON as the protocol's own values. Its depth is bounded by what the store let in.
fn any(value: &Value) -> AnyValue {
    let value = match value {
        Value::Null => None,
        Value::Bool(switch) => Some(Any::Bool(*switch)),
        Value::Number(number) => {
            Some(number.as_i64().map_or_else(|| Any::Double(number.as_f64().unwrap_or_default()), Any::Int))
        }
        Value::String(text) => Some(Any::Text(text.clone())),
        Value::Array(items) => Some(Any::List(ArrayValue { values: items.iter().map(any).collect() })),
        Value::Object(fields) => Some(Any::Map(KeyValueList {
            values: fields
                .iter()
                .map(|(key, value)| KeyValue { key: key.clone(), value: Some(any(value)) })
                .collect(),
        })),
    };
    AnyValue { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_to_an_endpoint_stands_before_its_query() {
        let cases = [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/logs"),
            ("https://c.example.org/otlp/", "https://c.example.org/otlp/v1/logs"),
            ("https://c.example.org/otlp?key=K", "https://c.example.org/otlp/v1/logs?key=K"),
            ("https://c.example.org/a%20b/?key=%2F&x=/", "https://c.example.org/a%20b/v1/logs?key=%2F&x=/"),
        ];
        for (endpoint, expected) in cases {
            assert_eq!(below(endpoint, "/v1/logs"), expected);
        }
    }

    #[test]
    fn a_collector_that_takes_a_part_only_is_heard() {
        let reply = |rejected_count, message: &str| {
            let partial_success = Some(PartialSuccess { rejected_count, message: message.to_owned() });
            ExportReply { partial_success }.encode_to_vec()
        };
        assert_eq!(rejected(&reply(2, "too old")).unwrap(), (2, "it refused 2 of them: too old".to_owned()));
        assert_eq!(rejected(&reply(0, "a warning")), None);
        assert_eq!(rejected(b""), None);
        assert_eq!(rejected(b"ok"), None);
    }
}
