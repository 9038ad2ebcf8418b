//! Owns subscriptions that are executed once for all who ask the same with the same rights: a topic runs one execution,
//! and each of its answers is encoded once. It must never put anything of a caller but its rights into an execution, nor
//! keep a topic that nobody is in.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_graphql::parser::types::ExecutableDocument;
use async_graphql::{Executor as _, Request, Response, Variables};
use futures_util::stream::{BoxStream, StreamExt as _};
use tokio::task::AbortHandle;

use super::errors::Answer;
use super::execute::{Door, words};
use super::limits::TOPICS_MAX;
use super::seats::Seat;
use super::topics_frame::Frame;
use super::topics_line::Line;
use super::topics_member::{Member, Piece};
use super::topics_ring::Ring;
use super::{Backend, Sent};
use crate::base::metrics::Place;
use crate::base::task;
use crate::domain::access::Sight;
use crate::domain::resume::{Ahead, Standing, Told, Until};
use crate::graphql::rows::ReadyJson;

/// An operation that has begun.
pub enum Opened {
    /// Alone.
    Alone(BoxStream<'static, Answer>),
    /// With others who ask the same.
    Shared(BoxStream<'static, Piece>),
}

/// What is the same for all members of a topic.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    text: String,
    operation_name: Option<String>,
    /// Without those that only say where to begin.
    variables: String,
    sight: Sight,
}

/// Executes a request for somebody with the rights of the topic.
type Run = Box<dyn Fn(Request) -> BoxStream<'static, Response> + Send + Sync>;

/// A subscription that may be shared.
pub struct Ticket {
    key: Key,
    document: ExecutableDocument,
    /// Whether lists may write themselves.
    is_ready: bool,
    variables: Variables,
    run: Run,
    start: Standing,
    head: Standing,
    ahead: Ahead,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").field("key", &self.key).finish_non_exhaustive()
    }
}

impl<B: Backend> Door<B> {
    /// How a subscription may be shared, if it may; `is_ready` when its lists may write themselves.
    pub(super) fn ticket(&self, viewer: &B::Viewer, sent: &Sent<'_>, is_ready: bool) -> Option<Ticket> {
        let course = self.backend.course(viewer, sent)?;
        let mut variables = sent.variables.clone();
        for name in &course.cursors {
            variables.remove(name.as_str());
        }
        let key = Key {
            text: sent.text.to_owned(),
            operation_name: sent.asked.operation_name.map(str::to_owned),
            variables: serde_json::to_string(&variables).expect("GraphQL values have string keys"),
            sight: course.sight,
        };
        let (backend, viewer) = (self.backend.clone(), course.viewer);
        Some(Ticket {
            key,
            document: sent.asked.document.clone(),
            is_ready,
            variables,
            run: Box::new(move |request| {
                backend.executor().execute_stream(request.data(viewer.clone()), None)
            }),
            start: course.start,
            head: course.head,
            ahead: course.ahead,
        })
    }
}

/// Topics by what is asked.
#[derive(Debug, Default)]
pub struct Topics(Arc<Table>);

type Table = Mutex<HashMap<Arc<Key>, Weak<Topic>>>;

/// One execution for all who ask the same; it ends with its last member.
pub struct Topic {
    key: Arc<Key>,
    table: Weak<Table>,
    document: ExecutableDocument,
    is_ready: bool,
    variables: Variables,
    run: Run,
    /// What it has told lately.
    pub ring: Arc<Ring>,
    driver: Mutex<Option<AbortHandle>>,
}

impl std::fmt::Debug for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topic").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Topics {
    /// Joins the topic of this ticket, which begins with its first member. Gives the seat back when there are too many
    /// topics.
    pub fn join(
        &self,
        ticket: Ticket,
        seat: Seat,
        line: Option<Arc<Line>>,
        place: impl FnOnce(i64) -> Place,
    ) -> Result<BoxStream<'static, Piece>, Seat> {
        let (start, ahead) = (ticket.start.clone(), ticket.ahead);
        let Some(topic) = self.topic(ticket) else { return Err(seat) };
        let place = start.cursor.filter(|_| ahead == Ahead::Comes).map(|cursor| place(cursor.seq));
        Ok(Member::new(topic, start, ahead, (place, line), seat).pieces())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn topic(&self, ticket: Ticket) -> Option<Arc<Topic>> {
        let Ticket { key, document, is_ready, variables, run, head, .. } = ticket;
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = table.get(&key).and_then(Weak::upgrade);
        if let Some(topic) = known.as_ref().filter(|topic| !topic.ring.is_over()) {
            return Some(Arc::clone(topic));
        }
        let is_full = table.len() >= TOPICS_MAX;
        let topic = (!is_full).then(|| {
            let key = Arc::new(key);
            let (table_of_it, ring) = (Arc::downgrade(&self.0), Arc::new(Ring::new(head.clone())));
            let driver = Mutex::default();
            let topic = Arc::new(Topic {
                key: Arc::clone(&key),
                table: table_of_it,
                document,
                is_ready,
                variables,
                run,
                ring,
                driver,
            });
            table.insert(key, Arc::downgrade(&topic));
            topic
        });
        // It may go now, which takes the table.
        drop(table);
        drop(known);
        let topic = topic?;
        topic.start(&head);
        Some(topic)
    }
}

impl Topic {
    /// An execution of what is asked, from one place on, and up to another one.
    pub fn run(
        &self,
        from: &Standing,
        until: Option<Standing>,
        told: Option<Told>,
    ) -> BoxStream<'static, Answer> {
        let mut request = Request::new(self.key.text.as_str()).variables(self.variables.clone());
        request.operation_name.clone_from(&self.key.operation_name);
        if let Some(id) = from.id() {
            request = request.data(id);
        }
        if let Some(until) = until {
            request = request.data(Until(until));
        }
        if let Some(told) = told {
            request = request.data(told);
        }
        if self.is_ready {
            request = request.data(ReadyJson);
        }
        request.set_parsed_query(self.document.clone());
        let responses = AssertUnwindSafe((self.run)(request)).catch_unwind();
        let shape = |outcome: Result<Response, Box<dyn std::any::Any + Send>>| match outcome {
            Ok(response) => Answer::shape(response),
            Err(panic) => Answer::fault("a subscription panicked", &words(panic.as_ref())),
        };
        responses.map(shape).boxed()
    }

    /// Begins to tell.
    fn start(&self, from: &Standing) {
        let (told, ring) = (Told::default(), Arc::clone(&self.ring));
        let mut answers = self.run(from, None, Some(told.clone()));
        let mut at = from.clone();
        let driving = task::spawn(async move {
            // Also when it is dropped or panics: nobody waits for it for ever.
            let ring = Ending(ring);
            while let Some(answer) = answers.next().await {
                let heard = told.heard();
                if heard.is_well {
                    at = heard.standing;
                }
                ring.0.tell(Arc::new(Frame::new(&answer)), at.clone(), heard.is_well).await;
                if answer.is_request_error() {
                    break;
                }
                drop(answer);
                ring.0.paced().await;
            }
        });
        *self.driver.lock().unwrap_or_else(PoisonError::into_inner) = Some(driving.abort_handle());
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.get_mut().unwrap_or_else(PoisonError::into_inner) {
            driver.abort();
        }
        if let Some(table) = self.table.upgrade() {
            let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
            // A new topic may stand in its place.
            if table.get(&self.key).is_some_and(|topic| topic.strong_count() == 0) {
                table.remove(&self.key);
            }
        }
    }
}

/// Ends the ring when dropped.
struct Ending(Arc<Ring>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}
