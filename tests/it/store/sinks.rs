//! Sinks in the store: a position moves only from where it is, the feed waits for those that were not told, dead letters
//! are kept and bounded.

use std::time::Duration;

use beadle::base::clock::{Clock as _, Timestamp};
use beadle::base::settings::sinks::SinkKind;
use beadle::domain::event::{Event, EventType};
use beadle::domain::filter::EventFilter;
use beadle::domain::id::WorkerId;
use beadle::domain::limits::{DEAD_LETTERS_MAX, SINK_BACKLOG_MAX};
use beadle::domain::rejection::UserErrorCode;
use beadle::domain::sink::{DeadLetter, Sink};
use beadle::store::prune::{Horizon, Prune};
use beadle::store::sinks::{
    ChangeLetters, HoldSink, LetterAction, ListSinks, MoveSink, Postponed, RetireSinks,
};
use beadle::store::workers::{RetireWorker, StartWorker};

use super::stage::{Stage, T0, new_job, on_both, on_postgres, start_worker};

async fn list(stage: &Stage, names: &[&str]) {
    list_by(stage, WorkerId(0), names).await;
}

async fn list_by(stage: &Stage, worker: WorkerId, names: &[&str]) {
    let sinks = names.iter().map(|name| ((*name).to_owned(), SinkKind::Webhook)).collect();
    let newest = stage.reader().newest_event().await.expect("the store can be read");
    stage.apply(ListSinks { sinks, newest, worker }).await;
}

async fn sink(stage: &Stage, name: &str) -> Sink {
    stage.reader().sink(name).await.expect("the store can be read").expect("it is listed")
}

fn moved(from: i64, to: i64) -> MoveSink {
    MoveSink { name: "s".to_owned(), from, to, ..MoveSink::default() }
}

fn dead(event: &Event, seq: i64) -> DeadLetter {
    let mut event = event.clone();
    event.cursor.seq = seq;
    DeadLetter {
        event,
        failure: "it answered 400".to_owned(),
        try_count: 1,
        created_at: T0,
        redeliver_at: None,
    }
}

fn change(action: LetterAction, seqs: Option<Vec<i64>>) -> ChangeLetters {
    ChangeLetters { sink: "s".to_owned(), seqs, action, actor: "test".to_owned() }
}

#[test]
fn a_position_moves_only_from_where_it_is() {
    on_both(async |stage| {
        list(&stage, &["s"]).await;
        let begin = sink(&stage, "s").await.position.seq;
        let failing = Some((T0, "it answered 500".to_owned()));
        let first = MoveSink { delivered_count: 2, dropped_count: 1, failing, ..moved(begin, begin + 5) };
        assert!(stage.apply(first.clone()).await);
        let late = stage.another_hand().await;
        assert!(!late.apply(first).await, "a second daemon is told that it is late");
        let now = sink(&stage, "s").await;
        assert_eq!((now.position.seq, now.delivered_count.0, now.dropped_count.0), (begin + 5, 2, 1));
        assert_eq!((now.failing_since, now.failure.as_deref()), (Some(T0), Some("it answered 500")));
        assert!(stage.apply(moved(begin + 5, begin + 6)).await);
        assert_eq!(sink(&stage, "s").await.failing_since, None);
        late.close().await;
    });
}

#[test]
fn a_new_sink_begins_at_the_end_and_one_that_comes_back_goes_on() {
    on_both(async |stage| {
        stage.enqueue(new_job()).await;
        list(&stage, &["s"]).await;
        let begin = sink(&stage, "s").await;
        assert_eq!(
            (begin.lag_count.0, begin.position.seq),
            (0, stage.reader().newest_event().await.unwrap())
        );
        list(&stage, &["other"]).await;
        stage.enqueue(new_job()).await;
        let retired = sink(&stage, "s").await;
        assert_eq!((retired.retired_at, retired.lag_count.0), (Some(T0), 1));
        list(&stage, &["s"]).await;
        let back = sink(&stage, "s").await;
        assert_eq!((back.retired_at, back.position), (None, begin.position));
        assert_eq!(stage.reader().sinks().await.unwrap().len(), 2, "one that is gone stays listed");
    });
}

#[test]
fn of_several_workers_none_that_is_there_has_a_sink_that_is_retired() {
    on_postgres(async |stage| {
        let begin = async |name: &'static str| {
            stage.apply(StartWorker { lease: Some(Duration::from_hours(1)), ..start_worker(name) }).await
        };
        let gone = async |id| {
            stage.apply(RetireWorker { id, name: String::new(), is_gone: true }).await;
        };
        let hold = async |worker| stage.apply(HoldSink { name: "s".to_owned(), worker }).await;
        let (first, second, third) = (begin("first").await, begin("second").await, begin("third").await);
        list_by(&stage, first, &["s"]).await;
        list_by(&stage, second, &["s"]).await;
        assert!(!hold(second).await, "the first one tells it");
        // The settings change, and one worker after the other is started anew.
        let other = begin("other").await;
        let is_retired = async || {
            stage.apply(RetireSinks { listed: Vec::new(), worker: other }).await;
            sink(&stage, "s").await.retired_at.is_some()
        };
        list_by(&stage, other, &[]).await;
        gone(first).await;
        assert!(!is_retired().await, "the second one has not taken it yet");
        assert!(hold(second).await);
        stage.pass_millis(3_600_000);
        assert!(!is_retired().await, "the second one tells it");
        gone(second).await;
        assert!(!is_retired().await, "a third one may have it");
        stage.pass_millis(3_600_000);
        assert!(is_retired().await, "nobody has it");
        assert!(hold(third).await);
        assert!(!is_retired().await, "one that had it came back");
    });
}

#[test]
fn the_feed_keeps_what_a_sink_was_not_told_up_to_a_limit() {
    on_both(async |stage| {
        list(&stage, &["s", "quick"]).await;
        for _ in 0..3 {
            stage.enqueue(new_job()).await;
        }
        let begin = sink(&stage, "s").await.position.seq;
        let newest = stage.reader().newest_event().await.unwrap();
        stage.apply(MoveSink { name: "quick".to_owned(), ..moved(begin, newest) }).await;
        let all_old = Timestamp(T0.0 + 1);
        let horizon = Horizon { succeeded: all_old, failed: all_old, keys: all_old };
        let kept = async || stage.number("SELECT count(*) FROM events").await;
        stage.apply(Prune { horizon }).await;
        assert_eq!(kept().await, 3, "the slowest one is waited for");
        assert!(
            !stage.reader().has_old_rows(horizon, stage.clock.now()).await.unwrap(),
            "a sweep would find nothing"
        );
        stage.apply(moved(begin, begin + 1)).await;
        stage.apply(Prune { horizon }).await;
        assert_eq!(kept().await, 2, "what it was told may go");
        // The limit is far: one event is moved beyond it.
        let far = format!("UPDATE events SET seq = seq + {SINK_BACKLOG_MAX} WHERE seq = {newest}");
        stage.execute(&far).await;
        assert!(stage.reader().has_old_rows(horizon, stage.clock.now()).await.unwrap());
        stage.apply(Prune { horizon }).await;
        assert_eq!(kept().await, 1, "beyond the limit the feed does not wait");
        list(&stage, &[]).await;
        stage.apply(Prune { horizon }).await;
        assert_eq!(kept().await, 0, "one that is retired is not waited for");
    });
}

#[test]
fn dead_letters_wait_for_a_person_who_puts_them_back_or_gives_them_up() {
    on_both(async |stage| {
        list(&stage, &["s"]).await;
        stage.enqueue(new_job()).await;
        let event = stage.events(&EventFilter::default()).await.remove(0);
        let begin = sink(&stage, "s").await.position.seq;
        let three = [1, 2, 3].map(|n| dead(&event, begin + n)).to_vec();
        stage.apply(MoveSink { dead: three, ..moved(begin, begin + 3) }).await;
        assert_eq!(sink(&stage, "s").await.dead_letter_count.0, 3);
        let again = async || {
            let letters = stage.reader().letters_again("s", T0.plus_millis(1_000), 10).await.unwrap();
            letters.iter().map(|letter| letter.event.cursor.seq - begin).collect::<Vec<_>>()
        };
        assert_eq!(again().await, [0; 0]);
        stage.apply(change(LetterAction::Redeliver, Some(vec![begin + 2]))).await;
        assert_eq!(again().await, [2]);
        stage.apply(change(LetterAction::Redeliver, None)).await;
        assert_eq!(again().await, [1, 2, 3]);
        let later = |n, millis| {
            let (seq, at) = (begin + n, T0.plus_millis(millis));
            Postponed { seq, failure: "500".to_owned(), at: Some(at) }
        };
        // Each has its own next try, and holds up no other.
        stage.apply(MoveSink { postponed: vec![later(1, 500)], ..moved(begin + 3, begin + 3) }).await;
        assert_eq!(again().await, [2, 3, 1]);
        stage.apply(MoveSink { postponed: vec![later(1, 1_001)], ..moved(begin + 3, begin + 3) }).await;
        assert_eq!(again().await, [2, 3]);
        let page = stage.reader().dead_letters("s", 0, 1).await.unwrap();
        let first = &page.rows[0].1;
        assert_eq!((first.try_count, first.failure.as_str()), (3, "500"));
        stage.apply(change(LetterAction::Redeliver, None)).await;
        assert_eq!(again().await, [1, 2, 3]);
        let given_up = |n| Postponed { seq: begin + n, failure: "400".to_owned(), at: None };
        let refused = MoveSink {
            postponed: vec![given_up(1)],
            redelivered: vec![begin + 2],
            ..moved(begin + 3, begin + 3)
        };
        assert!(stage.apply(refused).await);
        assert_eq!(again().await, [3], "one was refused again, one was taken");
        let page = stage.reader().dead_letters("s", 0, 10).await.unwrap();
        let tries: Vec<_> =
            page.rows.iter().map(|(_, one)| (one.event.cursor.seq - begin, one.try_count)).collect();
        assert_eq!(tries, [(1, 4), (3, 1)]);
        assert_eq!(page.rows[0].1.event.job_id, event.job_id, "the event is whole");
        stage.apply(change(LetterAction::Discard, Some(vec![begin + 1]))).await;
        assert!(!stage.reader().is_letter_again("s", begin + 1).await.unwrap());
        assert!(stage.reader().is_letter_again("s", begin + 3).await.unwrap());
        stage.apply(change(LetterAction::Discard, None)).await;
        // Refused just when it was given up.
        stage.apply(MoveSink { postponed: vec![given_up(3)], ..moved(begin + 3, begin + 3) }).await;
        assert_eq!(sink(&stage, "s").await.dead_letter_count.0, 0);
        let told = EventFilter { types: Some(vec![EventType::SinkChanged]), ..EventFilter::default() };
        let actions: Vec<_> =
            stage.events(&told).await.iter().map(|one| one.data.0["action"].clone()).collect();
        assert_eq!(actions, ["REDELIVER", "REDELIVER", "REDELIVER", "DISCARD", "DISCARD"]);
        let nobody = ChangeLetters { sink: "nobody".to_owned(), ..change(LetterAction::Discard, None) };
        assert_eq!(stage.rejection(nobody).await.code, UserErrorCode::NotFound);
    });
}

#[test]
fn the_oldest_dead_letters_make_room_and_are_counted() {
    on_both(async |stage| {
        list(&stage, &["s"]).await;
        stage.enqueue(new_job()).await;
        let event = stage.events(&EventFilter::default()).await.remove(0);
        let begin = sink(&stage, "s").await.position.seq;
        let many = |from: i64, to: i64| (from..to).map(|n| dead(&event, begin + n)).collect::<Vec<_>>();
        stage.apply(MoveSink { dead: many(0, DEAD_LETTERS_MAX), ..moved(begin, begin) }).await;
        let full = sink(&stage, "s").await;
        assert_eq!((full.dead_letter_count.0, full.dropped_count.0), (DEAD_LETTERS_MAX, 0));
        let more = many(DEAD_LETTERS_MAX, DEAD_LETTERS_MAX + 7);
        stage.apply(MoveSink { dead: more, ..moved(begin, begin) }).await;
        let cut = sink(&stage, "s").await;
        assert_eq!((cut.dead_letter_count.0, cut.dropped_count.0), (DEAD_LETTERS_MAX, 7));
        let oldest = stage.reader().dead_letters("s", 0, 1).await.unwrap().rows.remove(0).1;
        assert_eq!(oldest.event.cursor.seq, begin + 7);
    });
}
