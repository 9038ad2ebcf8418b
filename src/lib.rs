//! # Beadle: how it is built
//!
//! Beadle is a task daemon that you talk to in GraphQL. One binary and one directory: commands run now, later or
//! every few seconds, are watched live, and none that was acknowledged is lost.
//!
//! ## The idea
//! 1. **The store is the truth and the bus.** A mutation answers after its commit; a subscriber reads the event
//!    rows; memory only nudges.
//! 2. **Every change is a value.** Whoever wants to change state hands a [`store::writer::Change`] to the one
//!    writer, which commits many of them in one transaction and then answers each.
//! 3. **Decide in pure Rust, apply in SQL with a guard.** [`domain`] has no clock, no randomness and no I/O; an
//!    update names the state and the attempt that it expects, and zero rows is `Stale`, a decision.
//! 4. **Each actor is a loop around one `tick`**: register for the nudge, look, act, wait for the nudge or the
//!    poll interval.
//! 5. **Arrows run down only**, and `tests/it/tidy` checks it.
//!
//! ## The floors
//! ```text
//! main -> cli -> client ~~~ GraphQL ~~~> the daemon
//!      \-> app -> web -> graphql -> engine -> { store | exec } -> domain -> base
//! ```
//! - [`base`]: the one home of clock, randomness, environment, settings, spawning and waiting. [`base::asker`]: whom a
//!   task works for, carried like a tracing span; the writer stamps events with it.
//! - [`domain`]: the words and rules. Its structs are the API's types and the store's rows. [`domain::access`] is the
//!   one question who may do and see what: a viewer's answer about a job, and the same as a value in the filters of
//!   lists.
//! - [`store`]: all SQL, for SQLite and PostgreSQL from one text; [`store::db`] alone names a driver.
//!   - [`store::room`]: whom a claim would take. Claim, dispatcher's outlook and [`store::blockers`] all ask it, so
//!     that they cannot disagree.
//!   - [`store::keys`]: the gate of jobs that share a limit. Only as many as may run stand in the claim's index.
//!   - [`store::dependencies`]: settles what waits for a job in the transaction that ends it.
//! - [`exec`]: all processes, and the calls of the program's own functions (`exec::handler`) in their place.
//! - [`engine`]: dispatcher, runner, recorder, scheduler, reaper, retention, feed, supervisor. [`engine::parameters`]
//!   is the only home of JSON Schema; [`engine::underway`] makes a process and a call go through the same steps.
//! - [`graphql`]: the schema: relations, mutations, subscriptions. [`graphql::access`] holds two tables: the grant of
//!   each root field, and what is open to a token that sees its own jobs only. Both deny what is not listed.
//! - [`web`]: the front door: HTTP, event streams, `WebSocket`, whole logs (`web::download`), one guard for all.
//! - [`app`]: the composition root; [`Daemon`] is the same for Rust programs. [`client`] and [`cli`] know the daemon
//!   only by its public API; `cli::site` owns definition files and never talks to it.
//!
//! ## The way of a job
//! 1. `graphql::jobs` hands the input to `engine::jobs`, which checks it by `domain::job`, makes command and parameters
//!    of it by [`engine::parameters`], and sends `store::jobs::Enqueue` to the writer.
//! 2. The writer commits job and event with everything else that waits, answers, and the dispatcher is nudged. A job
//!    that shares a limit passes the gate first; one that waits for others stays `BLOCKED` until the transaction that
//!    ends the last of them lets it go or skips it.
//! 3. `engine::dispatcher` sends `store::claim::Claim` for as many jobs as there are free slots. The attempt, with
//!    the cookie that its processes will carry, is committed before anything is spawned.
//! 4. `engine::runner` drives the attempt through `exec`, a process or a call of a handler: prepare, spawn or call,
//!    watch, stop, settle. `engine::dependencies` gives it the results of those before it. Output goes to
//!    `engine::recorder`, which writes it apart from the state; `engine::listener` hears both streams and the report
//!    channel and hides secrets; `engine::reports` stores what was reported; `engine::handlers` gives a handler
//!    the same ear. The end goes to the writer as `store::transition::EndAttempt`, where `domain::lifecycle` decides
//!    what it means, and the gate lets the next one of its key in.
//! 5. `engine::feed` and `engine::follow` tail the event rows and the log for subscribers; `engine::progress` shows
//!    them a running job's own word sooner than the store has it.
//!
//! ## The way of a due time
//! `engine::scheduler` reads the schedules that are due, `domain::settle` decides about pauses and misfires, and
//! `store::ticks::Settle` asks whether another job is in the way and writes ledger, jobs and the schedule's new
//! standing in one transaction, unless somebody changed the schedule in between. The standing never goes back: that
//! alone gives each due time once.
//!
//! ## Two databases, one text
//! A statement is a [`store::db::Sql`]: one text for both engines, or two side by side, with the kinds of its
//! arguments. Batches and lists are one JSON argument through `jsonb_each` (a function of ours on PostgreSQL).
//! The conformance suite in `tests/it/store` runs every store test on both, and prepares every statement on both.
//! The state is `beadle.db`; output is `logs.db`, so that a flood of it never slows a commit of state.
//!
//! ## Invariants, each with the test that holds it
//! 1. A mutation answers only after its transaction has committed (`daemon::crash`, `store`).
//! 2. At most one attempt of a job is open, and the end of an attempt counts once (`store`: stale ends).
//! 3. Every change of state appends an event in the same transaction, and no cursor ever skips one
//!    (`support::history`, used by `daemon::crash`; `api::streams`).
//! 4. A lost nudge delays by at most one poll interval (`daemon::nudges`).
//! 5. Nothing above `store` names an engine or writes SQL; nothing above `exec` spawns (`tidy::layers`).
//! 6. `domain` is synchronous and deterministic (`tidy::layers`).
//! 7. After kill -9 and a restart no accepted job is stuck, and the processes of a lost attempt are gone before
//!    the next attempt starts (`daemon::crash`). A thread of a handler that does not end may outlive its attempt.
//! 8. Memory is bounded by limits, not by the number of jobs, bytes of output or subscribers
//!    ([`domain::limits`]; `api::attacks`, `api::streams`).
//! 9. A store or settings that cannot be read stop the start with a message and are never replaced
//!    (`daemon::starting`, `store`).
//! 10. `schema.graphql`, both migration folders, and the documents of client and examples agree with the code
//!     (`api::schema`, `tidy::migrations`).
//! 11. No limit is ever exceeded (`daemon::limits`, `store::limits`).
//! 12. A job says why it waits exactly when a claim would leave it (`store::blockers`).
//! 13. A job goes where the contract says and nowhere else (`sim::lifecycle`; with those it waits for: `store::waits`).
//! 14. A token reads and learns nothing of what it may not see, by any way (`api::own_jobs`), and each root field opens
//!     to its grants only (`api::grants`).
//! 15. Each due time is dealt with once, whatever the clock does (`store::clock_steps`, `daemon::stepped_clock`).
//!
//! ## Adding things
//! - *A statement*: a const above its function, and its name in the file's `STATEMENTS`.
//! - *A change of state*: a struct with `impl Change`; refuse before the first write; emit an event. Sets of jobs move
//!   by `store::transition::move_many`. What makes a job final some other way must tell the batch's `ends`.
//! - *A field of the API*: with a description; then `cargo run -- schema > schema.graphql`. One that leads to further
//!   objects is closed to tokens for their own jobs until `graphql::access` lists it.
//! - *A root field*: also its grant in `graphql::access` and its line in `tests/it/api/grants.rs`; a mutation also a
//!   step in `tests/it/api/audit.rs`.
//! - *A key of definition files*: its row in `cli::site::keys`, its field in `client/queries/plan_*.graphql`.
//! - *A migration*: the same number and name in both folders, and its line in `store::open`.

pub mod app;
pub mod base;
pub mod cli;
pub mod client;
pub mod domain;
pub mod engine;
pub mod exec;
pub mod graphql;
pub mod notify;
pub mod store;
pub mod web;

pub use app::{Daemon, DaemonBuilder, RunningDaemon, StartError};
pub use exec::HandlerContext;
