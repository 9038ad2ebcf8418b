//! Owns definition files: tasks, queues and schedules as a person writes them, checked before anything is sent.
//! It never talks to the daemon.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::outcome::{Stop, exit};

mod diff;
mod keys;
mod tree;
mod value;

#[cfg(test)]
mod tests;

pub use diff::{Action, Change, Present, changes};
pub use keys::Noun;
pub use value::{Values, input};

use value::HANDLER;

use tree::{Data, Entry, Language, Slip};

/// Bytes of one file.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The files of a folder that are read, by how their names end.
const ENDINGS: [(&str, Language); 3] =
    [("toml", Language::Toml), ("yaml", Language::Yaml), ("yml", Language::Yaml)];
/// The shell of a script that names none.
const SHELL: &str = "/bin/sh";

/// What one thing shall be.
#[derive(Debug, Clone)]
pub struct Definition {
    /// By the keys of the file, in normal form.
    pub values: Values,
    /// `FILE:LINE`.
    pub place: String,
}

/// Everything that was defined, in the order in which it is applied.
pub type Site = BTreeMap<(Noun, String), Definition>;

/// Reads files, folders (their `*.toml`, `*.yaml` and `*.yml` by name), or `-` for TOML from stdin.
pub fn load(paths: &[PathBuf]) -> Result<Site, Stop> {
    let mut site = Site::new();
    for path in paths {
        for (file, language) in files(path)? {
            let text = read(&file)?;
            add(&mut site, &file.display().to_string(), &text, language)
                .map_err(|message| Stop::new(exit::USAGE, message))?;
        }
    }
    Ok(site)
}

/// The same from a text of TOML that is already there.
pub fn of_text(name: &str, text: &str) -> Result<Site, Stop> {
    let mut site = Site::new();
    add(&mut site, name, text, Language::Toml).map_err(|message| Stop::new(exit::USAGE, message))?;
    Ok(site)
}

fn files(path: &Path) -> Result<Vec<(PathBuf, Language)>, Stop> {
    if path == Path::new("-") {
        return Ok(vec![(path.to_owned(), Language::Toml)]);
    }
    let trouble =
        |error: io::Error| Stop::new(exit::USAGE, format!("cannot read {}: {error}", path.display()));
    if !fs::metadata(path).map_err(trouble)?.is_dir() {
        let unknown = || format!("{}: a definition file is called *.toml, *.yaml or *.yml", path.display());
        let language = language(path).ok_or_else(|| Stop::new(exit::USAGE, unknown()))?;
        return Ok(vec![(path.to_owned(), language)]);
    }
    let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut found: Vec<_> = entries
        .map_err(trouble)?
        .into_iter()
        .map(|entry| entry.path())
        .filter_map(|path| language(&path).map(|language| (path, language)))
        .collect();
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    if found.is_empty() {
        let message = format!("{} holds no *.toml, *.yaml or *.yml", path.display());
        return Err(Stop::new(exit::USAGE, message));
    }
    Ok(found)
}

fn language(path: &Path) -> Option<Language> {
    let ending = path.extension()?.to_str()?;
    ENDINGS.iter().find(|(known, _)| *known == ending).map(|(_, language)| *language)
}

/// A text file, or stdin for `-`.
pub fn read(path: &Path) -> Result<String, Stop> {
    let mut text = String::new();
    let limit = FILE_BYTES_MAX + 1;
    let read = if path == Path::new("-") {
        io::stdin().take(limit).read_to_string(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text))
    };
    let trouble = |what: String| Stop::new(exit::USAGE, format!("cannot read {}: {what}", path.display()));
    let bytes = read.map_err(|error| trouble(error.to_string()))?;
    if bytes as u64 > FILE_BYTES_MAX {
        return Err(trouble(format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// Adds what one file defines.
fn add(site: &mut Site, file: &str, text: &str, language: Language) -> Result<(), String> {
    let at = |slip: Slip| format!("{file}:{}: {}", slip.line, slip.message);
    let whole = tree::parse(text, language).map_err(at)?;
    let Data::Table(sections) = whole.data else {
        return Err(format!(
            "{file}: the file is {}, not a table of queues, tasks and schedules",
            whole.kind()
        ));
    };
    for section in sections {
        let Some(noun) = Noun::ALL.into_iter().find(|noun| noun.section() == section.key) else {
            let best = keys::nearest(&section.key, Noun::ALL.into_iter().map(Noun::section));
            return Err(at(Slip::new(
                section.line,
                format!("`{}` is nothing that can be defined{best}", section.key),
            )));
        };
        let Data::Table(entries) = section.value.data else {
            let message = format!(
                "`{}` is {}: write a table for each {}",
                section.key,
                section.value.kind(),
                noun.word()
            );
            return Err(at(Slip::new(section.value.line, message)));
        };
        for entry in entries {
            let definition = definition(noun, &entry, file).map_err(at)?;
            let (name, place) = (entry.key, definition.place.clone());
            if let Some(earlier) = site.insert((noun, name.clone()), definition) {
                return Err(format!(
                    "{place}: {} {name} is defined before, at {}",
                    noun.word(),
                    earlier.place
                ));
            }
        }
    }
    Ok(())
}

fn definition(noun: Noun, entry: &Entry, file: &str) -> Result<Definition, Slip> {
    let place = format!("{} {}", noun.word(), entry.key);
    let Data::Table(entries) = &entry.value.data else {
        return Err(Slip::new(entry.value.line, format!("{place} is {}: write a table", entry.value.kind())));
    };
    let mut values = value::of_file(entries, noun.keys(), &place, entry.line)?;
    match noun {
        Noun::Queue => Ok(()),
        Noun::Task => whole_task(&mut values),
        Noun::Schedule => whole_schedule(&values),
    }
    .map_err(|message| Slip::new(entry.line, format!("{place} {message}")))?;
    Ok(Definition { values, place: format!("{file}:{}", entry.line) })
}

/// The keys that say what runs: one of them does.
const RUNS: [&str; 3] = ["command", "script", HANDLER];
/// The keys that a handler cannot have: it runs in the daemon's own process.
const OF_PROCESSES: [&str; 4] =
    ["working_directory", "environment", "environment_from", "inherit_environment"];
/// The keys that say when a schedule is due: one of them does.
const DUE: [&str; 2] = ["every", "cron"];

fn whole_task(values: &mut Values) -> Result<(), String> {
    one_of(values, &RUNS, "what it runs")?;
    match (values["script"].is_null(), values["shell"].is_null()) {
        (true, false) => return Err("has a `shell` but no `script` for it".to_owned()),
        (false, true) => {
            values.insert("shell", json!(SHELL));
        }
        _ => {}
    }
    let is_said = |key: &&&str| {
        let value = &values[**key];
        !value.is_null() && *value != json!([]) && *value != json!({})
    };
    if !values[HANDLER].is_null()
        && let Some(key) = OF_PROCESSES.iter().find(is_said)
    {
        return Err(format!("has a `handler`, which takes no `{key}`"));
    }
    let plain = values["environment"].as_object().cloned().unwrap_or_default();
    let both = values["environment_from"].as_array().into_iter().flatten();
    match both.filter_map(Value::as_str).find(|name| plain.contains_key(*name)) {
        Some(name) => Err(format!("sets {name} in `environment` and takes it in `environment_from`")),
        None => Ok(()),
    }
}

fn whole_schedule(values: &Values) -> Result<(), String> {
    one_of(values, &DUE, "when it is due")
}

fn one_of(values: &Values, keys: &[&str], what: &str) -> Result<(), String> {
    let said: Vec<_> = keys.iter().filter(|key| !values[*key].is_null()).collect();
    let known = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" or ");
    match said.len() {
        0 => Err(format!("does not say {what}: give {known}")),
        1 => Ok(()),
        _ => Err(format!("says {what} more than once: give {known}")),
    }
}

impl Definition {
    /// The names of variables whose values come from who applies.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.values
            .get("environment_from")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    }

    /// The kind of its command, as the input of the API calls it.
    pub fn command_kind(&self) -> &'static str {
        let is_said = |key: &str| self.values.get(key).is_some_and(|value| !value.is_null());
        match (is_said("script"), is_said(HANDLER)) {
            (true, _) => "script",
            (_, true) => HANDLER,
            _ => "exec",
        }
    }
}
