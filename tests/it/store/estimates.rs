//! How long jobs of a task usually take: the newest successes alone count, and a look at them stays small.

use beadle::domain::attempt::AttemptOutcome;
use beadle::domain::id::TaskId;
use beadle::domain::limits::{ESTIMATE_JOBS_MAX, ESTIMATE_SUCCESSES};
use beadle::domain::new_job::{NewJob, TaskOfJob};

use super::stage::{Stage, new_job, on_both};

fn job_of(task: i64) -> NewJob {
    let task = TaskOfJob { id: TaskId(task), name: format!("task-{task}"), revision: 1 };
    NewJob { task: Some(task), ..new_job() }
}

/// A job of the task that took so long, in milliseconds.
async fn ran(stage: &Stage, task: i64, millis: i64, outcome: AttemptOutcome) {
    let claimed = stage.running(job_of(task)).await;
    stage.pass_millis(millis);
    stage.end(&claimed, outcome).await;
}

async fn durations(stage: &Stage, tasks: &[i64]) -> Vec<Vec<i64>> {
    let ids: Vec<_> = tasks.iter().map(|id| TaskId(*id)).collect();
    let mut found = stage.reader().success_durations(&ids).await.expect("the store can be read");
    let sorted = |id: &TaskId| {
        let mut millis: Vec<_> =
            found.remove(id).unwrap_or_default().iter().map(|micros| micros / 1_000).collect();
        millis.sort_unstable();
        millis
    };
    ids.iter().map(sorted).collect()
}

#[test]
fn only_successes_of_the_task_count_and_only_the_newest() {
    on_both(async |stage| {
        ran(&stage, 1, 9_000, AttemptOutcome::Succeeded).await;
        ran(&stage, 2, 7, AttemptOutcome::Succeeded).await;
        for millis in 1..=ESTIMATE_SUCCESSES {
            ran(&stage, 1, millis, AttemptOutcome::Succeeded).await;
            if millis % 5 == 0 {
                ran(&stage, 1, 500, AttemptOutcome::Exited).await;
            }
        }
        ran(&stage, 3, 5, AttemptOutcome::Exited).await;
        stage.running(job_of(1)).await;
        let newest: Vec<_> = (1..=ESTIMATE_SUCCESSES).collect();
        assert_eq!(durations(&stage, &[1, 2, 3, 4]).await, [newest, vec![7], vec![], vec![]]);
        assert!(stage.reader().success_durations(&[]).await.unwrap().is_empty());
    });
}

#[test]
fn a_success_that_lies_far_back_is_not_looked_for() {
    on_both(async |stage| {
        ran(&stage, 1, 5, AttemptOutcome::Succeeded).await;
        for _ in 0..ESTIMATE_JOBS_MAX - 1 {
            stage.enqueue(job_of(1)).await;
        }
        assert_eq!(durations(&stage, &[1]).await, [vec![5]]);
        stage.enqueue(job_of(1)).await;
        assert_eq!(durations(&stage, &[1]).await, [Vec::<i64>::new()]);
    });
}
