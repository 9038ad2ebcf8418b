//! Forgetting: what is old enough goes whole, and its numbers never come back.

use beadle::base::clock::{Clock as _, Timestamp};
use beadle::domain::attempt::AttemptOutcome;
use beadle::domain::filter::EventFilter;
use beadle::domain::id::{AttemptId, IncidentId, JobId, TokenId};
use beadle::domain::job::JobState;
use beadle::domain::new_job::{Idempotency, NewJob};
use beadle::store::prune::{Horizon, PRUNE_BATCH, Prune};
use beadle::store::transition::Cancel;
use beadle::store::writer::Probe;

use super::stage::{Stage, T0, enqueue, label, new_job, on_both};

fn before(succeeded: i64, failed: i64) -> Horizon {
    let at = |millis| T0.plus_millis(millis);
    Horizon { succeeded: at(succeeded), failed: at(failed), keys: at(succeeded) }
}

/// A job that ended so now.
async fn ended(stage: &Stage, job: NewJob, outcome: AttemptOutcome) -> (JobId, AttemptId) {
    let claimed = stage.running(job).await;
    stage.end(&claimed, outcome).await;
    (claimed.job.id, claimed.attempt)
}

async fn exists(stage: &Stage, id: JobId) -> bool {
    stage.reader().job(id).await.expect("the store can be read").is_some()
}

#[test]
fn each_kind_of_end_has_its_own_horizon() {
    on_both(async |stage| {
        let (succeeded, attempt) = ended(&stage, new_job(), AttemptOutcome::Succeeded).await;
        let (failed, _) = ended(&stage, new_job(), AttemptOutcome::Exited).await;
        let cancelled = stage.enqueue(new_job()).await;
        stage.apply(Cancel { id: cancelled, actor: "x".to_owned(), reason: None }).await;
        stage.pass_millis(1_000);
        let (recent, _) = ended(&stage, new_job(), AttemptOutcome::Succeeded).await;
        let queued = stage.enqueue(new_job()).await;
        let nothing = stage.apply(Prune { horizon: before(0, 0) }).await;
        assert_eq!((nothing.row_count, nothing.has_more), (0, false), "the horizon itself stays");
        let pruned = stage.apply(Prune { horizon: before(1_000, 0) }).await;
        assert_eq!((pruned.attempts, pruned.has_more), (vec![attempt], false));
        for (id, stays) in
            [(succeeded, false), (cancelled, false), (failed, true), (recent, true), (queued, true)]
        {
            assert_eq!(exists(&stage, id).await, stays, "{id}");
        }
        assert_eq!(
            stage.number(&format!("SELECT count(*) FROM attempts WHERE job_id = {}", succeeded.0)).await,
            0
        );
        stage.apply(Prune { horizon: before(0, 1_000) }).await;
        assert!(exists(&stage, failed).await, "its incident is open");
        stage.execute("UPDATE incidents SET status = 'RESOLVED', status_at_us = 0").await;
        stage.apply(Prune { horizon: before(0, 1_000) }).await;
        assert!(!exists(&stage, failed).await);
        stage.apply(Prune { horizon: before(9_999_999, 9_999_999) }).await;
        assert!(exists(&stage, queued).await, "what is not final is never forgotten");
        assert!(!exists(&stage, recent).await);
    });
}

#[test]
fn a_job_that_was_made_anew_is_not_forgotten_as_such_while_it_is_kept() {
    on_both(async |stage| {
        let (failed, _) = ended(&stage, new_job(), AttemptOutcome::Exited).await;
        let again = NewJob { retry_of: Some(failed), ..new_job() };
        let (repeated, _) = ended(&stage, again, AttemptOutcome::Succeeded).await;
        let incident = IncidentId(stage.number("SELECT id FROM incidents").await);
        stage.pass_millis(1_000);
        stage.apply(Prune { horizon: before(1_000, 0) }).await;
        assert!(exists(&stage, repeated).await, "else the failed one would be made anew once more");
        let left = stage.reader().jobs_to_retry(incident, 9).await.expect("the store can be read");
        assert_eq!(left, []);
        stage.execute("UPDATE incidents SET status = 'RESOLVED', status_at_us = 0").await;
        for _ in 0..2 {
            stage.apply(Prune { horizon: before(1_000, 1_000) }).await;
        }
        assert_eq!((exists(&stage, failed).await, exists(&stage, repeated).await), (false, false));
    });
}

#[test]
fn counts_and_labels_follow_the_jobs() {
    on_both(async |stage| {
        for outcome in [AttemptOutcome::Succeeded, AttemptOutcome::Succeeded, AttemptOutcome::Exited] {
            ended(&stage, NewJob { labels: vec![label("a", "b")], ..new_job() }, outcome).await;
        }
        stage.enqueue(NewJob { labels: vec![label("a", "b")], ..new_job() }).await;
        let counts = async || stage.reader().count_all_jobs().await.unwrap().counts;
        assert_eq!(counts().await[&JobState::Succeeded], 2);
        stage.apply(Prune { horizon: before(1_000, 0) }).await;
        let after = counts().await;
        assert_eq!(
            (after[&JobState::Succeeded], after[&JobState::Failed], after[&JobState::Queued]),
            (0, 1, 1)
        );
        assert_eq!(stage.number("SELECT count(*) FROM job_labels").await, 2);
    });
}

#[test]
fn a_look_tells_whether_a_prune_would_find_something() {
    on_both(async |stage| {
        let has = async |horizon| stage.reader().has_old_rows(horizon, stage.clock.now()).await.unwrap();
        assert!(!has(before(9_999, 9_999)).await, "an empty store has nothing old");
        ended(&stage, new_job(), AttemptOutcome::Exited).await;
        assert!(!has(before(0, 1_000)).await, "its incident is open");
        stage.execute("UPDATE incidents SET status = 'RESOLVED', status_at_us = 0").await;
        for (horizon, expected) in [
            (before(0, 0), false),
            (before(1_000, 0), false),
            (before(0, 1_000), true),
            (before(1_000, 1_000), true),
        ] {
            assert_eq!(has(horizon).await, expected, "{horizon:?}");
        }
        stage.apply(Prune { horizon: before(1_000, 1_000) }).await;
        assert!(!has(before(1_000, 1_000)).await);
    });
}

#[test]
fn one_batch_is_bounded_and_says_that_more_is_left() {
    let batch = usize::try_from(PRUNE_BATCH).unwrap();
    on_both(async |stage| {
        stage.apply(enqueue(vec![new_job(); batch + 20])).await;
        let worker = stage.worker().await;
        for one in stage.hand.claim(worker, batch + 20).await {
            stage.end(&one, AttemptOutcome::Succeeded).await;
        }
        let horizon = before(1, 0);
        let first = stage.apply(Prune { horizon }).await;
        assert_eq!((first.attempts.len(), first.has_more), (batch, true));
        assert_eq!(stage.number("SELECT count(*) FROM jobs").await, 20);
        let second = stage.apply(Prune { horizon }).await;
        assert_eq!((second.attempts.len(), second.has_more), (20, false));
        assert_eq!(stage.reader().count_all_jobs().await.unwrap().counts[&JobState::Succeeded], 0);
    });
}

#[test]
fn old_events_go_and_their_numbers_go_on() {
    on_both(async |stage| {
        for _ in 0..3 {
            stage.enqueue(new_job()).await;
        }
        let last_old = stage.reader().newest_event().await.unwrap();
        stage.pass_millis(1_000);
        stage.enqueue(new_job()).await;
        let newest = stage.reader().newest_event().await.unwrap();
        stage.apply(Prune { horizon: before(1_000, 1_000) }).await;
        assert_eq!(stage.events(&EventFilter::default()).await.len(), 1);
        let oldest = stage.reader().oldest_event().await.unwrap();
        assert!(oldest > last_old && oldest <= newest);
        stage.apply(Prune { horizon: before(5_000, 5_000) }).await;
        assert_eq!(stage.events(&EventFilter::default()).await.len(), 0);
        assert_eq!(
            stage.reader().newest_event().await.unwrap(),
            newest,
            "an empty feed goes on where it ended"
        );
        let stage = stage.reopen().await;
        assert_eq!(stage.hand.writer.cursor().seq, newest);
        stage.enqueue(new_job()).await;
        assert!(stage.reader().newest_event().await.unwrap() > newest);
    });
}

#[test]
fn events_of_a_clock_that_was_ahead_go_in_their_turn_and_leave_no_hole() {
    on_both(async |stage| {
        for _ in 0..3 {
            stage.enqueue(new_job()).await;
        }
        let in_turn = stage.events(&EventFilter::default()).await;
        let (first, second) = (in_turn[0].cursor.seq, in_turn[1].cursor.seq);
        stage.pass_millis(1_000);
        stage.enqueue(new_job()).await;
        let has_old =
            async || stage.reader().has_old_rows(before(1_000, 1_000), stage.clock.now()).await.unwrap();
        let ahead = |from: i64, to: i64| {
            format!("UPDATE events SET at_us = at_us + 100000000000 WHERE seq BETWEEN {from} AND {to}")
        };
        // One in the middle: it goes with those around it.
        stage.execute(&ahead(second, second)).await;
        assert!(has_old().await);
        stage.apply(Prune { horizon: before(1_000, 1_000) }).await;
        assert_eq!(stage.events(&EventFilter::default()).await.len(), 1);
        // More than one batch at the beginning, with an old one behind.
        let left = stage.reader().newest_event().await.unwrap();
        for _ in 0..600 {
            stage.enqueue(new_job()).await;
        }
        let newest = stage.reader().newest_event().await.unwrap();
        stage.execute(&ahead(left, newest - 1)).await;
        stage.pass_millis(1_000);
        stage.enqueue(new_job()).await;
        assert!(
            first < left
                && stage.reader().has_old_rows(before(2_000, 2_000), stage.clock.now()).await.unwrap()
        );
        while stage.apply(Prune { horizon: before(2_000, 2_000) }).await.has_more {}
        assert_eq!(stage.events(&EventFilter::default()).await.len(), 1);
        assert_eq!(stage.reader().oldest_event().await.unwrap(), newest + 1);
    });
}

#[test]
fn an_event_of_a_clock_that_was_behind_takes_no_young_one_with_it() {
    on_both(async |stage| {
        for _ in 0..20 {
            stage.enqueue(new_job()).await;
        }
        let told = stage.events(&EventFilter::default()).await;
        let behind = |seq: i64| format!("UPDATE events SET at_us = 5 WHERE seq = {seq}");
        for at in [told[10].cursor.seq, told[told.len() - 1].cursor.seq] {
            stage.execute(&behind(at)).await;
            assert!(!stage.reader().has_old_rows(before(-1_000, -1_000), stage.clock.now()).await.unwrap());
            stage.apply(Prune { horizon: before(-1_000, -1_000) }).await;
            assert_eq!(stage.events(&EventFilter::default()).await.len(), told.len());
        }
        // At the beginning it goes alone; in the middle with those before it, when these are old too.
        stage.execute(&behind(told[0].cursor.seq)).await;
        stage.apply(Prune { horizon: before(-1_000, -1_000) }).await;
        assert_eq!(stage.events(&EventFilter::default()).await.len(), told.len() - 1);
    });
}

#[test]
fn events_stay_as_long_as_the_longest_lived_jobs() {
    on_both(async |stage| {
        let (failed, _) = ended(&stage, new_job(), AttemptOutcome::Exited).await;
        stage.pass_millis(1_000);
        stage.apply(Prune { horizon: before(1_000, 0) }).await;
        let history = EventFilter { job_ids: Some(vec![failed]), ..EventFilter::default() };
        assert_eq!(stage.events(&history).await.len(), 5, "the history of a job that is kept is whole");
    });
}

#[test]
fn an_id_is_never_given_twice_also_when_the_newest_row_is_gone() {
    on_both(async |mut stage| {
        let mut given: Vec<(JobId, AttemptId)> = Vec::new();
        for round in 0..3 {
            let (job, attempt) = ended(&stage, new_job(), AttemptOutcome::Succeeded).await;
            assert!(given.iter().all(|(old, _)| *old < job), "round {round}: {job} again");
            assert!(given.iter().all(|(_, old)| *old < attempt), "round {round}: {attempt} again");
            given.push((job, attempt));
            stage.apply(Prune { horizon: before(9_999_999, 9_999_999) }).await;
            assert_eq!(stage.number("SELECT count(*) FROM jobs").await, 0);
            stage = stage.reopen().await;
        }
    });
}

#[test]
fn a_key_outlives_its_job_until_its_own_horizon_and_never_goes_before_it() {
    let keyed = |key: &str| {
        let idempotency =
            Idempotency { token_id: TokenId(1), key: key.to_owned(), digest: "same".to_owned() };
        NewJob { idempotency: Some(idempotency), ..new_job() }
    };
    on_both(async |stage| {
        let (gone, _) = ended(&stage, keyed("gone"), AttemptOutcome::Succeeded).await;
        let waiting = stage.enqueue(keyed("waiting")).await;
        let keys = async |at: Timestamp| {
            let horizon = Horizon { keys: at, ..before(1_000, 1_000) };
            stage.apply(Prune { horizon }).await;
            stage.number("SELECT count(*) FROM idempotency_keys").await
        };
        assert_eq!(keys(T0).await, 2);
        let repeat = stage.apply(enqueue(vec![keyed("gone")])).await.remove(0).unwrap();
        assert_eq!((repeat.id, repeat.is_deduplicated), (gone, true), "a repeat still makes no second job");
        assert_eq!(keys(T0.plus_millis(1)).await, 1);
        let repeat = stage.apply(enqueue(vec![keyed("waiting")])).await.remove(0).unwrap();
        assert_eq!((repeat.id, repeat.is_deduplicated), (waiting, true));
        let anew = stage.apply(enqueue(vec![keyed("gone")])).await.remove(0).unwrap();
        assert!(!anew.is_deduplicated && anew.id > waiting);
        stage.apply(Probe).await;
    });
}
