//! Owns the one way from parameters to answers that all transports share: check the document, ask for the
//! grant, execute under a deadline, shape the errors. Nothing else may call the executor.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::parser::types::OperationType;
use async_graphql::{Executor, Request, Response};
use axum::http::StatusCode;
use futures_util::future::FutureExt;
use futures_util::stream::{BoxStream, StreamExt};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::document::{Checked, check};
use super::errors::{Answer, Code, Refusal};
use super::guard::{Gate, unauthenticated};
use super::request::Parameters;
use super::{Backend, DoorConfig, Limits};
use crate::base::clock::within;
use crate::domain::resume::LastEventId;

/// What every connection shares.
pub struct Door<B> {
    /// The floors below.
    pub backend: B,
    /// Who may come in.
    pub gate: Gate,
    /// The bounds in force.
    pub limits: Limits,
    /// Told to end every connection.
    pub shutdown: CancellationToken,
    /// Connections, upgraded ones included.
    pub connections: TaskTracker,
    seats: Seats,
}

/// Which operations a transport takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// A GET: queries only.
    Queries,
    /// Everything.
    All,
}

/// A caller with a known token.
#[derive(Debug, Clone)]
pub struct Caller<V> {
    /// As presented, to be looked up again on long streams.
    pub token: String,
    /// Who holds it.
    pub viewer: V,
}

/// An operation that passed every check and may run.
#[derive(Debug)]
pub struct Admitted {
    request: Request,
    /// What will run.
    pub operation_type: OperationType,
    token_key: i64,
}

impl<B: Backend> Door<B> {
    /// A door for a daemon that listens on `port`.
    pub fn new(backend: B, port: u16, config: DoorConfig, shutdown: CancellationToken) -> Door<B> {
        Door {
            backend,
            gate: Gate::new(port, &config.allowed_hosts, &config.allowed_origins),
            limits: config.limits,
            shutdown,
            connections: TaskTracker::new(),
            seats: Seats::default(),
        }
    }

    /// Looks a token up.
    pub async fn recognise(&self, token: Option<&str>) -> Result<Caller<B::Viewer>, Refusal> {
        let token = token.ok_or_else(unauthenticated)?;
        let viewer = self.backend.authenticate(token).await.ok_or_else(unauthenticated)?;
        Ok(Caller { token: token.to_owned(), viewer })
    }

    /// The one guard in front of the executor.
    pub fn admit(
        &self,
        caller: &Caller<B::Viewer>,
        parameters: Parameters,
        taken: Taken,
        resume: Option<LastEventId>,
    ) -> Result<Admitted, Refusal> {
        let Parameters { query, operation_name, variables } = parameters;
        let Checked { document, operation_type, root_fields } =
            check(&query, operation_name.as_deref(), &variables)?;
        if taken == Taken::Queries && operation_type == OperationType::Mutation {
            let message = "a mutation needs a POST";
            return Err(Refusal::new(Code::BadRequest, message).with_status(StatusCode::METHOD_NOT_ALLOWED));
        }
        let root_fields: Vec<&str> = root_fields.iter().map(String::as_str).collect();
        self.backend
            .permit(&caller.viewer, operation_type, &root_fields)
            .map_err(|message| Refusal::new(Code::Forbidden, message))?;
        let mut request = Request::new(query).variables(variables).data(caller.viewer.clone());
        request.operation_name = operation_name;
        if let Some(resume) = resume {
            request = request.data(resume);
        }
        request.set_parsed_query(document);
        Ok(Admitted { request, operation_type, token_key: self.backend.token_key(&caller.viewer) })
    }

    /// Runs a query or a mutation. Once it has begun, the caller's going away cancels only the wait.
    pub async fn run_once(&self, admitted: Admitted) -> Answer {
        let work = AssertUnwindSafe(self.backend.executor().execute(admitted.request)).catch_unwind();
        match within(self.limits.operation, work).await {
            Some(Ok(response)) => Answer::shape(response),
            Some(Err(panic)) => Answer::fault("an operation panicked", &words(panic.as_ref())),
            None => Refusal::new(
                Code::Timeout,
                format!(
                    "the operation took longer than {} s; a mutation may have been done: ask before you repeat it",
                    self.limits.operation.as_secs()
                ),
            )
            .into(),
        }
    }

    /// Takes one of the seats of the caller's token for a long answer, until dropped.
    pub fn seat(&self, caller: &Caller<B::Viewer>) -> Result<Seat, Refusal> {
        self.seats.take(self.backend.token_key(&caller.viewer), self.limits.token_subscriptions)
    }

    /// Runs any operation as a stream of answers. A subscription occupies one of its token's seats until
    /// dropped.
    pub fn run_stream(self: &Arc<Self>, admitted: Admitted) -> Result<BoxStream<'static, Answer>, Refusal> {
        if admitted.operation_type != OperationType::Subscription {
            let door = Arc::clone(self);
            return Ok(async move { door.run_once(admitted).await }.into_stream().boxed());
        }
        let seat = self.seats.take(admitted.token_key, self.limits.token_subscriptions)?;
        let answers = self.backend.executor().execute_stream(admitted.request, None);
        Ok(AssertUnwindSafe(answers)
            .catch_unwind()
            .map(move |outcome: Result<Response, _>| {
                let _seat = &seat;
                match outcome {
                    Ok(response) => Answer::shape(response),
                    Err(panic) => Answer::fault("a subscription panicked", &words(panic.as_ref())),
                }
            })
            .boxed())
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without words".to_owned())
}

/// Subscriptions at once, by token.
#[derive(Debug, Clone, Default)]
struct Seats(Arc<Mutex<HashMap<i64, usize>>>);

impl Seats {
    fn take(&self, key: i64, most: usize) -> Result<Seat, Refusal> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(key).or_default();
        if *count >= most {
            let message = format!("this token has {most} subscriptions already: end one first");
            return Err(Refusal::new(Code::TooMany, message));
        }
        *count += 1;
        Ok(Seat { seats: self.clone(), key })
    }
}

/// One subscription of a token; given back when dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Seats,
    key: i64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod seat_tests {
    use super::*;

    #[test]
    fn seats_are_counted_by_token_and_given_back() {
        let seats = Seats::default();
        let held: Vec<Seat> = (0..3).map(|_| seats.take(1, 3).expect("there are three")).collect();
        assert_eq!(seats.take(1, 3).unwrap_err().code, Code::TooMany);
        assert!(seats.take(2, 3).is_ok());
        drop(held);
        assert!(seats.take(1, 3).is_ok());
        assert!(seats.0.lock().unwrap().is_empty());
    }
}
