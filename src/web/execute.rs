//! Owns the one way from parameters to answers that all transports share: check the document, ask for the
//! grant, execute under a deadline, shape the errors. Nothing else may call the executor.

use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_graphql::parser::types::{ExecutableDocument, OperationType, VariableDefinition};
use async_graphql::{Executor, Name, Positioned, Request, Response, Variables};
use axum::http::StatusCode;
use futures_util::future::FutureExt;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::document::{Checked, check, others};
use super::errors::{Answer, Code, Refusal};
use super::guard::{Gate, unauthenticated};
use super::known::Known;
use super::logins::Logins;
use super::merging::repeats_keys;
use super::outputs::Outputs;
use super::overlap::check_overlaps;
use super::request::Parameters;
use super::seats::{Seat, Seats};
use super::spreads::{STAND_IN, drop_arguments, judged_without, not_run};
use super::topics::{Opened, Ticket, Topics};
use super::topics_line::Line;
use super::turns::{Turn, Turns};
use super::usage::check_usages;
use super::variables::{Inputs, complete, samples, samples_of_nobody};
use super::{Asked, Backend, DoorConfig, Limits, Sent, Unsure};
use crate::base::asker::{Asker, working_for};
use crate::base::clock::{Clock as _, SystemClock, within};
use crate::domain::resume::LastEventId;
use crate::graphql::logs::LogBudget;
use crate::graphql::rows::ReadyJson;

/// A token is looked up again this long after it expired, so that the look is not too early.
const EXPIRY_SLACK: Duration = Duration::from_millis(2);

/// When a query that got no turn may come again.
const TURN_RETRY_AFTER: Duration = Duration::from_secs(1);

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
    logins: Logins,
    /// Turns of queries.
    turns: Turns,
    /// Subscriptions that are executed once for many.
    pub topics: Topics,
    known: Known,
    /// Read when the first variable comes.
    inputs: OnceLock<Inputs>,
    /// Read when the first document comes that needs them to be judged.
    outputs: OnceLock<Outputs>,
}

/// Which operations a transport takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// A GET: queries only.
    Queries,
    /// Everything.
    All,
}

/// Why a stream does not go on for its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Nobody holds it, or no longer.
    Unknown,
    /// That cannot be told now: its holder comes again.
    Unsure,
}

/// A caller with a known token.
#[derive(Debug, Clone)]
pub struct Caller<V> {
    /// As presented, to be looked up again on long streams.
    pub token: String,
    /// Who holds it.
    pub viewer: V,
    /// Where it came from.
    pub peer: IpAddr,
    /// The span that it asks from, a well-formed `traceparent`.
    pub trace: Option<String>,
    /// Changes when a token was revoked since this one was looked up.
    revocations: watch::Receiver<u64>,
}

impl<V> Caller<V> {
    /// Changes when a token was revoked since this one was looked up.
    pub fn revocations(&self) -> watch::Receiver<u64> {
        self.revocations.clone()
    }

    /// Waits until some token was revoked.
    pub async fn revoked(&mut self) {
        if self.revocations.changed().await.is_err() {
            // The engine is gone: the door is closing.
            std::future::pending::<()>().await;
        }
    }
}

/// An operation that passed every check and may run, but for the judgement on a document that is new.
#[derive(Debug)]
pub struct Admitted {
    request: Request,
    /// The document, unless it was judged good before.
    unjudged: Option<Unjudged>,
    /// What will run.
    pub operation_type: OperationType,
    token_key: i64,
    asker: Arc<Asker>,
    /// How it may be shared.
    ticket: Option<Ticket>,
}

/// A document that nobody has judged yet.
#[derive(Debug)]
struct Unjudged {
    checked: Arc<Checked>,
    /// Its variables that have no value.
    absent: Vec<Name>,
}

impl<B: Backend> Door<B> {
    /// A door for a daemon that listens at this address.
    pub fn new(backend: B, address: SocketAddr, config: DoorConfig, shutdown: CancellationToken) -> Door<B> {
        Door {
            backend,
            gate: Gate::new(address, &config.allowed_hosts, &config.allowed_origins),
            logins: Logins::new(&config.limits),
            turns: Turns::new(config.limits.queries),
            limits: config.limits,
            shutdown,
            connections: TaskTracker::new(),
            seats: Seats::default(),
            topics: Topics::default(),
            known: Known::default(),
            inputs: OnceLock::new(),
            outputs: OnceLock::new(),
        }
    }

    /// Looks a token up that is presented from this address.
    pub async fn recognise(&self, token: Option<&str>, peer: IpAddr) -> Result<Caller<B::Viewer>, Refusal> {
        let token = token.ok_or_else(unauthenticated)?;
        self.logins.admit(peer, token, SystemClock.monotonic()).map_err(|wait| {
            let message = "too many failed logins from this address: wait before the next one";
            Refusal::new(Code::TooMany, message).retry_after(wait)
        })?;
        // Before the look-up: a token that is revoked during it is noticed.
        let revocations = self.backend.revocations();
        let known = self.backend.authenticate(token).await.map_err(|Unsure| {
            Refusal::new(Code::Unavailable, "tokens cannot be looked up now; try again soon")
        })?;
        let Some(viewer) = known else {
            tracing::info!(%peer, "a login failed");
            self.logins.failed(peer, token, SystemClock.monotonic());
            return Err(unauthenticated());
        };
        self.logins.succeeded(token, SystemClock.monotonic());
        self.backend.note_use(&viewer);
        Ok(Caller { token: token.to_owned(), viewer, peer, trace: None, revocations })
    }

    /// Looks the token of a stream up again. Changed grants count for what follows.
    ///
    /// # Errors
    /// When the stream must end, with the reason.
    pub async fn look_again(&self, caller: &mut Caller<B::Viewer>) -> Result<(), Lost> {
        caller.revocations.mark_unchanged();
        match self.backend.authenticate(&caller.token).await {
            Ok(Some(viewer)) => {
                caller.viewer = viewer;
                Ok(())
            }
            Ok(None) => Err(Lost::Unknown),
            Err(Unsure) => Err(Lost::Unsure),
        }
    }

    /// How long until the token of a stream is looked up again.
    pub fn next_look(&self, caller: &Caller<B::Viewer>) -> Duration {
        let left = self.backend.valid_for(&caller.viewer).unwrap_or(Duration::MAX);
        self.limits.heartbeat.min(left.saturating_add(EXPIRY_SLACK))
    }

    /// Whether the token must be looked up before anything else is done for it.
    pub fn is_doubtful(&self, caller: &Caller<B::Viewer>) -> bool {
        let has_ended = self.backend.valid_for(&caller.viewer).is_some_and(|left| left.is_zero());
        has_ended || caller.revocations.has_changed().unwrap_or(false)
    }

    /// The one guard in front of the executor.
    pub fn admit(
        &self,
        caller: &Caller<B::Viewer>,
        parameters: Parameters,
        taken: Taken,
        resume: Option<LastEventId>,
    ) -> Result<Box<Admitted>, Refusal> {
        let Parameters { query, operation_name, mut variables } = parameters;
        let known = self.known.find(&query, operation_name.as_deref());
        let is_known = known.is_some();
        let checked = known.map_or_else(|| check(&query, operation_name.as_deref()).map(Arc::new), Ok)?;
        let Checked { document, operation_type, root_fields, .. } = &*checked;
        let operation_type = *operation_type;
        if taken == Taken::Queries && operation_type == OperationType::Mutation {
            let message = "a mutation needs a POST";
            return Err(Refusal::new(Code::BadRequest, message).with_status(StatusCode::METHOD_NOT_ALLOWED));
        }
        self.check_variables(&checked, &variables)?;
        let absent = complete(&checked.variables, &mut variables);
        let root_fields: Vec<&str> = root_fields.iter().map(String::as_str).collect();
        let asker = Asker {
            actor: self.backend.token_name(&caller.viewer).to_owned(),
            peer: caller.peer,
            fields: root_fields.join(" "),
            trace: caller.trace.clone(),
        };
        let question = Asked {
            document,
            operation_name: operation_name.as_deref(),
            operation_type,
            root_fields: &root_fields,
        };
        self.backend.permit(&caller.viewer, &question).map_err(|message| {
            if operation_type == OperationType::Mutation {
                let Asker { actor, peer, fields, .. } = &asker;
                tracing::info!(actor, %peer, fields, code = "FORBIDDEN", "a mutation was refused");
            }
            Refusal::new(Code::Forbidden, message)
        })?;
        let mut document = document.clone();
        if !absent.is_empty() {
            drop_arguments(&mut document, &absent);
        }
        let ticket = if operation_type == OperationType::Subscription {
            let question = Asked { document: &document, ..question };
            let sent =
                Sent { text: &query, asked: &question, variables: &variables, resume: resume.as_ref() };
            self.ticket(&caller.viewer, &sent, !checked.merges)
        } else {
            None
        };
        let mut request = Request::new(query).variables(variables).data(caller.viewer.clone());
        request.operation_name = operation_name;
        if let Some(resume) = resume {
            request = request.data(resume);
        }
        if !checked.merges {
            request = request.data(ReadyJson);
        }
        // A subscription goes on: each of its answers is bounded by itself.
        if operation_type != OperationType::Subscription {
            request = request.data(LogBudget::default());
        }
        request.set_parsed_query(document);
        let token_key = self.backend.token_key(&caller.viewer);
        let unjudged = (!is_known).then_some(Unjudged { checked, absent });
        let asker = Arc::new(asker);
        Ok(Box::new(Admitted { request, unjudged, operation_type, token_key, asker, ticket }))
    }

    /// Before anything runs, and the same for every transport.
    fn check_variables(&self, checked: &Checked, variables: &Variables) -> Result<(), Refusal> {
        if checked.variables.is_empty() {
            return Ok(());
        }
        let inputs = self.inputs.get_or_init(|| Inputs::of(&self.backend.schema_sdl()));
        inputs.check(&checked.variables, variables)
    }

    /// Judges a document that is new by every rule, and remembers it when it is good; else the answer that says why it is
    /// not. The schema that serves checks only what depends on variables.
    fn judge(&self, admitted: &mut Admitted) -> Option<Answer> {
        let Unjudged { checked, absent } = admitted.unjudged.take()?;
        let request = &admitted.request;
        let name = request.operation_name.as_deref();
        let document = judged_without(&checked.document, &absent);
        let bad = self
            .verdict(document, samples(&checked.variables, &request.variables), name)
            .or_else(|| self.own_verdict(&checked.document))
            .or_else(|| if checked.has_others { self.judge_others(&request.query, name) } else { None });
        if bad.is_none() {
            self.known.note(&request.query, name, &checked);
        }
        bad
    }

    /// The other operations of a document: it is good as a whole or not at all.
    fn judge_others(&self, text: &str, name: Option<&str>) -> Option<Answer> {
        let others = match others(text, name) {
            Ok(others) => others,
            Err(refusal) => return Some(refusal.into()),
        };
        others.into_iter().find_map(|other| {
            let (_, operation) = other.operations.iter().next()?;
            let variables = samples_of_nobody(&operation.node.variable_definitions);
            let bad = self.own_verdict(&other);
            bad.or_else(|| self.verdict(not_run(other), variables, Some(STAND_IN)))
        })
    }

    /// Of variables without a value the executor may see none.
    fn know_types(&self, definitions: &[Positioned<VariableDefinition>]) -> Result<(), Refusal> {
        let inputs = self.inputs.get_or_init(|| Inputs::of(&self.backend.schema_sdl()));
        match definitions.iter().find(|one| !inputs.know(&one.node.var_type.node)) {
            None => Ok(()),
            Some(one) => {
                let message = format!("there is no input type `{}`", one.node.var_type.node);
                Err(Refusal::new(Code::ValidationFailed, message).at(one.pos))
            }
        }
    }

    /// By the rules that the executor lacks.
    fn own_verdict(&self, document: &ExecutableDocument) -> Option<Answer> {
        let (_, operation) = document.operations.iter().next()?;
        let has_variables = !operation.node.variable_definitions.is_empty();
        let repeats_keys = repeats_keys(&operation.node.selection_set.node);
        if !has_variables && !repeats_keys {
            return None;
        }
        let outputs = self.outputs.get_or_init(|| Outputs::of(&self.backend.schema_sdl()));
        let mut good = Ok(());
        if has_variables {
            good = self.know_types(&operation.node.variable_definitions);
            good = good.and_then(|()| check_usages(document, outputs));
        }
        if good.is_ok() && repeats_keys {
            good = check_overlaps(document, outputs);
        }
        good.err().map(Answer::from)
    }

    /// Why a document is not good.
    fn verdict(
        &self,
        document: ExecutableDocument,
        variables: Variables,
        name: Option<&str>,
    ) -> Option<Answer> {
        let mut trial = Request::new(String::new()).variables(variables);
        trial.operation_name = name.map(str::to_owned);
        trial.set_parsed_query(document);
        let judging = AssertUnwindSafe(self.backend.judge().execute(trial)).catch_unwind();
        match judging.now_or_never().expect("a judge runs nothing, so it waits for nothing") {
            Ok(verdict) if verdict.is_ok() => None,
            Ok(verdict) => Some(Answer::shape(verdict)),
            Err(panic) => Some(Answer::fault("a judgement panicked", &words(panic.as_ref()))),
        }
    }

    /// Runs a query or a mutation. Once it has begun, the caller's going away cancels only the wait.
    pub async fn run_once(&self, mut admitted: Box<Admitted>) -> Answer {
        let _turn = match self.turn(&admitted).await {
            Ok(turn) => turn,
            Err(refusal) => return refusal.into(),
        };
        if let Some(answer) = self.judge(&mut admitted) {
            return answer;
        }
        let Admitted { request, asker, .. } = *admitted;
        // Pinned where it lies: it is some kilobytes, which each step around it would move.
        let execution = pin!(self.backend.executor().execute(request));
        let work = working_for(asker, execution);
        match within(self.limits.operation, AssertUnwindSafe(work).catch_unwind()).await {
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

    /// Seats of all tokens that are taken.
    pub fn seats_taken(&self) -> usize {
        self.seats.taken()
    }

    /// A query's turn, so that however many come, the answers of mutations are read soon, and those of other tokens too.
    /// Nothing else takes turns.
    async fn turn(&self, admitted: &Admitted) -> Result<Option<Turn>, Refusal> {
        if admitted.operation_type != OperationType::Query {
            return Ok(None);
        }
        let turn = self.turns.take(admitted.token_key);
        let turn = within(self.limits.turn, turn).await.ok_or_else(|| {
            let message = "too many queries wait for their turn; ask again soon";
            Refusal::new(Code::Overloaded, message).retry_after(TURN_RETRY_AFTER)
        })?;
        Ok(Some(turn))
    }

    /// Takes one of the seats of the caller's token for a long answer, until dropped.
    pub fn seat(&self, caller: &Caller<B::Viewer>) -> Result<Seat, Refusal> {
        self.seats.take(self.backend.token_key(&caller.viewer), self.limits.token_subscriptions)
    }

    /// Opens any operation: a subscription with others who ask the same, where it may be shared; then what is told to all
    /// of them is written to its line.
    pub fn open(
        self: &Arc<Self>,
        mut admitted: Box<Admitted>,
        line: Option<Arc<Line>>,
    ) -> Result<Opened, Refusal> {
        if admitted.ticket.is_some()
            && let Some(answer) = self.judge(&mut admitted)
        {
            return Ok(Opened::Alone(stream::iter([answer]).boxed()));
        }
        let Some(ticket) = admitted.ticket.take() else {
            return self.run_stream(admitted).map(Opened::Alone);
        };
        let seat = self.seats.take(admitted.token_key, self.limits.token_subscriptions)?;
        match self.topics.join(ticket, seat, line, |seen| self.backend.place(seen)) {
            Ok(member) => Ok(Opened::Shared(member)),
            Err(seat) => {
                // Given back before it is taken again.
                drop(seat);
                self.run_stream(admitted).map(Opened::Alone)
            }
        }
    }

    /// Runs any operation as a stream of answers. A subscription occupies one of its token's seats until
    /// dropped.
    pub fn run_stream(
        self: &Arc<Self>,
        mut admitted: Box<Admitted>,
    ) -> Result<BoxStream<'static, Answer>, Refusal> {
        if admitted.operation_type != OperationType::Subscription {
            let door = Arc::clone(self);
            return Ok(async move { door.run_once(admitted).await }.into_stream().boxed());
        }
        if let Some(answer) = self.judge(&mut admitted) {
            return Ok(stream::iter([answer]).boxed());
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

pub(super) fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without words".to_owned())
}
