//! Exit, signals, groups and accounting.

use super::*;
use crate::exec::{Survivor, kill_survivors};

#[tokio::test]
async fn the_exit_code_is_kept() {
    let outcome = run(&sh("exit 42")).await;
    assert_eq!((outcome.exit.code, outcome.exit.signal), (Some(42), None));
    assert!(!outcome.drain.is_output_held_open);
}

#[tokio::test]
async fn the_signal_that_ended_it_is_kept() {
    let outcome = run(&sh("kill -USR1 $$")).await;
    assert_eq!((outcome.exit.code, outcome.exit.signal), (None, Some(libc::SIGUSR1)));
    assert!(!outcome.exit.core_dumped);
}

#[tokio::test]
async fn terminate_ends_it_and_wait_answers_again() {
    let (mut running, _received) = start(&spec(&["sleep", "300"]));
    running.terminate();
    assert_eq!(wait(&mut running).await.signal, Some(libc::SIGTERM));
    assert_eq!(wait(&mut running).await.signal, Some(libc::SIGTERM));
    // By now the ids may be another's: both must do nothing.
    running.terminate();
    running.kill();
}

#[tokio::test]
async fn a_dropped_wait_loses_nothing() {
    let (mut running, _received) = start(&spec(&["sleep", "300"]));
    assert!(within(Duration::ZERO, running.wait()).await.is_none());
    running.kill();
    assert_eq!(wait(&mut running).await.signal, Some(libc::SIGKILL));
}

#[tokio::test]
async fn a_stopped_process_hears_terminate() {
    let (mut running, _received) = start(&sh("kill -STOP $$; exit 1"));
    let pid = running.pid();
    let stopped = async {
        while procfs::stat(pid).unwrap().state != b'T' {
            tokio::task::yield_now().await;
        }
    };
    within(PATIENCE, stopped).await.unwrap();
    running.terminate();
    assert_eq!(wait(&mut running).await.signal, Some(libc::SIGTERM));
}

#[tokio::test]
async fn kill_ends_what_ignores_terminate() {
    let (mut running, mut received) = start(&sh("trap '' TERM; echo ready; while :; do sleep 0.02; done"));
    until_shown(&mut received, "ready").await;
    running.terminate();
    // It goes on after the signal, since its sleeps, which ignore it too, end and begin again.
    assert!(within(Duration::from_millis(200), running.wait()).await.is_none());
    running.kill();
    assert_eq!(wait(&mut running).await.signal, Some(libc::SIGKILL));
}

#[tokio::test]
async fn a_grandchild_that_holds_the_pipe_ends_with_the_attempt() {
    let outcome = run(&sh("sleep 300 & echo $!; exit 0")).await;
    assert_eq!(outcome.exit.code, Some(0));
    assert!(!outcome.drain.is_output_held_open, "the group was killed, so the pipe ended");
    until_gone(outcome.text().trim().parse().unwrap()).await;
}

#[tokio::test]
async fn after_terminate_the_rest_of_the_group_keeps_its_grace() {
    let script =
        "(trap 'sleep 0.3; echo cleaned; exit' TERM; echo ready; while :; do sleep 0.02; done) & wait";
    let (mut running, mut received) = start(&sh(script));
    until_shown(&mut received, "ready").await;
    running.terminate();
    until_shown(&mut received, "cleaned").await;
    assert_eq!(wait(&mut running).await.signal, Some(libc::SIGTERM));
}

#[tokio::test]
async fn kill_ends_the_grace_of_the_group() {
    let script = "(trap '' TERM; echo ready $(exec sh -c 'echo $PPID'); while :; do sleep 1; done) & wait";
    let (mut running, mut received) = start(&sh(script));
    let shown = until_shown(&mut received, "\n").await;
    let member: i32 = shown.trim().rsplit(' ').next().unwrap().parse().unwrap();
    running.terminate();
    assert!(within(Duration::from_millis(200), running.wait()).await.is_none());
    assert!(procfs::stat(member).is_some_and(procfs::Stat::is_alive));
    running.kill();
    assert_eq!(wait(&mut running).await.signal, Some(libc::SIGTERM), "the leader heard the first signal");
    until_gone(member).await;
}

#[tokio::test]
async fn a_dropped_process_is_killed_and_leaves_no_zombie() {
    let (running, mut received) = start(&sh("sleep 300 & echo $!; wait"));
    let member = until_shown(&mut received, "\n").await.trim().parse().unwrap();
    let identity = running.identity().clone();
    drop(running);
    let reaped = async {
        while procfs::stat(identity.pid).is_some_and(|stat| stat.start_ticks == identity.start_ticks) {
            tokio::task::yield_now().await;
        }
    };
    within(PATIENCE, reaped).await.expect("it is reaped");
    until_gone(member).await;
    assert!(within(PATIENCE, received.recv()).await.unwrap().is_none());
}

#[test]
fn a_runtime_that_ends_takes_its_processes_along() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (running, _received) = runtime.block_on(async { start(&spec(&["sleep", "300"])) });
    let identity = running.identity().clone();
    drop(runtime);
    drop(running);
    let until = SystemClock.monotonic() + PATIENCE;
    while procfs::stat(identity.pid).is_some_and(|stat| stat.start_ticks == identity.start_ticks) {
        assert!(SystemClock.monotonic() < until, "it is reaped");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn the_identity_is_the_process_s_own() {
    let (running, _received) = start(&spec(&["sleep", "300"]));
    let identity = running.identity();
    assert_eq!(identity.pid, running.pid());
    let stat = procfs::stat(identity.pid).unwrap();
    assert_eq!((stat.group, stat.start_ticks), (identity.pid, identity.start_ticks));
    assert_ne!(identity.start_ticks, 0);
    assert_eq!(identity.boot_id.len(), 36);
}

#[tokio::test]
async fn time_and_memory_are_accounted() {
    // Some hundred megabytes more than this process ever had, so that they are seen to be the child's.
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = own.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    let own_mib: u64 = line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024;
    let script = format!("head -c {}M /dev/zero | tail -c 1G | tail -c 1", own_mib + 300);
    let outcome = run(&sh(&script)).await;
    let peak = outcome.exit.peak_memory_bytes.expect("it is above our own");
    assert!(peak >= (own_mib + 290) << 20, "{peak}");
    assert!(outcome.exit.user_time + outcome.exit.system_time > Duration::ZERO);
    assert!(outcome.exit.system_time < PATIENCE);
}

#[tokio::test]
async fn a_small_child_does_not_show_the_daemon_s_memory_as_its_own() {
    let ballast = vec![1_u8; 64 << 20];
    let outcome = run(&spec(&["true"])).await;
    assert_eq!(outcome.exit.peak_memory_bytes, None);
    drop(ballast);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_at_once_all_end_and_are_told_apart() {
    let all: Vec<_> = (0..100)
        .map(|n| {
            crate::base::task::spawn(async move {
                let outcome = run(&sh(&format!("echo {n}; exit {n}"))).await;
                (n, outcome.exit.code, outcome.text())
            })
        })
        .collect();
    for one in all {
        let (n, code, text) = one.await.unwrap();
        assert_eq!((code, text), (Some(n), format!("{n}\n")));
    }
}

#[tokio::test]
async fn what_left_the_group_is_found_by_the_cookie() {
    let spec = with_runaway("sleep 300", "/dev/null", "exit 0");
    let outcome = run(&spec).await;
    let pid: i32 = outcome.text().trim().parse().unwrap();
    assert!(!outcome.drain.is_output_held_open);
    assert!(procfs::stat(pid).is_some_and(procfs::Stat::is_alive), "it outlived its attempt");
    let cleared = kill_survivors(&[Survivor { identity: None, cookie: spec.cookie }], &SystemClock);
    assert_eq!((cleared.killed_count, cleared.left), (1, Vec::new()));
    until_gone(pid).await;
}
