//! Owns what the kernel says about this process. Linux only, from `/proc/self`; what cannot be read is left out.

use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Ticks of `/proc/self/stat` in a second: fixed at 100 for programs, whatever the kernel counts in.
const TICKS_PER_SECOND: f64 = 100.0;

/// What this process takes of the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Memory that is resident.
    pub resident_bytes: Option<f64>,
    /// Processor time of all threads.
    pub cpu_seconds: Option<f64>,
    /// Threads.
    pub thread_count: Option<f64>,
    /// Open file descriptors.
    pub open_descriptors: Option<f64>,
    /// How many may be open.
    pub descriptors_max: Option<f64>,
}

/// Looks it up.
pub fn usage() -> Usage {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let figure = |name: &str| -> Option<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    };
    // One of them is the look itself.
    let descriptors = fs::read_dir("/proc/self/fd").ok().map(|list| list.count().saturating_sub(1));
    Usage {
        resident_bytes: figure("VmRSS").map(|kib| kib * 1024.0),
        cpu_seconds: cpu_seconds(),
        thread_count: figure("Threads"),
        open_descriptors: descriptors.map(|count| f64::from(u32::try_from(count).unwrap_or(u32::MAX))),
        descriptors_max: rustix::process::getrlimit(rustix::process::Resource::Nofile)
            .current
            .map(|most| f64::from(u32::try_from(most).unwrap_or(u32::MAX))),
    }
}

/// Processor time of all threads so far.
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name in brackets may hold anything; behind it the fields are numbered from 3.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
    Some((ticks(14)? + ticks(15)?) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_everything_about_us() {
        let usage = usage();
        for (what, figure) in [
            ("memory", usage.resident_bytes),
            ("processor", usage.cpu_seconds),
            ("threads", usage.thread_count),
            ("descriptors", usage.open_descriptors),
            ("descriptors at most", usage.descriptors_max),
        ] {
            let figure = figure.unwrap_or_else(|| panic!("nothing about {what}"));
            assert!(figure >= 0.0 && (what == "processor" || figure >= 1.0), "{what}: {figure}");
        }
    }
}
