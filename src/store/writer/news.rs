//! Owns what is known of the end of the feed: the newest event, whoever committed it, and what was committed here, for
//! those who follow it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::store::events::StoredEvent;

/// Events that are kept for those who follow. When they take none of so many, nobody does.
const FOLLOWED_MAX: usize = 2_048;
/// Bytes that they may say.
const FOLLOWED_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What was committed here since the daemon began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OwnNews {
    /// The newest event of ours.
    pub seq: i64,
    /// How many commits left something that another worker has to look at.
    pub calls_count: u64,
}

/// The end of the feed as it is known here.
#[derive(Debug)]
pub(super) struct News {
    newest: watch::Sender<i64>,
    pub(super) own: watch::Sender<OwnNews>,
    followed: Mutex<Followed>,
}

/// The newest events that were committed here, while somebody takes them.
#[derive(Debug, Default)]
struct Followed {
    is_wanted: bool,
    events: VecDeque<StoredEvent>,
    bytes: usize,
}

impl News {
    /// The feed ends with this event.
    pub(super) fn new(newest: i64) -> News {
        News { newest: watch::Sender::new(newest), own: watch::Sender::default(), followed: Mutex::default() }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<i64> {
        self.newest.subscribe()
    }

    pub(super) fn newest(&self) -> i64 {
        *self.newest.borrow()
    }

    /// This event was committed. What comes late changes nothing.
    pub(super) fn advance(&self, seq: i64) {
        self.newest.send_if_modified(|newest| {
            let is_news = seq > *newest;
            *newest = seq.max(*newest);
            is_news
        });
    }

    /// Whether somebody follows what is committed here.
    pub(super) fn is_followed(&self) -> bool {
        self.followed().is_wanted
    }

    /// What was committed here right behind `after`, up to `newest`; nothing when something is missing in between. Whoever
    /// asks is taken for one who follows.
    pub(super) fn take(&self, after: i64, newest: i64) -> Vec<StoredEvent> {
        let mut followed = self.followed();
        followed.is_wanted = true;
        let (mut taken, mut last) = (Vec::new(), after);
        while let Some(event) = followed.events.front() {
            if event.seq > newest || event.seq > last + 1 {
                break;
            }
            let Some(event) = followed.events.pop_front() else { break };
            followed.bytes -= event.data.len();
            if event.seq > last {
                last = event.seq;
                taken.push(event);
            }
        }
        taken
    }

    fn follow(&self, events: Vec<StoredEvent>) {
        let mut followed = self.followed();
        followed.bytes += events.iter().map(|event| event.data.len()).sum::<usize>();
        followed.events.extend(events);
        if followed.events.len() > FOLLOWED_MAX || followed.bytes > FOLLOWED_BYTES_MAX {
            *followed = Followed::default();
        }
    }

    fn followed(&self) -> MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// We committed the event of this number, the newest one of a transaction, if it had any; those who follow get them all.
    pub(super) fn commit(&self, last: Option<i64>, events: Vec<StoredEvent>, calls_others: bool) {
        self.follow(events);
        if let Some(seq) = last {
            self.advance(seq);
        }
        if last.is_some() || calls_others {
            self.own.send_modify(|own| {
                own.seq = last.unwrap_or(own.seq);
                own.calls_count += u64::from(calls_others);
            });
        }
    }
}
