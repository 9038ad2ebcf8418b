//! Owns the turns of queries: so many run at once, and no token takes them all. Who waits is served in the order in which
//! the tokens came, one of each at a time. It must never refuse: how long somebody waits is the caller's to say.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The turns of one door. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Turns(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Turns that one token holds at most: half of them, so that there is always one left for somebody else.
    share: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    held: HashMap<i64, usize>,
    /// Tokens of which somebody waits, the next one first.
    order: VecDeque<i64>,
    waiting: HashMap<i64, VecDeque<oneshot::Sender<Turn>>>,
}

/// One turn; given on when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Turns,
    key: i64,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.release(self.key);
    }
}

impl Turns {
    /// So many at once.
    pub(super) fn new(count: usize) -> Turns {
        let (held, order, waiting) = (HashMap::new(), VecDeque::new(), HashMap::new());
        let state = Mutex::new(State { free: count, held, order, waiting });
        Turns(Arc::new(Inner { share: (count / 2).max(1), state }))
    }

    /// Waits for a turn of this token. Dropping it gives the place up.
    pub(super) async fn take(&self, key: i64) -> Turn {
        let waited = {
            let mut state = self.state();
            if state.may_take(key, self.0.share) && !state.waiting.contains_key(&key) {
                state.count(key);
                return Turn { turns: self.clone(), key };
            }
            let (sender, waited) = oneshot::channel();
            if !state.waiting.contains_key(&key) {
                state.order.push_back(key);
            }
            state.waiting.entry(key).or_default().push_back(sender);
            waited
        };
        match waited.await {
            Ok(turn) => turn,
            // A sender is only forgotten when nobody listens.
            Err(_) => std::future::pending().await,
        }
    }

    fn release(&self, key: i64) {
        let mut state = self.state();
        state.free += 1;
        if let Some(held) = state.held.get_mut(&key) {
            *held -= 1;
            if *held == 0 {
                state.held.remove(&key);
            }
        }
        drop(state);
        while let Some((key, sender)) = self.next() {
            // It may have given up just now: then the turn comes back by its drop, and is given on there.
            let _ = sender.send(Turn { turns: self.clone(), key });
        }
    }

    /// Takes a turn for whoever is next.
    fn next(&self) -> Option<(i64, oneshot::Sender<Turn>)> {
        let mut state = self.state();
        loop {
            let place = state.order.iter().position(|key| state.may_take(*key, self.0.share))?;
            let key = state.order.remove(place)?;
            let mut senders = state.waiting.remove(&key).unwrap_or_default();
            // Who gave up is passed over.
            while senders.front().is_some_and(oneshot::Sender::is_closed) {
                senders.pop_front();
            }
            let sender = senders.pop_front();
            if !senders.is_empty() {
                state.order.push_back(key);
                state.waiting.insert(key, senders);
            }
            if let Some(sender) = sender {
                state.count(key);
                return Some((key, sender));
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn may_take(&self, key: i64, share: usize) -> bool {
        self.free > 0 && self.held.get(&key).is_none_or(|held| *held < share)
    }

    fn count(&mut self, key: i64) {
        self.free -= 1;
        *self.held.entry(key).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn no_token_takes_all_and_those_who_wait_are_served_by_turns() {
        let turns = Turns::new(4);
        let mut first = vec![turns.take(1).await, turns.take(1).await];
        // A crowd of the first token, then two of others.
        let mut crowd: Vec<_> = (0..5).map(|_| Box::pin(turns.take(1))).collect();
        assert!(crowd.iter_mut().all(|one| one.as_mut().now_or_never().is_none()), "it has its share");
        let second = turns.take(2).now_or_never().expect("there is always one for somebody else");
        let _other = turns.take(2).now_or_never().expect("and a second one");
        let mut third = Box::pin(turns.take(3));
        assert!(third.as_mut().now_or_never().is_none(), "all four are taken");
        drop(first.pop());
        let mut got = crowd[0].as_mut().now_or_never().expect("it came before the third");
        drop(second);
        assert!(crowd[1].as_mut().now_or_never().is_none(), "the first token has its share again");
        let _third = third.as_mut().now_or_never().expect("the third is next");
        // Who gives up is passed over.
        drop(crowd.remove(1));
        drop(std::mem::replace(&mut got, first.pop().expect("one of two")));
        assert!(crowd[1].as_mut().now_or_never().is_some());
    }

    #[tokio::test]
    async fn nothing_is_kept_of_those_who_are_gone() {
        let turns = Turns::new(1);
        let held = turns.take(1).await;
        let mut gone: Vec<_> = (0..100).map(|key| Box::pin(turns.take(key))).collect();
        assert!(gone.iter_mut().all(|one| one.as_mut().now_or_never().is_none()));
        drop(gone);
        drop(held);
        let state = turns.state();
        assert_eq!((state.free, state.held.len(), state.order.len(), state.waiting.len()), (1, 0, 0, 0));
        drop(state);
        assert!(turns.take(7).now_or_never().is_some());
    }
}
