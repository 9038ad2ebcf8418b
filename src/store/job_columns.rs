//! Owns how a job's row is read: which columns a statement names, and the job that they make.

use super::db::Row;
use super::fault::{Fault, Result};
use crate::base::clock::Timestamp;
use crate::domain::command::Command;
use crate::domain::concurrency::LimitKey;
use crate::domain::duration::Span;
use crate::domain::event::EventCursor;
use crate::domain::id::{JobId, ScheduleId, TaskId, TokenId};
use crate::domain::job::{DependencyFailure, Job, JobOrigin, JobState};
use crate::domain::placement;
use crate::domain::retry::RetryPolicy;

/// A part of a job, named by its bit among `JobParts`: null unless the argument `mask` has that bit. Without a mask it is
/// there.
macro_rules! part {
    ((), $bit:literal, $column:expr) => {
        $column
    };
    (($mask:literal), $bit:literal, $column:expr) => {
        concat!("CASE WHEN ", $mask, " & ", $bit, " <> 0 THEN ", $column, " END")
    };
}
pub(super) use part;

/// The columns that most lists show, in the order that `brief_from` reads.
macro_rules! brief_columns {
    () => {
        "id, state, task_id, queue, priority, origin, requested_by, restartable, created_at_us, run_at_us, started_at_us,
         finished_at_us"
    };
}
pub(super) use brief_columns;

/// The columns of `job`, in the order that `job_from` reads: all of them, or the parts of a mask.
macro_rules! job_columns {
    ($($mask:literal)?) => {
        concat!(
            $crate::store::job_columns::brief_columns!(),
            ", task_name, task_revision, ",
            $crate::store::job_columns::part!(($($mask)?), 1, "command"),
            ", ",
            $crate::store::job_columns::part!(($($mask)?), 2, "labels"),
            ", ",
            $crate::store::job_columns::part!(($($mask)?), 4, "retry_policy"),
            ", timeout_ms, kill_grace_ms, ",
            $crate::store::job_columns::part!(($($mask)?), 8, "failure"),
            ", retry_of, schedule_id, stop_requested_at_us, attempt_count, try_count, start_by_us, idle_timeout_ms,
             unique_key, ",
            $crate::store::job_columns::part!(($($mask)?), 16, "progress"),
            ", ",
            $crate::store::job_columns::part!(($($mask)?), 32, "parameters"),
            ", token_id, held_by, limit_key, gated_at_us, on_dependency_failure, merge_output, timeout_max_ms, ",
            $crate::store::job_columns::part!(($($mask)?), 64, "runs_on")
        )
    };
}
pub(super) use job_columns;
/// How many columns `job_columns` names.
pub(super) const JOB_COLUMNS: usize = 38;

/// The position of a job's last event, as one more column behind `job_columns`.
macro_rules! last_event {
    ($($mask:literal)?) => {
        concat!(
            "coalesce(",
            $crate::store::job_columns::part!(
                ($($mask)?),
                128,
                "(SELECT max(events.seq) FROM events WHERE events.job_id = jobs.id)"
            ),
            ", 0)"
        )
    };
}
pub(super) use last_event;

fn json<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}

fn small(row: &Row, at: usize) -> Result<i32> {
    Ok(i32::try_from(row.get::<i64>(at)?).unwrap_or(i32::MAX))
}

fn time(row: &Row, at: usize) -> Result<Option<Timestamp>> {
    Ok(row.get::<Option<i64>>(at)?.map(Timestamp))
}

fn span(row: &Row, at: usize) -> Result<Option<Span>> {
    Ok(row.get::<Option<i64>>(at)?.map(Span::from_millis))
}

/// Reads `brief_columns`. All else stays empty.
pub(super) fn brief_from(row: &Row, epoch: u32) -> Result<Job> {
    let id: i64 = row.get(0)?;
    let bad = |what: &str| Fault::unreadable(what, JobId(id));
    Ok(Job {
        id: JobId(id),
        state: JobState::from_word(row.text(1)?).ok_or_else(|| bad("the state"))?,
        task_id: row.get::<Option<i64>>(2)?.map(TaskId),
        queue_name: row.get(3)?,
        priority: small(row, 4)?,
        origin: JobOrigin::from_word(row.text(5)?).ok_or_else(|| bad("the origin"))?,
        requested_by: row.get(6)?,
        is_restartable: row.get::<i64>(7)? == 1,
        created_at: Timestamp(row.get(8)?),
        run_at: Timestamp(row.get(9)?),
        started_at: time(row, 10)?,
        finished_at: time(row, 11)?,
        task_name: None,
        task_revision: None,
        command: Command::none(),
        labels: Vec::new(),
        retry_policy: RetryPolicy::default(),
        timeout: None,
        kill_grace: Span::ZERO,
        failure: None,
        retry_of: None,
        schedule_id: None,
        stop_requested_at: None,
        attempt_count: 0,
        try_count: 0,
        start_by: None,
        idle_timeout: None,
        unique_key: None,
        progress: None,
        parameters: None,
        token_id: None,
        held_by: None,
        limit_key: None,
        gated_at: None,
        on_dependency_failure: None,
        merges_output: false,
        timeout_max: None,
        runs_on: Vec::new(),
        event_cursor: EventCursor { epoch, seq: 0 },
    })
}

/// Reads `job_columns` and the last event behind them. A part that was not asked for stays empty.
pub(super) fn job_from(row: &Row, epoch: u32) -> Result<Job> {
    let brief = brief_from(row, epoch)?;
    let bad = |what: &str| Fault::unreadable(what, brief.id);
    let (command, labels, retry_policy) =
        (row.optional_text(14)?, row.optional_text(15)?, row.optional_text(16)?);
    let failure = row.optional_text(19)?;
    let progress = row.optional_text(28)?;
    let parameters = row.optional_text(29)?;
    let limit_key = row.optional_text(32)?;
    let on_dependency_failure = row.optional_text(34)?;
    let runs_on = row.optional_text(37)?;
    Ok(Job {
        task_name: row.get(12)?,
        task_revision: row.get::<Option<i64>>(13)?.map(|number| i32::try_from(number).unwrap_or(i32::MAX)),
        command: command.map_or(Some(Command::none()), json).ok_or_else(|| bad("the command"))?,
        labels: labels.map_or(Some(Vec::new()), json).ok_or_else(|| bad("the labels"))?,
        retry_policy: retry_policy
            .map_or(Some(RetryPolicy::default()), json)
            .ok_or_else(|| bad("the retry policy"))?,
        timeout: span(row, 17)?,
        kill_grace: Span::from_millis(row.get(18)?),
        failure: failure.map(|text| json(text).ok_or_else(|| bad("the failure"))).transpose()?,
        retry_of: row.get::<Option<i64>>(20)?.map(JobId),
        schedule_id: row.get::<Option<i64>>(21)?.map(ScheduleId),
        stop_requested_at: time(row, 22)?,
        attempt_count: small(row, 23)?,
        try_count: small(row, 24)?,
        start_by: time(row, 25)?,
        idle_timeout: span(row, 26)?,
        unique_key: row.get(27)?,
        progress: progress.map(|text| json(text).ok_or_else(|| bad("the progress"))).transpose()?,
        parameters: parameters.map(|text| json(text).ok_or_else(|| bad("the parameters"))).transpose()?,
        token_id: row.get::<Option<i64>>(30)?.map(TokenId),
        held_by: row.get(31)?,
        limit_key: limit_key
            .map(|text| LimitKey::parse(text).ok_or_else(|| bad("the concurrency key")))
            .transpose()?,
        gated_at: time(row, 33)?,
        on_dependency_failure: on_dependency_failure.and_then(DependencyFailure::from_word),
        merges_output: row.get::<i64>(35)? == 1,
        timeout_max: span(row, 36)?,
        runs_on: runs_on
            .map(|text| placement::labels_of(text).ok_or_else(|| bad("the labels of its worker")))
            .transpose()?
            .unwrap_or_default(),
        event_cursor: EventCursor { epoch, seq: row.get(JOB_COLUMNS)? },
        ..brief
    })
}
