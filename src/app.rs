//! The composition root: opens, wires, starts and stops. It alone knows every floor, and holds no rule.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::base::clock::{self, Clock, SystemClock};
use crate::base::random::{Random, SystemRandom};
use crate::base::settings::Settings;
use crate::base::shutdown::Shutdown;
use crate::base::{descriptors, points, service, task, telemetry};
use crate::domain::health::HealthStatus;
use crate::domain::placement::labels_of_worker;
use crate::engine::dispatcher;
use crate::engine::lease::Lease;
use crate::engine::places::Slots;
use crate::engine::supervisor::{Ground, Supervisor, Until, keep_running};
use crate::engine::tokens::TokenBoard;
use crate::engine::watchdog::{self, Role};
use crate::engine::{
    Engine, EngineSettings, Parts, database_watch, health, health_news, log_watch, memory, processes, reaper,
    recent, recorder, retention, running, scheduler, sinks, spool, starting, status_line, store_watch,
};
use crate::exec::{self, Handlers};
use crate::notify::Speaker;
use crate::store::upgrade::{self, Upgrade};
use crate::store::workers::{RetireWorker, StartWorker};
use crate::store::{Refusal, Store, Writer};
use crate::web::{self, DoorConfig, Limits};

pub mod admin;
mod banner;
mod daemon;
mod doctor;
mod door;
mod hosting;
mod sharing;
mod token;

use door::Door;
use token::{AdminToken, admin_token};

pub use crate::exec::{browse, keep_guard};
pub use daemon::{Daemon, DaemonBuilder, RunningDaemon, StartError};

/// After the grace: how long the end of what was killed may take.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of what the cookies of a daemon's attempts begin with.
const MARK_BYTES: usize = 8;
/// Between the last change and the end of the streams.
const CLOSING_GRACE: Duration = Duration::from_millis(200);

/// Runs the program's daemon until a signal stops it. Gives one clear line when it cannot start.
pub fn run(settings: Settings) -> Result<(), String> {
    telemetry::init(settings.log_format, settings.log_level.as_str());
    crate::base::memory::keep_little();
    let (before, limit) = descriptors::raise();
    tracing::debug!(before, limit, "descriptors that may be open");
    hosting::take_over()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime could be started: {error}"))?;
    let ended = runtime.block_on(async {
        // On this very thread, which gets the orphans.
        tokio::select! {
            ended = run_until_signal(settings) => ended,
            never = exec::answer_on_first_thread() => match never {},
        }
    });
    telemetry::flush();
    ended
}

async fn run_until_signal(settings: Settings) -> Result<(), String> {
    let mut signals = Signals::listen()?;
    let daemon = start(settings, Handlers::default(), Role::Program).await?;
    banner::print(&daemon);
    service::ready();
    tokio::select! {
        () = signals.next() => tracing::info!("stopping; a second signal stops at once"),
        () = daemon.wait() => return Err("the daemon has ended by itself".to_owned()),
    }
    service::stopping();
    tokio::select! {
        () = daemon.stop() => {}
        () = signals.next() => daemon.stop_now().await,
    }
    Ok(())
}

/// Starts a daemon on the present runtime: the one way in which every daemon starts.
async fn start(settings: Settings, handlers: Handlers, role: Role) -> Result<RunningDaemon, String> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let speaker = Speaker { host: host_name(), instance: worker_name() };
    let outlets = sinks::prepare(&settings.sinks, &speaker)?;
    let store = open_store(&settings, clock.as_ref(), random.as_ref()).await?;
    let listener = TcpListener::bind(settings.listen)
        .await
        .map_err(|error| format!("{} cannot be listened on: {error}", settings.listen))?;
    let address = listener.local_addr().map_err(|error| format!("the listener has no address: {error}"))?;
    let (writer, mut writer_loop) = store.writer(clock.clone());
    let ground = Ground { health: health::HealthBoard::default(), clock, random };
    let committing = keep_running(ground.clone(), "writer", async move || writer_loop.run().await);
    // On a thread of its own: a transaction's statements run there one after another, and a disk that hangs holds up
    // nobody else.
    let committing = task::spawn_on_thread("writer", committing).map_err(no_thread)?;
    clear_copies(&settings.data_dir, &ground);

    let engine = build(&settings, &store, writer, handlers, ground).await?;
    let admin_token = admin_token(&settings.data_dir, &engine).await?;
    points::reach("start.token_known");
    // Results that a store in trouble could not take, before anybody asks which attempts are lost.
    let spooled = spool::replay(&engine).await?;
    if spooled > 0 {
        tracing::warn!(spooled, "results waited in the spool of the daemon before this one");
    }
    reaper::bury_predecessor(&engine).await?;
    sharing::keep_worker(&settings.data_dir, &engine)?;
    engine.list_sinks(&outlets).await.map_err(refusal)?;
    // Settled before anything is claimed or due: a schedule must not skip because of a job that is dead.
    let lost = reaper::recover(&engine).await?;
    if lost > 0 {
        tracing::warn!(lost, "attempts of a dead daemon were ended as LOST");
    }
    let url = format!("http://{}", reachable(address));
    let address_file = settings.data_dir.join("address");
    write_private(&address_file, &format!("{url}\n"), Lasts::ThisRun)?;
    points::reach("start.address_written");
    let watching = watchdog::start(&engine, role)?;
    // From here on nothing fails: what was started would go on unseen.
    let (supervisor, keepers) = (Supervisor::default(), Supervisor::new(Until::Drained));
    start_parts(&engine, &supervisor, role);
    // The rows `store` and `logs` say how the stores are, not how their watchers are.
    keepers.keep(&engine, "store-watch", store_watch::run);
    keepers.keep(&engine, "log-watch", log_watch::run);
    // The row `processes` says what cannot be killed.
    keepers.keep(&engine, "process-watch", processes::run);
    sharing::start(&engine, (&supervisor, &keepers), role);
    engine.start_sinks(&supervisor, outlets);

    let stop_door = CancellationToken::new();
    let door = Door::new(&engine);
    let mut listening = web::Entrance::new(listener, door, door_config(&settings), stop_door.clone());
    let door = keep_running(engine.ground(), "door", async move || listening.serve().await);
    let door = task::spawn(door);

    let (shutdown, ended) = (engine.shutdown.clone(), CancellationToken::new());
    let end = ended.clone().drop_guard();
    let supervisors = (supervisor, keepers);
    let running = Running { engine, supervisors, stop_door, door, address_file, committing, watching, store };
    drop(task::spawn(async move {
        end_in_order(running).await;
        drop(end);
    }));
    Ok(RunningDaemon { address, url, data_dir: settings.data_dir, admin_token, shutdown, ended })
}

async fn open_store(settings: &Settings, clock: &dyn Clock, random: &dyn Random) -> Result<Store, String> {
    let data_dir = &settings.data_dir;
    let opened = if let Some(url) = &settings.database {
        Store::open_shared(data_dir, (url, settings.database_connections), clock, random).await
    } else {
        let upgrade = if settings.no_backup { Upgrade::WithoutBackup } else { Upgrade::AfterBackup };
        Store::open_directory_after(data_dir, upgrade, clock, random).await
    };
    opened.map_err(|fault| fault.to_string())
}

/// Copies of old stores that cannot be removed stop no start.
fn clear_copies(data_dir: &Path, ground: &Ground) {
    if let Err(fault) = upgrade::forget_surplus(data_dir) {
        tracing::warn!("{fault}");
        ground.health.set("backups", HealthStatus::Degraded, Some(fault.to_string()), ground.clock.now());
    }
}

/// What is at work from a start to its end.
struct Running {
    engine: Engine,
    /// Of what ends when the shutdown begins, and of what ends with the drain.
    supervisors: (Supervisor, Supervisor),
    stop_door: CancellationToken,
    door: JoinHandle<()>,
    address_file: PathBuf,
    committing: oneshot::Receiver<()>,
    watching: watchdog::Watchdog,
    store: Store,
}

/// Waits for the shutdown, then ends everything in its order.
async fn end_in_order(running: Running) {
    let Running { engine, supervisors, stop_door, door, address_file, committing, watching, store } = running;
    stop_in_order(&engine, &supervisors.0).await;
    engine.shutdown.end();
    if clock::within(STOP_PATIENCE, supervisors.1.ended()).await.is_none() {
        tracing::error!("a watch over the stores does not end");
    }
    // Subscribers see the last change before their streams end.
    clock::sleep(CLOSING_GRACE).await;
    stop_door.cancel();
    let _ = door.await;
    let _ = std::fs::remove_file(&address_file);
    drop(engine);
    // With the last `Writer` gone the loop ends, after it has committed what waits.
    if clock::within(STOP_PATIENCE, committing).await.is_none() {
        tracing::error!("the writer still has work; what was answered is on the disk");
    }
    points::reach("stop.before_close");
    // A look at the whole store may still go on: what was answered is on the disk without its end.
    if clock::within(STOP_PATIENCE, store.close()).await.is_none() {
        tracing::warn!("the store's files are still read; they are left as they are");
    }
    drop(watching);
    tracing::info!("stopped in order");
}

async fn build(
    settings: &Settings,
    store: &Store,
    writer: Writer,
    handlers: Handlers,
    ground: Ground,
) -> Result<Engine, String> {
    let work_directory = settings.data_dir.join("work");
    std::fs::create_dir_all(&work_directory)
        .map_err(|error| format!("{} cannot be made: {error}", work_directory.display()))?;
    let work_directory = std::fs::canonicalize(&work_directory).unwrap_or(work_directory);
    let data_dir = std::fs::canonicalize(&settings.data_dir).unwrap_or_else(|_| settings.data_dir.clone());
    let report_directory = data_dir.join("report");
    exec::clear_channels(&report_directory)
        .map_err(|error| format!("{} cannot be made: {error}", report_directory.display()))?;
    let cgroup = hosting::enter_cgroup(settings, &data_dir, ground.clock.as_ref());
    let cap = number(settings.log_attempt_cap);
    let spool = spool::Spool::open(&data_dir, store.reader().epoch()).map_err(|fault| fault.to_string())?;
    let logs = store.logs();
    let (recorder, mut recorder_loop) = recorder::channel(logs.clone(), ground.clone(), cap);
    let recording = keep_running(ground.clone(), "recorder", async move || recorder_loop.run().await);
    drop(task::spawn_on_thread("recorder", recording).map_err(no_thread)?);
    let worker_name = worker_name();
    let slots = i32::try_from(settings.slots).unwrap_or(i32::MAX);
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let sharing = store.sharing();
    let lease = sharing.as_ref().map(|_| settings.lease);
    let predecessor = sharing.as_ref().and_then(|_| sharing::predecessor(&data_dir, store.reader().epoch()));
    let labels = labels_of_worker(&settings.labels, &host_name());
    let started = StartWorker { name: worker_name.clone(), version, slots, labels, lease };
    // Counted from before it is asked for.
    let lease = lease.map_or_else(Lease::unneeded, Lease::begin);
    let worker = writer.apply(started).await.map_err(refusal)?.answer;
    points::reach("start.worker_listed");
    let Ground { health, clock, random } = ground;
    let random_mark = random.hex(MARK_BYTES) + ".";
    Ok(Engine::new(Parts {
        reader: store.reader(),
        metrics: writer.metrics().clone(),
        slots: Slots::new(settings.slots),
        own: store.own_reader(),
        writer,
        care: store.care(clock.clone()),
        spool,
        logs,
        recorder,
        handlers,
        cgroup,
        host: host_name(),
        started_at: clock.now(),
        clock,
        random,
        settings: engine_settings(settings, data_dir, (work_directory, report_directory)),
        worker,
        worker_name,
        mark: random_mark,
        lease,
        predecessor,
        sharing,
        shutdown: Shutdown::default(),
        health,
        recent: recent::Recent::default(),
        running: running::Running::default(),
        starting: starting::Starting::default(),
        tokens: TokenBoard::default(),
        is_called: AtomicBool::new(false),
        nudge_dispatcher: Notify::new(),
        nudge_scheduler: Notify::new(),
    }))
}

fn engine_settings(
    settings: &Settings,
    data_dir: PathBuf,
    (work_directory, report_directory): (PathBuf, PathBuf),
) -> EngineSettings {
    EngineSettings {
        slots: settings.slots,
        poll_interval: settings.poll_interval,
        drain_timeout: settings.drain_timeout,
        kill_grace: settings.kill_grace,
        queued_max: number(settings.max_queued),
        retention_succeeded: settings.retention_succeeded,
        retention_failed: settings.retention_failed,
        retention_log_bytes: number(settings.retention_log_bytes),
        free_bytes_min: settings.min_free,
        log_attempt_cap: number(settings.log_attempt_cap),
        data_dir,
        work_directory,
        report_directory,
    }
}

fn door_config(settings: &Settings) -> DoorConfig {
    let connections = usize::try_from(settings.max_connections).unwrap_or(usize::MAX);
    DoorConfig {
        allowed_hosts: settings.allow_hosts.clone(),
        allowed_origins: settings.allow_origins.clone(),
        limits: Limits { connections, ..Limits::default() },
    }
}

fn no_thread(error: std::io::Error) -> String {
    format!("no thread can be started: {error}")
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn worker_name() -> String {
    format!("{}:{}", host_name(), std::process::id())
}

fn refusal(refusal: Refusal) -> String {
    match refusal {
        Refusal::Rejected(rejection) => rejection.message,
        Refusal::Fault(fault) => fault.to_string(),
    }
}

fn start_parts(engine: &Engine, supervisor: &Supervisor, role: Role) {
    // Rows of what is not one part, but many that are alike.
    for row in ["feed", "runners", "descriptors", "starts"] {
        engine.health.begin(row, engine.clock.now());
    }
    let slots = engine.slots.clone();
    supervisor.keep(engine, "dispatcher", move |engine| dispatcher::run(engine, slots.clone()));
    supervisor.keep(engine, "scheduler", scheduler::run);
    supervisor.keep(engine, "retention", retention::run);
    supervisor.keep(engine, "health-news", health_news::run);
    // The row `database` says what the server does not clean up.
    if engine.own.engine() == "postgres" {
        supervisor.keep(engine, "database-watch", database_watch::run);
    }
    // The memory of another program is not ours to care for.
    if role == Role::Program {
        supervisor.keep(engine, "memory", memory::run);
    }
    if role == Role::Program && service::is_present() {
        supervisor.keep(engine, "status-line", status_line::run);
    }
}

/// The address that a client on this machine takes for one that stands for all addresses: none may be called by that name.
fn reachable(listening: SocketAddr) -> SocketAddr {
    match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, listening.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, listening.port()).into(),
        _ => listening,
    }
}

/// How long a file is of use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lasts {
    Always,
    /// The next start writes it anew: it need not outlive a loss of power, and nobody waits for the disk.
    ThisRun,
}

/// Writes a file that only we may read, whole or not at all.
fn write_private(path: &Path, text: &str, lasts: Lasts) -> Result<(), String> {
    let draft = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(text.as_bytes())?;
        if lasts == Lasts::Always {
            file.sync_all()?;
        }
        points::reach("start.file_drafted");
        std::fs::rename(&draft, path)
    };
    write().map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

/// The signals that stop the daemon, listened to from the beginning.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Signals, String> {
        let listen = |kind| signal(kind).map_err(|error| format!("signals cannot be listened to: {error}"));
        // A write over `ulimit -f` would end us. With a handler, which children do not inherit, it is an error like
        // any other of the disk.
        drop(listen(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?);
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Waits for the shutdown, lets what runs finish within the drain timeout, then stops it. A shutdown at once skips
/// the wait. The door stays open meanwhile.
async fn stop_in_order(engine: &Engine, supervisor: &Supervisor) {
    engine.shutdown.begun().await;
    tracing::info!(running = engine.running.count(), "draining");
    retire(engine, false).await;
    points::reach("stop.draining");
    // A claim may be on its way: what it takes is waited for like everything else.
    if clock::within(STOP_PATIENCE, supervisor.ended()).await.is_none() {
        tracing::error!("a part of the daemon does not end");
    }
    tokio::select! {
        () = engine.running.idle() => {}
        () = clock::sleep(engine.settings.drain_timeout) => tracing::warn!("the drain timeout is over"),
        () = engine.shutdown.forced() => tracing::warn!("stopping at once"),
    }
    engine.shutdown.force();
    points::reach("stop.forced");
    // Each attempt keeps to its own grace; what hangs in the kernel is left to the next start.
    let patience = STOP_PATIENCE + engine.settings.kill_grace;
    if clock::within(patience, engine.running.idle()).await.is_none() {
        tracing::error!(
            running = engine.running.count(),
            "some attempts did not end; the next start settles them"
        );
    }
    retire(engine, true).await;
    points::reach("stop.retired");
}

async fn retire(engine: &Engine, is_gone: bool) {
    let change = RetireWorker { id: engine.worker, name: engine.worker_name.clone(), is_gone };
    if let Err(Refusal::Fault(fault)) = engine.writer.apply(change).await {
        tracing::warn!("the worker could not be retired: {fault}");
    }
}
