//! Queues, tokens and workers: who takes part, and under which rules.

use beadle::domain::access::{Grant, GrantVerb};
use beadle::domain::attempt::AttemptOutcome;
use beadle::domain::event::EventType;
use beadle::domain::filter::EventFilter;
use beadle::domain::id::{QueueId, WorkerId};
use beadle::domain::rejection::UserErrorCode;
use beadle::store::queues::{ChangeQueue, QueueAction};
use beadle::store::tokens::PutToken;
use beadle::store::workers::{RetireWorker, StartWorker};

use super::stage::{Stage, T0, enqueue, label, new_job_in, on_both, start_worker};

async fn queue(stage: &Stage, name: &str) -> beadle::domain::queue::Queue {
    let mut found = stage.reader().queues_by_name(&[name.to_owned()]).await.expect("the store can be read");
    assert_eq!(found.len(), 1, "{name} exists once");
    found.remove(0)
}

#[test]
fn the_default_queue_is_there_from_the_start_and_made_once() {
    on_both(async |stage| {
        let first = queue(&stage, "default").await;
        assert_eq!((first.paused_at, first.concurrency_limit), (None, None));
        stage.put_queue("default", Some(4)).await;
        let stage = stage.reopen().await;
        let again = queue(&stage, "default").await;
        assert_eq!((again.id, again.concurrency_limit), (first.id, Some(4)), "a restart changes nothing");
        assert_eq!(stage.reader().queue_by_id(first.id).await.unwrap().unwrap().name, "default");
        assert!(stage.reader().queue_by_id(QueueId(404)).await.unwrap().is_none());
    });
}

#[test]
fn a_queue_is_put_paused_and_resumed() {
    on_both(async |stage| {
        stage.put_queue("naïve 🦀", Some(0)).await;
        let made = queue(&stage, "naïve 🦀").await;
        assert_eq!(made.concurrency_limit, Some(0));
        let pause = |reason: &str| QueueAction::Pause { reason: Some(reason.to_owned()) };
        stage.change_queue("naïve 🦀", pause("first")).await;
        stage.pass_millis(9);
        stage.change_queue("naïve 🦀", pause("it's second")).await;
        let paused = queue(&stage, "naïve 🦀").await;
        assert_eq!((paused.paused_at, paused.pause_reason.as_deref()), (Some(T0), Some("it's second")));
        stage.put_queue("naïve 🦀", None).await;
        let put = queue(&stage, "naïve 🦀").await;
        assert_eq!((put.id, put.concurrency_limit, put.paused_at), (made.id, None, Some(T0)));
        stage.change_queue("naïve 🦀", QueueAction::Resume).await;
        let resumed = queue(&stage, "naïve 🦀").await;
        assert_eq!((resumed.paused_at, resumed.pause_reason), (None, None));
        for action in [pause("x"), QueueAction::Resume] {
            let change = ChangeQueue { name: "nowhere".to_owned(), action, actor: "x".to_owned() };
            assert_eq!(stage.rejection(change).await.code, UserErrorCode::NotFound);
        }
        let filter = EventFilter { queues: Some(vec!["naïve 🦀".to_owned()]), ..EventFilter::default() };
        let actions: Vec<_> =
            stage.events(&filter).await.iter().map(|event| event.data.0["action"].clone()).collect();
        assert_eq!(actions, ["PUT", "PAUSE", "PAUSE", "PUT", "RESUME"]);
    });
}

#[test]
fn queues_are_listed_by_name_and_tell_how_full_they_are() {
    on_both(async |stage| {
        for name in ["zebra", "Alpha", "émile"] {
            stage.put_queue(name, None).await;
        }
        let page = stage.reader().queues("", 3).await.unwrap();
        let names: Vec<_> = page.rows.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            (names, page.has_more),
            (vec!["Alpha", "default", "zebra"], true),
            "in the order of bytes"
        );
        assert_eq!(stage.reader().queues("zebra", 3).await.unwrap().rows[0].0, "émile");
        let empty = stage.reader().queue_numbers("zebra").await.unwrap();
        assert_eq!((empty.waiting, empty.running), (0, 0));
        assert_eq!(stage.reader().oldest_waiting_at("zebra").await.unwrap(), None);
        stage.apply(enqueue(vec![new_job_in("zebra"); 3])).await;
        stage.pass_millis(50);
        stage.apply(enqueue(vec![new_job_in("zebra")])).await;
        let worker = stage.worker().await;
        let claimed = stage.hand.claim(worker, 2).await;
        stage.end(&claimed[0], AttemptOutcome::Succeeded).await;
        let numbers = stage.reader().queue_numbers("zebra").await.unwrap();
        assert_eq!((numbers.waiting, numbers.running), (2, 1));
        assert_eq!(stage.reader().oldest_waiting_at("zebra").await.unwrap(), Some(T0));
    });
}

fn token(name: &str, digest: &str) -> PutToken {
    let tasks = Some(vec!["it's *".to_owned()]);
    let grants = vec![Grant { verb: GrantVerb::Enqueue, tasks, own_jobs_only: true }];
    PutToken { name: name.to_owned(), digest: digest.to_owned(), grants }
}

#[test]
fn a_token_is_known_by_its_digest_until_it_expires_or_is_revoked() {
    on_both(async |stage| {
        stage.apply(token("zoë", "d1")).await;
        let viewer = stage.reader().viewer("d1", T0).await.unwrap().unwrap();
        assert_eq!((viewer.token_name.as_str(), &viewer.grants), ("zoë", &token("zoë", "d1").grants));
        assert!(stage.reader().viewer("D1", T0).await.unwrap().is_none());
        assert!(stage.reader().viewer("", T0).await.unwrap().is_none());
        stage.execute(&format!("UPDATE tokens SET expires_at_us = {}", T0.0 + 1_000)).await;
        assert!(stage.reader().viewer("d1", T0).await.unwrap().is_some());
        assert!(
            stage.reader().viewer("d1", T0.plus_millis(1)).await.unwrap().is_none(),
            "at the instant itself"
        );
        stage.execute(&format!("UPDATE tokens SET expires_at_us = NULL, revoked_at_us = {}", T0.0)).await;
        assert!(stage.reader().viewer("d1", T0).await.unwrap().is_none());
    });
}

#[test]
fn a_new_secret_replaces_the_old_one() {
    on_both(async |stage| {
        stage.apply(token("cli", "old")).await;
        let old = stage.reader().viewer("old", T0).await.unwrap().unwrap();
        stage.apply(token("cli", "new")).await;
        assert!(stage.reader().viewer("old", T0).await.unwrap().is_none());
        let new = stage.reader().viewer("new", T0).await.unwrap().unwrap();
        assert_eq!(new.token_id, old.token_id, "its keys stay its own");
        stage.apply(token("other", "another")).await;
        let other = stage.reader().viewer("another", T0).await.unwrap().unwrap();
        assert_ne!(other.token_id, new.token_id);
    });
}

#[test]
fn workers_come_and_go_and_a_dead_one_is_buried_by_the_next() {
    on_both(async |stage| {
        let start = |name: &str| StartWorker {
            version: "1.2".to_owned(),
            slots: 3,
            labels: vec![label("gpu", "a100")],
            ..start_worker(name)
        };
        // One without a lease was moved here with the file that it owned, and has ended with it.
        let moved = stage.apply(StartWorker { lease: None, ..start("moved") }).await;
        let first = stage.apply(start("one")).await;
        stage.pass_millis(5);
        let second = stage.apply(start("two")).await;
        let worker = async |id: WorkerId| stage.reader().worker(id).await.unwrap().unwrap();
        let buried = stage.is_sqlite().then(|| T0.plus_millis(5));
        assert_eq!(worker(first).await.stopped_at, buried, "several live on PostgreSQL, one on a file");
        assert_eq!(worker(moved).await.stopped_at, Some(T0));
        let live = worker(second).await;
        assert_eq!((live.name.as_str(), live.version.as_str(), live.slots), ("two", "1.2", 3));
        assert_eq!(live.labels, [label("gpu", "a100")]);
        assert_eq!((live.started_at, live.stopped_at), (T0.plus_millis(5), None));
        let retire = |is_gone| RetireWorker { id: second, name: "two".to_owned(), is_gone };
        stage.apply(retire(false)).await;
        assert_eq!(worker(second).await.stopped_at, None);
        stage.pass_millis(5);
        stage.apply(retire(true)).await;
        assert_eq!(worker(second).await.stopped_at, Some(T0.plus_millis(10)));
        let filter = EventFilter { types: Some(vec![EventType::WorkerChanged]), ..EventFilter::default() };
        let told: Vec<_> =
            stage.events(&filter).await.iter().map(|event| event.data.0["status"].clone()).collect();
        assert_eq!(told, ["ONLINE", "ONLINE", "ONLINE", "DRAINING", "OFFLINE"]);
        let page = stage.reader().workers(i64::MAX, 1).await.unwrap();
        assert_eq!((page.rows[0].1.id, page.has_more), (second, true), "the newest first");
        let rest = stage.reader().workers(second.0, 5).await.unwrap();
        assert_eq!((rest.rows.len(), rest.rows[0].1.id), (2, first));
        assert!(stage.reader().worker(WorkerId(404)).await.unwrap().is_none());
    });
}
