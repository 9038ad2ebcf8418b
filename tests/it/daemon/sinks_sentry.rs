//! Alerts of incidents at a Sentry-compatible endpoint: what is new, came back or grows comes as an envelope, and nothing
//! else does.

use std::collections::BTreeSet;
use std::sync::Arc;

use beadle::base::clock::{Clock, SystemClock};
use beadle::base::random::SystemRandom;
use beadle::base::task;
use beadle::domain::event::{EventType, NewEvent};
use beadle::store::Store;
use beadle::store::writer::{Batch, Change, Outcome};
use serde_json::{Value, json};

use super::sinks::{on_runtime, sink};
use crate::support::daemon::{Daemon, string};
use crate::support::receiver::Receiver;
use crate::support::wait::{PATIENCE, until};

/// States facts about an incident, as the store would.
struct Facts(Vec<(EventType, Value)>);

impl Change for Facts {
    type Answer = ();

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<()> {
        for (kind, data) in &self.0 {
            batch.emit(NewEvent {
                kind: *kind,
                actor: "incidents".to_owned(),
                subject_id: Some("incident_1".to_owned()),
                job_id: None,
                task_name: Some("nightly".to_owned()),
                queue_name: None,
                data: data.clone().into(),
            });
        }
        Ok(())
    }
}

/// Adds facts to the feed of a daemon that does not run.
fn state(daemon: &Daemon, facts: Vec<(EventType, Value)>) {
    on_runtime(async {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = Store::open_directory(&daemon.data(), clock.as_ref(), &SystemRandom).await;
        let store = store.expect("the daemon has left it");
        let (writer, mut turns) = store.writer(clock);
        let turning = task::spawn(async move { turns.run().await });
        writer.apply(Facts(facts)).await.expect("facts are good");
        drop(writer);
        turning.await.expect("the writer ends in order");
        store.close().await;
    });
}

fn incident(change: &str) -> Value {
    json!({
        "change": change, "title": "nightly fails", "status": "OPEN", "occurrenceCount": 3,
        "fingerprint": "f1n6er", "taskName": "nightly", "subsystem": null, "outcome": "EXITED",
        "errorLine": "boom", "sampleJobId": "job_9",
    })
}

#[test]
fn alerts_come_to_sentry_as_envelopes_and_nothing_else_does() {
    let receiver = Receiver::start();
    let dsn = receiver.url("/base/42").replace("http://", "http://k3y@");
    let settings = format!(
        "[sinks.hook]\nkind = \"sentry\"\ndsn = \"{dsn}\"\nenvironment = \"night\"\nallow_internal = true\n"
    );
    let mut daemon = Daemon::start_with_file(&settings);
    daemon.terminate();
    let changed = |change: &str| (EventType::IncidentChanged, incident(change));
    let opened = (EventType::IncidentOpened, incident("OPENED"));
    state(&daemon, vec![opened, changed("ACKNOWLEDGED"), changed("RESOLVED"), changed("REGRESSED")]);
    daemon.restart();
    until("both alerts to be told", PATIENCE, || {
        let row = sink(&daemon, "hook");
        (row["deliveredCount"] == json!("2") && row["lagCount"] == json!("0")).then_some(())
    });
    let requests = receiver.received();
    assert_eq!(requests.len(), 2);
    let mut ids = BTreeSet::new();
    for (request, change) in requests.iter().zip(["OPENED", "REGRESSED"]) {
        assert_eq!(request.path, "/base/api/42/envelope/");
        assert!(request.header("x-sentry-auth").contains("sentry_key=k3y"), "{request:?}");
        assert!(request.header("x-sentry-auth").contains("sentry_version=7"));
        let text = String::from_utf8(request.body.clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let [head, item, payload] = lines[..] else { panic!("{text}") };
        let [head, item, event]: [Value; 3] =
            [head, item, payload].map(|line| serde_json::from_str(line).unwrap());
        assert_eq!((&item["type"], &item["length"]), (&json!("event"), &json!(payload.len())));
        assert_eq!(head["event_id"], event["event_id"]);
        let id = string(&event["event_id"]);
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        ids.insert(id);
        assert_eq!((&event["fingerprint"], &event["level"]), (&json!(["f1n6er"]), &json!("error")));
        assert_eq!((&event["environment"], &event["platform"]), (&json!("night"), &json!("other")));
        assert_eq!(event["message"]["formatted"], json!("nightly fails: boom"));
        assert_eq!((&event["tags"]["task"], &event["tags"]["change"]), (&json!("nightly"), &json!(change)));
        assert!(string(&event["release"]).starts_with("beadle@") && event["server_name"].is_string());
    }
    assert_eq!(ids.len(), 2, "each has an id of its own");
}
