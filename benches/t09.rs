//! T9: from the start of the program to the first right answer, on an empty directory and on a store that is there.
//! The start with a long history is measured by T10, which makes one.

use std::time::Instant;

use crate::Bench;
use crate::measure::{figure, median};
use crate::program::Daemon;
use crate::table::{Row, Wanted};

/// The limit, in milliseconds.
const EMPTY_MS: f64 = 50.0;

/// Measures it.
pub async fn run(bench: &mut Bench) {
    let rounds = bench.rounds(10);
    let (mut first, mut again) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let begun = Instant::now();
        let mut daemon = Daemon::beadle(&bench.programs, &[]).await;
        first.push(begun.elapsed().as_secs_f64() * 1_000.0);
        daemon.kill9();
        let begun = Instant::now();
        daemon.restart().await;
        again.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    for (what, times) in
        [("the first start, which makes the store", first), ("a start behind a kill -9", again)]
    {
        bench.table.add(Row {
            target: "T9",
            what: format!("{what}, to the first answer; the limit"),
            measured: figure(median(&times), "ms"),
            floor: figure(EMPTY_MS, "ms"),
            ratio: median(&times) / EMPTY_MS,
            wanted: Wanted::AtMost(1.0),
        });
    }
}
