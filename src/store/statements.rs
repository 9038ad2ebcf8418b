//! Lists every statement, so that a test can prepare each on both engines.

use super::db::Sql;
use super::{
    attempts, claim, events, expiry, ids, job_lists, jobs, logs, open, prune, queues, reports, schedules,
    tasks, ticks, tokens, transition, unique, waiting, workers, writer,
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
        unique::STATEMENTS,
        waiting::STATEMENTS,
        claim::STATEMENTS,
        reports::STATEMENTS,
        attempts::STATEMENTS,
        queues::STATEMENTS,
        tasks::STATEMENTS,
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
    logs::STATEMENTS.to_vec()
}
