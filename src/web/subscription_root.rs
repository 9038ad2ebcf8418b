//! Owns one repair: the executor opens a stream for each field that stands directly at the root of a
//! subscription and overlooks those inside fragments. Here the root's fragments are written out and its one
//! field is merged. It must only move selections, never add or lose one.

use async_graphql::Positioned;
use async_graphql::parser::types::{
    Directive, DocumentOperations, ExecutableDocument, OperationDefinition, Selection, SelectionSet,
};

use super::errors::{Code, Refusal};

/// The type that fragments at the root of a subscription are on.
const ROOT_TYPE: &str = "Subscription";

/// Takes the selections out of the fragments at the root of a document's only operation. Refuses when not exactly one
/// field is left. Fragments with names must have been written out.
pub fn lift_root(document: &mut ExecutableDocument) -> Result<(), Refusal> {
    let operation = only(&mut document.operations);
    let position = operation.pos;
    let set = std::mem::take(&mut operation.node.selection_set.node);
    let mut items = Vec::new();
    lift(set, &[], &mut items);
    let items = merged(items);
    let is_one = match items.as_slice() {
        [only] => match &only.node {
            Selection::Field(field) => !field.node.name.node.starts_with("__"),
            // A fragment on a type that is not the root: the validation says so.
            _ => true,
        },
        _ => false,
    };
    if !is_one {
        let message = "a subscription selects exactly one root field";
        return Err(Refusal::new(Code::ValidationFailed, message).at(position));
    }
    only(&mut document.operations).node.selection_set.node = SelectionSet { items };
    Ok(())
}

fn only(operations: &mut DocumentOperations) -> &mut Positioned<OperationDefinition> {
    match operations {
        DocumentOperations::Single(operation) => operation,
        DocumentOperations::Multiple(named) => {
            named.values_mut().next().expect("it was made with one operation")
        }
    }
}

fn lift(set: SelectionSet, inherited: &[Positioned<Directive>], items: &mut Vec<Positioned<Selection>>) {
    for mut selection in set.items {
        let directives = [inherited, selection.node.directives()].concat();
        match selection.node {
            Selection::InlineFragment(inline)
                if inline.node.type_condition.as_ref().is_none_or(|on| on.node.on.node == ROOT_TYPE) =>
            {
                lift(inline.node.selection_set.node, &directives, items);
            }
            _ => {
                *selection.node.directives_mut() = directives;
                items.push(selection);
            }
        }
    }
}

/// Joins equal root fields, as execution would: one stream, all sub-selections.
fn merged(items: Vec<Positioned<Selection>>) -> Vec<Positioned<Selection>> {
    let mut kept: Vec<Positioned<Selection>> = Vec::new();
    for mut item in items {
        let same = kept.iter_mut().find_map(|known| match (&mut known.node, &item.node) {
            (Selection::Field(known), Selection::Field(new))
                if known.node.response_key().node == new.node.response_key().node
                    && known.node.name.node == new.node.name.node
                    && known.node.arguments == new.node.arguments
                    && known.node.directives.is_empty()
                    && new.node.directives.is_empty() =>
            {
                Some(known)
            }
            _ => None,
        });
        match (same, &mut item.node) {
            (Some(known), Selection::Field(new)) => {
                known.node.selection_set.node.items.append(&mut new.node.selection_set.node.items);
            }
            _ => kept.push(item),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::super::document::check;
    use super::*;

    fn lifted(text: &str) -> Result<ExecutableDocument, Code> {
        check(text, None).map(|checked| checked.document).map_err(|refusal| refusal.code)
    }

    fn shape(document: &ExecutableDocument) -> String {
        let (_, operation) = document.operations.iter().next().expect("there is one");
        let items = &operation.node.selection_set.node.items;
        let names = |items: &[Positioned<Selection>]| {
            items
                .iter()
                .map(|item| match &item.node {
                    Selection::Field(field) => field.node.name.node.to_string(),
                    _ => "...".to_owned(),
                })
                .collect::<Vec<_>>()
                .join(" ")
        };
        match &items[0].node {
            Selection::Field(field) => {
                format!("{} {{ {} }}", names(items), names(&field.node.selection_set.node.items))
            }
            _ => names(items),
        }
    }

    #[test]
    fn fragments_at_the_root_are_written_out() {
        for text in [
            "subscription { events { a b } }",
            "subscription { ...F } fragment F on Subscription { events { a b } }",
            "subscription { ... on Subscription { ... { events { a b } } } }",
            "subscription { events { a } ...F } fragment F on Subscription { events { b } }",
            "subscription { ...G } fragment G on Subscription { ...F } fragment F on Subscription { events { a b } }",
        ] {
            let document = lifted(text).expect("it has one root field");
            assert_eq!(shape(&document), "events { a b }", "{text}");
            assert!(document.fragments.is_empty(), "{text}");
        }
    }

    #[test]
    fn fragments_below_the_root_stay() {
        let document =
            lifted("subscription { ...F } fragment F on Subscription { e { ...E } } fragment E on E { a }")
                .expect("it has one root field");
        assert_eq!(shape(&document), "e { ... }");
    }

    #[test]
    fn two_root_fields_or_only_a_type_name_are_refused() {
        for text in [
            "subscription { a b }",
            "subscription { a ...F } fragment F on Subscription { b }",
            "subscription { a x: a }",
            "subscription { a(n: 1) a(n: 2) }",
            "subscription { __typename }",
        ] {
            assert_eq!(lifted(text).unwrap_err(), Code::ValidationFailed, "{text}");
        }
    }
}
