//! Parameters on their way: through the task's schema, into arguments and the environment, and never into a shell line.

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::wait::{PATIENCE, until};

const PUT: &str = "mutation ($input: TaskPutInput!) { taskPut(input: $input) {
  task { name revision parametersSchema concurrencyLimit } userErrors { code message path } } }";

const ENQUEUE: &str = "mutation ($input: JobEnqueueInput!) { jobEnqueue(input: $input) {
  job { id command { argv } parameters } userErrors { code message path } } }";

/// What the shell of a test is told to print: each argument and variable on a line of its own.
const PRINT: &str =
    r#"for word in "$@"; do echo "arg=$word"; done; env | grep ^BEADLE_PARAM | LC_ALL=C sort"#;

fn put(daemon: &Daemon, input: &Value) -> Value {
    daemon.graphql(PUT, json!({ "input": input }))["taskPut"].take()
}

/// Puts the task `t`, which prints its arguments and variables.
fn put_printing(daemon: &Daemon, arguments: &[&str], schema: &Value) {
    let mut argv = vec!["/bin/sh", "-c", PRINT, "sh"];
    argv.extend(arguments);
    let input = json!({"name": "t", "command": {"exec": {"argv": argv}}, "parametersSchema": schema});
    let answer = put(daemon, &input);
    assert_eq!(answer["userErrors"], json!([]));
}

fn enqueue(daemon: &Daemon, parameters: &Value) -> Value {
    let input = json!({"run": {"task": {"name": "t"}}, "parameters": parameters});
    daemon.graphql(ENQUEUE, json!({ "input": input }))["jobEnqueue"].take()
}

fn printed(daemon: &Daemon, id: &Value) -> Vec<String> {
    let ended = daemon.wait_final(id.as_str().expect("an id"));
    assert_eq!(ended.job["state"], json!("SUCCEEDED"), "{:?}", ended.lines);
    ended.lines.into_iter().map(|(_, text)| text).collect()
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "size": {"type": "integer", "minimum": 1, "default": 3},
            "to": {"type": "string"},
            "note": {"type": ["string", "null"], "default": null},
            "dry-run": {"type": "boolean"}
        },
        "required": ["to"],
        "additionalProperties": false
    })
}

#[test]
fn parameters_reach_the_command_as_arguments_and_variables() {
    let daemon = Daemon::start();
    put_printing(&daemon, &["{{to}}", "--size", "{{size}}", "{{note}}", "x{{to}}"], &schema());
    let evil = "a b\"; $(touch /nowhere) {{size}}";
    let made = enqueue(&daemon, &json!({"to": evil, "dry-run": true}));
    let told = json!({"dry-run": true, "note": null, "size": 3, "to": evil});
    assert_eq!(made["job"]["parameters"], told, "{made}");
    let argv = json!(["/bin/sh", "-c", PRINT, "sh", evil, "--size", "3", "x{{to}}"]);
    assert_eq!(made["job"]["command"]["argv"], argv);
    assert_eq!(
        printed(&daemon, &made["job"]["id"]),
        [
            format!("arg={evil}"),
            "arg=--size".to_owned(),
            "arg=3".to_owned(),
            "arg=x{{to}}".to_owned(),
            format!("BEADLE_PARAMETERS={told}"),
            "BEADLE_PARAM_DRY_RUN=true".to_owned(),
            "BEADLE_PARAM_SIZE=3".to_owned(),
            format!("BEADLE_PARAM_TO={evil}"),
        ]
    );
}

#[test]
fn a_parameter_that_breaks_the_schema_is_refused_by_its_pointer() {
    let daemon = Daemon::start();
    put_printing(&daemon, &["{{to}}", "{{dry-run}}"], &schema());
    for (parameters, path, part) in [
        (json!({"to": "x", "size": 0}), json!(["parameters", "size"]), "/size does not fit"),
        (json!({"to": 5}), json!(["parameters", "to"]), "/to does not fit"),
        (json!({}), json!(["parameters", "to"]), "/to is required"),
        (json!(null), json!(["parameters", "to"]), "/to is required"),
        (json!({"to": "x", "from": 1}), json!(["parameters", "from"]), "/from is not expected"),
        (json!({"to": "x"}), json!(["parameters", "dry-run"]), "needed by argument 5"),
        (json!([1]), json!(["parameters"]), "JSON object"),
        (json!({"to": "a\u{0}b"}), json!(["parameters", "to"]), "U+0000"),
        (json!({"to": "x".repeat(64 * 1024)}), json!(["parameters"]), "bytes"),
    ] {
        let answer = enqueue(&daemon, &parameters);
        let error = &answer["userErrors"][0];
        assert_eq!((&error["code"], &error["path"]), (&json!("INVALID"), &path), "{answer}");
        assert!(error["message"].as_str().is_some_and(|message| message.contains(part)), "{error}");
    }
    assert_eq!(daemon.graphql("{ jobs { totalCount } }", json!({}))["jobs"]["totalCount"], json!(0));
}

#[test]
fn a_task_is_refused_for_a_schema_that_cannot_hold() {
    let daemon = Daemon::start();
    let exec = |argv: &[&str]| json!({"exec": {"argv": argv}});
    for (more, path) in [
        (json!({"parametersSchema": 5}), json!(["parametersSchema"])),
        (json!({"parametersSchema": {"type": "whatever"}}), json!(["parametersSchema"])),
        (json!({"parametersSchema": {"$ref": "https://example.com/x"}}), json!(["parametersSchema"])),
        (json!({"parametersSchema": {"$ref": "#"}}), json!(["parametersSchema"])),
        (json!({"parametersSchema": {"title": "x".repeat(64 * 1024)}}), json!(["parametersSchema"])),
        (json!({"parametersSchema": {"properties": {"a-b": {}, "a_b": {}}}}), json!(["parametersSchema"])),
        (
            json!({"parametersSchema": schema(), "command": exec(&["cp", "{{none}}"])}),
            json!(["command", "exec", "argv", "1"]),
        ),
        (
            json!({"parametersSchema": schema(), "command": exec(&["{{to}}"])}),
            json!(["command", "exec", "argv", "0"]),
        ),
        (json!({"concurrencyLimit": 0}), json!(["concurrencyLimit"])),
    ] {
        let mut input = json!({"name": "t", "command": exec(&["cp"])});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = put(&daemon, &input);
        let error = &answer["userErrors"][0];
        assert_eq!((&error["code"], &error["path"]), (&json!("INVALID"), &path), "{answer}");
    }
    let input = json!({
        "name": "t", "command": exec(&["cp"]), "parametersSchema": schema(), "concurrencyLimit": 2,
    });
    let task = json!({"name": "t", "revision": 1, "parametersSchema": schema(), "concurrencyLimit": 2});
    // Once more is no change.
    for _ in 0..2 {
        assert_eq!(put(&daemon, &input)["task"], task);
    }
}

#[test]
fn without_a_schema_any_object_is_told_and_no_argument_is_replaced() {
    let daemon = Daemon::start();
    let argv = ["/bin/sh", "-c", PRINT, "sh", "{{a}}"];
    let exec = json!({"exec": {"argv": argv}});
    assert_eq!(put(&daemon, &json!({"name": "t", "command": exec}))["userErrors"], json!([]));
    let expected = [
        "arg={{a}}",
        r#"BEADLE_PARAMETERS={"a":{"b":[1.5,"x"]},"ü":"two\nlines"}"#,
        r#"BEADLE_PARAM_A={"b":[1.5,"x"]}"#,
        "BEADLE_PARAM__=two",
        "lines",
    ];
    let given = json!({"a": {"b": [1.5, "x"]}, "ü": "two\nlines"});
    let by_task = enqueue(&daemon, &given)["job"]["id"].take();
    let by_hand = daemon.enqueue_with(json!({"run": {"command": exec}, "parameters": given}));
    for id in [by_task, json!(by_hand)] {
        let lines = printed(&daemon, &id);
        // The last line of a value of two has no name to be found by.
        assert_eq!(lines, expected[..4], "{lines:?}");
    }
    let plain = enqueue(&daemon, &json!(null));
    assert_eq!(plain["job"]["parameters"], json!(null));
    assert_eq!(printed(&daemon, &plain["job"]["id"]), ["arg={{a}}"]);
    let clash = enqueue(&daemon, &json!({"a-b": 1, "a_b": 2}));
    assert_eq!(clash["userErrors"][0]["path"], json!(["parameters", "a_b"]));
}

#[test]
fn a_script_is_never_changed_by_a_parameter() {
    let daemon = Daemon::start();
    let text = r#"echo {{to}}; echo "$BEADLE_PARAM_TO""#;
    let input = json!({"name": "t", "command": {"script": {"text": text}}, "parametersSchema": schema()});
    assert_eq!(put(&daemon, &input)["userErrors"], json!([]));
    let made = enqueue(&daemon, &json!({"to": "$(id); `id`"}));
    assert_eq!(printed(&daemon, &made["job"]["id"]), ["{{to}}", "$(id); `id`"]);
}

#[test]
fn a_retry_by_hand_keeps_parameters_and_the_revision_that_they_were_checked_by() {
    let daemon = Daemon::start();
    put_printing(&daemon, &["{{to}}"], &schema());
    let first = enqueue(&daemon, &json!({"to": "x"}))["job"]["id"].take();
    printed(&daemon, &first);
    put_printing(&daemon, &[], &json!({"properties": {"other": {}}, "required": ["other"]}));
    let retry = "mutation ($id: ID!) { jobRetry(input: {id: $id}) { job { id parameters taskRevision } } }";
    let again = daemon.graphql(retry, json!({ "id": first }))["jobRetry"]["job"].take();
    assert_eq!((&again["parameters"]["to"], &again["taskRevision"]), (&json!("x"), &json!(1)));
    assert!(printed(&daemon, &again["id"]).contains(&"arg=x".to_owned()));
}

#[test]
fn a_schedule_gives_its_jobs_the_defaults_and_drops_what_no_longer_fits() {
    let daemon = Daemon::start();
    put_printing(&daemon, &["{{size}}"], &json!({"properties": {"size": {"default": 7}}}));
    let schedule = r#"mutation { schedulePut(input: {
      name: "s", task: {name: "t"}, timing: {every: "1s"}, overlap: ALLOW}) { userErrors { message } } }"#;
    assert_eq!(daemon.graphql(schedule, json!({}))["schedulePut"]["userErrors"], json!([]));
    let ticks =
        r#"{ schedule(ref: {name: "s"}) { ticks(first: 50) { nodes { outcome job { id parameters } } } } }"#;
    let tick = |outcome: &str| {
        let answer = daemon.graphql(ticks, json!({}));
        let nodes = answer["schedule"]["ticks"]["nodes"].as_array().expect("a list").clone();
        nodes.into_iter().find(|tick| tick["outcome"] == json!(outcome))
    };
    let started = until("a tick that made a job", PATIENCE, || tick("STARTED"));
    assert_eq!(started["job"]["parameters"], json!({"size": 7}));
    assert!(printed(&daemon, &started["job"]["id"]).contains(&"arg=7".to_owned()));
    let trigger = r#"mutation { scheduleTrigger(input: {ref: {name: "s"}, ignoreOverlap: true}) {
      job { parameters } userErrors { code path message } } }"#;
    let made = daemon.graphql(trigger, json!({}))["scheduleTrigger"].take();
    assert_eq!(made["job"]["parameters"], json!({"size": 7}), "{made}");

    put_printing(&daemon, &[], &json!({"required": ["size"]}));
    until("a tick that was dropped", PATIENCE, || tick("DROPPED_MISFIRE"));
    until("a word about it in the log", PATIENCE, || {
        daemon.log().contains("its task takes no such parameters").then_some(())
    });
    let refused = daemon.graphql(trigger, json!({}))["scheduleTrigger"].take();
    assert_eq!(refused["userErrors"][0]["path"], json!(["parameters", "size"]), "{refused}");
}

#[test]
fn a_thousand_jobs_of_a_task_with_a_large_schema_are_made_at_once() {
    let daemon = Daemon::start();
    let properties: serde_json::Map<_, _> = (0..1_000)
        .map(|at| {
            (format!("p{at}"), json!({"type": "string", "maxLength": 10, "description": "of a thousand"}))
        })
        .collect();
    let task = json!({
        "name": "t", "command": {"exec": {"argv": ["/bin/true"]}},
        "parametersSchema": {"properties": properties, "additionalProperties": false},
    });
    assert!(
        put(&daemon, &task)["userErrors"][0]["message"].as_str().is_some_and(|why| why.contains("bytes"))
    );
    let properties: serde_json::Map<_, _> =
        (0..1_000).map(|at| (format!("p{at}"), json!({"type": "string", "maxLength": 10}))).collect();
    let mut task = task;
    task["parametersSchema"] = json!({"properties": properties, "additionalProperties": false});
    assert_eq!(put(&daemon, &task)["userErrors"], json!([]));
    let job = |at: usize| {
        let value = if at == 500 { json!(5) } else { json!("x") };
        json!({"run": {"task": {"name": "t"}}, "parameters": {format!("p{at}"): value}, "isHeld": true})
    };
    let many = "mutation ($input: JobEnqueueManyInput!) { jobEnqueueMany(input: $input) {
      results { job { id } userErrors { path } } } }";
    let jobs: Vec<_> = (0..1_000).map(job).collect();
    let begun = crate::support::wait::now();
    let answer = daemon.graphql(many, json!({"input": {"jobs": jobs}}));
    println!("1,000 jobs took {:?}", begun.elapsed());
    let results = answer["jobEnqueueMany"]["results"].as_array().expect("a list");
    assert_eq!(results.iter().filter(|result| result["job"].is_object()).count(), 999);
    assert_eq!(results[500]["userErrors"], json!([{"path": ["parameters", "p500"]}]));
}
