//! What a task has been, revision by revision, and how its last jobs ended.

use beadle::domain::attempt::AttemptOutcome;
use beadle::domain::job::JobState;
use beadle::domain::new_job::{NewJob, TaskOfJob};
use beadle::store::tasks::PutTask;

use super::stage::{enqueue, new_job, on_both};
use super::tasks::task_put;

#[test]
fn revisions_are_listed_from_the_newest_on_with_who_put_them() {
    on_both(async |stage| {
        let mut id = None;
        for (at, actor) in [(1, "ann"), (2, "bob"), (3, "ann")] {
            let mut task = task_put("t");
            task.definition.priority = at;
            task.definition.concurrency_limit = Some(at);
            stage.pass_millis(10);
            id = Some(stage.apply(PutTask { task, actor: actor.to_owned() }).await);
        }
        stage.apply(PutTask { task: task_put("other"), actor: "ann".to_owned() }).await;
        let id = id.expect("three were put");
        let page = stage.reader().task_revisions(id, i64::MAX, 2).await.expect("the store can be read");
        let told = |page: &beadle::store::page::Page<beadle::domain::task::TaskRevision>| {
            let one = |(position, revision): &(String, beadle::domain::task::TaskRevision)| {
                assert_eq!(*position, revision.revision.to_string());
                let definition = &revision.definition;
                assert_eq!(definition.concurrency_limit, Some(definition.priority));
                (revision.revision, revision.actor.clone(), definition.priority)
            };
            page.rows.iter().map(one).collect::<Vec<_>>()
        };
        assert_eq!(told(&page), [(3, "ann".to_owned(), 3), (2, "bob".to_owned(), 2)]);
        assert!(page.has_more && page.rows[0].1.created_at > page.rows[1].1.created_at);
        let rest = stage.reader().task_revisions(id, 2, 2).await.expect("the store can be read");
        assert_eq!((told(&rest), rest.has_more), (vec![(1, "ann".to_owned(), 1)], false));
    });
}

#[test]
fn statistics_look_at_the_newest_jobs_that_have_ended() {
    on_both(async |stage| {
        let id = stage.apply(PutTask { task: task_put("t"), actor: "ann".to_owned() }).await;
        let task = Some(TaskOfJob { id, name: "t".to_owned(), revision: 1 });
        let job = || NewJob { task: task.clone(), ..new_job() };
        for outcome in [AttemptOutcome::Succeeded, AttemptOutcome::Exited, AttemptOutcome::Succeeded] {
            let claimed = stage.running(job()).await;
            stage.pass_millis(10);
            stage.end(&claimed, outcome).await;
            // Neither another task's nor one that has not ended.
            let other = stage.running(new_job()).await;
            stage.end(&other, AttemptOutcome::Exited).await;
        }
        stage.apply(enqueue(vec![NewJob { is_held: true, ..job() }])).await;
        let ended = stage.reader().ended_jobs_of(id).await.expect("the store can be read");
        let states: Vec<_> = ended.iter().map(|job| job.state).collect();
        assert_eq!(states, [JobState::Succeeded, JobState::Failed, JobState::Succeeded]);
        assert!(ended.is_sorted_by(|newer, older| newer.id > older.id));
        let took =
            |at: usize| ended[at].finished_at.since(ended[at].started_at.expect("it began")).as_millis();
        assert_eq!((took(0), took(1)), (10, 10));
        // Far more than are looked at.
        for _ in 0..100 {
            let claimed = stage.running(job()).await;
            stage.end(&claimed, AttemptOutcome::Succeeded).await;
        }
        let ended = stage.reader().ended_jobs_of(id).await.expect("the store can be read");
        assert_eq!((ended.len(), ended[99].state), (100, JobState::Succeeded));
    });
}
