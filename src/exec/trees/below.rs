//! Owns the question who stands below whom among the processes of one look. It must never look itself.

use std::collections::{HashMap, HashSet};

use crate::exec::procfs::Stat;

/// Who stands below whom at one moment.
#[derive(Default)]
pub(in crate::exec) struct Below {
    stats: HashMap<i32, Stat>,
    children: HashMap<i32, Vec<i32>>,
}

impl Below {
    pub(in crate::exec) fn new(all: &[(i32, Stat)]) -> Below {
        let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
        for (pid, stat) in all {
            children.entry(stat.parent).or_default().push(*pid);
        }
        Below { stats: all.iter().copied().collect(), children }
    }

    pub(super) fn stat(&self, pid: i32) -> Option<Stat> {
        self.stats.get(&pid).copied()
    }

    /// The process and all that live below it.
    pub(in crate::exec) fn branch(&self, top: (i32, u64)) -> Vec<(i32, u64)> {
        let (mut branch, mut at) = (vec![top], 0);
        let mut seen = HashSet::from([top.0]);
        while let Some((pid, _)) = branch.get(at) {
            for child in self.children.get(pid).into_iter().flatten() {
                // A pid that was used again while we looked must not lead us round in a circle.
                if let Some(stat) = self.stat(*child).filter(|stat| stat.is_alive() && seen.insert(*child)) {
                    branch.push((*child, stat.start_ticks));
                }
            }
            at += 1;
        }
        branch
    }
}
