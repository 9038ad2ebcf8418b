//! Owns one repair: the executor opens a stream for each field that stands directly at the root of a
//! subscription and overlooks those inside fragments. Here the root's fragments are written out and its one
//! field is merged. It must only move selections, never add or lose one.

use std::collections::HashSet;

use async_graphql::Positioned;
use async_graphql::parser::types::{
    Directive, DocumentOperations, ExecutableDocument, OperationDefinition, Selection, SelectionSet,
};

use super::errors::{Code, Refusal};

/// The type that fragments at the root of a subscription are on.
const ROOT_TYPE: &str = "Subscription";

/// Writes out the fragments at the root of the chosen subscription. Refuses when not exactly one field is
/// left. The document must have been weighed: no cycles, bounded expansion.
pub fn lift_root(document: &mut ExecutableDocument, operation_name: Option<&str>) -> Result<(), Refusal> {
    let operation = chosen(&mut document.operations, operation_name);
    let position = operation.pos;
    let set = std::mem::take(&mut operation.node.selection_set.node);
    let (mut items, mut lifted) = (Vec::new(), HashSet::new());
    write_out(document, &set, &[], &mut items, &mut lifted);
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
    chosen(&mut document.operations, operation_name).node.selection_set.node = SelectionSet { items };
    // A fragment that was used at the root only would now be refused as unused.
    let used = used_fragments(document);
    document.fragments.retain(|name, _| used.contains(name.as_str()) || !lifted.contains(name.as_str()));
    Ok(())
}

fn chosen<'a>(
    operations: &'a mut DocumentOperations,
    name: Option<&str>,
) -> &'a mut Positioned<OperationDefinition> {
    match operations {
        DocumentOperations::Single(operation) => operation,
        DocumentOperations::Multiple(named) => match name {
            Some(name) => named.get_mut(name),
            None => named.values_mut().next(),
        }
        .expect("the operation was chosen by this name before"),
    }
}

fn write_out(
    document: &ExecutableDocument,
    set: &SelectionSet,
    inherited: &[Positioned<Directive>],
    items: &mut Vec<Positioned<Selection>>,
    lifted: &mut HashSet<String>,
) {
    for selection in &set.items {
        let directives = [inherited, selection.node.directives()].concat();
        if let Some((inner, name)) = at_root(document, &selection.node) {
            lifted.extend(name.map(str::to_owned));
            write_out(document, inner, &directives, items, lifted);
        } else {
            let mut kept = selection.clone();
            *kept.node.directives_mut() = directives;
            items.push(kept);
        }
    }
}

/// The selections of a fragment that is on the root type, with its name unless it is inline.
fn at_root<'a>(
    document: &'a ExecutableDocument,
    selection: &'a Selection,
) -> Option<(&'a SelectionSet, Option<&'a str>)> {
    let (on, set, name) = match selection {
        Selection::Field(_) => return None,
        Selection::InlineFragment(inline) => {
            let on = inline.node.type_condition.as_ref();
            (on, &inline.node.selection_set.node, None)
        }
        Selection::FragmentSpread(spread) => {
            let name = &spread.node.fragment_name.node;
            let fragment = document.fragments.get(name)?;
            let on = Some(&fragment.node.type_condition);
            (on, &fragment.node.selection_set.node, Some(name.as_str()))
        }
    };
    on.is_none_or(|on| on.node.on.node == ROOT_TYPE).then_some((set, name))
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

/// Names of the fragments that some operation still spreads, directly or through others.
fn used_fragments(document: &ExecutableDocument) -> HashSet<String> {
    let mut used = HashSet::new();
    let mut waiting: Vec<&SelectionSet> =
        document.operations.iter().map(|(_, operation)| &operation.node.selection_set.node).collect();
    while let Some(set) = waiting.pop() {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => waiting.push(&field.node.selection_set.node),
                Selection::InlineFragment(inline) => waiting.push(&inline.node.selection_set.node),
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    if let Some(fragment) = document.fragments.get(name)
                        && used.insert(name.to_string())
                    {
                        waiting.push(&fragment.node.selection_set.node);
                    }
                }
            }
        }
    }
    used
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn lifted(text: &str) -> Result<ExecutableDocument, Code> {
        let mut document = parse_query(text).expect("the test's document is GraphQL");
        lift_root(&mut document, None).map_err(|refusal| refusal.code)?;
        Ok(document)
    }

    fn shape(document: &ExecutableDocument) -> String {
        let (_, operation) = document.operations.iter().next().expect("there is one");
        let items = &operation.node.selection_set.node.items;
        let names = |items: &[Positioned<Selection>]| {
            items
                .iter()
                .map(|item| match &item.node {
                    Selection::Field(field) => field.node.name.node.to_string(),
                    Selection::FragmentSpread(spread) => format!("...{}", spread.node.fragment_name.node),
                    Selection::InlineFragment(_) => "...".to_owned(),
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
        assert_eq!(shape(&document), "e { ...E }");
        assert_eq!(document.fragments.len(), 1);
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
