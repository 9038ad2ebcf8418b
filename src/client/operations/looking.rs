//! Owns the operations of the commands that look over many things at once: `plan`, `apply`, `next`, `top` and `why`.

use serde_json::{Value, json};

use super::super::answers::{
    Answer, JobWhy, Outcome, Page, SchedulePlan, Top, WithQueue, WithSchedule, WithTask,
};
use super::super::{Client, ClientError};
use super::{
    JOB_WHY, NEXT, PLAN_QUEUES, PLAN_SCHEDULES, PLAN_TASKS, PageOf, QUEUE_PUT, SCHEDULE_PUT, TASK_PUT, TOP,
    list, mutate, one, put, shaped,
};

/// A page of queues with all that can be defined of them, as it came.
pub fn plan_queues(client: &Client, page: &PageOf<()>) -> Result<Answer<Page<Value>>, ClientError> {
    list(client, PLAN_QUEUES, "queues", page)
}

/// A page of tasks, archived ones too, with all that can be defined of them, as it came.
pub fn plan_tasks(client: &Client, page: &PageOf<()>) -> Result<Answer<Page<Value>>, ClientError> {
    list(client, PLAN_TASKS, "tasks", page)
}

/// A page of schedules with all that can be defined of them, as it came.
pub fn plan_schedules(client: &Client, page: &PageOf<()>) -> Result<Answer<Page<Value>>, ClientError> {
    list(client, PLAN_SCHEDULES, "schedules", page)
}

/// Makes a queue be as `input`, a whole `QueuePutInput`, says.
pub fn define_queue(client: &Client, input: &Value) -> Result<Answer<Outcome<WithQueue>>, ClientError> {
    mutate(client, QUEUE_PUT, "queuePut", input)
}

/// Makes a task be as `input`, a whole `TaskPutInput`, says.
pub fn define_task(client: &Client, input: &Value) -> Result<Answer<Outcome<WithTask>>, ClientError> {
    mutate(client, TASK_PUT, "taskPut", input)
}

/// Makes a schedule be as `input`, a whole `SchedulePutInput`, says.
pub fn define_schedule(client: &Client, input: &Value) -> Result<Answer<Outcome<WithSchedule>>, ClientError> {
    mutate(client, SCHEDULE_PUT, "schedulePut", input)
}

/// A page of schedules with their next due times, up to `times` of each.
pub fn next(
    client: &Client,
    first: usize,
    after: Option<&str>,
    times: usize,
) -> Result<Answer<Page<SchedulePlan>>, ClientError> {
    let mut variables = json!({ "first": first, "times": times });
    put(&mut variables, "after", after);
    one(client, NEXT, "schedules", variables, "schedules")
}

/// What runs, and what waits where.
pub fn top(client: &Client, first: usize) -> Result<Answer<Top>, ClientError> {
    let data = client.query(TOP, json!({ "first": first }))?;
    Ok(Answer { value: shaped("jobs", data.clone())?, data })
}

/// Why a job waits, or how it ended; `NotFound` when there is none.
pub fn job_why(client: &Client, id: &str) -> Result<Answer<JobWhy>, ClientError> {
    one(client, JOB_WHY, "job", json!({ "id": id }), &format!("job {id}"))
}
