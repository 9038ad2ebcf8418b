//! Owns the statements of the ways by which jobs are found: for each one that walks its index, one that says how far a
//! walk of so many rows comes, one that puts all it gives into any order, one that counts it, and one that measures it.
//!
//! The arguments $1 to $14 are those of `job_filter`, where a statement takes the filter; those of the way come last. A
//! cursor is never null and stands alone beside the way's own condition, so that the index is entered where it says.

use super::db::{Kind, Sql};
use super::job_filter::{FILTER_KINDS, job_filter};
use super::job_ways::{BY_ID, BY_KEY, LOOSE};

/// The filter's kinds where `FILTER` is 14, then numbers, of which the last `texts` are texts.
const fn kinds<const FILTER: usize, const N: usize>(texts: usize) -> [Kind; N] {
    let mut kinds = [Kind::Int; N];
    let mut at = 0;
    while at < FILTER {
        kinds[at] = FILTER_KINDS[at];
        at += 1;
    }
    let mut at = N - texts;
    while at < N {
        kinds[at] = Kind::Text;
        at += 1;
    }
    kinds
}

macro_rules! kinds {
    ($filter:literal, $count:literal, $texts:literal) => {{
        const KINDS: [Kind; $count] = kinds::<$filter, $count>($texts);
        &KINDS
    }};
}

/// Where the jobs of a way come from, with the names of its arguments.
macro_rules! jobs_of {
    (all) => {
        "jobs WHERE TRUE"
    };
    (task, $id:literal) => {
        concat!("jobs WHERE task_id = ", $id)
    };
    (schedule, $id:literal) => {
        concat!("jobs WHERE schedule_id = ", $id)
    };
    (token, $id:literal) => {
        concat!("jobs WHERE token_id = ", $id)
    };
    (label, $key:literal, $value:literal) => {
        concat!(labels_of!($key, $value), " AND jobs.id = via.job_id")
    };
    (incident, $id:literal) => {
        concat!("(SELECT ", attempts_of!($id), ") AS via CROSS JOIN jobs WHERE jobs.id = via.job_id")
    };
    (ended, $queue:literal, $state:literal) => {
        concat!(
            "jobs WHERE (state = 'SUCCEEDED' OR state = 'FAILED' OR state = 'CANCELLED' OR state = 'EXPIRED'
                     OR state = 'SKIPPED') AND queue = ",
            $queue,
            " AND state = ",
            $state
        )
    };
    (created, $from:literal, $to:literal) => {
        concat!(
            "jobs WHERE created_at_us >= coalesce(",
            $from,
            ", -9100000000000000000) AND created_at_us < coalesce(",
            $to,
            ", 9100000000000000000)"
        )
    };
    (finished, $state:literal) => {
        concat!("jobs WHERE finished_at_us IS NOT NULL AND state = ", $state)
    };
    (finished, $state:literal, $from:literal, $to:literal) => {
        concat!(
            "jobs WHERE finished_at_us IS NOT NULL AND state = ",
            $state,
            " AND finished_at_us >= coalesce(",
            $from,
            ", -9100000000000000000) AND finished_at_us < coalesce(",
            $to,
            ", 9100000000000000000)"
        )
    };
    (open) => {
        "jobs WHERE finished_at_us IS NULL"
    };
    (ids) => {
        "jobs WHERE id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))"
    };
    (running) => {
        "jobs WHERE state = 'RUNNING'"
    };
    (waiting) => {
        "jobs WHERE state IN ('SCHEDULED', 'RETRYING')"
    };
    (kept) => {
        "jobs WHERE state IN ('HELD', 'BLOCKED')"
    };
}

macro_rules! labels_of {
    ($key:literal, $value:literal) => {
        concat!(
            "job_labels AS via CROSS JOIN jobs WHERE via.label_key = ",
            $key,
            " AND via.label_value = ",
            $value
        )
    };
}

// Each job once, by the last of its attempts that the incident counted.
macro_rules! attempts_of {
    ($id:literal) => {
        concat!(
            "attempts.job_id AS job_id FROM attempts
             WHERE attempts.incident_id = ",
            $id,
            " AND NOT EXISTS (
                 SELECT 1 FROM attempts AS later
                 WHERE later.incident_id = ",
            $id,
            " AND later.job_id = attempts.job_id AND later.id > attempts.id)"
        )
    };
}

/// What of a way's index can be walked without the jobs.
macro_rules! index_of {
    (label, $key:literal, $value:literal) => {
        concat!("job_labels AS via WHERE via.label_key = ", $key, " AND via.label_value = ", $value)
    };
    (incident, $id:literal) => {
        concat!("(SELECT ", attempts_of!($id), ") AS via WHERE TRUE")
    };
    ($($way:tt)*) => {
        jobs_of!($($way)*)
    };
}

macro_rules! next {
    ($id:literal, $direction:ident, $kinds:expr, $($way:tt)*) => {
        Sql::both(
            concat!(
                "SELECT ", $id, ", ", $id, " FROM ", jobs_of!($($way)*), "
                 AND ", job_filter!(), "
                 AND ", $id, beyond!($direction), "$16 AND ", $id, until!($direction), "$17
                 ORDER BY ", $id, " ", stringify!($direction), " LIMIT $15"
            ),
            $kinds,
        )
    };
}

macro_rules! beyond {
    (ASC) => {
        " > "
    };
    (DESC) => {
        " < "
    };
}

macro_rules! until {
    (ASC) => {
        " <= "
    };
    (DESC) => {
        " >= "
    };
}

pub(super) const NEXT: [Sql; BY_ID * 2] = [
    next!("id", ASC, kinds!(14, 17, 0), all),
    next!("id", DESC, kinds!(14, 17, 0), all),
    next!("id", ASC, kinds!(14, 18, 0), task, "$18"),
    next!("id", DESC, kinds!(14, 18, 0), task, "$18"),
    next!("id", ASC, kinds!(14, 17, 0), schedule, "$11"),
    next!("id", DESC, kinds!(14, 17, 0), schedule, "$11"),
    next!("id", ASC, kinds!(14, 17, 0), token, "$13"),
    next!("id", DESC, kinds!(14, 17, 0), token, "$13"),
    next!("via.job_id", ASC, kinds!(14, 19, 2), label, "$18", "$19"),
    next!("via.job_id", DESC, kinds!(14, 19, 2), label, "$18", "$19"),
    next!("via.job_id", ASC, kinds!(14, 17, 0), incident, "$14"),
    next!("via.job_id", DESC, kinds!(14, 17, 0), incident, "$14"),
    next!("id", ASC, kinds!(14, 19, 2), ended, "$18", "$19"),
    next!("id", DESC, kinds!(14, 19, 2), ended, "$18", "$19"),
];

macro_rules! next_by_key {
    ($key:literal, $direction:ident, $kinds:expr, $($way:tt)*) => {
        Sql::both(
            concat!(
                "SELECT ", $key, ", id FROM ", jobs_of!($($way)*), "
                 AND ", job_filter!(), "
                 AND (", $key, ", id)", beyond!($direction), "($16, $17)
                 AND (", $key, ", id)", until!($direction), "($18, $19)
                 ORDER BY ", $key, " ", stringify!($direction), ", id ", stringify!($direction), " LIMIT $15"
            ),
            $kinds,
        )
    };
}

pub(super) const NEXT_BY_KEY: [Sql; BY_KEY * 2] = [
    next_by_key!("created_at_us", ASC, kinds!(14, 19, 0), all),
    next_by_key!("created_at_us", DESC, kinds!(14, 19, 0), all),
    next_by_key!("finished_at_us", ASC, kinds!(14, 20, 1), finished, "$20"),
    next_by_key!("finished_at_us", DESC, kinds!(14, 20, 1), finished, "$20"),
    next_by_key!("run_at_us", ASC, kinds!(14, 19, 0), open),
    next_by_key!("run_at_us", DESC, kinds!(14, 19, 0), open),
    next_by_key!("priority", ASC, kinds!(14, 19, 0), open),
    next_by_key!("priority", DESC, kinds!(14, 19, 0), open),
];

macro_rules! edge {
    ($id:literal, $direction:ident, $kinds:expr, $($way:tt)*) => {
        Sql::both(
            concat!(
                "SELECT ", $id, ", ", $id, " FROM ", index_of!($($way)*), "
                 AND ", $id, beyond!($direction), "$1
                 ORDER BY ", $id, " ", stringify!($direction), " LIMIT 1 OFFSET $2"
            ),
            $kinds,
        )
    };
}

pub(super) const EDGE: [Sql; BY_ID * 2] = [
    edge!("id", ASC, kinds!(0, 2, 0), all),
    edge!("id", DESC, kinds!(0, 2, 0), all),
    edge!("id", ASC, kinds!(0, 3, 0), task, "$3"),
    edge!("id", DESC, kinds!(0, 3, 0), task, "$3"),
    edge!("id", ASC, kinds!(0, 3, 0), schedule, "$3"),
    edge!("id", DESC, kinds!(0, 3, 0), schedule, "$3"),
    edge!("id", ASC, kinds!(0, 3, 0), token, "$3"),
    edge!("id", DESC, kinds!(0, 3, 0), token, "$3"),
    edge!("via.job_id", ASC, kinds!(0, 4, 2), label, "$3", "$4"),
    edge!("via.job_id", DESC, kinds!(0, 4, 2), label, "$3", "$4"),
    edge!("via.job_id", ASC, kinds!(0, 3, 0), incident, "$3"),
    edge!("via.job_id", DESC, kinds!(0, 3, 0), incident, "$3"),
    edge!("id", ASC, kinds!(0, 4, 2), ended, "$3", "$4"),
    edge!("id", DESC, kinds!(0, 4, 2), ended, "$3", "$4"),
];

macro_rules! edge_by_key {
    ($key:literal, $direction:ident, $kinds:expr, $($way:tt)*) => {
        Sql::both(
            concat!(
                "SELECT ", $key, ", id FROM ", jobs_of!($($way)*), "
                 AND (", $key, ", id)", beyond!($direction), "($1, $2)
                 AND (", $key, ", id)", until!($direction), "($4, $5)
                 ORDER BY ", $key, " ", stringify!($direction), ", id ", stringify!($direction), " LIMIT 1 OFFSET $3"
            ),
            $kinds,
        )
    };
}

pub(super) const EDGE_BY_KEY: [Sql; BY_KEY * 2] = [
    edge_by_key!("created_at_us", ASC, kinds!(0, 5, 0), all),
    edge_by_key!("created_at_us", DESC, kinds!(0, 5, 0), all),
    edge_by_key!("finished_at_us", ASC, kinds!(0, 6, 1), finished, "$6"),
    edge_by_key!("finished_at_us", DESC, kinds!(0, 6, 1), finished, "$6"),
    edge_by_key!("run_at_us", ASC, kinds!(0, 5, 0), open),
    edge_by_key!("run_at_us", DESC, kinds!(0, 5, 0), open),
    edge_by_key!("priority", ASC, kinds!(0, 5, 0), open),
    edge_by_key!("priority", DESC, kinds!(0, 5, 0), open),
];

// $18 says by what, $19 is 1 or -1.
macro_rules! sorted {
    ($kinds:expr, $($way:tt)*) => {
        Sql::both(
            concat!(
                "SELECT sort_key, id FROM (
                     SELECT jobs.id AS id,
                            CASE $18 WHEN 0 THEN jobs.id WHEN 1 THEN created_at_us WHEN 2 THEN run_at_us
                                     WHEN 3 THEN coalesce(finished_at_us, 9000000000000000000)
                                     ELSE priority END AS sort_key
                     FROM ", jobs_of!($($way)*), "
                     AND ", job_filter!(), ") AS found
                 WHERE (sort_key * $19, id * $19) > ($16 * $19, $17 * $19)
                 ORDER BY sort_key * $19, id * $19 LIMIT $15"
            ),
            $kinds,
        )
    };
}

pub(super) const SORTED: [Sql; BY_ID + 2 + LOOSE] = [
    sorted!(kinds!(14, 19, 0), all),
    sorted!(kinds!(14, 20, 0), task, "$20"),
    sorted!(kinds!(14, 19, 0), schedule, "$11"),
    sorted!(kinds!(14, 19, 0), token, "$13"),
    sorted!(kinds!(14, 21, 2), label, "$20", "$21"),
    sorted!(kinds!(14, 19, 0), incident, "$14"),
    sorted!(kinds!(14, 21, 2), ended, "$20", "$21"),
    sorted!(kinds!(14, 19, 0), created, "$7", "$8"),
    sorted!(kinds!(14, 20, 1), finished, "$20", "$9", "$10"),
    sorted!(kinds!(14, 19, 0), ids),
    sorted!(kinds!(14, 19, 0), open),
    sorted!(kinds!(14, 19, 0), running),
    sorted!(kinds!(14, 19, 0), waiting),
    sorted!(kinds!(14, 19, 0), kept),
];

macro_rules! count {
    ($id:literal, $kinds:expr, $($way:tt)*) => {
        Sql::both(
            concat!(
                "SELECT state, count(*) FROM (
                     SELECT state FROM ", jobs_of!($($way)*), "
                     AND ", job_filter!(), "
                     AND ", $id, " >= $16 LIMIT $15) AS found
                 GROUP BY state"
            ),
            $kinds,
        )
    };
}

pub(super) const COUNT: [Sql; BY_ID] = [
    count!("id", kinds!(14, 16, 0), all),
    count!("id", kinds!(14, 17, 0), task, "$17"),
    count!("id", kinds!(14, 16, 0), schedule, "$11"),
    count!("id", kinds!(14, 16, 0), token, "$13"),
    count!("via.job_id", kinds!(14, 18, 2), label, "$17", "$18"),
    count!("via.job_id", kinds!(14, 16, 0), incident, "$14"),
    count!("id", kinds!(14, 18, 2), ended, "$17", "$18"),
];

macro_rules! count_by_key {
    ($key:literal, $kinds:expr, $($way:tt)*) => {
        Sql::both(
            concat!(
                "SELECT state, count(*) FROM (
                     SELECT state FROM ", jobs_of!($($way)*), "
                     AND ", job_filter!(), "
                     AND (", $key, ", id) >= ($16, $17) AND (", $key, ", id) < ($18, $19) LIMIT $15) AS found
                 GROUP BY state"
            ),
            $kinds,
        )
    };
}

pub(super) const COUNT_BY_KEY: [Sql; 2] = [
    count_by_key!("created_at_us", kinds!(14, 19, 0), all),
    count_by_key!("finished_at_us", kinds!(14, 20, 1), finished, "$20"),
];

macro_rules! count_loose {
    ($($way:tt)*) => {
        Sql::both(
            concat!(
                "SELECT state, count(*) FROM (
                     SELECT state FROM ", jobs_of!($($way)*), "
                     AND ", job_filter!(), " LIMIT $15) AS found
                 GROUP BY state"
            ),
            kinds!(14, 15, 0),
        )
    };
}

pub(super) const COUNT_LOOSE: [Sql; LOOSE] =
    [count_loose!(ids), count_loose!(open), count_loose!(running), count_loose!(waiting), count_loose!(kept)];

macro_rules! size {
    ($kinds:expr, $($way:tt)*) => {
        Sql::both(
            concat!("SELECT count(*) FROM (SELECT 1 FROM ", index_of!($($way)*), " LIMIT $1) AS some_rows"),
            $kinds,
        )
    };
}

pub(super) const SIZE: [Sql; 6] = [
    size!(kinds!(0, 2, 0), task, "$2"),
    size!(kinds!(0, 2, 0), schedule, "$2"),
    size!(kinds!(0, 3, 2), label, "$2", "$3"),
    size!(kinds!(0, 2, 0), incident, "$2"),
    size!(kinds!(0, 3, 0), created, "$2", "$3"),
    size!(kinds!(0, 4, 1), finished, "$4", "$2", "$3"),
];

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: [&[Sql]; 9] =
    [&NEXT, &NEXT_BY_KEY, &EDGE, &EDGE_BY_KEY, &SORTED, &COUNT, &COUNT_BY_KEY, &COUNT_LOOSE, &SIZE];
