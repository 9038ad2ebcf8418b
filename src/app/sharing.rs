//! Owns what a daemon needs beyond itself when its store is shared with others: who it was before, in its own data
//! directory, and the parts that keep its lease and look to the others.

use std::path::Path;

use super::{Lasts, write_private};
use crate::domain::id::WorkerId;
use crate::engine::supervisor::Supervisor;
use crate::engine::watchdog::Role;
use crate::engine::{Engine, lease, others};

/// The file in the data directory that names the worker: its store's epoch, and its number there.
const WORKER_FILE: &str = "worker";

/// The worker that this data directory was before. Whoever holds the directory's lock knows that it has ended.
pub(super) fn predecessor(data_dir: &Path, epoch: u32) -> Option<WorkerId> {
    let text = std::fs::read_to_string(data_dir.join(WORKER_FILE)).ok()?;
    let (of, number) = text.trim().split_once(' ')?;
    // One of another database says nothing here.
    (of.parse() == Ok(epoch)).then_some(WorkerId(number.parse().ok()?))
}

/// Writes down who we are, for our successor.
pub(super) fn keep_worker(data_dir: &Path, engine: &Engine) -> Result<(), String> {
    if engine.sharing.is_none() {
        return Ok(());
    }
    let text = format!("{} {}\n", engine.reader.epoch(), engine.worker.0);
    write_private(&data_dir.join(WORKER_FILE), &text, Lasts::Always)
}

/// Starts the parts of a worker among others. Its lease is kept until what runs has ended.
pub(super) fn start(engine: &Engine, (supervisor, keepers): (&Supervisor, &Supervisor), role: Role) {
    let Some(sharing) = engine.sharing.clone() else { return };
    // A host that is not our own program cannot stand beside itself.
    let mark = (role == Role::Program).then(|| engine.mark.clone());
    let of_lease = sharing.clone();
    keepers.keep(engine, "lease-keeper", move |engine| lease::run(engine, of_lease.clone(), mark.clone()));
    let to_hear = sharing.clone();
    keepers.keep(engine, "hearing", move |engine| others::hear(engine, to_hear.clone()));
    let to_tell = sharing.clone();
    keepers.keep(engine, "telling", move |engine| others::tell(engine, to_tell.clone()));
    supervisor.keep(engine, "take-over", move |engine| others::take_over(engine, sharing.clone()));
}
