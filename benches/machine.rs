//! Owns what is read from the machine: its description, and the cost of a process. It must never change anything.

use std::fs;
use std::process::Command;

/// CPU time of a process so far, of all its threads, in microseconds.
pub fn cpu_us(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is there");
    // Behind the name, which may hold anything.
    let (_, rest) = stat.rsplit_once(") ").expect("the name is in brackets");
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("ticks are a number");
    // utime and stime, in hundredths of a second on Linux.
    (ticks(11) + ticks(12)) * 10_000.0
}

/// The same of the threads that it has now, as the scheduler times them: to the nanosecond, for a process that is hardly
/// ever at work. The other counts what a clock of 100 ticks a second hits, which says little of short work at set times.
pub fn timed_us(pid: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process is there");
    let nanos = |task: fs::DirEntry| {
        // A thread may have ended meanwhile.
        let timed = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        timed.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
    };
    tasks.flatten().map(nanos).sum::<f64>() / 1_000.0
}

/// Memory of a process that is resident, in kilobytes.
pub fn resident_kb(pid: u32) -> f64 {
    status(pid, "VmRSS:")
}

/// The most that was ever resident, in kilobytes.
pub fn peak_kb(pid: u32) -> f64 {
    status(pid, "VmHWM:")
}

fn status(pid: u32, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux tells it");
    line.trim().trim_end_matches(" kB").parse().expect("a number of kilobytes")
}

/// When, where and what, in one sentence.
pub fn described() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let model = model.trim_start_matches(['\t', ':', ' ']);
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = memory.split_whitespace().nth(1).and_then(|size| size.parse::<u64>().ok());
    let memory_gb = kilobytes.unwrap_or_default() >> 20;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{}, commit {}: {cores} cores ({model}), {memory_gb} GiB of memory, Linux {}, {} on {}.",
        said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        said("git", &["rev-parse", "--short", "HEAD"]),
        kernel.trim(),
        said("stat", &["-f", "-c", "%T", env!("CARGO_TARGET_TMPDIR")]),
        said("findmnt", &["-n", "-o", "SOURCE", "-T", env!("CARGO_TARGET_TMPDIR")]),
    )
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
