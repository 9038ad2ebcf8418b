//! Owns what the measured programs are asked: documents, jobs, and whether what was acknowledged is really there. It
//! must never ask for less than a user would.

use serde_json::{Value, json};

use crate::program::{Daemon, until};

/// One job.
pub const ENQUEUE: &str = "mutation ($input: JobEnqueueInput!) { jobEnqueue(input: $input) {
  job { id state } deduplicated userErrors { message } } }";

/// Many jobs.
pub const ENQUEUE_MANY: &str = "mutation ($input: JobEnqueueManyInput!) { jobEnqueueMany(input: $input) {
  results { job { id } userErrors { message } } } }";

/// A page of twenty jobs with ten fields each.
pub const LIST: &str = "{ jobs(first: 20) { nodes {
  id state priority origin requestedBy createdAt runAt startedAt finishedAt isRestartable } } }";

/// The smallest query with an object.
pub const PING: &str = "{ daemon { version } }";

/// The queue in which nothing starts.
pub const PAUSED: &str = "paused";

/// Jobs of a sample.
const SAMPLE: usize = 200;

/// A job that waits: 100 bytes of arguments, in the queue that is paused.
pub fn waiting_job() -> Value {
    let argument = "x".repeat(80);
    json!({"run": {"command": {"exec": {"argv": ["/usr/bin/printf", "%s", argument]}}}, "queue": PAUSED})
}

/// A job that runs a program which does nothing.
pub fn true_job() -> Value {
    json!({"run": {"command": {"exec": {"argv": ["/bin/true"]}}}})
}

/// A job that calls the handler of the example `noop`.
pub fn noop_job(queue: &str) -> Value {
    json!({"run": {"command": {"handler": "noop"}}, "queue": queue})
}

/// The variables for one job.
pub fn one(job: &Value) -> Value {
    json!({"input": job})
}

/// The variables for many of the same.
pub fn many(job: &Value, count: usize) -> Value {
    json!({"input": {"jobs": vec![job; count]}})
}

/// Makes a queue.
pub async fn put_queue(daemon: &Daemon, name: &str) {
    let put = "mutation ($name: String!) { queuePut(input: {name: $name}) { userErrors { message } } }";
    let answer = daemon.ask(put, &json!({"name": name})).await;
    assert_eq!(answer["queuePut"]["userErrors"], json!([]), "{answer}");
}

/// Makes the queue in which nothing starts.
pub async fn pause_queue(daemon: &Daemon) {
    put_queue(daemon, PAUSED).await;
    let pause = "mutation ($name: String!) { queuePause(input: {name: $name}) { queue { name } } }";
    let answer = daemon.ask(pause, &json!({"name": PAUSED})).await;
    assert_eq!(answer["queuePause"]["queue"]["name"], PAUSED, "{answer}");
}

/// Checks a sample of jobs, the newest among them: they must be there, in this state.
///
/// # Panics
/// If one is not: then a rate that counted them is worth nothing.
pub async fn assert_kept(daemon: &Daemon, acknowledged: &[u64], state: &str) -> usize {
    let mut jobs = acknowledged.to_vec();
    jobs.sort_unstable();
    let newest = jobs.split_off(jobs.len() - jobs.len().min(SAMPLE / 2));
    let step = (jobs.len() / (SAMPLE / 2)).max(1);
    let sample: Vec<u64> = jobs.into_iter().step_by(step).take(SAMPLE / 2).chain(newest).collect();
    let ids: Vec<String> = sample.iter().map(|number| format!("job_{number}")).collect();
    for ids in ids.chunks(SAMPLE / 2) {
        let query = "query ($ids: [ID!]!) { jobs(first: 200, filter: {ids: $ids}) { nodes { id state } } }";
        let answer = daemon.ask(query, &json!({"ids": ids})).await;
        let nodes = answer["jobs"]["nodes"].as_array().expect("a list of jobs");
        let wrong: Vec<&Value> = nodes.iter().filter(|node| node["state"] != state).collect();
        assert!(wrong.is_empty(), "acknowledged, but not {state}: {wrong:?}");
        assert_eq!(nodes.len(), ids.len(), "acknowledged and not found again, of {ids:?}");
    }
    sample.len()
}

/// Waits until no job waits or runs in this queue.
pub async fn wait_done(daemon: &Daemon, queue: &str) {
    // The counts, which the daemon knows by heart: to ask often must cost nothing that is measured.
    let query = "query ($queue: String!) { queue(name: $queue) { waitingCount runningCount } }";
    until("the end of the work", async || {
        let answer = daemon.ask(query, &json!({"queue": queue})).await;
        let counts = &answer["queue"];
        counts["waitingCount"] == 0 && counts["runningCount"] == 0
    })
    .await;
}
