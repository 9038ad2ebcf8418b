//! Why a job waits, and whom a claim takes: one question with one answer, over states that chance made.

use std::collections::BTreeSet;

use beadle::base::clock::Clock as _;
use beadle::domain::attempt::AttemptOutcome;
use beadle::domain::blocker::Blocker;
use beadle::domain::concurrency::{KeyLimit, LimitKey};
use beadle::domain::duration::Span;
use beadle::domain::id::JobId;
use beadle::domain::job::{JobState, Label};
use beadle::domain::new_job::NewJob;
use beadle::domain::placement::WorkerLabels;
use beadle::domain::queue::RateLimit;
use beadle::store::placement::WorkerThere;
use beadle::store::queues::QueueAction;
use beadle::store::transition::Cancel;

use super::stage::{Stage, enqueue, label, new_job_in, on_both};
use crate::support::dice::Dice;

const QUEUES: [&str; 3] = ["default", "red", "blue"];

/// What a worker may be given: few labels, so that jobs often find one that fits and often none.
fn labels(dice: &Dice) -> Vec<Label> {
    let some = [label("gpu", "a100"), label("os", "linux"), label("zone", "b")];
    some.into_iter().filter(|_| dice.roll(2) == 0).collect()
}

async fn blockers(stage: &Stage, jobs: &[JobId], workers: &[WorkerThere]) -> Vec<(JobId, Vec<Blocker>)> {
    let mut found = Vec::new();
    for page in jobs.chunks(200) {
        let page = stage.reader().blockers(page, workers, stage.clock.now()).await;
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
        runs_on: if dice.roll(2) == 0 { labels(dice) } else { Vec::new() },
        is_held: dice.roll(8) == 0,
        run_at: (dice.roll(5) == 0).then(|| stage.clock.now().plus_millis(60_000)),
        ..new_job_in(QUEUES[dice.roll(3)])
    }
}

/// Each waiting job says why, unless the claim takes it; then it says nothing.
async fn compare(stage: &Stage, dice: &Dice, ids: &[JobId]) -> usize {
    let (own, slots) = (labels(dice), dice.roll(6));
    let worker = stage.worker_with(own.clone()).await;
    let there = WorkerThere { labels: WorkerLabels::of(&own), free: i64::try_from(slots).expect("few") };
    // What has become due goes into its queue first: the claim would do it.
    stage.hand.claim(worker, 0).await;
    let said = blockers(stage, ids, std::slice::from_ref(&there)).await;
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
                Blocker::Worker(one) => {
                    let lacks = |wanted: &Label| !own.contains(wanted);
                    stands == JobState::Queued && one.runs_on.iter().any(lacks)
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
            taken += compare(&stage, &dice, &ids).await;
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
fn free_places_are_those_of_the_workers_that_are_up() {
    on_both(async |stage| {
        let free = async || stage.reader().workers_there().await.expect("it can be read");
        assert_eq!(free().await, []);
        let gpu = vec![label("gpu", "a100")];
        let worker = stage.worker_with(gpu.clone()).await;
        let there = |free| WorkerThere { labels: WorkerLabels::of(&gpu), free };
        assert_eq!(free().await, [there(4)]);
        stage.enqueue(new_job_in("default")).await;
        stage.hand.claim(worker, 1).await;
        assert_eq!(free().await, [there(3)]);
    });
}

#[test]
fn workers_with_other_labels_share_the_room_and_none_is_promised_twice() {
    on_both(async |stage| {
        stage.put_queue("red", Some(3)).await;
        let on = |runs_on: Vec<Label>| NewJob { runs_on, ..new_job_in("red") };
        let gpu = label("gpu", "a100");
        // In the order in which they come: two for the one with the card, and three for whoever is first.
        let jobs = [vec![gpu.clone()], vec![gpu.clone()], vec![], vec![], vec![]].map(on);
        let made = stage.apply(enqueue(jobs.to_vec())).await;
        let ids: Vec<_> = made.into_iter().map(|made| made.expect("the job is good").id).collect();
        let there = |labels: &[Label], free| WorkerThere { labels: WorkerLabels::of(labels), free };
        let workers = [there(std::slice::from_ref(&gpu), 1), there(&[], 1), there(&[], 1)];
        let said = blockers(&stage, &ids, &workers).await;
        let starting: BTreeSet<_> =
            said.iter().filter(|(_, why)| why.is_empty()).map(|(id, _)| *id).collect();
        assert_eq!(
            starting,
            BTreeSet::from([ids[0], ids[2], ids[3]]),
            "one with the card, two of the others: {said:?}"
        );
        // With more places it is the queue that is full.
        let many = [there(&[gpu], 9), there(&[], 9)];
        let said = blockers(&stage, &ids, &many).await;
        assert_eq!(said.iter().filter(|(_, why)| why.is_empty()).count(), 3, "{said:?}");
        let full = said.iter().filter(|(_, why)| matches!(why[..], [Blocker::Capacity(_)])).count();
        assert_eq!(full, 2, "{said:?}");
        // Without the card nobody says that it is full.
        let said = blockers(&stage, &ids[..1], &many[1..]).await;
        let [Blocker::Worker(why)] = &said[0].1[..] else { panic!("{said:?}") };
        assert_eq!(why.message, "no worker that is there has the label gpu=a100");
    });
}
