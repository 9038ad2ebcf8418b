//! How much memory a process takes, as the kernel tells.

use std::fs;

/// A figure of `/proc/PID/status` in KiB: `VmRSS` is resident now, `VmHWM` the most that ever was.
pub fn kib(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let mut lines = status.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(found, _)| *found == name).expect("a living process has a size");
    value.trim().trim_end_matches(" kB").parse().expect("a number of kB")
}
