//! A hundred thousand random sequences a run: after each step the rules and the reference agree on every job.

use beadle::base::random::{Random, SeededRandom, SystemRandom};
use beadle::domain::job::JOB_STATES;
use beadle::domain::lifecycle::may_follow;

use super::reference::{End, Make, Reference, Step};
use super::rules::{OUTCOMES, Rules};

/// Sequences of one run.
const SEQUENCES: u64 = 100_000;
/// Steps of one sequence.
const STEPS: usize = 14;
/// Jobs of one sequence at most.
const JOBS_MAX: usize = 5;

/// Seeds of sequences that once failed. They run first, in every run.
const KEPT_SEEDS: [u64; 2] = [0, 1];

/// Names the sequence when a step of it fails.
struct Named<'a>(u64, &'a mut Vec<Step>);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {} (keep it in KEPT_SEEDS):\n{:#?}", self.0, self.1);
        }
    }
}

/// The numbers of one sequence.
struct Dice {
    random: SeededRandom,
}

impl Dice {
    /// A number below `sides`.
    fn roll(&self, sides: usize) -> usize {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes);
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize % sides
    }

    fn one_in(&self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    fn millis(&self) -> i64 {
        [0, 1, 3_000, 5_000, 10_000, 20_000][self.roll(6)]
    }

    fn make(&self, earlier: usize) -> Make {
        let on: std::collections::BTreeSet<_> = match earlier {
            0 => std::collections::BTreeSet::new(),
            _ => (0..[0, 0, 1, 1, 2][self.roll(5)]).map(|_| self.roll(earlier)).collect(),
        };
        Make {
            is_held: self.one_in(6),
            delay: if self.one_in(3) { self.millis() } else { 0 },
            start_within: self.one_in(4).then(|| 1 + self.millis()),
            on: on.into_iter().collect(),
            runs_anyway: self.one_in(3),
            tries_max: i32::try_from(1 + self.roll(3)).expect("a small number"),
            only_lost: self.one_in(5),
            only_75: self.one_in(5),
            is_restartable: self.one_in(2),
        }
    }

    fn end(&self) -> End {
        // Half of the attempts do what they should, or sequences would end early.
        let outcome = if self.one_in(2) { OUTCOMES[0] } else { OUTCOMES[self.roll(OUTCOMES.len())] };
        End {
            outcome: outcome.word(),
            code: if self.one_in(2) { 75 } else { 1 },
            says_no: self.one_in(8),
            says_after: self.one_in(8).then(|| self.millis()),
        }
    }

    fn step(&self, jobs: usize) -> Step {
        match self.roll(12) {
            _ if jobs == 0 => Step::Make(self.make(0)),
            0..=2 if jobs < JOBS_MAX => Step::Make(self.make(jobs)),
            0..=4 => Step::Look(1 + self.roll(3)),
            5..=7 => Step::End(self.roll(JOBS_MAX), self.end()),
            8 => Step::Cancel(self.roll(jobs)),
            9 => Step::Hold(self.roll(jobs)),
            10 => Step::Release(self.roll(jobs)),
            _ => Step::Pass(self.millis()),
        }
    }
}

/// Plays the sequence of a seed; counts the moves of its jobs.
fn play(seed: u64, moves: &mut std::collections::BTreeMap<(&'static str, &'static str), u64>) {
    let dice = Dice { random: SeededRandom::new(seed) };
    let (mut rules, mut reference) = (Rules::default(), Reference::default());
    let mut steps = Vec::with_capacity(STEPS);
    let named = Named(seed, &mut steps);
    for _ in 0..STEPS {
        named.1.push(dice.step(rules.states().len()));
        let step = &named.1[named.1.len() - 1];
        assert_eq!(rules.apply(step), reference.apply(step), "whether it is accepted");
        assert_eq!(rules.states(), reference.states(), "the rules, and the contract");
        assert_eq!(rules.run_ats(), reference.run_ats(), "when each may start");
    }
    for step in rules.moves {
        *moves.entry(step).or_default() += 1;
    }
}

#[test]
fn the_rules_and_the_contract_agree_after_every_step_of_random_sequences() {
    let mut first = [0; 8];
    SystemRandom.fill(&mut first);
    let first = u64::from_le_bytes(first);
    println!("{SEQUENCES} seeds from {first} on");
    let mut moves = std::collections::BTreeMap::new();
    for seed in KEPT_SEEDS.into_iter().chain((0..SEQUENCES).map(|number| first.wrapping_add(number))) {
        play(seed, &mut moves);
    }
    // A sequence that never gets anywhere proves nothing: every step of the contract was taken often.
    for (from, nexts) in CONTRACT {
        for to in nexts.split_whitespace() {
            let is_by_update = (from, to) == ("QUEUED", "SCHEDULED");
            let count = moves.get(&(from, to)).copied().unwrap_or(0);
            assert!(count > 100 || is_by_update, "{from} to {to} was taken {count} times: {moves:?}");
        }
    }
}

/// The table of the contract, with what holds and changes of waiting jobs add to it.
const CONTRACT: [(&str, &str); 11] = [
    ("HELD", "QUEUED SCHEDULED BLOCKED CANCELLED"),
    ("BLOCKED", "QUEUED SCHEDULED SKIPPED CANCELLED"),
    ("SCHEDULED", "QUEUED CANCELLED EXPIRED HELD"),
    ("QUEUED", "RUNNING CANCELLED EXPIRED HELD SCHEDULED"),
    ("RUNNING", "SUCCEEDED FAILED CANCELLED RETRYING QUEUED"),
    ("RETRYING", "QUEUED CANCELLED"),
    ("SUCCEEDED", ""),
    ("FAILED", ""),
    ("CANCELLED", ""),
    ("EXPIRED", ""),
    ("SKIPPED", ""),
];

#[test]
fn a_job_goes_where_the_contract_says_and_nowhere_else() {
    for from in JOB_STATES {
        let (_, nexts) = CONTRACT.into_iter().find(|(word, _)| *word == from.word()).expect("every state");
        for to in JOB_STATES {
            let is_legal = nexts.split_whitespace().any(|word| word == to.word());
            assert_eq!(may_follow(from, to), is_legal, "{from:?} to {to:?}");
        }
    }
}
