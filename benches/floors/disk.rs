//! Owns the floor of durability: 4 KiB written over what is there, and `fdatasync`.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Instant;

use serde_json::json;

use crate::measure::percentile;

const PAGE_BYTES: usize = 4096;
/// Pages of the file, written once before.
const PAGES: usize = 4096;

/// Syncs `count` times.
pub fn run(path: &Path, count: usize) {
    let file = OpenOptions::new().create_new(true).write(true).open(path).expect("a file can be made");
    let page = vec![7; PAGE_BYTES];
    file.write_all_at(&page.repeat(PAGES), 0).and_then(|()| file.sync_all()).expect("the disk takes it");
    let mut times_us: Vec<u32> = (0..count)
        .map(|turn| {
            let at = (turn % PAGES * PAGE_BYTES) as u64;
            let begun = Instant::now();
            file.write_all_at(&page, at).and_then(|()| file.sync_data()).expect("the disk takes it");
            u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX)
        })
        .collect();
    times_us.sort_unstable();
    println!("{}", json!({"p50_us": percentile(&times_us, 50), "p99_us": percentile(&times_us, 99)}));
}
