//! Owns what is known of the end of the feed: the newest event, whoever committed it, and what was committed here.

use tokio::sync::watch;

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
}

impl News {
    /// The feed ends with this event.
    pub(super) fn new(newest: i64) -> News {
        News { newest: watch::Sender::new(newest), own: watch::Sender::default() }
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

    /// We committed this event, the newest one of a transaction, if it had any.
    pub(super) fn commit(&self, last: Option<i64>, calls_others: bool) {
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
