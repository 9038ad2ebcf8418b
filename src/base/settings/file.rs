//! Owns how a settings file is read into a layer. It must never show a line of the file, in which a secret may stand.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::sinks::{self, Given};
use super::{Entry, KEYS, Presence, Shape, position, unknown_key};

/// The longest settings file that is read, in bytes.
pub(super) const FILE_BYTES_MAX: u64 = 1024 * 1024;

pub(super) fn read_file(path: &Path, presence: Presence, sinks: &mut Given) -> Result<Vec<Entry>, String> {
    let trouble = |what: &dyn fmt::Display| format!("cannot read the settings in {}: {what}", path.display());
    match fs::metadata(path) {
        Ok(about) if about.len() > FILE_BYTES_MAX => {
            return Err(trouble(&format!("it is longer than {FILE_BYTES_MAX} bytes")));
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound && presence == Presence::Optional => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(trouble(&error)),
    }
    let text = fs::read_to_string(path).map_err(|error| trouble(&error))?;
    let mut table: toml::Table =
        text.parse().map_err(|error: toml::de::Error| trouble(&misread(&text, &error)))?;
    let placed = |reason: String| format!("{}: {reason}", path.display());
    if let Some(given) = table.remove(sinks::TABLE) {
        *sinks = Given::from_table(&given).map_err(placed)?;
    }
    let mut entries = Vec::new();
    flatten("", &table, &mut entries).map_err(placed)?;
    Ok(entries)
}

/// What is wrong in the text of a file and in which line of it; never the line, in which a secret may stand.
fn misread(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map(|before| format!("line {}: ", before.matches('\n').count() + 1));
    format!("{}{}", line.unwrap_or_default(), error.message())
}

/// Tables are prefixes: `[retention] failed = "30d"` is `retention.failed`.
fn flatten(prefix: &str, table: &toml::Table, entries: &mut Vec<Entry>) -> Result<(), String> {
    for (name, value) in table {
        let key = format!("{prefix}{name}");
        if let toml::Value::Table(inner) = value
            && position(&key).is_none()
        {
            let below = format!("{key}.");
            if !KEYS.iter().any(|known| known.name.starts_with(&below)) {
                return Err(unknown_key(&key));
            }
            flatten(&below, inner, entries)?;
            continue;
        }
        let Some(place) = position(&key) else {
            return Err(unknown_key(&key));
        };
        let values = match (value, KEYS[place].shape) {
            (toml::Value::Array(items), Shape::List) => {
                items.iter().map(|item| plain(&key, item)).collect::<Result<_, _>>()?
            }
            (toml::Value::Table(pairs), Shape::List) => pairs
                .iter()
                .map(|(name, item)| Ok(format!("{name}={}", plain(&key, item)?)))
                .collect::<Result<_, String>>()?,
            (single, _) => vec![plain(&key, single)?],
        };
        entries.push(Entry { key, values });
    }
    Ok(())
}

fn plain(key: &str, value: &toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Boolean(switch) => Ok(switch.to_string()),
        other => {
            let accepted = KEYS[position(key).expect("known when it is called")].accepts;
            Err(format!("`{key}` cannot be {other}: {accepted}"))
        }
    }
}
