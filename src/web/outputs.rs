//! Owns what is known of a schema's fields from its text: what each of them gives, and what arguments, directives and
//! input objects take. It must never judge a document, and says nothing of what it does not know: the executor's own
//! validation names that.

use std::collections::HashMap;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, FieldDefinition, InputValueDefinition, OperationType, SchemaDefinition, Type, TypeDefinition,
    TypeKind, TypeSystemDefinition,
};
use async_graphql::{Name, Positioned};

/// What every schema has, whether it says so or not. Below `__schema` and `__type` nothing is known.
const BUILT_IN: &str =
    "type __BuiltIn { __typename: String! __schema: __Schema! __type(name: String!): __Type }
    directive @skip(if: Boolean!) on FIELD
    directive @include(if: Boolean!) on FIELD";

/// No schema may have a type of such a name.
const BUILT_IN_TYPE: &str = "__BuiltIn";

/// The fields of a schema, and what may be given to them.
#[derive(Debug, Default)]
pub struct Outputs {
    composites: HashMap<Name, Composite>,
    inputs: HashMap<Name, Parameters>,
    directives: HashMap<Name, Parameters>,
    /// Absent when the types have the usual names.
    roots: Option<SchemaDefinition>,
}

/// A field of an object or of an interface.
#[derive(Debug)]
pub struct Output {
    /// What it gives.
    pub kind: Type,
    /// What it takes.
    pub arguments: Parameters,
}

/// Arguments, or the fields of an input object, by their names.
pub type Parameters = HashMap<Name, Parameter>;

/// An argument, or a field of an input object.
#[derive(Debug)]
pub struct Parameter {
    /// What it takes. A field of a `@oneOf` object is never null when it is given, and counts as such here.
    pub kind: Type,
    /// Whether it may be left out for a default.
    pub has_default: bool,
}

/// An object, an interface or a union.
#[derive(Debug)]
struct Composite {
    is_object: bool,
    fields: HashMap<Name, Output>,
}

impl Outputs {
    /// Of a schema as text.
    pub fn of(sdl: &str) -> Outputs {
        let mut outputs = Outputs::default();
        outputs.read(BUILT_IN);
        outputs.read(sdl);
        outputs
    }

    /// The type on which such an operation begins.
    pub fn root(&self, operation: OperationType) -> Option<&str> {
        let Some(roots) = &self.roots else {
            return Some(match operation {
                OperationType::Query => "Query",
                OperationType::Mutation => "Mutation",
                OperationType::Subscription => "Subscription",
            });
        };
        let root = match operation {
            OperationType::Query => &roots.query,
            OperationType::Mutation => &roots.mutation,
            OperationType::Subscription => &roots.subscription,
        };
        root.as_ref().map(|name| name.node.as_str())
    }

    /// A field of a type, where both are known.
    pub fn field(&self, parent: &str, name: &str) -> Option<&Output> {
        let own = self.composites.get(parent)?.fields.get(name);
        own.or_else(|| self.composites.get(BUILT_IN_TYPE)?.fields.get(name))
    }

    /// Whether it is an object, so that nothing is at once this and another object.
    pub fn is_object(&self, name: &str) -> bool {
        self.composites.get(name).is_some_and(|composite| composite.is_object)
    }

    /// The fields of an input object.
    pub fn input(&self, name: &str) -> Option<&Parameters> {
        self.inputs.get(name)
    }

    /// The arguments of a directive.
    pub fn directive(&self, name: &str) -> Option<&Parameters> {
        self.directives.get(name)
    }

    fn read(&mut self, sdl: &str) {
        let schema = parse_schema(sdl).expect("the executor printed it itself, or it stands above");
        for definition in schema.definitions {
            match definition {
                TypeSystemDefinition::Schema(definition) => self.roots = Some(definition.node),
                TypeSystemDefinition::Type(definition) => self.take(definition.node),
                TypeSystemDefinition::Directive(definition) => {
                    let definition = definition.node;
                    self.directives.insert(definition.name.node, parameters(definition.arguments));
                }
            }
        }
    }

    fn take(&mut self, definition: TypeDefinition) {
        let name = definition.name.node;
        let (is_object, fields) = match definition.kind {
            TypeKind::Object(kind) => (true, kind.fields),
            TypeKind::Interface(kind) => (false, kind.fields),
            TypeKind::Union(_) => (false, Vec::new()),
            TypeKind::InputObject(kind) => {
                let mut fields = parameters(kind.fields);
                if definition.directives.iter().any(|one| one.node.name.node == "oneOf") {
                    for field in fields.values_mut() {
                        field.kind.nullable = false;
                    }
                }
                self.inputs.insert(name, fields);
                return;
            }
            TypeKind::Scalar | TypeKind::Enum(_) => return,
        };
        let fields = fields.into_iter().map(|field| Output::of(field.node)).collect();
        self.composites.insert(name, Composite { is_object, fields });
    }
}

impl Output {
    fn of(definition: FieldDefinition) -> (Name, Output) {
        let output = Output { kind: definition.ty.node, arguments: parameters(definition.arguments) };
        (definition.name.node, output)
    }
}

/// The name of a type, without the lists around it.
pub fn named(kind: &Type) -> &str {
    match &kind.base {
        BaseType::Named(name) => name.as_str(),
        BaseType::List(inner) => named(inner),
    }
}

fn parameters(definitions: Vec<Positioned<InputValueDefinition>>) -> Parameters {
    let definitions = definitions.into_iter().map(|definition| definition.node);
    definitions
        .map(|definition| {
            let has_default = definition.default_value.is_some();
            (definition.name.node, Parameter { kind: definition.ty.node, has_default })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDL: &str = "scalar When  enum State { ON OFF }
        input Range { from: Int! to: Int! = 3 }
        input Either @oneOf { id: ID range: Range }
        interface Node { id: ID! }
        union Thing = Job | Task
        type Job implements Node { id: ID! log(first: Int!, last: Int = 5): [[String!]]! }
        type Task implements Node { id: ID! }
        type Query { things: [Thing] }
        directive @timed(at: When!) on FIELD";

    #[test]
    fn fields_are_known_with_what_they_give_and_take() {
        let outputs = Outputs::of(SDL);
        for (parent, name, kind) in [
            ("Job", "id", Some("ID!")),
            ("Job", "log", Some("[[String!]]!")),
            ("Node", "id", Some("ID!")),
            ("Query", "things", Some("[Thing]")),
            ("Thing", "__typename", Some("String!")),
            ("Query", "__type", Some("__Type")),
            ("Thing", "id", None),
            ("Task", "log", None),
            ("State", "__typename", None),
            ("Nothing", "__typename", None),
        ] {
            let found = outputs.field(parent, name).map(|output| output.kind.to_string());
            assert_eq!(found.as_deref(), kind, "{parent}.{name}");
        }
        let log = outputs.field("Job", "log").unwrap();
        assert_eq!(named(&log.kind), "String");
        for (name, kind, has_default) in [("first", "Int!", false), ("last", "Int", true)] {
            let argument = &log.arguments[name];
            assert_eq!((argument.kind.to_string().as_str(), argument.has_default), (kind, has_default));
        }
    }

    #[test]
    fn only_objects_exclude_each_other() {
        let outputs = Outputs::of(SDL);
        assert!(outputs.is_object("Job"));
        for name in ["Node", "Thing", "When", "State", "Range", "Nothing"] {
            assert!(!outputs.is_object(name), "{name}");
        }
    }

    #[test]
    fn what_input_objects_and_directives_take_is_known() {
        let outputs = Outputs::of(SDL);
        for (taken, name, kind, has_default) in [
            (outputs.input("Range"), "from", "Int!", false),
            (outputs.input("Range"), "to", "Int!", true),
            (outputs.input("Either"), "id", "ID!", false),
            (outputs.input("Either"), "range", "Range!", false),
            (outputs.directive("timed"), "at", "When!", false),
            (outputs.directive("skip"), "if", "Boolean!", false),
            (outputs.directive("include"), "if", "Boolean!", false),
        ] {
            let parameter = &taken.unwrap()[name];
            assert_eq!((parameter.kind.to_string().as_str(), parameter.has_default), (kind, has_default));
        }
        assert!(outputs.input("Job").is_none() && outputs.directive("nothing").is_none());
    }

    #[test]
    fn operations_begin_where_the_schema_says() {
        let usual = Outputs::of(SDL);
        assert_eq!(usual.root(OperationType::Query), Some("Query"));
        assert_eq!(usual.root(OperationType::Mutation), Some("Mutation"));
        assert_eq!(usual.root(OperationType::Subscription), Some("Subscription"));
        let own = Outputs::of("type Ask { a: Int } type Do { b: Int } schema { query: Ask mutation: Do }");
        assert_eq!(own.root(OperationType::Query), Some("Ask"));
        assert_eq!(own.root(OperationType::Mutation), Some("Do"));
        assert_eq!(own.root(OperationType::Subscription), None);
    }
}
