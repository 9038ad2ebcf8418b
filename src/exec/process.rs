//! Owns one running process: its start, its signals, its end. It must never signal a pid or a group
//! that may belong to somebody else by now, and never wait for a child that it did not start.

use std::os::fd::{AsFd as _, AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpgid, kill_process_group, pidfd_open,
    pidfd_send_signal, waitid,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::base::clock::{self, Clock, within};
use crate::base::{descriptors, points, task};
use crate::exec::account::{Exit, own_peak_bytes, wait4};
use crate::exec::cgroup::Leaf;
use crate::exec::command::{COOKIE_VARIABLE, Spec};
use crate::exec::error::{SpawnError, errno_of};
use crate::exec::hygiene;
use crate::exec::output::{self, DrainReport, Piece};
use crate::exec::procfs::{self, Identity};
use crate::exec::trees::{self, Tree};

/// First and longest pause between two looks at a group that is dying by itself.
const GROUP_LOOK: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// A process that was started. Dropping it kills the whole group; the exit is always collected, so no
/// zombie stays.
#[derive(Debug)]
pub struct Running {
    leader: Arc<Leader>,
    program: PathBuf,
    exit: Awaited<Exit>,
    drain: Awaited<DrainReport>,
}

/// A process that was started, with its output.
pub type Spawned = (Running, mpsc::Receiver<Vec<Piece>>);

/// Starts a process, as the leader of its own group, with stdin from `/dev/null`. It is moved into the `leaf`, where there
/// is one; when it cannot be, it runs outside.
///
/// The receiver gives its output in batches and ends after the drain. It is bounded: when nobody
/// receives, reading stops and the child waits in its writes. Dropping the receiver throws the rest of
/// the output away and does not disturb the child.
///
/// Blocks its thread for about a millisecond, and for ever with a program on a disk that does not answer: `start` has
/// threads for that. Call it inside a tokio runtime with I/O and time.
pub fn spawn(spec: &Spec, leaf: Option<Leaf>, clock: &Arc<dyn Clock>) -> Result<Spawned, SpawnError> {
    spec.check()?;
    let program = spec.resolve()?;
    let starting = trees::starting();
    let (child, stdout, stderr) = start(spec, &program)?;
    points::reach("spawn.begun");
    let leader = Arc::new(Leader::hold(child, &spec.cookie, leaf, clock)?);
    drop(starting);
    hygiene::offer_first(leader.identity.pid);
    let watched = watch(&leader)?;
    let pipes = output::pipes(stdout, stderr).map_err(|error| os("watch the output", &error))?;

    let ended = CancellationToken::new();
    let (tell_exit, exit) = oneshot::channel();
    let (tell_drain, drain) = oneshot::channel();
    let (batches, received) = mpsc::channel(output::BATCHES_MAX);
    task::spawn(attend(watched, ended.clone(), tell_exit));
    let clock = Arc::clone(clock);
    task::spawn(async move {
        let report = output::read(pipes, batches, ended, clock).await;
        // The owner may have gone; then nobody asks.
        let _ = tell_drain.send(report);
    });
    let running = Running { leader, program, exit: Awaited::new(exit), drain: Awaited::new(drain) };
    Ok((running, received))
}

impl Running {
    /// The process id, which is the group's id too.
    pub fn pid(&self) -> i32 {
        self.leader.identity.pid
    }

    /// Who it is, for `kill_survivors` after a crash.
    pub fn identity(&self) -> &Identity {
        &self.leader.identity
    }

    /// The file that was started.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The control group that holds all its processes, where there is one.
    pub fn cgroup(&self) -> Option<&Path> {
        self.leader.leaf.as_ref().map(Leaf::path)
    }

    /// Resolves when the process has exited, was reaped, and what was left of it is gone: the rest of its group, and
    /// what left the group, as far as this process adopts orphans. That is sent SIGKILL at once; after a `terminate`
    /// it has time until `kill` to end by itself. May be dropped and called again at any time.
    pub async fn wait(&mut self) -> Exit {
        self.exit.get().await
    }

    /// Resolves when the output has been read to its end, or the drain after the exit gave up on it,
    /// and every batch was handed over. May be dropped and called again at any time.
    pub async fn drained(&mut self) -> DrainReport {
        self.drain.get().await
    }

    /// Asks the whole group, and what left it, to end: SIGTERM, and SIGCONT so that a stopped one hears it.
    pub fn terminate(&self) {
        self.leader.is_stopping.store(true, Ordering::SeqCst);
        self.leader.tree.stop();
        let leader = Arc::clone(&self.leader);
        drop(tokio::task::spawn_blocking(move || leader.terminate()));
    }

    /// Ends the whole group, and what left it: SIGKILL.
    pub fn kill(&self) {
        self.leader.kill();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.leader.kill();
    }
}

/// A value that a task tells once, and that may be asked for often.
#[derive(Debug)]
struct Awaited<T> {
    told: oneshot::Receiver<T>,
    value: Option<T>,
}

impl<T: Copy> Awaited<T> {
    fn new(told: oneshot::Receiver<T>) -> Awaited<T> {
        Awaited { told, value: None }
    }

    async fn get(&mut self) -> T {
        if let Some(value) = self.value {
            return value;
        }
        match (&mut self.told).await {
            Ok(value) => *self.value.insert(value),
            // The teller goes without a word only when its runtime shuts down, and we with it.
            Err(_) => std::future::pending().await,
        }
    }
}

/// The first process of a group, from its start until it is reaped.
#[derive(Debug)]
struct Leader {
    pid: Pid,
    pidfd: OwnedFd,
    identity: Identity,
    tree: Tree,
    /// The control group of all its processes.
    leaf: Option<Leaf>,
    /// The daemon's own peak when the child left its memory.
    peak_floor_bytes: u64,
    is_stopping: AtomicBool,
    killed: CancellationToken,
    /// Held while signalling, so that the reaping cannot free the ids in between.
    is_reaped: Mutex<bool>,
}

impl Leader {
    fn hold(
        mut child: Child,
        cookie: &str,
        leaf: Option<Leaf>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Leader, SpawnError> {
        let pid = Pid::from_child(&child);
        let seen = pidfd_open(pid, PidfdFlags::empty()).and_then(|pidfd| Ok((pidfd, identify(pid)?)));
        let (pidfd, identity) = match seen {
            Ok(seen) => seen,
            Err(errno) => {
                // Without it we cannot watch: what was started must not run on unseen.
                let _ = kill_process_group(pid, Signal::KILL);
                let _ = child.wait();
                return Err(SpawnError::Os { step: "watch the process", errno: errno.raw_os_error() });
            }
        };
        let tree = Tree::grow(&identity, cookie, clock);
        let leaf = leaf.filter(|leaf| match leaf.take(identity.pid) {
            Ok(()) => {
                tree.hold();
                true
            }
            Err(error) => {
                tracing::warn!("a process could not be moved into {}: {error}", leaf.path().display());
                false
            }
        });
        Ok(Leader {
            pid,
            pidfd,
            identity,
            tree,
            leaf,
            peak_floor_bytes: own_peak_bytes(),
            is_stopping: AtomicBool::new(false),
            killed: CancellationToken::new(),
            is_reaped: Mutex::new(false),
        })
    }

    /// Blocks while it looks for what left the group: before the leader ends, for then nobody stands above it.
    fn terminate(&self) {
        let inside = self.leaf.as_ref().map(Leaf::pids).unwrap_or_default();
        self.tree.ask_outsiders(&inside);
        let is_reaped = self.lock();
        if *is_reaped {
            return;
        }
        // A leader that moved to another group is told by itself, any other once with its group.
        let has_moved = getpgid(Some(self.pid)).is_ok_and(|group| group != self.pid);
        for signal in [Signal::TERM, Signal::CONT] {
            // ESRCH: nobody is left in the group, and the attendant will see it.
            let _ = kill_process_group(self.pid, signal);
            if has_moved {
                let _ = pidfd_send_signal(&self.pidfd, signal);
            }
        }
    }

    fn kill(&self) {
        self.tree.end();
        self.killed.cancel();
        if let Some(leaf) = &self.leaf {
            leaf.kill();
        }
        let is_reaped = self.lock();
        if !*is_reaped {
            self.kill_unreaped();
        }
    }

    /// The caller holds the lock and has seen that the leader is not reaped.
    fn kill_unreaped(&self) {
        // ESRCH: the group is empty but for a leader that left it, whom the pidfd reaches.
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Whether it has exited, without reaping it. Also true when somebody else took its status.
    fn has_exited(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::PidFd(self.pidfd.as_fd()), options), Ok(None))
    }

    /// Waits until nothing but the leader is left, or until `kill`.
    async fn outlast(&self) {
        let (mut pause, longest) = GROUP_LOOK;
        while !self.is_alone().await && within(pause, self.killed.cancelled()).await.is_none() {
            pause = (pause * 2).min(longest);
        }
    }

    /// Whether nothing but the leader is left.
    async fn is_alone(&self) -> bool {
        self.tree.is_alone().await && !self.leaf.as_ref().is_some_and(Leaf::is_populated)
    }

    /// Ends what is left, and resolves when nothing is, however long that takes.
    async fn clear(&self) {
        if let Some(leaf) = self.leaf.as_ref().filter(|leaf| leaf.is_populated()) {
            leaf.kill();
        }
        self.tree.clear().await;
        let (mut pause, longest) = GROUP_LOOK;
        while self.leaf.as_ref().is_some_and(Leaf::is_populated) {
            clock::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// Kills the rest of the group and reaps the leader, which has exited.
    fn reap(&self) -> Exit {
        let mut is_reaped = self.lock();
        // ESRCH: nothing is left.
        let _ = kill_process_group(self.pid, Signal::KILL);
        let exit = wait4(self.pid, libc::WNOHANG, self.peak_floor_bytes);
        *is_reaped = true;
        exit
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_reaped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsRawFd for Leader {
    fn as_raw_fd(&self) -> RawFd {
        self.pidfd.as_raw_fd()
    }
}

impl Drop for Leader {
    /// Only a start that failed half-way, or a runtime that shuts down, drops a leader unreaped.
    fn drop(&mut self) {
        if *self.lock() {
            return;
        }
        self.kill_unreaped();
        let pid = self.pid;
        // It may take its time to die; no thread of a runtime should wait for that. Without a thread
        // the zombie stays until the daemon ends, which is about to happen then.
        let _ = std::thread::Builder::new().name("reap".into()).spawn(move || wait4(pid, 0, 0));
    }
}

/// Who the child is. It is not reaped, so its entry is there, be it a zombie's.
fn identify(pid: Pid) -> rustix::io::Result<Identity> {
    let pid = pid.as_raw_nonzero().get();
    let stat = procfs::stat(pid).ok_or(rustix::io::Errno::NOENT)?;
    Ok(Identity { pid, start_ticks: stat.start_ticks, boot_id: procfs::boot_id().to_owned() })
}

fn watch(leader: &Arc<Leader>) -> Result<AsyncFd<Arc<Leader>>, SpawnError> {
    // SAFETY: the leader owns its pidfd, never replaces or closes it before its own drop, and lives at
    // least as long as the `Arc` that is handed over.
    #[expect(unsafe_code, reason = "the safe registration is deprecated, for it cannot check this")]
    let watched = unsafe { AsyncFd::register_with_interest(Arc::clone(leader), Interest::READABLE) };
    watched.map_err(|refused| os("watch the process", &refused.into()))
}

/// Waits for the leader's exit, ends what is left of it and tells of it.
async fn attend(watched: AsyncFd<Arc<Leader>>, ended: CancellationToken, tell: oneshot::Sender<Exit>) {
    let leader = watched.get_ref();
    while !leader.has_exited() {
        // An error means that the runtime shuts down; the leader's drop does the rest.
        let Ok(mut ready) = watched.readable().await else {
            return;
        };
        ready.clear_ready();
    }
    if leader.is_stopping.load(Ordering::SeqCst) {
        leader.outlast().await;
    }
    let exit = leader.reap();
    leader.clear().await;
    let exit = leader.leaf.as_ref().map_or(exit, |leaf| exit.with(leaf.account()));
    ended.cancel();
    // The owner may have gone; then nobody asks.
    let _ = tell.send(exit);
}

/// Starts it; gives the reading ends of its output, one when both outputs are one.
fn start(spec: &Spec, program: &Path) -> Result<(Child, OwnedFd, Option<OwnedFd>), SpawnError> {
    #[expect(clippy::disallowed_methods, reason = "this is the one home of processes")]
    let mut command = Command::new(program);
    command
        .arg0(&spec.argv[0])
        .args(&spec.argv[1..])
        .env_clear()
        .envs(spec.environment.iter().map(|(name, value)| (name, value)))
        .env(COOKIE_VARIABLE, &spec.cookie)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if let Some(directory) = &spec.directory {
        command.current_dir(directory);
    }
    let merged = if spec.merges_output {
        Some(merge(&mut command).map_err(|error| os("make a pipe", &error))?)
    } else {
        None
    };
    let spawned = command.spawn();
    // It holds our copy of the writing end: with that open the output would never end.
    drop(command);
    let mut child = spawned.map_err(|error| SpawnError::diagnose(&error, program, spec.argument_bytes()))?;
    descriptors::hand_down(Pid::from_child(&child));
    if let Some(output) = merged {
        return Ok((child, output, None));
    }
    let pipes = (child.stdout.take(), child.stderr.take());
    let (Some(stdout), Some(stderr)) = pipes else { unreachable!("both were asked for as pipes") };
    Ok((child, stdout.into(), Some(stderr.into())))
}

/// Makes one pipe both outputs; gives its reading end.
fn merge(command: &mut Command) -> std::io::Result<OwnedFd> {
    let (reader, writer) = std::io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    Ok(reader.into())
}

fn os(step: &'static str, error: &std::io::Error) -> SpawnError {
    SpawnError::Os { step, errno: errno_of(error) }
}
