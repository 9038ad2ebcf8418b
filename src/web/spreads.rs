//! Owns what is done to a document before anybody judges or runs it: the one operation that is meant is left, and its
//! fragments stand written out where they were spread. The executor loses the type of a named fragment, and with it the
//! cost of the lists in there; and it would weigh operations that are not run. It must only move selections, never add or
//! lose one.

use std::collections::{HashMap, HashSet};

use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, Field, InlineFragment, OperationDefinition, OperationType,
    Selection, SelectionSet,
};
use async_graphql::{Name, Pos, Positioned};
use async_graphql_value::Value;

use super::errors::{Code, Refusal};

/// The name of an operation that is run in the place of one that is only judged. No document can have it.
pub const STAND_IN: &str = "0";

/// Refuses fragments that nobody spreads and directives where no fragment takes any. Written out, nobody would see them.
pub fn check_fragments(document: &ExecutableDocument) -> Result<(), Refusal> {
    let refused = |message: String, place| Err(Refusal::new(Code::ValidationFailed, message).at(place));
    let mut spread = HashSet::new();
    let sets = document.operations.iter().map(|(_, operation)| &operation.node.selection_set.node);
    let mut waiting: Vec<&SelectionSet> = sets.collect();
    while let Some(set) = waiting.pop() {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => waiting.push(&field.node.selection_set.node),
                Selection::InlineFragment(inline) => waiting.push(&inline.node.selection_set.node),
                Selection::FragmentSpread(one) => {
                    let name = &one.node.fragment_name.node;
                    if let Some(fragment) = document.fragments.get(name)
                        && spread.insert(name.as_str())
                    {
                        waiting.push(&fragment.node.selection_set.node);
                    }
                }
            }
        }
    }
    for (name, fragment) in &document.fragments {
        if !spread.contains(name.as_str()) {
            return refused(format!("fragment `{name}` is never used"), fragment.pos);
        }
        if let Some(directive) = fragment.node.directives.first() {
            let message = format!("no directive may stand where fragment `{name}` is defined");
            return refused(message, directive.pos);
        }
    }
    Ok(())
}

/// The document of this one operation. It must have been weighed: no cycles, bounded expansion.
pub fn document_of(
    document: &ExecutableDocument,
    operation: &Positioned<OperationDefinition>,
    name: Option<&Name>,
) -> ExecutableDocument {
    let mut operation = operation.clone();
    write_out(document, &mut operation.node.selection_set.node);
    let operations = match name {
        Some(name) => DocumentOperations::Multiple([(name.clone(), operation)].into()),
        None => DocumentOperations::Single(operation),
    };
    ExecutableDocument { operations, fragments: HashMap::new() }
}

fn write_out(document: &ExecutableDocument, set: &mut SelectionSet) {
    for selection in &mut set.items {
        if let Selection::FragmentSpread(spread) = &selection.node
            // An unknown one stays; the validation names it.
            && let Some(fragment) = document.fragments.get(&spread.node.fragment_name.node)
        {
            let inline = InlineFragment {
                type_condition: Some(fragment.node.type_condition.clone()),
                directives: spread.node.directives.clone(),
                selection_set: fragment.node.selection_set.clone(),
            };
            selection.node = Selection::InlineFragment(Positioned::new(inline, selection.pos));
        }
        match &mut selection.node {
            Selection::Field(field) => write_out(document, &mut field.node.selection_set.node),
            Selection::InlineFragment(inline) => write_out(document, &mut inline.node.selection_set.node),
            Selection::FragmentSpread(_) => {}
        }
    }
}

/// The document of an operation that nobody runs, so that the values of its variables do not matter.
pub fn not_run(mut document: ExecutableDocument) -> ExecutableDocument {
    let DocumentOperations::Multiple(named) = &mut document.operations else { return document };
    let name = |text: &str| Positioned::new(Name::new(text), Pos::default());
    let field = Field {
        alias: None,
        name: name("__typename"),
        arguments: Vec::new(),
        directives: Vec::new(),
        selection_set: Positioned::default(),
    };
    let field = Selection::Field(Positioned::new(field, Pos::default()));
    let stand_in = OperationDefinition {
        ty: OperationType::Query,
        variable_definitions: Vec::new(),
        directives: Vec::new(),
        selection_set: Positioned::new(
            SelectionSet { items: vec![Positioned::new(field, Pos::default())] },
            Pos::default(),
        ),
    };
    named.insert(Name::new(STAND_IN), Positioned::new(stand_in, Pos::default()));
    document
}

/// Takes away the arguments that are bound to variables without a value: they count as not given, so that their own
/// defaults hold.
pub fn drop_arguments(document: &mut ExecutableDocument, absent: &[Name]) {
    for operation in operations_mut(document) {
        drop_in(&mut operation.selection_set.node, absent);
    }
}

fn drop_in(set: &mut SelectionSet, absent: &[Name]) {
    for selection in &mut set.items {
        match &mut selection.node {
            Selection::Field(field) => {
                let is_given =
                    |value: &Value| !matches!(value, Value::Variable(name) if absent.contains(name));
                field.node.arguments.retain(|(_, value)| is_given(&value.node));
                drop_in(&mut field.node.selection_set.node, absent);
            }
            Selection::InlineFragment(inline) => drop_in(&mut inline.node.selection_set.node, absent),
            Selection::FragmentSpread(_) => {}
        }
    }
}

/// The same for one who judges: what is not used any more, but was, is not defined any more either.
pub fn judged_without(document: &ExecutableDocument, absent: &[Name]) -> ExecutableDocument {
    let mut without = document.clone();
    drop_arguments(&mut without, absent);
    let (before, after) = (used_variables(document), used_variables(&without));
    for operation in operations_mut(&mut without) {
        operation.variable_definitions.retain(|definition| {
            let name = &definition.node.name.node;
            !before.contains(name) || after.contains(name)
        });
    }
    without
}

fn operations_mut(document: &mut ExecutableDocument) -> Vec<&mut OperationDefinition> {
    match &mut document.operations {
        DocumentOperations::Single(operation) => vec![&mut operation.node],
        DocumentOperations::Multiple(named) => {
            named.values_mut().map(|operation| &mut operation.node).collect()
        }
    }
}

/// The variables that stand somewhere in a document without spreads.
fn used_variables(document: &ExecutableDocument) -> HashSet<Name> {
    let mut used = HashSet::new();
    for (_, operation) in document.operations.iter() {
        let operation = &operation.node;
        let directives = operation.directives.iter().flat_map(|directive| &directive.node.arguments);
        directives.for_each(|(_, value)| add_variables(&value.node, &mut used));
        add_used(&operation.selection_set.node, &mut used);
    }
    used
}

fn add_used(set: &SelectionSet, used: &mut HashSet<Name>) {
    for selection in &set.items {
        let directives = selection.node.directives().iter().flat_map(|directive| &directive.node.arguments);
        directives.for_each(|(_, value)| add_variables(&value.node, used));
        match &selection.node {
            Selection::Field(field) => {
                field.node.arguments.iter().for_each(|(_, value)| add_variables(&value.node, used));
                add_used(&field.node.selection_set.node, used);
            }
            Selection::InlineFragment(inline) => add_used(&inline.node.selection_set.node, used),
            Selection::FragmentSpread(_) => {}
        }
    }
}

fn add_variables(value: &Value, used: &mut HashSet<Name>) {
    match value {
        Value::Variable(name) => {
            used.insert(name.clone());
        }
        Value::List(values) => values.iter().for_each(|value| add_variables(value, used)),
        Value::Object(fields) => fields.values().for_each(|value| add_variables(value, used)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::check;
    use super::*;

    fn refusal(text: &str) -> String {
        check(text, None).expect_err(text).message
    }

    /// The selections in one line.
    fn shape(set: &SelectionSet) -> String {
        let one = |selection: &Positioned<Selection>| match &selection.node {
            Selection::Field(field) if field.node.selection_set.node.items.is_empty() => {
                field.node.name.node.to_string()
            }
            Selection::Field(field) => {
                format!("{}{{{}}}", field.node.name.node, shape(&field.node.selection_set.node))
            }
            Selection::InlineFragment(inline) => {
                let on = inline.node.type_condition.as_ref().expect("it was written out");
                let directives = "@".repeat(inline.node.directives.len());
                format!("...{}{directives}{{{}}}", on.node.on.node, shape(&inline.node.selection_set.node))
            }
            Selection::FragmentSpread(spread) => format!("?{}", spread.node.fragment_name.node),
        };
        set.items.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    fn written(text: &str, name: Option<&str>) -> String {
        let checked = check(text, name).expect(text);
        assert!(checked.document.fragments.is_empty() && checked.document.operations.iter().len() == 1);
        shape(super::super::document::only_set(&checked.document))
    }

    #[test]
    fn fragments_stand_where_they_were_spread() {
        let text = "{ a { ...F @skip(if: true) } ...G b { ...F ...X } } \
                    fragment F on A { x ...H } fragment G on Query { c ...G2 } fragment G2 on Query { d { ...H } } \
                    fragment H on A { y }";
        assert_eq!(
            written(text, None),
            "a{...A@{x ...A{y}}} ...Query{c ...Query{d{...A{y}}}} b{...A{x ...A{y}} ?X}"
        );
        let two = "query P { ...F } query Q { b ...G } fragment F on Query { a } fragment G on Query { c }";
        assert_eq!(written(two, Some("P")), "...Query{a}");
        assert_eq!(written(two, Some("Q")), "b ...Query{c}");
    }

    #[test]
    fn what_writing_out_would_hide_is_refused() {
        assert_eq!(refusal("{ a } fragment F on Query { a }"), "fragment `F` is never used");
        let directive = "{ ...F } fragment F on Query @skip(if: true) { a }";
        assert_eq!(refusal(directive), "no directive may stand where fragment `F` is defined");
    }

    #[test]
    fn arguments_without_a_value_are_not_given() {
        let text =
            "query ($n: Int, $m: Int, $k: Int) { a(n: $n, m: $m, l: [$n]) ... { b(n: $n) { c(k: $k) } } }";
        let checked = check(text, None).expect(text);
        let absent = [Name::new("n"), Name::new("k")];
        let judged = judged_without(&checked.document, &absent);
        let (_, operation) = judged.operations.iter().next().expect("one");
        let left: Vec<_> =
            operation.node.variable_definitions.iter().map(|one| one.node.name.node.as_str()).collect();
        assert_eq!(left, ["n", "m"], "k stands nowhere any more, n still in a list");
        let mut run = checked.document.clone();
        drop_arguments(&mut run, &absent);
        let Selection::Field(field) = &super::super::document::only_set(&run).items[0].node else {
            panic!("a field");
        };
        let names: Vec<_> = field.node.arguments.iter().map(|(name, _)| name.node.as_str()).collect();
        assert_eq!(names, ["m", "l"]);
    }
}
