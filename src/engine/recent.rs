//! Owns the newest events in memory, once for all who follow them: what is committed here is handed over by the writer,
//! and only what others committed is read, by one statement for a thousand subscribers. What is older, or needs rows to be
//! filtered, is read from the store, one reader after the other, so that a crowd which comes back leaves room for
//! everybody else. It holds what was committed and nothing else, and may forget at any time.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use tokio::sync::{Mutex, Semaphore, SemaphorePermit};

use crate::domain::access::Sight;
use crate::domain::event::{Event, EventType};
use crate::domain::filter::EventFilter;
use crate::domain::limits::{EVENT_PAGE_BYTES_MAX, EVENT_PAGE_MAX};
use crate::store::events::{EventPage, StoredEvent};
use crate::store::writer::Writer;
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
    stored: StoredEvent,
    /// It is read for the first one who wants it.
    event: OnceLock<Arc<Event>>,
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
        (writer, reader): (&Writer, &Reader),
        after: i64,
        newest: i64,
        filter: &EventFilter,
    ) -> Result<Option<EventPage>, Fault> {
        if !is_plain(filter) {
            return Ok(None);
        }
        if self.reaches() < newest {
            self.fill((writer, reader), after, newest).await?;
        }
        let window = self.window.read().unwrap_or_else(PoisonError::into_inner);
        let part = window.part(after, newest, filter, reader.epoch())?;
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

    /// Takes in what was committed since, unless somebody else just did.
    async fn fill(&self, (writer, reader): (&Writer, &Reader), after: i64, newest: i64) -> Result<(), Fault> {
        let _filling = self.filling.lock().await;
        let held = i64::try_from(HELD_MAX).unwrap_or(i64::MAX);
        let mut until = self.reaches();
        if newest - until > held {
            // Nobody followed for a while: what lies between is for whoever asks for it.
            until = after.max(newest - held);
            self.change(|window| *window = Window { since: until, until, ..Window::default() });
        }
        while until < newest {
            let events = writer.followed(until, newest);
            let page = match events.last() {
                Some(last) => EventPage { seen: last.seq, has_more: false, events },
                None => self.read(reader, until, newest).await?,
            };
            until = page.seen;
            self.change(|window| window.take(page));
        }
        Ok(())
    }

    /// Reads what follows `until`. What retention took away before it was read is not held, nor what lies before it.
    async fn read(&self, reader: &Reader, until: i64, newest: i64) -> Result<EventPage<StoredEvent>, Fault> {
        let everything = EventFilter { sight: Sight::All, ..EventFilter::default() };
        let page = reader.stored_events_after(until, newest, &everything, HELD_MAX).await?;
        let begins = page.events.first().map_or(page.seen, |first| first.seq - 1);
        // Numbers that were never given look like it.
        if begins > until && !(1..=until + 1).contains(&reader.oldest_event().await?) {
            self.change(|window| *window = Window { since: begins, until: begins, ..Window::default() });
        }
        Ok(page)
    }

    fn change(&self, change: impl FnOnce(&mut Window)) {
        change(&mut self.window.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Window {
    /// Adds what was committed, and lets the oldest go.
    fn take(&mut self, page: EventPage<StoredEvent>) {
        self.until = page.seen;
        for stored in page.events {
            self.bytes += weight(&stored);
            self.events.push_back(Held { stored, event: OnceLock::new() });
        }
        while self.events.len() > HELD_MAX || self.bytes > HELD_BYTES_MAX {
            let Some(Held { stored: gone, .. }) = self.events.pop_front() else { break };
            self.bytes -= weight(&gone);
            self.since = gone.seq;
        }
    }

    /// What is held of a page, in the store of this epoch; `None` when what is asked for begins before it.
    fn part(&self, after: i64, newest: i64, filter: &EventFilter, epoch: u32) -> Result<Option<Part>, Fault> {
        if after < self.since || newest > self.until {
            return Ok(None);
        }
        let begin = self.events.partition_point(|held| held.stored.seq <= after);
        let (mut events, mut bytes) = (Vec::new(), 0);
        for held in self.events.range(begin..).take_while(|held| held.stored.seq <= newest) {
            if !fits(&held.stored, filter) {
                continue;
            }
            events.push(held.event(epoch)?);
            bytes += weight(&held.stored);
            if events.len() >= EVENT_PAGE_MAX || bytes >= EVENT_PAGE_BYTES_MAX {
                let seen = held.stored.seq;
                return Ok(Some(Part { events, seen, has_more: seen < newest }));
            }
        }
        Ok(Some(Part { events, seen: newest, has_more: false }))
    }
}

impl Held {
    fn event(&self, epoch: u32) -> Result<Arc<Event>, Fault> {
        if let Some(event) = self.event.get() {
            return Ok(Arc::clone(event));
        }
        let event = Arc::new(self.stored.clone().read(epoch)?);
        Ok(Arc::clone(self.event.get_or_init(|| event)))
    }
}

/// Whether an event itself tells if it fits.
fn is_plain(filter: &EventFilter) -> bool {
    filter.labels.is_none() && filter.sight.own().is_none()
}

/// What the store's statement asks, for a plain filter.
fn fits(event: &StoredEvent, filter: &EventFilter) -> bool {
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
pub fn shortened(mut page: EventPage<StoredEvent>) -> EventPage<StoredEvent> {
    let mut bytes = 0;
    let fitting = page.events.iter().position(|event| {
        bytes += weight(event);
        bytes >= EVENT_PAGE_BYTES_MAX
    });
    if let Some(last) = fitting.filter(|last| last + 1 < page.events.len()) {
        page.events.truncate(last + 1);
        page.seen = page.events[last].seq;
        page.has_more = true;
    }
    page
}

/// Roughly the bytes that an event takes.
fn weight(event: &StoredEvent) -> usize {
    EVENT_OVERHEAD + event.data.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::domain::id::JobId;

    fn event(seq: i64, text: &str) -> StoredEvent {
        StoredEvent {
            seq,
            kind: if seq % 2 == 0 { EventType::JobCreated } else { EventType::TokenChanged },
            at: Timestamp(seq),
            actor: "x".to_owned(),
            peer: None,
            subject_id: None,
            job_id: Some(JobId(seq)),
            task_name: None,
            queue_name: Some(format!("q{}", seq % 3)),
            data: format!("{{\"text\":\"{text}\"}}"),
        }
    }

    fn numbers(part: &Part) -> Vec<i64> {
        part.events.iter().map(|event| event.cursor.seq).collect()
    }

    fn part(window: &Window, after: i64, newest: i64, filter: &EventFilter) -> Part {
        window.part(after, newest, filter, 1).expect("it is readable").expect("it is held")
    }

    fn window(seqs: std::ops::RangeInclusive<i64>) -> Window {
        let before = seqs.start() - 1;
        let mut window = Window { since: before, until: before, ..Window::default() };
        let seen = *seqs.end();
        let events = seqs.map(|seq| event(seq, "")).collect();
        window.take(EventPage { events, seen, has_more: false });
        window
    }

    #[test]
    fn a_window_gives_what_it_holds_and_nothing_before_it() {
        let window = window(11..=20);
        let all = EventFilter { sight: Sight::All, ..EventFilter::default() };
        assert!(window.part(9, 20, &all, 1).expect("readable").is_none());
        assert!(window.part(10, 21, &all, 1).expect("readable").is_none());
        let page = part(&window, 10, 20, &all);
        assert_eq!((numbers(&page), page.seen, page.has_more), ((11..=20).collect(), 20, false));
        let page = part(&window, 13, 15, &all);
        assert_eq!((numbers(&page), page.seen), (vec![14, 15], 15));
        assert_eq!(numbers(&part(&window, 20, 20, &all)), Vec::<i64>::new());
    }

    #[test]
    fn a_window_filters_as_the_store_does() {
        let window = window(11..=20);
        let filtered = |filter| numbers(&part(&window, 10, 20, &filter));
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
        let data = "x".repeat(HELD_BYTES_MAX / 4);
        let events = (2..=6).map(|seq| event(seq, &data)).collect();
        heavy.take(EventPage { events, seen: 6, has_more: false });
        assert_eq!((heavy.since, heavy.until, heavy.events.len()), (3, 6, 3));
    }

    #[test]
    fn a_heavy_page_is_cut_and_goes_on_behind_the_cut() {
        let data = "x".repeat(EVENT_PAGE_BYTES_MAX / 2);
        let events: Vec<StoredEvent> = (1..=5).map(|seq| event(seq, &data)).collect();
        let page = shortened(EventPage { events: events.clone(), seen: 9, has_more: false });
        let kept: Vec<i64> = page.events.iter().map(|event| event.seq).collect();
        assert_eq!((kept, page.seen, page.has_more), (vec![1, 2], 2, true));
        let whole = shortened(EventPage { events: events[..2].to_vec(), seen: 9, has_more: false });
        assert_eq!((whole.events.len(), whole.seen, whole.has_more), (2, 9, false));
        let mut held = Window::default();
        held.take(EventPage { events, seen: 5, has_more: false });
        let all = EventFilter { sight: Sight::All, ..EventFilter::default() };
        let page = part(&held, 0, 5, &all);
        assert_eq!((numbers(&page), page.has_more), (vec![1, 2], true));
    }
}
