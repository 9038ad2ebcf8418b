//! Owns the settings of sinks, the tables `[sinks.NAME]`: what each kind takes, and what is wrong with what was given.
//! It never knows what an event is: words of the product are checked by `domain::sink`.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use super::nearest;
use super::value::accept_switch;

/// The table that holds them, and what their keys begin with.
pub(super) const TABLE: &str = "sinks";
/// Sinks of one daemon.
pub const SINKS_MAX: usize = 20;
/// Bytes of a sink's name.
const NAME_BYTES_MAX: usize = 64;
/// What a secret of a webhook begins with, by the Standard Webhooks specification.
const SECRET_PREFIX: &str = "whsec_";
/// Bytes of such a secret, by the same.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// What is shown in place of what must not be.
const HIDDEN: &str = "(hidden)";

/// What kind of system a sink is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, async_graphql::Enum)]
pub enum SinkKind {
    /// Any HTTP endpoint that takes Standard Webhooks.
    Webhook,
    /// Sentry, or what speaks its envelope protocol.
    Sentry,
    /// A collector that speaks OTLP over HTTP.
    Otlp,
}

impl SinkKind {
    /// The word in the store and in settings, there in lower case.
    pub fn word(self) -> &'static str {
        match self {
            SinkKind::Webhook => "WEBHOOK",
            SinkKind::Sentry => "SENTRY",
            SinkKind::Otlp => "OTLP",
        }
    }

    /// The kind of a word, whatever its case.
    pub fn from_word(word: &str) -> Option<SinkKind> {
        let kinds = [SinkKind::Webhook, SinkKind::Sentry, SinkKind::Otlp];
        kinds.into_iter().find(|kind| kind.word().eq_ignore_ascii_case(word))
    }

    /// The key of its address.
    fn address_key(self) -> &'static str {
        match self {
            SinkKind::Webhook => "url",
            SinkKind::Sentry => "dsn",
            SinkKind::Otlp => "endpoint",
        }
    }

    /// The keys that it takes beside `kind` and its address.
    fn keys(self) -> &'static [&'static str] {
        match self {
            SinkKind::Webhook => &["secrets", "secret_file", "headers", "events", "states", "allow_internal"],
            SinkKind::Sentry => &["environment", "events", "states", "allow_internal"],
            SinkKind::Otlp => &["headers", "events", "states", "allow_internal"],
        }
    }
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for where it is used.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// One sink as the operator set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkSettings {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: SinkKind,
    /// Where it is: the `url`, `dsn` or `endpoint`.
    pub address: Secret,
    /// The keys of a webhook's signature; each signs.
    pub secrets: Vec<Secret>,
    /// Words of the event types to tell; none means the kind's own choice.
    pub events: Vec<String>,
    /// Words of the states that a job must go to for its change of state to be told; none means all.
    pub states: Vec<String>,
    /// Whether it may stand in an internal network.
    pub allow_internal: bool,
    /// Further headers of its requests.
    pub headers: Vec<(String, Secret)>,
    /// The environment that Sentry files events under.
    pub environment: Option<String>,
    /// As given, for `beadle config`.
    secret_file: Option<PathBuf>,
}

impl SinkSettings {
    /// Key and value of each thing that was set, as it would be written, without what is secret.
    pub fn rows(&self) -> Vec<(String, String)> {
        let mut rows = vec![
            ("kind", self.kind.word().to_lowercase()),
            (self.kind.address_key(), shown_address(self.kind, self.address.reveal())),
        ];
        match &self.secret_file {
            Some(path) => rows.push(("secret_file", path.display().to_string())),
            None if self.secrets.is_empty() => {}
            None => rows.push(("secrets", HIDDEN.to_owned())),
        }
        if !self.headers.is_empty() {
            let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
            rows.push(("headers", format!("{} {HIDDEN}", names.join(","))));
        }
        for (key, words) in [("events", &self.events), ("states", &self.states)] {
            if !words.is_empty() {
                rows.push((key, words.join(",")));
            }
        }
        rows.extend(self.environment.clone().map(|environment| ("environment", environment)));
        rows.push(("allow_internal", self.allow_internal.to_string()));
        let named = |(key, value): (&str, String)| (format!("{TABLE}.{}.{key}", self.name), value);
        rows.into_iter().map(named).collect()
    }
}

/// Addresses often hold a secret in their path, query or user part: only where they lead is shown.
fn shown_address(kind: SinkKind, address: &str) -> String {
    let Ok(url) = Url::parse(address) else { return HIDDEN.to_owned() };
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let rest = match kind {
        SinkKind::Otlp if url.query().is_none() => url.path().to_owned(),
        _ => format!("/{HIDDEN}"),
    };
    format!("{}://{host}{port}{rest}", url.scheme())
}

/// The bytes of a webhook's secret; `None` when it is not written as the specification says.
pub fn secret_bytes(text: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(text.strip_prefix(SECRET_PREFIX)?).ok()?;
    SECRET_BYTES.contains(&bytes.len()).then_some(bytes)
}

/// What was given for each sink, by key; a later layer overwrites.
#[derive(Debug, Clone, Default)]
pub(super) struct Given(BTreeMap<String, BTreeMap<String, Vec<String>>>);

impl Given {
    /// Takes what another layer gives, which wins.
    pub(super) fn overlay(&mut self, upper: Given) {
        for (name, keys) in upper.0 {
            self.0.entry(name).or_default().extend(keys);
        }
    }

    /// One value of `sinks.NAME.KEY`; a key given twice is a list.
    pub(super) fn add(&mut self, path: &str, value: &str) -> Result<(), String> {
        let mut parts = path.splitn(3, '.').skip(1);
        let (Some(name), Some(key)) = (parts.next(), parts.next()) else {
            return Err(format!("`{path}` is not a setting; a sink's are written sinks.NAME.KEY"));
        };
        self.0.entry(name.to_owned()).or_default().entry(key.to_owned()).or_default().push(value.to_owned());
        Ok(())
    }

    /// The table `[sinks]` of a file.
    pub(super) fn from_table(value: &toml::Value) -> Result<Given, String> {
        let accepted = "a table for each sink: [sinks.NAME]";
        let sinks =
            value.as_table().ok_or_else(|| format!("`{TABLE}` cannot be {}: {accepted}", a(value)))?;
        let mut given = Given::default();
        for (name, sink) in sinks {
            let place = format!("{TABLE}.{name}");
            let keys =
                sink.as_table().ok_or_else(|| format!("`{place}` cannot be {}: {accepted}", a(sink)))?;
            let entry = given.0.entry(name.clone()).or_default();
            for (key, value) in keys {
                match value {
                    toml::Value::Table(inner) => {
                        for (below, value) in inner {
                            let key = format!("{key}.{below}");
                            let values = plain(&format!("{place}.{key}"), value)?;
                            entry.insert(key, values);
                        }
                    }
                    value => {
                        entry.insert(key.clone(), plain(&format!("{place}.{key}"), value)?);
                    }
                }
            }
        }
        Ok(given)
    }

    /// The sinks, by name.
    pub(super) fn read(self) -> Result<Vec<SinkSettings>, String> {
        if self.0.len() > SINKS_MAX {
            return Err(format!("there are {} sinks, at most {SINKS_MAX} are accepted", self.0.len()));
        }
        self.0.into_iter().map(|(name, keys)| Reading { name, keys }.sink()).collect()
    }
}

fn plain(place: &str, value: &toml::Value) -> Result<Vec<String>, String> {
    match value {
        toml::Value::String(text) => Ok(vec![text.clone()]),
        toml::Value::Boolean(switch) => Ok(vec![switch.to_string()]),
        toml::Value::Array(items) if items.iter().all(toml::Value::is_str) => {
            Ok(items.iter().filter_map(toml::Value::as_str).map(str::to_owned).collect())
        }
        other => Err(format!("`{place}` cannot be {}: a text, a list of texts, true or false", a(other))),
    }
}

/// A value by its kind only: it may be a secret in the wrong place.
fn a(value: &toml::Value) -> String {
    format!("a value of the kind {}", value.type_str())
}

/// One sink while it is read: every key that is understood is taken out.
struct Reading {
    name: String,
    keys: BTreeMap<String, Vec<String>>,
}

impl Reading {
    fn sink(mut self) -> Result<SinkSettings, String> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.name.is_empty() || self.name.len() > NAME_BYTES_MAX || !self.name.chars().all(is_name) {
            return Err(format!(
                "{:?} is no name for a sink: letters, digits, - and _, at most {NAME_BYTES_MAX}",
                self.name
            ));
        }
        let accepted = "webhook, sentry or otlp";
        let word = self.single("kind")?.ok_or_else(|| self.wrong("kind", "missing", accepted))?;
        let kind =
            SinkKind::from_word(&word).ok_or_else(|| self.wrong("kind", &format!("{word:?}"), accepted))?;
        self.check_keys(kind)?;
        let address = self.address(kind)?;
        let secret_file = self.single("secret_file")?.map(PathBuf::from);
        let secrets = self.secrets(kind, secret_file.as_deref())?;
        let headers = self.headers()?;
        let allow_internal = match self.single("allow_internal")? {
            None => false,
            Some(text) => accept_switch(&text)
                .ok_or_else(|| self.wrong("allow_internal", &format!("{text:?}"), "true or false"))?,
        };
        Ok(SinkSettings {
            environment: self.single("environment")?,
            events: self.keys.remove("events").unwrap_or_default(),
            states: self.keys.remove("states").unwrap_or_default(),
            name: self.name,
            kind,
            address,
            secrets,
            allow_internal,
            headers,
            secret_file,
        })
    }

    fn check_keys(&self, kind: SinkKind) -> Result<(), String> {
        let known = || ["kind", kind.address_key()].into_iter().chain(kind.keys().iter().copied());
        for key in self.keys.keys() {
            let first = key.split('.').next().unwrap_or_default();
            let is_nested = key.contains('.');
            if !known().any(|known| known == first && is_nested == (known == "headers")) {
                let full = |key: &str| format!("{TABLE}.{}.{key}", self.name);
                let word = kind.word().to_lowercase();
                let hint = nearest(&full(key), known().map(full));
                return Err(format!("`{}` is not a setting of a sink of the kind {word}{hint}", full(key)));
            }
        }
        Ok(())
    }

    fn wrong(&self, key: &str, given: &str, accepted: &str) -> String {
        format!("`{TABLE}.{}.{key}` cannot be {given}: {accepted}", self.name)
    }

    fn single(&mut self, key: &str) -> Result<Option<String>, String> {
        match self.keys.remove(key) {
            None => Ok(None),
            Some(mut values) if values.len() == 1 => Ok(values.pop()),
            Some(values) => Err(self.wrong(key, &format!("{} values", values.len()), "one value")),
        }
    }

    fn address(&mut self, kind: SinkKind) -> Result<Secret, String> {
        let key = kind.address_key();
        let accepted = match kind {
            SinkKind::Webhook => "an address such as https://hooks.example.org/beadle",
            SinkKind::Sentry => "an address such as https://KEY@sentry.example.org/42",
            SinkKind::Otlp => "an address such as https://collector.example.org:4318",
        };
        let text = self.single(key)?.ok_or_else(|| self.wrong(key, "missing", accepted))?;
        let is_good = Url::parse(&text).is_ok_and(|url| {
            let has_user = !url.username().is_empty();
            let path_end = url.path().rsplit('/').next().unwrap_or_default();
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.fragment().is_none()
                && (kind != SinkKind::Sentry || (has_user && !path_end.is_empty()))
        });
        // It may hold a secret, so it is not repeated.
        if is_good { Ok(Secret(text)) } else { Err(self.wrong(key, "what was given", accepted)) }
    }

    fn secrets(&mut self, kind: SinkKind, file: Option<&Path>) -> Result<Vec<Secret>, String> {
        let mut texts = self.keys.remove("secrets").unwrap_or_default();
        if let Some(path) = file {
            let place = format!("{TABLE}.{}.secret_file", self.name);
            if !texts.is_empty() {
                return Err(format!("`{place}` cannot be given beside `secrets`: choose one"));
            }
            let text = fs::read_to_string(path)
                .map_err(|error| format!("`{place}`: {} cannot be read: {error}", path.display()))?;
            texts = text.split_whitespace().map(str::to_owned).collect();
        }
        if kind != SinkKind::Webhook {
            return Ok(Vec::new());
        }
        let accepted = "whsec_ and 24 to 64 random bytes in base64; several may stand beside each other while \
                        they change";
        if texts.is_empty() {
            return Err(self.wrong("secrets", "empty", accepted));
        }
        if texts.iter().any(|text| secret_bytes(text).is_none()) {
            return Err(self.wrong("secrets", "what was given", accepted));
        }
        Ok(texts.into_iter().map(Secret).collect())
    }

    fn headers(&mut self) -> Result<Vec<(String, Secret)>, String> {
        let mut headers = Vec::new();
        for (key, values) in std::mem::take(&mut self.keys) {
            let Some(name) = key.strip_prefix("headers.") else {
                self.keys.insert(key, values);
                continue;
            };
            let is_token = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            let value = values.last().cloned().unwrap_or_default();
            let is_value = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
            if name.is_empty() || !name.chars().all(is_token) || !value.bytes().all(is_value) {
                return Err(self.wrong(
                    &key,
                    "what was given",
                    "a header's name with a value of plain ASCII",
                ));
            }
            headers.push((name.to_owned(), Secret(value)));
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests;
