//! Many jobs at once: those that match are found, and stopped in batches.

use beadle::domain::attempt::AttemptOutcome;
use beadle::domain::filter::{EventFilter, JobFilter};
use beadle::domain::job::JobState;
use beadle::domain::new_job::NewJob;
use beadle::store::bulk::{BULK_BATCH, CancelMany, CancelledMany};

use super::stage::{Stage, T0, enqueue, label, new_job, on_both};

const MANY: usize = 3_000;

async fn counts(stage: &Stage) -> Vec<(JobState, i64)> {
    let counts = stage.reader().count_all_jobs().await.expect("the store can be read").counts;
    let mut counts: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
    counts.sort_unstable();
    for (state, count) in &counts {
        let rows = format!("SELECT count(*) FROM jobs WHERE state = '{}'", state.word());
        assert_eq!(stage.number(&rows).await, *count, "the kept count of {state:?}");
    }
    counts
}

fn stop(ids: &[beadle::domain::id::JobId]) -> CancelMany {
    let (actor, reason) = ("tester".to_owned(), Some("enough".to_owned()));
    CancelMany { ids: ids.to_vec(), is_running_meant: true, actor, reason }
}

#[test]
fn thousands_of_jobs_are_stopped_in_batches_as_each_stands() {
    on_both(async |stage| {
        let worker = stage.worker().await;
        let labelled = |at: usize| NewJob {
            labels: vec![label("part", if at.is_multiple_of(2) { "even" } else { "odd" })],
            run_at: (at.is_multiple_of(3)).then(|| T0.plus_millis(60_000)),
            is_held: at.is_multiple_of(7),
            ..new_job()
        };
        for part in 0..3 {
            let jobs = (0..MANY / 3).map(|at| labelled(part * MANY / 3 + at)).collect();
            stage.apply(enqueue(jobs)).await;
        }
        let claimed = stage.hand.claim(worker, 10).await;
        stage.end(&claimed[0], AttemptOutcome::Succeeded).await;
        let filter = JobFilter { labels: Some(vec![label("part", "even")]), ..JobFilter::default() };
        let even = stage.reader().matching_jobs(&filter, MANY).await.unwrap();
        assert_eq!(even.len(), MANY / 2);
        assert!(even.is_sorted());
        assert_eq!(stage.reader().matching_jobs(&filter, 7).await.unwrap(), even[..7]);
        let (mut done, mut asked) = (0, Vec::new());
        for some in even.chunks(BULK_BATCH) {
            let answer = stage.apply(stop(some)).await;
            done += answer.done_count;
            asked.extend(answer.asked);
        }
        let running: Vec<_> =
            claimed[1..].iter().map(|one| one.job.id).filter(|id| even.contains(id)).collect();
        let ended = usize::from(even.contains(&claimed[0].job.id));
        assert!(!running.is_empty());
        asked.sort_unstable();
        let mut expected = running.clone();
        expected.sort_unstable();
        assert_eq!((done, asked), (MANY / 2 - running.len() - ended, expected));
        let all = counts(&stage).await;
        assert!(all.contains(&(JobState::Cancelled, i64::try_from(done).unwrap())), "{all:?}");
        let one = stage.job(*even.last().unwrap()).await;
        assert_eq!(
            (one.state, one.finished_at, one.stop_requested_at),
            (JobState::Cancelled, Some(T0), Some(T0))
        );
        let history = EventFilter { job_ids: Some(vec![one.id]), ..EventFilter::default() };
        let last = stage.events(&history).await.pop().unwrap();
        assert_eq!((last.actor.as_str(), &last.data.0["reason"]), ("tester", &"enough".into()));
        // Again: what is final is passed over, and who was asked is not asked twice.
        for some in even.chunks(BULK_BATCH) {
            assert_eq!(stage.apply(stop(some)).await, CancelledMany::default());
        }
        for one in claimed.iter().filter(|one| running.contains(&one.job.id)) {
            stage.end(one, AttemptOutcome::Signaled).await;
            assert_eq!(stage.state(one.job.id).await, JobState::Cancelled);
        }
        counts(&stage).await;
    });
}

#[test]
fn what_began_since_it_was_looked_up_is_not_what_was_meant() {
    on_both(async |stage| {
        let worker = stage.worker().await;
        let (first, second) = (stage.enqueue(new_job()).await, stage.enqueue(new_job()).await);
        assert_eq!(stage.hand.claim(worker, 1).await[0].job.id, first);
        let waiting = CancelMany { is_running_meant: false, ..stop(&[first, second]) };
        let answer = stage.apply(waiting).await;
        assert_eq!((answer.done_count, answer.asked), (1, Vec::new()));
        assert_eq!(stage.job(first).await.stop_requested_at, None);
        assert_eq!(stage.state(second).await, JobState::Cancelled);
        assert_eq!(stage.apply(stop(&[first, second])).await.asked, [first]);
        counts(&stage).await;
    });
}

#[test]
fn what_waits_for_a_stopped_job_is_skipped_with_it() {
    on_both(async |stage| {
        let first = stage.enqueue(NewJob { is_held: true, ..new_job() }).await;
        let skipped = stage.enqueue(NewJob { depends_on: vec![first], ..new_job() }).await;
        let stopped = stage.enqueue(NewJob { depends_on: vec![first], ..new_job() }).await;
        let answer = stage.apply(stop(&[first, stopped])).await;
        assert_eq!(answer.done_count, 2);
        assert_eq!(stage.state(skipped).await, JobState::Skipped);
        assert_eq!(stage.state(stopped).await, JobState::Cancelled);
        counts(&stage).await;
    });
}
