//! The examples for several machines, without a container engine: `compose.yaml` read as an engine would read it, and the
//! settings that it and the unit's file name. It must never take for granted what an engine would refuse.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::process::Output;

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::support::daemon::{Daemon, beadle};
use crate::support::program::{program, shown};

use super::example;

/// What a service of ours may say; an engine refuses a key that it does not know.
const SERVICE_KEYS: [&str; 11] = [
    "command",
    "depends_on",
    "environment",
    "healthcheck",
    "image",
    "init",
    "ports",
    "restart",
    "security_opt",
    "stop_grace_period",
    "volumes",
];
const HEALTH_KEYS: [&str; 5] = ["interval", "retries", "start_period", "test", "timeout"];

/// Reads YAML with anchors and merged tables, as `compose.yaml` has them.
struct Yaml<'text> {
    parser: Parser<'text, StrInput<'text>>,
    anchors: HashMap<usize, Value>,
}

impl Yaml<'_> {
    fn read(text: &str) -> Value {
        let mut yaml = Yaml { parser: Parser::new_from_str(text), anchors: HashMap::new() };
        assert_eq!(yaml.next(), Event::StreamStart);
        assert!(matches!(yaml.next(), Event::DocumentStart(_)));
        let first = yaml.next();
        let value = yaml.value(first);
        assert_eq!((yaml.next(), yaml.next()), (Event::DocumentEnd, Event::StreamEnd), "one document");
        value
    }

    fn next(&mut self) -> Event<'static> {
        let event = self.parser.next_event().expect("the file goes on");
        let (event, _) = event.unwrap_or_else(|why| panic!("compose.yaml: {why}"));
        match event {
            Event::Scalar(text, style, anchor, _) => {
                Event::Scalar(text.into_owned().into(), style, anchor, None)
            }
            Event::SequenceStart(anchor, _) => Event::SequenceStart(anchor, None),
            Event::MappingStart(anchor, _) => Event::MappingStart(anchor, None),
            Event::Alias(anchor) => Event::Alias(anchor),
            Event::DocumentStart(is_explicit) => Event::DocumentStart(is_explicit),
            Event::SequenceEnd => Event::SequenceEnd,
            Event::MappingEnd => Event::MappingEnd,
            Event::StreamStart => Event::StreamStart,
            Event::StreamEnd => Event::StreamEnd,
            Event::DocumentEnd => Event::DocumentEnd,
            Event::Nothing => Event::Nothing,
        }
    }

    fn value(&mut self, event: Event<'static>) -> Value {
        let (anchor, value) = match event {
            Event::Alias(anchor) => return self.anchors[&anchor].clone(),
            Event::Scalar(text, ScalarStyle::Plain, anchor, _) => (anchor, plain(&text)),
            Event::Scalar(text, _, anchor, _) => (anchor, json!(text)),
            Event::SequenceStart(anchor, _) => (anchor, self.list()),
            Event::MappingStart(anchor, _) => (anchor, Value::Object(self.table())),
            other => panic!("{other:?} is no value"),
        };
        self.anchors.insert(anchor, value.clone());
        value
    }

    fn list(&mut self) -> Value {
        let mut items = Vec::new();
        loop {
            match self.next() {
                Event::SequenceEnd => return Value::Array(items),
                event => items.push(self.value(event)),
            }
        }
    }

    fn table(&mut self) -> Map<String, Value> {
        let (mut own, mut merged) = (Map::new(), Map::new());
        loop {
            let key = match self.next() {
                Event::MappingEnd => break,
                Event::Scalar(key, ..) => key.into_owned(),
                other => panic!("{other:?} is no key"),
            };
            let event = self.next();
            let value = self.value(event);
            if key == "<<" {
                merged.clone_from(value.as_object().expect("only a table can be merged"));
            } else {
                assert!(own.insert(key.clone(), value).is_none(), "{key} stands twice");
            }
        }
        merged.extend(own);
        merged
    }
}

/// What a word without quotes is.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" => Value::Null,
        "true" | "false" | "yes" | "no" | "on" | "off" => json!(matches!(text, "true" | "yes" | "on")),
        number => number.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number)),
    }
}

fn compose() -> Value {
    Yaml::read(&fs::read_to_string(example("compose.yaml")).expect("the example is there"))
}

fn services(compose: &Value) -> &Map<String, Value> {
    compose["services"].as_object().expect("there are services")
}

/// The services that run Beadle, with their environment as the engine would fill it in.
fn daemons(compose: &Value) -> Vec<(&str, BTreeMap<String, String>)> {
    let runs_beadle = |service: &Value| service["command"][0] == "/usr/local/bin/beadle";
    let ours = services(compose).iter().filter(|(_, service)| runs_beadle(service));
    let filled = |(name, value): (&String, &Value)| {
        let text = value.as_str().unwrap_or_else(|| panic!("{name} must be a text in quotes, not {value}"));
        (name.clone(), text.replace("${POSTGRES_PASSWORD:?say it in .env}", "secret"))
    };
    ours.map(|(name, service)| {
        let environment = service["environment"].as_object().expect("settings");
        (name.as_str(), environment.iter().map(filled).collect())
    })
    .collect()
}

fn texts(list: &Value) -> Vec<&str> {
    let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(|item| item.as_str().expect("a list of texts")).collect()
}

#[test]
fn compose_says_nothing_that_an_engine_would_refuse() {
    let compose = compose();
    for key in compose.as_object().expect("a table").keys() {
        assert!(["name", "services", "volumes"].contains(&key.as_str()) || key.starts_with("x-"), "{key}");
    }
    let volumes = compose["volumes"].as_object().expect("there are volumes");
    let mut used = BTreeSet::new();
    for (name, service) in services(&compose) {
        for key in service.as_object().expect("a table").keys() {
            assert!(SERVICE_KEYS.contains(&key.as_str()), "{name}: {key}");
        }
        let (image, tag) = service["image"].as_str().and_then(|it| it.split_once(':')).expect("a tag");
        let version = tag.split('-').next().unwrap_or_default();
        assert!(
            version.split('.').count() > 1 && version.starts_with(|sign: char| sign.is_ascii_digit()),
            "{name}: {image}:{tag} may be another one tomorrow"
        );
        for mount in texts(&service["volumes"]) {
            let (source, _) = mount.split_once(':').expect("a source and a place");
            if !source.starts_with('.') {
                assert!(volumes.contains_key(source), "{name}: the volume {source} is not declared");
                assert!(used.insert(source), "{name}: {source} is another one's too");
            }
        }
        for key in service["healthcheck"].as_object().into_iter().flat_map(Map::keys) {
            assert!(HEALTH_KEYS.contains(&key.as_str()), "{name}: {key}");
        }
        for (other, how) in service["depends_on"].as_object().into_iter().flatten() {
            assert_eq!(how["condition"], "service_healthy", "{name}");
            assert!(!services(&compose)[other]["healthcheck"].is_null(), "{name} waits for {other} for ever");
        }
        for port in texts(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port} is open to everybody");
        }
    }
    assert_eq!(used.len(), volumes.len(), "a volume is declared and not used: {volumes:?}");
}

/// What `beadle config` prints with this environment and these arguments.
fn config(environment: &BTreeMap<String, String>, arguments: &[&str]) -> Output {
    let nothing = TempDir::with_prefix("beadle-config-").expect("a temporary directory can be made");
    let mut command = beadle();
    command.arg("config").args(arguments).env("BEADLE_DATA_DIR", nothing.path()).env("HOME", nothing.path());
    let ours = environment.iter().filter(|(name, _)| *name != "BEADLE_DATA_DIR");
    command.envs(ours).output().expect("beadle starts")
}

#[test]
fn compose_runs_two_workers_and_a_door_over_one_database() {
    let compose = compose();
    let daemons = daemons(&compose);
    assert_eq!(daemons.len(), 3, "{daemons:?}");
    let of = |setting: &str| -> BTreeSet<Option<&str>> {
        daemons.iter().map(|(_, settings)| settings.get(setting).map(String::as_str)).collect()
    };
    assert_eq!(of("BEADLE_DATABASE").len(), 1, "one database");
    assert_eq!(of("BEADLE_LABELS").len(), 3, "labels that tell them apart");
    assert_eq!(of("BEADLE_LISTEN"), BTreeSet::from([None, Some("0.0.0.0:7878")]), "one door");
    for (name, settings) in &daemons {
        let printed = config(settings, &[]);
        assert!(printed.status.success(), "{name}: {}", shown(&printed));
        // Whoever listens to others has a proxy in front, and knows its name.
        let is_open = settings.contains_key("BEADLE_LISTEN");
        assert_eq!(
            settings.get("BEADLE_BEHIND_PROXY").map(String::as_str),
            is_open.then_some("true"),
            "{name}"
        );
    }
    let from = texts(&services(&compose)["proxy"]["command"]);
    let address = from.iter().find_map(|word| word.strip_prefix("https://")).expect("the proxy does TLS");
    assert_eq!(of("BEADLE_ALLOW_HOSTS"), BTreeSet::from([None, Some(address)]));
    assert_eq!(of("BEADLE_ALLOW_ORIGINS"), BTreeSet::from([None, Some(&*format!("https://{address}"))]));
}

#[test]
fn composes_health_check_tells_a_daemon_that_is_ready_from_one_that_is_gone() {
    let compose = compose();
    let mut daemon = Daemon::start();
    let check = texts(&services(&compose)["worker-a"]["healthcheck"]["test"]);
    let [kind, words @ ..] = &check[..] else { panic!("{check:?}") };
    assert_eq!(*kind, "CMD");
    let (_, port) = daemon.address().rsplit_once(':').expect("an address has a port");
    let words: Vec<String> = words.iter().map(|word| word.replace("7878", port)).collect();
    let healthy = || {
        let output = program(&words[0]).args(&words[1..]).output().expect("bash starts");
        (output.status.success(), shown(&output))
    };
    let (is_healthy, said) = healthy();
    assert!(is_healthy, "{said}");
    daemon.kill9();
    let (is_healthy, said) = healthy();
    assert!(!is_healthy, "{said}");
}

#[test]
fn the_workers_settings_are_ones_that_the_daemon_takes() {
    let unit = fs::read_to_string(example("beadle-worker.service")).expect("the example is there");
    let inside = unit.lines().skip_while(|line| !line.ends_with("<<'END'")).skip(1);
    let inside = inside.take_while(|line| *line != "#   END");
    let settings: Vec<&str> = inside.map(|line| line.trim_start_matches("#   ")).collect();
    let path = unit.lines().find_map(|line| line.strip_prefix("LoadCredential="));
    let (name, path) = path.and_then(|it| it.split_once(':')).expect("the settings are a credential");
    assert!(unit.contains(&format!(" {path} <<'END'")) && unit.contains(&format!("--config %d/{name}\n")));
    let directory = TempDir::with_prefix("beadle-worker-").expect("a temporary directory can be made");
    let file = directory.path().join(name);
    fs::write(&file, settings.join("\n")).expect("the file is written");
    let printed = config(&BTreeMap::new(), &["--config", file.to_str().expect("a path of ours")]);
    assert!(printed.status.success(), "{}", shown(&printed));
}
