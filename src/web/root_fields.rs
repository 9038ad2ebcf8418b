//! Owns two repairs at the root of an operation. The executor opens a stream for each field that stands directly at the
//! root of a subscription and overlooks those inside fragments; and it runs a mutation's field as often as it is
//! written, where execution by the specification joins equal ones. Here fragments at the root are written out and equal
//! fields become one. It must only move selections, never add or lose one.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use async_graphql::parser::types::{
    Directive, DocumentOperations, ExecutableDocument, Field, OperationDefinition, Selection, SelectionSet,
};
use async_graphql::{Name, Pos, Positioned};

use super::document::few_directives;
use super::errors::{Code, Refusal};
use super::overlap::have_same_arguments;

/// Takes the selections out of the fragments at the root of a subscription, the document's only operation. Refuses when
/// not exactly one field is left. Fragments with names must have been written out.
pub fn lift_root(document: &mut ExecutableDocument) -> Result<(), Refusal> {
    let operation = only(&mut document.operations);
    let position = operation.pos;
    let set = std::mem::take(&mut operation.node.selection_set.node);
    let items = joined(set, &LIFT_ALL)?;
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

/// Joins equal fields at the root of a mutation, the document's only operation, so that each runs once. Refuses what would
/// run twice under one key all the same. Fragments with names must have been written out.
pub fn join_roots(document: &mut ExecutableDocument) -> Result<(), Refusal> {
    let set = std::mem::take(&mut only(&mut document.operations).node.selection_set.node);
    let items = joined(set, &JOIN)?;
    if let Some((key, position)) = repeated(&items, &mut HashSet::new()) {
        let message =
            format!("`{key}` stands twice at the root of a mutation: give each an alias of its own");
        return Err(Refusal::new(Code::ValidationFailed, message).at(position));
    }
    only(&mut document.operations).node.selection_set.node = SelectionSet { items };
    Ok(())
}

/// A key that stands twice in one place, with the place of the second. That of a type's name runs nothing.
fn repeated<'a>(items: &'a [Positioned<Selection>], keys: &mut HashSet<&'a Name>) -> Option<(&'a Name, Pos)> {
    items.iter().find_map(|item| match &item.node {
        Selection::Field(field) if field.node.name.node == "__typename" => None,
        Selection::Field(field) => {
            let key = &field.node.response_key().node;
            (!keys.insert(key)).then_some((key, item.pos))
        }
        Selection::InlineFragment(inline) => repeated(&inline.node.selection_set.node.items, keys),
        Selection::FragmentSpread(_) => None,
    })
}

fn only(operations: &mut DocumentOperations) -> &mut Positioned<OperationDefinition> {
    match operations {
        DocumentOperations::Single(operation) => operation,
        DocumentOperations::Multiple(named) => {
            named.values_mut().next().expect("it was made with one operation")
        }
    }
}

/// What becomes of the fragments at a root.
struct Way {
    /// The type of the root.
    root: &'static str,
    /// Whether those with directives are written out too, each selection with all of them.
    lifts_directed: bool,
}

const LIFT_ALL: Way = Way { root: "Subscription", lifts_directed: true };
/// A directive may stand on a fragment and on a field in it, but not twice on the field.
const JOIN: Way = Way { root: "Mutation", lifts_directed: false };

fn joined(set: SelectionSet, way: &Way) -> Result<Vec<Positioned<Selection>>, Refusal> {
    let mut items = Vec::new();
    lift(set, way, &[], &mut items)?;
    Ok(merged(items))
}

/// The selections of a set and of the fragments on the root in it, with the directives of the fragments around them.
fn lift(
    set: SelectionSet,
    way: &Way,
    inherited: &[Positioned<Directive>],
    items: &mut Vec<Positioned<Selection>>,
) -> Result<(), Refusal> {
    for mut selection in set.items {
        // Counted before they are copied for each selection below.
        few_directives(inherited.len() + selection.node.directives().len())?;
        let directives = [inherited, selection.node.directives()].concat();
        if let Selection::InlineFragment(inline) = &mut selection.node
            && inline.node.type_condition.as_ref().is_none_or(|on| on.node.on.node == way.root)
        {
            let inner = std::mem::take(&mut inline.node.selection_set.node);
            if way.lifts_directed || directives.is_empty() {
                lift(inner, way, &directives, items)?;
                continue;
            }
            inline.node.selection_set.node.items = joined(inner, way)?;
        }
        *selection.node.directives_mut() = directives;
        items.push(selection);
    }
    Ok(())
}

/// Joins equal root fields, as execution would: each runs once, with all sub-selections.
fn merged(items: Vec<Positioned<Selection>>) -> Vec<Positioned<Selection>> {
    let mut kept: Vec<Positioned<Selection>> = Vec::new();
    let mut places: HashMap<Name, usize> = HashMap::new();
    for mut item in items {
        if let Selection::Field(new) = &mut item.node {
            match places.entry(new.node.response_key().node.clone()) {
                Entry::Vacant(place) => {
                    place.insert(kept.len());
                }
                Entry::Occupied(place) => {
                    if let Selection::Field(known) = &mut kept[*place.get()].node
                        && are_equal(&known.node, &new.node)
                    {
                        let selections = &mut known.node.selection_set.node.items;
                        selections.append(&mut new.node.selection_set.node.items);
                        continue;
                    }
                }
            }
        }
        kept.push(item);
    }
    kept
}

/// Whether two fields under one key are the same whatever the variables are.
fn are_equal(known: &Field, new: &Field) -> bool {
    let is_leaf = |field: &Field| field.selection_set.node.items.is_empty();
    known.name.node == new.name.node
        && have_same_arguments(known, new)
        // A mixture of both is invalid, and must not become good here.
        && is_leaf(known) == is_leaf(new)
        && known.directives.is_empty()
        && new.directives.is_empty()
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
    fn equal_fields_of_a_mutation_run_once() {
        for text in [
            "mutation { put { a b } }",
            "mutation { put { a } put { b } }",
            "mutation { put { a } ... on Mutation { ... { put { b } } } }",
            "mutation { put(x: 1, y: [2]) { a } put(y: [2], x: 1) { b } }",
            "mutation { ...A ...B } fragment A on Mutation { put { a } } fragment B on Mutation { put { b } }",
        ] {
            let document = lifted(text).expect("its fields are joined");
            assert_eq!(shape(&document), "put { a b }", "{text}");
        }
        assert_eq!(
            shape(&lifted("mutation { ... @include(if: true) { put { a } put { b } } }").unwrap()),
            "..."
        );
        let spreads = "...F ".repeat(300);
        let many = format!("mutation {{ {spreads} }} fragment F on Mutation {{ put {{ a }} }}");
        let document = lifted(&many).expect("its fields are joined");
        let (_, operation) = document.operations.iter().next().expect("there is one");
        assert_eq!(operation.node.selection_set.node.items.len(), 1);
    }

    #[test]
    fn what_would_run_twice_under_one_key_is_refused() {
        for text in [
            "mutation { put { a } put @skip(if: false) { a } }",
            "mutation($v: Boolean!) { put { a } ... @include(if: $v) { put { a } } }",
            "mutation($v: Boolean!) { ... @include(if: $v) { put { a } } ... @skip(if: $v) { put { a } } }",
            "mutation($v: Boolean!) { ... @include(if: $v) { put { a } put @skip(if: $v) { b } } }",
            "mutation { put(n: 1) { a } put(n: 2) { a } }",
            "mutation { x: put { a } x: drop { a } }",
            "mutation { put { a } put }",
        ] {
            assert_eq!(lifted(text).unwrap_err(), Code::ValidationFailed, "{text}");
        }
        for text in [
            "mutation { put { a } x: put { a } }",
            "mutation($v: Boolean!) { ... @include(if: $v) { put { a } __typename } ... @skip(if: $v) { drop { a } __typename } }",
        ] {
            assert!(lifted(text).is_ok(), "{text}");
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
    fn directives_around_the_root_are_counted_for_each_field() {
        let around = |levels: usize| {
            let (open, close) = ("... @include(if: true) { ".repeat(levels), " }".repeat(levels));
            lifted(&format!("subscription {{ {open} events {{ a }} {close} }}"))
                .map(|document| shape(&document))
        };
        assert_eq!(around(8).unwrap(), "events { a }");
        assert_eq!(around(9).unwrap_err(), Code::TooLarge);
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
