//! Owns our own children that are no attempt's, such as the guard: they are not ended here, and not reaped while somebody
//! waits for them.

use std::collections::{HashMap, HashSet};

use super::TREES;
use crate::exec::procfs::{self, Stat};

/// By pid and start time: whether somebody waits for it.
#[derive(Debug, Default)]
pub(super) struct Companions(HashMap<(i32, u64), bool>);

impl Companions {
    /// Whether it is one, and nobody else's to end or to reap.
    pub(super) fn holds(&self, pid: i32, stat: &Stat) -> bool {
        let is_waited_for = self.0.get(&(pid, stat.start_ticks));
        is_waited_for.is_some_and(|is_waited_for| *is_waited_for || stat.is_alive())
    }

    /// Forgets whom nobody waits for and who is gone.
    pub(super) fn forget_gone(&mut self, all: &[(i32, Stat)]) {
        if self.0.values().all(|is_waited_for| *is_waited_for) {
            return;
        }
        let present: HashSet<_> = all.iter().map(|(pid, stat)| (*pid, stat.start_ticks)).collect();
        self.0.retain(|member, is_waited_for| *is_waited_for || present.contains(member));
    }
}

/// A child that is no attempt's. Dropped, it goes on until it ends by itself, and is reaped then.
#[derive(Debug)]
pub(in crate::exec) struct Companion((i32, u64));

impl Companion {
    /// The child that was just started, and for which its starter waits. Begin it under `starting`. `None` when it is gone.
    pub(in crate::exec) fn note(pid: i32) -> Option<Companion> {
        let member = (pid, procfs::stat(pid)?.start_ticks);
        TREES.state().companions.0.insert(member, true);
        Some(Companion(member))
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        TREES.state().companions.0.insert(self.0, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_companion_is_let_be_until_nobody_waits_and_it_has_ended() {
        let stat = |state| Stat { state, parent: 1, group: 7, session: 7, start_ticks: 100 };
        let mut companions = Companions::default();
        assert!(!companions.holds(7, &stat(b'S')));
        companions.0.insert((7, 100), true);
        assert!(companions.holds(7, &stat(b'S')) && companions.holds(7, &stat(b'Z')));
        assert!(!companions.holds(7, &Stat { start_ticks: 101, ..stat(b'S') }), "another one with its pid");
        companions.forget_gone(&[]);
        assert!(companions.holds(7, &stat(b'Z')), "somebody waits for it");
        companions.0.insert((7, 100), false);
        assert!(companions.holds(7, &stat(b'S')) && !companions.holds(7, &stat(b'Z')));
        companions.forget_gone(&[(7, stat(b'S'))]);
        assert_eq!(companions.0.len(), 1);
        companions.forget_gone(&[(7, Stat { start_ticks: 101, ..stat(b'S') })]);
        assert!(companions.0.is_empty());
    }
}
