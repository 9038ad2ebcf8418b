//! Owns one rule of the specification (5.8.5): a variable stands only where its type is taken, as an argument, inside a
//! list or an input object, or in a directive. The executor's own rule never refuses. Arguments that the judge does not
//! see, because their variable has no value, are looked at here: known, and given once. It must never look at the values
//! of variables, and overlooks unknown fields and directives: the executor's validation names those.

use std::collections::HashMap;

use async_graphql::parser::types::{
    BaseType, Directive, ExecutableDocument, Field, Selection, SelectionSet, Type, VariableDefinition,
};
use async_graphql::{Name, Pos, Positioned, Value as ConstValue};
use async_graphql_value::Value;

use super::errors::{Code, Refusal};
use super::outputs::{Output, Outputs, Parameter, Parameters, named};

/// Refuses the first variable that stands where its type is not taken. The document's fragments have been written out:
/// a spread that is left is not known.
pub fn check_usages(document: &ExecutableDocument, outputs: &Outputs) -> Result<(), Refusal> {
    for (_, operation) in document.operations.iter() {
        let operation = &operation.node;
        let variables = operation.variable_definitions.iter().map(|definition| &definition.node);
        let variables: HashMap<_, _> = variables.map(|one| (one.name.node.as_str(), one)).collect();
        if variables.is_empty() {
            continue;
        }
        if variables.len() < operation.variable_definitions.len() {
            return Err(Refusal::new(Code::ValidationFailed, "a variable is defined twice"));
        }
        let usages = Usages { outputs, variables };
        usages.directives(&operation.directives)?;
        usages.set(outputs.root(operation.ty), &operation.selection_set.node)?;
    }
    Ok(())
}

struct Usages<'a> {
    outputs: &'a Outputs,
    variables: HashMap<&'a str, &'a VariableDefinition>,
}

/// A place for a value.
#[derive(Debug, Clone, Copy)]
struct Spot<'a> {
    /// What is taken there.
    kind: &'a Type,
    /// Whether something stands in for a value that is left out.
    has_default: bool,
    /// Of the whole argument: values inside it do not know where they stand.
    position: Pos,
}

impl Usages<'_> {
    /// Recursion is bounded by the document's nesting. Below an unknown field only directives are looked at.
    fn set(&self, parent: Option<&str>, set: &SelectionSet) -> Result<(), Refusal> {
        for selection in &set.items {
            self.directives(selection.node.directives())?;
            match &selection.node {
                Selection::Field(field) => {
                    let field = &field.node;
                    let output = parent.and_then(|parent| self.outputs.field(parent, &field.name.node));
                    if let Some(output) = output {
                        self.field(output, field)?;
                    }
                    self.set(output.map(|output| named(&output.kind)), &field.selection_set.node)?;
                }
                Selection::InlineFragment(inline) => {
                    let condition = inline.node.type_condition.as_ref();
                    let on = condition.map(|condition| condition.node.on.node.as_str());
                    self.set(on.or(parent), &inline.node.selection_set.node)?;
                }
                Selection::FragmentSpread(_) => {}
            }
        }
        Ok(())
    }

    fn field(&self, output: &Output, field: &Field) -> Result<(), Refusal> {
        self.arguments(&output.arguments, &field.arguments)
    }

    fn directives(&self, directives: &[Positioned<Directive>]) -> Result<(), Refusal> {
        for directive in directives {
            let directive = &directive.node;
            let Some(known) = self.outputs.directive(&directive.name.node) else { continue };
            self.arguments(known, &directive.arguments)?;
        }
        Ok(())
    }

    fn arguments(
        &self,
        known: &Parameters,
        given: &[(Positioned<Name>, Positioned<Value>)],
    ) -> Result<(), Refusal> {
        for (at, (name, value)) in given.iter().enumerate() {
            let refused = |message: String| Err(Refusal::new(Code::ValidationFailed, message).at(name.pos));
            let Some(parameter) = known.get(&name.node) else {
                return refused(format!("there is no argument `{}` here", name.node));
            };
            if given[..at].iter().any(|(earlier, _)| earlier.node == name.node) {
                return refused(format!("the argument `{}` is given twice", name.node));
            }
            self.value(Spot::of(parameter, value.pos), &value.node)?;
        }
        Ok(())
    }

    fn value(&self, spot: Spot<'_>, value: &Value) -> Result<(), Refusal> {
        match (value, &spot.kind.base) {
            (Value::Variable(name), _) => self.variable(spot, name),
            (Value::List(items), BaseType::List(inner)) => {
                let spot = Spot { kind: inner, has_default: false, position: spot.position };
                items.iter().try_for_each(|item| self.value(spot, item))
            }
            // One object stands for a list of one.
            (Value::Object(given), _) => {
                let Some(known) = self.outputs.input(named(spot.kind)) else { return Ok(()) };
                given.iter().try_for_each(|(name, value)| match known.get(name) {
                    Some(parameter) => self.value(Spot::of(parameter, spot.position), value),
                    None => Ok(()),
                })
            }
            _ => Ok(()),
        }
    }

    fn variable(&self, spot: Spot<'_>, name: &str) -> Result<(), Refusal> {
        let Some(variable) = self.variables.get(name) else { return Ok(()) };
        if spot.takes(variable) {
            return Ok(());
        }
        let (kind, expected) = (&variable.var_type.node, spot.kind);
        let message = format!("variable `${name}` of type `{kind}` is used where `{expected}` is expected");
        Err(Refusal::new(Code::ValidationFailed, message).at(spot.position))
    }
}

impl<'a> Spot<'a> {
    fn of(parameter: &'a Parameter, position: Pos) -> Spot<'a> {
        Spot { kind: &parameter.kind, has_default: parameter.has_default, position }
    }

    /// A variable that may be null is taken where null is not if a default stands in for one that was not given. A null
    /// that was given is refused when the field is executed.
    fn takes(&self, variable: &VariableDefinition) -> bool {
        let kind = &variable.var_type.node;
        let default = variable.default_value.as_ref();
        let has_default = self.has_default || default.is_some_and(|value| value.node != ConstValue::Null);
        let is_nullable = kind.nullable && !has_default;
        (self.kind.nullable || !is_nullable) && fits(&kind.base, &self.kind.base)
    }
}

/// A single variable does not stand for a list of one.
fn fits(given: &BaseType, expected: &BaseType) -> bool {
    match (given, expected) {
        (BaseType::Named(given), BaseType::Named(expected)) => given == expected,
        (BaseType::List(given), BaseType::List(expected)) => {
            (expected.nullable || !given.nullable) && fits(&given.base, &expected.base)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    const SDL: &str = "enum State { ON OFF }
        input Range { from: Int! to: Int! = 3 name: String near: [Range!] }
        input Either @oneOf { id: ID range: Range }
        interface Node { id(short: Boolean): ID! }
        type Job implements Node { id(short: Boolean): ID! log(first: Int!, last: Int! = 5): String next: Job }
        type Query {
            jobs(first: Int!, states: [State], some: [Int], all: [Int!], grid: [[Int]]): [Job!]!
            count(range: Range, ranges: [Range!], either: Either): Int
            node: Node
        }";

    fn refusal(text: &str) -> Option<Refusal> {
        let document = parse_query(text).expect("the test's document is GraphQL");
        check_usages(&document, &Outputs::of(SDL)).err()
    }

    #[test]
    fn variables_pass_where_their_type_is_taken() {
        for text in [
            "query ($v: Int!) { jobs(first: $v) { id } }",
            "query ($v: Int! = 3) { jobs(first: $v) { id } }",
            "query ($v: [State!]) { jobs(first: 1, states: $v) { id } }",
            "query ($v: State) { jobs(first: 1, states: [ON, $v]) { id } }",
            "query ($v: [Int!]) { jobs(first: 1, some: $v, all: $v) { id } }",
            "query ($v: [Int!]!) { jobs(first: 1, some: $v, all: $v, grid: [$v, [1]]) { id } }",
            "query ($v: [[Int!]!]!) { jobs(first: 1, grid: $v) { id } }",
            "query ($v: Int) { jobs(first: 1, grid: [[$v]]) { id } }",
            "query ($v: Range!) { count(range: $v, ranges: [$v]) }",
            "query ($v: Int!) { count(range: {from: $v, near: [{from: $v, near: {from: $v}}]}) }",
            "query ($v: Int!) { count(ranges: {from: $v}) }",
            "query ($v: ID!) { count(either: {id: $v}) }",
            "query ($v: Boolean) { node { id(short: $v) ... on Job { next { id(short: $v) } } } }",
        ] {
            assert!(refusal(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_default_stands_in_for_null() {
        for text in [
            "query ($v: Int = 3) { jobs(first: $v) { id } }",
            "query ($v: Int) { node { ... on Job { log(first: 1, last: $v) } } }",
            "query ($v: Int = null) { node { ... on Job { log(first: 1, last: $v) } } }",
            "query ($v: Int) { count(range: {from: 1, to: $v}) }",
            "query ($v: Int = 1) { count(range: {from: $v}) }",
            "query ($v: ID = 1) { count(either: {id: $v}) }",
            "query ($v: Int = 1) { jobs(first: 1, all: [$v]) { id } }",
        ] {
            assert!(refusal(text).is_none(), "{text}");
        }
    }

    #[test]
    fn directives_take_variables_of_their_type() {
        for text in [
            "query ($v: Boolean!) { jobs(first: 1) @include(if: $v) { id @skip(if: $v) } }",
            "query ($v: Boolean = true) { ... @skip(if: $v) { count } }",
            "query ($v: Boolean!) { ... on Query @skip(if: $v) { count } }",
        ] {
            assert!(refusal(text).is_none(), "{text}");
        }
        for text in [
            "query ($v: Boolean) { count @include(if: $v) }",
            "query ($v: Boolean) { jobs(first: 1) { id @skip(if: $v) } }",
            "query ($v: Boolean) { ... @skip(if: $v) { count } }",
            "query ($v: Boolean) { ...Nothing @skip(if: $v) }",
            "query ($v: Boolean) @skip(if: $v) { count }",
            "query ($v: Boolean) { nothing { nothing @skip(if: $v) } }",
            "query ($v: Boolean) { __schema { types @skip(if: $v) { name } } }",
        ] {
            let message = refusal(text).expect(text).message;
            assert!(message.contains("`Boolean` is used where `Boolean!` is expected"), "{text}: {message}");
        }
    }

    #[test]
    fn what_is_unknown_is_left_to_the_validation() {
        for text in [
            "{ jobs(first: $v) { id } }",
            "query ($w: Int) { jobs(first: $v) { id } }",
            "query ($v: ID) { nothing(first: $v) { nothing(first: $v) } }",
            "query ($v: ID) { jobs(first: 1) @nothing(if: $v) { id } }",
            "query ($v: ID) { ... on Nothing { jobs(first: $v) { id } } ...Nothing }",
            "query ($v: ID) { count(range: {from: 1, nothing: $v}) }",
            "query ($v: ID) { count(range: [$v]) jobs(first: {from: $v}) { id } }",
            "query ($v: ID) { __schema { types { fields(includeDeprecated: $v) { name } } } }",
            "mutation ($v: ID) { jobs(first: $v) { id } }",
        ] {
            assert!(refusal(text).is_none(), "{text}");
        }
    }

    #[test]
    fn arguments_that_the_judge_may_not_see_are_refused() {
        for (text, expected) in [
            (
                "query ($v: Int!) { jobs(first: 1, nothing: $v) { id } }",
                "there is no argument `nothing` here",
            ),
            (
                "query ($v: Int!) { jobs(first: $v) { id @skip(nothing: $v) } }",
                "there is no argument `nothing` here",
            ),
            ("query ($v: Int!) { jobs(first: $v, first: 1) { id } }", "the argument `first` is given twice"),
            ("query ($v: Int!, $v: Int!) { jobs(first: $v) { id } }", "a variable is defined twice"),
        ] {
            let refusal = refusal(text).expect(text);
            assert_eq!(
                (refusal.code, refusal.message.as_str()),
                (Code::ValidationFailed, expected),
                "{text}"
            );
        }
    }

    #[test]
    fn other_variables_are_refused() {
        for (text, given, expected) in [
            ("query Q($v: ID!) { jobs(first: $v) { id } }", "ID!", "Int!"),
            ("query ($v: Int) { jobs(first: $v) { id } }", "Int", "Int!"),
            ("query ($v: Int = null) { jobs(first: $v) { id } }", "Int", "Int!"),
            ("query ($v: ID = 3) { jobs(first: $v) { id } }", "ID", "Int!"),
            ("query ($v: [Int!]!) { jobs(first: $v) { id } }", "[Int!]!", "Int!"),
            ("query ($v: Int) { jobs(first: 1, some: $v) { id } }", "Int", "[Int]"),
            ("query ($v: String) { jobs(first: 1, states: [ON, $v]) { id } }", "String", "State"),
            ("query ($v: [Int]) { jobs(first: 1, all: $v) { id } }", "[Int]", "[Int!]"),
            ("query ($v: [Int] = [1]) { jobs(first: 1, all: $v) { id } }", "[Int]", "[Int!]"),
            ("query ($v: [Int]) { jobs(first: 1, some: [$v]) { id } }", "[Int]", "Int"),
            ("query ($v: Int) { jobs(first: 1, all: [1, $v]) { id } }", "Int", "Int!"),
            ("query ($v: Int) { jobs(first: 1, grid: [$v]) { id } }", "Int", "[Int]"),
            ("query ($v: Int) { count(range: {from: $v}) }", "Int", "Int!"),
            ("query ($v: Int) { count(ranges: {from: $v}) }", "Int", "Int!"),
            ("query ($v: Range) { count(ranges: [{from: 1}, $v]) }", "Range", "Range!"),
            (
                "query ($v: Int) { count(range: {from: 1, near: [{from: 1, near: {from: 1, name: $v}}]}) }",
                "Int",
                "String",
            ),
            ("query ($v: ID) { count(either: {id: $v}) }", "ID", "ID!"),
            ("query ($v: Int) { count(either: {range: {from: $v}}) }", "Int", "Int!"),
            ("query ($v: Int) { node { id(short: $v) } }", "Int", "Boolean"),
            ("query ($v: Int) { node { ... on Job { next { id(short: $v) } } } }", "Int", "Boolean"),
            ("query ($v: Int) { ... { ... on Query { jobs(first: $v) { id } } } }", "Int", "Int!"),
            ("query ($v: String) { __type(name: $v) { name } }", "String", "String!"),
        ] {
            let refusal = refusal(text).expect(text);
            assert_eq!((refusal.code, refusal.locations.len()), (Code::ValidationFailed, 1), "{text}");
            let message = format!("variable `$v` of type `{given}` is used where `{expected}` is expected");
            assert_eq!(refusal.message, message, "{text}");
        }
    }

    #[test]
    fn the_refusal_says_where() {
        let refusal = refusal("query ($v: ID!) {\n jobs(first: $v) { id } }").unwrap();
        assert_eq!(refusal.locations, [Pos { line: 2, column: 14 }]);
    }

    #[test]
    fn thousands_of_usages_are_checked() {
        let fields = "jobs(first: $v, some: [1, $v]) { id } ".repeat(2_000);
        assert!(refusal(&format!("query ($v: Int!) {{ {fields} }}")).is_none());
        assert!(
            refusal(&format!("query ($v: Int!, $w: ID) {{ {fields} jobs(first: $w) {{ id }} }}")).is_some()
        );
    }
}
