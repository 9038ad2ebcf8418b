//! Owns whom a task works for: carried beside the call, as a tracing span is, so that every change and every refusal
//! can record it and no signature between the door and the store must name it.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

/// Who asks what, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// The token's name.
    pub actor: String,
    /// The address at the other end of the connection.
    pub peer: IpAddr,
    /// The root fields of the operation.
    pub fields: String,
    /// The span that it asks from, a well-formed `traceparent`.
    pub trace: Option<String>,
}

tokio::task_local! {
    static ASKER: Arc<Asker>;
}

/// Does `work` for somebody.
pub fn working_for<F: Future>(asker: Arc<Asker>, work: F) -> impl Future<Output = F::Output> {
    ASKER.scope(asker, work)
}

/// Whom this task works for; nobody when the daemon works for itself.
pub fn asker() -> Option<Arc<Asker>> {
    ASKER.try_with(Arc::clone).ok()
}
