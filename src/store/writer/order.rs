//! Owns which of the changes that wait come into the next turn. One small change that somebody waits for goes ahead of
//! what is long, as a turn with a hundred new jobs takes some milliseconds; whatever waits comes in the end.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// As many jobs as a turn takes together with what is asked for promptly.
const TURN_SIZE: usize = 128;
/// The largest change that is prompt.
const PROMPT_SIZE: usize = 4;
/// For so long behind a prompt change the next one is expected, and turns stay short.
const EXPECTED: Duration = Duration::from_secs(1);

/// What a change means to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    /// Roughly the jobs that it writes, at least one.
    pub(super) size: usize,
    /// Whether somebody outside waits for it.
    pub(super) is_asked: bool,
}

impl Load {
    fn is_prompt(self) -> bool {
        self.is_asked && self.size <= PROMPT_SIZE
    }
}

/// Those that wait, in the order in which they came.
#[derive(Debug)]
pub(super) struct Order<T> {
    waiting: VecDeque<(Load, T)>,
    /// When there was a prompt one the last time.
    prompt_at: Option<Instant>,
    /// Whether the last turn passed the others over.
    is_owed: bool,
}

impl<T> Default for Order<T> {
    fn default() -> Order<T> {
        Order { waiting: VecDeque::new(), prompt_at: None, is_owed: false }
    }
}

impl<T> Order<T> {
    /// It waits behind the others.
    pub(super) fn add(&mut self, load: Load, item: T) {
        self.waiting.push_back((load, item));
    }

    /// How many wait.
    pub(super) fn count(&self) -> usize {
        self.waiting.len()
    }

    /// Those of the next turn: all, when they are few or nobody wants to go ahead. Otherwise the prompt ones alone, and in
    /// the turn behind that a part of the others with what has become prompt meanwhile.
    pub(super) fn next(&mut self, now: Instant) -> Vec<T> {
        let has_prompt = self.waiting.iter().any(|(load, _)| load.is_prompt());
        if has_prompt {
            self.prompt_at = Some(now);
        }
        let is_expected = self.prompt_at.is_some_and(|at| now.saturating_duration_since(at) < EXPECTED);
        let size: usize = self.waiting.iter().map(|(load, _)| load.size).sum();
        if !is_expected || size <= TURN_SIZE {
            self.is_owed = false;
            return self.waiting.drain(..).map(|(_, item)| item).collect();
        }
        self.is_owed = has_prompt && !self.is_owed;
        let (mut turn, mut left, mut taken) = (Vec::new(), VecDeque::new(), 0);
        for (load, item) in self.waiting.drain(..) {
            let fits = !self.is_owed && left.is_empty() && (taken == 0 || taken + load.size <= TURN_SIZE);
            if load.is_prompt() {
                turn.push(item);
            } else if fits {
                taken += load.size;
                turn.push(item);
            } else {
                left.push_back((load, item));
            }
        }
        self.waiting = left;
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::{Clock as _, SystemClock};

    const ASKED: Load = Load { size: 1, is_asked: true };
    const END: Load = Load { size: 1, is_asked: false };
    const MANY: Load = Load { size: 100, is_asked: true };

    fn order(waiting: &[(Load, &'static str)]) -> Order<&'static str> {
        let mut order = Order::default();
        for (load, name) in waiting {
            order.add(*load, *name);
        }
        order
    }

    #[test]
    fn few_come_together_in_their_order() {
        let mut order = order(&[(MANY, "many"), (ASKED, "one"), (END, "end")]);
        assert_eq!(order.next(SystemClock.monotonic()), ["many", "one", "end"]);
        assert_eq!(order.count(), 0);
    }

    #[test]
    fn what_nobody_waits_for_comes_all_at_once() {
        let mut order = order(&[(MANY, "a"), (END, "b"), (MANY, "c"), (MANY, "d")]);
        assert_eq!(order.next(SystemClock.monotonic()), ["a", "b", "c", "d"]);
    }

    #[test]
    fn one_that_is_asked_for_goes_ahead_and_the_others_follow_in_parts() {
        let now = SystemClock.monotonic();
        let mut order = order(&[(MANY, "a"), (END, "b"), (MANY, "c"), (ASKED, "one"), (END, "d")]);
        assert_eq!(order.next(now), ["one"]);
        order.add(ASKED, "two");
        // In its turn the first of the others comes, and who asks meanwhile does not wait for all of them.
        assert_eq!(order.next(now), ["a", "b", "two"]);
        assert_eq!(order.next(now), ["c", "d"]);
        assert_eq!(order.count(), 0);
    }

    #[test]
    fn nobody_is_passed_over_twice_and_a_large_one_comes_alone() {
        let now = SystemClock.monotonic();
        let large = Load { size: 10 * TURN_SIZE, ..MANY };
        let mut order = order(&[(large, "large"), (END, "end"), (ASKED, "one")]);
        assert_eq!(order.next(now), ["one"]);
        order.add(ASKED, "two");
        assert_eq!(order.next(now), ["large", "two"]);
        assert_eq!(order.next(now), ["end"]);
    }

    #[test]
    fn turns_grow_again_when_nobody_has_asked_for_a_while() {
        let now = SystemClock.monotonic();
        let mut order = order(&[(MANY, "a"), (MANY, "b"), (ASKED, "one"), (MANY, "c")]);
        assert_eq!(order.next(now), ["one"]);
        assert_eq!(order.next(now), ["a"]);
        assert_eq!(order.next(now + EXPECTED), ["b", "c"]);
    }
}
