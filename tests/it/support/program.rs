//! Owns the start of programs in tests, and the look at the processes of this machine.

use std::ffi::OsStr;
use std::fs;
use std::process::{Command, Output};

use beadle::base::environment::variable;
use rustix::process::{Pid, Signal, kill_process};

/// A program to start, found on PATH when it has no slash.
pub fn program(path: impl AsRef<OsStr>) -> Command {
    #[expect(clippy::disallowed_methods, reason = "this is the tests' one home of spawning")]
    Command::new(path)
}

/// Where the program under test stands: the one built with the tests, or another one that is named, such as a release
/// build whose speed is measured.
pub fn program_path() -> String {
    variable("BEADLE_TEST_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_beadle").to_owned())
}

/// Both streams of a finished program, for a failure's message.
pub fn shown(output: &Output) -> String {
    format!(
        "{}\n--- stdout\n{}\n--- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The pids of living processes (zombies have no environment) with `variable=value` in their environment.
pub fn pids_with(variable: &str, value: &str) -> Vec<u32> {
    let wanted = format!("{variable}={value}");
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|bytes| bytes.split(|byte| *byte == 0).any(|one| one == wanted.as_bytes()))
        })
        .collect()
}

/// Kills them.
pub fn kill_all_with(variable: &str, value: &str) {
    for pid in pids_with(variable, value) {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        // One that has gone by itself is what is wanted.
        let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
    }
}
