//! Owns what a job writes whose output is measured: lines of a hundred bytes, at a pace with the time on them, or as
//! fast as the pipe takes them.

use std::io::{BufWriter, Write as _, stdout};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Bytes of a line with its end.
const LINE_BYTES: usize = 100;

/// Microseconds since 1970.
pub fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is not before 1970");
    u64::try_from(since.as_micros()).expect("it fits for ever")
}

/// Writes so many lines, so many a second, each beginning with its time; without a pace with its number.
pub fn run(count: u32, per_second: u32) {
    let begun = Instant::now();
    let mut out = BufWriter::with_capacity(64 * 1024, stdout().lock());
    for number in 0..count {
        let mark = if per_second == 0 {
            u64::from(number)
        } else {
            let due_at = begun + Duration::from_secs(1) * number / per_second;
            thread::sleep(due_at.saturating_duration_since(Instant::now()));
            now_us()
        };
        let width = LINE_BYTES - 18;
        writeln!(out, "{mark:016} {:x<width$}", "").expect("the reader is there");
        if per_second > 0 {
            out.flush().expect("the reader is there");
        }
    }
}
