//! Every root field of the schema, asked for by tokens with every grant: a table, against the real daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, InputValueDefinition, Type, TypeDefinition, TypeKind, TypeSystemDefinition,
};
use serde_json::{Value, json};

use crate::api::node::root;
use crate::api::tokens::{Made, ask, make};
use crate::support::daemon::Daemon;

/// The fields that READ opens, also for own jobs only.
const READ_OWN: [&str; 12] = [
    "Query.daemon",
    "Query.eventCursor",
    "Query.events",
    "Query.job",
    "Query.jobCounts",
    "Query.jobs",
    "Query.node",
    "Query.viewer",
    "Subscription.events",
    "Subscription.job",
    "Subscription.jobFollow",
    "Subscription.jobLog",
];
/// The fields that only READ of everything opens.
const READ_ALL: [&str; 13] = [
    "Query.health",
    "Query.incident",
    "Query.incidents",
    "Query.queue",
    "Query.queues",
    "Query.schedule",
    "Query.schedulePreview",
    "Query.schedules",
    "Query.sinks",
    "Query.task",
    "Query.tasks",
    "Query.workers",
    "Subscription.health",
];
const ENQUEUE: [&str; 5] = [
    "Mutation.incidentRetry",
    "Mutation.jobBulkRetry",
    "Mutation.jobEnqueue",
    "Mutation.jobEnqueueMany",
    "Mutation.jobRetry",
];
const CANCEL: [&str; 2] = ["Mutation.jobBulkCancel", "Mutation.jobCancel"];
const OPERATE: [&str; 17] = [
    "Mutation.incidentAcknowledge",
    "Mutation.incidentIgnore",
    "Mutation.incidentResolve",
    "Mutation.jobHold",
    "Mutation.jobRelease",
    "Mutation.jobUpdate",
    "Mutation.queuePause",
    "Mutation.queuePut",
    "Mutation.queueResume",
    "Mutation.scheduleDelete",
    "Mutation.schedulePause",
    "Mutation.schedulePut",
    "Mutation.scheduleResume",
    "Mutation.scheduleTrigger",
    "Mutation.sinkDiscard",
    "Mutation.sinkRedeliver",
    "Mutation.taskArchive",
];
const OPERATE_AND_COMMAND: [&str; 1] = ["Mutation.taskPut"];
const ADMIN: [&str; 3] = ["Mutation.tokenCreate", "Mutation.tokenRevoke", "Query.tokens"];

/// The committed schema, and how to ask for each field of it.
struct Schema(BTreeMap<String, TypeDefinition>);

impl Schema {
    fn read() -> Schema {
        let text = fs::read_to_string(root().join("schema.graphql")).expect("schema.graphql is committed");
        let document = parse_schema(text).expect("the schema is one");
        let types = document.definitions.into_iter().filter_map(|definition| match definition {
            TypeSystemDefinition::Type(kind) => Some((kind.node.name.node.to_string(), kind.node)),
            _ => None,
        });
        Schema(types.collect())
    }

    /// A document for each root field, by `Type.field`.
    fn documents(&self) -> BTreeMap<String, String> {
        let mut documents = BTreeMap::new();
        for (kind, word) in [("Query", "query"), ("Mutation", "mutation"), ("Subscription", "subscription")] {
            let TypeKind::Object(object) = &self.0[kind].kind else { panic!("{kind} is an object") };
            for field in &object.fields {
                let field = &field.node;
                let mut arguments = String::new();
                for argument in field.arguments.iter().filter(|argument| is_needed(&argument.node)) {
                    let argument = &argument.node;
                    let value = self.value(&argument.name.node, &argument.ty.node);
                    write!(arguments, "{}: {value} ", argument.name.node).expect("a string takes it");
                }
                let arguments = if arguments.is_empty() { arguments } else { format!("({arguments})") };
                let leaf = matches!(
                    self.0.get(named(&field.ty.node)).map(|kind| &kind.kind),
                    None | Some(TypeKind::Scalar | TypeKind::Enum(_))
                );
                let selection = if leaf { "" } else { "{ __typename }" };
                let name = &field.name.node;
                documents
                    .insert(format!("{kind}.{name}"), format!("{word} {{ {name}{arguments} {selection} }}"));
            }
        }
        documents
    }

    /// A value of this type that harms nothing: it names what does not exist.
    fn value(&self, name: &str, kind: &Type) -> String {
        let BaseType::Named(word) = &kind.base else { return "[]".to_owned() };
        match self.0.get(word.as_str()).map(|kind| &kind.kind) {
            Some(TypeKind::Enum(values)) => values.values[0].node.value.node.to_string(),
            Some(TypeKind::InputObject(input)) => {
                let is_one_of = self.0[word.as_str()]
                    .directives
                    .iter()
                    .any(|directive| directive.node.name.node == "oneOf");
                let mut fields: Vec<_> =
                    input.fields.iter().map(|field| &field.node).filter(|field| is_needed(field)).collect();
                if is_one_of {
                    fields = vec![&input.fields[0].node];
                }
                let shown = |field: &&InputValueDefinition| {
                    format!("{}: {}", field.name.node, self.value(&field.name.node, &field.ty.node))
                };
                format!("{{{}}}", fields.iter().map(shown).collect::<Vec<_>>().join(" "))
            }
            _ => match word.as_str() {
                "ID" => "\"987654321\"".to_owned(),
                "Int" => "1".to_owned(),
                "Float" => "1.0".to_owned(),
                "Boolean" => "true".to_owned(),
                "Duration" => "\"PT1H\"".to_owned(),
                _ => format!("\"{name}-of-nothing\""),
            },
        }
    }
}

fn is_needed(value: &InputValueDefinition) -> bool {
    !value.ty.node.nullable && value.default_value.is_none()
}

fn named(kind: &Type) -> &str {
    match &kind.base {
        BaseType::Named(name) => name.as_str(),
        BaseType::List(inner) => named(inner),
    }
}

/// The message of a refusal for want of a grant.
fn missing(answer: &Value) -> Option<String> {
    let error = &answer["errors"][0];
    let is_missing = error["extensions"]["code"] == json!("FORBIDDEN");
    is_missing.then(|| error["message"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn every_root_field_opens_to_its_grants_and_to_no_other() {
    let documents = Schema::read().documents();
    let own: BTreeSet<&str> = READ_OWN.into_iter().collect();
    let all: BTreeSet<&str> = own.iter().copied().chain(READ_ALL).collect();
    let set = |fields: &[&'static str]| fields.iter().copied().collect::<BTreeSet<_>>();
    let listed: BTreeSet<&str> = [&ENQUEUE[..], &CANCEL, &OPERATE, &OPERATE_AND_COMMAND, &ADMIN]
        .concat()
        .into_iter()
        .chain(all.iter().copied())
        .collect();
    let known: BTreeSet<&str> = documents.keys().map(String::as_str).collect();
    assert_eq!(known, listed, "a root field is in no table: say here which grant opens it");

    let daemon = Daemon::start();
    let verb = |verb: &str| json!({"verb": verb});
    let with_command = [&OPERATE[..], &OPERATE_AND_COMMAND].concat();
    let tokens: Vec<(Made, BTreeSet<&str>)> = [
        ("read", json!([verb("READ")]), all.clone()),
        ("own", json!([{"verb": "READ", "ownJobsOnly": true}]), own.clone()),
        ("enqueue", json!([verb("ENQUEUE")]), set(&ENQUEUE)),
        ("globs", json!([{"verb": "ENQUEUE", "tasks": ["a"]}]), set(&ENQUEUE)),
        ("cancel", json!([verb("CANCEL")]), set(&CANCEL)),
        ("operate", json!([verb("OPERATE")]), set(&OPERATE)),
        ("command", json!([verb("COMMAND")]), BTreeSet::new()),
        ("operator", json!([verb("OPERATE"), verb("COMMAND")]), set(&with_command)),
        ("admin-too", json!([verb("ADMIN")]), listed.clone()),
    ]
    .into_iter()
    .map(|(name, grants, fields)| (make(&daemon, name, grants), fields))
    .collect();
    for (field, document) in &documents {
        for (nth, (token, fields)) in tokens.iter().enumerate() {
            let answer = ask(&daemon, token, document, &json!({}));
            match missing(&answer) {
                None => assert!(fields.contains(field.as_str()), "{field} is open to token {nth}: {answer}"),
                Some(message) => {
                    assert!(!fields.contains(field.as_str()), "{field} is closed to token {nth}: {message}");
                    assert!(message.contains("needs the grant"), "{field}: {message}");
                }
            }
            let code = &answer["errors"][0]["extensions"]["code"];
            assert_ne!(code, &json!("GRAPHQL_VALIDATION_FAILED"), "{document}: {answer}");
            assert_ne!(code, &json!("INTERNAL"), "{document}: {answer}");
        }
    }
}
