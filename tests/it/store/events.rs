//! The feed: numbers that no reader passes before they can be seen, and filters that never stop it.

use std::collections::BTreeSet;
use std::pin::pin;

use beadle::base::clock::within;
use beadle::base::task;
use beadle::domain::access::Sight;
use beadle::domain::event::{Event, EventCursor, EventType};
use beadle::domain::filter::EventFilter;
use beadle::domain::id::{JobId, TaskId};
use beadle::domain::job::JobState;
use beadle::domain::log::LogFilter;
use beadle::domain::new_job::{NewJob, TaskOfJob};
use beadle::engine::feed::StreamEnd;
use beadle::engine::follow::FollowRequest;
use beadle::store::Reader;
use beadle::store::queues::{ChangeQueue, QueueAction};
use beadle::store::waiting::Hold;
use beadle::store::writer::Probe;
use futures_util::StreamExt as _;
use sqlx::{Connection as _, PgConnection};

use super::clock_steps::engine;
use super::group_commit::Bad;
use super::stage::{Place, Stage, enqueue, label, new_job, new_job_in, on_both, on_postgres, on_sqlite};
use crate::support::wait::PATIENCE;

fn numbers(events: &[Event]) -> Vec<i64> {
    events.iter().map(|event| event.cursor.seq).collect()
}

#[test]
fn the_numbers_are_dense_on_sqlite_also_over_failures_and_restarts() {
    on_sqlite(async |stage| {
        for _ in 0..5 {
            stage.enqueue(new_job()).await;
            stage.fault(Bad).await;
        }
        let stage = stage.reopen().await;
        for _ in 0..5 {
            stage.enqueue(new_job()).await;
        }
        assert_eq!(numbers(&stage.events(&EventFilter::default()).await), (1..=10).collect::<Vec<_>>());
    });
}

/// Follows the feed as a subscriber does until `done` jobs were made, and gives every number it met.
async fn tail(reader: Reader, done: usize) -> Vec<i64> {
    let (mut seen, mut met) = (0, Vec::new());
    while met.len() < done {
        let newest = reader.newest_event().await.expect("the store can be read");
        let page = reader.events_after(seen, newest, &EventFilter::default(), 7).await;
        let page = page.expect("the store can be read");
        met.extend(numbers(&page.events));
        seen = page.seen;
        tokio::task::yield_now().await;
    }
    met
}

#[test]
fn a_reader_that_follows_three_writers_never_misses_a_number() {
    const WRITERS: usize = 3;
    const JOBS: usize = 60;
    on_both(async |stage| {
        let mut hands = Vec::new();
        for _ in 0..WRITERS {
            hands.push(stage.another_hand().await);
        }
        let tailing = task::spawn(tail(stage.reader().clone(), WRITERS * JOBS * 2));
        let writing: Vec<_> = hands
            .into_iter()
            .map(|hand| {
                task::spawn(async move {
                    for round in 0..JOBS {
                        hand.apply(enqueue(vec![new_job(), new_job()])).await;
                        if round % 5 == 0 {
                            // Rolled back: its numbers are drawn in vain.
                            assert!(hand.writer.apply(Bad).await.is_err());
                        }
                    }
                })
            })
            .collect();
        for one in writing {
            one.await.unwrap();
        }
        let met = tailing.await.unwrap();
        assert!(met.is_sorted_by(|one, next| one < next), "the numbers rise");
        assert_eq!(met, numbers(&stage.events(&EventFilter::default()).await), "none came late");
    });
}

#[test]
fn the_newest_number_is_never_one_that_is_not_committed_yet() {
    on_postgres(async |stage| {
        let Place::Postgres(url) = &stage.place else { unreachable!("this claim is tried on PostgreSQL") };
        // Another daemon in the middle of its first transaction: the number is drawn, the event not to be seen.
        let mut other = PgConnection::connect(url).await.unwrap();
        let begun = "BEGIN; SELECT pg_advisory_xact_lock(18653495083943169); SELECT nextval('event_number');
            INSERT INTO events (seq, kind, at_us, actor, data) VALUES (1, 'QUEUE_CHANGED', 0, 'x', '{}')";
        sqlx::raw_sql(begun).execute(&mut other).await.unwrap();
        let reader = stage.reader().clone();
        let asked = task::spawn(async move { reader.newest_event().await.unwrap() });
        let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
        while !asked.is_finished() && stage.number(waiting).await == 0 {
            tokio::task::yield_now().await;
        }
        if asked.is_finished() {
            assert_eq!(asked.await.unwrap(), 0, "the reader passed a number that it had not seen");
        } else {
            sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
            assert_eq!(asked.await.unwrap(), 1);
        }
    });
}

#[test]
fn everything_up_to_the_cursor_of_a_commit_can_be_read_and_nothing_of_it_lies_behind() {
    on_both(async |stage| {
        for size in [1, 3, 10] {
            let before = stage.hand.writer.cursor();
            let jobs = vec![new_job(); size];
            let committed = stage.hand.writer.apply(enqueue(jobs)).await.unwrap();
            let ids: Vec<_> = committed.answer.iter().map(|one| one.as_ref().unwrap().id).collect();
            assert_eq!(stage.reader().jobs_by_id(&ids).await.unwrap().len(), size);
            let (after, until) = (before.seq, committed.cursor.seq);
            let page = stage.reader().events_after(after, until, &EventFilter::default(), 100).await.unwrap();
            let about: Vec<_> = page.events.iter().filter_map(|event| event.job_id).collect();
            assert_eq!(about, ids);
            assert_eq!((page.seen, page.has_more), (until, false));
            stage.enqueue(new_job()).await;
            let mine = EventFilter { job_ids: Some(ids), ..EventFilter::default() };
            let behind = stage.reader().events_after(until, i64::MAX - 1, &mine, 100).await.unwrap();
            assert!(behind.events.is_empty());
        }
        let quiet = stage.hand.writer.apply(Probe).await.unwrap();
        assert_eq!(
            quiet.cursor,
            stage.hand.writer.cursor(),
            "a change without events ends where the feed ends"
        );
    });
}

/// Three jobs of different kinds, and a change of a queue.
async fn some_events(stage: &Stage) -> [JobId; 3] {
    stage.put_queue("red", None).await;
    let tasked = |name: &str| Some(TaskOfJob { id: TaskId(1), name: name.to_owned(), revision: 1 });
    let plain = stage.enqueue(new_job()).await;
    let red = NewJob { task: tasked("naïve"), labels: vec![label("env", "prod")], ..new_job_in("red") };
    let red = stage.enqueue(red).await;
    let labels = vec![label("env", "prod"), label("who", "🦀 it's")];
    let crab = stage.enqueue(NewJob { task: tasked("other"), labels, ..new_job() }).await;
    [plain, red, crab]
}

#[test]
fn a_filter_finds_its_events_and_no_others() {
    on_both(async |stage| {
        let [plain, red, crab] = some_events(&stage).await;
        let all = || EventFilter::default();
        let cases = [
            ("all", all(), vec![None, Some(plain), Some(red), Some(crab)]),
            ("type", EventFilter { types: Some(vec![EventType::QueueChanged]), ..all() }, vec![None]),
            ("no type", EventFilter { types: Some(vec![]), ..all() }, vec![]),
            (
                "types",
                EventFilter { types: Some(vec![EventType::QueueChanged, EventType::JobCreated]), ..all() },
                vec![None, Some(plain), Some(red), Some(crab)],
            ),
            ("job", EventFilter { job_ids: Some(vec![crab, JobId(9_999)]), ..all() }, vec![Some(crab)]),
            ("task", EventFilter { tasks: Some(vec!["naïve".to_owned()]), ..all() }, vec![Some(red)]),
            ("queue", EventFilter { queues: Some(vec!["red".to_owned()]), ..all() }, vec![None, Some(red)]),
            (
                "label",
                EventFilter { labels: Some(vec![label("env", "prod")]), ..all() },
                vec![Some(red), Some(crab)],
            ),
            (
                "labels",
                EventFilter { labels: Some(vec![label("env", "prod"), label("who", "🦀 it's")]), ..all() },
                vec![Some(crab)],
            ),
            ("wrong value", EventFilter { labels: Some(vec![label("env", "who")]), ..all() }, vec![]),
            (
                "together",
                EventFilter {
                    queues: Some(vec!["default".to_owned()]),
                    types: Some(vec![EventType::JobCreated]),
                    labels: Some(vec![label("env", "prod")]),
                    ..all()
                },
                vec![Some(crab)],
            ),
        ];
        for (name, filter, expected) in cases {
            let found: Vec<_> = stage.events(&filter).await.into_iter().map(|event| event.job_id).collect();
            assert_eq!(found, expected, "{name}");
        }
    });
}

#[test]
fn an_event_reads_back_as_it_was_stated() {
    on_both(async |stage| {
        let job = NewJob { requested_by: "zoë \"x\"".to_owned(), ..new_job() };
        let id = stage.enqueue(job).await;
        let change = QueueAction::Pause { reason: Some("it's\n{\"b\":1,\"a\":2} 🦀".to_owned()) };
        let name = "default".to_owned();
        stage.apply(ChangeQueue { name, action: change, actor: "me".to_owned() }).await;
        let events = stage.events(&EventFilter::default()).await;
        let [created, paused] = &events[..] else { panic!("{events:?}") };
        assert_eq!((created.kind, created.job_id), (EventType::JobCreated, Some(id)));
        assert_eq!((created.actor.as_str(), created.at), ("zoë \"x\"", super::stage::T0));
        assert_eq!(created.subject_id, Some(id.to_string()));
        assert_eq!(created.cursor.epoch, stage.reader().epoch());
        assert_eq!(paused.data.0["reason"], "it's\n{\"b\":1,\"a\":2} 🦀");
        assert_eq!((paused.job_id, paused.subject_id.as_deref()), (None, Some("queue_1")));
    });
}

#[test]
fn pages_meet_every_event_once_and_the_position_moves_over_those_that_do_not_fit() {
    on_both(async |stage| {
        for round in 0..30 {
            let queue = if round % 10 == 0 { "red" } else { "default" };
            if round == 0 {
                stage.put_queue("red", None).await;
            }
            stage.enqueue(new_job_in(queue)).await;
        }
        let newest = stage.reader().newest_event().await.unwrap();
        let red = EventFilter { queues: Some(vec!["red".to_owned()]), ..EventFilter::default() };
        for limit in [1, 2, 3, 50] {
            let (mut seen, mut met, mut pages) = (0, BTreeSet::new(), 0);
            loop {
                let page = stage.reader().events_after(seen, newest, &red, limit).await.unwrap();
                assert!(page.events.len() <= limit && page.seen >= seen);
                for event in page.events {
                    assert!(met.insert(event.cursor.seq), "met twice");
                }
                seen = page.seen;
                pages += 1;
                if !page.has_more {
                    break;
                }
            }
            assert_eq!((met.len(), seen), (4, newest), "limit {limit}, {pages} pages");
        }
        let none = EventFilter { tasks: Some(vec!["nothing".to_owned()]), ..EventFilter::default() };
        let page = stage.reader().events_after(0, newest, &none, 10).await.unwrap();
        assert_eq!((page.events.len(), page.seen, page.has_more), (0, newest, false));
        let page = stage.reader().events_after(newest + 5, newest, &none, 10).await.unwrap();
        assert_eq!((page.seen, page.has_more), (newest + 5, false), "a position never goes back");
    });
}

#[test]
fn one_page_looks_through_so_many_events_and_no_more() {
    on_both(async |stage| {
        let many = "INSERT INTO events (seq, kind, at_us, actor, data)
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000)
            SELECT i, 'QUEUE_CHANGED', 0, 'x', '{}' FROM n";
        stage.execute(many).await;
        let jobs = EventFilter { types: Some(vec![EventType::JobCreated]), ..EventFilter::default() };
        let first = stage.reader().events_after(0, 25_000, &jobs, 10).await.unwrap();
        assert_eq!((first.events.len(), first.seen, first.has_more), (0, 20_000, true));
        let second = stage.reader().events_after(first.seen, 25_000, &jobs, 10).await.unwrap();
        assert_eq!((second.events.len(), second.seen, second.has_more), (0, 25_000, false));
    });
}

/// Follows as the window of the daemon does: what is handed over where it can be, else what is stored.
async fn follow(stage: &Stage, (mut seen, newest): (i64, i64)) -> (Vec<Event>, usize) {
    let (mut met, mut handed) = (Vec::new(), 0);
    while seen < newest {
        let followed = stage.writer().followed(seen, newest);
        handed += followed.len();
        let events = if followed.is_empty() {
            let page = stage.reader().stored_events_after(seen, newest, &everything(), 100).await;
            page.expect("the store can be read").events
        } else {
            followed
        };
        seen = events.last().expect("there is something new").seq;
        let epoch = stage.reader().epoch();
        met.extend(events.into_iter().map(|event| event.read(epoch).expect("it is JSON")));
    }
    (met, handed)
}

fn everything() -> EventFilter {
    EventFilter { sight: Sight::All, ..EventFilter::default() }
}

#[test]
fn what_is_handed_over_to_who_follows_is_what_is_stored() {
    on_both(async |stage| {
        assert!(stage.writer().followed(0, 0).is_empty(), "from now on somebody follows");
        for _ in 0..4 {
            let job = NewJob { labels: vec![label("a", "\"b\"\n")], ..new_job() };
            stage.enqueue(job).await;
        }
        let newest = stage.reader().newest_event().await.unwrap();
        let (met, handed) = follow(&stage, (0, newest)).await;
        let stored = stage.events(&everything()).await;
        assert_eq!((met.len(), handed), (stored.len(), stored.len()), "all of it was handed over");
        assert_eq!(format!("{met:?}"), format!("{stored:?}"));
        assert!(stage.writer().followed(0, newest).is_empty(), "it is handed over once");
    });
}

#[test]
fn who_follows_gets_nothing_behind_a_gap() {
    on_postgres(async |stage| {
        let other = stage.another_hand().await;
        stage.writer().followed(0, 0);
        stage.enqueue(new_job()).await;
        // Committed elsewhere, in between; and numbers that were drawn in vain.
        other.apply(enqueue(vec![new_job()])).await;
        let between = stage.reader().newest_event().await.unwrap();
        stage.fault(Bad).await;
        stage.enqueue(new_job()).await;
        let newest = stage.reader().newest_event().await.unwrap();
        let first = stage.writer().followed(0, newest);
        assert!(!first.is_empty() && first.iter().all(|event| event.seq < between), "{first:?}");
        assert!(stage.writer().followed(between - 1, newest).is_empty());
        let (met, _) = follow(&stage, (0, newest)).await;
        assert_eq!(numbers(&met), numbers(&stage.events(&everything()).await));
    });
}

#[test]
fn what_nobody_takes_is_not_kept() {
    on_both(async |stage| {
        stage.writer().followed(0, 0);
        for _ in 0..21 {
            stage.apply(enqueue(vec![new_job(); 100])).await;
        }
        assert!(stage.writer().followed(0, i64::MAX).is_empty());
        // Who asks follows again.
        let newest = stage.reader().newest_event().await.unwrap();
        stage.enqueue(new_job()).await;
        assert!(!stage.writer().followed(newest, i64::MAX).is_empty());
    });
}

#[test]
fn whoever_follows_a_job_from_behind_what_is_kept_is_told_how_it_stands() {
    on_both(async |stage| {
        let id = stage.enqueue(new_job()).await;
        let seen = stage.job(id).await.event_cursor;
        stage.apply(Hold { id, actor: "tester".to_owned() }).await;
        stage.execute("DELETE FROM events").await;
        let engine = engine(&stage, &stage.hand).await;
        let request = FollowRequest {
            id,
            after: Some(seen),
            log_after: None,
            wants_log: false,
            wants_progress: true,
            filter: LogFilter::default(),
            attempt: None,
            until: None,
        };
        let mut steps = pin!(engine.follow(request.clone()).await.expect("it is ours").expect("it exists"));
        let step = within(PATIENCE, steps.next()).await.expect("it is told").expect("it goes on");
        assert_eq!(step.expect("a step").job.state, JobState::Held);
        let ahead = Some(EventCursor { seq: seen.seq + 1_000, ..seen });
        let refused = engine.follow(FollowRequest { after: ahead, ..request }).await.err();
        assert!(matches!(refused, Some(StreamEnd::Expired { .. })), "{refused:?}");
    });
}
