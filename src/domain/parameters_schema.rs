//! Owns what a parameter schema may look like, so that it can be kept, read and evaluated in bounded time: its
//! size, its depth, and that its references lead nowhere but into itself, and never in a circle. Pure; whether
//! it is a JSON Schema at all is asked in the engine.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::command::Command;
use super::limits::{
    PARAMETERS_PATTERNS_MAX, PARAMETERS_SCHEMA_BYTES_MAX, PARAMETERS_SCHEMA_DEPTH_MAX,
    PARAMETERS_SCHEMA_PARTS_MAX,
};
use super::parameters::{has_nul, placeholder, variable};
use super::rejection::Rejection;
use super::scalars::Json;

/// The field that holds it.
const PATH: &str = "parametersSchema";
/// Drafts in which `$ref` and `$id` mean what they mean here; without a word it is the last one.
const DRAFTS: [&str; 4] = [
    "http://json-schema.org/draft-06/schema",
    "http://json-schema.org/draft-07/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
];

/// The parameters that a schema lists by itself, outside of references.
pub fn listed(schema: &Json) -> Option<&Map<String, Value>> {
    schema.0.get("properties")?.as_object()
}

/// A schema that can be kept and evaluated, else a refusal.
pub fn check(schema: &Json) -> Result<(), Rejection> {
    let refused = |message: String| Err(Rejection::invalid(PATH, message));
    if !schema.0.is_object() && !schema.0.is_boolean() {
        return refused("must be a JSON Schema: an object, true or false".to_owned());
    }
    let bytes = schema.0.to_string().len();
    if bytes > PARAMETERS_SCHEMA_BYTES_MAX {
        return refused(format!("must be at most {PARAMETERS_SCHEMA_BYTES_MAX} bytes of JSON, has {bytes}"));
    }
    if has_nul(&schema.0) {
        return refused("must not contain the character U+0000".to_owned());
    }
    if let Some(draft) = schema.0.get("$schema") {
        let name = draft.as_str().unwrap_or_default();
        if !DRAFTS.contains(&name.trim_end_matches('#')) {
            return refused("names a $schema other than draft 6, 7, 2019-09 and 2020-12".to_owned());
        }
    }
    if let Err(message) = Walk::of(schema) {
        return refused(message);
    }
    let mut variables = HashMap::new();
    for name in listed(schema).into_iter().flatten().map(|(name, _)| name) {
        if let Some(other) = variables.insert(variable(name), name) {
            return refused(format!("{name} and {other} would be one variable, {}", variable(name)));
        }
    }
    Ok(())
}

/// How many values there are to evaluate in a schema that passed the check.
pub fn parts(schema: &Json) -> usize {
    Walk::of(schema).map_or(usize::MAX, |extent| extent.parts)
}

/// A command whose placeholders can be filled by such parameters, else a refusal of the argument.
pub fn check_placeholders(command: &Command, schema: &Json) -> Result<(), Rejection> {
    if command.script.is_some() {
        return Ok(());
    }
    let names = command.argv.iter().enumerate();
    for (index, name) in names.filter_map(|(index, word)| Some((index, placeholder(word)?))) {
        let path = format!("command.exec.argv.{index}");
        if index == 0 {
            return Err(Rejection::invalid(&path, "the program cannot be a parameter"));
        }
        if listed(schema).is_some_and(|listed| !listed.contains_key(name)) {
            let message = format!("{name} is not among the properties of the parametersSchema");
            return Err(Rejection::invalid(&path, message));
        }
    }
    Ok(())
}

/// How much there is to evaluate below a part of a schema, with what its references lead to.
#[derive(Debug, Clone, Copy)]
struct Extent {
    levels: usize,
    parts: usize,
}

/// Keywords about what no other keyword has evaluated.
const UNEVALUATED: [&str; 2] = ["unevaluatedProperties", "unevaluatedItems"];
/// Keywords whose schemas apply to the same value.
const IN_PLACE: [&str; 8] = ["allOf", "anyOf", "oneOf", "if", "then", "else", "dependentSchemas", "$ref"];
/// How often those are gone through where something asks what they left over: at most.
const LOOKS: usize = 3;

struct Walk<'a> {
    root: &'a Value,
    /// The target of each reference; `None` while it is being walked.
    known: HashMap<&'a str, Option<Extent>>,
    patterns_count: usize,
}

impl<'a> Walk<'a> {
    fn of(schema: &'a Json) -> Result<Extent, String> {
        let mut walk = Walk { root: &schema.0, known: HashMap::new(), patterns_count: 0 };
        walk.extent(&schema.0, 0)
    }

    /// Every object counts as a schema, also one that is an example: that errs on the safe side.
    fn extent(&mut self, part: &'a Value, above: usize) -> Result<Extent, String> {
        if above > PARAMETERS_SCHEMA_DEPTH_MAX {
            return Err(format!("is more than {PARAMETERS_SCHEMA_DEPTH_MAX} levels deep"));
        }
        let mut extent = Extent { levels: 0, parts: 1 };
        match part {
            Value::Array(parts) => {
                for part in parts {
                    extent.hold(self.extent(part, above + 1)?);
                }
            }
            Value::Object(parts) => {
                // What was not evaluated is found by going once more through what applies to the same value, in which the same
                // may stand again.
                let looks_back = UNEVALUATED.iter().any(|key| parts.contains_key(*key));
                for (key, part) in parts {
                    let times = if looks_back && IN_PLACE.contains(&key.as_str()) { LOOKS } else { 1 };
                    extent.hold(self.extent(part, above + 1)?.times(times));
                    if let Some(target) = self.keyword(key, part, above)? {
                        extent.hold(target.times(times));
                    }
                }
            }
            _ => {}
        }
        if extent.parts > PARAMETERS_SCHEMA_PARTS_MAX {
            let max = PARAMETERS_SCHEMA_PARTS_MAX;
            return Err(format!("holds more than {max} values, with each $ref counted as what it leads to"));
        }
        Ok(extent)
    }

    fn keyword(&mut self, key: &str, part: &'a Value, above: usize) -> Result<Option<Extent>, String> {
        match (key, part) {
            ("$ref", Value::String(pointer)) => return self.target(pointer, above).map(Some),
            ("$dynamicRef" | "$recursiveRef", Value::String(_)) => {
                return Err(format!("{key} is not supported: write $ref"));
            }
            ("$id" | "$schema", Value::String(_)) if above > 0 => {
                return Err(format!("{key} may stand at the top only"));
            }
            ("pattern", Value::String(_)) => self.patterns_count += 1,
            ("patternProperties", Value::Object(patterns)) => self.patterns_count += patterns.len(),
            _ => {}
        }
        if self.patterns_count > PARAMETERS_PATTERNS_MAX {
            return Err(format!("holds more than {PARAMETERS_PATTERNS_MAX} patterns"));
        }
        Ok(None)
    }

    fn target(&mut self, pointer: &'a str, above: usize) -> Result<Extent, String> {
        match self.known.get(pointer) {
            None => {}
            Some(None) => return Err(format!("the $ref {pointer} leads in a circle")),
            Some(Some(extent)) if above + extent.levels > PARAMETERS_SCHEMA_DEPTH_MAX => {
                return Err(format!("is more than {PARAMETERS_SCHEMA_DEPTH_MAX} levels deep"));
            }
            Some(Some(extent)) => return Ok(*extent),
        }
        let local = pointer.strip_prefix('#').filter(|local| !local.contains('%'));
        let local = local.filter(|local| local.is_empty() || local.starts_with('/'));
        let target = local.and_then(|local| self.root.pointer(local));
        let target = target.ok_or_else(|| {
            format!("the $ref {pointer} must lead to a part of this schema, as #/$defs/NAME does")
        })?;
        self.known.insert(pointer, None);
        let extent = self.extent(target, above + 1)?;
        self.known.insert(pointer, Some(extent));
        Ok(extent)
    }
}

impl Extent {
    fn times(self, count: usize) -> Extent {
        Extent { parts: self.parts.saturating_mul(count), ..self }
    }

    fn hold(&mut self, part: Extent) {
        self.levels = self.levels.max(part.levels + 1);
        self.parts = self.parts.saturating_add(part.parts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(schema: Value) -> String {
        let rejection = check(&Json(schema)).unwrap_err();
        assert_eq!(rejection.path.unwrap(), [PATH]);
        rejection.message
    }

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!({}), |inner, _| json!({ "not": inner }))
    }

    #[test]
    fn a_plain_schema_passes() {
        for schema in [
            json!(true),
            json!({}),
            json!({"$id": "https://example.com/x", "$schema": "http://json-schema.org/draft-07/schema#"}),
            json!({"properties": {"$ref": {"type": "string"}, "$id": {}, "pattern": {"pattern": "a"}}}),
            json!({"properties": {"a": {"$ref": "#/$defs/x"}, "b": {"$ref": "#/$defs/x"}}, "$defs": {"x": {}}}),
            nested(PARAMETERS_SCHEMA_DEPTH_MAX),
        ] {
            assert_eq!(check(&Json(schema)), Ok(()));
        }
    }

    #[test]
    fn what_has_no_bound_is_refused() {
        let patterns: Vec<_> = (0..=PARAMETERS_PATTERNS_MAX).map(|_| json!({"pattern": "a"})).collect();
        for (schema, part) in [
            (json!([]), "an object, true or false"),
            (json!({"title": "x".repeat(PARAMETERS_SCHEMA_BYTES_MAX)}), "bytes"),
            (json!({"title": "\0"}), "U+0000"),
            (json!({"$schema": "http://json-schema.org/draft-04/schema#"}), "$schema"),
            (json!({"$schema": 7}), "$schema"),
            (json!({"not": {"$schema": "http://json-schema.org/draft-07/schema"}}), "top only"),
            (json!({"not": {"$id": "x"}}), "top only"),
            (json!({"$dynamicRef": "#a"}), "write $ref"),
            (json!({"$ref": "https://example.com/x"}), "must lead to a part"),
            (json!({"$ref": "file:///x"}), "must lead to a part"),
            (json!({"$ref": "#a", "$anchor": "a"}), "must lead to a part"),
            (json!({"$ref": "#/$defs/%61", "$defs": {"a": {}}}), "must lead to a part"),
            (json!({"$ref": "#/$defs/none"}), "must lead to a part"),
            (json!({"$ref": "#"}), "circle"),
            (json!({"not": {"$ref": "#/$defs/a"}, "$defs": {"a": {"not": {"$ref": "#/$defs"}}}}), "circle"),
            (nested(PARAMETERS_SCHEMA_DEPTH_MAX + 1), "levels deep"),
            (json!({ "allOf": patterns }), "patterns"),
            (json!({ "enum": vec![1; PARAMETERS_SCHEMA_PARTS_MAX] }), "values"),
            (json!({"properties": {"a-b": {}, "a.b": {}}}), "BEADLE_PARAM_A_B"),
        ] {
            let text = schema.to_string();
            let message = refusal(schema);
            assert!(message.contains(part), "{message}: {}", &text[..text.len().min(200)]);
        }
    }

    #[test]
    fn references_count_as_what_they_lead_to() {
        let chain = |count: usize, links: usize| {
            let mut definitions = Map::new();
            for at in 0..count {
                let link = json!({"$ref": format!("#/$defs/x{}", at + 1)});
                definitions.insert(format!("x{at}"), json!({"allOf": vec![link; links]}));
            }
            definitions.insert(format!("x{count}"), json!({}));
            json!({"$ref": "#/$defs/x0", "$defs": definitions})
        };
        assert_eq!(check(&Json(chain(8, 2))), Ok(()));
        // Each doubles the one before: 2^20 evaluations in a kilobyte.
        assert!(refusal(chain(20, 2)).contains("values"));
        assert!(refusal(chain(40, 1)).contains("levels deep"));
        // Also where the end of the chain was measured first, by its place in the alphabet.
        let mut late = chain(40, 1);
        late["$defs"]["a"] = json!({"$ref": "#/$defs/x25"});
        assert!(refusal(late).contains("levels deep"));
    }

    #[test]
    fn what_was_not_evaluated_counts_as_often_as_it_is_looked_for() {
        // Each level goes through the one below more than twice: minutes in a kilobyte.
        for (applies, looks) in [("allOf", "unevaluatedProperties"), ("anyOf", "unevaluatedItems")] {
            let nested = |levels: usize| {
                (0..levels).fold(
                    json!({"properties": {"a": true}}),
                    |inner, _| json!({applies: [inner], looks: false}),
                )
            };
            assert_eq!(check(&Json(nested(4))), Ok(()), "{applies}");
            assert!(refusal(nested(20)).contains("values"), "{applies}");
        }
        // Objects in objects are looked at once each.
        let objects = (0..12).fold(
            json!({"type": "string"}),
            |inner, _| json!({"properties": {"a": inner}, "unevaluatedProperties": false}),
        );
        assert_eq!(check(&Json(objects)), Ok(()));
    }

    #[test]
    fn a_placeholder_needs_its_property() {
        let schema = Json(json!({"properties": {"a": {}}}));
        let command = |argv: &[&str]| Command {
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
            ..Command::none()
        };
        let path = |argv: &[&str], schema: &Json| {
            check_placeholders(&command(argv), schema)
                .err()
                .map(|rejection| rejection.path.unwrap().join("."))
        };
        assert_eq!(path(&["cp", "{{a}}", "x{{b}}"], &schema), None);
        assert_eq!(path(&["cp", "{{a}}", "{{b}}"], &schema).unwrap(), "command.exec.argv.2");
        assert_eq!(path(&["{{a}}"], &schema).unwrap(), "command.exec.argv.0");
        assert_eq!(path(&["cp", "{{b}}"], &Json(json!(true))), None);
    }
}
