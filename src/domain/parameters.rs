//! Owns what a task is told for one job: how parameters are completed, where they go in a command, and how the
//! command finds them in its environment. Pure; whether they fit the task's schema is asked in the engine.
//! A value is never put into a shell line: it replaces a whole argument, or it is a variable.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::command::Command;
use super::limits::{COMMAND_BYTES_MAX, PARAMETERS_BYTES_MAX};
use super::parameters_schema::listed;
use super::rejection::{Rejection, UserErrorCode};
use super::scalars::Json;

/// The variable that holds all parameters as one JSON object.
const ALL: &str = "BEADLE_PARAMETERS";
/// What the variable of one parameter begins with.
const ONE: &str = "BEADLE_PARAM_";

/// The parameters with the defaults of the schema's own properties, as an object within bounds.
pub fn complete(schema: Option<&Json>, given: Option<Json>) -> Result<Map<String, Value>, Rejection> {
    let mut parameters = match given {
        None => Map::new(),
        Some(Json(Value::Object(given))) => given,
        Some(_) => return Err(Rejection::invalid("parameters", "must be a JSON object")),
    };
    for (name, property) in schema.and_then(listed).into_iter().flatten() {
        if let Some(default) = property.get("default")
            && !parameters.contains_key(name)
        {
            parameters.insert(name.clone(), default.clone());
        }
    }
    check(&parameters)?;
    Ok(parameters)
}

fn check(parameters: &Map<String, Value>) -> Result<(), Rejection> {
    let bytes = serde_json::to_string(parameters).map_or(usize::MAX, |text| text.len());
    if bytes > PARAMETERS_BYTES_MAX {
        let message = format!("must be at most {PARAMETERS_BYTES_MAX} bytes of JSON, have {bytes}");
        return Err(Rejection::invalid("parameters", message));
    }
    let mut variables = HashMap::new();
    for (name, value) in parameters {
        if name.contains('\0') || has_nul(value) {
            let name = name.replace('\0', "");
            return Err(refused(&[&name], "must not contain the character U+0000"));
        }
        if let Some(other) = variables.insert(variable(name), name) {
            let message = format!("{name} and {other} would be one variable, {}", variable(name));
            return Err(refused(&[name], message));
        }
    }
    Ok(())
}

/// A refusal of what stands below `parameters`; a name may hold any character, also the dot of other paths.
pub fn refused(steps: &[&str], message: impl Into<String>) -> Rejection {
    let path = std::iter::once("parameters").chain(steps.iter().copied()).map(str::to_owned).collect();
    Rejection { code: UserErrorCode::Invalid, message: message.into(), path: Some(path) }
}

/// Whether U+0000 stands anywhere in it.
pub fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(object) => object.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The name in `{{name}}`, when an argument is nothing but that.
pub fn placeholder(argument: &str) -> Option<&str> {
    let name = argument.strip_prefix("{{")?.strip_suffix("}}")?;
    let is_good = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    is_good.then_some(name)
}

/// The command with each placeholder replaced by its parameter. What is null leaves its argument out; what is
/// missing is refused, because the arguments around it would mean something else.
pub fn fill(command: &Command, parameters: &Map<String, Value>) -> Result<Command, Rejection> {
    let mut argv = Vec::with_capacity(command.argv.len());
    let mut bytes = 0;
    for (index, argument) in command.argv.iter().enumerate() {
        let filled = match placeholder(argument).filter(|_| command.script.is_none()) {
            None => Some(argument.clone()),
            Some(name) => plain(parameters.get(name).ok_or_else(|| needed(name, index))?),
        };
        bytes += filled.as_ref().map_or(0, String::len);
        if bytes > COMMAND_BYTES_MAX {
            let message = format!("make the command longer than {COMMAND_BYTES_MAX} bytes");
            return Err(Rejection::invalid("parameters", message));
        }
        argv.extend(filled);
    }
    Ok(Command { argv, ..command.clone() })
}

fn needed(name: &str, index: usize) -> Rejection {
    refused(&[name], format!("is needed by argument {index} of the command; null leaves that out"))
}

/// The variables of a job with these parameters. One that is null has none.
pub fn variables(parameters: &Json) -> Vec<(String, String)> {
    let mut variables = vec![(ALL.to_owned(), parameters.0.to_string())];
    let each = parameters.0.as_object().into_iter().flatten();
    variables.extend(each.filter_map(|(name, value)| Some((variable(name), plain(value)?))));
    variables
}

/// The variable of a parameter.
pub fn variable(name: &str) -> String {
    let sign = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    ONE.chars().chain(name.chars().map(sign)).collect()
}

/// A value as a command takes it: a text as it is, anything else as JSON.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        value => Some(value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn command(argv: &[&str]) -> Command {
        Command { argv: argv.iter().map(|&word| word.to_owned()).collect(), ..Command::none() }
    }

    #[test]
    fn a_placeholder_is_a_whole_argument() {
        for (argument, name) in [
            ("{{size}}", Some("size")),
            ("{{_a-B9}}", Some("_a-B9")),
            ("--size={{size}}", None),
            ("{{size}} ", None),
            ("{{ size }}", None),
            ("{{9a}}", None),
            ("{{a.b}}", None),
            ("{{}}", None),
            ("{{", None),
            ("{{größe}}", None),
        ] {
            assert_eq!(placeholder(argument), name, "{argument}");
        }
    }

    #[test]
    fn a_value_replaces_its_argument_and_nothing_else() {
        let parameters = object(&json!({
            "text": "a b; $(rm) {{list}}", "number": 1.5, "flag": true, "list": [1, {"a": null}], "none": null
        }));
        let argv = ["cp", "{{text}}", "x{{text}}", "{{number}}", "{{flag}}", "{{none}}", "{{list}}"];
        let filled = fill(&command(&argv), &parameters).unwrap();
        assert_eq!(
            filled.argv,
            ["cp", "a b; $(rm) {{list}}", "x{{text}}", "1.5", "true", r#"[1,{"a":null}]"#]
        );
        let refusal = fill(&command(&["cp", "{{other}}"]), &parameters).unwrap_err();
        assert_eq!(refusal.path.unwrap(), ["parameters", "other"]);
        let script = Command { script: Some("{{text}}".to_owned()), ..command(&["sh", "-c", "{{text}}"]) };
        assert_eq!(fill(&script, &parameters).unwrap(), script);
    }

    #[test]
    fn a_command_does_not_grow_beyond_its_bound() {
        let long = object(&json!({ "a": "x".repeat(COMMAND_BYTES_MAX / 4 + 1) }));
        assert!(fill(&command(&["cp", "{{a}}", "{{a}}", "{{a}}"]), &long).is_ok());
        assert!(fill(&command(&["cp", "{{a}}", "{{a}}", "{{a}}", "{{a}}"]), &long).is_err());
    }

    #[test]
    fn parameters_become_variables() {
        let parameters = Json(json!({"size": 3, "dry-run": true, "name": "x y", "none": null, "ü": [1]}));
        let expected = [
            (ALL, parameters.0.to_string()),
            ("BEADLE_PARAM_DRY_RUN", "true".to_owned()),
            ("BEADLE_PARAM_NAME", "x y".to_owned()),
            ("BEADLE_PARAM_SIZE", "3".to_owned()),
            ("BEADLE_PARAM__", "[1]".to_owned()),
        ];
        assert_eq!(variables(&parameters), expected.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn defaults_fill_what_was_not_said() {
        let schema =
            Json(json!({"properties": {"a": {"default": 1}, "b": {"default": null}, "c": {}, "d": true}}));
        let complete = |given: Value| complete(Some(&schema), Some(Json(given))).unwrap();
        assert_eq!(complete(json!({})), object(&json!({"a": 1, "b": null})));
        assert_eq!(complete(json!({"a": null, "x": 2})), object(&json!({"a": null, "b": null, "x": 2})));
    }

    #[test]
    fn what_cannot_be_told_to_a_command_is_refused_by_name() {
        let long = "x".repeat(PARAMETERS_BYTES_MAX);
        for (given, path) in [
            (json!([1]), vec!["parameters"]),
            (json!(null), vec!["parameters"]),
            (json!({ "a": long }), vec!["parameters"]),
            (json!({"a.b": {"c": ["\0"]}}), vec!["parameters", "a.b"]),
            (json!({"a": {"\0": 1}}), vec!["parameters", "a"]),
            (json!({"a-b": 1, "a_b": 2}), vec!["parameters", "a_b"]),
        ] {
            let refusal = complete(None, Some(Json(given))).unwrap_err();
            assert_eq!(refusal.path.unwrap(), path, "{}", refusal.message);
        }
    }
}
