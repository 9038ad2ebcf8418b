//! Chance in tests: it falls otherwise in each run, and its seed is printed so that a run can be repeated.

use beadle::base::random::{Random, SeededRandom, SystemRandom};

/// Chance with a seed that is printed.
pub struct Dice(SeededRandom);

impl Dice {
    /// Dice that fall otherwise in each run.
    pub fn new() -> Dice {
        let mut seed = [0; 8];
        SystemRandom.fill(&mut seed);
        let seed = u64::from_le_bytes(seed);
        println!("seed {seed}");
        Dice(SeededRandom::new(seed))
    }

    /// A number below `sides`.
    pub fn roll(&self, sides: usize) -> usize {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        u32::from_le_bytes(bytes) as usize % sides
    }

    /// A number below `sides`, as most inputs want it.
    pub fn roll_int(&self, sides: usize) -> i32 {
        i32::try_from(self.roll(sides)).expect("a small number")
    }
}
