//! Several daemons over one PostgreSQL: jobs that do nothing from the enqueue over HTTP until each is stored as done, and
//! how soon another daemon starts what one has taken. Beside it graphile-worker on the same server, at its best.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::Bench;
use crate::clients::Clients;
use crate::latency::measure_across;
use crate::load::Until;
use crate::measure::{figure, median, per_second, ratio};
use crate::postgres::{DURABILITY, Postgres};
use crate::program::{Daemon, until};
use crate::table::{Row, Wanted};
use crate::work::{ENQUEUE, ENQUEUE_MANY, assert_kept, many, noop_job, one, wait_done};

/// How many daemons, or processes of the other.
const COUNTS: [usize; 2] = [1, 3];
/// The databases: one for each number of daemons, one for the other queue, one for the latency.
const DATABASES: [&str; 4] = ["one", "three", "peer", "latency"];
/// Slots of a daemon.
const SLOTS: usize = 256;
/// Jobs at once in a process of the other: what its own measure of speed sets.
const CONCURRENCY: &str = "24";
/// Jobs of one request, ours and the other's.
const EACH: usize = 100;
/// Clients at once, as the other has them.
const CONNECTIONS: usize = 8;
/// How many times its best it should be.
const TIMES: f64 = 1.5;
/// What the middle of the latency may be, in milliseconds.
const LATENCY_MS: f64 = 10.0;

/// What was measured in the rounds, of each of `COUNTS`.
#[derive(Debug, Default)]
struct Rates {
    ours: [Vec<f64>; 2],
    together: [Vec<f64>; 2],
    drained: [Vec<f64>; 2],
    p50: Vec<f64>,
    p99: Vec<f64>,
}

/// Measures it.
pub async fn run(bench: &mut Bench) {
    let Some(server) = Postgres::start(&DATABASES) else {
        bench.table.note("Several machines: skipped, there is no PostgreSQL server that starts.".to_owned());
        return;
    };
    // The quick form runs with the tests, which need no network.
    let clients = if bench.sized(true, false) { Clients::install() } else { None };
    if clients.is_none() {
        bench.table.note("graphile-worker: skipped, it is not installed by npm.".to_owned());
    }
    throughput(bench, &server, clients.as_ref()).await;
}

async fn throughput(bench: &mut Bench, server: &Postgres, clients: Option<&Clients>) {
    let rounds = bench.rounds(3);
    let mut fleets = Vec::new();
    for (count, database) in COUNTS.into_iter().zip(DATABASES) {
        fleets.push(fleet(bench, server, count, database).await);
    }
    let (mut rates, mut jobs) = (Rates::default(), Vec::new());
    let size = fitting(bench, &fleets[0]).await;
    for _ in 0..rounds {
        for (at, fleet) in fleets.iter().enumerate() {
            let (rate, done) = cycle(fleet, size).await;
            rates.ours[at].push(rate);
            if at == 1 {
                jobs.extend(done);
            }
            let Some(clients) = clients else { continue };
            let sizes = [COUNTS[at].to_string(), CONCURRENCY.to_owned(), size.to_string()];
            let watched = bench.sized("300", "30");
            let [processes, concurrency, size] = sizes.each_ref().map(String::as_str);
            let arguments = [&server.url("peer"), processes, concurrency, size, watched];
            let theirs = clients.run("graphile_several.mjs", &arguments);
            rates.together[at].push(theirs.of("together"));
            rates.drained[at].push(theirs.of("drained"));
            if at == 0 {
                rates.p50.push(theirs.of("p50"));
                rates.p99.push(theirs.of("p99"));
            }
        }
    }
    let mut three = fleets.pop().expect("two were started");
    drop(fleets);
    three.iter_mut().for_each(Daemon::kill9);
    three[0].restart().await;
    let sample = assert_kept(&three[0], &jobs, "SUCCEEDED").await;
    drop(three);
    show(bench, &rates);
    let kept = format!(
        "Several: {sample} of {} jobs looked for behind a kill -9 of all three, all done.",
        jobs.len()
    );
    bench.table.note(kept);
    latency(bench, server, &rates).await;
}

async fn fleet(bench: &Bench, server: &Postgres, count: usize, database: &str) -> Vec<Daemon> {
    let mut daemons = Vec::new();
    for _ in 0..count {
        daemons.push(daemon(bench, server, SLOTS, database).await);
    }
    daemons
}

async fn daemon(bench: &Bench, server: &Postgres, slots: usize, database: &str) -> Daemon {
    Daemon::noop_with(&bench.programs, slots, &[&format!("database={}", server.url(database))]).await
}

/// As many jobs as take a few seconds, in whole requests to each door.
async fn fitting(bench: &Bench, fleet: &[Daemon]) -> usize {
    let whole = EACH * COUNTS[1];
    let (first, seconds, most) = bench.sized((8 * whole, 3.0, 60_000.0), (whole, 0.1, 300.0));
    let (rate, _) = cycle(fleet, first).await;
    let wished = (rate * seconds).clamp(300.0, most);
    let wished = usize::try_from(Duration::from_secs_f64(wished).as_secs()).expect("it is small");
    wished / whole * whole
}

/// Sends so many jobs to all doors in parts and waits until all are done: jobs a second, and their numbers.
async fn cycle(fleet: &[Daemon], count: usize) -> (f64, Vec<u64>) {
    let variables = many(&noop_job("default"), EACH);
    let requests = (count / EACH / fleet.len()) as u64;
    // Three doors have three clients each.
    let connections = CONNECTIONS.div_ceil(fleet.len());
    let begun = Instant::now();
    let loads = fleet.iter().map(|daemon| daemon.load(connections, EACH, ENQUEUE_MANY, &variables));
    let parts = futures_util::future::join_all(
        loads.map(|load| async move { load.run(Until::Requests(requests)).await }),
    );
    let jobs: Vec<u64> = parts.await.into_iter().flat_map(|part| part.jobs).collect();
    wait_done(&fleet[0], "default").await;
    assert_eq!(jobs.len(), count, "not all were acknowledged");
    (per_second(jobs.len() as u64, begun.elapsed()), jobs)
}

fn show(bench: &mut Bench, rates: &Rates) {
    let [one, three] = &rates.together;
    for (count, ours) in COUNTS.into_iter().zip(&rates.ours) {
        if one.is_empty() {
            bench.table.note(format!("Several: {count} took {}.", figure(median(ours), "jobs/s")));
            continue;
        }
        // Its best of each round, however many processes that were.
        let best: Vec<f64> = one.iter().zip(three).map(|(one, three)| one.max(*three)).collect();
        bench.table.add(Row {
            target: "several",
            what: format!(
                "no-op jobs from enqueue to done, {count} over {DURABILITY}; graphile-worker's best"
            ),
            measured: figure(median(ours), "jobs/s"),
            floor: figure(median(&best), "jobs/s"),
            ratio: ratio(ours, &best),
            wanted: Wanted::AtLeast(TIMES),
        });
    }
    if one.is_empty() {
        return;
    }
    let all =
        |rates: &[Vec<f64>; 2]| rates.each_ref().map(|rates| figure(median(rates), "jobs/s")).join(" and ");
    bench.table.note(format!(
        "graphile-worker, 1 and 3 processes: {} while jobs are enqueued, {} when all were enqueued before.",
        all(&rates.together),
        all(&rates.drained),
    ));
}

/// One daemon has no free slot, so that the other one starts what it takes.
async fn latency(bench: &mut Bench, server: &Postgres, theirs: &Rates) {
    let full = daemon(bench, server, 1, "latency").await;
    let sleep = json!({"run": {"command": {"exec": {"argv": ["/bin/sleep", "600"]}}}});
    let answer = full.ask(ENQUEUE, &one(&sleep)).await;
    let sleeper = answer["jobEnqueue"]["job"]["id"].clone();
    assert!(sleeper.is_string(), "{answer}");
    let query = "query ($id: ID!) { job(id: $id) { state } }";
    let is = async |state: &str| full.ask(query, &json!({"id": sleeper})).await["job"]["state"] == state;
    until("the only slot to be taken", async || is("RUNNING").await).await;
    let free = daemon(bench, server, SLOTS, "latency").await;
    let (rounds, count) = (bench.rounds(3), bench.sized(500, 30));
    let (mut there, mut here) = ((Vec::new(), Vec::new()), Vec::new());
    for _ in 0..rounds {
        let seen = measure_across(&full, &free, count).await;
        there.0.push(seen.p50_us / 1_000.0);
        there.1.push(seen.p99_us / 1_000.0);
        here.push(measure_across(&full, &full, count).await.p50_us / 1_000.0);
    }
    let cancel = "mutation ($id: ID!) { jobCancel(input: {id: $id}) { userErrors { message } } }";
    full.ask(cancel, &json!({"id": sleeper})).await;
    until("the slot to be free", async || is("CANCELLED").await).await;
    let mut row = |what: &str, ours: &[f64], floor: &[f64]| {
        bench.table.add(Row {
            target: "several",
            what: what.to_owned(),
            measured: figure(median(ours), "ms"),
            floor: figure(median(floor), "ms"),
            ratio: median(ours) / median(floor),
            wanted: Wanted::AtMost(1.0),
        });
    };
    row("enqueue at one to RUNNING at another, seen there, p50; the limit", &there.0, &[LATENCY_MS]);
    row("the same, seen at the first, p50; the limit", &here, &[LATENCY_MS]);
    if !theirs.p50.is_empty() {
        row(
            "enqueue to RUNNING at another, p50; graphile-worker, start in another process",
            &there.0,
            &theirs.p50,
        );
        row("the same, p99", &there.1, &theirs.p99);
    }
}
