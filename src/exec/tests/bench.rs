//! temp
use super::*;
const N: usize = 1500;
fn floor(piped: bool) -> f64 {
    let began = SystemClock.monotonic();
    let all: Vec<_> = (0..4).map(|_| std::thread::spawn(move || for _ in 0..N {
        use std::os::unix::process::CommandExt;
        #[expect(clippy::disallowed_methods, reason = "x")]
        let mut c = std::process::Command::new("/bin/true");
        c.env_clear().stdin(std::process::Stdio::null()).process_group(0);
        if piped { c.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()); c.spawn().unwrap().wait_with_output().unwrap(); }
        else { c.spawn().unwrap().wait().unwrap(); }
    })).collect();
    for t in all { t.join().unwrap(); }
    (4 * N) as f64 / began.elapsed().as_secs_f64()
}
async fn ours(blocking: bool) -> f64 {
    let began = SystemClock.monotonic();
    let all: Vec<_> = (0..4).map(|_| crate::base::task::spawn(async move { for _ in 0..N {
        let s = spec(&["true"]);
        let (mut r, mut rx) = if blocking { tokio::task::spawn_blocking(move || start(&s)).await.unwrap() } else { start(&s) };
        let exit = r.wait().await; assert_eq!(exit.code, Some(0));
        while rx.recv().await.is_some() {}
        r.drained().await;
    }})).collect();
    for t in all { t.await.unwrap(); }
    (4 * N) as f64 / began.elapsed().as_secs_f64()
}
#[test]
#[ignore = "bench"]
fn bench() {
    let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for _ in 0..4 {
        println!("std {:.0}  std piped {:.0}  ours {:.0}  ours spawn_blocking {:.0}", floor(false), floor(true), rt.block_on(ours(false)), rt.block_on(ours(true)));
    }
    let _ballast = vec![1u8; 500 << 20];
    println!("500MB: std piped {:.0} ours {:.0} blocking {:.0}", floor(true), rt.block_on(ours(false)), rt.block_on(ours(true)));
    let list: Vec<_> = (0..1000).map(|n| crate::exec::Survivor { identity: Some(crate::exec::Identity{pid: 30000-n, start_ticks: 1, boot_id: procfs::boot_id().into()}), cookie: format!("{n:032}") }).collect();
    let t = SystemClock.monotonic(); let c = crate::exec::kill_survivors(&list, &SystemClock); println!("survivors of 1000: {:?} {c:?} among {} processes", t.elapsed(), procfs::pids().len());
}
