//! Single and repeated failures of fsync and write, put into the real daemon by strace: what was acknowledged is there,
//! what was refused is not, and the daemon goes on.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::faults::{Figures, Load, check, has, until_back};
use crate::support::daemon::Daemon;
use crate::support::length::is_long;
use crate::support::wait::{PATIENCE, span, until};

/// Which call fails, and how.
const KINDS: [(&str, &str); 4] =
    [("fsync,fdatasync", "EIO"), ("fsync,fdatasync", "ENOSPC"), ("pwrite64", "EIO"), ("pwrite64", "ENOSPC")];
/// Daemons at the same time.
const BESIDE: usize = 3;

/// strace as a grandchild of ours, so that the daemon is our child and can go on without it.
fn tracer(calls: &str, inject: &str) -> Vec<String> {
    let words = ["strace", "-D", "-f", "-qqq", "-o", "/dev/null", "-e"];
    let mut tracer: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    tracer.extend([format!("trace={calls}"), "-e".to_owned(), format!("inject={calls}:{inject}")]);
    tracer
}

/// Ends the fault: the tracer is killed, and the daemon goes on without it.
fn release(daemon: &Daemon) {
    let field = |status: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).map(str::trim);
        line.and_then(|pid| pid.parse().ok()).and_then(rustix::process::Pid::from_raw)
    };
    let path = format!("/proc/{}/status", daemon.pid());
    let tracer = || field(&fs::read_to_string(&path).unwrap_or_default());
    if let Some(pid) = tracer() {
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("our own tracer");
    }
    until("the tracer to be gone", PATIENCE, || tracer().is_none().then_some(()));
}

/// The ordinals of the failing call.
fn ordinals() -> Vec<usize> {
    if is_long() { (1..=50).collect() } else { vec![1, 3, 7, 15, 29, 50] }
}

/// One daemon on a store that is there already, under one injection. `None`: the fault was in the start, and refused it.
fn run(calls: &str, inject: &str) -> Option<Figures> {
    let mut daemon = Daemon::prepared(&["--min-free", "0B"]);
    daemon.start_or_words().unwrap_or_else(|words| panic!("{words}"));
    daemon.terminate();
    let tracer = tracer(calls, inject);
    daemon.wrap(&tracer.iter().map(String::as_str).collect::<Vec<_>>());
    if let Err(words) = daemon.start_or_words() {
        assert!(!words.contains("panicked") && words.contains("data"), "{calls}:{inject}: {words}");
        daemon.wrap(&[]);
        daemon.start_or_words().unwrap_or_else(|words| panic!("the next start is refused too: {words}"));
        return None;
    }
    let clients = Load::start(&daemon, 2, Duration::from_millis(10));
    span(Duration::from_millis(2_500));
    release(&daemon);
    let back = until_back(&daemon, "back");
    Some(check(&daemon, &clients.stop(), back))
}

#[test]
fn no_failure_of_the_disk_at_any_call_makes_a_false_answer() {
    if !has(&["strace", "-qq", "-o", "/dev/null", "true"]) {
        return;
    }
    // Once at the n-th call of each thread, and again at every n-th.
    let mut cases = Vec::new();
    for (calls, error) in KINDS {
        for n in ordinals() {
            cases.push((calls, format!("error={error}:when={n}")));
            if n > 1 {
                cases.push((calls, format!("error={error}:when={n}+{n}")));
            }
        }
    }
    if !is_long() {
        // Each single failure of both calls, and each repeated one of one kind of them.
        cases.retain(|(_, inject)| inject.contains("EIO") != inject.contains('+'));
    }
    let (next, sum, refused) = (AtomicUsize::new(0), Mutex::new(Figures::default()), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..BESIDE {
            scope.spawn(|| {
                while let Some((calls, inject)) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                    println!("{calls}:{inject}");
                    match run(calls, inject) {
                        Some(figures) => sum.lock().unwrap().add(&figures),
                        None => drop(refused.fetch_add(1, Ordering::SeqCst)),
                    }
                }
            });
        }
    });
    let refused = refused.into_inner();
    sum.into_inner().unwrap().print(&format!("{} injections, {refused} of them in the start", cases.len()));
    assert!(refused < cases.len(), "no daemon ever started: nothing is shown");
}

#[test]
fn a_disk_that_turns_read_only_refuses_new_work_and_is_back_when_it_can_be_written() {
    if !has(&["strace", "-qq", "-o", "/dev/null", "true"]) {
        return;
    }
    let mut daemon = Daemon::prepared(&["--min-free", "0B"]);
    daemon.start_or_words().unwrap_or_else(|words| panic!("{words}"));
    daemon.terminate();
    // The start needs far fewer writes of any one thread.
    let tracer = tracer("pwrite64,ftruncate,fallocate", "error=EROFS:when=60+");
    daemon.wrap(&tracer.iter().map(String::as_str).collect::<Vec<_>>());
    daemon.start_or_words().unwrap_or_else(|words| panic!("{words}"));
    let clients = Load::start(&daemon, 2, Duration::from_millis(10));
    clients.until_troubled(10);
    span(Duration::from_secs(2));
    release(&daemon);
    let back = until_back(&daemon, "back");
    check(&daemon, &clients.stop(), back).print("read-only disk");
}
