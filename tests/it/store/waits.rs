//! Jobs that wait for each other, for people and against the clock, changed in random order: after each stretch
//! every row stands where its neighbours say that it must.

use std::sync::{Arc, Mutex};

use beadle::base::clock::Clock as _;
use beadle::base::random::{Random, SeededRandom, SystemRandom};
use beadle::base::task;
use beadle::domain::attempt::{AttemptOutcome, Ended};
use beadle::domain::id::{JobId, WorkerId};
use beadle::domain::job::DependencyFailure;
use beadle::domain::new_job::{EarlierJob, NewJob};
use beadle::domain::retry::RetryPolicy;
use beadle::store::bulk::CancelMany;
use beadle::store::claim::Claimed;
use beadle::store::transition::Cancel;
use beadle::store::waiting::{Hold, Release};
use beadle::store::writer::{Change, Refusal};

use futures_util::future::join_all;

use super::model::{assert_counts, told_states};
use super::stage::{Hand, Stage, end_of, enqueue, new_job, on_both, on_postgres};

const STEPS: usize = 250;
/// Why the list of all jobs can be locked.
const UNBROKEN: &str = "nobody panics while holding the list";
/// Rounds of each of several daemons.
const ROUNDS: usize = 60;

/// What can never be, each as the number of rows where it is.
const IMPOSSIBLE: [(&str, &str); 6] = [
    (
        "a blocked job waits for nothing",
        "SELECT count(*) FROM jobs WHERE state = 'BLOCKED' AND NOT EXISTS (
             SELECT 1 FROM job_dependencies JOIN jobs AS before ON before.id = depends_on_id
             WHERE job_id = jobs.id AND before.finished_at_us IS NULL)",
    ),
    (
        "a blocked job should have been skipped",
        "SELECT count(*) FROM jobs WHERE state = 'BLOCKED' AND on_dependency_failure = 'SKIP' AND EXISTS (
             SELECT 1 FROM job_dependencies JOIN jobs AS before ON before.id = depends_on_id
             WHERE job_id = jobs.id AND before.finished_at_us IS NOT NULL AND before.state <> 'SUCCEEDED')",
    ),
    (
        "a job was skipped without a reason",
        "SELECT count(*) FROM jobs WHERE state = 'SKIPPED' AND (on_dependency_failure <> 'SKIP' OR NOT EXISTS (
             SELECT 1 FROM job_dependencies JOIN jobs AS before ON before.id = depends_on_id
             WHERE job_id = jobs.id AND before.finished_at_us IS NOT NULL AND before.state <> 'SUCCEEDED'))",
    ),
    (
        "a job came past another one that is still open, or that failed",
        "SELECT count(*) FROM jobs
         WHERE (state IN ('QUEUED', 'SCHEDULED', 'EXPIRED') OR started_at_us IS NOT NULL) AND EXISTS (
             SELECT 1 FROM job_dependencies JOIN jobs AS before ON before.id = depends_on_id
             WHERE job_id = jobs.id AND (before.finished_at_us IS NULL OR before.finished_at_us > jobs.started_at_us
                 OR (jobs.on_dependency_failure = 'SKIP' AND before.state <> 'SUCCEEDED')))",
    ),
    (
        "a job expired that was not late, or had started",
        "SELECT count(*) FROM jobs
         WHERE state = 'EXPIRED' AND (started_at_us IS NOT NULL OR start_by_us > finished_at_us)",
    ),
    ("an end is left over that nobody took up", "SELECT count(*) FROM dependency_ends"),
];

struct Waits {
    dice: SeededRandom,
    worker: WorkerId,
    made: Vec<JobId>,
    running: Vec<Claimed>,
}

impl Waits {
    /// A number below `sides`.
    fn roll(&self, sides: usize) -> usize {
        let mut bytes = [0; 4];
        self.dice.fill(&mut bytes);
        u32::from_le_bytes(bytes) as usize % sides
    }

    fn millis(&self, below: usize) -> i64 {
        i64::try_from(1 + self.roll(below)).expect("a small number")
    }

    fn any(&self) -> JobId {
        // Mostly one of the newest: the old ones are final.
        let back = self.roll(if self.roll(4) == 0 { self.made.len() } else { self.made.len().min(12) });
        self.made[self.made.len() - 1 - back]
    }

    fn job(&self, stage: &Stage, place: usize) -> NewJob {
        let now = stage.clock.now();
        let run_at = (self.roll(4) == 0).then(|| now.plus_millis(self.millis(10_000)));
        let start_by = (self.roll(4) == 0).then(|| run_at.unwrap_or(now).plus_millis(self.millis(10_000)));
        let count = [0, 0, 1, 1, 2, 4][self.roll(6)].min(self.made.len());
        let anyway = self.roll(3) == 0;
        NewJob {
            run_at,
            start_by,
            is_held: self.roll(6) == 0,
            depends_on: (0..count).map(|_| self.any()).collect(),
            depends_on_earlier: (0..place)
                .filter(|_| self.roll(4) == 0)
                .map(|place| EarlierJob { place, named_at: 0 })
                .collect(),
            on_dependency_failure: if anyway { DependencyFailure::Run } else { DependencyFailure::Skip },
            retry_policy: RetryPolicy { max_attempts: 1 + i32::from(anyway), ..RetryPolicy::default() },
            ..new_job()
        }
    }

    async fn step(&mut self, stage: &Stage) {
        match self.roll(12) {
            0..=2 => {
                let jobs = (0..=self.roll(5)).map(|place| self.job(stage, place)).collect();
                for made in stage.apply(enqueue(jobs)).await {
                    self.made.push(made.expect("the job is good").id);
                }
            }
            3..=5 => self.running.extend(stage.hand.claim(self.worker, 1 + self.roll(5)).await),
            6..=8 if !self.running.is_empty() => {
                let claimed = self.running.swap_remove(self.roll(self.running.len()));
                let outcomes = [
                    AttemptOutcome::Succeeded,
                    AttemptOutcome::Succeeded,
                    AttemptOutcome::Succeeded,
                    AttemptOutcome::Exited,
                    AttemptOutcome::Interrupted,
                ];
                stage.end(&claimed, outcomes[self.roll(outcomes.len())]).await;
            }
            _ if self.made.is_empty() => {}
            9 if self.roll(3) == 0 => {
                let ids = (0..4).map(|_| self.any()).collect();
                stage
                    .apply(CancelMany {
                        ids,
                        is_running_meant: true,
                        actor: "waits".to_owned(),
                        reason: None,
                    })
                    .await;
            }
            9 => {
                let (id, actor) = (self.any(), "waits".to_owned());
                offer(stage, Cancel { id, actor, reason: None }).await;
            }
            10 if self.roll(2) == 0 => offer(stage, Hold { id: self.any(), actor: "waits".to_owned() }).await,
            10 => offer(stage, Release { id: self.any(), actor: "waits".to_owned() }).await,
            _ => stage.pass_millis(self.millis(4_000)),
        }
    }
}

/// Applies what may be refused.
async fn offer<C: Change>(stage: &Stage, change: C) {
    if let Err(Refusal::Fault(fault)) = stage.hand.writer.apply(change).await {
        panic!("{fault}");
    }
}

async fn check(stage: &Stage) {
    assert_counts(stage).await;
    let told = told_states(stage).await;
    let ids: Vec<_> = told.keys().copied().collect();
    for job in stage.reader().jobs_by_id(&ids).await.expect("the store can be read") {
        assert_eq!(job.state, told[&job.id], "{} and its last event", job.id);
    }
    for (what, statement) in IMPOSSIBLE {
        assert_eq!(stage.number(statement).await, 0, "{what}");
    }
}

#[test]
fn jobs_that_wait_for_each_other_stand_where_their_neighbours_say() {
    let mut seed = [0; 8];
    SystemRandom.fill(&mut seed);
    for seed in [1, 2, u64::from_le_bytes(seed)] {
        on_both(async |stage| {
            println!("seed {seed}");
            let worker = stage.worker().await;
            let dice = SeededRandom::new(seed);
            let mut waits = Waits { dice, worker, made: Vec::new(), running: Vec::new() };
            for step in 1..=STEPS {
                waits.step(&stage).await;
                if step % 125 == 0 {
                    check(&stage).await;
                }
            }
            let stage = stage.reopen().await;
            check(&stage).await;
            // Everything can come to its end: nothing waits for what never comes.
            for id in &waits.made {
                offer(&stage, Release { id: *id, actor: "waits".to_owned() }).await;
            }
            run_dry(&stage, worker, waits.running).await;
        });
    }
}

/// Runs everything to its end.
async fn run_dry(stage: &Stage, worker: WorkerId, mut running: Vec<Claimed>) {
    let is_open = "SELECT count(*) FROM jobs WHERE finished_at_us IS NULL";
    for _ in 0..1_000 {
        if stage.number(is_open).await == 0 {
            break;
        }
        for claimed in running.drain(..) {
            stage.end(&claimed, AttemptOutcome::Succeeded).await;
        }
        stage.pass_millis(60_000);
        running.extend(stage.hand.claim(worker, 50).await);
    }
    assert_eq!(stage.number(is_open).await, 0, "something waits for ever");
    check(stage).await;
}

/// What one of several daemons does: it makes jobs behind those of all, and claims, ends and stops what it gets.
async fn work(hand: Hand, mut waits: Waits, all: Arc<Mutex<Vec<JobId>>>) -> Vec<Claimed> {
    for round in 0..ROUNDS {
        waits.made.clone_from(&all.lock().expect(UNBROKEN));
        let jobs = (0..4).map(|_| {
            let count = waits.roll(4).min(waits.made.len());
            let depends_on = (0..count).map(|_| waits.any()).collect();
            let anyway = waits.roll(2) == 0;
            let on_dependency_failure = if anyway { DependencyFailure::Run } else { DependencyFailure::Skip };
            NewJob { depends_on, on_dependency_failure, ..new_job() }
        });
        let jobs = enqueue(jobs.collect());
        let (made, claimed) = tokio::join!(hand.apply(jobs), hand.claim(waits.worker, 3));
        all.lock().expect(UNBROKEN).extend(made.into_iter().flatten().map(|made| made.id));
        waits.running.extend(claimed);
        let ready = waits.running.len().saturating_sub(2);
        let ends = waits.running.drain(..ready).enumerate().map(|(at, one)| {
            let is_good = !(round + at).is_multiple_of(5);
            let outcome = if is_good { AttemptOutcome::Succeeded } else { AttemptOutcome::Exited };
            end_of(&one, Ended::without_process(outcome, "over"))
        });
        let ends: Vec<_> = ends.map(|end| hand.apply(end)).collect();
        let stops = (round % 4 == 3 && !waits.made.is_empty()).then(|| {
            let ids = vec![waits.any(), waits.any()];
            hand.apply(CancelMany { ids, is_running_meant: true, actor: "waits".to_owned(), reason: None })
        });
        tokio::join!(join_all(ends), join_all(stops));
    }
    waits.running
}

#[test]
fn daemons_that_make_and_end_jobs_at_once_leave_nothing_waiting() {
    on_postgres(async |stage| {
        let all = Arc::new(Mutex::new(Vec::new()));
        let mut working = Vec::new();
        for number in 0..4 {
            let (hand, worker) = (stage.another_hand().await, stage.worker().await);
            let dice = SeededRandom::new(number);
            let waits = Waits { dice, worker, made: Vec::new(), running: Vec::new() };
            working.push(task::spawn(work(hand, waits, all.clone())));
        }
        let mut running = Vec::new();
        for one in working {
            running.extend(one.await.unwrap());
        }
        check(&stage).await;
        let worker = stage.worker().await;
        run_dry(&stage, worker, running).await;
    });
}
