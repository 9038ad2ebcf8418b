//! Owns the threads for work that fills a core and may wait, such as the output of a job that floods. They give way to
//! every other thread, and rest while much waits for them, so that what somebody waits for is done first. Work here must
//! never wait for anything itself.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, mpsc};
use std::thread;

use rustix::process::{getpriority_process, setpriority_process};
use tokio::sync::oneshot;

use super::clock::{pause, since_boot};
use super::settings::cores;

/// How much less of a core the threads get than others that want it.
const NICER_BY: i32 = 10;
/// The most that the system knows.
const NICEST: i32 = 19;

/// How many times as long as its last work a thread rests while more work waits. Priority alone is not enough: whoever
/// feeds the flood wants the cores as well, and takes what the threads leave.
const REST: u32 = 2;

type Work = Box<dyn FnOnce() + Send>;

/// The way to the threads; `None` when the system gives none.
static THREADS: LazyLock<Option<mpsc::Sender<Work>>> = LazyLock::new(begin);
/// Work that no thread has begun.
static WAITING_COUNT: AtomicUsize = AtomicUsize::new(0);

fn begin() -> Option<mpsc::Sender<Work>> {
    let (sender, queue) = mpsc::channel::<Work>();
    let queue = Arc::new(Mutex::new(queue));
    let mut began = None;
    for _ in 0..cores() {
        let queue = Arc::clone(&queue);
        let attend = move || {
            give_way();
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(work) = next else { return };
                WAITING_COUNT.fetch_sub(1, Ordering::Relaxed);
                let since = since_boot();
                work();
                if WAITING_COUNT.load(Ordering::Relaxed) > 0 {
                    pause(since_boot().saturating_sub(since) * REST);
                }
            }
        };
        began = thread::Builder::new().name("background".to_owned()).spawn(attend).ok().or(began);
    }
    began.map(|_| sender)
}

/// Linux keeps a priority for each thread.
fn give_way() {
    let now = getpriority_process(None).unwrap_or(0);
    // Without it the work is done all the same.
    let _ = setpriority_process(None, (now + NICER_BY).min(NICEST));
}

/// Begins `work` at once on a thread that gives way to others; the future is its result. Dropping the future leaves the
/// work to its end. A panic goes on in whoever waits.
pub fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> impl Future<Output = T> + Send {
    let (tell, told) = oneshot::channel();
    let work = move || {
        // Whoever waited may be gone.
        let _ = tell.send(catch_unwind(AssertUnwindSafe(work)));
    };
    match &*THREADS {
        Some(threads) => {
            WAITING_COUNT.fetch_add(1, Ordering::Relaxed);
            drop(threads.send(Box::new(work)));
        }
        None => work(),
    }
    async move {
        match told.await.expect("the threads never end, and each work tells how it ended") {
            Ok(result) => result,
            Err(payload) => resume_unwind(payload),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn the_result_comes_back_from_a_thread_that_gives_way() {
        let here = getpriority_process(None).unwrap();
        let there = run(|| getpriority_process(None).unwrap()).await;
        assert_eq!(there, (here + NICER_BY).min(NICEST));
        assert_eq!(getpriority_process(None).unwrap(), here);
    }

    #[tokio::test]
    async fn who_has_more_to_do_rests_between() {
        let length = Duration::from_millis(10);
        let begun = since_boot();
        let works: Vec<_> = (0..4 * cores()).map(|_| run(move || pause(length))).collect();
        for work in works {
            work.await;
        }
        // Four in a row for each thread, and no rest is sure behind the last two of them.
        let least = length * 4 + length * REST * 2;
        assert!(since_boot().saturating_sub(begun) >= least);
    }

    #[tokio::test]
    async fn a_panic_goes_on_in_whoever_waits_and_the_threads_live_on() {
        for _ in 0..2 * cores() {
            let outcome = crate::base::task::spawn(run(|| panic!("of the test"))).await;
            assert!(outcome.unwrap_err().is_panic());
        }
        assert_eq!(run(|| 7).await, 7);
    }
}
