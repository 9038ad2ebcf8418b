//! Where a job goes when something ends it, and what can no longer move it.

use beadle::base::clock::{Clock as _, within};
use beadle::domain::attempt::{AttemptOutcome, Ended, Ran, Spawned, Usage};
use beadle::domain::duration::Span;
use beadle::domain::event::{Event, EventType};
use beadle::domain::filter::EventFilter;
use beadle::domain::id::{AttemptId, JobId};
use beadle::domain::job::JobState;
use beadle::domain::new_job::NewJob;
use beadle::domain::rejection::UserErrorCode;
use beadle::domain::report::{LastWord, Progress};
use beadle::domain::retry::RetryPolicy;
use beadle::domain::scalars::{BigInt, Json};
use beadle::store::attempts::RecordSpawn;
use beadle::store::ends::{EndAttempt, Settled};
use beadle::store::reports::{ReportOutput, Reporting};
use beadle::store::transition::{Cancel, Cancelled};
use futures_util::poll;
use serde_json::json;
use tokio::task::yield_now;

use super::group_commit::Gate;
use super::stage::{Stage, T0, end_of, new_job, on_both};
use crate::support::wait::PATIENCE;

fn cancel(id: JobId) -> Cancel {
    Cancel { id, actor: "tester".to_owned(), reason: Some("it's over".to_owned()) }
}

fn tried(max_attempts: i32) -> NewJob {
    NewJob { retry_policy: RetryPolicy { max_attempts, ..RetryPolicy::default() }, ..new_job() }
}

async fn events_of(stage: &Stage, id: JobId) -> Vec<Event> {
    stage.events(&EventFilter { job_ids: Some(vec![id]), ..EventFilter::default() }).await
}

#[test]
fn every_end_of_an_attempt_leads_to_its_state() {
    use AttemptOutcome as A;
    let cases = [
        (A::Succeeded, JobState::Succeeded, 1),
        (A::Exited, JobState::Failed, 1),
        (A::Signaled, JobState::Failed, 1),
        (A::TimedOut, JobState::Failed, 1),
        (A::OutOfMemory, JobState::Failed, 1),
        (A::SpawnFailed, JobState::Failed, 1),
        (A::Panicked, JobState::Failed, 1),
        (A::Cancelled, JobState::Cancelled, 1),
        (A::Lost, JobState::Failed, 1),
        (A::Interrupted, JobState::Queued, 0),
    ];
    on_both(async |stage| {
        for (outcome, state, tries) in cases {
            let claimed = stage.running(new_job()).await;
            stage.pass_millis(1_000);
            assert_eq!(stage.end(&claimed, outcome).await, Settled::Job(state), "{outcome:?}");
            let job = stage.job(claimed.job.id).await;
            assert_eq!((job.state, job.try_count, job.attempt_count), (state, tries, 1), "{outcome:?}");
            assert_eq!(job.finished_at.is_some(), state.is_final());
            assert_eq!(
                job.failure.as_ref().map(|failure| failure.outcome),
                (outcome != A::Succeeded).then_some(outcome)
            );
            let attempt = stage.reader().attempt(claimed.attempt).await.unwrap().unwrap();
            assert_eq!(attempt.outcome, Some(outcome));
            let last = events_of(&stage, job.id).await.pop().unwrap();
            assert_eq!(last.data.0["to"], state.word());
            assert_eq!(job.event_cursor, last.cursor);
            if state == JobState::Queued {
                stage.apply(cancel(job.id)).await;
            }
        }
    });
}

fn ran(program: &str) -> Ran {
    let empty = Ran {
        program: program.to_owned(),
        directory: "/\u{fffd}".to_owned(),
        environment_names: Vec::new(),
        environment_count: 0,
        host: "h".to_owned(),
        cgroup: Some("/sys/fs/cgroup/x".to_owned()),
    };
    empty.with_names(["PATH".to_owned()].into_iter())
}

fn spawned(pid: i32, start_ticks: i64, boot_id: &str, ran: Ran) -> Spawned {
    Spawned { pid, start_ticks, boot_id: boot_id.to_owned(), ran }
}

#[test]
fn a_process_that_was_over_at_once_is_recorded_with_its_end() {
    on_both(async |stage| {
        let (early, late) = (spawned(7, 8, "b", ran("early")), spawned(9, 10, "c", ran("late")));
        let unrecorded = stage.running(new_job()).await;
        let end = |one: &Spawned| Ended {
            spawned: Some(one.clone()),
            ..Ended::without_process(AttemptOutcome::Succeeded, "exit code 0")
        };
        stage.apply(end_of(&unrecorded, end(&early))).await;
        let attempt = stage.reader().attempt(unrecorded.attempt).await.unwrap().unwrap();
        assert_eq!((attempt.pid, attempt.ran), (Some(7), Some(ran("early"))));
        // What was recorded while it ran stands.
        let recorded = stage.running(new_job()).await;
        stage.apply(RecordSpawn { attempt: recorded.attempt, spawned: early }).await;
        stage.apply(end_of(&recorded, end(&late))).await;
        let attempt = stage.reader().attempt(recorded.attempt).await.unwrap().unwrap();
        assert_eq!((attempt.pid, attempt.ran), (Some(7), Some(ran("early"))));
    });
}

#[test]
fn what_an_attempt_said_last_is_stored_with_its_end_and_told_before_it() {
    on_both(async |stage| {
        let claimed = stage.running(new_job()).await;
        let progress = Progress {
            fraction: Some(0.5),
            done: Some(BigInt(1)),
            total: Some(BigInt(2)),
            unit: Some("files".to_owned()),
            status: Some("it's \"half\" done".to_owned()),
            updated_at: T0,
            estimated_finish_at: None,
        };
        let output = json!({"z": 1, "a": "it's"});
        let last_word = LastWord { progress: Some(progress.clone()), output: output.as_object().cloned() };
        let ended = Ended { last_word, ..Ended::without_process(AttemptOutcome::Exited, "exit code 1") };
        stage.apply(end_of(&claimed, ended.clone())).await;
        let outputs = async || stage.reader().outputs(&[claimed.job.id]).await.unwrap();
        assert_eq!(outputs().await, [(claimed.job.id, Json(output))]);
        assert_eq!(stage.job(claimed.job.id).await.progress, Some(progress));
        let events = events_of(&stage, claimed.job.id).await;
        let kinds: Vec<_> = events.iter().rev().take(4).map(|event| event.kind).collect();
        let wanted = [
            EventType::JobStateChanged,
            EventType::AttemptFinished,
            EventType::JobOutput,
            EventType::JobProgress,
        ];
        assert_eq!(kinds, wanted);
        assert_eq!(events[events.len() - 3].data.0, json!({"attempt": 1, "bytes": 18}));
        // An end that comes twice says nothing twice, and one without words leaves those that were stored.
        assert_eq!(stage.apply(end_of(&claimed, ended)).await, Settled::Stale);
        assert_eq!(events_of(&stage, claimed.job.id).await.len(), events.len());
        let claimed = stage.running(new_job()).await;
        let by = Reporting {
            attempt: claimed.attempt,
            number: claimed.number,
            job: claimed.job.id,
            actor: "test".to_owned(),
        };
        let said = json!({"kept": true});
        stage.apply(ReportOutput { by, output: said.as_object().cloned().expect("an object") }).await;
        stage.end(&claimed, AttemptOutcome::Succeeded).await;
        assert_eq!(stage.reader().outputs(&[claimed.job.id]).await.unwrap()[0].1, Json(said));
    });
}

#[test]
fn the_account_of_an_attempt_reads_back() {
    on_both(async |stage| {
        let claimed = stage.running(new_job()).await;
        let spawn =
            RecordSpawn { attempt: claimed.attempt, spawned: spawned(4_242, 1 << 54, "b", ran("/bin/it's")) };
        stage.apply(spawn).await;
        let open = stage.open_attempts(10).await;
        assert_eq!(open[0].process, Some((4_242, 1 << 54, "b".to_owned())));
        stage.pass_millis(77);
        let ended = Ended {
            exit_code: Some(3),
            signal: Some("SIGTERM".to_owned()),
            error_line: Some("it's \"broken\" \u{fffd}🦀".to_owned()),
            usage: Some(Usage { user_us: 1_500, system_us: 1, peak_memory_bytes: Some((1 << 53) + 1) }),
            log_bytes: 12,
            dropped_log_bytes: 5,
            ..Ended::without_process(AttemptOutcome::Exited, "exit code 3")
        };
        stage.apply(end_of(&claimed, ended)).await;
        let attempt = stage.reader().attempt(claimed.attempt).await.unwrap().unwrap();
        assert_eq!(
            (attempt.pid, attempt.exit_code, attempt.signal.as_deref()),
            (Some(4_242), Some(3), Some("SIGTERM"))
        );
        assert_eq!(
            (attempt.user_time, attempt.system_time),
            (Some(Span::from_millis(2)), Some(Span::from_millis(1)))
        );
        assert_eq!(attempt.peak_memory_bytes.map(|bytes| bytes.0), Some((1 << 53) + 1));
        assert_eq!((attempt.log_bytes.0, attempt.dropped_log_bytes.0), (12, 5));
        assert_eq!(attempt.finished_at, Some(T0.plus_millis(77)));
        let failure = stage.job(claimed.job.id).await.failure.unwrap();
        assert_eq!(Some(failure.clone()), attempt.failure);
        assert_eq!((failure.message.as_str(), failure.exit_code), ("exit code 3", Some(3)));
        assert_eq!(failure.error_line.as_deref(), Some("it's \"broken\" \u{fffd}🦀"));
        let late = RecordSpawn { attempt: claimed.attempt, spawned: spawned(1, 1, "late", ran("late")) };
        stage.apply(late).await;
        let attempt = stage.reader().attempt(claimed.attempt).await.unwrap().unwrap();
        assert_eq!(attempt.pid, Some(4_242), "an ended attempt is never written again");
        assert_eq!(attempt.ran, Some(ran("/bin/it's")));
    });
}

#[test]
fn a_failed_try_waits_longer_each_time_until_the_tries_are_used_up() {
    on_both(async |stage| {
        let claimed = stage.running(tried(3)).await;
        let id = claimed.job.id;
        assert_eq!(stage.end(&claimed, AttemptOutcome::Exited).await, Settled::Job(JobState::Retrying));
        let job = stage.job(id).await;
        assert_eq!((job.run_at, job.try_count, job.finished_at), (T0.plus_millis(5_000), 1, None));
        assert!(job.failure.is_some_and(|failure| failure.is_retryable));
        let worker = stage.worker().await;
        stage.pass_millis(4_999);
        assert!(stage.hand.claim(worker, 1).await.is_empty());
        stage.pass_millis(1);
        let second = stage.hand.claim(worker, 1).await.remove(0);
        assert_eq!(second.job.started_at, Some(T0), "the first start stands");
        assert_eq!(stage.end(&second, AttemptOutcome::Exited).await, Settled::Job(JobState::Retrying));
        assert_eq!(stage.job(id).await.run_at, T0.plus_millis(15_000));
        stage.pass_millis(10_000);
        let third = stage.hand.claim(worker, 1).await.remove(0);
        assert_eq!(stage.end(&third, AttemptOutcome::Exited).await, Settled::Job(JobState::Failed));
        let job = stage.job(id).await;
        assert_eq!((job.try_count, job.attempt_count, job.finished_at), (3, 3, Some(T0.plus_millis(15_000))));
    });
}

#[test]
fn a_success_after_failures_leaves_no_failure_behind() {
    on_both(async |stage| {
        let claimed = stage.running(tried(2)).await;
        stage.end(&claimed, AttemptOutcome::Exited).await;
        stage.pass_millis(60_000);
        let worker = stage.worker().await;
        let second = stage.hand.claim(worker, 1).await.remove(0);
        assert_eq!(stage.end(&second, AttemptOutcome::Succeeded).await, Settled::Job(JobState::Succeeded));
        assert_eq!(stage.job(claimed.job.id).await.failure, None);
    });
}

#[test]
fn the_end_of_an_attempt_that_has_ended_changes_nothing() {
    on_both(async |stage| {
        let claimed = stage.running(tried(2)).await;
        let id = claimed.job.id;
        stage.end(&claimed, AttemptOutcome::Exited).await;
        let retrying = stage.job(id).await;
        let stale = |outcome| stage.end(&claimed, outcome);
        assert_eq!(stale(AttemptOutcome::Succeeded).await, Settled::Stale);
        assert_eq!(stage.job(id).await.event_cursor, retrying.event_cursor);
        stage.pass_millis(60_000);
        let worker = stage.worker().await;
        let second = stage.hand.claim(worker, 1).await.remove(0);
        // The first daemon comes back while another one runs the job.
        assert_eq!(stale(AttemptOutcome::Lost).await, Settled::Stale);
        let job = stage.job(id).await;
        assert_eq!((job.state, job.try_count), (JobState::Running, 1));
        assert_eq!(stage.reader().attempt(second.attempt).await.unwrap().unwrap().outcome, None);
        stage.end(&second, AttemptOutcome::Succeeded).await;
        assert_eq!(stale(AttemptOutcome::Exited).await, Settled::Stale);
        assert_eq!(stage.state(id).await, JobState::Succeeded);
        let unknown = EndAttempt {
            attempt: AttemptId(999_999),
            job: JobId(999_999),
            ..end_of(&claimed, Ended::without_process(AttemptOutcome::Exited, "x"))
        };
        assert_eq!(stage.apply(unknown).await, Settled::Stale);
    });
}

#[test]
fn a_result_that_waited_for_the_store_ended_when_it_ended() {
    on_both(async |stage| {
        let claimed = stage.running(new_job()).await;
        let (ended_at, stored_at) = (T0.plus_millis(10), T0.plus_millis(5_000));
        let ended = |at| Ended { at: Some(at), ..Ended::without_process(AttemptOutcome::Exited, "x") };
        stage.pass_millis(5_000);
        stage.apply(end_of(&claimed, ended(ended_at))).await;
        let attempt = stage.reader().attempt(claimed.attempt).await.unwrap().unwrap();
        let job = stage.job(claimed.job.id).await;
        assert_eq!((attempt.finished_at, job.finished_at), (Some(ended_at), Some(ended_at)));
        let told = events_of(&stage, claimed.job.id).await.pop().unwrap();
        assert_eq!(told.at, stored_at, "the feed has the time of its commit");
        // The clock was set back in between.
        let claimed = stage.running(new_job()).await;
        stage.apply(end_of(&claimed, ended(stored_at.plus_millis(60_000)))).await;
        assert_eq!(stage.job(claimed.job.id).await.finished_at, Some(stored_at));
    });
}

#[test]
fn what_never_began_goes_back_to_its_queue_whatever_it_is() {
    on_both(async |stage| {
        let worker = stage.worker().await;
        let start_by = Some(stage.clock.now().plus_millis(1_000));
        let claimed = stage.running(NewJob { is_restartable: false, start_by, ..tried(1) }).await;
        let lost = Ended::without_process(AttemptOutcome::Interrupted, "the answer was lost");
        let unbegun = Ended { is_unbegun: true, ..lost };
        let settled = stage.apply(end_of(&claimed, unbegun.clone())).await;
        assert_eq!(settled, Settled::Job(JobState::Queued));
        let id = claimed.job.id;
        let job = stage.job(id).await;
        assert_eq!((job.try_count, job.finished_at, job.started_at), (0, None, None));
        // It has not started, so it is not started late either.
        stage.pass_millis(1_001);
        assert!(stage.hand.claim(worker, 1).await.is_empty());
        assert_eq!(stage.state(id).await, JobState::Expired);
        // One that was tried before has started.
        let claimed = stage.running(tried(2)).await;
        stage.end(&claimed, AttemptOutcome::Exited).await;
        stage.pass_millis(60_000);
        let again = stage.hand.claim(worker, 1).await.remove(0);
        stage.apply(end_of(&again, unbegun.clone())).await;
        assert!(stage.job(again.job.id).await.started_at.is_some());
        stage.apply(cancel(again.job.id)).await;
        // Nor has one that was taken twice for nothing.
        let claimed = stage.running(tried(1)).await;
        for _ in 0..2 {
            stage.apply(end_of(&claimed, unbegun.clone())).await;
            stage.pass_millis(1);
            let again = stage.hand.claim(worker, 1).await.remove(0);
            stage.apply(end_of(&again, unbegun.clone())).await;
            assert_eq!(stage.job(claimed.job.id).await.started_at, None);
        }
    });
}

#[test]
fn an_end_that_comes_too_late_and_says_that_nothing_began_changes_nothing() {
    on_both(async |stage| {
        let (first, other) = (stage.running(tried(2)).await, stage.running(new_job()).await);
        stage.end(&first, AttemptOutcome::Exited).await;
        let lost = Ended::without_process(AttemptOutcome::Interrupted, "the answer was lost");
        let late = end_of(&first, Ended { is_unbegun: true, ..lost });
        let good = end_of(&other, Ended::without_process(AttemptOutcome::Succeeded, "over"));
        // Both in one turn of the writer.
        let gate = Gate::new();
        let mut held = Box::pin(stage.writer().apply(gate.clone()));
        assert!(poll!(held.as_mut()).is_pending());
        gate.entered.acquire().await.unwrap().forget();
        let together = async {
            while stage.writer().waiting_count() < 2 {
                yield_now().await;
            }
            gate.open.add_permits(1);
        };
        let both = async { tokio::join!(stage.writer().apply(late), stage.writer().apply(good)) };
        let ((), (late, good)) = within(PATIENCE, async { tokio::join!(together, both) }).await.unwrap();
        held.await.unwrap();
        assert_eq!(late.unwrap().answer, Settled::Stale);
        assert_eq!(good.unwrap().answer, Settled::Job(JobState::Succeeded));
        assert_eq!(stage.job(first.job.id).await.started_at, Some(T0));
    });
}

#[test]
fn a_job_that_waits_is_cancelled_at_once() {
    on_both(async |stage| {
        let queued = stage.enqueue(new_job()).await;
        let scheduled = stage.enqueue(NewJob { run_at: Some(T0.plus_millis(1_000)), ..new_job() }).await;
        stage.apply(cancel(queued)).await;
        let claimed = stage.running(tried(2)).await;
        stage.end(&claimed, AttemptOutcome::Exited).await;
        let retrying = claimed.job.id;
        assert_eq!(stage.apply(cancel(scheduled)).await, Cancelled::Done);
        assert_eq!(stage.apply(cancel(retrying)).await, Cancelled::Done);
        for id in [queued, scheduled, retrying] {
            let job = stage.job(id).await;
            assert_eq!((job.state, job.finished_at), (JobState::Cancelled, Some(T0)));
            let last = events_of(&stage, id).await.pop().unwrap();
            assert_eq!((last.actor.as_str(), &last.data.0["reason"]), ("tester", &"it's over".into()));
            let refused = stage.rejection(cancel(id)).await;
            assert_eq!(refused.code, UserErrorCode::NotCancellable);
        }
        assert!(stage.job(retrying).await.failure.is_some(), "why the last attempt failed is still told");
        let worker = stage.worker().await;
        stage.pass_millis(3_600_000);
        assert!(stage.hand.claim(worker, 5).await.is_empty());
        assert_eq!(stage.rejection(cancel(JobId(404))).await.code, UserErrorCode::NotFound);
    });
}

#[test]
fn a_running_job_is_asked_once_and_ends_cancelled_whatever_ended_it() {
    on_both(async |stage| {
        for outcome in [
            AttemptOutcome::Cancelled,
            AttemptOutcome::Lost,
            AttemptOutcome::Interrupted,
            AttemptOutcome::Exited,
        ] {
            let claimed = stage.running(tried(9)).await;
            let (id, worker) =
                (claimed.job.id, stage.reader().attempt(claimed.attempt).await.unwrap().unwrap().worker_id);
            assert_eq!(stage.apply(cancel(id)).await, Cancelled::Asked);
            stage.pass_millis(5);
            assert_eq!(stage.apply(cancel(id)).await, Cancelled::Asked);
            let job = stage.job(id).await;
            assert_eq!(
                (job.state, job.stop_requested_at),
                (JobState::Running, Some(claimed.job.started_at.unwrap()))
            );
            let asked = events_of(&stage, id).await;
            let asked = asked.iter().filter(|event| event.data.0["stopRequested"] == true).count();
            assert_eq!(asked, 1, "a second request is no news");
            assert_eq!(stage.reader().requested_stops(worker).await.unwrap(), [id]);
            assert_eq!(stage.end(&claimed, outcome).await, Settled::Job(JobState::Cancelled), "{outcome:?}");
            assert_eq!(stage.reader().requested_stops(worker).await.unwrap(), []);
            assert_eq!(stage.job(id).await.failure.unwrap().outcome, outcome);
        }
    });
}

#[test]
fn a_job_that_succeeds_before_it_could_be_stopped_has_succeeded() {
    on_both(async |stage| {
        let claimed = stage.running(new_job()).await;
        stage.apply(cancel(claimed.job.id)).await;
        assert_eq!(stage.end(&claimed, AttemptOutcome::Succeeded).await, Settled::Job(JobState::Succeeded));
        assert_eq!(stage.job(claimed.job.id).await.failure, None);
    });
}

#[test]
fn an_interruption_costs_no_try() {
    on_both(async |stage| {
        let mut claimed = stage.running(tried(1)).await;
        let id = claimed.job.id;
        let worker = stage.worker().await;
        for attempts in 1..4 {
            assert_eq!(
                stage.end(&claimed, AttemptOutcome::Interrupted).await,
                Settled::Job(JobState::Queued)
            );
            let job = stage.job(id).await;
            assert_eq!((job.try_count, job.attempt_count, job.finished_at), (0, attempts, None));
            assert_eq!(job.failure.map(|failure| failure.outcome), Some(AttemptOutcome::Interrupted));
            claimed = stage.hand.claim(worker, 1).await.remove(0);
        }
        assert_eq!(stage.end(&claimed, AttemptOutcome::Exited).await, Settled::Job(JobState::Failed));
        assert_eq!(stage.job(id).await.try_count, 1);
        let fragile = stage.running(NewJob { is_restartable: false, ..tried(9) }).await;
        assert_eq!(stage.end(&fragile, AttemptOutcome::Interrupted).await, Settled::Job(JobState::Failed));
    });
}
