//! Failures go to one place: each failed attempt is counted once, whatever else happens, and no alert is told twice.

use beadle::base::clock::{Clock, SystemClock, Timestamp};
use beadle::base::task;
use beadle::domain::attempt::{AttemptOutcome, Ended};
use beadle::domain::event::EventType;
use beadle::domain::filter::{EventFilter, JobFilter, JobOrder};
use beadle::domain::health::HealthStatus;
use beadle::domain::id::JobId;
use beadle::domain::incident::{Incident, IncidentAction, IncidentFilter, IncidentStatus};
use beadle::domain::job_parts::JobParts;
use beadle::domain::limits::{INCIDENT_DAYS_MAX, INCIDENT_JOBS_KEPT, INCIDENTS_MAX};
use beadle::domain::new_job::NewJob;
use beadle::domain::rejection::UserErrorCode;
use beadle::domain::retry::RetryPolicy;
use beadle::store::claim::Claimed;
use beadle::store::ends::{EndAttempt, Settled};
use beadle::store::health::{HealthChange, PartFailed};
use beadle::store::incident_upkeep::TendIncidents;
use beadle::store::incidents::ChangeIncident;
use beadle::store::prune::{Horizon, Prune};
use futures_util::future::join_all;

use super::group_commit::Bad;
use super::stage::{Stage, T0, end_of, enqueue, new_job, on_both, on_postgres, on_sqlite};
use crate::support::length::sized;

/// An end with code 1 and this line.
fn failing(claimed: &Claimed, line: &str) -> EndAttempt {
    let ended = Ended {
        exit_code: Some(1),
        error_line: Some(line.to_owned()),
        ..Ended::without_process(AttemptOutcome::Exited, "exit code 1")
    };
    end_of(claimed, ended)
}

/// A job that failed so.
async fn failed(stage: &Stage, line: &str) -> JobId {
    let claimed = stage.running(new_job()).await;
    stage.apply(failing(&claimed, line)).await;
    claimed.job.id
}

/// As many attempts, ready to end.
async fn running(stage: &Stage, count: usize) -> Vec<Claimed> {
    let worker = stage.worker().await;
    let mut claimed = Vec::new();
    while claimed.len() < count {
        let part = (count - claimed.len()).min(500);
        stage.apply(enqueue(vec![new_job(); part])).await;
        claimed.extend(stage.hand.claim(worker, part).await);
    }
    claimed
}

fn every() -> IncidentFilter {
    use IncidentStatus as S;
    let statuses = Some(vec![S::Open, S::Acknowledged, S::Resolved, S::Ignored]);
    IncidentFilter { statuses, ..IncidentFilter::default() }
}

async fn incidents(stage: &Stage) -> Vec<Incident> {
    let page = stage.reader().incidents(&every(), None, 1_000).await.expect("the store can be read");
    page.expect("no position was given").rows.into_iter().map(|(_, incident)| incident).collect()
}

async fn only(stage: &Stage) -> Incident {
    let mut all = incidents(stage).await;
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

/// What the feed tells of incidents, as "change count".
async fn news(stage: &Stage) -> Vec<String> {
    let types = Some(vec![EventType::IncidentOpened, EventType::IncidentChanged]);
    let events = stage.events(&EventFilter { types, ..EventFilter::default() }).await;
    let told = |event: &beadle::domain::event::Event| {
        let data = &event.data.0;
        assert_eq!(data["change"] == "OPENED", event.kind == EventType::IncidentOpened);
        format!("{} {}", data["change"].as_str().expect("a word"), data["occurrenceCount"])
    };
    events.iter().map(told).collect()
}

fn change(incident: &Incident, action: IncidentAction) -> ChangeIncident {
    ChangeIncident { id: incident.id, action, note: None, actor: "tester".to_owned() }
}

/// Every failed attempt is in one incident, and the counts say the same.
async fn assert_counts(stage: &Stage) -> i64 {
    let failures = "attempts.outcome IN ('EXITED', 'SIGNALED', 'TIMED_OUT', 'OUT_OF_MEMORY', 'SPAWN_FAILED', 'PANICKED', 'LOST')";
    let failed = stage.number(&format!("SELECT count(*) FROM attempts WHERE {failures}")).await;
    let linked = stage
        .number(&format!(
            "SELECT count(*) FROM attempts JOIN incidents ON incidents.id = attempts.incident_id WHERE {failures}"
        ))
        .await;
    let all = stage.number("SELECT count(*) FROM attempts WHERE incident_id IS NOT NULL").await;
    let counted = "SELECT CAST(coalesce(sum(occurrence_count), 0) AS BIGINT) FROM";
    let counts = stage.number(&format!("{counted} incidents WHERE subsystem IS NULL")).await;
    let minutes = stage.number(&format!("{counted} incident_minutes")).await;
    assert_eq!((linked, all, counts, minutes), (failed, failed, failed, failed));
    failed
}

#[test]
fn each_failed_attempt_is_counted_once_and_nothing_else_is() {
    use AttemptOutcome as A;
    on_both(async |stage| {
        let outcomes = [A::Succeeded, A::Exited, A::Signaled, A::TimedOut, A::OutOfMemory, A::SpawnFailed];
        for outcome in outcomes.into_iter().chain([A::Panicked, A::Cancelled, A::Lost, A::Interrupted]) {
            let job = NewJob { is_restartable: false, ..new_job() };
            let claimed = stage.running(job).await;
            stage.end(&claimed, outcome).await;
            // The late word of somebody who lost it.
            assert_eq!(stage.end(&claimed, A::Lost).await, Settled::Stale);
        }
        assert_eq!(assert_counts(&stage).await, 7);
        assert_eq!(incidents(&stage).await.len(), 7, "how it ended tells them apart");
        // An attempt that will be tried again has failed as well.
        let policy = RetryPolicy { max_attempts: 3, ..RetryPolicy::default() };
        let mut claimed = stage.running(NewJob { retry_policy: policy, ..new_job() }).await;
        let worker = stage.worker().await;
        for number in 1..=3 {
            stage.apply(failing(&claimed, &format!("error: try {number} failed"))).await;
            stage.pass_millis(3_600_000);
            if number < 3 {
                claimed = stage.hand.claim(worker, 1).await.remove(0);
            }
        }
        assert_eq!(assert_counts(&stage).await, 10);
        let of_job = stage.reader().incidents_of_jobs(&[claimed.job.id]).await.unwrap();
        let incident = stage.reader().incident(of_job[0].1).await.unwrap().unwrap();
        assert_eq!((incident.occurrence_count, incident.sample_job_id), (3, Some(claimed.job.id)));
        assert_eq!(incident.error_line.as_deref(), Some("error: try 3 failed"));
        assert_eq!(incident.title, "true: error: try 1 failed");
        let of_attempt = stage.reader().incidents_of_attempts(&[claimed.attempt]).await.unwrap();
        assert_eq!(of_attempt, [(claimed.attempt, incident.id)]);
    });
}

#[test]
fn a_failed_batch_that_is_tried_again_counts_nothing_twice() {
    on_both(async |stage| {
        let claimed = running(&stage, 40).await;
        let ends = claimed.iter().map(|one| stage.hand.writer.apply(failing(one, "error: no such luck")));
        let (ended, bad) = tokio::join!(join_all(ends), stage.hand.writer.apply(Bad));
        assert!(bad.is_err() && ended.iter().all(Result::is_ok), "the bad change alone is refused");
        // Everybody says it again.
        for one in &claimed {
            assert_eq!(stage.apply(failing(one, "error: no such luck")).await, Settled::Stale);
        }
        assert_eq!(assert_counts(&stage).await, 40);
        assert_eq!(only(&stage).await.occurrence_count, 40);
    });
}

#[test]
fn thousands_of_failures_are_counted_by_the_batch() {
    on_both(async |stage| {
        let count = sized(1_000, 10_000);
        for kinds in [1, 100] {
            let claimed = running(&stage, count).await;
            let begun = SystemClock.now();
            let line = |at: usize| format!("error: kind {}", "x".repeat(1 + at % kinds));
            join_all(claimed.iter().enumerate().map(|(at, one)| stage.apply(failing(one, &line(at))))).await;
            println!(
                "{count} failures of {kinds} kinds were ended and counted in {:?}",
                SystemClock.now().since(begun)
            );
        }
        assert_eq!(assert_counts(&stage).await, 2 * i64::try_from(count).unwrap());
        assert_eq!(incidents(&stage).await.len(), 100);
        let told = news(&stage).await;
        assert!(told.len() < 500, "{} events tell of {} failures", told.len(), 2 * count);
    });
}

#[test]
fn it_is_told_when_it_opens_and_each_time_it_has_grown_tenfold() {
    on_both(async |stage| {
        for _ in 0..120 {
            failed(&stage, "error: out of paper").await;
        }
        assert_eq!(news(&stage).await, ["OPENED 1", "ESCALATED 10", "ESCALATED 100"]);
        let types = Some(vec![EventType::IncidentOpened]);
        let opened = stage.events(&EventFilter { types, ..EventFilter::default() }).await.remove(0);
        let incident = only(&stage).await;
        assert_eq!(opened.subject_id, Some(incident.id.to_string()));
        let data = opened.data.0;
        assert_eq!((&data["status"], &data["outcome"]), (&"OPEN".into(), &"EXITED".into()));
        assert_eq!(
            (&data["title"], &data["errorLine"]),
            (&"true: error: out of paper".into(), &"error: out of paper".into())
        );
        assert_eq!(data["fingerprint"], incident.fingerprint);
        assert!(data["sampleJobId"].as_str().is_some_and(|id| id.starts_with("job_")), "{data}");
        assert!(data["taskName"].is_null() && data["subsystem"].is_null(), "{data}");
    });
}

#[test]
fn what_comes_back_after_it_was_resolved_is_a_regression() {
    on_both(async |stage| {
        failed(&stage, "error: 1").await;
        let incident = only(&stage).await;
        let acknowledge = IncidentAction::Acknowledge { assignee: Some("ann".to_owned()) };
        stage
            .apply(ChangeIncident { note: Some("seen".to_owned()), ..change(&incident, acknowledge.clone()) })
            .await;
        failed(&stage, "error: 2").await;
        let seen = only(&stage).await;
        assert_eq!((seen.status, seen.assignee.as_deref()), (IncidentStatus::Acknowledged, Some("ann")));
        stage.apply(change(&incident, IncidentAction::Resolve)).await;
        let refused = stage.rejection(change(&incident, acknowledge)).await;
        assert_eq!(refused.code, UserErrorCode::Conflict);
        assert_eq!(
            stage.rejection(change(&incident, IncidentAction::Resolve)).await.code,
            UserErrorCode::Conflict
        );
        stage.pass_millis(5_000);
        failed(&stage, "error: 3").await;
        let back = only(&stage).await;
        assert_eq!((back.status, back.occurrence_count), (IncidentStatus::Open, 3));
        assert_eq!((back.regressed_at, back.note.as_deref()), (Some(T0.plus_millis(5_000)), Some("seen")));
        failed(&stage, "error: 4").await;
        assert_eq!(news(&stage).await, ["OPENED 1", "ACKNOWLEDGED 1", "RESOLVED 2", "REGRESSED 3"]);
        let unknown = ChangeIncident {
            id: beadle::domain::id::IncidentId(404),
            ..change(&back, IncidentAction::Resolve)
        };
        assert_eq!(stage.rejection(unknown).await.code, UserErrorCode::NotFound);
    });
}

#[test]
fn what_failed_before_it_was_resolved_is_no_regression() {
    on_both(async |stage| {
        failed(&stage, "error: 1").await;
        let incident = only(&stage).await;
        let claimed = running(&stage, 20).await;
        // All of them wait for the same turn of the writer, the resolution behind the failures.
        let ends = claimed.iter().map(|one| stage.hand.writer.apply(failing(one, "error: 2")));
        let (ended, resolved) =
            tokio::join!(join_all(ends), stage.hand.writer.apply(change(&incident, IncidentAction::Resolve)));
        assert!(resolved.is_ok() && ended.iter().all(Result::is_ok));
        let after = only(&stage).await;
        assert_eq!((after.status, after.occurrence_count), (IncidentStatus::Resolved, 21));
        assert!(!news(&stage).await.iter().any(|news| news.starts_with("REGRESSED")));
    });
}

#[test]
fn an_ignored_one_says_nothing_until_its_time_or_its_count_is_over() {
    on_both(async |stage| {
        failed(&stage, "error: a").await;
        let incident = only(&stage).await;
        let ignore = |until, until_count| change(&incident, IncidentAction::Ignore { until, until_count });
        stage.apply(ignore(None, Some(3))).await;
        failed(&stage, "error: a").await;
        failed(&stage, "error: a").await;
        assert_eq!(only(&stage).await.status, IncidentStatus::Ignored);
        failed(&stage, "error: a").await;
        assert_eq!(only(&stage).await.status, IncidentStatus::Open);
        // By the date, without any failure.
        let until = T0.plus_millis(60_000);
        stage.apply(ignore(Some(until), None)).await;
        assert_eq!(only(&stage).await.ignored_until, Some(until));
        let tend = || TendIncidents { resolved_before: T0 };
        assert!(!stage.reader().has_due_incidents(T0, T0).await.unwrap());
        stage.apply(tend()).await;
        assert_eq!(only(&stage).await.status, IncidentStatus::Ignored);
        stage.pass_millis(60_000);
        assert!(stage.reader().has_due_incidents(until, T0).await.unwrap());
        stage.apply(tend()).await;
        assert!(!stage.reader().has_due_incidents(until, T0).await.unwrap());
        let opened = only(&stage).await;
        assert_eq!((opened.status, opened.ignored_until), (IncidentStatus::Open, None));
        // For ever.
        stage.apply(ignore(None, None)).await;
        for _ in 0..30 {
            failed(&stage, "error: a").await;
        }
        let told = news(&stage).await;
        assert_eq!(told, ["OPENED 1", "IGNORED 1", "REOPENED 4", "IGNORED 4", "REOPENED 4", "IGNORED 4"]);
        assert_eq!(assert_counts(&stage).await, 34);
    });
}

#[test]
fn a_part_of_the_daemon_that_fails_is_an_incident_too() {
    on_both(async |stage| {
        let health = |status, message: Option<&str>| HealthChange {
            name: "scheduler".to_owned(),
            status,
            message: message.map(ToOwned::to_owned),
            is_counted: true,
        };
        stage.apply(health(HealthStatus::Ok, None)).await;
        assert!(incidents(&stage).await.is_empty());
        stage.apply(health(HealthStatus::Degraded, Some("panicked: index 3 out of bounds"))).await;
        stage.apply(health(HealthStatus::Ok, None)).await;
        stage.apply(health(HealthStatus::Down, Some("panicked: index 7 out of bounds"))).await;
        let incident = only(&stage).await;
        assert_eq!((incident.subsystem.as_deref(), incident.occurrence_count), (Some("scheduler"), 2));
        assert_eq!((incident.outcome, incident.sample_job_id), (None, None));
        assert_eq!(incident.title, "scheduler: panicked: index 3 out of bounds");
        // Each failure of a part that is restarted counts, also while its row says the same all the time.
        let told_elsewhere = HealthChange { is_counted: false, ..health(HealthStatus::Degraded, None) };
        stage.apply(told_elsewhere).await;
        let message = "panicked: index 9 out of bounds".to_owned();
        stage.apply(PartFailed { name: "scheduler".to_owned(), message, count: 3 }).await;
        assert_eq!(only(&stage).await.occurrence_count, 5);
    });
}

#[test]
fn its_jobs_are_listed_and_those_that_nobody_repeated_are_found() {
    on_both(async |stage| {
        let first = failed(&stage, "error: a").await;
        let other = failed(&stage, "error: other words").await;
        stage.pass_millis(61_000);
        let second = failed(&stage, "error: a").await;
        let of_job = stage.reader().incidents_of_jobs(&[second, other]).await.unwrap();
        let id = of_job.iter().find(|(job, _)| *job == second).unwrap().1;
        let filter = JobFilter { incident_id: Some(id), ..JobFilter::default() };
        let page = stage
            .reader()
            .jobs(&filter, JobOrder::default(), None, 10, JobParts::ALL)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(page.rows.iter().map(|(_, job)| job.id).collect::<Vec<_>>(), [second, first]);
        assert_eq!(stage.reader().matching_jobs(&filter, 10).await.unwrap(), [first, second]);
        assert_eq!(stage.reader().count_jobs(&filter).await.unwrap().counts.values().sum::<i64>(), 2);
        assert_eq!(stage.reader().jobs_to_retry(id, 10).await.unwrap(), [first, second]);
        stage.enqueue(NewJob { retry_of: Some(first), ..new_job() }).await;
        assert_eq!(stage.reader().jobs_to_retry(id, 10).await.unwrap(), [second]);
        let minute = Timestamp(T0.0 - T0.0.rem_euclid(60_000_000));
        let histogram = stage.reader().incident_histogram(id, minute, 60_000_000, 3).await.unwrap();
        assert_eq!(histogram, [1, 1, 0]);
        let list = async |filter: IncidentFilter, after: Option<&str>| {
            stage.reader().incidents(&filter, after, 1).await.unwrap()
        };
        let page = list(every(), None).await.unwrap();
        assert!(page.has_more && page.rows[0].1.id == id, "the one that failed last comes first");
        let rest = list(every(), Some(&page.rows[0].0)).await.unwrap();
        assert!(!rest.has_more && rest.rows[0].1.id != id);
        assert!(list(every(), Some("no position")).await.is_none());
        let found =
            list(IncidentFilter { text: Some("OTHER W".to_owned()), ..IncidentFilter::default() }, None)
                .await;
        assert_eq!(found.unwrap().rows[0].1.id, rest.rows[0].1.id);
        let acknowledged = Some(vec![IncidentStatus::Acknowledged]);
        assert!(
            list(IncidentFilter { statuses: acknowledged, ..IncidentFilter::default() }, None)
                .await
                .unwrap()
                .rows
                .is_empty()
        );
    });
}

#[test]
fn the_newest_failures_of_an_open_incident_outlive_retention_and_no_more() {
    on_both(async |stage| {
        let kept = usize::try_from(INCIDENT_JOBS_KEPT).unwrap();
        let mut jobs = Vec::new();
        for _ in 0..kept + 5 {
            jobs.push(failed(&stage, "error: a").await);
        }
        stage.pass_millis(60_000);
        let horizon = Horizon { succeeded: T0.plus_millis(1), failed: T0.plus_millis(1), keys: T0 };
        let left = async || {
            stage.apply(Prune { horizon }).await;
            let mut left = stage.reader().matching_jobs(&JobFilter::default(), 100).await.unwrap();
            left.sort_unstable();
            left
        };
        assert_eq!(left().await, jobs[5..]);
        assert!(
            !stage.reader().has_old_rows(horizon, stage.clock.now()).await.unwrap(),
            "what is kept does not wake anybody"
        );
        let incident = only(&stage).await;
        assert_eq!(
            incident.occurrence_count,
            i32::try_from(kept).unwrap() + 5,
            "it still counts what is gone"
        );
        stage.apply(change(&incident, IncidentAction::Resolve)).await;
        assert!(left().await.is_empty());
        // Resolved, and not seen for as long as its histogram reaches.
        let tend = async |before: Timestamp| {
            stage.apply(TendIncidents { resolved_before: before }).await;
            incidents(&stage).await.len()
        };
        assert_eq!(tend(T0).await, 1);
        stage.pass_millis(INCIDENT_DAYS_MAX * 86_400_000);
        assert_eq!(tend(T0.plus_millis(60_001)).await, 0);
        assert_eq!(stage.number("SELECT count(*) FROM incident_minutes").await, 0);
    });
}

#[test]
fn too_many_kinds_of_failure_are_counted_by_task_and_outcome() {
    on_sqlite(async |stage| {
        failed(&stage, "error: known").await;
        stage
            .execute(&format!(
                "INSERT INTO incidents (id, fingerprint, status, title, occurrence_count, first_seen_at_us,
                     last_seen_at_us, count_before, alerted_count)
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {INCIDENTS_MAX})
                 SELECT 1000 + i, 'f' || i, 'RESOLVED', 'x', 1, 0, 0, 0, 1 FROM n"
            ))
            .await;
        for word in ["one", "two", "three"] {
            failed(&stage, &format!("error: new {word}")).await;
        }
        failed(&stage, "error: known").await;
        let open = stage.reader().incidents(&IncidentFilter::default(), None, 10).await.unwrap().unwrap();
        let counts: Vec<_> = open.rows.iter().map(|(_, incident)| incident.occurrence_count).collect();
        assert_eq!(counts, [3, 2], "{open:#?}");
    });
}

#[test]
fn two_daemons_that_count_the_same_kinds_lose_none() {
    on_postgres(async |stage| {
        let hands = [stage.another_hand().await, stage.another_hand().await];
        let claimed = running(&stage, 400).await;
        let mut working = Vec::new();
        for (hand, part) in hands.into_iter().zip([&claimed[..200], &claimed[200..]]) {
            let ends: Vec<_> = part
                .iter()
                .enumerate()
                .map(|(at, one)| failing(one, &format!("error: kind {}", "x".repeat(1 + at % 7))))
                .collect();
            working.push(task::spawn(async move {
                for some in ends.chunks(10) {
                    join_all(some.iter().cloned().map(|end| hand.apply(end))).await;
                }
                hand.close().await;
            }));
        }
        for one in working {
            one.await.expect("a daemon works in order");
        }
        assert_eq!(assert_counts(&stage).await, 400);
        assert_eq!(incidents(&stage).await.len(), 7);
        let told = news(&stage).await;
        let opened = told.iter().filter(|news| news.starts_with("OPENED")).count();
        assert_eq!(opened, 7, "{told:?}");
    });
}
