//! Owns the reading of `/proc`: who a process is, what group it is in, what its environment holds.
//! It must never signal.

use std::fs::File;
use std::io::Read as _;
use std::sync::OnceLock;

use rustix::time::{ClockId, clock_gettime};

/// Bytes of an environment that are looked at. The kernel's default limit is below it.
const ENVIRON_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Bytes of a line of `/proc/PID/stat`: a name of 64 and 50 numbers of 20 digits.
const STAT_BYTES_MAX: usize = 1_152;

/// Who a process is, for as long as the machine is up: a pid alone is used again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// The process id, which is its group's id too.
    pub pid: i32,
    /// When it started, in clock ticks since the boot (field 22 of `/proc/PID/stat`).
    pub start_ticks: u64,
    /// The machine's boot that the two belong to.
    pub boot_id: String,
}

/// The fields of `/proc/PID/stat` that we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) state: u8,
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) session: i32,
    pub(super) start_ticks: u64,
}

impl Stat {
    /// Whether it can still run. A zombie can not: it only waits for its parent.
    pub(super) fn is_alive(self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// The process's present state; `None` when there is none.
pub(super) fn stat(pid: i32) -> Option<Stat> {
    // Room for the longest name and 50 numbers: one read, for each makes the kernel write all of it.
    let mut line = [0; STAT_BYTES_MAX];
    let length = File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut line).ok()?;
    parse_stat(&line[..length])
}

fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    // The name in brackets may hold anything, brackets and spaces too.
    let after_name = bytes.iter().rposition(|byte| *byte == b')')? + 1;
    let fields: Vec<&str> = str::from_utf8(&bytes[after_name..]).ok()?.split_ascii_whitespace().collect();
    // Counted from field 3, the state.
    Some(Stat {
        state: *fields.first()?.as_bytes().first()?,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        start_ticks: fields.get(19)?.parse().ok()?,
    })
}

/// Our own process group and session; 0 is one whose leader lives outside of our pid namespace, as in a container that
/// was entered. (The system calls give the same 0, which a `Pid` cannot hold.)
pub(super) fn own_places() -> (i32, i32) {
    stat(std::process::id().cast_signed()).map_or((0, 0), |own| (own.group, own.session))
}

/// The id of the machine's present boot; empty when the system does not tell.
pub(super) fn boot_id() -> &'static str {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    BOOT_ID.get_or_init(|| {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map(|text| text.trim().to_owned())
            .unwrap_or_default()
    })
}

/// The ids of all processes that we can see.
pub(super) fn pids() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Every process that we can see, at about one moment.
pub(super) fn all() -> Vec<(i32, Stat)> {
    pids().into_iter().filter_map(|pid| Some((pid, stat(pid)?))).collect()
}

/// Time since the boot, in the unit of `start_ticks`, hundredths of a second, and cut off like it. Not by `/proc/uptime`,
/// which some containers replace by their own.
pub(super) fn ticks_now() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    (now.tv_sec * 100 + now.tv_nsec / 10_000_000).cast_unsigned()
}

/// The children of this process's first thread, who adopts its orphans. `None` on a kernel that does not list them.
pub(super) fn children_of_first_thread() -> Option<Vec<i32>> {
    let own = std::process::id();
    let text = std::fs::read_to_string(format!("/proc/self/task/{own}/children")).ok()?;
    Some(text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

/// Reads the process's environment as it was started with into `buffer`, entries ended by NUL.
/// Leaves it empty for a process that is not ours to read.
pub(super) fn read_environ(pid: i32, buffer: &mut Vec<u8>) {
    buffer.clear();
    let Ok(file) = File::open(format!("/proc/{pid}/environ")) else {
        return;
    };
    if file.take(ENVIRON_BYTES_MAX).read_to_end(buffer).is_err() {
        buffer.clear();
    }
}

/// The value of `name` in an environment as read by `read_environ`.
pub(super) fn value_in<'a>(environ: &'a [u8], name: &str) -> Option<&'a [u8]> {
    environ.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let line = b"42 (a) R 7 (b) S 1 40 3 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000 2 3\n";
        let stat = parse_stat(line).unwrap();
        assert_eq!(stat, Stat { state: b'S', parent: 1, group: 40, session: 3, start_ticks: 98_765 });
        assert_eq!(parse_stat(b"42 (cut"), None);
    }

    #[test]
    fn now_is_not_before_our_own_start() {
        let own = stat(i32::try_from(std::process::id()).unwrap()).unwrap().start_ticks;
        assert!((own..own + 100 * 3_600).contains(&ticks_now()), "the units differ");
    }

    #[test]
    fn a_value_is_found_by_its_whole_name() {
        let environ = b"XKEY=no\0KEY=a=b\0KEYS=no\0";
        assert_eq!(value_in(environ, "KEY"), Some(&b"a=b"[..]));
        assert_eq!(value_in(environ, "KE"), None);
        assert_eq!(value_in(b"", "KEY"), None);
    }
}
