//! Why a job waits, and whom a claim takes: one question with one answer, over states that chance made.

use std::collections::BTreeSet;

use beadle::base::clock::Clock as _;
use beadle::domain::attempt::AttemptOutcome;
use beadle::domain::blocker::Blocker;
use beadle::domain::concurrency::{KeyLimit, LimitKey};
use beadle::domain::duration::Span;
use beadle::domain::id::JobId;
use beadle::domain::job::JobState;
use beadle::domain::new_job::NewJob;
use beadle::domain::queue::RateLimit;
use beadle::store::queues::QueueAction;
use beadle::store::transition::Cancel;

use super::stage::{Stage, enqueue, new_job_in, on_both};
use crate::support::dice::Dice;

const QUEUES: [&str; 3] = ["default", "red", "blue"];

async fn blockers(stage: &Stage, jobs: &[JobId], slots: usize) -> Vec<(JobId, Vec<Blocker>)> {
    let slots = i64::try_from(slots).expect("few");
    let mut found = Vec::new();
    for page in jobs.chunks(200) {
        let page = stage.reader().blockers(page, slots, stage.clock.now()).await;
        found.extend(page.expect("the store can be read"));
    }
    found
}

async fn disturb(stage: &Stage, dice: &Dice) {
    let queue = QUEUES[dice.roll(3)];
    let some = |sides: usize| 1 + dice.roll_int(sides);
    let action = match dice.roll(6) {
        0 => QueueAction::Pause { reason: Some("a test".to_owned()) },
        1..=3 => QueueAction::Resume,
        _ => QueueAction::Put {
            concurrency_limit: (dice.roll(2) == 0).then(|| some(4)),
            rate_limit: (dice.roll(2) == 0)
                .then(|| RateLimit { starts: some(5), per: Span::from_millis(4_000) }),
        },
    };
    stage.change_queue(queue, action).await;
}

fn job(stage: &Stage, dice: &Dice) -> NewJob {
    let limit = KeyLimit { key: LimitKey::Key(format!("k{}", dice.roll(4))), limit: 2 };
    NewJob {
        priority: dice.roll_int(5),
        limit: (dice.roll(2) == 0).then_some(limit),
        is_held: dice.roll(8) == 0,
        run_at: (dice.roll(5) == 0).then(|| stage.clock.now().plus_millis(60_000)),
        ..new_job_in(QUEUES[dice.roll(3)])
    }
}

/// Each waiting job says why, unless the claim takes it; then it says nothing.
async fn compare(stage: &Stage, ids: &[JobId], slots: usize) -> usize {
    let worker = stage.worker().await;
    // What has become due goes into its queue first: the claim would do it.
    stage.hand.claim(worker, 0).await;
    let said = blockers(stage, ids, slots).await;
    let taken: BTreeSet<_> =
        stage.hand.claim(worker, slots).await.into_iter().map(|one| one.job.id).collect();
    for (id, reasons) in &said {
        assert_eq!(reasons.is_empty(), taken.contains(id), "{id}: {reasons:?}, and the claim took {taken:?}");
        let stands = stage.state(*id).await;
        for reason in reasons {
            let fits = match reason {
                Blocker::Held(_) => stands == JobState::Held,
                Blocker::Scheduled(_) => stands == JobState::Scheduled,
                Blocker::Dependency(_) => stands == JobState::Blocked,
                Blocker::Concurrency(one) => {
                    stands == JobState::Queued && one.limit == 2 && !one.holder_ids.contains(id)
                }
                _ => stands == JobState::Queued,
            };
            assert!(fits, "{id} is {stands:?} and says {reason:?}");
        }
    }
    let spoken: BTreeSet<_> = said.iter().map(|(id, _)| *id).collect();
    assert!(taken.is_subset(&spoken), "what was taken waited before");
    taken.len()
}

#[test]
fn a_job_says_why_it_waits_exactly_when_the_claim_leaves_it() {
    on_both(async |stage| {
        let dice = Dice::new();
        for queue in &QUEUES[1..] {
            stage.put_queue(queue, None).await;
        }
        let (mut ids, mut taken) = (Vec::new(), 0);
        for _ in 0..60 {
            let jobs = (0..=dice.roll(6)).map(|_| job(&stage, &dice)).collect();
            let made = stage.apply(enqueue(jobs)).await;
            ids.extend(made.into_iter().map(|made| made.expect("the job is good").id));
            disturb(&stage, &dice).await;
            stage.pass_millis(dice.roll_int(3_000).into());
            let id = ids[dice.roll(ids.len())];
            drop(stage.hand.writer.apply(Cancel { id, actor: "test".to_owned(), reason: None }).await);
            taken += compare(&stage, &ids, dice.roll(6)).await;
            if dice.roll(3) == 0 {
                let open = stage.open_attempts(3).await;
                for one in open {
                    let ended =
                        beadle::domain::attempt::Ended::without_process(AttemptOutcome::Succeeded, "over");
                    let (attempt, job) = (one.attempt, one.job);
                    let actor = "test".to_owned();
                    let end = beadle::store::ends::EndAttempt { attempt, job, ended, unit: 0.5, actor };
                    stage.apply(end).await;
                }
            }
        }
        assert!(taken > 10, "the claims took {taken} jobs only");
    });
}

#[test]
fn free_slots_are_those_of_the_workers_that_are_up() {
    on_both(async |stage| {
        assert_eq!(stage.reader().free_slots().await.expect("it can be read"), 0);
        let worker = stage.worker().await;
        assert_eq!(stage.reader().free_slots().await.expect("it can be read"), 4);
        stage.enqueue(new_job_in("default")).await;
        stage.hand.claim(worker, 1).await;
        assert_eq!(stage.reader().free_slots().await.expect("it can be read"), 3);
    });
}
