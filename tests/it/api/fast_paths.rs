//! The fast paths against the ordinary one, on selections that fall otherwise in each run: a document that is known
//! against one that is judged, and a list that writes itself against one that is resolved field by field. A document
//! that joins two selections under one key gets no ready JSON, so that a harmless joint at its end shows what the
//! ordinary way answers.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::transport::{BOTH, Feed};
use crate::support::daemon::Daemon;
use crate::support::dice::Dice;
use crate::support::length::sized;
use crate::support::wait::PATIENCE;

/// Sends everything the ordinary way: two selections under one key.
const JOINT: &str = " __schema { queryType { name } } __schema { queryType { name } }";
/// What the joint adds to the answer.
const JOINED: &str = r#","__schema":{"queryType":{"name":"Query"}}"#;

/// Fields whose answer may differ from one moment to the next.
const CHANGING: [&str; 5] = ["duration", "estimatedFinishAt", "worker", "subject", "totalCount"];

const SHAPE: &str = "{ __schema { types { name kind interfaces { name } fields { name args { name }
  type { name kind ofType { name kind ofType { name kind ofType { name kind } } } } } } } }";

/// A client that keeps its connection and reads answers as they are written.
struct Client<'a> {
    agent: ureq::Agent,
    daemon: &'a Daemon,
}

impl Client<'_> {
    fn of(daemon: &Daemon) -> Client<'_> {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        let agent = config.timeout_global(Some(Duration::from_secs(40))).build().new_agent();
        Client { agent, daemon }
    }

    fn ask(&self, query: &str, variables: &Value) -> String {
        let body = json!({"query": query, "variables": variables}).to_string();
        let mut answer = self
            .agent
            .post(format!("{}/graphql", self.daemon.url()))
            .header("Authorization", format!("Bearer {}", self.daemon.token()))
            .header("Content-Type", "application/json")
            .send(body)
            .unwrap_or_else(|why| panic!("{why}: {query}"));
        answer.body_mut().read_to_string().expect("an answer is text")
    }
}

struct FieldShape {
    name: String,
    kind: String,
    has_selections: bool,
    takes_first: bool,
    takes_last: bool,
}

/// The fields of each type that a selection may have.
struct Shape {
    fields: HashMap<String, Vec<FieldShape>>,
    nodes: Vec<String>,
}

fn named(kind: &Value) -> (String, String) {
    let mut kind = kind;
    while !kind["ofType"].is_null() {
        kind = &kind["ofType"];
    }
    let text = |key: &str| kind[key].as_str().unwrap_or_default().to_owned();
    (text("name"), text("kind"))
}

impl Shape {
    fn of(daemon: &Daemon) -> Shape {
        let answer = daemon.graphql(SHAPE, json!({}));
        let mut shape = Shape { fields: HashMap::new(), nodes: Vec::new() };
        let empty = Vec::new();
        for kind in answer["__schema"]["types"].as_array().unwrap_or(&empty) {
            let name = kind["name"].as_str().unwrap_or_default().to_owned();
            if kind["interfaces"].as_array().is_some_and(|list| list.iter().any(|one| one["name"] == "Node"))
            {
                shape.nodes.push(name.clone());
            }
            let fields = kind["fields"].as_array().unwrap_or(&empty).iter().map(|field| {
                let (kind, sort) = named(&field["type"]);
                let takes = |name: &str| {
                    field["args"].as_array().is_some_and(|args| args.iter().any(|arg| arg["name"] == name))
                };
                FieldShape {
                    name: field["name"].as_str().unwrap_or_default().to_owned(),
                    kind,
                    has_selections: matches!(sort.as_str(), "OBJECT" | "INTERFACE" | "UNION"),
                    takes_first: takes("first"),
                    takes_last: takes("last"),
                }
            });
            let fields = fields.filter(|field| !CHANGING.contains(&field.name.as_str())).collect();
            shape.fields.insert(name, fields);
        }
        shape
    }
}

/// Writes one document.
struct Writer<'a> {
    shape: &'a Shape,
    dice: &'a Dice,
    fragments: Vec<String>,
    names: usize,
}

impl Writer<'_> {
    /// One in `sides`.
    fn falls(&self, sides: usize) -> bool {
        self.dice.roll(sides) == 0
    }

    fn fresh(&mut self) -> usize {
        self.names += 1;
        self.names
    }

    fn directive(&self) -> &'static str {
        match self.dice.roll(16) {
            0 => " @skip(if: $yes)",
            1 => " @include(if: $yes)",
            2 => " @skip(if: $no)",
            3 => " @include(if: false)",
            _ => "",
        }
    }

    fn selections(&mut self, kind: &str, depth: usize) -> String {
        let mut text = String::from("{ __typename");
        for _ in 0..=self.dice.roll(7) {
            let part = self.part(kind, depth);
            text.push(' ');
            text.push_str(&part);
        }
        text + " }"
    }

    fn part(&mut self, kind: &str, depth: usize) -> String {
        match self.dice.roll(14) {
            0 if depth > 0 => format!("...{} {}", self.directive(), self.selections(kind, depth - 1)),
            1 if depth > 0 => {
                format!("... on {kind}{} {}", self.directive(), self.selections(kind, depth - 1))
            }
            2 if depth > 0 => {
                let (name, inner) = (self.fresh(), self.selections(kind, depth - 1));
                self.fragments.push(format!(" fragment F{name} on {kind} {inner}"));
                format!("...F{name}{}", self.directive())
            }
            3 if self.shape.nodes.iter().any(|node| node == kind) => "... on Node { id }".to_owned(),
            _ => self.field(kind, depth),
        }
    }

    fn field(&mut self, kind: &str, depth: usize) -> String {
        let shape = self.shape;
        let empty = Vec::new();
        let fields: Vec<&FieldShape> = shape
            .fields
            .get(kind)
            .unwrap_or(&empty)
            .iter()
            .filter(|field| depth > 0 || !field.has_selections)
            .collect();
        if fields.is_empty() {
            return "__typename".to_owned();
        }
        let field = fields[self.dice.roll(fields.len())];
        // What has selections has a name of its own, or two of them would have to be joined.
        let alias = if field.has_selections && !self.falls(40) || self.falls(4) {
            format!("a{}: ", self.fresh())
        } else {
            String::new()
        };
        let arguments = self.arguments(field);
        let inner = if field.has_selections {
            format!(" {}", self.selections(&field.kind, depth - 1))
        } else {
            String::new()
        };
        format!("{alias}{}{arguments}{}{inner}", field.name, self.directive())
    }

    fn arguments(&self, field: &FieldShape) -> &'static str {
        match self.dice.roll(8) {
            // Refused by whoever resolves it, for each row.
            0 if field.takes_first => "(first: 0)",
            1 | 2 if field.takes_first => "(first: $few)",
            3 if field.takes_last => "(last: 2)",
            4 if field.takes_last => "(first: 1, last: 1)",
            _ => "",
        }
    }
}

/// A document without and with the joint, and variables that sometimes do not fit.
fn written(shape: &Shape, dice: &Dice, id: &str) -> (String, String, Value) {
    let mut writer = Writer { shape, dice, fragments: Vec::new(), names: 0 };
    let root = match dice.roll(4) {
        0 | 1 => format!("jobs(first: $many) {}", writer.selections("JobConnection", 4)),
        2 => format!("events(first: $many) {}", writer.selections("EventBatch", 3)),
        _ => format!("job(id: \"{id}\") {}", writer.selections("Job", 4)),
    };
    // Every variable is used, whatever fell.
    let used = "x: job(id: \"1\") @skip(if: $yes) { id attempts(first: $few) @skip(if: $no) { __typename } } \
                y: jobs(first: $many) @include(if: $no) { __typename }";
    let head = "query ($many: Int!, $few: Int! = 2, $yes: Boolean!, $no: Boolean = false)";
    let fragments = writer.fragments.concat();
    // The joint comes last, so that it moves no place that an error names.
    let document = |joint: &str| format!("{fragments} {head} {{ {used} {root}{joint} }}");
    let variables = match dice.roll(24) {
        0 => json!({"many": "5", "yes": true}),
        1 => json!({"many": 5, "yes": null}),
        2 => json!({"many": 5, "yes": true, "few": [1]}),
        3 => json!({"many": 0, "yes": true}),
        4 => json!({"many": 5, "yes": true, "few": 0}),
        5 => json!({"many": 5, "yes": true, "no": null}),
        _ => json!({"many": 1 + dice.roll(6), "yes": true, "few": 1 + dice.roll(3)}),
    };
    (document(""), document(JOINT), variables)
}

/// The answer as a value, with its errors in one order: those of several rows come as they come.
fn in_order(answer: &str) -> Value {
    let mut answer: Value = serde_json::from_str(answer).unwrap_or_else(|why| panic!("{why}: {answer}"));
    let is_nulled = answer.get("data").is_some_and(|data| {
        data.is_null() || data.as_object().is_some_and(|fields| fields.values().any(Value::is_null))
    });
    if let Some(errors) = answer.get_mut("errors").and_then(Value::as_array_mut) {
        if is_nulled {
            // Fields are resolved at the same time: where one of them takes all the others with it, nobody knows which are
            // heard before.
            for error in errors.iter_mut() {
                *error = error["extensions"]["code"].take();
            }
            errors.dedup();
        }
        errors.sort_by_key(Value::to_string);
    }
    answer
}

fn scene() -> (Daemon, String) {
    let daemon = Daemon::start();
    let commands = [
        json!({"exec": {"argv": ["/bin/sh", "-c", "echo \"a\\\\b\t\"; printf 'no \\001 end'; echo e >&2"]}}),
        json!({"exec": {"argv": ["/bin/sh", "-c", "echo 'it broke: \"x\"' >&2; exit 3"]}}),
        json!({"exec": {"argv": ["/bin/true"], "environment": [{"name": "A", "value": "ä\n\"\u{1}"}]}}),
    ];
    let labels = json!([{"key": "where", "value": "here, \"there\"\n"}]);
    let mut ids = Vec::new();
    for command in &commands {
        for _ in 0..3 {
            let input = json!({
                "run": {"command": command}, "labels": labels, "timeout": "90s",
                "uniqueKey": format!("key-\"{}\"", ids.len()),
            });
            ids.push(daemon.enqueue_with(input));
        }
    }
    for id in &ids {
        daemon.wait_final(id);
    }
    let id = ids.swap_remove(0);
    (daemon, id)
}

#[test]
fn a_fast_answer_is_the_ordinary_one_byte_by_byte() {
    let (daemon, id) = scene();
    let (client, shape, dice) = (Client::of(&daemon), Shape::of(&daemon), Dice::new());
    let cases = sized(500, 12_000);
    let (mut with_data, mut with_errors, mut reordered, mut too_large) = (0, 0, 0, 0);
    for case in 0..cases {
        let (document, joined, variables) = written(&shape, &dice, &id);
        let said = |what: &str, one: &str, other: &str| {
            format!("case {case}, {what}:\n{document}\n{variables}\n{one}\n{other}")
        };
        let ordinary = client.ask(&joined, &variables).replace(JOINED, "");
        let fast = client.ask(&document, &variables);
        if ordinary.contains("QUERY_TOO_LARGE") {
            too_large += 1;
            continue;
        }
        if fast != ordinary {
            // Only the order of several errors may differ.
            reordered += 1;
            let is_same = in_order(&fast) == in_order(&ordinary) && fast.contains("\"errors\"");
            assert!(is_same, "{}", said("ordinary and fast", &ordinary, &fast));
        }
        // The second one is kept, the third one is known.
        for _ in 0..2 {
            let known = client.ask(&document, &variables);
            let is_same = known == fast || in_order(&known) == in_order(&fast);
            assert!(is_same, "{}", said("judged and known", &fast, &known));
        }
        assert!(!fast.contains("INTERNAL"), "{}", said("not known", &fast, ""));
        with_data += usize::from(fast.contains("\"data\":{"));
        with_errors += usize::from(fast.contains("\"errors\""));
    }
    println!(
        "{cases} documents: {with_data} with data, {with_errors} with errors, {reordered} in another order, {too_large} too large"
    );
    assert!(with_data > cases / 2 && with_errors > cases / 20, "{with_data} {with_errors}");
    assert!(reordered < cases / 10 && too_large < cases / 5, "{reordered} {too_large}");
}

#[test]
fn a_list_selected_twice_under_one_key_keeps_both_selections() {
    let (daemon, _) = scene();
    for document in [
        "{ r: jobs(first: 3) { nodes { id } } r: jobs(first: 3) { nodes { state } } }",
        "{ r: jobs(first: 3) { nodes { id } } ...F } fragment F on Query { r: jobs(first: 3) { nodes { state } } }",
        "{ r: jobs(first: 3) { nodes { id } nodes { state } } }",
        "{ r: jobs(first: 3) { nodes { id } ... { nodes { state } } } }",
    ] {
        let rows = daemon.graphql(document, json!({}))["r"]["nodes"].clone();
        let rows = rows.as_array().unwrap_or_else(|| panic!("{document}: {rows}"));
        assert_eq!(rows.len(), 3, "{document}");
        for row in rows {
            assert!(row["id"].is_string() && row["state"].is_string(), "{document}: {row}");
        }
    }
}

/// Two jobs of which every part says something.
fn full_jobs(daemon: &Daemon) {
    let task = json!({
        "name": "full", "command": {"exec": {"argv": ["/bin/true"]}}, "parametersSchema": {"type": "object"},
    });
    let put = "mutation ($input: TaskPutInput!) { taskPut(input: $input) { userErrors { message } } }";
    let answer = daemon.graphql(put, json!({"input": task}));
    assert_eq!(answer["taskPut"]["userErrors"], json!([]), "{answer}");
    let script = "echo '{\"progress\": {\"done\": 1, \"total\": 3}}' > \"$BEADLE_REPORT\"; exit 3";
    let failing = daemon.enqueue_with(json!({
        "run": {"command": {"script": {"text": script}}}, "retryPolicy": {"maxAttempts": 1, "factor": 3.5},
        "labels": [{"key": "a", "value": "b"}],
    }));
    daemon.wait_final(&failing);
    daemon.enqueue_with(json!({
        "run": {"task": {"name": "full"}}, "parameters": {"x": 1}, "runsOn": [{"key": "no", "value": "where"}],
    }));
}

#[test]
fn a_field_of_a_job_says_the_same_in_a_list_that_asks_for_nothing_else() {
    let (daemon, _) = scene();
    full_jobs(&daemon);
    let shape = Shape::of(&daemon);
    let plain = |kind: &str| {
        let fields = shape.fields[kind].iter().filter(|field| !field.has_selections);
        fields.map(|field| field.name.as_str()).collect::<Vec<_>>().join(" ")
    };
    let whole = |selection: &str| {
        let list = daemon.graphql("{ jobs(first: 50) { nodes { id } } }", json!({}));
        let ids = list["jobs"]["nodes"].as_array().expect("a list").clone();
        let one = format!("query ($id: ID!) {{ job(id: $id) {{ id {selection} }} }}");
        let jobs = ids.into_iter().map(|job| daemon.graphql(&one, json!({"id": job["id"]}))["job"].take());
        Value::Array(jobs.collect())
    };
    for field in &shape.fields["Job"] {
        let inner = if field.has_selections {
            format!("{{ __typename {} }}", plain(&field.kind))
        } else {
            String::new()
        };
        let arguments = if field.takes_last { "(last: 1)" } else { "" };
        let selection = format!("{}{arguments} {inner}", field.name);
        let alone = whole(&selection);
        for list in ["first: 50", "first: 50, filter: {origins: [API]}"] {
            let nodes = format!("{{ jobs({list}) {{ nodes {{ id {selection} }} }} }}");
            assert_eq!(daemon.graphql(&nodes, json!({}))["jobs"]["nodes"], alone, "{nodes}");
        }
        let edges = "{ jobs(first: 50) { edges { node { id ...F } } } } fragment F on Job";
        let edges = format!("{edges} {{ {selection} }}");
        let rows = daemon.graphql(&edges, json!({}))["jobs"]["edges"].take();
        let rows = rows.as_array().expect("a list").iter().map(|edge| edge["node"].clone());
        assert_eq!(Value::Array(rows.collect()), alone, "{edges}");
    }
}

#[test]
fn every_transport_writes_rows_as_they_are() {
    let (daemon, id) = scene();
    let client = Client::of(&daemon);
    let lists = "query ($n: Int!) {
      jobs(first: $n) { totalCount pageInfo { hasNextPage } edges { cursor node { id state createdAt command { argv } } } }
      events(first: $n) { events { cursor type at data jobId } }
    }";
    let log = "query ($id: ID!) { job(id: $id) { log(last: 10) { lines { text stream at cursor } } } }";
    for (document, variables) in [(lists, json!({"n": 4})), (log, json!({ "id": id }))] {
        let answer = in_order(&client.ask(document, &variables));
        assert!(answer.get("errors").is_none(), "{answer:#}");
        for transport in BOTH {
            let mut feed = Feed::open(transport, &daemon, document, &variables);
            let same = feed.next_within(PATIENCE).expect("a query is answered on every transport");
            assert_eq!(same, answer, "{transport:?}");
        }
    }
    let wrong = json!({"n": "4"});
    let refused = in_order(&client.ask(lists, &wrong));
    assert_eq!(refused["errors"][0]["extensions"]["code"], json!("BAD_USER_INPUT"), "{refused:#}");
    for transport in BOTH {
        let error = Feed::open(transport, &daemon, lists, &wrong).expect_error();
        assert_eq!(error, refused["errors"][0], "{transport:?}");
    }
    let events = "subscription ($after: EventCursor) {
      events(after: $after) { cursor events { cursor type at jobId actor data } } }";
    let first = client.ask("{ events(first: 1) { cursor } }", &json!({}));
    let after = json!({"after": in_order(&first)["data"]["events"]["cursor"]});
    let batches = BOTH.map(|transport| Feed::open(transport, &daemon, events, &after).expect("events"));
    assert!(batches.iter().all(|batch| batch["events"].as_array().is_some_and(|events| !events.is_empty())));
    assert_eq!(batches[0]["events"][0], batches[1]["events"][0]);
}
