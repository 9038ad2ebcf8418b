//! What a new job becomes, and when it is refused or recognised.

use std::collections::BTreeSet;

use beadle::domain::command::{Command, EnvironmentVariable};
use beadle::domain::concurrency::KeyLimit;
use beadle::domain::duration::Span;
use beadle::domain::filter::JobFilter;
use beadle::domain::id::{JobId, ScheduleId, TaskId, TokenId, WorkerId};
use beadle::domain::job::{JobOrigin, JobState};
use beadle::domain::job_parts::JobParts;
use beadle::domain::new_job::{Idempotency, Made, NewJob, TaskOfJob};
use beadle::domain::rejection::UserErrorCode;
use beadle::domain::retry::RetryPolicy;
use beadle::domain::scalars::Json;
use beadle::store::jobs::{Enqueue, Enqueued};
use beadle::store::writer::Committed;
use futures_util::future::join_all;
use serde_json::json;

use super::stage::{T0, enqueue, label, new_job, new_job_in, on_both};

fn keyed(token: i64, key: &str, digest: &str) -> NewJob {
    let idempotency =
        Idempotency { token_id: TokenId(token), key: key.to_owned(), digest: digest.to_owned() };
    NewJob { idempotency: Some(idempotency), ..new_job() }
}

#[test]
fn a_job_reads_back_as_it_was_accepted() {
    let command = Command {
        argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), "echo \"it's\\n\" 🦀\n\tdone".to_owned()],
        script: Some("echo {\"b\":1,\"a\":2}".to_owned()),
        shell: Some("/bin/sh".to_owned()),
        handler: Some("naïve:handler".to_owned()),
        working_directory: Some("/tmp/naïve dir".to_owned()),
        environment: vec![EnvironmentVariable {
            name: "WHO".to_owned(),
            value: "Ελλάδα".to_owned(),
            is_secret: true,
        }],
        inherit_environment: vec!["LANG".to_owned()],
    };
    let policy =
        RetryPolicy { max_attempts: 5, factor: 1.7, exit_codes: Some(vec![75]), ..RetryPolicy::default() };
    let job = NewJob {
        task: Some(TaskOfJob { id: TaskId((1 << 53) + 1), name: "naïve".to_owned(), revision: 3 }),
        command: command.clone(),
        priority: -100,
        labels: vec![label("z", "last"), label("a", "first \"quoted\"")],
        origin: JobOrigin::Retry,
        requested_by: "zoë".to_owned(),
        retry_policy: policy.clone(),
        timeout: Some(Span::from_millis(1_500)),
        kill_grace: Span::from_millis(250),
        is_restartable: false,
        retry_of: Some(JobId(i64::MAX)),
        schedule_id: Some(ScheduleId(4)),
        ..new_job()
    };
    on_both(async |stage| {
        let id = stage.enqueue(job.clone()).await;
        let read = stage.job(id).await;
        assert_eq!(read.command, command);
        assert_eq!(read.labels, job.labels, "in the order in which they were given");
        assert_eq!(
            (read.task_id, read.task_name, read.task_revision),
            (Some(TaskId((1 << 53) + 1)), Some("naïve".to_owned()), Some(3))
        );
        assert_eq!((read.retry_policy, read.priority), (policy.clone(), -100));
        assert_eq!((read.timeout, read.kill_grace), (job.timeout, job.kill_grace));
        assert_eq!((read.is_restartable, read.origin), (false, JobOrigin::Retry));
        assert_eq!((read.retry_of, read.schedule_id), (job.retry_of, job.schedule_id));
        assert_eq!((read.requested_by.as_str(), read.queue_name.as_str()), ("zoë", "default"));
        assert_eq!((read.created_at, read.run_at), (T0, T0));
        assert_eq!((read.started_at, read.finished_at, read.stop_requested_at), (None, None, None));
        assert_eq!((read.attempt_count, read.try_count, read.failure), (0, 0, None));
    });
}

#[test]
fn a_job_waits_for_its_time_or_for_a_place() {
    on_both(async |stage| {
        for (run_at, state, stands_at) in [
            (None, JobState::Queued, T0),
            (Some(T0), JobState::Queued, T0),
            (Some(T0.plus_millis(-5_000)), JobState::Queued, T0),
            (Some(T0.plus_millis(1)), JobState::Scheduled, T0.plus_millis(1)),
        ] {
            let id = stage.enqueue(NewJob { run_at, ..new_job() }).await;
            let job = stage.job(id).await;
            assert_eq!((job.state, job.run_at), (state, stands_at), "{run_at:?}");
        }
        let counts = stage.reader().count_all_jobs().await.unwrap().counts;
        assert_eq!((counts[&JobState::Queued], counts[&JobState::Scheduled]), (3, 1));
        let outlook = stage.reader().outlook(WorkerId(1), T0).await.unwrap();
        assert_eq!((outlook.has_work, outlook.next_due), (true, Some(T0.plus_millis(1))));
    });
}

#[test]
fn each_job_of_a_list_is_accepted_or_refused_for_itself() {
    on_both(async |stage| {
        let jobs = vec![new_job(), new_job_in("nowhere"), new_job()];
        let answers = stage.apply(enqueue(jobs)).await;
        assert!(answers[0].is_ok() && answers[2].is_ok());
        let refused = answers[1].clone().unwrap_err();
        assert_eq!((refused.code, refused.path), (UserErrorCode::NotFound, Some(vec!["queue".to_owned()])));
        assert_eq!(stage.number("SELECT count(*) FROM jobs").await, 2);
    });
}

#[test]
fn a_full_store_takes_no_more_until_a_job_no_longer_waits() {
    on_both(async |stage| {
        let full = |count: usize| Enqueue { jobs: vec![new_job(); count].into(), queued_max: 3 };
        let answers = stage.apply(full(5)).await;
        let refusals: Vec<_> =
            answers.iter().map(|answer| answer.as_ref().err().map(|refused| refused.code)).collect();
        let expected = [None, None, None, Some(UserErrorCode::QueueFull), Some(UserErrorCode::QueueFull)];
        assert_eq!(refusals, expected);
        assert!(stage.apply(full(1)).await[0].is_err(), "also in the next transaction");
        let worker = stage.worker().await;
        assert_eq!(stage.hand.claim(worker, 1).await.len(), 1);
        assert!(stage.apply(full(1)).await[0].is_ok(), "a running job waits no longer");
        // Scheduled jobs wait too.
        let later = NewJob { run_at: Some(T0.plus_millis(60_000)), ..new_job() };
        assert!(stage.apply(Enqueue { jobs: vec![later].into(), queued_max: 3 }).await[0].is_err());
    });
}

#[test]
fn a_key_gives_the_same_job_for_the_same_request_and_refuses_another() {
    on_both(async |stage| {
        let first = stage.enqueue(keyed(1, "k", "same")).await;
        let again = stage.apply(enqueue(vec![keyed(1, "k", "same")])).await;
        assert_eq!(again[0], Ok(Enqueued { id: first, is_deduplicated: true }));
        let other = stage.apply(enqueue(vec![keyed(1, "k", "other")])).await;
        let refused = other[0].clone().unwrap_err();
        assert_eq!(refused.code, UserErrorCode::IdempotencyMismatch);
        assert!(refused.message.contains(&first.to_string()), "{}", refused.message);
        let stranger = stage.enqueue(keyed(2, "k", "other")).await;
        assert_ne!(stranger, first, "keys of different tokens never meet");
        let spelled = stage.enqueue(keyed(1, "K", "same")).await;
        assert_ne!(spelled, first, "a key is compared as it is spelled");
        assert_eq!(stage.number("SELECT count(*) FROM jobs").await, 3);
        let stage = stage.reopen().await;
        let later = stage.apply(enqueue(vec![keyed(1, "k", "same")])).await;
        assert_eq!(later[0], Ok(Enqueued { id: first, is_deduplicated: true }), "also after a restart");
    });
}

#[test]
fn a_key_that_comes_twice_in_one_transaction_makes_one_job() {
    on_both(async |stage| {
        let jobs = vec![
            keyed(1, "k", "same"),
            keyed(1, "k", "same"),
            keyed(1, "k", "other"),
            keyed(2, "k", "same"),
            keyed(1, "k", "same"),
        ];
        let answers = stage.apply(enqueue(jobs)).await;
        let first = *answers[0].as_ref().unwrap();
        assert!(!first.is_deduplicated);
        for repeat in [1, 4] {
            assert_eq!(answers[repeat], Ok(Enqueued { id: first.id, is_deduplicated: true }));
        }
        assert_eq!(answers[2].clone().unwrap_err().code, UserErrorCode::IdempotencyMismatch);
        assert_ne!(answers[3].as_ref().unwrap().id, first.id);
        assert_eq!(stage.number("SELECT count(*) FROM jobs").await, 2);
        assert_eq!(stage.number("SELECT count(*) FROM idempotency_keys").await, 2);
    });
}

#[test]
fn a_thousand_pairs_of_one_key_at_once_make_a_thousand_jobs() {
    on_both(async |stage| {
        let other = stage.another_hand().await;
        let pairs = join_all((0..1_000).map(|number| {
            let (hand, other, key) = (&stage.hand, &other, format!("key {number}"));
            async move {
                let one = hand.apply(enqueue(vec![keyed(1, &key, "same")]));
                let two = other.apply(enqueue(vec![keyed(1, &key, "same")]));
                let (one, two) = tokio::join!(one, two);
                (one[0].clone().unwrap(), two[0].clone().unwrap())
            }
        }))
        .await;
        let mut ids = BTreeSet::new();
        for (one, two) in pairs {
            assert_eq!(one.id, two.id);
            assert!(one.is_deduplicated != two.is_deduplicated, "exactly one of them made the job");
            ids.insert(one.id);
        }
        assert_eq!(ids.len(), 1_000);
        assert_eq!(stage.number("SELECT count(*) FROM jobs").await, 1_000);
        assert_eq!(stage.number("SELECT CAST(sum(job_count) AS BIGINT) FROM job_counts").await, 1_000);
    });
}

#[test]
fn jobs_are_found_by_their_labels() {
    on_both(async |stage| {
        let labelled = |labels| NewJob { labels, ..new_job() };
        let one = stage.enqueue(labelled(vec![label("env", "prod"), label("who", "it's \"🦀\"")])).await;
        let two = stage.enqueue(labelled(vec![label("env", "prod")])).await;
        stage.enqueue(labelled(vec![label("who", "prod")])).await;
        stage.enqueue(new_job()).await;
        for (labels, expected) in [
            (vec![label("env", "prod")], vec![two, one]),
            (vec![label("who", "it's \"🦀\""), label("env", "prod")], vec![one]),
            (vec![label("env", "Prod")], vec![]),
            (vec![label("env", "prod"), label("none", "x")], vec![]),
        ] {
            let filter = JobFilter { labels: Some(labels.clone()), ..JobFilter::default() };
            let page = stage
                .reader()
                .jobs(&filter, beadle::domain::filter::JobOrder::default(), None, 10, JobParts::ALL)
                .await;
            let found: Vec<_> = page.unwrap().unwrap().rows.into_iter().map(|(_, job)| job.id).collect();
            assert_eq!(found, expected, "{labels:?}");
        }
    });
}

#[test]
fn a_job_is_answered_as_it_reads_back() {
    on_both(async |stage| {
        let command = Command {
            argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), "echo \"ü\"".to_owned()],
            working_directory: Some("/tmp".to_owned()),
            ..Command::none()
        };
        let full = NewJob {
            priority: 7,
            labels: vec![label("a", "1"), label("ü", "\"")],
            timeout: Some(Span::from_millis(5_000)),
            idle_timeout: Some(Span::from_millis(4_000)),
            timeout_max: Some(Span::from_millis(9_000)),
            kill_grace: Span::from_millis(1),
            is_restartable: true,
            start_by: Some(T0.plus_millis(9_000)),
            parameters: Some(Json(json!({"z": [1, 2.5], "a": null}))),
            token_id: Some(TokenId(3)),
            merges_output: true,
            runs_on: vec![label("gpu", "a100"), label("os", "linux")],
            ..NewJob::plain(command, "tester")
        };
        let later = NewJob { run_at: Some(T0.plus_millis(1_000)), ..new_job() };
        let past = NewJob { run_at: Some(T0.plus_millis(-1_000)), ..new_job() };
        for job in [full, later, past, new_job()] {
            let Committed { answer, cursor, at } =
                stage.hand.writer.apply(enqueue(vec![job.clone()])).await.unwrap();
            let id = answer[0].as_ref().unwrap().id;
            let made = job.made(Made { id, at, cursor }).expect("it depends on nothing else");
            assert_eq!(format!("{made:?}"), format!("{:?}", stage.job(id).await));
        }
        // How these begin is for other rows to say.
        let limit = KeyLimit::of(Some("key".to_owned()), None);
        let made = Made { id: JobId(1), at: T0, cursor: stage.hand.writer.cursor() };
        for job in [
            NewJob { limit, ..new_job() },
            NewJob { is_held: true, ..new_job() },
            NewJob { depends_on: vec![JobId(1)], ..new_job() },
        ] {
            assert!(job.made(made).is_none(), "{job:?}");
        }
    });
}
