//! Owns the schema of the stock server: async-graphql as its guide shows it, the jobs in memory, or in a transaction
//! of sqlx for each mutation. It must stay without any trick.

use std::sync::{Arc, Mutex};

use async_graphql::futures_util::{Stream, stream};
use async_graphql::{
    Context, Enum, ID, InputObject, Object, OneofObject, Result, SimpleObject, Subscription,
};
use sqlx::SqlitePool;
use tokio::sync::broadcast;

use super::sql;

/// Jobs that the lists are made of.
const SEED: usize = 100;
/// What a subscriber may be behind.
const EVENTS: usize = 1024;

/// The server's whole state.
#[derive(Debug)]
pub struct Stock {
    jobs: Mutex<Vec<Job>>,
    pool: Option<SqlitePool>,
    /// Where events are published.
    pub events: broadcast::Sender<Event>,
}

impl Stock {
    /// With a few jobs, and a database when mutations shall be kept.
    pub fn new(pool: Option<SqlitePool>) -> Arc<Stock> {
        let jobs = (0..SEED).map(|number| Job::numbered(number, 0)).collect();
        let (events, _) = broadcast::channel(EVENTS);
        Arc::new(Stock { jobs: Mutex::new(jobs), pool, events })
    }

    /// The newest jobs.
    pub fn page(&self, first: usize) -> Vec<Job> {
        let jobs = self.jobs.lock().expect("nobody panics with it");
        jobs.iter().rev().take(first).cloned().collect()
    }

    /// Takes jobs in, and keeps them in one transaction when there is a database.
    async fn take(&self, jobs: &[JobEnqueueInput]) -> Result<Vec<Job>> {
        let taken: Vec<Job> = {
            let mut all = self.jobs.lock().expect("nobody panics with it");
            let begin = all.len();
            all.extend(jobs.iter().enumerate().map(|(at, job)| Job::numbered(begin + at, job.priority)));
            all[begin..].to_vec()
        };
        if let Some(pool) = &self.pool {
            let mut transaction = pool.begin().await?;
            for (job, input) in taken.iter().zip(jobs) {
                let number: i64 = job.id.trim_start_matches("job_").parse()?;
                let RunInput::Command(CommandInput::Exec(exec)) = &input.run;
                let insert = sqlx::query(sql::INSERT);
                let insert = insert.bind(number).bind(job.id.as_str()).bind(number).bind(exec.argv.join(" "));
                insert.execute(&mut *transaction).await?;
            }
            transaction.commit().await?;
        }
        Ok(taken)
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum State {
    /// It waits.
    Queued,
    /// It is done.
    Succeeded,
}

/// A job with the fields that the list asks for.
#[derive(Debug, Clone, SimpleObject)]
pub struct Job {
    id: ID,
    state: State,
    priority: i32,
    origin: String,
    requested_by: String,
    created_at: String,
    run_at: String,
    started_at: Option<String>,
    finished_at: Option<String>,
    is_restartable: bool,
}

impl Job {
    fn numbered(number: usize, priority: i32) -> Job {
        let at = "2026-11-26T20:36:31.709Z".to_owned();
        Job {
            id: ID(format!("job_{number}")),
            state: State::Succeeded,
            priority,
            origin: "API".to_owned(),
            requested_by: "admin".to_owned(),
            created_at: at.clone(),
            run_at: at.clone(),
            started_at: Some(at.clone()),
            finished_at: Some(at),
            is_restartable: true,
        }
    }

    /// The same fields by `serde_json`.
    pub fn plain(&self) -> serde_json::Value {
        serde_json::json!({
            "id": self.id.as_str(), "state": "SUCCEEDED", "priority": self.priority, "origin": self.origin,
            "requestedBy": self.requested_by, "createdAt": self.created_at, "runAt": self.run_at,
            "startedAt": self.started_at, "finishedAt": self.finished_at, "isRestartable": self.is_restartable,
        })
    }
}

#[derive(Debug, InputObject)]
struct ExecInput {
    argv: Vec<String>,
}

#[derive(Debug, OneofObject)]
enum CommandInput {
    Exec(ExecInput),
}

#[derive(Debug, OneofObject)]
enum RunInput {
    Command(CommandInput),
}

/// A job to be.
#[derive(Debug, InputObject)]
pub struct JobEnqueueInput {
    run: RunInput,
    #[graphql(default)]
    priority: i32,
    queue: Option<String>,
}

#[derive(Debug, InputObject)]
struct JobEnqueueManyInput {
    jobs: Vec<JobEnqueueInput>,
}

#[derive(Debug, SimpleObject)]
struct UserError {
    message: String,
}

#[derive(Debug, SimpleObject)]
struct JobEnqueuePayload {
    job: Option<Job>,
    deduplicated: bool,
    user_errors: Vec<UserError>,
}

#[derive(Debug, SimpleObject)]
struct JobEnqueueManyPayload {
    results: Vec<JobEnqueuePayload>,
}

#[derive(Debug, SimpleObject)]
struct Daemon {
    version: String,
}

#[derive(Debug, SimpleObject)]
struct JobConnection {
    nodes: Vec<Job>,
}

/// One change.
#[derive(Debug, Clone, SimpleObject)]
pub struct Event {
    /// What kind.
    pub r#type: String,
    /// Which job.
    pub job_id: ID,
    /// What changed.
    pub data: async_graphql::Json<serde_json::Value>,
}

impl Event {
    /// One of about two hundred bytes in its frame.
    pub fn numbered(number: usize) -> Event {
        let data =
            serde_json::json!({"queue": "paused", "runAt": "2026-11-26T20:36:31.709Z", "state": "QUEUED"});
        let job_id = ID(format!("job_{number}"));
        Event { r#type: "JOB_CREATED".to_owned(), job_id, data: async_graphql::Json(data) }
    }
}

#[derive(Debug, Clone, SimpleObject)]
struct EventBatch {
    events: Vec<Event>,
}

fn stock<'a>(context: &Context<'a>) -> &'a Arc<Stock> {
    context.data_unchecked::<Arc<Stock>>()
}

fn answered(job: Job) -> JobEnqueuePayload {
    JobEnqueuePayload { job: Some(job), deduplicated: false, user_errors: Vec::new() }
}

/// What can be read.
#[derive(Debug)]
pub struct Query;

#[Object]
impl Query {
    async fn daemon(&self) -> Daemon {
        Daemon { version: "0.1.0".to_owned() }
    }

    async fn jobs(&self, context: &Context<'_>, first: usize) -> JobConnection {
        JobConnection { nodes: stock(context).page(first) }
    }
}

/// What can be changed.
#[derive(Debug)]
pub struct Mutation;

#[Object]
impl Mutation {
    async fn job_enqueue(&self, context: &Context<'_>, input: JobEnqueueInput) -> Result<JobEnqueuePayload> {
        let mut taken = stock(context).take(&[input]).await?;
        Ok(answered(taken.pop().expect("one was asked for")))
    }

    async fn job_enqueue_many(
        &self,
        context: &Context<'_>,
        input: JobEnqueueManyInput,
    ) -> Result<JobEnqueueManyPayload> {
        let taken = stock(context).take(&input.jobs).await?;
        Ok(JobEnqueueManyPayload { results: taken.into_iter().map(answered).collect() })
    }
}

/// What can be followed.
#[derive(Debug)]
pub struct Changes;

#[Subscription]
impl Changes {
    async fn events(&self, context: &Context<'_>) -> impl Stream<Item = EventBatch> + use<> {
        let events = stock(context).events.subscribe();
        stream::unfold(events, async |mut events| {
            let event = events.recv().await.ok()?;
            Some((EventBatch { events: vec![event] }, events))
        })
    }
}
