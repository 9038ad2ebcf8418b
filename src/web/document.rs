//! Owns what is known of a document from its text alone, before the executor walks it: how far its fragments expand,
//! which operation is meant, which root fields it touches, which variables it takes. What comes out holds that one
//! operation, and no fragment that has a name.
//! Pure. It must never walk an expanded tree: every fragment is weighed once. It must never look at the values of
//! variables: what it finds is kept for the next request with the same text.

use std::collections::{HashMap, HashSet};

use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, OperationDefinition, OperationType, Selection, SelectionSet,
    VariableDefinition,
};
use async_graphql::parser::{Error as SyntaxError, parse_query};
use async_graphql::{Name, Positioned};
use async_graphql_value::Value;

use super::errors::{Code, Refusal};
use super::lexical::scan;
use super::limits::{
    ALIASES_MAX, DIRECTIVES_MAX, EXPANDED_DEPTH_MAX, EXPANDED_MAX, FRAGMENT_DEPTH_MAX, LITERAL_BYTES_MAX,
    MUTATIONS_MAX, OPERATIONS_MAX, SELECTION_BYTES, VALUE_BYTES, VALUES_MAX, VARIABLES_MAX,
};
use super::merging::merges_selections;
use super::root_fields::{join_roots, lift_root};
use super::spreads::{check_fragments, document_of};

/// A document that may be handed to the executor.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The operation that will run, with its fragments written out. Parsed once; the executor does not see the text's
    /// brackets again.
    pub document: ExecutableDocument,
    /// Whether the text holds other operations.
    pub has_others: bool,
    /// What the operation takes in memory, by an estimate on the safe side.
    pub bytes: u64,
    /// Kind of the operation that will run.
    pub operation_type: OperationType,
    /// Names of the root fields of that operation, also through fragments; without introspection, each once.
    pub root_fields: Vec<String>,
    /// The variables of that operation.
    pub variables: Vec<Positioned<VariableDefinition>>,
    /// Whether selections of two places have to be joined in the answer, which cannot be done with ready JSON.
    pub merges: bool,
}

/// Reads and judges a document in the order that keeps each step harmless: scan, parse, weigh, choose, write out.
pub fn check(text: &str, operation_name: Option<&str>) -> Result<Checked, Refusal> {
    let (whole, weight) = read(text)?;
    let (name, operation) = chosen(&whole.operations, operation_name)?;
    let mut document = document_of(&whole, operation, name);
    let operation_type = operation.node.ty;
    let roots = roots(only_set(&document));
    if operation_type == OperationType::Mutation && roots.count > MUTATIONS_MAX {
        return Err(too_large(format!("a mutation has at most {MUTATIONS_MAX} root fields")));
    }
    let variables = operation.node.variable_definitions.clone();
    let root_fields = roots.names.into_iter().map(str::to_owned).collect();
    match operation_type {
        OperationType::Query => {}
        OperationType::Mutation => join_roots(&mut document)?,
        OperationType::Subscription => lift_root(&mut document)?,
    }
    let merges = merges_selections(only_set(&document));
    let has_others = whole.operations.iter().len() > 1;
    let bytes = weight.selections * SELECTION_BYTES + weight.values * VALUE_BYTES + weight.literal_bytes;
    Ok(Checked { document, has_others, bytes, operation_type, root_fields, variables, merges })
}

/// The other operations of a document, each in a document of its own, with its variables: nobody runs them, but a
/// document is good as a whole or not at all.
pub fn others(text: &str, operation_name: Option<&str>) -> Result<Vec<ExecutableDocument>, Refusal> {
    let (whole, _) = read(text)?;
    let (chosen, _) = chosen(&whole.operations, operation_name)?;
    let others = whole.operations.iter().filter(|(name, _)| *name != chosen);
    Ok(others.map(|(name, operation)| document_of(&whole, operation, name)).collect())
}

fn read(text: &str) -> Result<(ExecutableDocument, Weight), Refusal> {
    scan(text)?;
    let document = parse_query(text).map_err(syntax_refusal)?;
    let weight = weigh(&document)?;
    check_fragments(&document)?;
    Ok((document, weight))
}

/// The selections of the one operation of a document that was written out.
pub fn only_set(document: &ExecutableDocument) -> &SelectionSet {
    let (_, operation) = document.operations.iter().next().expect("it was made with one operation");
    &operation.node.selection_set.node
}

fn too_large(message: String) -> Refusal {
    Refusal::new(Code::TooLarge, message)
}

/// The parser's message quotes the whole line; only what it expected is kept.
fn syntax_refusal(error: SyntaxError) -> Refusal {
    let message = match &error {
        SyntaxError::Syntax { message, .. } => {
            message.rsplit_once("= ").map_or("unexpected text", |(_, expected)| expected).to_owned()
        }
        other => other.to_string(),
    };
    let mut refusal = Refusal::new(Code::ParseFailed, format!("syntax error: {message}"));
    refusal.locations = error.positions().collect();
    refusal
}

/// How much a piece of a document becomes when its fragments are written out.
#[derive(Debug, Clone, Copy, Default)]
struct Weight {
    selections: u64,
    /// Sets within sets.
    depth: usize,
    aliases: u64,
    /// Of arguments, those inside lists and objects too.
    values: u64,
    /// Bytes of the texts among them: each place has its own.
    literal_bytes: u64,
}

impl Weight {
    fn add(&mut self, other: Weight) {
        self.selections = self.selections.saturating_add(other.selections);
        self.depth = self.depth.max(other.depth);
        self.aliases = self.aliases.saturating_add(other.aliases);
        self.values = self.values.saturating_add(other.values);
        self.literal_bytes = self.literal_bytes.saturating_add(other.literal_bytes);
    }

    fn add_arguments(&mut self, arguments: &[(Positioned<Name>, Positioned<Value>)]) {
        for (_, value) in arguments {
            self.add_value(&value.node);
        }
    }

    fn add_value(&mut self, value: &Value) {
        self.values = self.values.saturating_add(1);
        match value {
            Value::List(items) => items.iter().for_each(|item| self.add_value(item)),
            Value::Object(fields) => fields.values().for_each(|field| self.add_value(field)),
            Value::String(text) => {
                self.literal_bytes = self.literal_bytes.saturating_add(text.len() as u64);
            }
            _ => {}
        }
    }
}

struct Scales<'a> {
    document: &'a ExecutableDocument,
    known: HashMap<&'a str, Weight>,
    open: Vec<&'a str>,
    /// Sets around the one that is weighed.
    depth: usize,
}

/// What a document weighs when its fragments are written out.
fn weigh(document: &ExecutableDocument) -> Result<Weight, Refusal> {
    let operations = document.operations.iter().len();
    if operations > OPERATIONS_MAX {
        return Err(too_large(format!("a document has at most {OPERATIONS_MAX} operations")));
    }
    let mut scales = Scales { document, known: HashMap::new(), open: Vec::new(), depth: 0 };
    let (mut total, mut variables) = (Weight::default(), 0);
    for (_, operation) in document.operations.iter() {
        let operation = &operation.node;
        few_directives(operation.directives.len())?;
        variables += operation.variable_definitions.len();
        for variable in &operation.variable_definitions {
            few_directives(variable.node.directives.len())?;
        }
        total.add(scales.set(&operation.selection_set.node)?);
    }
    if variables > VARIABLES_MAX {
        return Err(too_large(format!("a document has at most {VARIABLES_MAX} variables")));
    }
    // Fragments that nothing spreads are walked by the validation too.
    for name in document.fragments.keys() {
        scales.fragment(name)?;
    }
    if total.selections > EXPANDED_MAX {
        return Err(too_large(format!(
            "the document selects more than {EXPANDED_MAX} fields once its fragments are written out"
        )));
    }
    if total.aliases > ALIASES_MAX {
        return Err(too_large(format!("the document has more than {ALIASES_MAX} aliases")));
    }
    if total.values > VALUES_MAX {
        return Err(too_large(format!(
            "the document gives more than {VALUES_MAX} values once its fragments are written out"
        )));
    }
    if total.literal_bytes > LITERAL_BYTES_MAX {
        return Err(too_large(format!(
            "the document gives texts of more than {LITERAL_BYTES_MAX} bytes once its fragments are written out"
        )));
    }
    Ok(total)
}

fn bearable(depth: usize) -> Result<(), Refusal> {
    if depth > EXPANDED_DEPTH_MAX {
        return Err(too_large(format!(
            "selections nest at most {EXPANDED_DEPTH_MAX} deep once the fragments are written out"
        )));
    }
    Ok(())
}

/// One place may have so many.
pub(super) fn few_directives(count: usize) -> Result<(), Refusal> {
    if count > DIRECTIVES_MAX {
        return Err(too_large(format!("one place has at most {DIRECTIVES_MAX} directives")));
    }
    Ok(())
}

impl<'a> Scales<'a> {
    /// Recursion is bounded, here and for all who walk the document written out.
    fn set(&mut self, set: &'a SelectionSet) -> Result<Weight, Refusal> {
        self.depth += 1;
        let mut weight = Weight::default();
        bearable(self.depth)?;
        for selection in &set.items {
            let directives = selection.node.directives();
            few_directives(directives.len())?;
            weight.selections = weight.selections.saturating_add(1);
            for directive in directives {
                weight.add_arguments(&directive.node.arguments);
            }
            let inner = match &selection.node {
                Selection::Field(field) => {
                    weight.aliases = weight.aliases.saturating_add(u64::from(field.node.alias.is_some()));
                    weight.add_arguments(&field.node.arguments);
                    self.set(&field.node.selection_set.node)?
                }
                Selection::InlineFragment(inline) => self.set(&inline.node.selection_set.node)?,
                Selection::FragmentSpread(spread) => self.fragment(&spread.node.fragment_name.node)?,
            };
            bearable(self.depth + inner.depth)?;
            weight.add(inner);
        }
        self.depth -= 1;
        weight.depth += 1;
        Ok(weight)
    }

    fn fragment(&mut self, name: &'a str) -> Result<Weight, Refusal> {
        if let Some(weight) = self.known.get(name) {
            return Ok(*weight);
        }
        // An unknown fragment weighs nothing; the validation names it.
        let Some(fragment) = self.document.fragments.get(name) else {
            return Ok(Weight::default());
        };
        if self.open.contains(&name) {
            let message = format!("fragment `{name}` spreads itself");
            return Err(Refusal::new(Code::ValidationFailed, message).at(fragment.pos));
        }
        if self.open.len() == FRAGMENT_DEPTH_MAX {
            return Err(too_large(format!("fragments nest at most {FRAGMENT_DEPTH_MAX} deep")));
        }
        few_directives(fragment.node.directives.len())?;
        self.open.push(name);
        let weight = self.set(&fragment.node.selection_set.node)?;
        self.open.pop();
        self.known.insert(name, weight);
        Ok(weight)
    }
}

fn chosen<'a>(
    operations: &'a DocumentOperations,
    name: Option<&str>,
) -> Result<(Option<&'a Name>, &'a Positioned<OperationDefinition>), Refusal> {
    match (operations, name) {
        (DocumentOperations::Single(operation), None) => Ok((None, operation)),
        (DocumentOperations::Multiple(named), Some(name)) => named
            .get_key_value(name)
            .map(|(name, operation)| (Some(name), operation))
            .ok_or_else(|| unknown_operation(name)),
        (DocumentOperations::Single(_), Some(name)) => Err(unknown_operation(name)),
        (DocumentOperations::Multiple(named), None) => match named.iter().next() {
            Some((name, operation)) if named.len() == 1 => Ok((Some(name), operation)),
            _ => Err(Refusal::new(
                Code::BadRequest,
                "the document has several operations: say which one in `operationName`",
            )),
        },
    }
}

fn unknown_operation(name: &str) -> Refusal {
    Refusal::new(Code::BadRequest, format!("the document has no operation named `{name}`"))
}

struct Roots<'a> {
    names: Vec<&'a str>,
    /// Root fields with repetitions, as far as `MUTATIONS_MAX` needs them.
    count: usize,
}

/// The root fields of an operation. Equal response keys are merged, so they count once.
fn roots(set: &SelectionSet) -> Roots<'_> {
    let (mut keys, mut names) = (HashSet::new(), Vec::new());
    let mut waiting = vec![set];
    while let Some(set) = waiting.pop() {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => {
                    let name = field.node.name.node.as_str();
                    keys.insert(field.node.response_key().node.as_str());
                    if !name.starts_with("__") && !names.contains(&name) {
                        names.push(name);
                    }
                }
                Selection::InlineFragment(inline) => waiting.push(&inline.node.selection_set.node),
                // An unknown one: the validation names it.
                Selection::FragmentSpread(_) => {}
            }
        }
    }
    Roots { names, count: keys.len() }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn read(text: &str) -> Result<Checked, Code> {
        check(text, None).map_err(|refusal| refusal.code)
    }

    /// Each fragment spreads the next one twice.
    fn bomb(doublings: usize) -> String {
        let mut text = "query { ...F0 }".to_owned();
        for level in 0..doublings {
            let _ = write!(text, " fragment F{level} on Query {{ ...F{0} ...F{0} }}", level + 1);
        }
        let _ = write!(text, " fragment F{doublings} on Query {{ a }}");
        text
    }

    #[test]
    fn a_fragment_bomb_is_weighed_not_walked() {
        // Walked, 31 doublings are two thousand million selections; weighed, they are 32 fragments.
        assert_eq!(read(&bomb(25)).unwrap_err(), Code::TooLarge);
        assert_eq!(read(&bomb(31)).unwrap_err(), Code::TooLarge);
        assert_eq!(read(&bomb(40)).unwrap_err(), Code::TooLarge);
        assert_eq!(read(&bomb(3)).unwrap().root_fields, ["a"]);
    }

    #[test]
    fn fragments_within_fragments_are_not_deeper_than_one_can_walk() {
        let levels = |fragments: usize, brackets: usize| {
            let mut text = "query { ...F0 }".to_owned();
            for level in 0..fragments {
                let (open, close) = ("a { ".repeat(brackets), " }".repeat(brackets));
                let _ = write!(text, " fragment F{level} on Query {{ {open} ...F{} {close} }}", level + 1);
            }
            let _ = write!(text, " fragment F{fragments} on Query {{ a }}");
            text
        };
        assert!(read(&levels(4, 10)).is_ok());
        assert_eq!(read(&levels(31, 28)).unwrap_err(), Code::TooLarge);
        assert_eq!(read(&levels(6, 10)).unwrap_err(), Code::TooLarge);
    }

    #[test]
    fn values_are_counted_through_fragments() {
        let spreads = "...F ".repeat(50);
        let with = |count: usize| {
            format!("{{ {spreads} }} fragment F on Query {{ a(l: [{}]) }}", "1 ".repeat(count))
        };
        assert!(read(&with(90)).is_ok());
        assert_eq!(read(&with(110)).unwrap_err(), Code::TooLarge);
        let texts = |bytes: usize| {
            format!("{{ {spreads} }} fragment F on Query {{ a(l: [{{t: \"{}\"}}]) }}", "x".repeat(bytes))
        };
        assert!(read(&texts(5_000)).is_ok());
        assert_eq!(read(&texts(6_000)).unwrap_err(), Code::TooLarge);
        let directive = texts(6_000).replace("a(l: [{t: ", "a @d(t: ").replace("}])", ")");
        assert_eq!(read(&directive).unwrap_err(), Code::TooLarge);
    }

    #[test]
    fn aliases_are_counted_through_fragments() {
        let many: String = (0..10_000).fold("{".to_owned(), |text, n| text + &format!("a{n}:b "));
        assert_eq!(read(&(many + "}")).unwrap_err(), Code::TooLarge);
        let some = |count: usize| (0..count).fold(String::new(), |text, n| text + &format!("a{n}:b "));
        assert!(read(&format!("{{{}}}", some(100))).is_ok());
        assert_eq!(read(&format!("{{{}}}", some(101))).unwrap_err(), Code::TooLarge);
        let spread = format!("{{ x {{ ...F }} y {{ ...F }} }} fragment F on T {{ {} }}", some(51));
        assert_eq!(read(&spread).unwrap_err(), Code::TooLarge);
    }

    #[test]
    fn a_mutation_has_few_root_fields() {
        let fields = |count: usize| (0..count).fold(String::new(), |text, n| text + &format!("a{n}:b "));
        assert!(read(&format!("mutation {{ {} }}", fields(20))).is_ok());
        assert_eq!(read(&format!("mutation {{ {} }}", fields(21))).unwrap_err(), Code::TooLarge);
        let hidden = format!("mutation {{ {} ...F }} fragment F on Mutation {{ z: b }}", fields(20));
        assert_eq!(read(&hidden).unwrap_err(), Code::TooLarge);
    }

    #[test]
    fn every_other_count_is_bounded() {
        let operations =
            |count: usize| (0..count).fold(String::new(), |text, n| text + &format!("query Q{n} {{ a }} "));
        assert_eq!(read(&operations(20)).unwrap_err(), Code::BadRequest);
        assert_eq!(read(&operations(21)).unwrap_err(), Code::TooLarge);
        let variables = |count: usize| {
            let list = (0..count).fold(String::new(), |text, n| text + &format!("$v{n}: Int "));
            format!("query ({list}) {{ a }}")
        };
        assert!(read(&variables(200)).is_ok());
        assert_eq!(read(&variables(201)).unwrap_err(), Code::TooLarge);
        for place in [
            "{ a D }",
            "query D { a }",
            "{ ... D { a } }",
            "{ ...F D } fragment F on Query { a }",
            "query ($v: Int D) { a }",
        ] {
            let with = |count: usize| place.replace('D', &"@d ".repeat(count));
            assert!(read(&with(8)).is_ok(), "{place}");
            assert_eq!(read(&with(9)).unwrap_err(), Code::TooLarge, "{place}");
        }
        let defined = format!("{{ ...F }} fragment F on Query {} {{ a }}", "@d ".repeat(9));
        assert_eq!(read(&defined).unwrap_err(), Code::TooLarge);
    }

    #[test]
    fn cycles_end() {
        for text in [
            "{ ...A } fragment A on Query { ...A }",
            "{ ...A } fragment A on Query { b { ...B } } fragment B on Query { ...A }",
            "{ a } fragment A on Query { ...B } fragment B on Query { ...A }",
        ] {
            assert_eq!(read(text).unwrap_err(), Code::ValidationFailed, "{text}");
        }
    }

    #[test]
    fn root_fields_are_seen_through_fragments_and_aliases() {
        let text = "mutation { x: one ... on Mutation { two __typename } ...F @skip(if: true) } \
                    fragment F on Mutation { three one ...F2 } fragment F2 on Mutation { four { five } }";
        let mut fields = read(text).unwrap().root_fields;
        fields.sort();
        assert_eq!(fields, ["four", "one", "three", "two"]);
        assert!(read("{ __schema { types { name } } }").unwrap().root_fields.is_empty());
    }

    #[test]
    fn the_operation_is_chosen_by_name() {
        let text = "query A { a } mutation B { b }";
        let chosen = |name| check(text, name);
        assert_eq!(chosen(Some("B")).unwrap().operation_type, OperationType::Mutation);
        assert_eq!(chosen(Some("A")).unwrap().root_fields, ["a"]);
        assert_eq!(chosen(None).unwrap_err().code, Code::BadRequest);
        assert_eq!(chosen(Some("C")).unwrap_err().code, Code::BadRequest);
        assert_eq!(check("{ a }", Some("C")).unwrap_err().code, Code::BadRequest);
    }

    #[test]
    fn a_syntax_error_says_what_was_expected_and_where() {
        let refusal = check("{ a(b: ) }", None).unwrap_err();
        assert_eq!(refusal.code, Code::ParseFailed);
        assert!(refusal.message.starts_with("syntax error: expected"), "{}", refusal.message);
        assert_eq!(refusal.locations.len(), 1);
    }

    #[test]
    fn the_introspection_query_of_common_clients_passes() {
        let nested =
            (0..9).fold("name kind".to_owned(), |inner, _| format!("name kind ofType {{ {inner} }}"));
        let text = format!(
            "query IntrospectionQuery {{ __schema {{ types {{ ...FullType }} }} }} \
             fragment FullType on __Type {{ fields {{ args {{ ...InputValue }} type {{ ...TypeRef }} }} }} \
             fragment InputValue on __InputValue {{ name type {{ ...TypeRef }} }} \
             fragment TypeRef on __Type {{ {nested} }}"
        );
        assert!(read(&text).is_ok());
    }
}
