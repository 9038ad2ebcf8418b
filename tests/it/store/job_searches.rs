//! Lists and counts over a long history: each finds what a plain statement finds, looks at a bounded number of rows, and says
//! how far it came when that was not enough.

use std::fmt::Write as _;

use beadle::domain::filter::{JobFilter, JobOrder, JobOrderField, OrderDirection, TimeRangeInput};
use beadle::domain::id::{IncidentId, ScheduleId};
use beadle::domain::job::{JobOrigin, JobState};
use beadle::domain::job_parts::JobParts;
use beadle::domain::limits::{COUNT_CAP, JOBS_WALKED_MAX};
use beadle::store::statements;

use super::plan::plan;
use super::stage::{Stage, T0, enqueue, label, new_job, on_sqlite};
use crate::support::length::sized;
use crate::support::past::past;
use crate::support::wait::now;

/// Jobs that have ended, in a store without any. `tests/it/support/past.sql` says which.
async fn fill(stage: &Stage, count: i64, step_us: i64) {
    stage.execute(&past(count, T0.0 - 1_000_000, step_us)).await;
}

fn order(field: JobOrderField, direction: OrderDirection) -> JobOrder {
    JobOrder { field, direction }
}

/// A filter, and what it says in a plain statement.
type Case = (JobFilter, String);

fn all() -> JobFilter {
    JobFilter::default()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn cases_of_states() -> Vec<Case> {
    let states = |states: &[JobState]| JobFilter { states: Some(states.to_vec()), ..all() };
    let with = |filter: JobFilter, plain: &str| (filter, plain.to_owned());
    vec![
        with(all(), "TRUE"),
        with(states(&[JobState::Failed]), "state = 'FAILED'"),
        with(states(&[JobState::Expired]), "state = 'EXPIRED'"),
        with(states(&[JobState::Held, JobState::Queued]), "state IN ('HELD', 'QUEUED')"),
        with(
            states(&[JobState::Queued, JobState::Failed, JobState::Skipped]),
            "state IN ('QUEUED', 'FAILED', 'SKIPPED')",
        ),
        with(JobFilter { queues: Some(words(&["rare"])), ..all() }, "queue = 'rare'"),
        with(
            JobFilter { queues: Some(words(&["mail", "default"])), ..all() },
            "queue IN ('mail', 'default')",
        ),
        with(JobFilter { queues: Some(words(&["none"])), ..all() }, "FALSE"),
        with(
            JobFilter { text: Some("HOST-2".to_owned()), ..states(&[JobState::Failed]) },
            "lower(failure) LIKE '%host-2%' AND state = 'FAILED'",
        ),
        with(
            // A word of the failure's form, and not of what it says.
            JobFilter { text: Some("outcome".to_owned()), ..states(&[JobState::Failed]) },
            "FALSE",
        ),
        with(JobFilter { text: Some("rsync".to_owned()), ..all() }, "search_text LIKE '%rsync%'"),
    ]
}

fn cases_of_names() -> Vec<Case> {
    let labels = |key: &str, value: &str| Some(vec![label(key, value)]);
    let with = |filter: JobFilter, plain: &str| (filter, plain.to_owned());
    let failed = JobFilter { states: Some(vec![JobState::Failed]), ..all() };
    let cancelled = JobFilter { states: Some(vec![JobState::Cancelled]), ..all() };
    let both = Some(vec![label("team", "web"), label("customer", "c9")]);
    vec![
        with(JobFilter { tasks: Some(words(&["task-3"])), ..all() }, "task_name = 'task-3'"),
        with(
            JobFilter { tasks: Some(words(&["task-3", "task-21"])), ..all() },
            "task_name IN ('task-3', 'task-21')",
        ),
        with(JobFilter { tasks: Some(words(&["none"])), ..all() }, "FALSE"),
        with(JobFilter { labels: labels("team", "web"), ..all() }, "id % 3 = 0 AND labels <> '[]'"),
        with(JobFilter { labels: labels("customer", "c7"), ..all() }, "id % 5000 = 7 AND labels <> '[]'"),
        with(JobFilter { labels: labels("customer", "none"), ..all() }, "FALSE"),
        with(JobFilter { labels: both, ..all() }, "id % 3 = 0 AND id % 5000 = 9 AND labels <> '[]'"),
        with(JobFilter { schedule_id: Some(ScheduleId(2)), ..all() }, "schedule_id = 2"),
        with(
            JobFilter { incident_id: Some(IncidentId(3)), ..all() },
            "id IN (SELECT job_id FROM attempts WHERE incident_id = 3)",
        ),
        with(JobFilter { origins: Some(vec![JobOrigin::Retry]), ..all() }, "origin = 'RETRY'"),
        with(
            JobFilter { tasks: Some(words(&["task-3"])), ..failed },
            "task_name = 'task-3' AND state = 'FAILED'",
        ),
        with(
            JobFilter { labels: labels("team", "web"), ..cancelled },
            "id % 3 = 0 AND labels <> '[]' AND state = 'CANCELLED'",
        ),
    ]
}

/// Ranges of few jobs and of half of them.
fn cases_of_times(count: i64) -> Vec<Case> {
    let ago = |seconds: i64| T0.plus_millis(-seconds * 1_000);
    let range = |(from, to): (i64, i64)| Some(TimeRangeInput { from: Some(ago(from)), to: Some(ago(to)) });
    let within = |column: &str, (from, to): (i64, i64)| {
        format!("{column} >= {} AND {column} < {}", ago(from).0, ago(to).0)
    };
    let mut cases = Vec::new();
    for span in [(3_000, 2_000), (count / 2, 10)] {
        let (created, finished) = (within("created_at_us", span), within("finished_at_us", span));
        let failed = format!("{created} AND state = 'FAILED'");
        let states = Some(vec![JobState::Failed]);
        cases.push((JobFilter { created: range(span), ..all() }, created));
        cases.push((JobFilter { finished: range(span), ..all() }, finished));
        cases.push((JobFilter { created: range(span), states, ..all() }, failed));
    }
    cases
}

const FIELDS: [(JobOrderField, &str); 4] = [
    (JobOrderField::CreatedAt, "id"),
    (JobOrderField::RunAt, "run_at_us"),
    (JobOrderField::FinishedAt, "coalesce(finished_at_us, 9000000000000000000)"),
    (JobOrderField::Priority, "priority"),
];

/// The first jobs of a list, over as many pages as that takes, and how many they were.
async fn first(stage: &Stage, filter: &JobFilter, order: JobOrder, limit: usize) -> (Vec<i64>, usize) {
    let (mut ids, mut after, mut page_count) = (Vec::new(), None, 0);
    loop {
        let page = stage.reader().jobs(filter, order, after.as_deref(), 20, JobParts::ALL).await;
        let page = page.expect("the store can be read").expect("a position of our own");
        ids.extend(page.rows.iter().map(|(_, job)| job.id.0));
        page_count += 1;
        if ids.len() >= limit || !page.has_more {
            ids.truncate(limit);
            return (ids, page_count);
        }
        assert!(page.end.is_some() && page.end != after, "a page that goes on says where");
        assert!(page.rows.len() == 20 || page.searched_until.is_some(), "a short page says how far it came");
        after = page.end;
    }
}

#[test]
fn over_a_long_history_each_list_and_count_is_what_a_plain_statement_gives() {
    on_sqlite(async |stage| {
        let count = sized(20_000, 1_000_000);
        fill(&stage, count, 1_000_000).await;
        let stage = stage.reopen().await;
        stage.apply(enqueue(vec![new_job(); 30])).await;
        let mut figures = String::new();
        for (filter, plain) in [cases_of_states(), cases_of_names(), cases_of_times(count)].concat() {
            for (field, column) in FIELDS {
                for (direction, word) in [(OrderDirection::Desc, "DESC"), (OrderDirection::Asc, "ASC")] {
                    let began = now();
                    let (found, page_count) = first(&stage, &filter, order(field, direction), 50).await;
                    let took = began.elapsed();
                    let sql = format!(
                        "SELECT id FROM jobs WHERE {plain} ORDER BY {column} {word}, id {word} LIMIT 50"
                    );
                    assert_eq!(found, stage.numbers(&sql).await, "{filter:?} {field:?} {direction:?}");
                    writeln!(figures, "{took:>10.1?} {page_count:>2} pages {field:?} {word}: {plain}")
                        .unwrap();
                }
            }
            let began = now();
            let counts = stage.reader().count_jobs(&filter).await.expect("the store can be read");
            let (counted, took) = (counts.counts.values().sum::<i64>(), began.elapsed());
            let there = stage.number(&format!("SELECT count(*) FROM jobs WHERE {plain}")).await;
            writeln!(figures, "{took:>10.1?} counted {counted} of {there}: {plain}").unwrap();
            assert!(
                counted == there || (counts.is_capped && counted < there),
                "{counted} of {there}: {plain}"
            );
            let matching = stage.reader().matching_jobs(&filter, 100).await.expect("the store can be read");
            let sql = format!("SELECT id FROM jobs WHERE {plain} ORDER BY id LIMIT 100");
            assert_eq!(
                matching.iter().map(|id| id.0).collect::<Vec<_>>(),
                stage.numbers(&sql).await,
                "{plain}"
            );
        }
        println!("{count} jobs have ended; the first 50 and the count of each filter:\n{figures}");
    });
}

#[test]
fn a_page_that_has_looked_at_enough_says_how_far_it_came_and_goes_on() {
    on_sqlite(async |stage| {
        let count = JOBS_WALKED_MAX + 10_000;
        fill(&stage, count, 1_000_000).await;
        let stage = stage.reopen().await;
        // The oldest of all.
        let filter = JobFilter { text: Some("--item 1\"".to_owned()), ..JobFilter::default() };
        stage.execute("UPDATE jobs SET search_text = 'work --item 1\"' WHERE id = 1").await;
        let newest_first = JobOrder::default();
        let page =
            stage.reader().jobs(&filter, newest_first, None, 50, JobParts::ALL).await.unwrap().unwrap();
        assert!(page.rows.is_empty() && page.has_more);
        let until = page.searched_until.expect("it says how far it came");
        let looked_at =
            stage.number(&format!("SELECT count(*) FROM jobs WHERE created_at_us >= {}", until.0)).await;
        assert_eq!(looked_at, JOBS_WALKED_MAX);
        let counts = stage.reader().count_jobs(&filter).await.unwrap();
        assert!(counts.is_capped && counts.counts.is_empty(), "a count looks no further");
        let rest = stage
            .reader()
            .jobs(&filter, newest_first, page.end.as_deref(), 50, JobParts::ALL)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(rest.rows.iter().map(|(_, job)| job.id.0).collect::<Vec<_>>(), [1]);
        assert_eq!((rest.has_more, rest.searched_until), (false, None));
        // What is changed for many is looked for to the end.
        assert_eq!(stage.reader().matching_jobs(&filter, 10).await.unwrap().len(), 1);
        // More than are counted.
        let filter = JobFilter { origins: Some(vec![JobOrigin::Api]), ..JobFilter::default() };
        let counts = stage.reader().count_jobs(&filter).await.unwrap();
        assert_eq!((counts.counts.values().sum::<i64>(), counts.is_capped), (COUNT_CAP + 1, true));
    });
}

/// The index of each way, in the order of `job_walks`.
const WALKED: [&str; 7] = [
    "jobs USING INTEGER PRIMARY KEY (rowid",
    "jobs_task (task_id=?",
    "jobs_schedule (schedule_id=?",
    "jobs_token (token_id=?",
    "job_labels_value (label_key=? AND label_value=?",
    "attempts_incident (incident_id=?",
    "jobs_ended (queue=? AND state=?",
];
const WALKED_BY_KEY: [&str; 4] = [
    "jobs_created (created_at_us>? AND created_at_us<?",
    "jobs_finished (state=? AND finished_at_us>? AND finished_at_us<?",
    "jobs_open_run_at (run_at_us>? AND run_at_us<?",
    "jobs_open_priority (priority>? AND priority<?",
];
const LOOSE: [&str; 5] = [
    "jobs USING INTEGER PRIMARY KEY (rowid=?",
    "jobs USING INDEX jobs_open_",
    "jobs USING INDEX jobs_running",
    "jobs USING INDEX jobs_waiting",
    "jobs_kept (state=?",
];

#[test]
fn every_list_and_count_walks_the_index_of_its_way() {
    fn twice<'a>(names: &[&'a str]) -> Vec<&'a str> {
        names.iter().flat_map(|name| [*name, *name]).collect()
    }
    let both = [twice(&WALKED), twice(&WALKED_BY_KEY)].concat();
    let sorted = [&["SCAN jobs"][..], &WALKED[1..], &WALKED_BY_KEY[..2], &LOOSE[..]].concat();
    let counted = [&WALKED[..], &WALKED_BY_KEY[..2], &LOOSE[..]].concat();
    let measured = [&WALKED[1..3], &WALKED[4..6], &WALKED_BY_KEY[..2]].concat();
    let expected = [&both[..], &both[..], &sorted[..], &counted[..], &measured[..]].concat();
    on_sqlite(async |stage| {
        fill(&stage, 2_000, 1_000_000).await;
        for is_analysed in [false, true] {
            if is_analysed {
                stage.execute("ANALYZE").await;
            }
            let all: Vec<_> = statements::of_lists().collect();
            assert_eq!(all.len(), expected.len());
            for (sql, index) in all.into_iter().zip(&expected) {
                let steps = plan(&stage, "beadle.db", sql).await;
                assert!(steps.iter().any(|step| step.contains(index)), "{index}: {steps:#?} {sql:?}");
                let is_sorted = sql.sqlite_text().contains("sort_key");
                let is_count = sql.sqlite_text().contains("GROUP BY state");
                for step in &steps {
                    let reads_all = step.starts_with("SCAN jobs") && !step.contains("INDEX");
                    assert!(!reads_all || *index == "SCAN jobs", "{sql:?}: {steps:#?}");
                    let sorts = step.contains("TEMP B-TREE") && !step.contains("GROUP BY");
                    assert!(!sorts || is_sorted, "{sql:?}: {steps:#?}");
                    assert!(!step.contains("FOR GROUP BY") || is_count, "{sql:?}: {steps:#?}");
                }
            }
        }
    });
}
