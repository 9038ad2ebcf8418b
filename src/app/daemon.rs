//! Owns the daemon as a Rust program sees it: built, started, at work, stopped. It must never listen to signals or
//! write to a terminal: both belong to the program.

use std::fmt::Display;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::{AdminToken, hosting, start};
use crate::base::settings::{DATA_DIR, Settings, Sources, cores};
use crate::base::shutdown::Shutdown;
use crate::domain::link;
use crate::engine::watchdog::Role;
use crate::exec::{Handler, HandlerContext, Handlers};
use crate::web;

/// A whole daemon inside a Rust program: the same API, on an address of its own, over a data directory of its own.
/// One process may hold several.
///
/// ```no_run
/// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
/// use beadle::{Daemon, HandlerContext};
/// use serde_json::{Value, json};
///
/// let daemon = Daemon::builder()
///     .data_dir("/var/lib/shop")
///     .listen(([127, 0, 0, 1], 0).into())
///     .handler("resize", |ctx: HandlerContext, input: Value| async move {
///         for done in 1..=3 {
///             ctx.progress(done, 3);
///         }
///         ctx.log(format!("resized {input}")).await;
///         Ok::<_, std::io::Error>(json!({ "count": 3 }))
///     })
///     .start()
///     .await?;
/// println!("{}/graphql", daemon.url());
/// daemon.stop().await;
/// # Ok(())
/// # }
/// ```
///
/// A job calls a handler by a command `{handler: "resize"}`. What such a job may expect:
/// - The input is the job's parameters, read as the type that the handler takes. Parameters that do not fit end the
///   attempt as failed, and it is not tried again.
/// - An object that it returns is the job's output. An error is an attempt that `EXITED` with code 1 and the error's
///   words; a panic is `PANICKED`, and the daemon goes on. Both are tried again as the retry policy says.
/// - On a cancel, a timeout or a stop of the daemon [`HandlerContext::cancelled`] resolves. After the job's kill grace
///   an async handler is dropped. A blocking one cannot be ended: the attempt ends without it, nothing that it says
///   is heard any more, and its slot stays taken until it returns. A next attempt may then run beside it.
/// - It is not a process: a crash of the program ends it, and its attempt is `LOST` at the next start.
#[derive(Debug)]
pub struct Daemon(());

impl Daemon {
    /// A daemon to be set up.
    pub fn builder() -> DaemonBuilder {
        DaemonBuilder::default()
    }
}

/// A daemon that is being set up. What is wrong is said by `start`.
#[derive(Debug, Default)]
#[must_use = "a daemon that is not started does nothing"]
pub struct DaemonBuilder {
    settings: Vec<(String, String)>,
    data_dir: Option<PathBuf>,
    handlers: Vec<(String, Handler)>,
    takes_over: bool,
}

/// Why a daemon could not be started, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StartError(String);

impl DaemonBuilder {
    /// Where everything durable lives; it is made when it is not there. It must be given, and one daemon at a time
    /// has it. A `beadle.toml` in it is read as for the program; the environment is not.
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> DaemonBuilder {
        self.data_dir = Some(path.into());
        self
    }

    /// Where the API listens, 127.0.0.1:7878 unless said otherwise; port 0 takes a free one.
    pub fn listen(self, address: SocketAddr) -> DaemonBuilder {
        self.set("listen", &address.to_string())
    }

    /// Jobs that run at once.
    pub fn slots(self, count: usize) -> DaemonBuilder {
        self.set("slots", &count.to_string())
    }

    /// Any other setting, as in the settings file: `set("drain_timeout", "5s")`. It stands above the file.
    /// A list's key may be set several times. A sink is set key by key: `set("sinks.pager.kind", "webhook")`.
    pub fn set(mut self, key: &str, value: &str) -> DaemonBuilder {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Offers an async function to jobs. It must not block its thread: for that there is `blocking_handler`.
    pub fn handler<F, Fut, T, R, E>(mut self, name: &str, work: F) -> DaemonBuilder
    where
        F: Fn(HandlerContext, T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
        T: DeserializeOwned,
        R: Serialize,
        E: Display,
    {
        self.handlers.push((name.to_owned(), Handler::asynchronous(work)));
        self
    }

    /// Offers a function that may block to jobs: each call has a thread of its own. It should look at
    /// [`HandlerContext::is_cancelled`] now and then, for nobody can end it.
    pub fn blocking_handler<F, T, R, E>(mut self, name: &str, work: F) -> DaemonBuilder
    where
        F: Fn(HandlerContext, T) -> Result<R, E> + Send + Sync + 'static,
        T: DeserializeOwned,
        R: Serialize,
        E: Display,
    {
        self.handlers.push((name.to_owned(), Handler::blocking(work)));
        self
    }

    /// Makes this process the daemon's own, as the program `beadle` is: it adopts the orphans that processes of jobs leave,
    /// ends them with their attempt and reaps them; keeps its open files from jobs; and uses the control group that is
    /// delegated to it. Only for programs that start no processes themselves from here on: such a process would be
    /// taken for an orphan. Without it what leaves the process group of a job lives on when the job has ended.
    pub fn take_over_process(mut self) -> DaemonBuilder {
        self.takes_over = true;
        self
    }

    /// Starts it on the present tokio runtime, which needs I/O and time. It takes jobs when this returns.
    ///
    /// # Errors
    /// One sentence: a setting, the data directory, the address or a handler's name is bad.
    pub async fn start(self) -> Result<RunningDaemon, StartError> {
        let takes_over = self.takes_over;
        let (settings, handlers) = self.checked().map_err(StartError)?;
        if takes_over {
            hosting::take_over().map_err(StartError)?;
        }
        start(settings, handlers, Role::Guest).await.map_err(StartError)
    }

    /// Starts it, and stops it in order when `stop` resolves.
    ///
    /// # Errors
    /// As `start`.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Result<(), StartError> {
        let daemon = self.start().await?;
        stop.await;
        daemon.stop().await;
        Ok(())
    }

    fn checked(self) -> Result<(Settings, Handlers), String> {
        let data_dir =
            self.data_dir.ok_or("an embedded daemon needs a data directory: give it by data_dir")?;
        let text = data_dir.to_str().ok_or("the data directory's name is not UTF-8")?;
        let mut flags = self.settings;
        flags.push((DATA_DIR.to_owned(), text.to_owned()));
        let sources = Sources { flags, config: None, environment: Vec::new(), cores: cores() };
        let settings = Settings::load(&sources)?.settings;
        let mut handlers = Handlers::default();
        for (name, handler) in self.handlers {
            handlers.add(&name, handler)?;
        }
        Ok((settings, handlers))
    }
}

/// A daemon at work. Dropping it asks for an orderly stop and does not wait for it.
#[derive(Debug)]
pub struct RunningDaemon {
    pub(super) address: SocketAddr,
    pub(super) url: String,
    pub(super) data_dir: PathBuf,
    pub(super) admin_token: AdminToken,
    pub(super) shutdown: Shutdown,
    pub(super) ended: CancellationToken,
}

impl RunningDaemon {
    /// Where the API listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL for clients on this machine, without a path: `http://127.0.0.1:7878`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where its data lies.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The secret of the token that may do everything; it also stands in `admin.token` in the data directory.
    pub fn admin_token(&self) -> &str {
        &self.admin_token.secret
    }

    /// The link that opens the dashboard with the admin token, and is as secret as it; `None` when that token was revoked,
    /// or the program was built without the dashboard.
    pub fn dashboard_link(&self) -> Option<String> {
        let token = Some(&self.admin_token).filter(|token| !token.is_revoked && web::has_dashboard())?;
        Some(link::with_token(&self.url, &token.secret))
    }

    /// Stops in order: starts nothing more, lets what runs finish within the drain timeout, and stops the rest.
    /// Resolves when the daemon has ended. Called again, it waits with the others.
    pub async fn stop(&self) {
        self.shutdown.begin();
        self.wait().await;
    }

    /// As `stop`, but what runs is stopped at once.
    pub async fn stop_now(&self) {
        self.shutdown.force();
        self.wait().await;
    }

    /// Resolves when the daemon has ended, whoever stopped it.
    pub async fn wait(&self) {
        self.ended.cancelled().await;
    }
}

impl Drop for RunningDaemon {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}
