//! Owns the floor of processes: `/bin/true` started by `posix_spawn` in a group of its own, both streams read to their
//! end, waited for. It must stay on the path of std that does not fork: no `pre_exec`, no user id.

use std::hint::black_box;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use serde_json::json;

use crate::measure::per_second;

/// Runs `count` of them, `at_once` beside each other, with so much memory resident.
pub fn run(count: usize, at_once: usize, ballast_mb: usize) {
    // Not zero, so that the memory is really taken.
    let ballast = vec![1_u8; ballast_mb << 20];
    let turns = AtomicUsize::new(0);
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while turns.fetch_add(1, Ordering::Relaxed) < count {
                    one();
                }
            });
        }
    });
    println!("{}", json!({"per_second": per_second(count as u64, begun.elapsed())}));
    black_box(ballast);
}

fn one() {
    let mut command = Command::new("/bin/true");
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.spawn().and_then(std::process::Child::wait_with_output).expect("it starts");
    assert!(output.status.success(), "/bin/true failed");
}
