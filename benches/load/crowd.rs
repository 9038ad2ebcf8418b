//! Owns thousands of subscribers that only count. It must never decode what it is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memchr::memmem::Finder;
use serde_json::Value;
use tokio::task::JoinSet;

use super::socket::Socket;

/// Connections that are given back when the server takes no more.
const SPARE: usize = 20;

/// Subscribers that are open until it is dropped.
#[derive(Debug)]
pub struct Crowd {
    count: usize,
    counts: Arc<Counts>,
    /// Dropped, it ends them.
    _members: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Counts {
    marks: AtomicU64,
}

impl Crowd {
    /// Opens so many subscriptions of one document, the tokens taking turns, or as many as the server lets in, and counts
    /// in what comes where `mark` stands.
    ///
    /// # Panics
    /// If a subscription is refused to one who was let in.
    pub async fn open(
        address: &str,
        tokens: &[String],
        count: usize,
        query: &str,
        variables: &Value,
        mark: &str,
    ) -> Crowd {
        let mut members = JoinSet::new();
        let counts = Arc::new(Counts::default());
        let mark = Arc::new(Finder::new(mark).into_owned());
        let mut sockets = Vec::new();
        while sockets.len() < count {
            let token = &tokens[sockets.len() % tokens.len()];
            let Ok(socket) = Socket::open(address, token).await else {
                // Others must get in too.
                sockets.truncate(sockets.len().saturating_sub(SPARE));
                break;
            };
            sockets.push(socket);
        }
        let count = sockets.len();
        for mut socket in sockets {
            socket.subscribe(query, variables).await.expect("it takes a subscription");
            let (counts, mark) = (Arc::clone(&counts), Arc::clone(&mark));
            members.spawn(async move {
                while let Ok(seen) = socket.count(&mark).await {
                    counts.marks.fetch_add(seen, Ordering::Relaxed);
                }
            });
        }
        Crowd { count, counts, _members: members }
    }

    /// How many were let in.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Marks so far, of all.
    pub fn marks(&self) -> u64 {
        self.counts.marks.load(Ordering::Relaxed)
    }
}
