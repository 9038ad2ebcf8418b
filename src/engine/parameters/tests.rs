//! What fits a schema, what does not and how that is told.

use serde_json::json;

use super::*;
use crate::base::clock::Timestamp;
use crate::domain::command::{CommandInput, ExecInput};
use crate::domain::duration::Span;
use crate::domain::id::TaskId;
use crate::domain::retry::RetryPolicy;
use crate::domain::task::TaskDefinition;

fn task(argv: &[&str], schema: Option<Value>) -> Task {
    let exec = ExecInput {
        argv: argv.iter().map(|&word| word.to_owned()).collect(),
        working_directory: None,
        environment: None,
        inherit_environment: None,
    };
    Task {
        id: TaskId(1),
        name: "t".to_owned(),
        revision: 1,
        definition: TaskDefinition {
            description: None,
            command: CommandInput::Exec(exec).check("command").unwrap(),
            queue_name: "default".to_owned(),
            priority: 0,
            timeout: None,
            idle_timeout: None,
            kill_grace: Span::ZERO,
            retry_policy: RetryPolicy::default(),
            is_restartable: true,
            parameters_schema: schema.map(Json),
            concurrency_limit: None,
            max_timeout: None,
            merges_output: false,
            runs_on: Vec::new(),
        },
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
        archived_at: None,
    }
}

fn refusal(schema: &Value, given: Value) -> (String, String) {
    let runnable = RunnableTask::new(task(&["cp"], Some(schema.clone()))).unwrap();
    let refusal = runnable.resolve(Some(Json(given))).unwrap_err();
    (refusal.path.unwrap().join("|"), refusal.message)
}

#[test]
fn defaults_are_filled_in_checked_and_put_into_the_command() {
    let schema = json!({
        "properties": {"size": {"type": "integer", "default": 3}, "to": {"type": "string"}},
        "required": ["to"]
    });
    let runnable = RunnableTask::new(task(&["cp", "{{size}}", "{{to}}"], Some(schema))).unwrap();
    let (command, parameters) = runnable.resolve(Some(Json(json!({"to": "a b"})))).unwrap();
    assert_eq!(command.argv, ["cp", "3", "a b"]);
    assert_eq!(parameters, Some(Json(json!({"size": 3, "to": "a b"}))));
    assert_eq!(runnable.resolve(None).unwrap_err().path.unwrap(), ["parameters", "to"]);
}

#[test]
fn without_a_schema_any_object_is_taken_and_no_argument_is_replaced() {
    let runnable = RunnableTask::new(task(&["cp", "{{size}}"], None)).unwrap();
    let (command, parameters) = runnable.resolve(Some(Json(json!({"size": [1]})))).unwrap();
    assert_eq!(
        (command.argv, parameters),
        (vec!["cp".into(), "{{size}}".into()], Some(Json(json!({"size": [1]}))))
    );
    assert_eq!(runnable.resolve(None).unwrap().1, None);
    assert!(runnable.resolve(Some(Json(json!("x")))).is_err());
    assert_eq!(free(Some(Json(json!({"a": 1})))).unwrap(), Some(Json(json!({"a": 1}))));
    assert_eq!((free(None).unwrap(), free(Some(Json(json!(7)))).is_err()), (None, true));
}

#[test]
fn a_refusal_names_the_pointer_and_keeps_the_value_to_itself() {
    let schema = json!({
        "properties": {
            "size": {"type": "integer", "minimum": 1},
            "a/b": {"items": {"enum": ["x", "y"]}},
            "deep": {"$ref": "#/$defs/deep"},
            "token": {"pattern": "^[a-z]+$"}
        },
        "required": ["size"],
        "additionalProperties": false,
        "$defs": {"deep": {"required": ["in"], "properties": {"in": {"const": 5}}}}
    });
    for (given, path, part) in [
        (json!({}), "parameters|size", "/size is required"),
        (json!({"size": 0}), "parameters|size", "/size does not fit: this is less than the minimum of 1"),
        (json!({"size": "SECRET"}), "parameters|size", "/size does not fit: this is not of type \"integer\""),
        (json!({"size": 1, "a/b": ["x", "SECRET"]}), "parameters|a/b|1", "/a~1b/1 does not fit"),
        (json!({"size": 1, "deep": {}}), "parameters|deep|in", "/deep/in is required"),
        (json!({"size": 1, "deep": {"in": "SECRET"}}), "parameters|deep|in", "/deep/in does not fit"),
        (json!({"size": 1, "token": "SECRET"}), "parameters|token", "/token does not fit"),
        (json!({"size": 1, "x~y": "SECRET"}), "parameters|x~y", "/x~0y is not expected"),
    ] {
        let (at, message) = refusal(&schema, given);
        assert!(message.contains(part), "{message}");
        assert_eq!(at, path, "{message}");
        assert!(!message.contains("SECRET"), "{message}");
    }
    assert_eq!(refusal(&json!(false), json!({})).0, "parameters");
}

#[test]
fn a_refusal_is_short() {
    let properties: serde_json::Map<_, _> =
        (0..50).map(|at| (format!("p{at}"), json!({"type": "null"}))).collect();
    let given: serde_json::Map<_, _> = (0..50).map(|at| (format!("p{at}"), json!(at))).collect();
    let (_, message) = refusal(&json!({ "properties": properties }), Value::Object(given));
    assert_eq!(message.matches("does not fit").count(), ERRORS_MAX, "{message}");
    let long: Vec<_> = (0..500).map(|at| format!("choice {at}")).collect();
    let (_, message) = refusal(&json!({"properties": {"a": {"enum": long}}}), json!({"a": 1}));
    assert!(message.len() < 2 * ERROR_BYTES_MAX, "{message}");
}

#[test]
fn where_each_value_may_be_wrong_in_many_ways_nobody_lists_them() {
    let all: Vec<_> = (0..2_000).map(|at| json!({"minLength": at + 2})).collect();
    let schema = json!({"properties": {"a": {"items": {"allOf": all}}}});
    let (at, message) = refusal(&schema, json!({"a": vec!["x"; 10_000]}));
    assert_eq!(at, "parameters", "{message}");
    assert!(message.contains("too many"), "{message}");
}

#[test]
fn what_is_no_schema_is_told_with_its_place() {
    for (schema, part) in [
        (json!({"properties": {"a": {"type": "whatever"}}}), "at /properties/a/type"),
        (json!({"properties": {"a": {"pattern": "("}}}), "at /properties/a/pattern"),
        // Look-around cannot be matched in linear time.
        (json!({"properties": {"a": {"pattern": "(?=a)b"}}}), "at /properties/a/pattern"),
        // Nor may a small text become a large machine.
        (json!({"properties": {"a": {"pattern": "((a{100}){100}){100}"}}}), "at /properties/a/pattern"),
        (json!({"properties": 5}), "at /properties"),
        (json!({"$ref": "https://example.com/x"}), "is no JSON Schema"),
    ] {
        let rejection = check_schema(&Json(schema)).unwrap_err();
        assert!(rejection.message.contains(part), "{}", rejection.message);
        assert_eq!(rejection.path.unwrap(), ["parametersSchema"]);
    }
    assert_eq!(check_schema(&Json(json!({"$id": "https://json-schema.org/draft/2020-12/schema"}))), Ok(()));
}
