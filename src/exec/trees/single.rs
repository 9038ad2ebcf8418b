//! Owns what is done to one process that was seen: nothing is done to another one that has its pid by now.

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::exec::procfs;
use crate::exec::survivors::{pin, send_kill};

pub(super) fn is_same((pid, start_ticks): (i32, u64)) -> bool {
    procfs::stat(pid).is_some_and(|stat| stat.start_ticks == start_ticks)
}

/// Kills the very process that was seen. False when the system does not let us.
pub(super) fn kill(member: (i32, u64)) -> bool {
    pin(member.0).filter(|_| is_same(member)).is_none_or(|process| send_kill(&process))
}

/// Takes the status of an orphan that has ended.
pub(super) fn reap(member: (i32, u64)) {
    if let Some(pid) = Pid::from_raw(member.0).filter(|_| is_same(member)) {
        // ECHILD: whoever started it took it.
        let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}

/// Whether the calling thread has children, living or dead. Those that other threads started are not among them.
pub(super) fn has_children_of_this_thread() -> bool {
    let of_this_thread = WaitIdOptions::from_bits_retain(libc::__WNOTHREAD.cast_unsigned());
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT | of_this_thread;
    !matches!(waitid(WaitId::All, options), Err(rustix::io::Errno::CHILD))
}
