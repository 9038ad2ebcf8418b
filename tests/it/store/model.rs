//! A few hundred changes in random order, beside a model that only knows what the store answered.

use std::collections::BTreeMap;

use beadle::base::random::{Random, SeededRandom, SystemRandom};
use beadle::domain::attempt::AttemptOutcome;
use beadle::domain::event::EventType;
use beadle::domain::filter::EventFilter;
use beadle::domain::id::{JobId, WorkerId};
use beadle::domain::job::JobState;
use beadle::domain::lifecycle::may_follow;
use beadle::domain::new_job::NewJob;
use beadle::domain::retry::RetryPolicy;
use beadle::store::claim::Claimed;
use beadle::store::ends::Settled;
use beadle::store::queues::QueueAction;
use beadle::store::transition::Cancel;
use beadle::store::writer::Refusal;

use super::stage::{Stage, enqueue, new_job_in, on_both};

const STEPS: usize = 300;
const QUEUES: [&str; 3] = ["default", "red", "blue"];
const OUTCOMES: [AttemptOutcome; 7] = [
    AttemptOutcome::Succeeded,
    AttemptOutcome::Exited,
    AttemptOutcome::Signaled,
    AttemptOutcome::TimedOut,
    AttemptOutcome::Lost,
    AttemptOutcome::Interrupted,
    AttemptOutcome::Cancelled,
];

/// What the answers say so far.
struct Model {
    dice: SeededRandom,
    worker: WorkerId,
    states: BTreeMap<JobId, JobState>,
    running: Vec<Claimed>,
    ended: Vec<Claimed>,
}

impl Model {
    /// A number below `sides`.
    fn roll(&self, sides: usize) -> usize {
        let mut bytes = [0; 4];
        self.dice.fill(&mut bytes);
        u32::from_le_bytes(bytes) as usize % sides
    }

    fn roll_millis(&self, below: usize) -> i64 {
        i64::try_from(self.roll(below)).expect("a small number")
    }

    fn job(&self, stage: &Stage) -> NewJob {
        let now = beadle::base::clock::Clock::now(stage.clock.as_ref());
        let max_attempts = i32::try_from(1 + self.roll(3)).expect("a small number");
        NewJob {
            priority: i32::try_from(self.roll(201)).expect("a small number") - 100,
            is_restartable: self.roll(2) == 0,
            run_at: (self.roll(3) == 0).then(|| now.plus_millis(1 + self.roll_millis(20_000))),
            retry_policy: RetryPolicy { max_attempts, ..RetryPolicy::default() },
            ..new_job_in(QUEUES[self.roll(QUEUES.len())])
        }
    }

    async fn step(&mut self, stage: &Stage) {
        match self.roll(10) {
            0..=2 => {
                let jobs = (0..=self.roll(3)).map(|_| self.job(stage)).collect();
                for made in stage.apply(enqueue(jobs)).await {
                    let id = made.expect("the job is good").id;
                    self.states.insert(id, stage.state(id).await);
                }
            }
            3..=4 => {
                for claimed in stage.hand.claim(self.worker, 1 + self.roll(4)).await {
                    self.states.insert(claimed.job.id, JobState::Running);
                    self.running.push(claimed);
                }
            }
            5..=6 if !self.running.is_empty() => {
                let claimed = self.running.swap_remove(self.roll(self.running.len()));
                let outcome = OUTCOMES[self.roll(OUTCOMES.len())];
                let Settled::Job(settled) = stage.end(&claimed, outcome).await else {
                    panic!("it was running")
                };
                self.states.insert(claimed.job.id, settled);
                self.ended.push(claimed);
            }
            7 if !self.ended.is_empty() => {
                let claimed = &self.ended[self.roll(self.ended.len())];
                assert_eq!(stage.end(claimed, OUTCOMES[self.roll(OUTCOMES.len())]).await, Settled::Stale);
            }
            8 if !self.states.is_empty() => self.cancel(stage).await,
            _ => self.disturb(stage).await,
        }
    }

    async fn cancel(&mut self, stage: &Stage) {
        let at = self.roll(self.states.len());
        let id = *self.states.keys().nth(at).expect("rolled among them");
        let is_final = self.states[&id].is_final();
        match stage.hand.writer.apply(Cancel { id, actor: "model".to_owned(), reason: None }).await {
            Ok(_) if self.states[&id] == JobState::Running => {}
            Ok(_) => {
                assert!(!is_final, "{id} was final");
                self.states.insert(id, JobState::Cancelled);
            }
            Err(Refusal::Rejected(_)) => assert!(is_final, "{id} could have been cancelled"),
            Err(Refusal::Fault(fault)) => panic!("{fault}"),
        }
    }

    async fn disturb(&self, stage: &Stage) {
        stage.pass_millis(self.roll_millis(8_000));
        let queue = QUEUES[self.roll(QUEUES.len())];
        match self.roll(6) {
            0 => stage.change_queue(queue, QueueAction::Pause { reason: None }).await,
            1 | 2 => stage.change_queue(queue, QueueAction::Resume).await,
            3 => stage.put_queue(queue, (self.roll(2) == 0).then_some(2)).await,
            _ => {}
        }
    }

    async fn check(&self, stage: &Stage) {
        assert_counts(stage).await;
        let last = told_states(stage).await;
        for (id, told) in &self.states {
            let job = stage.job(*id).await;
            assert_eq!(Some(&job.state), last.get(id), "{id} and its last event");
            // Only time moves a job without an answer.
            let is_promoted =
                matches!(told, JobState::Scheduled | JobState::Retrying) && job.state == JobState::Queued;
            assert!(job.state == *told || is_promoted, "{id} is {:?}, the answer was {told:?}", job.state);
        }
        assert_eq!(last.len(), self.states.len());
        let running = stage.number("SELECT count(*) FROM attempts WHERE outcome IS NULL").await;
        assert_eq!(usize::try_from(running).ok(), Some(self.running.len()));
    }
}

/// The kept counts are those of the rows.
pub async fn assert_counts(stage: &Stage) {
    for queue in QUEUES {
        for state in beadle::domain::job::JOB_STATES {
            let at = format!("queue = '{queue}' AND state = '{}'", state.word());
            let rows = stage.number(&format!("SELECT count(*) FROM jobs WHERE {at}")).await;
            let kept =
                format!("SELECT CAST(coalesce(sum(job_count), 0) AS BIGINT) FROM job_counts WHERE {at}");
            assert_eq!(stage.number(&kept).await, rows, "the count of {at}");
        }
    }
}

/// The state of each job by its last event; every event goes on where the one before ended, by a legal step.
pub async fn told_states(stage: &Stage) -> BTreeMap<JobId, JobState> {
    let mut last: BTreeMap<JobId, JobState> = BTreeMap::new();
    for event in stage.events(&EventFilter::default()).await {
        let Some(id) = event.job_id else { continue };
        let word = |key: &str| event.data.0[key].as_str().and_then(JobState::from_word);
        match event.kind {
            EventType::JobCreated => assert_eq!(last.insert(id, word("state").expect("a state")), None),
            EventType::JobStateChanged => {
                let (from, to) = (word("from").expect("a state"), word("to").expect("a state"));
                assert_eq!(last.insert(id, to), Some(from), "{id} came from elsewhere");
                assert!(from == to || may_follow(from, to), "{id} went from {from:?} to {to:?}");
            }
            _ => {}
        }
    }
    last
}

#[test]
fn counts_states_and_events_agree_after_any_sequence_of_changes() {
    let mut seed = [0; 8];
    SystemRandom.fill(&mut seed);
    for seed in [1, 2, u64::from_le_bytes(seed)] {
        on_both(async |stage| {
            println!("seed {seed}");
            stage.put_queue("red", Some(2)).await;
            stage.put_queue("blue", None).await;
            let worker = stage.worker().await;
            let dice = SeededRandom::new(seed);
            let (states, running, ended) = (BTreeMap::new(), Vec::new(), Vec::new());
            let mut model = Model { dice, worker, states, running, ended };
            for step in 1..=STEPS {
                model.step(&stage).await;
                if step % 100 == 0 {
                    model.check(&stage).await;
                }
            }
            let stage = stage.reopen().await;
            model.check(&stage).await;
        });
    }
}
