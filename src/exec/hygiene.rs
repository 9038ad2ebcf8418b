//! Owns what a child must not take from its parent: open descriptors, and the place in the queue for want of memory.
//! What fails here is no reason not to start anything.

use std::ffi::{c_int, c_uint};

/// How much sooner than others a process of a job is chosen when the machine has no memory left, of 1,000.
const OOM_SCORE: i32 = 500;
/// The first descriptor behind the three that every program has.
const FIRST_INHERITED: c_uint = 3;

/// Keeps what this process was started with open from what it starts. Ours are so from the beginning.
pub fn keep_inherited_to_ourselves() {
    let flag = c_int::try_from(libc::CLOSE_RANGE_CLOEXEC).unwrap_or(0);
    // SAFETY: it takes three numbers, and closes nothing: with this flag it only marks descriptors.
    #[expect(unsafe_code, reason = "no safe binding marks a range of descriptors")]
    let done = unsafe { libc::syscall(libc::SYS_close_range, FIRST_INHERITED, c_uint::MAX, flag) };
    if done != 0 {
        let error = std::io::Error::last_os_error();
        tracing::debug!("descriptors that were open at the start stay open in jobs: {error}");
    }
}

/// Has the kernel choose a job before the daemon when memory runs out. What the job starts inherits it.
pub(super) fn offer_first(pid: i32) {
    // ENOENT: it has ended. EACCES: we were told not to be moved up ourselves.
    let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), score(own_score()).to_string());
}

fn own_score() -> i32 {
    let text = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// Never less than our own: lowering it needs rights.
fn score(own: i32) -> i32 {
    own.max(OOM_SCORE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_chosen_before_the_daemon_and_never_after_it() {
        assert_eq!([-1_000, 0, 500, 700, 1_000].map(score), [500, 500, 500, 700, 1_000]);
    }
}
