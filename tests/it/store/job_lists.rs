//! Lists of jobs: every order, page and filter gives the same on both engines.

use std::collections::BTreeMap;

use beadle::domain::attempt::AttemptOutcome;
use beadle::domain::command::Command;
use beadle::domain::filter::{JobFilter, JobOrder, JobOrderField, OrderDirection, TimeRangeInput};
use beadle::domain::id::{JobId, ScheduleId};
use beadle::domain::job::{Job, JobOrigin, JobState};
use beadle::domain::job_parts::JobParts;
use beadle::domain::limits::COUNT_CAP;
use beadle::domain::new_job::{NewJob, TaskOfJob};
use beadle::store::tasks::PutTask;

use super::stage::{Stage, T0, enqueue, label, new_job, new_job_in, on_both};
use super::tasks::task_put;

const FIELDS: [JobOrderField; 4] =
    [JobOrderField::CreatedAt, JobOrderField::RunAt, JobOrderField::FinishedAt, JobOrderField::Priority];

/// Every job of a list, read in pages.
async fn list(stage: &Stage, filter: &JobFilter, order: JobOrder, limit: usize) -> Vec<Job> {
    let (mut jobs, mut after): (Vec<Job>, Option<String>) = (Vec::new(), None);
    loop {
        let page = stage.reader().jobs(filter, order, after.as_deref(), limit, JobParts::ALL).await;
        let page = page.expect("the store can be read").expect("a position of our own");
        assert!(page.rows.len() <= limit);
        after = page.end;
        jobs.extend(page.rows.into_iter().map(|(_, job)| job));
        if !page.has_more {
            return jobs;
        }
    }
}

/// Jobs in several states, with equal and different keys.
async fn some_jobs(stage: &Stage) {
    for number in 0..12 {
        let run_at = (number % 3 == 0).then(|| T0.plus_millis(60_000 + number / 6));
        stage.enqueue(NewJob { priority: i32::try_from(number % 4).unwrap_or(0), run_at, ..new_job() }).await;
        stage.pass_millis(number % 2);
    }
    let worker = stage.worker().await;
    for claimed in stage.hand.claim(worker, 5).await {
        stage.end(&claimed, AttemptOutcome::Succeeded).await;
        stage.pass_millis(claimed.job.id.0 % 2);
    }
}

#[test]
fn every_order_gives_each_job_once_whatever_the_page() {
    on_both(async |stage| {
        some_jobs(&stage).await;
        for field in FIELDS {
            for direction in [OrderDirection::Asc, OrderDirection::Desc] {
                let order = JobOrder { field, direction };
                let all = list(&stage, &JobFilter::default(), order, 100).await;
                assert_eq!(all.len(), 12);
                let key = |job: &Job| match field {
                    JobOrderField::CreatedAt => (job.id.0, job.id.0),
                    JobOrderField::RunAt => (job.run_at.0, job.id.0),
                    // What has not finished comes last in time.
                    JobOrderField::FinishedAt => (job.finished_at.map_or(i64::MAX, |at| at.0), job.id.0),
                    JobOrderField::Priority => (i64::from(job.priority), job.id.0),
                };
                let mut keys: Vec<_> = all.iter().map(key).collect();
                if direction == OrderDirection::Desc {
                    keys.reverse();
                }
                assert!(keys.is_sorted_by(|one, next| one < next), "{order:?}: {keys:?}");
                for limit in [1, 2, 5, 12] {
                    let paged = list(&stage, &JobFilter::default(), order, limit).await;
                    let ids = |jobs: &[Job]| jobs.iter().map(|job| job.id).collect::<Vec<_>>();
                    assert_eq!(ids(&paged), ids(&all), "{order:?} in pages of {limit}");
                }
            }
        }
        for foreign in ["", "x", "1", "1.", ".1", "1.2.3", "99999999999999999999.1"] {
            let page = stage
                .reader()
                .jobs(&JobFilter::default(), JobOrder::default(), Some(foreign), 5, JobParts::ALL)
                .await;
            assert!(page.unwrap().is_none(), "{foreign:?} is no position of ours");
        }
    });
}

/// Named jobs, each with something of its own.
async fn named_jobs(stage: &Stage) -> BTreeMap<&'static str, JobId> {
    stage.put_queue("red", None).await;
    let task = stage.apply(PutTask { task: task_put("naïve"), actor: "ann".to_owned() }).await;
    let task = |name: &str| Some(TaskOfJob { id: task, name: name.to_owned(), revision: 1 });
    let argv = |words: &[&str]| Command {
        argv: words.iter().map(|&word| word.to_owned()).collect(),
        ..Command::none()
    };
    let jobs = [
        ("plain", new_job()),
        ("red", new_job_in("red")),
        ("tasked", NewJob { task: task("naïve"), ..new_job() }),
        ("labelled", NewJob { labels: vec![label("env", "it's 🦀")], ..new_job() }),
        ("scheduled", NewJob { schedule_id: Some(ScheduleId(9)), origin: JobOrigin::Schedule, ..new_job() }),
        ("later", NewJob { run_at: Some(T0.plus_millis(90_000)), ..new_job() }),
        ("wordy", NewJob { command: argv(&["Rsync", "--Delete", "100%", "a_b", "c\\d"]), ..new_job() }),
    ];
    let mut ids = BTreeMap::new();
    for (name, job) in jobs {
        ids.insert(name, stage.enqueue(job).await);
        stage.pass_millis(1_000);
    }
    ids
}

#[test]
fn a_filter_finds_its_jobs_and_no_others() {
    on_both(async |stage| {
        let ids = named_jobs(&stage).await;
        let all = JobFilter::default;
        let words = |words: &[&str]| Some(words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        let text = |text: &str| JobFilter { text: Some(text.to_owned()), ..all() };
        let range = |from: Option<i64>, to: Option<i64>| {
            let at = |millis: Option<i64>| millis.map(|millis| T0.plus_millis(millis));
            Some(TimeRangeInput { from: at(from), to: at(to) })
        };
        let cases: Vec<(JobFilter, Vec<&str>)> = vec![
            (JobFilter { ids: Some(vec![ids["red"], JobId(999)]), ..all() }, vec!["red"]),
            (JobFilter { ids: Some(vec![]), ..all() }, vec![]),
            (JobFilter { states: Some(vec![JobState::Scheduled]), ..all() }, vec!["later"]),
            (JobFilter { tasks: words(&["naïve", "other"]), ..all() }, vec!["tasked"]),
            (JobFilter { queues: words(&["red"]), ..all() }, vec!["red"]),
            (JobFilter { labels: Some(vec![label("env", "it's 🦀")]), ..all() }, vec!["labelled"]),
            (JobFilter { origins: Some(vec![JobOrigin::Schedule]), ..all() }, vec!["scheduled"]),
            (JobFilter { schedule_id: Some(ScheduleId(9)), ..all() }, vec!["scheduled"]),
            (JobFilter { created: range(Some(1_000), Some(3_000)), ..all() }, vec!["red", "tasked"]),
            (JobFilter { created: range(None, Some(1_000)), ..all() }, vec!["plain"]),
            (JobFilter { finished: range(Some(0), None), ..all() }, vec![]),
            (text("rsync --DELETE"), vec!["wordy"]),
            (text("100%"), vec!["wordy"]),
            (text("0%a"), vec![]),
            (text("a_b"), vec!["wordy"]),
            (text("a_"), vec!["wordy"]),
            (text("c\\d"), vec!["wordy"]),
            (text("naïve"), vec!["tasked"]),
            (text("nul \0"), vec![]),
            (
                JobFilter { queues: words(&["default"]), states: Some(vec![JobState::Scheduled]), ..all() },
                vec!["later"],
            ),
        ];
        for (filter, expected) in cases {
            let order = JobOrder { field: JobOrderField::CreatedAt, direction: OrderDirection::Asc };
            let found: Vec<_> = list(&stage, &filter, order, 100).await.iter().map(|job| job.id).collect();
            let expected: Vec<_> = expected.iter().map(|name| ids[name]).collect();
            assert_eq!(found, expected, "{filter:?}");
            let counts = stage.reader().count_jobs(&filter).await.unwrap();
            let counted: i64 = counts.counts.values().sum();
            assert_eq!(
                (usize::try_from(counted).ok(), counts.is_capped),
                (Some(found.len()), false),
                "{filter:?}"
            );
        }
    });
}

#[test]
fn a_failure_is_found_by_what_it_says() {
    on_both(async |stage| {
        let claimed = stage.running(new_job()).await;
        stage.end(&claimed, AttemptOutcome::OutOfMemory).await;
        stage.enqueue(new_job()).await;
        let filter = JobFilter { text: Some("Out_Of_Memory".to_owned()), ..JobFilter::default() };
        let found = list(&stage, &filter, JobOrder::default(), 10).await;
        assert_eq!(found.iter().map(|job| job.id).collect::<Vec<_>>(), [claimed.job.id]);
    });
}

#[test]
fn counting_under_a_filter_stops_at_its_cap() {
    on_both(async |stage| {
        let cap = usize::try_from(COUNT_CAP).unwrap();
        for _ in 0..10 {
            stage.apply(enqueue(vec![new_job(); cap / 10])).await;
        }
        let filter = JobFilter { origins: Some(vec![JobOrigin::Api]), ..JobFilter::default() };
        let exact = stage.reader().count_jobs(&filter).await.unwrap();
        assert_eq!((exact.counts[&JobState::Queued], exact.is_capped), (COUNT_CAP, false));
        stage.apply(enqueue(vec![new_job(); 5])).await;
        assert!(stage.reader().count_jobs(&filter).await.unwrap().is_capped);
        // States and queues are counted as jobs come and go.
        let known = JobFilter { queues: Some(vec!["default".to_owned()]), ..JobFilter::default() };
        let known = stage.reader().count_jobs(&known).await.unwrap();
        assert_eq!((known.counts[&JobState::Queued], known.is_capped), (COUNT_CAP + 5, false));
        let all = stage.reader().count_all_jobs().await.unwrap();
        assert_eq!((all.counts[&JobState::Queued], all.is_capped), (COUNT_CAP + 5, false));
    });
}
