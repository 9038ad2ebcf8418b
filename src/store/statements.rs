//! Lists every statement, so that a test can prepare each on both engines.

use super::db::Sql;
use super::{
    attempts, backup, beside, blockers, bulk, claim, dependencies, doctor, ends, estimates, events, expiry,
    ids, incident_counts, incident_upkeep, incidents, job_lists, job_rows, job_search, job_traces, job_walks,
    jobs, keys, log_days, log_room, logs, migrations, moving, open, placement, prune, queues, reports,
    restore, room, schedules, sharing, sinks, sizes, suspects, task_history, tasks, ticks, tokens,
    transition, unique, upkeep, waiting, workers, writer,
};

/// Every statement over the state.
pub fn state() -> Vec<&'static Sql> {
    let mut all: Vec<&Sql> = of_lists().chain(moving::statements(moving::Home::State)).collect();
    for some in [
        ids::STATEMENTS,
        writer::STATEMENTS,
        events::STATEMENTS,
        expiry::STATEMENTS,
        jobs::STATEMENTS,
        job_lists::STATEMENTS,
        job_rows::STATEMENTS,
        job_search::STATEMENTS,
        job_traces::STATEMENTS,
        transition::STATEMENTS,
        ends::STATEMENTS,
        dependencies::STATEMENTS,
        bulk::STATEMENTS,
        unique::STATEMENTS,
        waiting::STATEMENTS,
        room::STATEMENTS,
        placement::STATEMENTS,
        keys::STATEMENTS,
        claim::STATEMENTS,
        blockers::STATEMENTS,
        reports::STATEMENTS,
        attempts::STATEMENTS,
        sizes::STATEMENTS,
        suspects::STATEMENTS,
        estimates::STATEMENTS,
        queues::STATEMENTS,
        tasks::STATEMENTS,
        task_history::STATEMENTS,
        schedules::STATEMENTS,
        ticks::STATEMENTS,
        incidents::STATEMENTS,
        incident_counts::STATEMENTS,
        incident_upkeep::STATEMENTS,
        tokens::STATEMENTS,
        sinks::STATEMENTS,
        workers::STATEMENTS,
        sharing::STATEMENTS,
        upkeep::STATEMENTS,
        prune::STATEMENTS,
        migrations::STATEMENTS,
        open::STATEMENTS,
        beside::STATEMENTS,
        backup::STATEMENTS,
        restore::STATEMENTS,
        moving::STATEMENTS,
        doctor::STATEMENTS,
    ] {
        all.extend(some);
    }
    all
}

/// The statements by which lists and counts of jobs look, in the order of `job_walks`.
pub fn of_lists() -> impl Iterator<Item = &'static Sql> {
    job_walks::STATEMENTS.into_iter().flatten()
}

/// Every statement over the logs.
pub fn logs() -> Vec<&'static Sql> {
    let own = [
        logs::STATEMENTS,
        log_room::STATEMENTS,
        log_days::STATEMENTS,
        restore::OF_LOGS,
        &[&doctor::LOG_ENDS],
    ];
    own.concat().into_iter().chain(moving::statements(moving::Home::Logs)).collect()
}
