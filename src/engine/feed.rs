//! Owns the live feed: replays events from a cursor and goes on with new ones, without a hole or a repeat.
//! The store is the bus: a subscriber holds a number, never a buffer, so it cannot slow a writer.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::stream::{self, Stream};
use tokio::sync::watch;

use super::{Engine, Parts, recent};
use crate::base::metrics::Place;
use crate::base::task::panic_message;
use crate::base::{clock, points};
use crate::domain::event::{EventBatch, EventCursor};
use crate::domain::filter::EventFilter;
use crate::domain::limits::EVENT_PAGE_MAX;
use crate::store::Fault;
use crate::store::events::EventPage;

/// An idle stream moves its cursor on at least this often.
pub const BOOKMARK_EVERY: Duration = Duration::from_secs(15);
/// A subscriber that takes longer than this for one batch is slow: a batch has a bounded size, and one that takes no
/// byte at all is cut by the door after as long.
const SLOW_AFTER: Duration = Duration::from_secs(10);
/// A slow subscriber that is this many events behind is cut.
const SLOW_BEHIND: i64 = 10_000;

/// A tail that panics is set up anew after this pause, and given up when it does so this often for one batch.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
pub(super) const PANICS_MAX: usize = 5;

/// Why a stream ended early. Each tells where to go on.
#[derive(Debug, Clone)]
pub enum StreamEnd {
    /// The cursor is of another store, or what lies behind it is no longer kept.
    Expired {
        /// The oldest position that can be resumed at.
        oldest: EventCursor,
        /// The newest position.
        latest: EventCursor,
    },
    /// The subscriber does not keep up.
    Slow {
        /// Where to go on.
        resume_after: EventCursor,
    },
    /// We failed.
    Fault(Fault),
}

impl From<Fault> for StreamEnd {
    fn from(fault: Fault) -> StreamEnd {
        StreamEnd::Fault(fault)
    }
}

/// Whether a subscriber that took so long for a batch, and is so many events behind, is cut. One that is only
/// behind is replaying; one that is only slow costs nothing.
fn is_slow(took: Duration, behind: i64) -> bool {
    took > SLOW_AFTER && behind > SLOW_BEHIND
}

/// What a stream is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Reading what was there before it came.
    Replay,
    /// Following what is committed.
    Live,
}

/// For whom a stream of events is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// One subscriber.
    One,
    /// All who ask the same: each of them is counted elsewhere.
    All,
    /// One who goes up to this event and then on with the others.
    OneUntil(i64),
}

/// Where a stream of events stands.
struct Tail {
    engine: Engine,
    filter: EventFilter,
    news: watch::Receiver<i64>,
    seen: i64,
    readers: For,
    /// Where it stands, for the daemon's numbers.
    place: Option<Place>,
    pace: Pace,
    /// When the last batch was handed over.
    handed_at: Option<std::time::Instant>,
}

impl Engine {
    /// Checks that a stream can go on behind `after`.
    pub async fn check_cursor(&self, after: EventCursor) -> Result<(), StreamEnd> {
        let epoch = self.reader.epoch();
        let oldest = self.reader.oldest_event().await?;
        if self.sharing.is_some() && after.seq > self.writer.cursor().seq {
            // Another worker gave it, of whose commit we have not heard yet.
            self.writer.saw(self.own.newest_event().await?);
        }
        let latest = self.writer.cursor();
        // Everything up to the event before the oldest kept one may be gone; in an emptied feed everything is.
        let seq = if oldest == 0 { latest.seq } else { oldest - 1 };
        let oldest = EventCursor { epoch, seq };
        if after.epoch == epoch && (oldest.seq..=latest.seq).contains(&after.seq) {
            return Ok(());
        }
        Err(StreamEnd::Expired { oldest, latest })
    }

    /// Checks that a cursor is of this feed, and says whether all behind it is kept.
    pub async fn keeps(&self, after: EventCursor) -> Result<bool, StreamEnd> {
        match self.check_cursor(after).await {
            Err(StreamEnd::Expired { oldest, .. })
                if after.epoch == oldest.epoch && after.seq < oldest.seq =>
            {
                Ok(false)
            }
            checked => checked.map(|()| true),
        }
    }

    /// Every event behind `after` that fits the filter, then new ones as they are committed.
    pub async fn events(
        &self,
        after: Option<EventCursor>,
        filter: EventFilter,
        readers: For,
    ) -> Result<impl Stream<Item = Result<EventBatch, StreamEnd>> + Send + use<>, StreamEnd> {
        let news = self.writer.newest();
        let seen = match after {
            Some(after) => {
                self.check_cursor(after).await?;
                after.seq
            }
            None => *news.borrow(),
        };
        let place = (readers == For::One).then(|| self.metrics.subscriber(seen));
        let engine = self.clone();
        let tail = Tail { engine, filter, news, seen, readers, place, pace: Pace::Replay, handed_at: None };
        Ok(stream::unfold(Some(tail), |tail| async move {
            let mut tail = tail?;
            match tail.next_or_anew().await {
                Ok(batch) => Some((Ok(batch?), Some(tail))),
                Err(end) => Some((Err(end), None)),
            }
        }))
    }
}

impl Tail {
    /// The next batch; `None` when there is none up to the end. A panic on the way costs the subscriber nothing: it goes on behind what it was given.
    async fn next_or_anew(&mut self) -> Result<Option<EventBatch>, StreamEnd> {
        let given = self.seen;
        for _ in 0..PANICS_MAX {
            let payload = match AssertUnwindSafe(self.next()).catch_unwind().await {
                Ok(outcome) => return outcome,
                Err(payload) => payload,
            };
            begin_anew(&self.engine, panic_message(payload.as_ref())).await;
            self.seen = given;
        }
        Err(given_up())
    }

    async fn next(&mut self) -> Result<Option<EventBatch>, StreamEnd> {
        self.check_pace()?;
        let began = self.engine.clock.monotonic();
        loop {
            points::reach("feed.tick");
            let newest = *self.news.borrow_and_update();
            let newest = self.until().map_or(newest, |until| newest.min(until));
            if self.seen < newest {
                let page = self.page(newest).await?;
                self.seen = page.seen;
                if let Some(place) = &self.place {
                    place.reached(page.seen);
                }
                if !page.events.is_empty() {
                    return Ok(Some(self.hand_over(page.events, page.has_more)));
                }
                // Also while there is always something, of which nothing fits.
                if self.engine.clock.monotonic().duration_since(began) >= BOOKMARK_EVERY {
                    return Ok(Some(self.hand_over(Vec::new(), page.has_more)));
                }
                if page.has_more {
                    continue;
                }
            }
            if self.until().is_some_and(|until| until <= self.seen) {
                return Ok(None);
            }
            self.pace = Pace::Live;
            let left = BOOKMARK_EVERY.saturating_sub(self.engine.clock.monotonic().duration_since(began));
            let changed = async {
                tokio::select! {
                    changed = self.news.changed() => Ok(changed),
                    fault = self.engine.writer.lost() => Err(fault),
                }
            };
            match clock::within(left, changed).await.transpose()? {
                Some(Ok(())) => {}
                // The writer is gone: the door closes the stream.
                Some(Err(_)) => return Err(Fault::new(crate::store::FaultKind::Stopping, "stopping").into()),
                None => return Ok(Some(self.hand_over(Vec::new(), false))),
            }
        }
    }

    /// The next page up to `newest`: of the events in memory, else of the store, in its turn.
    async fn page(&self, newest: i64) -> Result<EventPage, StreamEnd> {
        let Parts { recent, writer, reader, .. } = &*self.engine;
        if let Some(page) = recent.held((writer, reader), self.seen, newest, &self.filter).await? {
            return Ok(page);
        }
        let _turn = recent.turn().await;
        let page = reader.stored_events_after(self.seen, newest, &self.filter, EVENT_PAGE_MAX).await?;
        // Retention may have overtaken us: what is still there now was there when we read.
        let here = EventCursor { epoch: reader.epoch(), seq: self.seen };
        self.engine.check_cursor(here).await?;
        Ok(recent::shortened(page).read(reader.epoch())?)
    }

    /// Where the stream ends.
    fn until(&self) -> Option<i64> {
        match self.readers {
            For::OneUntil(seq) => Some(seq),
            For::One | For::All => None,
        }
    }

    fn check_pace(&self) -> Result<(), StreamEnd> {
        // Of many, each is judged for itself.
        let Some(handed_at) = self.handed_at.filter(|_| self.readers != For::All) else { return Ok(()) };
        let took = self.engine.clock.monotonic().duration_since(handed_at);
        if is_slow(took, *self.news.borrow() - self.seen) {
            self.engine.metrics.subscriber_cut();
            let resume_after = EventCursor { epoch: self.engine.reader.epoch(), seq: self.seen };
            return Err(StreamEnd::Slow { resume_after });
        }
        Ok(())
    }

    fn hand_over(&mut self, events: Vec<crate::domain::event::Event>, has_more: bool) -> EventBatch {
        self.handed_at = Some(self.engine.clock.monotonic());
        if let Some(newest) = events.last().filter(|_| self.pace == Pace::Live) {
            self.engine.metrics.handed_over(self.engine.clock.now().since(newest.at));
        }
        let cursor = EventCursor { epoch: self.engine.reader.epoch(), seq: self.seen };
        EventBatch { events, cursor, has_more_past_events: has_more }
    }
}

/// Notes that a subscription panicked, and holds it back for a moment: it may begin anew then.
pub(super) async fn begin_anew(engine: &Engine, words: String) {
    let message = format!("panicked: {words}");
    tracing::error!(part = "feed", "a subscription is set up anew: {message}");
    engine.health.count_restart("feed", &message, engine.clock.now());
    clock::sleep(RESTART_PAUSE).await;
}

/// The end of a subscription for which setting it up anew did not help.
pub(super) fn given_up() -> StreamEnd {
    Fault::bug("a subscription panicked again and again").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_subscriber_that_is_slow_and_far_behind_is_cut() {
        let moment = Duration::from_millis(1);
        assert!(is_slow(SLOW_AFTER + moment, SLOW_BEHIND + 1));
        assert!(!is_slow(SLOW_AFTER, SLOW_BEHIND + 1));
        assert!(!is_slow(SLOW_AFTER + moment, SLOW_BEHIND));
        assert!(!is_slow(moment, i64::MAX));
    }
}
