//! A token of a CI system: it makes jobs of the tasks that its globs fit, reads the jobs that it made, and learns
//! of nothing else by any way round.

use serde_json::{Value, json};

use crate::api::socket::Socket;
use crate::api::tokens::{Made, ask, make};
use crate::support::daemon::{Daemon, send};
use crate::support::sse::{End, Sse};
use crate::support::wait::PATIENCE;

const ENQUEUE: &str = "mutation ($input: JobEnqueueInput!) {
  jobEnqueue(input: $input) {
    job { id task { name } queue { name } retryOf { id } } deduplicated userErrors { code message path }
  }
}";

fn ci(daemon: &Daemon) -> Made {
    let grants = json!([
        {"verb": "READ", "ownJobsOnly": true},
        {"verb": "ENQUEUE", "tasks": ["deploy-*"]},
        {"verb": "CANCEL", "ownJobsOnly": true},
    ]);
    make(daemon, "ci", grants)
}

fn put_task(daemon: &Daemon, name: &str) -> String {
    let query =
        "mutation ($input: TaskPutInput!) { taskPut(input: $input) { task { id } userErrors { code } } }";
    let command = json!({"exec": {"argv": ["/bin/echo", name]}});
    let answer = daemon.graphql(query, json!({"input": {"name": name, "command": command}}));
    answer["taskPut"]["task"]["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

fn of_task(name: &str) -> Value {
    json!({"run": {"task": {"name": name}}})
}

/// The id of a job that the token made.
fn made(daemon: &Daemon, token: &Made, input: &Value) -> String {
    let answer = ask(daemon, token, ENQUEUE, &json!({ "input": input }));
    let id = answer["data"]["jobEnqueue"]["job"]["id"].as_str();
    id.unwrap_or_else(|| panic!("refused: {answer}")).to_owned()
}

/// The first refusal of a mutation, as code and message.
fn refusal(answer: &Value, field: &str) -> (String, String) {
    let error = &answer["data"][field]["userErrors"][0];
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("not refused: {answer}")).to_owned();
    (text(&error["code"]), text(&error["message"]))
}

#[test]
fn it_makes_jobs_of_its_globs_only_and_is_told_what_it_lacks() {
    let daemon = Daemon::start();
    put_task(&daemon, "deploy-a");
    let wipe = put_task(&daemon, "wipe");
    let ci = ci(&daemon);
    let job = made(&daemon, &ci, &of_task("deploy-a"));
    daemon.wait_final(&job);
    let refused =
        |input: Value| refusal(&ask(&daemon, &ci, ENQUEUE, &json!({ "input": input })), "jobEnqueue");
    let (code, message) = refused(of_task("wipe"));
    assert!(code == "FORBIDDEN" && message.contains("ENQUEUE") && message.contains("wipe"), "{message}");
    // Whether there is such a task is not told.
    assert_eq!(refused(of_task("nothing")).0, "FORBIDDEN");
    assert_eq!(refused(of_task("deploy-nothing")).0, "NOT_FOUND");
    assert_eq!(refused(json!({"run": {"task": {"id": wipe}}})).0, "NOT_FOUND");
    assert_eq!(refused(json!({"run": {"task": {"id": "task_999"}}})).0, "NOT_FOUND");
    let (code, message) = refused(json!({"run": {"command": {"exec": {"argv": ["/bin/true"]}}}}));
    assert!(code == "FORBIDDEN" && message.contains("COMMAND"), "{message}");
    let many = "mutation ($jobs: [JobEnqueueInput!]!) {
      jobEnqueueMany(input: {jobs: $jobs}) { results { job { id } userErrors { code } } } }";
    let answer = ask(&daemon, &ci, many, &json!({"jobs": [of_task("wipe"), of_task("deploy-a")]}));
    let results = &answer["data"]["jobEnqueueMany"]["results"];
    assert_eq!(results[0]["userErrors"][0]["code"], json!("FORBIDDEN"));
    assert!(results[1]["job"]["id"].is_string(), "{answer}");
    let unique =
        json!({"run": {"task": {"name": "deploy-a"}}, "uniqueKey": "k", "onConflict": "REPLACE_QUEUED"});
    assert_eq!(refused(unique).0, "FORBIDDEN");
}

/// A daemon with a job of somebody else's, its attempt, and a token that may not see them.
struct Scene {
    daemon: Daemon,
    ci: Made,
    others: String,
    attempt: String,
    mine: String,
}

fn scene() -> Scene {
    let daemon = Daemon::start();
    let task = put_task(&daemon, "deploy-a");
    let others = daemon.enqueue_with(of_task("deploy-a"));
    daemon.wait_final(&others);
    let schedule =
        "mutation ($input: SchedulePutInput!) { schedulePut(input: $input) { userErrors { code } } }";
    let input = json!({"name": "nightly", "task": {"id": task}, "timing": {"cron": "@yearly"}});
    daemon.graphql(schedule, json!({ "input": input }));
    let attempts = "query ($id: ID!) { job(id: $id) { attempts { nodes { id } } } }";
    let attempt =
        daemon.graphql(attempts, json!({"id": others}))["job"]["attempts"]["nodes"][0]["id"].clone();
    let ci = ci(&daemon);
    let mine = made(&daemon, &ci, &of_task("deploy-a"));
    daemon.wait_final(&mine);
    Scene { attempt: attempt.as_str().expect("it ran").to_owned(), daemon, ci, others, mine }
}

#[test]
fn it_reads_and_follows_its_own_jobs() {
    let Scene { daemon, ci, mine, .. } = scene();
    let query = "query ($id: ID!) {
      job(id: $id) { state task { name } log { lines { text } } attempts { nodes { log { lines { text } } } } }
      jobs { nodes { id } totalCount }
      jobCounts { succeeded queued running }
      events { events { jobId type actor } }
    }";
    let answer = ask(&daemon, &ci, query, &json!({"id": mine}));
    let data = &answer["data"];
    assert_eq!(data["job"]["task"]["name"], json!("deploy-a"), "{answer}");
    assert_eq!(data["job"]["log"]["lines"][0]["text"], json!("deploy-a"));
    assert_eq!(data["jobs"], json!({"nodes": [{"id": mine}], "totalCount": 1}));
    assert_eq!(data["jobCounts"], json!({"succeeded": 1, "queued": 0, "running": 0}));
    let events = data["events"]["events"].as_array().expect("a list");
    assert!(!events.is_empty() && events.iter().all(|event| event["jobId"] == json!(mine)), "{events:?}");
    let follow = "subscription ($id: ID!) { jobFollow(id: $id) { job { state } log { lines { text } } } }";
    let mut stream = Sse::open(daemon.address(), &ci.secret, follow, &json!({"id": mine})).expect("a stream");
    let mut text = String::new();
    while let Ok(message) = stream.next_within(PATIENCE) {
        text.push_str(&message.result.to_string());
    }
    assert!(text.contains("SUCCEEDED") && text.contains("deploy-a"), "{text}");
    let retry =
        "mutation ($id: ID!) { jobRetry(input: {id: $id}) { job { retryOf { id } } userErrors { code } } }";
    let answer = ask(&daemon, &ci, retry, &json!({"id": mine}));
    assert_eq!(answer["data"]["jobRetry"]["job"]["retryOf"]["id"], json!(mine), "{answer}");
}

#[test]
fn nothing_of_others_can_be_read_by_any_way_round() {
    let Scene { daemon, ci, others, attempt, mine } = scene();
    let ids = "query ($id: ID!) { x: tasks { nodes { id } } queues { nodes { id } } workers { nodes { id } }
      schedules { nodes { id } } job(id: $id) { id } }";
    let all = daemon.graphql(ids, json!({"id": others}));
    let id = |list: &str| all[list]["nodes"][0]["id"].as_str().expect("there is one").to_owned();
    let node = "query ($id: ID!) { node(id: $id) { id ... on Job { log { lines { text } } } ... on Attempt { log { lines { text } } } } }";
    let things = [&others, &attempt, &id("x"), &id("queues"), &id("workers"), &id("schedules"), &ci.id];
    for thing in things {
        assert_ne!(daemon.graphql(node, json!({"id": thing}))["node"], Value::Null, "{thing} exists");
        let answer = ask(&daemon, &ci, node, &json!({"id": thing}));
        assert_eq!(answer, json!({"data": {"node": null}}), "{thing}");
    }
    let lists = "query ($id: ID!, $mine: ID!) {
      job(id: $id) { id }
      byId: jobs(filter: {ids: [$id]}) { nodes { id } totalCount }
      byTask: jobs(filter: {tasks: [\"deploy-a\"]}, orderBy: {field: FINISHED_AT}) { nodes { id } }
      byText: jobs(filter: {text: \"deploy\"}, orderBy: {field: PRIORITY, direction: ASC}) { nodes { id } }
      counts: jobCounts(filter: {ids: [$id]}) { succeeded }
      events(filter: {jobIds: [$id]}) { events { type } }
      mine: job(id: $mine) { task { jobs { nodes { id } totalCount } } }
      feed: events(first: 200) { events { jobId subject { id } data } }
    }";
    let data = ask(&daemon, &ci, lists, &json!({"id": others, "mine": mine}))["data"].take();
    assert_eq!(data["job"], Value::Null);
    assert_eq!(data["byId"], json!({"nodes": [], "totalCount": 0}));
    assert_eq!(
        (&data["byTask"]["nodes"], &data["byText"]["nodes"]),
        (&json!([{"id": mine}]), &json!([{"id": mine}]))
    );
    assert_eq!(data["counts"]["succeeded"], json!(0));
    assert_eq!(data["events"]["events"], json!([]));
    assert_eq!(data["mine"]["task"]["jobs"], json!({"nodes": [{"id": mine}], "totalCount": 1}));
    assert!(!data.to_string().contains(&format!("{others}\"")), "{data}");
    for field in [
        "job(id: $id) { job { id } }",
        "jobFollow(id: $id) { job { id } }",
        "jobLog(id: $id) { lines { text } }",
    ] {
        let query = format!("subscription ($id: ID!) {{ {field} }}");
        let mut stream =
            Sse::open(daemon.address(), &ci.secret, &query, &json!({"id": others})).expect("a stream");
        let first = stream.next_within(PATIENCE).expect("an answer").result;
        assert_eq!(first["errors"][0]["extensions"]["code"], json!("NOT_FOUND"), "{field}: {first}");
        let mut socket = Socket::open(daemon.address(), &ci.secret, &query, &json!({"id": others}));
        let first = socket.next_within(PATIENCE).expect("an answer");
        assert_eq!(first["errors"][0]["extensions"]["code"], json!("NOT_FOUND"), "{field}: {first}");
    }
}

#[test]
fn nothing_of_others_can_be_changed_or_found_out_by_a_mutation() {
    let Scene { daemon, ci, others, mine, .. } = scene();
    let missing = "job_987654321";
    for field in ["jobCancel", "jobRetry"] {
        let query = format!(
            "mutation ($id: ID!) {{ {field}(input: {{id: $id}}) {{ job {{ id }} userErrors {{ code message }} }} }}"
        );
        let about = |id: &str| refusal(&ask(&daemon, &ci, &query, &json!({ "id": id })), field);
        // A job of somebody else and one that does not exist look the same.
        let (code, message) = about(&others);
        assert_eq!(
            (code.as_str(), message.replace(&others, "ID")),
            ("NOT_FOUND", about(missing).1.replace(missing, "ID"))
        );
    }
    let held = |key: &str| json!({"run": {"task": {"name": "deploy-a"}}, "uniqueKey": key, "isHeld": true});
    let hidden = daemon.enqueue_with(held("release"));
    for conflict in ["RETURN_EXISTING", "REJECT"] {
        let mut input = held("release");
        input["onConflict"] = json!(conflict);
        let answer = ask(&daemon, &ci, ENQUEUE, &json!({ "input": input }));
        assert_eq!(refusal(&answer, "jobEnqueue").0, "UNIQUE_KEY_TAKEN", "{conflict}");
        assert_eq!(answer["data"]["jobEnqueue"]["job"], Value::Null);
        assert!(!answer.to_string().contains(&hidden), "{answer}");
    }
    let own = made(&daemon, &ci, &held("mine"));
    let again = ask(&daemon, &ci, ENQUEUE, &json!({"input": held("mine")}));
    assert_eq!(again["data"]["jobEnqueue"]["job"]["id"], json!(own), "its own is found again: {again}");
    let cancel = "mutation ($id: ID!) { jobCancel(input: {id: $id}) { job { state } userErrors { code } } }";
    let answer = ask(&daemon, &ci, cancel, &json!({"id": own}));
    assert_eq!(answer["data"]["jobCancel"]["job"]["state"], json!("CANCELLED"), "{answer}");
    assert_ne!(mine, own);
}

#[test]
fn its_feed_tells_of_its_own_jobs_only() {
    let Scene { daemon, ci, others, .. } = scene();
    let query = "subscription { events { events { jobId type subject { id } } cursor } }";
    let mut stream = Sse::open(daemon.address(), &ci.secret, query, &json!({})).expect("a stream");
    let mut socket = Socket::open(daemon.address(), &ci.secret, query, &json!({}));
    // The socket is open when it has heard of a job; what comes before that is not waited for.
    daemon.wait_final(&daemon.enqueue_with(of_task("deploy-a")));
    let mine = made(&daemon, &ci, &of_task("deploy-a"));
    daemon.wait_final(&mine);
    let mut heard = [Vec::new(), Vec::new()];
    for (at, list) in heard.iter_mut().enumerate() {
        while !list.iter().any(|event: &Value| event["type"] == json!("ATTEMPT_FINISHED")) {
            let result = if at == 0 {
                stream.next_within(PATIENCE).map(|message| message.result)
            } else {
                socket.next_within(PATIENCE)
            };
            let result = result.unwrap_or_else(|end: End| panic!("{end:?} after {list:?}"));
            list.extend(result["data"]["events"]["events"].as_array().expect("a batch").clone());
        }
        assert!(list.iter().all(|event| event["jobId"] == json!(mine)), "{list:?}");
        assert!(list.iter().all(|event| event["subject"]["id"] == json!(mine)), "{list:?}");
    }
    assert_ne!(others, mine);
}

#[test]
fn what_is_closed_names_the_missing_grant_on_every_transport() {
    let Scene { daemon, ci, .. } = scene();
    let check = |answer: &Value, field: &str| {
        let error = &answer["errors"][0];
        assert_eq!(error["extensions"]["code"], json!("FORBIDDEN"), "{answer}");
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.starts_with(&format!("{field} needs the grant READ")), "{message}");
    };
    for (query, field) in [
        ("{ queues { nodes { name } } }", "Query.queues"),
        ("{ jobs { nodes { queue { waitingCount } } } }", "Queue.waitingCount"),
        ("{ jobs { nodes { task { schedules { name } } } } }", "Task.schedules"),
        ("{ jobs { nodes { attempts { nodes { worker { name } } } } } }", "Attempt.worker"),
    ] {
        check(&send(daemon.address(), &ci.secret, query, &json!({})).expect("an answer"), field);
        check(
            &Socket::open(daemon.address(), &ci.secret, query, &json!({}))
                .next_within(PATIENCE)
                .expect("an answer"),
            field,
        );
        let mut stream = Sse::open(daemon.address(), &ci.secret, query, &json!({})).expect("a stream");
        check(&stream.next_within(PATIENCE).expect("an answer").result, field);
    }
}

#[test]
fn it_depends_on_its_own_jobs_only_and_is_told_why_it_waits_without_naming_others() {
    let daemon = Daemon::start();
    put_task(&daemon, "deploy-a");
    let ci = ci(&daemon);
    let holder = daemon.enqueue_with(json!({
        "run": {"command": {"exec": {"argv": ["/bin/sleep", "600"]}}}, "concurrencyKey": "web",
    }));
    let keyed = json!({"run": {"task": {"name": "deploy-a"}}, "concurrencyKey": "web"});
    let waiting = made(&daemon, &ci, &keyed);
    let query = "query ($id: ID!) { job(id: $id) { dependsOn { id } blockers { __typename
      ... on ConcurrencyBlocker { message key holders { id } } ... on DependencyBlocker { jobs { id } } } } }";
    let answer = ask(&daemon, &ci, query, &json!({ "id": waiting }));
    let blocker = &answer["data"]["job"]["blockers"][0];
    assert_eq!(
        blocker["message"],
        json!("one job at a time with the key web: others come first"),
        "{answer}"
    );
    assert_eq!(blocker["holders"], json!([]));
    assert!(!answer.to_string().contains(&holder), "{answer}");
    let behind = |on: &str| json!({"run": {"task": {"name": "deploy-a"}}, "dependsOn": [on]});
    let next = made(&daemon, &ci, &behind(&waiting));
    let answer = ask(&daemon, &ci, query, &json!({ "id": next }));
    assert_eq!(answer["data"]["job"]["dependsOn"], json!([{"id": waiting}]), "{answer}");
    assert_eq!(answer["data"]["job"]["blockers"][0]["jobs"], json!([{"id": waiting}]), "{answer}");
    for unseen in [holder.as_str(), "job_999"] {
        let refused = ask(&daemon, &ci, ENQUEUE, &json!({"input": behind(unseen)}));
        let (code, message) = refusal(&refused, "jobEnqueue");
        assert_eq!((code.as_str(), message), ("NOT_FOUND", format!("there is no job {unseen}")));
        assert_eq!(
            refused["data"]["jobEnqueue"]["userErrors"][0]["path"],
            json!(["dependsOn", "0"]),
            "{refused}"
        );
    }
    // What it may not see it cannot change in bulk either.
    let bulk = "mutation { jobBulkCancel(input: {filter: {}}) { matchedCount userErrors { code } } }";
    let answer = ask(&daemon, &ci, bulk, &json!({}));
    assert_eq!(answer["data"]["jobBulkCancel"]["matchedCount"], json!(2), "its own two: {answer}");
    let state = daemon.graphql("query ($id: ID!) { job(id: $id) { state } }", json!({ "id": holder }));
    assert_eq!(state["job"]["state"], json!("RUNNING"), "the other one runs on");
    let repeat = "mutation { jobBulkRetry(input: {filter: {states: [CANCELLED]}}) { changedCount } }";
    let answer = ask(&daemon, &ci, repeat, &json!({}));
    assert_eq!(answer["data"]["jobBulkRetry"]["changedCount"], json!(2), "{answer}");
}

#[test]
fn it_cannot_wait_for_a_job_of_others_by_the_key_that_one_has() {
    let daemon = Daemon::start();
    put_task(&daemon, "deploy-a");
    let ci = ci(&daemon);
    let run = json!({"command": {"exec": {"argv": ["/bin/echo", "secret"]}}});
    let theirs = daemon.enqueue_with(json!({"run": run, "isHeld": true, "uniqueKey": "k"}));
    let many = "mutation ($input: JobEnqueueManyInput!) { jobEnqueueMany(input: $input) {
      results { job { id } userErrors { code message path } } } }";
    let task = json!({"task": {"name": "deploy-a"}});
    let jobs = json!([
        {"run": task, "uniqueKey": "k", "idempotencyKey": "once"},
        {"run": task, "dependsOnPositions": [0]},
    ]);
    // A repeat is told the same: the key remembers nothing of the other one's job.
    for _ in 0..2 {
        let answer = ask(&daemon, &ci, many, &json!({"input": {"jobs": jobs}}));
        let results = &answer["data"]["jobEnqueueMany"]["results"];
        assert_eq!(results[0]["userErrors"][0]["code"], json!("UNIQUE_KEY_TAKEN"), "{answer}");
        assert_eq!(results[1]["userErrors"][0]["path"], json!(["dependsOnPositions", "0"]), "{answer}");
        assert_eq!((&results[0]["job"], &results[1]["job"]), (&Value::Null, &Value::Null));
        assert!(!answer.to_string().contains(&theirs), "{answer}");
    }
    let counts = daemon.graphql("{ jobCounts { held blocked queued succeeded } }", json!({}));
    assert_eq!(counts["jobCounts"], json!({"held": 1, "blocked": 0, "queued": 0, "succeeded": 0}));
}
