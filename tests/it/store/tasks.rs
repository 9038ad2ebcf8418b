//! Tasks: every change is a revision, and what is no change is none.

use beadle::domain::command::Command;
use beadle::domain::duration::Span;
use beadle::domain::event::EventType;
use beadle::domain::filter::{EventFilter, TaskFilter};
use beadle::domain::id::TaskId;
use beadle::domain::queue::DEFAULT_QUEUE;
use beadle::domain::rejection::UserErrorCode;
use beadle::domain::retry::RetryPolicy;
use beadle::domain::task::{TaskDefinition, TaskPut, TaskRef};
use beadle::store::tasks::{ArchiveTask, PutTask};

use super::stage::{Stage, T0, on_both};

/// A plain task.
pub fn task_put(name: &str) -> TaskPut {
    let definition = TaskDefinition {
        merges_output: false,
        runs_on: Vec::new(),
        description: None,
        command: Command { argv: vec!["true".to_owned()], ..Command::none() },
        queue_name: DEFAULT_QUEUE.to_owned(),
        priority: 0,
        timeout: None,
        idle_timeout: None,
        kill_grace: Span::from_secs(10),
        retry_policy: RetryPolicy::default(),
        is_restartable: true,
        parameters_schema: None,
        concurrency_limit: None,
        max_timeout: None,
    };
    TaskPut { name: name.to_owned(), expected_revision: None, definition }
}

fn put(task: TaskPut) -> PutTask {
    PutTask { task, actor: "tester".to_owned() }
}

fn described(name: &str, description: &str) -> TaskPut {
    let mut task = task_put(name);
    task.definition.description = Some(description.to_owned());
    task
}

async fn changes(stage: &Stage) -> usize {
    let filter = EventFilter { types: Some(vec![EventType::TaskChanged]), ..EventFilter::default() };
    stage.events(&filter).await.len()
}

async fn names(stage: &Stage, filter: &TaskFilter) -> Vec<String> {
    let page = stage.reader().tasks(filter, "", 100).await.expect("the store can be read");
    page.rows.into_iter().map(|(name, _)| name).collect()
}

#[test]
fn each_change_is_a_revision_and_an_equal_put_is_none() {
    on_both(async |stage| {
        let id = stage.apply(put(described("naïve", "it's \"one\" 🦀"))).await;
        stage.pass_millis(10);
        assert_eq!(stage.apply(put(described("naïve", "it's \"one\" 🦀"))).await, id);
        assert_eq!(changes(&stage).await, 1);
        stage.pass_millis(10);
        assert_eq!(stage.apply(put(described("naïve", "two"))).await, id);
        let task = stage.reader().task(&TaskRef::Name("naïve".to_owned())).await.unwrap().unwrap();
        assert_eq!((task.id, task.revision), (id, 2));
        assert_eq!((task.created_at, task.updated_at), (T0, T0.plus_millis(20)));
        assert_eq!(task.definition, described("naïve", "two").definition);
        assert_eq!(changes(&stage).await, 2);
        let kept = format!("SELECT count(*) FROM task_revisions WHERE task_id = {}", id.0);
        assert_eq!(stage.number(&kept).await, 2);
        assert_eq!(stage.reader().task(&TaskRef::Id(TaskId(404))).await.unwrap().map(|task| task.id), None);
    });
}

#[test]
fn a_put_that_expects_another_revision_is_refused() {
    on_both(async |stage| {
        let expecting = |description, revision| {
            put(TaskPut { expected_revision: Some(revision), ..described("t", description) })
        };
        assert_eq!(stage.rejection(expecting("one", 1)).await.code, UserErrorCode::StaleRevision);
        stage.apply(expecting("one", 0)).await;
        assert_eq!(stage.rejection(expecting("two", 0)).await.code, UserErrorCode::StaleRevision);
        stage.apply(expecting("two", 1)).await;
        let refused = stage.rejection(expecting("one", 1)).await;
        assert_eq!(refused.path, Some(vec!["expectedRevision".to_owned()]));
        assert!(refused.message.contains("revision 2"), "{}", refused.message);
        // Also an equal one: the caller's picture is old.
        assert_eq!(stage.rejection(expecting("two", 1)).await.code, UserErrorCode::StaleRevision);
        assert_eq!(changes(&stage).await, 2);
    });
}

#[test]
fn a_task_in_an_unknown_queue_is_refused() {
    on_both(async |stage| {
        let mut task = task_put("t");
        task.definition.queue_name = "nowhere".to_owned();
        assert_eq!(stage.rejection(put(task)).await.code, UserErrorCode::NotFound);
        assert_eq!(names(&stage, &TaskFilter::default()).await, Vec::<String>::new());
    });
}

#[test]
fn an_archived_task_comes_back_by_a_put() {
    on_both(async |stage| {
        let archive = || ArchiveTask { task: TaskRef::Name("t".to_owned()), actor: "tester".to_owned() };
        assert_eq!(stage.rejection(archive()).await.code, UserErrorCode::NotFound);
        let id = stage.apply(put(task_put("t"))).await;
        stage.pass_millis(5);
        assert_eq!(stage.apply(archive()).await, id);
        let by_id = || async { stage.reader().task(&TaskRef::Id(id)).await.unwrap().unwrap() };
        assert_eq!(by_id().await.archived_at, Some(T0.plus_millis(5)));
        stage.pass_millis(5);
        stage.apply(archive()).await;
        assert_eq!(by_id().await.archived_at, Some(T0.plus_millis(5)), "the first instant stands");
        assert_eq!(changes(&stage).await, 2);
        assert!(names(&stage, &TaskFilter::default()).await.is_empty());
        let archived_too = TaskFilter { include_archived: true, ..TaskFilter::default() };
        assert_eq!(names(&stage, &archived_too).await, ["t"]);
        assert_eq!(stage.apply(put(task_put("t"))).await, id);
        let back = by_id().await;
        assert_eq!((back.archived_at, back.revision), (None, 2), "also an equal put brings it back");
    });
}

#[test]
fn tasks_are_listed_by_name_and_found_by_what_they_say() {
    on_both(async |stage| {
        stage.put_queue("red", None).await;
        for name in ["zebra", "Alpha", "beta_1", "betax1", "émile"] {
            stage.apply(put(described(name, "100% of it"))).await;
        }
        let mut red = task_put("red one");
        red.definition.queue_name = "red".to_owned();
        stage.apply(put(red)).await;
        // In the order of bytes, on both engines.
        let all = ["Alpha", "beta_1", "betax1", "red one", "zebra", "émile"];
        assert_eq!(names(&stage, &TaskFilter::default()).await, all);
        let first = stage.reader().tasks(&TaskFilter::default(), "", 4).await.unwrap();
        assert!(first.has_more);
        let rest = stage.reader().tasks(&TaskFilter::default(), &first.rows[3].0, 4).await.unwrap();
        let rest: Vec<_> = rest.rows.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(rest, all[4..]);
        let text = |text: &str| TaskFilter { text: Some(text.to_owned()), ..TaskFilter::default() };
        assert_eq!(names(&stage, &text("ALPHA")).await, ["Alpha"]);
        assert_eq!(names(&stage, &text("a_1")).await, ["beta_1"], "a wildcard is a plain sign");
        assert_eq!(names(&stage, &text("100% OF")).await.len(), 5);
        assert_eq!(names(&stage, &text("100%%")).await.len(), 0);
        let red = TaskFilter { queues: Some(vec!["red".to_owned()]), ..TaskFilter::default() };
        assert_eq!(names(&stage, &red).await, ["red one"]);
    });
}
