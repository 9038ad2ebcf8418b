//! Owns the account of a process that has ended: its status, and what it used. It must never wait for a process that
//! it was not given.

use std::time::Duration;

use rustix::process::Pid;

use crate::exec::cgroup::LeafAccount;

/// How far above the daemon's own peak a child's must be to be told from it.
const PEAK_MARGIN_BYTES: u64 = 1024 * 1024;

/// How a process ended, and what it used. It counts the children it waited for too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The exit code, when it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it. With `code` also `None`, somebody else took its status.
    pub signal: Option<i32>,
    /// Whether the system wrote a core file.
    pub core_dumped: bool,
    /// CPU time in its own code.
    pub user_time: Duration,
    /// CPU time in the kernel.
    pub system_time: Duration,
    /// The largest resident size of one of its processes. `None` when it stayed below the daemon's own
    /// peak: a child starts in its parent's memory, and Linux counts that as the child's. In a control group with the
    /// memory controller it is the peak of all its processes together, and always known.
    pub peak_memory_bytes: Option<u64>,
    /// Whether the kernel ended it for want of memory. Known only in a control group.
    pub is_out_of_memory: bool,
}

impl Exit {
    /// What the control group counted holds for all processes, also for those that nobody waited for.
    pub(super) fn with(self, counted: LeafAccount) -> Exit {
        let (user_time, system_time) = counted.cpu.unwrap_or((self.user_time, self.system_time));
        Exit {
            user_time,
            system_time,
            peak_memory_bytes: counted.peak_memory_bytes.or(self.peak_memory_bytes),
            is_out_of_memory: counted.out_of_memory_count > 0 && self.signal == Some(libc::SIGKILL),
            ..self
        }
    }
}

/// Reaps this one child. `peak_floor_bytes` is what its peak must exceed to be its own.
pub(super) fn wait4(pid: Pid, options: i32, peak_floor_bytes: u64) -> Exit {
    let mut status = 0;
    let mut usage = no_usage();
    loop {
        // SAFETY: both pointers are to live locals of the types that the call fills.
        #[expect(unsafe_code, reason = "no safe binding gives the status together with the usage")]
        let taken =
            unsafe { libc::wait4(pid.as_raw_nonzero().get(), &raw mut status, options, &raw mut usage) };
        if taken == pid.as_raw_nonzero().get() {
            break;
        }
        if taken == -1 && std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted {
            continue;
        }
        // ECHILD: the status went to somebody else, or SIGCHLD is ignored. That is all that is known.
        return Exit {
            code: None,
            signal: None,
            core_dumped: false,
            user_time: Duration::ZERO,
            system_time: Duration::ZERO,
            peak_memory_bytes: None,
            is_out_of_memory: false,
        };
    }
    let peak_bytes = kibibytes(usage.ru_maxrss);
    Exit {
        code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
        signal: libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)),
        core_dumped: libc::WIFSIGNALED(status) && libc::WCOREDUMP(status),
        user_time: length(usage.ru_utime),
        system_time: length(usage.ru_stime),
        peak_memory_bytes: (peak_bytes > peak_floor_bytes + PEAK_MARGIN_BYTES).then_some(peak_bytes),
        is_out_of_memory: false,
    }
}

/// The largest resident size that this process ever had.
pub(super) fn own_peak_bytes() -> u64 {
    let mut usage = no_usage();
    // SAFETY: the pointer is to a live local of the type that the call fills.
    #[expect(unsafe_code, reason = "the safe way is to read and parse /proc at every start")]
    let done = unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    if done == 0 { kibibytes(usage.ru_maxrss) } else { 0 }
}

fn no_usage() -> libc::rusage {
    // SAFETY: a structure of plain numbers, for which zero is a value.
    #[expect(unsafe_code, reason = "the type has no constructor")]
    unsafe {
        std::mem::zeroed()
    }
}

fn kibibytes(count: libc::c_long) -> u64 {
    u64::try_from(count).unwrap_or(0).saturating_mul(1024)
}

fn length(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_control_group_counted_stands_above_what_was_waited_for() {
        let second = Duration::from_secs(1);
        let killed = Exit {
            code: None,
            signal: Some(libc::SIGKILL),
            core_dumped: false,
            user_time: second,
            system_time: second,
            peak_memory_bytes: None,
            is_out_of_memory: false,
        };
        assert_eq!(killed.with(LeafAccount::default()), killed);
        let counted = LeafAccount {
            cpu: Some((second * 3, second * 2)),
            peak_memory_bytes: Some(7),
            out_of_memory_count: 1,
        };
        let told = killed.with(counted);
        assert_eq!((told.user_time, told.system_time), (second * 3, second * 2));
        assert_eq!((told.peak_memory_bytes, told.is_out_of_memory), (Some(7), true));
        let survived = Exit { code: Some(1), signal: None, ..killed };
        assert!(!survived.with(counted).is_out_of_memory, "a child of it was ended, and it went on");
    }
}
