//! Owns the guard: a small process beside a daemon that holds a lease. When the lease is over and the daemon has not
//! said otherwise, because it stands still, is cut off or is dead, the guard kills the processes of its attempts: another
//! daemon will start them anew. It must never kill anything else.

use std::io::Write as _;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::command::COOKIE_VARIABLE;
use super::procfs::{self, Stat};
use super::starter::on_a_thread;
use super::survivors::{SURVIVORS_MAX, pin, send_kill};
use super::trees::below::Below;
use super::trees::companions::Companion;
use super::trees::starting;
use crate::base::clock::{Clock, SystemClock, pause, since_boot};

/// The program that we are, whatever became of its file.
const OURSELVES: &str = "/proc/self/exe";
/// Between two looks at the processes, while the lease is over.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Bytes of a line: a number.
const LINE_BYTES_MAX: usize = 64;

/// The guard of this daemon. Dropped, as by the daemon's end, it kills what is left of the attempts and goes.
#[derive(Debug)]
pub struct Guard {
    child: Child,
    words: ChildStdin,
    /// It is no orphan of an attempt.
    _companion: Option<Companion>,
}

impl Guard {
    /// Starts a guard over the processes whose cookies begin with `mark`. Until the first word it kills nobody.
    pub fn start(mark: &str) -> std::io::Result<Guard> {
        let mut command = program();
        command
            .args(["guard", mark])
            .env_clear()
            .current_dir("/")
            // A signal from the terminal is for the daemon, which stops in order.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // Not a child of the first thread, which takes its children for what attempts left behind.
        let (tell, told) = mpsc::channel();
        on_a_thread(Box::new(move || {
            let under_way = starting();
            let spawned = command.spawn().map(|child| {
                let companion = Companion::note(child.id().cast_signed());
                (child, companion)
            });
            drop(under_way);
            let _ = tell.send(spawned);
        }))?;
        let (mut child, companion) = told.recv().map_err(std::io::Error::other)??;
        let words = child.stdin.take().expect("it was asked for");
        Ok(Guard { child, words, _companion: companion })
    }

    /// Nobody is killed before this time since the boot. An error, when there is no guard any more.
    pub fn wait_until(&mut self, since_boot: Duration) -> std::io::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            return Err(std::io::Error::other(format!("it has ended: {status}")));
        }
        self.words.write_all(format!("{}\n", since_boot.as_millis()).as_bytes())
    }
}

fn program() -> Command {
    #[expect(clippy::disallowed_methods, reason = "this floor is the home of spawning")]
    Command::new(OURSELVES)
}

/// The life of the guard's own process: ends when the daemon does.
pub fn keep_guard(mark: &str) {
    if mark.is_empty() {
        return;
    }
    ignore_polite_signals();
    let input = std::io::stdin();
    let mut line = Vec::new();
    let mut until = Duration::MAX;
    loop {
        let left = until.saturating_sub(since_boot());
        if left.is_zero() {
            kill_marked(mark);
        }
        match ready(&input, if left.is_zero() { LOOK_EVERY } else { left }) {
            Ready::Nothing => {}
            Ready::Words => {
                let mut bytes = [0; LINE_BYTES_MAX];
                match rustix::io::read(&input, &mut bytes) {
                    Ok(0) | Err(_) => break,
                    Ok(count) => line.extend_from_slice(&bytes[..count]),
                }
                until = last_word(&mut line).unwrap_or(until);
            }
            Ready::Gone => break,
        }
    }
    // The daemon is gone, and whatever of its attempts still runs belongs to nobody.
    let began = SystemClock.monotonic();
    while kill_marked(mark) > 0 && SystemClock.monotonic().duration_since(began) < SURVIVORS_MAX {
        pause(LOOK_EVERY);
    }
}

/// The last whole line, as a time since the boot; what is behind it stays.
fn last_word(line: &mut Vec<u8>) -> Option<Duration> {
    let end = line.iter().rposition(|byte| *byte == b'\n')?;
    let rest = line.split_off(end + 1);
    let whole = std::mem::replace(line, rest);
    let last = whole[..end].rsplit(|byte| *byte == b'\n').next()?;
    str::from_utf8(last).ok()?.parse().ok().map(Duration::from_millis)
}

enum Ready {
    Nothing,
    Words,
    Gone,
}

fn ready(input: impl AsFd, patience: Duration) -> Ready {
    let timeout = Timespec::try_from(patience).ok();
    let mut watched = [PollFd::new(&input, PollFlags::IN)];
    match poll(&mut watched, timeout.as_ref()) {
        Ok(0) | Err(Errno::INTR) => Ready::Nothing,
        Ok(_) if watched[0].revents().contains(PollFlags::IN) => Ready::Words,
        Ok(_) | Err(_) => Ready::Gone,
    }
}

/// It goes with the daemon, and not before.
fn ignore_polite_signals() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGPIPE] {
        // SAFETY: it installs no function of ours, and this process has one thread.
        #[expect(unsafe_code, reason = "no safe binding ignores a signal")]
        unsafe {
            libc::signal(signal, libc::SIG_IGN);
        }
    }
}

/// Kills all that bear the mark, and what stands below them; gives how many were alive.
fn kill_marked(mark: &str) -> usize {
    let all = procfs::all();
    let below = Below::new(&all);
    let mut environ = Vec::new();
    let mut found: Vec<(i32, u64)> = Vec::new();
    for (pid, stat) in all.iter().filter(|(_, stat)| stat.is_alive()) {
        if bears(*pid, mark, &mut environ) {
            found.extend(below.branch((*pid, stat.start_ticks)));
        }
    }
    found.sort_unstable();
    found.dedup();
    let is_same =
        |pid: i32, ticks: u64| procfs::stat(pid).is_some_and(|stat: Stat| stat.start_ticks == ticks);
    for (pid, ticks) in &found {
        // Held first: what is looked at afterwards is what will be killed.
        if let Some(held) = pin(*pid).filter(|_| is_same(*pid, *ticks)) {
            send_kill(&held);
        }
    }
    found.len()
}

fn bears(pid: i32, mark: &str, environ: &mut Vec<u8>) -> bool {
    procfs::read_environ(pid, environ);
    procfs::value_in(environ, COOKIE_VARIABLE).is_some_and(|cookie| cookie.starts_with(mark.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_line_counts() {
        let mut line = b"12\n1500\n17".to_vec();
        assert_eq!(last_word(&mut line), Some(Duration::from_millis(1_500)));
        assert_eq!(line, b"17");
        assert_eq!(last_word(&mut line), None);
        line.extend(b"00\n");
        assert_eq!(last_word(&mut line), Some(Duration::from_millis(1_700)));
        line.extend(b"x\n");
        assert_eq!(last_word(&mut line), None);
    }
}
