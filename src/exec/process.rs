//! Owns one running process: its start, its signals, its end. It must never signal a pid or a group
//! that may belong to somebody else by now, and never wait for a child that it did not start.

use std::os::fd::{AsFd as _, AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
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

use crate::base::clock::{Clock, within};
use crate::base::{points, task};
use crate::exec::command::{COOKIE_VARIABLE, Spec};
use crate::exec::error::{SpawnError, errno_of};
use crate::exec::output::{self, DrainReport, Piece};
use crate::exec::procfs::{self, Identity};

/// First and longest pause between two looks at a group that is dying by itself.
const GROUP_LOOK: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// How far above the daemon's own peak a child's must be to be told from it.
const PEAK_MARGIN_BYTES: u64 = 1024 * 1024;

/// How a process ended, and what it used. It counts the children it waited for too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The exit code, when it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it. With `code` also `None`, somebody else took its status.
    pub signal: Option<i32>,
    /// Whether the system wrote a core file.
    pub core_dumped: bool,
    /// CPU time in its own code.
    pub user_time: Duration,
    /// CPU time in the kernel.
    pub system_time: Duration,
    /// The largest resident size of one of its processes. `None` when it stayed below the daemon's own
    /// peak: a child starts in its parent's memory, and Linux counts that as the child's.
    pub peak_memory_bytes: Option<u64>,
}

/// A process that was started. Dropping it kills the whole group; the exit is always collected, so no
/// zombie stays.
#[derive(Debug)]
pub struct Running {
    leader: Arc<Leader>,
    identity: Identity,
    exit: Awaited<Exit>,
    drain: Awaited<DrainReport>,
}

/// Starts a process, as the leader of its own group, with stdin from `/dev/null`.
///
/// The receiver gives its output in batches and ends after the drain. It is bounded: when nobody
/// receives, reading stops and the child waits in its writes. Dropping the receiver throws the rest of
/// the output away and does not disturb the child.
///
/// Blocks its thread for about a millisecond, longer for a program on a slow file system. Call it inside
/// a tokio runtime with I/O and time.
pub fn spawn(
    spec: &Spec,
    clock: &Arc<dyn Clock>,
) -> Result<(Running, mpsc::Receiver<Vec<Piece>>), SpawnError> {
    spec.check()?;
    let program = spec.resolve()?;
    let (child, stdout, stderr) = start(spec, &program)?;
    points::reach("spawn.begun");

    let leader = Arc::new(Leader::hold(child)?);
    let identity = leader.identity()?;
    let watched = watch(&leader)?;
    let pipes = output::pipes(stdout, stderr).map_err(|error| os("watch the output", &error))?;

    let ended = CancellationToken::new();
    let (tell_exit, exit) = oneshot::channel();
    let (tell_drain, drain) = oneshot::channel();
    let (batches, received) = mpsc::channel(output::BATCHES_MAX);
    task::spawn(attend(watched, ended.clone(), tell_exit));
    let reading = output::read(pipes, batches, ended, Arc::clone(clock));
    task::spawn(async move {
        // The owner may have gone; then nobody asks.
        let _ = tell_drain.send(reading.await);
    });
    let running = Running { leader, identity, exit: Awaited::new(exit), drain: Awaited::new(drain) };
    Ok((running, received))
}

impl Running {
    /// The process id, which is the group's id too.
    pub fn pid(&self) -> i32 {
        self.identity.pid
    }

    /// Who it is, for `kill_survivors` after a crash.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Resolves when the process has exited, the rest of its group has been sent SIGKILL, and it was
    /// reaped. After a `terminate` the rest of the group is left to end by itself: then it resolves
    /// when all of it has ended, or at `kill`. May be dropped and called again at any time.
    pub async fn wait(&mut self) -> Exit {
        self.exit.get().await
    }

    /// Resolves when the output has been read to its end, or the drain after the exit gave up on it,
    /// and every batch was handed over. May be dropped and called again at any time.
    pub async fn drained(&mut self) -> DrainReport {
        self.drain.get().await
    }

    /// Asks the whole group to end: SIGTERM, and SIGCONT so that a stopped one hears it.
    pub fn terminate(&self) {
        self.leader.terminate();
    }

    /// Ends the whole group: SIGKILL.
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
    /// The daemon's own peak when the child left its memory.
    peak_floor_bytes: u64,
    is_stopping: AtomicBool,
    killed: CancellationToken,
    /// Held while signalling, so that the reaping cannot free the ids in between.
    is_reaped: Mutex<bool>,
}

impl Leader {
    fn hold(mut child: Child) -> Result<Leader, SpawnError> {
        let pid = Pid::from_child(&child);
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Leader {
                pid,
                pidfd,
                peak_floor_bytes: own_peak_bytes(),
                is_stopping: AtomicBool::new(false),
                killed: CancellationToken::new(),
                is_reaped: Mutex::new(false),
            }),
            Err(errno) => {
                // Without it we cannot watch: what was started must not run on unseen.
                let _ = kill_process_group(pid, Signal::KILL);
                let _ = child.wait();
                Err(SpawnError::Os { step: "watch the process", errno: errno.raw_os_error() })
            }
        }
    }

    fn identity(&self) -> Result<Identity, SpawnError> {
        let pid = self.pid.as_raw_nonzero().get();
        // Not reaped, so the entry is there, be it a zombie's.
        let stat = procfs::stat(pid)
            .ok_or(SpawnError::Os { step: "read /proc", errno: rustix::io::Errno::NOENT.raw_os_error() })?;
        Ok(Identity { pid, start_ticks: stat.start_ticks, boot_id: procfs::boot_id().to_owned() })
    }

    fn terminate(&self) {
        let is_reaped = self.lock();
        if *is_reaped {
            return;
        }
        self.is_stopping.store(true, Ordering::SeqCst);
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
        self.killed.cancel();
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

    /// Waits until nothing but the leader is left in the group, or until `kill`.
    async fn outlast_group(&self) {
        let group = self.pid.as_raw_nonzero().get();
        let (mut pause, longest) = GROUP_LOOK;
        loop {
            let look = tokio::task::spawn_blocking(move || procfs::has_group_members(group));
            if !look.await.unwrap_or(false) || within(pause, self.killed.cancelled()).await.is_some() {
                return;
            }
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

fn watch(leader: &Arc<Leader>) -> Result<AsyncFd<Arc<Leader>>, SpawnError> {
    // SAFETY: the leader owns its pidfd, never replaces or closes it before its own drop, and lives at
    // least as long as the `Arc` that is handed over.
    #[expect(unsafe_code, reason = "the safe registration is deprecated, for it cannot check this")]
    let watched = unsafe { AsyncFd::register_with_interest(Arc::clone(leader), Interest::READABLE) };
    watched.map_err(|refused| os("watch the process", &refused.into()))
}

/// Waits for the leader's exit, ends its group and tells of it.
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
        leader.outlast_group().await;
    }
    let exit = leader.reap();
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

/// Reaps this one child. `peak_floor_bytes` is what its peak must exceed to be its own.
fn wait4(pid: Pid, options: i32, peak_floor_bytes: u64) -> Exit {
    let mut status = 0;
    let mut usage = no_usage();
    loop {
        // SAFETY: both pointers are to live locals of the types that the call fills.
        #[expect(unsafe_code, reason = "no safe binding gives the status together with the usage")]
        let taken =
            unsafe { libc::wait4(pid.as_raw_nonzero().get(), &raw mut status, options, &raw mut usage) };
        if taken == pid.as_raw_nonzero().get() {
            break;
        }
        if taken == -1 && std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted {
            continue;
        }
        // ECHILD: the status went to somebody else, or SIGCHLD is ignored. That is all that is known.
        return Exit {
            code: None,
            signal: None,
            core_dumped: false,
            user_time: Duration::ZERO,
            system_time: Duration::ZERO,
            peak_memory_bytes: None,
        };
    }
    let peak_bytes = kibibytes(usage.ru_maxrss);
    Exit {
        code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
        signal: libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)),
        core_dumped: libc::WIFSIGNALED(status) && libc::WCOREDUMP(status),
        user_time: length(usage.ru_utime),
        system_time: length(usage.ru_stime),
        peak_memory_bytes: (peak_bytes > peak_floor_bytes + PEAK_MARGIN_BYTES).then_some(peak_bytes),
    }
}

/// The largest resident size that this process ever had.
fn own_peak_bytes() -> u64 {
    let mut usage = no_usage();
    // SAFETY: the pointer is to a live local of the type that the call fills.
    #[expect(unsafe_code, reason = "the safe way is to read and parse /proc at every start")]
    let done = unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    if done == 0 { kibibytes(usage.ru_maxrss) } else { 0 }
}

fn no_usage() -> libc::rusage {
    // SAFETY: a structure of plain numbers, for which zero is a value.
    #[expect(unsafe_code, reason = "the type has no constructor")]
    unsafe {
        std::mem::zeroed()
    }
}

fn kibibytes(count: libc::c_long) -> u64 {
    u64::try_from(count).unwrap_or(0).saturating_mul(1024)
}

fn length(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
}

fn os(step: &'static str, error: &std::io::Error) -> SpawnError {
    SpawnError::Os { step, errno: errno_of(error) }
}
