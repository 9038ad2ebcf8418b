//! Processes that outlived their daemon.

use super::*;
use crate::exec::{Cleared, Identity, Survivor, kill_survivors};

fn by_identity(identity: Identity) -> [Survivor; 1] {
    [Survivor { identity: Some(identity), cookie: String::new() }]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_killed_by_its_leader_s_identity() {
    // Both cleared their environment, so only the group tells.
    let (mut running, mut received) = start(&sh("env -i sleep 300 & echo $!; exec env -i sleep 300"));
    let member = until_shown(&mut received, "\n").await.trim().parse().unwrap();
    let cleared = kill_survivors(&by_identity(running.identity().clone()), &SystemClock);
    assert_eq!(cleared, Cleared { killed_count: 2, left: Vec::new() });
    assert_eq!(wait(&mut running).await.signal, Some(libc::SIGKILL));
    until_gone(member).await;
}

#[tokio::test]
async fn another_process_of_the_same_pid_is_left_alone() {
    let (mut running, _received) = start(&spec(&["sleep", "300"]));
    let identity = running.identity().clone();
    let later = Identity { start_ticks: identity.start_ticks + 1, ..identity.clone() };
    let other_boot = Identity { boot_id: "00000000-0000-0000-0000-000000000000".into(), ..identity };
    for stranger in [later, other_boot] {
        assert_eq!(kill_survivors(&by_identity(stranger), &SystemClock), Cleared::default());
    }
    assert!(within(Duration::ZERO, running.wait()).await.is_none());
    assert!(procfs::stat(running.pid()).is_some_and(procfs::Stat::is_alive));
}

#[tokio::test]
async fn only_the_exact_cookie_is_killed() {
    let spec = spec(&["sleep", "300"]);
    let (mut running, _received) = start(&spec);
    let near = [&spec.cookie[1..], &spec.cookie[..31], ""];
    let list = near.map(|cookie| Survivor { identity: None, cookie: cookie.to_owned() });
    assert_eq!(kill_survivors(&list, &SystemClock), Cleared::default());
    assert!(within(Duration::ZERO, running.wait()).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_attempts_are_cleared_in_one_go() {
    let mut alive = Vec::new();
    let mut list: Vec<Survivor> =
        (0..1_000).map(|_| Survivor { identity: None, cookie: SystemRandom.hex(16) }).collect();
    for at in 0..20 {
        let spec = sh("echo up; setsid sleep 300 & exec sleep 300");
        list[at * 50].cookie.clone_from(&spec.cookie);
        let (running, mut received) = start(&spec);
        until_shown(&mut received, "up").await;
        alive.push((running, received));
    }
    let cleared = kill_survivors(&list, &SystemClock);
    assert_eq!(cleared.left, Vec::<i32>::new());
    // Each has its leader, and the sleeper unless it was killed before it was begun.
    assert!((20..=40).contains(&cleared.killed_count), "{}", cleared.killed_count);
    for (running, _) in &mut alive {
        assert_eq!(wait(running).await.signal, Some(libc::SIGKILL));
    }
}

#[test]
fn a_breeding_process_is_outrun() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let spec = sh(
        "chain() { setsid sh -c \"$1\" chain \"$1\" & }; chain 'setsid sh -c \"$1\" chain \"$1\" & exit'; echo up; exec sleep 300",
    );
    let (running, mut received) = runtime.block_on(async {
        let (running, mut received) = start(&spec);
        until_shown(&mut received, "up").await;
        (running, received)
    });
    let wanted = [Survivor { identity: None, cookie: spec.cookie }];
    let cleared = kill_survivors(&wanted, &SystemClock);
    assert_eq!(cleared.left, Vec::<i32>::new());
    assert!(cleared.killed_count >= 2, "the leader and a link of the chain");
    assert_eq!(kill_survivors(&wanted, &SystemClock), Cleared::default(), "no link went on");
    received.close();
    drop(running);
}
