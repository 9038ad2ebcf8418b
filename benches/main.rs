//! The measure: what Beadle reaches in each target, beside the floor of this machine, in one run.
//!
//! ```text
//! cargo bench                 all targets in full, and the table in benches/README.md
//! cargo bench -- t5 t8        these
//! cargo test                  all of them in small, for right counts, without any timing
//! ```
//!
//! Each target is a file. It starts the real program, measures in rounds that alternate with the floor's, and checks a
//! sample of what was acknowledged behind a `kill -9`. It must never compare figures of two runs.
#![expect(
    clippy::disallowed_methods,
    reason = "a measure stands outside of the house: it reads the clock, waits, and starts programs"
)]

mod floors;
mod latency;
mod load;
mod machine;
mod measure;
mod program;
mod t01;
mod t03;
mod t04;
mod t05;
mod t06;
mod table;
mod work;

use std::path::Path;

use program::Programs;
use table::Table;

/// The page with the table.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
/// All targets, in the order in which they are measured.
const TARGETS: &[&str] = &["t1", "t3", "t4", "t5", "t6"];

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
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((word, [name, rest @ ..])) = arguments.split_first().filter(|(word, _)| *word == floors::WORD) {
        assert_eq!(word, floors::WORD);
        floors::run(name, rest);
        return;
    }
    let is_full = arguments.iter().any(|argument| argument == "--bench");
    let picked: Vec<&str> = arguments.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    let programs = if is_full { Programs::shipped() } else { Programs::tested() };
    let mut bench = Bench { programs, table: Table::default(), is_full };
    // One thread, so that the client takes no more of the cores than it must.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    let wanted: Vec<&str> =
        TARGETS.iter().copied().filter(|name| picked.is_empty() || picked.contains(name)).collect();
    for name in &wanted {
        let begun = std::time::Instant::now();
        runtime.block_on(target(name, &mut bench));
        println!("  {name} took {:.1} s", begun.elapsed().as_secs_f64());
    }
    if is_full && wanted.len() == TARGETS.len() {
        bench.table.write(Path::new(PAGE));
    }
}

async fn target(name: &str, bench: &mut Bench) {
    match name {
        "t1" => t01::run(bench).await,
        "t3" => t03::run(bench).await,
        "t4" => t04::run(bench).await,
        "t5" => t05::run(bench).await,
        "t6" => t06::run(bench).await,
        other => panic!("there is no target {other}"),
    }
}
