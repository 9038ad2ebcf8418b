//! Owns what the daemon does to the process that it is: it adopts the orphans of its jobs, keeps to itself what it was
//! started with, and goes into the control group that was given to it. It must never do so to a host unasked.

use std::path::Path;
use std::sync::Arc;

use crate::base::clock::Clock;
use crate::base::settings::{CgroupUse, Settings};
use crate::engine::tokens::digest;
use crate::exec::{self, AttemptLimits, Cgroup};

/// Characters of the data directory's digest that tell control groups of several daemons apart.
const MARK_LENGTH: usize = 16;

/// Makes this process the daemon's own.
pub(super) fn take_over() -> Result<(), String> {
    exec::keep_inherited_to_ourselves();
    exec::adopt_orphans().map_err(|error| format!("orphans of jobs cannot be adopted: {error}"))
}

/// The control groups of attempts, where there are any. What was asked for and cannot be kept is said aloud.
pub(super) fn enter_cgroup(settings: &Settings, data_dir: &Path, clock: &dyn Clock) -> Option<Arc<Cgroup>> {
    let limits =
        AttemptLimits { memory_bytes: settings.job_memory_max, processes_count: settings.job_processes_max };
    let mark = digest(&data_dir.to_string_lossy());
    let entered = if settings.cgroup == CgroupUse::Off {
        Err("`cgroup` is off".to_owned())
    } else if exec::adopts_orphans() {
        Cgroup::enter(&mark[..MARK_LENGTH], limits, clock)
    } else {
        Err("this process is not the daemon's own".to_owned())
    };
    match entered {
        Ok(cgroup) => {
            for missing in cgroup.missing_limits() {
                tracing::warn!("jobs run without a limit: {missing}, which is not delegated to us");
            }
            Some(cgroup)
        }
        Err(reason) if limits != AttemptLimits::default() => {
            tracing::warn!(
                "jobs run without the limits that were set, for they have no control groups: {reason}"
            );
            None
        }
        Err(reason) => {
            tracing::debug!("jobs have no control groups: {reason}");
            None
        }
    }
}
