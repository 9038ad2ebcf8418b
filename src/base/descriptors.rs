//! Owns the process's limit of open descriptors: raising it, how many are left, and what a child gets. It decides
//! nothing about who goes without.

use std::sync::OnceLock;

use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// The soft limit before it was raised: what programs expect that were not written for thousands of descriptors.
static BEFORE: OnceLock<u64> = OnceLock::new();

/// Raises the soft limit to the hard one; gives the limit before and after. For a program that is its own: it changes
/// the whole process.
pub fn raise() -> (u64, u64) {
    let own = getrlimit(Resource::Nofile);
    let before = own.current.unwrap_or(u64::MAX);
    let raised = Rlimit { current: own.maximum, maximum: own.maximum };
    if own.current != own.maximum && setrlimit(Resource::Nofile, raised).is_ok() {
        let _ = BEFORE.set(before);
    }
    (before, limit())
}

/// The soft limit in force.
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many descriptors can still be opened, at most. The system gives the lowest free number, so everything below a
/// new one is in use. Costs three cheap calls.
pub fn left() -> u64 {
    use std::os::fd::AsRawFd as _;
    let Ok(probe) = eventfd(0, EventfdFlags::CLOEXEC) else { return 0 };
    limit().saturating_sub(u64::try_from(probe.as_raw_fd()).unwrap_or(0))
}

/// A reserve of `most`, or of a part of the limit where that is low.
pub fn reserve(most: u64, part: u64) -> u64 {
    most.min(limit() / part)
}

/// Gives a child that was just started the soft limit from before it was raised. A program that opens every descriptor
/// up to its limit, or holds them in a `select`, must not meet a raised one. The child may see the raised limit in the
/// first instant of its life.
pub fn hand_down(child: Pid) {
    let Some(before) = BEFORE.get() else { return };
    let limits = Rlimit { current: Some(*before), maximum: getrlimit(Resource::Nofile).maximum };
    // One that has ended already needs none.
    let _ = prlimit(Some(child), Resource::Nofile, limits);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_shrinks_with_what_is_open() {
        let limit = limit();
        let before = left();
        assert!(before > 0 && before <= limit, "{before} of {limit}");
        let held: Vec<_> = (0..2_000).map_while(|_| eventfd(0, EventfdFlags::CLOEXEC).ok()).collect();
        // Other tests of this process open and close descriptors meanwhile.
        assert!(left() <= before.saturating_sub(held.len() as u64 / 2), "{} of {before}", left());
    }
}
