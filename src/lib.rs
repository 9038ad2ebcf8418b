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
//!      \-> app -> web -> graphql -> engine -> { store | exec | notify } -> domain -> base
//! ```
//! - [`base`]: the one home of clock, randomness, environment, settings, spawning and waiting. [`base::asker`]: whom
//!   a task works for, carried like a tracing span, with the caller's trace; the writer stamps events with it.
//!   [`base::metrics`]: the numbers that every floor counts into on its way. [`base::telemetry`]: the daemon's own
//!   log; who logs never waits for who reads. [`base::background`]: threads for work that fills a core, gives way to all
//!   other work and rests, such as the output of jobs that flood.
//! - [`domain`]: the words and rules. Its structs are the API's types and the store's rows. [`domain::access`] is the
//!   one question who may do and see what: a viewer's answer about a job, and the same as a value in the filters of
//!   lists.
//! - [`store`]: all SQL, for SQLite and PostgreSQL from one text; [`store::db`] alone names a driver.
//!   - [`store::room`]: whom a claim would take. Claim, dispatcher's outlook and [`store::blockers`] all ask it, so
//!     that they cannot disagree.
//!   - [`store::keys`]: the gate of jobs that share a limit. Only as many as may run stand in the claim's index.
//!   - [`store::dependencies`]: settles what waits for a job in the transaction that ends it.
//!   - [`store::breaker`]: what stands in the way of every change while the store is in trouble.
//!   - [`store::writer`]: every change, many in one transaction. Which come into a turn is said by `store::writer::order`:
//!     a small one that somebody waits for goes ahead of a long one. What was committed is handed over to those who
//!     follow (`store::writer::news`).
//!   - [`store::offer`]: a turn of the writer claims what it brings for the places that `engine::places` offers.
//!   - [`store::job_lists`]: lists, counts and bulk matches of jobs. `store::job_search` chooses one of the ways of
//!     `store::job_ways`, an index each: what is small is read whole and sorted, what is large is walked in its own order
//!     for a bounded number of rows, and the page says how far it came. Of each job it reads the parts that are asked for
//!     ([`domain::job_parts`]).
//!   - `store::db::write_back`: the journal of a SQLite file goes back into the file beside the writer.
//!   - `store::log_pages` makes pages of a log out of chunks: a chunk is searched whole before a line of it is looked at.
//!   - [`store::backup`], [`store::restore`], [`store::doctor`]: commands over files (by [`app::admin`]). They open the
//!     databases beside the daemon with connections that cannot write ([`store::beside`]), so that closing them never
//!     checkpoints.
//! - [`exec`]: all processes, and the calls of the program's own functions (`exec::handler`) in their place.
//!   `exec::trees` adopts what attempts grow beyond their process groups, knows whose it is, ends it with its attempt
//!   and reaps it; `exec::cgroup` does the same exactly where a part of the control group tree is delegated.
//!   `exec::starter` starts processes on threads of its own, for a start may hang.
//! - [`notify`]: how an event is written for each kind of sink, and the one HTTP client that sends it;
//!   [`notify::address`] says which networks it may call. It keeps no queue and decides about no next try.
//! - [`engine`]: dispatcher, runner, recorder, scheduler, reaper, retention, feed, supervisor, sinks.
//!   [`engine::parameters`] is the only home of JSON Schema; [`engine::underway`] makes a process and a call go
//!   through the same steps. Its own reads (starts, schedules, token look-ups) have connections of their own: what
//!   clients read never holds them up.
//! - [`graphql`]: the schema: relations, mutations, subscriptions. `graphql::rows`: long lists write themselves as JSON that
//!   `domain::encode` puts into the answer as it is. `graphql::topics` says which subscriptions may be shared. [`graphql::access`] holds two tables: the grant of
//!   each root field, and what is open to a token that sees its own jobs only. Both deny what is not listed.
//! - [`web`]: the front door: HTTP, event streams, `WebSocket`, whole logs (`web::download`), one guard for all.
//!   `web::known` remembers documents that were judged: a strict schema that runs nothing judges (`graphql::judge`), the
//!   same with fast validation serves, and `web::variables` checks what that leaves out. `web::topics` executes a
//!   subscription once for all who ask the same with the same rights and knows nothing else of them; the fastest reader
//!   sets the pace, and what is told is written past the sockets' tasks (`web::pipe`). `web::turns` shares the turns of queries among tokens; `web::pages` serves the dashboard, which `build/` makes of
//!   `dashboard/` and puts into the program. The page is a client like any other (`dashboard/README.md`).
//! - [`app`]: the composition root; [`Daemon`] is the same for Rust programs. [`client`] and [`cli`] know the daemon
//!   only by its public API; `cli::site` owns definition files and never talks to it.
//!
//! ## The way of a job
//! 1. `graphql::jobs` hands the input to `engine::jobs`, which checks it by `domain::job`, makes command and parameters
//!    of it by [`engine::parameters`], and sends `store::jobs::Enqueue` to the writer.
//! 2. The writer commits job and event with everything else that waits, claims in the same transaction what may start at
//!    once for the places that `engine::places` offers, and answers. The attempts stand on the list of those that run
//!    before the commit and begin behind the answers; a claim whose commit nobody knows of is doubted, and the dispatcher
//!    ends what it took; a batch that fails is replayed without claims. A job
//!    that shares a limit passes the gate first; one that waits for others stays `BLOCKED` until the transaction that
//!    ends the last of them lets it go or skips it.
//! 3. `engine::dispatcher` sees to what no turn starts: what is due by the clock, what another daemon brought, what was
//!    left over. It sends `store::claim::Claim` for as many jobs as there are free slots. The attempt, with
//!    the cookie that its processes will carry, is committed before anything is spawned.
//! 4. `engine::runner` drives the attempt through `exec`, a process or a call of a handler: prepare, spawn or call,
//!    watch, stop, settle. `engine::dependencies` gives it the results of those before it. Output goes to
//!    `engine::recorder`, which writes it apart from the state; `engine::listener` hears both streams and the report
//!    channel and hides secrets; `engine::reports` stores what was reported, and leaves the last of it to
//!    the end; `engine::handlers` gives a handler the same ear. The end goes to the writer as `store::ends::EndAttempt`, where `domain::lifecycle` decides
//!    what it means, and the gate lets the next one of its key in. The ends of a turn are settled together by
//!    `store::ends`, and what leaves its place (`LeavePlace`) lets the same transaction claim the next job for it.
//! 5. `engine::feed` and `engine::follow` tail the event rows and the log for subscribers; `engine::progress` shows
//!    them a running job's own word sooner than the store has it.
//!
//! ## The way of a failure, to an incident and to a sink
//! 1. While output is heard, [`domain::error_line`] picks the line that tells why; [`domain::error_shape`] takes out
//!    of it what differs from run to run, and [`domain::fingerprint`] names the kind.
//! 2. `EndAttempt` notes the failure in the batch; `store::incident_counts` counts all of a batch before its commit
//!    in a few statements, and [`domain::incident`] decides what is news. A batch that is tried again begins anew.
//! 3. [`engine::sinks`]: a supervised part for each sink reads the feed behind the sink's position, which is its
//!    outbox, has [`notify`] say it, and moves the position by compare-and-set. No job waits for it. What is refused
//!    for good is a dead letter. Spans are made of durable rows, below the trace that [`store::job_traces`] keeps
//!    with the job.
//!
//! ## The way of a due time
//! `engine::scheduler` reads the schedules that are due, `domain::settle` decides about pauses and misfires, and
//! `store::ticks::Settle` asks whether another job is in the way and writes ledger, jobs and the schedule's new
//! standing in one transaction, unless somebody changed the schedule in between. The standing never goes back: that
//! alone gives each due time once.
//!
//! ## Supervision
//! [`engine::supervisor`] keeps every part alive by one rule and shows it on the [`engine::health`] board, which
//! works without the store; [`engine::health_news`] tells the feed when it can. A panic in a subscription is caught
//! in the stream, which goes on behind what it gave; an attempt whose runner panicked is settled by the dispatcher.
//! [`engine::watchdog`] is a thread outside the runtime: it sees what stands still, speaks to the service manager
//! ([`base::service`]), and ends a program whose runtime is stuck. A start that the machine cannot give now waits
//! ([`engine::starting`]), and so does the door ([`base::descriptors`]). [`engine::quarantine`] decides about jobs
//! that may have killed the daemon, by the rule of [`domain::quarantine`]. An attempt ends when nothing of it is
//! left, so a process that cannot be killed keeps it running and shows in the health row `processes`; a start that
//! hangs shows in `starts`, and [`engine::slow_start`] heeds cancel and timeout meanwhile. Parts end when the shutdown
//! begins, the watches over the stores when the drain has ended.
//!
//! ## Faults of the store
//! A commit that fails shows at the [`store::breaker`]: from then on every change is refused at once and no disk is
//! touched; only a probe passes, and only a real write or a look ends it. Behind each commit the files are looked at
//! before anybody is answered. [`store::care`] looks at files and disk, checks and rescues; [`engine::store_watch`]
//! drives it. Results of attempts wait in [`engine::spool`] over [`store::spool`], and reach the store before anybody
//! looks for attempts without a runner. [`store::log_care`] and [`engine::log_watch`] do the same for output, which
//! is worth less: a new log file rather than none. [`engine::recent`] holds the newest events once for all who follow,
//! so that a crowd of subscribers does not use up the connections: our own come from the writer, the others are read.
//!
//! ## Several workers over one database
//! Only on PostgreSQL there is [`store::sharing`]. [`engine::lease`] renews this worker's lease by the database's clock and
//! ends what runs here before it is over: each attempt holds its `Term`, and what began before a lapse ends `LOST`. A
//! daemon that stands still can end nothing, so `exec::guard`, a process of its own, kills what bears the daemon's mark
//! when no new word came in time. [`engine::others`] hears what the others committed (a word by NOTIFY, and each poll),
//! tells them, buries workers whose leases are over and has the reaper end what they left. A claim takes nothing for a
//! worker that is buried: the claim's transaction and the burial lock its row. [`store::placement`] says which jobs that ask for labels a worker
//! fits: they stand in an index of their own, by selector, and a claim merges the heads of what fits by rank.
//! [`store::moving`] moves the files of a stopped instance into PostgreSQL in one transaction: sent, read back, compared.
//! [`store::log_days`]: output lies in days there, made ahead and dropped whole by `engine::log_days`.
//! [`store::upkeep`] asks the server what it does not clean; [`engine::database_watch`] says it.
//!
//! ## Two databases, one text
//! A statement is a [`store::db::Sql`]: one text for both engines, or two side by side, with the kinds of its
//! arguments. Lists are one JSON argument through `jsonb_each` (a function of ours on PostgreSQL). Many rows for one
//! statement are [`store::db::Rows`]: SQLite runs it for each row, PostgreSQL once with a list of each column. There a statement
//! that names its rows by number hides the state that it expects from the planner, whose statistics are late.
//! The conformance suite in `tests/it/store` runs every store test on both, and prepares every statement on both.
//! The state is `beadle.db`; output is `logs.db`, so that a flood of it never slows a commit of state. The loops of writer
//! and recorder have threads of their own, where the statements of a transaction run without a hop and a disk that hangs
//! holds up nobody else; everybody else reaches a SQLite file through its reader threads or its hand (`store::db`).
//!
//! ## Invariants, each with the test that holds it
//! 1. A mutation answers only after its transaction has committed (`daemon::crash`, `daemon::crash_points`, `store`).
//! 2. At most one attempt of a job is open, and the end of an attempt counts once (`store`: stale ends).
//! 3. Every change of state appends an event in the same transaction, and no cursor ever skips one
//!    (`support::laws`, used by `daemon::crash`, `daemon::crash_points`, `daemon::mixed`; `api::streams`).
//! 4. A lost nudge delays by at most one poll interval (`daemon::nudges`).
//! 5. Nothing above `store` names an engine or writes SQL; nothing above `exec` spawns (`tidy::layers`).
//! 6. `domain` is synchronous and deterministic (`tidy::layers`).
//! 7. After kill -9 and a restart no accepted job is stuck, and the processes of a lost attempt are gone before the
//!    next attempt starts (`daemon::crash`, `daemon::crash_points`, `daemon::trees`). A thread of a handler that does
//!    not end may outlive its attempt.
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
//! 16. What was answered as refused was not done, and what nobody knows is said so (`daemon::faults_calls`,
//!     `daemon::faults_files`).
//! 17. A result outlives the daemon while the store cannot take it (`daemon::faults_disk`).
//! 18. A part that fails is back by itself, and the others go on (`daemon::parts`, `embedded::parts`, `daemon::stuck`).
//! 19. Nothing of an attempt is left when it has ended (`daemon::trees`, `daemon::cgroups`).
//! 20. Each failed attempt is counted in exactly one incident (`store::incidents`).
//! 21. What a sink was not told is told later, refused for a person to see, or counted as dropped, and the same event
//!     has the same id in every try (`daemon::sinks`, `store::sinks`).
//! 22. A migration is all or nothing, and a copy comes before it (`daemon::upgrade`). A restored store is another
//!     store: new cursors, new ids (`daemon::backup`).
//! 23. The daemon's numbers agree with what was committed (`daemon::metrics`).
//! 24. No start of a process holds up another one (`daemon::hanging_starts`).
//! 25. No two attempts of a job run at once, on whatever machines, and no limit is exceeded over all workers
//!     (`several::chaos`, `several::takeover`).
//! 26. A move is whole or leaves nothing, and numbers and cursors go on behind it (`daemon::moving`).
//!
//! ## Adding things
//! - *A statement*: a const above its function, and its name in the file's `STATEMENTS`.
//! - *A change of state*: a struct with `impl Change`; refuse before the first write; emit an event. Sets of jobs move
//!   by `store::transition::move_many`. What makes a job final some other way must tell the batch's `ends`; what brings
//!   new work says `needs_room`.
//! - *A field of the API*: with a description; then `cargo run -- schema > schema.graphql`. One that leads to further
//!   objects is closed to tokens for their own jobs until `graphql::access` lists it.
//! - *A root field*: also its grant in `graphql::access` and its line in `tests/it/api/grants.rs`; a mutation also a
//!   step in `tests/it/api/audit.rs`.
//! - *A key of definition files*: its row in `cli::site::keys`, its field in `client/queries/plan_*.graphql`.
//! - *A migration*: the same number and name in both folders, its line in `store::migrations`, and what a new SQLite file has
//!   of it in `migrations/sqlite/state.sql` or `logs.sql` (`tidy::migrations` compares); a table or a column: its line in
//!   `store::moving::tables`. A table with numbered ids: its line in `store::doctor`.
//! - *A point*: `base::points::reach` with `part.moment` as its name where a crash matters; `daemon::crash_points` walks it by
//!   itself. One that its load cannot reach stands in its `ELSEWHERE`, with the reason.
//! - *A change that ends an attempt* says so by `Change::end`. What brings a job into its queue goes through
//!   `Batch::count`, which tells the turn that there is work; what plans something for later sets `needs_look`.
//! - *A filter of jobs*: its condition in `store::job_filter`, its bit in `Fields`, and where an index has it a `Way` with
//!   its statements (`store::job_searches` in the tests names its index).
//! - *A plain field of Job, Attempt, Event or `LogLine`*: its line in `graphql::columns`, unless it has a guard; without the
//!   line it is resolved as ever. No extension may stand in the schema that serves.
//! - *A part*: `Supervisor::keep` in `app::start_parts`, a point at the top of its turn, and its panic in
//!   `daemon::parts`.
//! - *A setting*: its row in `base::settings::table`. One of sinks: its word in `base::settings::sinks`, read there.
//! - *A screen of the dashboard*: its folder in `dashboard/src/screens`; the rail, the keys and the addresses follow. The
//!   first part of its address also stands in `web::pages`.
//! - *A kind of sink*: its `SinkKind` with its keys, a file in [`notify`] and its `Target`, its default in
//!   `SinkFilter`.
//! - *A field of what ends an attempt*: with `#[serde(default)]`, so that a spool of the version before can be read.

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
