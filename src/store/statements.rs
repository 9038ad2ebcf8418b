//! Lists every statement, so that a test can prepare each on both engines.

use super::db::Sql;
use super::{
    attempts, blockers, bulk, claim, dependencies, estimates, events, expiry, ids, job_lists, jobs, keys,
    log_room, logs, open, prune, queues, reports, room, schedules, suspects, task_history, tasks, ticks,
    tokens, transition, unique, waiting, workers, writer,
};

/// Every statement over the state.
pub fn state() -> Vec<&'static Sql> {
    let mut all: Vec<&Sql> = job_lists::LISTS.iter().collect();
    for some in [
        ids::STATEMENTS,
        writer::STATEMENTS,
        events::STATEMENTS,
        expiry::STATEMENTS,
        jobs::STATEMENTS,
        job_lists::STATEMENTS,
        transition::STATEMENTS,
        dependencies::STATEMENTS,
        bulk::STATEMENTS,
        unique::STATEMENTS,
        waiting::STATEMENTS,
        room::STATEMENTS,
        keys::STATEMENTS,
        claim::STATEMENTS,
        blockers::STATEMENTS,
        reports::STATEMENTS,
        attempts::STATEMENTS,
        suspects::STATEMENTS,
        estimates::STATEMENTS,
        queues::STATEMENTS,
        tasks::STATEMENTS,
        task_history::STATEMENTS,
        schedules::STATEMENTS,
        ticks::STATEMENTS,
        tokens::STATEMENTS,
        workers::STATEMENTS,
        prune::STATEMENTS,
        open::STATEMENTS,
    ] {
        all.extend(some);
    }
    all
}

/// Every statement over the logs.
pub fn logs() -> Vec<&'static Sql> {
    [logs::STATEMENTS, log_room::STATEMENTS].concat()
}
