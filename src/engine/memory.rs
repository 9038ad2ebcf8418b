//! Owns what is done when a load is over: the memory that it took goes back to the system. It must never do so while
//! there is work.

use std::time::Duration;

use super::Engine;
use crate::base::{clock, memory, points, process};

/// Between two looks at how much the daemon does.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Processor time between two looks of a daemon that has nothing to do.
const QUIET_MAX: Duration = Duration::from_millis(250);
/// Looks in a row without work before a load is over.
const QUIET_LOOKS: u32 = 2;
/// Processor time of what counts as a load: less leaves nothing behind.
const LOAD_MIN: Duration = Duration::from_secs(1);

/// Gives back what each load leaves, until the shutdown begins.
pub async fn run(engine: Engine) -> Result<(), String> {
    let mut tide = Tide { seen: process::cpu_time(), ..Tide::default() };
    loop {
        points::reach("memory.tick");
        tokio::select! {
            () = clock::sleep(LOOK_EVERY) => {}
            () = engine.shutdown.begun() => return Ok(()),
        }
        if tide.has_gone_out(process::cpu_time()) {
            engine.care.forget_pages().await;
            engine.logs.forget_pages().await;
            tokio::task::spawn_blocking(memory::give_back).await.map_err(|error| error.to_string())?;
        }
    }
}

/// How the work comes and goes, by the processor time of the process.
#[derive(Debug, Default)]
struct Tide {
    seen: Duration,
    /// Of the load that nothing was done about.
    load: Duration,
    quiet_looks: u32,
}

impl Tide {
    /// Whether a load is over. Says so once.
    fn has_gone_out(&mut self, spent: Duration) -> bool {
        let used = spent.saturating_sub(self.seen);
        self.seen = spent;
        if used > QUIET_MAX {
            self.load += used;
            self.quiet_looks = 0;
            return false;
        }
        self.quiet_looks += 1;
        let is_over = self.quiet_looks >= QUIET_LOOKS && self.load >= LOAD_MIN;
        if is_over {
            self.load = Duration::ZERO;
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_over_once_and_only_when_it_was_one() {
        let mut tide = Tide::default();
        let mut spent = Duration::ZERO;
        let mut look = |millis| {
            spent += Duration::from_millis(millis);
            tide.has_gone_out(spent)
        };
        let looks = [100, 300, 0, 0, 0, 900, 200, 900, 10, 10, 10, 10, 2_000, 0, 0];
        let over: Vec<usize> = (0..looks.len()).filter(|at| look(looks[*at])).collect();
        assert_eq!(over, [9, 14], "the first was too little, the second had a pause in it");
    }
}
