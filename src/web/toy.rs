//! Owns a small schema with the shapes of the real one and a backend around it, so that the door can be
//! tested from outside. Test code only.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_graphql::parser::types::OperationType;
use async_graphql::{
    Context, Error, ErrorExtensions as _, InputObject, Object, Schema, SimpleObject, Subscription,
    ValidationMode,
};
use futures_util::stream::{self, Stream, StreamExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Asked, Backend, DoorConfig, DoorNumbers, Entrance, Limits, LogRefusal, LogText, Sent, Unsure};
use crate::base::metrics::{Metrics, Place, TextFormat};
use crate::base::task;
use crate::domain::access::Sight;
use crate::domain::event::EventCursor as EventPosition;
use crate::domain::id::AttemptId;
use crate::domain::log::LogStream;
use crate::domain::resume::{Ahead, Course, LastEventId, Standing, Told, Until};
use crate::graphql::judge::Judge;

/// A token that may do everything.
pub const ADMIN: &str = "admin-token";
/// A page elsewhere that may ask.
pub const LISTED_ORIGIN: &str = "https://ui.example";
/// A token that may only query.
pub const READER: &str = "reader-token";

/// Attempts whose log is whole, breaks off, never ends, or is gone.
pub const WHOLE_LOG: i64 = 1;
pub const BROKEN_LOG: i64 = 2;
pub const ENDLESS_LOG: i64 = 3;
pub const FORGOTTEN_LOG: i64 = 4;

/// What the resolvers work on.
#[derive(Debug)]
pub struct World {
    /// Resolvers that ran, of any kind but introspection.
    pub executed: AtomicUsize,
    /// Event streams that are open.
    pub listening: watch::Sender<usize>,
    jobs: watch::Sender<u64>,
    revocations: watch::Sender<u64>,
    viewers: Mutex<HashMap<String, Viewer>>,
    is_unsure: AtomicBool,
}

/// Who calls.
#[derive(Debug, Clone, Copy)]
pub struct Viewer {
    id: i64,
    may_write: bool,
}

/// The toy's backend.
#[derive(Clone)]
pub struct Toy {
    schema: Schema<Query, Mutation, Events>,
    judge: Schema<Query, Mutation, Events>,
    /// Shared with the test.
    pub world: Arc<World>,
}

pub struct Query;
pub struct Mutation;
pub struct Events;

#[derive(SimpleObject)]
struct Daemon {
    version: String,
    viewer: i64,
}

#[derive(SimpleObject, Clone)]
struct Event {
    id: String,
    r#type: String,
}

#[derive(SimpleObject)]
struct Batch {
    cursor: String,
    log_cursor: Option<String>,
    events: Vec<Event>,
}

#[derive(SimpleObject)]
struct Job {
    id: String,
}

#[derive(SimpleObject)]
struct UserError {
    message: String,
}

#[derive(SimpleObject)]
struct JobEnqueuePayload {
    job: Option<Job>,
    cursor: String,
    user_errors: Vec<UserError>,
}

#[derive(InputObject)]
struct ExecInput {
    argv: Vec<String>,
}

#[derive(InputObject)]
struct CommandInput {
    exec: ExecInput,
}

#[derive(InputObject)]
struct RunInput {
    command: CommandInput,
}

#[derive(InputObject)]
struct JobEnqueueInput {
    run: RunInput,
}

async_graphql::scalar!(EventCursor);
#[derive(serde::Serialize, serde::Deserialize)]
struct EventCursor(String);

fn world<'a>(ctx: &Context<'a>) -> &'a Arc<World> {
    let world: &Arc<World> = ctx.data_unchecked();
    world.executed.fetch_add(1, Ordering::SeqCst);
    world
}

#[Object]
impl Query {
    async fn daemon(&self, ctx: &Context<'_>) -> Daemon {
        world(ctx);
        Daemon { version: "0.1.0".to_owned(), viewer: ctx.data_unchecked::<Viewer>().id }
    }

    async fn double(&self, n: i32) -> i32 {
        n * 2
    }

    async fn broken(&self) -> Result<Option<i32>, Error> {
        Err(Error::new("SELECT secret FROM vault"))
    }

    async fn coded(&self) -> Result<Option<i32>, Error> {
        Err(Error::new("no such job").extend_with(|_, values| values.set("code", "NOT_FOUND")))
    }

    async fn panics(&self) -> i32 {
        "on purpose".parse::<i32>().expect("on purpose")
    }

    async fn hangs(&self) -> i32 {
        std::future::pending().await
    }
}

#[Object]
impl Mutation {
    async fn job_enqueue(&self, ctx: &Context<'_>, input: JobEnqueueInput) -> JobEnqueuePayload {
        let world = world(ctx);
        let mut number = 0;
        world.jobs.send_modify(|jobs| {
            *jobs += 1;
            number = *jobs;
        });
        JobEnqueuePayload {
            job: Some(Job { id: format!("job_{number}") }),
            cursor: format!("c{number}"),
            user_errors: if input.run.command.exec.argv.is_empty() {
                vec![UserError { message: "argv is empty".to_owned() }]
            } else {
                Vec::new()
            },
        }
    }
}

fn standing(seq: i64) -> Standing {
    Standing { cursor: Some(EventPosition { epoch: 1, seq }), ..Standing::default() }
}

struct Listening(Arc<World>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.listening.send_modify(|count| *count -= 1);
    }
}

#[Subscription]
impl Events {
    async fn events(
        &self,
        ctx: &Context<'_>,
        after: Option<EventCursor>,
    ) -> Result<impl Stream<Item = Batch>, Error> {
        let world = Arc::clone(world(ctx));
        let resume = ctx.data_opt::<LastEventId>().map(|id| id.0.clone());
        let from = match after.map(|cursor| cursor.0).or(resume) {
            None => 0,
            Some(cursor) => cursor
                .strip_prefix('c')
                .or_else(|| cursor.strip_prefix("00000001-"))
                .and_then(|number| number.parse().ok())
                .ok_or_else(|| Error::new("old").extend_with(|_, e| e.set("code", "CURSOR_EXPIRED")))?,
        };
        world.listening.send_modify(|count| *count += 1);
        let (listening, jobs) = (Listening(Arc::clone(&world)), world.jobs.subscribe());
        let (told, until) = (ctx.data_opt::<Told>().cloned(), ctx.data_opt::<Until>());
        told.iter().for_each(Told::begun);
        let until = until.and_then(|until| u64::try_from(until.0.cursor?.seq).ok()).unwrap_or(u64::MAX);
        Ok(stream::unfold(
            (from, jobs, listening, told),
            move |(from, mut jobs, listening, told)| async move {
                if from >= until {
                    return None;
                }
                let to = (*jobs.wait_for(|newest| *newest > from).await.ok()?).min(until);
                if let Some(told) = &told {
                    told.reached(standing(i64::try_from(to).expect("few jobs")));
                }
                let event = |number| Event { id: format!("e{number}"), r#type: "JOB_QUEUED".to_owned() };
                let batch = Batch {
                    cursor: format!("c{to}"),
                    log_cursor: None,
                    events: (from + 1..=to).map(event).collect(),
                };
                Some((batch, (to, jobs, listening, told)))
            },
        ))
    }

    async fn count_to(&self, n: i32) -> impl Stream<Item = i32> {
        stream::iter(1..=n)
    }

    async fn flood(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 1_000)] bytes: usize,
    ) -> impl Stream<Item = String> {
        let world = Arc::clone(world(ctx));
        world.listening.send_modify(|count| *count += 1);
        let (listening, line) = (Listening(world), "x".repeat(bytes));
        stream::repeat(line).map(move |line| {
            let _listening = &listening;
            line
        })
    }

    async fn explodes(&self) -> impl Stream<Item = i32> {
        stream::iter(0..2).map(|n| if n == 0 { n } else { panic!("on purpose") })
    }
}

impl Toy {
    /// A fresh world with both tokens.
    pub fn new() -> Toy {
        let viewer = |id, may_write| Viewer { id, may_write };
        let viewers = [(ADMIN, viewer(1, true)), (READER, viewer(2, false))];
        let world = Arc::new(World {
            executed: AtomicUsize::new(0),
            listening: watch::Sender::new(0),
            jobs: watch::Sender::new(0),
            revocations: watch::Sender::new(0),
            viewers: Mutex::new(viewers.map(|(token, viewer)| (token.to_owned(), viewer)).into()),
            is_unsure: AtomicBool::new(false),
        });
        let builder = || {
            Schema::build(Query, Mutation, Events)
                .data(Arc::clone(&world))
                .limit_depth(16)
                .limit_complexity(1_000)
                .disable_suggestions()
        };
        let schema = builder().validation_mode(ValidationMode::Fast).finish();
        let judge = builder().validation_mode(ValidationMode::Strict).extension(Judge).finish();
        Toy { schema, judge, world }
    }

    /// Takes a token back.
    pub fn revoke(&self, token: &str) {
        self.world.viewers.lock().unwrap().remove(token);
    }

    /// Takes a token back and tells everybody.
    pub fn revoke_aloud(&self, token: &str) {
        self.revoke(token);
        self.world.revocations.send_modify(|count| *count += 1);
    }

    /// From now on nobody knows who holds a token.
    pub fn doubt_tokens(&self) {
        self.world.is_unsure.store(true, Ordering::SeqCst);
    }

    /// Makes an event.
    pub fn enqueue(&self) {
        self.world.jobs.send_modify(|jobs| *jobs += 1);
    }

    /// Resolvers that ran.
    pub fn executed(&self) -> usize {
        self.world.executed.load(Ordering::SeqCst)
    }

    /// Endless logs that are being sent.
    pub fn sending(&self) -> usize {
        *self.world.listening.borrow()
    }

    /// Waits until so many event streams are open.
    pub async fn listening(&self, count: usize) {
        let mut open = self.world.listening.subscribe();
        open.wait_for(|open| *open == count).await.expect("the world outlives the test");
    }
}

impl Backend for Toy {
    type Executor = Schema<Query, Mutation, Events>;
    type Viewer = Viewer;

    fn executor(&self) -> &Self::Executor {
        &self.schema
    }

    fn judge(&self) -> &Self::Executor {
        &self.judge
    }

    async fn authenticate(&self, token: &str) -> Result<Option<Viewer>, Unsure> {
        if self.world.is_unsure.load(Ordering::SeqCst) {
            return Err(Unsure);
        }
        Ok(self.world.viewers.lock().unwrap().get(token).copied())
    }

    fn note_use(&self, _: &Viewer) {}

    fn revocations(&self) -> watch::Receiver<u64> {
        self.world.revocations.subscribe()
    }

    fn valid_for(&self, _: &Viewer) -> Option<Duration> {
        None
    }

    fn token_name<'a>(&self, _: &'a Viewer) -> &'a str {
        "toy"
    }

    fn token_key(&self, viewer: &Viewer) -> i64 {
        viewer.id
    }

    fn permit(&self, viewer: &Viewer, asked: &Asked<'_>) -> Result<(), String> {
        let is_mutation = asked.operation_type == OperationType::Mutation;
        if is_mutation && !viewer.may_write && !asked.root_fields.is_empty() {
            return Err(format!("`{}` needs the grant `command`", asked.root_fields[0]));
        }
        Ok(())
    }

    /// Events that are asked for from the beginning, or behind a `Last-Event-ID`, are shared.
    fn course(&self, viewer: &Viewer, sent: &Sent<'_>) -> Option<Course<Viewer>> {
        if sent.asked.root_fields != ["events"] || sent.text.contains("after") {
            return None;
        }
        let number = |id: &LastEventId| id.0.strip_prefix('c')?.parse().ok();
        let start = sent.resume.map_or(Some(0), number)?;
        let newest = i64::try_from(*self.world.jobs.borrow()).expect("few jobs");
        Some(Course {
            viewer: Viewer { id: 0, ..*viewer },
            sight: if viewer.may_write { Sight::All } else { Sight::AllButTokens },
            cursors: Vec::new(),
            start: standing(start),
            head: standing(newest),
            ahead: Ahead::Comes,
        })
    }

    fn place(&self, seen: i64) -> Place {
        Metrics::default().subscriber(seen)
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn tell_shortage(&self, _: Option<&str>) {}

    async fn log(
        &self,
        viewer: &Viewer,
        attempt: AttemptId,
        _: Option<LogStream>,
    ) -> Result<LogText, LogRefusal> {
        if !viewer.may_write {
            return Err(LogRefusal::Forbidden("the log needs the grant `read`".to_owned()));
        }
        let parts: Vec<Result<Vec<u8>, String>> = match attempt.0 {
            WHOLE_LOG => vec![Ok(b"one\n".to_vec()), Ok(Vec::new()), Ok(b"two\n".to_vec())],
            BROKEN_LOG => vec![Ok(b"one\n".to_vec()), Err("SELECT secret FROM vault".to_owned())],
            ENDLESS_LOG => {
                self.world.listening.send_modify(|count| *count += 1);
                let listening = Listening(Arc::clone(&self.world));
                let part = move || {
                    let _listening = &listening;
                    Ok(vec![b'x'; 64 * 1024])
                };
                return Ok(LogText {
                    file_name: "endless.log".to_owned(),
                    parts: stream::repeat_with(part).boxed(),
                });
            }
            FORGOTTEN_LOG => return Err(LogRefusal::Forgotten),
            _ => return Err(LogRefusal::NotFound),
        };
        Ok(LogText { file_name: "some.log".to_owned(), parts: stream::iter(parts).boxed() })
    }

    async fn metrics(&self, viewer: &Viewer, _: DoorNumbers, _: TextFormat) -> Result<String, String> {
        if viewer.may_write { Ok(String::new()) } else { Err("needs the grant `read`".to_owned()) }
    }

    fn schema_sdl(&self) -> Arc<str> {
        self.schema.sdl().into()
    }
}

/// A door that is open for one test.
pub struct Open {
    /// Where.
    pub address: SocketAddr,
    /// What is behind it.
    pub toy: Toy,
    /// Closes it.
    pub shutdown: CancellationToken,
    /// Ends when `serve` has returned.
    pub served: tokio::task::JoinHandle<()>,
}

/// Opens a door with other limits.
pub async fn open_with(change: impl FnOnce(&mut Limits)) -> Open {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback is there");
    let address = listener.local_addr().expect("it is bound");
    let (toy, shutdown) = (Toy::new(), CancellationToken::new());
    let mut config = DoorConfig { allowed_origins: vec![LISTED_ORIGIN.to_owned()], ..DoorConfig::default() };
    change(&mut config.limits);
    let mut door = Entrance::new(listener, toy.clone(), config, shutdown.clone());
    let served = task::spawn(async move { door.serve().await });
    Open { address, toy, shutdown, served }
}

/// Opens a door.
pub async fn open() -> Open {
    open_with(|_| {}).await
}
