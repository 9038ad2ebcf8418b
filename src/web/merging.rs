//! Owns one question about a document: whether two of its selections are joined under one key of the answer. The
//! executor joins trees of values and cannot join ready JSON, so such a document gets none. Pure; it may say yes too
//! often, never too seldom.

use std::collections::{HashMap, HashSet};

use async_graphql::parser::types::{ExecutableDocument, Selection, SelectionSet};

/// Whether a key with selections below it stands twice in one place, also through fragments.
pub fn merges_selections(document: &ExecutableDocument) -> bool {
    let mut look = Look { document, keys_of: HashMap::new() };
    let operations = document.operations.iter().map(|(_, operation)| &operation.node.selection_set.node);
    let fragments = document.fragments.values().map(|fragment| &fragment.node.selection_set.node);
    operations.chain(fragments).any(|set| look.set(set).is_none())
}

struct Look<'a> {
    document: &'a ExecutableDocument,
    /// Of each fragment, the keys that it brings to the place where it is spread.
    keys_of: HashMap<&'a str, Vec<&'a str>>,
}

impl<'a> Look<'a> {
    /// The keys with selections below them that stand in this place; `None` when one of them stands there twice. Every
    /// key is there once, so what is given up to the place above is never longer than the document. The document has
    /// been weighed: no cycles, bounded depth.
    fn set(&mut self, set: &'a SelectionSet) -> Option<Vec<&'a str>> {
        let mut keys = HashSet::new();
        for selection in &set.items {
            let brought = match &selection.node {
                Selection::Field(field) if field.node.selection_set.node.items.is_empty() => continue,
                Selection::Field(field) => {
                    self.set(&field.node.selection_set.node)?;
                    vec![field.node.response_key().node.as_str()]
                }
                Selection::InlineFragment(inline) => self.set(&inline.node.selection_set.node)?,
                Selection::FragmentSpread(spread) => {
                    self.fragment(spread.node.fragment_name.node.as_str())?
                }
            };
            for key in brought {
                if !keys.insert(key) {
                    return None;
                }
            }
        }
        Some(keys.into_iter().collect())
    }

    fn fragment(&mut self, name: &'a str) -> Option<Vec<&'a str>> {
        if let Some(keys) = self.keys_of.get(name) {
            return Some(keys.clone());
        }
        // An unknown fragment brings nothing; the validation names it.
        let Some(fragment) = self.document.fragments.get(name) else { return Some(Vec::new()) };
        let keys = self.set(&fragment.node.selection_set.node)?;
        self.keys_of.insert(name, keys.clone());
        Some(keys)
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn merges(text: &str) -> bool {
        merges_selections(&parse_query(text).expect("the test's document is GraphQL"))
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
            "{ a } fragment F on A { b { x } b { y } }",
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
            "query A { jobs { id } } query B { jobs { id } }",
            "{ jobs { nodes { attempts { nodes { id } } } } }",
        ] {
            assert!(!merges(text), "{text}");
        }
    }

    #[test]
    fn a_fragment_bomb_ends_at_once() {
        let mut text = "{ ...F0 }".to_owned();
        for level in 0..30 {
            let next = level + 1;
            text.extend([format!(" fragment F{level} on Query {{ ...F{next} ...F{next} }}")]);
        }
        // With nothing below a key there is nothing to join, however often it is spread.
        assert!(!merges(&(text.clone() + " fragment F30 on Query { a }")));
        assert!(merges(&(text + " fragment F30 on Query { a { b } }")));
    }
}
