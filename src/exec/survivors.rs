//! Owns the search for processes of attempts whose daemon died, and their end. It must never kill by
//! a bare pid: a process is known by its start time and boot, or by the cookie in its environment.

use std::collections::{BTreeSet, HashSet};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, getpid, kill_process_group, pidfd_open, pidfd_send_signal};

use crate::base::clock::{Clock, pause};
use crate::exec::command::COOKIE_VARIABLE;
use crate::exec::procfs::{self, Identity};

/// How long the killing goes on at most.
pub const SURVIVORS_MAX: Duration = Duration::from_secs(5);

/// Pause between two rounds.
const ROUND_PAUSE: Duration = Duration::from_millis(20);

/// Looks at the list of processes in one round, as long as each shows new ones.
const LOOKS_MAX: usize = 16;

/// What is known of an attempt whose processes must be gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survivor {
    /// The process that was started, if that was recorded in time.
    pub identity: Option<Identity>,
    /// The cookie it was started with; an empty one finds nothing.
    pub cookie: String,
}

/// What the killing came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleared {
    /// Processes that were killed.
    pub killed_count: usize,
    /// Pids that are still there when the time is over: they hang in the kernel, or breed.
    pub left: Vec<i32>,
}

/// Kills what is left of attempts whose daemon is dead, and waits until it is gone.
///
/// Two ways find a process: its own or its living leader's identity, and the cookie. A child that
/// cleared its environment and left the group, or lost its leader, is not found. Costs one look at all
/// processes a round, however long `list` is; a round more than it takes for them to die.
/// Blocks the thread for at most about `SURVIVORS_MAX`.
pub fn kill_survivors(list: &[Survivor], clock: &dyn Clock) -> Cleared {
    let wanted = Wanted::new(list);
    if wanted.is_empty() {
        return Cleared::default();
    }
    let until = clock.monotonic() + SURVIVORS_MAX;
    let mut killed = HashSet::new();
    loop {
        let found = wanted.kill_once(&mut killed);
        if found.is_empty() || clock.monotonic() >= until {
            return Cleared { killed_count: killed.len(), left: found.into_iter().collect() };
        }
        pause(ROUND_PAUSE);
    }
}

/// What is looked for.
struct Wanted<'a> {
    /// Pid and start time, of this boot.
    leaders: HashSet<(i32, u64)>,
    cookies: HashSet<&'a [u8]>,
}

impl<'a> Wanted<'a> {
    fn new(list: &'a [Survivor]) -> Wanted<'a> {
        let boot_id = procfs::boot_id();
        Wanted {
            leaders: list
                .iter()
                .filter_map(|one| one.identity.as_ref())
                .filter(|identity| !boot_id.is_empty() && identity.boot_id == boot_id)
                .map(|identity| (identity.pid, identity.start_ticks))
                .collect(),
            cookies: list.iter().map(|one| one.cookie.as_bytes()).filter(|text| !text.is_empty()).collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.leaders.is_empty() && self.cookies.is_empty()
    }

    /// One round: sends SIGKILL to all that is found, notes whom, and gives what was found alive.
    fn kill_once(&self, killed: &mut HashSet<i32>) -> BTreeSet<i32> {
        let groups: BTreeSet<i32> =
            self.leaders.iter().map(|(pid, _)| *pid).filter(|pid| self.is_leader(*pid)).collect();
        let mut seen = HashSet::from([getpid().as_raw_nonzero().get()]);
        let (mut found, mut members, mut environ) = (BTreeSet::new(), Vec::new(), Vec::new());
        // A process that forks and ends can be missed by one look at the list; its child is new in the next.
        for _ in 0..LOOKS_MAX {
            let fresh: Vec<i32> = procfs::pids().into_iter().filter(|pid| seen.insert(*pid)).collect();
            if fresh.is_empty() {
                break;
            }
            for pid in fresh {
                let Some(stat) = procfs::stat(pid).filter(|stat| stat.is_alive()) else {
                    continue;
                };
                if groups.contains(&pid) || groups.contains(&stat.group) {
                    found.insert(pid);
                    members.extend(pin(pid).filter(|_| self.is_in_group(pid)).map(|pidfd| (pid, pidfd)));
                } else if self.has_cookie(pid, &mut environ) {
                    found.insert(pid);
                    if let Some(pidfd) = pin(pid).filter(|_| self.has_cookie(pid, &mut environ)) {
                        killed.extend(send_kill(&pidfd).then_some(pid));
                    }
                }
            }
        }
        self.kill_groups(&groups);
        // What the group's signal spared: a leader that left its group, or all of it when it is our own.
        killed.extend(members.into_iter().filter_map(|(pid, pidfd)| send_kill(&pidfd).then_some(pid)));
        found
    }

    /// Ends each group at once, so that none can fork out of it meanwhile; but not our own.
    fn kill_groups(&self, groups: &BTreeSet<i32>) {
        let (own, _) = procfs::own_places();
        for group in groups.iter().filter(|group| **group != own && self.is_leader(**group)) {
            if let Some(group) = Pid::from_raw(*group) {
                // ESRCH: it has ended meanwhile.
                let _ = kill_process_group(group, Signal::KILL);
            }
        }
    }

    fn is_in_group(&self, pid: i32) -> bool {
        self.is_leader(pid) || procfs::stat(pid).is_some_and(|stat| self.is_leader(stat.group))
    }

    /// Whether `pid` is a recorded leader, and no later process of that number. A zombie counts: it
    /// keeps the group's id from being used again.
    fn is_leader(&self, pid: i32) -> bool {
        procfs::stat(pid).is_some_and(|stat| self.leaders.contains(&(pid, stat.start_ticks)))
    }

    fn has_cookie(&self, pid: i32, environ: &mut Vec<u8>) -> bool {
        if self.cookies.is_empty() {
            return false;
        }
        procfs::read_environ(pid, environ);
        procfs::value_in(environ, COOKIE_VARIABLE).is_some_and(|value| self.cookies.contains(value))
    }
}

/// Holds on to a process, so that what is looked at afterwards is what will be signalled, or nothing.
pub(super) fn pin(pid: i32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

/// Whether it was reached: one that is already dead was, one that became another user's was not.
pub(super) fn send_kill(pidfd: &OwnedFd) -> bool {
    pidfd_send_signal(pidfd, Signal::KILL) != Err(Errno::PERM)
}
