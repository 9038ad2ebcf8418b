//! Owns one question about a document: whether two of its selections are joined under one key of the answer. The
//! executor joins trees of values and cannot join ready JSON, so such a document gets none, and what is joined has to be
//! the same. Pure; it may say yes too often, never too seldom.

use std::collections::HashSet;

use async_graphql::parser::types::{Selection, SelectionSet};

/// Whether a key with selections below it stands twice in one place, also through fragments. Those with names must have
/// been written out.
pub fn merges_selections(set: &SelectionSet) -> bool {
    keys(set).is_none()
}

/// Whether any key stands twice in one place, with selections below it or not.
pub fn repeats_keys(set: &SelectionSet) -> bool {
    fn keys<'a>(set: &'a SelectionSet, all: &mut HashSet<&'a str>) -> bool {
        set.items.iter().all(|selection| match &selection.node {
            Selection::Field(field) => {
                let key = field.node.response_key().node.as_str();
                all.insert(key) && keys(&field.node.selection_set.node, &mut HashSet::new())
            }
            Selection::InlineFragment(inline) => keys(&inline.node.selection_set.node, all),
            Selection::FragmentSpread(_) => true,
        })
    }
    !keys(set, &mut HashSet::new())
}

/// The keys with selections below them that stand in this place; `None` when one of them stands there twice. Every key
/// is there once, so what is given up to the place above is never longer than the document.
fn keys(set: &SelectionSet) -> Option<HashSet<&str>> {
    let mut all = HashSet::new();
    for selection in &set.items {
        match &selection.node {
            Selection::Field(field) if field.node.selection_set.node.items.is_empty() => {}
            Selection::Field(field) => {
                keys(&field.node.selection_set.node)?;
                if !all.insert(field.node.response_key().node.as_str()) {
                    return None;
                }
            }
            Selection::InlineFragment(inline) => {
                for key in keys(&inline.node.selection_set.node)? {
                    if !all.insert(key) {
                        return None;
                    }
                }
            }
            // An unknown one brings nothing; the validation names it.
            Selection::FragmentSpread(_) => {}
        }
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::super::document::check;
    use super::repeats_keys;

    #[test]
    fn repeated_keys_are_seen_with_or_without_selections() {
        let repeats = |text: &str| {
            let checked = check(text, None).expect("the test's document is good");
            repeats_keys(super::super::document::only_set(&checked.document))
        };
        for text in ["{ id id }", "{ a { x b ... { x } } }", "{ x: a ...F } fragment F on Query { x: b }"] {
            assert!(repeats(text), "{text}");
        }
        for text in ["{ id x: id }", "{ a { x } b { x } }", "{ a { ...F } b { ...F } } fragment F on A { x }"]
        {
            assert!(!repeats(text), "{text}");
        }
    }

    fn merges(text: &str) -> bool {
        check(text, None).expect("the test's document is good").merges
    }

    #[test]
    fn a_key_that_stands_twice_in_one_place_is_seen() {
        for text in [
            "{ jobs { id } jobs { state } }",
            "{ r: jobs { id } r: jobs { state } }",
            "{ jobs { id } ... { jobs { state } } }",
            "{ jobs { id } ...F } fragment F on Query { jobs { state } }",
            "{ ...F ...F } fragment F on Query { jobs { state } }",
            "{ a { jobs { id } ...F } } fragment F on A { ...G } fragment G on A { jobs { state } }",
            "{ jobs { id nodes { id } nodes { state } } }",
        ] {
            assert!(merges(text), "{text}");
        }
    }

    #[test]
    fn the_same_key_in_other_places_does_no_harm() {
        for text in [
            "{ id id }",
            "{ jobs { id id } }",
            "{ a: jobs { id } b: jobs { id } }",
            "{ a { ...F } b { ...F } } fragment F on A { jobs { id } }",
            "{ jobs { nodes { attempts { nodes { id } } } } }",
        ] {
            assert!(!merges(text), "{text}");
        }
    }
}
