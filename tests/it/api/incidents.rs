//! Incidents are about the jobs of everybody: who sees only its own jobs learns of none.

use serde_json::json;

use crate::api::tokens::{ask, make};
use crate::support::daemon::Daemon;

#[test]
fn a_token_for_its_own_jobs_sees_no_incidents() {
    let daemon = Daemon::start();
    let put =
        "mutation { taskPut(input: {name: \"load\", command: {exec: {argv: [\"/bin/false\"]}}}) { cursor } }";
    daemon.graphql(put, json!({}));
    let own = json!([{"verb": "READ", "ownJobsOnly": true}, {"verb": "ENQUEUE", "tasks": ["*"]}]);
    let own = make(&daemon, "own", own);
    let run = "mutation { jobEnqueue(input: {run: {task: {name: \"load\"}}}) { job { id } } }";
    let job = ask(&daemon, &own, run, &json!({}))["data"]["jobEnqueue"]["job"]["id"].take();
    daemon.wait_final(job.as_str().expect("an id"));
    let id =
        daemon.graphql("{ incidents { nodes { id } } }", json!({}))["incidents"]["nodes"][0]["id"].take();
    assert!(id.is_string(), "the failure of its job is an incident");
    let seen =
        ask(&daemon, &own, "query ($id: ID!) { job(id: $id) { incident { id } } }", &json!({"id": job}));
    assert_eq!(seen["data"]["job"], json!({"incident": null}), "{seen}");
    let of_incident =
        "query ($id: ID!) { jobs(filter: {incidentId: $id}) { nodes { id } } node(id: $id) { id } }";
    let seen = ask(&daemon, &own, of_incident, &json!({"id": id}));
    assert_eq!(seen["data"], json!({"jobs": {"nodes": []}, "node": null}), "{seen}");
    let retry = "mutation ($id: ID!) { incidentRetry(input: {id: $id}) { userErrors { code } } }";
    let refused = ask(&daemon, &own, retry, &json!({"id": id}));
    assert_eq!(refused["data"]["incidentRetry"]["userErrors"][0]["code"], "NOT_FOUND", "{refused}");
    for query in ["{ incidents { nodes { id } } }", "{ incident(id: \"1\") { id } }"] {
        assert!(ask(&daemon, &own, query, &json!({})).to_string().contains("FORBIDDEN"));
    }
}
