//! Owns one typed function for each operation of the API that we use, over the documents in `queries/`.
//! It never decides what a refusal means, and never retries.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::answers::{
    Answer, AttemptRef, BulkChanged, Cancelled, Deleted, DueTime, Enqueued, EventBatch, Health, JobDetail,
    JobProgress, JobRow, LogBatch, Outcome, Page, ScheduleDetail, ScheduleRow, Status, TaskDetail, TaskRow,
    UserError, WithJob, WithSchedule, WithTask,
};
use super::inputs::{
    EventFilter, JobBulk, JobCancel, JobEnqueue, JobFilter, JobRetry, JobUpdate, Ref, Referred,
    ScheduleFilter, SchedulePause, SchedulePreview, SchedulePut, ScheduleTrigger, TaskFilter, TaskPut,
};
use super::{Client, ClientError, Payloads};

mod incidents;
mod looking;
mod queues;
mod sinks;
mod tokens;

pub use {incidents::*, looking::*, queues::*, sinks::*, tokens::*};

macro_rules! documents {
    ($($constant:ident = $file:literal;)*) => {
        $(const $constant: &str = include_str!(concat!("queries/", $file, ".graphql"));)*
        /// Every document that this client can send, by its file's name.
        pub const DOCUMENTS: &[(&str, &str)] = &[$(($file, $constant)),*];
    };
}

documents! {
    ATTEMPT_LOG = "attempt_log";
    EVENTS = "events";
    EVENTS_FOLLOW = "events_follow";
    EVENT_CURSOR = "event_cursor";
    HEALTH = "health";
    INCIDENT = "incident";
    INCIDENTS = "incidents";
    INCIDENT_ACKNOWLEDGE = "incident_acknowledge";
    INCIDENT_IGNORE = "incident_ignore";
    INCIDENT_RESOLVE = "incident_resolve";
    INCIDENT_RETRY = "incident_retry";
    JOB = "job";
    JOBS = "jobs";
    JOB_ATTEMPTS = "job_attempts";
    JOB_BULK_CANCEL = "job_bulk_cancel";
    JOB_BULK_RETRY = "job_bulk_retry";
    JOB_CANCEL = "job_cancel";
    JOB_ENQUEUE = "job_enqueue";
    JOB_FOLLOW = "job_follow";
    JOB_HOLD = "job_hold";
    JOB_LOG = "job_log";
    JOB_LOG_FOLLOW = "job_log_follow";
    JOB_RELEASE = "job_release";
    JOB_RETRY = "job_retry";
    JOB_UPDATE = "job_update";
    JOB_WAIT = "job_wait";
    JOB_WHY = "job_why";
    NEXT = "next";
    PLAN_QUEUES = "plan_queues";
    PLAN_SCHEDULES = "plan_schedules";
    PLAN_TASKS = "plan_tasks";
    QUEUE = "queue";
    QUEUES = "queues";
    QUEUE_PAUSE = "queue_pause";
    QUEUE_PUT = "queue_put";
    QUEUE_RESUME = "queue_resume";
    SCHEDULE = "schedule";
    SCHEDULES = "schedules";
    SCHEDULE_DELETE = "schedule_delete";
    SCHEDULE_PAUSE = "schedule_pause";
    SCHEDULE_PREVIEW = "schedule_preview";
    SCHEDULE_PUT = "schedule_put";
    SCHEDULE_RESUME = "schedule_resume";
    SCHEDULE_TRIGGER = "schedule_trigger";
    SCHEDULE_UPCOMING = "schedule_upcoming";
    SINKS = "sinks";
    SINK_DISCARD = "sink_discard";
    SINK_LETTERS = "sink_letters";
    SINK_REDELIVER = "sink_redeliver";
    STATUS = "status";
    TASK = "task";
    TASKS = "tasks";
    TASK_ARCHIVE = "task_archive";
    TASK_PUT = "task_put";
    TOKENS = "tokens";
    TOKEN_CREATE = "token_create";
    TOKEN_REVOKE = "token_revoke";
    TOP = "top";
    VIEWER = "viewer";
}

/// The rows of one page to ask for, and where it begins.
#[derive(Debug, Clone, Default)]
pub struct PageOf<F> {
    /// Rows.
    pub first: usize,
    /// The `endCursor` of the page before.
    pub after: Option<String>,
    /// Which rows.
    pub filter: F,
}

/// The part of a log to ask for.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LogPart {
    /// Lines from `after` on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<usize>,
    /// A log cursor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The newest lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<usize>,
    /// Empty means every stream.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<String>,
    /// Only lines with this text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grep: Option<String>,
}

/// Where a stream about a job goes on. Empty at its beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursors {
    /// In the feed.
    pub after: Option<String>,
    /// In the log.
    pub log_after: Option<String>,
}

/// Asks for a job to be run.
pub fn job_enqueue(client: &Client, input: &JobEnqueue) -> Result<Answer<Outcome<Enqueued>>, ClientError> {
    mutate(client, JOB_ENQUEUE, "jobEnqueue", input)
}

/// Asks for a job to be stopped, or never started.
pub fn job_cancel(client: &Client, input: &JobCancel) -> Result<Answer<Outcome<Cancelled>>, ClientError> {
    mutate(client, JOB_CANCEL, "jobCancel", input)
}

/// Asks for every job under a filter to be stopped, or never started.
pub fn job_bulk_cancel(
    client: &Client,
    input: &JobBulk,
) -> Result<Answer<Outcome<BulkChanged>>, ClientError> {
    mutate(client, JOB_BULK_CANCEL, "jobBulkCancel", input)
}

/// Makes new jobs that repeat the final ones under a filter.
pub fn job_bulk_retry(client: &Client, input: &JobBulk) -> Result<Answer<Outcome<BulkChanged>>, ClientError> {
    mutate(client, JOB_BULK_RETRY, "jobBulkRetry", input)
}

/// Keeps a job that waits from starting.
pub fn job_hold(client: &Client, id: &str) -> Result<Answer<Outcome<WithJob>>, ClientError> {
    mutate(client, JOB_HOLD, "jobHold", &json!({ "id": id }))
}

/// Lets a job that is on hold wait for its turn.
pub fn job_release(client: &Client, id: &str) -> Result<Answer<Outcome<WithJob>>, ClientError> {
    mutate(client, JOB_RELEASE, "jobRelease", &json!({ "id": id }))
}

/// Changes where and when a job waits.
pub fn job_update(client: &Client, input: &JobUpdate) -> Result<Answer<Outcome<WithJob>>, ClientError> {
    mutate(client, JOB_UPDATE, "jobUpdate", input)
}

/// Makes a new job that repeats a final one.
pub fn job_retry(client: &Client, input: &JobRetry) -> Result<Answer<Outcome<WithJob>>, ClientError> {
    mutate(client, JOB_RETRY, "jobRetry", input)
}

/// One job; `NotFound` when there is none.
pub fn job(client: &Client, id: &str) -> Result<Answer<JobDetail>, ClientError> {
    one(client, JOB, "job", json!({ "id": id }), &format!("job {id}"))
}

/// A page of jobs, newest first.
pub fn jobs(client: &Client, page: &PageOf<JobFilter>) -> Result<Answer<Page<JobRow>>, ClientError> {
    list(client, JOBS, "jobs", page)
}

/// Numbers and ids of a job's attempts.
pub fn job_attempts(
    client: &Client,
    id: &str,
    page: &PageOf<()>,
) -> Result<Answer<Page<AttemptRef>>, ClientError> {
    let variables = json!({ "id": id, "first": page.first, "after": page.after });
    inner(client, JOB_ATTEMPTS, ["job", "attempts"], variables, &format!("job {id}"))
}

/// A part of the log of a job's current, else last attempt.
pub fn job_log(client: &Client, id: &str, part: &LogPart) -> Result<Answer<LogBatch>, ClientError> {
    inner(client, JOB_LOG, ["job", "log"], with_id(id, part), &format!("job {id}"))
}

/// A part of the log of one attempt, by the attempt's id.
pub fn attempt_log(client: &Client, id: &str, part: &LogPart) -> Result<Answer<LogBatch>, ClientError> {
    inner(client, ATTEMPT_LOG, ["node", "log"], with_id(id, part), id)
}

/// The log of a job as it is written; completes when no line can come any more.
pub fn job_log_follow(
    client: &Client,
    id: &str,
    attempt: Option<i32>,
    part: &LogPart,
) -> Result<Payloads, ClientError> {
    let mut variables = with_id(id, part);
    if let Some(number) = attempt {
        variables["attempt"] = json!(number);
    }
    client.subscribe(JOB_LOG_FOLLOW, variables)
}

/// State and log of a job in one stream, cut after `length`; completes when the job is final.
pub fn job_follow(
    client: &Client,
    id: &str,
    cursors: &Cursors,
    length: Option<std::time::Duration>,
) -> Result<Payloads, ClientError> {
    let mut variables = json!({ "id": id });
    put(&mut variables, "after", cursors.after.as_deref());
    put(&mut variables, "logAfter", cursors.log_after.as_deref());
    client.subscribe_within(JOB_FOLLOW, variables, length)
}

/// The state of a job, cut after `length`; completes when the job is final.
pub fn job_wait(
    client: &Client,
    id: &str,
    cursors: &Cursors,
    length: Option<std::time::Duration>,
) -> Result<Payloads, ClientError> {
    let mut variables = json!({ "id": id });
    put(&mut variables, "after", cursors.after.as_deref());
    client.subscribe_within(JOB_WAIT, variables, length)
}

/// The message in a payload of [`job_follow`] or [`job_wait`].
pub fn job_progress(payload: &Value) -> Result<JobProgress, ClientError> {
    let root = payload.get("jobFollow").or_else(|| payload.get("job"));
    shaped("jobFollow", root.cloned().unwrap_or_default())
}

/// The lines in a payload of [`job_log_follow`].
pub fn log_batch(payload: &Value) -> Result<LogBatch, ClientError> {
    shaped("jobLog", payload["jobLog"].clone())
}

/// The daemon at a glance.
pub fn status(client: &Client) -> Result<Answer<Status>, ClientError> {
    let data = client.query(STATUS, json!({}))?;
    Ok(Answer { value: shaped("status", data.clone())?, data })
}

/// How the daemon's parts are.
pub fn health(client: &Client) -> Result<Answer<Health>, ClientError> {
    one(client, HEALTH, "health", json!({}), "health")
}

/// A page of the feed, oldest first.
pub fn events(client: &Client, page: &PageOf<EventFilter>) -> Result<Answer<EventBatch>, ClientError> {
    one(client, EVENTS, "events", page_variables(page), "events")
}

/// The feed as it grows; without `after` from now on.
pub fn events_follow(
    client: &Client,
    after: Option<&str>,
    filter: &EventFilter,
) -> Result<Payloads, ClientError> {
    let mut variables = json!({ "filter": filter });
    put(&mut variables, "after", after);
    client.subscribe(EVENTS_FOLLOW, variables)
}

/// The batch in a payload of [`events_follow`].
pub fn event_batch(payload: &Value) -> Result<EventBatch, ClientError> {
    shaped("events", payload["events"].clone())
}

/// The newest position of the feed.
pub fn event_cursor(client: &Client) -> Result<Answer<String>, ClientError> {
    one(client, EVENT_CURSOR, "eventCursor", json!({}), "event")
}

/// Makes a task, or a new revision of it.
pub fn task_put(client: &Client, input: &TaskPut) -> Result<Answer<Outcome<WithTask>>, ClientError> {
    mutate(client, TASK_PUT, "taskPut", input)
}

/// Takes a task out of use.
pub fn task_archive(client: &Client, input: &Referred) -> Result<Answer<Outcome<WithTask>>, ClientError> {
    mutate(client, TASK_ARCHIVE, "taskArchive", input)
}

/// One task; `NotFound` when there is none.
pub fn task(client: &Client, name: &str) -> Result<Answer<TaskDetail>, ClientError> {
    one(client, TASK, "task", json!({ "ref": Ref::name(name) }), &format!("task {name:?}"))
}

/// A page of tasks.
pub fn tasks(client: &Client, page: &PageOf<TaskFilter>) -> Result<Answer<Page<TaskRow>>, ClientError> {
    list(client, TASKS, "tasks", page)
}

/// Makes a schedule, or changes it.
pub fn schedule_put(
    client: &Client,
    input: &SchedulePut,
) -> Result<Answer<Outcome<WithSchedule>>, ClientError> {
    mutate(client, SCHEDULE_PUT, "schedulePut", input)
}

/// Lets a schedule make nothing for a while.
pub fn schedule_pause(
    client: &Client,
    input: &SchedulePause,
) -> Result<Answer<Outcome<WithSchedule>>, ClientError> {
    mutate(client, SCHEDULE_PAUSE, "schedulePause", input)
}

/// Ends a pause.
pub fn schedule_resume(
    client: &Client,
    input: &Referred,
) -> Result<Answer<Outcome<WithSchedule>>, ClientError> {
    mutate(client, SCHEDULE_RESUME, "scheduleResume", input)
}

/// Makes a job of a schedule now.
pub fn schedule_trigger(
    client: &Client,
    input: &ScheduleTrigger,
) -> Result<Answer<Outcome<WithJob>>, ClientError> {
    mutate(client, SCHEDULE_TRIGGER, "scheduleTrigger", input)
}

/// Removes a schedule.
pub fn schedule_delete(client: &Client, input: &Referred) -> Result<Answer<Outcome<Deleted>>, ClientError> {
    mutate(client, SCHEDULE_DELETE, "scheduleDelete", input)
}

/// One schedule; `NotFound` when there is none.
pub fn schedule(client: &Client, name: &str) -> Result<Answer<ScheduleDetail>, ClientError> {
    one(client, SCHEDULE, "schedule", json!({ "ref": Ref::name(name) }), &format!("schedule {name:?}"))
}

/// A page of schedules.
pub fn schedules(
    client: &Client,
    page: &PageOf<ScheduleFilter>,
) -> Result<Answer<Page<ScheduleRow>>, ClientError> {
    list(client, SCHEDULES, "schedules", page)
}

/// The next due times of a schedule; with `after` only later ones, RFC 3339.
pub fn schedule_upcoming(
    client: &Client,
    name: &str,
    first: usize,
    after: Option<&str>,
) -> Result<Answer<Vec<DueTime>>, ClientError> {
    let mut variables = json!({ "ref": Ref::name(name), "first": first });
    put(&mut variables, "after", after);
    inner(client, SCHEDULE_UPCOMING, ["schedule", "upcoming"], variables, &format!("schedule {name:?}"))
}

/// The next due times that a schedule would have.
pub fn schedule_preview(
    client: &Client,
    preview: &SchedulePreview,
) -> Result<Answer<Vec<DueTime>>, ClientError> {
    let variables = json!(preview);
    one(client, SCHEDULE_PREVIEW, "schedulePreview", variables, "preview")
}

fn mutate<T: DeserializeOwned>(
    client: &Client,
    document: &str,
    field: &str,
    input: &impl Serialize,
) -> Result<Answer<Outcome<T>>, ClientError> {
    let data = client.query(document, json!({ "input": input }))?;
    let payload = &data[field];
    let errors: Vec<UserError> = shaped(field, payload["userErrors"].clone())?;
    let done = shaped(field, payload.clone());
    let value =
        if errors.is_empty() { Outcome::Done(done?) } else { Outcome::Refused { errors, done: done.ok() } };
    Ok(Answer { data, value })
}

/// The field at the root; a null means that there is no `what`.
fn one<T: DeserializeOwned>(
    client: &Client,
    document: &str,
    field: &str,
    variables: Value,
    what: &str,
) -> Result<Answer<T>, ClientError> {
    let data = client.query(document, variables)?;
    if data[field].is_null() {
        return Err(ClientError::not_found(what));
    }
    Ok(Answer { value: shaped(field, data[field].clone())?, data })
}

/// The field of a thing at the root; a null or a thing of another kind means that there is no `what`.
fn inner<T: DeserializeOwned>(
    client: &Client,
    document: &str,
    [root, field]: [&str; 2],
    variables: Value,
    what: &str,
) -> Result<Answer<T>, ClientError> {
    let data = client.query(document, variables)?;
    if data[root][field].is_null() {
        return Err(ClientError::not_found(what));
    }
    Ok(Answer { value: shaped(field, data[root][field].clone())?, data })
}

fn list<T: DeserializeOwned>(
    client: &Client,
    document: &str,
    field: &str,
    page: &PageOf<impl Serialize>,
) -> Result<Answer<Page<T>>, ClientError> {
    one(client, document, field, page_variables(page), field)
}

fn page_variables(page: &PageOf<impl Serialize>) -> Value {
    let mut variables = json!({ "first": page.first, "filter": page.filter });
    put(&mut variables, "after", page.after.as_deref());
    // A list without a filter: a variable that the document does not declare is not sent.
    if let Value::Object(fields) = &mut variables {
        fields.retain(|_, value| !value.is_null());
    }
    variables
}

fn with_id(id: &str, part: &LogPart) -> Value {
    let mut variables = json!(part);
    variables["id"] = json!(id);
    variables
}

fn put(variables: &mut Value, name: &str, value: Option<&str>) {
    if let Some(text) = value {
        variables[name] = json!(text);
    }
}

fn shaped<T: DeserializeOwned>(field: &str, value: Value) -> Result<T, ClientError> {
    serde_json::from_value(value).map_err(|error| {
        ClientError::foreign("the address", &format!("`{field}` has another shape: {error}"))
    })
}

#[cfg(test)]
mod tests;
