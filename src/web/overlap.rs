//! Owns one rule of the specification (5.3.2): fields that are answered under one key are the same field with the same
//! arguments wherever they can meet on one object. The executor's own rule overlooks fragments. It must never compare every
//! field with every other: each goes with the first of its group.
//! That fields of objects that exclude each other have the same shape, which the rule asks for too, is not asked here: no
//! answer is wrong without it, and the feed of the dashboard tells of things of every kind by one document.

use std::collections::BTreeMap;

use async_graphql::Positioned;
use async_graphql::parser::types::{ExecutableDocument, Field, Selection, SelectionSet};

use super::errors::{Code, Refusal};
use super::limits::OVERLAP_STEPS_MAX;
use super::outputs::{Output, Outputs, named};

/// Refuses the first two fields that cannot be answered under their one key. The document's fragments have been written
/// out: a spread that is left is not known, and overlooked like all that is not.
pub fn check_overlaps(document: &ExecutableDocument, outputs: &Outputs) -> Result<(), Refusal> {
    for (_, operation) in document.operations.iter() {
        let operation = &operation.node;
        let Some(root) = outputs.root(operation.ty) else { continue };
        let mut overlaps = Overlaps { outputs, steps: 0 };
        overlaps.fields(vec![(root, &operation.selection_set.node)])?;
    }
    Ok(())
}

struct Overlaps<'a> {
    outputs: &'a Outputs,
    steps: u64,
}

/// Selections that are answered in one place, each with the type that it selects from.
type Joined<'a> = Vec<(&'a str, &'a SelectionSet)>;

/// The fields of one place by their keys. Sorted, so that the same document is always refused in the same words.
type ByKey<'a> = BTreeMap<&'a str, Vec<Placed<'a>>>;

/// A field where it stands.
#[derive(Clone, Copy)]
struct Placed<'a> {
    field: &'a Positioned<Field>,
    /// The type that it is selected from.
    parent: &'a str,
    output: &'a Output,
}

impl<'a> Overlaps<'a> {
    /// What can meet on one object is the same field with the same arguments, and so is what is joined below it.
    fn fields(&mut self, root: Joined<'a>) -> Result<(), Refusal> {
        let mut open = vec![root];
        while let Some(joined) = open.pop() {
            for (key, fields) in self.by_key(joined)? {
                for group in self.by_object(fields) {
                    if let [first, others @ ..] = group.as_slice() {
                        for other in others {
                            self.step()?;
                            same_field(key, first, other)?;
                        }
                    }
                    open.push(below(&group));
                }
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), Refusal> {
        self.steps += 1;
        if self.steps > OVERLAP_STEPS_MAX {
            let message = "the document selects too many fields of interfaces beside those of their objects";
            return Err(Refusal::new(Code::TooLarge, message));
        }
        Ok(())
    }

    fn by_key(&mut self, joined: Joined<'a>) -> Result<ByKey<'a>, Refusal> {
        let mut fields = ByKey::new();
        for (parent, set) in joined {
            self.collect(parent, set, &mut fields)?;
        }
        Ok(fields)
    }

    /// Recursion is bounded by how deep the document nests fragments.
    fn collect(
        &mut self,
        parent: &'a str,
        set: &'a SelectionSet,
        fields: &mut ByKey<'a>,
    ) -> Result<(), Refusal> {
        for selection in &set.items {
            self.step()?;
            match &selection.node {
                Selection::Field(field) => {
                    if let Some(output) = self.outputs.field(parent, &field.node.name.node) {
                        let key = field.node.response_key().node.as_str();
                        fields.entry(key).or_default().push(Placed { field, parent, output });
                    }
                }
                Selection::InlineFragment(inline) => {
                    let condition = inline.node.type_condition.as_ref();
                    let on = condition.map_or(parent, |condition| condition.node.on.node.as_str());
                    self.collect(on, &inline.node.selection_set.node, fields)?;
                }
                Selection::FragmentSpread(_) => {}
            }
        }
        Ok(())
    }

    /// Groups of fields that can meet on one object: those of each object type, with those of interfaces and unions.
    /// Fields of two object types never meet.
    fn by_object(&self, fields: Vec<Placed<'a>>) -> Vec<Vec<Placed<'a>>> {
        let (of_objects, of_any): (Vec<_>, Vec<_>) =
            fields.into_iter().partition(|placed| self.outputs.is_object(placed.parent));
        let mut groups: BTreeMap<&str, Vec<Placed<'a>>> = BTreeMap::new();
        for placed in of_objects {
            groups.entry(placed.parent).or_insert_with(|| of_any.clone()).push(placed);
        }
        if groups.is_empty() {
            return vec![of_any];
        }
        groups.into_values().collect()
    }
}

/// What is selected below fields that are answered as one.
fn below<'a>(fields: &[Placed<'a>]) -> Joined<'a> {
    let below = |placed: &Placed<'a>| (named(&placed.output.kind), &placed.field.node.selection_set.node);
    fields.iter().map(below).collect()
}

fn same_field(key: &str, first: &Placed<'_>, other: &Placed<'_>) -> Result<(), Refusal> {
    let (one, two) = (&first.field.node, &other.field.node);
    if one.name.node != two.name.node {
        let message = format!("fields `{}` and `{}` are both answered as `{key}`", one.name, two.name);
        return Err(refused(message, first, other));
    }
    if have_same_arguments(one, two) {
        return Ok(());
    }
    Err(refused(format!("fields `{key}` in one place have different arguments"), first, other))
}

/// In whatever order they stand.
pub(super) fn have_same_arguments<'a>(one: &'a Field, other: &'a Field) -> bool {
    let by_name = |field: &'a Field| -> BTreeMap<&'a str, _> {
        field.arguments.iter().map(|(name, value)| (name.node.as_str(), &value.node)).collect()
    };
    one.arguments == other.arguments || by_name(one) == by_name(other)
}

/// At the later of the two.
fn refused(what: String, first: &Placed<'_>, other: &Placed<'_>) -> Refusal {
    let message = format!("{what}: give one of them another alias");
    Refusal::new(Code::ValidationFailed, message).at(first.field.pos.max(other.field.pos))
}

#[cfg(test)]
mod tests {
    use async_graphql::Pos;
    use async_graphql::parser::parse_query;

    use super::*;

    const SDL: &str = "interface Node { id: ID! }
        interface Linked { link(after: ID): Linked name: String }
        union Thing = Job | Task
        type Job implements Node & Linked {
            id: ID! name: String note: String state: String! count: Int! labels: [String!]!
            link(after: ID): Linked next(after: ID, deep: Boolean): Job task: Task!
        }
        type Task implements Node & Linked {
            id: ID! name: String note: String count: String! labels: [String]!
            link(after: ID): Linked next(after: ID): Task job: Job!
        }
        type Jobs { nodes: [Job!]! totalCount: Int! }
        type Query { jobs(first: Int): Jobs! job(id: ID): Job node: Node thing: Thing linked: Linked }";

    fn refusal(text: &str) -> Option<Refusal> {
        let document = parse_query(text).expect("the test's document is GraphQL");
        check_overlaps(&document, &Outputs::of(SDL)).err()
    }

    fn assert_refused(cases: &[(&str, &str)]) {
        for &(text, expected) in cases {
            let refusal = refusal(text).expect(text);
            assert_eq!((refusal.code, refusal.locations.len()), (Code::ValidationFailed, 1), "{text}");
            assert!(refusal.message.contains(expected), "{text}: {}", refusal.message);
        }
    }

    #[test]
    fn equal_fields_are_joined() {
        for text in [
            "{ jobs { nodes { id } } jobs { nodes { state id } totalCount } }",
            "{ job(id: \"a\") { id } ... on Query { job(id: \"a\") { state } } ... { job(id: \"a\") { id } } }",
            "{ job { next(after: 1, deep: true) { id } next(deep: true, after: 1) { name } } }",
            "query ($v: ID) { job(id: $v) { id } job(id: $v) { id } }",
            "{ a: job(id: 1) { id } b: job(id: 2) { id } }",
            "{ job { a: id b: id a: id } }",
            "{ node { id ... on Job { id } ... on Task { id __typename } __typename } }",
            "{ a: __typename ... on Query { a: __typename } __schema { types { name name } } }",
            "mutation { a: b a: c }",
        ] {
            assert!(refusal(text).is_none(), "{text}");
        }
    }

    #[test]
    fn objects_that_exclude_each_other_may_differ() {
        for text in [
            "{ node { ... on Job { x: name } ... on Task { x: note } } }",
            "{ node { ... on Job { x: name } ... on Task { x: count } } }",
            "{ thing { ... on Job { x: task { id } } ... on Task { x: count } } }",
            "{ thing { ... on Job { x: next(after: 1) { id } } ... on Task { x: next(after: 2) { id } } } }",
            "{ thing { ... on Job { x: task { y: name } } ... on Task { x: job { y: note } } } }",
            "{ linked { link { name } ... on Job { link { ... on Job { x: name } } }
                ... on Task { link { ... on Job { x: note } } } } }",
        ] {
            assert!(refusal(text).is_none(), "{text}");
        }
    }

    #[test]
    fn what_is_unknown_is_left_to_the_validation() {
        for text in [
            "{ x: nothing(a: 1) { y: a } x: nothing(a: 2) { y: b } }",
            "{ x: nothing x: other job { id } }",
            "{ ... on Nothing { x: __typename x: id } ...Nothing }",
            "{ __schema { x: types { name } x: directives { name } } }",
            "{ job { id { x: name x: note } } }",
        ] {
            assert!(refusal(text).is_none(), "{text}");
        }
    }

    #[test]
    fn other_arguments_are_refused() {
        let message = "in one place have different arguments: give one of them another alias";
        assert_refused(&[
            ("{ a: job(id: 1) { id } ... on Query { a: job(id: 2) { state } } }", message),
            ("{ job { next { id } next(after: 1) { id } } }", message),
            ("{ job { next(after: 1) { id } next(deep: true) { id } } }", message),
            ("{ job { next(after: 1, deep: true) { id } next(deep: false, after: 1) { id } } }", message),
            ("query ($v: ID, $w: ID) { job(id: $v) { id } job(id: $w) { id } }", message),
            ("query ($v: ID) { job(id: $v) { id } job(id: 1) { id } }", message),
            ("{ linked { link { name } ... on Job { link(after: 1) { name } } } }", message),
        ]);
    }

    #[test]
    fn other_fields_under_one_key_are_refused() {
        assert_refused(&[
            (
                "{ jobs { nodes { x: id ... on Job { x: state } } } }",
                "fields `id` and `state` are both answered as `x`: give one of them another alias",
            ),
            ("{ job { name name: note } }", "`name` and `note` are both answered as `name`"),
            ("{ node { id ... on Job { id: name } } }", "`id` and `name`"),
            ("{ node { ... on Job { id: name } id } }", "`id` and `name`"),
            ("{ thing { x: __typename ... on Job { x: state } } }", "`__typename` and `state`"),
            ("{ a: __typename a: jobs { totalCount } }", "`__typename` and `jobs`"),
            ("{ a: __schema { b } a: __type(name: \"Job\") { b } }", "`__schema` and `__type`"),
            (
                "{ linked { link { ... on Job { x: name } } ... on Job { link { ... on Job { x: note } } } } }",
                "are both answered as `x`",
            ),
        ]);
    }

    #[test]
    fn conflicts_are_found_levels_down() {
        assert_refused(&[
            ("{ job { next { a: name } } ... { job { next { a: note } } } }", "`name` and `note`"),
            (
                "{ jobs { nodes { next { next(after: 1) { id } } } }
                   jobs { nodes { ... on Job { next { ... { next(after: 2) { id } } } } } } }",
                "fields `next` in one place have different arguments",
            ),
            ("{ node { ... on Job { task { job { x: name ... { x: note } } } } } }", "`name` and `note`"),
        ]);
    }

    #[test]
    fn the_refusal_says_where() {
        for text in
            ["{ a: job(id: 1) { id }\n a: job(id: 2) { id } }", "{ node { ... on Job { id: name }\n id } }"]
        {
            assert_eq!(refusal(text).unwrap().locations, [Pos { line: 2, column: 2 }], "{text}");
        }
    }

    #[test]
    fn thousands_of_equal_fields_are_checked() {
        let fields = "a: job(id: 1) { id name } ".repeat(1_600);
        assert!(refusal(&format!("{{ {fields} }}")).is_none());
        assert!(refusal(&format!("{{ {fields} ... {{ a: job(id: 1) {{ id: name }} }} }}")).is_some());
        let fields = "id ... on Job { id } ... on Task { id } ".repeat(900);
        assert!(refusal(&format!("{{ node {{ {fields} }} }}")).is_none());
        assert!(refusal(&format!("{{ node {{ {fields} ... on Task {{ id: name }} }} }}")).is_some());
        let fields = "next { id } ".repeat(2_400);
        assert!(refusal(&format!("{{ job {{ {fields} }} }}")).is_none());
    }

    #[test]
    fn what_interfaces_multiply_is_bounded() {
        let nested = |depth: usize| {
            let level = |below: String, _| {
                let objects = "... on Job { link { name } } ... on Task { link { name } }";
                format!("link {{ {below} }} {objects}")
            };
            format!("{{ linked {{ {} }} }}", (0..depth).fold("name".to_owned(), level))
        };
        assert!(refusal(&nested(4)).is_none());
        assert_eq!(refusal(&nested(24)).unwrap().code, Code::TooLarge);
    }
}
