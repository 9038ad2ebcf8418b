//! Owns the start of concurrent work, and the words of its panics. The supervisor and per-request work go through here.

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

/// The words of a panic.
pub fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "without a message".to_owned())
}
