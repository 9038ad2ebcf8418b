//! Documents in all the ways in which they may be written: the same question costs, means and answers the same whether it
//! is written with fragments, variables, defaults or beside other operations, and whether it was seen before or not; what
//! the specification calls invalid is not run.

use serde_json::{Value, json};

use crate::api::tokens::{ask, make};
use crate::support::daemon::{Daemon, string};
use crate::support::sse::Sse;
use crate::support::wait::PATIENCE;

/// How often a document is sent: it is judged, then judged and kept, then known.
const TIMES: usize = 3;

/// More than any answer may have: 8 MiB of logs, and what is read at once when these are full.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

fn post(daemon: &Daemon, body: &Value) -> Value {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    let agent = config.timeout_global(Some(PATIENCE)).build().new_agent();
    let answer = agent
        .post(format!("{}/graphql", daemon.url()))
        .header("Authorization", format!("Bearer {}", daemon.token()))
        .header("Content-Type", "application/json")
        .send(body.to_string());
    let text = answer
        .and_then(|mut answer| answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string());
    serde_json::from_str(&text.expect("an answer")).expect("JSON")
}

/// The answer, which is the same however well the document is known.
fn always(daemon: &Daemon, body: &Value) -> Value {
    let first = post(daemon, body);
    for _ in 1..TIMES {
        assert_eq!(post(daemon, body), first, "{body}");
    }
    first
}

fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or("none")
}

#[test]
fn a_list_costs_the_same_in_a_fragment_with_a_name() {
    let daemon = Daemon::start();
    let id = daemon.enqueue(&["/bin/true"]);
    let deep = |first: i32| {
        let list = format!("task {{ jobs(first: {first}) {{ nodes {{ LIST }} }} }}");
        list.replace("LIST", &list).replace("LIST", &list).replace("LIST", "id")
    };
    for (first, is_too_dear) in [(200, true), (1, false)] {
        let fields = deep(first);
        for query in [
            format!("{{ node(id: \"{id}\") {{ ... on Job {{ {fields} }} }} }}"),
            format!("{{ node(id: \"{id}\") {{ ...F }} }} fragment F on Job {{ {fields} }}"),
            format!(
                "{{ node(id: \"{id}\") {{ ...F }} }} fragment F on Node {{ ...G }} fragment G on Job {{ {fields} }}"
            ),
        ] {
            let answer = always(&daemon, &json!({ "query": query }));
            assert_eq!(code(&answer) == "QUERY_TOO_LARGE", is_too_dear, "{query}: {answer}");
            assert_eq!(answer["errors"].is_null(), !is_too_dear, "{query}: {answer}");
        }
    }
}

#[test]
fn the_logs_of_one_answer_are_bounded_and_pages_of_them_cost() {
    let daemon = Daemon::start();
    let put = json!({ "run": { "command": { "exec": { "argv": ["/bin/sh", "-c", "yes \"$(head -c 1000 /dev/zero | tr '\\0' x)\" | head -n 700"] } } } });
    let ids: Vec<String> = (0..10).map(|_| daemon.enqueue_with(put.clone())).collect();
    for id in &ids {
        assert_eq!(daemon.wait_final_state(id), "SUCCEEDED");
    }
    let page = |count: usize| {
        let log = |at: usize| format!("l{at}: log(last: 400) {{ lines {{ text }} }}");
        let logs = (0..count).map(log).collect::<Vec<_>>().join(" ");
        json!({ "query": format!("{{ jobs(first: 10) {{ nodes {{ {logs} }} }} }}") })
    };
    let few = post(&daemon, &page(1));
    let lines = few["data"]["jobs"]["nodes"][0]["l0"]["lines"].as_array().map(Vec::len);
    assert_eq!((lines, few["errors"].is_null()), (Some(400), true), "{}", few["errors"]);
    let many = post(&daemon, &page(8));
    assert_eq!(code(&many), "QUERY_TOO_LARGE", "{}", many["errors"]);
    assert!(string(&many["errors"][0]["message"]).contains("the logs in this answer"), "{}", many["errors"]);
    let searches = json!({ "query": "{ jobs(first: 200) { nodes { log(grep: \"x\") { hasMore } } } }" });
    assert_eq!(code(&post(&daemon, &searches)), "QUERY_TOO_LARGE");
}

#[test]
fn a_variable_that_is_not_given_has_its_default_everywhere() {
    let daemon = Daemon::start();
    let asked = |query: &str, variables: Value| {
        always(&daemon, &json!({ "query": query, "variables": variables }))["data"]["viewer"].take()
    };
    let named = json!({ "tokenName": "admin" });
    for (query, given, other) in [
        (
            "query ($on: Boolean = true) { viewer { tokenName @include(if: $on) } }",
            json!({}),
            json!({"on": false}),
        ),
        (
            "query ($on: Boolean! = true) { viewer { ... @include(if: $on) { tokenName } } }",
            json!({}),
            json!({"on": false}),
        ),
        (
            "query ($off: Boolean = true) { viewer { tokenName @skip(if: $off) } }",
            json!({"off": false}),
            json!({}),
        ),
    ] {
        assert_eq!(asked(query, given), named, "{query}");
        assert_eq!(asked(query, other), json!({}), "{query}");
    }
    for _ in 0..3 {
        daemon.wait_final(&daemon.enqueue(&["/bin/true"]));
    }
    // An argument's own default holds where its variable has no value.
    let jobs =
        "query ($n: Int, $s: [JobState!]) { jobs(first: $n, filter: {states: $s}) { nodes { state } } }";
    for (variables, count) in
        [(json!({}), 3), (json!({"n": 2}), 2), (json!({"s": null}), 3), (json!({"n": 2, "s": ["FAILED"]}), 0)]
    {
        let answer = always(&daemon, &json!({ "query": jobs, "variables": variables }));
        assert_eq!(
            answer["data"]["jobs"]["nodes"].as_array().map(Vec::len),
            Some(count),
            "{variables}: {answer}"
        );
    }
    let null = always(&daemon, &json!({ "query": jobs, "variables": {"n": null} }));
    assert!(!null["errors"].is_null(), "a null that was given is no default: {null}");
}

#[test]
fn an_operation_runs_beside_others_that_want_variables_of_their_own() {
    let daemon = Daemon::start();
    let text = "query A($n: Int!, $id: ID!) { jobs(first: $n) { nodes { ...J } } job(id: $id) { ...J } }
        fragment J on Job { id task { jobs(first: 10) { nodes { id } } } }
        query B { viewer { ...V } } fragment V on Viewer { tokenName }
        mutation C($input: JobEnqueueInput!) { jobEnqueue(input: $input) { userErrors { message } } }";
    let b = json!({ "query": text, "operationName": "B" });
    assert_eq!(always(&daemon, &b)["data"]["viewer"]["tokenName"], "admin");
    let a = json!({ "query": text, "operationName": "A", "variables": {"n": 1, "id": "job_1"} });
    assert_eq!(always(&daemon, &a)["data"]["jobs"]["nodes"], json!([]));
    // All of a document is judged all the same.
    for wrong in [
        "{ nope }",
        "{ jobs(first: \"a\") { nodes { id } } }",
        "($x: ID) { jobs(first: $x) { nodes { id } } }",
    ] {
        let text = format!("query A{wrong} query B {{ viewer {{ tokenName }} }}");
        let answer = always(&daemon, &json!({ "query": text, "operationName": "B" }));
        assert_eq!(code(&answer), "GRAPHQL_VALIDATION_FAILED", "{text}: {answer}");
    }
}

#[test]
fn what_is_wrong_in_a_document_does_not_depend_on_which_variables_it_was_first_given() {
    let daemon = Daemon::start();
    for query in [
        "query ($x: Int) { jobs(first: 1, nope: $x) { nodes { id } } }",
        "query ($x: Int) { jobs(first: $x, first: $x) { nodes { id } } }",
        "query ($x: Nope) { jobs(first: $x) { nodes { id } } }",
        "query ($x: Int, $x: Int) { jobs(first: $x) { nodes { id } } }",
        "query ($x: Nope) { __schema { types { fields(includeDeprecated: $x) { name } } } }",
    ] {
        for variables in [json!({}), json!({}), json!({}), json!({"x": 1})] {
            let answer = post(&daemon, &json!({ "query": query, "variables": variables }));
            assert!(answer.get("data").is_none(), "{query} {variables}: {answer}");
        }
    }
    let text = "query Nothing { nope } query B { viewer { tokenName } }";
    let answer = post(&daemon, &json!({ "query": text, "operationName": "B" }));
    assert_eq!(code(&answer), "GRAPHQL_VALIDATION_FAILED", "{answer}");
    let deprecated =
        "query ($x: Boolean) { __type(name: \"Job\") { fields(includeDeprecated: $x) { name } } }";
    let answer = always(&daemon, &json!({ "query": deprecated }));
    assert!(answer["data"]["__type"]["fields"].is_array(), "{answer}");
}

#[test]
fn what_the_specification_calls_invalid_is_not_run() {
    let daemon = Daemon::start();
    for (query, variables) in [
        ("query ($x: ID!) { jobs(first: $x) { nodes { id } } }", json!({"x": 5})),
        ("query ($x: Boolean) { viewer { tokenName @include(if: $x) } }", json!({"x": true})),
        ("query ($x: [JobState]) { jobs(filter: {states: $x}) { nodes { id } } }", json!({"x": ["QUEUED"]})),
        ("{ a: job(id: \"job_1\") { id } ... on Query { a: job(id: \"job_2\") { state } } }", json!({})),
        ("{ jobs { nodes { x: id ... on Job { x: state } } } }", json!({})),
        (
            "{ jobs { nodes { ...A ...B } } } fragment A on Job { x: id } fragment B on Job { x: state }",
            json!({}),
        ),
        ("{ viewer { tokenName } } fragment F on Viewer { tokenName }", json!({})),
        ("{ viewer { ...F } } fragment F on Viewer @include(if: false) { tokenName }", json!({})),
        ("query ($x: Int) { viewer { tokenName } }", json!({})),
    ] {
        let answer = always(&daemon, &json!({ "query": query, "variables": variables }));
        assert_eq!(code(&answer), "GRAPHQL_VALIDATION_FAILED", "{query}: {answer}");
        assert!(answer.get("data").is_none(), "{query}: {answer}");
    }
}

#[test]
fn a_stream_of_lines_goes_on_behind_the_last_one_that_was_seen() {
    let daemon = Daemon::start();
    let id = daemon.enqueue(&["/bin/sh", "-c", "seq 1 300"]);
    daemon.wait_final(&id);
    for query in [
        "subscription ($id: ID!) { jobLog(id: $id) { cursor lines { text } } }",
        "subscription ($id: ID!, $after: LogCursor) { jobLog(id: $id, after: $after) { cursor lines { text } } }",
    ] {
        let lines = |last_event_id: &str| {
            let asked = (query, &json!({ "id": id }));
            let stream = Sse::open_behind(daemon.address(), daemon.token(), asked, last_event_id);
            let batches: Vec<Value> =
                stream.expect("a stream").map(|result| result["data"]["jobLog"].clone()).collect();
            let texts =
                batches.iter().flat_map(|batch| batch["lines"].as_array().cloned().unwrap_or_default());
            texts.map(|line| string(&line["text"])).collect::<Vec<_>>()
        };
        let page = "query ($id: ID!) { job(id: $id) { log(first: 120) { cursor } } }";
        let cursor = string(&daemon.graphql(page, json!({ "id": id }))["job"]["log"]["cursor"]);
        assert_eq!(lines("").len(), 300);
        let rest = lines(&cursor);
        assert_eq!((rest.len(), rest.first().map(String::as_str)), (180, Some("121")), "{query}");
    }
}

#[test]
fn a_token_that_sees_its_own_jobs_only_changes_no_others_and_learns_nothing_of_them() {
    let daemon = Daemon::start_with(&["--slots", "1"]);
    let gate = daemon.directory().join("gate");
    let running =
        daemon.enqueue(&["/bin/sh", "-c", &format!("until [ -e {} ]; do sleep 0.05; done", gate.display())]);
    let waiting = daemon.enqueue(&["/bin/true"]);
    let grants = json!([{"verb": "READ", "ownJobsOnly": true}, {"verb": "OPERATE"}]);
    let token = make(&daemon, "narrow", grants);
    for id in [&running, &waiting, &"job_999".to_owned()] {
        for query in [
            "mutation ($id: ID!) { x: jobHold(input: {id: $id}) { job { id } userErrors { code message } } }",
            "mutation ($id: ID!) { x: jobRelease(input: {id: $id}) { job { id } userErrors { code message } } }",
            "mutation ($id: ID!) { x: jobUpdate(input: {id: $id, priority: 9}) { job { id } userErrors { code message } } }",
        ] {
            let answer = ask(&daemon, &token, query, &json!({ "id": id }));
            let expected = json!([{ "code": "NOT_FOUND", "message": format!("there is no job {id}") }]);
            assert_eq!(
                answer["data"]["x"],
                json!({ "job": null, "userErrors": expected }),
                "{query}: {answer}"
            );
        }
    }
    let job =
        daemon.graphql("query ($id: ID!) { job(id: $id) { state priority } }", json!({ "id": waiting }));
    assert_eq!(job["job"], json!({ "state": "QUEUED", "priority": 0 }));
    std::fs::write(gate, "").expect("a directory of ours");
}
