//! Owns thousands of subscribers that only count. It must never decode what it is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memchr::memmem::Finder;
use serde_json::Value;
use tokio::task::JoinSet;

use super::socket::Socket;

/// Subscribers that are open until it is dropped.
#[derive(Debug)]
pub struct Crowd {
    counts: Arc<Counts>,
    /// Dropped, it ends them.
    _members: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Counts {
    marks: AtomicU64,
}

impl Crowd {
    /// Opens so many subscriptions of one document, and counts in what comes where `mark` stands.
    ///
    /// # Panics
    /// If one is refused.
    pub async fn open(address: &str, token: &str, count: usize, query: &str, variables: &Value, mark: &str) -> Crowd {
        let mut members = JoinSet::new();
        let counts = Arc::new(Counts::default());
        let mark = Arc::new(Finder::new(mark).into_owned());
        for _ in 0..count {
            let mut socket = Socket::open(address, token).await.expect("the server takes sockets");
            socket.subscribe(query, variables).await.expect("it takes a subscription");
            let (counts, mark) = (Arc::clone(&counts), Arc::clone(&mark));
            members.spawn(async move {
                while let Ok(seen) = socket.count(&mark).await {
                    counts.marks.fetch_add(seen, Ordering::Relaxed);
                }
            });
        }
        Crowd { counts, _members: members }
    }

    /// Marks so far, of all.
    pub fn marks(&self) -> u64 {
        self.counts.marks.load(Ordering::Relaxed)
    }
}
