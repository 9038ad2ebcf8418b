//! Tests of the sinks' settings: what each kind takes, and what is said about what it does not.

use super::super::{Settings, Sources};
use super::*;

const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz";

fn load(text: &str) -> Result<Vec<SinkSettings>, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("settings.toml");
    fs::write(&path, text.replace("SECRET", SECRET)).unwrap();
    let environment = vec![("BEADLE_DATA_DIR".into(), "/var/empty/beadle".into())];
    let sources = Sources { config: Some(path), environment, cores: 2, ..Sources::default() };
    Settings::load(&sources).map(|loaded| loaded.settings.sinks)
}

#[test]
fn each_kind_is_read_with_its_keys_and_shown_without_its_secrets() {
    let text = r#"
        [sinks.pager]
        kind = "webhook"
        url = "https://hooks.example.org/very/secret?key=1"
        secrets = ["SECRET"]
        events = ["INCIDENT_OPENED", "JOB_STATE_CHANGED"]
        states = ["FAILED"]
        headers = { Authorization = "Bearer hush" }
        [sinks.errors]
        kind = "Sentry"
        dsn = "https://hush@sentry.example.org/42"
        environment = "production"
        [sinks.traces]
        kind = "otlp"
        endpoint = "http://127.0.0.1:4318"
        allow_internal = true
    "#;
    let sinks = load(text).unwrap();
    let rows: Vec<_> =
        sinks.iter().flat_map(SinkSettings::rows).map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(
        rows,
        [
            "sinks.errors.kind=sentry",
            "sinks.errors.dsn=https://sentry.example.org/(hidden)",
            "sinks.errors.environment=production",
            "sinks.errors.allow_internal=false",
            "sinks.pager.kind=webhook",
            "sinks.pager.url=https://hooks.example.org/(hidden)",
            "sinks.pager.secrets=(hidden)",
            "sinks.pager.headers=Authorization (hidden)",
            "sinks.pager.events=INCIDENT_OPENED,JOB_STATE_CHANGED",
            "sinks.pager.states=FAILED",
            "sinks.pager.allow_internal=false",
            "sinks.traces.kind=otlp",
            "sinks.traces.endpoint=http://127.0.0.1:4318/",
            "sinks.traces.allow_internal=true",
        ]
    );
    let shown = format!("{sinks:?}");
    assert!(!shown.contains("hush") && !shown.contains("whsec") && !shown.contains("very"), "{shown}");
}

#[test]
fn what_is_wrong_with_a_sink_is_said_and_stops_the_start() {
    let webhook = "kind = \"webhook\"\nurl = \"https://a.example/\"\nsecrets = [\"SECRET\"]\n";
    let cases = [
        ("sinks = 1", "a table for each sink"),
        ("[sinks]\npager = \"x\"", "a table for each sink"),
        ("[sinks.pager]\nurl = \"https://a.example/\"", "`sinks.pager.kind` cannot be missing"),
        ("[sinks.pager]\nkind = \"mail\"", "webhook, sentry or otlp"),
        (&format!("[sinks.pager]\n{webhook}ulr = \"x\""), "did you mean sinks.pager.url?"),
        (&format!("[sinks.pager]\n{webhook}dsn = \"x\""), "`sinks.pager.dsn` is not a setting of a sink"),
        (&format!("[sinks.pager]\n{webhook}allow_internal = \"perhaps\""), "true or false"),
        (&format!("[sinks.pager]\n{webhook}events = 7"), "a list of texts"),
        (&format!("[sinks.pager]\n{webhook}headers = {{ \"a b\" = \"c\" }}"), "a header's name"),
        (&format!("[sinks.pager]\n{webhook}secret_file = \"/var/empty/none\""), "choose one"),
        ("[sinks.pager]\nkind = \"webhook\"\nurl = \"https://a.example/\"", "`sinks.pager.secrets`"),
        (
            "[sinks.pager]\nkind = \"webhook\"\nurl = \"https://a.example/\"\nsecrets = [\"whsec_c2hvcnQ=\"]",
            "24 to 64",
        ),
        ("[sinks.pager]\nkind = \"webhook\"\nurl = \"ftp://a.example/\"\nsecrets = [\"SECRET\"]", "https://"),
        (
            "[sinks.pager]\nkind = \"webhook\"\nurl = \"https://a.example/\"\nsecret_file = \"/var/empty/none\"",
            "cannot be read",
        ),
        ("[sinks.\"a b\"]\nkind = \"otlp\"", "is no name for a sink"),
        ("[sinks.s]\nkind = \"sentry\"\ndsn = \"https://sentry.example.org/42\"", "KEY@"),
        ("[sinks.s]\nkind = \"sentry\"\ndsn = \"https://k@sentry.example.org/\"", "KEY@"),
    ];
    for (text, sign) in cases {
        let why = load(text).expect_err(text);
        assert!(why.contains(sign), "{text}\n{why}");
        assert!(!why.contains("whsec_c2"), "a secret is repeated: {why}");
    }
}

#[test]
fn an_embedding_program_sets_a_sink_key_by_key_above_the_file() {
    let flags = [
        ("sinks.pager.kind", "webhook"),
        ("sinks.pager.url", "https://a.example/"),
        ("sinks.pager.secrets", SECRET),
        ("sinks.pager.events", "JOB_CREATED"),
        ("sinks.pager.events", "JOB_STATE_CHANGED"),
        ("sinks.pager.headers.X-Team", "night"),
        ("data_dir", "/var/empty/beadle"),
    ];
    let flags = flags.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let loaded = Settings::load(&Sources { flags, cores: 2, ..Sources::default() }).unwrap();
    let pager = &loaded.settings.sinks[0];
    assert_eq!(pager.events, ["JOB_CREATED", "JOB_STATE_CHANGED"]);
    assert_eq!((pager.headers[0].0.as_str(), pager.headers[0].1.reveal()), ("X-Team", "night"));
    let flags = vec![("sinks.pager".to_owned(), "x".to_owned())];
    let why = Settings::load(&Sources { flags, cores: 2, ..Sources::default() }).unwrap_err();
    assert!(why.contains("sinks.NAME.KEY"), "{why}");
}

#[test]
fn there_are_only_so_many_sinks() {
    let one = |n: usize| format!("[sinks.s{n}]\nkind = \"otlp\"\nendpoint = \"https://c.example\"\n");
    assert_eq!(load(&(0..SINKS_MAX).map(one).collect::<String>()).unwrap().len(), SINKS_MAX);
    assert!(load(&(0..=SINKS_MAX).map(one).collect::<String>()).unwrap_err().contains("at most"));
}
