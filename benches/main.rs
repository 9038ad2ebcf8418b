//! The measure: what Beadle reaches in each target, beside the floor of this machine, in one run.
//!
//! ```text
//! cargo bench                 all targets in full, and the table in benches/README.md
//! cargo bench -- t5 t8        these
//! cargo bench -- several      several daemons over one PostgreSQL, and their table
//! cargo bench -- peers        other queues, and their table
//! cargo test                  all of them in small, for right counts, without any timing
//! ```
//!
//! Each target is a file. It starts the real program, measures in rounds that alternate with the floor's, and checks a
//! sample of what was acknowledged behind a `kill -9`. It must never compare figures of two runs.
#![expect(
    clippy::disallowed_methods,
    reason = "a measure stands outside of the house: it reads the clock, waits, and starts programs"
)]
#![expect(clippy::cast_precision_loss, reason = "counts and times here are far below 2^52")]

mod clients;
mod floors;
mod history;
mod latency;
mod load;
mod machine;
mod measure;
mod peers;
mod postgres;
mod program;
mod pueue;
mod several;
mod t01;
mod t02;
mod t03;
mod t04;
mod t05;
mod t06;
mod t07;
mod t08;
mod t09;
mod t10;
mod t11;
mod t12;
mod table;
mod work;

use std::path::Path;

use program::Programs;
use table::Table;

/// The page with the table.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
/// All targets, in the order in which they are measured.
const TARGETS: &[&str] = &["t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9", "t10", "t11", "t12"];
/// What is measured only when it is asked for, but for the quick form of `several`.
const EXTRAS: &[&str] = &["t10m", "peers", "several"];

/// Fewer rounds for a first look; such a table is not written.
const ROUNDS: &str = "BEADLE_BENCH_ROUNDS";

/// One run.
#[derive(Debug)]
pub struct Bench {
    /// What is measured.
    pub programs: Programs,
    /// What came of it.
    pub table: Table,
    is_full: bool,
}

impl Bench {
    /// The size of something in the full form, and in the quick one.
    pub fn sized<T>(&self, full: T, quick: T) -> T {
        if self.is_full { full } else { quick }
    }

    /// How many rounds alternate: one in the quick form, and no more than somebody in a hurry wished.
    pub fn rounds(&self, full: usize) -> usize {
        let wished = std::env::var(ROUNDS).ok().and_then(|count| count.parse().ok());
        self.sized(full.min(wished.unwrap_or(full)), 1)
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((word, [name, rest @ ..])) = arguments.split_first().filter(|(word, _)| *word == floors::WORD)
    {
        assert_eq!(word, floors::WORD);
        floors::run(name, rest);
        return;
    }
    let is_full = arguments.iter().any(|argument| argument == "--bench");
    let picked: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    let programs = if is_full { Programs::shipped() } else { Programs::tested() };
    let mut bench = Bench { programs, table: Table::default(), is_full };
    // One thread, so that the client takes no more of the cores than it must.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    for name in &picked {
        let is_known = TARGETS.contains(name) || EXTRAS.contains(name);
        assert!(is_known, "there is no target {name}: there are {TARGETS:?} and {EXTRAS:?}");
    }
    let all = if is_full { TARGETS.to_vec() } else { [TARGETS, &["several"]].concat() };
    let wanted = if picked.is_empty() { all } else { picked };
    for name in &wanted {
        let begun = std::time::Instant::now();
        runtime.block_on(target(name, &mut bench));
        println!("  {name} took {:.1} s", begun.elapsed().as_secs_f64());
    }
    if let Some(section) = section(&wanted)
        && is_full
        && std::env::var_os(ROUNDS).is_none()
    {
        bench.table.write(Path::new(PAGE), section);
    }
}

/// The section of the page that a whole run of these writes.
fn section<'a>(wanted: &[&'a str]) -> Option<&'a str> {
    match wanted {
        [name @ ("peers" | "several")] => Some(*name),
        all if all == TARGETS => Some("table"),
        _ => None,
    }
}

async fn target(name: &str, bench: &mut Bench) {
    match name {
        "t1" => t01::run(bench).await,
        "t2" => t02::run(bench).await,
        "t3" => t03::run(bench).await,
        "t4" => t04::run(bench).await,
        "t5" => t05::run(bench).await,
        "t6" => t06::run(bench).await,
        "t7" => t07::run(bench).await,
        "t8" => t08::run(bench).await,
        "t9" => t09::run(bench).await,
        "t10" => t10::run(bench).await,
        "t11" => t11::run(bench).await,
        "t12" => t12::run(bench).await,
        "peers" => peers::run(bench).await,
        "several" => several::run(bench).await,
        "t10m" => t10::run_ten_million(bench).await,
        other => panic!("there is no target {other}"),
    }
}
