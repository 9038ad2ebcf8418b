//! Owns the start of concurrent work. The supervisor and per-request work go through here.

use std::future::Future;

use tokio::task::JoinHandle;

/// Starts `work` on the runtime.
pub fn spawn<F>(work: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[expect(clippy::disallowed_methods, reason = "this is the one home of spawning tasks")]
    tokio::spawn(work)
}
