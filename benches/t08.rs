//! T8: what the daemon takes while it waits for work. Beside it an idle process of the same libraries that looks into
//! its database once a second.

use std::time::Duration;

use crate::Bench;
use crate::floors::Floor;
use crate::machine::{resident_kb, timed_us};
use crate::measure::figure;
use crate::program::{Daemon, directory};
use crate::table::{Row, Wanted};

/// What it may take of a core, in percent.
const CPU_PERCENT: f64 = 0.1;

/// Measures it.
pub async fn run(bench: &mut Bench) {
    let (settle, span) = bench.sized((3, 30), (0, 1));
    let daemon = Daemon::beadle(&bench.programs, &[]).await;
    let disk = directory();
    let path = disk.path().join("idle.db");
    let floor = Floor::serve("server", &[path.to_str().expect("paths here are text")]);
    tokio::time::sleep(Duration::from_secs(settle)).await;
    let before = (timed_us(daemon.pid()), timed_us(floor.pid()));
    tokio::time::sleep(Duration::from_secs(span)).await;
    let percent =
        |after: f64, before: f64| (after - before) / 10_000.0 / f64::from(u32::try_from(span).unwrap_or(1));
    let ours_percent = percent(timed_us(daemon.pid()), before.0);
    let floor_percent = percent(timed_us(floor.pid()), before.1);
    let (ours_kb, floor_kb) = (resident_kb(daemon.pid()), resident_kb(floor.pid()));
    bench.table.add(Row {
        target: "T8",
        what: "resident while idle; an idle process of the same libraries".to_owned(),
        measured: figure(ours_kb / 1_024.0, "MB"),
        floor: figure(floor_kb / 1_024.0, "MB"),
        ratio: ours_kb / floor_kb,
        wanted: Wanted::AtMost(1.25),
    });
    bench.table.add(Row {
        target: "T8",
        what: format!("CPU while idle for {span} s; the limit (the other process took {floor_percent:.2} %)"),
        measured: figure(ours_percent, "%"),
        floor: figure(CPU_PERCENT, "%"),
        ratio: ours_percent / CPU_PERCENT,
        wanted: Wanted::AtMost(1.0),
    });
}
