//! Owns the newest events in memory, read once for all who follow them: a thousand subscribers cost the store one
//! statement for each commit, not a thousand. What is older, or needs rows to be filtered, is read from the store, one
//! reader after the other, so that a crowd which comes back leaves room for everybody else. It holds what was committed and
//! nothing else, and may forget at any time.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};

use crate::domain::access::Sight;
use crate::domain::event::{Event, EventType};
use crate::domain::filter::EventFilter;
use crate::domain::limits::{EVENT_PAGE_BYTES_MAX, EVENT_PAGE_MAX};
use crate::store::events::EventPage;
use crate::store::{Fault, Reader};

/// Events that are held.
const HELD_MAX: usize = 2_048;
/// Bytes of them, roughly.
const HELD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Subscribers that read from the store at once, beside the one that fills the window: of the few connections one at
/// least is left to everybody else.
const REPLAYS_MAX: usize = 1;
/// What an event takes beside its data.
const EVENT_OVERHEAD: usize = 200;

/// The newest events, shared by all subscribers.
#[derive(Debug)]
pub struct Recent {
    window: RwLock<Window>,
    /// Whoever fills the window; the others wait for it instead of doing the same.
    filling: Mutex<()>,
    replays: Semaphore,
}

/// Every event behind `since` up to and with `until`.
#[derive(Debug, Default)]
struct Window {
    since: i64,
    until: i64,
    events: VecDeque<Held>,
    /// What they take.
    bytes: usize,
}

#[derive(Debug)]
struct Held {
    event: Arc<Event>,
    bytes: usize,
}

/// What is held of a page.
#[derive(Debug)]
struct Part {
    events: Vec<Arc<Event>>,
    seen: i64,
    has_more: bool,
}

impl Default for Recent {
    fn default() -> Recent {
        Recent { window: RwLock::default(), filling: Mutex::default(), replays: Semaphore::new(REPLAYS_MAX) }
    }
}

impl Recent {
    /// Events behind `after` up to and with `newest` that fit the filter, at most one page; `None` when they must be
    /// read from the store.
    pub async fn held(
        &self,
        reader: &Reader,
        after: i64,
        newest: i64,
        filter: &EventFilter,
    ) -> Result<Option<EventPage>, Fault> {
        if !is_plain(filter) {
            return Ok(None);
        }
        if self.reaches() < newest {
            self.fill(reader, after, newest).await?;
        }
        let part = self.window.read().unwrap_or_else(PoisonError::into_inner).part(after, newest, filter);
        Ok(part.map(|Part { events, seen, has_more }| EventPage {
            events: events.into_iter().map(Arc::unwrap_or_clone).collect(),
            seen,
            has_more,
        }))
    }

    /// Waits for the turn to read from the store; it lasts until dropped.
    pub async fn turn(&self) -> SemaphorePermit<'_> {
        self.replays.acquire().await.expect("it is never closed")
    }

    /// The last event that is held.
    fn reaches(&self) -> i64 {
        self.window.read().unwrap_or_else(PoisonError::into_inner).until
    }

    /// Reads what was committed since, unless somebody else just did.
    async fn fill(&self, reader: &Reader, after: i64, newest: i64) -> Result<(), Fault> {
        let _filling = self.filling.lock().await;
        let held = i64::try_from(HELD_MAX).unwrap_or(i64::MAX);
        let mut until = self.reaches();
        if newest - until > held {
            // Nobody followed for a while: what lies between is for whoever asks for it.
            until = after.max(newest - held);
            self.change(|window| *window = Window { since: until, until, ..Window::default() });
        }
        let everything = EventFilter { sight: Sight::All, ..EventFilter::default() };
        while until < newest {
            let page = reader.events_after(until, newest, &everything, HELD_MAX).await?;
            until = page.seen;
            self.change(|window| window.take(page));
        }
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut Window)) {
        change(&mut self.window.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Window {
    /// Adds what was committed, and lets the oldest go.
    fn take(&mut self, page: EventPage) {
        self.until = page.seen;
        for event in page.events {
            let bytes = weight(&event);
            self.bytes += bytes;
            self.events.push_back(Held { event: Arc::new(event), bytes });
        }
        while self.events.len() > HELD_MAX || self.bytes > HELD_BYTES_MAX {
            let Some(gone) = self.events.pop_front() else { break };
            self.bytes -= gone.bytes;
            self.since = gone.event.cursor.seq;
        }
    }

    /// What is held of a page; `None` when what is asked for begins before it.
    fn part(&self, after: i64, newest: i64, filter: &EventFilter) -> Option<Part> {
        if after < self.since || newest > self.until {
            return None;
        }
        let begin = self.events.partition_point(|held| held.event.cursor.seq <= after);
        let (mut events, mut bytes) = (Vec::new(), 0);
        for held in self.events.range(begin..).take_while(|held| held.event.cursor.seq <= newest) {
            if !fits(&held.event, filter) {
                continue;
            }
            events.push(Arc::clone(&held.event));
            bytes += held.bytes;
            if events.len() >= EVENT_PAGE_MAX || bytes >= EVENT_PAGE_BYTES_MAX {
                let seen = held.event.cursor.seq;
                return Some(Part { events, seen, has_more: seen < newest });
            }
        }
        Some(Part { events, seen: newest, has_more: false })
    }
}

/// Whether an event itself tells if it fits.
fn is_plain(filter: &EventFilter) -> bool {
    filter.labels.is_none() && filter.sight.own().is_none()
}

/// What the store's statement asks, for a plain filter.
fn fits(event: &Event, filter: &EventFilter) -> bool {
    let is_shown = filter.sight == Sight::All || event.kind != EventType::TokenChanged;
    let is_of_type = filter.types.as_ref().is_none_or(|types| types.contains(&event.kind));
    let is_of_job =
        filter.job_ids.as_ref().is_none_or(|jobs| event.job_id.is_some_and(|job| jobs.contains(&job)));
    let is_of_task = filter
        .tasks
        .as_ref()
        .is_none_or(|tasks| event.task_name.as_ref().is_some_and(|task| tasks.contains(task)));
    let is_of_queue = filter
        .queues
        .as_ref()
        .is_none_or(|queues| event.queue_name.as_ref().is_some_and(|queue| queues.contains(queue)));
    is_shown && is_of_type && is_of_job && is_of_task && is_of_queue
}

/// The page without what makes it too heavy; that comes with the next one.
pub fn shortened(mut page: EventPage) -> EventPage {
    let mut bytes = 0;
    let fitting = page.events.iter().position(|event| {
        bytes += weight(event);
        bytes >= EVENT_PAGE_BYTES_MAX
    });
    if let Some(last) = fitting.filter(|last| last + 1 < page.events.len()) {
        page.events.truncate(last + 1);
        page.seen = page.events[last].cursor.seq;
        page.has_more = true;
    }
    page
}

/// Roughly the bytes that an event takes.
fn weight(event: &Event) -> usize {
    fn of(value: &Value) -> usize {
        match value {
            Value::String(text) => text.len() + 16,
            Value::Array(items) => items.iter().map(of).sum::<usize>() + 16,
            Value::Object(members) => members.iter().map(|(name, value)| name.len() + of(value) + 16).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) => 16,
        }
    }
    EVENT_OVERHEAD + of(&event.data.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::base::clock::Timestamp;
    use crate::domain::event::EventCursor;
    use crate::domain::id::JobId;
    use crate::domain::scalars::Json;

    fn event(seq: i64, data: Value) -> Event {
        Event {
            cursor: EventCursor { epoch: 1, seq },
            kind: if seq % 2 == 0 { EventType::JobCreated } else { EventType::TokenChanged },
            at: Timestamp(seq),
            actor: "x".to_owned(),
            peer: None,
            subject_id: None,
            job_id: Some(JobId(seq)),
            task_name: None,
            queue_name: Some(format!("q{}", seq % 3)),
            data: Json(data),
        }
    }

    fn numbers(part: &Part) -> Vec<i64> {
        part.events.iter().map(|event| event.cursor.seq).collect()
    }

    fn window(seqs: std::ops::RangeInclusive<i64>) -> Window {
        let before = seqs.start() - 1;
        let mut window = Window { since: before, until: before, ..Window::default() };
        let seen = *seqs.end();
        let events = seqs.map(|seq| event(seq, json!({}))).collect();
        window.take(EventPage { events, seen, has_more: false });
        window
    }

    #[test]
    fn a_window_gives_what_it_holds_and_nothing_before_it() {
        let window = window(11..=20);
        let all = EventFilter { sight: Sight::All, ..EventFilter::default() };
        assert!(window.part(9, 20, &all).is_none());
        assert!(window.part(10, 21, &all).is_none());
        let page = window.part(10, 20, &all).expect("it is held");
        assert_eq!((numbers(&page), page.seen, page.has_more), ((11..=20).collect(), 20, false));
        let page = window.part(13, 15, &all).expect("it is held");
        assert_eq!((numbers(&page), page.seen), (vec![14, 15], 15));
        assert_eq!(numbers(&window.part(20, 20, &all).expect("nothing is new")), Vec::<i64>::new());
    }

    #[test]
    fn a_window_filters_as_the_store_does() {
        let window = window(11..=20);
        let filtered = |filter| numbers(&window.part(10, 20, &filter).expect("it is held"));
        let reader = EventFilter { sight: Sight::AllButTokens, ..EventFilter::default() };
        assert_eq!(filtered(reader.clone()), [12, 14, 16, 18, 20]);
        let some = EventFilter { job_ids: Some(vec![JobId(12), JobId(13)]), ..reader.clone() };
        assert_eq!(filtered(some), [12]);
        assert_eq!(
            filtered(EventFilter { tasks: Some(vec!["a".to_owned()]), ..reader.clone() }),
            Vec::<i64>::new()
        );
        let of_queues = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            EventFilter { queues: Some(names), ..reader.clone() }
        };
        assert_eq!(filtered(of_queues(&["q0", "q1"])), [12, 16, 18]);
        assert_eq!(filtered(of_queues(&[])), Vec::<i64>::new());
        assert!(
            is_plain(&of_queues(&["q0"])) && !is_plain(&EventFilter { labels: Some(Vec::new()), ..reader })
        );
    }

    #[test]
    fn a_window_is_bounded_in_events_and_bytes() {
        let long = i64::try_from(HELD_MAX).expect("small") + 10;
        let held = window(1..=long);
        assert_eq!((held.since, held.events.len()), (10, HELD_MAX));
        let mut heavy = window(1..=1);
        let data = json!({"text": "x".repeat(HELD_BYTES_MAX / 4)});
        let events = (2..=6).map(|seq| event(seq, data.clone())).collect();
        heavy.take(EventPage { events, seen: 6, has_more: false });
        assert_eq!((heavy.since, heavy.until, heavy.events.len()), (3, 6, 3));
    }

    #[test]
    fn a_heavy_page_is_cut_and_goes_on_behind_the_cut() {
        let data = json!({"text": "x".repeat(EVENT_PAGE_BYTES_MAX / 2)});
        let events: Vec<Event> = (1..=5).map(|seq| event(seq, data.clone())).collect();
        let page = shortened(EventPage { events: events.clone(), seen: 9, has_more: false });
        let kept: Vec<i64> = page.events.iter().map(|event| event.cursor.seq).collect();
        assert_eq!((kept, page.seen, page.has_more), (vec![1, 2], 2, true));
        let whole = shortened(EventPage { events: events[..2].to_vec(), seen: 9, has_more: false });
        assert_eq!((whole.events.len(), whole.seen, whole.has_more), (2, 9, false));
        let mut held = Window::default();
        held.take(EventPage { events, seen: 5, has_more: false });
        let all = EventFilter { sight: Sight::All, ..EventFilter::default() };
        let page = held.part(0, 5, &all).expect("it is held");
        assert_eq!((numbers(&page), page.has_more), (vec![1, 2], true));
    }
}
