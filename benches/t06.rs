//! T6: the smallest query, and a page of twenty jobs from the store. Beside them the same on the stock server from
//! memory, a greeting of axum, and the page without GraphQL.

use std::time::Duration;

use serde_json::json;

use crate::Bench;
use crate::floors::Floor;
use crate::load::{Load, Until};
use crate::machine::cpu_us;
use crate::measure::{figure, median, percentile, ratio};
use crate::program::Daemon;
use crate::table::{Row, Wanted};
use crate::work::{ENQUEUE_MANY, LIST, PING, many, true_job, wait_done};

/// Clients at once.
const CONNECTIONS: usize = 50;
/// Jobs that the page is taken from.
const JOBS: usize = 100;

#[derive(Debug, Default)]
struct Measured {
    rate: Vec<f64>,
    cpu_us: Vec<f64>,
    p50_us: Vec<f64>,
    p99_us: Vec<f64>,
}

impl Measured {
    async fn round(&mut self, load: &Load, pid: u32, span: Duration) {
        let before = cpu_us(pid);
        let outcome = load.run(Until::Span(span)).await;
        self.cpu_us.push((cpu_us(pid) - before) / outcome.answered as f64);
        self.rate.push(outcome.per_second());
        self.p50_us.push(percentile(&outcome.latencies_us, 50));
        self.p99_us.push(percentile(&outcome.latencies_us, 99));
    }
}

/// Measures it.
pub async fn run(bench: &mut Bench) {
    let rounds = bench.rounds(5);
    let span = bench.sized(Duration::from_secs(1), Duration::from_millis(200));
    let daemon = Daemon::beadle(&bench.programs, &[]).await;
    daemon.ask(ENQUEUE_MANY, &many(&true_job(), JOBS)).await;
    wait_done(&daemon, "default").await;
    let page = daemon.ask(LIST, &json!({})).await;
    assert_eq!(page["jobs"]["nodes"].as_array().map(Vec::len), Some(20), "{page}");
    let stock = Floor::serve("server", &[]);
    let none = json!({});
    let loads = [
        (daemon.load(CONNECTIONS, 0, PING, &none), daemon.pid()),
        (stock.load(CONNECTIONS, 0, PING, &none), stock.pid()),
        (stock.load_path(CONNECTIONS, "/hello"), stock.pid()),
        (daemon.load(CONNECTIONS, 20, LIST, &none), daemon.pid()),
        (stock.load(CONNECTIONS, 20, LIST, &none), stock.pid()),
        (Load { jobs_each: 20, ..stock.load_path(CONNECTIONS, "/list") }, stock.pid()),
    ];
    let mut measured: [Measured; 6] = Default::default();
    for _ in 0..rounds {
        for ((load, pid), measured) in loads.iter().zip(&mut measured) {
            measured.round(load, *pid, span).await;
        }
    }
    let [ping, stock_ping, hello, list, stock_list, plain] = &measured;
    let mut row = |target, what: &str, ours: &Measured, floor: &Measured, least| {
        let told = |one: &Measured| {
            format!("{}, {} CPU", figure(median(&one.rate), "/s"), figure(median(&one.cpu_us), "µs"))
        };
        let (measured, floor_told) = (told(ours), told(floor));
        let (what, ratio) = (what.to_owned(), ratio(&ours.rate, &floor.rate));
        let wanted = Wanted::AtLeast(least);
        bench.table.add(Row { target, what, measured, floor: floor_told, ratio, wanted });
    };
    row("T6a", "smallest query; stock async-graphql", ping, stock_ping, 1.4);
    row("T6a", "smallest query; axum's hello", ping, hello, 0.55);
    row("T6b", "20 jobs × 10 fields from SQLite; stock from memory", list, stock_list, 1.5);
    row("T6b", "the same; plain JSON from memory", list, plain, 0.4);
    bench.table.add(Row {
        target: "T6b",
        what: "p99 of the list; its p50".to_owned(),
        measured: figure(median(&list.p99_us) / 1_000.0, "ms"),
        floor: figure(median(&list.p50_us) / 1_000.0, "ms"),
        ratio: ratio(&list.p99_us, &list.p50_us),
        wanted: Wanted::AtMost(3.0),
    });
}
