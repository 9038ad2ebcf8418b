//! Owns the way of the feed to one sink: read behind its position, tell what it wants, move the position. At least
//! once: what was told and not yet written is told again after a crash, under the same id.
//!
//! A sink that takes nothing is tried again in place, with growing pauses, and nothing behind is lost meanwhile. What
//! it refuses for good is a dead letter, and the way goes on. One event that is answered with an error again and again
//! is a dead letter when the next one is taken while it is not.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::parts::Parts;
use super::{Outlet, health_name, spans};
use crate::base::clock;
use crate::base::points;
use crate::domain::backoff;
use crate::domain::duration::Span;
use crate::domain::event::Event;
use crate::domain::filter::EventFilter;
use crate::domain::health::HealthStatus;
use crate::domain::limits::EVENT_PAGE_MAX;
use crate::domain::sink::DeadLetter;
use crate::engine::lease::Term;
use crate::engine::{Engine, supervisor};
use crate::notify::Told;
use crate::notify::delivery::{Answer, Blame};
use crate::store::Fault;
use crate::store::sinks::MoveSink;
use crate::store::writer::Refusal;

mod again;
mod hold;

/// The position is written at most this often.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// News are gathered for so long before they are read: a look costs a statement.
const GATHER: Duration = Duration::from_millis(50);
/// The first pause before a next try, in milliseconds; doubles up to the last.
const PAUSE_FIRST_MILLIS: i64 = 1_000;
const PAUSE_LAST_MILLIS: i64 = 300_000;
/// Tries in vain, or events refused, in a row before its health says so.
const DEGRADED_AFTER: u32 = 3;
/// Tries that are answered with an error before the next event is tried in place of this one.
const SICK_TRIES: u32 = 5;
/// Pause of a part that cannot write its position.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Why there is nothing more to do now.
#[derive(Debug)]
enum Halt {
    /// The daemon stops.
    Stopping,
    /// Another daemon tells the sink, or may: where it stands is asked anew.
    Late,
    /// The store failed.
    Fault(Fault),
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Halt {
        Halt::Fault(fault)
    }
}

type Step<T> = Result<T, Halt>;

/// What a sink takes of an event that it has refused for a while and the next one.
enum Tried {
    None,
    OnlyNext,
    Both,
}

/// Tells a sink the feed until the shutdown begins.
pub(super) async fn run(engine: Engine, outlet: Arc<Outlet>) -> Result<(), String> {
    let mut post = Post::open(engine, outlet).await.map_err(|fault| fault.to_string())?;
    let ended = post.work().await;
    // What was told is written, so that it is not told again.
    let _ = post.save_once().await;
    match ended {
        Ok(()) | Err(Halt::Stopping | Halt::Late) => Ok(()),
        Err(Halt::Fault(fault)) => Err(fault.to_string()),
    }
}

/// Where the way to one sink stands.
struct Post {
    engine: Engine,
    outlet: Arc<Outlet>,
    /// Everything up to here was told, or is not wanted.
    seen: i64,
    /// What is to be written: `from` is the position in the store.
    unsaved: MoveSink,
    saved_at: Instant,
    again_at: Instant,
    /// Tries in vain since the last success.
    vain_count: u32,
    /// Events refused since the last success.
    refused_count: u32,
    /// Whether its health says that it takes nothing.
    is_degraded: bool,
    /// An event behind one that is not taken, which was told out of turn.
    ahead: Option<i64>,
    /// What it has taken a part of.
    parts: Parts,
    /// What it has no place for, as people were told.
    lacking: Option<String>,
    /// Tries in vain of dead letters that were put back, by their number.
    again_vain: HashMap<i64, u32>,
    /// Since when this worker is the one who tells it, where there are several.
    term: Option<Term>,
}

impl Post {
    async fn open(engine: Engine, outlet: Arc<Outlet>) -> Result<Post, Fault> {
        let now = engine.clock.monotonic();
        let mut post = Post {
            engine,
            outlet,
            seen: 0,
            unsaved: MoveSink::default(),
            saved_at: now,
            again_at: now,
            vain_count: 0,
            refused_count: 0,
            is_degraded: false,
            ahead: None,
            parts: Parts::default(),
            lacking: None,
            again_vain: HashMap::new(),
            term: None,
        };
        post.reload().await?;
        post.count_forgotten().await?;
        Ok(post)
    }

    /// Takes the position from the store.
    async fn reload(&mut self) -> Result<(), Fault> {
        let name = self.outlet.name.clone();
        let row = self.engine.own.sink(&name).await?;
        let row = row.ok_or_else(|| Fault::bug(format!("the sink {name} is not listed")))?;
        let failing = row.failing_since.map(|since| (since, row.failure.unwrap_or_default()));
        let (from, to) = (row.position.seq, row.position.seq);
        self.unsaved = MoveSink { name, from, to, failing, ..MoveSink::default() };
        self.seen = from;
        Ok(())
    }

    /// Goes on where the feed begins, when it has forgotten what was not told yet.
    async fn count_forgotten(&mut self) -> Result<(), Fault> {
        let newest = self.newest().await?;
        let oldest = self.engine.own.oldest_event().await?;
        // In an emptied feed everything is gone.
        let begin = if oldest == 0 { newest } else { oldest - 1 };
        if self.seen < begin {
            tracing::warn!(
                sink = self.outlet.name,
                events = begin - self.seen,
                "the feed has forgotten events before the sink was told"
            );
            self.unsaved.dropped_count += begin - self.seen;
            self.seen = begin;
        }
        Ok(())
    }

    async fn newest(&self) -> Result<i64, Fault> {
        let known = self.engine.writer.cursor().seq;
        // Another daemon on the same database commits events that our writer does not know.
        Ok(if known > self.seen { known } else { self.engine.own.newest_event().await? })
    }

    async fn work(&mut self) -> Step<()> {
        loop {
            match self.follow().await {
                Err(Halt::Late) => {
                    tracing::info!(sink = self.outlet.name, "another daemon may tell this sink too");
                    self.term = None;
                    // How it goes is the other one's to say.
                    (self.vain_count, self.refused_count) = (0, 0);
                    if std::mem::take(&mut self.is_degraded) {
                        self.report(HealthStatus::Ok, self.lacking.clone());
                    }
                    self.reload().await?;
                }
                ended => return ended,
            }
        }
    }

    /// Tells the feed as long as it is ours to tell.
    async fn follow(&mut self) -> Step<()> {
        let mut news = self.engine.writer.newest();
        loop {
            news.borrow_and_update();
            points::reach("sink.look");
            if !self.hold().await? {
                self.pause(self.engine.settings.poll_interval).await?;
                continue;
            }
            self.tell_again().await?;
            let has_more = self.look().await?;
            if self.engine.clock.monotonic().duration_since(self.saved_at) >= SAVE_EVERY {
                self.save().await?;
            }
            if has_more {
                continue;
            }
            let rest = if self.is_dirty() { SAVE_EVERY } else { self.engine.settings.poll_interval };
            tokio::select! {
                changed = news.changed() => if changed.is_err() { return Err(Halt::Stopping) },
                () = clock::sleep(rest) => {}
                () = self.engine.shutdown.begun() => return Err(Halt::Stopping),
            }
            self.pause(GATHER).await?;
        }
    }

    /// Reads the next events and tells those that are wanted; gives true when there are more at once.
    async fn look(&mut self) -> Step<bool> {
        let newest = self.newest().await?;
        if self.seen >= newest {
            return Ok(false);
        }
        if newest - self.seen > i64::try_from(EVENT_PAGE_MAX).unwrap_or(i64::MAX) {
            self.count_forgotten().await?;
        }
        let filter = EventFilter { types: self.outlet.filter.types(), ..EventFilter::default() };
        let page = self.engine.own.events_after(self.seen, newest, &filter, EVENT_PAGE_MAX).await?;
        let wanted: Vec<Event> =
            page.events.into_iter().filter(|event| self.outlet.filter.wants(event)).collect();
        for events in wanted.chunks(self.outlet.target.events_max()) {
            self.tell(events).await?;
            if self.engine.clock.monotonic().duration_since(self.saved_at) >= SAVE_EVERY {
                self.save().await?;
            }
        }
        self.seen = self.seen.max(page.seen);
        Ok(page.has_more)
    }

    /// Tells these events, however long it takes; or makes dead letters of them.
    async fn tell(&mut self, events: &[Event]) -> Step<()> {
        let (mut tries, mut answered) = (0u32, 0u32);
        let mut looked = events.last().map_or(0, |event| event.cursor.seq);
        loop {
            self.keep_turn().await?;
            if matches!(events, [one] if self.ahead == Some(one.cursor.seq)) {
                self.ahead = None;
                return self.done(events);
            }
            let (why, after, blame) = match self.send(events).await? {
                Answer::Delivered => {
                    self.count_delivered(events.len());
                    return self.done(events);
                }
                Answer::Refused { why, is_final } => {
                    return self.refused(events, &why, tries + 1, is_final).await;
                }
                Answer::Later { why, after, blame } => (why, after, blame),
            };
            tries = tries.saturating_add(1);
            answered += u32::from(blame == Blame::Message);
            self.failed(&why).await?;
            if answered >= SICK_TRIES {
                if events.len() > 1 {
                    return self.tell_singly(events).await;
                }
                match self.try_next(events, &mut looked).await? {
                    Tried::OnlyNext => return self.refused(events, &why, tries + 2, false).await,
                    Tried::Both => {
                        self.count_delivered(events.len());
                        return self.done(events);
                    }
                    Tried::None => {}
                }
            }
            self.pause(self.rest(after)).await?;
        }
    }

    async fn tell_singly(&mut self, events: &[Event]) -> Step<()> {
        for one in events.chunks(1) {
            Box::pin(self.tell(one)).await?;
        }
        Ok(())
    }

    /// What is refused together is tried alone, unless each was refused, and what is refused alone is a dead letter.
    async fn refused(&mut self, events: &[Event], why: &str, try_count: u32, is_final: bool) -> Step<()> {
        if events.len() > 1 && !is_final {
            return self.tell_singly(events).await;
        }
        for event in events {
            tracing::warn!(sink = self.outlet.name, event = %event.cursor, "an event was refused: {why}");
            self.bury(event.clone(), why, try_count);
        }
        // It answers: there is nothing wrong with the way. But a wrong token would be refused just so.
        self.vain_count = 0;
        self.unsaved.failing = None;
        self.refused_count =
            self.refused_count.saturating_add(u32::try_from(events.len()).unwrap_or(u32::MAX));
        if self.refused_count >= DEGRADED_AFTER {
            self.degrade(format!("it refuses what it is told: {why}"));
        }
        self.done(events)
    }

    fn bury(&mut self, event: Event, why: &str, try_count: u32) {
        let try_count = i32::try_from(try_count).unwrap_or(i32::MAX);
        let created_at = self.engine.clock.now();
        self.unsaved.dead.push(DeadLetter {
            event,
            failure: why.to_owned(),
            try_count,
            created_at,
            redeliver_at: None,
        });
    }

    /// Tries the next event, which is behind `looked`, and then this one once more.
    async fn try_next(&mut self, events: &[Event], looked: &mut i64) -> Step<Tried> {
        let Some(next) = self.next_wanted(looked).await? else { return Ok(Tried::None) };
        if self.send(std::slice::from_ref(&next)).await? != Answer::Delivered {
            return Ok(Tried::None);
        }
        self.count_delivered(1);
        self.ahead = Some(next.cursor.seq);
        // Perhaps it had just become well.
        Ok(if self.send(events).await? == Answer::Delivered { Tried::Both } else { Tried::OnlyNext })
    }

    /// The first event behind `looked` that is wanted, however far off it is; `looked` moves over those that are not.
    async fn next_wanted(&self, looked: &mut i64) -> Step<Option<Event>> {
        let newest = self.engine.own.newest_event().await?;
        let filter = EventFilter { types: self.outlet.filter.types(), ..EventFilter::default() };
        loop {
            let page = self.engine.own.events_after(*looked, newest, &filter, EVENT_PAGE_MAX).await?;
            if let Some(next) = page.events.into_iter().find(|event| self.outlet.filter.wants(event)) {
                return Ok(Some(next));
            }
            *looked = page.seen;
            if !page.has_more {
                return Ok(None);
            }
            if self.engine.shutdown.is_begun() {
                return Err(Halt::Stopping);
            }
        }
    }

    /// One try. A shutdown does not wait for it: what was not seen to be taken is told again by the next daemon.
    async fn send(&mut self, events: &[Event]) -> Step<Answer> {
        let spoken = if self.outlet.target.takes_spans() {
            spans::of(&self.engine, events).await?
        } else {
            (HashMap::new(), Vec::new())
        };
        let (asked, spans) = &spoken;
        let now = self.engine.clock.now();
        let mut requests = self.outlet.target.requests(&Told { events, asked, spans, now });
        let count = requests.len();
        requests.retain(|request| self.parts.is_due(request.part, events));
        let has_taken = requests.len() < count;
        tokio::select! {
            sent = self.outlet.courier.send(requests, now) => {
                points::reach("sink.sent");
                let answer = self.parts.judge(events, has_taken, sent, self.seen);
                self.tell_lack();
                Ok(answer)
            }
            () = self.engine.shutdown.begun() => Err(Halt::Stopping),
        }
    }

    /// Says what the sink has no place for, once.
    fn tell_lack(&mut self) {
        let lacking = self.parts.lacking();
        if lacking == self.lacking {
            return;
        }
        if let Some(lacking) = &lacking {
            tracing::warn!(sink = self.outlet.name, "{lacking}; the rest is told");
        }
        self.lacking = lacking;
        if !self.is_degraded {
            self.report(HealthStatus::Ok, self.lacking.clone());
        }
    }

    fn done(&mut self, events: &[Event]) -> Step<()> {
        self.seen = self.seen.max(events.last().map_or(0, |event| event.cursor.seq));
        self.parts.forget(self.seen);
        if self.engine.shutdown.is_begun() { Err(Halt::Stopping) } else { Ok(()) }
    }

    fn count_delivered(&mut self, count: usize) {
        self.unsaved.delivered_count += i64::try_from(count).unwrap_or(i64::MAX);
        (self.vain_count, self.refused_count) = (0, 0);
        if self.unsaved.failing.take().is_some() {
            tracing::info!(sink = self.outlet.name, "the sink takes events again");
        }
        if std::mem::take(&mut self.is_degraded) {
            self.report(HealthStatus::Ok, self.lacking.clone());
        }
    }

    /// Notes a try in vain, where people look.
    async fn failed(&mut self, why: &str) -> Step<()> {
        self.vain_count = self.vain_count.saturating_add(1);
        let since = if let Some((since, _)) = self.unsaved.failing.take() {
            since
        } else {
            tracing::warn!(sink = self.outlet.name, "the sink takes nothing: {why}");
            self.engine.clock.now()
        };
        self.unsaved.failing = Some((since, why.to_owned()));
        if self.vain_count >= DEGRADED_AFTER {
            self.degrade(why.to_owned());
        }
        self.save().await
    }

    fn degrade(&mut self, why: String) {
        self.is_degraded = true;
        self.report(HealthStatus::Degraded, Some(why));
    }

    fn report(&self, status: HealthStatus, message: Option<String>) {
        supervisor::report(&self.engine, &health_name(&self.outlet), status, message);
    }

    /// How long to wait before the next try: longer each time, and as long as the sink asks.
    fn rest(&self, asked: Option<Duration>) -> Duration {
        self.pause_after(self.vain_count, asked)
    }

    fn pause_after(&self, vain_count: u32, asked: Option<Duration>) -> Duration {
        let (first, last) = (Span::from_millis(PAUSE_FIRST_MILLIS), Span::from_millis(PAUSE_LAST_MILLIS));
        let own = backoff::delay(first, last, 2.0, vain_count, self.engine.random.unit());
        let own = Duration::from_millis(u64::try_from(own.millis()).unwrap_or(0));
        asked.map_or(own, |asked| asked.max(own))
    }

    async fn pause(&self, length: Duration) -> Step<()> {
        tokio::select! {
            () = clock::sleep(length) => Ok(()),
            () = self.engine.shutdown.begun() => Err(Halt::Stopping),
        }
    }

    fn is_dirty(&self) -> bool {
        self.unsaved.from != self.seen
            || self.unsaved.delivered_count + self.unsaved.dropped_count > 0
            || !self.unsaved.dead.is_empty()
            || !self.unsaved.redelivered.is_empty()
            || !self.unsaved.postponed.is_empty()
    }

    /// Writes what is new. While the store cannot, nothing more is told: it would be told again and again.
    async fn save(&mut self) -> Step<()> {
        loop {
            match self.save_once().await {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(Halt::Late),
                Err(fault) => {
                    tracing::warn!(sink = self.outlet.name, "the position cannot be written: {fault}");
                    self.pause(STORE_PAUSE).await?;
                }
            }
        }
    }

    /// Gives false when the position was not where it was believed to be: another daemon has moved it.
    async fn save_once(&mut self) -> Result<bool, Fault> {
        self.unsaved.to = self.seen;
        self.saved_at = self.engine.clock.monotonic();
        let failing = self.unsaved.failing.clone();
        match self.engine.writer.apply(self.unsaved.clone()).await {
            Ok(committed) => {
                if committed.answer {
                    let (name, from) = (self.unsaved.name.clone(), self.seen);
                    self.unsaved = MoveSink { name, from, to: from, failing, ..MoveSink::default() };
                }
                Ok(committed.answer)
            }
            Err(Refusal::Fault(fault)) => Err(fault),
            Err(Refusal::Rejected(rejection)) => Err(Fault::bug(rejection.message)),
        }
    }
}
