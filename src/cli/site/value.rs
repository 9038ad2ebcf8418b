//! Owns the values of a definition: read from the file or from the daemon into one normal form, compared, shown, and
//! turned back into the API's. Two ways to write the same thing have the same normal form.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::domain::duration::Span;

use super::super::output::length;
use super::keys::{Default, Key, nearest};
use super::tree::{Data, Entry, Node, Slip};

/// Characters of a value that are shown.
const SHOWN_CHARS_MAX: usize = 80;

/// The kind of command that is a function of the daemon's program, and only has a name.
pub const HANDLER: &str = "handler";

/// What a key holds.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Text,
    /// A length of time, as ISO 8601.
    Length,
    Whole,
    Number,
    Switch,
    /// One of these, written small in the file.
    Word(&'static [&'static str]),
    /// Some of these, in no order.
    Words(&'static [&'static str]),
    /// Texts in their order.
    Texts,
    /// Texts in no order.
    Names,
    /// Whole numbers in no order.
    Wholes,
    /// Variables with their values.
    Map,
    /// Labels with their values.
    Labels,
    /// Variables whose values come from the environment of who applies, and are never shown.
    Secrets,
    /// Any value.
    Json,
    /// Keys of their own.
    Table(&'static [Key]),
}

/// The values of one definition by the keys of the file; what is not there is not decided.
pub type Values = BTreeMap<&'static str, Value>;

/// Reads what a file says under `keys`, and fills in what holds else.
pub fn of_file(entries: &[Entry], keys: &'static [Key], place: &str, line: usize) -> Result<Values, Slip> {
    for entry in entries {
        if !keys.iter().any(|key| key.name == entry.key) {
            let best = nearest(&entry.key, keys.iter().map(|key| key.name));
            return Err(Slip::new(entry.line, format!("`{}` is no key of {place}{best}", entry.key)));
        }
    }
    let mut values = Values::new();
    for key in keys {
        // YAML writes nothing easily; it means the same as leaving the key out.
        let said = entries.iter().find(|entry| entry.key == key.name && entry.value.data != Data::Nothing);
        let value = match (said, key.default) {
            (Some(entry), _) => read(&entry.value, key.kind, &format!("{place}.{}", key.name))?,
            (None, Default::Is(text)) => default(key, text),
            (None, Default::Stays) => continue,
            (None, Default::Needed) => {
                return Err(Slip::new(line, format!("{place} does not say its `{}`", key.name)));
            }
        };
        values.insert(key.name, value);
    }
    Ok(values)
}

/// What the daemon says under `keys`.
pub fn of_answer(answer: &Value, keys: &'static [Key]) -> Values {
    keys.iter().map(|key| (key.name, normal(pick(answer, key.answer), key.kind))).collect()
}

fn pick<'a>(answer: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(answer, |value, step| &value[step])
}

fn default(key: &Key, text: &str) -> Value {
    let value: Value = serde_json::from_str(text).expect("the tables hold JSON");
    match (key.kind, &value) {
        (Kind::Table(keys), Value::Object(_)) => {
            json!(of_file(&[], keys, "", 0).expect("tables with a default need nothing"))
        }
        (Kind::Map | Kind::Labels, _) => value,
        _ => normal(&value, key.kind),
    }
}

/// A value of the daemon, or of the tables, in its normal form.
fn normal(value: &Value, kind: Kind) -> Value {
    match (kind, value) {
        (Kind::Length, Value::String(text)) => {
            Span::parse(text).map_or(Value::Null, |span| json!(span.to_string()))
        }
        (Kind::Number, number) => number.as_f64().map_or(Value::Null, |number| json!(number)),
        (Kind::Words(_) | Kind::Names | Kind::Wholes, Value::Array(items)) => sorted(items.clone()),
        (Kind::Map, list) => {
            let pairs = variables(list, false).map(|(name, value)| (name, value.clone()));
            Value::Object(pairs.collect())
        }
        (Kind::Labels, list) => {
            let labels = list.as_array().map(Vec::as_slice).unwrap_or_default().iter();
            let key = |label: &Value| label["key"].as_str().unwrap_or_default().to_owned();
            Value::Object(labels.map(|label| (key(label), label["value"].clone())).collect())
        }
        (Kind::Secrets, list) => sorted(variables(list, true).map(|(name, _)| json!(name)).collect()),
        (Kind::Table(keys), Value::Object(_)) => json!(of_answer(value, keys)),
        _ => value.clone(),
    }
}

/// The variables of an answer that are secret, or are not.
fn variables(list: &Value, is_secret: bool) -> impl Iterator<Item = (String, &Value)> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .filter(move |variable| variable["isSecret"] == json!(is_secret))
        .map(|variable| (variable["name"].as_str().unwrap_or_default().to_owned(), &variable["value"]))
}

fn sorted(mut items: Vec<Value>) -> Value {
    items.sort_by_key(|item| (item.as_i64(), item.as_str().map(str::to_owned)));
    items.dedup();
    Value::Array(items)
}

/// A value of the file in its normal form.
fn read(node: &Node, kind: Kind, place: &str) -> Result<Value, Slip> {
    let wrong =
        |accepted: &str| Slip::new(node.line, format!("{place} is {}: write {accepted}", node.kind()));
    let texts = || match &node.data {
        Data::List(items) => items
            .iter()
            .map(|item| {
                text(item).ok_or_else(|| {
                    Slip::new(item.line, format!("{place} holds {}: write texts", item.kind()))
                })
            })
            .collect::<Result<Vec<_>, _>>(),
        _ => Err(wrong("a list of texts")),
    };
    match (kind, &node.data) {
        (Kind::Text, _) => text(node).map(|text| json!(text)).ok_or_else(|| wrong("a text")),
        (Kind::Length, Data::Text(text)) => match Span::parse(text) {
            Ok(span) => Ok(json!(span.to_string())),
            Err(message) => Err(Slip::new(node.line, format!("{place}: {message}"))),
        },
        (Kind::Length, _) => Err(wrong("a length of time such as \"90s\" or \"1m30s\"")),
        (Kind::Whole, Data::Whole(number)) => Ok(json!(number)),
        (Kind::Whole, _) => Err(wrong("a whole number")),
        #[expect(clippy::cast_precision_loss, reason = "what is written as a whole number here is small")]
        (Kind::Number, Data::Whole(number)) => Ok(json!(*number as f64)),
        (Kind::Number, Data::Number(number)) if number.is_finite() => Ok(json!(number)),
        (Kind::Number, _) => Err(wrong("a number")),
        (Kind::Switch, Data::Switch(switch)) => Ok(json!(switch)),
        (Kind::Switch, _) => Err(wrong("true or false")),
        (Kind::Word(known), Data::Text(text)) => word(text, known, node.line, place),
        (Kind::Word(known), _) => Err(wrong(&small(known))),
        (Kind::Words(known), Data::List(items)) => {
            let words =
                items.iter().map(|item| word(&text(item).unwrap_or_default(), known, item.line, place));
            Ok(sorted(words.collect::<Result<_, _>>()?))
        }
        (Kind::Words(known), _) => Err(wrong(&format!("a list of {}", small(known)))),
        (Kind::Texts, _) => texts().map(|texts| json!(texts)),
        (Kind::Names | Kind::Secrets, _) => Ok(sorted(texts()?.into_iter().map(Value::String).collect())),
        (Kind::Wholes, Data::List(items)) if items.iter().all(|item| matches!(item.data, Data::Whole(_))) => {
            Ok(sorted(items.iter().map(Node::json).collect::<Result<_, _>>()?))
        }
        (Kind::Wholes, _) => Err(wrong("a list of whole numbers")),
        (Kind::Map | Kind::Labels, Data::Table(entries)) => entries
            .iter()
            .map(|entry| match text(&entry.value) {
                Some(text) => Ok((entry.key.clone(), json!(text))),
                None => Err(Slip::new(
                    entry.line,
                    format!("{place}.{} is {}: write a text", entry.key, entry.value.kind()),
                )),
            })
            .collect::<Result<Map<_, _>, _>>()
            .map(Value::Object),
        (Kind::Map | Kind::Labels, _) => Err(wrong("a table of texts")),
        (Kind::Json, _) => node.json(),
        (Kind::Table(keys), Data::Table(entries)) => Ok(json!(of_file(entries, keys, place, node.line)?)),
        (Kind::Table(_), _) => Err(wrong("a table")),
    }
}

/// Numbers and switches are taken for the texts as which they are written: `UMASK: 022` means what it says.
fn text(node: &Node) -> Option<String> {
    match &node.data {
        Data::Text(text) => Some(text.clone()),
        Data::Whole(_) | Data::Switch(_) => Some(node.written.clone()),
        _ => None,
    }
}

fn word(text: &str, known: &'static [&'static str], line: usize, place: &str) -> Result<Value, Slip> {
    let name = text.to_ascii_uppercase().replace('-', "_");
    if known.contains(&name.as_str()) {
        return Ok(json!(name));
    }
    Err(Slip::new(line, format!("{place} is {text:?}: write {}", small(known))))
}

fn small(known: &[&str]) -> String {
    known.iter().map(|word| word.to_lowercase()).collect::<Vec<_>>().join(", ")
}

/// The part of an input that `keys` decide. Of a command only what is there is sent, of all else also that there is
/// none, because what is left out of an input need not mean nothing.
pub fn input(values: &Values, keys: &'static [Key], command: &str, secret: &dyn Fn(&str) -> String) -> Value {
    let mut whole = json!({});
    for key in keys {
        let Some(value) = values.get(key.name) else { continue };
        let is_of_commands = key.input.contains('*') && command == HANDLER;
        if is_of_commands || (value.is_null() && key.input.contains('.')) {
            continue;
        }
        let sent = sent(value, key.kind, secret);
        let place = place(&mut whole, &key.input.replace('*', command));
        match (place, sent) {
            (Value::Array(there), Value::Array(more)) => there.extend(more),
            (place, sent) => *place = sent,
        }
    }
    whole
}

fn place<'a>(whole: &'a mut Value, path: &str) -> &'a mut Value {
    path.split('.').fold(whole, |value, step| &mut value[step])
}

fn sent(value: &Value, kind: Kind, secret: &dyn Fn(&str) -> String) -> Value {
    match (kind, value) {
        (Kind::Map, Value::Object(pairs)) => {
            pairs.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
        }
        (Kind::Labels, Value::Object(pairs)) => {
            pairs.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect()
        }
        (Kind::Secrets, Value::Array(names)) => names
            .iter()
            .filter_map(Value::as_str)
            .map(|name| json!({ "name": name, "value": secret(name), "isSecret": true }))
            .collect(),
        (Kind::Table(keys), Value::Object(fields)) => {
            let fields =
                |key: &Key| Some((key.input.to_owned(), sent(fields.get(key.name)?, key.kind, secret)));
            Value::Object(keys.iter().filter_map(fields).collect())
        }
        _ => value.clone(),
    }
}

/// A value as a person would write it in the file, cut when it is long.
pub fn show(value: &Value, kind: Kind) -> String {
    let text = match (kind, value) {
        (_, Value::Null) => "none".to_owned(),
        (Kind::Length, Value::String(iso)) => length(iso),
        (Kind::Word(_), Value::String(word)) => word.to_lowercase(),
        (Kind::Words(_), value) => value.to_string().to_lowercase(),
        (Kind::Table(keys), Value::Object(fields)) => {
            let field = |key: &Key| {
                let value = fields.get(key.name).filter(|value| !value.is_null())?;
                let shown = show(value, key.kind);
                let is_length = matches!(key.kind, Kind::Length);
                Some(if is_length {
                    format!("{} = \"{shown}\"", key.name)
                } else {
                    format!("{} = {shown}", key.name)
                })
            };
            format!("{{ {} }}", keys.iter().filter_map(field).collect::<Vec<_>>().join(", "))
        }
        (_, value) => value.to_string(),
    };
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
