//! Owns the comparison of what is defined with what stands in the daemon, and how it is shown.
//! Pure: it never reads a file and never asks.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::keys::{Key, Noun};
use super::value::{self, Kind, Values};
use super::{Definition, Site};

/// What stands in the daemon.
#[derive(Debug, Clone)]
pub struct Present {
    /// By the keys of the file, in normal form.
    pub values: Values,
    /// Of a task.
    pub revision: i64,
    /// An archived task stands there, but makes no jobs.
    pub is_archived: bool,
}

impl Present {
    /// From an answer of the API.
    pub fn of_answer(noun: Noun, answer: &Value) -> Present {
        let mut values = value::of_answer(answer, noun.keys());
        if noun == Noun::Task {
            // Of a script the words are only how its shell is called; without words and script it is neither.
            if !values["script"].is_null() || values["command"] == json!([]) {
                values.insert("command", Value::Null);
            }
            if values["script"].is_null() {
                values.insert("shell", Value::Null);
            }
        }
        Present {
            values,
            revision: answer["revision"].as_i64().unwrap_or_default(),
            is_archived: !answer["archivedAt"].is_null(),
        }
    }
}

/// What is to be done with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Create,
    Change,
    Keep,
    Remove,
}

impl Action {
    /// In front of a line.
    pub fn sign(self) -> char {
        match self {
            Action::Create => '+',
            Action::Change => '~',
            Action::Keep => '=',
            Action::Remove => '-',
        }
    }

    fn word(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Change => "change",
            Action::Keep => "keep",
            Action::Remove => "remove",
        }
    }
}

/// One thing with what is to be done.
#[derive(Debug, Clone)]
pub struct Change {
    pub action: Action,
    pub noun: Noun,
    pub name: String,
    /// What differs, when it is to be changed.
    pub fields: Vec<Field>,
    /// What it shall be; none when it is to be removed.
    pub definition: Option<Definition>,
    /// The revision that a task stands at; 0 when there is none.
    pub revision: i64,
}

/// One key that differs.
#[derive(Debug, Clone)]
pub struct Field {
    key: String,
    kind: Kind,
    from: Value,
    to: Value,
}

/// What makes `present` be as `site` says, in the order in which it is to be done. With `prune` also what is to go:
/// schedules and tasks that the site does not name, neither as its own nor in a schedule, and never a queue.
pub fn changes(site: Site, present: &BTreeMap<(Noun, String), Present>, prune: bool) -> Vec<Change> {
    let scheduled: BTreeSet<_> = site
        .iter()
        .filter(|((noun, _), _)| *noun == Noun::Schedule)
        .filter_map(|(_, schedule)| Some(schedule.values.get("task")?.as_str()?.to_owned()))
        .collect();
    let is_named = |noun: Noun, name: &String| {
        site.contains_key(&(noun, name.clone())) || noun == Noun::Task && scheduled.contains(name)
    };
    let is_gone = |(noun, name): &(Noun, String), there: &Present| {
        prune && *noun != Noun::Queue && !there.is_archived && !is_named(*noun, name)
    };
    let gone = present.iter().rev().filter(|(id, there)| is_gone(id, there));
    let removals: Vec<_> = gone
        .map(|((noun, name), there)| Change {
            action: Action::Remove,
            noun: *noun,
            name: name.clone(),
            fields: Vec::new(),
            definition: None,
            revision: there.revision,
        })
        .collect();
    let puts = site.into_iter().map(|((noun, name), definition)| {
        let there = present.get(&(noun, name.clone()));
        let fields = match there {
            Some(there) if !there.is_archived => {
                differing(&definition.values, &there.values, noun.keys(), "")
            }
            _ => Vec::new(),
        };
        let action = match there {
            None => Action::Create,
            Some(there) if there.is_archived => Action::Create,
            Some(_) if fields.is_empty() => Action::Keep,
            Some(_) => Action::Change,
        };
        let revision = there.map_or(0, |there| there.revision);
        Change { action, noun, name, fields, definition: Some(definition), revision }
    });
    puts.chain(removals).collect()
}

fn differing(to: &Values, from: &Values, keys: &[Key], prefix: &str) -> Vec<Field> {
    let mut fields = Vec::new();
    for key in keys {
        let Some(to) = to.get(key.name) else { continue };
        let from = from.get(key.name).unwrap_or(&Value::Null);
        let name = format!("{prefix}{}", key.name);
        match (key.kind, from, to) {
            (Kind::Table(inner), Value::Object(_), Value::Object(_)) => {
                fields.extend(differing(&keyed(to, inner), &keyed(from, inner), inner, &format!("{name}.")));
            }
            (Kind::Map | Kind::Labels, Value::Object(old), Value::Object(new)) => {
                let names: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
                let pick = |map: &serde_json::Map<String, Value>, name: &str| {
                    map.get(name).cloned().unwrap_or_default()
                };
                let pairs = names.into_iter().map(|one| (one, pick(old, one), pick(new, one)));
                fields.extend(pairs.filter(|(_, from, to)| from != to).map(|(one, from, to)| Field {
                    key: format!("{name}.{one}"),
                    kind: Kind::Text,
                    from,
                    to,
                }));
            }
            _ if from == to => {}
            (kind, from, to) => fields.push(Field { key: name, kind, from: from.clone(), to: to.clone() }),
        }
    }
    fields
}

fn keyed(value: &Value, keys: &'static [Key]) -> Values {
    keys.iter().map(|key| (key.name, value[key.name].clone())).collect()
}

impl Change {
    /// Whether something is to be done.
    pub fn is_needed(&self) -> bool {
        self.action != Action::Keep
    }

    /// Its lines for people: one a field, each complete.
    pub fn lines(&self) -> Vec<String> {
        let head = format!("{} {} {}", self.action.sign(), self.noun.word(), self.name);
        if self.fields.is_empty() {
            return vec![head];
        }
        self.fields.iter().flat_map(|field| field.lines(&head)).collect()
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        let fields: Vec<_> = self
            .fields
            .iter()
            .map(|field| json!({ "key": field.key, "from": field.from, "to": field.to }))
            .collect();
        json!({ "action": self.action.word(), "noun": self.noun.word(), "name": self.name, "fields": fields })
    }
}

impl Field {
    fn lines(&self, head: &str) -> Vec<String> {
        let texts = [&self.from, &self.to].map(|value| value.as_str().unwrap_or_default());
        if matches!(self.kind, Kind::Text) && texts.iter().any(|text| text.contains('\n')) {
            let mut lines = vec![format!("{head}: {}", self.key)];
            lines.extend(between(texts[0], texts[1]));
            return lines;
        }
        let [from, to] = [&self.from, &self.to].map(|value| value::show(value, self.kind));
        vec![format!("{head}: {} {from} -> {to}", self.key)]
    }
}

/// The lines of two texts that lie between what both begin and end with.
fn between(from: &str, to: &str) -> Vec<String> {
    let (old, new): (Vec<_>, Vec<_>) = (from.lines().collect(), to.lines().collect());
    let same = old.iter().zip(&new).take_while(|(one, other)| one == other).count();
    let rest = (old.len() - same).min(new.len() - same);
    let tail =
        old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(one, other)| one == other).count();
    let lines = |sign: char, lines: &[&str]| {
        lines[same..lines.len() - tail].iter().map(|line| format!("    {sign} {line}")).collect::<Vec<_>>()
    };
    [lines('-', &old), lines('+', &new)].concat()
}
