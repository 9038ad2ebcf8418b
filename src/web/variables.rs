//! Owns the check of variables against their definitions, as the specification asks for before anything runs: what is
//! missing, what has another type. It must never judge a document, and it knows no custom scalar: those read
//! themselves, where they are used.

use std::collections::{HashMap, HashSet};

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, InputValueDefinition, Type, TypeKind, TypeSystemDefinition, VariableDefinition,
};
use async_graphql::{Name, Positioned, Value, Variables};

use super::errors::{Code, Refusal};

/// The input types of a schema.
#[derive(Debug)]
pub struct Inputs(HashMap<String, Input>);

#[derive(Debug)]
enum Input {
    Enum(HashSet<String>),
    Object {
        is_one_of: bool,
        fields: Vec<(Name, Field)>,
    },
    /// Reads itself.
    Scalar,
}

#[derive(Debug)]
struct Field {
    kind: Type,
    has_default: bool,
}

/// Where in a value something is wrong, and what was expected there.
struct Wrong {
    /// The innermost step first.
    path: Vec<String>,
    expected: String,
}

impl Wrong {
    fn new(expected: impl Into<String>) -> Wrong {
        Wrong { path: Vec::new(), expected: expected.into() }
    }

    fn below(mut self, step: impl Into<String>) -> Wrong {
        self.path.push(step.into());
        self
    }
}

impl Inputs {
    /// Of a schema as text.
    pub fn of(sdl: &str) -> Inputs {
        let schema = parse_schema(sdl).expect("the executor printed it itself");
        let mut inputs = HashMap::new();
        for definition in schema.definitions {
            let TypeSystemDefinition::Type(definition) = definition else { continue };
            let definition = definition.node;
            let input = match definition.kind {
                TypeKind::Scalar => Input::Scalar,
                TypeKind::Enum(kind) => Input::Enum(
                    kind.values.into_iter().map(|value| value.node.value.node.to_string()).collect(),
                ),
                TypeKind::InputObject(kind) => Input::Object {
                    is_one_of: definition.directives.iter().any(|one| one.node.name.node == "oneOf"),
                    fields: kind.fields.into_iter().map(|field| Field::of(field.node)).collect(),
                },
                _ => continue,
            };
            inputs.insert(definition.name.node.to_string(), input);
        }
        Inputs(inputs)
    }

    /// Refuses the first variable that does not fit. A type that does not exist is the validation's to refuse.
    pub fn check(
        &self,
        definitions: &[Positioned<VariableDefinition>],
        variables: &Variables,
    ) -> Result<(), Refusal> {
        for definition in definitions {
            let name = &definition.node.name.node;
            let kind = &definition.node.var_type.node;
            let refused = |message: String| Err(Refusal::new(Code::BadUserInput, message).at(definition.pos));
            let has_default = definition.node.default_value.is_some();
            match variables.get(name) {
                None if kind.nullable || has_default => {}
                None | Some(Value::Null) if !kind.nullable => {
                    return refused(format!("variable `${name}` of required type `{kind}` was not given"));
                }
                None | Some(Value::Null) => {}
                Some(value) => {
                    if let Err(wrong) = self.fits(kind, value) {
                        return refused(wrong.sentence(name));
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a variable may have this type.
    pub fn know(&self, kind: &Type) -> bool {
        match &kind.base {
            BaseType::List(inner) => self.know(inner),
            BaseType::Named(name) => {
                let is_built_in = matches!(name.as_str(), "Int" | "Float" | "String" | "Boolean" | "ID");
                is_built_in || self.0.contains_key(name.as_str())
            }
        }
    }

    fn fits(&self, kind: &Type, value: &Value) -> Result<(), Wrong> {
        match (&kind.base, value) {
            (_, Value::Null) if kind.nullable => Ok(()),
            (_, Value::Null) => Err(Wrong::new(format!("a value of type `{kind}`"))),
            (BaseType::List(inner), Value::List(values)) => {
                for (at, value) in values.iter().enumerate() {
                    self.fits(inner, value).map_err(|wrong| wrong.below(format!("[{at}]")))?;
                }
                Ok(())
            }
            // One value stands for a list of one.
            (BaseType::List(inner), value) => self.fits(inner, value),
            (BaseType::Named(name), value) => self.fits_named(name, value),
        }
    }

    fn fits_named(&self, name: &str, value: &Value) -> Result<(), Wrong> {
        let fits = match (name, value) {
            ("Int", Value::Number(number)) => {
                number.as_i64().is_some_and(|number| i32::try_from(number).is_ok())
            }
            ("Float", value) => matches!(value, Value::Number(_)),
            ("ID", Value::Number(number)) => number.is_i64(),
            ("String" | "ID", value) => matches!(value, Value::String(_)),
            ("Boolean", value) => matches!(value, Value::Boolean(_)),
            ("Int", _) => false,
            _ => return self.fits_own(name, value),
        };
        if fits { Ok(()) } else { Err(Wrong::new(format!("a value of type `{name}`"))) }
    }

    fn fits_own(&self, name: &str, value: &Value) -> Result<(), Wrong> {
        match (self.0.get(name), value) {
            (None | Some(Input::Scalar), _) => Ok(()),
            (Some(Input::Enum(words)), Value::String(word)) if words.contains(word) => Ok(()),
            (Some(Input::Enum(words)), Value::Enum(word)) if words.contains(word.as_str()) => Ok(()),
            (Some(Input::Object { is_one_of, fields }), Value::Object(given)) => {
                if *is_one_of && (given.len() != 1 || given.values().any(|value| *value == Value::Null)) {
                    return Err(Wrong::new(format!("exactly one field of `{name}`, and not null")));
                }
                if let Some(unknown) = given.keys().find(|key| fields.iter().all(|(name, _)| name != *key)) {
                    return Err(Wrong::new(format!("no such field of `{name}`")).below(format!(".{unknown}")));
                }
                for (key, field) in fields {
                    let step = || format!(".{key}");
                    match given.get(key) {
                        Some(value) => {
                            self.fits(&field.kind, value).map_err(|wrong| wrong.below(step()))?;
                        }
                        None if field.kind.nullable || field.has_default => {}
                        None => {
                            return Err(Wrong::new(format!("a value of type `{}`", field.kind)).below(step()));
                        }
                    }
                }
                Ok(())
            }
            _ => Err(Wrong::new(format!("a value of type `{name}`"))),
        }
    }
}

impl Field {
    fn of(definition: InputValueDefinition) -> (Name, Field) {
        let field = Field { kind: definition.ty.node, has_default: definition.default_value.is_some() };
        (definition.name.node, field)
    }
}

impl Wrong {
    fn sentence(self, variable: &str) -> String {
        let path: String = self.path.into_iter().rev().collect();
        format!("variable `${variable}{path}` has a wrong value: expected {}", self.expected)
    }
}

/// Fills in the defaults, and gives the variables that have no value even so.
pub fn complete(definitions: &[Positioned<VariableDefinition>], variables: &mut Variables) -> Vec<Name> {
    let mut absent = Vec::new();
    for definition in definitions {
        let VariableDefinition { name, default_value, .. } = &definition.node;
        match (variables.contains_key(&name.node), default_value) {
            (true, _) => {}
            (false, Some(default)) => {
                variables.insert(name.node.clone(), default.node.clone());
            }
            (false, None) => absent.push(name.node.clone()),
        }
    }
    absent
}

/// Values for a judge that must not stumble over them: what was given, else the default, else null. Where a default
/// stands for what must not be null, a null that was given is left to the field that reads it.
pub fn samples(definitions: &[Positioned<VariableDefinition>], variables: &Variables) -> Variables {
    let mut samples = Variables::default();
    for definition in definitions {
        let VariableDefinition { name, default_value, .. } = &definition.node;
        let given = variables.get(&name.node).filter(|value| **value != Value::Null);
        let default = default_value.as_ref().map(|value| &value.node);
        samples.insert(name.node.clone(), given.or(default).cloned().unwrap_or_default());
    }
    samples
}

/// The same for an operation that nobody runs: a number stands for every `Int`, for lists cost by one.
pub fn samples_of_nobody(definitions: &[Positioned<VariableDefinition>]) -> Variables {
    let mut samples = samples(definitions, &Variables::default());
    for definition in definitions {
        let VariableDefinition { name, var_type, .. } = &definition.node;
        if samples[&name.node] == Value::Null
            && matches!(&var_type.node.base, BaseType::Named(kind) if kind == "Int")
        {
            samples.insert(name.node.clone(), Value::from(1));
        }
    }
    samples
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;
    use async_graphql::value;

    use super::*;

    const SDL: &str = "scalar When  enum State { ON OFF }
        input Place { x: Int! y: Int! = 3 name: String near: [Place!] }
        input Either @oneOf { id: ID place: Place }
        type Query { a(when: When): Int }";

    fn said(kind: &str, variables: Value) -> Result<(), String> {
        let document = parse_query(format!("query ($v: {kind}) {{ a(v: $v) }}")).expect("it is GraphQL");
        let (_, operation) = document.operations.iter().next().expect("there is one");
        let definitions = &operation.node.variable_definitions;
        Inputs::of(SDL).check(definitions, &Variables::from_value(variables)).map_err(|refusal| {
            assert_eq!((refusal.code, refusal.locations.len()), (Code::BadUserInput, 1));
            refusal.message
        })
    }

    #[test]
    fn input_types_are_known() {
        let inputs = Inputs::of(SDL);
        for (kind, is_known) in [
            ("Int!", true),
            ("[[ID!]]", true),
            ("When", true),
            ("[State]", true),
            ("Place!", true),
            ("Nope", false),
            ("[Query!]", false),
        ] {
            assert_eq!(inputs.know(&Type::new(kind).expect("a type")), is_known, "{kind}");
        }
    }

    #[test]
    fn values_that_fit_pass() {
        for (kind, value) in [
            ("Int", value!({})),
            ("Int", value!({"v": null})),
            ("Int! = 3", value!({})),
            ("Int!", value!({"v": (-2_147_483_648_i64)})),
            ("Float!", value!({"v": 1})),
            ("Float!", value!({"v": 1.5})),
            ("String!", value!({"v": ""})),
            ("Boolean!", value!({"v": false})),
            ("ID!", value!({"v": "a"})),
            ("ID!", value!({"v": 7})),
            ("When!", value!({"v": {"any": ["thing", null]}})),
            ("State!", value!({"v": "ON"})),
            ("[Int!]!", value!({"v": [1, 2]})),
            ("[Int!]!", value!({"v": 1})),
            ("[Int]!", value!({"v": [null]})),
            ("[[Int!]]!", value!({"v": [[1], 2, null]})),
            ("Place!", value!({"v": {"x": 1, "near": {"x": 2, "y": 4, "name": null}}})),
            ("Either!", value!({"v": {"id": 3}})),
            ("Either!", value!({"v": {"place": {"x": 1}}})),
            ("Unknown!", value!({"v": 1})),
            ("Int", value!({"v": 1, "other": "left alone"})),
        ] {
            assert_eq!(said(kind, value.clone()), Ok(()), "{kind} {value}");
        }
    }

    #[test]
    fn values_that_do_not_fit_are_refused_where_they_stand() {
        for (kind, value, at) in [
            ("Int!", value!({}), "required type `Int!` was not given"),
            ("Int!", value!({"v": null}), "required type `Int!` was not given"),
            ("Int! = 3", value!({"v": null}), "required type `Int!` was not given"),
            ("Int", value!({"v": "1"}), "`$v` has a wrong value: expected a value of type `Int`"),
            ("Int", value!({"v": 2_147_483_648_i64}), "`Int`"),
            ("Int", value!({"v": 1.5}), "`Int`"),
            ("Int", value!({"v": true}), "`Int`"),
            ("Float", value!({"v": "1"}), "`Float`"),
            ("String", value!({"v": 1}), "`String`"),
            ("Boolean", value!({"v": "true"}), "`Boolean`"),
            ("ID", value!({"v": 1.5}), "`ID`"),
            ("ID", value!({"v": [1]}), "`ID`"),
            ("When!", value!({"v": null}), "was not given"),
            ("State", value!({"v": "on"}), "`State`"),
            ("State", value!({"v": 1}), "`State`"),
            ("[Int!]", value!({"v": [1, null]}), "`$v[1]`"),
            ("[Int!]", value!({"v": ["x"]}), "`$v[0]`"),
            ("[[Int!]]", value!({"v": [[1], ["x"]]}), "`$v[1][0]`"),
            ("Place", value!({"v": {}}), "`$v.x`"),
            ("Place", value!({"v": {"x": null}}), "`$v.x`"),
            ("Place", value!({"v": {"x": 1, "y": null}}), "`$v.y`"),
            (
                "Place",
                value!({"v": {"x": 1, "z": 1}}),
                "`$v.z` has a wrong value: expected no such field of `Place`",
            ),
            ("Place", value!({"v": {"x": 1, "near": [{"x": 1}, {"x": "1"}]}}), "`$v.near[1].x`"),
            ("Place", value!({"v": 3}), "`Place`"),
            ("Either", value!({"v": {}}), "exactly one field"),
            ("Either", value!({"v": {"id": null}}), "exactly one field"),
            ("Either", value!({"v": {"id": 1, "place": {"x": 1}}}), "exactly one field"),
        ] {
            let message = said(kind, value.clone()).expect_err(kind);
            assert!(message.contains(at), "{kind} {value}: {message}");
        }
    }
}
