//! Owns the processes of attempts: starting, watching, stopping and accounting for them, on Linux; and the calls of
//! this program's own functions in their place. No other layer spawns a process. It must never know a job, the store or the API: it takes plain
//! data and gives plain data.
//!
//! How a process is held, in the order of its life:
//! 1. `spawn` starts it as the leader of its own process group, by `posix_spawn` (no `pre_exec`, and
//!    the program's path is resolved here, else the standard library would fall back to `fork`). `start` does it on
//!    a thread of its own, for a disk that does not answer holds a start up for ever.
//! 2. A pidfd tells of its exit. Until it is reaped, its pid and its group id cannot be used again,
//!    so signals are sent to the group only under the lock that also guards the reaping.
//! 3. On its exit the rest of the group is killed first, then the leader is reaped by `wait4` for its
//!    accounting. After a `terminate` the rest keeps the grace time: it is killed by `kill`.
//! 4. Exit, not end-of-file, ends an attempt: the pipes are drained for a bounded time after it.
//! 5. What leaves the group is adopted when its parent ends (`adopt_orphans`), ended with the attempt, and reaped. The
//!    attempt has ended only when nothing of it is left.
//! 6. What outlives the daemon is found at the next start, by the cookie in its environment. A daemon whose attempts may
//!    be taken over by another has a `Guard` beside it, which ends them in time even when the daemon stands still.

mod account;
mod browser;
mod cgroup;
mod command;
mod dependencies;
mod error;
mod guard;
mod handler;
mod handler_context;
mod hygiene;
mod output;
mod process;
mod procfs;
mod report;
mod starter;
mod survivors;
mod trees;

#[cfg(test)]
mod tests;

pub use account::Exit;
pub use browser::browse;
pub use cgroup::{AttemptLimits, Cgroup, Leaf};
pub use command::{COOKIE_VARIABLE, DEFAULT_PATH, Spec, default_environment};
pub use dependencies::{DEPENDENCIES_VARIABLE, DependencyFile};
pub use error::{SpawnError, is_shortage};
pub use guard::{Guard, keep_guard};
pub use handler::{Call, Calling, Handler, Handlers, Place, Returned};
pub use handler_context::{HandlerContext, Hear, Told};
pub use hygiene::keep_inherited_to_ourselves;
pub use output::{
    BATCH_PIECES_MAX, BATCHES_MAX, CHUNK_BYTES, DRAIN_IDLE, DRAIN_MAX, DrainReport, FLOOD_BYTES,
    MAX_PIECE_BYTES, Piece, Stream, TAIL_FLUSH,
};
pub use process::{Running, Spawned, spawn};
pub use procfs::Identity;
pub use report::{Heard, REPORT_VARIABLE, ReportChannel, clear_channels};
pub use starter::{Start, start};
pub use survivors::{Cleared, SURVIVORS_MAX, Survivor, kill_survivors};
pub use trees::{HANGS_AFTER, Hanging, adopt_orphans, adopts_orphans, answer_on_first_thread, tend};
