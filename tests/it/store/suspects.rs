//! What the rows know of attempts that a dead daemon left open: losses right before count, and only those with a daemon.

use beadle::domain::attempt::AttemptOutcome;
use beadle::domain::duration::Span;
use beadle::domain::new_job::NewJob;
use beadle::domain::retry::RetryPolicy;
use beadle::store::claim::Claimed;
use beadle::store::workers::RetireWorker;

use super::stage::{Stage, T0, new_job, on_both};

/// How an attempt of the past ended.
#[derive(Debug, Clone, Copy)]
enum Past {
    /// Its daemon was found dead, then it was lost.
    LostWithDaemon,
    /// It was given up while its daemon lived on.
    LostAlone,
    /// It failed by itself.
    Exited,
}

async fn retire(stage: &Stage, claimed: &Claimed) {
    let read = stage.reader().attempt(claimed.attempt).await;
    let attempt = read.expect("the store can be read").expect("the attempt exists");
    stage.apply(RetireWorker { id: attempt.worker_id, name: "dead".to_owned(), is_gone: true }).await;
}

/// The next attempt of the only job, by a worker that begins a second before.
async fn next(stage: &Stage) -> Claimed {
    stage.pass_millis(60_000);
    let worker = stage.worker().await;
    stage.pass_millis(1_000);
    stage.hand.claim(worker, 1).await.remove(0)
}

async fn live_through(stage: &Stage, past: &[Past]) -> Claimed {
    let policy =
        RetryPolicy { max_attempts: 99, initial_delay: Span::from_millis(1), ..RetryPolicy::default() };
    stage.enqueue(NewJob { retry_policy: policy, ..new_job() }).await;
    for one in past {
        let claimed = next(stage).await;
        match one {
            Past::LostWithDaemon => {
                retire(stage, &claimed).await;
                stage.pass_millis(5);
                stage.end(&claimed, AttemptOutcome::Lost).await;
            }
            Past::LostAlone => {
                stage.end(&claimed, AttemptOutcome::Lost).await;
                stage.pass_millis(5);
                retire(stage, &claimed).await;
            }
            Past::Exited => {
                stage.end(&claimed, AttemptOutcome::Exited).await;
                retire(stage, &claimed).await;
            }
        }
    }
    next(stage).await
}

#[test]
fn losses_with_a_daemon_right_before_count_and_nothing_else_does() {
    use Past::{Exited, LostAlone, LostWithDaemon};
    on_both(async |stage| {
        let pasts: [(&[Past], usize); 8] = [
            (&[], 0),
            (&[LostWithDaemon], 1),
            (&[LostWithDaemon, LostWithDaemon], 2),
            (&[LostWithDaemon, LostWithDaemon, LostWithDaemon], 2),
            (&[LostWithDaemon, Exited], 0),
            (&[Exited, LostWithDaemon], 1),
            (&[LostWithDaemon, LostAlone], 0),
            (&[LostAlone, LostWithDaemon], 1),
        ];
        for (past, expected) in pasts {
            let claimed = live_through(&stage, past).await;
            let found = stage.reader().left_open(&[claimed.attempt]).await.unwrap()[&claimed.attempt];
            assert_eq!(found.lost_before, expected, "after {past:?}");
            assert_eq!(found.started_at.since(found.worker_started_at).as_millis(), 1_000);
            assert!(found.worker_started_at > T0);
            stage.end(&claimed, AttemptOutcome::Succeeded).await;
        }
    });
}
