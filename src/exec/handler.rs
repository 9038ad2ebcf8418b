//! Owns the calls of this program's own functions, as `process` owns processes: starting one, watching it, stopping
//! it. It must never know a job, the store or the API: a function is told words and JSON, and what it says goes to
//! whoever called it.
//!
//! How a call is held:
//! 1. An async function runs as a task of the runtime; a blocking one has a thread of its own, so that the runtime
//!    never waits for it, and the program can end while it goes on.
//! 2. A panic ends the call and nothing else.
//! 3. `terminate` asks it to end. `kill` drops an async function where it waits. A thread cannot be ended, nor a task
//!    that never waits: such a call is left behind. It keeps its place until it ends, so there are never more of
//!    them than places, and nothing that it says is heard any more.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::handler_context::{HandlerContext, Hear, Told};
use super::output::{BATCHES_MAX, Piece};
use crate::base::clock::Clock;
use crate::base::task::{self, panic_message};
use crate::domain::limits::HANDLERS_MAX;
use crate::domain::rejection::check_name;

/// What a function gives back: JSON, or why it failed.
type Given = Result<Value, String>;
type AsyncWork = dyn Fn(HandlerContext) -> Pin<Box<dyn Future<Output = Given> + Send>> + Send + Sync;
type BlockingWork = dyn Fn(&HandlerContext) -> Given + Send + Sync;

/// A function of this program that can be called.
#[derive(Clone)]
pub struct Handler(Kind);

#[derive(Clone)]
enum Kind {
    Async(Arc<AsyncWork>),
    Blocking(Arc<BlockingWork>),
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Async(_) => "Handler::Async",
            Kind::Blocking(_) => "Handler::Blocking",
        })
    }
}

impl Handler {
    /// A function that waits instead of blocking its thread.
    pub fn asynchronous<F, Fut, T, R, E>(work: F) -> Handler
    where
        F: Fn(HandlerContext, T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
        T: DeserializeOwned,
        R: Serialize,
        E: Display,
    {
        let call = move |context: HandlerContext| -> Pin<Box<dyn Future<Output = Given> + Send>> {
            match input(&context) {
                Ok(input) => {
                    let work = work(context, input);
                    Box::pin(async move { given(work.await) })
                }
                Err(reason) => Box::pin(std::future::ready(Err(reason))),
            }
        };
        Handler(Kind::Async(Arc::new(call)))
    }

    /// A function that may block its thread for as long as it likes.
    pub fn blocking<F, T, R, E>(work: F) -> Handler
    where
        F: Fn(HandlerContext, T) -> Result<R, E> + Send + Sync + 'static,
        T: DeserializeOwned,
        R: Serialize,
        E: Display,
    {
        let call = move |context: &HandlerContext| given(work(context.clone(), input(context)?));
        Handler(Kind::Blocking(Arc::new(call)))
    }
}

/// The parameters as the function wants them. Nothing at all and an object without fields are read as each other.
fn input<T: DeserializeOwned>(context: &HandlerContext) -> Result<T, String> {
    let given = context.parameters();
    let read = match given {
        Value::Null => T::deserialize(&Value::Null).or_else(|_| T::deserialize(&json!({}))),
        Value::Object(fields) if fields.is_empty() => {
            T::deserialize(given).or_else(|error| T::deserialize(&Value::Null).map_err(|_| error))
        }
        given => T::deserialize(given),
    };
    read.map_err(|error| {
        // They will not fit the next time either.
        context.no_retry();
        format!("the parameters do not fit the handler: {error}")
    })
}

fn given<R: Serialize, E: Display>(result: Result<R, E>) -> Given {
    match result {
        Ok(value) => {
            serde_json::to_value(value).map_err(|error| format!("the handler's result is no JSON: {error}"))
        }
        // The long form names the causes too, where an error has it.
        Err(error) => Err(format!("{error:#}")),
    }
}

/// The functions that this program offers, by name.
#[derive(Debug, Clone, Default)]
pub struct Handlers {
    by_name: BTreeMap<String, Handler>,
    left_behind: Arc<AtomicUsize>,
}

impl Handlers {
    /// Adds one.
    ///
    /// # Errors
    /// One sentence, when the name is bad or taken, or there are too many.
    pub fn add(&mut self, name: &str, handler: Handler) -> Result<(), String> {
        check_name("name", name)
            .map_err(|refused| format!("a handler cannot be named {name:?}: it {}", refused.message))?;
        if self.by_name.len() >= HANDLERS_MAX {
            return Err(format!("there can be at most {HANDLERS_MAX} handlers"));
        }
        if self.by_name.insert(name.to_owned(), handler).is_some() {
            return Err(format!("there are two handlers named {name}"));
        }
        Ok(())
    }

    /// The one of this name.
    pub fn get(&self, name: &str) -> Option<&Handler> {
        self.by_name.get(name)
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Calls that were given up and have not ended.
    pub fn left_behind_count(&self) -> usize {
        self.left_behind.load(Ordering::SeqCst)
    }

    /// Calls a function. The receiver gives the lines that it logs, as `spawn`'s gives the output of a process.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn call(
        &self,
        handler: &Handler,
        call: Call,
    ) -> std::io::Result<(Calling, mpsc::Receiver<Vec<Piece>>)> {
        let (lines, logged) = mpsc::channel(BATCHES_MAX);
        let context = HandlerContext::new(call.told, call.hear, lines, call.clock);
        let gone = CancellationToken::new();
        let held = Held { place: Some(call.place), gone: gone.clone() };
        let work = match &handler.0 {
            Kind::Async(work) => Work::Task(task::spawn(attend(work.clone(), context.clone(), held))),
            Kind::Blocking(work) => Work::Thread(start_thread(work.clone(), context.clone(), held)?),
        };
        let left_behind = self.left_behind.clone();
        Ok((Calling { context, work, gone, left_behind, returned: None }, logged))
    }
}

/// What is held until a function has really ended.
pub type Place = Arc<dyn Any + Send + Sync>;

/// What a call needs.
pub struct Call {
    /// What the function is told.
    pub told: Told,
    /// Takes what it reports, as a process's channel gives it.
    pub hear: Hear,
    /// Dates its lines.
    pub clock: Arc<dyn Clock>,
    /// Held until the function has really ended.
    pub place: Place,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Returned {
    /// It did what it should.
    Done,
    /// It gave an error, in these words.
    Failed(String),
    /// It panicked, with these words.
    Panicked(String),
    /// It was dropped where it waited.
    Dropped,
    /// It was given up, and goes on unheard.
    LeftBehind,
}

/// A call that was begun. Dropping it stops what can be stopped, and hears nothing more.
#[derive(Debug)]
pub struct Calling {
    context: HandlerContext,
    work: Work,
    gone: CancellationToken,
    left_behind: Arc<AtomicUsize>,
    returned: Option<Returned>,
}

#[derive(Debug)]
enum Work {
    Task(JoinHandle<Returned>),
    Thread(oneshot::Receiver<Returned>),
}

impl Calling {
    /// Resolves when the function has ended. May be dropped and called again at any time.
    pub async fn wait(&mut self) -> Returned {
        if let Some(returned) = &self.returned {
            return returned.clone();
        }
        let returned = match &mut self.work {
            Work::Task(task) => match task.await {
                Ok(returned) => returned,
                Err(error) if error.is_panic() => Returned::Panicked(panic_message(&*error.into_panic())),
                Err(_) => Returned::Dropped,
            },
            // A thread tells before it ends, whatever happens in it.
            Work::Thread(told) => told.await.unwrap_or(Returned::Dropped),
        };
        self.returned.insert(returned).clone()
    }

    /// Asks the function to end.
    pub fn terminate(&self) {
        self.context.cancel();
    }

    /// Drops the function where it waits; gives false when nothing can end it.
    pub fn kill(&self) -> bool {
        match &self.work {
            Work::Task(task) => {
                task.abort();
                true
            }
            Work::Thread(_) => false,
        }
    }

    /// Gives the call up: it goes on unheard and keeps its place until it ends.
    pub fn leave_behind(self) -> Returned {
        let (gone, count) = (self.gone.clone(), self.left_behind.clone());
        count.fetch_add(1, Ordering::SeqCst);
        drop(task::spawn(async move {
            gone.cancelled().await;
            count.fetch_sub(1, Ordering::SeqCst);
        }));
        Returned::LeftBehind
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        self.context.cancel();
        self.context.close();
        self.kill();
    }
}

/// What a call holds until it has really ended: its place is free before anybody learns of the end.
struct Held {
    place: Option<Place>,
    gone: CancellationToken,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.place = None;
        self.gone.cancel();
    }
}

async fn attend(work: Arc<AsyncWork>, context: HandlerContext, held: Held) -> Returned {
    // Called in here, so that a panic before its first wait is caught like any other.
    let given = work(context.clone()).await;
    drop(held);
    conclude(&context, given)
}

fn start_thread(
    work: Arc<BlockingWork>,
    context: HandlerContext,
    held: Held,
) -> std::io::Result<oneshot::Receiver<Returned>> {
    let (tell, told) = oneshot::channel();
    thread::Builder::new().name("handler".to_owned()).spawn(move || {
        let given = catch_unwind(AssertUnwindSafe(|| work(&context)));
        drop(held);
        let returned = match given {
            Ok(given) => conclude(&context, given),
            Err(payload) => Returned::Panicked(panic_message(&*payload)),
        };
        // The owner may have gone; then nobody asks.
        let _ = tell.send(returned);
    })?;
    Ok(told)
}

/// What it gave is its last report.
fn conclude(context: &HandlerContext, given: Given) -> Returned {
    match given {
        Ok(Value::Null) => Returned::Done,
        Ok(output) => {
            context.output(output);
            Returned::Done
        }
        Err(reason) => Returned::Failed(reason),
    }
}
