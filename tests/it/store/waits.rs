//! Jobs that wait for each other, for people and against the clock, changed in random order: after each stretch
//! every row stands where its neighbours say that it must.

use beadle::base::clock::Clock as _;
use beadle::base::random::{Random, SeededRandom, SystemRandom};
use beadle::domain::attempt::AttemptOutcome;
use beadle::domain::id::{JobId, WorkerId};
use beadle::domain::job::DependencyFailure;
use beadle::domain::new_job::{EarlierJob, NewJob};
use beadle::domain::retry::RetryPolicy;
use beadle::store::bulk::CancelMany;
use beadle::store::claim::Claimed;
use beadle::store::transition::Cancel;
use beadle::store::waiting::{Hold, Release};
use beadle::store::writer::{Change, Refusal};

use super::model::{assert_counts, told_states};
use super::stage::{Stage, enqueue, new_job, on_both};

const STEPS: usize = 250;

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
                stage.apply(CancelMany { ids, actor: "waits".to_owned(), reason: None }).await;
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
    for (id, state) in told_states(stage).await {
        assert_eq!(stage.state(id).await, state, "{id} and its last event");
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
                if step % 50 == 0 {
                    check(&stage).await;
                }
            }
            let stage = stage.reopen().await;
            check(&stage).await;
            // Everything can come to its end: nothing waits for what never comes.
            for id in &waits.made {
                offer(&stage, Release { id: *id, actor: "waits".to_owned() }).await;
            }
            let is_open = "SELECT count(*) FROM jobs WHERE finished_at_us IS NULL";
            for _ in 0..1_000 {
                if stage.number(is_open).await == 0 {
                    break;
                }
                for claimed in waits.running.drain(..) {
                    stage.end(&claimed, AttemptOutcome::Succeeded).await;
                }
                stage.pass_millis(60_000);
                waits.running.extend(stage.hand.claim(worker, 50).await);
            }
            assert_eq!(stage.number(is_open).await, 0, "something waits for ever");
            check(&stage).await;
        });
    }
}
